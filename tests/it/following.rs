//! Reading on: long polls and streams of events.

use reqwest::{Method, StatusCode};
use tokio::io::AsyncReadExt as _;

use crate::support::events::Events;
use crate::support::raw;
use crate::support::receiver::Reply::Status;
use crate::support::world::{PASSWORD, USER, World, client, seconds};

/// So many running instances, followed as a collection, with a hook as it is given.
async fn followed(count: usize, hook: &str, edit: impl FnOnce(&mut tracker::settings::Settings)) -> World {
    let mut world = World::with(edit).await;
    for n in 0..count {
        world.provider.add_instance(&format!("inst{n}"), "RUNNING");
    }
    let hook = if hook == "receiver" { world.hook() } else { hook.to_owned() };
    assert_eq!(world.put_hook("instances", &hook, &[]).await.status, StatusCode::OK);
    world.poll().await;
    world
}

/// All of them, in one look: one change each.
async fn become_all(world: &mut World, count: usize, state: &str) {
    for n in 0..count {
        world.provider.set_state(&format!("inst{n}"), state);
    }
    world.clock.advance(seconds(60));
    world.tick().await;
}

#[tokio::test]
async fn a_stream_tells_what_was_and_then_what_happens() {
    let mut world = followed(2, "feed", |_| {}).await;
    become_all(&mut world, 2, "STOPPED").await;
    let mut events = Events::open(world.base(), "?after=1", None).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.id, first.kind.as_str()), (2, "instance.state"));
    assert_eq!((&first.data["seq"], &first.data["to"]["state"]), (&2.into(), &"STOPPED".into()));
    become_all(&mut world, 2, "RUNNING").await;
    assert_eq!(events.ids(2).await, [3, 4]);
    become_all(&mut world, 1, "STOPPED").await;
    assert_eq!(events.ids(1).await, [5]);
    // The same words as in an answer.
    let page = world.get("/changes?after=1").await.json();
    assert_eq!(page[0], first.data);
    drop(events);
    world.end().await;
}

#[tokio::test]
async fn a_stream_without_a_place_is_what_the_subscriber_has_not_got_and_comes_back_by_its_id() {
    let mut world = followed(3, "feed", |_| {}).await;
    become_all(&mut world, 3, "STOPPED").await;
    let mut events = Events::open(world.base(), "", None).await;
    assert_eq!(events.ids(3).await, [1, 2, 3]);
    assert_eq!(world.owed().await, [1, 2, 3], "written is not read");
    drop(events);
    let mut events = Events::open(world.base(), "", Some(2)).await;
    assert_eq!(events.ids(1).await, [3]);
    assert_eq!(world.owed().await, [3]);
    become_all(&mut world, 1, "RUNNING").await;
    assert_eq!(events.ids(1).await, [4]);
    drop(events);
    // One that has lost its id as well gets again what it did not acknowledge.
    let mut events = Events::open(world.base(), "", None).await;
    assert_eq!(events.ids(2).await, [3, 4]);
    // Another subscriber hooked nothing.
    let mut other = Events::open(world.base(), "?subscriber=other&type=gone", None).await;
    become_all(&mut world, 1, "STOPPED").await;
    assert_eq!(events.ids(1).await, [5]);
    world.stop().await;
    assert_eq!((events.next().await, other.next().await), (None, None));
}

#[tokio::test]
async fn what_a_callback_brought_is_not_streamed_as_undelivered() {
    let mut world = followed(1, "receiver", |_| {}).await;
    become_all(&mut world, 1, "STOPPED").await;
    world.deliver().await;
    world.receiver.otherwise(Status(503));
    become_all(&mut world, 1, "RUNNING").await;
    let mut events = Events::open(world.base(), "", None).await;
    assert_eq!(events.ids(1).await, [2]);
    // Acknowledged by its id, it is not called back.
    drop(events);
    let events = Events::open(world.base(), "", Some(2)).await;
    world.receiver.otherwise(Status(200));
    world.live(seconds(600)).await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    drop(events);
    world.end().await;
}

