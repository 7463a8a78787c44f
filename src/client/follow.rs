//! Following the feed for as long as somebody wants it: by long poll, over restarts and broken connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::output::note;
use super::server::{Answer, Params, Server};
use crate::chance::Chance;

/// Who reads the log when no subscriber is named: nothing is owed to this one, so that looking takes nothing from
/// anybody. Reading on after a place counts as delivered everything up to it.
pub(super) const READER: &str = "tracker-cli";

/// How long the server may hold a question until there is something to tell. Seconds.
const WAIT_S: u64 = 30;
/// Between two empty answers there is at least this, should the server not wait: there may be no log yet. It doubles each time,
/// up to the longest.
const IDLE: Duration = Duration::from_millis(200);
const IDLE_MAX: Duration = Duration::from_secs(2);
/// After the first failure in a row there is a pause of up to this; it doubles each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// Everything up to here was told. What an interrupted command says at its end.
#[derive(Default)]
pub(super) struct Place {
    /// The seq, 1 added; 0 is nowhere.
    next: AtomicU64,
    telling: Mutex<()>,
}

impl Place {
    pub(super) fn set(&self, seq: u64) {
        self.next.store(seq.saturating_add(1), Ordering::Relaxed);
    }

    /// Tells a change and moves on, so that who asks for the place meanwhile waits a moment.
    pub(super) fn tell(&self, seq: u64, tell: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
        let _telling = self.telling.lock().expect("nobody panics while telling");
        tell()?;
        self.set(seq);
        Ok(())
    }

    /// Keeps anything more from being told. `None`: what is being told takes too long, as nobody may be reading it.
    pub(super) async fn stop_telling(&self) -> Option<MutexGuard<'_, ()>> {
        for _ in 0..100 {
            if let Ok(telling) = self.telling.try_lock() {
                return Some(telling);
            }
            pause(Duration::from_millis(2)).await;
        }
        None
    }

    pub(super) fn get(&self) -> Option<u64> {
        self.next.load(Ordering::Relaxed).checked_sub(1)
    }
}

pub(super) struct Follow {
    server: Arc<Server>,
    /// Subscriber, filters, limit.
    question: Params,
    after: u64,
    /// What to do when the place is no longer kept.
    from_oldest: bool,
    chance: Chance,
    /// It was answered once: from now on failures may pass.
    connected: bool,
}

/// What came after a place.
pub(super) struct Page {
    pub(super) changes: Vec<Told>,
    /// The place to go on from when all of it was told.
    pub(super) through: u64,
    /// There is more at once.
    more: bool,
}

/// A change as it came: the same bytes that a callback has.
pub(super) struct Told {
    pub(super) seq: u64,
    pub(super) raw: Box<RawValue>,
}

impl Follow {
    /// Begins after `after`, or at the present end of the log.
    pub(super) async fn begin(
        server: Arc<Server>,
        question: Params,
        after: Option<u64>,
        from_oldest: bool,
    ) -> Result<Self, Failure> {
        let connected = after.is_none();
        let after = match after {
            Some(after) => after,
            None => end(&server).await?,
        };
        Ok(Self { server, question, after, from_oldest, chance: Chance::from_system(), connected })
    }

    /// The place it stands at: everything up to there was told.
    pub(super) fn after(&self) -> u64 {
        self.after
    }

