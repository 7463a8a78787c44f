//! Who is asked, for what, as whom and how often.

use std::collections::BTreeSet;

use tracker::drivers::{DeltacloudSettings, Kind, Urgency, within};
use tracker::model::InstanceState;

use super::canned::{Canned, Says, fails, ok};
use super::{BASIC, PASSWORD, USER, at, driver, error, hasty, ids, instance, list, login, set};

#[tokio::test]
async fn an_account_is_a_user_whom_the_upstream_tells_from_nobody() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let refused = || fails(401, error(401, "Unauthorized"));

    upstream.says("GET /api/instances", refused()).says("GET /api/instances", ok(list(&[])));
    assert_eq!(driver.identify(&login(None)).await.expect("good credentials"), USER);
    let shown: Vec<_> = upstream.asked().iter().map(|asked| asked.header("authorization").map(str::to_owned)).collect();
    assert_eq!(shown, [None, Some(format!("Basic {BASIC}"))]);

    upstream.clear();
    upstream.says("GET /api/instances", refused());
    assert_eq!(driver.identify(&login(None)).await.expect_err("wrong ones").kind, Kind::Denied);

    // Otherwise anybody could say that he is anybody.
    upstream.clear();
    upstream.says("GET /api/instances", ok(list(&[])));
    let error = driver.identify(&login(None)).await.expect_err("whoever it is");
    assert!(error.kind == Kind::Forbidden && error.text.contains("lets in everybody"), "{error}");
    assert_eq!(upstream.heard().len(), 1, "nor is it told the password");

    upstream.clear();
    upstream.says("GET /api/instances", fails(502, "<html/>"));
    assert_eq!(driver.identify(&login(None)).await.expect_err("it cannot say").kind, Kind::Unavailable);
}

#[tokio::test]
async fn a_look_that_nobody_waits_for_is_asked_again_and_an_order_never_is() {
    let upstream = Canned::start().await;
    let (driver, login) = (hasty(at(upstream.root())), login(None));
    let broken = || fails(502, "<html/>");
    let whole = list(&[instance("x", "i-1", "RUNNING", &[])]);
    upstream
        .says("GET /api/instances", broken())
        .says("GET /api/instances", broken())
        .says("GET /api/instances", ok(whole));
    assert_eq!(driver.instances(&login).await.expect_err("a client asks once").kind, Kind::Unavailable);
    assert_eq!(upstream.heard().len(), 1);
    assert_eq!(ids(&within(Urgency::List, driver.instances(&login)).await.expect("in the end")), ["i-1"]);
    assert_eq!(upstream.heard().len(), 3);

    upstream.clear();
    upstream.says("DELETE /api/images/img-1", broken());
    within(Urgency::List, driver.destroy_image(&login, "img-1")).await.expect_err("it may have been done");
    let orders = upstream.heard().iter().filter(|what| what.starts_with("DELETE")).count();
    assert_eq!(orders, 1, "{:?}", upstream.heard());
}

#[tokio::test]
async fn what_was_chosen_is_said_on_every_request_and_another_drivers_answer_is_none() {
    let upstream = Canned::start().await;
    let driver = driver(DeltacloudSettings::default(), &["127.0.0.0/8"]);
    let chosen = login(Some(&format!("{};driver=OpenStack;provider=http://k:5000/v2.0/;RegionOne", upstream.root())));
    let says = |echo: &str| {
        let body = list(&[instance("x", "i-1", "RUNNING", &[])]);
        Says::Answer(200, vec![("x-deltacloud-driver", echo.to_owned())], body)
    };
    for echo in ["openstack", "OPENSTACK"] {
        upstream.clear();
        upstream.says("GET /api/instances", says(echo));
        assert_eq!(ids(&driver.instances(&chosen).await.expect("the right one")), ["i-1"]);
    }
    let form = fails(400, error(400, "no"));
    upstream.says("POST /api/instances", form);
    let new = tracker::model::NewInstance { image: "img1".to_owned(), ..Default::default() };
    driver.create_instance(&chosen, &new).await.expect_err("refused");
    for asked in upstream.asked() {
        assert_eq!(asked.header("x-deltacloud-driver"), Some("openstack"), "{}", asked.what);
        assert_eq!(asked.header("x-deltacloud-provider"), Some("http://k:5000/v2.0/;RegionOne"));
        assert_eq!(asked.header("accept"), Some("application/xml"));
    }

    upstream.clear();
    upstream.says("GET /api/instances", says("mock"));
    let error = driver.instances(&chosen).await.expect_err("another cloud");
    assert!(error.kind == Kind::Unavailable && error.text.contains("another one answered"), "{error}");
    // Not even its word that something is not there.
    let gone = Says::Answer(404, vec![("x-deltacloud-driver", "mock".to_owned())], super::error(404, "Not Found"));
    upstream.says("GET /api/instances/i-1", gone);
    assert_eq!(driver.instance(&chosen, &"i-1".into()).await.expect_err("another cloud").kind, Kind::Unavailable);

    // Nothing is chosen for whoever chooses nothing.
    upstream.clear();
    upstream.says("GET /api/instances", says("mock"));
    driver.instances(&login(Some(upstream.root()))).await.expect("its default");
    assert_eq!(upstream.asked()[0].header("x-deltacloud-driver"), None);
}

