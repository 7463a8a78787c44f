//! Places for calls under way: to one provider, and in all.
//!
//! Guarantees: calls of suspects (logins that got no answer last, waited for it long, or are not known to the provider yet) have a quarter
//! of the places and take no other's. A call that takes long gives its place to the next, and holds one of those for the slow, of
//! which suspects have a quarter too. So who hangs keeps the others waiting for [`Bounds::slow_after`], and not for its whole time-out.
//! First come, first served.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Calls that have not taken long yet.
    pub(super) at_once: usize,
    /// Calls that have.
    pub(super) slow_at_once: usize,
    pub(super) slow_after: Duration,
}

pub(super) struct Places {
    prompt: Pool,
    suspects: Pool,
}

/// What may be under way of one sort.
struct Pool {
    quick: Arc<Semaphore>,
    slow: Arc<Semaphore>,
    slow_after: Duration,
    /// Places that have not been given up, oldest first; some have ended.
    held: Mutex<VecDeque<(Instant, Weak<Place>)>>,
}

/// To be held while the call is under way.
pub(super) struct Place(Mutex<OwnedSemaphorePermit>);

/// Suspects' part, at least one.
pub(super) fn quarter(all: usize) -> usize {
    (all / 4).max(1)
}

/// How often it is looked whether a slow one has ended, while all places for them are taken.
const AGAIN: Duration = Duration::from_millis(100);

impl Places {
    pub(super) fn new(bounds: Bounds) -> Self {
        let Bounds { at_once, slow_at_once, slow_after } = bounds;
        let some = |many: usize| Arc::new(Semaphore::new(many.min(Semaphore::MAX_PERMITS)));
        let pool = |quick: usize, slow: usize| Pool {
            quick: some(quick),
            slow: some(slow),
            slow_after,
            held: Mutex::default(),
        };
        let rest = |all: usize| all.saturating_sub(quarter(all)).max(1);
        Self {
            prompt: pool(rest(at_once), rest(slow_at_once)),
            suspects: pool(quarter(at_once), quarter(slow_at_once)),
        }
    }

    /// Waits for a place. Cut short it has taken none.
    pub(super) async fn place(&self, suspect: bool) -> Arc<Place> {
        if suspect { self.suspects.place().await } else { self.prompt.place().await }
    }
}

impl Pool {
    async fn place(&self) -> Arc<Place> {
        let mut turn = std::pin::pin!(self.quick.clone().acquire_owned());
        let permit = loop {
            let wait = self.age(Instant::now());
            if let Ok(permit) = tokio::time::timeout(wait, &mut turn).await {
                break permit.expect("nobody closes it");
            }
        };
        let place = Arc::new(Place(Mutex::new(permit)));
        let mut held = self.held();
        // Those that ended while an older one has not.
        if held.len() == held.capacity() {
            held.retain(|(_, place)| place.strong_count() > 0);
        }
        held.push_back((Instant::now(), Arc::downgrade(&place)));
        place
    }

    /// Takes the places of those that take long by now. Answers with when to do so again.
    fn age(&self, now: Instant) -> Duration {
        let mut held = self.held();
        while let Some((since, place)) = held.front() {
            let left = (*since + self.slow_after).saturating_duration_since(now);
            if let Some(place) = place.upgrade() {
                if !left.is_zero() {
                    return left;
                }
                let Ok(slow) = self.slow.clone().try_acquire_owned() else { return AGAIN };
                *place.0.lock().expect("nobody panics while holding a place") = slow;
            }
            held.pop_front();
        }
        self.slow_after.max(AGAIN)
    }

    fn held(&self) -> MutexGuard<'_, VecDeque<(Instant, Weak<Place>)>> {
        self.held.lock().expect("nobody panics while holding places")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { at_once: 8, slow_at_once: 12, slow_after: Duration::from_secs(5) };

    /// How long so many wait one after the other, each holding what it gets; those that get nothing in a minute are left out.
    async fn waits(places: &Places, suspect: bool, many: usize) -> (Vec<Arc<Place>>, Vec<u64>) {
        let (mut held, mut waits) = (Vec::new(), Vec::new());
        for _ in 0..many {
            let since = Instant::now();
            if let Ok(place) = tokio::time::timeout(Duration::from_secs(60), places.place(suspect)).await {
                held.push(place);
                waits.push(since.elapsed().as_secs());
            }
        }
        (held, waits)
    }

    #[tokio::test(start_paused = true)]
    async fn suspects_that_hang_have_a_quarter_and_leave_the_rest_to_the_others() {
        let places = Places::new(BOUNDS);
        // 2 of 8, and 3 of 12 that are slow.
        let (hung, times) = waits(&places, true, 7).await;
        assert_eq!(times, [0, 0, 5, 0, 5]);
        assert_eq!(waits(&places, false, 6).await.1, [0; 6]);
        drop(hung);
        assert_eq!(waits(&places, true, 1).await.1, [0]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_begins_to_hang_keeps_the_others_waiting_until_it_is_slow() {
        let places = Places::new(BOUNDS);
        let (hung, times) = waits(&places, false, 15).await;
        assert_eq!(times, [0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 5, 0, 0]);
        assert_eq!(waits(&places, true, 2).await.1, [0, 0], "those are not the suspects' places");
        // 6 and 9: no more, however long it takes.
        assert!(waits(&places, false, 1).await.1.is_empty());
        drop(hung);
        assert_eq!(waits(&places, false, 6).await.1, [0; 6]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_has_taken_nothing() {
        let places = Places::new(Bounds { at_once: 1, slow_at_once: 1, ..BOUNDS });
        let one = places.place(false).await;
        let two = places.place(false).await;
        assert!(tokio::time::timeout(Duration::from_secs(9), places.place(false)).await.is_err());
        drop((one, two));
        assert_eq!(waits(&places, false, 1).await.1, [0]);
    }
}
