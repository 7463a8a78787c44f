//! Providers out: one folder per kind of cloud, all behind [`Driver`].
//!
//! A driver lists, gets and acts; it never remembers and never decides what is news. A provider's words stop at this
//! room's door: what leaves it are our nouns, with the native word kept beside ours.
//!
//! Guarantees: a list is complete (every page of it) or an error, never short. `None` or an absent id means that the
//! backend clearly said so. Nothing secret is in an error's text. What a provider says of one thing has bounds.
//!
//! How fast is asked, and whether a call is made again, is decided in one place for all (`pace.rs`, `retry.rs`). What changes something
//! is sent once.
//!
//! Absent on purpose: caches (reads), looking again (poll).

mod addresses;
mod ask;
mod bounded;
mod bucket;
mod buckets;
mod deltacloud;
mod ec2;
mod error;
mod firewalls;
mod keys;
mod line;
mod looked;
mod machine;
mod metrics;
mod mock;
mod networks;
mod openstack;
mod owner;
mod pace;
mod places;
mod reading;
mod registry;
mod retry;
mod storage;

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;

pub use addresses::Addresses;
pub use ask::{lacks, list, list_again, look, storage};
pub use bucket::{Rate as PaceRate, Urgency};
pub use buckets::Buckets;
pub use deltacloud::Settings as DeltacloudSettings;
pub use ec2::Settings as Ec2Settings;
pub use error::{Error, Kind};
pub use firewalls::Firewalls;
pub use keys::Keys;
pub use looked::Looked;
pub use machine::{Machine, Transition};
pub use metrics::Metrics;
pub use mock::{
    CallKind as MockCall, Called as MockCalled, Cloud as MockCloud, Fault as MockFault, Life as MockLife, Mock,
    Rate as MockRate, Settings as MockSettings, Span as MockSpan, Times as MockTimes, Trouble as MockTrouble,
};
pub use networks::Networks;
pub use openstack::Settings as OpenStackSettings;
pub use owner::{must_be, of_account};
pub use pace::{Settings as PaceSettings, raised, waited, within};
pub use registry::{Drivers, Settings};
pub use storage::Storage;

use crate::model::{
    Action, Collection, HardwareProfile, Image, Instance, InstanceId, Login, NewImage, NewInstance, Realm,
};

/// One kind of cloud. Every call is made with the caller's own [`Login`] and asks the backend anew.
///
/// All methods may fail with every [`Kind`] except where they say otherwise. What not every cloud has is a trait of its own
/// ([`Keys`], [`Storage`] …), given by the methods that answer with an `Option`; `Some` exactly where
/// [`Abilities::collections`] names its collections.
#[async_trait]
pub trait Driver: Send + Sync {
    /// What this kind of cloud can do. Static: no call, no credentials.
    fn abilities(&self) -> &Abilities;

    /// The canonical name of a provider, for keys and change bodies: the default filled in, case and spelling folded.
    /// No network. [`Kind::Invalid`] when the text cannot name a provider of this driver.
    fn provider(&self, given: Option<&str>) -> Result<String, Error>;

    /// Asks the backend who these credentials belong to: an EC2 account number, a project id, a user name. Whoever is
    /// identified reads the account's feed and removes its hooks, so they must also be good for looking at instances.
    /// [`Kind::Denied`] when it refuses them, [`Kind::Forbidden`] when they may not look.
    async fn identify(&self, login: &Login) -> Result<String, Error>;

    /// Lists every instance of the account, all pages of it, or fails. In the order of the ids' text.
    /// A cloud that cannot be reached is an error, never an empty list.
    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error>;

    /// As [`Driver::instances`], made cheaper by `known`: what this account's instances were when last listed, at `since`. What
    /// the backend can say in short (states alone, or what changed) is asked for, and details only of those that are new or
    /// not as they were. As complete as a list in what it says of presence and state; whatever is said in no short form
    /// (addresses, names) may be as `known` has it, so that a full list has to come from time to time.
    async fn instances_again(
        &self,
        login: &Login,
        known: &BTreeMap<InstanceId, Instance>,
        since: Timestamp,
    ) -> Result<Vec<Instance>, Error>;

    /// Whether these credentials may change this resource, asked without changing it; `None`: the backend cannot say without
    /// doing it. [`Kind::NotFound`] when it has no such resource.
    async fn may_modify(&self, login: &Login, collection: Collection, id: &str) -> Result<Option<bool>, Error>;

    /// A targeted look: those of `ids` that exist. An id left out is one that the backend, answering well, did not have.
    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error>;

