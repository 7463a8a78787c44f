//! HTTP out, on loopback: what is dialled, how long and how much is read, and who is blamed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tracker::outbound::{Answer, Bounds, Error, Lookup, NoAddress, Outbound, Request, Settings, SetupError};
use url::Url;

use crate::support::receiver::{Receiver, Reply};

const LONG: Duration = Duration::from_secs(20);
/// For what must not end otherwise.
const SHORT: Duration = Duration::from_millis(100);
/// For what must get as far as the head of the answer.
const MIDDLE: Duration = Duration::from_millis(3000);

fn settings(allow: &[&str]) -> Settings {
    Settings {
        allow_networks: allow.iter().map(|net| net.parse().unwrap()).collect(),
        connect_timeout: LONG,
        idle_per_host: 4,
        user_agent: "Tracker/test".to_owned(),
        ca_file: None,
    }
}

fn loopback() -> Outbound {
    Outbound::new(&settings(&["127.0.0.0/8"])).unwrap()
}

async fn post(outbound: &Outbound, url: &Url, deadline: Duration, cut: bool) -> Result<Answer, Error> {
    let request = Request {
        method: Method::POST,
        url: url.clone(),
        headers: HeaderMap::new(),
        body: Bytes::from_static(b"a body"),
    };
    outbound.exchange(request, Bounds { deadline, body_bytes_max: 1000, cut }).await
}

/// Names with the answers they get, one each time; the last answer stays.
struct Names(Mutex<Vec<(&'static str, Answers)>>);

/// What a name stands for, look-up by look-up.
type Answers = VecDeque<Vec<IpAddr>>;

impl Names {
    fn new(names: &[(&'static str, &[&[&str]])]) -> Arc<Self> {
        let ips = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        let names = names.iter().map(|(name, answers)| (*name, answers.iter().map(ips).collect())).collect();
        Arc::new(Self(Mutex::new(names)))
    }

    /// How many answers a name has left.
    fn left(&self, name: &str) -> usize {
        self.0.lock().unwrap().iter().find(|(known, _)| *known == name).unwrap().1.len()
    }
}

#[async_trait]
impl Lookup for Names {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        if name == "silent.example" {
            std::future::pending::<()>().await;
        }
        let mut names = self.0.lock().unwrap();
        let Some((_, answers)) = names.iter_mut().find(|(known, _)| *known == name) else {
            return Err(NoAddress::Unknown(name.to_owned()));
        };
        match answers.len() {
            0 => Err(NoAddress::Unanswered(name.to_owned())),
            1 => Ok(answers[0].clone()),
            _ => Ok(answers.pop_front().unwrap()),
        }
    }
}

#[tokio::test]
async fn an_exchange_brings_status_headers_and_body() {
    let receiver = Receiver::start().await;
    let reply = Reply::Full(418, vec![("x-colour", "red".to_owned())], b"short and stout".to_vec());
    receiver.answers([reply]);
    let answer = post(&loopback(), &receiver.url("/cb?x=1#fragment"), LONG, false).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (418, b"short and stout".as_slice()));
    assert_eq!(answer.headers["x-colour"], "red");

    let [request] = <[_; 1]>::try_from(receiver.received()).unwrap();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/cb?x=1"));
    assert_eq!(request.body, b"a body");
    assert_eq!(request.header("user-agent"), Some("Tracker/test"));
    assert_eq!(request.header("accept-encoding"), None, "no compression is asked for");
}

#[tokio::test]
async fn an_answer_is_read_no_longer_and_no_further_than_its_bounds() {
    async fn check(reply: Reply, deadline: Duration, cut: bool, want: Result<(u16, usize), &str>) {
        let receiver = Receiver::start().await;
        receiver.answers([reply.clone()]);
        let got = post(&loopback(), &receiver.url("/"), deadline, cut).await;
        let got = got.map(|answer| (answer.status.as_u16(), answer.body.len())).map_err(|err| err.to_string());
        match want {
            // How much of a trickle came is chance.
            Ok((status, usize::MAX)) => assert_eq!(got.map(|(status, _)| status), Ok(status), "{reply:?}"),
            want => assert_eq!(got, want.map_err(str::to_owned), "{reply:?}, cut: {cut}"),
        }
        assert!(receiver.received().len() <= 1, "{reply:?}: sent once, whatever happened");
    }
    let tick = Duration::from_millis(10);
    tokio::join!(
        check(Reply::Flood(200, 1000), LONG, false, Ok((200, 1000))),
        check(Reply::Flood(200, 1001), LONG, false, Err("the answer was longer than 1000 bytes")),
        check(Reply::Flood(200, 1001), LONG, true, Ok((200, 1000))),
        check(Reply::Flood(503, 1_000_000), LONG, true, Ok((503, 1000))),
        check(Reply::Hang, SHORT, false, Err("no complete answer within 100 ms")),
        check(Reply::Hang, SHORT, true, Err("no complete answer within 100 ms")),
        check(Reply::TrickleHead(tick), SHORT, true, Err("no complete answer within 100 ms")),
        check(Reply::TrickleBody(200, tick), MIDDLE, false, Err("no complete answer within 3000 ms")),
        check(Reply::TrickleBody(202, tick), MIDDLE, true, Ok((202, usize::MAX))),
        check(Reply::HangUpInBody(500), LONG, true, Ok((500, 9))),
        check(
            Reply::HangUpInBody(500),
            LONG,
            false,
            Err("the exchange broke off: end of file before message length reached")
        ),
        check(Reply::HangUp, LONG, true, Err("the exchange broke off: connection closed before message completed")),
    );
}

#[tokio::test]
async fn a_connection_is_used_again_unless_its_answer_was_cut() {
    let receiver = Receiver::start().await;
    let outbound = loopback();
    receiver.answers([Reply::Flood(200, 10), Reply::Flood(200, 100_000), Reply::Status(204)]);
    for _ in 0..3 {
        post(&outbound, &receiver.url("/"), LONG, true).await.unwrap();
    }
    let connections: Vec<usize> = receiver.received().iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 1]);
}

