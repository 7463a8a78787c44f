use std::collections::BTreeSet;

use tracker::model::{Hook, Scope, Seq, Verdict};
use tracker::store::Ask;

use super::world::{World, ask, at, change, collection_hook, feed_hook, hook, key, login, owed, retry, subscriber};

contract! {
    of_a_hook_and_a_resource_only_the_oldest_is_taken
    hooks_and_resources_do_not_wait_for_one_another
    a_claim_brings_all_that_an_attempt_needs
    a_claim_holds_until_it_runs_out
    a_dead_process_claims_are_given_back
    the_longest_overdue_come_first_up_to_the_limit
    a_receiver_gets_its_share_and_no_more
    full_receivers_are_passed_over
    a_receiver_with_a_room_of_its_own_gets_that
    hooks_of_one_receiver_share_it
    feed_hooks_are_never_claimed
    the_next_due_time_counts_claims
    accounts_are_claimed_together
}

async fn of_a_hook_and_a_resource_only_the_oldest_is_taken(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    world.news(account, 2, &[("i-1", &[&hook])]).await;

    for seq in 1..=3 {
        assert_eq!(world.claimed(10).await, owed(&[("hook_1", seq)]));
        assert!(world.claimed(10).await.is_empty(), "nothing behind it meanwhile");
        world.record(account, &hook, seq, Verdict::Delivered, 10).await;
    }
    assert!(world.claimed(1_000).await.is_empty());
    world.news(account, 20, &[("i-1", &[&hook])]).await;
    assert_eq!(world.claimed(20).await, owed(&[("hook_1", 4)]), "and a new one is due at once");
}

async fn hooks_and_resources_do_not_wait_for_one_another(world: World) {
    let (one, two) = (collection_hook("hook_1", "one"), hook("hook_2", "i-1", "two"));
    let account = world.set(&one).await;
    world.set(&two).await;
    world.news(account, 1, &[("i-1", &[&one, &two]), ("i-2", &[&one]), ("i-1", &[&one, &two])]).await;
    assert_eq!(world.claimed(1).await, owed(&[("hook_1", 1), ("hook_2", 1), ("hook_1", 2)]));
    world.record(account, &two, 1, Verdict::Delivered, 2).await;
    assert_eq!(world.claimed(2).await, owed(&[("hook_2", 3)]));
}

async fn a_claim_brings_all_that_an_attempt_needs(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    let entries = world.news(account, 1, &[("i-1", &[&hook])]).await;
    let [delivery] = &world.claim(5).await[..] else { panic!("one is due") };
    assert_eq!((delivery.account, &delivery.hook, delivery.attempts), (account, &hook.id, 0));
    assert_eq!((delivery.created_at, &delivery.entry), (at(1), &entries[0]));
    assert_eq!(delivery.entry.change, change("i-1", 1));

    world.record(account, &hook, 1, retry(10), 6).await;
    let [delivery] = &world.claim(10).await[..] else { panic!("it is due again") };
    assert_eq!((delivery.attempts, delivery.created_at), (1, at(1)));
}

async fn a_claim_holds_until_it_runs_out(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    assert_eq!(world.store.claim(&ask(at(1), at(31), 9, 9, &[])).await.unwrap().deliveries.len(), 1);
    assert!(world.store.claim(&ask(at(30), at(60), 9, 9, &[])).await.unwrap().deliveries.is_empty());
    let again = world.store.claim(&ask(at(31), at(60), 9, 9, &[])).await.unwrap().deliveries;
    assert_eq!(again.iter().map(|delivery| delivery.entry.seq.0).collect::<Vec<_>>(), [1]);
}

