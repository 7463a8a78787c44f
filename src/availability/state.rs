//! What is remembered, and how an event changes it. No judgement here: that is `judge.rs`.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::declared::{Belief, Word};
use super::launches::{Baseline, Launches, Trial};
use super::runs::Runs;
use super::{Event, Launch, Outcome, Reachability, Rule, Settings, since};
use crate::model::{Availability, RealmState, Why};

/// The realms of one account, and what holds for all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Realms {
    pub(super) overall: Overall,
    pub(super) realms: BTreeMap<String, Record>,
    unsaved: Unsaved,
}

/// What changed since it was last saved.
#[derive(Clone, Debug, Default, PartialEq)]
struct Unsaved {
    overall: bool,
    realms: std::collections::BTreeSet<String>,
}

/// Of the account. Kept as JSON, a row for each account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overall {
    pub(super) baseline: Baseline,
    /// How long launches took that came up, newest last. Seconds.
    #[serde(default)]
    pub(super) took: VecDeque<u32>,
    #[serde(default)]
    pub(super) reach: Option<Reached>,
    /// Since when it has been told that nobody answers us.
    #[serde(default)]
    pub(super) isolated_since: Option<Timestamp>,
    /// Since when failures have been blamed on something else than realms.
    #[serde(default)]
    pub(super) blame_since: Option<Timestamp>,
    /// When this Tracker took it up. What it did not look at before is not old for that.
    #[serde(skip)]
    pub(super) awake_at: Option<Timestamp>,
}

/// Of one realm. Kept as JSON, a row for each account and realm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    pub(super) declared: Option<Word>,
    pub(super) missing: Option<Missing>,
    /// Seen zone by zone; without it that of the account holds.
    pub(super) reach: Option<Reached>,
    pub(super) launches: Launches,
    pub(super) runs: Option<Runs>,
    /// What other accounts say of it. Theirs to keep, not this one's.
    #[serde(skip)]
    pub(super) elsewhere: Vec<Vec<Outcome>>,
    /// When it became unavailable, lately.
    pub(super) trips: VecDeque<Timestamp>,
    pub(super) hold_until: Option<Timestamp>,
    pub(super) published: Option<Published>,
    /// What a two-valued reader was last told.
    pub(super) wire: Option<RealmState>,
    /// Turns in which the state changed, newest last.
    pub(super) flips: VecDeque<i64>,
    pub(super) flapping_since: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reached {
    pub(super) state: Reachability,
    pub(super) since: Timestamp,
    /// When it was last seen so.
    pub(super) at: Timestamp,
}

/// Complete answers that lacked the realm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Missing {
    pub(super) since: Timestamp,
    pub(super) at: Timestamp,
    pub(super) answers: u32,
}

/// The verdict in force.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Published {
    pub(super) state: Availability,
    pub(super) since: Timestamp,
    /// Percent.
    pub(super) confidence: u8,
    pub(super) rule: Rule,
    /// By launches or runs alone: nothing that the provider says or does not answer speaks for it.
    pub(super) alone: bool,
    pub(super) why: Why,
}

impl Realms {
    /// Of an account of which nothing is known.
    pub fn new(settings: &Settings) -> Self {
        let overall = Overall {
            baseline: Baseline::new(settings),
            took: VecDeque::new(),
            reach: None,
            isolated_since: None,
            blame_since: None,
            awake_at: None,
        };
        Self { overall, realms: BTreeMap::new(), unsaved: Unsaved::default() }
    }

    /// As it was saved, taken up at `now`. Time in which nobody looked makes nothing old.
    pub fn resume(overall: Overall, realms: BTreeMap<String, Record>, now: Timestamp) -> Self {
        let mut overall = Overall { awake_at: Some(now), ..overall };
        // Whether anything answers is learnt anew. Whoever was told that nothing does will be told that something does.
        overall.reach = None;
        let realms = realms.into_iter().map(|(id, record)| (id, Record { reach: None, ..record })).collect();
        Self { overall, realms, unsaved: Unsaved::default() }
    }

    /// What changed since the last call and must be saved for a restart to decide as if there had been none. Refreshed instants
    /// alone are no change, so an account in which nothing happens writes nothing.
    pub fn unsaved(&mut self) -> (Option<&Overall>, Vec<(&str, &Record)>) {
        let Unsaved { overall, realms } = std::mem::take(&mut self.unsaved);
        let changed = realms.iter().filter_map(|id| self.realms.get_key_value(id));
        (overall.then_some(&self.overall), changed.map(|(id, record)| (id.as_str(), record)).collect())
    }

