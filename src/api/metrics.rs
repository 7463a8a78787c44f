use super::collection::Collected;
use super::render::{Base, MetricView, TrackingView};
use crate::drivers::{Driver, Error, Metrics, lacks};
use crate::model::{Login, Metric};

impl Collected for Metric {
    const PLURAL: &'static str = "metrics";
    const SINGULAR: &'static str = "metric";
    type View<'a> = MetricView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> MetricView<'a> {
        MetricView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        of(driver)?.metrics(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        of(driver)?.metric(login, id).await
    }
}

fn of(driver: &dyn Driver) -> Result<&dyn Metrics, Error> {
    driver.metrics().ok_or_else(|| lacks(driver, Metric::PLURAL))
}
