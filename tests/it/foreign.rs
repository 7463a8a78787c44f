//! Callbacks as others see them: their libraries verify what we sign and read what we write.

use reqwest::StatusCode;
use serde_json::Value;
use tracker::clock::{Clock as _, SystemClock};

use crate::support::foreign::{Foreign, Judge};
use crate::support::receiver::Received;
use crate::support::world::{SECRET, World, seconds};

/// The libraries look at the time as it is, and refuse callbacks of other days.
async fn today() -> World {
    let world = World::new().await;
    world.clock.set(SystemClock.now());
    world.provider.add_instance("inst0", "RUNNING");
    world
}

/// The callback that tells this change, which must be the next.
async fn told(world: &mut World, state: &str) -> Received {
    let before = world.receiver.received().len();
    world.provider.set_state("inst0", state);
    world.clock.advance(seconds(1));
    world.tick().await;
    world.deliver().await;
    let [callback] = &world.receiver.received()[before..] else { panic!("one change is one callback") };
    callback.clone()
}

fn with_header(callback: &Received, name: &str, value: &str) -> Received {
    let mut changed = callback.clone();
    changed.headers.retain(|(header, _)| header != name);
    changed.headers.push((name.to_owned(), value.to_owned()));
    changed
}

fn with_body(callback: &Received, from: &str, to: &str) -> Received {
    let body = String::from_utf8(callback.body.clone()).unwrap();
    assert!(body.contains(from), "{body}");
    Received { body: body.replacen(from, to, 1).into_bytes(), ..callback.clone() }
}

#[tokio::test]
async fn foreign_libraries_verify_callbacks_and_refuse_what_was_changed() {
    let Some(foreign) = Foreign::of("foreign_libraries_verify_callbacks_and_refuse_what_was_changed") else { return };
    let mut world = today().await;
    let token = "a token / with \"everything\" & ünïcode";
    world.put_hook("instances/inst0", &world.hook(), &[("track_token", token)]).await;
    let callback = told(&mut world, "STOPPED").await;

    let other = "whsec_YW5vdGhlciBzZWNyZXQgb2Ygb3VyIHRlc3Rz";
    let timestamp = callback.header("webhook-timestamp").unwrap();
    let earlier = (timestamp.parse::<u64>().unwrap() - 1).to_string();
    for judge in Judge::ALL {
        let check = async |secret: &str, callback: &Received, status: i32, what: &str| {
            let ran = foreign.verify(judge, secret, callback).await;
            assert_eq!(ran.status, status, "{judge:?}, {what}: {ran:?}");
            ran.stdout
        };
        let read = check(SECRET, &callback, 0, "as it came").await;
        assert_eq!(serde_json::from_str::<Value>(&read).unwrap(), callback.json(), "{judge:?}");
        assert_eq!(callback.json()["token"], token);
        check(other, &callback, 1, "another secret").await;
        check(SECRET, &with_body(&callback, "STOPPED", "RUNNING"), 1, "another body").await;
        check(SECRET, &with_body(&callback, "{", "{ "), 1, "the same JSON in other bytes").await;
        check(SECRET, &with_header(&callback, "webhook-id", "chg_2"), 1, "another id").await;
        check(SECRET, &with_header(&callback, "webhook-timestamp", &earlier), 1, "another time").await;
        let signature = callback.header("webhook-signature").unwrap().replace("v1,", "v1a,");
        check(SECRET, &with_header(&callback, "webhook-signature", &signature), 1, "another kind of signature").await;
    }
    world.end().await;
}

#[tokio::test]
async fn after_a_rotation_foreign_libraries_accept_either_secret() {
    let Some(foreign) = Foreign::of("after_a_rotation_foreign_libraries_accept_either_secret") else { return };
    let mut world = today().await;
    world.track("inst0").await;
    let first = told(&mut world, "STOPPED").await;
    let answer = world.put_hook("instances/inst0", &world.hook(), &[("track_secret", "rotate")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let at = answer.text.find("whsec_").expect("a secret that we made is shown once");
    let end = answer.text[at..].find(['<', '\'', '"']).expect("it ends");
    let new = &answer.text[at..at + end];
    let second = told(&mut world, "RUNNING").await;
    for judge in Judge::ALL {
        for (secret, callback, status) in
            [(SECRET, &first, 0), (new, &first, 1), (SECRET, &second, 0), (new, &second, 0)]
        {
            let ran = foreign.verify(judge, secret, callback).await;
            assert_eq!(ran.status, status, "{judge:?}: {ran:?}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn the_public_library_reads_our_cloudevents() {
    let Some(foreign) = Foreign::of("the_public_library_reads_our_cloudevents") else { return };
    let mut world = today().await;
    let answer = world.put_hook("instances/inst0", &world.hook(), &[("track_format", "cloudevents")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    for (revision, state) in [(1, "STOPPED"), (2, "RUNNING")] {
        let callback = told(&mut world, state).await;
        let ran = foreign.cloudevent(&callback).await;
        assert_eq!(ran.status, 0, "{ran:?}");
        let event: Value = serde_json::from_str(&ran.stdout).unwrap();
        let data = &event["data"];
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"].as_str(), callback.header("webhook-id"));
        assert_eq!(event["type"], "instance.state");
        assert_eq!(event["source"], data["resource"]["href"]);
        assert_eq!(event["subject"], "inst0");
        assert_eq!(event["sequence"], format!("{revision:020}"));
        assert_eq!(event["partitionkey"], "instances/inst0");
        assert_eq!(event["datacontenttype"], "application/json");
        let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(time, data["timestamp"].as_str().unwrap().parse().unwrap());
        assert_eq!((&data["to"]["state"], &data["resource"]["revision"]), (&state.into(), &revision.into()));
        // The envelope is signed like everything else.
        for judge in Judge::ALL {
            assert_eq!(foreign.verify(judge, SECRET, &callback).await.status, 0, "{judge:?}");
        }
        // And who reads is awake.
        for bad in [
            with_header(&callback, "content-type", "application/json"),
            with_body(&callback, "\"source\":", "\"sauce\":"),
            with_body(&callback, "\"specversion\":\"1.0\"", "\"specversion\":\"7\""),
            with_body(&callback, "{", ""),
        ] {
            let ran = foreign.cloudevent(&bad).await;
            assert_eq!(ran.status, 1, "{ran:?}");
        }
    }
    world.end().await;
}
