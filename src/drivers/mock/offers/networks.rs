use async_trait::async_trait;

use super::super::{ALL, CallKind, Mock, NEW};
use crate::drivers::{Error, Networks};
use crate::model::{Login, Network, NetworkInterface, NewNetwork, NewNetworkInterface, NewSubnet, Subnet};

#[async_trait]
impl Networks for Mock {
    async fn networks(&self, login: &Login) -> Result<Vec<Network>, Error> {
        self.look(login, CallKind::Networks, ALL, |world| world.networks()).await
    }

    async fn network(&self, login: &Login, id: &str) -> Result<Option<Network>, Error> {
        self.look(login, CallKind::Networks, [id], |world| world.network(id)).await
    }

    async fn create_network(&self, login: &Login, new: &NewNetwork) -> Result<Network, Error> {
        self.order(login, NEW, |world| world.create_network(new)).await
    }

    async fn destroy_network(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.order(login, [id], |world| world.destroy_network(id)).await
    }

    async fn subnets(&self, login: &Login) -> Result<Vec<Subnet>, Error> {
        self.look(login, CallKind::Networks, ALL, |world| world.subnets()).await
    }

    async fn subnet(&self, login: &Login, id: &str) -> Result<Option<Subnet>, Error> {
        self.look(login, CallKind::Networks, [id], |world| world.subnet(id)).await
    }

    async fn create_subnet(&self, login: &Login, new: &NewSubnet) -> Result<Subnet, Error> {
        self.order(login, [new.network.as_str()], |world| world.create_subnet(new)).await
    }

    async fn destroy_subnet(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.order(login, [id], |world| world.destroy_subnet(id)).await
    }

    async fn network_interfaces(&self, login: &Login) -> Result<Vec<NetworkInterface>, Error> {
        self.look(login, CallKind::Networks, ALL, |world| world.interfaces()).await
    }

    async fn network_interface(&self, login: &Login, id: &str) -> Result<Option<NetworkInterface>, Error> {
        self.look(login, CallKind::Networks, [id], |world| world.interface(id)).await
    }

    async fn create_network_interface(
        &self,
        login: &Login,
        new: &NewNetworkInterface,
    ) -> Result<NetworkInterface, Error> {
        self.order(login, [new.instance.as_str(), new.network.as_str()], |world| world.create_interface(new)).await
    }

    async fn destroy_network_interface(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.order(login, [id], |world| world.destroy_interface(id)).await
    }
}
