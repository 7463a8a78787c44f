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
