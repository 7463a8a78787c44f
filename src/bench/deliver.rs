//! `tracker bench deliver`: how many deliveries a second, how late, and at what cost.

use std::fmt;
use std::time::Duration;

use anyhow::ensure;
use clap::value_parser;
use serde::Serialize;
use tokio::time::interval;

use super::Common;
use super::limits::{self, Limits};
use super::measure::{Spread, Usage, load, per_second, ratio, round};
use super::receipts::{Judgement, Promises, judge};
use super::remote::Sink;
use super::rig::Rig;
use crate::clock::SystemClock;

#[derive(clap::Args)]
pub struct Args {
    /// Receivers, each at a port of its own
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u32).range(1..=1000))]
    receivers: u32,
    /// Hooks, spread over the receivers; as many as receivers when not given
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000))]
    hooks: Option<u32>,
    /// Changes, each owed to one hook
    #[arg(long, default_value_t = 20_000, value_parser = value_parser!(u32).range(1..=10_000_000))]
    deliveries: u32,
    /// The length of a body, if it is not too short for a change. Bytes
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u32).range(..=1_000_000))]
    bytes: u32,
    /// Instances that the changes are about, in turn
    #[arg(long, default_value_t = 1000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    resources: u32,
    /// Changes in one commit; 100 when not given, or 1 with a rate
    #[arg(long, value_parser = value_parser!(u32).range(1..=10_000))]
    batch: Option<u32>,
    /// Changes a second; as fast as the store takes them when not given
    #[arg(long, value_parser = value_parser!(u32).range(1..=1_000_000))]
    rate: Option<u32>,
    /// Commit everything before the engine starts: what it does without injection beside it
    #[arg(long)]
    preload: bool,
    /// Leave out what the machine would allow
    #[arg(long)]
    no_limits: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Serialize)]
struct Report {
    receivers: u32,
    hooks: u32,
    deliveries: u32,
    body_bytes: usize,
    batch: u32,
    rate: Option<u32>,
    preload: bool,
    /// What else the machine did before the run: processes that wanted a processor, over a minute.
    load_before: f64,
    /// From the first commit (or, of a preloaded run, the engine's start) to the last arrival.
    deliveries_per_s: f64,
    /// While injecting.
    commits_changes_per_s: f64,
    /// From commit to arrival.
    latency: Spread,
    /// Processor seconds of this process, store and injection included.
    cpu_s_per_10000: f64,
    /// The part of a preloaded run's injection, which is not in the above.
    cpu_s_per_10000_preload: f64,
    sink_cpu_s_per_10000: f64,
    memory_peak_mib: f64,
    /// The part of it that is the bench's own list of what is owed.
    memory_of_bench_mib: f64,
    promises: Promises,
    /// Everything was written down as delivered in time.
    settled: bool,
    limits: Option<Limits>,
    /// Deliveries by the requests that the bare client makes.
    of_request_limit: Option<f64>,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let settings = args.common.begin()?;
    let load_before = load();
    let folder = args.common.folder.as_deref();
    let hooks = args.hooks.unwrap_or(args.receivers);
    let mut sink = Sink::start(args.receivers, 0).await?;
    let callbacks: Vec<_> =
        (0..hooks).map(|hook| sink.url((hook % args.receivers) as usize, &format!("/hook/{hook}"))).collect();
    let mut rig = Rig::new(&settings, folder, &callbacks, args.resources, args.bytes).await?;

    rig.expect(args.deliveries);
    let mut before = (Usage::own(), sink.usage());
    let mut preload_cpu_s = 0.0;
    let mut started_us = SystemClock::micros();
    let (tasks, injected_us) = if args.preload {
        inject(&mut rig, args, hooks).await?;
        let injected_us = SystemClock::micros() - started_us;
        preload_cpu_s = Usage::own().cpu_since(before.0);
        before.0 = Usage::own();
        started_us = SystemClock::micros();
        (rig.start_engine(), injected_us)
    } else {
        let tasks = rig.start_engine();
        inject(&mut rig, args, hooks).await?;
        (tasks, SystemClock::micros() - started_us)
    };
    let mut wanted = rig.owed().len();
    let (settled, after, judgement) = loop {
        let arrived = sink.wait(wanted).await?;
        let settled = rig.settle().await?;
        // Before the receipts are fetched and judged, which is the bench's own work.
        let after = (Usage::own(), sink.usage());
        let judgement = judge(rig.owed(), &sink.collect().await?.accepted);
        if judgement.promises.lost == 0 || !arrived {
            break (settled, after, judgement);
        }
        // Repeated ones must not stand in for those that are still to come.
        wanted += judgement.promises.lost;
    };
    tasks.stop().await;
    let Judgement { promises, latencies_us, last_us } = judgement;

