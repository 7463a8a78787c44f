use std::net::IpAddr;

use super::id;
use crate::drivers::deltacloud::document::Node;
use crate::model::{Action, Address, AddressKind, Attachment, Instance, InstanceId, InstanceState, LoginKind};

/// Our state for an upstream's, and whether it is expected to move on by itself. Upstreams say what their driver's table
/// makes of its cloud's word, in upper case; before 1.0 STOPPING was SHUTTING_DOWN, which some drivers still say, and one
/// says START and FINISHED.
fn state(native: &str) -> (InstanceState, bool) {
    match native.to_ascii_uppercase().as_str() {
        "PENDING" | "START" => (InstanceState::Pending, true),
        "RUNNING" => (InstanceState::Running, false),
        "STOPPING" | "SHUTTING_DOWN" => (InstanceState::Stopping, true),
        "STOPPED" => (InstanceState::Stopped, false),
        "FINISH" | "FINISHED" | "TERMINATED" => (InstanceState::Finish, false),
        "ERROR" => (InstanceState::Error, false),
        _ => (InstanceState::Unknown, false),
    }
}

/// The link by which an action is asked for. `None`: it is not offered now.
pub(crate) fn link<'a>(node: &'a Node, rel: &'a str) -> Option<&'a Node> {
    node.all("actions", "link").find(|link| link.attribute("rel") == Some(rel))
}

pub(crate) fn instance(node: &Node) -> Instance {
    let native_state = node.said("state").unwrap_or_default();
    let (state, settling) = state(native_state);
    let properties = node.all("hardware_profile", "property");
    Instance {
        id: InstanceId(id(node)),
        name: node.said_owned("name"),
        owner: node.said_owned("owner_id"),
        image: node.reference("image"),
        realm: node.reference("realm"),
        state,
        native_state: native_state.to_owned(),
        settling,
        hardware_profile: node.reference("hardware_profile"),
        hardware_properties: properties
            .filter_map(|property| {
                Some((property.attribute("name")?.to_owned(), property.attribute("value")?.to_owned()))
            })
            .collect(),
        actions: actions(node),
        can_create_image: link(node, "create_image").is_some(),
        launch_time: node.said_owned("launch_time"),
        public_addresses: node.all("public_addresses", "address").filter_map(address).collect(),
        private_addresses: node.all("private_addresses", "address").filter_map(address).collect(),
        firewalls: references(node, "firewalls", "firewall"),
        storage_volumes: node
            .all("storage_volumes", "storage_volume")
            .filter_map(|volume| {
                let device = volume.attribute("device").unwrap_or_default().to_owned();
                Some(Attachment { volume: volume.attribute("id")?.to_owned(), device })
            })
            .collect(),
        login: login(node),
        network_interfaces: references(node, "network_interfaces", "network_interface"),
        fault: None,
        impaired: false,
        modified_at: None,
    }
}

/// As the upstream offers them: it knows its driver's machine, and exceptions to it.
fn actions(node: &Node) -> Vec<Action> {
    let mut actions = Vec::new();
    for rel in node.all("actions", "link").filter_map(|link| link.attribute("rel")) {
        let all = [Action::Start, Action::Stop, Action::Reboot, Action::Destroy];
        actions.extend(all.into_iter().find(|action| action.as_str() == rel && !actions.contains(action)));
    }
    actions
}

/// `None`: the upstream's driver has nothing of the sort.
fn references(node: &Node, within: &str, name: &str) -> Option<Vec<String>> {
    node.child(within)?;
    Some(node.all(within, name).filter_map(Node::id).map(str::to_owned).collect())
}

/// `None`: none that we have a word for (`vnc` is where a screen is, and not the instance), or one that is yet to come,
/// which upstreams show as `unavailable`.
fn address(node: &Node) -> Option<Address> {
    let text = Some(node.text()).filter(|text| !text.is_empty())?;
    let kind = match (node.attribute("type"), text.parse::<IpAddr>()) {
        (Some("ipv4"), _) => AddressKind::Ipv4,
        (Some("ipv6"), _) => AddressKind::Ipv6,
        (Some("hostname"), _) => AddressKind::Hostname,
        (Some("mac"), _) => AddressKind::Mac,
        (Some(_), _) => return None,
        // Before 1.0 addresses had no types.
        (None, Ok(IpAddr::V4(_))) => AddressKind::Ipv4,
        (None, Ok(IpAddr::V6(_))) => AddressKind::Ipv6,
        (None, Err(_)) => AddressKind::Hostname,
    };
    Some(Address { kind, text: text.to_owned() })
}

