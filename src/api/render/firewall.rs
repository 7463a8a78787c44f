use serde::Serialize;

use super::{Base, Document, Xml};
use crate::model::{Firewall, Rule, Source};

/// A firewall (contract 2.7).
#[derive(Debug, Serialize)]
pub(in crate::api) struct FirewallView<'a> {
    id: &'a str,
    href: String,
    name: &'a str,
    description: &'a str,
    owner_id: Option<&'a str>,
    rules: Vec<RuleView<'a>>,
}

#[derive(Debug, Serialize)]
struct RuleView<'a> {
    id: &'a str,
    href: String,
    allow_protocol: &'a str,
    port_from: Option<&'a str>,
    port_to: Option<&'a str>,
    direction: &'a str,
    /// What only one cloud of the reference ever said; kept for readers who look for them.
    rule_action: Option<&'a str>,
    log_rule: Option<&'a str>,
    sources: Vec<SourceView<'a>>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum SourceView<'a> {
    Address { family: &'a str, address: &'a str, prefix: &'a str },
    Group { name: &'a str, owner: Option<&'a str> },
}

impl<'a> FirewallView<'a> {
    pub(in crate::api) fn new(firewall: &'a Firewall, base: Base) -> Self {
        let Firewall { id, name, description, owner, rules } = firewall;
        let href = base.member("firewalls", id);
        let rules = rules.iter().map(|rule| RuleView::new(rule, &href)).collect();
        Self { id, name, description, owner_id: owner.as_deref(), rules, href }
    }
}

impl<'a> RuleView<'a> {
    fn new(rule: &'a Rule, firewall: &str) -> Self {
        let Rule { id, protocol, port_from, port_to, direction, sources } = rule;
        Self {
            id,
            href: format!("{firewall}/{}", super::segment(id)),
            allow_protocol: protocol,
            port_from: port_from.as_deref(),
            port_to: port_to.as_deref(),
            direction,
            rule_action: None,
            log_rule: None,
            sources: sources.iter().map(SourceView::new).collect(),
        }
    }

    fn xml(&self, xml: &mut Xml) {
        xml.element("rule", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.element("actions", &[], |xml| {
                xml.empty("link", &[("href", &self.href), ("method", "delete"), ("rel", "destroy")]);
            });
            for (name, text) in [
                ("allow_protocol", Some(self.allow_protocol)),
                ("port_from", self.port_from),
                ("port_to", self.port_to),
                ("direction", Some(self.direction)),
                ("rule_action", self.rule_action),
                ("log_rule", self.log_rule),
            ] {
                xml.text(name, &[], text.unwrap_or_default());
            }
            xml.element("sources", &[], |xml| self.sources.iter().for_each(|source| source.xml(xml)));
        });
    }
}

impl<'a> SourceView<'a> {
    fn new(source: &'a Source) -> Self {
        match source {
            Source::Network { family, address, prefix } => Self::Address { family, address, prefix },
            Source::Group { name, owner } => Self::Group { name, owner: owner.as_deref() },
        }
    }

    fn xml(&self, xml: &mut Xml) {
        match self {
            Self::Address { family, address, prefix } => xml
                .empty("source", &[("address", address), ("family", family), ("prefix", prefix), ("type", "address")]),
            Self::Group { name, owner } => {
                let owner = owner.map(|owner| ("owner", owner));
                let attributes: Vec<_> =
                    [("name", *name)].into_iter().chain(owner).chain([("type", "group")]).collect();
                xml.empty("source", &attributes);
            }
        }
    }
}

