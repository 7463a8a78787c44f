//! What every driver promises of that which not every cloud has: the documentation of `Keys`, `Storage` and the others,
//! clause by clause. A clause about what a driver does not have asks nothing of it; the first clause sees to it that a
//! driver has exactly what it declares.

pub(crate) mod calls;

use std::collections::{BTreeMap, BTreeSet};

use tracker::drivers::{Driver, Kind, Storage};
use tracker::model::{
    Image, Instance, KeyKind, Mount, NewImage, NewNetworkInterface, NewSnapshot, NewSubnet, NewVolume, Snapshot,
    Volume, VolumeAction,
};

use self::calls::Nobody;
use super::driver::{self, LOOKS_MAX, Subject};

macro_rules! contract {
    ($($driver:ident)*) => {
        $(mod $driver {
            clauses! { $driver:
                a_collection_is_declared_exactly_where_there_is_something_behind_it
                wrong_credentials_are_denied_everywhere
                a_backend_that_cannot_be_reached_is_an_error_everywhere
                what_nobody_has_is_not_found
                lists_are_in_order_and_stay_as_they_are
                looks_leave_out_what_is_not_there
                an_image_is_made_of_an_instance_and_goes
                a_key_is_made_and_goes_and_its_private_half_is_told_once
                a_name_that_is_taken_is_forbidden
                a_volume_is_made_as_it_was_asked_for_and_goes
                a_volume_in_use_says_where_and_stays
                the_actions_shown_of_a_volume_are_those_it_takes
                a_snapshot_is_made_of_a_volume_and_goes
                a_volume_is_made_of_a_snapshot
                an_address_leads_to_one_instance_at_a_time
                a_firewall_is_made_and_lets_more_through_and_goes
                a_bucket_is_made_and_goes_once_it_is_empty
                a_blob_is_stored_and_replaced_and_goes
                every_metric_is_of_something_and_found_by_its_id
                a_network_goes_once_nothing_is_in_it
            }
        })*
    };
}

macro_rules! clauses {
    ($driver:ident: $($clause:ident)*) => {
        $(#[tokio::test]
        async fn $clause() {
            if let Some(offers) = super::$driver().await {
                super::$clause(offers).await;
            }
        })*
    };
}

contract! {
    mock_reference mock_lively mock_behind_faulty ec2 openstack
    deltacloud_over_mock deltacloud_over_lively_mock deltacloud_over_ec2
}

/// A driver over a backend of its own, and ids that nothing has there.
struct Offers {
    subject: Subject,
    nobody: Nobody,
}

async fn mock_reference() -> Option<Offers> {
    driver::mock_reference().await.map(mock)
}

async fn mock_lively() -> Option<Offers> {
    driver::mock_lively().await.map(mock)
}

async fn mock_behind_faulty() -> Option<Offers> {
    driver::mock_behind_faulty().await.map(mock)
}

fn mock(subject: Subject) -> Offers {
    Offers { subject, nobody: MOCKS_NOBODY }
}

pub(crate) const MOCKS_NOBODY: Nobody = Nobody {
    instance: "inst999",
    image: "img999",
    volume: "vol999",
    snapshot: "snap999",
    name: "contract-nobody",
    address: "192.168.250.250",
    network: "net999",
    subnet: "subnet999",
    interface: "nic999",
    firewall: "firewall999",
};

async fn deltacloud_over_mock() -> Option<Offers> {
    driver::deltacloud_over_mock().await.map(mock)
}

async fn deltacloud_over_lively_mock() -> Option<Offers> {
    driver::deltacloud_over_lively_mock().await.map(mock)
}

async fn deltacloud_over_ec2() -> Option<Offers> {
    driver::deltacloud_over_ec2().await.map(aws)
}

async fn ec2() -> Option<Offers> {
    driver::ec2().await.map(aws)
}

fn aws(subject: Subject) -> Offers {
    let nobody = Nobody {
        instance: subject.unknown_instance,
        image: subject.unknown_image,
        volume: "vol-00000000000000000",
        snapshot: "snap-00000000000000000",
        name: "contract-nobody",
        address: "192.0.2.250",
        network: "vpc-00000000000000000",
        subnet: "subnet-00000000000000000",
        interface: "eni-00000000000000000",
        firewall: "sg-00000000000000000",
    };
    Offers { subject, nobody }
}

