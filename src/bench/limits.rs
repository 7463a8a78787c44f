//! What this machine allows at most: requests of the bare client to the sink, commits of the bare store.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::Url;

use super::measure::{Usage, per_second, round};
use super::remote::Sink;
use super::rig::{self, Rig};
use crate::chance::Chance;
use crate::clock::{Clock as _, SystemClock};
use crate::deliver::{self, ID, Key, SIGNATURE, TIMESTAMP};
use crate::model::ExposeSecret as _;
use crate::settings::Settings;

#[derive(Serialize)]
pub(super) struct Limits {
    /// Signed posts by a bare client over kept connections, 64 at once.
    pub(super) requests_per_s: f64,
    /// What these took. Processor seconds of the client for 10,000.
    pub(super) requests_cpu_s_per_10000: f64,
    /// Commits of one change owed to one hook, one after another, while nothing is delivered.
    pub(super) commits_per_s: f64,
    /// Changes in commits of [`BATCH`].
    pub(super) changes_per_s: f64,
}

const AT_ONCE: usize = 64;
const BATCH: u32 = 100;
/// Of each limit, whichever comes first.
const LONGEST: Duration = Duration::from_secs(3);

/// Takes `sink` for as long as it needs; `most` bounds each measurement.
pub(super) async fn measure(
    sink: &Sink,
    receivers: u32,
    settings: &Settings,
    folder: Option<&Path>,
    body_bytes: u32,
    most: u32,
) -> anyhow::Result<Limits> {
    let urls = (0..receivers as usize).map(|receiver| sink.url(receiver, "/raw")).collect();
    let before = Usage::own();
    let (count, requests_per_s) = requests(urls, rig::body(body_bytes).into(), most as usize).await?;
    let cpu_s = Usage::own().cpu_since(before);
    let commits_per_s = commits(settings, folder, body_bytes, most, 1).await?;
    let changes_per_s = commits(settings, folder, body_bytes, most, BATCH).await?;
    let requests_cpu_s_per_10000 = round(cpu_s * 10_000.0 / count.max(1) as f64, 100);
    Ok(Limits { requests_per_s, requests_cpu_s_per_10000, commits_per_s, changes_per_s })
}

/// How many were made, and how many a second.
async fn requests(urls: Vec<Url>, body: Bytes, most: usize) -> anyhow::Result<(usize, f64)> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the limit is that of a client without the guard; it goes to our sink only"
    )]
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(AT_ONCE).build()?;
    let secret = deliver::new_key(&Chance::from_system().bytes());
    let keys = Arc::new([Key::parse(secret.expose_secret())?]);
    let (urls, begun) = (Arc::new(urls), Arc::new(AtomicUsize::new(0)));
    let (started_us, end) = (SystemClock::micros(), Instant::now() + LONGEST);
    let mut workers = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, keys, urls, begun, body) =
            (client.clone(), Arc::clone(&keys), Arc::clone(&urls), Arc::clone(&begun), body.clone());
        workers.spawn(async move {
            let mut done = 0_usize;
            while Instant::now() < end {
                let number = begun.fetch_add(1, Ordering::Relaxed);
                if number >= most {
                    break;
                }
                let (id, at) = (format!("chg_{number:032x}"), SystemClock.now());
                let request = client
                    .post(urls[number % urls.len()].clone())
                    .header(SIGNATURE, deliver::sign(&*keys, &id, at, &body))
                    .header(TIMESTAMP, at.as_second())
                    .header(ID, id)
                    .header("content-type", "application/json")
                    .body(body.clone());
                request.send().await?.error_for_status()?.bytes().await?;
                done += 1;
            }
            Ok::<_, reqwest::Error>(done)
        });
    }
    let mut done = 0;
    while let Some(worker) = workers.join_next().await {
        done += worker??;
    }
    Ok((done, per_second(done, SystemClock::micros() - started_us)))
}

/// Changes a second, in commits of `batch`.
async fn commits(
    settings: &Settings,
    folder: Option<&Path>,
    body_bytes: u32,
    most: u32,
    batch: u32,
) -> anyhow::Result<f64> {
    let nobody = "http://127.0.0.1:9/".parse()?;
    let mut rig = Rig::new(settings, folder, &[nobody], BATCH * 10, body_bytes).await?;
    let (started_us, end) = (SystemClock::micros(), Instant::now() + LONGEST);
    let mut done = 0;
    while done < most && Instant::now() < end {
        let news: Vec<_> = (done..done + batch).map(|number| (number % (BATCH * 10), vec![0])).collect();
        rig.commit(&news).await?;
        done += batch;
    }
    Ok(per_second(done as usize, SystemClock::micros() - started_us))
}
