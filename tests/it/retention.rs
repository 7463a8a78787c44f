//! What is kept long enough goes, and nobody is told half of it.

use reqwest::{Method, StatusCode};

use crate::support::child::Tracker;
use crate::support::receiver::Reply::Status;
use crate::support::world::{World, ask, minutes, seconds};

const HOUR: u64 = 60;
const DAY: u64 = 24 * HOUR;

/// Time passes in leaps here, and is not to be told as time in which nobody looked.
fn without_gaps(settings: &mut tracker::settings::Settings) {
    settings.poll.instances_gap_ms = 365 * 24 * 3_600_000;
    settings.poll.realms_gap_ms = 365 * 24 * 3_600_000;
}

/// Of `instN`, which is stopped or runs.
async fn turns(world: &mut World, id: &str, state: &str) {
    world.provider.set_state(id, state);
    world.clock.advance(seconds(60));
    world.tick().await;
}

/// Follows the feed from a place on to its end, and answers with the last.
async fn follow(world: &World, subscriber: &str, mut after: u64, heard: &mut Vec<u64>) -> u64 {
    loop {
        let page = world.feed(&format!("?after={after}&limit=3&subscriber={subscriber}")).await;
        let Some((last, _)) = page.last() else { return after };
        after = *last;
        heard.extend(page.iter().map(|(seq, _)| seq));
    }
}

#[tokio::test]
async fn a_month_is_pruned_while_callbacks_and_readers_go_on_and_nobody_misses_anything() {
    let mut world = World::with(|settings| {
        without_gaps(settings);
        settings.retention.batch = 3;
    })
    .await;
    for id in ["inst0", "inst1"] {
        world.provider.add_instance(id, "RUNNING");
        world.track(id).await;
    }
    let reading = world.put_hook("instances/inst1", "feed", &[("subscriber", "reader")]).await;
    assert_eq!(reading.status, StatusCode::OK);
    let (mut place, mut heard, mut told) = (0, vec![], vec![]);
    for day in 0..30 {
        let state = if day % 2 == 0 { "STOPPED" } else { "RUNNING" };
        for id in ["inst0", "inst1"] {
            turns(&mut world, id, state).await;
            told.push(format!("{id} {} -> {state}", if state == "STOPPED" { "RUNNING" } else { "STOPPED" }));
        }
        world.deliver().await;
        if day % 3 == 0 {
            place = follow(&world, "reader", place, &mut heard).await;
        }
        world.prune().await;
        world.clock.advance(minutes(DAY));
    }
    follow(&world, "reader", place, &mut heard).await;
    assert_eq!(world.accepted(), told, "every callback came");
    assert_eq!(heard, (1..=60).collect::<Vec<_>>(), "and every change was read, though seven days are kept");
    world.prune().await;

    let kept = world.feed("?after=48").await;
    assert_eq!(kept.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), (49..=60).collect::<Vec<_>>());
    let gone = world.get("/changes?after=47").await;
    assert_eq!(gone.status, StatusCode::GONE);
    assert!(gone.text.contains("the oldest kept change is 49"), "{}", gone.text);
    let deliveries = world.get("/deliveries?limit=1000").await.json();
    let oldest = deliveries.as_array().unwrap().iter().map(|row| row["seq"].as_u64().unwrap()).min();
    assert_eq!(oldest, Some(49), "deliveries go with their change");
    world.end().await;
}

#[tokio::test]
async fn a_receiver_that_is_down_for_good_and_a_feed_that_nobody_reads_keep_nothing_for_ever() {
    let mut world = World::with(without_gaps).await;
    for id in ["inst0", "inst1"] {
        world.provider.add_instance(id, "RUNNING");
    }
    world.track("inst0").await;
    world.put_hook("instances/inst1", "feed", &[]).await;
    world.receiver.otherwise(Status(503));
    for state in ["STOPPED", "RUNNING"] {
        for id in ["inst0", "inst1"] {
            turns(&mut world, id, state).await;
        }
    }
    world.days_of_delivery(7).await;
    // What comes now is young, and owed to the same hooks.
    turns(&mut world, "inst0", "STOPPED").await;
    turns(&mut world, "inst1", "STOPPED").await;
    assert_eq!(world.owed().await, [1, 2, 3, 4, 5, 6]);
    world.prune().await;
    assert_eq!(world.owed().await, [5, 6]);
    let gone = world.get("/changes?after=0").await;
    assert_eq!(gone.status, StatusCode::GONE);
    assert!(gone.text.contains("the oldest kept change is 5"), "{}", gone.text);
    assert_eq!(world.feed("?limit=10").await.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [5, 6]);
    world.end().await;
}

