//! OpenStack, with whatever its Keystone's catalog leads to: Nova's servers, zones, flavors and keys, Glance's images, Cinder's
//! volumes and snapshots. Keystone v3 only, by password or application credential. `design/openstack.md` has it for users.
//!
//! Guarantees: a list is every page of it or an error. An answer that is cut short, or is not the service's (a proxy's
//! page, a portal, a 404 of no service), is [`Kind::Unavailable`], never an empty list and never "not there". A token is
//! asked for once however many calls need it, renewed before it ends, when its catalog is old, and once for a call that a service
//! refuses or that leads nowhere. Passwords, tokens,
//! user data and the private halves of keys are in no error and no log.
//!
//! Accepted races. A token outlives the password it was made with by minutes at most where Keystone revokes it, and until it
//! ends where it does not; [`Driver::identify`] always shows Keystone the password itself. A list is read page by page, so a
//! server that moves between pages may come twice: the later one counts. What is looked at before it is acted upon may have
//! changed by then, and the cloud refuses what no longer fits. Servers of a cell that does not answer are listed as
//! `UNKNOWN` with little else, and are left out by clouds from before 2.69: these show a shorter list, and say nothing.
//!
//! What Nova shows between two states it shows in `task_state`, so states are made of both words (`map/states.rs`). The death
//! of a host changes neither: [`Instance::impaired`] has it where the role may see it, and only a full list brings it.
//!
//! Absent on purpose: retries (the next pass), federated logins and tokens brought by callers (there is nothing to renew
//! them with), Keystone v2, floating addresses and security groups as collections, networks, user and password of machines.

mod abilities;
mod blame;
mod calls;
mod catalog;
mod client;
mod fault;
mod images;
mod instances;
mod keys;
mod map;
mod parse;
mod provider;
mod realms;
mod session;
mod settings;
mod storage;
mod who;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use self::catalog::Service;
use self::client::{Ask, Client};
use self::session::Wanted;
pub use self::settings::Settings;
use super::{Abilities, Addresses, Buckets, Driver, Error, Firewalls, Keys, Kind, Looked, Metrics, Networks, Storage};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::drivers::pace::Budget;
use crate::model::{
    Action, Collection, HardwareProfile, Image, Instance, InstanceId, Login, NewImage, NewInstance, Realm, is_id,
};
use crate::outbound::Outbound;

pub(super) struct OpenStack {
    settings: Settings,
    client: Client,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
}

impl OpenStack {
    /// Clock for the ends of tokens, chance for the key of their table and for names that nobody gave.
    pub(super) fn new(
        settings: Settings,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        budget: Budget,
    ) -> Self {
        let client = Client::new(&settings, outbound, clock.clone(), &chance, budget);
        Self { settings, client, clock, chance }
    }

    /// A name that no other server has. It becomes a host's, so it has only letters, digits and dashes.
    fn token(&self) -> String {
        self.chance.id("inst", self.clock.now()).replace('_', "-")
    }

    async fn delete(&self, login: &Login, service: Service, path: &[&str]) -> Result<(), Error> {
        if !path.iter().all(|part| is_id(part)) {
            self.client.session(login, Wanted::Any).await?;
            return Err(Error::new(Kind::NotFound, "There is nothing of that name"));
        }
        self.client.send(login, Ask::delete(service, path)).await?;
        Ok(())
    }
}

#[async_trait]
impl Driver for OpenStack {
    fn abilities(&self) -> &Abilities {
        &abilities::OPENSTACK
    }

    fn provider(&self, given: Option<&str>) -> Result<String, Error> {
        provider::parse(given, &self.settings).map(|provider| provider.canonical())
    }

    /// The project, so that all who work in it, and its application credentials, are one account.
    async fn identify(&self, login: &Login) -> Result<String, Error> {
        let session = self.client.session(login, Wanted::New).await?;
        // Whoever has a token need not have a role that sees servers.
        let look = Ask::get(Service::Compute, &["servers"]).with("limit", 1);
        let _: parse::Servers = self.client.call(login, look).await?;
        Ok(session.project.clone())
    }

    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        self.list_instances(login).await
    }

    async fn instances_again(
        &self,
        login: &Login,
        known: &BTreeMap<InstanceId, Instance>,
        since: Timestamp,
    ) -> Result<Vec<Instance>, Error> {
        self.list_changes(login, known, since).await
    }

    /// Nova has no way to ask.
    async fn may_modify(&self, _: &Login, _: Collection, _: &str) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error> {
        Driver::look_for_instances(self, login, ids).await?.whole()
    }

    async fn look_for_instances(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Looked<Instance>, Error> {
        self.look_for_servers(login, &ids.iter().map(|id| id.0.clone()).collect()).await
    }

    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        self.zones(login).await
    }

    /// Public and shared ones too; clouds have some dozens of them.
    async fn images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        self.list_images(login).await
    }

    async fn images_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Image>, Error> {
        Driver::look_for_images(self, login, ids).await?.whole()
    }

    async fn look_for_images(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Image>, Error> {
        self.images_one_by_one(login, ids).await
    }

    async fn create_image(&self, login: &Login, new: &NewImage) -> Result<Image, Error> {
        self.image_server(login, new).await
    }

    async fn destroy_image(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.delete_image(login, id).await
    }

    async fn hardware_profiles(&self, login: &Login) -> Result<Vec<HardwareProfile>, Error> {
        Ok(map::profiles(self.sizes(login).await?))
    }

    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        self.create_servers(login, new).await
    }

    async fn act(&self, login: &Login, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        self.act_on_server(login, id, action).await
    }

    fn keys(&self) -> Option<&dyn Keys> {
        Some(self)
    }

    fn storage(&self) -> Option<&dyn Storage> {
        Some(self)
    }

    fn addresses(&self) -> Option<&dyn Addresses> {
        None
    }

    fn firewalls(&self) -> Option<&dyn Firewalls> {
        None
    }

    fn buckets(&self) -> Option<&dyn Buckets> {
        None
    }

    fn metrics(&self) -> Option<&dyn Metrics> {
        None
    }

    fn networks(&self) -> Option<&dyn Networks> {
        None
    }
}
