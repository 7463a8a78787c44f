//! Callbacks through a forward proxy: who is asked for what, who is blamed, and what nobody gets to see.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use tokio::net::TcpListener;
use tracker::outbound::{self, Bounds, Error, Lookup, NoAddress, Outbound, ProxyUrl, Request, Settings};

use crate::support::proxy::{Mood, Proxy};
use crate::support::receiver::{Receiver, Reply};
use crate::support::world::{World, minutes};

const LONG: Duration = Duration::from_secs(20);
/// For what must not end otherwise.
const CONNECT: Duration = Duration::from_millis(2000);
const DEADLINE: Duration = Duration::from_millis(3000);

/// Knows public and private names, and where the proxy is; notes what it was asked for.
#[derive(Default)]
struct Names(Mutex<Vec<String>>);

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        self.0.lock().unwrap().push(name.to_owned());
        let ips: &[&str] = match name {
            "proxy.internal" => &["127.0.0.1"],
            "public.example" => &["198.41.0.4", "2001:500:200::b"],
            "private.example" => &["10.0.0.7"],
            "mixed.example" => &["198.41.0.4", "10.0.0.7"],
            "metadata.example" => &["169.254.169.254"],
            "silent.example" => return Err(NoAddress::Unanswered(name.to_owned())),
            "hanging.example" => std::future::pending().await,
            _ => return Err(NoAddress::Unknown(name.to_owned())),
        };
        Ok(ips.iter().map(|ip| ip.parse().unwrap()).collect())
    }
}

/// No network is allowed. And no connection is used again, as the proxy of the tests takes one request from each.
fn settings(connect_timeout: Duration) -> Settings {
    Settings {
        allow_networks: vec![],
        connect_timeout,
        idle_per_host: 0,
        user_agent: "Tracker/test".to_owned(),
        ca_file: None,
    }
}

fn through(proxy: &str, connect_timeout: Duration) -> Outbound {
    through_with(proxy, connect_timeout, Arc::default())
}

fn through_with(proxy: &str, connect_timeout: Duration, names: Arc<Names>) -> Outbound {
    let proxy = ProxyUrl::from(proxy.to_owned()).read().unwrap().unwrap();
    Outbound::through(&settings(connect_timeout), names, proxy).unwrap()
}

fn url_of(proxy: &Proxy) -> String {
    format!("http://us3r:passw0rd@proxy.internal:{}", proxy.address().port())
}

async fn post(outbound: &Outbound, url: &str, deadline: Duration) -> Result<outbound::Answer, Error> {
    let request = Request {
        method: Method::POST,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"a body"),
    };
    outbound.exchange(request, Bounds { deadline, body_bytes_max: 1000, cut: true }).await
}

#[tokio::test]
async fn http_goes_in_absolute_form_and_the_credentials_end_at_the_proxy() {
    let receiver = Receiver::start().await;
    let proxy = Proxy::start(receiver.address()).await;
    proxy.wants("us3r", "passw0rd");
    let outbound = through(&url_of(&proxy), LONG);
    let answer = post(&outbound, "http://public.example:8080/cb?key=1", LONG).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);

    assert_eq!(proxy.lines(), ["POST http://public.example:8080/cb?key=1"]);
    assert_eq!(proxy.asked()[0].header("proxy-authorization"), Some("Basic dXMzcjpwYXNzdzByZA=="));
    let [request] = <[_; 1]>::try_from(receiver.received()).unwrap();
    assert_eq!((request.target.as_str(), request.header("host")), ("/cb?key=1", Some("public.example:8080")));
    assert_eq!(request.body, b"a body");
    assert_eq!((request.header("proxy-authorization"), request.header("authorization")), (None, None));
}

