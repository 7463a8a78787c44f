use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_cron_scheduler::{Job, JobScheduler};

/// What a cron expression starts. Must be short and harmless when it overlaps or is missed: a mark in the store, a hint.
pub type CronWork = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The operator's cron expressions, in UTC. They are a heartbeat, not a plan: what is due is decided from the store, so
/// a missed beat costs at most its own delay.
///
/// Only cron jobs are used. The library's repeated jobs stop for good after a stall longer than their interval.
pub struct Cron {
    scheduler: JobScheduler,
}

impl Cron {
    /// # Errors
    /// An expression that is none, with its text.
    pub async fn start(jobs: Vec<(String, CronWork)>) -> Result<Self, String> {
        let scheduler = JobScheduler::new().await.map_err(|err| format!("the cron scheduler did not start: {err}"))?;
        for (expression, work) in jobs {
            let job = job(&expression, work)?;
            scheduler.add(job).await.map_err(|err| format!("cron `{expression}` was not taken: {err}"))?;
        }
        scheduler.start().await.map_err(|err| format!("the cron scheduler did not start: {err}"))?;
        Ok(Self { scheduler })
    }

    pub async fn stop(mut self) {
        if let Err(err) = self.scheduler.shutdown().await {
            tracing::warn!("the cron scheduler did not stop cleanly: {err}");
        }
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
    use super::*;

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
