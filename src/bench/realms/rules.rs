//! The rules that are compared: fixed counts, the bare score, and all that ships.

use jiff::Timestamp;

use super::REALMS;
use crate::availability::{Event, Launch, Realms, Settings};
use crate::model::{Availability, Declared, Fault, FaultKind};

/// Says of each realm whether it is down.
pub(super) trait Rule {
    fn launch(&mut self, realm: usize, at_s: f64, failed: bool);
    /// Nothing happened.
    fn tick(&mut self, at_s: f64);
    fn is_down(&self, realm: usize) -> bool;
}

/// In the order of [`all`].
pub(super) const NAMES: [&str; 8] = [
    "one failure",
    "3 in a row",
    "5 in a row",
    "CUSUM h=10",
    "CUSUM h=12",
    "as shipped",
    "a fifth of it, alone",
    "a fifth, and others'",
];

pub(super) fn all(baseline: f64, settings: &Settings) -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(InARow::new(1)),
        Box::new(InARow::new(3)),
        Box::new(InARow::new(5)),
        Box::new(Cusum::new(baseline, 10.0)),
        Box::new(Cusum::new(baseline, 12.0)),
        Box::new(Shipped::new(settings)),
        Box::new(Dealt::new(1, settings)),
        Box::new(Dealt::new(ACCOUNTS, settings)),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "there are few")]
pub(super) fn count(of: usize) -> f64 {
    of as f64
}

/// So many failures in a row are down, one success is up.
struct InARow {
    many: u32,
    failures: [u32; REALMS],
    down: [bool; REALMS],
}

impl InARow {
    fn new(many: u32) -> Self {
        Self { many, failures: [0; REALMS], down: [false; REALMS] }
    }
}

impl Rule for InARow {
    fn launch(&mut self, realm: usize, _at_s: f64, failed: bool) {
        self.failures[realm] = if failed { self.failures[realm] + 1 } else { 0 };
        self.down[realm] = failed && (self.down[realm] || self.failures[realm] >= self.many);
    }

    fn tick(&mut self, _at_s: f64) {}

    fn is_down(&self, realm: usize) -> bool {
        self.down[realm]
    }
}

/// The score alone, told the true baseline. Down for at least five minutes, twice as long each time in six hours; then three
/// successes in a row are up.
struct Cusum {
    failure: f64,
    success: f64,
    threshold: f64,
    realms: [Score; REALMS],
}

#[derive(Clone, Default)]
struct Score {
    score: f64,
    at_s: f64,
    successes: u32,
    trips_s: Vec<f64>,
    down: bool,
}

const HALF_LIFE_S: f64 = 6.0 * 3_600.0;
const HOLD_DOWN_S: f64 = 300.0;
const HOLD_DOWN_MAX_S: f64 = 3_600.0;

impl Cusum {
    fn new(baseline: f64, threshold: f64) -> Self {
        let usual = baseline.clamp(0.02, 0.3);
        let (failure, success) = ((0.6 / usual).ln(), (0.4 / (1.0 - usual)).ln());
        Self { failure, success, threshold, realms: Default::default() }
    }
}

impl Rule for Cusum {
    fn launch(&mut self, realm: usize, at_s: f64, failed: bool) {
        let Self { failure, success, threshold, realms } = self;
        let realm = &mut realms[realm];
        let left = realm.score * 0.5_f64.powf((at_s - realm.at_s) / HALF_LIFE_S);
        realm.score = (left + if failed { *failure } else { *success }).max(0.0);
        realm.at_s = at_s;
        realm.successes = if failed { 0 } else { realm.successes + 1 };
        if !realm.down && realm.score >= *threshold {
            realm.down = true;
            realm.successes = 0;
            realm.trips_s.retain(|trip_s| at_s - trip_s < HALF_LIFE_S);
            realm.trips_s.push(at_s);
        }
        let doublings = u32::try_from(realm.trips_s.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let hold_down_s = (HOLD_DOWN_S * 2_f64.powi(doublings.min(10).cast_signed())).min(HOLD_DOWN_MAX_S);
        let over = realm.trips_s.last().is_none_or(|trip_s| at_s - trip_s >= hold_down_s);
        if realm.down && over && realm.successes >= 3 {
            realm.down = false;
            realm.score = 0.0;
        }
    }

    fn tick(&mut self, _at_s: f64) {}

    fn is_down(&self, realm: usize) -> bool {
        self.realms[realm].down
    }
}

/// The whole room, with its guards and its own idea of the baseline. The provider declares every realm up all the time.
struct Shipped {
    settings: Settings,
    state: Realms,
    requests: u64,
    declared_s: f64,
    down: [bool; REALMS],
}

const NAMES_OF_REALMS: [&str; REALMS] = ["a", "b", "c"];
/// How often the provider is asked about its realms.
const DECLARED_S: f64 = 300.0;

impl Shipped {
    fn new(settings: &Settings) -> Self {
        let state = Realms::new(settings);
        Self { settings: settings.clone(), state, requests: 0, declared_s: f64::NEG_INFINITY, down: [false; REALMS] }
    }

