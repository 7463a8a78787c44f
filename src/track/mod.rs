//! Setting, replacing and removing hooks; taking the baseline; and what an owner may do with a hook that is set (`care`).
//!
//! Guarantees: no hook is stored before the backend has accepted the caller's credentials, shown the resource with them, and,
//! where it can say so without doing it, that they may change it; the state shown in the answer is the one from which changes are told; what others are owed because of that look
//! is recorded like any other change; a secret made here is handed out once.
//!
//! What is sent again keeps the order of its resource, but for one that is under way while an older one is asked for.
//!
//! Accepted: two clients that set the same hook at the same moment; the later one wins whole.

mod care;
mod secret;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use tracing::info;

pub use care::{Care, Recover, Recovered, Refusal, Resynced};
pub use secret::Wish;

use crate::availability::Evidence;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::deliver::BadKey;
use crate::drivers::{self, Driver, Machine};
use crate::model::{
    Account, AccountId, AccountKey, Action, Callback, Collection, Fault, Hook, HookId, Instance, KnownResource, Login,
    NewInstance, Resource, Scope, Secret, Seq, Subscriber, Terms,
};
use crate::outbound::{Outbound, Refused};
use crate::poll::{self, Observer, Seen, Turn};
use crate::reads::Reads;
use crate::store::{self, Baseline, Store};
use crate::tasks::Wake;

/// How often a hook is set anew because what it is set on changed meanwhile, before the client has to ask again.
const CONTENDED_TRIES: usize = 4;

/// `[track]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long a replaced secret goes on signing beside the new one. Milliseconds; receivers need time to learn it.
    pub secret_overlap_ms: u64,
    /// Secrets that sign at once, the current one included. More would make the signature header long.
    pub secrets_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { secret_overlap_ms: 24 * 3_600_000, secrets_max: 3 }
    }
}

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        const YEAR_MS: u64 = 366 * 24 * 3_600_000;
        let ms = self.secret_overlap_ms;
        (ms <= YEAR_MS)
            .then_some(())
            .ok_or(format!("track.secret_overlap_ms is {ms}: it must be at most {YEAR_MS}, a year"))
    }
}

/// A client that the backend has accepted, and the account that makes it.
#[derive(Clone, Debug)]
pub struct Caller {
    pub login: Login,
    pub key: AccountKey,
}

impl Caller {
    fn account(&self, id: AccountId) -> Account {
        Account { id, key: self.key.clone(), login: self.login.clone() }
    }
}

/// What a client wants of a hook.
#[derive(Clone, Debug)]
pub struct SetHook {
    pub subscriber: Subscriber,
    pub scope: Scope,
    pub callback: Callback,
    pub token: Option<Secret>,
    pub secret: Wish,
    pub terms: Terms,
    /// See [`Hook::base`].
    pub base: String,
}

