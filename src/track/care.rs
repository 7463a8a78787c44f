//! What the owner of a hook may do with it besides setting it.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tracing::info;

use crate::chance::Chance;
use crate::changes;
use crate::clock::Clock;
use crate::deliver::{self, Message, Sender};
use crate::diff;
use crate::model::{
    AccountId, AccountKey, Attempt, Callback, Change, ChangeId, Collection, DeliveryState, Hook, KnownResource, Scope,
    Seq,
};
use crate::store::{self, Snapshots, Store};
use crate::tasks::Wake;

/// How often a resync is decided anew because its collection changed meanwhile, before the owner has to ask again.
const CONTENDED_TRIES: usize = 4;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It makes no sense as things stand; in a sentence.
    #[error("{0}")]
    Senseless(String),
    /// It may go well a moment later.
    #[error("{0}")]
    Busy(String),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What a resync recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resynced {
    pub count: usize,
    /// First and last number; `None` when there was nothing.
    pub seqs: Option<(Seq, Seq)>,
}

/// What a recovery did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    pub count: u64,
    /// There is more than one recovery takes: ask again when this is done.
    pub more: bool,
}

/// Which settled deliveries are recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recover {
    /// Those given up.
    Exhausted,
    /// Whatever its receiver may have lost: delivered, read and merged ones too.
    All,
}

impl Recover {
    fn states(self) -> &'static [DeliveryState] {
        match self {
            Self::Exhausted => &[DeliveryState::Exhausted],
            Self::All => {
                &[DeliveryState::Delivered, DeliveryState::Read, DeliveryState::Exhausted, DeliveryState::Merged]
            }
        }
    }
}

/// Enables, tries, repeats.
pub struct Care {
    store: Arc<dyn Store>,
    sender: Sender,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
    deliver: Wake,
    settings: deliver::Settings,
    /// One permit for each trial under way.
    tests: Semaphore,
}

impl Care {
    pub fn new(
        store: Arc<dyn Store>,
        sender: Sender,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        deliver: Wake,
        settings: deliver::Settings,
    ) -> Self {
        let tests = Semaphore::new(settings.tests_max.min(Semaphore::MAX_PERMITS));
        Self { store, sender, clock, chance, deliver, settings, tests }
    }

    /// A disabled hook is called again. `false`: there is no such hook any more.
    ///
    /// # Errors
    /// The store's.
    pub async fn enable(&self, account: AccountId, hook: &Hook) -> Result<bool, store::Error> {
        let enabled = self.store.enable_hook(account, &hook.id, self.clock.now()).await?;
        if enabled && hook.disabled.is_some() {
            info!(account.id = %account, hook.id = %hook.id, "Hook {} is enabled again by its owner", hook.id);
            self.deliver.notify_one();
        }
        Ok(enabled)
    }

    /// Posts a signed event that is no change to the hook, once and at once, whatever waits for it and whether it is disabled.
    /// The event's id, and what became of it.
    ///
    /// # Errors
    /// [`Refusal::Senseless`] for a hook without a callback, [`Refusal::Busy`] when too many are under way.
    pub async fn test(&self, hook: &Hook, account: &AccountKey) -> Result<(String, Attempt), Refusal> {
        let Callback::Post(url) = hook.callback.clone() else { return Err(no_callback(hook)) };
        let busy = |_| Refusal::Busy(format!("{} tests are under way; try again", self.settings.tests_max));
        let _permit = self.tests.try_acquire().map_err(busy)?;
        let at = self.clock.now();
        let id = self.chance.id("test", at);
        let body = changes::trial(&id, hook, account, at).into();
        let (keys, token, format) = (hook.keys.clone(), hook.token.clone(), hook.terms.format);
        let message = Message { url, id: ChangeId(id.clone()), keys, token, format, body };
        let (attempt, _) = self.sender.send(message, 1, at).await;
        Ok((id, attempt))
    }

    /// Owes the hook how everything in its scope stands, each resource once, after what waits for it.
    ///
    /// # Errors
    /// [`Refusal::Senseless`] when the hook is disabled or there is too much, [`Refusal::Busy`] when others kept writing.
    pub async fn resync(&self, account: AccountId, hook: &Hook) -> Result<Resynced, Refusal> {
        if hook.disabled.is_some() {
            return Err(disabled(hook));
        }
        let (collection, member) = match &hook.scope {
            Scope::Account => return Ok(Resynced { count: 0, seqs: None }),
            Scope::Collection(collection) => (*collection, None),
            Scope::Member(collection, id) => (*collection, Some(id)),
        };
        for _ in 0..CONTENDED_TRIES {
            let snapshots = self.snapshots(account, hook, collection, member).await?;
            let count = snapshots.changes.len();
            match self.store.commit_snapshots(&snapshots).await {
                Err(store::Error::Conflict) => {}
                seqs => {
                    let seqs = seqs?;
                    info!(account.id = %account, hook.id = %hook.id, "Hook {} is owed how {count} resources stand", hook.id);
                    self.deliver.notify_one();
                    return Ok(Resynced { count, seqs });
                }
            }
        }
        Err(Refusal::Busy(format!("{collection} kept changing; try again")))
    }

