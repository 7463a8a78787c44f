use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::{Availability, Declared, Fault, FaultKind, RealmState, SignalKind};

mod elsewhere;
mod samples;

const BEGIN: i64 = 1_800_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + second).unwrap()
}

fn capacity() -> Fault {
    Fault { kind: FaultKind::Capacity, code: "InsufficientInstanceCapacity".to_owned() }
}

fn internal() -> Fault {
    Fault { kind: FaultKind::Infrastructure, code: "InternalError".to_owned() }
}

fn quota() -> Fault {
    Fault { kind: FaultKind::Quota, code: "InstanceLimitExceeded".to_owned() }
}

/// A provider with some realms, and a Tracker that judges them.
#[derive(Clone)]
struct Scene {
    settings: Settings,
    realms: Realms,
    requests: u32,
    told: Vec<Told>,
    /// What the provider says of each realm, whenever it is asked; and when it was.
    says: BTreeMap<String, Declared>,
    asked: i64,
    /// Every five minutes.
    asks: bool,
}

impl Scene {
    /// All declared up at second 0.
    fn of(realms: &[&str]) -> Self {
        let mut scene = Self::undeclared();
        for realm in realms {
            scene.declares(realm, Declared::Up, 0);
        }
        scene.told.clear();
        scene
    }

    fn undeclared() -> Self {
        let settings = Settings::default();
        let realms = Realms::new(&settings);
        Self { settings, realms, requests: 0, told: Vec::new(), says: BTreeMap::new(), asked: 0, asks: true }
    }

    fn hears(&mut self, event: &Event, second: i64) {
        self.realms.hear(event, &self.settings);
        self.evaluates(second);
    }

    fn evaluates(&mut self, second: i64) {
        if self.asks && second - self.asked >= 300 {
            self.asked = second;
            for (realm, declared) in self.says.clone() {
                self.declares(&realm, declared, second);
            }
        }
        let told = self.realms.evaluate(at(second), &self.settings);
        self.told.extend(told);
        let again = self.realms.evaluate(at(second), &self.settings);
        assert_eq!(again, [], "asked again at once it has nothing to say");
    }

    fn declares(&mut self, realm: &str, declared: Declared, second: i64) {
        let native = match declared {
            Declared::Up => "available",
            Declared::Degraded => "impaired",
            Declared::Down => "unavailable",
            Declared::Nothing => "",
        };
        let (realm, native) = (realm.to_owned(), native.to_owned());
        self.says.insert(realm.clone(), declared);
        self.hears(&Event::Declared { realm, declared, native, messages: vec![], at: at(second) }, second);
    }

    fn launches(&mut self, realm: &str, fault: Option<Fault>, second: i64) {
        self.launches_profile(realm, None, fault, second);
    }

    fn launches_profile(&mut self, realm: &str, profile: Option<&str>, fault: Option<Fault>, second: i64) {
        self.requests += 1;
        let request = format!("r-{}", self.requests);
        let launch = match fault {
            Some(fault) => Launch::failed(realm, &request, fault, at(second)),
            None => Launch::succeeded(realm, &request, at(second)),
        };
        let instances = vec![format!("i-{}", self.requests).as_str().into()];
        let launch = Launch { instances, profile: profile.map(str::to_owned), ..launch };
        self.hears(&Event::Launch(launch), second);
    }

    fn reaches(&mut self, realm: Option<&str>, state: Reachability, second: i64) {
        self.hears(&Event::Reach { realm: realm.map(str::to_owned), state, at: at(second) }, second);
    }

    fn runs(&mut self, realm: &str, steady: u32, bad: u32, second: i64) {
        let bad = (0..bad).map(|n| BadRun {
            id: format!("i-run-{n}").as_str().into(),
            why: Bad::Impaired,
            since: at(second),
        });
        let event = Event::Runs { realm: realm.to_owned(), steady, bad: bad.collect(), at: at(second) };
        self.hears(&event, second);
    }

    /// Every half minute.
    fn waits(&mut self, from: i64, until: i64) {
        (from..=until).filter(|second| second % 30 == 0).for_each(|second| self.evaluates(second));
    }

    fn misses(&mut self, realm: &str, second: i64) {
        self.says.remove(realm);
        self.hears(&Event::Missing { realm: realm.to_owned(), at: at(second) }, second);
    }

    fn state(&self, realm: &str) -> Availability {
        self.realms.standing(realm).unwrap().state
    }

    /// What was told since the last call: `second realm FROM TO rule`, or the kind of another record.
    fn takes(&mut self) -> Vec<String> {
        self.told.drain(..).map(|told| line(&told)).collect()
    }

    fn signal(&self, realm: &str, kind: SignalKind, second: i64) -> crate::model::Signal {
        let evidence = self.realms.evidence(realm, at(second), &self.settings).unwrap();
        evidence.signals.into_iter().find(|signal| signal.kind == kind).unwrap()
    }
}