/// A hook that was set, and what it was set on.
#[derive(Clone, Debug)]
pub struct Tracked {
    /// The member, or all of the collection, as just seen: the baseline. Of the account, its instances.
    pub resources: Vec<Resource>,
    pub hook: Hook,
    /// The signing secret, if one was made for this request: shown now and never again.
    pub new_secret: Option<Secret>,
    pub observed_at: Timestamp,
    /// The last change of the account that this takes into account.
    pub through: Option<Seq>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The backend, answering well, has no such resource.
    #[error("there is no {0} in {1}")]
    NotFound(String, Collection),
    /// The backend says that these credentials may look at it and no more.
    #[error("{0} of {1} may be seen with these credentials, but not changed; only who may change it can track it")]
    NotYours(String, Collection),
    #[error("track_hook: {0}")]
    Refused(#[from] Refused),
    #[error("track_secret: {0}; or write `rotate` to have one made")]
    Secret(#[from] BadKey),
    #[error(transparent)]
    Driver(#[from] drivers::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Others kept writing; the same request may well succeed now.
    #[error("{0}")]
    Busy(String),
}

impl From<poll::Error> for Error {
    fn from(err: poll::Error) -> Self {
        match err {
            poll::Error::Driver(source) | poll::Error::Split { source, .. } | poll::Error::Slept { source, .. } => {
                Self::Driver(source)
            }
            poll::Error::Store(err) => Self::Store(err),
            poll::Error::Contended => Self::Busy(err.to_string()),
        }
    }
}

/// Sets and removes hooks.
#[derive(Clone)]
pub struct Tracking {
    store: Arc<dyn Store>,
    observer: Observer,
    /// Knows where callbacks may go.
    outbound: Outbound,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
    settings: Settings,
    reads: Arc<Reads>,
    poll: Wake,
    deliver: Wake,
}

impl Tracking {
    #[expect(clippy::too_many_arguments, reason = "called once, where Tracker is put together")]
    pub fn new(
        store: Arc<dyn Store>,
        observer: Observer,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        settings: Settings,
        reads: Arc<Reads>,
        poll: Wake,
        deliver: Wake,
    ) -> Self {
        Self { store, observer, outbound, clock, chance, settings, reads, poll, deliver }
    }

    /// Sets or replaces the subscriber's hook on a member, a collection or the account.
    ///
    /// # Errors
    /// [`Error::Refused`] before anything is asked of the backend; nothing is stored on any error.
    pub async fn set(&self, caller: &Caller, driver: &dyn Driver, wanted: SetHook) -> Result<Tracked, Error> {
        self.check(&wanted.callback)?;
        secret::check(&wanted.secret)?;
        for tries in 0..CONTENDED_TRIES {
            let account = self.store.find_account(&caller.key).await?;
            let (observer, _turn) = self.observer(account, &wanted.scope, tries).await;
            let seen = self.see(&observer, caller, account, driver, &wanted.scope).await?;
            if tries == 0 {
                may_change(driver, &caller.login, &wanted.scope).await?;
            }
            if let Some(tracked) = self.save(caller, account, wanted.clone(), seen).await? {
                return Ok(tracked);
            }
        }
        Err(Error::Busy(poll::Error::Contended.to_string()))
    }

    /// Sets the hook of an instance that the caller has just created, without asking the backend again, which may need
    /// minutes until it shows a new instance everywhere. `wanted.scope` names the instance.
    ///
    /// # Errors
    /// As [`Tracking::set`].
    pub async fn set_created(
        &self,
        caller: &Caller,
        driver: &dyn Driver,
        created: &Instance,
        wanted: SetHook,
    ) -> Result<Tracked, Error> {
        self.check(&wanted.callback)?;
        secret::check(&wanted.secret)?;
        let answered_at = self.clock.now();
        for tries in 0..CONTENDED_TRIES {
            let account = self.store.find_account(&caller.key).await?;
            let (observer, _turn) = self.observer(account, &wanted.scope, tries).await;
            let created = Resource::from(created.clone());
            let seen = match account {
                Some(account) => observer.introduce(&caller.account(account), created, driver.abilities()).await?,
                None => Seen::first(vec![created], answered_at),
            };
            if let Some(tracked) = self.save(caller, account, wanted.clone(), seen).await? {
                return Ok(tracked);
            }
        }
        Err(Error::Busy(poll::Error::Contended.to_string()))
    }

    /// Whoever was in others' way once has what it wants to see for itself.
    async fn observer(&self, account: Option<AccountId>, scope: &Scope, tries: usize) -> (Observer, Option<Turn>) {
        match (account, scope) {
            (Some(account), Scope::Collection(collection) | Scope::Member(collection, _)) if tries > 0 => {
                self.observer.alone(account, *collection).await
            }
            _ => (self.observer.clone(), None),
        }
    }

    /// Saves the hook with what was seen as its baseline. `None`: something was seen since that the hook would not be
    /// told of, so look again.
    async fn save(
        &self,
        caller: &Caller,
        account: Option<AccountId>,
        wanted: SetHook,
        seen: Seen,
    ) -> Result<Option<Tracked>, Error> {
        let before = match account {
            Some(account) => self.store.hook(account, &wanted.subscriber, &wanted.scope).await?,
            None => None,
        };
        let now = self.clock.now();
        let (hook, new_secret) = self.hook(wanted, before, now);
        let baseline = baseline(&hook.scope, &seen);
        let saved = self.store.save_hook(&caller.key, &caller.login, &hook, baseline.as_ref(), now).await;
        let account = match saved {
            Err(store::Error::Conflict) => return Ok(None),
            saved => saved?,
        };
        info!(
            account.id = %account, hook.id = %hook.id, subscriber = %hook.subscriber,
            "Hook {} set on {:?} to {}", hook.id, hook.scope, hook.shown(),
        );
        self.reads.account_moved(&caller.key);
        self.observer.try_again(account);
        self.poll.notify_one();
        self.deliver.notify_one();
        let resources = seen.members.into_values().collect();
        Ok(Some(Tracked {
            resources,
            hook,
            new_secret,
            observed_at: seen.answered_at,
            through: seen.whole.then_some(seen.through),
        }))
    }

    /// What can be said of a callback before anything is done for it.
    ///
    /// # Errors
    /// [`Error::Refused`] for one that may never be called.
    pub fn check(&self, callback: &Callback) -> Result<(), Error> {
        match callback {
            Callback::Post(url) => Ok(self.outbound.check(url)?),
            Callback::Feed => Ok(()),
        }
    }

    /// Removes the subscriber's hook; `false`: there was none. Asks the backend for nothing, so that one can stop tracking
    /// while it is down.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, caller: &Caller, subscriber: &Subscriber, scope: &Scope) -> Result<bool, store::Error> {
        let Some(account) = self.store.find_account(&caller.key).await? else { return Ok(false) };
        let removed = self.store.remove_hook(account, subscriber, scope, self.clock.now()).await?;
        if removed {
            self.reads.account_moved(&caller.key);
            info!(account.id = %account, subscriber = %subscriber, "Hook on {scope:?} removed");
        }
        Ok(removed)
    }

    /// Says that something in the account was just touched, so that the next look comes at once. An account that nobody
    /// tracks stays unlooked at.
    ///
    /// # Errors
    /// The store's.
    pub async fn touched(&self, account: AccountId, collection: Collection) -> Result<(), store::Error> {
        self.store.look_now(account, collection, self.clock.now()).await?;
        self.poll.notify_one();
        Ok(())
    }

    /// Some account is looked at no more, as its credentials are refused.
    pub fn is_any_refused(&self) -> bool {
        self.observer.is_any_refused()
    }

    /// The backend has just answered this login well. If its account is refused, what it sees decides whether that is over.
    ///
    /// # Errors
    /// The store's.
    pub async fn heard(&self, key: &AccountKey, login: &Login, driver: &dyn Driver) -> Result<(), store::Error> {
        let Some(id) = self.store.find_account(key).await? else { return Ok(()) };
        if !self.observer.is_refused(id).await? || !self.observer.listens(id) {
            return Ok(());
        }
        let account = Account { id, key: key.clone(), login: login.clone() };
        match self.witness(&account, driver, Collection::Instances).await {
            Err(poll::Error::Store(err)) => Err(err),
            // It is looked at again in its own time.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// A client is about to ask the provider for this: what comes of it is no step back. `action`: on an instance; `None` for
    /// anything else.
    pub fn expect(
        &self,
        account: AccountId,
        collection: Collection,
        id: &str,
        action: Option<Action>,
        machine: &Machine,
    ) {
        self.observer.expect(account, collection, id, action, machine);
    }

    /// Lists a collection for somebody who reads it, and records what is news in it. What is missing from it proves nothing:
    /// this login may see less than others.
    ///
    /// # Errors
    /// As [`Observer::list`].
    pub async fn witness(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
    ) -> Result<Seen, poll::Error> {
        let seen = self.observer.witness(account, driver, collection).await?;
        // One that sees less than all would make the rest seem missing.
        if seen.whole && self.observer.vouched(account).await {
            self.poll.notify_one();
        }
        Ok(seen)
    }

    /// Takes in that a launch was refused, for what it says of the realm it was to be in.
    pub async fn launch_refused(&self, caller: &Caller, new: &NewInstance, fault: Fault) {
        let profile = new.hardware_profile.as_deref();
        self.observer.launch_refused(&caller.key, new.realm.as_deref(), profile, fault).await;
        // Others in the same place may have to be judged again.
        self.poll.notify_one();
    }

    /// All that is known of a realm of the caller's account. `None`: nothing.
    ///
    /// # Errors
    /// The store's.
    pub async fn evidence(&self, caller: &Caller, realm: &str) -> Result<Option<Evidence>, store::Error> {
        self.observer.evidence(&caller.key, realm).await
    }

    /// Fetches what is to be tracked with the caller's own credentials. In an account that is known already the look is
    /// compared and committed like every other, so that nobody misses what it finds.
    async fn see(
        &self,
        observer: &Observer,
        caller: &Caller,
        account: Option<AccountId>,
        driver: &dyn Driver,
        scope: &Scope,
    ) -> Result<Seen, Error> {
        let login = &caller.login;
        let (collection, id) = match scope {
            // What it hears of is whether these can be seen, and its login is the one that they are looked at with from now on. So
            // it must be one that sees them.
            Scope::Account => (Collection::Instances, None),
            Scope::Collection(collection) => (*collection, None),
            Scope::Member(collection, id) => (*collection, Some(id)),
        };
        let seen = match (account, id) {
            (Some(account), None) => observer.list(&caller.account(account), driver, collection).await?,
            (Some(account), Some(id)) => {
                let ids = BTreeSet::from([id.clone()]);
                observer.look(&caller.account(account), driver, collection, &ids).await?
            }
            (None, None) => {
                let list = drivers::of_account(&caller.key.identity, drivers::list(driver, login, collection));
                Seen::first(list.await?, self.clock.now())
            }
            (None, Some(id)) => {
                let ids = BTreeSet::from([id.clone()]);
                let look = drivers::of_account(&caller.key.identity, drivers::look(driver, login, collection, &ids));
                Seen::first(look.await?.whole()?, self.clock.now())
            }
        };
        match id {
            Some(id) if seen.members.is_empty() => Err(Error::NotFound(id.clone(), collection)),
            _ => Ok(seen),
        }
    }

    fn hook(&self, wanted: SetHook, before: Option<Hook>, now: Timestamp) -> (Hook, Option<Secret>) {
        let SetHook { subscriber, scope, callback, token, secret, terms, base } = wanted;
        let overlap = Duration::from_millis(self.settings.secret_overlap_ms);
        let (id, created_at, old_keys) = match before {
            Some(before) => (before.id, before.created_at, before.keys),
            None => (HookId(self.chance.id("hook", now)), now, Vec::new()),
        };
        let (keys, new_secret) = match callback {
            // Nothing is signed, but a subscriber that goes back to callbacks finds its secret again.
            Callback::Feed => (old_keys, None),
            Callback::Post(_) => {
                secret::keys(secret, old_keys, now, overlap, self.settings.secrets_max, || self.chance.bytes())
            }
        };
        let hook = Hook {
            id,
            subscriber,
            scope,
            callback,
            token,
            keys,
            terms,
            base,
            created_at,
            disabled: None,
            failing_since: None,
            version: 0,
            ended_at: None,
        };
        (hook, new_secret)
    }
}

/// Whether the caller may change the member that it wants to track, as far as its backend can say without doing it. Of a
/// collection or an account there is nothing to be asked: each member is another matter, and seeing them is what it takes.
async fn may_change(driver: &dyn Driver, login: &Login, scope: &Scope) -> Result<(), Error> {
    let Scope::Member(collection, id) = scope else { return Ok(()) };
    match driver.may_modify(login, *collection, id).await? {
        Some(false) => Err(Error::NotYours(id.clone(), *collection)),
        Some(true) | None => Ok(()),
    }
}

/// What was seen, as what the hook's changes are told from. A list is complete, so it is the collection's first sample. A hook
/// on the account is told of nothing that is in it.
fn baseline(scope: &Scope, seen: &Seen) -> Option<Baseline> {
    let (collection, complete_at) = match scope {
        Scope::Account => return None,
        Scope::Collection(collection) => (*collection, Some(seen.answered_at)),
        Scope::Member(collection, _) => (*collection, None),
    };
    let member = |resource: &Resource| KnownResource {
        resource: resource.clone(),
        revision: 0,
        first_seen_at: seen.answered_at,
        observed_at: seen.answered_at,
        absent_since: None,
    };
    let members = seen.members.values().map(member).collect();
    Some(Baseline { collection, through: seen.through, members, complete_at })
}
