//! A random history on the store equals the same history on a map in memory: no change is lost, `seq` has no hole, and of
//! a hook and a resource things go out in order, whatever is set, removed, read, retried, merged, given back, disabled, sent
//! again, pruned, cut or reopened in between.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use proptest::prelude::*;
use tracker::changes::disabling;
use tracker::model::{
    AccountId, Callback, ChangeId, Collection, Delivery, DeliveryState, Disabling, Hook, HookId, Merged, Mode, Scope,
    Seq, Terms, Verdict,
};
use tracker::store::{Ask, Commit, NewChange, PruneRules, Recovered, Results, Returned, WhichDeliveries};

use super::world::{PASSWORD, World, ask, at, change, commit, hook, key, login, outcome, results, subscriber};
use crate::support::cases::{config, run};

/// Seconds that a claim holds.
const LEASE: i64 = 30;
const HOOKS: usize = 4;
const RECEIVERS: [&str; 2] = ["one", "two"];
const INSTANCES: [&str; 3] = ["i-0", "i-1", "i-2"];

/// Everything but what was dropped.
const SENT_AGAIN: [DeliveryState; 5] = [
    DeliveryState::Waiting,
    DeliveryState::Delivered,
    DeliveryState::Read,
    DeliveryState::Exhausted,
    DeliveryState::Merged,
];

#[derive(Clone, Debug)]
enum Step {
    /// To a receiver, or to the feed.
    Set(usize, Option<usize>, Mode),
    Remove(usize),
    /// Instance, and which hooks are told.
    News(Vec<(usize, BTreeSet<usize>)>),
    Claim(Room),
    /// What there is to say, and in the same step what to claim, if anything.
    Record(Said, Option<Room>),
    Read(Vec<u64>),
    ReadThrough(u64),
    /// These are to be sent again, whatever became of them, or only what was given up.
    Again(usize, Vec<u64>, bool),
    Enable(usize),
    /// A round of it: what is kept is younger than so many seconds and among so many, and a step does so much.
    Prune(i64, u64, usize),
    Wait(i64),
    Release,
    Reopen,
}

#[derive(Clone, Debug)]
struct Room {
    limit: usize,
    per_receiver: usize,
    /// Of each receiver, when it is not the same as of all.
    own: [Option<usize>; RECEIVERS.len()],
}

/// Of the claims ever made.
#[derive(Clone, Debug)]
struct Said {
    endings: Vec<(prop::sample::Index, Ending)>,
    /// Given back, to be claimed as before or so many seconds from now.
    returned: Vec<(prop::sample::Index, Option<i64>)>,
    recovered: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Delivered,
    /// In so many seconds; the receiver asked for so many.
    Retry(i64, Option<i64>),
    Postpone(i64),
    Exhausted,
    /// And its hook is disabled.
    Last,
    Disable,
}

impl Ending {
    fn verdict(self, hook: usize, now: i64) -> Verdict {
        match self {
            Self::Delivered => Verdict::Delivered,
            Self::Retry(after, asked) => {
                Verdict::Retry { due_at: at(now + after), not_before: asked.map(|asked| at(now + asked)) }
            }
            Self::Postpone(after) => Verdict::Postpone { due_at: at(now + after) },
            Self::Exhausted => Verdict::Exhausted { disable: None },
            Self::Last => Verdict::Exhausted { disable: Some(off(hook, now)) },
            Self::Disable => Verdict::Disable(off(hook, now)),
        }
    }
}

fn off(hook: usize, now: i64) -> Disabling {
    let change = ChangeId(format!("chg_off_{hook}_{now}"));
    disabling(&HookId(id(hook)), change, at(now), "failing", "it has failed for days".to_owned())
}

fn room() -> impl Strategy<Value = Room> {
    let own = prop::option::weighted(0.3, 0..6_usize);
    (0..8_usize, 0..5_usize, [own.clone(), own]).prop_map(|(limit, per_receiver, own)| Room {
        limit,
        per_receiver,
        own,
    })
}

