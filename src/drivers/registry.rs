use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Deserialize;

use super::bounded::Bounded;
use super::pace::{self, Pace};
use super::{
    DeltacloudSettings, Driver, Ec2Settings, MockSettings, OpenStackSettings, deltacloud, ec2, mock, openstack,
};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::DriverId;
use crate::outbound::{Guard, Outbound};

/// `[drivers]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The drivers that requests may name. Leave `mock` out where others can reach Tracker: everybody knows its password,
    /// and could have Tracker post changes of it wherever he likes.
    pub enabled: Vec<String>,
    /// The driver of a request that names none.
    pub default: String,
    /// The provider of a request that names neither driver nor provider. Empty: the driver's own default.
    pub default_provider: String,
    /// Networks that providers may lie in although they are private, loopback or otherwise special, as `10.1.0.0/16`. None
    /// by default: a client names the provider, and must not reach what only this machine can.
    pub allow_networks: Vec<IpNet>,
    /// A file of certificates (PEM) of authorities that providers' certificates may be signed by, besides those that this
    /// machine knows. Default: empty, none. Read at the start.
    pub ca_file: PathBuf,
    /// For the name, TCP and TLS, inside each driver's own time-out. Milliseconds.
    pub connect_timeout_ms: u64,
    /// Idle connections kept for each provider.
    pub idle_per_host: usize,
    pub pace: pace::Settings,
    pub mock: MockSettings,
    pub ec2: Ec2Settings,
    pub deltacloud: DeltacloudSettings,
    pub openstack: OpenStackSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: IDS.map(str::to_owned).to_vec(),
            default: "mock".to_owned(),
            default_provider: String::new(),
            allow_networks: Vec::new(),
            ca_file: PathBuf::new(),
            connect_timeout_ms: 5_000,
            idle_per_host: 8,
            pace: pace::Settings::default(),
            mock: MockSettings::default(),
            ec2: Ec2Settings::default(),
            deltacloud: DeltacloudSettings::default(),
            openstack: OpenStackSettings::default(),
        }
    }
}

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        Guard::new(&self.allow_networks).map_err(|err| format!("drivers.{err}"))?;
        if let Some(unknown) = self.enabled.iter().find(|id| !IDS.contains(&DriverId::new(id).as_str())) {
            return Err(format!("drivers.enabled: `{unknown}` is no driver: there are {}", IDS.join(", ")));
        }
        if !self.enables(&DriverId::new(&self.default)) {
            let enabled = self.enabled.join(", ");
            return Err(format!("drivers.default `{}` is not enabled: drivers.enabled has {enabled}", self.default));
        }
        self.pace.check()?;
        self.ec2.check()?;
        self.deltacloud.check()?;
        self.openstack.check()
    }

    fn enables(&self, id: &DriverId) -> bool {
        self.enabled.iter().any(|enabled| DriverId::new(enabled) == *id)
    }
}

/// What [`Drivers::new`] makes.
const IDS: [&str; 4] = ["deltacloud", "ec2", "mock", "openstack"];

/// All drivers by id, in the order of their ids.
#[derive(Clone)]
pub struct Drivers(BTreeMap<DriverId, Arc<dyn Driver>>);

impl Drivers {
    /// Every driver that Tracker has, of which those that are enabled stay. A new one is one more line here.
    pub fn new(settings: &Settings, outbound: &Outbound, clock: Arc<dyn Clock>, chance: Arc<Chance>) -> Self {
        let pace = Pace::new(&settings.pace, chance.clone());
        let budget = |rate| pace.of(rate);
        let mut all = Self::of([
            Arc::new(deltacloud::Deltacloud::new(
                settings.deltacloud.clone(),
                outbound.clone(),
                clock.clone(),
                budget(settings.pace.deltacloud),
            )) as Arc<dyn Driver>,
            Arc::new(ec2::Ec2::new(
                settings.ec2.clone(),
                outbound.clone(),
                clock.clone(),
                chance.clone(),
                budget(settings.pace.ec2),
            )),
            Arc::new(mock::Mock::new(settings.mock.clone(), clock.clone(), &chance)),
            Arc::new(openstack::OpenStack::new(
                settings.openstack.clone(),
                outbound.clone(),
                clock,
                chance,
                budget(settings.pace.openstack),
            )),
        ]);
        all.0.retain(|id, _| settings.enables(id));
        all
    }

    /// Just these: for tests that bring their own.
    pub fn of(drivers: impl IntoIterator<Item = Arc<dyn Driver>>) -> Self {
        let bounded = drivers.into_iter().map(|driver| Arc::new(Bounded(driver)) as Arc<dyn Driver>);
        Self(bounded.map(|driver| (DriverId::new(driver.abilities().id), driver)).collect())
    }

    pub fn get(&self, id: &DriverId) -> Option<&Arc<dyn Driver>> {
        self.0.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&DriverId, &Arc<dyn Driver>)> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FakeClock;
    use crate::outbound;

    #[test]
    fn the_ids_are_those_of_the_drivers() {
        let outbound = Outbound::new(&outbound::Settings {
            allow_networks: vec![],
            connect_timeout: std::time::Duration::from_secs(1),
            idle_per_host: 1,
            user_agent: "test".to_owned(),
            ca_file: None,
        });
        let clock: Arc<dyn Clock> = Arc::new(FakeClock::at(jiff::Timestamp::UNIX_EPOCH));
        let outbound = outbound.unwrap();
        let made = |settings: &Settings| {
            let drivers = Drivers::new(settings, &outbound, clock.clone(), Arc::new(Chance::seeded(1)));
            drivers.iter().map(|(id, _)| id.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(made(&Settings::default()), IDS);
        let only = Settings { enabled: vec!["ec2".to_owned()], ..Settings::default() };
        assert_eq!(made(&only), ["ec2"]);
    }

    #[test]
    fn settings_are_checked_with_their_names() {
        let check = |edit: fn(&mut Settings), expected: &str| {
            let mut settings = Settings::default();
            edit(&mut settings);
            assert_eq!(settings.check().unwrap_err(), expected);
        };
        assert_eq!(Settings::default().check(), Ok(()));
        check(
            |settings| settings.default = "ec3".to_owned(),
            "drivers.default `ec3` is not enabled: drivers.enabled has deltacloud, ec2, mock, openstack",
        );
        check(
            |settings| settings.enabled = vec!["EC2".to_owned()],
            "drivers.default `mock` is not enabled: drivers.enabled has EC2",
        );
        check(
            |settings| settings.enabled = vec!["ec3".to_owned()],
            "drivers.enabled: `ec3` is no driver: there are deltacloud, ec2, mock, openstack",
        );
        check(|settings| settings.ec2.page_size = 4, "drivers.ec2.page_size is 4: EC2 takes 5 to 1000");
        check(
            |settings| settings.allow_networks = vec!["::/0".parse().unwrap()],
            "drivers.allow_networks: ::/0 would allow every address: list the networks that are meant",
        );
    }
}
