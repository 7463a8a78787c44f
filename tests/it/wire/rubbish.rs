//! What no client should say: nonsense in every part of a request, over a real socket.
//!
//! What is no HTTP at all (a request line that cannot be read, a header that is none, a head beyond all bounds) is refused by
//! the protocol layer with 400, 414 or 431 and no body. Everything else is answered by Tracker, with an error document in
//! the representation that was asked for, and never with a fault of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use super::traps::survive;
use super::{AUTH_FAILURE, ec2_says, reference};
use crate::support::raw::{Answer, GOOD, JSON, Raw};
use crate::support::world::World;

/// Requests in a batch; after each the entry point has to answer.
const BATCH: usize = 8;
const BATCHES: u32 = 250;

type Bytes = BoxedStrategy<Vec<u8>>;

/// The words of a list, two blanks apart; `∅` is an empty one.
fn words(list: &str) -> Vec<String> {
    list.split("  ").map(|word| word.replace('\u{2205}', "")).collect()
}

fn one_of(list: &str) -> Bytes {
    select(words(list)).prop_map(String::into_bytes).boxed()
}

fn matching(pattern: &'static str) -> Bytes {
    pattern.prop_map(String::into_bytes).boxed()
}

/// A few words that were made up: not UTF-8, control characters, blanks.
fn binary() -> Bytes {
    vec(any::<u8>().prop_filter("would end the line", |byte| !b"\r\n".contains(byte)), 0..12).boxed()
}

fn joined(pieces: impl Strategy<Value = Vec<Vec<u8>>>, between: &'static str) -> impl Strategy<Value = Vec<u8>> {
    pieces.prop_map(|pieces| pieces.join(between.as_bytes()))
}

const METHODS: &str = "GET  GET  GET  POST  POST  POST  PUT  PUT  DELETE  PATCH  HEAD  OPTIONS  TRACE  CONNECT  get  Post  FOO  \
    M-SEARCH  _  G\u{c9}T  ∅";

const COLLECTIONS: &str = "instances  realms  images  hardware_profiles  drivers  instance_states  changes  keys  storage_volumes  \
    storage_snapshots  addresses  firewalls  buckets  metrics  networks  subnets  network_interfaces  \
    load_balancers";

const IDS: &str = "inst0  inst1  inst3  us  500  img1  m1-large  ec2  test-key  vol1  vol3  snap1  192.168.0.1  net1  subnet1  \
    nic1  bucket1  unknown  %69nst0  inst0%20  %2e%2e  %00  -1";

const ACTIONS: &str = "start  stop  reboot  destroy  run  attach  detach  associate  disassociate  rules  register  content  blob1  \
    rule~1%2F2  ∅";

const MEMBERS: &str = "instances/inst0  instances/inst1  realms/us  images/img1  hardware_profiles/opaque  drivers/ec2  keys/test-key  \
    storage_volumes/vol1  storage_volumes/vol3  storage_snapshots/snap1  addresses/192.168.0.1  networks/net1  \
    subnets/subnet1  network_interfaces/nic1  buckets/bucket1  metrics/inst0";

const NONSENSE: &str = "∅  .  ..  ...  %2e%2e  %2F  %252F  %00  %0d%0aX:y  %  %z  %4  %%  %c0%af  %ed%a0%80  %f4%90%80%80  %ff  %C3%A4  \
    \u{e4}\u{1f600}  \u{202e}  *  api  api;driver=ec2  a b  <x>  '\"  \\  {id}  $(x)  ?  #x  //  @h  [::1]  con";

/// No host names: EC2 would be called there, and tests call nobody but this machine.
const MATRIX: &str = ";driver=ec2  ;driver=EC2;provider=eu-west-1  ;driver=  ;driver  ;driver=mock;driver=ec2  ;driver=nimbus  \
    ;driver=%00  ;driver=%C3%A4  ;provider=%ff  ;provider=Us-East-1  ;provider=%0d%0aX:y  ;provider=a%3Bb  ;  ;;;  \
    ;=  ;=x  ;x=%ff  ;x=%00  ;instance_id=inst1  ;image_id=%C3%28  ;driver=mock/..;driver=ec2";

