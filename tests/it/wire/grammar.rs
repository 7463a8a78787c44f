//! Every answer, read as the strictest client would: XML that is well-formed and that no generation of gems misreads, JSON
//! of the types that `shapes` says, and both saying the same. The same requests are made of two clouds that are alike, once
//! for each representation, and what is said to them is as hostile as it may be.

use std::collections::BTreeMap;

use tracker::drivers::Kind;
use tracker::model::RealmState;

use super::shapes::{DRIVER_ITEM, ENTRY, INSTANCE_STATES, Is, Shape};
use super::suites::{EC2_API, OURS, advertised, id, mocks, recorded, singular, with_members};
use super::traps::{routes, survive};
use super::{ORIGIN, reference};
use crate::support::raw::{Answer, GOOD, JSON, Node};
use crate::support::world::{World, minutes};

const XML: (&str, &str) = ("Accept", "application/xml");

/// Markup, quotes, the end of a CDATA section, other alphabets, blanks at both ends, and what XML cannot hold: as text, and
/// escaped for a query or a form.
const HOSTILE: &str = " A & <P a='\"'>]]>&amp;%41+ \u{e4}\u{1f600}\u{202e}\u{1}\u{7f}\u{fffe}\t\r\n ";

fn hostile() -> String {
    form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect()
}

/// What is asked of a cloud: method, path, form. `HOSTILE` stands for [`HOSTILE`], escaped.
const ASKED: &str = "
    GET /api
    GET /api/
    OPTIONS /api/instances
    POST /api driver=ec2
    POST /api/instances image_id=img1&name=HOSTILE&keyname=HOSTILE&realm_id=eu&hwp_id=m1-large&hwp_memory=9000.5
    POST /api/instances image_id=img2&name=&track_hook=feed
    POST /api/instances image_id=HOSTILE&realm_id=HOSTILE
    POST /api/instances image_id=img1&hwp_id=HOSTILE
    POST /api/instances name=HOSTILE
    POST /api/instances/inst0/stop
    POST /api/instances/inst0/stop
    POST /api/instances/inst0/start
    POST /api/instances/inst0/reboot
    POST /api/instances/inst1/stop
    DELETE /api/instances/inst0
    POST /api/images instance_id=inst1&name=HOSTILE&description=HOSTILE
    POST /api/images instance_id=HOSTILE
    DELETE /api/images/img2
    POST /api/keys name=web-key
    POST /api/keys name=HOSTILE
    POST /api/keys name=test-key
    DELETE /api/keys/test-key
    POST /api/storage_volumes name=HOSTILE&description=HOSTILE&capacity=7
    POST /api/storage_volumes capacity=HOSTILE
    POST /api/storage_volumes/vol1/attach instance_id=inst2&device=HOSTILE
    POST /api/storage_volumes/vol1/attach instance_id=inst2&device=x
    POST /api/storage_volumes/vol2/attach instance_id=inst3&device=
    POST /api/storage_volumes/vol3/detach
    POST /api/storage_volumes/vol3/destroy
    DELETE /api/storage_volumes/vol1
    POST /api/storage_snapshots volume_id=vol1&name=HOSTILE&description=HOSTILE
    DELETE /api/storage_snapshots/snap3
    POST /api/addresses
    POST /api/addresses/192.168.0.1/associate instance_id=inst2
    POST /api/addresses/192.168.0.2/associate instance_id=HOSTILE
    POST /api/addresses/192.168.0.3/associate instance_id=inst3
    POST /api/addresses/192.168.0.3/disassociate
    DELETE /api/addresses/192.168.0.4
    POST /api/networks name=HOSTILE&address_block=10.9.0.0/16
    POST /api/networks name=HOSTILE&address_block=HOSTILE
    POST /api/subnets network_id=net1&address_block=10.0.9.0/24&name=HOSTILE
    POST /api/network_interfaces network=net1&instance=inst2&name=HOSTILE
    DELETE /api/network_interfaces/nic1
    DELETE /api/networks/net2
    POST /api/buckets name=HOSTILE
    POST /api/buckets name=HOSTILE%20
    POST /api/buckets name=A%26B%3CC%3E%27%22
    POST /api/buckets/bucket1 blob_id=a%26b%3Cc%3E&blob_data=HOSTILE&meta_params=1&meta_name1=x&meta_value1=y
    GET /api/buckets/bucket1/blob1
    GET /api/buckets/bucket1/HOSTILE
    GET /api/buckets/bucket1/blob1/content
    DELETE /api/buckets/bucket1/blob2
    PUT /api/realms track_hook=feed
    PUT /api/realms/us track_hook=http%3A%2F%2Fh%2F%27%26%3Cx%3E%3Fx%3Dhush%26y&track_token=hush
    PUT /api/instances track_hook=feed&subscriber=other
    PUT /api/instances/inst1 track_hook=http%3A%2F%2Fhush%3Ahush%40h%2F%27%3Cx%3E&track_token=hush
    PUT /api/instances/inst2 track_hook=HOSTILE
    PUT /api/instances/inst3 track_hook=feed&subscriber=HOSTILE
    PUT /api/images track_hook=feed
    PUT /api/images/img1 track_hook=feed&track_token=hush
    PUT /api/storage_volumes track_hook=feed
    PUT /api/storage_volumes/vol1 track_hook=feed
    PUT /api/storage_snapshots track_hook=feed
    PUT /api/storage_snapshots/snap1 track_hook=feed
    GET /api/instances?state=RUNNING&subscriber=other
    GET /api/instances?id=HOSTILE
    GET /api/images?architecture=i386&owner_id=self
    GET /api;driver=mock;provider=A%26%3CP%27%3E%2F%C3%A4/instances
    GET /api;provider=HOSTILE/realms
    GET /api;driver=ec2
    GET /api;driver=HOSTILE
    POST /api/firewalls name=HOSTILE&description=HOSTILE
    POST /api/firewalls name=web&description=
    POST /api/firewalls/sg-1/rules protocol=tcp&port_from=1&port_to=2&ip_address1=10.0.0.0/8&group1=HOSTILE&group1owner=HOSTILE
    POST /api/firewalls/sg-1/rules protocol=udp&port_from=1&port_to=2&ip_address1=10.0.0.0/8
    DELETE /api/firewalls/sg-1/udp~1%2F2@%3Bx
    DELETE /api/firewalls/sg-3
