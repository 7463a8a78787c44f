//! Whether Tracker itself was awake while it waited for somebody else. Who is stopped for a while (by a debugger, a full machine, one
//! that moves to another host) finds all his time-outs run out when he wakes, and nobody but himself is to blame.

use std::time::Duration;

use super::look::Error;
use crate::clock::{Clock, Drift, SLACK};
use crate::drivers::{self, Kind};

/// How often whoever waits makes sure that he is awake.
const BEAT: Duration = Duration::from_secs(1);

/// Whoever missed this much slept. Longer than a busy machine keeps one waiting, shorter than any time-out that makes sense.
const NAP: Duration = Duration::from_secs(5);

/// Does something, and answers also with how long Tracker slept meanwhile, in one go; zero if it was awake throughout.
pub(super) async fn beside<T>(clock: &dyn Clock, work: impl Future<Output = T>) -> (T, Duration) {
    let mut pulse = Pulse { last: clock.steady(), drift: Drift::new(clock), slept: Duration::ZERO };
    tokio::pin!(work);
    loop {
        // Both may be over at once after a sleep: the last beat is counted in any case.
        match tokio::time::timeout(BEAT, &mut work).await {
            Ok(done) => {
                pulse.beat(clock);
                return (done, if pulse.slept < NAP { Duration::ZERO } else { pulse.slept });
            }
            Err(_) => pulse.beat(clock),
        }
    }
}

struct Pulse {
    last: Duration,
    drift: Drift,
    slept: Duration,
}

impl Pulse {
    fn beat(&mut self, clock: &dyn Clock) {
        let now = clock.steady();
        let mut missed = now.saturating_sub(self.last).saturating_sub(BEAT);
        self.last = now;
        // While a whole machine sleeps the steady clock stands still.
        if let Some(jump) = self.drift.jump(clock).filter(|jump| jump.is_positive()) {
            missed += jump.unsigned_abs().max(SLACK);
        }
        self.slept = self.slept.max(missed);
    }
}

/// What a call came to that failed: nobody is blamed for not answering one who slept. What was answered, was.
pub(super) fn blame(error: drivers::Error, slept: Duration) -> Error {
    match error.kind {
        Kind::TimedOut | Kind::Unavailable if !slept.is_zero() => Error::Slept { source: error, slept },
        _ => Error::Driver(error),
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::clock::FakeClock;

    #[tokio::test(start_paused = true)]
    async fn one_who_slept_is_told_from_one_who_waited() {
        let clock = FakeClock::at(Timestamp::UNIX_EPOCH);
        let check = async |turns: &dyn Fn(u64), expected: u64| {
            let work = async {
                for second in 0..40 {
                    turns(second);
                    let _ = tokio::time::timeout(BEAT, std::future::pending::<()>()).await;
                }
            };
            assert_eq!(beside(&clock, work).await.1, Duration::from_secs(expected));
        };
        let second = Duration::from_secs(1);
        check(&|_| clock.advance(second), 0).await;
        check(&|turn| clock.advance(if turn == 20 { 5 * second } else { second }), 0).await;
        check(&|turn| clock.advance(if turn == 20 { 31 * second } else { second }), 30).await;
        check(&|turn| clock.jump(SignedDuration::from_secs(if turn == 20 { 3_600 } else { 0 })), 3_600).await;
        check(&|turn| clock.jump(SignedDuration::from_secs(if turn == 20 { -3_600 } else { 0 })), 0).await;
    }

    #[test]
    fn who_answered_is_believed_even_by_one_who_slept() {
        let check = |kind: Kind, slept: u64, own: bool| {
            let error = blame(drivers::Error::new(kind, "no"), Duration::from_secs(slept));
            assert_eq!(matches!(error, Error::Slept { .. }), own, "{error}");
        };
        check(Kind::TimedOut, 30, true);
        check(Kind::Unavailable, 30, true);
        check(Kind::TimedOut, 0, false);
        check(Kind::Failed, 30, false);
        check(Kind::Denied, 30, false);
    }
}
