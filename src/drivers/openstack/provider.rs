//! What a client may write as provider: Keystone's URL, and a region behind a semicolon. Pure.

use url::Url;

use super::Settings;
use crate::drivers::{Error, Kind};

/// A cloud, and which part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Provider {
    /// Keystone's, without the version at its end; the path ends in `/`.
    pub(super) keystone: Url,
    pub(super) region: Option<String>,
    /// The operator wrote the URL, whoever else names it too.
    pub(super) by_operator: bool,
}

impl Provider {
    /// Which of a service's endpoints is called. What the operator says of his own cloud is not true of others.
    pub(super) fn interface<'a>(&self, settings: &'a Settings) -> &'a str {
        if self.by_operator { &settings.interface } else { "public" }
    }

    /// That of users and projects that are named without one.
    pub(super) fn domain<'a>(&self, settings: &'a Settings) -> &'a str {
        if self.by_operator { &settings.domain } else { "default" }
    }

    /// Id of the network for new instances; empty: nobody named one.
    pub(super) fn network<'a>(&self, settings: &'a Settings) -> &'a str {
        if self.by_operator { &settings.network } else { "" }
    }

    /// `https://cloud.example:5000/v3;regionone`. In lower case, as clients of Deltacloud write it in any.
    pub(super) fn canonical(&self) -> String {
        let region = self.region.iter().map(|region| format!(";{region}")).collect::<String>();
        format!("{}v3{region}", self.keystone).to_ascii_lowercase()
    }
}

/// Reads what the client wrote: `URL`, `URL;region`, `;region` of the operator's cloud, or nothing, which is the operator's.
///
/// [`Kind::Invalid`] with what would have been right.
pub(super) fn parse(given: Option<&str>, settings: &Settings) -> Result<Provider, Error> {
    let given = given.unwrap_or_default().trim();
    let (url, region) = given.split_once(';').unwrap_or((given, ""));
    let invalid = |text: String| Error::new(Kind::Invalid, text);
    let keystone = match (url.trim(), &settings.auth_url) {
        ("", Some(own)) => own.clone(),
        ("", None) => return Err(invalid(format!("Name the cloud: {WANTED}"))),
        (text, _) => keystone(text).ok_or_else(|| invalid(format!("{WANTED}; {} is none", shortened(text))))?,
    };
    let region = region.trim();
    if region.len() > REGION_BYTES_MAX || !region.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';') {
        return Err(invalid(format!("{} is no region of OpenStack", shortened(region))));
    }
    let by_operator = settings.auth_url.as_ref().is_some_and(|own| same(own, &keystone));
    let fallback = if by_operator { settings.region.trim() } else { "" };
    let region = [region, fallback].into_iter().find(|region| !region.is_empty()).map(str::to_owned);
    Ok(Provider { keystone, region, by_operator })
}

const WANTED: &str = "an openstack provider is Keystone's URL such as https://cloud.example:5000/v3, with ;REGION behind it if there are several";
/// Keystone's own bound.
const REGION_BYTES_MAX: usize = 255;
const URL_BYTES_MAX: usize = 1024;

/// Keystone's URL without the version that most people write at its end, and without the call that some copy with it.
/// Version 2 is no more: where it was, 3 is.
pub(super) fn keystone(text: &str) -> Option<Url> {
    if text.len() > URL_BYTES_MAX || text.contains(char::is_whitespace) {
        return None;
    }
    let mut url = Url::parse(text).ok()?;
    let bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !bare || url.fragment().is_some() {
        return None;
    }
    let path = url.path().trim_end_matches('/');
    let path = path.strip_suffix("/auth/tokens").unwrap_or(path).to_owned();
    let (before, last) = path.rsplit_once('/').unwrap_or(("", &path));
    let is_version = ["v3", "v2.0"].iter().any(|version| last.eq_ignore_ascii_case(version));
    url.set_path(&format!("{}/", if is_version { before.trim_end_matches('/') } else { &path }));
    Some(url)
}

fn same(a: &Url, b: &Url) -> bool {
    a.as_str().eq_ignore_ascii_case(b.as_str())
}

