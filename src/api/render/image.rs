use serde::Serialize;

use super::{Base, Document, Reference, TrackingView, Xml};
use crate::model::Image;

/// An image (contract 2.5). JSON has no actions.
#[derive(Debug, Serialize)]
pub(in crate::api) struct ImageView<'a> {
    id: &'a str,
    href: String,
    name: &'a str,
    description: &'a str,
    owner: &'a str,
    architecture: &'a str,
    state: Option<&'a str>,
    root_type: &'a str,
    creation_time: Option<&'a str>,
    hardware_profiles: Vec<Reference<'a>>,
    /// Where an instance is made from it. XML only.
    #[serde(skip)]
    create_instance: String,
    /// Where it is destroyed, if that can be. XML only.
    #[serde(skip)]
    destroy_image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking: Option<TrackingView>,
}

impl<'a> ImageView<'a> {
    pub(in crate::api) fn new(image: &'a Image, base: Base, tracking: Option<TrackingView>) -> Self {
        let Image {
            id,
            settling: _,
            name,
            description,
            owner,
            architecture,
            state,
            root_type,
            creation_time,
            hardware_profiles,
            can_destroy,
        } = image;
        let profile = |id| Reference::new(base, "hardware_profiles", "hardware_profile", id);
        Self {
            id,
            href: base.member("images", id),
            name,
            description,
            owner,
            architecture,
            state: state.as_deref(),
            root_type,
            creation_time: creation_time.as_deref(),
            hardware_profiles: hardware_profiles.iter().map(|id| profile(id)).collect(),
            create_instance: format!("{};image_id={}", base.collection("instances"), super::segment(id)),
            destroy_image: can_destroy.then(|| base.member("images", id)),
            tracking,
        }
    }
}

impl Document for ImageView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("image", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("name", &[], self.name);
            xml.text("description", &[], self.description);
            xml.text("owner_id", &[], self.owner);
            xml.text("architecture", &[], self.architecture);
            if let Some(state) = self.state {
                xml.text("state", &[], state);
            }
            if let Some(time) = self.creation_time {
                xml.text("creation_time", &[], time);
            }
            xml.element("hardware_profiles", &[], |xml| {
                for profile in &self.hardware_profiles {
                    let [href, id] = profile.attributes();
                    xml.empty("hardware_profile", &[href, id, ("rel", profile.rel)]);
                }
            });
            xml.text("root_type", &[], self.root_type);
            xml.element("actions", &[], |xml| {
                let link = [("href", self.create_instance.as_str()), ("method", "post"), ("rel", "create_instance")];
                xml.empty("link", &link);
                if let Some(href) = &self.destroy_image {
                    xml.empty("link", &[("href", href), ("method", "delete"), ("rel", "destroy_image")]);
                }
            });
            if let Some(tracking) = &self.tracking {
                tracking.xml(xml);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Member, both};
    use super::*;

    #[test]
    fn an_image_both_ways() {
        let image = Image {
            id: "img1".to_owned(),
            name: "Fedora 10".to_owned(),
            description: "Fedora 10".to_owned(),
            owner: "fedoraproject".to_owned(),
            architecture: "x86_64".to_owned(),
            state: Some("AVAILABLE".to_owned()),
            root_type: "transient".to_owned(),
            creation_time: None,
            hardware_profiles: vec!["m1-small".to_owned()],
            settling: false,
            can_destroy: true,
        };
        insta::assert_snapshot!(both(&Member("image", ImageView::new(&image, Base("http://h/api"), None))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <image href='http://h/api/images/img1' id='img1'>
          <name>Fedora 10</name>
          <description>Fedora 10</description>
          <owner_id>fedoraproject</owner_id>
          <architecture>x86_64</architecture>
          <state>AVAILABLE</state>
          <hardware_profiles>
            <hardware_profile href='http://h/api/hardware_profiles/m1-small' id='m1-small' rel='hardware_profile' />
          </hardware_profiles>
          <root_type>transient</root_type>
          <actions>
            <link href='http://h/api/instances;image_id=img1' method='post' rel='create_instance' />
            <link href='http://h/api/images/img1' method='delete' rel='destroy_image' />
          </actions>
        </image>
        {
          "image": {
            "architecture": "x86_64",
            "creation_time": null,
            "description": "Fedora 10",
            "hardware_profiles": [
              {
                "href": "http://h/api/hardware_profiles/m1-small",
                "id": "m1-small",
                "rel": "hardware_profile"
              }
            ],
            "href": "http://h/api/images/img1",
            "id": "img1",
            "name": "Fedora 10",
            "owner": "fedoraproject",
            "root_type": "transient",
            "state": "AVAILABLE"
          }
        }
        "#);
    }
}
