//! What is asked for to be done: where, how, and when it counts as done.

use tracker::drivers::Kind;
use tracker::model::{Action, FaultKind, InstanceState, NewInstance};

use super::canned::{Canned, Says, fails, leads, ok};
use super::{at, driver, error, ids, instance, login};

const OFFERED: &[(&str, &str)] = &[("reboot", "post"), ("stop", "post"), ("destroy", "delete")];

fn accepted(body: String) -> Says {
    Says::Answer(202, vec![], body)
}

#[tokio::test]
async fn an_action_is_asked_for_where_its_link_leads() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let root = upstream.root();
    let running = || ok(instance(root, "i-1", "RUNNING", OFFERED));

    // The answer is the instance as it is then.
    upstream.says("GET /api/instances/i-1", running());
    upstream.says("POST /api/instances/i-1/stop", accepted(instance(root, "i-1", "STOPPING", &[])));
    let stopped = driver.act(&login(None), &"i-1".into(), Action::Stop).await.expect("done").expect("there");
    assert_eq!((stopped.state, stopped.settling), (InstanceState::Stopping, true));
    assert_eq!(upstream.heard(), ["GET /api/instances/i-1", "POST /api/instances/i-1/stop"]);

    // The answer leads to it.
    upstream.clear();
    upstream.says("GET /api/instances/i-1", running());
    upstream.says("GET /api/instances/i-1", ok(instance(root, "i-1", "STOPPED", &[])));
    upstream.says("POST /api/instances/i-1/stop", leads(303, &format!("{root}/instances/i-1")));
    let stopped = driver.act(&login(None), &"i-1".into(), Action::Stop).await.expect("done").expect("there");
    assert_eq!(stopped.state, InstanceState::Stopped);

    // The answer is silence, and nothing is left.
    upstream.clear();
    upstream.says("GET /api/instances/i-1", running());
    upstream.says("GET /api/instances/i-1", fails(404, error(404, "Not Found")));
    upstream.says("DELETE /api/instances/i-1", fails(204, ""));
    assert_eq!(driver.act(&login(None), &"i-1".into(), Action::Destroy).await.expect("done"), None);

    // It was done and cannot be looked at: it must not be asked for again.
    upstream.clear();
    upstream.says("GET /api/instances/i-1", running()).says("GET /api/instances/i-1", fails(502, ""));
    upstream.says("POST /api/instances/i-1/stop", accepted(String::new()));
    assert_eq!(driver.act(&login(None), &"i-1".into(), Action::Stop).await.expect("done"), None);
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_not_followed() {
    let (upstream, stranger) = (Canned::start().await, Canned::start().await);
    let driver = driver(at(upstream.root()), &["127.0.0.0/8"]);
    let off_root = upstream.root().replace("/api", "/admin");
    for elsewhere in [stranger.root(), &off_root] {
        upstream.clear();
        upstream.says("GET /api/instances/i-1", ok(instance(elsewhere, "i-1", "RUNNING", OFFERED)));
        let done = accepted(instance(upstream.root(), "i-1", "STOPPING", &[]));
        upstream.says("POST /api/instances/i-1/stop", done);
        driver.act(&login(None), &"i-1".into(), Action::Stop).await.expect("done at the usual place");
        assert_eq!(upstream.heard(), ["GET /api/instances/i-1", "POST /api/instances/i-1/stop"], "{elsewhere}");
    }
    assert_eq!(stranger.heard(), [""; 0]);
}

#[tokio::test]
async fn what_is_not_deltaclouds_word_for_done_is_not_done() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let root = upstream.root();
    for (what, says, kind) in [
        ("a page", ok("<html><body>Sign in</body></html>"), Kind::Unavailable),
        ("nothing", ok(""), Kind::Unavailable),
        ("a way to a login page", leads(302, "https://login.example/"), Kind::Unavailable),
        ("another document", ok("<realms></realms>"), Kind::Unavailable),
        ("a page of a proxy's", fails(502, "<html/>"), Kind::Unavailable),
        ("not in this state", fails(405, error(405, "Method Not Allowed")), Kind::Conflict),
        ("not in this state, it says", ok(error(405, "Method Not Allowed")), Kind::Conflict),
        ("gone meanwhile", fails(404, error(404, "Not Found")), Kind::NotFound),
        ("not allowed", fails(403, error(403, "Forbidden")), Kind::Forbidden),
        ("it broke", fails(500, error(500, "NoMethodError")), Kind::Failed),
        ("it took too long", fails(500, error(500, "execution expired")), Kind::TimedOut),
    ] {
        upstream.clear();
        upstream.says("GET /api/instances/i-1", ok(instance(root, "i-1", "RUNNING", OFFERED)));
        upstream.says("POST /api/instances/i-1/stop", says.clone()).says("DELETE /api/instances/i-1", says.clone());
        upstream.says("DELETE /api/keys/k", says);
        for action in [Action::Stop, Action::Destroy] {
            let error = driver.act(&login(None), &"i-1".into(), action).await.expect_err(what);
            assert_eq!(error.kind, kind, "{what}: {error}");
        }
        let error = driver.keys().expect("it has some").destroy_key(&login(None), "k").await.expect_err(what);
        assert_eq!(error.kind, kind, "{what}: {error}");
    }
}

