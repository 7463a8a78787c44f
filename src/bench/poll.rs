//! `tracker bench poll`: what it costs to look at a cloud where nothing happens, and how soon it is known when something does.

use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::value_parser;
use jiff::Timestamp;
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::timeout;

use super::Common;
use super::measure::{Usage, load, memory_mib, round};
use super::provider::{Calls, Provider, user};
use crate::chance::Chance;
use crate::clock::{Clock as _, FakeClock, SystemClock};
use crate::deliver;
use crate::drivers::Drivers;
use crate::model::{
    AccountId, AccountKey, Callback, Collection, Credentials, DriverId, Hook, HookId, Known, Login, Scope, Secret,
    SigningKey, Subscriber, Terms,
};
use crate::service::{Parts, drivers_outbound};
use crate::settings::Settings;
use crate::store::{self, KeyRing, Store};
use crate::tasks::{Pass as _, Wake};

#[derive(clap::Args)]
pub struct Args {
    /// Instances in all
    #[arg(long, default_value_t = 5_000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    instances: u32,
    /// Accounts that they are spread over evenly
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=10_000))]
    accounts: u32,
    /// Looks at all of them that are measured
    #[arg(long, default_value_t = 12, value_parser = value_parser!(u32).range(1..=10_000))]
    cycles: u32,
    /// Instances of the first account that stop in the end
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=1_000))]
    changes: u32,
    #[command(flatten)]
    common: Common,
}

/// What one look at every account took, on average.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
struct Cost {
    cycles: u32,
    /// Pages of instances, short or full.
    list_calls: f64,
    calls: f64,
    /// Processor seconds of Tracker's process.
    cpu_s: f64,
    cloud_cpu_s: f64,
    /// From the first call to the last plan.
    took_ms: f64,
}

#[derive(Serialize)]
struct Report {
    instances: u32,
    accounts: u32,
    load_before: f64,
    /// The first look, by which everything becomes known.
    first: Cost,
    /// Looks at what is known, in short.
    short: Cost,
    /// Looks that read everything, which come every `full_every_ms`.
    full: Cost,
    /// Calls a minute while the pair changes: instances each minute, realms every five.
    calls_per_min_busy: f64,
    /// While nothing changes: both every five minutes.
    calls_per_min_quiet: f64,
    /// Commits to an account's instances in one look where nothing changed.
    commits_per_look: f64,
    /// What a look at every account added to the store's log. Bytes; `None`: the log was used again from its beginning, and did not
    /// grow.
    log_bytes_per_cycle: Option<f64>,
    /// Rows of which anything but the time of observation is other than before the looks, and changes recorded.
    rewritten: u64,
    changed: u32,
    /// From the provider's change to the commit of all, when a look comes at once.
    change_to_commit_ms: f64,
    memory_before_mib: f64,
    memory_mib: f64,
    memory_peak_mib: f64,
}

/// From one cycle to the next: as long as the rest of a unit where nothing changes, so that each is due.
const STEP: Duration = Duration::from_secs(300);
/// What takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(300);

struct Rig {
    store: Arc<dyn Store>,
    clock: Arc<FakeClock>,
    poll: crate::poll::Poll,
    deliver_wake: Wake,
    provider: Provider,
    accounts: Vec<AccountId>,
    log: PathBuf,
    /// Gone with the rig.
    _folder: TempDir,
}

/// What one cycle took.
struct Cycle {
    calls: Calls,
    cpu_s: f64,
    cloud_cpu_s: f64,
    took_us: i64,
    log_grew: Option<u64>,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let settings = args.common.begin()?;
    let Args { instances, accounts, .. } = *args;
    ensure!(instances % accounts == 0, "{instances} instances cannot be spread evenly over {accounts} accounts");
    let each = instances / accounts;
    ensure!(args.changes <= each, "--changes is {}: an account has {each} instances", args.changes);
    let load_before = load();
    let provider = Provider::start(each).await?;
    let mut rig = Rig::new(&settings, args.common.folder.as_deref(), provider, accounts).await?;
    let memory_before_mib = memory_mib();

