//! What is known, kept in memory from one look to the next: where nothing changes, reading it all anew would cost more than asking
//! the provider. The store stays the one that knows: what is kept counts only while the store names the same version.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{AccountId, Collection, Known};
use crate::store::Head;

type Unit = (AccountId, Collection);

/// Shared by all who look. Whoever looks takes what is kept and gives it back; who comes meanwhile reads the store.
#[derive(Clone, Debug)]
pub(super) struct Knowns(Arc<Mutex<Shelf>>);

#[derive(Debug)]
struct Shelf {
    units: HashMap<Unit, Kept>,
    /// Of all units.
    rows: usize,
    rows_max: usize,
    /// How long one stays that nobody takes.
    for_: Duration,
}

#[derive(Debug)]
struct Kept {
    known: Known,
    given_at: Timestamp,
}

impl Knowns {
    pub(super) fn new(rows_max: usize, for_: Duration) -> Self {
        Self(Arc::new(Mutex::new(Shelf { units: HashMap::new(), rows: 0, rows_max, for_ })))
    }

    /// What was kept of the unit, as the store has it now. `None`: nothing, or something else is known by now.
    pub(super) fn take(&self, account: AccountId, collection: Collection, head: &Head) -> Option<Known> {
        let Kept { known, .. } = self.shelf().take((account, collection))?;
        (known.version == head.version).then(|| as_of(known, head))
    }

    /// Keeps it, if there is room.
    pub(super) fn give(&self, account: AccountId, known: Known, now: Timestamp) {
        self.shelf().give((account, known.collection), known, now);
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().expect("nobody panics while holding what is known")
    }
}

impl Shelf {
    fn take(&mut self, unit: Unit) -> Option<Kept> {
        let kept = self.units.remove(&unit)?;
        self.rows -= rows(&kept.known);
        Some(kept)
    }

    fn give(&mut self, unit: Unit, known: Known, now: Timestamp) {
        self.take(unit);
        let rows = rows(&known);
        if self.rows + rows > self.rows_max {
            // Of accounts that nobody looks at any more.
            let Self { units, for_, .. } = self;
            units.retain(|_, kept| now.duration_since(kept.given_at).unsigned_abs() < *for_);
            self.rows = units.values().map(|kept| self::rows(&kept.known)).sum();
        }
        // Others keep their place: were they to make room for each other, nobody would find anything.
        if self.rows + rows <= self.rows_max {
            self.rows += rows;
            self.units.insert(unit, Kept { known, given_at: now });
        }
    }
}

/// An empty collection takes room as well.
fn rows(known: &Known) -> usize {
    1 + known.members.len() + known.former.len()
}

/// The same rows at a later time: a list without news of one says only in the unit when it was seen.
fn as_of(mut known: Known, head: &Head) -> Known {
    (known.through, known.observed_at) = (head.through, head.observed_at);
    if let Some(at) = head.observed_at {
        for row in known.members.values_mut().filter(|row| row.absent_since.is_none()) {
            row.observed_at = row.observed_at.max(at);
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Instance, InstanceState, KnownResource, Seq};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn known(version: i64, ids: &[(&str, bool)]) -> Known {
        let row = |(id, absent): &(&str, bool)| {
            let row = KnownResource {
                resource: Instance::bare(id, InstanceState::Running, "running").into(),
                revision: 0,
                first_seen_at: at(0),
                observed_at: at(0),
                absent_since: absent.then(|| at(0)),
            };
            ((*id).to_owned(), row)
        };
        Known {
            collection: Collection::Instances,
            version,
            through: Seq(0),
            observed_at: Some(at(0)),
            members: ids.iter().map(row).collect(),
            former: BTreeMap::new(),
        }
    }

    fn head(version: i64) -> Head {
        Head { version, through: Seq(7), observed_at: Some(at(60)) }
    }

    const ONE: AccountId = AccountId(1);

    fn take(knowns: &Knowns, account: AccountId, version: i64) -> Option<Known> {
        knowns.take(account, Collection::Instances, &head(version))
    }

    #[test]
    fn what_is_kept_is_given_as_of_now_and_only_while_the_version_is_the_same() {
        let knowns = Knowns::new(10, Duration::from_secs(1));
        assert_eq!(take(&knowns, ONE, 3), None);
        knowns.give(ONE, known(3, &[("a", false), ("b", true)]), at(0));
        let taken = take(&knowns, ONE, 3).unwrap();
        assert_eq!((taken.through, taken.observed_at), (Seq(7), Some(at(60))));
        let seen: Vec<_> = taken.members.values().map(|row| row.observed_at).collect();
        assert_eq!(seen, [at(60), at(0)]);
        // It is with whoever took it.
        assert_eq!(take(&knowns, ONE, 3), None);
        knowns.give(ONE, taken, at(0));
        assert_eq!(take(&knowns, ONE, 4), None);
        assert_eq!(take(&knowns, ONE, 3), None, "what is old is dropped");
    }

    #[test]
    fn who_came_first_stays_until_nobody_looks_at_it_any_more() {
        let knowns = Knowns::new(5, Duration::from_secs(100));
        let two = known(1, &[("a", false), ("b", false)]);
        knowns.give(ONE, two.clone(), at(0));
        knowns.give(AccountId(2), two.clone(), at(50));
        assert_eq!(take(&knowns, AccountId(2), 1), None, "there is no room");
        knowns.give(ONE, two.clone(), at(60));
        knowns.give(AccountId(2), two.clone(), at(159));
        assert_eq!(take(&knowns, AccountId(2), 1), None);
        knowns.give(AccountId(2), two.clone(), at(160));
        assert!(take(&knowns, AccountId(2), 1).is_some());
        assert_eq!(take(&knowns, ONE, 1), None);
        knowns.give(ONE, known(1, &[("a", false), ("b", false), ("c", false), ("d", false), ("e", false)]), at(160));
        assert_eq!(take(&knowns, ONE, 1), None, "more than all the room");
    }
}