async fn openstack() -> Option<Offers> {
    let subject = driver::openstack().await?;
    let nobody = Nobody {
        instance: subject.unknown_instance,
        image: subject.unknown_image,
        volume: subject.unknown_instance,
        snapshot: subject.unknown_instance,
        ..MOCKS_NOBODY
    };
    Some(Offers { subject, nobody })
}

/// Waits for something that a backend does in its own time; only a macro may await between looks at what it borrows.
macro_rules! until {
    ($offers:expr, $what:expr, $look:expr) => {{
        let mut found = None;
        for _ in 0..LOOKS_MAX {
            found = $look;
            if found.is_some() {
                break;
            }
            ($offers.subject.wait)();
        }
        found.unwrap_or_else(|| panic!("{} never came", $what))
    }};
}

impl Offers {
    fn driver(&self) -> &dyn Driver {
        &*self.subject.driver
    }

    async fn image(&self, id: &str) -> Option<Image> {
        self.driver().image(&self.subject.login, id).await.unwrap()
    }

    async fn volume(&self, storage: &dyn Storage, id: &str) -> Option<Volume> {
        storage.volumes_by_id(&self.subject.login, &set([id])).await.unwrap().pop()
    }

    async fn snapshot(&self, storage: &dyn Storage, id: &str) -> Option<Snapshot> {
        storage.snapshots_by_id(&self.subject.login, &set([id])).await.unwrap().pop()
    }

    /// As it is once it no longer moves by itself.
    async fn settled_volume(&self, storage: &dyn Storage, id: &str) -> Volume {
        let look = async || self.volume(storage, id).await.filter(|volume| !volume.settling);
        until!(self, "a volume at rest", look().await)
    }

    async fn settled_snapshot(&self, storage: &dyn Storage, id: &str) -> Snapshot {
        let look = async || self.snapshot(storage, id).await.filter(|snapshot| !snapshot.settling);
        until!(self, "a snapshot at rest", look().await)
    }

    async fn new_volume(&self, storage: &dyn Storage, realm: Option<String>) -> Volume {
        let new = NewVolume { capacity: Some("1".to_owned()), realm, ..NewVolume::default() };
        let id = storage.create_volume(&self.subject.login, &new).await.unwrap().id;
        let volume = self.settled_volume(storage, &id).await;
        assert_eq!((volume.state.as_str(), &volume.mount), ("AVAILABLE", &None));
        volume
    }

    /// A new one, attached to a new instance beside it.
    async fn attached_volume(&self, storage: &dyn Storage) -> (Volume, Instance) {
        let instance = self.subject.create_running().await;
        let volume = self.new_volume(storage, instance.realm.clone()).await;
        let mount = Mount { instance: instance.id.0.clone(), device: "/dev/sdf".to_owned() };
        let attached = storage.attach(&self.subject.login, &volume.id, &mount).await.unwrap();
        assert_ne!(attached.state, "AVAILABLE", "read back at once");
        let volume = self.settled_volume(storage, &volume.id).await;
        assert_eq!((volume.state.as_str(), &volume.mount), ("IN-USE", &Some(mount)));
        (volume, instance)
    }

    async fn volume_goes(&self, storage: &dyn Storage, id: &str) {
        until!(self, "the end of a volume", self.volume(storage, id).await.is_none().then_some(()));
    }

