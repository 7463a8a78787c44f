use jiff::Timestamp;
use tracker::model::{AccountId, Attempt, Change, Collection, DeliveryState, Hook, HookId, Seq, Verdict};
use tracker::store::{DeliveryStanding, Error, Place, Pulse, Snapshots, WhichDeliveries, WhichHooks};

use super::world::{
    World, at, change, collection_hook, feed_hook, gone, hook, key, login, member, outcome, owed, results, retry,
    subscriber,
};

contract! {
    hooks_stand_as_far_behind_as_their_oldest
    hooks_are_listed_by_filter_and_page
    deliveries_are_listed_newest_first_and_pages_join_to_the_whole
    a_page_costs_no_more_than_its_bound_and_goes_on_where_it_stopped
    what_many_hooks_and_subscribers_are_owed_is_listed_all_the_same
    deliveries_are_found_by_each_filter
    a_delivery_comes_with_its_newest_attempts
    an_account_sees_its_own_only
    an_enabled_hook_gets_what_waits_and_a_late_410_does_not_disable_it_again
    snapshots_come_after_what_waits_and_go_to_one_hook
    snapshots_decided_on_something_older_are_refused
    what_was_settled_since_is_found_by_state
    a_settled_one_that_is_sent_again_comes_before_what_waits
    a_settled_one_that_is_sent_again_waits_for_what_is_under_way
    a_waiting_one_is_brought_forward_unless_it_is_under_way
    a_hook_that_is_not_called_sends_nothing_again
    the_pulse_names_the_laggards_first
}

fn all(limit: usize) -> WhichDeliveries {
    WhichDeliveries { limit, scan_max: 1_000, ..WhichDeliveries::default() }
}

const SETTLED: [DeliveryState; 4] =
    [DeliveryState::Delivered, DeliveryState::Read, DeliveryState::Exhausted, DeliveryState::Merged];

/// `hook_1 3 waiting`
fn told_of(standing: &DeliveryStanding) -> String {
    format!("{} {} {}", standing.hook, standing.seq, standing.state.as_str())
}

async fn listed(world: &World, account: AccountId, which: &WhichDeliveries) -> Vec<String> {
    world.store.deliveries(account, which).await.unwrap().deliveries.iter().map(told_of).collect()
}

async fn redeliver(world: &World, account: AccountId, hook: &Hook, seqs: &[u64], second: i64) -> Option<u64> {
    let seqs: Vec<_> = seqs.iter().copied().map(Seq).collect();
    let states: Vec<_> = SETTLED.into_iter().chain([DeliveryState::Waiting]).collect();
    world.store.redeliver(account, &hook.id, &seqs, &states, at(second)).await.unwrap()
}

async fn hooks_stand_as_far_behind_as_their_oldest(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    let standing = async || {
        let which = WhichHooks { limit: 10, waiting_max: 2, ..WhichHooks::default() };
        let [standing] = &world.store.hook_standings(account, &which).await.unwrap()[..] else { panic!("one hook") };
        (standing.behind, standing.waiting_since, standing.waiting)
    };
    assert_eq!(standing().await, (None, None, 0));
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.news(account, 2, &[("i-2", &[&hook])]).await;
    world.news(account, 3, &[("i-3", &[&hook])]).await;
    assert_eq!(standing().await, (Some((Seq(1), at(1))), Some(at(1)), 2), "counted up to the bound");

    world.claim(4).await;
    world.record(account, &hook, 1, Verdict::Exhausted { disable: None }, 4).await;
    assert_eq!(standing().await, (Some((Seq(1), at(1))), Some(at(2)), 2), "given up is not delivered");
    world.record(account, &hook, 2, Verdict::Delivered, 5).await;
    world.record(account, &hook, 3, Verdict::Delivered, 5).await;
    assert_eq!(standing().await, (Some((Seq(1), at(1))), None, 0));
}

