//! Reading on: what is recorded reaches those who wait for it. Shared by all who follow an account, so that a change is
//! read from the store once, and written out once for all who are told it in the same words.
//!
//! Guarantees: who follows from a place gets every change after it, once, in order, also those recorded while it was being
//! set up. A follower keeps a number and no queue: one that is slow is behind, and costs nothing.
//!
//! Accepted: after a change, all followers of its account wake and look; those of another subscriber may find nothing.
//!
//! Absent on purpose: acknowledging (what was sent is not what was read; see `api::changes`), HTTP.

mod filter;
mod settings;
mod tail;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

pub use filter::Filter;
pub use settings::Settings;
pub use tail::{Item, Reader, Tail};

use crate::model::{AccountId, AccountKey, Seq};
use crate::store::{self, Store};

/// The logs that are being read.
pub struct Feeds {
    store: Arc<dyn Store>,
    settings: Settings,
    tails: Mutex<HashMap<AccountId, Weak<Tail>>>,
    places: Arc<Semaphore>,
}

impl Feeds {
    pub fn new(store: Arc<dyn Store>, settings: Settings) -> Self {
        let places = Arc::new(Semaphore::new(settings.followers_max.min(Semaphore::MAX_PERMITS)));
        Self { store, settings, tails: Mutex::default(), places }
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

    /// A place to wait in. `None`: all are taken.
    pub fn follow(&self, tail: Arc<Tail>, reader: Reader, place: Seq) -> Option<Follower> {
        let permit = self.places.clone().try_acquire_owned().ok()?;
        let moved = tail.moved();
        Some(Follower { moved, tail, reader, place, behind: true, _permit: permit })
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
    _permit: OwnedSemaphorePermit,
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
                let page = self.tail.page(&self.reader, self.place, limit, limit).await?;
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
