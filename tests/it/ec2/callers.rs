//! Who asks, of whom, and what he is told when it fails.

use tracker::drivers::{Ec2Settings, Kind};
use tracker::model::NewInstance;

use super::stub::{Says, Stub};
use super::{KEY_ID, PAGE_1, SECRET, at, driver, login};

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