async fn hooks_are_listed_by_filter_and_page(world: World) {
    let ci = Hook { subscriber: subscriber("ci"), ..hook("hook_3", "i-1", "three") };
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    world.set(&hook("hook_2", "i-2", "two")).await;
    world.set(&ci).await;
    world.set(&collection_hook("hook_4", "four")).await;
    world.set(&Hook { scope: member("i-1"), subscriber: subscriber("pull"), ..feed_hook("hook_5", "i-1") }).await;
    let check = async |which: WhichHooks, wanted: &[&str]| {
        let which = WhichHooks { limit: which.limit.max(1), waiting_max: 1, ..which };
        let found = world.store.hook_standings(account, &which).await.unwrap();
        let ids: Vec<_> = found.iter().map(|standing| standing.hook.id.0.as_str()).collect();
        assert_eq!(ids, wanted, "{which:?}");
    };
    let any = || WhichHooks { limit: 9, ..WhichHooks::default() };
    check(any(), &["hook_1", "hook_2", "hook_3", "hook_4", "hook_5"]).await;
    check(WhichHooks { limit: 2, ..any() }, &["hook_1", "hook_2"]).await;
    let after = Some(HookId("hook_2".to_owned()));
    check(WhichHooks { after, limit: 2, ..any() }, &["hook_3", "hook_4"]).await;
    check(WhichHooks { subscriber: Some(subscriber("ci")), ..any() }, &["hook_3"]).await;
    check(WhichHooks { resource: Some("i-1".to_owned()), ..any() }, &["hook_1", "hook_3", "hook_5"]).await;
    check(WhichHooks { collection: Some(Collection::Realms), ..any() }, &[]).await;
    check(WhichHooks { id: Some(HookId("hook_4".to_owned())), ..any() }, &["hook_4"]).await;
    // Nobody's resource is the empty one.
    check(WhichHooks { resource: Some(String::new()), ..any() }, &[]).await;
}

/// Five changes for two hooks, one of another subscriber, in all states.
async fn mixed(world: &World) -> (AccountId, Hook, Hook) {
    let one = collection_hook("hook_1", "one");
    let two = Hook { subscriber: subscriber("ci"), ..collection_hook("hook_2", "two") };
    let account = world.set(&one).await;
    world.set(&two).await;
    for second in 1..=5 {
        let id = format!("i-{second}");
        world.news(account, second * 10_000, &[(id.as_str(), &[&one, &two])]).await;
    }
    world.claim(60_000).await;
    world.record(account, &one, 1, Verdict::Delivered, 60_000).await;
    world.record(account, &one, 2, Verdict::Exhausted { disable: None }, 60_000).await;
    world.record(account, &two, 4, Verdict::Exhausted { disable: None }, 60_000).await;
    world.store.acknowledge(account, &subscriber("ci"), &[Seq(5)], at(60_001)).await.unwrap();
    (account, one, two)
}

async fn deliveries_are_listed_newest_first_and_pages_join_to_the_whole(world: World) {
    let (account, one, two) = mixed(&world).await;
    let whole = listed(&world, account, &all(100)).await;
    assert_eq!(
        whole,
        [
            "hook_2 5 read",
            "hook_1 5 waiting",
            "hook_2 4 exhausted",
            "hook_1 4 waiting",
            "hook_2 3 waiting",
            "hook_1 3 waiting",
            "hook_2 2 waiting",
            "hook_1 2 exhausted",
            "hook_2 1 waiting",
            "hook_1 1 delivered",
        ]
    );
    let questions = [
        all(0),
        WhichDeliveries { hook: Some(one.id), ..all(0) },
        WhichDeliveries { hook: Some(two.id), state: Some(DeliveryState::Waiting), ..all(0) },
        WhichDeliveries { state: Some(DeliveryState::Waiting), ..all(0) },
        WhichDeliveries { state: Some(DeliveryState::Exhausted), ..all(0) },
        WhichDeliveries { subscriber: Some(subscriber("ci")), ..all(0) },
        WhichDeliveries { since: Some(at(20_000)), until: Some(at(40_000)), ..all(0) },
    ];
    for question in questions {
        let whole = listed(&world, account, &WhichDeliveries { limit: 100, ..question.clone() }).await;
        assert!(!whole.is_empty(), "{question:?}");
        for limit in 1..=4 {
            for scan_max in [1, 2, 3, 1_000] {
                let mut joined = vec![];
                let mut before = None;
                for _ in 0..50 {
                    let which = WhichDeliveries { limit, scan_max, before, ..question.clone() };
                    let page = world.store.deliveries(account, &which).await.unwrap();
                    assert!(page.deliveries.len() <= limit);
                    joined.extend(page.deliveries.iter().map(told_of));
                    before = page.next;
                    if before.is_none() {
                        break;
                    }
                }
                assert_eq!(before, None, "pages come to an end: {question:?}");
                assert_eq!(joined, whole, "limit {limit}, scan {scan_max}: {question:?}");
            }
        }
    }
}

