//! `/api/hooks` and `/api/deliveries`: who owns hooks sees how they do, and repairs what went wrong. `/metrics` beside it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tracker::deliver::{self, ID, Key, SIGNATURE, TIMESTAMP};
use tracker::drivers::Kind;

use crate::support::receiver::Received;
use crate::support::receiver::Reply::{Full, Hang, Status};
use crate::support::world::{Answer, PASSWORD, SECRET, USER, World, client, minutes, seconds};

async fn get(world: &World, path: &str) -> Value {
    let answer = world.get(path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    answer.json()
}

async fn post(world: &World, path: &str) -> Answer {
    world.request(Method::POST, path).await
}

/// Asks for something to be done, and it is.
async fn done(world: &World, path: &str, status: StatusCode) -> Value {
    let answer = post(world, path).await;
    assert_eq!(answer.status, status, "{path}: {}", answer.text);
    answer.json()
}

async fn refused(world: &World, path: &str, reason: &str) {
    let answer = post(world, path).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {}", answer.text);
    assert!(answer.text.contains(reason), "{path}: {}", answer.text);
}

/// The id of the only hook.
async fn the_hook(world: &World) -> String {
    let hooks = get(world, "/hooks").await;
    assert_eq!(hooks.as_array().unwrap().len(), 1, "{hooks}");
    hooks[0]["id"].as_str().unwrap().to_owned()
}

/// `inst0 instance.state waiting`, newest first.
async fn listed(world: &World, query: &str) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let deliveries = get(world, &format!("/deliveries{query}")).await;
    let told = |row: &Value| format!("{} {} {}", word(&row["resource"]["id"]), word(&row["type"]), word(&row["state"]));
    deliveries.as_array().unwrap().iter().map(told).collect()
}

/// An instance that changes this often, each change recorded, none sent. Begins RUNNING and stops first.
async fn changes(world: &mut World, count: usize) {
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    for state in ["STOPPED", "RUNNING"].into_iter().cycle().take(count) {
        world.provider.set_state("inst0", state);
        world.clock.advance(seconds(60));
        world.tick().await;
    }
}

/// Lets tries fail until they are given up.
async fn exhaust(world: &mut World) {
    world.receiver.otherwise(Status(500));
    world.days_of_delivery(5).await;
    world.receiver.otherwise(Status(200));
}

fn verify(request: &Received, world: &World) {
    let key = Key::parse(SECRET).unwrap();
    let header = |name: &str| request.header(name).unwrap();
    let (id, timestamp, signatures) = (header(ID), header(TIMESTAMP), header(SIGNATURE));
    deliver::verify(&key, id, timestamp, signatures, &request.body, world.clock_now(), 0).unwrap();
}

/// The pages from a path on, joined.
async fn joined(world: &World, path: &str) -> Vec<Value> {
    let mut all = vec![];
    let mut next = Some(path.to_owned());
    for _ in 0..100 {
        let Some(path) = next.take() else { return all };
        let answer = world.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        all.extend(answer.json().as_array().unwrap().iter().cloned());
        next = answer.headers.get("link").map(|link| {
            let (href, rel) = link.to_str().unwrap().split_once('>').unwrap();
            assert_eq!(rel, "; rel=\"next\"");
            href.trim_start_matches('<').strip_prefix(world.base()).unwrap().to_owned()
        });
    }
    panic!("{path} has no end");
}

