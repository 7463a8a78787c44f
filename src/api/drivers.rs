use axum::extract::Path;
use axum::response::Response;

use super::call::Call;
use super::error::Fault;
use super::render::{DriverList, DriverMember, Member};
use crate::model::DriverId;

/// Needs no credentials.
pub(super) async fn list(call: Call) -> Response {
    let all = call.api.drivers.iter().map(|(_, driver)| driver.abilities());
    call.ok(&DriverList::new(all, call.base()))
}

pub(super) async fn show(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let driver = call.api.drivers.get(&DriverId::new(&id)).ok_or_else(|| Fault::not_found("driver", &id))?;
    Ok(call.ok(&Member("driver", DriverMember::new(driver.abilities(), call.base()))))
}
