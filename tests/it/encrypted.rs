//! Callbacks over TLS, by Tracker as its users run it: it asks the machine's certificate authorities.

use reqwest::{Method, StatusCode};

use crate::support::child::{PATIENCE, Tracker};
use crate::support::proxy::Proxy;
use crate::support::receiver::Receiver;
use crate::support::tls::{TlsReceiver, file};

/// Tells two changes to the receiver; answers with what was agreed on, connection by connection, and with the log.
async fn two_changes(receiver: &TlsReceiver, settings: &[(&str, &str)]) -> (Vec<(String, usize)>, String) {
    let folder = tempfile::tempdir().unwrap();
    let authorities = file("ca.pem").display().to_string();
    let mut all = vec![("SSL_CERT_FILE", authorities.as_str())];
    all.extend(settings);
    let tracker = Tracker::start(folder.path(), &all).await;
    let hook = format!("https://{}/cb", receiver.address());
    let (status, text) = tracker.request(Method::PUT, &format!("/instances/inst1?track_hook={hook}")).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    let mut told = vec![];
    for (action, state) in [("stop", "STOPPED"), ("start", "RUNNING")] {
        let (status, text) = tracker.request(Method::POST, &format!("/instances/inst1/{action}")).await;
        assert!(status.is_success(), "{text}");
        let arrived = receiver.wait_for(told.len() + 1).await;
        let last = arrived.last().unwrap();
        let body: serde_json::Value = serde_json::from_slice(&last.body).unwrap();
        assert_eq!(body["to"]["state"], state);
        told.push((last.protocol.clone(), last.connection));
    }
    let (well, log) = tracker.stop().await;
    assert!(well, "{log}");
    (told, log)
}

fn both_by(protocol: &str) -> Vec<(String, usize)> {
    vec![(protocol.to_owned(), 0); 2]
}

#[tokio::test]
async fn http_2_is_spoken_with_who_can_and_one_connection_does() {
    let receiver = TlsReceiver::start(&["h2", "http/1.1"]);
    assert_eq!(two_changes(&receiver, &[]).await.0, both_by("h2"));
}

#[tokio::test]
async fn http_1_is_spoken_with_who_cannot() {
    assert_eq!(two_changes(&TlsReceiver::start(&["http/1.1"]), &[]).await.0, both_by("http/1.1"));
    assert_eq!(two_changes(&TlsReceiver::start(&[]), &[]).await.0, both_by("none"));
}

#[tokio::test]
async fn through_a_proxy_tls_reaches_from_us_to_the_receiver_and_the_log_tells_nothing_of_the_proxy() {
    let receiver = TlsReceiver::start(&["h2", "http/1.1"]);
    let proxy = Proxy::start(receiver.address()).await;
    proxy.wants("us3r", "passw0rd");
    let url = format!("http://us3r:passw0rd@{}", proxy.address());
    // Everything there is to be logged.
    let settings = [("TRACKER_DELIVER__PROXY", url.as_str()), ("TRACKER_LOG__FILTER", "trace")];
    let (told, log) = two_changes(&receiver, &settings).await;
    assert_eq!(told, both_by("h2"));
    assert_eq!(proxy.lines(), [format!("CONNECT {}", receiver.address())]);
    assert!(log.contains("inst1"), "the log tells the story:\n{log}");
    for secret in ["us3r", "passw0rd", "dXMzcjpwYXNzdzByZA", &proxy.address().to_string()] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} is in the log");
    }
}

#[tokio::test]
async fn a_receiver_that_nobody_vouches_for_gets_nothing() {
    let receiver = TlsReceiver::start(&["h2", "http/1.1"]);
    let witness = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    // Whoever the machine trusts, this authority is not among them.
    let mut tracker = Tracker::start(folder.path(), &[]).await;
    for (id, hook) in [("inst1", format!("https://{}/cb", receiver.address())), ("inst2", witness.url("/cb").into())] {
        let (status, text) = tracker.request(Method::PUT, &format!("/instances/{id}?track_hook={hook}")).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        tracker.request(Method::POST, &format!("/instances/{id}/stop")).await;
    }
    tokio::time::timeout(PATIENCE, witness.wait_for(1)).await.expect("others are told");
    tracker.line(|line| line.contains("invalid peer certificate")).await;
    assert!(receiver.wait_for(0).await.is_empty());
    tracker.stop().await;
}