    async fn snapshots(
        &self,
        account: AccountId,
        hook: &Hook,
        collection: Collection,
        member: Option<&String>,
    ) -> Result<Snapshots, Refusal> {
        let known = self.store.known(account, collection).await?;
        let wanted =
            |known: &&KnownResource| known.absent_since.is_none() && member.is_none_or(|id| known.resource.id() == id);
        let resources: Vec<_> = known.members.values().filter(wanted).collect();
        let most = self.settings.resync_max;
        if resources.len() > most {
            let text = format!(
                "{collection} has {} members, and a resync takes {most} at most: list them instead",
                resources.len()
            );
            return Err(Refusal::Senseless(text));
        }
        let now = self.clock.now();
        let changes = resources.into_iter().map(|known| self.change(known, now)).collect();
        Ok(Snapshots { account, hook: hook.id.clone(), collection, version: known.version, changes, now })
    }

    fn change(&self, known: &KnownResource, now: Timestamp) -> Change {
        let diff::Told { subject, observed, news } = diff::snapshot(known);
        Change { id: ChangeId(self.chance.id("chg", now)), at: now, subject, observed, news }
    }

    /// A delivery waits again, from the start, and is due at once as far as order lets it.
    ///
    /// # Errors
    /// [`Refusal::Senseless`] when the hook is not called.
    pub async fn redeliver(&self, account: AccountId, hook: &Hook, seq: Seq) -> Result<(), Refusal> {
        const STATES: [DeliveryState; 5] = [
            DeliveryState::Waiting,
            DeliveryState::Delivered,
            DeliveryState::Read,
            DeliveryState::Exhausted,
            DeliveryState::Merged,
        ];
        must_be_called(hook)?;
        let begun = self.store.redeliver(account, &hook.id, &[seq], &STATES, self.clock.now()).await?;
        begun.ok_or_else(|| not_called_any_more(hook))?;
        self.deliver.notify_one();
        Ok(())
    }

    /// What the hook was owed since then waits again, oldest first.
    ///
    /// # Errors
    /// [`Refusal::Senseless`] when the hook is not called. What was begun before a store failed stays begun.
    pub async fn recover(
        &self,
        account: AccountId,
        hook: &Hook,
        since: Timestamp,
        what: Recover,
    ) -> Result<Recovered, Refusal> {
        must_be_called(hook)?;
        let most = self.settings.recover_max;
        let mut seqs = self.store.settled_since(account, &hook.id, since, what.states(), most + 1).await?;
        let more = seqs.len() > most;
        seqs.truncate(most);
        let mut count = 0;
        // Oldest first, so that nothing overtakes an older one of a later batch.
        for batch in seqs.chunks(self.settings.recover_batch) {
            let begun = self.store.redeliver(account, &hook.id, batch, what.states(), self.clock.now()).await?;
            count += begun.ok_or_else(|| not_called_any_more(hook))?;
            self.deliver.notify_one();
        }
        info!(account.id = %account, hook.id = %hook.id, "{count} deliveries of hook {} are sent again", hook.id);
        Ok(Recovered { count, more })
    }
}

fn must_be_called(hook: &Hook) -> Result<(), Refusal> {
    match (&hook.callback, &hook.disabled) {
        (Callback::Feed, _) => Err(no_callback(hook)),
        (Callback::Post(_), Some(_)) => Err(disabled(hook)),
        (Callback::Post(_), None) => Ok(()),
    }
}

fn no_callback(hook: &Hook) -> Refusal {
    Refusal::Senseless(format!("Hook {} has no callback: its subscriber reads the feed", hook.id))
}

fn disabled(hook: &Hook) -> Refusal {
    let id = &hook.id;
    Refusal::Senseless(format!(
        "Hook {id} is disabled: enable it first, with POST hooks/{id}/enable or by setting it anew"
    ))
}

fn not_called_any_more(hook: &Hook) -> Refusal {
    Refusal::Senseless(format!("Hook {} was removed or disabled meanwhile", hook.id))
}