#[tokio::test]
async fn an_upstream_in_a_private_network_is_the_operators_to_name() {
    let upstream = Canned::start().await;
    upstream.says("GET /api/instances", ok(list(&[])));
    let named = login(Some(upstream.root()));

    let guarded = driver(DeltacloudSettings::default(), &[]);
    for private in [upstream.root(), "http://10.0.0.1/api", "http://[::ffff:169.254.169.254]/api", "http://0x7f.1:1/"] {
        let error = guarded.instances(&login(Some(private))).await.expect_err(private);
        assert!(error.kind == Kind::Invalid && error.text.contains("may not be called"), "{error}");
    }
    assert_eq!(upstream.heard(), [""; 0]);

    driver(DeltacloudSettings::default(), &["127.0.0.0/8"]).instances(&named).await.expect("its network is allowed");
    let by_operator = driver(at(upstream.root()), &[]);
    by_operator.instances(&login(None)).await.expect("the settings name it");
    by_operator.instances(&named).await.expect("it is the same one, written out as in hrefs");
    let other = by_operator.instances(&login(Some("http://127.0.0.1:1/api"))).await.expect_err("another one");
    assert_eq!(other.kind, Kind::Invalid);
}

#[tokio::test]
async fn members_are_asked_for_where_a_list_has_no_states() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let root = upstream.root();
    let stateless = |id: &str| format!("<instance href='x' id='{id}'><name>{id}</name><actions></actions></instance>");
    let listed = list(&[instance(root, "a", "RUNNING", &[]), stateless("b"), stateless("c"), stateless("d")]);
    upstream
        .says("GET /api/instances", ok(listed))
        .says("GET /api/instances/b", ok(instance(root, "b", "STOPPED", &[])))
        .says("GET /api/instances/c", fails(404, error(404, "Not Found")))
        .says("GET /api/instances/d", ok(stateless("d")));
    let seen = driver.instances(&login(None)).await.expect("a list");
    let states: Vec<_> = seen.iter().map(|one| (one.id.as_str(), one.state)).collect();
    use InstanceState::{Running, Stopped, Unknown};
    assert_eq!(states, [("a", Running), ("b", Stopped), ("d", Unknown)], "c went meanwhile");

    upstream.clear();
    upstream.says("GET /api/instances", ok(list(&[stateless("b")]))).says("GET /api/instances/b", fails(502, ""));
    assert_eq!(driver.instances(&login(None)).await.expect_err("half a list").kind, Kind::Unavailable);
}

#[tokio::test]
async fn many_are_looked_for_in_the_list_and_the_missing_one_by_one() {
    let upstream = Canned::start().await;
    let root = upstream.root();
    let one = |id: &str| instance(root, id, "RUNNING", &[]);
    let settings = || DeltacloudSettings { looks_max: 2, looks_at_once: 1, ..at(root) };
    let gone = || fails(404, error(404, "Not Found"));

    upstream.says("GET /api/instances/a", ok(one("a"))).says("GET /api/instances/x", gone());
    let found = driver(settings(), &[]).instances_by_id(&login(None), &set(&["a", "x"])).await.expect("a look");
    assert_eq!((ids(&found), upstream.heard()), (vec!["a"], heard(&["GET /api/instances/a", "GET /api/instances/x"])));

    upstream.clear();
    upstream
        .says("GET /api/instances", ok(list(&[one("a"), one("b"), one("z")])))
        .says("GET /api/instances/c", ok(one("c")))
        .says("GET /api/instances/x", gone());
    let found =
        driver(settings(), &[]).instances_by_id(&login(None), &set(&["a", "b", "c", "x"])).await.expect("a look");
    assert_eq!(ids(&found), ["a", "b", "c"], "c is there, whatever the list says");
    assert_eq!(upstream.heard(), heard(&["GET /api/instances", "GET /api/instances/c", "GET /api/instances/x"]));

    upstream.clear();
    assert_eq!(driver(settings(), &[]).instances_by_id(&login(None), &BTreeSet::new()).await.expect("none"), []);
    assert_eq!(upstream.heard(), heard(&[]));
}

fn heard(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

#[tokio::test]
async fn odd_ids_and_names_are_asked_for_as_they_are() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let odd = "<instance href='x' id='vm one;x/&amp;'><name>A & B</name><state>RUNNING</state></instance>";
    upstream.says("GET /api/instances/vm%20one%3Bx%2F%26", ok(odd));
    let seen = driver.instance(&login(None), &"vm one;x/&".into()).await.expect("a look").expect("there");
    assert_eq!((seen.name.as_deref(), seen.state), (Some("A & B"), InstanceState::Running));
}

#[tokio::test]
async fn who_cannot_be_said_in_a_header_is_not_asked_for() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    for user in ["", "a:b"] {
        let mut login = login(None);
        login.credentials.user = user.to_owned();
        let error = driver.instances(&login).await.expect_err("no such user");
        assert!(error.kind == Kind::Denied && !error.text.contains(PASSWORD), "{error}");
    }
    assert_eq!(upstream.heard(), heard(&[]));
}
