//! What to ask, and when to look next. Pure.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::diff::{self, Absence};
use crate::drivers::Kind;
use crate::model::{Collection, Known};
use crate::tasks;

/// `[poll]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// When the instances of every account are listed. Cron with seconds, UTC: second minute hour day month weekday.
    pub instances_cron: String,
    /// When the realms of every account are listed. They change seldom.
    pub realms_cron: String,
    /// When the images are listed of accounts with a hook on one.
    pub images_cron: String,
    /// When the volumes are listed of accounts with a hook on one.
    pub storage_volumes_cron: String,
    /// When the snapshots are listed of accounts with a hook on one.
    pub storage_snapshots_cron: String,
    /// The accounts of one cron tick are spread over this long, each always at the same point. Milliseconds; keeps
    /// thousands of accounts from calling in the same second.
    pub spread_ms: u64,
    /// How often instances are looked at that are about to change by themselves. Milliseconds.
    pub settling_every_ms: u64,
    /// What settles for longer than these is looked at half as often, then a sixth as often, then a twelfth. Milliseconds, rising.
    pub settling_steps_ms: [u64; 3],
    /// A reading that may be older than what was told is held back for this long at most, and looked at again as what settles is. 0:
    /// whatever is read is told. Milliseconds.
    pub doubt_ms: u64,
    /// As far as a client may have brought it about, it is told when it is still read this long after it was first read. Milliseconds.
    pub doubt_again_ms: u64,
    /// What settles for longer than this, as far as anybody looked, is told to be stuck (`instance.stuck`). Milliseconds.
    pub stuck_after_ms: u64,
    /// More time than this between two looks at what settles is time in which nobody looked. Milliseconds.
    pub stuck_gap_ms: u64,
    /// While something settles, the targeted looks are joined by a complete list this often. Milliseconds.
    pub list_every_ms: u64,
    /// A list is read in full this often; in between, what the provider can say in short is enough. Milliseconds.
    pub full_every_ms: u64,
    /// A unit without news is passed over by ticks of its cron for this long after its second quiet look, half as long again after
    /// each further one. Milliseconds.
    pub quiet_wait_ms: u64,
    /// The longest that a quiet unit is passed over. Milliseconds.
    pub quiet_wait_max_ms: u64,
    /// The longest that a unit is passed over whose changes have all been hinted at; it begins with `quiet_wait_max_ms`, news or not. Less
    /// than the unit's gap bound (`instances_gap_ms` …) by a few ticks of its cron. Milliseconds.
    pub hinted_wait_max_ms: u64,
    /// Ids in one targeted look; the rest waits for the next. EC2 takes 200 in a filter.
    pub look_ids_max: usize,
    /// Lists in a row that the backend fails until its realms are asked one by one.
    pub split_after: u32,
    /// Targeted looks into one realm, each of `look_ids_max` ids, when realms are asked one by one; the rest waits for the list.
    pub split_looks_max: usize,
    /// Units (a collection of an account) looked at at once, in all. A quarter is for suspects, whose last look failed or was slow; the
    /// rest is for all others.
    pub units_at_once: usize,
    /// A look that takes longer, waits of our own not counted where it has ended, gives its place to the next. Milliseconds.
    pub slow_ms: u64,
    /// Looks at once that have taken longer than `slow_ms`: they count here and no more in `units_at_once`. Suspects have a quarter.
    pub slow_units_at_once: usize,
    /// Resources that are kept in memory from one look to the next, about a KiB each; of those beyond, what is known is read anew for
    /// each look. 0 keeps none.
    pub known_rows_max: usize,
    /// The first wait after a failed look; it doubles with each further one. Milliseconds.
    pub failed_wait_ms: u64,
    /// The longest wait after failures. Milliseconds.
    pub failed_wait_max_ms: u64,
    /// The wait after refused credentials, which only their owner can mend. Milliseconds. A client that sets a hook with
    /// good ones ends it at once.
    pub denied_wait_ms: u64,
    /// Looks at a part of an account (instances and realms, volumes and snapshots, images) that fail in a row until it is left alone: its
    /// service does not answer, or breaks.
    pub circuit_faults: u32,
    /// It is also left alone when half of this many looks failed.
    pub circuit_window: usize,
    /// Looks in a row whose credentials are refused until it is left alone for `denied_wait_ms`.
    pub circuit_refusals: u32,
    /// How long it is left alone at first; twice as long each time it is tried in vain. Milliseconds.
    pub circuit_wait_ms: u64,
    /// How long a look that is to find out whether an account can be looked at again may take, until another one tries. Milliseconds.
    pub probe_wait_ms: u64,
    /// The longest that it is left alone. Milliseconds.
    pub circuit_wait_max_ms: u64,
    /// How often realms are judged again while one of them is not plainly available or something is suspect. Milliseconds.
    pub judge_every_ms: u64,
    /// How often realms are listed meanwhile. Milliseconds.
    pub suspicious_every_ms: u64,
    /// When a unit is looked at although no cron tick came. Milliseconds; the backstop behind a cron that died.
    pub idle_wait_max_ms: u64,
    /// How long an account is still watched after the last resource with a hook in it ended. Milliseconds.
    pub linger_ms: u64,
    /// The longest time between two complete looks at the instances of an account that goes without saying: if it was longer, the
    /// account's log says so (`account.observation_gap`). Milliseconds; a few ticks of the cron.
    pub instances_gap_ms: u64,
    /// As `instances_gap_ms`, of realms.
    pub realms_gap_ms: u64,
    /// As `instances_gap_ms`, of images.
    pub images_gap_ms: u64,
    /// As `instances_gap_ms`, of volumes.
    pub storage_volumes_gap_ms: u64,
    /// As `instances_gap_ms`, of snapshots.
    pub storage_snapshots_gap_ms: u64,
    pub absence: diff::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            instances_cron: "0 * * * * *".to_owned(),
            realms_cron: "30 */5 * * * *".to_owned(),
            images_cron: "15 */5 * * * *".to_owned(),
            storage_volumes_cron: "20 * * * * *".to_owned(),
            storage_snapshots_cron: "45 */5 * * * *".to_owned(),
            spread_ms: 20_000,
            settling_every_ms: 5_000,
            settling_steps_ms: [120_000, 300_000, 1_800_000],
            doubt_ms: 60_000,
            doubt_again_ms: 5_000,
            stuck_after_ms: 900_000,
            stuck_gap_ms: 120_000,
            list_every_ms: 30_000,
            full_every_ms: 900_000,
            quiet_wait_ms: 60_000,
            quiet_wait_max_ms: 300_000,
            hinted_wait_max_ms: 540_000,
            look_ids_max: 200,
            split_after: 2,
            split_looks_max: 10,
            units_at_once: 64,
            slow_ms: 5_000,
            slow_units_at_once: 256,
            known_rows_max: 50_000,
            failed_wait_ms: 5_000,
            failed_wait_max_ms: 600_000,
            denied_wait_ms: 900_000,
            circuit_faults: 5,
            circuit_window: 20,
            circuit_refusals: 2,
            circuit_wait_ms: 30_000,
            probe_wait_ms: 120_000,
            circuit_wait_max_ms: 600_000,
            judge_every_ms: 30_000,
            suspicious_every_ms: 60_000,
            idle_wait_max_ms: 900_000,
            linger_ms: 3_600_000,
            instances_gap_ms: 600_000,
            realms_gap_ms: 900_000,
            images_gap_ms: 900_000,
            storage_volumes_gap_ms: 600_000,
            storage_snapshots_gap_ms: 900_000,
            absence: diff::Settings::default(),
        }
    }
}

