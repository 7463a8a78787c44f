//! Visits to a unit: what it needs now, and when to come again.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::answer::Answer;
use super::circuit::Heard;
use super::hints::Wanted;
use super::look::{Error, Observer};
use super::plan::{self, Ask};
use crate::drivers::Driver;
use crate::model::{
    Account, AccountId, Availability, Collection, Declared, Known, KnownResource, RealmState, Resource,
};
use crate::store;

/// When to come again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    pub(super) due_at: Timestamp,
    /// See [`store::UnitPlan::rest_until`].
    pub(super) rest_until: Option<Timestamp>,
    /// Somebody was asked, and answered.
    pub(super) asked: bool,
}

impl Observer {
    /// One visit to a unit that is due.
    pub(super) async fn visit(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
    ) -> Result<Next, Error> {
        let memory = self.memories.unit(account.id, collection, |memory| memory.clone());
        let mut asked = Ask::Nothing;
        let ask = |known: &Known, now| {
            let (full, doubted) = (memory.wants_full(now, &self.settings), memory.order.doubted());
            let ask = plan::ask(known, now, full, &doubted, &self.rules, &self.settings);
            asked = self.hints.join(account.id, known, ask, self.settings.look_ids_max);
            asked.clone()
        };
        let outcome = self.observe(account, driver, collection, ask).await;
        match (outcome, &asked) {
            (Ok(_), Ask::List | Ask::Again) => {
                let (full, now) = (asked == Ask::List, self.clock.now());
                self.memories.unit(account.id, collection, |memory| memory.listed(full, now));
            }
            (Ok(_), _) => {}
            (Err(Error::Driver(error)), Ask::List | Ask::Again) => {
                return Err(self.list_failed(account, driver, collection, error).await);
            }
            (Err(error), _) => return Err(error),
        }
        let known = self.known(account.id, collection).await?;
        // A list serves all but those it missed before: for them it takes a look of their own.
        let (mut ripe, _) = self.rules.to_confirm(&known, self.clock.now());
        let missing = known.members.iter().filter(|(_, row)| row.absent_since.is_some());
        let held = self.held(account.id, &known, missing.map(|(id, _)| id)).await?;
        let held = held.back;
        ripe.retain(|id| !held.contains(id));
        if ripe.is_empty() {
            return Ok(self.next(account.id, known, &held, asked != Ask::Nothing));
        }
        // Of many some at a time, so that what was answered is kept whatever becomes of the rest.
        let max = self.settings.look_ids_max;
        ripe = self.memories.unit(account.id, collection, |memory| memory.search.pick(ripe, max));
        self.knowns.give(account.id, known, self.clock.now());
        let looked = self.observe(account, driver, collection, |_, _| Ask::Look(ripe.clone())).await;
        let silent = match looked {
            Ok(_) => false,
            // The list was answered lately, or it would not have come to this: that those who are missing cannot be asked for is no
            // fault of the account's. They wait.
            Err(Error::Driver(error)) if Heard::of(error.kind) == Heard::Fault => {
                warn!(account.id = %account.id, "of {collection} that are missing nothing can be said: {error}");
                true
            }
            Err(error) => return Err(error),
        };
        let known = self.known(account.id, collection).await?;
        let next = self.next(account.id, known, &held, !silent || asked != Ask::Nothing);
        let later = self.clock.now() + Duration::from_millis(self.settings.list_every_ms);
        Ok(if silent { Next { due_at: next.due_at.max(later), ..next } } else { next })
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
        Ok(Some(self.next(account.id, known, &BTreeSet::new(), true)))
    }

    /// When to come again after a look that left this known.
    fn next(&self, account: AccountId, known: Known, held: &BTreeSet<String>, asked: bool) -> Next {
        let (now, roll) = (self.clock.now(), self.chance.roll());
        let hinted = self.hints.are_relied_on(account, known.collection, now);
        let (hot, rest_until) = self.memories.unit(account, known.collection, |memory| {
            memory.see(&known, now);
            (memory.hot_wait(now, &self.settings), memory.rest_until(now, roll, hinted, &self.settings))
        });
        let due_at = plan::after_success(&known, now, hot, held, &self.rules, &self.settings);
        self.knowns.give(account, known, now);
        Next { due_at, rest_until, asked }
    }

    /// Those missing whose realm cannot be used, or may not be: what a realm in trouble does not show is not gone.
    pub(super) async fn held(
        &self,
        account: AccountId,
        known: &Known,
        missing: impl Iterator<Item = &String>,
    ) -> Result<Held, store::Error> {
        let realm = |row: &KnownResource| match &row.resource {
            Resource::Instance(instance) => instance.realm.clone(),
            Resource::Volume(volume) => volume.realm.clone(),
            Resource::Realm(_) | Resource::Image(_) | Resource::Snapshot(_) => None,
        };
        let row = |id: &String| known.members.get(id).map(|row| (id.clone(), row));
        let placed: Vec<_> = missing.filter_map(row).filter_map(|(id, row)| Some((id, row, realm(row)?))).collect();
        let mut held = Held::default();
        if placed.is_empty() {
            return Ok(held);
        }
        let (realms, now) = (self.store.known(account, Collection::Realms).await?, self.clock.now());
        for (id, row, realm) in placed {
            let Some(Resource::Realm(realm)) = realms.members.get(&realm).map(|row| &row.resource) else { continue };
            let unknown = realm.judged.as_ref().is_some_and(|judged| judged.state == Availability::Unknown);
            let down = realm.declared == Declared::Down && !unknown;
            if down && self.rules.outlasts_its_realm(row, now) {
                held.down.insert(id);
            } else if unknown || realm.state == RealmState::Unavailable {
                held.back.insert(id);
            }
        }
        Ok(held)
    }

    /// Leaves in a look's answer only those missing that it can find gone.
    pub(super) async fn leave_provable(
        &self,
        account: AccountId,
        known: &Known,
        answer: &mut Answer,
    ) -> Result<(), store::Error> {
        let at = answer.answered_at();
        let Some(missing) = answer.missing_mut() else { return Ok(()) };
        let absent = |id: &&String| known.members.get(*id).is_some_and(|row| row.absent_since.is_some());
        let held = self.held(account, known, missing.iter().filter(absent)).await?;
        let unfound = missing.intersection(&held.down).cloned().collect();
        let again = self.rules.look_again_after();
        let proven =
            self.memories.unit(account, known.collection, |memory| memory.search.unfound(known, &unfound, at, again));
        missing.retain(|id| !held.back.contains(id) && (!held.down.contains(id) || proven.contains(id)));
        Ok(())
    }
}

/// Those missing whose realm is in trouble.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// They are not asked for.
    back: BTreeSet<String>,
    /// Their realm is declared down, and they have been missing for long: the provider's own word about each, given more than once, is
    /// believed. An operator who takes a realm down to drain it is to hear of what ends there.
    down: BTreeSet<String>,
}
