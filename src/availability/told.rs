//! What comes out: verdicts that changed, and what holds for the whole account.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Availability, Figure, RealmState, Signal, Why};

/// One thing to record, in JSON with its `type`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum Told {
    #[serde(rename = "realm.state")]
    Verdict(Turned),
    /// The state changes all the time: single changes are `suppressed` from here on.
    #[serde(rename = "realm.flapping_start")]
    FlappingStart { realm: String, at: Timestamp, why: Why },
    /// It has settled, in `state`.
    #[serde(rename = "realm.flapping_end")]
    FlappingEnd { realm: String, state: Availability, at: Timestamp, why: Why },
    /// Launches fail in so many realms at once that the realms are not to blame.
    #[serde(rename = "provider.degraded")]
    ProviderDegraded { at: Timestamp, why: Why },
    #[serde(rename = "provider.recovered")]
    ProviderRecovered { since: Timestamp, at: Timestamp, why: Why },
    /// Nobody answers us: every realm is `UNKNOWN` from here on, without a record for each.
    #[serde(rename = "observer.isolated")]
    Isolated { at: Timestamp, why: Why },
    /// Realms are again what they were.
    #[serde(rename = "observer.rejoined")]
    Rejoined { since: Timestamp, at: Timestamp, why: Why },
}

/// A realm's verdict changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turned {
    pub realm: String,
    /// `None`: there was none. No news where the realm was known without it.
    pub from: Option<Availability>,
    pub to: Availability,
    /// On the two-valued wire, before and after. `None`: never known; what the driver says holds.
    pub from_wire: Option<RealmState>,
    pub to_wire: Option<RealmState>,
    pub at: Timestamp,
    /// 0 to 1.
    pub confidence: Figure,
    /// It flaps: stays in the feed, and nobody is called back.
    pub suppressed: bool,
    pub why: Why,
}

/// How a realm stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub state: Availability,
    pub since: Timestamp,
    /// 0 to 1; 0 when unknown.
    pub confidence: Figure,
    /// On the two-valued wire: the last that was known. `None`: never; what the driver says holds.
    pub wire: Option<RealmState>,
    /// Since when `wire` has only been the last that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_since: Option<Timestamp>,
    pub flapping: bool,
    /// It was unavailable, and is not trusted yet.
    pub probation: bool,
    /// Why it is so since then.
    pub why: Why,
}

/// All that is known of a realm now, also when all is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub realm: String,
    pub at: Timestamp,
    /// `None`: nothing was judged yet.
    pub standing: Option<Standing>,
    /// What is known now, in one sentence.
    pub text: String,
    pub signals: Vec<Signal>,
}

/// What decided. The first letter says of which kind it is: declared, reachability, evidence, guard, hysteresis, all quiet,
/// nothing known, observer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Rule {
    /// The provider declares it down, twice, or once where evidence agrees.
    #[serde(rename = "D1-down")]
    Down,
    /// The provider declares it degraded.
    #[serde(rename = "D2-degraded")]
    Degraded,
    /// The provider declared it down once, and is asked again.
    #[serde(rename = "D3-doubt")]
    Doubt,
    /// Complete answers lack it.
    #[serde(rename = "D4-withdrawn")]
    Withdrawn,
    /// Unreachable, just now: unknown.
    #[serde(rename = "R1-unreachable")]
    Unreachable,
    /// Unreachable for minutes: degraded.
    #[serde(rename = "R2-unreachable")]
    UnreachableLong,
    /// Unreachable for many minutes: unavailable.
    #[serde(rename = "R3-unreachable")]
    UnreachableTooLong,
    /// Launches fail.
    #[serde(rename = "E1-cusum")]
    Cusum,
    /// What ran does no more.
    #[serde(rename = "E2-run")]
    Run,
    /// No room for one hardware profile.
    #[serde(rename = "E3-profile")]
    Profile,
    /// Launches failed on probation.
    #[serde(rename = "E4-probation")]
    Probation,
    /// Launches fail, here and in other accounts.
    #[serde(rename = "E5-elsewhere")]
    Elsewhere,
    /// Too many realms at once.
    #[serde(rename = "G-blame")]
    Blame,
    /// The last one that works is not given up on evidence alone.
    #[serde(rename = "G-last")]
    Last,
    /// The hold-down is over and nothing speaks against it.
    #[serde(rename = "H-recover")]
    Recover,
    /// The state changed in too many turns, or no more.
    #[serde(rename = "H-flapping")]
    Flapping,
    /// Nothing speaks against it.
    #[serde(rename = "A-quiet")]
    Quiet,
    /// Nothing is known.
    #[serde(rename = "N-nothing")]
    Nothing,
    /// Nobody answers us.
    #[serde(rename = "O-isolated")]
    Isolated,
}

impl Rule {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "D1-down",
            Self::Degraded => "D2-degraded",
            Self::Doubt => "D3-doubt",
            Self::Withdrawn => "D4-withdrawn",
            Self::Unreachable => "R1-unreachable",
            Self::UnreachableLong => "R2-unreachable",
            Self::UnreachableTooLong => "R3-unreachable",
            Self::Cusum => "E1-cusum",
            Self::Run => "E2-run",
            Self::Profile => "E3-profile",
            Self::Probation => "E4-probation",
            Self::Elsewhere => "E5-elsewhere",
            Self::Blame => "G-blame",
            Self::Last => "G-last",
            Self::Recover => "H-recover",
            Self::Flapping => "H-flapping",
            Self::Quiet => "A-quiet",
            Self::Nothing => "N-nothing",
            Self::Isolated => "O-isolated",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// On Deltacloud's wire; `None`: the last that was known.
pub fn wire(state: Availability) -> Option<RealmState> {
    match state {
        Availability::Available | Availability::Degraded => Some(RealmState::Available),
        Availability::Unavailable => Some(RealmState::Unavailable),
        Availability::Unknown => None,
    }
}
