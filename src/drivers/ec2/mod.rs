//! EC2, and clouds that speak its Query API: instances, zones, images, sizes, and whom credentials belong to.
//!
//! Guarantees: a list is every page of it or an error. An answer that is cut short, or is not EC2's (a proxy's page, a
//! portal), is [`Kind::Unavailable`], never an empty list. A throttled, refused or failed call says so and nothing about
//! any instance. The secret key, signatures and user data are in no error; an access key id is shown masked.
//!
//! Accepted races. EC2 is eventually consistent: a new instance may be missing from a look for seconds, up to about five
//! minutes, and a read right after an action may still show the state before it. After an action the newer of the two
//! answers is given; what is not readable yet is `None` rather than a half-empty instance, whose blanks would read as
//! news. EC2 ends what runs as well as what is stopped, so a machine that somebody starts between a caller's look and its
//! `destroy` is ended: a look of our own would only be a little newer, and one call more. A list is read page by page, so
//! an instance that moves between pages may come twice: the later one counts.
//!
//! Absent on purpose: retries (the next pass), subnets as realms (`zone:subnet` ids are neither shown nor taken),
//! temporary credentials (a session token has no place in user and password), credential chains of the machine Tracker
//! runs on (callers show their own), and an image's hardware profiles (hundreds for each image; the architecture says it).

mod abilities;
mod client;
mod fault;
mod map;
mod parse;
mod provider;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer};
use url::Url;

use self::client::{Client, Params, Target};
use super::{Abilities, Addresses, Buckets, Driver, Error, Firewalls, Keys, Kind, Metrics, Networks, Storage, lacks};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::model::{
    Action, ExposeSecret as _, HardwareProfile, Image, Instance, InstanceId, Login, NewImage, NewInstance, Realm,
};
use crate::outbound::Outbound;

/// `[drivers.ec2]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// URL to call instead of AWS, for every region: a simulator or a compatible cloud. Trusted, as the operator sets it;
    /// `http` is allowed. Default: empty, each region at its own address. A provider that is a host name is called there.
    #[serde(deserialize_with = "url_or_none")]
    pub endpoint: Option<Url>,
    /// URL that answers `GetCallerIdentity`. Default: empty, which means `endpoint` where that is set, the provider's own
    /// host where that is not AWS (one port for all services is usual there), and otherwise the STS of the region.
    #[serde(deserialize_with = "url_or_none")]
    pub sts_endpoint: Option<Url>,
    /// The region signed for when a provider is a host name that holds none. Default: `us-east-1`, as compatible clouds
    /// mostly take any.
    pub signing_region: String,
    /// Members asked for in one page, 5 to 1000 (EC2's own limits). Default: 1000, as calls are what EC2 rations, and one
    /// that names no page size gets a smaller ration.
    pub page_size: u32,
    /// Pages of one list; a longer one is an error. Default: 100, a hundred thousand instances of one account in a region.
    pub pages_max: u32,
    /// Milliseconds for one call, its answer's body included. Default: 30000, what AWS's own clients are content with.
    pub page_timeout_ms: u64,
    /// Bytes of one answer; a longer one is an error. Default: 16 MiB: a full page of instances is about 5 MB, and
    /// simulators send all instance types (6 MB) in one page.
    pub body_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            endpoint: None,
            sts_endpoint: None,
            signing_region: provider::DEFAULT_REGION.to_owned(),
            page_size: 1000,
            pages_max: 100,
            page_timeout_ms: 30_000,
            body_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// EC2's own lower limit.
const PAGE_MIN: u32 = 5;

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub(super) fn check(&self) -> Result<(), String> {
        if !(PAGE_MIN..=1000).contains(&self.page_size) {
            return Err(format!("drivers.ec2.page_size is {}: EC2 takes 5 to 1000", self.page_size));
        }
        for (name, value) in [("pages_max", u64::from(self.pages_max)), ("page_timeout_ms", self.page_timeout_ms)] {
            if value == 0 {
                return Err(format!("drivers.ec2.{name} is 0: it must be at least 1"));
            }
        }
        Ok(())
    }
}

fn url_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(&text).map_err(serde::de::Error::custom)?;
    let fits = matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.query().is_none();
    if fits { Ok(Some(url)) } else { Err(serde::de::Error::custom("an http or https URL without user and query")) }
}

/// EC2's largest page of instance types.
const TYPES_PAGE_MAX: u32 = 100;
/// Ids in one targeted look: EC2 takes at most 200 values in a filter.
const IDS_MAX: usize = 200;

pub(super) struct Ec2 {
    settings: Settings,
    client: Client,
    clock: Arc<dyn Clock>,
    chance: Arc<Chance>,
}

impl Ec2 {
    /// Clock for signing, chance for the tokens that keep a repeated create from making twice as many.
    pub(super) fn new(settings: Settings, outbound: Outbound, clock: Arc<dyn Clock>, chance: Arc<Chance>) -> Self {
        let client = Client::new(&settings, outbound, clock.clone());
        Self { settings, client, clock, chance }
    }

    fn ec2(&self, login: &Login) -> Result<Target, Error> {
        provider::parse(login.provider.as_deref()).map(|provider| Target::ec2(&provider, &self.settings))
    }

