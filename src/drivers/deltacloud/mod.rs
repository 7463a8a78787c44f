//! An upstream Deltacloud server, whatever driver is behind it, as a cloud: Tracker in front of an installation that is there
//! already. Another Tracker is such a server, too.
//!
//! Guarantees: absence is the upstream's own word, an error document of Deltacloud's with 404 about the very member that was
//! asked for, or a whole list without it. What is empty, cut short, another document, somebody else's page or a redirect is
//! an error. Links are followed to below the API's root on the same server only, so credentials go nowhere else. An answer
//! of another driver than the one that was named is an error: that would be another cloud.
//!
//! An account is a user name there, and whoever the upstream lets in is that user. An upstream that lets in anybody (it has
//! credentials of its own) cannot say who is who, and is refused.
//!
//! Accepted races. Deltacloud acts on what it sees: an instance's links are read first, and what they offer may be over when
//! it is asked for; the upstream then refuses. Instances that are asked for one by one because the list has no states are
//! not of one moment.
//!
//! Absent on purpose: retries (the next pass), firewalls, load balancers, buckets, metrics and networks (nothing there is
//! tracked), a launch of several in one call (the reference launches them and then breaks), the upstream's own native
//! words (its wire has none: `native_state` is the upstream's state as it came), and loops (an upstream that is this
//! Tracker itself ends at the time-out).

mod abilities;
mod calls;
mod client;
mod document;
mod fault;
mod images;
mod instances;
mod map;
mod others;
mod provider;
mod settings;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use self::calls::{HARDWARE_PROFILES, INSTANCES, REALMS};
use self::client::{Client, Question};
pub use self::settings::Settings;
use super::{Abilities, Addresses, Buckets, Driver, Error, Firewalls, Keys, Kind, Looked, Metrics, Networks, Storage};
use crate::clock::Clock;
use crate::drivers::pace::Budget;
use crate::model::{
    Action, Collection, HardwareProfile, Image, Instance, InstanceId, Login, NewImage, NewInstance, Realm,
};
use crate::outbound::Outbound;

pub(super) struct Deltacloud {
    settings: Settings,
    client: Client,
}

impl Deltacloud {
    /// Clock for dates that an upstream says it may be asked again after.
    pub(super) fn new(settings: Settings, outbound: Outbound, clock: Arc<dyn Clock>, budget: Budget) -> Self {
        let client = Client::new(&settings, outbound, clock, budget);
        Self { settings, client }
    }

    /// Fails unless the upstream turns away who shows nothing.
    async fn must_be_guarded(&self, login: &Login) -> Result<(), Error> {
        let target = self.client.target(login)?;
        let question = Question::get("GET instances as nobody", target.at(&[INSTANCES.plural]));
        match self.client.ask(&target, None, question).await {
            Err(failed) if matches!(failed.error.kind, Kind::Denied | Kind::Forbidden) => Ok(()),
            Err(failed) => Err(failed.error),
            Ok(_) => {
                let text = "The upstream lets in everybody, so it cannot say whose credentials these are";
                Err(Error::new(Kind::Forbidden, text))
            }
        }
    }
}

#[async_trait]
impl Driver for Deltacloud {
    fn abilities(&self) -> &Abilities {
        &abilities::DELTACLOUD
    }

    fn provider(&self, given: Option<&str>) -> Result<String, Error> {
        self.client.provider(given).map(|provider| provider.canonical())
    }

    /// The user's name. That they are good shows in the list of instances, which no driver gives without asking its cloud.
    async fn identify(&self, login: &Login) -> Result<String, Error> {
        self.must_be_guarded(login).await?;
        self.list(login, INSTANCES).await?;
        Ok(login.credentials.user.clone())
    }

    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        self.list_instances(login).await
    }

    /// Deltacloud has no shorter list.
    async fn instances_again(
        &self,
        login: &Login,
        _: &BTreeMap<InstanceId, Instance>,
        _: Timestamp,
    ) -> Result<Vec<Instance>, Error> {
        self.list_instances(login).await
    }

    async fn may_modify(&self, _: &Login, _: Collection, _: &str) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error> {
        Driver::look_for_instances(self, login, ids).await?.whole()
    }

    async fn look_for_instances(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Looked<Instance>, Error> {
        self.members_of_instances(login, &ids.iter().map(|id| id.0.clone()).collect()).await
    }

    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        Ok(self.list(login, REALMS).await?.values().map(map::realm).collect())
    }

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
        self.image_instance(login, new).await
    }

    async fn destroy_image(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.destroy(login, calls::IMAGES, id).await
    }

    /// Many upstreams give them to anybody, so something else is asked for with these credentials beside.
    async fn hardware_profiles(&self, login: &Login) -> Result<Vec<HardwareProfile>, Error> {
        let (realms, profiles) = futures_util::join!(self.list(login, REALMS), self.list(login, HARDWARE_PROFILES));
        realms?;
        Ok(map::profiles(profiles?.values()))
    }

    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        self.create_instances(login, new).await
    }

    async fn act(&self, login: &Login, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        self.act_on_instance(login, id, action).await
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
        None
    }

    fn metrics(&self) -> Option<&dyn Metrics> {
        None
    }

    fn networks(&self) -> Option<&dyn Networks> {
        None
    }
}
