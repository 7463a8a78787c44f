//! Reads when things go wrong: backends that go away, refuse or say that it is gone; other spellings and other keys.

use reqwest::{Method, StatusCode};
use tracker::drivers::{Kind, MockCall};

use crate::support::raw::GOOD;
use crate::support::world::{World, minutes, seconds};

async fn world() -> World {
    World::with(|settings| settings.reads = tracker::reads::Settings::default()).await
}

async fn state(world: &World, path: &str) -> String {
    let answer = world.raw().get(path).await;
    if answer.status != 200 {
        return format!("{}", answer.status);
    }
    let node = answer.xml();
    let stale = node.all("tracking").first().and_then(|t| t.attribute("stale").map(str::to_owned)).unwrap_or_default();
    format!("{} {stale}", node.child("state").text).trim().to_owned()
}

#[tokio::test]
async fn a_404_is_not_said_from_memory() {
    let world = world().await;
    assert_eq!(state(&world, "/api/instances/inst0").await, "404");
    world.provider.add_instance("inst0", "RUNNING");
    world.clock.advance(seconds(1));
    assert_eq!(state(&world, "/api/instances/inst0").await, "RUNNING");
    world.end().await;
}

#[tokio::test]
async fn who_was_refused_is_shown_nothing_when_the_backend_goes_away() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(state(&world, "/api/instances/inst0").await, "RUNNING");
    world.provider.add_user("mockuser", "changed");
    world.clock.advance(seconds(6));
    assert_eq!(state(&world, "/api/instances/inst0").await, "401");
    world.provider.fails(Kind::Unavailable);
    world.clock.advance(minutes(5));
    assert_eq!(state(&world, "/api/instances/inst0").await, "502");
    world.end().await;
}

#[tokio::test]
async fn who_was_refused_anywhere_is_shown_nothing_from_memory() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(state(&world, "/api/instances/inst0").await, "RUNNING");
    world.provider.add_user("mockuser", "changed");
    assert_eq!(world.raw().get("/api/realms").await.status, 401);
    assert_eq!(state(&world, "/api/instances/inst0").await, "401");
    world.end().await;
}

#[tokio::test]
async fn what_was_said_to_be_gone_does_not_come_back_when_the_backend_goes_away() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(world.raw().get("/api/instances").await.status, 200);
    world.provider.remove("inst0");
    world.clock.advance(seconds(6));
    assert_eq!(state(&world, "/api/instances/inst0").await, "404");
    world.provider.fails(Kind::Unavailable);
    world.clock.advance(seconds(10));
    assert_eq!(state(&world, "/api/instances/inst0").await, "502");
    world.end().await;
}

#[tokio::test]
async fn what_was_destroyed_does_not_come_back_when_the_backend_goes_away() {
    let world = world().await;
    world.provider.add_instance("inst0", "STOPPED");
    world.track("inst0").await;
    assert_eq!(world.request(Method::DELETE, "/instances/inst0").await.status, StatusCode::NO_CONTENT);
    world.provider.fails(Kind::Unavailable);
    assert_eq!(state(&world, "/api/instances/inst0").await, "502");
    world.end().await;
}

#[tokio::test]
async fn an_action_is_seen_whichever_way_the_provider_is_spelled() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(state(&world, "/api;provider=default/instances/inst0").await, "RUNNING");
    assert_eq!(world.raw().get("/api/instances").await.status, 200);
    assert_eq!(world.raw().ask("POST", "/api/instances/inst0/stop", &[GOOD]).await.status, 202);
    assert_eq!(state(&world, "/api/instances/inst0").await, "STOPPED");
    assert_eq!(state(&world, "/api;provider=default/instances/inst0").await, "STOPPED");
    world.end().await;
}

#[tokio::test]
async fn an_action_of_a_stranger_to_us_is_seen_by_a_known_login() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    for _ in 0..3 {
        assert_eq!(world.raw().get("/api/instances").await.status, 200);
        world.clock.advance(seconds(6));
    }
    assert_eq!(state(&world, "/api/instances/inst0").await, "RUNNING");
    let stop = world.raw().ask("POST", "/api;provider=default/instances/inst0/stop", &[GOOD]).await;
    assert_eq!(stop.status, 202);
    assert_eq!(state(&world, "/api/instances/inst0").await, "STOPPED");
    world.end().await;
}