fn line(told: &Told) -> String {
    let second = |at: &Timestamp| at.as_second() - BEGIN;
    match told {
        Told::Verdict(turned) => {
            let from = turned.from.map_or("-", Availability::as_str);
            let hush = if turned.suppressed { " suppressed" } else { "" };
            format!("{} {} {from} {} {}{hush}", second(&turned.at), turned.realm, turned.to, turned.why.rule)
        }
        Told::FlappingStart { realm, at, .. } => format!("{} {realm} flapping", second(at)),
        Told::FlappingEnd { realm, state, at, .. } => format!("{} {realm} settled {state}", second(at)),
        Told::ProviderDegraded { at, .. } => format!("{} provider degraded", second(at)),
        Told::ProviderRecovered { at, .. } => format!("{} provider recovered", second(at)),
        Told::Isolated { at, .. } => format!("{} isolated", second(at)),
        Told::Rejoined { at, .. } => format!("{} rejoined", second(at)),
    }
}

fn verdict(told: &[Told]) -> &Turned {
    match told.last().unwrap() {
        Told::Verdict(turned) => turned,
        other => panic!("no verdict: {other:?}"),
    }
}

const ZONES: [&str; 3] = ["us-east-1a", "us-east-1b", "us-east-1c"];

#[test]
fn launches_that_fail_in_one_realm_make_it_unavailable_and_the_sentence_says_why() {
    let mut scene = Scene::of(&ZONES);
    for n in 0..180 {
        scene.launches(ZONES[n as usize % 3], None, n);
    }
    scene.launches("us-east-1b", Some(capacity()), 7_500);
    (7_510..7_521).for_each(|second| scene.launches("us-east-1a", None, second));
    scene.launches("us-east-1b", Some(internal()), 7_740);
    assert_eq!(scene.takes(), [""; 0]);
    assert_eq!(scene.state("us-east-1b"), Availability::Available);
    scene.launches("us-east-1b", Some(capacity()), 7_860);
    let turned = verdict(&scene.told).clone();
    assert_eq!(scene.takes(), ["7860 us-east-1b AVAILABLE UNAVAILABLE E1-cusum"]);
    assert_eq!(
        turned.why.text,
        "launches in us-east-1b: 3 of 3 failed in 6 min (InsufficientInstanceCapacity 2, InternalError 1); siblings 0 of 11; \
         declared *available* 6 min ago; score 10.1 ≥ 10"
    );
    let expected = serde_json::json!({
        "type": "realm.state",
        "realm": "us-east-1b",
        "from": "AVAILABLE",
        "to": "UNAVAILABLE",
        "from_wire": "AVAILABLE",
        "to_wire": "UNAVAILABLE",
        "at": "2027-01-15T10:11:00Z",
        "confidence": 0.7,
        "suppressed": false,
        "why": {
            "rule": "E1-cusum",
            "text": turned.why.text.clone(),
            "signals": [
                {
                    "kind": "launches",
                    "value": 10.1,
                    "threshold": 10.0,
                    "count": 3,
                    "of": 3,
                    "window_seconds": 360,
                    "first_at": "2027-01-15T10:05:00Z",
                    "last_at": "2027-01-15T10:11:00Z",
                    "codes": {"InsufficientInstanceCapacity": 2, "InternalError": 1},
                    "ids": ["i-194", "i-193", "i-181"],
                    "siblings": {"failed": 0, "of": 11},
                },
                {
                    "kind": "declared",
                    "value": "available",
                    "first_at": "2027-01-15T08:00:00Z",
                    "last_at": "2027-01-15T10:05:00Z",
                },
            ],
        },
    });
    let told = Told::Verdict(turned);
    assert_eq!(serde_json::to_value(&told).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Told>(expected).unwrap(), told);
}

#[test]
fn launches_that_fail_in_all_realms_are_blamed_on_none_of_them() {
    let mut scene = Scene::of(&ZONES);
    for second in (60..1_800).step_by(60) {
        scene.launches(ZONES[(second / 60 % 3) as usize], Some(internal()), second);
    }
    let text = scene.told.iter().find_map(|told| match told {
        Told::ProviderDegraded { why, .. } => Some(why.text.clone()),
        _ => None,
    });
    assert_eq!(scene.takes(), ["600 provider degraded"]);
    insta::assert_snapshot!(text.unwrap(), @"3 of 3 realms in use fail within 10 min (InternalError 10): the account, the image or the provider as a whole is to blame, and the realms keep their state");
    assert!(ZONES.iter().all(|zone| scene.state(zone) == Availability::Available));
    // When they come up again, one record says so, and no realm is declared unavailable at the last moment.
    for second in (1_800..4_000).step_by(60) {
        scene.launches(ZONES[(second / 60 % 3) as usize], None, second);
    }
    let told = scene.takes();
    assert!(told.len() == 1 && told[0].ends_with("provider recovered"), "{told:?}");
}

#[test]
fn a_realm_given_up_just_before_the_others_failed_is_restored() {
    let mut scene = Scene::of(&ZONES);
    for second in [10, 20, 30, 40] {
        scene.launches("us-east-1a", Some(internal()), second);
    }
    assert_eq!(scene.takes(), ["40 us-east-1a AVAILABLE UNAVAILABLE E1-cusum"]);
    for second in [100, 110, 120, 130] {
        scene.launches("us-east-1b", Some(internal()), second);
    }
    assert_eq!(scene.takes(), ["110 provider degraded", "110 us-east-1a UNAVAILABLE AVAILABLE G-blame"]);
}

