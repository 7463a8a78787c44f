use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Outcome;
use crate::model::{Declared, Fault, InstanceId};

/// Something that was learnt of a realm. One that is told twice counts once, as far as it can be recognised.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The provider answered, and the realm was in the answer.
    Declared {
        realm: String,
        declared: Declared,
        /// The provider's own word.
        native: String,
        messages: Vec<String>,
        at: Timestamp,
    },
    /// The provider answered completely, and the realm was not in the answer.
    Missing {
        realm: String,
        at: Timestamp,
    },
    Launch(Launch),
    /// How those that ran do, all of them together.
    Runs {
        realm: String,
        /// Have run for long enough, and run.
        steady: u32,
        /// Had run for long enough, and do no more, by nobody's wish.
        bad: Vec<BadRun>,
        at: Timestamp,
    },
    /// Whether the provider answers, for one realm (as a look zone by zone showed) or for all of the account.
    Reach {
        realm: Option<String>,
        state: Reachability,
        at: Timestamp,
    },
    /// All instances of the account were listed at once. What was seen realm by realm, while that failed, is over.
    Listed,
    /// What launches came to in other accounts that use the same place, one list for each of them; instead of what was told of it
    /// before. Whose they are is not said.
    Elsewhere {
        realm: String,
        accounts: Vec<Vec<Outcome>>,
    },
}

/// What became of a request to launch instances. It counts once, however many it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub realm: String,
    /// Whatever tells one request of the account from another; told again, it is not counted again.
    pub request: String,
    pub profile: Option<String>,
    pub succeeded: u32,
    pub failed: u32,
    /// Of the failed ones. One that says nothing of the realm makes them not count.
    pub fault: Option<Fault>,
    /// The failed ones, if there are any: an example or a few.
    pub instances: Vec<InstanceId>,
    /// How long those that came up took.
    pub took: Option<Duration>,
    pub at: Timestamp,
}

impl Launch {
    /// An instance came up.
    pub fn succeeded(realm: &str, request: &str, at: Timestamp) -> Self {
        Self {
            realm: realm.to_owned(),
            request: request.to_owned(),
            profile: None,
            succeeded: 1,
            failed: 0,
            fault: None,
            instances: Vec::new(),
            took: None,
            at,
        }
    }

    /// None did, or the provider refused to try.
    pub fn failed(realm: &str, request: &str, fault: Fault, at: Timestamp) -> Self {
        Self { succeeded: 0, failed: 1, fault: Some(fault), ..Self::succeeded(realm, request, at) }
    }

    /// Of the hardware profile.
    pub fn of(self, profile: &str) -> Self {
        Self { profile: Some(profile.to_owned()), ..self }
    }
}

/// An instance that ran and does no more, though nobody asked for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRun {
    pub id: InstanceId,
    pub why: Bad,
    /// When it was first seen so.
    pub since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bad {
    /// The provider's checks of it fail, or its host is down.
    Impaired,
    /// ERROR.
    Broken,
    /// Stopped or ended by the provider.
    Stopped,
    /// Confirmed gone, where the provider would show one that was ended.
    Vanished,
}

impl Bad {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Impaired => "impaired",
            Self::Broken => "broken",
            Self::Stopped => "stopped",
            Self::Vanished => "vanished",
        }
    }
}

/// Whether a provider answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reachability {
    Reachable,
    /// Silent for longer than usual, or failing: look closer, claim nothing.
    Suspect,
    Unreachable,
    /// Nobody answers us: that is our own fault until shown otherwise.
    Isolated,
}

impl Reachability {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Suspect => "suspect",
            Self::Unreachable => "unreachable",
            Self::Isolated => "isolated",
        }
    }
}
