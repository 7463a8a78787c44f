//! The OpenStack driver over HTTP: against a server that says what real clouds said.

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../src/drivers/openstack/replies/", $name, ".json"))
    };
}

mod calls;
mod logins;
mod stub;
mod transitions;
mod zones;

use std::sync::Arc;

use tracker::clock::{Clock, FakeClock};
use tracker::drivers::{Driver, OpenStackSettings, Settings};
use tracker::model::{Credentials, DriverId, Login, Secret};

use crate::support::drivers;

const PASSWORD: &str = "s3cret-of-admin";
const PROJECT: &str = "63d2e5104dc34ca6a99330dc5f50dab0";
const SERVER: &str = "d3f25e27-7ccf-43b7-b381-ee4d5f782fb3";

fn login(provider: Option<&str>) -> Login {
    let credentials = Credentials { user: "admin+admin".to_owned(), password: Secret::from(PASSWORD) };
    Login { driver: DriverId::new("openstack"), provider: provider.map(str::to_owned), credentials }
}

/// A minute after the recorded token was issued.
fn clock() -> Arc<FakeClock> {
    Arc::new(FakeClock::at("2026-11-21T01:00:49Z".parse().expect("a time")))
}

fn driver_at(clock: Arc<dyn Clock>, openstack: OpenStackSettings, allow: &[&str]) -> Arc<dyn Driver> {
    drivers::driver("openstack", &Settings { openstack, ..Settings::default() }, clock, allow)
}

/// One that asks again without waiting for it.
fn hasty(openstack: OpenStackSettings) -> Arc<dyn Driver> {
    let mut settings = Settings { openstack, ..Settings::default() };
    settings.pace.retry_wait_ms = 0;
    drivers::driver("openstack", &settings, clock(), &[])
}

fn driver(openstack: OpenStackSettings) -> Arc<dyn Driver> {
    driver_at(clock(), openstack, &[])
}
