//! An error is never an absence: everything that is not the upstream's own word is an error that says what came.

use std::collections::BTreeSet;

use tracker::drivers::{DeltacloudSettings, Kind};

use super::canned::{Canned, Says, fails, leads, ok};
use super::{at, driver, error, instance, list, login, set};

const LOGIN_PAGE: &str = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form></form></body></html>";

/// What is no word about an instance, be it in a list or alone; what is made of it, and some of what is said.
fn nonsense(root: &str) -> Vec<(&'static str, Says, Kind, &'static str)> {
    let whole = list(&[instance(root, "i-1", "RUNNING", &[])]);
    let alone = "<error status='404'><message>Not Found</message></error>";
    let moved = format!("{root}/instances/elsewhere");
    vec![
        ("a page of a proxy's", ok(LOGIN_PAGE), Kind::Unavailable, "the answer is <html>"),
        ("nothing", ok(""), Kind::Unavailable, "the answer is empty"),
        ("no content", fails(204, ""), Kind::Unavailable, "the answer is empty"),
        ("white space", ok("\n\n"), Kind::Unavailable, "the answer is empty"),
        ("half of it", ok(&whole[..whole.len() / 2]), Kind::Unavailable, "not all of it"),
        ("half of it, cut", Says::Half(whole.clone()), Kind::Unavailable, "broke off"),
        ("JSON", ok("{\"instances\":[]}"), Kind::Unavailable, "not XML"),
        ("another list", ok("<realms></realms>"), Kind::Unavailable, "the answer is <realms>"),
        ("a way to a login page", leads(302, "https://login.example/?to=x"), Kind::Unavailable, "leads away"),
        ("a way on the same server", leads(302, "/login"), Kind::Unavailable, "leads away"),
        ("a way below the root", leads(302, &moved), Kind::Unavailable, "it leads elsewhere"),
        ("a page for a path nobody knows", fails(404, "<h1>Not Found</h1>"), Kind::Unavailable, "not in Deltacloud's"),
        ("an empty 404", fails(404, ""), Kind::Unavailable, "status 404"),
        ("somebody's 404", fails(404, alone), Kind::Unavailable, "status 404"),
        ("a 410", fails(410, error(410, "Gone")), Kind::Unavailable, "Gone"),
        ("a proxy's 502", fails(502, LOGIN_PAGE), Kind::Unavailable, "status 502"),
        ("a proxy's 504", fails(504, LOGIN_PAGE), Kind::TimedOut, "status 504"),
        ("a proxy's 403", fails(403, LOGIN_PAGE), Kind::Unavailable, "status 403"),
        ("a 404 inside a 502", fails(502, error(404, "Not Found")), Kind::Unavailable, "Not Found"),
        ("a 500 inside a 404", fails(404, error(500, "it broke")), Kind::Unavailable, "it broke"),
        ("a 500 that says not found", fails(500, error(500, "i-1 NotFound")), Kind::Unavailable, "i-1 NotFound"),
        ("a 502", fails(502, error(502, "the cloud is away")), Kind::Unavailable, "the cloud is away"),
        ("a 504", fails(504, error(504, "too slow")), Kind::TimedOut, "too slow"),
        ("a 200 with an error in it", ok(error(502, "it broke")), Kind::Unavailable, "it broke"),
        ("a 401", fails(401, error(401, "Unauthorized")), Kind::Denied, "Unauthorized"),
        ("a plain 401", fails(401, "Authentication failed"), Kind::Denied, "status 401"),
        ("a 403", fails(403, error(403, "Forbidden")), Kind::Forbidden, "Forbidden"),
        ("a 501", fails(501, error(501, "not here")), Kind::Unsupported, "not here"),
        ("a 412", fails(412, "The requested operation is not supported"), Kind::Unsupported, "status 412"),
    ]
}

#[tokio::test]
async fn what_is_no_word_about_an_instance_is_an_error_of_a_list_and_of_a_look() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    for (what, says, kind, said) in nonsense(upstream.root()) {
        upstream.clear();
        upstream.says("GET /api/instances", says.clone()).says("GET /api/instances/i-1", says);
        for (asked, error) in [
            ("list", driver.instances(&login(None)).await.err()),
            ("list again", driver.instances_again(&login(None), &Default::default(), Default::default()).await.err()),
            ("look", driver.instance(&login(None), &"i-1".into()).await.err()),
            ("look for two", driver.instances_by_id(&login(None), &set(&["i-1", "i-2"])).await.err()),
        ] {
            let error = error.unwrap_or_else(|| panic!("{what} passes for an answer to a {asked}"));
            assert_eq!(error.kind, kind, "{what} to a {asked}: {error}");
            assert!(error.text.contains(said), "{what} to a {asked}: {error}");
            assert!(error.text.len() < 300, "{error}");
        }
    }
}

