//! Traps that no collection is alone with: what clients make of a failure, whatever failed, and what must not be taken for
//! one.

use std::collections::BTreeSet;

use tracker::drivers::Kind;

use super::suites::{OURS, id, with_members};
use super::{AUTH_FAILURE, EC2, ec2_says, reference};
use crate::support::raw::{Answer, BAD, GOOD, JSON, Raw};
use crate::support::world::{World, minutes};

/// The statuses that no generation of clients crashes at, each with the class that JSON names.
const SURVIVED: &[(u16, &str)] = &[
    (400, "ValidationFailure"),
    (401, "AuthenticationFailure"),
    (403, "ForbiddenError"),
    (404, "ObjectNotFound"),
    (405, "MethodNotAllowed"),
    (406, "UnknownMediaTypeError"),
    (500, "BackendError"),
    (501, "NotImplemented"),
    (502, "ProviderError"),
    (504, "ProviderTimeout"),
];

/// Whether clients survive this failure: a status they know, with an error document that agrees with it, names the backend
/// and says what is wrong, and has nothing that they stumble over; as JSON where that was asked for.
pub(super) fn survive(answer: &Answer, json: bool) {
    let class = SURVIVED.iter().find(|(status, _)| *status == answer.status);
    let (status, class) = class.unwrap_or_else(|| panic!("no client knows {answer:?}"));
    assert_eq!(answer.header("server"), Some("Apache-Deltacloud/1.1.3"), "{answer:?}");
    assert!(answer.header("x-deltacloud-driver").is_some_and(|driver| !driver.is_empty()), "{answer:?}");
    assert_eq!(answer.header("www-authenticate").is_some(), *status == 401, "{answer:?}");
    let class = format!("Deltacloud::Exceptions::{class}");
    if json {
        assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
        let document = answer.json();
        let keys: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["code", "error", "message"], "{document}");
        assert_eq!((&document["code"], &document["error"]), (&(*status).into(), &class.into()), "{document}");
        assert!(document["message"].as_str().is_some_and(|text| !text.trim().is_empty()), "{document}");
        return;
    }
    assert_eq!(answer.header("content-type"), Some("application/xml"), "{answer:?}");
    let root = answer.xml();
    let text = status.to_string();
    assert_eq!((root.name.as_str(), root.attribute("status")), ("error", Some(text.as_str())), "{answer:?}");
    assert!(root.attribute("url").is_some_and(|url| !url.contains(';') || url.starts_with("//")), "{answer:?}");
    // Neither `backtrace` nor `request`.
    let children: Vec<_> = root.children.iter().map(|child| child.name.as_str()).collect();
    assert_eq!(children, ["backend", "code", "message"], "{answer:?}");
    for name in ["driver", "provider"] {
        assert!(root.child("backend").attribute(name).is_some_and(|text| !text.is_empty()), "{answer:?}");
    }
    assert_eq!(root.child("code").text, text);
    assert!(!root.child("message").text.trim().is_empty(), "{answer:?}");
}

/// All routes, read off the router, so that a new one is asked the same; `{id}` and the like are left in.
pub(super) fn routes() -> Vec<&'static str> {
    let router = include_str!("../../../src/api/mod.rs");
    let routes: BTreeSet<_> = router.split('"').filter(|text| text.starts_with("/api")).collect();
    assert!(routes.len() > 25 && routes.contains("/api/instances/{id}/{action}"), "{routes:?}");
    routes.into_iter().collect()
}

/// A route with this in every gap; in the first one with the id of a member if there is any.
fn filled(route: &str, known: Option<&str>, otherwise: &str) -> String {
    let mut fill = known.unwrap_or(otherwise);
    let mut path = String::new();
    for segment in route.split('/').skip(1) {
        path.push('/');
        if segment.starts_with('{') {
            path.push_str(fill);
            fill = otherwise;
        } else {
            path.push_str(segment);
        }
    }
    path
}

