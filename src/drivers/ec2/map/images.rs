use crate::drivers::ec2::parse::{self, filled};
use crate::model::Image;

/// `own`: the account owns it, so it may be destroyed.
pub(crate) fn image(item: parse::Image, own: bool) -> Image {
    Image {
        name: filled(item.name).unwrap_or_else(|| item.image_id.clone()),
        description: filled(item.description).or(filled(item.image_location)).unwrap_or_default(),
        owner: item.image_owner_id.unwrap_or_default(),
        architecture: item.architecture.unwrap_or_default(),
        settling: item.image_state.as_deref() == Some(PENDING),
        state: filled(item.image_state),
        root_type: if item.root_device_type.as_deref() == Some("ebs") { "persistent" } else { "transient" }.to_owned(),
        creation_time: filled(item.creation_date),
        hardware_profiles: Vec::new(),
        can_destroy: own,
        id: item.image_id,
    }
}

/// EC2's word while an image is made.
const PENDING: &str = "pending";

/// An image that was asked for a moment ago, while EC2 does not show it yet: what is known of it by its instance.
pub(crate) fn image_in_the_making(
    id: String,
    name: String,
    description: Option<String>,
    of: parse::Instance,
    owner: Option<String>,
) -> Image {
    let item = parse::Image {
        image_id: id,
        image_state: Some(PENDING.to_owned()),
        image_location: None,
        image_owner_id: owner,
        name: Some(name),
        description,
        architecture: of.architecture,
        root_device_type: of.root_device_type,
        creation_date: None,
    };
    image(item, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ec2::map::tests::read;

    #[test]
    fn images_have_a_name_and_a_description_from_somewhere() {
        let images: parse::Images = read(include_str!("../replies/DescribeImages.xml"));
        let images: Vec<Image> = images.images.items.into_iter().map(|item| image(item, true)).collect();
        let seen: Vec<_> = images
            .iter()
            .map(|image| (image.name.as_str(), image.description.as_str(), image.root_type.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                ("base-2026-11", "Base image, November", "persistent"),
                ("ami-00000001", "old-bucket/old.manifest.xml", "transient")
            ]
        );
        assert_eq!(images[0].state.as_deref(), Some("available"));
        assert_eq!((images[1].creation_time.as_deref(), images[1].architecture.as_str()), (None, "i386"));
    }
}
