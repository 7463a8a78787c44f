use super::collection::Collected;
use super::render::{Base, RealmView, TrackingView};
use crate::drivers::{Driver, Error};
use crate::model::{Collection, Login, Realm, Resource, ResourceKind};

impl Collected for Realm {
    const PLURAL: &'static str = "realms";
    const SINGULAR: &'static str = "realm";
    const TRACKED: Option<Collection> = Some(Self::COLLECTION);
    const REMEMBERED: bool = true;
    type View<'a> = RealmView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, tracking: Option<TrackingView>) -> RealmView<'a> {
        RealmView::new(self, base, tracking)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        driver.realms(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        driver.realm(login, id).await
    }

    fn judged(mut self, known: &Resource) -> Self {
        if let Resource::Realm(before) = known {
            self.follow(before);
        }
        self
    }

    fn of(resource: Resource) -> Option<Self> {
        ResourceKind::of(resource)
    }
}
