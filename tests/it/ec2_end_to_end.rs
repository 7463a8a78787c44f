//! The main job on a real cloud's interface: made and stopped by somebody else's client, seen by Tracker, verified by
//! somebody else's library.

use reqwest::{Method, StatusCode};

use crate::support::child::{PATIENCE, Tracker};
use crate::support::moto::{self, Moto};
use crate::support::receiver::Receiver;
use crate::support::world::{SECRET, client, told};

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

#[tokio::test]
async fn an_instance_of_ec2_is_called_back_from_running_to_finish() {
    let Some(python) = moto::python("an_instance_of_ec2_is_called_back_from_running_to_finish") else { return };
    let moto = Moto::start(python.clone()).await;
    let id = moto.boto(&["run"]).await.remove(0);
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let settings = [
        ("TRACKER_DRIVERS__EC2__ENDPOINT", moto.endpoint()),
        ("TRACKER_POLL__INSTANCES_CRON", "* * * * * *"),
        ("TRACKER_POLL__SPREAD_MS", "0"),
        ("TRACKER_POLL__QUIET_WAIT_MS", "1"),
        ("TRACKER_POLL__QUIET_WAIT_MAX_MS", "1"),
        ("TRACKER_POLL__ABSENCE__YOUNG_FOR_MS", "0"),
        ("TRACKER_POLL__ABSENCE__CONFIRM_AFTER_MS", "100"),
    ];
    let mut tracker = Tracker::start(folder.path(), &settings).await;

    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("track_hook", receiver.url("/cb").as_str()).append_pair("track_secret", SECRET);
    let url = format!("{};driver=ec2;provider=us-east-1/instances/{id}?{}", tracker.base, query.finish());
    let put = |password: &str| client().request(Method::PUT, &url).basic_auth(KEY_ID, Some(password.to_owned())).send();
    let answer = put(KEY).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let text = answer.text().await.unwrap();
    assert!(text.contains("<state>RUNNING</state>") && !text.contains(SECRET), "{text}");

    let arrived = async |count: usize| {
        let arrived = receiver.wait_until(|accepted| accepted.len() >= count);
        tokio::time::timeout(PATIENCE, arrived).await.expect("the callback arrives");
    };
    moto.boto(&["stop", &id]).await;
    arrived(1).await;
    moto.boto(&["terminate", &id]).await;
    arrived(2).await;
    let expected = [format!("{id} RUNNING -> STOPPED"), format!("{id} STOPPED -> FINISH")];
    let accepted = |receiver: &Receiver| -> Vec<_> {
        receiver.accepted_requests().iter().map(|request| told(&request.json()).1).collect()
    };
    assert_eq!(accepted(&receiver), expected);

    // Another one's library agrees with the signature, and with nothing else.
    let request = receiver.accepted_requests().remove(0);
    let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
    let headers = names.map(|name| (name, request.header(name).unwrap()));
    let body = String::from_utf8(request.body.clone()).unwrap();
    let ran = moto::verify(&python, SECRET, &headers, &body).await;
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let ran = moto::verify(&python, SECRET, &headers, &body.replace("STOPPED", "RUNNING")).await;
    assert_eq!(ran.status, 1, "a spoilt body is refused");
    let change = request.json();
    assert_eq!(change["account"]["driver"], "ec2");
    assert_eq!(change["account"]["provider"], "us-east-1");
    assert_eq!(change["account"]["id"], "123456789012", "who STS says it is, not the key");
    assert_eq!(change["from"]["native_state"], "running");

    // An hour later EC2 forgets it: that was told already. Another instance shows that Tracker went on looking.
    let reset = client().post(format!("{}/moto-api/reset", moto.endpoint())).send().await.unwrap();
    assert!(reset.status().is_success());
    for _ in 0..2 {
        let mark = tracker.mark();
        moto.boto(&["run"]).await;
        tracker.line_after(mark, |line| line.contains("appeared, RUNNING")).await;
    }
    let mark = tracker.mark();
    tracker.line_after(mark, |line| line.contains("looked at")).await;
    assert_eq!(accepted(&receiver), expected);
    tracker.stop().await;
}

