//! A random history on the store equals the same history on a map in memory: no change is lost, `seq` has no hole, and of
//! a hook and a resource things go out in order, whatever is set, removed, read, retried, cut or reopened in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use tracker::model::{AccountId, Callback, Collection, Delivery, Hook, Scope, Seq, Verdict};
use tracker::store::{Commit, NewChange};

use super::world::{PASSWORD, World, ask, at, change, commit, hook, key, login, outcome, results, subscriber};

/// Seconds that a claim holds.
const LEASE: i64 = 30;
const HOOKS: usize = 4;
const RECEIVERS: [&str; 2] = ["one", "two"];
const INSTANCES: [&str; 3] = ["i-0", "i-1", "i-2"];

#[derive(Clone, Debug)]
enum Step {
    /// To a receiver, or to the feed.
    Set(usize, Option<usize>),
    Remove(usize),
    /// Instance, and which hooks are told.
    News(Vec<(usize, BTreeSet<usize>)>),
    Claim {
        limit: usize,
        per_receiver: usize,
        full: Option<usize>,
    },
    /// Of the claims ever made, and how it went.
    Record(Vec<(prop::sample::Index, Ending)>),
    Read(Vec<u64>),
    ReadThrough(u64),
    Wait(i64),
    Release,
    Reopen,
}

#[derive(Clone, Copy, Debug)]
enum Ending {
    Delivered,
    Retry(i64),
    Postpone(i64),
    Exhausted,
    Disable,
}