/// One in seven has matrix parameters.
fn segment(name: Bytes) -> Bytes {
    let matrix = prop_oneof![18 => Just(Vec::new()), 2 => one_of(MATRIX), 1 => matching(";[!-~]{0,8}")];
    (name, matrix).prop_map(|(name, matrix)| [name, matrix].concat()).boxed()
}

fn path() -> Bytes {
    let nonsense = prop_oneof![
        6 => one_of(NONSENSE),
        2 => one_of(COLLECTIONS),
        2 => matching("[!-~]{0,12}"),
        1 => matching("\\PC{0,6}"),
        1 => binary(),
        1 => Just(vec![b'x'; 4_000]),
    ];
    let api = prop_oneof![9 => segment(one_of("api")), 1 => segment(one_of("API  ap%69  apix  ∅  cimi"))];
    let id = || segment(prop_oneof![6 => one_of(IDS), 1 => one_of(NONSENSE)].boxed());
    let tail = prop_oneof![
        3 => Just(Vec::new()),
        3 => vec(id(), 1),
        3 => (id(), segment(one_of(ACTIONS))).prop_map(|(id, action)| vec![id, action]),
        1 => vec(segment(nonsense.clone().boxed()), 0..4),
    ];
    let sane = (api.clone(), segment(one_of(COLLECTIONS)), tail)
        .prop_map(|(api, collection, tail)| [vec![api, collection], tail].concat());
    let strange = vec(segment(nonsense.boxed()), 0..5);
    let beneath = (api, strange.clone()).prop_map(|(api, rest)| [vec![api], rest].concat());
    let whole = prop_oneof![6 => sane, 2 => beneath, 1 => strange];
    let start = prop_oneof![
        40 => Just("/"), 1 => Just("//"), 1 => Just(""), 1 => Just("http://h:1/"), 1 => Just("*"), 1 => Just("http:/"),
        1 => Just("/./"),
    ];
    (start, joined(whole, "/")).prop_map(|(start, rest)| [start.as_bytes(), &rest].concat()).boxed()
}

const NAMES: &str = "limit  after  format  force_auth  id  state  realm_id  track_hook  track_token  track_secret  subscriber  \
    instance_count  image_id  instance_id  device  volume_id  capacity  name  hwp_id  hwp_memory  keyname  \
    user_data  password  firewalls1  public_key  protocol  port_from  port_to  ip_address1  group1  _method  \
    driver  provider  api[driver]  description  architecture  blob  network_id  address_block  wait  cmd  blob_id  blob_data  \u{e4}  \
    ∅  a[b][]  snapshot_id";

const VALUES: &str = "∅  x  inst0  img1  us  vol1  m1-large  feed  none  xml  json  foo  delete  put  0  1  -1  1e9  \
    99999999999999999999999  0x10  %00  %ff  %  %zz  %C3%A4  %F0%9F%98%80  \u{e4}  +  a%26b%3Cc%3E  \
    http%3A%2F%2Fh%2Fcb  http://[::1  http://10.0.0.1/cb  ftp://h  javascript:1  whsec_x  aGVsbG8=  !!!  \
    '; drop table hooks; --  %0d%0aSet-Cookie:%20a  10.0.0.0/8  tcp  a;driver=ec2  \u{202e}  2026-13-99T99";

fn pairs() -> Bytes {
    let value = prop_oneof![8 => one_of(VALUES), 1 => matching("[!-~]{0,20}"), 1 => Just(vec![b'a'; 3_000])];
    let pair = prop_oneof![
        12 => (one_of(NAMES), value).prop_map(|(name, value)| [name, value].join(&b'=')),
        1 => one_of("∅  =  ==  &  a  %=%  ?  ;x=y"),
    ];
    let many = prop_oneof![Just("a=b"), Just("a"), Just("firewalls9=x"), Just("")]
        .prop_map(|pair| [pair].repeat(1_500).join("&").into_bytes());
    prop_oneof![20 => joined(vec(pair, 0..6), "&"), 1 => many].boxed()
}

fn query() -> Bytes {
    let given = pairs().prop_map(|pairs| [&b"?"[..], &pairs].concat());
    prop_oneof![3 => Just(Vec::new()), 4 => given, 1 => matching("\\?[!-~]{0,30}")].boxed()
}

