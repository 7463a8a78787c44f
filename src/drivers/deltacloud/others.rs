//! Keys and public addresses.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::calls::{ADDRESSES, KEYS};
use super::client::Form;
use super::{Deltacloud, map};
use crate::drivers::{Addresses, Error, Keys, Kind};
use crate::model::{Key, KeyKind, Login, NewKey, PublicAddress};

#[async_trait]
impl Keys for Deltacloud {
    async fn keys(&self, login: &Login) -> Result<Vec<Key>, Error> {
        Ok(self.list(login, KEYS).await?.values().map(map::key).map(without_private_half).collect())
    }

    async fn key(&self, login: &Login, id: &str) -> Result<Option<Key>, Error> {
        Ok(self.member(login, KEYS, id).await?.as_ref().map(map::key).map(without_private_half))
    }

    async fn create_key(&self, login: &Login, new: &NewKey) -> Result<Key, Error> {
        let form = Form::default().with("name", &new.name).with_some("public_key", new.public_key.as_deref());
        let made = self.created(login, KEYS, form).await.map_err(|error| match error.kind {
            // The name is taken.
            Kind::Conflict => Error { kind: Kind::Forbidden, ..error },
            _ => error,
        })?;
        Ok(map::key(&made))
    }

    async fn destroy_key(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.destroy(login, KEYS, id).await
    }
}

/// Some upstreams tell it whenever they are asked.
fn without_private_half(mut key: Key) -> Key {
    if let KeyKind::Pair { pem, .. } = &mut key.kind {
        *pem = None;
    }
    key
}

#[async_trait]
impl Addresses for Deltacloud {
    async fn addresses(&self, login: &Login) -> Result<Vec<PublicAddress>, Error> {
        Ok(self.list(login, ADDRESSES).await?.values().map(map::address).collect())
    }

    async fn address(&self, login: &Login, ip: &str) -> Result<Option<PublicAddress>, Error> {
        let found = self.members(login, ADDRESSES, &BTreeSet::from([ip.to_owned()])).await?;
        Ok(found.whole()?.first().map(|(_, node)| map::address(node)))
    }

    async fn create_address(&self, login: &Login) -> Result<PublicAddress, Error> {
        Ok(map::address(&self.created(login, ADDRESSES, Form::default()).await?))
    }

    async fn destroy_address(&self, login: &Login, ip: &str) -> Result<(), Error> {
        self.destroy(login, ADDRESSES, ip).await
    }

    async fn associate(&self, login: &Login, ip: &str, instance: &str) -> Result<(), Error> {
        self.order(login, ADDRESSES, ip, "associate", Form::default().with("instance_id", instance)).await
    }

    async fn disassociate(&self, login: &Login, ip: &str) -> Result<(), Error> {
        self.order(login, ADDRESSES, ip, "disassociate", Form::default()).await
    }
}
