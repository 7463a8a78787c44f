//! The address guard at the doors of Tracker: what is refused when a hook is set, and what only when it is called.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use reqwest::StatusCode;
use tracker::deliver::{Message, Reply as Came, Sender, Settings, new_key};
use tracker::model::{Attempt, ChangeId, Format, SigningKey};
use tracker::outbound::{Lookup, NoAddress, Outbound};

use crate::support::receiver::Receiver;
use crate::support::receiver::Reply::Full;
use crate::support::world::{World, minutes};

const LOOPBACK: &str = "this machine itself (loopback)";
const METADATA: &str = "metadata service";
const PRIVATE: &str = "in a private network";
const LINK_LOCAL: &str = "link-local";
const SHARED: &str = "(CGNAT)";
const UNSPECIFIED: &str = "no address of a host";
const MULTICAST: &str = "multicast or broadcast";
const RESERVED: &str = "reserved for";
const TRANSITION: &str = "leads to an IPv4 one";
const NOT_GLOBAL: &str = "not in the global IPv6 range";
const NO_URL: &str = "track_hook";

/// What can be said of a URL at once. The text is sent as it stands here, form-encoded once.
#[rustfmt::skip]
const SPELLED: &[(&str, &str)] = &[
    // One number, in three bases, and in parts.
    ("http://127.0.0.1/cb",                    LOOPBACK),
    ("http://127.255.255.254:8080/cb",         LOOPBACK),
    ("http://2130706433/",                     LOOPBACK),
    ("http://017700000001/",                   LOOPBACK),
    ("http://0x7f000001/",                     LOOPBACK),
    ("http://0X7F000001/",                     LOOPBACK),
    ("http://0x7f.0.0.1/",                     LOOPBACK),
    ("http://0177.0.0.1/",                     LOOPBACK),
    ("http://0000177.0.0.01/",                 LOOPBACK),
    ("http://0x7f.0x0.0.01/",                  LOOPBACK),
    ("http://127.1/",                          LOOPBACK),
    ("http://127.0.1/",                        LOOPBACK),
    ("http://0x7f.1/",                         LOOPBACK),
    ("http://3232235521/",                     PRIVATE),
    ("http://0300.0250.1/",                    PRIVATE),
    ("http://10.1/",                           PRIVATE),
    ("http://0xac.0x10.1/",                    PRIVATE),
    ("http://2852039166/",                     METADATA),
    ("http://0xa9fea9fe/latest",               METADATA),
    ("http://0251.0376.0251.0376/",            METADATA),
    ("http://169.254.43518/",                  METADATA),
    ("http://0/",                              UNSPECIFIED),
    ("http://0x0/",                            UNSPECIFIED),
    ("http://0.0.0.0/",                        UNSPECIFIED),
    ("http://0.1.2.3/",                        UNSPECIFIED),
    // Ranges of IPv4.
    ("http://169.254.169.254/latest/meta-data", METADATA),
    ("http://169.254.170.2/v2/credentials",    METADATA),
    ("http://100.100.100.200/",                METADATA),
    ("http://168.63.129.16/",                  METADATA),
    ("http://192.0.0.192/",                    METADATA),
    ("http://10.255.255.255/",                 PRIVATE),
    ("http://172.16.0.1/",                     PRIVATE),
    ("http://172.31.255.255/",                 PRIVATE),
    ("http://192.168.255.255/",                PRIVATE),
    ("http://169.254.0.1/",                    LINK_LOCAL),
    ("http://100.64.0.1/",                     SHARED),
    ("http://100.127.255.255/",                SHARED),
    ("http://192.0.2.1/",                      RESERVED),
    ("http://198.18.0.1/",                     RESERVED),
    ("http://198.51.100.1/",                   RESERVED),
    ("http://203.0.113.1/",                    RESERVED),
    ("http://192.88.99.1/",                    RESERVED),
    ("http://224.0.0.1/",                      MULTICAST),
    ("http://239.255.255.250:1900/",           MULTICAST),
    ("http://240.0.0.1/",                      MULTICAST),
    ("http://255.255.255.255/",                MULTICAST),
    // IPv6, and IPv4 within it.
    ("http://[::]/",                           UNSPECIFIED),
    ("http://[::1]/",                          LOOPBACK),
    ("http://[0:0:0:0:0:0:0:1]/",              LOOPBACK),
    ("http://[0000::0001]/",                   LOOPBACK),
    ("http://[::ffff:127.0.0.1]/",             LOOPBACK),
    ("http://[::ffff:7f00:1]/",                LOOPBACK),
    ("http://[0:0:0:0:0:FFFF:10.0.0.1]/",      PRIVATE),
    ("http://[::ffff:a9fe:a9fe]/",             METADATA),
    ("http://[::127.0.0.1]/",                  TRANSITION),
    ("http://[::a9fe:a9fe]/",                  TRANSITION),
    ("http://[::ffff:0:127.0.0.1]/",           TRANSITION),
    ("http://[64:ff9b::10.0.0.1]/",            TRANSITION),
    ("http://[64:ff9b::8.8.8.8]/",             TRANSITION),
    ("http://[64:ff9b:1::a9fe:a9fe]/",         TRANSITION),
    ("http://[2002:7f00:1::]/",                TRANSITION),
    ("http://[2002:a9fe:a9fe::1]/",            TRANSITION),
    ("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", TRANSITION),
    ("http://[2a00:1450::5efe:10.0.0.1]/",     PRIVATE),
    ("http://[2a00:1450::200:5efe:a9fe:a9fe]/", METADATA),
    ("http://[fd00:ec2::254]/",                METADATA),
    ("http://[fe80::a9fe:a9fe]/",              METADATA),
    ("http://[fc00::1]/",                      PRIVATE),
    ("http://[fec0::1]/",                      PRIVATE),
    ("http://[fe80::1]/",                      LINK_LOCAL),
    ("http://[ff02::1]/",                      MULTICAST),
    ("http://[2001:db8::1]/",                  RESERVED),
    ("http://[100::1]/",                       RESERVED),
    ("http://[4000::1]/",                      NOT_GLOBAL),
    ("http://[fe80::1%25eth0]/",               NO_URL),
    ("http://[fe80::1%eth0]/",                 NO_URL),
    ("http://[::1%25lo]/",                     NO_URL),
    // Encoded, in other scripts' digits and dots, with dots at the end.
    ("http://127%2E0%2E0%2E1/",                LOOPBACK),
    ("http://%31%32%37.0.0.1/",                LOOPBACK),
    ("http://%30%78%37%66.1/",                 LOOPBACK),
    ("http://１２７.0.0.1/",                   LOOPBACK),
    ("http://①②⑦.⓪.⓪.①/",                      LOOPBACK),
    ("http://127。0．0｡1/",                    LOOPBACK),
    ("http://𝟏𝟔𝟗.254.169.254/",                METADATA),
    ("http://127.0.0.1./",                     LOOPBACK),
    ("http://2130706433./",                    LOOPBACK),
    ("http://127.\t0.\n0.1/",                  NO_URL),
    ("  http://127.0.0.1/  ",                  NO_URL),
    ("http://[::1].example/",                  NO_URL),
    ("http://256.0.0.1/",                      NO_URL),
    ("http://1.2.3.4.5/",                      NO_URL),
    ("http://4294967296/",                     NO_URL),
    ("http://127.0.0.1%00.example/",           NO_URL),
    ("http://127.0.0.1%2f.example/",           NO_URL),
    // Names that are this machine.
    ("http://localhost/",                      LOOPBACK),
    ("http://LocalHost:8080/",                 LOOPBACK),
    ("http://localhost./",                     LOOPBACK),
    ("http://app.localhost/",                  LOOPBACK),
    ("http://a.b.LOCALHOST./",                 LOOPBACK),
    ("http://ｌｏｃａｌｈｏｓｔ/",             LOOPBACK),
    ("http://loc%61lhost/",                    LOOPBACK),
    ("http://localhost%2E/",                   LOOPBACK),
    ("http://local\u{ad}host/",                LOOPBACK),
    // Where the host begins and ends.
    ("http://public.example@127.0.0.1/",       LOOPBACK),
    ("http://public.example:80@127.0.0.1/",    LOOPBACK),
    ("http://127.0.0.1\\@public.example/",     LOOPBACK),
    ("http://127.0.0.1#@public.example/",      LOOPBACK),
    ("http://127.0.0.1?@public.example/",      LOOPBACK),
    ("http:127.0.0.1/",                        NO_URL),
    ("http:\\\\127.0.0.1\\cb",                 NO_URL),
    ("HTTPS:////127.0.0.1/",                   LOOPBACK),
    ("https://user:secret@[::1]:8443/?k=v",    LOOPBACK),
    // Other doors.
    ("ftp://8.8.8.8/",                         "http:// or https://"),
    ("gopher://127.0.0.1:6379/_INFO",          "http:// or https://"),
    ("file:///etc/passwd",                     "http:// or https://"),
    ("unix:///run/docker.sock",                "http:// or https://"),
    ("http://8.8.8.8:0/",                      "port 0"),
    ("http:///",                               NO_URL),
    ("//127.0.0.1/",                           NO_URL),
];