";

/// All that was asked, and then every list and every member, and of every collection one that is not there.
async fn answers(world: &World, accept: (&str, &str)) -> Vec<(String, Answer)> {
    let raw = world.raw();
    let mut answers = Vec::new();
    for line in ASKED.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let line = line.replace("HOSTILE", &hostile());
        let mut words = line.split(' ');
        let [method, path] = [words.next(), words.next()].map(|word| word.expect("a method and a path"));
        let answer = raw.send(method, path, &[GOOD, accept], words.next().unwrap_or_default()).await;
        answers.push((format!("{method} {path}"), answer));
    }
    let mut paths: Vec<_> = advertised(raw, "/api").await.iter().map(|rel| format!("/api/{rel}")).collect();
    for rel in with_members(raw, "/api").await {
        let list = raw.get(&format!("/api/{rel}")).await.xml();
        paths.extend(list.children.iter().map(|member| member.attribute("href").unwrap().replace(ORIGIN, "")));
        paths.push(format!("/api/{rel}/{}", hostile()));
    }
    for path in paths {
        answers.push((format!("GET {path}"), raw.ask("GET", &path, &[GOOD, accept]).await));
    }
    answers
}

/// A cloud in which much is odd already.
fn disturb(world: &World) {
    world.provider.set_realm("us.<&>'", RealmState::Unavailable, Some(HOSTILE));
    if world.settings.drivers.mock.fixture {
        world.provider.set_addresses("inst2", &[HOSTILE, "  ", "10.0.0.1"]);
        world.provider.set_state("inst3", "UNKNOWN");
    }
}

