//! What others hinted at: which looks it makes due now, until what was hinted was read. The book and the streams are pure; what
//! is shared between those who hint and those who look is a lock around them.
//!
//! Guarantees: a hint never is a change, nor a reading: all it does is name ids that a look asks the provider for. Whatever
//! is hinted, by whomever, the book stays within its bounds, and of a unit there is no more than one hinted look in
//! [`HintTerms::gap`] and no more than one list in [`HintTerms::flood_gap`].
//!
//! Accepted: hints live in memory. One that is lost, at a stop or for lack of room, costs nothing but time: the cadence looks
//! all the same.

mod book;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;

use self::book::Book;
use super::plan::Ask;
use crate::drivers::Machine;
use crate::model::{AccountId, Collection, Entry, InstanceState, Known, Resource};

pub(super) type Unit = (AccountId, Collection);

/// Bounds and spans, made of `[hints]` of the settings file.
#[derive(Clone, Debug)]
pub struct HintTerms {
    /// How long the first look waits for more hints of the unit.
    pub coalesce: Duration,
    /// How long after a hint the looks come that follow the first, as long as what was hinted is not read.
    pub looks: Vec<Duration>,
    /// The shortest time between two hinted looks at a unit.
    pub gap: Duration,
    /// More ids than this in one look make it a list.
    pub flood_ids: usize,
    /// The shortest time between two such lists of a unit.
    pub flood_gap: Duration,
    /// Ids kept of a unit. Of more than that is only known that there were more: a list.
    pub unit_ids_max: usize,
    /// Ids kept of all units together; again as many are remembered for judging streams.
    pub all_ids_max: usize,
    /// Units with hints; hints of more are ignored.
    pub units_max: usize,
    /// A change was hinted when a hint of it came at most this long before it was found, or after.
    pub hinted_within: Duration,
    /// How long a stream that missed a change is not trusted.
    pub unproven_for: Duration,
    /// How long a stream that brought a change is trusted without bringing another.
    pub proof_for: Duration,
}

/// That something is said to have happened to a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hint {
    pub id: String,
    /// How it is said to be now, if that was said.
    pub state: Option<HintedState>,
    /// When it is said to have happened.
    pub at: Option<Timestamp>,
}

/// A state in the words of whoever hinted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HintedState {
    pub native: String,
    /// Of an instance, ours for it.
    pub state: Option<InstanceState>,
}

/// What a look owes to hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    /// These ids.
    Look(BTreeSet<String>),
    /// Too many ids to name.
    List,
}

/// What a look read.
pub(super) struct Read<'a> {
    pub(super) members: &'a BTreeMap<String, Resource>,
    /// Ids that were asked for and are not there; `None`: all that are not members.
    pub(super) missing: Option<&'a BTreeSet<String>>,
    pub(super) machine: &'a Machine,
}

/// The hints that are followed, shared by those who bring them and those who look. Cheap to clone.
#[derive(Clone)]
pub struct Hints(Arc<Mutex<Book>>);

impl Hints {
    pub fn new(terms: HintTerms) -> Self {
        Self(Arc::new(Mutex::new(Book::new(terms))))
    }

    /// Takes hints of a unit; answers with how many. The others found no room.
    pub fn take(&self, account: AccountId, collection: Collection, hints: Vec<Hint>, now: Timestamp) -> usize {
        let mut book = self.book();
        hints.into_iter().map(|hint| book.take((account, collection), hint, now)).filter(|taken| *taken).count()
    }

    /// Whether every change of the unit is hinted, as far as can be told, so that it may be looked at less often: the last ones
    /// were, none was found without a hint for an hour, and the newest is not older than a day.
    pub fn is_proven(&self, account: AccountId, collection: Collection, now: Timestamp) -> bool {
        self.book().is_proven((account, collection), now)
    }

    /// As [`Hints::is_proven`], and no change was found that a hint may still come for: until it does, the next look must not be far.
    pub(super) fn are_relied_on(&self, account: AccountId, collection: Collection, now: Timestamp) -> bool {
        self.book().is_relied_on((account, collection), now)
    }

    /// At most `room` units that a hint makes due, those that are `busy` aside. Each is due again when its next look is.
    pub(super) fn due(&self, now: Timestamp, busy: &BTreeSet<Unit>, room: usize) -> Vec<Unit> {
        self.book().due(now, busy, room)
    }

    /// When the next unit that is not `busy` is due.
    pub(super) fn next_due_at(&self, busy: &BTreeSet<Unit>) -> Option<Timestamp> {
        self.book().next_due_at(busy)
    }

    /// The unit is not to be looked at before that, whatever is hinted.
    pub(super) fn put_off(&self, unit: Unit, until: Timestamp) {
        self.book().put_off(unit, until);
    }

    /// Nobody watches it.
    pub(super) fn forget(&self, unit: Unit) {
        self.book().forget(unit);
    }

    /// What the unit's hints that fell due want looked at, given what is known before the look. To be asked before each look,
    /// also when it is asked anew.
    pub(super) fn wanted(&self, account: AccountId, known: &Known) -> Wanted {
        self.book().wanted((account, known.collection), known)
    }

    /// `ask`, and what hints want besides.
    pub(super) fn join(&self, account: AccountId, known: &Known, ask: Ask, ids_max: usize) -> Ask {
        joined(ask, self.wanted(account, known), ids_max)
    }

    /// A look read this, whoever wanted it: hints that it bears out are followed no more.
    pub(super) fn read(&self, account: AccountId, collection: Collection, read: &Read<'_>, now: Timestamp) {
        self.book().read((account, collection), read, now);
    }

    /// These changes were found.
    pub(super) fn found(&self, account: AccountId, changes: &[Entry], now: Timestamp) {
        if !changes.is_empty() {
            self.book().found(account, changes, now);
        }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().expect("nobody panics while holding the hints")
    }
}

/// A list serves hints too. So many ids that a look cannot name them leave those out that hints did not name: their turn comes.
fn joined(ask: Ask, wanted: Wanted, ids_max: usize) -> Ask {
    match (ask, wanted) {
        (Ask::Look(ids), Wanted::Look(hinted)) => {
            let rest: Vec<_> = ids.difference(&hinted).cloned().collect();
            Ask::Look(hinted.into_iter().chain(rest).take(ids_max).collect())
        }
        (Ask::Nothing, Wanted::Look(hinted)) => Ask::Look(hinted),
        (Ask::Look(_) | Ask::Nothing, Wanted::List) => Ask::List,
        (ask, _) => ask,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> BTreeSet<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_look_that_is_due_serves_hints_too() {
        let check = |ask: Ask, wanted: Wanted, expected: Ask| assert_eq!(joined(ask, wanted, 3), expected);
        check(Ask::List, Wanted::Look(ids("a")), Ask::List);
        check(Ask::List, Wanted::Nothing, Ask::List);
        check(Ask::Look(ids("a b")), Wanted::Nothing, Ask::Look(ids("a b")));
        check(Ask::Look(ids("a b")), Wanted::Look(ids("b c")), Ask::Look(ids("a b c")));
        check(Ask::Look(ids("a b")), Wanted::Look(ids("x y")), Ask::Look(ids("a x y")));
        check(Ask::Look(ids("a")), Wanted::List, Ask::List);
    }
}
