use std::collections::BTreeSet;

use tracker::model::{
    AccountId, Callback, Collection, Disabled, Hook, HookId, InstanceState, KnownResource, Outcome, Scope, Seq, Verdict,
};
use tracker::store::Baseline;

use super::world::{
    PASSWORD, World, ask, at, bare, collection_hook, commit, feed_hook, hook, instance, key, known, login, member,
    members, outcome, owed, results, retry, subscriber,
};

contract! {
    a_hook_is_read_back_whole
    hooks_come_by_id_and_stay_in_their_account
    a_hook_replaces_that_of_its_subscriber_and_scope_only
    an_id_of_another_hook_is_refused_and_nothing_is_stored
    what_is_owed_goes_to_a_new_callback_at_once
    the_same_callback_set_again_leaves_the_schedule_alone
    a_try_at_the_old_callback_decides_nothing_for_the_new_one
    what_is_owed_follows_a_replaced_id
    a_disabled_hook_set_again_is_due_at_once
    a_feed_hook_that_gets_a_callback_is_due_at_once
    a_hook_that_turns_to_the_feed_is_posted_to_no_more
    a_removed_hook_is_owed_nothing
    setting_a_hook_refuses_samples_decided_without_it
    a_baseline_never_overwrites_what_is_known
    a_complete_baseline_is_the_first_sample
    a_baseline_that_is_overtaken_is_refused_and_nothing_is_stored
}

async fn a_hook_is_read_back_whole(world: World) {
    let ordinary = hook("hook_1", "i-1", "one");
    let full = Hook {
        subscriber: subscriber("other"),
        disabled: Some(Disabled { at: at(3), reason: "410".to_owned() }),
        ended_at: Some(at(4)),
        ..hook("hook_2", "i-1", "one")
    };
    let sparse = Hook { token: None, keys: vec![], scope: Scope::Account, ..feed_hook("hook_3", "") };
    let whole = collection_hook("hook_4", "one");
    let odd = hook("hook_5", "i'\"; -- ü", "one");
    for hook in [ordinary, full, sparse, whole, odd] {
        let account = world.set(&hook).await;
        let by_scope = world.store.hook(account, &hook.subscriber, &hook.scope).await.unwrap().unwrap();
        let by_id = world.store.hook_by_id(account, &hook.id).await.unwrap().unwrap();
        assert_eq!(bare(&by_scope), bare(&hook));
        assert_eq!(bare(&by_id), bare(&hook));
    }
}

async fn hooks_come_by_id_and_stay_in_their_account(world: World) {
    let a = world.set(&hook("hook_2", "i-2", "one")).await;
    world.set(&hook("hook_1", "i-1", "one")).await;
    let b = world.store.save_hook(&key("b"), &login("b"), &hook("hook_3", "i-1", "one"), None, at(0)).await.unwrap();
    let ids = async |account| {
        let hooks = world.store.hooks(account).await.unwrap();
        hooks.into_iter().map(|hook| hook.id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(a).await, ["hook_1", "hook_2"]);
    assert_eq!(ids(b).await, ["hook_3"]);
    assert!(ids(AccountId(99)).await.is_empty());
    assert!(world.store.hook_by_id(b, &HookId("hook_1".to_owned())).await.unwrap().is_none());
    assert!(world.store.hook(b, &subscriber("default"), &member("i-2")).await.unwrap().is_none());
}

async fn a_hook_replaces_that_of_its_subscriber_and_scope_only(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    world.set(&Hook { subscriber: subscriber("other"), ..hook("hook_2", "i-1", "one") }).await;
    world.set(&collection_hook("hook_3", "one")).await;
    let replaced = Hook { token: None, ..hook("hook_1", "i-1", "two") };
    world.set_at(&replaced, 1).await;

    let hooks = world.store.hooks(account).await.unwrap();
    assert_eq!(hooks.len(), 3);
    assert_eq!(bare(&hooks[0]), bare(&replaced));
    assert_eq!(hooks[1].receiver().as_deref(), Some("https://one"));
}

async fn an_id_of_another_hook_is_refused_and_nothing_is_stored(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let stolen = hook("hook_1", "i-2", "two");
    assert!(world.store.save_hook(&key("a"), &login("rotated"), &stolen, None, at(1)).await.is_err());

    assert!(world.store.hook(account, &subscriber("default"), &member("i-2")).await.unwrap().is_none());
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().version, version);
    assert!(world.store.account_by_login(&login(PASSWORD), "us-east-1").await.unwrap().is_some());
}