    pub fn overall(&self) -> &Overall {
        &self.overall
    }

    pub fn records(&self) -> impl Iterator<Item = (&str, &Record)> {
        self.realms.iter().map(|(id, record)| (id.as_str(), record))
    }

    /// Forgets a realm that was withdrawn. Its row can go.
    pub fn forget(&mut self, realm: &str) {
        self.realms.remove(realm);
        self.unsaved.realms.remove(realm);
    }

    /// Takes in what was learnt. What follows from it is said by [`Realms::evaluate`].
    pub fn hear(&mut self, event: &Event, settings: &Settings) {
        match event {
            Event::Declared { realm, declared, native, messages, at } => {
                let Some(record) = self.record(realm, settings) else { return };
                let news = Word::hear(&mut record.declared, *declared, native, messages, *at, settings);
                let back = record.missing.take().is_some();
                self.mark(realm, news || back);
            }
            Event::Missing { realm, at } => self.missing(realm, *at),
            Event::Launch(launch) => self.launch(launch, settings),
            Event::Elsewhere { realm, accounts } => {
                // A place of which one knows nothing oneself is nobody's realm here.
                if let Some(record) = self.realms.get_mut(realm) {
                    record.elsewhere.clone_from(accounts);
                }
            }
            Event::Runs { realm, steady, bad, at } => {
                let Some(record) = self.record(realm, settings) else { return };
                let news = Runs::hear(&mut record.runs, *steady, bad, *at, settings);
                self.mark(realm, news);
            }
            Event::Reach { realm: None, state, at } => {
                // That a provider answers at all says nothing of a realm that does not: other calls than the list that fails go on
                // being answered.
                self.overall.reach = Some(Reached::next(self.overall.reach, *state, *at));
            }
            Event::Listed => self.realms.values_mut().for_each(|record| record.reach = None),
            Event::Reach { realm: Some(realm), state, at } => self.reach_alone(realm, *state, *at, settings),
        }
    }

    /// When the provider should be asked about its realms again to settle a doubt; `None`: in its own time.
    pub fn doubt_ends_at(&self, settings: &Settings) -> Option<Timestamp> {
        // What an answer lacks is another question.
        let listed = self.realms.values().filter(|record| record.missing.is_none());
        listed.filter_map(|record| record.declared.as_ref()?.doubt_ends_at(settings)).min()
    }

    /// Whether the realms should be looked at more often: one is not plainly available, or something is suspect.
    pub fn is_suspicious(&self, now: Timestamp, settings: &Settings) -> bool {
        let unreached = |reach: Option<Reached>| reach.is_some_and(|reach| reach.state != Reachability::Reachable);
        unreached(self.overall.reach)
            || self.realms.values().any(|record| {
                let plain = record.published.as_ref().is_none_or(|now| now.state == Availability::Available);
                // One that changed lately may go on changing.
                !plain
                    || !record.flips.is_empty()
                    || record.missing.is_some()
                    || unreached(record.reach)
                    || record.leans(now, settings)
            })
    }

    /// After this long a launch that is still pending has failed.
    pub fn launch_deadline(&self, settings: &Settings) -> Duration {
        let mut took: Vec<u32> = self.overall.took.iter().copied().collect();
        took.sort_unstable();
        let nearly_all = took.len().saturating_sub(1) * 99 / 100;
        let p99 = took.get(nearly_all).copied().map_or(0.0, f64::from);
        let least = Duration::from_secs(settings.launch_deadline_seconds);
        Duration::try_from_secs_f64(p99 * settings.launch_deadline_p99s).map_or(least, |times| times.max(least))
    }

    pub(super) fn record(&mut self, realm: &str, settings: &Settings) -> Option<&mut Record> {
        // What is in no realm says nothing of one.
        if realm.is_empty() {
            return None;
        }
        if !self.realms.contains_key(realm) {
            if self.realms.len() >= settings.realms_max {
                return None;
            }
            self.realms.insert(realm.to_owned(), Record::default());
        }
        self.realms.get_mut(realm)
    }

    pub(super) fn mark(&mut self, realm: &str, changed: bool) {
        if changed && !self.unsaved.realms.contains(realm) {
            self.unsaved.realms.insert(realm.to_owned());
        }
    }

