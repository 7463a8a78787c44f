use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Whether a realm can be used, as Tracker judges it. Deltacloud's wire knows two of these ([`super::RealmState`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Availability {
    Available,
    /// It works in part, or there is reason for doubt.
    Degraded,
    Unavailable,
    /// We cannot tell. Never the same as unavailable.
    Unknown,
}

impl Availability {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Degraded => "DEGRADED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for Availability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A number with at most three decimals, so that it can be compared exactly and is the same after a way through JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "f64", into = "f64")]
pub struct Figure(i64);

impl From<f64> for Figure {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and no figure here comes near")]
    fn from(number: f64) -> Self {
        Self((number * 1000.0).round() as i64)
    }
}

impl From<Figure> for f64 {
    #[expect(clippy::cast_precision_loss, reason = "no figure here has more than 53 bits")]
    fn from(Figure(thousandths): Figure) -> Self {
        thousandths as Self / 1000.0
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f64::from(*self).fmt(f)
    }
}

/// Why a realm, or an account's provider, is judged as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// Which rule decided: `E1-cusum`.
    pub rule: String,
    /// All of it in one sentence, for people.
    pub text: String,
    /// What was known when it was decided, the contrary included.
    pub signals: Vec<Signal>,
}

/// One thing that is known of a realm. What does not apply to its kind is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    pub kind: SignalKind,
    /// The provider's word, or a word or a number of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Reading>,
    /// What `value`, if it is a number, has to reach to count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<Figure>,
    /// How many were bad …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// … of how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
    /// The time that they are counted over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
    /// What the provider called the bad ones, counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub codes: BTreeMap<String, u32>,
    /// A few of the bad ones, all of them the reader's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The same in the account's other realms, for contrast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub siblings: Option<Share>,
    /// The same in other accounts that use the place, beside `count` and `of`. Counts only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elsewhere: Option<Elsewhere>,
    /// What the provider says about it, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
}

impl Signal {
    /// Of which only the kind is known.
    pub fn of(kind: SignalKind) -> Self {
        Self {
            kind,
            value: None,
            threshold: None,
            count: None,
            of: None,
            window_seconds: None,
            first_at: None,
            last_at: None,
            codes: BTreeMap::new(),
            ids: Vec::new(),
            profile: None,
            siblings: None,
            elsewhere: None,
            messages: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// What the provider says of the realm.
    Declared,
    /// Whether the provider answers.
    Reachability,
    /// Launches of the present episode; `value` is the score.
    Launches,
    /// Instances that ran and do no more; `value` is their share.
    Runs,
    /// A hardware profile that there is no room for.
    Profile,
    /// Realms of the account that fail at the same time; `ids` are realms.
    Blame,
    /// How long it stays unavailable at least; `value` is the number of trips, `last_at` when it ends.
    HoldDown,
    /// Turns in which the state changed; `value` is their share.
    Flapping,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Reading {
    Number(Figure),
    Word(String),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub failed: u32,
    pub of: u32,
}

/// What others made of a place: how many of them, and of how many launches. Nothing that says who.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Elsewhere {
    pub accounts: u32,
    pub failed: u32,
    pub of: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_a_plain_number_in_json_and_comes_back_the_same() {
        for (number, expected) in [(13.6, "13.6"), (0.9500001, "0.95"), (10.0, "10.0"), (-1.23456, "-1.235")] {
            let figure = Figure::from(number);
            let text = serde_json::to_string(&figure).unwrap();
            assert_eq!(text, expected);
            assert_eq!(serde_json::from_str::<Figure>(&text).unwrap(), figure);
        }
        assert_eq!(Figure::from(10.0).to_string(), "10");
    }
}
