use serde::{Serialize, Serializer};

use super::{Base, Document, Reference, TrackingView, Xml};
use crate::model::{Mount, Volume, VolumeAction};

/// A volume (contract 2.7).
#[derive(Debug, Serialize)]
pub(in crate::api) struct VolumeView<'a> {
    id: &'a str,
    href: String,
    name: Option<&'a str>,
    description: Option<&'a str>,
    state: &'a str,
    created: Option<&'a str>,
    #[serde(serialize_with = "or_empty")]
    realm: Option<Reference<'a>>,
    device: Option<&'a str>,
    kind: Option<&'a str>,
    capacity: &'a str,
    actions: Vec<ActionLink>,
    /// What it is attached to.
    #[serde(serialize_with = "or_empty")]
    instance: Option<Reference<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking: Option<TrackingView>,
}

#[derive(Debug, Serialize)]
struct ActionLink {
    href: String,
    rel: &'static str,
}

impl<'a> VolumeView<'a> {
    pub(in crate::api) fn new(volume: &'a Volume, base: Base, tracking: Option<TrackingView>) -> Self {
        let Volume {
            id,
            name,
            description,
            created,
            capacity,
            kind,
            realm,
            state,
            native_state: _,
            settling: _,
            mount,
            actions,
        } = volume;
        let mounted = mount.as_ref().map(|Mount { instance, device }| {
            (Reference::new(base, "instances", "instance", instance), device.as_str())
        });
        let (instance, device) = mounted.unzip();
        let href = base.member("storage_volumes", id);
        Self {
            id,
            name: name.as_deref(),
            description: description.as_deref(),
            state,
            created: created.as_deref(),
            realm: realm.as_deref().map(|id| Reference::new(base, "realms", "realm", id)),
            device,
            kind: kind.as_deref(),
            capacity,
            actions: actions.iter().map(|action| ActionLink::new(*action, &href)).collect(),
            instance,
            tracking,
            href,
        }
    }
}

impl ActionLink {
    fn new(action: VolumeAction, volume: &str) -> Self {
        Self { href: format!("{volume}/{}", action.as_str()), rel: action.as_str() }
    }
}

/// Clients expect an object, be it empty.
fn or_empty<S: Serializer>(reference: &Option<Reference<'_>>, serializer: S) -> Result<S::Ok, S::Error> {
    match reference {
        Some(reference) => reference.serialize(serializer),
        None => serializer.collect_map(None::<((), ())>),
    }
}