#[tokio::test]
async fn what_can_be_said_of_a_hook_is_said_when_it_is_set() {
    let world = World::with(|settings| settings.deliver.allow_networks.clear()).await;
    world.provider.add_instance("inst0", "RUNNING");
    for (hook, reason) in SPELLED {
        let answer = world.put_hook("instances/inst0", hook, &[]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{hook}: {}", answer.text);
        assert!(answer.text.contains(reason), "{hook}: {}", answer.text);
        assert!(!answer.text.contains("secret@"), "{hook}: {}", answer.text);
    }
    let shown = world.get("/instances/inst0").await;
    assert!(!shown.text.contains("<tracking"), "nothing was stored: {}", shown.text);
    // Neither on a collection, nor on what is created with it.
    let answer = world.put_hook("instances", "http://0x7f.1/", &[]).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.text);
    // And these are nobody's but the public's.
    for hook in [
        "http://8.8.8.8/cb",
        "http://134744072/",
        "http://[2606:4700:4700::1111]/",
        "http://[::ffff:8.8.8.8]/",
        "http://172.32.0.1/",
        "http://100.128.0.1/",
        "https://hooks.example/cb",
        "https://notlocalhost/",
        "https://localhost.example/",
        "http://public.example\\@127.0.0.1/",
        "http://public.example#@127.0.0.1/",
        "http://bücher.example/",
    ] {
        let answer = world.put_hook("instances/inst0", hook, &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{hook}: {}", answer.text);
    }
    world.end().await;
}

#[tokio::test]
async fn a_hook_whose_network_is_no_longer_allowed_is_not_called() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.provider.set_state("inst0", "STOPPED");
    world.tick().await;
    world.stop().await;
    let allowed = std::mem::take(&mut world.settings.deliver.allow_networks);
    world.start().await;
    world.deliver().await;
    assert!(world.receiver.received().is_empty());
    // Nothing is lost by it.
    world.stop().await;
    world.settings.deliver.allow_networks = allowed;
    world.start().await;
    world.clock.advance(minutes(1));
    world.deliver().await;
    assert_eq!(world.accepted(), ["inst0 RUNNING -> STOPPED"]);
    world.end().await;
}

