//! How fast a provider is asked: a budget of calls for each login, shared by those who look and those who are waited for. What
//! is decided is in [`Bucket`] (pure); [`Pace`] waits.
//!
//! Guarantees: those who look leave clients their reserve, and clients those who look their share, as `bucket.rs` says. Where a provider
//! throttles the rate falls, and rises again while it does not. What is under way at once is bounded for each login (of which clients
//! never have all), each provider and in all; logins that hang have no more of these than `places.rs` says.
//!
//! A login is a user *and* his password. One that the provider has not let in yet shows its password at a user's cost, who may be somebody
//! else: all such of a user share a small budget of their own. Whoever looks does so with credentials that were good when they were
//! stored.
//!
//! A look that failed and may pass is asked again, as `retry.rs` says; a client's call never is, as he can ask again himself.
//!
//! Accepted: clients' own calls may run into debt by a whole burst, as the budget is a part of what providers allow. Two logins of one
//! account have a budget each: whose account a login is is only known once it has called. What a provider shows to everybody it shows to
//! wrong credentials too, which then have a budget of their own, and a full one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use sha2::Sha256;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::bucket::{Bucket, Rate, Urgency};
use super::places::{self, Place, Places};
use super::retry::{self, Quota, Retries};
use super::{Error, Kind};
use crate::chance::Chance;
use crate::model::{Credentials, ExposeSecret as _};

/// `[drivers.pace]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Calls under way at once for one login. Clients have all but one of them.
    pub login_at_once: usize,
    /// To one provider. A quarter of them is for suspects: logins that got no answer last or a slow one, or are unknown to the provider;
    /// the rest is for all others.
    pub provider_at_once: usize,
    /// To one provider, calls that take longer than `slow_ms`: they count here and no more in `provider_at_once`. Suspects have a quarter.
    pub provider_slow_at_once: usize,
    /// In all: half of them for calls that have not taken `slow_ms` yet, half for those that have; a quarter of either for suspects.
    pub at_once: usize,
    /// A call that takes longer gives its place to the next. Milliseconds.
    pub slow_ms: u64,
    /// How long a call waits for its turn before it fails: as throttled when the login's budget is used up, as our own fault when there is
    /// no place. Milliseconds.
    pub wait_max_ms: u64,
    /// The part of a login's rate that those who look on their own get whatever clients ask. 0 to 0.8.
    pub looks_share: f64,
    /// The budget that all credentials of one user share that the provider has not let in yet.
    pub strangers: Rate,
    /// Calls under way at once with them.
    pub strangers_at_once: usize,
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
            provider_slow_at_once: 64,
            at_once: 256,
            slow_ms: 5_000,
            wait_max_ms: 20_000,
            looks_share: 0.25,
            strangers: Rate { per_second: 1.0, burst: 5.0 },
            strangers_at_once: 2,
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
            ("provider_slow_at_once", self.provider_slow_at_once),
            ("at_once", self.at_once),
            ("strangers_at_once", self.strangers_at_once),
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
        if !(self.looks_share > 0.0 && self.looks_share <= LOOKS_SHARE_MAX) {
            let share = self.looks_share;
            return Err(format!(
                "drivers.pace.looks_share is {share}: it must be above 0 and at most {LOOKS_SHARE_MAX}, as a fifth is for clients"
            ));
        }
        let rates = [
            ("ec2", self.ec2),
            ("openstack", self.openstack),
            ("deltacloud", self.deltacloud),
            ("strangers", self.strangers),
        ];
        for (name, rate) in rates {
            rate.check().map_err(|text| format!("drivers.pace.{name}.{text}"))?;
        }
        Ok(())
    }
}

/// What is asked more often than this keeps its unit from everything else.
const RETRIES_MAX: u32 = 10;
const LOOKS_SHARE_MAX: f64 = 0.8;
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

