//! What is remembered. A method is one whole business step and one transaction.
//!
//! Guarantees: a sample's new state, its changes and the deliveries they owe become durable together or not at all;
//! `seq` has no holes, because numbers are given inside the transaction that writes the changes; what is secret
//! (credentials, callbacks, tokens, signing keys) is sealed before it reaches the database and is an error that names
//! the record when it cannot be opened.
//!
//! "Not there" is `Option`, not an error. A row that makes no sense is [`Error::Corrupt`] and names table, column and
//! key. Lists come in a fixed order.
//!
//! Absent on purpose: deciding. What is news, who is told and when to try again come in as arguments.

mod error;
mod hint_secrets;
mod keyring;
mod ledger;
mod sqlite;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::watch;

pub use error::Error;
pub use hint_secrets::{HintSecretAbout, HintSecrets};
pub use keyring::{KeyAbout, KeyRing};
pub use ledger::{
    DeliveryPage, DeliveryStanding, HookStanding, LastTry, Ledger, Place, Pulse, Snapshots, WhichDeliveries, WhichHooks,
};
pub use upkeep::{PruneFrom, PruneRules, Pruned, Upkeep};

use crate::model::{
    Account, AccountId, AccountKey, Change, Collection, Delivery, Entry, Hook, HookId, Known, KnownResource, Login,
    Outage, Outcome, Scope, Seq, Standing, Subscriber, Topic,
};

/// `[store]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `sqlite:PATH`: a file, made when missing. One Tracker at a time may have it open.
    pub url: String,
    /// The file with the keys that seal credentials and secrets. Made on first start with mode 0600.
    pub key_ring: String,
    /// Connections that only read. Each may hold a page of changes in memory.
    pub readers: u32,
    /// How long a writer waits for its turn before the call fails. Milliseconds.
    pub busy_wait_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "sqlite:tracker.db".to_owned(),
            key_ring: "tracker.keys".to_owned(),
            readers: 4,
            busy_wait_ms: 10_000,
        }
    }
}

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        sqlite::path(&self.url).map_err(|err| err.to_string())?;
        if self.busy_wait_ms == 0 {
            return Err("store.busy_wait_ms is 0, so every call would fail: it must be at least 1".to_owned());
        }
        Ok(())
    }
}

/// Opens the store named by `settings.url`, bringing its schema up to date. The keys come from
/// [`KeyRing::load_or_create`], which has to run first: it makes new ones only while there is no store.
///
/// # Errors
/// [`Error::Newer`] when a newer Tracker wrote it, [`Error::KeyRing`] when the keys do not open it, [`Error::InUse`] when
/// another process has it.
pub async fn open(settings: &Settings, keys: KeyRing) -> Result<Arc<dyn Store>, Error> {
    let path = sqlite::path(&settings.url)?;
    Ok(Arc::new(sqlite::Sqlite::open(path, settings, keys).await?))
}

/// Everything at once; the rooms ask for the part that they need.
pub trait Store: Accounts + Hooks + Samples + Polls + Deliveries + Feed + Ledger + Upkeep + HintSecrets {}

impl<T: Accounts + Hooks + Samples + Polls + Deliveries + Feed + Ledger + Upkeep + HintSecrets> Store for T {}

#[async_trait]
pub trait Accounts: Send + Sync {
    /// The account with this key, if any hook was ever set in it.
    async fn find_account(&self, key: &AccountKey) -> Result<Option<AccountId>, Error>;

    /// The account whose stored credentials are exactly these, driver and canonical `provider` included. Compared by a
    /// keyed digest, so it works while the backend is down. `None` also when no credentials are stored any more.
    async fn account_by_login(&self, login: &Login, provider: &str) -> Result<Option<Account>, Error>;

    /// With the credentials to poll with; `None` when unknown or when its last hook was removed and the credentials with it.
    async fn account(&self, id: AccountId) -> Result<Option<Account>, Error>;
}

#[async_trait]
pub trait Hooks: Send + Sync {
    async fn hook(&self, account: AccountId, subscriber: &Subscriber, scope: &Scope) -> Result<Option<Hook>, Error>;

