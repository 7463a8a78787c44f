//! Around every driver: what comes out of it has bounds, whatever its provider says.
//!
//! Texts and parts of a thing are cut. An id is not, as it would be another one: a list with an id that cannot be one is an
//! error, and so is a look for one. It is never left out, which would mean that it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{Abilities, Addresses, Buckets, Driver, Error, Firewalls, Keys, Kind, Looked, Metrics, Networks, Storage};
use crate::model::{
    self, Action, Collection, HardwareProfile, Image, Instance, InstanceId, Login, Mount, NewImage, NewInstance,
    NewSnapshot, NewVolume, Realm, Snapshot, Volume, is_id,
};

/// Passes every method on by name: a default one would slip past.
pub(super) struct Bounded(pub(super) Arc<dyn Driver>);

/// # Errors
/// [`Kind::Unavailable`]: its id cannot be one.
fn one<T: model::Bounded>(mut member: T) -> Result<T, Error> {
    if !is_id(member.own_id()) {
        return Err(Error::new(
            Kind::Unavailable,
            format!(
                "The provider names something by an id that is none: empty, `.`, `..`, or longer than {} bytes",
                model::ID_BYTES_MAX
            ),
        ));
    }
    member.bound();
    Ok(member)
}

fn all<T: model::Bounded>(members: Vec<T>) -> Result<Vec<T>, Error> {
    members.into_iter().map(one).collect()
}

fn looked<T: model::Bounded>(Looked { found, unanswered }: Looked<T>) -> Result<Looked<T>, Error> {
    Ok(Looked { found: all(found)?, unanswered })
}

fn maybe<T: model::Bounded>(member: Option<T>) -> Result<Option<T>, Error> {
    member.map(one).transpose()
}

/// # Errors
/// [`Kind::Invalid`]: nothing can be asked of the provider by that.
fn askable<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<(), Error> {
    match ids.into_iter().all(is_id) {
        true => Ok(()),
        false => Err(Error::new(
            Kind::Invalid,
            format!("An id that is empty, `.`, `..` or longer than {} bytes cannot be asked for", model::ID_BYTES_MAX),
        )),
    }
}

fn texts(ids: &BTreeSet<String>) -> impl Iterator<Item = &str> {
    ids.iter().map(String::as_str)
}

#[async_trait]
impl Driver for Bounded {
    fn abilities(&self) -> &Abilities {
        self.0.abilities()
    }

    fn provider(&self, given: Option<&str>) -> Result<String, Error> {
        self.0.provider(given)
    }

    async fn identify(&self, login: &Login) -> Result<String, Error> {
        self.0.identify(login).await
    }

    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        all(self.0.instances(login).await?)
    }

    async fn instances_again(
        &self,
        login: &Login,
        known: &BTreeMap<InstanceId, Instance>,
        since: Timestamp,
    ) -> Result<Vec<Instance>, Error> {
        all(self.0.instances_again(login, known, since).await?)
    }

    async fn may_modify(&self, login: &Login, collection: Collection, id: &str) -> Result<Option<bool>, Error> {
        askable([id])?;
        self.0.may_modify(login, collection, id).await
    }

    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error> {
        askable(ids.iter().map(InstanceId::as_str))?;
        all(self.0.instances_by_id(login, ids).await?)
    }

    async fn look_for_instances(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Looked<Instance>, Error> {
        askable(ids.iter().map(InstanceId::as_str))?;
        looked(self.0.look_for_instances(login, ids).await?)
    }

    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        all(self.0.realms(login).await?)
    }

    async fn images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        all(self.0.images(login).await?)
    }

    async fn images_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Image>, Error> {
        askable(texts(ids))?;
        all(self.0.images_by_id(login, ids).await?)
    }

    async fn look_for_images(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Image>, Error> {
        askable(texts(ids))?;
        looked(self.0.look_for_images(login, ids).await?)
    }

    async fn create_image(&self, login: &Login, new: &NewImage) -> Result<Image, Error> {
        one(self.0.create_image(login, new).await?)
    }

    async fn destroy_image(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.0.destroy_image(login, id).await
    }

    async fn hardware_profiles(&self, login: &Login) -> Result<Vec<HardwareProfile>, Error> {
        all(self.0.hardware_profiles(login).await?)
    }

    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        all(self.0.create_instance(login, new).await?)
    }

    async fn act(&self, login: &Login, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        askable([id.as_str()])?;
        maybe(self.0.act(login, id, action).await?)
    }

    async fn instance(&self, login: &Login, id: &InstanceId) -> Result<Option<Instance>, Error> {
        askable([id.as_str()])?;
        maybe(self.0.instance(login, id).await?)
    }

    async fn image(&self, login: &Login, id: &str) -> Result<Option<Image>, Error> {
        askable([id])?;
        maybe(self.0.image(login, id).await?)
    }

    async fn realm(&self, login: &Login, id: &str) -> Result<Option<Realm>, Error> {
        askable([id])?;
        maybe(self.0.realm(login, id).await?)
    }

    fn keys(&self) -> Option<&dyn Keys> {
        self.0.keys()
    }

    fn storage(&self) -> Option<&dyn Storage> {
        self.0.storage().map(|_| self as &dyn Storage)
    }

    fn addresses(&self) -> Option<&dyn Addresses> {
        self.0.addresses()
    }

    fn firewalls(&self) -> Option<&dyn Firewalls> {
        self.0.firewalls()
    }

    fn buckets(&self) -> Option<&dyn Buckets> {
        self.0.buckets()
    }

    fn metrics(&self) -> Option<&dyn Metrics> {
        self.0.metrics()
    }

    fn networks(&self) -> Option<&dyn Networks> {
        self.0.networks()
    }
}

impl Bounded {
    fn inner(&self) -> &dyn Storage {
        self.0.storage().expect("a driver that has volumes and snapshots does not lose them")
    }
}

#[async_trait]
impl Storage for Bounded {
    async fn volumes(&self, login: &Login) -> Result<Vec<Volume>, Error> {
        all(self.inner().volumes(login).await?)
    }

    async fn volumes_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Volume>, Error> {
        askable(texts(ids))?;
        all(self.inner().volumes_by_id(login, ids).await?)
    }

    async fn look_for_volumes(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Volume>, Error> {
        askable(texts(ids))?;
        looked(self.inner().look_for_volumes(login, ids).await?)
    }

    async fn create_volume(&self, login: &Login, new: &NewVolume) -> Result<Volume, Error> {
        one(self.inner().create_volume(login, new).await?)
    }

    async fn destroy_volume(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.inner().destroy_volume(login, id).await
    }

    async fn attach(&self, login: &Login, id: &str, to: &Mount) -> Result<Volume, Error> {
        one(self.inner().attach(login, id, to).await?)
    }

    async fn detach(&self, login: &Login, id: &str) -> Result<Volume, Error> {
        one(self.inner().detach(login, id).await?)
    }

    async fn snapshots(&self, login: &Login) -> Result<Vec<Snapshot>, Error> {
        all(self.inner().snapshots(login).await?)
    }

    async fn snapshots_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Snapshot>, Error> {
        askable(texts(ids))?;
        all(self.inner().snapshots_by_id(login, ids).await?)
    }

    async fn look_for_snapshots(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Snapshot>, Error> {
        askable(texts(ids))?;
        looked(self.inner().look_for_snapshots(login, ids).await?)
    }

    async fn create_snapshot(&self, login: &Login, new: &NewSnapshot) -> Result<Snapshot, Error> {
        one(self.inner().create_snapshot(login, new).await?)
    }

    async fn destroy_snapshot(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.inner().destroy_snapshot(login, id).await
    }
}
