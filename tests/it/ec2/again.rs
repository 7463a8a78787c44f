//! A list made cheaper by what is known, and what only EC2 itself can be asked: against a server that answers as scripted.

use std::collections::BTreeMap;

use jiff::Timestamp;
use tracker::drivers::{Driver, Ec2Settings, Kind};
use tracker::model::{Announced, Collection, FaultKind, Instance, InstanceId, NewInstance};

use super::stub::{Asked, Says, Stub, fails, ok};
use super::{PAGE_1, PAGE_2, driver, login};

const STATUS_1: &str = recorded!("DescribeInstanceStatus-1");
const STATUS_2: &str = recorded!("DescribeInstanceStatus-2");
const NO_STATUS: &str = "<DescribeInstanceStatusResponse><instanceStatusSet/></DescribeInstanceStatusResponse>";

async fn again(driver: &dyn Driver, known: &[Instance]) -> Result<Vec<Instance>, tracker::drivers::Error> {
    let known: BTreeMap<InstanceId, Instance> = known.iter().map(|one| (one.id.clone(), one.clone())).collect();
    driver.instances_again(&login(None), &known, Timestamp::UNIX_EPOCH).await
}

/// Those of both recorded pages.
async fn all() -> Vec<Instance> {
    let (_, settings) = Stub::start([ok(PAGE_1), ok(PAGE_2), ok(NO_STATUS)]).await;
    driver(settings, &["127.0.0.0/8"]).instances(&login(None)).await.expect("a list")
}

fn actions(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(|asked| asked.get("Action").expect("named")).collect()
}

#[tokio::test]
async fn nothing_moved_is_the_short_list_alone_in_full_pages() {
    let known = all().await;
    let (stub, settings) = Stub::start([ok(STATUS_1), ok(STATUS_2)]).await;
    let listed = again(driver(settings, &["127.0.0.0/8"]).as_ref(), &known).await.expect("a list");

    let asked = stub.asked();
    let pages: Vec<_> = asked.iter().map(|page| (page.get("MaxResults"), page.get("NextToken"))).collect();
    assert_eq!(actions(&asked), ["DescribeInstanceStatus", "DescribeInstanceStatus"]);
    assert_eq!(pages, [(Some("1000"), None), (Some("1000"), Some("eyJ2IjoiMiIsInMiOiJtb3JlIn0="))]);
    assert!(asked.iter().all(|page| page.get("IncludeAllInstances") == Some("true")));

    // One is in no page, so it is not there; one is not well; all else is as it was.
    let mut expected = known;
    expected.retain(|instance| instance.id.as_str() != "i-0a00000000000d004");
    for instance in &mut expected {
        let sick = instance.id.as_str() == "i-0f00ba4f00ba4f001";
        instance.impaired = sick;
        let retirement = Announced {
            what: "instance-retirement".to_owned(),
            text: "The instance is running on degraded hardware".to_owned(),
            not_before: Some("2026-12-01T00:00:00Z".parse().expect("an instant")),
            not_after: None,
        };
        instance.announced = Some(sick.then_some(retirement).into_iter().collect());
    }
    assert_eq!(listed, expected);
    stub.end();
}

#[tokio::test]
async fn a_full_list_knows_what_is_impaired_where_that_can_be_asked() {
    let forbidden = fails(403, recorded!("error-UnauthorizedOperation"));
    let one = STATUS_1.replace("<nextToken>eyJ2IjoiMiIsInMiOiJtb3JlIn0=</nextToken>", "");
    for (status, impaired) in [(ok(&one), vec!["i-0f00ba4f00ba4f001"]), (forbidden, vec![])] {
        let (stub, settings) = Stub::start([ok(PAGE_1), ok(PAGE_2), status]).await;
        let listed = driver(settings, &["127.0.0.0/8"]).instances(&login(None)).await.expect("a list");
        let announced = listed.iter().filter(|one| one.announced.as_ref().is_some_and(|all| !all.is_empty()));
        assert_eq!(announced.map(|one| one.id.as_str()).collect::<Vec<_>>(), impaired, "the same one is to be retired");
        let sick: Vec<_> = listed.iter().filter(|one| one.impaired).map(|one| one.id.as_str()).collect();
        assert_eq!((listed.len(), sick), (8, impaired));
        assert_eq!(stub.asked()[2].get("IncludeAllInstances"), None, "only of those that run");
        stub.end();
    }
    let (stub, settings) = Stub::start([ok(PAGE_1), ok(PAGE_2), fails(500, recorded!("error-InternalError"))]).await;
    let error = driver(settings, &["127.0.0.0/8"]).instances(&login(None)).await.expect_err("half of what is wanted");
    assert_eq!(error.kind, Kind::Unavailable);
    stub.end();
}

