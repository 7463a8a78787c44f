use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{World, conflict, fit, invalid, unknown};
use crate::drivers::{Error, Kind};
use crate::model::{InstanceId, Network, NetworkInterface, NewNetwork, NewNetworkInterface, NewSubnet, Subnet};

const UP: &str = "UP";

impl World {
    pub(crate) fn networks(&self) -> Vec<Network> {
        self.networks.values().cloned().collect()
    }

    pub(crate) fn network(&self, id: &str) -> Option<Network> {
        self.networks.get(id).cloned()
    }

    pub(crate) fn create_network(&mut self, new: &NewNetwork) -> Result<Network, Error> {
        fit([new.name.as_ref()])?;
        if let Some(block) = &new.address_block {
            block_of(block)?;
        }
        self.make_room(self.networks.len(), "networks")?;
        let networks = &self.networks;
        let id = self.ids.asked(new.name.as_deref(), "net", |id| networks.contains_key(id));
        let network = Network {
            name: new.name.clone().unwrap_or_else(|| id.clone()),
            id,
            state: UP.to_owned(),
            address_blocks: new.address_block.clone().into_iter().collect(),
            subnets: Vec::new(),
        };
        self.networks.insert(network.id.clone(), network.clone());
        Ok(network)
    }

    pub(crate) fn destroy_network(&mut self, id: &str) -> Result<(), Error> {
        let network = self.networks.get(id).ok_or_else(|| unknown("Network", id))?;
        if !network.subnets.is_empty() || self.interfaces.values().any(|interface| interface.network == id) {
            return Err(conflict(format!("Network '{id}' has subnets or interfaces.")));
        }
        self.networks.remove(id);
        Ok(())
    }

    pub(crate) fn subnets(&self) -> Vec<Subnet> {
        self.subnets.values().cloned().collect()
    }

    pub(crate) fn subnet(&self, id: &str) -> Option<Subnet> {
        self.subnets.get(id).cloned()
    }

    pub(crate) fn create_subnet(&mut self, new: &NewSubnet) -> Result<Subnet, Error> {
        fit([new.name.as_ref()])?;
        block_of(&new.address_block)?;
        self.make_room(self.subnets.len(), "subnets")?;
        let network = self.networks.get_mut(&new.network).ok_or_else(|| unknown("Network", &new.network))?;
        let subnets = &self.subnets;
        let id = self.ids.asked(new.name.as_deref(), "subnet", |id| subnets.contains_key(id));
        network.subnets.push(id.clone());
        network.subnets.sort();
        let subnet = Subnet {
            name: new.name.clone().unwrap_or_else(|| id.clone()),
            id,
            state: UP.to_owned(),
            network: new.network.clone(),
            address_block: new.address_block.clone(),
        };
        self.subnets.insert(subnet.id.clone(), subnet.clone());
        Ok(subnet)
    }

    pub(crate) fn destroy_subnet(&mut self, id: &str) -> Result<(), Error> {
        if !self.subnets.contains_key(id) {
            return Err(unknown("Subnet", id));
        }
        if self.interfaces.values().any(|interface| interface.subnet.as_deref() == Some(id)) {
            return Err(conflict(format!("Subnet '{id}' has interfaces.")));
        }
        self.subnets.remove(id);
        for network in self.networks.values_mut() {
            network.subnets.retain(|subnet| subnet != id);
        }
        Ok(())
    }

    pub(crate) fn interfaces(&self) -> Vec<NetworkInterface> {
        self.interfaces.values().cloned().collect()
    }

    pub(crate) fn interface(&self, id: &str) -> Option<NetworkInterface> {
        self.interfaces.get(id).cloned()
    }

