//! An error is never a change, and gone is more than missing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;
use tracker::drivers::Kind;
use tracker::model::Collection;

use crate::support::faulty::{Faulty, Gate};
use crate::support::world::{PASSWORD, USER, World, client, minutes, seconds};

async fn tracked(world: &mut World, ids: &[&str]) {
    for id in ids {
        world.provider.add_instance(id, "RUNNING");
        world.track(id).await;
    }
    world.poll().await;
}

#[tokio::test]
async fn a_provider_that_fails_in_any_way_for_an_hour_makes_no_change() {
    let failures = [
        Kind::Unavailable,
        Kind::TimedOut,
        Kind::Denied,
        Kind::Forbidden,
        Kind::Throttled { after: None },
        Kind::Throttled { after: Some(Duration::from_secs(7)) },
        Kind::Invalid,
        Kind::NotFound,
    ];
    for kind in failures {
        let mut world = World::new().await;
        tracked(&mut world, &["inst0", "inst1", "inst2"]).await;
        world.provider.fails(kind);
        world.live(minutes(60)).await;
        let said = world.feed_of_the_store().await;
        let expected: &[&str] = match kind {
            Kind::Unavailable | Kind::TimedOut => &["account unreachable", "realms no provider answers"],
            Kind::Denied => &["account credentials refused"],
            _ => &[],
        };
        let said: Vec<_> = said.iter().map(|line| line.split(':').next().unwrap()).collect();
        assert_eq!(said, expected, "{kind:?}: of the account once, of the instances nothing");
        world.provider.heals();
        world.provider.set_state("inst1", "STOPPED");
        world.live(minutes(20)).await;
        assert_eq!(world.accepted(), ["inst1 RUNNING -> STOPPED"], "{kind:?}");
        world.end().await;
    }
}

#[tokio::test]
async fn while_it_fails_the_provider_is_asked_less_and_less() {
    let mut world = World::new().await;
    tracked(&mut world, &["inst0"]).await;
    world.provider.fails(Kind::Unavailable);
    let before = world.provider.calls();
    world.live(minutes(60)).await;
    let asked = world.provider.calls() - before;
    assert!((5..=40).contains(&asked), "{asked} calls in an hour, on two units");
    world.end().await;
}

#[tokio::test]
async fn refused_credentials_are_tried_again_when_a_client_comes_with_them() {
    let mut world = World::new().await;
    tracked(&mut world, &["inst0"]).await;
    world.provider.fails(Kind::Denied);
    world.live(minutes(2)).await;
    world.provider.heals();
    world.provider.set_state("inst0", "STOPPED");
    world.live(minutes(2)).await;
    assert_eq!(world.accepted(), Vec::<String>::new(), "still waiting");
    world.track("inst0").await;
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn gone_takes_a_complete_list_and_a_targeted_look() {
    let mut world = World::new().await;
    tracked(&mut world, &["inst0", "inst1"]).await;
    world.provider.remove("inst0");
    world.clock.advance(seconds(60));
    world.tick().await;
    world.deliver().await;
    assert_eq!(world.accepted(), Vec::<String>::new(), "one list is not enough");
    world.clock.advance(seconds(10));
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> nothing"]);
    world.live(minutes(30)).await;
    assert_eq!(world.accepted().len(), 1, "gone once");
    world.end().await;
}

#[tokio::test]
async fn one_that_is_missing_from_a_list_for_a_moment_is_no_news() {
    let mut world = World::new().await;
    tracked(&mut world, &["inst0"]).await;
    world.provider.set_addresses("inst0", &[]);
    world.tick().await;
    world.deliver().await;
    let before = world.accepted();
    world.provider.remove("inst0");
    world.clock.advance(seconds(60));
    world.tick().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.provider.set_addresses("inst0", &[]);
    world.live(minutes(10)).await;
    assert_eq!(world.accepted(), before);
    world.end().await;
}

#[tokio::test]
async fn a_look_that_fails_confirms_nothing() {
    let mut world = World::new().await;
    tracked(&mut world, &["inst0"]).await;
    world.provider.remove("inst0");
    world.clock.advance(seconds(60));
    world.tick().await;
    world.provider.fails(Kind::Unavailable);
    world.live(minutes(5)).await;
    assert_eq!(world.accepted(), Vec::<String>::new());
    world.provider.heals();
    world.live(minutes(5)).await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> nothing"]);
    world.end().await;
}

#[tokio::test]
async fn a_terminated_instance_ends_once() {
    let mut world = World::new().await;
    tracked(&mut world, &["inst0"]).await;
    world.provider.set_state("inst0", "FINISH");
    world.live(minutes(60)).await;
    world.provider.remove("inst0");
    world.live(minutes(60)).await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> FINISH"]);
    world.end().await;
}

#[tokio::test]
async fn what_settles_is_looked_at_every_five_seconds() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "PENDING");
    world.track("inst0").await;
    world.poll().await;
    world.clock.advance(seconds(5));
    world.provider.set_state("inst0", "RUNNING");
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 PENDING -> RUNNING"]);
    // Now that it is settled the cadence is enough.
    let before = world.provider.calls();
    world.clock.advance(seconds(50));
    world.poll().await;
    assert_eq!(world.provider.calls(), before);
    world.end().await;
}

