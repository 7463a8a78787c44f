//! Whether realms can be used, through the whole of Tracker: what launches, looks and silence say, and who is told of it.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tracker::drivers::Kind;
use tracker::model::{Declared, FaultKind};

use crate::support::world::{PASSWORD, USER, World, minutes, seconds};

/// With an instance in realm `us`, realms `eu` and `ap` beside it, a hook on all realms and one on the account.
async fn watched() -> World {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    for realm in ["us", "eu", "ap"] {
        world.provider.declare_realm(realm, Declared::Up);
    }
    let (hook, ops) = (world.hook(), String::from(world.receiver.url("/ops")));
    assert_eq!(world.put_hook("instances", "feed", &[]).await.status, StatusCode::OK);
    assert_eq!(world.put_hook("realms", &hook, &[]).await.status, StatusCode::OK);
    assert_eq!(world.put_hook("", &ops, &[("subscriber", "ops")]).await.status, StatusCode::OK);
    world.live(minutes(2)).await;
    world
}

/// One launch in a realm, and a minute.
async fn launch(world: &mut World, realm: &str) -> StatusCode {
    let create = format!("/instances?image_id=img1&realm_id={realm}");
    let status = world.request(Method::POST, &create).await.status;
    world.live(minutes(1)).await;
    status
}

/// What was said of realms and of the provider, oldest first: `us AVAILABLE UNAVAILABLE E1-cusum`, `provider.degraded`.
async fn said(world: &World) -> Vec<String> {
    log(world).await.iter().filter(|change| !is_of_instances(change)).map(in_short).collect()
}

/// As [`said`], of what the receiver was called back with on account of the hook on realms.
fn called_back(world: &World) -> Vec<String> {
    let requests = world.receiver.accepted_requests();
    let of_realms = requests.iter().filter(|request| request.target == "/cb");
    of_realms.map(|request| in_short(&request.json())).collect()
}

async fn log(world: &World) -> Vec<Value> {
    let answer = world.get("/changes?after=0&limit=1000&subscriber=nobody").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json().as_array().unwrap().clone()
}

fn is_of_instances(change: &Value) -> bool {
    change["type"].as_str().unwrap().starts_with("instance.")
}

fn in_short(change: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    if change["type"] != "realm.state" {
        return text(&change["type"]);
    }
    let (from, to) = (&change["from"]["availability"], &change["to"]["availability"]);
    [&change["resource"]["id"], from, to, &change["why"][0]["rule"]].map(text).join(" ")
}

/// Two values on Deltacloud's wire, and four in Tracker's own element.
async fn shown(world: &World, realm: &str) -> (String, String) {
    let answer = world.get(&format!("/realms/{realm}?format=json")).await;
    let realm = &answer.json()["realm"];
    let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    (text(&realm["state"]), text(&realm["tracking"]["availability"]))
}

fn pair(state: &str, availability: &str) -> (String, String) {
    (state.to_owned(), availability.to_owned())
}

