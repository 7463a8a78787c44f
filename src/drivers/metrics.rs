use async_trait::async_trait;

use super::Error;
use crate::model::{Login, Metric};

/// Measurements of instances.
#[async_trait]
pub trait Metrics: Send + Sync {
    /// In the order of the ids' text.
    async fn metrics(&self, login: &Login) -> Result<Vec<Metric>, Error>;

    /// `None`: the backend clearly does not have it.
    async fn metric(&self, login: &Login, id: &str) -> Result<Option<Metric>, Error>;
}
