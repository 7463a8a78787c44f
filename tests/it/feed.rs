//! `GET /api/changes`: whoever missed something finds it, and nobody else does.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracker::drivers::Kind;

use crate::support::raw::{self, GOOD};
use crate::support::receiver::Reply::Status;
use crate::support::world::{PASSWORD, USER, World, minutes, seconds};

/// Three tracked instances that stop while the receiver is down.
async fn three_missed(world: &mut World) -> Vec<(u64, String)> {
    for id in ["inst0", "inst1", "inst2"] {
        world.provider.add_instance(id, "RUNNING");
        world.track(id).await;
    }
    world.poll().await;
    world.receiver.otherwise(Status(503));
    for id in ["inst0", "inst1", "inst2"] {
        world.provider.set_state(id, "STOPPED");
    }
    world.clock.advance(seconds(60));
    world.tick().await;
    world.deliver().await;
    (1..=3).map(|n| (n, format!("inst{} RUNNING -> STOPPED", n - 1))).collect()
}

#[tokio::test]
async fn a_receiver_that_was_down_finds_exactly_what_it_missed_and_is_not_called_back_for_it() {
    let mut world = World::new().await;
    let missed = three_missed(&mut world).await;
    assert_eq!(world.feed("").await, missed);
    world.feed_runs_dry("").await;
    world.receiver.otherwise(Status(200));
    world.live(minutes(60)).await;
    assert_eq!(world.accepted(), Vec::<String>::new());
    // What happens afterwards is called back as ever.
    world.provider.set_state("inst1", "RUNNING");
    world.live(minutes(6)).await;
    assert_eq!(world.accepted(), ["inst1 STOPPED -> RUNNING"]);
    world.end().await;
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_the_answer_loses_nothing() {
    let mut world = World::new().await;
    // Enough that the answer does not fit into the buffers of a connection that nobody reads.
    let ids: Vec<_> = (0..900).map(|n| format!("inst{n}")).collect();
    for id in &ids {
        world.provider.add_instance(id, "RUNNING");
    }
    let token = "t".repeat(1_000);
    world.put_hook("instances", &world.hook(), &[("track_token", &token)]).await;
    world.poll().await;
    for id in &ids {
        world.provider.set_state(id, "STOPPED");
    }
    world.clock.advance(seconds(60));
    world.tick().await;

    let mut stream = raw::asked(world.base(), "/api/changes?limit=1000", &[GOOD], Some(4_096)).await;
    let mut some = [0; 2_000];
    stream.read_exact(&mut some).await.unwrap();
    assert!(some.starts_with(b"HTTP/1.1 200"));
    drop(stream);

    let again = world.feed("?limit=1000").await;
    assert_eq!(again.len(), 900, "all are still owed");
    world.feed_runs_dry("?limit=1000").await;
    world.end().await;
}

#[tokio::test]
async fn a_client_that_dies_with_the_answer_unread_in_its_buffers_has_not_got_it() {
    let mut world = World::new().await;
    let missed = three_missed(&mut world).await;
    for read in [0, 100] {
        // So little that the system takes it whole: the server has long written everything when the client hangs up.
        let mut stream = raw::asked(world.base(), "/api/changes", &[GOOD], None).await;
        stream.readable().await.unwrap();
        stream.read_exact(&mut vec![0; read]).await.unwrap();
        drop(stream);
        assert_eq!(world.owed().await.len(), 3);
    }
    assert_eq!(world.feed("").await, missed, "all are still owed");
    world.feed_runs_dry("").await;
    world.end().await;
}

#[tokio::test]
async fn who_hangs_up_in_good_order_before_the_answer_arrived_has_not_got_it() {
    let mut world = World::new().await;
    // More than the client's system takes unread, less than ours holds for it.
    let ids: Vec<_> = (0..60).map(|n| format!("inst{n}")).collect();
    for id in &ids {
        world.provider.add_instance(id, "RUNNING");
    }
    let token = "t".repeat(1_000);
    world.put_hook("instances", &world.hook(), &[("track_token", &token)]).await;
    world.poll().await;
    for id in &ids {
        world.provider.set_state(id, "STOPPED");
    }
    world.clock.advance(seconds(60));
    world.tick().await;
    let all: Vec<u64> = (1..=60).collect();

    let ask = async || {
        let mut stream = raw::asked(world.base(), "/api/changes", &[GOOD], Some(4_096)).await;
        stream.read_exact(&mut [0; 100]).await.unwrap();
        // In good order, with most of the answer still under way.
        stream.shutdown().await.unwrap();
        stream
    };
    let stream = ask().await;
    for _ in 0..100 {
        assert_eq!(world.owed().await, all);
    }
    drop(stream);
    for _ in 0..100 {
        assert_eq!(world.owed().await, all);
    }
    // One that is only slow to read gets it.
    let mut answer = Vec::new();
    ask().await.read_to_end(&mut answer).await.unwrap();
    assert!(answer.ends_with(b"]"));
    world.owed_becomes(&[]).await;
    world.end().await;
}

#[tokio::test]
async fn after_a_place_the_log_is_shown_delivered_or_not() {
    let mut world = World::new().await;
    let all = three_missed(&mut world).await;
    assert_eq!(world.feed("?after=0").await, all);
    assert_eq!(world.feed("?after=0&limit=2").await, all[..2]);
    assert_eq!(world.feed("?after=2").await, all[2..]);
    assert_eq!(world.feed("?after=3").await, []);
    world.end().await;
}

#[tokio::test]
async fn asking_for_what_comes_after_acknowledges_what_came_before() {
    let mut world = World::new().await;
    let all = three_missed(&mut world).await;
    assert_eq!(world.feed("?after=0").await, all, "nothing is acknowledged by the first page");
    assert_eq!(world.feed("?after=2").await, all[2..]);
    assert_eq!(world.feed("").await, all[2..]);
    world.end().await;
}

#[tokio::test]
async fn pages_lead_on() {
    let mut world = World::new().await;
    let all = three_missed(&mut world).await;
    let first = world.get("/changes?after=0&limit=2").await;
    let link = first.headers["link"].to_str().unwrap();
    assert!(link.contains("after=2") && link.contains("rel=\"next\""), "{link}");
    assert_eq!(first.headers["tracker-seq"], "2", "what the page includes");
    let next = link.trim_start_matches('<').split('>').next().unwrap();
    let path = next.split("/api").nth(1).unwrap().to_owned();
    let second = world.get(&path).await;
    assert_eq!(second.json()[0]["seq"], all[2].0);
    assert!(!second.headers.contains_key("link"), "the last page leads nowhere");
    world.end().await;
}

#[tokio::test]
async fn whoever_has_read_everything_can_follow_from_there() {
    let mut world = World::new().await;
    let all = three_missed(&mut world).await;
    let place = async |query: &str| world.get(&format!("/changes{query}")).await.headers["tracker-seq"].clone();
    assert_eq!(place("?limit=1").await, "1", "more is owed");
    world.owed_becomes(&[2, 3]).await;
    assert_eq!(world.feed("").await, all[1..]);
    world.feed_runs_dry("").await;
    assert_eq!(place("").await, "3");
    assert_eq!(place("?subscriber=other").await, "3", "nothing was owed to it");
    world.end().await;
}

#[tokio::test]
async fn the_feed_shows_the_same_bytes_as_the_callback() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let url = world.hook();
    world.put_hook("instances/inst0", &url, &[("track_token", "mine")]).await;
    world.provider.set_state("inst0", "STOPPED");
    world.poll().await;
    world.deliver().await;
    let posted = String::from_utf8(world.receiver.accepted_requests()[0].body.clone()).unwrap();
    let listed = world.get("/changes?after=0").await.text;
    assert_eq!(listed, format!("[{posted}]"));
    world.end().await;
}

