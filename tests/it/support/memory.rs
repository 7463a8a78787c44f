//! What the wire tests need of the rooms behind the API, in memory: the store's reads, hooks, and a feed.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use tracker::api::{self, Ask, Caller, FeedError, HooksError, Page, Place, SecretAsked, SetHook, Tracked};
use tracker::drivers::Driver;
use tracker::model::{
    Account, AccountId, AccountKey, Collection, Delivery, Entry, ExposeSecret as _, Hook, HookId, InstanceId, Known,
    KnownResource, Login, Outcome, Resource, Scope, Secret, Seq, SigningKey, Subscriber,
};
use tracker::store::{Accounts, Commit, Deliveries, Error, Feed, Hooks, Polls, Samples, Unit, UnitPlan};

pub const NOW: &str = "2026-11-21T10:00:00Z";

/// One account at most.
#[derive(Default)]
pub struct Memory {
    pub account: Mutex<Option<(AccountKey, Login)>>,
    pub hooks: Mutex<Vec<Hook>>,
    pub known: Mutex<BTreeMap<Collection, Known>>,
    pub written: Mutex<Vec<Seq>>,
    /// Blanks behind a page, to make it longer than any buffer on its way.
    pub padding: Mutex<usize>,
}

impl Memory {
    /// As if a pass had seen these.
    pub fn knows(
        &self,
        collection: Collection,
        observed_at: Option<Timestamp>,
        seen_at: Timestamp,
        all: Vec<Resource>,
    ) {
        let member = |resource: Resource| {
            let known = KnownResource {
                revision: 0,
                first_seen_at: seen_at,
                observed_at: seen_at,
                absent_since: None,
                resource: resource.clone(),
            };
            (resource.id().to_owned(), known)
        };
        let members = all.into_iter().map(member).collect();
        self.known.lock().unwrap().insert(collection, Known { collection, version: 1, observed_at, members });
    }
}

const ACCOUNT: AccountId = AccountId(1);

#[async_trait]
impl Accounts for Memory {
    async fn find_account(&self, key: &AccountKey) -> Result<Option<AccountId>, Error> {
        let account = self.account.lock().unwrap();
        Ok(account.as_ref().filter(|(known, _)| known == key).map(|_| ACCOUNT))
    }

    async fn account_by_login(&self, login: &Login, provider: &str) -> Result<Option<Account>, Error> {
        let account = self.account.lock().unwrap();
        let fits = |(key, known): &&(AccountKey, Login)| {
            key.driver == login.driver
                && key.provider == provider
                && known.credentials.user == login.credentials.user
                && known.credentials.password.expose_secret() == login.credentials.password.expose_secret()
        };
        let found = account.as_ref().filter(fits).cloned();
        Ok(found.map(|(key, login)| Account { id: ACCOUNT, key, login }))
    }

    async fn account(&self, _id: AccountId) -> Result<Option<Account>, Error> {
        unreachable!("the API finds accounts by key or login")
    }
}

#[async_trait]
impl Hooks for Memory {
    async fn hook(&self, _: AccountId, _: &Subscriber, _: &Scope) -> Result<Option<Hook>, Error> {
        unreachable!("the API reads all hooks of an account")
    }

    async fn hook_by_id(&self, _: AccountId, _: &HookId) -> Result<Option<Hook>, Error> {
        unreachable!("the API reads all hooks of an account")
    }

    async fn hooks(&self, _: AccountId) -> Result<Vec<Hook>, Error> {
        Ok(self.hooks.lock().unwrap().clone())
    }

    async fn save_hook(
        &self,
        _: &AccountKey,
        _: &Login,
        _: &Hook,
        _: Option<&KnownResource>,
        _: Timestamp,
    ) -> Result<AccountId, Error> {
        unreachable!("the API sets hooks through the room that keeps them")
    }

    async fn remove_hook(&self, _: AccountId, _: &Subscriber, _: &Scope, _: Timestamp) -> Result<bool, Error> {
        unreachable!("the API removes hooks through the room that keeps them")
    }
}

#[async_trait]
impl Samples for Memory {
    async fn known(&self, _: AccountId, collection: Collection) -> Result<Known, Error> {
        let nothing = Known { collection, version: 0, observed_at: None, members: BTreeMap::new() };
        Ok(self.known.lock().unwrap().get(&collection).cloned().unwrap_or(nothing))
    }

    async fn commit_sample(&self, _: &Commit) -> Result<Vec<Entry>, Error> {
        unreachable!("the API commits nothing")
    }
}

#[async_trait]
impl Polls for Memory {
    async fn due_units(&self, _: Timestamp, _: Timestamp, _: usize) -> Result<Vec<Unit>, Error> {
        unreachable!("the API polls nothing")
    }

    async fn next_unit_due_at(&self, _: Timestamp) -> Result<Option<Timestamp>, Error> {
        unreachable!("the API polls nothing")
    }

    async fn plan_unit(&self, _: AccountId, _: Collection, _: &UnitPlan) -> Result<(), Error> {
        unreachable!("the API polls nothing")
    }

    async fn bring_forward(&self, _: Collection, _: Timestamp, _: Duration) -> Result<u64, Error> {
        unreachable!("the API polls nothing")
    }
}

