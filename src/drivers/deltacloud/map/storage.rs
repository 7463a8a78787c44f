use super::{id, is_one_of};
use crate::drivers::deltacloud::document::Node;
use crate::model::{Mount, Snapshot, Volume, VolumeAction};

/// Words, of all drivers', for a disk or a copy that somebody works on.
const SETTLING: [&str; 7] = ["creating", "attaching", "detaching", "deleting", "pending", "capturing", "queued"];

/// Where nobody says how it is.
const UNKNOWN: &str = "UNKNOWN";

pub(crate) fn volume(node: &Node) -> Volume {
    let id = id(node);
    let native_state = node.said("state").unwrap_or_default();
    Volume {
        // Upstreams call what has no name by its id.
        name: node.said_owned("name").filter(|name| *name != id),
        description: None,
        created: node.said_owned("created"),
        capacity: node.said_owned("capacity").unwrap_or_default(),
        kind: node.said_owned("kind"),
        realm: node.reference("realm").or_else(|| node.said_owned("realm_id")),
        state: shown(native_state),
        native_state: native_state.to_owned(),
        settling: is_one_of(native_state, &SETTLING),
        mount: mount(node),
        actions: actions(node),
        id,
    }
}

fn shown(native: &str) -> String {
    if native.is_empty() { UNKNOWN.to_owned() } else { native.to_uppercase() }
}

fn mount(node: &Node) -> Option<Mount> {
    let mount = node.child("mount")?;
    let device = mount.child("device").and_then(|device| device.attribute("name"));
    let device = device.or_else(|| node.said("device")).unwrap_or_default().to_owned();
    Some(Mount { instance: mount.reference("instance")?, device })
}

fn actions(node: &Node) -> Vec<VolumeAction> {
    let rels = node.all("actions", "link").filter_map(|link| link.attribute("rel"));
    let all = [VolumeAction::Attach, VolumeAction::Detach, VolumeAction::Destroy];
    rels.filter_map(|rel| all.into_iter().find(|action| action.as_str() == rel)).collect()
}

/// `elsewhere`: its state, if it is not in the document.
pub(crate) fn snapshot(node: &Node, elsewhere: Option<&str>) -> Snapshot {
    let id = id(node);
    let native_state = node.said("state").or(elsewhere).unwrap_or_default();
    Snapshot {
        // Upstreams have nothing but the id here.
        name: node.said_owned("name").filter(|name| *name != id),
        description: None,
        created: node.said_owned("created"),
        volume: node.reference("storage_volume"),
        state: if native_state.is_empty() { UNKNOWN.to_owned() } else { native_state.to_owned() },
        native_state: native_state.to_owned(),
        settling: is_one_of(native_state, &SETTLING),
        id,
    }
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;

    const USED: &str = "<storage_volume href='h' id='vol3'><created>Thu Jul 30 14:35:11 UTC 2009</created>\
        <capacity unit='GB'>1</capacity><name>vol3</name><device>/dev/sda1</device><realm href='h' id='us'/>\
        <realm_id>us</realm_id><state>in-use</state><mount><instance href='h' id='inst1'/><device name='/dev/sda1'/>\
        </mount><actions><link href='h' method='post' rel='detach'/></actions></storage_volume>";

    #[test]
    fn a_volume_in_use_says_where() {
        let expected = Volume {
            id: "vol3".to_owned(),
            name: None,
            description: None,
            created: Some("Thu Jul 30 14:35:11 UTC 2009".to_owned()),
            capacity: "1".to_owned(),
            kind: None,
            realm: Some("us".to_owned()),
            state: "IN-USE".to_owned(),
            native_state: "in-use".to_owned(),
            settling: false,
            mount: Some(Mount { instance: "inst1".to_owned(), device: "/dev/sda1".to_owned() }),
            actions: vec![VolumeAction::Detach],
        };
        assert_eq!(volume(&recorded(USED)), expected);
    }

    #[test]
    fn a_volume_of_which_little_is_said() {
        let free = volume(&recorded(
            "<storage_volume id='v'><name>data</name><realm_id>eu</realm_id><state>CREATING</state><mount>\
             <instance/></mount></storage_volume>",
        ));
        assert_eq!((free.name.as_deref(), free.realm.as_deref(), free.mount), (Some("data"), Some("eu"), None));
        assert!(free.settling && free.actions.is_empty());
        assert_eq!(volume(&recorded("<storage_volume id='v'/>")).state, "UNKNOWN");
    }

    #[test]
    fn a_snapshots_state_may_be_said_elsewhere() {
        let text = "<storage_snapshot href='h' id='snap1'><name>snap1</name><created>Wed Jul 29 18:15:24 UTC 2009\
                    </created><storage_volume href='h' id='vol1'/></storage_snapshot>";
        let check = |text: &str, elsewhere: Option<&str>, state: &str, native: &str| {
            let snapshot = snapshot(&recorded(text), elsewhere);
            assert_eq!((snapshot.state.as_str(), snapshot.native_state.as_str()), (state, native), "{text}");
            snapshot
        };
        let snap1 = check(text, Some("completed"), "completed", "completed");
        assert_eq!((snap1.name.as_deref(), snap1.volume.as_deref(), snap1.settling), (None, Some("vol1"), false));
        check(text, None, "UNKNOWN", "");
        assert!(
            check("<storage_snapshot id='s'><state>pending</state></storage_snapshot>", None, "pending", "pending")
                .settling
        );
    }
}
