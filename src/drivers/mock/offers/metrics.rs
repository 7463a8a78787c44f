use async_trait::async_trait;

use super::super::{ALL, CallKind, Mock};
use crate::drivers::{Error, Metrics};
use crate::model::{Login, Metric};

#[async_trait]
impl Metrics for Mock {
    async fn metrics(&self, login: &Login) -> Result<Vec<Metric>, Error> {
        self.look(login, CallKind::Metrics, ALL, |world| world.metrics()).await
    }

    async fn metric(&self, login: &Login, id: &str) -> Result<Option<Metric>, Error> {
        self.look(login, CallKind::Metrics, [id], |world| world.metric(id)).await
    }
}
