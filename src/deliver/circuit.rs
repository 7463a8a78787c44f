//! How a receiver is doing, and how much may be sent to it at once. Pure.
//!
//! A receiver that works has a window that grows with every success and halves with every failure. One that fails several
//! times in a row is left alone, for longer each time, and then probed by one delivery. When that goes well, what waits is
//! sent at a rate that starts low and doubles: everybody who had to wait comes at once, and the receiver has just got up.

use std::time::Duration;

use jiff::Timestamp;

/// The numbers of all circuits.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Tries under way at once while nothing is known of a receiver.
    pub(super) window_first: usize,
    /// Tries under way at once to a receiver that keeps up.
    pub(super) window_max: usize,
    /// Failures in a row that open the circuit.
    pub(super) failures: u32,
    /// The first wait of an open circuit; each further one is twice as long.
    pub(super) open: Duration,
    pub(super) open_max: Duration,
    /// Tries at once after an outage.
    pub(super) ramp_first: u32,
    /// How long until twice as many have been made.
    pub(super) ramp_step: Duration,
    /// A receiver that answers within this gets its next tries claimed ahead.
    pub(super) fast: Duration,
    /// So many times its window.
    pub(super) ahead: usize,
    /// A receiver that takes longer than this to answer gets no slots that others need, however well it answers.
    pub(super) slow: Duration,
}

/// How a try went, for the circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// 2xx.
    Good,
    /// It answered, though not what we wished for.
    Alive,
    /// No answer, or one that says that it cannot answer now, and for how long.
    Bad(Option<Duration>),
    /// Nobody but us is to blame.
    Ours,
}

/// After this many steps a ramp is over: it has let through a million.
const RAMP_STEPS: u32 = 17;

/// One that takes turns being quick and slow is slow.
const SLOW_FOR: u32 = 8;

#[derive(Clone, Debug)]
pub(super) struct Circuit {
    window: usize,
    /// In a row.
    failures: u32,
    /// Left alone until then, for the how-manieth time in a row.
    open: Option<(Timestamp, u32)>,
    ramp: Option<Ramp>,
    /// It has answered since we know it.
    proven: bool,
    fast: bool,
    /// How many quick answers it owes until it is believed again.
    slow: u32,
}

#[derive(Clone, Debug)]
struct Ramp {
    since: Timestamp,
    begun: u32,
}

impl Circuit {
    pub(super) fn new(rules: &Rules) -> Self {
        Self { window: rules.window_first, failures: 0, open: None, ramp: None, proven: false, fast: false, slow: 0 }
    }

    /// How many tries may be under way now.
    pub(super) fn room(&self, rules: &Rules, now: Timestamp, under_way: usize) -> usize {
        let room = match self.open {
            Some((until, _)) if rules.is_ahead(until, now) => 0,
            Some(_) => 1,
            None => self.window,
        };
        let room = room.saturating_sub(under_way);
        self.ramp.as_ref().map_or(room, |ramp| room.min(ramp.left(rules, now)))
    }

    /// How many more than there is room for may be claimed ahead.
    pub(super) fn ahead(&self, rules: &Rules) -> usize {
        let keeps_up = self.fast && self.open.is_none() && self.ramp.is_none();
        if keeps_up { self.window.saturating_mul(rules.ahead) } else { 0 }
    }

    /// When there will be room that there is not now, if time alone makes it.
    pub(super) fn opens_at(&self, rules: &Rules, now: Timestamp) -> Option<Timestamp> {
        if let Some((until, _)) = self.open {
            return rules.is_ahead(until, now).then_some(until);
        }
        self.ramp.as_ref().filter(|ramp| ramp.left(rules, now) == 0).map(|ramp| ramp.next_at(rules))
    }

    /// Nothing is known of it, or nothing good: it gets no slots that others need. One that takes long holds each slot for
    /// long, so with a few of its like it would hold them all.
    pub(super) fn is_suspect(&self) -> bool {
        !self.proven || self.failures > 0 || self.open.is_some() || self.slow > 0
    }

