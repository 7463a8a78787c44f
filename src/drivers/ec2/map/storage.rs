//! Volumes and snapshots: one table for what a volume's state allows.

use super::name;
use crate::drivers::ec2::parse::{self, Attachment, filled};
use crate::model::{Mount, Snapshot, Volume, VolumeAction};

/// Deltacloud's word for a state that was not said.
const UNSAID: &str = "unknown";

/// What a volume's state allows, and whether it is expected to move on by itself. Words we do not know allow nothing.
fn prospects(native: &str) -> (&'static [VolumeAction], bool) {
    match native {
        "available" => (&[VolumeAction::Attach, VolumeAction::Destroy], false),
        "in-use" => (&[VolumeAction::Detach], false),
        "creating" | "deleting" => (&[], true),
        "error" => (&[VolumeAction::Destroy], false),
        _ => (&[], false),
    }
}

pub(crate) fn volume(item: parse::Volume) -> Volume {
    let native = filled(item.status);
    let (actions, settling) = prospects(native.as_deref().unwrap_or_default());
    let attachments = item.attachment_set.items;
    let moves = |attachment: &Attachment| matches!(status(attachment), "attaching" | "detaching");
    // What is being detached cannot be detached again; the state says `in-use` until it is done.
    let leaving = !attachments.is_empty() && attachments.iter().all(|attachment| status(attachment) == "detaching");
    Volume {
        id: item.volume_id,
        name: name(item.tag_set),
        // EC2 has no such thing for volumes.
        description: None,
        created: filled(item.create_time),
        capacity: item.size.unwrap_or_default(),
        kind: filled(item.volume_type),
        realm: filled(item.availability_zone),
        state: native.as_deref().map_or_else(|| UNSAID.to_owned(), str::to_uppercase),
        native_state: native.unwrap_or_default(),
        settling: settling || attachments.iter().any(moves),
        actions: if leaving { Vec::new() } else { actions.to_vec() },
        mount: mount(attachments),
    }
}

fn status(attachment: &Attachment) -> &str {
    attachment.status.as_deref().unwrap_or_default()
}

/// Where the volume is. A volume of several instances shows the first; one that is just leaving is still there.
fn mount(attachments: Vec<Attachment>) -> Option<Mount> {
    let rank = |attachment: &Attachment| match status(attachment) {
        "attached" => 0,
        "attaching" => 1,
        "detached" => 3,
        _ => 2,
    };
    let there = attachments.into_iter().filter(|attachment| rank(attachment) < 3);
    there
        .filter_map(|attachment| Some((rank(&attachment), mounted(attachment)?)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, mount)| mount)
}

/// `None`: at a service of AWS's, and not at an instance.
fn mounted(attachment: Attachment) -> Option<Mount> {
    Some(Mount { instance: filled(attachment.instance_id)?, device: attachment.device.unwrap_or_default() })
}

/// A volume read right after it was attached may not show it yet. Then what the action itself said is newer.
pub(crate) fn attached(mut read: parse::Volume, said: Attachment) -> parse::Volume {
    let shown = |attachment: &Attachment| attachment.instance_id == said.instance_id;
    if !read.attachment_set.items.iter().any(shown) {
        read.attachment_set.items.push(said);
        read.status = Some("in-use".to_owned());
    }
    read
}

/// A volume read right after it was detached may still show it as it was. Then what the action itself said is newer.
pub(crate) fn detached(mut read: parse::Volume, said: &Attachment) -> parse::Volume {
    let leaving = read.attachment_set.items.iter_mut().find(|attachment| attachment.instance_id == said.instance_id);
    if let Some(attachment) = leaving.filter(|attachment| matches!(status(attachment), "attached" | "attaching")) {
        attachment.status.clone_from(&said.status);
    }
    read
}

/// The state is EC2's own word, as Deltacloud always had it for snapshots.
pub(crate) fn snapshot(item: parse::Snapshot) -> Snapshot {
    let native = filled(item.status);
    Snapshot {
        id: item.snapshot_id,
        name: name(item.tag_set),
        description: filled(item.description),
        created: filled(item.start_time),
        volume: filled(item.volume_id).filter(|volume| volume != NO_VOLUME),
        settling: matches!(native.as_deref(), Some("pending" | "recovering")),
        state: native.clone().unwrap_or_else(|| UNSAID.to_owned()),
        native_state: native.unwrap_or_default(),
    }
}

