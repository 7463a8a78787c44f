use async_trait::async_trait;

use super::Error;
use crate::model::{Login, Network, NetworkInterface, NewNetwork, NewNetworkInterface, NewSubnet, Subnet};

/// Private networks, their parts, and what joins instances to them. Lists come in the order of the ids' text; `None` means
/// that the backend clearly does not have it; destroying an unknown one is [`super::Kind::NotFound`], one in use
/// [`super::Kind::Conflict`].
#[async_trait]
pub trait Networks: Send + Sync {
    async fn networks(&self, login: &Login) -> Result<Vec<Network>, Error>;
    async fn network(&self, login: &Login, id: &str) -> Result<Option<Network>, Error>;
    async fn create_network(&self, login: &Login, new: &NewNetwork) -> Result<Network, Error>;
    async fn destroy_network(&self, login: &Login, id: &str) -> Result<(), Error>;

    async fn subnets(&self, login: &Login) -> Result<Vec<Subnet>, Error>;
    async fn subnet(&self, login: &Login, id: &str) -> Result<Option<Subnet>, Error>;
    async fn create_subnet(&self, login: &Login, new: &NewSubnet) -> Result<Subnet, Error>;
    async fn destroy_subnet(&self, login: &Login, id: &str) -> Result<(), Error>;

    async fn network_interfaces(&self, login: &Login) -> Result<Vec<NetworkInterface>, Error>;
    async fn network_interface(&self, login: &Login, id: &str) -> Result<Option<NetworkInterface>, Error>;
    async fn create_network_interface(
        &self,
        login: &Login,
        new: &NewNetworkInterface,
    ) -> Result<NetworkInterface, Error>;
    async fn destroy_network_interface(&self, login: &Login, id: &str) -> Result<(), Error>;
}
