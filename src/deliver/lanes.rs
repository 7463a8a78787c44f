//! One lane for each receiver: what was claimed for it and not begun, how many tries are under way, and its circuit. Says what
//! to claim and what to begin. Pure: the time and the roll come in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::circuit::{Circuit, Rules, Sign};

/// Bounds over all receivers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Tries under way.
    pub(super) overall: usize,
    /// Of these, to receivers that never answered or do not now: the others always find slots.
    pub(super) suspects: usize,
    /// Claimed at once.
    pub(super) claim_max: usize,
    /// Claimed and not begun.
    pub(super) queued_max: usize,
    /// Receivers remembered.
    pub(super) lanes_max: usize,
}

pub(super) struct Lanes<T> {
    bounds: Bounds,
    rules: Rules,
    lanes: BTreeMap<String, Lane<T>>,
    /// Receivers with something queued or under way, left alone, or just up again. Rounds look at these only: there may be many
    /// thousands of others.
    busy: BTreeSet<String>,
    /// Receivers with something queued, each once; the first is the next to begin.
    turns: VecDeque<String>,
    under_way: usize,
    suspects_under_way: usize,
    queued: usize,
}

struct Lane<T> {
    circuit: Circuit,
    queue: VecDeque<T>,
    under_way: usize,
    /// Of these, begun as a suspect.
    suspects: usize,
}

impl<T> Lane<T> {
    fn is_busy(&self) -> bool {
        self.under_way > 0 || !self.queue.is_empty() || !self.circuit.is_steady()
    }
}

/// How much to claim, in all and of each receiver.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) limit: usize,
    pub(super) per_receiver: usize,
    pub(super) rooms: BTreeMap<String, usize>,
}

/// A try's place, to be given back when it ends.
#[derive(Debug)]
pub(super) struct Slot {
    receiver: String,
    suspect: bool,
}

impl Slot {
    pub(super) fn receiver(&self) -> &str {
        &self.receiver
    }
}

impl<T> Lanes<T> {
    pub(super) fn new(bounds: Bounds, rules: Rules) -> Self {
        Self {
            bounds,
            rules,
            lanes: BTreeMap::new(),
            busy: BTreeSet::new(),
            turns: VecDeque::new(),
            under_way: 0,
            suspects_under_way: 0,
            queued: 0,
        }
    }