async fn a_page_costs_no_more_than_its_bound_and_goes_on_where_it_stopped(world: World) {
    let (account, ..) = mixed(&world).await;
    let which = WhichDeliveries { state: Some(DeliveryState::Delivered), scan_max: 4, ..all(10) };
    let page = world.store.deliveries(account, &which).await.unwrap();
    assert!(page.deliveries.is_empty());
    assert_eq!(page.next, Some(Place { seq: Seq(4), hook: None }));
}

async fn what_many_hooks_and_subscribers_are_owed_is_listed_all_the_same(world: World) {
    // More hooks than are looked at one by one; then more subscribers, too.
    for subscribers in [2, 70] {
        let hooks: Vec<_> = (0..70)
            .map(|n| Hook {
                subscriber: subscriber(&format!("s{}", n % subscribers)),
                ..hook(&format!("hook_{subscribers:02}_{n:02}"), &format!("i-{subscribers}"), "one")
            })
            .map(|hook| Hook { scope: member(&format!("{}-{}", hook.id, hook.subscriber)), ..hook })
            .collect();
        let mut account = None;
        for hook in &hooks {
            account = Some(world.set(hook).await);
        }
        let account = account.unwrap();
        let told: Vec<_> = hooks.iter().collect();
        world.news(account, 1, &[("i-1", &told)]).await;
        let seq = world.news(account, 2, &[("i-1", &told)]).await[0].seq.0;
        world.claim(3).await;
        world.record(account, &hooks[7], seq - 1, Verdict::Exhausted { disable: None }, 3).await;

        let exhausted = WhichDeliveries { state: Some(DeliveryState::Exhausted), ..all(9) };
        let found = listed(&world, account, &exhausted).await;
        assert_eq!(found[0], format!("hook_{subscribers:02}_07 {} exhausted", seq - 1));
        let whole = listed(&world, account, &all(1_000)).await;
        let waiting: Vec<_> = whole.into_iter().filter(|row| row.ends_with("waiting")).collect();
        let mut joined = vec![];
        let mut before = None;
        for _ in 0..100 {
            let which =
                WhichDeliveries { state: Some(DeliveryState::Waiting), limit: 13, scan_max: 20, before, ..all(0) };
            let page = world.store.deliveries(account, &which).await.unwrap();
            joined.extend(page.deliveries.iter().map(told_of));
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!((before, joined), (None, waiting));
    }
}

async fn deliveries_are_found_by_each_filter(world: World) {
    let (account, one, two) = mixed(&world).await;
    let check = async |which: WhichDeliveries, wanted: &[&str]| {
        assert_eq!(listed(&world, account, &which).await, wanted, "{which:?}");
    };
    let resource = Some("i-2".to_owned());
    check(WhichDeliveries { resource, ..all(9) }, &["hook_2 2 waiting", "hook_1 2 exhausted"]).await;
    let resource = Some("i-2".to_owned());
    check(WhichDeliveries { resource, hook: Some(one.id.clone()), ..all(9) }, &["hook_1 2 exhausted"]).await;
    check(WhichDeliveries { collection: Some(Collection::Realms.into()), ..all(9) }, &[]).await;
    let collection = Some(Collection::Instances.into());
    check(WhichDeliveries { collection, ..all(1) }, &["hook_2 5 read"]).await;
    check(
        WhichDeliveries { state: Some(DeliveryState::Exhausted), ..all(9) },
        &["hook_2 4 exhausted", "hook_1 2 exhausted"],
    )
    .await;
    let state = Some(DeliveryState::Exhausted);
    check(WhichDeliveries { state, subscriber: Some(subscriber("ci")), ..all(9) }, &["hook_2 4 exhausted"]).await;
    check(WhichDeliveries { state, hook: Some(one.id.clone()), ..all(9) }, &["hook_1 2 exhausted"]).await;
    let hook = Some(two.id.clone());
    check(WhichDeliveries { state, hook, subscriber: Some(subscriber("default")), ..all(9) }, &[]).await;
    check(WhichDeliveries { state: Some(DeliveryState::Dropped), ..all(9) }, &[]).await;
    // `since` is in, `until` is not.
    let hook = Some(one.id.clone());
    let (since, until) = (Some(at(20_000)), Some(at(40_000)));
    check(WhichDeliveries { hook, since, until, ..all(9) }, &["hook_1 3 waiting", "hook_1 2 exhausted"]).await;
    check(WhichDeliveries { until: Some(at(0)), ..all(9) }, &[]).await;
    check(WhichDeliveries { since: Some(at(100_000)), ..all(9) }, &[]).await;
    check(WhichDeliveries { since: Some(Timestamp::MIN), until: Some(Timestamp::MAX), ..all(1) }, &["hook_2 5 read"])
        .await;

    // What a removed hook was owed is listed as ever.
    assert!(world.store.remove_hook(account, &two.subscriber, &two.scope, at(70_000)).await.unwrap());
    let state = Some(DeliveryState::Dropped);
    check(WhichDeliveries { state, ..all(2) }, &["hook_2 4 dropped", "hook_2 3 dropped"]).await;
}

async fn a_delivery_comes_with_its_newest_attempts(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    let entry = &world.news(account, 1, &[("i-1", &[&hook])]).await[0];
    let none = world.store.delivery(account, &hook.id, Seq(2), 10).await.unwrap();
    assert_eq!(none, None);
    let (standing, attempts) = world.store.delivery(account, &hook.id, Seq(1), 10).await.unwrap().unwrap();
    assert_eq!((standing.due_at, standing.under_way, standing.last_try), (Some(at(1)), false, None));
    assert_eq!(standing.change, Some((entry.change.id.clone(), "instance.state".to_owned())));
    assert_eq!(standing.receiver.as_deref(), Some("https://one"));
    assert_eq!(attempts, []);

    for second in 2..=4 {
        world.claim(second).await;
        let mut outcome = outcome(account, &hook, 1, retry(second + 1), second);
        outcome.attempt.number = u32::try_from(second).unwrap() - 1;
        world.store.record(&results([outcome]), at(second)).await.unwrap();
    }
    world.claim(5).await;
    let (standing, attempts) = world.store.delivery(account, &hook.id, Seq(1), 2).await.unwrap().unwrap();
    assert_eq!((standing.due_at, standing.under_way, standing.attempts), (Some(at(5)), true, 3));
    let last = standing.last_try.unwrap();
    assert_eq!((last.at, last.status, last.error.as_deref()), (at(4), Some(503), Some("the receiver answered 503")));
    let numbers: Vec<_> = attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!(numbers, [2, 3], "the newest, oldest first");
    let Attempt { answer, .. } = &attempts[1];
    assert_eq!(answer, "come \"later\"");
}

async fn an_account_sees_its_own_only(world: World) {
    let (account, one, _) = mixed(&world).await;
    let other = world.store.save_hook(&key("b"), &login("other"), &hook("hook_1", "i-1", "b"), None, at(0)).await;
    let other = other.unwrap();
    assert_ne!(account, other);
    assert_eq!(listed(&world, other, &all(9)).await, Vec::<String>::new());
    assert!(world.store.delivery(other, &one.id, Seq(1), 9).await.unwrap().is_none());
    let which = WhichHooks { limit: 9, waiting_max: 9, ..WhichHooks::default() };
    let [standing] = &world.store.hook_standings(other, &which).await.unwrap()[..] else { panic!("one hook") };
    assert_eq!((standing.behind, standing.waiting), (None, 0), "an id is of one account");
    assert_eq!(redeliver(&world, other, &one, &[1, 2], 70_000).await, Some(0));
    assert_eq!(listed(&world, account, &all(100)).await.last().unwrap(), "hook_1 1 delivered");
    assert_eq!(world.store.settled_since(other, &one.id, at(0), &SETTLED, 9).await.unwrap(), []);
}

async fn an_enabled_hook_gets_what_waits_and_a_late_410_does_not_disable_it_again(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[&hook]), ("i-2", &[&hook])]).await;
    world.claim(1).await;
    world.record(account, &hook, 1, gone(&hook), 2).await;
    let version = world.store.hook_by_id(account, &hook.id).await.unwrap().unwrap().version;
    assert!(world.claimed(100).await.is_empty());

    assert!(world.store.enable_hook(account, &hook.id, at(100)).await.unwrap());
    world.record(account, &hook, 2, gone(&hook), 3).await;
    let stored = world.store.hook_by_id(account, &hook.id).await.unwrap().unwrap();
    assert!(stored.disabled.is_none() && stored.failing_since.is_none());
    assert!(stored.version > version, "who keeps the hook in memory sees that it is another one");
    assert_eq!(world.claimed(101).await.len(), 3, "one of each resource, and that it was disabled");

    // Again is no harm, and what is not there is not enabled.
    assert!(world.store.enable_hook(account, &hook.id, at(102)).await.unwrap());
    assert_eq!(world.store.hook_by_id(account, &hook.id).await.unwrap().unwrap().version, stored.version);
    assert!(!world.store.enable_hook(account, &HookId("hook_9".to_owned()), at(102)).await.unwrap());
}

