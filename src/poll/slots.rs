//! Which visits may begin: a bound on those under way, of which those that hang have no more than a part. Pure.
//!
//! Guarantees: units whose last look failed or took long, the suspects, have a quarter of the slots, and one provider's suspects no more
//! than are left after them, so that one more provider always finds some. A visit that takes long gives its slot to the next, up to
//! a bound of its own, a quarter of it for suspects. So units that are well wait for [`Bounds::slow_after`], and not for a time-out.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::{AccountId, Collection};

pub(super) type Key = (AccountId, Collection);

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Visits that have not taken long yet.
    pub(super) at_once: usize,
    /// Visits that have.
    pub(super) slow_at_once: usize,
    pub(super) slow_after: Duration,
}

#[derive(Debug)]
pub(super) struct Slots {
    bounds: Bounds,
    under_way: BTreeMap<Key, Visit>,
}

#[derive(Debug)]
struct Visit {
    provider: String,
    suspect: bool,
    since: Timestamp,
}

impl Slots {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, under_way: BTreeMap::new() }
    }

    /// How many of that sort may begin.
    pub(super) fn room(&self, suspect: bool, now: Timestamp) -> usize {
        let Bounds { at_once, slow_at_once, .. } = self.bounds;
        let quarter = |all: usize| (all / 4).max(1);
        let part = |all: usize| if suspect { quarter(all) } else { all.saturating_sub(quarter(all)).max(1) };
        let same = || self.under_way.values().filter(|visit| visit.suspect == suspect);
        let slow = same().filter(|visit| self.is_slow(visit, now)).count();
        // More than have room among the slow keep their slots.
        (part(at_once) + slow.min(part(slow_at_once))).saturating_sub(same().count())
    }

    /// How many of that provider's may begin.
    pub(super) fn room_at(&self, provider: &str, suspect: bool, now: Timestamp) -> usize {
        let room = self.room(suspect, now);
        if !suspect {
            return room;
        }
        let of_provider = |visit: &&Visit| visit.suspect && visit.provider == provider && !self.is_slow(visit, now);
        room.saturating_sub(self.under_way.values().filter(of_provider).count())
    }

    fn is_slow(&self, visit: &Visit, now: Timestamp) -> bool {
        // A clock that was set back makes nobody slow, nor quick for good.
        now.duration_since(visit.since).unsigned_abs() >= self.bounds.slow_after
    }

    pub(super) fn begin(&mut self, key: Key, provider: String, suspect: bool, now: Timestamp) {
        self.under_way.insert(key, Visit { provider, suspect, since: now });
    }

    pub(super) fn ended(&mut self, key: Key) {
        self.under_way.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots() -> Slots {
        Slots::new(Bounds { at_once: 16, slow_at_once: 32, slow_after: Duration::from_secs(5) })
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    /// Begins all that may.
    fn fill(slots: &mut Slots, provider: &str, suspect: bool, now: i64) -> usize {
        let mut begun = 0;
        while slots.room_at(provider, suspect, at(now)) > 0 {
            let next = slots.under_way.keys().last().map_or(0, |(account, _)| account.0 + 1);
            let key = (AccountId(next), Collection::Instances);
            slots.begin(key, provider.to_owned(), suspect, at(now));
            begun += 1;
        }
        begun
    }

    #[test]
    fn suspects_have_a_quarter_and_one_provider_half_of_what_is_left() {
        let mut slots = slots();
        assert_eq!(fill(&mut slots, "p", true, 0), 2);
        assert_eq!(fill(&mut slots, "q", true, 0), 1);
        assert_eq!(fill(&mut slots, "r", true, 0), 1);
        assert_eq!(fill(&mut slots, "s", true, 0), 0);
        assert_eq!(fill(&mut slots, "p", false, 0), 12, "they take nobody's who is well");
    }

    #[test]
    fn what_hangs_keeps_the_others_waiting_until_it_is_slow() {
        let mut slots = slots();
        let begun: Vec<usize> = (0..5).map(|n| fill(&mut slots, "p", false, 5 * n)).collect();
        assert_eq!(begun, [12, 12, 12, 0, 0], "24 slow ones, and then no more");
        slots.ended((AccountId(0), Collection::Instances));
        assert_eq!(slots.room(false, at(25)), 1);
        assert_eq!(slots.room(true, at(25)), 4);
    }

    proptest! {
        /// Whatever suspects do, who is well finds his slots; and there is an end to how many are under way.
        #[test]
        fn suspects_take_nobodys_slots(story in prop::collection::vec((0u8..4, 0i64..9, 0usize..30), 1..60)) {
            let (mut slots, mut now) = (slots(), 0);
            for (who, pause, end) in story {
                now += pause;
                let suspect = who > 0;
                if suspect {
                    fill(&mut slots, &who.to_string(), true, now);
                } else {
                    slots.ended((AccountId(i64::try_from(end).unwrap()), Collection::Instances));
                }
                prop_assert_eq!(slots.room(false, at(now)), 12);
                prop_assert!(slots.under_way.len() <= 4 + 8);
            }
        }
    }
}
