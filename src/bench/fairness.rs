//! `tracker bench fairness`: healthy receivers alone, and then the same beside receivers that misbehave.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::ensure;
use clap::value_parser;
use serde::Serialize;
use tokio::time::interval;

use super::Common;
use super::measure::{Spread, load, ratio};
use super::receipts::{Judgement, Owed, Promises, judge};
use super::remote::Sink;
use super::rig::Rig;
use super::sink::Manner;
use crate::settings::Settings;

#[derive(clap::Args)]
pub struct Args {
    /// Receivers that hang, drip one byte a second, reset, or answer 500, a quarter each
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(..=1000))]
    bad: u32,
    /// Receivers that answer at once
    #[arg(long, default_value_t = 4, value_parser = value_parser!(u32).range(1..=1000))]
    healthy: u32,
    /// Changes a second, to the healthy ones in turn
    #[arg(long, default_value_t = 50, value_parser = value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long each of the two runs takes
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Deliveries that are due to each bad receiver from the beginning
    #[arg(long, default_value_t = 600, value_parser = value_parser!(u32).range(..=100_000))]
    backlog: u32,
    /// The length of a body, if it is not too short for a change. Bytes
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u32).range(..=1_000_000))]
    bytes: u32,
    #[command(flatten)]
    common: Common,
}

/// Of the healthy receivers in one run.
#[derive(Serialize)]
struct Run {
    deliveries: usize,
    latency: Spread,
    promises: Promises,
}

#[derive(Serialize)]
struct Report {
    healthy: u32,
    bad: u32,
    backlog: u32,
    rate: u32,
    seconds: u32,
    /// What else the machine did before the run: processes that wanted a processor, over a minute.
    load_before: f64,
    alone: Run,
    beside: Run,
    /// How many times as long it takes beside the bad ones.
    p50_ratio: f64,
    p99_ratio: f64,
    /// Requests that the bad receivers got, by manner.
    bad_requests: BTreeMap<&'static str, u64>,
}

/// What the changes to healthy receivers are about; the backlog is about others.
const RESOURCES: u32 = 1000;
/// Changes in a commit of the backlog.
const BATCH: u32 = 100;

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let settings = args.common.begin()?;
    let load_before = load();
    let (alone, _) = once(args, &settings, 0).await?;
    let (beside, bad_requests) = once(args, &settings, args.bad).await?;
    let report = Report {
        healthy: args.healthy,
        bad: args.bad,
        backlog: args.backlog,
        rate: args.rate,
        seconds: args.seconds,
        load_before,
        p50_ratio: ratio(beside.latency.p50_ms, alone.latency.p50_ms),
        p99_ratio: ratio(beside.latency.p99_ms, alone.latency.p99_ms),
        alone,
        beside,
        bad_requests,
    };
    args.common.print(&report)?;
    for promises in [report.alone.promises, report.beside.promises] {
        ensure!(promises.kept(), "a promise to a healthy receiver was broken: {promises}");
    }
    Ok(())
}

/// One run with so many bad receivers; what they got of requests, by manner.
async fn once(args: &Args, settings: &Settings, bad: u32) -> anyhow::Result<(Run, BTreeMap<&'static str, u64>)> {
    let healthy = args.healthy;
    let mut sink = Sink::start(healthy, bad).await?;
    let callbacks: Vec<_> = (0..healthy + bad).map(|hook| sink.url(hook as usize, &format!("/hook/{hook}"))).collect();
    let folder = args.common.folder.as_deref();
    let mut rig = Rig::new(settings, folder, &callbacks, RESOURCES + args.backlog, args.bytes).await?;
    if bad > 0 {
        let everyone: Vec<u32> = (healthy..healthy + bad).collect();
        let backlog: Vec<_> = (0..args.backlog).map(|number| (RESOURCES + number, everyone.clone())).collect();
        for news in backlog.chunks(BATCH as usize) {
            rig.commit(news).await?;
        }
    }
    let tasks = rig.start_engine();
    let changes = args.rate * args.seconds;
    let mut beats = interval(Duration::from_secs(1) / args.rate);
    for number in 0..changes {
        beats.tick().await;
        rig.commit(&[(number % RESOURCES, vec![number % healthy])]).await?;
    }
    sink.wait(changes as usize).await?;
    let receipts = sink.collect().await?;
    tasks.stop().await;

    let owed: Vec<Owed> = rig.owed().iter().filter(|owed| owed.hook < healthy).copied().collect();
    let Judgement { promises, latencies_us, .. } = judge(&owed, &receipts.accepted);
    let mut requests = BTreeMap::new();
    for (index, count) in receipts.requests.iter().enumerate().skip(healthy as usize) {
        *requests.entry(Manner::of(index, healthy as usize).as_str()).or_insert(0) += count;
    }
    let run = Run { deliveries: latencies_us.len(), latency: Spread::of(latencies_us), promises };
    Ok((run, requests))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { healthy, bad, backlog, rate, seconds, alone, beside, .. } = self;
        writeln!(f, "{rate} changes a second to {healthy} healthy receivers for {seconds} s, commit to arrival;")?;
        writeln!(f, "load before {:.1}\n", self.load_before)?;
        writeln!(f, "alone                 {}", alone.latency)?;
        writeln!(f, "beside {bad:>4} bad ones   {}", beside.latency)?;
        writeln!(f, "that is               p50 {:.2} times, p99 {:.2} times\n", self.p50_ratio, self.p99_ratio)?;
        writeln!(f, "promises              {}", alone.promises)?;
        writeln!(f, "                      {}", beside.promises)?;
        write!(f, "bad ones              {backlog} due to each; requests they got:")?;
        for (manner, count) in &self.bad_requests {
            write!(f, " {manner} {count}")?;
        }
        Ok(())
    }
}