/// More than this is a slip of the pen, and sums of time must stay within the calendar. Milliseconds.
const YEAR_MS: u64 = 366 * 24 * 3_600_000;

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        for collection in Collection::ALL {
            tasks::check_cron(self.cron(collection)).map_err(|text| format!("poll.{collection}_cron: {text}"))?;
        }
        for (name, value) in [
            ("settling_every_ms", self.settling_every_ms),
            ("failed_wait_ms", self.failed_wait_ms),
            ("look_ids_max", self.look_ids_max as u64),
            ("units_at_once", self.units_at_once as u64),
            ("slow_units_at_once", self.slow_units_at_once as u64),
            ("circuit_faults", u64::from(self.circuit_faults)),
            ("circuit_window", self.circuit_window as u64),
            ("circuit_refusals", u64::from(self.circuit_refusals)),
            ("circuit_wait_ms", self.circuit_wait_ms),
            ("quiet_wait_ms", self.quiet_wait_ms),
            ("judge_every_ms", self.judge_every_ms),
            ("suspicious_every_ms", self.suspicious_every_ms),
            ("idle_wait_max_ms", self.idle_wait_max_ms),
        ] {
            if value == 0 {
                return Err(format!("poll.{name} is 0: it must be at least 1"));
            }
        }
        for (name, ms) in [
            ("spread_ms", self.spread_ms),
            ("settling_every_ms", self.settling_every_ms),
            ("doubt_ms", self.doubt_ms),
            ("doubt_again_ms", self.doubt_again_ms),
            ("stuck_after_ms", self.stuck_after_ms),
            ("stuck_gap_ms", self.stuck_gap_ms),
            ("list_every_ms", self.list_every_ms),
            ("failed_wait_ms", self.failed_wait_ms),
            ("failed_wait_max_ms", self.failed_wait_max_ms),
            ("denied_wait_ms", self.denied_wait_ms),
            ("full_every_ms", self.full_every_ms),
            ("quiet_wait_ms", self.quiet_wait_ms),
            ("quiet_wait_max_ms", self.quiet_wait_max_ms),
            ("hinted_wait_max_ms", self.hinted_wait_max_ms),
            ("circuit_wait_ms", self.circuit_wait_ms),
            ("circuit_wait_max_ms", self.circuit_wait_max_ms),
            ("probe_wait_ms", self.probe_wait_ms),
            ("idle_wait_max_ms", self.idle_wait_max_ms),
            ("linger_ms", self.linger_ms),
            ("instances_gap_ms", self.instances_gap_ms),
            ("realms_gap_ms", self.realms_gap_ms),
            ("images_gap_ms", self.images_gap_ms),
            ("storage_volumes_gap_ms", self.storage_volumes_gap_ms),
            ("storage_snapshots_gap_ms", self.storage_snapshots_gap_ms),
            ("absence.confirm_after_ms", self.absence.confirm_after_ms),
            ("absence.young_for_ms", self.absence.young_for_ms),
            ("absence.realm_down_hold_ms", self.absence.realm_down_hold_ms),
            ("absence.withdrawn_after_ms", self.absence.withdrawn_after_ms),
        ] {
            if ms > YEAR_MS {
                return Err(format!("poll.{name} is {ms}: it must be at most {YEAR_MS}, a year"));
            }
        }
        // A rest would be told as a gap, each time, and the log fill with it.
        for (name, rest) in
            [("quiet_wait_max_ms", self.quiet_wait_max_ms), ("hinted_wait_max_ms", self.hinted_wait_max_ms)]
        {
            let bounds = Collection::ALL.map(|collection| (collection, self.gap_ms(collection)));
            if let Some((collection, bound)) = bounds.into_iter().find(|(_, bound)| rest >= *bound) {
                return Err(format!(
                    "poll.{name} is {rest}: it must be less than poll.{collection}_gap_ms, {bound}, or each rest is told as a gap"
                ));
            }
        }
        Ok(())
    }

    pub fn gap_ms(&self, collection: Collection) -> u64 {
        match collection {
            Collection::Instances => self.instances_gap_ms,
            Collection::Realms => self.realms_gap_ms,
            Collection::Images => self.images_gap_ms,
            Collection::StorageVolumes => self.storage_volumes_gap_ms,
            Collection::StorageSnapshots => self.storage_snapshots_gap_ms,
        }
    }

    /// The longest that the cadence may pass a unit over.
    pub fn longest_rest(&self) -> Duration {
        Duration::from_millis(self.quiet_wait_max_ms.max(self.hinted_wait_max_ms))
    }

    /// No look is ever planned for later than this, whatever happened. What is was planned by a clock that was ahead.
    pub(super) fn longest_wait(&self) -> Duration {
        let waits = [self.idle_wait_max_ms, self.failed_wait_max_ms, self.denied_wait_ms, self.circuit_wait_max_ms];
        let longest = waits.into_iter().max().unwrap_or_default();
        // All are spread by a fifth at most; whoever may not find out whether an account works waits for who may.
        let beyond = self.circuit_wait_ms + self.probe_wait_ms + self.list_every_ms + self.spread_ms;
        Duration::from_millis(longest).mul_f64(1.2) + Duration::from_millis(beyond)
    }

    pub fn cron(&self, collection: Collection) -> &str {
        match collection {
            Collection::Instances => &self.instances_cron,
            Collection::Realms => &self.realms_cron,
            Collection::Images => &self.images_cron,
            Collection::StorageVolumes => &self.storage_volumes_cron,
            Collection::StorageSnapshots => &self.storage_snapshots_cron,
        }
    }
}

