use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tracing::{info, warn};

use super::{Counters, Settings};
use crate::clock::{Clock, Leaps};
use crate::store::{self, PruneFrom, PruneRules, Pruned, Store};
use crate::tasks::{Pass, Report, Wake};

/// Says that a round is to begin: the operator's cron expression came round. Clones are one.
#[derive(Clone, Default)]
pub struct Beat {
    rung: Arc<AtomicBool>,
    /// For [`crate::tasks::Tasks::run`].
    pub wake: Wake,
}

impl Beat {
    pub fn ring(&self) {
        self.rung.store(true, Ordering::Relaxed);
        self.wake.notify_one();
    }

    fn take(&self) -> bool {
        self.rung.swap(false, Ordering::Relaxed)
    }
}

/// Prunes. A pass removes about as much as one step may, and a round is as many passes as it takes, with a pause after each.
/// Between rounds a pass does nothing.
pub struct Retain {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    counters: Counters,
    beat: Beat,
    round: Option<Round>,
    /// Where a round begins: where the last one had to stop.
    from: PruneFrom,
    leaps: Leaps,
    begun: bool,
}

#[derive(Default)]
struct Round {
    steps: u64,
    total: Pruned,
}

impl Retain {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, settings: Settings, beat: Beat) -> Self {
        let leaps = Leaps::new(clock.as_ref());
        let (counters, from) = (Counters::default(), PruneFrom::default());
        Self { store, clock, settings, counters, beat, round: None, from, leaps, begun: false }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was recorded last is young, whatever the clock shows, until the clock has shown it for a while.
    async fn compare(&mut self, now: Timestamp) -> Result<(), store::Error> {
        let newest = self.store.newest().await?;
        self.begun = true;
        if let Some(ahead) = newest.and_then(|at| Duration::try_from(now.duration_since(at)).ok()) {
            self.leaps.doubt(self.clock.as_ref(), ahead);
        }
        Ok(())
    }

    fn rules(&self, now: Timestamp, ahead: Duration) -> PruneRules {
        let kept = Duration::from_millis(self.settings.keep_ms);
        PruneRules {
            now,
            before: now.checked_sub(kept.saturating_add(ahead)).unwrap_or(Timestamp::MIN),
            changes_max: self.settings.changes_max,
            rows_max: self.settings.batch,
        }
    }
}

#[async_trait]
impl Pass for Retain {
    fn name(&self) -> &'static str {
        "retain.pass"
    }

    async fn pass(&mut self, now: Timestamp) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
        if !self.begun {
            self.compare(now).await?;
        }
        // Asked in each pass, as it compares with the last.
        let ahead = self.leaps.ahead(self.clock.as_ref());
        if self.round.is_none() && !self.beat.take() {
            return Ok(Report::default());
        }
        let rules = self.rules(now, ahead);
        let round = self.round.get_or_insert_default();
        let mut rows = 0;
        loop {
            // A step that fails is taken again by the next pass.
            let pruned = self.store.prune(&rules, self.from).await?;
            self.counters.count(&pruned);
            self.from = pruned.next.unwrap_or_default();
            rows += pruned.rows();
            round.add(&pruned);
            if pruned.next.is_none() || round.steps >= self.settings.steps_max {
                round.tell();
                self.round = None;
                return Ok(report(rows, None));
            }
            if rows >= self.settings.batch as u64 {
                let pause = Duration::from_millis(self.settings.pause_ms);
                return Ok(report(rows, Some(self.clock.now() + pause)));
            }
        }
    }
}

fn report(rows: u64, next_due_at: Option<Timestamp>) -> Report {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    Report { due: rows, done: rows, next_due_at, ..Report::default() }
}

impl Round {
    fn add(&mut self, pruned: &Pruned) {
        let Pruned { changes, deliveries, given_up, attempts, hooks, former_resources, next } = pruned;
        self.steps += 1;
        self.total = Pruned {
            changes: self.total.changes + changes,
            deliveries: self.total.deliveries + deliveries,
            given_up: self.total.given_up + given_up,
            attempts: self.total.attempts + attempts,
            hooks: self.total.hooks + hooks,
            former_resources: self.total.former_resources + former_resources,
            next: *next,
        };
    }

    fn tell(&self) {
        let Pruned { changes, deliveries, given_up, attempts, hooks, former_resources, next } = &self.total;
        if self.total.rows() == 0 {
            return;
        }
        let rest = if next.is_some() { "; there is more, for the next round" } else { "" };
        if *given_up > 0 {
            warn!(
                "Pruned {changes} changes and {deliveries} deliveries of them, {given_up} of which were still owed and are given up, \
                 {attempts} attempts, {hooks} ended hooks, {former_resources} former resources{rest}"
            );
        } else {
            info!(
                "Pruned {changes} changes and {deliveries} deliveries of them, {attempts} attempts, {hooks} ended hooks, \
                 {former_resources} former resources{rest}"
            );
        }
    }
}