    async fn hook_by_id(&self, account: AccountId, id: &HookId) -> Result<Option<Hook>, Error>;

    /// Those of these that are there, each by itself: one that cannot be read is an error that stops none of the others.
    async fn hooks_by_id(&self, wanted: &[(AccountId, HookId)]) -> Result<Vec<(HookId, Result<Hook, Error>)>, Error>;

    /// All hooks of the account, by id.
    async fn hooks(&self, account: AccountId) -> Result<Vec<Hook>, Error>;

    /// Sets or replaces the hook of this subscriber and scope (a replaced one should keep its id: pass it in), makes the
    /// account when it is new, and replaces its stored credentials by `login`.
    ///
    /// The `baseline` becomes known as far as it is not known already. What the hook is still owed goes to the new
    /// callback. If that is another one, what waits is due at `now` and its attempts count from 0 again; a try under way at
    /// the old callback is let end first. If the old hook was disabled, what waits is due at `now` too. The account's units become due at `now`. The version of the
    /// hook's collections rises, so that a sample decided without this hook is refused.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a change of what the hook listens to was recorded since the baseline was seen: it was told to
    /// others and would never be told to this hook. Look again.
    async fn save_hook(
        &self,
        key: &AccountKey,
        login: &Login,
        hook: &Hook,
        baseline: Option<&Baseline>,
        now: Timestamp,
    ) -> Result<AccountId, Error>;

    /// Removes a hook; what it was still owed is dropped. With the account's last hook its credentials are erased.
    /// `false`: there was none.
    async fn remove_hook(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<bool, Error>;
}

/// What a client was shown when it set a hook: the state that the hook's changes are told from.
#[derive(Clone, Debug)]
pub struct Baseline {
    pub collection: Collection,
    /// The last change of the account that it takes into account.
    pub through: Seq,
    pub members: Vec<KnownResource>,
    /// When it was taken, if it is all of the collection: it then serves as the first sample.
    pub complete_at: Option<Timestamp>,
}

#[async_trait]
pub trait Samples: Send + Sync {
    /// What is known of a collection; empty with `observed_at: None` before the first sample.
    async fn known(&self, account: AccountId, collection: Collection) -> Result<Known, Error>;

    /// What [`Samples::known`] says beside the rows, at little cost. While the version is the same, so are the rows, but for when
    /// they were seen, and for the revisions of those known once, of which the oldest are forgotten.
    async fn head(&self, account: AccountId, collection: Collection) -> Result<Head, Error>;

    /// One row of [`Samples::known`], without reading the others.
    async fn member(
        &self,
        account: AccountId,
        collection: Collection,
        id: &str,
    ) -> Result<Option<KnownResource>, Error>;

    /// What is thought of the account's realms: by realm, and under an empty name what concerns all of them. A text of the
    /// writer's own.
    async fn judgements(&self, account: AccountId) -> Result<Vec<(String, String)>, Error>;

    /// Writes what a look found: new state, changes, deliveries, in one transaction. Answers with the changes as
    /// numbered.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the collection was written since `commit.version`: load and decide again.
    async fn commit_sample(&self, commit: &Commit) -> Result<Vec<Entry>, Error>;
}

/// See [`Known`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub version: i64,
    pub through: Seq,
    pub observed_at: Option<Timestamp>,
}

/// What a look found, decided on `version` of the collection.
#[derive(Clone, Debug)]
pub struct Commit {
    pub account: AccountId,
    pub collection: Collection,
    pub version: i64,
    /// When a complete sample was taken; `None` for a targeted look, which leaves the collection's time alone.
    pub observed_at: Option<Timestamp>,
    /// New and changed rows, whole. Rows not named keep their content; with `observed_at` set, those that are not
    /// absent count as seen then.
    pub upserts: Vec<KnownResource>,
    /// Ids that are known no longer; their last revision (that of their change in here, if there is one) stays as
    /// [`Known::former`]. Hooks on them end at `now` (see [`Hook::ended_at`]); hooks on ids that are upserted begin again.
    pub removed: Vec<String>,
    /// In the order of their numbers. The revision of one that is of the account itself counts the unit's gaps (see
    /// [`Watch::gaps`]).
    pub changes: Vec<NewChange>,
    /// What is thought of realms, as [`Samples::judgements`] gives it back; `None` forgets it.
    pub judgements: Vec<(String, Option<String>)>,
    pub now: Timestamp,
}

