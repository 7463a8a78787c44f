//! `GET /api/realms/ID/evidence`: all that is known of a realm, and what follows from it. JSON only.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;

use super::call::Call;
use super::error::Fault;

/// Of an account in which somebody watches something. Elsewhere nobody looks, and nothing is known.
pub(super) async fn show(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs("realms")?;
    let caller = call.caller().await?;
    match call.api.tracking.evidence(&caller, &id).await? {
        Some(evidence) => Ok(call.json(StatusCode::OK, &evidence)),
        None => Err(Fault::not_found("evidence about realm", &id)),
    }
}
