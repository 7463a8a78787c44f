use std::net::Ipv4Addr;

use super::{World, conflict, unknown};
use crate::drivers::{Error, Kind};
use crate::model::{InstanceId, InstanceState, PublicAddress};

/// `192.168.0.0`; addresses come after it.
const NET: u32 = 0xC0A8_0000;
/// Of a /16, the last is for broadcasts.
const HOSTS: u32 = 0xFFFE;

impl World {
    pub(crate) fn addresses(&self) -> Vec<PublicAddress> {
        self.addresses.values().cloned().collect()
    }

    pub(crate) fn address(&self, ip: &str) -> Option<PublicAddress> {
        self.addresses.get(ip).cloned()
    }

    /// The lowest that is free.
    pub(crate) fn create_address(&mut self) -> Result<PublicAddress, Error> {
        self.make_room(self.addresses.len(), "addresses")?;
        let free = (1..=HOSTS).map(|host| Ipv4Addr::from(NET + host).to_string());
        let Some(ip) = free.into_iter().find(|ip| !self.addresses.contains_key(ip)) else {
            return Err(Error::new(Kind::Forbidden, "The mock cloud has no more addresses."));
        };
        let address = PublicAddress { ip: ip.clone(), instance: None };
        self.addresses.insert(ip, address.clone());
        Ok(address)
    }

    pub(crate) fn destroy_address(&mut self, ip: &str) -> Result<(), Error> {
        if self.existing(ip)?.instance.is_some() {
            return Err(in_use(ip));
        }
        self.addresses.remove(ip);
        Ok(())
    }

    /// From now on the instance shows it instead of the name it has by itself.
    pub(crate) fn associate(&mut self, ip: &str, instance: &str) -> Result<(), Error> {
        if self.existing(ip)?.instance.is_some() {
            return Err(in_use(ip));
        }
        match self.instances.get(&InstanceId::from(instance)) {
            None => return Err(unknown("Instance", instance)),
            Some(kept) if kept.it.state == InstanceState::Finish => {
                return Err(conflict(format!("Instance '{instance}' has ended.")));
            }
            Some(_) => self.existing(ip)?.instance = Some(instance.to_owned()),
        }
        Ok(())
    }

    pub(crate) fn disassociate(&mut self, ip: &str) -> Result<(), Error> {
        match self.existing(ip)?.instance.take() {
            Some(_) => Ok(()),
            None => Err(conflict(format!("Address '{ip}' is free."))),
        }
    }

    /// In order.
    pub(super) fn associated(&self, instance: &str) -> Vec<String> {
        let addresses = self.addresses.values().filter(|address| address.instance.as_deref() == Some(instance));
        addresses.map(|address| address.ip.clone()).collect()
    }

    pub(super) fn free_addresses_of(&mut self, instance: &str) {
        for address in self.addresses.values_mut().filter(|address| address.instance.as_deref() == Some(instance)) {
            address.instance = None;
        }
    }

    fn existing(&mut self, ip: &str) -> Result<&mut PublicAddress, Error> {
        self.addresses.get_mut(ip).ok_or_else(|| unknown("Address", ip))
    }
}

fn in_use(ip: &str) -> Error {
    conflict(format!("Address '{ip}' is in use."))
}

#[cfg(test)]
mod tests {
    use super::super::stage::{kind, quiet, reference, tick, world};
    use super::*;
    use crate::drivers::mock::settings::Settings;
    use crate::model::{Action, Address, AddressKind};

    fn shown(world: &World, id: &str) -> Vec<Address> {
        let id = InstanceId::from(id);
        world.instances().into_iter().find(|instance| instance.id == id).unwrap().public_addresses
    }

    fn ipv4(text: &str) -> Address {
        Address { kind: AddressKind::Ipv4, text: text.to_owned() }
    }

    #[test]
    fn the_next_free_one_is_given_up_to_a_bound() {
        let mut world = world(&Settings { resources_max: 5, ..Settings::default() }, 0);
        assert_eq!(world.create_address().unwrap().ip, "192.168.0.5");
        assert_eq!(kind(world.create_address()), Kind::Forbidden);
        world.destroy_address("192.168.0.2").unwrap();
        assert_eq!(world.create_address().unwrap().ip, "192.168.0.2");
    }

    #[test]
    fn an_instance_shows_what_leads_to_it_instead_of_its_own_name() {
        let mut world = reference();
        let own = shown(&world, "inst1");
        world.associate("192.168.0.2", "inst1").unwrap();
        world.associate("192.168.0.1", "inst1").unwrap();
        assert_eq!(shown(&world, "inst1"), [ipv4("192.168.0.1"), ipv4("192.168.0.2")]);
        world.disassociate("192.168.0.1").unwrap();
        assert_eq!(shown(&world, "inst1"), [ipv4("192.168.0.2")]);
        world.disassociate("192.168.0.2").unwrap();
        assert_eq!(shown(&world, "inst1"), own);
    }

    #[test]
    fn an_address_stays_with_a_stopped_instance_and_is_free_when_it_ends() {
        let mut world = quiet();
        let id = InstanceId::from("inst1");
        world.associate("192.168.0.3", "inst1").unwrap();
        world.act(&id, Action::Stop).unwrap();
        tick(&mut world);
        assert_eq!(shown(&world, "inst1"), [ipv4("192.168.0.3")], "although it has lost its own");
        world.act(&id, Action::Destroy).unwrap();
        assert_eq!((world.address("192.168.0.3").unwrap().instance, shown(&world, "inst1")), (None, vec![]));
        assert_eq!(kind(world.associate("192.168.0.3", "inst1")), Kind::Conflict, "it has ended");
        tick(&mut world);
        assert_eq!(kind(world.associate("192.168.0.3", "inst1")), Kind::NotFound);
    }
}
