//! Lists are whole or an error; versions are agreed upon; an error says what can be done about it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tracker::drivers::{Driver, Error, Kind, OpenStackSettings, Urgency, within};
use tracker::model::{Action, InstanceId, Mount, NewImage, NewInstance};

use super::stub::{Says, Stub, fails, ok};
use super::{PROJECT, SERVER, driver, hasty, login};

/// What is listed in pages.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Noun {
    Servers,
    Flavors,
    Keys,
    Images,
    Volumes,
    Snapshots,
}

const NOUNS: [Noun; 6] = [Noun::Servers, Noun::Flavors, Noun::Keys, Noun::Images, Noun::Volumes, Noun::Snapshots];

impl Noun {
    fn path(self) -> String {
        match self {
            Self::Servers => "/v2.1/servers/detail".to_owned(),
            Self::Flavors => "/v2.1/flavors/detail".to_owned(),
            Self::Keys => "/v2.1/os-keypairs".to_owned(),
            Self::Images => "/v2/images".to_owned(),
            Self::Volumes => format!("/v3/{PROJECT}/volumes/detail"),
            Self::Snapshots => format!("/v3/{PROJECT}/snapshots/detail"),
        }
    }

    fn page(self, ids: &[&str], next: Option<&str>) -> Value {
        let member = |id: &&str| match self {
            Self::Servers => json!({"id": id, "status": "ACTIVE", "flavor": {"id": "42"}}),
            Self::Keys => json!({"keypair": {"name": id, "fingerprint": "1f"}}),
            _ => json!({"id": id, "status": "available"}),
        };
        let members: Vec<Value> = ids.iter().map(member).collect();
        let name = match self {
            Self::Servers => "servers",
            Self::Flavors => "flavors",
            Self::Keys => "keypairs",
            Self::Images => "images",
            Self::Volumes => "volumes",
            Self::Snapshots => "snapshots",
        };
        let mut page = json!({name: members});
        if let Some(marker) = next {
            // As behind a proxy: the service knows itself by another name.
            let query = format!("?limit=2&marker={marker}");
            match self {
                Self::Images => page["next"] = json!(format!("/v2/images{query}")),
                _ => {
                    page[format!("{name}_links")] = json!([
                        {"rel": "previous", "href": "http://inside:1/x"},
                        {"rel": "next", "href": format!("http://inside:1{}{query}", self.path())},
                    ])
                }
            }
        }
        page
    }

    async fn list(self, driver: &dyn Driver) -> Result<Vec<String>, Error> {
        let login = login(None);
        let storage = driver.storage().expect("offered");
        let keys = driver.keys().expect("offered");
        Ok(match self {
            Self::Servers => driver.instances(&login).await?.into_iter().map(|one| one.id.0).collect(),
            Self::Flavors => driver.hardware_profiles(&login).await?.into_iter().map(|one| one.id).collect(),
            Self::Keys => keys.keys(&login).await?.into_iter().map(|one| one.id).collect(),
            Self::Images => driver.images(&login).await?.into_iter().map(|one| one.id).collect(),
            Self::Volumes => storage.volumes(&login).await?.into_iter().map(|one| one.id).collect(),
            Self::Snapshots => storage.snapshots(&login).await?.into_iter().map(|one| one.id).collect(),
        })
    }
}

#[tokio::test]
async fn a_list_of_any_noun_is_all_its_pages_in_order() {
    for noun in NOUNS {
        // The second page brings one again, and the last one, after a full page, is empty.
        let pages = [noun.page(&["c", "a"], Some("a")), noun.page(&["a", "b"], Some("b")), noun.page(&[], None)];
        let (stub, settings) = Stub::start(pages.iter().map(ok)).await;
        let settings = OpenStackSettings { page_size: 2, ..settings };
        assert_eq!(noun.list(&*driver(settings)).await.expect("a list"), ["a", "b", "c"], "{noun:?}");
        let path = noun.path();
        let asked = ["", "&marker=a", "&marker=b"].map(|marker| format!("GET {path}?limit=2{marker}"));
        assert_eq!(stub.lines(), asked, "{noun:?}: at the address that we know");
        stub.end();
    }
}