async fn a_dead_process_claims_are_given_back(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let account = world.set(&hook).await;
    world.news(account, 1, &[("i-1", &[&hook]), ("i-2", &[&hook]), ("i-3", &[&hook])]).await;
    world.claim(1).await;
    world.record(account, &hook, 3, retry(50), 2).await;
    let world = world.reopen().await;
    assert!(world.claimed(2).await.is_empty());
    assert_eq!(world.store.release_claims().await.unwrap(), 2);
    assert_eq!(world.claimed(2).await, owed(&[("hook_1", 1), ("hook_1", 2)]), "at their own time, the third at its");
    assert_eq!(world.store.release_claims().await.unwrap(), 2);
    assert_eq!(world.store.release_claims().await.unwrap(), 0);
}

async fn the_longest_overdue_come_first_up_to_the_limit(world: World) {
    let hooks = [hook("hook_1", "i-1", "one"), hook("hook_2", "i-2", "two"), hook("hook_3", "i-3", "three")];
    let mut account = None;
    for hook in &hooks {
        account = Some(world.set(hook).await);
    }
    let account = account.unwrap();
    let [one, two, three] = &hooks;
    world.news(account, 3, &[("i-1", &[one])]).await;
    world.news(account, 1, &[("i-2", &[two])]).await;
    world.news(account, 2, &[("i-3", &[three])]).await;

    let take = async |limit| {
        let claimed = world.store.claim(&ask(at(10), at(70), limit, 9, &[])).await.unwrap().deliveries;
        claimed.into_iter().map(|delivery| delivery.hook.0).collect::<Vec<_>>()
    };
    assert!(take(0).await.is_empty());
    assert_eq!(take(2).await, ["hook_2", "hook_3"]);
    assert_eq!(take(2).await, ["hook_1"]);
}

async fn a_receiver_gets_its_share_and_no_more(world: World) {
    let (busy, calm) = (collection_hook("hook_1", "busy"), hook("hook_2", "i-9", "calm"));
    let account = world.set(&busy).await;
    world.set(&calm).await;
    let ids: Vec<String> = (0..20).map(|number| format!("i-{number}")).collect();
    let told: [&Hook; 1] = [&busy];
    let news: Vec<(&str, &[&Hook])> = ids.iter().map(|id| (id.as_str(), told.as_slice())).collect();
    world.news(account, 1, &news).await;
    world.news(account, 2, &[("i-9", &[&calm])]).await;

    let claimed = world.store.claim(&ask(at(10), at(70), 100, 3, &[])).await.unwrap().deliveries;
    let got: Vec<_> = claimed.into_iter().map(|delivery| (delivery.hook.0, delivery.entry.seq.0)).collect();
    assert_eq!(got, owed(&[("hook_1", 1), ("hook_1", 2), ("hook_1", 3), ("hook_2", 21)]));
    assert!(world.store.claim(&ask(at(10), at(70), 100, 0, &[])).await.unwrap().deliveries.is_empty());
}

async fn full_receivers_are_passed_over(world: World) {
    let (one, two) = (hook("hook_1", "i-1", "one"), hook("hook_2", "i-2", "two:8443"));
    let account = world.set(&one).await;
    world.set(&two).await;
    world.news(account, 1, &[("i-1", &[&one]), ("i-2", &[&two])]).await;
    let full = [two.receiver().unwrap(), "https://unheard.of".to_owned()];
    let claimed = world.store.claim(&ask(at(1), at(61), 9, 9, &full)).await.unwrap().deliveries;
    assert_eq!(claimed.into_iter().map(|delivery| delivery.hook.0).collect::<Vec<_>>(), ["hook_1"]);
    assert_eq!(world.claimed(1).await, owed(&[("hook_2", 2)]));
}