#[test]
fn what_callers_did_to_themselves_changes_nothing() {
    let mut scene = Scene::of(&ZONES);
    let before = scene.realms.clone();
    for second in 1..100 {
        scene.launches("us-east-1a", Some(quota()), second);
        let request = Fault { kind: FaultKind::Request, code: "InvalidAMIID.NotFound".to_owned() };
        scene.launches("us-east-1b", Some(request), second);
    }
    assert_eq!(scene.takes(), [""; 0]);
    assert_eq!(scene.realms, before);
}

#[test]
fn a_request_counts_once_however_many_it_asked_for_and_however_often_it_is_told() {
    let mut scene = Scene::of(&ZONES);
    for second in 1..20 {
        let launch = Launch { failed: 50, ..Launch::failed("us-east-1a", "one", internal(), at(second)) };
        scene.hears(&Event::Launch(launch), second);
    }
    assert_eq!(scene.takes(), [""; 0]);
    assert_eq!(scene.signal("us-east-1a", SignalKind::Launches, 20).count, Some(1));
}

#[test]
fn a_declared_outage_is_told_at_the_second_answer_and_ends_a_minute_after_the_provider_says_so() {
    let mut scene = Scene::of(&["a", "b"]);
    scene.declares("a", Declared::Down, 300);
    assert_eq!(scene.realms.doubt_ends_at(&scene.settings), Some(at(330)));
    scene.declares("a", Declared::Down, 330);
    assert_eq!(scene.realms.doubt_ends_at(&scene.settings), None);
    assert_eq!(scene.takes(), ["300 a AVAILABLE DEGRADED D3-doubt", "330 a DEGRADED UNAVAILABLE D1-down"]);
    scene.declares("a", Declared::Down, 390);
    scene.declares("a", Declared::Up, 450);
    scene.evaluates(480);
    assert_eq!(scene.takes(), [""; 0]);
    scene.evaluates(510);
    assert_eq!(scene.takes(), ["510 a UNAVAILABLE AVAILABLE H-recover"]);
    let standing = scene.realms.standing("a").unwrap();
    assert!(standing.probation && f64::from(standing.confidence) == 0.4);
}

#[test]
fn a_realm_that_flips_every_minute_makes_one_record_of_flapping_and_one_of_its_end() {
    // Asked once a minute, of which no two answers in a row say the same: it is never believed to be down.
    let mut told = flips_each_minute(60);
    let flapping: Vec<_> = told.extract_if(.., |line| line.contains("flapping") || line.contains("settled")).collect();
    assert_eq!(flapping.len(), 2, "{flapping:?}");
    assert!(flapping[0].ends_with("a flapping") && flapping[1].ends_with("a settled AVAILABLE"), "{flapping:?}");
    assert!(told.len() > 20, "single changes stay in the feed");
    let heard = told.iter().filter(|line| !line.ends_with("suppressed")).count();
    assert!(heard <= 10, "{heard} of {} were called back", told.len());
}

/// What is told of a realm that is up and down for a minute each, for an hour, and then up.
fn flips_each_minute(asked_every: usize) -> Vec<String> {
    let mut scene = Scene::of(&["a", "b"]);
    for second in (0..3_600).step_by(asked_every) {
        let declared = if second / 60 % 2 == 1 { Declared::Down } else { Declared::Up };
        scene.declares("a", declared, second as i64);
    }
    scene.declares("a", Declared::Up, 3_600);
    scene.waits(3_630, 7_200);
    scene.takes()
}

#[test]
fn a_realm_that_flips_every_minute_and_was_believed_down_is_not_given_back_while_it_is() {
    for asked_every in [10, 30] {
        let told = flips_each_minute(asked_every);
        assert_eq!(told[..2], ["60 a AVAILABLE DEGRADED D3-doubt", "90 a DEGRADED UNAVAILABLE D1-down"]);
        let recovered = told.iter().filter(|line| line.ends_with("H-recover"));
        let recovered: Vec<i64> = recovered.map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        let is_down = |second: &&i64| **second < 3_600 && *second / 60 % 2 == 1;
        assert_eq!(recovered.iter().find(is_down), None, "{told:?}");
        // The hold-down doubles each time; without it there would be thirty.
        assert!((1..=4).contains(&recovered.len()), "{told:?}");
    }
}

#[test]
fn that_a_realm_is_down_is_taken_back_by_the_provider_or_by_what_comes_up_and_not_by_silence() {
    let faded = || {
        let mut scene = Scene::of(&["a", "b"]);
        scene.asks = false;
        scene.declares("a", Declared::Down, 300);
        scene.declares("a", Declared::Down, 330);
        scene.reaches(None, Reachability::Reachable, 330);
        scene.waits(360, 1_230);
        assert_eq!(scene.state("a"), Availability::Unavailable);
        scene.told.clear();
        scene.evaluates(1_260);
        insta::allow_duplicates! {
            insta::assert_snapshot!(verdict(&scene.told).why.text, @"too little is known of a now; declared *unavailable* 16 min ago");
        }
        assert_eq!(scene.takes(), ["1260 a UNAVAILABLE UNKNOWN N-nothing"]);
        scene
    };
    let mut scene = faded();
    scene.declares("a", Declared::Down, 1_300);
    assert_eq!(scene.takes(), ["1300 a UNKNOWN UNAVAILABLE D1-down"]);
    let mut scene = faded();
    scene.declares("a", Declared::Up, 1_300);
    assert_eq!(scene.takes(), ["1300 a UNKNOWN AVAILABLE A-quiet"]);
    let mut scene = faded();
    scene.launches("a", None, 1_300);
    insta::assert_snapshot!(verdict(&scene.told).why.text, @"nothing speaks against a; launches in a: 0 of 1 failed in 0 s");
    assert_eq!(scene.takes(), ["1300 a UNKNOWN AVAILABLE A-quiet"]);
}

