//! Failures on purpose: in periods and at rates from the settings, or by the hands of a test. Pure but for the lots.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde::Deserialize;

use super::settings::Rate;
use crate::drivers::{Error, Kind};
use crate::model;

/// What is asked of a driver, as faults and the log of calls name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallKind {
    Identify,
    /// The list of all instances.
    Instances,
    /// Instances by id.
    Look,
    Realms,
    /// Looking at images, as with the kinds that follow.
    Images,
    HardwareProfiles,
    /// New instances.
    Create,
    /// An action on an instance.
    Act,
    Volumes,
    Snapshots,
    Keys,
    Addresses,
    /// Blobs and what is in them, too.
    Buckets,
    Metrics,
    /// Subnets and network interfaces, too.
    Networks,
    /// Creating, changing or destroying anything but instances.
    Order,
}

impl CallKind {
    pub const ALL: [Self; 16] = [
        Self::Identify,
        Self::Instances,
        Self::Look,
        Self::Realms,
        Self::Images,
        Self::HardwareProfiles,
        Self::Create,
        Self::Act,
        Self::Volumes,
        Self::Snapshots,
        Self::Keys,
        Self::Addresses,
        Self::Buckets,
        Self::Metrics,
        Self::Networks,
        Self::Order,
    ];
}

/// `[[drivers.mock.faults]]`: calls that fail for a while, all of them or some.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which calls. Empty: all.
    #[serde(default)]
    pub calls: Vec<CallKind>,
    pub kind: Trouble,
    /// How many of them. 0 to 1.
    #[serde(default = "always")]
    pub rate: Rate,
    /// Seconds since the start when it begins.
    #[serde(default)]
    pub from_s: u64,
    /// Seconds since the start when it is over. None: never.
    #[serde(default)]
    pub until_s: Option<u64>,
    /// What a throttled caller is told to wait. Seconds. None: told nothing.
    #[serde(default)]
    pub after_s: Option<u64>,
}

impl Fault {
    pub(super) fn kind(&self) -> Kind {
        match self.kind {
            Trouble::Denied => Kind::Denied,
            Trouble::Forbidden => Kind::Forbidden,
            Trouble::Throttled => Kind::Throttled { after: self.after_s.map(Duration::from_secs) },
            Trouble::Unavailable => Kind::Unavailable,
            Trouble::TimedOut => Kind::TimedOut,
            Trouble::Failed => Kind::Failed,
        }
    }

    fn applies(&self, call: CallKind, since_start: Duration) -> bool {
        let concerned = self.calls.is_empty() || self.calls.contains(&call);
        let begun = since_start >= Duration::from_secs(self.from_s);
        let over = self.until_s.is_some_and(|until| since_start >= Duration::from_secs(until));
        concerned && begun && !over
    }
}

fn always() -> Rate {
    Rate::ALWAYS
}

/// The kinds of failure that say nothing about any resource; the others would be lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    Denied,
    Forbidden,
    Throttled,
    Unavailable,
    TimedOut,
    Failed,
}

/// For how long a scripted failure lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// The next so many calls of the kind.
    Next(u32),
    /// Until the cloud is healed.
    UntilHealed,
}

pub(super) struct Faults {
    periods: Vec<Fault>,
    scripted: BTreeMap<CallKind, VecDeque<(Times, Kind)>>,
    /// Providers all of whose calls fail.
    down: BTreeMap<String, Kind>,
    /// Realms in which nothing can be launched, and why.
    barren: BTreeMap<String, model::Fault>,
}

impl Faults {
    pub(super) fn new(periods: Vec<Fault>) -> Self {
        Self { periods, scripted: BTreeMap::new(), down: BTreeMap::new(), barren: BTreeMap::new() }
    }

    /// Comes after what was scripted before for the same kind of call.
    pub(super) fn script(&mut self, call: CallKind, times: Times, kind: Kind) {
        self.scripted.entry(call).or_default().push_back((times, kind));
    }

    pub(super) fn take_down(&mut self, provider: &str, kind: Kind) {
        self.down.insert(provider.to_owned(), kind);
    }

    pub(super) fn lay_waste(&mut self, realm: &str, fault: model::Fault) {
        self.barren.insert(realm.to_owned(), fault);
    }

    /// Forgets all that hands did. Periods from the settings stay.
    pub(super) fn heal(&mut self) {
        self.scripted.clear();
        self.down.clear();
        self.barren.clear();
    }

