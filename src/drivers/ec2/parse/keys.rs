use serde::{Deserialize, Deserializer};

use super::{Reply, Set};
use crate::model::Secret;

#[derive(Debug, Deserialize)]
pub(crate) struct KeyPairs {
    #[serde(rename = "keySet")]
    pub(crate) keys: Set<KeyPair>,
}

impl Reply for KeyPairs {
    const ROOT: &'static str = "DescribeKeyPairsResponse";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyPair {
    pub(crate) key_name: String,
    pub(crate) key_fingerprint: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedKeyPair {
    pub(crate) key_name: String,
    pub(crate) key_fingerprint: Option<String>,
    /// Nobody ever sees it again, so an answer without it is none.
    #[serde(deserialize_with = "secret")]
    pub(crate) key_material: Secret,
}

impl Reply for CreatedKeyPair {
    const ROOT: &'static str = "CreateKeyPairResponse";
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::from)
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportedKeyPair {
    pub(crate) key_name: String,
    pub(crate) key_fingerprint: Option<String>,
}

impl Reply for ImportedKeyPair {
    const ROOT: &'static str = "ImportKeyPairResponse";
}
