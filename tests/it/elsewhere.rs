//! What accounts in the same place tell one another: counts, and nobody else's business.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tracker::model::{Declared, FaultKind};

use crate::support::world::{PASSWORD, USER, World, minutes, seconds};

/// Other tenants of the same cloud; their names are nobody's business.
const OTHERS: [&str; 3] = ["tenant-moriarty", "tenant-adler", "tenant-moran"];

/// The user has hooks on realms and on the account; the others have hooks on instances and keep one in realm `us`.
async fn town(edit: impl FnOnce(&mut tracker::settings::Settings)) -> World {
    let mut world = World::with(edit).await;
    for realm in ["us", "eu", "ap"] {
        world.provider.declare_realm(realm, Declared::Up);
    }
    let hook = world.hook();
    assert_eq!(world.put_hook("realms", &hook, &[]).await.status, StatusCode::OK);
    for other in OTHERS {
        world.provider.add_user(other, PASSWORD);
        let track = world.request_as(Method::PUT, "/instances?track_hook=feed", other, PASSWORD).await;
        assert_eq!(track.status, StatusCode::OK, "{}", track.text);
        // Realms in use that work: not all that there is fails.
        for realm in ["eu", "ap"] {
            launch(&world, other, realm).await;
        }
    }
    world.live(minutes(3)).await;
    world
}

async fn launch(world: &World, user: &str, realm: &str) -> StatusCode {
    let create = format!("/instances?image_id=img1&realm_id={realm}");
    world.request_as(Method::POST, &create, user, PASSWORD).await.status
}

/// They all try once, and fail.
async fn fail(world: &mut World, users: &[&str]) {
    for user in users {
        assert_eq!(launch(world, user, "us").await, StatusCode::BAD_GATEWAY);
    }
    world.clock.advance(seconds(20));
    world.poll().await;
    world.deliver().await;
}

async fn rules(world: &World, user: &str) -> Vec<String> {
    let log = world.request_as(Method::GET, "/changes?after=0&limit=1000&subscriber=nobody", user, PASSWORD).await;
    assert_eq!(log.status, StatusCode::OK, "{}", log.text);
    let log = log.json();
    let of_realms = log.as_array().unwrap().iter().filter(|change| change["type"] == "realm.state");
    let text = |value: &Value| value.as_str().unwrap_or("nothing").to_owned();
    of_realms
        .map(|change| {
            [&change["resource"]["id"], &change["to"]["availability"], &change["why"][0]["rule"]].map(text).join(" ")
        })
        .collect()
}

#[tokio::test]
async fn launches_that_fail_for_others_in_the_same_place_count_and_only_their_number_is_shown() {
    let mut world = town(|_| {}).await;
    world.provider.refuses_launches("us", FaultKind::Infrastructure, "InternalError-zzyzx");
    for _ in 0..2 {
        fail(&mut world, &OTHERS).await;
    }
    // The cron's next look is far off: a moment is enough.
    world.clock.advance(seconds(1));
    world.poll().await;
    world.deliver().await;
    assert_eq!(rules(&world, USER).await, ["us UNAVAILABLE E5-elsewhere"]);
    let told = world.receiver.accepted_requests();
    let told: Vec<_> = told.iter().filter(|request| request.json()["type"] == "realm.state").collect();
    assert_eq!(told.len(), 1);
    let body = told[0].json();
    let text = body["why"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("no launches of this account in us; 3 other accounts: 6 of 6 failed; declared"), "{text}");

    let evidence = world.get("/realms/us/evidence").await;
    let log = world.get("/changes?after=0&limit=1000&subscriber=nobody").await;
    let metrics =
        super::support::world::ask(&world.base().replace("/api", ""), Method::GET, "/metrics", USER, PASSWORD).await;
    let mut shown = vec![evidence.text.clone(), log.text, metrics.text];
    shown.extend(world.receiver.accepted_requests().iter().map(|request| request.json().to_string()));
    for text in shown {
        for secret in ["tenant-", "moriarty", "adler", "moran", "zzyzx"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let signals = evidence.json()["signals"].clone();
    let launches = signals.as_array().unwrap().iter().find(|signal| signal["kind"] == "launches").unwrap();
    assert_eq!(launches["elsewhere"], serde_json::json!({"accounts": 3, "failed": 6, "of": 6}), "{launches}");
    assert_eq!((&launches["count"], &launches["ids"], &launches["codes"]), (&0.into(), &Value::Null, &Value::Null));
    world.end().await;
}

#[tokio::test]
async fn one_tenant_alone_flips_nobody_elses_realm_and_is_not_shown() {
    let mut world = town(|_| {}).await;
    world.provider.refuses_launches("us", FaultKind::Infrastructure, "InternalError");
    for _ in 0..100 {
        fail(&mut world, &OTHERS[..1]).await;
    }
    assert_eq!(rules(&world, OTHERS[0]).await[0], "us UNAVAILABLE E1-cusum");
    assert_eq!(rules(&world, USER).await, Vec::<String>::new());
    let evidence = world.get("/realms/us/evidence").await;
    assert!(!evidence.text.contains("elsewhere") && !evidence.text.contains("other accounts"), "{}", evidence.text);
    world.end().await;
}

#[tokio::test]
async fn after_a_crash_others_are_heard_again_and_count_once() {
    let mut world = town(|_| {}).await;
    world.provider.refuses_launches("us", FaultKind::Infrastructure, "InternalError");
    // One failure of each is not enough …
    fail(&mut world, &OTHERS).await;
    world.live(minutes(2)).await;
    for _ in 0..3 {
        world.crash().await;
        world.start().await;
        world.live(minutes(2)).await;
    }
    // … however often it is told again.
    assert_eq!(rules(&world, USER).await, Vec::<String>::new());
    let evidence = world.get("/realms/us/evidence").await;
    assert!(evidence.text.contains(r#""elsewhere":{"accounts":3,"failed":3,"of":3}"#), "{}", evidence.text);
    fail(&mut world, &OTHERS).await;
    world.live(minutes(1)).await;
    assert_eq!(rules(&world, USER).await, ["us UNAVAILABLE E5-elsewhere"]);
    // What follows from it is kept, though nobody has said anything yet.
    world.crash().await;
    world.start().await;
    let standing = world.get("/realms/us?format=json").await.json();
    assert_eq!(standing["realm"]["tracking"]["availability"], "UNAVAILABLE", "{standing}");
    world.end().await;
}

#[tokio::test]
async fn a_tracker_that_pools_nothing_lets_nobody_hear_of_others() {
    let mut world = town(|settings| settings.availability.elsewhere = false).await;
    world.provider.refuses_launches("us", FaultKind::Infrastructure, "InternalError");
    for _ in 0..10 {
        fail(&mut world, &OTHERS).await;
    }
    assert_eq!(rules(&world, USER).await, Vec::<String>::new());
    world.end().await;
}
