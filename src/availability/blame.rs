//! The guard: where most realms fail together, none of them is to blame.

use std::time::Duration;

use jiff::Timestamp;

use super::declared::Belief;
use super::state::{Realms, Record};
use super::{Settings, Told, share, since, why};

impl Realms {
    /// If more than half of the realms in use trip together, none of them is to blame.
    pub(super) fn find_blame(&mut self, now: Timestamp, settings: &Settings, told: &mut Vec<Told>) {
        let Self { overall, realms, .. } = &*self;
        // What the provider declares down needs no other explanation.
        let in_use = || {
            realms.iter().filter(|(_, record)| {
                record.is_in_use(now, settings)
                    && !record.is_withdrawn(settings)
                    && record.belief(now, overall, settings) != Belief::Down
            })
        };
        let window = Duration::from_secs(settings.blame_window_seconds);
        let lately = |at: Option<Timestamp>| at.is_some_and(|at| since(now, at) < window);
        let begun = overall.blame_since;
        let counts = |record: &Record| match begun {
            // It goes on for as long as most of them fail …
            Some(begun) => match record.tripped_at() {
                Some(at) => began_with(at, begun, settings),
                None => record.leans(now, settings),
            },
            // … but it begins only when they begin together.
            None => {
                lately(record.tripped_at())
                    || record.tripped_at().is_none()
                        && record.leans(now, settings)
                        && lately(record.launches.last_failure_at)
            }
        };
        let tripped = in_use().filter(|(_, record)| record.tripped_at().is_some()).count();
        if begun.is_none() && tripped == 0 {
            return;
        }
        let failing: Vec<String> = in_use().filter(|(_, record)| counts(record)).map(|(id, _)| id.clone()).collect();
        let of = in_use().count();
        let most = failing.len() >= 2 && share(failing.len(), of) > settings.blame_share;
        match begun {
            None if most => {
                self.overall.blame_since = Some(now);
                self.mark_overall();
                let why = why::blame(self, &failing, of, None, now, settings);
                self.blame(now, settings);
                told.push(Told::ProviderDegraded { at: now, why });
            }
            // What has just begun is not over at once, though it be on the edge.
            Some(begun) if most || since(now, begun) < Duration::from_secs(settings.flap_turn_seconds) => {
                self.blame(begun, settings);
            }
            Some(since) => {
                self.overall.blame_since = None;
                self.mark_overall();
                let why = why::blame(self, &failing, of, Some(since), now, settings);
                self.acquit(now);
                told.push(Told::ProviderRecovered { since, at: now, why });
            }
            None => {}
        }
    }

    /// Whoever began to fail with the others, or has since.
    fn blame(&mut self, begun: Timestamp, settings: &Settings) {
        let together = |at: Timestamp| began_with(at, begun, settings);
        let mut changed = Vec::new();
        for (id, record) in &mut self.realms {
            let trip = record.launches.tripped.as_mut().filter(|trip| !trip.blamed && together(trip.at));
            let runs = record.runs.as_mut().filter(|runs| !runs.blamed && runs.full_since.is_some_and(together));
            if trip.is_none() && runs.is_none() {
                continue;
            }
            trip.into_iter().for_each(|trip| trip.blamed = true);
            runs.into_iter().for_each(|runs| runs.blamed = true);
            changed.push(id.clone());
        }
        for id in changed {
            self.mark(&id, true);
        }
    }

    /// What was blamed on another cause proves nothing when that is gone: evidence begins anew.
    fn acquit(&mut self, now: Timestamp) {
        let mut changed = Vec::new();
        for (id, record) in &mut self.realms {
            let blamed = record.launches.tripped.as_ref().is_some_and(|trip| trip.blamed);
            if blamed {
                record.launches.lift(now);
            }
            let ran = record.runs.as_mut().is_some_and(|runs| std::mem::take(&mut runs.blamed));
            if blamed || ran {
                changed.push(id.clone());
            }
        }
        for id in changed {
            self.mark(&id, true);
        }
    }
}

/// Not long before the others did.
fn began_with(at: Timestamp, begun: Timestamp, settings: &Settings) -> bool {
    since(begun, at) < Duration::from_secs(settings.blame_window_seconds)
}
