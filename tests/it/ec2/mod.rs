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

use tracker::clock::SystemClock;
use tracker::drivers::{Driver, Ec2Settings, Settings};
use tracker::model::{Credentials, DriverId, Instance, Login, Secret};
use url::Url;

use crate::support::drivers;

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const PAGE_1: &str = include_str!("../../../src/drivers/ec2/replies/DescribeInstances-1.xml");
const PAGE_2: &str = include_str!("../../../src/drivers/ec2/replies/DescribeInstances-2.xml");

fn login(provider: Option<&str>) -> Login {
    let credentials = Credentials { user: KEY_ID.to_owned(), password: Secret::from(SECRET) };
    Login { driver: DriverId::new("ec2"), provider: provider.map(str::to_owned), credentials }
}

fn driver(ec2: Ec2Settings, allow: &[&str]) -> Arc<dyn Driver> {
    drivers::driver("ec2", &Settings { ec2, ..Settings::default() }, Arc::new(SystemClock), allow)
}

fn at(endpoint: &str) -> Ec2Settings {
    Ec2Settings { endpoint: Some(Url::parse(endpoint).expect("a URL")), ..Ec2Settings::default() }
}

fn ids(instances: &[Instance]) -> Vec<&str> {
    instances.iter().map(|instance| instance.id.as_str()).collect()
}
