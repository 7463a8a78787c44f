//! Runs passes: on time, when woken, never two of the same at once. Owns waiting, waking, stopping and catching panics,
//! once for all, and what follows when somebody sets the clock.

mod cron;
mod run;
mod wall;

use async_trait::async_trait;
use jiff::Timestamp;
use tracing::Instrument as _;

pub use cron::{Cron, CronWork, check_cron};
pub use run::{Settings, Status, Tasks, Wake};
pub use wall::Wall;

/// One round of background work: do what is due at `now`, report, and be harmless when cut short or run again. What is
/// due is read from the store, so a restart and a busy day run the same code. Retrying is the next pass.
#[async_trait]
pub trait Pass: Send {
    /// A noun and a verb for logs and the status page: `deliver.pass`.
    fn name(&self) -> &'static str;

    async fn pass(&mut self, now: Timestamp) -> Result<Report, Box<dyn std::error::Error + Send + Sync>>;
}

/// Has something come to its end, also when whoever waits for it hangs up in the middle.
pub(crate) async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(outcome) => outcome,
        Err(err) => std::panic::resume_unwind(err.into_panic()),
    }
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What it found due.
    pub due: usize,
    pub done: usize,
    pub failed: usize,
    pub exhausted: usize,
    /// When there is more to do; `None` when nothing is planned, and only a wake-up or the backstop brings the next pass.
    pub next_due_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_begun_comes_to_its_end_when_nobody_waits_for_it_any_more() {
        let (go, gone) = tokio::sync::oneshot::channel();
        let (tell, told) = tokio::sync::oneshot::channel();
        let work = to_the_end(async move {
            let said: Result<&str, _> = gone.await;
            tell.send(said.unwrap()).unwrap();
        });
        // It begins, and whoever waits hangs up.
        assert!(futures_util::FutureExt::now_or_never(work).is_none());
        go.send("done").unwrap();
        assert_eq!(told.await.unwrap(), "done");
    }
}
