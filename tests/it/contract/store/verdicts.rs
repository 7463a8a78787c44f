use std::collections::BTreeSet;

use jiff::Timestamp;
use tracker::model::{AccountId, Collection, Entry, Events, Hook, HookId, Scope, Seq, Terms, Verdict};
use tracker::store::{Commit, NewChange};

use super::world::{
    World, ask, at, change, collection_hook, commit, gone, hook, key, last, login, outcome, owed, results, retry,
    subscriber,
};

contract! {
    a_failure_is_tried_again_when_it_says_and_keeps_its_place
    our_own_failure_is_not_counted
    an_exhausted_one_lets_the_next_pass_and_stays_in_the_feed
    a_hook_whose_receiver_is_gone_is_disabled
    a_hook_that_is_disabled_is_told_to_the_hooks_on_the_account
    many_outcomes_are_recorded_at_once
    two_outcomes_of_one_delivery_count_twice
    a_late_outcome_changes_nothing_that_was_settled
    a_claim_that_was_overtaken_does_not_decide
    a_claim_that_ran_out_but_was_not_overtaken_still_decides
    what_is_said_of_an_old_callback_does_not_hit_the_new_one
    an_outcome_of_nothing_is_passed_over
    a_hook_fails_since_its_first_failure_until_a_success
    what_says_nothing_of_the_hook_does_not_say_that_it_fails
    the_last_try_may_disable_the_hook
    being_disabled_is_said_each_time_and_counted
}

async fn failing_since(world: &World, account: AccountId, hook: &Hook) -> Option<Timestamp> {
    world.store.hook_by_id(account, &hook.id).await.unwrap().unwrap().failing_since
}

async fn a_hook_fails_since_its_first_failure_until_a_success(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[&hook]), ("i-3", &[&hook])]).await;
    assert_eq!(failing_since(&world, account, &hook).await, None);
    world.claim(1).await;
    world.record(account, &hook, 1, retry(50), 2).await;
    world.record(account, &hook, 2, Verdict::Exhausted { disable: None }, 3).await;
    assert_eq!(failing_since(&world, account, &hook).await, Some(at(2)));
    assert_eq!(world.claim(50).await[0].failing_since, Some(at(2)), "the sender knows it");
    world.record(account, &hook, 3, Verdict::Delivered, 51).await;
    assert_eq!(failing_since(&world, account, &hook).await, None, "another resource's success is one of the hook");

    // In one call, in the order given.
    let both = [outcome(account, &hook, 1, Verdict::Delivered, 52), outcome(account, &hook, 1, retry(60), 53)];
    world.store.record(&results(both), at(54)).await.unwrap();
    assert_eq!(failing_since(&world, account, &hook).await, Some(at(53)));
    world.set_at(&hook, 60).await;
    assert_eq!(failing_since(&world, account, &hook).await, None, "a hook that is set begins anew");
}

async fn what_says_nothing_of_the_hook_does_not_say_that_it_fails(world: World) {
    let (old, new) = (hook("hook_1", "i-1", "one"), hook("hook_1", "i-1", "two"));
    let account = world.set(&old).await;
    world.news(account, 1, &[("i-1", &[&old])]).await;
    world.claim(1).await;
    world.record(account, &old, 1, Verdict::Postpone { due_at: at(3) }, 2).await;
    assert_eq!(failing_since(&world, account, &old).await, None, "our own fault");
    world.claim(3).await;
    world.set_at(&new, 5).await;
    for verdict in [retry(9), Verdict::Exhausted { disable: None }, gone(&old)] {
        world.store.record(&results([outcome(account, &old, 1, verdict, 4)]), at(6)).await.unwrap();
        assert_eq!(failing_since(&world, account, &new).await, None, "what the old callback did");
    }
    world.record(account, &new, 1, retry(9), 7).await;
    world.store.record(&results([outcome(account, &old, 1, Verdict::Delivered, 4)]), at(8)).await.unwrap();
    assert_eq!(failing_since(&world, account, &new).await, Some(at(7)), "nor does its success help the new one");
}

