use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_cron_scheduler::{Job, JobScheduler};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Wake;

/// What a cron expression starts. Must be short and harmless when it overlaps or is missed: a mark in the store, a hint.
pub type CronWork = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The operator's cron expressions, in UTC. They are a heartbeat, not a plan: what is due is decided from the store, so
/// a missed beat costs at most its own delay.
///
/// Only cron jobs are used. The library's repeated jobs stop for good after a stall longer than their interval. It also waits for the
/// next tick as it found it once, so after the clock was set back it would be silent for as long as the clock had been ahead:
/// whoever finds that the clock was set has everything begun anew.
pub struct Cron {
    stop: CancellationToken,
    beating: JoinHandle<()>,
}

impl Cron {
    /// `again`: the clock was set. Every beat comes at once then, as nobody knows which were missed, and the next by the new time.
    ///
    /// # Errors
    /// An expression that is none, with its text.
    pub async fn start(jobs: Vec<(String, CronWork)>, again: Wake) -> Result<Self, String> {
        let mut scheduler = begin(&jobs).await?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let beating = tokio::spawn(async move {
            while stopped.run_until_cancelled(again.notified()).await.is_some() {
                match begin(&jobs).await {
                    Ok(begun) => end(std::mem::replace(&mut scheduler, begun)).await,
                    Err(err) => warn!("cron beats by the time before the clock was set: {err}"),
                }
                for (_, work) in &jobs {
                    work().await;
                }
            }
            end(scheduler).await;
        });
        Ok(Self { stop, beating })
    }

    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(err) = self.beating.await {
            warn!("the cron scheduler did not stop cleanly: {err}");
        }
    }
}

async fn begin(jobs: &[(String, CronWork)]) -> Result<JobScheduler, String> {
    let scheduler = JobScheduler::new().await.map_err(|err| format!("the cron scheduler did not start: {err}"))?;
    for (expression, work) in jobs {
        let job = job(expression, work.clone())?;
        scheduler.add(job).await.map_err(|err| format!("cron `{expression}` was not taken: {err}"))?;
    }
    scheduler.start().await.map_err(|err| format!("the cron scheduler did not start: {err}"))?;
    Ok(scheduler)
}

async fn end(mut scheduler: JobScheduler) {
    if let Err(err) = scheduler.shutdown().await {
        warn!("the cron scheduler did not stop cleanly: {err}");
    }
}

/// Whether this is a cron expression, and if not, why.
///
/// # Errors
/// A sentence with the expression and what is wrong with it.
pub fn check_cron(expression: &str) -> Result<(), String> {
    job(expression, Arc::new(|| Box::pin(async {}))).map(drop)
}

fn job(expression: &str, work: CronWork) -> Result<Job, String> {
    Job::new_async(expression, move |_, _| work()).map_err(|err| {
        format!("`{expression}` is no cron expression ({err}); write six fields: second minute hour day month weekday")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn when_the_clock_was_set_every_beat_comes_at_once() {
        let (beats, mut beaten) = mpsc::unbounded_channel();
        let seldom = "0 0 0 29 2 *".to_owned();
        let work: CronWork = Arc::new(move || {
            let sent = beats.send(());
            Box::pin(async move { sent.unwrap() })
        });
        let again = Wake::default();
        let cron = Cron::start(vec![(seldom, work)], again.clone()).await.unwrap();
        for _ in 0..3 {
            again.notify_one();
            tokio::time::timeout(Duration::from_secs(20), beaten.recv()).await.unwrap().unwrap();
        }
        cron.stop().await;
        assert!(beaten.try_recv().is_err(), "nothing else did");
    }

    #[test]
    fn expressions_are_checked_before_anything_starts() {
        assert_eq!(check_cron("0 * * * * *"), Ok(()));
        assert_eq!(check_cron("*/5 * * * * *"), Ok(()));
        for wrong in ["", "every minute", "0 * * *", "99 * * * * *"] {
            let text = check_cron(wrong).unwrap_err();
            assert!(text.contains(&format!("`{wrong}`")) && text.contains("six fields"), "{text}");
        }
    }
}
