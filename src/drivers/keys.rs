use async_trait::async_trait;

use super::Error;
use crate::model::{Key, Login, NewKey};

/// What one logs in to instances with.
#[async_trait]
pub trait Keys: Send + Sync {
    /// In the order of the ids' text. Never with a private half.
    async fn keys(&self, login: &Login) -> Result<Vec<Key>, Error>;

    /// `None`: the backend clearly does not have it.
    async fn key(&self, login: &Login, id: &str) -> Result<Option<Key>, Error>;

    /// With the private half, if the backend made one. [`super::Kind::Forbidden`] for a name that is taken.
    async fn create_key(&self, login: &Login, new: &NewKey) -> Result<Key, Error>;

    /// [`super::Kind::NotFound`] for an unknown one.
    async fn destroy_key(&self, login: &Login, id: &str) -> Result<(), Error>;
}