async fn the_last_try_may_disable_the_hook(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook]), ("i-2", &[&hook])]).await;
    world.claim(1).await;
    world.record(account, &hook, 1, last(&hook), 2).await;
    let stored = world.store.hook_by_id(account, &hook.id).await.unwrap().unwrap();
    assert_eq!(stored.disabled.unwrap().reason, "it fails for days");
    assert!(world.claimed(1_000).await.is_empty(), "nothing is sent any more, not even the next in line");
    let owed_now: Vec<u64> = world.undelivered(account).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(owed_now, [1, 2, 3, 4], "the exhausted one, what waits, and that the hook is disabled");
    world.set_at(&hook, 2_000).await;
    let again: Vec<u64> = world.claim(2_000).await.iter().map(|delivery| delivery.entry.seq.0).collect();
    assert_eq!(again, [2, 3, 4], "the exhausted one is tried no more");
}

async fn being_disabled_is_said_each_time_and_counted(world: World) {
    let (hook, other) = (hook("hook_1", "i-1", "one"), collection_hook("hook_2", "two"));
    let account = world.set(&hook).await;
    world.set(&other).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[&hook])]).await;
    for round in 0..3 {
        let second = 10 * round;
        world.set_at(&hook, second + 1).await;
        world.claim(second + 1).await;
        let both = [1, 2].map(|seq| outcome(account, &hook, seq, gone(&hook), second + 2));
        world.store.record(&results(both), at(second + 2)).await.unwrap();
    }
    let log = world.store.log_after(account, Seq(2), 9).await.unwrap();
    let said: Vec<_> = log
        .iter()
        .map(|Entry { seq, change }| {
            (seq.0, format!("{}/{}", change.subject.collection, change.subject.id), change.subject.revision)
        })
        .collect();
    assert_eq!(said, [3, 4, 5].map(|seq| (seq, "hooks/hook_1".to_owned(), seq - 2)), "once for each time");
    let owed_to: Vec<String> = world.undelivered(account).await.into_iter().map(|(_, hook)| hook).collect();
    assert_eq!(owed_to, ["hook_1"; 5], "to itself, and to nobody else");
}

async fn a_failure_is_tried_again_when_it_says_and_keeps_its_place(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    for attempts in 0..3 {
        let second = 10 + 100 * i64::from(attempts);
        assert!(world.claimed(second - 1).await.is_empty() || attempts == 0);
        world.store.release_claims().await.unwrap();
        let [delivery] = &world.claim(second).await[..] else { panic!("due at {second}") };
        assert_eq!((delivery.entry.seq, delivery.attempts), (Seq(1), attempts));
        world.record(account, &hook, 1, retry(second + 100), second + 1).await;
    }
    assert_eq!(world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap(), Some(at(310)));
}

async fn our_own_failure_is_not_counted(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    for second in [10, 20, 30] {
        let [delivery] = &world.claim(second).await[..] else { panic!("due at {second}") };
        assert_eq!(delivery.attempts, 0);
        world.record(account, &hook, 1, Verdict::Postpone { due_at: at(second + 10) }, second).await;
        assert!(world.claimed(second + 9).await.is_empty());
    }
}

async fn an_exhausted_one_lets_the_next_pass_and_stays_in_the_feed(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.claim(1).await;
    world.record(account, &hook, 1, Verdict::Exhausted { disable: None }, 2).await;
    assert_eq!(world.claimed(2).await, owed(&[("hook_1", 2)]));
    world.record(account, &hook, 2, Verdict::Delivered, 3).await;
    assert_eq!(world.undelivered(account).await, [(1, "hook_1".to_owned())]);
    assert!(world.claimed(1_000_000).await.is_empty());
}

async fn a_hook_whose_receiver_is_gone_is_disabled(world: World) {
    let (dead, alive) = (collection_hook("hook_1", "one"), hook("hook_2", "i-1", "one"));
    let account = world.set(&dead).await;
    world.set(&alive).await;
    let both = [&dead, &alive];
    world.news(account, 1, &[("i-1", &both), ("i-2", &[&dead]), ("i-3", &[&dead]), ("i-3", &[&dead])]).await;
    assert_eq!(world.claim(1).await.len(), 4);
    world.record(account, &dead, 1, gone(&dead), 5).await;

    let stored = world.store.hook_by_id(account, &dead.id).await.unwrap().unwrap();
    let disabled = stored.disabled.unwrap();
    assert_eq!((disabled.at, disabled.reason.as_str()), (at(5), "the receiver said 410"));
    assert!(world.store.hook_by_id(account, &alive.id).await.unwrap().unwrap().disabled.is_none());

    // What was under way of other resources may still arrive; nothing else is sent.
    world.record(account, &dead, 2, Verdict::Delivered, 6).await;
    world.record(account, &dead, 3, retry(7), 6).await;
    assert_eq!(world.claimed(1_000).await, owed(&[("hook_2", 1)]));
    let waiting: Vec<u64> = world.undelivered(account).await.into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(waiting, [1, 3, 4, 5]);
    let log = world.store.log_after(account, Seq(4), 9).await.unwrap();
    let [Entry { seq: Seq(5), change }] = &log[..] else { panic!("{log:?}") };
    assert_eq!(
        (change.news.kind(), change.subject.id.as_str(), change.subject.revision),
        ("hook.disabled", "hook_1", 1)
    );
    // The reason of the first is kept.
    world.record(account, &dead, 3, gone(&dead), 8).await;
    let stored = world.store.hook_by_id(account, &dead.id).await.unwrap().unwrap();
    assert_eq!(stored.disabled.unwrap().reason, "the receiver said 410");
    assert!(world.store.log_after(account, Seq(5), 9).await.unwrap().is_empty(), "it is said once");
}

