use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use tokio::task::JoinSet;
use tracing::{Instrument as _, debug, debug_span, error, warn};

use super::circuit::{Admission, Heard};
use super::hints::Hints;
use super::parts::Part;
use super::plan::{self, Settings};
use super::visit::Next;
use super::{Error, Observer};
use crate::chance::Chance;
use crate::clock::{Clock, Drift};
use crate::drivers::{self, Drivers, Kind, Urgency};
use crate::model::{AccountId, Collection, Standing};
use crate::store::{self, DueUnits, Store, Unit, UnitPlan, UnreadableUnit};
use crate::tasks::{Pass, Report, Wake};

/// Looks at every unit that is due. A visit runs on its own, so that a provider that hangs keeps nobody waiting but
/// itself; a pass starts what is due and reaps what has ended, and the end of a visit wakes the next pass.
pub struct Poll {
    visitor: Visitor,
    settings: Settings,
    wake: Wake,
    running: JoinSet<(AccountId, Collection, Visited)>,
    /// Units being visited: never two visits of one at once.
    busy: BTreeSet<(AccountId, Collection)>,
    /// Units whose plan the store did not take, and when they were visited. They still read as due, and without a pause the
    /// provider would be asked again at once for as long as the store fails.
    unplanned: BTreeMap<(AccountId, Collection), Timestamp>,
    drift: Drift,
}

/// How a visit ended.
struct Visited {
    well: bool,
    /// When it ended, if its plan could not be stored.
    unplanned_at: Option<Timestamp>,
}

#[derive(Clone)]
struct Visitor {
    store: Arc<dyn Store>,
    drivers: Drivers,
    observer: Observer,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
    settings: Settings,
}

impl Poll {
    pub fn new(
        store: Arc<dyn Store>,
        drivers: Drivers,
        observer: Observer,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        settings: Settings,
        wake: Wake,
    ) -> Self {
        let drift = Drift::new(clock.as_ref());
        let visitor = Visitor { store, drivers, observer, clock, chance, settings: settings.clone() };
        let (running, busy, unplanned) = (JoinSet::new(), BTreeSet::new(), BTreeMap::new());
        Self { visitor, settings, wake, running, busy, unplanned, drift }
    }

    /// Waits until every visit under way has ended. Passes go on without it; a stop and a test do not.
    pub async fn settle(&mut self) {
        while let Some(ended) = self.running.join_next().await {
            self.take(ended.expect("visits catch their panics and are not aborted"));
        }
    }

    fn hints(&self) -> &Hints {
        self.visitor.observer.hints()
    }

    /// Units that hints make due. Before all others, as somebody knows that there is something to see.
    async fn hinted(&self, now: Timestamp, ended_after: Timestamp) -> Vec<Unit> {
        let room = self.settings.units_at_once.saturating_sub(self.busy.len());
        let mut units = Vec::new();
        for key in self.hints().due(now, &self.busy, room) {
            match self.visitor.store.unit(key.0, key.1, ended_after).await {
                // Whoever fails is left alone, whatever is hinted.
                Ok(Some(unit)) if unit.plan.failures > 0 && unit.plan.due_at > now => {
                    self.hints().put_off(key, unit.plan.due_at);
                }
                Ok(Some(unit)) => units.push(unit),
                Ok(None) => self.hints().forget(key),
                Err(err) => warn!(account.id = %key.0, collection = %key.1, "a hint is not followed: {err}"),
            }
        }
        units
    }

    fn reap(&mut self, report: &mut Report) {
        while let Some(ended) = self.running.try_join_next() {
            if self.take(ended.expect("visits catch their panics and are not aborted")) {
                report.done += 1;
            } else {
                report.failed += 1;
            }
        }
    }

    /// Notes the end of a visit. `true`: the look went well.
    fn take(&mut self, (account, collection, visited): (AccountId, Collection, Visited)) -> bool {
        let key = (account, collection);
        self.busy.remove(&key);
        if let Some(at) = visited.unplanned_at {
            self.unplanned.insert(key, at);
        }
        visited.well
    }
}

