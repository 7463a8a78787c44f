//! Whether an endpoint answers: silence measured against its own habit, and faults counted.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::{Reachability, Settings, since};

/// What an account saw of one endpoint and region. Lives in memory: after a restart it learns anew.
///
/// Told are answers ([`Reach::heard`]) and faults ([`Reach::failed`]). Counted faults are those of the way and of the
/// provider (connect, TLS, time-out, 5xx); throttling, refused credentials and refused requests are answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach {
    /// Between answers, newest last. Seconds.
    intervals: VecDeque<f64>,
    heard_at: Option<Timestamp>,
    /// Since the last answer.
    faults: u32,
    first_fault_at: Option<Timestamp>,
    suspect_since: Option<Timestamp>,
}

/// What is known beside this one endpoint and account when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Others {
    /// When any other endpoint last answered anybody here.
    pub answered_at: Option<Timestamp>,
    /// Another one that answered when it was last asked has not been asked for a while. So it says nothing yet of whose fault a
    /// silence is.
    pub unasked: bool,
    /// Accounts that use this endpoint and region, this one included.
    pub accounts: u32,
    /// Those of them to whom it is suspect, this one included.
    pub suspecting: u32,
}

impl Reach {
    /// It answered.
    pub fn heard(&mut self, at: Timestamp, settings: &Settings) {
        if let Some(before) = self.heard_at {
            // A silence with faults in it is no habit.
            let interval = since(at, before).as_secs_f64();
            if self.faults == 0 && interval > 0.0 {
                self.intervals.push_back(interval);
                let surplus = self.intervals.len().saturating_sub(settings.answers_kept);
                self.intervals.drain(..surplus);
            }
        }
        self.heard_at = self.heard_at.max(Some(at));
        self.faults = 0;
        self.first_fault_at = None;
        self.suspect_since = None;
    }

    /// A counted fault.
    pub fn failed(&mut self, at: Timestamp) {
        self.faults = self.faults.saturating_add(1);
        self.first_fault_at.get_or_insert(at);
    }

    /// How it stands at `now`, when it is asked every `every`.
    ///
    /// Not asked is not silent: without a fault since the last answer nothing is suspect, and silence counts from one interval
    /// before the first fault. So a plan that asks more rarely, or a Tracker that did not run, makes no suspicion.
    pub fn judge(&mut self, now: Timestamp, every: Duration, others: Others, settings: &Settings) -> Reachability {
        if self.faults < settings.suspect_faults && self.phi(now, every, settings) < settings.suspect_phi {
            self.suspect_since = None;
            return Reachability::Reachable;
        }
        let suspect_since = *self.suspect_since.get_or_insert(now);
        if since(now, suspect_since) < Duration::from_secs(settings.unreachable_after_seconds) {
            return Reachability::Suspect;
        }
        if others.answered_at.is_none_or(|at| at < suspect_since) {
            return if others.unasked { Reachability::Suspect } else { Reachability::Isolated };
        }
        let alone = others.accounts >= 2 && others.suspecting.saturating_mul(2) < others.accounts;
        if alone { Reachability::Suspect } else { Reachability::Unreachable }
    }

    /// How unlikely its silence is, as a power of ten; 0 while it has not failed.
    pub fn phi(&self, now: Timestamp, every: Duration, settings: &Settings) -> f64 {
        let Some(first_fault_at) = self.first_fault_at else { return 0.0 };
        let asked_at = first_fault_at.checked_sub(every).unwrap_or(first_fault_at);
        let silent_since = self.heard_at.map_or(asked_at, |at| at.max(asked_at));
        let every = every.as_secs_f64();
        let (mean, deviation) = self.habit();
        let mean = mean.max(every);
        let deviation = deviation.max(mean * settings.deviation_min).max(f64::MIN_POSITIVE);
        // One interval of grace: a single answer that is lost is no silence.
        let y = (since(now, silent_since).as_secs_f64() - mean - every) / deviation;
        -later_than(y).max(f64::MIN_POSITIVE).log10()
    }

