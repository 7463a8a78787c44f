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
    }

    pub(super) fn wanted(&self, now: Timestamp) -> Wanted {
        let suspects = self.bounds.suspects.saturating_sub(self.suspects_under_way);
        let per_receiver = self.rules.window_first.min(suspects);
        let rooms = self.lanes.iter().map(|(receiver, lane)| {
            let mut room = lane.circuit.room(&self.rules, now, lane.under_way) + lane.circuit.ahead(&self.rules);
            if lane.circuit.is_suspect() {
                room = room.min(suspects);
            } else if !lane.circuit.is_fast() {
                room = room.min(self.share().saturating_sub(lane.under_way));
            }
            (receiver, room.saturating_sub(lane.queue.len()))
        });
        // Those with the usual room need not be named.
        let rooms = rooms.filter(|(_, room)| *room != per_receiver).map(|(name, room)| (name.clone(), room)).collect();
        let free = (self.bounds.overall - self.under_way) + self.bounds.queued_max;
        Wanted { limit: self.bounds.claim_max.min(free.saturating_sub(self.queued)), per_receiver, rooms }
    }

    /// How many tries one receiver may have under way: no more than there are slots that nobody has. However many receivers
    /// take all they can get, and hold it, one more still finds some.
    fn share(&self) -> usize {
        self.bounds.overall - self.under_way
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
    }

    /// The next that may begin, the receivers in turn.
    pub(super) fn begin(&mut self, now: Timestamp) -> Option<(Slot, T)> {
        let share = self.share();
        for _ in 0..self.turns.len() {
            if self.under_way >= self.bounds.overall {
                return None;
            }
            let receiver = self.turns.pop_front()?;
            let lane = self.lanes.get_mut(&receiver).expect("only lanes have turns");
            let suspect = lane.circuit.is_suspect();
            let has_slot = match suspect {
                true => self.suspects_under_way < self.bounds.suspects,
                false => lane.under_way < share.max(1),
            };
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
        lane.circuit.ended(&self.rules, sign, elapsed, now, roll)
    }

    /// What is queued of receivers that are left alone for now.
    pub(super) fn take_shut(&mut self, now: Timestamp) -> Vec<T> {
        let Self { lanes, turns, rules, queued, .. } = self;
        let mut taken = Vec::new();
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
        self.lanes.values_mut().flat_map(|lane| lane.queue.drain(..)).collect()
    }

    /// Receivers that got up lately, and when: there may be more of theirs to release than one step does.
    pub(super) fn ramping(&self, now: Timestamp) -> impl Iterator<Item = (&String, Timestamp)> {
        self.lanes.iter().filter_map(move |(name, lane)| Some((name, lane.circuit.ramping_since(&self.rules, now)?)))
    }

    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Receivers that are left alone for now, and when the first of them need not be any more.
    pub(super) fn shut(&self, now: Timestamp) -> (BTreeSet<String>, Option<Timestamp>) {
        let shut = self.lanes.iter().filter_map(|(name, lane)| Some((name, lane.circuit.opens_at(&self.rules, now)?)));
        let mut names = BTreeSet::new();
        let mut first: Option<Timestamp> = None;
        for (name, opens_at) in shut {
            names.insert(name.clone());
            first = Some(first.map_or(opens_at, |first| first.min(opens_at)));
        }
        (names, first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    /// 100 slots, of which 30 for suspects.
    fn lanes() -> Lanes<u32> {
        let second = Duration::from_secs(1);
        let rules = Rules {
            window_first: 4,
            window_max: 64,
            failures: 3,
            open: second,
            open_max: second,
            ramp_first: 10,
            ramp_step: second,
            fast: second / 10,
            ahead: 4,
            slow: second,
        };
        let bounds = Bounds { overall: 100, suspects: 30, claim_max: 100, queued_max: 100, lanes_max: 100 };
        Lanes::new(bounds, rules)
    }

    /// So many tries of it are begun and end well, each after so long.
    fn serve(lanes: &mut Lanes<u32>, receiver: &str, count: u32, elapsed: Duration) {
        for item in 0..count {
            lanes.put(receiver, item);
            let (slot, _) = lanes.begin(at(0)).expect("there is room for one");
            lanes.ended(slot, Sign::Good, elapsed, at(0), 0.0);
        }
    }

    /// Begins all that may begin: how many of whom.
    fn begun(lanes: &mut Lanes<u32>) -> BTreeMap<String, usize> {
        let mut begun = BTreeMap::new();
        while let Some((slot, _)) = lanes.begin(at(0)) {
            *begun.entry(slot.receiver().to_owned()).or_default() += 1;
        }
        begun
    }

    fn of(list: &[(&str, usize)]) -> BTreeMap<String, usize> {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn receivers_begin_in_turn_within_their_windows() {
        let mut lanes = lanes();
        for item in 0..6 {
            lanes.put("a", item);
            lanes.put("b", item);
        }
        let order: Vec<_> =
            (0..4).map(|_| lanes.begin(at(0)).unwrap()).map(|(slot, item)| (slot.receiver, item)).collect();
        assert_eq!(order, [("a", 0), ("b", 0), ("a", 1), ("b", 1)].map(|(name, item)| (name.to_owned(), item)));
        assert_eq!(begun(&mut lanes), of(&[("a", 2), ("b", 2)]));
        assert_eq!(lanes.queued(), 4);
    }

    #[test]
    fn who_answers_well_but_takes_long_gets_only_the_slots_of_suspects() {
        let mut lanes = lanes();
        for slow in ["a", "b"] {
            serve(&mut lanes, slow, 60, Duration::from_millis(10));
            serve(&mut lanes, slow, 1, Duration::from_secs(14));
        }
        for item in 0..60 {
            lanes.put("a", item);
            lanes.put("b", item);
        }
        assert_eq!(begun(&mut lanes), of(&[("a", 15), ("b", 15)]));
    }

    #[test]
    fn however_many_take_all_they_can_get_one_more_finds_slots() {
        let mut lanes = lanes();
        let greedy: Vec<_> = (0..20).map(|name| name.to_string()).collect();
        for name in greedy.iter().map(String::as_str).chain(["late"]) {
            serve(&mut lanes, name, 60, Duration::from_millis(10));
        }
        for name in &greedy {
            (0..20).for_each(|item| lanes.put(name, item));
        }
        let held: usize = begun(&mut lanes).values().sum();
        assert!((80..=97).contains(&held), "most slots are used, and not all: {held}");
        lanes.put("late", 1);
        assert_eq!(begun(&mut lanes), of(&[("late", 1)]));
    }

    #[test]
    fn one_alone_gets_its_whole_window() {
        let mut lanes = lanes();
        serve(&mut lanes, "a", 36, Duration::from_millis(10));
        (0..50).for_each(|item| lanes.put("a", item));
        assert_eq!(begun(&mut lanes), of(&[("a", 40)]));
    }
}
