//! After an outage, and without a try: what is due again, and when.

use tracker::model::{AccountId, Hook, Seq, Verdict};
use tracker::store::{RELEASED_MAX, Recovered, Results, Returned};

use super::world::{World, ask, at, collection_hook, hook, outcome, owed, results, retry, subscriber};

contract! {
    a_claim_given_back_is_due_as_before
    a_claim_given_back_for_later_is_due_then
    what_is_not_claimed_cannot_be_given_back
    a_claim_that_ran_out_and_was_taken_again_is_not_ended_by_giving_back_the_first
    what_waits_out_a_failure_is_due_when_its_receiver_works_again
    never_before_the_receiver_asked_for
    another_receiver_asked_for_nothing
    what_failed_since_it_works_again_waits_as_it_always_does
    what_is_claimed_or_due_is_left_alone
    so_many_are_released_at_once_and_no_more
    results_come_before_claims
}

fn back(account: AccountId, hook: &Hook, seq: u64, until: i64, due_at: Option<i64>) -> Results {
    let returned = Returned { account, hook: hook.id.clone(), seq: Seq(seq), until: at(until), due_at: due_at.map(at) };
    Results { returned: vec![returned], ..Results::default() }
}

/// It got up after all that failed until now.
fn works(hook: &Hook) -> Results {
    works_since(hook, 100_000)
}

fn works_since(hook: &Hook, since: i64) -> Results {
    let recovered = Recovered { receiver: hook.receiver().unwrap(), since: at(since) };
    Results { recovered: vec![recovered], ..Results::default() }
}

async fn a_claim_given_back_is_due_as_before(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.news(account, 2, &[("i-2", &[&hook])]).await;
    world.claim(5).await;
    for seq in [3, 1] {
        world.store.record(&back(account, &hook, seq, 65, None), at(6)).await.unwrap();
    }
    assert_eq!(world.store.next_delivery_due_at(&[].into()).await.unwrap(), Some(at(1)));
    let claimed = world.claim(6).await;
    let told: Vec<_> = claimed.iter().map(|delivery| (delivery.entry.seq.0, delivery.attempts)).collect();
    assert_eq!(told, [(1, 0), (3, 0)], "in their old order, and it was no try");
}

async fn a_claim_given_back_for_later_is_due_then(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.claim(5).await;
    world.store.record(&back(account, &hook, 1, 65, Some(40)), at(6)).await.unwrap();
    assert!(world.claimed(39).await.is_empty());
    assert_eq!(world.claimed(40).await, owed(&[("hook_1", 1)]));
}

async fn what_is_not_claimed_cannot_be_given_back(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook]), ("i-2", &[&hook]), ("i-3", &[&hook])]).await;
    world.claim(1).await;
    world.record(account, &hook, 1, Verdict::Delivered, 2).await;
    world.record(account, &hook, 3, retry(50), 2).await;
    world.store.acknowledge(account, &subscriber("default"), &[Seq(4)], at(2)).await.unwrap();
    for seq in [1, 3, 4, 9] {
        world.store.record(&back(account, &hook, seq, 61, None), at(3)).await.unwrap();
    }
    assert_eq!(world.claimed(3).await, owed(&[("hook_1", 2)]), "delivered, failed and read as they were");
    assert_eq!(world.claimed(50).await, owed(&[("hook_1", 3)]));
}

/// Whoever has it in hand now goes on having it, or two would be under way at once.
async fn a_claim_that_ran_out_and_was_taken_again_is_not_ended_by_giving_back_the_first(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.store.claim(&ask(at(1), at(31), 9, 9, &[])).await.unwrap();
    world.store.claim(&ask(at(40), at(70), 9, 9, &[])).await.unwrap();
    world.store.record(&back(account, &hook, 1, 31, None), at(41)).await.unwrap();
    assert!(world.claimed(69).await.is_empty());
    world.store.record(&back(account, &hook, 1, 70, None), at(69)).await.unwrap();
    assert_eq!(world.claimed(69).await, owed(&[("hook_1", 1)]));
}

async fn what_waits_out_a_failure_is_due_when_its_receiver_works_again(world: World) {
    let (down, other) = (collection_hook("hook_1", "one"), hook("hook_2", "i-1", "two"));
    let account = world.set(&down).await;
    world.set(&other).await;
    let both = [&down, &other];
    world.news(account, 1, &[("i-1", &both), ("i-1", &[&down]), ("i-2", &[&down])]).await;
    world.claim(1).await;
    let failed = [(&down, 1), (&down, 3), (&other, 1)].map(|(hook, seq)| outcome(account, hook, seq, retry(900), 1));
    world.store.record(&results(failed), at(2)).await.unwrap();
    world.store.record(&works(&down), at(10)).await.unwrap();
    let claimed = world.claim(10).await;
    let told: Vec<_> = claimed.iter().map(|delivery| (delivery.entry.seq.0, delivery.attempts)).collect();
    assert_eq!(told, [(1, 1), (3, 1)], "of each resource the oldest; the other receiver's not");
    assert_eq!(world.claimed(900).await.last(), owed(&[("hook_2", 1)]).last());
}