#[tokio::test]
async fn details_are_asked_of_the_new_and_the_moved_alone() {
    let mut known = all().await;
    known.retain(|instance| instance.id.as_str() != "i-0a00000000000d002");
    known[5].native_state = "pending".to_owned();
    assert_eq!(known[4].id.as_str(), "i-0c7a1f2e3d4b5a601");
    known[4].native_state = "stopped".to_owned();
    let (stub, settings) = Stub::start([ok(STATUS_1), ok(STATUS_2), ok(PAGE_1), ok(PAGE_2)]).await;
    let listed = again(driver(settings, &["127.0.0.0/8"]).as_ref(), &known).await.expect("a list");

    let asked = stub.asked();
    assert_eq!(
        actions(&asked),
        ["DescribeInstanceStatus", "DescribeInstanceStatus", "DescribeInstances", "DescribeInstances"],
        "the look's second page is its own"
    );
    let wanted: Vec<_> = asked[2].form.iter().filter(|(name, _)| name.starts_with("Filter.1.")).collect();
    let wanted: Vec<_> = wanted.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(wanted, ["instance-id", "i-0a00000000000d002", "i-0c7a1f2e3d4b5a601"]);
    let of = |id: &str| listed.iter().find(|instance| instance.id.as_str() == id).expect("listed");
    assert_eq!(of("i-0c7a1f2e3d4b5a601").native_state, "running");
    let ended = of("i-0a00000000000d002");
    assert_eq!(ended.fault.as_ref().map(|fault| fault.kind), Some(FaultKind::Request), "a user ended it");
    stub.end();
}

#[tokio::test]
async fn a_short_list_that_breaks_is_an_error_and_one_that_is_not_to_be_had_is_replaced() {
    let forbidden = || fails(403, recorded!("error-UnauthorizedOperation"));
    let unknown = || fails(400, "<Response><Errors><Error><Code>InvalidAction</Code></Error></Errors></Response>");
    for instead in [forbidden(), unknown()] {
        let (stub, settings) = Stub::start([instead, ok(PAGE_1), ok(PAGE_2)]).await;
        let listed = again(driver(settings, &["127.0.0.0/8"]).as_ref(), &[]).await.expect("the long list");
        assert_eq!(listed.len(), 8);
        assert!(listed.iter().all(|instance| !instance.impaired));
        stub.end();
    }

    let known = all().await;
    let broken: [(&str, Vec<Says>, Kind); 4] = [
        ("page 2", vec![ok(STATUS_1), fails(500, recorded!("error-InternalError"))], Kind::Unavailable),
        ("half a page 2", vec![ok(STATUS_1), Says::Half(STATUS_2.to_owned())], Kind::Unavailable),
        ("a portal", vec![ok("<html>Please sign in</html>")], Kind::Unavailable),
        ("details", vec![ok(STATUS_1), ok(STATUS_2), fails(401, recorded!("error-AuthFailure"))], Kind::Denied),
    ];
    for (what, script, kind) in broken {
        let (stub, settings) = Stub::start(script).await;
        let known = if what == "details" { &known[1..] } else { &known[..] };
        let error = again(driver(settings, &["127.0.0.0/8"]).as_ref(), known).await.expect_err(what);
        assert_eq!(error.kind, kind, "{what}: {error}");
        stub.end();
    }
}

#[tokio::test]
async fn an_honest_empty_list_is_empty() {
    let known = all().await;
    let (stub, settings) = Stub::start([ok(NO_STATUS)]).await;
    assert_eq!(again(driver(settings, &["127.0.0.0/8"]).as_ref(), &known).await.expect("a list"), []);
    stub.end();
}

#[tokio::test]
async fn where_much_is_new_the_whole_list_is_asked_for() {
    let one = |at| {
        format!("<item><instanceId>i-{at:03}</instanceId><instanceState><name>running</name></instanceState></item>")
    };
    let many = |count| {
        NO_STATUS.replace("<instanceStatusSet/>", &{
            let all: String = (0..count).map(one).collect();
            format!("<instanceStatusSet>{all}</instanceStatusSet>")
        })
    };
    for (new, filtered) in [(200, true), (201, false)] {
        let (stub, settings) = Stub::start([ok(&many(new)), ok(PAGE_1), ok(PAGE_2)]).await;
        again(driver(settings, &["127.0.0.0/8"]).as_ref(), &[]).await.expect("a list");
        let asked = stub.asked();
        assert_eq!(asked[1].get("Filter.1.Name").is_some(), filtered, "{new} new ones");
        stub.end();
    }
}

