use serde::Serialize;

use super::{Base, Document, Xml, link_to_destroy};
use crate::model::Network;

/// A network (contract 2.7). JSON has no actions.
#[derive(Debug, Serialize)]
pub(in crate::api) struct NetworkView<'a> {
    id: &'a str,
    name: &'a str,
    href: String,
    state: &'a str,
    address_blocks: &'a [String],
    subnets: Vec<SubnetReference<'a>>,
}

#[derive(Debug, Serialize)]
struct SubnetReference<'a> {
    id: &'a str,
    href: String,
}

impl<'a> NetworkView<'a> {
    pub(in crate::api) fn new(network: &'a Network, base: Base) -> Self {
        let Network { id, name, state, address_blocks, subnets } = network;
        let subnets = subnets.iter().map(|id| SubnetReference { id, href: base.member("subnets", id) });
        Self { id, name, href: base.member("networks", id), state, address_blocks, subnets: subnets.collect() }
    }
}

impl Document for NetworkView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("network", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("name", &[], self.name);
            xml.text("state", &[], self.state);
            xml.element("address_blocks", &[], |xml| {
                self.address_blocks.iter().for_each(|block| xml.text("address_block", &[], block));
            });
            xml.element("subnets", &[], |xml| {
                let subnets = self.subnets.iter();
                subnets.for_each(|SubnetReference { id, href }| xml.empty("subnet", &[("href", href), ("id", id)]));
            });
            link_to_destroy(xml, &self.href);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Member, both};
    use super::*;

    #[test]
    fn a_network_both_ways() {
        let network = Network {
            id: "net1".to_owned(),
            name: "net <1>".to_owned(),
            state: "UP".to_owned(),
            address_blocks: vec!["192.168.0.0/16".to_owned()],
            subnets: vec!["subnet1".to_owned(), "subnet 2".to_owned()],
        };
        insta::assert_snapshot!(both(&Member("network", NetworkView::new(&network, Base("http://h/api")))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <network href='http://h/api/networks/net1' id='net1'>
          <name>net &lt;1&gt;</name>
          <state>UP</state>
          <address_blocks>
            <address_block>192.168.0.0/16</address_block>
          </address_blocks>
          <subnets>
            <subnet href='http://h/api/subnets/subnet1' id='subnet1' />
            <subnet href='http://h/api/subnets/subnet%202' id='subnet 2' />
          </subnets>
          <actions>
            <link href='http://h/api/networks/net1' method='delete' rel='destroy' />
          </actions>
        </network>
        {
          "network": {
            "address_blocks": [
              "192.168.0.0/16"
            ],
            "href": "http://h/api/networks/net1",
            "id": "net1",
            "name": "net <1>",
            "state": "UP",
            "subnets": [
              {
                "href": "http://h/api/subnets/subnet1",
                "id": "subnet1"
              },
              {
                "href": "http://h/api/subnets/subnet%202",
                "id": "subnet 2"
              }
            ]
          }
        }
        "#);
    }
}
