//! One call of one of a cloud's services: JSON out, JSON in, with a token of the login's.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::debug;
use url::Url;

use super::catalog::{self, Service};
use super::provider::{self, Provider};
use super::session::{self, Session, Sessions, Wanted};
use super::{Settings, blame, fault, who};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::drivers::line::Line;
use crate::drivers::pace::Budget;
use crate::drivers::{Error, Kind, owner, reading};
use crate::model::{Credentials, ExposeSecret as _, Login, Secret};
use crate::outbound::{self, Answer, Outbound, Request};

/// What is asked.
pub(super) struct Ask<'a> {
    pub(super) service: Service,
    pub(super) method: Method,
    /// Parts of the path behind the service's own; each is one part whatever is in it.
    pub(super) path: &'a [&'a str],
    pub(super) query: Vec<(&'static str, String)>,
    pub(super) body: Option<Value>,
    /// Nova's microversion, if a lower one than usual is meant.
    pub(super) nova_at_most: Option<u32>,
    /// It may be for others only: a 403 says so, also one in the words of a gateway before the service.
    pub(super) is_probe: bool,
}

impl<'a> Ask<'a> {
    pub(super) fn get(service: Service, path: &'a [&'a str]) -> Self {
        Self { service, method: Method::GET, path, query: Vec::new(), body: None, nova_at_most: None, is_probe: false }
    }

    pub(super) fn post(service: Service, path: &'a [&'a str], body: Value) -> Self {
        Self { method: Method::POST, body: Some(body), ..Self::get(service, path) }
    }

    pub(super) fn delete(service: Service, path: &'a [&'a str]) -> Self {
        Self { method: Method::DELETE, ..Self::get(service, path) }
    }

    pub(super) fn probe(service: Service, path: &'a [&'a str]) -> Self {
        Self { is_probe: true, ..Self::get(service, path) }
    }

    pub(super) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.query.push((name, value.to_string()));
        self
    }
}

pub(super) struct Client {
    settings: Settings,
    line: Line,
    clock: Arc<dyn Clock>,
    sessions: Sessions,
}

impl Client {
    pub(super) fn new(
        settings: &Settings,
        outbound: Outbound,
        clock: Arc<dyn Clock>,
        chance: &Chance,
        budget: Budget,
    ) -> Self {
        let line = Line::new(outbound, budget, settings.page_timeout_ms, settings.body_bytes_max);
        let sessions = Sessions::new(settings, chance);
        Self { settings: settings.clone(), line, clock, sessions }
    }

    /// A session of this login, of those that are wanted.
    pub(super) async fn session(&self, login: &Login, wanted: Wanted<'_>) -> Result<Arc<Session>, Error> {
        let provider = provider::parse(login.provider.as_deref(), &self.settings)?;
        self.session_at(&provider, login, wanted).await
    }

    async fn session_at(&self, at: &Provider, login: &Login, wanted: Wanted<'_>) -> Result<Arc<Session>, Error> {
        let slot = self.sessions.slot(at, &login.credentials);
        let ask = async || self.authenticate(at, login).await;
        let session = self.sessions.get(&slot, wanted, self.clock.now(), ask).await?;
        // A project that was made again under its name is another one, and so is a default project that was changed.
        owner::check(&session.project)?;
        Ok(session)
    }

