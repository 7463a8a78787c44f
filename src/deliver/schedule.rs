//! What becomes of a delivery after a try. Pure: the time and the roll come in.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

use super::circuit::Sign;

/// When to try again, and when to stop.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The longest wait after the first failure, after the second, and so on. Not zero.
    pub steps: Vec<Duration>,
    /// The longest wait when the steps are used up. Not zero.
    pub last_step: Duration,
    /// No more tries this long after the delivery was first owed. The last one falls on this moment.
    pub give_up_after: Duration,
    /// Tries that are made even so. What had to wait behind another change, or for us, would otherwise get but one.
    pub tries_min: u32,
    /// A wait lies between this part of its step and the whole, 0 to 1. Above 0, so that no roll means "at once".
    pub wait_floor: f64,
    /// What a receiver asks for beyond this is cut to it.
    pub retry_after_max: Duration,
    /// Bounds of the wait after a fault of our own.
    pub own_fault_wait: (Duration, Duration),
    /// A hook whose tries all failed for so long is called no more, once it has exhausted a delivery.
    pub disable_after: Duration,
}

/// What follows from a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Delivered,
    Retry {
        due_at: Timestamp,
        /// What the receiver asked for.
        not_before: Option<Timestamp>,
    },
    /// Our own failure: the try is not counted.
    Postpone {
        due_at: Timestamp,
    },
    Exhausted {
        /// The hook failed since then, which is long enough to call it no more.
        failing_since: Option<Timestamp>,
    },
    /// The receiver said that it is gone.
    Gone,
}

/// What came of one try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Status {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// The receiver cannot be reached, does not answer in time, hangs up, or may not be called.
    NoAnswer,
    /// It was asked first and did not say that we may call.
    NoConsent,
    /// We could not even try: no sockets, a silent resolver, a hook that cannot be read.
    OwnFault,
}

/// Where a delivery stands when the reply is there.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// The try just made; 1 is the first.
    pub attempt: u32,
    pub created_at: Timestamp,
    /// Since when no try of the hook has succeeded.
    pub failing_since: Option<Timestamp>,
    /// When the try ended.
    pub ended_at: Timestamp,
}

impl Reply {
    /// What it says of the receiver. One answer that is not 2xx may be about the request; 5xx and the words for "too much" are
    /// about the receiver.
    pub(super) fn sign(self) -> Sign {
        match self {
            Self::Status { status: 200..=299, .. } => Sign::Good,
            Self::Status { status: 408 | 429 | 500..=599, retry_after } => Sign::Bad(retry_after),
            Self::Status { .. } | Self::NoConsent => Sign::Alive,
            Self::NoAnswer => Sign::Bad(None),
            Self::OwnFault => Sign::Ours,
        }
    }
}

impl Schedule {
    /// What follows from a reply. `roll`, 0 to 1, is drawn by the caller.
    ///
    /// A wait is drawn between `wait_floor` and the whole of its step, so that the changes of an outage do not come back
    /// all at the same moment. A receiver's `Retry-After` lengthens it, never shortens it.
    pub fn next(&self, standing: Standing, reply: Reply, roll: f64) -> Next {
        match reply {
            Reply::Status { status: 200..=299, .. } => Next::Delivered,
            Reply::Status { status: 410, .. } => Next::Gone,
            Reply::Status { retry_after, .. } => self.retry(standing, retry_after, roll),
            Reply::NoAnswer | Reply::NoConsent => self.retry(standing, None, roll),
            Reply::OwnFault => Next::Postpone { due_at: self.postponed_until(standing, roll) },
        }
    }

    fn retry(&self, standing: Standing, retry_after: Option<Duration>, roll: f64) -> Next {
        let Standing { attempt, created_at, failing_since, ended_at } = standing;
        let end = created_at + self.give_up_after;
        let may_end = attempt >= self.tries_min;
        if may_end && ended_at >= end {
            return Next::Exhausted {
                failing_since: failing_since.filter(|since| ended_at >= *since + self.disable_after),
            };
        }
        let index = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
        let step = self.steps.get(index).copied().unwrap_or(self.last_step);
        let drawn = ended_at + self.drawn(step, roll);
        // Whoever comes back on the last day still gets what is owed then.
        let planned = if may_end { drawn.min(end) } else { drawn };
        let not_before = retry_after.map(|asked| ended_at + asked.min(self.retry_after_max));
        Next::Retry { due_at: not_before.map_or(planned, |not_before| planned.max(not_before)), not_before }
    }

