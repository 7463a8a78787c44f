//! What a login may ask of its provider, and who of those that ask comes first. Pure. Instants are lengths of time since a beginning of
//! the caller's.
//!
//! Guarantees: those who look on their own leave a fifth of a full bucket to clients, but for one call, and clients may run into debt by a
//! whole burst besides. Whatever clients ask, those who look get [`Bucket`]'s share of the rate: the first of those that wait has its turn
//! after 1 / (share × rate) seconds at most, the second after twice that. A provider's word to come back later stands above it.

use std::time::Duration;

use serde::Deserialize;

/// How fast one kind of cloud is asked.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Calls a second for each login, in the long run. 0: no budget.
    pub per_second: f64,
    /// Calls that may come at once after a rest.
    pub burst: f64,
}

impl Rate {
    /// # Errors
    /// A sentence that says what would be right, without the setting's place.
    pub(super) fn check(self) -> Result<(), String> {
        let Self { per_second, burst } = self;
        if !(per_second.is_finite() && per_second >= 0.0) {
            return Err(format!("per_second is {per_second}: it must be 0 or more"));
        }
        if !(burst.is_finite() && burst >= 1.0) {
            return Err(format!("burst is {burst}: it must be at least 1"));
        }
        Ok(())
    }
}

/// Who asks, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A client waits for the answer.
    Client,
    /// A targeted look: something moves, was hinted, or may be gone.
    Look,
    /// The list of instances.
    List,
    /// All the rest.
    Rest,
}

impl Urgency {
    /// The part of a full bucket that has to stay in it.
    fn reserve(self) -> f64 {
        match self {
            Self::Client => 0.0,
            Self::Look => 0.2,
            Self::List => 0.3,
            Self::Rest => 0.4,
        }
    }
}

/// A token bucket that learns from being throttled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// What is allowed while nobody throttles.
    base: Rate,
    /// The part of the rate that those who look get whatever clients ask.
    looks_share: f64,
    tokens: f64,
    /// Of that part: what the first of those that wait may take, however little is in the bucket.
    kept: f64,
    at: Duration,
    /// The present rate; falls below the base where the provider throttles.
    per_second: f64,
    /// Those who look on their own wait until then.
    not_before: Duration,
}

/// What a throttled rate is multiplied by.
const SLOWER: f64 = 0.7;
/// The lowest rate, calls a second.
const SLOWEST: f64 = 0.1;
/// What of the base rate is regained in a second without being throttled: a tenth in ten seconds.
const REGAINED: f64 = 0.01;
/// As far as a provider's word may put off those who look.
const PUT_OFF_MAX: Duration = Duration::from_secs(900);
/// More is not kept for those who look: by so much they may go below their reserve.
const KEPT_MAX: f64 = 1.0;
/// Sums of so many parts are a hair off.
const HAIR: f64 = 1e-9;

impl Bucket {
    pub(super) fn full(rate: Rate, looks_share: f64, now: Duration) -> Self {
        Self {
            base: rate,
            looks_share,
            tokens: rate.burst,
            kept: KEPT_MAX,
            at: now,
            per_second: rate.per_second,
            not_before: Duration::ZERO,
        }
    }