    /// The ids of everything there is, by kind, as the lists have them.
    async fn all(&self) -> BTreeMap<&'static str, Vec<String>> {
        let (driver, login) = (self.driver(), &self.subject.login);
        let mut all = BTreeMap::new();
        if let Some(keys) = driver.keys() {
            all.insert("keys", names(keys.keys(login).await.unwrap(), |key| key.id));
        }
        if let Some(storage) = driver.storage() {
            all.insert("volumes", names(storage.volumes(login).await.unwrap(), |volume| volume.id));
            all.insert("snapshots", names(storage.snapshots(login).await.unwrap(), |snapshot| snapshot.id));
        }
        if let Some(addresses) = driver.addresses() {
            all.insert("addresses", names(addresses.addresses(login).await.unwrap(), |address| address.ip));
        }
        if let Some(firewalls) = driver.firewalls() {
            all.insert("firewalls", names(firewalls.firewalls(login).await.unwrap(), |firewall| firewall.id));
        }
        if let Some(buckets) = driver.buckets() {
            all.insert("buckets", names(buckets.buckets(login).await.unwrap(), |bucket| bucket.id));
        }
        if let Some(metrics) = driver.metrics() {
            all.insert("metrics", names(metrics.metrics(login).await.unwrap(), |metric| metric.id));
        }
        if let Some(networks) = driver.networks() {
            all.insert("networks", names(networks.networks(login).await.unwrap(), |network| network.id));
            all.insert("subnets", names(networks.subnets(login).await.unwrap(), |subnet| subnet.id));
            let interfaces = networks.network_interfaces(login).await.unwrap();
            all.insert("network_interfaces", names(interfaces, |interface| interface.id));
        }
        all
    }
}

async fn a_collection_is_declared_exactly_where_there_is_something_behind_it(offers: Offers) {
    let driver = offers.driver();
    let declared = driver.abilities().collections;
    for (there, collections) in [
        (driver.keys().is_some(), vec!["keys"]),
        (driver.storage().is_some(), vec!["storage_volumes", "storage_snapshots"]),
        (driver.addresses().is_some(), vec!["addresses"]),
        (driver.firewalls().is_some(), vec!["firewalls"]),
        (driver.buckets().is_some(), vec!["buckets"]),
        (driver.metrics().is_some(), vec!["metrics"]),
        (driver.networks().is_some(), vec!["networks", "subnets", "network_interfaces"]),
    ] {
        for collection in collections {
            assert_eq!(declared.contains(&collection), there, "{collection}");
        }
    }
    assert_eq!(declared.iter().collect::<BTreeSet<_>>().len(), declared.len(), "each once: {declared:?}");
}

async fn wrong_credentials_are_denied_everywhere(offers: Offers) {
    let before = offers.all().await;
    for wrong in &offers.subject.wrong {
        for (call, error) in calls::all(offers.driver(), wrong, &offers.nobody).await {
            let user = &wrong.credentials.user;
            assert_eq!(error.map(|error| error.kind), Some(Kind::Denied), "{call} by {user}");
        }
    }
    assert_eq!(offers.all().await, before, "nothing was done");
}

async fn a_backend_that_cannot_be_reached_is_an_error_everywhere(offers: Offers) {
    for (call, error) in calls::all(&*offers.subject.cut_off, &offers.subject.login, &offers.nobody).await {
        let error = error.unwrap_or_else(|| panic!("{call} had an answer"));
        assert!([Kind::Unavailable, Kind::TimedOut].contains(&error.kind), "{call}: {:?} {error}", error.kind);
    }
}

async fn what_nobody_has_is_not_found(offers: Offers) {
    let before = offers.all().await;
    for (call, found) in calls::looks(offers.driver(), &offers.subject.login, &offers.nobody).await {
        assert_eq!(found.ok(), Some(false), "{call} has an answer, and it is no");
    }
    for (call, error) in calls::orders(offers.driver(), &offers.subject.login, &offers.nobody).await {
        assert_eq!(error.map(|error| error.kind), Some(Kind::NotFound), "{call}");
    }
    assert_eq!(offers.all().await, before, "nothing was done");
}

async fn lists_are_in_order_and_stay_as_they_are(offers: Offers) {
    for _ in 0..3 {
        for (call, error) in calls::creations(offers.driver(), &offers.subject.login).await {
            // Names are taken after the first time.
            let taken = ["create_key", "create_bucket", "create_firewall"].contains(&call)
                && error.as_ref().is_some_and(|error| error.kind == Kind::Forbidden);
            assert!(error.is_none() || taken, "{call}: {error:?}");
        }
    }
    let all = offers.all().await;
    for (kind, ids) in &all {
        assert!(ids.is_sorted_by(|a, b| a < b), "{kind}: {ids:?}");
        // Metrics are of instances, and subnets and the like of what a network has.
        let made = !["metrics", "snapshots", "subnets", "network_interfaces"].contains(kind);
        assert!(!made || !ids.is_empty(), "{kind}");
    }
    assert_eq!(offers.all().await, all);
}

