//! Where a cloud's services are: Keystone's catalog, and the versions at the end of its addresses. Pure.

use serde::Deserialize;
use url::Url;

use super::parse::or_default;
use crate::drivers::{Error, Kind};

/// A service that the driver calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Compute,
    Image,
    Volume,
    Network,
}

impl Service {
    /// As catalogs name it, best first.
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Compute => &["compute"],
            Self::Image => &["image"],
            Self::Volume => &["volumev3", "block-storage", "block-store", "volume"],
            Self::Network => &["network"],
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        self.kinds()[0]
    }
}

/// A service in the catalog of a token.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Listed {
    #[serde(rename = "type", default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    endpoints: Vec<Endpoint>,
}

#[derive(Clone, Debug, Deserialize)]
struct Endpoint {
    #[serde(default, deserialize_with = "or_default")]
    interface: String,
    region_id: Option<String>,
    region: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    url: String,
}

impl Endpoint {
    fn region(&self) -> &str {
        self.region_id.as_deref().or(self.region.as_deref()).unwrap_or_default()
    }
}

/// Where to call a service, its version included; the path ends in `/`.
///
/// [`Kind::Unsupported`]: the cloud has no such service. [`Kind::Invalid`]: not in this region, or in several and none was
/// named.
pub(super) fn endpoint(
    catalog: &[Listed],
    service: Service,
    region: Option<&str>,
    interface: &str,
    project: &str,
) -> Result<Url, Error> {
    let name = service.as_str();
    let mut all: Vec<&Endpoint> = Vec::new();
    for kind in service.kinds() {
        let listed = catalog.iter().filter(|listed| listed.kind == *kind).flat_map(|listed| &listed.endpoints);
        // `publicURL` is how catalogs of old put it.
        all = listed
            .filter(|one| one.interface == interface || one.interface.strip_suffix("URL") == Some(interface))
            .filter(|one| service != Service::Volume || *kind != "volume" || version(&one.url) == Some("v3"))
            .collect();
        if !all.is_empty() {
            break;
        }
    }
    if all.is_empty() {
        return Err(Error::new(
            Kind::Unsupported,
            format!("The cloud's catalog has no {interface} endpoint of {name}"),
        ));
    }
    let mut regions: Vec<&str> = all.iter().map(|one| one.region()).collect();
    regions.sort_unstable();
    regions.dedup();
    let in_it = |one: &&&Endpoint| region.is_none_or(|region| one.region().eq_ignore_ascii_case(region));
    let found = all.iter().find(in_it).filter(|_| region.is_some() || regions.len() == 1);
    let Some(found) = found else {
        let why = region.map_or_else(|| "in several regions".to_owned(), |region| format!("not in region {region}"));
        let regions: Vec<&str> = regions.into_iter().take(REGIONS_SHOWN).collect();
        let text = format!("{name} is {why}: add one to the provider, as URL;REGION, of {}", regions.join(", "));
        return Err(Error::new(Kind::Invalid, text));
    };
    versioned(&found.url, service, project)
        .ok_or_else(|| Error::new(Kind::Unavailable, format!("The catalog's address of {name} is no URL")))
}

const REGIONS_SHOWN: usize = 10;

/// With the version that we speak, where the address has none.
fn versioned(text: &str, service: Service, project: &str) -> Option<Url> {
    let mut url = Url::parse(text).ok()?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !url.username().is_empty() {
        return None;
    }
    let mut path = url.path().trim_end_matches('/').to_owned();
    if version(text).is_none() {
        path.push_str(&match service {
            Service::Compute => "/v2.1".to_owned(),
            Service::Image => "/v2".to_owned(),
            Service::Volume => format!("/v3/{project}"),
            Service::Network => "/v2.0".to_owned(),
        });
    } else if service == Service::Volume && path.ends_with("/v3") {
        path = format!("{path}/{project}");
    } else if service == Service::Image && version(text) == Some("v1") {
        path = format!("{}v2", path.strip_suffix("v1")?);
    }
    url.set_path(&format!("{path}/"));
    url.set_query(None);
    url.set_fragment(None);
    Some(url)
}

