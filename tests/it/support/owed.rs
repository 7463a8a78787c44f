//! A store in memory that knows deliveries, hooks and accounts, and nothing else. It can be told to fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;
use tracker::model::{
    Account, AccountId, AccountKey, Attempt, Callback, Change, ChangeId, Collection, Credentials, Delivery,
    DeliveryState, Disabling, DriverId, Entry, Facts, Hook, HookId, InstanceState, Known, Login, News, Observed,
    Outage, Outcome, Scope, Secret, Seq, SigningKey, Subject, Subscriber, Terms, Verdict,
};
use tracker::store::{
    Accounts, Ask, Baseline, Claimed, Commit, Deliveries, DeliveryPage, DeliveryStanding, DueUnits, Error, Feed, Head,
    HintSecretAbout, HintSecrets, HookStanding, Hooks, Ledger, Mark, NewChange, OwedPage, Polls, PruneFrom, PruneRules,
    Pruned, Pulse, Results, Returned, Samples, Snapshots, Unit, UnitPlan, Upkeep, Watch, WhichDeliveries, WhichHooks,
    WhichOwed,
};
use url::Url;

pub const ACCOUNT: AccountId = AccountId(7);

#[derive(Default)]
pub struct Owed(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    hooks: BTreeMap<HookId, Hook>,
    rows: Vec<Row>,
    outcomes: watch::Sender<Vec<Outcome>>,
    /// Calls of `record` that fail from now on.
    failing_records: usize,
    unreadable: BTreeSet<HookId>,
    unrecordable: BTreeSet<Seq>,
}

struct Row {
    delivery: Delivery,
    state: DeliveryState,
    due_at: Timestamp,
    claimed_until: Option<Timestamp>,
}

impl Owed {
    /// A hook without credentials of its own, and with one key.
    pub fn add_hook(&self, id: &str, url: &Url, key: &Secret) -> HookId {
        let id = HookId(id.to_owned());
        let hook = Hook {
            id: id.clone(),
            subscriber: Subscriber::default(),
            scope: Scope::Collection(Collection::Instances),
            callback: Callback::Post(url.clone()),
            token: Some(Secret::from("the token")),
            keys: vec![SigningKey { secret: key.clone(), until: None }],
            base: "http://tracker.example/api".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
            terms: Terms::default(),
            disabled: None,
            failing_since: None,
            version: 1,
            ended_at: None,
        };
        self.inner().hooks.insert(id.clone(), hook);
        id
    }

    /// A change of an instance, owed to the hook since `now`.
    pub fn add(&self, hook: &HookId, instance: &str, from: InstanceState, to: InstanceState, now: Timestamp) -> Seq {
        let mut inner = self.inner();
        let seq = Seq(inner.rows.len() as u64 + 1);
        let revision = 1 + inner.rows.iter().filter(|row| row.delivery.entry.change.subject.id == instance).count();
        let facts = |state: InstanceState| Facts {
            state,
            native_state: state.as_str().to_ascii_lowercase(),
            public_addresses: vec![],
            private_addresses: vec![],
            announced: vec![],
        };
        let change = Change {
            id: ChangeId(format!("chg_{seq}")),
            at: now,
            subject: Subject {
                collection: Collection::Instances.into(),
                id: instance.to_owned(),
                revision: revision as u64,
                name: None,
                realm: None,
            },
            observed: Observed { before: None, at: now },
            news: News::InstanceState { from: facts(from), to: facts(to) },
        };
        let entry = Entry { seq, change };
        let receiver = inner.hooks[hook].receiver().unwrap();
        let delivery = Delivery {
            account: ACCOUNT,
            hook: hook.clone(),
            hook_version: 1,
            receiver,
            merged: None,
            entry,
            attempts: 0,
            created_at: now,
            failing_since: None,
        };
        inner.rows.push(Row { delivery, state: DeliveryState::Waiting, due_at: now, claimed_until: None });
        seq
    }

    /// As [`Owed::add`], the usual change.
    pub fn add_stop(&self, hook: &HookId, instance: &str, now: Timestamp) -> Seq {
        self.add(hook, instance, InstanceState::Running, InstanceState::Stopped, now)
    }

    pub fn replace_key(&self, hook: &HookId, key: &Secret) {
        let keys = vec![SigningKey { secret: key.clone(), until: None }];
        let mut inner = self.inner();
        let hook = inner.hooks.get_mut(hook).expect("the hook was added");
        hook.keys = keys;
        hook.version += 1;
    }

    pub fn fail_records(&self, count: usize) {
        self.inner().failing_records = count;
    }

    pub fn make_unreadable(&self, hook: &HookId) {
        self.inner().unreadable.insert(hook.clone());
    }

