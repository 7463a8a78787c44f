//! How fast a provider is asked: a budget of calls for each login, shared by those who look and those who are waited for. What
//! is decided is in [`Bucket`] (pure); [`Pace`] waits.
//!
//! Guarantees: nobody who looks on his own takes what clients may want, and the less urgent wait first. Where a provider throttles
//! the rate falls, and rises again while it does not. What is under way at once is bounded for each login, each provider and in all.
//!
//! A look that failed and may pass is asked again, as `retry.rs` says; a client's call never is, as he can ask again himself.
//!
//! Accepted: clients' own calls may run into debt by a whole burst, as the budget is a part of what providers allow; those who look
//! pay it back. Two logins of one account have a budget each: whose account a login is is only known once it has called.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::debug;

use super::retry::{self, Quota, Retries};
use super::{Error, Kind};
use crate::chance::Chance;
use crate::model::Credentials;

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

/// `[drivers.pace]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Calls under way at once for one login.
    pub login_at_once: usize,
    /// To one provider.
    pub provider_at_once: usize,
    /// In all.
    pub at_once: usize,
    /// How long a call waits for its turn before it fails as throttled. Milliseconds.
    pub wait_max_ms: u64,
    /// Logins whose budgets are remembered; of more those are forgotten that rested longest.
    pub logins_max: usize,
    /// How often a look is asked again at once that was not answered or throttled: each call of it, be it a page of a list.
    pub retries: u32,
    /// The longest wait before the first of these; it doubles with each further one. Milliseconds.
    pub retry_wait_ms: u64,
    /// The longest wait of all. A provider that says to come back later than that is not asked again before the next look. Milliseconds.
    pub retry_wait_max_ms: u64,
    /// Retries that a login may make in vain; beyond that, one for two calls that are answered and one for ten that are not. After a
    /// time-out each counts twice.
    pub retries_in_vain_max: u32,
    /// A quarter of what EC2 allows an account for its `Describe` calls.
    pub ec2: Rate,
    pub openstack: Rate,
    pub deltacloud: Rate,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            login_at_once: 4,
            provider_at_once: 16,
            at_once: 256,
            wait_max_ms: 20_000,
            logins_max: 20_000,
            retries: 2,
            retry_wait_ms: 1_000,
            retry_wait_max_ms: 20_000,
            retries_in_vain_max: 10,
            ec2: Rate { per_second: 5.0, burst: 25.0 },
            openstack: Rate { per_second: 10.0, burst: 20.0 },
            deltacloud: Rate { per_second: 10.0, burst: 20.0 },
        }
    }
}

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in [
            ("login_at_once", self.login_at_once),
            ("provider_at_once", self.provider_at_once),
            ("at_once", self.at_once),
            ("logins_max", self.logins_max),
        ] {
            if value == 0 {
                return Err(format!("drivers.pace.{name} is 0: it must be at least 1"));
            }
        }
        if self.retries > RETRIES_MAX {
            return Err(format!("drivers.pace.retries is {}: it must be at most {RETRIES_MAX}", self.retries));
        }
        if self.retry_wait_max_ms > RETRY_WAIT_LIMIT_MS {
            let ms = self.retry_wait_max_ms;
            return Err(format!("drivers.pace.retry_wait_max_ms is {ms}: it must be at most {RETRY_WAIT_LIMIT_MS}"));
        }
        if self.retry_wait_ms > self.retry_wait_max_ms {
            let (ms, most) = (self.retry_wait_ms, self.retry_wait_max_ms);
            return Err(format!("drivers.pace.retry_wait_ms is {ms}: it must be at most retry_wait_max_ms, {most}"));
        }
        for (name, rate) in [("ec2", self.ec2), ("openstack", self.openstack), ("deltacloud", self.deltacloud)] {
            rate.check().map_err(|text| format!("drivers.pace.{name}.{text}"))?;
        }
        Ok(())
    }
}

/// What is asked more often than this keeps its unit from everything else.
const RETRIES_MAX: u32 = 10;
/// A look that waits for longer is better made anew. Milliseconds.
const RETRY_WAIT_LIMIT_MS: u64 = 60_000;

