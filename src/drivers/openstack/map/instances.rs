use std::collections::BTreeMap;
use std::net::IpAddr;

use super::profiles::Flavors;
use super::states::Power;
use super::{actions, state};
use crate::drivers::openstack::blame;
use crate::drivers::openstack::parse::{NetAddress, Server, filled};
use crate::model::{Address, AddressKind, Attachment, Instance, InstanceId, InstanceState, LoginKind, NewInstance};

pub(in crate::drivers::openstack) fn instance(server: Server, flavors: &Flavors) -> Instance {
    let task = filled(server.task_state);
    let power = Power::of(server.vm_state.as_deref(), server.power_state);
    let (state, settling) = state(&server.status, task.as_deref(), power);
    let can_create_image = can_create_image(&server.status, task.as_deref());
    let (public_addresses, private_addresses) =
        addresses(server.addresses.into_values().flatten().flatten(), server.access_ipv4);
    // Nova keeps the last one, also of a machine that was mended since.
    let fault = server.fault.filter(|_| state == InstanceState::Error);
    Instance {
        id: InstanceId(server.id),
        name: filled(server.name),
        owner: filled(server.tenant_id),
        image: filled(server.image),
        realm: filled(server.zone),
        state,
        settling,
        hardware_profile: server.flavor.id.or_else(|| flavors.id_of(&server.flavor.original_name?)),
        hardware_properties: Vec::new(),
        actions: actions(state, &server.status, task.as_deref()),
        native_state: task.map_or_else(|| server.status.clone(), |task| format!("{}/{task}", server.status)),
        can_create_image,
        launch_time: filled(server.created),
        public_addresses,
        private_addresses,
        firewalls: None,
        // Where in the machine it is, only the volume says.
        storage_volumes: server
            .volumes
            .into_iter()
            .map(|one| Attachment { volume: one.id, device: String::new() })
            .collect(),
        login: Some(LoginKind::Key(filled(server.key_name))),
        network_interfaces: None,
        fault: fault.map(|fault| blame::of_server(fault.code, &fault.message)),
        impaired: server.host_status.is_some_and(|host| matches!(host.as_str(), "DOWN" | "UNKNOWN")),
        modified_at: server.updated.and_then(|at| at.parse().ok()),
        announced: None,
        stay: None,
    }
}

/// Nova takes it of these, while nothing else is being done to them.
pub(in crate::drivers::openstack) fn can_create_image(status: &str, task: Option<&str>) -> bool {
    task.is_none() && matches!(status, "ACTIVE" | "SHUTOFF" | "PAUSED" | "SUSPENDED")
}

/// What can be reached from anywhere, and what cannot. A floating address is public wherever it leads from, and so is a
/// fixed one that is no private network's, as where machines are put right into the provider's network.
fn addresses(all: impl Iterator<Item = NetAddress>, access: Option<String>) -> (Vec<Address>, Vec<Address>) {
    let (mut public, mut private) = (Vec::new(), Vec::new());
    let mut put = |to_public: bool, address: Address| {
        let list = if to_public { &mut public } else { &mut private };
        if !list.contains(&address) {
            list.push(address);
        }
    };
    for one in all.filter(|one| !one.addr.is_empty()) {
        let kind = if one.version == 6 { AddressKind::Ipv6 } else { AddressKind::Ipv4 };
        let floating = one.kind.as_deref() == Some("floating");
        put(floating || !is_private(&one.addr), Address { kind, text: one.addr });
    }
    // Somebody said that it is reached there.
    if let Some(text) = filled(access) {
        put(true, Address { kind: AddressKind::Ipv4, text });
    }
    (public, private)
}

fn is_private(text: &str) -> bool {
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || shared
        }
        Ok(IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
        Err(_) => true,
    }
}

/// A server that Nova took and that cannot be read by now: what is known of it by who asked for it.
pub(in crate::drivers::openstack) fn in_the_making(
    id: String,
    name: String,
    new: &NewInstance,
    profile: &str,
) -> Instance {
    let (state, settling) = state("BUILD", None, Power::On);
    Instance {
        name: Some(name),
        image: Some(new.image.clone()),
        realm: new.realm.clone(),
        hardware_profile: Some(profile.to_owned()),
        settling,
        actions: actions(state, "BUILD", None),
        login: Some(LoginKind::Key(new.key_name.clone())),
        ..Instance::bare(&id, state, "BUILD")
    }
}

