//! What was last read of providers, in memory: many clients that ask for the same thing within seconds cost one call, and
//! what was seen lately can be shown while a provider cannot answer.
//!
//! Guarantees: what one login was shown is kept for that login alone, so that nobody sees more than his own provider
//! would show him; once a provider refuses a login, nothing that was read with it is shown again. While one read is under
//! way others for the same thing join it. Whatever moves an account (an action, a change seen by the poller, a hook set)
//! makes older reads of it out of date at once, and so are reads under way; of a member that was itself acted on, or found
//! missing, nothing older is shown even while the provider is away. Kept are at most [`Settings::members_max`] members.
//!
//! Accepted: for [`Settings::max_age_ms`] a password that was withdrawn still reads what it read before. A login whose
//! account nobody has asked for yet heeds the moves of every account at its provider, which costs it calls.
//!
//! Absent on purpose: time (instants come in), asking providers (a future comes in), what is shown (api).

mod moves;
mod settings;
mod touched;

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use jiff::Timestamp;
use moka::sync::Cache;

pub use moves::Owner;
pub use settings::Settings;

use self::moves::{Moves, Position};
use self::touched::Touched;
use crate::drivers::Error;
use crate::model::AccountKey;

/// Stands for a login: a keyed digest of driver, provider, user and password.
pub type LoginDigest = [u8; 32];

/// What is read: all of a collection, or one of its members.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct What {
    pub login: LoginDigest,
    pub collection: &'static str,
    /// `None`: all of it.
    pub id: Option<String>,
}

/// What was read, and when the provider was asked for it and had answered.
#[derive(Debug)]
pub struct Read<T> {
    pub asked_at: Timestamp,
    pub answered_at: Timestamp,
    pub found: T,
    /// What it counts for in the bound: members, each as often as it may come to be held. 0: it is not kept.
    pub weight: u32,
}

type Outcome = BoxFuture<'static, Result<Kept, Error>>;

/// A read of any type, with where its login and account stood before.
#[derive(Clone)]
struct Kept {
    read: Arc<dyn Any + Send + Sync>,
    asked_at: Timestamp,
    weight: u32,
    owner: Owner,
    position: Position,
    /// Rises with every read that begins, whatever the clock does.
    number: u64,
}

/// A read under way. Those who wait for it hold it: when the last of them hangs up it is given up.
struct Flight {
    began_at: Timestamp,
    position: Position,
    number: u64,
    outcome: WeakShared<Outcome>,
}

type Flights = Arc<Mutex<HashMap<What, Flight>>>;

/// See the room.
pub struct Reads {
    max_age: Duration,
    kept: Cache<What, Kept>,
    flights: Flights,
    numbers: AtomicU64,
    moves: Mutex<Moves>,
    touched: Touched,
}

impl Reads {
    pub fn new(settings: &Settings) -> Self {
        let stale = Duration::from_secs(settings.stale_seconds);
        // An id may be long, and is held as well.
        let weight = |what: &What, kept: &Kept| {
            let id = u32::try_from(what.id.as_ref().map_or(0, String::len) / 1_000).unwrap_or(u32::MAX);
            kept.weight.saturating_add(id)
        };
        Self {
            max_age: Duration::from_millis(settings.max_age_ms),
            kept: Cache::builder().weigher(weight).max_capacity(settings.members_max).time_to_live(stale).build(),
            flights: Flights::default(),
            numbers: AtomicU64::new(1),
            moves: Mutex::default(),
            touched: Touched::new(stale),
        }
    }

