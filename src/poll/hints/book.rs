//! Which ids are looked at when because of hints. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::stream::Stream;
use super::{Hint, HintTerms, HintedState, Read, Unit, Wanted};
use crate::drivers::Machine;
use crate::model::{AccountId, Entry, InstanceState, Known, Resource, Topic};

/// How far the clock may seem to go back, as those who bring hints and those who look read it apart.
const SKEW: Duration = Duration::from_secs(60);

/// How often what streams remember is gone through for room, at most.
const TIDY_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Book {
    terms: HintTerms,
    units: BTreeMap<Unit, Pending>,
    /// Waits of all units.
    ids: usize,
    streams: BTreeMap<Unit, Stream>,
    /// What all streams remember.
    remembered: usize,
    tidied_at: Timestamp,
    newest: Timestamp,
}

/// The hints of a unit.
#[derive(Debug, Default)]
struct Pending {
    waits: BTreeMap<String, Wait>,
    /// There were more hints than there was room for, or one that is said to have ended is not found: a list is wanted.
    list_at: Option<Timestamp>,
    /// What the look that fell due is to name, or that it is to be a list.
    asking: BTreeSet<String>,
    asking_list: bool,
    not_before: Timestamp,
    list_not_before: Timestamp,
    /// When something is to be done next; `None`: nothing ever.
    due_at: Option<Timestamp>,
}

/// A hint that is followed.
#[derive(Clone, Debug)]
struct Wait {
    state: Option<HintedState>,
    hinted_at: Timestamp,
    /// When it is said to have happened, and no later than it was hinted.
    happened_at: Timestamp,
    /// How many looks have been due.
    step: usize,
    /// `None`: the last look was due.
    due_at: Option<Timestamp>,
    from: From,
}

/// How it was before the first look that follows the hint.
#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    /// There was none yet.
    Unasked,
    Unknown,
    Was {
        word: String,
        native: String,
        state: Option<InstanceState>,
    },
}

impl Book {
    pub(super) fn new(terms: HintTerms) -> Self {
        Self {
            terms,
            units: BTreeMap::new(),
            ids: 0,
            streams: BTreeMap::new(),
            remembered: 0,
            tidied_at: Timestamp::MIN,
            newest: Timestamp::MIN,
        }
    }

    /// `false`: no room for another unit.
    pub(super) fn take(&mut self, unit: Unit, hint: Hint, now: Timestamp) -> bool {
        self.heed(now);
        if !self.units.contains_key(&unit) && self.units.len() >= self.terms.units_max {
            return false;
        }
        self.remember(unit, &hint.id, now);
        let room = self.ids < self.terms.all_ids_max;
        self.change(unit, |pending, terms| pending.take(hint, room, now, terms));
        true
    }

    pub(super) fn due(&mut self, now: Timestamp, busy: &BTreeSet<Unit>, room: usize) -> Vec<Unit> {
        self.heed(now);
        let due =
            |(unit, pending): (&Unit, &Pending)| (pending.due_at? <= now && !busy.contains(unit)).then_some(*unit);
        let ripe: Vec<Unit> = self.units.iter().filter_map(due).collect();
        let mut found = Vec::new();
        for unit in ripe {
            if found.len() < room && self.change(unit, |pending, terms| pending.ask(now, terms)) {
                found.push(unit);
            }
        }
        found
    }

    pub(super) fn next_due_at(&self, busy: &BTreeSet<Unit>) -> Option<Timestamp> {
        let idle = self.units.iter().filter(|(unit, _)| !busy.contains(unit));
        idle.filter_map(|(_, pending)| pending.due_at).min()
    }

    pub(super) fn put_off(&mut self, unit: Unit, until: Timestamp) {
        if self.units.contains_key(&unit) {
            self.change(unit, |pending, _| {
                pending.not_before = pending.not_before.max(until);
                pending.plan();
            });
        }
    }

