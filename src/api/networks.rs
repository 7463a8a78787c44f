use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::render::{Base, Member, NetworkView, TrackingView};
use crate::drivers::{Driver, Error, Networks, lacks};
use crate::model::{Login, Network, NewNetwork};

impl Collected for Network {
    const PLURAL: &'static str = "networks";
    const SINGULAR: &'static str = "network";
    type View<'a> = NetworkView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> NetworkView<'a> {
        NetworkView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        of(driver)?.networks(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        of(driver)?.network(login, id).await
    }
}

pub(super) fn of(driver: &dyn Driver) -> Result<&dyn Networks, Error> {
    driver.networks().ok_or_else(|| lacks(driver, Network::PLURAL))
}

/// What a create in this collection, and in those beside it, answers: 200 and no `Location`, which clients know so.
pub(super) fn made<T: Collected>(call: &Call, new: &T) -> Response {
    call.ok(&Member(T::SINGULAR, new.view(call.base(), None)))
}

pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(Network::PLURAL)?;
    let login = call.visitor().await?;
    let text = |name| call.params.given(name).map(str::to_owned);
    let new = NewNetwork { name: text("name"), address_block: text("address_block") };
    let network = call.change(&login, None, &[], of(call.driver.as_ref())?.create_network(&login, &new)).await?;
    Ok(made(&call, &network))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Network::PLURAL)?;
    let login = call.visitor().await?;
    call.change(&login, None, &[], of(call.driver.as_ref())?.destroy_network(&login, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
