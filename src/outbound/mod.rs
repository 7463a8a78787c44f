//! HTTP out: the only place where a client is made, for drivers and for deliveries.
//!
//! Guarantees: one deadline around connect, TLS, head *and* body; a bound on what is read; no redirects; no proxy but the
//! one that the operator set; no compression asked for; and the address is checked when connecting, after DNS, in every spelling.
//!
//! Accepted: a connection that is kept idle was checked when it was made, and is used again without looking the name up
//! anew. It leads where it led. Behind a forward proxy we judge what we can look up, and the proxy dials what it looks up.
//!
//! Absent on purpose: trying again. Only the caller knows whether a request may be sent twice.

mod error;
mod guard;
mod proxy;
mod resolve;
mod user;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode, redirect, retry};
use url::Url;

use proxy::Through;

pub use error::{Error, SetupError, UNKNOWN_AUTHORITY};
pub use guard::{Guard, Refused, TooWide};
pub use proxy::{BadProxy, Proxy, ProxyUrl};
pub use resolve::{Lookup, NoAddress, SystemLookup};
pub use user::split as split_user;

/// Idle connections are let go after this, which is less than most servers wait before they hang up: a request that
/// meets a connection on its way down fails for no good reason.
const IDLE_FOR: Duration = Duration::from_secs(20);

/// How one room goes out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Networks that may be dialled although they are private, loopback or otherwise special. `/0` is refused.
    pub allow_networks: Vec<IpNet>,
    /// For the TCP and TLS handshakes, inside the deadline of the whole exchange. A name must be resolved within half
    /// of it.
    pub connect_timeout: Duration,
    /// Idle connections kept for each host.
    pub idle_per_host: usize,
    pub user_agent: String,
    /// A file of certificates (PEM) of authorities that are believed besides those that this machine knows.
    pub ca_file: Option<PathBuf>,
}

/// A client with bounds. Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct Outbound {
    client: reqwest::Client,
    guard: Guard,
    settings: Settings,
    lookup: Arc<dyn Lookup>,
    through: Option<Arc<Through>>,
}

/// A request. A user part in the URL is sent as Basic credentials, not as part of the URL.
#[derive(Clone)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// How much of an answer is read.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// For the whole exchange, the answer's body included.
    pub deadline: Duration,
    pub body_bytes_max: usize,
    /// What it means when the head has come and the body is too long, too slow or broken. `true`: only the head matters,
    /// so keep what was read and let the connection go. `false`: an answer that is not whole is an error.
    pub cut: bool,
}

#[derive(Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Method and host: the rest may hold credentials.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.origin().ascii_serialization())
    }
}

/// Status and size: the rest may hold credentials.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {} bytes", self.status, self.body.len())
    }
}

impl Outbound {
    /// A client that asks the machine's own resolver.
    ///
    /// # Errors
    /// [`SetupError`] when `allow_networks` holds a `/0`, `ca_file` no certificates, or the machine gives no authorities.
    pub fn new(settings: &Settings) -> Result<Self, SetupError> {
        Self::with_lookup(settings, Arc::new(SystemLookup))
    }

