use super::{id, instances, is_one_of};
use crate::drivers::deltacloud::document::Node;
use crate::model::Image;

/// Words, of all drivers', for an image that somebody works on.
const SETTLING: [&str; 7] = ["pending", "saving", "queued", "creating", "importing", "locked", "deleting"];

pub(crate) fn image(node: &Node) -> Image {
    let text = |name| node.said_owned(name).unwrap_or_default();
    let state = node.said_owned("state");
    Image {
        id: id(node),
        name: text("name"),
        description: text("description"),
        owner: text("owner_id"),
        architecture: text("architecture"),
        settling: state.as_deref().is_some_and(|state| is_one_of(state, &SETTLING)),
        state,
        root_type: node.said_owned("root_type").unwrap_or_else(|| TRANSIENT.to_owned()),
        creation_time: node.said_owned("creation_time"),
        hardware_profiles: node
            .all("hardware_profiles", "hardware_profile")
            .filter_map(Node::id)
            .map(str::to_owned)
            .collect(),
        can_destroy: instances::link(node, "destroy_image").is_some(),
    }
}

const TRANSIENT: &str = "transient";

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;

    #[test]
    fn an_image_is_read_whole_and_what_it_lacks_is_blank() {
        let full = "<image id='img1' href='http://h/api/images/img1'><name>Fedora 10</name><description>Fedora &lt;10&gt;\
                    </description><owner_id>fedoraproject</owner_id><architecture>x86_64</architecture><state>SAVING\
                    </state><creation_time>Thu Oct 25 14:27:53 CEST 2012</creation_time><hardware_profiles>\
                    <hardware_profile href='h' id='m1-small' rel='hardware_profile'/><hardware_profile id='opaque'/>\
                    </hardware_profiles><root_type>persistent</root_type><actions><link href='h' method='delete' \
                    rel='destroy_image'/></actions></image>";
        let expected = Image {
            id: "img1".to_owned(),
            name: "Fedora 10".to_owned(),
            description: "Fedora <10>".to_owned(),
            owner: "fedoraproject".to_owned(),
            architecture: "x86_64".to_owned(),
            state: Some("SAVING".to_owned()),
            settling: true,
            root_type: "persistent".to_owned(),
            creation_time: Some("Thu Oct 25 14:27:53 CEST 2012".to_owned()),
            hardware_profiles: ["m1-small", "opaque"].map(str::to_owned).to_vec(),
            can_destroy: true,
        };
        assert_eq!(image(&recorded(full)), expected);

        let bare = image(&recorded("<image id='img1'><name/></image>"));
        assert_eq!((bare.name.as_str(), bare.root_type.as_str(), bare.state), ("", "transient", None));
        assert!(!bare.settling && !bare.can_destroy);
    }
}
