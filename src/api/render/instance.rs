use serde::Serialize;

use super::{Base, Document, Reference, TrackingView, Xml, as_map, profile};
use crate::model::{Action, Address, Attachment, Instance, LoginKind};

/// An instance (contract 2.3). JSON names follow version 1.1 of the API: `owner`, `create_time`.
#[derive(Debug, Serialize)]
pub(in crate::api) struct InstanceView<'a> {
    id: &'a str,
    href: String,
    name: Option<&'a str>,
    state: &'static str,
    owner: Option<&'a str>,
    image: Option<Reference<'a>>,
    realm: Option<Reference<'a>>,
    actions: Vec<ActionLink>,
    /// Said only when true.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    create_image: bool,
    /// Where an image is made of it. XML only.
    #[serde(skip)]
    create_image_href: String,
    hardware_profile: Option<InstanceProfile<'a>>,
    public_addresses: Vec<AddressView<'a>>,
    private_addresses: Vec<AddressView<'a>>,
    create_time: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    firewalls: Option<Vec<Reference<'a>>>,
    storage_volumes: Vec<VolumeView<'a>>,
    /// XML only.
    #[serde(skip)]
    network_interfaces: Option<Vec<Reference<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_type: Option<&'static str>,
    /// Always there: a client fails without it.
    authentication: Authentication<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking: Option<TrackingView>,
}

#[derive(Debug, Serialize)]
struct ActionLink {
    href: String,
    rel: &'static str,
    method: &'static str,
}

#[derive(Debug, Serialize)]
struct InstanceProfile<'a> {
    #[serde(flatten)]
    reference: Reference<'a>,
    #[serde(serialize_with = "properties_as_map")]
    properties: &'a [(String, String)],
}

#[derive(Debug, Serialize)]
struct AddressView<'a> {
    address: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Debug, Serialize)]
struct VolumeView<'a> {
    #[serde(flatten)]
    reference: Reference<'a>,
    /// XML only.
    #[serde(skip)]
    device: &'a str,
}

#[derive(Debug, Serialize)]
struct Authentication<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    keyname: Option<&'a str>,
}

impl<'a> InstanceView<'a> {
    pub(in crate::api) fn new(instance: &'a Instance, base: Base, tracking: Option<TrackingView>) -> Self {
        let Instance {
            id,
            name,
            owner,
            image,
            realm,
            state,
            native_state: _,
            settling: _,
            hardware_profile,
            hardware_properties,
            actions,
            can_create_image,
            launch_time,
            public_addresses,
            private_addresses,
            firewalls,
            storage_volumes,
            login,
            network_interfaces,
            fault: _,
            impaired: _,
            modified_at: _,
        } = instance;
        let id = id.as_str();
        let one = |collection, rel, id: &'a Option<String>| Some(Reference::new(base, collection, rel, id.as_deref()?));
        let many = |collection, rel, ids: &'a Option<Vec<String>>| {
            Some(ids.as_ref()?.iter().map(|id| Reference::new(base, collection, rel, id)).collect())
        };
        let key_name = login.as_ref().map(|LoginKind::Key(name)| name.as_deref());
        Self {
            id,
            href: base.member("instances", id),
            name: name.as_deref(),
            state: state.as_str(),
            owner: owner.as_deref(),
            image: one("images", "image", image),
            realm: one("realms", "realm", realm),
            actions: actions.iter().map(|action| ActionLink::new(*action, id, base)).collect(),
            create_image: *can_create_image,
            create_image_href: format!("{};instance_id={}", base.collection("images"), super::segment(id)),
            hardware_profile: one("hardware_profiles", "hardware_profile", hardware_profile)
                .map(|reference| InstanceProfile { reference, properties: hardware_properties }),
            public_addresses: public_addresses.iter().map(AddressView::new).collect(),
            private_addresses: private_addresses.iter().map(AddressView::new).collect(),
            create_time: launch_time.as_deref(),
            firewalls: many("firewalls", "firewall", firewalls),
            storage_volumes: storage_volumes
                .iter()
                .map(|Attachment { volume, device }| VolumeView {
                    reference: Reference::new(base, "storage_volumes", "storage_volume", volume),
                    device,
                })
                .collect(),
            network_interfaces: many("network_interfaces", "network_interface", network_interfaces),
            authentication_type: key_name.map(|_| "key"),
            authentication: Authentication { keyname: key_name.flatten() },
            tracking,
        }
    }
}

impl ActionLink {
    fn new(action: Action, id: &str, base: Base) -> Self {
        let member = base.member("instances", id);
        let (href, method) = match action {
            Action::Destroy => (member, "delete"),
            Action::Start | Action::Stop | Action::Reboot => (format!("{member}/{}", action.as_str()), "post"),
        };
        Self { href, rel: action.as_str(), method }
    }
}

impl<'a> AddressView<'a> {
    fn new(address: &'a Address) -> Self {
        Self { address: address.text.trim(), kind: address.kind.as_str() }
    }
}