    /// As [`Outbound::new`], with names resolved by `lookup`. The guard judges its answers all the same.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn with_lookup(settings: &Settings, lookup: Arc<dyn Lookup>) -> Result<Self, SetupError> {
        Self::guarded(settings, lookup, Guard::new(&settings.allow_networks)?)
    }

    /// As [`Outbound::with_lookup`], with every request going through a forward proxy: those to `http` in absolute form, the
    /// others in a tunnel. The proxy may lie in any network, and what goes wrong with it is [`Error::Ours`]. Targets are
    /// judged as far as we can see them; see `Through::judge` for what is left to the proxy.
    ///
    /// After a failure the proxy is asked about it, for at most half the connect time-out on top of the deadline.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn through(settings: &Settings, lookup: Arc<dyn Lookup>, proxy: Proxy) -> Result<Self, SetupError> {
        let guard = Guard::new(&settings.allow_networks)?;
        let patience = settings.connect_timeout / 2;
        // Names that the client looks up are the proxy's only.
        let resolver = resolve::GuardedResolver {
            lookup: lookup.clone(),
            guard: Guard::open(),
            patience,
            shown_as: Some("the proxy"),
        };
        let client = client(settings, resolver, Some(&proxy))?;
        let through = Some(Arc::new(Through::new(proxy, lookup.clone(), patience)));
        Ok(Self { client, guard, settings: settings.clone(), lookup, through })
    }

    /// A client of its own, without a proxy, for URLs that the operator wrote into the settings: they may lie in any network, while what
    /// others name stays guarded. Everything else is as here.
    ///
    /// # Errors
    /// As [`Outbound::new`].
    pub fn for_the_operator(&self) -> Result<Self, SetupError> {
        Self::guarded(&self.settings, self.lookup.clone(), Guard::open())
    }

    fn guarded(settings: &Settings, lookup: Arc<dyn Lookup>, guard: Guard) -> Result<Self, SetupError> {
        let patience = settings.connect_timeout / 2;
        let resolver =
            resolve::GuardedResolver { lookup: lookup.clone(), guard: guard.clone(), patience, shown_as: None };
        let client = client(settings, resolver, None)?;
        Ok(Self { client, guard, settings: settings.clone(), lookup, through: None })
    }

    /// What can be refused of a URL without asking DNS, so that it can be said when the URL is given. A URL that passes
    /// may still be refused when connecting.
    ///
    /// # Errors
    /// [`Refused`]
    pub fn check(&self, url: &Url) -> Result<(), Refused> {
        self.guard.check(url)
    }

    /// Sends a request and reads the answer, both within `bounds`.
    ///
    /// # Errors
    /// [`Error`], sorted by whose fault it is. Any status is an answer, not an error.
    pub async fn exchange(&self, request: Request, bounds: Bounds) -> Result<Answer, Error> {
        // The connector asks our resolver for names only; an address in the URL would pass it by.
        self.check(&request.url)?;
        let deadline = tokio::time::Instant::now() + bounds.deadline;
        let Some(through) = &self.through else { return self.meet(request, bounds, deadline).await };
        let url = request.url.clone();
        through.judge(&url, &self.guard).await?;
        let came = self.meet(request, bounds, deadline).await;
        through.blame(&url, came).await
    }

    async fn meet(&self, request: Request, bounds: Bounds, deadline: tokio::time::Instant) -> Result<Answer, Error> {
        let late = |_| Error::TimedOut(bounds.deadline);
        let Request { method, url, headers, body } = request;
        let sending = self.client.request(method, url).headers(headers).body(body).send();
        let response =
            tokio::time::timeout_at(deadline, sending).await.map_err(late)?.map_err(|err| self.sort(&err))?;

        let status = response.status();
        let headers = response.headers().clone();
        let mut read = BytesMut::new();
        let reading = self.read(response, bounds, &mut read);
        match tokio::time::timeout_at(deadline, reading).await.map_err(late).flatten() {
            Err(_) if bounds.cut => {}
            whole => whole?,
        }
        Ok(Answer { status, headers, body: read.freeze() })
    }

    /// Collects the body, at most its bound of it. Dropping the response half read drops the connection.
    async fn read(&self, mut response: reqwest::Response, bounds: Bounds, read: &mut BytesMut) -> Result<(), Error> {
        while let Some(chunk) = response.chunk().await.map_err(|err| self.sort(&err))? {
            let room = bounds.body_bytes_max - read.len();
            read.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                return Err(Error::TooLong(bounds.body_bytes_max));
            }
        }
        Ok(())
    }

    fn sort(&self, err: &reqwest::Error) -> Error {
        error::sort(err, self.settings.connect_timeout)
    }
}

fn client(
    settings: &Settings,
    resolver: resolve::GuardedResolver,
    proxy: Option<&Proxy>,
) -> Result<reqwest::Client, SetupError> {
    // Fails when a provider is set already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    #[expect(clippy::disallowed_methods, reason = "this is the one place that the lint points to")]
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .dns_resolver(Arc::new(resolver))
        .connect_timeout(settings.connect_timeout)
        .pool_max_idle_per_host(settings.idle_per_host)
        .pool_idle_timeout(IDLE_FOR)
        .user_agent(&settings.user_agent);
    if let Some(file) = &settings.ca_file {
        builder = builder.tls_certs_merge(authorities(file)?);
    }
    if let Some(proxy) = proxy {
        builder = builder.proxy(proxy.for_client()?);
    }
    builder.build().map_err(|err| SetupError::Client(reason(&err)))
}

/// Read when the client is made: it is the operator's, and small.
fn authorities(file: &Path) -> Result<Vec<reqwest::Certificate>, SetupError> {
    let bad = |why: String| SetupError::Authorities(file.display().to_string(), why);
    let pem = std::fs::read(file).map_err(|err| bad(err.to_string()))?;
    let found = reqwest::Certificate::from_pem_bundle(&pem).map_err(|err| bad(reason(&err)))?;
    if found.is_empty() { Err(bad("there is no certificate in it (PEM)".to_owned())) } else { Ok(found) }
}

/// The innermost cause, which is the one that tells something.
fn reason(err: &dyn std::error::Error) -> String {
    let mut innermost = err;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