const AUTHORIZATIONS: &str = "Basic bW9ja3VzZXI6d3Jvbmc=  basic bW9ja3VzZXI6bW9ja3Bhc3N3b3Jk  Basic  Basic   Basic  =  Basic !!!  Basic Og==  \
    Basic Og  Basic bW9ja3VzZXI=  Basic /w==  Basic Ojo6Ojo=  Basic AAAA  Bearer x  Digest username=\"x\"  ∅  ,  \
    Basic bW9ja3VzZXI6bW9ja3Bhc3N3b3Jk, Basic Og==";

const ACCEPTS: &str = "application/json  application/json  application/xml  text/xml  */*  */*;q=0  image/png  ∅  ;;;  ,,,  \
    application/json;q=nan  application/json;q=1e-400, application/xml;q=-1  application/*  text/html  \
    application/json; charset=utf-8";

/// Of other headers, with what some say.
const OTHERS: &[(&str, &str)] = &[
    ("X-Deltacloud-Driver", "mock  EC2  ec2  ∅  ∅  nimbus  m\u{f6}ck  a;b  ../mock  mock, ec2"),
    ("X-Deltacloud-Provider", "eu-west-1  Us-East-1  ∅  nonsense  \u{e4}  a;b c  %ff  default"),
    ("Host", "∅  a b  h'x  [::1  h:99999999  \u{e4}  h/x  @  localhost:3001  a,b"),
    ("X-Forwarded-Host", "∅  a b  h, i  <x>  ,  tracker.example:8443  \u{e4}"),
    ("X-Forwarded-Proto", "https  HTTPS, http  ∅  gopher  https://"),
    ("X-HTTP-Method-Override", "DELETE  put  FOO  ∅  \u{e4}  GET"),
    (
        "Content-Type",
        "application/x-www-form-urlencoded  application/json  multipart/form-data; boundary=  multipart/form-data; boundary=b  x  ∅",
    ),
    ("Range", "bytes=0-  bytes=-1  bytes=9-1  x"),
    ("Expect", "100-continue  200-ok  ∅"),
    ("If-None-Match", "*  \"x\"  W/  ∅"),
    ("If-Match", "*  x"),
    ("Accept-Encoding", "gzip  *;q=0  identity;q=0  \u{e4}"),
    ("Connection", "upgrade  keep-alive, close  x"),
    ("Upgrade", "h2c  websocket  ∅"),
    ("Referer", "http://h/api;driver=ec2  /api;driver=%ff  \u{e4}  ∅"),
    ("Last-Event-ID", "1  -1  x"),
    ("Cookie", "a=b  ;;;"),
    ("Content-Encoding", "gzip  x"),
    ("Content-Length", "5"),
];

type Header = (String, Vec<u8>);

fn header() -> BoxedStrategy<Header> {
    let named = |name: &str, value: Bytes| {
        let name = name.to_owned();
        value.prop_map(move |value| (name.clone(), value)).boxed()
    };
    let others = select(OTHERS).prop_flat_map(move |(name, values)| named(name, one_of(values)));
    let known = select(&["Accept", "Authorization", "Host", "X-Deltacloud-Driver", "X-Forwarded-Host", "Referer"][..]);
    let long = || Just(vec![b'x'; 9_000]).boxed();
    prop_oneof![
        16 => Just((GOOD.0.to_owned(), GOOD.1.as_bytes().to_vec())),
        3 => named("Authorization", one_of(AUTHORIZATIONS)),
        6 => named("Accept", one_of(ACCEPTS)),
        8 => others,
        2 => (known, prop_oneof![matching("[ -~]{0,30}"), matching("\\PC{0,10}"), binary(), long()])
            .prop_map(|(name, value)| (name.to_owned(), value)),
        1 => ("[A-Za-z!#$%&'*+.^_`|~-]{1,12}", matching("[ -~]{0,12}")),
        1 => ("[ -~]{0,6}", binary()),
    ]
    .boxed()
}

