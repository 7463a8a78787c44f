//! What looks say of realms is heard here, and what follows from it is recorded: the shell around [`crate::availability`].
//!
//! What is thought of an account's realms lives in memory while it is watched, and is saved in the same commit as the changes that
//! follow from it: after a crash it is judged anew from before the change.

mod endpoints;
mod heard;
mod pool;
mod sheet;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use self::endpoints::Endpoints;
pub(super) use self::heard::Weighed;
use self::heard::{declared, realm};
use self::pool::Pool;
use self::sheet::{Sheet, about};
use super::look::Observer;
use crate::availability::{self, Event, Evidence, Launch, Overall, Reachability, Realms, Record, Told};
use crate::drivers::Abilities;
use crate::model::{Account, AccountId, AccountKey, ChangeId, Collection, Fault, Known, Resource, Standing};
use crate::store::{self, Commit};
use crate::tasks;

/// How often what was judged is written anew because others wrote meanwhile.
const CONTENDED_WRITES: usize = 64;

/// What is thought of the realms of all accounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Judge(Arc<Mutex<Bench>>);

#[derive(Debug, Default)]
struct Bench {
    accounts: HashMap<AccountId, Arc<tokio::sync::Mutex<Docket>>>,
    endpoints: Endpoints,
    pool: Pool,
    /// When an account is to be judged again although nothing is heard.
    due: BTreeMap<AccountId, Timestamp>,
}

/// Of one account.
#[derive(Debug, Default)]
struct Docket {
    realms: Option<Realms>,
    /// Follows, and is not recorded yet.
    told: Vec<Told>,
    unsaved: BTreeMap<String, Option<String>>,
    /// When the realms were last listed.
    listed_at: Option<Timestamp>,
}

impl Judge {
    fn bench(&self) -> MutexGuard<'_, Bench> {
        self.0.lock().expect("nobody panics while holding what is thought")
    }

    fn docket(&self, account: AccountId) -> Arc<tokio::sync::Mutex<Docket>> {
        self.bench().accounts.entry(account).or_default().clone()
    }

    /// When somebody is to be judged again.
    pub(super) fn next_due_at(&self) -> Option<Timestamp> {
        self.bench().due.values().min().copied()
    }

    /// Nobody watches the account any more.
    fn forget(&self, account: AccountId) {
        let mut bench = self.bench();
        bench.accounts.remove(&account);
        bench.due.remove(&account);
        bench.endpoints.forget(account);
        bench.pool.forget(account);
    }

    /// The clock was set, ahead or back by that much.
    pub(super) fn clock_set(&self, by: SignedDuration) {
        self.bench().due.values_mut().for_each(|at| *at = at.saturating_add(by).unwrap_or(*at));
    }

    fn take_due(&self, now: Timestamp) -> Vec<AccountId> {
        let mut bench = self.bench();
        let due: Vec<_> = bench.due.iter().filter(|(_, at)| **at <= now).map(|(account, _)| *account).collect();
        for account in &due {
            bench.due.remove(account);
        }
        due
    }
}

impl Observer {
    /// Takes in that the account's backend answered, or did not.
    pub(super) async fn reached(&self, account: &Account, well: bool) -> Result<(), store::Error> {
        let now = self.clock.now();
        let (state, witness) =
            self.judge.bench().endpoints.reach(account, well, now, &self.settings, &self.availability);
        if let Some(witness) = witness {
            for collection in [Collection::Realms, Collection::Instances] {
                self.store.look_now(witness, collection, now).await?;
            }
        }
        self.hear(account.id, vec![Event::Reach { realm: None, state, at: now }]).await
    }

    /// Takes in which realms answered when they were asked one by one.
    pub(super) async fn split(
        &self,
        account: AccountId,
        answered: &[String],
        silent: &[String],
    ) -> Result<(), store::Error> {
        let at = self.clock.now();
        let event = |state: Reachability| move |realm: &String| Event::Reach { realm: Some(realm.clone()), state, at };
        let answered = answered.iter().map(event(Reachability::Reachable));
        let events = answered.chain(silent.iter().map(event(Reachability::Unreachable))).collect();
        self.hear(account, events).await
    }