/// The XML of an answer that is no error, if it has any, after a look at its grammar.
fn grammatical(what: &str, answer: &Answer) -> Node {
    assert_eq!(answer.header("content-type"), Some("application/xml"), "{what}: {answer:?}");
    let body = &answer.body;
    assert!(body.starts_with("<?xml version='1.0' encoding='utf-8' ?>\n<"), "{what}: {body}");
    assert!(!body.contains("xmlns"), "{what}: {body}");
    let root = answer.xml();
    check_element(what, &root);
    root
}

fn check_element(what: &str, node: &Node) {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let can_be = |text: &str| !text.chars().any(|c| matches!(c, '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f'));
    // A colon would be a namespace.
    assert!(is_name(&node.name), "{what}: {node:?}");
    assert!(node.attributes.iter().all(|(name, text)| is_name(name) && can_be(text)), "{what}: {node:?}");
    assert!(can_be(&node.text), "{what}: {node:?}");
    assert!(node.children.is_empty() || node.text.trim().is_empty(), "{what}: text between elements: {node:?}");
    if ["state", "address"].contains(&node.name.as_str()) && node.children.is_empty() {
        assert_eq!(node.text, node.text.trim(), "{what}");
    }
    if let Some(href) = node.attribute("href") {
        assert!(href.starts_with(ORIGIN) && href.parse::<url::Url>().is_ok(), "{what}: {href}");
        assert!(href.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\"'&".contains(&byte)), "{what}: {href}");
    }
    if node.name == "actions" {
        for link in &node.children {
            let [method, rel] = ["method", "rel"].map(|name| link.attribute(name).unwrap_or_default());
            assert!(link.name == "link" && link.attribute("href").is_some() && !rel.is_empty(), "{what}: {link:?}");
            assert!(["get", "post", "put", "delete"].contains(&method), "{what}: {link:?}");
        }
    }
    node.children.iter().for_each(|child| check_element(what, child));
}

/// Older clients glue together, or take the first of, what is called like this anywhere below.
const ONCE: &[&str] = &[
    "state",
    "name",
    "owner_id",
    "realm",
    "image",
    "hardware_profile",
    "public_addresses",
    "private_addresses",
    "tracking",
];

/// What a member must not be, whichever collection it is of.
fn check_member(rel: &str, rels: &[String], member: &Node) {
    assert!(!id(member).is_empty() && member.attribute("href").is_some(), "{member:?}");
    for name in ONCE.iter().filter(|name| (rel, **name) != ("images", "hardware_profile")) {
        assert!(member.all(name).len() <= 1, "{rel}: {name} in {member:?}");
    }
    for child in &member.children {
        // Taken for another resource, whose id is looked for. A blob's bucket is text alone in the reference, too.
        let is_taken = ["s", "es"].iter().any(|end| rels.contains(&format!("{}{end}", child.name)));
        if is_taken && (rel, child.name.as_str()) != ("blobs", "bucket") {
            assert!(child.attribute("id").is_some(), "{rel}: {child:?}");
        }
        if child.name == "tracking" {
            let known =
                ["hook", "since", "checked", "stale", "subscriber", "availability", "confidence", "disabled", "secret"];
            assert!(child.children.is_empty() && child.text.is_empty(), "{child:?}");
            assert!(child.attributes.iter().all(|(name, _)| known.contains(&name.as_str())), "{child:?}");
        }
    }
}

