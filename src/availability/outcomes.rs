//! What successive looks at instances say of launches and runs.
//!
//! A look shows states, not requests, so some things can only be inferred, and some not at all:
//!
//! - Instances of one realm, image and profile with one launch time are taken for one request (without a launch time: those first
//!   seen together). Two requests that differ in nothing count once, which errs on the quiet side.
//! - A request is counted when none of it is pending any more, or as soon as half of it has failed.
//! - What was launched and came up between two looks was launched, unless its launch time says that it is old. What was there in
//!   the first look of all was not.
//! - What came and went between two looks was never there. A refused request leaves no instance: whoever made it tells it
//!   ([`super::Launch::failed`]), and it is not counted twice.
//! - `ERROR` without a reason counts against the realm; with a reason of the caller's it does not. A machine that stopped or ended
//!   counts only with a reason of the provider's: without one a user did it.
//! - What the provider had announced for that time (a retirement, a reboot) is planned, and says nothing of the realm; what it does to a
//!   machine before that, or unannounced, counts.
//! - One that vanished counts only where ended ones stay listed for a while. Elsewhere users' deletions look the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::declared::cut;
use super::state::Realms;
use super::{Bad, BadRun, Event, Launch, Settings, since};
use crate::model::{Fault, FaultKind, Instance, InstanceId, InstanceState, Known, Resource};

/// A look at instances, complete or targeted, beside what was known before it.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// As it was before the look: not yet with what the look found.
    pub known: &'a Known,
    /// What the look showed: all there is, or those asked for.
    pub members: &'a BTreeMap<String, Resource>,
    /// Confirmed gone by this look ([`crate::diff::Found::removed`]).
    pub gone: &'a [String],
    /// When it was answered.
    pub at: Timestamp,
    /// The provider lists what has ended for a while (EC2: an hour), so that leaving the list without an end is no user's doing.
    pub lists_ended: bool,
}

/// What a look says of launches and runs, to be heard by `realms`. Costs a walk over the members.
pub fn outcomes(seen: &Seen<'_>, realms: &Realms, settings: &Settings) -> Vec<Event> {
    let deadline = realms.launch_deadline(settings);
    let mut events = launches(seen, deadline, settings);
    events.extend(runs(seen, realms, settings));
    events
}

/// One instance before and after.
#[derive(Clone, Copy)]
struct Pair<'a> {
    before: Option<&'a Instance>,
    after: &'a Instance,
    first_seen_at: Timestamp,
    /// It is in this look, and not merely known from before.
    looked_at: bool,
}

impl<'a> Seen<'a> {
    /// All that are there as far as is known, those first that were known before.
    fn pairs(&self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        let Self { known, members, gone, at, .. } = *self;
        let gone: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
        let known_ones = known.members.iter().filter_map(move |(id, row)| {
            let before = instance(&row.resource)?;
            let seen = members.get(id).and_then(instance);
            let absent = row.absent_since.is_some() || gone.contains(id.as_str());
            let after = seen.or_else(|| (!absent).then_some(before))?;
            let looked_at = seen.is_some();
            Some(Pair { before: Some(before), after, first_seen_at: row.first_seen_at, looked_at })
        });
        let fresh = members.iter().filter(|(id, _)| !known.members.contains_key(*id));
        let new_ones = fresh.filter_map(move |(_, resource)| {
            Some(Pair { before: None, after: instance(resource)?, first_seen_at: at, looked_at: true })
        });
        known_ones.chain(new_ones)
    }

    fn gone_ones(&self) -> impl Iterator<Item = (&'a Instance, Timestamp)> + use<'a> {
        let Self { known, gone, .. } = *self;
        let rows = gone.iter().filter_map(|id| known.members.get(id));
        rows.filter_map(|row| Some((instance(&row.resource)?, row.first_seen_at)))
    }
}

fn instance(resource: &Resource) -> Option<&Instance> {
    match resource {
        Resource::Instance(instance) => Some(instance),
        _ => None,
    }
}

/// What one instance says of the request that it came from.
enum Part {
    Succeeded,
    Failed(Fault),
    Pending,
    /// Nothing of the realm.
    Silent,
}

/// What tells a request from others, as far as instances show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request<'a> {
    realm: &'a str,
    launch_time: Option<&'a str>,
    /// Only where there is no launch time.
    first_seen_at: Option<Timestamp>,
    image: Option<&'a str>,
    profile: Option<&'a str>,
}

