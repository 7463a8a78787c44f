//! The command line as a new user tries it: what he is told, what he must not be told, and what a script can rely on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::support::child::{PATIENCE, Tracker};
use crate::support::cli::{Cli, Ended};
use crate::support::receiver::Reply::{Full, Status};
use crate::support::receiver::{Received, Receiver, Reply};

mod following;
mod listening;

const SIGNING: &str = "whsec_c2lnbmluZyBzZWNyZXQgb2YgdGhpcyB0ZXN0";

struct Rig {
    folder: tempfile::TempDir,
    tracker: Tracker,
    cli: Cli,
}

impl Rig {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tracker = Tracker::start(folder.path(), &[]).await;
        let cli = Cli::new(&tracker.base);
        Self { folder, tracker, cli }
    }

    /// Acts on a tracked instance and waits until that is in the log: two actions at once may be seen as none.
    async fn act(&self, id: &str, action: &str) {
        let before = self.logged().await;
        let (status, text) = self.tracker.request(Method::POST, &format!("/instances/{id}/{action}")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{text}");
        let seen = async { while self.logged().await == before {} };
        tokio::time::timeout(PATIENCE, seen).await.expect("an action is seen");
    }

    /// How many changes the log has, asked as one to whom nothing is owed.
    async fn logged(&self) -> usize {
        let (_, text) = self.tracker.request(Method::GET, "/changes?after=0&limit=1000&subscriber=nobody").await;
        serde_json::from_str::<Vec<Value>>(&text).unwrap().len()
    }

    /// A file in the rig's folder, readable by its owner alone.
    fn file(&self, name: &str, text: &str) -> String {
        write(&self.folder.path().join(name), text, 0o600)
    }
}

fn write(path: &Path, text: &str, mode: u32) -> String {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    path.display().to_string()
}

/// One sentence, one exit code, and nothing on stdout.
fn assert_refused(ended: &Ended, code: i32, expected: &str) {
    assert_eq!(ended.code, code, "{ended:?}");
    assert!(ended.err.contains(expected), "{expected}: {ended:?}");
    assert_eq!(ended.out, "");
    assert!(code == 2 || ended.err.lines().count() == 1, "one sentence: {ended:?}");
    assert!(!ended.err.contains("panicked"), "{ended:?}");
}

#[tokio::test]
async fn whoever_errs_is_told_what_would_be_right() {
    let rig = Rig::new().await;
    let check = async |args: &[&str], code: i32, expected: &str| {
        assert_refused(&rig.cli.run(args).await, code, expected);
    };
    check(&["chnages"], 2, "'changes'").await;
    check(&["track"], 2, "<TARGET>").await;
    check(&["track", "instances/inst1"], 2, "--hook <URL>").await;
    check(&["track", "instance/inst1", "--feed"], 2, "instances/42").await;
    check(&["track", "instances/nope", "--feed"], 5, "nope").await;
    check(&["track", "instances", "--hook", "ftp://x"], 1, "track_hook").await;
    check(&["track", "instances", "--feed", "--events", "weather"], 1, "track_events").await;
    check(&["hooks", "hook_1"], 5, "There is no hook hook_1").await;
    check(&["deliveries", "hook_1.1"], 5, "There is no delivery hook_1.1").await;
    check(&["redeliver", "hook_1.1"], 5, "hook_1.1").await;
    check(&["recover", "hook_1", "--since", "yesterday"], 2, "2026-11-21T10:00:00Z, or how long ago").await;
    check(&["changes", "--after", "-1"], 2, "--after").await;
    check(&["changes", "--after", "99"], 1, "nothing to come after it yet").await;
    check(&["changes", "--follow", "--after", "99"], 1, "nothing to come after it yet").await;
    check(&["hooks", "--password", "x"], 2, "unexpected argument").await;
    check(&["--url"], 2, "--url").await;
    rig.tracker.stop().await;
}

