//! What a provider is asked, and what it says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tracing::warn;

use super::hints::Read;
use super::look::Observer;
use super::plan::Ask;
use crate::diff::{self, Absence, Found, Look};
use crate::drivers::{self, Driver, Looked, Machine, Urgency};
use crate::model::{Account, Known, Resource, Sample};

/// What a provider said, as far as it was asked.
pub(super) enum Answer {
    List(Sample, Extent),
    Look(Look),
}

/// How much of a list the provider itself said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    /// What changed, or in short; the rest is as it was known.
    Changes,
}

impl Answer {
    /// What is new in it, and when it was taken if it is complete.
    pub(super) fn compare(&self, known: &Known, rules: &Absence) -> (Found, Option<Timestamp>) {
        match self {
            Self::List(sample, _) => (diff::sample(known, sample, rules), Some(sample.answered_at)),
            Self::Look(look) => (diff::look(known, look, rules), None),
        }
    }

    /// See [`Seen::whole`].
    pub(super) fn is_whole(&self, known: &Known, found: &Found) -> bool {
        let there = |id: &String| match self {
            Self::List(Sample { members, .. }, _) => members.contains_key(id),
            // Those not found are missing by a clear answer, or were not asked for.
            Self::Look(look) => look.found.contains_key(id),
        };
        known.members.keys().all(|id| there(id) || found.removed.contains(id))
    }

    pub(super) fn members_mut(&mut self) -> &mut BTreeMap<String, Resource> {
        match self {
            Self::List(sample, _) => &mut sample.members,
            Self::Look(look) => &mut look.found,
        }
    }

    /// Of a look, who was not found.
    pub(super) fn missing_mut(&mut self) -> Option<&mut BTreeSet<String>> {
        match self {
            Self::List(..) => None,
            Self::Look(look) => Some(&mut look.missing),
        }
    }

    /// What it says to those who wait for what was hinted.
    pub(super) fn read<'a>(&'a self, machine: &'a Machine) -> Read<'a> {
        match self {
            Self::List(Sample { members, .. }, _) => Read { members, missing: None, machine },
            Self::Look(Look { found, missing, .. }) => Read { members: found, missing: Some(missing), machine },
        }
    }

    pub(super) fn answered_at(&self) -> Timestamp {
        match self {
            Self::List(sample, _) => sample.answered_at,
            Self::Look(look) => look.answered_at,
        }
    }

    pub(super) fn asked_at(&self) -> Timestamp {
        match self {
            Self::List(sample, _) => sample.asked_at,
            Self::Look(look) => look.asked_at,
        }
    }

    pub(super) fn into_members(self) -> (BTreeMap<String, Resource>, Timestamp) {
        match self {
            Self::List(Sample { members, answered_at, .. }, _) => (members, answered_at),
            Self::Look(Look { found, answered_at, .. }) => (found, answered_at),
        }
    }
}

impl Observer {
    pub(super) async fn ask(
        &self,
        account: &Account,
        driver: &dyn Driver,
        known: &Known,
        ask: Ask,
    ) -> Result<Answer, drivers::Error> {
        let asked = async {
            self.no_stranger(account, driver).await?;
            self.ask_whoever(account, driver, known, ask).await
        };
        drivers::of_account(&account.key.identity, asked).await
    }

    async fn ask_whoever(
        &self,
        account: &Account,
        driver: &dyn Driver,
        known: &Known,
        ask: Ask,
    ) -> Result<Answer, drivers::Error> {
        let (collection, asked_at, login) = (known.collection, self.clock.now(), &account.login);
        Ok(match ask {
            Ask::List => {
                let members = by_id(drivers::list(driver, login, collection).await?);
                Answer::List(Sample { collection, asked_at, answered_at: self.clock.now(), members }, Extent::All)
            }
            Ask::Again => {
                let since = known.observed_at.unwrap_or(asked_at);
                // From the list before the last one, so that what one list did not show is seen by the next.
                let lists = self.memories.unit(account.id, collection, |memory| memory.lists);
                let since = lists.before_last.map_or(since, |at| at.min(since));
                let members = drivers::list_again(driver, login, collection, &known.members, since).await?;
                let members = by_id(members);
                Answer::List(Sample { collection, asked_at, answered_at: self.clock.now(), members }, Extent::Changes)
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
                let Looked { found, unanswered } = drivers::raised(Urgency::Look, look).await?;
                if let Some(error) = unanswered.values().next() {
                    let (silent, all) = (unanswered.len(), ids.len());
                    warn!(account.id = %account.id, "of {silent} of {all} {collection} nothing was said, the first: {error}");
                }
                let found = by_id(found);
                let is_missing = |id: &&String| !found.contains_key(*id) && !unanswered.contains_key(*id);
                let missing = ids.iter().filter(is_missing).cloned().collect();
                let unanswered = unanswered.into_keys().collect();
                self.memories.unit(account.id, collection, |memory| memory.search.looked(&ids, unanswered));
                Answer::Look(Look { asked_at, answered_at: self.clock.now(), found, missing })
            }
        })
    }
}

pub(super) fn by_id(members: Vec<Resource>) -> BTreeMap<String, Resource> {
    members.into_iter().map(|member| (member.id().to_owned(), member)).collect()
}
