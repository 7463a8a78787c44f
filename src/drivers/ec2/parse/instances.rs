use serde::Deserialize;

use super::{Page, Reply, Set, Tag, filled};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instances {
    reservation_set: Set<Reservation>,
    next_token: Option<String>,
}

impl Reply for Instances {
    const ROOT: &'static str = "DescribeInstancesResponse";
}

impl Page for Instances {
    type Member = Reservation;

    fn into_parts(self) -> (Vec<Reservation>, Option<String>) {
        (self.reservation_set.items, filled(self.next_token))
    }
}

/// Instances launched together. Also the whole answer to `RunInstances`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reservation {
    pub(crate) owner_id: Option<String>,
    pub(crate) instances_set: Set<Instance>,
}

impl Reply for Reservation {
    const ROOT: &'static str = "RunInstancesResponse";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    pub(crate) instance_id: String,
    pub(crate) instance_state: State,
    pub(crate) image_id: Option<String>,
    pub(crate) dns_name: Option<String>,
    pub(crate) ip_address: Option<String>,
    pub(crate) private_dns_name: Option<String>,
    pub(crate) private_ip_address: Option<String>,
    pub(crate) key_name: Option<String>,
    pub(crate) instance_type: Option<String>,
    pub(crate) launch_time: Option<String>,
    pub(crate) architecture: Option<String>,
    pub(crate) root_device_type: Option<String>,
    pub(crate) placement: Option<Placement>,
    #[serde(default)]
    pub(crate) group_set: Set<Group>,
    #[serde(default)]
    pub(crate) block_device_mapping: Set<Device>,
    #[serde(default)]
    pub(crate) tag_set: Set<Tag>,
    pub(crate) state_reason: Option<StateReason>,
}

/// Why it changed its state last.
#[derive(Debug, Deserialize)]
pub(crate) struct StateReason {
    pub(crate) code: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct State {
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Placement {
    pub(crate) availability_zone: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Group {
    pub(crate) group_id: Option<String>,
    pub(crate) group_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Device {
    pub(crate) device_name: Option<String>,
    pub(crate) ebs: Option<Ebs>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Ebs {
    pub(crate) volume_id: Option<String>,
}

/// What an action says it did to one instance.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StateChange {
    pub(crate) instance_id: String,
    pub(crate) current_state: State,
    pub(crate) previous_state: State,
}

macro_rules! state_changes {
    ($($name:ident = $root:literal),*) => {$(
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(crate) struct $name {
            instances_set: Set<StateChange>,
        }

        impl Reply for $name {
            const ROOT: &'static str = $root;
        }

        impl From<$name> for Vec<StateChange> {
            fn from(reply: $name) -> Self {
                reply.instances_set.items
            }
        }
    )*};
}

state_changes!(
    Started = "StartInstancesResponse",
    Stopped = "StopInstancesResponse",
    Terminated = "TerminateInstancesResponse"
);

/// Instances in short.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceStatuses {
    instance_status_set: Set<InstanceStatus>,
    next_token: Option<String>,
}

impl Reply for InstanceStatuses {
    const ROOT: &'static str = "DescribeInstanceStatusResponse";
}

impl Page for InstanceStatuses {
    type Member = InstanceStatus;

    fn into_parts(self) -> (Vec<InstanceStatus>, Option<String>) {
        (self.instance_status_set.items, filled(self.next_token))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceStatus {
    pub(crate) instance_id: String,
    pub(crate) instance_state: State,
    /// Of its host, its own, and of its disks.
    pub(crate) system_status: Option<Checked>,
    pub(crate) instance_status: Option<Checked>,
    pub(crate) attached_ebs_status: Option<Checked>,
    #[serde(default)]
    pub(crate) events_set: Set<ScheduledEvent>,
}

/// What AWS will do to it, or has done: then the description says so first.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScheduledEvent {
    /// `instance-retirement`, `instance-stop`, `instance-reboot`, `system-reboot`, `system-maintenance`.
    pub(crate) code: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) not_before: Option<String>,
    pub(crate) not_after: Option<String>,
}

/// What EC2's checks say: `ok`, `impaired`, `initializing`, `insufficient-data`, `not-applicable`.
#[derive(Debug, Deserialize)]
pub(crate) struct Checked {
    pub(crate) status: Option<String>,
}
