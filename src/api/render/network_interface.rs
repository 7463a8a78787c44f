use serde::Serialize;

use super::{Base, Document, Reference, Xml, link_to_destroy};
use crate::model::NetworkInterface;

/// A network interface (contract 2.7). What it hangs on is called `network` even where that is a subnet; `rel` says which.
#[derive(Debug, Serialize)]
pub(in crate::api) struct NetworkInterfaceView<'a> {
    id: &'a str,
    name: &'a str,
    href: String,
    ip_address: Option<&'a str>,
    network: Reference<'a>,
    instance: Reference<'a>,
}

impl<'a> NetworkInterfaceView<'a> {
    pub(in crate::api) fn new(interface: &'a NetworkInterface, base: Base) -> Self {
        // Clients know of no state, and with one the older gem makes another class of it.
        let NetworkInterface { id, name, state: _, instance, network, subnet, ip_address } = interface;
        let network = match subnet {
            Some(subnet) => Reference::new(base, "subnets", "subnet", subnet),
            None => Reference::new(base, "networks", "network", network),
        };
        Self {
            id,
            name,
            href: base.member("network_interfaces", id),
            ip_address: ip_address.as_deref(),
            network,
            instance: Reference::new(base, "instances", "instance", instance),
        }
    }
}

impl Document for NetworkInterfaceView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("network_interface", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("name", &[], self.name);
            xml.text("ip_address", &[], self.ip_address.unwrap_or_default());
            let [href, id] = self.network.attributes();
            xml.text("network", &[href, id, ("rel", self.network.rel)], self.network.id);
            xml.text("instance", &self.instance.attributes(), self.instance.id);
            link_to_destroy(xml, &self.href);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{List, both};
    use super::*;

    #[test]
    fn network_interfaces_both_ways() {
        let nic1 = NetworkInterface {
            id: "nic1".to_owned(),
            name: "nic <1>".to_owned(),
            state: "UP".to_owned(),
            instance: "inst1".to_owned(),
            network: "net1".to_owned(),
            subnet: Some("subnet1".to_owned()),
            ip_address: Some("192.168.1.2".to_owned()),
        };
        let nic2 = NetworkInterface { id: "nic2".to_owned(), subnet: None, ip_address: None, ..nic1.clone() };
        let views = [&nic1, &nic2].map(|nic| NetworkInterfaceView::new(nic, Base("http://h/api")));
        insta::assert_snapshot!(both(&List("network_interfaces", views.into())), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <network_interfaces>
          <network_interface href='http://h/api/network_interfaces/nic1' id='nic1'>
            <name>nic &lt;1&gt;</name>
            <ip_address>192.168.1.2</ip_address>
            <network href='http://h/api/subnets/subnet1' id='subnet1' rel='subnet'>subnet1</network>
            <instance href='http://h/api/instances/inst1' id='inst1'>inst1</instance>
            <actions>
              <link href='http://h/api/network_interfaces/nic1' method='delete' rel='destroy' />
            </actions>
          </network_interface>
          <network_interface href='http://h/api/network_interfaces/nic2' id='nic2'>
            <name>nic &lt;1&gt;</name>
            <ip_address></ip_address>
            <network href='http://h/api/networks/net1' id='net1' rel='network'>net1</network>
            <instance href='http://h/api/instances/inst1' id='inst1'>inst1</instance>
            <actions>
              <link href='http://h/api/network_interfaces/nic2' method='delete' rel='destroy' />
            </actions>
          </network_interface>
        </network_interfaces>
        {
          "network_interfaces": [
            {
              "href": "http://h/api/network_interfaces/nic1",
              "id": "nic1",
              "instance": {
                "href": "http://h/api/instances/inst1",
                "id": "inst1",
                "rel": "instance"
              },
              "ip_address": "192.168.1.2",
              "name": "nic <1>",
              "network": {
                "href": "http://h/api/subnets/subnet1",
                "id": "subnet1",
                "rel": "subnet"
              }
            },
            {
              "href": "http://h/api/network_interfaces/nic2",
              "id": "nic2",
              "instance": {
                "href": "http://h/api/instances/inst1",
                "id": "inst1",
                "rel": "instance"
              },
              "ip_address": null,
              "name": "nic <1>",
              "network": {
                "href": "http://h/api/networks/net1",
                "id": "net1",
                "rel": "network"
              }
            }
          ]
        }
        "#);
    }
}
