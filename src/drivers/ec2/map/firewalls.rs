//! Security groups, with the rules about who may come in.

use std::collections::BTreeMap;

use crate::drivers::ec2::parse::{self, ReferencedGroup, SecurityGroupRule, filled};
use crate::model::{Firewall, Rule, Source};

/// Names of groups by id.
pub(crate) type Names = BTreeMap<String, String>;

pub(crate) fn names<'a>(groups: impl IntoIterator<Item = &'a parse::SecurityGroup>) -> Names {
    let named = |group: &parse::SecurityGroup| Some((group.group_id.clone(), filled(group.group_name.clone())?));
    groups.into_iter().filter_map(named).collect()
}

/// The groups that rules speak of.
pub(crate) fn mentioned(rules: &[SecurityGroupRule]) -> impl Iterator<Item = &str> {
    rules.iter().filter_map(|rule| rule.referenced_group_info.as_ref()?.group_id.as_deref())
}

/// Each group with its own of all rules, in the order of their ids.
pub(crate) fn firewalls(
    groups: Vec<parse::SecurityGroup>,
    rules: Vec<SecurityGroupRule>,
    names: &Names,
) -> Vec<Firewall> {
    let mut by_group: BTreeMap<String, BTreeMap<String, Rule>> = BTreeMap::new();
    for item in rules.into_iter().filter(|item| !item.is_egress) {
        let of_group = by_group.entry(item.group_id.clone()).or_default();
        of_group.insert(item.security_group_rule_id.clone(), rule(item, names));
    }
    let rules_of = |id: &str| by_group.remove(id).unwrap_or_default().into_values().collect();
    groups.into_iter().map(firewall(rules_of)).collect()
}

fn firewall(mut rules_of: impl FnMut(&str) -> Vec<Rule>) -> impl FnMut(parse::SecurityGroup) -> Firewall {
    move |group| Firewall {
        rules: rules_of(&group.group_id),
        name: filled(group.group_name).unwrap_or_else(|| group.group_id.clone()),
        description: group.group_description.unwrap_or_default(),
        owner: filled(group.owner_id),
        id: group.group_id,
    }
}

/// Ports of ICMP are type and code. -1 is all of them, as is whatever goes with a protocol of -1, which is all of those.
fn rule(item: SecurityGroupRule, names: &Names) -> Rule {
    let protocol = item.ip_protocol.unwrap_or_default();
    let port =
        |number: Option<i64>| number.filter(|number| *number >= 0 && protocol != "-1").map(|number| number.to_string());
    let sources = [
        item.cidr_ipv4.map(|cidr| network("ipv4", &cidr, "32")),
        item.cidr_ipv6.map(|cidr| network("ipv6", &cidr, "128")),
        item.referenced_group_info.and_then(|group| referenced(group, names)),
        // A rule about a prefix list shows no source: it is neither a network nor a group.
    ];
    Rule {
        id: item.security_group_rule_id,
        port_from: port(item.from_port),
        port_to: port(item.to_port),
        protocol,
        direction: "ingress",
        sources: sources.into_iter().flatten().collect(),
    }
}

fn network(family: &'static str, cidr: &str, whole: &str) -> Source {
    let (address, prefix) = cidr.split_once('/').unwrap_or((cidr, whole));
    Source::Network { family, address: address.to_owned(), prefix: prefix.to_owned() }
}

/// By name where we know it: a group of another account has only its id.
fn referenced(group: ReferencedGroup, names: &Names) -> Option<Source> {
    let id = filled(group.group_id)?;
    Some(Source::Group { name: names.get(&id).cloned().unwrap_or(id), owner: filled(group.user_id) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ec2::map::tests::read;
    use crate::drivers::ec2::parse::Page as _;

    #[test]
    fn firewalls_have_their_rules_about_who_may_come_in() {
        let groups =
            read::<parse::SecurityGroups>(include_str!("../replies/DescribeSecurityGroups.xml")).into_parts().0;
        let rules =
            read::<parse::SecurityGroupRules>(include_str!("../replies/DescribeSecurityGroupRules.xml")).into_parts().0;
        assert_eq!(mentioned(&rules).collect::<Vec<_>>(), ["sg-0a1b2c3d4e5f60002", "sg-0fffffffffffffff9"]);
        let names = names(&groups);
        let firewalls = firewalls(groups, rules, &names);
        let seen: Vec<String> = firewalls.iter().map(written).collect();
        assert_eq!(
            seen,
            [
                "sg-0a1b2c3d4e5f60001 web (Web servers & more) of 123456789012: \
                 sgr-01 tcp 80-443 ipv4 0.0.0.0/0; sgr-02 tcp 443-443 ipv6 ::/0; \
                 sgr-03 icmp 8-* ipv4 10.0.0.0/8; sgr-04 -1 *-* group ssh of 123456789012; \
                 sgr-05 udp 53-53 group sg-0fffffffffffffff9 of 210987654321; sgr-06 tcp 22-22",
                "sg-0a1b2c3d4e5f60002 ssh (ssh) of 123456789012: ",
            ]
        );
        assert!(firewalls.iter().flat_map(|firewall| &firewall.rules).all(|rule| rule.direction == "ingress"));
    }

    fn written(firewall: &Firewall) -> String {
        let Firewall { id, name, description, owner, rules } = firewall;
        let rules: Vec<String> = rules
            .iter()
            .map(|rule| {
                let port = |port: &Option<String>| port.clone().unwrap_or_else(|| "*".to_owned());
                let sources = rule.sources.iter().map(|source| match source {
                    Source::Network { family, address, prefix } => format!(" {family} {address}/{prefix}"),
                    Source::Group { name, owner } => {
                        format!(" group {name} of {}", owner.as_deref().unwrap_or("nobody"))
                    }
                });
                let (from, to) = (port(&rule.port_from), port(&rule.port_to));
                format!("{} {} {from}-{to}{}", rule.id, rule.protocol, sources.collect::<String>())
            })
            .collect();
        format!("{id} {name} ({description}) of {}: {}", owner.as_deref().unwrap_or("nobody"), rules.join("; "))
    }
}