    let limits = if args.no_limits {
        None
    } else {
        Some(limits::measure(&sink, args.receivers, &settings, folder, args.bytes, args.deliveries).await?)
    };
    let per_10000 = |cpu_s: f64| round(cpu_s * 10_000.0 / f64::from(args.deliveries), 100);
    let deliveries_per_s = per_second(latencies_us.len(), last_us - started_us);
    let report = Report {
        receivers: args.receivers,
        hooks,
        deliveries: args.deliveries,
        body_bytes: super::rig::body(args.bytes).len(),
        batch: args.batch(),
        rate: args.rate,
        preload: args.preload,
        load_before,
        deliveries_per_s,
        commits_changes_per_s: per_second(args.deliveries as usize, injected_us),
        latency: Spread::of(latencies_us),
        cpu_s_per_10000: per_10000(after.0.cpu_since(before.0)),
        cpu_s_per_10000_preload: per_10000(preload_cpu_s),
        sink_cpu_s_per_10000: per_10000(after.1.cpu_since(before.1)),
        memory_peak_mib: round(after.0.memory_peak_mib, 10),
        memory_of_bench_mib: round(size_of_val(rig.owed()) as f64 / f64::from(1 << 20), 10),
        promises,
        settled,
        of_request_limit: limits.as_ref().map(|limits| ratio(deliveries_per_s, limits.requests_per_s)),
        limits,
    };
    args.common.print(&report)?;
    ensure!(promises.kept(), "a promise was broken: {promises}");
    ensure!(settled, "not everything was written down as delivered");
    Ok(())
}

impl Args {
    fn batch(&self) -> u32 {
        self.batch.unwrap_or(if self.rate.is_some() { 1 } else { 100 })
    }
}

/// Commits all changes, at the rate asked for. A commit that comes late does not put off those after it.
async fn inject(rig: &mut Rig, args: &Args, hooks: u32) -> anyhow::Result<()> {
    let batch = args.batch();
    let mut beats = args.rate.map(|rate| interval(Duration::from_secs(1) * batch / rate));
    let mut first = 0;
    while first < args.deliveries {
        if let Some(beats) = &mut beats {
            beats.tick().await;
        }
        let end = args.deliveries.min(first + batch);
        let news: Vec<_> = (first..end).map(|number| (number % args.resources, vec![number % hooks])).collect();
        rig.commit(&news).await?;
        first = end;
    }
    Ok(())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { receivers, hooks, deliveries, body_bytes, batch, promises, latency, .. } = self;
        let rate = self.rate.map_or("as fast as the store takes them".to_owned(), |rate| format!("{rate} a second"));
        let order = if self.preload { ", all before the engine starts" } else { "" };
        writeln!(f, "{deliveries} deliveries of {body_bytes} bytes to {hooks} hooks at {receivers} receivers,")?;
        writeln!(f, "{batch} to a commit, {rate}{order}; load before {:.1}\n", self.load_before)?;
        writeln!(f, "deliveries/s          {:>10.0}", self.deliveries_per_s)?;
        writeln!(f, "injected changes/s    {:>10.0}", self.commits_changes_per_s)?;
        writeln!(f, "commit to arrival     {latency}")?;
        writeln!(
            f,
            "CPU s per 10,000      {:>10.2}  (the sink {:.2})",
            self.cpu_s_per_10000, self.sink_cpu_s_per_10000
        )?;
        if self.preload {
            writeln!(f, "  injection apart     {:>10.2}", self.cpu_s_per_10000_preload)?;
        }
        let own = self.memory_of_bench_mib;
        writeln!(f, "peak memory           {:>10.1}  MiB (the bench's own list {own:.1})", self.memory_peak_mib)?;
        write!(f, "promises              {promises}")?;
        if let (Some(limits), Some(part)) = (&self.limits, self.of_request_limit) {
            writeln!(f, "\n\nwhat the machine allows:")?;
            writeln!(
                f,
                "bare client           {:>10.0}  requests/s, CPU s per 10,000: {:.2}",
                limits.requests_per_s, limits.requests_cpu_s_per_10000
            )?;
            writeln!(f, "bare store            {:>10.0}  commits/s of one change", limits.commits_per_s)?;
            writeln!(f, "                      {:>10.0}  changes/s in commits of 100", limits.changes_per_s)?;
            write!(f, "deliveries/s are {:.0} % of the bare client's requests/s", part * 100.0)?;
        }
        Ok(())
    }
}
