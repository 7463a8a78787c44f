//! `GET /api/changes` on the wire.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::reference;
use crate::support::raw::{BAD, GOOD, Raw};
use crate::support::world::{World, seconds};

const THREE: [&str; 3] = ["inst0", "inst1", "inst2"];

/// Three instances are tracked by the feed only, and each has news.
async fn three_changes(world: &mut World, news: impl Fn(&World, &str)) {
    for id in THREE {
        let put = world.raw().ask("PUT", &format!("/api/instances/{id}?track_hook=feed"), &[GOOD]).await;
        assert_eq!(put.status, 200, "{put:?}");
        news(world, id);
    }
    world.clock.advance(seconds(60));
    world.tick().await;
    assert_eq!(world.owed().await, [1, 2, 3]);
}

fn stops(world: &World, id: &str) {
    world.provider.set_state(id, "STOPPED");
}

fn seqs(body: &str) -> Vec<u64> {
    let array: Vec<Value> = serde_json::from_str(body).unwrap();
    array.iter().map(|change| change["seq"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn the_feed_is_json_paged_and_counted_once_it_is_written() {
    let mut world = reference().await;
    three_changes(&mut world, stops).await;
    let raw = world.raw();
    raw.ask("GET", "/api/changes", &[]).await.is_error(401);
    raw.ask("GET", "/api/changes", &[BAD]).await.is_error(401);
    let page = raw.ask("GET", "/api/changes?after=0&limit=2", &[GOOD, ("Accept", "*/*")]).await;
    assert_eq!((page.status, seqs(&page.body)), (200, vec![1, 2]));
    assert_eq!(page.header("content-type"), Some("application/json"));
    assert_eq!(page.header("tracker-seq"), Some("2"));
    let next = "<http://localhost:3001/api/changes?after=2&limit=2&subscriber=default>; rel=\"next\"";
    assert_eq!(page.header("link"), Some(next));
    assert!(page.header("etag").is_some());
    raw.get("/api/changes?after=1000").await.is_error(400);
    raw.get("/api/changes?after=-1").await.is_error(400);
    assert_eq!(raw.ask("HEAD", "/api/changes", &[GOOD]).await.status, 200);
    assert_eq!(world.owed().await, [1, 2, 3], "a page of the log, a mistake and a HEAD hand nothing over");

    assert_eq!(seqs(&raw.get("/api/changes").await.body), [1, 2, 3]);
    world.owed_becomes(&[]).await;
    assert_eq!(raw.get("/api/changes").await.body, "[]");
    assert_eq!(raw.get("/api/changes?after=3").await.body, "[]");
    world.end().await;
}

#[tokio::test]
async fn a_place_that_is_not_kept_any_more_is_gone_and_says_where_to_go_on() {
    let mut world = reference().await;
    three_changes(&mut world, stops).await;
    // As pruning leaves the log.
    let pool = sqlx::SqlitePool::connect(&world.settings.store.url).await.unwrap();
    sqlx::raw_sql("DELETE FROM changes WHERE seq < 3").execute(&pool).await.unwrap();
    pool.close().await;
    let gone = world.raw().get("/api/changes?after=1").await;
    assert!(gone.is_error(410).json()["message"].as_str().unwrap().contains("the oldest kept change is 3"), "{gone:?}");
    assert_eq!(seqs(&world.raw().get("/api/changes?after=2").await.body), [3]);
    world.end().await;
}

/// More than the buffers of two sockets hold.
const HUGE: usize = 16 * 1024 * 1024;

/// With three changes of [`HUGE`] together, and answers that may hold them: a provider could not say so much, so that the log is
/// made to.
async fn flooded(edit: impl FnOnce(&mut tracker::api::Settings)) -> World {
    let mut world = World::with(|settings| {
        settings.drivers.mock.fixture = true;
        settings.feed.page_bytes_max = 2 * HUGE;
        edit(&mut settings.api);
    })
    .await;
    three_changes(&mut world, |world, id| world.provider.set_addresses(id, &["192.0.2.77"])).await;
    let pool = sqlx::SqlitePool::connect(&world.settings.store.url).await.unwrap();
    let swollen = sqlx::query("UPDATE changes SET body = replace(body, '192.0.2.77', $1)");
    swollen.bind("a".repeat(HUGE / THREE.len() + 1)).execute(&pool).await.unwrap();
    pool.close().await;
    world
}

#[tokio::test]
async fn an_answer_that_breaks_off_hands_nothing_over() {
    let mut world = flooded(|api| (api.write_ms, api.stop_ms) = (50, 60_000)).await;
    let ask = format!("GET /api/changes HTTP/1.1\r\nHost: h\r\n{}: {}\r\n\r\n", GOOD.0, GOOD.1);
    let begin = async |raw: Raw| {
        let mut stream = raw.connect().await;
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut beginning = [0; 100];
        stream.read_exact(&mut beginning).await.unwrap();
        assert!(beginning.starts_with(b"HTTP/1.1 200"));
        stream
    };
    drop(begin(world.raw()).await);
    // This one stays open and reads no more, until the server has lost patience.
    let idle = begin(world.raw()).await;
    tokio::time::timeout(Duration::from_secs(10), world.stop()).await.expect("nobody waits for one who does not read");
    drop(idle);
    world.start().await;
    assert_eq!(world.owed().await, [1, 2, 3]);
    world.end().await;
}

#[tokio::test]
async fn an_answer_longer_than_any_buffer_is_handed_over_whole() {
    let world = flooded(|_| {}).await;
    let body = world.raw().get("/api/changes").await.body;
    assert!(body.len() > HUGE, "{}", body.len());
    assert_eq!(seqs(&body), [1, 2, 3]);
    world.owed_becomes(&[]).await;
    world.end().await;
}
