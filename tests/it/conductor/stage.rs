//! A Conductor beside a Tracker: the example as a program of its own, what stands between the two, and its tables.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::{ACCEPT, AUTHORIZATION};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracker::deliver::{ID, SIGNATURE, TIMESTAMP};
use tracker::settings::Settings;

use crate::recipes::{lines_of, on_path};
use crate::support::child::PATIENCE;
use crate::support::world::{PASSWORD, SECRET, USER, World, client, seconds};

/// How the example hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ways {
    Callbacks,
    Feed,
    Both,
}

impl Ways {
    fn as_str(self) -> &'static str {
        match self {
            Self::Callbacks => "callbacks",
            Self::Feed => "feed",
            Self::Both => "both",
        }
    }

    pub fn follows(self) -> bool {
        self != Self::Callbacks
    }
}

/// What becomes of a callback on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Passes,
    /// 503, and nothing arrives.
    Refuses,
    /// It arrives, and that it did is never heard.
    LosesAnswer,
    Twice,
}

/// The interpreter. `None`: there is none, which has been said. Under `tests/run` that is a failure.
pub fn python() -> Option<PathBuf> {
    let found = std::env::var_os("TRACKER_TEST_PYTHON").map(PathBuf::from).or_else(|| on_path("python3"));
    if found.is_none() {
        let all = std::env::var_os("TRACKER_TEST_ALL").is_some_and(|all| all == "1");
        assert!(!all, "the example for Conductor needs Python, and TRACKER_TEST_ALL=1 allows no skipping");
        let _ = std::io::stderr().write_all(b"SKIPPED the example for Conductor: python3 is not on the PATH\n");
    }
    found
}

pub struct Stage {
    pub world: World,
    pub ways: Ways,
    python: PathBuf,
    /// The provider type, in Conductor's word.
    driver: &'static str,
    folder: TempDir,
    relay: Relay,
    running: Option<Conductor>,
    /// What the callbacks were, as it said.
    pub heard: Vec<String>,
}

/// What the tables say: of instances their state and addresses, of realms name and availability; and whether the provider is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub instances: BTreeMap<String, (String, Option<String>, Option<String>)>,
    pub realms: BTreeMap<String, (String, bool)>,
    pub available: bool,
}

impl Stage {
    pub async fn set(python: PathBuf, ways: Ways, driver: &'static str, edit: impl FnOnce(&mut Settings)) -> Self {
        let world = World::with(edit).await;
        let (folder, relay) = (tempfile::tempdir().unwrap(), Relay::open(world.base()).await);
        Self { world, ways, python, driver, folder, relay, running: None, heard: vec![] }
    }

