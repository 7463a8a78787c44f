use std::collections::BTreeSet;

use async_trait::async_trait;

use super::{Error, Looked};
use crate::model::{Login, Mount, NewSnapshot, NewVolume, Snapshot, Volume};

/// Disks for instances, and copies of them.
#[async_trait]
pub trait Storage: Send + Sync {
    /// Lists every volume of the account, or fails. In the order of the ids' text.
    async fn volumes(&self, login: &Login) -> Result<Vec<Volume>, Error>;

    /// A targeted look: those of `ids` that exist. An id left out is one that the backend, answering well, did not have.
    async fn volumes_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Volume>, Error>;

    /// As [`super::Driver::look_for_instances`].
    async fn look_for_volumes(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Volume>, Error> {
        Ok(Looked::all(self.volumes_by_id(login, ids).await?))
    }

    async fn create_volume(&self, login: &Login, new: &NewVolume) -> Result<Volume, Error>;

    /// [`super::Kind::NotFound`] for an unknown one, [`super::Kind::Conflict`] for one in use.
    async fn destroy_volume(&self, login: &Login, id: &str) -> Result<(), Error>;

    /// Answers with the volume as read back at once. [`super::Kind::NotFound`] for an unknown volume or instance,
    /// [`super::Kind::Conflict`] for a volume in use. An empty device: the backend's choice.
    async fn attach(&self, login: &Login, id: &str, to: &Mount) -> Result<Volume, Error>;

    /// Answers with the volume as read back at once. [`super::Kind::Conflict`] for one that is free.
    async fn detach(&self, login: &Login, id: &str) -> Result<Volume, Error>;

    /// Lists every snapshot that the account owns, or fails. In the order of the ids' text.
    async fn snapshots(&self, login: &Login) -> Result<Vec<Snapshot>, Error>;

    /// As [`Storage::volumes_by_id`].
    async fn snapshots_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Snapshot>, Error>;

    /// As [`super::Driver::look_for_instances`].
    async fn look_for_snapshots(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Snapshot>, Error> {
        Ok(Looked::all(self.snapshots_by_id(login, ids).await?))
    }

    async fn create_snapshot(&self, login: &Login, new: &NewSnapshot) -> Result<Snapshot, Error>;

    /// [`super::Kind::NotFound`] for an unknown one.
    async fn destroy_snapshot(&self, login: &Login, id: &str) -> Result<(), Error>;
}