tokio::task_local! {
    static URGENCY: Urgency;
    /// Milliseconds.
    static WAITED: Arc<AtomicU64>;
}

/// Says how long calls in here waited for their turns, all of them together: what they took besides is the provider's.
pub async fn waited<T>(calls: impl Future<Output = T>) -> (T, Duration) {
    let waited = Arc::new(AtomicU64::new(0));
    let outcome = WAITED.scope(waited.clone(), calls).await;
    (outcome, Duration::from_millis(waited.load(Ordering::Relaxed)))
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
    /// Of digests; drawn when Tracker starts.
    secret: [u8; 32],
    all: Arc<Places>,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    logins: HashMap<Key, Login>,
    strangers: HashMap<User, Stranger>,
    providers: HashMap<String, Arc<Places>>,
}

/// Provider and name.
type User = (String, String);

/// A user's password stands here as what it makes of our secret: it can be compared, and not be read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    user: User,
    digest: [u8; 32],
}

impl Key {
    fn provider(&self) -> &str {
        &self.user.0
    }
}

struct Login {
    bucket: Bucket,
    quota: Quota,
    at_once: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    /// Held by the first of those who look and wait for their share.
    first: Arc<tokio::sync::Mutex<()>>,
    /// The provider has let it in.
    known: bool,
    refused_in_a_row: u32,
    /// The last call was not answered, or took long.
    hangs: bool,
}

/// All credentials of a user that the provider does not know.
struct Stranger {
    bucket: Bucket,
    at_once: Arc<Semaphore>,
}

/// A session may have ended, and its login still be good; then it is let in at the next call.
const REFUSALS_OF_THE_UNKNOWN: u32 = 2;

/// Leave to make one call.
pub(super) struct Turn {
    pace: Pace,
    rate: Rate,
    key: Key,
    stranger: bool,
    since: Instant,
    _login: Vec<OwnedSemaphorePermit>,
    _places: [Arc<Place>; 2],
}

impl Pace {
    pub(super) fn new(settings: &Settings, chance: Arc<Chance>) -> Self {
        let half = (settings.at_once / 2).max(1);
        let slow_after = Duration::from_millis(settings.slow_ms);
        Self {
            settings: settings.clone(),
            begin: Instant::now(),
            retries: settings.retrying(),
            secret: chance.bytes(),
            chance,
            all: Arc::new(Places::new(places::Bounds { at_once: half, slow_at_once: half, slow_after })),
            kept: Arc::default(),
        }
    }

    pub(super) fn of(&self, rate: Rate) -> Budget {
        Budget { pace: self.clone(), rate }
    }

    fn key(&self, provider: &str, credentials: &Credentials) -> Key {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        mac.update(credentials.password.expose_secret().as_bytes());
        let user = (provider.to_owned(), credentials.user.clone());
        Key { user, digest: mac.finalize().into_bytes().into() }
    }

    async fn turn(&self, rate: Rate, key: &Key) -> Result<Turn, Error> {
        let since = Instant::now();
        let turn = self.turn_from(since, rate, key).await;
        let waited = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let _outside_of_looks = WAITED.try_with(|sum| sum.fetch_add(waited, Ordering::Relaxed));
        turn
    }