#[tokio::test]
async fn whoever_is_not_known_is_told_how_to_be() {
    let rig = Rig::new().await;
    let check = async |environment: &[(&'static str, &str)], args: &[&str], code: i32, expected: &str| {
        assert_refused(&rig.cli.knowing(environment).run(args).await, code, expected);
    };
    check(&[], &["hooks"], 4, "TRACKER_USER").await;
    check(&[("TRACKER_PASSWORD", "x")], &["hooks"], 4, "no user").await;
    check(&[("TRACKER_USER", "mockuser")], &["hooks"], 4, "no password for mockuser").await;
    check(&[("TRACKER_USER", "mockuser"), ("TRACKER_PASSWORD", "")], &["hooks"], 4, "no password for mockuser").await;
    check(&[("TRACKER_USER", "mockuser"), ("TRACKER_PASSWORD", "hush-91")], &["hooks"], 4, "not authorized").await;
    check(
        &[("TRACKER_USER", "mockuser"), ("TRACKER_PASSWORD", "hush-92")],
        &["changes", "--follow"],
        4,
        "not authorized",
    )
    .await;
    let none = rig.folder.path().join("none").display().to_string();
    check(&[], &["hooks", "--credentials", &none], 1, "none: No such file").await;

    let good = rig.file("good", "user = 'mockuser'\npassword = 'mockpassword'\n");
    for ended in [
        rig.cli.knowing(&[]).run(&["hooks", "--credentials", &good, "--output", "json"]).await,
        rig.cli.knowing(&[("TRACKER_CREDENTIALS", &good)]).run(&["hooks", "--output", "json"]).await,
    ] {
        assert_eq!(ended.json(), serde_json::json!([]));
    }
    let open = write(&rig.folder.path().join("open"), "user = 'mockuser'\npassword = 'hush-93'\n", 0o640);
    check(&[], &["hooks", "--credentials", &open], 1, &format!("chmod 600 {open}")).await;
    let wrong = rig.file("wrong", "mockuser:hush-94\n");
    check(&[], &["hooks", "--credentials", &wrong], 4, "not a credentials file").await;
    let half = rig.file("half", "user = 'mockuser'\n");
    check(&[], &["hooks", "--credentials", &half], 4, "no password for mockuser: give `password` in").await;
    rig.tracker.stop().await;
}

#[tokio::test]
async fn a_wrong_address_is_told_from_a_server_that_is_down() {
    let rig = Rig::new().await;
    let stranger = Receiver::start().await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}/api", listener.local_addr().unwrap())
    };
    let check = async |url: &str, args: &[&str], code: i32, expected: &str| {
        let cli = Cli { url: url.to_owned(), ..rig.cli.clone() };
        assert_refused(&cli.run(args).await, code, expected);
    };
    let root = rig.tracker.base.trim_end_matches("/api");
    let right = format!("there is one at {}", rig.tracker.base);
    check(root, &["hooks"], 3, &right).await;
    check(&format!("{root}/"), &["changes", "--follow"], 3, &right).await;
    check(&format!("{root}/other"), &["track", "instances", "--feed"], 3, &right).await;
    check(&closed, &["hooks"], 3, "Does `tracker serve` run there?").await;
    check(&closed, &["changes", "--follow"], 3, "cannot be reached").await;
    check(&closed, &["listen", "--forward", &closed, "--secret-file", &rig.file("s", SIGNING)], 3, "cannot be reached")
        .await;
    for (status, body) in [(404, "<html>"), (200, "<html>"), (401, "{}"), (502, "")] {
        stranger.otherwise(Full(status, vec![], body.as_bytes().to_vec()));
        let url = stranger.url("/api").to_string();
        check(&url, &["changes"], 3, "is not Tracker").await;
        check(&url, &["changes", "--follow"], 3, "is not Tracker").await;
    }
    check("127.0.0.1:3001/api", &["hooks"], 2, "http://127.0.0.1:3001/api").await;
    check("", &["hooks"], 2, "--url is no URL").await;
    rig.tracker.stop().await;
}

