//! What the reference's suites ask of every collection: C of its list, M of its members, G06 of what is not there. The
//! collections are those that the entry point advertises, so that a new one is asked the same without a line here.
//!
//! Every requirement and every trap (B, C, M, I, G, T) is a test named by its number somewhere in this room; the test at
//! the end sees to that.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::firewalls::Walls;
use super::{AUTH_FAILURE, ORIGIN, ec2_says, reference, value};
use crate::support::faulty::Faulty;
use crate::support::raw::{Answer, BAD, GOOD, JSON, Node, Raw};
use crate::support::world::World;

/// Tracker's own, with rules of their own: JSON alone, and no members.
pub(super) const OURS: &[&str] = &["changes", "deliveries", "hints", "hooks"];

/// Those that suites do not ask credentials for.
const OPEN: &[&str] = &["drivers", "hardware_profiles", "instance_states"];

/// Profiles that only the backend knows are not for everybody.
fn is_open(api: &str, rel: &str) -> bool {
    OPEN.contains(&rel) && (rel, api) != ("hardware_profiles", EC2_API)
}

/// Those that no client filters by id.
const UNFILTERED: &[&str] = &["drivers", "instance_states", "metrics"];

/// Members without a name, in any suite.
const NAMELESS: &[&str] = &["addresses", "load_balancers", "metrics"];

/// What is walked: the reference's mock cloud, the same with firewalls, which it lacks, and EC2 as recorded. Each with the
/// path of its entry point.
async fn clouds() -> [(World, &'static str); 3] {
    let [mock, walled] = mocks().await;
    [(mock, "/api"), (walled, "/api"), (recorded().await, EC2_API)]
}

/// Chosen by matrix, so that hrefs lead back.
pub(super) const EC2_API: &str = "/api;driver=ec2";

fn driver(api: &str) -> &'static str {
    if api == EC2_API { "ec2" } else { "mock" }
}

/// EC2 that answers as recorded, whoever asks.
pub(super) async fn recorded() -> World {
    let world = reference().await;
    world.receiver.answers_by(|request| {
        let form: Vec<_> = form_urlencoded::parse(&request.body).into_owned().collect();
        match recording(value(&form, "Action").unwrap_or_default(), value(&form, "NextToken").is_some()) {
            Some(body) => ec2_says(200, body),
            None => ec2_says(400, AUTH_FAILURE),
        }
    });
    world
}

/// The reply to an action, or its second page.
fn recording(action: &str, second: bool) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/drivers/ec2/replies");
    let page = if second { "-2" } else { "-1" };
    let read = |name: String| std::fs::read_to_string(folder.join(name)).ok();
    read(format!("{action}{page}.xml")).or_else(|| read(format!("{action}.xml")))
}

/// The reference's mock cloud, and the same with firewalls.
pub(super) async fn mocks() -> [World; 2] {
    let walled = World::around(
        |mock| Arc::new(Faulty::new(mock).walled(Arc::new(Walls::new())).offering(&["firewalls", "realms"])),
        |settings| settings.drivers.mock.fixture = true,
    );
    [reference().await, walled.await]
}

/// What the entry point links to, without [`OURS`].
pub(super) async fn advertised(raw: Raw, api: &str) -> Vec<String> {
    let api = raw.get(api).await.xml();
    let rels = api.children.iter().map(|link| link.attribute("rel").expect("a rel").to_owned());
    let rels: Vec<_> = rels.filter(|rel| !OURS.contains(&rel.as_str())).collect();
    assert!(rels.len() >= 4, "{rels:?}");
    rels
}

/// Those of [`advertised`] that have members.
pub(super) async fn with_members(raw: Raw, api: &str) -> Vec<String> {
    advertised(raw, api).await.into_iter().filter(|rel| rel != "instance_states").collect()
}

/// `address` of `addresses`.
pub(super) fn singular(rel: &str) -> &str {
    rel.strip_suffix("ses").map(|stem| &rel[..=stem.len()]).or(rel.strip_suffix('s')).expect("rels are plurals")
}

