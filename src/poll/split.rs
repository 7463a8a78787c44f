//! When the list of a whole region fails, the region is asked realm by realm: one that is in trouble must not hide the others.

use std::collections::{BTreeMap, BTreeSet};

use tracing::{info, warn};

use super::circuit::Heard;
use super::look::{Error, Observer};
use crate::drivers::{self, Driver};
use crate::model::{Account, Collection, Known, Resource};

impl Observer {
    /// What becomes of a list that failed. Once it has failed often enough because the backend did, what is known is looked for realm
    /// by realm: what is found there is written, and those realms stay fresh. Nothing is ever concluded from what did not answer.
    pub(super) async fn list_failed(
        &self,
        account: &Account,
        driver: &dyn Driver,
        collection: Collection,
        error: drivers::Error,
    ) -> Error {
        let broken = Heard::of(error.kind) == Heard::Fault;
        let lists = self.memories.unit(account.id, collection, |memory| {
            memory.broken_lists = if broken { memory.broken_lists.saturating_add(1) } else { 0 };
            memory.broken_lists
        });
        if !broken || lists < self.settings.split_after || collection != Collection::Instances {
            return Error::Driver(error);
        }
        let known = match self.known(account.id, collection).await {
            Ok(known) => known,
            Err(err) => return Error::Store(err),
        };
        let realms = by_realm(&known, self.settings.look_ids_max);
        self.knowns.give(account.id, known, self.clock.now());
        if realms.len() < 2 {
            return Error::Driver(error);
        }
        let (mut answered, mut silent) = (Vec::new(), Vec::new());
        'realms: for (realm, looks) in &realms {
            let mut well = true;
            for ids in looks.iter().take(self.settings.split_looks_max) {
                match self.look(account, driver, collection, ids).await {
                    Ok(_) => {}
                    // Too fast, or not allowed: that says nothing of the realm, and asking for the next one would not help.
                    Err(Error::Driver(err)) if Heard::of(err.kind) != Heard::Fault => {
                        warn!(account.id = %account.id, "asking realm by realm was broken off at {realm}: {err}");
                        break 'realms;
                    }
                    Err(Error::Driver(err)) => {
                        warn!(account.id = %account.id, "{realm} does not answer for itself either: {err}");
                        well = false;
                        break;
                    }
                    Err(err) => return err,
                }
            }
            if well { answered.push(realm.clone()) } else { silent.push(realm.clone()) }
        }
        if answered.is_empty() {
            return Error::Driver(error);
        }
        let named = |realms: &[String]| realms.iter().filter(|realm| !realm.is_empty()).cloned().collect::<Vec<_>>();
        if let Err(err) = self.split(account.id, &named(&answered), &named(&silent)).await {
            return Error::Store(err);
        }
        info!(
            account.id = %account.id,
            "the list of {collection} fails; asked realm by realm, {} of {} answered", answered.len(), realms.len(),
        );
        Error::Split { source: error, answered: answered.len(), realms: realms.len() }
    }
}

/// Those that are there, by the realm they are in, no more than `ids_max` to a look. Those of whom no realm is known come by
/// themselves, under an empty name.
fn by_realm(known: &Known, ids_max: usize) -> BTreeMap<String, Vec<BTreeSet<String>>> {
    let mut realms: BTreeMap<String, Vec<BTreeSet<String>>> = BTreeMap::new();
    for (id, row) in known.members.iter().filter(|(_, row)| row.absent_since.is_none()) {
        let Resource::Instance(instance) = &row.resource else { continue };
        let looks = realms.entry(instance.realm.clone().unwrap_or_default()).or_default();
        match looks.last_mut() {
            Some(ids) if ids.len() < ids_max => {
                ids.insert(id.clone());
            }
            _ => looks.push(BTreeSet::from([id.clone()])),
        }
    }
    realms
}
