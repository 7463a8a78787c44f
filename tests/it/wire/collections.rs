//! Filters, and what is particular about single collections. What all have in common is asked in `suites`.

use super::{ORIGIN, reference};
use crate::support::raw::{GOOD, JSON};

#[tokio::test]
async fn g06_filters_give_fewer_and_unknown_ones_none() {
    let world = reference().await;
    let check = async |path: &str, ids: &[&str]| {
        let answer = world.raw().get(path).await;
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
    check("/api/instances?state=running&realm_id=eu", &["inst3"]).await;
    check("/api/instances?state=STOPPED", &[]).await;
    check("/api/images?id=img1", &["img1"]).await;
    check("/api/images?id=unknown", &[]).await;
    check("/api/images?architecture=i386", &["img2", "img3"]).await;
    check("/api/images?owner_id=self", &["img3"]).await;
    check("/api/images?owner_id=fedoraproject", &["img1", "img2"]).await;
    check("/api/images?owner_id=fedoraproject&architecture=i386", &["img2"]).await;
    check("/api/keys?id=test-key", &["test-key"]).await;
    check("/api/keys?id=unknown", &[]).await;
    check("/api/storage_volumes?id=vol1", &["vol1"]).await;
    check("/api/storage_volumes?id=unknown", &[]).await;
    check("/api/storage_volumes?state=in-use", &["vol3"]).await;
    check("/api/storage_snapshots?id=snap1", &["snap1"]).await;
    check("/api/storage_snapshots?id=unknown", &[]).await;
    check("/api/addresses?id=192.168.0.2", &["192.168.0.2"]).await;
    check("/api/addresses?id=unknown", &[]).await;
    check("/api/buckets?id=bucket1", &["bucket1"]).await;
    check("/api/buckets?id=unknown", &[]).await;
    check("/api/metrics?id=inst1", &["inst1"]).await;
    check("/api/networks?id=net1", &["net1"]).await;
    check("/api/networks?id=unknown", &[]).await;
    check("/api/subnets?id=subnet3", &["subnet3"]).await;
    check("/api/subnets?id=unknown", &[]).await;
    check("/api/network_interfaces?id=nicinst3", &["nicinst3"]).await;
    check("/api/network_interfaces?id=unknown", &[]).await;
    check("/api/hardware_profiles?id=opaque", &["opaque"]).await;
    check("/api/hardware_profiles?id=unknown", &[]).await;
    check("/api/hardware_profiles?architecture=i386", &["m1-small"]).await;
    check("/api/hardware_profiles?architecture=x86_64", &["m1-large", "m1-xlarge"]).await;
    check("/api/hardware_profiles?architecture=sparc", &[]).await;
    world.end().await;
}

#[tokio::test]
async fn g10_t29_profiles_have_sizes_as_text_and_an_opaque_one_has_none() {
    let world = reference().await;
    let small = world.raw().get("/api/hardware_profiles/m1-small").await.xml();
    let sizes: Vec<_> = small
        .all("property")
        .iter()
        .map(|one| ["name", "value", "kind", "unit"].map(|key| one.attribute(key).unwrap().to_owned()))
        .collect();
    assert_eq!(
        sizes,
        [
            ["cpu", "1", "fixed", "count"],
            ["memory", "1740.8", "fixed", "MB"],
            ["storage", "160", "fixed", "GB"],
            ["architecture", "i386", "fixed", "label"],
        ]
    );
    let opaque = world.raw().get("/api/hardware_profiles/opaque").await.xml();
    assert_eq!((opaque.child("name").text.as_str(), opaque.all("property").len()), ("opaque", 0));

    let large = world.raw().get("/api/hardware_profiles/m1-large").await.xml();
    let kinds: Vec<_> = large.all("property").iter().map(|one| one.attribute("kind").unwrap()).collect();
    assert_eq!(kinds, ["range", "range", "enum", "fixed"]);
    assert_eq!((large.all("range").len(), large.only("enum").children.len()), (2, 2));
    let hwp: Vec<_> = large.all("param").iter().map(|one| one.attribute("name").unwrap()).collect();
    assert_eq!(hwp, ["hwp_cpu", "hwp_memory", "hwp_storage"], "what a create takes for them");

    let json = world.raw().ask("GET", "/api/hardware_profiles", &[JSON]).await.json();
    let profiles = json["hardware_profiles"].as_array().unwrap();
    let ids: Vec<_> = profiles.iter().map(|profile| profile["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["m1-small", "m1-large", "m1-xlarge", "opaque"], "by cpu, then memory, the one without last");
    assert_eq!(profiles[0]["properties"]["memory"], "1740.8");
    assert_eq!(profiles[1]["properties"]["memory"], "10240", "the default, as text");
    assert_eq!(profiles[3].get("properties"), None);
    world.end().await;
}

#[tokio::test]
async fn g11_t18_drivers_have_their_providers_nested_as_clients_look_for_them() {
    let world = reference().await;
    let raw = world.raw();
    let ec2 = raw.ask("GET", "/api/drivers/ec2", &[]).await.xml();
    let ireland = ec2.all("provider").into_iter().find(|one| one.attribute("id") == Some("eu-west-1")).unwrap();
    let s3 = ireland.all("entrypoint").into_iter().find(|one| one.attribute("kind") == Some("s3")).unwrap();
    assert_eq!(s3.text, "s3-eu-west-1.amazonaws.com");
    assert!(raw.ask("GET", "/api/drivers/mock", &[]).await.xml().all("provider").is_empty());
    raw.ask("GET", "/api/drivers/unknown", &[]).await.is_error(404);

    let json = raw.ask("GET", "/api/drivers", &[JSON]).await.json();
    assert_eq!(json["ec2"]["name"], "EC2");
    assert_eq!(json["ec2"]["entrypoints"]["s3"]["eu-west-1"], "s3-eu-west-1.amazonaws.com");
    let json = raw.ask("GET", "/api/drivers/mock", &[JSON]).await.json();
    assert_eq!((&json["driver"]["id"], &json["driver"]["name"]), (&"mock".into(), &"Mock".into()));
    world.end().await;
}

#[tokio::test]
async fn g12_t17_instance_states_are_in_lower_case_under_states_and_a_bare_array() {
    let world = reference().await;
    let raw = world.raw();
    let xml = raw.ask("GET", "/api/instance_states", &[]).await.xml();
    let names: Vec<_> = xml.children.iter().map(|state| state.attribute("name").unwrap()).collect();
    assert_eq!(names, ["start", "pending", "running", "stopped", "finish"]);
    assert!(!names.contains(&"nonsense"), "a client gets nil for what is not there");
    let json = raw.ask("GET", "/api/instance_states", &[JSON]).await.json();
    assert_eq!(json[0]["name"], "start");
    assert_eq!(json[0]["transitions"][0], serde_json::json!({"to": "pending", "action": "create"}));
    assert_eq!(json[1]["transitions"][0], serde_json::json!({"to": "running", "auto": "true"}));
    assert_eq!(json[4], serde_json::json!({"name": "finish", "transitions": []}));
    // What a client may do with a running instance is read from here, so it must agree with what is shown of one. Making an
    // image changes no state; inst3 cannot be imaged.
    let allowed: Vec<_> = xml.children[2].children.iter().filter_map(|one| one.attribute("action")).collect();
    let inst3 = raw.get("/api/instances/inst3").await.xml();
    let shown: Vec<_> = inst3.child("actions").children.iter().filter_map(|link| link.attribute("rel")).collect();
    assert_eq!(allowed, shown);
    raw.get("/api/instance_states/running").await.is_error(404);
    world.end().await;
}

#[tokio::test]
async fn g13_an_image_is_complete_and_its_href_as_asked_for() {
    let world = reference().await;
    let image = world.raw().get("/api/images/img1").await.xml();
    assert_eq!(image.attribute("href"), Some("http://localhost:3001/api/images/img1"));
    for image in &world.raw().get("/api/images").await.xml().children {
        for text in ["state", "owner_id", "architecture", "description"] {
            assert!(!image.only(text).text.is_empty(), "{text} of {image:?}");
        }
        let profiles = &image.child("hardware_profiles").children;
        assert_eq!(profiles.len(), 4);
        for profile in profiles {
            let (id, href) = (profile.attribute("id").unwrap(), profile.attribute("href").unwrap());
            assert_eq!(href, format!("{ORIGIN}/api/hardware_profiles/{id}"));
            assert_eq!(profile.attribute("rel"), Some("hardware_profile"));
        }
        let links = &image.child("actions").children;
        assert!(!links.is_empty());
        for link in links {
            assert!(["href", "method", "rel"].iter().all(|key| link.attribute(key).is_some()), "{link:?}");
        }
    }
    world.end().await;
}

#[tokio::test]
async fn t39_without_a_limit_a_realm_has_no_such_element_and_json_says_unlimited() {
    let world = reference().await;
    let realm = world.raw().get("/api/realms/eu").await.xml();
    assert_eq!((realm.child("name").text.as_str(), realm.child("state").text.as_str()), ("Europe", "AVAILABLE"));
    assert!(realm.all("limit").is_empty());
    let json = world.raw().ask("GET", "/api/realms/eu", &[GOOD, JSON]).await.json();
    let eu = serde_json::json!({
        "id": "eu", "href": format!("{ORIGIN}/api/realms/eu"), "name": "Europe", "state": "AVAILABLE",
        "limit": "unlimited",
    });
    assert_eq!(json["realm"], eu);
    world.end().await;
}
