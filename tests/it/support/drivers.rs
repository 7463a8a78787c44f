//! Real drivers without a Tracker around them.

use std::sync::Arc;
use std::time::Duration;

use tracker::chance::Chance;
use tracker::clock::Clock;
use tracker::drivers::{Driver, Drivers, Settings};
use tracker::model::DriverId;
use tracker::outbound::{self, Outbound};

/// Without budgets: they are regained in real seconds, for which nobody here waits.
pub fn unhurried(settings: &mut Settings) {
    let pace = &mut settings.pace;
    for rate in [&mut pace.ec2, &mut pace.openstack, &mut pace.deltacloud, &mut pace.strangers] {
        rate.per_second = 0.0;
    }
}

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
    let mut settings = settings.clone();
    unhurried(&mut settings);
    let drivers = Drivers::new(&settings, &outbound, clock, Arc::new(Chance::seeded(1)));
    drivers.get(&DriverId::new(id)).expect("registered").clone()
}