async fn what_is_owed_goes_to_a_new_callback_at_once(world: World) {
    let old = hook("hook_1", "i-1", "one");
    let account = world.set(&old).await;
    world.news(account, 1, &[("i-1", &[&old]), ("i-1", &[&old])]).await;
    assert_eq!(world.claimed(1).await, owed(&[("hook_1", 1)]));
    world.record(account, &old, 1, retry(100), 2).await;

    world.set_at(&hook("hook_1", "i-1", "two"), 10).await;
    assert_eq!(world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap(), Some(at(10)));
    let full = ["https://two".to_owned()];
    assert!(
        world.store.claim(&ask(at(10), at(70), 9, 9, &full)).await.unwrap().deliveries.is_empty(),
        "it goes to two"
    );
    let full = ["https://one".to_owned()];
    let claimed = world.store.claim(&ask(at(10), at(70), 9, 9, &full)).await.unwrap().deliveries;
    let [delivery] = &claimed[..] else { panic!("the oldest alone: {claimed:?}") };
    assert_eq!((delivery.entry.seq.0, delivery.attempts, delivery.created_at), (1, 0, at(1)));
    world.record(account, &old, 1, retry(200), 11).await;

    // Another path or query at the same receiver is another callback too.
    let path = Hook { callback: Callback::Post("https://two/other".parse().unwrap()), ..old.clone() };
    world.set_at(&path, 20).await;
    assert_eq!(world.claim(20).await[0].attempts, 0);
}

async fn the_same_callback_set_again_leaves_the_schedule_alone(world: World) {
    let old = hook("hook_1", "i-1", "one");
    let account = world.set(&old).await;
    world.news(account, 1, &[("i-1", &[&old])]).await;
    world.claim(1).await;
    world.record(account, &old, 1, retry(100), 2).await;
    world.set_at(&Hook { token: None, keys: vec![], ..old.clone() }, 10).await;
    assert!(world.claimed(99).await.is_empty());
    assert_eq!(world.claim(100).await[0].attempts, 1);
    world.set_at(&old, 101).await;
    assert!(world.claimed(159).await.is_empty(), "a claim stands too");
}

async fn a_try_at_the_old_callback_decides_nothing_for_the_new_one(world: World) {
    for (number, verdict) in
        [retry(900), Verdict::Exhausted { disable: None }, super::world::gone(&hook("hook_2", "i-2", "one"))]
            .into_iter()
            .enumerate()
    {
        let (id, instance) = (format!("hook_{number}"), format!("i-{number}"));
        let old = hook(&id, &instance, "one");
        let account = world.set(&old).await;
        let seq = world.news(account, 1, &[(&instance, &[&old])]).await[0].seq.0;
        assert_eq!(world.claimed(5).await, owed(&[(&id, seq)]));
        let new = hook(&id, &instance, "two");
        world.set_at(&new, 6).await;
        assert!(world.claimed(7).await.is_empty(), "not while it is under way");

        let late = Outcome {
            attempt: outcome(account, &old, seq, retry(0), 5).attempt,
            ..outcome(account, &old, seq, verdict, 8)
        };
        world.store.record(&results([late]), at(8)).await.unwrap();
        let claimed = world.claim(8).await;
        let [delivery] = &claimed[..] else { panic!("{number}: due at once: {claimed:?}") };
        assert_eq!((delivery.entry.seq.0, delivery.attempts), (seq, 0), "{number}");
        world.record(account, &new, seq, Verdict::Delivered, 9).await;
    }
}

