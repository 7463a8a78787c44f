//! One call of an upstream's API.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use url::Url;
use zeroize::Zeroizing;

use super::document::{Malformed, Node};
use super::fault::{self, Asking, Said};
use super::provider::Provider;
use super::{Settings, provider};
use crate::clock::Clock;
use crate::drivers::line::Line;
use crate::drivers::pace::Budget;
use crate::drivers::{Error, Kind, reading};
use crate::model::{Credentials, ExposeSecret as _, Login};
use crate::outbound::{self, Outbound, Request};

const DRIVER: HeaderName = HeaderName::from_static("x-deltacloud-driver");
const PROVIDER: HeaderName = HeaderName::from_static("x-deltacloud-provider");

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
pub(super) const XML: HeaderValue = HeaderValue::from_static("application/xml");
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What stands for itself in a path. A `;` does not: servers read what follows it as parameters.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Where a call goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    provider: Provider,
    /// It is the upstream of the settings, which may lie in any network.
    by_operator: bool,
}

impl Target {
    /// Of what is below the API's root.
    pub(super) fn at(&self, path: &[&str]) -> Url {
        let mut url = self.provider.root.clone();
        let rest: String =
            path.iter().map(|part| format!("/{}", utf8_percent_encode(part, SEGMENT))).collect::<Vec<_>>().concat();
        url.set_path(&format!("{}{rest}", url.path()));
        url
    }

    /// Where a link leads; `None`: to another server, or elsewhere on this one than below the API's root. Credentials are
    /// not taken there.
    pub(super) fn below(&self, href: &str) -> Option<Url> {
        let root = &self.provider.root;
        let url = root.join(href).ok()?;
        let plain = url.username().is_empty() && url.password().is_none();
        let below = url.path().strip_prefix(root.path()).is_some_and(|rest| rest.starts_with('/'));
        (plain && below && url.origin() == root.origin()).then_some(url)
    }

    fn host(&self) -> &str {
        self.provider.root.authority()
    }
}

/// The parameters of a call, in order. Empty ones are not sent: they mean "not given".
#[derive(Default)]
pub(super) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    pub(super) fn with(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.0.push((name.into(), Zeroizing::new(value.to_string())));
        self
    }

    pub(super) fn with_some(self, name: impl Into<String>, value: Option<&str>) -> Self {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(super) fn encoded(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| (name, value.as_str()));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    }
}

/// What is asked.
pub(super) struct Question<'a> {
    /// For people: `GET instances`.
    pub(super) what: &'a str,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) form: Option<Form>,
    pub(super) accept: HeaderValue,
}

impl<'a> Question<'a> {
    pub(super) fn get(what: &'a str, url: Url) -> Self {
        Self { what, method: Method::GET, url, form: None, accept: XML }
    }

    pub(super) fn post(what: &'a str, url: Url, form: Form) -> Self {
        Self { what, method: Method::POST, url, form: Some(form), accept: XML }
    }

    pub(super) fn delete(what: &'a str, url: Url) -> Self {
        Self { what, method: Method::DELETE, url, form: None, accept: XML }
    }
}

/// An answer that is no failure so far: a success, or a redirect to below the API's root.
pub(super) struct Answer {
    /// For errors: what was asked and where.
    at: String,
    pub(super) status: StatusCode,
    /// Where it leads, below the API's root.
    pub(super) location: Option<Url>,
    document: Result<Node, Malformed>,
    body: Bytes,
}

impl Answer {
    /// # Errors
    /// [`Kind::Unavailable`]: it is not what it should be.
    pub(super) fn read<T>(self, read: impl FnOnce(Node) -> Result<T, Malformed>) -> Result<T, Error> {
        fits(&self.at, self.status, self.document.and_then(read))
    }

    /// As [`Answer::read`], of what is no XML.
    pub(super) fn read_body<T>(self, read: impl FnOnce(&[u8]) -> Result<T, Malformed>) -> Result<T, Error> {
        fits(&self.at, self.status, read(&self.body))
    }

    /// An order was carried out: Deltacloud's ways to say so are 202 or 204 without a word, a document of the kind, and a
    /// redirect to below its root. Everything else (a page that asks to sign in, say) is not its word.
    ///
    /// # Errors
    /// [`Kind::Unavailable`]
    pub(super) fn done(&self, documents: &[&str]) -> Result<(), Error> {
        let silent = matches!(self.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) && self.body.is_empty();
        if silent || (self.status.is_redirection() && self.location.is_some()) {
            return Ok(());
        }
        let why = match &self.document {
            Ok(document) if documents.iter().any(|name| document.is(name)) => return Ok(()),
            Ok(_) => "the answer is another document than Deltacloud's".to_owned(),
            Err(malformed) => malformed.to_string(),
        };
        Err(unfit(&self.at, self.status, &why))
    }
}