#[tokio::test]
async fn https_goes_through_a_tunnel_in_which_there_are_no_credentials() {
    // It takes the client's first bytes as they come; that they are TLS is seen, and not answered.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await;
    proxy.wants("us3r", "passw0rd");
    let outbound = through(&url_of(&proxy), LONG);
    let receiver = async {
        use tokio::io::AsyncReadExt as _;
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut first = vec![0; 1024];
        let length = stream.read(&mut first).await.unwrap();
        first.truncate(length);
        first
    };
    let (first, came) = tokio::join!(receiver, post(&outbound, "https://public.example/cb?key=1", LONG));
    assert_eq!(first[..2], [0x16, 0x03], "a TLS handshake begins");
    let shown = String::from_utf8_lossy(&first);
    assert!(!shown.contains("dXMzcjpwYXNzdzByZA") && !shown.contains("passw0rd"));
    assert!(proxy.lines().iter().all(|line| line == "CONNECT public.example:443"), "{:?}", proxy.lines());
    assert_eq!(proxy.asked()[0].header("proxy-authorization"), Some("Basic dXMzcjpwYXNzdzByZA=="));
    let err = came.unwrap_err();
    assert!(matches!(err, Error::Connect(_)), "the proxy did its part: {err:?}");
}

#[tokio::test]
async fn what_the_proxy_does_badly_is_our_fault_and_what_it_says_of_the_receiver_is_not() {
    async fn check(mood: Mood, url: &str, want: &str) {
        let receiver = Receiver::start().await;
        receiver.otherwise(Reply::Hang);
        let proxy = Proxy::start(receiver.address()).await;
        proxy.mood(mood);
        let outbound = through(&url_of(&proxy), CONNECT);
        let came = post(&outbound, url, DEADLINE).await;
        let got = match &came {
            Ok(answer) => format!("answer {}", answer.status.as_u16()),
            Err(err) if err.is_ours() => format!("ours: {err}"),
            Err(err) => format!("theirs: {err}"),
        };
        let got = got.replace("this machine cannot make connections now: ", "");
        assert_eq!(got, want, "{mood:?} {url}");
        let shown = format!("{got} {:?}", came.err());
        for secret in ["us3r", "passw0rd", "proxy.internal", "127.0.0.1", "key=1"] {
            assert!(!shown.contains(secret), "{mood:?} {url}: {shown}");
        }
    }
    let (http, https) = ("http://public.example/cb?key=1", "https://public.example/cb?key=1");
    let credentials = "ours: the proxy refuses our credentials (407)";
    let silent = "ours: the proxy does not answer";
    let nonsense = "ours: the proxy hangs up, or speaks no HTTP";
    let late = "theirs: no complete answer within 3000 ms";
    let refuses = |status: u16| format!("ours: the proxy refuses to connect to the receiver ({status})");
    let cannot = |status: u16| format!("theirs: no connection: the proxy has none either ({status})");
    tokio::join!(
        check(Mood::Answers(407), http, credentials),
        check(Mood::Answers(407), https, credentials),
        check(Mood::Mute, http, silent),
        check(Mood::Mute, https, silent),
        check(Mood::Babbles, http, nonsense),
        check(Mood::Babbles, https, nonsense),
        check(Mood::HangsUp, https, "ours: the proxy hangs up when it is to connect"),
        // A proxy that lives, and hangs up: so did the receiver, to whom it was about to speak.
        check(Mood::HangsUp, http, "theirs: the exchange broke off: connection closed before message completed"),
        check(Mood::Works, http, late),
        check(Mood::Waits, http, late),
        check(Mood::Waits, https, "theirs: no connection: none within 2000 ms"),
        check(Mood::Answers(502), http, "answer 502"),
        check(Mood::Answers(403), http, "answer 403"),
    );
    for status in [400, 403, 404, 405, 429, 501] {
        check(Mood::Answers(status), https, &refuses(status)).await;
    }
    for status in [500, 502, 503, 504] {
        check(Mood::Answers(status), https, &cannot(status)).await;
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_our_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let check = async |host: &str, url: &str, want: &str| {
        let outbound = through(&format!("http://us3r:passw0rd@{host}:{port}"), CONNECT);
        let err = post(&outbound, url, LONG).await.unwrap_err();
        assert!(err.is_ours(), "{host} {url}: {err:?}");
        let text = err.to_string();
        assert!(text.contains(want), "{host} {url}: {text}");
        let shown = format!("{text} {err:?}");
        for secret in ["us3r", "passw0rd", host, "public.example"] {
            assert!(!shown.contains(secret), "{host} {url}: {shown}");
        }
    };
    for url in ["http://public.example/", "https://public.example/"] {
        check("127.0.0.1", url, "the proxy cannot be reached").await;
        check("proxy.internal", url, "the proxy cannot be reached").await;
        check("unknown.internal", url, "the proxy's name has no address").await;
        check("silent.example", url, "the resolver gave no answer for the proxy").await;
        check("hanging.example", url, "the resolver gave no answer for the proxy").await;
    }
}

#[tokio::test]
async fn targets_are_judged_before_the_proxy_hears_of_them() {
    let receiver = Receiver::start().await;
    let proxy = Proxy::start(receiver.address()).await;
    let outbound = through(&url_of(&proxy), LONG);
    for scheme in ["http", "https"] {
        for host in [
            "127.0.0.1",
            "2130706433",
            "[::ffff:10.0.0.1]",
            "169.254.169.254",
            "[64:ff9b::a9fe:a9fe]",
            "localhost",
            "x.localhost.",
            "private.example",
            "mixed.example",
            "metadata.example",
            // Where the proxy lies is open to us, and to nobody who sets a hook.
            "proxy.internal",
        ] {
            let url = format!("{scheme}://{host}:{}/?key=1", proxy.address().port());
            let err = post(&outbound, &url, LONG).await.unwrap_err();
            assert!(matches!(err, Error::Refused(_)), "{url}: {err:?}");
            assert!(!err.to_string().contains("10.0.0.7"), "{err}");
        }
    }
    assert!(proxy.lines().is_empty() && receiver.received().is_empty());
}

#[tokio::test]
async fn a_name_that_we_cannot_look_up_is_left_to_the_proxy() {
    let receiver = Receiver::start().await;
    let proxy = Proxy::start(receiver.address()).await;
    let names = Arc::new(Names::default());
    let outbound = through_with(&url_of(&proxy), CONNECT, Arc::clone(&names));
    for name in ["unknown.example", "silent.example", "hanging.example", "hanging.example"] {
        post(&outbound, &format!("http://{name}/"), LONG).await.unwrap();
    }
    let lines = ["unknown", "silent", "hanging", "hanging"].map(|name| format!("POST http://{name}.example/"));
    assert_eq!(proxy.lines(), lines);
    // Not waited for each time.
    assert_eq!(names.0.lock().unwrap().iter().filter(|name| *name == "hanging.example").count(), 1);
}

#[tokio::test]
async fn redirects_through_a_proxy_are_not_followed() {
    let receiver = Receiver::start().await;
    let proxy = Proxy::start(receiver.address()).await;
    receiver.answers([Reply::Full(307, vec![("location", "http://public.example/there".to_owned())], vec![])]);
    let answer = post(&through(&url_of(&proxy), LONG), "http://public.example/", LONG).await.unwrap();
    assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT);
    assert_eq!(proxy.lines().len(), 1);
}