async fn what_is_owed_follows_a_replaced_id(world: World) {
    let old = hook("hook_1", "i-1", "one");
    let account = world.set(&old).await;
    world.news(account, 1, &[("i-1", &[&old]), ("i-1", &[&old])]).await;
    world.claim(1).await;
    world.record(account, &old, 1, retry(3), 2).await;

    let new = hook("hook_9", "i-1", "one");
    world.set_at(&new, 3).await;
    assert!(world.store.hook_by_id(account, &old.id).await.unwrap().is_none());
    assert_eq!(world.undelivered(account).await, [(1, "hook_9".to_owned()), (2, "hook_9".to_owned())]);
    assert_eq!(world.claimed(3).await, owed(&[("hook_9", 1)]));
    // An attempt that was under way for the old one belongs nowhere, and does no harm.
    world.record(account, &old, 1, Verdict::Delivered, 4).await;
    world.record(account, &new, 1, Verdict::Delivered, 4).await;
    assert_eq!(world.claimed(4).await, owed(&[("hook_9", 2)]));
}

async fn a_disabled_hook_set_again_is_due_at_once(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook]), ("i-2", &[&hook])]).await;
    world.claim(1).await;
    world.record(account, &hook, 1, super::world::gone(&hook), 2).await;
    world.news(account, 3, &[("i-3", &[&hook])]).await;
    assert!(world.claimed(1_000).await.is_empty(), "a disabled hook gets nothing");

    world.set_at(&hook, 2_000).await;
    assert_eq!(world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap(), Some(at(2_000)));
    assert_eq!(world.claimed(2_000).await, owed(&[("hook_1", 1), ("hook_1", 3), ("hook_1", 4), ("hook_1", 5)]));
}

async fn a_feed_hook_that_gets_a_callback_is_due_at_once(world: World) {
    let feed = feed_hook("hook_1", "i-1");
    let account = world.set(&feed).await;
    world.news(account, 1, &[("i-1", &[&feed]), ("i-1", &[&feed])]).await;
    assert!(world.claimed(1).await.is_empty());
    assert_eq!(world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap(), None);

    world.set_at(&hook("hook_1", "i-1", "one"), 10).await;
    assert_eq!(world.claimed(10).await, owed(&[("hook_1", 1)]));
}

async fn a_hook_that_turns_to_the_feed_is_posted_to_no_more(world: World) {
    let posted = hook("hook_1", "i-1", "one");
    let account = world.set(&posted).await;
    world.news(account, 1, &[("i-1", &[&posted]), ("i-2", &[&posted])]).await;
    assert_eq!(world.store.claim(&ask(at(1), at(61), 1, 1, &[])).await.unwrap().deliveries.len(), 1);
    world.set_at(&Hook { callback: Callback::Feed, ..posted.clone() }, 2).await;

    // One was under way: whatever becomes of it, nothing more is sent.
    world.record(account, &posted, 1, retry(3), 3).await;
    assert!(world.claimed(1_000).await.is_empty());
    assert_eq!(world.undelivered(account).await.len(), 2);
}

async fn a_removed_hook_is_owed_nothing(world: World) {
    let (mine, other) = (hook("hook_1", "i-1", "one"), collection_hook("hook_2", "one"));
    let account = world.set(&mine).await;
    world.set(&other).await;
    world.news(account, 1, &[("i-1", &[&mine, &other]), ("i-1", &[&mine, &other])]).await;
    world.claim(1).await;
    world.record(account, &mine, 1, Verdict::Exhausted { disable: None }, 2).await;

    let default = subscriber("default");
    assert!(world.store.remove_hook(account, &default, &member("i-1"), at(3)).await.unwrap());
    assert!(!world.store.remove_hook(account, &default, &member("i-1"), at(3)).await.unwrap());
    assert!(world.store.hook_by_id(account, &mine.id).await.unwrap().is_none());
    assert_eq!(world.undelivered(account).await, [(1, "hook_2".to_owned()), (2, "hook_2".to_owned())]);
    assert_eq!(world.claimed(100).await, owed(&[("hook_2", 1)]));

    // Set anew, it is another hook: what was dropped stays so.
    world.set_at(&mine, 200).await;
    assert_eq!(world.undelivered(account).await.len(), 2);
    // And changes decided for a hook that is no more are owed to nobody.
    world.store.remove_hook(account, &default, &member("i-1"), at(201)).await.unwrap();
    world.news(account, 202, &[("i-1", &[&mine])]).await;
    assert_eq!(world.undelivered(account).await.len(), 2);
}