/// The same answer twice.
fn check_pair(what: &str, rels: &[String], xml: &Answer, json: &Answer) {
    assert_eq!(
        (xml.status, xml.header("location")),
        (json.status, json.header("location")),
        "{what}: {xml:?} {json:?}"
    );
    assert_eq!(xml.body.is_empty(), json.body.is_empty(), "{what}: {xml:?} {json:?}");
    // What was given in confidence comes back in no answer.
    assert!(!xml.body.contains("hush") && !json.body.contains("hush"), "{what}: {xml:?} {json:?}");
    if xml.status >= 400 {
        survive(xml, false);
        survive(json, true);
        check_element(what, &xml.xml());
        return;
    }
    if xml.body.is_empty() || what.ends_with("/content") {
        return;
    }
    assert_eq!(json.header("content-type"), Some(JSON.1), "{what}: {json:?}");
    let (root, json) = (grammatical(what, xml), json.json());
    let check_shape = |is: &Is, value| assert_eq!(is.wrong(value), None, "{what}: {value}");
    let rel = what.split(['/', '?']).nth(2).unwrap_or_default();
    match root.name.as_str() {
        "api" => {
            check_shape(&ENTRY, &json);
            let links = json["api"]["links"].as_array().unwrap();
            assert_eq!(links.len(), root.children.len());
            for (link, json) in root.children.iter().zip(links) {
                assert_eq!(
                    (link.attribute("rel"), link.attribute("href")),
                    (json["rel"].as_str(), json["href"].as_str())
                );
                let features = json["features"].as_array().unwrap().iter().flat_map(|group| group.as_array().unwrap());
                let both =
                    link.children.iter().map(|one| one.attribute("name")).zip(features.map(|one| one["name"].as_str()));
                both.for_each(|(xml, json)| assert_eq!(xml, json));
            }
        }
        "states" => {
            check_shape(&INSTANCE_STATES, &json);
            let states = json.as_array().unwrap();
            assert_eq!(states.len(), root.children.len());
            for (state, json) in root.children.iter().zip(states) {
                assert_eq!(state.attribute("name"), json["name"].as_str());
                for (transition, json) in state.children.iter().zip(json["transitions"].as_array().unwrap()) {
                    for key in ["to", "action", "auto"] {
                        assert_eq!(transition.attribute(key), json[key].as_str());
                    }
                }
            }
        }
        "drivers" => {
            assert_eq!(root.children.len(), json.as_object().unwrap().len());
            for driver in &root.children {
                check_member(rel, rels, driver);
                check_shape(&DRIVER_ITEM, &json[id(driver)]);
                assert_eq!(driver.child("name").text, json[id(driver)]["name"]);
            }
        }
        list if list == rel => {
            let (shape, items) = (Shape::of(rel), json[rel].as_array().unwrap());
            // The hook that was just set on the whole collection: beside the members, and never among them.
            let beside = json.get("tracking").map(|tracking| tracking.as_object().unwrap());
            assert!(beside.is_none() || what.starts_with("PUT "), "{what}: {json}");
            let entries = 1 + usize::from(beside.is_some());
            assert_eq!(
                (json.as_object().unwrap().len(), items.len()),
                (entries, root.children.len()),
                "{what}: {json}"
            );
            let said = beside
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
            assert_eq!(BTreeMap::from_iter(root.attributes.clone()), BTreeMap::from_iter(said), "{what}: {root:?}");
            for (member, json) in root.children.iter().zip(items) {
                assert_eq!(member.name, singular(rel));
                check_member(rel, rels, member);
                check_shape(&shape.json, json);
                shape.compare(member, json);
            }
        }
        member => {
            let rel = if member == "blob" { "blobs" } else { rel };
            assert_eq!(member, singular(rel), "{what}");
            let shape = Shape::of(rel);
            // The answer to an instance's action is bare.
            let json = if json.get("id").is_some() { &json } else { &json[member] };
            check_member(rel, rels, &root);
            check_shape(&shape.json, json);
            shape.compare(&root, json);
            if rel == "instances" {
                check_actions(&root, json);
            }
        }
    }
}

/// Links both ways; what makes an image is a link here and a flag there.
fn check_actions(xml: &Node, json: &serde_json::Value) {
    let actions = json["actions"].as_array().unwrap().iter().map(|action| action["rel"].as_str());
    let image = json["create_image"].as_bool().unwrap_or(false).then_some(Some("create_image"));
    let links = xml.child("actions").children.iter().map(|link| link.attribute("rel"));
    assert_eq!(links.collect::<Vec<_>>(), actions.chain(image).collect::<Vec<_>>(), "{json}");
}

fn leads_to(route: &str, what: &str) -> bool {
    let path = what.split(' ').nth(1).expect("method and path").split('?').next().unwrap_or_default();
    let (route, path): (Vec<_>, Vec<_>) = (route.split('/').collect(), path.split('/').collect());
    route.len() == path.len() && route.iter().zip(path).all(|(gap, segment)| gap.starts_with('{') || *gap == segment)
}

