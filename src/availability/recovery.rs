//! When a realm that was unavailable may be available again: the hold-down, and what ends it sooner.

use std::time::Duration;

use jiff::Timestamp;

use super::state::Record;
use super::{Rule, Settings};
use crate::model::{Availability, Declared};

impl Record {
    /// When launches or runs began to say that it is down.
    pub(super) fn tripped_at(&self) -> Option<Timestamp> {
        let launches = self.launches.tripped.as_ref().map(|trip| trip.at);
        let runs = self.runs.as_ref().and_then(|runs| runs.full_since);
        launches.into_iter().chain(runs).min()
    }

    /// The provider said that it is up again since it became unavailable, and that ends the hold-down soon.
    fn shortened_until(&self, settings: &Settings) -> Option<Timestamp> {
        let rose_at = self.declared.as_ref()?.rose_at?;
        let down_since = self.trips.back()?;
        (rose_at >= *down_since).then(|| rose_at + Duration::from_secs(settings.hold_down_declared_seconds))
    }

    /// What the provider said against it is old: then it is no word any more. That it is down, only once something came up since.
    pub(super) fn outgrow(&mut self, now: Timestamp, awake_at: Option<Timestamp>, settings: &Settings) -> bool {
        let outgrown = self.declared.as_ref().is_some_and(|word| {
            let over = match word.declared {
                Declared::Down => self.launches.came_up_since(word.at),
                Declared::Degraded => true,
                Declared::Up | Declared::Nothing => false,
            };
            over && word.is_old(now, awake_at, settings)
        });
        if outgrown {
            self.declared = None;
        }
        outgrown
    }

    /// When the hold-down ends.
    pub(super) fn hold_until(&self, settings: &Settings) -> Option<Timestamp> {
        let held = self.hold_until?;
        Some(self.shortened_until(settings).map_or(held, |sooner| sooner.min(held)))
    }

    pub(super) fn lift_if_recovered(&mut self, now: Timestamp, settings: &Settings) -> bool {
        let Some(trip) = &self.launches.tripped else { return false };
        let shortened = self.shortened_until(settings).is_some();
        let hold_down = match shortened {
            true => Duration::from_secs(settings.hold_down_declared_seconds),
            false => settings.hold_down(self.trips.len()),
        };
        let unavailable = self.state() == Some(Availability::Unavailable);
        let held = if unavailable { self.hold_until(settings) } else { Some(trip.at + hold_down) };
        let over = held.is_none_or(|until| now >= until);
        let theirs = self.others_failed_at(now, settings);
        let recovered = over && self.launches.has_recovered(now, hold_down, shortened, theirs, settings);
        if recovered {
            self.launches.lift(now);
        }
        recovered
    }

    pub(super) fn enter_hold_down(&mut self, now: Timestamp, settings: &Settings) {
        self.trips.push_back(now);
        // More would not hold it down for longer.
        let surplus = self.trips.len().saturating_sub(TRIPS_MAX);
        self.trips.drain(..surplus);
        self.hold_until = Some(now + settings.hold_down(self.trips.len()));
        self.launches.probation = None;
    }

    pub(super) fn leave(&mut self, from: Option<Availability>, rule: Rule, now: Timestamp) {
        if from != Some(Availability::Unavailable) {
            return;
        }
        self.hold_until = None;
        match rule {
            Rule::Recover => self.launches.begin_probation(now),
            // It never was the realm's fault.
            Rule::Blame => {
                self.trips.pop_back();
            }
            _ => {}
        }
    }
}

/// Trips counted at most: the hold-down has long reached its cap.
const TRIPS_MAX: usize = 64;
