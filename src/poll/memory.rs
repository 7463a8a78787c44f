//! What is remembered of a unit between two looks, in memory alone: after a restart it is looked at as if it had just begun. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Settings;
use super::order::Order;
use super::parts::{Part, Parts};
use super::search::Search;
use crate::model::{AccountId, Collection, Known, KnownResource, Standing};

/// How much longer each step waits that something settles for: see [`Settings::settling_steps_ms`].
const SETTLING_WAITS: [u32; 4] = [1, 2, 6, 12];

/// Of all units, and of all accounts. Shared by all who look.
#[derive(Clone, Debug, Default)]
pub(super) struct Memories(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    units: HashMap<(AccountId, Collection), Memory>,
    accounts: HashMap<AccountId, Parts>,
    /// When what somebody sees of an account was last looked at, as it is refused to us.
    listened: HashMap<AccountId, Timestamp>,
}

impl Memories {
    pub(super) fn unit<T>(&self, account: AccountId, collection: Collection, with: impl FnOnce(&mut Memory) -> T) -> T {
        with(self.kept().units.entry((account, collection)).or_default())
    }

    pub(super) fn circuits<T>(&self, account: AccountId, with: impl FnOnce(&mut Parts) -> T) -> T {
        with(self.kept().accounts.entry(account).or_default())
    }

    /// The clock was set, ahead or back by that much.
    pub(super) fn clock_set(&self, by: SignedDuration) {
        self.kept().accounts.values_mut().for_each(|parts| parts.clock_set(by));
    }

    /// Whether an account stands so.
    pub(super) fn is_any(&self, standing: Standing) -> bool {
        self.kept().accounts.values_mut().any(|parts| parts.of(Part::Compute).standing() == standing)
    }

    /// `true` once in `gap`.
    pub(super) fn listen(&self, account: AccountId, now: Timestamp, gap: Duration) -> bool {
        let listened = &mut self.kept().listened;
        listened.retain(|_, at| now.duration_since(*at).unsigned_abs() < gap);
        let is_first = !listened.contains_key(&account);
        listened.entry(account).or_insert(now);
        is_first
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("nobody panics while holding what is remembered")
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Since when each of those that settle has been seen to.
    settling: BTreeMap<String, Timestamp>,
    /// Complete looks in a row that brought nothing new.
    quiet: u32,
    /// Since the last complete look.
    news: bool,
    /// When all of it was last read in full, and not made of what was known.
    full_at: Option<Timestamp>,
    /// When all of it was last seen and recorded, by the steady clock.
    pub(super) complete_at: Option<Duration>,
    /// Lists in a row that failed because the backend did.
    pub(super) broken_lists: u32,
    pub(super) order: Order,
    pub(super) search: Search,
    pub(super) lists: Lists,
}

/// When the last complete lists were taken.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lists {
    pub(super) last: Option<Timestamp>,
    pub(super) before_last: Option<Timestamp>,
    /// The last one that was read in full, and not made of what was known.
    pub(super) full: Option<Timestamp>,
}

impl Lists {
    pub(super) fn taken(&mut self, at: Timestamp, full: bool) {
        self.before_last = self.last.replace(at);
        if full {
            self.full = Some(at);
        }
    }
}

impl Memory {
    /// Takes in how the unit is known to be at `now`.
    pub(super) fn see(&mut self, known: &Known, now: Timestamp) {
        let settles = |(_, row): &(&String, &KnownResource)| row.absent_since.is_none() && row.resource.is_settling();
        let mut moving = self.order.doubted();
        moving.extend(known.members.iter().filter(settles).map(|(id, _)| id.clone()));
        self.settling.retain(|id, since| *since <= now && moving.contains(id));
        for id in moving {
            self.settling.entry(id).or_insert(now);
        }
    }

    /// A state that moves on to another that moves begins anew.
    pub(super) fn moved(&mut self, ids: impl IntoIterator<Item = String>) {
        for id in ids {
            self.settling.remove(&id);
            self.order.told(&id);
        }
        self.news = true;
    }

    pub(super) fn listed(&mut self, full: bool, now: Timestamp) {
        self.quiet = if self.news { 0 } else { self.quiet.saturating_add(1) };
        self.news = false;
        self.broken_lists = 0;
        if full {
            self.full_at = Some(now);
        }
    }

    /// Whether a list has to read all of it.
    pub(super) fn wants_full(&self, now: Timestamp, settings: &Settings) -> bool {
        let every = Duration::from_millis(settings.full_every_ms);
        !self.full_at.is_some_and(|at| at <= now && now < at + every)
    }

    /// How soon to look again at what settles; `None` when nothing does. What settles for long is looked at less often.
    pub(super) fn hot_wait(&self, now: Timestamp, settings: &Settings) -> Option<Duration> {
        let newest = self.settling.values().map(|since| now.duration_since(*since).unsigned_abs()).min()?;
        let passed = settings.settling_steps_ms.iter().filter(|ms| newest >= Duration::from_millis(**ms)).count();
        Some(Duration::from_millis(settings.settling_every_ms) * SETTLING_WAITS[passed])
    }

