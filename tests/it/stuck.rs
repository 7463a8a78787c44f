//! A machine that stays for long where it ought not to is told of, once.

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::world::{World, minutes};

async fn log(world: &World) -> Vec<Value> {
    let answer = world.get("/changes?after=0&limit=1000&subscriber=nobody").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let log = answer.json().as_array().unwrap().clone();
    log.into_iter().filter(|change| change["resource"]["collection"] == "instances").collect()
}

async fn kinds(world: &World) -> Vec<String> {
    log(world).await.iter().map(|change| change["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_machine_that_stays_pending_is_told_once_also_across_restarts() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.live(minutes(1)).await;
    world.provider.set_state("inst0", "PENDING");
    world.live(minutes(15)).await;
    assert_eq!(kinds(&world).await, ["instance.state"], "not before its time");
    world.crash().await;
    world.start().await;
    world.live(minutes(2)).await;
    assert_eq!(kinds(&world).await, ["instance.state", "instance.stuck"]);
    let told = world.receiver.accepted_requests();
    assert_eq!(told.len(), 2);
    let body = told[1].json();
    assert_eq!(body["stuck"], log(&world).await[1]["stuck"], "the same in the callback and in the log");
    assert_eq!((&body["type"], &body["resource"]["revision"]), (&"instance.stuck".into(), &2.into()));
    assert_eq!((&body["from"], &body["to"]["state"]), (&Value::Null, &"PENDING".into()));
    assert_eq!(body["stuck"]["since"], "2026-11-21T10:02:00Z");
    assert_eq!((&body["stuck"]["seconds"], &body["stuck"]["unseen_seconds"]), (&900.into(), &0.into()));
    let text = body["why"][0]["text"].as_str().unwrap();
    assert_eq!(text, "it has been PENDING since 2026-11-21T10:02:00Z, 15 min: that ought to pass by itself");

    world.live(minutes(30)).await;
    world.stop().await;
    world.start().await;
    world.live(minutes(30)).await;
    assert_eq!(kinds(&world).await.len(), 2, "once");
    world.provider.set_state("inst0", "RUNNING");
    world.live(minutes(30)).await;
    assert_eq!(kinds(&world).await[2..], ["instance.state"]);
    world.end().await;
}

#[tokio::test]
async fn time_in_which_nobody_looked_does_not_count_as_stuck() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.live(minutes(1)).await;
    world.provider.set_state("inst0", "STOPPING");
    world.live(minutes(5)).await;
    world.stop().await;
    world.clock.advance(minutes(60));
    world.start().await;
    world.live(minutes(9)).await;
    assert_eq!(kinds(&world).await, ["instance.state"]);
    world.live(minutes(4)).await;
    assert_eq!(kinds(&world).await, ["instance.state", "instance.stuck"]);
    let body = log(&world).await.pop().unwrap();
    let unseen = body["stuck"]["unseen_seconds"].as_u64().unwrap();
    assert!((3_600..=3_720).contains(&unseen), "{body}");
    assert!(body["why"][0]["text"].as_str().unwrap().contains(" min of which nobody looked"), "{body}");
    world.end().await;
}

#[tokio::test]
async fn who_does_not_ask_for_it_is_not_called() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "PENDING");
    let hook = world.hook();
    assert_eq!(world.put_hook("instances/inst0", &hook, &[("track_events", "state")]).await.status, StatusCode::OK);
    let ops = String::from(world.receiver.url("/ops"));
    let of_stuck = [("track_events", "stuck"), ("subscriber", "ops")];
    assert_eq!(world.put_hook("instances", &ops, &of_stuck).await.status, StatusCode::OK);
    world.live(minutes(20)).await;
    let called: Vec<String> = world.receiver.accepted_requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(called, ["/ops"]);
    world.end().await;
}
