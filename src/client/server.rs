//! One Tracker, asked over HTTP.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::failure::{Exit, Failure};
use super::output::harmless;
use crate::changes::segment;
use crate::model::{Credentials, ExposeSecret as _};
use crate::outbound::{self, Bounds, Outbound, Request};

/// An answer may take this long, for there may be a slow cloud behind it.
const DEADLINE: Duration = Duration::from_secs(60);
/// The most of an answer that is held.
const BODY_BYTES_MAX: usize = 64 << 20;
/// What only Tracker (and Deltacloud) says of itself.
const DRIVER: &str = "x-deltacloud-driver";

pub(super) type Params = Vec<(&'static str, String)>;

pub(super) struct Server {
    outbound: Arc<Outbound>,
    /// Without a slash at its end.
    base: String,
    authorization: HeaderValue,
}

/// An answer that is not a refusal.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Who is meant when it makes no sense.
    base: String,
}

/// `http://127.0.0.1:3001/api;driver=ec2;provider=us-east-1` out of its parts.
pub(super) fn base(url: &str, driver: Option<&str>, provider: Option<&str>) -> Result<String, Failure> {
    const RIGHT: &str = "right is something like http://127.0.0.1:3001/api";
    // The text itself is not repeated before it is known to hold no password.
    let parsed = Url::parse(url).map_err(|err| Failure::usage(format!("--url is no URL ({err}); {RIGHT}")))?;
    refuse_password(&parsed, "--url", "set TRACKER_USER and TRACKER_PASSWORD, or name a file with --credentials")?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none_or(str::is_empty) {
        return Err(Failure::usage(format!("--url must begin with http:// or https:// and name a host; {RIGHT}")));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(Failure::usage(format!("--url must have neither `?` nor `#`; {RIGHT}")));
    }
    let mut base = parsed.as_str().trim_end_matches('/').to_owned();
    for (key, value) in [("driver", driver), ("provider", provider)] {
        if let Some(value) = value {
            base.push_str(&format!(";{key}={}", segment(value)));
        }
    }
    Ok(base)
}

/// Every process of the machine can read the arguments of every other.
pub(super) fn refuse_password(url: &Url, option: &str, instead: &str) -> Result<(), Failure> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    let text = format!("{option} holds a user or a password, which others on this machine could read: {instead}");
    Err(Failure::usage(text))
}

impl Server {
    pub(super) fn new(outbound: Arc<Outbound>, base: String, credentials: &Credentials) -> Self {
        let pair = format!("{}:{}", credentials.user, credentials.password.expose_secret());
        let mut authorization = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
            .expect("Base64 has only characters that a header may have");
        authorization.set_sensitive(true);
        Self { outbound, base, authorization }
    }

    pub(super) async fn get(&self, path: &[&str], query: &Params) -> Result<Answer, Failure> {
        self.ask(Method::GET, path, query, &vec![], Duration::ZERO).await
    }

    /// As [`Server::get`], or for the head of that answer alone: then nothing counts as read.
    pub(super) async fn ask_for(&self, method: Method, path: &[&str], query: &Params) -> Result<Answer, Failure> {
        self.ask(method, path, query, &vec![], Duration::ZERO).await
    }

    /// As [`Server::get`], of something that may take `wait` longer than usual.
    pub(super) async fn get_waiting(&self, path: &[&str], query: &Params, wait: Duration) -> Result<Answer, Failure> {
        self.ask(Method::GET, path, query, &vec![], wait).await
    }

