use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::networks::{made, of};
use super::render::{Base, NetworkInterfaceView, TrackingView};
use crate::drivers::{Driver, Error};
use crate::model::{Login, NetworkInterface, NewNetworkInterface};

impl Collected for NetworkInterface {
    const PLURAL: &'static str = "network_interfaces";
    const SINGULAR: &'static str = "network_interface";
    type View<'a> = NetworkInterfaceView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> NetworkInterfaceView<'a> {
        NetworkInterfaceView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        of(driver)?.network_interfaces(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        of(driver)?.network_interface(login, id).await
    }
}

/// `network` may name a subnet: where a cloud has subnets, that is what clients put there.
pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(NetworkInterface::PLURAL)?;
    let login = call.visitor().await?;
    let text = |name| call.params.given(name).map(str::to_owned);
    let new = NewNetworkInterface {
        name: text("name"),
        instance: call.params.required("instance")?.to_owned(),
        network: call.params.required("network")?.to_owned(),
        ip_address: text("ip_address"),
    };
    let interface =
        call.change(&login, None, &[], of(call.driver.as_ref())?.create_network_interface(&login, &new)).await?;
    Ok(made(&call, &interface))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(NetworkInterface::PLURAL)?;
    let login = call.visitor().await?;
    call.change(&login, None, &[], of(call.driver.as_ref())?.destroy_network_interface(&login, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