/// A change and who is told of it. The store adds `seq`.
#[derive(Clone, Debug)]
pub struct NewChange {
    pub change: Change,
    pub told: Vec<HookId>,
}

/// When to look at what. A unit is a collection of an account.
#[async_trait]
pub trait Polls: Send + Sync {
    /// Units due at `now`, longest overdue first, of accounts with a hook that has not ended before `ended_after`.
    ///
    /// One that makes no sense stops none of the others: it is reported, and stays due until it is planned anew.
    async fn due_units(&self, now: Timestamp, ended_after: Timestamp, limit: usize) -> Result<DueUnits, Error>;

    /// One unit, due or not; `None` when nothing is planned of it, or no hook that has not ended before `ended_after` is about it.
    async fn unit(
        &self,
        account: AccountId,
        collection: Collection,
        ended_after: Timestamp,
    ) -> Result<Option<Unit>, Error>;

    /// When the next unit of such an account falls due.
    async fn next_unit_due_at(&self, ended_after: Timestamp) -> Result<Option<Timestamp>, Error>;

    /// Makes due at `now` what is planned for later than `beyond`: no wait that is meant is so long, so it was planned by a clock that
    /// was ahead. Answers with how many units that were.
    async fn make_due_beyond(&self, beyond: Timestamp, now: Timestamp) -> Result<u64, Error>;

    /// Sets when a unit is looked at next and how the last look went, unless its due time is no longer `was`: then
    /// somebody wants a look meanwhile, and that stands.
    async fn plan_unit(
        &self,
        account: AccountId,
        collection: Collection,
        was: Timestamp,
        plan: &UnitPlan,
    ) -> Result<(), Error>;

    /// Records how an account stands: the change that says so, and `outage` while it cannot be looked at. `None`: it can again,
    /// and all its units are due at `now`.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it was recorded since `standings` was read.
    async fn record_standing(
        &self,
        account: AccountId,
        standings: u64,
        outage: Option<&Outage>,
        change: &NewChange,
        now: Timestamp,
    ) -> Result<Vec<Entry>, Error>;

    /// How an account stands, as recorded: how often it was, and the outage if there is one.
    async fn standing(&self, account: AccountId) -> Result<(u64, Option<Outage>), Error>;

    /// Replaces the credentials that an account is polled with, and makes its units due at `now`. `false`: it has none, as nobody
    /// watches anything in it.
    async fn renew_login(&self, key: &AccountKey, login: &Login, now: Timestamp) -> Result<bool, Error>;

    /// Makes a unit due no later than `at`, unless its last look failed.
    async fn look_by(&self, account: AccountId, collection: Collection, at: Timestamp) -> Result<(), Error>;

    /// Makes a unit due at `now`, whatever was planned. Somebody just touched what is in it.
    async fn look_now(&self, account: AccountId, collection: Collection, now: Timestamp) -> Result<(), Error>;

    /// How a unit is watched; `None` while no hook that has not ended before `ended_after` is about it.
    async fn watch(
        &self,
        account: AccountId,
        collection: Collection,
        ended_after: Timestamp,
    ) -> Result<Option<Watch>, Error>;

    /// The cadence: every unit of the collection that is healthy (`failures` 0), does not rest beyond `at`, and is due later than
    /// that becomes due between `at` and `at + spread`, at a point fixed by its account. Units that are backing off are left alone.
    /// A rest that ends later than `rest_max` after `at` is none.
    async fn bring_forward(
        &self,
        collection: Collection,
        at: Timestamp,
        spread: Duration,
        rest_max: Duration,
    ) -> Result<u64, Error>;
}