#[tokio::test]
async fn a_long_poll_answers_as_soon_as_there_is_something() {
    let mut world = followed(1, "feed", |_| {}).await;
    for query in ["after=0&wait=60", "wait=60"] {
        let address = world.base().to_owned();
        let (sent, waits) = tokio::sync::oneshot::channel();
        let poll = tokio::spawn(async move {
            let request = client().get(format!("{address}/changes?{query}")).basic_auth(USER, Some(PASSWORD));
            sent.send(()).unwrap();
            request.send().await.unwrap().text().await.unwrap()
        });
        waits.await.unwrap();
        become_all(&mut world, 1, "STOPPED").await;
        let answer: serde_json::Value = serde_json::from_str(&poll.await.unwrap()).unwrap();
        assert_eq!(answer[0]["to"]["state"], "STOPPED", "{query}");
        become_all(&mut world, 1, "RUNNING").await;
        world.get("/changes?after=2").await;
    }
    world.end().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_nothing_when_its_time_is_over_or_tracker_stops() {
    let mut world = followed(1, "feed", |_| {}).await;
    let empty = world.get("/changes?after=0&wait=1").await;
    assert_eq!((empty.status, empty.text.as_str()), (StatusCode::OK, "[]"));
    assert_eq!(empty.headers["tracker-seq"], "0");
    let address = world.base().to_owned();
    let waiting = tokio::spawn(async move {
        let request = client().get(format!("{address}/changes?wait=60")).basic_auth(USER, Some(PASSWORD));
        request.send().await.unwrap().text().await.unwrap()
    });
    let mut events = Events::open(world.base(), "", None).await;
    events.read().await;
    tokio::time::timeout(seconds(10), world.stop()).await.expect("who waits keeps nobody from stopping");
    // It was asked before, or it found nobody there.
    if let Ok(text) = waiting.await {
        assert_eq!(text, "[]");
    }
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn filters_choose_and_only_what_was_asked_for_is_acknowledged() {
    let mut world = followed(2, "feed", |_| {}).await;
    assert_eq!(world.put_hook("realms", "feed", &[]).await.status, StatusCode::OK);
    world.poll().await;
    world.provider.set_realm("us", tracker::model::RealmState::Unavailable, Some("power"));
    become_all(&mut world, 2, "STOPPED").await;
    become_all(&mut world, 1, "RUNNING").await;
    let log = world.get("/changes?after=0").await.json();
    let all: Vec<(u64, String)> = log
        .as_array()
        .unwrap()
        .iter()
        .map(|change| (change["seq"].as_u64().unwrap(), change["resource"]["id"].as_str().unwrap().to_owned()))
        .collect();
    // Three of instances; a realm that is declared down is asked again before it counts as down.
    assert_eq!(all.len(), 5, "{all:?}");
    let last = all.len();
    let of = |id: &str| all.iter().filter(|(_, other)| other == id).map(|(seq, _)| *seq).collect::<Vec<_>>();
    let seqs = async |query: &str| {
        let answer = world.get(&format!("/changes?after=0&{query}")).await;
        assert_eq!(answer.headers["tracker-seq"], last.to_string(), "{query}: everything was looked at");
        answer.json().as_array().unwrap().iter().map(|change| change["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(seqs("collection=realms").await, of("us"));
    assert_eq!(seqs("resource=inst0").await, of("inst0"));
    assert_eq!(seqs("type=realm.state").await, of("us"));
    assert_eq!(seqs("type=state").await.len(), last);
    assert_eq!(seqs("type=gone").await, [0; 0]);
    assert_eq!(seqs("realm=nowhere").await, [0; 0]);
    assert_eq!(seqs("realm=us&collection=instances").await.len(), 3);
    // A page leads on with the same filter.
    let page = world.get("/changes?after=0&limit=1&resource=inst0&type=state,gone").await;
    let link = page.headers["link"].to_str().unwrap();
    assert!(link.contains("resource=inst0") && link.contains("type=state%2Cgone"), "{link}");

    let mut events = Events::open(world.base(), "?after=0&resource=inst0", None).await;
    assert_eq!(events.ids(2).await, of("inst0"));
    drop(events);
    assert_eq!(world.owed().await.len(), last);
    Events::open(world.base(), "?after=0&resource=inst0", Some(last as u64)).await;
    let rest: Vec<u64> = [of("inst1"), of("us")].concat();
    world
        .owed_becomes(&{
            let mut rest = rest.clone();
            rest.sort_unstable();
            rest
        })
        .await;
    world.get(&format!("/changes?after={last}&collection=realms")).await;
    assert_eq!(world.owed().await, of("inst1"));
    assert_eq!(world.feed("?resource=nobody").await, []);
    assert_eq!(world.owed().await, of("inst1"));
    world.end().await;
}

#[tokio::test]
async fn with_a_filter_what_is_owed_beside_it_is_looked_at_once_and_what_is_owed_anew_is_found() {
    let mut world = followed(9, "receiver", |settings| settings.feed.scan_max = 4).await;
    become_all(&mut world, 9, "STOPPED").await;
    // Behind more than is looked at in one turn.
    assert_eq!(world.feed("?resource=inst8&limit=1").await.len(), 1);
    world.owed_becomes(&[1, 2, 3, 4, 5, 6, 7, 8]).await;
    assert_eq!(world.feed("?resource=nobody&wait=1").await, []);
    assert_eq!(
        world.feed("?after=6&type=instance.state&resource=inst7").await,
        [(8, "inst7 RUNNING -> STOPPED".to_owned())]
    );
    assert_eq!(world.owed().await, [1, 2, 3, 4, 5, 6, 7, 8], "nothing is acknowledged behind the place");
    world.get("/changes?after=8&resource=inst7").await;
    assert_eq!(world.owed().await, [1, 2, 3, 4, 5, 6, 7]);
    // Put back, it is owed again until its reader says once more that it is beyond it.
    world.get("/changes?after=9&resource=inst8").await;
    let delivery = world.get("/deliveries?state=read&limit=1").await.json()[0]["id"].as_str().unwrap().to_owned();
    let again = world.request(Method::POST, &format!("/deliveries/{delivery}/redeliver")).await;
    assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.text);
    assert_eq!(world.owed().await, [1, 2, 3, 4, 5, 6, 7, 9]);
    world.get("/changes?after=9&resource=inst8").await;
    assert_eq!(world.owed().await, [1, 2, 3, 4, 5, 6, 7]);
    world.end().await;
}

#[tokio::test]
async fn filters_that_fit_little_look_at_a_bounded_part_and_lead_on() {
    let mut world = followed(9, "feed", |settings| settings.feed.scan_max = 4).await;
    become_all(&mut world, 9, "STOPPED").await;
    let mut path = "/changes?after=0&resource=inst8".to_owned();
    let mut got = Vec::new();
    let mut pages = 0;
    loop {
        let page = world.get(&path).await;
        pages += 1;
        got.extend(page.json().as_array().unwrap().iter().map(|change| change["seq"].as_u64().unwrap()));
        let Some(link) = page.headers.get("link") else { break };
        let link = link.to_str().unwrap().trim_start_matches('<').split('>').next().unwrap();
        link.split("/api;driver=mock;provider=default").last().unwrap().clone_into(&mut path);
        path = path.split("/api").last().unwrap().to_owned();
    }
    assert_eq!((got, pages), (vec![9], 3));
    world.end().await;
}

#[tokio::test]
async fn a_head_hands_nothing_over_and_an_unchanged_answer_is_not_sent_twice() {
    let mut world = followed(1, "feed", |_| {}).await;
    become_all(&mut world, 1, "STOPPED").await;
    for path in ["/changes", "/changes?after=1", "/changes?wait=60&after=1"] {
        assert_eq!(world.request(Method::HEAD, path).await.status, StatusCode::OK);
        assert_eq!(world.owed().await, [1], "{path}");
    }
    let log = world.get("/changes?after=0").await;
    let ask = async |path: &str, tag: &str| {
        let request = client().get(format!("{}{path}", world.base())).basic_auth(USER, Some(PASSWORD));
        request.header("if-none-match", tag).send().await.unwrap()
    };
    let tag = log.headers["etag"].to_str().unwrap().to_owned();
    for tag in [tag.clone(), format!("\"{tag}\""), format!("W/\"{tag}\", \"x\"")] {
        let same = ask("/changes?after=0", &tag).await;
        assert_eq!((same.status(), same.headers()["tracker-seq"].to_str().unwrap()), (StatusCode::NOT_MODIFIED, "1"));
    }
    assert_eq!(ask("/changes?after=0", "\"other\"").await.status(), StatusCode::OK);
    // Who has the very answer has got what is in it.
    assert_eq!(ask("/changes", &tag).await.status(), StatusCode::NOT_MODIFIED);
    world.owed_becomes(&[]).await;
    world.end().await;
}

#[tokio::test]
async fn nobody_follows_where_nothing_is_tracked_nor_from_what_is_not_there() {
    let mut world = World::new().await;
    let refused = async |base: &str, query: &str, id: Option<u64>| {
        let (status, text) = Events::try_open(base, query, id).await.err().expect("it is refused");
        (status.as_u16(), text)
    };
    let (status, text) = refused(world.base(), "", None).await;
    assert!(status == 404 && text.contains("track_hook"), "{text}");
    world.provider.add_instance("inst0", "RUNNING");
    world.put_hook("instances", "feed", &[]).await;
    become_all(&mut world, 1, "STOPPED").await;
    for (query, id, wanted) in [("?after=7", None, "last change is 1"), ("", Some(7), "last change is 1")] {
        let (status, text) = refused(world.base(), query, id).await;
        assert!(status == 400 && text.contains(wanted), "{text}");
    }
    let strange = client().get(format!("{}/changes", world.base())).basic_auth(USER, Some("wrong"));
    assert_eq!(strange.header("accept", "text/event-stream").send().await.unwrap().status(), 401);
    world.end().await;
}

#[tokio::test]
async fn so_many_may_wait_and_no_more() {
    let world = followed(1, "feed", |settings| settings.feed.followers_max = 2).await;
    let one = Events::open(world.base(), "", None).await;
    let two = Events::open(world.base(), "?after=0", None).await;
    let full = world.get("/changes?after=0&wait=9").await;
    assert_eq!((full.status, full.headers.contains_key("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, true));
    assert_eq!(world.get("/changes?after=0").await.status, StatusCode::OK, "who does not wait takes no place");
    drop(two);
    for _ in 0..1_000 {
        if Events::try_open(world.base(), "", None).await.is_ok() {
            drop(one);
            return world.end().await;
        }
    }
    panic!("a place is never given back");
}

#[tokio::test]
async fn one_account_takes_its_share_of_the_places_and_no_more() {
    let world = followed(1, "feed", |settings| settings.feed.followers_per_account_max = 1).await;
    let one = Events::open(world.base(), "", None).await;
    assert_eq!(world.get("/changes?after=0&wait=9").await.status, StatusCode::SERVICE_UNAVAILABLE);
    drop(one);
    world.end().await;
}

#[tokio::test]
async fn a_stream_that_is_told_nothing_has_its_place_moved_on() {
    let mut world = followed(2, "feed", |settings| settings.feed.heartbeat_ms = 5).await;
    let mut events = Events::open(world.base(), "?after=0&collection=realms", None).await;
    become_all(&mut world, 2, "STOPPED").await;
    while events.last_id != Some(2) {
        events.read().await;
    }
    drop(events);
    world.end().await;
}

#[tokio::test]
async fn who_waits_where_nothing_is_tracked_yet_is_told_what_comes() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let address = world.base().to_owned();
    let poll = tokio::spawn(async move {
        let request = client().get(format!("{address}/changes?after=0&wait=60")).basic_auth(USER, Some(PASSWORD));
        request.send().await.unwrap().text().await.unwrap()
    });
    world.put_hook("instances", "feed", &[]).await;
    become_all(&mut world, 1, "STOPPED").await;
    let answer: serde_json::Value = serde_json::from_str(&poll.await.unwrap()).unwrap();
    assert_eq!(answer[0]["to"]["state"], "STOPPED");
    world.end().await;
}

#[tokio::test]
async fn a_stream_says_that_it_is_there_and_ends_after_its_time() {
    let world = followed(1, "feed", |settings| {
        settings.feed.heartbeat_ms = 5;
        settings.feed.stream_max_seconds = 1;
    })
    .await;
    let mut events = Events::open(world.base(), "", None).await;
    assert_eq!(events.next().await, None, "it ends by itself");
    assert!(events.heartbeats > 1);
    world.end().await;
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_off_and_goes_on_from_its_id() {
    let count = 400;
    let mut world = followed(count, "feed", |settings| settings.api.write_ms = 200).await;
    let token = "t".repeat(1_000);
    assert_eq!(world.put_hook("instances", "feed", &[("track_token", &token)]).await.status, StatusCode::OK);
    for state in ["STOPPED", "RUNNING", "STOPPED", "RUNNING"] {
        become_all(&mut world, count, state).await;
    }
    let headers = [raw::GOOD, ("Accept", "text/event-stream")];
    let mut stream = raw::asked(world.base(), "/api/changes?after=0", &headers, Some(4_096)).await;
    let mut some = vec![0; 20_000];
    stream.read_exact(&mut some).await.unwrap();
    // It reads no more. Everybody else goes on meanwhile.
    let mut quick = Events::open(world.base(), "?after=0", None).await;
    assert_eq!(quick.ids(4 * count).await, (1..=4 * count as u64).collect::<Vec<_>>());
    drop(quick);
    tokio::time::timeout(seconds(10), world.stop()).await.expect("one who does not read keeps nobody from stopping");
    drop(stream);
    world.start().await;
    let text = String::from_utf8_lossy(&some).into_owned();
    let last = text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse::<u64>().ok()).max().unwrap();
    // The last one may be cut in the middle.
    let mut events = Events::open(world.base(), "?after=0", Some(last - 1)).await;
    assert_eq!(events.ids(3).await, [last, last + 1, last + 2]);
    drop(events);
    world.end().await;
}

#[tokio::test]
async fn a_place_that_was_pruned_meanwhile_ends_the_stream_and_is_said_to_who_comes_back() {
    let mut world = followed(3, "feed", |settings| settings.feed.tail_max = 1).await;
    become_all(&mut world, 3, "STOPPED").await;
    world.get("/changes?after=3").await;
    let pool = sqlx::SqlitePool::connect(&world.settings.store.url).await.unwrap();
    sqlx::raw_sql("DELETE FROM changes WHERE seq < 3").execute(&pool).await.unwrap();
    pool.close().await;
    let gone = world.get("/changes?after=1").await;
    assert_eq!((gone.status, gone.headers["tracker-oldest-seq"].to_str().unwrap()), (StatusCode::GONE, "3"));
    let link = gone.headers["link"].to_str().unwrap();
    assert!(link.ends_with("/instances>; rel=\"start\""), "{link}");
    assert!(gone.text.contains("/instances"), "{}", gone.text);
    let (status, _) = Events::try_open(world.base(), "?after=0", Some(1)).await.err().unwrap();
    assert_eq!(status, StatusCode::GONE);
    let mut events = Events::open(world.base(), "?after=2", None).await;
    assert_eq!(events.ids(1).await, [3]);
    drop(events);
    world.end().await;
}

#[tokio::test]
async fn many_followers_of_one_account_all_get_everything() {
    let mut world = followed(5, "feed", |settings| settings.feed.tail_max = 3).await;
    let mut followers = Vec::new();
    for n in 0..40_u64 {
        become_all(&mut world, 1, if n % 2 == 0 { "STOPPED" } else { "RUNNING" }).await;
        followers.push((n, Events::open(world.base(), &format!("?after={n}"), None).await));
    }
    become_all(&mut world, 5, "STOPPED").await;
    let last = world.get("/changes?after=0&limit=1000").await.headers["tracker-seq"].to_str().unwrap().parse().unwrap();
    for (after, events) in &mut followers {
        let wanted: Vec<u64> = (*after + 1..=last).collect();
        assert_eq!(events.ids(wanted.len()).await, wanted);
    }
    drop(followers);
    world.end().await;
}

#[tokio::test]
async fn a_token_is_told_to_its_own_subscriber_only() {
    let mut world = followed(1, "feed", |_| {}).await;
    assert_eq!(world.put_hook("instances", "feed", &[("track_token", "mine"), ("subscriber", "a")]).await.status, 200);
    let mut mine = Events::open(world.base(), "?after=0&subscriber=a", None).await;
    let mut other = Events::open(world.base(), "?after=0&subscriber=b", None).await;
    become_all(&mut world, 1, "STOPPED").await;
    assert_eq!(mine.next().await.unwrap().data["token"], "mine");
    assert_eq!(other.next().await.unwrap().data.get("token"), None);
    // A new token is told from the next change on, also in a stream that is open.
    assert_eq!(world.put_hook("instances", "feed", &[("track_token", "new"), ("subscriber", "a")]).await.status, 200);
    become_all(&mut world, 1, "RUNNING").await;
    assert_eq!(mine.next().await.unwrap().data["token"], "new");
    drop((mine, other));
    world.end().await;
}

#[tokio::test]
async fn who_asks_from_the_end_hides_nothing_from_who_is_behind() {
    let mut world = followed(1, "feed", |_| {}).await;
    // Keeps what is in memory there.
    let held = Events::open(world.base(), "?subscriber=other", None).await;
    become_all(&mut world, 1, "STOPPED").await;
    assert_eq!(world.feed("?after=0").await.len(), 1);
    for state in ["RUNNING", "STOPPED", "RUNNING"] {
        become_all(&mut world, 1, state).await;
    }
    assert_eq!(world.feed("?after=4").await, []);
    assert_eq!(world.feed("?after=1").await.len(), 3);
    drop(held);
    world.end().await;
}

#[tokio::test]
async fn what_fits_is_found_behind_all_that_is_owed_and_does_not() {
    let mut world = followed(9, "feed", |settings| settings.feed.scan_max = 2).await;
    become_all(&mut world, 9, "STOPPED").await;
    let found = world.feed("?resource=inst8&wait=1").await;
    assert_eq!(found.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [9]);
    world.end().await;
}

#[tokio::test]
async fn an_answer_that_would_be_too_long_is_short_and_nothing_is_lost() {
    // Room for one change and not for two.
    let mut world = followed(4, "feed", |settings| settings.feed.page_bytes_max = 700).await;
    become_all(&mut world, 4, "STOPPED").await;
    let next = |answer: &crate::support::world::Answer| {
        let link = answer.headers.get("link").map(|link| link.to_str().unwrap().to_owned());
        link.map(|link| {
            format!("/{}", link.trim_start_matches('<').split('>').next().unwrap().rsplit('/').next().unwrap())
        })
    };
    // By place.
    let (mut path, mut seqs) = (Some("/changes?after=0&limit=1000".to_owned()), Vec::new());
    while let Some(here) = path {
        let answer = world.get(&here).await;
        let page = answer.json();
        let page: Vec<u64> = page.as_array().unwrap().iter().map(|change| change["seq"].as_u64().unwrap()).collect();
        assert_eq!(page.len(), 1, "{here}: {page:?}");
        assert_eq!(answer.headers["tracker-seq"].to_str().unwrap(), page[0].to_string());
        seqs.extend(page);
        path = next(&answer);
    }
    assert_eq!(seqs, [1, 2, 3, 4]);
    // What is owed: only what was sent is acknowledged.
    world.get("/changes?after=4").await;
    become_all(&mut world, 4, "RUNNING").await;
    world.owed_becomes(&[5, 6, 7, 8]).await;
    for seq in 5..=8 {
        let answer = world.get("/changes?limit=1000").await;
        assert_eq!((answer.json().as_array().unwrap().len(), &answer.json()[0]["seq"]), (1, &seq.into()));
        assert_eq!(next(&answer).is_some(), seq < 8);
        world.owed_becomes(&Vec::from_iter(seq + 1..=8)).await;
    }
    // With more room there is one answer.
    world.settings.feed.page_bytes_max = 1 << 20;
    world.crash().await;
    world.start().await;
    assert_eq!(world.feed("?after=0&limit=1000").await.len(), 8);
    // A portion is not the end of it.
    for state in ["STOPPED", "RUNNING", "STOPPED", "RUNNING"] {
        become_all(&mut world, 4, state).await;
    }
    assert_eq!(world.feed("?after=0&limit=23").await.len(), 23);
    assert_eq!(world.feed("?after=0&limit=1000").await.len(), 24);
    let filtered = world.get("/changes?after=0&limit=20&type=state").await;
    assert_eq!(filtered.json().as_array().unwrap().len(), 20);
    assert_eq!(filtered.headers["tracker-seq"], "20");
    world.end().await;
}
