use tracker::model::{AccountId, AccountKey, DriverId, ExposeSecret as _, Login};

use super::world::{PASSWORD, World, at, hook, key, login, member, subscriber};

contract! {
    an_account_begins_with_its_first_hook
    an_account_is_found_by_exactly_its_credentials
    new_credentials_replace_the_old_and_keep_the_account
    credentials_that_moved_to_another_identity_mean_the_newest
    the_last_hook_takes_the_credentials_along
    an_unknown_account_is_none
}

async fn an_account_begins_with_its_first_hook(world: World) {
    assert_eq!(world.store.find_account(&key("a")).await.unwrap(), None);
    let id = world.set(&hook("hook_1", "i-1", "one")).await;
    assert_eq!(world.store.find_account(&key("a")).await.unwrap(), Some(id));
    assert_eq!(world.store.find_account(&key("b")).await.unwrap(), None);

    let account = world.store.account(id).await.unwrap().unwrap();
    assert_eq!((account.id, account.key), (id, key("a")));
    assert_eq!(account.login.driver, DriverId::new("ec2"));
    assert_eq!(account.login.provider.as_deref(), Some("US-east-1"), "as the client wrote it");
    assert_eq!(account.login.credentials.user, "AKIA7");
    assert_eq!(account.login.credentials.password.expose_secret(), PASSWORD);
}

async fn an_account_is_found_by_exactly_its_credentials(world: World) {
    let id = world.set(&hook("hook_1", "i-1", "one")).await;
    let find = async |login: &Login, provider: &str| {
        world.store.account_by_login(login, provider).await.unwrap().map(|account| account.id)
    };
    let right = login(PASSWORD);
    assert_eq!(find(&right, "us-east-1").await, Some(id));
    assert_eq!(
        find(&Login { provider: None, ..right.clone() }, "us-east-1").await,
        Some(id),
        "the spelling is no matter"
    );
    assert_eq!(find(&login("other"), "us-east-1").await, None);
    assert_eq!(find(&right, "eu-west-1").await, None);
    assert_eq!(find(&Login { driver: DriverId::new("mock"), ..right.clone() }, "us-east-1").await, None);
    let mut other_user = right.clone();
    other_user.credentials.user = "AKIA8".to_owned();
    assert_eq!(find(&other_user, "us-east-1").await, None);
}

async fn new_credentials_replace_the_old_and_keep_the_account(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let id = world.set(&hook).await;
    let again = world.store.save_hook(&key("a"), &login("rotated"), &hook, None, at(1)).await.unwrap();
    assert_eq!(again, id);
    assert!(world.store.account_by_login(&login(PASSWORD), "us-east-1").await.unwrap().is_none());
    assert_eq!(world.store.account_by_login(&login("rotated"), "us-east-1").await.unwrap().unwrap().id, id);
    let account = world.store.account(id).await.unwrap().unwrap();
    assert_eq!(account.login.credentials.password.expose_secret(), "rotated");
}

async fn credentials_that_moved_to_another_identity_mean_the_newest(world: World) {
    let hook = hook("hook_1", "i-1", "one");
    let (first, second) = (key("a"), AccountKey { identity: "b".to_owned(), ..key("a") });
    world.store.save_hook(&second, &login(PASSWORD), &hook, None, at(1)).await.unwrap();
    let newest = world.store.save_hook(&first, &login(PASSWORD), &hook, None, at(2)).await.unwrap();
    assert_eq!(world.store.account_by_login(&login(PASSWORD), "us-east-1").await.unwrap().unwrap().id, newest);
}

async fn the_last_hook_takes_the_credentials_along(world: World) {
    let id = world.set(&hook("hook_1", "i-1", "one")).await;
    world.set(&hook("hook_2", "i-2", "one")).await;
    let default = subscriber("default");

    assert!(world.store.remove_hook(id, &default, &member("i-1"), at(1)).await.unwrap());
    assert!(world.store.account(id).await.unwrap().is_some());

    assert!(world.store.remove_hook(id, &default, &member("i-2"), at(2)).await.unwrap());
    assert!(world.store.account(id).await.unwrap().is_none());
    assert!(world.store.account_by_login(&login(PASSWORD), "us-east-1").await.unwrap().is_none());
    assert_eq!(world.store.find_account(&key("a")).await.unwrap(), Some(id), "its log goes on");

    assert_eq!(world.set(&hook("hook_3", "i-1", "one")).await, id);
    assert!(world.store.account(id).await.unwrap().is_some());
}

async fn an_unknown_account_is_none(world: World) {
    assert!(world.store.account(AccountId(7)).await.unwrap().is_none());
}