async fn a_receiver_with_a_room_of_its_own_gets_that(world: World) {
    let hooks = [("hook_1", "shut"), ("hook_2", "slow"), ("hook_3", "fast"), ("hook_4", "new"), ("hook_5", "newer")]
        .map(|(id, host)| Hook { subscriber: subscriber(id), ..collection_hook(id, host) });
    let mut account = None;
    for hook in &hooks {
        account = Some(world.set(hook).await);
    }
    let account = account.unwrap();
    let ids: Vec<String> = (0..10).map(|number| format!("i-{number}")).collect();
    for (second, hook) in (1..).zip(&hooks) {
        let told = [hook];
        let news: Vec<_> = ids.iter().map(|id| (id.as_str(), &told[..])).collect();
        world.news(account, second, &news).await;
    }
    let rooms = [(0, 0), (1, 2), (2, 7)].map(|(hook, room)| (hooks[hook].receiver().unwrap(), room));
    let take = async |limit, per_receiver| {
        let ask = Ask { rooms: rooms.clone().into(), ..ask(at(10), at(70), limit, per_receiver, &[]) };
        let mut count = [0; 5];
        for delivery in world.store.claim(&ask).await.unwrap().deliveries {
            count[hooks.iter().position(|hook| hook.id == delivery.hook).unwrap()] += 1;
        }
        count
    };
    assert_eq!(take(100, 3).await, [0, 2, 7, 3, 3]);
    assert_eq!(take(100, 0).await, [0, 2, 3, 0, 0], "only who has a room of its own, as far as there is something");
    assert_eq!(take(4, 3).await, [0, 2, 0, 2, 0], "the limit is the limit");
}

async fn hooks_of_one_receiver_share_it(world: World) {
    let (one, two) = (hook("hook_1", "i-1", "one"), hook("hook_2", "i-2", "one"));
    let account = world.set(&one).await;
    world.set(&two).await;
    world.news(account, 1, &[("i-1", &[&one]), ("i-2", &[&two])]).await;
    assert_eq!(world.store.claim(&ask(at(1), at(61), 9, 1, &[])).await.unwrap().deliveries.len(), 1);
}

async fn feed_hooks_are_never_claimed(world: World) {
    let feed = feed_hook("hook_1", "i-1");
    let account = world.set(&feed).await;
    world.news(account, 1, &[("i-1", &[&feed])]).await;
    assert!(world.claimed(1_000).await.is_empty());
    assert_eq!(world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap(), None);
    assert_eq!(world.undelivered(account).await, [(1, "hook_1".to_owned())]);
}

async fn the_next_due_time_counts_claims(world: World) {
    let (one, two) = (hook("hook_1", "i-1", "one"), hook("hook_2", "i-2", "two"));
    let account = world.set(&one).await;
    world.set(&two).await;
    let next = async || world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap();
    assert_eq!(next().await, None);
    world.news(account, 5, &[("i-1", &[&one]), ("i-1", &[&one])]).await;
    assert_eq!(next().await, Some(at(5)));
    world.claim(6).await;
    assert_eq!(next().await, Some(at(66)), "when the claim runs out");
    world.news(account, 7, &[("i-2", &[&two])]).await;
    assert_eq!(next().await, Some(at(7)));
    world.claim(8).await;
    world.record(account, &one, 1, retry(40), 9).await;
    assert_eq!(next().await, Some(at(40)));
    world.record(account, &one, 1, Verdict::Delivered, 10).await;
    assert_eq!(next().await, Some(at(10)), "the one behind it");
}

async fn accounts_are_claimed_together(world: World) {
    let whole = Hook { scope: Scope::Account, subscriber: subscriber("ops"), ..hook("hook_1", "", "one") };
    let a = world.set(&whole).await;
    let b = world.store.save_hook(&key("b"), &login("b"), &whole, None, at(0)).await.unwrap();
    world.news(a, 1, &[("i-1", &[&whole])]).await;
    world.news(b, 2, &[("i-1", &[&whole])]).await;
    let claimed = world.claim(3).await;
    assert_eq!(claimed.iter().map(|delivery| delivery.account).collect::<Vec<_>>(), [a, b]);

    // The same hook and number of another account is another delivery.
    world.record(a, &whole, 1, Verdict::Delivered, 4).await;
    assert!(world.store.undelivered(a, &subscriber("ops"), Seq(0), 9).await.unwrap().is_empty());
    assert_eq!(world.store.undelivered(b, &subscriber("ops"), Seq(0), 9).await.unwrap().len(), 1);
}