    /// With the parameters as a form, where logs and proxies do not see them.
    pub(super) async fn send(&self, method: Method, path: &[&str], form: &Params) -> Result<Answer, Failure> {
        self.ask(method, path, &vec![], form, Duration::ZERO).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &[&str],
        query: &Params,
        form: &Params,
        wait: Duration,
    ) -> Result<Answer, Failure> {
        let mut url = self.base.clone();
        for part in path {
            url.push('/');
            url.push_str(&segment(part));
        }
        let mut headers = HeaderMap::from_iter([
            (AUTHORIZATION, self.authorization.clone()),
            (ACCEPT, HeaderValue::from_static("application/json")),
        ]);
        let body = if form.is_empty() {
            Bytes::new()
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into()
        };
        let answer = self.exchange(method, &url, query, headers, body, DEADLINE + wait).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let ours = answer.headers.contains_key(DRIVER);
        let refusal = refusal(answer.status, &answer.body, ours, &self.base);
        if answer.status == StatusCode::GONE {
            return Err(refusal.oldest_kept_is(number(&answer.headers, "tracker-oldest-seq")));
        }
        // Tracker's own word for a path that it does not have at all; a resource that is missing is named.
        let astray = !ours || refusal.text().is_some_and(|text| text.starts_with("Not Found"));
        Err(if astray { self.astray().await.unwrap_or(refusal) } else { refusal })
    }