fn said() -> impl Strategy<Value = Said> {
    let retry = (1..60_i64, prop::option::weighted(0.3, 0..60_i64)).prop_map(|(after, asked)| {
        // What the receiver asks for lengthens the wait, so it is never more than that.
        Ending::Retry(after.max(asked.unwrap_or_default()), asked)
    });
    let ending = prop_oneof![
        6 => Just(Ending::Delivered),
        4 => retry,
        2 => (1..60_i64).prop_map(Ending::Postpone),
        1 => Just(Ending::Exhausted),
        1 => Just(Ending::Last),
        1 => Just(Ending::Disable),
    ];
    let endings = prop::collection::vec((any::<prop::sample::Index>(), ending), 0..4);
    let again = prop::option::weighted(0.3, 1..60_i64);
    let returned = prop::collection::vec((any::<prop::sample::Index>(), again), 0..2);
    let recovered = prop_oneof![
        4 => Just(BTreeSet::new()),
        1 => prop::collection::btree_set(0..RECEIVERS.len(), 1..=RECEIVERS.len()),
    ];
    (endings, returned, recovered).prop_map(|(endings, returned, recovered)| Said { endings, returned, recovered })
}

fn step() -> impl Strategy<Value = Step> {
    let told = prop::collection::btree_set(0..HOOKS, 0..=HOOKS);
    let mode = prop_oneof![Just(Mode::Each), Just(Mode::Latest)];
    prop_oneof![
        3 => (0..HOOKS, prop::option::weighted(0.8, 0..RECEIVERS.len()), mode)
            .prop_map(|(hook, to, mode)| Step::Set(hook, to, mode)),
        1 => (0..HOOKS).prop_map(Step::Remove),
        6 => prop::collection::vec((0..INSTANCES.len(), told), 1..4).prop_map(Step::News),
        5 => room().prop_map(Step::Claim),
        9 => (said(), prop::option::of(room())).prop_map(|(said, room)| Step::Record(said, room)),
        1 => prop::collection::vec(1..30_u64, 0..4).prop_map(Step::Read),
        1 => (0..30_u64).prop_map(Step::ReadThrough),
        2 => (0..HOOKS, prop::collection::vec(1..30_u64, 1..6), any::<bool>())
            .prop_map(|(hook, seqs, all)| Step::Again(hook, seqs, all)),
        1 => (0..HOOKS).prop_map(Step::Enable),
        2 => (0..200_i64, 0..20_u64, 1..6_usize).prop_map(|(age, count, step)| Step::Prune(age, count, step)),
        4 => (1..45_i64).prop_map(Step::Wait),
        1 => Just(Step::Release),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug)]
struct Set {
    /// `None`: the feed.
    to: Option<usize>,
    mode: Mode,
    disabled: bool,
    set_at: i64,
    failing_since: Option<i64>,
    /// How often it was disabled.
    disabled_count: u64,
}

#[derive(Debug)]
struct Owed {
    resource: String,
    state: DeliveryState,
    /// It may be claimed: one of each hook that is posted to and each resource.
    ready: bool,
    attempts: u32,
    due_at: i64,
    not_before: Option<i64>,
    /// Since when, of the newest claim, unless its outcome is known.
    claimed_at: Option<i64>,
    merged: Option<Merged>,
}

/// What the store should be like.
#[derive(Default)]
struct Model {
    now: i64,
    hooks: BTreeMap<usize, Set>,
    /// What every change is of, its revision and when it was recorded, by seq from 1.
    log: Vec<(String, u64, i64)>,
    /// So many of them, the oldest, are kept no longer.
    pruned: u64,
    owed: BTreeMap<(usize, u64), Owed>,
    /// Every claim ever made: hook, seq and when.
    claims: Vec<Claim>,
}

type Claim = (usize, u64, i64);

/// When it may be claimed, seq, hook, receiver.
type Ready = (i64, u64, usize, usize);

/// The revision that all changes of instances have here.
const REVISION: u64 = 3;

impl Model {
    fn posts_to(&self, hook: usize) -> Option<usize> {
        self.hooks.get(&hook).filter(|set| !set.disabled).and_then(|set| set.to)
    }

