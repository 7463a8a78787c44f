//! Whether a look that failed is asked again at once, and who pays for it. Pure.
//!
//! Guarantees: what comes of a call decides whether it is asked again, never how long the list is that it is a page of. Retries
//! that helped cost nothing; of those that did not, a login makes no more than one for two calls that were answered, one for ten that
//! were not, and [`Retries::in_vain_max`] besides. So where nothing answers a tenth more is asked than without retries, and where
//! half of the calls fail retries go on.

use std::time::Duration;

use super::Kind;

/// The part of `[drivers.pace]` that says how looks are asked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retries {
    /// Of one call.
    pub(super) most: u32,
    /// The longest wait before the first; it doubles with each further one.
    pub(super) wait: Duration,
    pub(super) wait_max: Duration,
    pub(super) in_vain_max: u32,
}

/// Of a retry, in tenths of one.
const PRICE: u32 = 10;

/// What a call earns that was not answered in the end. Where nothing answers, one in ten is asked again.
const EARNED_IN_VAIN: u32 = 1;

/// What a call earns that was answered. Where half of them fail it pays for the retries of those that are lost all the same.
const EARNED: u32 = 5;

/// A time-out has held its place for long, and what is overloaded is not helped by being asked again.
const PRICE_OF_A_TIMEOUT: u32 = 2 * PRICE;

impl Retries {
    /// How long to wait before the call is asked again for the `nth` time, from 0; `None`: it is not. `roll`, 0 to 1, spreads the waits over
    /// all of their length, so that those who failed together do not come back together.
    pub(super) fn wait(&self, kind: Kind, nth: u32, roll: f64) -> Option<Duration> {
        let at_least = match kind {
            Kind::Throttled { after } => after.unwrap_or_default(),
            _ => Duration::ZERO,
        };
        // What is not to come before long is left to the next look.
        if !may_pass(kind) || nth >= self.most || at_least > self.wait_max {
            return None;
        }
        let doubled = self.wait.saturating_mul(1u32.checked_shl(nth).unwrap_or(u32::MAX)).min(self.wait_max);
        Some(doubled.mul_f64(roll).max(at_least))
    }
}

/// Whether it was no answer, so that the same call may be answered a moment later.
pub(super) fn may_pass(kind: Kind) -> bool {
    match kind {
        Kind::Unavailable | Kind::TimedOut | Kind::Throttled { .. } | Kind::Busy => true,
        Kind::Denied
        | Kind::Forbidden
        | Kind::NotFound
        | Kind::Failed
        | Kind::Unsupported
        | Kind::Invalid
        | Kind::Conflict => false,
    }
}

/// The retries that a login may still make in vain.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    tenths: u32,
}

impl Quota {
    pub(super) fn full(retries: &Retries) -> Self {
        Self { tenths: retries.in_vain_max.saturating_mul(PRICE) }
    }

    /// Takes the price of asking again after `kind`; `None`: it cannot be paid.
    pub(super) fn pay(&mut self, kind: Kind) -> Option<u32> {
        let price = if kind == Kind::TimedOut { PRICE_OF_A_TIMEOUT } else { PRICE };
        self.tenths = self.tenths.checked_sub(price)?;
        Some(price)
    }

