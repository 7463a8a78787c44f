//! What is read is what the provider said within seconds, and never what was before a change that the reader knows of.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use tracker::drivers::{Kind, MockCall};

use crate::support::raw::{GOOD, Node, Raw};
use crate::support::world::{World, minutes, seconds};

/// With reads as users have them, and instances of one's own.
async fn world() -> World {
    World::with(|settings| settings.reads = tracker::reads::Settings::default()).await
}

async fn state(world: &World, id: &str) -> String {
    world.raw().get(&format!("/api/instances/{id}")).await.xml().child("state").text.clone()
}

fn calls(world: &World, kind: MockCall) -> usize {
    world.provider.calls_of(kind)
}

async fn seq(raw: &Raw, path: &str) -> Option<u64> {
    raw.get(path).await.header("tracker-seq").map(|seq| seq.parse().unwrap())
}

#[tokio::test]
async fn within_seconds_the_provider_is_asked_once() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    let raw = world.raw();
    for _ in 0..5 {
        assert_eq!(raw.get("/api/instances").await.xml().children.len(), 1);
        assert_eq!(raw.get("/api/instances?state=stopped").await.xml().children.len(), 0);
        assert_eq!(state(&world, "inst0").await, "RUNNING", "a member of a list that was just read");
    }
    assert_eq!((calls(&world, MockCall::Instances), calls(&world, MockCall::Look)), (1, 0));
    // That something is not there only the provider can say, now.
    raw.get("/api/instances/inst1").await.is_error(404);
    world.provider.add_instance("inst1", "RUNNING");
    world.clock.advance(seconds(5));
    assert_eq!(state(&world, "inst1").await, "RUNNING");
    assert_eq!(state(&world, "inst1").await, "RUNNING");
    assert_eq!(calls(&world, MockCall::Look), 2);
    world.end().await;
}

#[tokio::test]
async fn an_action_is_seen_at_once_by_whoever_asks() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    let raw = world.raw();
    assert_eq!(state(&world, "inst0").await, "RUNNING");
    assert_eq!(raw.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await.status, 202);
    assert_eq!(state(&world, "inst0").await, "STOPPED");
    assert_eq!(raw.get("/api/instances").await.xml().children.len(), 1);
    assert_eq!(raw.ask("POST", "/api/instances?image_id=img1", &[GOOD]).await.status, 201);
    assert_eq!(raw.get("/api/instances").await.xml().children.len(), 2);
    assert_eq!(world.request(Method::DELETE, "/instances/inst0").await.status, StatusCode::NO_CONTENT);
    raw.get("/api/instances/inst0").await.is_error(404);
    assert_eq!(raw.get("/api/instances").await.xml().children.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn who_was_told_of_a_change_is_not_shown_what_was_before() {
    let mut world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    assert_eq!(state(&world, "inst0").await, "RUNNING");
    world.provider.set_state("inst0", "STOPPED");
    assert_eq!(state(&world, "inst0").await, "RUNNING", "nobody has seen it yet");
    world.tick().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    assert_eq!(state(&world, "inst0").await, "STOPPED");
    world.end().await;
}

#[tokio::test]
async fn a_hook_shows_at_once_and_is_gone_at_once() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    let hook = async || {
        let shown = world.raw().get("/api/instances/inst0").await.xml();
        shown.all("tracking").first().and_then(|tracking| tracking.attribute("hook").map(str::to_owned))
    };
    assert_eq!(hook().await, None);
    world.track("inst0").await;
    assert_eq!(hook().await, Some(world.hook()));
    assert_eq!(hook().await, Some(world.hook()));
    assert_eq!(world.put_hook("instances/inst0", "none", &[]).await.status, StatusCode::OK);
    assert_eq!(hook().await, None);
    world.end().await;
}

#[tokio::test]
async fn list_then_follow_misses_nothing() {
    let mut world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    let raw = world.raw();
    assert_eq!(seq(&raw, "/api/instances").await, None, "nobody watches, so there is nothing to follow");
    assert_eq!(world.put_hook("instances", "feed", &[]).await.status, StatusCode::OK);
    for state in ["STOPPED", "RUNNING", "STOPPED"] {
        world.provider.set_state("inst0", state);
        world.tick().await;
    }
    // The cloud moves on after it was looked at: what a list shows is recorded with it.
    world.provider.set_state("inst0", "RUNNING");
    let list = raw.get("/api/instances").await;
    assert_eq!((list.header("tracker-seq"), list.xml().only("state").text.as_str()), (Some("4"), "RUNNING"));
    world.tick().await;
    assert_eq!(world.feed("?after=4").await, []);
    assert_eq!(world.feed("?after=3").await, [(4, "inst0 STOPPED -> RUNNING".to_owned())]);
    assert_eq!(seq(&raw, "/api/realms").await, Some(4));
    assert_eq!(seq(&raw, "/api/hardware_profiles").await, None, "nothing of these is ever told");
    assert_eq!(seq(&raw, "/api/storage_volumes").await, None, "nobody watches these");
    for collection in ["realms", "storage_volumes"] {
        let put = world.put_hook(collection, "feed", &[]).await;
        assert_eq!(put.headers["tracker-seq"], "4", "{collection}");
        assert_eq!(seq(&raw, &format!("/api/{collection}")).await, Some(4));
    }
    world.end().await;
}