    async fn authenticate(&self, provider: &Provider, login: &Login) -> Result<Session, Error> {
        let url = under(&provider.keystone, &["v3", "auth", "tokens"]);
        let what = format!("POST {}", place(&url));
        let domain = provider.domain(&self.settings);
        let body = who::request(&login.credentials, domain)?;
        let request = Request { method: Method::POST, url, headers: headers(), body: body.to_string().into() };
        let answer = self.exchange(provider, &login.credentials, request, &what, Named::ByCaller).await?;
        if answer.status != StatusCode::CREATED {
            let mut error = self.failed(&what, &answer, &[login.credentials.password.expose_secret()]);
            match answer.status {
                StatusCode::UNAUTHORIZED => {
                    let asked = who::asked(&login.credentials, domain);
                    error.text = format!("{}; asked as {asked}; the user is {}", error.text, who::WANTED);
                }
                StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                    let text = &error.text;
                    error.text =
                        format!("{text}: there is no Keystone v3 at {}; {DEVSTACKS}", place(&provider.keystone));
                }
                _ => {}
            }
            return Err(error);
        }
        let not_keystone = |why: &str| Error::new(Kind::Unavailable, format!("{what}: {why}"));
        let token = answer.headers.get(SUBJECT_TOKEN).and_then(|value| value.to_str().ok());
        let token = token.ok_or_else(|| not_keystone("an answer without a token"))?;
        if answer.body.len() > TOKEN_BYTES_MAX {
            return Err(not_keystone("a catalog that is longer than any"));
        }
        let issued: session::Issued = read(answer.body).await.map_err(|error| not_keystone(&error))?;
        let margin = Duration::from_millis(self.settings.token_margin_ms);
        let session = session::begin(Secret::from(token), issued.token, margin, self.clock.now())?;
        debug!(project = %session.project, "Keystone gave a token for a project");
        Ok(session)
    }

    /// Asks, and reads the answer.
    pub(super) async fn call<T: DeserializeOwned + Send + 'static>(
        &self,
        login: &Login,
        ask: Ask<'_>,
    ) -> Result<T, Error> {
        let what = ask.what();
        let answer = self.send(login, ask).await?;
        read(answer.body).await.map_err(|error| Error::new(Kind::Unavailable, format!("{what}: {error}")))
    }

    /// Asks until there is an answer to what was asked: once more with a new token, once more in a version that Nova speaks.
    /// A token is new for a service that refused the old one, or that was not where an old catalog has it.
    pub(super) async fn send(&self, login: &Login, ask: Ask<'_>) -> Result<Answer, Error> {
        let provider = provider::parse(login.provider.as_deref(), &self.settings)?;
        let mut session = self.session_at(&provider, login, Wanted::Any).await?;
        let (mut renewed, mut lowered) = (false, false);
        loop {
            let (answer, base) = match self.once(&provider, login, &session, &ask).await {
                Ok(answered) => answered,
                Err(Lost { error, missing: Some(missing) })
                    if !renewed && session.may_be_outdated(missing == Missing::Service, self.clock.now()) =>
                {
                    renewed = true;
                    session = match self.session_at(&provider, login, Wanted::Newer(&session)).await {
                        Ok(newer) => newer,
                        Err(refused) if matches!(refused.kind, Kind::Denied | Kind::Forbidden) => return Err(refused),
                        Err(_) => return Err(error),
                    };
                    continue;
                }
                Err(Lost { error, .. }) => return Err(error),
            };
            match answer.status {
                status if status.is_success() => return Ok(answer),
                StatusCode::UNAUTHORIZED if !renewed && !session.is_refused(&ask.what()) => {
                    renewed = true;
                    session = self.session_at(&provider, login, Wanted::Another(&session)).await?;
                }
                // Keystone gave this token, so the login is good; it is this service, or this call, that is not for it.
                StatusCode::UNAUTHORIZED => {
                    session.was_refused(ask.what());
                    let error = self.failed_of(&ask, &base, &answer, &session, login);
                    let text = format!(
                        "{}: Keystone accepts this login, {} does not: has the application credential access rules?",
                        error.text,
                        ask.service.as_str()
                    );
                    return Err(Error { kind: Kind::Forbidden, text, ..error });
                }
                StatusCode::NOT_ACCEPTABLE if ask.service == Service::Compute && !lowered => {
                    let Some((min, max)) = fault::parse(&answer.body).as_ref().and_then(fault::supported) else {
                        return Err(self.failed_of(&ask, &base, &answer, &session, login));
                    };
                    lowered = true;
                    session.nova_speaks(session::NOVA_WANTED.min(max).max(min));
                    debug!("Nova speaks 2.{min} to 2.{max}");
                }
                _ => return Err(self.failed_of(&ask, &base, &answer, &session, login)),
            }
        }
    }

    async fn once(
        &self,
        provider: &Provider,
        login: &Login,
        session: &Session,
        ask: &Ask<'_>,
    ) -> Result<(Answer, Url), Lost> {
        let region = provider.region.as_deref();
        let interface = provider.interface(&self.settings);
        let base = catalog::endpoint(&session.catalog, ask.service, region, interface, &session.project);
        let base = base.map_err(|error| {
            let missing = match error.kind {
                Kind::Unsupported => Some(Missing::Service),
                Kind::Invalid => Some(Missing::Place),
                _ => None,
            };
            Lost { error, missing }
        })?;
        let mut url = under(&base, ask.path);
        if !ask.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&ask.query);
        }
        let mut headers = headers();
        let mut token = HeaderValue::from_str(session.token.expose_secret())
            .map_err(|_| Lost::from(Error::new(Kind::Unavailable, "Keystone's token fits into no header")))?;
        token.set_sensitive(true);
        headers.insert(TOKEN, token);
        if ask.service == Service::Compute {
            let minor = session.nova(ask.nova_at_most);
            let version = |text: String| HeaderValue::from_str(&text).expect("digits fit into a header");
            headers.insert(VERSION, version(format!("compute 2.{minor}")));
            // For clouds from before the header above.
            headers.insert(NOVA_VERSION, version(format!("2.{minor}")));
        }
        let body = ask.body.as_ref().map(Value::to_string).unwrap_or_default().into();
        let what = format!("{} at {}", ask.what(), place(&base));
        let request = Request { method: ask.method.clone(), url, headers, body };
        Ok((self.exchange(provider, &login.credentials, request, &what, Named::ByCatalog).await?, base))
    }

    async fn exchange(
        &self,
        provider: &Provider,
        credentials: &Credentials,
        request: Request,
        what: &str,
        named: Named,
    ) -> Result<Answer, Lost> {
        let changes_nothing = request.method == Method::GET;
        let mut tries = self.line.tries(&provider.canonical(), credentials, changes_nothing);
        loop {
            let turn = tries.turn().await?;
            let answer = self.line.exchange(provider.by_operator, request.clone()).await.map_err(|error| {
                let mut text = format!("{what}, for provider {}: {error}", provider.canonical());
                if matches!(error, outbound::Error::Refused(_)) {
                    text.push_str(named.refused());
                }
                let no_way = matches!(error, outbound::Error::Connect(_) | outbound::Error::Resolve(_));
                Lost { error: Error::new(Kind::from(&error), text), missing: no_way.then_some(Missing::Place) }
            });
            let failed = match &answer {
                Ok(answer) if answer.status.is_client_error() || answer.status.is_server_error() => {
                    Some(self.kind(answer, fault::parse(&answer.body).as_ref()))
                }
                Ok(_) => None,
                Err(lost) => Some(lost.error.kind),
            };
            if !tries.again(turn, failed).await {
                return answer;
            }
        }
    }

    /// `base`: the service's.
    fn failed_of(&self, ask: &Ask<'_>, base: &Url, answer: &Answer, session: &Session, login: &Login) -> Error {
        let secrets = [login.credentials.password.expose_secret(), session.token.expose_secret()];
        let mut error = self.failed(&format!("{} at {}", ask.what(), place(base)), answer, &secrets);
        if ask.is_probe && answer.status == StatusCode::FORBIDDEN {
            error.kind = Kind::Forbidden;
        }
        let is_launch = ask.method == Method::POST && ask.path == ["servers"];
        let said = is_launch.then(|| fault::parse(&answer.body)).flatten();
        error.blaming(blame::of_launch(answer.status, said.as_ref()))
    }

    fn kind(&self, answer: &Answer, said: Option<&fault::Fault>) -> Kind {
        fault::kind(answer.status, said, &answer.headers, self.clock.now())
    }

    fn failed(&self, what: &str, answer: &Answer, secrets: &[&str]) -> Error {
        let said = fault::parse(&answer.body);
        let kind = self.kind(answer, said.as_ref());
        let status = answer.status.as_u16();
        let text = said.as_ref().map_or_else(
            || format!("{what}: status {status}, and not in OpenStack's words"),
            |said| format!("{what}: {} (status {status})", fault::shown(said, secrets)),
        );
        let leads = answer.headers.get(LOCATION).filter(|_| answer.status.is_redirection());
        let leads = leads.and_then(|url| Url::parse(url.to_str().ok()?).ok()?.host_str().map(str::to_owned));
        Error::new(kind, leads.map_or(text.clone(), |host| format!("{text}; it leads on to {host}")))
    }
}