/// What copies of snapshots have in place of a volume.
const NO_VOLUME: &str = "vol-ffffffff";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ec2::map::tests::read;
    use crate::drivers::ec2::parse::Page as _;

    fn at(instance: &str, status: &str) -> Attachment {
        let some = |text: &str| Some(text.to_owned());
        Attachment { instance_id: some(instance), device: some("/dev/sdf"), status: some(status) }
    }

    fn bare(status: Option<&str>, attachments: &[Attachment]) -> parse::Volume {
        parse::Volume {
            volume_id: "vol-1".to_owned(),
            size: None,
            availability_zone: None,
            status: status.map(str::to_owned),
            create_time: None,
            volume_type: None,
            attachment_set: parse::Set { items: attachments.to_vec() },
            tag_set: parse::Set::default(),
        }
    }

    #[test]
    fn a_state_allows_what_can_be_done_in_it() {
        use VolumeAction::{Attach, Destroy, Detach};
        let check = |native: Option<&str>,
                     attachments: &[Attachment],
                     state: &str,
                     settling: bool,
                     actions: &[VolumeAction]| {
            let volume = volume(bare(native, attachments));
            assert_eq!((volume.state.as_str(), volume.settling), (state, settling), "{native:?}");
            assert_eq!(volume.native_state, native.unwrap_or_default());
            assert_eq!(volume.actions, actions, "{native:?} {attachments:?}");
        };
        check(Some("creating"), &[], "CREATING", true, &[]);
        check(Some("available"), &[], "AVAILABLE", false, &[Attach, Destroy]);
        check(Some("in-use"), &[at("i-1", "attached")], "IN-USE", false, &[Detach]);
        check(Some("in-use"), &[at("i-1", "attaching")], "IN-USE", true, &[Detach]);
        check(Some("in-use"), &[at("i-1", "detaching")], "IN-USE", true, &[]);
        check(Some("in-use"), &[at("i-1", "busy")], "IN-USE", false, &[Detach]);
        check(Some("in-use"), &[at("i-1", "detaching"), at("i-2", "attached")], "IN-USE", true, &[Detach]);
        check(Some("deleting"), &[], "DELETING", true, &[]);
        check(Some("deleted"), &[], "DELETED", false, &[]);
        check(Some("error"), &[], "ERROR", false, &[Destroy]);
        check(Some("moulting"), &[], "MOULTING", false, &[]);
        check(None, &[], "unknown", false, &[]);
        check(Some(""), &[], "unknown", false, &[]);
    }

    #[test]
    fn a_volume_is_where_it_is_attached_first() {
        let check = |attachments: &[Attachment], instance: Option<&str>| {
            let mount = mount(attachments.to_vec());
            assert_eq!(mount.map(|mount| mount.instance).as_deref(), instance, "{attachments:?}");
        };
        check(&[], None);
        check(&[at("i-1", "attached"), at("i-2", "attached")], Some("i-1"));
        check(&[at("i-1", "attaching"), at("i-2", "attached")], Some("i-2"));
        check(&[at("i-1", "detaching"), at("i-2", "attaching")], Some("i-2"));
        check(&[at("i-1", "detaching")], Some("i-1"));
        check(&[at("i-1", "busy")], Some("i-1"));
        check(&[at("i-1", "detached")], None);
        check(&[Attachment { instance_id: None, ..at("", "attached") }], None);
        check(&[at("", "attached"), at("i-2", "attaching")], Some("i-2"));
    }

    #[test]
    fn volumes_are_read_whole() {
        let (volumes, _) = read::<parse::Volumes>(include_str!("../replies/DescribeVolumes-1.xml")).into_parts();
        let web = volume(volumes.into_iter().next().expect("the first"));
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            web,
            Volume {
                id: "vol-0aaaaaaaaaaaaaaa2".to_owned(),
                name: some("web data"),
                description: None,
                created: some("2026-11-20T09:12:45.123Z"),
                capacity: "100".to_owned(),
                kind: some("gp3"),
                realm: some("us-east-1a"),
                state: "IN-USE".to_owned(),
                native_state: "in-use".to_owned(),
                settling: false,
                mount: Some(Mount { instance: "i-0c7a1f2e3d4b5a601".to_owned(), device: "/dev/sdf".to_owned() }),
                actions: vec![VolumeAction::Detach],
            }
        );
    }

    #[test]
    fn after_attach_and_detach_the_newer_of_two_answers_counts() {
        let check = |volume: parse::Volume, native: &str, statuses: &[&str]| {
            let seen: Vec<&str> = volume.attachment_set.items.iter().map(status).collect();
            assert_eq!((volume.status.as_deref(), seen.as_slice()), (Some(native), statuses));
        };
        let (attaching, detaching) = (at("i-1", "attaching"), at("i-1", "detaching"));
        check(attached(bare(Some("available"), &[]), attaching.clone()), "in-use", &["attaching"]);
        check(attached(bare(Some("in-use"), &[at("i-1", "attached")]), attaching.clone()), "in-use", &["attached"]);
        check(
            attached(bare(Some("in-use"), &[at("i-2", "attached")]), attaching),
            "in-use",
            &["attached", "attaching"],
        );
        check(detached(bare(Some("in-use"), &[at("i-1", "attached")]), &detaching), "in-use", &["detaching"]);
        check(detached(bare(Some("in-use"), &[at("i-1", "busy")]), &detaching), "in-use", &["busy"]);
        check(detached(bare(Some("in-use"), &[at("i-2", "attached")]), &detaching), "in-use", &["attached"]);
        check(detached(bare(Some("available"), &[]), &detaching), "available", &[]);
    }

    #[test]
    fn snapshots_keep_the_word_of_the_cloud() {
        let (items, _) = read::<parse::Snapshots>(include_str!("../replies/DescribeSnapshots-2.xml")).into_parts();
        let snapshots: Vec<Snapshot> = items.into_iter().map(snapshot).collect();
        let seen: Vec<_> = snapshots
            .iter()
            .map(|one| (one.id.as_str(), one.state.as_str(), one.settling, one.volume.as_deref(), one.name.as_deref()))
            .collect();
        assert_eq!(
            seen,
            [
                ("snap-0a00000000000e001", "pending", true, Some("vol-0aaaaaaaaaaaaaaa2"), Some("nightly")),
                ("snap-0a00000000000e002", "error", false, None, None),
                ("snap-0a00000000000e003", "recovering", true, Some("vol-0aaaaaaaaaaaaaaa2"), None),
            ]
        );
        assert_eq!(snapshots[0].created.as_deref(), Some("2026-11-21T02:00:00.000Z"));
        assert_eq!(
            (snapshots[0].description.as_deref(), &snapshots[1].description),
            (Some("before the upgrade"), &None)
        );
    }
}
