use async_trait::async_trait;

use super::super::{ALL, CallKind, Mock, NEW};
use crate::drivers::{Addresses, Error};
use crate::model::{Login, PublicAddress};

#[async_trait]
impl Addresses for Mock {
    async fn addresses(&self, login: &Login) -> Result<Vec<PublicAddress>, Error> {
        self.look(login, CallKind::Addresses, ALL, |world| world.addresses()).await
    }

    async fn address(&self, login: &Login, ip: &str) -> Result<Option<PublicAddress>, Error> {
        self.look(login, CallKind::Addresses, [ip], |world| world.address(ip)).await
    }

    async fn create_address(&self, login: &Login) -> Result<PublicAddress, Error> {
        self.order(login, NEW, |world| world.create_address()).await
    }

    async fn destroy_address(&self, login: &Login, ip: &str) -> Result<(), Error> {
        self.order(login, [ip], |world| world.destroy_address(ip)).await
    }

    async fn associate(&self, login: &Login, ip: &str, instance: &str) -> Result<(), Error> {
        self.order(login, [ip, instance], |world| world.associate(ip, instance)).await
    }

    async fn disassociate(&self, login: &Login, ip: &str) -> Result<(), Error> {
        self.order(login, [ip], |world| world.disassociate(ip)).await
    }
}
