//! Credentials may come to be of another account, and looks may be answered in part: what is told all the same is so.

use std::sync::Arc;
use std::sync::Mutex;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tracker::clock::Clock as _;
use tracker::drivers::{Kind, MockCall};
use tracker::model::{AccountId, AccountKey, DriverId, Entry, News, Seq};

use crate::support::faulty::Faulty;
use crate::support::nova::{self, Nova, PROJECT};
use crate::support::world::{World, minutes, seconds};

const ANOTHER: &str = "ffffffffffffffffffffffffffffffff";

/// Servers' ids in their order.
fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}{n:03}")).collect()
}

/// A world that follows all of a cloud that speaks OpenStack, which has these servers.
async fn following(cloud: &Nova, servers: &[String]) -> World {
    cloud.holds(servers, PROJECT);
    let url = cloud.auth_url().parse().unwrap();
    let mut world = World::with(|settings| {
        settings.drivers.openstack.auth_url = Some(url);
        // What is not answered is not to be waited for by a clock that stands still.
        settings.drivers.pace.retries = 0;
    })
    .await;
    for path in ["/instances", ""] {
        put(&world, path).await;
    }
    world.live(minutes(3)).await;
    world
}

async fn put(world: &World, path: &str) {
    let path = format!(";driver=openstack{path}?track_hook=feed");
    let answer = world.request_as(Method::PUT, &path, nova::USER, nova::PASSWORD).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
}

async fn account(world: &World, cloud: &Nova) -> AccountId {
    let provider = format!("{}v3", cloud.auth_url());
    let key = AccountKey { driver: DriverId::new("openstack"), provider, identity: PROJECT.to_owned() };
    world.store().find_account(&key).await.unwrap().expect("it is tracked")
}

async fn log(world: &World, account: AccountId) -> Vec<Entry> {
    world.store().log_after(account, Seq(0), 10_000).await.unwrap()
}

fn kinds(log: &[Entry]) -> Vec<&'static str> {
    log.iter().map(|entry| entry.change.news.kind()).collect()
}

fn ids_of(log: &[Entry], kind: &str) -> Vec<String> {
    let of = log.iter().filter(|entry| entry.change.news.kind() == kind);
    of.map(|entry| entry.change.subject.id.clone()).collect()
}

#[tokio::test]
async fn a_project_made_again_under_its_name_tells_nothing_in_the_feed_of_the_old_one() {
    for count in [3, 10] {
        let cloud = Nova::start().await;
        let mut world = following(&cloud, &ids("old", count)).await;
        let account = account(&world, &cloud).await;
        cloud.holds(&ids("secret", 2), ANOTHER);
        world.live(minutes(40)).await;
        let said = log(&world, account).await;
        assert_eq!(kinds(&said), ["account.denied"], "{count}: {said:?}");
        assert!(!format!("{said:?}").contains("secret") && !format!("{said:?}").contains(ANOTHER), "{said:?}");

        // Its owner comes back with credentials for the old one, where something happened.
        cloud.holds(&ids("old", count + 1), PROJECT);
        put(&world, "/instances").await;
        world.live(minutes(10)).await;
        let said = log(&world, account).await;
        assert_eq!(ids_of(&said, "instance.appeared"), [format!("old{count:03}")], "{said:?}");
        assert!(kinds(&said).contains(&"account.reachable") && !kinds(&said).contains(&"instance.gone"), "{said:?}");
        world.end().await;
    }
}

#[tokio::test]
async fn where_whose_credentials_are_has_to_be_asked_it_is_before_anything_is_concluded() {
    static ALIAS: Mutex<Option<String>> = Mutex::new(None);
    let mut world = World::around(|mock| Arc::new(Faulty::new(mock).calling(&ALIAS)), |_| {}).await;
    for n in 0..3 {
        world.provider.add_instance(&format!("inst{n}"), "RUNNING");
    }
    for path in ["instances", ""] {
        assert_eq!(world.put_hook(path, "feed", &[]).await.status, 200);
    }
    world.live(minutes(3)).await;
    // Somebody new is no reason to ask, nor is somebody missing as long as nothing is concluded.
    let asked = world.provider.calls_of(MockCall::Identify);
    world.provider.add_instance("inst3", "RUNNING");
    world.live(minutes(2)).await;
    assert_eq!(world.provider.calls_of(MockCall::Identify), asked);
    assert_eq!(world.feed_of_the_store().await.len(), 1);

    // That it cannot be asked is no change.
    world.provider.fails_all(MockCall::Identify, Kind::Unavailable);
    world.provider.remove("inst0");
    world.live(minutes(3)).await;
    assert_eq!(world.feed_of_the_store().await.len(), 1);
    world.provider.heals();
    world.live(minutes(12)).await;
    assert!(world.feed_of_the_store().await.contains(&"inst0 RUNNING -> gone".to_owned()));

    let before = world.feed_of_the_store().await;
    *ALIAS.lock().unwrap() = Some("another".to_owned());
    // The mock cloud gives ids anew: one that was there before, and a stranger.
    world.provider.add_instance("inst0", "RUNNING");
    world.provider.add_instance("inst4", "RUNNING");
    world.provider.remove("inst1");
    world.live(minutes(40)).await;
    let said = world.feed_of_the_store().await.split_off(before.len());
    assert!(said.len() == 1 && said[0].starts_with("account credentials refused: "), "{said:?}");
    *ALIAS.lock().unwrap() = None;
    world.live(minutes(40)).await;
    let said = world.feed_of_the_store().await.split_off(before.len());
    assert!(said.contains(&"inst1 RUNNING -> gone".to_owned()), "{said:?}");
    world.end().await;
}