#[tokio::test]
async fn a_hook_is_shown_with_how_far_behind_it_is_and_without_its_secrets() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let hook = world.hook().replace("http://", "http://alice:s3cret@") + "?key=abc123";
    let more = [("track_token", "t0ken"), ("track_mode", "latest"), ("track_events", "state,gone")];
    assert_eq!(world.put_hook("instances/inst0", &hook, &more).await.status, StatusCode::OK);
    world.provider.set_state("inst0", "STOPPED");
    world.clock.advance(seconds(60));
    world.tick().await;
    world.clock.advance(seconds(90));

    let id = the_hook(&world).await;
    let list = world.get("/hooks").await;
    let one = world.get(&format!("/hooks/{id}")).await;
    assert_eq!(list.json()[0], one.json());
    let receiver = format!("http://{}", world.receiver.address());
    assert_eq!(
        one.json(),
        json!({
            "id": id,
            "href": format!("{}/hooks/{id}", world.base()),
            "subscriber": "default",
            "scope": {"kind": "member", "collection": "instances", "id": "inst0"},
            "hook": format!("{}?***", world.hook().replace("http://", "http://***@")),
            "receiver": receiver,
            "mode": "latest",
            "format": "changes",
            "events": ["gone", "state"],
            "created_at": "2026-11-21T10:00:00.000Z",
            "ended_at": null,
            "disabled": null,
            "failing_since": null,
            "behind": {"oldest_seq": 1, "since": "2026-11-21T10:01:00.000Z", "age_seconds": 90},
            "lag_seconds": 90,
            "waiting": 1,
        })
    );
    world.deliver().await;
    let caught_up = get(&world, &format!("/hooks/{id}")).await;
    assert_eq!(
        (&caught_up["behind"], &caught_up["lag_seconds"], &caught_up["waiting"]),
        (&Value::Null, &json!(0), &json!(0))
    );
    let delivery = world.get(&format!("/deliveries/{id}.1")).await;
    for answer in [&list, &one, &delivery, &world.get("/deliveries").await] {
        for secret in ["alice", "s3cret", "abc123", "t0ken", "whsec_", "dGhlIHNlY3JldCBv"] {
            assert!(!answer.text.contains(secret), "{}", answer.text);
        }
    }
    let shown = world.get("/instances/inst0").await.text;
    assert!(shown.contains("mode='latest' events='gone,state'"), "{shown}");
    world.end().await;
}

#[tokio::test]
async fn hooks_are_found_by_filter_and_pages_join_to_the_whole() {
    let world = World::new().await;
    for n in 0..5 {
        world.provider.add_instance(&format!("inst{n}"), "RUNNING");
        world.track(&format!("inst{n}")).await;
    }
    world.put_hook("realms", "feed", &[("subscriber", "ci")]).await;
    let whole = get(&world, "/hooks").await;
    for limit in 1..=7 {
        assert_eq!(Value::from(joined(&world, &format!("/hooks?limit={limit}")).await), whole, "{limit}");
    }
    let check = async |query: &str, count: usize| {
        let found = joined(&world, &format!("/hooks?{query}&limit=2")).await;
        assert_eq!(found.len(), count, "{query}: {found:?}");
    };
    check("subscriber=default", 5).await;
    check("subscriber=ci", 1).await;
    check("collection=instances", 5).await;
    check("collection=instances&resource=inst3", 1).await;
    check("collection=realms&subscriber=ci", 1).await;
    check("resource=inst9", 0).await;
    let feed = &joined(&world, "/hooks?subscriber=ci").await[0];
    assert_eq!((&feed["hook"], &feed["receiver"]), (&json!("feed"), &Value::Null));
    assert_eq!(feed["scope"], json!({"kind": "collection", "collection": "realms"}));
    world.end().await;
}