/// The members in all lists, each with the collection it is of.
async fn members(raw: Raw, api: &str) -> Vec<(String, Node)> {
    let mut members = Vec::new();
    for rel in with_members(raw, api).await {
        let list = raw.get(&format!("{api}/{rel}")).await.xml();
        members.extend(list.children.into_iter().map(|member| (rel.clone(), member)));
    }
    members
}

pub(super) fn id(member: &Node) -> &str {
    member.attribute("id").expect("an id")
}

pub(super) fn href(member: &Node) -> &str {
    member.attribute("href").expect("an href")
}

/// An id, as it is in a path or a query.
pub(super) fn escaped(id: &str) -> String {
    form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20").replace("%3A", ":")
}

/// The path behind an href.
pub(super) fn path(href: &str) -> &str {
    href.strip_prefix(ORIGIN).unwrap_or_else(|| panic!("hrefs begin where the client asked: {href}"))
}

/// The member's own document.
async fn follow(raw: Raw, member: &Node) -> Node {
    let answer = raw.get(path(href(member))).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.xml()
}

#[tokio::test]
async fn c01_a_collection_is_advertised_under_the_name_that_its_path_has() {
    for (world, api) in clouds().await {
        let entry = world.raw().get(api).await.xml();
        let mut seen = BTreeSet::new();
        for link in &entry.children {
            let rel = link.attribute("rel").unwrap();
            assert!(rel.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && rel.ends_with('s'), "{rel}");
            assert_eq!(link.attribute("href"), Some(format!("{ORIGIN}{api}/{rel}").as_str()));
            assert!(seen.insert(rel), "{rel} twice");
        }
        world.end().await;
    }
}

/// What is in the reference's mock cloud when it is fresh, of those that are advertised.
#[tokio::test]
async fn c01_the_mock_cloud_has_what_the_references_has() {
    let world = reference().await;
    let raw = world.raw();
    let advertised = advertised(raw, "/api").await;
    for level_5 in "drivers instance_states realms images hardware_profiles instances keys storage_volumes \
                    storage_snapshots addresses"
        .split(' ')
    {
        assert!(advertised.iter().any(|rel| rel == level_5), "{level_5}");
    }
    let fixture = [
        ("realms", "eu us"),
        ("images", "img1 img2 img3"),
        ("hardware_profiles", "m1-small m1-large m1-xlarge opaque"),
        ("instances", "inst0 inst1 inst2 inst3"),
        ("keys", "test-key"),
        ("storage_volumes", "vol1 vol2 vol3"),
        ("storage_snapshots", "snap1 snap2 snap3"),
        ("addresses", "192.168.0.1 192.168.0.2 192.168.0.3 192.168.0.4"),
        ("buckets", "bucket1 bucket2"),
        ("networks", "net1 net2"),
        ("subnets", "subnet1 subnet2 subnet3 subnet4"),
        ("network_interfaces", "nic1 nicinst3"),
    ];
    for (rel, ids) in fixture.iter().filter(|(rel, _)| advertised.iter().any(|one| one == rel)) {
        let list = raw.get(&format!("/api/{rel}")).await.xml();
        assert_eq!(list.children.iter().map(id).collect::<Vec<_>>().join(" "), *ids);
    }
    for absent in ["firewalls", "load_balancers"] {
        assert!(!advertised.iter().any(|rel| rel == absent), "{absent}");
    }
    world.end().await;
}

#[tokio::test]
async fn c02_a_list_is_there_with_credentials() {
    for (world, api) in clouds().await {
        for rel in advertised(world.raw(), api).await {
            let list = world.raw().get(&format!("{api}/{rel}")).await;
            assert_eq!((list.status, list.header("content-type")), (200, Some("application/xml")), "{rel}");
            assert_eq!(list.header("server"), Some("Apache-Deltacloud/1.1.3"));
            assert_eq!(list.header("x-deltacloud-driver"), Some(driver(api)));
        }
        world.end().await;
    }
}