#[tokio::test]
async fn who_lists_and_follows_ends_at_the_truth_also_when_it_comes_back_to_what_was_known() {
    let mut world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(world.put_hook("instances", "feed", &[]).await.status, StatusCode::OK);
    world.provider.set_state("inst0", "STOPPED");
    let list = world.raw().get("/api/instances").await;
    let from = list.header("tracker-seq").unwrap().to_owned();
    assert_eq!(list.xml().only("state").text, "STOPPED");
    world.provider.set_state("inst0", "RUNNING");
    world.clock.advance(seconds(30));
    world.tick().await;
    let feed = world.feed(&format!("?after={from}")).await;
    assert_eq!(feed, [(2, "inst0 STOPPED -> RUNNING".to_owned())]);
    world.end().await;
}

#[tokio::test]
async fn a_reader_who_sees_less_makes_nothing_disappear() {
    // What is missing from his list proves nothing, however often he lists.
    let mut world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(world.put_hook("instances", "feed", &[]).await.status, StatusCode::OK);
    world.provider.remove("inst0");
    for _ in 0..5 {
        world.clock.advance(seconds(60));
        assert_eq!(world.raw().get("/api/instances").await.xml().children.len(), 0);
    }
    assert_eq!(world.feed("?after=0").await, []);
    world.tick().await;
    world.clock.advance(seconds(15));
    world.poll().await;
    assert_eq!(world.feed("?after=0").await, [(1, "inst0 RUNNING -> nothing".to_owned())]);
    world.end().await;
}

#[tokio::test]
async fn what_was_read_stands_in_for_a_provider_that_is_away_even_if_nobody_tracks_it() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    let raw = world.raw();
    assert_eq!(raw.get("/api/instances").await.status, 200);
    assert_eq!(raw.get("/api/hardware_profiles").await.status, 200);
    world.provider.fails(Kind::Unavailable);
    world.clock.advance(minutes(10));
    let stale = |node: &Node| {
        let tracking = node.only("tracking");
        (tracking.attribute("stale").unwrap().to_owned(), tracking.attribute("checked").unwrap().to_owned())
    };
    let expected = ("true".to_owned(), "2026-11-21T10:00:00Z".to_owned());
    assert_eq!(stale(&raw.get("/api/instances").await.xml()), expected);
    assert_eq!(stale(&raw.get("/api/instances/inst0").await.xml()), expected);
    raw.get("/api/instances/inst1").await.is_error(502);
    assert_eq!(raw.get("/api/hardware_profiles").await.status, 200);
    // A stranger is shown nothing that another read.
    world.provider.add_user("eve", "secret");
    assert_eq!(world.request_as(Method::GET, "/instances", "eve", "secret").await.status, StatusCode::BAD_GATEWAY);
    // Something was done to it since: what was read before is worth nothing any more.
    world.provider.heals();
    assert_eq!(raw.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await.status, 202);
    world.provider.fails(Kind::Unavailable);
    raw.get("/api/instances").await.is_error(502);
    world.clock.advance(seconds(6));
    let stopped = raw.get("/api/instances/inst0").await.xml();
    assert_eq!(stopped.child("state").text, "STOPPED", "what the action answered with is the newest that is known");
    assert_eq!(stopped.only("tracking").attribute("stale"), Some("true"));
    world.provider.heals();
    assert_eq!(state(&world, "inst0").await, "STOPPED");
    world.provider.fails(Kind::TimedOut);
    world.clock.advance(minutes(16));
    raw.get("/api/instances/inst0").await.is_error(504);
    world.end().await;
}

#[tokio::test]
async fn a_refusal_is_never_answered_from_memory() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(state(&world, "inst0").await, "RUNNING");
    let wrong = async || world.request_as(Method::GET, "/instances/inst0", "mockuser", "wrong").await.status;
    assert_eq!(wrong().await, StatusCode::UNAUTHORIZED);
    world.provider.add_user("mockuser", "changed");
    world.clock.advance(seconds(5));
    world.raw().get("/api/instances/inst0").await.is_error(401);
    assert_eq!(wrong().await, StatusCode::UNAUTHORIZED);
    world.end().await;
}

