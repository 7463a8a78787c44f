//! What is kept long enough goes, from the oldest on, and takes nothing along that is needed. That it does so at any time of any
//! history is in [`super::history`].

use tracker::model::{AccountId, Callback, Collection, DeliveryState, Hook, InstanceState, Scope, Seq, Verdict};
use tracker::store::{
    ATTEMPTS_KEPT, Baseline, Commit, Error, NewChange, PruneFrom, PruneRules, Pruned, WhichDeliveries,
};

use super::world::{
    PASSWORD, World, ask, at, change, collection_hook, commit, feed_hook, hook, instance, key, known, login, outcome,
    owed, results, retry, subscriber,
};

contract! {
    what_is_older_than_the_age_goes_and_nothing_younger
    what_lies_beyond_the_count_goes_however_young
    one_that_is_kept_keeps_all_that_come_after_it
    an_empty_log_remembers_its_last_number
    deliveries_and_attempts_go_with_their_change
    what_is_owed_within_the_bounds_stays_owed
    what_is_owed_for_too_long_is_given_up_and_the_next_of_its_line_is_due
    what_is_under_way_is_left_alone_until_its_claim_runs_out
    an_outcome_of_what_was_given_up_harms_nothing
    what_is_given_up_out_of_turn_makes_way_for_none
    hooks_that_ended_long_ago_go_with_the_credentials_once_nothing_is_owed
    a_hook_that_ended_goes_alone_while_another_watches
    a_resource_that_is_gone_for_long_begins_anew
    a_resource_with_a_hook_goes_on_counting
    every_account_has_its_turn
    a_baseline_from_before_pruned_changes_is_refused
    attempts_of_one_delivery_are_bounded
    everything_goes_on_meanwhile
}

fn rules(now: i64, keep_seconds: i64) -> PruneRules {
    PruneRules { now: at(now), before: at(now - keep_seconds), changes_max: 1_000, rows_max: 3 }
}

async fn log(world: &World, account: AccountId) -> Vec<u64> {
    world.store.log_after(account, Seq(0), 1_000).await.unwrap().iter().map(|entry| entry.seq.0).collect()
}

async fn what_is_older_than_the_age_goes_and_nothing_younger(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    for second in 1..=10 {
        world.news(account, second, &[("i-1", &[])]).await;
    }
    assert_eq!(world.prune(&rules(100, 99)).await, Pruned::default(), "the oldest is from then, not from before");
    let pruned = world.prune(&rules(100, 93)).await;
    assert_eq!(pruned, Pruned { changes: 6, ..Pruned::default() });
    assert_eq!(log(&world, account).await, [7, 8, 9, 10]);
    assert_eq!(world.store.log_bounds(account).await.unwrap(), (Some(Seq(7)), Seq(10)));
}

async fn what_lies_beyond_the_count_goes_however_young(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    world.news(account, 1, &[("i-1", &[] as &[&Hook]); 10]).await;
    let rules = PruneRules { changes_max: 4, ..rules(1, 1_000) };
    assert_eq!(world.prune(&rules).await.changes, 6);
    assert_eq!(log(&world, account).await, [7, 8, 9, 10]);
    world.news(account, 2, &[("i-1", &[])]).await;
    assert_eq!(world.prune(&rules).await.changes, 1);
    assert_eq!(log(&world, account).await, [8, 9, 10, 11]);
}

/// The clock was set back meanwhile.
async fn one_that_is_kept_keeps_all_that_come_after_it(world: World) {
    let account = world.set(&hook("hook_1", "i-1", "one")).await;
    for second in [1, 50, 2, 3] {
        world.news(account, second, &[("i-1", &[])]).await;
    }
    assert_eq!(world.prune(&rules(100, 60)).await.changes, 1);
    assert_eq!(log(&world, account).await, [2, 3, 4]);
    assert_eq!(world.prune(&rules(120, 60)).await.changes, 3);
}

