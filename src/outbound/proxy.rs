use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::resolve::look_up;
use super::{Answer, Error, Guard, Lookup, NoAddress, Refused, user};
use crate::model::{ExposeSecret as _, Secret};

/// The URL of a forward proxy as the operator wrote it, or nothing. It may hold a password, so it shows nothing of itself.
#[derive(Clone, Default, Deserialize)]
#[serde(from = "String")]
pub struct ProxyUrl(Option<Secret>);

/// Where a forward proxy listens, and who we are to it.
#[derive(Clone)]
pub struct Proxy {
    /// Without the user part.
    url: Url,
    authorization: Option<HeaderValue>,
}

/// The text holds nothing of what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no URL like http://user:password@proxy.example:3128, with %40 for an @ in the password")]
pub struct BadProxy;

impl From<String> for ProxyUrl {
    fn from(url: String) -> Self {
        Self((!url.is_empty()).then(|| url.into()))
    }
}

impl PartialEq for ProxyUrl {
    fn eq(&self, other: &Self) -> bool {
        let exposed = |url: &Self| url.0.as_ref().map(|url| url.expose_secret().to_owned());
        exposed(self) == exposed(other)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "a proxy" } else { "no proxy" })
    }
}

impl ProxyUrl {
    /// `None` when nothing was written.
    ///
    /// # Errors
    /// [`BadProxy`] for what is not `http://`, a host, and perhaps user and port.
    pub fn read(&self) -> Result<Option<Proxy>, BadProxy> {
        let Some(written) = &self.0 else { return Ok(None) };
        let url = Url::parse(written.expose_secret()).map_err(|_| BadProxy)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        if url.scheme() != "http" || url.host().is_none() || url.port() == Some(0) || !bare {
            return Err(BadProxy);
        }
        let (url, authorization) = user::split(url);
        Ok(Some(Proxy { url, authorization }))
    }
}

impl Proxy {
    pub(super) fn for_client(&self) -> Result<reqwest::Proxy, BadProxy> {
        let proxy = reqwest::Proxy::all(self.url.clone()).map_err(|_| BadProxy)?;
        Ok(match &self.authorization {
            Some(authorization) => proxy.custom_http_auth(authorization.clone()),
            None => proxy,
        })
    }
}

/// For how long a name that the resolver left unanswered is not asked for again. Where no name is ever answered, each try
/// would otherwise begin with the same wait.
const SILENCE_FOR: Duration = Duration::from_secs(60);
const SILENT_NAMES_MAX: u64 = 10_000;
/// Read of an answer to a question of ours: the status line and some more.
const HEAD_BYTES_READ: usize = 1024;

/// What stands between a client and the proxy it goes through: targets are judged before, and failures after.
pub(super) struct Through {
    proxy: Proxy,
    lookup: Arc<dyn Lookup>,
    /// For one look-up, and for all that the proxy is asked after a failure.
    patience: Duration,
    silent: Cache<String, ()>,
}

/// What a proxy made of a question of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    /// There is no connection to it.
    Absent,
    /// It took the question and said nothing in time.
    Nothing,
    /// It hung up, or does not speak HTTP.
    Nonsense,
    Status(u16),
}

impl Through {
    pub(super) fn new(proxy: Proxy, lookup: Arc<dyn Lookup>, patience: Duration) -> Self {
        let silent = Cache::builder().max_capacity(SILENT_NAMES_MAX).time_to_live(SILENCE_FOR).build();
        Self { proxy, lookup, patience, silent }
    }

    /// Judges the addresses of a target that is a name. The proxy looks it up for itself, so what we judge is not what it
    /// dials: a name may answer it otherwise. And where our resolver knows no address, or is silent, the proxy decides
    /// alone, because in networks that have a proxy often nobody but it can resolve the names outside: to refuse would be to
    /// deliver nothing there. Both are accepted, as the proxy is the operator's own gate, and has rules of its own for
    /// private networks. What we can see we still refuse: literal addresses and names of this machine, which were judged
    /// before, and names of the operator's own network, which our resolver is the likeliest to know.
    pub(super) async fn judge(&self, url: &Url, guard: &Guard) -> Result<(), Refused> {
        let Some(Host::Domain(name)) = url.host() else { return Ok(()) };
        if self.silent.contains_key(name) {
            return Ok(());
        }
        match look_up(&*self.lookup, name, self.patience).await {
            Ok(ips) => guard.judge_all(name, &ips),
            Err(NoAddress::Unknown(_)) => Ok(()),
            Err(NoAddress::Unanswered(_)) => {
                self.silent.insert(name.to_owned(), ());
                Ok(())
            }
        }
    }

