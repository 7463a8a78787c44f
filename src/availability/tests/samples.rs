//! What looks at instances come to.

use std::collections::BTreeMap;

use super::*;
use crate::model::{Collection, Instance, InstanceState, Known, KnownResource, Resource, Seq};

/// What is known, and looks upon it.
struct Looks {
    known: Known,
    realms: Realms,
    settings: Settings,
    lists_ended: bool,
}

fn instance(id: &str, state: InstanceState) -> Instance {
    Instance {
        realm: Some("a".to_owned()),
        image: Some("img".to_owned()),
        hardware_profile: Some("small".to_owned()),
        ..Instance::bare(id, state, &state.as_str().to_lowercase())
    }
}

fn failed(id: &str, state: InstanceState, fault: Option<Fault>) -> Instance {
    Instance { fault, ..instance(id, state) }
}

fn launched(instance: Instance, second: i64) -> Instance {
    Instance { launch_time: Some(at(second).to_string()), ..instance }
}

impl Looks {
    fn new() -> Self {
        let settings = Settings::default();
        let known = Known {
            collection: Collection::Instances,
            version: 0,
            through: Seq(0),
            observed_at: None,
            members: BTreeMap::new(),
            former: BTreeMap::new(),
        };
        Self { known, realms: Realms::new(&settings), settings, lists_ended: true }
    }

    /// A complete list: `realm request: succeeded/of code`, and `realm runs: bad/of`.
    fn lists(&mut self, second: i64, instances: &[Instance]) -> Vec<String> {
        let members: BTreeMap<String, Resource> =
            instances.iter().map(|instance| (instance.id.to_string(), instance.clone().into())).collect();
        let gone: Vec<String> = self.known.members.keys().filter(|id| !members.contains_key(*id)).cloned().collect();
        self.looks(second, members, gone)
    }

    fn looks(&mut self, second: i64, members: BTreeMap<String, Resource>, gone: Vec<String>) -> Vec<String> {
        let now = at(second);
        let seen = Seen { known: &self.known, members: &members, gone: &gone, at: now, lists_ended: self.lists_ended };
        let events = outcomes(&seen, &self.realms, &self.settings);
        for event in &events {
            self.realms.hear(event, &self.settings);
        }
        self.known.observed_at = Some(now);
        gone.iter().for_each(|id| {
            self.known.members.remove(id);
        });
        for (id, resource) in members {
            let first_seen_at = self.known.members.get(&id).map_or(now, |row| row.first_seen_at);
            let row = KnownResource { resource, revision: 0, first_seen_at, observed_at: now, absent_since: None };
            self.known.members.insert(id, row);
        }
        events.iter().map(said).collect()
    }
}

fn said(event: &Event) -> String {
    match event {
        Event::Launch(launch) => {
            let Launch { realm, succeeded, failed, fault, took, .. } = launch;
            let took = took.map_or_else(String::new, |took| format!(" in {} s", took.as_secs()));
            let fault = fault.as_ref().map_or_else(String::new, |fault| format!(" {}", fault.code));
            format!("{realm}: {succeeded} of {}{took}{fault}", succeeded + failed)
        }
        Event::Runs { realm, steady, bad, .. } => {
            let bad: Vec<_> = bad.iter().map(|bad| format!(" {} {}", bad.id, bad.why.as_str())).collect();
            format!("{realm} runs {steady}{}", bad.concat())
        }
        other => panic!("not of instances: {other:?}"),
    }
}

use InstanceState::{Error, Finish, Pending, Running, Stopped};

const NOTHING: [&str; 0] = [];

#[test]
fn what_becomes_of_one_launch() {
    let check = |then: Instance, expected: &[&str]| {
        let mut looks = Looks::new();
        assert_eq!(looks.lists(0, &[]), NOTHING);
        assert_eq!(looks.lists(60, &[instance("i", Pending)]), NOTHING);
        let state = then.state;
        assert_eq!(looks.lists(120, &[then]), expected, "{state}");
    };
    let request = || Fault { kind: FaultKind::Request, code: "Client.InvalidSnapshot".to_owned() };
    check(instance("i", Pending), &NOTHING);
    check(instance("i", Running), &["a: 1 of 1 in 60 s"]);
    check(failed("i", Error, Some(internal())), &["a: 0 of 1 InternalError"]);
    check(failed("i", Error, None), &["a: 0 of 1 error"]);
    check(failed("i", Finish, Some(capacity())), &["a: 0 of 1 InsufficientInstanceCapacity"]);
    check(failed("i", Stopped, Some(capacity())), &["a: 0 of 1 InsufficientInstanceCapacity"]);
    // The caller's own doing, or nobody knows.
    check(failed("i", Error, Some(quota())), &NOTHING);
    check(failed("i", Finish, Some(request())), &NOTHING);
    check(instance("i", Finish), &NOTHING);
    check(instance("i", Stopped), &NOTHING);
    check(instance("i", InstanceState::Unknown), &NOTHING);
}