async fn looks_leave_out_what_is_not_there(offers: Offers) {
    let Some(storage) = offers.driver().storage() else { return };
    let login = &offers.subject.login;
    let volume = offers.new_volume(storage, None).await;
    let nobody = offers.nobody.volume;
    let look = async |ids| storage.volumes_by_id(login, &ids).await.unwrap();
    assert_eq!(look(set([nobody, &volume.id])).await, std::slice::from_ref(&volume));
    assert_eq!(look(BTreeSet::new()).await, [], "asked for nothing, it does not answer with everything");

    let new = NewSnapshot { volume: volume.id, ..NewSnapshot::default() };
    let id = storage.create_snapshot(login, &new).await.unwrap().id;
    let snapshot = offers.settled_snapshot(storage, &id).await;
    let look = async |ids| storage.snapshots_by_id(login, &ids).await.unwrap();
    assert_eq!(look(set([offers.nobody.snapshot, &id])).await, [snapshot]);
    assert_eq!(look(BTreeSet::new()).await, []);
}

async fn an_image_is_made_of_an_instance_and_goes(offers: Offers) {
    let (driver, login) = (offers.driver(), &offers.subject.login);
    let instance = offers.subject.create_running().await;
    assert!(instance.can_create_image);
    let named = Some("contract-image".to_owned());
    let new = NewImage { instance: instance.id.0, name: named, description: Some("made for the contract".to_owned()) };
    let made = driver.create_image(login, &new).await.unwrap();
    assert_eq!((made.name.as_str(), made.description.as_str()), ("contract-image", "made for the contract"));
    assert!(made.can_destroy && !made.owner.is_empty() && !made.architecture.is_empty(), "{made:?}");

    let look = async || offers.image(&made.id).await.filter(|image| !image.settling);
    let settled = until!(offers, "an image at rest", look().await);
    // The words are the clouds' own.
    let state = settled.state.as_deref().unwrap_or_default().to_lowercase();
    assert!(["available", "active"].contains(&state.as_str()), "{settled:?}");
    assert!(driver.images(login).await.unwrap().contains(&settled), "listed as it is shown");

    driver.destroy_image(login, &made.id).await.unwrap();
    until!(offers, "the end of an image", offers.image(&made.id).await.is_none().then_some(()));
    assert!(!driver.images(login).await.unwrap().iter().any(|image| image.id == made.id));
    assert_eq!(driver.destroy_image(login, &made.id).await.unwrap_err().kind, Kind::NotFound);
}

async fn a_key_is_made_and_goes_and_its_private_half_is_told_once(offers: Offers) {
    let Some(keys) = offers.driver().keys() else { return };
    let login = &offers.subject.login;
    let before = offers.all().await;
    let made = keys.create_key(login, &calls::key("contract-key")).await.unwrap();
    assert_eq!(made.id, "contract-key");
    let KeyKind::Pair { fingerprint: Some(first), pem: Some(_) } = made.kind else {
        panic!("it tells both halves: {made:?}");
    };

    let shown = keys.key(login, "contract-key").await.unwrap().expect("there");
    let listed = keys.keys(login).await.unwrap();
    let listed = listed.into_iter().find(|key| key.id == "contract-key").expect("listed");
    for key in [shown, listed] {
        let KeyKind::Pair { fingerprint, pem: None } = key.kind else { panic!("told again: {key:?}") };
        assert_eq!(fingerprint.as_deref(), Some(first.as_str()));
    }

    keys.destroy_key(login, "contract-key").await.unwrap();
    assert!(keys.key(login, "contract-key").await.unwrap().is_none());
    assert_eq!(offers.all().await, before);
    let again = keys.create_key(login, &calls::key("contract-key")).await.unwrap();
    let KeyKind::Pair { fingerprint: Some(second), .. } = again.kind else { panic!("{again:?}") };
    assert_ne!(second, first, "another one of the same name");
}

