use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tracing::{info, warn};

use super::gap;
use super::hints::{Hints, Read, Wanted};
use super::judge::{self, Judge, Weighed};
use super::knowns::Knowns;
use super::memory::Memories;
use super::plan::{self, Ask, Settings};
use super::stuck;
use super::turns::{Turn, Turns};
use crate::availability;
use crate::chance::Chance;
use crate::changes::fan_out;
use crate::clock::Clock;
use crate::diff::{self, Absence, Found, Look};
use crate::drivers::{self, Abilities, Driver, Urgency};
use crate::model::{
    Account, AccountId, Availability, Change, ChangeId, Collection, Entry, Known, Login, RealmState, Resource, Sample,
    Seq,
};
use crate::reads::Reads;
use crate::store::{self, Commit, NewChange, Store};
use crate::tasks::Wake;

/// How often a provider is asked again because somebody else saw the same things meanwhile, before the next pass has to.
const CONTENDED_TRIES: usize = 4;

/// How often an answer is compared anew because somebody else wrote meanwhile. Each time one of them got on.
const CONTENDED_WRITES: usize = 64;

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
    #[error("what is known was rewritten by others {CONTENDED_TRIES} times while we looked")]
    Contended,
}

/// When to come again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) due_at: Timestamp,
    /// See [`store::UnitPlan::rest_until`].
    pub(super) rest_until: Option<Timestamp>,
    /// Somebody was asked, and answered.
    pub(super) asked: bool,
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
}

impl Seen {
    /// Of an account that nobody tracks anything in yet.
    pub fn first(members: Vec<Resource>, answered_at: Timestamp) -> Self {
        Self { members: by_id(members), answered_at, through: Seq(0), whole: true }
    }
}

