//! The deltacloud driver over HTTP: against a server that answers as scripted, and, one above the other, two Trackers. That it
//! keeps every clause of the driver contract is tested there.

mod canned;
mod hostile;
mod orders;
mod storeys;
mod ways;

use std::collections::BTreeSet;
use std::sync::Arc;

use tracker::clock::SystemClock;
use tracker::drivers::{DeltacloudSettings, Driver, Settings};
use tracker::model::{Credentials, DriverId, Instance, InstanceId, Login};

use crate::support::drivers;

const USER: &str = "alice";
const PASSWORD: &str = "hush-and-hush";
/// Of the two.
const BASIC: &str = "YWxpY2U6aHVzaC1hbmQtaHVzaA==";

fn login(provider: Option<&str>) -> Login {
    let credentials = Credentials { user: USER.to_owned(), password: PASSWORD.into() };
    Login { driver: DriverId::new("deltacloud"), provider: provider.map(str::to_owned), credentials }
}

fn driver(deltacloud: DeltacloudSettings, allow: &[&str]) -> Arc<dyn Driver> {
    drivers::driver("deltacloud", &Settings { deltacloud, ..Settings::default() }, Arc::new(SystemClock), allow)
}

/// One that asks again without waiting for it.
fn hasty(deltacloud: DeltacloudSettings) -> Arc<dyn Driver> {
    let mut settings = Settings { deltacloud, ..Settings::default() };
    settings.pace.retry_wait_ms = 0;
    drivers::driver("deltacloud", &settings, Arc::new(SystemClock), &[])
}

fn at(url: &str) -> DeltacloudSettings {
    DeltacloudSettings { url: Some(url.parse().expect("a URL")), ..DeltacloudSettings::default() }
}

fn set(ids: &[&str]) -> BTreeSet<InstanceId> {
    ids.iter().map(|id| InstanceId::from(*id)).collect()
}

fn ids(instances: &[Instance]) -> Vec<&str> {
    instances.iter().map(|instance| instance.id.as_str()).collect()
}

/// An error document as the reference writes it.
fn error(status: u16, message: &str) -> String {
    format!(
        "<?xml version='1.0' encoding='utf-8' ?>\n<error status='{status}' url='/api/instances'>\n  <backend \
         driver='mock' provider='default'></backend>\n  <code>{status}</code>\n  <message><![CDATA[{message}]]></message>\n\
         </error>\n"
    )
}

/// An instance that offers these actions, by links as the reference makes them.
fn instance(root: &str, id: &str, state: &str, actions: &[(&str, &str)]) -> String {
    let link = |(rel, method): &(&str, &str)| {
        let place = if *rel == "destroy" { String::new() } else { format!("/{rel}") };
        format!("<link href='{root}/instances/{id}{place}' method='{method}' rel='{rel}' />")
    };
    let links: String = actions.iter().map(link).collect();
    format!(
        "<instance href='{root}/instances/{id}' id='{id}'><name>{id}</name><state>{state}</state><actions>{links}\
         </actions><public_addresses></public_addresses><private_addresses></private_addresses><storage_volumes>\
         </storage_volumes></instance>"
    )
}

fn list(members: &[String]) -> String {
    format!("<?xml version='1.0' encoding='utf-8' ?>\n<instances>\n{}\n</instances>\n", members.concat())
}
