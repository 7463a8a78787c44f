use serde::{Deserialize, Deserializer};
use url::Url;

/// `[drivers.openstack]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Keystone's URL (`https://cloud.example:5000/v3`), for requests that name no provider. Trusted, with what its catalog
    /// names, as the operator sets it. Default: empty, a provider must be named.
    #[serde(deserialize_with = "url_or_none")]
    pub auth_url: Option<Url>,
    /// The region of `auth_url` that is meant where a provider names none. Default: empty, the only one there is.
    pub region: String,
    /// Which of a service's endpoints is called, of the cloud at `auth_url`: `public`, `internal` or `admin`. Default: `public`.
    pub interface: String,
    /// The domain, by id or name, of users and projects of that cloud that are named without one. Default: `default`, the one that every
    /// Keystone has from the start.
    pub domain: String,
    /// Id of the network that new instances of that cloud are put into. Default: empty, Nova's choice, which it can make only where a
    /// project has one network.
    pub network: String,
    /// Members asked for in one page, 1 to 1000. Default: 1000, which is what clouds give at most.
    pub page_size: u32,
    /// Pages of one list; a longer one is an error. Default: 100, a hundred thousand instances of one project.
    pub pages_max: u32,
    /// Instances, volumes and so on that are asked for one by one in one look; more are looked up in a list. Default: 20,
    /// about where a page of a thousand is cheaper than as many calls.
    pub looks_max: usize,
    /// Such calls at the same time. Default: 8.
    pub looks_at_once: usize,
    /// Milliseconds for one call, its answer's body included. Default: 30000, as Nova asks every cell for a list.
    pub page_timeout_ms: u64,
    /// Bytes of one answer; a longer one is an error. Default: 16 MiB: a full page of instances is about 3 MB, and each that
    /// failed may bring some 5 KB of traceback.
    pub body_bytes_max: usize,
    /// Logins whose tokens are kept. Default: 10000.
    pub logins_max: u64,
    /// A token is renewed this long before it ends. Milliseconds. Default: 5 minutes, as a long list must not outlive it.
    pub token_margin_ms: u64,
    /// A token is renewed after this, however long it lasts, as its catalog is that of the day it was made. Milliseconds.
    /// Default: 15 minutes.
    pub catalog_kept_ms: u64,
    /// What changed is asked for from this long before the last list. Milliseconds. Default: 2 minutes, for clocks that
    /// differ and for what was being written while we asked.
    pub changes_overlap_ms: u64,
    /// How long the flavors' names are believed. Milliseconds. Default: 10 minutes.
    pub flavors_kept_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            auth_url: None,
            region: String::new(),
            interface: "public".to_owned(),
            domain: "default".to_owned(),
            network: String::new(),
            page_size: PAGE_MAX,
            pages_max: 100,
            looks_max: 20,
            looks_at_once: 8,
            page_timeout_ms: 30_000,
            body_bytes_max: 16 * 1024 * 1024,
            logins_max: 10_000,
            token_margin_ms: 300_000,
            catalog_kept_ms: 900_000,
            changes_overlap_ms: 120_000,
            flavors_kept_ms: 600_000,
        }
    }
}

/// The clouds' own bound, unless their operators set a lower one.
const PAGE_MAX: u32 = 1000;
/// A year. What is longer is a slip of the pen, and would overflow when added to a time.
const SPAN_MS_MAX: u64 = 365 * 24 * 3_600_000;

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub(in crate::drivers) fn check(&self) -> Result<(), String> {
        let wrong = |what: String| Err(format!("drivers.openstack.{what}"));
        if !(1..=PAGE_MAX).contains(&self.page_size) {
            return wrong(format!("page_size is {}: OpenStack takes 1 to {PAGE_MAX}", self.page_size));
        }
        if !["public", "internal", "admin"].contains(&self.interface.as_str()) {
            return wrong(format!("interface is `{}`: there are public, internal and admin", self.interface));
        }
        if self.domain.is_empty() {
            return wrong("domain is empty: `default` is what every Keystone has".to_owned());
        }
        let at_least_one = [
            ("pages_max", u64::from(self.pages_max)),
            ("looks_at_once", self.looks_at_once as u64),
            ("page_timeout_ms", self.page_timeout_ms),
            ("logins_max", self.logins_max),
        ];
        if let Some((name, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return wrong(format!("{name} is 0: it must be at least 1"));
        }
        let spans = [
            ("token_margin_ms", self.token_margin_ms),
            ("catalog_kept_ms", self.catalog_kept_ms),
            ("changes_overlap_ms", self.changes_overlap_ms),
            ("flavors_kept_ms", self.flavors_kept_ms),
        ];
        if let Some((name, value)) = spans.into_iter().find(|(_, value)| *value > SPAN_MS_MAX) {
            return wrong(format!("{name} is {value}: it can be at most a year, {SPAN_MS_MAX}"));
        }
        Ok(())
    }
}

fn url_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let url = super::provider::keystone(&text);
    url.map(Some).ok_or_else(|| serde::de::Error::custom("an http or https URL without user and query"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_when_read() {
        let read = |text: &str| toml::from_str::<Settings>(text);
        assert_eq!(read("auth_url = ''").expect("empty is none").auth_url, None);
        let url = read("auth_url = 'http://10.0.0.1:5000/v3/'").expect("a URL").auth_url;
        assert_eq!(url.expect("given").as_str(), "http://10.0.0.1:5000/");
        for bad in ["auth_url = '10.0.0.1:5000'", "auth_url = 'http://u:p@h/'", "auth_url = 'ftp://h/'", "authurl = ''"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let check = |edit: fn(&mut Settings), expected: &str| {
            let mut settings = Settings::default();
            edit(&mut settings);
            let error = settings.check().expect_err(expected);
            assert!(error.starts_with(&format!("drivers.openstack.{expected}")), "{error}");
        };
        assert_eq!(Settings::default().check(), Ok(()));
        check(|settings| settings.page_size = 1001, "page_size is 1001");
        check(|settings| settings.interface = "Public".to_owned(), "interface is `Public`");
        check(|settings| settings.domain.clear(), "domain is empty");
        check(|settings| settings.looks_at_once = 0, "looks_at_once is 0");
        check(|settings| settings.token_margin_ms = u64::MAX, "token_margin_ms is ");
    }
}
