//! Tokens: asked for once, renewed in time and when refused, and never shown.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tracker::chance::Chance;
use tracker::drivers::{self, Drivers, Kind, OpenStackSettings};
use tracker::model::{Credentials, DriverId, InstanceId, Login, Secret};
use url::Url;

use super::stub::{Says, Stub, fails, ok};
use super::{PASSWORD, PROJECT, clock, driver, driver_at, login};
use crate::support::tls::{self, TlsReceiver};

fn none() -> Says {
    ok(&json!({"servers": []}))
}

fn refused() -> Says {
    Says::Recorded(recorded!("servers-unauth"))
}

#[tokio::test]
async fn the_account_is_the_project() {
    let (stub, settings) = Stub::start([none(), none()]).await;
    let (driver, login) = (driver(settings), login(None));
    assert_eq!(driver.identify(&login).await.expect("Keystone"), PROJECT);
    assert_eq!(driver.identify(&login).await.expect("Keystone"), PROJECT);
    let asked = stub.asked_keystone();
    assert_eq!(asked.len(), 2, "the password itself is shown each time");
    let user = json!({"name": "admin", "domain": {"id": "default"}, "password": PASSWORD});
    let project = json!({"name": "admin", "domain": {"id": "default"}});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    assert_eq!(asked[0].body, json!({"auth": {"identity": identity, "scope": {"project": project}}}));
    assert_eq!(stub.asked()[1].header("x-auth-token"), Some("gAAAAABNOTATOKEN2"));
    stub.end();
}

#[tokio::test]
async fn who_may_not_look_is_not_identified() {
    let policy = r#"{"forbidden": {"code": 403, "message": "Policy doesn't allow os_compute_api:servers:index to be performed."}}"#;
    let (stub, settings) = Stub::start([fails(403, policy)]).await;
    assert_eq!(driver(settings).identify(&login(None)).await.expect_err("no role").kind, Kind::Forbidden);
    stub.end();
}

#[tokio::test]
async fn an_application_credential_is_as_good_as_a_password() {
    let (stub, settings) = Stub::start([none()]).await;
    let credentials = Credentials { user: "++7d1a".to_owned(), password: Secret::from("its-secret") };
    let login = Login { credentials, ..login(None) };
    assert_eq!(driver(settings).identify(&login).await.expect("Keystone"), PROJECT);
    let credential = json!({"id": "7d1a", "secret": "its-secret"});
    let identity = json!({"methods": ["application_credential"], "application_credential": credential});
    assert_eq!(stub.asked_keystone()[0].body, json!({"auth": {"identity": identity}}));
    stub.end();
}

