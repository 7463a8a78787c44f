//! Every step of a server's life that was recorded of a real Nova, read through the driver.

use std::collections::{BTreeMap, BTreeSet};

use tracker::drivers::Kind;
use tracker::model::{Action, Fault, FaultKind, Instance, InstanceId, InstanceState, NewInstance};

use super::stub::{Says, Stub};
use super::{PROJECT, SERVER, driver, login};

use Action::{Destroy, Reboot, Start, Stop};
use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping};

macro_rules! steps {
    ($($name:literal => $native:literal, $state:expr, $settling:literal, $actions:expr;)*) => {
        &[$(($name, recorded!($name), $native, $state, $settling, &$actions)),*]
    };
}

type Step = (&'static str, &'static str, &'static str, InstanceState, bool, &'static [Action]);

const UP: [Action; 3] = [Reboot, Stop, Destroy];
const OFF: [Action; 2] = [Start, Destroy];
const END: [Action; 1] = [Destroy];
const NONE: [Action; 0] = [];

/// In the order in which they were recorded.
const STEPS: &[Step] = steps! {
    "server-build-1" => "BUILD/scheduling", Pending, true, END;
    "server-build-2" => "ACTIVE", Running, false, UP;
    "server-stop-1" => "ACTIVE/powering-off", Stopping, true, NONE;
    "server-stop-2" => "SHUTOFF", Stopped, false, OFF;
    "server-start-1" => "SHUTOFF/powering-on", Pending, true, END;
    "server-start-2" => "ACTIVE", Running, false, UP;
    "server-reboot-1" => "HARD_REBOOT/rebooting_hard", Pending, true, END;
    "server-reboot-2" => "HARD_REBOOT/reboot_pending_hard", Pending, true, END;
    "server-reboot-3" => "ACTIVE", Running, false, UP;
    "server-pause-1" => "PAUSED", Stopped, false, OFF;
    "server-unpause-1" => "PAUSED/unpausing", Pending, true, END;
    "server-unpause-2" => "ACTIVE", Running, false, UP;
    "server-suspend-1" => "ACTIVE/suspending", Stopping, true, NONE;
    "server-suspend-2" => "SUSPENDED", Stopped, false, OFF;
    "server-resume-1" => "SUSPENDED/resuming", Pending, true, END;
    "server-resume-2" => "ACTIVE", Running, false, UP;
    "server-rescue-1" => "ACTIVE/rescuing", Pending, true, END;
    "server-rescue-2" => "RESCUE", Running, false, END;
    "server-unrescue-1" => "RESCUE/unrescuing", Pending, true, END;
    "server-unrescue-2" => "ACTIVE", Running, false, UP;
    "server-shelve-1" => "ACTIVE/shelving", Stopping, true, NONE;
    "server-shelve-2" => "SHELVED/shelving_offloading", Stopped, false, OFF;
    "server-shelve-3" => "SHELVED_OFFLOADED", Stopped, false, OFF;
    "server-unshelve-1" => "SHELVED_OFFLOADED/unshelving", Pending, true, END;
    "server-unshelve-2" => "SHELVED_OFFLOADED/spawning", Pending, true, END;
    "server-unshelve-3" => "ACTIVE", Running, false, UP;
    "server-resetstate-error-1" => "ERROR", Error, false, END;
    "server-reset-active-1" => "ACTIVE", Running, false, UP;
    "server-delete-1" => "ACTIVE/deleting", Stopping, true, NONE;
    "server-delete-2" => "DELETED", Finish, false, NONE;
};

fn flavors() -> Says {
    Says::Recorded(recorded!("compute-flavors"))
}

#[tokio::test]
async fn every_recorded_step_of_a_life_is_read_as_it_is_meant() {
    // The first server brings the flavors' names, which are kept.
    let looks = STEPS.iter().map(|step| Says::Recorded(step.1));
    let mut script: Vec<Says> = looks.collect();
    script.insert(1, flavors());
    script.push(Says::Recorded(recorded!("server-404")));
    let (stub, settings) = Stub::start(script).await;
    let (driver, login, id) = (driver(settings), login(None), InstanceId::from(SERVER));
    for (name, _, native, state, settling, actions) in STEPS {
        let seen = driver.instance(&login, &id).await.expect("a look").expect(name);
        assert_eq!((seen.id.as_str(), seen.native_state.as_str()), (SERVER, *native), "{name}");
        assert_eq!((seen.state, seen.settling, seen.actions.as_slice()), (*state, *settling, *actions), "{name}");
        assert_eq!((&seen.fault, seen.impaired), (&None, false), "{name}");
        assert_eq!(seen.hardware_profile.as_deref(), Some("42"), "{name}: by the flavor's name");
        let offloaded = native.starts_with("SHELVED_OFFLOADED") && seen.realm.is_none();
        assert!(offloaded || seen.realm.as_deref() == Some("az-b"), "{name}");
    }
    assert_eq!(driver.instance(&login, &id).await.expect("a look"), None, "and then it is gone");
    assert_eq!(stub.asked_keystone().len(), 1, "one token for all of it");
    stub.end();
}

