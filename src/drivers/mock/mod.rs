//! A cloud in memory: for trying Tracker out, for the suites of Deltacloud's clients, and for tests.
//!
//! As the reference (the default) it has the reference's data and behaviour: everything asked is done at once, nothing moves by
//! itself. Lively, it moves by itself as clouds do: delays, late addresses, instances that stop, appear and disappear,
//! launches that fail, realms that cannot be used for a while. Either way it fails on purpose, as often as it is told.
//!
//! Guarantees: it is driven by the clock, its seed and what it is asked, and by nothing else; accounts,
//! what is in them and the log of calls have bounds. Every provider and user has a world of his own; the instances of the
//! reference are in that of the user of the settings.
//!
//! Absent on purpose: state on disk (a restart is a new cloud), user data (taken, and shown to nobody), checks of image and
//! realm on create (the reference has none), firewalls and load balancers (nor has it those), keys that open anything.

mod cloud;
mod faults;
mod fixture;
mod hands;
mod offers;
mod settings;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

pub use cloud::{Called, Cloud};
pub use faults::{CallKind, Fault, Times, Trouble};
pub use settings::{Life, Rate, Settings, Span};

use self::cloud::PROVIDER;
use self::world::World;
use super::{Abilities, Addresses, Buckets, Driver, Error, Firewalls, Keys, Kind, Metrics, Networks, Storage};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{
    Action, Collection, HardwareProfile, Image, Instance, InstanceId, Login, NewImage, NewInstance, Realm,
};

/// Providers with longer names are refused. Bytes.
const PROVIDER_LEN_MAX: usize = 255;

/// Of an id asked for, the log keeps so many characters.
const ID_LEN_KEPT: usize = 255;

/// No ids: the call is about all, or about what is yet to be.
const ALL: [&str; 0] = [];
const NEW: [&str; 0] = [];

/// Asks a [`Cloud`].
pub struct Mock {
    cloud: Cloud,
    abilities: Abilities,
}

impl Mock {
    /// With a cloud of its own.
    pub(super) fn new(settings: Settings, clock: Arc<dyn Clock>, chance: &Chance) -> Self {
        Self::of(Cloud::new(settings, clock, chance))
    }

    /// With this one, which the caller keeps his hands on.
    pub fn of(cloud: Cloud) -> Self {
        let abilities = fixture::abilities(cloud.settings().lively);
        Self { cloud, abilities }
    }

    /// The beginning of every call: it is noted, takes its time, fails if it is to fail.
    async fn call(&self, login: &Login, kind: CallKind, ids: Vec<String>) -> Result<Cloud, Error> {
        let provider = self.provider(login.provider.as_deref())?;
        let user = &login.credentials.user;
        let cloud = self.cloud.of(&provider, user);
        let ids = ids.iter().map(|id| id.chars().take(ID_LEN_KEPT).collect()).collect();
        let called = Called { at: cloud.now(), kind, provider, user: user.clone(), ids };
        take(Duration::from_millis(cloud.settings().latency_ms)).await;
        cloud.answer_phone(called)?;
        Ok(cloud)
    }

    /// As [`Mock::call`], and only for those who may.
    async fn call_as(&self, login: &Login, kind: CallKind, ids: Vec<String>) -> Result<Cloud, Error> {
        let cloud = self.call(login, kind, ids).await?;
        cloud.check(login)?;
        Ok(cloud)
    }

    /// Looks at what this kind of call is about: some of it by these ids, or all.
    async fn look<T>(
        &self,
        login: &Login,
        kind: CallKind,
        ids: impl IntoIterator<Item = impl ToString>,
        look: impl FnOnce(&World) -> T,
    ) -> Result<T, Error> {
        let ids = ids.into_iter().map(|id| id.to_string()).collect();
        self.call_as(login, kind, ids).await?.visit(|world| Ok(look(world)))
    }

    /// Creates, changes or destroys what is no instance.
    async fn order<T>(
        &self,
        login: &Login,
        ids: impl IntoIterator<Item = &str>,
        order: impl FnOnce(&mut World) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let ids = ids.into_iter().map(str::to_owned).collect();
        self.call_as(login, CallKind::Order, ids).await?.visit(order)
    }
}

