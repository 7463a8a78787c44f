use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::{ALL, CallKind, Mock};
use crate::drivers::{Buckets, Error};
use crate::model::{Blob, Bucket, Login, NewBlob};

#[async_trait]
impl Buckets for Mock {
    async fn buckets(&self, login: &Login) -> Result<Vec<Bucket>, Error> {
        self.look(login, CallKind::Buckets, ALL, |world| world.buckets()).await
    }

    async fn bucket(&self, login: &Login, id: &str) -> Result<Option<Bucket>, Error> {
        self.look(login, CallKind::Buckets, [id], |world| world.bucket(id)).await
    }

    async fn create_bucket(&self, login: &Login, name: &str) -> Result<Bucket, Error> {
        self.order(login, [name], |world| world.create_bucket(name)).await
    }

    async fn destroy_bucket(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.order(login, [id], |world| world.destroy_bucket(id)).await
    }

    async fn blob(&self, login: &Login, bucket: &str, id: &str) -> Result<Option<Blob>, Error> {
        self.look(login, CallKind::Buckets, [bucket, id], |world| world.blob(bucket, id)).await
    }

    async fn content(&self, login: &Login, bucket: &str, id: &str) -> Result<Bytes, Error> {
        self.look(login, CallKind::Buckets, [bucket, id], |world| world.content(bucket, id)).await?
    }

    async fn put_blob(&self, login: &Login, bucket: &str, new: &NewBlob) -> Result<Blob, Error> {
        self.order(login, [bucket, new.id.as_str()], |world| world.put_blob(bucket, new)).await
    }

    async fn set_metadata(
        &self,
        login: &Login,
        bucket: &str,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.order(login, [bucket, id], |world| world.set_metadata(bucket, id, metadata)).await
    }

    async fn destroy_blob(&self, login: &Login, bucket: &str, id: &str) -> Result<(), Error> {
        self.order(login, [bucket, id], |world| world.destroy_blob(bucket, id)).await
    }
}
