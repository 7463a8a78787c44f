//! Run evidence: of the instances that ran, how many do no more.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BadRun, Settings, since};

/// The newest look at a realm's instances.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Runs {
    /// Have run for long enough, and run.
    pub(super) steady: u32,
    pub(super) bad: Vec<BadRun>,
    pub(super) at: Timestamp,
    /// Since when all are bad.
    pub(super) full_since: Option<Timestamp>,
    /// It happened in too many realms at once to be the realm's fault.
    #[serde(default)]
    pub(super) blamed: bool,
}

impl Runs {
    /// True if it differs by more than the instant.
    pub(super) fn hear(
        runs: &mut Option<Self>,
        steady: u32,
        bad: &[BadRun],
        at: Timestamp,
        settings: &Settings,
    ) -> bool {
        if steady == 0 && bad.is_empty() {
            return runs.take().is_some();
        }
        let before = runs.take();
        let bad = &bad[..bad.len().min(settings.runs_bad_max)];
        let same = before.as_ref().is_some_and(|before| before.steady == steady && before.bad == bad);
        let (full_since, blamed) = before.map_or((None, false), |before| (before.full_since, before.blamed));
        let mut now = Self { steady, bad: bad.to_vec(), at, full_since: None, blamed };
        now.full_since = now.is_full(settings).then(|| full_since.unwrap_or(at));
        *runs = Some(now);
        !same
    }

    /// Ran, and are bad or still run.
    pub(super) fn watched(&self) -> u32 {
        self.steady.saturating_add(self.bad())
    }

    pub(super) fn bad(&self) -> u32 {
        u32::try_from(self.bad.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn share(&self) -> f64 {
        f64::from(self.bad()) / f64::from(self.watched().max(1))
    }

    pub(super) fn is_partial(&self, settings: &Settings) -> bool {
        self.watched() >= settings.runs_min && self.share() >= settings.runs_partial
    }

    /// Not one is left.
    pub(super) fn is_full(&self, settings: &Settings) -> bool {
        self.watched() >= settings.runs_min && self.steady == 0
    }

    /// Drops what went bad too long ago to say anything of today. True if anything was.
    pub(super) fn expire(&mut self, now: Timestamp, settings: &Settings) -> bool {
        let memory = Duration::from_secs(settings.runs_memory_seconds);
        let before = self.bad.len();
        self.bad.retain(|bad| bad.counts_at(now, memory));
        if !self.is_full(settings) {
            self.full_since = None;
        }
        self.bad.len() != before
    }
}

impl BadRun {
    /// A failing check is renewed by each look; an end is told once and grows old.
    pub(super) fn counts_at(&self, now: Timestamp, memory: Duration) -> bool {
        self.why == super::Bad::Impaired || since(now, self.since) < memory
    }
}