/// What a look asks the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// The complete collection.
    List,
    /// The complete collection, as far as the provider can say in short what became of what is known.
    Again,
    /// As [`Ask::List`], by somebody who may not see all of it.
    Witness,
    /// These only.
    Look(BTreeSet<String>),
    /// The list is fresh and nothing settles: only what may be gone is to be looked for, which is decided apart.
    Nothing,
}

/// What to ask of a unit that is due at `now`, before what may be gone is looked for. A targeted look serves what settles, as long
/// as the last complete list is fresh; otherwise a list is due, which serves all.
/// What is said in short is enough unless `full` is due. `doubted`: what is to be read once more before it is told.
pub(super) fn ask(
    known: &Known,
    now: Timestamp,
    full: bool,
    doubted: &BTreeSet<String>,
    rules: &Absence,
    settings: &Settings,
) -> Ask {
    let list_every = Duration::from_millis(settings.list_every_ms);
    // A clock that jumped back makes the last list lie ahead: list again rather than trust it.
    let fresh = known.observed_at.is_some_and(|at| at <= now && now < at + list_every);
    // So many are missing that only the list itself, in full, can say whether it was wrong.
    let doubtful = rules.mass(known);
    let moving = doubted.iter().cloned().chain(settling(known));
    let moving: BTreeSet<_> = moving.take(settings.look_ids_max).collect();
    let (ripe, _) = rules.to_confirm(known, now);
    if doubtful && ripe.is_empty() {
        Ask::List
    } else if fresh && !moving.is_empty() {
        Ask::Look(moving)
    } else if fresh && !ripe.is_empty() {
        Ask::Nothing
    } else if full || known.observed_at.is_none_or(|at| at > now) {
        Ask::List
    } else {
        Ask::Again
    }
}

