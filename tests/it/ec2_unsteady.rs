//! Promises kept where EC2 is not steady: Tracker whole, before an EC2 that goes wrong as a test says.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tracker::diff;
use tracker::model::Collection;

use crate::support::cloud::{Cloud, Fate, Rule, hook};
use crate::support::moto::OWN_IMAGE;
use crate::support::world::{World, minutes, seconds};

/// With the absence rules that users have.
async fn world(cloud: &Cloud) -> World {
    World::with(|settings| {
        cloud.settle(settings);
        settings.poll.absence = diff::Settings::default();
    })
    .await
}

#[tokio::test]
async fn an_instance_that_is_not_found_for_20_seconds_after_its_launch_makes_no_change() {
    let Some(cloud) = Cloud::new("an_instance_that_is_not_found_for_20_seconds_makes_no_change").await else { return };
    let mut world = world(&cloud).await;
    // What was there before is told of, so silence below is no deafness.
    let old = cloud.launch("us-east-1a", 1).await;
    cloud.track(&world, "instances").await;
    cloud.launches(Fate { native_state: Some("pending"), hidden: Some(None), ..Fate::default() }).await;
    let create = format!("instances?image_id={OWN_IMAGE}&hwp_id=t3.micro&realm_id=us-east-1a&{}", hook(&world));
    let created = cloud.request(&world, Method::POST, &create).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
    let location = created.headers["location"].to_str().unwrap().to_owned();
    let new = location.rsplit('/').next().unwrap().to_owned();
    assert_eq!(cloud.feed(&world).await, [format!("{new} nothing -> PENDING")], "the collection's hook hears of it");

    for _ in 0..4 {
        world.clock.advance(seconds(5));
        world.tick().await;
    }
    let looks = cloud.calls().await;
    assert!(looks.iter().any(|call| call.action.starts_with("DescribeInstance") && !call.failed), "{looks:?}");
    assert_eq!(cloud.feed(&world).await.len(), 1, "it is nowhere to be found, and nothing is said");

    cloud.show(std::slice::from_ref(&new)).await;
    cloud.force(std::slice::from_ref(&new), "running", None).await;
    cloud.force(&old, "stopped", None).await;
    for _ in 0..10 {
        world.clock.advance(minutes(1));
        world.tick().await;
    }
    let mut feed = cloud.feed(&world).await.split_off(1);
    feed.sort();
    let mut expected = [format!("{new} PENDING -> RUNNING"), format!("{} RUNNING -> STOPPED", old[0])];
    expected.sort();
    assert_eq!(feed, expected);
    world.end().await;
}

#[tokio::test]
async fn an_instance_that_was_terminated_stays_visible_then_leaves_and_ended_once() {
    let Some(cloud) = Cloud::new("an_instance_that_was_terminated_ended_once").await else { return };
    let mut world = world(&cloud).await;
    let ids = cloud.launch("us-east-1a", 2).await;
    let (ended, other) = (&ids[..1], &ids[1..]);
    cloud.track(&world, &format!("instances/{}", ended[0])).await;
    cloud.track(&world, &format!("instances/{}", other[0])).await;
    world.live(minutes(10)).await;

    cloud.force(ended, "shutting-down", None).await;
    world.live(minutes(10)).await;
    cloud.force(ended, "terminated", None).await;
    world.live(minutes(30)).await;
    let expected = [format!("{} RUNNING -> STOPPED", ended[0]), format!("{} STOPPED -> FINISH", ended[0])];
    assert_eq!(cloud.feed(&world).await, expected);

    cloud.hide(ended, None).await;
    world.live(minutes(30)).await;
    assert_eq!(cloud.feed(&world).await, expected, "it left, and had ended before");
    // Looking went on.
    cloud.force(other, "stopped", None).await;
    world.live(minutes(10)).await;
    let all = [expected.as_slice(), &[format!("{} RUNNING -> STOPPED", other[0])]].concat();
    assert_eq!(cloud.feed(&world).await, all);
    assert_eq!(world.accepted(), all, "and each was called back once");
    world.end().await;
}

