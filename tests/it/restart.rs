//! The process dies at any moment; no change is lost, none is out of order, and `seq` has no hole.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tracker::chance::Chance;

use crate::support::child::{PATIENCE, Tracker};
use crate::support::receiver::Receiver;
use crate::support::world::{World, client, seconds};

/// A cloud that never rests, looked at all the time.
const BUSY: &[(&str, &str)] = &[
    ("TRACKER_DRIVERS__MOCK__LIVELY", "true"),
    ("TRACKER_POLL__INSTANCES_CRON", "* * * * * *"),
    ("TRACKER_POLL__SPREAD_MS", "0"),
    ("TRACKER_POLL__SETTLING_EVERY_MS", "20"),
    ("TRACKER_POLL__LIST_EVERY_MS", "50"),
];

const KILLS: usize = 25;

#[tokio::test]
async fn killed_at_many_moments_it_delivers_every_change_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let chance = Chance::seeded(17);
    let draw = |most: f64| 1 + (chance.roll() * most) as usize;
    for round in 0..=KILLS {
        let mut tracker = Tracker::start(folder.path(), BUSY).await;
        if round == 0 {
            let path = format!("/instances?track_hook={}", receiver.url("/cb"));
            let (status, text) = tracker.request(Method::PUT, &path).await;
            assert_eq!(status, StatusCode::OK, "{text}");
        }
        if round == KILLS {
            all_arrived(&tracker, &receiver).await;
            tracker.stop().await;
            break;
        }
        // Something is always going on: a new machine, and one that is stopped. The killed cloud forgets both.
        let (status, _) = tracker.request(Method::POST, "/instances?image_id=img1").await;
        assert_eq!(status, StatusCode::CREATED);
        tracker.request(Method::POST, "/instances/inst1/stop").await;
        tracker.more_lines(draw(60.0)).await;
        tracker.kill().await;
    }
}

async fn all_arrived(tracker: &Tracker, receiver: &Receiver) {
    let log = log(tracker).await;
    let seqs: Vec<_> = log.iter().map(|change| change["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "seq has no hole");
    assert!(seqs.len() > KILLS, "something happened in every life: {}", seqs.len());

    let last = *seqs.last().unwrap();
    let arrived = receiver.wait_until(|accepted| {
        let seen: std::collections::BTreeSet<_> =
            accepted.iter().map(|request| request.json()["seq"].as_u64().unwrap()).collect();
        seen.range(..=last).count() as u64 == last
    });
    tokio::time::timeout(PATIENCE, arrived).await.expect("every change of the log arrives");

    let mut revisions = BTreeMap::<String, u64>::new();
    for request in receiver.accepted_requests() {
        let change = request.json();
        let id = change["resource"]["id"].as_str().unwrap().to_owned();
        let revision = change["resource"]["revision"].as_u64().unwrap();
        let newest = revisions.entry(id.clone()).or_default();
        // A repeated one is allowed, an overtaken one is not: the first arrivals come in order, without a hole.
        assert!(revision <= *newest + 1, "{id}: {revision} came after {newest}");
        *newest = revision.max(*newest);
        // What was posted is what the log shows; only the address of this Tracker is another in each life.
        if let Some(mut entry) = log.iter().find(|entry| entry["seq"] == change["seq"]).cloned() {
            entry["resource"]["href"] = change["resource"]["href"].clone();
            assert_eq!(entry, change);
        }
    }
}

async fn log(tracker: &Tracker) -> Vec<Value> {
    let mut log = Vec::new();
    loop {
        let (status, text) =
            tracker.request(Method::GET, &format!("/changes?subscriber=reader&after={}&limit=1000", log.len())).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        let Value::Array(page) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
        let full = page.len() == 1_000;
        log.extend(page);
        if !full {
            return log;
        }
    }
}

#[tokio::test]
async fn dead_between_the_sample_and_its_commit_it_finds_the_change_again() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.provider.set_state("inst0", "STOPPED");
    // The visit is cut off wherever it is by then: before the provider is asked, or after.
    world.begin_to_poll().await;
    world.crash().await;
    world.start().await;
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn dead_between_the_commit_and_the_send_it_sends_after_the_restart() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    for state in ["STOPPED", "RUNNING"] {
        world.provider.set_state("inst0", state);
        world.clock.advance(seconds(60));
        world.tick().await;
    }
    world.crash().await;
    world.start().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED", "inst0 STOPPED -> RUNNING"]);
    world.end().await;
}

#[tokio::test]
async fn a_second_tracker_on_the_same_store_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = Tracker::start(folder.path(), &[]).await;
    let (well, log) = Tracker::spawn(folder.path(), &[]).ended().await;
    assert!(!well);
    assert!(log.contains("another Tracker has this store open"), "{log}");
    first.stop().await;
}