fn shortened(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(auth_url: &str, region: &str) -> Settings {
        Settings { auth_url: keystone(auth_url), region: region.to_owned(), ..Settings::default() }
    }

    #[test]
    fn a_provider_has_one_spelling() {
        let check = |given: Option<&str>, settings: &Settings, canonical: &str| {
            let canonical_of = |given: &str| parse(Some(given), settings).expect("good").canonical();
            assert_eq!(parse(given, settings).expect("good").canonical(), canonical, "{given:?}");
            assert_eq!(
                (canonical_of(canonical), canonical_of(&canonical.to_uppercase())),
                (canonical.to_owned(), canonical.to_owned())
            );
        };
        let none = Settings::default();
        let plain = "https://cloud.example:5000/v3";
        for spelling in [
            "https://cloud.example:5000",
            "https://cloud.example:5000/",
            "https://Cloud.Example:5000/v3/",
            " https://cloud.example:5000/v2.0/ ",
            "https://cloud.example:5000/v3/auth/tokens",
        ] {
            check(Some(spelling), &none, plain);
        }
        check(
            Some("https://cloud.example:443/identity/v3;RegionOne"),
            &none,
            "https://cloud.example/identity/v3;regionone",
        );
        check(Some("http://10.0.0.7:5000/v3; eu"), &none, "http://10.0.0.7:5000/v3;eu");
        check(Some("https://cloud.example/keystone"), &none, "https://cloud.example/keystone/v3");

        let own = settings("http://lab:5000/v3", "RegionTwo");
        check(None, &own, "http://lab:5000/v3;regiontwo");
        check(Some(""), &own, "http://lab:5000/v3;regiontwo");
        check(Some("http://lab:5000"), &own, "http://lab:5000/v3;regiontwo");
        check(Some(";RegionOne"), &own, "http://lab:5000/v3;regionone");
        check(Some(plain), &own, plain);
    }

    #[test]
    fn the_case_is_kept_for_the_cloud() {
        let provider = parse(Some("https://Cloud.example/Identity/v3;RegionOne"), &Settings::default()).expect("good");
        assert_eq!(
            (provider.keystone.as_str(), provider.region.as_deref()),
            ("https://cloud.example/Identity/", Some("RegionOne"))
        );
    }

    #[test]
    fn only_what_the_operator_wrote_is_trusted() {
        let own = settings("http://lab:5000/v3", "");
        let check = |given: Option<&str>, trusted: bool| {
            assert_eq!(parse(given, &own).expect("good").by_operator, trusted, "{given:?}");
        };
        check(None, true);
        check(Some("HTTP://LAB:5000/V3"), true);
        check(Some(";eu"), true);
        check(Some("http://lab:5001/v3"), false);
        check(Some("https://lab:5000/v3"), false);
        check(Some("http://lab:5000/other/v3"), false);
    }

    #[test]
    fn what_is_said_of_the_operators_cloud_is_said_of_no_other() {
        let own = Settings {
            interface: "internal".to_owned(),
            domain: "corp".to_owned(),
            network: "lan".to_owned(),
            ..settings("http://lab:5000/v3", "")
        };
        let check = |given: &str, expected: [&str; 3]| {
            let provider = parse(Some(given), &own).expect("good");
            assert_eq!([provider.interface(&own), provider.domain(&own), provider.network(&own)], expected, "{given}");
        };
        check("", ["internal", "corp", "lan"]);
        check("http://lab:5000/v3", ["internal", "corp", "lan"]);
        check("https://cloud.example/v3", ["public", "default", ""]);
    }

    #[test]
    fn what_cannot_be_a_provider_is_refused_with_what_could() {
        for bad in [
            "",
            ";eu",
            "RegionOne",
            "cloud.example:5000",
            "ftp://cloud.example/",
            "https://",
            "https://u:p@cloud.example/v3",
            "https://cloud.example/v3?x=y",
            "https://cloud.example/v3#x",
            "https://cloud.example/a b",
            "https://cloud.example/v3;eu;west",
            "https://cloud.example/v3;e u",
            &format!("https://cloud.example/v3;{}", "x".repeat(256)),
            &format!("https://cloud.example/{}", "x".repeat(1025)),
        ] {
            let error = parse(Some(bad), &Settings::default()).expect_err(bad);
            assert_eq!(error.kind, Kind::Invalid, "{bad}");
            assert!(error.text.len() < 300, "{error}");
        }
    }
}