fn launches(seen: &Seen<'_>, deadline: Duration, settings: &Settings) -> Vec<Event> {
    // First who left PENDING in this look, which is mostly nobody; only then whole requests.
    let decided = seen.pairs().filter(|pair| pair.looked_at && is_decided(pair, seen, deadline));
    let decided = decided.filter_map(|pair| request(pair.after, pair.first_seen_at));
    let gone = seen.gone_ones().filter(|(gone, _)| gone.state == InstanceState::Pending);
    let gone = gone.filter_map(|(gone, first_seen_at)| request(gone, first_seen_at));
    let requests: BTreeSet<Request<'_>> = decided.chain(gone).collect();
    if requests.is_empty() {
        return Vec::new();
    }
    let mut parts: BTreeMap<Request<'_>, Tally> = BTreeMap::new();
    for pair in seen.pairs() {
        let Some(request) = request(pair.after, pair.first_seen_at).filter(|request| requests.contains(request)) else {
            continue;
        };
        parts.entry(request).or_default().add(&pair, seen.at, deadline, settings);
    }
    parts.into_iter().filter_map(|(request, tally)| tally.into_launch(&request, seen.at)).map(Event::Launch).collect()
}

fn request<'a>(instance: &'a Instance, first_seen_at: Timestamp) -> Option<Request<'a>> {
    let launch_time = instance.launch_time.as_deref();
    Some(Request {
        realm: instance.realm.as_deref()?,
        launch_time,
        first_seen_at: launch_time.is_none().then_some(first_seen_at),
        image: instance.image.as_deref(),
        profile: instance.hardware_profile.as_deref(),
    })
}

/// Whether this look shows for the first time what became of its launch.
fn is_decided(pair: &Pair<'_>, seen: &Seen<'_>, deadline: Duration) -> bool {
    let pending = pair.after.state == InstanceState::Pending;
    match pair.before {
        Some(before) if before.state == InstanceState::Pending => {
            let began = began(pair);
            let was_late = seen.known.observed_at.is_some_and(|looked| since(looked, began) > deadline);
            !pending || !was_late && since(seen.at, began) > deadline
        }
        Some(_) => false,
        // In the first look of all, everything is new and nothing is.
        None => {
            let recent = seen.known.observed_at.is_some_and(|looked| {
                launched_at(pair.after).is_none_or(|launched| since(looked, launched) <= deadline)
            });
            !pending && recent
        }
    }
}

/// When it was asked for, as far as is known.
fn began(pair: &Pair<'_>) -> Timestamp {
    // Of one that was started again the launch time is the newer one.
    launched_at(pair.after).map_or(pair.first_seen_at, |launched| launched.max(pair.first_seen_at))
}

fn launched_at(instance: &Instance) -> Option<Timestamp> {
    instance.launch_time.as_deref()?.parse().ok()
}

fn part(pair: &Pair<'_>, at: Timestamp, deadline: Duration) -> Part {
    let after = pair.after;
    let native = || Fault { kind: FaultKind::Infrastructure, code: after.native_state.clone() };
    match (after.state, &after.fault) {
        (InstanceState::Running, _) => Part::Succeeded,
        (InstanceState::Error, None) => Part::Failed(native()),
        (InstanceState::Pending, _) if since(at, began(pair)) > deadline => {
            Part::Failed(Fault { kind: FaultKind::Infrastructure, code: OVERDUE.to_owned() })
        }
        (InstanceState::Pending, _) => Part::Pending,
        (
            InstanceState::Error | InstanceState::Stopping | InstanceState::Stopped | InstanceState::Finish,
            Some(fault),
        ) if fault.kind.counts() => Part::Failed(fault.clone()),
        _ => Part::Silent,
    }
}

/// Where the provider gives no code, as nothing happened at all.
const OVERDUE: &str = "pending too long";

#[derive(Default)]
struct Tally {
    succeeded: u32,
    failed: u32,
    pending: u32,
    fault: Option<Fault>,
    failures: Vec<InstanceId>,
    took: Option<Duration>,
}

impl Tally {
    fn add(&mut self, pair: &Pair<'_>, at: Timestamp, deadline: Duration, settings: &Settings) {
        match part(pair, at, deadline) {
            Part::Succeeded => {
                self.succeeded += 1;
                // Of those that came up just now.
                let just_now = pair.before.is_none_or(|before| before.state == InstanceState::Pending);
                let begun = launched_at(pair.after).or_else(|| pair.before.map(|_| began(pair)));
                self.took = self.took.max(begun.filter(|_| just_now).map(|begun| since(at, begun)));
            }
            Part::Failed(fault) => {
                self.failed += 1;
                self.fault.get_or_insert(fault);
                if self.failures.len() < settings.examples_max {
                    self.failures.push(pair.after.id.clone());
                }
            }
            Part::Pending => self.pending += 1,
            Part::Silent => {}
        }
    }

    fn into_launch(self, request: &Request<'_>, at: Timestamp) -> Option<Launch> {
        let Self { succeeded, failed, pending, fault, failures, took } = self;
        let all = succeeded + failed + pending;
        let decided = pending == 0 || failed * 2 >= all;
        (decided && succeeded + failed > 0).then(|| Launch {
            realm: request.realm.to_owned(),
            request: request.name(),
            profile: request.profile.map(str::to_owned),
            succeeded,
            failed,
            fault,
            instances: failures,
            took,
            at,
        })
    }
}