    /// As when nothing is claimed and nothing under way. What is known of the receivers stays.
    pub(super) fn clear(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.queue.clear();
            (lane.under_way, lane.suspects) = (0, 0);
        }
        self.turns.clear();
        (self.under_way, self.suspects_under_way, self.queued) = (0, 0, 0);
        if self.lanes.len() > self.bounds.lanes_max {
            self.lanes.retain(|_, lane| !lane.circuit.is_plain());
        }
        // Forgetting an open circuit costs a few tries; remembering without bound costs memory.
        if self.lanes.len() > self.bounds.lanes_max {
            self.lanes.clear();
        }
        self.busy = self.lanes.iter().filter(|(_, lane)| lane.is_busy()).map(|(name, _)| name.clone()).collect();
    }

    fn note(&mut self, receiver: &str) {
        let busy = self.lanes.get(receiver).is_some_and(Lane::is_busy);
        if busy && !self.busy.contains(receiver) {
            self.busy.insert(receiver.to_owned());
        } else if !busy {
            self.busy.remove(receiver);
        }
    }

    fn busy(&self) -> impl Iterator<Item = (&String, &Lane<T>)> {
        self.busy.iter().map(|name| (name, self.lanes.get(name).expect("only lanes are busy")))
    }

    pub(super) fn wanted(&self, now: Timestamp) -> Wanted {
        let suspects = self.bounds.suspects.saturating_sub(self.suspects_under_way);
        let per_receiver = self.rules.window_first.min(suspects);
        // The first claim for one that has nothing to do is small, whatever its window: it is named as soon as it is busy.
        let rooms = self.busy().map(|(receiver, lane)| {
            let mut room = lane.circuit.room(&self.rules, now, lane.under_way) + lane.circuit.ahead(&self.rules);
            if lane.circuit.is_suspect() {
                room = room.min(suspects);
            }
            (receiver, room.saturating_sub(lane.queue.len()))
        });
        // Those with the usual room need not be named.
        let rooms = rooms.filter(|(_, room)| *room != per_receiver).map(|(name, room)| (name.clone(), room)).collect();
        let free = (self.bounds.overall - self.under_way) + self.bounds.queued_max;
        Wanted { limit: self.bounds.claim_max.min(free.saturating_sub(self.queued)), per_receiver, rooms }
    }

    /// Something was claimed.
    pub(super) fn put(&mut self, receiver: &str, item: T) {
        let lane = self.lanes.entry(receiver.to_owned()).or_insert_with(|| Lane {
            circuit: Circuit::new(&self.rules),
            queue: VecDeque::new(),
            under_way: 0,
            suspects: 0,
        });
        if lane.queue.is_empty() {
            self.turns.push_back(receiver.to_owned());
        }
        lane.queue.push_back(item);
        self.queued += 1;
        self.note(receiver);
    }

    /// The next that may begin, the receivers in turn.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<(Slot, T)> {
        for _ in 0..self.turns.len() {
            if self.under_way >= self.bounds.overall {
                return None;
            }
            let receiver = self.turns.pop_front()?;
            let lane = self.lanes.get_mut(&receiver).expect("only lanes have turns");
            let suspect = lane.circuit.is_suspect();
            let has_slot = !suspect || self.suspects_under_way < self.bounds.suspects;
            if !has_slot || lane.circuit.room(&self.rules, now, lane.under_way) == 0 {
                self.turns.push_back(receiver);
                continue;
            }
            let item = lane.queue.pop_front().expect("who has a turn has something queued");
            if !lane.queue.is_empty() {
                self.turns.push_back(receiver.clone());
            }
            lane.circuit.began();
            lane.under_way += 1;
            lane.suspects += usize::from(suspect);
            self.under_way += 1;
            self.suspects_under_way += usize::from(suspect);
            self.queued -= 1;
            return Some((Slot { receiver, suspect }, item));
        }
        None
    }

    /// A try ended. `true`: the receiver works again after an outage.
    pub(super) fn ended(&mut self, slot: Slot, sign: Sign, elapsed: Duration, now: Timestamp, roll: f64) -> bool {
        let Slot { receiver, suspect } = slot;
        let lane = self.lanes.get_mut(&receiver).expect("lanes with tries under way are not forgotten");
        lane.under_way -= 1;
        lane.suspects -= usize::from(suspect);
        self.under_way -= 1;
        self.suspects_under_way -= usize::from(suspect);
        let recovered = lane.circuit.ended(&self.rules, sign, elapsed, now, roll);
        self.note(&receiver);
        recovered
    }

    /// What is queued of receivers that are left alone for now.
    pub(super) fn take_shut(&mut self, now: Timestamp) -> Vec<T> {
        let Self { lanes, turns, rules, queued, .. } = self;
        let mut taken = Vec::new();
        if turns.is_empty() {
            return taken;
        }
        turns.retain(|receiver| {
            let lane = lanes.get_mut(receiver).expect("only lanes have turns");
            let shut = lane.circuit.room(rules, now, 0) == 0;
            if shut {
                *queued -= lane.queue.len();
                taken.extend(lane.queue.drain(..));
            }
            !shut
        });
        taken
    }

    /// All that is queued.
    pub(super) fn take_all(&mut self) -> Vec<T> {
        self.turns.clear();
        self.queued = 0;
        let mut taken = Vec::new();
        for name in std::mem::take(&mut self.busy) {
            let lane = self.lanes.get_mut(&name).expect("only lanes are busy");
            taken.extend(lane.queue.drain(..));
            self.note(&name);
        }
        taken
    }

    /// Receivers that got up lately: there may be more of theirs to release than one step does.
    pub(super) fn ramping(&self, now: Timestamp) -> Vec<String> {
        let ramping = self.busy().filter(|(_, lane)| lane.circuit.is_ramping(&self.rules, now));
        ramping.map(|(receiver, _)| receiver.clone()).collect()
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// When the first receiver that is left alone need not be any more.
    pub(super) fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.busy().filter_map(|(_, lane)| lane.circuit.opens_at(&self.rules, now)).min()
    }

    pub(super) fn shut_count(&self, now: Timestamp) -> usize {
        self.busy().filter(|(_, lane)| lane.circuit.opens_at(&self.rules, now).is_some()).count()
    }

    /// Receivers that are left alone for now, and when the first of them need not be any more.
    pub(super) fn shut(&self, now: Timestamp) -> (BTreeSet<String>, Option<Timestamp>) {
        let shut = self.busy().filter_map(|(name, lane)| Some((name, lane.circuit.opens_at(&self.rules, now)?)));
        let mut names = BTreeSet::new();
        let mut first: Option<Timestamp> = None;
        for (name, opens_at) in shut {
            names.insert(name.clone());
            first = Some(first.map_or(opens_at, |first| first.min(opens_at)));
        }
        (names, first)
    }
}