async fn an_empty_log_remembers_its_last_number(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook] as &[&Hook]); 5]).await;
    assert_eq!(world.prune(&rules(100, 0)).await.changes, 5);
    assert_eq!(world.store.log_bounds(account).await.unwrap(), (None, Seq(5)));
    assert_eq!(log(&world, account).await, [0; 0]);
    assert_eq!(world.prune(&rules(100, 0)).await, Pruned::default());
    let world = world.reopen().await;
    let entries = world.news(account, 101, &[("i-1", &[&hook])]).await;
    assert_eq!(entries[0].seq, Seq(6));
    assert_eq!(world.claimed(101).await, owed(&[("hook_1", 6)]));
}

async fn deliveries_and_attempts_go_with_their_change(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.news(account, 50, &[("i-1", &[&hook])]).await;
    for second in 1..=5 {
        world.claim(second).await;
        world.record(account, &hook, 1, retry(second + 1), second).await;
    }
    world.claim(6).await;
    world.record(account, &hook, 1, Verdict::Delivered, 6).await;
    let one = async |seq| world.store.delivery(account, &hook.id, Seq(seq), 100).await.unwrap();
    assert_eq!(one(1).await.unwrap().1.len(), 6);
    let pruned = world.prune(&rules(100, 60)).await;
    assert_eq!(pruned, Pruned { changes: 1, deliveries: 1, attempts: 6, ..Pruned::default() });
    assert!(one(1).await.is_none());
    assert!(one(2).await.is_some());
}

async fn what_is_owed_within_the_bounds_stays_owed(world: World) {
    let (posted, read) = (hook("hook_1", "i-1", "one"), feed_hook("hook_2", "i-2"));
    let account = world.set(&posted).await;
    world.set(&read).await;
    world.news(account, 50, &[("i-1", &[&posted]), ("i-2", &[&read])]).await;
    assert_eq!(world.prune(&rules(100, 50)).await, Pruned::default());
    assert_eq!(world.undelivered(account).await, [(1, "hook_1".to_owned()), (2, "hook_2".to_owned())]);
    assert_eq!(world.claimed(100).await, owed(&[("hook_1", 1)]));
}

async fn what_is_owed_for_too_long_is_given_up_and_the_next_of_its_line_is_due(world: World) {
    let (posted, read) = (hook("hook_1", "i-1", "one"), feed_hook("hook_2", "i-1"));
    let read = Hook { subscriber: subscriber("reader"), ..read };
    let account = world.set(&posted).await;
    world.set(&read).await;
    world.news(account, 1, &[("i-1", &[&posted, &read])]).await;
    world.news(account, 50, &[("i-1", &[&posted, &read])]).await;
    // It failed, and is to be tried again in an hour.
    world.claim(1).await;
    world.record(account, &posted, 1, retry(3_600), 1).await;
    assert!(world.claimed(90).await.is_empty());

    let pruned = world.prune(&rules(100, 60)).await;
    assert_eq!((pruned.changes, pruned.deliveries, pruned.given_up), (1, 2, 2));
    assert_eq!(world.claimed(100).await, owed(&[("hook_1", 2)]), "what waited behind it is due at once");
    let unread = world.store.undelivered(account, &subscriber("reader"), Seq(0), 10).await.unwrap();
    assert_eq!(unread.iter().map(|(entry, _)| entry.seq.0).collect::<Vec<_>>(), [2]);
}

async fn what_is_under_way_is_left_alone_until_its_claim_runs_out(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[])]).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[&hook]), ("i-3", &[])]).await;
    assert_eq!(world.claimed(100).await, owed(&[("hook_1", 2), ("hook_1", 3)]));
    world.record(account, &hook, 3, retry(5_000), 100).await;

    let pruned = world.prune(&rules(159, 60)).await;
    assert_eq!((pruned.changes, pruned.deliveries, pruned.given_up), (1, 1, 1), "up to what is under way");
    assert_eq!(log(&world, account).await, [2, 3, 4]);
    let mark = world.store.mark();
    let pruned = world.prune(&rules(160, 60)).await;
    assert_eq!((pruned.changes, pruned.given_up), (3, 1), "nobody has it in hand any more");
    assert!(world.store.revoked_since(account, mark), "and whoever thinks so learns it");
    assert!(world.claimed(160).await.is_empty());
}