#[tokio::test]
async fn a_launch_into_a_dead_zone_is_evidence_of_it() {
    let dead = Says::Recorded(recorded!("server-fault-novalidhost"));
    let (stub, settings) = Stub::start([dead, flavors()]).await;
    let id = InstanceId::from("8af694b6-72d2-4222-9bc2-5ccdd2e6357a");
    let seen = driver(settings).instance(&login(None), &id).await.expect("a look").expect("there");
    let fault = Fault { kind: FaultKind::Capacity, code: "NoValidHost".to_owned() };
    assert_eq!((seen.state, seen.realm.as_deref(), seen.fault), (Error, Some("az-b"), Some(fault)));
    stub.end();
}

#[tokio::test]
async fn a_server_on_a_dead_host_runs_and_is_impaired() {
    let (stub, settings) = Stub::start([Says::Recorded(recorded!("server-on-dead-host")), flavors()]).await;
    let id = InstanceId::from("8f2b6045-7190-407f-aab7-37fad65ad265");
    let seen = driver(settings).instance(&login(None), &id).await.expect("a look").expect("there");
    assert_eq!((seen.state, seen.native_state.as_str(), seen.impaired), (Running, "ACTIVE", true));
    stub.end();
}

#[tokio::test]
async fn a_launch_that_is_refused_says_who_is_to_blame() {
    let quota = r#"{"forbidden": {"code": 403, "message": "Quota exceeded for cores: Requested 1, but already used 20 of 20 cores"}}"#;
    let script = [
        Says::Recorded(recorded!("server-create-bad-az")),
        Says::Answer(403, vec![], quota.to_owned()),
        Says::Answer(500, vec![], r#"{"computeFault": {"code": 500, "message": "Unexpected API Error."}}"#.to_owned()),
        Says::Answer(502, vec![], "<html>Bad Gateway</html>".to_owned()),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    let profile = Some("42".to_owned());
    let new = NewInstance { image: "img1".to_owned(), hardware_profile: profile, count: 1, ..NewInstance::default() };
    let check = async |kind: Kind, fault: Option<(FaultKind, &str)>| {
        let error = driver.create_instance(&login, &new).await.expect_err("refused");
        let blamed = error.fault.as_ref().map(|fault| (fault.kind, fault.code.as_str()));
        assert_eq!((error.kind, blamed), (kind, fault), "{error}");
    };
    check(Kind::Invalid, Some((FaultKind::Request, "badRequest"))).await;
    check(Kind::Forbidden, Some((FaultKind::Quota, "QuotaExceeded"))).await;
    check(Kind::Unavailable, Some((FaultKind::Infrastructure, "computeFault"))).await;
    check(Kind::Unavailable, None).await;
    stub.end();
}

#[tokio::test]
async fn what_is_created_is_read_back_or_known_by_its_request() {
    let made = Says::Recorded(recorded!("server-create"));
    let read = Says::Recorded(recorded!("server-build-1"));
    let down = Says::Answer(503, vec![], String::new());
    let (stub, settings) = Stub::start([made.clone(), read, flavors(), made, down]).await;
    let (driver, login) = (driver(settings), login(None));
    let new = NewInstance {
        image: "115d5dd8-f0dd-4e78-b100-13ace4710e51".to_owned(),
        realm: Some("az-b".to_owned()),
        hardware_profile: Some("42".to_owned()),
        name: Some("t2".to_owned()),
        count: 1,
        ..NewInstance::default()
    };
    let seen = driver.create_instance(&login, &new).await.expect("created").remove(0);
    let known = driver.create_instance(&login, &new).await.expect("created, and not to be created again").remove(0);
    for one in [&seen, &known] {
        assert_eq!((one.id.as_str(), one.state, one.settling), (SERVER, Pending, true));
        assert_eq!((one.name.as_deref(), one.realm.as_deref()), (Some("t2"), Some("az-b")));
        assert_eq!((one.image.as_deref(), one.hardware_profile.as_deref()), (Some(new.image.as_str()), Some("42")));
    }
    let asked = &stub.asked()[0];
    assert_eq!(asked.line(), "POST /v2.1/servers");
    assert_eq!(asked.header("openstack-api-version"), Some("compute 2.36"), "from 2.37 on a network must be named");
    stub.end();
}

fn none() -> Says {
    Says::Answer(200, vec![], r#"{"servers": []}"#.to_owned())
}

#[tokio::test]
async fn what_changed_is_laid_over_what_is_known() {
    let script = [
        Says::Recorded(recorded!("servers-changes-since-after-delete")),
        flavors(),
        // A full page, behind which there is nothing.
        Says::Recorded(recorded!("servers-changes-since")),
        none(),
        none(),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    let since = "2026-11-21T01:00:30.5Z".parse().expect("a time");
    let known = |all: &[Instance]| all.iter().map(|one| (one.id.clone(), one.clone())).collect::<BTreeMap<_, _>>();
    let states = |all: &[Instance]| all.iter().map(|one| (one.id.0.clone(), one.state)).collect::<BTreeMap<_, _>>();

    let before = [Instance::bare(SERVER, Running, "ACTIVE"), Instance::bare("a-quiet-one", Stopped, "SHUTOFF")];
    let first = driver.instances_again(&login, &known(&before), since).await.expect("a list");
    let (quiet, ended) = (("a-quiet-one".to_owned(), Stopped), (SERVER.to_owned(), Finish));
    assert_eq!(states(&first), BTreeMap::from([quiet.clone(), ended]), "its end is told");

    let second = driver.instances_again(&login, &known(&first), since).await.expect("a list");
    let seen = states(&second);
    assert_eq!((seen.len(), seen.get(SERVER), seen.get("a-quiet-one")), (4, None, Some(&Stopped)), "{seen:?}");
    assert_eq!(seen.values().filter(|state| **state == Running).count(), 3, "new ones came");
    assert!(second.is_sorted_by(|a, b| a.id < b.id));

    let third = driver.instances_again(&login, &known(&second), since).await.expect("a list");
    assert_eq!(third, second, "nothing changed");
    let lines = stub.lines();
    // Two minutes before, and the minute that our clock is ahead of the cloud's.
    let since = "GET /v2.1/servers/detail?limit=1000&changes-since=2026-11-21T00%3A57%3A30Z";
    assert_eq!([&lines[0], &lines[2], &lines[4]], [since; 3]);
    assert_eq!(lines[3], format!("{since}&marker=19875e24-5425-4009-9fb6-ceaca6bcabae"));
    assert_eq!(lines[1], "GET /v2.1/flavors/detail?limit=1000");
    stub.end();
}

#[tokio::test]
async fn old_and_new_clouds_are_read_alike() {
    let pages = [
        recorded!("servers-detail-2.1"),
        recorded!("servers-detail-2.47"),
        recorded!("servers-detail-2.69"),
        recorded!("servers-detail-2.79"),
        recorded!("servers-detail-2.96"),
        recorded!("servers-detail-2.104"),
    ];
    let mut lists = Vec::new();
    for page in pages {
        let has_names = !page.contains("compute 2.1\"");
        let script = [Some(Says::Recorded(page)), has_names.then(flavors)];
        let (stub, settings) = Stub::start(script.into_iter().flatten()).await;
        lists.push(driver(settings).instances(&login(None)).await.expect("a list"));
        stub.end();
    }
    let fault = Fault { kind: FaultKind::Infrastructure, code: "HostMappingNotFound".to_owned() };
    assert_eq!(lists[0].len(), 1);
    assert_eq!((lists[0][0].state, &lists[0][0].fault), (Error, &Some(fault)));
    assert_eq!((lists[0][0].owner.as_deref(), lists[0][0].hardware_profile.as_deref()), (Some(PROJECT), Some("42")));
    assert!(lists.iter().all(|list| *list == lists[0]), "{lists:#?}");
}

#[tokio::test]
async fn a_few_are_looked_for_one_by_one_and_many_in_a_list() {
    let page = recorded!("servers-changes-since");
    let gone = || Says::Recorded(recorded!("server-404"));
    let found = Says::Recorded(recorded!("server-build-2"));
    let script = [Says::Recorded(page), none(), flavors(), gone(), found, gone()];
    let (stub, settings) = Stub::start(script).await;
    let settings = tracker::drivers::OpenStackSettings { looks_max: 3, looks_at_once: 1, ..settings };
    let (driver, login) = (driver(settings), login(None));
    let listed: serde_json::Value = serde_json::from_str(page).expect("a recorded answer");
    let listed = listed["body"]["servers"].as_array().expect("a list").iter();
    let mut ids: BTreeSet<InstanceId> = listed.map(|one| one["id"].as_str().expect("an id").into()).collect();
    assert_eq!(ids.len(), 3);
    ids.insert("00000000-0000-0000-0000-000000000000".into());
    let found = driver.instances_by_id(&login, &ids).await.expect("a look");
    assert_eq!(found.len(), 3, "the fourth was asked for by itself, and was not there");

    let few = BTreeSet::from([SERVER].map(InstanceId::from));
    assert_eq!(driver.instances_by_id(&login, &few).await.expect("a look").len(), 1);
    for bad in ["", "..", &"x".repeat(1_025)] {
        let few = BTreeSet::from([bad, SERVER].map(InstanceId::from));
        let error = driver.instances_by_id(&login, &few).await.expect_err("what would lead elsewhere is not asked for");
        assert_eq!(error.kind, Kind::Invalid, "and so it is not absent: {error}");
    }
    assert_eq!(driver.instances_by_id(&login, &BTreeSet::new()).await.expect("nothing to ask"), []);
    assert_eq!(driver.instance(&login, &InstanceId::from("a/../b")).await.expect("a look"), None);
    assert_eq!(stub.lines().last().map(String::as_str), Some("GET /v2.1/servers/a%2F..%2Fb"));
    stub.end();
}