#[tokio::test]
async fn who_may_only_look_cannot_track() {
    let Some(cloud) = Cloud::new("who_may_only_look_cannot_track").await else { return };
    let mut world = world(&cloud).await;
    let id = cloud.launch("us-east-1a", 1).await.remove(0);
    let changes = ["StopInstances", "RebootInstances", "TerminateInstances"];
    let may_not = cloud.rule(Rule::forbidden().by(&cloud.key(1)).on(&changes)).await;
    let put = format!("instances/{id}?{}", hook(&world));

    let answer = cloud.request_with(&world, 1, Method::PUT, &put).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.text.contains("may be seen with these credentials, but not changed"), "{}", answer.text);
    assert_eq!(may_not.struck().await, 3);
    assert_eq!(world.store().find_account(&cloud.account_key()).await.unwrap(), None, "nothing is stored");
    let shown = cloud.request_with(&world, 1, Method::GET, &format!("instances/{id}")).await;
    assert_eq!(shown.status, StatusCode::OK, "it may be looked at");

    // That the backend cannot say now is no consent.
    let broken = cloud.rule(Rule::broken().by(&cloud.key(0)).on(&changes)).await;
    let answer = cloud.request(&world, Method::PUT, &put).await;
    assert_eq!((answer.status, broken.struck().await), (StatusCode::BAD_GATEWAY, 1), "{}", answer.text);
    assert_eq!(world.store().find_account(&cloud.account_key()).await.unwrap(), None);
    broken.lift().await;

    cloud.track(&world, &format!("instances/{id}")).await;
    // The account is known by now; that gives the other key nothing.
    let answer = cloud.request_with(&world, 1, Method::PUT, &put).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    // Collections and realms are nobody's to change.
    let answer = cloud.request_with(&world, 1, Method::PUT, "realms/us-east-1a?track_hook=feed").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);

    cloud.force(std::slice::from_ref(&id), "stopped", None).await;
    world.live(minutes(10)).await;
    assert_eq!(world.accepted(), [format!("{id} RUNNING -> STOPPED")]);
    world.end().await;
}

#[tokio::test]
async fn a_region_that_cannot_be_listed_for_an_hour_makes_no_change() {
    let Some(cloud) = Cloud::new("a_region_that_cannot_be_listed_for_an_hour_makes_no_change").await else { return };
    let mut world = world(&cloud).await;
    let ids = [cloud.launch("us-east-1a", 1).await, cloud.launch("us-east-1b", 1).await].concat();
    for id in &ids {
        cloud.track(&world, &format!("instances/{id}")).await;
    }
    world.live(minutes(5)).await;
    cloud.disrupt("us-east-1b").await;
    cloud.hide(&ids[1..], None).await;
    world.live(minutes(60)).await;
    assert_eq!(of_instances(&cloud, &world).await, Vec::<String>::new());
    cloud.heal().await;
    world.live(minutes(30)).await;
    assert_eq!(of_instances(&cloud, &world).await, Vec::<String>::new());
    cloud.force(&ids[1..], "stopped", None).await;
    world.live(minutes(10)).await;
    assert_eq!(world.accepted(), [format!("{} RUNNING -> STOPPED", ids[1])]);
    world.end().await;
}

#[tokio::test]
async fn an_answer_older_than_what_was_told_is_not_told_and_a_restart_is() {
    let Some(cloud) = Cloud::new("an_answer_older_than_what_was_told_is_not_told").await else { return };
    let mut world = world(&cloud).await;
    let ids = cloud.launch("us-east-1a", 1).await;
    cloud.track(&world, "instances").await;
    cloud.force(&ids, "stopping", None).await;
    world.tick().await;
    // One server answers with what was before, whoever asks, and another with what is.
    for native in ["running", "stopping", "running", "stopping", "stopped"] {
        cloud.force(&ids, native, None).await;
        world.clock.advance(seconds(5));
        world.poll().await;
    }
    let told = ["RUNNING -> STOPPING", "STOPPING -> STOPPED"].map(|step| format!("{} {step}", ids[0]));
    assert_eq!(cloud.feed(&world).await, told);
    for native in ["stopping", "running"] {
        cloud.force(&ids, native, None).await;
        let list = cloud.request(&world, Method::GET, "instances").await;
        assert!(list.text.contains("<state>STOPPED</state>"), "a reader is shown what was told: {}", list.text);
        world.tick().await;
        cloud.force(&ids, "stopped", None).await;
        world.clock.advance(seconds(5));
        world.poll().await;
    }
    assert_eq!(cloud.feed(&world).await, told);

    // Somebody starts it, not through Tracker: it is looked at again soon, and told.
    world.clock.advance(seconds(5));
    cloud.force(&ids, "running", None).await;
    let list = cloud.request(&world, Method::GET, "instances").await;
    assert!(list.text.contains("<state>STOPPED</state>"), "{}", list.text);
    world.clock.advance(seconds(5));
    world.poll().await;
    let started = format!("{} STOPPED -> RUNNING", ids[0]);
    assert_eq!(cloud.feed(&world).await, [told.as_slice(), &[started]].concat());
    world.end().await;
}