const BODIES: &str = "{\"image_id\":\"img1\"}  [  null  {\"a\":{\"a\":[[[[  <x/>  --  \r\n\r\nGET /api HTTP/1.1\r\n\r\n  \
    --b\r\nContent-Disposition: form-data; name=\"image_id\"\r\n\r\nimg1\r\n--b--";

fn body() -> Bytes {
    prop_oneof![
        5 => Just(Vec::new()),
        7 => pairs(),
        1 => one_of(BODIES),
        2 => vec(any::<u8>(), 0..200),
        1 => select(vec![0, 9_000, 70_000]).prop_map(|length| vec![b'y'; length]),
    ]
    .boxed()
}

/// How the body's length is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Framing {
    Right,
    TooLong,
    TooShort,
    Twice,
    Nonsense(&'static str),
    Chunked,
    BrokenChunks,
    ChunkedAndLength,
    Unknown,
    None,
}

fn framing() -> impl Strategy<Value = Framing> {
    use Framing::{BrokenChunks, Chunked, ChunkedAndLength, None, Nonsense, Right, TooLong, TooShort, Twice, Unknown};
    let nonsense = select(&["", "x", "-1", "+3", "3, 3", "1e3", "18446744073709551617", "0x3"][..]).prop_map(Nonsense);
    let lies = select(vec![TooLong, TooShort, Twice, BrokenChunks, ChunkedAndLength, Unknown, None]);
    prop_oneof![30 => Just(Right), 2 => Just(Chunked), 2 => lies, 1 => nonsense]
}

#[derive(Clone)]
struct Rubbish {
    method: Vec<u8>,
    path: Vec<u8>,
    query: Vec<u8>,
    version: &'static str,
    headers: Vec<Header>,
    framing: Framing,
    body: Vec<u8>,
}

fn anything() -> impl Strategy<Value = Rubbish> {
    let version = prop_oneof![
        30 => Just("HTTP/1.1"), 2 => Just("HTTP/1.0"), 1 => select(&["HTTP/2.0", "HTTP/0.9", "HTTP/1.9", "http/1.1", "HTTP", ""][..]),
    ];
    (one_of(METHODS), path(), query(), version, vec(header(), 0..6), framing(), body()).prop_map(
        |(method, path, query, version, headers, framing, body)| Rubbish {
            method,
            path,
            query,
            version,
            headers,
            framing,
            body,
        },
    )
}

/// Right in everything but its parameters and, now and then, one header: this gets as far as the drivers.
fn nearly_right() -> impl Strategy<Value = Rubbish> {
    let path = prop_oneof![
        2 => one_of(COLLECTIONS),
        2 => (one_of(COLLECTIONS), one_of(IDS)).prop_map(|(collection, id)| [collection, id].join(&b'/')),
        3 => select(words(MEMBERS)).prop_map(String::into_bytes),
        3 => (select(words(MEMBERS)), one_of(ACTIONS)).prop_map(|(member, act)| [member.as_bytes(), &act].join(&b'/')),
    ];
    let query = prop_oneof![1 => Just(Vec::new()), 3 => query()];
    let good = || (GOOD.0.to_owned(), GOOD.1.as_bytes().to_vec());
    let headers = prop_oneof![4 => Just(vec![good()]), 1 => header().prop_map(move |other| vec![good(), other])];
    let body = prop_oneof![2 => Just(Vec::new()), 1 => pairs(), 1 => body()];
    (one_of("GET  GET  POST  POST  POST  POST  PUT  PUT  DELETE"), path, query, headers, body).prop_map(
        |(method, path, query, headers, body)| {
            let path = [&b"/api/"[..], &path].concat();
            Rubbish { method, path, query, version: "HTTP/1.1", headers, framing: Framing::Right, body }
        },
    )
}

fn rubbish() -> impl Strategy<Value = Rubbish> {
    prop_oneof![1 => anything(), 4 => anything().prop_map(tidied), 5 => nearly_right().prop_map(tidied)]
}

/// What a byte of a path or a query may be without any parser minding.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(&byte)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
}

fn is_header((name, value): &Header) -> bool {
    let printable = |byte: &u8| (b' '..=b'~').contains(byte) || *byte >= 0x80;
    is_token(name.as_bytes()) && value.iter().all(printable) && name != "Content-Length"
}