impl Document for VolumeView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("storage_volume", &[("href", &self.href), ("id", self.id)], |xml| {
            let text = |xml: &mut Xml, name, value: Option<&str>| {
                if let Some(value) = value {
                    xml.text(name, &[], value);
                }
            };
            text(xml, "created", self.created);
            xml.text("capacity", &[("unit", "GB")], self.capacity);
            text(xml, "kind", self.kind);
            xml.text("name", &[], self.name.filter(|name| !name.is_empty()).unwrap_or(self.id));
            text(xml, "device", self.device);
            if let Some(realm) = &self.realm {
                xml.empty("realm", &realm.attributes());
                xml.text("realm_id", &[], realm.id);
            }
            xml.text("state", &[], self.state);
            if let Some(instance) = &self.instance {
                xml.element("mount", &[], |xml| {
                    xml.empty("instance", &instance.attributes());
                    // The older gem fails without it, so it is there even where the provider does not say.
                    xml.empty("device", &[("name", self.device.unwrap_or_default())]);
                });
            }
            // The older gem does what a link says, so `destroy`, too, has an address that takes a POST.
            xml.element("actions", &[], |xml| {
                for ActionLink { href, rel } in &self.actions {
                    xml.empty("link", &[("href", href), ("method", "post"), ("rel", rel)]);
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
    use super::super::{List, Member, both};
    use super::*;

    fn free() -> Volume {
        Volume {
            id: "vol1".to_owned(),
            name: None,
            description: None,
            created: Some("Thu Jul 30 14:35:11 UTC 2009".to_owned()),
            capacity: "1".to_owned(),
            kind: None,
            realm: Some("us".to_owned()),
            state: "AVAILABLE".to_owned(),
            native_state: "available".to_owned(),
            settling: false,
            mount: None,
            actions: vec![VolumeAction::Attach, VolumeAction::Destroy],
        }
    }

    #[test]
    fn volumes_both_ways() {
        let base = Base("http://h/api");
        let used = Volume {
            name: Some("A & B".to_owned()),
            description: Some("logs".to_owned()),
            created: None,
            kind: Some("gp3".to_owned()),
            realm: None,
            state: "IN-USE".to_owned(),
            mount: Some(Mount { instance: "inst1".to_owned(), device: "/dev/sda1".to_owned() }),
            actions: vec![VolumeAction::Detach],
            ..free()
        };
        let tracking = TrackingView { hook: Some("http://r/cb".to_owned()), ..TrackingView::default() };
        let one = free();
        insta::assert_snapshot!(both(&Member("storage_volume", VolumeView::new(&one, base, None))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <storage_volume href='http://h/api/storage_volumes/vol1' id='vol1'>
          <created>Thu Jul 30 14:35:11 UTC 2009</created>
          <capacity unit='GB'>1</capacity>
          <name>vol1</name>
          <realm href='http://h/api/realms/us' id='us' />
          <realm_id>us</realm_id>
          <state>AVAILABLE</state>
          <actions>
            <link href='http://h/api/storage_volumes/vol1/attach' method='post' rel='attach' />
            <link href='http://h/api/storage_volumes/vol1/destroy' method='post' rel='destroy' />
          </actions>
        </storage_volume>
        {
          "storage_volume": {
            "actions": [
              {
                "href": "http://h/api/storage_volumes/vol1/attach",
                "rel": "attach"
              },
              {
                "href": "http://h/api/storage_volumes/vol1/destroy",
                "rel": "destroy"
              }
            ],
            "capacity": "1",
            "created": "Thu Jul 30 14:35:11 UTC 2009",
            "description": null,
            "device": null,
            "href": "http://h/api/storage_volumes/vol1",
            "id": "vol1",
            "instance": {},
            "kind": null,
            "name": null,
            "realm": {
              "href": "http://h/api/realms/us",
              "id": "us",
              "rel": "realm"
            },
            "state": "AVAILABLE"
          }
        }
        "#);
        let all = List("storage_volumes", vec![VolumeView::new(&used, base, Some(tracking))]);
        insta::assert_snapshot!(both(&all), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <storage_volumes>
          <storage_volume href='http://h/api/storage_volumes/vol1' id='vol1'>
            <capacity unit='GB'>1</capacity>
            <kind>gp3</kind>
            <name>A &amp; B</name>
            <device>/dev/sda1</device>
            <state>IN-USE</state>
            <mount>
              <instance href='http://h/api/instances/inst1' id='inst1' />
              <device name='/dev/sda1' />
            </mount>
            <actions>
              <link href='http://h/api/storage_volumes/vol1/detach' method='post' rel='detach' />
            </actions>
            <tracking hook='http://r/cb' stale='false' />
          </storage_volume>
        </storage_volumes>
        {
          "storage_volumes": [
            {
              "actions": [
                {
                  "href": "http://h/api/storage_volumes/vol1/detach",
                  "rel": "detach"
                }
              ],
              "capacity": "1",
              "created": null,
              "description": "logs",
              "device": "/dev/sda1",
              "href": "http://h/api/storage_volumes/vol1",
              "id": "vol1",
              "instance": {
                "href": "http://h/api/instances/inst1",
                "id": "inst1",
                "rel": "instance"
              },
              "kind": "gp3",
              "name": "A & B",
              "realm": {},
              "state": "IN-USE",
              "tracking": {
                "hook": "http://r/cb",
                "stale": false
              }
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_mount_has_a_device_even_where_the_provider_does_not_say_which() {
        let mount = Some(Mount { instance: "inst1".to_owned(), device: String::new() });
        let volume = Volume { mount, name: Some(String::new()), ..free() };
        let shown = both(&VolumeView::new(&volume, Base("http://h/api"), None));
        assert!(shown.contains("<device name='' />"), "{shown}");
        assert!(shown.contains("<name>vol1</name>"), "an empty name is none: {shown}");
    }
}
