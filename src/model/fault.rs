use serde::{Deserialize, Serialize};

/// Why a launch failed or a machine broke, as its provider said: sorted once, by the driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub kind: FaultKind,
    /// The provider's own word (`Server.InsufficientInstanceCapacity`), fit to be shown: bounded, nothing secret.
    pub code: String,
}

/// Who is to blame. The first two say something of the realm it happened in; the others of nobody but the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The realm had no room, in all or for this hardware profile.
    Capacity,
    /// The provider's machinery: an internal error, a host that died.
    Infrastructure,
    /// The account may not have more.
    Quota,
    /// A bad parameter, a missing permission, an image or a snapshot that is no good, a user's own doing.
    Request,
}

impl FaultKind {
    /// Whether it is evidence against the realm.
    pub fn counts(self) -> bool {
        match self {
            Self::Capacity | Self::Infrastructure => true,
            Self::Quota | Self::Request => false,
        }
    }
}