#[derive(Debug, Default)]
pub struct DueUnits {
    pub units: Vec<Unit>,
    pub unreadable: Vec<UnreadableUnit>,
}

/// A unit that is due and cannot be looked at, as its account or its plan makes no sense.
#[derive(Debug)]
pub struct UnreadableUnit {
    pub account: AccountId,
    pub collection: Collection,
    /// For [`Polls::plan_unit`].
    pub due_at: Timestamp,
    pub error: Error,
}

#[derive(Clone, Debug)]
pub struct Unit {
    pub account: Account,
    /// As recorded.
    pub standing: Standing,
    pub collection: Collection,
    pub plan: UnitPlan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitPlan {
    pub due_at: Timestamp,
    /// Failed looks in a row.
    pub failures: u32,
    /// Why the last look failed, in one sentence without secrets, if that was the provider's fault.
    pub error: Option<String>,
    /// The cadence passes it over until then, as nothing changes in it.
    pub rest_until: Option<Timestamp>,
}

/// What is known of the time since the last complete look at a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Since when there is one of the hooks that are about it.
    pub since: Timestamp,
    /// When the next look is, or was, to be.
    pub due_at: Option<Timestamp>,
    /// As in [`UnitPlan`].
    pub failures: u32,
    pub error: Option<String>,
    /// How many gaps were stated of it so far.
    pub gaps: u64,
}

/// How much the sender can take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub now: Timestamp,
    /// When what is claimed may be claimed again, should we die over it.
    pub until: Timestamp,
    pub limit: usize,
    /// Of one receiver, unless it has a room of its own.
    pub per_receiver: usize,
    /// Receivers of which more or fewer are wanted; 0 leaves one out.
    pub rooms: BTreeMap<String, usize>,
}

/// What was claimed.
#[derive(Debug, Default)]
pub struct Claimed {
    pub deliveries: Vec<Delivery>,
    /// Of those that were due and cannot be read, each by name.
    pub unreadable: Vec<Error>,
}

/// What the sender has to say to the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    pub outcomes: Vec<Outcome>,
    pub returned: Vec<Returned>,
    /// Receivers that work again after an outage: what of theirs waits out a failure from before is due at once, though never
    /// before the receiver asked for. At most [`RELEASED_MAX`] of each; who has more is told again.
    pub recovered: Vec<Recovered>,
}

/// A moment of the store's own. See [`Deliveries::mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(pub u64);

/// A receiver that got up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub receiver: String,
    /// What fails later waits as it always does.
    pub since: Timestamp,
}

impl Results {
    /// Before what came since.
    pub fn put_back(&mut self, earlier: Self) {
        let Self { outcomes, returned, recovered } = earlier;
        self.outcomes.splice(0..0, outcomes);
        self.returned.splice(0..0, returned);
        self.recovered.splice(0..0, recovered);
    }

    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.returned.is_empty() && self.recovered.is_empty()
    }
}

/// Deliveries of one receiver that one step releases at most after an outage, so that no step takes long.
pub const RELEASED_MAX: usize = 1_000;

/// Attempts of one delivery that are kept, the newest. A fault of our own is on record and counts no try, so there is no other
/// end to them.
pub const ATTEMPTS_KEPT: usize = 100;

/// A claim given back without a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    pub account: AccountId,
    pub hook: HookId,
    pub seq: Seq,
    /// [`Ask::until`] of the claim. One that ran out and was taken again is not ended.
    pub until: Timestamp,
    /// When to claim it again; `None`: as it was.
    pub due_at: Option<Timestamp>,
}

