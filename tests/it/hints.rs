//! A hint makes a look due now and never becomes a change itself.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tracker::drivers::MockCall;

use crate::support::world::{Answer, USER, World, client, minutes, seconds};

const MOMENT: Duration = Duration::from_millis(250);

/// A secret of the world's account, as an owner makes it.
async fn secret(world: &World) -> String {
    let made = world.request(Method::POST, "/hints/secret").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    made.json()["secret"].as_str().unwrap().to_owned()
}

async fn post(world: &World, secret: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = client().post(format!("{}/hints", world.base())).header("tracker-hint-secret", secret);
    answered(request.body(body)).await
}

async fn answered(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    Answer { status, headers, text: answer.text().await.unwrap() }
}

fn taken(answer: &Answer) -> (u64, u64) {
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
    let json = answer.json();
    (json["taken"].as_u64().unwrap(), json["ignored"].as_u64().unwrap())
}

/// As EventBridge would say it of the mock cloud.
fn event(id: &str, state: &str) -> Value {
    json!({
        "version": "0", "id": "7bf73129-1428-4cd3-a780-95db273d1602",
        "detail-type": "EC2 Instance State-change Notification", "source": "aws.ec2", "account": USER,
        "time": "2026-11-21T10:00:30Z", "region": "default", "resources": [],
        "detail": {"instance-id": id, "state": state}
    })
}

/// A world in which these run and are tracked, everything looked at, and a secret is made.
async fn hinted(count: usize) -> (World, String) {
    let mut world = World::new().await;
    for n in 0..count {
        world.provider.add_instance(&format!("inst{n}"), "RUNNING");
    }
    world.track("inst0").await;
    world.poll().await;
    world.clock.advance(seconds(30));
    let secret = secret(&world).await;
    (world, secret)
}

#[tokio::test]
async fn a_hinted_stop_is_told_although_no_cron_tick_came() {
    let (mut world, secret) = hinted(2).await;
    world.provider.set_state("inst0", "STOPPED");
    world.provider.set_state("inst1", "STOPPED");
    world.poll().await;
    assert_eq!(world.feed_of_the_store().await, Vec::<String>::new(), "nobody looked");
    assert_eq!(taken(&post(&world, &secret, event("inst0", "stopped").to_string()).await), (1, 0));
    let (looks, lists) = (world.provider.calls_of(MockCall::Look), world.provider.calls_of(MockCall::Instances));
    world.clock.advance(MOMENT);
    world.poll().await;
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    assert_eq!(world.feed_of_the_store().await.len(), 1, "the other was not looked at");
    assert_eq!(world.provider.calls_of(MockCall::Look), looks + 1);
    assert_eq!(world.provider.calls_of(MockCall::Instances), lists);
    // It was read, so it is followed no more.
    let calls = world.provider.calls();
    for _ in 0..25 {
        world.clock.advance(seconds(1));
        world.poll().await;
    }
    assert_eq!(world.provider.calls(), calls);
    world.end().await;
}

#[tokio::test]
async fn a_hint_alone_changes_nothing_and_is_followed_until_the_state_is_read() {
    let (mut world, secret) = hinted(1).await;
    for body in [
        event("inst0", "terminated").to_string(),
        json!([event("inst0", "stopped"), {"id": "inst0", "state": "STOPPED"}]).to_string(),
        "id=inst0&state=STOPPED".to_owned(),
    ] {
        post(&world, &secret, body).await;
    }
    let before = world.provider.calls_of(MockCall::Look);
    let mut looks = Vec::new();
    for ms in (0..7_000).step_by(250) {
        let calls = world.provider.calls_of(MockCall::Look);
        world.poll().await;
        if world.provider.calls_of(MockCall::Look) > calls {
            looks.push(ms);
        }
        world.clock.advance(MOMENT);
    }
    assert_eq!(looks, [250, 1_000, 2_000, 4_000]);
    assert_eq!(world.provider.calls_of(MockCall::Look), before + 4);
    assert_eq!(world.feed_of_the_store().await, Vec::<String>::new());
    // The cloud shows it at last: with the next look it is told, and followed no more.
    world.provider.set_state("inst0", "STOPPED");
    world.clock.advance(seconds(1));
    world.poll().await;
    assert_eq!(world.feed_of_the_store().await.len(), 1);
    let calls = world.provider.calls();
    world.clock.advance(seconds(10));
    world.poll().await;
    assert_eq!(world.provider.calls(), calls);
    world.end().await;
}

