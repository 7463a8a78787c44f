//! `/api`: what there is, and on which cloud.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use md5::{Digest as _, Md5};
use tracker::drivers::{Kind, MockCall};

use super::{EC2, ORIGIN, reference};
use crate::support::faulty::Faulty;
use crate::support::raw::{Answer, BAD, EMPTY, GOOD, JSON, Node, Raw};
use crate::support::world::World;

/// As the suite asks: without credentials, with what its library sends as Accept.
const ACCEPT: (&str, &str) = ("Accept", "*/*; q=0.5, application/xml");

fn features(api: &Node) -> Vec<String> {
    api.all("feature").iter().map(|feature| feature.attribute("name").expect("a name").to_owned()).collect()
}

/// Asks for the entry point of this driver and provider; the headers have to say the same.
async fn chosen(raw: Raw, path: &str, headers: &[(&str, &str)], driver: &str, provider: Option<&str>) -> Node {
    let answer = raw.ask("GET", path, headers).await;
    let api = answer.xml();
    let found = (api.attribute("driver"), api.attribute("provider"));
    assert_eq!(found, (Some(driver), provider), "{path} {headers:?}");
    assert_eq!(answer.header("x-deltacloud-driver"), Some(driver));
    assert_eq!(answer.header("x-deltacloud-provider"), provider);
    api
}

