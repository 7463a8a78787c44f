use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Secret;

/// The id of a driver as clients write it: `mock`, `ec2`. Always lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriverId(String);

impl DriverId {
    /// Folds to lower case, as clients may write `EC2`.
    pub fn new(id: &str) -> Self {
        Self(id.to_ascii_lowercase())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DriverId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The number under which the store keeps an account. The first part of every key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub i64);

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What makes an account the same account: never the key or the password, so that a rotated key keeps its feed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountKey {
    pub driver: DriverId,
    /// The provider in the driver's canonical spelling (`us-east-1`); `default` where none was named and none is needed.
    pub provider: String,
    /// Who the backend says the credentials belong to: an EC2 account number, a project id, a user name.
    pub identity: String,
}

/// What a client showed to the backend. The user may be an access key id; the password never leaves [`Secret`].
#[derive(Clone, Debug)]
pub struct Credentials {
    pub user: String,
    pub password: Secret,
}

/// Everything a driver needs to call a backend: where, and as whom.
#[derive(Clone, Debug)]
pub struct Login {
    pub driver: DriverId,
    /// As the client wrote it, case kept, for the backend. `None`: the driver's default.
    pub provider: Option<String>,
    pub credentials: Credentials,
}

/// Whether an account can be observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Standing {
    Reachable,
    /// The backend does not answer, or fails by itself.
    Unreachable,
    /// The backend refuses the credentials.
    Denied,
}

impl Standing {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reachable => "REACHABLE",
            Self::Unreachable => "UNREACHABLE",
            Self::Denied => "DENIED",
        }
    }

    /// As in hooks and in the store.
    pub fn native(self) -> &'static str {
        match self {
            Self::Reachable => "reachable",
            Self::Unreachable => "unreachable",
            Self::Denied => "denied",
        }
    }
}

/// A time in which nobody can look at an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// Not [`Standing::Reachable`].
    pub standing: Standing,
    /// When it was found.
    pub since: Timestamp,
    /// The last good answer before it, if one is remembered.
    pub last_good_at: Option<Timestamp>,
    /// What the backend said, without secrets.
    pub error: String,
    /// What could not be looked at: it is over when that can be again. `None`: nobody noted it.
    pub blamed: Option<super::Collection>,
}

/// An account that Tracker keeps: its identity and the newest credentials the backend accepted.
#[derive(Clone, Debug)]
pub struct Account {
    pub id: AccountId,
    pub key: AccountKey,
    pub login: Login,
}