/// A complete list of what was known and what changed since. What ended is told once more by its end, and is gone when that
/// has been seen; what ended before anybody saw it is not told at all.
pub(in crate::drivers::openstack) fn again(
    known: &BTreeMap<InstanceId, Instance>,
    changed: Vec<Instance>,
) -> Vec<Instance> {
    let mut now: BTreeMap<InstanceId, Instance> = known
        .iter()
        .filter(|(_, one)| one.state != InstanceState::Finish)
        .map(|(id, one)| (id.clone(), one.clone()))
        .collect();
    for mut instance in changed {
        if instance.state == InstanceState::Unknown
            && let Some(before) = known.get(&instance.id)
        {
            still(&mut instance, before);
        }
        if instance.state != InstanceState::Finish || known.contains_key(&instance.id) {
            now.insert(instance.id.clone(), instance);
        }
    }
    now.into_values().collect()
}

/// Of a server whose cell is down Nova tells next to nothing: the rest is as it was.
fn still(now: &mut Instance, before: &Instance) {
    let parts = [
        (&mut now.name, &before.name),
        (&mut now.image, &before.image),
        (&mut now.realm, &before.realm),
        (&mut now.hardware_profile, &before.hardware_profile),
        (&mut now.launch_time, &before.launch_time),
    ];
    for (now, before) in parts {
        if now.is_none() {
            now.clone_from(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::openstack::parse::{OneServer, recorded};
    use crate::model::{Action, Fault, FaultKind};

    fn flavors() -> Flavors {
        Flavors::of([("m1.nano".to_owned(), "42".to_owned())])
    }

    fn read(reply: &str) -> Instance {
        instance(recorded::<OneServer>(reply).server, &flavors())
    }

    #[test]
    fn a_running_machine_is_read_whole() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            read(include_str!("../replies/server-build-2.json")),
            Instance {
                id: InstanceId::from("d3f25e27-7ccf-43b7-b381-ee4d5f782fb3"),
                name: some("t2"),
                owner: some("63d2e5104dc34ca6a99330dc5f50dab0"),
                image: some("115d5dd8-f0dd-4e78-b100-13ace4710e51"),
                realm: some("az-b"),
                state: InstanceState::Running,
                native_state: "ACTIVE".to_owned(),
                settling: false,
                hardware_profile: some("42"),
                hardware_properties: vec![],
                actions: vec![Action::Reboot, Action::Stop, Action::Destroy],
                can_create_image: true,
                launch_time: some("2026-11-21T00:59:56Z"),
                public_addresses: vec![],
                private_addresses: vec![],
                firewalls: None,
                storage_volumes: vec![],
                login: Some(LoginKind::Key(None)),
                network_interfaces: None,
                fault: None,
                impaired: false,
                modified_at: Some("2026-11-21T00:59:57Z".parse().unwrap()),
                announced: None,
                stay: None,
            }
        );
    }

    #[test]
    fn a_failure_says_why_and_a_dead_host_shows() {
        let failed = read(include_str!("../replies/server-fault-novalidhost.json"));
        let capacity = Fault { kind: FaultKind::Capacity, code: "NoValidHost".to_owned() };
        assert_eq!((failed.state, failed.fault, failed.impaired), (InstanceState::Error, Some(capacity), false));
        let dead = read(include_str!("../replies/server-on-dead-host.json"));
        assert_eq!((dead.state, dead.fault, dead.impaired), (InstanceState::Running, None, true));
    }

    #[test]
    fn a_server_of_which_little_is_told_is_still_one() {
        let text =
            r#"{"id": "i1", "tenant_id": "p1", "status": "UNKNOWN", "created": "2026-11-21T00:59:56Z", "links": []}"#;
        let server: Server = serde_json::from_str(text).expect("a server of a cell that is down");
        let instance = instance(server, &flavors());
        assert_eq!((instance.state, instance.native_state.as_str()), (InstanceState::Unknown, "UNKNOWN"));
        assert_eq!((instance.name, instance.realm, instance.hardware_profile), (None, None, None));

        let text = r#"{"id": "i1", "status": "ACTIVE", "image": "", "flavor": {"id": "7"}, "OS-EXT-AZ:availability_zone": "",
            "key_name": "alice", "os-extended-volumes:volumes_attached": [{"id": "v1"}]}"#;
        let old = instance_of(text);
        assert_eq!((old.image, old.realm, old.hardware_profile.as_deref()), (None, None, Some("7")));
        assert_eq!(old.storage_volumes, [Attachment { volume: "v1".to_owned(), device: String::new() }]);
        assert_eq!(old.login, Some(LoginKind::Key(Some("alice".to_owned()))));
    }

    #[test]
    fn a_null_is_what_is_left_out() {
        let text = r#"{"id": "i1", "status": "ACTIVE", "name": null, "image": null, "flavor": null, "addresses": null,
            "os-extended-volumes:volumes_attached": null, "fault": null, "OS-EXT-STS:task_state": null,
            "OS-EXT-STS:power_state": null, "OS-EXT-STS:vm_state": null, "host_status": null}"#;
        assert_eq!(instance_of(text), instance_of(r#"{"id": "i1", "status": "ACTIVE"}"#));
        let text = r#"{"id": "i1", "status": null, "addresses": {"lan": null, "dmz": [{"addr": null, "version": null}]},
            "fault": {"code": 500, "message": null}}"#;
        assert_eq!(instance_of(text).state, InstanceState::Unknown);
    }

    fn instance_of(text: &str) -> Instance {
        instance(serde_json::from_str(text).expect("a server"), &flavors())
    }

    #[test]
    fn addresses_are_public_or_private() {
        let text = r#"{"id": "i1", "status": "ACTIVE", "accessIPv4": "", "addresses": {
            "lan": [{"addr": "10.0.0.7", "version": 4, "OS-EXT-IPS:type": "fixed"},
                    {"addr": "172.24.4.9", "version": 4, "OS-EXT-IPS:type": "floating"},
                    {"addr": "fd00::7", "version": 6, "OS-EXT-IPS:type": "fixed"}],
            "provider": [{"addr": "203.0.113.9", "version": 4, "OS-EXT-IPS:type": "fixed"},
                         {"addr": "2001:db8::9", "version": 6, "OS-EXT-IPS:type": "fixed"},
                         {"addr": "100.64.0.1", "version": 4, "OS-EXT-IPS:type": "fixed"}]}}"#;
        let instance = instance_of(text);
        let seen =
            |list: &[Address]| list.iter().map(|one| format!("{} {}", one.kind.as_str(), one.text)).collect::<Vec<_>>();
        assert_eq!(seen(&instance.public_addresses), ["ipv4 172.24.4.9", "ipv4 203.0.113.9", "ipv6 2001:db8::9"]);
        assert_eq!(seen(&instance.private_addresses), ["ipv4 10.0.0.7", "ipv6 fd00::7", "ipv4 100.64.0.1"]);
        let said = instance_of(r#"{"id": "i1", "status": "ACTIVE", "accessIPv4": "198.51.100.1"}"#);
        assert_eq!(seen(&said.public_addresses), ["ipv4 198.51.100.1"]);
    }

    #[test]
    fn a_list_is_what_was_known_and_what_changed() {
        use InstanceState::{Finish, Running, Stopped};
        let one = |id: &str, state| Instance::bare(id, state, "");
        let known = |all: &[(&str, InstanceState)]| -> BTreeMap<InstanceId, Instance> {
            all.iter().map(|(id, state)| (InstanceId::from(*id), one(id, *state))).collect()
        };
        let check = |before: &[(&str, InstanceState)],
                     changed: &[(&str, InstanceState)],
                     expected: &[(&str, InstanceState)]| {
            let changed = changed.iter().map(|(id, state)| one(id, *state)).collect();
            let now = again(&known(before), changed);
            let seen: Vec<_> = now.iter().map(|one| (one.id.as_str(), one.state)).collect();
            assert_eq!(seen, expected, "{before:?}");
        };
        check(&[("b", Running), ("a", Running)], &[], &[("a", Running), ("b", Running)]);
        check(&[("b", Running)], &[("a", Running), ("b", Stopped)], &[("a", Running), ("b", Stopped)]);
        check(&[("a", Running), ("b", Running)], &[("a", Finish)], &[("a", Finish), ("b", Running)]);
        // The overlap brings the end again, and then no more.
        check(&[("a", Finish), ("b", Running)], &[("a", Finish)], &[("a", Finish), ("b", Running)]);
        check(&[("a", Finish), ("b", Running)], &[], &[("b", Running)]);
        check(&[], &[("a", Finish)], &[]);

        let named = Instance { name: Some("web".to_owned()), realm: Some("az-b".to_owned()), ..one("a", Running) };
        let now = again(&BTreeMap::from([(named.id.clone(), named)]), vec![one("a", InstanceState::Unknown)]);
        assert_eq!((now[0].state, now[0].name.as_deref()), (InstanceState::Unknown, Some("web")), "its cell is down");
        assert_eq!(now[0].realm.as_deref(), Some("az-b"));

        check(&[("a", Finish)], &[("a", Running)], &[("a", Running)]);
    }
}
