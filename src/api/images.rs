use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::call::Call;
use super::collection::{Collected, answer, listed};
use super::error::Fault;
use super::params::Params;
use super::render::{Base, ImageView, TrackingView};
use crate::drivers::{Driver, Error};
use crate::model::{Collection, Image, Login, NewImage, Resource, ResourceKind};

impl Collected for Image {
    const PLURAL: &'static str = "images";
    const SINGULAR: &'static str = "image";
    const TRACKED: Option<Collection> = Some(Self::COLLECTION);
    type View<'a> = ImageView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, tracking: Option<TrackingView>) -> ImageView<'a> {
        ImageView::new(self, base, tracking)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        driver.images(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        driver.image(login, id).await
    }

    /// `architecture`; whom `owner_id` means takes more than the parameters, see [`list`].
    fn passes(&self, params: &Params) -> bool {
        params.lets_through("architecture", Some(&self.architecture))
    }

    fn of(resource: Resource) -> Option<Self> {
        ResourceKind::of(resource)
    }
}

/// Filters: `id`, `architecture`, `owner_id` (`self`: the caller's own).
pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    let mut listing = listed::<Image>(&call).await?;
    if call.params.given("owner_id") == Some("self") {
        let caller = call.caller().await?;
        let names = [&caller.key.identity, &caller.login.credentials.user];
        listing.members.retain(|shown| names.contains(&&shown.resource.owner));
    } else {
        listing.members.retain(|shown| call.params.lets_through("owner_id", Some(&shown.resource.owner)));
    }
    Ok(answer(&call, &listing))
}

/// Makes an image of an instance.
pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs(Image::PLURAL)?;
    let text = |name| call.params.given(name).map(str::to_owned);
    let instance = call.params.required("instance_id")?.to_owned();
    let new = NewImage { instance, name: text("name"), description: text("description") };
    let login = call.visitor().await?;
    let image = call.change(&login, None, &[Collection::Images], call.driver.create_image(&login, &new)).await?;
    Ok(call.created(&image))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(Image::PLURAL)?;
    let login = call.visitor().await?;
    call.change(&login, Some(("images", &id)), &[Collection::Images], call.driver.destroy_image(&login, &id)).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
