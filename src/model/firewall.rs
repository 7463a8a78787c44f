/// Rules about who may reach instances: a security group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    pub id: String,
    pub name: String,
    pub description: String,
    pub owner: Option<String>,
    pub rules: Vec<Rule>,
}

/// What a firewall lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique within its firewall.
    pub id: String,
    /// `tcp`, `udp`, `icmp`, or the provider's word.
    pub protocol: String,
    /// `None`: all ports.
    pub port_from: Option<String>,
    pub port_to: Option<String>,
    /// `ingress` or `egress`.
    pub direction: &'static str,
    pub sources: Vec<Source>,
}

/// Whom a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `address` 192.0.2.0, `prefix` 24, `family` `ipv4` or `ipv6`.
    Network { family: &'static str, address: String, prefix: String },
    /// Instances in another firewall.
    Group { name: String, owner: Option<String> },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewFirewall {
    pub name: String,
    pub description: String,
}

/// A request for a rule. With neither networks nor groups it makes no sense.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewRule {
    pub protocol: String,
    pub port_from: String,
    pub port_to: String,
    /// `192.0.2.0/24`, as given.
    pub networks: Vec<String>,
    /// Name or id of a firewall and its owner, if given.
    pub groups: Vec<(String, Option<String>)>,
}
