use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::render::{Base, KeyView, Member, TrackingView};
use crate::drivers::{Driver, Error, Keys, lacks};
use crate::model::{Key, Login, NewKey};

impl Collected for Key {
    const PLURAL: &'static str = "keys";
    const SINGULAR: &'static str = "key";
    type View<'a> = KeyView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> KeyView<'a> {
        KeyView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        keys(driver)?.keys(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        keys(driver)?.key(login, id).await
    }
}

fn keys(driver: &dyn Driver) -> Result<&dyn Keys, Error> {
    driver.keys().ok_or_else(|| lacks(driver, Key::PLURAL))
}

/// Makes a pair, or takes in a public key. Only this answer has the private half.
pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(Key::PLURAL)?;
    let name = call.params.required("name")?.to_owned();
    let new = NewKey { name, public_key: call.params.given("public_key").map(str::to_owned) };
    let login = call.visitor().await?;
    let key = call.change(&login, None, &[], keys(call.driver.as_ref())?.create_key(&login, &new)).await?;
    let href = call.base().member(Key::PLURAL, &key.id);
    Ok(call.created_at(&href, &Member(Key::SINGULAR, KeyView::made(&key, call.base()))))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Key::PLURAL)?;
    let login = call.visitor().await?;
    call.change(&login, Some(("keys", &id)), &[], keys(call.driver.as_ref())?.destroy_key(&login, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