    pub fn make_unrecordable(&self, seq: Seq) {
        self.inner().unrecordable.insert(seq);
    }

    pub fn outcomes(&self) -> Vec<Outcome> {
        self.inner().outcomes.borrow().clone()
    }

    /// Waits until this many tries are recorded.
    pub async fn wait_for(&self, outcomes: usize) {
        let mut recorded = self.inner().outcomes.subscribe();
        let enough = recorded.wait_for(|recorded| recorded.len() >= outcomes);
        let enough = tokio::time::timeout(Duration::from_secs(20), enough).await;
        assert!(enough.is_ok_and(|enough| enough.is_ok()), "{outcomes} tries were not recorded in time");
    }

    pub fn states(&self) -> Vec<DeliveryState> {
        self.inner().rows.iter().map(|row| row.state).collect()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().expect("nobody panics with the rows in hand")
    }
}

fn corrupt(key: &str) -> Error {
    Error::Corrupt { table: "hooks", column: "callback", key: key.to_owned(), text: "sealed by a lost key".to_owned() }
}

#[async_trait]
impl Deliveries for Owed {
    async fn claim(&self, ask: &Ask) -> Result<Claimed, Error> {
        let Ask { now, until, limit, per_receiver, rooms } = ask.clone();
        let mut inner = self.inner();
        let Inner { hooks, rows, .. } = &mut *inner;
        let mut waiting = BTreeSet::new();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.retain(|at| {
            let Row { delivery, state, .. } = &rows[*at];
            let place = (delivery.hook.clone(), delivery.entry.change.subject.id.clone());
            *state == DeliveryState::Waiting && waiting.insert(place)
        });
        order.sort_by_key(|at| rows[*at].due_at);
        let mut taken: HashMap<String, usize> = HashMap::new();
        let mut claimed = vec![];
        for at in order {
            let row = &mut rows[at];
            let hook = &hooks[&row.delivery.hook];
            let Some(receiver) = hook.receiver() else { continue };
            let per_receiver = rooms.get(&receiver).copied().unwrap_or(per_receiver);
            let free = row.claimed_until.is_none_or(|until| until <= now);
            let count = taken.entry(receiver).or_default();
            if claimed.len() < limit && *count < per_receiver && free && row.due_at <= now && hook.disabled.is_none() {
                *count += 1;
                row.claimed_until = Some(until);
                row.delivery.hook_version = hook.version;
                claimed.push(row.delivery.clone());
            }
        }
        Ok(Claimed { deliveries: claimed, unreadable: vec![] })
    }

    async fn record_and_claim(&self, results: &Results, ask: &Ask) -> Result<Claimed, Error> {
        self.record(results, ask.now).await?;
        self.claim(ask).await
    }

    async fn record(&self, results: &Results, now: Timestamp) -> Result<(), Error> {
        let Results { outcomes, returned, recovered } = results;
        let mut inner = self.inner();
        if inner.failing_records > 0 {
            inner.failing_records -= 1;
            return Err(Error::Database { action: "record attempts", source: sqlx::Error::PoolTimedOut });
        }
        if let Some(outcome) = outcomes.iter().find(|outcome| inner.unrecordable.contains(&outcome.seq)) {
            return Err(corrupt(&outcome.seq.to_string()));
        }
        for Returned { seq, due_at, .. } in returned {
            let row =
                inner.rows.iter_mut().find(|row| row.delivery.entry.seq == *seq).expect("only claims are given back");
            row.claimed_until = None;
            row.due_at = due_at.unwrap_or(row.due_at);
        }
        for row in &mut inner.rows {
            if recovered.iter().any(|up| up.receiver == row.delivery.receiver) && row.claimed_until.is_none() {
                row.due_at = row.due_at.min(now);
            }
        }
        for outcome in outcomes {
            inner.outcomes.send_modify(|recorded| recorded.push(outcome.clone()));
            let Inner { hooks, rows, .. } = &mut *inner;
            let row =
                rows.iter_mut().find(|row| row.delivery.entry.seq == outcome.seq).expect("only what is owed is sent");
            row.claimed_until = None;
            row.delivery.attempts = outcome.attempt.number;
            match &outcome.verdict {
                Verdict::Delivered => row.state = DeliveryState::Delivered,
                Verdict::Exhausted { .. } => row.state = DeliveryState::Exhausted,
                Verdict::Retry { due_at, .. } => row.due_at = *due_at,
                Verdict::Postpone { due_at } => {
                    row.delivery.attempts -= 1;
                    row.due_at = *due_at;
                }
                Verdict::Disable(Disabling { reason, .. }) => {
                    let hook = hooks.get_mut(&outcome.hook).expect("only hooks that are there are disabled");
                    hook.version += 1;
                    hook.disabled = Some(tracker::model::Disabled { at: now, reason: reason.clone() });
                }
            }
        }
        Ok(())
    }