    let first = rig.cycle(Duration::ZERO).await?;
    let before = rig.known(each).await?;
    let mut cycles = Vec::new();
    for _ in 0..args.cycles {
        cycles.push(rig.cycle(STEP).await?);
    }
    let memory = memory_mib();
    let after = rig.known(each).await?;
    let (short, full): (Vec<&Cycle>, Vec<&Cycle>) = cycles.iter().partition(|cycle| !cycle.is_full());
    let (short, full) = (Cost::of(&short), Cost::of(&full));
    let pages = if short.cycles > 0 { short.list_calls } else { full.list_calls };
    let grew: Vec<u64> = cycles.iter().filter_map(|cycle| cycle.log_grew).collect();

    let change_to_commit_ms = rig.change(args.changes).await?;
    let changed = rig.store.known(rig.accounts[0], Collection::Instances).await?.through.0 - before.changes;
    ensure!(changed == u64::from(args.changes), "{changed} changes were recorded of {}", args.changes);

    let report = Report {
        instances,
        accounts,
        load_before,
        first: Cost::of(&[&first]),
        short,
        full,
        calls_per_min_busy: round(pages + f64::from(accounts) / 5.0, 100),
        calls_per_min_quiet: round((pages + f64::from(accounts)) / 5.0, 100),
        commits_per_look: round(
            (after.versions - before.versions) as f64 / f64::from(accounts) / f64::from(args.cycles),
            100,
        ),
        log_bytes_per_cycle: (!grew.is_empty()).then(|| round(grew.iter().sum::<u64>() as f64 / grew.len() as f64, 1)),
        rewritten: u64::from(after.rows != before.rows) + after.changes - before.changes,
        changed: args.changes,
        change_to_commit_ms,
        memory_before_mib: round(memory_before_mib, 10),
        memory_mib: round(memory, 10),
        memory_peak_mib: round(Usage::own().memory_peak_mib, 10),
    };
    args.common.print(&report)?;
    ensure!(report.rewritten == 0, "nothing changed, and yet something else than the time of observation was written");
    Ok(())
}

impl Rig {
    /// A new store with a hook on the instances of each account.
    async fn new(
        settings: &Settings,
        folder: Option<&Path>,
        provider: Provider,
        accounts: u32,
    ) -> anyhow::Result<Self> {
        let mut at = tempfile::Builder::new();
        at.prefix("tracker-bench-");
        let folder = folder.map_or_else(|| at.tempdir(), |folder| at.tempdir_in(folder)).context("no folder")?;
        let file = folder.path().join("bench.db");
        let mut settings = settings.clone();
        settings.store.url = format!("sqlite:{}", file.display());
        settings.store.key_ring = folder.path().join("bench.keys").display().to_string();
        settings.drivers.allow_networks.push("127.0.0.0/8".parse()?);
        settings.drivers.ec2.endpoint = Some(provider.url());
        // A budget is regained in real seconds, of which none pass while the clock is turned from look to look.
        settings.drivers.pace.ec2.per_second = 0.0;

        // Only instants that are stored come from it. What is reported is measured.
        let (clock, chance) = (Arc::new(FakeClock::at(Timestamp::UNIX_EPOCH)), Arc::new(Chance::from_system()));
        clock.set(SystemClock.now());
        let keys = KeyRing::load_or_create(&settings.store, &chance)?;
        let store = store::open(&settings.store, keys).await?;
        let drivers = Drivers::new(&settings.drivers, &drivers_outbound(&settings)?, clock.clone(), chance.clone());
        let Parts { poll, deliver_wake, .. } =
            Parts::new(&settings, store.clone(), drivers, clock.clone(), chance.clone())?;
        let mut rig = Self {
            store,
            clock,
            poll,
            deliver_wake,
            provider,
            accounts: vec![],
            log: folder.path().join("bench.db-wal"),
            _folder: folder,
        };
        for account in 0..accounts {
            rig.hook(account, &chance).await?;
        }
        Ok(rig)
    }