#[tokio::test]
async fn deliveries_are_shown_with_their_attempts() {
    let mut world = World::new().await;
    changes(&mut world, 2).await;
    world.receiver.answers([Full(503, vec![], b"not now\nlater".to_vec())]);
    world.deliver().await;
    let id = the_hook(&world).await;
    let first = get(&world, &format!("/deliveries/{id}.1")).await;
    assert_eq!((&first["state"], &first["attempts"], &first["seq"]), (&json!("waiting"), &json!(1), &json!(1)));
    assert_eq!(first["resource"]["href"], format!("{}/instances/inst0", world.base()));
    assert_eq!(first["last_attempt"]["error"], "the receiver answered 503 Service Unavailable");
    let attempt = &first["tries"][0];
    assert_eq!(
        (&attempt["number"], &attempt["status"], &attempt["answer_line"]),
        (&json!(1), &json!(503), &json!("not now"))
    );
    assert_eq!((&attempt["at"], &attempt["answer"]), (&json!("2026-11-21T10:02:00.000Z"), &json!("not now\nlater")));
    assert!(first["due_at"].as_str().unwrap() > "2026-11-21T10:02:00.000Z", "{first}");
    let second = get(&world, &format!("/deliveries/{id}.2")).await;
    assert_eq!((&second["state"], &second["due_at"]), (&json!("waiting"), &Value::Null), "it waits for its turn");

    world.clock.advance(minutes(1));
    world.deliver().await;
    let first = get(&world, &format!("/deliveries/{id}.1")).await;
    assert_eq!((&first["state"], &first["settled_at"]), (&json!("delivered"), &json!("2026-11-21T10:03:00.000Z")));
    assert_eq!(first["tries"].as_array().unwrap().len(), 2);
    assert_eq!(first["change"], world.receiver.received()[0].header("webhook-id").unwrap());
    assert_eq!(listed(&world, "").await, ["inst0 instance.state delivered", "inst0 instance.state delivered"]);
    world.end().await;
}

#[tokio::test]
async fn deliveries_are_found_by_filter_and_pages_join_to_the_whole() {
    let mut world = World::with(|settings| settings.api.deliveries_scan_max = 3).await;
    changes(&mut world, 6).await;
    world.put_hook("instances", "feed", &[("subscriber", "ci")]).await;
    world.poll().await;
    world.provider.set_state("inst0", "PENDING");
    world.clock.advance(seconds(60));
    world.tick().await;
    world.receiver.answers([Status(200), Status(200), Status(500)]);
    world.deliver().await;
    let whole = joined(&world, "/deliveries").await;
    assert_eq!(whole.len(), 8);
    for limit in 1..=9 {
        assert_eq!(joined(&world, &format!("/deliveries?limit={limit}")).await, whole, "{limit}");
    }
    let id = get(&world, "/hooks?subscriber=default").await[0]["id"].as_str().unwrap().to_owned();
    let check = async |query: &str, count: usize| {
        let found = joined(&world, &format!("/deliveries?{query}&limit=2")).await;
        assert_eq!(found.len(), count, "{query}: {found:?}");
    };
    check("state=delivered", 2).await;
    check("state=waiting", 6).await;
    check("state=exhausted", 0).await;
    check("subscriber=ci", 1).await;
    check(&format!("hook={id}"), 7).await;
    check(&format!("hook={id}&state=waiting"), 5).await;
    check(&format!("hook={id}&state=delivered"), 2).await;
    check("hook=hook_9", 0).await;
    check("collection=instances&resource=inst0", 8).await;
    check("collection=realms", 0).await;
    check("since=2026-11-21T10:06:00Z", 3).await;
    check("until=2026-11-21T11:02:00%2B01:00", 1).await;
    world.end().await;
}

