//! What a client may write as provider: nothing, a region, or an endpoint's host name. Pure.

use url::Url;

use crate::drivers::{Error, Kind};

pub(super) const DEFAULT_REGION: &str = "us-east-1";

/// Where calls go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Provider {
    /// A region of AWS, or of whatever the operator put in its place.
    Region(String),
    /// An endpoint by host and, if not 443, port. Always over TLS.
    Host(Url),
}

impl Provider {
    /// `eu-west-1`, `cloud.example:8773`.
    pub(super) fn canonical(&self) -> String {
        match self {
            Self::Region(region) => region.clone(),
            Self::Host(url) => url.authority().to_owned(),
        }
    }

    /// The region it names, or that its host name holds.
    pub(super) fn region(&self) -> Option<&str> {
        match self {
            Self::Region(region) => Some(region),
            Self::Host(url) => url.host_str()?.split('.').find(|label| is_region(label)),
        }
    }

    /// An address of AWS itself, whose STS is elsewhere.
    pub(super) fn is_aws(&self) -> bool {
        match self {
            Self::Region(_) => true,
            Self::Host(url) => url.host_str().is_some_and(|host| {
                AWS_DOMAINS.iter().any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')))
            }),
        }
    }
}

const AWS_DOMAINS: [&str; 4] = ["amazonaws.com", "amazonaws.com.cn", "amazonaws.eu", "api.aws"];

/// `service` of a region at AWS: `ec2.eu-west-1.amazonaws.com`.
pub(super) fn aws_host(service: &str, region: &str) -> String {
    let domain = match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    format!("{service}.{region}.{domain}")
}

/// Reads what the client wrote. A region's own address is the region, so that an account has one key however it is spelled.
///
/// [`Kind::Invalid`] with what would have been right.
pub(super) fn parse(given: Option<&str>) -> Result<Provider, Error> {
    let text = given.unwrap_or_default().trim().to_ascii_lowercase();
    if text.is_empty() || text == "ec2.amazonaws.com" {
        return Ok(Provider::Region(DEFAULT_REGION.to_owned()));
    }
    if is_region(&text) {
        return Ok(Provider::Region(text));
    }
    let host = Provider::Host(host(&text).ok_or_else(|| {
        Error::new(
            Kind::Invalid,
            format!(
                "An ec2 provider is a region such as {DEFAULT_REGION} or an endpoint's host name such as \
                 ec2.eu-west-1.amazonaws.com, with a port if need be; {} is neither",
                shortened(&text)
            ),
        )
    })?);
    let region = host.region().filter(|region| aws_host("ec2", region) == host.canonical()).map(str::to_owned);
    Ok(region.map_or(host, Provider::Region))
}

/// A host with a dot or a port, and nothing else: a mere word is more likely a misspelled region.
fn host(text: &str) -> Option<Url> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    let gaps = text.starts_with('.') || text.ends_with('.') || text.contains("..");
    if !plain || gaps || text.len() > 253 || !text.contains(['.', ':']) {
        return None;
    }
    Url::parse(&format!("https://{text}/")).ok().filter(Url::has_host)
}

/// `us-east-1`, `us-gov-west-1`, `eusc-de-east-1`: words, the last one a number. Not a list, as regions are added.
fn is_region(text: &str) -> bool {
    let words: Vec<&str> = text.split('-').collect();
    let [first, middle @ .., last] = words.as_slice() else { return false };
    let letters = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    text.len() <= 32
        && (2..=4).contains(&first.len())
        && letters(first)
        && (1..=3).contains(&middle.len())
        && middle.iter().all(letters)
        && (1..=2).contains(&last.len())
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

fn shortened(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_has_one_spelling() {
        let check = |given: Option<&str>, canonical: &str| {
            assert_eq!(parse(given).map(|provider| provider.canonical()).expect("good"), canonical, "{given:?}");
        };
        check(None, "us-east-1");
        check(Some(""), "us-east-1");
        check(Some("EU-West-1"), "eu-west-1");
        check(Some("us-gov-west-1"), "us-gov-west-1");
        check(Some("eusc-de-east-1"), "eusc-de-east-1");
        check(Some("ec2.amazonaws.com"), "us-east-1");
        check(Some("EC2.eu-west-1.amazonaws.com"), "eu-west-1");
        check(Some("ec2.eu-west-1.amazonaws.com:443"), "eu-west-1");
        check(Some("ec2.cn-north-1.amazonaws.com.cn"), "cn-north-1");
        // Not what we would dial for the region: it stays what it is.
        check(Some("ec2.eu-west-1.api.aws"), "ec2.eu-west-1.api.aws");
        check(Some("ec2.eu-west-1.evil.example"), "ec2.eu-west-1.evil.example");
        check(Some("ec2.cn-north-1.amazonaws.com"), "ec2.cn-north-1.amazonaws.com");
        check(Some("Cloud.example:8773"), "cloud.example:8773");
        check(Some("localhost:5000"), "localhost:5000");
        // In whatever spelling, the address guard gets to see the address.
        check(Some("0x7f.1"), "127.0.0.1");
        check(Some("[::1]:80"), "[::1]:80");
    }

    #[test]
    fn what_cannot_be_a_provider_is_refused_with_what_could() {
        for bad in [
            "narnia",
            "us-east",
            "us-east-",
            "us-east-1a",
            "us--1",
            "east-1",
            "https://ec2.example",
            "user@ec2.example",
            "ec2.example/path",
            "ec2.example?x",
            "ec2.example#",
            "ec2=h:1;s3=h:2",
            "a b.c",
            "ec2.example:99999",
            ":80",
            "[::1",
            "..",
            "us-east-1\n.example",
            &"a.".repeat(200),
        ] {
            let error = parse(Some(bad)).expect_err(bad);
            assert_eq!(error.kind, Kind::Invalid, "{bad}");
            assert!(error.text.contains("us-east-1") && error.text.len() < 300, "{error}");
        }
    }

    #[test]
    fn the_region_of_a_host_is_found_in_its_name() {
        let check = |given: &str, region: Option<&str>, aws: bool| {
            let provider = parse(Some(given)).expect("good");
            assert_eq!((provider.region(), provider.is_aws()), (region, aws), "{given}");
        };
        check("eu-west-1", Some("eu-west-1"), true);
        check("ec2.eu-west-1.api.aws", Some("eu-west-1"), true);
        check("vpce-0a-1b.ec2.us-west-2.vpce.amazonaws.com", Some("us-west-2"), true);
        check("cloud.example", None, false);
        check("notamazonaws.com", None, false);
    }
}
