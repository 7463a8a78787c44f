use tracker::model::{AccountKey, Secret};
use tracker::store::HintSecretAbout;

use super::world::{World, at, hook, key, member, subscriber};

contract! {
    a_hint_secret_is_good_for_its_account_alone
    a_replaced_hint_secret_is_good_for_a_while
    an_ended_hint_secret_opens_nothing
    a_hint_secret_outlives_restarts_and_hooks
    a_hint_secret_is_nowhere_in_the_file
}

fn secret(text: &str) -> Secret {
    Secret::from(text)
}

async fn opens(world: &World, account: tracker::model::AccountId, text: &str, second: i64) -> Option<AccountKey> {
    world.store.account_by_hint_secret(account, &secret(text), at(second)).await.unwrap()
}

async fn a_hint_secret_is_good_for_its_account_alone(world: World) {
    let a = world.store.put_hint_secret(&key("a"), &secret("one"), at(0), at(0)).await.unwrap();
    let b = world.store.put_hint_secret(&key("b"), &secret("two"), at(0), at(0)).await.unwrap();
    assert_eq!(world.store.find_account(&key("a")).await.unwrap(), Some(a), "the account is made if it must be");
    assert!(world.store.account(a).await.unwrap().is_none(), "without credentials");
    assert_eq!(opens(&world, a, "one", 0).await, Some(key("a")));
    assert_eq!(opens(&world, b, "two", 0).await, Some(key("b")));
    for (account, text) in [(a, "two"), (b, "one"), (a, ""), (a, "onee"), (tracker::model::AccountId(99), "one")] {
        assert_eq!(opens(&world, account, text, 0).await, None, "{account} {text}");
    }
    // Where there are hooks already, it is the same account.
    let c = world.set(&hook("hook_1", "i-1", "one")).await;
    assert_eq!(c, a);
}

async fn a_replaced_hint_secret_is_good_for_a_while(world: World) {
    let a = world.store.put_hint_secret(&key("a"), &secret("one"), at(0), at(7)).await.unwrap();
    let about = async || world.store.hint_secret(a).await.unwrap();
    assert_eq!(about().await, Some(HintSecretAbout { made_at: at(0), old_until: None }));
    world.store.put_hint_secret(&key("a"), &secret("two"), at(10), at(20)).await.unwrap();
    assert_eq!(about().await, Some(HintSecretAbout { made_at: at(10), old_until: Some(at(20)) }));
    assert_eq!(opens(&world, a, "one", 19).await, Some(key("a")));
    assert_eq!(opens(&world, a, "one", 20).await, None);
    assert_eq!(opens(&world, a, "two", 20).await, Some(key("a")));
    world.store.put_hint_secret(&key("a"), &secret("three"), at(15), at(25)).await.unwrap();
    assert_eq!(opens(&world, a, "one", 16).await, None, "never more than two");
    assert_eq!(opens(&world, a, "two", 16).await, Some(key("a")));
}

async fn an_ended_hint_secret_opens_nothing(world: World) {
    let a = world.store.put_hint_secret(&key("a"), &secret("one"), at(0), at(0)).await.unwrap();
    world.store.put_hint_secret(&key("a"), &secret("two"), at(0), at(99)).await.unwrap();
    assert!(world.store.end_hint_secret(a).await.unwrap());
    assert!(!world.store.end_hint_secret(a).await.unwrap());
    assert_eq!(world.store.hint_secret(a).await.unwrap(), None);
    assert_eq!(opens(&world, a, "one", 1).await, None);
    assert_eq!(opens(&world, a, "two", 1).await, None);
}

async fn a_hint_secret_outlives_restarts_and_hooks(world: World) {
    let a = world.set(&hook("hook_1", "i-1", "one")).await;
    world.store.put_hint_secret(&key("a"), &secret("one"), at(0), at(0)).await.unwrap();
    assert!(world.store.remove_hook(a, &subscriber("default"), &member("i-1"), at(1)).await.unwrap());
    let world = world.reopen().await;
    assert_eq!(opens(&world, a, "one", 2).await, Some(key("a")));
}

async fn a_hint_secret_is_nowhere_in_the_file(world: World) {
    let text = "a-hint-secret-3f9a";
    world.store.put_hint_secret(&key("a"), &secret(text), at(0), at(0)).await.unwrap();
    let mut files = 0;
    for file in std::fs::read_dir(world.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()));
        files += 1;
    }
    assert!(files > 1);
}
