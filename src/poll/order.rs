//! Whether what is read is older than what was told. Pure.
//!
//! Right after a change one of a provider's servers may still show what was before, also after another showed what is now. Told as
//! it is read, the machine would go back and come again. So a reading that looks older is *doubted*: what is known stays, it is
//! looked at again soon, and the reading is told only when it stays.
//!
//! Guarantees: a reading that the provider itself dates earlier than what is known, or that leads back to how the resource was before
//! it was last told, is not told at once; what stays so is told, no later than `doubt_ms` after it was first read, or after the change
//! before it was told; what a client asked for through Tracker is not doubted.
//!
//! Accepted: what was told is remembered in memory, so for a minute after a start only the provider's own times are heeded. Nor is
//! anything told by a first look. Addresses have no order but the provider's times. A change that came and went while it was
//! doubted is not told, as one between two looks is not.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::Settings;
use crate::diff::Told;
use crate::drivers::Machine;
use crate::model::{Action, Condition, Facts, InstanceState, Known, News, Resource};

/// More ways than this that something was lately are not remembered of it.
const LEFT_MAX: usize = 8;

/// What was told lately of a unit's resources, and which readings are doubted.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// How each was before it was told otherwise; the newest last.
    left: BTreeMap<String, Vec<Left>>,
    doubts: BTreeMap<String, Doubt>,
}

#[derive(Clone, Debug)]
struct Left {
    manner: Manner,
    /// When it was seen to be otherwise.
    at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Doubt {
    /// When the first reading that is doubted was asked for.
    since: Timestamp,
    /// When it was last seen as it is known.
    agreed_at: Timestamp,
}

/// How something is, as far as it can be older or newer.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Manner {
    State(InstanceState),
    /// Of which no machine knows anything.
    Word(String),
}

/// What came of readings that were, or are, in doubt.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sifted {
    /// When those that are believed by now were last seen as they are known.
    pub(super) agreed: BTreeMap<String, Timestamp>,
    /// Another one is in doubt.
    pub(super) doubts: bool,
}

/// How readings are to be taken.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) machine: &'a Machine,
    /// See [`Settings::doubt_ms`].
    bound: Duration,
    /// See [`Settings::doubt_again_ms`].
    again: Duration,
}

impl<'a> Rules<'a> {
    pub(super) fn new(machine: &'a Machine, settings: &Settings) -> Self {
        Self {
            machine,
            bound: Duration::from_millis(settings.doubt_ms),
            again: Duration::from_millis(settings.doubt_again_ms),
        }
    }
}

impl Order {
    /// This is about to be told.
    pub(super) fn telling(&mut self, news: &[Told], rules: Rules<'_>) {
        for Told { subject, observed, news } in news {
            let Some(manner) = Manner::left(news) else { continue };
            let left = self.left.entry(subject.id.clone()).or_default();
            left.retain(|left| left.manner != manner && within(left.at, observed.at, rules.bound));
            if left.len() >= LEFT_MAX {
                left.remove(0);
            }
            left.push(Left { manner, at: observed.at });
        }
    }

    /// A client asks for this: where it leads is not the way back. `None`: for something else than an action on an instance.
    pub(super) fn expect(&mut self, id: &str, action: Option<Action>, machine: &Machine) {
        let Some(left) = self.left.get_mut(id) else { return };
        match action.map(|action| machine.outcomes(action)) {
            Some(outcomes) => {
                left.retain(|left| !matches!(left.manner, Manner::State(state) if outcomes.contains(&state)));
            }
            None => left.clear(),
        }
    }