async fn setting_a_hook_refuses_samples_decided_without_it(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    let versions = async || {
        let instances = world.store.known(account, Collection::Instances).await.unwrap().version;
        (instances, world.store.known(account, Collection::Realms).await.unwrap().version)
    };
    let (instances, realms) = versions().await;
    world.set_at(&hook("hook_2", "i-2", "one"), 1).await;
    assert_eq!(versions().await, (instances + 1, realms));
    world.set_at(&Hook { scope: Scope::Collection(Collection::Realms), ..hook("hook_3", "", "one") }, 1).await;
    assert_eq!(versions().await, (instances + 1, realms + 1));
    world.set_at(&Hook { scope: Scope::Account, ..hook("hook_4", "", "one") }, 1).await;
    assert_eq!(versions().await, (instances + 2, realms + 2));

    let late = world.store.commit_sample(&commit(account, instances, 2)).await;
    assert!(matches!(late, Err(tracker::store::Error::Conflict)), "{late:?}");
}

async fn a_baseline_never_overwrites_what_is_known(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let first = known(instance("i-1", InstanceState::Running), 0);
    let save = async |row: &KnownResource| {
        let baseline = baseline(0, row, None);
        world.store.save_hook(&key("a"), &login(PASSWORD), &hook, Some(&baseline), at(9)).await.unwrap()
    };
    let account = save(&first).await;
    let got = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!((got.observed_at, got.members), (None, members(std::slice::from_ref(&first))));

    save(&known(instance("i-1", InstanceState::Stopped), 5)).await;
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().members, members(&[first]));
}

async fn a_complete_baseline_is_the_first_sample(world: World) {
    let hook = collection_hook("hook_1", "one");
    let row = known(instance("i-1", InstanceState::Running), 3);
    let first = baseline(0, &row, Some(3));
    let account = world.store.save_hook(&key("a"), &login(PASSWORD), &hook, Some(&first), at(9)).await.unwrap();
    let got = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!((got.observed_at, got.members), (Some(at(3)), members(std::slice::from_ref(&row))));

    let later = baseline(0, &row, Some(20));
    world.store.save_hook(&key("a"), &login(PASSWORD), &hook, Some(&later), at(21)).await.unwrap();
    let again = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!(again.observed_at, Some(at(3)), "only samples move it on");
}

async fn a_baseline_that_is_overtaken_is_refused_and_nothing_is_stored(world: World) {
    let row = known(instance("i-1", InstanceState::Running), 0);
    let save = async |hook: &Hook, through| {
        let baseline = baseline(through, &row, None);
        world.store.save_hook(&key("a"), &login(PASSWORD), hook, Some(&baseline), at(9)).await
    };
    let first = hook("hook_1", "i-1", "one");
    let account = save(&first, 0).await.unwrap();
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().through, Seq(0));
    // Between what the second client sees and its hook a change is recorded, which the hook would never hear of.
    world.news(account, 10, &[("i-1", &[&first]), ("i-2", &[])]).await;
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().through, Seq(2));
    let second = Hook { subscriber: subscriber("second"), ..hook("hook_2", "i-1", "two") };
    let late = save(&second, 0).await;
    assert!(matches!(late, Err(tracker::store::Error::Conflict)), "{late:?}");
    let whole = collection_hook("hook_3", "one");
    let late = save(&whole, 1).await;
    assert!(matches!(late, Err(tracker::store::Error::Conflict)), "i-2 is a member too: {late:?}");
    assert_eq!(world.store.hooks(account).await.unwrap().len(), 1);
    save(&second, 1).await.expect("what was recorded since is of another instance");
    save(&whole, 2).await.unwrap();
}

fn baseline(through: u64, row: &KnownResource, complete: Option<i64>) -> Baseline {
    Baseline {
        collection: Collection::Instances,
        through: Seq(through),
        members: vec![row.clone()],
        complete_at: complete.map(at),
    }
}