impl Document for FirewallView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("firewall", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.element("actions", &[], |xml| {
                xml.empty("link", &[("href", &self.href), ("method", "delete"), ("rel", "destroy")]);
                // The reference calls it the one in lists and the other in members; here both are everywhere.
                let href = format!("{}/rules", self.href);
                for rel in ["add_rule", "update"] {
                    xml.empty("link", &[("href", &href), ("method", "post"), ("rel", rel)]);
                }
            });
            xml.text("name", &[], self.name);
            xml.text("description", &[], self.description);
            xml.text("owner_id", &[], self.owner_id.unwrap_or_default());
            xml.element("rules", &[], |xml| self.rules.iter().for_each(|rule| rule.xml(xml)));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{List, Member, both};
    use super::*;

    #[test]
    fn firewalls_both_ways() {
        let web = Firewall {
            id: "sg-1".to_owned(),
            name: "web".to_owned(),
            description: "<open> to all".to_owned(),
            owner: Some("293787749884".to_owned()),
            rules: vec![
                Rule {
                    id: "293787749884~tcp~22~22~@address,ipv4,0.0.0.0,0".to_owned(),
                    protocol: "tcp".to_owned(),
                    port_from: Some("22".to_owned()),
                    port_to: Some("22".to_owned()),
                    direction: "ingress",
                    sources: vec![Source::Network {
                        family: "ipv4",
                        address: "0.0.0.0".to_owned(),
                        prefix: "0".to_owned(),
                    }],
                },
                Rule {
                    id: "all".to_owned(),
                    protocol: "-1".to_owned(),
                    port_from: None,
                    port_to: None,
                    direction: "egress",
                    sources: vec![
                        Source::Group { name: "db".to_owned(), owner: Some("7".to_owned()) },
                        Source::Group { name: "lb".to_owned(), owner: None },
                    ],
                },
            ],
        };
        let bare = Firewall { owner: None, rules: Vec::new(), ..web.clone() };
        let base = Base("http://h/api");
        insta::assert_snapshot!(both(&Member("firewall", FirewallView::new(&web, base))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <firewall href='http://h/api/firewalls/sg-1' id='sg-1'>
          <actions>
            <link href='http://h/api/firewalls/sg-1' method='delete' rel='destroy' />
            <link href='http://h/api/firewalls/sg-1/rules' method='post' rel='add_rule' />
            <link href='http://h/api/firewalls/sg-1/rules' method='post' rel='update' />
          </actions>
          <name>web</name>
          <description>&lt;open&gt; to all</description>
          <owner_id>293787749884</owner_id>
          <rules>
            <rule href='http://h/api/firewalls/sg-1/293787749884~tcp~22~22~%40address%2Cipv4%2C0.0.0.0%2C0' id='293787749884~tcp~22~22~@address,ipv4,0.0.0.0,0'>
              <actions>
                <link href='http://h/api/firewalls/sg-1/293787749884~tcp~22~22~%40address%2Cipv4%2C0.0.0.0%2C0' method='delete' rel='destroy' />
              </actions>
              <allow_protocol>tcp</allow_protocol>
              <port_from>22</port_from>
              <port_to>22</port_to>
              <direction>ingress</direction>
              <rule_action></rule_action>
              <log_rule></log_rule>
              <sources>
                <source address='0.0.0.0' family='ipv4' prefix='0' type='address' />
              </sources>
            </rule>
            <rule href='http://h/api/firewalls/sg-1/all' id='all'>
              <actions>
                <link href='http://h/api/firewalls/sg-1/all' method='delete' rel='destroy' />
              </actions>
              <allow_protocol>-1</allow_protocol>
              <port_from></port_from>
              <port_to></port_to>
              <direction>egress</direction>
              <rule_action></rule_action>
              <log_rule></log_rule>
              <sources>
                <source name='db' owner='7' type='group' />
                <source name='lb' type='group' />
              </sources>
            </rule>
          </rules>
        </firewall>
        {
          "firewall": {
            "description": "<open> to all",
            "href": "http://h/api/firewalls/sg-1",
            "id": "sg-1",
            "name": "web",
            "owner_id": "293787749884",
            "rules": [
              {
                "allow_protocol": "tcp",
                "direction": "ingress",
                "href": "http://h/api/firewalls/sg-1/293787749884~tcp~22~22~%40address%2Cipv4%2C0.0.0.0%2C0",
                "id": "293787749884~tcp~22~22~@address,ipv4,0.0.0.0,0",
                "log_rule": null,
                "port_from": "22",
                "port_to": "22",
                "rule_action": null,
                "sources": [
                  {
                    "address": "0.0.0.0",
                    "family": "ipv4",
                    "prefix": "0",
                    "type": "address"
                  }
                ]
              },
              {
                "allow_protocol": "-1",
                "direction": "egress",
                "href": "http://h/api/firewalls/sg-1/all",
                "id": "all",
                "log_rule": null,
                "port_from": null,
                "port_to": null,
                "rule_action": null,
                "sources": [
                  {
                    "name": "db",
                    "owner": "7",
                    "type": "group"
                  },
                  {
                    "name": "lb",
                    "owner": null,
                    "type": "group"
                  }
                ]
              }
            ]
          }
        }
        "#);
        insta::assert_snapshot!(both(&List("firewalls", vec![FirewallView::new(&bare, base)])), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <firewalls>
          <firewall href='http://h/api/firewalls/sg-1' id='sg-1'>
            <actions>
              <link href='http://h/api/firewalls/sg-1' method='delete' rel='destroy' />
              <link href='http://h/api/firewalls/sg-1/rules' method='post' rel='add_rule' />
              <link href='http://h/api/firewalls/sg-1/rules' method='post' rel='update' />
            </actions>
            <name>web</name>
            <description>&lt;open&gt; to all</description>
            <owner_id></owner_id>
            <rules></rules>
          </firewall>
        </firewalls>
        {
          "firewalls": [
            {
              "description": "<open> to all",
              "href": "http://h/api/firewalls/sg-1",
              "id": "sg-1",
              "name": "web",
              "owner_id": null,
              "rules": []
            }
          ]
        }
        "#);
    }
}
