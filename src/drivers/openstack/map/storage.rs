//! Volumes and snapshots: one table for what a volume's state allows.

use crate::drivers::openstack::parse::{self, filled};
use crate::model::{Mount, Snapshot, Volume, VolumeAction};

/// What a volume's state allows, and whether it is expected to move on by itself. Words we do not know allow nothing.
fn prospects(native: &str) -> (&'static [VolumeAction], bool) {
    match native {
        "available" => (&[VolumeAction::Attach, VolumeAction::Destroy], false),
        "in-use" => (&[VolumeAction::Detach], false),
        "creating" | "attaching" | "detaching" | "reserved" | "deleting" | "downloading" | "uploading" | "retyping"
        | "extending" | "backing-up" | "restoring-backup" => (&[], true),
        "error" | "error_restoring" | "error_extending" | "error_managing" => (&[VolumeAction::Destroy], false),
        _ => (&[], false),
    }
}

pub(in crate::drivers::openstack) fn volume(item: parse::Volume) -> Volume {
    let (actions, settling) = prospects(&item.status);
    let mount = item.attachments.into_iter().find_map(|attachment| {
        Some(Mount { instance: filled(attachment.server_id)?, device: attachment.device.unwrap_or_default() })
    });
    Volume {
        id: item.id,
        name: filled(item.name),
        description: filled(item.description),
        created: filled(item.created_at),
        capacity: item.size.map(|gib| gib.to_string()).unwrap_or_default(),
        kind: filled(item.volume_type),
        realm: filled(item.availability_zone),
        state: if item.status.is_empty() { UNSAID.to_owned() } else { item.status.to_uppercase() },
        native_state: item.status,
        settling,
        mount,
        actions: actions.to_vec(),
    }
}

/// Deltacloud's word for a state that was not said.
const UNSAID: &str = "unknown";

/// The state is Cinder's own word, as Deltacloud always had it for snapshots.
pub(in crate::drivers::openstack) fn snapshot(item: parse::Snapshot) -> Snapshot {
    Snapshot {
        id: item.id,
        name: filled(item.name),
        description: filled(item.description),
        created: filled(item.created_at),
        volume: filled(item.volume_id),
        settling: matches!(item.status.as_str(), "creating" | "deleting" | "backing-up" | "restoring" | "unmanaging"),
        state: if item.status.is_empty() { UNSAID.to_owned() } else { item.status.clone() },
        native_state: item.status,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::openstack::calls::Page as _;
    use crate::drivers::openstack::parse::recorded;

    #[test]
    fn volumes_are_read_whole() {
        let some = |text: &str| Some(text.to_owned());
        let attached = recorded::<parse::OneVolume>(include_str!("../replies/cinder-volume-attached.json")).volume;
        assert_eq!(
            volume(attached),
            Volume {
                id: "e665875f-fa14-430d-a39d-4cce2a5ad115".to_owned(),
                name: some("v1"),
                description: None,
                created: some("2026-11-21T00:45:47.000000"),
                capacity: "1".to_owned(),
                kind: some("fake1"),
                realm: some("nova"),
                state: "IN-USE".to_owned(),
                native_state: "in-use".to_owned(),
                settling: false,
                mount: Some(Mount {
                    instance: "6cd2ca85-2caf-4912-a54b-5876222d35f6".to_owned(),
                    device: "/dev/sdb".to_owned()
                }),
                actions: vec![VolumeAction::Detach],
            }
        );
        let (listed, next) =
            recorded::<parse::Volumes>(include_str!("../replies/cinder-volumes-detail.json")).into_parts();
        let listed: Vec<Volume> = listed.into_iter().map(volume).collect();
        assert_eq!((listed.len(), listed[0].state.as_str(), &listed[0].mount, next), (1, "AVAILABLE", &None, None));
    }

    #[test]
    fn a_state_allows_what_can_be_done_in_it() {
        use VolumeAction::{Attach, Destroy, Detach};
        let check = |native: &str, state: &str, settling: bool, actions: &[VolumeAction]| {
            let text = format!(r#"{{"id": "v1", "status": "{native}"}}"#);
            let volume = volume(serde_json::from_str(&text).expect("a volume"));
            assert_eq!((volume.state.as_str(), volume.settling, volume.actions.as_slice()), (state, settling, actions));
        };
        check("creating", "CREATING", true, &[]);
        check("available", "AVAILABLE", false, &[Attach, Destroy]);
        check("reserved", "RESERVED", true, &[]);
        check("attaching", "ATTACHING", true, &[]);
        check("in-use", "IN-USE", false, &[Detach]);
        check("detaching", "DETACHING", true, &[]);
        check("deleting", "DELETING", true, &[]);
        check("error", "ERROR", false, &[Destroy]);
        check("error_deleting", "ERROR_DELETING", false, &[]);
        check("maintenance", "MAINTENANCE", false, &[]);
        check("", "unknown", false, &[]);
    }

    #[test]
    fn snapshots_keep_the_word_of_the_cloud() {
        let (mut items, _) =
            recorded::<parse::Snapshots>(include_str!("../replies/cinder-snapshots.json")).into_parts();
        let one = snapshot(items.remove(0));
        assert_eq!((one.state.as_str(), one.settling, one.name.as_deref()), ("available", false, Some("s1")));
        assert_eq!(one.volume.as_deref(), Some("77efcb51-205d-427d-b98e-995a75a8467f"));
    }
}
