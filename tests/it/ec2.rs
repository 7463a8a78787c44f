//! The EC2 driver over HTTP: against a server that answers as scripted, and against moto, which knows EC2 well.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tracker::chance::Chance;
use tracker::clock::SystemClock;
use tracker::drivers::{Driver, Drivers, Ec2Settings, Kind, Settings};
use tracker::model::{
    Action, Credentials, DriverId, Instance, InstanceId, InstanceState, Login, NewInstance, RealmState, Secret,
};
use tracker::outbound::{self, Outbound};
use url::Url;

use crate::support::moto::{self, Moto};

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const PAGE_1: &str = include_str!("../../src/drivers/ec2/replies/DescribeInstances-1.xml");
const PAGE_2: &str = include_str!("../../src/drivers/ec2/replies/DescribeInstances-2.xml");

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../src/drivers/ec2/replies/", $name, ".xml"))
    };
}

fn login(provider: Option<&str>) -> Login {
    let credentials = Credentials { user: KEY_ID.to_owned(), password: Secret::from(SECRET) };
    Login { driver: DriverId::new("ec2"), provider: provider.map(str::to_owned), credentials }
}

fn driver(ec2: Ec2Settings, allow: &[&str]) -> Arc<dyn Driver> {
    let outbound = Outbound::new(&outbound::Settings {
        allow_networks: allow.iter().map(|network| network.parse().expect("a network")).collect(),
        connect_timeout: Duration::from_secs(5),
        idle_per_host: 1,
        user_agent: "tracker-test".to_owned(),
    })
    .expect("a client");
    let settings = Settings { ec2, ..Settings::default() };
    let drivers = Drivers::new(&settings, &outbound, Arc::new(SystemClock), Arc::new(Chance::seeded(1)));
    drivers.get(&DriverId::new("ec2")).expect("registered").clone()
}

fn at(endpoint: &str) -> Ec2Settings {
    Ec2Settings { endpoint: Some(Url::parse(endpoint).expect("a URL")), ..Ec2Settings::default() }
}

/// One request as it arrived.
#[derive(Clone, Debug)]
struct Asked {
    form: Vec<(String, String)>,
    headers: HeaderMap,
}

impl Asked {
    fn get(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone)]
