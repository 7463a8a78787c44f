//! Hooks as clients set, see and remove them.

use tracker::drivers::Kind;

use super::reference;
use crate::support::raw::{BAD, GOOD, JSON};
use crate::support::world::World;

#[tokio::test]
async fn a_hook_is_put_shown_and_removed() {
    let world = reference().await;
    let raw = world.raw();
    let hook = "http%3A%2F%2Fu%3Ahush%40h%2Fcb%3Fx%3Dhush%3By";
    let path = format!("/api;driver=mock/instances/inst0?track_hook={hook}&track_token=hush&subscriber=ci");
    let put = raw.ask("PUT", &path, &[GOOD]).await;
    assert_eq!(put.status, 200, "{put:?}");
    let root = put.xml();
    let tracking = root.only("tracking");
    let secret = tracking.attribute("secret").unwrap();
    assert!(secret.starts_with("whsec_") && secret.len() > 30, "{secret}");
    assert_eq!(tracking.attribute("hook"), Some("http://***@h/cb?***"));
    assert_eq!(tracking.attribute("subscriber"), Some("ci"));
    assert!(tracking.children.is_empty() && !put.body.contains("hush"));
    assert_eq!(world.hooks().await[0].base, "http://localhost:3001/api;driver=mock;provider=default");

    let shown = raw.ask("GET", "/api/instances/inst0?subscriber=ci", &[GOOD, JSON]).await.json();
    assert_eq!(shown["instance"]["tracking"]["hook"], "http://***@h/cb?***");
    assert_eq!(shown["instance"]["tracking"]["secret"], serde_json::Value::Null);
    let list = raw.get("/api/instances?subscriber=ci").await.xml();
    assert_eq!(list.all("tracking").len(), 1);
    assert!(raw.get("/api/instances/inst0").await.xml().all("tracking").is_empty(), "another subscriber has no hook");

    // The same again is the same hook.
    let again = raw.ask("PUT", &path, &[GOOD]).await.xml();
    assert_eq!(again.only("tracking").attribute("secret"), None, "shown once");
    assert_eq!(world.hooks().await.len(), 1);

    let removed = raw.send("PUT", "/api/instances/inst0", &[GOOD], "track_hook=none&subscriber=ci").await;
    assert_eq!((removed.status, removed.xml().all("tracking").len()), (200, 0));
    assert_eq!(raw.send("PUT", "/api/instances/inst0", &[GOOD], "track_hook=none").await.status, 200);
    assert!(world.hooks().await.is_empty());
    assert_eq!(raw.ask("PUT", "/api/realms/us?track_hook=feed", &[GOOD]).await.xml().name, "realm");
    world.end().await;
}

#[tokio::test]
async fn a_hook_on_a_collection_is_shown_on_every_member() {
    let world = reference().await;
    let raw = world.raw();
    for (collection, members) in [("instances", 4), ("realms", 2)] {
        let put = raw.ask("PUT", &format!("/api/{collection}?track_hook=feed"), &[GOOD]).await.xml();
        assert_eq!((put.name.as_str(), put.all("tracking").len()), (collection, members));
        assert_eq!(raw.get(&format!("/api/{collection}")).await.xml().all("tracking").len(), members);
        let removed = raw.ask("PUT", &format!("/api/{collection}?track_hook=none"), &[GOOD]).await.xml();
        assert_eq!((removed.children.len(), removed.all("tracking").len()), (members, 0));
    }
    world.end().await;
}

#[tokio::test]
async fn the_new_secret_of_a_hook_on_an_empty_collection_is_shown_once() {
    let world = World::new().await;
    let raw = world.raw();
    let path = format!("/api/instances?track_hook={}", world.hook());
    let first = raw.ask("PUT", &path, &[GOOD]).await.xml();
    assert_eq!((first.name.as_str(), first.children.len()), ("instances", 0));
    assert!(first.attribute("secret").is_some_and(|secret| secret.starts_with("whsec_")), "{first:?}");
    let again = raw.ask("PUT", &path, &[GOOD]).await.xml();
    assert!(again.attribute("secret").is_none() && again.attribute("hook") == Some(&world.hook()), "{again:?}");
    let rotated = raw.ask("PUT", &format!("{path}&track_secret=rotate&format=json"), &[GOOD]).await.json();
    assert_eq!(rotated["instances"], serde_json::json!([]));
    assert!(rotated["tracking"]["secret"].as_str().unwrap().starts_with("whsec_"), "{rotated}");
    // To list them says nothing of it.
    assert_eq!(raw.get("/api/instances?format=json").await.json(), serde_json::json!({"instances": []}));
    world.end().await;
}

#[tokio::test]
async fn a_hook_that_cannot_be_is_refused_and_nothing_is_kept() {
    let world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.ask("PUT", "/api/realms/us?track_hook=feed", &[GOOD]).await.status, 200);
    let check = async |path: &str, headers: &[(&str, &str)], status: u16| {
        let answer = raw.ask("PUT", path, headers).await;
        answer.is_error(status);
        assert!(!answer.body.contains("hush"), "{answer:?}");
    };
    check("/api/instances/inst0", &[GOOD], 400).await;
    check("/api/instances/inst0?track_hook=", &[GOOD], 400).await;
    check("/api/instances/inst0?track_hook=ftp://u:hush@h/", &[GOOD], 400).await;
    check("/api/instances/inst0?track_hook=http://u:hush@169.254.169.254/hush", &[GOOD], 400).await;
    check("/api/instances/inst0?track_hook=feed&track_secret=hush", &[GOOD], 400).await;
    check("/api/instances/unknown?track_hook=feed", &[GOOD], 404).await;
    check("/api/instances/inst0?track_hook=feed", &[], 401).await;
    check("/api/instances/inst0?track_hook=feed", &[BAD], 401).await;
    check("/api/drivers/mock?track_hook=feed", &[GOOD], 405).await;
    assert_eq!(world.hooks().await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_hook_can_be_removed_while_the_backend_is_down() {
    let world = reference().await;
    let raw = world.raw();
    for path in ["instances/inst0", "instances/inst1", "realms/eu", "realms"] {
        assert_eq!(raw.ask("PUT", &format!("/api/{path}?track_hook=feed"), &[GOOD]).await.status, 200);
    }
    world.provider.fails(Kind::Unavailable);
    let remove = async |path: &str| raw.ask("PUT", &format!("/api/{path}?track_hook=none"), &[GOOD]).await;
    // As long as something is known, it is shown.
    let shown = remove("realms").await;
    assert_eq!((shown.status, shown.xml().children.len()), (200, 2));
    for path in ["instances/inst0", "realms/eu", "instances/inst1"] {
        let removed = remove(path).await;
        assert!([200, 204].contains(&removed.status), "{removed:?}");
    }
    assert!(world.hooks().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn the_hook_of_what_is_gone_can_be_removed_and_what_never_was_is_not_found() {
    let world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.ask("PUT", "/api/instances/inst0?track_hook=feed", &[GOOD]).await.status, 200);
    world.provider.remove("inst0");
    let removed = raw.ask("PUT", "/api/instances/inst0?track_hook=none", &[GOOD]).await;
    assert_eq!((removed.status, removed.body.as_str()), (204, ""));
    assert!(world.hooks().await.is_empty());
    raw.ask("PUT", "/api/instances/inst0?track_hook=none", &[GOOD]).await.is_error(404);
    world.end().await;
}