    fn ready(&self) -> Vec<Ready> {
        let ready = self.owed.iter().filter(|(_, owed)| owed.ready).map(|((hook, seq), owed)| {
            let next_at = owed.claimed_at.map_or(owed.due_at, |claimed_at| claimed_at + LEASE);
            (next_at, *seq, *hook, self.posts_to(*hook).expect("nothing else is ready"))
        });
        let mut ready: Vec<_> = ready.collect();
        ready.sort_unstable();
        ready
    }

    /// Of each hook and resource one is ready as long as any waits: the oldest, due now, unless there is one already.
    fn promote(&mut self) {
        let mut lines: BTreeSet<_> = self
            .owed
            .iter()
            .filter(|(_, owed)| owed.ready)
            .map(|((hook, _), owed)| (*hook, owed.resource.clone()))
            .collect();
        let posted: BTreeSet<_> = (0..HOOKS).filter(|hook| self.posts_to(*hook).is_some()).collect();
        // By hook, then by seq.
        for ((hook, _), owed) in &mut self.owed {
            let waits = posted.contains(hook) && owed.state == DeliveryState::Waiting;
            if waits && lines.insert((*hook, owed.resource.clone())) {
                (owed.ready, owed.due_at) = (true, self.now);
            }
        }
    }

    fn set(&mut self, hook: usize, to: Option<usize>, mode: Mode) {
        let disabled_count = self.hooks.get(&hook).map_or(0, |old| old.disabled_count);
        let new = Set { to, mode, disabled: false, set_at: self.now, failing_since: None, disabled_count };
        let old = self.hooks.insert(hook, new);
        if to.is_none() {
            self.park(hook);
        }
        self.promote();
        if old.is_some_and(|old| old.to != to) {
            let own = self.owed.iter_mut().filter(|((owner, _), _)| *owner == hook);
            for (_, owed) in own.filter(|(_, owed)| owed.state == DeliveryState::Waiting) {
                (owed.attempts, owed.not_before) = (0, None);
                // Claims stand.
                owed.due_at = if owed.ready { self.now } else { owed.due_at };
            }
        }
    }

    fn enable(&mut self, hook: usize) {
        if let Some(set) = self.hooks.get_mut(&hook).filter(|set| set.disabled) {
            (set.disabled, set.failing_since, set.set_at) = (false, None, self.now);
            self.promote();
        }
    }

    fn park(&mut self, hook: usize) {
        let own = self.owed.iter_mut().filter(|((owner, _), _)| *owner == hook);
        own.for_each(|(_, owed)| (owed.ready, owed.claimed_at) = (false, None));
    }

    /// How many wait now.
    fn again(&mut self, hook: usize, seqs: &BTreeSet<u64>, states: &[DeliveryState]) -> Option<u64> {
        self.posts_to(hook)?;
        let now = self.now;
        let mut lines = BTreeSet::new();
        let mut count = 0;
        let own = self.owed.iter_mut().filter(|((owner, seq), _)| *owner == hook && seqs.contains(seq));
        for (_, owed) in own.filter(|(_, owed)| states.contains(&owed.state) && owed.claimed_at.is_none()) {
            (owed.state, owed.attempts) = (DeliveryState::Waiting, 0);
            owed.due_at = now.max(owed.not_before.unwrap_or(now));
            lines.insert(owed.resource.clone());
            count += 1;
        }
        for line in lines {
            let own = self.owed.iter_mut().filter(|((owner, _), owed)| *owner == hook && owed.resource == line);
            let mut waiting = own.filter(|(_, owed)| owed.state == DeliveryState::Waiting).map(|(_, owed)| owed);
            let oldest = waiting.next().expect("one waits now");
            if !oldest.ready
                && let Some(newer) = waiting.find(|owed| owed.ready && owed.claimed_at.is_none())
            {
                newer.ready = false;
            }
        }
        self.promote();
        Some(count)
    }

    fn remove(&mut self, hook: usize) {
        self.hooks.remove(&hook);
        for (_, owed) in self.owed.iter_mut().filter(|((owner, _), _)| *owner == hook) {
            if matches!(owed.state, DeliveryState::Waiting | DeliveryState::Exhausted) {
                owed.settle(DeliveryState::Dropped);
            }
        }
    }