#[tokio::test]
async fn nobody_sees_or_touches_what_is_anothers() {
    let mut world = World::new().await;
    changes(&mut world, 1).await;
    world.deliver().await;
    let id = the_hook(&world).await;
    world.provider.add_user("other", "otherpassword");
    let paths = [
        (Method::GET, format!("/hooks/{id}")),
        (Method::DELETE, format!("/hooks/{id}")),
        (Method::POST, format!("/hooks/{id}/enable")),
        (Method::POST, format!("/hooks/{id}/test")),
        (Method::POST, format!("/hooks/{id}/resync")),
        (Method::POST, format!("/hooks/{id}/recover?since=2026-11-21T10:00:00Z&what=all")),
        (Method::GET, format!("/deliveries/{id}.1")),
        (Method::POST, format!("/deliveries/{id}.1/redeliver")),
    ];
    // First as somebody who tracks nothing, then as one who does.
    for _ in 0..2 {
        for (method, path) in &paths {
            let answer = world.request_as(method.clone(), path, "other", "otherpassword").await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {path}: {}", answer.text);
        }
        for list in ["/hooks?limit=1000", "/deliveries", &format!("/deliveries?hook={id}")] {
            let answer = world.request_as(Method::GET, list, "other", "otherpassword").await;
            assert!(!answer.text.contains(&id), "{}", answer.text);
        }
        let put = world.request_as(Method::PUT, "/realms?track_hook=feed", "other", "otherpassword").await;
        assert_eq!(put.status, StatusCode::OK, "{}", put.text);
    }
    for (method, path) in paths
        .iter()
        .map(|(method, path)| (method, path.as_str()))
        .chain([(&Method::GET, "/hooks"), (&Method::GET, "/deliveries")])
    {
        for (user, password) in [(USER, "guessed"), ("", "")] {
            let answer = world.request_as(method.clone(), path, user, password).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        }
    }
    assert_eq!(world.receiver.received().len(), 1);
    assert_eq!(get(&world, "/deliveries").await[0]["state"], "delivered");
    world.end().await;
}

#[tokio::test]
async fn the_list_is_there_while_the_backend_is_not() {
    let mut world = World::new().await;
    changes(&mut world, 1).await;
    world.clock.advance(minutes(10));
    world.provider.fails(Kind::Unavailable);
    world.crash().await;
    world.start().await;
    let id = the_hook(&world).await;
    done(&world, &format!("/deliveries/{id}.1/redeliver"), StatusCode::ACCEPTED).await;
    world.end().await;
}

#[tokio::test]
async fn a_delivery_is_sent_again_in_its_place() {
    let mut world = World::new().await;
    changes(&mut world, 3).await;
    let id = the_hook(&world).await;
    world.receiver.answers([Status(200), Status(500)]);
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    // The second is to be tried again in a moment; the first comes before it all the same.
    let again = done(&world, &format!("/deliveries/{id}.1/redeliver"), StatusCode::ACCEPTED).await;
    assert_eq!(
        (&again["state"], &again["attempts"], &again["settled_at"]),
        (&json!("waiting"), &json!(0), &Value::Null)
    );
    assert_eq!(again["due_at"], "2026-11-21T10:03:00.000Z");
    assert_eq!(again["tries"].as_array().unwrap().len(), 1, "what was tried before is not forgotten");
    world.deliver().await;
    let revisions = &world.revisions()["inst0"];
    assert_eq!(revisions, &[1, 1, 2, 3]);
    let ids: Vec<_> = world.receiver.accepted_requests().iter().map(|r| r.header(ID).unwrap().to_owned()).collect();
    assert_eq!(ids[0], ids[1], "the same change, told again");
    world.end().await;
}

