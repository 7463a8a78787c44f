use async_trait::async_trait;

use super::Error;
use crate::model::{Login, PublicAddress};

/// Public addresses that can be moved from instance to instance.
#[async_trait]
pub trait Addresses: Send + Sync {
    /// In the order of the addresses' text.
    async fn addresses(&self, login: &Login) -> Result<Vec<PublicAddress>, Error>;

    /// `None`: the backend clearly does not have it.
    async fn address(&self, login: &Login, ip: &str) -> Result<Option<PublicAddress>, Error>;

    async fn create_address(&self, login: &Login) -> Result<PublicAddress, Error>;

    /// [`super::Kind::NotFound`] for an unknown one, [`super::Kind::Conflict`] for one in use.
    async fn destroy_address(&self, login: &Login, ip: &str) -> Result<(), Error>;

    /// [`super::Kind::NotFound`] for an unknown address or instance, [`super::Kind::Conflict`] for an address in use.
    async fn associate(&self, login: &Login, ip: &str, instance: &str) -> Result<(), Error>;

    /// [`super::Kind::Conflict`] for one that is free.
    async fn disassociate(&self, login: &Login, ip: &str) -> Result<(), Error>;
}
