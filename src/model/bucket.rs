use std::collections::BTreeMap;

use bytes::Bytes;

/// A container of blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub id: String,
    pub name: String,
    /// The ids of its blobs, in order.
    pub blobs: Vec<String>,
}

/// An object in a bucket, its content apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    pub id: String,
    pub bucket: String,
    /// Bytes.
    pub content_length: u64,
    pub content_type: String,
    /// In the provider's own text format.
    pub last_modified: String,
    /// By lower-case name without a prefix.
    pub metadata: BTreeMap<String, String>,
}

/// A blob to be stored.
#[derive(Clone, Debug)]
pub struct NewBlob {
    pub id: String,
    pub content_type: String,
    pub metadata: BTreeMap<String, String>,
    pub content: Bytes,
}