    /// Puts what is known in the place of every member that is doubted. `dated_back`: see there.
    pub(super) fn sift(
        &mut self,
        known: &Known,
        members: &mut BTreeMap<String, Resource>,
        dated_back: BTreeSet<String>,
        asked_at: Timestamp,
        rules: Rules<'_>,
    ) -> Sifted {
        self.tidy(known, asked_at, rules);
        let mut sifted = Sifted::default();
        let ids: BTreeSet<String> = self.left.keys().chain(self.doubts.keys()).cloned().chain(dated_back).collect();
        for id in ids {
            let (Some(row), Some(read)) = (known.members.get(&id), members.get_mut(&id)) else { continue };
            let doubt = self.doubts.get(&id).copied();
            let since = doubt.map_or(asked_at, |doubt| doubt.since.min(asked_at));
            let left = self.left.get(&id).map_or(&[][..], Vec::as_slice);
            if is_doubtful(&row.resource, read, left, asked_at, since, rules) {
                let agreed_at = doubt.map_or(row.observed_at, |doubt| doubt.agreed_at);
                *read = row.resource.clone();
                sifted.doubts |= doubt.is_none();
                self.doubts.insert(id, Doubt { since, agreed_at });
            } else if let Some(doubt) = doubt {
                if is_otherwise(&row.resource, read) {
                    sifted.agreed.insert(id, doubt.agreed_at);
                } else if asked_at > doubt.since {
                    self.doubts.remove(&id);
                }
            }
        }
        sifted
    }

    /// It was told: nothing of it is in doubt.
    pub(super) fn told(&mut self, id: &str) {
        self.doubts.remove(id);
    }

    /// Those of whom something was read that is not believed yet.
    pub(super) fn doubted(&self) -> BTreeSet<String> {
        self.doubts.keys().cloned().collect()
    }

    /// Forgets what is out of time.
    fn tidy(&mut self, known: &Known, now: Timestamp, rules: Rules<'_>) {
        self.left.retain(|_, left| {
            left.retain(|left| within(left.at, now, rules.bound));
            !left.is_empty()
        });
        // What is not read any more is not in doubt, but missing.
        let live = |id: &String, doubt: &Doubt| {
            known.members.get(id).is_some_and(|row| row.absent_since.is_none_or(|at| at <= doubt.since))
                && within(doubt.since, now, 2 * rules.bound)
        };
        self.doubts.retain(|id, doubt| live(id, doubt));
    }
}

/// Those whom the provider itself dates earlier than what is known of them.
pub(super) fn dated_back(known: &Known, members: &BTreeMap<String, Resource>) -> BTreeSet<String> {
    let is_back = |id: &String, read: &Resource| {
        known.members.get(id).is_some_and(|row| age(&row.resource, read) == Some(Ordering::Less))
    };
    members.iter().filter(|(id, read)| is_back(id, read)).map(|(id, _)| id.clone()).collect()
}

/// Whether what is read may be older than what is known. `left`: how it was before, the newest last. `since`: when the first reading
/// that was doubted, and not followed by one that agreed, was asked for.
fn is_doubtful(
    known: &Resource,
    read: &Resource,
    left: &[Left],
    asked_at: Timestamp,
    since: Timestamp,
    rules: Rules<'_>,
) -> bool {
    match age(known, read) {
        Some(Ordering::Greater) => return false,
        Some(Ordering::Less) => return within(since, asked_at, rules.bound),
        Some(Ordering::Equal) | None => {}
    }
    let (Some(now), Some(then)) = (Manner::of(known), Manner::of(read)) else { return false };
    let is_behind =
        |left: &Left| within(left.at, asked_at, rules.bound) && is_between(&left.manner, &then, &now, rules.machine);
    if now == then || !left.iter().any(is_behind) {
        return false;
    }
    let (Resource::Instance(before), Resource::Instance(after)) = (known, read) else {
        return within(since, asked_at, rules.again);
    };
    // It goes on by itself, once more; but a server that is behind is seldom more than one step behind.
    if rules.machine.allows(before.state, &[], after.state) && !left.last().is_some_and(is_behind) {
        return false;
    }
    // A client may have asked for it elsewhere.
    let possible = rules.machine.allows(before.state, &before.actions, after.state);
    !possible || within(since, asked_at, rules.again)
}