    fn evaluate(&mut self, at_s: f64) {
        for told in self.state.evaluate(instant(at_s), &self.settings) {
            if let crate::availability::Told::Verdict(turned) = told {
                let realm = NAMES_OF_REALMS.iter().position(|name| *name == turned.realm).expect("one of ours");
                self.down[realm] = turned.to == Availability::Unavailable;
            }
        }
    }
}

impl Rule for Shipped {
    fn launch(&mut self, realm: usize, at_s: f64, failed: bool) {
        self.requests += 1;
        let (realm, request) = (NAMES_OF_REALMS[realm], self.requests.to_string());
        let fault = Fault { kind: FaultKind::Capacity, code: "InsufficientInstanceCapacity".to_owned() };
        let launch = match failed {
            true => Launch::failed(realm, &request, fault, instant(at_s)),
            false => Launch::succeeded(realm, &request, instant(at_s)),
        };
        self.state.hear(&Event::Launch(launch), &self.settings);
        self.evaluate(at_s);
    }

    fn tick(&mut self, at_s: f64) {
        if at_s - self.declared_s >= DECLARED_S {
            self.declared_s = at_s;
            for realm in NAMES_OF_REALMS {
                let (realm, native, at) = (realm.to_owned(), "available".to_owned(), instant(at_s));
                let event = Event::Declared { realm, declared: Declared::Up, native, messages: Vec::new(), at };
                self.state.hear(&event, &self.settings);
            }
        }
        self.evaluate(at_s);
        // Kept as in service, where it is saved.
        self.state.unsaved();
    }

    fn is_down(&self, realm: usize) -> bool {
        self.down[realm]
    }
}

/// The same launches, made by several accounts in turn; the verdict is what the first of them thinks. `accounts`: those that Tracker
/// watches, who hear of one another.
struct Dealt {
    accounts: Vec<Shipped>,
    next: usize,
}

/// Whose launches they are.
const ACCOUNTS: usize = 5;

impl Dealt {
    fn new(accounts: usize, settings: &Settings) -> Self {
        Self { accounts: (0..accounts).map(|_| Shipped::new(settings)).collect(), next: 0 }
    }

    fn talk(&mut self, realm: usize, at_s: f64) {
        let (name, now) = (NAMES_OF_REALMS[realm], instant(at_s));
        let of = |account: &Shipped| account.state.shared(name, now, &account.settings);
        let mut accounts: Vec<_> = self.accounts.iter().skip(1).map(of).collect();
        accounts.retain(|outcomes| !outcomes.is_empty());
        if let Some(first) = self.accounts.first_mut() {
            first.state.hear(&Event::Elsewhere { realm: name.to_owned(), accounts }, &first.settings);
            first.evaluate(at_s);
        }
    }
}

impl Rule for Dealt {
    fn launch(&mut self, realm: usize, at_s: f64, failed: bool) {
        self.next = (self.next + 1) % ACCOUNTS;
        if let Some(account) = self.accounts.get_mut(self.next) {
            account.launch(realm, at_s, failed);
            self.talk(realm, at_s);
        }
    }

    fn tick(&mut self, at_s: f64) {
        // Of the others only launches are heard.
        self.accounts.iter_mut().take(1).for_each(|first| first.tick(at_s));
    }

    fn is_down(&self, realm: usize) -> bool {
        self.accounts.first().is_some_and(|first| first.is_down(realm))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "milliseconds of a few centuries")]
fn instant(at_s: f64) -> Timestamp {
    const BEGIN_MS: i64 = 1_800_000_000_000;
    Timestamp::from_millisecond(BEGIN_MS + (at_s * 1_000.0) as i64).expect("within the calendar")
}