    fn news(&mut self, resource: &str, revision: u64, told: &BTreeSet<usize>) {
        self.log.push((resource.to_owned(), revision, self.now));
        let seq = self.log.len() as u64;
        for hook in told.iter().filter(|hook| self.hooks.contains_key(hook)) {
            let owed = Owed {
                resource: resource.to_owned(),
                state: DeliveryState::Waiting,
                ready: false,
                attempts: 0,
                due_at: self.now,
                not_before: None,
                claimed_at: None,
                merged: None,
            };
            self.owed.insert((*hook, seq), owed);
        }
        self.promote();
    }

    fn read(&mut self, reads: impl Fn(u64) -> bool) -> u64 {
        let unread = |state| matches!(state, DeliveryState::Waiting | DeliveryState::Exhausted);
        let mut count = 0;
        for (_, owed) in self.owed.iter_mut().filter(|((_, seq), owed)| reads(*seq) && unread(owed.state)) {
            owed.settle(DeliveryState::Read);
            count += 1;
        }
        self.promote();
        count
    }

    /// Checks a claim and takes it over.
    fn claim(&mut self, claimed: &[Delivery], room: &Room) {
        let mut left: Vec<usize> = room.own.iter().map(|own| own.unwrap_or(room.per_receiver)).collect();
        let mut picked = self.ready();
        picked.retain(|(next_at, _, _, to)| {
            let takes = *next_at <= self.now && left[*to] > 0;
            left[*to] -= usize::from(takes);
            takes
        });
        picked.truncate(room.limit);
        let wanted: Vec<(u64, usize)> =
            picked.iter().map(|(_, seq, hook, _)| (self.fold(*hook, *seq), *hook)).collect();
        let got: Vec<(u64, usize)> =
            claimed.iter().map(|delivery| (delivery.entry.seq.0, number(&delivery.hook.0))).collect();
        assert_eq!(got, wanted, "claimed at {}", self.now);
        for (delivery, (seq, hook)) in claimed.iter().zip(got) {
            let owed = self.owed.get_mut(&(hook, seq)).unwrap();
            assert_eq!((delivery.attempts, delivery.merged), (owed.attempts, owed.merged));
            assert_eq!(delivery.entry.change.subject.id, owed.resource);
            assert_eq!(delivery.failing_since, self.hooks[&hook].failing_since.map(at));
            owed.claimed_at = Some(self.now);
            self.claims.push((hook, seq, self.now));
        }
    }

    /// Merges what waits behind this one into the newest, if its hook wants that, and answers with what is sent.
    fn fold(&mut self, hook: usize, seq: u64) -> u64 {
        if self.hooks[&hook].mode == Mode::Each {
            return seq;
        }
        let resource = self.owed[&(hook, seq)].resource.clone();
        let mut line: Vec<_> = self
            .owed
            .iter_mut()
            .filter(|((owner, _), owed)| {
                *owner == hook && owed.state == DeliveryState::Waiting && owed.resource == resource
            })
            .collect();
        let Some((((_, newest), into), elders)) = line.split_last_mut() else {
            unreachable!("the one that was picked")
        };
        let mut from_seq: Option<Seq> = into.merged.map(|merged| merged.from_seq);
        let mut count = into.merged.map_or(0, |merged| merged.count);
        let merges = !elders.is_empty();
        for ((_, seq), elder) in elders {
            let merged = elder.merged.unwrap_or(Merged { from_seq: Seq(*seq), count: 0 });
            from_seq = Some(from_seq.map_or(merged.from_seq, |from_seq| from_seq.min(merged.from_seq)));
            count += 1 + merged.count;
            elder.settle(DeliveryState::Merged);
        }
        if let Some(from_seq) = from_seq.filter(|_| merges) {
            into.merged = Some(Merged { from_seq, count });
            (into.due_at, into.ready) = (self.now, true);
        }
        *newest
    }

