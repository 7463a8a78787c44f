use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use jiff::Timestamp;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, debug, error, info, info_span, warn};

use super::{Pass, Report};
use crate::clock::Clock;

/// Says "look now". A hint only: what is due is read from the store.
pub type Wake = Arc<Notify>;

/// `[tasks]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The longest a task sleeps although nothing is planned and nobody woke it. Milliseconds; the backstop behind every
    /// lost hint and every clock that jumped.
    pub backstop_ms: u64,
    /// The pause after a pass that failed or panicked. Milliseconds.
    pub failed_pause_ms: u64,
    /// How long a pass may go on when Tracker stops, before it is cut short. Milliseconds.
    pub stop_grace_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { backstop_ms: 5_000, failed_pause_ms: 1_000, stop_grace_ms: 5_000 }
    }
}

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        for (name, value) in [("backstop_ms", self.backstop_ms), ("failed_pause_ms", self.failed_pause_ms)] {
            if value == 0 {
                return Err(format!("tasks.{name} is 0, which is no pause at all: it must be at least 1"));
            }
        }
        Ok(())
    }
}

/// How a task is doing.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub passes: u64,
    pub failures: u64,
    pub panics: u64,
    pub last_at: Option<Timestamp>,
    pub last: Report,
}

/// The background tasks of a running Tracker.
pub struct Tasks {
    clock: Arc<dyn Clock>,
    settings: Settings,
    running: TaskTracker,
    stop: CancellationToken,
    status: Arc<Mutex<BTreeMap<&'static str, Status>>>,
}

impl Tasks {
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        Self { clock, settings, running: TaskTracker::new(), stop: CancellationToken::new(), status: Arc::default() }
    }

    /// Runs this pass again and again until [`Tasks::stop`]: when its last report said so, when woken, and at the latest
    /// after the backstop.
    pub fn run(&self, pass: impl Pass + 'static, wake: Wake) {
        self.run_on(&Handle::current(), pass, wake);
    }

    /// As [`Tasks::run`], on the threads of another runtime.
    pub fn run_on(&self, runtime: &Handle, pass: impl Pass + 'static, wake: Wake) {
        let name = pass.name();
        let runner = Runner {
            pass,
            wake,
            clock: self.clock.clone(),
            settings: self.settings.clone(),
            stop: self.stop.clone(),
            status: self.status.clone(),
        };
        self.running.spawn_on(runner.run().instrument(info_span!("task", task = name)), runtime);
    }

    /// Cancelled when the tasks are to stop: a pass that goes on for long ends by itself then.
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// By the names of the passes.
    pub fn status(&self) -> BTreeMap<&'static str, Status> {
        self.status.lock().expect("only whole values are written here").clone()
    }

    /// Stops waiting tasks at once and lets running passes end within the grace.
    pub async fn stop(self) {
        self.stop.cancel();
        self.running.close();
        self.running.wait().await;
    }
}

struct Runner<P> {
    pass: P,
    wake: Wake,
    clock: Arc<dyn Clock>,
    settings: Settings,
    stop: CancellationToken,
    status: Arc<Mutex<BTreeMap<&'static str, Status>>>,
}

impl<P: Pass> Runner<P> {
    async fn run(mut self) {
        while !self.stop.is_cancelled() {
            let wait = self.once().await;
            let wake = self.wake.clone();
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = wake.notified() => {}
                _ = tokio::time::timeout(wait, std::future::pending::<()>()) => {}
            }
        }
    }

    /// One pass; answers with how long to wait for the next.
    async fn once(&mut self) -> Duration {
        let started = Instant::now();
        let name = self.pass.name();
        let now = self.clock.now();
        let pass = AssertUnwindSafe(self.pass.pass(now)).catch_unwind();
        let grace = Duration::from_millis(self.settings.stop_grace_ms);
        let stopped = async {
            self.stop.cancelled().await;
            let _ = tokio::time::timeout(grace, std::future::pending::<()>()).await;
        };
        let outcome = tokio::select! {
            outcome = pass => outcome,
            () = stopped => {
                info!("{name} was cut short by the stop; the next start does what it left");
                return Duration::ZERO;
            }
        };
        let pause = Duration::from_millis(self.settings.failed_pause_ms);
        let mut status = self.status.lock().expect("only whole values are written here");
        let status = status.entry(name).or_default();
        status.passes += 1;
        status.last_at = Some(now);
        match outcome {
            Ok(Ok(report)) => {
                let elapsed_ms = started.elapsed().as_millis() as u64;
                if report.due + report.failed > 0 {
                    debug!(elapsed_ms, due = report.due, done = report.done, failed = report.failed, "{name} done");
                }
                let wait = wait(report.next_due_at, self.clock.now(), &self.settings);
                status.last = report;
                wait
            }
            Ok(Err(err)) => {
                status.failures += 1;
                warn!("{name} failed, next try in {} ms: {}", pause.as_millis(), chain(err.as_ref()));
                pause
            }
            Err(_) => {
                status.panics += 1;
                error!("{name} panicked, next try in {} ms: this is a bug", pause.as_millis());
                pause
            }
        }
    }
}