async fn evidence(world: &World, realm: &str) -> Value {
    let answer = world.get(&format!("/realms/{realm}/evidence")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn launches_that_fail_in_one_realm_make_it_unavailable_and_say_why() {
    let mut world = watched().await;
    assert_eq!(launch(&mut world, "eu").await, StatusCode::CREATED);
    world.provider.refuses_launches("us", FaultKind::Capacity, "InsufficientInstanceCapacity");
    for _ in 0..3 {
        assert_eq!(launch(&mut world, "us").await, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(said(&world).await, Vec::<String>::new(), "three may be chance");
    assert_eq!(shown(&world, "us").await, pair("AVAILABLE", "AVAILABLE"));
    launch(&mut world, "us").await;
    assert_eq!(said(&world).await, ["us AVAILABLE UNAVAILABLE E1-cusum"]);
    assert_eq!(called_back(&world), ["us AVAILABLE UNAVAILABLE E1-cusum"]);
    assert_eq!(shown(&world, "us").await, pair("UNAVAILABLE", "UNAVAILABLE"));
    assert_eq!(shown(&world, "eu").await, pair("AVAILABLE", "AVAILABLE"));

    let change = log(&world).await.into_iter().find(|change| change["type"] == "realm.state").unwrap();
    let text = change["why"][0]["text"].as_str().unwrap();
    let sentence =
        "launches in us: 4 of 4 failed in 3 min (InsufficientInstanceCapacity 4); siblings 0 of 1; declared *up*";
    assert!(text.starts_with(sentence), "{text}");
    assert!(text.ends_with("score 12.1 ≥ 10"), "{text}");
    assert_eq!(change["confidence"], 0.7, "the provider says otherwise: {change}");
    let known = evidence(&world, "us").await;
    let standing = &known["standing"];
    assert_eq!((&standing["state"], &standing["why"]["rule"]), (&"UNAVAILABLE".into(), &"E1-cusum".into()));
    assert_eq!(standing["why"]["text"], text, "{known}");
    let launches = known["signals"].as_array().unwrap().iter().find(|signal| signal["kind"] == "launches").unwrap();
    assert_eq!((&launches["count"], &launches["of"]), (&4.into(), &4.into()), "{known}");

    // Room again: the hold-down over, three that come up bring it back.
    world.provider.heals();
    for _ in 0..8 {
        assert_eq!(launch(&mut world, "us").await, StatusCode::CREATED);
    }
    assert_eq!(said(&world).await[1..], ["us UNAVAILABLE AVAILABLE H-recover"]);
    assert_eq!(shown(&world, "us").await, pair("AVAILABLE", "AVAILABLE"));
    world.end().await;
}

#[tokio::test]
async fn launches_that_end_in_error_count_as_those_that_are_refused() {
    let mut world = watched().await;
    for _ in 0..4 {
        let id = world.provider.add("PENDING");
        world.live(minutes(1)).await;
        world.provider.set_state(&id, "ERROR");
        world.live(minutes(1)).await;
    }
    assert_eq!(said(&world).await, ["us AVAILABLE UNAVAILABLE E1-cusum"]);
    let known = evidence(&world, "us").await;
    let launches = known["signals"].as_array().unwrap().iter().find(|signal| signal["kind"] == "launches").unwrap();
    assert_eq!(launches["ids"].as_array().unwrap().len(), 4, "{known}");
    world.end().await;
}

#[tokio::test]
async fn launches_that_fail_in_all_realms_are_told_once_of_the_provider_and_of_no_realm() {
    let mut world = watched().await;
    let realms = ["us", "eu", "ap"];
    for realm in realms {
        world.provider.refuses_launches(realm, FaultKind::Infrastructure, "InternalError");
    }
    for _ in 0..8 {
        for realm in realms {
            let create = format!("/instances?image_id=img1&realm_id={realm}");
            assert_eq!(world.request(Method::POST, &create).await.status, StatusCode::BAD_GATEWAY);
        }
        world.live(minutes(1)).await;
    }
    assert_eq!(said(&world).await, ["provider.degraded"]);
    let change = log(&world).await.into_iter().find(|change| change["type"] == "provider.degraded").unwrap();
    let text = change["why"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("3 of 3 realms in use fail within"), "{text}");
    for realm in realms {
        assert_eq!(shown(&world, realm).await, pair("AVAILABLE", "AVAILABLE"));
    }
    let ops = world.receiver.accepted_requests().iter().filter(|request| request.target == "/ops").count();
    assert_eq!(ops, 1, "whoever watches the account is told");
    world.end().await;
}

#[tokio::test]
async fn launches_beyond_a_quota_say_nothing_of_a_realm() {
    let mut world = watched().await;
    world.provider.refuses_launches("us", FaultKind::Quota, "InstanceLimitExceeded");
    for _ in 0..20 {
        assert_eq!(launch(&mut world, "us").await, StatusCode::FORBIDDEN);
    }
    assert_eq!(said(&world).await, Vec::<String>::new());
    assert_eq!(shown(&world, "us").await, pair("AVAILABLE", "AVAILABLE"));
    let known = evidence(&world, "us").await;
    assert!(known["signals"].as_array().unwrap().iter().all(|signal| signal["kind"] != "launches"), "{known}");
    world.end().await;
}

/// Lives closer to how a Tracker does that nobody's hands hold: a cron tick, and then looks when they fall due.
async fn live_closely(world: &mut World) {
    for step in 0..6 {
        world.clock.advance(seconds(10));
        if step == 0 {
            world.tick().await;
        } else {
            world.poll().await;
        }
        world.deliver().await;
    }
}

#[tokio::test]
async fn a_realm_that_flips_every_minute_is_told_to_flap_and_its_flips_are_not_called_back() {
    let mut world = watched().await;
    for turn in 0..30 {
        let declared = if turn % 2 == 0 { Declared::Degraded } else { Declared::Up };
        world.provider.declare_realm("us", declared);
        world.live(minutes(1)).await;
    }
    let flapping = said(&world).await;
    let count = |kind: &str| flapping.iter().filter(|said| *said == kind).count();
    assert_eq!((count("realm.flapping_start"), count("realm.flapping_end")), (1, 0), "{flapping:?}");
    assert!(flapping.len() > 20, "all of it is in the log: {flapping:?}");
    let at = flapping.iter().position(|said| said == "realm.flapping_start").unwrap();
    assert!((3..10).contains(&at), "{flapping:?}");
    let log = log(&world).await;
    let log: Vec<_> = log.iter().filter(|change| !is_of_instances(change)).collect();
    for (place, change) in log.iter().enumerate().filter(|(_, change)| change["type"] == "realm.state") {
        assert_eq!(change["suppressed"] == true, place > at, "{change}");
    }
    assert_eq!(called_back(&world), flapping[..=at], "and nothing of what is suppressed");

    world.provider.declare_realm("us", Declared::Up);
    world.live(minutes(20)).await;
    let settled = said(&world).await;
    assert_eq!(settled.last().unwrap(), "realm.flapping_end");
    assert_eq!(settled.iter().filter(|said| *said == "realm.flapping_end").count(), 1);
    assert_eq!(called_back(&world)[at + 1..], ["realm.flapping_end"]);
    assert_eq!(shown(&world, "us").await, pair("AVAILABLE", "AVAILABLE"));
    // Told of as ever.
    world.provider.declare_realm("us", Declared::Degraded);
    world.live(minutes(6)).await;
    assert_eq!(called_back(&world)[at + 2..], ["us AVAILABLE DEGRADED D2-degraded"]);
    world.end().await;
}

#[tokio::test]
async fn a_realm_of_which_the_provider_says_nothing_is_what_it_was_from_the_first() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.provider.declare_realm("us", Declared::Nothing);
    let answer = world.put_hook("realms", "feed", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(shown(&world, "us").await.0, "AVAILABLE");
    world.live(minutes(6)).await;
    assert_eq!(said(&world).await, [""; 0], "nothing happened");
    assert_eq!(shown(&world, "us").await, pair("AVAILABLE", "AVAILABLE"));
    world.end().await;
}

#[tokio::test]
async fn a_provider_that_is_down_for_long_makes_its_realms_unavailable_but_not_before_ten_minutes() {
    let mut world = watched().await;
    // Another one, which answers all the time.
    let track = ";provider=other/realms?track_hook=feed&subscriber=other";
    assert_eq!(world.request_as(Method::PUT, track, USER, PASSWORD).await.status, StatusCode::OK);
    world.live(minutes(3)).await;
    world.provider.goes_down(Kind::Unavailable);
    for _ in 0..10 {
        live_closely(&mut world).await;
    }
    let of_us = async |world: &World| said(world).await.into_iter().filter(|said| said.starts_with("us ")).collect();
    let doubts = ["us AVAILABLE UNKNOWN R1-unreachable", "us UNKNOWN DEGRADED R2-unreachable"];
    let early: Vec<String> = of_us(&world).await;
    assert_eq!(early, doubts, "ten minutes are not enough");
    for _ in 0..10 {
        live_closely(&mut world).await;
    }
    let late: Vec<String> = of_us(&world).await;
    assert_eq!(late, [doubts.as_slice(), &["us DEGRADED UNAVAILABLE R3-unreachable"]].concat());
    let log = log(&world).await;
    assert!(log.iter().all(|change| change["type"] != "observer.isolated"), "somebody answers: {log:#?}");
    let turns: Vec<_> = log.iter().filter(|change| change["resource"]["id"] == "us").collect();
    let wire: Vec<_> = turns.iter().map(|turn| turn["to"]["state"].as_str().unwrap()).collect();
    assert_eq!(wire, ["AVAILABLE", "AVAILABLE", "UNAVAILABLE"], "two values");
    let at = |turn: &Value| turn["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let after = |nth: usize| at(turns[nth]).duration_since(at(turns[0])).as_secs();
    assert!((120..=150).contains(&after(1)) && (600..=630).contains(&after(2)), "{} s, {} s", after(1), after(2));

    world.provider.heals();
    for _ in 0..20 {
        live_closely(&mut world).await;
    }
    let back: Vec<String> = of_us(&world).await;
    assert_eq!(back[3..], ["us UNAVAILABLE AVAILABLE H-recover"]);
    assert_eq!(shown(&world, "us").await, pair("AVAILABLE", "AVAILABLE"));
    world.end().await;
}
