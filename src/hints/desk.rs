use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::{debug, info};

use super::{Counters, HintSecret, Report, Said, Settings, fits, words};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{AccountId, AccountKey};
use crate::poll::{Hint, Hints};
use crate::store::{self, HintSecretAbout, Store};
use crate::tasks::Wake;

/// Where hints are handed in, and secrets made for those who bring them.
pub struct Desk {
    store: Arc<dyn Store>,
    hints: Hints,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
    /// The poller's.
    wake: Wake,
    settings: Settings,
    /// How long an account is still watched after its last hook ended.
    linger: Duration,
    counters: Counters,
}

/// A secret that was just made.
#[derive(Debug)]
pub struct Made {
    /// Shown now and never again.
    pub secret: HintSecret,
    pub about: HintSecretAbout,
}

/// What became of the ids that a request names, and of events that name none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    pub taken: usize,
    pub ignored: usize,
}

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It names somebody else's account or region. Nothing of the request was taken.
    #[error("Hint {0}: {1}")]
    Foreign(usize, String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Desk {
    pub fn new(
        store: Arc<dyn Store>,
        hints: Hints,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        wake: Wake,
        settings: Settings,
        linger: Duration,
    ) -> Self {
        Self { store, hints, clock, chance, wake, settings, linger, counters: Counters::default() }
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Makes the account's secret. The one before is good for a while yet, and no other: of three made within that while the first ends
    /// when the third is made.
    ///
    /// # Errors
    /// The store's.
    pub async fn make_secret(&self, key: &AccountKey) -> Result<Made, store::Error> {
        let now = self.clock.now();
        let random = HintSecret::random(&self.chance.bytes());
        let old_until = now + Duration::from_millis(self.settings.secret_overlap_ms);
        let account = self.store.put_hint_secret(key, &random, now, old_until).await?;
        info!(account.id = %account, "A hint secret was made");
        let about = self.store.hint_secret(account).await?;
        let about = about.unwrap_or(HintSecretAbout { made_at: now, old_until: None });
        Ok(Made { secret: HintSecret { account, random }, about })
    }

    /// `None`: there is none.
    ///
    /// # Errors
    /// The store's.
    pub async fn about_secret(&self, key: &AccountKey) -> Result<Option<HintSecretAbout>, store::Error> {
        match self.store.find_account(key).await? {
            Some(account) => self.store.hint_secret(account).await,
            None => Ok(None),
        }
    }

    /// Ends the account's secret, and the one before it, at once. `false`: there was none.
    ///
    /// # Errors
    /// The store's.
    pub async fn end_secret(&self, key: &AccountKey) -> Result<bool, store::Error> {
        let Some(account) = self.store.find_account(key).await? else { return Ok(false) };
        let ended = self.store.end_hint_secret(account).await?;
        if ended {
            info!(account.id = %account, "The hint secret was ended");
        }
        Ok(ended)
    }

    /// Whose secret it is; `None`: nobody's, or nobody's any more.
    ///
    /// # Errors
    /// The store's.
    pub async fn whose(&self, secret: &HintSecret) -> Result<Option<(AccountId, AccountKey)>, store::Error> {
        let key = self.store.account_by_hint_secret(secret.account, &secret.random, self.clock.now()).await?;
        Ok(key.map(|key| (secret.account, key)))
    }

    /// Takes what a request says, all of it or nothing. What is not watched is ignored.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn take(&self, account: AccountId, key: &AccountKey, said: Said) -> Result<Taken, Refusal> {
        for (number, report) in said.reports.iter().enumerate() {
            fits(report, key).map_err(|text| Refusal::Foreign(number, text))?;
        }
        let now = self.clock.now();
        let mut outcome = Taken { taken: 0, ignored: said.unknown };
        let mut by_collection = BTreeMap::<_, Vec<Hint>>::new();
        for report in said.reports {
            by_collection.entry(report.collection).or_default().extend(hints(report));
        }
        for (collection, hints) in by_collection {
            let count = hints.len();
            let watched = self.store.watch(account, collection, self.ended_after(now)).await?;
            let taken = watched.map_or(0, |_| self.hints.take(account, collection, hints, now));
            outcome.taken += taken;
            outcome.ignored += count - taken;
        }
        if outcome.taken > 0 {
            self.wake.notify_one();
        }
        self.counters.taken(outcome.taken);
        self.counters.ignored(outcome.ignored);
        debug!(account.id = %account, taken = outcome.taken, ignored = outcome.ignored, "Hints were taken");
        Ok(outcome)
    }

    fn ended_after(&self, now: Timestamp) -> Timestamp {
        now - self.linger
    }
}

fn hints(report: Report) -> impl Iterator<Item = Hint> {
    let Report { ids, state, at, .. } = report;
    let state = state.map(words::state);
    ids.into_iter().map(move |id| Hint { id, state: state.clone(), at })
}
