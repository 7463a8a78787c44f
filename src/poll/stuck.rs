//! Machines that stay for long in a state that ought to pass by itself are told of once. What is needed for that is kept with the
//! machine, so a restart changes nothing; time in which nobody looked does not count. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Settings;
use crate::diff::{self, Found};
use crate::model::{Instance, Known, KnownResource, Observed, Reason, Resource, Stay, Stuck};

/// Has machines as they were seen at `at` carry on what is known of them beside what this answer says.
pub(super) fn follow(members: &mut BTreeMap<String, Resource>, known: &Known, at: Timestamp, settings: &Settings) {
    for (id, resource) in members {
        let Resource::Instance(after) = resource else { continue };
        let before = known.members.get(id).and_then(|row| match &row.resource {
            Resource::Instance(before) => Some((row, &**before)),
            _ => None,
        });
        if let (None, Some((_, before))) = (&after.announced, before) {
            after.announced.clone_from(&before.announced);
        }
        after.stay = stay(before, after, at, settings);
    }
}

fn stay(
    before: Option<(&KnownResource, &Instance)>,
    after: &Instance,
    at: Timestamp,
    settings: &Settings,
) -> Option<Stay> {
    let begins = Stay { since: at, unseen_seconds: 0, told: false };
    let goes_on = before.filter(|(_, before)| before.settling && before.state == after.state);
    let Some((row, stay)) = goes_on.and_then(|(row, before)| Some((row, before.stay?))) else {
        return after.settling.then_some(begins);
    };
    let unlooked = between(row.observed_at, at);
    let gap = if unlooked > Duration::from_millis(settings.stuck_gap_ms) { unlooked.as_secs() } else { 0 };
    let unseen_seconds = stay.unseen_seconds.saturating_add(gap);
    let looked_on = between(stay.since, at).saturating_sub(Duration::from_secs(unseen_seconds));
    let told = stay.told || looked_on >= Duration::from_millis(settings.stuck_after_ms);
    after.settling.then_some(Stay { unseen_seconds, told, ..stay })
}

/// Adds to what was found the news of those that [`follow`] says are to be told of now.
pub(super) fn tell(known: &Known, found: &mut Found, at: Timestamp) {
    for row in &mut found.upserts {
        let Resource::Instance(instance) = &row.resource else { continue };
        let Some(stay) = instance.stay.filter(|stay| stay.told) else { continue };
        let before = known.members.get(instance.id.as_str());
        let was_told = before.is_some_and(|row| match &row.resource {
            Resource::Instance(before) => before.stay.is_some_and(|before| before.told && before.since == stay.since),
            _ => false,
        });
        if was_told {
            continue;
        }
        let stuck = Stuck {
            since: stay.since,
            seconds: between(stay.since, at).as_secs(),
            unseen_seconds: stay.unseen_seconds,
        };
        row.revision += 1;
        let last_seen = before.map(|row| row.observed_at.min(at));
        found.news.push(diff::Told {
            subject: diff::subject(&row.resource, row.revision),
            observed: Observed { before: last_seen, at },
            news: diff::stuck(instance, stuck, reason(instance, &stuck)),
        });
    }
    // Each after what else is news of the same one.
    found.news.sort_by(|a, b| a.subject.id.cmp(&b.subject.id));
}

fn reason(instance: &Instance, stuck: &Stuck) -> Reason {
    let Stuck { since, seconds, unseen_seconds } = stuck;
    let minutes = |seconds: &u64| seconds / 60;
    let unseen = match minutes(unseen_seconds) {
        0 => String::new(),
        unseen => format!(", {unseen} min of which nobody looked"),
    };
    let Instance { state, native_state, .. } = instance;
    let native =
        if native_state.eq_ignore_ascii_case(state.as_str()) { String::new() } else { format!(" ({native_state})") };
    let minutes = minutes(seconds);
    let text =
        format!("it has been {state}{native} since {since:.0}, {minutes} min{unseen}: that ought to pass by itself");
    Reason::new("stuck", text)
}