/// Asks, compares, commits. Used by the poller and by whoever just touched a resource.
#[derive(Clone)]
pub struct Observer {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chance: Arc<Chance>,
    rules: Absence,
    pub(super) settings: Settings,
    hints: Hints,
    pub(super) reads: Arc<Reads>,
    /// `None`: whoever has this has the unit for itself.
    turns: Option<Turns>,
    /// Told after every commit that made changes.
    deliver: Wake,
    pub(super) memories: Memories,
    knowns: Knowns,
    pub(super) judge: Judge,
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
            deliver,
            memories: Memories::default(),
            judge: Judge::default(),
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
        self.observe(account, driver, collection, |_, _| Ask::List).await
    }

    /// Lists a collection and writes what it says of those in it. Of those that are not it says nothing: the login may be one
    /// that sees less than others.
    ///
    /// # Errors
    /// As [`Observer::list`].
    pub async fn witness(&self, account: &Account, driver: &dyn Driver, collection: Collection) -> Result<Seen, Error> {
        self.observe(account, driver, collection, |_, _| Ask::Witness).await
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
        self.observe(account, driver, collection, |_, _| Ask::Look(ids.clone())).await
    }

    /// One visit to a unit that is due: what it needs now, and when to come again.
    pub(super) async fn visit(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
    ) -> Result<Next, Error> {
        let memory = self.memories.unit(account.id, collection, |memory| memory.clone());
        // Whether a list was asked for, and one in full.
        let asked = Mutex::new((None, false));
        let ask = |known: &Known, now| {
            let full = memory.wants_full(now, &self.settings);
            let ask = plan::ask(known, now, full, &self.rules, &self.settings);
            let ask = self.hints.join(account.id, known, ask, self.settings.look_ids_max);
            *asked.lock().expect("it is set and read, no more") = match ask {
                Ask::List | Ask::Witness => (Some(true), true),
                Ask::Again => (Some(false), true),
                Ask::Look(_) => (None, true),
                Ask::Nothing => (None, false),
            };
            ask
        };
        let outcome = self.observe(account, driver, collection, ask).await;
        let asked = asked.into_inner().expect("it is set and read, no more");
        let (listed, mut asked) = asked;
        match (outcome, listed) {
            (Ok(_), Some(full)) => {
                let now = self.clock.now();
                self.memories.unit(account.id, collection, |memory| memory.listed(full, now));
            }
            (Ok(_), None) => {}
            (Err(Error::Driver(error)), Some(_)) => {
                return Err(self.list_failed(account, driver, collection, error).await);
            }
            (Err(error), _) => return Err(error),
        }
        let mut known = self.known(account.id, collection).await?;
        // A list serves all but those it missed before: for them it takes a look of their own.
        let (mut ripe, _) = self.rules.to_confirm(&known, self.clock.now());
        let held = self.held(account.id, &known, &ripe).await?;
        ripe.retain(|id| !held.contains(id));
        if !ripe.is_empty() {
            // Many at once are asked for at once, so that they are told as one.
            if self.rules.mass(&known).is_some() {
                self.still_the_same(account, driver).await?;
            } else {
                ripe = ripe.into_iter().take(self.settings.look_ids_max).collect();
            }
            self.look(account, driver, collection, &ripe).await?;
            asked = true;
            known = self.known(account.id, collection).await?;
        }
        let (now, roll) = (self.clock.now(), self.chance.roll());
        let hinted = self.hints.are_relied_on(account.id, collection, now);
        let (hot, rest_until) = self.memories.unit(account.id, collection, |memory| {
            memory.see(&known, now);
            (memory.hot_wait(now, &self.settings), memory.rest_until(now, roll, hinted, &self.settings))
        });
        let due_at = plan::after_success(&known, now, hot, &held, &self.rules, &self.settings);
        self.knowns.give(account.id, known, now);
        Ok(Next { due_at, rest_until, asked })
    }

    /// Those missing whose realm cannot be used, or may not be: what a realm in trouble does not show is not gone.
    async fn held(
        &self,
        account: AccountId,
        known: &Known,
        ripe: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, store::Error> {
        let realm = |id: &String| match &known.members.get(id)?.resource {
            Resource::Instance(instance) => instance.realm.clone(),
            Resource::Volume(volume) => volume.realm.clone(),
            Resource::Realm(_) | Resource::Image(_) | Resource::Snapshot(_) => None,
        };
        let placed: Vec<_> = ripe.iter().filter_map(|id| Some((id, realm(id)?))).collect();
        if placed.is_empty() {
            return Ok(BTreeSet::new());
        }
        let realms = self.store.known(account, Collection::Realms).await?;
        let in_doubt = |id: &String| match realms.members.get(id).map(|row| &row.resource) {
            Some(Resource::Realm(realm)) => {
                let unknown = realm.judged.as_ref().is_some_and(|judged| judged.state == Availability::Unknown);
                unknown || realm.state == RealmState::Unavailable
            }
            _ => false,
        };
        Ok(placed.into_iter().filter(|(_, realm)| in_doubt(realm)).map(|(id, _)| id.clone()).collect())
    }

    /// Before many are told gone together: these credentials may have come to be of another account, which has none of them.
    async fn still_the_same(&self, account: &Account, driver: &dyn Driver) -> Result<(), drivers::Error> {
        let identity = driver.identify(&account.login).await?;
        if identity == account.key.identity {
            return Ok(());
        }
        Err(drivers::Error::new(drivers::Kind::Denied, "the credentials are of another account now"))
    }

    /// A visit to a unit that is due for no other reason than hints: looks at what they want looked at. Answers with when the unit
    /// is to be visited by then; `None`: there was nothing to look at.
    pub(super) async fn follow_hints(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
    ) -> Result<Option<Next>, Error> {
        let known = self.known(account.id, collection).await?;
        let wanted = self.hints.wanted(account.id, &known);
        self.knowns.give(account.id, known, self.clock.now());
        let ask = match wanted {
            Wanted::Nothing => return Ok(None),
            Wanted::List => Ask::List,
            Wanted::Look(ids) => Ask::Look(ids),
        };
        self.observe(account, driver, collection, |_, _| ask.clone()).await?;
        let known = self.known(account.id, collection).await?;
        let (now, roll) = (self.clock.now(), self.chance.roll());
        let hinted = self.hints.are_relied_on(account.id, collection, now);
        let (hot, rest_until) = self.memories.unit(account.id, collection, |memory| {
            memory.see(&known, now);
            (memory.hot_wait(now, &self.settings), memory.rest_until(now, roll, hinted, &self.settings))
        });
        let due_at = plan::after_success(&known, now, hot, &BTreeSet::new(), &self.rules, &self.settings);
        self.knowns.give(account.id, known, now);
        Ok(Some(Next { due_at, rest_until, asked: true }))
    }

    /// As [`store::Samples::known`], from memory if it is still so.
    async fn known(&self, account: AccountId, collection: Collection) -> Result<Known, store::Error> {
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

    async fn observe(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
        ask: impl Fn(&Known, Timestamp) -> Ask,
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
            let answer = self.ask(&account.login, driver, &known, ask).await?;
            let mut answer = answer;
            if let Answer::Look(look) = &mut answer {
                let absent = |id: &&String| known.members.get(*id).is_some_and(|row| row.absent_since.is_some());
                let absent: BTreeSet<String> = look.missing.iter().filter(absent).cloned().collect();
                let held = self.held(account.id, &known, &absent).await?;
                look.missing.retain(|id| !held.contains(id));
            }
            if let Some((through, whole)) = self.keep(account, known, &mut answer, driver.abilities()).await? {
                self.hints.read(account.id, collection, &answer.read(driver), self.clock.now());
                let (members, answered_at) = answer.into_members();
                return Ok(Seen { members, answered_at, through, whole });
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
            if let Some(through) = self.commit(account, &known, found, None).await? {
                let answer = Answer::Look(look);
                // One that is up at once is never seen to come up.
                self.weigh_answer(account, &known, &answer, &[], abilities).await;
                let (members, answered_at) = answer.into_members();
                return Ok(Seen { members, answered_at, through, whole: true });
            }
        }
        Err(Error::Contended)
    }

    async fn ask(&self, login: &Login, driver: &dyn Driver, known: &Known, ask: Ask) -> Result<Answer, drivers::Error> {
        let (collection, asked_at) = (known.collection, self.clock.now());
        Ok(match ask {
            Ask::List => {
                let members = by_id(drivers::list(driver, login, collection).await?);
                Answer::List(Sample { collection, asked_at, answered_at: self.clock.now(), members })
            }
            Ask::Again => {
                let since = known.observed_at.unwrap_or(asked_at);
                let members = drivers::list_again(driver, login, collection, &known.members, since).await?;
                let members = by_id(members);
                Answer::List(Sample { collection, asked_at, answered_at: self.clock.now(), members })
            }
            Ask::Witness => {
                let found = by_id(drivers::list(driver, login, collection).await?);
                Answer::Look(Look { asked_at, answered_at: self.clock.now(), found, missing: BTreeSet::new() })
            }
            Ask::Nothing => {
                let found = BTreeMap::new();
                Answer::Look(Look { asked_at, answered_at: asked_at, found, missing: BTreeSet::new() })
            }
            Ask::Look(ids) => {
                let look = drivers::look(driver, login, collection, &ids);
                let found = by_id(drivers::raised(Urgency::Look, look).await?);
                let missing = ids.into_iter().filter(|id| !found.contains_key(id)).collect();
                Answer::Look(Look { asked_at, answered_at: self.clock.now(), found, missing })
            }
        })
    }

    /// Writes what an answer says, compared with what was known before it was asked for. Whoever wrote meanwhile is heard:
    /// then it is compared anew. Answers with the last change that this takes into account, and with [`Seen::whole`]. `None`: what it says is not
    /// newer than what they saw, so it must be asked for again.
    async fn keep(
        &self,
        account: &Account,
        mut known: Known,
        answer: &mut Answer,
        abilities: &Abilities,
    ) -> Result<Option<(Seq, bool)>, store::Error> {
        for turn in 0..CONTENDED_WRITES {
            judge::publish(answer.members_mut(), &known);
            let at = answer.answered_at();
            stuck::follow(answer.members_mut(), &known, at, &self.settings);
            let answer = &*answer;
            let (mut found, complete_at) = answer.compare(&known, &self.rules);
            stuck::tell(&known, &mut found, at);
            let whole = answer.is_whole(&known, &found);
            let gone = found.removed.clone();
            if complete_at.is_none() && found == Found::default() {
                self.weigh_answer(account, &known, answer, &gone, abilities).await;
                let through = known.through;
                self.knowns.give(account.id, known, self.clock.now());
                return Ok(Some((through, whole)));
            }
            let same_rows = found.upserts.is_empty() && found.removed.is_empty();
            if turn > 0 && found.may_be_late(&known, answer.asked_at()) {
                return Ok(None);
            }
            if let Some(through) = self.commit(account, &known, found, complete_at).await? {
                self.weigh_answer(account, &known, answer, &gone, abilities).await;
                if same_rows {
                    let known = Known { version: known.version + 1, ..known };
                    self.knowns.give(account.id, known, self.clock.now());
                }
                return Ok(Some((through, whole)));
            }
            known = self.known(account.id, known.collection).await?;
        }
        Ok(None)
    }

    /// What was seen is recorded by now; what it says of realms is recorded next, or with what is heard next.
    async fn weigh_answer(
        &self,
        account: &Account,
        known: &Known,
        answer: &Answer,
        gone: &[String],
        abilities: &Abilities,
    ) {
        let (members, at, complete) = match answer {
            Answer::List(sample) => (&sample.members, sample.answered_at, true),
            Answer::Look(look) => (&look.found, look.answered_at, false),
        };
        let weighed = Weighed { known, members, gone, at, complete, abilities };
        if let Err(err) = self.weigh(account, weighed).await {
            warn!(account.id = %account.id, "what a look says of realms could not be recorded yet: {err}");
        }
    }

    /// Writes what was found, the news with ids and with who is told. Answers with the last change recorded of the
    /// collection by then; `None` when somebody else wrote since `known` was read. A hook set meanwhile is such a write, so
    /// none is overlooked.
    async fn commit(
        &self,
        account: &Account,
        known: &Known,
        found: Found,
        observed_at: Option<Timestamp>,
    ) -> Result<Option<Seq>, store::Error> {
        let now = self.clock.now();
        let gap = self.gap(account.id, known, observed_at).await?;
        let news: Vec<_> = gap.into_iter().chain(found.news).collect();
        let hooks = if news.is_empty() { Vec::new() } else { self.store.hooks(account.id).await? };
        let changes = news.into_iter().map(|told| NewChange {
            told: fan_out(&told.subject, told.news.kind(), &hooks),
            change: Change {
                id: ChangeId(self.chance.id("chg", now)),
                at: now,
                subject: told.subject,
                observed: told.observed,
                news: told.news,
            },
        });
        let commit = Commit {
            judgements: vec![],
            account: account.id,
            collection: known.collection,
            version: known.version,
            observed_at,
            upserts: found.upserts,
            removed: found.removed,
            changes: changes.collect(),
            now,
        };
        // On a task of its own: a client that hangs up meanwhile must not leave what was written untold.
        let (this, key) = (self.clone(), account.key.clone());
        let written = tokio::spawn(async move {
            let changes = this.store.commit_sample(&commit).await?;
            // Whoever is told of a change and asks then must not be shown what was before it.
            if !changes.is_empty() {
                this.reads.account_moved(&key);
                let own = changes.iter().filter(|entry| entry.change.subject.collection == commit.collection.into());
                let ids = own.map(|entry| entry.change.subject.id.clone());
                this.memories.unit(commit.account, commit.collection, |memory| memory.moved(ids));
            }
            this.tell(commit.account, &changes);
            Ok(changes.last().map(|entry| entry.seq))
        });
        match written.await {
            Ok(Ok(last)) => Ok(Some(last.unwrap_or(known.through))),
            Ok(Err(store::Error::Conflict)) => Ok(None),
            Ok(Err(err)) => Err(err),
            Err(err) => std::panic::resume_unwind(err.into_panic()),
        }
    }

    /// What is to be said of the time since the complete look before this one. Read apart from `known`: were it of another
    /// moment, so would be the version, and a commit decided on it is refused.
    async fn gap(
        &self,
        account: AccountId,
        known: &Known,
        looked_at: Option<Timestamp>,
    ) -> Result<Option<diff::Told>, store::Error> {
        let collection = known.collection;
        let (Some(before), Some(at)) = (known.observed_at, looked_at) else { return Ok(None) };
        if !gap::is_long(before, at, collection, &self.settings) {
            return Ok(None);
        }
        let ended_after = at - Duration::from_millis(self.settings.linger_ms);
        let watch = self.store.watch(account, collection, ended_after).await?;
        Ok(watch.and_then(|watch| gap::gap(before, at, collection, &watch, &self.settings)))
    }

    pub(super) fn tell(&self, account: AccountId, changes: &[Entry]) {
        for Entry { seq, change } in changes {
            info!(
                account.id = %account, change.seq = %seq, change.id = %change.id, change.type = change.news.kind(),
                resource.collection = %change.subject.collection, resource.id = change.subject.id,
                "{} {} {}", change.subject.collection, change.subject.id, change.news,
            );
        }
        if !changes.is_empty() {
            self.hints.found(account, changes, self.clock.now());
            self.deliver.notify_one();
        }
    }
}

/// What a provider said, as far as it was asked.
enum Answer {
    List(Sample),
    Look(Look),
}

impl Answer {
    /// What is new in it, and when it was taken if it is complete.
    fn compare(&self, known: &Known, rules: &Absence) -> (Found, Option<Timestamp>) {
        match self {
            Self::List(sample) => (diff::sample(known, sample, rules), Some(sample.answered_at)),
            Self::Look(look) => (diff::look(known, look, rules), None),
        }
    }

    /// See [`Seen::whole`].
    fn is_whole(&self, known: &Known, found: &Found) -> bool {
        let there = |id: &String| match self {
            Self::List(Sample { members, .. }) => members.contains_key(id),
            // Those not found are missing by a clear answer, or were not asked for.
            Self::Look(look) => look.found.contains_key(id),
        };
        known.members.keys().all(|id| there(id) || found.removed.contains(id))
    }

    fn members_mut(&mut self) -> &mut BTreeMap<String, Resource> {
        match self {
            Self::List(sample) => &mut sample.members,
            Self::Look(look) => &mut look.found,
        }
    }

    /// What it says to those who wait for what was hinted.
    fn read(&self, driver: &dyn Driver) -> Read<'_> {
        let machine = driver.abilities().machine;
        match self {
            Self::List(Sample { members, .. }) => Read { members, missing: None, machine },
            Self::Look(Look { found, missing, .. }) => Read { members: found, missing: Some(missing), machine },
        }
    }

    fn answered_at(&self) -> Timestamp {
        match self {
            Self::List(sample) => sample.answered_at,
            Self::Look(look) => look.answered_at,
        }
    }

    fn asked_at(&self) -> Timestamp {
        match self {
            Self::List(sample) => sample.asked_at,
            Self::Look(look) => look.asked_at,
        }
    }

    fn into_members(self) -> (BTreeMap<String, Resource>, Timestamp) {
        match self {
            Self::List(Sample { members, answered_at, .. }) => (members, answered_at),
            Self::Look(Look { found, answered_at, .. }) => (found, answered_at),
        }
    }
}

fn by_id(members: Vec<Resource>) -> BTreeMap<String, Resource> {
    members.into_iter().map(|member| (member.id().to_owned(), member)).collect()
}
