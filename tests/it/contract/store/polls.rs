use std::time::Duration;

use tracker::model::{AccountId, Collection, Hook, InstanceState, Scope};
use tracker::store::{Commit, UnitPlan, Watch};

use super::world::{World, at, commit, hook, instance, key, known, login, member, subscriber};

contract! {
    a_hook_makes_every_unit_of_its_account_due
    the_longest_overdue_come_first
    a_plan_is_kept
    one_unit_is_read_whether_it_is_due_or_not
    a_look_is_brought_forward_and_never_put_off
    a_look_wanted_meanwhile_stands
    a_hook_set_during_a_visit_wants_another
    other_units_are_due_only_where_a_hook_is_about_them
    a_hook_on_the_account_has_nothing_looked_at_beyond_what_always_is
    a_unit_is_watched_since_the_first_of_its_hooks
    a_hook_that_ended_watches_anew_when_it_is_back
    units_without_a_living_hook_are_left_alone
    a_cadence_brings_healthy_units_forward
    a_cadence_never_puts_anything_off
}

fn plan(second: i64, failures: u32) -> UnitPlan {
    UnitPlan { due_at: at(second), failures, error: (failures > 0).then(|| "timed out".to_owned()), rest_until: None }
}

async fn account(world: &World, name: &str) -> AccountId {
    world.store.save_hook(&key(name), &login(name), &hook("hook_1", "i-1", "one"), None, at(0)).await.unwrap()
}

async fn due(world: &World, second: i64) -> Vec<(i64, Collection)> {
    let units = world.store.due_units(at(second), at(0), 100).await.unwrap().units;
    units.into_iter().map(|unit| (unit.account.id.0, unit.collection)).collect()
}

/// What is watched of an account with a hook on an instance.
fn watched() -> Vec<Collection> {
    Collection::ALL.into_iter().filter(|collection| collection.is_always_watched()).collect()
}

async fn a_hook_makes_every_unit_of_its_account_due(world: World) {
    assert!(due(&world, 0).await.is_empty());
    assert_eq!(world.store.next_unit_due_at(at(0)).await.unwrap(), None);
    let a = account(&world, "a").await;
    assert_eq!(world.store.next_unit_due_at(at(0)).await.unwrap(), Some(at(0)));
    assert!(due(&world, -1).await.is_empty());
    assert_eq!(due(&world, 0).await, watched().into_iter().map(|collection| (a.0, collection)).collect::<Vec<_>>());

    let units = world.store.due_units(at(0), at(0), 1).await.unwrap().units;
    assert_eq!(units.len(), 1, "not more than asked for");
    assert_eq!((&units[0].account.key, &units[0].plan), (&key("a"), &plan(0, 0)));
    assert_eq!(units[0].account.login.credentials.user, "AKIA7");

    for collection in watched() {
        world.plan(a, collection, &plan(50, 2)).await;
    }
    assert!(due(&world, 49).await.is_empty());
    world.set_at(&hook("hook_2", "i-2", "one"), 10).await;
    assert_eq!(due(&world, 10).await.len(), watched().len(), "backing off or not");
}

async fn the_longest_overdue_come_first(world: World) {
    let (a, b) = (account(&world, "a").await, account(&world, "b").await);
    for (account, collection, second) in [
        (a, Collection::Instances, 30),
        (a, Collection::Realms, 10),
        (b, Collection::Instances, 20),
        (b, Collection::Realms, 40),
    ] {
        world.plan(account, collection, &plan(second, 0)).await;
    }
    let wanted = [(a.0, Collection::Realms), (b.0, Collection::Instances), (a.0, Collection::Instances)];
    assert_eq!(due(&world, 30).await, wanted);
    assert_eq!(world.store.next_unit_due_at(at(0)).await.unwrap(), Some(at(10)));
}

async fn a_plan_is_kept(world: World) {
    let a = account(&world, "a").await;
    world.plan(a, Collection::Realms, &plan(5, 3)).await;
    world.plan(a, Collection::Instances, &plan(500, 0)).await;
    let units = world.store.due_units(at(5), at(0), 100).await.unwrap().units;
    assert_eq!(units.into_iter().map(|unit| unit.plan).collect::<Vec<_>>(), [plan(5, 3)]);
}

