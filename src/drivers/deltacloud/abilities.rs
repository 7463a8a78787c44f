//! What upstreams can do, as tables. Which driver is behind one only a call could tell, so this is what any may offer: of what
//! it lacks the upstream itself says so, and which actions an instance offers is in the instance.

use crate::drivers::{Abilities, Feature, Machine, Transition};

/// The union of the machines of Deltacloud's drivers: some new instances end up running and others stopped, some end from
/// running and others once they are stopped, and one takes a second stop where the first got stuck.
static MACHINE: Machine = Machine(&[
    Transition::on("start", "create", "pending"),
    Transition::auto("pending", "running"),
    Transition::auto("pending", "stopped"),
    Transition::auto("pending", "error"),
    Transition::on("running", "reboot", "running"),
    Transition::on("running", "stop", "stopping"),
    Transition::on("running", "destroy", "finish"),
    Transition::auto("running", "error"),
    Transition::auto("stopping", "stopped"),
    Transition::on("stopping", "stop", "stopped"),
    Transition::auto("stopping", "finish"),
    Transition::on("stopped", "start", "running"),
    Transition::on("stopped", "destroy", "finish"),
]);

/// What is passed on. An upstream whose driver does not know a parameter ignores it, but for `instance_count`, which the
/// driver sees to by itself, and the filters, which the API does.
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
    ("storage_volumes", Feature { name: "volume_description", operation: "create", params: &["description"] }),
];

pub(super) static DELTACLOUD: Abilities = Abilities {
    id: "deltacloud",
    name: "Deltacloud",
    collections: &[
        "addresses",
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
    // Upstream may be a cloud whose zones have other names for everybody.
    realms_differ: true,
    // It is the user's name.
    identity_is_sure: true,
    lists_changes: false,
    providers: &[],
    // Some upstreams give them to everybody, others to nobody unknown.
    open_hardware_profiles: false,
};