    async fn hook(&mut self, account: u32, chance: &Chance) -> anyhow::Result<()> {
        let now = self.clock.now();
        let driver = DriverId::new("ec2");
        let hook = Hook {
            id: HookId(chance.id("hook", now)),
            subscriber: Subscriber::parse("bench").context("a name")?,
            scope: Scope::Collection(Collection::Instances),
            callback: Callback::Feed,
            token: None,
            keys: vec![SigningKey { secret: deliver::new_key(&chance.bytes()), until: None }],
            base: "http://127.0.0.1:3001/api;driver=ec2".to_owned(),
            created_at: now,
            disabled: None,
            failing_since: None,
            version: 0,
            terms: Terms::default(),
            ended_at: None,
        };
        let key = AccountKey {
            driver: driver.clone(),
            provider: "us-east-1".to_owned(),
            identity: format!("{:012}", 100_000_000_000_u64 + u64::from(account)),
        };
        let credentials = Credentials { user: user(account), password: Secret::from("benchbenchbenchbench") };
        let login = Login { driver, provider: None, credentials };
        self.accounts.push(self.store.save_hook(&key, &login, &hook, None, now).await?);
        Ok(())
    }

    /// One look at every account, `later`.
    async fn cycle(&mut self, later: Duration) -> anyhow::Result<Cycle> {
        self.clock.advance(later);
        // What was asked before is not of this cycle.
        self.provider.calls().await?;
        let log = self.log_bytes();
        let (own, cloud) = (Usage::own(), self.provider.usage());
        let started_us = SystemClock::micros();
        self.look_at_all().await?;
        let took_us = SystemClock::micros() - started_us;
        let (own, cloud) = (Usage::own().cpu_since(own), self.provider.usage().cpu_since(cloud));
        let calls = self.provider.calls().await?;
        let log_grew = self.log_bytes().checked_sub(log).filter(|grew| *grew > 0);
        Ok(Cycle { calls, cpu_s: own, cloud_cpu_s: cloud, took_us, log_grew })
    }

    /// A tick of the cadence, and all that is due then.
    async fn look_at_all(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        for collection in [Collection::Instances, Collection::Realms] {
            self.store.bring_forward(collection, now, Duration::from_millis(1), Duration::from_secs(600)).await?;
        }
        self.clock.advance(Duration::from_millis(1));
        loop {
            let report = self.poll.pass(self.clock.now()).await.map_err(anyhow::Error::from_boxed)?;
            if report.due == 0 {
                return Ok(());
            }
            self.poll.settle().await;
        }
    }

    /// Stops some instances of the first account. Milliseconds until they are recorded.
    async fn change(&mut self, count: u32) -> anyhow::Result<f64> {
        self.clock.advance(STEP);
        let wake = self.deliver_wake.clone();
        let stopped_us = self.provider.stop(count).await?;
        let recorded = async {
            // One permit may be left of a change before.
            timeout(PATIENCE, wake.notified()).await.map(|()| SystemClock::micros())
        };
        let (looked, recorded) = tokio::join!(self.look_at_all(), recorded);
        looked?;
        let recorded_us = recorded.context("nobody saw the change")?;
        Ok(round((recorded_us - stopped_us) as f64 / 1_000.0, 10))
    }

    /// What is known of all instances: that it is all, and what does not change while nothing happens.
    async fn known(&self, each: u32) -> anyhow::Result<Content> {
        let mut content = Content::default();
        let mut rows = DefaultHasher::new();
        for account in &self.accounts {
            let known = self.store.known(*account, Collection::Instances).await?;
            let count = known.members.len();
            ensure!(count == each as usize, "{count} instances are known of {each}: a look failed");
            ensure!(known.observed_at >= Some(self.clock.now() - STEP / 2), "a look failed");
            content.add(&known, &mut rows);
        }
        content.rows = rows.finish();
        Ok(content)
    }