/// In the whole Tracker: providers are called without it, and a proxy that is away for a week costs no try.
#[tokio::test]
async fn a_proxy_that_is_away_for_a_week_costs_no_try() {
    let receiver = Receiver::start().await;
    let proxy = Proxy::start(receiver.address()).await;
    proxy.wants("us3r", "passw0rd");
    let url = format!("http://us3r:passw0rd@{}", proxy.address());
    let mut world = World::with(|settings| settings.deliver.proxy = ProxyUrl::from(url)).await;
    world.provider.add_instance("inst0", "RUNNING");
    // A name that only the proxy can know: `.invalid` is nobody's.
    let answer = world.put_hook("instances/inst0", "http://hooks.invalid/cb", &[]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let answer = world.put_hook("instances/inst0", "http://0xa9fea9fe/", &[("subscriber", "other")]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    world.provider.set_state("inst0", "STOPPED");
    world.tick().await;

    proxy.wants("us3r", "changed");
    world.days_of_delivery(7).await;
    assert!(proxy.asked().len() > 100 && receiver.received().is_empty());
    proxy.wants("us3r", "passw0rd");
    world.clock.advance(minutes(10));
    world.deliver().await;
    assert_eq!(receiver.accepted(), ["RUNNING -> STOPPED, attempt 1"]);
    assert_eq!(proxy.lines().last().unwrap(), "POST http://hooks.invalid/cb");
    assert!(proxy.lines().iter().all(|line| line == "POST http://hooks.invalid/cb"));
    world.end().await;
}
