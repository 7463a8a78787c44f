//! Every call there is about what not every cloud has: for what must hold of all of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tracker::drivers::{Addresses, Buckets, Driver, Error, Firewalls, Networks, Storage};
use tracker::model::{
    Login, Mount, NewBlob, NewFirewall, NewImage, NewKey, NewNetwork, NewNetworkInterface, NewRule, NewSnapshot,
    NewSubnet, NewVolume,
};

/// Ids of the right form that nothing has.
#[derive(Clone, Copy)]
pub(crate) struct Nobody {
    pub(crate) instance: &'static str,
    pub(crate) image: &'static str,
    pub(crate) volume: &'static str,
    pub(crate) snapshot: &'static str,
    /// For what is known by its name: keys, buckets, blobs.
    pub(crate) name: &'static str,
    pub(crate) address: &'static str,
    pub(crate) network: &'static str,
    pub(crate) subnet: &'static str,
    pub(crate) interface: &'static str,
    pub(crate) firewall: &'static str,
}

/// What became of a call, by its name. `None`: it was answered.
pub(crate) type Outcome = (&'static str, Option<Error>);

/// The calls that ask for all of something.
pub(crate) async fn lists(driver: &dyn Driver, login: &Login) -> Vec<Outcome> {
    let mut seen = vec![("images", driver.images(login).await.err())];
    if let Some(keys) = driver.keys() {
        seen.push(("keys", keys.keys(login).await.err()));
    }
    if let Some(storage) = driver.storage() {
        seen.push(("volumes", storage.volumes(login).await.err()));
        seen.push(("snapshots", storage.snapshots(login).await.err()));
    }
    if let Some(addresses) = driver.addresses() {
        seen.push(("addresses", addresses.addresses(login).await.err()));
    }
    if let Some(firewalls) = driver.firewalls() {
        seen.push(("firewalls", firewalls.firewalls(login).await.err()));
    }
    if let Some(buckets) = driver.buckets() {
        seen.push(("buckets", buckets.buckets(login).await.err()));
    }
    if let Some(metrics) = driver.metrics() {
        seen.push(("metrics", metrics.metrics(login).await.err()));
    }
    if let Some(networks) = driver.networks() {
        seen.push(("networks", networks.networks(login).await.err()));
        seen.push(("subnets", networks.subnets(login).await.err()));
        seen.push(("network_interfaces", networks.network_interfaces(login).await.err()));
    }
    seen
}

/// The calls that ask for one, or for some: the error, or whether something was found.
pub(crate) async fn looks(
    driver: &dyn Driver,
    login: &Login,
    nobody: &Nobody,
) -> Vec<(&'static str, Result<bool, Error>)> {
    let set = |id: &str| BTreeSet::from([id.to_owned()]);
    let found = |list: usize| list > 0;
    let images = driver.images_by_id(login, &set(nobody.image)).await;
    let mut seen = vec![
        ("image", driver.image(login, nobody.image).await.map(|one| one.is_some())),
        ("images_by_id", images.map(|list| found(list.len()))),
    ];
    if let Some(keys) = driver.keys() {
        seen.push(("key", keys.key(login, nobody.name).await.map(|one| one.is_some())));
    }
    if let Some(storage) = driver.storage() {
        let volumes = storage.volumes_by_id(login, &set(nobody.volume)).await;
        seen.push(("volumes_by_id", volumes.map(|list| found(list.len()))));
        let snapshots = storage.snapshots_by_id(login, &set(nobody.snapshot)).await;
        seen.push(("snapshots_by_id", snapshots.map(|list| found(list.len()))));
    }
    if let Some(addresses) = driver.addresses() {
        seen.push(("address", addresses.address(login, nobody.address).await.map(|one| one.is_some())));
    }
    if let Some(firewalls) = driver.firewalls() {
        seen.push(("firewall", firewalls.firewall(login, nobody.firewall).await.map(|one| one.is_some())));
    }
    if let Some(buckets) = driver.buckets() {
        seen.push(("bucket", buckets.bucket(login, nobody.name).await.map(|one| one.is_some())));
        seen.push(("blob", buckets.blob(login, nobody.name, nobody.name).await.map(|one| one.is_some())));
    }
    if let Some(metrics) = driver.metrics() {
        seen.push(("metric", metrics.metric(login, nobody.instance).await.map(|one| one.is_some())));
    }
    if let Some(networks) = driver.networks() {
        seen.push(("network", networks.network(login, nobody.network).await.map(|one| one.is_some())));
        seen.push(("subnet", networks.subnet(login, nobody.subnet).await.map(|one| one.is_some())));
        let interface = networks.network_interface(login, nobody.interface).await;
        seen.push(("network_interface", interface.map(|one| one.is_some())));
    }
    seen
}

/// The calls that are about something that must be there already.
pub(crate) async fn orders(driver: &dyn Driver, login: &Login, nobody: &Nobody) -> Vec<Outcome> {
    let image = NewImage { instance: nobody.instance.to_owned(), name: Some("contract".to_owned()), description: None };
    let mut seen = vec![
        ("create_image", driver.create_image(login, &image).await.err()),
        ("destroy_image", driver.destroy_image(login, nobody.image).await.err()),
    ];
    if let Some(keys) = driver.keys() {
        seen.push(("destroy_key", keys.destroy_key(login, nobody.name).await.err()));
    }
    if let Some(storage) = driver.storage() {
        seen.extend(of_storage(storage, login, nobody).await);
    }
    if let Some(addresses) = driver.addresses() {
        seen.extend(of_addresses(addresses, login, nobody).await);
    }
    if let Some(firewalls) = driver.firewalls() {
        seen.extend(of_firewalls(firewalls, login, nobody).await);
    }
    if let Some(buckets) = driver.buckets() {
        seen.extend(of_buckets(buckets, login, nobody).await);
    }
    if let Some(networks) = driver.networks() {
        seen.extend(of_networks(networks, login, nobody).await);
    }
    seen
}

async fn of_storage(storage: &dyn Storage, login: &Login, nobody: &Nobody) -> Vec<Outcome> {
    let copy = NewSnapshot { volume: nobody.volume.to_owned(), ..NewSnapshot::default() };
    let mount = Mount { instance: nobody.instance.to_owned(), device: "/dev/sdf".to_owned() };
    vec![
        ("destroy_volume", storage.destroy_volume(login, nobody.volume).await.err()),
        ("attach", storage.attach(login, nobody.volume, &mount).await.err()),
        ("detach", storage.detach(login, nobody.volume).await.err()),
        ("create_snapshot", storage.create_snapshot(login, &copy).await.err()),
        ("destroy_snapshot", storage.destroy_snapshot(login, nobody.snapshot).await.err()),
    ]
}

async fn of_addresses(addresses: &dyn Addresses, login: &Login, nobody: &Nobody) -> Vec<Outcome> {
    vec![
        ("destroy_address", addresses.destroy_address(login, nobody.address).await.err()),
        ("associate", addresses.associate(login, nobody.address, nobody.instance).await.err()),
        ("disassociate", addresses.disassociate(login, nobody.address).await.err()),
    ]
}

async fn of_firewalls(firewalls: &dyn Firewalls, login: &Login, nobody: &Nobody) -> Vec<Outcome> {
    vec![
        ("destroy_firewall", firewalls.destroy_firewall(login, nobody.firewall).await.err()),
        ("create_rule", firewalls.create_rule(login, nobody.firewall, &rule()).await.err()),
        ("destroy_rule", firewalls.destroy_rule(login, nobody.firewall, nobody.name).await.err()),
    ]
}

async fn of_buckets(buckets: &dyn Buckets, login: &Login, nobody: &Nobody) -> Vec<Outcome> {
    let name = nobody.name;
    vec![
        ("destroy_bucket", buckets.destroy_bucket(login, name).await.err()),
        ("content", buckets.content(login, name, name).await.err()),
        ("put_blob", buckets.put_blob(login, name, &blob(name, "text")).await.err()),
        ("set_metadata", buckets.set_metadata(login, name, name, &BTreeMap::new()).await.err()),
        ("destroy_blob", buckets.destroy_blob(login, name, name).await.err()),
    ]
}

async fn of_networks(networks: &dyn Networks, login: &Login, nobody: &Nobody) -> Vec<Outcome> {
    let subnet = NewSubnet { name: None, network: nobody.network.to_owned(), address_block: "10.9.0.0/24".to_owned() };
    let interface = NewNetworkInterface {
        instance: nobody.instance.to_owned(),
        network: nobody.network.to_owned(),
        ..NewNetworkInterface::default()
    };
    vec![
        ("destroy_network", networks.destroy_network(login, nobody.network).await.err()),
        ("create_subnet", networks.create_subnet(login, &subnet).await.err()),
        ("destroy_subnet", networks.destroy_subnet(login, nobody.subnet).await.err()),
        ("create_network_interface", networks.create_network_interface(login, &interface).await.err()),
        ("destroy_network_interface", networks.destroy_network_interface(login, nobody.interface).await.err()),
    ]
}

/// The calls that make something out of nothing.
pub(crate) async fn creations(driver: &dyn Driver, login: &Login) -> Vec<Outcome> {
    let mut seen = Vec::new();
    if let Some(keys) = driver.keys() {
        seen.push(("create_key", keys.create_key(login, &key("contract-made")).await.err()));
    }
    if let Some(storage) = driver.storage() {
        let new = NewVolume { capacity: Some("1".to_owned()), ..NewVolume::default() };
        seen.push(("create_volume", storage.create_volume(login, &new).await.err()));
    }
    if let Some(addresses) = driver.addresses() {
        seen.push(("create_address", addresses.create_address(login).await.err()));
    }
    if let Some(firewalls) = driver.firewalls() {
        seen.push(("create_firewall", firewalls.create_firewall(login, &firewall("contract-made")).await.err()));
    }
    if let Some(buckets) = driver.buckets() {
        seen.push(("create_bucket", buckets.create_bucket(login, "contract-made").await.err()));
    }
    if let Some(networks) = driver.networks() {
        seen.push(("create_network", networks.create_network(login, &network()).await.err()));
    }
    seen
}

/// Every call, in the order of the functions above.
pub(crate) async fn all(driver: &dyn Driver, login: &Login, nobody: &Nobody) -> Vec<Outcome> {
    let mut seen = lists(driver, login).await;
    seen.extend(looks(driver, login, nobody).await.into_iter().map(|(name, look)| (name, look.err())));
    seen.extend(orders(driver, login, nobody).await);
    seen.extend(creations(driver, login).await);
    seen
}

pub(crate) fn key(name: &str) -> NewKey {
    NewKey { name: name.to_owned(), public_key: None }
}

pub(crate) fn firewall(name: &str) -> NewFirewall {
    NewFirewall { name: name.to_owned(), description: "for the contract".to_owned() }
}

pub(crate) fn rule() -> NewRule {
    NewRule {
        protocol: "tcp".to_owned(),
        port_from: "22".to_owned(),
        port_to: "22".to_owned(),
        networks: vec!["192.0.2.0/24".to_owned()],
        groups: Vec::new(),
    }
}

pub(crate) fn network() -> NewNetwork {
    NewNetwork { name: None, address_block: Some("10.9.0.0/16".to_owned()) }
}

pub(crate) fn blob(id: &str, content: &str) -> NewBlob {
    NewBlob {
        id: id.to_owned(),
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::from([("author".to_owned(), "somebody".to_owned())]),
        content: Bytes::copy_from_slice(content.as_bytes()),
    }
}
