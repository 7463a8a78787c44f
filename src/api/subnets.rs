use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::networks::{made, of};
use super::render::{Base, SubnetView, TrackingView};
use crate::drivers::{Driver, Error};
use crate::model::{Login, NewSubnet, Subnet};

impl Collected for Subnet {
    const PLURAL: &'static str = "subnets";
    const SINGULAR: &'static str = "subnet";
    type View<'a> = SubnetView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> SubnetView<'a> {
        SubnetView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        of(driver)?.subnets(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        of(driver)?.subnet(login, id).await
    }
}

pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(Subnet::PLURAL)?;
    let login = call.visitor().await?;
    let new = NewSubnet {
        name: call.params.given("name").map(str::to_owned),
        network: call.params.required("network_id")?.to_owned(),
        address_block: call.params.required("address_block")?.to_owned(),
    };
    let subnet = call.change(&login, None, &[], of(call.driver.as_ref())?.create_subnet(&login, &new)).await?;
    Ok(made(&call, &subnet))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Subnet::PLURAL)?;
    let login = call.visitor().await?;
    call.change(&login, None, &[], of(call.driver.as_ref())?.destroy_subnet(&login, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
