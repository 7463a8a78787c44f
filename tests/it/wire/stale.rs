//! What is shown while a backend cannot be asked.

use tracker::drivers::Kind;

use super::reference;
use crate::support::raw::{BAD, GOOD};
use crate::support::world::{NOW, World, minutes};

#[tokio::test]
async fn t10_a_known_instance_stays_while_its_backend_is_away() {
    let mut world = reference().await;
    let raw = world.raw();
    let put = raw.ask("PUT", "/api/instances/inst0?track_hook=http://h/cb", &[GOOD]).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(raw.ask("PUT", "/api/realms?track_hook=feed", &[GOOD]).await.status, 200);
    world.provider.fails(Kind::Unavailable);
    world.clock.advance(minutes(14));

    let stale = raw.get("/api/instances/inst0").await;
    assert_eq!(stale.status, 200, "{stale:?}");
    let tracking = stale.xml();
    let tracking = tracking.only("tracking");
    assert_eq!((tracking.attribute("stale"), tracking.attribute("checked")), (Some("true"), Some(NOW)));
    assert_eq!(tracking.attribute("hook"), Some("http://h/cb"));
    let realms = raw.get("/api/realms").await.xml();
    assert_eq!(realms.children.len(), 2);
    assert!(realms.all("tracking").iter().all(|tracking| tracking.attribute("stale") == Some("true")));
    // Only a single member is known, so there is no list to show.
    raw.get("/api/instances").await.is_error(502);
    // Never 404 unless the backend said so.
    raw.get("/api/instances/unknown").await.is_error(502);
    // The feed works; others learn nothing.
    assert_eq!(raw.get("/api/changes?after=0").await.status, 200);
    raw.ask("GET", "/api/instances/inst0", &[BAD]).await.is_error(502);
    raw.ask("GET", "/api/changes", &[BAD]).await.is_error(502);
    raw.ask("GET", "/api/instances/inst0", &[]).await.is_error(401);

    // A look that fails makes nothing older or newer.
    world.tick().await;
    assert_eq!(raw.get("/api/instances/inst0").await.xml().only("tracking").attribute("checked"), Some(NOW));
    world.clock.advance(minutes(2));
    raw.get("/api/instances/inst0").await.is_error(502);
    raw.get("/api/realms").await.is_error(502);

    // Refused is not unreachable.
    world.provider.heals();
    world.provider.fails(Kind::Denied);
    raw.get("/api/instances/inst0").await.is_error(401);
    world.end().await;
}

#[tokio::test]
async fn t10_a_list_is_shown_as_it_was_last_seen_whole() {
    let mut world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.ask("PUT", "/api/instances/inst0?track_hook=feed", &[GOOD]).await.status, 200);
    world.tick().await;
    world.provider.fails(Kind::TimedOut);
    world.clock.advance(minutes(14));
    let list = raw.get("/api/instances").await;
    assert_eq!(list.status, 200, "{list:?}");
    let list = list.xml();
    assert_eq!(list.children.len(), 4);
    let stale: Vec<_> = list.all("tracking").iter().map(|tracking| tracking.attribute("stale")).collect();
    assert_eq!(stale, [Some("true"); 4]);
    let hooks: Vec<_> = list.all("tracking").iter().filter_map(|tracking| tracking.attribute("hook")).collect();
    assert_eq!(hooks, ["feed"]);
    assert_eq!(raw.get("/api/instances?id=inst3").await.xml().children.len(), 1, "filters hold");
    raw.get("/api/instances/unknown").await.is_error(504);
    world.clock.advance(minutes(2));
    raw.get("/api/instances").await.is_error(504);
    world.end().await;
}

/// Whatever says nothing about the instance is no reason to let it vanish.
#[tokio::test]
async fn t10_every_trouble_of_the_backends_own_leaves_a_known_instance_shown() {
    let mut world = reference().await;
    assert_eq!(world.raw().ask("PUT", "/api/instances/inst0?track_hook=feed", &[GOOD]).await.status, 200);
    world.tick().await;
    let status = async |world: &World, kind| {
        world.provider.heals();
        world.provider.fails(kind);
        let paths = ["/api/instances/inst0", "/api/instances"];
        [world.raw().get(paths[0]).await.status, world.raw().get(paths[1]).await.status]
    };
    for kind in [Kind::Unavailable, Kind::TimedOut, Kind::Throttled { after: None }, Kind::Failed] {
        assert_eq!(status(&world, kind).await, [200, 200], "{kind:?}");
    }
    assert_eq!(status(&world, Kind::NotFound).await, [404, 404]);
    assert_eq!(status(&world, Kind::Forbidden).await, [403, 403]);
    world.end().await;
}
