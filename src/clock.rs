//! The only file that asks the system for the time. What is stored and compared comes from here, so that tests can turn
//! the hands; what is merely waited for is tokio's business.
//!
//! There are two clocks. The one on the wall is what the store keeps and the wire shows; whoever sets it makes it jump. The steady one
//! says how much time went by, and nothing else. What one gained on the other is how a jump is found ([`Drift`]).

use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Wall-clock time: it may jump, also backwards.
    fn now(&self) -> Timestamp;

    /// How long it is since some moment before. Never goes back, whoever sets the clock; may stand still while the machine sleeps.
    fn steady(&self) -> Duration;
}

/// When this process first asked.
static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The machine's clock, cut to whole milliseconds, which is what the store keeps and the wire shows.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that the lint points to")]
        let now = SystemTime::now();
        whole_ms(Timestamp::try_from(now).expect("the system clock is within the years 0 to 9999"))
    }

    fn steady(&self) -> Duration {
        BEGUN.elapsed()
    }
}

impl SystemClock {
    /// Microseconds since 1970, for measuring across processes of one machine. Never stored, never shown to a client.
    pub fn micros() -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the one file that the lint points to")]
        let now = SystemTime::now();
        Timestamp::try_from(now).expect("the system clock is within the years 0 to 9999").as_microsecond()
    }
}

/// How much the wall clock may gain or lose between two comparisons and still be steered, not set.
pub const SLACK: Duration = Duration::from_secs(2);

/// How far apart two readings of the steady clock may be for what was read between them to be of one moment.
const MOMENT: Duration = Duration::from_millis(100);

/// What the wall clock gains on the steady one.
#[derive(Clone, Copy, Debug)]
pub struct Drift {
    wall: Timestamp,
    steady: Duration,
}

impl Drift {
    pub fn new(clock: &dyn Clock) -> Self {
        // Whoever is stopped just between the two would find a jump that was none.
        loop {
            let before = clock.steady();
            let wall = clock.now();
            let steady = clock.steady();
            if steady.saturating_sub(before) < MOMENT {
                return Self { wall, steady };
            }
        }
    }

    /// By how much the wall clock was set since this was asked last, ahead or back; `None`: by no more than [`SLACK`]. A machine that
    /// slept looks like one whose clock was set ahead.
    pub fn jump(&mut self, clock: &dyn Clock) -> Option<SignedDuration> {
        let now = Self::new(clock);
        let gained = now.wall.duration_since(self.wall) - signed(now.steady.saturating_sub(self.steady));
        *self = now;
        (gained.unsigned_abs() > SLACK).then_some(gained)
    }
}

/// How long a clock that was set ahead has to stay so until what is old by it alone is thrown away.
pub const SETTLES_IN: Duration = Duration::from_secs(15 * 60);

/// How far the wall clock was set ahead of late, and may be found to be wrong.
#[derive(Clone, Debug)]
pub struct Leaps {
    drift: Drift,
    /// When, by the steady clock, and how far. Back counts against ahead.
    lately: Vec<(Duration, SignedDuration)>,
}

/// A clock that is set all the time is not to fill the memory.
const LEAPS_MAX: usize = 100;

impl Leaps {
    pub fn new(clock: &dyn Clock) -> Self {
        Self { drift: Drift::new(clock), lately: Vec::new() }
    }

    /// Nobody knows whether the clock was set while Tracker did not run; so much time went by since by the clock.
    pub fn doubt(&mut self, clock: &dyn Clock, ahead: Duration) {
        self.note(clock.steady(), signed(ahead));
    }

    /// What is to be taken off the age of everything.
    pub fn ahead(&mut self, clock: &dyn Clock) -> Duration {
        let jump = self.drift.jump(clock);
        let now = clock.steady();
        if let Some(jump) = jump {
            self.note(now, jump);
        }
        self.lately.retain(|(at, _)| now.saturating_sub(*at) < SETTLES_IN);
        let ahead = self.lately.iter().fold(SignedDuration::ZERO, |sum, (_, jump)| sum.saturating_add(*jump));
        Duration::try_from(ahead).unwrap_or_default()
    }