async fn an_outcome_of_what_was_given_up_harms_nothing(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.news(account, 200, &[("i-1", &[&hook])]).await;
    world.claim(1).await;
    assert_eq!(world.prune(&rules(201, 60)).await.given_up, 1);
    world.record(account, &hook, 1, Verdict::Delivered, 201).await;
    assert_eq!(world.claimed(201).await, owed(&[("hook_1", 2)]));
    let deliveries = world.store.deliveries(account, &all()).await.unwrap().deliveries;
    assert_eq!(deliveries.len(), 1);
}

fn all() -> WhichDeliveries {
    WhichDeliveries { limit: 1_000, scan_max: 1_000, ..WhichDeliveries::default() }
}

/// Older ones were sent again while the newest of their line is under way: the first of them, given up, makes way for none.
async fn what_is_given_up_out_of_turn_makes_way_for_none(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    for (seq, second) in [(1, 1), (2, 90)] {
        world.news(account, second, &[("i-1", &[&hook])]).await;
        world.claim(second).await;
        world.record(account, &hook, seq, Verdict::Delivered, second).await;
    }
    world.news(account, 91, &[("i-1", &[&hook])]).await;
    assert_eq!(world.claimed(100).await, owed(&[("hook_1", 3)]));
    let delivered = [DeliveryState::Delivered];
    let again = world.store.redeliver(account, &hook.id, &[Seq(1), Seq(2)], &delivered, at(100)).await.unwrap();
    assert_eq!(again, Some(2));
    assert_eq!(world.prune(&rules(101, 60)).await.given_up, 1);
    assert!(world.claimed(101).await.is_empty(), "the newest is still under way");
    world.record(account, &hook, 3, Verdict::Delivered, 102).await;
    assert_eq!(world.claimed(102).await, owed(&[("hook_1", 2)]));
}

/// Instance `i-1` is known, then gone, at these seconds.
async fn comes_and_goes(world: &World, account: AccountId, hook: &Hook, from: i64, to: i64) {
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let upserts = vec![known(instance("i-1", InstanceState::Running), from)];
    world.store.commit_sample(&Commit { upserts, ..commit(account, version, from) }).await.unwrap();
    let changes = vec![NewChange { change: change("i-1", to), told: vec![hook.id.clone()] }];
    let gone = Commit { removed: vec!["i-1".to_owned()], changes, ..commit(account, version + 1, to) };
    world.store.commit_sample(&gone).await.unwrap();
}

async fn hooks_that_ended_long_ago_go_with_the_credentials_once_nothing_is_owed(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    comes_and_goes(&world, account, &hook, 1, 10).await;
    assert_eq!(world.prune(&rules(100, 90)).await, Pruned::default(), "it ended then, not before");
    let pruned = world.prune(&PruneRules { changes_max: 0, ..rules(100, 90) }).await;
    assert_eq!((pruned.given_up, pruned.hooks), (1, 0));
    assert_eq!(world.store.hooks(account).await.unwrap().len(), 1);
    assert!(world.store.account_by_login(&login(PASSWORD), "us-east-1").await.unwrap().is_some());

    let pruned = world.prune(&rules(100, 89)).await;
    assert_eq!(pruned.hooks, 1);
    assert!(world.store.hooks(account).await.unwrap().is_empty());
    assert!(world.store.account(account).await.unwrap().is_none(), "and the credentials are erased");
    assert!(world.store.account_by_login(&login(PASSWORD), "us-east-1").await.unwrap().is_none());
    assert_eq!(world.store.find_account(&key("a")).await.unwrap(), Some(account), "its numbers go on");
}