    /// Sorts what came of an exchange anew: what is the proxy's fault is ours, and not the receiver's. The client's error
    /// does not tell one from the other, nor with what status a tunnel was refused, so the proxy is asked.
    pub(super) async fn blame(&self, url: &Url, came: Result<Answer, Error>) -> Result<Answer, Error> {
        let tunnel = url.scheme() == "https";
        match came {
            // Inside a tunnel it would be the receiver's word.
            Ok(answer) if answer.status.as_u16() == 407 && !tunnel => Err(Error::Ours(CREDENTIALS.to_owned())),
            // The client looks up and dials nobody but the proxy.
            Err(Error::Resolve(_)) => Err(Error::Ours("the proxy's name has no address".to_owned())),
            Err(Error::Connect(why)) if !tunnel => Err(Error::Ours(format!("the proxy cannot be reached: {why}"))),
            Err(err @ (Error::Connect(_) | Error::TimedOut(_) | Error::Broken(_))) => {
                let until = Instant::now() + self.patience;
                let options =
                    format!("OPTIONS * HTTP/1.1\r\nHost: {}\r\nMax-Forwards: 0\r\n", authority(&self.proxy.url));
                match (alive(self.ask(options, until).await), &err) {
                    (Err(fault), _) => Err(Error::Ours(fault.to_owned())),
                    (Ok(()), Error::Connect(_)) => {
                        let target = authority(url);
                        let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
                        Err(tunnelled(self.ask(connect, until).await, err))
                    }
                    (Ok(()), _) => Err(err),
                }
            }
            came => came,
        }
    }

    /// Asks the proxy something, apart from all exchanges.
    async fn ask(&self, mut head: String, until: Instant) -> Said {
        if let Some(authorization) = self.proxy.authorization.as_ref().and_then(|value| value.to_str().ok()) {
            head.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        head.push_str("\r\n");
        let Ok(Some(stream)) = timeout_at(until, self.dial()).await else { return Said::Absent };
        timeout_at(until, talk(stream, &head)).await.unwrap_or(Said::Nothing)
    }

    /// A connection to the proxy, wherever it lies: it is the operator's own.
    async fn dial(&self) -> Option<TcpStream> {
        let port = self.proxy.url.port_or_known_default()?;
        let ips = match self.proxy.url.host()? {
            Host::Ipv4(ip) => vec![ip.into()],
            Host::Ipv6(ip) => vec![ip.into()],
            Host::Domain(name) => look_up(&*self.lookup, name, self.patience).await.ok()?,
        };
        let addresses: Vec<_> = ips.into_iter().map(|ip| (ip, port).into()).collect::<Vec<std::net::SocketAddr>>();
        TcpStream::connect(addresses.as_slice()).await.ok()
    }
}

async fn talk(mut stream: TcpStream, head: &str) -> Said {
    if stream.write_all(head.as_bytes()).await.is_err() {
        return Said::Nonsense;
    }
    let mut read = Vec::with_capacity(HEAD_BYTES_READ);
    let mut stream = stream.take(HEAD_BYTES_READ as u64);
    while !read.contains(&b'\n') {
        match stream.read_buf(&mut read).await {
            Ok(1..) => {}
            _ => return Said::Nonsense,
        }
    }
    status_line(&read).map_or(Said::Nonsense, Said::Status)
}

fn status_line(read: &[u8]) -> Option<u16> {
    let line = read.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    words.next()?.starts_with("HTTP/1.").then_some(())?;
    words.next()?.parse().ok()
}

/// `host:port`, the port always said.
fn authority(url: &Url) -> String {
    format!("{}:{}", url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default())
}

const CREDENTIALS: &str = "the proxy refuses our credentials (407)";

/// Is there a proxy that answers? It has to answer this one question itself (`Max-Forwards: 0`), and any answer will do. If
/// so, what it does not answer otherwise is the receiver's doing; if not, whose fault is it?
fn alive(said: Said) -> Result<(), &'static str> {
    match said {
        Said::Status(407) => Err(CREDENTIALS),
        Said::Status(_) => Ok(()),
        Said::Absent => Err("the proxy cannot be reached"),
        Said::Nothing => Err("the proxy does not answer"),
        Said::Nonsense => Err("the proxy hangs up, or speaks no HTTP"),
    }
}