impl Settings {
    fn retrying(&self) -> Retries {
        Retries {
            most: self.retries,
            wait: Duration::from_millis(self.retry_wait_ms),
            wait_max: Duration::from_millis(self.retry_wait_max_ms),
            in_vain_max: self.retries_in_vain_max,
        }
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

tokio::task_local! {
    static URGENCY: Urgency;
}

/// Calls made in here are as urgent as that; elsewhere they are a client's.
pub async fn within<T>(urgency: Urgency, calls: impl Future<Output = T>) -> T {
    URGENCY.scope(urgency, calls).await
}

/// As [`within`], where calls are nobody's but ours already; a client's stay a client's.
pub async fn raised<T>(urgency: Urgency, calls: impl Future<Output = T>) -> T {
    match URGENCY.try_with(|urgency| *urgency) {
        Ok(now) if now > urgency => within(urgency, calls).await,
        _ => calls.await,
    }
}

/// A token bucket that learns from being throttled. Instants are lengths of time since a beginning of the caller's.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// What is allowed while nobody throttles.
    base: Rate,
    tokens: f64,
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

impl Bucket {
    fn full(rate: Rate, now: Duration) -> Self {
        Self { base: rate, tokens: rate.burst, at: now, per_second: rate.per_second, not_before: Duration::ZERO }
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.base.burst);
        self.per_second = (self.per_second + passed * REGAINED * self.base.per_second).min(self.base.per_second);
    }

    /// Takes a call's token, or says how long to wait for it.
    fn take(&mut self, urgency: Urgency, now: Duration) -> Result<(), Duration> {
        self.refill(now);
        let burst = self.base.burst;
        let floor = match urgency {
            Urgency::Client => -burst,
            _ => urgency.reserve() * burst,
        };
        let put_off = if urgency == Urgency::Client { Duration::ZERO } else { self.not_before.saturating_sub(now) };
        // A bucket smaller than its reserve would never serve anybody.
        let lacking = (floor + 1.0).min(burst) - self.tokens;
        if lacking <= 0.0 && put_off.is_zero() {
            self.tokens -= 1.0;
            return Ok(());
        }
        let refilled = Duration::from_secs_f64((lacking / self.per_second).clamp(0.0, PUT_OFF_MAX.as_secs_f64()));
        Err(put_off.max(refilled).max(Duration::from_millis(1)))
    }

    fn throttled(&mut self, after: Option<Duration>, now: Duration) {
        self.refill(now);
        self.per_second = (self.per_second * SLOWER).max(SLOWEST.min(self.base.per_second));
        self.tokens = self.tokens.min(0.0);
        self.not_before = self.not_before.max(now + after.unwrap_or_default().min(PUT_OFF_MAX));
    }

    /// Nothing would be lost with it.
    fn is_at_rest(&self) -> bool {
        self.tokens >= self.base.burst && self.per_second >= self.base.per_second
    }
}

fn urgency() -> Urgency {
    URGENCY.try_with(|urgency| *urgency).unwrap_or(Urgency::Client)
}

#[expect(clippy::disallowed_methods, reason = "a call waits for its turn here and nowhere else")]
async fn nap(wait: Duration) {
    tokio::time::sleep(wait).await;
}

/// Shared by all drivers.
#[derive(Clone)]
pub(super) struct Pace {
    settings: Settings,
    begin: Instant,
    retries: Retries,
    chance: Arc<Chance>,
    all: Arc<Semaphore>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    logins: HashMap<Key, Login>,
    providers: HashMap<String, Arc<Semaphore>>,
}

/// Provider and user.
type Key = (String, String);

fn key(provider: &str, credentials: &Credentials) -> Key {
    (provider.to_owned(), credentials.user.clone())
}

struct Login {
    bucket: Bucket,
    quota: Quota,
    at_once: Arc<Semaphore>,
}

/// Leave to make one call.
pub(super) struct Turn {
    pace: Pace,
    rate: Rate,
    key: Key,
    _under_way: [OwnedSemaphorePermit; 3],
}

impl Pace {
    pub(super) fn new(settings: &Settings, chance: Arc<Chance>) -> Self {
        Self {
            settings: settings.clone(),
            begin: Instant::now(),
            retries: settings.retrying(),
            chance,
            all: Arc::new(Semaphore::new(settings.at_once.min(Semaphore::MAX_PERMITS))),
            kept: Arc::default(),
        }
    }

    pub(super) fn of(&self, rate: Rate) -> Budget {
        Budget { pace: self.clone(), rate }
    }

    async fn turn(&self, rate: Rate, key: &Key) -> Result<Turn, Error> {
        let provider = &key.0;
        let longest = Duration::from_millis(self.settings.wait_max_ms);
        let late = |after: Duration| {
            let text = format!("{provider}: this login has used up its budget of calls to the provider");
            Error::new(Kind::Throttled { after: Some(after) }, text)
        };
        let turn = async {
            self.paid(key, rate, longest).await.map_err(late)?;
            // The narrowest first, so that nobody who waits for it keeps others from what is wide.
            let (login, provider) = self.bounds(key, rate);
            let acquire = |bound: Arc<Semaphore>| async move { bound.acquire_owned().await.expect("nobody closes it") };
            let under_way = [acquire(login).await, acquire(provider).await, acquire(self.all.clone()).await];
            Ok(Turn { pace: self.clone(), rate, key: key.clone(), _under_way: under_way })
        };
        tokio::time::timeout(longest, turn).await.unwrap_or_else(|_| Err(late(longest)))
    }

