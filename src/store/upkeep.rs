use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use super::Error;
use crate::model::AccountId;

#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Brings the store to rest when Tracker stops: all of it lies in the file that its operator copies. Nothing is lost
    /// without it; the next start finds everything all the same.
    async fn rest(&self) -> Result<(), Error>;

    /// Removes some of what is kept long enough: one short step of a round, which goes on at [`Pruned::next`].
    ///
    /// A log is pruned from its oldest change on, so that it stays without a hole: what is older than `rules.before`, and what
    /// lies beyond the `rules.changes_max` newest. Deliveries and attempts go with their change. What is still owed by then
    /// is given up, and the next of its hook and resource becomes due; what is under way is left alone, with everything
    /// newer in the log, until its claim has run out.
    ///
    /// Then hooks that ended before `rules.before` and are owed nothing (with the last hook of an account its credentials are
    /// erased, as [`super::Hooks::remove_hook`] does it), and the revisions of resources that were known once and that
    /// no hook is set on.
    async fn prune(&self, rules: &PruneRules, from: PruneFrom) -> Result<Pruned, Error>;

    /// The latest moment that something was recorded to have happened at; `None`: nothing was.
    async fn newest(&self) -> Result<Option<Timestamp>, Error>;

    /// The clock was set back by `by` and shows `now`: brings what was planned by the old time, looks and callbacks, to the same time
    /// from now on. What would have been before `now` is due now. Answers with how many plans that were.
    async fn set_back(&self, by: Duration, now: Timestamp) -> Result<u64, Error>;
}

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneRules {
    pub now: Timestamp,
    /// What is from before that goes.
    pub before: Timestamp,
    /// Changes kept of an account, the newest.
    pub changes_max: u64,
    /// How much one step does: changes removed, deliveries removed (each counted with its attempts), accounts looked at, hooks
    /// removed, former resources removed.
    pub rows_max: usize,
}

/// How far a round has come. The default begins one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PruneFrom {
    /// The logs of this account and of those after it, by id.
    Log(AccountId),
    Hooks,
    FormerResources,
}

impl Default for PruneFrom {
    fn default() -> Self {
        Self::Log(AccountId(0))
    }
}

/// What a step removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    pub changes: u64,
    pub deliveries: u64,
    /// Of these deliveries, those that were still waiting or exhausted.
    pub given_up: u64,
    pub attempts: u64,
    pub hooks: u64,
    pub former_resources: u64,
    /// `None`: the round is at its end.
    pub next: Option<PruneFrom>,
}

impl Pruned {
    /// Rows removed, of all kinds.
    pub fn rows(&self) -> u64 {
        let Self { changes, deliveries, given_up: _, attempts, hooks, former_resources, next: _ } = self;
        changes + deliveries + attempts + hooks + former_resources
    }
}
