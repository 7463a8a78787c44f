//! Promises kept where EC2 is not steady: Tracker whole, before an EC2 that goes wrong as a test says.

use reqwest::{Method, StatusCode};
use tracker::diff;

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

/// Changes of instances alone: that nobody could look is told of as well, of the account.
async fn of_instances(cloud: &Cloud, world: &World) -> Vec<String> {
    let mut feed = cloud.feed(world).await;
    feed.retain(|change| change.starts_with("i-"));
    feed
}