#[tokio::test]
async fn subscribers_do_not_steal_each_others_changes() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.put_hook("instances/inst0", "feed", &[("subscriber", "a")]).await;
    world.put_hook("instances/inst0", "feed", &[("subscriber", "b"), ("track_token", "tb")]).await;
    world.provider.set_state("inst0", "STOPPED");
    world.poll().await;
    let told = [(1, "inst0 RUNNING -> STOPPED".to_owned())];
    assert_eq!(world.feed("?subscriber=a").await, told);
    let of_b = world.get("/changes?subscriber=b").await.json();
    assert_eq!(of_b[0]["token"], "tb");
    world.feed_runs_dry("?subscriber=a").await;
    assert_eq!(world.feed("?subscriber=c").await, []);
    world.end().await;
}

#[tokio::test]
async fn nobody_reads_the_feed_of_an_account_without_its_password() {
    let mut world = World::new().await;
    three_missed(&mut world).await;
    for (user, password) in [(USER, "guessed"), (USER, ""), ("somebody", PASSWORD)] {
        let answer = world.request_as(Method::GET, "/changes", user, password).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert!(!answer.text.contains("inst0"));
    }
    world.end().await;
}

#[tokio::test]
async fn the_feed_is_there_while_the_backend_is_not() {
    let mut world = World::new().await;
    let missed = three_missed(&mut world).await;
    world.clock.advance(minutes(10));
    world.provider.fails(Kind::Unavailable);
    world.crash().await;
    world.start().await;
    assert_eq!(world.feed("").await, missed);
    // A password that is not the one the backend once accepted is still of no use.
    let answer = world.request_as(Method::GET, "/changes", USER, "guessed").await;
    assert_ne!(answer.status, StatusCode::OK);
    world.end().await;
}

#[tokio::test]
async fn bad_parameters_are_refused_with_the_reason() {
    let world = World::new().await;
    let check = async |query: &str, reason: &str| {
        let answer = world.get(&format!("/changes?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}: {}", answer.text);
        assert!(answer.text.contains(reason), "{query}: {}", answer.text);
    };
    check("after=-1", "after").await;
    check("after=x", "after").await;
    check("after=99999999999999999999", "after").await;
    check("limit=0", "limit").await;
    check("limit=1001", "1000").await;
    check("limit=ten", "limit").await;
    check("subscriber=a%20b", "subscriber").await;
    check("after=5", "after").await;
    world.end().await;
}

#[tokio::test]
async fn an_empty_feed_is_an_empty_array_of_json() {
    let world = World::new().await;
    let answer = world.get("/changes").await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "[]"));
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.json(), Value::Array(vec![]));
    let xml = world.get("/changes?format=xml").await;
    assert_eq!(xml.status, StatusCode::NOT_ACCEPTABLE);
    let other = world.request(Method::DELETE, "/changes").await;
    assert_eq!(other.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(other.headers["allow"].to_str().unwrap().contains("GET"));
    world.end().await;
}
