//! One lane for each receiver: what was claimed for it and not begun, how many tries are under way, and its circuit. Says what
//! to claim and what to begin. Pure: the time and the roll come in.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::circuit::{Circuit, Rules, Sign};

/// Bounds over all receivers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Tries under way.
    pub(super) overall: usize,
    /// Of these, to receivers that never answered, do not now, or take long: the others always find slots.
    pub(super) suspects: usize,
    /// Of these, to the others, as long as they have not taken long. Those of an outage that has just begun soon count no
    /// more, and leave their slots to who works.
    pub(super) prompt: usize,
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
    /// Tries of those who are no suspects, oldest first; some have ended.
    prompt: VecDeque<(u64, Timestamp, String)>,
    /// Which of them are under way.
    prompt_under_way: HashSet<u64>,
    begun: u64,
    queued: usize,
}

struct Lane<T> {
    circuit: Circuit,
    queue: VecDeque<T>,
    under_way: usize,
    /// Of these, begun as a suspect.
    suspects: usize,
    /// Of these, begun otherwise, and under way for long.
    stuck: usize,
}

impl<T> Lane<T> {
    fn is_suspect(&self) -> bool {
        self.stuck > 0 || self.circuit.is_suspect()
    }
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
    /// The number of one that was begun as prompt.
    prompt: Option<u64>,
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
            prompt: VecDeque::new(),
            prompt_under_way: HashSet::new(),
            begun: 0,
            queued: 0,
        }
    }

    /// As when nothing is claimed and nothing under way. What is known of the receivers stays.
    pub(super) fn clear(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.queue.clear();
            (lane.under_way, lane.suspects, lane.stuck) = (0, 0, 0);
        }
        self.turns.clear();
        self.prompt.clear();
        self.prompt_under_way.clear();
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
        let room = |(receiver, lane): (&String, &Lane<T>)| {
            let mut room = lane.circuit.room(&self.rules, now, lane.under_way) + lane.circuit.ahead(&self.rules);
            if lane.is_suspect() {
                room = room.min(suspects);
            } else if !lane.circuit.is_fast() {
                room = room.min(self.share().saturating_sub(lane.under_way));
            }
            (receiver.clone(), room.saturating_sub(lane.queue.len()))
        };
        // One that has nothing to do begins with a small claim, whatever its window, and is named as soon as it is busy. But
        // where others have used up what is there for unknown ones, all that are known have to be named.
        let rooms: Vec<_> = if per_receiver < self.rules.window_first {
            self.lanes.iter().map(room).collect()
        } else {
            self.busy().map(room).collect()
        };
        // Those with the usual room need not be named.
        let rooms = rooms.into_iter().filter(|(_, room)| *room != per_receiver).collect();
        let free = (self.bounds.overall - self.under_way) + self.bounds.queued_max;
        Wanted { limit: self.bounds.claim_max.min(free.saturating_sub(self.queued)), per_receiver, rooms }
    }

    /// How many tries one receiver may have under way: no more than there are slots that nobody has. However many receivers
    /// take all they can get, and hold it, one more still finds some.
    fn share(&self) -> usize {
        self.bounds.prompt.saturating_sub(self.prompt_under_way.len()).min(self.bounds.overall - self.under_way)
    }

    /// Something was claimed.
    pub(super) fn put(&mut self, receiver: &str, item: T) {
        let lane = self.lanes.entry(receiver.to_owned()).or_insert_with(|| Lane {
            circuit: Circuit::new(&self.rules),
            queue: VecDeque::new(),
            under_way: 0,
            suspects: 0,
            stuck: 0,
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
        self.age(now);
        let share = self.share();
        for _ in 0..self.turns.len() {
            if self.under_way >= self.bounds.overall {
                return None;
            }
            let receiver = self.turns.pop_front()?;
            let lane = self.lanes.get_mut(&receiver).expect("only lanes have turns");
            let suspect = lane.is_suspect();
            let has_slot = match suspect {
                true => self.suspects_under_way < self.bounds.suspects,
                false => share > 0 && lane.under_way < share,
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
            let prompt = (!suspect).then_some(self.begun);
            if let Some(number) = prompt {
                self.begun += 1;
                self.prompt.push_back((number, now, receiver.clone()));
                self.prompt_under_way.insert(number);
            }
            return Some((Slot { receiver, prompt }, item));
        }
        None
    }

    /// Takes note of those that take long by now.
    fn age(&mut self, now: Timestamp) {
        while let Some((number, since, _)) = self.prompt.front() {
            let under_way = self.prompt_under_way.contains(number);
            if under_way && now < *since + self.rules.slow {
                break;
            }
            let (number, _, receiver) = self.prompt.pop_front().expect("there is a first one");
            if self.prompt_under_way.remove(&number)
                && let Some(lane) = self.lanes.get_mut(&receiver)
            {
                lane.stuck += 1;
            }
        }
    }

    /// When a try that is under way will have taken long, and its slot is another's.
    pub(super) fn ages_at(&self) -> Option<Timestamp> {
        let mut under_way = self.prompt.iter().filter(|(number, ..)| self.prompt_under_way.contains(number));
        under_way.next().map(|(_, since, _)| *since + self.rules.slow)
    }

    /// A try ended. `true`: the receiver works again after an outage.
    pub(super) fn ended(&mut self, slot: Slot, sign: Sign, elapsed: Duration, now: Timestamp, roll: f64) -> bool {
        let Slot { receiver, prompt } = slot;
        let suspect = prompt.is_none();
        let stuck = prompt.is_some_and(|number| !self.prompt_under_way.remove(&number));
        let lane = self.lanes.get_mut(&receiver).expect("lanes with tries under way are not forgotten");
        lane.under_way -= 1;
        lane.suspects -= usize::from(suspect);
        lane.stuck -= usize::from(stuck);
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

    /// Receivers that got up lately, and when: there may be more of theirs to release than one step does.
    pub(super) fn ramping(&self, now: Timestamp) -> impl Iterator<Item = (&String, Timestamp)> {
        self.busy().filter_map(move |(name, lane)| Some((name, lane.circuit.ramping_since(&self.rules, now)?)))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { overall: 12, suspects: 6, prompt: 12, claim_max: 8, queued_max: 10, lanes_max: 100 };

    fn rules() -> Rules {
        Rules {
            window_first: 2,
            window_max: 5,
            failures: 3,
            open: Duration::from_secs(5),
            open_max: Duration::from_secs(60),
            ramp_first: 3,
            ramp_step: Duration::from_secs(1),
            fast: Duration::from_millis(100),
            ahead: 2,
            slow: Duration::from_secs(1),
        }
    }

    fn lanes() -> Lanes<u32> {
        Lanes::new(BOUNDS, rules())
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    /// Begins all that may.
    fn begun(lanes: &mut Lanes<u32>, now: Timestamp) -> Vec<(Slot, u32)> {
        std::iter::from_fn(|| lanes.begin(now)).collect()
    }

    fn items(begun: &[(Slot, u32)]) -> Vec<u32> {
        begun.iter().map(|(_, item)| *item).collect()
    }

    /// Lets a receiver answer so often, quickly.
    fn prove(lanes: &mut Lanes<u32>, receiver: &str, times: u32) {
        for _ in 0..times {
            lanes.put(receiver, 0);
            let (slot, _) = lanes.begin(at(0)).unwrap();
            lanes.ended(slot, Sign::Good, Duration::ZERO, at(0), 0.0);
        }
    }

    /// It answered so often, and has something queued.
    fn busy(lanes: &mut Lanes<u32>, times: u32) {
        prove(lanes, "a", times);
        lanes.put("a", 1);
    }

    fn fail(lanes: &mut Lanes<u32>, receiver: &str, times: u32) {
        for _ in 0..times {
            lanes.put(receiver, 0);
            let (slot, _) = lanes.begin(at(0)).unwrap();
            lanes.ended(slot, Sign::Bad(None), Duration::ZERO, at(0), 1.0);
        }
    }

    #[test]
    fn what_is_wanted_follows_what_is_known_of_a_receiver() {
        let check = |what: &str, prepare: fn(&mut Lanes<u32>), now: i64, limit: usize, rooms: &[(&str, usize)]| {
            let mut lanes = lanes();
            prepare(&mut lanes);
            let wanted = lanes.wanted(at(now));
            let rooms = rooms.iter().map(|(name, room)| ((*name).to_owned(), *room)).collect();
            assert_eq!((wanted.limit, wanted.rooms), (limit, rooms), "{what}");
            assert_eq!(wanted.per_receiver, 2, "{what}");
        };
        check("nothing is known", |_| {}, 0, 8, &[]);
        check("one with nothing to do is not named", |lanes| prove(lanes, "a", 9), 0, 8, &[]);
        check("one that answers quickly gets more ahead", |lanes| busy(lanes, 1), 0, 8, &[("a", 8)]);
        check("up to its window, and so much ahead", |lanes| busy(lanes, 9), 0, 8, &[("a", 14)]);
        check("one failure is none", |lanes| fail(lanes, "a", 1), 0, 8, &[]);
        check("one that is shut gets nothing", |lanes| fail(lanes, "a", 3), 4_999, 8, &[("a", 0)]);
        check("and then a single probe", |lanes| fail(lanes, "a", 3), 5_000, 8, &[("a", 1)]);
        check("what is queued is not wanted again", |lanes| lanes.put("a", 1), 0, 8, &[("a", 1)]);
        check("nor more than can be kept", |lanes| (0..20).for_each(|item| lanes.put("a", item)), 0, 2, &[("a", 0)]);
    }

    #[test]
    fn a_known_receiver_is_wanted_though_unknown_ones_have_used_up_their_share() {
        let mut lanes = lanes();
        prove(&mut lanes, "works", 1);
        for receiver in ["n1", "n2", "n3", "n4"] {
            lanes.put(receiver, 1);
            lanes.put(receiver, 2);
        }
        begun(&mut lanes, at(0));
        let wanted = lanes.wanted(at(0));
        assert_eq!(wanted.per_receiver, 0, "nothing of others");
        assert!(wanted.limit > 0 && wanted.rooms["works"] > 0, "{wanted:?}");
    }

    #[test]
    fn unknown_receivers_share_some_slots_and_leave_the_others() {
        let mut lanes = lanes();
        prove(&mut lanes, "works", 9);
        for receiver in ["n1", "n2", "n3", "n4"] {
            lanes.put(receiver, 1);
            lanes.put(receiver, 2);
        }
        (10..15).for_each(|item| lanes.put("works", item));
        let under_way = begun(&mut lanes, at(0));
        let works = under_way.iter().filter(|(slot, _)| slot.receiver() == "works").count();
        assert_eq!((under_way.len(), works), (9, 3), "six to the unknown, and of the others half to one");
        let wanted = lanes.wanted(at(0));
        assert_eq!((wanted.per_receiver, wanted.limit), (0, 8), "whoever else is unknown has to wait");
    }

    #[test]
    fn receivers_take_turns() {
        let mut lanes = lanes();
        for receiver in ["a", "b", "c"] {
            prove(&mut lanes, receiver, 9);
        }
        for item in 0..4 {
            lanes.put("a", 10 + item);
        }
        lanes.put("b", 20);
        lanes.put("c", 30);
        lanes.put("b", 21);
        let under_way = begun(&mut lanes, at(0));
        assert_eq!(items(&under_way), [10, 20, 30, 11, 21, 12, 13]);
        // Of each the oldest first, also when some went back into the queue's end.
        lanes.put("a", 14);
        lanes.put("a", 15);
        lanes.put("c", 31);
        assert_eq!(items(&begun(&mut lanes, at(0))), [14, 31], "a is full with five");
        assert_eq!(lanes.queued(), 1);
    }

    /// 100 slots, of which 30 for suspects, and windows of 64.
    fn wide() -> Lanes<u32> {
        let bounds =
            Bounds { overall: 100, suspects: 30, prompt: 100, claim_max: 100, queued_max: 100, lanes_max: 100 };
        Lanes::new(bounds, Rules { window_first: 4, window_max: 64, ..rules() })
    }

    /// How many of whom begin, of all that may.
    fn counts(lanes: &mut Lanes<u32>) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        while let Some((slot, _)) = lanes.begin(at(0)) {
            *counts.entry(slot.receiver().to_owned()).or_default() += 1;
        }
        counts
    }

    fn of(list: &[(&str, usize)]) -> BTreeMap<String, usize> {
        list.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    #[test]
    fn who_answers_well_but_takes_long_gets_only_the_slots_of_suspects() {
        let mut lanes = wide();
        for slow in ["a", "b"] {
            prove(&mut lanes, slow, 60);
            lanes.put(slow, 0);
            let (slot, _) = lanes.begin(at(0)).unwrap();
            lanes.ended(slot, Sign::Good, Duration::from_secs(14), at(0), 0.0);
        }
        for slow in ["a", "b"] {
            (0..60).for_each(|item| lanes.put(slow, item));
        }
        assert_eq!(counts(&mut lanes), of(&[("a", 15), ("b", 15)]));
    }

    #[test]
    fn however_many_take_all_they_can_get_one_more_finds_slots() {
        let mut lanes = wide();
        let greedy: Vec<_> = (0..20).map(|name| name.to_string()).collect();
        for name in greedy.iter().map(String::as_str).chain(["late"]) {
            prove(&mut lanes, name, 60);
        }
        for name in &greedy {
            (0..20).for_each(|item| lanes.put(name, item));
        }
        let held: usize = counts(&mut lanes).values().sum();
        assert!((80..=97).contains(&held), "most slots are used, and not all: {held}");
        lanes.put("late", 1);
        assert_eq!(counts(&mut lanes), of(&[("late", 1)]));
    }

    #[test]
    fn an_outage_of_many_takes_the_slots_of_who_works_for_a_moment_only() {
        let bounds = Bounds { overall: 100, suspects: 30, prompt: 40, claim_max: 100, queued_max: 100, lanes_max: 100 };
        let mut lanes = Lanes::new(bounds, rules());
        let many: Vec<_> = (0..60).map(|name| name.to_string()).collect();
        for name in many.iter().map(String::as_str).chain(["works"]) {
            prove(&mut lanes, name, 1);
        }
        for name in &many {
            (0..2).for_each(|item| lanes.put(name, item));
        }
        // None of them answers any more.
        let first = begun(&mut lanes, at(0));
        assert_eq!(first.len(), 40);
        lanes.put("works", 99);
        assert!(lanes.begin(at(999)).is_none());
        assert_eq!(lanes.ages_at(), Some(at(1_000)));
        let second = begun(&mut lanes, at(1_000));
        assert!(second.iter().any(|(slot, _)| slot.receiver() == "works"));
        assert!(second.len() <= 60, "bounded all the same: {}", second.len());
        // Ended in whatever order, everything is given back.
        for (slot, _) in first.into_iter().chain(second) {
            lanes.ended(slot, Sign::Good, Duration::ZERO, at(2_000), 0.0);
        }
        assert!(lanes.lanes.values().all(|lane| (lane.under_way, lane.suspects, lane.stuck) == (0, 0, 0)));
        assert_eq!((lanes.under_way, lanes.suspects_under_way, lanes.share()), (0, 0, 40));
    }

    #[test]
    fn one_alone_gets_its_whole_window() {
        let mut lanes = wide();
        prove(&mut lanes, "a", 36);
        (0..50).for_each(|item| lanes.put("a", item));
        assert_eq!(counts(&mut lanes), of(&[("a", 40)]));
    }

    #[test]
    fn one_with_nothing_under_way_comes_next_whatever_the_others_have() {
        let mut lanes = lanes();
        prove(&mut lanes, "busy", 9);
        prove(&mut lanes, "calm", 1);
        (0..9).for_each(|item| lanes.put("busy", item));
        let mut under_way = begun(&mut lanes, at(0));
        assert_eq!(under_way.len(), 5);
        lanes.put("calm", 100);
        // A place of the busy one becomes free, but it is not its turn.
        let (slot, _) = under_way.remove(0);
        lanes.ended(slot, Sign::Good, Duration::ZERO, at(0), 0.0);
        assert!(items(&begun(&mut lanes, at(0))).contains(&100));
    }

    #[test]
    fn what_is_queued_for_one_that_fails_is_taken_back() {
        let mut lanes = lanes();
        (0..5).for_each(|item| lanes.put("down", item));
        lanes.put("other", 9);
        let under_way = begun(&mut lanes, at(0));
        assert_eq!(items(&under_way), [0, 9, 1]);
        assert!(lanes.take_shut(at(0)).is_empty());
        for (slot, _) in under_way {
            let bad = slot.receiver() == "down";
            let sign = if bad { Sign::Bad(Some(Duration::from_secs(9))) } else { Sign::Good };
            lanes.ended(slot, sign, Duration::ZERO, at(0), 0.0);
        }
        assert!(lanes.begin(at(0)).is_none());
        assert_eq!(lanes.take_shut(at(0)), [2, 3, 4]);
        assert_eq!(lanes.queued(), 0);
        assert_eq!(lanes.shut(at(0)), (["down".to_owned()].into(), Some(at(9_000))));
        assert_eq!(lanes.shut(at(9_000)), (BTreeSet::new(), None));
        // It is probed by one alone.
        (5..8).for_each(|item| lanes.put("down", item));
        assert_eq!(items(&begun(&mut lanes, at(9_000))), [5]);
        assert_eq!(lanes.take_all(), [6, 7]);
        assert!(lanes.begin(at(9_000)).is_none());
    }

    #[test]
    fn a_receiver_that_gets_up_is_told_once_and_ramps() {
        let mut lanes = lanes();
        fail(&mut lanes, "a", 3);
        lanes.put("a", 1);
        let (probe, _) = lanes.begin(at(5_000)).unwrap();
        assert!(lanes.ended(probe, Sign::Good, Duration::ZERO, at(5_000), 0.0), "it works again");
        assert_eq!(lanes.ramping(at(5_000)).collect::<Vec<_>>(), [(&"a".to_owned(), at(5_000))]);
        for item in 0..3 {
            lanes.put("a", item);
            let (slot, _) = lanes.begin(at(5_000)).unwrap();
            assert!(!lanes.ended(slot, Sign::Good, Duration::ZERO, at(5_000), 0.0));
        }
        lanes.put("a", 3);
        assert!(lanes.begin(at(5_000)).is_none(), "three at first");
        let (shut, opens_at) = lanes.shut(at(5_000));
        assert_eq!(shut, ["a".to_owned()].into());
        assert!(lanes.begin(opens_at.unwrap()).is_some());
        assert_eq!(lanes.ramping(at(60_000)).count(), 0);
    }

    #[test]
    fn what_is_known_survives_a_pass_up_to_a_bound() {
        let mut lanes = Lanes::new(Bounds { lanes_max: 2, ..BOUNDS }, rules());
        fail(&mut lanes, "down", 3);
        prove(&mut lanes, "up", 9);
        lanes.put("up", 1);
        lanes.begin(at(0)).unwrap();
        lanes.put("up", 2);
        lanes.clear();
        assert_eq!((lanes.queued(), lanes.begin(at(0)).is_none()), (0, true));
        assert_eq!(lanes.wanted(at(0)).rooms, [("down".to_owned(), 0)].into());
        assert_eq!((lanes.lanes["up"].under_way, lanes.lanes["up"].circuit.is_suspect()), (0, false));
        prove(&mut lanes, "more", 1);
        lanes.clear();
        assert_eq!(lanes.wanted(at(0)).rooms, [("down".to_owned(), 0)].into(), "an open circuit is kept longest");
        fail(&mut lanes, "down2", 3);
        fail(&mut lanes, "down3", 3);
        lanes.clear();
        assert!(lanes.wanted(at(0)).rooms.is_empty());
    }

    /// What may happen to lanes.
    #[derive(Clone, Debug)]
    enum Step {
        /// Puts what a store may answer to what is wanted: of each receiver up to so much of its room.
        Claim([usize; RECEIVERS]),
        Begin(usize),
        /// One of those under way, how, and how quickly.
        End(prop::sample::Index, Sign, bool),
        Wait(i64),
        TakeShut,
        TakeAll,
        Clear,
    }

    const RECEIVERS: usize = 7;

    fn step() -> impl Strategy<Value = Step> {
        let sign = prop_oneof![
            5 => Just(Sign::Good),
            1 => Just(Sign::Alive),
            4 => Just(Sign::Bad(None)),
            1 => (0..100_u64).prop_map(|seconds| Sign::Bad(Some(Duration::from_secs(seconds)))),
            1 => Just(Sign::Ours),
        ];
        prop_oneof![
            4 => prop::array::uniform(0..20_usize).prop_map(Step::Claim),
            6 => (1..10_usize).prop_map(Step::Begin),
            8 => (any::<prop::sample::Index>(), sign, any::<bool>()).prop_map(|(which, sign, fast)| Step::End(which, sign, fast)),
            3 => (1..20_000_i64).prop_map(Step::Wait),
            1 => Just(Step::TakeShut),
            1 => Just(Step::TakeAll),
            1 => Just(Step::Clear),
        ]
    }

    /// Lanes, and beside them what must be true of them.
    struct Held {
        lanes: Lanes<u32>,
        now: Timestamp,
        put: u32,
        queued: BTreeSet<u32>,
        under_way: Vec<(Slot, u32)>,
    }

    impl Held {
        fn take(&mut self, step: Step) -> Result<(), TestCaseError> {
            match step {
                Step::Claim(most) => self.claim(most),
                Step::Begin(count) => self.begin(count)?,
                Step::End(which, sign, fast) if !self.under_way.is_empty() => {
                    let (slot, _) = self.under_way.swap_remove(which.index(self.under_way.len()));
                    let elapsed = Duration::from_millis(if fast { 1 } else { 500 });
                    self.lanes.ended(slot, sign, elapsed, self.now, 0.5);
                }
                Step::End(..) => {}
                Step::Wait(ms) => self.now += Duration::from_millis(ms.unsigned_abs()),
                Step::TakeShut => {
                    let taken = self.lanes.take_shut(self.now);
                    self.taken(taken)?;
                }
                Step::TakeAll => {
                    let taken = self.lanes.take_all();
                    self.taken(taken)?;
                    prop_assert!(self.queued.is_empty(), "left behind: {:?}", self.queued);
                }
                Step::Clear => {
                    self.lanes.clear();
                    self.queued.clear();
                    self.under_way.clear();
                }
            }
            prop_assert_eq!(self.lanes.queued(), self.queued.len());
            Ok(())
        }

        /// As a store does that has enough of everything.
        fn claim(&mut self, most: [usize; RECEIVERS]) {
            let Wanted { mut limit, per_receiver, rooms } = self.lanes.wanted(self.now);
            for (number, most) in most.into_iter().enumerate() {
                let receiver = format!("r{number}");
                let room = rooms.get(&receiver).copied().unwrap_or(per_receiver).min(most).min(limit);
                limit -= room;
                for _ in 0..room {
                    self.put += 1;
                    self.queued.insert(self.put);
                    self.lanes.put(&receiver, self.put);
                }
            }
        }

        fn begin(&mut self, count: usize) -> Result<(), TestCaseError> {
            for _ in 0..count {
                let Some((slot, item)) = self.lanes.begin(self.now) else { break };
                prop_assert!(self.queued.remove(&item), "{item} is begun, and was not queued");
                self.under_way.push((slot, item));
            }
            prop_assert!(self.under_way.len() <= BOUNDS.overall);
            let suspects = self.under_way.iter().filter(|(slot, _)| slot.prompt.is_none()).count();
            prop_assert!(suspects <= BOUNDS.suspects, "{suspects} to suspects");
            for number in 0..RECEIVERS {
                let receiver = format!("r{number}");
                let own = self.under_way.iter().filter(|(slot, _)| slot.receiver() == receiver).count();
                prop_assert!(own <= rules().window_max, "{own} to {receiver}");
            }
            prop_assert!(self.queued.len() <= BOUNDS.overall + BOUNDS.queued_max);
            Ok(())
        }

        fn taken(&mut self, items: Vec<u32>) -> Result<(), TestCaseError> {
            for item in items {
                prop_assert!(self.queued.remove(&item), "{item} is taken back, and was not queued");
            }
            Ok(())
        }
    }

    proptest! {
        /// Whatever a store answers and however tries end: the bounds hold, and what is put is begun, taken back or still
        /// queued, nothing twice. In the end nobody is kept waiting who may be called.
        #[test]
        fn bounds_hold_and_nothing_is_lost(steps in prop::collection::vec(step(), 1..120)) {
            let mut held =
                Held { lanes: lanes(), now: at(0), put: 0, queued: BTreeSet::new(), under_way: vec![] };
            for step in steps {
                held.take(step)?;
            }
            // A day later every circuit may be probed; each round everything under way goes well.
            held.now += Duration::from_hours(24);
            for _ in 0..200 {
                held.begin(usize::MAX)?;
                for (slot, _) in std::mem::take(&mut held.under_way) {
                    held.lanes.ended(slot, Sign::Good, Duration::ZERO, held.now, 0.5);
                }
                held.now += Duration::from_secs(1);
            }
            prop_assert!(held.queued.is_empty(), "nobody is kept waiting for ever: {:?}", held.queued);
            prop_assert!(held.lanes.wanted(held.now).limit > 0);
        }

        /// Who has nothing under way and may be called begins before anyone who had a turn since begins twice.
        #[test]
        fn nobody_is_starved(
            backlog in prop::collection::vec(0..RECEIVERS - 1, 1..60),
            ends in prop::collection::vec(any::<prop::sample::Index>(), 1..60),
        ) {
            let mut lanes = lanes();
            for number in 0..RECEIVERS {
                prove(&mut lanes, &format!("r{number}"), 9);
            }
            for number in &backlog {
                lanes.put(&format!("r{number}"), 1);
            }
            let mut under_way = begun(&mut lanes, at(0));
            let late = format!("r{}", RECEIVERS - 1);
            lanes.put(&late, 100);
            let mut begun_since = BTreeMap::<String, usize>::new();
            for index in ends {
                if under_way.iter().any(|(slot, _)| slot.receiver() == late) || under_way.is_empty() {
                    break;
                }
                let (slot, _) = under_way.swap_remove(index.index(under_way.len()));
                lanes.ended(slot, Sign::Good, Duration::ZERO, at(0), 0.0);
                while let Some((slot, item)) = lanes.begin(at(0)) {
                    if item == 100 {
                        return Ok(());
                    }
                    let times = begun_since.entry(slot.receiver().to_owned()).or_default();
                    *times += 1;
                    prop_assert!(*times <= 1, "{} had two turns", slot.receiver());
                    under_way.push((slot, item));
                }
            }
        }
    }
}
