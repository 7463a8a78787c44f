//! What other accounts in the same place say.

use super::*;
use crate::model::Elsewhere;

const HERE: [&str; 3] = ["a", "b", "c"];

/// Some accounts in the same zones, each hearing what the others share.
struct Town {
    accounts: Vec<Scene>,
}

impl Town {
    fn of(accounts: usize) -> Self {
        let one = || {
            let mut scene = Scene::of(&HERE);
            // Known to work, and of no great age.
            scene.launches("b", None, 1);
            scene.launches("c", None, 2);
            scene.takes();
            scene
        };
        Self { accounts: (0..accounts).map(|_| one()).collect() }
    }

    /// One account launches, and all are judged.
    fn launches(&mut self, account: usize, realm: &str, fault: Option<Fault>, second: i64) {
        self.accounts[account].launches(realm, fault, second);
        self.talks(second);
    }

    fn talks(&mut self, second: i64) {
        for listener in 0..self.accounts.len() {
            for zone in HERE {
                let others = self.accounts.iter().enumerate().filter(|(other, _)| *other != listener);
                let shared = others.map(|(_, scene)| scene.realms.shared(zone, at(second), &scene.settings));
                let accounts: Vec<_> = shared.filter(|outcomes| !outcomes.is_empty()).collect();
                self.accounts[listener].hears(&Event::Elsewhere { realm: zone.to_owned(), accounts }, second);
            }
        }
    }

    fn takes(&mut self, account: usize) -> Vec<String> {
        self.accounts[account].takes()
    }
}

fn elsewhere(scene: &Scene, realm: &str, second: i64) -> Option<Elsewhere> {
    let evidence = scene.realms.evidence(realm, at(second), &scene.settings).unwrap();
    evidence.signals.iter().find(|signal| signal.kind == SignalKind::Launches).and_then(|signal| signal.elsewhere)
}

#[test]
fn one_account_alone_moves_nobody_else_however_much_of_it_fails() {
    let mut town = Town::of(3);
    for second in 60..400 {
        town.launches(1, "a", Some(internal()), second);
    }
    assert_eq!(town.takes(1), ["63 a AVAILABLE UNAVAILABLE E1-cusum"]);
    assert_eq!(town.takes(0), [""; 0]);
    assert_eq!(elsewhere(&town.accounts[0], "a", 400), None, "it would be plain who it is");
    // Two failures of one's own are no more than they were.
    town.launches(0, "a", Some(internal()), 400);
    town.launches(0, "a", Some(internal()), 401);
    assert_eq!(town.takes(0), [""; 0]);
}

#[test]
fn two_others_need_a_failure_of_ones_own_and_three_need_none() {
    let mut town = Town::of(4);
    for second in 60..100 {
        town.launches(1, "a", Some(internal()), second);
        town.launches(2, "a", Some(internal()), second);
    }
    assert_eq!(town.takes(0), [""; 0]);
    assert_eq!(elsewhere(&town.accounts[0], "a", 100), Some(Elsewhere { accounts: 2, failed: 16, of: 16 }));
    let mut three = Town { accounts: town.accounts.clone() };
    town.launches(0, "a", Some(internal()), 100);
    assert_eq!(town.takes(0), ["100 a AVAILABLE UNAVAILABLE E5-elsewhere"]);
    let verdict = town.accounts[0].realms.standing("a").unwrap().why;
    insta::assert_snapshot!(verdict.text, @"launches in a: 1 of 1 failed in 0 s (InternalError 1); 2 other accounts: 16 of 16 failed; declared *available* 2 min ago; score 12.6 ≥ 12");

    three.launches(3, "a", Some(internal()), 100);
    assert_eq!(three.takes(0), ["100 a AVAILABLE UNAVAILABLE E5-elsewhere"]);
    let why = three.accounts[0].realms.standing("a").unwrap().why;
    insta::assert_snapshot!(why.text, @"no launches of this account in a; 3 other accounts: 17 of 17 failed; declared *available* 2 min ago; score 12.6 ≥ 12");
    let launches = why.signals.iter().find(|signal| signal.kind == SignalKind::Launches).unwrap();
    assert!(launches.ids.is_empty() && launches.codes.is_empty() && launches.count == Some(0), "{launches:?}");
}

#[test]
fn ones_own_launches_that_come_up_speak_against_what_others_say() {
    let mut town = Town::of(4);
    for second in 60..70 {
        for other in 1..4 {
            town.launches(other, "a", Some(internal()), 10 * second);
            town.launches(0, "a", None, 10 * second + 1);
        }
    }
    assert_eq!(town.takes(0), [""; 0]);
}