    fn mark(&self) -> Mark {
        Mark(0)
    }

    fn revoked_since(&self, _account: AccountId, _mark: Mark) -> bool {
        false
    }

    async fn release_claims(&self) -> Result<u64, Error> {
        unreachable!("only the start of a process calls this")
    }

    async fn next_delivery_due_at(&self, but: &BTreeSet<String>) -> Result<Option<Timestamp>, Error> {
        let inner = self.inner();
        let waiting = inner
            .rows
            .iter()
            .filter(|row| row.state == DeliveryState::Waiting && !but.contains(&row.delivery.receiver));
        Ok(waiting.map(|row| row.claimed_until.unwrap_or(row.due_at)).min())
    }
}

#[async_trait]
impl Hooks for Owed {
    async fn hook_by_id(&self, _account: AccountId, id: &HookId) -> Result<Option<Hook>, Error> {
        let inner = self.inner();
        if inner.unreadable.contains(id) {
            return Err(corrupt(&id.0));
        }
        Ok(inner.hooks.get(id).cloned())
    }

    async fn hooks_by_id(&self, wanted: &[(AccountId, HookId)]) -> Result<Vec<(HookId, Result<Hook, Error>)>, Error> {
        let mut found = vec![];
        for (account, id) in wanted {
            if let Some(hook) = self.hook_by_id(*account, id).await.transpose() {
                found.push((id.clone(), hook));
            }
        }
        Ok(found)
    }

    async fn hook(&self, _: AccountId, _: &Subscriber, _: &Scope) -> Result<Option<Hook>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn hooks(&self, _: AccountId) -> Result<Vec<Hook>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn save_hook(
        &self,
        _: &AccountKey,
        _: &Login,
        _: &Hook,
        _: Option<&Baseline>,
        _: Timestamp,
    ) -> Result<AccountId, Error> {
        unreachable!("{BEYOND}")
    }

    async fn remove_hook(&self, _: AccountId, _: &Subscriber, _: &Scope, _: Timestamp) -> Result<bool, Error> {
        unreachable!("{BEYOND}")
    }
}

#[async_trait]
impl Accounts for Owed {
    async fn account(&self, id: AccountId) -> Result<Option<Account>, Error> {
        let driver = DriverId::new("mock");
        let credentials = Credentials { user: "mockuser".to_owned(), password: Secret::from("mockpassword") };
        let key =
            AccountKey { driver: driver.clone(), provider: "default".to_owned(), identity: "mockuser".to_owned() };
        Ok(Some(Account { id, key, login: Login { driver, provider: None, credentials } }))
    }

    async fn find_account(&self, _: &AccountKey) -> Result<Option<AccountId>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn account_by_login(&self, _: &Login, _: &str) -> Result<Option<Account>, Error> {
        unreachable!("{BEYOND}")
    }
}

const BEYOND: &str = "delivering has no business with this";

#[async_trait]
impl Samples for Owed {
    async fn known(&self, _: AccountId, _: Collection) -> Result<Known, Error> {
        unreachable!("{BEYOND}")
    }

    async fn head(&self, _: AccountId, _: Collection) -> Result<Head, Error> {
        unreachable!("{BEYOND}")
    }

    async fn member(
        &self,
        _: AccountId,
        _: Collection,
        _: &str,
    ) -> Result<Option<tracker::model::KnownResource>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn judgements(&self, _: AccountId) -> Result<Vec<(String, String)>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn commit_sample(&self, _: &Commit) -> Result<Vec<Entry>, Error> {
        unreachable!("{BEYOND}")
    }
}

#[async_trait]
impl Polls for Owed {
    async fn due_units(&self, _: Timestamp, _: Timestamp, _: usize) -> Result<DueUnits, Error> {
        unreachable!("{BEYOND}")
    }

    async fn unit(&self, _: AccountId, _: Collection, _: Timestamp) -> Result<Option<Unit>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn next_unit_due_at(&self, _: Timestamp) -> Result<Option<Timestamp>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn plan_unit(&self, _: AccountId, _: Collection, _: Timestamp, _: &UnitPlan) -> Result<(), Error> {
        unreachable!("{BEYOND}")
    }

    async fn record_standing(
        &self,
        _: AccountId,
        _: u64,
        _: Option<&Outage>,
        _: &NewChange,
        _: Timestamp,
    ) -> Result<Vec<Entry>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn standing(&self, _: AccountId) -> Result<(u64, Option<Outage>), Error> {
        unreachable!("{BEYOND}")
    }

    async fn renew_login(&self, _: &AccountKey, _: &Login, _: Timestamp) -> Result<bool, Error> {
        unreachable!("{BEYOND}")
    }