#[test]
fn what_was_there_at_the_first_look_was_launched_by_nobody_but_what_appears_later_was() {
    let mut looks = Looks::new();
    assert_eq!(looks.lists(0, &[instance("old", Running), failed("sad", Error, Some(internal()))]), NOTHING);
    let both = [instance("old", Running), failed("sad", Error, Some(internal()))];
    assert_eq!(looks.lists(60, &both), NOTHING);
    let new = [instance("old", Running), launched(instance("new", Running), 100)];
    assert_eq!(looks.lists(120, &new), ["a: 1 of 1 in 20 s"]);
    // Hidden until now, but launched long ago.
    let mut looks = Looks::new();
    looks.lists(3_600, &[]);
    assert_eq!(looks.lists(3_660, &[launched(instance("late", Running), 0)]), NOTHING);
}

#[test]
fn a_launch_that_takes_too_long_has_failed_once() {
    let mut looks = Looks::new();
    looks.lists(0, &[]);
    assert_eq!(looks.lists(60, &[instance("i", Pending)]), NOTHING);
    assert_eq!(looks.lists(660, &[instance("i", Pending)]), NOTHING);
    assert_eq!(looks.lists(720, &[instance("i", Pending)]), ["a: 0 of 1 pending too long"]);
    assert_eq!(looks.lists(780, &[instance("i", Pending)]), NOTHING);
    // That it came up after all is told, and not counted a second time.
    looks.lists(840, &[instance("i", Running)]);
    let evidence = looks.realms.evidence("a", at(840), &looks.settings).unwrap();
    let launches = evidence.signals.iter().find(|signal| signal.kind == SignalKind::Launches).unwrap();
    assert_eq!((launches.count, launches.of), (Some(1), Some(1)));
}

#[test]
fn the_deadline_follows_what_launches_take() {
    let mut scene = Scene::undeclared();
    assert_eq!(scene.realms.launch_deadline(&scene.settings), Duration::from_secs(600));
    for n in 0..100 {
        let took = Some(Duration::from_secs(if n < 98 { 60 } else { 300 }));
        let launch = Launch { took, ..Launch::succeeded("a", &n.to_string(), at(n)) };
        scene.hears(&Event::Launch(launch), n);
    }
    assert_eq!(scene.realms.launch_deadline(&scene.settings), Duration::from_secs(900));
}

#[test]
fn a_request_is_counted_when_none_of_it_is_pending_or_half_of_it_has_failed() {
    let ten = |states: &str| -> Vec<Instance> {
        let one = |(n, state): (usize, char)| {
            let (state, fault) = match state {
                'r' => (Running, None),
                'e' => (Error, Some(internal())),
                _ => (Pending, None),
            };
            launched(failed(&format!("i{n}"), state, fault), 30)
        };
        states.chars().enumerate().map(one).collect()
    };
    let mut looks = Looks::new();
    looks.lists(0, &[]);
    assert_eq!(looks.lists(60, &ten("pppppppppp")), NOTHING);
    assert_eq!(looks.lists(120, &ten("rrrrrreepp")), NOTHING);
    assert_eq!(looks.lists(180, &ten("rrrrrreere")), ["a: 7 of 10 in 150 s InternalError"]);
    let mut looks = Looks::new();
    looks.lists(0, &[]);
    looks.lists(60, &ten("pppppppppp"));
    assert_eq!(looks.lists(120, &ten("reeeeepppp")), ["a: 1 of 6 in 90 s InternalError"]);
}

