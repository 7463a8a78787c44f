use std::collections::BTreeSet;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::Collected;
use super::error::Fault;
use super::params::Params;
use super::render::{Base, Member, TrackingView, VolumeView};
use crate::drivers::{Driver, Error, Storage, lacks};
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

fn storage(driver: &dyn Driver) -> Result<&dyn Storage, Error> {
    driver.storage().ok_or_else(|| lacks(driver, Volume::PLURAL))
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
    let volume = call.ask(&login, storage(call.driver.as_ref())?.create_volume(&login, &new)).await?;
    call.touched(&login, Collection::StorageVolumes).await;
    Ok(call.created(&volume))
}

/// Answers 202 with the volume, not bare in JSON.
pub(super) async fn attach(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Volume::PLURAL)?;
    let text = |name| call.params.required(name).map(str::to_owned);
    // Both have to be there; an empty device leaves the choice to the backend.
    let to = Mount { instance: text("instance_id")?, device: text("device")? };
    let login = call.visitor().await?;
    let volume = call.ask(&login, storage(call.driver.as_ref())?.attach(&login, &id, &to)).await?;
    Ok(moved(&call, &login, &volume).await)
}

/// As [`attach`].
pub(super) async fn detach(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Volume::PLURAL)?;
    let login = call.visitor().await?;
    let volume = call.ask(&login, storage(call.driver.as_ref())?.detach(&login, &id)).await?;
    Ok(moved(&call, &login, &volume).await)
}

async fn moved(call: &Call, login: &Login, volume: &Volume) -> Response {
    call.touched(login, Collection::StorageVolumes).await;
    // An instance shows what is attached to it.
    call.touched(login, Collection::Instances).await;
    call.answer(StatusCode::ACCEPTED, &Member(Volume::SINGULAR, volume.view(call.base(), None)))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Volume::PLURAL)?;
    let login = call.visitor().await?;
    call.ask(&login, storage(call.driver.as_ref())?.destroy_volume(&login, &id)).await?;
    call.touched(&login, Collection::StorageVolumes).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}
