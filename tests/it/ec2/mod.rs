//! The EC2 driver over HTTP: against a server that answers as scripted, and against moto, which knows EC2 well.

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../../src/drivers/ec2/replies/", $name, ".xml"))
    };
}

mod actions;
mod again;
mod callers;
mod faults;
mod instances;
mod lists;
mod live;
mod nouns;
mod stub;

use std::sync::Arc;
use std::time::Duration;

use tracker::chance::Chance;
use tracker::clock::SystemClock;
use tracker::drivers::{Driver, Drivers, Ec2Settings, Settings};
use tracker::model::{Credentials, DriverId, Instance, Login, Secret};
use tracker::outbound::{self, Outbound};
use url::Url;

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const PAGE_1: &str = include_str!("../../../src/drivers/ec2/replies/DescribeInstances-1.xml");
const PAGE_2: &str = include_str!("../../../src/drivers/ec2/replies/DescribeInstances-2.xml");

fn login(provider: Option<&str>) -> Login {
    let credentials = Credentials { user: KEY_ID.to_owned(), password: Secret::from(SECRET) };
    Login { driver: DriverId::new("ec2"), provider: provider.map(str::to_owned), credentials }
}

fn driver(ec2: Ec2Settings, allow: &[&str]) -> Arc<dyn Driver> {
    let outbound = Outbound::new(&outbound::Settings {
        allow_networks: allow.iter().map(|network| network.parse().expect("a network")).collect(),
        connect_timeout: Duration::from_secs(5),
        idle_per_host: 1,
        user_agent: "tracker-test".to_owned(),
    })
    .expect("a client");
    let settings = Settings { ec2, ..Settings::default() };
    let drivers = Drivers::new(&settings, &outbound, Arc::new(SystemClock), Arc::new(Chance::seeded(1)));
    drivers.get(&DriverId::new("ec2")).expect("registered").clone()
}

fn at(endpoint: &str) -> Ec2Settings {
    Ec2Settings { endpoint: Some(Url::parse(endpoint).expect("a URL")), ..Ec2Settings::default() }
}

fn ids(instances: &[Instance]) -> Vec<&str> {
    instances.iter().map(|instance| instance.id.as_str()).collect()
}