enum Says {
    Answer(u16, String),
    /// With a `Retry-After`.
    Later(u16, &'static str, String),
    /// The first half of it, and then the connection ends.
    Half(String),
    /// The whole request, as the message of an error.
    Echo,
    Nothing,
}

/// A server that gives its answers in turn and remembers what it was asked.
#[derive(Clone, Default)]
struct Stub {
    says: Arc<Mutex<VecDeque<Says>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    async fn start(says: impl IntoIterator<Item = Says>) -> (Self, Ec2Settings) {
        let stub = Self { says: Arc::new(Mutex::new(says.into_iter().collect())), ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let app = Router::new().fallback(answer).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (stub, at(&format!("http://{address}")))
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Every answer was used, and nothing was asked besides.
    fn end(&self) {
        assert_eq!(self.says.lock().expect("no panic").len(), 0, "answers that nobody asked for");
    }
}

async fn answer(State(stub): State<Stub>, headers: HeaderMap, body: Bytes) -> Response {
    let form = form_urlencoded::parse(&body).into_owned().collect();
    stub.asked.lock().expect("no panic").push(Asked { form, headers: headers.clone() });
    let next = stub.says.lock().expect("no panic").pop_front();
    match next.unwrap_or_else(|| Says::Answer(500, "nothing more was scripted".to_owned())) {
        Says::Answer(status, body) => (StatusCode::from_u16(status).expect("a status"), body).into_response(),
        Says::Later(status, after, body) => {
            (StatusCode::from_u16(status).expect("a status"), [("retry-after", after)], body).into_response()
        }
        Says::Half(whole) => {
            let half: String = whole.chars().take(whole.len() / 2).collect();
            ([("content-length", whole.len().to_string())], half).into_response()
        }
        Says::Echo => {
            let sent = format!("{headers:?} {}", String::from_utf8_lossy(&body)).replace(['<', '>', '&'], " ");
            let error = format!(
                "<Response><Errors><Error><Code>AuthFailure</Code><Message>{sent} {SECRET}</Message></Error></Errors>\
                 </Response>"
            );
            (StatusCode::UNAUTHORIZED, error).into_response()
        }
        Says::Nothing => std::future::pending().await,
    }
}

fn ok(body: &str) -> Says {
    Says::Answer(200, body.to_owned())
}

fn fails(status: u16, body: &str) -> Says {
    Says::Answer(status, body.to_owned())
}

fn ids(instances: &[Instance]) -> Vec<&str> {
    instances.iter().map(|instance| instance.id.as_str()).collect()
}

#[tokio::test]
async fn a_list_is_all_its_pages_in_order() {
    let (stub, settings) = Stub::start([ok(PAGE_1), ok(PAGE_2)]).await;
    let instances = driver(settings, &["127.0.0.0/8"]).instances(&login(Some("eu-west-1"))).await.expect("a list");
    assert_eq!(
        ids(&instances),
        [
            "i-0a00000000000d001",
            "i-0a00000000000d002",
            "i-0a00000000000d003",
            "i-0a00000000000d004",
            "i-0a00000000000d005",
            "i-0c7a1f2e3d4b5a601",
            "i-0c7a1f2e3d4b5a602",
            "i-0f00ba4f00ba4f001",
        ]
    );

    let asked = stub.asked();
    let pages: Vec<_> = asked.iter().map(|page| (page.get("MaxResults"), page.get("NextToken"))).collect();
    assert_eq!(pages, [(Some("1000"), None), (Some("1000"), Some("eyJ2IjoiMiIsImMiOiJtb3JlIn0="))]);
    for page in &asked {
        assert_eq!((page.get("Action"), page.get("Version")), (Some("DescribeInstances"), Some("2016-11-15")));
        let signed = page.headers["authorization"].to_str().expect("text");
        assert!(signed.contains("/eu-west-1/ec2/aws4_request, SignedHeaders=content-type;host;x-amz-date"), "{signed}");
    }
    stub.end();
}

#[tokio::test]
async fn a_list_that_breaks_on_its_second_page_is_an_error_of_the_right_kind() {
    let throttled = |seconds| Kind::Throttled { after: Some(Duration::from_secs(seconds)) };
    let cases: Vec<(&str, Says, Kind)> = vec![
        ("server fault", fails(500, recorded!("error-InternalError")), Kind::Unavailable),
        ("bad gateway", fails(502, "<html>Bad Gateway</html>"), Kind::Unavailable),
        ("portal", ok("<html>Please sign in</html>"), Kind::Unavailable),
        ("empty", ok(""), Kind::Unavailable),
        ("half a list", ok(&PAGE_2[..PAGE_2.len() / 2]), Kind::Unavailable),
        ("half an answer", Says::Half(PAGE_2.to_owned()), Kind::Unavailable),
        ("throttled", Says::Later(503, "7", recorded!("error-RequestLimitExceeded").to_owned()), throttled(7)),
        ("too many", Says::Later(429, "9", String::new()), throttled(9)),
        ("credentials", fails(401, recorded!("error-AuthFailure")), Kind::Denied),
        ("nothing in time", Says::Nothing, Kind::TimedOut),
        ("too long", ok(&PAGE_2.replace("    ", &" ".repeat(4096))), Kind::Unavailable),
        ("the same page again", ok(PAGE_1), Kind::Unavailable),
    ];
    for (what, second, kind) in cases {
        let (stub, settings) = Stub::start([ok(PAGE_1), second]).await;
        let page_timeout_ms = if kind == Kind::TimedOut { 200 } else { settings.page_timeout_ms };
        let settings = Ec2Settings { page_timeout_ms, body_bytes_max: 100_000, ..settings };
        let error = driver(settings, &["127.0.0.0/8"]).instances(&login(None)).await.expect_err(what);
        assert_eq!(error.kind, kind, "{what}: {error}");
        assert!(error.text.contains("DescribeInstances"), "{what}: {error}");
        stub.end();
    }
}

#[tokio::test]
async fn a_list_of_more_pages_than_the_bound_is_an_error() {
    let (stub, settings) = Stub::start([ok(PAGE_1)]).await;
    let settings = Ec2Settings { pages_max: 1, ..settings };
    let error = driver(settings, &["127.0.0.0/8"]).instances(&login(None)).await.expect_err("one page more");
    assert_eq!(error.kind, Kind::Unavailable);
    assert!(error.text.contains("pages_max"), "{error}");
    stub.end();
}

#[tokio::test]
async fn a_targeted_look_filters_and_gives_only_what_was_asked_for() {
    let (stub, settings) = Stub::start([ok(PAGE_2), ok(PAGE_2), ok(PAGE_2)]).await;
    let driver = driver(settings, &["127.0.0.0/8"]);
    let wanted: BTreeSet<InstanceId> =
        (0..401).map(|at| InstanceId(format!("i-{at:03}"))).chain([InstanceId::from("i-0a00000000000d004")]).collect();
    let found = driver.instances_by_id(&login(None), &wanted).await.expect("a look");
    assert_eq!(ids(&found), ["i-0a00000000000d004"], "once, though three answers held it, and none of the others");

    let sizes: Vec<usize> = stub
        .asked()
        .iter()
        .map(|asked| {
            assert_eq!((asked.get("Filter.1.Name"), asked.get("InstanceId.1")), (Some("instance-id"), None));
            asked.form.iter().filter(|(name, _)| name.starts_with("Filter.1.Value.")).count()
        })
        .collect();
    assert_eq!(sizes, [200, 200, 2]);
    assert_eq!(driver.instances_by_id(&login(None), &BTreeSet::new()).await.expect("nothing to ask"), []);
    stub.end();
}

#[tokio::test]
async fn an_action_answers_with_the_newer_state() {
    // The list still says what was before; then it has moved on; then it does not know the instance any more.
    let gone = "<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>";
    let stop = recorded!("StopInstances");
    let script = [stop, PAGE_1, PAGE_2, stop, &PAGE_1.replace("running", "stopped"), PAGE_2, stop, gone];
    let (stub, settings) = Stub::start(script.map(ok)).await;
    let driver = driver(settings, &["127.0.0.0/8"]);
    let id = InstanceId::from("i-0c7a1f2e3d4b5a601");
    let mut seen = Vec::new();
    for _ in 0..3 {
        let read = driver.act(&login(None), &id, Action::Stop).await.expect("it was asked for");
        seen.push(read.map(|instance| (instance.state, instance.settling)));
    }
    assert_eq!(seen, [Some((InstanceState::Stopping, true)), Some((InstanceState::Stopped, false)), None]);
    assert_eq!(stub.asked()[0].get("InstanceId.1"), Some("i-0c7a1f2e3d4b5a601"));
    stub.end();
}

#[tokio::test]
async fn a_refusal_says_what_can_be_done() {
    let not_found = recorded!("error-InvalidInstanceID.NotFound");
    let wrong_state = recorded!("error-IncorrectInstanceState");
    let no_image = recorded!("error-InvalidAMIID.NotFound");
    let script = [not_found, wrong_state, no_image, recorded!("error-sts-InvalidClientTokenId")];
    let (stub, settings) = Stub::start(script.map(|body| fails(400, body))).await;
    let (driver, login) = (driver(settings, &["127.0.0.0/8"]), login(None));
    let id = InstanceId::from("i-1a2b3c4d");

    assert_eq!(driver.act(&login, &id, Action::Reboot).await.expect_err("unknown").kind, Kind::NotFound);
    assert_eq!(driver.act(&login, &id, Action::Start).await.expect_err("it runs").kind, Kind::Conflict);
    let new = NewInstance { image: "ami-0bad".to_owned(), count: 1, ..NewInstance::default() };
    let error = driver.create_instance(&login, &new).await.expect_err("no such image");
    assert_eq!(error.kind, Kind::Invalid);
    assert!(error.text.contains("InvalidAMIID.NotFound: The image id '[ami-0bad]' does not exist"), "{error}");
    assert_eq!(driver.identify(&login).await.expect_err("a wrong key").kind, Kind::Denied);
    stub.end();
}

#[tokio::test]
async fn a_key_of_the_account_that_may_not_look_identifies_nobody() {
    let caller = recorded!("GetCallerIdentity");
    let forbidden = recorded!("error-AuthFailure").replace("AuthFailure", "UnauthorizedOperation");
    let script = [Says::Answer(200, caller.to_owned()), Says::Answer(403, forbidden)];
    let (stub, settings) = Stub::start(script).await;
    let error = driver(settings, &["127.0.0.0/8"]).identify(&login(None)).await.expect_err("it may not look");
    assert_eq!(error.kind, Kind::Forbidden);
    stub.end();

    let script = [Says::Answer(200, caller.to_owned()), Says::Answer(200, PAGE_1.to_owned())];
    let (stub, settings) = Stub::start(script).await;
    let identity = driver(settings, &["127.0.0.0/8"]).identify(&login(None)).await.expect("it may look");
    assert_eq!(identity, "123456789012");
    assert_eq!(stub.asked()[1].get("MaxResults"), Some("5"), "one page is proof enough");
    stub.end();
}

#[tokio::test]
async fn an_error_shows_no_secret_even_if_the_backend_echoes_all() {
    let (stub, settings) = Stub::start([Says::Echo]).await;
    let driver = driver(settings, &["127.0.0.0/8"]);
    let user_data = "top secret user data";
    let new = NewInstance {
        image: "ami-1".to_owned(),
        user_data: Some(user_data.as_bytes().to_vec().into()),
        count: 1,
        ..NewInstance::default()
    };
    let error = driver.create_instance(&login(None), &new).await.expect_err("echoed");
    let shown = format!("{error} {error:?}");

    let asked = stub.asked().remove(0);
    let authorization = asked.headers["authorization"].to_str().expect("text").to_owned();
    let signature = authorization.rsplit('=').next().expect("the last part");
    assert_eq!(signature.len(), 64, "{authorization}");
    let encoded = asked.get("UserData").expect("sent");
    for secret in [SECRET, KEY_ID, signature, user_data, encoded] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("AuthFailure"), "{shown}");
    stub.end();
}

#[tokio::test]
async fn a_provider_that_may_not_be_dialled_is_named() {
    let driver = driver(Ec2Settings::default(), &[]);
    for provider in ["127.0.0.1:1", "169.254.169.254", "[::1]"] {
        let error = driver.identify(&login(Some(provider))).await.expect_err(provider);
        assert_eq!(error.kind, Kind::Invalid, "{error}");
        assert!(error.text.contains(provider), "{error}");
    }
}

#[tokio::test]
async fn the_operators_endpoint_is_called_wherever_it_lies_and_opens_nothing_to_others() {
    let caller = Says::Answer(200, recorded!("GetCallerIdentity").to_owned());
    let (stub, settings) = Stub::start([caller, Says::Answer(200, PAGE_1.to_owned())]).await;
    let host = settings.endpoint.as_ref().expect("the stub's").authority().to_owned();
    let driver = driver(settings, &[]);
    assert_eq!(driver.identify(&login(None)).await.expect("the operator wrote it"), "123456789012");
    for provider in [host.as_str(), "127.0.0.1:1", "10.0.0.1"] {
        for error in [
            driver.identify(&login(Some(provider))).await.expect_err(provider),
            driver.instances(&login(Some(provider))).await.expect_err(provider),
        ] {
            assert_eq!(error.kind, Kind::Invalid, "{error}");
        }
    }
    stub.end();
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let driver = driver(at(&format!("http://127.0.0.1:{port}")), &["127.0.0.0/8"]);
    assert_eq!(driver.realms(&login(None)).await.expect_err("nobody there").kind, Kind::Unavailable);
}

/// The driver and boto3 on one cloud, each seeing what the other does.
#[tokio::test]
async fn moto_is_watched_and_used_like_ec2() {
    let Some(python) = moto::python("moto_is_watched_and_used_like_ec2") else { return };
    let moto = Moto::start(python).await;
    let driver = driver(Ec2Settings { page_size: 5, ..at(moto.endpoint()) }, &["127.0.0.0/8"]);
    let login = login(Some("us-east-1"));

    assert_eq!(driver.identify(&login).await.expect("STS"), "123456789012");
    let realms = driver.realms(&login).await.expect("zones");
    assert!(realms.iter().any(|realm| realm.id == "us-east-1a" && realm.state == RealmState::Available), "{realms:?}");
    assert_eq!(driver.instances(&login).await.expect("an empty list"), []);

    // Twelve reservations, five to a page.
    let made = moto.boto(&["run", "12"]).await;
    let listed = driver.instances(&login).await.expect("all pages");
    assert_eq!(ids(&listed).into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), made.iter().cloned().collect());
    assert!(listed.iter().all(|instance| instance.state == InstanceState::Running), "{listed:?}");
    let short = self::driver(Ec2Settings { page_size: 5, pages_max: 2, ..at(moto.endpoint()) }, &["127.0.0.0/8"]);
    let error = short.instances(&login).await.expect_err("moto really needs three pages");
    assert!(error.text.contains("pages_max"), "{error}");

