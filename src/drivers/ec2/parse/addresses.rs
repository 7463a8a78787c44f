use serde::Deserialize;

use super::{Reply, Set};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Addresses {
    #[serde(rename = "addressesSet")]
    pub(crate) addresses: Set<Address>,
}

impl Reply for Addresses {
    const ROOT: &'static str = "DescribeAddressesResponse";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Address {
    /// Absent from the addresses of carriers' networks, which are of another kind.
    pub(crate) public_ip: Option<String>,
    pub(crate) allocation_id: Option<String>,
    /// There while it leads anywhere, be it an instance, a gateway or a mere network interface.
    pub(crate) association_id: Option<String>,
    pub(crate) instance_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AllocatedAddress {
    pub(crate) public_ip: String,
}

impl Reply for AllocatedAddress {
    const ROOT: &'static str = "AllocateAddressResponse";
}
