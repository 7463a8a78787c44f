use axum::extract::Path;
use axum::response::Response;

use super::call::Call;
use super::error::Fault;
use super::render::{ImageView, List, Member};
use crate::model::Image;

/// Filters: `id`, `architecture`, `owner_id` (`self`: the caller's own).
pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    call.needs("images")?;
    let login = call.visitor().await?;
    let mut images: Vec<Image> = match call.params.given("id") {
        Some(id) => call.ask(&login, call.driver.image(&login, id)).await?.into_iter().collect(),
        None => call.ask(&login, call.driver.images(&login)).await?,
    };
    images.retain(|image| call.params.lets_through("architecture", Some(&image.architecture)));
    if call.params.given("owner_id") == Some("self") {
        let caller = call.caller().await?;
        images.retain(|image| [&caller.key.identity, &caller.login.credentials.user].contains(&&image.owner));
    } else {
        images.retain(|image| call.params.lets_through("owner_id", Some(&image.owner)));
    }
    let views = images.iter().map(|image| ImageView::new(image, call.base())).collect();
    Ok(call.ok(&List("images", views)))
}

pub(super) async fn show(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs("images")?;
    let login = call.visitor().await?;
    let image = call.ask(&login, call.driver.image(&login, &id)).await?;
    let image = image.ok_or_else(|| Fault::not_found("image", &id))?;
    Ok(call.ok(&Member("image", ImageView::new(&image, call.base()))))
}