#[test]
fn whoever_learns_of_a_realm_later_learns_what_is_thought_of_it() {
    let mut scene = Scene::of(&["a", "b"]);
    (1..=4).for_each(|second| scene.launches("a", Some(internal()), second));
    let Some(Told::Verdict(turned)) = scene.realms.restated("a", at(60)) else { panic!("it was judged") };
    assert_eq!((turned.from, turned.to), (None, Availability::Unavailable));
    assert_eq!((turned.from_wire, turned.to_wire), (None, Some(RealmState::Unavailable)));
    assert_eq!(turned.why, scene.realms.standing("a").unwrap().why);
    assert_eq!(scene.realms.restated("z", at(60)), None);
}

#[test]
fn that_answers_lack_a_realm_is_no_recovery() {
    let mut scene = Scene::of(&["a", "b"]);
    scene.declares("a", Declared::Down, 300);
    scene.declares("a", Declared::Down, 330);
    scene.declares("a", Declared::Up, 400);
    scene.misses("a", 430);
    scene.takes();
    scene.waits(450, 570);
    assert_eq!(scene.takes(), [""; 0]);
    scene.declares("a", Declared::Up, 600);
    assert_eq!(scene.takes(), ["600 a UNAVAILABLE AVAILABLE H-recover"]);
}

#[test]
fn unreachable_is_unknown_then_degraded_and_unavailable_only_after_ten_minutes() {
    let mut scene = Scene::of(&["a", "b"]);
    scene.asks = false;
    scene.reaches(None, Reachability::Suspect, 60);
    scene.reaches(None, Reachability::Unreachable, 120);
    for second in (150..=900).step_by(30) {
        scene.evaluates(second);
    }
    assert_eq!(
        scene.takes(),
        [
            "120 a AVAILABLE UNKNOWN R1-unreachable",
            "120 b AVAILABLE UNKNOWN R1-unreachable",
            "240 a UNKNOWN DEGRADED R2-unreachable",
            "240 b UNKNOWN DEGRADED R2-unreachable",
            "720 a DEGRADED UNAVAILABLE R3-unreachable",
            "720 b DEGRADED UNAVAILABLE R3-unreachable",
        ]
    );
    scene.reaches(None, Reachability::Reachable, 1_020);
    assert_eq!(scene.takes(), ["1020 a UNAVAILABLE AVAILABLE H-recover", "1020 b UNAVAILABLE AVAILABLE H-recover"]);
}

#[test]
fn when_nobody_answers_us_one_record_says_so_and_realms_are_unknown_until_somebody_does() {
    let mut scene = Scene::of(&["a", "b"]);
    scene.asks = false;
    scene.reaches(None, Reachability::Isolated, 100);
    for second in (120..2_000).step_by(30) {
        scene.evaluates(second);
    }
    assert_eq!(scene.takes(), ["100 isolated"]);
    let standing = scene.realms.standing("a").unwrap();
    assert_eq!((standing.state, standing.wire), (Availability::Unknown, Some(RealmState::Available)));
    assert_eq!(standing.stale_since, Some(at(100)));
    scene.reaches(None, Reachability::Reachable, 2_000);
    assert_eq!(scene.takes(), ["2000 rejoined"]);
    assert_eq!(scene.state("a"), Availability::Available);
}

#[test]
fn a_zone_that_alone_does_not_answer_needs_one_failed_launch_more_to_be_unavailable() {
    let mut scene = Scene::of(&["a", "b"]);
    (0..300).for_each(|second| scene.launches("b", None, second));
    scene.reaches(Some("a"), Reachability::Unreachable, 300);
    scene.reaches(Some("b"), Reachability::Reachable, 300);
    assert_eq!(scene.takes(), ["300 a AVAILABLE UNKNOWN R1-unreachable"]);
    scene.launches("a", Some(internal()), 310);
    let turned = verdict(&scene.told).clone();
    assert_eq!(scene.takes(), ["310 a UNKNOWN UNAVAILABLE E1-cusum"]);
    assert_eq!(f64::from(turned.confidence), 0.95);
    assert_eq!(scene.state("b"), Availability::Available);
}