    fn log_bytes(&self) -> u64 {
        std::fs::metadata(&self.log).map(|file| file.len()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Content {
    /// A digest of all rows but for when they were last seen.
    rows: u64,
    versions: i64,
    changes: u64,
}

impl Content {
    fn add(&mut self, known: &Known, rows: &mut DefaultHasher) {
        for (id, row) in &known.members {
            (id, row.revision, row.first_seen_at, row.absent_since, format!("{:?}", row.resource)).hash(rows);
        }
        self.versions += known.version;
        self.changes += known.through.0;
    }
}

const PAGES: [&str; 2] = ["DescribeInstances", "DescribeInstanceStatus"];

impl Cycle {
    fn is_full(&self) -> bool {
        self.calls.contains_key(PAGES[0])
    }
}

impl Cost {
    fn of(cycles: &[&Cycle]) -> Self {
        let each = |sum: f64, parts: u32| round(sum / cycles.len().max(1) as f64, parts);
        let sum = |of: fn(&Cycle) -> f64| cycles.iter().map(|cycle| of(cycle)).sum::<f64>();
        let pages = |cycle: &Cycle| PAGES.iter().filter_map(|action| cycle.calls.get(*action)).sum::<u64>() as f64;
        Self {
            cycles: u32::try_from(cycles.len()).unwrap_or(u32::MAX),
            list_calls: each(sum(pages), 100),
            calls: each(sum(|cycle| cycle.calls.values().sum::<u64>() as f64), 100),
            cpu_s: each(sum(|cycle| cycle.cpu_s), 10_000),
            cloud_cpu_s: each(sum(|cycle| cycle.cloud_cpu_s), 10_000),
            took_ms: each(sum(|cycle| cycle.took_us as f64 / 1_000.0), 10),
        }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { list_calls, calls, cpu_s, cloud_cpu_s, took_ms, .. } = self;
        write!(
            f,
            "{list_calls:>8} list calls of {calls:>7}, {cpu_s:.3} CPU s ({cloud_cpu_s:.3} the cloud's), {took_ms:.0} ms"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instances, accounts, first, short, full, .. } = self;
        writeln!(f, "{instances} instances in {accounts} accounts; load before {:.1}\n", self.load_before)?;
        writeln!(f, "the first look      {first}")?;
        writeln!(f, "a look in short     {short}")?;
        writeln!(f, "a full look         {full}")?;
        let (busy, quiet) = (self.calls_per_min_busy, self.calls_per_min_quiet);
        writeln!(f, "calls a minute      {quiet:>8} where nothing changes, {busy} where something does")?;
        let bytes = self.log_bytes_per_cycle.map(|bytes| format!(", {bytes} bytes of log a cycle")).unwrap_or_default();
        let (commits, rewritten) = (self.commits_per_look, self.rewritten);
        writeln!(f, "written             {commits:>8} commits a look{bytes}; {rewritten} rows and changes")?;
        let (ms, changed) = (self.change_to_commit_ms, self.changed);
        writeln!(f, "change to commit    {ms:>8} ms for {changed} of one account, after the wait for the look")?;
        let (now, peak, before) = (self.memory_mib, self.memory_peak_mib, self.memory_before_mib);
        write!(f, "memory              {now:>8} MiB, at most {peak}, before the first look {before}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cycles_took_is_averaged_and_pages_are_told_from_other_calls() {
        let cycle = |calls: &[(&str, u64)], cpu_s: f64| Cycle {
            calls: calls.iter().map(|(action, count)| ((*action).to_owned(), *count)).collect(),
            cpu_s,
            cloud_cpu_s: 0.0,
            took_us: 2_000,
            log_grew: None,
        };
        let short = cycle(&[("DescribeInstanceStatus", 5), ("DescribeAvailabilityZones", 1)], 0.1);
        let full = cycle(&[("DescribeInstances", 5), ("DescribeInstanceStatus", 5)], 0.3);
        assert_eq!((short.is_full(), full.is_full()), (false, true));
        let expected = Cost { cycles: 2, list_calls: 7.5, calls: 8.0, cpu_s: 0.2, cloud_cpu_s: 0.0, took_ms: 2.0 };
        assert_eq!(Cost::of(&[&short, &full]), expected);
        assert_eq!(Cost::of(&[]), Cost::default());
    }
}
