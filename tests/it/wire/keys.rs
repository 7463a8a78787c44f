//! `/api/keys`.

use super::{ORIGIN, reference};
use crate::support::raw::{BAD, GOOD, JSON};

#[tokio::test]
async fn g06_a_key_is_listed_and_shown_without_its_private_half() {
    let world = reference().await;
    let raw = world.raw();
    let list = raw.get("/api/keys").await.xml();
    let [key] = &list.children[..] else { panic!("one key: {list:?}") };
    assert_eq!((key.attribute("id"), key.attribute("type")), (Some("test-key"), Some("key")));
    for key in [key, &raw.get("/api/keys/test-key").await.xml()] {
        assert_eq!(key.child("name").text, "test-key");
        assert!(!key.child("fingerprint").text.is_empty());
        assert!(key.all("pem").is_empty());
        let destroy = &key.child("actions").children[0];
        assert_eq!((destroy.attribute("rel"), destroy.attribute("method")), (Some("destroy"), Some("delete")));
        assert_eq!(destroy.attribute("href"), Some(format!("{ORIGIN}/api/keys/test-key").as_str()));
    }
    let json = raw.ask("GET", "/api/keys", &[GOOD, JSON]).await.json();
    let key = &json["keys"][0];
    assert_eq!((&key["id"], &key["credential_type"]), (&"test-key".into(), &"key".into()));
    assert_eq!((key.get("name"), key.get("pem_rsa_key")), (None, None));
    world.end().await;
}

#[tokio::test]
async fn g09_a_key_is_made_with_its_private_half_and_destroyed() {
    let world = reference().await;
    let raw = world.raw();
    // The list is read before and after: it must not be the old one.
    assert_eq!(raw.get("/api/keys").await.xml().children.len(), 1);
    // The current gem puts the name into the query; the older one adds `hwp_id=` to everything.
    let made = raw.ask("POST", "/api/keys?name=foo&hwp_id=", &[GOOD]).await;
    assert_eq!((made.status, made.header("location")), (201, Some("http://localhost:3001/api/keys/foo")));
    assert!(made.header("etag").is_some());
    let key = made.xml();
    assert_eq!((key.name.as_str(), key.attribute("id")), ("key", Some("foo")));
    assert!(key.child("pem").text.starts_with("-----BEGIN RSA PRIVATE KEY-----\n"), "{key:?}");

    assert_eq!(raw.get("/api/keys").await.xml().children.len(), 2);
    let shown = raw.get("/api/keys/foo").await;
    assert!(shown.xml().all("pem").is_empty(), "only once");
    assert_eq!(shown.xml().child("fingerprint").text, key.child("fingerprint").text);

    let gone = raw.ask("DELETE", "/api/keys/foo", &[GOOD]).await;
    assert_eq!((gone.status, gone.body.as_str(), gone.header("content-type")), (204, "", None));
    raw.get("/api/keys/foo").await.is_error(404);
    raw.ask("DELETE", "/api/keys/foo", &[GOOD]).await.is_error(404);
    assert_eq!(raw.get("/api/keys").await.xml().children.len(), 1);

    let made = raw.send("POST", "/api/keys", &[GOOD, JSON], "name=bar").await.json();
    assert!(made["key"]["pem_rsa_key"].as_str().unwrap().starts_with("-----BEGIN"), "{made}");
    world.end().await;
}

#[tokio::test]
async fn a_name_that_is_taken_is_forbidden_and_one_that_is_missing_is_asked_for() {
    let world = reference().await;
    let raw = world.raw();
    raw.ask("POST", "/api/keys?name=test-key", &[GOOD]).await.is_error(403);
    let missing = raw.ask("POST", "/api/keys?public_key=x", &[GOOD]).await;
    assert_eq!(
        missing.is_error(400).xml().child("message").text,
        "Required parameter 'name' not found in [public_key]"
    );
    for headers in [&[][..], &[BAD]] {
        raw.ask("POST", "/api/keys?name=foo", headers).await.is_error(401);
        raw.ask("DELETE", "/api/keys/test-key", headers).await.is_error(401);
    }
    raw.ask("PUT", "/api/keys/test-key?track_hook=feed", &[GOOD]).await.is_error(405);
    assert_eq!(raw.get("/api/keys").await.xml().children.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn i13_the_key_asked_for_is_in_the_answer_to_the_create() {
    let world = reference().await;
    let raw = world.raw();
    let api = raw.get("/api").await.xml();
    assert!(api.all("feature").iter().any(|one| one.attribute("name") == Some("authentication_key")));
    raw.send("POST", "/api/keys", &[GOOD], "name=web-key").await;
    let made = raw.send("POST", "/api/instances", &[GOOD], "image_id=img1&keyname=web-key").await;
    assert_eq!(made.status, 201, "{made:?}");
    let authentication = made.xml().only("authentication").child("login").child("keyname").text.clone();
    assert_eq!(authentication, "web-key");
    assert_eq!(made.xml().only("authentication").attribute("type"), Some("key"));
    let path = made.header("location").unwrap().strip_prefix(ORIGIN).unwrap().to_owned();
    let json = raw.ask("GET", &path, &[GOOD, JSON]).await.json();
    assert_eq!(json["instance"]["authentication"]["keyname"], "web-key");
    world.end().await;
}
