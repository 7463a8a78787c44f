//! The only file that asks the system for the time. What is stored and compared comes from here, so that tests can turn
//! the hands; what is merely waited for is tokio's business.

use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

/// Tells the time. Wall-clock time: it may jump, also backwards.
pub trait Clock: Send + Sync {
    fn now(&self) -> Timestamp;
}

/// The machine's clock, cut to whole milliseconds, which is what the store keeps and the wire shows.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that the lint points to")]
        let now = SystemTime::now();
        whole_ms(Timestamp::try_from(now).expect("the system clock is within the years 0 to 9999"))
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

/// A clock that stands still until told to move.
pub struct FakeClock(Mutex<Timestamp>);

impl FakeClock {
    pub fn at(now: Timestamp) -> Self {
        Self(Mutex::new(whole_ms(now)))
    }

    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().expect("nobody panics while holding the hands");
        *now += by;
    }

    pub fn set(&self, now: Timestamp) {
        *self.0.lock().expect("nobody panics while holding the hands") = whole_ms(now);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("nobody panics while holding the hands")
    }
}

fn whole_ms(at: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(at.as_millisecond()).expect("a timestamp cut to milliseconds is still one")
}