async fn a_name_that_is_taken_is_forbidden(offers: Offers) {
    let (driver, login) = (offers.driver(), &offers.subject.login);
    if let Some(keys) = driver.keys() {
        keys.create_key(login, &calls::key("contract-taken")).await.unwrap();
        let again = keys.create_key(login, &calls::key("contract-taken")).await;
        assert_eq!(again.unwrap_err().kind, Kind::Forbidden);
    }
    if let Some(buckets) = driver.buckets() {
        buckets.create_bucket(login, "contract-taken").await.unwrap();
        buckets.put_blob(login, "contract-taken", &calls::blob("kept", "as it was")).await.unwrap();
        assert_eq!(buckets.create_bucket(login, "contract-taken").await.unwrap_err().kind, Kind::Forbidden);
        assert_eq!(buckets.content(login, "contract-taken", "kept").await.unwrap(), "as it was");
    }
}

async fn a_volume_is_made_as_it_was_asked_for_and_goes(offers: Offers) {
    let Some(storage) = offers.driver().storage() else { return };
    let login = &offers.subject.login;
    let declares = |feature: &str| offers.driver().abilities().features.iter().any(|(_, one)| one.name == feature);
    let realm = offers.subject.realm;
    let new = NewVolume {
        capacity: Some("3".to_owned()),
        realm: Some(realm.to_owned()),
        name: declares("volume_name").then(|| "data".to_owned()),
        ..NewVolume::default()
    };
    let before = offers.all().await;
    let made = storage.create_volume(login, &new).await.unwrap();
    assert!(!before["volumes"].contains(&made.id));
    let settled = offers.settled_volume(storage, &made.id).await;
    for volume in [&made, &settled] {
        assert_eq!((volume.capacity.as_str(), volume.realm.as_deref()), ("3", Some(realm)));
        assert!(new.name.is_none() || volume.name == new.name, "{volume:?}");
        assert_eq!(volume.mount, None);
    }
    assert_eq!(settled.state, "AVAILABLE");
    assert!(storage.volumes(login).await.unwrap().contains(&settled), "listed as it is shown");

    storage.destroy_volume(login, &made.id).await.unwrap();
    offers.volume_goes(storage, &made.id).await;
    assert_eq!(offers.all().await["volumes"], before["volumes"]);
    assert_eq!(storage.destroy_volume(login, &made.id).await.unwrap_err().kind, Kind::NotFound);
}

async fn a_volume_in_use_says_where_and_stays(offers: Offers) {
    let Some(storage) = offers.driver().storage() else { return };
    let login = &offers.subject.login;
    let (volume, instance) = offers.attached_volume(storage).await;
    let shown = offers.subject.look(&instance.id).await.expect("there");
    let attachment = shown.storage_volumes.iter().find(|attachment| attachment.volume == volume.id);
    // Where in it, not every cloud says with the instance.
    assert!(attachment.is_some_and(|one| ["/dev/sdf", ""].contains(&one.device.as_str())), "{shown:?}");

    let mount = Mount { instance: instance.id.0.clone(), device: "/dev/sdg".to_owned() };
    assert_eq!(storage.destroy_volume(login, &volume.id).await.unwrap_err().kind, Kind::Conflict);
    assert_eq!(storage.attach(login, &volume.id, &mount).await.unwrap_err().kind, Kind::Conflict);
    assert_eq!(offers.volume(storage, &volume.id).await, Some(volume.clone()), "as it was");

    let detached = storage.detach(login, &volume.id).await.unwrap();
    assert_ne!(detached.state, "IN-USE", "read back at once");
    let free = offers.settled_volume(storage, &volume.id).await;
    assert_eq!((free.state.as_str(), &free.mount), ("AVAILABLE", &None));
    let shown = offers.subject.look(&instance.id).await.expect("there");
    assert!(!shown.storage_volumes.iter().any(|attachment| attachment.volume == volume.id), "{shown:?}");
    assert_eq!(storage.detach(login, &volume.id).await.unwrap_err().kind, Kind::Conflict);

    let nowhere = Mount { instance: offers.nobody.instance.to_owned(), device: String::new() };
    assert_eq!(storage.attach(login, &volume.id, &nowhere).await.unwrap_err().kind, Kind::NotFound);
    let anywhere = Mount { instance: instance.id.0.clone(), device: String::new() };
    storage.attach(login, &volume.id, &anywhere).await.unwrap();
    let chosen = offers.settled_volume(storage, &volume.id).await;
    assert_eq!(chosen.mount.as_ref().map(|mount| mount.instance.as_str()), Some(instance.id.as_str()));
}