fn fits<T>(at: &str, status: StatusCode, read: Result<T, Malformed>) -> Result<T, Error> {
    if status.is_redirection() {
        return Err(unfit(at, status, "it leads elsewhere"));
    }
    read.map_err(|malformed| unfit(at, status, &malformed.to_string()))
}

fn unfit(at: &str, status: StatusCode, why: &str) -> Error {
    Error::new(Kind::Unavailable, format!("{at}: {why} (status {})", status.as_u16()))
}

pub(super) struct Client {
    line: Line,
    clock: Arc<dyn Clock>,
    default: Option<Url>,
}

impl Client {
    pub(super) fn new(settings: &Settings, outbound: Outbound, clock: Arc<dyn Clock>, budget: Budget) -> Self {
        let line = Line::new(outbound, budget, settings.timeout_ms, settings.body_bytes_max);
        Self { line, clock, default: settings.url.clone() }
    }

    pub(super) fn provider(&self, given: Option<&str>) -> Result<Provider, Error> {
        provider::parse(given, self.default.as_ref())
    }

    pub(super) fn target(&self, login: &Login) -> Result<Target, Error> {
        let provider = self.provider(login.provider.as_deref())?;
        // Also when a client writes the operator's URL out, as hrefs in changes have it.
        let by_operator = self.default.as_ref() == Some(&provider.root);
        Ok(Target { provider, by_operator })
    }

    /// Asks; a look of ours a few times. Every error names what was asked and where. `credentials`: none to be let in as nobody.
    pub(super) async fn ask(
        &self,
        target: &Target,
        credentials: Option<&Credentials>,
        question: Question<'_>,
    ) -> Result<Answer, Failed> {
        let at = format!("{} at {}", question.what, target.host());
        let asking = if question.method == Method::GET { Asking::Look } else { Asking::Order };
        let basic = credentials.map(|credentials| basic(credentials).ok_or_else(|| nobody(&at))).transpose()?;
        let basic = basic.as_ref().map_or("", |basic| basic.as_str());
        let password = credentials.map_or("", |credentials| credentials.password.expose_secret());
        let headers = headers(target, &question, basic);
        let body = question.form.as_ref().map(Form::encoded).unwrap_or_default();
        let request = Request { method: question.method, url: question.url, headers, body: body.into() };

        let nobody = Credentials { user: String::new(), password: String::new().into() };
        let asker = credentials.unwrap_or(&nobody);
        let mut tries = self.line.tries(target.host(), asker, matches!(asking, Asking::Look));
        loop {
            let turn = tries.turn().await?;
            let outcome = self.once(target, &at, asking, request.clone(), &[basic, password]).await;
            let failed = outcome.as_ref().err().map(|failed| failed.error.kind);
            if !tries.again(turn, failed).await {
                return outcome;
            }
        }
    }

    async fn once(
        &self,
        target: &Target,
        at: &str,
        asking: Asking,
        request: Request,
        secrets: &[&str],
    ) -> Result<Answer, Failed> {
        let answer = self.line.exchange(target.by_operator, request).await;
        let answer = answer.map_err(|error| Error::new(Kind::from(&error), format!("{at}: {error}")))?;
        wrong_driver(at, target, &answer)?;

        let outbound::Answer { status, headers, body } = answer;
        let location = headers.get(LOCATION).and_then(|to| target.below(to.to_str().ok()?));
        let document = reading::apart(body.clone(), Node::parse).await;
        let said = document.as_ref().ok().and_then(fault::said);
        if said.is_none() && (status.is_success() || status.is_redirection() && location.is_some()) {
            return Ok(Answer { at: at.to_owned(), status, location, document, body });
        }
        let kind = fault::kind(asking, status, said.as_ref(), &body, &headers, self.clock.now());
        let said = said.map(|Said { status, message }| {
            let message = fault::shown(&message, secrets);
            Said { status, message }
        });
        let number = status.as_u16();
        let text = match &said {
            Some(Said { status, message }) => format!("{at}: {message} (status {status})"),
            None if status.is_redirection() => {
                format!("{at}: status {number}, which leads away from the API at {}", target.provider.root)
            }
            None => format!("{at}: status {number}, and not in Deltacloud's words"),
        };
        Err(Failed { error: Error::new(kind, text), status: Some(status), said })
    }
}

/// A call that came to nothing.
pub(super) struct Failed {
    pub(super) error: Error,
    /// `None`: there was no answer, or none that is worth reading.
    pub(super) status: Option<StatusCode>,
    /// In Deltacloud's words, fit to be shown.
    pub(super) said: Option<Said>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, status: None, said: None }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