    async fn call<T: parse::Reply>(&self, login: &Login, action: &'static str, params: Params) -> Result<T, Error> {
        self.client.call(&login.credentials, &self.ec2(login)?, action, params).await
    }

    /// Every page of a list, or an error.
    async fn pages<T: parse::Page>(
        &self,
        login: &Login,
        action: &'static str,
        params: Params,
        page_size: u32,
    ) -> Result<Vec<T::Member>, Error> {
        let target = self.ec2(login)?;
        let mut members = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..self.settings.pages_max {
            let params = params.clone().with("MaxResults", page_size).with_some("NextToken", token.as_deref());
            let page: T = self.client.call(&login.credentials, &target, action, params).await?;
            let (more, next) = page.into_parts();
            members.extend(more);
            match next {
                None => return Ok(members),
                // It would go round for ever, and what it has sent is not a list.
                Some(next) if token.as_ref() == Some(&next) => {
                    return Err(Error::new(Kind::Unavailable, format!("{action}: the page leads on to itself")));
                }
                Some(next) => token = Some(next),
            }
        }
        let bound = self.settings.pages_max;
        Err(Error::new(Kind::Unavailable, format!("{action}: more than {bound} pages (drivers.ec2.pages_max)")))
    }

    async fn describe(&self, login: &Login, params: Params) -> Result<Vec<parse::Reservation>, Error> {
        self.pages::<parse::Instances>(login, "DescribeInstances", params, self.settings.page_size).await
    }
}

/// In the order of their ids, each once.
fn in_order(reservations: Vec<parse::Reservation>) -> Vec<Instance> {
    let by_id: BTreeMap<InstanceId, Instance> =
        map::instances(reservations).map(|instance| (instance.id.clone(), instance)).collect();
    by_id.into_values().collect()
}

/// As a filter: one unknown id in the list of ids would fail the whole call.
fn only<'a>(ids: impl IntoIterator<Item = &'a InstanceId>) -> Params {
    let mut params = Params::default().with("Filter.1.Name", "instance-id");
    for (at, id) in ids.into_iter().enumerate() {
        params = params.with(format!("Filter.1.Value.{}", at + 1), map::filter_literal(id.as_str()));
    }
    params
}

#[async_trait]
impl Driver for Ec2 {
    fn abilities(&self) -> &Abilities {
        &abilities::EC2
    }

    fn provider(&self, given: Option<&str>) -> Result<String, Error> {
        provider::parse(given).map(|provider| provider.canonical())
    }

    /// The account number, so that all keys of an account, and of its users and roles, are one account.
    async fn identify(&self, login: &Login) -> Result<String, Error> {
        let target = Target::sts(&provider::parse(login.provider.as_deref())?, &self.settings);
        let identity: parse::Identity =
            self.client.call(&login.credentials, &target, "GetCallerIdentity", Params::default()).await?;
        // STS answers every key of the account, also one that may not see a single instance of it.
        let _: parse::Instances =
            self.call(login, "DescribeInstances", Params::default().with("MaxResults", PAGE_MIN)).await?;
        Ok(identity.result.account)
    }

    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        self.describe(login, Params::default()).await.map(in_order)
    }

    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error> {
        let mut found = Vec::new();
        let all: Vec<&InstanceId> = ids.iter().collect();
        for some in all.chunks(IDS_MAX) {
            found.extend(self.describe(login, only(some.iter().copied())).await?);
        }
        let mut found = in_order(found);
        found.retain(|instance| ids.contains(&instance.id));
        Ok(found)
    }

    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        let zones: parse::Zones = self.call(login, "DescribeAvailabilityZones", Params::default()).await?;
        let mut realms: Vec<Realm> = zones.zones.items.into_iter().map(map::realm).collect();
        realms.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(realms)
    }

    /// The account's own images: those it may use besides are tens of thousands.
    async fn images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        let params = Params::default().with("Owner.1", "self");
        let images = self.pages::<parse::Images>(login, "DescribeImages", params, self.settings.page_size).await?;
        let mut images: Vec<Image> = images.into_iter().map(map::image).collect();
        images.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(images)
    }

    /// Any image, also one of others.
    async fn images_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Image>, Error> {
        let mut params = Params::default().with("Filter.1.Name", "image-id");
        for (at, id) in ids.iter().enumerate() {
            params = params.with(format!("Filter.1.Value.{}", at + 1), map::filter_literal(id));
        }
        let images: parse::Images = self.call(login, "DescribeImages", params).await?;
        let mut images: Vec<Image> = images.images.items.into_iter().map(map::image).collect();
        images.retain(|image| ids.contains(&image.id));
        images.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(images)
    }

    async fn create_image(&self, _login: &Login, _new: &NewImage) -> Result<Image, Error> {
        Err(lacks(self, "images of instances"))
    }

    async fn destroy_image(&self, _login: &Login, _id: &str) -> Result<(), Error> {
        Err(lacks(self, "images of instances"))
    }

    async fn hardware_profiles(&self, login: &Login) -> Result<Vec<HardwareProfile>, Error> {
        let page_size = self.settings.page_size.min(TYPES_PAGE_MAX);
        let types =
            self.pages::<parse::InstanceTypes>(login, "DescribeInstanceTypes", Params::default(), page_size).await?;
        Ok(map::profiles(types))
    }

    /// Neither a name (this driver has no `user_name`: a tag would need one permission more) nor sizes besides the
    /// profile's are used.
    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        let params = run_params(new, &self.chance.id("tracker", self.clock.now()));
        let reservation: parse::Reservation =
            self.call(login, "RunInstances", params).await.map_err(|error| match error.kind {
                // Not the instance, but what it was to be made of.
                Kind::NotFound => Error { kind: Kind::Invalid, ..error },
                _ => error,
            })?;
        Ok(map::instances([reservation]).collect())
    }

    async fn act(&self, login: &Login, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        let params = Params::default().with("InstanceId.1", id.as_str());
        let said = match action {
            Action::Start => self.call::<parse::Started>(login, "StartInstances", params).await?.into(),
            Action::Stop => self.call::<parse::Stopped>(login, "StopInstances", params).await?.into(),
            Action::Destroy => self.call::<parse::Terminated>(login, "TerminateInstances", params).await?.into(),
            Action::Reboot => {
                self.call::<parse::Rebooted>(login, "RebootInstances", params).await?;
                Vec::new()
            }
        };
        let mut read = self.describe(login, only([id])).await?;
        map::make_newer(&mut read, &said);
        Ok(in_order(read).into_iter().find(|instance| instance.id == *id))
    }

    fn keys(&self) -> Option<&dyn Keys> {
        None
    }

    fn storage(&self) -> Option<&dyn Storage> {
        None
    }

    fn addresses(&self) -> Option<&dyn Addresses> {
        None
    }

    fn firewalls(&self) -> Option<&dyn Firewalls> {
        None
    }

    fn buckets(&self) -> Option<&dyn Buckets> {
        None
    }

    fn metrics(&self) -> Option<&dyn Metrics> {
        None
    }

    fn networks(&self) -> Option<&dyn Networks> {
        None
    }
}

