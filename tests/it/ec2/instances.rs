//! Machines, against a server that answers as scripted.

use std::collections::BTreeSet;
use std::time::Duration;

use tracker::drivers::{Ec2Settings, Kind};
use tracker::model::{Action, InstanceId, InstanceState, NewInstance};

use super::stub::{Says, Stub, fails, ok};
use super::{PAGE_1, PAGE_2, driver, ids, login};

#[tokio::test]
async fn a_list_is_all_its_pages_in_order() {
    let no_status = "<DescribeInstanceStatusResponse><instanceStatusSet/></DescribeInstanceStatusResponse>";
    let (stub, settings) = Stub::start([ok(PAGE_1), ok(PAGE_2), ok(no_status)]).await;
    let instances = driver(settings, &["127.0.0.0/8"]).instances(&login(Some("eu-west-1"))).await.expect("a list");
    assert_eq!(
        ids(&instances),
        [
            "i-0a00000000000d001",
            "i-0a00000000000d002",
            "i-0a00000000000d003",
            "i-0a00000000000d004",
            "i-0a00000000000d005",
            "i-0c7a1f2e3d4b5a601",
            "i-0c7a1f2e3d4b5a602",
            "i-0f00ba4f00ba4f001",
        ]
    );

    let mut asked = stub.asked();
    assert_eq!(asked.pop().expect("of the checks").get("Action"), Some("DescribeInstanceStatus"));
    let pages: Vec<_> = asked.iter().map(|page| (page.get("MaxResults"), page.get("NextToken"))).collect();
    assert_eq!(pages, [(Some("1000"), None), (Some("1000"), Some("eyJ2IjoiMiIsImMiOiJtb3JlIn0="))]);
    for page in &asked {
        assert_eq!((page.get("Action"), page.get("Version")), (Some("DescribeInstances"), Some("2016-11-15")));
        let signed = page.headers["authorization"].to_str().expect("text");
        assert!(signed.contains("/eu-west-1/ec2/aws4_request, SignedHeaders=content-type;host;x-amz-date"), "{signed}");
    }
    stub.end();
}

#[tokio::test]
async fn a_list_that_breaks_on_its_second_page_is_an_error_of_the_right_kind() {
    let throttled = |seconds| Kind::Throttled { after: Some(Duration::from_secs(seconds)) };
    let cases: Vec<(&str, Says, Kind)> = vec![
        ("server fault", fails(500, recorded!("error-InternalError")), Kind::Unavailable),
        ("bad gateway", fails(502, "<html>Bad Gateway</html>"), Kind::Unavailable),
        ("portal", ok("<html>Please sign in</html>"), Kind::Unavailable),
        ("empty", ok(""), Kind::Unavailable),
        ("half a list", ok(&PAGE_2[..PAGE_2.len() / 2]), Kind::Unavailable),
        ("half an answer", Says::Half(PAGE_2.to_owned()), Kind::Unavailable),
        ("throttled", Says::Later(503, "7", recorded!("error-RequestLimitExceeded").to_owned()), throttled(7)),
        ("too many", Says::Later(429, "9", String::new()), throttled(9)),
        ("credentials", fails(401, recorded!("error-AuthFailure")), Kind::Denied),
        ("nothing in time", Says::Nothing, Kind::TimedOut),
        ("too long", ok(&PAGE_2.replace("    ", &" ".repeat(4096))), Kind::Unavailable),
        ("the same page again", ok(PAGE_1), Kind::Unavailable),
    ];
    for (what, second, kind) in cases {
        let (stub, settings) = Stub::start([ok(PAGE_1), second]).await;
        let page_timeout_ms = if kind == Kind::TimedOut { 200 } else { settings.page_timeout_ms };
        let settings = Ec2Settings { page_timeout_ms, body_bytes_max: 100_000, ..settings };
        let error = driver(settings, &["127.0.0.0/8"]).instances(&login(None)).await.expect_err(what);
        assert_eq!(error.kind, kind, "{what}: {error}");
        assert!(error.text.contains("DescribeInstances"), "{what}: {error}");
        stub.end();
    }
}

#[tokio::test]
async fn a_list_of_more_pages_than_the_bound_is_an_error() {
    let (stub, settings) = Stub::start([ok(PAGE_1)]).await;
    let settings = Ec2Settings { pages_max: 1, ..settings };
    let error = driver(settings, &["127.0.0.0/8"]).instances(&login(None)).await.expect_err("one page more");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.text.contains("pages_max"), "{error}");
    stub.end();
}