    /// Takes in that a request to launch was refused with a fault. One that names no realm says nothing of any.
    pub(crate) async fn launch_refused(
        &self,
        key: &AccountKey,
        realm: Option<&str>,
        profile: Option<&str>,
        fault: Fault,
    ) {
        let heard = async {
            let Some(realm) = realm else { return Ok(()) };
            let Some(account) = self.store.find_account(key).await? else { return Ok(()) };
            let at = self.clock.now();
            let mut launch = Launch::failed(realm, &self.chance.id("req", at), fault, at);
            launch.profile = profile.map(str::to_owned);
            self.hear(account, vec![Event::Launch(launch)]).await
        };
        let heard: Result<(), store::Error> = heard.await;
        if let Err(err) = heard {
            warn!("that a launch was refused could not be taken in: {err}");
        }
    }

    /// Takes in a look at realms or instances, after it was recorded. `known`: before it.
    pub(super) async fn weigh(&self, account: &Account, weighed: Weighed<'_>) -> Result<(), store::Error> {
        match weighed.known.collection {
            Collection::Realms => {
                self.settle(account, &weighed).await?;
                self.hear(account.id, declared(&weighed)).await
            }
            Collection::Instances => {
                self.meet(account, weighed.abilities).await?;
                let docket = self.judge.docket(account.id);
                let mut docket = docket.lock().await;
                let realms = self.realms(account.id, &mut docket).await?;
                let Weighed { known, members, gone, at, complete, abilities } = weighed;
                let seen = availability::Seen { known, members, gone, at, lists_ended: abilities.lists_ended };
                let outcomes = availability::outcomes(&seen, realms, &self.availability);
                drop(docket);
                self.hear(account.id, complete.then_some(Event::Listed).into_iter().chain(outcomes).collect()).await
            }
            Collection::Images | Collection::StorageVolumes | Collection::StorageSnapshots => Ok(()),
        }
    }

    /// Takes in which realms there are.
    async fn settle(&self, account: &Account, weighed: &Weighed<'_>) -> Result<(), store::Error> {
        if !weighed.complete {
            return Ok(());
        }
        let docket = self.judge.docket(account.id);
        let mut docket = docket.lock().await;
        self.realms(account.id, &mut docket).await?;
        docket.listed_at = Some(weighed.at);
        for id in weighed.gone {
            if let Some(realms) = &mut docket.realms {
                realms.forget(id);
            }
            docket.unsaved.insert(id.clone(), None);
        }
        // Launches may have said more of it than the provider does, before anybody listed it.
        let new = weighed.members.keys().filter(|id| !weighed.known.members.contains_key(*id));
        if let Docket { realms: Some(realms), told, .. } = &mut *docket {
            told.extend(new.filter_map(|id| realms.restated(id, weighed.at)));
        }
        let realms = weighed.members.values().filter_map(realm);
        self.judge.bench().pool.settle(account, realms, weighed.abilities.realms_differ, self.clock.now());
        Ok(())
    }

    /// Has the account hear others, and be heard, before its realms are listed for the first time since a start.
    async fn meet(&self, account: &Account, abilities: &Abilities) -> Result<(), store::Error> {
        let now = self.clock.now();
        let known = {
            let mut bench = self.judge.bench();
            bench.pool.seen(account.id, now);
            bench.pool.knows(account.id)
        };
        if !known {
            let known = self.store.known(account.id, Collection::Realms).await?;
            let realms = known.members.values().filter_map(|row| realm(&row.resource));
            self.judge.bench().pool.settle(account, realms, abilities.realms_differ, now);
        }
        Ok(())
    }