fn properties_as_map<S: serde::Serializer>(pairs: &&[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    as_map(&pairs, serializer)
}

impl Document for InstanceView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("instance", &[("href", &self.href), ("id", self.id)], |xml| {
            let text = |xml: &mut Xml, name, value: Option<&str>| {
                if let Some(value) = value {
                    xml.text(name, &[], value);
                }
            };
            // Suites want the element on every member, be it empty.
            xml.text("name", &[], self.name.unwrap_or_default());
            text(xml, "owner_id", self.owner);
            if let Some(image) = &self.image {
                xml.empty("image", &image.attributes());
            }
            if let Some(realm) = &self.realm {
                xml.empty("realm", &realm.attributes());
            }
            xml.text("state", &[], self.state);
            if let Some(InstanceProfile { reference, properties }) = &self.hardware_profile {
                xml.element("hardware_profile", &reference.attributes(), |xml| {
                    for (name, value) in *properties {
                        profile::fixed(xml, name, value);
                    }
                });
            }
            xml.element("actions", &[], |xml| {
                for ActionLink { href, rel, method } in &self.actions {
                    xml.empty("link", &[("href", href), ("method", method), ("rel", rel)]);
                }
                if self.create_image {
                    let link = [("href", self.create_image_href.as_str()), ("method", "post"), ("rel", "create_image")];
                    xml.empty("link", &link);
                }
            });
            text(xml, "launch_time", self.create_time);
            for (name, addresses) in
                [("public_addresses", &self.public_addresses), ("private_addresses", &self.private_addresses)]
            {
                xml.element(name, &[], |xml| {
                    for AddressView { address, kind } in addresses {
                        xml.text("address", &[("type", kind)], address);
                    }
                });
            }
            if let Some(firewalls) = &self.firewalls {
                references(xml, "firewalls", firewalls);
            }
            xml.element("storage_volumes", &[], |xml| {
                for VolumeView { reference, device } in &self.storage_volumes {
                    let [href, id] = reference.attributes();
                    xml.empty("storage_volume", &[("device", device), href, id]);
                }
            });
            if let Some(kind) = self.authentication_type {
                xml.element("authentication", &[("type", kind)], |xml| {
                    if let Some(name) = self.authentication.keyname {
                        xml.element("login", &[], |xml| xml.text("keyname", &[], name));
                    }
                });
            }
            if let Some(interfaces) = &self.network_interfaces {
                references(xml, "network_interfaces", interfaces);
            }
            if let Some(tracking) = &self.tracking {
                tracking.xml(xml);
            }
        });
    }
}

