//! Somebody sets the clock, or stops Tracker for a while, and it goes on looking and blames nobody.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use reqwest::StatusCode;
use tracker::clock::Clock as _;
use tracker::drivers::{Kind, MockCall};

use crate::support::faulty::{Faulty, Gate};
use crate::support::receiver::Reply::Status;
use crate::support::world::{World, minutes, seconds};

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MONTH: SignedDuration = SignedDuration::from_hours(30 * 24);

/// A world with an instance, a hook on it and one on the account, in which nothing has happened for a while.
async fn quiet() -> World {
    let mut world = World::new().await;
    world.look_at_the_clock().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.put_hook("", "feed", &[("subscriber", "ops")]).await;
    world.live(minutes(12)).await;
    world
}

/// Somebody sets the clock, and Tracker notices a moment later.
async fn jump(world: &mut World, by: SignedDuration) {
    world.clock.jump(by);
    assert!(world.look_at_the_clock().await, "the beats begin anew");
}

/// How many minutes it takes, without any beat, until what happens now is told.
async fn minutes_until_told(world: &mut World) -> u64 {
    world.provider.set_state("inst0", "STOPPED");
    for minute in 0..120 {
        world.poll().await;
        if world.feed_of_the_store().await.iter().any(|told| told == "inst0 RUNNING -> STOPPED") {
            return minute;
        }
        world.clock.advance(minutes(1));
        world.look_at_the_clock().await;
    }
    panic!("it is not told at all: {:?}", world.feed_of_the_store().await);
}

async fn whys(world: &World, kind: &str) -> Vec<(Option<Timestamp>, String)> {
    let answer = world.get("/changes?after=0&limit=1000&subscriber=nobody").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let changes = answer.json();
    let of_kind = changes.as_array().unwrap().iter().filter(|change| change["type"] == kind);
    let why = of_kind.map(|change| {
        let before = change["observed"]["before"].as_str().map(|at| at.parse().unwrap());
        let rules = change["why"].as_array().unwrap().iter().map(|why| why["rule"].as_str().unwrap());
        (before, rules.collect::<Vec<_>>().join(" "))
    });
    why.collect()
}

#[tokio::test]
async fn a_clock_that_was_ahead_for_a_while_blinds_nobody() {
    let mut world = quiet().await;
    jump(&mut world, HOUR).await;
    world.live(minutes(6)).await;
    jump(&mut world, -HOUR).await;
    let told = minutes_until_told(&mut world).await;
    assert!(told <= 15, "as long as a unit rests at most, not {told} minutes");
    world.end().await;
}

#[tokio::test]
async fn so_it_is_when_it_was_ahead_while_tracker_was_started_and_where_looks_failed() {
    for fails in [false, true] {
        let mut world = quiet().await;
        jump(&mut world, HOUR).await;
        if fails {
            world.provider.fails(Kind::Throttled { after: None });
            world.live(minutes(3)).await;
            world.provider.heals();
        } else {
            world.live(minutes(12)).await;
        }
        world.crash().await;
        world.clock.jump(-HOUR);
        world.start().await;
        world.look_at_the_clock().await;
        let told = minutes_until_told(&mut world).await;
        assert!(told <= 16, "failed before: {fails}, told after {told} minutes");
        // Of what was last seen in an hour that is to come nobody knows how long ago that was.
        let gaps = whys(&world, "account.observation_gap").await;
        let untold = gaps.iter().filter(|(before, why)| before.is_none() && why == "clock").count();
        assert_eq!(untold > 0, !fails, "{gaps:?}");
        world.end().await;
    }
}

#[tokio::test]
async fn no_look_is_planned_for_later_than_any_wait_is_long() {
    let mut world = quiet().await;
    world.live(minutes(12)).await;
    world.crash().await;
    world.clock.jump(-HOUR);
    world.start().await;
    // Nobody has noticed.
    assert_eq!(minutes_until_told(&mut world).await, 0);
    world.end().await;
}

#[tokio::test]
async fn a_clock_that_is_right_again_within_the_longest_rest_puts_nothing_off_either() {
    let mut world = quiet().await;
    let before = world.poll().await.next_due_at.unwrap().duration_since(world.clock.now());
    jump(&mut world, -SignedDuration::from_mins(8)).await;
    let after = world.poll().await.next_due_at.unwrap().duration_since(world.clock.now());
    assert_eq!(before, after);
    assert!(!world.look_at_the_clock().await, "it is noticed once");
    world.end().await;
}