#[tokio::test]
async fn a_targeted_look_filters_and_gives_only_what_was_asked_for() {
    let (stub, settings) = Stub::start([ok(PAGE_2), ok(PAGE_2), ok(PAGE_2)]).await;
    let driver = driver(settings, &["127.0.0.0/8"]);
    let wanted: BTreeSet<InstanceId> =
        (0..401).map(|at| InstanceId(format!("i-{at:03}"))).chain([InstanceId::from("i-0a00000000000d004")]).collect();
    let found = driver.instances_by_id(&login(None), &wanted).await.expect("a look");
    assert_eq!(ids(&found), ["i-0a00000000000d004"], "once, though three answers held it, and none of the others");

    let sizes: Vec<usize> = stub
        .asked()
        .iter()
        .map(|asked| {
            assert_eq!((asked.get("Filter.1.Name"), asked.get("InstanceId.1")), (Some("instance-id"), None));
            asked.form.iter().filter(|(name, _)| name.starts_with("Filter.1.Value.")).count()
        })
        .collect();
    assert_eq!(sizes, [200, 200, 2]);
    assert_eq!(driver.instances_by_id(&login(None), &BTreeSet::new()).await.expect("nothing to ask"), []);
    stub.end();
}

#[tokio::test]
async fn an_action_answers_with_the_newer_state() {
    // The list still says what was before; then it has moved on; then it does not know the instance any more.
    let gone = "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>";
    let stop = recorded!("StopInstances");
    let script = [stop, PAGE_1, PAGE_2, stop, &PAGE_1.replace("running", "stopped"), PAGE_2, stop, gone];
    let (stub, settings) = Stub::start(script.map(ok)).await;
    let driver = driver(settings, &["127.0.0.0/8"]);
    let id = InstanceId::from("i-0c7a1f2e3d4b5a601");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let read = driver.act(&login(None), &id, Action::Stop).await.expect("it was asked for");
        seen.push(read.map(|instance| (instance.state, instance.settling)));
    }
    assert_eq!(seen, [Some((InstanceState::Stopping, true)), Some((InstanceState::Stopped, false)), None]);
    assert_eq!(stub.asked()[0].get("InstanceId.1"), Some("i-0c7a1f2e3d4b5a601"));
    stub.end();
}

#[tokio::test]
async fn a_refusal_says_what_can_be_done() {
    let not_found = recorded!("error-InvalidInstanceID.NotFound");
    let wrong_state = recorded!("error-IncorrectInstanceState");
    let no_image = recorded!("error-InvalidAMIID.NotFound");
    let script = [not_found, wrong_state, no_image, recorded!("error-sts-InvalidClientTokenId")];
    let (stub, settings) = Stub::start(script.map(|body| fails(400, body))).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let id = InstanceId::from("i-1a2b3c4d");

    assert_eq!(driver.act(&login, &id, Action::Reboot).await.expect_err("unknown").kind, Kind::NotFound);
    assert_eq!(driver.act(&login, &id, Action::Start).await.expect_err("it runs").kind, Kind::Conflict);
    let new = NewInstance { image: "ami-0bad".to_owned(), count: 1, ..NewInstance::default() };
    let error = driver.create_instance(&login, &new).await.expect_err("no such image");
    assert_eq!(error.kind, Kind::Invalid);
    assert!(error.text.contains("InvalidAMIID.NotFound: The image id '[ami-0bad]' does not exist"), "{error}");
    assert_eq!(driver.identify(&login).await.expect_err("a wrong key").kind, Kind::Denied);
    stub.end();
}

#[tokio::test]
async fn an_action_that_cannot_be_looked_at_afterwards_was_done_all_the_same() {
    let throttled =
        || fails(503, recorded!("error-InternalError").replace("InternalError", "RequestLimitExceeded").as_str());
    let stopped = recorded!("StopInstances");
    let (stub, settings) = Stub::start([ok(stopped), throttled()]).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let id = InstanceId::from("i-0c7a1f2e3d4b5a601");
    assert_eq!(driver.act(&login, &id, Action::Stop).await.expect("it was done"), None);
    stub.end();
}
