//! The recipes for receivers in `design/receivers.md`: they are the files that run here, and each says the right word of
//! what a Tracker sends it.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracker::clock::{Clock as _, SystemClock};
use tracker::deliver::{ID, Key, SIGNATURE, TIMESTAMP, sign};

use crate::support::child::PATIENCE;
use crate::support::world::{PASSWORD, SECRET, USER, World, ask, client, minutes, seconds};

#[path = "../recipes/receiver.rs"]
mod receiver;

const OTHER: &str = "whsec_YW5vdGhlciBzZWNyZXQgb2Ygb3VyIHRlc3Rz";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_shows_the_recipes_that_run() {
    let page = std::fs::read_to_string(root().join("design/receivers.md")).unwrap();
    for (language, file) in
        [("python", "receiver.py"), ("javascript", "receiver.js"), ("ruby", "receiver.rb"), ("rust", "receiver.rs")]
    {
        let opening = format!("\n```{language}\n");
        let mut blocks = page.split(&opening).skip(1);
        let block = blocks.next().unwrap_or_else(|| panic!("the page shows no {language}"));
        let shown = &block[..=block.find("\n```\n").expect("a block ends")];
        let runs = std::fs::read_to_string(root().join("tests/recipes").join(file)).unwrap();
        assert_eq!(shown, runs, "{file}: the page shows another");
        assert!(blocks.next().is_none(), "one {language}");
    }
}

#[tokio::test]
async fn the_recipe_for_python_knows_what_it_is_told() {
    let python = std::env::var_os("TRACKER_TEST_PYTHON").map(PathBuf::from).or_else(|| on_path("python3"));
    told("the recipe for Python", python, "receiver.py").await;
}

#[tokio::test]
async fn the_recipe_for_javascript_knows_what_it_is_told() {
    let node = std::env::var_os("TRACKER_TEST_NODE").map(PathBuf::from).or_else(|| on_path("node"));
    told("the recipe for JavaScript", node, "receiver.js").await;
}

/// The one interpreter that `tests/run` cannot always come by.
#[tokio::test]
async fn the_recipe_for_ruby_knows_what_it_is_told() {
    told("the recipe for Ruby", on_path("ruby"), "receiver.rb").await;
}

#[tokio::test]
async fn the_recipe_for_rust_knows_what_it_is_told() {
    everything(async |world| Recipe::in_rust(world.base()).await).await;
}

async fn told(what: &str, interpreter: Option<PathBuf>, file: &str) {
    let Some(interpreter) = interpreter else {
        let may_lack = file.ends_with(".rb") || std::env::var_os("TRACKER_TEST_ALL").is_none_or(|all| all != "1");
        assert!(may_lack, "{what} needs its interpreter, and TRACKER_TEST_ALL=1 allows no skipping");
        let said = format!("SKIPPED {what}: its interpreter is not on the PATH\n");
        let _ = std::io::stderr().write_all(said.as_bytes());
        return;
    };
    everything(async |world| Recipe::start(&interpreter, file, world.base()).await).await;
}