#[tokio::test]
async fn b01_the_entry_point_is_there_for_everybody() {
    let world = reference().await;
    for path in ["/api", "/api/"] {
        let answer = world.raw().ask("GET", path, &[ACCEPT]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/xml")));
        assert_eq!(answer.xml().name, "api");
    }
    world.end().await;
}

#[tokio::test]
async fn b02_the_driver_is_among_the_names_of_drivers_in_lower_case() {
    let world = reference().await;
    let api = world.raw().ask("GET", "/api", &[ACCEPT]).await.xml();
    let driver = api.attribute("driver").unwrap();
    let drivers = world.raw().ask("GET", "/api/drivers", &[ACCEPT]).await.xml();
    assert!(drivers.all("name").iter().any(|name| name.text.to_lowercase() == driver), "{driver} in {drivers:?}");
    world.end().await;
}

#[tokio::test]
async fn b03_the_version_is_the_same_on_each_fetch() {
    let world = reference().await;
    for _ in 0..2 {
        let api = world.raw().ask("GET", "/api", &[ACCEPT]).await.xml();
        assert_eq!(api.attribute("version"), Some("1.1.3"));
    }
    world.end().await;
}

#[tokio::test]
async fn b04_the_server_header_has_the_version_of_the_entry_point() {
    let world = reference().await;
    let entry = world.raw().ask("GET", "/api", &[ACCEPT]).await;
    let version = entry.xml().attribute("version").unwrap().to_owned();
    let servers: Vec<_> = entry.headers.iter().filter(|(name, _)| name == "server").map(|(_, value)| value).collect();
    assert_eq!(servers, [&format!("Apache-Deltacloud/{version}")]);
    world.end().await;
}

#[tokio::test]
async fn b05_the_etag_is_the_digest_of_the_body() {
    let world = reference().await;
    let entry = world.raw().ask("GET", "/api", &[ACCEPT]).await;
    let digest: String = Md5::digest(entry.body.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(entry.header("etag"), Some(digest.as_str()));
    assert_eq!(entry.header("cache-control"), Some("max-age=0, private, must-revalidate"));
    assert!(entry.header("date").is_some());
    // It is never asked for again: always 200.
    let again = world.raw().ask("GET", "/api", &[("If-None-Match", &digest)]).await;
    assert_eq!((again.status, again.body), (200, entry.body));
    world.end().await;
}

#[tokio::test]
async fn b06_b07_b08_links_have_a_rel_and_an_absolute_href_that_leads_somewhere() {
    let world = reference().await;
    let api = world.raw().ask("GET", "/api", &[ACCEPT]).await.xml();
    assert!(api.children.iter().all(|link| link.name == "link"));
    for link in &api.children {
        let (rel, href) = (link.attribute("rel").unwrap(), link.attribute("href").unwrap());
        assert_eq!(href, format!("{ORIGIN}/api/{rel}"));
        assert_eq!(world.raw().get(href.strip_prefix(ORIGIN).unwrap()).await.status, 200, "{href}");
    }
    let rels: Vec<_> = api.children.iter().filter_map(|link| link.attribute("rel")).collect();
    let served = [
        "addresses",
        "buckets",
        "changes",
        "deliveries",
        "drivers",
        "hardware_profiles",
        "hooks",
        "images",
        "instance_states",
        "instances",
        "keys",
        "metrics",
        "network_interfaces",
        "networks",
        "realms",
        "storage_snapshots",
        "storage_volumes",
        "subnets",
    ];
    assert_eq!(rels, served);
    world.end().await;
}

#[tokio::test]
async fn what_has_no_routes_or_the_driver_lacks_is_neither_advertised_nor_done() {
    let world = World::around(|mock| Arc::new(Faulty::new(mock).offering(&["realms", "load_balancers"])), |_| {}).await;
    let api = world.raw().ask("GET", "/api", &[ACCEPT]).await.xml();
    let rels: Vec<_> = api.children.iter().filter_map(|link| link.attribute("rel")).collect();
    assert_eq!(rels, ["changes", "deliveries", "drivers", "hooks", "instance_states", "realms"]);
    world.raw().get("/api/load_balancers").await.is_error(404);
    let lacking = [("GET", "/api/instances"), ("POST", "/api/instances"), ("GET", "/api/images/img1")];
    let storage = [
        ("GET", "/api/storage_volumes"),
        ("POST", "/api/storage_volumes"),
        ("PUT", "/api/storage_volumes?track_hook=feed"),
        ("POST", "/api/storage_volumes/vol1/detach"),
        ("DELETE", "/api/storage_volumes/vol1"),
        ("GET", "/api/storage_snapshots/snap1"),
        ("POST", "/api/storage_snapshots?volume_id=vol1"),
        ("DELETE", "/api/storage_snapshots/snap1"),
    ];
    let others = [
        ("GET", "/api/keys"),
        ("POST", "/api/keys?name=foo"),
        ("DELETE", "/api/keys/test-key"),
        ("GET", "/api/addresses/192.168.0.1"),
        ("POST", "/api/addresses"),
        ("POST", "/api/addresses/192.168.0.1/associate?instance_id=inst0"),
        ("POST", "/api/addresses/192.168.0.1/disassociate"),
        ("DELETE", "/api/addresses/192.168.0.1"),
        ("PUT", "/api/instances/inst0?track_hook=feed"),
    ];
    let blobs = [
        ("GET", "/api/buckets"),
        ("POST", "/api/buckets?name=foo"),
        ("DELETE", "/api/buckets/bucket1"),
        ("POST", "/api/buckets/bucket1?blob_id=a&blob_data=b"),
        ("GET", "/api/buckets/bucket1/blob1"),
        ("PUT", "/api/buckets/bucket1/blob1"),
        ("POST", "/api/buckets/bucket1/blob1"),
        ("DELETE", "/api/buckets/bucket1/blob1"),
        ("GET", "/api/buckets/bucket1/blob1/content"),
    ];
    let networks = [
        ("GET", "/api/metrics/inst0"),
        ("GET", "/api/networks"),
        ("POST", "/api/networks"),
        ("DELETE", "/api/networks/net1"),
        ("GET", "/api/subnets/subnet1"),
        ("POST", "/api/subnets?network_id=net1&address_block=10.0.0.0/8"),
        ("DELETE", "/api/subnets/subnet1"),
        ("GET", "/api/network_interfaces"),
        ("POST", "/api/network_interfaces?instance=inst0&network=net1"),
        ("DELETE", "/api/network_interfaces/nic1"),
    ];
    let others = others.into_iter().chain(blobs).chain(networks);
    for (method, path) in lacking.into_iter().chain(storage).chain(others) {
        world.raw().ask(method, path, &[GOOD]).await.is_error(501);
    }
    world.raw().ask("GET", "/api/hardware_profiles", &[]).await.is_error(501);
    assert_eq!(world.provider.calls(), 0);
    world.end().await;
}

#[tokio::test]
async fn b09_b10_there_are_features_and_each_has_a_name() {
    let world = reference().await;
    let api = world.raw().ask("GET", "/api", &[ACCEPT]).await.xml();
    let names = features(&api);
    assert!(!names.is_empty() && names.iter().all(|name| !name.is_empty()), "{names:?}");
    let of = |rel: &str| features(api.children.iter().find(|link| link.attribute("rel") == Some(rel)).unwrap());
    assert_eq!(
        of("instances"),
        ["realm_filter", "user_name", "authentication_key", "metrics", "state_tracking", "state_tracking"]
    );
    assert_eq!(of("realms"), ["state_tracking"]);
    world.end().await;
}

#[tokio::test]
async fn b11_b12_json_by_accept_and_by_format() {
    let world = reference().await;
    let raw = world.raw();
    for answer in [raw.ask("GET", "/api", &[JSON]).await, raw.ask("GET", "/api?format=json", &[ACCEPT]).await] {
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        let json = answer.json();
        assert_eq!((&json["api"]["driver"], &json["api"]["provider"]), (&"mock".into(), &"default".into()));
        assert_eq!(json["api"]["version"], "1.1.3");
        let links = json["api"]["links"].as_array().unwrap();
        let instances = links.iter().find(|link| link["rel"] == "instances").unwrap();
        let names: Vec<_> = instances["features"].as_array().unwrap().iter().map(|group| &group[0]["name"]).collect();
        let expected = ["realm_filter", "user_name", "authentication_key", "metrics", "state_tracking"];
        assert_eq!(names, expected, "a feature in two operations is one group");
    }
    let xml = raw.ask("GET", "/api?format=xml", &[JSON]).await;
    assert_eq!(xml.header("content-type"), Some("application/xml"));
    world.end().await;
}

#[tokio::test]
async fn b13_the_driver_header_chooses_the_driver() {
    let world = reference().await;
    let raw = world.raw();
    chosen(raw, "/api", &[EC2], "ec2", None).await;
    chosen(raw, "/api", &[("X-Deltacloud-Driver", "mock")], "mock", None).await;
    chosen(raw, "/api", &[("x-deltacloud-driver", "MOCK")], "mock", None).await;
    // An empty header is not given, as one client sends both always.
    chosen(raw, "/api", &[("X-Deltacloud-Driver", ""), ("X-Deltacloud-Provider", "")], "mock", None).await;
    // Nothing sticks.
    chosen(raw, "/api", &[], "mock", None).await;
    world.end().await;
}

#[tokio::test]
async fn b14_t36_each_driver_has_features_of_its_own() {
    let world = reference().await;
    let ec2 = features(&chosen(world.raw(), "/api", &[EC2], "ec2", None).await);
    let mock = features(&chosen(world.raw(), "/api", &[], "mock", None).await);
    assert!(!ec2.iter().any(|name| name == "user_name"), "{ec2:?}");
    assert!(mock.iter().any(|name| name == "user_name"), "{mock:?}");
    assert!(ec2.iter().any(|name| name == "user_data"), "{ec2:?}");
    world.end().await;
}

#[tokio::test]
async fn b15_force_auth_asks_the_backend() {
    let world = reference().await;
    let raw = world.raw();
    let check = async |path: &str, headers: &[(&str, &str)], status: u16| {
        let answer = raw.ask("GET", path, headers).await;
        assert_eq!(answer.status, status, "{path} {headers:?} {answer:?}");
        if status != 200 {
            answer.is_error(status);
        }
        answer
    };
    let refused = check("/api?force_auth=1", &[], 401).await;
    assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"mock-deltacloud@\""));
    // T20: the suite reads it from here.
    assert_eq!(refused.header("x-deltacloud-driver"), Some("mock"));
    check("/api?force_auth=true", &[BAD], 401).await;
    check("/api?force_auth", &[EMPTY], 401).await;
    check("/api?force_auth=1", &[GOOD], 200).await;
    assert_eq!(world.provider.calls(), 3, "the first named nobody to ask for");
    // Believed for a minute.
    check("/api?force_auth=1", &[GOOD], 200).await;
    assert_eq!(world.provider.calls(), 3);
    // Only a refusal is 401.
    world.clock.advance(Duration::from_secs(61));
    world.provider.fails(Kind::Unavailable);
    check("/api?force_auth=1", &[GOOD], 502).await;
    world.end().await;
}

