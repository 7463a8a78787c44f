//! From what is remembered to a verdict: guards, combining, hysteresis, flapping.

use std::time::Duration;

use jiff::Timestamp;

use super::declared::Belief;
use super::state::{Missing, Overall, Published, Reached, Realms, Record};
use super::{Evidence, Reachability, Rule, Settings, Standing, Told, Turned, since, why};
use crate::model::{Availability, Figure};

/// What the signals of a realm come to, before any hysteresis.
#[derive(Clone, Copy, Debug)]
struct Decision {
    state: Availability,
    rule: Rule,
    confidence: f64,
    /// By launches or runs alone.
    alone: bool,
}

impl Realms {
    /// What follows, at `now`, from all that was heard. To be asked after every event and every half minute: some verdicts ripen
    /// by themselves. Asked again at once it has nothing to say.
    pub fn evaluate(&mut self, now: Timestamp, settings: &Settings) -> Vec<Told> {
        let mut told = Vec::new();
        if self.is_isolated(now, &mut told) {
            return told;
        }
        self.expire(now, settings);
        self.heed_others(now, settings);
        self.find_blame(now, settings, &mut told);
        // Whether another realm works decides on the last one: those who get better or worse by themselves come first.
        let ids: Vec<String> = self.realms.keys().cloned().collect();
        for alone in [false, true] {
            for id in &ids {
                self.evaluate_realm(id, alone, now, settings, &mut told);
            }
        }
        for id in &ids {
            self.settle(id, now, settings, &mut told);
        }
        told
    }

    /// `None`: not known, or not judged yet.
    pub fn standing(&self, realm: &str) -> Option<Standing> {
        let record = self.realms.get(realm)?;
        let published = record.published.as_ref()?;
        let isolated = self.overall.isolated_since;
        let unknown = (published.state == Availability::Unknown).then_some(published.since);
        let stale_since = unknown.or(isolated);
        Some(Standing {
            state: isolated.map_or(published.state, |_| Availability::Unknown),
            since: isolated.unwrap_or(published.since),
            confidence: if stale_since.is_some() { Figure::default() } else { percent(published.confidence) },
            wire: record.wire,
            stale_since,
            flapping: record.flapping_since.is_some(),
            probation: record.launches.probation.is_some(),
            why: match isolated {
                Some(since) => why::isolated(Some(since), since),
                None => published.why.clone(),
            },
        })
    }

    /// Everything known of a realm at `now`. `None`: the realm is not known.
    pub fn evidence(&self, realm: &str, now: Timestamp, settings: &Settings) -> Option<Evidence> {
        let (id, record) = self.realms.get_key_value(realm)?;
        let signals = why::signals(self, id, record, now, settings);
        let text = why::sentence(None, id, &signals, now);
        Some(Evidence { realm: realm.to_owned(), at: now, standing: self.standing(realm), text, signals })
    }

    /// While nobody answers us nothing is judged: what holds is shown as unknown, and is there again afterwards.
    fn is_isolated(&mut self, now: Timestamp, told: &mut Vec<Told>) -> bool {
        let isolated = self.overall.reach.is_some_and(|reach| reach.state == Reachability::Isolated);
        // After a restart nothing is known of reachability; until something is, the isolation stands.
        let unheard = self.overall.reach.is_none() && self.overall.isolated_since.is_some();
        match self.overall.isolated_since {
            None if isolated => {
                self.overall.isolated_since = Some(now);
                self.mark_overall();
                told.push(Told::Isolated { at: now, why: why::isolated(None, now) });
            }
            Some(begun) if !isolated && !unheard => {
                self.overall.isolated_since = None;
                // What was not looked at meanwhile is not old for that.
                self.overall.awake_at = Some(now);
                self.mark_overall();
                told.push(Told::Rejoined { since: begun, at: now, why: why::isolated(Some(begun), now) });
            }
            _ => {}
        }
        isolated || unheard
    }