    /// A call is over. What its retries had cost comes back if it was `answered` in the end.
    pub(super) fn over(&mut self, answered: bool, paid: u32, retries: &Retries) {
        let earned = if answered { paid + EARNED } else { EARNED_IN_VAIN };
        self.tenths = (self.tenths + earned).min(retries.in_vain_max.saturating_mul(PRICE));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RETRIES: Retries =
        Retries { most: 2, wait: Duration::from_secs(1), wait_max: Duration::from_secs(20), in_vain_max: 10 };

    fn throttled(seconds: u64) -> Kind {
        Kind::Throttled { after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn only_what_may_pass_is_asked_again_twice_at_most_and_no_sooner_than_it_was_told() {
        let check = |kind, nth, roll, expected: Option<u64>| {
            assert_eq!(RETRIES.wait(kind, nth, roll), expected.map(Duration::from_millis), "{kind:?} {nth} {roll}");
        };
        for kind in [Kind::Unavailable, Kind::TimedOut, Kind::Throttled { after: None }] {
            check(kind, 0, 0.0, Some(0));
            check(kind, 0, 1.0, Some(1_000));
            check(kind, 1, 1.0, Some(2_000));
            check(kind, 2, 1.0, None);
        }
        check(throttled(7), 0, 0.5, Some(7_000));
        check(throttled(20), 1, 0.5, Some(20_000));
        check(throttled(21), 0, 0.5, None);
        for kind in [
            Kind::Denied,
            Kind::Forbidden,
            Kind::NotFound,
            Kind::Failed,
            Kind::Unsupported,
            Kind::Invalid,
            Kind::Conflict,
        ] {
            check(kind, 0, 0.5, None);
        }
        let patient = Retries { most: 40, ..RETRIES };
        assert_eq!(patient.wait(Kind::Unavailable, 39, 1.0), Some(patient.wait_max));
    }

    /// Calls, of which each try comes to that. Answers with the number of tries, and how many calls came to nothing.
    fn asked(quota: &mut Quota, mut tries: impl FnMut() -> Option<Kind>, calls: usize) -> (usize, usize) {
        let (mut made, mut lost) = (0, 0);
        for _ in 0..calls {
            let mut paid = 0;
            for nth in 0.. {
                made += 1;
                let failed = tries();
                let price = failed.and_then(|kind| RETRIES.wait(kind, nth, 0.5).and_then(|_| quota.pay(kind)));
                let Some(price) = price else {
                    lost += usize::from(failed.is_some());
                    quota.over(failed.is_none(), paid, &RETRIES);
                    break;
                };
                paid += price;
            }
        }
        (made, lost)
    }

    #[test]
    fn where_every_other_call_is_throttled_none_is_lost() {
        let (mut quota, mut n) = (Quota::full(&RETRIES), 0);
        let every_other = || {
            n += 1;
            (n % 2 == 1).then_some(Kind::Throttled { after: None })
        };
        assert_eq!(asked(&mut quota, every_other, 1_000), (2_000, 0));
    }

    #[test]
    fn where_nothing_answers_a_tenth_more_is_asked() {
        let check = |kind, expected| {
            // That it was well for long gives no right to more.
            let mut quota = Quota::full(&RETRIES);
            asked(&mut quota, || None, 600);
            assert_eq!(asked(&mut quota, || Some(kind), 1_000), (expected, 1_000), "{kind:?}");
        };
        check(Kind::Unavailable, 1_000 + 10 + 99);
        check(Kind::TimedOut, 1_000 + 5 + 49);
        check(Kind::Denied, 1_000);
    }

    proptest! {
        /// Whatever is answered, retries in vain are no more than half of the calls answered, a tenth of the others, and ten.
        #[test]
        fn retries_in_vain_are_paid_by_calls_that_were_answered(story in prop::collection::vec(0u8..4, 1..600)) {
            let kinds = [None, Some(Kind::Unavailable), Some(Kind::TimedOut), Some(Kind::Throttled { after: None })];
            let mut quota = Quota::full(&RETRIES);
            let (mut earned, mut in_vain) = (100, 0);
            let mut story = story.into_iter().map(|n| kinds[usize::from(n)]).peekable();
            while story.peek().is_some() {
                let (mut last, mut many) = (None, 0);
                let one = || {
                    last = story.next().flatten();
                    many += 1;
                    last
                };
                let (_, lost) = asked(&mut quota, one, 1);
                if lost == 0 {
                    earned += EARNED;
                } else {
                    earned += EARNED_IN_VAIN;
                    in_vain += 10 * (many - 1);
                }
                prop_assert!(in_vain <= earned, "{} of {}", in_vain, earned);
            }
        }
    }
}
