use async_trait::async_trait;
use jiff::Timestamp;

use super::Error;
use crate::model::{
    AccountId, Attempt, Change, ChangeId, Collection, DeliveryState, Hook, HookId, Merged, Seq, Subscriber, Topic,
};

/// What the owner of hooks asks of them and does with what they are owed. All of it within one account, but for
/// [`Ledger::pulse`].
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Hooks with how far behind they are, by id.
    async fn hook_standings(&self, account: AccountId, which: &WhichHooks) -> Result<Vec<HookStanding>, Error>;

    /// A page of deliveries, newest change first. Costs no more than `which.scan_max` rows looked at, whatever the filters: a
    /// page may hold fewer than its limit, or none, and have a next one all the same.
    async fn deliveries(&self, account: AccountId, which: &WhichDeliveries) -> Result<DeliveryPage, Error>;

    /// One delivery and its newest attempts, oldest first.
    async fn delivery(
        &self,
        account: AccountId,
        hook: &HookId,
        seq: Seq,
        attempts_max: usize,
    ) -> Result<Option<(DeliveryStanding, Vec<Attempt>)>, Error>;

    /// A disabled hook is called again: what waits is due at `now`, and what comes of tries begun before does not disable it
    /// anew. One that is not disabled stays as it is. `false`: there is no such hook.
    async fn enable_hook(&self, account: AccountId, hook: &HookId, now: Timestamp) -> Result<bool, Error>;

    /// Records how things stand, owed to one hook, after whatever waits for the same resources. First and last number;
    /// `None` when there is nothing to record.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the collection was written since `version`, or the hook is not there any more.
    async fn commit_snapshots(&self, snapshots: &Snapshots) -> Result<Option<(Seq, Seq)>, Error>;

    /// What the hook was owed since then and stands in one of these states, oldest first.
    async fn settled_since(
        &self,
        account: AccountId,
        hook: &HookId,
        since: Timestamp,
        states: &[DeliveryState],
        limit: usize,
    ) -> Result<Vec<Seq>, Error>;

    /// Of these deliveries those in one of `states` wait again, with attempts counted from 0 and due at `now`, or when
    /// the receiver asked to be called again if that is later. Order is kept: of a resource the oldest comes first, and
    /// none while another is under way. One that is under way itself is left alone.
    ///
    /// How many wait now; `None` when the hook is not posted to (removed, disabled, or reads the feed).
    async fn redeliver(
        &self,
        account: AccountId,
        hook: &HookId,
        seqs: &[Seq],
        states: &[DeliveryState],
        now: Timestamp,
    ) -> Result<Option<u64>, Error>;

    /// How the delivery of everything is doing, of all accounts.
    async fn pulse(&self, hooks_max: usize, waiting_max: usize) -> Result<Pulse, Error>;
}

/// Which hooks to list. `None`: any.
#[derive(Clone, Debug, Default)]
pub struct WhichHooks {
    pub id: Option<HookId>,
    pub subscriber: Option<Subscriber>,
    /// On the collection or one of its members.
    pub collection: Option<Collection>,
    /// On the member of this id.
    pub resource: Option<String>,
    /// Only those with a greater id.
    pub after: Option<HookId>,
    pub limit: usize,
    /// As far as waiting deliveries are counted.
    pub waiting_max: usize,
}

/// A hook and how far behind it is.
#[derive(Clone, Debug)]
pub struct HookStanding {
    pub hook: Hook,
    /// The oldest change not delivered, waiting or exhausted, and since when it is owed.
    pub behind: Option<(Seq, Timestamp)>,
    /// Since when the oldest of those is owed that wait.
    pub waiting_since: Option<Timestamp>,
    /// How many wait, counted up to the bound asked for.
    pub waiting: usize,
}

/// Which deliveries to list. `None`: any.
#[derive(Clone, Debug, Default)]
pub struct WhichDeliveries {
    pub hook: Option<HookId>,
    pub subscriber: Option<Subscriber>,
    pub state: Option<DeliveryState>,
    pub collection: Option<Topic>,
    pub resource: Option<String>,
    /// Owed since then, or later.
    pub since: Option<Timestamp>,
    /// Owed earlier than that.
    pub until: Option<Timestamp>,
    /// Only what comes after it, newest first.
    pub before: Option<Place>,
    pub limit: usize,
    pub scan_max: usize,
}

/// A place in the list of deliveries. The greater is the newer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub seq: Seq,
    /// `None`: before all deliveries of the change.
    pub hook: Option<HookId>,
}

#[derive(Clone, Debug, Default)]
pub struct DeliveryPage {
    pub deliveries: Vec<DeliveryStanding>,
    /// Where the next page begins, if there may be one.
    pub next: Option<Place>,
}

/// A delivery as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryStanding {
    pub hook: HookId,
    pub seq: Seq,
    pub subscriber: Subscriber,
    /// Id and type of the change; `None` when it is no longer kept.
    pub change: Option<(ChangeId, String)>,
    pub collection: Topic,
    pub resource: String,
    pub state: DeliveryState,
    pub attempts: u32,
    pub created_at: Timestamp,
    /// `None`: it waits behind another of the same resource, its hook is not posted to, or it does not wait at all.
    pub due_at: Option<Timestamp>,
    /// Claimed for a try.
    pub under_way: bool,
    pub settled_at: Option<Timestamp>,
    /// Where its hook posts to now.
    pub receiver: Option<String>,
    pub merged: Option<Merged>,
    pub last_try: Option<LastTry>,
}

impl DeliveryStanding {
    pub fn place(&self) -> Place {
        Place { seq: self.seq, hook: Some(self.hook.clone()) }
    }
}

/// The newest attempt in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastTry {
    pub at: Timestamp,
    pub status: Option<u16>,
    pub error: Option<String>,
}

/// How the known resources stand, decided on `version` of their collection.
#[derive(Clone, Debug)]
pub struct Snapshots {
    pub account: AccountId,
    pub hook: HookId,
    pub collection: Collection,
    pub version: i64,
    pub changes: Vec<Change>,
    pub now: Timestamp,
}

/// For whoever watches Tracker itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    /// Since when the oldest waiting delivery of a hook is owed, the longest first, then hooks without any.
    pub hooks: Vec<(AccountId, HookId, Option<Timestamp>)>,
    pub hooks_total: u64,
    pub hooks_disabled: u64,
    /// Counted up to the bound asked for.
    pub deliveries_waiting: u64,
}