    /// What ends with time.
    fn expire(&mut self, now: Timestamp, settings: &Settings) {
        let ids: Vec<String> = self.realms.keys().cloned().collect();
        let Self { overall, realms, .. } = self;
        let mut changed = Vec::new();
        for (id, record) in ids.iter().zip(realms.values_mut()) {
            let launches = record.launches.expire(now, &overall.baseline, settings);
            let runs = record.runs.as_mut().is_some_and(|runs| runs.expire(now, settings));
            let lifted = record.lift_if_recovered(now, settings);
            let window = Duration::from_secs(settings.trips_window_seconds);
            // Nobody asks it by itself any more.
            let valid = Duration::from_secs(settings.declared_valid_seconds);
            record.reach = record.reach.filter(|reach| since(now, reach.at) < valid);
            record.trips.retain(|trip| since(now, *trip) < window);
            if launches || runs || lifted {
                changed.push(id);
            }
        }
        for id in changed {
            self.mark(id, true);
        }
    }

    /// If more than half of the realms in use trip together, none of them is to blame.
    fn find_blame(&mut self, now: Timestamp, settings: &Settings, told: &mut Vec<Told>) {
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

    /// Those that evidence alone decides on wait for the second round (`alone`).
    fn evaluate_realm(&mut self, id: &str, alone: bool, now: Timestamp, settings: &Settings, told: &mut Vec<Told>) {
        let Some(record) = self.realms.get(id) else { return };
        let mut decision = record.decide(now, &self.overall, settings);
        if decision.alone != alone {
            return;
        }
        let was = record.state();
        let gives_up = decision.state == Availability::Unavailable && was != Some(Availability::Unavailable);
        if gives_up && decision.alone && !self.another_works(id) {
            let confidence = settings.confidence.evidence;
            decision = Decision { state: Availability::Degraded, rule: Rule::Last, confidence, alone: true };
        }
        let Some(decision) = record.held_back(decision, now, &self.overall, settings) else { return };
        if was == Some(decision.state) {
            self.refresh(id, decision);
            return;
        }
        self.turn(id, decision, now, settings, told);
    }

    fn another_works(&self, id: &str) -> bool {
        let works = |record: &Record| matches!(record.state(), Some(Availability::Available | Availability::Degraded));
        self.realms.iter().any(|(other, record)| other != id && works(record))
    }

    /// The same state for what may be other reasons: no news, but what is known of it is kept up.
    fn refresh(&mut self, id: &str, decision: Decision) {
        let Some(published) = self.realms.get_mut(id).and_then(|record| record.published.as_mut()) else { return };
        published.confidence = in_percent(decision.confidence);
        if published.alone && !decision.alone {
            published.alone = false;
            self.mark(id, true);
        }
    }

    fn turn(&mut self, id: &str, decision: Decision, now: Timestamp, settings: &Settings, told: &mut Vec<Told>) {
        let Decision { state, rule, confidence, alone } = decision;
        let Some(record) = self.realms.get(id) else { return };
        let signals = why::signals(self, id, record, now, settings);
        let text = why::sentence(Some(rule), id, &signals, now);
        let why = crate::model::Why { rule: rule.to_string(), text, signals };
        let Some(record) = self.realms.get_mut(id) else { return };
        let from = record.state();
        let from_wire = record.wire;
        record.wire = super::wire(state).or(from_wire);
        record.leave(from, rule, now);
        if state == Availability::Unavailable {
            record.enter_hold_down(now, settings);
        }
        let confidence = in_percent(confidence);
        record.published = Some(Published { state, since: now, confidence, rule, alone, why: why.clone() });
        let turned = Turned {
            realm: id.to_owned(),
            from,
            to: state,
            from_wire,
            to_wire: record.wire,
            at: now,
            confidence: percent(confidence),
            suppressed: record.flapping_since.is_some(),
            why,
        };
        if from.is_some() {
            record.flip(now, settings);
        }
        self.mark(id, true);
        told.push(Told::Verdict(turned));
    }

    /// Whether flapping begins or ends.
    fn settle(&mut self, id: &str, now: Timestamp, settings: &Settings, told: &mut Vec<Told>) {
        let Some(record) = self.realms.get_mut(id) else { return };
        if record.flips.is_empty() && record.flapping_since.is_none() {
            return;
        }
        let share = record.flapping_share(now, settings);
        let Some(state) = record.state() else { return };
        match record.flapping_since {
            None if share > settings.flap_start => {
                record.flapping_since = Some(now);
                let why = why::flapping(id, share, settings.flap_start, state, true, settings);
                told.push(Told::FlappingStart { realm: id.to_owned(), at: now, why });
            }
            Some(_) if share < settings.flap_end => {
                record.flapping_since = None;
                let why = why::flapping(id, share, settings.flap_end, state, false, settings);
                told.push(Told::FlappingEnd { realm: id.to_owned(), state, at: now, why });
            }
            _ => return,
        }
        self.mark(id, true);
    }
}

impl Record {
    /// The worst that anything speaks for, strongest first.
    fn decide(&self, now: Timestamp, overall: &Overall, settings: &Settings) -> Decision {
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
            let alone = unreachable.is_none();
            return Decision { state: Availability::Unavailable, rule, confidence, alone };
        }
        let away = |seconds: u64| unreachable.is_some_and(|away| away >= Duration::from_secs(seconds));
        if away(settings.unreachable_unavailable_seconds) {
            return as_of(Availability::Unavailable, Rule::UnreachableTooLong, sure.unreachable);
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
        if away(settings.unreachable_degraded_seconds) {
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
        let reached = self.reached(overall).is_some();
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
    fn held_back(
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
        // That nobody answers any more is no recovery.
        let contrary = matches!(decision.rule, Rule::Unreachable | Rule::UnreachableLong);
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

    /// When the hold-down ends.
    pub(super) fn hold_until(&self, settings: &Settings) -> Option<Timestamp> {
        let held = self.hold_until?;
        Some(self.shortened_until(settings).map_or(held, |sooner| sooner.min(held)))
    }

    fn lift_if_recovered(&mut self, now: Timestamp, settings: &Settings) -> bool {
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

    fn enter_hold_down(&mut self, now: Timestamp, settings: &Settings) {
        self.trips.push_back(now);
        // More would not hold it down for longer.
        let surplus = self.trips.len().saturating_sub(TRIPS_MAX);
        self.trips.drain(..surplus);
        self.hold_until = Some(now + settings.hold_down(self.trips.len()));
        self.launches.probation = None;
    }

    fn leave(&mut self, from: Option<Availability>, rule: Rule, now: Timestamp) {
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

    /// Several changes in one turn are one, so that busy realms do not flap sooner or later than quiet ones.
    fn flip(&mut self, now: Timestamp, settings: &Settings) {
        let turn = turn_of(now, settings);
        if self.flips.back() != Some(&turn) {
            self.flips.push_back(turn);
        }
    }

    fn flapping_share(&mut self, now: Timestamp, settings: &Settings) -> f64 {
        let first = turn_of(now, settings) - i64::from(settings.flap_turns);
        self.flips.retain(|turn| *turn > first);
        share(self.flips.len(), settings.flap_turns as usize)
    }

    /// When it was missing, if it is now.
    pub(super) fn missing(&self) -> Option<Missing> {
        self.missing
    }
}

/// Not long before the others did.
fn began_with(at: Timestamp, begun: Timestamp, settings: &Settings) -> bool {
    since(begun, at) < Duration::from_secs(settings.blame_window_seconds)
}

/// Trips counted at most: the hold-down has long reached its cap.
const TRIPS_MAX: usize = 64;

fn turn_of(at: Timestamp, settings: &Settings) -> i64 {
    at.as_second().div_euclid(i64::try_from(settings.flap_turn_seconds).unwrap_or(i64::MAX).max(1))
}

#[expect(clippy::cast_precision_loss, reason = "there are at most 100,000")]
fn share(some: usize, of: usize) -> f64 {
    some as f64 / of.max(1) as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a confidence is 0 to 1")]
fn in_percent(confidence: f64) -> u8 {
    (confidence * 100.0).round().clamp(0.0, 100.0) as u8
}

fn percent(percent: u8) -> Figure {
    Figure::from(f64::from(percent) / 100.0)
}