#[tokio::test]
async fn b16_the_matrix_chooses_the_provider() {
    let world = reference().await;
    let raw = world.raw();
    chosen(raw, "/api;driver=mock;provider=test1", &[], "mock", Some("test1")).await;
    chosen(raw, "/api;driver=mock;provider=test2", &[], "mock", Some("test2")).await;
    let escaped = "/api;provider=http%3A%2F%2Fh%3A5000%2Fv2.0%2F%3BR";
    chosen(raw, escaped, &[], "mock", Some("http://h:5000/v2.0/;R")).await;
    world.end().await;
}

#[tokio::test]
async fn b17_the_matrix_chooses_the_driver_without_credentials_and_beats_the_header() {
    let world = reference().await;
    let raw = world.raw();
    chosen(raw, "/api;driver=ec2", &[], "ec2", None).await;
    chosen(raw, "/api;driver=mock", &[], "mock", None).await;
    chosen(raw, "/api;driver=mock", &[EC2], "mock", None).await;
    chosen(raw, "/api;driver=EC2", &[], "ec2", None).await;
    world.end().await;
}

#[tokio::test]
async fn g01_driver_and_provider_are_switched_with_and_without_new_credentials() {
    let world = reference().await;
    let raw = world.raw();
    let provider = ("X-Deltacloud-Provider", "eu-west-1");
    for credentials in [GOOD, BAD, EMPTY] {
        chosen(raw, "/api", &[credentials, EC2, provider], "ec2", Some("eu-west-1")).await;
        chosen(raw, "/api", &[credentials, ("X-Deltacloud-Driver", "mock")], "mock", None).await;
    }
    // The same instances are in no other provider's account.
    let elsewhere = raw.ask("POST", "/api/instances/inst0/stop", &[GOOD, ("X-Deltacloud-Provider", "two")]).await;
    assert_eq!(elsewhere.status, 202, "{elsewhere:?}");
    assert_eq!(raw.get("/api/instances/inst0").await.xml().child("state").text, "RUNNING");
    world.end().await;
}