    async fn exchange(
        &self,
        method: Method,
        url: &str,
        query: &Params,
        headers: HeaderMap,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Answer, Failure> {
        let mut url = Url::parse(url).map_err(|err| Failure::usage(format!("no URL can be made of that: {err}")))?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let bounds = Bounds { deadline, body_bytes_max: BODY_BYTES_MAX, cut: false };
        let sent = self.outbound.exchange(Request { method, url, headers, body }, bounds).await;
        let outbound::Answer { status, headers, body } = sent.map_err(|err| unreachable(&err, &self.base))?;
        Ok(Answer { status, headers, body, base: self.base.clone() })
    }

    /// Whether the URL leads elsewhere, and where it should lead. `None`: it is right.
    async fn astray(&self) -> Option<Failure> {
        if self.is_tracker(&self.base).await {
            return None;
        }
        let root = Url::parse(&self.base).ok()?;
        let guess = root.join("/api").ok()?;
        let text = if self.is_tracker(guess.as_str()).await {
            format!("there is no API at {}, but there is one at {guess}: use that as --url or TRACKER_URL", self.base)
        } else {
            format!(
                "what answers at {} is not Tracker: --url or TRACKER_URL must lead to its API, like http://127.0.0.1:3001/api",
                self.base
            )
        };
        Some(Failure::new(Exit::Unreachable, text))
    }

    /// Asked without credentials: it may be a stranger.
    async fn is_tracker(&self, base: &str) -> bool {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        let answer = self.exchange(Method::GET, base, &vec![], headers, Bytes::new(), DEADLINE).await;
        let entry = answer.ok().and_then(|answer| serde_json::from_slice::<serde_json::Value>(&answer.body).ok());
        entry.is_some_and(|entry| entry["api"]["tracker"].is_string())
    }
}

impl Answer {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|_| {
            let text =
                format!("what answers at {} is not Tracker, or a version of it that this one does not know", self.base);
            Failure::new(Exit::Unreachable, text)
        })
    }

    /// `Tracker-Seq`: the answer includes everything up to there.
    pub(super) fn seq(&self) -> Option<u64> {
        number(&self.headers, "tracker-seq")
    }

    /// How long the body is, also of an answer that comes without it. Bytes.
    pub(super) fn length(&self) -> Option<u64> {
        number(&self.headers, "content-length")
    }

    /// The question that the rest is an answer to. Of the link only the query is taken: credentials go nowhere but where the
    /// user sent them.
    pub(super) fn next(&self) -> Option<Vec<(String, String)>> {
        let link = self.headers.get(LINK)?.to_str().ok()?;
        next(link)
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

fn next(link: &str) -> Option<Vec<(String, String)>> {
    let (url, rest) = link.strip_prefix('<')?.split_once('>')?;
    let query = url.split_once('?').map_or("", |(_, query)| query);
    rest.contains("rel=\"next\"").then(|| form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

fn unreachable(err: &outbound::Error, base: &str) -> Failure {
    if let outbound::Error::TooLong(_) = err {
        return Failure::failed(format!("{base}: {err}; ask for less with --limit"));
    }
    let text = format!(
        "{base} cannot be reached: {err}. Does `tracker serve` run there? Name another place with --url or TRACKER_URL"
    );
    Failure::new(Exit::Unreachable, text).passing()
}

/// Why an answer is none, by its status and its own words.
fn refusal(status: StatusCode, body: &[u8], ours: bool, base: &str) -> Failure {
    let document: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let said = document["message"].as_str().map(harmless).unwrap_or_else(|| format!("the answer was {status}"));
    let failure = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let text = format!(
                "not authorized ({said}): the cloud's own user and password must be in TRACKER_USER and TRACKER_PASSWORD, or in a file named with --credentials"
            );
            Failure::new(Exit::Unauthorized, text)
        }
        StatusCode::NOT_FOUND => Failure::new(Exit::NotFound, said),
        _ if !ours => Failure::failed(format!("something in front of {base} answered {status}")),
        StatusCode::METHOD_NOT_ALLOWED => Failure::failed(format!("{said}: this cannot be done there")),
        _ => Failure::failed(said),
    };
    if status.is_server_error() { failure.passing() } else { failure }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_made_of_url_driver_and_provider() {
        let check = |url: &str, driver: Option<&str>, provider: Option<&str>, expected: &str| {
            assert_eq!(base(url, driver, provider).unwrap(), expected);
        };
        check("http://h:3001/api", None, None, "http://h:3001/api");
        check("https://h/api/", Some("ec2"), Some("us-east-1"), "https://h/api;driver=ec2;provider=us-east-1");
        check("http://h/api;driver=mock", None, Some("a/b"), "http://h/api;driver=mock;provider=a%2Fb");
        check("http://h:3001", None, None, "http://h:3001");
    }

    #[test]
    fn a_url_that_is_none_is_told_what_would_be_right() {
        let check = |url: &str, expected: &str| {
            let failure = base(url, None, None).unwrap_err();
            let text = failure.text().unwrap();
            assert!(failure.exit() == Exit::Usage && text.contains(expected) && !text.contains("hush"), "{text}");
        };
        check("h:3001/api", "http://127.0.0.1:3001/api");
        check("ftp://h/api", "http://");
        check("", "--url is no URL");
        check("http://h/api?x=hush", "neither");
        check("http://me:hush@h/api", "TRACKER_PASSWORD");
        check("http://hush@h/api", "--credentials");
    }

    #[test]
    fn statuses_become_exit_codes() {
        let check = |status: u16, ours: bool, exit: Exit, passing: bool| {
            let body = br#"{"code":1,"message":"so it is"}"#;
            let failure = refusal(StatusCode::from_u16(status).unwrap(), body, ours, "http://h/api");
            assert_eq!((failure.exit(), failure.is_passing()), (exit, passing), "{status}");
        };
        check(400, true, Exit::Failed, false);
        check(401, true, Exit::Unauthorized, false);
        check(403, true, Exit::Unauthorized, false);
        check(404, true, Exit::NotFound, false);
        check(405, true, Exit::Failed, false);
        check(410, true, Exit::Failed, false);
        check(500, true, Exit::Failed, true);
        check(502, false, Exit::Failed, true);
    }

    #[test]
    fn of_a_link_the_query_is_taken() {
        let pairs = |list: &[(&str, &str)]| {
            Some(list.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
        };
        let check = |link: &str, expected| assert_eq!(next(link), expected, "{link}");
        check(
            "<https://elsewhere/api/hooks?limit=2&after=h%201>; rel=\"next\"",
            pairs(&[("limit", "2"), ("after", "h 1")]),
        );
        check("<https://h/api/hooks?limit=2>; rel=\"prev\"", None);
        check("nonsense", None);
    }
}
