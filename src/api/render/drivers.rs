use std::collections::BTreeMap;

use serde::Serialize;

use super::{Base, Document, Xml};
use crate::drivers::{Abilities, Provider};

/// A driver (contract 2.1). In XML entry points belong to a provider; in JSON the kind of entry point is the outer key.
#[derive(Debug, Serialize)]
pub(in crate::api) struct DriverMember {
    entrypoints: BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>,
    name: &'static str,
    id: &'static str,
    #[serde(skip)]
    href: String,
    #[serde(skip)]
    providers: &'static [Provider],
}

impl DriverMember {
    pub(in crate::api) fn new(abilities: &Abilities, base: Base) -> Self {
        let Abilities { id, name, providers, .. } = abilities;
        let mut entrypoints: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for provider in *providers {
            for (kind, host) in provider.entrypoints {
                entrypoints.entry(*kind).or_default().insert(provider.id, *host);
            }
        }
        Self { entrypoints, name, id, href: base.member("drivers", id), providers }
    }

    fn write(&self, xml: &mut Xml, whole: bool) {
        xml.element("driver", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("name", &[], self.name);
            for Provider { id, entrypoints } in self.providers {
                xml.element("provider", &[("id", id)], |xml| {
                    for (kind, host) in entrypoints.iter().filter(|_| whole) {
                        xml.text("entrypoint", &[("kind", kind)], host);
                    }
                });
            }
        });
    }
}

impl Document for DriverMember {
    fn xml(&self, xml: &mut Xml) {
        self.write(xml, true);
    }
}

/// All drivers: entry points are for the member in XML; JSON is an object by id.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(in crate::api) struct DriverList(BTreeMap<&'static str, DriverItem>);

#[derive(Debug, Serialize)]
struct DriverItem {
    entrypoints: BTreeMap<&'static str, BTreeMap<&'static str, &'static str>>,
    name: &'static str,
    #[serde(skip)]
    member: DriverMember,
}

impl DriverList {
    pub(in crate::api) fn new<'a>(all: impl Iterator<Item = &'a Abilities>, base: Base) -> Self {
        let item = |abilities| {
            let member = DriverMember::new(abilities, base);
            (member.id, DriverItem { entrypoints: member.entrypoints.clone(), name: member.name, member })
        };
        Self(all.map(item).collect())
    }
}

impl Document for DriverList {
    fn xml(&self, xml: &mut Xml) {
        xml.element("drivers", &[], |xml| self.0.values().for_each(|item| item.member.write(xml, false)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Member, both};
    use super::*;
    use crate::drivers::Machine;

    #[test]
    fn drivers_both_ways() {
        static MACHINE: Machine = Machine(&[]);
        let ec2 = Abilities {
            id: "ec2",
            name: "EC2",
            collections: &[],
            features: &[],
            machine: &MACHINE,
            lists_ended: true,
            may_lag: true,
            realms_differ: true,
            identity_is_sure: false,
            lists_changes: false,
            providers: &[Provider {
                id: "eu-west-1",
                entrypoints: &[("ec2", "ec2.eu-west-1.amazonaws.com"), ("s3", "s3-eu-west-1.amazonaws.com")],
            }],
            open_hardware_profiles: false,
        };
        let mock = Abilities { id: "mock", name: "Mock", providers: &[], ..ec2.clone() };
        let base = Base("http://h/api");
        insta::assert_snapshot!(both(&Member("driver", DriverMember::new(&ec2, base))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <driver href='http://h/api/drivers/ec2' id='ec2'>
          <name>EC2</name>
          <provider id='eu-west-1'>
            <entrypoint kind='ec2'>ec2.eu-west-1.amazonaws.com</entrypoint>
            <entrypoint kind='s3'>s3-eu-west-1.amazonaws.com</entrypoint>
          </provider>
        </driver>
        {
          "driver": {
            "entrypoints": {
              "ec2": {
                "eu-west-1": "ec2.eu-west-1.amazonaws.com"
              },
              "s3": {
                "eu-west-1": "s3-eu-west-1.amazonaws.com"
              }
            },
            "id": "ec2",
            "name": "EC2"
          }
        }
        "#);
        insta::assert_snapshot!(both(&DriverList::new([&ec2, &mock].into_iter(), base)), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <drivers>
          <driver href='http://h/api/drivers/ec2' id='ec2'>
            <name>EC2</name>
            <provider id='eu-west-1'></provider>
          </driver>
          <driver href='http://h/api/drivers/mock' id='mock'>
            <name>Mock</name>
          </driver>
        </drivers>
        {
          "ec2": {
            "entrypoints": {
              "ec2": {
                "eu-west-1": "ec2.eu-west-1.amazonaws.com"
              },
              "s3": {
                "eu-west-1": "s3-eu-west-1.amazonaws.com"
              }
            },
            "name": "EC2"
          },
          "mock": {
            "entrypoints": {},
            "name": "Mock"
          }
        }
        "#);
    }
}