    async fn paid(&self, key: &Key, rate: Rate, longest: Duration) -> Result<(), Duration> {
        if rate.per_second == 0.0 {
            return Ok(());
        }
        let urgency = urgency();
        let end = self.now() + longest;
        loop {
            let Err(wait) = self.with(key, rate, |login, now| login.bucket.take(urgency, now)) else { return Ok(()) };
            if self.now() + wait > end {
                return Err(wait);
            }
            nap(wait).await;
        }
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    fn with<T>(&self, key: &Key, rate: Rate, act: impl FnOnce(&mut Login, Duration) -> T) -> T {
        let now = self.now();
        let mut kept = self.kept.lock().expect("nobody panics while holding budgets");
        if kept.logins.len() >= self.settings.logins_max && !kept.logins.contains_key(key) {
            kept.logins.retain(|_, login| {
                login.bucket.refill(now);
                !login.bucket.is_at_rest() || Arc::strong_count(&login.at_once) > 1
            });
        }
        let login = kept.logins.entry(key.clone()).or_insert_with(|| Login {
            bucket: Bucket::full(rate, now),
            quota: Quota::full(&self.retries),
            at_once: Arc::new(Semaphore::new(self.settings.login_at_once.min(Semaphore::MAX_PERMITS))),
        });
        act(login, now)
    }

    fn bounds(&self, key: &Key, rate: Rate) -> (Arc<Semaphore>, Arc<Semaphore>) {
        self.with(key, rate, |_, _| ());
        let mut kept = self.kept.lock().expect("nobody panics while holding budgets");
        let login = kept.logins.get(key).map(|login| login.at_once.clone());
        let some = |many: usize| Arc::new(Semaphore::new(many.min(Semaphore::MAX_PERMITS)));
        if kept.providers.len() >= self.settings.logins_max {
            kept.providers.retain(|_, provider| Arc::strong_count(provider) > 1);
        }
        let provider = kept.providers.entry(key.0.clone()).or_insert_with(|| some(self.settings.provider_at_once));
        (login.unwrap_or_else(|| some(self.settings.login_at_once)), provider.clone())
    }
}

/// One call, and how often it is asked.
pub(super) struct Tries {
    budget: Budget,
    key: Key,
    /// It changes nothing, and is nobody's who could ask again himself.
    may_repeat: bool,
    made: u32,
    paid: u32,
}

impl Tries {
    /// Waits until the call may be made. To be held until it is answered.
    ///
    /// # Errors
    /// [`Kind::Throttled`] when that takes too long.
    pub(super) async fn turn(&self) -> Result<Turn, Error> {
        let Budget { pace, rate } = &self.budget;
        pace.turn(*rate, &self.key).await
    }