    fn say(&mut self, endings: &[(Claim, Ending)], returned: &[(Claim, Option<i64>)], recovered: &BTreeSet<usize>) {
        let off: BTreeSet<usize> =
            endings.iter().filter(|(claim, ending)| self.ended(*claim, *ending)).map(|(claim, _)| claim.0).collect();
        for hook in off {
            self.disable(hook);
        }
        self.promote();
        for ((hook, seq, claimed_at), after) in returned {
            let Some(owed) = self.owed.get_mut(&(*hook, *seq)) else { continue };
            if owed.claimed_at.take_if(|newest| newest == claimed_at).is_some() {
                owed.due_at = after.map_or(owed.due_at, |after| self.now + after);
            }
        }
        for (_, seq, hook, to) in self.ready() {
            let owed = self.owed.get_mut(&(hook, seq)).unwrap();
            if recovered.contains(&to) && owed.claimed_at.is_none() {
                owed.due_at = owed.due_at.min(self.now.max(owed.not_before.unwrap_or(self.now)));
            }
        }
    }

    /// `true`: its hook is to be disabled.
    fn ended(&mut self, (hook, seq, attempted_at): Claim, ending: Ending) -> bool {
        let now = self.now;
        if !self.owed.contains_key(&(hook, seq)) {
            // Pruned meanwhile: there is nothing that it could be said of.
            return false;
        }
        let replaced = self.hooks.get(&hook).is_some_and(|set| attempted_at < set.set_at);
        if let Some(set) = self.hooks.get_mut(&hook).filter(|_| !replaced) {
            match ending {
                Ending::Delivered => set.failing_since = None,
                Ending::Postpone(_) => {}
                _ => set.failing_since = set.failing_since.or(Some(attempted_at)),
            }
        }
        let owed = self.owed.get_mut(&(hook, seq)).unwrap();
        let restarted = replaced && attempted_at < owed.due_at;
        owed.attempts += u32::from(!restarted && !matches!(ending, Ending::Postpone(_)));
        if owed.state != DeliveryState::Waiting {
            return false;
        }
        let overtaken = owed.claimed_at.is_some_and(|claimed_at| attempted_at < claimed_at);
        match ending {
            Ending::Delivered => owed.settle(DeliveryState::Delivered),
            Ending::Disable if !replaced => return true,
            _ if overtaken => {}
            Ending::Exhausted | Ending::Last if !replaced => {
                owed.settle(DeliveryState::Exhausted);
                return matches!(ending, Ending::Last);
            }
            Ending::Exhausted | Ending::Last | Ending::Disable => (owed.due_at, owed.claimed_at) = (now, None),
            Ending::Retry(..) | Ending::Postpone(_) if restarted => (owed.due_at, owed.claimed_at) = (now, None),
            Ending::Retry(after, asked) => {
                (owed.due_at, owed.claimed_at) = (now + after, None);
                owed.not_before = asked.map(|asked| now + asked);
            }
            Ending::Postpone(after) => (owed.due_at, owed.claimed_at) = (now + after, None),
        }
        false
    }

    /// It is told so itself, once.
    fn disable(&mut self, hook: usize) {
        self.park(hook);
        let set = self.hooks.get_mut(&hook).expect("nothing waits for a hook that was removed");
        if !set.disabled {
            set.disabled = true;
            set.disabled_count += 1;
            let revision = set.disabled_count;
            self.news(&id(hook), revision, &BTreeSet::from([hook]));
        }
    }

    /// How many changes, deliveries, and deliveries still owed are kept no longer.
    fn prune(&mut self, age: i64, count: u64, step: usize) -> (u64, u64, u64) {
        let (now, last) = (self.now, self.log.len() as u64);
        let (pruned, deliveries) = (self.pruned, self.owed.len());
        let mut given_up = 0;
        let goes = |seq: u64, at: i64| at < now - age || seq + count <= last;
        let first_kept =
            (self.pruned + 1..=last).find(|seq| !goes(*seq, self.log[*seq as usize - 1].2)).unwrap_or(last + 1);
        loop {
            let kept = first_kept.min(self.pruned + 1 + step as u64);
            self.owed.retain(|(_, seq), owed| {
                let under_way = owed.claimed_at.is_some_and(|claimed_at| now < claimed_at + LEASE);
                let stays = *seq >= kept || under_way;
                given_up +=
                    u64::from(!stays && matches!(owed.state, DeliveryState::Waiting | DeliveryState::Exhausted));
                stays
            });
            let oldest_owed = self.owed.keys().map(|(_, seq)| *seq).min().unwrap_or(kept);
            let before = std::mem::replace(&mut self.pruned, kept.min(oldest_owed) - 1);
            if before == self.pruned {
                break;
            }
        }
        self.promote();
        (self.pruned - pruned, (deliveries - self.owed.len()) as u64, given_up)
    }

