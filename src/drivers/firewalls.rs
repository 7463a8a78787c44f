use async_trait::async_trait;

use super::Error;
use crate::model::{Firewall, Login, NewFirewall, NewRule};

/// Rules about who may reach instances.
#[async_trait]
pub trait Firewalls: Send + Sync {
    /// In the order of the ids' text.
    async fn firewalls(&self, login: &Login) -> Result<Vec<Firewall>, Error>;

    /// `None`: the backend clearly does not have it.
    async fn firewall(&self, login: &Login, id: &str) -> Result<Option<Firewall>, Error>;

    async fn create_firewall(&self, login: &Login, new: &NewFirewall) -> Result<Firewall, Error>;

    /// [`super::Kind::NotFound`] for an unknown one, [`super::Kind::Conflict`] for one in use.
    async fn destroy_firewall(&self, login: &Login, id: &str) -> Result<(), Error>;

    /// Lets more through. Answers with the firewall as read back at once.
    async fn create_rule(&self, login: &Login, id: &str, new: &NewRule) -> Result<Firewall, Error>;

    /// [`super::Kind::NotFound`] for an unknown firewall or rule.
    async fn destroy_rule(&self, login: &Login, id: &str, rule: &str) -> Result<(), Error>;
}
