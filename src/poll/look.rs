use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::info;

use super::plan::{self, Ask, Settings};
use crate::chance::Chance;
use crate::changes::fan_out;
use crate::clock::Clock;
use crate::diff::{self, Absence, Found, Look};
use crate::drivers::{self, Driver};
use crate::model::{AccountId, Change, ChangeId, Collection, Entry, InstanceId, Known, Login, Resource, Sample};
use crate::store::{self, Commit, NewChange, Store};
use crate::tasks::Wake;

/// How often a look is made again because somebody else wrote meanwhile, before the next pass has to do it.
const CONTENDED_TRIES: usize = 4;

/// Why a look came to nothing. Nothing was written, so nothing was mistaken for a change.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Driver(#[from] drivers::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("what is known was rewritten by others {CONTENDED_TRIES} times while we looked")]
    Contended,
}

/// What a look brought.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Members by id: all of the collection, or those asked for that exist.
    pub members: BTreeMap<String, Resource>,
    pub answered_at: Timestamp,
    /// The changes it led to, as numbered.
    pub changes: Vec<Entry>,
}

/// Asks, compares, commits. Used by the poller and by whoever just touched a resource.
#[derive(Clone)]
pub struct Observer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
    rules: Absence,
    settings: Settings,
    /// Told after every commit that made changes.
    deliver: Wake,
}

