//! What comes in has bounds, and what is under way comes to its end.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::reference;
use crate::support::raw::{Answer, GOOD};
use crate::support::world::World;

#[tokio::test]
async fn what_comes_in_has_bounds() {
    let world = World::reference(|api| {
        (api.body_bytes_max, api.url_bytes_max, api.params_max) = (1_000, 2_000, 10);
        (api.body_ms, api.head_ms) = (50, 50);
    })
    .await;
    let raw = world.raw();
    let said = |answer: &Answer| answer.is_error(400).xml().child("message").text.clone();
    let long = raw.send("POST", "/api/instances", &[GOOD], &"x".repeat(1_001)).await;
    assert_eq!(said(&long), "The body is longer than 1000 bytes");
    let long = raw.get(&format!("/api?{}", "x".repeat(2_000))).await;
    assert_eq!(said(&long), "The URL is longer than 2000 bytes");
    let many = raw.get(&format!("/api?{}", "a&".repeat(11))).await;
    assert_eq!(said(&many), "more than 10 parameters");
    let head =
        format!("POST /api/instances HTTP/1.1\r\nHost: h\r\n{}: {}\r\nContent-Length: 9\r\n\r\n", GOOD.0, GOOD.1);
    let slow = Answer::read(&raw.bytes(head.as_bytes()).await);
    assert_eq!(said(&slow), "The body did not come within 50 ms");
    // A head that never ends is cut off.
    assert_eq!(raw.bytes(b"GET /api HTTP/1.1\r\n").await, b"");
    let mut hostless = Answer::read(&raw.bytes(b"GET /api HTTP/1.1\r\nConnection: close\r\n\r\n").await);
    hostless.is_error(400);
    hostless = Answer::read(&raw.bytes(b"GET /api HTTP/1.0\r\n\r\n").await);
    hostless.is_error(400);
    world.end().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_ends() {
    let world = reference().await;
    let mut stream = world.raw().connect().await;
    stream.write_all(b"POST /api?force_auth HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n").await.unwrap();
    // A second request shows that the first has long been taken up.
    assert_eq!(world.raw().get("/api").await.status, 200);
    let end = tokio::spawn(world.end());
    stream.write_all(b"x").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Answer::read(&answer).status, 301);
    end.await.unwrap();
}
