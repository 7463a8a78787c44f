/// A private network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub id: String,
    pub name: String,
    /// `UP` or `DOWN`.
    pub state: String,
    /// `192.168.0.0/16`
    pub address_blocks: Vec<String>,
    /// Ids.
    pub subnets: Vec<String>,
}

/// A part of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub id: String,
    pub name: String,
    /// `UP` or `DOWN`.
    pub state: String,
    pub network: String,
    pub address_block: String,
}

/// What joins an instance to a subnet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkInterface {
    pub id: String,
    pub name: String,
    /// `UP` or `DOWN`.
    pub state: String,
    pub instance: String,
    pub network: String,
    pub subnet: Option<String>,
    pub ip_address: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewNetwork {
    pub name: Option<String>,
    pub address_block: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewSubnet {
    pub name: Option<String>,
    pub network: String,
    pub address_block: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewNetworkInterface {
    pub name: Option<String>,
    pub instance: String,
    pub network: String,
    pub ip_address: Option<String>,
}
