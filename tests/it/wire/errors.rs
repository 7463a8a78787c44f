//! Errors that clients survive, and headers on every answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use tracker::drivers::Kind;

use super::{EC2, reference};
use crate::support::faulty::Faulty;
use crate::support::raw::{Answer, BAD, EMPTY, GOOD, JSON};
use crate::support::world::{World, seconds};

#[tokio::test]
async fn t06_t07_t09_t20_t21_every_error_is_a_document_that_agrees_with_its_status() {
    let world = reference().await;
    let check = async |method: &str, path: &str, headers: &[(&str, &str)], status: u16| {
        let answer = world.raw().ask(method, path, headers).await;
        answer.is_error(status);
        assert_eq!(answer.header("server"), Some("Apache-Deltacloud/1.1.3"));
        assert!(answer.header("x-deltacloud-driver").is_some());
        answer
    };
    check("GET", "/", &[], 404).await;
    check("GET", "/api/nothing", &[GOOD], 404).await;
    check("GET", "/apix", &[GOOD], 404).await;
    check("GET", "//api", &[GOOD], 404).await;
    check("PATCH", "/api/instances/inst0", &[GOOD], 405).await;
    check("PUT", "/api/hardware_profiles/m1-small?track_hook=feed", &[GOOD], 405).await;
    let changes = check("POST", "/api/changes", &[GOOD], 405).await;
    assert_eq!(changes.header("allow"), Some("GET,HEAD,OPTIONS"));
    check("GET", "/api", &[("Accept", "image/png")], 406).await;
    check("GET", "/api?format=foo", &[], 406).await;
    check("GET", "/api/changes?format=xml", &[GOOD], 406).await;
    check("GET", "/api/%ff", &[], 400).await;
    check("GET", "/api;provider=%0d%0aX:y", &[], 400).await;
    check("GET", &format!("/api;driver={}", "x".repeat(65)), &[], 400).await;
    check("GET", "/api", &[("Host", "a b")], 400).await;
    check("GET", "/api;provider=nonsense/realms", &[GOOD, EC2], 400).await;
    check("GET", "/api/realms", &[("Authorization", "Bearer x")], 401).await;
    check("GET", "/api/realms", &[EMPTY], 401).await;
    let refused = check("GET", "/api/realms", &[BAD], 401).await;
    assert!(refused.header("www-authenticate").is_some());
    let unknown = check("GET", "/api;driver=Nimbus/realms", &[GOOD], 400).await;
    assert_eq!(unknown.xml().child("backend").attribute("driver"), Some("nimbus"));
    assert_eq!(unknown.header("x-deltacloud-driver"), Some("nimbus"));
    let json = check("GET", "/api/instances/i-9", &[GOOD, JSON], 404).await;
    assert_eq!(json.json()["error"], "Deltacloud::Exceptions::ObjectNotFound");
    let escaped = check("GET", "/api;driver=mock/instances/%3Ci%3E", &[GOOD], 404).await;
    assert_eq!(escaped.xml().attribute("url"), Some("/api/instances/%3Ci%3E"));
    world.end().await;
}