    /// The network may also be named by one of its subnets; otherwise the first is taken, if it has any.
    pub(crate) fn create_interface(&mut self, new: &NewNetworkInterface) -> Result<NetworkInterface, Error> {
        fit([new.name.as_ref()])?;
        if !self.instances.contains_key(&InstanceId::from(new.instance.as_str())) {
            return Err(unknown("Instance", &new.instance));
        }
        let (network, subnet) = match (self.networks.get(&new.network), self.subnets.get(&new.network)) {
            (Some(network), _) => (network.id.clone(), network.subnets.first().and_then(|id| self.subnets.get(id))),
            (None, Some(subnet)) => (subnet.network.clone(), Some(subnet)),
            (None, None) => return Err(unknown("Network", &new.network)),
        };
        self.make_room(self.interfaces.len(), "network interfaces")?;
        let ip_address = self.ip_address(&network, subnet, new.ip_address.as_deref())?;
        let subnet = subnet.map(|subnet| subnet.id.clone());
        let interfaces = &self.interfaces;
        let id = self.ids.asked(new.name.as_deref(), "nic", |id| interfaces.contains_key(id));
        let interface = NetworkInterface {
            name: new.name.clone().unwrap_or_else(|| id.clone()),
            id,
            state: UP.to_owned(),
            instance: new.instance.clone(),
            network,
            subnet,
            ip_address,
        };
        self.interfaces.insert(interface.id.clone(), interface.clone());
        Ok(interface)
    }

    pub(crate) fn destroy_interface(&mut self, id: &str) -> Result<(), Error> {
        self.interfaces.remove(id).map(drop).ok_or_else(|| unknown("Network interface", id))
    }

    /// In order.
    pub(super) fn interfaces_of(&self, instance: &str) -> Vec<String> {
        let interfaces = self.interfaces.values().filter(|interface| interface.instance == instance);
        interfaces.map(|interface| interface.id.clone()).collect()
    }

    pub(super) fn remove_interfaces_of(&mut self, instance: &str) {
        self.interfaces.retain(|_, interface| interface.instance != instance);
    }

    /// The asked one if it is free and lies there; otherwise the lowest that is free. A network without a block gives none.
    fn ip_address(&self, network: &str, subnet: Option<&Subnet>, asked: Option<&str>) -> Result<Option<String>, Error> {
        let whole = || self.networks.get(network).and_then(|network| network.address_blocks.first());
        let block = match subnet.map(|subnet| &subnet.address_block).or_else(whole) {
            Some(block) => Some(block_of(block)?),
            None => None,
        };
        let neighbours = self.interfaces.values().filter(|interface| interface.network == network);
        let used: BTreeSet<IpAddr> =
            neighbours.filter_map(|interface| interface.ip_address.as_ref()?.parse().ok()).collect();
        let ip = match asked {
            Some(asked) => {
                let ip: IpAddr = asked.parse().map_err(|_| invalid(format!("'{asked}' is no IP address.")))?;
                if block.is_some_and(|block| !block.contains(&ip)) {
                    return Err(invalid(format!("{ip} does not lie in the network.")));
                }
                if used.contains(&ip) {
                    return Err(conflict(format!("{ip} is in use.")));
                }
                Some(ip)
            }
            // At most one more than are used is looked at.
            None => match block {
                Some(block) => Some(
                    block
                        .hosts()
                        .find(|ip| !used.contains(ip))
                        .ok_or_else(|| Error::new(Kind::Forbidden, format!("{block} has no more addresses.")))?,
                ),
                None => None,
            },
        };
        Ok(ip.map(|ip| ip.to_string()))
    }
}

fn block_of(text: &str) -> Result<IpNet, Error> {
    text.parse().map_err(|_| invalid(format!("'{text}' is no address block, as 192.168.0.0/24 is.")))
}

#[cfg(test)]
mod tests {
    use super::super::stage::{kind, reference};
    use super::*;
    use crate::model::Action;

    fn interface(network: &str, ip: Option<&str>) -> NewNetworkInterface {
        NewNetworkInterface {
            instance: "inst1".to_owned(),
            network: network.to_owned(),
            ip_address: ip.map(str::to_owned),
            name: None,
        }
    }

