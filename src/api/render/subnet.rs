use serde::Serialize;

use super::{Base, Document, Xml, link_to_destroy};
use crate::model::Subnet;

/// A subnet (contract 2.7). Its network is text for those who read text, with an id for those who follow references.
#[derive(Debug, Serialize)]
pub(in crate::api) struct SubnetView<'a> {
    id: &'a str,
    name: &'a str,
    href: String,
    state: &'a str,
    address_block: &'a str,
    network: NetworkReference<'a>,
    /// A key that clients find in JSON; no driver of ours knows more than one type.
    r#type: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct NetworkReference<'a> {
    id: &'a str,
    href: String,
}

impl<'a> SubnetView<'a> {
    pub(in crate::api) fn new(subnet: &'a Subnet, base: Base) -> Self {
        let Subnet { id, name, state, network, address_block } = subnet;
        Self {
            id,
            name,
            href: base.member("subnets", id),
            state,
            address_block,
            network: NetworkReference { id: network, href: base.member("networks", network) },
            r#type: None,
        }
    }
}

impl Document for SubnetView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("subnet", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("name", &[], self.name);
            xml.text("state", &[], self.state);
            xml.text("address_block", &[], self.address_block);
            let NetworkReference { id, href } = &self.network;
            xml.text("network", &[("href", href), ("id", id)], id);
            link_to_destroy(xml, &self.href);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Member, both};
    use super::*;

    #[test]
    fn a_subnet_both_ways() {
        let subnet = Subnet {
            id: "subnet1".to_owned(),
            name: "subnet <1>".to_owned(),
            state: "UP".to_owned(),
            network: "net1".to_owned(),
            address_block: "192.168.1.0/24".to_owned(),
        };
        insta::assert_snapshot!(both(&Member("subnet", SubnetView::new(&subnet, Base("http://h/api")))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <subnet href='http://h/api/subnets/subnet1' id='subnet1'>
          <name>subnet &lt;1&gt;</name>
          <state>UP</state>
          <address_block>192.168.1.0/24</address_block>
          <network href='http://h/api/networks/net1' id='net1'>net1</network>
          <actions>
            <link href='http://h/api/subnets/subnet1' method='delete' rel='destroy' />
          </actions>
        </subnet>
        {
          "subnet": {
            "address_block": "192.168.1.0/24",
            "href": "http://h/api/subnets/subnet1",
            "id": "subnet1",
            "name": "subnet <1>",
            "network": {
              "href": "http://h/api/networks/net1",
              "id": "net1"
            },
            "state": "UP",
            "type": null
          }
        }
        "#);
    }
}