#[test]
fn a_zone_that_alone_does_not_answer_counts_once_until_all_can_be_listed_again() {
    let mut scene = Scene::of(&["a", "b"]);
    (0..300).for_each(|second| scene.launches("b", None, second));
    for minute in 5..20 {
        // Another call than the list that fails.
        scene.reaches(None, Reachability::Reachable, minute * 60);
        scene.reaches(Some("a"), Reachability::Unreachable, minute * 60 + 1);
    }
    let told = ["301 a AVAILABLE UNKNOWN R1-unreachable", "421 a UNKNOWN DEGRADED R2-unreachable"];
    assert_eq!(scene.takes(), [told.as_slice(), &["901 a DEGRADED UNAVAILABLE R3-unreachable"]].concat());
    assert!(scene.realms.realms["a"].launches.tripped.is_none(), "as much as two failed launches, and no more");
    scene.hears(&Event::Listed, 1_200);
    scene.evaluates(1_202);
    assert_eq!(scene.takes(), ["1202 a UNAVAILABLE AVAILABLE H-recover"]);
}

#[test]
fn what_a_zone_alone_did_not_answer_is_not_held_against_it_when_nobody_asks_it_any_more() {
    let mut scene = Scene::of(&["a", "b"]);
    scene.reaches(Some("a"), Reachability::Unreachable, 300);
    scene.takes();
    scene.evaluates(1_199);
    assert_ne!(scene.state("a"), Availability::Available);
    for second in [1_200, 1_600, 4_800] {
        scene.declares("a", Declared::Up, second);
    }
    assert_eq!(scene.state("a"), Availability::Available);
}

#[test]
fn a_profile_without_room_degrades_the_realm_and_never_ends_it() {
    let mut scene = Scene::of(&["a", "b"]);
    for second in 1..60 {
        scene.launches_profile("a", Some("big"), Some(capacity()), second * 10);
        scene.launches_profile("a", Some("small"), None, second * 10 + 5);
    }
    let text = verdict(&scene.told).why.text.clone();
    let told = scene.takes();
    assert!(told.len() == 1 && told[0].ends_with("a AVAILABLE DEGRADED E3-profile"), "{told:?}");
    insta::assert_snapshot!(text, @"no room for big in a: 4 of 4 failed, while others come up; launches in a: 4 of 7 failed in 30 s (InsufficientInstanceCapacity 4); declared *available* 40 s ago; score 9.3 < 10");
    for second in 600..603 {
        scene.launches_profile("a", Some("big"), None, second);
    }
    assert_eq!(scene.takes(), ["602 a DEGRADED AVAILABLE A-quiet"]);
}

#[test]
fn a_profile_that_alone_is_launched_speaks_for_the_realm_until_another_comes_up() {
    let mut scene = Scene::of(&["a", "b"]);
    for second in 1..=4 {
        scene.launches_profile("a", Some("big"), Some(capacity()), second);
    }
    assert_eq!(scene.takes(), ["4 a AVAILABLE UNAVAILABLE E1-cusum"]);
    scene.launches_profile("a", Some("small"), None, 400);
    assert_eq!(scene.takes(), ["400 a UNAVAILABLE DEGRADED H-recover"]);
}

#[test]
fn instances_that_go_bad_degrade_a_realm_and_end_it_when_none_is_left() {
    let check = |steady: u32, bad: u32, expected: &str| {
        let mut scene = Scene::of(&["a", "b"]);
        scene.runs("a", steady, bad, 60);
        let told = scene.takes();
        assert_eq!(told.first().map_or("", String::as_str), expected, "{steady} {bad}");
    };
    check(3, 0, "");
    check(0, 2, "");
    check(5, 5, "");
    check(5, 6, "");
    check(4, 5, "60 a AVAILABLE DEGRADED E2-run");
    check(9, 11, "60 a AVAILABLE DEGRADED E2-run");
    check(1, 2, "60 a AVAILABLE DEGRADED E2-run");
    check(0, 3, "60 a AVAILABLE UNAVAILABLE E2-run");
}

#[test]
fn the_last_realm_that_works_is_only_degraded() {
    let mut scene = Scene::of(&["only"]);
    (1..20).for_each(|second| scene.launches("only", Some(internal()), second));
    let text = verdict(&scene.told).why.text.clone();
    assert_eq!(scene.takes(), ["4 only AVAILABLE DEGRADED G-last"]);
    assert!(text.ends_with("it is the last realm that works"), "{text}");
    // What the provider itself says is no evidence, but a fact.
    scene.declares("only", Declared::Down, 20);
    assert_eq!(scene.takes(), ["20 only DEGRADED UNAVAILABLE D1-down"]);
}

#[test]
fn recovery_takes_the_hold_down_and_then_three_successes_or_silence_when_launches_were_due() {
    let broken = || {
        let mut scene = Scene::of(&["a", "b"]);
        (0..60).for_each(|n| scene.launches("a", None, n * 60));
        (60..64).for_each(|n| scene.launches("a", Some(internal()), n * 60));
        let told = scene.takes();
        assert_eq!(told.len(), 1, "{told:?}");
        scene
    };
    // Successes during the hold-down are not lost.
    let mut scene = broken();
    (0..3).for_each(|n| scene.launches("a", None, 3_800 + n));
    assert_eq!(scene.state("a"), Availability::Unavailable);
    scene.waits(3_810, 4_100);
    assert_eq!(scene.takes(), ["4080 a UNAVAILABLE AVAILABLE H-recover"]);
    // Silence: about forty launches an hour were usual, so that eight of them are due within 12 minutes.
    let mut scene = broken();
    scene.waits(3_810, 6_000);
    let told = scene.takes();
    assert_eq!(told.len(), 1, "{told:?}");
    let second: i64 = told[0].split(' ').next().unwrap().parse().unwrap();
    assert!((4_300..4_800).contains(&second), "{told:?}");
    // Failures go on: it stays, for hours.
    let mut scene = broken();
    for n in 0..120 {
        scene.launches("a", Some(internal()), 3_840 + n * 60);
    }
    assert_eq!(scene.takes(), [""; 0]);
}

