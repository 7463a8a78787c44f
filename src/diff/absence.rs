//! When something that is missing counts as gone.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::Look;
use crate::model::{InstanceState, Known, KnownResource, Reason, Resource};

/// `[poll.absence]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How long after a complete list without it the targeted look comes. Milliseconds; providers heal small
    /// inconsistencies within seconds.
    pub confirm_after_ms: u64,
    /// What was first seen less than this long ago is not looked for before it is this old; realms apart. Milliseconds; EC2
    /// may take five minutes to show a new instance everywhere.
    pub young_for_ms: u64,
    /// When more than this many go missing together, and more than `mass_percent` of all there are, they are gone only if they
    /// still are after `mass_hold_ms`: it may be the list that is wrong.
    pub mass_min: usize,
    /// See `mass_min`. Percent.
    pub mass_percent: usize,
    /// See `mass_min`. Milliseconds; two more lists come meanwhile.
    pub mass_hold_ms: u64,
    /// What is missing in a realm that its provider declares down is held back for this long, and then gone if the provider, asked for it
    /// by its id more than once, does not have it. Milliseconds.
    pub realm_down_hold_ms: u64,
    /// A realm is withdrawn when complete lists have lacked it for this long. Milliseconds.
    pub withdrawn_after_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            confirm_after_ms: 10_000,
            young_for_ms: 300_000,
            mass_min: 3,
            mass_percent: 30,
            mass_hold_ms: 90_000,
            realm_down_hold_ms: 600_000,
            withdrawn_after_ms: 600_000,
        }
    }
}

/// The rules made of [`Settings`].
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    confirm_after: Duration,
    young_for: Duration,
    mass_min: usize,
    mass_percent: usize,
    mass_hold: Duration,
    realm_down_hold: Duration,
    withdrawn_after: Duration,
}

impl Absence {
    pub fn new(settings: &Settings) -> Self {
        Self {
            confirm_after: Duration::from_millis(settings.confirm_after_ms),
            young_for: Duration::from_millis(settings.young_for_ms),
            mass_min: settings.mass_min,
            mass_percent: settings.mass_percent,
            mass_hold: Duration::from_millis(settings.mass_hold_ms),
            realm_down_hold: Duration::from_millis(settings.realm_down_hold_ms),
            withdrawn_after: Duration::from_millis(settings.withdrawn_after_ms),
        }
    }

    /// From when on a targeted look may find it gone; `None` while no complete list missed it, or when its kind is
    /// judged by lists alone. `mass`: many are missing with it.
    pub fn confirm_at(&self, known: &KnownResource, mass: bool) -> Option<Timestamp> {
        match known.resource {
            Resource::Instance(_) | Resource::Image(_) | Resource::Volume(_) | Resource::Snapshot(_) => {
                let absent_since = known.absent_since?;
                let hold = if mass { self.mass_hold.max(self.confirm_after) } else { self.confirm_after };
                Some((absent_since + hold).max(known.first_seen_at + self.young_for))
            }
            Resource::Realm(_) => None,
        }
    }

    /// Whether it has been missing for so long at `now` that it is worth asking for, though its realm is declared down.
    pub fn outlasts_its_realm(&self, known: &KnownResource, now: Timestamp) -> bool {
        known.absent_since.is_some_and(|since| since + self.realm_down_hold <= now)
    }

    /// How far apart looks must be of which two have to agree.
    pub fn look_again_after(&self) -> Duration {
        self.confirm_after
    }

    /// So many are missing that the list may be wrong rather than they gone.
    pub fn mass(&self, known: &Known) -> bool {
        let (missing, of) = missing(known);
        self.many(missing, of)
    }

    fn many(&self, missing: usize, of: usize) -> bool {
        missing > self.mass_min && missing * 100 > of * self.mass_percent
    }

    /// Of those that are told gone by a look at some of the missing, that they went together: as many as the look did not find, and as
    /// many of those that it did not ask for as it makes likely. That a list lacked them says nothing by itself. `gone`: by this look.
    pub(super) fn together(&self, known: &Known, look: &Look, gone: usize) -> Option<Reason> {
        let (missing, of) = missing(known);
        let is_missing =
            |id: &&String| known.members.get(*id).is_some_and(|row| row.absent_since.is_some() && lives(row));
        let asked = look.found.keys().chain(&look.missing).filter(is_missing).count();
        if asked == 0 || !self.many(gone + missing.saturating_sub(asked) * gone / asked, of) {
            return None;
        }
        let hold = self.mass_hold.as_secs();
        let text = if asked >= missing {
            format!("{gone} of {of} went missing together, and were still missing after {hold} s")
        } else {
            format!(
                "{missing} of {of} went missing together, and {gone} of {asked} looked for so far were still missing after {hold} s"
            )
        };
        Some(Reason::new("mass", text))
    }

    /// How soon to list again while many are missing.
    pub fn relist_after(&self) -> Duration {
        self.mass_hold / 3
    }

    /// Whether a complete list alone, asked for at `asked_at`, settles that it is gone.
    pub(super) fn listed_out(&self, resource: &Resource, absent_since: Timestamp, asked_at: Timestamp) -> bool {
        match resource {
            Resource::Instance(_) | Resource::Image(_) | Resource::Volume(_) | Resource::Snapshot(_) => false,
            Resource::Realm(_) => asked_at >= absent_since + self.withdrawn_after,
        }
    }

    /// The ids to look for at `now`, and when the next ones are ripe.
    pub fn to_confirm(&self, known: &Known, now: Timestamp) -> (BTreeSet<String>, Option<Timestamp>) {
        let mass = self.mass(known);
        let ripe_at = known.members.iter().filter_map(|(id, known)| Some((id, self.confirm_at(known, mass)?)));
        let (ripe, later): (Vec<_>, Vec<_>) = ripe_at.partition(|(_, at)| *at <= now);
        (ripe.into_iter().map(|(id, _)| id.clone()).collect(), later.into_iter().map(|(_, at)| at).min())
    }
}

/// How many are missing, and of how many.
fn missing(known: &Known) -> (usize, usize) {
    let missing = known.members.values().filter(|row| row.absent_since.is_some() && lives(row)).count();
    (missing, known.members.values().filter(|row| lives(row)).count())
}

/// Whether its leaving would be news: what has ended leaves the list by itself, many together after many ended.
pub(crate) fn lives(row: &KnownResource) -> bool {
    match &row.resource {
        Resource::Instance(instance) => instance.state != InstanceState::Finish,
        _ => true,
    }
}