pub fn on_path(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// One after the other, all that can happen to a receiver.
async fn everything(start: impl AsyncFn(&World) -> Recipe) {
    let mut world = World::new().await;
    // A recipe looks at the time as it is. Here the first callback is ten minutes old.
    world.clock.set(SystemClock.now() - minutes(10));
    for instance in ["inst0", "inst1", "inst2"] {
        world.provider.add_instance(instance, "RUNNING");
    }
    let mut recipe = start(&world).await;
    let hook = recipe.url.clone();
    let mut id = String::new();
    for (instance, more) in [("inst0", &[][..]), ("inst1", &[("track_mode", "latest")]), ("inst2", &[])] {
        let answer = world.put_hook(&format!("instances/{instance}"), &hook, more).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        if instance == "inst0" {
            id = world.get("/hooks").await.json()[0]["id"].as_str().unwrap().to_owned();
        }
    }

    // A clock that is wrong, ours or theirs: the next try is a good one.
    change(&mut world, "inst0", "STOPPED").await;
    world.deliver().await;
    recipe.says("refused").await;
    world.clock.set(SystemClock.now());
    world.deliver().await;
    recipe.says("new instances/inst0 1").await;

    for (state, said) in [("RUNNING", "new instances/inst0 2"), ("STOPPED", "new instances/inst0 3")] {
        change(&mut world, "inst0", state).await;
        world.deliver().await;
        recipe.says(said).await;
    }

    redeliver(&mut world, &id, 3).await;
    recipe.says("duplicate instances/inst0 3").await;
    redeliver(&mut world, &id, 1).await;
    recipe.says("late instances/inst0 1").await;

    // What is read in the feed is not sent any more, so here the receiver misses one.
    change(&mut world, "inst0", "RUNNING").await;
    assert_eq!(world.feed("").await.len(), 1);
    world.feed_runs_dry("").await;
    change(&mut world, "inst0", "STOPPED").await;
    world.deliver().await;
    recipe.says_both(["hole instances/inst0 5", "resynced instances/inst0 STOPPED"]).await;
    redeliver(&mut world, &id, 4).await;
    recipe.says("late instances/inst0 4").await;

    change(&mut world, "inst1", "STOPPED").await;
    world.deliver().await;
    recipe.says("new instances/inst1 1").await;
    for state in ["RUNNING", "STOPPED", "RUNNING"] {
        change(&mut world, "inst1", state).await;
    }
    world.deliver().await;
    recipe.says("new instances/inst1 4").await;

    let resync = world.request(Method::POST, &format!("/hooks/{id}/resync")).await;
    assert_eq!(resync.status, StatusCode::ACCEPTED, "{}", resync.text);
    world.deliver().await;
    recipe.says("snapshot instances/inst0 5").await;
    change(&mut world, "inst0", "RUNNING").await;
    world.deliver().await;
    recipe.says("new instances/inst0 6").await;

    let tested = world.request(Method::POST, &format!("/hooks/{id}/test")).await;
    assert_eq!(tested.json()["status"], 204, "{}", tested.text);
    recipe.says(&format!("test {id}")).await;

    // Two signatures for a day, and later one that is another's.
    world.put_hook("instances/inst0", &hook, &[("track_secret", "rotate")]).await;
    change(&mut world, "inst0", "STOPPED").await;
    world.deliver().await;
    recipe.says("new instances/inst0 7").await;
    world.put_hook("instances/inst2", &hook, &[("track_secret", OTHER)]).await;
    world.put_hook("instances/inst2", "none", &[]).await;
    world.put_hook("instances/inst2", &hook, &[("track_secret", OTHER)]).await;
    change(&mut world, "inst2", "STOPPED").await;
    world.deliver().await;
    recipe.says("refused").await;

    forged(&mut recipe).await;

    let ended = hook.replace("/cb", "/gone");
    world.put_hook("instances/inst1", &ended, &[]).await;
    change(&mut world, "inst1", "STOPPED").await;
    world.deliver().await;
    recipe.says("ended").await;
    let hooks = world.get("/hooks?resource=inst1").await.json();
    assert!(hooks[0]["disabled"]["reason"].is_string(), "{hooks}");
    recipe.end();
    world.end().await;
}

/// What Tracker never sends, and somebody might.
async fn forged(recipe: &mut Recipe) {
    let now = SystemClock.now();
    let event = |revision: u64, more: Value| {
        let mut event = json!({
            "account": {"driver": "mock", "provider": "default", "id": "somebody"},
            "resource": {"collection": "instances", "id": "inst9", "revision": revision},
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event.to_string()
    };
    let send = async |id: &str, at: jiff::Timestamp, signature: &str, body: &str| {
        let request = client().post(&recipe.url).header(ID, id).header(TIMESTAMP, at.as_second().to_string());
        request.header(SIGNATURE, signature).body(body.to_owned()).send().await.unwrap().status().as_u16()
    };
    let right = |secret: &str, at: jiff::Timestamp, body: &str| {
        sign(&[Key::parse(secret).unwrap()], "chg_1", at, body.as_bytes())
    };

    let mut said = vec![];
    for (revision, more, word) in [
        (1, json!({}), "new"),
        (4, json!({"merged": {"from_seq": 2, "count": 2}}), "new"),
        // Of which nothing can be read: it is not there.
        (9, json!({"merged": {"from_seq": 2, "count": 2}}), "hole"),
        (8, json!({"snapshot": true}), "late"),
        (9, json!({"snapshot": true}), "snapshot"),
        (12, json!({"snapshot": true}), "snapshot"),
        (12, json!({}), "duplicate"),
        (13, json!({}), "new"),
    ] {
        let body = event(revision, more);
        assert_eq!(send("chg_1", now, &right(SECRET, now, &body), &body).await, 204, "{body}");
        said.push(format!("{word} instances/inst9 {revision}"));
    }
    let body = event(14, json!({}));
    let good = right(SECRET, now, &body);
    let (old, new) = (now - minutes(6), now + minutes(6));
    for (id, at, signature, body) in [
        ("chg_2", now, good.clone(), body.clone()),
        ("chg_1", now + seconds(1), good.clone(), body.clone()),
        ("chg_1", now, good.clone(), format!("{body} ")),
        ("chg_1", now, good.replace("v1,", "v1a,"), body.clone()),
        ("chg_1", now, good.replace("v1,", ""), body.clone()),
        ("chg_1", now, "v1,".to_owned(), body.clone()),
        ("chg_1", now, String::new(), body.clone()),
        ("chg_1", now, right(OTHER, now, &body), body.clone()),
        ("chg_1", old, right(SECRET, old, &body), body.clone()),
        ("chg_1", new, right(SECRET, new, &body), body.clone()),
    ] {
        assert_eq!(send(id, at, &signature, &body).await, 401, "{id} {at} {signature}");
        said.push("refused".to_owned());
    }
    let bare = client().post(&recipe.url).body(body.clone()).send().await.unwrap();
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
    said.push("refused".to_owned());
    let several = format!("v1,AAAA {} v2,x {good}", right(OTHER, now, &body));
    assert_eq!(send("chg_1", now, &several, &body).await, 204);
    said.push("new instances/inst9 14".to_owned());
    // The same id in another account is another resource.
    let body = event(1, json!({"account": {"driver": "mock", "provider": "default", "id": "somebody else"}}));
    assert_eq!(send("chg_1", now, &right(SECRET, now, &body), &body).await, 204);
    said.push("new instances/inst9 1".to_owned());
    for line in said {
        recipe.says(&line).await;
    }
}

/// A change that is recorded and not yet sent.
async fn change(world: &mut World, instance: &str, state: &str) {
    world.provider.set_state(instance, state);
    world.clock.advance(seconds(1));
    world.tick().await;
}

/// The change with this number of the instance `inst0`, counted from 1, once more.
async fn redeliver(world: &mut World, hook: &str, revision: u64) {
    let log = world.get("/changes?after=0&subscriber=test").await.json();
    let of = |change: &&Value| change["resource"]["id"] == "inst0" && change["resource"]["revision"] == revision;
    let seq = log.as_array().unwrap().iter().find(of).unwrap()["seq"].as_u64().unwrap();
    let asked = world.request(Method::POST, &format!("/deliveries/{hook}.{seq}/redeliver")).await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{}", asked.text);
    world.deliver().await;
}

/// A recipe that runs.
struct Recipe {
    /// Where it wants to be called back.
    url: String,
    said: watch::Receiver<Vec<String>>,
    /// What went wrong, if anything did; for who reads of a test that failed.
    complaints: watch::Receiver<Vec<String>>,
    /// How much of what it said was looked at.
    seen: usize,
    child: Option<Child>,
    server: Option<JoinHandle<()>>,
}

impl Recipe {
    async fn start(interpreter: &Path, file: &str, tracker: &str) -> Self {
        let mut child = Command::new(interpreter)
            .arg(root().join("tests/recipes").join(file))
            .arg("0")
            .env("TRACKER_SECRET", SECRET)
            .env("TRACKER", tracker)
            .env("TRACKER_USER", USER)
            .env("TRACKER_PASSWORD", PASSWORD)
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("{} could not be started: {err}", interpreter.display()));
        let said = lines_of(child.stdout.take().expect("piped"));
        let complaints = lines_of(child.stderr.take().expect("piped"));
        let mut recipe = Self { url: String::new(), said, complaints, seen: 0, child: Some(child), server: None };
        let first = recipe.next().await;
        let port: u16 = first.strip_prefix("listens on ").and_then(|port| port.parse().ok()).expect("it says its port");
        recipe.url = format!("http://127.0.0.1:{port}/cb");
        recipe
    }

    /// The one for Rust is no program: this is the server around it.
    async fn in_rust(tracker: &str) -> Self {
        let (say, said) = watch::channel(vec![]);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/cb", listener.local_addr().unwrap());
        let state = Arc::new(Around { tracker: tracker.to_owned(), say, kept: Mutex::default() });
        let router = Router::new().fallback(receive).with_state(state);
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, complaints: said.clone(), said, seen: 0, child: None, server: Some(server) }
    }

    async fn next(&mut self) -> String {
        let seen = self.seen;
        let came = matches!(timeout(PATIENCE, self.said.wait_for(|said| said.len() > seen)).await, Ok(Ok(_)));
        assert!(came, "nothing more is said than {:?}; {:#?}", self.said.borrow(), self.complaints.borrow());
        let line = self.said.borrow()[seen].clone();
        self.seen += 1;
        line
    }

    /// The next that it says.
    async fn says(&mut self, expected: &str) {
        let line = self.next().await;
        assert_eq!(line, expected, "{:?}; {:#?}", self.said.borrow(), self.complaints.borrow());
    }

    /// The next two, in whichever order.
    async fn says_both(&mut self, expected: [&str; 2]) {
        let mut lines = [self.next().await, self.next().await];
        lines.sort();
        assert_eq!(lines, expected);
    }

    /// It has said nothing that was not looked at.
    fn end(mut self) {
        assert_eq!(self.said.borrow()[self.seen..], [] as [String; 0]);
        if let Some(server) = self.server.take() {
            server.abort();
        }
        drop(self.child.take());
    }
}

pub fn lines_of(pipe: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<Vec<String>> {
    let (say, said) = watch::channel(vec![]);
    let mut lines = BufReader::new(pipe).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            say.send_modify(|said: &mut Vec<String>| said.push(line));
        }
    });
    said
}