#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Takes deliveries that are due, longest overdue first, and holds them until `ask.until`. Of a hook and a resource only
    /// the oldest waiting one is ever taken; of a hook that wants the latest only, the newest instead, and the others are
    /// merged into it. Hooks that are disabled or read the feed only are never claimed.
    ///
    /// A row that makes no sense stops none of the others: it is reported, stays claimed, and comes again when that runs
    /// out.
    async fn claim(&self, ask: &Ask) -> Result<Claimed, Error>;

    /// Records attempts and their verdicts, and takes claims back. A delivery that meanwhile stopped waiting (read in the
    /// feed, dropped) keeps its state; of its attempts the newest [`ATTEMPTS_KEPT`] are kept all the
    /// same. After a final verdict the next of the same hook and resource becomes due at `now`. A hook that is disabled is told so, as a change of its account, and so are the hooks
    /// on the account that want to hear of it.
    async fn record(&self, results: &Results, now: Timestamp) -> Result<(), Error>;

    /// Both in one transaction: what was recorded makes room and way for what is claimed.
    async fn record_and_claim(&self, results: &Results, ask: &Ask) -> Result<Claimed, Error>;

    /// Now, for [`revoked_since`](Self::revoked_since).
    fn mark(&self) -> Mark;

    /// Whether claims of the account may have lost their sense since: something was read in the feed, or a hook was set,
    /// removed, enabled or disabled, and whoever did so may have been answered. What was claimed before and is not begun is to be
    /// given back; claimed again, it is what is owed then. Costs no query. `true` now and then though nothing happened.
    fn revoked_since(&self, account: AccountId, mark: Mark) -> bool;

    /// Gives back what a dead process had claimed. Called once at the start, by the only process.
    async fn release_claims(&self) -> Result<u64, Error>;

    /// When the next unclaimed delivery falls due, or the next claim runs out, these receivers aside.
    async fn next_delivery_due_at(&self, but: &BTreeSet<String>) -> Result<Option<Timestamp>, Error>;
}

/// What of what is owed to a subscriber. `None`: any.
#[derive(Clone, Debug, Default)]
pub struct WhichOwed<'a> {
    pub after: Seq,
    /// Nothing behind it.
    pub through: Option<Seq>,
    pub collection: Option<Topic>,
    pub resource: Option<&'a str>,
    /// Whole types: `instance.state`.
    pub kinds: Option<Vec<&'static str>>,
    pub realm: Option<&'a str>,
    /// Changes in the page.
    pub limit: usize,
    /// Rows looked at for it.
    pub scan_max: usize,
}

#[derive(Clone, Debug)]
pub struct OwedPage {
    /// Oldest first.
    pub owed: Vec<(Entry, HookId)>,
    /// Up to here everything was looked at, and there may be more; `None`: there is nothing more.
    pub looked: Option<Seq>,
}

#[async_trait]
pub trait Feed: Send + Sync {
    /// What the subscriber has not got yet (waiting or exhausted, of its hooks) and comes after a place, oldest first, a
    /// change once, with the hook that owes it (the one with the smallest id if several do).
    async fn undelivered(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<(Entry, HookId)>, Error>;

    /// As [`Feed::undelivered`], of what is asked for. Costs no more than `which.scan_max` rows looked at.
    async fn undelivered_of(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        which: &WhichOwed<'_>,
    ) -> Result<OwedPage, Error>;

    /// The members of a collection of which somebody has not got a change yet (waiting or exhausted).
    async fn owed(&self, account: AccountId, collection: Collection) -> Result<BTreeSet<String>, Error>;

    /// Counts these as read by the subscriber: its waiting and exhausted deliveries of them are not sent any more.
    async fn acknowledge(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        seqs: &[Seq],
        now: Timestamp,
    ) -> Result<u64, Error>;

    /// As [`Feed::acknowledge`], of everything up to and including `seq`.
    async fn acknowledge_through(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        seq: Seq,
        now: Timestamp,
    ) -> Result<u64, Error>;

    /// The account's log after a place, oldest first, delivered or not.
    async fn log_after(&self, account: AccountId, after: Seq, limit: usize) -> Result<Vec<Entry>, Error>;

    /// Tells when changes may have been recorded, by a number that rises. It rises after the commit, so whoever looks at the
    /// number first and at the log then misses nothing. Now and then it rises without a change.
    fn follow(&self, account: AccountId) -> watch::Receiver<u64>;

    /// The oldest change still kept, if any, and the last number given (0 before the first).
    async fn log_bounds(&self, account: AccountId) -> Result<(Option<Seq>, Seq), Error>;
}
