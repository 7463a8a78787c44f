use super::collection::Collected;
use super::params::Params;
use super::render::{Base, ProfileView, TrackingView};
use crate::drivers::{Abilities, Driver, Error};
use crate::model::{HardwareProfile, Login, PropertyKind};

impl Collected for HardwareProfile {
    const PLURAL: &'static str = "hardware_profiles";
    const SINGULAR: &'static str = "hardware_profile";
    type View<'a> = ProfileView<'a>;

    fn id(&self) -> &str {
        &self.id
    }

    fn view<'a>(&'a self, base: Base<'_>, _tracking: Option<TrackingView>) -> ProfileView<'a> {
        ProfileView::new(self, base)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, Error> {
        driver.hardware_profiles(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, Error> {
        Ok(driver.hardware_profiles(login).await?.into_iter().find(|profile| profile.id == id))
    }

    /// `architecture`.
    fn passes(&self, params: &Params) -> bool {
        params.given("architecture").is_none_or(|wanted| offers(self, "architecture", wanted))
    }

    fn is_open(abilities: &Abilities) -> bool {
        abilities.open_hardware_profiles
    }
}

/// Whether the profile can be had with this value: as its default, or as one to choose.
fn offers(profile: &HardwareProfile, name: &str, value: &str) -> bool {
    profile.properties.iter().filter(|property| property.name == name).any(|property| match &property.kind {
        PropertyKind::Enum(values) => values.iter().any(|choice| choice == value),
        PropertyKind::Fixed | PropertyKind::Range { .. } => property.value == value,
    })
}