async fn one_unit_is_read_whether_it_is_due_or_not(world: World) {
    let a = account(&world, "a").await;
    world.plan(a, Collection::Instances, &plan(50, 2)).await;
    let unit = async |collection, ended_after| world.store.unit(a, collection, at(ended_after)).await.unwrap();
    let read = unit(Collection::Instances, 0).await.unwrap();
    assert_eq!((&read.account.key, read.collection, &read.plan), (&key("a"), Collection::Instances, &plan(50, 2)));
    assert!(unit(Collection::Images, 0).await.is_none(), "no hook is about them");
    assert!(world.store.unit(AccountId(99), Collection::Instances, at(0)).await.unwrap().is_none());
    assert!(world.store.remove_hook(a, &subscriber("default"), &member("i-1"), at(1)).await.unwrap());
    assert!(unit(Collection::Instances, 0).await.is_none(), "nothing is planned");
}

async fn a_look_wanted_meanwhile_stands(world: World) {
    let a = account(&world, "a").await;
    world.plan(a, Collection::Instances, &plan(500, 0)).await;
    world.plan(a, Collection::Realms, &plan(500, 0)).await;
    world.store.look_now(a, Collection::Instances, at(20)).await.unwrap();
    assert_eq!(due(&world, 20).await, [(a.0, Collection::Instances)]);
    // A visit that began at 500's due time ends: what it plans is overtaken, how it went is kept.
    world.store.plan_unit(a, Collection::Instances, at(500), &plan(900, 1)).await.unwrap();
    let units = world.store.due_units(at(20), at(0), 100).await.unwrap().units;
    assert_eq!(units[0].plan, UnitPlan { due_at: at(20), ..plan(900, 1) });
    world.store.remove_hook(a, &subscriber("default"), &member("i-1"), at(21)).await.unwrap();
    world.store.look_now(a, Collection::Instances, at(22)).await.unwrap();
    assert_eq!(due(&world, 1_000).await, [], "nobody tracks anything there");
}

async fn a_look_is_brought_forward_and_never_put_off(world: World) {
    let a = account(&world, "a").await;
    world.plan(a, Collection::Instances, &plan(500, 0)).await;
    world.plan(a, Collection::Realms, &plan(500, 2)).await;
    for second in [20, 30] {
        world.store.look_by(a, Collection::Instances, at(second)).await.unwrap();
    }
    // Who fails is left alone.
    world.store.look_by(a, Collection::Realms, at(20)).await.unwrap();
    assert_eq!(due(&world, 19).await, []);
    assert_eq!(due(&world, 20).await, [(a.0, Collection::Instances)]);
    world.store.look_by(a, Collection::Images, at(20)).await.unwrap();
    assert_eq!(due(&world, 20).await.len(), 1, "nobody tracks any");
}

async fn a_hook_set_during_a_visit_wants_another(world: World) {
    let a = account(&world, "a").await;
    let units = world.store.due_units(at(5), at(0), 100).await.unwrap().units;
    // While the visit runs into a refusal, its owner comes with good credentials.
    world.store.save_hook(&key("a"), &login("good"), &hook("hook_1", "i-1", "one"), None, at(6)).await.unwrap();
    world.store.plan_unit(a, units[0].collection, units[0].plan.due_at, &plan(900, 1)).await.unwrap();
    assert_eq!(due(&world, 6).await.len(), 2);
}

/// Images and storage cost calls, so they are asked for only where somebody wants to hear of them.
async fn other_units_are_due_only_where_a_hook_is_about_them(world: World) {
    let volumes =
        Hook { scope: Scope::Member(Collection::StorageVolumes, "v".to_owned()), ..hook("hook_2", "", "one") };
    let a = account(&world, "a").await;
    world.set_at(&volumes, 1).await;
    let all = || watched().into_iter().chain([Collection::StorageVolumes]).map(|collection| (a.0, collection));
    let mut with: Vec<_> = all().collect();
    let mut found = due(&world, 1).await;
    with.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, with);
    world.store.remove_hook(a, &volumes.subscriber, &volumes.scope, at(2)).await.unwrap();
    assert_eq!(due(&world, 2).await.len(), watched().len());
}