    pub(super) fn is_fast(&self) -> bool {
        self.fast
    }

    /// Since when it works again, while what it missed is sent.
    pub(super) fn ramping_since(&self, rules: &Rules, now: Timestamp) -> Option<Timestamp> {
        self.ramp.as_ref().filter(|ramp| !ramp.is_over(rules, now)).map(|ramp| ramp.since)
    }

    /// Neither left alone nor just up again.
    pub(super) fn is_steady(&self) -> bool {
        self.open.is_none() && self.ramp.is_none()
    }

    /// It may be forgotten without harm.
    pub(super) fn is_plain(&self) -> bool {
        self.is_steady() && self.failures == 0
    }

    pub(super) fn began(&mut self) {
        if let Some(ramp) = &mut self.ramp {
            ramp.begun = ramp.begun.saturating_add(1);
        }
    }

    /// A try ended after `elapsed`. `true`: the receiver works again after an outage. `roll`, 0 to 1, is drawn by the caller.
    pub(super) fn ended(&mut self, rules: &Rules, sign: Sign, elapsed: Duration, now: Timestamp, roll: f64) -> bool {
        if self.ramp.as_ref().is_some_and(|ramp| ramp.is_over(rules, now)) {
            self.ramp = None;
        }
        match sign {
            Sign::Ours => false,
            Sign::Good | Sign::Alive => {
                self.failures = 0;
                self.proven = true;
                self.fast = elapsed <= rules.fast;
                self.slow = if elapsed > rules.slow { SLOW_FOR } else { self.slow.saturating_sub(1) };
                if sign == Sign::Good && self.slow == 0 {
                    self.window = (self.window + 1).min(rules.window_max);
                }
                let recovered = self.open.take().is_some();
                if recovered {
                    self.ramp = Some(Ramp { since: now, begun: 0 });
                }
                recovered
            }
            Sign::Bad(asked) => {
                self.failures = self.failures.saturating_add(1);
                self.fast = false;
                self.window = (self.window / 2).max(rules.window_first);
                let times = match self.open {
                    // Begun before it was opened: what it says is known.
                    Some((until, _)) if rules.is_ahead(until, now) => return false,
                    Some((_, times)) => times.saturating_add(1),
                    None if self.ramp.is_some() || asked.is_some() || self.failures >= rules.failures => 1,
                    None => return false,
                };
                self.ramp = None;
                self.open = Some((now + rules.pause(times, asked, roll), times));
                false
            }
        }
    }
}

impl Rules {
    /// A pause is no longer than its bound: what lies further ahead was set before the clock was set back.
    fn is_ahead(&self, until: Timestamp, now: Timestamp) -> bool {
        now < until && until <= now + self.open_max
    }

    /// Between half of a step and the whole. What the receiver asks for counts, within the bound: others may have hooks there.
    fn pause(&self, times: u32, asked: Option<Duration>, roll: f64) -> Duration {
        let doubled = self.open.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(self.open_max);
        let drawn = whole(doubled.mul_f64(0.5 + roll.clamp(0.0, 1.0) / 2.0));
        drawn.max(asked.unwrap_or_default().min(self.open_max))
    }
}

/// In milliseconds, which is what clocks and the store count in, and at least one.
fn whole(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1))
}

impl Ramp {
    fn steps(&self, rules: &Rules, now: Timestamp) -> f64 {
        let since = Duration::try_from(now.duration_since(self.since)).unwrap_or_default();
        since.as_secs_f64() / rules.ramp_step.as_secs_f64()
    }

    /// Also when the clock was set back behind its beginning, or it would last until the clock is there again.
    fn is_over(&self, rules: &Rules, now: Timestamp) -> bool {
        now < self.since || self.steps(rules, now) >= f64::from(RAMP_STEPS)
    }

    /// `ramp_first` at once, and twice as many with each step.
    fn left(&self, rules: &Rules, now: Timestamp) -> usize {
        if self.is_over(rules, now) {
            return usize::MAX;
        }
        let allowed = f64::from(rules.ramp_first) * self.steps(rules, now).exp2();
        // At most 2^17 times a u32, whole and not negative.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just above")]
        let allowed = allowed as u64;
        usize::try_from(allowed.saturating_sub(u64::from(self.begun))).unwrap_or(usize::MAX)
    }

