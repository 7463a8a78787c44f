use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::answer::{Answer, by_id};
use super::hints::Hints;
use super::judge::Judge;
use super::keep::{Kept, Outcome};
use super::knowns::Knowns;
use super::memory::Memories;
use super::plan::{Ask, Settings};
use super::pulse;
use super::turns::{Turn, Turns};
use super::whose::Strangers;
use crate::availability;
use crate::chance::Chance;
use crate::clock::Clock;
use crate::diff::{self, Absence, Look};
use crate::drivers::{self, Abilities, Driver, Machine};
use crate::model::{Account, AccountId, Action, Collection, Known, Resource, Seq};
use crate::reads::Reads;
use crate::store::{self, Store};
use crate::tasks::{self, Wake};

/// How often a provider is asked again because somebody else saw the same things meanwhile, before the next pass has to.
const CONTENDED_TRIES: usize = 4;

/// How often an answer is compared anew because somebody else wrote meanwhile. Each time one of them got on.
pub(super) const CONTENDED_WRITES: usize = 64;

/// Why a look came to nothing. Nothing was written, so nothing was mistaken for a change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Driver(#[from] drivers::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The list failed, and these realms were asked for one by one.
    #[error("{source}; asked realm by realm, {answered} of {realms} answered")]
    Split { source: drivers::Error, answered: usize, realms: usize },
    /// It was not the provider that was not there.
    #[error("Tracker itself was stopped for {} s while it waited for an answer: {source}", slept.as_secs())]
    Slept { source: drivers::Error, slept: Duration },
    #[error("what is known was rewritten by others {CONTENDED_TRIES} times while we looked")]
    Contended,
}

/// What a look brought.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Members by id: all of the collection, or those asked for that exist.
    pub members: BTreeMap<String, Resource>,
    pub answered_at: Timestamp,
    /// The last change of the account that this takes into account: whatever is recorded of these members later is news to
    /// whoever holds this.
    pub through: Seq,
    /// Of a list: nobody is missing of whom nothing is said. One that was known, is not in it, and was not found gone may come back
    /// without news, so whoever has only this list cannot follow from it.
    pub whole: bool,
    /// Something in it has just begun to move, or is in doubt: it is worth another look soon.
    pub(super) hot: bool,
}

impl Seen {
    /// Of an account that nobody tracks anything in yet.
    pub fn first(members: Vec<Resource>, answered_at: Timestamp) -> Self {
        Self { members: by_id(members), answered_at, through: Seq(0), whole: true, hot: false }
    }
}

/// Asks, compares, commits. Used by the poller and by whoever just touched a resource.
#[derive(Clone)]
pub struct Observer {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chance: Arc<Chance>,
    pub(super) rules: Absence,
    pub(super) settings: Settings,
    pub(super) hints: Hints,
    pub(super) reads: Arc<Reads>,
    /// `None`: whoever has this has the unit for itself.
    turns: Option<Turns>,
    /// Told when a look is wanted earlier than it was.
    poll: Wake,
    /// Told after every commit that made changes.
    pub(super) deliver: Wake,
    pub(super) memories: Memories,
    pub(super) knowns: Knowns,
    pub(super) judge: Judge,
    pub(super) strangers: Strangers,
    pub(super) availability: availability::Settings,
}