/// The part of the path that is a version: `v2.1`, also before a project.
fn version(url: &str) -> Option<&str> {
    let is_version = |part: &&str| {
        part.strip_prefix('v').is_some_and(|rest| {
            !rest.is_empty()
                && rest.starts_with(|c: char| c.is_ascii_digit())
                && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        })
    };
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    path.split('/').skip(1).find(is_version)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(lines: &[(&str, &str, &str, &str)]) -> Vec<Listed> {
        let listed = |(kind, interface, region, url): &(&str, &str, &str, &str)| Listed {
            kind: (*kind).to_owned(),
            endpoints: vec![Endpoint {
                interface: (*interface).to_owned(),
                region_id: Some((*region).to_owned()),
                region: None,
                url: (*url).to_owned(),
            }],
        };
        lines.iter().map(listed).collect()
    }

    #[test]
    fn an_address_has_a_version_and_what_belongs_behind_it() {
        let check = |service, url: &str, expected: &str| {
            assert_eq!(versioned(url, service, "p1").expect("a URL").as_str(), expected, "{url}");
        };
        check(Service::Compute, "http://h:8774/v2.1", "http://h:8774/v2.1/");
        check(Service::Compute, "https://h/compute/v2.1/p1", "https://h/compute/v2.1/p1/");
        check(Service::Compute, "https://h/compute", "https://h/compute/v2.1/");
        check(Service::Compute, "https://nova.h/", "https://nova.h/v2.1/");
        check(Service::Compute, "https://h:8774/v2/p1", "https://h:8774/v2/p1/");
        check(Service::Image, "http://h:9292", "http://h:9292/v2/");
        check(Service::Image, "http://h:9292/v2/", "http://h:9292/v2/");
        check(Service::Image, "http://h:9292/v1", "http://h:9292/v2/");
        check(Service::Volume, "http://h:8776/v3/p1", "http://h:8776/v3/p1/");
        check(Service::Volume, "http://h:8776/v3", "http://h:8776/v3/p1/");
        check(Service::Volume, "http://h:8776/v3/", "http://h:8776/v3/p1/");
        check(Service::Volume, "https://h/volume", "https://h/volume/v3/p1/");
        check(Service::Network, "http://h:9696", "http://h:9696/v2.0/");
        check(Service::Network, "https://h/networking/v2.0", "https://h/networking/v2.0/");
        check(Service::Volume, "https://v8.h/volume", "https://v8.h/volume/v3/p1/");
        for bad in ["", "h:8774", "ftp://h/", "http://u@h/", "/v2.1"] {
            assert_eq!(versioned(bad, Service::Compute, "p1"), None, "{bad}");
        }
    }

    #[test]
    fn a_service_is_found_by_kind_region_and_interface() {
        let several = catalog(&[
            ("compute", "public", "one", "http://one/v2.1"),
            ("compute", "internal", "one", "http://inside/v2.1"),
            ("compute", "public", "Two", "http://two/v2.1"),
            ("image", "public", "one", "http://image"),
            ("volume", "public", "one", "http://volume/v1/p1"),
            ("block-storage", "public", "one", "http://block/v3/p1"),
        ]);
        let check = |service, region: Option<&str>, interface: &str, expected: Result<&str, Kind>| {
            let found = endpoint(&several, service, region, interface, "p1").map_err(|error| error.kind);
            assert_eq!(found.as_ref().map(Url::as_str).map_err(|kind| *kind), expected, "{service:?} {region:?}");
        };
        check(Service::Compute, Some("one"), "public", Ok("http://one/v2.1/"));
        check(Service::Compute, Some("two"), "public", Ok("http://two/v2.1/"));
        check(Service::Compute, Some("one"), "internal", Ok("http://inside/v2.1/"));
        check(Service::Compute, None, "internal", Ok("http://inside/v2.1/"));
        check(Service::Compute, None, "public", Err(Kind::Invalid));
        check(Service::Compute, Some("three"), "public", Err(Kind::Invalid));
        check(Service::Compute, None, "admin", Err(Kind::Unsupported));
        check(Service::Image, None, "public", Ok("http://image/v2/"));
        check(Service::Volume, None, "public", Ok("http://block/v3/p1/"));
        let old = catalog(&[("volume", "publicURL", "one", "http://volume/v1/p1")]);
        let error = endpoint(&old, Service::Volume, None, "public", "p1").expect_err("version 1 is another language");
        assert_eq!(error.kind, Kind::Unsupported);

        let error = endpoint(&several, Service::Compute, None, "public", "p1").expect_err("which?");
        assert!(error.text.contains("Two, one"), "{error}");
    }
}