/// The reference's ready-made error test.
#[tokio::test]
async fn some_realms_of_the_mock_cloud_show_what_an_error_looks_like() {
    let world = reference().await;
    for (status, text, class) in [
        (500, "DeltacloudErrorMessage", "BackendError"),
        (501, "NotImplementedMessage", "NotImplemented"),
        (502, "ProviderErrorMessage", "ProviderError"),
        (504, "ProviderTimeoutMessage", "ProviderTimeout"),
    ] {
        let path = format!("/api/realms/{status}");
        let xml = world.raw().get(&path).await;
        let root = xml.is_error(status).xml();
        assert_eq!((root.child("message").text.as_str(), root.attribute("url")), (text, Some(path.as_str())));
        assert_eq!(root.child("code").text, status.to_string());
        let json = world.raw().ask("GET", &path, &[GOOD, JSON]).await;
        let expected = serde_json::json!({
            "code": status, "message": text, "error": format!("Deltacloud::Exceptions::{class}"),
        });
        assert_eq!(json.is_error(status).json(), expected);
        // With a hook nothing is different.
        world.raw().ask("PUT", &format!("{path}?track_hook=feed"), &[GOOD]).await.is_error(status);
    }
    world.raw().get("/api/realms/503").await.is_error(404);
    assert!(world.hooks().await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn t08_a_backends_troubles_are_statuses_that_clients_know() {
    let world = reference().await;
    for (kind, status) in [
        (Kind::Denied, 401),
        (Kind::Forbidden, 403),
        (Kind::NotFound, 404),
        (Kind::Throttled { after: Some(Duration::from_secs(17)) }, 502),
        (Kind::Unavailable, 502),
        (Kind::TimedOut, 504),
        (Kind::Failed, 500),
        (Kind::Unsupported, 501),
        (Kind::Invalid, 400),
        (Kind::Conflict, 405),
    ] {
        world.provider.heals();
        world.provider.fails(kind);
        for path in ["/api/realms", "/api/instances/inst0", "/api/images", "/api/hardware_profiles"] {
            // What was refused is asked about again after a moment.
            world.clock.advance(seconds(6));
            let answer = world.raw().get(path).await;
            let text = answer.is_error(status).xml().child("message").text.clone();
            assert!(text.starts_with("The mock cloud fails on purpose"), "{text}");
            assert_eq!(answer.header("retry-after"), matches!(kind, Kind::Throttled { .. }).then_some("17"));
        }
        world.clock.advance(seconds(6));
        world.raw().ask("POST", "/api/instances/inst0/stop", &[GOOD]).await.is_error(status);
        world.clock.advance(seconds(6));
        world.raw().send("POST", "/api/instances", &[GOOD], "image_id=img1").await.is_error(status);
    }
    world.end().await;
}

#[tokio::test]
async fn t42_an_old_client_with_header_names_in_any_case_is_understood() {
    let world = reference().await;
    let text = format!(
        "GET /api/realms HTTP/1.0\r\nHOST: h\r\naUTHORIZATION: {}\r\naccept: text/xml\r\nx-deltacloud-DRIVER: mock\r\n\r\n",
        GOOD.1
    );
    let answer = Answer::read(&world.raw().bytes(text.as_bytes()).await);
    assert_eq!((answer.status, answer.xml().name.as_str()), (200, "realms"));
    assert_eq!(answer.header("transfer-encoding"), None, "which such a client cannot read");
    world.end().await;
}

#[tokio::test]
async fn t43_an_answer_is_compressed_for_nobody_who_did_not_ask_and_keeps_its_etag() {
    let world = reference().await;
    let plain = world.raw().get("/api/realms").await;
    assert_eq!(plain.header("content-encoding"), None);
    let asked = world.raw().ask("GET", "/api/realms", &[GOOD, ("Accept-Encoding", "gzip, deflate")]).await;
    assert_eq!((asked.status, asked.header("etag")), (200, plain.header("etag")));
    world.end().await;
}

#[tokio::test]
async fn guesses_are_refused_without_asking_and_the_owner_gets_through() {
    let world = World::reference(|api| api.failed_logins_max = 3).await;
    let raw = world.raw();
    assert_eq!(raw.ask("GET", "/api?force_auth=1", &[GOOD]).await.status, 200);
    for encoded in ["bW9ja3VzZXI6MQ==", "bW9ja3VzZXI6Mg==", "bW9ja3VzZXI6Mw=="] {
        raw.ask("GET", "/api/realms", &[("Authorization", &format!("Basic {encoded}"))]).await.is_error(401);
    }
    let asked = world.provider.calls();
    let refused = raw.ask("GET", "/api/realms", &[("Authorization", "Basic bW9ja3VzZXI6NA==")]).await;
    assert!(refused.is_error(401).xml().child("message").text.contains("Too many"));
    assert_eq!(world.provider.calls(), asked);
    assert_eq!(raw.get("/api/realms").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn a_driver_that_panics_takes_only_its_request_down() {
    let world = World::around(|mock| Arc::new(Faulty::new(mock).panic_call(1)), |_| {}).await;
    world.raw().get("/api/realms").await.is_error(500);
    assert_eq!(world.raw().get("/api/realms").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn a_driver_that_hangs_is_given_up() {
    let hour_ms = 3_600_000;
    let world = World::with(|settings| {
        settings.drivers.mock.latency_ms = hour_ms;
        settings.api.answer_ms = 50;
    })
    .await;
    world.raw().get("/api/realms").await.is_error(502);
    world.end().await;
}

#[tokio::test]
async fn a_wrong_password_that_is_repeated_is_refused_unasked_for_a_few_seconds() {
    let world = World::new().await;
    let check = async |expected: Option<&str>| {
        let answer = world.request_as(Method::GET, "/instances", "mockuser", "wrong").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{}", answer.text);
        let after = answer.headers.get("retry-after").map(|value| value.to_str().unwrap());
        assert_eq!(after, expected, "{}", answer.text);
    };
    check(None).await;
    check(Some("5")).await;
    assert_eq!(world.get("/instances").await.status, StatusCode::OK, "the owner is no stranger");
    world.clock.advance(seconds(5));
    check(None).await;
    check(Some("5")).await;
    // It is put right at the provider.
    world.provider.add_user("mockuser", "wrong");
    world.clock.advance(seconds(5));
    let right = world.request_as(Method::GET, "/instances", "mockuser", "wrong").await;
    assert_eq!(right.status, StatusCode::OK, "{}", right.text);
    world.end().await;
}