#[tokio::test]
async fn no_secret_comes_from_the_arguments_and_none_goes_out() {
    let rig = Rig::new().await;
    let check = async |args: &[&str], expected: &str| {
        let ended = rig.cli.run(args).await;
        assert_refused(&ended, 2, expected);
        assert!(!ended.err.contains("hush"), "{ended:?}");
    };
    check(&["hooks", "--url", "http://me:hush@127.0.0.1:1/api"], "TRACKER_PASSWORD").await;
    check(&["track", "instances", "--hook", "http://me:hush@127.0.0.1:1/cb"], "--hook-file").await;
    check(&["listen", "--forward", "http://me:hush@127.0.0.1:1/cb"], "TRACKER_FORWARD").await;
    let open = write(&rig.folder.path().join("open"), "hush", 0o604);
    for option in ["--token-file", "--secret-file", "--hook-file"] {
        let hook: &[&str] = if option == "--hook-file" { &[] } else { &["--feed"] };
        let ended = rig.cli.run(&[&["track", "instances", option, &open], hook].concat()).await;
        assert_refused(&ended, 1, "chmod 600");
    }

    // Given as they should be, none of them is shown again, here or in the server's log.
    let receiver = Receiver::start().await;
    let hook = String::from(receiver.url("/cb?key=hush-1")).replace("http://", "http://me:hush-2@");
    let (hook, token) = (rig.file("hook", &hook), rig.file("token", "hush-3\n"));
    let secret = rig.file("secret", &format!("{SIGNING}\n"));
    let files = ["--hook-file", &hook, "--token-file", &token, "--secret-file", &secret];
    let mut ends = vec![rig.cli.run(&[&["track", "instances/inst1"], files.as_slice()].concat()).await];
    rig.act("inst1", "stop").await;
    let came = receiver.wait_until(|accepted| accepted.len() == 1);
    tokio::time::timeout(PATIENCE, came).await.expect("the callback arrives");
    assert_eq!(receiver.received()[0].json()["token"], "hush-3");
    let listed = rig.cli.run(&["hooks", "--output", "json"]).await.json();
    let id = listed[0]["id"].as_str().unwrap();
    for args in
        [&["hooks"][..], &["hooks", id], &["hooks", "test", id], &["deliveries"], &["untrack", "instances/inst1"]]
    {
        ends.push(rig.cli.run(args).await);
        ends.push(rig.cli.run(&[args, &["--output", "json"]].concat()).await);
    }
    let (_, log) = rig.tracker.stop().await;
    for secret in ["hush", "mockpassword", &SIGNING[6..]] {
        for ended in &ends {
            assert!(!format!("{ended:?}").contains(secret), "{secret}: {ended:?}");
        }
        assert!(!log.contains(secret), "{secret} is in the server's log");
    }
}

