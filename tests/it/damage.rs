//! A row of the store is damaged: whom it concerns goes without until someone looks; nobody else does.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tracker::model::{Collection, RealmState};

use crate::support::world::{SECRET, World, minutes};

async fn damage(world: &World, sql: &str) {
    let path = world.settings.store.url.strip_prefix("sqlite:").unwrap();
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    assert!(done.rows_affected() > 0, "{sql}: nothing is damaged");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_change_that_cannot_be_read_holds_up_no_other() {
    let mut world = World::new().await;
    for id in ["inst0", "inst1"] {
        world.provider.add_instance(id, "RUNNING");
        world.track(id).await;
    }
    for id in ["inst0", "inst1"] {
        world.provider.set_state(id, "STOPPED");
    }
    world.tick().await;
    damage(&world, "UPDATE changes SET body = '{' WHERE resource = 'inst0'").await;

    let report = world.deliver().await;
    assert_eq!(world.accepted(), ["inst1 RUNNING -> STOPPED"]);
    assert_eq!((report.due, report.done, report.failed), (2, 1, 1));
    assert!(report.next_due_at.is_some_and(|at| at > world.clock_now()), "it rests: {report:?}");
    let report = world.deliver().await;
    assert_eq!((report.due, report.failed), (0, 0), "until its lease has run out");
    world.clock.advance(minutes(10));
    let report = world.deliver().await;
    assert_eq!((report.due, report.failed), (1, 1), "then it is told of again");
    world.end().await;
}

#[tokio::test]
async fn an_account_that_cannot_be_read_holds_up_no_other() {
    let mut world = World::new().await;
    world.provider.add_user("alice", "wonder");
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("track_hook", world.receiver.url("/of-alice").as_str()).append_pair("track_secret", SECRET);
    let answer = world.request_as(Method::PUT, &format!("/realms?{}", query.finish()), "alice", "wonder").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    world.put_hook("realms", world.receiver.url("/of-mockuser").as_str(), &[]).await;
    world.poll().await;
    world.provider.set_realm("us", RealmState::Unavailable, None);
    world.clock.advance(minutes(5));
    for collection in Collection::ALL {
        world
            .store()
            .bring_forward(collection, world.clock_now(), Duration::ZERO, Duration::from_secs(600))
            .await
            .unwrap();
    }
    damage(&world, "UPDATE accounts SET sealed = x'00' WHERE identity = 'alice'").await;

    let calls = world.provider.calls();
    let report = world.poll().await;
    let now = world.clock_now();
    assert!(world.provider.calls() > calls);
    assert_eq!(report.failed, 2, "its two units: {report:?}");
    world.deliver().await;
    let paths: Vec<_> = world.receiver.accepted_requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(paths, ["/of-mockuser"]);

    // Nothing spins, and it is tried again in its time.
    let report = world.poll().await;
    assert_eq!((report.due, report.failed), (0, 0));
    assert!(report.next_due_at.is_some_and(|at| at > now), "{report:?}");
    world.clock.advance(minutes(11));
    assert_eq!(world.poll().await.failed, 2);
    world.end().await;
}

#[tokio::test]
async fn an_account_that_cannot_be_read_is_not_a_store_that_fails() {
    let mut world = World::new().await;
    for id in ["inst0", "inst1"] {
        world.provider.add_instance(id, "RUNNING");
        world.track(id).await;
    }
    for id in ["inst0", "inst1"] {
        world.provider.set_state(id, "STOPPED");
    }
    world.tick().await;
    damage(&world, "UPDATE accounts SET sealed = x'00'").await;
    // With the whole round failed, what others are owed would go with it.
    let report = world.deliver().await;
    assert_eq!((report.due, report.done, report.failed), (2, 0, 2));
    assert!(report.next_due_at.is_some_and(|at| at > world.clock_now()), "it rests: {report:?}");
    world.end().await;
}
