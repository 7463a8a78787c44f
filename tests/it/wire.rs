//! The Deltacloud interface as clients see it, over a real socket. Names that begin with a letter and a number are the
//! requirements of the reference suites: B entry point, C collections, M members, I instances, G current gem, T traps.

use std::time::Duration;

use jiff::Timestamp;
use md5::{Digest as _, Md5};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracker::api::Settings;
use tracker::drivers::Kind;
use tracker::model::{Collection, ExposeSecret as _, Resource, Seq};

use crate::support::cloud::{instance, realm};
use crate::support::memory::NOW;
use crate::support::server::{Answer, BAD, EMPTY, GOOD, JSON, World};

/// Collections with credentials asked for and not, and their root elements.
const COLLECTIONS: [(&str, &str, bool); 6] = [
    ("realms", "realms", true),
    ("instances", "instances", true),
    ("images", "images", true),
    ("hardware_profiles", "hardware_profiles", false),
    ("drivers", "drivers", false),
    ("instance_states", "states", false),
];

#[tokio::test]
async fn b1_to_b10_the_entry_point_says_what_there_is() {
    let world = World::new().await;
    // As the suite asks: without credentials, with its library's Accept.
    let accept = ("Accept", "*/*; q=0.5, application/xml");
    let entry = world.ask("GET", "/api", &[accept]).await;
    assert_eq!(entry.status, 200);
    let api = entry.xml();
    let driver = api.attribute("driver").unwrap();
    let drivers = world.ask("GET", "/api/drivers", &[accept]).await.xml();
    assert!(drivers.all("name").iter().any(|name| name.text.to_lowercase() == driver));
    assert_eq!(api.attribute("version"), Some("1.1.3"));
    assert_eq!(api.attribute("provider"), None);
    assert_eq!(entry.header("server"), Some("Apache-Deltacloud/1.1.3"));
    assert!(entry.header("date").is_some());
    assert_eq!(entry.header("cache-control"), Some("max-age=0, private, must-revalidate"));
    let digest: String = Md5::digest(entry.body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(entry.header("etag"), Some(digest.as_str()));
    assert!(api.children.iter().all(|link| link.name == "link"));
    for link in &api.children {
        let (rel, href) = (link.attribute("rel").unwrap(), link.attribute("href").unwrap());
        assert_eq!(href, format!("http://localhost:3001/api/{rel}"));
    }
    let rels: Vec<_> = api.children.iter().filter_map(|link| link.attribute("rel")).collect();
    // `keys` is an ability of this driver, but has no routes.
    let served = ["changes", "drivers", "hardware_profiles", "images", "instance_states", "instances", "realms"];
    assert_eq!(rels, served);
    assert!(api.all("feature").iter().all(|feature| feature.attribute("name").is_some()));
    assert!(api.all("feature").iter().any(|feature| feature.attribute("name") == Some("state_tracking")));
    world.end().await;
}

#[tokio::test]
async fn b11_b12_json_by_accept_and_by_format() {
    let world = World::new().await;
    for answer in [world.ask("GET", "/api", &[JSON]).await, world.ask("GET", "/api?format=json", &[]).await] {
        assert_eq!(answer.header("content-type"), Some("application/json"));
        let json = answer.json();
        assert_eq!((&json["api"]["driver"], &json["api"]["provider"]), (&"mock".into(), &"default".into()));
    }
    let xml = world.ask("GET", "/api?format=xml", &[JSON]).await;
    assert_eq!(xml.header("content-type"), Some("application/xml"));
    world.end().await;
}

#[tokio::test]
async fn b13_b14_b16_b17_driver_and_provider_by_header_and_matrix() {
    let world = World::new().await;
    let check = async |path: &str, headers: &[(&str, &str)], driver: &str, provider: Option<&str>| {
        let answer = world.ask("GET", path, headers).await;
        let api = answer.xml();
        assert_eq!(
            (api.attribute("driver"), api.attribute("provider")),
            (Some(driver), provider),
            "{path} {headers:?}"
        );
        assert_eq!(answer.header("x-deltacloud-driver"), Some(driver));
        assert_eq!(answer.header("x-deltacloud-provider"), provider);
        api
    };
    const EC2: (&str, &str) = ("X-Deltacloud-Driver", "ec2");
    let features = |api: &crate::support::server::Node| -> Vec<String> {
        api.all("feature").iter().map(|feature| feature.attribute("name").unwrap().to_owned()).collect()
    };
    let ec2 = check("/api", &[EC2], "ec2", None).await;
    assert!(!features(&ec2).contains(&"user_name".to_owned()));
    let mock = check("/api", &[("X-Deltacloud-Driver", "MOCK")], "mock", None).await;
    assert!(features(&mock).contains(&"user_name".to_owned()));
    check("/api;driver=ec2", &[], "ec2", None).await;
    check("/api;driver=mock", &[EC2], "mock", None).await;
    check("/api;driver=mock;provider=test1", &[], "mock", Some("test1")).await;
    check("/api;driver=mock;provider=test2", &[], "mock", Some("test2")).await;
    // T22, and empty headers are not given.
    check("/api", &[("X-Deltacloud-Driver", ""), ("X-Deltacloud-Provider", "")], "mock", None).await;
    check("/api", &[("X-Deltacloud-Provider", "Us-East")], "mock", Some("Us-East")).await;
    check("/api;provider=http%3A%2F%2Fh%3A5000%2Fv2.0%2F%3BR", &[], "mock", Some("http://h:5000/v2.0/;R")).await;
    // T23: a matrix in a query is the query's own.
    check("/api?x=/api;driver=ec2/y", &[], "mock", None).await;
    // Nothing sticks.
    check("/api", &[], "mock", None).await;
    world.end().await;
}

#[tokio::test]
async fn b15_g2_g3_force_auth_asks_the_backend() {
    let world = World::new().await;
    let check = async |path: &str, headers: &[(&str, &str)], status: u16| {
        let answer = world.ask("GET", path, headers).await;
        assert_eq!(answer.status, status, "{path} {headers:?} {answer:?}");
        if status != 200 {
            answer.is_error(status);
        }
        answer
    };
    let refused = check("/api?force_auth=1", &[], 401).await;
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"mock-deltacloud@\""));
    // T20
    assert_eq!(refused.header("x-deltacloud-driver"), Some("mock"));
    check("/api?force_auth=true", &[BAD], 401).await;
    check("/api?force_auth", &[EMPTY], 401).await;
    check("/api?force_auth=1", &[GOOD], 200).await;
    assert_eq!(world.mock.calls.lock().unwrap().len(), 3);
    // Believed for a minute.
    check("/api?force_auth=1", &[GOOD], 200).await;
    assert_eq!(world.mock.calls.lock().unwrap().len(), 3);
    world.clock.advance(Duration::from_secs(61));
    world.mock.fails(Some(Kind::Unavailable));
    check("/api?force_auth=1", &[GOOD], 502).await;
    // T4, T5: otherwise nobody is asked, and bad credentials are nobody's business.
    let asked = world.mock.calls.lock().unwrap().len();
    check("/api", &[BAD], 200).await;
    check("/api", &[EMPTY], 200).await;
    check("/api/instance_states", &[], 200).await;
    assert_eq!(world.mock.calls.lock().unwrap().len(), asked);
    world.end().await;
}