async fn the_actions_shown_of_a_volume_are_those_it_takes(offers: Offers) {
    let Some(storage) = offers.driver().storage() else { return };
    let free = offers.new_volume(storage, None).await;
    assert_eq!(free.actions, [VolumeAction::Attach, VolumeAction::Destroy]);
    let (used, _) = offers.attached_volume(storage).await;
    assert_eq!(used.actions, [VolumeAction::Detach]);
}

async fn a_snapshot_is_made_of_a_volume_and_goes(offers: Offers) {
    let Some(storage) = offers.driver().storage() else { return };
    let login = &offers.subject.login;
    let volume = offers.new_volume(storage, None).await;
    let before = offers.all().await;
    let new = NewSnapshot { volume: volume.id.clone(), ..NewSnapshot::default() };
    let made = storage.create_snapshot(login, &new).await.unwrap();
    assert_eq!(made.volume.as_deref(), Some(volume.id.as_str()));
    assert!(!before["snapshots"].contains(&made.id));
    let settled = offers.settled_snapshot(storage, &made.id).await;
    // The words are the clouds' own.
    assert!(["completed", "available"].contains(&settled.state.to_lowercase().as_str()), "{settled:?}");
    assert!(storage.snapshots(login).await.unwrap().contains(&settled), "listed as it is shown");

    storage.destroy_snapshot(login, &made.id).await.unwrap();
    until!(offers, "the end of a snapshot", offers.snapshot(storage, &made.id).await.is_none().then_some(()));
    assert_eq!(offers.all().await["snapshots"], before["snapshots"]);
    assert_eq!(storage.destroy_snapshot(login, &made.id).await.unwrap_err().kind, Kind::NotFound);
}

async fn a_volume_is_made_of_a_snapshot(offers: Offers) {
    let Some(storage) = offers.driver().storage() else { return };
    let login = &offers.subject.login;
    let large = NewVolume { capacity: Some("2".to_owned()), ..NewVolume::default() };
    let volume = storage.create_volume(login, &large).await.unwrap().id;
    offers.settled_volume(storage, &volume).await;
    let copy = NewSnapshot { volume, ..NewSnapshot::default() };
    let snapshot = storage.create_snapshot(login, &copy).await.unwrap().id;
    offers.settled_snapshot(storage, &snapshot).await;

    let check = async |capacity: Option<&str>, expected: &str| {
        let new = NewVolume {
            snapshot: Some(snapshot.clone()),
            capacity: capacity.map(str::to_owned),
            ..NewVolume::default()
        };
        let id = storage.create_volume(login, &new).await.unwrap().id;
        assert_eq!(offers.settled_volume(storage, &id).await.capacity, expected);
    };
    let lost = NewVolume { snapshot: Some(offers.nobody.snapshot.to_owned()), ..NewVolume::default() };
    assert_eq!(
        storage.create_volume(login, &lost).await.unwrap_err().kind,
        Kind::Invalid,
        "as with an instance's image"
    );
    check(None, "2").await;
    check(Some("5"), "5").await;
}

async fn an_address_leads_to_one_instance_at_a_time(offers: Offers) {
    let Some(addresses) = offers.driver().addresses() else { return };
    let login = &offers.subject.login;
    let (one, other) = (offers.subject.create_running().await.id, offers.subject.create_running().await.id);
    let before = offers.all().await;
    let made = addresses.create_address(login).await.unwrap();
    assert!(!before["addresses"].contains(&made.ip) && made.instance.is_none(), "{made:?}");
    let leads_to = async || addresses.address(login, &made.ip).await.unwrap().expect("there").instance;
    assert_eq!(leads_to().await, None);
    assert_eq!(addresses.disassociate(login, &made.ip).await.unwrap_err().kind, Kind::Conflict);
    let lost = addresses.associate(login, &made.ip, offers.nobody.instance).await;
    assert_eq!(lost.unwrap_err().kind, Kind::NotFound);

    addresses.associate(login, &made.ip, one.as_str()).await.unwrap();
    assert_eq!(leads_to().await.as_deref(), Some(one.as_str()));
    assert_eq!(addresses.associate(login, &made.ip, other.as_str()).await.unwrap_err().kind, Kind::Conflict);
    assert_eq!(addresses.destroy_address(login, &made.ip).await.unwrap_err().kind, Kind::Conflict);
    assert_eq!(leads_to().await.as_deref(), Some(one.as_str()), "as it was");

    addresses.disassociate(login, &made.ip).await.unwrap();
    assert_eq!(leads_to().await, None);
    addresses.destroy_address(login, &made.ip).await.unwrap();
    assert_eq!(addresses.address(login, &made.ip).await.unwrap(), None);
    assert_eq!(offers.all().await, before);
}