/// Members in a JSON list: an array under the plural's name, but for two collections.
pub(super) fn json_members(rel: &str, list: &Answer) -> usize {
    let json = list.json();
    let count = match rel {
        "drivers" => json.as_object().map(serde_json::Map::len),
        "instance_states" => json.as_array().map(Vec::len),
        _ => json[rel].as_array().map(Vec::len).filter(|_| json.as_object().is_some_and(|json| json.len() == 1)),
    };
    count.unwrap_or_else(|| panic!("{rel}: {json}"))
}

#[tokio::test]
async fn c03_t01_a_list_is_there_as_json_of_exactly_that_type() {
    for (world, api) in clouds().await {
        for rel in advertised(world.raw(), api).await {
            let path = format!("{api}/{rel}");
            let by_accept = world.raw().ask("GET", &path, &[GOOD, JSON]).await;
            let by_format = world.raw().get(&format!("{path}?format=json")).await;
            for json in [&by_accept, &by_format] {
                assert_eq!((json.status, json.header("content-type")), (200, Some("application/json")), "{rel}");
            }
            assert_eq!(by_accept.json(), by_format.json());
            let shown = world.raw().get(&path).await.xml().children.len();
            assert_eq!(json_members(&rel, &by_accept), shown, "{rel}");
        }
        world.end().await;
    }
}

#[tokio::test]
async fn c04_without_credentials_a_list_is_refused_where_they_are_needed() {
    for (world, api) in clouds().await {
        for rel in advertised(world.raw(), api).await {
            let path = format!("{api}/{rel}");
            let ask = async |headers: &[(&str, &str)]| world.raw().ask("GET", &path, headers).await;
            if is_open(api, &rel) {
                assert_eq!(ask(&[]).await.status, 200, "{rel}");
                continue;
            }
            // The suite reads the driver from here (T20).
            for headers in [&[][..], &[JSON], &[BAD]] {
                // Recordings and the tests' own firewalls let everybody in who names himself.
                if headers == [BAD] && (rel == "firewalls" || api == EC2_API) {
                    continue;
                }
                let refused = ask(headers).await;
                assert!(refused.is_error(401).header("www-authenticate").is_some(), "{rel}");
                assert_eq!(refused.header("x-deltacloud-driver"), Some(driver(api)));
            }
        }
        for (_, member) in members(world.raw(), api).await.iter().filter(|(rel, _)| !is_open(api, rel)) {
            world.raw().ask("GET", path(href(member)), &[]).await.is_error(401);
        }
        world.end().await;
    }
}

#[tokio::test]
async fn c05_a_list_has_an_etag() {
    for (world, api) in clouds().await {
        for rel in advertised(world.raw(), api).await {
            for headers in [&[GOOD][..], &[GOOD, JSON]] {
                let list = world.raw().ask("GET", &format!("{api}/{rel}"), headers).await;
                let etag = list.header("etag").unwrap_or_default();
                assert!(etag.len() == 32 && etag.bytes().all(|byte| byte.is_ascii_hexdigit()), "{rel}: {etag}");
                assert_eq!(list.header("cache-control"), Some("max-age=0, private, must-revalidate"));
                assert!(list.header("date").is_some());
            }
        }
        world.end().await;
    }
}

#[tokio::test]
async fn c06_t15_the_root_is_named_after_the_collection_and_has_no_namespace() {
    for (world, api) in clouds().await {
        for rel in advertised(world.raw(), api).await {
            let list = world.raw().get(&format!("{api}/{rel}")).await.xml();
            let root = if rel == "instance_states" { "states" } else { &rel };
            assert_eq!(list.name, root);
            assert!(list.attributes.is_empty(), "{list:?}");
        }
        world.end().await;
    }
}

