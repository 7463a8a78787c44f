//! What a request's path, `Host` and forwarding headers say: the plain path, matrix parameters, and what hrefs begin with.
//! Pure.

use percent_encoding::percent_decode_str;

pub(super) use crate::changes::segment;

/// A path taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// Without matrix parameters, escapes as they came.
    pub(super) path: String,
    /// From the segment `api`, decoded once, empty ones dropped.
    pub(super) driver: Option<String>,
    pub(super) provider: Option<String>,
    /// Matrix parameters of the last segment but `api`, decoded once: `/api/images;instance_id=inst1`.
    pub(super) params: Vec<(String, String)>,
}

impl Target {
    /// Splits the *path* only: a `;x=y` inside a query value is the query's own (a callback URL, say).
    pub(super) fn parse(path: &str) -> Result<Self, NotText> {
        let mut target = Self { path: String::with_capacity(path.len()), ..Self::default() };
        for (place, segment) in path.split('/').enumerate() {
            let (name, matrix) = segment.split_once(';').unwrap_or((segment, ""));
            let plain = decode(name)?;
            if place > 0 {
                target.path.push('/');
            }
            target.path.push_str(name);
            let pairs = matrix.split(';').filter_map(|pair| pair.split_once('='));
            if place != 1 || plain != "api" {
                let pair = |(key, value)| Ok((decode(key)?, decode(value)?));
                target.params = pairs.map(pair).collect::<Result<_, NotText>>()?;
                continue;
            }
            for (key, value) in pairs {
                let value = Some(decode(value)?).filter(|value| !value.is_empty());
                match key {
                    "driver" => target.driver = value,
                    "provider" => target.provider = value,
                    _ => {}
                }
            }
        }
        Ok(target)
    }
}

/// A path without its matrix parameters, whether or not they can be read.
pub(super) fn plain(path: &str) -> String {
    let names: Vec<_> = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default()).collect();
    names.join("/")
}

/// The bytes behind the escapes are not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotText;

fn decode(text: &str) -> Result<String, NotText> {
    percent_decode_str(text).decode_utf8().map(|text| text.into_owned()).map_err(|_| NotText)
}

/// `;driver=ec2;provider=eu-west-1`, of what is given.
pub(super) fn matrix(driver: Option<&str>, provider: Option<&str>) -> String {
    let part = |key, value: Option<&str>| value.map(|value| format!(";{key}={}", segment(value))).unwrap_or_default();
    part("driver", driver) + &part("provider", provider)
}

/// Scheme and host that the client used: `http://localhost:3001`. A default port is dropped. `None`: no usable host.
pub(super) fn origin(
    host: Option<&str>,
    forwarded_host: Option<&str>,
    forwarded_proto: Option<&str>,
) -> Option<String> {
    // Proxies append: the first entry is what the client asked for.
    let first = |list: Option<&str>| Some(list?.split(',').next()?.trim().to_owned()).filter(|text| !text.is_empty());
    let proto = first(forwarded_proto).map(|proto| proto.to_ascii_lowercase());
    let (scheme, port) = if proto.as_deref() == Some("https") { ("https", ":443") } else { ("http", ":80") };
    let host = first(forwarded_host).or_else(|| host.map(str::to_owned))?;
    // It is copied into every href, so it may hold nothing that would change an href's meaning.
    let clean = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    if !clean || host.is_empty() || host.len() > 255 {
        return None;
    }
    Some(format!("{scheme}://{}", host.strip_suffix(port).unwrap_or(&host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrix_parameters_come_from_the_segment_api_of_the_path() {
        let check = |path: &str, plain: &str, driver: Option<&str>, provider: Option<&str>| {
            let target = Target::parse(path).unwrap();
            assert_eq!(
                (target.path.as_str(), target.driver.as_deref(), target.provider.as_deref()),
                (plain, driver, provider),
                "{path}"
            );
            assert_eq!(super::plain(path), plain);
        };
        check("/api", "/api", None, None);
        check("/api;driver=ec2/instances/i-7", "/api/instances/i-7", Some("ec2"), None);
        check("/api;driver=ec2;provider=Us-East-1/", "/api/", Some("ec2"), Some("Us-East-1"));
        check(
            "/api;provider=http%3A%2F%2Fh%3A5000%2Fv2.0%2F%3BRegion%2B%2525",
            "/api",
            None,
            Some("http://h:5000/v2.0/;Region+%25"),
        );
        check("/api;driver=;provider=/x", "/api/x", None, None);
        check("/api;driver=a;driver=b", "/api", Some("b"), None);
        check("/api;driver", "/api", None, None);
        check("/api/instances;driver=ec2/1;x=y", "/api/instances/1", None, None);
        check("/x;driver=ec2", "/x", None, None);
        check("/api/instances/api;driver=ec2", "/api/instances/api", None, None);
        check("/api/instances/", "/api/instances/", None, None);
        check("/api/a%20b%2Fc", "/api/a%20b%2Fc", None, None);
        check("", "", None, None);
        check("/;driver=ec2//x;/", "///x/", None, None);
        assert_eq!(Target::parse("/api/%ff"), Err(NotText));
        assert_eq!(Target::parse("/api;provider=%C3%28"), Err(NotText));
        assert_eq!(plain("/api;provider=%C3%28/x"), "/api/x");
    }

    #[test]
    fn the_last_segment_has_parameters_of_its_own() {
        let check = |path: &str, params: &[(&str, &str)]| {
            let read = Target::parse(path).unwrap().params;
            let read: Vec<_> = read.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(read, params, "{path}");
        };
        check("/api;driver=ec2", &[]);
        check("/api;driver=ec2/images", &[]);
        check("/api/images;instance_id=inst1", &[("instance_id", "inst1")]);
        check("/api;driver=ec2/images;instance_id=a%20b%3Bc;name=;x", &[("instance_id", "a b;c"), ("name", "")]);
        check("/api/instances;image_id=x/inst1", &[]);
        assert_eq!(Target::parse("/api/images;x=%ff"), Err(NotText));
    }

    #[test]
    fn ids_are_escaped_but_for_what_ids_are_made_of() {
        let check = |id: &str, escaped: &str| assert_eq!(segment(id), escaped);
        check("us-east-1a:subnet_1.x~", "us-east-1a:subnet_1.x~");
        check("a b/c?d#e;f%g", "a%20b%2Fc%3Fd%23e%3Bf%25g");
        check("ä", "%C3%A4");
        assert_eq!(matrix(Some("ec2"), Some("a;b")), ";driver=ec2;provider=a%3Bb");
        assert_eq!(matrix(None, None), "");
    }

    #[test]
    fn hrefs_begin_as_the_client_reached_us() {
        let check = |host, forwarded_host, proto, origin_: Option<&str>| {
            assert_eq!(
                origin(host, forwarded_host, proto).as_deref(),
                origin_,
                "{host:?} {forwarded_host:?} {proto:?}"
            );
        };
        check(Some("localhost:3001"), None, None, Some("http://localhost:3001"));
        check(Some("h:80"), None, None, Some("http://h"));
        check(Some("h:443"), None, Some("https"), Some("https://h"));
        check(Some("h:443"), None, None, Some("http://h:443"));
        check(Some("inner:3001"), Some("tracker.example, inner"), Some("HTTPS, http"), Some("https://tracker.example"));
        check(Some("[::1]:3001"), None, Some("gopher"), Some("http://[::1]:3001"));
        check(None, Some("h"), None, Some("http://h"));
        check(None, None, None, None);
        check(Some(""), None, None, None);
        check(Some("h/x"), None, None, None);
        check(Some("h'><x"), None, None, None);
    }
}