    // What boto3 does is seen, by a targeted look that also asks for what never was.
    let id = InstanceId(made[0].clone());
    moto.boto(&["name", id.as_str(), "web"]).await;
    moto.boto(&["stop", id.as_str()]).await;
    let wanted = BTreeSet::from([id.clone(), InstanceId::from("i-00000000000000000")]);
    let stopped = driver.instances_by_id(&login, &wanted).await.expect("a look").remove(0);
    assert_eq!((stopped.state, stopped.name.as_deref()), (InstanceState::Stopped, Some("web")));
    assert_eq!(stopped.actions, [Action::Start, Action::Destroy]);
    assert_eq!(driver.instance(&login, &InstanceId::from("i-*")).await.expect("no wildcard"), None);

    // What the driver does is seen by boto3.
    let image = moto.boto(&["image", id.as_str(), "golden"]).await.remove(0);
    let new = NewInstance {
        image: image.clone(),
        realm: Some("us-east-1b".to_owned()),
        hardware_profile: Some("m5d.large".to_owned()),
        key_name: Some("alice".to_owned()),
        user_data: Some(b"#!/bin/sh\necho hello\n".to_vec().into()),
        count: 2,
        ..NewInstance::default()
    };
    let created = driver.create_instance(&login, &new).await.expect("created");
    assert_eq!(created.len(), 2);
    assert_eq!((created[0].state, created[0].settling), (InstanceState::Pending, true));
    assert_eq!(created[0].realm.as_deref(), Some("us-east-1b"));
    let mine = created[0].id.clone();
    for (action, native) in [(Action::Stop, "stopped"), (Action::Start, "running"), (Action::Reboot, "running")] {
        driver.act(&login, &mine, action).await.expect("done").expect("still there");
        let listed = moto.boto(&["list"]).await;
        assert!(listed.contains(&format!("{mine} {native}")), "after {action:?}: {listed:?}");
    }
    driver.act(&login, &mine, Action::Destroy).await.expect("done");
    let ended = driver.instance(&login, &mine).await.expect("a look").expect("listed for a while");
    assert_eq!((ended.state, ended.native_state.as_str()), (InstanceState::Finish, "terminated"));
    assert_eq!(ended.actions, []);
    let unknown = driver.act(&login, &InstanceId::from("i-00000000000000000"), Action::Stop).await;
    assert_eq!(unknown.expect_err("never was").kind, Kind::NotFound);