/// As far from sense as before, and HTTP: the protocol layer would answer all the rest by itself.
fn tidied(mut rubbish: Rubbish) -> Rubbish {
    let escaped = |bytes: &[u8]| -> Vec<u8> {
        bytes.iter().flat_map(|&byte| if is_plain(byte) { vec![byte] } else { format!("%{byte:02X}").into() }).collect()
    };
    if !is_token(&rubbish.method) || rubbish.method == b"CONNECT" {
        rubbish.method = b"GET".to_vec();
    }
    if !rubbish.path.starts_with(b"/") {
        rubbish.path.insert(0, b'/');
    }
    rubbish.path = escaped(&rubbish.path);
    rubbish.query = escaped(&rubbish.query);
    rubbish.version = "HTTP/1.1";
    rubbish.headers.retain(is_header);
    if !matches!(rubbish.framing, Framing::Chunked) {
        rubbish.framing = Framing::Right;
    }
    rubbish
}

impl Rubbish {
    fn bytes(&self) -> Vec<u8> {
        let Self { method, path, query, version, headers, framing, body } = self;
        let mut bytes =
            [method, &b" "[..], path, query, b" ", version.as_bytes(), b"\r\nConnection: close\r\n"].concat();
        // One in eight has no host.
        if !headers.iter().any(|(name, _)| name == "Host") && body.len() % 8 != 7 {
            bytes.extend(b"Host: localhost:3001\r\n");
        }
        for (name, value) in headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        let length = |length: usize| format!("Content-Length: {length}\r\n");
        let chunks = format!("{:x}\r\n", body.len());
        let (told, body) = match framing {
            Framing::Right => (length(body.len()), body.clone()),
            Framing::TooLong => (length(body.len() + 7), body.clone()),
            Framing::TooShort => (length(body.len() / 2), body.clone()),
            Framing::Twice => (length(body.len()) + &length(body.len() + 1), body.clone()),
            Framing::Nonsense(text) => (format!("Content-Length: {text}\r\n"), body.clone()),
            Framing::None => (String::new(), body.clone()),
            Framing::Unknown => ("Transfer-Encoding: gzip\r\n".to_owned(), body.clone()),
            Framing::Chunked | Framing::ChunkedAndLength if body.is_empty() => {
                ("Transfer-Encoding: chunked\r\n".to_owned(), b"0\r\n\r\n".to_vec())
            }
            Framing::Chunked => {
                ("Transfer-Encoding: chunked\r\n".to_owned(), [chunks.as_bytes(), body, b"\r\n0\r\n\r\n"].concat())
            }
            Framing::ChunkedAndLength => (
                length(body.len()) + "Transfer-Encoding: chunked\r\n",
                [chunks.as_bytes(), body, b"\r\n0\r\n\r\n"].concat(),
            ),
            Framing::BrokenChunks => ("Transfer-Encoding: chunked\r\n".to_owned(), [b"zz\r\n", &body[..]].concat()),
        };
        [bytes, told.into_bytes(), b"\r\n".to_vec(), body].concat()
    }

    /// Whether it is HTTP, whatever else it is: this has to be answered by us.
    fn is_http(&self) -> bool {
        let Self { method, path, query, version, headers, framing, body: _ } = self;
        is_token(method)
            && method != b"CONNECT"
            && path.starts_with(b"/")
            && path.iter().chain(query).all(|byte| is_plain(*byte))
            && *version == "HTTP/1.1"
            && headers.iter().all(is_header)
            && matches!(framing, Framing::Right | Framing::Chunked)
    }

    /// Whether JSON was asked for, where that can be told without being Tracker.
    fn asks_for_json(&self) -> Option<bool> {
        let accepts: Vec<_> = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("accept")).collect();
        match &accepts[..] {
            [(_, only)] if !contains(&self.query, "format") => match &only[..] {
                b"application/json" => Some(true),
                // What is JSON alone is refused in what everybody can read.
                b"application/xml" | b"text/xml" => Some(false),
                _ => None,
            },
            _ => None,
        }
    }
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

impl std::fmt::Debug for Rubbish {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(out, "{:?}", self.bytes().escape_ascii().to_string())
    }
}

