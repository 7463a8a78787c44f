//! What clouds do to whoever watches them, each named for the promise that it must not break.

use reqwest::Method;
use serde_json::Value;
use tracker::clock::Clock as _;
use tracker::drivers::{Kind, MockCall};
use tracker::model::{Collection, RealmState, Seq};

use crate::support::world::{World, minutes, seconds};

/// A world with these instances, a hook on all of them, and one on the account.
async fn watched(count: usize) -> World {
    let mut world = World::new().await;
    for n in 0..count {
        world.provider.add_instance(&format!("inst{n}"), "RUNNING");
    }
    assert_eq!(world.put_hook("instances", "feed", &[]).await.status, 200);
    assert_eq!(world.put_hook("realms", "feed", &[]).await.status, 200);
    let ops = String::from(world.receiver.url("/ops"));
    assert_eq!(world.put_hook("", &ops, &[("subscriber", "ops")]).await.status, 200);
    world.live(minutes(2)).await;
    world
}

/// All of the account's log: type and id.
async fn said(world: &World) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    log(world).await.iter().map(|change| (text(&change["type"]), text(&change["resource"]["id"]))).collect()
}

async fn log(world: &World) -> Vec<Value> {
    let answer = world.get("/changes?after=0&limit=1000&subscriber=nobody").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json().as_array().unwrap().clone()
}

fn count(said: &[(String, String)], kind: &str) -> usize {
    said.iter().filter(|(said, _)| said == kind).count()
}

#[tokio::test]
async fn a_region_that_fails_for_ten_minutes_changes_none_of_a_thousand_instances() {
    let mut world = watched(1_000).await;
    let down_at = world.clock.now();
    world.provider.fails(Kind::Unavailable);
    let before = world.provider.calls();
    world.live(minutes(10)).await;
    let asked = world.provider.calls() - before;
    assert!((5..=25).contains(&asked), "it is left alone, but not forgotten: {asked} calls");
    // No other provider is watched that could tell whose fault it is: what is thought of realms is put off.
    let kinds: Vec<_> = said(&world).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["account.unreachable", "observer.isolated"]);
    world.provider.heals();
    world.provider.set_state("inst7", "STOPPED");
    world.live(minutes(15)).await;

    let log = log(&world).await;
    let said = said(&world).await;
    assert_eq!((count(&said, "account.unreachable"), count(&said, "account.reachable")), (1, 1), "{said:?}");
    let back = log.iter().find(|change| change["type"] == "account.reachable").unwrap();
    let at = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let (from, to) = (at(&back["observed"]["before"]), at(&back["observed"]["at"]));
    assert!(from <= down_at && to >= down_at + minutes(10), "{back}");
    let instances: Vec<_> = said.iter().filter(|(kind, _)| kind.starts_with("instance.")).collect();
    assert_eq!(instances, [&("instance.state".to_owned(), "inst7".to_owned())], "only what really happened");
    assert_eq!(count(&said, "realm.state"), 0);
    world.end().await;
}

#[tokio::test]
async fn revoked_credentials_are_told_once_and_tried_again_every_quarter_of_an_hour() {
    let mut world = watched(1).await;
    world.provider.fails(Kind::Denied);
    world.live(minutes(5)).await;
    let denied = world.feed_of_the_store().await;
    assert!(denied.len() == 1 && denied[0].starts_with("account credentials refused: "), "{denied:?}");
    let before = world.provider.calls();
    world.live(minutes(120)).await;
    let probes = world.provider.calls() - before;
    assert!((6..=12).contains(&probes), "{probes} in two hours");
    assert_eq!(world.feed_of_the_store().await.len(), 1, "once");

    // They are good again, and one comes with them who only wants to read: that is soon enough.
    world.provider.heals();
    world.provider.set_state("inst0", "STOPPED");
    assert_eq!(world.get("/instances").await.status, 200);
    world.poll().await;
    let said = said(&world).await;
    assert_eq!(count(&said, "account.reachable"), 1, "{said:?}");
    assert_eq!(count(&said, "instance.state"), 1, "{said:?}");
    world.end().await;
}