#[test]
fn on_probation_two_failures_are_enough_and_the_hold_down_doubles() {
    let mut scene = Scene::of(&["a", "b"]);
    (1..=4).for_each(|second| scene.launches("a", Some(internal()), second));
    (10..13).for_each(|second| scene.launches("a", None, second));
    scene.waits(13, 330);
    assert_eq!(scene.takes(), ["4 a AVAILABLE UNAVAILABLE E1-cusum", "330 a UNAVAILABLE AVAILABLE H-recover"]);
    scene.launches("a", Some(internal()), 340);
    scene.launches("a", Some(internal()), 350);
    (360..363).for_each(|second| scene.launches("a", None, second));
    assert_eq!(scene.takes(), ["350 a AVAILABLE UNAVAILABLE E4-probation"]);
    scene.waits(363, 1_200);
    assert_eq!(scene.takes(), ["960 a UNAVAILABLE AVAILABLE H-recover"]);
    // Three more successes and it is trusted again.
    (1_200..1_203).for_each(|second| scene.launches("a", None, second));
    (1_203..1_205).for_each(|second| scene.launches("a", Some(internal()), second));
    assert_eq!(scene.takes(), [""; 0]);
}

#[test]
fn a_realm_is_withdrawn_after_three_answers_without_it_over_ten_minutes() {
    let mut scene = Scene::of(&["a", "b"]);
    for second in [300, 500, 700, 899] {
        scene.misses("a", second);
    }
    assert_eq!(scene.takes(), [""; 0]);
    scene.misses("a", 900);
    assert_eq!(scene.takes(), ["900 a AVAILABLE UNAVAILABLE D4-withdrawn"]);
    let mut scene = Scene::of(&["a", "b"]);
    for second in [200, 850] {
        scene.misses("a", second);
    }
    assert_eq!(scene.takes(), [""; 0]);
}

#[test]
fn how_sure_a_verdict_is_says_what_it_rests_on() {
    let check = |what: &str, act: &dyn Fn(&mut Scene), expected: (Availability, f64)| {
        let mut scene = Scene::undeclared();
        scene.declares("b", Declared::Up, 0);
        act(&mut scene);
        scene.evaluates(120);
        let standing = scene.realms.standing("a").unwrap();
        assert_eq!((standing.state, f64::from(standing.confidence)), expected, "{what}");
    };
    use Availability::{Available, Degraded, Unavailable, Unknown};
    use Declared::{Down, Nothing, Up};
    check(
        "nothing lately",
        &|s| {
            s.asks = false;
            s.declares("a", Nothing, -900);
        },
        (Unknown, 0.0),
    );
    check("declared", &|s| s.declares("a", Up, 0), (Available, 0.6));
    check("is in an answer", &|s| s.declares("a", Nothing, 0), (Available, 0.4));
    check(
        "answers",
        &|s| {
            s.asks = false;
            s.declares("a", Nothing, -900);
            s.reaches(None, Reachability::Reachable, 0);
        },
        (Available, 0.4),
    );
    check("one success", &|s| s.launches("a", None, 1), (Available, 0.75));
    check("three successes", &|s| (1..4).for_each(|n| s.launches("a", None, n)), (Available, 0.9));
    check("degraded", &|s| s.declares("a", Declared::Degraded, 0), (Degraded, 0.8));
    check("down at first", &|s| s.declares("a", Down, 0), (Unavailable, 0.95));
    let fails = |s: &mut Scene| (1..6).for_each(|n| s.launches("a", Some(internal()), n));
    check("evidence", &fails, (Unavailable, 0.85));
    check(
        "evidence against up",
        &|s| {
            s.declares("a", Up, 0);
            fails(s);
        },
        (Unavailable, 0.7),
    );
    check(
        "launches and runs",
        &|s| {
            s.runs("a", 0, 3, 1);
            fails(s);
        },
        (Unavailable, 0.95),
    );
}

#[test]
fn what_is_not_known_any_more_is_unknown_and_the_wire_keeps_the_last_word() {
    let mut scene = Scene::of(&["a"]);
    scene.asks = false;
    scene.evaluates(900);
    assert_eq!(scene.takes(), [""; 0]);
    scene.evaluates(930);
    assert_eq!(scene.takes(), ["930 a AVAILABLE UNKNOWN N-nothing"]);
    let standing = scene.realms.standing("a").unwrap();
    assert_eq!((standing.wire, standing.stale_since), (Some(RealmState::Available), Some(at(930))));
}

