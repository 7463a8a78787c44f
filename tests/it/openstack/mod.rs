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
use std::time::Duration;

use tracker::chance::Chance;
use tracker::clock::{Clock, FakeClock};
use tracker::drivers::{Driver, Drivers, OpenStackSettings, Settings};
use tracker::model::{Credentials, DriverId, Login, Secret};
use tracker::outbound::{self, Outbound};

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
    let outbound = Outbound::new(&outbound::Settings {
        allow_networks: allow.iter().map(|network| network.parse().expect("a network")).collect(),
        connect_timeout: Duration::from_secs(5),
        idle_per_host: 1,
        user_agent: "tracker-test".to_owned(),
    })
    .expect("a client");
    let settings = Settings { openstack, ..Settings::default() };
    let drivers = Drivers::new(&settings, &outbound, clock, Arc::new(Chance::seeded(1)));
    drivers.get(&DriverId::new("openstack")).expect("registered").clone()
}

fn driver(openstack: OpenStackSettings) -> Arc<dyn Driver> {
    driver_at(clock(), openstack, &[])
}