#[tokio::test]
async fn a_guesser_does_not_lock_out_who_reads_all_the_time() {
    let world = World::with(|settings| {
        settings.reads = tracker::reads::Settings::default();
        settings.api.failed_logins_max = 3;
    })
    .await;
    world.provider.add_instance("inst0", "RUNNING");
    for _ in 0..20 {
        assert_eq!(world.raw().get("/api/instances").await.status, 200);
        world.clock.advance(seconds(6));
    }
    assert_eq!(world.raw().get("/api/instances").await.status, 200);
    for n in 0..3 {
        world.request_as(Method::GET, "/instances", "mockuser", &format!("wrong{n}")).await;
    }
    assert_eq!(world.raw().get("/api/instances").await.status, 200, "fresh: read this very second");
    world.end().await;
}

#[tokio::test]
async fn a_hook_set_again_hears_nothing_of_what_ended_before() {
    let mut world = World::reference(|_| {}).await;
    assert_eq!(world.put_hook("instances", "feed", &[("subscriber", "other")]).await.status, StatusCode::OK);
    assert_eq!(world.put_hook("images", "feed", &[]).await.status, StatusCode::OK);
    world.tick().await;
    assert_eq!(world.put_hook("images", "none", &[]).await.status, StatusCode::OK);
    assert_eq!(world.request(Method::DELETE, "/images/img3").await.status, StatusCode::NO_CONTENT);
    world.clock.advance(minutes(24 * 60));
    let put = world.put_hook("images", "feed", &[]).await;
    assert!(!put.text.contains("img3'"), "{}", put.text);
    for _ in 0..4 {
        world.clock.advance(seconds(60));
        world.tick().await;
    }
    assert_eq!(world.feed("").await, []);
    world.end().await;
}

#[tokio::test]
async fn finish_as_404_another_password_is_shown_it_until_told() {
    let mut world = World::with(|settings| {
        settings.reads = tracker::reads::Settings { finish_as_404: true, ..tracker::reads::Settings::default() };
    })
    .await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.provider.set_state("inst0", "FINISH");
    world.tick().await;
    assert_eq!(state(&world, "/api/instances/inst0").await, "FINISH false");
    world.provider.add_user("mockuser", "changed");
    let other = world.request_as(Method::GET, "/instances/inst0", "mockuser", "changed").await;
    assert_eq!(other.status, StatusCode::OK, "owed, not told yet");
    world.end().await;
}

#[tokio::test]
async fn after_an_action_its_answer_is_what_was_last_seen() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    assert_eq!(world.raw().ask("POST", "/api/instances/inst0/stop", &[GOOD]).await.status, 202);
    world.provider.fails(Kind::Unavailable);
    world.clock.advance(seconds(6));
    assert_eq!(state(&world, "/api/instances/inst0").await, "STOPPED true");
    world.end().await;
}

#[tokio::test]
async fn an_action_that_may_have_been_done_makes_what_was_read_doubtful() {
    let world = world().await;
    world.provider.add_instance("inst0", "RUNNING");
    assert_eq!(state(&world, "/api/instances/inst0").await, "RUNNING");
    world.provider.fails_next(MockCall::Act, Kind::TimedOut);
    world.raw().ask("POST", "/api/instances/inst0/stop", &[GOOD]).await.is_error(504);
    // Somebody did it all the same.
    world.provider.set_state("inst0", "STOPPED");
    assert_eq!(state(&world, "/api/instances/inst0").await, "STOPPED");
    world.end().await;
}

#[tokio::test]
async fn ids_that_nobody_has_are_not_remembered() {
    let world = world().await;
    let long = "N".repeat(40_000);
    for n in 0..50 {
        world.raw().get(&format!("/api/hardware_profiles/{n}{long}")).await.is_error(404);
    }
    // What is there is read as before.
    assert_eq!(world.raw().get("/api/hardware_profiles/m1-small").await.status, 200);
    world.end().await;
}
