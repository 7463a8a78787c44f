//! Reading on: what is recorded reaches those who wait for it. Shared by all who follow an account, so that a change is
//! read from the store once, and written out once for all who are told it in the same words.
//!
//! Guarantees: who follows from a place gets every change after it, once, in order, also those recorded while it was being
//! set up. A follower keeps a number and no queue: one that is slow is behind, and costs nothing.
//!
//! Accepted: after a change, all followers of its account wake and look; those of another subscriber may find nothing.
//!
//! Absent on purpose: deciding what was read (what was sent is not; see `api::changes`), HTTP.

mod filter;
mod settings;
mod tail;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use jiff::Timestamp;
use moka::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use filter::Filter;
pub use settings::Settings;
pub use tail::{Item, Reader, Tail};

use crate::model::{AccountId, AccountKey, Seq, Subscriber};
use crate::store::{self, Store};

/// The logs that are being read.
pub struct Feeds {
    store: Arc<dyn Store>,
    settings: Settings,
    tails: Mutex<HashMap<AccountId, Weak<Tail>>>,
    places: Arc<Semaphore>,
    acknowledged: Cache<Filtered, Seq>,
    /// Raised whenever something may be owed anew.
    owed_anew: AtomicU64,
}

/// Whose reading with a filter.
type Filtered = (AccountId, Subscriber, Filter);

/// Places of readers with filters that are remembered; of who is forgotten all that is owed is looked at once more.
const ACKNOWLEDGED_MAX: u64 = 10_000;

impl Feeds {
    pub fn new(store: Arc<dyn Store>, settings: Settings) -> Self {
        let places = Arc::new(Semaphore::new(settings.followers_max.min(Semaphore::MAX_PERMITS)));
        let acknowledged = Cache::new(ACKNOWLEDGED_MAX);
        Self { store, settings, tails: Mutex::default(), places, acknowledged, owed_anew: AtomicU64::new(0) }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The end of an account's log, shared with whoever else has it. Kept as long as somebody does.
    pub fn tail(&self, account: AccountId, key: &AccountKey) -> Arc<Tail> {
        let mut tails = self.tails();
        if let Some(tail) = tails.get(&account).and_then(Weak::upgrade) {
            return tail;
        }
        // Whoever comes clears up behind those who went.
        if tails.len() == tails.capacity() {
            tails.retain(|_, tail| tail.strong_count() > 0);
        }
        let tail = Arc::new(Tail::new(self.store.clone(), account, key.clone(), &self.settings));
        tails.insert(account, Arc::downgrade(&tail));
        tail
    }

    /// A place to wait in. `None`: all are taken, or all that one account may take.
    pub fn follow(&self, tail: Arc<Tail>, reader: Reader, place: Seq) -> Option<Follower> {
        let permits = [tail.places().try_acquire_owned().ok()?, self.wait()?];
        let moved = tail.moved();
        Some(Follower { moved, tail, reader, place, behind: true, _permits: permits })
    }

    /// A place to wait in where there is no log yet. `None`: all are taken.
    pub fn wait(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// Counts as read by the subscriber what fits and comes no later than `through`.
    ///
    /// # Errors
    /// The store's.
    pub async fn acknowledge(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        filter: &Filter,
        through: Seq,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        if filter.is_none() {
            return self.store.acknowledge_through(account, subscriber, through, now).await.map(drop);
        }
        // What does not fit stays owed, and may be very much: what was looked at once is not looked at again.
        let reader = (account, subscriber.clone(), filter.clone());
        let began = self.owed_anew.load(Ordering::SeqCst);
        let mut place = self.acknowledged.get(&reader).unwrap_or_default();
        while place < through {
            let which = filter.which(place, Some(through), tail::CHUNK, self.settings.scan_max);
            let found = self.store.undelivered_of(account, subscriber, &which).await?;
            let fitting = found.owed.iter().filter(|(entry, _)| filter.fits(&entry.change));
            let seqs: Vec<Seq> = fitting.map(|(entry, _)| entry.seq).collect();
            self.store.acknowledge(account, subscriber, &seqs, now).await?;
            place = found.looked.unwrap_or(through);
            if self.owed_anew.load(Ordering::SeqCst) == began {
                self.acknowledged.insert(reader.clone(), place);
            }
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Something that was told long ago may be owed again.
    pub fn owed_anew(&self) {
        self.owed_anew.fetch_add(1, Ordering::SeqCst);
        self.acknowledged.invalidate_all();
    }

    fn tails(&self) -> MutexGuard<'_, HashMap<AccountId, Weak<Tail>>> {
        self.tails.lock().expect("nobody panics while holding the tails")
    }
}

/// One who reads on.
pub struct Follower {
    tail: Arc<Tail>,
    moved: watch::Receiver<u64>,
    reader: Reader,
    place: Seq,
    /// There may be more without waiting for it.
    behind: bool,
    /// Of its account, and of all.
    _permits: [OwnedSemaphorePermit; 2],
}

impl Follower {
    /// Up to here everything was handed out that is for this reader.
    pub fn place(&self) -> Seq {
        self.place
    }

    pub fn tail(&self) -> &Tail {
        &self.tail
    }

    /// What comes next, at most `limit` pieces, as soon as there is something. Cancel-safe.
    ///
    /// # Errors
    /// The store's; and [`Lost`] when what comes next is not kept any more.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<Arc<Item>>, Lost> {
        loop {
            if self.behind {
                self.moved.mark_unchanged();
                let looked_at = if self.reader.filter.is_none() { limit } else { limit.max(tail::CHUNK) };
                let page = self.tail.page(&self.reader, self.place, limit, looked_at).await?;
                self.place = page.through;
                self.behind = page.more;
                if !page.items.is_empty() {
                    return Ok(page.items);
                }
                // Much that is for others lies in between; they want their turn.
                tokio::task::yield_now().await;
            } else {
                // The store never closes the channel of a tail that is there.
                let _ = self.moved.changed().await;
                self.behind = true;
            }
        }
    }
}

/// Why a follower gets no more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error("what came after {0} is no longer kept")]
    Pruned(Seq),
    #[error(transparent)]
    Store(#[from] store::Error),
}
