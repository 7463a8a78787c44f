//! Real drivers without a Tracker around them.

use std::sync::Arc;
use std::time::Duration;

use tracker::chance::Chance;
use tracker::clock::Clock;
use tracker::drivers::{Driver, Drivers, Settings};
use tracker::model::DriverId;
use tracker::outbound::{self, Outbound};

/// `allow`: networks that clients may name addresses of besides the public ones.
pub fn driver(id: &str, settings: &Settings, clock: Arc<dyn Clock>, allow: &[&str]) -> Arc<dyn Driver> {
    let outbound = Outbound::new(&outbound::Settings {
        allow_networks: allow.iter().map(|network| network.parse().expect("a network")).collect(),
        connect_timeout: Duration::from_secs(5),
        idle_per_host: 1,
        user_agent: "tracker-test".to_owned(),
        ca_file: None,
    })
    .expect("a client");
    let drivers = Drivers::new(settings, &outbound, clock, Arc::new(Chance::seeded(1)));
    drivers.get(&DriverId::new(id)).expect("registered").clone()
}