async fn never_before_the_receiver_asked_for(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[&hook])]).await;
    world.claim(1).await;
    let asked = |due_at, not_before| Verdict::Retry { due_at: at(due_at), not_before: Some(at(not_before)) };
    world.record(account, &hook, 1, asked(900, 60), 2).await;
    world.record(account, &hook, 2, asked(900, 900), 2).await;
    for second in [10, 11] {
        world.store.record(&works(&hook), at(second)).await.unwrap();
        assert!(world.claimed(59).await.is_empty());
    }
    assert_eq!(world.claimed(60).await, owed(&[("hook_1", 1)]));
    // What is asked for now counts, not what was once.
    world.record(account, &hook, 1, retry(800), 61).await;
    world.store.record(&works(&hook), at(62)).await.unwrap();
    assert_eq!(world.claimed(62).await, owed(&[("hook_1", 1)]));
    assert!(world.claimed(120).await.is_empty());
    assert_eq!(world.claimed(900).await.last(), owed(&[("hook_1", 2)]).last());
}

/// Or it would use up its steps in no time.
async fn what_failed_since_it_works_again_waits_as_it_always_does(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[&hook])]).await;
    world.claim(1).await;
    world.record(account, &hook, 1, retry(900), 2).await;
    world.record(account, &hook, 2, retry(900), 20).await;
    world.store.record(&works_since(&hook, 10), at(30)).await.unwrap();
    assert_eq!(world.claimed(30).await, owed(&[("hook_1", 1)]));
    assert_eq!(world.claimed(900).await, owed(&[("hook_1", 1), ("hook_1", 2)]));
}

async fn another_receiver_asked_for_nothing(world: World) {
    let (old, new) = (hook("hook_1", "i-1", "one"), hook("hook_1", "i-1", "two"));
    let account = world.set(&old).await;
    world.news(account, 1, &[("i-1", &[&old])]).await;
    world.claim(1).await;
    let asked = Verdict::Retry { due_at: at(900), not_before: Some(at(900)) };
    world.record(account, &old, 1, asked, 2).await;
    world.set_at(&new, 10).await;
    assert_eq!(world.claimed(10).await, owed(&[("hook_1", 1)]));
    world.store.record(&back(account, &new, 1, 70, Some(300)), at(11)).await.unwrap();
    world.store.record(&works(&new), at(12)).await.unwrap();
    assert_eq!(world.claimed(12).await, owed(&[("hook_1", 1)]));
}

async fn what_is_claimed_or_due_is_left_alone(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.claim(1).await;
    world.news(account, 2, &[("i-2", &[&hook])]).await;
    world.store.record(&works(&hook), at(9)).await.unwrap();
    assert_eq!(world.store.next_delivery_due_at(&[].into()).await.unwrap(), Some(at(2)), "it keeps its place");
    assert_eq!(world.claimed(9).await, owed(&[("hook_1", 2)]));
    world.store.record(&works(&hook), at(10)).await.unwrap();
    assert!(world.claimed(60).await.is_empty());
}

async fn so_many_are_released_at_once_and_no_more(world: World) {
    let hook = collection_hook("hook_1", "one");
    let account = world.set(&hook).await;
    let ids: Vec<String> = (0..RELEASED_MAX + 5).map(|number| format!("i-{number}")).collect();
    let told = [&hook];
    let news: Vec<_> = ids.iter().map(|id| (id.as_str(), &told[..])).collect();
    world.news(account, 1, &news).await;
    let all = ids.len();
    let claimed = world.store.claim(&ask(at(1), at(61), all, all, &[])).await.unwrap().deliveries;
    let failed = claimed.iter().map(|delivery| outcome(account, &hook, delivery.entry.seq.0, retry(900), 1));
    world.store.record(&results(failed), at(2)).await.unwrap();
    for released in [RELEASED_MAX, 5, 0] {
        world.store.record(&works(&hook), at(10)).await.unwrap();
        assert_eq!(world.store.claim(&ask(at(10), at(70), all, all, &[])).await.unwrap().deliveries.len(), released);
    }
}

async fn results_come_before_claims(world: World) {
    let (hook, idle) = (collection_hook("hook_1", "one"), hook("hook_2", "i-1", "two"));
    let account = world.set(&hook).await;
    world.set(&idle).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook]), ("i-2", &[&hook]), ("i-3", &[&hook])]).await;
    world.claim(1).await;
    world.record(account, &hook, 4, retry(900), 2).await;
    let all = Results {
        outcomes: vec![outcome(account, &hook, 1, Verdict::Delivered, 3)],
        returned: back(account, &hook, 3, 61, None).returned,
        recovered: works(&hook).recovered,
    };
    let claimed = world.store.record_and_claim(&all, &ask(at(3), at(63), 9, 9, &[])).await.unwrap().deliveries;
    let seqs: Vec<u64> = claimed.iter().map(|delivery| delivery.entry.seq.0).collect();
    assert_eq!(seqs, [3, 2, 4], "given back, next in line, released");
    let none = world.store.record_and_claim(&Results::default(), &ask(at(3), at(63), 9, 9, &[])).await.unwrap();
    assert!(none.deliveries.is_empty());
}