/// A resolver in the hands of the test: what a name stands for, look-up by look-up; the last answer stays.
#[derive(Default)]
struct Stub {
    answers: Mutex<HashMap<String, VecDeque<Vec<IpAddr>>>>,
    lookups: Mutex<usize>,
}

impl Stub {
    fn set(&self, name: &str, answers: &[&[&str]]) {
        let ips = |answer: &&[&str]| answer.iter().map(|ip| ip.parse().unwrap()).collect();
        self.answers.lock().unwrap().insert(name.to_owned(), answers.iter().map(ips).collect());
        *self.lookups.lock().unwrap() = 0;
    }

    fn lookups(&self) -> usize {
        *self.lookups.lock().unwrap()
    }
}

#[async_trait]
impl Lookup for Stub {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        *self.lookups.lock().unwrap() += 1;
        let mut answers = self.answers.lock().unwrap();
        let answers = answers.get_mut(name).ok_or_else(|| NoAddress::Unknown(name.to_owned()))?;
        Ok(if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }.unwrap_or_default())
    }
}

/// One try with a resolver of the test's.
struct Tries {
    sender: Sender,
    stub: Arc<Stub>,
}

impl Tries {
    fn new(allow: &[&str]) -> Self {
        let settings = Settings {
            allow_networks: allow.iter().map(|net| net.parse().unwrap()).collect(),
            idle_per_receiver: 0,
            ..Settings::default()
        };
        let stub = Arc::new(Stub::default());
        let outbound = Outbound::with_lookup(&settings.outbound(), Arc::clone(&stub) as Arc<dyn Lookup>).unwrap();
        Self { sender: Sender::new(outbound, settings.bounds(), settings.answer_bytes_kept), stub }
    }

