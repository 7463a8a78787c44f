//! One request, understood: everything a handler may ask about it, and how it answers.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use tracing::warn;

use super::Api;
use super::auth;
use super::collection::Collected;
use super::error::{Fault, Problem};
use super::negotiate::Format;
use super::params::Params;
use super::receipt::Wire;
use super::render::{Base, Document, Member, render};
use super::target;
use crate::drivers::{self, Driver, Kind};
use crate::model::{Account, AccountId, AccountKey, Action, Collection, Credentials, DriverId, Login};
use crate::reads::Owner;
use crate::store;
use crate::track::Caller;

/// A request after the outermost layer: matrix, headers, query and form are read, the driver exists.
#[derive(Clone)]
pub(super) struct Call(Arc<Inner>);

pub(super) struct Inner {
    pub(super) api: Arc<Api>,
    pub(super) driver: Arc<dyn Driver>,
    /// As the client wrote it; `None`: the driver's default.
    pub(super) provider: Option<String>,
    /// `http://localhost:3001`
    pub(super) origin: String,
    /// `http://localhost:3001/api`, and the matrix if the request used one.
    pub(super) base: String,
    pub(super) params: Params,
    /// Only the head of the answer is wanted.
    pub(super) head: bool,
    pub(super) format: Format,
    pub(super) authorization: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) peer: Option<IpAddr>,
    /// `None` outside of [`super::serve`].
    pub(super) wire: Option<Wire>,
    pub(super) backend: BackendTime,
}

/// How long a request waited for the backend, all its calls together.
#[derive(Default)]
pub(super) struct BackendTime {
    calls: AtomicU32,
    micros: AtomicU64,
}

impl BackendTime {
    fn add(&self, from: Timestamp, to: Timestamp) {
        // A clock that jumped back measures nothing.
        let micros = u64::try_from(to.duration_since(from).as_micros()).unwrap_or(0);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// `None`: it was not asked.
    pub(super) fn spent(&self) -> Option<Duration> {
        let asked = self.calls.load(Ordering::Relaxed) > 0;
        asked.then(|| Duration::from_micros(self.micros.load(Ordering::Relaxed)))
    }
}

impl Deref for Call {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl From<Inner> for Call {
    fn from(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().expect("the outermost layer puts the call in").clone())
    }
}

impl Inner {
    pub(super) fn driver_id(&self) -> DriverId {
        DriverId::new(self.driver.abilities().id)
    }

    pub(super) fn base(&self) -> Base<'_> {
        Base(&self.base)
    }

    /// 501 for a collection that this kind of cloud does not have.
    pub(super) fn needs(&self, collection: &str) -> Result<(), Fault> {
        let abilities = self.driver.abilities();
        if abilities.collections.contains(&collection) {
            return Ok(());
        }
        Err(Fault::new(Problem::Unsupported, format!("The driver {} has no {collection}", abilities.id)))
    }

    /// What the client shows to the backend; whether it is any good only the backend can say.
    pub(super) fn login(&self) -> Result<Login, Fault> {
        let credentials = self.authorization.as_ref().and_then(auth::basic);
        Ok(self.login_as(credentials.ok_or_else(|| Fault::of(Problem::Unauthorized))?))
    }

    /// For what can be had without credentials, and is the same for everybody.
    pub(super) fn nobody(&self) -> Login {
        self.login_as(Credentials { user: String::new(), password: "".into() })
    }

    fn login_as(&self, credentials: Credentials) -> Login {
        Login { driver: self.driver_id(), provider: self.provider.clone(), credentials }
    }

    /// The provider's canonical name, for keys.
    pub(super) fn provider_name(&self) -> Result<String, Fault> {
        Ok(self.driver.provider(self.provider.as_deref())?)
    }

    /// A login that may be shown to the backend: not one of too many guesses, and not one that it has just refused.
    pub(super) async fn visitor(&self) -> Result<Login, Fault> {
        let login = self.login()?;
        self.provider_name()?;
        if self.api.logins.is_guessing(&login, self.peer) && !self.is_vouched_for(&login).await {
            let text = "Too many different wrong passwords; try again later";
            return Err(Fault::new(Problem::Unauthorized, text));
        }
        let refused_for = self.api.logins.refused_for(self.api.logins.digest(&login), self.api.clock.now());
        if let Some(wait) = refused_for {
            let text = "The backend refused these credentials a moment ago, and is not asked again at once";
            return Err(Fault { retry_after: Some(wait), ..Fault::new(Problem::Unauthorized, text) });
        }
        Ok(login)
    }

    async fn is_vouched_for(&self, login: &Login) -> bool {
        let (logins, now) = (&self.api.logins, self.api.clock.now());
        let digest = logins.digest(login);
        logins.identity(digest, now).is_some()
            || logins.is_vouched(digest, now)
            || self.stored_account(login).await.is_some()
    }

