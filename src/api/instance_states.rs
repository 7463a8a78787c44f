use axum::response::Response;

use super::call::Call;
use super::render::States;

/// Needs no credentials and must be cheap: Conductor asks for it once for every instance it shows.
pub(super) async fn list(call: Call) -> Response {
    call.ok(&States::new(call.driver.abilities().machine))
}