/// Paths to ask: every route with an id that is there and with one that is not.
async fn paths(raw: Raw) -> BTreeSet<String> {
    let mut known = Vec::new();
    for rel in with_members(raw, "/api").await {
        let list = raw.get(&format!("/api/{rel}")).await.xml();
        known.extend(list.children.last().map(|member| (rel, id(member).to_owned())));
    }
    let of = |route: &str| {
        let rel = route.split('/').nth(2).unwrap_or_default();
        let known = known.iter().find(|(of, _)| of == rel).map(|(_, id)| id.as_str());
        [filled(route, known, "unknown"), filled(route, None, "unknown")]
    };
    routes().into_iter().flat_map(of).collect()
}

/// Asks and, if that fails, looks whether clients survive it. What is Tracker's own is JSON for who does not mind.
async fn ask(raw: Raw, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
    let answer = raw.ask(method, path, headers).await;
    let unknown_type = headers.iter().any(|(name, value)| *name == "Accept" && *value == "image/png");
    let ours = path.split(['/', '?']).nth(2).is_some_and(|rel| OURS.contains(&rel));
    let json = headers.contains(&JSON) || path.contains("format=json") || (ours && !unknown_type);
    if answer.status >= 400 && method != "HEAD" {
        survive(&answer, json);
    }
    answer.status
}

#[tokio::test]
async fn t06_t07_t08_t09_t20_every_failure_of_every_route_is_one_that_clients_survive() {
    let world = World::reference(|api| api.failed_logins_max = 0).await;
    world.receiver.otherwise(ec2_says(401, AUTH_FAILURE));
    let raw = world.raw();
    let mut seen = BTreeSet::new();
    let headers: [&[(&str, &str)]; 8] = [
        &[],
        &[BAD, JSON],
        &[GOOD],
        &[GOOD, JSON],
        &[GOOD, ("X-Deltacloud-Driver", "nimbus")],
        &[GOOD, ("Accept", "image/png")],
        &[GOOD, ("Host", "a b"), JSON],
        &[GOOD, EC2, ("X-Deltacloud-Provider", "eu-west-1")],
    ];
    for path in paths(raw).await {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            for headers in headers {
                seen.insert(ask(raw, method, &path, headers).await);
            }
        }
        seen.insert(ask(raw, "GET", &format!("{path}/and/no/more"), &[GOOD]).await);
        seen.insert(ask(raw, "GET", &format!("{path}?format=json&x=%ff"), &[("Accept", "image/png")]).await);
    }
    // All but what only a backend has trouble with.
    for status in [400, 401, 404, 405, 406, 501] {
        assert!(seen.contains(&status), "{seen:?}");
    }
    assert!(!seen.iter().any(|status| [500, 502, 504].contains(status)), "{seen:?}");
    world.end().await;
}