#[async_trait]
impl Pass for Poll {
    fn name(&self) -> &'static str {
        "poll.pass"
    }

    async fn pass(&mut self, now: Timestamp) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
        let mut report = Report::default();
        self.reap(&mut report);
        let pause = Duration::from_millis(self.settings.failed_wait_ms);
        // What is remembered waits as long as it was to, whatever the clock shows.
        if let Some(jump) = self.drift.jump(self.visitor.clock.as_ref()) {
            self.visitor.observer.memories.clock_set(jump);
            self.visitor.observer.judge.clock_set(jump);
        }
        self.unplanned.retain(|_, at| now.duration_since(*at).unsigned_abs() < pause);
        // First, as it may make a look due.
        self.visitor.observer.judge_due().await;
        let store = &self.visitor.store;
        let ended_after = now - Duration::from_millis(self.settings.linger_ms);
        let overlong = store.make_due_beyond(now + self.settings.longest_wait(), now).await?;
        if overlong > 0 {
            warn!(
                "{overlong} looks were planned for later than any wait is long, by a clock that was ahead: they are due now"
            );
        }
        // Those under way still read as due, and there are fewer of them than this while there is room for another.
        let DueUnits { units, unreadable } = store.due_units(now, ended_after, self.settings.units_at_once).await?;
        report.due += unreadable.len();
        report.failed += unreadable.len();
        for UnreadableUnit { account, collection, due_at, error } in unreadable {
            error!(account.id = %account, collection = %collection, "this cannot be looked at until somebody mends it: {error}");
            let later = now + Duration::from_millis(self.settings.failed_wait_max_ms);
            // Not the provider's fault, and none of its owner's business what our tables look like.
            let plan = UnitPlan { due_at: later, failures: 1, error: None, rest_until: None };
            store.plan_unit(account, collection, due_at, &plan).await?;
        }
        for unit in self.hinted(now, ended_after).await.into_iter().chain(units) {
            let key = (unit.account.id, unit.collection);
            let paused = self.unplanned.contains_key(&key);
            if paused || self.busy.len() >= self.settings.units_at_once || !self.busy.insert(key) {
                continue;
            }
            let (observer, settings) = (&self.visitor.observer, &self.settings);
            let part = Part::of(key.1);
            let admission = observer.memories.circuits(key.0, |parts| parts.of(part).admit(key.1, now, settings));
            if let Admission::Wait(until) = admission {
                self.busy.remove(&key);
                if unit.plan.due_at > now {
                    self.hints().put_off(key, until);
                    continue;
                }
                let plan = UnitPlan { due_at: until, ..unit.plan.clone() };
                self.visitor.store.plan_unit(key.0, key.1, unit.plan.due_at, &plan).await?;
                continue;
            }
            report.due += 1;
            let visitor = self.visitor.clone();
            let wake = self.wake.clone();
            let span = debug_span!("poll.account", account.id = %key.0, collection = %key.1);
            self.running.spawn(
                async move {
                    let visited = visitor.visit(unit).await;
                    wake.notify_one();
                    (key.0, key.1, visited)
                }
                .instrument(span),
            );
        }
        report.next_due_at = self.visitor.store.next_unit_due_at(ended_after).await?;
        if !self.busy.is_empty() || !self.unplanned.is_empty() {
            // What is being visited, or pauses, still reads as due. Its end wakes us; others that fall due meanwhile wait a second at most.
            let soon = now + Duration::from_secs(1);
            report.next_due_at = report.next_due_at.map(|at| at.max(soon));
        }
        // Of those being visited the end wakes us, and so it does when there is no room for more.
        let room = self.busy.len() < self.settings.units_at_once;
        let hinted_at = room.then(|| self.hints().next_due_at(&self.busy)).flatten();
        let judged_at = self.visitor.observer.judge.next_due_at();
        report.next_due_at = report.next_due_at.into_iter().chain(hinted_at).chain(judged_at).min();
        Ok(report)
    }
}

impl Visitor {
    /// Looks at the unit and plans the next look.
    async fn visit(&self, unit: Unit) -> Visited {
        let outcome = AssertUnwindSafe(self.look(&unit)).catch_unwind().await;
        let well = matches!(outcome, Ok(Ok(_)));
        let standing = match &outcome {
            Ok(outcome) => self.note(&unit, outcome).await,
            Err(_) => Ok(()),
        };
        if let Err(err) = standing {
            warn!("how the account stands could not be recorded: {err}");
        }
        let plan = outcome.map_or_else(
            |_| {
                error!("a look panicked: this is a bug");
                let failed = drivers::Error::new(Kind::Unavailable, "the look panicked: this is a bug in Tracker");
                // It waits as after a failure of the provider's, who is not blamed for it.
                UnitPlan { error: None, ..self.plan(&unit, Err(Error::Driver(failed))) }
            },
            |outcome| self.plan(&unit, outcome),
        );
        let planned = self.store.plan_unit(unit.account.id, unit.collection, unit.plan.due_at, &plan).await;
        // It stays due: a pass looks again after a pause.
        let unplanned_at = planned.err().map(|err| {
            warn!("the next look was not planned: {err}");
            self.clock.now()
        });
        Visited { well, unplanned_at }
    }

