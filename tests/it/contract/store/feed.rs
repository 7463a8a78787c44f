use std::collections::BTreeSet;

use tracker::model::{AccountId, Collection, Hook, Seq, Verdict};
use tracker::store::WhichOwed;

use super::world::{World, at, collection_hook, feed_hook, hook, key, login, owed, subscriber};

contract! {
    what_is_undelivered_comes_once_and_oldest_first
    what_is_asked_for_is_found_among_what_is_owed
    subscribers_do_not_read_for_one_another
    what_is_read_is_sent_no_more
    what_is_read_lets_the_next_pass
    reading_up_to_a_place_reads_everything_before
    the_log_is_there_delivered_or_not
    bounds_of_the_log
}

async fn what_is_undelivered_comes_once_and_oldest_first(world: World) {
    let (one, two) = (collection_hook("hook_1", "one"), feed_hook("hook_0", "i-1"));
    let account = world.set(&one).await;
    world.set(&two).await;
    let entries = world.news(account, 1, &[("i-1", &[&one, &two]), ("i-2", &[&one]), ("i-3", &[])]).await;
    let got = world.store.undelivered(account, &subscriber("default"), Seq(0), 10).await.unwrap();
    assert_eq!(got, [(entries[0].clone(), two.id.clone()), (entries[1].clone(), one.id.clone())]);
    assert_eq!(world.store.undelivered(account, &subscriber("default"), Seq(0), 1).await.unwrap().len(), 1);
    assert!(world.store.undelivered(account, &subscriber("default"), Seq(0), 0).await.unwrap().is_empty());
    assert!(world.undelivered(AccountId(99)).await.is_empty());

    world.claim(1).await;
    assert_eq!(world.undelivered(account).await.len(), 2, "under way is not delivered");
    world.record(account, &one, 1, Verdict::Delivered, 2).await;
    world.record(account, &one, 2, Verdict::Delivered, 2).await;
    assert_eq!(world.undelivered(account).await, [(1, "hook_0".to_owned())], "the other hook still owes it");
}

async fn what_is_asked_for_is_found_among_what_is_owed(world: World) {
    let (one, two) = (collection_hook("hook_1", "one"), feed_hook("hook_0", "i-1"));
    let account = world.set(&one).await;
    world.set(&two).await;
    let (one, both): (&[&Hook], &[&Hook]) = (&[&one], &[&one, &two]);
    let entries =
        world.news(account, 1, &[("i-1", both), ("i-2", one), ("i-3", &[]), ("i-1", one), ("i-4", one)]).await;
    let any = WhichOwed { limit: 10, scan_max: 10, ..WhichOwed::default() };
    let find = async |which: &WhichOwed<'_>| {
        let page = world.store.undelivered_of(account, &subscriber("default"), which).await.unwrap();
        let seqs: Vec<u64> = page.owed.iter().map(|(entry, _)| entry.seq.0).collect();
        (seqs, page.looked.map(|seq| seq.0))
    };
    let check = async |which: WhichOwed<'_>, seqs: &[u64], looked: Option<u64>| {
        assert_eq!(find(&which).await, (seqs.to_vec(), looked), "{which:?}");
    };
    check(any.clone(), &[1, 2, 4, 5], None).await;
    check(WhichOwed { resource: Some("i-1"), ..any.clone() }, &[1, 4], None).await;
    check(WhichOwed { resource: Some("i-1"), after: Seq(1), ..any.clone() }, &[4], None).await;
    check(WhichOwed { resource: Some("i-1"), through: Some(Seq(3)), ..any.clone() }, &[1], None).await;
    check(WhichOwed { resource: Some("i-1"), limit: 1, ..any.clone() }, &[1], Some(1)).await;
    // Two hooks owe the first: that is two rows.
    check(WhichOwed { resource: Some("i-4"), scan_max: 3, ..any.clone() }, &[], Some(2)).await;
    check(WhichOwed { resource: Some("i-4"), scan_max: 3, after: Seq(2), ..any.clone() }, &[5], None).await;
    check(WhichOwed { resource: Some("nobody"), ..any.clone() }, &[], None).await;
    let topic = |collection: Collection| Some(collection.into());
    check(WhichOwed { collection: topic(Collection::Instances), ..any.clone() }, &[1, 2, 4, 5], None).await;
    check(WhichOwed { collection: topic(Collection::Realms), ..any.clone() }, &[], None).await;
    let kind = entries[0].change.news.kind();
    check(WhichOwed { kinds: Some(vec![kind, "realm.state"]), ..any.clone() }, &[1, 2, 4, 5], None).await;
    check(WhichOwed { kinds: Some(vec!["realm.state"]), ..any.clone() }, &[], None).await;
    check(WhichOwed { kinds: Some(vec![]), ..any.clone() }, &[], None).await;
    let realm = entries[0].change.subject.realm.clone();
    check(WhichOwed { realm: realm.as_deref(), ..any.clone() }, &[1, 2, 4, 5], None).await;
    check(WhichOwed { realm: Some("no\"where"), ..any.clone() }, &[], None).await;
}