/// How long to sleep: until the next due time, and never longer than the backstop, whatever the clock did.
fn wait(next_due_at: Option<Timestamp>, now: Timestamp, settings: &Settings) -> Duration {
    let backstop = Duration::from_millis(settings.backstop_ms);
    next_due_at.map_or(backstop, |due_at| {
        Duration::try_from(due_at.duration_since(now)).unwrap_or(Duration::ZERO).min(backstop)
    })
}

/// An error with its causes, in one line.
fn chain(err: &(dyn std::error::Error + 'static)) -> String {
    let mut text = err.to_string();
    let mut cause = err.source();
    while let Some(err) = cause {
        let next = err.to_string();
        // Many errors repeat their cause in their own text.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = err.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use tokio::sync::mpsc;

    use super::*;
    use crate::clock::FakeClock;

    type Answer = Box<dyn Fn(u32) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> + Send>;

    struct Scripted {
        turn: u32,
        answer: Answer,
        seen: mpsc::UnboundedSender<u32>,
    }

    #[async_trait]
    impl Pass for Scripted {
        fn name(&self) -> &'static str {
            "scripted.pass"
        }

        async fn pass(&mut self, _now: Timestamp) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
            self.turn += 1;
            self.seen.send(self.turn)?;
            (self.answer)(self.turn)
        }
    }

    fn start(answer: Answer) -> (Tasks, Wake, mpsc::UnboundedReceiver<u32>) {
        let clock = Arc::new(FakeClock::at(Timestamp::UNIX_EPOCH));
        let tasks = Tasks::new(Settings::default(), clock);
        let (seen, passes) = mpsc::unbounded_channel();
        let wake = Wake::default();
        tasks.run(Scripted { turn: 0, answer, seen }, wake.clone());
        (tasks, wake, passes)
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_runs_again_when_woken_and_at_the_latest_after_the_backstop() {
        let (tasks, wake, mut passes) = start(Box::new(|_| Ok(Report::default())));
        let began = tokio::time::Instant::now();
        assert_eq!(passes.recv().await, Some(1));
        wake.notify_one();
        assert_eq!(passes.recv().await, Some(2));
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(passes.recv().await, Some(3));
        assert_eq!(began.elapsed(), Duration::from_secs(5));
        tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_pass_runs_again_when_its_report_said_so() {
        let next = Report { next_due_at: Some(Timestamp::from_second(2).unwrap()), ..Report::default() };
        let (tasks, _wake, mut passes) = start(Box::new(move |_| Ok(next.clone())));
        let began = tokio::time::Instant::now();
        assert_eq!(passes.recv().await, Some(1));
        assert_eq!(passes.recv().await, Some(2));
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        tasks.stop().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_or_a_panic_costs_a_pause_and_not_the_task() {
        let (tasks, _wake, mut passes) = start(Box::new(|turn| match turn {
            1 => Err("no store".into()),
            2 => panic!("a bug"),
            _ => Ok(Report::default()),
        }));
        for turn in 1..=3 {
            assert_eq!(passes.recv().await, Some(turn));
        }
        tokio::task::yield_now().await;
        let status = &tasks.status()["scripted.pass"];
        assert_eq!((status.failures, status.panics), (1, 1));
        tasks.stop().await;
    }

    #[test]
    fn the_wait_is_bounded_whatever_the_clock_did() {
        let check = |due: Option<i64>, now: i64, expected_ms: u128| {
            let at = |second| Timestamp::from_second(second).unwrap();
            assert_eq!(wait(due.map(at), at(now), &Settings::default()).as_millis(), expected_ms);
        };
        check(None, 0, 5_000);
        check(Some(3), 0, 3_000);
        check(Some(0), 3, 0);
        check(Some(1_000_000), 0, 5_000);
    }
}
