//! What looks say of realms is heard here, and what follows from it is recorded: the shell around [`crate::availability`].
//!
//! What is thought of an account's realms lives in memory while it is watched, and is saved in the same commit as the changes that
//! follow from it: after a crash it is judged anew from before the change.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tracing::warn;

use super::look::Observer;
use crate::availability::{
    self, Event, Evidence, Launch, Others, Overall, Reach, Reachability, Realms, Record, Told, Turned,
};
use crate::changes::fan_out;
use crate::diff;
use crate::model::{
    Account, AccountId, AccountKey, Change, ChangeId, Collection, Fault, Hook, Judged, Judgement, Known, KnownResource,
    News, Observed, Realm, Reason, Resource, Standing, Subject, Topic,
};
use crate::store::{self, Commit, NewChange};
use crate::tasks;

/// How often what was judged is written anew because others wrote meanwhile.
const CONTENDED_WRITES: usize = 64;

/// What is thought of the realms of all accounts.
#[derive(Clone, Debug, Default)]
pub(super) struct Judge(Arc<Mutex<Bench>>);

#[derive(Debug, Default)]
struct Bench {
    accounts: HashMap<AccountId, Arc<tokio::sync::Mutex<Docket>>>,
    /// Who answers whom: endpoints, and what each account saw of them.
    endpoints: BTreeMap<(String, String), Endpoint>,
    /// When an account is to be judged again although nothing is heard.
    due: BTreeMap<AccountId, Timestamp>,
}

#[derive(Debug, Default)]
struct Endpoint {
    answered_at: Option<Timestamp>,
    /// Somebody's last word of it was an answer.
    well: bool,
    /// What each saw of it, whether it is suspect to them, and when they last looked.
    accounts: HashMap<AccountId, (Reach, bool, Timestamp)>,
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
        bench.endpoints.values_mut().for_each(|endpoint| drop(endpoint.accounts.remove(&account)));
        bench.endpoints.retain(|_, endpoint| !endpoint.accounts.is_empty());
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

    /// Whether the account's backend answers, after a look that was answered or failed; and whom to look at to find out whether it
    /// is only this one that does not.
    fn reach(
        &self,
        account: &Account,
        well: bool,
        now: Timestamp,
        settings: &super::Settings,
        rules: &availability::Settings,
    ) -> (Reachability, Option<AccountId>) {
        let mut bench = self.bench();
        let here = (account.key.driver.as_str().to_owned(), account.key.provider.clone());
        let elsewhere = bench.endpoints.iter().filter(|(endpoint, _)| **endpoint != here);
        let answered_at = elsewhere.clone().filter_map(|(_, endpoint)| endpoint.answered_at).max();
        // Whoever is watched is looked at this often; beyond it nobody looks any more.
        let watched_since = now.checked_sub(Duration::from_millis(settings.idle_wait_max_ms)).unwrap_or(now);
        let unasked = |endpoint: &&Endpoint| endpoint.well && endpoint.answered_at.is_some_and(|at| at > watched_since);
        let unasked = elsewhere.map(|(_, endpoint)| endpoint).filter(unasked).max_by_key(|other| other.answered_at);
        let witness = unasked.and_then(|endpoint| endpoint.accounts.keys().next().copied());
        let unasked = unasked.is_some();
        let endpoint = bench.endpoints.entry(here).or_default();
        // Who looks no more has no vote.
        let lately = now - 2 * Duration::from_millis(settings.idle_wait_max_ms);
        endpoint.accounts.retain(|id, (_, _, at)| *id == account.id || *at >= lately && *at <= now);
        let (reach, suspect, looked_at) =
            endpoint.accounts.entry(account.id).or_insert_with(|| (Reach::default(), false, now));
        *looked_at = now;
        if well {
            reach.heard(now, rules);
            (endpoint.answered_at, endpoint.well, *suspect) = (Some(now), true, false);
            return (Reachability::Reachable, None);
        }
        reach.failed(now);
        endpoint.well = false;
        let every = Duration::from_millis(settings.quiet_wait_ms);
        // Who is suspected is known only after a first judgement, which is without consequence but for that.
        let alone = Others { answered_at, unasked, accounts: 1, suspecting: 1 };
        let first = reach.judge(now, every, alone, rules);
        *suspect = first != Reachability::Reachable;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let accounts = count(endpoint.accounts.len());
        let suspecting = count(endpoint.accounts.values().filter(|(_, suspect, _)| *suspect).count());
        let Some((reach, ..)) = endpoint.accounts.get_mut(&account.id) else { return (first, None) };
        let state = reach.judge(now, every, Others { answered_at, unasked, accounts, suspecting }, rules);
        (state, witness.filter(|_| state == Reachability::Suspect))
    }
}

