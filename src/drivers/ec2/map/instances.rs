//! Instances: one table for states.

use super::name;
use crate::drivers::ec2::abilities::MACHINE;
use crate::drivers::ec2::again::Glance;
use crate::drivers::ec2::blame;
use crate::drivers::ec2::parse::{self, InstanceStatus, StateChange, filled};
use crate::model::{Action, Address, AddressKind, Attachment, Instance, InstanceId, InstanceState, LoginKind};

/// Our state for a native one, and whether it is expected to move on by itself.
///
/// `shutting-down` is STOPPED, as Deltacloud always had it: the machine no longer works and will not work again. The
/// native word beside it tells it from a mere stop.
fn state(native: &str) -> (InstanceState, bool) {
    match native {
        "pending" => (InstanceState::Pending, true),
        "running" => (InstanceState::Running, false),
        "stopping" => (InstanceState::Stopping, true),
        "stopped" => (InstanceState::Stopped, false),
        "shutting-down" => (InstanceState::Stopped, true),
        "terminated" => (InstanceState::Finish, false),
        _ => (InstanceState::Unknown, false),
    }
}

/// What the state allows. An instance that is not on EBS has no disk to stop on: stopping it would end it, so it is
/// offered `destroy` in its place, and never `start`. One that is being terminated cannot be started again either.
fn actions(state: InstanceState, native: &str, on_ebs: bool) -> Vec<Action> {
    let mut actions = MACHINE.actions(state);
    if !on_ebs {
        for action in &mut actions {
            if *action == Action::Stop {
                *action = Action::Destroy;
            }
        }
    }
    if !on_ebs || native == "shutting-down" {
        actions.retain(|action| *action != Action::Start);
    }
    actions
}

pub(crate) fn instances(reservations: impl IntoIterator<Item = parse::Reservation>) -> impl Iterator<Item = Instance> {
    reservations.into_iter().flat_map(|reservation| {
        let owner = filled(reservation.owner_id);
        reservation.instances_set.items.into_iter().map(move |item| instance(item, owner.clone()))
    })
}

/// Of nothing that is not on EBS, nor of what is on its way elsewhere.
pub(crate) fn can_create_image(item: &parse::Instance) -> bool {
    is_on_ebs(item) && matches!(item.instance_state.name.as_str(), "running" | "stopped")
}

/// Clouds that do not say have nothing but disks that last.
fn is_on_ebs(item: &parse::Instance) -> bool {
    item.root_device_type.as_deref().is_none_or(|kind| kind != "instance-store")
}

fn instance(item: parse::Instance, owner: Option<String>) -> Instance {
    let (on_ebs, can_create_image) = (is_on_ebs(&item), can_create_image(&item));
    let native_state = item.instance_state.name;
    let (state, settling) = state(&native_state);
    let reason = item.state_reason.and_then(|reason| reason.code);
    let fault = blame::of_instance(&native_state, reason.as_deref());
    Instance {
        id: InstanceId(item.instance_id),
        name: name(item.tag_set),
        owner,
        image: filled(item.image_id),
        realm: filled(item.placement.and_then(|placement| placement.availability_zone)),
        state,
        settling,
        hardware_profile: filled(item.instance_type),
        hardware_properties: Vec::new(),
        actions: actions(state, &native_state, on_ebs),
        native_state,
        can_create_image,
        // A machine that is started again is launched again; nothing else that EC2 says of it has a time.
        modified_at: item.launch_time.as_deref().and_then(|at| at.parse().ok()),
        launch_time: filled(item.launch_time),
        public_addresses: addresses(item.dns_name, item.ip_address),
        private_addresses: addresses(item.private_dns_name, item.private_ip_address),
        firewalls: Some(
            item.group_set
                .items
                .into_iter()
                .filter_map(|group| filled(group.group_id).or(filled(group.group_name)))
                .collect(),
        ),
        storage_volumes: item.block_device_mapping.items.into_iter().filter_map(attachment).collect(),
        login: Some(LoginKind::Key(filled(item.key_name))),
        network_interfaces: None,
        fault,
        impaired: false,
    }
}

pub(crate) fn glance(item: InstanceStatus) -> Glance {
    let checks = [item.system_status, item.instance_status, item.attached_ebs_status];
    Glance {
        id: InstanceId(item.instance_id),
        native_state: item.instance_state.name,
        impaired: checks.into_iter().flatten().any(|check| check.status.as_deref() == Some("impaired")),
    }
}

/// As Deltacloud's clients are used to: the DNS name if there is one, else the address (a network without DNS names
/// gives none), else nothing.
fn addresses(dns_name: Option<String>, ip: Option<String>) -> Vec<Address> {
    let dns = filled(dns_name).map(|text| Address { kind: AddressKind::Hostname, text });
    dns.or_else(|| filled(ip).map(|text| Address { kind: AddressKind::Ipv4, text })).into_iter().collect()
}

fn attachment(device: parse::Device) -> Option<Attachment> {
    let volume = filled(device.ebs?.volume_id)?;
    Some(Attachment { volume, device: device.device_name.unwrap_or_default() })
}

