//! When it is worth saying that nobody looked. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::Settings;
use crate::clock::SLACK;
use crate::diff::Told;
use crate::model::{Collection, News, Observed, Reason, Subject, Topic};
use crate::store::Watch;

/// From one complete look to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) before: Timestamp,
    pub(super) at: Timestamp,
    /// By the steady clock; `None`: Tracker has not run throughout.
    pub(super) passed: Option<Duration>,
}

impl Span {
    /// Whether so much time went by that what is known of the unit meanwhile should be asked for. By the clock that says more: one was
    /// set, the other stands still while the machine sleeps.
    pub(super) fn is_long(&self, bound: Duration) -> bool {
        let Self { before, at, passed } = *self;
        let ran = passed.is_some_and(|passed| passed > bound);
        before + bound < at || ran || passed.is_none() && self.is_backward()
    }

    /// For one who began to watch then.
    fn since(self, since: Timestamp) -> Self {
        if since <= self.before {
            return self;
        }
        // What was counted began before that, unless that is by a clock that was ahead.
        Self { before: since, passed: self.passed.filter(|_| since > self.at), ..self }
    }

    /// The look before lies ahead: the clock was set back.
    fn is_backward(&self) -> bool {
        self.before > self.at + SLACK
    }
}

/// The news that nobody looked at a collection between the complete look at `before` and the one at `at`; `None`: as long as
/// somebody wanted to know, somebody looked often enough.
pub(super) fn gap(span: Span, collection: Collection, watch: &Watch, settings: &Settings) -> Option<Told> {
    let bound = Duration::from_millis(settings.gap_ms(collection));
    let Span { at, .. } = span;
    let span = span.since(watch.since);
    if !span.is_long(bound) {
        return None;
    }
    let since = match span.passed {
        _ if !span.is_backward() && span.before + bound < at => Some(span.before),
        Some(passed) => Some(at - passed),
        None => None,
    };
    let subject = Subject {
        collection: Topic::Account,
        id: collection.as_str().to_owned(),
        revision: watch.gaps + 1,
        name: None,
        realm: None,
    };
    let observed = Observed { before: since, at };
    let why = why(span, watch, bound);
    Some(Told { subject, observed, news: News::ObservationGap { why } })
}

