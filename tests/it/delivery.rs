//! What is owed arrives: retried, in order, fairly.

use reqwest::StatusCode;

use crate::support::receiver::Receiver;
use crate::support::receiver::Reply::{self, Full, Hang, HangUp, Status, TrickleBody};
use crate::support::world::{PASSWORD, USER, World, client, minutes, seconds};

/// Two changes of one instance, both recorded before anything was sent.
async fn two_changes(world: &mut World) {
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    for state in ["STOPPED", "RUNNING"] {
        world.provider.set_state("inst0", state);
        world.clock.advance(seconds(60));
        world.tick().await;
    }
}

#[tokio::test]
async fn a_receiver_that_fails_twice_gets_the_same_change_three_times_and_the_next_one_after_it() {
    let mut world = World::new().await;
    two_changes(&mut world).await;
    world.receiver.answers([Status(503), Status(503), Status(200)]);
    for _ in 0..3 {
        world.deliver().await;
        world.clock.advance(minutes(1));
    }
    let requests = world.receiver.received();
    let told: Vec<_> =
        requests.iter().map(|request| (request.header("webhook-id").unwrap().to_owned(), request.answered)).collect();
    let (first, second) = (told[0].0.clone(), told[3].0.clone());
    assert_ne!(first, second);
    assert_eq!(told, [(first.clone(), Some(503)), (first.clone(), Some(503)), (first, Some(200)), (second, Some(200))]);
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED", "inst0 STOPPED -> RUNNING"]);
    world.end().await;
}

