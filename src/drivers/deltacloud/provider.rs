//! What a client may write as provider: `https://cloud.example/api;driver=ec2;provider=eu-west-1`. Pure.
//!
//! The upstream's API by URL, and behind it, if it is to be another than the upstream's own default, its driver and that
//! driver's provider. The latter comes last and is taken whole, so that one that has `;` in it needs no quoting. Without a
//! URL it is the upstream of the settings.

use url::Url;

use crate::drivers::{Error, Kind};

/// An upstream, and what to choose there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provider {
    /// Of its API, without a slash at the end.
    pub(super) root: Url,
    /// Of the upstream's drivers, lower case. `None`: its default.
    pub(super) driver: Option<String>,
    /// That driver's provider, case kept, as backends may mind it. `None`: its default.
    pub(super) provider: Option<String>,
}

impl Provider {
    /// In lower case altogether: Deltacloud's servers fold what chooses a driver and a provider, so what differs by case
    /// is one account.
    pub(super) fn canonical(&self) -> String {
        let part = |key, value: &Option<String>| value.as_ref().map(|value| format!(";{key}={value}"));
        let parts = [part("driver", &self.driver), part("provider", &self.provider)].into_iter().flatten();
        let whole: String = [self.root.to_string()].into_iter().chain(parts).collect();
        whole.to_ascii_lowercase()
    }
}

/// Where Deltacloud's API is by default.
const DEFAULT_PATH: &str = "/api";

/// Bytes. The whole becomes part of hrefs and keys.
const LENGTH_MAX: usize = 1024;
const DRIVER_LENGTH_MAX: usize = 64;

/// `default`: the upstream of the settings, as [`root`] made it.
///
/// [`Kind::Invalid`] with what would have been right. The text is not repeated, as somebody may have put a password into it.
pub(super) fn parse(given: Option<&str>, default: Option<&Url>) -> Result<Provider, Error> {
    let given = given.unwrap_or_default().trim();
    if given.len() > LENGTH_MAX {
        return Err(invalid(&format!("it has more than {LENGTH_MAX} bytes")));
    }
    if given.chars().any(|char| char.is_control() || !char.is_ascii()) {
        return Err(invalid("it has other characters than ASCII's printable ones"));
    }
    let (url, choice) = given.split_at(given.find(';').unwrap_or(given.len()));
    let root = match (url, default) {
        ("", None) => return Err(invalid("none is named, and the settings have no default (drivers.deltacloud.url)")),
        ("", Some(default)) => default.clone(),
        (url, _) => root(&Url::parse(url).map_err(|_| invalid("there is no URL"))?).map_err(invalid)?,
    };
    let (driver, rest) = match keyed(choice, ";driver=") {
        Some(rest) => {
            let (driver, rest) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            (filled(driver).map(|driver| driver.to_ascii_lowercase()), rest)
        }
        None => (None, choice),
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if driver.as_ref().is_some_and(|driver| driver.len() > DRIVER_LENGTH_MAX || !driver.bytes().all(plain)) {
        return Err(invalid("the driver's id has other characters than letters, digits, `-`, `_` and `.`"));
    }
    let provider = match keyed(rest, ";provider=") {
        Some(provider) => filled(provider),
        None if rest.is_empty() => None,
        None => return Err(invalid("behind the URL there is something else than `;driver=…` and then `;provider=…`")),
    };
    Ok(Provider { root, driver, provider: provider.map(str::to_owned) })
}

/// An API's URL in its one spelling: path in lower case, `/api` where there is none, no slash at the end.
///
/// What is dialled is spelled so, too: of two paths that differ by case only, one is never read and the other never an
/// account of its own.
pub(super) fn root(url: &Url) -> Result<Url, &'static str> {
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("the URL is not one of http or https");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("there are credentials in the URL: they belong into the request's own");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("the URL has a query or a fragment");
    }
    let path = url.path().trim_end_matches('/').to_ascii_lowercase();
    let mut root = url.clone();
    root.set_path(if path.is_empty() { DEFAULT_PATH } else { &path });
    Ok(root)
}

/// What follows the key, in whatever case it is written.
fn keyed<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(key.len())?;
    start.eq_ignore_ascii_case(key).then_some(rest)
}

