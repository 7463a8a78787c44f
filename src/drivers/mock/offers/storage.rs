use std::collections::BTreeSet;

use async_trait::async_trait;

use super::super::{ALL, CallKind, Mock, NEW};
use crate::drivers::{Error, Storage};
use crate::model::{Login, Mount, NewSnapshot, NewVolume, Snapshot, Volume};

#[async_trait]
impl Storage for Mock {
    async fn volumes(&self, login: &Login) -> Result<Vec<Volume>, Error> {
        self.look(login, CallKind::Volumes, ALL, |world| world.volumes()).await
    }

    async fn volumes_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Volume>, Error> {
        self.look(login, CallKind::Volumes, ids, |world| world.volumes_by_id(ids)).await
    }

    async fn create_volume(&self, login: &Login, new: &NewVolume) -> Result<Volume, Error> {
        self.order(login, NEW, |world| world.create_volume(new)).await
    }

    async fn destroy_volume(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.order(login, [id], |world| world.destroy_volume(id)).await
    }

    async fn attach(&self, login: &Login, id: &str, to: &Mount) -> Result<Volume, Error> {
        self.order(login, [id, to.instance.as_str()], |world| world.attach(id, to)).await
    }

    async fn detach(&self, login: &Login, id: &str) -> Result<Volume, Error> {
        self.order(login, [id], |world| world.detach(id)).await
    }

    async fn snapshots(&self, login: &Login) -> Result<Vec<Snapshot>, Error> {
        self.look(login, CallKind::Snapshots, ALL, |world| world.snapshots()).await
    }

    async fn snapshots_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Snapshot>, Error> {
        self.look(login, CallKind::Snapshots, ids, |world| world.snapshots_by_id(ids)).await
    }

    async fn create_snapshot(&self, login: &Login, new: &NewSnapshot) -> Result<Snapshot, Error> {
        self.order(login, [new.volume.as_str()], |world| world.create_snapshot(new)).await
    }

    async fn destroy_snapshot(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.order(login, [id], |world| world.destroy_snapshot(id)).await
    }
}
