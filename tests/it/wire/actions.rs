//! Start, stop, reboot, destroy.

use super::reference;
use crate::support::raw::{Answer, GOOD, JSON};

fn state(answer: &Answer) -> String {
    answer.xml().child("state").text.clone()
}

#[tokio::test]
async fn i16_an_instance_is_stopped_and_destroyed_and_then_gone() {
    let world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await.status, 202);
    let gone = raw.ask("DELETE", "/api/instances/inst0", &[GOOD]).await;
    assert_eq!((gone.status, gone.body.as_str(), gone.header("content-type")), (204, "", None));
    raw.ask("DELETE", "/api/instances/inst0", &[GOOD]).await.is_error(404);
    raw.get("/api/instances/inst0").await.is_error(404);
    world.end().await;
}

#[tokio::test]
async fn g08_what_was_asked_for_on_create_and_what_an_action_did_is_in_their_own_answers() {
    let world = reference().await;
    let raw = world.raw();
    let path = "/api/instances?image_id=img1&hwp_id=m1-large&realm_id=eu&name=web";
    let made = raw.ask("POST", path, &[GOOD]).await.xml();
    assert_eq!(made.child("hardware_profile").attribute("id"), Some("m1-large"));
    assert_eq!(made.child("realm").attribute("id"), Some("eu"));
    assert_eq!(made.child("name").text, "web");
    let path = format!("/api/instances/{}", made.attribute("id").unwrap());
    for (action, after) in [("stop", "STOPPED"), ("start", "RUNNING"), ("reboot", "RUNNING")] {
        let done = raw.ask("POST", &format!("{path}/{action}?x=y"), &[GOOD]).await;
        assert_eq!((done.status, state(&done).as_str()), (202, after), "{action}");
        assert_eq!(state(&raw.get(&path).await), after, "and the next read shows it");
    }
    // Bare in JSON.
    let stopped = raw.ask("POST", &format!("{path}/stop"), &[GOOD, JSON]).await;
    assert_eq!((stopped.status, &stopped.json()["state"]), (202, &"STOPPED".into()));
    world.end().await;
}

#[tokio::test]
async fn t30_t31_actions_obey_the_state_and_do_not_help() {
    let world = reference().await;
    let raw = world.raw();
    raw.ask("DELETE", "/api/instances/inst0", &[GOOD]).await.is_error(405);
    raw.ask("POST", "/api/instances/inst0/start", &[GOOD]).await.is_error(405);
    assert_eq!(state(&raw.get("/api/instances/inst0").await), "RUNNING");
    raw.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await;
    let refused = raw.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await;
    assert_eq!(refused.is_error(405).xml().child("message").text, "Method Not Allowed");
    raw.ask("POST", "/api/instances/inst0/explode", &[GOOD]).await.is_error(404);
    raw.ask("POST", "/api/instances/inst0/destroy", &[GOOD]).await.is_error(404);
    raw.ask("POST", "/api/instances/unknown/stop", &[GOOD]).await.is_error(404);
    raw.ask("DELETE", "/api/instances/unknown", &[GOOD]).await.is_error(404);
    raw.ask("POST", "/api/instances/inst1/stop", &[]).await.is_error(401);
    world.end().await;
}

#[tokio::test]
async fn a_form_can_stand_for_delete_and_put_and_a_link_cannot() {
    let world = reference().await;
    let raw = world.raw();
    raw.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await;
    raw.ask("POST", "/api/instances/inst0?_method=delete", &[GOOD]).await.is_error(405);
    raw.ask("GET", "/api/instances/inst0?_method=delete", &[GOOD]).await;
    assert_eq!(raw.send("POST", "/api/instances/inst0", &[GOOD], "_method=delete").await.status, 204);
    let header = ("X-HTTP-Method-Override", "PUT");
    let put = raw.send("POST", "/api/instances/inst1", &[GOOD, header], "track_hook=feed").await;
    assert_eq!(put.status, 200, "{put:?}");
    world.end().await;
}