    /// Takes in how a try went. Whether to ask again, after having waited. `failed`: why there is no answer, if there is none of use.
    pub(super) async fn again(&mut self, turn: Turn, failed: Option<Kind>) -> bool {
        if let Some(Kind::Throttled { after }) = failed {
            turn.throttled(after);
        }
        // While it waits others may ask.
        drop(turn);
        let Budget { pace, rate } = &self.budget;
        let wait = failed.filter(|_| self.may_repeat).and_then(|kind| {
            let wait = pace.retries.wait(kind, self.made, pace.chance.roll())?;
            let price = pace.with(&self.key, *rate, |login, _| login.quota.pay(kind))?;
            Some((wait, price))
        });
        let Some((wait, price)) = wait else {
            let answered = !failed.is_some_and(retry::may_pass);
            pace.with(&self.key, *rate, |login, _| login.quota.over(answered, self.paid, &pace.retries));
            return false;
        };
        self.made += 1;
        self.paid += price;
        debug!(provider = self.key.0, "asked again in {} ms, as it came to {failed:?}", wait.as_millis());
        nap(wait).await;
        true
    }
}

/// Of one kind of cloud.
#[derive(Clone)]
pub(super) struct Budget {
    pace: Pace,
    rate: Rate,
}

impl Budget {
    /// A call that is to be made. `changes_nothing`: it may be sent twice.
    pub(super) fn tries(&self, provider: &str, credentials: &Credentials, changes_nothing: bool) -> Tries {
        Tries {
            budget: self.clone(),
            key: key(provider, credentials),
            may_repeat: changes_nothing && urgency() != Urgency::Client,
            made: 0,
            paid: 0,
        }
    }
}

impl Turn {
    fn throttled(&self, after: Option<Duration>) {
        let rate = self.rate;
        if rate.per_second > 0.0 {
            self.pace.with(&self.key, rate, |login, now| login.bucket.throttled(after, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 5.0, burst: 25.0 };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn taken(bucket: &mut Bucket, urgency: Urgency, now: Duration) -> usize {
        (0..1_000).take_while(|_| bucket.take(urgency, now).is_ok()).count()
    }

    #[test]
    fn a_fifth_stays_for_clients_and_the_less_urgent_wait_first() {
        let check = |urgency: Urgency, expected: usize| {
            assert_eq!(taken(&mut Bucket::full(RATE, at(0)), urgency, at(0)), expected, "{urgency:?}");
        };
        check(Urgency::Client, 50);
        check(Urgency::Look, 20);
        check(Urgency::List, 17);
        check(Urgency::Rest, 15);
        let mut bucket = Bucket::full(RATE, at(0));
        assert_eq!(taken(&mut bucket, Urgency::Rest, at(0)), 15);
        assert_eq!(taken(&mut bucket, Urgency::Look, at(0)), 5);
        assert_eq!(bucket.take(Urgency::Look, at(0)), Err(at(200)));
        assert_eq!(bucket.take(Urgency::Look, at(200)), Ok(()));
        assert_eq!(taken(&mut bucket, Urgency::Client, at(200)), 30, "also into debt");
    }

    #[test]
    fn in_the_long_run_there_are_five_a_second() {
        let mut bucket = Bucket::full(RATE, at(0));
        let calls: usize = (0..600).map(|n| taken(&mut bucket, Urgency::List, at(100 * n))).sum();
        assert!((310..=320).contains(&calls), "17 and 5 for each second: {calls}");
    }

    #[test]
    fn being_throttled_slows_down_to_a_floor_and_wears_off() {
        let mut bucket = Bucket::full(RATE, at(0));
        let rates: Vec<f64> = (0..14)
            .map(|_| {
                bucket.throttled(None, at(0));
                (bucket.per_second * 100.0).round() / 100.0
            })
            .collect();
        assert_eq!((rates[0], rates[1], rates[13]), (3.5, 2.45, 0.1));
        assert!(bucket.take(Urgency::Client, at(0)).is_ok(), "a client may still try");
        assert!(bucket.take(Urgency::List, at(0)).is_err());
        bucket.refill(at(10_000));
        assert!((bucket.per_second - 0.6).abs() < 1e-6, "a tenth of the base in ten seconds: {}", bucket.per_second);
        bucket.refill(at(1_000_000));
        assert!(bucket.is_at_rest());
    }

    #[test]
    fn who_looks_on_his_own_waits_as_long_as_the_provider_says() {
        let mut bucket = Bucket::full(RATE, at(0));
        bucket.throttled(Some(at(60_000)), at(0));
        assert_eq!(bucket.take(Urgency::Rest, at(30_000)), Err(at(30_000)));
        assert_eq!(bucket.take(Urgency::Rest, at(60_000)), Ok(()));
        bucket.throttled(Some(Duration::from_secs(1_000_000)), at(60_000));
        assert_eq!(bucket.take(Urgency::Rest, at(60_000 + 900_000)), Ok(()), "but not for days");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_take_turns_and_give_up_in_time() {
        let pace = Pace::new(&Settings { login_at_once: 2, ..Settings::default() }, Arc::new(Chance::seeded(1)));
        let key = |provider: &str, user: &str| (provider.to_owned(), user.to_owned());
        let (a, b, free_a) = (key("p", "a"), key("p", "b"), key("q", "a"));
        let one = pace.turn(RATE, &a).await.unwrap();
        let _two = pace.turn(RATE, &a).await.unwrap();
        assert!(tokio::time::timeout(at(1_000), pace.turn(RATE, &a)).await.is_err(), "two at once");
        pace.turn(RATE, &b).await.unwrap();
        drop(one);
        pace.turn(RATE, &a).await.unwrap();

        // Throttled so hard that the next turn is too far away.
        for _ in 0..20 {
            pace.turn(RATE, &b).await.unwrap().throttled(None);
        }
        let refused = within(Urgency::Rest, pace.turn(RATE, &b)).await.err().unwrap();
        assert!(matches!(refused.kind, Kind::Throttled { after: Some(_) }), "{refused}");
        // Somebody else's budget is his own.
        within(Urgency::Rest, pace.turn(RATE, &a)).await.unwrap();
        // No budget, no wait.
        let free = Rate { per_second: 0.0, burst: 1.0 };
        for _ in 0..1_000 {
            drop(within(Urgency::Rest, pace.turn(free, &free_a)).await.unwrap());
        }
    }
}