/// A read right after an action may still show how it was before. Then what the action itself said is newer.
pub(crate) fn make_newer(read: &mut [parse::Reservation], said: &[StateChange]) {
    for item in read.iter_mut().flat_map(|reservation| &mut reservation.instances_set.items) {
        let stale = said.iter().find(|change| {
            change.instance_id == item.instance_id && change.previous_state.name == item.instance_state.name
        });
        if let Some(change) = stale {
            item.instance_state.name.clone_from(&change.current_state.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ec2::map::tests::read;
    use crate::drivers::ec2::parse::Page as _;
    use crate::model::FaultKind;

    fn recorded() -> Vec<Instance> {
        let pages =
            [include_str!("../replies/DescribeInstances-1.xml"), include_str!("../replies/DescribeInstances-2.xml")];
        pages.into_iter().flat_map(|page| instances(read::<parse::Instances>(page).into_parts().0)).collect()
    }

    #[test]
    fn a_native_word_has_one_meaning() {
        use Action::{Destroy, Reboot, Start, Stop};
        let check = |native: &str, state_is: InstanceState, settling: bool, on_ebs: &[Action], without: &[Action]| {
            assert_eq!(state(native), (state_is, settling), "{native}");
            assert_eq!(actions(state_is, native, true), on_ebs, "{native} on EBS");
            assert_eq!(actions(state_is, native, false), without, "{native} on instance store");
        };
        check("pending", InstanceState::Pending, true, &[], &[]);
        check("running", InstanceState::Running, false, &[Reboot, Stop], &[Reboot, Destroy]);
        check("stopping", InstanceState::Stopping, true, &[], &[]);
        check("stopped", InstanceState::Stopped, false, &[Start, Destroy], &[Destroy]);
        check("shutting-down", InstanceState::Stopped, true, &[Destroy], &[Destroy]);
        check("terminated", InstanceState::Finish, false, &[], &[]);
        check("hibernating", InstanceState::Unknown, false, &[], &[]);
        check("", InstanceState::Unknown, false, &[], &[]);
        check("Running", InstanceState::Unknown, false, &[], &[]);
    }

    #[test]
    fn a_running_machine_is_read_whole() {
        let web = recorded().into_iter().next().expect("the first");
        let hostname = |text: &str| vec![Address { kind: AddressKind::Hostname, text: text.to_owned() }];
        let attached = |volume: &str, device: &str| Attachment { volume: volume.to_owned(), device: device.to_owned() };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            web,
            Instance {
                id: InstanceId::from("i-0c7a1f2e3d4b5a601"),
                name: some("web & more"),
                owner: some("123456789012"),
                image: some("ami-0abcdef1234567890"),
                realm: some("us-east-1a"),
                state: InstanceState::Running,
                native_state: "running".to_owned(),
                settling: false,
                hardware_profile: some("m5d.large"),
                hardware_properties: vec![],
                actions: vec![Action::Reboot, Action::Stop],
                can_create_image: true,
                launch_time: some("2026-11-20T09:12:44.000Z"),
                public_addresses: hostname("ec2-198-51-100-17.compute-1.amazonaws.com"),
                private_addresses: hostname("ip-10-0-0-7.ec2.internal"),
                firewalls: Some(vec!["sg-0a1b2c3d4e5f60001".to_owned(), "sg-0a1b2c3d4e5f60002".to_owned()]),
                storage_volumes: vec![
                    attached("vol-0aaaaaaaaaaaaaaa1", "/dev/xvda"),
                    attached("vol-0aaaaaaaaaaaaaaa2", "/dev/sdf")
                ],
                login: Some(LoginKind::Key(some("alice"))),
                network_interfaces: None,
                fault: None,
                impaired: false,
                modified_at: Some("2026-11-20T09:12:44Z".parse().unwrap()),
            }
        );
    }

    #[test]
    fn what_an_instance_lacks_is_absent_and_not_blank() {
        let all = recorded();
        let of = |id: &str| all.iter().find(|instance| instance.id.as_str() == id).expect("recorded");

        let pending = of("i-0c7a1f2e3d4b5a602");
        assert_eq!((pending.public_addresses.len(), &pending.name), (0, &None));
        assert_eq!(pending.login, Some(LoginKind::Key(None)));
        assert!(pending.settling && !pending.can_create_image);

        let on_store = of("i-0f00ba4f00ba4f001");
        let ipv4 = |text: &str| vec![Address { kind: AddressKind::Ipv4, text: text.to_owned() }];
        assert_eq!(on_store.public_addresses, ipv4("203.0.113.9"), "no DNS name: the address itself");
        assert_eq!(on_store.private_addresses, ipv4("10.0.1.9"));
        assert_eq!(on_store.actions, [Action::Reboot, Action::Destroy]);
        assert!(!on_store.can_create_image, "it has no disk that lasts");
        assert_eq!((on_store.firewalls.as_deref(), on_store.storage_volumes.len()), (Some([].as_slice()), 0));

        assert_eq!(of("i-0a00000000000d001").name, None, "an empty Name tag is no name");
        let dead = of("i-0a00000000000d002");
        let fault = dead.fault.as_ref().map(|fault| (fault.kind, fault.code.as_str()));
        assert_eq!(fault, Some((FaultKind::Request, "Client.UserInitiatedShutdown")));
        assert_eq!((dead.state, dead.private_addresses.len()), (InstanceState::Finish, 0));
        let odd = of("i-0a00000000000d005");
        assert_eq!((odd.state, odd.native_state.as_str()), (InstanceState::Unknown, "hibernating"));
    }

    #[test]
    fn after_an_action_the_newer_of_two_answers_counts() {
        let said: Vec<StateChange> = read::<parse::Stopped>(include_str!("../replies/StopInstances.xml")).into();
        let page = || read::<parse::Instances>(include_str!("../replies/DescribeInstances-1.xml")).into_parts().0;
        let states = |reservations: Vec<parse::Reservation>| -> Vec<String> {
            instances(reservations).map(|instance| instance.native_state).collect()
        };

        let mut stale = page();
        make_newer(&mut stale, &said);
        assert_eq!(states(stale), ["stopping", "pending", "running"], "only the one that was asked for");

        let mut further = page();
        further[0].instances_set.items[0].instance_state.name = "stopped".to_owned();
        make_newer(&mut further, &said);
        assert_eq!(states(further), ["stopped", "pending", "running"], "already past what the action said");
    }
}