#[tokio::test]
async fn an_id_that_comes_back_counts_on_and_its_hook_hears_of_it() {
    let mut world = World::new().await;
    tracked(&mut world, &["inst0", "inst1"]).await;
    world.provider.remove("inst0");
    world.live(minutes(3)).await;
    world.provider.add_instance("inst0", "RUNNING");
    world.live(minutes(3)).await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> nothing", "inst0 nothing -> RUNNING"]);
    assert_eq!(world.revisions()["inst0"], [1, 2]);
    world.end().await;
}

#[tokio::test]
async fn a_clock_that_jumps_stops_nothing() {
    let mut world = World::new().await;
    tracked(&mut world, &["inst0"]).await;
    let then = world.clock_now();
    for jump in [Duration::from_secs(10 * 24 * 3_600), Duration::ZERO] {
        // A leap ahead, and then all the way back.
        world.clock.set(then + jump);
        for state in ["STOPPED", "RUNNING"] {
            world.provider.set_state("inst0", state);
            world.live(minutes(2)).await;
        }
    }
    assert_eq!(world.revisions()["inst0"], [1, 2, 3, 4]);
    world.end().await;
}

#[tokio::test]
async fn a_store_that_fails_does_not_make_tracker_hammer_the_provider() {
    // Long enough that a busy machine has its turn, short enough to wait for a few times.
    let mut world = World::with(|settings| settings.store.busy_wait_ms = 1_000).await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.poll().await;
    world.provider.set_state("inst0", "STOPPED");
    // Someone with a database tool holds the write lock.
    let file = world.settings.store.url.strip_prefix("sqlite:").unwrap();
    let mut tool = SqliteConnectOptions::new().filename(file).connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut tool).await.unwrap();
    world.clock.advance(minutes(20));
    world.poll().await;
    let calls = world.provider.calls();
    for _ in 0..5 {
        world.poll().await;
    }
    assert_eq!(world.provider.calls(), calls, "it is asked again after a pause only");

    sqlx::raw_sql("ROLLBACK").execute(&mut tool).await.unwrap();
    world.clock.advance(seconds(10));
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn hooks_that_are_set_all_the_time_keep_no_change_from_being_recorded() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.provider.add_instance("inst1", "RUNNING");
    assert_eq!(world.put_hook("instances", "feed", &[]).await.status, 200);
    let stop = tokio_util::sync::CancellationToken::new();
    let mut setting = tokio::task::JoinSet::new();
    for n in 0..16 {
        let (base, stop) = (world.base().to_owned(), stop.clone());
        // Some of the collection, some of the other instance.
        let path = if n % 2 == 0 { "instances" } else { "instances/inst0" };
        setting.spawn(async move {
            let mut statuses = BTreeSet::new();
            while !stop.is_cancelled() {
                let url = format!("{base}/{path}?track_hook=feed&subscriber=s{n}");
                let put = client().put(url).basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
                statuses.insert(put.status().as_u16());
            }
            statuses
        });
    }
    let mut recorded = 0;
    for state in ["STOPPED", "RUNNING", "STOPPED", "RUNNING", "STOPPED"] {
        world.clock.advance(seconds(60));
        world.provider.set_state("inst1", state);
        world.tick().await;
        recorded += 1;
        assert_eq!(world.feed_of_the_store().await.len(), recorded, "each look records what it saw");
    }
    stop.cancel();
    while let Some(statuses) = setting.join_next().await {
        assert_eq!(statuses.unwrap(), [200].into());
    }
    world.end().await;
}

#[tokio::test]
async fn a_list_that_comes_late_undoes_nothing_that_was_asked_for_after_it() {
    static GATE: Gate = Gate::new();
    // By a look, a list and a reader's list.
    for (method, path) in [
        (Method::PUT, "/instances/inst0?track_hook=feed&subscriber=other"),
        (Method::PUT, "/instances?track_hook=feed&subscriber=other"),
        (Method::GET, "/instances"),
    ] {
        let mut world = World::around(|mock| Arc::new(Faulty::new(mock).through(&GATE)), |_| {}).await;
        world.provider.add_instance("inst0", "RUNNING");
        assert_eq!(world.put_hook("instances", &world.hook(), &[]).await.status, 200);
        world.poll().await;
        world.clock.advance(minutes(1));
        let account = world.account().await.unwrap();
        world.store().look_now(account, Collection::Instances, world.clock_now()).await.unwrap();
        GATE.shut();
        world.begin_to_poll().await;
        tokio::time::timeout(seconds(20), GATE.holds()).await.expect("a list is under way");
        world.clock.advance(seconds(1));
        world.provider.set_state("inst0", "STOPPED");
        assert_eq!(world.request(method.clone(), path).await.status, 200);
        let told = ["inst0 RUNNING -> STOPPED"];
        assert_eq!(world.feed_of_the_store().await, told, "{method} {path}");
        GATE.open();
        world.poll().await;
        assert_eq!(world.feed_of_the_store().await, told, "{method} {path}");
        world.end().await;
    }
}

#[tokio::test]
async fn what_a_reader_finds_moving_is_looked_at_soon_although_its_account_rests() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(world.put_hook("instances", &world.hook(), &[]).await.status, 200);
    world.live(minutes(20)).await;
    world.provider.add_instance("inst1", "PENDING");
    assert_eq!(world.get("/instances").await.status, 200);
    let calls = world.provider.calls();
    world.clock.advance(seconds(4));
    world.poll().await;
    assert_eq!(world.provider.calls(), calls, "not every reader has it looked at");
    world.clock.advance(seconds(1));
    world.provider.set_state("inst1", "RUNNING");
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst1 nothing -> PENDING", "inst1 PENDING -> RUNNING"]);
    world.end().await;
}
