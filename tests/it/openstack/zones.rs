//! Zones, and how much of them a role may see.

use serde_json::json;
use tracker::drivers::Kind;
use tracker::model::{Declared, Realm, RealmState};

use super::stub::{Says, Stub, fails, ok};
use super::{driver, login};

fn forbidden() -> Says {
    let message = "Policy doesn't allow os_compute_api:os-availability-zone:detail to be performed.";
    fails(403, &json!({"forbidden": {"code": 403, "message": message}}).to_string())
}

fn seen(realms: &[Realm]) -> Vec<(&str, RealmState, Declared)> {
    realms.iter().map(|realm| (realm.id.as_str(), realm.state, realm.declared)).collect()
}

fn said(realms: &[Realm], source: &str) -> bool {
    realms.iter().all(|realm| realm.messages.last().is_some_and(|message| message.starts_with(source)))
}

const ALIVE: [(&str, RealmState, Declared); 2] =
    [("az-b", RealmState::Available, Declared::Up), ("nova", RealmState::Available, Declared::Up)];
const B_DOWN: [(&str, RealmState, Declared); 2] =
    [("az-b", RealmState::Unavailable, Declared::Down), ("nova", RealmState::Available, Declared::Up)];

#[tokio::test]
async fn an_operator_sees_that_a_zone_is_dead() {
    let script = [
        Says::Recorded(recorded!("compute-azs-detail")),
        Says::Recorded(recorded!("azs-detail-host-down")),
        forbidden(),
        forbidden(),
        ok(&json!({"servers": []})),
        Says::Recorded(recorded!("azs-host-down")),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    let realms = driver.realms(&login).await.expect("zones");
    assert_eq!(seen(&realms), ALIVE);
    assert!(said(&realms, "source operator"), "{realms:?}");
    let realms = driver.realms(&login).await.expect("zones");
    assert_eq!(seen(&realms), B_DOWN);
    assert_eq!(realms[0].messages[0], "0 of 1 compute hosts report; silent: compute2");

    // The role was taken away: less is seen, and said.
    let realms = driver.realms(&login).await.expect("zones");
    assert_eq!(seen(&realms), ALIVE);
    assert!(said(&realms, "source none"), "{realms:?}");
    stub.end();
}

#[tokio::test]
async fn the_list_of_services_does_as_well() {
    let script = [
        forbidden(),
        Says::Recorded(recorded!("services-host-down")),
        Says::Recorded(recorded!("azs-host-down")),
        Says::Recorded(recorded!("compute-services")),
        Says::Recorded(recorded!("compute-azs")),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    let realms = driver.realms(&login).await.expect("zones");
    assert_eq!(seen(&realms), B_DOWN);
    assert!(said(&realms, "source operator"), "{realms:?}");
    assert_eq!(seen(&driver.realms(&login).await.expect("zones")), ALIVE);
    assert_eq!(stub.lines().iter().filter(|line| line.ends_with("/detail")).count(), 1, "probed once");
    stub.end();
}

#[tokio::test]
async fn whoever_sees_no_hosts_is_told_so_and_believes_the_zone() {
    let server = |health: &str| {
        ok(&json!({"servers": [{"id": "a", "status": "ACTIVE", "flavor": {"id": "42"}, "host_status": health}]}))
    };
    let script = [
        forbidden(),
        forbidden(),
        server("UP"),
        Says::Recorded(recorded!("azs-disabled")),
        Says::Recorded(recorded!("azs-host-down")),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver_of_one, login) = (driver(settings), login(None));
    let realms = driver_of_one.realms(&login).await.expect("zones");
    assert_eq!(seen(&realms), B_DOWN, "its operator disabled it");
    assert_eq!(realms[0].native_state, "not available");
    assert!(said(&realms, "source health"), "{realms:?}");
    assert_eq!(seen(&driver_of_one.realms(&login).await.expect("zones")), ALIVE, "a dead zone says nothing");
    stub.end();

    // A gateway before Nova may refuse in words of its own.
    let gateway = || fails(403, r#"{"error_code": "APIGW.0802", "error_msg": "forbidden"}"#);
    let (stub, settings) =
        Stub::start([gateway(), gateway(), server("UP"), Says::Recorded(recorded!("compute-azs"))]).await;
    assert_eq!(seen(&driver(settings).realms(&login).await.expect("zones")), ALIVE);
    stub.end();

    // With no server there was nothing to tell it by; the first list of some does.
    let none = ok(&json!({"servers": []}));
    let zones = || Says::Recorded(recorded!("compute-azs"));
    let (stub, settings) = Stub::start([forbidden(), forbidden(), none, zones(), server("UP"), zones()]).await;
    let driver = driver(settings);
    assert!(said(&driver.realms(&login).await.expect("zones"), "source none"));
    driver.instances(&login).await.expect("a list");
    assert!(said(&driver.realms(&login).await.expect("zones"), "source health"));
    stub.end();
}

#[tokio::test]
async fn zones_that_cannot_be_asked_for_are_an_error_and_never_none() {
    for (what, says) in [
        ("down", fails(503, "")),
        ("a proxy's 404", fails(404, "<html>Not here</html>")),
        ("another list", ok(&json!({"zones": []}))),
        ("half a list", Says::Half(recorded!("compute-azs").to_owned())),
    ] {
        let (stub, settings) = Stub::start([says]).await;
        let error = driver(settings).realms(&login(None)).await.expect_err(what);
        assert_eq!(error.kind, Kind::Unavailable, "{what}: {error}");
        stub.end();
    }
}