#[tokio::test]
async fn c1_to_c6_every_collection() {
    let world = World::new().await;
    for (collection, root, guarded) in COLLECTIONS {
        let path = format!("/api/{collection}");
        let xml = world.get(&path).await;
        assert_eq!(xml.status, 200, "{path}");
        assert_eq!(xml.xml().name, root);
        assert!(xml.header("etag").is_some());
        assert!(xml.xml().attributes.is_empty(), "no namespace on {root}");
        assert_eq!(xml.header("content-type"), Some("application/xml"));
        let json = world.ask("GET", &path, &[GOOD, JSON]).await;
        assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")));
        json.json();
        let without = world.ask("GET", &path, &[]).await;
        assert_eq!(without.status, if guarded { 401 } else { 200 }, "{path}");
        // G6, T2
        world.get(&format!("{path}/")).await.is_error(404);
    }
    world.end().await;
}

#[tokio::test]
async fn m1_to_m8_members_are_where_their_lists_say() {
    let world = World::new().await;
    for (collection, ..) in COLLECTIONS.into_iter().filter(|(collection, ..)| *collection != "instance_states") {
        let list = world.get(&format!("/api/{collection}")).await.xml();
        assert!(!list.children.is_empty(), "{collection}");
        for member in &list.children {
            let (id, href) = (member.attribute("id").unwrap(), member.attribute("href").unwrap());
            let path = href.strip_prefix("http://localhost:3001").unwrap();
            assert!(path.ends_with(id), "{href}");
            let followed = world.get(path).await;
            assert_eq!(followed.status, 200);
            assert_eq!(followed.xml().attribute("id"), Some(id));
            assert_eq!(followed.xml().child("name").text, member.child("name").text);
        }
        world.get(&format!("/api/{collection}/unknown")).await.is_error(404);
    }
    world.get("/api/instance_states/running").await.is_error(404);
    world.end().await;
}

#[tokio::test]
async fn g6_filters_give_fewer_and_unknown_ones_none() {
    let world = World::new().await;
    let check = async |path: &str, ids: &[&str]| {
        let answer = world.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let list = answer.xml();
        let found: Vec<_> = list.children.iter().map(|member| member.attribute("id").unwrap()).collect();
        assert_eq!(found, ids, "{path}");
    };
    check("/api/realms?id=us", &["us"]).await;
    check("/api/realms?id=unknown", &[]).await;
    check("/api/realms?id=", &["eu", "us"]).await;
    check("/api/instances?id=inst1", &["inst1"]).await;
    check("/api/instances?id=unknown", &[]).await;
    check("/api/instances?state=running&realm_id=us", &["inst0"]).await;
    check("/api/instances?state=STOPPED", &[]).await;
    check("/api/images?id=img1", &["img1"]).await;
    check("/api/images?architecture=i386", &["img3"]).await;
    check("/api/images?owner_id=self", &["img3"]).await;
    check("/api/images?owner_id=fedoraproject", &["img1"]).await;
    check("/api/hardware_profiles?id=opaque", &["opaque"]).await;
    check("/api/hardware_profiles?architecture=i386", &["m1-small"]).await;
    check("/api/hardware_profiles?architecture=x86_64", &[]).await;
    world.end().await;
}