fn snapshots(account: AccountId, hook: &Hook, version: i64, changes: Vec<Change>, second: i64) -> Snapshots {
    let hook = hook.id.clone();
    Snapshots { account, hook, collection: Collection::Instances, version, changes, now: at(second) }
}

async fn snapshots_come_after_what_waits_and_go_to_one_hook(world: World) {
    let (one, two) = (collection_hook("hook_1", "one"), hook("hook_2", "i-1", "two"));
    let account = world.set(&one).await;
    world.set(&two).await;
    world.news(account, 1, &[("i-1", &[&one])]).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let taken = snapshots(account, &one, version, vec![change("i-1", 5), change("i-2", 5)], 5);
    assert_eq!(world.store.commit_snapshots(&taken).await.unwrap(), Some((Seq(2), Seq(3))));
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().version, version);
    assert_eq!(world.claimed(5).await, owed(&[("hook_1", 1), ("hook_1", 3)]));
    world.record(account, &one, 1, Verdict::Delivered, 6).await;
    assert_eq!(world.claimed(6).await, owed(&[("hook_1", 2)]));
    assert_eq!(world.store.log_bounds(account).await.unwrap(), (Some(Seq(1)), Seq(3)));

    let nothing = snapshots(account, &one, version, vec![], 6);
    assert_eq!(world.store.commit_snapshots(&nothing).await.unwrap(), None);
}

