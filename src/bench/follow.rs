//! `tracker bench follow`: how soon everybody who follows an account hears of a change, and what that costs.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::value_parser;
use serde::Serialize;
use tokio::time::interval;

use super::Common;
use super::measure::{Spread, Usage, load, memory_mib, per_second, round};
use super::readers::Done;
use super::rig::Rig;
use crate::clock::SystemClock;

#[derive(clap::Args)]
pub struct Args {
    /// Streams that are open at once, all of one account
    #[arg(long, default_value_t = 2000, value_parser = value_parser!(u32).range(1..=20_000))]
    followers: u32,
    /// Changes a second
    #[arg(long, default_value_t = 100, value_parser = value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long changes are made
    #[arg(long, default_value_t = 60, value_parser = value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// The length of a change, if it is not too short for one. Bytes
    #[arg(long, default_value_t = 500, value_parser = value_parser!(u32).range(..=1_000_000))]
    bytes: u32,
    #[command(flatten)]
    common: Common,
}

/// Changes there are in all; the readers keep four bytes for each of each follower.
const ARRIVALS_MAX: u64 = 100_000_000;

#[derive(Serialize)]
struct Report {
    followers: u32,
    rate: u32,
    seconds: u32,
    changes: u32,
    body_bytes: usize,
    /// What else the machine did before the run: processes that wanted a processor, over a minute.
    load_before: f64,
    /// Changes that reached a reader, by the time from the first commit to the last arrival.
    arrivals_per_s: f64,
    /// From commit to each reader.
    latency: Spread,
    /// Processors of Tracker's process that were busy, store and injection included.
    cpus: f64,
    readers_cpus: f64,
    /// What an open stream that has nothing to say adds to the process. KiB.
    memory_per_follower_kib: f64,
    memory_peak_mib: f64,
    /// Changes that did not reach somebody, or came twice or out of order.
    lost: usize,
}

pub(super) async fn run(args: &Args) -> anyhow::Result<()> {
    let mut settings = args.common.begin()?;
    let load_before = load();
    let changes = args.rate.saturating_mul(args.seconds);
    let arrivals = u64::from(changes) * u64::from(args.followers);
    ensure!(arrivals <= ARRIVALS_MAX, "{arrivals} arrivals are more than {ARRIVALS_MAX}: take fewer of something");
    settings.feed.followers_max = args.followers as usize;
    settings.api.connections_max = args.followers as usize + 16;
    let mut rig = Rig::new(&settings, args.common.folder.as_deref(), &[], 1_000, args.bytes).await?;
    rig.feed_hook().await?;
    let address = rig.serve().await?;

    let memory_before = memory_mib();
    let mut readers = Readers::start(address, args.followers, changes).await?;
    let memory_open = memory_mib();
    let before = (Usage::own(), readers.usage());
    let started_us = SystemClock::micros();
    let mut committed_us = Vec::with_capacity(changes as usize);
    let mut beats = interval(Duration::from_secs(1) / args.rate);
    for number in 0..changes {
        beats.tick().await;
        rig.commit(&[(number % 1_000, vec![0])]).await?;
        committed_us.push(SystemClock::micros());
    }
    let (done, arrived) = readers.collect().await?;
    let (own, theirs) = (Usage::own().cpu_since(before.0), done.cpu_s - before.1.cpu_s);

    let mut lost = done.faults;
    let mut last_us = started_us;
    let mut latencies = Vec::with_capacity(arrived.len());
    for (place, offset) in arrived.into_iter().enumerate() {
        if offset == u32::MAX {
            lost += 1;
            continue;
        }
        let at_us = done.base_us + i64::from(offset);
        last_us = last_us.max(at_us);
        latencies.push((at_us - committed_us[place % changes as usize]).max(0));
    }
    let elapsed_s = (last_us - started_us) as f64 / 1e6;
    let report = Report {
        followers: args.followers,
        rate: args.rate,
        seconds: args.seconds,
        changes,
        body_bytes: super::rig::body(args.bytes).len(),
        load_before,
        arrivals_per_s: per_second(latencies.len(), last_us - started_us),
        latency: Spread::of(latencies),
        cpus: round(own / elapsed_s, 100),
        readers_cpus: round(theirs / elapsed_s, 100),
        memory_per_follower_kib: round((memory_open - memory_before) * 1024.0 / f64::from(args.followers), 10),
        memory_peak_mib: round(Usage::own().memory_peak_mib, 10),
        lost,
    };
    args.common.print(&report)?;
    ensure!(lost == 0, "a promise was broken: {lost} arrivals were lost, repeated or out of order");
    Ok(())
}

/// The readers' process. Ends with its owner.
struct Readers {
    child: Child,
    said: Option<BufReader<std::process::ChildStdout>>,
    arrivals: usize,
}

impl Readers {
    /// Starts this very program, and waits until every stream is open.
    async fn start(address: SocketAddr, followers: u32, changes: u32) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program is not to be found")?;
        let mut child = Command::new(program)
            .args(["bench", "readers", "--address", &address.to_string()])
            .args(["--followers", &followers.to_string(), "--changes", &changes.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the readers do not start")?;
        let mut said = BufReader::new(child.stdout.take().context("a piped stdout is there")?);
        let (line, said) = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            said.read_line(&mut line).map(|_| (line, said))
        })
        .await??;
        if line.trim() != "ready" {
            bail!("the readers did not get ready");
        }
        Ok(Self { child, said: Some(said), arrivals: followers as usize * changes as usize })
    }

    fn usage(&self) -> Usage {
        Usage::of(&self.child.id().to_string())
    }

    /// Waits until they have everything or gave up. When what arrived, follower by follower.
    async fn collect(&mut self) -> anyhow::Result<(Done, Vec<u32>)> {
        let mut said = self.said.take().context("they are asked once")?;
        let arrivals = self.arrivals;
        tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            said.read_line(&mut line)?;
            let done = serde_json::from_str(&line).context("the readers are gone")?;
            let mut bytes = vec![0; arrivals * size_of::<u32>()];
            said.read_exact(&mut bytes)?;
            let (offsets, _) = bytes.as_chunks();
            Ok((done, offsets.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()))
        })
        .await?
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { followers, rate, seconds, changes, body_bytes, .. } = self;
        writeln!(
            f,
            "{followers} streams of one account, {rate} changes of {body_bytes} bytes a second for {seconds} s"
        )?;
        writeln!(f, "({changes}); load before {:.1}\n", self.load_before)?;
        writeln!(f, "commit to reader      {}", self.latency)?;
        writeln!(f, "arrivals/s            {:>10.0}", self.arrivals_per_s)?;
        writeln!(f, "processors busy       {:>10.2}  (the readers {:.2})", self.cpus, self.readers_cpus)?;
        writeln!(f, "memory of a follower  {:>10.1}  KiB", self.memory_per_follower_kib)?;
        writeln!(f, "peak memory           {:>10.1}  MiB", self.memory_peak_mib)?;
        write!(f, "lost                  {:>10}", self.lost)
    }
}