async fn a_hook_that_is_disabled_is_told_to_the_hooks_on_the_account(world: World) {
    let dead = hook("hook_1", "i-1", "one");
    let whole = |id: &str, subscriber_of: &str, events: &[&str]| {
        let events = events.iter().map(|&event| event.to_owned()).collect::<BTreeSet<_>>();
        let terms = Terms { events: Events(Some(events).filter(|events| !events.is_empty())), ..Terms::default() };
        Hook { scope: Scope::Account, subscriber: subscriber(subscriber_of), terms, ..hook(id, "", "two") }
    };
    let account = world.set(&dead).await;
    world.set(&whole("hook_2", "default", &[])).await;
    world.set(&whole("hook_3", "wants", &["hook.disabled"])).await;
    let quiet = whole("hook_4", "quiet", &["observation_gap"]);
    world.set(&quiet).await;
    world.store.save_hook(&key("b"), &login("b"), &whole("hook_5", "default", &[]), None, at(0)).await.unwrap();
    world.news(account, 1, &[("i-1", &[&dead])]).await;
    world.claim(1).await;
    world.record(account, &dead, 1, gone(&dead), 2).await;
    assert_eq!(world.claimed(2).await, owed(&[("hook_2", 2), ("hook_3", 2)]));
    // His own, and once.
    assert_eq!(world.undelivered(account).await, owed_as_seqs(&[(1, "hook_1"), (2, "hook_1")]));

    // One on the account that is disabled itself is told so, whatever it asked for.
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let told = NewChange { change: change("i-9", 3), told: vec![quiet.id.clone()] };
    let news = Commit { changes: vec![told], ..commit(account, version, 3) };
    world.store.commit_sample(&news).await.unwrap();
    world.claim(3).await;
    world.record(account, &quiet, 3, gone(&quiet), 4).await;
    let owed = world.store.undelivered(account, &quiet.subscriber, Seq(0), 9).await.unwrap();
    assert_eq!(owed.iter().map(|(entry, _)| entry.seq.0).collect::<Vec<_>>(), [3, 4]);
    let owed = world.store.undelivered(account, &subscriber("wants"), Seq(0), 9).await.unwrap();
    assert_eq!(owed.iter().map(|(entry, _)| entry.seq.0).collect::<Vec<_>>(), [2, 4]);
}

fn owed_as_seqs(list: &[(u64, &str)]) -> Vec<(u64, String)> {
    list.iter().map(|(seq, hook)| (*seq, (*hook).to_owned())).collect()
}

async fn many_outcomes_are_recorded_at_once(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    let twice = [("i-1", 2), ("i-2", 2), ("i-3", 2), ("i-4", 1)];
    for second in 0..2 {
        let told = [&hook];
        let news: Vec<_> = twice.iter().filter(|(_, times)| second < *times).map(|(id, _)| (*id, &told[..])).collect();
        world.news(account, i64::from(second), &news).await;
    }
    assert_eq!(world.claim(5).await.len(), 4);
    let outcomes = [
        outcome(account, &hook, 1, Verdict::Delivered, 5),
        outcome(account, &hook, 2, retry(50), 5),
        outcome(account, &hook, 3, Verdict::Exhausted { disable: None }, 5),
        outcome(account, &hook, 4, Verdict::Delivered, 5),
    ];
    world.store.record(&results(outcomes), at(6)).await.unwrap();
    assert_eq!(world.claimed(6).await, owed(&[("hook_1", 5), ("hook_1", 7)]));
    assert_eq!(world.claimed(50).await, owed(&[("hook_1", 2)]));
    world.store.record(&results([]), at(7)).await.unwrap();
}