    /// When the next may begin.
    fn next_at(&self, rules: &Rules) -> Timestamp {
        let steps =
            ((f64::from(self.begun) + 1.0) / f64::from(rules.ramp_first)).log2().clamp(0.0, f64::from(RAMP_STEPS));
        // Rounded up, or it would be a moment too early.
        self.since + whole(rules.ramp_step.mul_f64(steps)) + Duration::from_millis(1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rules() -> Rules {
        Rules {
            window_first: 4,
            window_max: 16,
            failures: 3,
            open: Duration::from_secs(5),
            open_max: Duration::from_secs(60),
            ramp_first: 10,
            ramp_step: Duration::from_secs(1),
            fast: Duration::from_millis(100),
            ahead: 2,
            slow: Duration::from_secs(1),
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    /// What happens to a circuit, and the room that there is then for a receiver with nothing under way.
    fn room_after(signs: &[(i64, Sign)], now: i64) -> usize {
        let mut circuit = Circuit::new(&rules());
        for (ms, sign) in signs {
            circuit.ended(&rules(), *sign, Duration::ZERO, at(*ms), 1.0);
        }
        circuit.room(&rules(), at(now), 0)
    }

    const BAD: Sign = Sign::Bad(None);

    #[test]
    fn who_takes_long_gets_no_more_and_no_slots_that_others_need() {
        let mut circuit = Circuit::new(&rules());
        let mut takes = |ms: u64| {
            circuit.ended(&rules(), Sign::Good, Duration::from_millis(ms), at(0), 1.0);
            (circuit.is_suspect(), circuit.room(&rules(), at(0), 0))
        };
        assert_eq!(takes(1000), (false, 5));
        assert_eq!(takes(1001), (true, 5));
        assert_eq!(takes(15_000), (true, 5));
        for _ in 1..SLOW_FOR {
            assert_eq!(takes(10), (true, 5));
        }
        assert_eq!(takes(10), (false, 6));
    }

    #[test]
    fn a_window_grows_with_success_and_shrinks_with_failure() {
        let check = |signs: &[Sign], want: usize| {
            let signs: Vec<_> = signs.iter().map(|sign| (0, *sign)).collect();
            assert_eq!(room_after(&signs, 0), want, "{signs:?}");
        };
        check(&[], 4);
        check(&[Sign::Good, Sign::Good], 6);
        check(&[Sign::Good; 50], 16);
        check(&[Sign::Alive, Sign::Alive], 4);
        check(&[Sign::Ours; 9], 4);
        check(&[&[Sign::Good; 50][..], &[BAD]].concat(), 8);
        check(&[&[Sign::Good; 50][..], &[BAD, Sign::Alive, BAD]].concat(), 4);
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_probe_decides() {
        let check =
            |signs: &[(i64, Sign)], now: i64, want: usize| assert_eq!(room_after(signs, now), want, "{signs:?} {now}");
        let down = [(0, BAD), (0, BAD), (1000, BAD)];
        check(&down[..2], 0, 4);
        check(&[(0, BAD), (0, BAD), (0, Sign::Good), (0, BAD)], 0, 4);
        check(&down, 5999, 0);
        check(&down, 6000, 1);
        // Others that began before it was opened tell nothing new.
        let more = |rest: &[(i64, Sign)]| [&down[..], rest].concat();
        check(&more(&[(2000, BAD), (3000, BAD)]), 6000, 1);
        // The probe failed: twice as long, to the bound.
        check(&more(&[(6000, BAD)]), 15_999, 0);
        check(&more(&[(6000, BAD)]), 16_000, 1);
        let long: Vec<_> = (1..20).map(|n| (n * 100_000, BAD)).collect();
        check(&more(&long), 1_959_999, 0);
        check(&more(&long), 1_960_000, 1);
        // It is asked for, so it is given; not for ever.
        let asked = |seconds| Sign::Bad(Some(Duration::from_secs(seconds)));
        check(&[(0, asked(30))], 29_999, 0);
        check(&[(0, asked(30))], 30_000, 1);
        check(&[(0, asked(86_400))], 60_000, 1);
        // An answer of any kind is a sign of life.
        check(&more(&[(6000, Sign::Alive)]), 6000, 4);
    }

    #[test]
    fn recovery_is_a_ramp() {
        let mut circuit = Circuit::new(&rules());
        for _ in 0..3 {
            circuit.ended(&rules(), BAD, Duration::ZERO, at(0), 1.0);
        }
        assert_eq!(circuit.opens_at(&rules(), at(1)), Some(at(5000)));
        assert!(circuit.is_suspect());
        assert!(circuit.ended(&rules(), Sign::Good, Duration::ZERO, at(5000), 1.0), "it works again");
        assert!(!circuit.is_suspect() && !circuit.is_plain());
        let mut sent = vec![];
        for second in 0..8 {
            let mut count = 0;
            for ms in (0..1000).step_by(10) {
                let now = at(5000 + second * 1000 + ms);
                while circuit.room(&rules(), now, 0) > 0 {
                    circuit.began();
                    circuit.ended(&rules(), Sign::Good, Duration::ZERO, now, 1.0);
                    count += 1;
                }
            }
            sent.push(count);
        }
        assert_eq!(sent, [19, 20, 40, 79, 159, 318, 636, 1271]);
        let now = at(5000 + 8000);
        assert!(circuit.opens_at(&rules(), at(12_990)).is_some_and(|next| next > at(12_990) && next < now));
        // One failure on the way and it is left alone again.
        circuit.ended(&rules(), BAD, Duration::ZERO, now, 1.0);
        assert_eq!(circuit.room(&rules(), now, 0), 0);
    }

    #[test]
    fn a_clock_that_is_set_back_leaves_nobody_alone_for_long() {
        let mut circuit = Circuit::new(&rules());
        for _ in 0..3 {
            circuit.ended(&rules(), BAD, Duration::ZERO, at(3_600_000), 1.0);
        }
        assert_eq!(circuit.room(&rules(), at(3_600_000), 0), 0);
        assert_eq!((circuit.room(&rules(), at(0), 0), circuit.opens_at(&rules(), at(0))), (1, None));
        circuit.ended(&rules(), Sign::Good, Duration::ZERO, at(3_600_000), 1.0);
        for _ in 0..10 {
            circuit.began();
        }
        assert_eq!(circuit.room(&rules(), at(3_600_000), 0), 0, "the ramp has begun");
        assert_eq!((circuit.room(&rules(), at(0), 0), circuit.opens_at(&rules(), at(0))), (5, None));
    }

    proptest! {
        /// However it goes: there is room, or a time when there will be, or something under way whose end decides; and what is
        /// said to open does open then.
        #[test]
        fn it_never_stays_shut(
            steps in prop::collection::vec((0..4_u8, 0..20_000_i64, 0.0..1.0), 1..80),
        ) {
            let rules = rules();
            let mut circuit = Circuit::new(&rules);
            let mut now = at(0);
            let mut under_way = 0;
            for (kind, wait, roll) in steps {
                while circuit.room(&rules, now, under_way) > 0 && under_way < 3 {
                    circuit.began();
                    under_way += 1;
                }
                now += Duration::from_millis(wait.unsigned_abs());
                if under_way > 0 {
                    under_way -= 1;
                    let sign = [Sign::Good, Sign::Alive, BAD, Sign::Ours][usize::from(kind)];
                    circuit.ended(&rules, sign, Duration::ZERO, now, roll);
                }
                prop_assert!(circuit.room(&rules, now, 0) <= rules.window_max);
                if circuit.room(&rules, now, 0) == 0 {
                    let next = circuit.opens_at(&rules, now);
                    prop_assert!(next.is_some_and(|next| next > now && circuit.room(&rules, next, 0) > 0), "{circuit:?}");
                }
            }
        }
    }
}