#[async_trait]
impl Deliveries for Memory {
    async fn claim(
        &self,
        _: Timestamp,
        _: Timestamp,
        _: usize,
        _: usize,
        _: &[String],
    ) -> Result<Vec<Delivery>, Error> {
        unreachable!("the API delivers nothing")
    }

    async fn record(&self, _: &[Outcome], _: Timestamp) -> Result<(), Error> {
        unreachable!("the API delivers nothing")
    }

    async fn release_claims(&self) -> Result<u64, Error> {
        unreachable!("the API delivers nothing")
    }

    async fn next_delivery_due_at(&self) -> Result<Option<Timestamp>, Error> {
        unreachable!("the API delivers nothing")
    }
}

#[async_trait]
impl Feed for Memory {
    async fn undelivered(&self, _: AccountId, _: &Subscriber, _: usize) -> Result<Vec<(Entry, HookId)>, Error> {
        unreachable!("the API reads the feed through the room that knows it")
    }

    async fn acknowledge(&self, _: AccountId, _: &Subscriber, _: &[Seq], _: Timestamp) -> Result<u64, Error> {
        unreachable!("the API reads the feed through the room that knows it")
    }

    async fn acknowledge_through(&self, _: AccountId, _: &Subscriber, _: Seq, _: Timestamp) -> Result<u64, Error> {
        unreachable!("the API reads the feed through the room that knows it")
    }

    async fn log_after(&self, _: AccountId, _: Seq, _: usize) -> Result<Vec<Entry>, Error> {
        unreachable!("the API reads the feed through the room that knows it")
    }

    async fn log_bounds(&self, _: AccountId) -> Result<(Option<Seq>, Seq), Error> {
        unreachable!("the API reads the feed through the room that knows it")
    }
}

/// Keeps hooks beside the account, as the real room would through the store.
#[async_trait]
impl api::Hooks for Memory {
    async fn set(&self, caller: &Caller, driver: &dyn Driver, ask: &SetHook) -> Result<Tracked, HooksError> {
        let Scope::Member(collection, id) = &ask.scope else { unreachable!("only members have routes") };
        let resource: Option<Resource> = match collection {
            Collection::Instances => {
                driver.instance(&caller.login, &InstanceId::from(id.as_str())).await?.map(Resource::from)
            }
            Collection::Realms => driver.realm(&caller.login, id).await?.map(Resource::from),
        };
        let resource = resource.ok_or(HooksError::NotFound)?;
        let now: Timestamp = NOW.parse().unwrap();
        let (secret, made) = match &ask.secret {
            Some(SecretAsked::Use(secret)) => (secret.clone(), None),
            Some(SecretAsked::Rotate) | None => (Secret::from("whsec_made"), Some(Secret::from("whsec_made"))),
        };
        let hook = Hook {
            id: HookId("hook_1".to_owned()),
            subscriber: ask.subscriber.clone(),
            scope: ask.scope.clone(),
            callback: ask.callback.clone(),
            token: ask.token.clone(),
            keys: vec![SigningKey { secret, until: None }],
            base: ask.base.clone(),
            created_at: now,
            disabled: None,
            ended_at: None,
        };
        *self.account.lock().unwrap() = Some((caller.key.clone(), caller.login.clone()));
        let mut hooks = self.hooks.lock().unwrap();
        hooks.retain(|old| (&old.subscriber, &old.scope) != (&hook.subscriber, &hook.scope));
        hooks.push(hook.clone());
        Ok(Tracked { hook, resource: Some(resource), checked_at: now, made })
    }

    async fn remove(&self, _: &Caller, subscriber: &Subscriber, scope: &Scope) -> Result<bool, HooksError> {
        let mut hooks = self.hooks.lock().unwrap();
        let before = hooks.len();
        hooks.retain(|hook| (&hook.subscriber, &hook.scope) != (subscriber, scope));
        Ok(hooks.len() < before)
    }
}

/// A log of three changes, of which one page is two.
#[async_trait]
impl api::Feed for Memory {
    async fn page(&self, _: &Caller, ask: &Ask) -> Result<Page, FeedError> {
        let after = match ask.place {
            Place::After(Seq(1_000)) => return Err(FeedError::TooOld("the oldest change kept is 2000".to_owned())),
            Place::After(Seq(after)) => after,
            Place::Undelivered => 0,
        };
        let all: Vec<u64> = (after + 1..=3).collect();
        let page: Vec<u64> = all.iter().copied().take(ask.limit).collect();
        let entries: Vec<_> = page.iter().map(|seq| format!("{{\"seq\":{seq}}}")).collect();
        let seqs = if ask.place == Place::Undelivered { page.iter().copied().map(Seq).collect() } else { vec![] };
        Ok(Page {
            body: Bytes::from(format!("[{}]{}", entries.join(","), " ".repeat(*self.padding.lock().unwrap()))),
            seqs,
            through: Seq(page.last().copied().unwrap_or(after)),
            more: page.len() < all.len(),
        })
    }

    async fn written(&self, _: &Caller, _: &Subscriber, seqs: &[Seq]) -> Result<(), FeedError> {
        self.written.lock().unwrap().extend(seqs);
        Ok(())
    }
}
