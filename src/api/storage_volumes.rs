use std::collections::BTreeSet;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::params::Params;
use super::render::{Base, Member, TrackingView, VolumeView};
use crate::drivers::{Driver, Error, storage};
use crate::model::{Collection, Login, Mount, NewVolume, Resource, ResourceKind, Volume};

impl Collected for Volume {
    const PLURAL: &'static str = "storage_volumes";
    const SINGULAR: &'static str = "storage_volume";
    const TRACKED: Option<Collection> = Some(Self::COLLECTION);
    type View<'a> = VolumeView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, tracking: Option<TrackingView>) -> VolumeView<'a> {
        VolumeView::new(self, base, tracking)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        storage(driver)?.volumes(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        Ok(storage(driver)?.volumes_by_id(login, &BTreeSet::from([id.to_owned()])).await?.pop())
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
    call.needs(Volume::PLURAL)?;
    let text = |name| call.params.given(name).map(str::to_owned);
    let new = NewVolume {
        capacity: text("capacity"),
        realm: text("realm_id"),
        snapshot: text("snapshot_id"),
        name: text("name"),
        description: text("description"),
    };
    let login = call.visitor().await?;
    let volume = call
        .change(&login, None, &[Collection::StorageVolumes], storage(call.driver.as_ref())?.create_volume(&login, &new))
        .await?;
    Ok(call.created(&volume))
}

/// Answers 202 with the volume, not bare in JSON.
pub(super) async fn attach(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Volume::PLURAL)?;
    let text = |name| call.params.required(name).map(str::to_owned);
    // Both have to be there; an empty device leaves the choice to the backend.
    let to = Mount { instance: text("instance_id")?, device: text("device")? };
    let login = call.visitor().await?;
    let attached = storage(call.driver.as_ref())?.attach(&login, &id, &to);
    let volume = call.change(&login, Some((Volume::PLURAL, &id)), MOUNTED, attached).await?;
    Ok(mounted(&call, &login, &volume).await)
}

/// As [`attach`].
pub(super) async fn detach(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Volume::PLURAL)?;
    let login = call.visitor().await?;
    let detached = storage(call.driver.as_ref())?.detach(&login, &id);
    let volume = call.change(&login, Some((Volume::PLURAL, &id)), MOUNTED, detached).await?;
    Ok(mounted(&call, &login, &volume).await)
}

/// An instance shows what is attached to it.
const MOUNTED: &[Collection] = &[Collection::StorageVolumes, Collection::Instances];

async fn mounted(call: &Call, login: &Login, volume: &Volume) -> Response {
    call.keep(login, volume).await;
    call.answer(StatusCode::ACCEPTED, &Member(Volume::SINGULAR, volume.view(call.base(), None)))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Volume::PLURAL)?;
    let login = call.visitor().await?;
    call.change(
        &login,
        Some(("storage_volumes", &id)),
        &[Collection::StorageVolumes],
        storage(call.driver.as_ref())?.destroy_volume(&login, &id),
    )
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