async fn a_hook_that_ended_goes_alone_while_another_watches(world: World) {
    let (ended, other) = (hook("hook_1", "i-1", "one"), collection_hook("hook_2", "two"));
    let account = world.set(&ended).await;
    world.set(&other).await;
    comes_and_goes(&world, account, &ended, 1, 10).await;
    let version = world.store.known(account, Collection::Instances).await.unwrap().version;
    let upserts = vec![known(instance("i-2", InstanceState::Running), 11)];
    world.store.commit_sample(&Commit { upserts, ..commit(account, version, 11) }).await.unwrap();

    // Owed: it stays, until what it is owed is given up in the same round.
    let early = PruneRules { before: at(5), ..rules(100, 0) };
    assert_eq!(world.prune(&early).await, Pruned::default());
    let pruned = world.prune(&rules(100, 50)).await;
    assert_eq!((pruned.given_up, pruned.hooks, pruned.former_resources), (1, 1, 1));
    let left = world.store.hooks(account).await.unwrap();
    assert_eq!(left.iter().map(|hook| hook.id.0.as_str()).collect::<Vec<_>>(), ["hook_2"]);
    assert!(world.store.account(account).await.unwrap().is_some());
    let known = world.store.known(account, Collection::Instances).await.unwrap();
    assert_eq!(known.members.keys().collect::<Vec<_>>(), ["i-2"], "what is watched stays known");
}

async fn a_resource_that_is_gone_for_long_begins_anew(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    comes_and_goes(&world, account, &hook, 1, 10).await;
    let former = async || world.store.known(account, Collection::Instances).await.unwrap().former;
    assert_eq!(world.prune(&rules(100, 90)).await.former_resources, 0);
    assert_eq!(former().await["i-1"], 3);
    assert_eq!(world.prune(&rules(100, 89)).await.former_resources, 1);
    assert!(former().await.is_empty());
}

/// Its receiver keeps the last revision.
async fn a_resource_with_a_hook_goes_on_counting(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    comes_and_goes(&world, account, &hook, 1, 10).await;
    // Something younger is still owed to the hook.
    world.news(account, 80, &[("i-1", &[&hook])]).await;
    let pruned = world.prune(&rules(100, 50)).await;
    assert_eq!((pruned.given_up, pruned.hooks, pruned.former_resources), (1, 0, 0));
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap().former["i-1"], 3);
    let pruned = world.prune(&rules(200, 50)).await;
    assert_eq!((pruned.given_up, pruned.hooks, pruned.former_resources), (1, 1, 1));
}

async fn every_account_has_its_turn(world: World) {
    let mut accounts = vec![];
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        let hook = hook("hook_1", "i-1", "one");
        accounts.push(world.store.save_hook(&key(name), &login(PASSWORD), &hook, None, at(0)).await.unwrap());
    }
    let busy: Vec<_> = accounts.iter().copied().step_by(3).collect();
    for account in &busy {
        world.news(*account, 1, &[("i-1", &[] as &[&Hook]); 7]).await;
        world.news(*account, 90, &[("i-1", &[])]).await;
    }
    assert_eq!(world.prune(&rules(100, 50)).await.changes, 21);
    for account in busy {
        assert_eq!(log(&world, account).await, [8]);
    }
    // Whoever begins in the middle reaches those after it.
    let step = world.store.prune(&rules(200, 50), PruneFrom::Log(accounts[4])).await.unwrap();
    assert_eq!(step.next, Some(PruneFrom::Log(accounts[6])));
    assert_eq!((step.changes, log(&world, accounts[0]).await), (1, vec![8]));
}

async fn a_baseline_from_before_pruned_changes_is_refused(world: World) {
    let account = world.set(&collection_hook("hook_1", "one")).await;
    world.news(account, 1, &[("i-1", &[] as &[&Hook]); 2]).await;
    let second =
        Hook { callback: Callback::Feed, scope: Scope::Collection(Collection::Realms), ..hook("hook_2", "", "x") };
    let set = async |through| {
        let baseline =
            Baseline { collection: Collection::Realms, through: Seq(through), members: vec![], complete_at: None };
        world.store.save_hook(&key("a"), &login(PASSWORD), &second, Some(&baseline), at(2)).await
    };
    set(1).await.unwrap();
    world.prune(&rules(100, 0)).await;
    assert!(matches!(set(1).await, Err(Error::Conflict)), "who knows what that was");
    set(2).await.unwrap();
}