async fn a_firewall_is_made_and_lets_more_through_and_goes(offers: Offers) {
    let Some(firewalls) = offers.driver().firewalls() else { return };
    let login = &offers.subject.login;
    let before = offers.all().await;
    let made = firewalls.create_firewall(login, &calls::firewall("contract-wall")).await.unwrap();
    assert_eq!((made.name.as_str(), made.description.as_str()), ("contract-wall", "for the contract"));
    let ruled = firewalls.create_rule(login, &made.id, &calls::rule()).await.unwrap();
    let rules: Vec<_> = ruled.rules.iter().filter(|rule| !made.rules.contains(rule)).collect();
    assert_eq!(rules.len(), 1, "{ruled:?}");
    assert_eq!((rules[0].protocol.as_str(), rules[0].port_from.as_deref()), ("tcp", Some("22")));
    assert_eq!(firewalls.firewall(login, &made.id).await.unwrap().as_ref(), Some(&ruled));
    assert!(firewalls.firewalls(login).await.unwrap().contains(&ruled));

    firewalls.destroy_rule(login, &made.id, &rules[0].id).await.unwrap();
    assert_eq!(firewalls.firewall(login, &made.id).await.unwrap(), Some(made.clone()));
    let again = firewalls.destroy_rule(login, &made.id, &rules[0].id).await;
    assert_eq!(again.unwrap_err().kind, Kind::NotFound);
    firewalls.destroy_firewall(login, &made.id).await.unwrap();
    assert_eq!(firewalls.firewall(login, &made.id).await.unwrap(), None);
    assert_eq!(offers.all().await, before);
}

async fn a_bucket_is_made_and_goes_once_it_is_empty(offers: Offers) {
    let Some(buckets) = offers.driver().buckets() else { return };
    let login = &offers.subject.login;
    let before = offers.all().await;
    let made = buckets.create_bucket(login, "contract-bucket").await.unwrap();
    assert_eq!((made.name.as_str(), made.blobs.len()), ("contract-bucket", 0));
    buckets.put_blob(login, &made.id, &calls::blob("b", "text")).await.unwrap();
    buckets.put_blob(login, &made.id, &calls::blob("a", "text")).await.unwrap();
    let shown = buckets.bucket(login, &made.id).await.unwrap().expect("there");
    assert_eq!(shown.blobs, ["a", "b"]);
    assert!(buckets.buckets(login).await.unwrap().contains(&shown), "listed as it is shown");

    assert_eq!(buckets.destroy_bucket(login, &made.id).await.unwrap_err().kind, Kind::Conflict);
    buckets.destroy_blob(login, &made.id, "a").await.unwrap();
    buckets.destroy_blob(login, &made.id, "b").await.unwrap();
    buckets.destroy_bucket(login, &made.id).await.unwrap();
    assert_eq!(buckets.bucket(login, &made.id).await.unwrap(), None);
    assert_eq!(offers.all().await, before);
}