#[tokio::test]
async fn a_waiting_one_is_tried_at_once_and_from_the_start() {
    let mut world = World::new().await;
    changes(&mut world, 1).await;
    world.receiver.answers([Status(500)]);
    world.deliver().await;
    world.deliver().await;
    assert_eq!(world.accepted(), Vec::<String>::new());
    let id = the_hook(&world).await;
    done(&world, &format!("/deliveries/{id}.1/redeliver"), StatusCode::ACCEPTED).await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_sent_again_is_refused_with_the_reason() {
    let mut world = World::new().await;
    changes(&mut world, 2).await;
    let id = the_hook(&world).await;
    world.receiver.answers([Status(200), Status(410)]);
    world.deliver().await;
    let since = "since=2026-11-21T00:00:00Z";
    refused(&world, &format!("/deliveries/{id}.1/redeliver"), "enable it first").await;
    refused(&world, &format!("/hooks/{id}/recover?{since}"), "enable it first").await;
    refused(&world, &format!("/hooks/{id}/resync"), "enable it first").await;

    world.put_hook("instances/inst0", "feed", &[]).await;
    refused(&world, &format!("/deliveries/{id}.1/redeliver"), "no callback").await;
    refused(&world, &format!("/hooks/{id}/recover?{since}"), "no callback").await;
    refused(&world, &format!("/hooks/{id}/test"), "no callback").await;

    world.put_hook("instances/inst0", "none", &[]).await;
    refused(&world, &format!("/deliveries/{id}.2/redeliver"), "dropped").await;
    let delivered = post(&world, &format!("/deliveries/{id}.1/redeliver")).await;
    assert_eq!(delivered.status, StatusCode::NOT_FOUND, "its hook is not there any more: {}", delivered.text);
    let of_inst0 = listed(&world, "?collection=instances").await;
    assert_eq!(of_inst0, ["inst0 instance.state dropped", "inst0 instance.state delivered"]);
    assert_eq!(listed(&world, "?collection=hooks").await, [format!("{id} hook.disabled dropped")]);
    world.end().await;
}

#[tokio::test]
async fn what_was_given_up_is_recovered_in_order() {
    let mut world = World::with(|settings| settings.deliver.recover_batch = 2).await;
    changes(&mut world, 5).await;
    let id = the_hook(&world).await;
    exhaust(&mut world).await;
    world.provider.set_state("inst0", "RUNNING");
    world.tick().await;
    let exhausted = joined(&world, "/deliveries?state=exhausted").await.len();
    assert_eq!(exhausted, 5);
    let stands = get(&world, &format!("/hooks/{id}")).await;
    assert_eq!((&stands["behind"]["oldest_seq"], &stands["waiting"]), (&json!(1), &json!(1)));

    let recovered =
        done(&world, &format!("/hooks/{id}/recover?since=2026-11-21T10:02:00Z"), StatusCode::ACCEPTED).await;
    assert_eq!(recovered, json!({"count": 4, "more": false}));
    world.deliver().await;
    assert_eq!(world.revisions()["inst0"], [2, 3, 4, 5, 6]);
    let nothing = done(&world, &format!("/hooks/{id}/recover?since=2026-11-21T10:02:00Z"), StatusCode::ACCEPTED).await;
    assert_eq!(nothing["count"], 0);

    // All of it again, also what arrived.
    let all = format!("/hooks/{id}/recover?since=2026-11-21T10:00:00Z&what=all");
    assert_eq!(done(&world, &all, StatusCode::ACCEPTED).await["count"], 6);
    world.deliver().await;
    assert_eq!(world.revisions()["inst0"], [2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6]);
    world.end().await;
}

#[tokio::test]
async fn a_recovery_has_a_bound_and_says_when_there_is_more() {
    let mut world = World::with(|settings| settings.deliver.recover_max = 2).await;
    changes(&mut world, 3).await;
    let id = the_hook(&world).await;
    exhaust(&mut world).await;
    let path = format!("/hooks/{id}/recover?since=2026-11-21T00:00:00Z");
    assert_eq!(done(&world, &path, StatusCode::ACCEPTED).await, json!({"count": 2, "more": true}));
    assert_eq!(done(&world, &path, StatusCode::ACCEPTED).await, json!({"count": 1, "more": false}));
    world.deliver().await;
    assert_eq!(world.revisions()["inst0"], [1, 2, 3]);
    world.end().await;
}

#[tokio::test]
async fn a_resync_tells_how_everything_stands_after_what_waits_and_to_nobody_else() {
    let mut world = World::new().await;
    for n in 0..3 {
        world.provider.add_instance(&format!("inst{n}"), "RUNNING");
    }
    world.put_hook("instances", &world.hook(), &[("track_events", "gone")]).await;
    world.put_hook("instances", "feed", &[("subscriber", "other")]).await;
    world.poll().await;
    world.provider.set_state("inst1", "STOPPED");
    world.clock.advance(seconds(60));
    world.tick().await;
    let id = get(&world, "/hooks?subscriber=default").await[0]["id"].as_str().unwrap().to_owned();
    let resynced = done(&world, &format!("/hooks/{id}/resync"), StatusCode::ACCEPTED).await;
    assert_eq!(resynced, json!({"count": 3, "from_seq": 2, "through_seq": 4}));
    world.deliver().await;
    let mut told: Vec<_> = world
        .receiver
        .accepted_requests()
        .iter()
        .map(|request| {
            verify(request, &world);
            let body = request.json();
            assert_eq!((&body["type"], &body["snapshot"]), (&json!("instance.snapshot"), &json!(true)), "{body}");
            assert_eq!(body["from"], Value::Null);
            (
                body["resource"]["id"].to_string(),
                body["to"]["state"].to_string(),
                body["resource"]["revision"].to_string(),
            )
        })
        .collect();
    told.sort();
    let row =
        |id: &str, state: &str, revision: &str| (format!("\"{id}\""), format!("\"{state}\""), revision.to_owned());
    let wanted = [row("inst0", "RUNNING", "0"), row("inst1", "STOPPED", "1"), row("inst2", "RUNNING", "0")];
    assert_eq!(told, wanted);
    assert_eq!(world.feed("?subscriber=other").await.len(), 1, "the change alone");

    // The next change counts on as if nothing had been.
    world.provider.remove("inst1");
    for _ in 0..5 {
        world.clock.advance(minutes(1));
        world.tick().await;
    }
    world.deliver().await;
    assert_eq!(world.revisions()["inst1"], [1, 2]);
    world.end().await;
}

#[tokio::test]
async fn a_resync_waits_its_turn_and_has_a_bound() {
    let mut world = World::with(|settings| settings.deliver.resync_max = 1).await;
    changes(&mut world, 2).await;
    let id = the_hook(&world).await;
    assert_eq!(done(&world, &format!("/hooks/{id}/resync"), StatusCode::ACCEPTED).await["count"], 1);
    world.deliver().await;
    let kinds: Vec<_> =
        world.receiver.accepted_requests().iter().map(|request| request.json()["type"].clone()).collect();
    assert_eq!(kinds, ["instance.state", "instance.state", "instance.snapshot"]);

    world.provider.add_instance("inst1", "RUNNING");
    world.put_hook("instances", &world.hook(), &[]).await;
    let all = get(&world, "/hooks?collection=instances").await;
    let of_all = all.as_array().unwrap().iter().find(|hook| hook["scope"]["kind"] == "collection").unwrap();
    refused(&world, &format!("/hooks/{}/resync", of_all["id"].as_str().unwrap()), "takes 1 at most").await;
    world.end().await;
}

#[tokio::test]
async fn a_disabled_hook_is_enabled_and_gets_what_waits() {
    let mut world = World::new().await;
    changes(&mut world, 2).await;
    world.receiver.answers([Status(410)]);
    world.deliver().await;
    let id = the_hook(&world).await;
    let disabled = get(&world, &format!("/hooks/{id}")).await;
    assert_eq!(disabled["disabled"]["at"], "2026-11-21T10:02:00.000Z");
    assert!(!disabled["disabled"]["reason"].as_str().unwrap().is_empty());
    world.days_of_delivery(1).await;
    assert_eq!(world.receiver.received().len(), 1);

    let enabled = done(&world, &format!("/hooks/{id}/enable"), StatusCode::OK).await;
    assert_eq!((&enabled["disabled"], &enabled["failing_since"]), (&Value::Null, &Value::Null));
    world.deliver().await;
    let told = format!("{id} ENABLED -> DISABLED");
    let mut accepted = world.accepted();
    accepted.retain(|change| *change != told);
    assert_eq!(accepted, ["inst0 RUNNING -> STOPPED", "inst0 STOPPED -> RUNNING"]);
    assert_eq!(world.accepted().len(), 3, "and what it missed itself");
    assert_eq!(done(&world, &format!("/hooks/{id}/enable"), StatusCode::OK).await["disabled"], Value::Null);
    world.end().await;
}

#[tokio::test]
async fn a_removed_hook_is_gone_and_what_it_was_owed_is_dropped() {
    let mut world = World::new().await;
    changes(&mut world, 1).await;
    let id = the_hook(&world).await;
    let removed = world.request(Method::DELETE, &format!("/hooks/{id}")).await;
    assert_eq!((removed.status, removed.text.as_str()), (StatusCode::NO_CONTENT, ""));
    world.deliver().await;
    assert!(world.receiver.received().is_empty());
    assert_eq!(get(&world, "/hooks").await, json!([]));
    assert_eq!(listed(&world, "").await, ["inst0 instance.state dropped"]);
    for (method, path) in [(Method::DELETE, ""), (Method::GET, ""), (Method::POST, "/test")] {
        let answer = world.request(method, &format!("/hooks/{id}{path}")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text);
    }
    assert!(!world.get("/instances/inst0").await.text.contains("<tracking hook"));
    world.end().await;
}

#[tokio::test]
async fn a_test_is_signed_like_a_change_and_is_none() {
    let world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.put_hook("instances/inst0", &world.hook(), &[("track_token", "t1")]).await;
    let id = the_hook(&world).await;
    world.receiver.answers([Full(202, vec![], b"thanks, t1-t1".to_vec()), Status(500)]);
    let outcome = done(&world, &format!("/hooks/{id}/test"), StatusCode::OK).await;
    assert_eq!(
        (&outcome["status"], &outcome["error"], &outcome["answer"]),
        (&json!(202), &Value::Null, &json!("thanks, t1-t1"))
    );
    assert!(outcome["elapsed_ms"].is_u64());
    let request = &world.receiver.received()[0];
    verify(request, &world);
    let body = request.json();
    assert_eq!((&body["type"], &body["test"], &body["token"]), (&json!("hook.test"), &json!(true), &json!("t1")));
    assert_eq!((&body["hook"]["id"], &body["id"]), (&json!(id), &outcome["id"]));
    assert!(request.header(ID).unwrap().starts_with("test_"));
    assert_eq!((body.get("seq"), body.get("resource")), (None, None));

    let outcome = done(&world, &format!("/hooks/{id}/test"), StatusCode::OK).await;
    assert_eq!(
        (&outcome["status"], &outcome["error"]),
        (&json!(500), &json!("the receiver answered 500 Internal Server Error"))
    );
    assert_eq!(get(&world, "/deliveries").await, json!([]));
    assert_eq!(world.feed("?after=0").await, []);

    world.put_hook("instances/inst0", &world.hook(), &[("track_format", "cloudevents")]).await;
    done(&world, &format!("/hooks/{id}/test"), StatusCode::OK).await;
    let request = &world.receiver.received()[2];
    verify(request, &world);
    assert_eq!(request.header("content-type"), Some("application/cloudevents+json; charset=utf-8"));
    let event = request.json();
    assert_eq!(
        (&event["specversion"], &event["type"], &event["data"]["test"]),
        (&json!("1.0"), &json!("hook.test"), &json!(true))
    );
    world.end().await;
}

#[tokio::test]
async fn a_test_goes_where_deliveries_may_go_and_nowhere_else() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    let id = the_hook(&world).await;
    world.stop().await;
    world.settings.deliver.allow_networks = vec![];
    world.start().await;
    let outcome = done(&world, &format!("/hooks/{id}/test"), StatusCode::OK).await;
    assert_eq!(outcome["status"], Value::Null);
    assert!(outcome["error"].as_str().unwrap().contains("may not be called"), "{outcome}");
    assert!(world.receiver.received().is_empty());
    world.end().await;
}

