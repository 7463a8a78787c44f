use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::{Fault, Problem};
use super::render::{Base, BucketView, TrackingView};
use crate::drivers::{Buckets, Driver, Error, Kind, lacks};
use crate::model::{Bucket, Login};

impl Collected for Bucket {
    const PLURAL: &'static str = "buckets";
    const SINGULAR: &'static str = "bucket";
    type View<'a> = BucketView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> BucketView<'a> {
        BucketView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        of(driver)?.buckets(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        of(driver)?.bucket(login, id).await
    }
}

pub(super) fn of(driver: &dyn Driver) -> Result<&dyn Buckets, Error> {
    driver.buckets().ok_or_else(|| lacks(driver, Bucket::PLURAL))
}

/// `name` becomes the id. `location` is taken and, as no driver has more than one, ignored.
pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(Bucket::PLURAL)?;
    let login = call.visitor().await?;
    let name = call.params.required("name")?;
    fit_for_path("name", name)?;
    let bucket = call.change(&login, None, &[], of(call.driver.as_ref())?.create_bucket(&login, name)).await?;
    Ok(call.created(&bucket))
}

/// One with blobs in it is 403, as clients expect: elsewhere a conflict is 405.
pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Bucket::PLURAL)?;
    let login = call.visitor().await?;
    match call.change(&login, None, &[], of(call.driver.as_ref())?.destroy_bucket(&login, &id)).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT.into_response()),
        Err(err) if err.kind == Kind::Conflict => Err(Fault::new(Problem::Forbidden, err.text)),
        Err(err) => Err(err.into()),
    }
}

/// The longest id that a client may choose for a bucket or a blob. Bytes; as long as Amazon allows.
const CHOSEN_ID_BYTES_MAX: usize = 1_024;

/// Whether a text that a client chose can be an id, which is found again by a path. Anything may be in it that an escape
/// brings through unharmed; clients take `.` and `..` out of paths themselves, escaped or not.
pub(super) fn fit_for_path(param: &str, id: &str) -> Result<(), Fault> {
    let fits = !matches!(id, "" | "." | "..") && !id.contains(char::is_control) && id.len() <= CHOSEN_ID_BYTES_MAX;
    if fits {
        return Ok(());
    }
    let rule = format!("from 1 to {CHOSEN_ID_BYTES_MAX} bytes without control characters, and neither `.` nor `..`");
    Err(Fault::invalid(format!("`{param}` must be {rule}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_must_survive_a_path() {
        let check = |id: &str, fits: bool| assert_eq!(fit_for_path("name", id).is_ok(), fits, "{id:?}");
        for id in ["a", "...", "a/b", "../x", "a b?c#d%2F", "\u{e4}", &"x".repeat(1_024)] {
            check(id, true);
        }
        for id in ["", ".", "..", "a\nb", "\0", "\u{85}", &"x".repeat(1_025)] {
            check(id, false);
        }
    }
}
