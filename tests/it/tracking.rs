//! A client registers a callback on a resource; the resource changes; the signed callback arrives.

use reqwest::{Method, StatusCode};
use tracker::deliver::{self, ID, Key, SIGNATURE, TIMESTAMP};
use tracker::drivers::Kind;
use tracker::model::RealmState;

use crate::support::receiver::Received;
use crate::support::receiver::Reply::Status;
use crate::support::world::{SECRET, World, minutes, seconds};

/// As a receiver does.
fn verify(request: &Received, secret: &str, world: &World) {
    let key = Key::parse(secret).unwrap();
    let header = |name: &str| request.header(name).unwrap();
    let (id, timestamp, signatures) = (header(ID), header(TIMESTAMP), header(SIGNATURE));
    deliver::verify(&key, id, timestamp, signatures, &request.body, world.clock_now(), 0).unwrap();
}

#[tokio::test]
async fn a_hook_is_called_when_its_instance_stops() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.poll().await;

    world.clock.advance(seconds(60));
    world.provider.set_state("inst0", "STOPPED");
    world.tick().await;
    world.deliver().await;

    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    let request = &world.receiver.accepted_requests()[0];
    verify(request, SECRET, &world);
    let body = request.json();
    assert_eq!(body["type"], "instance.state");
    assert_eq!(body["seq"], 1);
    assert_eq!(body["resource"]["revision"], 1);
    assert_eq!(body["observed"]["before"], "2026-11-21T10:00:00.000Z");
    assert_eq!(body["observed"]["at"], "2026-11-21T10:01:00.000Z");
    assert_eq!(request.header("webhook-id"), body["id"].as_str());
    world.end().await;
}

#[tokio::test]
async fn the_state_in_the_answer_to_the_put_is_the_one_that_changes_are_told_from() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    // No sample was ever taken when it stops.
    world.provider.set_state("inst0", "STOPPED");
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn what_a_put_sees_is_told_to_those_who_were_there_before() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.poll().await;
    world.provider.set_state("inst0", "STOPPED");
    // Another subscriber's PUT is the first to see it.
    let answer = world.put_hook("instances/inst0", "feed", &[("subscriber", "other")]).await;
    assert!(answer.text.contains("<state>STOPPED</state>"), "{}", answer.text);
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    assert_eq!(world.feed("?subscriber=other").await, []);
    world.end().await;
}

#[tokio::test]
async fn a_token_comes_back_unchanged_and_is_shown_nowhere_else() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let token = "a token / with \"everything\" & ünïcode";
    let url = world.hook();
    let answer = world.put_hook("instances/inst0", &url, &[("track_token", token)]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert!(!answer.text.contains("everything"), "{}", answer.text);
    world.provider.set_state("inst0", "STOPPED");
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.receiver.accepted_requests()[0].json()["token"], token);
    world.end().await;
}

#[tokio::test]
async fn a_secret_that_tracker_makes_is_shown_once() {
    let world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let url = format!("/instances/inst0?track_hook={}", world.hook());
    let first = world.request(Method::PUT, &url).await;
    assert!(first.text.contains("secret='whsec_") || first.text.contains("secret=\"whsec_"), "{}", first.text);
    let again = world.request(Method::PUT, &url).await;
    assert_eq!(again.status, StatusCode::OK);
    assert!(!again.text.contains("whsec_"), "{}", again.text);
    let rotated = world.request(Method::PUT, &format!("{url}&track_secret=rotate")).await;
    assert!(rotated.text.contains("whsec_"), "{}", rotated.text);
    world.end().await;
}

#[tokio::test]
async fn after_a_rotation_the_old_secret_still_verifies_and_so_does_the_new_one() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    let new = "whsec_YW5vdGhlciBzZWNyZXQgb2Ygb3VyIHRlc3Rz";
    let url = world.hook();
    world.put_hook("instances/inst0", &url, &[("track_secret", new)]).await;
    world.provider.set_state("inst0", "STOPPED");
    world.poll().await;
    world.deliver().await;
    let request = &world.receiver.accepted_requests()[0];
    verify(request, SECRET, &world);
    verify(request, new, &world);
    world.end().await;
}

#[tokio::test]
async fn none_removes_and_what_was_owed_is_dropped() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.provider.set_state("inst0", "STOPPED");
    world.poll().await;
    for _ in 0..2 {
        let answer = world.put_hook("instances/inst0", "none", &[]).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(!answer.text.contains("<tracking"), "{}", answer.text);
    }
    world.deliver().await;
    assert_eq!(world.accepted(), Vec::<String>::new());
    // Nobody tracks anything here any more, so nobody is asked.
    let before = world.provider.calls();
    world.live(minutes(10)).await;
    assert_eq!(world.provider.calls(), before);
    world.end().await;
}