#[tokio::test]
async fn g7_g12_instances_and_states_read_as_the_gem_reads_them() {
    let world = World::new().await;
    let instance = world.get("/api/instances/inst1").await.xml();
    assert_eq!(instance.child("public_addresses").child("address").text, "img3.inst1.public.com");
    assert_eq!(instance.child("public_addresses").child("address").attribute("type"), Some("hostname"));
    // I2 to I8
    assert_eq!(instance.child("owner_id").text, "mockuser");
    for one in
        ["realm", "image", "hardware_profile", "public_addresses", "private_addresses", "storage_volumes", "state"]
    {
        assert_eq!(instance.all(one).len(), 1, "{one}");
    }
    for link in &instance.child("actions").children {
        assert!(link.attribute("href").unwrap().starts_with("http://"));
        assert!(link.attribute("rel").is_some() && link.attribute("method").is_some());
    }
    let states = world.ask("GET", "/api/instance_states", &[JSON]).await.json();
    assert_eq!(states[0]["name"], "start");
    assert_eq!(states[1]["transitions"][0], serde_json::json!({"to": "running", "auto": "true"}));
    // G11
    let ec2 = world.ask("GET", "/api/drivers/ec2", &[]).await.xml();
    assert_eq!(ec2.child("provider").child("entrypoint").attribute("kind"), Some("s3"));
    // G13
    let image = world.get("/api/images/img1").await.xml();
    assert_eq!(image.attribute("href"), Some("http://localhost:3001/api/images/img1"));
    world.end().await;
}

#[tokio::test]
async fn i9_to_i14_instances_are_created_from_query_and_form() {
    let world = World::new().await;
    // The current gem and Java: everything in the query, an empty body, no type.
    let made = world.ask("POST", "/api/instances?image_id=img1&realm_id=eu&name=web&hwp_id=&keyname=", &[GOOD]).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.header("location"), Some("http://localhost:3001/api/instances/inst2"));
    let root = made.xml();
    assert_eq!((root.name.as_str(), root.child("name").text.as_str()), ("instance", "web"));
    assert_eq!(root.child("realm").attribute("id"), Some("eu"));
    assert!(made.header("etag").is_some());
    // The older gem: a form, here even without a type. T28
    let form = "image_id=img3&user_data=aGVs%0AbG8%3D%0A&commit=create";
    let made = world.send("POST", "/api/instances?format=json", &[GOOD], form).await;
    assert_eq!((made.status, &made.json()["instance"]["image"]["id"]), (201, &"img3".into()));
    let asked = world.mock.created.lock().unwrap().pop().unwrap();
    assert_eq!(asked.user_data.unwrap().expose_secret(), "hello");
    assert_eq!((asked.hardware_profile, asked.key_name), (None, None));
    // Several.
    let made = world.send("POST", "/api/instances", &[GOOD], "image_id=img1&instance_count=2").await;
    assert_eq!((made.status, made.header("location")), (201, None));
    assert_eq!((made.xml().name.as_str(), made.xml().children.len()), ("instances", 2));
    world.end().await;
}