    pub(super) fn forget(&mut self, unit: Unit) {
        if let Some(pending) = self.units.remove(&unit) {
            self.ids -= pending.waits.len();
        }
        if let Some(stream) = self.streams.remove(&unit) {
            self.remembered -= stream.len();
        }
    }

    pub(super) fn wanted(&mut self, unit: Unit, known: &Known) -> Wanted {
        if !self.units.contains_key(&unit) {
            return Wanted::Nothing;
        }
        self.change(unit, |pending, terms| pending.wanted(known, terms))
    }

    pub(super) fn read(&mut self, unit: Unit, read: &Read<'_>, now: Timestamp) {
        if self.units.contains_key(&unit) {
            self.change(unit, |pending, _| pending.read(read, now));
        }
    }

    pub(super) fn found(&mut self, account: AccountId, changes: &[Entry], now: Timestamp) {
        for Entry { change, .. } in changes {
            let Topic::Of(collection) = change.subject.collection else { continue };
            // The end of what was known to end, addresses and the like are hinted at by nobody.
            let hintable = [".state", ".appeared"].iter().any(|end| change.news.kind().ends_with(end));
            if let Some(stream) = self.streams.get_mut(&(account, collection)).filter(|_| hintable) {
                stream.found(&change.subject.id, now, &self.terms);
            }
        }
    }

    pub(super) fn is_proven(&self, unit: Unit, now: Timestamp) -> bool {
        self.streams.get(&unit).is_some_and(|stream| stream.is_proven(now, &self.terms))
    }

    /// See [`super::Hints::are_relied_on`].
    pub(super) fn is_relied_on(&self, unit: Unit, now: Timestamp) -> bool {
        self.streams.get(&unit).is_some_and(|stream| stream.is_relied_on(now, &self.terms))
    }

    /// Were the clock set back, what is planned would wait for times that do not come. Hints may be lost.
    fn heed(&mut self, now: Timestamp) {
        if now + SKEW < self.newest {
            self.units.clear();
            self.streams.clear();
            (self.ids, self.remembered, self.tidied_at) = (0, 0, now);
            self.newest = now;
        }
        self.newest = self.newest.max(now);
    }

    fn remember(&mut self, unit: Unit, id: &str, now: Timestamp) {
        if self.remembered >= self.terms.all_ids_max && self.tidied_at + TIDY_EVERY <= now {
            self.streams.values_mut().for_each(|stream| stream.tidy(now, &self.terms));
            self.remembered = self.streams.values().map(Stream::len).sum();
            self.tidied_at = now;
        }
        if !self.streams.contains_key(&unit) && self.streams.len() >= self.terms.units_max {
            return;
        }
        let stream = self.streams.entry(unit).or_default();
        let before = stream.len();
        let room = self.remembered < self.terms.all_ids_max && before < self.terms.unit_ids_max;
        stream.hinted(id, now, room, &self.terms);
        self.remembered += stream.len() - before;
    }

    /// Does something with a unit and keeps count.
    fn change<T>(&mut self, unit: Unit, with: impl FnOnce(&mut Pending, &HintTerms) -> T) -> T {
        let pending = self.units.entry(unit).or_default();
        let before = pending.waits.len();
        let outcome = with(pending, &self.terms);
        self.ids = self.ids + pending.waits.len() - before;
        if pending.due_at.is_none() {
            self.units.remove(&unit);
        }
        outcome
    }
}

impl Pending {
    fn take(&mut self, hint: Hint, room: bool, now: Timestamp, terms: &HintTerms) {
        let Hint { id, state, at } = hint;
        let happened_at = at.unwrap_or(now).min(now);
        let soon = now + terms.coalesce;
        let fresh = Wait { state, hinted_at: now, happened_at, step: 0, due_at: Some(soon), from: From::Unasked };
        let full = !room || self.waits.len() >= terms.unit_ids_max;
        match self.waits.get_mut(&id) {
            // Out of order, or once more.
            Some(wait) if happened_at < wait.happened_at => {}
            Some(wait) if happened_at == wait.happened_at && wait.state == fresh.state => {}
            // Its look is not put off, however many hints come.
            Some(wait) => *wait = Wait { due_at: Some(wait.due_at.map_or(soon, |at| at.min(soon))), ..fresh },
            None if full => self.list_at = Some(self.list_at.map_or(soon, |at| at.min(soon))),
            None => {
                self.waits.insert(id, fresh);
            }
        }
        self.plan();
    }