#[tokio::test]
async fn a_look_that_goes_well_at_what_is_not_blamed_ends_no_outage() {
    let Some(cloud) = Cloud::new("a_look_that_goes_well_ends_an_outage").await else { return };
    let mut world = World::with(|settings| {
        cloud.settle(settings);
        settings.poll.circuit_faults = 1;
    })
    .await;
    cloud.launch("us-east-1a", 1).await;
    cloud.track(&world, "instances").await;
    world.poll().await;
    let account = world.store().find_account(&cloud.account_key()).await.unwrap().unwrap();
    world.clock.advance(minutes(10));
    for collection in [Collection::Instances, Collection::Realms] {
        world.store().look_now(account, collection, world.clock_now()).await.unwrap();
    }
    let held = cloud.rule(Rule::hangs().on(&["DescribeAvailabilityZones"])).await;
    let broken = cloud.rule(Rule::broken().on(&["DescribeInstances", "DescribeInstanceStatus"])).await;
    world.begin_to_poll().await;
    let away = async { while world.store().standing(account).await.unwrap().1.is_none() {} };
    tokio::time::timeout(seconds(20), away).await.expect("it is recorded that it cannot be looked at");
    // Somebody mends it, and the look at the realms, which began when nothing was wrong, is answered.
    broken.lift().await;
    held.lift().await;
    world.poll().await;
    let (_, outage) = world.store().standing(account).await.unwrap();
    assert!(outage.is_some(), "what is blamed has not answered yet");
    world.live(minutes(15)).await;
    let (_, outage) = world.store().standing(account).await.unwrap();
    assert_eq!(outage, None);
    world.end().await;
}

#[tokio::test]
async fn a_step_back_that_stays_is_told_after_a_minute() {
    let Some(cloud) = Cloud::new("a_step_back_that_stays_is_told_after_a_minute").await else { return };
    let mut world = world(&cloud).await;
    let ids = cloud.launch("us-east-1a", 1).await;
    cloud.track(&world, "instances").await;
    cloud.force(&ids, "stopping", None).await;
    world.tick().await;
    cloud.force(&ids, "running", None).await;
    let told = |step: &str| format!("{} {step}", ids[0]);
    for _ in 0..11 {
        world.clock.advance(seconds(5));
        world.poll().await;
        assert_eq!(cloud.feed(&world).await, [told("RUNNING -> STOPPING")]);
    }
    world.clock.advance(seconds(5));
    world.poll().await;
    assert_eq!(cloud.feed(&world).await, [told("RUNNING -> STOPPING"), told("STOPPING -> RUNNING")]);
    world.end().await;
}

#[tokio::test]
async fn what_a_client_does_through_tracker_is_told_at_once_and_what_was_before_it_is_not() {
    let Some(cloud) = Cloud::new("what_a_client_does_through_tracker_is_told_at_once").await else { return };
    let mut world = world(&cloud).await;
    let ids = cloud.launch("us-east-1a", 1).await;
    cloud.track(&world, "instances").await;
    let mut expected = Vec::new();
    for (action, before, after) in [("stop", "running", "STOPPED"), ("start", "stopped", "RUNNING")].repeat(2) {
        let asked = cloud.request(&world, Method::POST, &format!("instances/{}/{action}", ids[0])).await;
        assert_eq!(asked.status, StatusCode::ACCEPTED, "{}", asked.text);
        world.poll().await;
        expected.push(format!("{} {} -> {after}", ids[0], before.to_uppercase()));
        assert_eq!(cloud.feed(&world).await, expected);
        cloud.force(&ids, before, None).await;
        world.clock.advance(seconds(2));
        world.tick().await;
        assert_eq!(cloud.feed(&world).await, expected);
        cloud.force(&ids, &after.to_lowercase(), None).await;
    }
    world.end().await;
}

/// Changes of instances alone: that nobody could look is told of as well, of the account.
async fn of_instances(cloud: &Cloud, world: &World) -> Vec<String> {
    let mut feed = cloud.feed(world).await;
    feed.retain(|change| change.starts_with("i-"));
    feed
}