impl Observer {
    /// Takes in that the account's backend answered, or did not.
    pub(super) async fn reached(&self, account: &Account, well: bool) -> Result<(), store::Error> {
        let now = self.clock.now();
        let (state, witness) = self.judge.reach(account, well, now, &self.settings, &self.availability);
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

    /// Takes in that a request to launch was refused with a fault, or that some of it was answered well.
    pub(crate) async fn launch_refused(
        &self,
        key: &AccountKey,
        realm: Option<&str>,
        profile: Option<&str>,
        fault: Fault,
    ) {
        let heard = async {
            let Some(account) = self.store.find_account(key).await? else { return Ok(()) };
            let Some(realm) = realm else { return Ok(()) };
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
    pub(super) async fn weigh(&self, account: AccountId, weighed: Weighed<'_>) -> Result<(), store::Error> {
        let docket = self.judge.docket(account);
        let mut docket = docket.lock().await;
        let realms = self.realms(account, &mut docket).await?;
        let events = match weighed.known.collection {
            Collection::Realms => declared(&weighed),
            Collection::Instances => {
                let Weighed { known, members, gone, at, complete, lists_ended } = weighed;
                let seen = availability::Seen { known, members, gone, at, lists_ended };
                let outcomes = availability::outcomes(&seen, realms, &self.availability);
                complete.then_some(Event::Listed).into_iter().chain(outcomes).collect()
            }
            Collection::Images | Collection::StorageVolumes | Collection::StorageSnapshots => return Ok(()),
        };
        if weighed.known.collection == Collection::Realms && weighed.complete {
            docket.listed_at = Some(weighed.at);
            for id in weighed.gone {
                if let Some(realms) = &mut docket.realms {
                    realms.forget(id);
                }
                docket.unsaved.insert(id.clone(), None);
            }
        }
        drop(docket);
        self.hear(account, events).await
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
        for event in events {
            realms.hear(event, &self.availability);
        }
        told.extend(realms.evaluate(now, &self.availability));
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
                    if !entries.is_empty()
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

/// A look that was recorded.
pub(super) struct Weighed<'a> {
    /// Before it.
    pub(super) known: &'a Known,
    pub(super) members: &'a BTreeMap<String, Resource>,
    pub(super) gone: &'a [String],
    pub(super) at: Timestamp,
    /// It showed all there is.
    pub(super) complete: bool,
    pub(super) lists_ended: bool,
}

/// What a look at realms says. Of those missing it says something only if it was complete.
fn declared(weighed: &Weighed<'_>) -> Vec<Event> {
    let Weighed { known, members, at, complete, .. } = weighed;
    let said = members.values().filter_map(|resource| match resource {
        Resource::Realm(Realm { id, native_state, messages, declared, .. }) => Some(Event::Declared {
            realm: id.clone(),
            declared: *declared,
            native: native_state.clone(),
            messages: messages.clone(),
            at: *at,
        }),
        _ => None,
    });
    let missing = known.members.keys().filter(|id| *complete && !members.contains_key(*id));
    said.chain(missing.map(|id| Event::Missing { realm: id.clone(), at: *at })).collect()
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

/// The realm that it is about; `None`: the account.
fn about(told: &Told) -> Option<&str> {
    match told {
        Told::Verdict(Turned { realm, .. }) | Told::FlappingStart { realm, .. } | Told::FlappingEnd { realm, .. } => {
            Some(realm)
        }
        Told::ProviderDegraded { .. }
        | Told::ProviderRecovered { .. }
        | Told::Isolated { .. }
        | Told::Rejoined { .. } => None,
    }
}

/// What is to be written of a judgement.
struct Sheet<'a> {
    known: &'a Known,
    hooks: &'a [Hook],
    rows: BTreeMap<String, KnownResource>,
    changes: Vec<NewChange>,
    now: Timestamp,
}

impl Sheet<'_> {
    fn write(
        &mut self,
        told: &Told,
        realms: &Realms,
        standings: &mut Option<u64>,
        id: impl FnOnce(Timestamp) -> ChangeId,
    ) {
        let Some(realm) = about(told) else {
            self.write_of_all(told, standings, id);
            return;
        };
        let row = self.rows.get(realm).or_else(|| self.known.members.get(realm));
        let Some((mut row, Resource::Realm(before))) = row.map(|row| (row.clone(), row.resource.clone())) else {
            return;
        };
        let mut after = before.clone();
        let (news, at, suppressed) = match told {
            Told::Verdict(turned) => {
                after.state = turned.to_wire.unwrap_or(before.state);
                let since = realms.standing(realm).map_or(turned.at, |standing| standing.since);
                after.judged = Some(Judged { state: turned.to, since, confidence: turned.confidence });
                let is_news = turned.from.is_some() || after.state != before.state;
                (is_news.then(|| verdict(&before, &after, turned)), turned.at, turned.suppressed)
            }
            Told::FlappingStart { at, why, .. } => {
                (Some(News::RealmFlappingStart { state: before.state, why: vec![why.clone().into()] }), *at, false)
            }
            Told::FlappingEnd { at, why, .. } => {
                (Some(News::RealmFlappingEnd { state: before.state, why: vec![why.clone().into()] }), *at, false)
            }
            _ => return,
        };
        let last_seen = row.observed_at;
        row.revision += u64::from(news.is_some());
        row.resource = Resource::Realm(after);
        if let Some(news) = news {
            let subject = diff::subject(&row.resource, row.revision);
            let told = if suppressed { Vec::new() } else { fan_out(&subject, news.kind(), self.hooks) };
            let observed = Observed { before: Some(last_seen.min(at)), at };
            self.changes
                .push(NewChange { told, change: Change { id: id(self.now), at: self.now, subject, observed, news } });
        }
        self.rows.insert(realm.to_owned(), row);
    }

    /// Counted with the gaps of the account's realms.
    fn write_of_all(&mut self, told: &Told, standings: &mut Option<u64>, id: impl FnOnce(Timestamp) -> ChangeId) {
        let Some(revision) = standings else { return };
        let (news, before, at) = match told {
            Told::ProviderDegraded { at, why } => (News::ProviderDegraded { why: vec![why.clone().into()] }, None, *at),
            Told::ProviderRecovered { since, at, why } => {
                (News::ProviderRecovered { why: vec![why.clone().into()] }, Some(*since), *at)
            }
            Told::Isolated { at, why } => (News::ObserverIsolated { why: vec![why.clone().into()] }, None, *at),
            Told::Rejoined { since, at, why } => {
                (News::ObserverRejoined { why: vec![why.clone().into()] }, Some(*since), *at)
            }
            Told::Verdict(_) | Told::FlappingStart { .. } | Told::FlappingEnd { .. } => return,
        };
        *revision += 1;
        let subject = Subject {
            collection: Topic::Account,
            id: Collection::Realms.as_str().to_owned(),
            revision: *revision,
            name: None,
            realm: None,
        };
        let told = fan_out(&subject, news.kind(), self.hooks);
        let observed = Observed { before: before.map(|before| before.min(at)), at };
        self.changes
            .push(NewChange { told, change: Change { id: id(self.now), at: self.now, subject, observed, news } });
    }
}

fn verdict(before: &Realm, after: &Realm, turned: &Turned) -> News {
    News::RealmState {
        from: before.state,
        from_native: before.native_state.clone(),
        to: after.state,
        to_native: after.native_state.clone(),
        why: vec![Reason::from(turned.why.clone())],
        judged: Some(Judgement {
            from: turned.from,
            to: turned.to,
            confidence: turned.confidence,
            suppressed: turned.suppressed,
        }),
    }
}