#[tokio::test]
async fn whatever_an_owner_is_answered_well_ends_the_refusal_of_its_account() {
    let requests = [
        (Method::GET, "/instances/inst0"),
        (Method::HEAD, "/instances/inst0"),
        (Method::POST, "/instances/inst0/reboot"),
        (Method::POST, "/instances?image_id=img1"),
        (Method::GET, "/keys"),
    ];
    for (method, path) in requests {
        let mut world = watched(1).await;
        world.provider.fails(Kind::Denied);
        world.live(minutes(5)).await;
        assert!(world.feed_of_the_store().await[0].starts_with("account credentials refused: "));
        world.provider.heals();
        world.provider.set_state("inst0", "RUNNING");
        let answer = world.request(method.clone(), path).await;
        assert!(answer.status.is_success(), "{method} {path}: {} {}", answer.status, answer.text);
        world.poll().await;
        let said = said(&world).await;
        assert_eq!(count(&said, "account.reachable"), 1, "{method} {path}: {said:?}");
        // Looks go on.
        world.provider.set_state("inst0", "STOPPED");
        world.live(minutes(2)).await;
        assert!(world.feed_of_the_store().await.contains(&"inst0 RUNNING -> STOPPED".to_owned()), "{method} {path}");
        world.end().await;
    }
}

#[tokio::test]
async fn whoever_is_refused_or_not_its_owner_ends_no_refusal() {
    let mut world = watched(1).await;
    world.provider.add_user("other", "password");
    world.provider.fails(Kind::Denied);
    world.live(minutes(5)).await;
    assert_eq!(world.get("/instances/inst0").await.status, 401);
    world.provider.heals();
    let other = world.request_as(Method::GET, "/instances", "other", "password").await;
    assert_eq!(other.status, 200);
    world.poll().await;
    assert_eq!(count(&log_kinds(&world).await, "account.reachable"), 0);
    world.end().await;
}

/// As [`said`], without asking the provider who asks.
async fn log_kinds(world: &World) -> Vec<(String, String)> {
    let account = world.account().await.unwrap();
    let log = world.store().log_after(account, Seq(0), 1_000).await.unwrap();
    log.into_iter().map(|entry| (entry.change.news.kind().to_owned(), entry.change.subject.id)).collect()
}