    /// Someone the backend vouches for; while it cannot be asked, the store vouches for the credentials that it keeps.
    pub(super) async fn caller(&self) -> Result<Caller, Fault> {
        let login = self.visitor().await?;
        let logins = &self.api.logins;
        let digest = logins.digest(&login);
        let provider = self.provider_name()?;
        let known = logins.identity(digest, self.api.clock.now()).map(|identity| identity.to_string());
        let identity = match known {
            Some(identity) => identity,
            None => match self.ask(&login, self.driver.identify(&login)).await {
                Ok(identity) => {
                    logins.remember(digest, &identity, self.api.clock.now());
                    identity
                }
                Err(err) if says_nothing(err.kind) => match self.stored_account(&login).await {
                    Some(account) => return Ok(Caller { login, key: account.key }),
                    None => return Err(err.into()),
                },
                Err(err) => return Err(err.into()),
            },
        };
        let key = AccountKey { driver: login.driver.clone(), provider, identity };
        Ok(Caller { login, key })
    }

    /// Awaits a call to the backend, and takes note of what it thinks of the credentials.
    pub(super) async fn ask<T>(
        &self,
        login: &Login,
        call: impl Future<Output = Result<T, drivers::Error>>,
    ) -> Result<T, drivers::Error> {
        let (asked_at, digest) = (self.api.clock.now(), self.api.logins.digest(login));
        let answer = call.await;
        let now = self.api.clock.now();
        self.backend.add(asked_at, now);
        match &answer {
            Ok(_) => {
                self.api.logins.accepted(login, self.peer, now);
                self.heard(login).await;
            }
            Err(drivers::Error { kind: Kind::Denied, .. }) => {
                self.api.logins.refused(login, self.peer, now);
                self.api.reads.refused(&digest.0);
            }
            Err(_) => {}
        }
        answer
    }

    /// The backend has just answered this login well. If its account is looked at no more because its credentials are refused, that
    /// is over.
    async fn heard(&self, login: &Login) {
        let key = match self.owner(login).await {
            Owner::Known(key) => key,
            Owner::Unknown { .. } if self.api.tracking.is_any_refused() => match self.named(login).await {
                Some(key) => key,
                None => return,
            },
            Owner::Unknown { .. } => return,
        };
        if let Err(err) = self.api.tracking.heard(&key, login, self.driver.as_ref()).await {
            warn!("An account that was refused is not looked at again yet: {err}");
        }
    }

    /// Whose login it is, if the backend says so now.
    async fn named(&self, login: &Login) -> Option<AccountKey> {
        let (logins, now) = (&self.api.logins, self.api.clock.now());
        let digest = logins.digest(login);
        let provider = self.provider_name().ok().filter(|_| !logins.is_nameless(digest, now))?;
        match self.driver.identify(login).await {
            Ok(identity) => {
                logins.remember(digest, &identity, now);
                Some(AccountKey { driver: login.driver.clone(), provider, identity })
            }
            Err(_) => {
                logins.note_nameless(digest, now);
                None
            }
        }
    }

    /// Whoever tracks this is to expect what comes of it. `action`: on an instance; `None` for anything else.
    pub(super) async fn expect(&self, login: &Login, collection: Collection, id: &str, action: Option<Action>) {
        // A store that fails makes it heard of a little later.
        if let Ok(Some(account)) = self.account_id(login).await {
            self.api.tracking.expect(account, collection, id, action, self.driver.abilities().machine);
        }
    }

