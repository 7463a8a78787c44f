//! When a part of an account is left alone, because looking at it only fails. Pure. What is noted is what became of a look: one
//! whose calls were answered when they were made again went well.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::Settings;
use crate::drivers::Kind;
use crate::model::{Collection, Standing};

/// What the looks at a part of an account came to of late.
#[derive(Clone, Debug, Default)]
pub(super) struct Circuit {
    /// The newest last; `true` went well.
    recent: VecDeque<bool>,
    faults_in_a_row: u32,
    refused_in_a_row: u32,
    /// How often it opened since a look went well.
    opened: u32,
    open: Option<Open>,
    pub(super) last_good_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    standing: Standing,
    until: Timestamp,
    /// What failed when it opened. Whether that works again says most.
    blamed: Collection,
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
    /// Throttled, not asked for want of a place of ours, or about one request only: neither well nor a fault.
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
            | Kind::Busy
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
        match heard {
            Heard::Well => {
                if self.open.take().is_some() {
                    self.recent.clear();
                }
                (self.faults_in_a_row, self.refused_in_a_row, self.opened) = (0, 0, 0);
                self.last_good_at = Some(now);
            }
            Heard::Fault => {
                self.faults_in_a_row += 1;
                self.refused_in_a_row = 0;
            }
            Heard::Refused => {
                self.refused_in_a_row += 1;
                self.faults_in_a_row = 0;
            }
            Heard::Nothing => {
                // It was reached, and said nothing of use: a probe that is over.
                if let Some(open) = &mut self.open {
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
        if let Some(standing) = self.verdict(settings) {
            let wait = self.wait(standing, roll, settings);
            self.opened = self.opened.saturating_add(1);
            self.open = Some(Open { standing, until: now + wait, blamed: collection, probed_at: None });
        }
    }

    fn verdict(&self, settings: &Settings) -> Option<Standing> {
        // Who was refused and now gets no answer is not known to be let in.
        if self.refused_in_a_row >= settings.circuit_refusals || self.is(Standing::Denied) {
            return Some(Standing::Denied);
        }
        let failed = self.recent.iter().filter(|well| !**well).count();
        let many = self.recent.len() >= settings.circuit_window && failed * 2 >= self.recent.len();
        let last_failed = self.recent.back() == Some(&false);
        let probe_failed = self.open.is_some() && self.faults_in_a_row > 0;
        (last_failed && (many || self.faults_in_a_row >= settings.circuit_faults || probe_failed))
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

    fn is(&self, standing: Standing) -> bool {
        self.standing() == standing
    }

    pub(super) fn standing(&self) -> Standing {
        self.open.map_or(Standing::Reachable, |open| open.standing)
    }

    /// `None`: no look has said so.
    pub(super) fn known_standing(&self) -> Option<Standing> {
        (self.last_good_at.is_some() || self.open.is_some()).then(|| self.standing())
    }

    /// When it may be tried again; `None` while it is closed.
    pub(super) fn open_until(&self) -> Option<Timestamp> {
        self.open.map(|open| open.until)
    }

    /// Somebody has reason to believe that it works: the next look finds out.
    pub(super) fn try_now(&mut self) {
        *self = Self { last_good_at: self.last_good_at, ..Self::default() };
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
            assert_eq!((circuit.standing(), circuit.open_until()), (standing, until.map(at)), "{story:?}");
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
        assert_eq!((circuit.standing(), circuit.open_until()), (Standing::Denied, Some(at(5 + 900))));
        let circuit = after(&[refused(0), refused(5), refused(905)]);
        assert_eq!((circuit.standing(), circuit.open_until()), (Standing::Denied, Some(at(905 + 900))));
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