    async fn turn_from(&self, since: Instant, rate: Rate, key: &Key) -> Result<Turn, Error> {
        let (provider, urgency) = (key.provider(), urgency());
        let longest = Duration::from_millis(self.settings.wait_max_ms);
        let end = since + longest;
        let paid = timeout_at(end, self.paid(key, rate, urgency, end)).await.unwrap_or(Err(longest));
        paid.map_err(|after| {
            let text = if self.is_strange(key, urgency) {
                "too many credentials that it does not know are shown for this user"
            } else {
                "this login has used up its budget of calls to the provider"
            };
            Error::new(Kind::Throttled { after: Some(after) }, format!("{provider}: {text}"))
        })?;
        let stranger = self.is_strange(key, urgency);
        let busy = |whose: &'static str| {
            move |_| {
                let text = format!(
                    "{provider}: nothing was asked, as Tracker has as many calls under way {whose} as it allows itself"
                );
                Error::new(Kind::Busy, text)
            }
        };
        // The narrowest first, so that nobody who waits for it keeps others from what is wide.
        let (own, of_provider) = self.bounds(key, rate, urgency, stranger);
        let mut login = Vec::with_capacity(own.len());
        for bound in own {
            let permit = timeout_at(end, bound.acquire_owned()).await.map_err(busy("for this login"))?;
            login.push(permit.expect("nobody closes it"));
        }
        let suspect = stranger || self.hangs(key);
        let whose = if suspect { "to this provider that may hang" } else { "to this provider" };
        let place = timeout_at(end, of_provider.place(suspect)).await.map_err(busy(whose))?;
        let in_all = timeout_at(end, self.all.place(suspect)).await.map_err(busy("in all"))?;
        let (pace, key, since) = (self.clone(), key.clone(), Instant::now());
        Ok(Turn { pace, rate, key, stranger, since, _login: login, _places: [place, in_all] })
    }

    /// Waits for the budget, if there is one; otherwise says how much longer that would have taken.
    async fn paid(&self, key: &Key, rate: Rate, urgency: Urgency, end: Instant) -> Result<(), Duration> {
        if rate.per_second == 0.0 {
            return Ok(());
        }
        if urgency == Urgency::Client {
            // Whoever waits as a stranger may be let in meanwhile.
            let take = |now| match self.is_strange(key, urgency) {
                true => self.with_stranger(key, now, |stranger| stranger.bucket.take(urgency, now)),
                false => self.with(key, rate, |login, now| login.bucket.take(urgency, now)),
            };
            return self.until(end, take).await;
        }
        // Whoever is more urgent passes by the others, as long as there is enough.
        if self.with(key, rate, |login, now| login.bucket.take(urgency, now)).is_ok() {
            return Ok(());
        }
        let first = self.with(key, rate, |login, _| login.first.clone());
        let _first = first.lock().await;
        self.until(end, |_| self.with(key, rate, |login, now| login.bucket.take_first(urgency, now))).await
    }

    async fn until(&self, end: Instant, take: impl Fn(Duration) -> Result<(), Duration>) -> Result<(), Duration> {
        loop {
            let Err(wait) = take(self.now()) else { return Ok(()) };
            if Instant::now() + wait > end {
                return Err(wait);
            }
            nap(wait).await;
        }
    }

    fn now(&self) -> Duration {
        self.begin.elapsed()
    }

    /// A client's credentials of which nobody knows whether they are any good.
    fn is_strange(&self, key: &Key, urgency: Urgency) -> bool {
        urgency == Urgency::Client && !self.kept().logins.get(key).is_some_and(|login| login.known)
    }

    fn hangs(&self, key: &Key) -> bool {
        self.kept().logins.get(key).is_some_and(|login| login.hangs)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nobody panics while holding budgets")
    }

    fn with<T>(&self, key: &Key, rate: Rate, act: impl FnOnce(&mut Login, Duration) -> T) -> T {
        let (now, settings) = (self.now(), &self.settings);
        let mut kept = self.kept();
        if kept.logins.len() >= settings.logins_max && !kept.logins.contains_key(key) {
            kept.logins.retain(|_, login| {
                login.bucket.refill(now);
                !login.bucket.is_at_rest() || Arc::strong_count(&login.at_once) > 1
            });
        }
        let some = |many: usize| Arc::new(Semaphore::new(many.min(Semaphore::MAX_PERMITS)));
        let login = kept.logins.entry(key.clone()).or_insert_with(|| Login {
            bucket: Bucket::full(rate, settings.looks_share, now),
            quota: Quota::full(&self.retries),
            at_once: some(settings.login_at_once),
            // One is for those who look.
            clients: some((settings.login_at_once - 1).max(1)),
            first: Arc::default(),
            known: false,
            refused_in_a_row: 0,
            hangs: false,
        });
        act(login, now)
    }

    fn with_stranger<T>(&self, key: &Key, now: Duration, act: impl FnOnce(&mut Stranger) -> T) -> T {
        let settings = &self.settings;
        let mut kept = self.kept();
        if kept.strangers.len() >= settings.logins_max && !kept.strangers.contains_key(&key.user) {
            kept.strangers.retain(|_, stranger| {
                stranger.bucket.refill(now);
                !stranger.bucket.is_at_rest() || Arc::strong_count(&stranger.at_once) > 1
            });
        }
        let stranger = kept.strangers.entry(key.user.clone()).or_insert_with(|| Stranger {
            bucket: Bucket::full(settings.strangers, settings.looks_share, now),
            at_once: Arc::new(Semaphore::new(settings.strangers_at_once.min(Semaphore::MAX_PERMITS))),
        });
        act(stranger)
    }

    /// What bounds the login's own calls, and those to its provider.
    fn bounds(&self, key: &Key, rate: Rate, urgency: Urgency, stranger: bool) -> (Vec<Arc<Semaphore>>, Arc<Places>) {
        let own = if stranger {
            self.with_stranger(key, self.now(), |stranger| vec![stranger.at_once.clone()])
        } else {
            self.with(key, rate, |login, _| match urgency {
                Urgency::Client => vec![login.clients.clone(), login.at_once.clone()],
                _ => vec![login.at_once.clone()],
            })
        };
        let settings = &self.settings;
        let mut kept = self.kept();
        if kept.providers.len() >= settings.logins_max {
            kept.providers.retain(|_, provider| Arc::strong_count(provider) > 1);
        }
        let provider = kept.providers.entry(key.provider().to_owned()).or_insert_with(|| {
            Arc::new(Places::new(places::Bounds {
                at_once: settings.provider_at_once,
                slow_at_once: settings.provider_slow_at_once,
                slow_after: Duration::from_millis(settings.slow_ms),
            }))
        });
        (own, provider.clone())
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
    /// [`Kind::Throttled`] when the login's budget is used up for long, [`Kind::Busy`] when there is no place.
    pub(super) async fn turn(&self) -> Result<Turn, Error> {
        let Budget { pace, rate } = &self.budget;
        pace.turn(*rate, &self.key).await
    }

    /// Takes in how a try went. Whether to ask again, after having waited. `failed`: why there is no answer, if there is none of use.
    pub(super) async fn again(&mut self, turn: Turn, failed: Option<Kind>) -> bool {
        let hung = turn.ended(failed);
        // While it waits others may ask.
        let stranger = turn.stranger;
        drop(turn);
        if stranger {
            return false;
        }
        let Budget { pace, rate } = &self.budget;
        let wait = failed.filter(|kind| self.may_repeat && !(hung && *kind == Kind::TimedOut)).and_then(|kind| {
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
        debug!(provider = self.key.provider(), "asked again in {} ms, as it came to {failed:?}", wait.as_millis());
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
            key: self.pace.key(provider, credentials),
            may_repeat: changes_nothing && urgency() != Urgency::Client,
            made: 0,
            paid: 0,
        }
    }
}

impl Turn {
    /// Takes in how the call went. Whether the one before it hung already.
    fn ended(&self, failed: Option<Kind>) -> bool {
        let Self { pace, rate, key, .. } = self;
        if self.stranger && failed.is_some() {
            if let Some(Kind::Throttled { after }) = failed
                && rate.per_second > 0.0
            {
                let now = pace.now();
                pace.with_stranger(key, now, |stranger| stranger.bucket.throttled(after, now));
            }
            return false;
        }
        let slow = self.since.elapsed() >= Duration::from_millis(pace.settings.slow_ms);
        pace.with(key, *rate, |login, now| {
            match failed {
                None => (login.known, login.refused_in_a_row) = (true, 0),
                Some(Kind::Denied) => {
                    login.refused_in_a_row = login.refused_in_a_row.saturating_add(1);
                    login.known &= login.refused_in_a_row < REFUSALS_OF_THE_UNKNOWN;
                }
                Some(Kind::Throttled { after }) if rate.per_second > 0.0 => login.bucket.throttled(after, now),
                Some(_) => {}
            }
            let hangs = slow || matches!(failed, Some(Kind::Unavailable | Kind::TimedOut));
            std::mem::replace(&mut login.hangs, hangs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 5.0, burst: 25.0 };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn pace(edit: impl FnOnce(&mut Settings)) -> Pace {
        let mut settings = Settings::default();
        edit(&mut settings);
        Pace::new(&settings, Arc::new(Chance::seeded(1)))
    }

    fn login(pace: &Pace, provider: &str, user: &str, password: &str) -> Key {
        pace.key(provider, &Credentials { user: user.to_owned(), password: password.to_owned().into() })
    }

    /// One that the provider has let in.
    async fn known(pace: &Pace, provider: &str, user: &str) -> Key {
        let key = login(pace, provider, user, "right");
        pace.turn(RATE, &key).await.unwrap().ended(None);
        key
    }

    /// Makes a call as soon as it may. How long it waited, in milliseconds.
    async fn call(pace: &Pace, key: &Key, failed: Option<Kind>) -> Result<u128, Kind> {
        let since = Instant::now();
        let turn = pace.turn(RATE, key).await.map_err(|error| error.kind)?;
        turn.ended(failed);
        Ok(since.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn calls_take_turns_and_give_up_in_time() {
        let pace = pace(|settings| settings.login_at_once = 3);
        let (a, b, free_a) = (known(&pace, "p", "a").await, known(&pace, "p", "b").await, login(&pace, "q", "a", "x"));
        let one = pace.turn(RATE, &a).await.unwrap();
        let _two = pace.turn(RATE, &a).await.unwrap();
        assert!(tokio::time::timeout(at(1_000), pace.turn(RATE, &a)).await.is_err(), "two of a client's at once");
        drop(within(Urgency::Rest, pace.turn(RATE, &a)).await.unwrap());
        pace.turn(RATE, &b).await.unwrap();
        drop(one);
        pace.turn(RATE, &a).await.unwrap();

        // Throttled so hard that the next turn is too far away.
        for _ in 0..20 {
            pace.turn(RATE, &b).await.unwrap().ended(Some(Kind::Throttled { after: None }));
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

    #[tokio::test(start_paused = true)]
    async fn a_stranger_with_a_wrong_password_uses_up_nothing_of_the_owners() {
        let pace = pace(|_| {});
        let owner = known(&pace, "p", "a").await;
        let begin = Instant::now();
        let mut asked = 0;
        for n in 0..400 {
            let wrong = login(&pace, "p", "a", &format!("wrong {}", n % 7));
            asked += usize::from(call(&pace, &wrong, Some(Kind::Denied)).await.is_ok());
        }
        let seconds = begin.elapsed().as_secs();
        assert!(asked as u64 <= seconds + 11, "ten, and one a second: {asked} in {seconds} s");
        for _ in 0..20 {
            assert_eq!(call(&pace, &owner, None).await, Ok(0));
        }
        assert_eq!(pace.kept().logins.len(), 1, "wrong passwords take no room");
        // Strangers by the dozen, each with a call that hangs.
        let hung: Vec<_> = futures_util::future::join_all((0..12).map(|n| {
            let (pace, wrong) = (&pace, login(&pace, "p", "a", &n.to_string()));
            async move { pace.turn(RATE, &wrong).await }
        }))
        .await;
        assert_eq!(hung.iter().filter(|turn| turn.is_ok()).count(), 2);
        assert_eq!(call(&pace, &owner, None).await, Ok(0));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_let_in_has_a_budget_of_his_own_from_then_on() {
        let pace = pace(|_| {});
        let key = login(&pace, "p", "a", "new");
        // Five, and as many in debt.
        for _ in 0..10 {
            assert_eq!(call(&pace, &key, Some(Kind::Unavailable)).await, Ok(0));
        }
        assert_eq!(call(&pace, &key, Some(Kind::Unavailable)).await, Ok(1_000));
        assert_eq!(call(&pace, &key, None).await, Ok(1_000));
        for _ in 0..25 {
            assert_eq!(call(&pace, &key, None).await, Ok(0));
        }
        // A session that ended is no stranger; a password that was withdrawn is.
        assert_eq!(call(&pace, &key, Some(Kind::Denied)).await, Ok(0));
        assert!(!pace.is_strange(&key, Urgency::Client));
        assert_eq!(call(&pace, &key, Some(Kind::Denied)).await, Ok(0));
        assert!(pace.is_strange(&key, Urgency::Client));
        assert!(!pace.is_strange(&key, Urgency::Rest), "what is stored was good");
    }

    #[tokio::test(start_paused = true)]
    async fn an_owners_clients_leave_those_who_look_their_share() {
        let pace = pace(|_| {});
        let owner = known(&pace, "p", "a").await;
        let clients = (0..12).map(|_| {
            let (pace, owner) = (pace.clone(), owner.clone());
            tokio::spawn(async move {
                loop {
                    let turn = pace.turn(RATE, &owner).await;
                    nap(at(30)).await;
                    drop(turn);
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        nap(at(30_000)).await;
        for urgency in [Urgency::Rest, Urgency::List, Urgency::Look, Urgency::Rest] {
            let waited = within(urgency, call(&pace, &owner, None)).await.unwrap();
            assert!(waited <= 1_000, "1 / (a quarter of 5 a second), and a call of a client's: {waited} ms");
        }
        clients.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn logins_that_hang_leave_the_others_their_places() {
        let pace = pace(|_| {});
        let users: Vec<Key> =
            futures_util::future::join_all((0..100).map(async |n: u32| known(&pace, "p", &n.to_string()).await)).await;
        let (hung, healthy) = users.split_at(60);
        // All begin to hang at once: the others wait until that shows.
        let turns: Vec<_> = futures_util::future::join_all(hung.iter().map(|key| pace.turn(RATE, key))).await;
        let begun = turns.iter().flatten().count();
        assert_eq!(begun, 12 + 48, "those that are slow make room");
        for turn in turns.into_iter().flatten() {
            turn.ended(Some(Kind::TimedOut));
        }
        // Now they are known for it.
        let again = futures_util::future::join_all(hung.iter().map(|key| pace.turn(RATE, key))).await;
        let errors: Vec<&Error> = again.iter().filter_map(|turn| turn.as_ref().err()).collect();
        assert_eq!(errors.len(), 60 - 4 - 16, "a quarter");
        assert!(errors.iter().all(|error| error.kind == Kind::Busy && error.text.contains("nothing was asked")));
        for key in healthy {
            assert_eq!(call(&pace, key, None).await, Ok(0));
        }
        drop(again);
        assert_eq!(call(&pace, &hung[0], None).await, Ok(0));
        assert!(!pace.hangs(&hung[0]));
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_said_how_long_calls_waited_for_themselves() {
        let pace = pace(|settings| settings.login_at_once = 1);
        let owner = known(&pace, "p", "a").await;
        let held = pace.turn(RATE, &owner).await.unwrap();
        let call = waited(async {
            let free = async {
                nap(at(3_000)).await;
                drop(held);
            };
            let (turn, ()) = tokio::join!(pace.turn(RATE, &owner), free);
            nap(at(7_000)).await;
            drop(turn);
        });
        assert_eq!(call.await.1, at(3_000));
    }
}