async fn snapshots_decided_on_something_older_are_refused(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    let late = snapshots(account, &hook, version, vec![change("i-1", 5)], 5);
    assert!(matches!(world.store.commit_snapshots(&late).await, Err(Error::Conflict)));
    let stranger = collection_hook("hook_9", "nine");
    let unknown = snapshots(account, &stranger, version + 1, vec![change("i-1", 5)], 5);
    assert!(matches!(world.store.commit_snapshots(&unknown).await, Err(Error::Conflict)));
    assert_eq!(world.store.log_bounds(account).await.unwrap().1, Seq(1));
}

async fn what_was_settled_since_is_found_by_state(world: World) {
    let (account, one, two) = mixed(&world).await;
    let check = async |hook: &Hook, since: i64, states: &[DeliveryState], limit: usize, wanted: &[u64]| {
        let found = world.store.settled_since(account, &hook.id, at(since), states, limit).await.unwrap();
        assert_eq!(found.iter().map(|seq| seq.0).collect::<Vec<_>>(), wanted, "{since} {states:?}");
    };
    check(&one, 0, &SETTLED, 9, &[1, 2]).await;
    check(&one, 0, &SETTLED, 1, &[1]).await;
    check(&one, 10_001, &SETTLED, 9, &[2]).await;
    check(&one, 20_000, &[DeliveryState::Exhausted], 9, &[2]).await;
    check(&one, 20_001, &[DeliveryState::Exhausted], 9, &[]).await;
    check(&two, 0, &[DeliveryState::Exhausted], 9, &[4]).await;
    check(&two, 0, &SETTLED, 9, &[4, 5]).await;
    check(&two, 1_000_000, &SETTLED, 9, &[]).await;
}

async fn a_settled_one_that_is_sent_again_comes_before_what_waits(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook]), ("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    for (seq, verdict) in [(1, Verdict::Delivered), (2, Verdict::Exhausted { disable: None })] {
        world.claim(2).await;
        world.record(account, &hook, seq, verdict, 2).await;
    }
    world.claim(2).await;
    world.record(account, &hook, 3, retry(500), 2).await;
    assert_eq!(redeliver(&world, account, &hook, &[2, 1], 10).await, Some(2));
    for seq in 1..=4 {
        let [delivery] = &world.claim(10).await[..] else { panic!("{seq} is due, and it alone") };
        assert_eq!((delivery.entry.seq.0, delivery.attempts), (seq, u32::from(seq == 3)));
        world.record(account, &hook, seq, Verdict::Delivered, 10).await;
    }
    assert!(world.undelivered(account).await.is_empty());
}