#[tokio::test]
async fn a_callback_that_waits_waits_as_long_as_it_was_to() {
    let mut world = quiet().await;
    jump(&mut world, HOUR).await;
    world.receiver.otherwise(Status(503));
    world.provider.set_state("inst0", "STOPPED");
    world.live(minutes(3)).await;
    assert!(world.receiver.count() > 0);
    let due_at = world.deliver().await.next_due_at.unwrap();
    let wait = due_at.duration_since(world.clock.now());
    jump(&mut world, -HOUR).await;
    world.receiver.otherwise(Status(200));
    world.clock.advance(wait.unsigned_abs() + seconds(1));
    world.deliver().await;
    world.clock.advance(minutes(5));
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn what_is_a_month_old_for_a_moment_is_neither_pruned_nor_given_up() {
    let mut world = quiet().await;
    world.receiver.otherwise(Status(503));
    for state in ["STOPPED", "RUNNING"] {
        world.provider.set_state("inst0", state);
        world.live(minutes(6)).await;
    }
    let log = world.feed_of_the_store().await;
    assert_eq!(log.len(), 2);
    for restarted in [false, true] {
        if restarted {
            world.crash().await;
            world.clock.jump(MONTH);
            world.start().await;
            world.look_at_the_clock().await;
        } else {
            jump(&mut world, MONTH).await;
        }
        world.prune().await;
        world.deliver().await;
        world.clock.advance(minutes(10));
        world.deliver().await;
        world.prune().await;
        jump(&mut world, -MONTH).await;
        assert_eq!(world.feed_of_the_store().await, log);
        let deliveries = world.get("/deliveries?limit=10").await.json();
        let states: Vec<_> = deliveries.as_array().unwrap().iter().map(|row| row["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["waiting"; 2], "none is given up; started anew: {restarted}");
    }
    world.receiver.otherwise(Status(200));
    world.days_of_delivery(2).await;
    assert_eq!(world.accepted().len(), 2);
    // It stays so: a month has passed.
    jump(&mut world, MONTH).await;
    world.clock.advance(minutes(15));
    world.prune().await;
    assert_eq!(world.feed_of_the_store().await, [""; 0]);
    world.end().await;
}

#[tokio::test]
async fn an_outage_is_over_when_what_was_blamed_answers_whoever_else_does() {
    let mut world = quiet().await;
    let fails = |world: &World| {
        for call in [MockCall::Instances, MockCall::Look] {
            world.provider.fails_all(call, Kind::Failed);
        }
    };
    fails(&world);
    world.live(minutes(20)).await;
    let told = async |world: &World| {
        let kinds = ["account.unreachable", "account.reachable"];
        let log = world.feed_of_the_store().await;
        let counts = kinds.map(|kind| kind.rsplit('.').next().unwrap().to_owned());
        counts.map(|word| log.iter().filter(|told| told.starts_with(&format!("account {word}"))).count())
    };
    assert_eq!(told(&world).await, [1, 0], "{:?}", world.feed_of_the_store().await);
    world.crash().await;
    world.start().await;
    let realms = world.provider.calls_of(MockCall::Realms);
    world.live(minutes(30)).await;
    assert!(world.provider.calls_of(MockCall::Realms) > realms + 1, "realms answer, and are looked at");
    assert_eq!(told(&world).await, [1, 0], "{:?}", world.feed_of_the_store().await);
    world.provider.heals();
    world.live(minutes(15)).await;
    assert_eq!(told(&world).await, [1, 1], "{:?}", world.feed_of_the_store().await);
    world.end().await;
}

#[tokio::test]
async fn an_outage_is_found_although_tracker_is_started_again_and_again() {
    let mut world = quiet().await;
    world.provider.fails_all(MockCall::Instances, Kind::Failed);
    for _ in 0..3 {
        for _ in 0..2 {
            world.clock.advance(minutes(2));
            world.tick().await;
        }
        world.crash().await;
        world.start().await;
    }
    let log = world.feed_of_the_store().await;
    assert!(log.iter().any(|told| told.starts_with("account unreachable")), "{log:?}");
    world.end().await;
}

static STOPPED: Gate = Gate::new();

#[tokio::test]
async fn a_provider_is_not_blamed_for_the_time_that_tracker_was_stopped() {
    // The one list that is held times out.
    let mut world = World::around(|mock| Arc::new(Faulty::new(mock).through(&STOPPED)), |_| {}).await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.live(minutes(3)).await;
    for call in [MockCall::Instances, MockCall::Look] {
        world.provider.fails_all(call, Kind::TimedOut);
    }
    world.clock.advance(minutes(20));
    STOPPED.shut();
    world.begin_to_poll().await;
    STOPPED.holds().await;
    world.clock.advance(seconds(40));
    STOPPED.open();
    world.poll().await;
    world.provider.heals();
    world.clock.advance(seconds(10));
    world.poll().await;
    let gaps = whys(&world, "account.observation_gap").await;
    assert!(!gaps.is_empty() && gaps.iter().all(|(_, why)| why == "tracker"), "{gaps:?}");
    world.end().await;
}