fn nobody(at: &str) -> Error {
    Error::new(Kind::Denied, format!("{at}: no user's name is empty or has a colon in it"))
}

/// `basic`: empty to be let in as nobody.
fn headers(target: &Target, question: &Question, basic: &str) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(ACCEPT, question.accept.clone())]);
    if !basic.is_empty() {
        headers.insert(AUTHORIZATION, sensitive(&format!("Basic {basic}")));
    }
    // On every request, as the reference forgets what the path says when it is sent a form.
    for (name, value) in [(DRIVER, &target.provider.driver), (PROVIDER, &target.provider.provider)] {
        if let Some(value) = value {
            headers.insert(name, HeaderValue::from_str(value).expect("checked when it was parsed"));
        }
    }
    if question.form.is_some() {
        headers.insert(CONTENT_TYPE, FORM);
    }
    headers
}

/// A server that does not know what was to be chosen runs its default: another cloud altogether.
fn wrong_driver(at: &str, target: &Target, answer: &outbound::Answer) -> Result<(), Error> {
    let Some(wanted) = &target.provider.driver else { return Ok(()) };
    match answer.headers.get(DRIVER).and_then(|echo| echo.to_str().ok()).map(str::trim) {
        Some(other) if !other.is_empty() && !other.eq_ignore_ascii_case(wanted) => {
            Err(Error::new(Kind::Unavailable, format!("{at}: asked for the driver {wanted}, another one answered")))
        }
        _ => Ok(()),
    }
}

/// `None`: it cannot be said in this form, in which the first colon ends the name.
fn basic(credentials: &Credentials) -> Option<Zeroizing<String>> {
    let Credentials { user, password } = credentials;
    if user.is_empty() || user.contains(':') {
        return None;
    }
    let plain = Zeroizing::new(format!("{user}:{}", password.expose_secret()));
    Some(Zeroizing::new(BASE64.encode(plain.as_bytes())))
}

fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).expect("Base64 has nothing that a header could not have");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(provider: &str) -> Target {
        Target { provider: provider::parse(Some(provider), None).expect("good"), by_operator: false }
    }

    #[test]
    fn an_id_stays_within_its_segment() {
        let target = target("https://h:3001/delta/api;driver=ec2");
        let check = |id: &str, path: &str| assert_eq!(target.at(&["instances", id]).as_str(), path, "{id}");
        check("i-7", "https://h:3001/delta/api/instances/i-7");
        check("us-east-1a:subnet_1", "https://h:3001/delta/api/instances/us-east-1a:subnet_1");
        check("a b/../c?d#e;f%2e", "https://h:3001/delta/api/instances/a%20b%2F..%2Fc%3Fd%23e%3Bf%252e");
    }

    #[test]
    fn a_link_is_followed_below_the_root_of_the_same_server_only() {
        let target = target("https://h/api;driver=ec2");
        let check = |href: &str, to: Option<&str>| {
            assert_eq!(target.below(href).as_ref().map(Url::as_str), to, "{href}");
        };
        check("https://h/api/instances/i-7/stop", Some("https://h/api/instances/i-7/stop"));
        check("https://h:443/api/instances/vm one/stop", Some("https://h/api/instances/vm%20one/stop"));
        check("/api/instances/i-7", Some("https://h/api/instances/i-7"));
        for elsewhere in [
            "http://h/api/instances/i-7/stop",
            "https://h:8443/api/instances/i-7/stop",
            "https://evil.example/api/instances/i-7/stop",
            "//evil.example/api/instances/i-7",
            "https://h/admin",
            "https://h/apiary/instances",
            "https://h/api/../admin",
            "https://h/api/%2e%2e/admin",
            "https://h/api",
            "https://user:pw@h/api/instances/i-7",
            "javascript:alert(1)",
            "",
        ] {
            check(elsewhere, None);
        }
    }

    #[test]
    fn credentials_are_said_in_the_one_form_there_is() {
        let said = |user: &str, password: &str| {
            basic(&Credentials { user: user.to_owned(), password: password.into() }).map(|basic| basic.to_string())
        };
        assert_eq!(said("mockuser", "mockpassword").as_deref(), Some("bW9ja3VzZXI6bW9ja3Bhc3N3b3Jk"));
        assert_eq!(said("a", "b:c").as_deref(), Some("YTpiOmM="));
        assert_eq!(said("a:b", "c"), None);
        assert_eq!(said("", ""), None);
    }

    #[test]
    fn empty_parameters_are_not_sent() {
        let form = Form::default().with("image_id", "img 1").with_some("name", Some("")).with_some("realm_id", None);
        assert_eq!(form.with_some("keyname", Some("k&k")).encoded(), "image_id=img+1&keyname=k%26k");
    }
}