/// What it means that there was no connection through a proxy which, asked again, says this.
fn tunnelled(said: Said, err: Error) -> Error {
    match said {
        // It goes as far as the receiver, which does the rest (TLS) badly. Or the refusal has passed; the next try knows.
        Said::Status(200..=299) => err,
        Said::Status(407) => Error::Ours(CREDENTIALS.to_owned()),
        // A gateway's words for who lies behind it; 500 is what tinyproxy says.
        Said::Status(status @ (500 | 502..=504)) => Error::Connect(format!("the proxy has none either ({status})")),
        Said::Status(status) => Error::Ours(format!("the proxy refuses to connect to the receiver ({status})")),
        // It is alive, as was seen a moment ago, and waits for the receiver as we did.
        Said::Nothing => err,
        Said::Absent => Error::Ours("the proxy cannot be reached".to_owned()),
        Said::Nonsense => Error::Ours("the proxy hangs up when it is to connect".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_an_http_url_and_is_never_shown() {
        let check = |written: &str, want: Option<(&str, Option<&str>)>| {
            let url = ProxyUrl::from(written.to_owned());
            assert_eq!(format!("{url:?}"), "a proxy");
            let proxy = url.read().ok().flatten();
            let got = proxy.as_ref().map(|proxy| {
                let authorization = proxy.authorization.as_ref().map(|value| value.to_str().unwrap());
                (proxy.url.as_str(), authorization)
            });
            assert_eq!(got, want, "{written}");
        };
        check("http://proxy:3128", Some(("http://proxy:3128/", None)));
        check("http://10.0.0.1", Some(("http://10.0.0.1/", None)));
        check("http://[fd00::1]:8080/", Some(("http://[fd00::1]:8080/", None)));
        check("http://user:pass@proxy:3128", Some(("http://proxy:3128/", Some("Basic dXNlcjpwYXNz"))));
        check("http://u%40b:p%3A%2F@proxy", Some(("http://proxy/", Some("Basic dUBiOnA6Lw=="))));
        for bad in [
            "proxy:3128",
            "proxy",
            "https://proxy:3128",
            "socks5://proxy:1080",
            "http://",
            "http://proxy:0",
            "http://proxy:99999",
            "http://proxy/path",
            "http://proxy/?query",
            "http://proxy/#fragment",
        ] {
            check(bad, None);
        }
        let none = ProxyUrl::from(String::new());
        assert!(none.read().unwrap().is_none());
        assert_eq!(format!("{none:?}"), "no proxy");
        assert_eq!(none, ProxyUrl::default());
        assert_ne!(none, ProxyUrl::from("http://proxy".to_owned()));
    }

    #[test]
    fn a_status_line_is_read_or_it_is_none() {
        let check = |read: &[u8], want: Option<u16>| assert_eq!(status_line(read), want);
        check(b"HTTP/1.1 200 OK\r\n", Some(200));
        check(b"HTTP/1.0 407 Proxy Authentication Required\r\nx: y\r\n\r\n", Some(407));
        check(b"HTTP/1.1 503\n", Some(503));
        check(b"HTTP/2 200\r\n", None);
        check(b"SSH-2.0-OpenSSH\r\n", None);
        check(b"HTTP/1.1 many\r\n", None);
        check(b"HTTP/1.1\r\n", None);
        check(b"\xff\xfe\n", None);
        check(b"", None);
    }

    #[test]
    fn who_is_to_blame_follows_from_what_the_proxy_says() {
        let check = |said: Said, dead: bool, ours: bool| {
            assert_eq!(alive(said).is_err(), dead, "{said:?}");
            let err = tunnelled(said, Error::Connect("the first one".to_owned()));
            assert_eq!(err.is_ours(), ours, "{said:?}: {err}");
        };
        check(Said::Status(200), false, false);
        check(Said::Nothing, true, false);
        check(Said::Nonsense, true, true);
        check(Said::Absent, true, true);
        check(Said::Status(407), true, true);
        for status in [400, 401, 403, 404, 405, 429, 501] {
            check(Said::Status(status), false, true);
        }
        for status in [500, 502, 503, 504] {
            check(Said::Status(status), false, false);
        }
    }

    #[test]
    fn targets_are_named_with_their_port() {
        let check = |url: &str, want: &str| assert_eq!(authority(&Url::parse(url).unwrap()), want);
        check("https://user:pass@a.example/path?query", "a.example:443");
        check("https://a.example:8443", "a.example:8443");
        check("http://a.example", "a.example:80");
        check("https://[2606:4700::1]/", "[2606:4700::1]:443");
    }
}