    /// Something may be due: `true` when a look is. Each wait goes one step on, whatever becomes of the look.
    fn ask(&mut self, now: Timestamp, terms: &HintTerms) -> bool {
        self.asking.clear();
        self.asking_list = false;
        self.waits.retain(|_, wait| wait.due_at.is_some());
        let is_due = |wait: &Wait| wait.due_at.is_some_and(|at| at <= now);
        let due = self.waits.values().filter(|wait| is_due(wait)).count();
        let list = due > terms.flood_ids || self.list_at.is_some_and(|at| at <= now);
        if list && now < self.list_not_before {
            self.not_before = self.list_not_before;
            self.plan();
            return false;
        }
        if due == 0 && !list {
            self.plan();
            if self.is_empty() && self.due_at.is_none_or(|at| at <= now) {
                self.due_at = None;
            }
            return false;
        }
        for (id, wait) in self.waits.iter_mut().filter(|(_, wait)| is_due(wait)) {
            self.asking.insert(id.clone());
            wait.step_on(now, terms);
        }
        self.not_before = now + terms.gap;
        if list {
            self.asking_list = true;
            self.list_at = None;
            self.list_not_before = now + terms.flood_gap;
        }
        self.plan();
        true
    }

    fn wanted(&mut self, known: &Known, terms: &HintTerms) -> Wanted {
        let followed = terms.looks.iter().max().copied().unwrap_or_default();
        let asking = std::mem::take(&mut self.asking);
        for id in &asking {
            let Some(wait) = self.waits.get(id) else { continue };
            // Seen so long after it happened that nobody would follow it any more.
            let old = known.members.get(id).is_some_and(|row| row.observed_at > wait.happened_at + followed);
            if old {
                self.waits.remove(id);
            }
        }
        self.asking = asking.into_iter().filter(|id| self.waits.contains_key(id)).collect();
        let asked = |id: &String| self.asking_list || self.asking.contains(id);
        for (id, wait) in self.waits.iter_mut().filter(|(id, wait)| wait.from == From::Unasked && asked(id)) {
            wait.from = known.members.get(id).map_or(From::Unknown, |row| From::of(&row.resource));
        }
        match (self.asking_list, self.asking.is_empty()) {
            (true, _) => Wanted::List,
            (false, true) => Wanted::Nothing,
            (false, false) => Wanted::Look(self.asking.clone()),
        }
    }

    fn read(&mut self, read: &Read<'_>, now: Timestamp) {
        let Read { members, missing, machine } = read;
        let is_missing = |id: &String| missing.map_or(!members.contains_key(id), |missing| missing.contains(id));
        let flood = self.asking_list && missing.is_none();
        let mut list = false;
        self.waits.retain(|id, wait| match members.get(id) {
            Some(resource) => !wait.is_read(resource, machine),
            None if is_missing(id) && wait.is_of_an_end() => {
                // It takes a list to say that it is gone, and soon a look that agrees.
                list |= missing.is_some() && matches!(wait.from, From::Was { .. });
                false
            }
            // A list that served a flood serves nobody else again; otherwise it may be too new to be shown.
            None => !(flood && is_missing(id) && wait.from != From::Unasked),
        });
        if list {
            self.list_at = Some(now);
        }
        if missing.is_none() {
            self.asking.clear();
            self.asking_list = false;
        } else {
            self.asking.retain(|id| !members.contains_key(id) && !is_missing(id));
        }
        self.plan();
    }