    pub(super) fn mark_overall(&mut self) {
        self.unsaved.overall = true;
    }

    fn missing(&mut self, realm: &str, at: Timestamp) {
        // What was never there is not missed.
        let Some(record) = self.realms.get_mut(realm) else { return };
        let before = record.missing.unwrap_or(Missing { since: at, at, answers: 0 });
        record.missing = Some(Missing { at: before.at.max(at), answers: before.answers.saturating_add(1), ..before });
        self.mark(realm, true);
    }

    fn launch(&mut self, launch: &Launch, settings: &Settings) {
        let Some(trial) = Trial::of(launch, settings.examples_max) else { return };
        if let Some(took) = launch.took.filter(|_| launch.succeeded > 0) {
            self.overall.took.push_back(u32::try_from(took.as_secs()).unwrap_or(u32::MAX));
            let surplus = self.overall.took.len().saturating_sub(settings.launch_times_kept);
            self.overall.took.drain(..surplus);
        }
        self.try_out(&launch.realm, trial, settings);
    }

    fn try_out(&mut self, realm: &str, trial: Trial, settings: &Settings) {
        let mut baseline = self.overall.baseline.clone();
        let Some(record) = self.record(realm, settings) else { return };
        if record.launches.hear(trial, &mut baseline, settings) {
            self.overall.baseline = baseline;
            self.mark_overall();
            self.mark(realm, true);
        }
    }

    fn reach_alone(&mut self, realm: &str, state: Reachability, at: Timestamp, settings: &Settings) {
        let baseline = self.overall.baseline.clone();
        let Some(record) = self.record(realm, settings) else { return };
        let before = record.reach;
        let next = Reached::next(before, state, at);
        record.reach = Some(next);
        let begins = state == Reachability::Unreachable && before.is_none_or(|before| before.state != state);
        if begins {
            record.launches.weigh_in(settings.split_weight, at, &baseline, settings);
        }
        self.mark(realm, begins);
    }
}

impl Reached {
    fn next(before: Option<Self>, state: Reachability, at: Timestamp) -> Self {
        match before {
            Some(before) if before.state == state => Self { at: before.at.max(at), ..before },
            _ => Self { state, since: at, at },
        }
    }
}

impl Record {
    /// What the provider says, as far as it is believed.
    pub(super) fn belief(&self, now: Timestamp, overall: &Overall, settings: &Settings) -> Belief {
        let agreed = self.leans(now, settings) || self.runs.as_ref().is_some_and(|runs| runs.is_partial(settings));
        // What a realm is at first, nobody expected otherwise; and what was believed needs no second time.
        let believed = |published: &Published| {
            published.rule == Rule::Down && self.declared.as_ref().is_some_and(|word| word.since <= published.since)
        };
        let agreed = agreed || self.published.as_ref().is_none_or(believed);
        // Nor is a realm that nobody could use given back while the provider says that nobody can.
        let agreed = agreed || self.is_given_up();
        self.declared.as_ref().map_or(Belief::Nothing, |word| word.belief(now, agreed, overall.awake_at, settings))
    }

    /// Tripped, or near to it.
    pub(super) fn leans(&self, now: Timestamp, settings: &Settings) -> bool {
        let launches = &self.launches;
        launches.tripped.is_some() || {
            let enough = launches.threshold(now, settings) * settings.blame_leaning;
            launches.score_at(now, settings) >= enough
        }
    }

    pub(super) fn reached(&self, overall: &Overall) -> Option<Reached> {
        self.reach.or(overall.reach)
    }

    pub(super) fn is_withdrawn(&self, settings: &Settings) -> bool {
        self.missing.is_some_and(|missing| {
            missing.answers >= settings.withdrawn_answers
                && since(missing.at, missing.since) >= Duration::from_secs(settings.withdrawn_after_seconds)
        })
    }

    /// Something ran or was launched in it lately.
    pub(super) fn is_in_use(&self, now: Timestamp, settings: &Settings) -> bool {
        let window = Duration::from_secs(settings.evidence_valid_seconds);
        self.launches.any_within(now, window) || self.runs.as_ref().is_some_and(|runs| runs.watched() > 0)
    }

    /// A two-valued reader was told that it cannot be used, and not yet that it can.
    pub(super) fn is_given_up(&self) -> bool {
        self.wire == Some(RealmState::Unavailable)
    }

    pub(super) fn state(&self) -> Option<Availability> {
        self.published.as_ref().map(|published| published.state)
    }
}