fn settling(known: &Known) -> impl Iterator<Item = String> + '_ {
    let moving = known.members.iter().filter(|(_, row)| row.absent_since.is_none() && row.resource.is_settling());
    moving.map(|(id, _)| id.clone())
}

/// When to look again after a look that went well and left this known. `hot`: how soon, for what settles. `held`: what is missing in a
/// realm that is in doubt itself, and so is not looked for.
pub(super) fn after_success(
    known: &Known,
    now: Timestamp,
    hot: Option<Duration>,
    held: &BTreeSet<String>,
    rules: &Absence,
    settings: &Settings,
) -> Timestamp {
    let idle = now + Duration::from_millis(settings.idle_wait_max_ms);
    let (ripe, ripe_at) = rules.to_confirm(known, now);
    let ripe: BTreeSet<_> = ripe.difference(held).collect();
    // What is held back waits for its realm, which is looked at in its own time.
    let mut missing = known.members.iter().filter(|(_, row)| row.absent_since.is_some());
    let relist = missing.any(|(id, _)| !held.contains(id)) && rules.mass(known);
    let relist = relist.then(|| now + rules.relist_after());
    let soon = now + Duration::from_millis(settings.settling_every_ms);
    let unconfirmed = (!ripe.is_empty()).then_some(soon);
    let moving = hot.map(|wait| now + wait);
    [Some(idle), ripe_at, unconfirmed, moving, relist].into_iter().flatten().min().unwrap_or(idle)
}

