//! One account's cloud. Pure: told the time, it catches up with it, event by event; chance comes from its seed.
//!
//! Guarantees: its state at a time is a function of its seed, its settings and what was asked of it when. Looking at it
//! changes nothing, and neither does how often. Time that stands still or goes back moves nothing.
//!
//! Accepted: a world that nobody looked at for hours slept through most of them ([`CATCH_UP_MAX`]), so that a look is
//! never long.

mod addresses;
mod buckets;
mod ids;
mod images;
mod instances;
mod keys;
mod life;
mod metrics;
mod networks;
mod queue;
#[cfg(test)]
mod stage;
mod storage;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use self::buckets::Stored;
use self::ids::Ids;
use self::keys::Fingerprint;
use self::queue::{Place, Queue};
use self::storage::Copied;
use super::fixture::{self, Furniture};
use super::settings::{Life, Settings};
use crate::chance::Chance;
use crate::drivers::{Error, Kind, Machine};
use crate::model::{
    Declared, Image, Instance, InstanceId, Network, NetworkInterface, PublicAddress, Realm, RealmState, Subnet, Volume,
};

/// How much a look makes up for; what is beyond was slept through.
const CATCH_UP_MAX: Duration = Duration::from_secs(6 * 3_600);

/// Longer names and descriptions are refused. Bytes.
const TEXT_LEN_MAX: usize = 1_024;

/// What holds in every world of a cloud.
#[derive(Clone)]
pub(super) struct Rules {
    /// `None`: nothing moves by itself, and everything asked is done at once.
    pub(super) life: Option<Life>,
    pub(super) machine: &'static Machine,
    pub(super) instances_max: usize,
    /// Of everything else, each kind for itself.
    pub(super) resources_max: usize,
    /// One blob with its metadata.
    pub(super) blob_bytes_max: usize,
    /// All blobs together.
    pub(super) blobs_bytes_max: usize,
}

impl Rules {
    pub(super) fn of(settings: &Settings) -> Self {
        Self {
            life: settings.lively.then(|| settings.life.clone()),
            machine: fixture::machine(settings.lively),
            instances_max: settings.instances_max,
            resources_max: settings.resources_max,
            blob_bytes_max: settings.blob_bytes_max,
            blobs_bytes_max: settings.blobs_bytes_max,
        }
    }
}

pub(super) struct World {
    rules: Rules,
    owner: String,
    /// The last event was not later, and everything planned is.
    now: Timestamp,
    /// How far `now` is behind the clock for having slept.
    slept: Duration,
    instances: BTreeMap<InstanceId, Kept<Instance>>,
    realms: BTreeMap<String, Realm>,
    images: BTreeMap<String, Kept<Image>>,
    volumes: BTreeMap<String, Kept<Volume>>,
    snapshots: BTreeMap<String, Kept<Copied>>,
    keys: BTreeMap<String, Fingerprint>,
    addresses: BTreeMap<String, PublicAddress>,
    /// By bucket and blob.
    buckets: BTreeMap<String, BTreeMap<String, Stored>>,
    networks: BTreeMap<String, Network>,
    subnets: BTreeMap<String, Subnet>,
    interfaces: BTreeMap<String, NetworkInterface>,
    queue: Queue,
    ids: Ids,
    seed: u64,
    chance: Chance,
}

/// One of what moves by itself.
struct Kept<T> {
    it: T,
    /// How it goes on by itself.
    step: Option<Place>,
}

impl World {
    pub(super) fn new(rules: Rules, owner: &str, start: Timestamp, seed: u64, furniture: Furniture) -> Self {
        let mut world = Self {
            ids: Ids::new(rules.life.is_some()),
            rules,
            owner: owner.to_owned(),
            now: start,
            slept: Duration::ZERO,
            instances: BTreeMap::new(),
            realms: fixture::realms().into_iter().map(|realm| (realm.id.clone(), realm)).collect(),
            images: fixture::images().into_iter().map(|image| (image.id.clone(), Kept::new(image))).collect(),
            volumes: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            keys: BTreeMap::new(),
            addresses: BTreeMap::new(),
            buckets: BTreeMap::new(),
            networks: BTreeMap::new(),
            subnets: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            queue: Queue::default(),
            seed,
            chance: Chance::seeded(seed),
        };
        world.furnish(furniture);
        if let Some(life) = world.rules.life.clone() {
            world.begin(&life);
        }
        world
    }

    fn furnish(&mut self, furniture: Furniture) {
        let Furniture { instances, volumes, snapshots, keys, addresses, blobs, networks, subnets, interfaces } =
            furniture;
        for mut instance in instances {
            instance.actions = self.rules.machine.actions(instance.state);
            self.instances.insert(instance.id.clone(), Kept::new(instance));
        }
        self.furnish_storage(volumes, snapshots);
        self.keys = keys.into_iter().map(|(name, fingerprint)| (name, Fingerprint(fingerprint))).collect();
        self.addresses = addresses.into_iter().map(|address| (address.ip.clone(), address)).collect();
        for (bucket, modified, blob) in blobs {
            let stored = Stored::new(&bucket, &blob, modified);
            self.buckets.entry(bucket).or_default().insert(blob.id, stored);
        }
        self.networks = networks.into_iter().map(|network| (network.id.clone(), network)).collect();
        self.subnets = subnets.into_iter().map(|subnet| (subnet.id.clone(), subnet)).collect();
        self.interfaces = interfaces.into_iter().map(|interface| (interface.id.clone(), interface)).collect();

        self.ids.skip("inst", self.instances.keys().map(InstanceId::as_str));
        self.ids.skip("img", self.images.keys());
        self.ids.skip("vol", self.volumes.keys());
        self.ids.skip("snap", self.snapshots.keys());
        self.ids.skip("net", self.networks.keys());
        self.ids.skip("subnet", self.subnets.keys());
        self.ids.skip("nic", self.interfaces.keys());
    }