    fn subnet(name: Option<&str>, network: &str, block: &str) -> NewSubnet {
        NewSubnet { name: name.map(str::to_owned), network: network.to_owned(), address_block: block.to_owned() }
    }

    #[test]
    fn an_interface_gets_a_free_address_where_it_is() {
        let check = |network: &str, asked: Option<&str>, expected: Result<(&str, &str), Kind>| {
            let made = reference().create_interface(&interface(network, asked)).map_err(|error| error.kind);
            let told = made.as_ref().map(|one| (one.subnet.as_deref().unwrap(), one.ip_address.as_deref().unwrap()));
            assert_eq!(told.map_err(|kind| *kind), expected, "{network} {asked:?}");
        };
        check("net1", None, Ok(("subnet1", "192.168.1.1")));
        check("subnet2", None, Ok(("subnet2", "192.168.2.1")));
        check("net2", None, Ok(("subnet3", "10.1.0.1")));
        check("net1", Some("192.168.1.77"), Ok(("subnet1", "192.168.1.77")));
        check("net1", Some("192.168.1.2"), Err(Kind::Conflict));
        check("net1", Some("192.168.9.1"), Err(Kind::Invalid));
        check("net1", Some("somewhere"), Err(Kind::Invalid));
        check("net9", None, Err(Kind::NotFound));
    }

    #[test]
    fn a_network_without_parts_gives_addresses_itself_if_it_has_any() {
        let mut world = reference();
        let block = Some("10.0.0.0/30".to_owned());
        let tiny =
            world.create_network(&NewNetwork { name: Some("tiny".to_owned()), address_block: block }).unwrap().id;
        let ips: Vec<_> = (0..3).map(|_| world.create_interface(&interface(&tiny, None))).collect();
        let ips: Vec<_> = ips.into_iter().map(|made| made.map(|one| one.ip_address).map_err(|err| err.kind)).collect();
        let ip = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(ips, [ip("10.0.0.1"), ip("10.0.0.2"), Err(Kind::Forbidden)]);
        let bare = world.create_network(&NewNetwork::default()).unwrap();
        assert_eq!((bare.id.as_str(), bare.name.as_str(), bare.address_blocks.len()), ("net3", "net3", 0));
        assert_eq!(world.create_interface(&interface("net3", None)).unwrap().ip_address, None);
    }

    #[test]
    fn blocks_and_owners_have_to_make_sense() {
        let mut world = reference();
        let odd = NewNetwork { name: None, address_block: Some("10.0.0.0".to_owned()) };
        assert_eq!(kind(world.create_network(&odd)), Kind::Invalid);
        assert_eq!(kind(world.create_subnet(&subnet(None, "net1", "everything"))), Kind::Invalid);
        assert_eq!(kind(world.create_subnet(&subnet(None, "net9", "10.0.0.0/24"))), Kind::NotFound);
        assert_eq!(world.create_subnet(&subnet(Some("mine"), "net1", "192.168.3.0/24")).unwrap().id, "mine");
        assert_eq!(world.create_subnet(&subnet(Some("mine"), "net1", "192.168.4.0/24")).unwrap().id, "subnet5");
        assert_eq!(world.network("net1").unwrap().subnets, ["mine", "subnet1", "subnet2", "subnet5"]);
    }

    #[test]
    fn interfaces_go_with_their_instance() {
        let mut world = reference();
        world.create_interface(&interface("net2", None)).unwrap();
        let shown = |world: &World| world.instances()[1].network_interfaces.clone();
        assert_eq!(shown(&world), Some(vec!["nic1".to_owned(), "nic2".to_owned()]));
        let id = InstanceId::from("inst1");
        world.act(&id, Action::Stop).unwrap();
        world.act(&id, Action::Destroy).unwrap();
        let left: Vec<_> = world.interfaces().into_iter().map(|one| one.id).collect();
        assert_eq!(left, ["nicinst3"]);
    }
}
