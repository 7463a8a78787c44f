//! Hooks that want the newest only.

use tracker::model::{Delivery, Hook, Merged, Mode, Seq, Terms, Verdict};

use super::world::{World, ask, at, collection_hook, gone, hook, owed, retry, subscriber};

contract! {
    what_waits_is_merged_into_the_newest_when_it_is_claimed
    one_that_stands_for_others_is_merged_with_them
    nothing_of_another_hook_or_resource_is_merged
    one_under_way_is_not_merged_and_the_newest_waits_for_it
    what_was_read_is_not_counted
    the_newest_waits_out_the_failure_of_the_oldest
    a_claim_that_ran_out_is_merged_and_its_late_outcome_changes_nothing
    a_hook_that_wants_each_again_gets_each_again
    merged_ones_are_owed_no_more
    what_is_said_of_a_hook_is_merged_by_itself
}

fn latest(hook: Hook) -> Hook {
    Hook { terms: Terms { mode: Mode::Latest, ..Terms::default() }, ..hook }
}

/// Seq, and what it stands for: from where on, and how many.
fn told(claimed: &[Delivery]) -> Vec<(u64, Option<(u64, u32)>)> {
    let merged = |Merged { from_seq, count }| (from_seq.0, count);
    claimed.iter().map(|delivery| (delivery.entry.seq.0, delivery.merged.map(merged))).collect()
}

async fn what_waits_is_merged_into_the_newest_when_it_is_claimed(world: World) {
    let hook = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.news(account, 2, &[("i-1", &[&hook])]).await;
    let [delivery] = &world.claim(5).await[..] else { panic!("one is claimed") };
    assert_eq!((delivery.entry.seq, delivery.merged), (Seq(3), Some(Merged { from_seq: Seq(1), count: 2 })));
    assert_eq!((delivery.created_at, delivery.attempts), (at(2), 0), "its own");
    assert!(world.claimed(6).await.is_empty());
    world.record(account, &hook, 3, Verdict::Delivered, 7).await;
    assert!(world.claimed(1_000).await.is_empty(), "that was all");

    world.news(account, 1_000, &[("i-1", &[&hook])]).await;
    assert_eq!(told(&world.claim(1_000).await), [(4, None)], "one alone stands for itself");
}

async fn one_that_stands_for_others_is_merged_with_them(world: World) {
    let hook = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    assert_eq!(told(&world.claim(1).await), [(2, Some((1, 1)))]);
    world.record(account, &hook, 2, retry(10), 2).await;
    assert_eq!(told(&world.claim(10).await), [(2, Some((1, 1)))], "it goes on saying so");
    world.record(account, &hook, 2, retry(20), 11).await;
    world.news(account, 12, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    assert_eq!(told(&world.claim(20).await), [(4, Some((1, 3)))]);
    world.record(account, &hook, 4, retry(30), 21).await;
    let world = world.reopen().await;
    world.news(account, 22, &[("i-1", &[&hook])]).await;
    assert_eq!(told(&world.claim(30).await), [(5, Some((1, 4)))]);
}

async fn nothing_of_another_hook_or_resource_is_merged(world: World) {
    let newest = latest(collection_hook("hook_1", "one"));
    let each = Hook { subscriber: subscriber("other"), ..collection_hook("hook_2", "one") };
    let account = world.set(&newest).await;
    world.set(&each).await;
    let both = [&newest, &each];
    world.news(account, 1, &[("i-1", &both), ("i-2", &both), ("i-1", &both), ("i-3", &both)]).await;
    let claimed = world.claim(1).await;
    let by_hook = |id: &str| {
        let own = claimed.iter().filter(|delivery| delivery.hook.0 == id).cloned();
        told(&own.collect::<Vec<_>>())
    };
    assert_eq!(by_hook("hook_1"), [(3, Some((1, 1))), (2, None), (4, None)], "in the place of the oldest");
    assert_eq!(by_hook("hook_2"), [(1, None), (2, None), (4, None)]);
    world.record(account, &each, 1, Verdict::Delivered, 2).await;
    assert_eq!(told(&world.claim(2).await), [(3, None)]);
}

async fn one_under_way_is_not_merged_and_the_newest_waits_for_it(world: World) {
    let hook = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    assert_eq!(told(&world.claim(1).await), [(1, None)]);
    world.news(account, 2, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    assert!(world.claimed(3).await.is_empty(), "the first is under way");
    world.record(account, &hook, 1, Verdict::Delivered, 4).await;
    assert_eq!(told(&world.claim(4).await), [(3, Some((2, 1)))], "and what has arrived is not counted");
}

async fn what_was_read_is_not_counted(world: World) {
    let hook = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook][..]); 4]).await;
    world.store.acknowledge(account, &subscriber("default"), &[Seq(1), Seq(3)], at(2)).await.unwrap();
    assert_eq!(told(&world.claim(2).await), [(4, Some((2, 1)))]);
}