    /// How a launch in this realm is refused, if it is.
    pub(super) fn refuse(&self, realm: &str) -> Option<Error> {
        let fault = self.barren.get(realm)?;
        let kind = if fault.kind.counts() { Kind::Unavailable } else { Kind::Forbidden };
        let text = format!("The mock cloud launches nothing in '{realm}': {}.", fault.code);
        Some(Error::new(kind, text).blaming(Some(fault.clone())))
    }

    /// What this call fails with, if it does. The script goes first. A lot is drawn for each period that applies.
    pub(super) fn strike(
        &mut self,
        call: CallKind,
        provider: &str,
        since_start: Duration,
        roll: impl Fn() -> f64,
    ) -> Option<Kind> {
        if let Some(kind) = self.down.get(provider) {
            return Some(*kind);
        }
        if let Some(kind) = self.scripted.get_mut(&call).and_then(next) {
            return Some(kind);
        }
        let mut periods = self.periods.iter().filter(|fault| fault.applies(call, since_start));
        periods.find(|fault| fault.rate.hits(roll())).map(Fault::kind)
    }
}

fn next(script: &mut VecDeque<(Times, Kind)>) -> Option<Kind> {
    while let Some((times, kind)) = script.front_mut() {
        match times {
            Times::UntilHealed => return Some(*kind),
            Times::Next(0) => script.pop_front(),
            Times::Next(left) => {
                *left -= 1;
                return Some(*kind);
            }
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "default";

    #[test]
    fn a_period_strikes_its_calls_in_its_time_at_its_rate() {
        let fault = Fault {
            calls: vec![CallKind::Look, CallKind::Act],
            kind: Trouble::TimedOut,
            rate: Rate::try_from(0.25).unwrap(),
            from_s: 10,
            until_s: Some(20),
            after_s: None,
        };
        let check = |call, at, roll: f64, strikes: bool| {
            let struck = Faults::new(vec![fault.clone()]).strike(call, HERE, Duration::from_secs(at), || roll);
            assert_eq!(struck, strikes.then_some(Kind::TimedOut), "{call:?} at {at} with {roll}");
        };
        check(CallKind::Look, 10, 0.2, true);
        check(CallKind::Act, 19, 0.0, true);
        check(CallKind::Look, 9, 0.2, false);
        check(CallKind::Look, 20, 0.2, false);
        check(CallKind::Look, 15, 0.25, false);
        check(CallKind::Instances, 15, 0.2, false);
    }

    #[test]
    fn without_calls_and_an_end_it_strikes_everything_for_ever() {
        let fault: Fault = toml::from_str("kind = \"denied\"").unwrap();
        let mut faults = Faults::new(vec![fault]);
        assert_eq!(faults.strike(CallKind::Images, HERE, Duration::from_secs(1 << 40), || 0.999), Some(Kind::Denied));
        faults.heal();
        assert_eq!(
            faults.strike(CallKind::Images, HERE, Duration::ZERO, || 0.999),
            Some(Kind::Denied),
            "only a script heals"
        );
    }

    #[test]
    fn a_script_is_played_in_order_for_each_kind_of_call() {
        let mut faults = Faults::new(Vec::new());
        faults.script(CallKind::Look, Times::Next(2), Kind::Unavailable);
        faults.script(CallKind::Look, Times::Next(0), Kind::Failed);
        faults.script(CallKind::Look, Times::Next(1), Kind::Denied);
        faults.script(CallKind::Realms, Times::UntilHealed, Kind::TimedOut);
        let mut strike = |call| faults.strike(call, HERE, Duration::ZERO, || 0.5);
        assert_eq!(strike(CallKind::Instances), None);
        let looks: Vec<_> = (0..4).map(|_| strike(CallKind::Look)).collect();
        assert_eq!(looks, [Some(Kind::Unavailable), Some(Kind::Unavailable), Some(Kind::Denied), None]);
        assert_eq!([strike(CallKind::Realms), strike(CallKind::Realms)], [Some(Kind::TimedOut); 2]);
        faults.heal();
        assert_eq!(faults.strike(CallKind::Realms, HERE, Duration::ZERO, || 0.5), None);
    }

    #[test]
    fn a_provider_that_is_down_fails_and_others_do_not_until_it_is_healed() {
        let mut faults = Faults::new(Vec::new());
        faults.take_down(HERE, Kind::Unavailable);
        let mut strike = |provider| faults.strike(CallKind::Look, provider, Duration::ZERO, || 0.5);
        assert_eq!((strike(HERE), strike("other")), (Some(Kind::Unavailable), None));
        faults.heal();
        assert_eq!(faults.strike(CallKind::Look, HERE, Duration::ZERO, || 0.5), None);
    }
}