#[tokio::test]
async fn whether_one_may_is_asked_without_doing_it() {
    let would = || fails(412, recorded!("error-DryRunOperation"));
    let may_not = || fails(403, recorded!("error-UnauthorizedOperation"));
    let not_found = || fails(400, recorded!("error-InvalidInstanceID.NotFound"));
    let wrong_state = || fails(400, recorded!("error-IncorrectInstanceState"));
    let broken = || fails(500, recorded!("error-InternalError"));
    type Case = (Collection, &'static str, Vec<Says>, Result<Option<bool>, Kind>, &'static [&'static str]);
    let stop_reboot_terminate = &["StopInstances", "RebootInstances", "TerminateInstances"];
    let cases: Vec<Case> = vec![
        (Collection::Instances, "InstanceId.1", vec![would()], Ok(Some(true)), &stop_reboot_terminate[..1]),
        (Collection::Instances, "InstanceId.1", vec![may_not(), would()], Ok(Some(true)), &stop_reboot_terminate[..2]),
        (
            Collection::Instances,
            "InstanceId.1",
            vec![may_not(), may_not(), may_not()],
            Ok(Some(false)),
            stop_reboot_terminate,
        ),
        (Collection::Instances, "InstanceId.1", vec![wrong_state()], Ok(None), &stop_reboot_terminate[..1]),
        (Collection::Instances, "InstanceId.1", vec![not_found()], Err(Kind::NotFound), &stop_reboot_terminate[..1]),
        (Collection::Instances, "InstanceId.1", vec![broken()], Err(Kind::Unavailable), &stop_reboot_terminate[..1]),
        (Collection::Images, "ImageId", vec![may_not()], Ok(Some(false)), &["DeregisterImage"]),
        (
            Collection::StorageVolumes,
            "VolumeId",
            vec![may_not(), would()],
            Ok(Some(true)),
            &["DetachVolume", "DeleteVolume"],
        ),
        (Collection::StorageSnapshots, "SnapshotId", vec![would()], Ok(Some(true)), &["DeleteSnapshot"]),
        (Collection::Realms, "", vec![], Ok(None), &[]),
        // It did it: whoever set the setting is to know.
        (
            Collection::Instances,
            "InstanceId.1",
            vec![ok(recorded!("StopInstances"))],
            Err(Kind::Failed),
            &stop_reboot_terminate[..1],
        ),
    ];
    for (collection, name, script, expected, calls) in cases {
        let (stub, settings) = Stub::start(script).await;
        let settings = Ec2Settings { dry_run_anywhere: true, ..settings };
        let said = driver(settings, &["127.0.0.0/8"]).may_modify(&login(None), collection, "x-1").await;
        if let Err(error) = &said {
            assert!(!error.text.contains("4GIOHlTk"), "{error}");
        }
        assert_eq!(said.map_err(|error| error.kind), expected, "{collection} {calls:?}");
        let asked = stub.asked();
        assert_eq!(actions(&asked), calls);
        assert!(asked.iter().all(|call| call.get("DryRun") == Some("true") && call.get(name) == Some("x-1")));
        stub.end();
    }
}

#[tokio::test]
async fn a_cloud_that_may_not_know_dry_runs_is_not_asked() {
    let (stub, settings) = Stub::start([]).await;
    let said = driver(settings, &["127.0.0.0/8"]).may_modify(&login(None), Collection::Instances, "i-1").await;
    assert_eq!(said.expect("nobody is asked"), None);
    stub.end();
}

#[tokio::test]
async fn a_launch_that_fails_says_who_is_to_blame() {
    let check = async |says: Says, expected: Option<(FaultKind, &str)>| {
        let (stub, settings) = Stub::start([says]).await;
        let new = NewInstance { image: "ami-1".to_owned(), count: 1, ..NewInstance::default() };
        let error = driver(settings, &["127.0.0.0/8"]).create_instance(&login(None), &new).await.expect_err("refused");
        assert_eq!(error.fault.as_ref().map(|fault| (fault.kind, fault.code.as_str())), expected, "{error}");
        stub.end();
    };
    let capacity = recorded!("error-InsufficientInstanceCapacity");
    check(fails(500, capacity), Some((FaultKind::Capacity, "InsufficientInstanceCapacity"))).await;
    let internal = recorded!("error-InternalError");
    check(fails(500, internal), Some((FaultKind::Infrastructure, "InternalError"))).await;
    let quota = internal.replace("InternalError", "VcpuLimitExceeded");
    check(fails(400, &quota), Some((FaultKind::Quota, "VcpuLimitExceeded"))).await;
    let no_image = recorded!("error-InvalidAMIID.NotFound");
    check(fails(400, no_image), Some((FaultKind::Request, "InvalidAMIID.NotFound"))).await;
    check(fails(503, recorded!("error-RequestLimitExceeded")), None).await;
    check(fails(401, recorded!("error-AuthFailure")), None).await;
    check(fails(502, "<html>Bad Gateway</html>"), None).await;
}

#[tokio::test]
async fn only_a_launch_is_blamed_on_anybody() {
    let (stub, settings) = Stub::start([fails(500, recorded!("error-InternalError"))]).await;
    let error = driver(settings, &["127.0.0.0/8"]).instances(&login(None)).await.expect_err("broken");
    assert_eq!(error.fault, None);
    stub.end();
}
