//! Whether what is seen is of the account that it is recorded of: credentials may come to be of another one (an OpenStack project made
//! again under its name, a default project that was changed, keys that were given away).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use super::look::Observer;
use crate::diff::{self, Found};
use crate::drivers::{self, Driver, Urgency};
use crate::model::{Account, AccountId, Known, KnownResource};

/// Accounts whose credentials were found to be of another one. Until they are found to be the right ones again, that is asked before
/// each look, whatever it looks at.
#[derive(Clone, Debug, Default)]
pub(super) struct Strangers(Arc<Mutex<BTreeSet<AccountId>>>);

impl Strangers {
    fn all(&self) -> MutexGuard<'_, BTreeSet<AccountId>> {
        self.0.lock().expect("nobody panics while holding the strangers")
    }
}

/// What is found may be another account's: somebody would be told gone, or somebody unknown appears while somebody known is missing.
/// `unseen`: somebody known is not in the answer, of whom it says nothing else.
pub(super) fn is_doubtful(known: &Known, found: &Found, unseen: bool) -> bool {
    let lives = |id: &String| known.members.get(id).is_some_and(diff::lives);
    if found.removed.iter().any(lives) {
        return true;
    }
    let missing = |row: &KnownResource| row.absent_since.is_some() && diff::lives(row);
    let lacks = || unseen || known.members.values().any(missing) || found.upserts.iter().any(missing);
    let is_new = |id: &str| !known.members.contains_key(id) && !known.former.contains_key(id);
    found.upserts.iter().any(|row| is_new(row.resource.id())) && lacks()
}

impl Observer {
    /// Before something is concluded from an answer that [`is_doubtful`], after it was given.
    ///
    /// # Errors
    /// [`drivers::Kind::Denied`] when the credentials are of another account, else whatever keeps the backend from saying whose they are.
    pub(super) async fn still_the_same(&self, account: &Account, driver: &dyn Driver) -> Result<(), drivers::Error> {
        if driver.abilities().identity_is_sure {
            return Ok(());
        }
        let found = drivers::raised(Urgency::Look, driver.identify(&account.login)).await?;
        let same = drivers::must_be(&account.key.identity, &found);
        match &same {
            Ok(()) => self.strangers.all().remove(&account.id),
            Err(_) => self.strangers.all().insert(account.id),
        };
        same
    }

    /// Before the backend is asked for anything.
    ///
    /// # Errors
    /// As [`Observer::still_the_same`].
    pub(super) async fn no_stranger(&self, account: &Account, driver: &dyn Driver) -> Result<(), drivers::Error> {
        let doubted = self.strangers.all().contains(&account.id);
        if doubted { self.still_the_same(account, driver).await } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;

    use super::*;
    use crate::model::{Collection, Instance, InstanceState, Seq};

    fn row(id: &str, state: InstanceState, missing: bool) -> KnownResource {
        let at = Timestamp::UNIX_EPOCH;
        KnownResource {
            resource: Instance::bare(id, state, "word").into(),
            revision: 0,
            first_seen_at: at,
            observed_at: at,
            absent_since: missing.then_some(at),
        }
    }

    #[test]
    fn ends_are_doubtful_and_strangers_where_somebody_is_missing() {
        use InstanceState::{Finish, Running};
        let check = |known: &[KnownResource], upserts: &[KnownResource], removed: &[&str], unseen, expected| {
            let members = known.iter().map(|row| (row.resource.id().to_owned(), row.clone())).collect();
            let known = Known {
                collection: Collection::Instances,
                version: 1,
                through: Seq(0),
                observed_at: None,
                members,
                former: BTreeMap::from([("former".to_owned(), 1)]),
            };
            let removed = removed.iter().map(|id| (*id).to_owned()).collect();
            let found = Found { upserts: upserts.to_vec(), removed, news: vec![] };
            assert_eq!(is_doubtful(&known, &found, unseen), expected, "{known:?} {found:?}");
        };
        let (here, missing, new) = (row("a", Running, false), row("a", Running, true), row("n", Running, false));
        let one = std::slice::from_ref;
        check(one(&here), &[], &[], false, false);
        check(one(&here), one(&new), &[], false, false);
        check(one(&here), one(&missing), &[], false, false);
        check(one(&here), &[missing.clone(), new.clone()], &[], false, true);
        check(one(&missing), one(&new), &[], false, true);
        check(one(&here), one(&new), &[], true, true);
        check(one(&missing), &[], &["a"], false, true);
        // What has ended leaves the list by itself, and who was known before is no stranger.
        check(one(&row("a", Finish, true)), one(&new), &["a"], false, false);
        check(one(&missing), one(&row("former", Running, false)), &[], false, false);
    }
}
