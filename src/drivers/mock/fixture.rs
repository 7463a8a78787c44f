//! The reference mock's data, as the suites of the reference's clients expect it.

use crate::drivers::{Abilities, Feature, Machine, Transition};
use crate::model::{
    Address, AddressKind, Attachment, HardwareProfile, Image, Instance, InstanceId, InstanceState, LoginKind, Property,
    PropertyKind, Realm, RealmState,
};

/// Where an instance goes that names no realm.
pub(super) const REALM: &str = "us";
/// The size of an instance that names none.
pub(super) const PROFILE: &str = "m1-small";

/// `pending` is in the table because the reference declares it; there, nothing is ever in it.
static REFERENCE: Machine = Machine(&[
    Transition::on("start", "create", "pending"),
    Transition::auto("pending", "running"),
    Transition::on("running", "reboot", "running"),
    Transition::on("running", "stop", "stopped"),
    Transition::on("stopped", "start", "running"),
    Transition::on("stopped", "destroy", "finish"),
]);

/// Everything a lively cloud does, to order and by itself.
static LIVELY: Machine = Machine(&[
    Transition::on("start", "create", "pending"),
    Transition::auto("pending", "running"),
    Transition::auto("pending", "error"),
    Transition::on("running", "reboot", "running"),
    Transition::on("running", "stop", "stopping"),
    Transition::auto("running", "stopping"),
    Transition::auto("stopping", "stopped"),
    Transition::on("stopped", "start", "pending"),
    Transition::on("stopped", "destroy", "finish"),
    Transition::auto("stopped", "pending"),
    Transition::on("error", "destroy", "finish"),
    Transition::auto("error", "finish"),
]);

pub(super) fn machine(lively: bool) -> &'static Machine {
    if lively { &LIVELY } else { &REFERENCE }
}

/// Only what works is declared. The reference also has `authentication_key`: a key's name is kept and shown here too, but a
/// client that sees the feature makes itself a key first, so it waits for the collection `keys`. `metrics` waits likewise.
pub(super) fn abilities(lively: bool) -> Abilities {
    Abilities {
        id: "mock",
        name: "Mock",
        collections: &["instances", "realms", "images", "hardware_profiles"],
        features: &[
            ("instances", Feature { name: "realm_filter", operation: "index", params: &["realm_id"] }),
            ("instances", Feature { name: "user_name", operation: "create", params: &["name"] }),
        ],
        machine: machine(lively),
        providers: &[],
        open_hardware_profiles: true,
    }
}

pub(super) fn realms() -> Vec<Realm> {
    vec![realm("eu", "Europe"), realm("us", "United States")]
}

/// Available and unlimited.
pub(super) fn realm(id: &str, name: &str) -> Realm {
    Realm {
        id: id.to_owned(),
        name: name.to_owned(),
        state: RealmState::Available,
        native_state: RealmState::Available.as_str().to_owned(),
        limit: None,
        messages: Vec::new(),
    }
}

pub(super) fn images() -> Vec<Image> {
    let image = |id: &str, description: &str, architecture: &str, owner: &str| Image {
        id: id.to_owned(),
        name: id.to_owned(),
        description: description.to_owned(),
        owner: owner.to_owned(),
        architecture: architecture.to_owned(),
        state: Some("AVAILABLE".to_owned()),
        settling: false,
        root_type: "transient".to_owned(),
        creation_time: Some("Thu Oct 25 14:27:53 CEST 2012".to_owned()),
        hardware_profiles: hardware_profiles().into_iter().map(|profile| profile.id).collect(),
        can_destroy: false,
    };
    vec![
        image("img1", "Fedora 10", "x86_64", "fedoraproject"),
        image("img2", "Fedora 10", "i386", "fedoraproject"),
        image("img3", "JBoss", "i386", "mockuser"),
    ]
}

/// Sorted by the defaults of cpu, then memory; the one without either last.
pub(super) fn hardware_profiles() -> Vec<HardwareProfile> {
    let profile = |id: &str, properties| HardwareProfile { id: id.to_owned(), name: id.to_owned(), properties };
    vec![
        profile(
            "m1-small",
            vec![fixed("cpu", "1"), fixed("memory", "1740.8"), fixed("storage", "160"), fixed("architecture", "i386")],
        ),
        profile(
            "m1-large",
            vec![
                range("cpu", "1", "6", "1"),
                range("memory", "7680", "15360", "10240"),
                choice("storage", &["850", "1024"]),
                fixed("architecture", "x86_64"),
            ],
        ),
        profile(
            "m1-xlarge",
            vec![
                fixed("cpu", "4"),
                range("memory", "12288", "32768", "12288"),
                choice("storage", &["1024", "2048", "4096"]),
                fixed("architecture", "x86_64"),
            ],
        ),
        profile("opaque", Vec::new()),
    ]
}