async fn a_hook_on_the_account_has_nothing_looked_at_beyond_what_always_is(world: World) {
    let whole = Hook { scope: Scope::Account, ..hook("hook_2", "", "one") };
    let a = world.set(&whole).await;
    assert_eq!(due(&world, 0).await, watched().into_iter().map(|collection| (a.0, collection)).collect::<Vec<_>>());
    // What is looked at for another's sake is not looked at any sooner for that of this one.
    world.set_at(&Hook { scope: Scope::Collection(Collection::Images), ..hook("hook_3", "", "one") }, 1).await;
    world.plan(a, Collection::Images, &plan(500, 0)).await;
    world.set_at(&whole, 2).await;
    assert_eq!(due(&world, 499).await.len(), watched().len());
    assert_eq!(due(&world, 500).await.len(), watched().len() + 1);
}

async fn watch(world: &World, account: AccountId, collection: Collection, ended_after: i64) -> Option<Watch> {
    world.store.watch(account, collection, at(ended_after)).await.unwrap()
}

async fn a_unit_is_watched_since_the_first_of_its_hooks(world: World) {
    assert_eq!(watch(&world, AccountId(99), Collection::Instances, 0).await, None);
    let a = world.set_at(&hook("hook_1", "i-1", "one"), 10).await;
    world.set_at(&hook("hook_2", "i-2", "one"), 20).await;
    let volumes = Hook { scope: Scope::Collection(Collection::StorageVolumes), ..hook("hook_3", "", "one") };
    world.set_at(&volumes, 30).await;
    world.set_at(&Hook { scope: Scope::Account, ..hook("hook_4", "", "one") }, 5).await;
    // Set again, it has been there all the time.
    world.set_at(&Hook { created_at: at(40), ..hook("hook_1", "i-1", "two") }, 40).await;
    let since = async |collection| watch(&world, a, collection, 0).await.map(|watch| watch.since);
    assert_eq!(since(Collection::Instances).await, Some(at(5)));
    assert_eq!(since(Collection::Realms).await, Some(at(5)));
    assert_eq!(since(Collection::StorageVolumes).await, Some(at(30)));
    assert_eq!(since(Collection::Images).await, None, "the hook on the account is not about them");
    world.store.remove_hook(a, &subscriber("default"), &Scope::Account, at(41)).await.unwrap();
    assert_eq!(since(Collection::Instances).await, Some(at(10)));

    world.plan(a, Collection::Instances, &plan(50, 2)).await;
    let wanted =
        Watch { since: at(10), due_at: Some(at(50)), failures: 2, error: Some("timed out".to_owned()), gaps: 0 };
    assert_eq!(watch(&world, a, Collection::Instances, 0).await, Some(wanted));
}

async fn a_hook_that_ended_watches_anew_when_it_is_back(world: World) {
    let own = hook("hook_1", "i-1", "one");
    let a = world.set_at(&own, 10).await;
    let since = async |ended_after| watch(&world, a, Collection::Instances, ended_after).await.map(|watch| watch.since);
    let step = async |upserts, removed, second| {
        let version = world.store.known(a, Collection::Instances).await.unwrap().version;
        let commit = Commit { upserts, removed, ..commit(a, version, second) };
        world.store.commit_sample(&commit).await.unwrap();
    };
    let there = || vec![known(instance("i-1", InstanceState::Running), 20)];
    step(there(), vec![], 20).await;
    step(vec![], vec!["i-1".to_owned()], 30).await;
    assert_eq!((since(30).await, since(31).await), (Some(at(10)), None), "for a while it is watched all the same");
    step(there(), vec![], 40).await;
    assert_eq!(since(31).await, Some(at(40)));
    step(vec![], vec!["i-1".to_owned()], 50).await;
    world.set_at(&own, 60).await;
    assert_eq!(since(51).await, Some(at(60)), "set again, too");
}