#[tokio::test]
async fn m01_t33_a_collection_that_is_advertised_is_not_empty() {
    for (world, api) in clouds().await {
        let members = members(world.raw(), api).await;
        for rel in with_members(world.raw(), api).await {
            assert!(members.iter().any(|(of, _)| *of == rel), "{rel} is empty");
        }
        world.end().await;
    }
}

#[tokio::test]
async fn m02_m03_t16_every_child_of_a_list_is_a_member_with_id_and_href() {
    for (world, api) in clouds().await {
        for (rel, member) in members(world.raw(), api).await {
            assert_eq!(member.name, singular(&rel));
            assert!(!id(&member).is_empty() && !href(&member).is_empty(), "{member:?}");
        }
        world.end().await;
    }
}

/// With nothing in an id but what stands for itself in a URL and in a regular expression (a dot matches itself), to end in
/// the id and to match it is the same. The ids of EC2's keys are the names that people gave them: these are escaped, and who
/// wants to pass the suite gives them others.
#[tokio::test]
async fn m04_m05_t34_an_href_is_absolute_and_ends_in_the_id_taken_as_a_regular_expression() {
    for (world, api) in clouds().await {
        for (rel, member) in members(world.raw(), api).await {
            assert_eq!(href(&member), format!("{ORIGIN}{api}/{rel}/{}", escaped(id(&member))));
            let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:-".contains(&byte);
            assert!(id(&member).bytes().all(harmless) || (api, rel.as_str()) == (EC2_API, "keys"), "{member:?}");
        }
        world.end().await;
    }
}

#[tokio::test]
async fn m06_every_member_has_a_name_be_it_empty() {
    for (world, api) in clouds().await {
        for (rel, member) in members(world.raw(), api).await {
            assert_eq!(member.all("name").len(), usize::from(!NAMELESS.contains(&rel.as_str())), "{member:?}");
        }
        world.end().await;
    }
}

#[tokio::test]
async fn m07_an_href_leads_to_the_member() {
    for (world, api) in clouds().await {
        for (_, member) in members(world.raw(), api).await {
            let followed = follow(world.raw(), &member).await;
            assert_eq!((&followed.name, id(&followed), href(&followed)), (&member.name, id(&member), href(&member)));
        }
        world.end().await;
    }
}

#[tokio::test]
async fn m08_the_first_name_in_a_member_is_the_one_in_the_list() {
    for (world, api) in clouds().await {
        for (_, member) in members(world.raw(), api).await {
            let followed = follow(world.raw(), &member).await;
            let name = |node: &Node| node.all("name").first().map(|name| name.text.clone());
            assert_eq!(name(&followed), name(&member));
        }
        world.end().await;
    }
}

#[tokio::test]
async fn g06_a_list_is_filtered_by_id_and_an_unknown_member_is_not_found() {
    for (world, api) in clouds().await {
        let raw = world.raw();
        for (rel, member) in members(raw, api).await {
            if !UNFILTERED.contains(&rel.as_str()) {
                let one = raw.get(&format!("{api}/{rel}?id={}", escaped(id(&member)))).await.xml();
                assert_eq!(one.children.iter().map(id).collect::<Vec<_>>(), [id(&member)], "{rel}");
            }
        }
        for rel in with_members(raw, api).await {
            if !UNFILTERED.contains(&rel.as_str()) {
                for format in ["xml", "json"] {
                    let none = raw.get(&format!("{api}/{rel}?id=unknown&format={format}")).await;
                    assert_eq!(none.status, 200, "{rel}");
                    let count = if format == "json" { json_members(&rel, &none) } else { none.xml().children.len() };
                    assert_eq!(count, 0, "{none:?}");
                }
            }
            let error = raw.get(&format!("{api}/{rel}/unknown")).await;
            assert!(error.is_error(404).xml().child("message").text.contains("unknown"), "{error:?}");
            raw.ask("GET", &format!("{api}/{rel}/unknown"), &[GOOD, JSON]).await.is_error(404);
        }
        world.end().await;
    }
}

