use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::render::{AddressView, Base, TrackingView};
use crate::drivers::{Addresses, Driver, Error, lacks};
use crate::model::{Collection, Login, PublicAddress};

impl Collected for PublicAddress {
    const PLURAL: &'static str = "addresses";
    const SINGULAR: &'static str = "address";
    type View<'a> = AddressView<'a>;

    fn id(&self) -> &str {
        &self.ip
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> AddressView<'a> {
        AddressView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        addresses(driver)?.addresses(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        addresses(driver)?.address(login, id).await
    }
}

fn addresses(driver: &dyn Driver) -> Result<&dyn Addresses, Error> {
    driver.addresses().ok_or_else(|| lacks(driver, PublicAddress::PLURAL))
}

/// Whichever the backend gives.
pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(PublicAddress::PLURAL)?;
    let login = call.visitor().await?;
    let address = call.change(&login, None, &[], addresses(call.driver.as_ref())?.create_address(&login)).await?;
    Ok(call.created(&address))
}

/// Answers 202 without a body: clients look at nothing else.
pub(super) async fn associate(call: Call, Path(ip): Path<String>) -> Result<Response, Fault> {
    call.needs(PublicAddress::PLURAL)?;
    let instance = call.params.required("instance_id")?;
    let login = call.visitor().await?;
    let associated = addresses(call.driver.as_ref())?.associate(&login, &ip, instance);
    // An instance has other addresses now, which is news.
    call.change(&login, None, &[Collection::Instances], associated).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

/// As [`associate`].
pub(super) async fn disassociate(call: Call, Path(ip): Path<String>) -> Result<Response, Fault> {
    call.needs(PublicAddress::PLURAL)?;
    let login = call.visitor().await?;
    let disassociated = addresses(call.driver.as_ref())?.disassociate(&login, &ip);
    call.change(&login, None, &[Collection::Instances], disassociated).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}

pub(super) async fn destroy(call: Call, Path(ip): Path<String>) -> Result<Response, Fault> {
    call.needs(PublicAddress::PLURAL)?;
    let login = call.visitor().await?;
    call.change(&login, None, &[], addresses(call.driver.as_ref())?.destroy_address(&login, &ip)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
