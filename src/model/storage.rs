use serde::{Deserialize, Serialize};

/// A disk that instances can be given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    /// In the provider's own text format.
    pub created: Option<String>,
    /// GB, as text: providers know fractions.
    pub capacity: String,
    /// The provider's kind of disk (`gp3`), where it has several.
    pub kind: Option<String>,
    pub realm: Option<String>,
    /// Upper case: `AVAILABLE`, `IN-USE`, `CREATING` … the vocabulary is the driver's (contract 6.4).
    pub state: String,
    /// The provider's own word, as it came.
    pub native_state: String,
    /// The provider is working on it: look often.
    pub settling: bool,
    /// What it is attached to.
    pub mount: Option<Mount>,
    /// What can be asked of it now, in the order shown to clients.
    pub actions: Vec<VolumeAction>,
}

/// Where a volume is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    pub instance: String,
    /// `/dev/sda1`; empty when the provider does not say.
    pub device: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeAction {
    Attach,
    Detach,
    Destroy,
}

impl VolumeAction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::Destroy => "destroy",
        }
    }
}

/// A request for a volume, empty parameters dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewVolume {
    /// GB, as given. `None`: the driver's default, or the snapshot's size.
    pub capacity: Option<String>,
    pub realm: Option<String>,
    pub snapshot: Option<String>,
    pub name: Option<String>,
    pub description: Option<String>,
}

/// A copy of a volume as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub id: String,
    pub name: Option<String>,
    pub description: Option<String>,
    /// In the provider's own text format.
    pub created: Option<String>,
    /// The volume it was made of.
    pub volume: Option<String>,
    /// The vocabulary is the driver's: `COMPLETED`, `pending` …
    pub state: String,
    /// The provider's own word, as it came.
    pub native_state: String,
    /// The provider is working on it: look often.
    pub settling: bool,
}

/// A request for a snapshot, empty parameters dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewSnapshot {
    pub volume: String,
    pub name: Option<String>,
    pub description: Option<String>,
}