    /// Judges again those whose verdicts may have ripened by themselves.
    pub(super) async fn judge_due(&self) {
        for account in self.judge.take_due(self.clock.now()) {
            // One that cannot be judged keeps nobody else from being looked at.
            if let Err(err) = self.hear(account, Vec::new()).await {
                warn!(account.id = %account, "its realms could not be judged: {err}");
            }
        }
    }

    /// On a task of its own: what was written must not be written again because whoever waited for it hung up.
    async fn hear(&self, account: AccountId, events: Vec<Event>) -> Result<(), store::Error> {
        let this = self.clone();
        tasks::to_the_end(async move {
            let mut docket = this.judge.docket(account).lock_owned().await;
            this.realms(account, &mut docket).await?;
            this.consider(account, &mut docket, &events).await
        })
        .await
    }

    async fn realms<'a>(&self, account: AccountId, docket: &'a mut Docket) -> Result<&'a Realms, store::Error> {
        if docket.realms.is_none() {
            let saved = self.store.judgements(account).await?;
            docket.realms = Some(resume(account, saved, self.clock.now(), &self.availability));
        }
        Ok(docket.realms.as_ref().expect("it has just been put there"))
    }

    /// Hears, judges, and records what follows. What cannot be recorded now is recorded with the next.
    async fn consider(&self, account: AccountId, docket: &mut Docket, events: &[Event]) -> Result<(), store::Error> {
        let Docket { realms: Some(realms), told, unsaved, listed_at } = docket else { return Ok(()) };
        let now = self.clock.now();
        let others = self.judge.bench().pool.heard(account, &self.availability);
        for event in events.iter().chain(&others) {
            realms.hear(event, &self.availability);
        }
        told.extend(realms.evaluate(now, &self.availability));
        self.share(account, realms, now);
        let (overall, records) = realms.unsaved();
        let text = |value: serde_json::Result<String>| Some(value.expect("what is thought always has a JSON form"));
        if let Some(overall) = overall {
            unsaved.insert(String::new(), text(serde_json::to_string(overall)));
        }
        for (realm, record) in records {
            unsaved.insert(realm.to_owned(), text(serde_json::to_string(record)));
        }
        let suspicious = realms.is_suspicious(now, &self.availability);
        let again = now + Duration::from_millis(self.settings.judge_every_ms);
        let doubt = realms.doubt_ends_at(&self.availability);
        if suspicious || doubt.is_some() || !told.is_empty() {
            self.judge
                .bench()
                .due
                .insert(account, doubt.map_or(again, |at| at.clamp(now + Duration::from_secs(1), again)));
        }
        // Whether or not a list comes of it, it is wanted no more often than that.
        let old = |ms: u64| listed_at.is_none_or(|at| at > now || now >= at + Duration::from_millis(ms));
        let settles = doubt.is_some_and(|at| at <= now) && old(self.settings.judge_every_ms);
        if settles || suspicious && old(self.settings.suspicious_every_ms) {
            *listed_at = Some(now);
            let ended_after = now - Duration::from_millis(self.settings.linger_ms);
            match self.store.unit(account, Collection::Realms, ended_after).await? {
                // Whoever fails, or is left alone, is looked at in its own time.
                Some(unit) if unit.plan.failures == 0 && unit.standing == Standing::Reachable => {
                    self.store.look_now(account, Collection::Realms, now).await?;
                }
                Some(_) => {}
                None => self.judge.forget(account),
            }
        }
        if told.is_empty() && unsaved.is_empty() {
            return Ok(());
        }
        self.record(account, realms, told, unsaved).await
    }

    /// Tells others in the same places what became of launches, and has those judged to whom it may matter.
    fn share(&self, account: AccountId, realms: &Realms, now: Timestamp) {
        let mut bench = self.judge.bench();
        let watched_since = now - 2 * Duration::from_millis(self.settings.idle_wait_max_ms);
        for realm in bench.pool.realms(account) {
            let outcomes = realms.shared(&realm, now, &self.availability);
            let others = bench.pool.tell(account, &realm, outcomes, watched_since, &self.availability);
            // Soon, and not at once: of many failures in a row each would have everybody judged.
            let soon = now + Duration::from_secs(1);
            for other in others {
                bench.due.entry(other).and_modify(|at| *at = soon.min(*at)).or_insert(soon);
            }
        }
    }

    async fn record(
        &self,
        account: AccountId,
        realms: &Realms,
        told: &mut Vec<Told>,
        unsaved: &mut BTreeMap<String, Option<String>>,
    ) -> Result<(), store::Error> {
        let now = self.clock.now();
        for _ in 0..CONTENDED_WRITES {
            let known = self.store.known(account, Collection::Realms).await?;
            let hooks = if told.is_empty() { Vec::new() } else { self.store.hooks(account).await? };
            let ended_after = now - Duration::from_millis(self.settings.linger_ms);
            let of_all = told.iter().any(|told| about(told).is_none());
            let watch = if of_all { self.store.watch(account, Collection::Realms, ended_after).await? } else { None };
            let mut sheet = Sheet { known: &known, hooks: &hooks, rows: BTreeMap::new(), changes: Vec::new(), now };
            let mut standings = watch.map(|watch| watch.gaps);
            for told in told.iter() {
                sheet.write(told, realms, &mut standings, |now| ChangeId(self.chance.id("chg", now)));
            }
            let commit = Commit {
                account,
                collection: Collection::Realms,
                version: known.version,
                observed_at: None,
                upserts: sheet.rows.into_values().collect(),
                removed: Vec::new(),
                changes: sheet.changes,
                judgements: unsaved.iter().map(|(realm, body)| (realm.clone(), body.clone())).collect(),
                now,
            };
            match self.store.commit_sample(&commit).await {
                Ok(entries) => {
                    told.clear();
                    unsaved.clear();
                    // Whoever is told and asks then must not be shown what was before.
                    if !(entries.is_empty() && commit.upserts.is_empty())
                        && let Some(Account { key, .. }) = self.store.account(account).await?
                    {
                        self.reads.account_moved(&key);
                    }
                    self.tell(account, &entries);
                    return Ok(());
                }
                Err(store::Error::Conflict) => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// All that is known of a realm now. `None`: nothing is.
    pub(crate) async fn evidence(&self, key: &AccountKey, realm: &str) -> Result<Option<Evidence>, store::Error> {
        let Some(account) = self.store.find_account(key).await? else { return Ok(None) };
        let docket = self.judge.docket(account);
        let mut docket = docket.lock().await;
        let now = self.clock.now();
        Ok(self.realms(account, &mut docket).await?.evidence(realm, now, &self.availability))
    }
}

/// As it was saved. What makes no sense is thought of anew: it is no record of anything that happened.
fn resume(
    account: AccountId,
    saved: Vec<(String, String)>,
    now: Timestamp,
    settings: &availability::Settings,
) -> Realms {
    let mut overall = None;
    let mut records = BTreeMap::new();
    for (realm, body) in saved {
        let read = if realm.is_empty() {
            serde_json::from_str::<Overall>(&body).map(|read| overall = Some(read))
        } else {
            serde_json::from_str::<Record>(&body).map(|read| drop(records.insert(realm.clone(), read)))
        };
        if let Err(err) = read {
            warn!(account.id = %account, "what was thought of realm `{realm}` cannot be read, and is thought of anew: {err}");
        }
    }
    Realms::resume(overall.unwrap_or_else(|| Realms::new(settings).overall().clone()), records, now)
}

/// Has realms as a provider lists them say what was last judged of them: the poller's word is the one that is told.
pub(super) fn publish(members: &mut BTreeMap<String, Resource>, known: &Known) {
    for (id, resource) in members {
        let Resource::Realm(realm) = resource else { continue };
        if let Some(Resource::Realm(before)) = known.members.get(id).map(|row| &row.resource) {
            realm.follow(before);
        }
    }
}