#[tokio::test]
async fn a_hook_lives_from_track_to_untrack() {
    let rig = Rig::new().await;
    let receiver = Receiver::start().await;
    let url = receiver.url("/cb").to_string();
    let json = async |args: &[&str]| rig.cli.run(&[args, &["--output", "json"]].concat()).await.json();

    // The secret is shown once, and a hint beside it.
    let ended = rig.cli.run(&["track", "instances/inst1", "--hook", &url]).await;
    assert!(ended.code == 0 && ended.out.contains("RUNNING") && ended.out.contains("whsec_"), "{ended:?}");
    assert!(ended.err.contains("Keep the secret"), "{ended:?}");
    let again = rig.cli.run(&["track", "instances/inst1", "--hook", &url, "--mode", "latest"]).await;
    assert!(again.code == 0 && !again.out.contains("whsec_") && again.err.is_empty(), "{again:?}");
    let out = rig.folder.path().join("out").display().to_string();
    let kept = rig.cli.run(&["track", "instances/inst1", "--hook", &url, "--secret-out", &out]).await;
    assert!(kept.code == 0 && kept.err.contains("nothing was written") && !Path::new(&out).exists(), "{kept:?}");

    // A new one goes into a file of its own, and no other is overwritten.
    let rotate = ["track", "instances/inst1", "--hook", &url, "--rotate-secret", "--secret-out", &out];
    let rotated = rig.cli.run(&rotate).await;
    let secret = std::fs::read_to_string(&out).unwrap();
    assert!(rotated.code == 0 && secret.starts_with("whsec_") && !rotated.out.contains("whsec_"), "{rotated:?}");
    assert_eq!(std::fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_refused(&rig.cli.run(&rotate).await, 1, "File exists");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), secret);

    // What became of a change, once more, and once more.
    receiver.answers([Status(200), Status(410)]);
    rig.act("inst1", "stop").await;
    receiver.wait_for(1).await;
    let hooks = json(&["hooks"]).await;
    let id = hooks[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(json(&["hooks", &id]).await["id"], hooks[0]["id"]);
    let wait = async |state: &str| {
        let found = async {
            loop {
                let page = json(&["deliveries", "--hook", &id, "--state", state]).await;
                if let Some(delivery) = page.as_array().and_then(|list| list.first()) {
                    return delivery["id"].as_str().unwrap().to_owned();
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("it comes to that state")
    };
    let delivery = wait("delivered").await;
    assert_eq!(json(&["deliveries", &delivery]).await["tries"].as_array().unwrap().len(), 1);
    let refused = rig.cli.run(&["hooks", "test", &id]).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("did not take the test"), "{refused:?}");
    assert_eq!(json(&["hooks", "test", &id]).await["status"], 200);
    assert_eq!(json(&["redeliver", &delivery]).await["id"], Value::from(delivery.as_str()));
    wait("delivered").await;
    assert_eq!(json(&["recover", &id, "--since", "1h"]).await["count"], 0);
    assert_eq!(json(&["recover", &id, "--since", "1h", "--all"]).await["count"], 1);
    assert_eq!(json(&["hooks", "resync", &id]).await["count"], 1);
    assert_eq!(json(&["hooks", "enable", &id]).await["disabled"], Value::Null);

    // People see the same in tables.
    let table = rig.cli.run(&["hooks"]).await.out;
    assert!(table.starts_with("ID ") && table.contains("instances/inst1") && table.contains(&url), "{table}");
    let table = rig.cli.run(&["deliveries"]).await.out;
    assert!(table.contains(&delivery) && table.contains("instance.state"), "{table}");

    assert_eq!(json(&["untrack", "instances/inst1"]).await["tracked"], false);
    assert_eq!(json(&["hooks"]).await.as_array().unwrap().iter().filter(|hook| hook["ended_at"].is_null()).count(), 0);
    rig.tracker.stop().await;
}

#[tokio::test]
async fn json_holds_nothing_that_commands_a_terminal() {
    let evil = "x\u{9b}2J\u{7f}\u{202e}y";
    let member = serde_json::json!({"id": "inst1", "name": evil, "state": evil, "hook": evil});
    let (one, all) = (serde_json::json!({"instance": &member}), serde_json::json!([&member]));
    let stranger = Receiver::start().await;
    let cli = Cli::new(stranger.url("/api").as_str());
    let check = async |body: &Value, args: &[&str]| {
        stranger.otherwise(Full(200, vec![], body.to_string().into_bytes()));
        let ended = cli.run(&[args, &["--output", "json"]].concat()).await;
        assert_eq!(&ended.json(), body, "it means the same");
        assert!(!ended.out.trim().contains(|c: char| c.is_control() || c == '\u{202e}'), "{args:?}: {ended:?}");
    };
    check(&one, &["track", "instances/inst1", "--feed"]).await;
    check(&all, &["hooks"]).await;
    check(&member, &["hooks", "hook_1"]).await;
    check(&member, &["hooks", "enable", "hook_1"]).await;
    check(&all, &["deliveries"]).await;
    check(&member, &["deliveries", "hook_1.1"]).await;
    check(&member, &["redeliver", "hook_1.1"]).await;
    check(&member, &["recover", "hook_1", "--since", "1h"]).await;
}

#[tokio::test]
async fn the_new_secret_of_an_empty_collection_is_printed() {
    let rig = Rig::new().await;
    let (_, list) = rig.tracker.request(Method::GET, "/storage_snapshots?format=json").await;
    for snapshot in serde_json::from_str::<Value>(&list).unwrap()["storage_snapshots"].as_array().unwrap() {
        let path = format!("/storage_snapshots/{}", snapshot["id"].as_str().unwrap());
        assert_eq!(rig.tracker.request(Method::DELETE, &path).await.0, StatusCode::NO_CONTENT);
    }
    let track = ["track", "storage_snapshots", "--hook", "http://127.0.0.1:1/cb"];
    let first = rig.cli.run(&track).await;
    assert!(first.code == 0 && first.out.contains("no member yet") && first.out.contains("whsec_"), "{first:?}");
    assert!(first.err.contains("Keep the secret"), "{first:?}");
    let again = rig.cli.run(&track).await;
    assert!(again.code == 0 && !again.out.contains("whsec_") && again.err.is_empty(), "{again:?}");
    let out = rig.folder.path().join("out").display().to_string();
    let kept =
        rig.cli.run(&[&track[..], &["--rotate-secret", "--secret-out", &out, "--output", "json"]].concat()).await;
    assert!(kept.code == 0 && !kept.out.contains("whsec_"), "{kept:?}");
    assert!(std::fs::read_to_string(&out).unwrap().starts_with("whsec_"));
    rig.tracker.stop().await;
}

#[tokio::test]
async fn looking_takes_nothing_and_reading_what_is_owed_takes_it() {
    let rig = Rig::new().await;
    assert_eq!(rig.cli.run(&["track", "instances", "--feed"]).await.code, 0);
    rig.act("inst1", "stop").await;
    let changes = async |args: &[&str]| {
        let read = rig.cli.run(&[&["changes", "--output", "json"], args].concat()).await.json();
        read.as_array().unwrap().iter().map(|change| change["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(changes(&["--after", "0"]).await, [1]);
    assert_eq!(changes(&["--after", "1"]).await, Vec::<u64>::new());
    // The log was read to its end, and what is owed is owed.
    assert_eq!(changes(&[]).await, [1]);
    assert_eq!(changes(&[]).await, Vec::<u64>::new());
    // One who names himself has what he asks on from.
    rig.act("inst1", "start").await;
    assert_eq!(changes(&["--after", "1"]).await, [2]);
    assert_eq!(changes(&["--after", "2", "--subscriber", "default"]).await, Vec::<u64>::new());
    assert_eq!(changes(&[]).await, Vec::<u64>::new());
    let said = rig.cli.run(&["changes"]).await;
    assert!(said.out.is_empty() && said.err.contains("Everything was delivered"), "{said:?}");
    rig.tracker.stop().await;
}

#[tokio::test]
async fn pages_are_followed_at_the_address_that_was_given() {
    fn reply(request: &Received) -> Reply {
        let link =
            |rest: &str| vec![("link", format!("<http://elsewhere.example/api/deliveries?{rest}>; rel=\"next\""))];
        let page =
            |ids: &[u32]| serde_json::to_vec(&ids.iter().map(|id| serde_json::json!({"id": id})).collect::<Vec<_>>());
        match request.target.split_once('?').map_or("", |(_, query)| query) {
            query if query.contains("before=h.2") => Full(200, vec![], page(&[1]).unwrap()),
            query if query.contains("before=h.4") => Full(200, link("limit=2&before=h.2"), page(&[3, 2]).unwrap()),
            _ => Full(200, link("limit=2&before=h.4"), page(&[5, 4]).unwrap()),
        }
    }
    let server = Receiver::start().await;
    server.answers_by(reply);
    let cli = Cli::new(server.url("/api").as_str());
    let ids = async |args: &[&str]| {
        let ended = cli.run(&[&["deliveries", "--output", "json", "--state", "waiting"], args].concat()).await;
        (
            ended.json().as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()).collect::<Vec<_>>(),
            ended.err,
        )
    };
    assert_eq!(ids(&["--all"]).await, (vec![5, 4, 3, 2, 1], String::new()));
    let (some, said) = ids(&["--limit", "3"]).await;
    assert_eq!(some, [5, 4, 3]);
    assert!(said.contains("There are more"), "{said}");
    assert!(server.received().iter().all(|request| request.target.contains("state=waiting")));
}

#[tokio::test]
async fn output_is_for_people_or_for_machines() {
    let rig = Rig::new().await;
    let track = ["track", "realms/us", "--feed"];
    let out = async |cli: &Cli, args: &[&str]| cli.run(&[track.as_slice(), args].concat()).await.out;
    assert!(!out(&rig.cli, &[]).await.contains('\x1b'), "a pipe is no terminal");
    assert!(out(&rig.cli, &["--color", "always"]).await.contains("\x1b[1mAVAILABLE\x1b[0m"));
    assert!(!out(&rig.cli, &["--color", "always", "--output", "json"]).await.contains('\x1b'));
    let document: Value = serde_json::from_str(&out(&rig.cli, &["--output", "json"]).await).unwrap();
    assert_eq!(document["realm"]["id"], "us");
    let help = rig.cli.run(&["changes", "--help"]).await;
    assert!(help.out.contains("Exit codes:") && help.out.contains("counts as"), "{help:?}");
    assert!(!help.out.contains("mockuser") && !help.out.contains(&rig.tracker.base), "the environment is not shown");
    rig.tracker.stop().await;
}

#[tokio::test]
async fn a_reader_that_has_enough_is_no_failure() {
    let rig = Rig::new().await;
    assert_eq!(rig.cli.run(&["track", "instances", "--feed"]).await.code, 0);
    for args in [&["hooks"][..], &["changes", "--after", "0"], &["completions", "bash"], &["check-config", "--print"]] {
        let mut command = rig.cli.spawn(args);
        command.stop_reading().await;
        let ended = command.ended().await;
        assert_eq!((ended.code, ended.err.contains("panicked")), (0, false), "{args:?} {ended:?}");
    }
    let mut follow = rig.cli.spawn(&["changes", "--follow", "--after", "0"]);
    rig.act("inst1", "stop").await;
    follow.out_until(|lines| !lines.is_empty()).await;
    follow.stop_reading().await;
    rig.act("inst1", "start").await;
    let ended = follow.ended().await;
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    rig.tracker.stop().await;
}

#[tokio::test]
async fn shells_complete_and_keys_are_added_but_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let ring = folder.path().join("tracker.keys").display().to_string();
    let store = format!("sqlite:{}", folder.path().join("tracker.db").display());
    let cli = Cli::new("").knowing(&[("TRACKER_STORE__KEY_RING", &ring), ("TRACKER_STORE__URL", &store)]);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = cli.run(&["completions", shell]).await;
        assert!(ended.code == 0 && ended.out.contains("untrack") && ended.out.contains("rotate-secret"), "{shell}");
    }
    assert_refused(&cli.run(&["completions", "dos"]).await, 2, "bash");
    assert_refused(&cli.run(&["keys", "list"]).await, 1, "no key ring yet");

    let tracker = Tracker::start(folder.path(), &[]).await;
    let (status, _) = tracker.request(Method::PUT, "/instances/inst1?track_hook=feed").await;
    assert_eq!(status, StatusCode::OK);
    let added = cli.run(&["keys", "new", "--output", "json"]).await;
    assert!(added.err.contains("next start"), "{added:?}");
    tracker.stop().await;

    // What the first key sealed opens beside the second.
    let tracker = Tracker::start(folder.path(), &[]).await;
    let (status, text) = tracker.request(Method::GET, "/hooks").await;
    assert!(status == StatusCode::OK && text.contains("inst1"), "{text}");
    tracker.stop().await;
    let list = cli.run(&["keys", "list", "--output", "json"]).await;
    let document = list.json();
    let keys = document["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!((&keys[0]["seals"], &keys[1]["seals"]), (&Value::Bool(false), &Value::Bool(true)));
    assert_eq!(keys[1]["id"], added.json()["new"]);
    let text = std::fs::read_to_string(&ring).unwrap();
    let said =
        [list.out, added.out, cli.run(&["keys", "list"]).await.out, cli.run(&["keys", "check"]).await.out].concat();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let key = line.split_once(':').unwrap().1.split_whitespace().next().unwrap();
        assert!(key.len() == 44 && !said.contains(key));
    }
    std::fs::set_permissions(&ring, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_refused(&cli.run(&["keys", "check"]).await, 1, "chmod 600");
}