/// Whether it was so before it came to be as it is `now`: it was told so, or the way from what was told leads through it.
fn is_between(left: &Manner, then: &Manner, now: &Manner, machine: &Machine) -> bool {
    let between = |left, then, now| {
        let whole = machine.steps(left, now)?;
        Some(machine.steps(left, then)? + machine.steps(then, now)? == whole)
    };
    match (left, then, now) {
        _ if left == then => true,
        (Manner::State(left), Manner::State(then), Manner::State(now)) => between(*left, *then, *now) == Some(true),
        _ => false,
    }
}

/// Something is read that would be news, or that the provider dates otherwise.
fn is_otherwise(known: &Resource, read: &Resource) -> bool {
    Manner::of(known) != Manner::of(read) || age(known, read).is_some_and(Ordering::is_ne)
}

/// How the provider itself dates the reading beside what is known.
fn age(known: &Resource, read: &Resource) -> Option<Ordering> {
    match (known, read) {
        (Resource::Instance(known), Resource::Instance(read)) => Some(read.modified_at?.cmp(&known.modified_at?)),
        _ => None,
    }
}

/// A clock that jumped makes nothing last.
fn within(from: Timestamp, to: Timestamp, span: Duration) -> bool {
    to.duration_since(from).unsigned_abs() < span
}

impl Manner {
    /// `None`: of a realm, which is judged.
    fn of(resource: &Resource) -> Option<Self> {
        Some(match resource {
            Resource::Instance(instance) => Self::instance(instance.state, &instance.native_state),
            Resource::Realm(_) => return None,
            Resource::Image(image) => Self::condition(image.state.as_deref().unwrap_or_default(), None),
            Resource::Volume(volume) => {
                Self::condition(&volume.state, volume.mount.as_ref().map(|mount| mount.instance.as_str()))
            }
            Resource::Snapshot(snapshot) => Self::condition(&snapshot.state, None),
        })
    }

    /// How what changed was before.
    fn left(news: &News) -> Option<Self> {
        Some(match news {
            News::InstanceState { from, .. } => Self::facts(from),
            // Whatever it is by now, it began so.
            News::InstanceAppeared { to, .. } if to.state != InstanceState::Pending => {
                Self::State(InstanceState::Pending)
            }
            News::ImageState { from, .. }
            | News::VolumeState { from, .. }
            | News::VolumeAttachment { from, .. }
            | News::SnapshotState { from, .. } => {
                let Condition { state, instance, native_state: _ } = from;
                Self::condition(state, instance.as_deref())
            }
            _ => return None,
        })
    }

    fn facts(facts: &Facts) -> Self {
        Self::instance(facts.state, &facts.native_state)
    }

    fn instance(state: InstanceState, native: &str) -> Self {
        match state {
            InstanceState::Unknown => Self::Word(native.to_owned()),
            state => Self::State(state),
        }
    }