impl Observer {
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        settings: Settings,
        deliver: Wake,
    ) -> Self {
        Self { store, clock, chance, rules: Absence::new(&settings.absence), settings, deliver }
    }

    /// Takes a complete sample of a collection and writes what it says.
    ///
    /// # Errors
    /// [`Error::Driver`]: the list failed or was not complete.
    pub async fn list(
        &self,
        account: AccountId,
        login: &Login,
        driver: &dyn Driver,
        collection: Collection,
    ) -> Result<Seen, Error> {
        self.observe(account, login, driver, collection, |_, _| Ask::List).await
    }

    /// Looks at these ids and writes what it says.
    ///
    /// # Errors
    /// [`Error::Driver`]: the look failed, so nothing is known of any of them.
    pub async fn look(
        &self,
        account: AccountId,
        login: &Login,
        driver: &dyn Driver,
        collection: Collection,
        ids: &BTreeSet<String>,
    ) -> Result<Seen, Error> {
        self.observe(account, login, driver, collection, |_, _| Ask::Look(ids.clone())).await
    }

    /// Makes `members`, a complete list, the baseline of a collection that has none yet. `false`: it has one, of another
    /// look, and that stands.
    ///
    /// # Errors
    /// The store's, or [`Error::Contended`].
    pub async fn begin(
        &self,
        account: AccountId,
        collection: Collection,
        members: &[Resource],
        answered_at: Timestamp,
    ) -> Result<bool, Error> {
        let members = by_id(members.to_vec());
        let sample = Sample { collection, asked_at: answered_at, answered_at, members };
        for _ in 0..CONTENDED_TRIES {
            let known = self.store.known(account, collection).await?;
            if known.observed_at.is_some() {
                return Ok(false);
            }
            let found = diff::sample(&known, &sample, &self.rules);
            let commit = self.commit(account, &known, found, Some(answered_at)).await?;
            match self.store.commit_sample(&commit).await {
                Ok(changes) => {
                    self.tell(account, &changes);
                    return Ok(true);
                }
                Err(store::Error::Conflict) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Err(Error::Contended)
    }

    /// One visit to a unit that is due: what it needs now, and when to come again.
    pub(super) async fn visit(
        &self,
        account: AccountId,
        login: &Login,
        driver: &dyn Driver,
        collection: Collection,
    ) -> Result<Timestamp, Error> {
        let ask = |known: &Known, now| plan::ask(known, now, &self.rules, &self.settings);
        self.observe(account, login, driver, collection, ask).await?;
        let mut known = self.store.known(account, collection).await?;
        // A list serves all but those it missed before: for them it takes a look of their own.
        let (ripe, _) = self.rules.to_confirm(&known, self.clock.now());
        if !ripe.is_empty() {
            let ripe = ripe.into_iter().take(self.settings.look_ids_max).collect();
            self.look(account, login, driver, collection, &ripe).await?;
            known = self.store.known(account, collection).await?;
        }
        Ok(plan::after_success(&known, self.clock.now(), &self.rules, &self.settings))
    }

    async fn observe(
        &self,
        account: AccountId,
        login: &Login,
        driver: &dyn Driver,
        collection: Collection,
        ask: impl Fn(&Known, Timestamp) -> Ask,
    ) -> Result<Seen, Error> {
        for _ in 0..CONTENDED_TRIES {
            // Known first, then asked: an answer can only be newer than what it is compared with.
            let known = self.store.known(account, collection).await?;
            let asked_at = self.clock.now();
            let (members, found, complete, answered_at) = match ask(&known, asked_at) {
                Ask::List => {
                    let members = list(driver, login, collection).await?;
                    let answered_at = self.clock.now();
                    let sample = Sample { collection, asked_at, answered_at, members };
                    let found = diff::sample(&known, &sample, &self.rules);
                    (sample.members, found, Some(answered_at), answered_at)
                }
                Ask::Look(ids) => {
                    let members = look(driver, login, collection, &ids).await?;
                    let answered_at = self.clock.now();
                    let missing = ids.into_iter().filter(|id| !members.contains_key(id)).collect();
                    let look = Look { asked_at, answered_at, found: members, missing };
                    let found = diff::look(&known, &look, &self.rules);
                    (look.found, found, None, answered_at)
                }
            };
            let commit = self.commit(account, &known, found, complete).await?;
            match self.store.commit_sample(&commit).await {
                Ok(changes) => {
                    self.tell(account, &changes);
                    return Ok(Seen { members, answered_at, changes });
                }
                Err(store::Error::Conflict) => {}
                Err(err) => return Err(err.into()),
            }
        }
        Err(Error::Contended)
    }

    /// The news with ids, and who is told. A hook set meanwhile raises the version, so none is overlooked.
    async fn commit(
        &self,
        account: AccountId,
        known: &Known,
        found: Found,
        observed_at: Option<Timestamp>,
    ) -> Result<Commit, store::Error> {
        let now = self.clock.now();
        let hooks = if found.news.is_empty() { Vec::new() } else { self.store.hooks(account).await? };
        let changes = found.news.into_iter().map(|told| NewChange {
            told: fan_out(&told.subject, &hooks),
            change: Change {
                id: ChangeId(self.chance.id("chg", now)),
                at: now,
                subject: told.subject,
                observed: told.observed,
                news: told.news,
            },
        });
        Ok(Commit {
            account,
            collection: known.collection,
            version: known.version,
            observed_at,
            upserts: found.upserts,
            removed: found.removed,
            changes: changes.collect(),
            now,
        })
    }

    fn tell(&self, account: AccountId, changes: &[Entry]) {
        for Entry { seq, change } in changes {
            info!(
                account.id = %account, change.seq = %seq, change.id = %change.id, change.type = change.news.kind(),
                resource.collection = %change.subject.collection, resource.id = change.subject.id,
                "{} {} {}", change.subject.collection, change.subject.id, change.news,
            );
        }
        if !changes.is_empty() {
            self.deliver.notify_one();
        }
    }
}

async fn list(
    driver: &dyn Driver,
    login: &Login,
    collection: Collection,
) -> Result<BTreeMap<String, Resource>, drivers::Error> {
    Ok(match collection {
        Collection::Instances => by_id(driver.instances(login).await?),
        Collection::Realms => by_id(driver.realms(login).await?),
    })
}

async fn look(
    driver: &dyn Driver,
    login: &Login,
    collection: Collection,
    ids: &BTreeSet<String>,
) -> Result<BTreeMap<String, Resource>, drivers::Error> {
    match collection {
        Collection::Instances => {
            let ids = ids.iter().map(|id| InstanceId::from(id.as_str())).collect();
            Ok(by_id(driver.instances_by_id(login, &ids).await?))
        }
        // Few enough to list; no provider has a cheaper way to ask for some.
        Collection::Realms => {
            let mut realms = by_id(driver.realms(login).await?);
            realms.retain(|id, _| ids.contains(id));
            Ok(realms)
        }
    }
}

fn by_id<T: Into<Resource>>(members: Vec<T>) -> BTreeMap<String, Resource> {
    members.into_iter().map(Into::into).map(|member: Resource| (member.id().to_owned(), member)).collect()
}
