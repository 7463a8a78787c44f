use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tracing::{info, warn};

use super::{Pass, Report, Wake};
use crate::clock::{Clock, Drift, SLACK};
use crate::store::{self, Store};

/// Looks at the clock on the wall. When somebody set it, says so once, brings what is stored of plans to the new time if that is
/// earlier, and has all beats begin anew.
///
/// What was planned by a time that turned out to be ahead would otherwise wait until it comes round again, and a restart changes
/// nothing about that; so the first pass compares the clock with what is stored.
pub struct Wall {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    drift: Drift,
    /// Set back by this, and the store does not know it yet.
    owed: Duration,
    begun: bool,
    /// Notified after each jump.
    again: Wake,
}

/// How often. Less than a tick of any cron that makes sense.
const EVERY: Duration = Duration::from_secs(1);

impl Wall {
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, again: Wake) -> Self {
        let drift = Drift::new(clock.as_ref());
        Self { store, clock, drift, owed: Duration::ZERO, begun: false, again }
    }

    /// What was recorded lies ahead: the clock was set back while Tracker did not run.
    async fn compare(&mut self, now: Timestamp) -> Result<(), store::Error> {
        let newest = self.store.newest().await?;
        self.begun = true;
        let ahead =
            newest.and_then(|at| Duration::try_from(at.duration_since(now)).ok()).filter(|ahead| *ahead > SLACK);
        if let Some(ahead) = ahead {
            warn!(
                "The clock shows {now:.0}, and something was recorded {} later: it was set back since then. What was planned by the \
                 old time is planned anew",
                words(ahead)
            );
            self.owed += ahead;
        }
        Ok(())
    }

    fn note(&mut self, jump: SignedDuration, now: Timestamp) {
        let by = words(jump.unsigned_abs());
        if jump.is_negative() {
            warn!(
                "The clock was set back by {by} and shows {now:.0}: what was planned by the old time is planned anew"
            );
            self.owed += jump.unsigned_abs();
        } else {
            warn!(
                "The clock was set ahead by {by} and shows {now:.0}, or this machine slept: what fell due meanwhile is due now"
            );
            // Back again, it has to undo no more than what was planned since.
            self.owed = self.owed.saturating_sub(jump.unsigned_abs());
        }
    }
}

#[async_trait]
impl Pass for Wall {
    fn name(&self) -> &'static str {
        "clock.pass"
    }

    async fn pass(&mut self, now: Timestamp) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
        if !self.begun {
            self.compare(now).await?;
        }
        let jump = self.drift.jump(self.clock.as_ref());
        let now = self.clock.now();
        if let Some(jump) = jump {
            self.note(jump, now);
        }
        // A pass that fails is made again, and what it owes is not forgotten.
        if !self.owed.is_zero() {
            let planned = self.store.set_back(self.owed, now).await?;
            info!("{planned} looks and callbacks are planned anew");
            self.owed = Duration::ZERO;
        }
        if jump.is_some() {
            self.again.notify_one();
        }
        Ok(Report { next_due_at: Some(self.clock.now() + EVERY), ..Report::default() })
    }
}

fn words(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{:.1} s", span.as_secs_f64()),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}
