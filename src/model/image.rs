use serde::{Deserialize, Serialize};

/// Something instances are made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    pub id: String,
    pub name: String,
    pub description: String,
    pub owner: String,
    pub architecture: String,
    /// The provider's own word; the vocabulary is native (contract 6.4).
    pub state: Option<String>,
    /// The provider is working on it: look often.
    pub settling: bool,
    /// `transient` or `persistent`.
    pub root_type: String,
    /// In the provider's own text format.
    pub creation_time: Option<String>,
    /// Ids of the profiles it can run on.
    pub hardware_profiles: Vec<String>,
    /// The driver can destroy it.
    pub can_destroy: bool,
}

/// A request to make an image of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewImage {
    pub instance: String,
    pub name: Option<String>,
    pub description: Option<String>,
}
