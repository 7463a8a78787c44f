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
    let lately = |left: &&Left| within(left.at, asked_at, rules.bound);
    if now == then || !left.iter().filter(lately).any(|left| is_behind(&left.manner, &then, &now, rules.machine)) {
        return false;
    }
    let (Resource::Instance(before), Resource::Instance(after)) = (known, read) else {
        return within(since, asked_at, rules.again);
    };
    // A client may have asked for it elsewhere.
    let possible = rules.machine.allows(before.state, &before.actions, after.state);
    !possible || within(since, asked_at, rules.again)
}

/// Whether it was so before it came to be as it is `now`: it was told so, or the way from what was told leads through it.
fn is_behind(left: &Manner, then: &Manner, now: &Manner, machine: &Machine) -> bool {
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