    /// What was read lately enough, if nothing has moved since.
    pub fn fresh<T: Send + Sync + 'static>(&self, what: &What, now: Timestamp) -> Option<Arc<Read<T>>> {
        let kept = self.kept.get(what)?;
        let stands =
            self.is_young(kept.asked_at, now) && held(&self.moves).position(&what.login, &kept.owner) == kept.position;
        stands.then(|| typed(&kept.read))
    }

    /// What was last read, however long ago it was, unless the login was refused since.
    pub fn last<T: Send + Sync + 'static>(&self, what: &What) -> Option<Arc<Read<T>>> {
        let kept = self.kept.get(what)?;
        let refused = held(&self.moves).refusals(&what.login) != kept.position.refusals();
        (!refused).then(|| typed(&kept.read))
    }

    /// Whether what was seen of a member at `seen_at` may still be shown: nobody acted on it since, or found it missing.
    pub fn is_good(
        &self,
        owner: &Owner,
        login: &LoginDigest,
        collection: &'static str,
        id: &str,
        seen_at: Timestamp,
    ) -> bool {
        self.touched.at(owner, login, collection, id).is_none_or(|touched_at| touched_at < seen_at)
    }

    /// Reads anew, or joins a read of the same thing that has just begun.
    ///
    /// # Errors
    /// Those of `read`, told to all who joined it.
    pub async fn read<T: Send + Sync + 'static>(
        &self,
        what: What,
        now: Timestamp,
        owner: Owner,
        read: impl Future<Output = Result<Read<T>, Error>> + Send + 'static,
    ) -> Result<Arc<Read<T>>, Error> {
        let position = held(&self.moves).position(&what.login, &owner);
        let joined = {
            let flights = held(&self.flights);
            let flight = flights.get(&what);
            let flight = flight.filter(|flight| flight.position == position && self.is_young(flight.began_at, now));
            flight.and_then(|flight| flight.outcome.upgrade())
        };
        let flight = joined.unwrap_or_else(|| self.take_off(what, now, (owner, position), read));
        flight.await.map(|kept| typed(&kept.read))
    }

    /// Begins a read, which leaves what it found to be kept.
    fn take_off<T: Send + Sync + 'static>(
        &self,
        what: What,
        now: Timestamp,
        (owner, position): (Owner, Position),
        read: impl Future<Output = Result<Read<T>, Error>> + Send + 'static,
    ) -> Shared<Outcome> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (kept, landing) =
            (self.kept.clone(), Landing { flights: self.flights.clone(), what: what.clone(), number });
        let flight = async move {
            let landing = landing;
            let read = read.await?;
            let (asked_at, weight) = (read.asked_at, read.weight);
            let read = Kept { read: Arc::new(read), asked_at, weight, owner, position, number };
            let overtaken = kept.get(&landing.what).is_some_and(|newer| newer.number > number);
            if weight > 0 && !overtaken {
                kept.insert(landing.what.clone(), read.clone());
            }
            Ok(read)
        };
        let outcome = flight.boxed().shared();
        if let Some(weak) = outcome.downgrade() {
            held(&self.flights).insert(what, Flight { began_at: now, position, number, outcome: weak });
        }
        outcome
    }

    /// Keeps what an action answered with: the newest that is known of that member. It was asked for after the action, so it
    /// outlasts [`Reads::touched`].
    pub fn keep<T: Send + Sync + 'static>(&self, what: What, owner: Owner, read: Read<T>) {
        let position = held(&self.moves).position(&what.login, &owner);
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (asked_at, weight) = (read.asked_at, read.weight);
        self.kept.insert(what, Kept { read: Arc::new(read), asked_at, weight, owner, position, number });
    }

    /// What was read of the account by anybody is out of date.
    pub fn account_moved(&self, key: &AccountKey) {
        held(&self.moves).account(key);
    }

    /// What was read with this login, and by its account if that is known, is out of date.
    pub fn moved(&self, login: &LoginDigest, owner: &Owner) {
        held(&self.moves).login(login, owner);
    }

    /// Of this member nothing that was seen before `at` is shown any more.
    pub fn touched(&self, owner: &Owner, login: &LoginDigest, collection: &'static str, id: &str, at: Timestamp) {
        self.touched.note(owner, login, collection, id, at);
    }

    /// The provider refused the login: nothing that was read with it is shown any more.
    pub fn refused(&self, login: &LoginDigest) {
        held(&self.moves).refuse(login);
    }

    /// A clock that jumped back makes a read lie ahead: it is not young.
    fn is_young(&self, at: Timestamp, now: Timestamp) -> bool {
        at <= now && now < at + self.max_age
    }
}

/// Clears up after a read, whether it came to its end or was given up.
struct Landing {
    flights: Flights,
    what: What,
    number: u64,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = held(&self.flights);
        // Another may have begun since, because this one was late or the account moved.
        if flights.get(&self.what).is_some_and(|flight| flight.number == self.number) {
            flights.remove(&self.what);
        }
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

fn typed<T: Send + Sync + 'static>(read: &Arc<dyn Any + Send + Sync>) -> Arc<Read<T>> {
    Arc::downcast(read.clone()).expect("a collection and whether it is all of it name one type")
}

#[cfg(test)]
mod tests;