    /// Mean and standard deviation of the intervals. Seconds.
    #[expect(clippy::cast_precision_loss, reason = "there are at most 10,000")]
    fn habit(&self) -> (f64, f64) {
        if self.intervals.is_empty() {
            return (0.0, 0.0);
        }
        let n = self.intervals.len() as f64;
        let mean = self.intervals.iter().sum::<f64>() / n;
        let variance = self.intervals.iter().map(|interval| (interval - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt())
    }
}

/// The probability that a standard normal variable is more than `y`, by the usual logistic approximation (off by less than
/// 0.02 %).
fn later_than(y: f64) -> f64 {
    let e = (-y * (1.5976 + 0.070_566 * y * y)).exp();
    if y > 0.0 { e / (1.0 + e) } else { 1.0 - 1.0 / (1.0 + e) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn regular(every: i64, answers: i64) -> Reach {
        let mut reach = Reach::default();
        for n in 0..answers {
            reach.heard(at((n + 1 - answers) * every), &Settings::default());
        }
        reach
    }

    fn healthy_others(now: i64) -> Others {
        Others { answered_at: Some(at(now)), unasked: false, accounts: 1, suspecting: 1 }
    }

    #[test]
    fn two_and_a_half_intervals_of_silence_are_suspect_and_a_minute_later_it_is_unreachable() {
        let mut reach = regular(60, 50);
        reach.failed(at(60));
        reach.failed(at(120));
        let mut changes = Vec::new();
        let mut last = Reachability::Reachable;
        for second in (60..=300).step_by(2) {
            let state = reach.judge(at(second), MINUTE, healthy_others(second), &Settings::default());
            if state != last {
                changes.push((second, state));
                last = state;
            }
        }
        assert_eq!(changes, [(152, Reachability::Suspect), (212, Reachability::Unreachable)]);
        reach.heard(at(301), &Settings::default());
        assert_eq!(reach.judge(at(301), MINUTE, healthy_others(301), &Settings::default()), Reachability::Reachable);
    }

    #[test]
    fn five_faults_in_a_row_are_suspect_at_once_and_four_are_not() {
        let mut reach = regular(60, 50);
        for second in 1..=4 {
            reach.failed(at(second));
        }
        let settings = Settings::default();
        assert_eq!(reach.judge(at(5), MINUTE, healthy_others(5), &settings), Reachability::Reachable);
        reach.failed(at(5));
        assert_eq!(reach.judge(at(5), MINUTE, healthy_others(5), &settings), Reachability::Suspect);
    }

    #[test]
    fn not_asked_is_not_silent() {
        let check = |mut reach: Reach, second: i64, every: Duration| {
            let state = reach.judge(at(second), every, healthy_others(second), &Settings::default());
            assert_eq!(state, Reachability::Reachable);
        };
        // Nobody asked for an hour.
        check(regular(60, 50), 3_600, MINUTE);
        // … and then the first try failed.
        let mut reach = regular(60, 50);
        reach.failed(at(3_600));
        check(reach, 3_601, MINUTE);
        // It was asked every five seconds and is now asked every minute.
        let mut reach = regular(5, 100);
        reach.failed(at(60));
        check(reach, 61, MINUTE);
    }

    #[test]
    fn when_nobody_answers_it_is_us() {
        let check = |others: Others, expected: Reachability| {
            let mut reach = regular(60, 50);
            (1..=5).for_each(|second| reach.failed(at(second)));
            reach.judge(at(10), MINUTE, others, &Settings::default());
            assert_eq!(reach.judge(at(80), MINUTE, others, &Settings::default()), expected);
        };
        check(Others { answered_at: None, unasked: false, accounts: 1, suspecting: 1 }, Reachability::Isolated);
        check(Others { answered_at: Some(at(9)), unasked: false, accounts: 1, suspecting: 1 }, Reachability::Isolated);
        check(Others { answered_at: Some(at(9)), unasked: true, accounts: 1, suspecting: 1 }, Reachability::Suspect);
        check(
            Others { answered_at: Some(at(10)), unasked: false, accounts: 1, suspecting: 1 },
            Reachability::Unreachable,
        );
        check(Others { answered_at: Some(at(70)), unasked: false, accounts: 4, suspecting: 1 }, Reachability::Suspect);
        check(
            Others { answered_at: Some(at(70)), unasked: false, accounts: 4, suspecting: 2 },
            Reachability::Unreachable,
        );
    }

    proptest! {
        #[test]
        fn phi_rises_with_silence_and_is_never_less_than_none(every in 1_u64..600, steps in proptest::collection::vec(1_i64..100, 2..50)) {
            let settings = Settings::default();
            let mut reach = regular(i64::try_from(every).unwrap(), 20);
            reach.failed(at(1));
            let (mut second, mut last) = (1, 0.0);
            for step in steps {
                second += step;
                let phi = reach.phi(at(second), Duration::from_secs(every), &settings);
                prop_assert!(phi >= last && phi.is_finite());
                last = phi;
            }
        }
    }
}