#[async_trait]
impl Driver for Mock {
    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    /// Any name will do, as the reference ignores it.
    fn provider(&self, given: Option<&str>) -> Result<String, Error> {
        let given = given.map(str::trim).unwrap_or_default();
        if given.len() > PROVIDER_LEN_MAX || given.contains(char::is_control) {
            let text = format!("A provider's name has at most {PROVIDER_LEN_MAX} bytes and no control characters.");
            return Err(Error::new(Kind::Invalid, text));
        }
        Ok(if given.is_empty() { PROVIDER.to_owned() } else { given.to_lowercase() })
    }

    async fn identify(&self, login: &Login) -> Result<String, Error> {
        self.call_as(login, CallKind::Identify, Vec::new()).await?;
        Ok(login.credentials.user.clone())
    }

    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        self.call_as(login, CallKind::Instances, Vec::new()).await?.visit(|world| Ok(world.instances()))
    }

    async fn instances_again(
        &self,
        login: &Login,
        _: &BTreeMap<InstanceId, Instance>,
        _: Timestamp,
    ) -> Result<Vec<Instance>, Error> {
        self.instances(login).await
    }

    async fn may_modify(&self, _: &Login, _: Collection, _: &str) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error> {
        let about = ids.iter().map(InstanceId::to_string).collect();
        self.call_as(login, CallKind::Look, about).await?.visit(|world| Ok(world.look(ids)))
    }

    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        self.call_as(login, CallKind::Realms, Vec::new()).await?.visit(|world| Ok(world.realms()))
    }

    /// As in the reference, some ids are there to show what an error looks like.
    async fn realm(&self, login: &Login, id: &str) -> Result<Option<Realm>, Error> {
        let cloud = self.call_as(login, CallKind::Realms, vec![id.to_owned()]).await?;
        match id {
            "500" => Err(Error::new(Kind::Failed, "DeltacloudErrorMessage")),
            "501" => Err(Error::new(Kind::Unsupported, "NotImplementedMessage")),
            "502" => Err(Error::new(Kind::Unavailable, "ProviderErrorMessage")),
            "504" => Err(Error::new(Kind::TimedOut, "ProviderTimeoutMessage")),
            _ => cloud.visit(|world| Ok(world.realms().into_iter().find(|realm| realm.id == id))),
        }
    }

    async fn images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        self.look(login, CallKind::Images, ALL, |world| world.images()).await
    }

    async fn images_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Image>, Error> {
        self.look(login, CallKind::Images, ids, |world| world.images_by_id(ids)).await
    }

    async fn create_image(&self, login: &Login, new: &NewImage) -> Result<Image, Error> {
        self.order(login, NEW, |world| world.create_image(new)).await
    }

    async fn destroy_image(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.order(login, [id], |world| world.destroy_image(id)).await
    }

    /// Open to everybody, as [`Abilities::open_hardware_profiles`] says.
    async fn hardware_profiles(&self, login: &Login) -> Result<Vec<HardwareProfile>, Error> {
        self.call(login, CallKind::HardwareProfiles, Vec::new()).await?;
        Ok(fixture::hardware_profiles())
    }

    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        let cloud = self.call_as(login, CallKind::Create, Vec::new()).await?;
        cloud.admit_launch(new.realm.as_deref().unwrap_or(fixture::REALM))?;
        cloud.visit(|world| world.create(new))
    }

    async fn act(&self, login: &Login, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        self.call_as(login, CallKind::Act, vec![id.to_string()]).await?.visit(|world| world.act(id, action))
    }

    fn keys(&self) -> Option<&dyn Keys> {
        Some(self)
    }

    fn storage(&self) -> Option<&dyn Storage> {
        Some(self)
    }

    fn addresses(&self) -> Option<&dyn Addresses> {
        Some(self)
    }

    fn firewalls(&self) -> Option<&dyn Firewalls> {
        None
    }

    fn buckets(&self) -> Option<&dyn Buckets> {
        Some(self)
    }

    fn metrics(&self) -> Option<&dyn Metrics> {
        Some(self)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        Some(self)
    }
}

async fn take(latency: Duration) {
    if !latency.is_zero() {
        #[expect(clippy::disallowed_methods, reason = "a slow cloud is what the setting asks for; it is 0 in tests")]
        tokio::time::sleep(latency).await;
    }
}

#[cfg(test)]
mod tests;
