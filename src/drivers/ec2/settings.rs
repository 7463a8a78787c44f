use serde::{Deserialize, Deserializer};
use url::Url;

use super::provider;

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
    /// Asks clouds other than AWS too, the one at `endpoint` among them, whether a caller may change what it wants to track, by
    /// calls with `DryRun`. Default: false, as one that does not know `DryRun` would stop the instance, delete the volume.
    pub dry_run_anywhere: bool,
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
            dry_run_anywhere: false,
        }
    }
}

/// EC2's own lower limit.
pub(super) const PAGE_MIN: u32 = 5;

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub(in crate::drivers) fn check(&self) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