    async fn one(&self, url: &str) -> (Attempt, Came) {
        let message = Message {
            url: url.parse().unwrap(),
            id: ChangeId("chg_1".to_owned()),
            keys: vec![SigningKey { secret: new_key(&[7; 32]), until: None }],
            token: None,
            format: Format::default(),
            body: Bytes::from_static(b"{}"),
        };
        self.sender.send(message, 1, Timestamp::UNIX_EPOCH).await
    }

    /// Nothing was sent, for this reason, and it is the hook's fault.
    async fn is_refused(&self, url: &str, reason: &str) {
        let (attempt, came) = self.one(url).await;
        let error = attempt.error.unwrap_or_default();
        assert!(error.contains("may not be called") && error.contains(reason), "{url}: {error:?}");
        assert_eq!((came, attempt.status), (Came::NoAnswer, None), "{url}");
        assert!(!error.contains("secret"), "{url}: {error}");
    }
}

/// What a name may stand for and must not be called.
#[rustfmt::skip]
const BEHIND_NAMES: &[(&str, &str)] = &[
    ("127.0.0.1",            LOOPBACK),
    ("127.8.8.8",            LOOPBACK),
    ("::1",                  LOOPBACK),
    ("::ffff:127.0.0.1",     LOOPBACK),
    ("0.0.0.0",              UNSPECIFIED),
    ("0.0.0.8",              UNSPECIFIED),
    ("::",                   UNSPECIFIED),
    ("10.0.0.1",             PRIVATE),
    ("172.20.0.1",           PRIVATE),
    ("192.168.0.1",          PRIVATE),
    ("fd12::1",              PRIVATE),
    ("::ffff:192.168.0.1",   PRIVATE),
    ("169.254.1.1",          LINK_LOCAL),
    ("fe80::1",              LINK_LOCAL),
    ("100.64.0.1",           SHARED),
    ("169.254.169.254",      METADATA),
    ("::ffff:169.254.169.254", METADATA),
    ("169.254.170.2",        METADATA),
    ("169.254.170.23",       METADATA),
    ("100.100.100.200",      METADATA),
    ("168.63.129.16",        METADATA),
    ("fd00:ec2::254",        METADATA),
    ("fd00:ec2::23",         METADATA),
    ("fe80::a9fe:a9fe",      METADATA),
    ("224.0.0.251",          MULTICAST),
    ("255.255.255.255",      MULTICAST),
    ("ff02::fb",             MULTICAST),
    ("192.0.2.1",            RESERVED),
    ("2001:db8::1",          RESERVED),
    ("::127.0.0.1",          TRANSITION),
    ("64:ff9b::7f00:1",      TRANSITION),
    ("64:ff9b:1::1",         TRANSITION),
    ("2002:a00:1::1",        TRANSITION),
    ("2001:0:4136:e378:8000:63bf:f5ff:fffe", TRANSITION),
    ("2a00:1450::5efe:7f00:1", LOOPBACK),
    ("5f00::1",              NOT_GLOBAL),
];