#[test]
fn those_that_ran_and_do_no_more_are_counted_against_those_that_do() {
    let mut looks = Looks::new();
    let ids = ["i0", "i1", "i2", "i3"];
    let all = |state: InstanceState| ids.map(|id| instance(id, state)).to_vec();
    looks.lists(0, &all(Running));
    assert_eq!(looks.lists(540, &all(Running)), NOTHING, "they have not run for long enough");
    assert_eq!(looks.lists(600, &all(Running)), ["a runs 4"]);
    let mut sick = all(Running);
    sick[0].impaired = true;
    sick[1] = failed("i1", Error, Some(internal()));
    sick[2] = failed("i2", Stopped, Some(internal()));
    assert_eq!(looks.lists(660, &sick), ["a runs 1 i0 impaired i1 broken i2 stopped"]);
    // The same again, and one is well.
    sick[0].impaired = false;
    assert_eq!(looks.lists(720, &sick), ["a runs 2 i1 broken i2 stopped"]);
    // A user stops one and ends another: neither is anybody's fault.
    let tended = [instance("i0", Running), instance("i1", Finish), sick[2].clone(), instance("i3", Stopped)];
    assert_eq!(looks.lists(780, &tended), ["a runs 1 i2 stopped"]);
    // An hour after it stopped it says nothing of today.
    assert_eq!(looks.lists(4_260, &tended), ["a runs 1"]);
}

#[test]
fn what_vanishes_is_bad_only_where_ended_ones_stay_listed() {
    let check = |lists_ended: bool, expected: &[&str], later: &[&str]| {
        let mut looks = Looks { lists_ended, ..Looks::new() };
        let all = ["i0", "i1", "i2"].map(|id| instance(id, Running));
        looks.lists(0, &all);
        looks.lists(600, &all);
        assert_eq!(looks.lists(660, &all[..1]), expected);
        // It stays so without being seen again, for an hour.
        assert_eq!(looks.lists(720, &all[..1]), expected);
        assert_eq!(looks.lists(4_300, &all[..1]), later);
    };
    check(true, &["a runs 1 i1 vanished i2 vanished"], &["a runs 1"]);
    check(false, &["a runs 1"], &["a runs 1"]);
}

#[test]
fn a_targeted_look_leaves_the_others_as_they_were() {
    let mut looks = Looks::new();
    let all = ["i0", "i1", "i2"].map(|id| instance(id, Running));
    looks.lists(0, &all);
    looks.lists(600, &all);
    let sick = Instance { impaired: true, ..instance("i0", Running) };
    let one = BTreeMap::from([("i0".to_owned(), sick.into())]);
    assert_eq!(looks.looks(630, one, vec![]), ["a runs 2 i0 impaired"]);
}

#[test]
fn what_was_announced_for_now_is_no_failure_and_what_comes_before_it_is() {
    let check = |not_before: i64, then: Instance, expected: &[&str]| {
        let mut looks = Looks::new();
        let announced = vec![crate::model::Announced {
            what: "instance-retirement".to_owned(),
            text: "The instance is running on degraded hardware".to_owned(),
            not_before: Some(at(not_before)),
            not_after: None,
        }];
        let mut all = ["i0", "i1", "i2"].map(|id| instance(id, Running));
        all[0].announced = Some(announced);
        looks.lists(0, &all);
        looks.lists(600, &all);
        all[0] = then;
        assert_eq!(looks.lists(660, &all), expected, "{not_before}");
    };
    let stopped = failed("i0", Stopped, Some(internal()));
    // Done, so that nothing is announced any more.
    check(660, Instance { announced: Some(vec![]), ..stopped.clone() }, &["a runs 2"]);
    check(661, stopped, &["a runs 2 i0 stopped"]);
    check(661, Instance { impaired: true, ..instance("i0", Running) }, &["a runs 2 i0 impaired"]);
    check(660, Instance { impaired: true, ..instance("i0", Running) }, &["a runs 2"]);
}

#[test]
fn one_that_is_up_as_soon_as_it_is_made_came_up() {
    let mut looks = Looks::new();
    looks.lists(0, &[]);
    // Its maker makes it known, before anybody has listed it.
    let made = BTreeMap::from([("i".to_owned(), instance("i", Running).into())]);
    assert_eq!(looks.looks(30, made, vec![]), ["a: 1 of 1"]);
    assert_eq!(looks.lists(60, &[instance("i", Running)]), NOTHING, "once");
}