/// The final answer, behind an interim one if there is any.
fn read(bytes: &[u8]) -> Answer {
    let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
    Answer::read(bytes.strip_prefix(interim).unwrap_or(bytes))
}

async fn check(raw: Raw, rubbish: &Rubbish) -> Result<(), TestCaseError> {
    let bytes = raw.bytes(&rubbish.bytes()).await;
    if bytes.is_empty() {
        prop_assert!(!rubbish.is_http(), "no answer to {rubbish:?}");
        return Ok(());
    }
    let answer = read(&bytes);
    prop_assert!(answer.status < 500 || answer.status == 501 || is_ready_made(rubbish), "{rubbish:?} {answer:?}");
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")) {
        // Not of the API, and right as it is.
        prop_assert_eq!(answer.status, 200);
        return Ok(());
    }
    if answer.header("server").is_none() && !(answer.status == 405 && contains(&rubbish.path, "metrics")) {
        prop_assert!([400, 414, 431].contains(&answer.status), "{rubbish:?} {answer:?}");
        prop_assert!(answer.body.is_empty() && !rubbish.is_http(), "{rubbish:?} {answer:?}");
        return Ok(());
    }
    if rubbish.method == b"HEAD" {
        prop_assert_eq!(&answer.body, "", "{:?}", rubbish);
    } else if answer.status >= 400 {
        let is_json = answer.header("content-type") == Some(JSON.1);
        survive(&answer, rubbish.asks_for_json().unwrap_or(is_json));
    }
    Ok(())
}

/// The mock cloud's realms that show what an error looks like.
fn is_ready_made(rubbish: &Rubbish) -> bool {
    let named = |id: &&str| contains(&rubbish.path, id);
    contains(&rubbish.path, "realms") && ["500", "502", "504"].iter().any(named)
}

/// Counts panics in threads of this name, and lets them be told as ever.
fn count_panics(thread: &'static str) -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let (counted, tell) = (count.clone(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().name() == Some(thread) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        tell(panic);
    }));
    count
}

#[test]
fn rubbish_is_answered_with_an_error_document_and_never_a_fault_of_ours() {
    const THREAD: &str = "answers-rubbish";
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name(THREAD).enable_all().build().unwrap();
    let panics = count_panics(THREAD);
    let world = runtime.block_on(World::reference(|api| {
        // Nobody has to wait for bytes that do not come.
        (api.body_ms, api.body_bytes_max, api.failed_logins_max) = (100, 64 * 1024, 0);
    }));
    // EC2 knows nobody.
    world.receiver.otherwise(ec2_says(401, AUTH_FAILURE));
    let config = Config { cases: BATCHES, failure_persistence: None, ..Config::default() };
    let run = TestRunner::new(config).run(&vec(rubbish(), BATCH), |batch| {
        runtime.block_on(async {
            for rubbish in &batch {
                check(world.raw(), rubbish).await?;
            }
            let entry = world.raw().ask("GET", "/api", &[]).await;
            prop_assert_eq!(entry.status, 200);
            prop_assert_eq!(entry.xml().name, "api");
            Ok(())
        })
    });
    run.unwrap();
    runtime.block_on(world.end());
    assert_eq!(panics.load(Ordering::Relaxed), 0, "panics in the server's tasks");
}

/// On one connection what follows rubbish is answered as if that had not been there.
#[tokio::test]
async fn a_connection_survives_rubbish_that_is_http() {
    let world = reference().await;
    let good = format!("GET /api HTTP/1.1\r\nHost: h\r\n{}: {}\r\n\r\n", GOOD.0, GOOD.1);
    let rubbish =
        "FOO /api;driver=%ff/..//%00?%zz HTTP/1.1\r\nHost: h\r\nAccept: ;;\r\nContent-Length: 3\r\n\r\n\0\0\0";
    let last = good.replace("Host: h", "Host: h\r\nConnection: close");
    let answers = world.raw().bytes(format!("{good}{rubbish}{good}{rubbish}{last}").as_bytes()).await;
    let answers = String::from_utf8(answers).unwrap();
    let statuses: Vec<_> = answers.split("HTTP/1.1 ").skip(1).map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["200", "400", "200", "400", "200"]);
    world.end().await;
}