fn run_params(new: &NewInstance, token: &str) -> Params {
    let count = new.count.max(1);
    let user_data = new.user_data.as_ref().map(|bytes| BASE64.encode(bytes.expose_secret()));
    let mut params = Params::default()
        .with("ImageId", &new.image)
        .with("MinCount", count)
        .with("MaxCount", count)
        .with("ClientToken", token)
        .with_some("InstanceType", new.hardware_profile.as_deref())
        .with_some("Placement.AvailabilityZone", new.realm.as_deref())
        .with_some("KeyName", new.key_name.as_deref())
        .with_some("UserData", user_data.as_deref());
    let (ids, names): (Vec<_>, Vec<_>) = new.firewalls.iter().partition(|group| group.starts_with("sg-"));
    for (at, id) in ids.iter().enumerate() {
        params = params.with(format!("SecurityGroupId.{}", at + 1), id);
    }
    for (at, name) in names.iter().enumerate() {
        params = params.with(format!("SecurityGroup.{}", at + 1), name);
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_asks_for_exactly_what_was_given() {
        let bare = NewInstance { image: "ami-1".to_owned(), ..NewInstance::default() };
        assert_eq!(
            run_params(&bare, "t1").to_string(),
            "ImageId=ami-1&MinCount=1&MaxCount=1&ClientToken=t1",
            "nothing that was not asked for"
        );

        let full = NewInstance {
            image: "ami-1".to_owned(),
            realm: Some("us-east-1b".to_owned()),
            hardware_profile: Some("t3.micro".to_owned()),
            hardware_overrides: vec![("memory".to_owned(), "9".to_owned())],
            name: Some("web".to_owned()),
            key_name: Some("alice".to_owned()),
            user_data: Some(b"#!/bin/sh\n".to_vec().into()),
            firewalls: ["web", "sg-1", "ssh", "sg-2"].map(str::to_owned).to_vec(),
            count: 3,
        };
        assert_eq!(
            run_params(&full, "t2").to_string(),
            "ImageId=ami-1&MinCount=3&MaxCount=3&ClientToken=t2&InstanceType=t3.micro\
             &Placement.AvailabilityZone=us-east-1b&KeyName=alice&UserData=IyEvYmluL3NoCg%3D%3D\
             &SecurityGroupId.1=sg-1&SecurityGroupId.2=sg-2&SecurityGroup.1=web&SecurityGroup.2=ssh"
        );
    }

    #[test]
    fn settings_are_checked_when_read() {
        let read = |text: &str| toml::from_str::<Settings>(text);
        assert_eq!(read("").expect("all have defaults").page_size, 1000);
        assert_eq!(read("endpoint = ''").expect("empty is none").endpoint, None);
        let endpoint = read("endpoint = 'http://10.0.0.1:8773/services/compute'").expect("a URL").endpoint;
        assert_eq!(endpoint.expect("given").path(), "/services/compute");

        for bad in ["endpoint = '10.0.0.1:8773'", "endpoint = 'ftp://h/'", "endpoint = 'http://u:p@h/'", "pagesize = 1"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
