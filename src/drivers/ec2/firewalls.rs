//! Security groups. A firewall's id is the group's; its rules are those about who may come in, each with EC2's own id.
//!
//! EC2 lists groups and rules apart: a group that is made or ended between the two calls may show no rules for a moment.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::calls::in_order;
use super::client::Params;
use super::{Ec2, map, parse};
use crate::drivers::{Error, Firewalls, Kind};
use crate::model::{Firewall, Login, NewFirewall, NewRule};

const GROUPS: &str = "DescribeSecurityGroups";
const RULES: &str = "DescribeSecurityGroupRules";

#[async_trait]
impl Firewalls for Ec2 {
    async fn firewalls(&self, login: &Login) -> Result<Vec<Firewall>, Error> {
        let groups = self.list::<parse::SecurityGroups>(login, GROUPS, Params::default()).await?;
        let rules = self.list::<parse::SecurityGroupRules>(login, RULES, Params::default()).await?;
        let names = map::names(&groups);
        Ok(in_order(map::firewalls(groups, rules, &names), |firewall| &firewall.id))
    }

    async fn firewall(&self, login: &Login, id: &str) -> Result<Option<Firewall>, Error> {
        let mut groups = self.groups(login, &BTreeSet::from([id.to_owned()])).await?;
        groups.retain(|group| group.group_id == id);
        if groups.is_empty() {
            return Ok(None);
        }
        let of_group = Params::default().filtered(1, "group-id", &[id]);
        let rules = self.list::<parse::SecurityGroupRules>(login, RULES, of_group).await?;
        // Named as in the list, where all groups are known.
        let mut names = map::names(&groups);
        let others = map::mentioned(&rules).filter(|id| !names.contains_key(*id)).map(str::to_owned).collect();
        names.extend(map::names(&self.groups(login, &others).await?));
        Ok(map::firewalls(groups, rules, &names).pop())
    }

    /// In the default network. EC2 wants a description: without one, the name.
    async fn create_firewall(&self, login: &Login, new: &NewFirewall) -> Result<Firewall, Error> {
        let description = if new.description.is_empty() { &new.name } else { &new.description };
        let params = Params::default().with("GroupName", &new.name).with("GroupDescription", description);
        let made: parse::CreatedSecurityGroup = self.call(login, "CreateSecurityGroup", params).await?;
        // It is made, whether or not it can be read by now.
        let read = self.firewall(login, &made.group_id).await.ok().flatten();
        Ok(read.unwrap_or_else(|| Firewall {
            id: made.group_id,
            name: new.name.clone(),
            description: description.clone(),
            owner: None,
            rules: Vec::new(),
        }))
    }

    async fn destroy_firewall(&self, login: &Login, id: &str) -> Result<(), Error> {
        let params = Params::default().with("GroupId", id);
        let parse::DeletedSecurityGroup {} = self.call(login, "DeleteSecurityGroup", params).await?;
        Ok(())
    }

    /// EC2 makes a rule for each source.
    async fn create_rule(&self, login: &Login, id: &str, new: &NewRule) -> Result<Firewall, Error> {
        let params = permission(id, new)?;
        let asked = self.call::<parse::AuthorizedIngress>(login, "AuthorizeSecurityGroupIngress", params).await;
        if let Err(error) = asked {
            // Not the firewall, but a group that the rule speaks of.
            let other = error.kind == Kind::NotFound && self.firewall(login, id).await?.is_some();
            return Err(if other { Error { kind: Kind::Invalid, ..error } } else { error });
        }
        let read = self.firewall(login, id).await?;
        read.ok_or_else(|| Error::new(Kind::Unavailable, format!("{GROUPS}: {id} was there a moment ago")))
    }

    async fn destroy_rule(&self, login: &Login, id: &str, rule: &str) -> Result<(), Error> {
        let params = Params::default().with("GroupId", id).with("SecurityGroupRuleId.1", rule);
        let parse::RevokedIngress {} = self.call(login, "RevokeSecurityGroupIngress", params).await?;
        Ok(())
    }
}