#[test]
fn what_others_made_up_for_goes_by_with_them_and_nobody_alone_keeps_it_up() {
    let mut town = Town::of(4);
    for second in 60..70 {
        for other in 1..4 {
            town.launches(other, "a", Some(internal()), second);
        }
    }
    assert_eq!(town.takes(0).len(), 1);
    // Two of them go on failing: it stays so, and past what one's own silence would take.
    for second in (100..9_000).step_by(100) {
        town.launches(1, "a", Some(internal()), second);
        town.launches(2, "a", Some(internal()), second);
    }
    assert_eq!(town.takes(0), [""; 0]);
    // One of them does.
    for second in (9_000..13_000).step_by(100) {
        town.launches(1, "a", Some(internal()), second);
    }
    let told = town.takes(0);
    assert!(told.len() == 1 && told[0].ends_with("a UNAVAILABLE AVAILABLE H-recover"), "{told:?}");
    // Nor does it begin anew with what was before.
    town.launches(2, "a", Some(internal()), 13_000);
    assert_eq!(town.takes(0), [""; 0]);
}

#[test]
fn launches_of_ones_own_bring_a_realm_back_and_what_was_said_before_is_done_with() {
    let mut town = Town::of(4);
    for second in 60..70 {
        for other in 1..4 {
            town.launches(other, "a", Some(internal()), second);
        }
    }
    assert_eq!(town.takes(0).len(), 1);
    for second in 370..380 {
        town.launches(0, "a", None, second);
        town.launches(1, "a", Some(internal()), second);
    }
    let told = town.takes(0);
    assert_eq!(told, ["372 a UNAVAILABLE AVAILABLE H-recover"], "{told:?}");
}

#[test]
fn a_profile_without_room_concerns_those_who_use_it() {
    let check = |own: &str, expected: &[&str]| {
        let mut town = Town::of(4);
        town.accounts[0].launches_profile("a", Some(own), Some(internal()), 50);
        for second in 60..70 {
            for other in 1..4 {
                town.accounts[other].launches_profile("a", Some("huge"), Some(capacity()), second);
                town.talks(second);
            }
        }
        assert_eq!(town.takes(0), expected, "{own}");
    };
    check("small", &[]);
    check("huge", &["60 a AVAILABLE UNAVAILABLE E5-elsewhere"]);
}

#[test]
fn who_is_to_blame_for_what_fails_has_nothing_to_say_of_it() {
    let mut town = Town::of(4);
    for second in 60..80 {
        for other in 1..4 {
            for zone in HERE {
                town.accounts[other].launches(zone, Some(internal()), second);
            }
        }
        if second > 70 {
            town.talks(second);
        }
    }
    assert_eq!(town.takes(0), [""; 0]);
    assert!(town.accounts[1].realms.shared("a", at(80), &Settings::default()).is_empty());
}

#[test]
fn nothing_that_runs_any_more_is_heard_of_by_those_who_launch_nothing() {
    let mut town = Town::of(4);
    for other in 1..4 {
        town.accounts[other].runs("a", 5, 0, 60);
        town.accounts[other].runs("a", 0, 5, 120);
    }
    town.talks(121);
    assert_eq!(town.takes(0), ["121 a AVAILABLE UNAVAILABLE E5-elsewhere"]);
}

#[test]
fn what_others_say_leaves_no_trace_in_what_is_kept() {
    let mut town = Town::of(4);
    let before = serde_json::to_string(town.accounts[0].realms.overall()).unwrap();
    for other in 1..4 {
        town.launches(other, "a", Some(internal()), 60);
    }
    assert_eq!(serde_json::to_string(town.accounts[0].realms.overall()).unwrap(), before);
    let (_, record) = town.accounts[0].realms.records().next().unwrap();
    let kept = serde_json::to_value(record).unwrap();
    assert!(kept.get("elsewhere").is_none(), "{kept}");
    let again = super::kept(&town.accounts[0].realms, at(70));
    assert_eq!(
        again
            .evidence("a", at(70), &Settings::default())
            .unwrap()
            .signals
            .iter()
            .filter(|signal| signal.elsewhere.is_some())
            .count(),
        0
    );
}

#[test]
fn it_can_be_switched_off() {
    let mut town = Town::of(4);
    town.accounts.iter_mut().for_each(|scene| scene.settings.elsewhere = false);
    for second in 60..70 {
        for other in 1..4 {
            town.launches(other, "a", Some(internal()), second);
        }
    }
    assert_eq!(town.takes(0), [""; 0]);
}

#[test]
fn many_accounts_with_the_usual_failures_alarm_nobody() {
    let mut town = Town::of(60);
    let chance = crate::chance::Chance::seeded(7);
    for second in 100..2_000 {
        let account = chance.roll();
        let account = (0..60).find(|number| account * 60.0 < f64::from(number + 1)).unwrap_or(0);
        let fault = (chance.roll() < 0.02).then(internal);
        town.accounts[usize::try_from(account).unwrap()].launches("a", fault, second);
        if second % 100 == 0 {
            town.talks(second);
        }
    }
    for account in 0..60 {
        let told: Vec<_> = town.takes(account).into_iter().filter(|told| told.ends_with("E5-elsewhere")).collect();
        assert_eq!(told, [""; 0]);
    }
}