#[tokio::test]
async fn one_that_ended_is_shown_until_everybody_was_told_if_the_operator_wants_that() {
    let mut world = World::with(|settings| settings.reads.finish_as_404 = true).await;
    for id in ["inst0", "inst1"] {
        world.provider.add_instance(id, "RUNNING");
    }
    world.track("inst0").await;
    world.provider.set_state("inst0", "FINISH");
    world.provider.set_state("inst1", "FINISH");
    let raw = world.raw();
    // Nobody follows this one.
    raw.get("/api/instances/inst1").await.is_error(404);
    let ids = async || raw.get("/api/instances").await.xml().children.len();
    assert_eq!((state(&world, "inst0").await.as_str(), ids().await), ("FINISH", 1), "not seen by the poller yet");
    world.tick().await;
    assert_eq!((state(&world, "inst0").await.as_str(), ids().await), ("FINISH", 1), "not told yet");
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> FINISH"]);
    raw.get("/api/instances/inst0").await.is_error(404);
    assert_eq!(ids().await, 0);
    world.end().await;
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_call() {
    // Real time: the cloud takes a while, so that they meet.
    let world = World::with(|settings| {
        settings.reads = tracker::reads::Settings::default();
        settings.drivers.mock.latency_ms = 300;
    })
    .await;
    world.provider.add_instance("inst0", "RUNNING");
    let asked = (0..20).map(|_| {
        let raw = world.raw();
        tokio::spawn(async move { raw.get("/api/instances/inst0").await.status })
    });
    for asked in asked.collect::<Vec<_>>() {
        assert_eq!(asked.await.unwrap(), 200);
    }
    let list = world.raw().get("/api/instances").await;
    let given_again = world.raw().get("/api/instances").await;
    // The clock of a test stands still.
    assert_eq!((list.header("x-backend-runtime"), given_again.header("x-backend-runtime")), (Some("0.000000"), None));
    assert_eq!(calls(&world, MockCall::Look), 1);
    world.clock.advance(Duration::from_secs(5));
    world.end().await;
}

#[tokio::test]
async fn who_asks_in_another_way_gets_an_answer_of_his_own() {
    let world = World::reference(|_| {}).await;
    assert_eq!(world.put_hook("instances", "feed", &[("subscriber", "ci")]).await.status, StatusCode::OK);
    let raw = world.raw();
    for _ in 0..2 {
        let xml = raw.get("/api/instances").await;
        assert_eq!((xml.xml().children.len(), xml.xml().all("tracking").len()), (4, 0));
        assert!(xml.body.contains("href='http://localhost:3001/api/instances/inst1'"), "{xml:?}");
        let json = raw.get("/api/instances?format=json").await;
        assert_eq!(json.json()["instances"].as_array().unwrap().len(), 4);
        assert_ne!(json.header("etag"), xml.header("etag"));
        assert_eq!(raw.get("/api/instances?subscriber=ci").await.xml().all("tracking").len(), 4);
        assert_eq!(raw.get("/api/instances?realm_id=eu").await.xml().children.len(), 1);
        assert_eq!(raw.get("/api/instances?id=inst1").await.xml().children.len(), 1);
        let elsewhere = raw.ask("GET", "/api/instances", &[GOOD, ("X-Forwarded-Host", "tracker.example")]).await;
        assert!(elsewhere.body.contains("href='http://tracker.example/api/instances/inst1'"), "{elsewhere:?}");
        let matrix = raw.get("/api;driver=mock/instances").await;
        assert!(matrix.body.contains("/api;driver=mock/instances/inst1'"), "{matrix:?}");
    }
    // More ways than are kept.
    for host in 0..10 {
        let (host, wanted) = (format!("h{host}"), format!("href='http://h{host}/api/instances/inst1'"));
        let answer = raw.ask("GET", "/api/instances", &[GOOD, ("X-Forwarded-Host", &host)]).await;
        assert!(answer.body.contains(&wanted), "{answer:?}");
    }
    assert_eq!(calls(&world, MockCall::Instances), 2, "for the PUT, and for everybody who read");
    world.end().await;
}

#[tokio::test]
async fn what_is_open_to_everybody_is_read_once_for_all() {
    let world = world().await;
    for user in 0..20 {
        let answer = world.request_as(Method::GET, "/hardware_profiles", &format!("user{user}"), "any").await;
        assert_eq!(answer.status, StatusCode::OK);
    }
    assert_eq!(calls(&world, MockCall::HardwareProfiles), 1);
    world.end().await;
}
