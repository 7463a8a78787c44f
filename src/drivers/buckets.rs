use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::Error;
use crate::model::{Blob, Bucket, Login, NewBlob};

/// Object storage.
#[async_trait]
pub trait Buckets: Send + Sync {
    /// In the order of the ids' text.
    async fn buckets(&self, login: &Login) -> Result<Vec<Bucket>, Error>;

    /// `None`: the backend clearly does not have it.
    async fn bucket(&self, login: &Login, id: &str) -> Result<Option<Bucket>, Error>;

    /// [`super::Kind::Forbidden`] for a name that is taken.
    async fn create_bucket(&self, login: &Login, name: &str) -> Result<Bucket, Error>;

    /// [`super::Kind::NotFound`] for an unknown one, [`super::Kind::Conflict`] for one that is not empty.
    async fn destroy_bucket(&self, login: &Login, id: &str) -> Result<(), Error>;

    /// `None`: the backend clearly has no such bucket, or no such blob in it.
    async fn blob(&self, login: &Login, bucket: &str, id: &str) -> Result<Option<Blob>, Error>;

    /// [`super::Kind::NotFound`] for an unknown one.
    async fn content(&self, login: &Login, bucket: &str, id: &str) -> Result<Bytes, Error>;

    /// Stores or replaces. [`super::Kind::NotFound`] for an unknown bucket.
    async fn put_blob(&self, login: &Login, bucket: &str, new: &NewBlob) -> Result<Blob, Error>;

    /// Replaces the whole of its metadata. [`super::Kind::NotFound`] for an unknown one.
    async fn set_metadata(
        &self,
        login: &Login,
        bucket: &str,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), Error>;

    /// [`super::Kind::NotFound`] for an unknown one.
    async fn destroy_blob(&self, login: &Login, bucket: &str, id: &str) -> Result<(), Error>;
}