#[tokio::test]
async fn g02_t04_t05_the_entry_point_asks_nobody_and_minds_no_credentials() {
    let world = reference().await;
    world.provider.fails(Kind::Unavailable);
    for headers in [&[][..], &[EMPTY], &[BAD], &[("Authorization", "Bearer x")]] {
        for path in ["/api", "/api/instance_states", "/api/drivers", "/api;driver=ec2"] {
            assert_eq!(world.raw().ask("GET", path, headers).await.status, 200, "{path} {headers:?}");
        }
    }
    assert_eq!(world.provider.calls(), 0);
    assert_eq!(world.receiver.received().len(), 0);
    world.end().await;
}

#[tokio::test]
async fn g03_good_credentials_are_told_from_bad_ones() {
    let world = reference().await;
    let status = async |headers| world.raw().ask("GET", "/api?force_auth=true", headers).await.status;
    assert_eq!([status(&[GOOD]).await, status(&[BAD]).await], [200, 401]);
    assert_eq!(world.provider.calls_of(MockCall::Identify), 2);
    world.end().await;
}

#[tokio::test]
async fn g04_t19_without_a_provider_the_entry_point_has_none_and_an_error_says_default() {
    let world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.get("/api").await.xml().attribute("provider"), None);
    assert_eq!(raw.ask("GET", "/api", &[JSON]).await.json()["api"]["provider"], "default");
    let error = raw.get("/api/realms/unknown").await.is_error(404).xml();
    assert_eq!(error.child("backend").attribute("provider"), Some("default"));
    world.end().await;
}

#[tokio::test]
async fn g05_features_of_instances_include_user_name_with_its_parameter() {
    let world = reference().await;
    let api = world.raw().get("/api").await.xml();
    let map: BTreeMap<_, _> =
        api.children.iter().map(|link| (link.attribute("rel").unwrap(), features(link))).collect();
    assert!(map["instances"].iter().any(|name| name == "user_name"));
    let user_name = api.all("feature").into_iter().find(|one| one.attribute("name") == Some("user_name")).unwrap();
    assert_eq!(user_name.attribute("rel"), Some("create"));
    assert_eq!(user_name.child("param").attribute("name"), Some("name"));
    world.end().await;
}