async fn units_without_a_living_hook_are_left_alone(world: World) {
    let a = account(&world, "a").await;
    let version = world.store.known(a, Collection::Instances).await.unwrap().version;
    let gone = Commit { removed: vec!["i-1".to_owned()], ..commit(a, version, 10) };
    world.store.commit_sample(&gone).await.unwrap();

    let counts = async |ended_after: i64| {
        let units = world.store.due_units(at(20), at(ended_after), 100).await.unwrap().units.len();
        (units, world.store.next_unit_due_at(at(ended_after)).await.unwrap())
    };
    assert_eq!(counts(10).await, (watched().len(), Some(at(0))), "it has not ended before");
    assert_eq!(counts(11).await, (0, None));

    world.set_at(&hook("hook_2", "i-2", "one"), 12).await;
    assert_eq!(counts(11).await.0, watched().len());
    for instance in ["i-1", "i-2"] {
        world.store.remove_hook(a, &subscriber("default"), &member(instance), at(13)).await.unwrap();
    }
    assert_eq!(counts(0).await, (0, None));
}

async fn a_cadence_brings_healthy_units_forward(world: World) {
    let mut accounts = Vec::new();
    for number in 0..20 {
        let id = account(&world, &format!("a{number:02}")).await;
        world.plan(id, Collection::Instances, &plan(10_000, u32::from(number == 0))).await;
        world.plan(id, Collection::Realms, &plan(10_000, 0)).await;
        accounts.push(id);
    }
    let spread = Duration::from_secs(60);
    assert_eq!(
        world.store.bring_forward(Collection::Instances, at(100), spread, Duration::from_secs(600)).await.unwrap(),
        19
    );
    let points = async || {
        let units = world.store.due_units(at(9_999), at(0), 100).await.unwrap().units;
        assert!(units.iter().all(|unit| unit.collection == Collection::Instances && unit.account.id != accounts[0]));
        units.into_iter().map(|unit| (unit.account.id, unit.plan.due_at)).collect::<Vec<_>>()
    };
    let first = points().await;
    assert_eq!(first.len(), 19);
    assert!(first.iter().all(|(_, due_at)| (at(100)..=at(160)).contains(due_at)), "{first:?}");
    assert!(first.windows(2).filter(|pair| pair[0].1 != pair[1].1).count() > 15, "they are spread: {first:?}");

    for (id, _) in &first {
        world.plan(*id, Collection::Instances, &plan(10_000, 0)).await;
    }
    world.store.bring_forward(Collection::Instances, at(100), spread, Duration::from_secs(600)).await.unwrap();
    assert_eq!(points().await, first, "each at a point of its own");
}

async fn a_cadence_never_puts_anything_off(world: World) {
    let mut wanted = Vec::new();
    for (number, second) in [(1, 50), (2, 100), (3, 101)] {
        let id = account(&world, &format!("a{number}")).await;
        world.plan(id, Collection::Instances, &plan(second, 0)).await;
        world.plan(id, Collection::Realms, &plan(10_000, 0)).await;
        wanted.push((id, second));
    }
    world
        .store
        .bring_forward(Collection::Instances, at(100), Duration::from_secs(3_600), Duration::from_secs(600))
        .await
        .unwrap();
    for unit in world.store.due_units(at(9_999), at(0), 100).await.unwrap().units {
        let (_, before) = wanted.iter().find(|(id, _)| *id == unit.account.id).unwrap();
        assert!(unit.plan.due_at <= at(*before), "{:?}", unit.plan);
    }
    assert_eq!(
        world
            .store
            .bring_forward(Collection::Instances, at(5_000), Duration::ZERO, Duration::from_secs(600))
            .await
            .unwrap(),
        0
    );
    let brought = world
        .store
        .bring_forward(Collection::Realms, at(5_000), Duration::ZERO, Duration::from_secs(600))
        .await
        .unwrap();
    assert_eq!(brought, 3);
    assert_eq!(due(&world, 5_000).await.len(), 6);
}