#[tokio::test]
async fn when_all_is_pruned_the_end_of_the_log_is_still_a_place_to_follow_from() {
    let mut world = World::with(without_gaps).await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    turns(&mut world, "inst0", "STOPPED").await;
    turns(&mut world, "inst0", "RUNNING").await;
    world.deliver().await;
    world.clock.advance(minutes(8 * DAY));
    world.prune().await;
    assert_eq!(world.feed("?after=2").await, []);
    assert_eq!(world.get("/changes").await.headers["tracker-seq"], "2");
    for after in [0, 1] {
        let gone = world.get(&format!("/changes?after={after}")).await;
        assert_eq!(gone.status, StatusCode::GONE, "{}", gone.text);
    }
    assert_eq!(world.get("/changes?after=3").await.status, StatusCode::BAD_REQUEST);
    world.crash().await;
    world.start().await;
    turns(&mut world, "inst0", "STOPPED").await;
    assert_eq!(world.feed("?after=2").await, [(3, "inst0 RUNNING -> STOPPED".to_owned())]);
    world.end().await;
}

#[tokio::test]
async fn a_round_that_has_to_stop_is_gone_on_with_by_the_next() {
    let mut world = World::with(|settings| {
        settings.retention.changes_max = 1;
        settings.retention.batch = 2;
        settings.retention.steps_max = 1;
    })
    .await;
    world.provider.add_instance("inst0", "RUNNING");
    world.put_hook("instances/inst0", "feed", &[]).await;
    for turn in 0..6 {
        turns(&mut world, "inst0", if turn % 2 == 0 { "STOPPED" } else { "RUNNING" }).await;
    }
    let mut left = vec![];
    for _ in 0..4 {
        world.prune().await;
        left.push(world.owed().await.len());
    }
    assert_eq!(left, [4, 2, 1, 1]);
    world.end().await;
}

#[tokio::test]
async fn what_was_pruned_is_counted() {
    let mut world = World::with(without_gaps).await;
    world.provider.add_instance("inst0", "RUNNING");
    world.put_hook("instances/inst0", "feed", &[]).await;
    turns(&mut world, "inst0", "STOPPED").await;
    world.clock.advance(minutes(8 * DAY));
    world.prune().await;
    let base = world.base().trim_end_matches("/api").to_owned();
    let metrics = ask(&base, Method::GET, "/metrics", "", "").await.text;
    for line in ["tracker_pruned_total{table=\"changes\"} 1", "tracker_given_up_total 1"] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_running_tracker_prunes_when_its_cron_expression_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TRACKER_RETENTION__CRON", "* * * * * *"),
        ("TRACKER_RETENTION__CHANGES_MAX", "3"),
        ("TRACKER_RETENTION__BATCH", "1"),
        ("TRACKER_RETENTION__PAUSE_MS", "1"),
    ];
    let mut tracker = Tracker::start(folder.path(), &settings).await;
    let (status, text) = tracker.request(Method::PUT, "/instances?track_hook=feed").await;
    assert_eq!(status, StatusCode::OK, "{text}");
    for _ in 0..2 {
        let mark = tracker.mark();
        for _ in 0..6 {
            // Its appearance is news.
            let (status, text) = tracker.request(Method::POST, "/instances?image_id=img1").await;
            assert_eq!(status, StatusCode::CREATED, "{text}");
            let (status, _) = tracker.request(Method::GET, "/instances").await;
            assert_eq!(status, StatusCode::OK);
        }
        tracker.line_after(mark, |line| line.contains("Pruned ")).await;
    }
    let (status, text) = tracker.request(Method::GET, "/changes?after=0").await;
    assert_eq!(status, StatusCode::GONE, "{text}");
    let (ended_well, log) = tracker.stop().await;
    assert!(ended_well && !log.contains("panicked"), "{log}");
}