#[tokio::test]
async fn a_name_is_refused_for_what_it_stands_for_when_it_is_called() {
    let tries = Tries::new(&[]);
    let port = Receiver::start().await.address().port();
    for (ip, reason) in BEHIND_NAMES {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://user:secret@hook.example:{port}/?key=secret");
            // Alone, and as one of several, wherever it stands among them.
            for answer in [&[*ip][..], &[*ip, "198.41.0.4"], &["198.41.0.4", "2001:500:200::b", *ip]] {
                tries.stub.set("hook.example", &[answer]);
                tries.is_refused(&url, reason).await;
                assert_eq!(tries.stub.lookups(), 1, "{ip}");
            }
        }
    }
}

#[tokio::test]
async fn names_that_are_this_machine_elsewhere_are_refused_by_their_addresses() {
    let tries = Tries::new(&[]);
    for name in ["localhost.localdomain", "ip6-localhost", "localtest.me", "127.0.0.1.nip.io", "xn--bcher-kva.example"]
    {
        tries.stub.set(name, &[&["127.0.0.1"]]);
        tries.is_refused(&format!("http://{name}:9/"), LOOPBACK).await;
        tries.stub.set(&format!("{name}."), &[&["::1"]]);
        tries.is_refused(&format!("http://{name}.:9/"), LOOPBACK).await;
    }
    // A resolver that is fooled is not asked.
    tries.stub.set("localhost", &[&["198.41.0.4"]]);
    tries.is_refused("http://localhost:9/", LOOPBACK).await;
    tries.is_refused("http://2130706433:9/", LOOPBACK).await;
    assert_eq!(tries.stub.lookups(), 0);
}

#[tokio::test]
async fn a_name_that_turns_between_two_lookups_leads_only_where_it_was_judged() {
    let receiver = Receiver::start().await;
    let url = format!("http://turns.example:{}/cb", receiver.address().port());
    for (ip, reason) in BEHIND_NAMES.iter().filter(|(_, reason)| *reason != LOOPBACK) {
        let tries = Tries::new(&["127.0.0.0/8"]);
        // What may be called first: were it looked up again between check and connect, that would get the second answer.
        tries.stub.set("turns.example", &[&["127.0.0.1"], &[*ip]]);
        let (attempt, _) = tries.one(&url).await;
        assert_eq!((attempt.status, tries.stub.lookups()), (Some(200), 1), "{ip}: {:?}", attempt.error);
        tries.is_refused(&url, reason).await;
        // And the other way round: an early refusal is not for ever.
        tries.stub.set("turns.example", &[&[*ip], &["127.0.0.1"]]);
        tries.is_refused(&url, reason).await;
        assert_eq!(tries.one(&url).await.0.status, Some(200), "{ip}");
    }
    // Nobody else listens on that port; all that was dialled is here.
    let calls = BEHIND_NAMES.iter().filter(|(_, reason)| *reason != LOOPBACK).count() * 2;
    assert_eq!(receiver.received().len(), calls);
}

#[tokio::test]
async fn redirects_lead_nowhere_whatever_they_point_to() {
    let (receiver, inside) = (Receiver::start().await, Receiver::start().await);
    let tries = Tries::new(&["127.0.0.0/8"]);
    tries.stub.set("inside.example", &[&["127.0.0.1"]]);
    let port = inside.address().port();
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost", "inside.example"] {
        for status in [201, 300, 301, 302, 303, 305, 307, 308, 401, 503] {
            let to = format!("http://{host}:{port}/there");
            let headers = vec![
                ("location", to.clone()),
                ("refresh", format!("0; url={to}")),
                ("content-location", to.clone()),
                ("alt-svc", format!("http/1.1=\"127.0.0.1:{port}\"")),
            ];
            receiver.answers([Full(status, headers, vec![])]);
            let (attempt, _) = tries.one(receiver.url("/cb").as_str()).await;
            assert_eq!(attempt.status, Some(status), "{to}");
        }
    }
    assert!(inside.received().is_empty());
    assert_eq!(tries.stub.lookups(), 0);
}