    /// A fault of ours counts no tries, so there is no step to take; the wait grows with the age instead. A short fault is
    /// over soon, and a long one costs a tenth of its length on top.
    fn postponed_until(&self, standing: Standing, roll: f64) -> Timestamp {
        let Standing { created_at, ended_at, .. } = standing;
        let age = Duration::try_from(ended_at.duration_since(created_at)).unwrap_or_default();
        let (min, max) = self.own_fault_wait;
        ended_at + self.drawn((age / 10).clamp(min, max), roll)
    }

    /// In whole milliseconds, which is what the store keeps, and at least one.
    fn drawn(&self, longest: Duration, roll: f64) -> Duration {
        let part = self.wait_floor + (1.0 - self.wait_floor) * roll.clamp(0.0, 1.0);
        let ms = longest.mul_f64(part.clamp(0.0, 1.0)).as_millis();
        Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX).max(1))
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110, the current form). `None` for anything else and for the past.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than fit are a very long wait, which the caller cuts.
        return Some(Duration::from_secs(header.parse().unwrap_or(u64::from(u32::MAX)).min(u64::from(u32::MAX))));
    }
    let until = DateTimeParser::new().parse_timestamp(header).ok()?;
    Duration::try_from(until.duration_since(now)).ok().filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn schedule() -> Schedule {
        Schedule {
            steps: vec![secs(10), secs(100)],
            last_step: secs(1000),
            give_up_after: secs(5000),
            tries_min: 3,
            wait_floor: 0.1,
            retry_after_max: secs(600),
            own_fault_wait: (secs(30), secs(300)),
            disable_after: secs(6000),
        }
    }

    fn answered(status: u16) -> Reply {
        Reply::Status { status, retry_after: None }
    }

    #[test]
    fn only_2xx_is_delivered_and_only_410_disables() {
        let check = |reply: Reply, want: &str| {
            let standing = Standing { attempt: 1, created_at: at(0), failing_since: None, ended_at: at(1) };
            let got = format!("{:?}", schedule().next(standing, reply, 0.5));
            assert!(got.starts_with(want), "{reply:?}: {got}");
        };
        for status in [200, 201, 202, 204, 299] {
            check(answered(status), "Delivered");
        }
        for status in
            [100, 199, 300, 301, 302, 304, 307, 308, 400, 401, 404, 409, 411, 413, 429, 500, 502, 503, 504, 599]
        {
            check(answered(status), "Retry");
        }
        check(answered(410), "Gone");
        check(Reply::NoAnswer, "Retry");
        check(Reply::OwnFault, "Postpone");
    }

    #[test]
    fn waits_follow_the_steps_and_the_roll() {
        let check = |attempt: u32, ended_at: i64, roll: f64, want: i64| {
            let standing = Standing { attempt, created_at: at(0), failing_since: None, ended_at: at(ended_at) };
            let got = schedule().next(standing, Reply::NoAnswer, roll);
            assert_eq!(
                got,
                Next::Retry { due_at: at(want), not_before: None },
                "attempt {attempt} at {ended_at}, roll {roll}"
            );
        };
        check(1, 2, 0.0, 3);
        check(1, 2, 1.0, 12);
        check(2, 20, 0.0, 30);
        check(2, 20, 1.0, 120);
        check(3, 200, 1.0, 1200);
        check(9, 200, 1.0, 1200);
        check(9, 200, 0.0, 300);
        // The last try falls on the end.
        check(9, 4900, 1.0, 5000);
        check(9, 4999, 0.0, 5000);
        // Too few tries so far: the end waits.
        check(1, 9000, 1.0, 9010);
        check(2, 9010, 1.0, 9110);
    }

    #[test]
    fn the_end_is_the_end() {
        let check = |attempt: u32, ended_at: i64, want: bool| {
            let standing = Standing { attempt, created_at: at(0), failing_since: None, ended_at: at(ended_at) };
            let got = schedule().next(standing, answered(500), 0.5) == Next::Exhausted { failing_since: None };
            assert_eq!(got, want, "attempt {attempt} at {ended_at}");
        };
        check(3, 4999, false);
        check(3, 5000, true);
        check(90, 9999, true);
        check(2, 9999, false);
    }

    #[test]
    fn retry_after_lengthens_and_never_shortens() {
        let check = |asked: u64, ended_at: i64, want: i64| {
            let standing = Standing { attempt: 2, created_at: at(0), failing_since: None, ended_at: at(ended_at) };
            let reply = Reply::Status { status: 503, retry_after: Some(secs(asked)) };
            let got = schedule().next(standing, reply, 1.0);
            let not_before = Some(at(ended_at + i64::try_from(asked.min(600)).unwrap()));
            assert_eq!(got, Next::Retry { due_at: at(want), not_before }, "{asked}");
        };
        check(0, 0, 100);
        check(99, 0, 100);
        check(101, 0, 101);
        check(600, 0, 600);
        check(86_400, 0, 600);
        let standing = Standing { attempt: 3, created_at: at(0), failing_since: None, ended_at: at(4990) };
        let reply = Reply::Status { status: 429, retry_after: Some(secs(60)) };
        let got = schedule().next(standing, reply, 1.0);
        assert_eq!(got, Next::Retry { due_at: at(5050), not_before: Some(at(5050)) }, "also past the end");
    }

    #[test]
    fn our_own_faults_wait_longer_the_longer_they_last() {
        let check = |ended_at: i64, roll: f64, want: i64| {
            let standing = Standing { attempt: 1, created_at: at(0), failing_since: None, ended_at: at(ended_at) };
            let got = schedule().next(standing, Reply::OwnFault, roll);
            assert_eq!(got, Next::Postpone { due_at: at(ended_at + want) }, "{ended_at} {roll}");
        };
        check(-5, 1.0, 30); // a clock that went back
        check(1, 1.0, 30);
        check(1, 0.0, 3);
        check(1000, 1.0, 100);
        check(900_000, 1.0, 300); // and never gives up
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        let check = |header: &str, want: Option<u64>| assert_eq!(retry_after(header, now), want.map(secs), "{header}");
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("99999999999999999999999999", Some(u64::from(u32::MAX)));
        check("18446744073709551615", Some(u64::from(u32::MAX)));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(37));
        check("Sun, 06 Nov 1994 08:48:37 GMT", None);
        check("Sun, 06 Nov 1994 08:49:00 GMT", None);
        check("", None);
        check("-5", None);
        check("1.5", None);
        check("soon", None);
    }

    proptest! {
        #[test]
        fn no_retry_falls_before_its_failure_and_the_schedule_ends(
            steps in prop::collection::vec(1_u64..100_000, 0..6),
            last_step in 10_000_u64..100_000,
            give_up_after in 0_u64..1_000_000,
            tries_min in 0_u32..5,
            floor in 0.05_f64..=1.0,
            began_after in 0_u64..2_000_000,
            rolls in prop::collection::vec(0.0_f64..=1.0, 1..40),
            asked in prop::collection::vec(prop::option::of(0_u64..10_000_000), 1..40),
        ) {
            let ms = Duration::from_millis;
            let schedule = Schedule {
                steps: steps.iter().copied().map(ms).collect(),
                last_step: ms(last_step),
                give_up_after: ms(give_up_after),
                tries_min,
                wait_floor: floor,
                retry_after_max: ms(50_000),
                disable_after: ms(1),
                own_fault_wait: (ms(1), ms(10)),
            };
            let created_at = at(0);
            let mut ended_at = created_at + ms(began_after);
            // The shortest waits that can fill the time, and the few tries that come whatever the time is.
            let attempts_max = give_up_after / (last_step / 20).max(1) + 6 + 5 + 2;
            for attempt in 1.. {
                prop_assert!(u64::from(attempt) <= attempts_max, "still going after {attempt}");
                let pick = attempt as usize - 1;
                let reply = Reply::Status { status: 503, retry_after: asked[pick % asked.len()].map(ms) };
                let standing = Standing { attempt, created_at, failing_since: None, ended_at };
                match schedule.next(standing, reply, rolls[pick % rolls.len()]) {
                    Next::Retry { due_at, .. } => {
                        prop_assert!(due_at > ended_at);
                        prop_assert!(due_at <= ended_at + ms(100_000));
                        ended_at = due_at;
                    }
                    Next::Exhausted { failing_since: None } => {
                        prop_assert!(attempt >= tries_min);
                        prop_assert!(ended_at >= created_at + ms(give_up_after));
                        break;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
        }
    }
}