async fn the_newest_waits_out_the_failure_of_the_oldest(world: World) {
    let hook = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.claim(1).await;
    let asked = Verdict::Retry { due_at: at(50), not_before: Some(at(50)) };
    world.record(account, &hook, 1, asked, 2).await;
    world.news(account, 3, &[("i-1", &[&hook])]).await;
    assert!(world.claimed(49).await.is_empty(), "news is no reason to call a receiver earlier than it asked");
    assert_eq!(told(&world.claim(50).await), [(2, Some((1, 1)))]);
}

async fn a_claim_that_ran_out_is_merged_and_its_late_outcome_changes_nothing(world: World) {
    let hook = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    world.store.claim(&ask(at(1), at(31), 9, 9, &[])).await.unwrap();
    world.news(account, 2, &[("i-1", &[&hook])]).await;
    assert_eq!(told(&world.claim(31).await), [(2, Some((1, 1)))]);
    for verdict in [retry(32), Verdict::Delivered, Verdict::Exhausted { disable: None }, gone(&hook)] {
        world.record(account, &hook, 1, verdict, 32).await;
        assert!(world.claimed(40).await.is_empty());
    }
    assert_eq!(world.undelivered(account).await, [(2, "hook_1".to_owned())]);
}

async fn a_hook_that_wants_each_again_gets_each_again(world: World) {
    let newest = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&newest).await;
    world.news(account, 1, &[("i-1", &[&newest][..]); 2]).await;
    assert_eq!(told(&world.claim(1).await), [(2, Some((1, 1)))]);
    world.record(account, &newest, 2, retry(10), 1).await;
    let each = hook("hook_1", "i-1", "one");
    world.set_at(&each, 2).await;
    world.news(account, 3, &[("i-1", &[&each][..]); 2]).await;
    assert_eq!(told(&world.claim(10).await), [(2, Some((1, 1)))], "what is merged stays merged");
    world.record(account, &each, 2, Verdict::Delivered, 11).await;
    assert_eq!(told(&world.claim(11).await), [(3, None)]);
}

async fn merged_ones_are_owed_no_more(world: World) {
    let hook = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook][..]); 3]).await;
    assert_eq!(world.undelivered(account).await.len(), 3, "as long as nobody claims them, they are read one by one");
    world.claim(1).await;
    assert_eq!(world.undelivered(account).await, [(3, "hook_1".to_owned())]);
    world.record(account, &hook, 3, Verdict::Exhausted { disable: None }, 2).await;
    assert_eq!(world.undelivered(account).await, [(3, "hook_1".to_owned())]);
    let through = world.store.acknowledge_through(account, &subscriber("default"), Seq(3), at(3)).await.unwrap();
    assert_eq!(through, 1);
    assert_eq!(world.store.log_after(account, Seq(0), 9).await.unwrap().len(), 3, "the log keeps them all");
}

async fn what_is_said_of_a_hook_is_merged_by_itself(world: World) {
    let hook = latest(hook("hook_1", "i-1", "one"));
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook])]).await;
    for second in [2, 4] {
        world.claim(second).await;
        world.record(account, &hook, 1, gone(&hook), second).await;
        world.set_at(&hook, second + 1).await;
    }
    world.news(account, 6, &[("i-1", &[&hook])]).await;
    assert_eq!(told(&world.claim(6).await), [(4, Some((1, 1))), (3, Some((2, 1)))]);
    world.record(account, &hook, 4, Verdict::Delivered, 7).await;
    world.record(account, &hook, 3, Verdict::Delivered, 7).await;
    assert_eq!(world.claimed(1_000).await, owed(&[]));
}