impl Ec2 {
    async fn groups(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<parse::SecurityGroup>, Error> {
        self.look::<parse::SecurityGroups>(login, GROUPS, Params::default(), "group-id", ids).await
    }
}

/// What EC2 is asked to let in. A group by its id, or, in the default network, by its name.
fn permission(id: &str, new: &NewRule) -> Result<Params, Error> {
    let invalid = |text: &str| Error::new(Kind::Invalid, format!("AuthorizeSecurityGroupIngress: {text}"));
    if new.networks.is_empty() && new.groups.is_empty() {
        return Err(invalid("a rule is to name a network or a group"));
    }
    let protocol = match new.protocol.trim().to_ascii_lowercase().as_str() {
        "" => return Err(invalid("a rule is to name a protocol: tcp, udp, icmp, or -1 for all")),
        "all" => ALL.to_owned(),
        given => given.to_owned(),
    };
    let mut params = Params::default().with("GroupId", id).with("IpPermissions.1.IpProtocol", &protocol);
    // Whatever protocol it is, it is let in whole.
    if protocol != ALL {
        for (name, given) in [("FromPort", &new.port_from), ("ToPort", &new.port_to)] {
            let port = match given.trim() {
                // Of ICMP, all types and codes.
                "" if protocol.starts_with("icmp") => -1,
                given => given.parse::<i32>().map_err(|_| invalid("a port is to be a number"))?,
            };
            params = params.with(format!("IpPermissions.1.{name}"), port);
        }
    }
    let (v6, v4): (Vec<&String>, Vec<&String>) = new.networks.iter().partition(|network| network.contains(':'));
    for (at, network) in (1..).zip(v4) {
        params = params.with(format!("IpPermissions.1.IpRanges.{at}.CidrIp"), network);
    }
    for (at, network) in (1..).zip(v6) {
        params = params.with(format!("IpPermissions.1.Ipv6Ranges.{at}.CidrIpv6"), network);
    }
    for (at, (group, owner)) in (1..).zip(&new.groups) {
        let by = if group.starts_with("sg-") { "GroupId" } else { "GroupName" };
        params = params
            .with(format!("IpPermissions.1.Groups.{at}.{by}"), group)
            .with_some(&format!("IpPermissions.1.Groups.{at}.UserId"), owner.as_deref());
    }
    Ok(params)
}

/// All protocols, and all ports.
const ALL: &str = "-1";

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(protocol: &str, from: &str, to: &str) -> NewRule {
        NewRule {
            protocol: protocol.to_owned(),
            port_from: from.to_owned(),
            port_to: to.to_owned(),
            networks: vec!["10.0.0.0/8".to_owned()],
            groups: vec![],
        }
    }

    #[test]
    fn a_rule_asks_for_what_was_given() {
        let check = |new: &NewRule, expected: &str| {
            let params = permission("sg-1", new).expect("it makes sense").to_string();
            assert_eq!(params, format!("GroupId=sg-1&{}", expected.replace('^', "IpPermissions.1.")));
        };
        check(&rule("tcp", "80", "443"), "^IpProtocol=tcp&^FromPort=80&^ToPort=443&^IpRanges.1.CidrIp=10.0.0.0%2F8");
        check(&rule("UDP", " 53 ", "53"), "^IpProtocol=udp&^FromPort=53&^ToPort=53&^IpRanges.1.CidrIp=10.0.0.0%2F8");
        check(&rule("icmp", "8", ""), "^IpProtocol=icmp&^FromPort=8&^ToPort=-1&^IpRanges.1.CidrIp=10.0.0.0%2F8");
        check(&rule("all", "1", "2"), "^IpProtocol=-1&^IpRanges.1.CidrIp=10.0.0.0%2F8");
        let sources = NewRule {
            networks: ["10.0.0.0/8", "2001:db8::/32", "192.0.2.0/24"].map(str::to_owned).to_vec(),
            groups: vec![("sg-2".to_owned(), None), ("ssh".to_owned(), Some("210987654321".to_owned()))],
            ..rule("tcp", "22", "22")
        };
        check(
            &sources,
            "^IpProtocol=tcp&^FromPort=22&^ToPort=22&^IpRanges.1.CidrIp=10.0.0.0%2F8\
             &^IpRanges.2.CidrIp=192.0.2.0%2F24&^Ipv6Ranges.1.CidrIpv6=2001%3Adb8%3A%3A%2F32\
             &^Groups.1.GroupId=sg-2&^Groups.2.GroupName=ssh&^Groups.2.UserId=210987654321",
        );
    }

    #[test]
    fn a_rule_without_sense_is_refused_unasked() {
        let nobody = NewRule { networks: vec![], ..rule("tcp", "22", "22") };
        for new in [nobody, rule("", "22", "22"), rule("tcp", "", "22"), rule("tcp", "22", "ssh"), rule("udp", "1", "")]
        {
            let kind = permission("sg-1", &new).err().map(|error| error.kind);
            assert_eq!(kind, Some(Kind::Invalid), "{new:?}");
        }
    }
}