/// The key by which one logs in. A password is nobody's business but the upstream's, and passed over.
fn login(node: &Node) -> Option<LoginKind> {
    let authentication = node.child("authentication")?;
    let key = authentication.each("login").find_map(|login| login.said_owned("keyname"));
    let by_key = key.is_some() || authentication.attribute("type") == Some("key");
    by_key.then_some(LoginKind::Key(key))
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;

    fn all() -> Vec<Instance> {
        let list = recorded(include_str!("../replies/instances.xml"));
        list.into_members("instances", "instance").expect("a list").iter().map(instance).collect()
    }

    #[test]
    fn a_word_has_one_meaning() {
        let check = |native: &str, expected: InstanceState, settling: bool| {
            assert_eq!(state(native), (expected, settling), "{native}");
        };
        check("PENDING", InstanceState::Pending, true);
        check("START", InstanceState::Pending, true);
        check("RUNNING", InstanceState::Running, false);
        check("running", InstanceState::Running, false);
        check("STOPPING", InstanceState::Stopping, true);
        check("SHUTTING_DOWN", InstanceState::Stopping, true);
        check("STOPPED", InstanceState::Stopped, false);
        check("FINISH", InstanceState::Finish, false);
        check("FINISHED", InstanceState::Finish, false);
        check("ERROR", InstanceState::Error, false);
        check("UNKNOWN", InstanceState::Unknown, false);
        check("ARCHIVE", InstanceState::Unknown, false);
        check("", InstanceState::Unknown, false);
    }

    #[test]
    fn a_running_machine_is_read_whole() {
        let some = |text: &str| Some(text.to_owned());
        let hostname = |text: &str| vec![Address { kind: AddressKind::Hostname, text: text.to_owned() }];
        assert_eq!(
            all()[0],
            Instance {
                id: InstanceId::from("inst1"),
                name: some("MockUserInstance"),
                owner: some("mockuser"),
                image: some("img3"),
                realm: some("us"),
                state: InstanceState::Running,
                native_state: "RUNNING".to_owned(),
                settling: false,
                hardware_profile: some("m1-small"),
                hardware_properties: vec![("memory".to_owned(), "12288".to_owned())],
                actions: vec![Action::Reboot, Action::Stop],
                can_create_image: true,
                launch_time: some("Thu Jul 30 14:35:11 UTC 2009"),
                public_addresses: hostname("img1.inst1.public.com"),
                private_addresses: hostname("img1.inst1.private.com"),
                firewalls: Some(vec!["default".to_owned()]),
                storage_volumes: vec![Attachment { volume: "vol3".to_owned(), device: "/dev/sda1".to_owned() }],
                login: Some(LoginKind::Key(some("mockkey"))),
                network_interfaces: Some(vec!["nic1".to_owned()]),
                fault: None,
                impaired: false,
                modified_at: None,
            }
        );
    }

    #[test]
    fn what_an_instance_lacks_is_absent_and_not_blank() {
        let all = all();
        let pending = &all[1];
        assert_eq!(pending.name.as_deref(), Some("A & B"), "nobody escaped it");
        assert_eq!((&pending.public_addresses, &pending.private_addresses), (&vec![], &vec![]), "unavailable is none");
        assert_eq!((pending.actions.len(), pending.can_create_image, pending.settling), (0, false, true));
        assert_eq!((&pending.firewalls, &pending.network_interfaces), (&None, &None));
        assert_eq!(pending.login, Some(LoginKind::Key(None)));

        let stopping = &all[2];
        assert_eq!(stopping.actions, [Action::Stop], "a second stop, as the upstream offers it");
        let addresses: Vec<_> =
            stopping.public_addresses.iter().map(|address| (address.kind.as_str(), address.text.as_str())).collect();
        assert_eq!(
            addresses,
            [("ipv4", "192.0.2.7"), ("ipv6", "2001:db8::7"), ("hostname", "vm.example"), ("mac", "00:1a:4a:16:84:68")]
        );
        assert_eq!(stopping.login, None);
        assert!(!format!("{stopping:?}").contains("hush"));

        let stateless = &all[3];
        assert_eq!((stateless.state, stateless.native_state.as_str()), (InstanceState::Unknown, ""));
    }
}