/// When to look again after the `failures`th failed look in a row. `roll`, 0 to 1, spreads the waits by a fifth.
pub(super) fn after_failure(kind: Kind, failures: u32, now: Timestamp, roll: f64, settings: &Settings) -> Timestamp {
    let doubled = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    let grown = settings.failed_wait_ms.saturating_mul(doubled).min(settings.failed_wait_max_ms);
    let wait = match kind {
        Kind::Denied | Kind::Forbidden => Duration::from_millis(settings.denied_wait_ms),
        // The provider's own word lengthens the wait, never shortens it, and cannot put us to sleep for a day.
        Kind::Throttled { after } => {
            let longest = Duration::from_millis(settings.denied_wait_ms);
            Duration::from_millis(grown).max(after.unwrap_or_default().min(longest))
        }
        _ => Duration::from_millis(grown),
    };
    now + wait.mul_f64(1.0 + 0.2 * roll)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Instance, InstanceState, KnownResource};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn rules() -> Absence {
        Absence::new(&Settings::default().absence)
    }

    /// A collection last listed at 0 with one instance seen long before.
    fn known(settling: bool, absent_since: Option<i64>) -> Known {
        let instance = Instance { settling, ..Instance::bare("a", InstanceState::Pending, "pending") };
        let row = KnownResource {
            resource: instance.into(),
            revision: 0,
            first_seen_at: at(-10_000),
            observed_at: at(0),
            absent_since: absent_since.map(at),
        };
        Known {
            collection: Collection::Instances,
            version: 1,
            through: crate::model::Seq(0),
            observed_at: Some(at(0)),
            members: [("a".to_owned(), row)].into(),
            former: Default::default(),
        }
    }

    #[test]
    fn what_to_ask() {
        let check = |known: &Known, now: i64, expected: &str| {
            let asked = match ask(known, at(now), false, &BTreeSet::new(), &rules(), &Settings::default()) {
                Ask::List => "list in full".to_owned(),
                Ask::Again => "list".to_owned(),
                Ask::Witness => unreachable!("nobody plans that"),
                Ask::Nothing => "nothing".to_owned(),
                Ask::Look(ids) => format!("look at {}", ids.into_iter().collect::<Vec<_>>().join(" ")),
            };
            assert_eq!(asked, expected);
        };
        let never = Known { observed_at: None, ..known(true, None) };
        check(&never, 5, "list in full");
        check(&known(false, None), 5, "list");
        check(&known(true, None), 5, "look at a");
        check(&known(true, None), 30, "list");
        check(&known(false, Some(0)), 5, "list");
        check(&known(false, Some(0)), 10, "nothing");
        check(&known(true, None), -100, "list in full");
        let list = |doubted: &[&str]| {
            let doubted = doubted.iter().map(|id| (*id).to_owned()).collect();
            ask(&known(false, None), at(5), true, &doubted, &rules(), &Settings::default())
        };
        assert_eq!(list(&[]), Ask::List);
        assert_eq!(list(&["a"]), Ask::Look(BTreeSet::from(["a".to_owned()])));
    }

    #[test]
    fn when_to_look_next() {
        let check = |known: &Known, now: i64, expected: i64| {
            let hot = settling(known).next().map(|_| Duration::from_secs(5));
            assert_eq!(
                after_success(known, at(now), hot, &BTreeSet::new(), &rules(), &Settings::default()),
                at(expected)
            );
        };
        check(&known(false, None), 0, 900);
        check(&known(true, None), 0, 5);
        check(&known(false, Some(0)), 0, 10);
        check(&known(false, Some(0)), 10, 15);
    }

    #[test]
    fn many_that_are_missing_are_listed_again_soon_unless_their_realm_is_in_doubt() {
        let mut many = known(false, Some(0));
        let row = many.members["a"].clone();
        for id in ["b", "c", "d"] {
            let resource = Instance::bare(id, InstanceState::Running, "running").into();
            many.members.insert(id.to_owned(), KnownResource { resource, ..row.clone() });
        }
        let check = |held: &[&str], now: i64, expected: i64| {
            let held = held.iter().map(|id| (*id).to_owned()).collect();
            let due = after_success(&many, at(now), None, &held, &rules(), &Settings::default());
            assert_eq!(due, at(expected), "{held:?}");
        };
        check(&[], 100, 105);
        check(&["a", "b", "c"], 0, 30);
        check(&["a", "b", "c"], 100, 105);
        // When they could be gone they are looked for, and not before.
        check(&["a", "b", "c", "d"], 0, 90);
        check(&["a", "b", "c", "d"], 100, 1_000);
    }

    #[test]
    fn how_long_a_failure_waits() {
        let check = |kind: Kind, failures: u32, expected: i64| {
            assert_eq!(after_failure(kind, failures, at(0), 0.0, &Settings::default()), at(expected));
        };
        check(Kind::Unavailable, 1, 5);
        check(Kind::Unavailable, 4, 40);
        check(Kind::TimedOut, 100, 600);
        check(Kind::Denied, 1, 900);
        check(Kind::Throttled { after: None }, 1, 5);
        check(Kind::Throttled { after: Some(Duration::from_secs(60)) }, 1, 60);
        check(Kind::Throttled { after: Some(Duration::from_secs(1_000_000)) }, 1, 900);
    }

    #[test]
    fn settings_are_checked_with_their_names() {
        let check = |edit: fn(&mut Settings), expected: &str| {
            let mut settings = Settings::default();
            edit(&mut settings);
            let text = settings.check().unwrap_err();
            assert!(text.starts_with(expected), "{text}");
        };
        assert_eq!(Settings::default().check(), Ok(()));
        check(|settings| settings.instances_cron = "often".to_owned(), "poll.instances_cron: `often` is no cron");
        check(|settings| settings.units_at_once = 0, "poll.units_at_once is 0");
    }

    proptest! {
        #[test]
        fn no_look_falls_before_its_failure_and_every_wait_ends(failures in 0u32..200, roll in 0.0f64..1.0) {
            let next = after_failure(Kind::Unavailable, failures, at(0), roll, &Settings::default());
            prop_assert!(next > at(0));
            prop_assert!(next <= at(720));
        }
    }
}
