use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Availability, Figure};

/// Whether a realm can be used, on Deltacloud's two-valued wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RealmState {
    Available,
    Unavailable,
}

impl RealmState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl fmt::Display for RealmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a provider itself says of a realm. Kept apart from what Tracker makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Declared {
    Up,
    Degraded,
    Down,
    /// This provider says nothing about its realms.
    #[default]
    Nothing,
}

impl Declared {
    /// On a wire that knows two words, until more is known. Only *down* says that it cannot be used: what no driver knows the
    /// meaning of says nothing, and then launches, runs and answers decide.
    pub fn wire(self) -> RealmState {
        match self {
            Self::Down => RealmState::Unavailable,
            Self::Up | Self::Degraded | Self::Nothing => RealmState::Available,
        }
    }
}

/// A place where instances run, as its provider declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realm {
    pub id: String,
    pub name: String,
    pub state: RealmState,
    /// The provider's own word (`impaired`), as it came.
    pub native_state: String,
    /// `None`: unlimited. Otherwise free text.
    pub limit: Option<String>,
    /// What the provider says about the state, one sentence each; goes into the `why` of a change.
    pub messages: Vec<String>,
    #[serde(default)]
    pub declared: Declared,
    /// What the provider calls this place whoever asks, where its id means another place in each account (EC2's zone id:
    /// `us-east-1a` is not the same for everybody). `None`: the id does.
    #[serde(default)]
    pub place: Option<String>,
    /// What Tracker makes of it; `state` follows from that. `None` as it comes from the provider.
    #[serde(default)]
    pub judged: Option<Judged>,
}

impl Realm {
    /// Says of itself what was last judged: the word that is told.
    pub fn follow(&mut self, before: &Self) {
        self.judged.clone_from(&before.judged);
        if before.judged.is_some() {
            self.state = before.state;
        }
    }
}

/// Whether a realm can be used, after all that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judged {
    pub state: Availability,
    pub since: Timestamp,
    /// 0 to 1; 0 when unknown.
    pub confidence: Figure,
}