#[tokio::test]
async fn a_hook_on_a_realm_says_why() {
    let mut world = World::new().await;
    let url = world.hook();
    world.put_hook("realms/us", &url, &[]).await;
    world.poll().await;
    world.provider.set_realm("us", RealmState::Unavailable, Some("power failure"));
    world.clock.advance(minutes(5));
    world.tick().await;
    world.deliver().await;
    let said = |body: &serde_json::Value| {
        let side = &body["to"];
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        [text(&body["type"]), text(&side["state"]), text(&side["availability"]), text(&body["why"][0]["rule"])]
    };
    let first = world.receiver.accepted_requests()[0].json();
    assert_eq!(said(&first), ["realm.state", "AVAILABLE", "DEGRADED", "D3-doubt"], "it is asked again first: {first}");
    world.clock.advance(seconds(31));
    world.poll().await;
    world.deliver().await;
    let body = world.receiver.accepted_requests()[1].json();
    assert_eq!(said(&body), ["realm.state", "UNAVAILABLE", "UNAVAILABLE", "D1-down"], "{body}");
    assert!(body["why"].to_string().contains("power failure"), "{body}");
    assert!(body["confidence"].as_f64().unwrap() > 0.5, "{body}");
    let shown = world.get("/realms/us?format=json").await.json();
    let tracking = &shown["realm"]["tracking"];
    assert_eq!((&shown["realm"]["state"], &tracking["availability"]), (&"UNAVAILABLE".into(), &"UNAVAILABLE".into()));
    let evidence = world.get("/realms/us/evidence").await.json();
    assert_eq!(evidence["standing"]["state"], "UNAVAILABLE", "{evidence}");
    assert!(evidence["text"].as_str().unwrap().contains("UNAVAILABLE"), "{evidence}");
    assert_eq!(world.get("/realms/nowhere/evidence").await.status, 404);
    world.end().await;
}

#[tokio::test]
async fn a_hook_on_a_collection_hears_of_every_member_present_and_future() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let url = world.hook();
    let answer = world.put_hook("instances", &url, &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    world.poll().await;
    world.provider.add_instance("inst1", "PENDING");
    world.provider.set_state("inst0", "STOPPED");
    world.clock.advance(seconds(60));
    world.tick().await;
    world.deliver().await;
    let mut accepted = world.accepted();
    accepted.sort();
    assert_eq!(accepted, ["inst0 RUNNING -> STOPPED", "inst1 nothing -> PENDING"]);
    world.end().await;
}

#[tokio::test]
async fn a_collection_is_told_of_what_happens_right_after_the_put() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.put_hook("instances", &world.hook(), &[]).await;
    // Before any sample was taken.
    world.provider.set_state("inst0", "STOPPED");
    world.provider.add_instance("inst1", "PENDING");
    world.poll().await;
    world.deliver().await;
    let mut accepted = world.accepted();
    accepted.sort();
    assert_eq!(accepted, ["inst0 RUNNING -> STOPPED", "inst1 nothing -> PENDING"]);
    world.end().await;
}

#[tokio::test]
async fn an_instance_created_with_a_hook_is_tracked_from_its_first_state() {
    let mut world = World::new().await;
    let hook = world.hook().replace(':', "%3A").replace('/', "%2F");
    let path = format!("/instances?image_id=img1&track_hook={hook}&track_token=t1");
    let answer = world.request(Method::POST, &path).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    let location = answer.headers["location"].to_str().unwrap();
    let id = location.rsplit('/').next().unwrap().to_owned();
    world.provider.set_state(&id, "STOPPED");
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), [format!("{id} RUNNING -> STOPPED")]);
    assert_eq!(world.receiver.accepted_requests()[0].json()["token"], "t1");
    world.end().await;
}

#[tokio::test]
async fn a_new_instance_is_tracked_though_the_provider_does_not_show_it_yet() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.put_hook("instances", &world.hook(), &[]).await;
    world.poll().await;
    // Whatever asks for it by id fails for a while, as with EC2.
    world.provider.fails_looks();
    let answer = world.request(Method::POST, "/instances?image_id=img1&track_hook=feed&subscriber=maker").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
    assert!(answer.text.contains("<tracking"), "{}", answer.text);
    world.provider.heals();
    // Others hear that it appeared, its maker what happens to it from then on.
    world.provider.set_state("inst1", "STOPPED");
    world.tick().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst1 nothing -> RUNNING", "inst1 RUNNING -> STOPPED"]);
    let of_the_maker = world.feed("?subscriber=maker").await;
    assert_eq!(of_the_maker, [(2, "inst1 RUNNING -> STOPPED".to_owned())]);
    world.end().await;
}