    /// One that has nothing left to ask stays until it may ask again, so that it is known when it asked last.
    fn plan(&mut self) {
        let next = self.waits.values().filter_map(|wait| wait.due_at).chain(self.list_at).min();
        self.due_at = Some(next.unwrap_or(self.list_not_before).max(self.not_before));
    }

    fn is_empty(&self) -> bool {
        self.waits.is_empty() && self.list_at.is_none()
    }
}

impl Wait {
    /// To the next look that lies ahead.
    fn step_on(&mut self, now: Timestamp, terms: &HintTerms) {
        self.due_at = loop {
            self.step += 1;
            match terms.looks.get(self.step - 1) {
                None => break None,
                Some(after) if self.hinted_at + *after > now => break Some(self.hinted_at + *after),
                Some(_) => {}
            }
        };
    }

    fn is_of_an_end(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.state == Some(InstanceState::Finish))
    }

    /// Whether this is what was hinted, or later. Without a hinted state: whether it is not as it was.
    fn is_read(&self, resource: &Resource, machine: &Machine) -> bool {
        let now = From::of(resource);
        let From::Was { word, native, state } = &now else { return false };
        let Some(hinted) = &self.state else {
            return self.from != From::Unasked && self.from != now;
        };
        let same = |word: &str| word.eq_ignore_ascii_case(&hinted.native);
        if same(native) || same(word) || (state.is_some() && *state == hinted.state) {
            return true;
        }
        match (&self.from, state, hinted.state) {
            (From::Was { state: Some(before), .. }, Some(state), Some(hinted)) => {
                !resource.is_settling() && is_later(*before, *state, hinted, machine)
            }
            _ => false,
        }
    }
}

/// Whether what was in `before` and was to be in `hinted` has been there already if it is in `state` now: it is neither where it was
/// nor on the shortest way.
fn is_later(before: InstanceState, state: InstanceState, hinted: InstanceState, machine: &Machine) -> bool {
    let Some(way) = machine.steps(before, hinted) else { return false };
    let through = machine.steps(before, state).zip(machine.steps(state, hinted)).map(|(to, on)| to + on);
    state != before && through != Some(way)
}