#[test]
fn evidence_is_there_when_all_is_well() {
    let mut scene = Scene::of(&["a", "b"]);
    scene.launches("a", None, 60);
    scene.runs("a", 4, 0, 90);
    scene.reaches(None, Reachability::Reachable, 90);
    let evidence = scene.realms.evidence("a", at(120), &scene.settings).unwrap();
    insta::assert_snapshot!(evidence.text, @"launches in a: 0 of 1 failed in 60 s; instances in a: 4 run, none is bad; declared *available* 2 min ago");
    assert_eq!(scene.realms.evidence("z", at(120), &scene.settings), None);
}

#[test]
fn nothing_new_is_nothing_to_save() {
    let mut scene = Scene::of(&["a", "b"]);
    scene.launches("a", None, 1);
    scene.runs("a", 3, 0, 1);
    let (overall, records) = scene.realms.unsaved();
    assert!(overall.is_some() && records.len() == 2);
    for second in (60..600).step_by(60) {
        scene.declares("a", Declared::Up, second);
        scene.runs("a", 3, 0, second);
        scene.reaches(None, Reachability::Reachable, second);
    }
    let (overall, records) = scene.realms.unsaved();
    assert!(overall.is_none() && records.is_empty(), "{records:?}");
}

#[test]
fn no_more_realms_are_kept_than_allowed() {
    let mut scene = Scene::undeclared();
    scene.settings.realms_max = 3;
    for n in 0..10 {
        scene.launches(&format!("r{n}"), Some(internal()), n);
    }
    assert_eq!(scene.realms.records().count(), 3);
}

/// Through JSON and back, as by a restart that takes no time.
fn kept(realms: &Realms, now: Timestamp) -> Realms {
    let through = |text: String| -> serde_json::Value { serde_json::from_str(&text).unwrap() };
    let overall = through(serde_json::to_string(realms.overall()).unwrap());
    let records = realms.records().map(|(id, record)| {
        let value = through(serde_json::to_string(record).unwrap());
        (id.to_owned(), serde_json::from_value(value).unwrap())
    });
    let records: BTreeMap<String, Record> = records.collect();
    Realms::resume(serde_json::from_value(overall).unwrap(), records, now)
}

