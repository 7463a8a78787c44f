//! Against moto, which knows EC2 well.

use std::collections::BTreeSet;

use tracker::clock::SystemClock;
use tracker::drivers::{Ec2Settings, Kind};
use tracker::model::{Action, InstanceId, InstanceState, NewInstance, RealmState};

use super::{at, driver as driver_at, ids, login};
use crate::support::moto::{self, Moto};

/// The driver and boto3 on one cloud, each seeing what the other does.
#[tokio::test]
async fn moto_is_watched_and_used_like_ec2() {
    let Some(python) = moto::python("moto_is_watched_and_used_like_ec2") else { return };
    let moto = Moto::start(python).await;
    let driver = driver_at(Ec2Settings { page_size: 5, ..at(moto.endpoint()) }, &["127.0.0.0/8"]);
    let login = login(Some("us-east-1"));

    assert_eq!(driver.identify(&login).await.expect("STS"), "123456789012");
    let realms = driver.realms(&login).await.expect("zones");
    assert!(realms.iter().any(|realm| realm.id == "us-east-1a" && realm.state == RealmState::Available), "{realms:?}");
    assert_eq!(driver.instances(&login).await.expect("an empty list"), []);

    // Twelve reservations, five to a page.
    let made = moto.boto(&["run", "12"]).await;
    let listed = driver.instances(&login).await.expect("all pages");
    assert_eq!(ids(&listed).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), made.iter().cloned().collect());
    assert!(listed.iter().all(|instance| instance.state == InstanceState::Running), "{listed:?}");
    let short = driver_at(Ec2Settings { page_size: 5, pages_max: 2, ..at(moto.endpoint()) }, &["127.0.0.0/8"]);
    let error = short.instances(&login).await.expect_err("moto really needs three pages");
    assert!(error.text.contains("pages_max"), "{error}");

    // What boto3 does is seen, by a targeted look that also asks for what never was.
    let id = InstanceId(made[0].clone());
    moto.boto(&["name", id.as_str(), "web"]).await;
    moto.boto(&["stop", id.as_str()]).await;
    let wanted = BTreeSet::from([id.clone(), InstanceId::from("i-00000000000000000")]);
    let stopped = driver.instances_by_id(&login, &wanted).await.expect("a look").remove(0);
    assert_eq!((stopped.state, stopped.name.as_deref()), (InstanceState::Stopped, Some("web")));
    assert_eq!(stopped.actions, [Action::Start, Action::Destroy]);
    assert_eq!(driver.instance(&login, &InstanceId::from("i-*")).await.expect("no wildcard"), None);

    // What the driver does is seen by boto3.
    let image = moto.boto(&["image", id.as_str(), "golden"]).await.remove(0);
    let new = NewInstance {
        image: image.clone(),
        realm: Some("us-east-1b".to_owned()),
        hardware_profile: Some("m5d.large".to_owned()),
        key_name: Some("alice".to_owned()),
        user_data: Some(b"#!/bin/sh\necho hello\n".to_vec().into()),
        count: 2,
        ..NewInstance::default()
    };
    let created = driver.create_instance(&login, &new).await.expect("created");
    assert_eq!(created.len(), 2);
    assert_eq!((created[0].state, created[0].settling), (InstanceState::Pending, true));
    assert_eq!(created[0].realm.as_deref(), Some("us-east-1b"));
    let mine = created[0].id.clone();
    for (action, native) in [(Action::Stop, "stopped"), (Action::Start, "running"), (Action::Reboot, "running")] {
        driver.act(&login, &mine, action).await.expect("done").expect("still there");
        let listed = moto.boto(&["list"]).await;
        assert!(listed.contains(&format!("{mine} {native}")), "after {action:?}: {listed:?}");
    }
    driver.act(&login, &mine, Action::Destroy).await.expect("done");
    let ended = driver.instance(&login, &mine).await.expect("a look").expect("listed for a while");
    assert_eq!((ended.state, ended.native_state.as_str()), (InstanceState::Finish, "terminated"));
    assert_eq!(ended.actions, []);
    let unknown = driver.act(&login, &InstanceId::from("i-00000000000000000"), Action::Stop).await;
    assert_eq!(unknown.expect_err("never was").kind, Kind::NotFound);

    // Images: one's own are listed, any can be looked up.
    let images = driver.images(&login).await.expect("own images");
    assert_eq!(images.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), [image.as_str()]);
    assert_eq!(driver.image(&login, &image).await.expect("a look").map(|image| image.name).as_deref(), Some("golden"));
    assert_eq!(driver.image(&login, "ami-00000000").await.expect("a clear answer"), None);

    let profiles = driver.hardware_profiles(&login).await.expect("all types");
    let one = profiles.iter().find(|profile| profile.id == "m5d.large").expect("listed");
    let sizes: Vec<_> = one.properties.iter().map(|property| (property.name, property.value.as_str())).collect();
    assert_eq!(sizes, [("cpu", "2"), ("memory", "8192"), ("storage", "75"), ("architecture", "x86_64")]);
}

/// The judge of callbacks is itself judged: one that always nods would be worse than none.
#[tokio::test]
async fn the_public_library_tells_good_signatures_from_bad_ones() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use hmac::{Hmac, KeyInit as _, Mac as _};

    let Some(python) = moto::python("the_public_library_tells_good_signatures_from_bad_ones") else { return };
    let key = [7; 32];
    let secret = format!("whsec_{}", BASE64.encode(key));
    let now = tracker::clock::Clock::now(&SystemClock).as_second().to_string();
    let body = r#"{"type":"instance.state"}"#;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).expect("any length");
    mac.update(format!("chg_1.{now}.{body}").as_bytes());
    let signature = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
    let headers =
        [("Webhook-Id", "chg_1"), ("webhook-timestamp", now.as_str()), ("webhook-signature", signature.as_str())];

    let good = moto::verify(&python, &secret, &headers, body).await;
    assert_eq!(good.status, 0, "{good:?}");
    assert!(good.stdout.contains("instance.state"), "{good:?}");
    let other_body = moto::verify(&python, &secret, &headers, r#"{"type":"instance.gone"}"#).await;
    assert_eq!(other_body.status, 1, "{other_body:?}");
    let no_headers = moto::verify(&python, &secret, &headers[..2], body).await;
    assert_eq!(no_headers.status, 1, "{no_headers:?}");
}
