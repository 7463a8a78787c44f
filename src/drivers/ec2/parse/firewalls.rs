use serde::Deserialize;

use super::{Page, Reply, Set, filled};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityGroups {
    #[serde(rename = "securityGroupInfo")]
    groups: Set<SecurityGroup>,
    next_token: Option<String>,
}

impl Reply for SecurityGroups {
    const ROOT: &'static str = "DescribeSecurityGroupsResponse";
}

impl Page for SecurityGroups {
    type Member = SecurityGroup;

    fn into_parts(self) -> (Vec<SecurityGroup>, Option<String>) {
        (self.groups.items, filled(self.next_token))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityGroup {
    pub(crate) group_id: String,
    pub(crate) group_name: Option<String>,
    pub(crate) group_description: Option<String>,
    pub(crate) owner_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedSecurityGroup {
    pub(crate) group_id: String,
}

impl Reply for CreatedSecurityGroup {
    const ROOT: &'static str = "CreateSecurityGroupResponse";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityGroupRules {
    #[serde(rename = "securityGroupRuleSet")]
    rules: Set<SecurityGroupRule>,
    next_token: Option<String>,
}

impl Reply for SecurityGroupRules {
    const ROOT: &'static str = "DescribeSecurityGroupRulesResponse";
}

impl Page for SecurityGroupRules {
    type Member = SecurityGroupRule;

    fn into_parts(self) -> (Vec<SecurityGroupRule>, Option<String>) {
        (self.rules.items, filled(self.next_token))
    }
}

/// A rule is about one source, or destination.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SecurityGroupRule {
    pub(crate) security_group_rule_id: String,
    pub(crate) group_id: String,
    pub(crate) is_egress: bool,
    pub(crate) ip_protocol: Option<String>,
    pub(crate) from_port: Option<i64>,
    pub(crate) to_port: Option<i64>,
    #[serde(rename = "cidrIpv4")]
    pub(crate) cidr_ipv4: Option<String>,
    #[serde(rename = "cidrIpv6")]
    pub(crate) cidr_ipv6: Option<String>,
    pub(crate) referenced_group_info: Option<ReferencedGroup>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReferencedGroup {
    pub(crate) group_id: Option<String>,
    pub(crate) user_id: Option<String>,
}