/// More than one may be true: the provider failed, and then Tracker was stopped.
fn why(span: Span, watch: &Watch, bound: Duration) -> Vec<Reason> {
    let Span { before, at, passed } = span;
    let reason = |rule: &str, text: String| Reason::new(rule, text);
    let looks = if watch.failures == 1 { "1 look".to_owned() } else { format!("{} looks in a row", watch.failures) };
    let provider =
        watch.error.as_ref().map(|error| reason("provider", format!("{looks} failed, the last with: {error}")));
    let clock = match passed {
        None if span.is_backward() => Some(format!(
            "The clock was set back: the look before is dated {before:.0}, which is to come, so that nobody knows how long it is ago"
        )),
        Some(passed) if passed <= bound => Some(format!(
            "The clock was set ahead, or the machine slept: Tracker counted {} s from {before:.0} to {at:.0}",
            passed.as_secs()
        )),
        _ => None,
    };
    let overdue = watch.due_at.filter(|due_at| *due_at + bound < at);
    let ours = match (clock, overdue) {
        // When something was due says nothing then.
        (Some(text), _) => Some(reason("clock", text)),
        (None, Some(due_at)) => Some(reason(
            "tracker",
            format!("Tracker did not look, as it did not run or was late: a look was due at {due_at:.0}"),
        )),
        (None, None) if provider.is_none() => Some(reason(
            "tracker",
            "Tracker did not look: it did not run, was late, or could not keep what it saw".to_owned(),
        )),
        (None, None) => None,
    };
    provider.into_iter().chain(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_200 + 60 * minute).unwrap()
    }

    fn watch(since: i64, due: i64, failures: u32) -> Watch {
        let error = (failures > 0).then(|| "timed out".to_owned());
        Watch { since: at(since), due_at: Some(at(due)), failures, error, gaps: 2 }
    }

    fn span(before: i64, now: i64, passed: Option<u64>) -> Span {
        Span { before: at(before), at: at(now), passed: passed.map(|minutes| Duration::from_secs(60 * minutes)) }
    }

    /// What a gap begins with and the rules of its reasons.
    type Said<'a> = Option<(Option<i64>, &'a [&'a str])>;

    fn check(span: Span, watch: Watch, expected: Said<'_>) {
        let now = span.at;
        let gap = gap(span, Collection::Instances, &watch, &Settings::default());
        let said = gap.map(|Told { subject, observed, news }| {
            let News::ObservationGap { why } = news else { panic!("{news}") };
            assert_eq!((subject.id.as_str(), subject.revision, observed.at), ("instances", 3, now));
            (observed.before, why.into_iter().map(|reason| reason.rule).collect::<Vec<_>>())
        });
        let expected = expected
            .map(|(since, rules)| (since.map(at), rules.iter().map(|&rule| rule.to_owned()).collect::<Vec<_>>()));
        assert_eq!(said, expected, "{span:?} {watch:?}");
    }

    #[test]
    fn a_gap_is_longer_than_its_bound_and_only_while_somebody_watched() {
        let check = |before: i64, now: i64, watch: Watch, expected: Said<'_>| {
            let passed = u64::try_from(now - before).ok();
            check(span(before, now, None), watch.clone(), expected);
            check(span(before, now, passed), watch, expected);
        };
        check(0, 10, watch(-9, 1, 0), None);
        check(0, 11, watch(-9, 0, 0), Some((Some(0), &["tracker"])));
        check(0, 60, watch(-9, 50, 9), Some((Some(0), &["provider"])));
        check(0, 60, watch(-9, 10, 4), Some((Some(0), &["provider", "tracker"])));
        check(0, 60, watch(-9, 60, 0), Some((Some(0), &["tracker"])));
        // It ended, nobody wanted to know, and a new hook was set.
        check(0, 60, watch(60, 60, 0), None);
        check(0, 60, watch(50, 50, 0), None);
        check(0, 60, watch(30, 30, 7), Some((Some(30), &["provider", "tracker"])));
    }

    #[test]
    fn a_clock_that_was_set_is_said_to_have_been() {
        // Back, while Tracker did not run: nobody knows how long that was.
        check(span(60, 0, None), watch(-9, 60, 0), Some((None, &["clock"])));
        check(span(60, 0, None), watch(-9, 60, 3), Some((None, &["provider", "clock"])));
        check(span(60, 0, None), watch(61, 61, 0), Some((None, &["clock"])));
        // Back, while it ran: what it counted is how long it was.
        check(span(60, 0, Some(1)), watch(-9, 60, 0), None);
        check(span(60, 0, Some(1)), watch(61, 60, 0), None);
        check(span(60, 0, Some(20)), watch(-99, 60, 4), Some((Some(-20), &["provider"])));
        check(span(15, 20, Some(30)), watch(-99, 20, 0), Some((Some(-10), &["tracker"])));
        // Ahead, or it slept: nobody looked by the clock.
        check(span(0, 60, Some(1)), watch(-9, 1, 0), Some((Some(0), &["clock"])));
        check(span(0, 60, Some(1)), watch(-9, 1, 2), Some((Some(0), &["provider", "clock"])));
    }

    #[test]
    fn reasons_are_sentences() {
        let texts = |span: Span, watch: Watch| {
            let why = why(span, &watch, Duration::from_secs(300));
            why.into_iter().map(|reason| reason.text).collect::<Vec<_>>().join("\n")
        };
        let hour = span(0, 60, Some(60));
        insta::assert_snapshot!(texts(hour, watch(0, 60, 1)), @"1 look failed, the last with: timed out");
        insta::assert_snapshot!(texts(hour, watch(0, 10, 7)), @r"
        7 looks in a row failed, the last with: timed out
        Tracker did not look, as it did not run or was late: a look was due at 2026-11-18T11:20:00Z
        ");
        insta::assert_snapshot!(texts(hour, watch(0, 60, 0)), @"Tracker did not look: it did not run, was late, or could not keep what it saw");
        insta::assert_snapshot!(texts(span(60, 0, None), watch(0, 60, 0)), @"The clock was set back: the look before is dated 2026-11-18T12:10:00Z, which is to come, so that nobody knows how long it is ago");
        insta::assert_snapshot!(texts(span(0, 60, Some(2)), watch(0, 1, 0)), @"The clock was set ahead, or the machine slept: Tracker counted 120 s from 2026-11-18T11:10:00Z to 2026-11-18T12:10:00Z");
    }

    #[test]
    fn what_is_looked_at_seldom_has_a_longer_bound() {
        let gap =
            |minutes: i64| gap(span(-minutes, 0, None), Collection::Realms, &watch(-99, 0, 0), &Settings::default());
        assert!(gap(16).is_some());
        assert!(gap(15).is_none());
    }
}
