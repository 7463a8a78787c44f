use axum::extract::Path;
use axum::response::Response;

use super::call::Call;
use super::error::Fault;
use super::render::{List, Member, ProfileView};
use crate::model::{HardwareProfile, PropertyKind};

/// Filters: `id`, `architecture`.
pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    let mut profiles = profiles(&call).await?;
    profiles.retain(|profile| call.params.lets_through("id", Some(&profile.id)));
    if let Some(architecture) = call.params.given("architecture") {
        profiles.retain(|profile| offers(profile, "architecture", architecture));
    }
    let views = profiles.iter().map(|profile| ProfileView::new(profile, call.base())).collect();
    Ok(call.ok(&List("hardware_profiles", views)))
}

pub(super) async fn show(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let profiles = profiles(&call).await?;
    let profile = profiles.iter().find(|profile| profile.id == id);
    let profile = profile.ok_or_else(|| Fault::not_found("hardware profile", &id))?;
    Ok(call.ok(&Member("hardware_profile", ProfileView::new(profile, call.base()))))
}

/// Without credentials where the driver knows its profiles by heart.
async fn profiles(call: &Call) -> Result<Vec<HardwareProfile>, Fault> {
    call.needs("hardware_profiles")?;
    if call.driver.abilities().open_hardware_profiles {
        return Ok(call.driver.hardware_profiles(&call.login_or_nobody()).await?);
    }
    let login = call.visitor().await?;
    Ok(call.ask(&login, call.driver.hardware_profiles(&login)).await?)
}

/// Whether the profile can be had with this value: as its default, or as one to choose.
fn offers(profile: &HardwareProfile, name: &str, value: &str) -> bool {
    profile.properties.iter().filter(|property| property.name == name).any(|property| match &property.kind {
        PropertyKind::Enum(values) => values.iter().any(|choice| choice == value),
        PropertyKind::Fixed | PropertyKind::Range { .. } => property.value == value,
    })
}