#[tokio::test]
async fn a_zone_in_trouble_hides_no_other_zone_and_changes_nothing_of_its_own() {
    let Some(cloud) = Cloud::new("a_zone_in_trouble_hides_no_other_zone").await else { return };
    let mut world = world(&cloud).await;
    let (well, sick) = (cloud.launch("us-east-1a", 1).await, cloud.launch("us-east-1b", 1).await);
    for id in well.iter().chain(&sick) {
        cloud.track(&world, &format!("instances/{id}")).await;
    }
    let feed = "realms?track_hook=feed&subscriber=feed";
    assert_eq!(cloud.request(&world, Method::PUT, feed).await.status, StatusCode::OK);
    world.live(minutes(3)).await;

    cloud.disrupt("us-east-1b").await;
    // Something happens there as well, which nobody can see.
    cloud.force(&sick, "stopped", None).await;
    world.live(minutes(4)).await;
    let before = cloud.calls().await.len();
    cloud.force(&well, "stopped", None).await;
    world.live(minutes(4)).await;
    let calls = cloud.calls().await.split_off(before);
    let lists = calls.iter().filter(|call| call.action.starts_with("DescribeInstance") && call.ids.is_empty());
    let lists: Vec<_> = lists.map(|call| call.failed).collect();
    assert!(!lists.is_empty() && lists.iter().all(|failed| *failed), "the region cannot be listed: {lists:?}");
    let told = [format!("{} RUNNING -> STOPPED", well[0])];
    assert_eq!(world.accepted(), told, "the zone that is well is told of, and the other says nothing");

    world.live(minutes(20)).await;
    assert_eq!(world.accepted(), told);
    let evidence = evidence(&cloud, &world, "us-east-1b").await;
    assert_eq!(reach(&evidence), "unreachable", "{evidence}");
    let text = evidence["text"].as_str().unwrap();
    assert!(text.contains("has been unreachable for 2") && text.contains(" min;"), "all the time: {text}");
    // Nobody launched there: that it does not answer is one reason, and counts once.
    let turns = [
        "us-east-1b AVAILABLE UNKNOWN R1-unreachable",
        "us-east-1b UNKNOWN DEGRADED R2-unreachable",
        "us-east-1b DEGRADED UNAVAILABLE R3-unreachable",
    ];
    assert_eq!(realms_of(&cloud, &world).await, turns);
    let evidence = self::evidence(&cloud, &world, "us-east-1a").await;
    assert_eq!((reach(&evidence), &evidence["standing"]["state"]), ("reachable", &"AVAILABLE".into()), "{evidence}");

    cloud.mend("us-east-1b").await;
    world.live(minutes(10)).await;
    assert_eq!(world.accepted(), [told.as_slice(), &[format!("{} RUNNING -> STOPPED", sick[0])]].concat());
    let evidence = self::evidence(&cloud, &world, "us-east-1b").await;
    assert_eq!(reach(&evidence), "reachable", "{evidence}");
    world.end().await;
}

