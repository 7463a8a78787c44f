use std::collections::BTreeSet;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::params::Params;
use super::render::{Base, SnapshotView, TrackingView};
use crate::drivers::{Driver, Error, storage};
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

pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(Snapshot::PLURAL)?;
    let text = |name| call.params.given(name).map(str::to_owned);
    let volume = call.params.required("volume_id")?.to_owned();
    let new = NewSnapshot { volume, name: text("name"), description: text("description") };
    let login = call.visitor().await?;
    let snapshot = call
        .change(
            &login,
            None,
            &[Collection::StorageSnapshots],
            storage(call.driver.as_ref())?.create_snapshot(&login, &new),
        )
        .await?;
    Ok(call.created(&snapshot))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Snapshot::PLURAL)?;
    let login = call.visitor().await?;
    call.change(
        &login,
        Some(("storage_snapshots", &id)),
        &[Collection::StorageSnapshots],
        storage(call.driver.as_ref())?.destroy_snapshot(&login, &id),
    )
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