fn filled(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

fn invalid(what: &str) -> Error {
    let right = "A deltacloud provider is the URL of an upstream's API, with its driver and provider if need be, as in \
                 https://cloud.example/api;driver=ec2;provider=eu-west-1";
    Error::new(Kind::Invalid, format!("{right}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_has_one_spelling() {
        let check = |given: &str, canonical: &str| {
            let provider = parse(Some(given), None).expect(given);
            assert_eq!(provider.canonical(), canonical, "{given}");
            assert_eq!(parse(Some(canonical), None).expect(canonical).canonical(), canonical, "its own name");
        };
        check("https://Cloud.example", "https://cloud.example/api");
        check("https://cloud.example/", "https://cloud.example/api");
        check(" https://cloud.example:443/API/ ", "https://cloud.example/api");
        check("http://h:3001/api", "http://h:3001/api");
        check("HTTP://H:80/a/../Delta//", "http://h/delta");
        check("https://h;driver=EC2;Provider=Eu-West-1", "https://h/api;driver=ec2;provider=eu-west-1");
        check("https://h/api;driver=mock;provider=", "https://h/api;driver=mock");
        check("https://h/api;driver=;provider=dc1", "https://h/api;provider=dc1");
        check("https://h/api;provider=dc1", "https://h/api;provider=dc1");
        let keystone = "https://h/api;driver=openstack;provider=http://k:5000/v2.0/;regionone";
        check("https://h/api;driver=openstack;provider=http://k:5000/v2.0/;RegionOne", keystone);
        // In whatever spelling, the address guard gets to see the address.
        check("http://0x7f.1/api", "http://127.0.0.1/api");
        check("http://[::1]:3001", "http://[::1]:3001/api");
    }

    #[test]
    fn what_chooses_keeps_what_backends_may_mind() {
        let provider = parse(Some("https://h;driver=OpenStack;provider=http://k/V2;RegionOne"), None).expect("good");
        assert_eq!(provider.root.as_str(), "https://h/api");
        assert_eq!(provider.driver.as_deref(), Some("openstack"));
        assert_eq!(provider.provider.as_deref(), Some("http://k/V2;RegionOne"));
    }

    #[test]
    fn the_upstream_of_the_settings_is_the_default() {
        let default = root(&Url::parse("http://10.0.0.5:3001/").expect("a URL")).expect("good");
        let check = |given: Option<&str>, canonical: &str| {
            assert_eq!(parse(given, Some(&default)).expect("good").canonical(), canonical, "{given:?}");
        };
        check(None, "http://10.0.0.5:3001/api");
        check(Some(""), "http://10.0.0.5:3001/api");
        check(Some(";driver=rhevm"), "http://10.0.0.5:3001/api;driver=rhevm");
        check(Some("https://other.example"), "https://other.example/api");
        assert_eq!(parse(None, None).expect_err("none").kind, Kind::Invalid);
    }

    #[test]
    fn what_cannot_be_a_provider_is_refused_and_not_repeated() {
        for bad in [
            "narnia",
            "cloud.example/api",
            "cloud.example:3001",
            "ftp://h/api",
            "file:///etc/hush",
            "http://",
            "https://user:hush@h/api",
            "https://hush@h/api",
            "https://h/api?hush",
            "https://h/api#hush",
            "https://h/api;hush",
            "https://h/api;provider=x;driver=",
            "https://h/api;driver=a b",
            "https://h/api;driver=ec2;user=hush",
            "https://h/api;provider=hush\r\nX-Evil: 1",
            "https://h/api;provider=hüsh",
            &format!("https://h/api;provider={}", "hush".repeat(300)),
        ] {
            let refused = parse(Some(bad), None);
            if bad.ends_with(";driver=") {
                // All that follows `provider=` is the provider's own.
                assert_eq!(refused.expect("taken whole").provider.as_deref(), Some("x;driver="));
                continue;
            }
            let error = refused.expect_err(bad);
            assert_eq!(error.kind, Kind::Invalid, "{bad}");
            assert!(!error.text.contains("hush") && error.text.contains("https://cloud.example/api"), "{error}");
        }
    }
}