impl Request<'_> {
    /// The realm is not part of it: requests are told apart within one.
    fn name(&self) -> String {
        let when = self.launch_time.map(str::to_owned).or_else(|| self.first_seen_at.map(|at| at.to_string()));
        let parts = [when.as_deref(), self.image, self.profile];
        cut(&parts.map(Option::unwrap_or_default).join(" "))
    }
}

fn runs(seen: &Seen<'_>, realms: &Realms, settings: &Settings) -> Vec<Event> {
    let steady_for = Duration::from_secs(settings.runs_steady_seconds);
    let memory = Duration::from_secs(settings.runs_memory_seconds);
    let mut found: BTreeMap<&str, (u32, Vec<BadRun>)> = BTreeMap::new();
    let mut earlier: BTreeMap<&str, &BadRun> = BTreeMap::new();
    for (realm, record) in &realms.realms {
        let Some(runs) = &record.runs else { continue };
        found.entry(realm).or_default();
        earlier.extend(runs.bad.iter().map(|bad| (bad.id.as_str(), bad)));
    }
    // Whatever of these is still there says itself how it is.
    let there = |id: &str| {
        let row = seen.known.members.get(id);
        seen.members.contains_key(id) || row.is_some_and(|row| row.absent_since.is_none()) && !is_gone(seen, id)
    };
    for (realm, record) in &realms.realms {
        let kept = record.runs.iter().flat_map(|runs| &runs.bad);
        // Where users' deletions look like vanishing, what is gone is no longer anybody's sorrow.
        let kept = kept.filter(|bad| !there(bad.id.as_str()) && bad.counts_at(seen.at, memory));
        let kept = kept.filter(|bad| seen.lists_ended && bad.why != Bad::Impaired);
        found.entry(realm).or_default().1.extend(kept.cloned());
    }
    for pair in seen.pairs() {
        let Some(realm) = pair.after.realm.as_deref() else { continue };
        let long_ago = since(seen.at, pair.first_seen_at) >= steady_for;
        let known_bad = earlier.get(pair.after.id.as_str());
        let ran =
            known_bad.is_some() || long_ago && pair.before.is_some_and(|before| before.state == InstanceState::Running);
        match bad(pair.after) {
            Some(_) if is_planned(pair.before, seen.at) || is_planned(Some(pair.after), seen.at) => {}
            Some(why) if ran => {
                let since = known_bad.map_or(seen.at, |bad| bad.since);
                let bad = BadRun { id: pair.after.id.clone(), why, since };
                if bad.counts_at(seen.at, memory) {
                    found.entry(realm).or_default().1.push(bad);
                }
            }
            None if long_ago && pair.after.state == InstanceState::Running => found.entry(realm).or_default().0 += 1,
            Some(_) | None => {}
        }
    }
    for (gone, first_seen_at) in seen.gone_ones().filter(|_| seen.lists_ended) {
        let ran = gone.state == InstanceState::Running
            && since(seen.at, first_seen_at) >= steady_for
            && !is_planned(Some(gone), seen.at);
        if let Some(realm) = gone.realm.as_deref().filter(|_| ran && !earlier.contains_key(gone.id.as_str())) {
            let vanished = BadRun { id: gone.id.clone(), why: Bad::Vanished, since: seen.at };
            found.entry(realm).or_default().1.push(vanished);
        }
    }
    let event = |(realm, (steady, mut bad)): (&str, (u32, Vec<BadRun>))| {
        bad.sort_by(|a, b| a.id.cmp(&b.id));
        let has_runs = realms.realms.get(realm).is_some_and(|record| record.runs.is_some());
        (steady > 0 || !bad.is_empty() || has_runs).then(|| Event::Runs {
            realm: realm.to_owned(),
            steady,
            bad,
            at: seen.at,
        })
    };
    found.into_iter().filter_map(event).collect()
}

fn is_gone(seen: &Seen<'_>, id: &str) -> bool {
    seen.gone.iter().any(|gone| gone == id)
}

/// The time has come for something that the provider had announced.
fn is_planned(instance: Option<&Instance>, at: Timestamp) -> bool {
    let announced = instance.and_then(|instance| instance.announced.as_deref()).unwrap_or_default();
    announced.iter().any(|announced| announced.has_begun(at))
}

/// How an instance is bad, if it is and no user did it.
fn bad(instance: &Instance) -> Option<Bad> {
    let theirs = instance.fault.as_ref().is_some_and(|fault| fault.kind.counts());
    match instance.state {
        InstanceState::Error if theirs || instance.fault.is_none() => Some(Bad::Broken),
        InstanceState::Stopping | InstanceState::Stopped | InstanceState::Finish if theirs => Some(Bad::Stopped),
        InstanceState::Running if instance.impaired => Some(Bad::Impaired),
        _ => None,
    }
}
