//! EC2, and clouds that speak its Query API: instances, zones, images, sizes, keys, volumes and snapshots, addresses, security
//! groups, and whom credentials belong to.
//!
//! Guarantees: a list is every page of it or an error. An answer that is cut short, or is not EC2's (a proxy's page, a
//! portal), is [`Kind::Unavailable`], never an empty list. A throttled, refused or failed call says so and nothing about
//! any resource. The secret key, signatures, user data and the private halves of keys are in no error; an access key id is
//! shown masked.
//!
//! Accepted races. EC2 is eventually consistent: a new instance may be missing from a look for seconds, up to about five
//! minutes, and a read right after an action may still show the state before it. After an action the newer of the two
//! answers is given; what is not readable yet is `None` rather than a half-empty instance, whose blanks would read as
//! news. EC2 ends what runs as well as what is stopped, so a machine that somebody starts between a caller's look and its
//! `destroy` is ended: a look of our own would only be a little newer, and one call more. A list is read page by page, so
//! an instance that moves between pages may come twice: the later one counts.
//!
//! What a call is about is sometimes looked for first (where a volume is, what EC2 calls an address, a free device) and may
//! change before the call that follows. EC2 then refuses what no longer fits, but for one: an address of a default network
//! that is given to an instance in the moment between our look and its release is released all the same.
//!
//! EC2's checks of an instance, and what AWS will do to it (scheduled events; those done or called off are left out), are said only by
//! the short list, `DescribeInstanceStatus`. Both lists ask for it, so that they know what is impaired and announced; a look by ids does
//! not, as EC2 cannot be asked of ids that may not exist: there nothing is impaired, until the next list, and nothing is said of what
//! is announced. The two lists are not of one moment, and need not agree: what is in either is there, and of what they
//! disagree on the details count.
//!
//! Zones: all that EC2 shows the account are realms, local zones and those of carriers (Wavelength) among them, as machines
//! can run in each. EC2 does not show those that the account has not opted into; what other clouds show of them is left out.
//! A zone's name means another place in each account; `place` has the name that does not.
//!
//! Absent on purpose: retries (the next pass), subnets as realms (`zone:subnet` ids are neither shown nor taken),
//! temporary credentials (a session token has no place in user and password), credential chains of the machine Tracker
//! runs on (callers show their own), an image's hardware profiles (hundreds for each image; the architecture says it),
//! rules about who may go out, and volumes of several instances at once (they show the first, and are attached to one).

mod abilities;
mod addresses;
mod again;
mod blame;
mod calls;
mod client;
mod consent;
mod devices;
mod fault;
mod firewalls;
mod images;
mod instances;
mod keys;
mod map;
mod parse;
mod provider;
mod settings;
mod storage;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use self::calls::in_order;
use self::client::{Client, Params, Target};
pub use self::settings::Settings;
use super::{Abilities, Addresses, Buckets, Driver, Error, Firewalls, Keys, Metrics, Networks, Storage};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::drivers::pace::Budget;
use crate::model::{
    Action, Collection, HardwareProfile, Image, Instance, InstanceId, Login, NewImage, NewInstance, Realm,
};
use crate::outbound::Outbound;

/// EC2's largest page of instance types.
const TYPES_PAGE_MAX: u32 = 100;

pub(super) struct Ec2 {
    settings: Settings,
    client: Client,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
}

impl Ec2 {
    /// Clock for signing, chance for the tokens that keep a repeated create from making twice as many.
    pub(super) fn new(
        settings: Settings,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
        budget: Budget,
    ) -> Self {
        let client = Client::new(&settings, outbound, clock.clone(), budget);
        Self { settings, client, clock, chance }
    }

    /// A word that no other create has said.
    fn token(&self) -> String {
        self.chance.id("tracker", self.clock.now())
    }
}

#[async_trait]
impl Driver for Ec2 {
    fn abilities(&self) -> &Abilities {
        &abilities::EC2
    }

    fn provider(&self, given: Option<&str>) -> Result<String, Error> {
        provider::parse(given).map(|provider| provider.canonical())
    }

    /// The account number, so that all keys of an account, and of its users and roles, are one account.
    async fn identify(&self, login: &Login) -> Result<String, Error> {
        let target = Target::sts(&provider::parse(login.provider.as_deref())?, &self.settings);
        let identity: parse::Identity =
            self.client.call(&login.credentials, &target, "GetCallerIdentity", Params::default()).await?;
        // STS answers every key of the account, also one that may not see a single instance of it.
        let _: parse::Instances =
            self.call(login, "DescribeInstances", Params::default().with("MaxResults", settings::PAGE_MIN)).await?;
        Ok(identity.result.account)
    }

    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        self.list_instances(login).await
    }

    async fn instances_again(
        &self,
        login: &Login,
        known: &BTreeMap<InstanceId, Instance>,
        _: Timestamp,
    ) -> Result<Vec<Instance>, Error> {
        self.list_instances_again(login, known).await
    }

    async fn may_modify(&self, login: &Login, collection: Collection, id: &str) -> Result<Option<bool>, Error> {
        self.ask_consent(login, collection, id).await
    }

    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error> {
        self.look_for_instances(login, &ids.iter().map(|id| id.0.clone()).collect()).await
    }

    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        let zones: parse::Zones = self.call(login, "DescribeAvailabilityZones", Params::default()).await?;
        Ok(in_order(zones.zones.items.into_iter().filter_map(map::realm), |realm| &realm.id))
    }

    /// The account's own images: those it may use besides are tens of thousands.
    async fn images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        self.list_images(login).await
    }

    /// Any image, also one of others.
    async fn images_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Image>, Error> {
        self.look_for_images(login, ids).await
    }

    async fn create_image(&self, login: &Login, new: &NewImage) -> Result<Image, Error> {
        self.image_instance(login, new).await
    }

    async fn destroy_image(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.deregister_image(login, id).await
    }

    async fn hardware_profiles(&self, login: &Login) -> Result<Vec<HardwareProfile>, Error> {
        let page_size = self.settings.page_size.min(TYPES_PAGE_MAX);
        let types =
            self.pages::<parse::InstanceTypes>(login, "DescribeInstanceTypes", Params::default(), page_size).await?;
        Ok(map::profiles(types))
    }

    /// Neither a name (this driver has no `user_name`: a tag would need one permission more) nor sizes besides the
    /// profile's are used.
    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        self.run_instances(login, new).await
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
        Some(self)
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