async fn a_blob_is_stored_and_replaced_and_goes(offers: Offers) {
    let Some(buckets) = offers.driver().buckets() else { return };
    let login = &offers.subject.login;
    let bucket = buckets.create_bucket(login, "contract-blobs").await.unwrap().id;
    let content = async || buckets.content(login, &bucket, "notes").await.unwrap();
    let shown = async || buckets.blob(login, &bucket, "notes").await.unwrap().expect("there");

    let stored = buckets.put_blob(login, &bucket, &calls::blob("notes", "first")).await.unwrap();
    assert_eq!((stored.id.as_str(), &stored.bucket, stored.content_length), ("notes", &bucket, 5));
    assert_eq!((stored.content_type.as_str(), stored.metadata["author"].as_str()), ("text/plain", "somebody"));
    assert_eq!((content().await, shown().await), ("first".into(), stored));

    buckets.put_blob(login, &bucket, &calls::blob("notes", "second one")).await.unwrap();
    assert_eq!((content().await, shown().await.content_length), ("second one".into(), 10));
    let metadata = BTreeMap::from([("title".to_owned(), "Notes".to_owned())]);
    buckets.set_metadata(login, &bucket, "notes", &metadata).await.unwrap();
    assert_eq!((content().await, shown().await.metadata), ("second one".into(), metadata), "all of it is replaced");

    buckets.destroy_blob(login, &bucket, "notes").await.unwrap();
    assert_eq!(buckets.blob(login, &bucket, "notes").await.unwrap(), None);
    assert_eq!(buckets.content(login, &bucket, "notes").await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(buckets.destroy_blob(login, &bucket, "notes").await.unwrap_err().kind, Kind::NotFound);
}

async fn every_metric_is_of_something_and_found_by_its_id(offers: Offers) {
    let Some(metrics) = offers.driver().metrics() else { return };
    let login = &offers.subject.login;
    let instance = offers.subject.create_running().await.id;
    let list = metrics.metrics(login).await.unwrap();
    assert!(list.iter().any(|metric| metric.entity == instance.0), "{list:?}");
    for metric in list {
        for series in &metric.series {
            assert!(!series.name.is_empty() && !series.samples.iter().any(Vec::is_empty), "{series:?}");
        }
        assert_eq!(metrics.metric(login, &metric.id).await.unwrap(), Some(metric));
    }
}

async fn a_network_goes_once_nothing_is_in_it(offers: Offers) {
    let Some(networks) = offers.driver().networks() else { return };
    let login = &offers.subject.login;
    let instance = offers.subject.create_running().await.id;
    let before = offers.all().await;
    let network = networks.create_network(login, &calls::network()).await.unwrap();
    assert_eq!(network.address_blocks, ["10.9.0.0/16"]);
    let new = NewSubnet { name: None, network: network.id.clone(), address_block: "10.9.1.0/24".to_owned() };
    let subnet = networks.create_subnet(login, &new).await.unwrap();
    assert_eq!((&subnet.network, subnet.address_block.as_str()), (&network.id, "10.9.1.0/24"));
    let shown = networks.network(login, &network.id).await.unwrap().expect("there");
    assert_eq!(shown.subnets, std::slice::from_ref(&subnet.id));
    assert!(networks.networks(login).await.unwrap().contains(&shown), "listed as it is shown");
    assert!(networks.subnets(login).await.unwrap().contains(&subnet), "listed as it is shown");

    let new = NewNetworkInterface {
        instance: instance.0.clone(),
        network: network.id.clone(),
        ..NewNetworkInterface::default()
    };
    let interface = networks.create_network_interface(login, &new).await.unwrap();
    assert_eq!((&interface.instance, &interface.network), (&instance.0, &network.id));
    assert_eq!(networks.network_interface(login, &interface.id).await.unwrap().as_ref(), Some(&interface));
    let shown =
        offers.subject.look(&instance).await.expect("there").network_interfaces.expect("this driver knows them");
    assert!(shown.contains(&interface.id), "{shown:?}");

    assert_eq!(networks.destroy_subnet(login, &subnet.id).await.unwrap_err().kind, Kind::Conflict);
    assert_eq!(networks.destroy_network(login, &network.id).await.unwrap_err().kind, Kind::Conflict);
    networks.destroy_network_interface(login, &interface.id).await.unwrap();
    assert_eq!(networks.destroy_network(login, &network.id).await.unwrap_err().kind, Kind::Conflict);
    networks.destroy_subnet(login, &subnet.id).await.unwrap();
    networks.destroy_network(login, &network.id).await.unwrap();
    assert_eq!(networks.network(login, &network.id).await.unwrap(), None);
    assert_eq!(offers.all().await, before);
}

fn set<const N: usize>(ids: [&str; N]) -> BTreeSet<String> {
    ids.into_iter().map(str::to_owned).collect()
}

fn names<T>(members: Vec<T>, name: impl Fn(T) -> String) -> Vec<String> {
    members.into_iter().map(name).collect()
}