#[tokio::test]
async fn the_cadence_goes_on_beside_hints() {
    let (mut world, secret) = hinted(1).await;
    let account = world.account().await.unwrap();
    let due_at = async |world: &World| {
        let collection = tracker::model::Collection::Instances;
        world.store().unit(account, collection, world.clock_now() - minutes(60)).await.unwrap().unwrap().plan.due_at
    };
    let planned = due_at(&world).await;
    post(&world, &secret, "id=inst0").await;
    for _ in 0..40 {
        world.clock.advance(seconds(1));
        world.poll().await;
    }
    assert_eq!(due_at(&world).await, planned, "hinted looks put off nothing");
    // A hint and the cadence at once: one list serves both.
    post(&world, &secret, "id=inst0").await;
    world.clock.advance(MOMENT);
    let (looks, lists) = (world.provider.calls_of(MockCall::Look), world.provider.calls_of(MockCall::Instances));
    world.tick().await;
    assert_eq!(world.provider.calls_of(MockCall::Instances), lists + 1);
    assert_eq!(world.provider.calls_of(MockCall::Look), looks);
    world.end().await;
}

/// How often the instances are listed in an hour.
async fn lists_of_an_hour(world: &mut World) -> usize {
    let before = world.provider.calls_of(MockCall::Instances);
    world.live(minutes(60)).await;
    world.provider.calls_of(MockCall::Instances) - before
}

#[tokio::test]
async fn where_every_change_was_hinted_lists_are_rarer_until_one_was_not() {
    let (mut world, secret) = hinted(1).await;
    world.provider.set_state("inst0", "STOPPED");
    let unproven = lists_of_an_hour(&mut world).await;
    assert!(unproven >= 13, "often after a change, and then every five minutes: {unproven}");

    world.provider.set_state("inst0", "RUNNING");
    post(&world, &secret, "id=inst0&state=RUNNING").await;
    world.clock.advance(MOMENT);
    world.poll().await;
    let proven = lists_of_an_hour(&mut world).await;
    assert!((6..=9).contains(&proven), "{proven}");
    assert_eq!(world.feed_of_the_store().await.len(), 2, "and nobody calls a rest a gap");

    // Nobody hints at that. It is found late, and once.
    world.provider.set_state("inst0", "STOPPED");
    world.live(minutes(10)).await;
    assert_eq!(world.feed_of_the_store().await.len(), 3);
    let missed = lists_of_an_hour(&mut world).await;
    assert!(missed >= 12, "as if there were no hints: {missed}");
    world.end().await;
}

#[tokio::test]
async fn a_flood_of_hints_is_one_list() {
    let (mut world, secret) = hinted(3).await;
    world.provider.set_state("inst2", "STOPPED");
    let (looks, lists) = (world.provider.calls_of(MockCall::Look), world.provider.calls_of(MockCall::Instances));
    for request in 0..20 {
        let ids: Vec<_> = (0..1_000).map(|n| format!("inst{}", request * 1_000 + n)).collect();
        let said = json!({"id": ids, "state": "stopped"}).to_string();
        assert_eq!(taken(&post(&world, &secret, said).await), (1_000, 0));
    }
    for _ in 0..20 {
        world.clock.advance(MOMENT);
        world.poll().await;
    }
    assert_eq!(world.provider.calls_of(MockCall::Instances), lists + 1);
    // The others of the flood that are there are followed on their own.
    assert!(world.provider.calls_of(MockCall::Look) - looks <= 4);
    assert_eq!(world.feed_of_the_store().await, ["inst2 RUNNING -> STOPPED"]);
    world.end().await;
}

#[tokio::test]
async fn a_hinted_end_is_told_as_soon_as_gone_is_certain() {
    let (mut world, secret) = hinted(2).await;
    world.provider.remove("inst0");
    post(&world, &secret, event("inst0", "terminated").to_string()).await;
    let mut told_after = 0;
    while world.feed_of_the_store().await.is_empty() {
        world.clock.advance(MOMENT);
        told_after += 250;
        assert!(told_after < 20_000, "a list, and ten seconds later a look");
        world.poll().await;
    }
    assert!(told_after > 10_000, "{told_after} ms: a hint proves nothing");
    assert_eq!(world.feed_of_the_store().await, ["inst0 RUNNING -> gone"]);
    world.end().await;
}

