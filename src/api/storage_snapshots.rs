use std::collections::BTreeSet;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::params::Params;
use super::render::{Base, SnapshotView, TrackingView};
use crate::drivers::{Driver, Error, Storage, lacks};
use crate::model::{Collection, Login, NewSnapshot, Resource, ResourceKind, Snapshot};

impl Collected for Snapshot {
    const PLURAL: &'static str = "storage_snapshots";
    const SINGULAR: &'static str = "storage_snapshot";
    const TRACKED: Option<Collection> = Some(Self::COLLECTION);
    type View<'a> = SnapshotView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, tracking: Option<TrackingView>) -> SnapshotView<'a> {
        SnapshotView::new(self, base, tracking)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        storage(driver)?.snapshots(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        Ok(storage(driver)?.snapshots_by_id(login, &BTreeSet::from([id.to_owned()])).await?.pop())
    }

    /// `state`.
    fn passes(&self, params: &Params) -> bool {
        params.given("state").is_none_or(|wanted| wanted.eq_ignore_ascii_case(&self.state))
    }

    fn of(resource: Resource) -> Option<Self> {
        ResourceKind::of(resource)
    }
}

fn storage(driver: &dyn Driver) -> Result<&dyn Storage, Error> {
    driver.storage().ok_or_else(|| lacks(driver, Snapshot::PLURAL))
}

pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(Snapshot::PLURAL)?;
    let text = |name| call.params.given(name).map(str::to_owned);
    let volume = call.params.required("volume_id")?.to_owned();
    let new = NewSnapshot { volume, name: text("name"), description: text("description") };
    let login = call.visitor().await?;
    let snapshot = call.ask(&login, storage(call.driver.as_ref())?.create_snapshot(&login, &new)).await?;
    call.touched(&login, Collection::StorageSnapshots).await;
    Ok(call.created(&snapshot))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Snapshot::PLURAL)?;
    let login = call.visitor().await?;
    call.ask(&login, storage(call.driver.as_ref())?.destroy_snapshot(&login, &id)).await?;
    call.touched(&login, Collection::StorageSnapshots).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}