async fn attempts_of_one_delivery_are_bounded(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    let last = ATTEMPTS_KEPT as i64 + 5;
    for second in 1..=last {
        world.claim(second).await;
        world.record(account, &hook, 1, Verdict::Postpone { due_at: at(second + 1) }, second).await;
    }
    let (_, attempts) = world.store.delivery(account, &hook.id, Seq(1), 1_000).await.unwrap().unwrap();
    let kept: Vec<_> = attempts.iter().map(|attempt| attempt.at).collect();
    assert_eq!(kept, (6..=last).map(at).collect::<Vec<_>>(), "the newest");
}

/// Recording, delivering, following and pruning at once. Whoever follows sees every change or learns that he came too late.
async fn everything_goes_on_meanwhile(world: World) {
    const LAST: u64 = 300;
    let (posted, read) = (collection_hook("hook_1", "one"), collection_hook("hook_2", "two"));
    let read = Hook { callback: Callback::Feed, subscriber: subscriber("reader"), ..read };
    let account = world.set(&posted).await;
    world.set(&read).await;
    let store = &world.store;

    let recording = async {
        for _ in 0..LAST / 3 {
            let all: &[&Hook] = &[&posted, &read];
            world.news(account, 10, &[("i-1", all), ("i-2", all), ("i-3", all)]).await;
        }
    };
    let delivering = async {
        let mut last = std::collections::BTreeMap::new();
        while store.log_bounds(account).await.unwrap().1 < Seq(LAST) {
            let ask = ask(at(10), at(70), 7, 7, &[]);
            let claimed = store.claim(&ask).await.unwrap();
            assert!(claimed.unreadable.is_empty(), "what is owed can be read: {:?}", claimed.unreadable);
            let mut outcomes = vec![];
            for delivery in claimed.deliveries {
                let (id, seq) = (delivery.entry.change.subject.id, delivery.entry.seq);
                assert!(last.insert(id, seq) < Some(seq), "in order");
                outcomes.push(outcome(account, &posted, seq.0, Verdict::Delivered, 10));
            }
            store.record(&results(outcomes), at(10)).await.unwrap();
        }
    };
    let following = async {
        let (mut place, mut seen, mut missed) = (0, 0, 0);
        while place < LAST {
            let entries = store.log_after(account, Seq(place), 5).await.unwrap();
            // Asked afterwards: what was there by then was there before.
            let (oldest, last) = store.log_bounds(account).await.unwrap();
            let oldest = oldest.map_or(last.0 + 1, |seq| seq.0);
            store.undelivered(account, &subscriber("reader"), Seq(0), 5).await.unwrap();
            if place + 1 < oldest {
                missed += oldest - 1 - place;
                place = oldest - 1;
                continue;
            }
            for entry in entries {
                assert_eq!(entry.seq.0, place + 1, "no hole");
                (place, seen) = (entry.seq.0, seen + 1);
            }
        }
        assert_eq!(seen + missed, LAST);
    };
    let pruning = async {
        let rules = PruneRules { changes_max: 20, rows_max: 10, ..rules(10, 1_000) };
        let mut changes = 0;
        while changes < LAST - 20 {
            changes += world.prune(&rules).await.changes;
            // What is under way when all else has stopped is given back.
            store.release_claims().await.unwrap();
        }
        assert_eq!(changes, LAST - 20);
    };
    let ((), (), (), ()) = tokio::join!(recording, delivering, following, pruning);
    assert_eq!(log(&world, account).await, (LAST - 19..=LAST).collect::<Vec<_>>());
}
