//! Whether the hints of a unit tell of all that happens in it. Pure.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::HintTerms;

/// Changes found without a hint that may still come, at most; the oldest of more counts as never hinted.
const OPEN_MAX: usize = 100;

/// What was hinted and what was found, as far as it matters for the judgement. Proof is a change that was hinted; one that was not is
/// proof of the contrary for a while. The hint may also come after the change was found, as a look may be faster.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// When each id was last hinted at.
    hinted: BTreeMap<String, Timestamp>,
    /// Changes that were found without a hint so far, oldest first.
    open: VecDeque<(String, Timestamp)>,
    proven_at: Option<Timestamp>,
    /// When a change turned out to have been found without a hint.
    missed_at: Option<Timestamp>,
}

impl Stream {
    /// How many ids it remembers.
    pub(super) fn len(&self) -> usize {
        self.hinted.len()
    }

    /// Forgets hints that can bear out nothing any more.
    pub(super) fn tidy(&mut self, now: Timestamp, terms: &HintTerms) {
        self.hinted.retain(|_, at| *at + terms.hinted_within >= now);
    }

    /// An id was hinted at. Without `room` it is not remembered, so that a change found later counts as not hinted.
    pub(super) fn hinted(&mut self, id: &str, now: Timestamp, room: bool, terms: &HintTerms) {
        self.judge(now, terms);
        let open = self.open.len();
        self.open.retain(|(found, _)| found != id);
        if self.open.len() < open {
            self.proven_at = Some(now);
        }
        if let Some(at) = self.hinted.get_mut(id) {
            *at = now;
        } else if room {
            self.hinted.insert(id.to_owned(), now);
        }
    }

    /// A change of it was found.
    pub(super) fn found(&mut self, id: &str, now: Timestamp, terms: &HintTerms) {
        self.judge(now, terms);
        if self.hinted.get(id).is_some_and(|at| *at + terms.hinted_within >= now) {
            self.proven_at = Some(now);
            return;
        }
        self.open.push_back((id.to_owned(), now));
        if self.open.len() > OPEN_MAX {
            self.open.pop_front();
            self.missed_at = Some(now);
        }
    }

    pub(super) fn is_proven(&self, now: Timestamp, terms: &HintTerms) -> bool {
        let late = self.open.iter().any(|(_, found_at)| *found_at + terms.hinted_within < now);
        let missed = self.missed_at.is_some_and(|at| now < at + terms.unproven_for);
        !late && !missed && self.proven_at.is_some_and(|at| now < at + terms.proof_for)
    }

    /// It is proven, and no change is open.
    pub(super) fn is_relied_on(&self, now: Timestamp, terms: &HintTerms) -> bool {
        self.open.is_empty() && self.is_proven(now, terms)
    }

    /// Changes that no hint came for in time.
    fn judge(&mut self, now: Timestamp, terms: &HintTerms) {
        while let Some((_, found_at)) = self.open.front() {
            let until = *found_at + terms.hinted_within;
            if until >= now {
                break;
            }
            self.missed_at = self.missed_at.max(Some(until));
            self.open.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::book::tests::terms;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    enum Event {
        Hint(&'static str),
        Found(&'static str),
    }
    use Event::{Found, Hint};

    /// The stream after these events, each at its second.
    fn stream(events: &[(i64, Event)]) -> Stream {
        let mut stream = Stream::default();
        for (second, event) in events {
            match event {
                Hint(id) => stream.hinted(id, at(*second), true, &terms()),
                Found(id) => stream.found(id, at(*second), &terms()),
            }
        }
        stream
    }

    #[test]
    fn a_stream_is_proven_by_what_it_told_and_disproven_by_what_it_did_not() {
        const HOUR: i64 = 3_600;
        let check = |events: &[(i64, Event)], proven: &[(i64, bool)]| {
            let stream = stream(events);
            for (second, expected) in proven {
                assert_eq!(stream.is_proven(at(*second), &terms()), *expected, "at {second}: {stream:?}");
            }
        };
        check(&[], &[(0, false)]);
        // Hints alone prove nothing, nor do changes.
        check(&[(0, Hint("a"))], &[(1, false)]);
        check(&[(0, Found("a"))], &[(1, false), (121, false), (9 * HOUR, false)]);
        check(&[(0, Hint("a")), (2, Found("a"))], &[(2, true), (HOUR, true), (24 * HOUR, true), (25 * HOUR, false)]);
        check(&[(0, Hint("a")), (120, Found("a"))], &[(120, true)]);
        check(&[(0, Hint("a")), (121, Found("a"))], &[(121, false), (9 * HOUR, false)]);
        check(&[(0, Hint("b")), (2, Found("a"))], &[(2, false), (9 * HOUR, false)]);
        // The look was faster than the hint.
        check(&[(0, Found("a")), (120, Hint("a"))], &[(120, true), (HOUR, true)]);
        check(&[(0, Found("a")), (121, Hint("a"))], &[(121, false)]);
        // One that no hint came for: an hour of doubt, from the moment on that none can come.
        let one_missed = || [(0, Hint("a")), (1, Found("a")), (10, Found("b"))];
        check(&one_missed(), &[(10, true), (130, true), (131, false)]);
        let mut later = Vec::from(one_missed());
        later.extend([(200, Hint("a")), (201, Found("a"))]);
        check(&later, &[(201, false), (130 + HOUR - 1, false), (130 + HOUR, true)]);
    }

    #[test]
    fn it_is_not_relied_on_while_a_hint_is_awaited() {
        let check = |events: &[(i64, Event)], second, expected| {
            assert_eq!(stream(events).is_relied_on(at(second), &terms()), expected, "at {second}");
        };
        check(&[(0, Hint("a")), (2, Found("a"))], 2, true);
        check(&[(0, Hint("a")), (2, Found("a")), (10, Found("b"))], 10, false);
        check(&[(0, Hint("a")), (2, Found("a")), (10, Found("b")), (12, Hint("b"))], 12, true);
        check(&[(0, Hint("a")), (2, Found("a")), (10, Found("b"))], 200, false);
    }

    #[test]
    fn what_it_remembers_is_bounded_and_what_it_could_not_remember_is_no_proof() {
        let mut stream = Stream::default();
        stream.hinted("a", at(0), false, &terms());
        stream.found("a", at(1), &terms());
        assert!(!stream.is_proven(at(1), &terms()));
        for n in 0..500 {
            stream.found(&format!("i-{n}"), at(2), &terms());
        }
        assert_eq!(stream.open.len(), OPEN_MAX);
        stream.hinted("i-499", at(3), true, &terms());
        assert!(!stream.is_proven(at(3), &terms()), "some were never hinted");
        stream.tidy(at(200), &terms());
        assert_eq!(stream.len(), 0);
    }
}
