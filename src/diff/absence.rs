//! When something that is missing counts as gone.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::model::{Known, KnownResource, Resource};

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
    /// A realm is withdrawn when complete lists have lacked it for this long. Milliseconds.
    pub withdrawn_after_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { confirm_after_ms: 10_000, young_for_ms: 300_000, withdrawn_after_ms: 600_000 }
    }
}

/// The rules made of [`Settings`].
#[derive(Clone, Copy, Debug)]
pub struct Absence {
    confirm_after: Duration,
    young_for: Duration,
    withdrawn_after: Duration,
}

impl Absence {
    pub fn new(settings: &Settings) -> Self {
        Self {
            confirm_after: Duration::from_millis(settings.confirm_after_ms),
            young_for: Duration::from_millis(settings.young_for_ms),
            withdrawn_after: Duration::from_millis(settings.withdrawn_after_ms),
        }
    }

    /// From when on a targeted look may find it gone; `None` while no complete list missed it, or when its kind is
    /// judged by lists alone.
    pub fn confirm_at(&self, known: &KnownResource) -> Option<Timestamp> {
        match known.resource {
            Resource::Instance(_) | Resource::Image(_) | Resource::Volume(_) | Resource::Snapshot(_) => {
                let absent_since = known.absent_since?;
                Some((absent_since + self.confirm_after).max(known.first_seen_at + self.young_for))
            }
            Resource::Realm(_) => None,
        }
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
        let ripe_at = known.members.iter().filter_map(|(id, known)| Some((id, self.confirm_at(known)?)));
        let (ripe, later): (Vec<_>, Vec<_>) = ripe_at.partition(|(_, at)| *at <= now);
        (ripe.into_iter().map(|(id, _)| id.clone()).collect(), later.into_iter().map(|(_, at)| at).min())
    }
}
