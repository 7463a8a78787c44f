//! What is known of one realm comes to: the worst that anything speaks for.

use std::time::Duration;

use jiff::Timestamp;

use super::declared::Belief;
use super::state::{Missing, Overall, Reached, Record};
use super::{Reachability, Rule, Settings, since};
use crate::model::Availability;

/// What the signals of a realm come to, before any hysteresis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decision {
    pub(super) state: Availability,
    pub(super) rule: Rule,
    pub(super) confidence: f64,
    /// By launches or runs alone.
    pub(super) alone: bool,
}

impl Record {
    /// The worst that anything speaks for, strongest first.
    pub(super) fn decide(&self, now: Timestamp, overall: &Overall, settings: &Settings) -> Decision {
        let sure = &settings.confidence;
        let as_of = |state, rule, confidence| Decision { state, rule, confidence, alone: false };
        let belief = self.belief(now, overall, settings);
        let unreachable = self.unreachable(now, overall);
        let launches_trip = self.launches.tripped.as_ref().filter(|trip| !trip.blamed);
        let runs = self.runs.as_ref();
        let runs_full = runs.is_some_and(|runs| runs.full_since.is_some() && !runs.blamed);

        if self.is_withdrawn(settings) {
            return as_of(Availability::Unavailable, Rule::Withdrawn, sure.certain);
        }
        if belief == Belief::Down {
            return as_of(Availability::Unavailable, Rule::Down, sure.certain);
        }
        if launches_trip.is_some() || runs_full {
            let rule = match launches_trip {
                Some(trip) if trip.on_probation => Rule::Probation,
                Some(trip) if trip.with_others => Rule::Elsewhere,
                Some(_) => Rule::Cusum,
                None => Rule::Run,
            };
            let two = unreachable.is_some() || launches_trip.is_some() && runs_full;
            let confidence = match belief {
                _ if two => sure.certain,
                Belief::Up => sure.contradicted,
                _ => sure.evidence,
            };
            let alone = unreachable.is_none() && belief != Belief::Faded;
            return Decision { state: Availability::Unavailable, rule, confidence, alone };
        }
        let away = |seconds: u64| unreachable.is_some_and(|away| away >= Duration::from_secs(seconds));
        if away(settings.unreachable_unavailable_seconds) {
            return as_of(Availability::Unavailable, Rule::UnreachableTooLong, sure.unreachable);
        }
        // Neither well nor degraded: nobody took back that it is down.
        if belief == Belief::Faded {
            return as_of(Availability::Unknown, Rule::Nothing, 0.0);
        }
        if belief == Belief::Degraded {
            return as_of(Availability::Degraded, Rule::Degraded, sure.degraded);
        }
        if runs.is_some_and(|runs| runs.is_partial(settings) && !runs.blamed) {
            return as_of(Availability::Degraded, Rule::Run, sure.degraded);
        }
        if self.launches.scarce.is_some() {
            return as_of(Availability::Degraded, Rule::Profile, sure.degraded);
        }
        // That nobody answers is no recovery.
        if away(settings.unreachable_degraded_seconds) && !self.is_given_up() {
            return as_of(Availability::Degraded, Rule::UnreachableLong, sure.doubtful);
        }
        if unreachable.is_some() {
            return as_of(Availability::Unknown, Rule::Unreachable, 0.0);
        }
        if belief == Belief::Doubtful {
            return as_of(Availability::Degraded, Rule::Doubt, sure.doubtful);
        }
        self.quiet(belief, now, overall, settings)
    }

    /// Nothing speaks against it. What speaks for it?
    fn quiet(&self, belief: Belief, now: Timestamp, overall: &Overall, settings: &Settings) -> Decision {
        let sure = &settings.confidence;
        let lately = Duration::from_secs(settings.evidence_valid_seconds);
        let enough = settings.recover_successes as usize;
        let came_up = self.launches.successes_within(now, lately, enough);
        let steady = self.runs.as_ref().is_some_and(|runs| runs.steady > 0);
        // Who is in an answer was answered for, whatever the answer says of it.
        let answered = self.declared.as_ref().is_some_and(|word| !word.is_old(now, overall.awake_at, settings));
        let reached = answered || self.reached(overall).is_some();
        let confidence = match belief {
            _ if self.launches.probation.is_some() => sure.probation,
            _ if came_up >= enough => sure.proven,
            _ if came_up > 0 => sure.likely,
            Belief::Up => sure.declared,
            _ if steady => sure.declared,
            _ if reached => sure.probation,
            _ => {
                return Decision { state: Availability::Unknown, rule: Rule::Nothing, confidence: 0.0, alone: false };
            }
        };
        Decision { state: Availability::Available, rule: Rule::Quiet, confidence, alone: false }
    }

    /// What an unavailable realm does not become yet. `None`: it stays as it is.
    pub(super) fn held_back(
        &self,
        decision: Decision,
        now: Timestamp,
        overall: &Overall,
        settings: &Settings,
    ) -> Option<Decision> {
        let published = self.published.as_ref().filter(|published| published.state == Availability::Unavailable);
        let Some(published) = published.filter(|_| decision.state != Availability::Unavailable) else {
            return Some(decision);
        };
        let window = Duration::from_secs(settings.blame_window_seconds);
        if overall.blame_since.is_some() && published.alone && since(now, published.since) < window {
            return Some(Decision { rule: Rule::Blame, ..decision });
        }
        // Nor is that nobody answers any more, or that answers lack it.
        let contrary = self.unreachable(now, overall).is_some() || self.missing.is_some();
        let over = now >= self.hold_until(settings).unwrap_or(now);
        let trusted = settings.confidence.probation.min(decision.confidence);
        let known = decision.state != Availability::Unknown;
        (over && !contrary).then_some(Decision {
            rule: if known { Rule::Recover } else { decision.rule },
            confidence: if known { trusted } else { 0.0 },
            ..decision
        })
    }

    /// How long it has not been reachable.
    fn unreachable(&self, now: Timestamp, overall: &Overall) -> Option<Duration> {
        let unreachable = |reach: &Reached| reach.state == Reachability::Unreachable;
        self.reached(overall).filter(unreachable).map(|reach| since(now, reach.since))
    }

    /// When it was missing, if it is now.
    pub(super) fn missing(&self) -> Option<Missing> {
        self.missing
    }
}