fn references(xml: &mut Xml, name: &str, references: &[Reference]) {
    xml.element(name, &[], |xml| {
        for reference in references {
            xml.empty(reference.rel, &reference.attributes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::super::{List, Member, both};
    use super::*;
    use crate::model::{AddressKind, InstanceState};

    fn web() -> Instance {
        Instance {
            id: "i-7".into(),
            name: Some("web & <co>".to_owned()),
            owner: Some("alice".to_owned()),
            image: Some("f19".to_owned()),
            realm: Some("eu".to_owned()),
            state: InstanceState::Running,
            native_state: "running".to_owned(),
            settling: false,
            hardware_profile: Some("large".to_owned()),
            hardware_properties: vec![("memory".to_owned(), "8192".to_owned())],
            actions: vec![Action::Reboot, Action::Stop, Action::Destroy],
            can_create_image: true,
            launch_time: Some("2013-04-17T10:00:00Z".to_owned()),
            public_addresses: vec![Address { kind: AddressKind::Ipv4, text: "192.0.2.7\n".to_owned() }],
            private_addresses: vec![],
            firewalls: Some(vec!["default".to_owned()]),
            storage_volumes: vec![Attachment { volume: "vol3".to_owned(), device: "/dev/sda1".to_owned() }],
            login: Some(LoginKind::Key(Some("alice-key".to_owned()))),
            network_interfaces: Some(vec!["nic1".to_owned()]),
            fault: None,
            impaired: false,
            modified_at: None,
        }
    }

    #[test]
    fn an_instance_both_ways() {
        let base = Base("http://h/api");
        let tracking = TrackingView {
            hook: Some("http://r/cb?***".to_owned()),
            since: Some("2026-11-21T10:00:00Z".to_owned()),
            checked: Some("2026-11-21T10:05:00Z".to_owned()),
            stale: false,
            subscriber: Some("default".to_owned()),
            disabled: None,
            secret: Some("whsec_x".to_owned()),
            ..TrackingView::default()
        };
        insta::assert_snapshot!(both(&Member("instance", InstanceView::new(&web(), base, Some(tracking)))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <instance href='http://h/api/instances/i-7' id='i-7'>
          <name>web &amp; &lt;co&gt;</name>
          <owner_id>alice</owner_id>
          <image href='http://h/api/images/f19' id='f19' />
          <realm href='http://h/api/realms/eu' id='eu' />
          <state>RUNNING</state>
          <hardware_profile href='http://h/api/hardware_profiles/large' id='large'>
            <property kind='fixed' name='memory' unit='MB' value='8192' />
          </hardware_profile>
          <actions>
            <link href='http://h/api/instances/i-7/reboot' method='post' rel='reboot' />
            <link href='http://h/api/instances/i-7/stop' method='post' rel='stop' />
            <link href='http://h/api/instances/i-7' method='delete' rel='destroy' />
            <link href='http://h/api/images;instance_id=i-7' method='post' rel='create_image' />
          </actions>
          <launch_time>2013-04-17T10:00:00Z</launch_time>
          <public_addresses>
            <address type='ipv4'>192.0.2.7</address>
          </public_addresses>
          <private_addresses></private_addresses>
          <firewalls>
            <firewall href='http://h/api/firewalls/default' id='default' />
          </firewalls>
          <storage_volumes>
            <storage_volume device='/dev/sda1' href='http://h/api/storage_volumes/vol3' id='vol3' />
          </storage_volumes>
          <authentication type='key'>
            <login>
              <keyname>alice-key</keyname>
            </login>
          </authentication>
          <network_interfaces>
            <network_interface href='http://h/api/network_interfaces/nic1' id='nic1' />
          </network_interfaces>
          <tracking hook='http://r/cb?***' since='2026-11-21T10:00:00Z' checked='2026-11-21T10:05:00Z' stale='false' subscriber='default' secret='whsec_x' />
        </instance>
        {
          "instance": {
            "actions": [
              {
                "href": "http://h/api/instances/i-7/reboot",
                "method": "post",
                "rel": "reboot"
              },
              {
                "href": "http://h/api/instances/i-7/stop",
                "method": "post",
                "rel": "stop"
              },
              {
                "href": "http://h/api/instances/i-7",
                "method": "delete",
                "rel": "destroy"
              }
            ],
            "authentication": {
              "keyname": "alice-key"
            },
            "authentication_type": "key",
            "create_image": true,
            "create_time": "2013-04-17T10:00:00Z",
            "firewalls": [
              {
                "href": "http://h/api/firewalls/default",
                "id": "default",
                "rel": "firewall"
              }
            ],
            "hardware_profile": {
              "href": "http://h/api/hardware_profiles/large",
              "id": "large",
              "properties": {
                "memory": "8192"
              },
              "rel": "hardware_profile"
            },
            "href": "http://h/api/instances/i-7",
            "id": "i-7",
            "image": {
              "href": "http://h/api/images/f19",
              "id": "f19",
              "rel": "image"
            },
            "name": "web & <co>",
            "owner": "alice",
            "private_addresses": [],
            "public_addresses": [
              {
                "address": "192.0.2.7",
                "type": "ipv4"
              }
            ],
            "realm": {
              "href": "http://h/api/realms/eu",
              "id": "eu",
              "rel": "realm"
            },
            "state": "RUNNING",
            "storage_volumes": [
              {
                "href": "http://h/api/storage_volumes/vol3",
                "id": "vol3",
                "rel": "storage_volume"
              }
            ],
            "tracking": {
              "checked": "2026-11-21T10:05:00Z",
              "hook": "http://r/cb?***",
              "secret": "whsec_x",
              "since": "2026-11-21T10:00:00Z",
              "stale": false,
              "subscriber": "default"
            }
          }
        }
        "#);
    }

    #[test]
    fn what_is_missing_leaves_the_elements_that_clients_need() {
        let bare = Instance::bare("i-8", InstanceState::Pending, "pending");
        insta::assert_snapshot!(both(&List("instances", vec![InstanceView::new(&bare, Base("http://h/api;driver=ec2"), None)])), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <instances>
          <instance href='http://h/api;driver=ec2/instances/i-8' id='i-8'>
            <name></name>
            <state>PENDING</state>
            <actions></actions>
            <public_addresses></public_addresses>
            <private_addresses></private_addresses>
            <storage_volumes></storage_volumes>
          </instance>
        </instances>
        {
          "instances": [
            {
              "actions": [],
              "authentication": {},
              "create_time": null,
              "hardware_profile": null,
              "href": "http://h/api;driver=ec2/instances/i-8",
              "id": "i-8",
              "image": null,
              "name": null,
              "owner": null,
              "private_addresses": [],
              "public_addresses": [],
              "realm": null,
              "state": "PENDING",
              "storage_volumes": []
            }
          ]
        }
        "#);
    }

    #[test]
    fn an_empty_key_name_is_a_name_and_an_unknown_one_is_none() {
        let shown =
            |login| both(&InstanceView::new(&Instance { login: Some(login), ..web() }, Base("http://h/api"), None));
        assert!(shown(LoginKind::Key(Some(String::new()))).contains("<keyname></keyname>"));
        assert!(shown(LoginKind::Key(None)).contains("<authentication type='key'></authentication>"));
    }
}