/// A call without an answer.
struct Lost {
    error: Error,
    /// What another catalog may have.
    missing: Option<Missing>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// The catalog has no such service.
    Service,
    /// It has one elsewhere, or where nobody answers.
    Place,
}

impl From<Error> for Lost {
    fn from(error: Error) -> Self {
        Self { error, missing: None }
    }
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        lost.error
    }
}

/// Where an address comes from.
#[derive(Clone, Copy)]
enum Named {
    ByCaller,
    ByCatalog,
}

impl Named {
    /// What can be done where we may not call it.
    fn refused(self) -> &'static str {
        match self {
            Self::ByCaller => {
                "; the operator of this Tracker can list its network in drivers.allow_networks, or name this cloud in \
                 drivers.openstack.auth_url"
            }
            Self::ByCatalog => {
                "; the address is that of the cloud's catalog; the operator of this Tracker can list its network in \
                 drivers.allow_networks, or name this cloud in drivers.openstack.auth_url"
            }
        }
    }
}

/// Host and path.
fn place(url: &Url) -> String {
    format!("{}{}", url.authority(), url.path().trim_end_matches('/'))
}

const DEVSTACKS: &str = "devstack has it at http://IP/identity";

impl Ask<'_> {
    /// `GET compute/servers`: for errors. Ids are left out, as somebody may put anything there.
    fn what(&self) -> String {
        let words =
            self.path.iter().filter(|part| part.bytes().all(|byte| byte.is_ascii_lowercase() || b"-_".contains(&byte)));
        let words: Vec<&str> = words.copied().collect();
        format!("{} {}/{}", self.method, self.service.as_str(), words.join("/"))
    }
}

const TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
const SUBJECT_TOKEN: HeaderName = HeaderName::from_static("x-subject-token");
const VERSION: HeaderName = HeaderName::from_static("openstack-api-version");
const NOVA_VERSION: HeaderName = HeaderName::from_static("x-openstack-nova-api-version");

fn headers() -> HeaderMap {
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(ACCEPT, json.clone()), (CONTENT_TYPE, json)])
}

fn under(base: &Url, parts: &[&str]) -> Url {
    let mut url = base.clone();
    url.path_segments_mut().expect("http has a path").pop_if_empty().extend(parts);
    url
}

/// Bytes of Keystone's answer: its catalog is kept with the token.
const TOKEN_BYTES_MAX: usize = 1024 * 1024;

/// The answer to [`Client::send`].
pub(super) async fn read<T: DeserializeOwned + Send + 'static>(body: Bytes) -> Result<T, String> {
    reading::apart(body, parse).await
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if !reading::is_json_within_bounds(body) {
        return Err("more in it than in any answer".to_owned());
    }
    // serde's own text may quote what it read.
    serde_json::from_slice(body).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => "not what OpenStack answers to that".to_owned(),
        _ => "no JSON, or cut short".to_owned(),
    })
}
