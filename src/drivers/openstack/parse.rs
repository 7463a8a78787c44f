//! The services' answers, as far as we read them. What a cloud may leave out, for its age or the caller's role, may be missing.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::calls::Page;
use crate::drivers::reading::members;
use crate::model::Secret;

#[derive(Debug, Deserialize)]
pub(super) struct Link {
    #[serde(default, deserialize_with = "or_default")]
    rel: String,
    #[serde(default, deserialize_with = "or_default")]
    href: String,
}

fn next(links: Vec<Link>) -> Option<String> {
    links.into_iter().find(|link| link.rel == "next").map(|link| link.href)
}

/// What may be left out may also be null: one such member must not fail its list.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The text, unless there is none in it.
pub(super) fn filled(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

#[derive(Debug, Deserialize)]
pub(super) struct Servers {
    #[serde(deserialize_with = "members")]
    servers: Vec<Server>,
    #[serde(default, deserialize_with = "or_default")]
    servers_links: Vec<Link>,
}

impl Page for Servers {
    type Member = Server;

    fn into_parts(self) -> (Vec<Server>, Option<String>) {
        (self.servers, next(self.servers_links))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct OneServer {
    pub(super) server: Server,
}

/// One whose cell is down has an id, an owner and the status `UNKNOWN`, and not much else.
#[derive(Debug, Deserialize)]
pub(super) struct Server {
    pub(super) id: String,
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: String,
    #[serde(rename = "OS-EXT-STS:task_state")]
    pub(super) task_state: Option<String>,
    #[serde(rename = "OS-EXT-STS:vm_state")]
    pub(super) vm_state: Option<String>,
    /// 1 runs, 3 is paused, 4 is shut down.
    #[serde(rename = "OS-EXT-STS:power_state")]
    pub(super) power_state: Option<i64>,
    #[serde(rename = "OS-EXT-AZ:availability_zone")]
    pub(super) zone: Option<String>,
    /// An object, or an empty text for one that was started from a volume.
    #[serde(default, deserialize_with = "id_of")]
    pub(super) image: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) flavor: Flavor,
    pub(super) tenant_id: Option<String>,
    pub(super) created: Option<String>,
    pub(super) updated: Option<String>,
    pub(super) key_name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) addresses: BTreeMap<String, Option<Vec<NetAddress>>>,
    #[serde(rename = "accessIPv4")]
    pub(super) access_ipv4: Option<String>,
    #[serde(default, rename = "os-extended-volumes:volumes_attached", deserialize_with = "or_default")]
    pub(super) volumes: Vec<Attached>,
    pub(super) fault: Option<ServerFault>,
    /// `None`: the role may not see it, or Nova is too old.
    pub(super) host_status: Option<String>,
}

/// An id up to 2.46, the flavor itself from 2.47 on.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Flavor {
    pub(super) id: Option<String>,
    pub(super) original_name: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NetAddress {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) addr: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) version: u8,
    #[serde(rename = "OS-EXT-IPS:type")]
    pub(super) kind: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Attached {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerFault {
    pub(super) code: Option<u64>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) message: String,
}

fn id_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok(value.get("id").and_then(Value::as_str).map(str::to_owned))
}