#[tokio::test]
async fn a_create_with_a_bad_hook_creates_nothing() {
    let world = World::new().await;
    for hook in ["nonsense", "ftp%3A%2F%2Fx", "http%3A%2F%2F169.254.169.254%2F"] {
        let answer = world.request(Method::POST, &format!("/instances?image_id=img1&track_hook={hook}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{hook}: {}", answer.text);
    }
    assert!(!world.get("/instances").await.text.contains("<instance "));
    world.end().await;
}

#[tokio::test]
async fn a_stop_through_tracker_is_told_without_waiting_for_the_cadence() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.poll().await;
    let answer = world.request(Method::POST, "/instances/inst0/stop").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn bad_hooks_are_refused_with_a_reason_and_nothing_is_stored() {
    let world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let long = format!("http://example.com/{}", "x".repeat(2_048));
    let check = async |hook: &str, more: &[(&str, &str)], status: u16, reason: &str| {
        let answer = world.put_hook("instances/inst0", hook, more).await;
        assert_eq!(answer.status.as_u16(), status, "{hook}: {}", answer.text);
        assert!(answer.text.contains(reason), "{hook}: {}", answer.text);
        assert!(answer.text.contains("<error"), "{hook}: {}", answer.text);
    };
    check("", &[], 400, "track_hook").await;
    check("not a url", &[], 400, "track_hook").await;
    check("/relative", &[], 400, "track_hook").await;
    check("ftp://example.com/", &[], 400, "http").await;
    check("mailto:me@example.com", &[], 400, "http").await;
    check(&long, &[], 400, "2048").await;
    check("http://10.0.0.1/", &[], 400, "may not be called").await;
    check("http://169.254.169.254/latest", &[], 400, "may not be called").await;
    check("http://[::ffff:10.0.0.1]/", &[], 400, "may not be called").await;
    check("http://0x0a.1/", &[], 400, "may not be called").await;
    check("http://example.com/", &[("track_secret", "hunter2")], 400, "whsec_").await;
    check("http://example.com/", &[("subscriber", "no spaces")], 400, "subscriber").await;
    let key = tracker::model::AccountKey {
        driver: tracker::model::DriverId::new("mock"),
        provider: "default".to_owned(),
        identity: "mockuser".to_owned(),
    };
    assert_eq!(world.store().find_account(&key).await.unwrap(), None);
    world.end().await;
}

#[tokio::test]
async fn only_who_holds_the_credentials_can_set_a_hook() {
    let world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let path = format!("/instances/inst0?track_hook={}", world.hook());
    let answer = world.request_as(Method::PUT, &path, "mockuser", "guessed").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert!(answer.headers.contains_key("www-authenticate"));
    let url = world.hook();
    let answer = world.put_hook("instances/inst1", &url, &[]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let answer = world.put_hook("hardware_profiles/m1-small", &url, &[]).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    world.end().await;
}

#[tokio::test]
async fn a_backend_that_fails_while_a_hook_is_set_leaves_nothing_behind() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.provider.fails(Kind::Unavailable);
    let url = world.hook();
    let answer = world.put_hook("instances/inst0", &url, &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
    world.provider.heals();
    world.provider.set_state("inst0", "STOPPED");
    world.tick().await;
    world.deliver().await;
    assert_eq!(world.accepted(), Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn a_hook_url_with_credentials_is_shown_masked_and_used_whole() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    let url = world.hook().replace("http://", "http://alice:s3cret@") + "?key=abc123";
    let answer = world.put_hook("instances/inst0", &url, &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    for secret in ["alice", "s3cret", "abc123"] {
        assert!(!answer.text.contains(secret), "{}", answer.text);
    }
    world.provider.set_state("inst0", "STOPPED");
    world.poll().await;
    world.deliver().await;
    let request = &world.receiver.accepted_requests()[0];
    assert_eq!(request.header("authorization"), Some("Basic YWxpY2U6czNjcmV0"));
    assert!(request.target.ends_with("?key=abc123"), "{}", request.target);
    world.end().await;
}

#[tokio::test]
async fn a_receiver_that_says_nothing_bad_is_asked_once() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.receiver.answers([Status(204)]);
    world.track("inst0").await;
    world.provider.set_state("inst0", "STOPPED");
    world.poll().await;
    world.deliver().await;
    world.live(minutes(30)).await;
    assert_eq!(world.receiver.accepted_requests().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn twenty_clients_may_set_hooks_in_one_account_at_the_same_moment() {
    let mut world = World::new().await;
    let ids: Vec<_> = (0..20).map(|n| format!("inst{n}")).collect();
    for id in &ids {
        world.provider.add_instance(id, "RUNNING");
    }
    world.track("inst0").await;
    futures_util::future::join_all(ids.iter().map(|id| world.track(id))).await;
    world.poll().await;
    world.clock.advance(seconds(1));
    let create = || world.request(Method::POST, "/instances?image_id=img1&track_hook=feed");
    for made in futures_util::future::join_all((0..20).map(|_| create())).await {
        assert!(made.text.contains("<tracking"), "{}", made.text);
    }
    world.end().await;
}