#[tokio::test]
async fn resources_do_not_wait_for_one_another() {
    let mut world = World::new().await;
    for id in ["inst0", "inst1"] {
        world.provider.add_instance(id, "RUNNING");
        world.track(id).await;
    }
    world.provider.set_state("inst0", "STOPPED");
    world.clock.advance(seconds(60));
    world.tick().await;
    world.receiver.answers([Status(500)]);
    world.deliver().await;
    world.provider.set_state("inst1", "STOPPED");
    world.tick().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst1 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn retry_after_lengthens_the_wait() {
    let mut world = World::new().await;
    two_changes(&mut world).await;
    world.receiver.answers([Full(503, vec![("retry-after", "600".to_owned())], vec![]), Status(200)]);
    world.deliver().await;
    world.clock.advance(seconds(599));
    world.deliver().await;
    assert_eq!(world.receiver.received().len(), 1);
    world.clock.advance(seconds(1));
    world.deliver().await;
    assert_eq!(world.accepted().len(), 2);
    world.end().await;
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_left_alone_until_its_hook_is_set_again() {
    let mut world = World::new().await;
    two_changes(&mut world).await;
    world.receiver.answers([Status(410)]);
    world.deliver().await;
    world.days_of_delivery(4).await;
    assert_eq!(world.receiver.received().len(), 1);
    // What it missed is in the feed all the while, and comes when the hook is set again.
    world.track("inst0").await;
    world.deliver().await;
    let mut accepted = world.accepted();
    accepted.sort();
    assert_eq!(accepted.len(), 3, "{accepted:?}");
    assert!(accepted[0].starts_with("hook_") && accepted[0].ends_with("ENABLED -> DISABLED"), "{accepted:?}");
    assert_eq!(accepted[1..], ["inst0 RUNNING -> STOPPED", "inst0 STOPPED -> RUNNING"]);
    world.end().await;
}

#[tokio::test]
async fn redirects_are_failures_and_are_not_followed() {
    let mut world = World::new().await;
    let elsewhere = Receiver::start().await;
    two_changes(&mut world).await;
    world.receiver.answers([Full(302, vec![("location", elsewhere.url("/").into())], vec![]), Status(200)]);
    world.deliver().await;
    assert!(world.accepted().is_empty());
    assert!(elsewhere.received().is_empty());
    world.clock.advance(minutes(1));
    world.deliver().await;
    assert_eq!(world.accepted().len(), 2);
    world.end().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let mut world = World::with(|settings| {
        settings.deliver.deadline_ms = 60_000;
        settings.deliver.claim_lease_ms = 120_000;
    })
    .await;
    let hanging = Receiver::start().await;
    hanging.otherwise(Hang);
    let bad = String::from(hanging.url("/cb"));
    for turn in 0..20 {
        let id = format!("inst{turn}");
        world.provider.add_instance(&id, "RUNNING");
        world.put_hook(&format!("instances/{id}"), &bad, &[]).await;
    }
    world.provider.add_instance("inst20", "RUNNING");
    world.track("inst20").await;
    for turn in 0..=20 {
        world.provider.set_state(&format!("inst{turn}"), "STOPPED");
    }
    world.clock.advance(seconds(60));
    world.tick().await;
    // The hung attempts are still under way when the good one has arrived.
    let receiver = world.receiver.clone();
    world.deliver_until(async move { receiver.wait_for(1).await }).await;
    assert_eq!(world.accepted(), ["inst20 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn tries_end_and_the_change_stays_in_the_feed() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.provider.set_state("inst0", "STOPPED");
    world.tick().await;
    world.receiver.otherwise(Status(500));
    world.days_of_delivery(5).await;
    let tries = world.receiver.received().len();
    world.days_of_delivery(1).await;
    assert_eq!(world.receiver.received().len(), tries, "tries have ended");
    assert!((10..=20).contains(&tries), "{tries}");
    assert_eq!(world.feed("").await, [(1, "inst0 RUNNING -> STOPPED".to_owned())]);
    world.end().await;
}

#[tokio::test]
async fn a_send_that_could_not_be_recorded_is_sent_again() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.provider.set_state("inst0", "STOPPED");
    world.tick().await;
    world.receiver.otherwise(Hang);
    let receiver = world.receiver.clone();
    world.deliver_until(async move { receiver.wait_for(1).await }).await;
    world.crash().await;
    world.receiver.otherwise(Status(200));
    world.start().await;
    world.deliver().await;
    let ids: Vec<_> =
        world.receiver.received().iter().map(|request| request.header("webhook-id").unwrap().to_owned()).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
    world.end().await;
}

#[tokio::test]
async fn every_other_answer_is_a_failure() {
    for reply in [Status(300), Status(404), Status(429), HangUp, Reply::HangUpInBody(500)] {
        let mut world = World::new().await;
        world.provider.add_instance("inst0", "RUNNING");
        world.track("inst0").await;
        world.provider.set_state("inst0", "STOPPED");
        world.tick().await;
        world.receiver.answers([reply, Status(200)]);
        world.deliver().await;
        assert!(world.accepted().is_empty());
        world.clock.advance(minutes(2));
        world.deliver().await;
        assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
        assert_eq!(world.get("/changes").await.status, StatusCode::OK);
        world.end().await;
    }
}

/// Instances of this many, watched all together.
async fn runs(world: &mut World, count: usize) {
    for index in 0..count {
        world.provider.add_instance(&format!("inst{index}"), "RUNNING");
    }
    world.put_hook("instances", &world.hook(), &[]).await;
    world.tick().await;
}

async fn stop(world: &mut World, which: std::ops::Range<usize>) {
    for index in which {
        world.provider.set_state(&format!("inst{index}"), "STOPPED");
    }
    world.clock.advance(seconds(60));
    world.tick().await;
}

#[tokio::test]
async fn what_fails_after_an_outage_waits_as_it_always_does() {
    let mut world = World::new().await;
    runs(&mut world, 6).await;
    stop(&mut world, 0..6).await;
    world.receiver.otherwise(HangUp);
    world.deliver().await;
    // It is up again and does not know the path yet.
    world.receiver.otherwise(Status(404));
    let before = world.receiver.received().len();
    for _ in 0..20 {
        world.clock.advance(seconds(1));
        world.deliver().await;
    }
    let tries = world.receiver.received().len() - before;
    // Of each one at once, one after at most 5 s, one after at most 30 s.
    assert!(tries <= 6 * 8, "{tries} tries of 6 deliveries in 20 s");
    world.end().await;
}

#[tokio::test]
async fn a_hook_that_was_removed_is_not_called_any_more() {
    let mut world =
        World::with(|settings| (settings.deliver.deadline_ms, settings.deliver.connect_timeout_ms) = (1_000, 1_000))
            .await;
    runs(&mut world, 61).await;
    stop(&mut world, 0..1).await;
    world.deliver().await;
    let first = world.receiver.received().len();
    assert_eq!(first, 1);
    stop(&mut world, 1..61).await;
    world.receiver.otherwise(TrickleBody(200, std::time::Duration::from_millis(100)));
    let id = world.hooks().await[0].id.clone();
    let delete = client().delete(format!("{}/hooks/{id}", world.base())).basic_auth(USER, Some(PASSWORD));
    let receiver = world.receiver.clone();
    let remove = async {
        receiver.wait_for(first + 4).await;
        let answer = delete.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        receiver.received().len()
    };
    let (_, at_removal) = tokio::join!(world.deliver(), remove);
    let after = world.receiver.received().len() - at_removal;
    assert!(after <= 8, "{after} calls begun after the hook was gone, {at_removal} before");
    world.end().await;
}
