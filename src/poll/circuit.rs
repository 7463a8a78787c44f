//! When a part of an account is left alone, because looking at it only fails. Pure. What is noted is what became of a look: one
//! whose calls were answered when they were made again went well.
//!
//! Guarantees: what fails is counted by collection, and while a part is left alone one of its collections is to blame. Only a good look
//! at that one ends it; another that answers meanwhile is looked at as ever, and says nothing of the one that does not.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Settings;
use crate::drivers::Kind;
use crate::model::{Collection, Standing};

/// What the looks at a part of an account came to of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Circuit {
    /// The newest last; `true` went well.
    recent: VecDeque<bool>,
    runs: BTreeMap<Collection, Run>,
    /// How often it opened since what was blamed went well.
    opened: u32,
    open: Option<Open>,
}

/// Of a collection.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    faults_in_a_row: u32,
    refused_in_a_row: u32,
    last_good_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    standing: Standing,
    until: Timestamp,
    /// What failed when it opened, and has not gone well since.
    blamed: Collection,
    /// Another answers, so it alone is left alone.
    alone: bool,
    /// When the look began that is to find out.
    probed_at: Option<Timestamp>,
}

/// What a look says of the account as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Well,
    /// No answer, or the backend broke.
    Fault,
    /// It refused the credentials.
    Refused,
    /// Throttled, or about one request only: neither well nor a fault.
    Nothing,
}

impl Heard {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Unavailable | Kind::TimedOut | Kind::Failed => Self::Fault,
            Kind::Denied => Self::Refused,
            Kind::Forbidden
            | Kind::NotFound
            | Kind::Throttled { .. }
            | Kind::Unsupported
            | Kind::Invalid
            | Kind::Conflict => Self::Nothing,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Go,
    /// Not before that.
    Wait(Timestamp),
}

impl Circuit {
    /// Whether a unit may be looked at now. While it is open one look at a time finds out, when its wait is over.
    pub(super) fn admit(&mut self, collection: Collection, now: Timestamp, settings: &Settings) -> Admission {
        let patience = Duration::from_millis(settings.probe_wait_ms);
        let Some(open) = &mut self.open else { return Admission::Go };
        if open.alone && collection != open.blamed {
            return Admission::Go;
        }
        let longest = Duration::from_millis(settings.denied_wait_ms.max(settings.circuit_wait_max_ms)).mul_f64(1.3);
        if open.until > now + longest {
            // The clock was set back.
            open.until = now;
        }
        // A probe that never came back must not close the door for good, nor a clock that jumped.
        let probing = open.probed_at.is_some_and(|at| at <= now && now < at + patience);
        // What failed may not be watched any more.
        let others = Duration::from_millis(settings.circuit_wait_ms);
        let from = if collection == open.blamed { open.until } else { open.until + others };
        if probing || now < from {
            return Admission::Wait(if probing { now + patience } else { from });
        }
        open.probed_at = Some(now);
        Admission::Go
    }

    /// Notes how a look at `collection` went. `roll`, 0 to 1, spreads the waits by a fifth to either side.
    pub(super) fn note(
        &mut self,
        collection: Collection,
        heard: Heard,
        now: Timestamp,
        roll: f64,
        settings: &Settings,
    ) {
        let run = self.runs.entry(collection).or_default();
        match heard {
            Heard::Well => *run = Run { last_good_at: Some(now), ..Run::default() },
            Heard::Fault => {
                run.faults_in_a_row = run.faults_in_a_row.saturating_add(1);
                run.refused_in_a_row = 0;
            }
            Heard::Refused => {
                run.refused_in_a_row = run.refused_in_a_row.saturating_add(1);
                run.faults_in_a_row = 0;
            }
            Heard::Nothing => {
                // It was reached, and said nothing of use: a probe that is over.
                if let Some(open) = self.open.as_mut().filter(|open| !open.alone || open.blamed == collection) {
                    open.probed_at = None;
                    open.until = open.until.max(now + Duration::from_millis(settings.circuit_wait_ms));
                }
                return;
            }
        }
        // A refusal is an answer, and no fault of the backend's.
        if heard != Heard::Refused {
            if self.recent.len() >= settings.circuit_window {
                self.recent.pop_front();
            }
            self.recent.push_back(heard == Heard::Well);
        }
        if heard == Heard::Well {
            self.went_well(collection);
            return;
        }
        if let Some(standing) = self.verdict(collection, settings) {
            let wait = self.wait(standing, roll, settings);
            self.opened = self.opened.saturating_add(1);
            // Another that was tried in its place does not take the blame.
            let blamed = self.open.map_or(collection, |open| open.blamed);
            let alone = blamed == collection && self.open.is_some_and(|open| open.alone);
            self.open = Some(Open { standing, until: now + wait, blamed, alone, probed_at: None });
        }
    }