    // Images: one's own are listed, any can be looked up.
    let images = driver.images(&login).await.expect("own images");
    assert_eq!(images.iter().map(|image| image.id.as_str()).collect::<Vec<_>>(), [image.as_str()]);
    assert_eq!(driver.image(&login, &image).await.expect("a look").map(|image| image.name).as_deref(), Some("golden"));
    assert_eq!(driver.image(&login, "ami-00000000").await.expect("a clear answer"), None);

    let profiles = driver.hardware_profiles(&login).await.expect("all types");
    let one = profiles.iter().find(|profile| profile.id == "m5d.large").expect("listed");
    let sizes: Vec<_> = one.properties.iter().map(|property| (property.name, property.value.as_str())).collect();
    assert_eq!(sizes, [("cpu", "2"), ("memory", "8192"), ("storage", "75"), ("architecture", "x86_64")]);
}

/// The judge of callbacks is itself judged: one that always nods would be worse than none.
#[tokio::test]
async fn the_public_library_tells_good_signatures_from_bad_ones() {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD as BASE64;
    use hmac::{Hmac, KeyInit as _, Mac as _};

    let Some(python) = moto::python("the_public_library_tells_good_signatures_from_bad_ones") else { return };
    let key = [7; 32];
    let secret = format!("whsec_{}", BASE64.encode(key));
    let now = tracker::clock::Clock::now(&SystemClock).as_second().to_string();
    let body = r#"{"type":"instance.state"}"#;
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&key).expect("any length");
    mac.update(format!("chg_1.{now}.{body}").as_bytes());
    let signature = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
    let headers =
        [("Webhook-Id", "chg_1"), ("webhook-timestamp", now.as_str()), ("webhook-signature", signature.as_str())];

    let good = moto::verify(&python, &secret, &headers, body).await;
    assert_eq!(good.status, 0, "{good:?}");
    assert!(good.stdout.contains("instance.state"), "{good:?}");
    let other_body = moto::verify(&python, &secret, &headers, r#"{"type":"instance.gone"}"#).await;
    assert_eq!(other_body.status, 1, "{other_body:?}");
    let no_headers = moto::verify(&python, &secret, &headers[..2], body).await;
    assert_eq!(no_headers.status, 1, "{no_headers:?}");
}