    async fn look(&self, unit: &Unit) -> Result<Next, Error> {
        let Unit { account, collection, .. } = unit;
        let urgency = if *collection == Collection::Instances { Urgency::List } else { Urgency::Rest };
        let driver = self.drivers.get(&account.key.driver).ok_or_else(|| {
            drivers::Error::new(Kind::Unsupported, format!("this Tracker has no driver {}", account.key.driver))
        })?;
        if unit.plan.due_at > self.clock.now() {
            let hinted = self.observer.follow_hints(account, driver.as_ref(), *collection);
            let next = drivers::within(Urgency::Look, hinted).await?;
            let UnitPlan { due_at, rest_until, .. } = unit.plan;
            let planned = Next { due_at, rest_until, asked: false };
            return Ok(next.map_or(planned, |next| Next { due_at: next.due_at.min(due_at), ..next }));
        }
        drivers::within(urgency, self.observer.visit(account, driver.as_ref(), *collection)).await
    }

    /// Takes in what a look says of the account as a whole, and has it recorded.
    async fn note(&self, unit: &Unit, outcome: &Result<Next, Error>) -> Result<(), store::Error> {
        let (heard, error) = match outcome {
            // Nobody was asked.
            Ok(Next { asked: false, .. }) => return Ok(()),
            Ok(_) => (Heard::Well, String::new()),
            Err(Error::Driver(err)) => (Heard::of(err.kind), err.to_string()),
            // It answers, as far as it can.
            Err(Error::Split { source, .. }) => (Heard::Nothing, source.to_string()),
            Err(Error::Slept { .. } | Error::Store(_) | Error::Contended) => return Ok(()),
        };
        let part = Part::of(unit.collection);
        match heard {
            // Another service says nothing of the one that realms are of.
            _ if part != Part::Compute => {}
            Heard::Well | Heard::Refused => self.observer.reached(&unit.account, true).await?,
            Heard::Fault => self.observer.reached(&unit.account, false).await?,
            Heard::Nothing => {}
        }
        let (account, now, roll) = (&unit.account, self.clock.now(), self.chance.roll());
        let found = self.observer.memories.circuits(account.id, |parts| {
            let circuit = parts.of(part);
            circuit.recall(unit.collection, unit.plan.failures, &self.settings);
            circuit.note(unit.collection, heard, now, roll, &self.settings);
            circuit.standing()
        });
        // After a restart a circuit is closed because nobody knows better. What was recorded before the look may not be so any more.
        if part != Part::Compute || found == Standing::Reachable && heard != Heard::Well {
            return Ok(());
        }
        self.observer.stand(account, unit.collection, found, &error).await
    }

    fn plan(&self, unit: &Unit, outcome: Result<Next, Error>) -> UnitPlan {
        let now = self.clock.now();
        let failures = unit.plan.failures + 1;
        match outcome {
            Ok(Next { due_at, rest_until, .. }) => {
                if unit.plan.failures > 0 {
                    warn!("{} answers again after {} failed looks", unit.account.key.provider, unit.plan.failures);
                }
                debug!("looked at, next look at {due_at}");
                UnitPlan { due_at, failures: 0, error: None, rest_until }
            }
            Err(Error::Driver(err)) => {
                let part = Part::of(unit.collection);
                let alone = self
                    .observer
                    .memories
                    .circuits(unit.account.id, |parts| parts.of(part).open_until(unit.collection));
                let alone = alone.filter(|at| *at > now);
                let backed_off = plan::after_failure(err.kind, failures, now, self.chance.roll(), &self.settings);
                let due_at = match err.kind {
                    // The provider's own word.
                    Kind::Throttled { .. } => alone.map_or(backed_off, |at| at.max(backed_off)),
                    _ => alone.unwrap_or(backed_off),
                };
                warn!(failures, "nothing could be seen, next look at {due_at}: {err}");
                UnitPlan { due_at, failures, error: Some(err.to_string()), rest_until: None }
            }
            Err(err @ Error::Split { .. }) => {
                let due_at = now + Duration::from_millis(self.settings.quiet_wait_ms);
                warn!(failures, "not all could be seen, next look at {due_at}: {err}");
                UnitPlan { due_at, failures, error: Some(err.to_string()), rest_until: None }
            }
            // Not the provider's fault: no backing off from it.
            Err(err @ Error::Slept { .. }) => {
                let due_at = now + Duration::from_millis(self.settings.failed_wait_ms);
                warn!("nothing could be seen, next look at {due_at}: {err}");
                UnitPlan { due_at, failures: unit.plan.failures, error: unit.plan.error.clone(), rest_until: None }
            }
            Err(err @ (Error::Store(_) | Error::Contended)) => {
                let due_at = now + Duration::from_millis(self.settings.failed_wait_ms);
                warn!("what was seen could not be kept, next look at {due_at}: {err}");
                UnitPlan { due_at, failures: unit.plan.failures, error: unit.plan.error.clone(), rest_until: None }
            }
        }
    }
}