#[tokio::test]
async fn many_calls_at_once_ask_keystone_once() {
    let (stub, settings) = Stub::start((0..20).map(|_| none())).await;
    let (driver, login) = (driver(settings), login(None));
    let all = join_all((0..20).map(|_| driver.instances(&login))).await;
    assert!(all.into_iter().all(|list| list.expect("a list").is_empty()));
    assert_eq!(stub.asked_keystone().len(), 1);
    stub.end();
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let (stub, settings) = Stub::start((0..3).map(|_| none())).await;
    let clock = clock();
    let settings = OpenStackSettings { catalog_kept_ms: 24 * 3_600_000, ..settings };
    let (driver, login) = (driver_at(clock.clone(), settings, &[]), login(None));
    driver.instances(&login).await.expect("a list");
    clock.advance(Duration::from_secs(4 * 3600 - 301));
    driver.instances(&login).await.expect("a list");
    assert_eq!(stub.asked_keystone().len(), 1, "it lasts four hours");
    clock.advance(Duration::from_secs(1));
    driver.instances(&login).await.expect("a list");
    assert_eq!(stub.asked_keystone().len(), 2, "with five minutes to spare");
    stub.end();
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_then_the_service_has_refused_the_caller() {
    let volumes = || ok(&json!({"volumes": []}));
    let script = [none(), refused(), none(), refused(), refused(), refused(), volumes(), none()];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    driver.instances(&login).await.expect("a list");
    driver.instances(&login).await.expect("with another token");
    let tokens = |stub: &Stub| -> Vec<String> {
        stub.asked().iter().map(|asked| asked.header("x-auth-token").expect("a token").to_owned()).collect()
    };
    assert_eq!(tokens(&stub), ["gAAAAABNOTATOKEN1", "gAAAAABNOTATOKEN1", "gAAAAABNOTATOKEN2"]);
    let error = driver.instances(&login).await.expect_err("refused twice");
    assert_eq!(error.kind, Kind::Forbidden, "Keystone gave a token a moment ago");
    assert!(error.text.contains("Keystone accepts this login, compute does not"), "{error}");
    assert_eq!(tokens(&stub).last().map(String::as_str), Some("gAAAAABNOTATOKEN3"));
    // Another token would be refused as well, and what other services take stays.
    assert_eq!(driver.instances(&login).await.expect_err("still").kind, Kind::Forbidden);
    assert_eq!(driver.storage().expect("offered").volumes(&login).await.expect("Cinder takes it"), []);
    driver.instances(&login).await.expect("the service came to its senses");
    assert_eq!(stub.asked_keystone().len(), 3);
    stub.end();
}

/// The recorded token, with this in its catalog for that.
fn token(this: &str, that: &str) -> Says {
    let recorded = recorded!("keystone-token");
    assert!(recorded.contains(this), "{this}");
    Says::Recorded(recorded.replace(this, that).leak())
}

#[tokio::test]
async fn a_catalog_is_believed_for_a_quarter_of_an_hour() {
    let (stub, settings) = Stub::start((0..3).map(|_| none())).await;
    let clock = clock();
    let (driver, login) = (driver_at(clock.clone(), settings, &[]), login(None));
    for (passed_s, asked) in [(0, 1), (899, 1), (1, 2)] {
        clock.advance(Duration::from_secs(passed_s));
        driver.instances(&login).await.expect("a list");
        assert_eq!(stub.asked_keystone().len(), asked, "after {passed_s} s");
    }
    stub.end();
}

#[tokio::test]
async fn a_catalog_that_leads_nowhere_is_asked_for_anew_when_it_is_old() {
    let elsewhere = [("127.0.0.1:18774", "127.0.0.1:1"), ("RegionOne", "RegionTwo")];
    for (this, that) in elsewhere {
        let (stub, settings) = Stub::start([none()]).await;
        stub.keystone.lock().expect("no panic").extend([token(this, that), token(this, that), Says::Token(3)]);
        let clock = clock();
        let driver = driver_at(clock.clone(), settings, &[]);
        let login = login(Some(";RegionOne"));
        driver.instances(&login).await.expect_err("nobody is there");
        clock.advance(Duration::from_secs(59));
        driver.instances(&login).await.expect_err("nobody is there, and Keystone just said so");
        assert_eq!(stub.asked_keystone().len(), 1, "{that}");
        clock.advance(Duration::from_secs(1));
        driver.instances(&login).await.expect_err("nobody is there by now");
        assert_eq!(stub.asked_keystone().len(), 2, "{that}: once for a call");
        clock.advance(Duration::from_secs(60));
        driver.instances(&login).await.expect("where the new catalog has it");
        assert_eq!(stub.asked_keystone().len(), 3, "{that}");
        stub.end();
    }
}

#[tokio::test]
async fn a_service_that_a_cloud_came_to_have_is_found() {
    let (stub, settings) = Stub::start([ok(&json!({"volumes": []}))]).await;
    let without = recorded!("keystone-token").replace("volumev3", "dns").replace("block-storage", "dns");
    stub.keystone.lock().expect("no panic").push_back(Says::Recorded(without.leak()));
    let clock = clock();
    let (driver, login) = (driver_at(clock.clone(), settings, &[]), login(None));
    let storage = driver.storage().expect("offered");
    clock.advance(Duration::from_secs(1));
    assert_eq!(storage.volumes(&login).await.expect_err("no Cinder").kind, Kind::Unsupported);
    clock.advance(Duration::from_secs(299));
    assert_eq!(storage.volumes(&login).await.expect_err("no Cinder").kind, Kind::Unsupported);
    assert_eq!(stub.asked_keystone().len(), 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(storage.volumes(&login).await.expect("there it is"), []);
    stub.end();
}

#[tokio::test]
async fn an_old_catalog_is_better_than_a_keystone_that_is_away() {
    let (stub, settings) = Stub::start([none(), none(), none()]).await;
    stub.keystone.lock().expect("no panic").extend([Says::Token(1), fails(503, "")]);
    let clock = clock();
    let (driver, login) = (driver_at(clock.clone(), settings, &[]), login(None));
    driver.instances(&login).await.expect("a list");
    clock.advance(Duration::from_secs(900));
    driver.instances(&login).await.expect("with the token that is still good");
    driver.instances(&login).await.expect("a list");
    assert_eq!(stub.asked_keystone().len(), 2, "not with every call");
    stub.end();
}

#[tokio::test]
async fn a_login_that_is_refused_says_who_was_asked_about_and_where() {
    let unauthorized = r#"{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}"#;
    let at_identity = vec![("location", "https://cloud.example/identity/v3/auth/tokens".to_owned())];
    let own = "there is no Keystone v3 at 127.0.0.1:";
    let who =
        "asked as user `admin` of domain `default`, in project `admin` of domain `default`; the user is USER+PROJECT";
    let cases = [
        (fails(401, unauthorized), vec!["requires authentication", who, "/v3/auth/tokens"]),
        (fails(404, "<html>404</html>"), vec![own, "devstack has it at http://IP/identity"]),
        (fails(405, "<html>405</html>"), vec![own, "devstack has it at http://IP/identity"]),
        (Says::Answer(302, at_identity, String::new()), vec!["status 302", "it leads on to cloud.example"]),
    ];
    for (says, expected) in cases {
        let (stub, settings) = Stub::start([]).await;
        stub.keystone.lock().expect("no panic").push_back(says);
        let error = driver(settings).instances(&login(None)).await.expect_err("no token");
        for words in expected {
            assert!(error.text.contains(words), "{words}: {error}");
        }
        assert!(!error.text.contains(PASSWORD), "{error}");
        stub.end();
    }
}

#[tokio::test]
async fn what_the_operator_says_of_his_cloud_is_said_to_no_other() {
    let (stub, settings) = Stub::start([none(), none()]).await;
    let settings = OpenStackSettings { domain: "corp".to_owned(), ..settings };
    let url = stub.url();
    driver(settings.clone()).instances(&login(None)).await.expect("a list");
    let elsewhere = OpenStackSettings { auth_url: None, ..settings };
    driver_at(clock(), elsewhere, &["127.0.0.0/8"]).instances(&login(Some(&url))).await.expect("a list");
    let domains: Vec<_> = stub
        .asked_keystone()
        .iter()
        .map(|asked| asked.body["auth"]["identity"]["password"]["user"]["domain"].clone())
        .collect();
    assert_eq!(domains, [json!({"name": "corp"}), json!({"id": "default"})]);
    stub.end();
}

#[tokio::test]
async fn a_private_authority_is_believed_when_the_settings_name_it() {
    let cloud = TlsReceiver::start(&["http/1.1"]);
    let auth_url: Url = format!("https://{}/", cloud.address()).parse().expect("a URL");
    let refused = async |ca_file: PathBuf| {
        let openstack = OpenStackSettings { auth_url: Some(Url::clone(&auth_url)), ..OpenStackSettings::default() };
        let drivers = drivers::Settings { openstack, ca_file, ..drivers::Settings::default() };
        let settings = tracker::settings::Settings { drivers, ..tracker::settings::Settings::default() };
        let outbound = tracker::service::drivers_outbound(&settings).expect("a client");
        let all = Drivers::new(&settings.drivers, &outbound, clock(), Arc::new(Chance::seeded(1)));
        let driver = all.get(&DriverId::new("openstack")).expect("registered");
        driver.instances(&login(None)).await.expect_err("it gives no token").text
    };
    let unknown = refused(PathBuf::new()).await;
    assert!(unknown.ends_with("authority that this machine does not know: set drivers.ca_file"), "{unknown}");
    let known = refused(tls::file("ca.pem")).await;
    assert!(known.contains("status 200"), "{known}");
}

#[tokio::test]
async fn keystone_is_believed_as_far_as_it_is_keystone() {
    let unauthorized = r#"{"error": {"code": 401, "message": "The request you have made requires authentication.", "title": "Unauthorized"}}"#;
    let throttled = Says::Answer(429, vec![("retry-after", "7".to_owned())], String::new());
    let token = |body: &str| Says::Answer(201, vec![("x-subject-token", "t".to_owned())], body.to_owned());
    let unscoped =
        r#"{"token": {"expires_at": "2026-11-21T04:59:49.000000Z", "issued_at": "2026-11-21T00:59:49.000000Z"}}"#;
    let cases = [
        ("refused", fails(401, unauthorized), Kind::Denied),
        ("throttled", throttled, Kind::Throttled { after: Some(Duration::from_secs(7)) }),
        ("down", fails(503, ""), Kind::Unavailable),
        ("another version", fails(300, r#"{"versions": {}}"#), Kind::Unavailable),
        ("a portal", fails(200, "<html>Sign in</html>"), Kind::Unavailable),
        ("no such page", fails(404, "<html>404</html>"), Kind::Unavailable),
        ("no token", fails(201, unscoped), Kind::Unavailable),
        ("no answer to that", token("{}"), Kind::Unavailable),
        ("no project", token(unscoped), Kind::Invalid),
        ("cut", Says::Half(unscoped.to_owned()), Kind::Unavailable),
        ("nothing", Says::Nothing, Kind::TimedOut),
    ];
    for (what, says, kind) in cases {
        let (stub, settings) = Stub::start([]).await;
        stub.keystone.lock().expect("no panic").push_back(says);
        let driver = driver(OpenStackSettings { page_timeout_ms: 500, ..settings });
        let error = driver.instances(&login(None)).await.expect_err(what);
        assert_eq!(error.kind, kind, "{what}: {error}");
        assert!(!format!("{error} {error:?}").contains(PASSWORD), "{what}: {error:?}");
        stub.end();
    }
}

#[tokio::test]
async fn what_is_echoed_shows_neither_password_nor_token() {
    let (stub, settings) = Stub::start([Says::Echo, Says::Echo]).await;
    let (driver, login) = (driver(settings), login(None));
    stub.keystone.lock().expect("no panic").push_back(Says::Echo);
    let errors = [
        driver.instances(&login).await.expect_err("Keystone's"),
        driver.instances(&login).await.expect_err("Nova's"),
        driver.instance(&login, &InstanceId::from("x")).await.expect_err("Nova's"),
    ];
    for error in errors {
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("***") && !shown.contains(PASSWORD) && !shown.contains("NOTATOKEN"), "{shown}");
    }
    stub.end();
}

#[tokio::test]
async fn only_the_operators_cloud_may_be_in_his_own_network() {
    let (stub, settings) = Stub::start([none(), none(), none()]).await;
    let url = stub.url();
    let own = driver(settings.clone());
    own.instances(&login(None)).await.expect("the operator's own");
    own.instances(&login(Some(&url))).await.expect("and by its name");

    let other = OpenStackSettings { auth_url: None, ..settings };
    let error = driver(other.clone()).instances(&login(Some(&url))).await.expect_err("named by a client");
    assert_eq!(error.kind, Kind::Invalid, "{error}");
    for words in ["127.0.0.1", "drivers.allow_networks", "drivers.openstack.auth_url"] {
        assert!(error.text.contains(words), "{error}");
    }
    let allowed = driver_at(clock(), other, &["127.0.0.0/8"]);
    allowed.instances(&login(Some(&url))).await.expect("a network that the operator allowed");
    stub.end();
}

#[tokio::test]
async fn a_catalog_leads_only_where_its_cloud_may_lead() {
    // Keystone is where it may be, and names a compute service where nobody may look.
    let (stub, settings) = Stub::start([]).await;
    let token = recorded!("keystone-token").replace("http://127.0.0.1:18774", "http://169.254.169.254");
    let token: serde_json::Value = serde_json::from_str(&token).expect("a recorded answer");
    let says = Says::Answer(201, vec![("x-subject-token", "t".to_owned())], token["body"].to_string());
    stub.keystone.lock().expect("no panic").push_back(says);
    let url = stub.url();
    let settings = OpenStackSettings { auth_url: None, ..settings };
    let driver = driver_at(clock(), settings, &["127.0.0.0/8"]);
    let error = driver.instances(&login(Some(&url))).await.expect_err("the metadata service");
    assert_eq!(error.kind, Kind::Invalid, "{error}");
    assert!(error.text.contains("that of the cloud's catalog"), "{error}");
    stub.end();
}

#[tokio::test]
async fn a_region_that_is_not_there_is_a_bad_provider() {
    let (stub, settings) = Stub::start([none()]).await;
    let driver = driver(settings);
    driver.instances(&login(Some(";regionone"))).await.expect("in whatever case");
    let error = driver.instances(&login(Some(";atlantis"))).await.expect_err("nowhere");
    assert_eq!(error.kind, Kind::Invalid);
    assert!(error.text.contains("RegionOne"), "{error}");
    stub.end();
}
