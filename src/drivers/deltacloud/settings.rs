use serde::{Deserialize, Deserializer};
use url::Url;

use super::provider;

/// `[drivers.deltacloud]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// URL of the API of the upstream that is meant where a provider names none. Trusted, as the operator sets it: it may
    /// lie in any network. Default: empty, every request names its own.
    #[serde(deserialize_with = "url_or_none")]
    pub url: Option<Url>,
    /// Milliseconds for one call, its answer's body included. Default: 30000: Deltacloud's own clients give up after 45 s,
    /// and an action is two calls.
    pub timeout_ms: u64,
    /// Bytes of one answer; a longer one is an error. Default: 16 MiB, some ten thousand instances: Deltacloud has no pages.
    pub body_bytes_max: usize,
    /// Members of one account asked for at the same time. Default: 4, as each becomes a call of the upstream's to its cloud.
    pub looks_at_once: usize,
    /// A look for more members than this asks for the list, and then only for those that are not in it. Default: 20, about
    /// what a list costs.
    pub looks_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { url: None, timeout_ms: 30_000, body_bytes_max: 16 * 1024 * 1024, looks_at_once: 4, looks_max: 20 }
    }
}

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub(in crate::drivers) fn check(&self) -> Result<(), String> {
        let least_one = [
            ("timeout_ms", self.timeout_ms == 0),
            ("body_bytes_max", self.body_bytes_max == 0),
            ("looks_at_once", self.looks_at_once == 0),
        ];
        match least_one.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((name, _)) => Err(format!("drivers.deltacloud.{name} is 0: it must be at least 1")),
            None => Ok(()),
        }
    }
}

fn url_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let url = Url::parse(&text).map_err(serde::de::Error::custom)?;
    provider::root(&url).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_checked_when_read() {
        let read = |text: &str| toml::from_str::<Settings>(text);
        assert_eq!(read("url = ''").expect("empty is none").url, None);
        let url = read("url = 'http://10.0.0.1:3001'").expect("a URL").url.expect("given");
        assert_eq!(url.as_str(), "http://10.0.0.1:3001/api");
        for bad in ["url = '10.0.0.1:3001'", "url = 'http://u:p@h/'", "url = 'http://h/?x'", "pages = 1"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert_eq!(Settings::default().check(), Ok(()));
        let none = Settings { looks_at_once: 0, ..Settings::default() };
        assert_eq!(none.check(), Err("drivers.deltacloud.looks_at_once is 0: it must be at least 1".to_owned()));
    }
}