#[tokio::test]
async fn g06_t02_with_a_slash_at_the_end_there_is_nothing() {
    for (world, api) in clouds().await {
        let raw = world.raw();
        for rel in advertised(raw, api).await {
            for (method, headers) in [("GET", &[GOOD][..]), ("GET", &[]), ("POST", &[GOOD]), ("PUT", &[GOOD])] {
                raw.ask(method, &format!("{api}/{rel}/"), headers).await.is_error(404);
            }
        }
        for (_, member) in members(raw, api).await {
            raw.get(&format!("{}/", path(href(&member)))).await.is_error(404);
        }
        world.end().await;
    }
}

#[tokio::test]
async fn t41_a_head_is_its_get_without_the_body_for_every_list_and_member() {
    for (world, api) in clouds().await {
        let raw = world.raw();
        let mut paths: Vec<_> = advertised(raw, api).await.iter().map(|rel| format!("{api}/{rel}")).collect();
        paths.extend(members(raw, api).await.iter().map(|(_, member)| path(href(member)).to_owned()));
        paths.extend(["/api", "/api/", "/api/realms/", "/api/realms/unknown"].map(str::to_owned));
        for path in paths {
            for headers in [&[GOOD][..], &[GOOD, JSON], &[]] {
                let (get, head) = (raw.ask("GET", &path, headers).await, raw.ask("HEAD", &path, headers).await);
                assert_eq!((head.status, head.body.as_str()), (get.status, ""), "{path}");
                for name in ["etag", "content-type", "content-length", "www-authenticate", "server"] {
                    assert_eq!(head.header(name), get.header(name), "{path} {name}");
                }
            }
        }
        world.end().await;
    }
}

/// The letters of the checklists, and how far each counts.
const CHECKLISTS: &[(char, usize)] = &[('b', 17), ('c', 6), ('m', 8), ('i', 16), ('g', 13), ('t', 44)];

/// The numbers at the beginning of a test's name.
fn numbers(name: &str) -> impl Iterator<Item = &str> {
    let is_number = |piece: &&str| {
        let (letter, digits) = piece.split_at(piece.len().min(1));
        letter.bytes().all(|byte| byte.is_ascii_lowercase())
            && digits.len() == 2
            && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    name.split('_').take_while(is_number)
}

/// The numbers of a checklist, as tests are named.
fn checklist((letter, last): (char, usize)) -> impl Iterator<Item = String> {
    (1..=last).map(move |number| format!("{letter}{number:02}"))
}

/// Nothing is excepted: each of the 104 has a test, whose name says how it was read.
#[test]
fn every_number_of_every_checklist_is_in_a_tests_name() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/wire");
    let mut tested = BTreeSet::new();
    for file in std::fs::read_dir(room).unwrap() {
        let source = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let lines: Vec<_> = source.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let name = pair[1].strip_prefix("async fn ").or(pair[1].strip_prefix("fn "));
            if let Some(name) = name.filter(|_| ["#[test]", "#[tokio::test]"].contains(&pair[0])) {
                tested.extend(numbers(name).map(str::to_owned));
            }
        }
    }
    let wanted: BTreeSet<_> = CHECKLISTS.iter().copied().flat_map(checklist).collect();
    assert_eq!(wanted.len(), 104);
    let missing: Vec<_> = wanted.difference(&tested).collect();
    let made_up: Vec<_> = tested.difference(&wanted).collect();
    assert!(missing.is_empty() && made_up.is_empty(), "without a test: {missing:?}; on no checklist: {made_up:?}");
}

#[test]
fn numbers_are_read_off_the_beginning_of_a_name() {
    let check = |name: &str, expected: &[&str]| assert_eq!(numbers(name).collect::<Vec<_>>(), expected, "{name}");
    check("b06_b07_links_have_a_rel", &["b06", "b07"]);
    check("a_b06_in_the_middle", &[]);
    check("t1_is_no_number", &[]);
    check("some_realms", &[]);
}