    fn release(&mut self) -> u64 {
        let ready: Vec<_> = self.ready().into_iter().map(|(_, seq, hook, _)| (hook, seq)).collect();
        let claimed = ready.iter().filter(|key| self.owed[key].claimed_at.is_some()).count();
        self.owed.values_mut().for_each(|owed| owed.claimed_at = None);
        claimed as u64
    }

    fn undelivered(&self) -> Vec<(u64, String)> {
        let mut first: BTreeMap<u64, usize> = BTreeMap::new();
        let unread = |state| matches!(state, DeliveryState::Waiting | DeliveryState::Exhausted);
        for ((hook, seq), _) in self.owed.iter().filter(|(_, owed)| unread(owed.state)) {
            first.entry(*seq).or_insert(*hook);
        }
        first.into_iter().map(|(seq, hook)| (seq, id(hook))).collect()
    }

    /// When the first falls due, this receiver aside.
    fn next_due_at(&self, but: Option<usize>) -> Option<Timestamp> {
        self.ready().iter().find(|(_, _, _, to)| Some(*to) != but).map(|(next_at, ..)| at(*next_at))
    }
}

impl Owed {
    fn settle(&mut self, state: DeliveryState) {
        (self.state, self.ready, self.claimed_at) = (state, false, None);
    }
}

fn id(hook: usize) -> String {
    format!("hook_{hook}")
}

fn number(id: &str) -> usize {
    id.strip_prefix("hook_").unwrap().parse().unwrap()
}

fn receiver(to: usize) -> String {
    format!("https://{}", RECEIVERS[to])
}

/// Hook `number`, of a scope of its own. Who is told of what is not the store's to decide: the history says it.
fn set_hook(number: usize, to: Option<usize>, mode: Mode) -> Hook {
    let callback = to.map(|to| hook(&id(number), "", RECEIVERS[to]).callback);
    Hook {
        scope: Scope::Member(Collection::Instances, format!("scope-{number}")),
        callback: callback.unwrap_or(Callback::Feed),
        terms: Terms { mode, ..Terms::default() },
        ..hook(&id(number), "", "unused")
    }
}

/// The same, when only its name matters.
fn any_hook(number: usize) -> Hook {
    set_hook(number, None, Mode::Each)
}

impl Room {
    fn ask(&self, now: i64) -> Ask {
        let rooms = self.own.iter().enumerate().filter_map(|(to, own)| Some((receiver(to), (*own)?)));
        Ask { rooms: rooms.collect(), ..ask(at(now), at(now + LEASE), self.limit, self.per_receiver, &[]) }
    }
}

