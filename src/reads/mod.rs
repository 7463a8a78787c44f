//! What was last read of providers, in memory: many clients that ask for the same thing within seconds cost one call, and
//! what was seen lately can be shown while a provider cannot answer.
//!
//! Guarantees: what one login was shown is kept for that login alone, so that nobody sees more than his own provider
//! would show him. While one read is under way others for the same thing join it. Whatever moves an account (an action, a
//! change seen by the poller, a hook set) makes older reads of it out of date at once, and so are reads under way. Kept
//! are at most [`Settings::members_max`] members.
//!
//! Accepted: for [`Settings::max_age_ms`] a password that was withdrawn still reads what it read before.
//!
//! Absent on purpose: time (instants come in), asking providers (a future comes in), what is shown (api).

mod settings;

use std::any::Any;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use jiff::Timestamp;
use moka::sync::Cache;

pub use settings::Settings;

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
    /// How many members it holds, for the bound.
    pub members: usize,
}

/// How far a login and its account had moved when something was read of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    login: u64,
    account: u64,
}

type Outcome = BoxFuture<'static, Result<Kept, Error>>;

/// A read of any type, with where its account stood before.
#[derive(Clone)]
struct Kept {
    read: Arc<dyn Any + Send + Sync>,
    asked_at: Timestamp,
    account: Option<AccountKey>,
    position: Position,
}

struct Slot {
    newest: Option<Kept>,
    /// The read under way. Those who wait for it hold it: when the last of them hangs up it is given up.
    flight: Option<(Timestamp, Position, WeakShared<Outcome>)>,
    members: u32,
}

type Slots = Cache<What, Arc<Mutex<Slot>>>;

/// See the room.
pub struct Reads {
    max_age: Duration,
    slots: Slots,
    moved: Cache<Who, u64>,
    /// Every move has a number of its own, so that one that was forgotten is not mistaken for another.
    moves: AtomicU64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Login(LoginDigest),
    Account(AccountKey),
}

impl Reads {
    pub fn new(settings: &Settings) -> Self {
        let stale = Duration::from_secs(settings.stale_seconds);
        let weight = |_: &What, slot: &Arc<Mutex<Slot>>| held(slot).members.saturating_add(1);
        Self {
            max_age: Duration::from_millis(settings.max_age_ms),
            slots: Cache::builder().weigher(weight).max_capacity(settings.members_max).time_to_live(stale).build(),
            // Forgetting a move while a read from before it is still fresh would make that read good again.
            moved: Cache::builder().max_capacity(settings.members_max).time_to_live(stale).build(),
            moves: AtomicU64::new(1),
        }
    }

    /// What was read lately enough, if the account has not moved since.
    pub fn fresh<T: Send + Sync + 'static>(&self, what: &What, now: Timestamp) -> Option<Arc<Read<T>>> {
        let slot = self.slots.get(what)?;
        let slot = held(&slot);
        let kept = slot.newest.as_ref().filter(|kept| self.is_young(kept.asked_at, now) && self.stands(what, kept))?;
        Some(typed(&kept.read))
    }

    /// What was last read, however long ago it was, unless the account has moved since.
    pub fn last<T: Send + Sync + 'static>(&self, what: &What) -> Option<Arc<Read<T>>> {
        let slot = self.slots.get(what)?;
        let slot = held(&slot);
        Some(typed(&slot.newest.as_ref().filter(|kept| self.stands(what, kept))?.read))
    }

    /// Reads anew, or joins a read of the same thing that has just begun. `account` is the one that the login belongs to, if
    /// that is known: its moves then count as the login's own.
    ///
    /// # Errors
    /// Those of `read`, told to all who joined it.
    pub async fn read<T: Send + Sync + 'static>(
        &self,
        what: What,
        now: Timestamp,
        account: Option<AccountKey>,
        read: impl Future<Output = Result<Read<T>, Error>> + Send + 'static,
    ) -> Result<Arc<Read<T>>, Error> {
        let at = self.position(&what.login, account.as_ref());
        let slot =
            self.slots.get_with(what.clone(), || Arc::new(Mutex::new(Slot { newest: None, flight: None, members: 0 })));
        let flight = {
            let mut held = held(&slot);
            let under_way =
                held.flight.as_ref().filter(|(began, position, _)| *position == at && self.is_young(*began, now));
            match under_way.and_then(|(_, _, flight)| flight.upgrade()) {
                Some(flight) => flight,
                None => {
                    let flight = take_off(slot.clone(), self.slots.clone(), what, (account, at), read);
                    held.flight = flight.downgrade().map(|flight| (now, at, flight));
                    flight
                }
            }
        };
        flight.await.map(|kept| typed(&kept.read))
    }

    fn stands(&self, what: &What, kept: &Kept) -> bool {
        kept.position == self.position(&what.login, kept.account.as_ref())
    }

    fn position(&self, login: &LoginDigest, account: Option<&AccountKey>) -> Position {
        Position {
            login: self.moved.get(&Who::Login(*login)).unwrap_or_default(),
            account: account.and_then(|key| self.moved.get(&Who::Account(key.clone()))).unwrap_or_default(),
        }
    }

    /// What was read of the account by anybody is out of date.
    pub fn account_moved(&self, key: &AccountKey) {
        self.note(Who::Account(key.clone()));
    }

    /// What was read with this login is out of date.
    pub fn login_moved(&self, login: &LoginDigest) {
        self.note(Who::Login(*login));
    }

    fn note(&self, who: Who) {
        self.moved.insert(who, self.moves.fetch_add(1, Ordering::Relaxed));
    }

    /// A clock that jumped back makes a read lie ahead: it is not young.
    fn is_young(&self, at: Timestamp, now: Timestamp) -> bool {
        at <= now && now < at + self.max_age
    }
}

/// The read, which leaves what it found in its slot.
fn take_off<T: Send + Sync + 'static>(
    slot: Arc<Mutex<Slot>>,
    slots: Slots,
    what: What,
    (account, position): (Option<AccountKey>, Position),
    read: impl Future<Output = Result<Read<T>, Error>> + Send + 'static,
) -> Shared<Outcome> {
    let flight = async move {
        let read = read.await?;
        let mut held = held(&slot);
        let (asked_at, members) = (read.asked_at, u32::try_from(read.members).unwrap_or(u32::MAX));
        let kept = Kept { read: Arc::new(read), asked_at, account, position };
        if held.newest.as_ref().is_none_or(|newest| newest.asked_at <= asked_at) {
            held.newest = Some(kept.clone());
            held.members = members;
        }
        drop(held);
        // Weighed anew.
        slots.insert(what, slot);
        Ok(kept)
    };
    flight.boxed().shared()
}

fn held(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().expect("nobody panics while holding a slot")
}

fn typed<T: Send + Sync + 'static>(read: &Arc<dyn Any + Send + Sync>) -> Arc<Read<T>> {
    Arc::downcast(read.clone()).expect("a collection and whether it is all of it name one type")
}

#[cfg(test)]
mod tests;