#[tokio::test]
async fn t22_a_provider_keeps_its_case_for_the_backend_and_folds_it_for_the_account() {
    let world = reference().await;
    let raw = world.raw();
    chosen(raw, "/api", &[("X-Deltacloud-Provider", "Us-East")], "mock", Some("Us-East")).await;
    let put = raw.ask("PUT", "/api;provider=Us-East/instances/inst0?track_hook=feed", &[GOOD]).await;
    assert_eq!(put.status, 200, "{put:?}");
    let shown = raw.ask("GET", "/api;provider=us-EAST/instances/inst0", &[GOOD]).await.xml();
    assert_eq!(shown.only("tracking").attribute("hook"), Some("feed"), "the same account");
    world.end().await;
}

#[tokio::test]
async fn t23_a_matrix_in_a_query_is_the_querys_own() {
    let world = reference().await;
    chosen(world.raw(), "/api?x=/api;driver=ec2/y", &[], "mock", None).await;
    let path = "/api/instances/inst0?track_hook=http://h/api;driver=ec2/cb;x=y";
    let put = world.raw().ask("PUT", path, &[GOOD]).await;
    assert_eq!(put.status, 200, "{put:?}");
    assert_eq!(put.xml().only("tracking").attribute("hook"), Some("http://h/api;driver=ec2/cb;x=y"));
    world.end().await;
}

#[tokio::test]
async fn hrefs_follow_forwarding_headers_or_settings() {
    let world = reference().await;
    let headers = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "tracker.example")];
    let api = world.raw().ask("GET", "/api", &headers).await.xml();
    assert_eq!(api.children[0].attribute("href"), Some("https://tracker.example/api/addresses"));
    world.end().await;
    let world = World::reference(|api| api.public_url = "https://t.example/".to_owned()).await;
    let api = world.raw().ask("GET", "/api", &headers).await.xml();
    assert_eq!(api.children[0].attribute("href"), Some("https://t.example/api/addresses"));
    world.end().await;
}

#[tokio::test]
async fn options_lists_verbs_and_needs_nobody() {
    let world = reference().await;
    for (path, verbs) in [
        ("/api", "OPTIONS,GET,HEAD,POST,PUT"),
        ("/api/", "OPTIONS,GET,HEAD,POST,PUT"),
        ("/api/addresses", "OPTIONS,GET,HEAD,POST,DELETE"),
        ("/api/changes", "OPTIONS,GET,HEAD"),
        ("/api/deliveries", "OPTIONS,GET,HEAD"),
        ("/api/hooks", "OPTIONS,GET,HEAD"),
        ("/api/firewalls", "OPTIONS,GET,HEAD,POST,DELETE"),
        ("/api/instances", "OPTIONS,GET,HEAD,POST,PUT,DELETE"),
        ("/api/keys", "OPTIONS,GET,HEAD,POST,DELETE"),
        ("/api/realms", "OPTIONS,GET,HEAD,PUT"),
        ("/api/storage_snapshots", "OPTIONS,GET,HEAD,POST,PUT,DELETE"),
        ("/api/storage_volumes", "OPTIONS,GET,HEAD,POST,PUT,DELETE"),
    ] {
        let answer = world.raw().ask("OPTIONS", path, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (200, Some(verbs)), "{path}");
    }
    world.end().await;
}

#[tokio::test]
async fn the_driver_chooser_redirects() {
    let world = reference().await;
    let check = async |body: &str, referer: &str, location: &str| {
        let answer: Answer = world.raw().send("POST", "/api", &[("Referer", referer)], body).await;
        assert_eq!((answer.status, answer.header("location")), (301, Some(location)), "{body}");
    };
    check("driver=ec2", "", "http://localhost:3001/api;driver=ec2").await;
    check("driver=ec2&provider=a%3Bb", "", "http://localhost:3001/api;driver=ec2;provider=a%3Bb").await;
    check("provider=eu", "http://h/api;driver=ec2", "http://localhost:3001/api;driver=ec2;provider=eu").await;
    check("provider=default", "", "http://localhost:3001/api/").await;
    check("driver=%0D%0AX:y", "", "http://localhost:3001/api;driver=%0D%0AX:y").await;
    world.end().await;
}