impl Ending {
    fn verdict(self, now: i64) -> Verdict {
        match self {
            Self::Delivered => Verdict::Delivered,
            Self::Retry(after) => Verdict::Retry { due_at: at(now + after), not_before: None },
            Self::Postpone(after) => Verdict::Postpone { due_at: at(now + after) },
            Self::Exhausted => Verdict::Exhausted { disable: None },
            Self::Disable => super::world::gone(),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let ending = prop_oneof![
        6 => Just(Ending::Delivered),
        4 => (1..60_i64).prop_map(Ending::Retry),
        2 => (1..60_i64).prop_map(Ending::Postpone),
        1 => Just(Ending::Exhausted),
        1 => Just(Ending::Disable),
    ];
    let told = prop::collection::btree_set(0..HOOKS, 0..=HOOKS);
    prop_oneof![
        3 => (0..HOOKS, prop::option::weighted(0.8, 0..RECEIVERS.len())).prop_map(|(hook, to)| Step::Set(hook, to)),
        1 => (0..HOOKS).prop_map(Step::Remove),
        6 => prop::collection::vec((0..INSTANCES.len(), told), 1..4).prop_map(Step::News),
        6 => (0..8_usize, 0..5_usize, prop::option::weighted(0.2, 0..RECEIVERS.len()))
            .prop_map(|(limit, per_receiver, full)| Step::Claim { limit, per_receiver, full }),
        8 => prop::collection::vec((any::<prop::sample::Index>(), ending), 1..4).prop_map(Step::Record),
        1 => prop::collection::vec(1..30_u64, 0..4).prop_map(Step::Read),
        1 => (0..30_u64).prop_map(Step::ReadThrough),
        4 => (1..45_i64).prop_map(Step::Wait),
        1 => Just(Step::Release),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Debug)]
struct Set {
    /// `None`: the feed.
    to: Option<usize>,
    disabled: bool,
    set_at: i64,
}

#[derive(Debug)]
struct Owed {
    instance: usize,
    /// Neither delivered, exhausted, read nor dropped.
    waiting: bool,
    exhausted: bool,
    attempts: u32,
    due_at: i64,
    /// Since when, of the newest claim, unless its outcome is known.
    claimed_at: Option<i64>,
}

/// What the store should be like.
#[derive(Default)]
struct Model {
    now: i64,
    hooks: BTreeMap<usize, Set>,
    /// Every change's instance, by seq from 1.
    log: Vec<usize>,
    owed: BTreeMap<(usize, u64), Owed>,
    /// Every claim ever made: hook, seq and when.
    claims: Vec<(usize, u64, i64)>,
}

impl Model {
    fn posts_to(&self, hook: usize) -> Option<usize> {
        self.hooks.get(&hook).filter(|set| !set.disabled).and_then(|set| set.to)
    }

    /// The oldest waiting of each hook that is posted to and each instance: when it may be claimed, seq, hook, receiver.
    fn ready(&self) -> Vec<(i64, u64, usize, usize)> {
        let mut lines = BTreeSet::new();
        // By hook, then by seq.
        let heads = self.owed.iter().filter(|((hook, _), owed)| owed.waiting && lines.insert((*hook, owed.instance)));
        let mut ready: Vec<_> = heads
            .filter_map(|((hook, seq), owed)| {
                let next_at = owed.claimed_at.map_or(owed.due_at, |claimed_at| claimed_at + LEASE);
                Some((next_at, *seq, *hook, self.posts_to(*hook)?))
            })
            .collect();
        ready.sort_unstable();
        ready
    }

    /// The head of a line that it was not before is due now.
    fn promote(&mut self, before: &[(i64, u64, usize, usize)]) {
        for (_, seq, hook, _) in self.ready() {
            if !before.iter().any(|(_, old, owner, _)| (*old, *owner) == (seq, hook)) {
                let owed = self.owed.get_mut(&(hook, seq)).unwrap();
                owed.due_at = self.now;
                owed.claimed_at = None;
            }
        }
    }

    fn set(&mut self, hook: usize, to: Option<usize>) {
        let before = self.ready();
        let old = self.hooks.insert(hook, Set { to, disabled: false, set_at: self.now });
        if to.is_none() {
            self.end_claims(hook);
        }
        self.promote(&before);
        if old.is_some_and(|old| old.to != to) {
            let waiting = self.owed.iter_mut().filter(|((owner, _), owed)| *owner == hook && owed.waiting);
            waiting.for_each(|(_, owed)| owed.attempts = 0);
            // Claims stand, and of what is not ready the time tells nothing.
            for (_, seq, owner, _) in self.ready() {
                if owner == hook {
                    self.owed.get_mut(&(hook, seq)).unwrap().due_at = self.now;
                }
            }
        }
    }

    fn end_claims(&mut self, hook: usize) {
        self.owed.iter_mut().filter(|((owner, _), _)| *owner == hook).for_each(|(_, owed)| owed.claimed_at = None);
    }

    fn remove(&mut self, hook: usize) {
        self.hooks.remove(&hook);
        for (_, owed) in self.owed.iter_mut().filter(|((owner, _), _)| *owner == hook) {
            (owed.waiting, owed.exhausted, owed.claimed_at) = (false, false, None);
        }
    }

    fn news(&mut self, news: &[(usize, BTreeSet<usize>)]) {
        for (instance, told) in news {
            self.log.push(*instance);
            let seq = self.log.len() as u64;
            for hook in told.iter().filter(|hook| self.hooks.contains_key(hook)) {
                let owed = Owed {
                    instance: *instance,
                    waiting: true,
                    exhausted: false,
                    attempts: 0,
                    due_at: self.now,
                    claimed_at: None,
                };
                self.owed.insert((*hook, seq), owed);
            }
        }
    }

    fn read(&mut self, reads: impl Fn(u64) -> bool) -> u64 {
        let before = self.ready();
        let mut count = 0;
        for (_, owed) in self.owed.iter_mut().filter(|((_, seq), owed)| reads(*seq) && (owed.waiting || owed.exhausted))
        {
            (owed.waiting, owed.exhausted, owed.claimed_at) = (false, false, None);
            count += 1;
        }
        self.promote(&before);
        count
    }

    /// Checks a claim and takes it over.
    fn claim(&mut self, claimed: &[Delivery], limit: usize, per_receiver: usize, full: Option<usize>) {
        let mut left = BTreeMap::from([(0, per_receiver), (1, per_receiver)]);
        let mut allowed: Vec<_> = self.ready();
        allowed.retain(|(next_at, _, _, to)| {
            let share = left.get_mut(to).unwrap();
            let takes = *next_at <= self.now && full != Some(*to) && *share > 0;
            *share -= usize::from(takes);
            takes
        });
        let got: Vec<(u64, usize)> =
            claimed.iter().map(|delivery| (delivery.entry.seq.0, number(&delivery.hook.0))).collect();
        let wanted: Vec<(u64, usize)> = allowed.iter().take(limit).map(|(_, seq, hook, _)| (*seq, *hook)).collect();
        assert_eq!(got, wanted, "claimed at {}", self.now);
        for (delivery, (seq, hook)) in claimed.iter().zip(got) {
            let owed = self.owed.get_mut(&(hook, seq)).unwrap();
            assert_eq!(delivery.attempts, owed.attempts);
            assert_eq!(delivery.entry.change.subject.id, subject(owed.instance));
            owed.claimed_at = Some(self.now);
            self.claims.push((hook, seq, self.now));
        }
    }

    fn record(&mut self, (hook, seq, attempted_at): (usize, u64, i64), ending: Ending) {
        let before = self.ready();
        let replaced = self.hooks.get(&hook).is_some_and(|set| attempted_at < set.set_at);
        let owed = self.owed.get_mut(&(hook, seq)).unwrap();
        let restarted = replaced && attempted_at < owed.due_at;
        owed.attempts += u32::from(!restarted && !matches!(ending, Ending::Postpone(_)));
        if !owed.waiting {
            return;
        }
        let overtaken = owed.claimed_at.is_some_and(|claimed_at| attempted_at < claimed_at);
        match ending {
            Ending::Delivered => (owed.waiting, owed.claimed_at) = (false, None),
            Ending::Disable if !replaced => {
                self.hooks.get_mut(&hook).unwrap().disabled = true;
                self.end_claims(hook);
                // The hook is told so itself.
                self.news(&[(INSTANCES.len() + hook, BTreeSet::from([hook]))]);
            }
            _ if overtaken => {}
            Ending::Exhausted if !replaced => (owed.waiting, owed.exhausted, owed.claimed_at) = (false, true, None),
            Ending::Exhausted | Ending::Disable => (owed.due_at, owed.claimed_at) = (self.now, None),
            Ending::Retry(_) | Ending::Postpone(_) if restarted => (owed.due_at, owed.claimed_at) = (self.now, None),
            Ending::Retry(after) | Ending::Postpone(after) => {
                (owed.due_at, owed.claimed_at) = (self.now + after, None);
            }
        }
        self.promote(&before);
    }

    fn release(&mut self) -> u64 {
        let ready: Vec<_> = self.ready().into_iter().map(|(_, seq, hook, _)| (hook, seq)).collect();
        let claimed = ready.iter().filter(|key| self.owed[key].claimed_at.is_some()).count();
        self.owed.values_mut().for_each(|owed| owed.claimed_at = None);
        claimed as u64
    }

    fn undelivered(&self) -> Vec<(u64, String)> {
        let mut first: BTreeMap<u64, usize> = BTreeMap::new();
        for ((hook, seq), _) in self.owed.iter().filter(|(_, owed)| owed.waiting || owed.exhausted) {
            first.entry(*seq).or_insert(*hook);
        }
        first.into_iter().map(|(seq, hook)| (seq, id(hook))).collect()
    }
}

/// An instance, or after these a hook.
fn subject(number: usize) -> String {
    INSTANCES.get(number).map_or_else(|| id(number - INSTANCES.len()), |id| (*id).to_owned())
}

fn id(hook: usize) -> String {
    format!("hook_{hook}")
}

fn number(id: &str) -> usize {
    id.strip_prefix("hook_").unwrap().parse().unwrap()
}

/// Hook `number`, of a scope of its own. Who is told of what is not the store's to decide: the history says it.
fn set_hook(number: usize, to: Option<usize>) -> Hook {
    let callback = to.map(|to| hook(&id(number), "", RECEIVERS[to]).callback);
    Hook {
        scope: Scope::Member(Collection::Instances, format!("scope-{number}")),
        callback: callback.unwrap_or(Callback::Feed),
        ..hook(&id(number), "", "unused")
    }
}

async fn take(world: World, account: AccountId, model: &mut Model, step: &Step) -> World {
    let store = &world.store;
    let default = subscriber("default");
    let now = at(model.now);
    match step {
        Step::Set(number, to) => {
            store.save_hook(&key("a"), &login(PASSWORD), &set_hook(*number, *to), None, now).await.unwrap();
            model.set(*number, *to);
        }
        Step::Remove(number) => {
            let scope = set_hook(*number, None).scope;
            let removed = store.remove_hook(account, &default, &scope, now).await.unwrap();
            assert_eq!(removed, model.hooks.contains_key(number));
            model.remove(*number);
        }
        Step::News(news) => {
            let version = store.known(account, Collection::Instances).await.unwrap().version;
            let changes = news.iter().map(|(instance, told)| NewChange {
                change: change(INSTANCES[*instance], model.now),
                told: told.iter().map(|hook| set_hook(*hook, None).id).collect(),
            });
            let sample = Commit { changes: changes.collect(), ..commit(account, version, model.now) };
            let entries = store.commit_sample(&sample).await.unwrap();
            let first = model.log.len() as u64 + 1;
            model.news(news);
            let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq.0).collect();
            assert_eq!(seqs, (first..=model.log.len() as u64).collect::<Vec<_>>());
        }
        Step::Claim { limit, per_receiver, full } => {
            let names: Vec<String> = full.iter().map(|to| format!("https://{}", RECEIVERS[*to])).collect();
            let until = at(model.now + LEASE);
            let claimed = store.claim(&ask(now, until, *limit, *per_receiver, &names)).await.unwrap().deliveries;
            model.claim(&claimed, *limit, *per_receiver, *full);
        }
        Step::Record(endings) if !model.claims.is_empty() => {
            let chosen: Vec<_> = endings.iter().map(|(index, ending)| (*index.get(&model.claims), *ending)).collect();
            let outcomes: Vec<_> = chosen
                .iter()
                .map(|((hook, seq, claimed_at), ending)| {
                    outcome(account, &set_hook(*hook, None), *seq, ending.verdict(model.now), *claimed_at)
                })
                .collect();
            // One by one, as several in one call are judged on the hook as it was before the call.
            for (outcome, (claim, ending)) in outcomes.into_iter().zip(chosen) {
                store.record(&results([outcome]), now).await.unwrap();
                model.record(claim, ending);
            }
        }
        Step::Record(_) => {}
        Step::Read(seqs) => {
            let list: Vec<Seq> = seqs.iter().copied().map(Seq).collect();
            let read = store.acknowledge(account, &default, &list, now).await.unwrap();
            assert_eq!(read, model.read(|seq| seqs.contains(&seq)));
        }
        Step::ReadThrough(last) => {
            let read = store.acknowledge_through(account, &default, Seq(*last), now).await.unwrap();
            assert_eq!(read, model.read(|seq| seq <= *last));
        }
        Step::Wait(seconds) => model.now += seconds,
        Step::Release => assert_eq!(store.release_claims().await.unwrap(), model.release()),
        Step::Reopen => return world.reopen().await,
    }
    world
}

async fn check(world: &World, account: AccountId, model: &Model) {
    assert_eq!(world.undelivered(account).await, model.undelivered());
    let next = world.store.next_delivery_due_at(&BTreeSet::new()).await.unwrap();
    assert_eq!(next, model.ready().first().map(|(next_at, ..)| at(*next_at)));
    let log = world.store.log_after(account, Seq(0), 1_000).await.unwrap();
    let log: Vec<(u64, String)> = log.into_iter().map(|entry| (entry.seq.0, entry.change.subject.id)).collect();
    let wanted = (1..).zip(model.log.iter().map(|instance| subject(*instance)));
    assert_eq!(log, wanted.collect::<Vec<_>>());
}

/// Everything arrives from now on: each hook that is posted to gets the rest, each instance's in order.
async fn run_dry(world: &World, account: AccountId, model: &mut Model) {
    model.now += 1_000;
    let mut last: BTreeMap<(usize, String), u64> = BTreeMap::new();
    loop {
        let claimed =
            world.store.claim(&ask(at(model.now), at(model.now + LEASE), 5, 5, &[])).await.unwrap().deliveries;
        model.claim(&claimed, 5, 5, None);
        if claimed.is_empty() {
            break;
        }
        for delivery in claimed {
            let (hook, seq) = (number(&delivery.hook.0), delivery.entry.seq.0);
            let before = last.insert((hook, delivery.entry.change.subject.id), seq);
            assert!(before < Some(seq), "{before:?} before {seq}");
            let done = outcome(account, &set_hook(hook, None), seq, Verdict::Delivered, model.now);
            world.store.record(&results([done]), at(model.now)).await.unwrap();
            model.record((hook, seq, model.now), Ending::Delivered);
        }
    }
    let owed = model.owed.iter().filter(|((hook, _), owed)| owed.waiting && model.posts_to(*hook).is_some()).count();
    assert_eq!(owed, 0, "nothing is left waiting for a hook that is posted to");
}

async fn live_through(world: World, steps: &[Step]) {
    let mut model = Model::default();
    let account = world.set(&set_hook(0, Some(0))).await;
    model.set(0, Some(0));
    let mut world = world;
    for step in steps {
        world = take(world, account, &mut model, step).await;
        check(&world, account, &model).await;
    }
    run_dry(&world, account, &mut model).await;
    check(&world, account, &model).await;
}

/// The same histories every time, unless the environment asks for others (`PROPTEST_RNG_SEED`, `PROPTEST_CASES`).
fn config() -> Config {
    let given = Config::default();
    let seed = if given.rng_seed == RngSeed::Random { RngSeed::Fixed(4_711) } else { given.rng_seed };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { 48 };
    Config { cases, rng_seed: seed, failure_persistence: None, ..given }
}

fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_random_history_equals_a_map_in_memory_sqlite(steps in prop::collection::vec(step(), 1..60)) {
        run(async { live_through(World::sqlite().await, &steps).await });
    }
}
