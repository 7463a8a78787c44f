use serde::{Serialize, Serializer};

use super::{Base, Document, Xml, as_map};
use crate::model::{HardwareProfile, Property, PropertyKind};

/// A hardware profile (contract 2.6). JSON has the defaults only, as text, and no `properties` for an opaque one.
#[derive(Debug, Serialize)]
pub(in crate::api) struct ProfileView<'a> {
    id: &'a str,
    href: String,
    name: &'a str,
    #[serde(serialize_with = "defaults", skip_serializing_if = "<[Property]>::is_empty")]
    properties: &'a [Property],
    /// Where a profile is used, for `param/@href`. XML only.
    #[serde(skip)]
    instances: String,
}

impl<'a> ProfileView<'a> {
    pub(in crate::api) fn new(profile: &'a HardwareProfile, base: Base) -> Self {
        let HardwareProfile { id, name, properties } = profile;
        let instances = base.collection("instances");
        Self { id, href: base.member("hardware_profiles", id), name, properties, instances }
    }
}

fn defaults<S: Serializer>(properties: &&[Property], serializer: S) -> Result<S::Ok, S::Error> {
    let pairs: Vec<_> = properties.iter().map(|property| (property.name, property.value.as_str())).collect();
    as_map(&pairs, serializer)
}

impl Document for ProfileView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("hardware_profile", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("id", &[], self.id);
            xml.text("name", &[], self.name);
            for property in self.properties {
                self.property(xml, property);
            }
        });
    }
}

impl ProfileView<'_> {
    fn property(&self, xml: &mut Xml, property: &Property) {
        let Property { name, value, kind } = property;
        let word = match kind {
            PropertyKind::Fixed => return fixed(xml, name, value),
            PropertyKind::Range { .. } => "range",
            PropertyKind::Enum(_) => "enum",
        };
        xml.element("property", &attributes(word, name, property.unit(), value), |xml| {
            let param = format!("hwp_{name}");
            let create =
                [("href", self.instances.as_str()), ("method", "post"), ("name", &param), ("operation", "create")];
            xml.empty("param", &create);
            match kind {
                PropertyKind::Fixed => {}
                PropertyKind::Range { first, last } => xml.empty("range", &[("first", first), ("last", last)]),
                PropertyKind::Enum(values) => xml.element("enum", &[], |xml| {
                    values.iter().for_each(|value| xml.empty("entry", &[("value", value)]));
                }),
            }
        });
    }
}

/// A property that cannot be chosen, of a profile or of an instance.
pub(super) fn fixed(xml: &mut Xml, name: &str, value: &str) {
    let known = ["cpu", "memory", "storage", "architecture"].into_iter().find(|known| *known == name);
    let unit = known.and_then(|name| Property { name, value: String::new(), kind: PropertyKind::Fixed }.unit());
    xml.empty("property", &attributes("fixed", name, unit, value));
}

fn attributes<'a>(kind: &'a str, name: &'a str, unit: Option<&'a str>, value: &'a str) -> Vec<(&'static str, &'a str)> {
    let unit = unit.map(|unit| ("unit", unit));
    [("kind", kind), ("name", name)].into_iter().chain(unit).chain([("value", value)]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{List, both};
    use super::*;

    #[test]
    fn profiles_both_ways() {
        let property = |name, value: &str, kind| Property { name, value: value.to_owned(), kind };
        let texts = |values: [&str; 2]| values.map(str::to_owned).to_vec();
        let large = HardwareProfile {
            id: "large".to_owned(),
            name: "large".to_owned(),
            properties: vec![
                property("architecture", "x86_64", PropertyKind::Fixed),
                property(
                    "memory",
                    "10240.8",
                    PropertyKind::Range { first: "7680".to_owned(), last: "15360".to_owned() },
                ),
                property("storage", "850", PropertyKind::Enum(texts(["850", "1024"]))),
                property("root_type", "transient", PropertyKind::Fixed),
            ],
        };
        let opaque = HardwareProfile { id: "opaque".to_owned(), name: "opaque".to_owned(), properties: vec![] };
        let base = Base("http://h/api");
        let views = [&large, &opaque].map(|profile| ProfileView::new(profile, base)).into();
        insta::assert_snapshot!(both(&List("hardware_profiles", views)), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <hardware_profiles>
          <hardware_profile href='http://h/api/hardware_profiles/large' id='large'>
            <id>large</id>
            <name>large</name>
            <property kind='fixed' name='architecture' unit='label' value='x86_64' />
            <property kind='range' name='memory' unit='MB' value='10240.8'>
              <param href='http://h/api/instances' method='post' name='hwp_memory' operation='create' />
              <range first='7680' last='15360' />
            </property>
            <property kind='enum' name='storage' unit='GB' value='850'>
              <param href='http://h/api/instances' method='post' name='hwp_storage' operation='create' />
              <enum>
                <entry value='850' />
                <entry value='1024' />
              </enum>
            </property>
            <property kind='fixed' name='root_type' value='transient' />
          </hardware_profile>
          <hardware_profile href='http://h/api/hardware_profiles/opaque' id='opaque'>
            <id>opaque</id>
            <name>opaque</name>
          </hardware_profile>
        </hardware_profiles>
        {
          "hardware_profiles": [
            {
              "href": "http://h/api/hardware_profiles/large",
              "id": "large",
              "name": "large",
              "properties": {
                "architecture": "x86_64",
                "memory": "10240.8",
                "root_type": "transient",
                "storage": "850"
              }
            },
            {
              "href": "http://h/api/hardware_profiles/opaque",
              "id": "opaque",
              "name": "opaque"
            }
          ]
        }
        "#);
    }
}