#[tokio::test]
async fn a_provider_that_fails_is_left_alone_whatever_is_hinted() {
    let (mut world, secret) = hinted(1).await;
    world.provider.fails(tracker::drivers::Kind::Unavailable);
    world.tick().await;
    let calls = world.provider.calls();
    for _ in 0..16 {
        post(&world, &secret, event("inst0", "stopped").to_string()).await;
        world.clock.advance(MOMENT);
        world.poll().await;
    }
    assert_eq!(world.provider.calls(), calls);
    world.provider.heals();
    world.provider.set_state("inst0", "STOPPED");
    world.clock.advance(seconds(3));
    world.poll().await;
    assert_eq!(world.feed_of_the_store().await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn what_is_not_watched_is_ignored() {
    let world = World::new().await;
    let secret = secret(&world).await;
    assert_eq!(taken(&post(&world, &secret, "id=a&id=b").await), (0, 2), "nothing is tracked");
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    assert_eq!(taken(&post(&world, &secret, "collection=images&id=a").await), (0, 1), "no hook is about them");
    assert_eq!(taken(&post(&world, &secret, "id=no-such&id=inst0").await), (2, 0), "an id may be new");
    let unknown = json!([{"detail-type": "EBS Volume Notification", "source": "aws.ec2"}, event("inst0", "running")]);
    assert_eq!(taken(&post(&world, &secret, unknown.to_string()).await), (1, 1));
    let origin = world.base().strip_suffix("/api").unwrap();
    let metrics = client().get(format!("{origin}/metrics")).send().await.unwrap().text().await.unwrap();
    for line in [r#"tracker_hints_total{outcome="taken"} 3"#, r#"tracker_hints_total{outcome="ignored"} 4"#] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    world.end().await;
}

#[tokio::test]
async fn what_names_another_account_or_makes_no_sense_is_refused_whole() {
    let (mut world, secret) = hinted(1).await;
    let check = async |body: String, status: StatusCode, said: &str| {
        let answer = post(&world, &secret, body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(answer.text.contains(said), "{}", answer.text);
        assert!(!answer.text.contains(&secret));
    };
    let mut foreign = event("inst0", "stopped");
    foreign["account"] = json!("123456789012");
    let both = json!([event("inst0", "stopped"), foreign]).to_string();
    check(both, StatusCode::FORBIDDEN, "Hint 1: the event is of another account than the secret").await;
    let mut foreign = event("inst0", "stopped");
    foreign["region"] = json!("us-east-1");
    check(foreign.to_string(), StatusCode::FORBIDDEN, "of another region than the secret, which is of default").await;
    check("{".to_owned(), StatusCode::BAD_REQUEST, "The body is not JSON").await;
    check(String::new(), StatusCode::BAD_REQUEST, "`id` is required").await;
    check("id=a&collection=hooks".to_owned(), StatusCode::BAD_REQUEST, "`collection` must be one").await;
    check("id=a&".repeat(1_001), StatusCode::BAD_REQUEST, "more than 1000 ids").await;
    check(format!("id={}", "x".repeat(262_144)), StatusCode::BAD_REQUEST, "longer than 262144 bytes").await;
    let calls = world.provider.calls();
    world.clock.advance(seconds(2));
    world.poll().await;
    assert_eq!(world.provider.calls(), calls, "nothing of it was taken");
    world.end().await;
}

#[tokio::test]
async fn a_secret_opens_its_account_in_every_way_a_sender_has() {
    let (world, secret) = hinted(1).await;
    assert!(secret.starts_with("hint_1_"), "it says which account it is of");
    let url = format!("{}/hints", world.base());
    let request = || client().post(&url).body("id=inst0");
    assert_eq!(taken(&answered(request().header("tracker-hint-secret", &secret)).await), (1, 0));
    assert_eq!(taken(&answered(request().bearer_auth(&secret)).await), (1, 0));
    assert_eq!(taken(&answered(request().basic_auth("hint", Some(&secret))).await), (1, 0));
    let in_query = answered(client().post(format!("{url}?id=inst0&state=running")).bearer_auth(&secret)).await;
    assert_eq!(taken(&in_query), (1, 0));
    for wrong in [
        request(),
        request().basic_auth(USER, Some(&secret)),
        request().basic_auth("mockuser", Some("mockpassword")),
        request().bearer_auth(secret.replace("hint_1_", "hint_2_")),
        request().bearer_auth(&secret[..secret.len() - 1]),
        request().bearer_auth("hint_1_"),
        request().bearer_auth(""),
    ] {
        let answer = answered(wrong).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
        assert!(!answer.text.contains("hint_1_"), "{}", answer.text);
    }
    // It opens nothing else.
    let list = client().get(format!("{}/instances", world.base())).basic_auth("hint", Some(&secret)).send().await;
    assert_eq!(list.unwrap().status(), StatusCode::UNAUTHORIZED);
    world.end().await;
}

#[tokio::test]
async fn another_accounts_secret_hints_at_nothing_of_this_one() {
    let (mut world, secret) = hinted(1).await;
    world.provider.add_user("other", "otherpassword");
    let made = world.request_as(Method::POST, "/hints/secret", "other", "otherpassword").await;
    let other = made.json()["secret"].as_str().unwrap().to_owned();
    assert!(other.starts_with("hint_2_") && other[7..] != secret[7..]);
    world.provider.set_state("inst0", "STOPPED");
    assert_eq!(taken(&post(&world, &other, "id=inst0").await), (0, 1));
    assert_eq!(post(&world, &other, event("inst0", "stopped").to_string()).await.status, StatusCode::FORBIDDEN);
    assert_eq!(post(&world, &format!("hint_1_{}", &other[7..]), "id=inst0").await.status, StatusCode::UNAUTHORIZED);
    world.clock.advance(seconds(1));
    world.poll().await;
    assert_eq!(world.feed_of_the_store().await, Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn a_secret_is_shown_once_replaced_with_an_overlap_and_ended_at_once() {
    let (mut world, first) = hinted(1).await;
    let about = world.get("/hints/secret").await;
    assert_eq!((about.status, about.json()), (StatusCode::OK, json!({"made_at": "2026-11-21T10:00:30Z"})));
    let made = world.request(Method::POST, "/hints/secret").await;
    assert_eq!(made.headers["cache-control"], "no-store");
    assert_eq!(made.json()["old_until"], "2026-11-22T10:00:30Z");
    let second = made.json()["secret"].as_str().unwrap().to_owned();
    let status = async |world: &World, secret: &str| post(world, secret, "id=inst0").await.status;
    assert_eq!(status(&world, &first).await, StatusCode::ACCEPTED, "senders need time to learn the new one");
    // Two are good at a time, and no more.
    let third = secret(&world).await;
    assert_eq!(status(&world, &first).await, StatusCode::UNAUTHORIZED, "a leaked one is ended by making two");
    assert_eq!(status(&world, &second).await, StatusCode::ACCEPTED);
    let (first, second) = (second, third);
    world.stop().await;
    world.clock.advance(minutes(24 * 60));
    world.start().await;
    assert_eq!(status(&world, &first).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&world, &second).await, StatusCode::ACCEPTED);
    assert_eq!(world.request(Method::DELETE, "/hints/secret").await.status, StatusCode::NO_CONTENT);
    assert_eq!(status(&world, &second).await, StatusCode::UNAUTHORIZED);
    assert_eq!(world.request(Method::DELETE, "/hints/secret").await.status, StatusCode::NOT_FOUND);
    assert_eq!(world.get("/hints/secret").await.status, StatusCode::NOT_FOUND);
    // Only an owner may.
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let asked = world.request_as(method, "/hints/secret", USER, "wrong").await;
        assert_eq!(asked.status, StatusCode::UNAUTHORIZED);
    }
    world.end().await;
}

#[tokio::test]
async fn guessing_is_limited_and_locks_no_known_sender_out() {
    let (world, secret) = hinted(1).await;
    assert_eq!(post(&world, &secret, "id=inst0").await.status, StatusCode::ACCEPTED);
    for n in 0..40 {
        let guess = post(&world, &format!("hint_1_{n}"), "id=inst0").await;
        assert_eq!(guess.status, StatusCode::UNAUTHORIZED);
        let limited = guess.text.contains("Too many different wrong secrets");
        assert_eq!(limited, n >= 20, "{n}: {}", guess.text);
    }
    assert_eq!(post(&world, &secret, "id=inst0").await.status, StatusCode::ACCEPTED);
    world.end().await;
}