    /// Until when the cadence may pass the unit over. `roll`, 0 to 1, keeps units apart. `hinted`: whatever happens in it is hinted at, so
    /// that looks only see to it that nothing was.
    pub(super) fn rest_until(&self, now: Timestamp, roll: f64, hinted: bool, settings: &Settings) -> Option<Timestamp> {
        // The first quiet look comes with the next tick, like every other.
        let grown = self.quiet.checked_sub(2).filter(|_| !self.news);
        let (grown, first, longest) = if hinted {
            (
                grown.unwrap_or(0),
                settings.quiet_wait_max_ms,
                settings.hinted_wait_max_ms.max(settings.quiet_wait_max_ms),
            )
        } else {
            (grown?, settings.quiet_wait_ms, settings.quiet_wait_max_ms)
        };
        let ms = (first as f64 * 1.5f64.powi(i32::try_from(grown).unwrap_or(i32::MAX))).min(longest as f64);
        // The tick that ends the rest must not fall just before it.
        Some(now + Duration::from_secs_f64(ms * (0.8 + 0.1 * roll) / 1_000.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Collection, Instance, InstanceState, KnownResource, Seq};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn known(settling: &[(&str, bool)]) -> Known {
        let row = |(id, settling): &(&str, bool)| {
            let instance = Instance { settling: *settling, ..Instance::bare(id, InstanceState::Pending, "pending") };
            let row = KnownResource {
                resource: instance.into(),
                revision: 0,
                first_seen_at: at(0),
                observed_at: at(0),
                absent_since: None,
            };
            ((*id).to_owned(), row)
        };
        Known {
            collection: Collection::Instances,
            version: 1,
            through: Seq(0),
            observed_at: Some(at(0)),
            members: settling.iter().map(row).collect(),
            former: BTreeMap::new(),
        }
    }

    #[test]
    fn what_settles_is_looked_at_less_often_the_longer_it_does() {
        let mut memory = Memory::default();
        memory.see(&known(&[("a", true), ("b", false)]), at(0));
        let check = |memory: &Memory, now: i64, expected: Option<u64>| {
            let wait = memory.hot_wait(at(now), &Settings::default());
            assert_eq!(wait, expected.map(Duration::from_secs), "at {now}");
        };
        check(&memory, 0, Some(5));
        check(&memory, 119, Some(5));
        check(&memory, 120, Some(10));
        check(&memory, 300, Some(30));
        check(&memory, 1_800, Some(60));
        check(&memory, 1_000_000, Some(60));
        // Another begins: all are asked for in one call.
        memory.see(&known(&[("a", true), ("b", true)]), at(600));
        check(&memory, 600, Some(5));
        // It moves on, and goes on moving.
        memory.see(&known(&[("a", true)]), at(2_000));
        check(&memory, 2_000, Some(60));
        memory.moved(["a".to_owned()]);
        memory.see(&known(&[("a", true)]), at(2_000));
        check(&memory, 2_000, Some(5));
        memory.see(&known(&[("a", false)]), at(2_001));
        check(&memory, 2_001, None);
        // The clock jumped back.
        memory.see(&known(&[("a", true)]), at(5_000));
        memory.see(&known(&[("a", true)]), at(10));
        check(&memory, 10, Some(5));
    }

    #[test]
    fn where_nothing_changes_ticks_are_passed_over_up_to_five_minutes() {
        let mut memory = Memory::default();
        let mut rests = Vec::new();
        for _ in 0..8 {
            memory.listed(true, at(0));
            let rest = memory.rest_until(at(0), 1.0, false, &Settings::default());
            rests.push(rest.map(|until| until.duration_since(at(0)).as_secs()));
        }
        assert_eq!(rests, [None, Some(54), Some(81), Some(121), Some(182), Some(270), Some(270), Some(270)]);
        memory.moved([]);
        assert_eq!(memory.rest_until(at(0), 1.0, false, &Settings::default()), None);
        memory.listed(true, at(0));
        assert_eq!(memory.rest_until(at(0), 1.0, false, &Settings::default()), None);
    }

    #[test]
    fn where_all_is_hinted_at_even_news_lets_it_rest() {
        let mut memory = Memory::default();
        memory.moved([]);
        let mut rests = Vec::new();
        for _ in 0..5 {
            memory.listed(true, at(0));
            let rest = memory.rest_until(at(0), 1.0, true, &Settings::default());
            rests.push(rest.unwrap().duration_since(at(0)).as_secs());
        }
        assert_eq!(rests, [270, 270, 270, 405, 486]);
        // It came to nothing, and all is as ever.
        memory.moved([]);
        assert_eq!(memory.rest_until(at(0), 1.0, false, &Settings::default()), None);
    }

    #[test]
    fn a_full_list_comes_from_time_to_time() {
        let mut memory = Memory::default();
        let settings = Settings::default();
        assert!(memory.wants_full(at(0), &settings));
        memory.listed(true, at(0));
        assert!(!memory.wants_full(at(899), &settings));
        memory.listed(false, at(899));
        assert!(memory.wants_full(at(900), &settings));
        assert!(memory.wants_full(at(-1), &settings));
    }
}
