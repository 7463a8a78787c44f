//! What OpenStack can do, as tables.

use crate::drivers::{Abilities, Feature, Machine, Transition};

/// Other than Deltacloud's driver, whose `stop` deleted: here a machine that is stopped can be started, and is deleted by
/// `destroy`, from whatever state.
pub(super) static MACHINE: Machine = Machine(&[
    Transition::on("start", "create", "pending"),
    Transition::auto("pending", "running"),
    Transition::auto("pending", "error"),
    Transition::on("pending", "destroy", "stopping"),
    Transition::on("running", "reboot", "pending"),
    Transition::on("running", "stop", "stopping"),
    Transition::on("running", "destroy", "stopping"),
    Transition::auto("running", "stopped"),
    Transition::auto("running", "error"),
    Transition::auto("stopping", "stopped"),
    Transition::auto("stopping", "finish"),
    Transition::auto("stopping", "error"),
    Transition::on("stopped", "start", "pending"),
    Transition::on("stopped", "destroy", "stopping"),
    Transition::on("error", "destroy", "stopping"),
]);

const FEATURES: &[(&str, Feature)] = &[
    ("instances", Feature { name: "realm_filter", operation: "index", params: &["realm_id"] }),
    ("instances", Feature { name: "user_name", operation: "create", params: &["name"] }),
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

pub(super) static OPENSTACK: Abilities = Abilities {
    id: "openstack",
    name: "OpenStack",
    collections: &[
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
    lists_ended: false,
    may_lag: true,
    realms_differ: false,
    identity_is_sure: true,
    lists_changes: true,
    // Every cloud is somebody's own.
    providers: &[],
    open_hardware_profiles: false,
};