async fn take(world: World, account: AccountId, model: &mut Model, step: &Step) -> World {
    let store = &world.store;
    let default = subscriber("default");
    let now = at(model.now);
    match step {
        Step::Set(number, to, mode) => {
            store.save_hook(&key("a"), &login(PASSWORD), &set_hook(*number, *to, *mode), None, now).await.unwrap();
            model.set(*number, *to, *mode);
        }
        Step::Remove(number) => {
            let scope = any_hook(*number).scope;
            let removed = store.remove_hook(account, &default, &scope, now).await.unwrap();
            assert_eq!(removed, model.hooks.contains_key(number));
            model.remove(*number);
        }
        Step::News(news) => {
            let version = store.known(account, Collection::Instances).await.unwrap().version;
            let changes = news.iter().map(|(instance, told)| NewChange {
                change: change(INSTANCES[*instance], model.now),
                told: told.iter().map(|hook| any_hook(*hook).id).collect(),
            });
            let sample = Commit { changes: changes.collect(), ..commit(account, version, model.now) };
            let entries = store.commit_sample(&sample).await.unwrap();
            let first = model.log.len() as u64 + 1;
            for (instance, told) in news {
                model.news(INSTANCES[*instance], REVISION, told);
            }
            let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq.0).collect();
            assert_eq!(seqs, (first..=model.log.len() as u64).collect::<Vec<_>>());
        }
        Step::Claim(room) => {
            let claimed = store.claim(&room.ask(model.now)).await.unwrap().deliveries;
            model.claim(&claimed, room);
        }
        Step::Record(said, room) => record(&world, account, model, said, room.as_ref()).await,
        Step::Read(seqs) => {
            let list: Vec<Seq> = seqs.iter().copied().map(Seq).collect();
            let read = store.acknowledge(account, &default, &list, now).await.unwrap();
            assert_eq!(read, model.read(|seq| seqs.contains(&seq)));
        }
        Step::ReadThrough(last) => {
            let read = store.acknowledge_through(account, &default, Seq(*last), now).await.unwrap();
            assert_eq!(read, model.read(|seq| seq <= *last));
        }
        Step::Again(number, seqs, all) => {
            let states: &[DeliveryState] = if *all { &SENT_AGAIN } else { &[DeliveryState::Exhausted] };
            let list: Vec<Seq> = seqs.iter().copied().map(Seq).collect();
            let again = store.redeliver(account, &any_hook(*number).id, &list, states, now).await.unwrap();
            assert_eq!(again, model.again(*number, &seqs.iter().copied().collect(), states));
        }
        Step::Enable(number) => {
            let found = store.enable_hook(account, &any_hook(*number).id, now).await.unwrap();
            assert_eq!(found, model.hooks.contains_key(number));
            model.enable(*number);
        }
        Step::Prune(age, count, step) => {
            let before = at(model.now - age);
            let rules = PruneRules { now, before, changes_max: *count, rows_max: *step };
            let pruned = world.prune(&rules).await;
            assert_eq!((pruned.changes, pruned.deliveries, pruned.given_up), model.prune(*age, *count, *step));
        }
        Step::Wait(seconds) => model.now += seconds,
        Step::Release => assert_eq!(store.release_claims().await.unwrap(), model.release()),
        Step::Reopen => return world.reopen().await,
    }
    world
}

async fn record(world: &World, account: AccountId, model: &mut Model, said: &Said, room: Option<&Room>) {
    let claims = model.claims.clone();
    let claim = |index: &prop::sample::Index| (!claims.is_empty()).then(|| *index.get(&claims));
    let endings: Vec<_> = said.endings.iter().filter_map(|(index, ending)| Some((claim(index)?, *ending))).collect();
    let returned: Vec<_> = said.returned.iter().filter_map(|(index, after)| Some((claim(index)?, *after))).collect();
    let now = model.now;
    let outcomes = endings.iter().map(|((hook, seq, claimed_at), ending)| {
        outcome(account, &any_hook(*hook), *seq, ending.verdict(*hook, now), *claimed_at)
    });
    let results = Results {
        outcomes: outcomes.collect(),
        returned: returned
            .iter()
            .map(|((hook, seq, claimed_at), after)| Returned {
                account,
                hook: any_hook(*hook).id,
                seq: Seq(*seq),
                until: at(claimed_at + LEASE),
                due_at: after.map(|after| at(now + after)),
            })
            .collect(),
        // After all that failed until now.
        recovered: said.recovered.iter().map(|to| Recovered { receiver: receiver(*to), since: at(now + 1) }).collect(),
    };
    let claimed = match room {
        Some(room) => world.store.record_and_claim(&results, &room.ask(now)).await.unwrap().deliveries,
        None => {
            world.store.record(&results, at(now)).await.unwrap();
            vec![]
        }
    };
    model.say(&endings, &returned, &said.recovered);
    if let Some(room) = room {
        model.claim(&claimed, room);
    }
}

