use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Collection, Resource, Seq};

/// All of a collection at one moment. It exists only when the list was complete, so a failure cannot be mistaken for
/// an empty cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub collection: Collection,
    /// Before the first request was sent: nothing in here is older.
    pub asked_at: Timestamp,
    /// After the last answer was read: nothing in here is newer.
    pub answered_at: Timestamp,
    pub members: BTreeMap<String, Resource>,
}

/// What the store last knew of a collection of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub collection: Collection,
    /// Rises with every write of this collection. A commit names the version it was decided on and is refused when
    /// another came between.
    pub version: i64,
    /// The last change recorded in the account when this was read.
    pub through: Seq,
    /// When the newest complete sample was taken; `None` until the first, which is the baseline and makes no news.
    pub observed_at: Option<Timestamp>,
    pub members: BTreeMap<String, KnownResource>,
    /// The last revision of those that were known once. An id that comes back counts on from there.
    pub former: BTreeMap<String, u64>,
}

/// A resource as last known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownResource {
    pub resource: Resource,
    /// Counts this resource's changes from 0, so that a receiver can tell duplicate, late and hole.
    pub revision: u64,
    pub first_seen_at: Timestamp,
    /// When it was last seen, on its own or in a sample.
    pub observed_at: Timestamp,
    /// When a complete list first came without it; `None` while it is there. Not news before a targeted look agrees.
    pub absent_since: Option<Timestamp>,
}