    fn went_well(&mut self, collection: Collection) {
        let Some(open) = &mut self.open else { return };
        if collection == open.blamed {
            (self.open, self.opened) = (None, 0);
            self.recent.clear();
        } else {
            open.alone = true;
            open.probed_at = None;
        }
    }

    fn verdict(&self, collection: Collection, settings: &Settings) -> Option<Standing> {
        let run = self.runs.get(&collection).copied().unwrap_or_default();
        let open = self.open.filter(|open| !open.alone || open.blamed == collection);
        // Who was refused and now gets no answer is not known to be let in.
        let denied = open.is_some_and(|open| open.standing == Standing::Denied);
        if run.refused_in_a_row >= settings.circuit_refusals || denied {
            return Some(Standing::Denied);
        }
        let failed = self.recent.iter().filter(|well| !**well).count();
        let many = self.recent.len() >= settings.circuit_window && failed * 2 >= self.recent.len();
        let last_failed = run.faults_in_a_row > 0;
        let probe_failed = open.is_some() && last_failed;
        (last_failed && (many || run.faults_in_a_row >= settings.circuit_faults || probe_failed))
            .then_some(Standing::Unreachable)
    }

    fn wait(&self, standing: Standing, roll: f64, settings: &Settings) -> Duration {
        let ms = match standing {
            Standing::Denied => settings.denied_wait_ms,
            Standing::Reachable | Standing::Unreachable => {
                let doubled = 1u64.checked_shl(self.opened).unwrap_or(u64::MAX);
                settings.circuit_wait_ms.saturating_mul(doubled).min(settings.circuit_wait_max_ms)
            }
        };
        Duration::from_millis(ms).mul_f64(0.8 + 0.4 * roll)
    }

    pub(super) fn standing(&self) -> Standing {
        self.open.map_or(Standing::Reachable, |open| open.standing)
    }

    /// `None`: no look has said so.
    pub(super) fn known_standing(&self) -> Option<Standing> {
        let looked = self.runs.values().any(|run| run.last_good_at.is_some());
        (looked || self.open.is_some()).then(|| self.standing())
    }

    /// When this may be tried again; `None` while it may be at any time.
    pub(super) fn open_until(&self, collection: Collection) -> Option<Timestamp> {
        self.open.filter(|open| !open.alone || open.blamed == collection).map(|open| open.until)
    }

    /// The clock was set, ahead or back by that much: it is left alone as long as it was to.
    pub(super) fn clock_set(&mut self, by: SignedDuration) {
        let moved = |at: Timestamp| at.saturating_add(by).unwrap_or(at);
        if let Some(open) = &mut self.open {
            open.until = moved(open.until);
            open.probed_at = open.probed_at.map(moved);
        }
    }

    /// Somebody has reason to believe that it works: the next look finds out.
    pub(super) fn try_now(&mut self) {
        let forgiven = |run: &Run| Run { last_good_at: run.last_good_at, ..Run::default() };
        let runs = self.runs.iter().map(|(collection, run)| (*collection, forgiven(run))).collect();
        *self = Self { runs, ..Self::default() };
    }