#[tokio::test]
async fn what_single_looks_answer_is_told_whatever_others_do() {
    let cloud = Nova::start().await;
    let all = ids("vm", 450);
    let mut world = following(&cloud, &all).await;
    let account = account(&world, &cloud).await;
    let (gone, left) = all.split_at(430);
    cloud.holds(left, PROJECT);
    // One that is never answered, at the beginning of every look, and more of them than a look bears in a row.
    cloud.breaks(&gone[..25]);
    world.live(minutes(30)).await;
    let said = log(&world, account).await;
    assert_eq!(ids_of(&said, "instance.gone"), gone[25..], "the rest is told, and those not answered are not");
    assert!(kinds(&said).iter().all(|kind| *kind == "instance.gone"), "some answered: no fault of the account");
    cloud.breaks(&[]);
    world.live(minutes(10)).await;
    let said = log(&world, account).await;
    let mut told = ids_of(&said, "instance.gone");
    told.sort();
    assert_eq!(told, gone);
    for entry in &said {
        let News::InstanceGone { why, .. } = &entry.change.news else { panic!("{entry:?}") };
        assert_eq!(why.first().map(|reason| reason.rule.as_str()), Some("mass"), "{entry:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn that_a_list_lacked_many_is_no_reason_of_one_that_ended() {
    let cloud = Nova::start().await;
    let all = ids("vm", 12);
    let mut world = following(&cloud, &all).await;
    let account = account(&world, &cloud).await;
    cloud.holds(&all[1..], PROJECT);
    cloud.hides(&all[..7]);
    world.live(minutes(30)).await;
    let said = log(&world, account).await;
    assert_eq!(ids_of(&said, "instance.gone"), all[..1]);
    let News::InstanceGone { why, .. } = &said[0].change.news else { panic!("{said:?}") };
    assert_eq!(*why, [], "one ended, and the list lied about the others");
    world.end().await;
}

#[tokio::test]
async fn an_end_that_no_list_of_changes_mentions_is_dated_by_the_last_list_in_full() {
    let cloud = Nova::start().await;
    let all = ids("vm", 3);
    let mut world = following(&cloud, &all).await;
    let account = account(&world, &cloud).await;
    let ended_at = world.clock.now();
    cloud.holds(&all[1..], PROJECT);
    world.live(minutes(30)).await;
    let said = log(&world, account).await;
    assert_eq!(ids_of(&said, "instance.gone"), all[..1]);
    let observed = said[0].change.observed;
    assert!(observed.before.unwrap() <= ended_at && observed.at > ended_at, "{observed:?}, ended at {ended_at}");
    world.end().await;
}

#[tokio::test]
async fn what_ends_in_a_realm_that_stays_down_is_told_when_the_provider_says_so_for_long() {
    let mut world = World::new().await;
    for n in 0..6 {
        world.provider.add_instance(&format!("inst{n}"), "RUNNING");
    }
    for path in ["instances", "realms"] {
        assert_eq!(world.put_hook(path, "feed", &[]).await.status, 200);
    }
    world.live(minutes(10)).await;
    let realm = world.get("/instances/inst0?format=json").await.json()["instance"]["realm"]["id"].clone();
    world.provider.set_realm(realm.as_str().unwrap(), tracker::model::RealmState::Unavailable, Some("maintenance"));
    world.live(minutes(6)).await;
    world.provider.remove("inst0");
    let removed_at = world.clock.now();
    let gone = async |world: &World| {
        let account = world.account().await.unwrap();
        let said = log(world, account).await;
        said.into_iter().find(|entry| entry.change.news.kind() == "instance.gone")
    };
    while world.clock.now() < removed_at + minutes(30) {
        world.live(minutes(1)).await;
        world.clock.advance(seconds(11));
        world.poll().await;
        if let Some(entry) = gone(&world).await {
            assert!(entry.change.at >= removed_at + minutes(10), "{entry:?}");
            break;
        }
    }
    let entry = gone(&world).await.expect("it is told in the end");
    let News::InstanceGone { why, .. } = &entry.change.news else { panic!("{entry:?}") };
    assert_eq!(why[0].rule, "realm_down");
    assert_eq!(serde_json::to_value(why).unwrap()[0]["rule"], Value::from("realm_down"));
    world.end().await;
}