async fn check(world: &World, account: AccountId, model: &Model) {
    assert_eq!(world.undelivered(account).await, model.undelivered());
    for but in [None, Some(0), Some(1)] {
        let names: BTreeSet<String> = but.iter().map(|to| receiver(*to)).collect();
        assert_eq!(world.store.next_delivery_due_at(&names).await.unwrap(), model.next_due_at(but), "but {names:?}");
    }
    let log = world.store.log_after(account, Seq(0), 1_000).await.unwrap();
    let log: Vec<_> = log.into_iter().map(|entry| (entry.seq.0, entry.change.subject)).collect();
    let told: Vec<_> = log.iter().map(|(seq, subject)| (*seq, subject.id.as_str(), subject.revision)).collect();
    let wanted = (1..).zip(&model.log).map(|(seq, (id, revision, _))| (seq, id.as_str(), *revision));
    assert_eq!(told, wanted.filter(|(seq, ..)| *seq > model.pruned).collect::<Vec<_>>());
    let (oldest, last) = world.store.log_bounds(account).await.unwrap();
    assert_eq!((oldest.map(|seq| seq.0), last.0), (told.first().map(|(seq, ..)| *seq), model.log.len() as u64));
    let which = WhichDeliveries { limit: 10_000, scan_max: 10_000, ..WhichDeliveries::default() };
    let rows = world.store.deliveries(account, &which).await.unwrap().deliveries;
    assert!(rows.iter().all(|row| row.change.is_some()), "no delivery outlives its change");
    let rows: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| ((number(&row.hook.0), row.seq.0), (row.state, row.attempts, row.merged, row.under_way)))
        .collect();
    let wanted = model
        .owed
        .iter()
        .map(|(key, owed)| (*key, (owed.state, owed.attempts, owed.merged, owed.claimed_at.is_some())));
    assert_eq!(rows, wanted.collect());
    let hooks = world.store.hooks(account).await.unwrap();
    let hooks: Vec<_> =
        hooks.iter().map(|hook| (hook.id.0.clone(), hook.disabled.is_some(), hook.failing_since)).collect();
    let wanted = model.hooks.iter().map(|(number, set)| (id(*number), set.disabled, set.failing_since.map(at)));
    assert_eq!(hooks, wanted.collect::<Vec<_>>());
}

/// Everything arrives from now on: each hook that is posted to gets the rest, each resource's in order.
async fn run_dry(world: &World, account: AccountId, model: &mut Model, steps: &[Step]) {
    model.now += 1_000;
    // What was sent again may come after what is newer and was under way.
    let again = steps.iter().any(|step| matches!(step, Step::Again(..)));
    let mut last: BTreeMap<(usize, String), u64> = BTreeMap::new();
    let room = Room { limit: 5, per_receiver: 5, own: [None; RECEIVERS.len()] };
    loop {
        let claimed = world.store.claim(&room.ask(model.now)).await.unwrap().deliveries;
        model.claim(&claimed, &room);
        if claimed.is_empty() {
            break;
        }
        for delivery in claimed {
            let (hook, seq) = (number(&delivery.hook.0), delivery.entry.seq.0);
            let before = last.insert((hook, delivery.entry.change.subject.id), seq);
            assert!(again || before < Some(seq), "{before:?} before {seq}");
            let done = outcome(account, &any_hook(hook), seq, Verdict::Delivered, model.now);
            world.store.record(&results([done]), at(model.now)).await.unwrap();
            model.say(&[((hook, seq, model.now), Ending::Delivered)], &[], &BTreeSet::new());
        }
    }
    let owed = model
        .owed
        .iter()
        .filter(|((hook, _), owed)| owed.state == DeliveryState::Waiting && model.posts_to(*hook).is_some())
        .count();
    assert_eq!(owed, 0, "nothing is left waiting for a hook that is posted to");
}

async fn live_through(world: World, steps: &[Step]) {
    let mut model = Model::default();
    let account = world.set(&set_hook(0, Some(0), Mode::Each)).await;
    model.set(0, Some(0), Mode::Each);
    let mut world = world;
    for step in steps {
        world = take(world, account, &mut model, step).await;
        check(&world, account, &model).await;
    }
    run_dry(&world, account, &mut model, steps).await;
    check(&world, account, &model).await;
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn a_random_history_equals_a_map_in_memory_sqlite(steps in prop::collection::vec(step(), 1..60)) {
        run(async { live_through(World::sqlite().await, &steps).await });
    }
}
