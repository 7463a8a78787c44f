//! What EC2 can do, as tables.

use crate::drivers::{Abilities, Feature, Machine, Provider, Transition};

const fn by_itself(from: &'static str, to: &'static str) -> Transition {
    Transition { from, action: None, to }
}

const fn asked(from: &'static str, action: &'static str, to: &'static str) -> Transition {
    Transition { from, action: Some(action), to }
}

pub(super) static MACHINE: Machine = Machine(&[
    by_itself("start", "pending"),
    by_itself("pending", "running"),
    asked("running", "reboot", "running"),
    asked("running", "stop", "stopping"),
    by_itself("stopping", "stopped"),
    asked("stopped", "start", "running"),
    asked("stopped", "destroy", "finish"),
]);

/// Only what the driver really honours. `user_name` must not be here: clients tell EC2 from the mock driver by it.
const FEATURES: &[(&str, Feature)] = &[
    ("instances", Feature { name: "realm_filter", operation: "index", params: &["realm_id"] }),
    ("instances", Feature { name: "user_data", operation: "create", params: &["user_data"] }),
    ("instances", Feature { name: "authentication_key", operation: "create", params: &["keyname"] }),
    ("instances", Feature { name: "firewalls", operation: "create", params: &["firewalls"] }),
    ("instances", Feature { name: "instance_count", operation: "create", params: &["instance_count"] }),
    ("images", Feature { name: "owner_id", operation: "index", params: &["owner_id"] }),
    ("images", Feature { name: "image_name", operation: "create", params: &["name"] }),
    ("images", Feature { name: "image_description", operation: "create", params: &["description"] }),
    ("keys", Feature { name: "import_key", operation: "create", params: &["public_key"] }),
    ("storage_volumes", Feature { name: "volume_name", operation: "create", params: &["name"] }),
];

macro_rules! region {
    ($id:literal, $s3:literal) => {
        Provider { id: $id, entrypoints: &[("ec2", concat!("ec2.", $id, ".amazonaws.com")), ("s3", $s3)] }
    };
}
/// The regions Deltacloud always listed. Any other may be named as well; these are merely shown.
const PROVIDERS: &[Provider] = &[
    region!("ap-northeast-1", "s3-ap-northeast-1.amazonaws.com"),
    region!("ap-southeast-1", "s3-ap-southeast-1.amazonaws.com"),
    region!("eu-west-1", "s3-eu-west-1.amazonaws.com"),
    region!("sa-east-1", "s3-sa-east-1.amazonaws.com"),
    region!("us-east-1", "s3.amazonaws.com"),
    region!("us-west-1", "s3-us-west-1.amazonaws.com"),
    region!("us-west-2", "s3-us-west-2.amazonaws.com"),
];

pub(super) static EC2: Abilities = Abilities {
    id: "ec2",
    name: "EC2",
    collections: &[
        "addresses",
        "firewalls",
        "hardware_profiles",
        "images",
        "instances",
        "keys",
        "realms",
        "storage_snapshots",
        "storage_volumes",
    ],
    features: FEATURES,
    machine: &MACHINE,
    lists_ended: true,
    may_lag: true,
    realms_differ: true,
    identity_is_sure: false,
    lists_changes: false,
    providers: PROVIDERS,
    open_hardware_profiles: false,
};