#[tokio::test]
async fn redirects_are_answers_and_are_not_followed() {
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    for status in [301, 302, 303, 307, 308] {
        let location = vec![("location", elsewhere.url("/there").to_string())];
        receiver.answers([Reply::Full(status, location, vec![])]);
        let answer = post(&loopback(), &receiver.url("/"), LONG, true).await.unwrap();
        assert_eq!(answer.status.as_u16(), status);
    }
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn addresses_in_the_url_do_not_pass_the_guard_by() {
    let receiver = Receiver::start().await;
    let outbound = Outbound::new(&settings(&[])).unwrap();
    let port = receiver.address().port();
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]", "localhost", "0"] {
        let url = format!("http://{host}:{port}/").parse().unwrap();
        outbound.check(&url).unwrap_err();
        let err = post(&outbound, &url, LONG, true).await.unwrap_err();
        assert!(matches!(err, Error::Refused(_)), "{host}: {err}");
    }
    assert!(receiver.received().is_empty());
    // The same addresses, when they are listed.
    post(&loopback(), &receiver.url("/"), LONG, true).await.unwrap();
}

#[tokio::test]
async fn a_name_is_judged_by_all_its_addresses() {
    let names = Names::new(&[
        ("fine.example", &[&["127.0.0.1"]]),
        ("mixed.example", &[&["127.0.0.1", "10.0.0.1"]]),
        ("mapped.example", &[&["127.0.0.1", "::ffff:169.254.169.254"]]),
        ("inner.example", &[&["192.168.0.1"]]),
        ("empty.example", &[&[]]),
        ("broken.example", &[]),
    ]);
    let receiver = Receiver::start().await;
    let mut settings = settings(&["127.0.0.0/8"]);
    settings.connect_timeout = MIDDLE;
    let outbound = Outbound::with_lookup(&settings, names).unwrap();
    let post = async |name: &str| {
        let url = format!("http://user:secret@{name}:{}/?key=secret", receiver.address().port()).parse().unwrap();
        post(&outbound, &url, LONG, true).await.map(|answer| answer.status.as_u16()).map_err(|err| err.to_string())
    };
    let err = |text: &str| Err(text.to_owned());
    assert_eq!(post("fine.example").await, Ok(200));
    assert_eq!(post("FINE.example.").await, err("the name fine.example. has no address"));
    let private = "may not be called: it is in a private network, and allow_networks does not list it";
    assert_eq!(post("mixed.example").await, err(&format!("mixed.example {private}")));
    assert_eq!(post("inner.example").await, err(&format!("inner.example {private}")));
    assert_eq!(
        post("mapped.example").await,
        err("mapped.example may not be called: it is the cloud's own metadata service, which \
             hands out credentials")
    );
    assert_eq!(post("empty.example").await, err("the name empty.example has no address"));
    assert_eq!(post("unknown.example").await, err("the name unknown.example has no address"));
    let ours = "this machine cannot make connections now: the resolver gave no answer for";
    assert_eq!(post("broken.example").await, err(&format!("{ours} broken.example")));
    assert_eq!(post("silent.example").await, err(&format!("{ours} silent.example")));
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn what_was_checked_is_what_is_dialled() {
    // A name that turns to a forbidden address between check and connect, if it were looked up twice.
    let names = Names::new(&[("turns.example", &[&["127.0.0.1"], &["10.0.0.1"]])]);
    let receiver = Receiver::start().await;
    let mut settings = settings(&["127.0.0.0/8"]);
    settings.idle_per_host = 0; // a new connection for every request
    let outbound = Outbound::with_lookup(&settings, Arc::clone(&names) as Arc<dyn Lookup>).unwrap();
    let url: Url = format!("http://turns.example:{}/", receiver.address().port()).parse().unwrap();

    outbound.check(&url).unwrap();
    post(&outbound, &url, LONG, true).await.unwrap();
    assert_eq!(names.left("turns.example"), 1, "looked up once for one connection");
    let err = post(&outbound, &url, LONG, true).await.unwrap_err();
    assert!(matches!(err, Error::Refused(_)), "{err}");
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn nobody_listening_is_not_our_fault() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://user:secret@{}/path?key=secret", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let err = post(&loopback(), &url, LONG, true).await.unwrap_err();
    assert!(matches!(err, Error::Connect(_)) && !err.is_ours(), "{err:?}");
    assert!(!format!("{err} {err:?}").contains("secret"), "{err:?}");
}

#[tokio::test]
async fn a_receiver_that_does_not_speak_tls_fails_as_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("https://{}/path?key=secret", listener.local_addr().unwrap()).parse().unwrap();
    let plain = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream
    };
    let (_stream, got) = tokio::join!(plain, async { post(&loopback(), &url, LONG, true).await });
    let err = got.unwrap_err();
    assert!(matches!(err, Error::Connect(_)), "{err:?}");
    assert!(!format!("{err} {err:?}").contains("secret"), "{err:?}");
}

#[test]
fn everything_allowed_is_refused_when_the_client_is_made() {
    let err = Outbound::new(&settings(&["10.0.0.0/8", "0.0.0.0/0"])).err().unwrap();
    assert!(matches!(err, SetupError::TooWide(_)));
    assert_eq!(
        err.to_string(),
        "allow_networks: 0.0.0.0/0 would allow every address: list the networks that are meant"
    );
}

#[test]
fn debug_shows_no_credentials() {
    let request = Request {
        method: Method::GET,
        url: "https://user:secret@a.example/secret?key=secret".parse().unwrap(),
        headers: HeaderMap::from_iter([(reqwest::header::AUTHORIZATION, "secret".parse().unwrap())]),
        body: Bytes::from_static(b"secret"),
    };
    assert_eq!(format!("{request:?}"), "GET https://a.example");
}