    /// Asks the backend to change something. Whatever comes of it, and also when nobody waits for it any more, it may have
    /// been done: what was read before is out of date (of `member`, if it is about one, for good), and whoever tracks
    /// something in `collections` hears of it soon.
    pub(super) async fn change<T>(
        &self,
        login: &Login,
        member: Option<(&'static str, &str)>,
        collections: &[Collection],
        call: impl Future<Output = Result<T, drivers::Error>>,
    ) -> Result<T, drivers::Error> {
        let tracked = member.and_then(|(collection, id)| Some((Collection::parse(collection)?, id)));
        // Of an instance it matters what is asked.
        if let Some((collection, id)) = tracked.filter(|(collection, _)| *collection != Collection::Instances) {
            self.expect(login, collection, id, None).await;
        }
        let doubt = Doubt { call: self, login, owner: self.owner(login).await, member };
        let answer = self.ask(login, call).await;
        drop(doubt);
        for collection in collections {
            self.touched(login, *collection).await;
        }
        answer
    }

    /// The account that the store keeps with exactly these credentials. A store that fails counts as not knowing.
    pub(super) async fn stored_account(&self, login: &Login) -> Option<Account> {
        let provider = self.provider_name().ok()?;
        if self.api.logins.is_revoked(self.api.logins.digest(login)) {
            return None;
        }
        self.api.store.account_by_login(login, &provider).await.unwrap_or_else(|err| {
            warn!("The store was asked for an account and failed: {err}");
            None
        })
    }

    /// Whose login it is, as the backend or the store ever said. For what is kept of the account, not to let anybody in.
    pub(super) async fn owner(&self, login: &Login) -> Owner {
        let provider = self.provider_name().unwrap_or_default();
        let digest = self.api.logins.digest(login);
        if let Some(identity) = self.api.logins.owner(digest) {
            return Owner::Known(AccountKey { driver: login.driver.clone(), provider, identity: identity.to_string() });
        }
        match self.stored_account(login).await {
            Some(account) => {
                self.api.logins.remember_owner(digest, &account.key.identity);
                Owner::Known(account.key)
            }
            None => Owner::Unknown { driver: login.driver.to_string(), provider },
        }
    }

    /// The account behind a login, if anything was ever tracked in it.
    ///
    /// # Errors
    /// The store's.
    pub(super) async fn account_id(&self, login: &Login) -> Result<Option<AccountId>, store::Error> {
        match self.owner(login).await {
            Owner::Known(key) => self.api.store.find_account(&key).await,
            Owner::Unknown { .. } => Ok(None),
        }
    }

    /// What hrefs in callbacks begin with, where no request says which driver is meant.
    pub(super) fn callback_base(&self, provider: &str) -> String {
        format!("{}/api{}", self.origin, target::matrix(Some(self.driver.abilities().id), Some(provider)))
    }

    pub(super) fn answer(&self, status: StatusCode, document: &impl Document) -> Response {
        body(status, render(document, self.format), self.format)
    }

    /// 201 with where it is now.
    pub(super) fn created<T: Collected>(&self, new: &T) -> Response {
        let href = self.base().member(T::PLURAL, new.id());
        self.created_at(&href, &Member(T::SINGULAR, new.view(self.base(), None)))
    }

    pub(super) fn created_at(&self, href: &str, document: &impl Document) -> Response {
        let mut response = self.answer(StatusCode::CREATED, document);
        let location = HeaderValue::try_from(href).expect("hrefs are escaped and the host was checked");
        response.headers_mut().insert(header::LOCATION, location);
        response
    }

    /// What was read with this login, and by its account, is out of date.
    pub(super) async fn moved(&self, login: &Login) {
        let owner = self.owner(login).await;
        self.api.reads.moved(&self.api.logins.digest(login).0, &owner);
    }

    /// Something in the collection may just have been made, moved or ended: whoever tracks it hears at once. A store that
    /// fails does not fail the request: the next look comes by itself.
    async fn touched(&self, login: &Login, collection: Collection) {
        let looked = match self.account_id(login).await {
            Ok(Some(account)) => self.api.tracking.touched(account, collection).await,
            Ok(None) => Ok(()),
            Err(err) => Err(err),
        };
        if let Err(err) = looked {
            warn!("The look after an action waits for its turn: {err}");
        }
    }

    pub(super) fn ok(&self, document: &impl Document) -> Response {
        self.answer(StatusCode::OK, document)
    }
}

/// Something may have been done: what was read before is out of date once this is dropped.
struct Doubt<'a> {
    call: &'a Inner,
    login: &'a Login,
    owner: Owner,
    member: Option<(&'static str, &'a str)>,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        let api = &self.call.api;
        let digest = api.logins.digest(self.login).0;
        api.reads.moved(&digest, &self.owner);
        if let Some((collection, id)) = self.member {
            api.reads.touched(&self.owner, &digest, collection, id, api.clock.now());
        }
    }
}

/// A failure of the backend's own, which says nothing about any resource, nor about who asks.
pub(super) fn says_nothing(kind: Kind) -> bool {
    match kind {
        Kind::Unavailable | Kind::TimedOut | Kind::Throttled { .. } | Kind::Busy | Kind::Failed => true,
        Kind::Denied | Kind::Forbidden | Kind::NotFound | Kind::Unsupported | Kind::Invalid | Kind::Conflict => false,
    }
}

/// A body, and its digest in hex, as caches and suites expect.
#[derive(Clone, Debug)]
pub(super) struct Rendered {
    bytes: Bytes,
    tag: HeaderValue,
}

impl Rendered {
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        let tag = HeaderValue::try_from(hex(&Md5::digest(&bytes))).expect("hex digits make a header");
        Self { bytes: bytes.into(), tag }
    }

    pub(super) fn response(self, status: StatusCode, format: Format) -> Response {
        let mut response = bare(status, self.bytes, format);
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.tag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=0, private, must-revalidate"));
        response
    }
}

/// A body with its type; 200 and 201 also with its digest.
pub(super) fn body(status: StatusCode, bytes: Vec<u8>, format: Format) -> Response {
    if matches!(status, StatusCode::OK | StatusCode::CREATED) {
        return Rendered::new(bytes).response(status, format);
    }
    bare(status, bytes.into(), format)
}

fn bare(status: StatusCode, bytes: Bytes, format: Format) -> Response {
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    response
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