    /// The example comes up, on the tables that are there, unless it runs.
    pub async fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let conductor = Conductor::start(self).await;
        *self.relay.way.to.lock().unwrap() = Some(conductor.port);
        self.running = Some(conductor);
    }

    /// SIGKILL.
    pub async fn kill(&mut self) {
        *self.relay.way.to.lock().unwrap() = None;
        if let Some(mut conductor) = self.running.take() {
            conductor.child.kill().await.unwrap();
            self.heard.append(&mut conductor.heard);
        }
    }

    /// Where Tracker calls.
    pub fn hook(&self) -> String {
        format!("{}/cb", self.relay.url)
    }

    pub fn callbacks(&self, manner: Manner) {
        *self.relay.way.manner.lock().unwrap() = manner;
    }

    /// One turn of the example; what it did. Nothing while it is down.
    pub async fn work(&mut self) -> Vec<String> {
        self.set_clock().await;
        match &mut self.running {
            Some(conductor) => conductor.tell("work").await,
            None => vec![],
        }
    }

    /// One turn, of which the list of instances is on its way while Tracker looks and calls back: that `inst0` has got this state.
    pub async fn work_while_called_back(&mut self, state: &str) -> Vec<String> {
        self.set_clock().await;
        let held = Arc::new(Held::default());
        *self.relay.way.held.lock().unwrap() = Some(held.clone());
        let conductor = self.running.as_mut().expect("it runs");
        conductor.order("work").await;
        timeout(PATIENCE, held.read.notified()).await.expect("it lists");
        self.world.provider.set_state("inst0", state);
        self.world.clock.advance(seconds(60));
        self.world.tick().await;
        self.world.deliver().await;
        held.release.notify_one();
        conductor.done().await
    }

    /// Conductor itself asked something of a machine.
    pub async fn task(&mut self, instance: &str, action: &str, state: &str) {
        self.set_clock().await;
        let conductor = self.running.as_mut().expect("it runs");
        conductor.tell(&format!("task {instance} {action} {state}")).await;
    }

    /// As after a hole: it wants lists.
    pub async fn unplace(&mut self) {
        self.running.as_mut().expect("it runs").tell("unplace").await;
    }

    /// All that is due is sent.
    pub async fn deliver(&mut self) {
        self.set_clock().await;
        self.world.deliver().await;
        // What it said of them comes before the answer to this.
        self.set_clock().await;
        if let Some(conductor) = &mut self.running {
            self.heard.append(&mut conductor.heard);
        }
    }

    /// Tracker dies and comes back, elsewhere.
    pub async fn restart_tracker(&mut self) {
        self.world.crash().await;
        self.world.start().await;
        *self.relay.way.tracker.lock().unwrap() = self.world.base().to_owned();
    }

    async fn set_clock(&mut self) {
        let now = self.world.clock_now().as_millisecond();
        if let Some(conductor) = &mut self.running {
            conductor.tell(&format!("at {}.{:03}", now / 1_000, now % 1_000)).await;
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("conductor.db")
    }

    /// Read from the file, not from the program.
    pub async fn tables(&self) -> Tables {
        let options = SqliteConnectOptions::new().filename(self.database()).read_only(true);
        let mut connection = options.connect().await.unwrap();
        let instances: Vec<(String, String, Option<String>, Option<String>)> =
            sqlx::query_as("SELECT external_key, state, public_addresses, private_addresses FROM instances")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let realms: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT external_key, name, available FROM provider_realms")
                .fetch_all(&mut connection)
                .await
                .unwrap();
        let available: i64 =
            sqlx::query_scalar("SELECT available FROM providers").fetch_one(&mut connection).await.unwrap();
        Tables {
            available: available == 1,
            instances: instances
                .into_iter()
                .map(|(id, state, public, private)| (id, (state, public, private)))
                .collect(),
            realms: realms.into_iter().map(|(id, name, available)| (id, (name, available == 1))).collect(),
        }
    }

    /// A column of an instance, as text.
    pub async fn column(&self, instance: &str, column: &'static str) -> Option<String> {
        let query = match column {
            "state" => "SELECT state FROM instances WHERE external_key = $1",
            "last_error" => "SELECT last_error FROM instances WHERE external_key = $1",
            _ => panic!("{column} is not asked for"),
        };
        let options = SqliteConnectOptions::new().filename(self.database()).read_only(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::query_scalar(query).bind(instance).fetch_one(&mut connection).await.unwrap()
    }

    pub async fn end(mut self) {
        self.kill().await;
        self.world.end().await;
    }
}

/// The example, as a program.
struct Conductor {
    child: Child,
    orders: ChildStdin,
    said: watch::Receiver<Vec<String>>,
    /// For who reads of a test that failed.
    complaints: watch::Receiver<Vec<String>>,
    /// How much of what it said was looked at.
    seen: usize,
    heard: Vec<String>,
    port: u16,
}

impl Conductor {
    async fn start(stage: &Stage) -> Self {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let mut child = Command::new(&stage.python)
            .arg(tests.join("it/conductor/hands.py"))
            .arg(tests.join("recipes"))
            .arg(stage.database())
            .env("TRACKER_SECRET", SECRET)
            .env("TRACKER", format!("{}/api", stage.relay.url))
            .env("TRACKER_USER", USER)
            .env("TRACKER_PASSWORD", PASSWORD)
            .env("TRACKER_HOOK", stage.hook())
            .env("CONDUCTOR_WAYS", stage.ways.as_str())
            .env("CONDUCTOR_DRIVER", stage.driver)
            .env("NO_PROXY", "*")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|err| panic!("{} could not be started: {err}", stage.python.display()));
        let orders = child.stdin.take().expect("piped");
        let said = lines_of(child.stdout.take().expect("piped"));
        let complaints = lines_of(child.stderr.take().expect("piped"));
        let mut conductor = Self { child, orders, said, complaints, seen: 0, heard: vec![], port: 0 };
        let first = conductor.line().await;
        conductor.port =
            first.strip_prefix("listens on ").and_then(|port| port.parse().ok()).expect("it says its port");
        conductor
    }

    /// Tells it something and waits until that is done.
    async fn tell(&mut self, order: &str) -> Vec<String> {
        self.order(order).await;
        self.done().await
    }

    async fn order(&mut self, order: &str) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.unwrap();
    }

    async fn done(&mut self) -> Vec<String> {
        loop {
            let line = self.line().await;
            match line.strip_prefix("done") {
                Some(said) => return said.split("; ").skip(1).map(str::to_owned).collect(),
                None => self.heard.push(line),
            }
        }
    }

    async fn line(&mut self) -> String {
        let seen = self.seen;
        let came = matches!(timeout(PATIENCE, self.said.wait_for(|said| said.len() > seen)).await, Ok(Ok(_)));
        assert!(came, "nothing more is said than {:?}; {:#?}", self.said.borrow(), self.complaints.borrow());
        assert!(self.complaints.borrow().is_empty(), "{:#?}", self.complaints.borrow());
        self.seen += 1;
        self.said.borrow()[seen].clone()
    }
}