fn fixed(name: &'static str, value: &str) -> Property {
    Property { name, value: value.to_owned(), kind: PropertyKind::Fixed }
}

fn range(name: &'static str, first: &str, last: &str, default: &str) -> Property {
    let kind = PropertyKind::Range { first: first.to_owned(), last: last.to_owned() };
    Property { name, value: default.to_owned(), kind }
}

/// The first is the default.
fn choice(name: &'static str, values: &[&str]) -> Property {
    let kind = PropertyKind::Enum(values.iter().map(|&value| value.to_owned()).collect());
    Property { name, value: values[0].to_owned(), kind }
}

/// The four that are there from the start, all RUNNING.
pub(super) fn instances(owner: &str) -> Vec<Instance> {
    let mut inst0 = instance("inst0", "img1", owner);
    inst0.name = Some("Mock Instance With Profile Change".to_owned());
    inst0.hardware_profile = Some("m1-large".to_owned());
    inst0.hardware_properties = vec![("memory".to_owned(), "12288".to_owned())];

    let mut inst1 = instance("inst1", "img3", owner);
    inst1.name = Some("MockUserInstance".to_owned());
    inst1.storage_volumes = vec![Attachment { volume: "vol3".to_owned(), device: "/dev/sda1".to_owned() }];
    inst1.network_interfaces = Some(vec!["nic1".to_owned()]);
    // The reference made it from img1 once and never renamed it; a client's suite looks for this very address.
    (inst1.public_addresses, inst1.private_addresses) = addresses("img1", &inst1.id);

    let mut inst2 = instance("inst2", "img1", owner);
    inst2.name = Some("AnotherInstance".to_owned());
    inst2.hardware_profile = Some("m1-large".to_owned());

    let mut inst3 = instance("inst3", "img3", owner);
    inst3.name = Some(String::new());
    inst3.login = Some(LoginKind::Key(Some(String::new())));
    inst3.realm = Some("eu".to_owned());
    inst3.can_create_image = false;
    inst3.network_interfaces = Some(vec!["nicinst3".to_owned()]);
    vec![inst0, inst1, inst2, inst3]
}

/// A running one with its addresses and all defaults. Its actions are left to whoever keeps it.
pub(super) fn instance(id: &str, image: &str, owner: &str) -> Instance {
    let id = InstanceId::from(id);
    let (public_addresses, private_addresses) = addresses(image, &id);
    Instance {
        id,
        name: None,
        owner: Some(owner.to_owned()),
        image: Some(image.to_owned()),
        realm: Some(REALM.to_owned()),
        state: InstanceState::Running,
        native_state: InstanceState::Running.as_str().to_owned(),
        settling: false,
        hardware_profile: Some(PROFILE.to_owned()),
        hardware_properties: Vec::new(),
        actions: Vec::new(),
        can_create_image: true,
        launch_time: None,
        public_addresses,
        private_addresses,
        firewalls: None,
        storage_volumes: Vec::new(),
        login: Some(LoginKind::Key(None)),
        network_interfaces: Some(Vec::new()),
    }
}

/// Public and private.
pub(super) fn addresses(image: &str, id: &InstanceId) -> (Vec<Address>, Vec<Address>) {
    let address = |net| Address { kind: AddressKind::Hostname, text: format!("{image}.{id}.{net}.com") };
    (vec![address("public")], vec![address("private")])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_sorted_by_cpu_then_memory() {
        let measure = |profile: &HardwareProfile, name| {
            let property = profile.properties.iter().find(|property| property.name == name);
            property.map_or(f64::INFINITY, |property| property.value.parse::<f64>().unwrap())
        };
        let key = |profile: &HardwareProfile| (measure(profile, "cpu"), measure(profile, "memory"));
        assert!(hardware_profiles().is_sorted_by(|a, b| key(a) <= key(b)));
    }

    #[test]
    fn a_default_lies_within_what_can_be_chosen() {
        for property in hardware_profiles().into_iter().flat_map(|profile| profile.properties) {
            let number = |text: &str| text.parse::<f64>().unwrap();
            match &property.kind {
                PropertyKind::Fixed => assert!(!property.value.is_empty()),
                PropertyKind::Enum(values) => assert_eq!(values.first(), Some(&property.value)),
                PropertyKind::Range { first, last } => {
                    assert!((number(first)..=number(last)).contains(&number(&property.value)), "{property:?}");
                }
            }
        }
    }

    #[test]
    fn what_an_instance_names_is_there() {
        for instance in instances("mockuser") {
            assert!(images().iter().any(|image| Some(&image.id) == instance.image.as_ref()));
            assert!(realms().iter().any(|realm| Some(&realm.id) == instance.realm.as_ref()));
            assert!(hardware_profiles().iter().any(|profile| Some(&profile.id) == instance.hardware_profile.as_ref()));
        }
    }
}
