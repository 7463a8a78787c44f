use crate::drivers::openstack::parse::{self, filled};
use crate::model::Image;

/// `project`: whose login it is seen with, as only the owner can destroy it.
pub(in crate::drivers::openstack) fn image(item: parse::Image, project: &str) -> Image {
    let status = filled(item.status);
    let has_volumes = item.block_device_mapping.is_some();
    Image {
        name: filled(item.name).unwrap_or_else(|| item.id.clone()),
        description: filled(item.description).unwrap_or_default(),
        can_destroy: !item.protected && item.owner.as_deref() == Some(project),
        owner: item.owner.unwrap_or_default(),
        architecture: filled(item.hw_architecture).or(filled(item.architecture)).unwrap_or_default(),
        settling: matches!(status.as_deref(), Some("queued" | "saving" | "uploading" | "importing" | "pending_delete")),
        // As Deltacloud always had it.
        state: status.map(|status| status.to_uppercase()),
        root_type: if has_volumes { "persistent" } else { "transient" }.to_owned(),
        creation_time: filled(item.created_at),
        hardware_profiles: Vec::new(),
        id: item.id,
    }
}

/// An image that was asked for a moment ago, and cannot be read by now.
pub(in crate::drivers::openstack) fn image_in_the_making(id: String, name: String, project: &str) -> Image {
    let item = parse::Image {
        id,
        name: Some(name),
        status: Some("queued".to_owned()),
        owner: Some(project.to_owned()),
        protected: false,
        created_at: None,
        description: None,
        architecture: None,
        hw_architecture: None,
        block_device_mapping: None,
        min_ram: None,
        min_disk: None,
        size: None,
        virtual_size: None,
    };
    image(item, project)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::openstack::calls::Page as _;
    use crate::drivers::openstack::parse::recorded;

    #[test]
    fn images_are_read_whole() {
        let read = || recorded::<parse::Images>(include_str!("../replies/glance-images.json")).into_parts().0.remove(0);
        let owner = "63d2e5104dc34ca6a99330dc5f50dab0";
        assert_eq!(
            image(read(), owner),
            Image {
                id: "115d5dd8-f0dd-4e78-b100-13ace4710e51".to_owned(),
                name: "cirros-ish".to_owned(),
                description: String::new(),
                owner: owner.to_owned(),
                architecture: String::new(),
                state: Some("ACTIVE".to_owned()),
                settling: false,
                root_type: "transient".to_owned(),
                creation_time: Some("2026-11-21T00:59:21Z".to_owned()),
                hardware_profiles: vec![],
                can_destroy: true,
            }
        );
        assert!(!image(read(), "somebody else").can_destroy);
        assert!(!image(parse::Image { protected: true, ..read() }, owner).can_destroy);
    }
}