    pub(super) fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.base.burst);
        self.kept = (self.kept + passed * self.per_second * self.looks_share).min(KEPT_MAX);
        self.per_second = (self.per_second + passed * REGAINED * self.base.per_second).min(self.base.per_second);
    }

    /// Takes a call's token, or says how long to wait for it.
    pub(super) fn take(&mut self, urgency: Urgency, now: Duration) -> Result<(), Duration> {
        self.refill(now);
        let burst = self.base.burst;
        let floor = match urgency {
            Urgency::Client => -burst,
            _ => urgency.reserve() * burst,
        };
        // A bucket smaller than its reserve would never serve anybody.
        self.take_if(urgency, (floor + 1.0).min(burst) - self.tokens, self.per_second)
    }

    /// As [`Bucket::take`], for the first of those who look and wait: what is kept for them is his as well.
    pub(super) fn take_first(&mut self, urgency: Urgency, now: Duration) -> Result<(), Duration> {
        let Err(wait) = self.take(urgency, now) else { return Ok(()) };
        let kept = self.take_if(urgency, 1.0 - self.kept, self.per_second * self.looks_share);
        match kept {
            Ok(()) => {
                self.kept -= 1.0;
                Ok(())
            }
            Err(kept_wait) => Err(wait.min(kept_wait)),
        }
    }

    fn take_if(&mut self, urgency: Urgency, lacking: f64, per_second: f64) -> Result<(), Duration> {
        let put_off = if urgency == Urgency::Client { Duration::ZERO } else { self.not_before.saturating_sub(self.at) };
        if lacking <= HAIR && put_off.is_zero() {
            self.tokens -= 1.0;
            return Ok(());
        }
        let refilled = Duration::from_secs_f64((lacking / per_second).clamp(0.0, PUT_OFF_MAX.as_secs_f64()));
        Err(put_off.max(refilled).max(Duration::from_millis(1)))
    }

    pub(super) fn throttled(&mut self, after: Option<Duration>, now: Duration) {
        self.refill(now);
        self.per_second = (self.per_second * SLOWER).max(SLOWEST.min(self.base.per_second));
        (self.tokens, self.kept) = (self.tokens.min(0.0), 0.0);
        self.not_before = self.not_before.max(now + after.unwrap_or_default().min(PUT_OFF_MAX));
    }

    /// Nothing would be lost with it.
    pub(super) fn is_at_rest(&self) -> bool {
        self.tokens >= self.base.burst && self.per_second >= self.base.per_second
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: Rate = Rate { per_second: 5.0, burst: 25.0 };
    const SHARE: f64 = 0.25;

    fn full() -> Bucket {
        Bucket::full(RATE, SHARE, at(0))
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn taken(bucket: &mut Bucket, urgency: Urgency, now: Duration) -> usize {
        taken_at_most(bucket, urgency, now, 1_000)
    }

    fn taken_at_most(bucket: &mut Bucket, urgency: Urgency, now: Duration, most: usize) -> usize {
        (0..most).take_while(|_| bucket.take(urgency, now).is_ok()).count()
    }

    #[test]
    fn a_fifth_stays_for_clients_and_the_less_urgent_wait_first() {
        let check = |urgency: Urgency, expected: usize| {
            assert_eq!(taken(&mut full(), urgency, at(0)), expected, "{urgency:?}");
        };
        check(Urgency::Client, 50);
        check(Urgency::Look, 20);
        check(Urgency::List, 17);
        check(Urgency::Rest, 15);
        let mut bucket = full();
        assert_eq!(taken(&mut bucket, Urgency::Rest, at(0)), 15);
        assert_eq!(taken(&mut bucket, Urgency::Look, at(0)), 5);
        assert_eq!(bucket.take(Urgency::Look, at(0)), Err(at(200)));
        assert_eq!(bucket.take(Urgency::Look, at(200)), Ok(()));
        assert_eq!(taken(&mut bucket, Urgency::Client, at(200)), 30, "also into debt");
    }

    #[test]
    fn in_the_long_run_there_are_five_a_second() {
        let mut bucket = full();
        let calls: usize = (0..600).map(|n| taken(&mut bucket, Urgency::List, at(100 * n))).sum();
        assert!((310..=320).contains(&calls), "17 and 5 for each second: {calls}");
        let first = |bucket: &mut Bucket, n: u64| {
            (0..9).take_while(|_| bucket.take_first(Urgency::List, at(100 * n)).is_ok()).count()
        };
        let mut bucket = full();
        let calls: usize = (0..600).map(|n| first(&mut bucket, n)).sum();
        assert!((310..=330).contains(&calls), "what is kept for looks is of the same: {calls}");
    }

    #[test]
    fn who_waits_to_look_has_his_turn_while_clients_are_in_debt() {
        let mut bucket = full();
        assert_eq!(taken(&mut bucket, Urgency::Client, at(0)), 50);
        assert_eq!(bucket.take_first(Urgency::Rest, at(0)), Ok(()), "one is kept");
        assert_eq!(bucket.take_first(Urgency::Rest, at(0)), Err(at(800)), "1 / (a quarter of 5 a second)");
        assert_eq!(bucket.take_first(Urgency::Rest, at(800)), Ok(()));
    }

    #[test]
    fn being_throttled_slows_down_to_a_floor_and_wears_off() {
        let mut bucket = full();
        let rates: Vec<f64> = (0..14)
            .map(|_| {
                bucket.throttled(None, at(0));
                (bucket.per_second * 100.0).round() / 100.0
            })
            .collect();
        assert_eq!((rates[0], rates[1], rates[13]), (3.5, 2.45, 0.1));
        assert!(bucket.take(Urgency::Client, at(0)).is_ok(), "a client may still try");
        assert!(bucket.take_first(Urgency::List, at(0)).is_err());
        bucket.refill(at(10_000));
        assert!((bucket.per_second - 0.6).abs() < 1e-6, "a tenth of the base in ten seconds: {}", bucket.per_second);
        bucket.refill(at(1_000_000));
        assert!(bucket.is_at_rest());
    }

    #[test]
    fn who_looks_on_his_own_waits_as_long_as_the_provider_says() {
        let mut bucket = full();
        bucket.throttled(Some(at(60_000)), at(0));
        assert_eq!(bucket.take(Urgency::Rest, at(30_000)), Err(at(30_000)));
        assert_eq!(bucket.take_first(Urgency::Rest, at(30_000)), Err(at(30_000)), "also what is kept");
        assert_eq!(bucket.take(Urgency::Rest, at(60_000)), Ok(()));
        bucket.throttled(Some(Duration::from_secs(1_000_000)), at(60_000));
        assert_eq!(bucket.take(Urgency::Rest, at(60_000 + 900_000)), Ok(()), "but not for days");
    }

    /// Clients come at these pauses, each time so many, before one who waits to look.
    fn clients() -> impl Strategy<Value = Vec<(u64, usize)>> {
        prop::collection::vec((0u64..400, 0usize..80), 1..40)
    }

    proptest! {
        /// Whatever clients ask, the first that waits has his turn in time, and so has the next after him.
        #[test]
        fn clients_never_starve_who_looks(
            load in clients(), per_second in 0.5f64..20.0, burst in 1.0f64..60.0, share in 0.05f64..0.8,
        ) {
            let mut bucket = Bucket::full(Rate { per_second, burst }, share, at(0));
            let bound = Duration::from_secs_f64(1.0 / (per_second * share)) + at(2);
            let (mut now, mut since) = (at(0), at(0));
            for (pause, many) in load {
                now += at(pause);
                let end = now + at(pause);
                while now <= end {
                    // Clients are there first each time.
                    let _taken = taken_at_most(&mut bucket, Urgency::Client, now, many);
                    let turn = bucket.take_first(Urgency::Rest, now);
                    prop_assert!(turn.is_ok() || now - since <= bound, "{:?}", now - since);
                    match turn {
                        Ok(()) => since = now,
                        Err(wait) => now += wait.min(at(50)),
                    }
                }
                since = since.max(now);
            }
        }

        /// Whatever is looked at, clients find what is theirs, and their debt besides.
        #[test]
        fn who_looks_never_takes_what_clients_may_want(
            load in prop::collection::vec((0u64..2_000, 0usize..40, 1usize..4), 1..100),
        ) {
            let (mut bucket, mut now) = (full(), at(0));
            for (pause, many, who) in load {
                now += at(pause);
                let urgency = [Urgency::Look, Urgency::List, Urgency::Rest][who - 1];
                let _taken = (0..many).take_while(|_| bucket.take_first(urgency, now).is_ok()).count();
                let left = taken(&mut bucket.clone(), Urgency::Client, now);
                prop_assert!(left >= 25 + 5 - 1, "{}", left);
            }
        }
    }
}