#[tokio::test]
async fn only_the_upstreams_own_404_about_the_one_is_its_absence() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    upstream.says("GET /api/instances/i-1", fails(404, error(404, "Not Found")));
    assert_eq!(driver.instance(&login(None), &"i-1".into()).await.expect("its word"), None);

    // A list cannot be absent.
    upstream.says("GET /api/instances", fails(404, error(404, "Not Found")));
    assert_eq!(driver.instances(&login(None)).await.expect_err("no list").kind, Kind::Unavailable);

    // Nor is another one's page an answer.
    upstream.clear();
    upstream.says("GET /api/instances/i-1", ok(instance(upstream.root(), "i-2", "RUNNING", &[])));
    let error = driver.instance(&login(None), &"i-1".into()).await.expect_err("another one");
    assert!(error.kind == Kind::Unavailable && error.text.contains("another <instance>"), "{error}");

    // What is no place of its own in a path cannot be asked for: that is no word of the upstream's, so it is not its absence.
    upstream.clear();
    let long = "x".repeat(1_025);
    for id in ["", ".", "..", " .. ", &long] {
        let error = driver.instance(&login(None), &id.into()).await.expect_err("nobody was asked");
        assert_eq!(error.kind, Kind::Invalid, "{error}");
        let error = driver.instances_by_id(&login(None), &set(&["i-1", id])).await.expect_err("nobody was asked");
        assert!(error.kind == Kind::Invalid && error.text.len() < 200, "{error}");
        let error = driver.image(&login(None), id).await.expect_err("nobody was asked");
        assert_eq!(error.kind, Kind::Invalid, "{error}");
    }
    assert_eq!(upstream.heard(), [""; 0]);
}

#[tokio::test]
async fn what_an_upstream_says_of_one_thing_has_bounds() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let long = "N".repeat(2_000_000);
    let address = format!("<address type='hostname'>{long}</address>");
    let one = format!(
        "<instance id='i-1'><name>{long}</name><realm id='{long}'/><state>{long}</state><public_addresses>{address}\
         {}</public_addresses></instance>",
        "<address type='hostname'>h</address>".repeat(1_000)
    );
    upstream.says("GET /api/instances", ok(list(std::slice::from_ref(&one)))).says("GET /api/instances/i-1", ok(one));
    let listed = driver.instances(&login(None)).await.expect("a list").remove(0);
    let looked = driver.instance(&login(None), &"i-1".into()).await.expect("a look").expect("it is there");
    assert_eq!(listed, looked);
    let name = listed.name.as_deref().expect("a name");
    assert!(name.len() == 1_024 && name.ends_with("N…"), "{name}");
    assert_eq!((listed.native_state.len(), listed.realm.map_or(0, |realm| realm.len())), (1_024, 1_024));
    let [first, rest @ ..] = &*listed.public_addresses else { panic!("no addresses") };
    assert!(first.text.len() <= 256 && rest.len() == 63, "{} and {}", first.text.len(), rest.len());

    let realm = format!("<realms><realm id='eu'><name>{long}</name><state>{long}</state></realm></realms>");
    upstream.says("GET /api/realms", ok(realm));
    let realm = driver.realms(&login(None)).await.expect("a list").remove(0);
    assert_eq!((realm.name.len(), realm.native_state.len()), (1_024, 1_024));
    let volume =
        format!("<storage_volumes><storage_volume id='v'><name>{long}</name></storage_volume></storage_volumes>");
    upstream.says("GET /api/storage_volumes", ok(volume));
    let volume = driver.storage().expect("offered").volumes(&login(None)).await.expect("a list").remove(0);
    assert_eq!(volume.name.map(|name| name.len()), Some(1_024));
}

#[tokio::test]
async fn an_id_that_can_be_none_spoils_the_list_and_is_not_left_out() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let fits = "x".repeat(1_024);
    let two = |id: &str| list(&["i-1", id].map(|id| instance(upstream.root(), id, "RUNNING", &[])));
    upstream.says("GET /api/instances", ok(two(&fits)));
    assert_eq!(driver.instances(&login(None)).await.expect("a list").len(), 2);
    for id in ["", ".", "..", &format!("{fits}x")] {
        upstream.clear();
        let realms = format!("<realms><realm id='eu'/><realm id='{id}'/></realms>");
        upstream.says("GET /api/instances", ok(two(id))).says("GET /api/realms", ok(realms));
        let error = driver.instances(&login(None)).await.expect_err("spoiled");
        assert!(error.kind == Kind::Unavailable && error.text.len() < 200, "{error}");
        assert_eq!(driver.realms(&login(None)).await.expect_err("spoiled").kind, Kind::Unavailable);
    }
}

