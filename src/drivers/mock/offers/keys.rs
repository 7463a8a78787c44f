use async_trait::async_trait;

use super::super::{ALL, CallKind, Mock};
use crate::drivers::{Error, Keys};
use crate::model::{Key, Login, NewKey};

#[async_trait]
impl Keys for Mock {
    async fn keys(&self, login: &Login) -> Result<Vec<Key>, Error> {
        self.look(login, CallKind::Keys, ALL, |world| world.keys()).await
    }

    async fn key(&self, login: &Login, id: &str) -> Result<Option<Key>, Error> {
        self.look(login, CallKind::Keys, [id], |world| world.key(id)).await
    }

    async fn create_key(&self, login: &Login, new: &NewKey) -> Result<Key, Error> {
        self.order(login, [new.name.as_str()], |world| world.create_key(new)).await
    }

    async fn destroy_key(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.order(login, [id], |world| world.destroy_key(id)).await
    }
}
