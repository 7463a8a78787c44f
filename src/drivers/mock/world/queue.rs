use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::model::InstanceId;

/// What comes to pass at its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The instance goes on from the state it is in.
    Step(InstanceId),
    /// The image goes on from the state it is in.
    Image(String),
    /// The volume goes on from the state it is in.
    Volume(String),
    /// The snapshot goes on from the state it is in.
    Snapshot(String),
    /// `inst1` stops, so that somebody who just came sees something.
    Opening,
    /// Some instance stops or starts by itself.
    Power,
    /// A new instance comes from somewhere.
    Appear,
    /// An instance disappears without trace.
    Vanish,
    /// Some realm becomes unavailable.
    RealmDown,
    RealmBack(String),
}

/// An event's place, for calling it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(Timestamp, u64);

/// What is to come, in order of time; at the same time, in order of planning. Bounded by the world: one step for each
/// instance, image, volume and snapshot, one return for each realm, and one event of each other kind.
#[derive(Default)]
pub(super) struct Queue {
    events: BTreeMap<Place, Event>,
    planned: u64,
}

impl Queue {
    pub(super) fn plan(&mut self, at: Timestamp, event: Event) -> Place {
        self.planned += 1;
        let place = Place(at, self.planned);
        self.events.insert(place, event);
        place
    }

    pub(super) fn call_off(&mut self, place: Place) {
        self.events.remove(&place);
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.events.first_key_value().map(|(place, _)| place.0)
    }

    pub(super) fn pop(&mut self) -> Option<(Timestamp, Event)> {
        self.events.pop_first().map(|(place, event)| (place.0, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn events_come_in_order_of_time_then_of_planning() {
        let mut queue = Queue::default();
        queue.plan(at(5), Event::Vanish);
        queue.plan(at(3), Event::Power);
        queue.plan(at(3), Event::Appear);
        let gone = queue.plan(at(1), Event::Opening);
        queue.call_off(gone);
        assert_eq!(queue.next_at(), Some(at(3)));
        assert_eq!(queue.pop(), Some((at(3), Event::Power)));
        assert_eq!(queue.pop(), Some((at(3), Event::Appear)));
        assert_eq!(queue.pop(), Some((at(5), Event::Vanish)));
        assert_eq!((queue.next_at(), queue.pop()), (None, None));
    }
}