impl Observer {
    #[expect(clippy::too_many_arguments, reason = "called once, where Tracker is put together")]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        settings: Settings,
        hints: Hints,
        availability: availability::Settings,
        reads: Arc<Reads>,
        poll: Wake,
        deliver: Wake,
    ) -> Self {
        Self {
            store,
            clock,
            chance,
            rules: Absence::new(&settings.absence),
            knowns: Knowns::new(settings.known_rows_max, Duration::from_millis(settings.idle_wait_max_ms)),
            settings,
            hints,
            reads,
            turns: Some(Turns::default()),
            poll,
            deliver,
            memories: Memories::default(),
            judge: Judge::default(),
            strangers: Strangers::default(),
            availability,
        }
    }

    /// One that has a unit of its own for as long as the turn is held; others wait until it is dropped.
    pub(crate) async fn alone(&self, account: AccountId, collection: Collection) -> (Self, Option<Turn>) {
        let turn = match &self.turns {
            Some(turns) => Some(turns.alone(account, collection).await),
            None => None,
        };
        (Self { turns: None, ..self.clone() }, turn)
    }

    async fn turn(&self, account: AccountId, collection: Collection, tries: usize) -> Option<Turn> {
        match &self.turns {
            None => None,
            Some(turns) if tries == 0 => Some(turns.beside(account, collection).await),
            Some(turns) => Some(turns.alone(account, collection).await),
        }
    }

    /// Takes a complete sample of a collection and writes what it says.
    ///
    /// # Errors
    /// [`Error::Driver`]: the list failed or was not complete.
    pub async fn list(&self, account: &Account, driver: &dyn Driver, collection: Collection) -> Result<Seen, Error> {
        self.see(account, driver, collection, |_, _| Ask::List).await
    }

    /// Lists a collection and writes what it says of those in it. Of those that are not it says nothing: the login may be one
    /// that sees less than others.
    ///
    /// # Errors
    /// As [`Observer::list`].
    pub async fn witness(&self, account: &Account, driver: &dyn Driver, collection: Collection) -> Result<Seen, Error> {
        self.see(account, driver, collection, |_, _| Ask::Witness).await
    }

    /// Looks at these ids and writes what it says.
    ///
    /// # Errors
    /// [`Error::Driver`]: the look failed, so nothing is known of any of them.
    pub async fn look(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
        ids: &BTreeSet<String>,
    ) -> Result<Seen, Error> {
        self.see(account, driver, collection, |_, _| Ask::Look(ids.clone())).await
    }

    async fn see(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
        ask: impl Fn(&Known, Timestamp) -> Ask + Send,
    ) -> Result<Seen, Error> {
        let seen = self.observe(account, driver, collection, ask).await?;
        if seen.hot {
            self.look_soon(account.id, collection).await;
        }
        Ok(seen)
    }

    /// Who found it was not the poller, who would plan accordingly.
    async fn look_soon(&self, account: AccountId, collection: Collection) {
        let at = self.clock.now() + Duration::from_millis(self.settings.settling_every_ms);
        match self.store.look_by(account, collection, at).await {
            Ok(()) => self.poll.notify_one(),
            Err(err) => warn!(account.id = %account, "{collection} are looked at again in their own time: {err}"),
        }
    }

    /// A client asks the provider for this: where it leads is no step back. `action`: of an instance; `None` for anything else.
    pub(crate) fn expect(
        &self,
        account: AccountId,
        collection: Collection,
        id: &str,
        action: Option<Action>,
        machine: &Machine,
    ) {
        self.memories.unit(account, collection, |memory| memory.order.expect(id, action, machine));
    }

    /// As [`store::Samples::known`], from memory if it is still so.
    pub(super) async fn known(&self, account: AccountId, collection: Collection) -> Result<Known, store::Error> {
        let head = self.store.head(account, collection).await?;
        match self.knowns.take(account, collection, &head) {
            Some(known) => Ok(known),
            None => self.store.known(account, collection).await,
        }
    }

    /// See [`Hints`].
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Asks what `ask` says, given what is known, and writes what is answered.
    pub(super) async fn observe(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
        mut ask: impl FnMut(&Known, Timestamp) -> Ask + Send,
    ) -> Result<Seen, Error> {
        for tries in 0..CONTENDED_TRIES {
            let _turn = self.turn(account.id, collection, tries).await;
            let known = self.known(account.id, collection).await?;
            let ask = ask(&known, self.clock.now());
            if ask == Ask::Nothing {
                let through = known.through;
                self.knowns.give(account.id, known, self.clock.now());
                return Ok(Seen { through, ..Seen::first(Vec::new(), self.clock.now()) });
            }
            let lists = ask == Ask::Witness;
            let asked = self.ask(account, driver, &known, ask);
            let (answer, slept) = pulse::beside(self.clock.as_ref(), asked).await;
            let mut answer = match answer {
                Ok(answer) => answer,
                Err(err) => {
                    self.knowns.give(account.id, known, self.clock.now());
                    return Err(pulse::blame(err, slept));
                }
            };
            self.leave_provable(account.id, &known, &mut answer).await?;
            let abilities = driver.abilities();
            if let Some(Kept { answer, through, whole, hot }) = self.keep(account, driver, known, answer, lists).await?
            {
                self.hints.read(account.id, collection, &answer.read(abilities.machine), self.clock.now());
                let (members, answered_at) = answer.into_members();
                return Ok(Seen { members, answered_at, through, whole, hot });
            }
        }
        Err(Error::Contended)
    }

    /// Makes a resource known that a client has just made, and tells those who listen that it appeared. If it was met
    /// before, it stays as it is known: what the client has in hand may be older.
    ///
    /// # Errors
    /// Never [`Error::Driver`]: nobody is asked.
    pub async fn introduce(&self, account: &Account, resource: Resource, abilities: &Abilities) -> Result<Seen, Error> {
        let _turn = self.turn(account.id, resource.collection(), 0).await;
        for _ in 0..CONTENDED_WRITES {
            let known = self.store.known(account.id, resource.collection()).await?;
            let now = self.clock.now();
            if let Some(met) = known.members.get(resource.id()) {
                return Ok(Seen { through: known.through, ..Seen::first(vec![met.resource.clone()], now) });
            }
            let found = by_id(vec![resource.clone()]);
            let look = Look { asked_at: now, answered_at: now, found, missing: BTreeSet::new() };
            let found = diff::look(&known, &look, &self.rules);
            // One that is up at once is never seen to come up, so it is judged by what it is now.
            let (this, account, abilities) = (self.clone(), account.clone(), abilities.clone());
            let answer = Answer::Look(look);
            let outcome = Outcome { known, answer, found, complete_at: None, abilities };
            let (answer, through) = tasks::to_the_end(async move { this.conclude(&account, outcome).await }).await?;
            if let Some(through) = through {
                let (members, answered_at) = answer.into_members();
                return Ok(Seen { members, answered_at, through, whole: true, hot: false });
            }
        }
        Err(Error::Contended)
    }
}