    async fn look_by(&self, _: AccountId, _: Collection, _: Timestamp) -> Result<(), Error> {
        unreachable!("{BEYOND}")
    }

    async fn look_now(&self, _: AccountId, _: Collection, _: Timestamp) -> Result<(), Error> {
        unreachable!("{BEYOND}")
    }

    async fn watch(&self, _: AccountId, _: Collection, _: Timestamp) -> Result<Option<Watch>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn make_due_beyond(&self, _: Timestamp, _: Timestamp) -> Result<u64, Error> {
        unreachable!("{BEYOND}")
    }

    async fn bring_forward(&self, _: Collection, _: Timestamp, _: Duration, _: Duration) -> Result<u64, Error> {
        unreachable!("{BEYOND}")
    }
}

#[async_trait]
impl HintSecrets for Owed {
    async fn put_hint_secret(
        &self,
        _: &AccountKey,
        _: &Secret,
        _: Timestamp,
        _: Timestamp,
    ) -> Result<AccountId, Error> {
        unreachable!("{BEYOND}")
    }

    async fn hint_secret(&self, _: AccountId) -> Result<Option<HintSecretAbout>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn end_hint_secret(&self, _: AccountId) -> Result<bool, Error> {
        unreachable!("{BEYOND}")
    }

    async fn account_by_hint_secret(
        &self,
        _: AccountId,
        _: &Secret,
        _: Timestamp,
    ) -> Result<Option<AccountKey>, Error> {
        unreachable!("{BEYOND}")
    }
}

#[async_trait]
impl Feed for Owed {
    async fn undelivered(&self, _: AccountId, _: &Subscriber, _: Seq, _: usize) -> Result<Vec<(Entry, HookId)>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn undelivered_of(&self, _: AccountId, _: &Subscriber, _: &WhichOwed<'_>) -> Result<OwedPage, Error> {
        unreachable!("{BEYOND}")
    }

    async fn owed(&self, _: AccountId, _: Collection) -> Result<BTreeSet<String>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn acknowledge(&self, _: AccountId, _: &Subscriber, _: &[Seq], _: Timestamp) -> Result<u64, Error> {
        unreachable!("{BEYOND}")
    }

    async fn acknowledge_through(&self, _: AccountId, _: &Subscriber, _: Seq, _: Timestamp) -> Result<u64, Error> {
        unreachable!("{BEYOND}")
    }

    async fn log_after(&self, _: AccountId, _: Seq, _: usize) -> Result<Vec<Entry>, Error> {
        unreachable!("{BEYOND}")
    }

    fn follow(&self, _: AccountId) -> watch::Receiver<u64> {
        unreachable!("{BEYOND}")
    }

    async fn log_bounds(&self, _: AccountId) -> Result<(Option<Seq>, Seq), Error> {
        unreachable!("{BEYOND}")
    }
}

#[async_trait]
impl Ledger for Owed {
    async fn hook_standings(&self, _: AccountId, _: &WhichHooks) -> Result<Vec<HookStanding>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn deliveries(&self, _: AccountId, _: &WhichDeliveries) -> Result<DeliveryPage, Error> {
        unreachable!("{BEYOND}")
    }

    async fn delivery(
        &self,
        _: AccountId,
        _: &HookId,
        _: Seq,
        _: usize,
    ) -> Result<Option<(DeliveryStanding, Vec<Attempt>)>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn enable_hook(&self, _: AccountId, _: &HookId, _: Timestamp) -> Result<bool, Error> {
        unreachable!("{BEYOND}")
    }

    async fn commit_snapshots(&self, _: &Snapshots) -> Result<Option<(Seq, Seq)>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn settled_since(
        &self,
        _: AccountId,
        _: &HookId,
        _: Timestamp,
        _: &[DeliveryState],
        _: usize,
    ) -> Result<Vec<Seq>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn redeliver(
        &self,
        _: AccountId,
        _: &HookId,
        _: &[Seq],
        _: &[DeliveryState],
        _: Timestamp,
    ) -> Result<Option<u64>, Error> {
        unreachable!("{BEYOND}")
    }

    async fn pulse(&self, _: usize, _: usize) -> Result<Pulse, Error> {
        unreachable!("{BEYOND}")
    }
}

#[async_trait]
impl Upkeep for Owed {
    async fn rest(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn prune(&self, _: &PruneRules, _: PruneFrom) -> Result<Pruned, Error> {
        unreachable!("{BEYOND}")
    }

    async fn newest(&self) -> Result<Option<Timestamp>, Error> {
        Ok(None)
    }

    async fn set_back(&self, _: Duration, _: Timestamp) -> Result<u64, Error> {
        unreachable!("{BEYOND}")
    }
}