    /// What the clock showed when the world was last told.
    fn clock(&self) -> Timestamp {
        self.now + self.slept
    }

    fn is_lively(&self) -> bool {
        self.rules.life.is_some()
    }

    /// One more of a kind, of which there are `len`.
    fn make_room(&self, len: usize, kind: &str) -> Result<(), Error> {
        let most = self.rules.resources_max;
        if len >= most {
            return Err(Error::new(Kind::Forbidden, format!("The mock cloud keeps at most {most} {kind}.")));
        }
        Ok(())
    }

    /// Lets everything happen whose time has come.
    pub(super) fn advance(&mut self, clock: Timestamp) {
        let behind = (clock - self.slept).duration_since(self.now);
        // Negative: the clock went back.
        let Ok(behind) = Duration::try_from(behind) else { return };
        self.slept += behind.saturating_sub(CATCH_UP_MAX);
        let to = clock - self.slept;
        while self.queue.next_at().is_some_and(|at| at <= to) {
            self.next_event();
        }
        self.now = to;
    }

    /// Lets the first of what is planned happen.
    fn next_event(&mut self) {
        if let Some((at, event)) = self.queue.pop()
            && let Some(life) = self.rules.life.clone()
        {
            self.now = at;
            self.happen(event, &life);
        }
    }

    pub(super) fn realms(&self) -> Vec<Realm> {
        self.realms.values().cloned().collect()
    }

    /// A realm that is not there comes to be.
    pub(super) fn set_realm(&mut self, id: &str, state: RealmState, message: Option<&str>) {
        let realm = self.realms.entry(id.to_owned()).or_insert_with(|| fixture::realm(id, id));
        realm.state = state;
        realm.declared = match state {
            RealmState::Available => Declared::Up,
            RealmState::Unavailable => Declared::Down,
        };
        realm.native_state = state.as_str().to_owned();
        realm.messages = message.map(str::to_owned).into_iter().collect();
    }

    pub(super) fn declare_realm(&mut self, id: &str, declared: Declared) {
        let realm = self.realms.entry(id.to_owned()).or_insert_with(|| fixture::realm(id, id));
        realm.state = declared.wire();
        realm.declared = declared;
        realm.native_state = format!("{declared:?}").to_lowercase();
    }

    pub(super) fn withdraw_realm(&mut self, id: &str) {
        self.realms.remove(id);
    }
}

impl<T> Kept<T> {
    fn new(it: T) -> Self {
        Self { it, step: None }
    }
}

/// `what`: `Instance`, as in the answer.
fn unknown(what: &str, id: &str) -> Error {
    Error::new(Kind::NotFound, format!("{what} '{id}' does not exist."))
}

fn conflict(text: String) -> Error {
    Error::new(Kind::Conflict, text)
}

fn invalid(text: String) -> Error {
    Error::new(Kind::Invalid, text)
}

/// Checks names and descriptions.
fn fit<'a>(texts: impl IntoIterator<Item = Option<&'a String>>) -> Result<(), Error> {
    match texts.into_iter().flatten().find(|text| text.len() > TEXT_LEN_MAX) {
        Some(text) => Err(invalid(format!("A text of {} bytes: at most {TEXT_LEN_MAX}.", text.len()))),
        None => Ok(()),
    }
}

/// Checks a name that will be an id, so part of a path.
fn fit_for_id(name: &str) -> Result<(), Error> {
    let odd = name.is_empty() || name == "." || name == ".." || name.contains(|c: char| c == '/' || c.is_control());
    if odd || name.len() > TEXT_LEN_MAX {
        let text =
            format!("A name has 1 to {TEXT_LEN_MAX} bytes, no slash and no control character, and is not a path.");
        return Err(invalid(text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::stage::reference;
    use super::*;

    #[test]
    fn a_realm_speaks_while_it_is_down_and_can_come_and_go() {
        let mut world = reference();
        world.set_realm("us", RealmState::Unavailable, Some("flood"));
        world.set_realm("ap", RealmState::Available, None);
        world.withdraw_realm("eu");
        let realms = world.realms();
        assert_eq!(realms.iter().map(|realm| realm.id.as_str()).collect::<Vec<_>>(), ["ap", "us"]);
        assert_eq!((realms[1].state, realms[1].native_state.as_str()), (RealmState::Unavailable, "UNAVAILABLE"));
        assert_eq!(realms[1].messages, ["flood"]);
        world.set_realm("us", RealmState::Available, None);
        assert_eq!(world.realms()[1], fixture::realm("us", "United States"));
    }
}