#[tokio::test]
async fn asked_to_stop_it_stops_cleanly_and_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let tracker = Tracker::start(folder.path(), &[]).await;
    let (status, _) =
        tracker.request(Method::PUT, &format!("/instances/inst1?track_hook={}", receiver.url("/cb"))).await;
    assert_eq!(status, StatusCode::OK);
    let (well, log) = tracker.stop().await;
    assert!(well, "{log}");
    // The operator moves house with two files.
    let elsewhere = tempfile::tempdir().unwrap();
    for file in ["tracker.db", "tracker.keys"] {
        std::fs::rename(folder.path().join(file), elsewhere.path().join(file)).unwrap();
    }
    let tracker = Tracker::start(elsewhere.path(), &[]).await;
    tracker.request(Method::POST, "/instances/inst1/stop").await;
    let arrived = receiver.wait_until(|accepted| accepted.len() == 1);
    tokio::time::timeout(PATIENCE, arrived).await.expect("the hook outlived the restart");
    assert_eq!(receiver.accepted_requests()[0].json()["to"]["state"], "STOPPED");
    tracker.stop().await;
}

#[tokio::test]
async fn a_log_that_cannot_be_written_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Every write to it fails as on a full disk, on which the log may well lie.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut tracker = tokio::process::Command::new(env!("CARGO_BIN_EXE_tracker"))
        .arg("serve")
        .env("TRACKER_STORE__URL", format!("sqlite:{}", folder.path().join("tracker.db").display()))
        .env("TRACKER_STORE__KEY_RING", folder.path().join("tracker.keys"))
        .env("TRACKER_API__LISTEN", format!("127.0.0.1:{port}"))
        .env("TRACKER_DELIVER__ALLOW_NETWORKS", "['127.0.0.0/8']")
        .stderr(full)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let answers = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = answers => {}
        ended = tracker.wait() => panic!("it ended: {ended:?}"),
    }
    let request = async |method: Method, path: &str| {
        let request = client().request(method, format!("http://127.0.0.1:{port}/api{path}"));
        request.basic_auth("mockuser", Some("mockpassword")).send().await.unwrap().status()
    };
    let path = format!("/instances/inst1?track_hook={}", receiver.url("/cb"));
    assert_eq!(request(Method::PUT, &path).await, StatusCode::OK);
    assert_eq!(request(Method::POST, "/instances/inst1/stop").await, StatusCode::ACCEPTED);
    let arrived = receiver.wait_until(|accepted| accepted.len() == 1);
    tokio::time::timeout(PATIENCE, arrived).await.expect("the change arrives");
    tracker.kill().await.unwrap();
}

#[tokio::test]
async fn settings_and_stores_that_do_not_fit_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let check = async |settings: &[(&str, &str)], reason: &str| {
        let (well, log) = Tracker::spawn(folder.path(), settings).ended().await;
        assert!(!well && log.contains(reason), "{log}");
    };
    check(&[("TRACKER_STORE__ULR", "x")], "TRACKER_STORE__ULR").await;
    check(&[("TRACKER_POLL__INSTANCES_CRON", "often")], "poll.instances_cron").await;
    check(&[("TRACKER_DELIVER__ALLOW_NETWORKS", "['0.0.0.0/0']")], "0.0.0.0/0").await;
    check(&[("TRACKER_STORE__URL", "mysql://x")], "sqlite:PATH").await;
    check(&[("TRACKER_API__LISTEN", "nowhere")], "api.listen").await;

    // A key ring that does not fit the store.
    Tracker::start(folder.path(), &[]).await.stop().await;
    let ring = folder.path().join("tracker.keys");
    std::fs::rename(&ring, folder.path().join("kept.keys")).unwrap();
    check(&[], "tracker.keys").await;
    assert!(!ring.exists(), "no new ring is made beside an old store");
}