#[tokio::test]
async fn t11_t12_t14_t15_t16_t35_t38_every_answer_is_grammatical_and_the_same_in_xml_and_json() {
    let mut answered = Vec::new();
    for (for_xml, for_json) in mocks().await.into_iter().zip(mocks().await) {
        disturb(&for_xml);
        disturb(&for_json);
        let rels = advertised(for_xml.raw(), "/api").await;
        let (xml, json) = (answers(&for_xml, XML).await, answers(&for_json, JSON).await);
        assert_eq!(xml.len(), json.len());
        for ((what, xml), (also, json)) in xml.iter().zip(&json) {
            assert_eq!(what, also);
            check_pair(what, &rels, xml, json);
        }
        answered.extend(xml.into_iter().filter(|(_, answer)| answer.status < 400).map(|(what, _)| what));
        for_xml.end().await;
        for_json.end().await;
    }
    // What is Tracker's own is JSON alone and has its own tests; nothing else may be left out.
    let is_ours =
        |route: &str| route.ends_with("/evidence") || route.split('/').nth(2).is_some_and(|rel| OURS.contains(&rel));
    for route in routes().into_iter().filter(|route| !is_ours(route)) {
        assert!(answered.iter().any(|what| leads_to(route, what)), "nothing was asked of {route}, or not well");
    }
}

#[tokio::test]
async fn t11_t14_t15_t16_what_ec2_has_is_as_grammatical_as_what_the_mock_cloud_has() {
    let world = recorded().await;
    let raw = world.raw();
    let rels = advertised(raw, EC2_API).await;
    let mut paths: Vec<_> = rels.iter().map(|rel| format!("{EC2_API}/{rel}")).collect();
    for rel in with_members(raw, EC2_API).await {
        let list = raw.get(&format!("{EC2_API}/{rel}")).await.xml();
        paths.extend(list.children.iter().map(|member| member.attribute("href").unwrap().replace(ORIGIN, "")));
    }
    assert!(paths.len() > 40, "{paths:?}");
    for path in paths {
        let [xml, json] = [XML, JSON].map(|accept| [GOOD, accept]);
        let (xml, json) = (raw.ask("GET", &path, &xml).await, raw.ask("GET", &path, &json).await);
        assert_eq!(xml.status, 200, "{path}");
        check_pair(&format!("GET {path}"), &rels, &xml, &json);
    }
    world.end().await;
}

#[tokio::test]
async fn t14_what_was_last_seen_is_as_grammatical_as_what_is_seen() {
    let (mut for_xml, mut for_json) = (reference().await, reference().await);
    let rels = advertised(for_xml.raw(), "/api").await;
    let mut paths = Vec::new();
    for rel in ["realms", "instances", "images", "storage_volumes", "storage_snapshots"] {
        paths.push(format!("/api/{rel}"));
        let list = for_xml.raw().get(&format!("/api/{rel}")).await.xml();
        paths.extend(list.children.iter().map(|member| format!("/api/{rel}/{}", id(member))));
    }
    for world in [&mut for_xml, &mut for_json] {
        disturb(world);
        for path in &paths {
            let put = world.raw().ask("PUT", &format!("{path}?track_hook=http://h/%27%3C%26%3E"), &[GOOD]).await;
            assert_eq!(put.status, 200, "{put:?}");
        }
        world.tick().await;
        world.provider.fails(Kind::Unavailable);
        world.clock.advance(minutes(10));
    }
    for path in &paths {
        let what = format!("GET {path}");
        let xml = for_xml.raw().ask("GET", path, &[GOOD, XML]).await;
        check_pair(&what, &rels, &xml, &for_json.raw().ask("GET", path, &[GOOD, JSON]).await);
        let root = xml.xml();
        let tracking = root.all("tracking");
        assert!(!tracking.is_empty(), "{what}");
        assert!(tracking.iter().all(|one| one.attribute("stale") == Some("true")), "{what}: {root:?}");
    }
    for_xml.end().await;
    for_json.end().await;
}
