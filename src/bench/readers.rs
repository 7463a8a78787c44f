//! Those who follow, in a process of their own: many streams on one thread, of which only the ids are looked at.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::measure::Usage;
use super::rig::{PASSWORD, USER};
use crate::clock::SystemClock;

#[derive(clap::Args)]
pub struct Args {
    #[arg(long)]
    address: SocketAddr,
    #[arg(long)]
    followers: usize,
    /// So many are waited for
    #[arg(long)]
    changes: usize,
}

/// What is said before the arrivals.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Done {
    /// What arrivals count from. Microseconds since 1970.
    pub(super) base_us: i64,
    pub(super) cpu_s: f64,
    /// Ids that were not the next.
    pub(super) faults: usize,
}

/// How long nothing may come before a stream is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Says `ready`, reads to the end, and writes [`Done`] and the arrivals: four bytes each, microseconds after the base, all bits
/// set for one that never came.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    rustix::process::setrlimit(rustix::process::Resource::Nofile, {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        rustix::process::Rlimit { current: limit.maximum, ..limit }
    })?;
    let base_us = SystemClock::micros();
    let faults = Rc::new(RefCell::new(0));
    let open = Rc::new(Barrier::new(args.followers + 1));
    let all = LocalSet::new();
    let arrivals = all
        .run_until(async {
            let mut streams = Vec::with_capacity(args.followers);
            for _ in 0..args.followers {
                // One after the other: a queue of connections is not what is measured.
                let stream = connect(args.address).await?;
                let (faults, open) = (faults.clone(), open.clone());
                streams.push(spawn_local(async move { read(stream, args.changes, base_us, &faults, &open).await }));
            }
            open.wait().await;
            println!("ready");
            std::io::stdout().flush()?;
            let mut arrivals = Vec::with_capacity(args.followers);
            for stream in streams {
                arrivals.push(stream.await?);
            }
            anyhow::Ok(arrivals)
        })
        .await?;
    let done = Done { base_us, cpu_s: Usage::own().cpu_s, faults: *faults.borrow() };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    writeln!(out, "{}", serde_json::to_string(&done)?)?;
    for offset in arrivals.into_iter().flatten() {
        out.write_all(&offset.to_le_bytes())?;
    }
    out.flush()?;
    Ok(())
}

async fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    let credentials = STANDARD.encode(format!("{USER}:{PASSWORD}"));
    let head = format!(
        "GET /api/changes?after=0 HTTP/1.1\r\nHost: {address}\r\nAuthorization: Basic {credentials}\r\nAccept: text/event-stream\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.context("a stream was not opened")?;
    ensure!(status.ends_with(b"200"), "a stream was refused: {}", String::from_utf8_lossy(&status));
    Ok(stream)
}

async fn read(
    mut stream: TcpStream,
    changes: usize,
    base_us: i64,
    faults: &RefCell<usize>,
    open: &Barrier,
) -> Vec<u32> {
    let mut arrivals = vec![u32::MAX; changes];
    let mut lines = Lines::default();
    let mut buffer = vec![0; 16 * 1024];
    let mut next = 1;
    // The rest of the head, and what a stream begins with.
    let begun = stream.read(&mut buffer).await.unwrap_or_default();
    lines.feed(&buffer[..begun], |_| {});
    open.wait().await;
    while next <= changes {
        let Ok(Ok(count)) = timeout(PATIENCE, stream.read(&mut buffer)).await else { break };
        if count == 0 {
            break;
        }
        let offset = u32::try_from(SystemClock::micros() - base_us).unwrap_or(u32::MAX - 1);
        lines.feed(&buffer[..count], |id| {
            if id == next {
                arrivals[next - 1] = offset;
                next += 1;
            } else {
                *faults.borrow_mut() += 1;
            }
        });
    }
    arrivals
}

/// Finds `id: N` at the beginnings of lines, wherever a read was cut.
#[derive(Default)]
struct Lines {
    /// The beginning of a line that has not ended.
    begun: Vec<u8>,
}

impl Lines {
    /// No line that matters is longer.
    const BYTES_MAX: usize = 32;

    fn feed(&mut self, bytes: &[u8], mut found: impl FnMut(usize)) {
        let mut parts = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let room = Self::BYTES_MAX.saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&part[..part.len().min(room)]);
            if parts.peek().is_none() {
                break;
            }
            if let Some(id) = self.begun.strip_prefix(b"id: ")
                && let Some(id) = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok())
            {
                found(id);
            }
            self.begun.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_however_the_bytes_are_cut() {
        let text = b"retry: 5\n\nid: 1\nevent: x\ndata: {\"id: 9\"}\n\nid: 22\ndata: y\n\n: id: 7\nid: 333\n";
        for size in 1..text.len() {
            let (mut lines, mut ids) = (Lines::default(), vec![]);
            for part in text.chunks(size) {
                lines.feed(part, |id| ids.push(id));
            }
            assert_eq!(ids, [1, 22, 333], "{size}");
        }
    }
}