#[tokio::test]
async fn launches_that_a_zone_takes_and_cannot_place_make_it_unavailable() {
    let Some(cloud) = Cloud::new("launches_that_a_zone_takes_and_cannot_place").await else { return };
    let mut world = world(&cloud).await;
    cloud.launch("us-east-1a", 1).await;
    cloud.track(&world, "instances").await;
    let feed = "realms?track_hook=feed&subscriber=feed";
    assert_eq!(cloud.request(&world, Method::PUT, feed).await.status, StatusCode::OK);
    world.live(minutes(2)).await;
    cloud.launches(Fate { native_state: Some("pending"), ..Fate::default() }).await;
    let mut failed = Vec::new();
    // Beyond a quota first: that says nothing of the zone. moto's launch times are of real seconds, of which a test takes few, and
    // what one second launches with one profile is taken for one request.
    let profiles = ["t3.micro", "t3.small", "t3.medium", "t3.large"];
    let codes = ["Client.VolumeLimitExceeded", "Server.InsufficientInstanceCapacity"];
    for (code, profile) in codes.iter().flat_map(|code| profiles.map(|profile| (*code, profile))) {
        assert_eq!(realms_of(&cloud, &world).await, Vec::<String>::new());
        let create = format!("instances?image_id={OWN_IMAGE}&hwp_id={profile}&realm_id=us-east-1b");
        let created = cloud.request(&world, Method::POST, &create).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.text);
        let id = created.headers["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned();
        world.live(minutes(1)).await;
        cloud.force(std::slice::from_ref(&id), "terminated", Some(code)).await;
        world.live(minutes(1)).await;
        failed.push(id);
    }
    assert_eq!(realms_of(&cloud, &world).await, ["us-east-1b AVAILABLE UNAVAILABLE E1-cusum"]);
    let evidence = evidence(&cloud, &world, "us-east-1b").await;
    let text = evidence["standing"]["why"]["text"].as_str().unwrap();
    assert!(text.starts_with("launches in us-east-1b: 4 of 4 failed in "), "{text}");
    assert!(text.contains(" (Server.InsufficientInstanceCapacity 4)"), "{text}");
    let launches = evidence["signals"].as_array().unwrap().iter().find(|signal| signal["kind"] == "launches").unwrap();
    let ids: Vec<_> = launches["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert!(ids.len() == 4 && ids.iter().all(|id| failed[4..].iter().any(|known| known == id)), "{ids:?}");
    let shown = cloud.request(&world, Method::GET, "realms/us-east-1b?format=json&subscriber=feed").await.json();
    assert_eq!(shown["realm"]["state"], "UNAVAILABLE", "{shown}");
    assert_eq!(shown["realm"]["tracking"]["availability"], "UNAVAILABLE", "{shown}");
    world.end().await;
}

#[tokio::test]
async fn throttling_of_every_other_call_changes_nothing_loses_nothing_and_is_no_concern_of_other_accounts() {
    let name = "throttling_of_every_other_call_changes_nothing";
    let (Some(cloud), Some(other)) = (Cloud::new(name).await, Cloud::new(name).await) else { return };
    let mut world = world(&cloud).await;
    let (ids, others) = (cloud.launch("us-east-1a", 2).await, other.launch("us-east-1a", 1).await);
    cloud.track(&world, "instances").await;
    other.track(&world, "instances").await;
    let looks = async |cloud: &Cloud| cloud.calls().await.len();
    world.live(minutes(20)).await;
    let start = looks(&other).await;
    world.live(minutes(30)).await;
    let usual = looks(&other).await - start;

    // Drawn, as a look takes two calls.
    let throttled = cloud.rule(Rule::throttled().of(0.5).seeded(6)).await;
    let start = looks(&other).await;
    world.live(minutes(30)).await;
    let meanwhile = looks(&other).await - start;
    assert!(throttled.struck().await >= 3, "{}", throttled.struck().await);
    assert!(meanwhile.abs_diff(usual) <= 2, "{meanwhile} calls instead of {usual}");
    assert_eq!(
        (of_instances(&cloud, &world).await, world.accepted()),
        (Vec::<String>::new(), Vec::new()),
        "nothing is said of instances"
    );

    cloud.force(&ids[..1], "stopped", None).await;
    other.force(&others, "stopped", None).await;
    for _ in 0..60 {
        world.live(minutes(1)).await;
        if world.accepted().len() == 2 {
            break;
        }
    }
    let told = |id: &String| format!("{id} RUNNING -> STOPPED");
    assert_eq!(of_instances(&cloud, &world).await, [told(&ids[0])], "what happens meanwhile is seen");
    assert_eq!(of_instances(&other, &world).await, [told(&others[0])]);
    throttled.lift().await;
    cloud.force(&ids[1..], "stopped", None).await;
    world.live(minutes(12)).await;
    assert_eq!(of_instances(&cloud, &world).await, [told(&ids[0]), told(&ids[1])]);
    world.end().await;
}

async fn evidence(cloud: &Cloud, world: &World, zone: &str) -> Value {
    let answer = cloud.request(world, Method::GET, &format!("realms/{zone}/evidence")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json()
}

/// Whether a zone answers.
fn reach(evidence: &Value) -> &str {
    let signals = evidence["signals"].as_array().unwrap();
    let reach = signals.iter().find(|signal| signal["kind"] == "reachability");
    reach.unwrap_or_else(|| panic!("{evidence}"))["value"].as_str().unwrap()
}

/// What was judged of zones, `us-east-1b AVAILABLE UNKNOWN R1-unreachable`.
async fn realms_of(cloud: &Cloud, world: &World) -> Vec<String> {
    let answer = cloud.request(world, Method::GET, "changes?after=0&limit=1000").await;
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let log = answer.json();
    let judged = log.as_array().unwrap().iter().filter(|change| change["type"] == "realm.state");
    judged
        .map(|change| {
            let parts = [
                &change["resource"]["id"],
                &change["from"]["availability"],
                &change["to"]["availability"],
                &change["why"][0]["rule"],
            ];
            parts.map(text).join(" ")
        })
        .collect()
}