#[derive(Clone, Debug)]
enum Step {
    Launch(usize, u8),
    Declared(usize, Declared),
    Reach(Option<usize>, Reachability),
    Runs(usize, u32, u32),
    Missing(usize),
    Wait(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let realm = 0..3_usize;
    let declared =
        prop_oneof![Just(Declared::Up), Just(Declared::Degraded), Just(Declared::Down), Just(Declared::Nothing)];
    let reach = prop_oneof![
        3 => Just(Reachability::Reachable),
        1 => Just(Reachability::Suspect),
        1 => Just(Reachability::Unreachable),
        1 => Just(Reachability::Isolated),
    ];
    prop_oneof![
        8 => (realm.clone(), 0..5_u8).prop_map(|(realm, what)| Step::Launch(realm, what)),
        2 => (realm.clone(), declared).prop_map(|(realm, declared)| Step::Declared(realm, declared)),
        1 => (proptest::option::of(realm.clone()), reach).prop_map(|(realm, reach)| Step::Reach(realm, reach)),
        1 => (realm.clone(), 0..5_u32, 0..5_u32).prop_map(|(realm, steady, bad)| Step::Runs(realm, steady, bad)),
        1 => realm.prop_map(Step::Missing),
        3 => prop_oneof![1..60_i64, 60..900_i64, 900..30_000_i64].prop_map(Step::Wait),
    ]
}

impl Scene {
    /// Takes the step; the second after it.
    fn takes_step(&mut self, step: &Step, second: i64) -> i64 {
        match step {
            Step::Launch(realm, what) => {
                let (fault, profile) = match what {
                    0 => (None, "small"),
                    1 => (Some(capacity()), "small"),
                    2 => (Some(capacity()), "big"),
                    3 => (Some(internal()), "big"),
                    _ => (Some(quota()), "small"),
                };
                self.launches_profile(ZONES[*realm], Some(profile), fault, second);
            }
            Step::Declared(realm, declared) => self.declares(ZONES[*realm], *declared, second),
            Step::Reach(realm, reach) => self.reaches(realm.map(|realm| ZONES[realm]), *reach, second),
            Step::Runs(realm, steady, bad) => self.runs(ZONES[*realm], *steady, *bad, second),
            Step::Missing(realm) => self.misses(ZONES[*realm], second),
            Step::Wait(seconds) => {
                let until = second + seconds;
                let pause = (seconds / 20).max(30);
                let mut second = second;
                while second + pause < until {
                    second += pause;
                    self.evaluates(second);
                }
                return until;
            }
        }
        second + 1
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_happens_the_promises_hold(steps in proptest::collection::vec(step(), 1..120)) {
        let mut scene = Scene::of(&ZONES);
        // Since when each realm by itself, and all of them, are as they are.
        let mut alone: BTreeMap<&str, (Reachability, i64)> = BTreeMap::new();
        let mut together = (Reachability::Reachable, 0);
        let mut second = 1;
        for step in &steps {
            // One that does not launch what nobody's quota allows.
            let twin = matches!(step, Step::Launch(_, 4)).then(|| scene.clone());
            let began = second;
            second = scene.takes_step(step, second);
            match step {
                Step::Reach(None, reach) => {
                    together = if together.0 == *reach { together } else { (*reach, began) };
                }
                Step::Reach(Some(realm), reach) => {
                    let before = alone.entry(ZONES[*realm]).or_insert((*reach, began));
                    *before = if before.0 == *reach { *before } else { (*reach, began) };
                }
                _ => {}
            }
            for (_, record) in scene.realms.records() {
                prop_assert!(record.launches.score_at(at(second), &scene.settings) >= 0.0);
                prop_assert!(record.launches.trials.len() <= scene.settings.outcomes_max);
                if let Some(trip) = &record.launches.tripped {
                    prop_assert!(record.launches.last_failure_at.is_some(), "a trip without a failure: {trip:?}");
                }
            }
            let told: Vec<Told> = scene.told.drain(..).collect();
            for turned in told.iter().filter_map(|told| match told { Told::Verdict(turned) => Some(turned), _ => None }) {
                prop_assert!(!turned.why.text.is_empty());
                prop_assert!(turned.from != Some(turned.to), "{turned:?}");
                if turned.to != Availability::Unavailable {
                    continue;
                }
                let now = turned.at.as_second() - BEGIN;
                if turned.why.rule == Rule::UnreachableTooLong.as_str() {
                    let long = |(reach, since): (Reachability, i64)| reach == Reachability::Unreachable && now - since >= 600;
                    let by_itself = alone.get(turned.realm.as_str()).copied().is_some_and(long);
                    prop_assert!(by_itself || long(together), "{turned:?}");
                }
                let evidence = scene.realms.realms[&turned.realm].published.as_ref().is_some_and(|published| published.alone);
                if evidence && turned.why.rule.starts_with('E') && matches!(step, Step::Launch(..) | Step::Runs(..)) {
                    let works = |zone: &&str| **zone != turned.realm
                        && matches!(scene.realms.standing(zone).unwrap().state, Availability::Available | Availability::Degraded);
                    prop_assert!(ZONES.iter().any(works), "the last one was given up: {turned:?}");
                }
            }
            if let (Step::Launch(_, 4), Some(mut twin)) = (step, twin) {
                // Time passes all the same, and may be what a verdict waited for.
                twin.evaluates(began);
                for zone in ZONES {
                    let state = |scene: &Scene| scene.realms.standing(zone).map(|standing| standing.state);
                    prop_assert_eq!(state(&scene), state(&twin));
                }
            }
        }
    }

    #[test]
    fn no_sentence_contradicts_its_verdict(steps in proptest::collection::vec(step(), 1..120), asks: bool) {
        let mut scene = Scene { asks, ..Scene::of(&ZONES) };
        let mut second = 1;
        for step in &steps {
            second = scene.takes_step(step, second);
            let told: Vec<Told> = scene.told.drain(..).collect();
            for turned in told.iter().filter_map(|told| match told { Told::Verdict(turned) => Some(turned), _ => None }) {
                let text = &turned.why.text;
                let given_back = turned.from_wire == Some(RealmState::Unavailable) && turned.to_wire == Some(RealmState::Available);
                if turned.to == Availability::Available || given_back {
                    let down = |signal: &crate::model::Signal| signal.kind == SignalKind::Declared
                        && signal.value == Some(crate::model::Reading::Word("unavailable".to_owned()));
                    prop_assert!(!text.contains("*unavailable*") && !turned.why.signals.iter().any(down), "{turned:?}");
                }
                prop_assert!(turned.to != Availability::Available || !text.contains("has been unreachable"), "{turned:?}");
                if text.starts_with("nothing speaks against") {
                    let contrary = ["*unavailable*", "*impaired*", "missing from", "are bad", "has been", "no room for"];
                    prop_assert!(!contrary.iter().any(|words| text.contains(words)), "{turned:?}");
                    let failed = turned.why.signals.iter().any(|signal| signal.kind == SignalKind::Launches && signal.count != Some(0));
                    prop_assert!(!failed, "{turned:?}");
                }
                if text.starts_with("nothing is known") {
                    prop_assert!(turned.why.signals.is_empty(), "{turned:?}");
                }
            }
        }
    }

    #[test]
    fn a_restart_between_any_two_events_changes_no_verdict(steps in proptest::collection::vec(step(), 1..60), cut in 0..60_usize) {
        // Reachability is learnt anew, so it is left out here.
        let steps: Vec<_> = steps.into_iter().filter(|step| !matches!(step, Step::Reach(..))).collect();
        let (mut through, mut restarted) = (Scene::of(&ZONES), Scene::of(&ZONES));
        let mut second = 1;
        for (number, step) in steps.iter().enumerate() {
            if number == cut {
                // What was declared is not older for the restart; so it is not for the other either.
                through.realms.overall.awake_at = Some(at(second));
                restarted.realms = kept(&restarted.realms, at(second));
            }
            let next = through.takes_step(step, second);
            prop_assert_eq!(restarted.takes_step(step, second), next);
            second = next;
            prop_assert_eq!(&through.told, &restarted.told);
        }
    }
}