async fn subscribers_do_not_read_for_one_another(world: World) {
    let mine = hook("hook_1", "i-1", "one");
    let yours = Hook { subscriber: subscriber("you"), ..hook("hook_2", "i-1", "one") };
    let account = world.set(&mine).await;
    world.set(&yours).await;
    let other = world.store.save_hook(&key("b"), &login("b"), &mine, None, at(0)).await.unwrap();
    world.news(account, 1, &[("i-1", &[&mine, &yours])]).await;
    world.news(other, 1, &[("i-1", &[&mine])]).await;

    assert_eq!(world.store.acknowledge(account, &subscriber("default"), &[Seq(1)], at(2)).await.unwrap(), 1);
    assert_eq!(world.store.acknowledge(account, &subscriber("default"), &[Seq(1)], at(2)).await.unwrap(), 0);
    assert!(world.undelivered(account).await.is_empty());
    assert_eq!(world.store.undelivered(account, &subscriber("you"), Seq(0), 9).await.unwrap().len(), 1);
    assert_eq!(world.undelivered(other).await.len(), 1);
    assert_eq!(world.claim(2).await.len(), 2);
}

async fn what_is_read_is_sent_no_more(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    let default = subscriber("default");
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    assert_eq!(world.store.acknowledge(account, &default, &[], at(2)).await.unwrap(), 0);
    assert_eq!(world.store.acknowledge(account, &default, &[Seq(2), Seq(3), Seq(77)], at(2)).await.unwrap(), 2);
    assert_eq!(world.claimed(2).await, owed(&[("hook_1", 1)]));
    world.record(account, &hook, 1, Verdict::Exhausted { disable: None }, 3).await;
    assert_eq!(world.undelivered(account).await, [(1, "hook_1".to_owned())]);
    assert_eq!(world.store.acknowledge(account, &default, &[Seq(1)], at(4)).await.unwrap(), 1, "exhausted is read too");
    assert!(world.undelivered(account).await.is_empty());
    assert!(world.claimed(1_000_000).await.is_empty());
    assert_eq!(world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap(), None);
}

async fn what_is_read_lets_the_next_pass(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.claim(1).await;
    world.store.acknowledge(account, &subscriber("default"), &[Seq(1), Seq(2)], at(5)).await.unwrap();
    assert_eq!(world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap(), Some(at(5)));
    assert_eq!(world.claimed(5).await, owed(&[("hook_1", 3)]));
}

async fn reading_up_to_a_place_reads_everything_before(world: World) {
    let (one, two) = (collection_hook("hook_1", "one"), hook("hook_2", "i-1", "two"));
    let account = world.set(&one).await;
    world.set(&two).await;
    let both = [&one, &two];
    world.news(account, 1, &[("i-1", &both), ("i-2", &[&one]), ("i-1", &both), ("i-2", &[&one])]).await;
    let through =
        async |seq| world.store.acknowledge_through(account, &subscriber("default"), Seq(seq), at(5)).await.unwrap();
    assert_eq!(through(0).await, 0);
    assert_eq!(through(2).await, 3);
    assert_eq!(world.undelivered(account).await, [(3, "hook_1".to_owned()), (4, "hook_1".to_owned())]);
    assert_eq!(world.claimed(5).await, owed(&[("hook_1", 3), ("hook_2", 3), ("hook_1", 4)]));
    assert_eq!(through(u64::MAX).await, 3);
    assert!(world.undelivered(account).await.is_empty());
}

async fn the_log_is_there_delivered_or_not(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    let mut all = world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[])]).await;
    all.extend(world.news(account, 2, &[("i-3", &[&hook])]).await);
    world.store.acknowledge_through(account, &subscriber("default"), Seq(3), at(3)).await.unwrap();

    let after = async |seq, limit| world.store.log_after(account, Seq(seq), limit).await.unwrap();
    assert_eq!(after(0, 10).await, all);
    assert_eq!(after(1, 10).await, all[1..]);
    assert_eq!(after(0, 2).await, all[..2]);
    assert!(after(3, 10).await.is_empty() && after(u64::MAX, 10).await.is_empty() && after(0, 0).await.is_empty());
}

async fn bounds_of_the_log(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    assert_eq!(world.store.log_bounds(account).await.unwrap(), (None, Seq(0)));
    world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[])]).await;
    assert_eq!(world.store.log_bounds(account).await.unwrap(), (Some(Seq(1)), Seq(2)));
    assert_eq!(world.store.log_bounds(AccountId(99)).await.unwrap(), (None, Seq(0)));
}