#[tokio::test]
async fn tests_end_in_time_and_are_few_at_once() {
    let world = World::with(|settings| {
        settings.deliver.tests_max = 1;
        settings.deliver.deadline_ms = 1_500;
        settings.deliver.connect_timeout_ms = 500;
    })
    .await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    let id = the_hook(&world).await;
    world.receiver.otherwise(Hang);
    let path = format!("/hooks/{id}/test");
    let (first, second) = tokio::join!(post(&world, &path), async {
        world.receiver.wait_for(1).await;
        post(&world, &path).await
    });
    assert_eq!((second.status, second.headers["retry-after"].to_str().unwrap()), (StatusCode::BAD_GATEWAY, "1"));
    assert_eq!((first.status, &first.json()["status"]), (StatusCode::OK, &Value::Null));
    assert!(first.json()["error"].as_str().unwrap().contains("1500 ms"), "{}", first.text);
    world.receiver.otherwise(Status(200));
    done(&world, &path, StatusCode::OK).await;
    world.end().await;
}

#[tokio::test]
async fn bad_questions_are_refused_with_the_reason() {
    let world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    let id = the_hook(&world).await;
    let check = async |path: &str, reason: &str| {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}: {}", answer.text);
        assert!(answer.text.contains(reason), "{path}: {}", answer.text);
    };
    check("/hooks?limit=0", "limit").await;
    check("/hooks?collection=keys", "collection").await;
    check("/hooks?subscriber=a%20b", "subscriber").await;
    check("/deliveries?state=lost", "waiting, delivered, read, exhausted, dropped, merged").await;
    check("/deliveries?since=yesterday", "since").await;
    check("/deliveries?before=x", "before").await;
    check("/deliveries?limit=1001", "1000").await;
    refused(&world, &format!("/hooks/{id}/recover"), "`since` is required").await;
    refused(&world, &format!("/hooks/{id}/recover?since=now"), "since").await;
    refused(&world, &format!("/hooks/{id}/recover?since=2026-11-21T00:00:00Z&what=some"), "what").await;
    for path in ["/hooks/hook_9", "/deliveries/x", "/deliveries/x.1", &format!("/deliveries/{id}.99")] {
        assert_eq!(world.get(path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(post(&world, &format!("/hooks/{id}/explode")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(post(&world, "/hooks").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(world.get(&format!("/hooks/{id}/test")).await.status, StatusCode::METHOD_NOT_ALLOWED);
    world.end().await;
}

#[tokio::test]
async fn it_is_json_with_a_tag_and_never_xml() {
    let mut world = World::new().await;
    changes(&mut world, 1).await;
    let id = the_hook(&world).await;
    for path in ["/hooks", "/deliveries", &format!("/hooks/{id}"), &format!("/deliveries/{id}.1")] {
        let answer = world.get(path).await;
        assert_eq!(answer.headers["content-type"], "application/json", "{path}");
        let head = world.request(Method::HEAD, path).await;
        assert_eq!((head.status, head.text.as_str()), (StatusCode::OK, ""));
        for name in ["etag", "content-length"] {
            assert_eq!(head.headers[name], answer.headers[name], "{path}");
        }
        let join = if path.contains('?') { '&' } else { '?' };
        assert_eq!(world.get(&format!("{path}{join}format=xml")).await.status, StatusCode::NOT_ACCEPTABLE, "{path}");
    }
    world.end().await;
}

#[tokio::test]
async fn figures_are_there_without_credentials_and_hold_no_secret() {
    let mut world = World::new().await;
    changes(&mut world, 2).await;
    world.clock.advance(seconds(30));
    let url = world.base().replace("/api", "/metrics");
    let answer = client().get(&url).header("accept", "text/plain").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    let id = the_hook(&world).await;
    let account = world.account().await.unwrap();
    for line in [
        &format!("tracker_hook_lag_seconds{{account=\"{account}\",hook=\"{id}\"}} 90.0"),
        "tracker_deliveries_waiting 2",
        "tracker_hooks 1",
        "tracker_hooks_disabled 0",
        "tracker_store_up 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}: {text}");
    }
    assert!(text.ends_with("# EOF\n"));
    for secret in [USER, PASSWORD, "127.0.0.1", "whsec_"] {
        assert!(!text.contains(secret), "{text}");
    }
    world.stop().await;
    world.settings.api.metrics = false;
    world.start().await;
    let url = world.base().replace("/api", "/metrics");
    assert_eq!(client().get(&url).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    world.end().await;
}
