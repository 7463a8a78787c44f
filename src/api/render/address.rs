use serde::Serialize;

use super::{Base, Document, Reference, Xml};
use crate::model::PublicAddress;

/// An address (contract 2.7). Its id is the address itself.
#[derive(Debug, Serialize)]
pub(in crate::api) struct AddressView<'a> {
    id: &'a str,
    href: String,
    associated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<&'a str>,
    /// XML only.
    #[serde(skip)]
    instance: Option<Reference<'a>>,
}

impl<'a> AddressView<'a> {
    pub(in crate::api) fn new(address: &'a PublicAddress, base: Base) -> Self {
        let PublicAddress { ip, instance } = address;
        let instance_id = instance.as_deref();
        Self {
            id: ip,
            href: base.member("addresses", ip),
            associated: instance_id.is_some(),
            instance_id,
            instance: instance_id.map(|id| Reference::new(base, "instances", "instance", id)),
        }
    }
}

impl Document for AddressView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("address", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("ip", &[], self.id);
            xml.element("actions", &[], |xml| {
                xml.empty("link", &[("href", &self.href), ("method", "delete"), ("rel", "destroy")]);
                let rel = if self.associated { "disassociate" } else { "associate" };
                let href = format!("{}/{rel}", self.href);
                xml.empty("link", &[("href", &href), ("method", "post"), ("rel", rel)]);
            });
            if let Some(instance) = &self.instance {
                xml.empty("instance", &instance.attributes());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{List, Member, both};
    use super::*;

    #[test]
    fn addresses_both_ways() {
        let base = Base("http://h/api");
        let free = PublicAddress { ip: "192.0.2.1".to_owned(), instance: None };
        let used = PublicAddress { ip: "2001:db8::1".to_owned(), instance: Some("inst1".to_owned()) };
        insta::assert_snapshot!(both(&Member("address", AddressView::new(&free, base))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <address href='http://h/api/addresses/192.0.2.1' id='192.0.2.1'>
          <ip>192.0.2.1</ip>
          <actions>
            <link href='http://h/api/addresses/192.0.2.1' method='delete' rel='destroy' />
            <link href='http://h/api/addresses/192.0.2.1/associate' method='post' rel='associate' />
          </actions>
        </address>
        {
          "address": {
            "associated": false,
            "href": "http://h/api/addresses/192.0.2.1",
            "id": "192.0.2.1"
          }
        }
        "#);
        insta::assert_snapshot!(both(&List("addresses", vec![AddressView::new(&used, base)])), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <addresses>
          <address href='http://h/api/addresses/2001:db8::1' id='2001:db8::1'>
            <ip>2001:db8::1</ip>
            <actions>
              <link href='http://h/api/addresses/2001:db8::1' method='delete' rel='destroy' />
              <link href='http://h/api/addresses/2001:db8::1/disassociate' method='post' rel='disassociate' />
            </actions>
            <instance href='http://h/api/instances/inst1' id='inst1' />
          </address>
        </addresses>
        {
          "addresses": [
            {
              "associated": true,
              "href": "http://h/api/addresses/2001:db8::1",
              "id": "2001:db8::1",
              "instance_id": "inst1"
            }
          ]
        }
        "#);
    }
}