#[tokio::test]
async fn t06_t08_every_trouble_of_a_backend_is_one_that_clients_survive() {
    let world = World::with(|settings| settings.drivers.mock.fixture = true).await;
    let raw = world.raw();
    let mut seen = BTreeSet::new();
    let paths = paths(raw).await;
    let forms = "image_id=img1&instance_id=inst0&device=&volume_id=vol1&name=x&track_hook=feed";
    for (kind, status) in [
        (Kind::Denied, 401),
        (Kind::Forbidden, 403),
        (Kind::NotFound, 404),
        (Kind::Throttled { after: None }, 502),
        (Kind::Unavailable, 502),
        (Kind::TimedOut, 504),
        (Kind::Failed, 500),
        (Kind::Unsupported, 501),
        (Kind::Invalid, 400),
        (Kind::Conflict, 405),
    ] {
        world.provider.heals();
        world.provider.fails(kind);
        for path in &paths {
            for method in ["GET", "POST", "PUT", "DELETE"] {
                for headers in [&[GOOD][..], &[GOOD, JSON]] {
                    seen.insert(ask(raw, method, &format!("{path}?{forms}"), headers).await);
                }
            }
        }
        assert!(seen.contains(&status), "{kind:?}: {seen:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn t06_what_is_wrong_with_a_whole_request_is_said_as_it_was_asked_for() {
    let world = World::reference(|api| {
        (api.body_bytes_max, api.url_bytes_max, api.params_max, api.body_ms) = (1_000, 2_000, 10, 50);
    })
    .await;
    let raw = world.raw();
    let long = format!("/api?{}", "x".repeat(2_000));
    let many = format!("/api?{}", "a&".repeat(11));
    let driver = ("X-Deltacloud-Driver", "no\u{e4}pe");
    let endless = format!("/api;driver={}", "x".repeat(65));
    for (path, more) in [
        (long.as_str(), None),
        (many.as_str(), None),
        (endless.as_str(), None),
        ("/api/%ff", None),
        ("/api;provider=%0d%0aX:y", None),
        ("/api;provider=%C3%28/realms", None),
        ("/api/realms", Some(driver)),
        ("/api", Some(("Host", "h'x"))),
    ] {
        for (accept, json) in [(JSON, true), (("Accept", "application/xml"), false)] {
            let headers: Vec<_> = [GOOD, accept].into_iter().chain(more).collect();
            let answer = raw.ask("GET", path, &headers).await;
            assert_eq!(answer.status, 400, "{answer:?}");
            survive(&answer, json);
        }
    }
    for accept in [JSON, ("Accept", "text/xml")] {
        let answer = raw.send("POST", "/api/instances", &[GOOD, accept], &"x".repeat(1_001)).await;
        survive(&answer, accept == JSON);
        let head = "POST /api/keys HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n";
        let slow = raw.bytes(format!("{head}{}: {}\r\n\r\n", accept.0, accept.1).as_bytes()).await;
        survive(&Answer::read(&slow), accept == JSON);
        let chunks = "POST /api/keys HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n";
        let broken = raw.bytes(format!("{chunks}{}: {}\r\n\r\nzz\r\n", accept.0, accept.1).as_bytes()).await;
        survive(&Answer::read(&broken), accept == JSON);
    }
    world.end().await;
}

/// Where to stop is to delete, the instance is gone after it: told as that, and no error.
#[tokio::test]
async fn t32_an_instance_that_is_gone_after_stop_is_told_as_gone() {
    let mut world = reference().await;
    let raw = world.raw();
    for id in ["inst0", "inst1"] {
        assert_eq!(raw.ask("PUT", &format!("/api/instances/{id}?track_hook=feed"), &[GOOD]).await.status, 200);
    }
    world.poll().await;
    assert_eq!(raw.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await.status, 202);
    world.provider.remove("inst0");
    world.live(minutes(3)).await;
    raw.get("/api/instances/inst0").await.is_error(404);
    assert_eq!(world.feed_of_the_store().await, ["inst0 RUNNING -> gone"]);
    assert_eq!(raw.get("/api/instances/inst1").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn t44_what_belongs_to_somebody_else_is_not_found_rather_than_refused() {
    let world = reference().await;
    let raw = world.raw();
    world.provider.add_user("alice", "wonder");
    // alice:wonder
    let alice = ("Authorization", "Basic YWxpY2U6d29uZGVy");
    assert_eq!(raw.ask("GET", "/api/instances", &[alice]).await.xml().children.len(), 0);
    let own = raw.get("/api/instances").await.xml();
    for instance in &own.children {
        let path = format!("/api/instances/{}", id(instance));
        raw.ask("GET", &path, &[alice]).await.is_error(404);
        raw.ask("POST", &format!("{path}/stop"), &[alice]).await.is_error(404);
        raw.ask("DELETE", &path, &[alice]).await.is_error(404);
        raw.ask("PUT", &format!("{path}?track_hook=feed"), &[alice]).await.is_error(404);
        raw.ask("POST", &format!("/api/images?instance_id={}", id(instance)), &[alice]).await.is_error(404);
    }
    let states: Vec<_> =
        raw.get("/api/instances").await.xml().all("state").iter().map(|one| one.text.clone()).collect();
    assert_eq!(states, ["RUNNING"; 4]);
    world.end().await;
}