    /// What comes next, however long it takes. The caller tells it, and then goes on from [`Page::through`] by asking again.
    pub(super) async fn next(&mut self) -> Result<Page, Failure> {
        let (mut failures, mut idle) = (0, IDLE);
        loop {
            let asked_at = tokio::time::Instant::now();
            match self.ask().await {
                Ok(page) => {
                    if failures > 0 {
                        note("tracker: connected again");
                    }
                    failures = 0;
                    self.connected = true;
                    self.after = page.through;
                    if !page.changes.is_empty() {
                        return Ok(page);
                    }
                    if !page.more {
                        pause(idle.saturating_sub(asked_at.elapsed())).await;
                        idle = (idle * 2).min(IDLE_MAX);
                    }
                }
                Err(failure) if failure.is_passing() && self.connected => {
                    if failures == 0 {
                        note(&format!("tracker: {}; trying again", failure.text().unwrap_or_default()));
                    }
                    pause(pause_after(failures, self.chance.roll())).await;
                    failures += 1;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    async fn ask(&mut self) -> Result<Page, Failure> {
        let mut query = self.question.clone();
        query.push(("after", self.after.to_string()));
        query.push(("wait", WAIT_S.to_string()));
        match self.server.get_waiting(&["changes"], &query, Duration::from_secs(WAIT_S)).await {
            Ok(answer) => page(&answer, self.after),
            Err(failure) => {
                let Some(oldest) = failure.oldest_kept() else { return Err(failure) };
                let lost = format!(
                    "the changes after {} up to {} are no longer kept; the oldest kept is {oldest}",
                    self.after,
                    oldest - 1
                );
                if !self.from_oldest {
                    let text = format!(
                        "{lost}: list the resources anew for what is missing, and go on with --after {} or --from-oldest",
                        oldest - 1
                    );
                    return Err(Failure::failed(text));
                }
                note(&format!("tracker: {lost}; going on from there"));
                Ok(Page { changes: vec![], through: oldest - 1, more: true })
            }
        }
    }
}

/// Up to where the log goes now. Asked as one to whom nothing is owed, so that it takes nothing from anybody.
async fn end(server: &Server) -> Result<u64, Failure> {
    let query = vec![("subscriber", READER.to_owned()), ("limit", "1".to_owned())];
    let answer = server.get(&["changes"], &query).await?;
    // Read for its sense: another server's page has no place in it.
    answer.json::<Vec<Box<RawValue>>>()?;
    answer.seq().ok_or_else(|| Failure::failed("the server does not say where its log ends: give --after"))
}

/// What an answer brings after `after`.
fn page(answer: &Answer, after: u64) -> Result<Page, Failure> {
    let changes = told(answer)?;
    let newest = changes.last().map_or(after, |told| told.seq);
    let through = answer.seq().unwrap_or(newest).max(newest).max(after);
    // An answer never goes back; should one do, what was told is not told again.
    Ok(Page {
        changes: changes.into_iter().filter(|told| told.seq > after).collect(),
        through,
        more: answer.next().is_some(),
    })
}

/// The changes in an answer of the feed.
pub(super) fn told(answer: &Answer) -> Result<Vec<Told>, Failure> {
    #[derive(Deserialize)]
    struct Numbered {
        seq: u64,
    }
    let changes: Vec<Box<RawValue>> = answer.json()?;
    let numbered = |raw: Box<RawValue>| {
        let Numbered { seq } = serde_json::from_str(raw.get())
            .map_err(|_| Failure::failed("the server told a change without its number"))?;
        Ok(Told { seq, raw })
    };
    changes.into_iter().map(numbered).collect()
}

/// Half of a step for certain, the other half by lot. `roll` is 0 to 1.
pub(super) fn pause_after(failures: u32, roll: f64) -> Duration {
    let step = PAUSE.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX);
    step.mul_f64(0.5 + roll.clamp(0.0, 1.0) / 2.0)
}

pub(super) async fn pause(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a command waits by itself: it has no tasks")]
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let check = |failures: u32, roll: f64, ms: u64| {
            assert_eq!(pause_after(failures, roll), Duration::from_millis(ms), "{failures} {roll}");
        };
        check(0, 0.0, 250);
        check(0, 1.0, 500);
        check(1, 1.0, 1_000);
        check(4, 0.5, 6_000);
        check(5, 1.0, 15_000);
        check(u32::MAX, 1.0, 15_000);
    }

    #[test]
    fn a_place_is_nowhere_until_it_is_set() {
        let place = Place::default();
        assert_eq!(place.get(), None);
        place.set(0);
        assert_eq!(place.get(), Some(0));
    }
}