    fn condition(state: &str, instance: Option<&str>) -> Self {
        Self::Word(instance.map_or_else(|| state.to_owned(), |instance| format!("{state} {instance}")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::diff::{self, Absence, Look};
    use crate::drivers::Transition;
    use crate::model::{Collection, Instance, KnownResource, Seq, Volume};

    use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping, Unknown};

    static MACHINE: Machine = Machine(&[
        Transition::on("start", "create", "pending"),
        Transition::auto("pending", "running"),
        Transition::auto("pending", "error"),
        Transition::on("running", "reboot", "running"),
        Transition::on("running", "stop", "stopping"),
        Transition::auto("stopping", "stopped"),
        Transition::on("stopped", "start", "running"),
        Transition::on("stopped", "destroy", "finish"),
        Transition::on("error", "destroy", "finish"),
    ]);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn rules() -> Rules<'static> {
        Rules::new(&MACHINE, &Settings::default())
    }

    fn instance(state: InstanceState) -> Instance {
        Instance { actions: MACHINE.actions(state), ..Instance::bare("a", state, state.as_str()) }
    }

    /// One resource of an account, and what is told of it.
    struct Account {
        order: Order,
        known: Known,
        told: Vec<Told>,
    }

    impl Account {
        fn new(resource: Resource) -> Self {
            let row = KnownResource {
                resource,
                revision: 0,
                first_seen_at: at(-1_000),
                observed_at: at(-1_000),
                absent_since: None,
            };
            let known = Known {
                collection: Collection::Instances,
                version: 1,
                through: Seq(0),
                observed_at: Some(at(-1_000)),
                members: [("a".to_owned(), row)].into(),
                former: BTreeMap::new(),
            };
            Self { order: Order::default(), known, told: Vec::new() }
        }

        /// Takes a reading as a look would. `true`: it is in doubt now, and was not.
        fn read(&mut self, resource: Resource, second: i64) -> bool {
            let mut found = BTreeMap::from([("a".to_owned(), resource)]);
            let back = dated_back(&self.known, &found);
            let sifted = self.order.sift(&self.known, &mut found, back, at(second), rules());
            let look = Look { asked_at: at(second), answered_at: at(second), found, missing: BTreeSet::new() };
            let mut found = diff::look(&self.known, &look, &Absence::new(&diff::Settings::default()));
            found.seen_before(&sifted.agreed);
            self.order.telling(&found.news, rules());
            for told in found.news {
                self.order.told(&told.subject.id);
                self.told.push(told);
            }
            for row in found.upserts {
                self.known.members.insert("a".to_owned(), row);
            }
            self.known.members.get_mut("a").unwrap().observed_at = at(second);
            sifted.doubts
        }

        fn states(&self) -> Vec<InstanceState> {
            let to = |told: &Told| match &told.news {
                News::InstanceState { to, .. } => to.state,
                other => panic!("{other}"),
            };
            self.told.iter().map(to).collect()
        }
    }

    /// From the first on, what is read at which second, and what is told by then.
    fn check(first: InstanceState, readings: &[(i64, InstanceState)], expected: &[InstanceState]) {
        let mut account = Account::new(instance(first).into());
        for (second, state) in readings {
            account.read(instance(*state).into(), *second);
        }
        assert_eq!(account.states(), expected, "{first} {readings:?}");
    }

    #[test]
    fn a_step_back_that_takes_more_than_one_request_waits_for_a_minute() {
        check(Pending, &[(0, Running), (1, Pending)], &[Running]);
        check(Pending, &[(0, Running), (1, Pending), (59, Pending)], &[Running]);
        check(Pending, &[(0, Running), (1, Pending), (60, Pending)], &[Running, Pending]);
        check(Running, &[(0, Stopping), (1, Running), (6, Running)], &[Stopping]);
        check(Running, &[(0, Stopping), (1, Running), (2, Stopping), (9, Stopped)], &[Stopping, Stopped]);
        check(Stopping, &[(0, Stopped), (1, Stopping), (50, Stopping)], &[Stopped]);
        check(Stopped, &[(0, Finish), (1, Stopped), (59, Stopped)], &[Finish]);
        // What was never told lies on the way as well.
        check(Running, &[(0, Stopped), (1, Stopping), (7, Stopping)], &[Stopped]);
        check(Running, &[(0, Finish), (1, Stopped), (2, Stopping), (3, Running)], &[Finish]);
        // A minute later nobody answers with what was before.
        check(Running, &[(0, Stopping), (61, Running)], &[Stopping, Running]);
    }

    #[test]
    fn a_step_back_that_a_client_may_have_asked_for_is_read_twice() {
        check(Running, &[(0, Stopped), (1, Running)], &[Stopped]);
        check(Running, &[(0, Stopped), (1, Running), (5, Running)], &[Stopped]);
        check(Running, &[(0, Stopped), (1, Running), (6, Running)], &[Stopped, Running]);
        // It goes on meanwhile, and by itself.
        check(Pending, &[(0, Running), (2, Stopped), (9, Pending), (14, Running)], &[Running, Stopped, Running]);
        // A reading that agrees with what is known begins the wait anew.
        check(Running, &[(0, Stopped), (1, Running), (3, Stopped), (6, Running)], &[Stopped]);
        check(Running, &[(0, Stopped), (1, Running), (3, Stopped), (6, Running), (11, Running)], &[Stopped, Running]);
    }

    #[test]
    fn what_leads_on_is_told_at_once() {
        check(Pending, &[(0, Running), (1, Stopping), (2, Stopped)], &[Running, Stopping, Stopped]);
        check(Running, &[(0, Error)], &[Error]);
        check(Stopped, &[(0, Pending), (1, Running)], &[Pending, Running]);
        // Of words no machine knows the order.
        check(Running, &[(0, Unknown), (1, Running)], &[Unknown]);
        check(Running, &[(0, Unknown), (1, Running), (6, Running)], &[Unknown, Running]);
    }

    #[test]
    fn what_a_client_asked_for_through_us_is_told_at_once() {
        let mut account = Account::new(instance(Running).into());
        account.read(instance(Stopping).into(), 0);
        account.read(instance(Stopped).into(), 5);
        account.order.expect("a", Some(Action::Start), &MACHINE);
        account.read(instance(Running).into(), 7);
        assert_eq!(account.states(), [Stopping, Stopped, Running]);
        // It led away from there: going back is another matter.
        assert!(account.read(instance(Stopped).into(), 8));
        account.order.expect("a", Some(Action::Stop), &MACHINE);
        account.read(instance(Stopping).into(), 9);
        assert_eq!(account.states().last(), Some(&Stopping));
        account.read(instance(Running).into(), 10);
        assert_eq!(account.states().last(), Some(&Stopping));
    }

    #[test]
    fn the_providers_own_time_decides_where_there_is_one() {
        let dated = |state, second| Resource::from(Instance { modified_at: Some(at(second)), ..instance(state) });
        let mut account = Account::new(dated(Stopping, 0));
        account.read(dated(Stopped, 10), 11);
        assert!(account.read(dated(Stopping, 9), 12), "earlier");
        account.read(dated(Pending, 9), 13);
        assert_eq!(account.states(), [Stopped], "whatever it says");
        account.read(dated(Stopping, 14), 14);
        assert_eq!(account.states(), [Stopped, Stopping], "later");
        // In the same second it does not.
        account.read(dated(Stopped, 14), 15);
        assert_eq!(account.states(), [Stopped, Stopping]);
        account.read(dated(Stopped, 15), 16);
        assert_eq!(account.states(), [Stopped, Stopping, Stopped]);
        // A provider that has nothing else to say for a minute means it.
        account.read(dated(Running, 1), 100);
        account.read(dated(Running, 1), 159);
        assert_eq!(account.states().len(), 3);
        account.read(dated(Running, 1), 160);
        assert_eq!(account.states().last(), Some(&Running));
    }

    #[test]
    fn what_is_told_late_says_when_it_was_last_seen_otherwise() {
        let mut account = Account::new(instance(Running).into());
        account.read(instance(Stopped).into(), 0);
        account.read(instance(Stopped).into(), 3);
        account.read(instance(Running).into(), 10);
        account.read(instance(Running).into(), 15);
        let Told { observed, .. } = account.told.last().unwrap();
        assert_eq!((observed.before, observed.at), (Some(at(3)), at(15)));
    }

    #[test]
    fn one_that_has_just_appeared_was_pending_before() {
        let mut account = Account::new(instance(Running).into());
        let row = account.known.members.remove("a").unwrap();
        account.read(row.resource, 0);
        account.told.clear();
        account.read(instance(Pending).into(), 1);
        assert_eq!(account.states(), []);
    }

    #[test]
    fn what_is_missing_is_in_doubt_no_more_nor_after_a_while() {
        let mut account = Account::new(instance(Running).into());
        account.read(instance(Stopped).into(), 0);
        account.read(instance(Running).into(), 1);
        assert_eq!(account.order.doubted(), BTreeSet::from(["a".to_owned()]));
        let mut missing = account.order.clone();
        account.known.members.get_mut("a").unwrap().absent_since = Some(at(2));
        missing.sift(&account.known, &mut BTreeMap::new(), BTreeSet::new(), at(3), rules());
        assert_eq!(missing.doubted(), BTreeSet::new());
        account.known.members.get_mut("a").unwrap().absent_since = None;
        account.order.sift(&account.known, &mut BTreeMap::new(), BTreeSet::new(), at(200), rules());
        assert!(account.order.doubted().is_empty() && account.order.left.is_empty());
    }

    #[test]
    fn a_clock_that_was_set_back_has_nothing_doubted_for_long() {
        let mut account = Account::new(instance(Pending).into());
        account.read(instance(Running).into(), 10_000);
        account.read(instance(Pending).into(), 0);
        assert_eq!(account.states(), [Running, Pending]);
    }

    #[test]
    fn volumes_are_read_twice_as_well() {
        let volume = |state: &str| {
            Resource::from(Volume {
                id: "a".to_owned(),
                name: None,
                description: None,
                created: None,
                capacity: "1".to_owned(),
                kind: None,
                realm: None,
                state: state.to_owned(),
                native_state: state.to_owned(),
                settling: false,
                mount: None,
                actions: vec![],
            })
        };
        let mut account = Account::new(volume("AVAILABLE"));
        account.read(volume("IN-USE"), 0);
        account.read(volume("AVAILABLE"), 1);
        assert_eq!(account.told.len(), 1);
        account.order.expect("a", None, &MACHINE);
        account.read(volume("AVAILABLE"), 2);
        assert_eq!(account.told.len(), 2);
    }

    fn any_state() -> impl Strategy<Value = InstanceState> {
        prop::sample::select(vec![Pending, Running, Stopping, Stopped, Finish, Error, Unknown])
    }

    /// Reads every five seconds what was true up to `lags` seconds before.
    fn told_of(truth: &[InstanceState], every: i64, lags: &[i64]) -> (Vec<InstanceState>, Vec<InstanceState>) {
        let end = every * (truth.len() as i64 + 1);
        let mut account = Account::new(instance(truth[0]).into());
        for (turn, second) in (0..end).step_by(5).enumerate() {
            let then = (second - lags[turn % lags.len()]).max(0) / every;
            account.read(instance(truth[(then as usize).min(truth.len() - 1)]).into(), second);
        }
        let mut expected = truth.to_vec();
        expected.dedup();
        (account.states(), expected.split_off(1))
    }

    proptest! {
        #[test]
        fn what_the_machine_does_is_told_in_order_whichever_server_answers(
            rows in prop::collection::vec(0usize..100, 0..12), lags in prop::collection::vec(0i64..5, 1..20)
        ) {
            let mut truth = vec![Pending];
            for row in rows {
                let last = *truth.last().unwrap();
                let next: Vec<_> = [Pending, Running, Stopping, Stopped, Finish, Error]
                    .into_iter().filter(|to| MACHINE.connects(last, *to)).collect();
                if !next.is_empty() {
                    truth.push(next[row % next.len()]);
                }
            }
            let (told, expected) = told_of(&truth, 20, &lags);
            prop_assert_eq!(told, expected);
        }

        #[test]
        fn whatever_happens_is_told_a_minute_later_at_the_latest(
            truth in prop::collection::vec(any_state(), 1..8), lags in prop::collection::vec(0i64..5, 1..20)
        ) {
            let (told, expected) = told_of(&truth, 80, &lags);
            prop_assert_eq!(told, expected);
        }
    }
}