    fn note(&mut self, at: Duration, jump: SignedDuration) {
        if self.lately.len() >= LEAPS_MAX {
            self.lately.remove(0);
        }
        self.lately.push((at, jump));
    }
}

fn signed(span: Duration) -> SignedDuration {
    SignedDuration::try_from(span).unwrap_or(SignedDuration::MAX)
}

/// A clock that stands still until told to move.
pub struct FakeClock(Mutex<Hands>);

struct Hands {
    wall: Timestamp,
    steady: Duration,
}

impl FakeClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(Hands { wall: whole_ms(now), steady: Duration::ZERO }))
    }

    /// Time goes by.
    pub fn advance(&self, by: Duration) {
        let mut hands = self.hands();
        hands.wall += by;
        hands.steady += by;
    }

    /// Time goes by until then. If then is past, the clock is set back.
    pub fn set(&self, now: Timestamp) {
        let mut hands = self.hands();
        let passed = Duration::try_from(now.duration_since(hands.wall)).unwrap_or_default();
        hands.wall = whole_ms(now);
        hands.steady += passed;
    }

    /// Somebody sets the clock, ahead or back, and no time goes by.
    pub fn jump(&self, by: SignedDuration) {
        self.hands().wall += by;
    }

    fn hands(&self) -> std::sync::MutexGuard<'_, Hands> {
        self.0.lock().expect("nobody panics while holding the hands")
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        self.hands().wall
    }

    fn steady(&self) -> Duration {
        self.hands().steady
    }
}

fn whole_ms(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).expect("a timestamp cut to milliseconds is still one")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_told_from_time_that_goes_by() {
        let clock = FakeClock::at(Timestamp::UNIX_EPOCH);
        let mut drift = Drift::new(&clock);
        let mut check = |turn: &dyn Fn(), expected: Option<i64>| {
            turn();
            assert_eq!(drift.jump(&clock), expected.map(SignedDuration::from_secs));
            assert_eq!(drift.jump(&clock), None, "it is said once");
        };
        check(&|| {}, None);
        check(&|| clock.advance(Duration::from_secs(40)), None);
        check(&|| clock.jump(SignedDuration::from_secs(3_600)), Some(3_600));
        check(&|| clock.jump(SignedDuration::from_secs(-3_600)), Some(-3_600));
        check(&|| clock.jump(SignedDuration::from_secs(2)), None);
        clock.advance(Duration::from_secs(5));
        check(&|| clock.jump(SignedDuration::from_secs(-30)), Some(-30));
    }

    #[test]
    fn a_leap_ahead_is_believed_when_it_stays() {
        let clock = FakeClock::at(Timestamp::UNIX_EPOCH);
        let mut leaps = Leaps::new(&clock);
        let mut check = |turn: &dyn Fn(), expected: u64| {
            turn();
            assert_eq!(leaps.ahead(&clock), Duration::from_secs(expected));
        };
        let jump = |seconds| clock.jump(SignedDuration::from_secs(seconds));
        check(&|| clock.advance(Duration::from_secs(90_000)), 0);
        check(&|| jump(3_600), 3_600);
        check(&|| jump(-3_600), 0);
        check(&|| jump(3_600), 3_600);
        check(&|| clock.advance(Duration::from_secs(899)), 3_600);
        check(&|| clock.advance(Duration::from_secs(1)), 0);
        check(&|| jump(-3_600), 0);
        for _ in 0..1_000 {
            check(&|| jump(-3), 0);
        }
        clock.advance(SETTLES_IN);
        leaps.doubt(&clock, Duration::from_secs(70));
        assert_eq!(leaps.ahead(&clock), Duration::from_secs(70));
    }
}