#[tokio::test]
async fn what_is_large_as_a_tree_is_refused() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    for (piece, said) in [
        ("<i/>", "something else in it"),
        ("<instance/>", "more in it"),
        ("<instance id='i'><a/></instance>", "more in it"),
    ] {
        upstream.clear();
        upstream.says("GET /api/instances", ok(format!("<instances>{}</instances>", piece.repeat(200_000))));
        let error = driver.instances(&login(None)).await.expect_err(piece);
        assert!(error.kind == Kind::Unavailable && error.text.contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_list_with_something_else_in_it_is_no_list() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let one = instance(upstream.root(), "i-1", "RUNNING", &[]);
    for odd in ["<error>the cloud is away</error>", "<instance><name>who?</name></instance>", "and more was cut"] {
        upstream.clear();
        upstream.says("GET /api/instances", ok(list(&[one.clone(), odd.to_owned()])));
        let error = driver.instances(&login(None)).await.expect_err(odd);
        assert_eq!(error.kind, Kind::Unavailable, "{error}");
    }
    upstream.clear();
    upstream.says("GET /api/instances", ok(list(&[])));
    assert_eq!(driver.instances(&login(None)).await.expect("an empty cloud"), []);
}

#[tokio::test]
async fn an_answer_has_bounds() {
    let upstream = Canned::start().await;
    let small = DeltacloudSettings { body_bytes_max: 200, ..at(upstream.root()) };
    upstream.says("GET /api/instances", ok(list(&[instance(upstream.root(), "i-1", "RUNNING", &[])])));
    let error = driver(small, &[]).instances(&login(None)).await.expect_err("too long");
    assert!(error.kind == Kind::Unavailable && error.text.contains("longer than 200 bytes"), "{error}");

    upstream.clear();
    upstream.says("GET /api/instances", Says::Nothing);
    let hasty = DeltacloudSettings { timeout_ms: 50, ..at(upstream.root()) };
    let error = driver(hasty, &[]).instances(&login(None)).await.expect_err("too late");
    assert_eq!(error.kind, Kind::TimedOut, "{error}");
}

#[tokio::test]
async fn a_collection_that_the_upstream_does_not_have_is_told_from_one_that_cannot_be_reached() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let entry = |rels: &[&str]| {
        let links: String = rels.iter().map(|rel| format!("<link href='x' rel='{rel}'></link>")).collect();
        ok(format!("<api driver='x' version='0.5.0'>{links}</api>"))
    };
    for (what, says, kind) in [
        ("it is not listed", entry(&["instances", "realms"]), Kind::Unsupported),
        ("it is listed", entry(&["instances", "images"]), Kind::Unavailable),
        ("nothing is", entry(&[]), Kind::Unavailable),
        ("a page", ok(LOGIN_PAGE), Kind::Unavailable),
        ("it is away", fails(502, LOGIN_PAGE), Kind::Unavailable),
    ] {
        upstream.clear();
        upstream.says("GET /api/images", fails(404, "<h1>Not Found</h1>")).says("GET /api", says);
        let error = driver.images(&login(None)).await.expect_err(what);
        assert_eq!(error.kind, kind, "{what}: {error}");
    }
}

#[tokio::test]
async fn an_upstreams_error_is_shown_without_what_is_secret() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let message = format!("no user {} with {} in {}\nat line 1", super::USER, super::PASSWORD, super::BASIC);
    upstream.says("GET /api/instances", fails(500, error(500, &message)));
    let error = driver.instances(&login(None)).await.expect_err("it broke");
    assert!(error.text.contains("no user alice with *** in *** at line 1 (status 500)"), "{error}");
    assert!(!format!("{error:?}").contains(super::PASSWORD) && !format!("{error:?}").contains(super::BASIC));
}

#[tokio::test]
async fn a_snapshots_state_is_never_made_up_from_an_error() {
    let upstream = Canned::start().await;
    let driver = driver(at(upstream.root()), &[]);
    let storage = driver.storage().expect("it has some");
    let xml = ok("<storage_snapshots><storage_snapshot href='x' id='snap1'><name>snap1</name><created>x</created>\
                  <storage_volume href='x' id='vol1'></storage_volume></storage_snapshot></storage_snapshots>");
    let json = |body: &str| Says::Answer(200, vec![("content-type", "application/json".to_owned())], body.to_owned());
    let seen = async || {
        let list = storage.snapshots(&login(None)).await?;
        Ok::<_, tracker::drivers::Error>(list.into_iter().map(|one| (one.id, one.state)).collect::<Vec<_>>())
    };
    for (second, expected) in [
        (json(r#"{"storage_snapshots":[{"id":"snap1","state":"completed"}]}"#), Ok("completed")),
        (json(r#"{"storage_snapshots":{"storage_snapshot":{"id":"snap1"}}}"#), Ok("UNKNOWN")),
        (fails(502, LOGIN_PAGE), Err(Kind::Unavailable)),
        (ok(LOGIN_PAGE), Err(Kind::Unavailable)),
        (ok(""), Err(Kind::Unavailable)),
    ] {
        upstream.clear();
        upstream.says("GET /api/storage_snapshots", xml.clone()).says("GET /api/storage_snapshots", second);
        let expected = expected.map(|state| vec![("snap1".to_owned(), state.to_owned())]);
        assert_eq!(seen().await.map_err(|error| error.kind), expected);
        assert_eq!(upstream.asked()[1].header("accept"), Some("application/json"));
    }
    let none = storage.snapshots_by_id(&login(None), &BTreeSet::new()).await.expect("nothing asked");
    assert_eq!(none, []);
}