struct Around {
    tracker: String,
    say: watch::Sender<Vec<String>>,
    kept: Mutex<HashMap<[String; 5], u64>>,
}

async fn receive(State(around): State<Arc<Around>>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let say = |line: String| around.say.send_modify(|said| said.push(line));
    let now = SystemClock.now().as_second().unsigned_abs();
    if receiver::signed(SECRET, header, &body, now).is_none() {
        say("refused".to_owned());
        return StatusCode::UNAUTHORIZED;
    }
    if uri.path() != "/cb" {
        say("ended".to_owned());
        return StatusCode::GONE;
    }
    let event: Value = serde_json::from_slice(&body).unwrap();
    let word = receiver::judge(&mut around.kept.lock().unwrap(), &event).unwrap();
    let resource = &event["resource"];
    let name = || format!("{}/{}", resource["collection"].as_str().unwrap(), resource["id"].as_str().unwrap());
    if word == receiver::Word::Test {
        say(format!("test {}", event["hook"]["id"].as_str().unwrap()));
    } else {
        say(format!("{} {} {}", format!("{word:?}").to_lowercase(), name(), resource["revision"]));
    }
    if word == receiver::Word::Hole {
        tokio::spawn(resync(around.clone(), name()));
    }
    StatusCode::NO_CONTENT
}

async fn resync(around: Arc<Around>, name: String) {
    let answer = ask(&around.tracker, Method::GET, &format!("/{name}?format=json"), USER, PASSWORD).await;
    if answer.status == StatusCode::OK {
        let state = answer.json()["instance"]["state"].as_str().unwrap().to_owned();
        around.say.send_modify(|said| said.push(format!("resynced {name} {state}")));
    }
}