async fn two_outcomes_of_one_delivery_count_twice(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.claim(1).await;
    let failed = outcome(account, &hook, 1, retry(9), 2);
    world.store.record(&results([failed.clone(), failed]), at(2)).await.unwrap();
    assert_eq!(world.claim(9).await[0].attempts, 2);
    let both = [outcome(account, &hook, 1, Verdict::Delivered, 9), outcome(account, &hook, 1, retry(20), 9)];
    world.store.record(&results(both), at(9)).await.unwrap();
    assert_eq!(world.claimed(9).await, owed(&[("hook_1", 2)]), "delivered is delivered");
}

async fn a_late_outcome_changes_nothing_that_was_settled(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.claim(1).await;
    assert_eq!(world.store.acknowledge(account, &subscriber("default"), &[Seq(1)], at(2)).await.unwrap(), 1);
    assert_eq!(world.claimed(2).await, owed(&[("hook_1", 2)]));

    for verdict in [
        retry(3),
        Verdict::Exhausted { disable: None },
        Verdict::Postpone { due_at: at(3) },
        Verdict::Delivered,
        gone(&hook),
    ] {
        world.record(account, &hook, 1, verdict, 3).await;
        assert!(world.claimed(3).await.is_empty(), "the second stays claimed");
    }
    assert_eq!(world.undelivered(account).await, [(2, "hook_1".to_owned())]);
}

async fn a_claim_that_was_overtaken_does_not_decide(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.store.claim(&ask(at(1), at(31), 9, 9, &[])).await.unwrap();
    world.store.claim(&ask(at(40), at(70), 9, 9, &[])).await.unwrap();

    // The first, made at 2, reports only now.
    for verdict in [retry(41), Verdict::Postpone { due_at: at(41) }, Verdict::Exhausted { disable: None }] {
        let late = outcome(account, &hook, 1, verdict, 2);
        world.store.record(&results([late]), at(42)).await.unwrap();
        assert!(world.claimed(69).await.is_empty(), "the second still has it in hand");
    }
    world.record(account, &hook, 1, retry(100), 60).await;
    assert!(world.claimed(99).await.is_empty());
    assert_eq!(world.claim(100).await[0].attempts, 3, "retry and exhausted of the first, retry of the second");

    // But what arrived has arrived, whoever brought it.
    world.store.record(&results([outcome(account, &hook, 1, Verdict::Delivered, 2)]), at(101)).await.unwrap();
    assert_eq!(world.claimed(101).await, owed(&[("hook_1", 2)]));
    world.record(account, &hook, 1, retry(102), 101).await;
    assert!(world.claimed(110).await.is_empty(), "and order is as it was");
}

async fn a_claim_that_ran_out_but_was_not_overtaken_still_decides(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.store.claim(&ask(at(1), at(31), 9, 9, &[])).await.unwrap();
    world.store.record(&results([outcome(account, &hook, 1, retry(90), 2)]), at(40)).await.unwrap();
    assert!(world.claimed(89).await.is_empty());
    assert_eq!(world.claimed(90).await, owed(&[("hook_1", 1)]));
}

async fn what_is_said_of_an_old_callback_does_not_hit_the_new_one(world: World) {
    let (old, new) = (hook("hook_1", "i-1", "one"), hook("hook_1", "i-1", "two"));
    for verdict in [gone(&old), Verdict::Exhausted { disable: None }] {
        let account = world.set_at(&old, 0).await;
        let seq = world.news(account, 1, &[("i-1", &[&old])]).await[0].seq.0;
        world.claim(1).await;
        world.set_at(&new, 5).await;
        world.store.record(&results([outcome(account, &old, seq, verdict, 2)]), at(6)).await.unwrap();

        assert!(world.store.hook_by_id(account, &new.id).await.unwrap().unwrap().disabled.is_none());
        assert_eq!(world.claimed(6).await, owed(&[("hook_1", seq)]), "the new callback gets its chance");
        world.record(account, &new, seq, Verdict::Delivered, 7).await;
    }
}

async fn an_outcome_of_nothing_is_passed_over(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    let mut stray = outcome(account, &hook, 1, Verdict::Delivered, 2);
    stray.hook = HookId("hook_9".to_owned());
    let outcomes = [stray, outcome(account, &hook, 9, Verdict::Delivered, 2)];
    world.store.record(&results(outcomes), at(2)).await.unwrap();
    assert_eq!(world.claimed(2).await, owed(&[("hook_1", 1)]));
}