/// Between the two, with addresses that stay: whoever is behind them may die and come back elsewhere.
struct Relay {
    url: String,
    way: Arc<Way>,
    server: JoinHandle<()>,
}

struct Way {
    /// The port of the example that runs.
    to: Mutex<Option<u16>>,
    /// Where the API is.
    tracker: Mutex<String>,
    manner: Mutex<Manner>,
    /// The next list of instances waits on its way back.
    held: Mutex<Option<Arc<Held>>>,
    client: reqwest::Client,
}

#[derive(Default)]
struct Held {
    read: Notify,
    release: Notify,
}

impl Relay {
    async fn open(tracker: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (to, manner) = (Mutex::default(), Mutex::new(Manner::Passes));
        let way = Arc::new(Way {
            to,
            tracker: Mutex::new(tracker.to_owned()),
            manner,
            held: Mutex::default(),
            client: client(),
        });
        let router = Router::new().route("/cb", post(call_back)).fallback(ask).with_state(way.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, way, server }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn call_back(State(way): State<Arc<Way>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let (to, manner) = (*way.to.lock().unwrap(), *way.manner.lock().unwrap());
    let Some(port) = to.filter(|_| manner != Manner::Refuses) else { return StatusCode::SERVICE_UNAVAILABLE };
    let send = async || {
        let mut request = way.client.post(format!("http://127.0.0.1:{port}/cb")).body(body.clone());
        for (name, value) in headers.iter().filter(|(name, _)| [ID, TIMESTAMP, SIGNATURE].contains(&name.as_str())) {
            request = request.header(name, value);
        }
        request.send().await.map_or(StatusCode::BAD_GATEWAY, |answer| answer.status())
    };
    let status = send().await;
    match manner {
        Manner::LosesAnswer => StatusCode::GATEWAY_TIMEOUT,
        Manner::Twice => send().await,
        Manner::Passes | Manner::Refuses => status,
    }
}

async fn ask(State(way): State<Arc<Way>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let base = way.tracker.lock().unwrap().clone();
    let lists = method == Method::GET && uri.path() == "/api/instances";
    let path = uri.path_and_query().unwrap().as_str().trim_start_matches("/api");
    // A client of its own, which keeps no connection: an idle one keeps a Tracker that crashed from letting go of its store.
    let request = client().request(method, format!("{base}{path}")).body(body);
    let request = [ACCEPT, AUTHORIZATION].into_iter().fold(request, |request, name| {
        let value = headers[&name].clone();
        request.header(name, value)
    });
    let Ok(answer) = request.send().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, seq) = (answer.status(), answer.headers().get("tracker-seq").cloned());
    let Ok(body) = answer.bytes().await else { return StatusCode::BAD_GATEWAY.into_response() };
    let held = if lists { way.held.lock().unwrap().take() } else { None };
    if let Some(held) = held {
        held.read.notify_one();
        held.release.notified().await;
    }
    let mut response = (status, body).into_response();
    response.headers_mut().extend(seq.map(|seq| (HeaderName::from_static("tracker-seq"), seq)));
    response
}