#[tokio::test]
async fn a_create_that_makes_no_sense_creates_nothing() {
    let world = World::new().await;
    let check = async |body: &str, said: &str| {
        let answer = world.send("POST", "/api/instances", &[GOOD], body).await;
        assert_eq!(answer.is_error(400).xml().child("message").text, said, "{body}");
    };
    check("name=x&password=hush", "Required parameter 'image_id' not found in [name, password]").await;
    check(r#"{"image_id":"img1"}"#, "Required parameter 'image_id' not found in []").await;
    check("image_id=img1&instance_count=1e9", "`instance_count` must be a whole number from 1 to 100").await;
    check("image_id=img1&user_data=!", "`user_data` is not Base64").await;
    check("image_id=unknown", "There is no image unknown").await;
    let hook = "`track_hook` must be an absolute http or https URL, `feed` or `none`: relative URL without a base";
    check("image_id=img1&track_hook=nonsense", hook).await;
    assert!(world.mock.created.lock().unwrap().is_empty());
    world.send("POST", "/api/instances", &[], "image_id=img1").await.is_error(401);
    world.send("POST", "/api/instances", &[BAD], "image_id=img1&track_hook=feed").await.is_error(401);
    assert!(world.mock.created.lock().unwrap().is_empty());
    world.end().await;
}

#[tokio::test]
async fn g8_t30_t31_actions_obey_the_state() {
    let world = World::new().await;
    let state = |answer: &Answer| answer.xml().child("state").text.clone();
    world.ask("DELETE", "/api/instances/inst0", &[GOOD]).await.is_error(405);
    world.ask("POST", "/api/instances/inst0/start", &[GOOD]).await.is_error(405);
    let stopped = world.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await;
    assert_eq!((stopped.status, state(&stopped).as_str()), (202, "STOPPED"));
    let refused = world.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await;
    assert_eq!(refused.is_error(405).xml().child("message").text, "Method Not Allowed");
    let started = world.ask("POST", "/api/instances/inst0/start", &[GOOD, JSON]).await;
    assert_eq!((started.status, &started.json()["state"]), (202, &"RUNNING".into()));
    assert_eq!(world.ask("POST", "/api/instances/inst0/reboot?x=y", &[GOOD]).await.status, 202);
    world.ask("POST", "/api/instances/inst0/explode", &[GOOD]).await.is_error(404);
    world.ask("POST", "/api/instances/unknown/stop", &[GOOD]).await.is_error(404);
    world.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await;
    let gone = world.ask("DELETE", "/api/instances/inst0", &[GOOD]).await;
    assert_eq!((gone.status, gone.body.as_str(), gone.header("content-type")), (204, "", None));
    world.get("/api/instances/inst0").await.is_error(404);
    world.end().await;
}

#[tokio::test]
async fn a_form_can_stand_for_delete_and_put_and_a_link_cannot() {
    let world = World::new().await;
    world.ask("POST", "/api/instances/inst0/stop", &[GOOD]).await;
    world.ask("POST", "/api/instances/inst0?_method=delete", &[GOOD]).await.is_error(405);
    world.ask("GET", "/api/instances/inst0?_method=delete", &[GOOD]).await;
    assert_eq!(world.send("POST", "/api/instances/inst0", &[GOOD], "_method=delete").await.status, 204);
    let header = ("X-HTTP-Method-Override", "PUT");
    let put = world.send("POST", "/api/instances/inst1", &[GOOD, header], "track_hook=feed").await;
    assert_eq!(put.status, 200, "{put:?}");
    world.end().await;
}

#[tokio::test]
async fn t24_t25_the_matrix_counts_on_every_verb_and_is_carried_on() {
    let world = World::new().await;
    let made = world.send("POST", "/api;driver=EC2;provider=eu-west-1/instances", &[GOOD], "image_id=ami-1").await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(world.ec2.created.lock().unwrap().len(), 1);
    assert!(world.mock.created.lock().unwrap().is_empty(), "nothing on the wrong cloud");
    let href = "http://localhost:3001/api;driver=ec2;provider=eu-west-1/instances/inst2";
    assert_eq!(made.header("location"), Some(href));
    assert_eq!(made.xml().attribute("href"), Some(href));
    // What came by header is not put into hrefs: such a client sends it again.
    let headers = [GOOD, ("X-Deltacloud-Driver", "ec2")];
    let list = world.ask("GET", "/api/instances", &headers).await.xml();
    assert_eq!(list.children[0].attribute("href"), Some("http://localhost:3001/api/instances/inst0"));
    world.end().await;
}

#[tokio::test]
async fn hrefs_follow_forwarding_headers_or_settings() {
    let world = World::new().await;
    let headers = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "tracker.example")];
    let api = world.ask("GET", "/api", &headers).await.xml();
    assert_eq!(api.children[0].attribute("href"), Some("https://tracker.example/api/changes"));
    world.end().await;
    let world = World::with(Settings { public_url: "https://t.example/".to_owned(), ..Settings::default() }).await;
    let api = world.ask("GET", "/api", &headers).await.xml();
    assert_eq!(api.children[0].attribute("href"), Some("https://t.example/api/changes"));
    world.end().await;
}