#[tokio::test]
async fn volumes_snapshots_and_images_of_ec2_are_told_of() {
    let Some(python) = moto::python("volumes_snapshots_and_images_of_ec2_are_told_of") else { return };
    let moto = Moto::start(python).await;
    let instance = moto.boto(&["run"]).await.remove(0);
    let folder = tempfile::tempdir().unwrap();
    let settings = [
        ("TRACKER_DRIVERS__EC2__ENDPOINT", moto.endpoint()),
        ("TRACKER_POLL__IMAGES_CRON", "* * * * * *"),
        ("TRACKER_POLL__STORAGE_VOLUMES_CRON", "* * * * * *"),
        ("TRACKER_POLL__STORAGE_SNAPSHOTS_CRON", "* * * * * *"),
        ("TRACKER_POLL__SPREAD_MS", "0"),
        ("TRACKER_POLL__QUIET_WAIT_MS", "1"),
        ("TRACKER_POLL__QUIET_WAIT_MAX_MS", "1"),
        ("TRACKER_POLL__ABSENCE__YOUNG_FOR_MS", "0"),
        ("TRACKER_POLL__ABSENCE__CONFIRM_AFTER_MS", "100"),
    ];
    let mut tracker = Tracker::start(folder.path(), &settings).await;
    let api = format!("{};driver=ec2;provider=us-east-1", tracker.base);
    let ask = async |method: Method, path: &str| {
        let asked = client().request(method, format!("{api}/{path}")).basic_auth(KEY_ID, Some(KEY)).send();
        let answer = asked.await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    };
    for collection in ["storage_volumes", "storage_snapshots", "images"] {
        let (status, text) = ask(Method::PUT, &format!("{collection}?track_hook=feed")).await;
        assert_eq!(status, StatusCode::OK, "{text}");
    }

    // Made by others, seen by Tracker; `told` waits for the log, as the feed would count as read.
    let mut told = async |line: String| tracker.line_after(0, |found| found.contains(&line)).await;
    let call = async |method: &str, arguments: serde_json::Value| {
        let said = moto.boto(&["call", method, &arguments.to_string()]).await.join("\n");
        serde_json::from_str::<serde_json::Value>(&said).unwrap()
    };
    let volume = call("create_volume", serde_json::json!({"AvailabilityZone": "us-east-1a", "Size": 2})).await;
    let volume = volume["VolumeId"].as_str().unwrap().to_owned();
    told(format!("storage_volumes {volume} appeared, AVAILABLE")).await;
    let place = serde_json::json!({"VolumeId": volume, "InstanceId": instance, "Device": "/dev/sdf"});
    call("attach_volume", place.clone()).await;
    told(format!("storage_volumes {volume} AVAILABLE -> IN-USE")).await;
    call("detach_volume", place).await;
    told(format!("storage_volumes {volume} IN-USE -> AVAILABLE")).await;
    let snapshot = call("create_snapshot", serde_json::json!({"VolumeId": volume})).await;
    let snapshot = snapshot["SnapshotId"].as_str().unwrap().to_owned();
    told(format!("storage_snapshots {snapshot} appeared, completed")).await;
    call("delete_snapshot", serde_json::json!({"SnapshotId": snapshot})).await;
    told(format!("storage_snapshots {snapshot} completed -> gone")).await;
    call("delete_volume", serde_json::json!({"VolumeId": volume})).await;
    told(format!("storage_volumes {volume} AVAILABLE -> gone")).await;
    let image = moto.boto(&["image", &instance, "golden"]).await.remove(0);
    told(format!("images {image} appeared, available")).await;

    let (_, feed) = ask(Method::GET, "changes?after=0").await;
    let feed: serde_json::Value = serde_json::from_str(&feed).unwrap();
    let attached = feed.as_array().unwrap().iter().find(|change| change["to"]["state"] == "IN-USE").unwrap();
    assert_eq!((&attached["type"], &attached["to"]["instance"]), (&"volume.state".into(), &instance.as_str().into()));
    let (_, shown) = ask(Method::GET, &format!("images/{image}")).await;
    assert!(shown.contains("<state>available</state>") && shown.contains("<tracking hook='feed'"), "{shown}");
    tracker.stop().await;
}