#[tokio::test]
async fn what_is_not_offered_is_not_asked_for() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    upstream.says("GET /api/instances/i-1", ok(instance(upstream.root(), "i-1", "RUNNING", OFFERED)));
    let error = driver.act(&login(None), &"i-1".into(), Action::Start).await.expect_err("it runs");
    assert!(error.kind == Kind::Conflict && error.text.contains("RUNNING"), "{error}");
    upstream.says("GET /api/instances/i-2", fails(404, super::error(404, "Not Found")));
    let error = driver.act(&login(None), &"i-2".into(), Action::Start).await.expect_err("there is none");
    assert_eq!(error.kind, Kind::NotFound);
    assert_eq!(upstream.heard(), ["GET /api/instances/i-1", "GET /api/instances/i-2"]);
}

#[tokio::test]
async fn what_was_made_is_found_by_its_answer_or_where_that_leads() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let root = upstream.root();
    let new = NewInstance {
        image: "img1".to_owned(),
        name: Some("web".to_owned()),
        user_data: Some(b"#!/bin/sh\n".to_vec().into()),
        ..NewInstance::default()
    };
    let created = async || driver.create_instance(&login(None), &new).await;
    let place = format!("{root}/instances/i-1");
    let at_place = |body: String| Says::Answer(201, vec![("location", place.clone())], body);
    let pending = instance(root, "i-1", "PENDING", &[]);
    for (what, says, asks) in [
        ("itself", at_place(pending.clone()), 1),
        ("itself without a place", fails(201, pending.clone()), 1),
        ("its place", at_place(String::new()), 2),
        ("a way to it", leads(302, &place), 2),
        ("itself without a state", at_place("<instance id='i-1'><name/></instance>".to_owned()), 2),
        ("half of itself", at_place(pending[..40].to_owned()), 2),
    ] {
        upstream.clear();
        upstream.says("POST /api/instances", says).says("GET /api/instances/i-1", ok(pending.clone()));
        let made = created().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!((ids(&made), made[0].state), (vec!["i-1"], InstanceState::Pending), "{what}");
        assert_eq!(upstream.heard().len(), asks, "{what}");
        assert_eq!(upstream.asked()[0].body, "image_id=img1&name=web&user_data=IyEvYmluL3NoCg%3D%3D");
        assert_eq!(upstream.asked()[0].header("content-type"), Some("application/x-www-form-urlencoded"));
    }
    for (what, says, kind, fault) in [
        ("a page", ok("<html/>"), Kind::Unavailable, None),
        ("a way elsewhere", leads(302, "https://login.example/instances/i-1"), Kind::Unavailable, None),
        ("no such image", fails(404, error(404, "no such image")), Kind::Invalid, Some(FaultKind::Request)),
        ("nothing given", fails(400, "Required parameter 'image_id' not found in []"), Kind::Invalid, None),
        (
            "no room",
            fails(500, error(500, "InsufficientInstanceCapacity: no room")),
            Kind::Failed,
            Some(FaultKind::Capacity),
        ),
        ("no more", fails(403, error(403, "Quota exceeded")), Kind::Forbidden, Some(FaultKind::Quota)),
    ] {
        upstream.clear();
        upstream.says("POST /api/instances", says);
        let error = created().await.expect_err(what);
        assert_eq!((error.kind, error.fault.as_ref().map(|fault| fault.kind)), (kind, fault), "{what}: {error}");
    }
}

#[tokio::test]
async fn several_are_made_one_after_the_other_and_a_failure_keeps_what_there_is() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let made = |id: &str| fails(201, instance(upstream.root(), id, "PENDING", &[]));
    let new = NewInstance { image: "img1".to_owned(), count: 3, ..NewInstance::default() };
    upstream.says("POST /api/instances", made("i-2")).says("POST /api/instances", made("i-1"));
    upstream.says("POST /api/instances", fails(403, error(403, "Quota exceeded")));
    let instances = driver.create_instance(&login(None), &new).await.expect("two of three");
    assert_eq!((ids(&instances), upstream.heard().len()), (vec!["i-1", "i-2"], 3));
    let error = driver.create_instance(&login(None), &new).await.expect_err("none of three");
    assert_eq!(error.kind, Kind::Forbidden);
}
