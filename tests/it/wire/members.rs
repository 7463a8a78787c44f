//! Members are where their lists say, and say the same there.

use super::{ORIGIN, reference};
use crate::support::raw::{Node, Raw};

/// Collections with the names of their members and how many there are.
const WITH_MEMBERS: &[(&str, &str, usize)] = &[
    ("addresses", "address", 4),
    ("buckets", "bucket", 2),
    ("drivers", "driver", 2),
    ("hardware_profiles", "hardware_profile", 4),
    ("images", "image", 3),
    ("instances", "instance", 4),
    ("keys", "key", 1),
    ("metrics", "metric", 4),
    ("network_interfaces", "network_interface", 2),
    ("networks", "network", 2),
    ("realms", "realm", 2),
    ("storage_snapshots", "storage_snapshot", 3),
    ("storage_volumes", "storage_volume", 3),
    ("subnets", "subnet", 4),
];

/// Of these the suite asks no name.
const NAMELESS: &[&str] = &["addresses", "metrics"];

/// The members of every list, each with its collection.
async fn all_members(raw: Raw) -> Vec<(&'static str, Node)> {
    let mut members = Vec::new();
    for &(collection, ..) in WITH_MEMBERS {
        let list = raw.get(&format!("/api/{collection}")).await.xml();
        members.extend(list.children.into_iter().map(|member| (collection, member)));
    }
    members
}

fn id(member: &Node) -> &str {
    member.attribute("id").expect("an id")
}

fn href(member: &Node) -> &str {
    member.attribute("href").expect("an href")
}

/// The member's own document.
async fn follow(raw: Raw, member: &Node) -> Node {
    let path = href(member).strip_prefix(ORIGIN).expect("hrefs begin where the client asked");
    let answer = raw.get(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.xml()
}

#[tokio::test]
async fn m01_t33_a_collection_that_is_advertised_is_not_empty() {
    let world = reference().await;
    let members = all_members(world.raw()).await;
    for &(collection, _, count) in WITH_MEMBERS {
        assert_eq!(members.iter().filter(|(of, _)| *of == collection).count(), count, "{collection}");
    }
    world.end().await;
}

#[tokio::test]
async fn m02_m03_t16_every_child_of_a_list_is_a_member_with_id_and_href() {
    let world = reference().await;
    for (collection, member) in all_members(world.raw()).await {
        let (_, singular, _) = WITH_MEMBERS.iter().find(|(of, ..)| *of == collection).unwrap();
        assert_eq!(member.name, *singular);
        assert!(!id(&member).is_empty() && !href(&member).is_empty(), "{member:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn m04_m05_t34_an_href_is_absolute_and_ends_in_the_id_taken_as_a_regular_expression() {
    let world = reference().await;
    for (collection, member) in all_members(world.raw()).await {
        assert_eq!(href(&member), format!("{ORIGIN}/api/{collection}/{}", id(&member)));
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:-".contains(&byte);
        assert!(id(&member).bytes().all(harmless), "{member:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn m06_every_member_has_a_name_be_it_empty() {
    let world = reference().await;
    for (collection, member) in all_members(world.raw()).await {
        assert_eq!(member.all("name").len(), usize::from(!NAMELESS.contains(&collection)), "{member:?}");
    }
    world.end().await;
}

#[tokio::test]
async fn m07_an_href_leads_to_the_member() {
    let world = reference().await;
    for (_, member) in all_members(world.raw()).await {
        let followed = follow(world.raw(), &member).await;
        assert_eq!((&followed.name, id(&followed), href(&followed)), (&member.name, id(&member), href(&member)));
    }
    world.end().await;
}

#[tokio::test]
async fn m08_the_first_name_in_a_member_is_the_one_in_the_list() {
    let world = reference().await;
    for (_, member) in all_members(world.raw()).await {
        let followed = follow(world.raw(), &member).await;
        let name = |node: &Node| node.all("name").first().map(|name| name.text.clone());
        assert_eq!(name(&followed), name(&member));
    }
    world.end().await;
}

#[tokio::test]
async fn g06_an_unknown_member_is_not_found() {
    let world = reference().await;
    for (collection, ..) in WITH_MEMBERS {
        let error = world.raw().get(&format!("/api/{collection}/unknown")).await;
        assert!(error.is_error(404).xml().child("message").text.contains("unknown"));
    }
    world.end().await;
}

#[tokio::test]
async fn t44_an_instance_of_somebody_else_is_not_found_rather_than_forbidden() {
    let world = reference().await;
    world.provider.add_user("alice", "wonder");
    // alice:wonder
    let alice = ("Authorization", "Basic YWxpY2U6d29uZGVy");
    assert_eq!(world.raw().ask("GET", "/api/instances", &[alice]).await.xml().children.len(), 0);
    world.raw().ask("GET", "/api/instances/inst0", &[alice]).await.is_error(404);
    world.raw().ask("POST", "/api/instances/inst0/stop", &[alice]).await.is_error(404);
    world.raw().ask("PUT", "/api/instances/inst0?track_hook=feed", &[alice]).await.is_error(404);
    assert_eq!(world.raw().get("/api/instances/inst0").await.xml().child("state").text, "RUNNING");
    world.end().await;
}