/// 0 if the clock was set back.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::Absence;
    use crate::model::{Announced, Collection, InstanceState, News, Sample, Seq};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    /// What is known, through lists.
    struct Scene(Known);

    impl Scene {
        fn new() -> Self {
            Self(Known {
                collection: Collection::Instances,
                version: 0,
                through: Seq(0),
                observed_at: Some(at(0)),
                members: BTreeMap::new(),
                former: BTreeMap::new(),
            })
        }

        /// What a list is told of: `900 for 900, 0 unseen`, or another kind of change. What it finds is written.
        fn lists(&mut self, second: i64, instance: Instance) -> Vec<String> {
            let (now, settings, rules) = (at(second), Settings::default(), Absence::new(&Settings::default().absence));
            let mut members = BTreeMap::from([("i".to_owned(), Resource::from(instance))]);
            follow(&mut members, &self.0, now, &settings);
            let sample = Sample { collection: Collection::Instances, asked_at: now, answered_at: now, members };
            let mut found = diff::sample(&self.0, &sample, &rules);
            tell(&self.0, &mut found, now);
            let revisions: Vec<u64> = found.news.iter().map(|told| told.subject.revision).collect();
            for row in found.upserts {
                let last = revisions.last().copied().unwrap_or(row.revision);
                assert_eq!(row.revision, last);
                self.0.members.insert(row.resource.id().to_owned(), row);
            }
            self.0.members.values_mut().for_each(|row| row.observed_at = now);
            self.0.observed_at = Some(now);
            found.news.iter().map(|told| said(&told.news)).collect()
        }

        fn lists_from(&mut self, from: i64, to: i64, instance: &Instance) -> Vec<String> {
            let each = (from..to).step_by(30);
            each.flat_map(|second| self.lists(second, instance.clone())).collect()
        }
    }

    fn said(news: &News) -> String {
        match news {
            News::InstanceStuck { to, stuck, why } => {
                assert_eq!(why[0].rule, "stuck");
                let Stuck { since, seconds, unseen_seconds } = stuck;
                let since = since.duration_since(at(0)).as_secs();
                format!("{} since {since} for {seconds}, {unseen_seconds} unseen", to.state)
            }
            other => other.kind().to_owned(),
        }
    }

    fn instance(state: InstanceState, settling: bool) -> Instance {
        Instance { settling, ..Instance::bare("i", state, state.as_str()) }
    }

    use InstanceState::{Pending, Running, Stopping};

    const NOTHING: [&str; 0] = [];

    #[test]
    fn what_settles_for_long_is_told_once_for_each_stay() {
        let (pending, stopping) = (instance(Pending, true), instance(Stopping, true));
        let mut scene = Scene::new();
        assert_eq!(scene.lists(30, pending.clone()), ["instance.appeared"]);
        assert_eq!(scene.lists_from(60, 930, &pending), NOTHING);
        assert_eq!(scene.lists(930, pending.clone()), ["PENDING since 30 for 900, 0 unseen"]);
        assert_eq!(scene.lists_from(960, 9_000, &pending), NOTHING);
        // Its end is what comes next.
        assert_eq!(scene.lists(9_000, stopping.clone()), ["instance.state"]);
        assert_eq!(scene.lists_from(9_030, 9_900, &stopping), NOTHING);
        assert_eq!(scene.lists(9_900, stopping.clone()), ["STOPPING since 9000 for 900, 0 unseen"]);
        assert_eq!(scene.lists(9_930, instance(Running, false)), ["instance.state"]);
        assert_eq!(scene.lists_from(9_960, 20_000, &instance(Running, false)), NOTHING);
        // A reboot keeps the state.
        assert_eq!(scene.lists_from(20_010, 20_910, &instance(Running, true)), NOTHING);
        assert_eq!(scene.lists(20_910, instance(Running, true)), ["RUNNING since 20010 for 900, 0 unseen"]);
        assert_eq!(scene.lists(20_940, instance(Running, false)), NOTHING);
        assert_eq!(scene.lists_from(20_970, 21_870, &instance(Running, true)), NOTHING);
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count_and_is_said() {
        let pending = instance(Pending, true);
        let mut scene = Scene::new();
        scene.lists(30, pending.clone());
        assert_eq!(scene.lists(3_630, pending.clone()), NOTHING, "it may have been elsewhere meanwhile");
        assert_eq!(scene.lists_from(3_660, 4_530, &pending), NOTHING);
        assert_eq!(scene.lists(4_530, pending.clone()), ["PENDING since 30 for 4500, 3600 unseen"]);
        let stay = Stuck { since: at(30), seconds: 4_500, unseen_seconds: 3_600 };
        let text = reason(&pending, &stay).text;
        assert!(text.contains(", 75 min, 60 min of which nobody looked: "), "{text}");
    }

    #[test]
    fn other_news_of_the_same_moment_comes_first_and_the_clock_may_jump() {
        let pending = instance(Pending, true);
        let mut scene = Scene::new();
        scene.lists(30, pending.clone());
        scene.lists_from(60, 930, &pending);
        let mut moved = pending.clone();
        moved
            .public_addresses
            .push(crate::model::Address { kind: crate::model::AddressKind::Ipv4, text: "192.0.2.1".to_owned() });
        assert_eq!(scene.lists(930, moved), ["instance.addresses", "PENDING since 30 for 900, 0 unseen"]);
        let mut scene = Scene::new();
        scene.lists(3_000, pending.clone());
        assert_eq!(scene.lists(30, pending), NOTHING);
    }

    #[test]
    fn what_an_answer_does_not_say_is_as_it_was() {
        let announced = Announced {
            what: "instance-retirement".to_owned(),
            text: "The instance is running on degraded hardware".to_owned(),
            not_before: Some(at(500)),
            not_after: None,
        };
        let with = |announced: Option<Vec<Announced>>| Instance { announced, ..instance(Running, false) };
        let mut scene = Scene::new();
        scene.lists(30, with(Some(vec![])));
        assert_eq!(scene.lists(60, with(None)), NOTHING);
        assert_eq!(scene.lists(90, with(Some(vec![announced.clone()]))), ["instance.announced"]);
        assert_eq!(scene.lists(120, with(None)), NOTHING);
        assert_eq!(scene.lists(150, with(Some(vec![announced]))), NOTHING);
        assert_eq!(scene.lists(180, with(Some(vec![]))), ["instance.announced"]);
    }
}