#[tokio::test]
async fn while_its_backend_is_down_an_account_hears_of_it_and_others_of_nothing() {
    let mut world = watched(1).await;
    world.provider.fails(Kind::TimedOut);
    world.live(minutes(6)).await;
    let posted = world.receiver.accepted_requests();
    let kinds: Vec<_> = posted.iter().map(|request| request.json()["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["account.unreachable", "observer.isolated"]);
    assert_eq!(world.feed("").await, [], "the subscriber with hooks on resources");
    world.end().await;
}

#[tokio::test]
async fn a_service_for_volumes_that_is_down_closes_no_eye_on_instances() {
    let mut world = watched(2).await;
    for collection in ["storage_volumes", "storage_snapshots"] {
        assert_eq!(world.put_hook(collection, "feed", &[]).await.status, 200);
    }
    world.live(minutes(5)).await;
    for call in [MockCall::Volumes, MockCall::Snapshots] {
        world.provider.fails_all(call, Kind::Unavailable);
    }
    // Either finds out for both.
    let looks =
        |world: &World| world.provider.calls_of(MockCall::Volumes) + world.provider.calls_of(MockCall::Snapshots);
    let before = looks(&world);
    world.live(minutes(30)).await;
    let asked = looks(&world) - before;
    assert!((6..=20).contains(&asked), "it is left alone, but not forgotten: {asked} looks");
    let lists = world.provider.calls_of(MockCall::Instances);
    world.provider.set_state("inst0", "STOPPED");
    world.live(minutes(6)).await;
    assert!(world.provider.calls_of(MockCall::Instances) > lists);
    assert_eq!(said(&world).await, [("instance.state".to_owned(), "inst0".to_owned())], "the account can be looked at");

    world.provider.heals();
    world.live(minutes(15)).await;
    let gaps: Vec<_> = said(&world).await.into_iter().skip(1).collect();
    let gap = |collection: &str| ("account.observation_gap".to_owned(), collection.to_owned());
    assert!(
        gaps.len() == 2 && gaps.contains(&gap("storage_volumes")) && gaps.contains(&gap("storage_snapshots")),
        "{gaps:?}"
    );
    let log = log(&world).await;
    let why = log.last().unwrap()["why"][0]["text"].as_str().unwrap();
    assert!(why.contains("failed, the last with: "), "{why}");
    world.end().await;
}

#[tokio::test]
async fn many_that_go_missing_together_are_not_gone_before_two_more_lists_agree() {
    let mut world = watched(10).await;
    world.clock.advance(minutes(10));
    world.tick().await;
    for n in 0..5 {
        world.provider.remove(&format!("inst{n}"));
    }
    world.clock.advance(minutes(6));
    world.tick().await;
    let lists = world.provider.calls_of(MockCall::Instances);
    for _ in 0..8 {
        world.clock.advance(seconds(10));
        world.poll().await;
    }
    assert_eq!(said(&world).await, [], "held for a minute and a half");
    assert!(world.provider.calls_of(MockCall::Instances) >= lists + 2, "and listed meanwhile");
    // What comes back in time was never gone.
    world.provider.add_instance("inst0", "RUNNING");
    world.clock.advance(seconds(11));
    world.poll().await;
    world.clock.advance(seconds(31));
    world.poll().await;
    let log = log(&world).await;
    let gone: Vec<_> = log.iter().map(|change| change["resource"]["id"].as_str().unwrap()).collect();
    assert_eq!(gone, ["inst1", "inst2", "inst3", "inst4"]);
    for change in &log {
        assert_eq!(change["type"], "instance.gone");
        assert_eq!(change["timestamp"], log[0]["timestamp"], "as one");
        assert_eq!(change["why"][0]["rule"], "mass", "{change}");
    }
    world.end().await;
}

#[tokio::test]
async fn what_is_missing_in_a_realm_that_is_down_is_not_gone() {
    let mut world = watched(6).await;
    world.clock.advance(minutes(10));
    let realm = world.get("/instances/inst0?format=json").await.json()["instance"]["realm"]["id"].clone();
    let realm = realm.as_str().unwrap().to_owned();
    world.provider.set_realm(&realm, RealmState::Unavailable, Some("power"));
    world.live(minutes(6)).await;
    world.provider.remove("inst0");
    world.live(minutes(9)).await;
    let down = said(&world).await;
    assert_eq!(count(&down, "instance.gone"), 0, "{down:?}");
    world.provider.set_realm(&realm, RealmState::Available, None);
    world.live(minutes(12)).await;
    let up = said(&world).await;
    assert_eq!(count(&up, "instance.gone"), 1, "{up:?}");
    world.end().await;
}

#[tokio::test]
async fn many_that_are_missing_in_a_realm_that_is_down_are_not_listed_again_and_again() {
    let mut world = watched(6).await;
    world.clock.advance(minutes(10));
    let realm = world.get("/instances/inst0?format=json").await.json()["instance"]["realm"]["id"].clone();
    world.provider.set_realm(realm.as_str().unwrap(), RealmState::Unavailable, Some("power"));
    world.live(minutes(6)).await;
    for id in 0..5 {
        world.provider.remove(&format!("inst{id}"));
    }
    let account = world.account().await.unwrap();
    world.store().look_now(account, Collection::Instances, world.clock.now()).await.unwrap();
    world.poll().await;
    let known = world.store().known(account, Collection::Instances).await.unwrap();
    assert_eq!(known.members.values().filter(|row| row.absent_since.is_some()).count(), 5);
    let before = world.provider.calls_of(MockCall::Instances);
    // No tick comes.
    for _ in 0..18 {
        world.clock.advance(seconds(30));
        world.poll().await;
    }
    let lists = world.provider.calls_of(MockCall::Instances) - before;
    assert!(lists <= 2, "{lists} lists in 9 minutes");
    assert_eq!(count(&log_kinds(&world).await, "instance.gone"), 0);
    world.end().await;
}

#[tokio::test]
async fn what_was_gone_and_is_there_again_says_so() {
    let mut world = watched(2).await;
    world.clock.advance(minutes(10));
    world.tick().await;
    world.provider.remove("inst0");
    world.live(minutes(8)).await;
    world.provider.add_instance("inst0", "RUNNING");
    world.provider.add_instance("inst2", "RUNNING");
    world.live(minutes(8)).await;
    let log = log(&world).await;
    let whys: Vec<_> = log
        .iter()
        .map(|change| (change["type"].as_str().unwrap(), change["why"][0]["rule"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        whys,
        [("instance.gone", ""), ("instance.appeared", "reappeared"), ("instance.appeared", "")],
        "{log:?}"
    );
    world.end().await;
}

#[tokio::test]
async fn where_nothing_happens_the_provider_is_asked_every_five_minutes_and_at_once_when_something_does() {
    let mut world = watched(3).await;
    world.live(minutes(30)).await;
    let before = world.provider.calls_of(MockCall::Instances);
    world.live(minutes(60)).await;
    let calm = world.provider.calls_of(MockCall::Instances) - before;
    assert!((11..=13).contains(&calm), "{calm} lists in an hour");
    world.provider.set_state("inst0", "STOPPED");
    world.live(minutes(6)).await;
    let before = world.provider.calls_of(MockCall::Instances);
    world.live(minutes(3)).await;
    let lively = world.provider.calls_of(MockCall::Instances) - before;
    assert!(lively >= 1, "back to every minute: {lively}");
    world.end().await;
}