impl From {
    fn of(resource: &Resource) -> Self {
        let was =
            |word: &str, native: &str, state| Self::Was { word: word.to_owned(), native: native.to_owned(), state };
        match resource {
            Resource::Instance(one) => was(one.state.as_str(), &one.native_state, Some(one.state)),
            Resource::Realm(one) => was(one.state.as_str(), &one.native_state, None),
            Resource::Image(one) => {
                let state = one.state.as_deref().unwrap_or_default();
                was(state, state, None)
            }
            Resource::Volume(one) => was(&one.state, &one.native_state, None),
            Resource::Snapshot(one) => was(&one.state, &one.native_state, None),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::drivers::Transition;
    use crate::model::{Collection, Instance, KnownResource, Seq};

    pub(in crate::poll::hints) fn terms() -> HintTerms {
        let seconds = Duration::from_secs;
        HintTerms {
            coalesce: Duration::from_millis(250),
            looks: [1, 2, 4, 8, 16, 30].map(seconds).to_vec(),
            gap: Duration::from_millis(500),
            flood_ids: 100,
            flood_gap: seconds(5),
            unit_ids_max: 1_000,
            all_ids_max: 5_000,
            units_max: 100,
            hinted_within: seconds(120),
            unproven_for: seconds(3_600),
            proof_for: seconds(24 * 3_600),
        }
    }
    const UNIT: Unit = (AccountId(1), Collection::Instances);

    static MACHINE: Machine = Machine(&[
        Transition::auto("pending", "running"),
        Transition::on("running", "stop", "stopping"),
        Transition::auto("stopping", "stopped"),
        Transition::on("stopped", "start", "running"),
        Transition::on("stopped", "destroy", "finish"),
    ]);

    /// Milliseconds.
    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap()
    }

    fn hint(id: &str, state: &str) -> Hint {
        let ours = match state {
            "stopped" => Some(InstanceState::Stopped),
            "running" => Some(InstanceState::Running),
            "terminated" => Some(InstanceState::Finish),
            _ => None,
        };
        let state = (!state.is_empty()).then(|| HintedState { native: state.to_owned(), state: ours });
        Hint { id: id.to_owned(), state, at: None }
    }

    fn instance(id: &str, state: InstanceState, native: &str) -> (String, Resource) {
        let settling = matches!(state, InstanceState::Pending | InstanceState::Stopping);
        (id.to_owned(), Instance { settling, ..Instance::bare(id, state, native) }.into())
    }

    fn running(id: &str) -> (String, Resource) {
        instance(id, InstanceState::Running, "running")
    }

    fn known(members: impl IntoIterator<Item = (String, Resource)>, observed_ms: i64) -> Known {
        let row = |resource| KnownResource {
            resource,
            revision: 0,
            first_seen_at: at(-1_000_000),
            observed_at: at(observed_ms),
            absent_since: None,
        };
        Known {
            collection: Collection::Instances,
            version: 1,
            through: Seq(0),
            observed_at: Some(at(observed_ms)),
            members: members.into_iter().map(|(id, resource)| (id, row(resource))).collect(),
            former: BTreeMap::new(),
        }
    }

    /// What the looks ask that are made as soon as they are due, as (when, what), while everything runs and goes on running.
    fn looks(book: &mut Book, until: i64) -> Vec<(i64, String)> {
        let all: Vec<_> = ["a", "b"].map(running).into();
        let mut asked = Vec::new();
        while let Some(due_at) = book.next_due_at(&BTreeSet::new()).filter(|due_at| *due_at <= at(until)) {
            let ms = due_at.as_millisecond() - at(0).as_millisecond();
            if book.due(due_at, &BTreeSet::new(), 10).is_empty() {
                continue;
            }
            match book.wanted(UNIT, &known(all.clone(), -60_000)) {
                Wanted::Nothing => {}
                Wanted::List => {
                    asked.push((ms, "list".to_owned()));
                    let members = all.iter().cloned().collect();
                    book.read(UNIT, &Read { members: &members, missing: None, machine: &MACHINE }, due_at);
                }
                Wanted::Look(ids) => {
                    asked.push((ms, ids.iter().cloned().collect::<Vec<_>>().join(" ")));
                    let members: BTreeMap<_, _> = all.iter().filter(|(id, _)| ids.contains(id)).cloned().collect();
                    let missing = ids.into_iter().filter(|id| !members.contains_key(id)).collect();
                    book.read(UNIT, &Read { members: &members, missing: Some(&missing), machine: &MACHINE }, due_at);
                }
            }
        }
        asked
    }

    fn shown(asked: &[(i64, String)]) -> Vec<(i64, &str)> {
        asked.iter().map(|(ms, what)| (*ms, what.as_str())).collect()
    }

    #[test]
    fn a_hint_is_followed_for_half_a_minute_and_forgotten() {
        let mut book = Book::new(terms());
        assert!(book.take(UNIT, hint("a", "stopped"), at(0)));
        let asked = looks(&mut book, 1_000_000);
        let expected = [250, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000].map(|ms| (ms, "a"));
        assert_eq!(shown(&asked), expected);
        assert!(book.units.is_empty() && book.ids == 0);
    }

    #[test]
    fn hints_of_a_unit_are_looked_at_together_and_no_more_often_than_its_gap() {
        let mut book = Book::new(terms());
        book.take(UNIT, hint("a", "stopped"), at(0));
        book.take(UNIT, hint("b", "stopped"), at(200));
        let asked = looks(&mut book, 3_000);
        // The one that came later has its first look with the other's second, and so on.
        assert_eq!(shown(&asked), [(250, "a"), (750, "b"), (1_250, "a b"), (2_000, "a"), (2_500, "b")]);
        let mut book = Book::new(HintTerms { gap: Duration::ZERO, ..terms() });
        for ms in 0..10 {
            for id in ["a", "b"] {
                book.take(UNIT, hint(id, "stopped"), at(ms));
            }
        }
        assert_eq!(shown(&looks(&mut book, 500)), [(250, "a b")]);
    }

    #[test]
    fn hints_without_end_of_one_id_neither_starve_its_look_nor_hurry_it() {
        let mut book = Book::new(terms());
        let mut asked = 0;
        for ms in 0..10_000 {
            book.take(UNIT, hint("a", if ms % 2 == 0 { "stopped" } else { "" }), at(ms));
            asked += book.due(at(ms), &BTreeSet::new(), 10).len();
        }
        assert!((15..=20).contains(&asked), "{asked} looks in 10 s");
        assert_eq!(book.ids, 1);
    }

    #[test]
    fn a_flood_is_one_list_and_the_book_stays_within_its_bounds() {
        let mut book = Book::new(terms());
        for n in 0..100_000 {
            assert!(book.take(UNIT, hint(&format!("i-{n}"), "stopped"), at(n / 400)));
        }
        assert!(book.ids <= 1_000, "{}", book.ids);
        let asked = looks(&mut book, 1_000_000);
        assert_eq!(shown(&asked), [(250, "list")], "what is not in the list is not followed");
        assert!(book.units.is_empty() && book.ids == 0 && book.remembered <= 1_000);
        // One that goes on for a minute.
        let mut lists = 0;
        for n in 0..60_000 {
            book.take(UNIT, hint(&format!("i-{n}"), "stopped"), at(100_000 + n));
            if book.due(at(100_000 + n), &BTreeSet::new(), 10) == [UNIT] {
                lists += usize::from(book.wanted(UNIT, &known([], 0)) == Wanted::List);
                let read = Read { members: &BTreeMap::new(), missing: None, machine: &MACHINE };
                book.read(UNIT, &read, at(100_000 + n));
            }
        }
        assert!((10..=13).contains(&lists), "{lists}");
        assert!(book.ids <= 1_000 && book.remembered <= 1_000);
    }

    #[test]
    fn a_hundred_and_one_are_a_list_and_a_hundred_are_not() {
        let check = |count: usize, expected: usize| {
            let mut book = Book::new(terms());
            for n in 0..count {
                book.take(UNIT, hint(&format!("i-{n}"), "stopped"), at(0));
            }
            assert_eq!(book.due(at(250), &BTreeSet::new(), 10), [UNIT]);
            match book.wanted(UNIT, &known([], 0)) {
                Wanted::Look(ids) => assert_eq!(ids.len(), expected),
                Wanted::List => assert_eq!(expected, 0),
                Wanted::Nothing => panic!("nothing"),
            }
        };
        check(100, 100);
        check(101, 0);
    }

    #[test]
    fn many_accounts_share_the_room_and_each_is_still_looked_at() {
        let mut book = Book::new(terms());
        for n in 0..99_000 {
            let unit = (AccountId(n % 99), Collection::Instances);
            assert!(book.take(unit, hint(&format!("i-{n}"), "stopped"), at(0)));
        }
        assert_eq!(book.ids, 5_000);
        assert!(book.remembered <= 5_000);
        book.take((AccountId(99), Collection::Instances), hint("a", "stopped"), at(0));
        assert!(!book.take((AccountId(100), Collection::Instances), hint("a", "stopped"), at(0)), "units are bounded");
        assert_eq!(book.due(at(250), &BTreeSet::new(), 1_000).len(), 100);
        let busy: BTreeSet<_> = (0..100).map(|n| (AccountId(n), Collection::Instances)).collect();
        assert_eq!(book.next_due_at(&busy), None);
        for n in 0..100 {
            book.forget((AccountId(n), Collection::Instances));
        }
        assert!(book.units.is_empty() && book.streams.is_empty() && (book.ids, book.remembered) == (0, 0));
    }

    #[test]
    fn who_is_busy_or_has_no_room_is_due_later() {
        let mut book = Book::new(terms());
        let other = (AccountId(2), Collection::Instances);
        book.take(UNIT, hint("a", "stopped"), at(0));
        book.take(other, hint("a", "stopped"), at(0));
        assert_eq!(book.due(at(250), &[UNIT].into(), 0), []);
        assert_eq!(book.due(at(250), &[UNIT].into(), 10), [other]);
        assert_eq!(book.next_due_at(&[other].into()), Some(at(250)));
        assert_eq!(book.due(at(900), &BTreeSet::new(), 10), [UNIT]);
        book.put_off(other, at(20_000));
        assert_eq!(book.due(at(19_999), &[UNIT].into(), 10), []);
        assert_eq!(book.due(at(20_000), &[UNIT].into(), 10), [other]);
        assert_eq!(book.next_due_at(&[UNIT].into()), Some(at(30_000)), "looks that were missed are not made up for");
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing() {
        let mut book = Book::new(terms());
        book.take(UNIT, hint("a", "stopped"), at(10_000_000));
        assert_eq!(book.due(at(10_000_250), &BTreeSet::new(), 1), [UNIT]);
        book.put_off(UNIT, at(11_000_000));
        book.take(UNIT, hint("a", "stopped"), at(0));
        assert_eq!(book.due(at(250), &BTreeSet::new(), 1), [UNIT]);
    }

    #[test]
    fn until_when_a_hint_is_followed() {
        use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping};
        let check = |before: Option<(InstanceState, &str)>, hinted: &str, read: (InstanceState, &str), done: bool| {
            let mut book = Book::new(terms());
            book.take(UNIT, hint("a", hinted), at(0));
            book.due(at(250), &BTreeSet::new(), 1);
            let before = before.map(|(state, native)| instance("a", state, native));
            assert_eq!(book.wanted(UNIT, &known(before.clone(), -1)), Wanted::Look(["a".to_owned()].into()));
            let members = [instance("a", read.0, read.1)].into();
            book.read(UNIT, &Read { members: &members, missing: Some(&BTreeSet::new()), machine: &MACHINE }, at(250));
            assert_eq!(book.ids == 0, done, "{before:?} {hinted} {read:?}");
        };
        let was = Some((Running, "running"));
        check(was, "stopped", (Running, "running"), false);
        check(was, "stopped", (Stopping, "stopping"), false);
        check(was, "stopped", (Stopped, "stopped"), true);
        check(was, "STOPPED", (Stopped, "SHUTOFF"), true);
        check(was, "stopped", (Stopped, "SHUTOFF"), true);
        // Later, or elsewhere.
        check(was, "stopped", (Finish, "terminated"), true);
        check(was, "stopped", (Error, "error"), true);
        check(was, "terminated", (Stopped, "stopped"), false);
        check(was, "terminated", (Finish, "terminated"), true);
        // It moves, so it is not where it will be.
        check(Some((Stopped, "stopped")), "running", (Pending, "pending"), false);
        check(Some((Stopped, "stopped")), "running", (Running, "running"), true);
        // Nothing is known of where it was, or of the word.
        check(None, "stopped", (Running, "running"), false);
        check(None, "stopped", (Stopped, "stopped"), true);
        check(was, "hibernating", (Stopped, "stopped"), false);
        check(was, "hibernating", (Stopped, "Hibernating"), true);
        // No state was hinted: any news will do.
        check(was, "", (Running, "running"), false);
        check(was, "", (Stopping, "stopping"), true);
        check(None, "", (Running, "running"), true);
    }

    #[test]
    fn a_hint_that_is_out_of_order_comes_twice_or_is_old_changes_nothing() {
        let timed = |id: &str, state: &str, ms: i64| Hint { at: Some(at(ms)), ..hint(id, state) };
        let mut book = Book::new(terms());
        book.take(UNIT, timed("a", "stopped", -1_000), at(0));
        book.take(UNIT, timed("a", "stopped", -1_000), at(100));
        book.take(UNIT, timed("a", "running", -2_000), at(100));
        let wait = &book.units[&UNIT].waits["a"];
        assert_eq!((wait.state.clone(), wait.hinted_at), (hint("a", "stopped").state, at(0)));
        book.take(UNIT, timed("a", "running", -500), at(100));
        let wait = &book.units[&UNIT].waits["a"];
        assert_eq!((wait.state.clone(), wait.due_at), (hint("a", "running").state, Some(at(250))));
        // Of the future: of now.
        book.take(UNIT, timed("b", "stopped", 9_000_000), at(100));
        assert_eq!(book.units[&UNIT].waits["b"].happened_at, at(100));
        // It was seen long after that.
        let mut book = Book::new(terms());
        book.take(UNIT, timed("a", "stopped", -60_000), at(0));
        book.due(at(250), &BTreeSet::new(), 1);
        assert_eq!(book.wanted(UNIT, &known([running("a")], -20_000)), Wanted::Nothing);
        assert_eq!(book.ids, 0);
        let mut book = Book::new(terms());
        book.take(UNIT, timed("a", "stopped", -60_000), at(0));
        book.due(at(250), &BTreeSet::new(), 1);
        assert_eq!(book.wanted(UNIT, &known([running("a")], -40_000)), Wanted::Look(["a".to_owned()].into()));
    }

    #[test]
    fn an_end_that_is_hinted_and_not_found_takes_a_list() {
        let check = |before: Option<(String, Resource)>, hinted: &str, expected: &[&str]| {
            let mut book = Book::new(terms());
            book.take(UNIT, hint("x", hinted), at(0));
            let known = known(before, -1);
            let mut asked = Vec::new();
            for ms in (0..3_000).step_by(50) {
                if book.due(at(ms), &BTreeSet::new(), 1).is_empty() {
                    continue;
                }
                let wanted = book.wanted(UNIT, &known);
                let missing = BTreeSet::from(["x".to_owned()]);
                let list = wanted == Wanted::List;
                asked.push(if list { "list" } else { "look" });
                let missing = (!list).then_some(&missing);
                book.read(UNIT, &Read { members: &BTreeMap::new(), missing, machine: &MACHINE }, at(ms));
            }
            assert_eq!(asked, expected, "{hinted}");
        };
        check(Some(running("x")), "terminated", &["look", "list"]);
        check(None, "terminated", &["look"]);
        // It may be too new to be shown.
        check(None, "running", &["look", "look", "look"]);
    }

    proptest! {
        #[test]
        fn whatever_is_hinted_each_unit_keeps_its_gap_and_everything_ends(
            hints in prop::collection::vec((0i64..5_000, 0u8..5, 0i64..3, -9_000i64..9_000), 0..200)
        ) {
            let mut book = Book::new(HintTerms { flood_ids: 2, unit_ids_max: 3, all_ids_max: 6, ..terms() });
            let mut hints = hints;
            hints.sort_unstable();
            let mut hints = hints.into_iter().peekable();
            let mut looked = BTreeMap::<Unit, Timestamp>::new();
            for ms in (0..60_000).step_by(50) {
                while let Some((when, id, account, happened)) = hints.next_if(|hint| hint.0 <= ms) {
                    let hint = Hint { at: Some(at(happened)), ..hint(&format!("i-{id}"), "stopped") };
                    book.take((AccountId(account), Collection::Instances), hint, at(when));
                }
                for unit in book.due(at(ms), &BTreeSet::new(), 2) {
                    let last = looked.insert(unit, at(ms));
                    prop_assert!(last.is_none_or(|last| last + terms().gap <= at(ms)));
                    let _ = book.wanted(unit, &known([], 0));
                }
                prop_assert!(book.ids <= 6);
                prop_assert_eq!(book.ids, book.units.values().map(|pending| pending.waits.len()).sum::<usize>());
            }
            prop_assert!(book.units.is_empty());
        }
    }
}