#[tokio::test]
async fn t1_t7_t9_t41_errors_and_heads_are_what_clients_survive() {
    let world = World::new().await;
    let check = async |method: &str, path: &str, headers: &[(&str, &str)], status: u16| {
        let answer = world.ask(method, path, headers).await;
        answer.is_error(status);
        assert_eq!(answer.header("server"), Some("Apache-Deltacloud/1.1.3"));
        answer
    };
    check("GET", "/", &[], 404).await;
    check("GET", "/api/nothing", &[GOOD], 404).await;
    check("GET", "/apix", &[GOOD], 404).await;
    check("GET", "//api", &[GOOD], 404).await;
    check("PATCH", "/api/instances/inst0", &[GOOD], 405).await;
    check("PUT", "/api/images/img1?track_hook=feed", &[GOOD], 405).await;
    let changes = check("POST", "/api/changes", &[GOOD], 405).await;
    assert_eq!(changes.header("allow"), Some("GET,HEAD,OPTIONS"));
    check("GET", "/api", &[("Accept", "image/png")], 406).await;
    check("GET", "/api?format=foo", &[], 406).await;
    check("GET", "/api/changes?format=xml", &[GOOD], 406).await;
    check("GET", "/api/%ff", &[], 400).await;
    check("GET", "/api;provider=%0d%0aX:y", &[], 400).await;
    check("GET", &format!("/api;driver={}", "x".repeat(65)), &[], 400).await;
    check("GET", "/api", &[("Host", "a b")], 400).await;
    check("GET", "/api/images", &[GOOD, ("X-Deltacloud-Driver", "ec2")], 501).await;
    check("GET", "/api;provider=nonsense/realms", &[GOOD], 400).await;
    check("GET", "/api/realms", &[("Authorization", "Bearer x")], 401).await;
    let unknown = check("GET", "/api;driver=Nimbus/realms", &[GOOD], 400).await;
    assert_eq!(unknown.xml().child("backend").attribute("driver"), Some("nimbus"));
    assert_eq!(unknown.header("x-deltacloud-driver"), Some("nimbus"));
    let json = check("GET", "/api/instances/i-9", &[GOOD, JSON], 404).await;
    assert_eq!(json.json()["error"], "Deltacloud::Exceptions::ObjectNotFound");
    let escaped = check("GET", "/api;driver=mock/instances/%3Ci%3E", &[GOOD], 404).await;
    assert_eq!(escaped.xml().attribute("url"), Some("/api/instances/%3Ci%3E"));

    for (path, headers) in
        [("/api", &[][..]), ("/api/realms", &[GOOD]), ("/api/realms", &[]), ("/api/realms/", &[GOOD])]
    {
        let (get, head) = (world.ask("GET", path, headers).await, world.ask("HEAD", path, headers).await);
        assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
        for name in ["etag", "content-type", "content-length", "www-authenticate"] {
            assert_eq!(head.header(name), get.header(name), "{path} {name}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn t8_a_backends_troubles_are_statuses_that_clients_know() {
    let world = World::new().await;
    for (kind, status) in [
        (Kind::Denied, 401),
        (Kind::Forbidden, 403),
        (Kind::NotFound, 404),
        (Kind::Throttled { after: Some(Duration::from_secs(17)) }, 502),
        (Kind::Unavailable, 502),
        (Kind::TimedOut, 504),
        (Kind::Unsupported, 501),
        (Kind::Invalid, 400),
        (Kind::Conflict, 405),
    ] {
        world.mock.fails(Some(kind));
        for path in ["/api/realms", "/api/instances/inst0"] {
            let answer = world.get(path).await;
            assert_eq!(answer.is_error(status).xml().child("message").text, "ProviderErrorMessage");
            assert_eq!(answer.header("retry-after"), matches!(kind, Kind::Throttled { .. }).then_some("17"));
        }
    }
    world.end().await;
}

#[tokio::test]
async fn t10_a_known_instance_stays_while_its_backend_is_away() {
    let world = World::new().await;
    let put = world.ask("PUT", "/api/instances/inst0?track_hook=http://h/cb", &[GOOD]).await;
    assert_eq!(put.status, 200, "{put:?}");
    let now: Timestamp = NOW.parse().unwrap();
    let seen: Vec<Resource> = vec![instance("inst0", "img1", "us").into(), instance("inst1", "img3", "eu").into()];
    world.memory.knows(Collection::Instances, None, now, seen.clone());
    world.memory.knows(Collection::Realms, Some(now), now, vec![realm("us", "United States").into()]);
    world.mock.fails(Some(Kind::Unavailable));
    world.clock.advance(Duration::from_secs(14 * 60));

    let stale = world.get("/api/instances/inst0").await;
    assert_eq!(stale.status, 200, "{stale:?}");
    let tracking = stale.xml();
    let tracking = tracking.child("tracking");
    assert_eq!((tracking.attribute("stale"), tracking.attribute("checked")), (Some("true"), Some(NOW)));
    assert_eq!(tracking.attribute("hook"), Some("http://h/cb"));
    assert_eq!(world.get("/api/realms").await.xml().child("realm").child("tracking").attribute("stale"), Some("true"));
    // Only single members are known, so there is no list to show.
    world.get("/api/instances").await.is_error(502);
    world.memory.knows(Collection::Instances, Some(now), now, seen);
    assert_eq!(world.get("/api/instances").await.xml().children.len(), 2);
    // Never 404 unless the backend said so.
    world.get("/api/instances/unknown").await.is_error(502);
    // The feed works; others learn nothing.
    assert_eq!(world.get("/api/changes?after=0").await.status, 200);
    world.ask("GET", "/api/instances/inst0", &[BAD]).await.is_error(502);
    world.ask("GET", "/api/changes", &[BAD]).await.is_error(502);

    world.clock.advance(Duration::from_secs(2 * 60));
    world.get("/api/instances/inst0").await.is_error(502);
    world.get("/api/realms").await.is_error(502);
    // Refused is not unreachable.
    world.mock.fails(Some(Kind::Denied));
    world.get("/api/instances/inst0").await.is_error(401);
    world.end().await;
}

#[tokio::test]
async fn a_hook_is_put_shown_and_removed() {
    let world = World::new().await;
    let hook = "http%3A%2F%2Fu%3Ahush%40h%2Fcb%3Fx%3Dhush%3By";
    let path = format!("/api;driver=mock/instances/inst0?track_hook={hook}&track_token=hush&subscriber=ci");
    let put = world.ask("PUT", &path, &[GOOD]).await;
    assert_eq!(put.status, 200, "{put:?}");
    let root = put.xml();
    let tracking = root.child("tracking");
    assert_eq!(tracking.attribute("secret"), Some("whsec_made"));
    assert_eq!(tracking.attribute("hook"), Some("http://***@h/cb?***"));
    assert_eq!(tracking.attribute("subscriber"), Some("ci"));
    assert_eq!(root.children.iter().filter(|child| child.name == "tracking").count(), 1);
    assert!(tracking.children.is_empty() && !put.body.contains("hush"));
    assert_eq!(world.memory.hooks.lock().unwrap()[0].base, "http://localhost:3001/api;driver=mock;provider=default");

    let shown = world.ask("GET", "/api/instances/inst0?subscriber=ci", &[GOOD, JSON]).await.json();
    assert_eq!(shown["instance"]["tracking"]["hook"], "http://***@h/cb?***");
    assert_eq!(shown["instance"]["tracking"]["secret"], serde_json::Value::Null);
    let list = world.get("/api/instances?subscriber=ci").await.xml();
    assert_eq!(list.all("tracking").len(), 1);
    assert!(world.get("/api/instances/inst0").await.xml().all("tracking").is_empty(), "another subscriber has no hook");

    let removed = world.send("PUT", "/api/instances/inst0", &[GOOD], "track_hook=none&subscriber=ci").await;
    assert_eq!((removed.status, removed.xml().all("tracking").len()), (200, 0));
    assert_eq!(world.send("PUT", "/api/instances/inst0", &[GOOD], "track_hook=none").await.status, 200);
    assert_eq!(world.ask("PUT", "/api/realms/us?track_hook=feed", &[GOOD]).await.xml().name, "realm");

    let check = async |path: &str, headers: &[(&str, &str)], status: u16| {
        let answer = world.ask("PUT", path, headers).await;
        answer.is_error(status);
        assert!(!answer.body.contains("hush"), "{answer:?}");
    };
    let before = world.memory.hooks.lock().unwrap().len();
    check("/api/instances/inst0", &[GOOD], 400).await;
    check("/api/instances/inst0?track_hook=", &[GOOD], 400).await;
    check("/api/instances/inst0?track_hook=ftp://u:hush@h/", &[GOOD], 400).await;
    check("/api/instances/inst0?track_hook=feed&track_secret=hush", &[GOOD], 400).await;
    check("/api/instances/unknown?track_hook=feed", &[GOOD], 404).await;
    check("/api/instances/inst0?track_hook=feed", &[], 401).await;
    check("/api/instances/inst0?track_hook=feed", &[BAD], 401).await;
    assert_eq!(world.memory.hooks.lock().unwrap().len(), before);

    let made = world.send("POST", "/api/instances", &[GOOD], "image_id=img1&instance_count=2&track_hook=feed").await;
    assert_eq!((made.status, made.xml().all("tracking").len()), (201, 2));
    assert_eq!(world.memory.hooks.lock().unwrap().len(), before + 2);
    world.end().await;
}

#[tokio::test]
async fn the_feed_is_json_paged_and_counted_once_it_is_written() {
    let world = World::new().await;
    world.ask("GET", "/api/changes", &[]).await.is_error(401);
    world.ask("GET", "/api/changes", &[BAD]).await.is_error(401);
    let page = world.ask("GET", "/api/changes?after=0&limit=2", &[GOOD, ("Accept", "*/*")]).await;
    assert_eq!((page.status, page.body.as_str()), (200, r#"[{"seq":1},{"seq":2}]"#));
    assert_eq!(page.header("content-type"), Some("application/json"));
    assert_eq!(page.header("tracker-seq"), Some("2"));
    let next = "<http://localhost:3001/api/changes?after=2&limit=2&subscriber=default>; rel=\"next\"";
    assert_eq!(page.header("link"), Some(next));
    assert!(page.header("etag").is_some());
    assert_eq!(world.get("/api/changes?after=3").await.body, "[]");
    world.get("/api/changes?after=1000").await.is_error(410);
    world.get("/api/changes?after=-1").await.is_error(400);
    assert!(world.memory.written.lock().unwrap().is_empty());

    assert_eq!(world.ask("HEAD", "/api/changes", &[GOOD]).await.status, 200);
    assert!(world.memory.written.lock().unwrap().is_empty(), "a HEAD hands nothing over");
    world.get("/api/changes").await;
    until(|| world.memory.written.lock().unwrap().len() == 3).await;
    assert_eq!(*world.memory.written.lock().unwrap(), [Seq(1), Seq(2), Seq(3)]);
    world.end().await;
}

/// More than the buffers of two sockets hold.
const HUGE: usize = 16 * 1024 * 1024;

#[tokio::test]
async fn an_answer_that_breaks_off_hands_nothing_over() {
    let world = World::with(Settings { write_ms: 50, stop_ms: 60_000, ..Settings::default() }).await;
    *world.memory.padding.lock().unwrap() = HUGE;
    let ask = format!("GET /api/changes HTTP/1.1\r\nHost: h\r\n{}: {}\r\n\r\n", GOOD.0, GOOD.1);
    let connect = async || {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut beginning = [0; 100];
        stream.read_exact(&mut beginning).await.unwrap();
        stream
    };
    drop(connect().await);
    // This one stays open and reads no more, until the server has lost patience.
    let idle = connect().await;
    let memory = world.memory.clone();
    tokio::time::timeout(Duration::from_secs(10), world.end()).await.expect("nobody waits for one who does not read");
    drop(idle);
    assert!(memory.written.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_longer_than_any_buffer_is_handed_over_whole() {
    let world = World::new().await;
    *world.memory.padding.lock().unwrap() = HUGE;
    assert_eq!(world.get("/api/changes").await.body.len(), HUGE + 31);
    until(|| world.memory.written.lock().unwrap().len() == 3).await;
    world.end().await;
}

/// Waits for a condition, within a bound.
async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), met).await.expect("within ten seconds");
}

#[tokio::test]
async fn guesses_are_refused_without_asking_and_the_owner_gets_through() {
    let world = World::with(Settings { failed_logins_max: 3, ..Settings::default() }).await;
    assert_eq!(world.ask("GET", "/api?force_auth=1", &[GOOD]).await.status, 200);
    for encoded in ["bW9ja3VzZXI6MQ==", "bW9ja3VzZXI6Mg==", "bW9ja3VzZXI6Mw=="] {
        world.ask("GET", "/api/realms", &[("Authorization", &format!("Basic {encoded}"))]).await.is_error(401);
    }
    let asked = world.mock.calls.lock().unwrap().len();
    let refused = world.ask("GET", "/api/realms", &[("Authorization", "Basic bW9ja3VzZXI6NA==")]).await;
    assert!(refused.is_error(401).xml().child("message").text.contains("Too many"));
    assert_eq!(world.mock.calls.lock().unwrap().len(), asked);
    assert_eq!(world.get("/api/realms").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn options_lists_verbs_and_needs_nobody() {
    let world = World::new().await;
    for path in ["/api", "/api/realms", "/api/instances", "/api/changes"] {
        let answer = world.ask("OPTIONS", path, &[]).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("allow").unwrap().starts_with("OPTIONS,GET"), "{path}");
    }
    world.end().await;
}

#[tokio::test]
async fn the_driver_chooser_redirects() {
    let world = World::new().await;
    let check = async |body: &str, referer: &str, location: &str| {
        let answer = world.send("POST", "/api", &[("Referer", referer)], body).await;
        assert_eq!((answer.status, answer.header("location")), (301, Some(location)), "{body}");
    };
    check("driver=ec2", "", "http://localhost:3001/api;driver=ec2").await;
    check("driver=ec2&provider=a%3Bb", "", "http://localhost:3001/api;driver=ec2;provider=a%3Bb").await;
    check("provider=eu", "http://h/api;driver=ec2", "http://localhost:3001/api;driver=ec2;provider=eu").await;
    check("provider=default", "", "http://localhost:3001/api/").await;
    check("driver=%0D%0AX:y", "", "http://localhost:3001/api;driver=%0D%0AX:y").await;
    world.end().await;
}

#[tokio::test]
async fn what_comes_in_has_bounds() {
    let settings = Settings {
        body_bytes_max: 1_000,
        url_bytes_max: 2_000,
        params_max: 10,
        body_ms: 50,
        head_ms: 50,
        ..Settings::default()
    };
    let world = World::with(settings).await;
    let said = |answer: &Answer| answer.is_error(400).xml().child("message").text.clone();
    let long = world.send("POST", "/api/instances", &[GOOD], &"x".repeat(1_001)).await;
    assert_eq!(said(&long), "The body is longer than 1000 bytes");
    let long = world.get(&format!("/api?{}", "x".repeat(2_000))).await;
    assert_eq!(said(&long), "The URL is longer than 2000 bytes");
    let many = world.get(&format!("/api?{}", "a&".repeat(11))).await;
    assert_eq!(said(&many), "more than 10 parameters");
    let head =
        format!("POST /api/instances HTTP/1.1\r\nHost: h\r\n{}: {}\r\nContent-Length: 9\r\n\r\n", GOOD.0, GOOD.1);
    let slow = Answer::read(&world.raw(head.as_bytes()).await);
    assert_eq!(said(&slow), "The body did not come within 50 ms");
    // A head that never ends is cut off.
    assert_eq!(world.raw(b"GET /api HTTP/1.1\r\n").await, b"");
    let mut hostless = Answer::read(&world.raw(b"GET /api HTTP/1.1\r\nConnection: close\r\n\r\n").await);
    hostless.is_error(400);
    hostless = Answer::read(&world.raw(b"GET /api HTTP/1.0\r\n\r\n").await);
    hostless.is_error(400);
    world.end().await;
}

#[tokio::test]
async fn a_driver_that_panics_takes_only_its_request_down() {
    let world = World::new().await;
    world.ask("GET", "/api/realms", &[("Authorization", "Basic cGFuaWM6eA==")]).await.is_error(500);
    assert_eq!(world.get("/api/realms").await.status, 200);
    world.end().await;
}

#[tokio::test]
async fn a_driver_that_hangs_is_given_up() {
    let world = World::with(Settings { answer_ms: 50, ..Settings::default() }).await;
    world.ask("GET", "/api/realms", &[("Authorization", "Basic aGFuZzp4")]).await.is_error(502);
    world.end().await;
}

#[tokio::test]
async fn a_request_under_way_is_answered_before_the_server_ends() {
    let world = World::new().await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"POST /api?force_auth HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n").await.unwrap();
    // A second request shows that the first has long been taken up.
    assert_eq!(world.get("/api").await.status, 200);
    let end = tokio::spawn(world.end());
    stream.write_all(b"x").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Answer::read(&answer).status, 301);
    end.await.unwrap();
}

/// Anything a client may say by mistake or on purpose; the socket stands between it and the parser.
#[test]
fn rubbish_is_answered_with_an_error_document_and_never_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let world = runtime.block_on(World::new());
    let piece = || {
        prop_oneof![
            Just("api".to_owned()),
            Just("instances".to_owned()),
            Just("realms".to_owned()),
            Just("changes".to_owned()),
            Just("inst0".to_owned()),
            Just(";driver=ec2".to_owned()),
            Just(";driver=".to_owned()),
            Just(";provider=%ff".to_owned()),
            Just("%00%0d%0a".to_owned()),
            Just("%".to_owned()),
            Just("..".to_owned()),
            Just("\u{e4}\u{1f600}".to_owned()),
            "[!-~]{0,12}",
            "\\PC{0,6}",
        ]
    };
    let path = proptest::collection::vec(piece(), 0..5).prop_map(|pieces| format!("/{}", pieces.join("/")));
    let sane = "/api(;driver=(ec2|mock))?/(instances|realms|images|hardware_profiles|drivers|changes)(/(inst0|us|img1|[!-~]{1,8})(/(stop|start|reboot|x))?)?";
    let path = prop_oneof![1 => path.clone(), 1 => path.prop_map(|path| format!("/api{path}")), 3 => sane];
    let query = prop_oneof![
        Just(String::new()),
        "[!-~]{0,30}".prop_map(|query| format!("?{query}")),
        "(limit|after|format|force_auth|track_hook|subscriber|instance_count|image_id)=[!-~]{0,20}"
            .prop_map(|query| format!("?{query}")),
    ];
    let header = prop_oneof![
        4 => Just(format!("{}: {}", GOOD.0, GOOD.1)),
        2 => "(Host|Accept|X-Deltacloud-Driver|X-Deltacloud-Provider|X-Forwarded-Host|X-Forwarded-Proto|Authorization\
         |X-HTTP-Method-Override|Referer|Content-Type): [ -~]{0,30}",
        1 => "(Accept|X-Deltacloud-Driver|X-Deltacloud-Provider|Authorization): \\PC{0,10}",
    ];
    let method =
        prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("DELETE"), Just("PATCH"), Just("TRACE"), Just("FOO")];
    let body = prop_oneof![Just(Vec::new()), proptest::collection::vec(any::<u8>(), 0..64)];
    let any_request = (method, path, query, proptest::collection::vec(header, 0..4), body);
    let mut runner = TestRunner::new(Config { cases: 1_000, failure_persistence: None, ..Config::default() });
    runner
        .run(&any_request, |(method, path, query, headers, body)| {
            let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
            let host = if headers.contains("Host:") { "" } else { "Host: h\r\n" };
            let head = format!("{method} {path}{query} HTTP/1.1\r\nConnection: close\r\n{host}{headers}");
            let bytes = [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat();
            let answer = Answer::read(&runtime.block_on(world.raw(&bytes)));
            prop_assert!(answer.status < 500 || answer.status == 501, "{answer:?}");
            // What is not even HTTP is answered by the protocol layer, without a document.
            let ours = answer.header("server").is_some();
            prop_assert!(ours || [400, 414, 431].contains(&answer.status), "{answer:?}");
            if ours && answer.status >= 400 {
                answer.is_error(answer.status);
            }
            Ok(())
        })
        .unwrap();
    runtime.block_on(world.end());
}
