//! When it is worth saying that nobody looked. Pure.

use std::time::Duration;

use jiff::Timestamp;

use super::Settings;
use crate::diff::Told;
use crate::model::{Collection, News, Observed, Reason, Subject, Topic};
use crate::store::Watch;

/// Whether so much time went by between two complete looks that what is known of the unit between them should be asked for.
pub(super) fn is_long(before: Timestamp, at: Timestamp, collection: Collection, settings: &Settings) -> bool {
    before + bound(collection, settings) < at
}

/// The news that nobody looked at a collection between the complete look at `before` and the one at `at`; `None`: as long as
/// somebody wanted to know, somebody looked often enough.
pub(super) fn gap(
    before: Timestamp,
    at: Timestamp,
    collection: Collection,
    watch: &Watch,
    settings: &Settings,
) -> Option<Told> {
    let since = before.max(watch.since);
    if !is_long(since, at, collection, settings) {
        return None;
    }
    let subject = Subject {
        collection: Topic::Account,
        id: collection.as_str().to_owned(),
        revision: watch.gaps + 1,
        name: None,
        realm: None,
    };
    let observed = Observed { before: Some(since), at };
    let why = why(at, watch, bound(collection, settings));
    Some(Told { subject, observed, news: News::ObservationGap { why } })
}

fn bound(collection: Collection, settings: &Settings) -> Duration {
    Duration::from_millis(settings.gap_ms(collection))
}

/// Both may be true: the provider failed, and then Tracker was stopped.
fn why(at: Timestamp, watch: &Watch, bound: Duration) -> Vec<Reason> {
    let reason = |rule: &str, text: String| Reason::new(rule, text);
    let looks = if watch.failures == 1 { "1 look".to_owned() } else { format!("{} looks in a row", watch.failures) };
    let provider =
        watch.error.as_ref().map(|error| reason("provider", format!("{looks} failed, the last with: {error}")));
    let overdue = watch.due_at.filter(|due_at| *due_at + bound < at);
    let tracker = match overdue {
        Some(due_at) => {
            Some(format!("Tracker did not look, as it did not run or was late: a look was due at {due_at:.0}"))
        }
        None if provider.is_none() => {
            Some("Tracker did not look: it did not run, was late, or could not keep what it saw".to_owned())
        }
        None => None,
    };
    provider.into_iter().chain(tracker.map(|text| reason("tracker", text))).collect()
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

    #[test]
    fn a_gap_is_longer_than_its_bound_and_only_while_somebody_watched() {
        let check = |before: i64, now: i64, watch: Watch, expected: Option<(i64, &[&str])>| {
            let gap = gap(at(before), at(now), Collection::Instances, &watch, &Settings::default());
            let said = gap.map(|Told { subject, observed, news }| {
                let News::ObservationGap { why } = news else { panic!("{news}") };
                assert_eq!((subject.id.as_str(), subject.revision, observed.at), ("instances", 3, at(now)));
                (observed.before.unwrap(), why.into_iter().map(|reason| reason.rule).collect::<Vec<_>>())
            });
            let expected = expected
                .map(|(since, rules)| (at(since), rules.iter().map(|&rule| rule.to_owned()).collect::<Vec<_>>()));
            assert_eq!(said, expected, "{before} {now} {watch:?}");
        };
        check(0, 10, watch(-9, 1, 0), None);
        check(0, 11, watch(-9, 0, 0), Some((0, &["tracker"])));
        check(0, 60, watch(-9, 50, 9), Some((0, &["provider"])));
        check(0, 60, watch(-9, 10, 4), Some((0, &["provider", "tracker"])));
        check(0, 60, watch(-9, 60, 0), Some((0, &["tracker"])));
        // It ended, nobody wanted to know, and a new hook was set.
        check(0, 60, watch(60, 60, 0), None);
        check(0, 60, watch(50, 50, 0), None);
        check(0, 60, watch(30, 30, 7), Some((30, &["provider", "tracker"])));
        // The clock was set back.
        check(60, 0, watch(-9, 60, 0), None);
    }

    #[test]
    fn reasons_are_sentences() {
        let texts = |watch: Watch| {
            let why = why(at(60), &watch, Duration::from_secs(300));
            why.into_iter().map(|reason| reason.text).collect::<Vec<_>>().join("\n")
        };
        insta::assert_snapshot!(texts(watch(0, 60, 1)), @"1 look failed, the last with: timed out");
        insta::assert_snapshot!(texts(watch(0, 10, 7)), @r"
        7 looks in a row failed, the last with: timed out
        Tracker did not look, as it did not run or was late: a look was due at 2026-11-18T11:20:00Z
        ");
        insta::assert_snapshot!(texts(watch(0, 60, 0)), @"Tracker did not look: it did not run, was late, or could not keep what it saw");
    }

    #[test]
    fn what_is_looked_at_seldom_has_a_longer_bound() {
        let settings = Settings::default();
        assert!(is_long(at(-16), at(0), Collection::Realms, &settings));
        assert!(!is_long(at(-15), at(0), Collection::Realms, &settings));
    }
}