#[tokio::test]
async fn half_a_list_of_any_noun_is_an_error_and_never_a_shorter_list() {
    for noun in NOUNS {
        let second = noun.page(&["b"], None).to_string();
        let throttled = Kind::Throttled { after: Some(Duration::from_secs(7)) };
        let own_404 = r#"{"itemNotFound": {"code": 404, "message": "The resource could not be found."}}"#;
        let own_gone = r#"{"itemNotFound": {"code": 404, "message": "Marker a could not be found."}}"#;
        let cases = [
            ("server fault", fails(500, r#"{"computeFault": {"code": 500, "message": "Oops"}}"#), Kind::Unavailable),
            ("bad gateway", fails(502, "<html>Bad Gateway</html>"), Kind::Unavailable),
            ("a proxy's 404", fails(404, "<html>Not here</html>"), Kind::Unavailable),
            ("no such path", fails(404, own_404), Kind::Unavailable),
            ("no such marker", fails(404, own_gone), Kind::Unavailable),
            ("portal", Says::Answer(200, vec![], "<html>Sign in</html>".to_owned()), Kind::Unavailable),
            ("empty", Says::Answer(200, vec![], String::new()), Kind::Unavailable),
            ("half a list", Says::Answer(200, vec![], second[..second.len() - 3].to_owned()), Kind::Unavailable),
            ("half an answer", Says::Half(second.clone()), Kind::Unavailable),
            ("another list", ok(&json!({"things": []})), Kind::Unavailable),
            ("throttled", Says::Answer(429, vec![("retry-after", "7".to_owned())], String::new()), throttled),
            ("throttled of old", Says::Answer(413, vec![("retry-after", "7".to_owned())], String::new()), throttled),
            ("the same page again", ok(&noun.page(&["a"], Some("a"))), Kind::Unavailable),
        ];
        for (what, broken, kind) in cases {
            let (stub, settings) = Stub::start([ok(&noun.page(&["a"], Some("a"))), broken]).await;
            let error = noun.list(&*driver(settings)).await.expect_err(what);
            assert_eq!(error.kind, kind, "{noun:?}, {what}: {error}");
            stub.end();
        }
        let pages = (0..2).map(|at| ok(&noun.page(&["a"], Some(&format!("m{at}")))));
        let (stub, settings) = Stub::start(pages).await;
        let error = noun.list(&*driver(OpenStackSettings { pages_max: 2, ..settings })).await.expect_err("no end");
        assert!(error.text.contains("drivers.openstack.pages_max"), "{error}");
        stub.end();
    }
}

#[tokio::test]
async fn of_a_list_that_nobody_waits_for_a_page_that_fails_is_asked_for_again() {
    let broken = || fails(503, "<html>No server is available</html>");
    let [first, second] = [ok(&Noun::Volumes.page(&["a"], Some("a"))), ok(&Noun::Volumes.page(&["b"], None))];
    let (stub, settings) = Stub::start([first, broken(), Says::Half("{}".to_owned()), second]).await;
    let driver = hasty(settings);
    assert_eq!(within(Urgency::Rest, Noun::Volumes.list(&*driver)).await.expect("a list"), ["a", "b"]);
    let path = Noun::Volumes.path();
    let asked = ["", "&marker=a", "&marker=a", "&marker=a"].map(|marker| format!("GET {path}?limit=1000{marker}"));
    assert_eq!(stub.lines(), asked);
    stub.end();
}

#[tokio::test]
async fn what_changes_something_or_gives_a_token_is_sent_once() {
    let (stub, settings) = Stub::start([fails(503, "<html/>")]).await;
    let driver = hasty(settings);
    stub.keystone.lock().expect("no panic").push_back(fails(503, "<html/>"));
    let login = login(None);
    let image = "7e0d6f3e-6a0d-4b0a-9f0e-6c0c5d1f2a3b";
    within(Urgency::List, driver.destroy_image(&login, image)).await.expect_err("no token");
    assert_eq!((stub.asked_keystone().len(), stub.asked().len()), (1, 0));
    within(Urgency::List, driver.destroy_image(&login, image)).await.expect_err("it may have been done");
    assert_eq!(stub.asked().len(), 1);
    stub.end();
}

#[tokio::test]
async fn a_version_is_agreed_upon_once() {
    let older = |max: &str| {
        let message = format!("Version 2.79 is not supported by the API. Minimum is 2.1 and maximum is 2.{max}.");
        fails(406, &json!({"computeFault": {"code": 406, "message": message}}).to_string())
    };
    let page = || ok(&Noun::Servers.page(&["a"], None));
    let (stub, settings) = Stub::start([older("53"), page(), page()]).await;
    let (driver_of_old, login) = (driver(settings), login(None));
    driver_of_old.instances(&login).await.expect("a list");
    driver_of_old.instances(&login).await.expect("a list");
    let asked = stub.asked();
    let versions: Vec<_> = asked.iter().map(|asked| asked.header("openstack-api-version").expect("one")).collect();
    assert_eq!(versions, ["compute 2.79", "compute 2.53", "compute 2.53"]);
    let of_old: Vec<_> = asked.iter().map(|asked| asked.header("x-openstack-nova-api-version").expect("one")).collect();
    assert_eq!(of_old, ["2.79", "2.53", "2.53"]);
    stub.end();

    // Refused whatever one offers, and refused without a word about why.
    for script in [vec![older("1"), older("1")], vec![fails(406, "<html>")]] {
        let (stub, settings) = Stub::start(script).await;
        driver(settings).instances(&login).await.expect_err("no version at all");
        stub.end();
    }
}

#[tokio::test]
async fn only_the_services_own_words_say_that_something_is_not_there() {
    let none = |id: &str| {
        let message = format!("No image found with ID {id}<br /><br />\n\n\n");
        json!({"message": message, "code": "404 Not Found", "title": "Not Found"}).to_string()
    };
    let html = "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n  \
                Failed to find image img1 to show<br /><br />\n\n </body>\n</html>";
    let strangers = "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>";
    let (stub, settings) =
        Stub::start([fails(404, &none("img1")), fails(404, html), fails(404, strangers), fails(404, "")]).await;
    let (driver, login) = (driver(settings), login(None));
    assert_eq!(driver.image(&login, "img1").await.expect("a clear answer"), None);
    assert_eq!(driver.image(&login, "img1").await.expect("a clear answer, of old"), None);
    for what in ["a proxy's page", "nobody's"] {
        let error = driver.image(&login, "img1").await.expect_err(what);
        assert_eq!(error.kind, Kind::Unavailable, "{what}: {error}");
    }
    stub.end();
}

#[tokio::test]
async fn an_action_is_done_once_and_read_back() {
    let read = |name: &'static str| Says::Recorded(name);
    let accepted = || Says::Answer(202, vec![], String::new());
    let flavors = Says::Recorded(recorded!("compute-flavors"));
    let script = [
        read(recorded!("server-stop-2")),
        accepted(),
        read(recorded!("server-start-1")),
        flavors,
        read(recorded!("server-pause-1")),
        accepted(),
        fails(503, ""),
        read(recorded!("server-build-2")),
        Says::Answer(204, vec![], String::new()),
        read(recorded!("server-404")),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login, id) = (driver(settings), login(None), InstanceId::from(SERVER));
    let started = driver.act(&login, &id, Action::Start).await.expect("done").expect("there");
    assert_eq!(started.native_state, "SHUTOFF/powering-on");
    assert_eq!(driver.act(&login, &id, Action::Start).await.expect("done, though it cannot be read back"), None);
    assert_eq!(driver.act(&login, &id, Action::Destroy).await.expect("done"), None, "and it is gone");
    let asked = stub.asked();
    let posted: Vec<_> = asked.iter().filter(|asked| asked.method == "POST").map(|asked| asked.body.clone()).collect();
    assert_eq!(posted, [json!({"os-start": null}), json!({"unpause": null})], "as it was stopped");
    assert_eq!(stub.lines()[8], format!("DELETE /v2.1/servers/{SERVER}"));
    stub.end();
}

#[tokio::test]
async fn what_the_state_does_not_allow_is_a_conflict() {
    let refused = r#"{"conflictingRequest": {"code": 409, "message": "Cannot 'start' instance x while it is in vm_state active"}}"#;
    let in_use = r#"{"badRequest": {"code": 400, "message": "Invalid volume: Volume status must be available or error or error_restoring."}}"#;
    let script = [
        Says::Recorded(recorded!("server-build-2")),
        fails(409, refused),
        fails(400, in_use),
        Says::Recorded(recorded!("server-build-2")),
        Says::Recorded(recorded!("cinder-volume-attached")),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    let kind = |error: Error| error.kind;
    let started = driver.act(&login, &InstanceId::from(SERVER), Action::Start).await.map_err(kind);
    assert_eq!(started, Err(Kind::Conflict));
    let storage = driver.storage().expect("offered");
    assert_eq!(storage.destroy_volume(&login, "v1").await.map_err(kind), Err(Kind::Conflict));
    let mount = Mount { instance: SERVER.to_owned(), device: String::new() };
    assert_eq!(storage.attach(&login, "v1", &mount).await.map_err(kind), Err(Kind::Conflict));
    stub.end();
}

#[tokio::test]
async fn an_image_of_a_server_is_named_in_the_answer_or_its_address() {
    let glance = |id: &str| ok(&json!({"id": id, "status": "saving", "owner": PROJECT}));
    let address = vec![("location", "http://inside:9292/images/img2".to_owned())];
    let script = [
        Says::Recorded(recorded!("server-build-2")),
        Says::Answer(202, vec![], json!({"image_id": "img1"}).to_string()),
        glance("img1"),
        Says::Recorded(recorded!("server-build-2")),
        Says::Answer(202, address, String::new()),
        fails(503, ""),
        Says::Recorded(recorded!("server-build-1")),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    let new = NewImage { instance: SERVER.to_owned(), name: Some("golden".to_owned()), description: None };
    let first = driver.create_image(&login, &new).await.expect("made");
    assert_eq!((first.id.as_str(), first.state.as_deref(), first.settling), ("img1", Some("SAVING"), true));
    let second = driver.create_image(&login, &new).await.expect("made, and known by its request");
    assert_eq!((second.id.as_str(), second.name.as_str(), second.can_destroy), ("img2", "golden", true));
    let error = driver.create_image(&login, &new).await.expect_err("it is being built");
    assert_eq!(error.kind, Kind::Failed);
    assert_eq!(stub.asked()[1].body, json!({"createImage": {"name": "golden"}}));
    stub.end();
}

#[tokio::test]
async fn several_are_made_by_one_request_and_found_by_its_reservation() {
    let reserved = ok(&json!({"reservation_id": "r-1"}));
    let (stub, settings) = Stub::start([reserved, ok(&Noun::Servers.page(&["a", "b"], None))]).await;
    let (driver, login) = (driver(settings), login(None));
    let profile = Some("42".to_owned());
    let new = NewInstance { image: "img1".to_owned(), hardware_profile: profile, count: 2, ..NewInstance::default() };
    let made = driver.create_instance(&login, &new).await.expect("made");
    assert_eq!(made.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(stub.lines()[1], "GET /v2.1/servers/detail?limit=1000&reservation_id=r-1");
    stub.end();
}

#[tokio::test]
async fn where_nova_cannot_choose_a_network_the_projects_own_is_meant() {
    let undecided = || {
        let message = "Multiple possible networks found, use a Network ID to be more specific.";
        fails(409, &json!({"conflictingRequest": {"code": 409, "message": message}}).to_string())
    };
    let network = |id: &str, owner: &str, external: bool| json!({"id": id, "name": format!("{id}-net"), "project_id": owner, "router:external": external});
    let others = [network("shared", "others", false), network("public", PROJECT, true)];
    let networks = |own: &[&str]| {
        let own = own.iter().map(|id| network(id, PROJECT, false));
        ok(&json!({"networks": own.chain(others.clone()).collect::<Vec<_>>()}))
    };
    let made = || Says::Answer(202, vec![], json!({"server": {"id": "a"}}).to_string());
    let read = || fails(503, "");
    let script = [
        undecided(),
        networks(&["lan"]),
        made(),
        read(),
        made(),
        read(),
        fails(400, r#"{"badRequest": {"code": 400, "message": "Network lan could not be found."}}"#),
        undecided(),
        networks(&["lan", "dmz"]),
        undecided(),
        networks(&[]),
        undecided(),
        fails(503, ""),
    ];
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    let profile = Some("42".to_owned());
    let new = NewInstance { image: "img1".to_owned(), hardware_profile: profile, count: 1, ..NewInstance::default() };
    driver.create_instance(&login, &new).await.expect("made");
    let asked = stub.asked();
    assert_eq!(asked[0].body["server"].get("networks"), None);
    assert_eq!(asked[1].line(), "GET /v2.0/networks?limit=1000");
    assert_eq!(asked[2].body["server"]["networks"], json!([{"uuid": "lan"}]));
    driver.create_instance(&login, &new).await.expect("made where the last one was");
    assert_eq!(stub.asked()[4].body["server"]["networks"], json!([{"uuid": "lan"}]));
    driver.create_instance(&login, &new).await.expect_err("it is no more, and forgotten");
    for found in ["lan-net (lan), dmz-net (dmz)", "shared-net (shared), public-net (public)"] {
        let error = driver.create_instance(&login, &new).await.expect_err(found);
        assert_eq!(error.kind, Kind::Invalid, "{found}");
        assert!(error.text.contains("drivers.openstack.network"), "{error}");
        assert!(error.text.contains(&format!("sees {found}:")), "{error}");
    }
    let error = driver.create_instance(&login, &new).await.expect_err("Neutron is away");
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert!(error.text.contains("Multiple possible networks") && error.text.contains("status 503"), "{error}");
    stub.end();
}

#[tokio::test]
async fn a_list_is_whole_without_the_flavors_and_asks_for_them_again() {
    let servers = || ok(&json!({"servers": [{"id": "a", "status": "ACTIVE", "flavor": {"original_name": "m1.nano"}}]}));
    let flavors = ok(&json!({"flavors": [{"id": "42", "name": "m1.nano", "vcpus": 1, "ram": 64, "disk": 1}]}));
    let (stub, settings) = Stub::start([servers(), fails(503, ""), servers(), flavors]).await;
    let (driver, login) = (driver(settings), login(None));
    for profile in ["m1.nano", "42"] {
        let listed = driver.instances(&login).await.expect("a list");
        assert_eq!(listed[0].hardware_profile.as_deref(), Some(profile));
    }
    stub.end();
}

#[tokio::test]
async fn a_machine_of_no_size_gets_one_that_its_image_fits_into() {
    let image = ok(&json!({"id": "img1", "status": "active", "min_ram": 1024}));
    let flavor = |id: &str, ram: u64| json!({"id": id, "name": id, "vcpus": 1, "ram": ram, "disk": 10});
    let flavors = ok(&json!({"flavors": [flavor("tiny", 512), flavor("large", 4096), flavor("small", 1024)]}));
    let made = Says::Answer(202, vec![], json!({"server": {"id": "a"}}).to_string());
    let (stub, settings) = Stub::start([image, flavors, made, fails(503, "")]).await;
    let new = NewInstance { image: "img1".to_owned(), count: 1, ..NewInstance::default() };
    let made = driver(settings).create_instance(&login(None), &new).await.expect("made").remove(0);
    assert_eq!(made.hardware_profile.as_deref(), Some("small"));
    let server = stub.asked()[2].body["server"].clone();
    assert_eq!(server["flavorRef"], "small");
    let name = server["name"].as_str().expect("a name");
    assert!(name.starts_with("inst-") && name.len() < 64 && !name.contains('_'), "{name}");
    stub.end();
}

#[tokio::test]
async fn ids_are_one_part_of_a_path_whatever_is_in_them() {
    let gone = r#"{"itemNotFound": {"code": 404, "message": "Volume x could not be found."}}"#;
    let (stub, settings) = Stub::start((0..3).map(|_| fails(404, gone))).await;
    let (driver, login) = (driver(settings), login(None));
    let storage = driver.storage().expect("offered");
    let ids = BTreeSet::from(["a/b", "c?d=e#f", "%2e%2e"].map(str::to_owned));
    assert_eq!(storage.volumes_by_id(&login, &ids).await.expect("a clear answer"), []);
    let mut asked = stub.lines();
    asked.sort();
    let parts = ["%252e%252e", "a%2Fb", "c%3Fd=e%23f"];
    assert_eq!(asked, parts.map(|part| format!("GET /v3/{PROJECT}/volumes/{part}")));
    for bad in ["", ".", ".."] {
        assert_eq!(storage.destroy_volume(&login, bad).await.expect_err(bad).kind, Kind::NotFound);
        let ids = BTreeSet::from([bad.to_owned()]);
        assert_eq!(storage.volumes_by_id(&login, &ids).await.expect_err(bad).kind, Kind::Invalid);
    }
    stub.end();
}

#[tokio::test]
async fn what_is_large_as_a_tree_is_refused() {
    let servers = |one: &str| format!("{{\"servers\": [{}{{}}]}}", format!("{one},").repeat(100_000));
    let bodies = ["{\"id\":\"i\"}", "{\"id\":\"i\",\"metadata\":\"so long that there is room\"}"].map(servers);
    let mut script: Vec<Says> = bodies.iter().map(|body| fails(200, body)).collect();
    script.push(fails(200, &format!("{{\"servers\": [{{\"id\": \"{}\"}}]}}", "x".repeat(1_025))));
    let (stub, settings) = Stub::start(script).await;
    let (driver, login) = (driver(settings), login(None));
    for (body, said) in [("pieces", "more in it"), ("members", "not what OpenStack"), ("an id", "an id that is none")] {
        let error = driver.instances(&login).await.expect_err(body);
        assert!(error.kind == Kind::Unavailable && error.text.contains(said), "{body}: {error}");
    }
    stub.end();
}