    /// As [`Driver::instances_by_id`], where ids may be asked for one by one: what was answered is kept, and fails only when nothing was.
    async fn look_for_instances(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Looked<Instance>, Error> {
        Ok(Looked::all(self.instances_by_id(login, ids).await?))
    }

    /// Lists every realm, or fails. In the order of the ids' text.
    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error>;

    /// Lists the images the account may use, or fails. Where these are too many to list, those that it owns.
    async fn images(&self, login: &Login) -> Result<Vec<Image>, Error>;

    /// A targeted look: those of `ids` that exist, listed or not.
    async fn images_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Image>, Error>;

    /// As [`Driver::look_for_instances`].
    async fn look_for_images(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Image>, Error> {
        Ok(Looked::all(self.images_by_id(login, ids).await?))
    }

    /// Makes an image of an instance and answers with it as the backend first shows it. [`Kind::NotFound`] for an unknown
    /// instance, [`Kind::Failed`] for one that cannot be imaged ([`Instance::can_create_image`]).
    async fn create_image(&self, login: &Login, new: &NewImage) -> Result<Image, Error>;

    /// [`Kind::NotFound`] for an unknown image.
    async fn destroy_image(&self, login: &Login, id: &str) -> Result<(), Error>;

    /// All sizes, sorted by the defaults of cpu, then memory; those lacking either come last.
    async fn hardware_profiles(&self, login: &Login) -> Result<Vec<HardwareProfile>, Error>;

    /// Creates `new.count` instances and answers with them as the backend first shows them.
    /// [`Kind::Invalid`] when image, realm or profile make no sense to the backend.
    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error>;

    /// Asks for an action and answers with the instance as read back at once; `None` when nothing is left to read, or when it
    /// was done and could not be read back.
    /// [`Kind::NotFound`] for an unknown instance, [`Kind::Conflict`] when the backend refuses the action for the state the
    /// instance is in. A backend may take more than [`Instance::actions`] offers, as EC2 ends what is running: whoever asks
    /// looks first, and asks for what is offered.
    async fn act(&self, login: &Login, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error>;

    /// One instance; `None`: the backend clearly does not have it.
    async fn instance(&self, login: &Login, id: &InstanceId) -> Result<Option<Instance>, Error> {
        Ok(self.instances_by_id(login, &BTreeSet::from([id.clone()])).await?.pop())
    }

    /// One image, listed or not; `None`: the backend clearly does not have it.
    async fn image(&self, login: &Login, id: &str) -> Result<Option<Image>, Error> {
        Ok(self.images_by_id(login, &BTreeSet::from([id.to_owned()])).await?.pop())
    }

    /// One realm; `None`: the backend clearly does not have it.
    async fn realm(&self, login: &Login, id: &str) -> Result<Option<Realm>, Error> {
        Ok(self.realms(login).await?.into_iter().find(|realm| realm.id == id))
    }

    /// The collection `keys`.
    fn keys(&self) -> Option<&dyn Keys>;

    /// The collections `storage_volumes` and `storage_snapshots`.
    fn storage(&self) -> Option<&dyn Storage>;

    /// The collection `addresses`.
    fn addresses(&self) -> Option<&dyn Addresses>;

    /// The collection `firewalls`.
    fn firewalls(&self) -> Option<&dyn Firewalls>;

    /// The collection `buckets`.
    fn buckets(&self) -> Option<&dyn Buckets>;

    /// The collection `metrics`.
    fn metrics(&self) -> Option<&dyn Metrics>;

    /// The collections `networks`, `subnets` and `network_interfaces`.
    fn networks(&self) -> Option<&dyn Networks>;
}

/// What a kind of cloud can do, declared rather than discovered by failing.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// `mock`, `ec2`.
    pub id: &'static str,
    /// Lower-cased it must equal the id: `Mock`, `EC2`.
    pub name: &'static str,
    /// Collections this driver offers besides `drivers` and `instance_states`, by their name in paths.
    pub collections: &'static [&'static str],
    /// Features from contract 1.2, with the collection they belong to.
    pub features: &'static [(&'static str, Feature)],
    pub machine: &'static Machine,
    /// What has ended stays listed for a while (EC2: an hour), so that leaving the list without an end is no user's doing.
    pub lists_ended: bool,
    /// More than one server answers, so that right after a change an answer may show what was before, also after another showed
    /// what is now.
    pub may_lag: bool,
    /// A realm's id names another place in each account, so that only [`crate::model::Realm::place`] says what is the same.
    pub realms_differ: bool,
    /// Nobody has to ask whose the credentials are before something is concluded from an answer: calls for another account than is
    /// wanted ([`of_account`]) fail by themselves, or credentials name their account.
    pub identity_is_sure: bool,
    /// What is listed again ([`Driver::instances_again`]) is only what changed; of all others the provider says nothing.
    pub lists_changes: bool,
    /// Providers known without asking anyone.
    pub providers: &'static [Provider],
    /// Its hardware profiles may be listed without credentials.
    pub open_hardware_profiles: bool,
}

/// A feature, the operation it belongs to and the request parameters it adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    pub name: &'static str,
    /// `create` or `index`.
    pub operation: &'static str,
    pub params: &'static [&'static str],
}

/// A provider and its entry points as (kind, host): `("ec2", "ec2.eu-west-1.amazonaws.com")`.
#[derive(Clone, Copy, Debug)]
pub struct Provider {
    pub id: &'static str,
    pub entrypoints: &'static [(&'static str, &'static str)],
}
