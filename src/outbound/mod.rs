//! HTTP out: the only place where a client is made, for drivers and for deliveries.
//!
//! Guarantees: one deadline around connect, TLS, head *and* body; a bound on what is read; no redirects; no proxy from the
//! environment; and the address is checked when connecting, after DNS, on every request, in every spelling.

mod guard;

use std::time::Duration;

use bytes::Bytes;
use ipnet::IpNet;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use url::Url;

pub use guard::{Guard, Refused};

/// How one room goes out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Networks that may be dialled although they are private, loopback or otherwise special. `/0` is refused.
    pub allow_networks: Vec<IpNet>,
    /// For the TCP and TLS handshakes, inside the deadline of the whole exchange.
    pub connect_timeout: Duration,
    /// Idle connections kept for each host.
    pub idle_per_host: usize,
    pub user_agent: String,
}

/// A client with bounds. Cheap to clone.
#[derive(Clone)]
pub struct Outbound {
    client: reqwest::Client,
    guard: Guard,
}

#[derive(Clone, Debug)]
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
    /// What a longer body means: cut it and let the connection go, or fail with [`Error::TooLong`].
    pub cut: bool,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer. Texts hold neither the URL's user part nor its query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The guard said no: nothing was sent.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The name has no address. Whose fault that is cannot be told from here.
    #[error("the name {0} could not be resolved")]
    Resolve(String),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no complete answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the answer was longer than {0} bytes")]
    TooLong(usize),
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// No sockets, no descriptors: our own fault.
    #[error("this machine cannot make connections now: {0}")]
    Ours(String),
}