    /// Before the first look at a collection in this process: so many failed in a row, as is recorded. One more has to fail, as it is not
    /// recorded how they did.
    pub(super) fn recall(&mut self, collection: Collection, failures: u32, settings: &Settings) {
        let faults_in_a_row = failures.min(settings.circuit_faults.saturating_sub(1));
        self.runs.entry(collection).or_insert(Run { faults_in_a_row, ..Run::default() });
    }

    pub(super) fn last_good_at(&self, collection: Collection) -> Option<Timestamp> {
        self.runs.get(&collection)?.last_good_at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LISTS: Collection = Collection::Instances;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn after(story: &[(i64, Heard)]) -> Circuit {
        let mut circuit = Circuit::default();
        for (second, heard) in story {
            circuit.note(LISTS, *heard, at(*second), 0.5, &Settings::default());
        }
        circuit
    }

    #[test]
    fn five_faults_in_a_row_open_it_and_one_good_look_closes_it() {
        let check = |story: &[(i64, Heard)], standing: Standing, until: Option<i64>| {
            let circuit = after(story);
            assert_eq!((circuit.standing(), circuit.open_until(LISTS)), (standing, until.map(at)), "{story:?}");
        };
        let faults = |count: i64| (0..count).map(|second| (second, Heard::Fault)).collect::<Vec<_>>();
        check(&faults(4), Standing::Reachable, None);
        check(&faults(5), Standing::Unreachable, Some(4 + 30));
        // Each probe that fails doubles the wait, up to ten minutes.
        check(&faults(6), Standing::Unreachable, Some(5 + 60));
        check(&faults(30), Standing::Unreachable, Some(29 + 600));
        check(&[faults(9), vec![(20, Heard::Well)]].concat(), Standing::Reachable, None);
        check(&[faults(4), vec![(5, Heard::Well)], faults(4)].concat(), Standing::Reachable, None);
        check(&[faults(4), vec![(5, Heard::Nothing), (6, Heard::Fault)]].concat(), Standing::Unreachable, Some(36));
    }

    #[test]
    fn half_of_the_last_twenty_open_it_too() {
        let mixed: Vec<_> = (0..20).map(|n| (n, if n % 2 == 0 { Heard::Well } else { Heard::Fault })).collect();
        assert_eq!(after(&mixed[..19]).standing(), Standing::Reachable);
        assert_eq!(after(&mixed).standing(), Standing::Unreachable);
    }

    #[test]
    fn two_refusals_open_it_for_a_quarter_of_an_hour_and_each_probe_again() {
        let refused = |second| (second, Heard::Refused);
        assert_eq!(after(&[refused(0)]).standing(), Standing::Reachable);
        let circuit = after(&[refused(0), refused(5)]);
        assert_eq!((circuit.standing(), circuit.open_until(LISTS)), (Standing::Denied, Some(at(5 + 900))));
        let circuit = after(&[refused(0), refused(5), refused(905)]);
        assert_eq!((circuit.standing(), circuit.open_until(LISTS)), (Standing::Denied, Some(at(905 + 900))));
        assert_eq!(after(&[refused(0), refused(5), (905, Heard::Well)]).standing(), Standing::Reachable);
    }

    #[test]
    fn while_it_is_open_one_look_at_a_time_finds_out() {
        let faults: Vec<_> = (0..5).map(|second| (second, Heard::Fault)).collect();
        let mut circuit = after(&faults);
        let check = |circuit: &mut Circuit, collection, now, expected| {
            assert_eq!(circuit.admit(collection, at(now), &Settings::default()), expected, "{collection} at {now}");
        };
        check(&mut circuit, LISTS, 10, Admission::Wait(at(34)));
        check(&mut circuit, Collection::Realms, 34, Admission::Wait(at(64)));
        check(&mut circuit, LISTS, 34, Admission::Go);
        check(&mut circuit, LISTS, 35, Admission::Wait(at(155)));
        check(&mut circuit, Collection::Realms, 95, Admission::Wait(at(215)));
        // The probe never came back.
        check(&mut circuit, LISTS, 154, Admission::Go);
        circuit.note(LISTS, Heard::Well, at(155), 0.5, &Settings::default());
        check(&mut circuit, LISTS, 155, Admission::Go);
        check(&mut circuit, Collection::Realms, 155, Admission::Go);
    }

    #[test]
    fn whoever_has_reason_to_may_try_at_once() {
        let mut circuit = after(&[(0, Heard::Refused), (5, Heard::Refused)]);
        circuit.try_now();
        assert_eq!(circuit.admit(LISTS, at(6), &Settings::default()), Admission::Go);
    }

    #[test]
    fn one_that_answers_says_nothing_of_one_that_does_not() {
        let settings = Settings::default();
        let mut circuit = Circuit::default();
        let turn = |circuit: &mut Circuit, second, collection, heard| {
            circuit.note(collection, heard, at(second), 0.5, &settings);
            circuit.standing()
        };
        // Whatever realms answer in between, instances have failed five times in a row.
        for second in 0..4 {
            assert_eq!(turn(&mut circuit, second, LISTS, Heard::Fault), Standing::Reachable);
            assert_eq!(turn(&mut circuit, second, Collection::Realms, Heard::Well), Standing::Reachable);
        }
        assert_eq!(turn(&mut circuit, 4, LISTS, Heard::Fault), Standing::Unreachable);
        assert_eq!(circuit.admit(Collection::Realms, at(5), &Settings::default()), Admission::Wait(at(64)));
        // Realms answer, so they are looked at as ever, and instances are left alone as before.
        assert_eq!(turn(&mut circuit, 64, Collection::Realms, Heard::Well), Standing::Unreachable);
        assert_eq!(circuit.admit(Collection::Realms, at(65), &Settings::default()), Admission::Go);
        assert_eq!(circuit.admit(LISTS, at(33), &Settings::default()), Admission::Wait(at(34)));
        // Neither what realms are throttled nor a fault of theirs puts off the probe.
        turn(&mut circuit, 66, Collection::Realms, Heard::Nothing);
        turn(&mut circuit, 67, Collection::Realms, Heard::Fault);
        assert_eq!(circuit.open_until(LISTS), Some(at(34)));
        assert_eq!(circuit.admit(LISTS, at(68), &Settings::default()), Admission::Go);
        assert_eq!(turn(&mut circuit, 68, LISTS, Heard::Well), Standing::Reachable);
    }

    #[test]
    fn what_failed_before_a_restart_is_counted_on() {
        let settings = Settings::default();
        let check = |failures: u32, more: u32, expected: Standing| {
            let mut circuit = Circuit::default();
            for second in 0..more {
                circuit.recall(LISTS, failures + second, &settings);
                circuit.note(LISTS, Heard::Fault, at(second.into()), 0.5, &settings);
            }
            assert_eq!(circuit.standing(), expected, "{failures} and {more}");
        };
        check(0, 4, Standing::Reachable);
        check(2, 2, Standing::Reachable);
        check(2, 3, Standing::Unreachable);
        check(4, 1, Standing::Unreachable);
        // What the last of them was is not known, so one more has to fail.
        check(70, 0, Standing::Reachable);
        check(70, 1, Standing::Unreachable);
    }

    proptest! {
        /// Whatever happens, there is a look within the longest wait and a fifth of it.
        #[test]
        fn nobody_waits_for_ever(story in prop::collection::vec((0u8..4, 1i64..2_000, 0.0f64..1.0), 1..60)) {
            let settings = Settings::default();
            let (mut circuit, mut now) = (Circuit::default(), 0);
            for (heard, pause, roll) in story {
                now += pause;
                let heard = [Heard::Well, Heard::Fault, Heard::Refused, Heard::Nothing][usize::from(heard)];
                circuit.note(LISTS, heard, at(now), roll, &settings);
                let longest = settings.denied_wait_ms.max(settings.circuit_wait_max_ms) / 1_000 * 12 / 10 + 1;
                prop_assert_eq!(circuit.clone().admit(LISTS, at(now + i64::try_from(longest).unwrap()), &settings), Admission::Go);
            }
        }
    }
}