/// The answer to a create: an id, or that of the reservation of several.
#[derive(Debug, Deserialize)]
pub(super) struct Created {
    pub(super) server: Option<CreatedServer>,
    pub(super) reservation_id: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CreatedServer {
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct CreatedImage {
    pub(super) image_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Zones {
    #[serde(rename = "availabilityZoneInfo", deserialize_with = "members")]
    pub(super) zones: Vec<Zone>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Zone {
    #[serde(rename = "zoneName")]
    pub(super) name: String,
    #[serde(rename = "zoneState")]
    pub(super) state: ZoneState,
    /// Services by host and name; `None` where the caller may not see them.
    pub(super) hosts: Option<BTreeMap<String, BTreeMap<String, ZoneService>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ZoneState {
    pub(super) available: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct ZoneService {
    /// It reports.
    pub(super) available: bool,
    /// Nobody disabled it.
    pub(super) active: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Services {
    #[serde(deserialize_with = "members")]
    pub(super) services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) binary: String,
    pub(super) host: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) zone: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) state: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Flavors {
    #[serde(deserialize_with = "members")]
    flavors: Vec<Size>,
    #[serde(default, deserialize_with = "or_default")]
    flavors_links: Vec<Link>,
}

impl Page for Flavors {
    type Member = Size;

    fn into_parts(self) -> (Vec<Size>, Option<String>) {
        (self.flavors, next(self.flavors_links))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Size {
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    pub(super) vcpus: Option<u64>,
    /// MiB.
    pub(super) ram: Option<u64>,
    /// GiB.
    pub(super) disk: Option<u64>,
    #[serde(default, rename = "OS-FLV-DISABLED:disabled", deserialize_with = "or_default")]
    pub(super) disabled: bool,
}

/// A network of Neutron's.
#[derive(Debug, Deserialize)]
pub(super) struct Network {
    pub(super) id: String,
    name: Option<String>,
    #[serde(default, rename = "router:external", deserialize_with = "or_default")]
    pub(super) external: bool,
    pub(super) tenant_id: Option<String>,
    pub(super) project_id: Option<String>,
}

impl Network {
    /// `lan (ID)`: a name may be anything, and long.
    pub(super) fn shown(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default().chars().filter(|char| !char.is_control());
        format!("{} ({})", name.take(NAME_CHARS_SHOWN).collect::<String>(), self.id)
    }
}

const NAME_CHARS_SHOWN: usize = 40;

#[derive(Debug, Deserialize)]
pub(super) struct Networks {
    #[serde(deserialize_with = "members")]
    networks: Vec<Network>,
    #[serde(default, deserialize_with = "or_default")]
    networks_links: Vec<Link>,
}

impl Page for Networks {
    type Member = Network;

    fn into_parts(self) -> (Vec<Network>, Option<String>) {
        (self.networks, next(self.networks_links))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Images {
    #[serde(deserialize_with = "members")]
    images: Vec<Image>,
    next: Option<String>,
}

impl Page for Images {
    type Member = Image;

    fn into_parts(self) -> (Vec<Image>, Option<String>) {
        (self.images, self.next)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) status: Option<String>,
    pub(super) owner: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) protected: bool,
    pub(super) created_at: Option<String>,
    pub(super) description: Option<String>,
    pub(super) architecture: Option<String>,
    pub(super) hw_architecture: Option<String>,
    /// Of one whose disks are volumes.
    pub(super) block_device_mapping: Option<Value>,
    /// What a flavor must have for it. MiB and GiB.
    pub(super) min_ram: Option<u64>,
    pub(super) min_disk: Option<u64>,
    /// Bytes.
    pub(super) size: Option<u64>,
    pub(super) virtual_size: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Volumes {
    #[serde(deserialize_with = "members")]
    volumes: Vec<Volume>,
    #[serde(default, deserialize_with = "or_default")]
    volumes_links: Vec<Link>,
}

impl Page for Volumes {
    type Member = Volume;

    fn into_parts(self) -> (Vec<Volume>, Option<String>) {
        (self.volumes, next(self.volumes_links))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct OneVolume {
    pub(super) volume: Volume,
}

#[derive(Debug, Deserialize)]
pub(super) struct Volume {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: String,
    /// GiB.
    pub(super) size: Option<u64>,
    pub(super) availability_zone: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) volume_type: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) attachments: Vec<VolumeAttachment>,
}

#[derive(Debug, Deserialize)]
pub(super) struct VolumeAttachment {
    pub(super) server_id: Option<String>,
    pub(super) device: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Snapshots {
    #[serde(deserialize_with = "members")]
    snapshots: Vec<Snapshot>,
    #[serde(default, deserialize_with = "or_default")]
    snapshots_links: Vec<Link>,
}

impl Page for Snapshots {
    type Member = Snapshot;

    fn into_parts(self) -> (Vec<Snapshot>, Option<String>) {
        (self.snapshots, next(self.snapshots_links))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct OneSnapshot {
    pub(super) snapshot: Snapshot,
}

#[derive(Debug, Deserialize)]
pub(super) struct Snapshot {
    pub(super) id: String,
    pub(super) name: Option<String>,
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: String,
    pub(super) volume_id: Option<String>,
    pub(super) created_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyPairs {
    #[serde(deserialize_with = "members")]
    keypairs: Vec<OneKeyPair>,
    #[serde(default, deserialize_with = "or_default")]
    keypairs_links: Vec<Link>,
}

impl Page for KeyPairs {
    type Member = OneKeyPair;

    fn into_parts(self) -> (Vec<OneKeyPair>, Option<String>) {
        (self.keypairs, next(self.keypairs_links))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct OneKeyPair {
    pub(super) keypair: KeyPair,
}

#[derive(Debug, Deserialize)]
pub(super) struct KeyPair {
    pub(super) name: String,
    pub(super) fingerprint: Option<String>,
    /// In the answer to the create that made it, and nowhere else.
    #[serde(default, deserialize_with = "secret")]
    pub(super) private_key: Option<Secret>,
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::from))
}

/// For tests: the body of a recorded answer.
#[cfg(test)]
pub(super) fn recorded<T: serde::de::DeserializeOwned>(reply: &str) -> T {
    let reply: Value = serde_json::from_str(reply).expect("a recorded answer");
    serde_json::from_value(reply["body"].clone()).expect("as OpenStack answers")
}