async fn a_settled_one_that_is_sent_again_waits_for_what_is_under_way(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.claim(2).await;
    world.record(account, &hook, 1, Verdict::Delivered, 2).await;
    assert_eq!(world.claimed(3).await, owed(&[("hook_1", 2)]));
    assert_eq!(redeliver(&world, account, &hook, &[1], 4).await, Some(1));
    assert!(world.claimed(5).await.is_empty(), "one of a resource at a time");
    world.record(account, &hook, 2, Verdict::Delivered, 6).await;
    assert_eq!(world.claimed(6).await, owed(&[("hook_1", 1)]));
    world.record(account, &hook, 1, Verdict::Delivered, 7).await;
    assert_eq!(world.claimed(7).await, owed(&[("hook_1", 3)]));
}

async fn a_waiting_one_is_brought_forward_unless_it_is_under_way(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.claim(1).await;
    assert_eq!(redeliver(&world, account, &hook, &[1], 2).await, Some(0), "it is under way");
    world.record(account, &hook, 1, retry(500), 2).await;
    assert!(world.claimed(3).await.is_empty());
    assert_eq!(redeliver(&world, account, &hook, &[2], 3).await, Some(1));
    assert!(world.claimed(3).await.is_empty(), "its elder is not due, and comes first");
    assert_eq!(redeliver(&world, account, &hook, &[1], 4).await, Some(1));
    let [delivery] = &world.claim(4).await[..] else { panic!("it is due") };
    assert_eq!((delivery.entry.seq, delivery.attempts), (Seq(1), 0));
}

async fn a_hook_that_is_not_called_sends_nothing_again(world: World) {
    let (dead, feed) = (hook("hook_1", "i-1", "one"), feed_hook("hook_2", "i-2"));
    let account = world.set(&dead).await;
    world.set(&feed).await;
    world.news(account, 1, &[("i-1", &[&dead]), ("i-1", &[&dead]), ("i-2", &[&feed])]).await;
    world.claim(1).await;
    world.record(account, &dead, 1, Verdict::Delivered, 2).await;
    world.claim(2).await;
    world.record(account, &dead, 2, gone(&dead), 2).await;
    assert_eq!(redeliver(&world, account, &dead, &[1], 3).await, None);
    assert_eq!(redeliver(&world, account, &feed, &[3], 3).await, None);
    world.store.remove_hook(account, &dead.subscriber, &dead.scope, at(4)).await.unwrap();
    assert_eq!(redeliver(&world, account, &dead, &[1], 5).await, None);
    assert_eq!(
        listed(&world, account, &all(9)).await,
        ["hook_1 4 dropped", "hook_2 3 waiting", "hook_1 2 dropped", "hook_1 1 delivered"],
        "what says that it was disabled was dropped with it"
    );
}

async fn the_pulse_names_the_laggards_first(world: World) {
    let hooks = [hook("hook_1", "i-1", "one"), hook("hook_2", "i-2", "two"), hook("hook_3", "i-3", "three")];
    let [one, two, three] = &hooks;
    let account = world.set(one).await;
    world.set(two).await;
    world.set(three).await;
    world.news(account, 5, &[("i-1", &[one])]).await;
    world.news(account, 3, &[("i-2", &[two]), ("i-2", &[two])]).await;
    world.claim(5).await;
    world.record(account, one, 1, gone(one), 5).await;
    let lag = |hook: &Hook, since: Option<i64>| (account, hook.id.clone(), since.map(at));
    let pulse = world.store.pulse(9, 2).await.unwrap();
    let hooks = vec![lag(two, Some(3)), lag(one, Some(5)), lag(three, None)];
    assert_eq!(pulse, Pulse { hooks, hooks_total: 3, hooks_disabled: 1, deliveries_waiting: 2 });
    assert_eq!(world.store.pulse(1, 9).await.unwrap().hooks, [lag(two, Some(3))]);
}
