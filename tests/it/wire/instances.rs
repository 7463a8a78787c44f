//! What an instance looks like.

use super::{ORIGIN, reference};
use crate::support::raw::{GOOD, JSON, Node};
use crate::support::world::World;

/// The list, and each member's own document beside it.
async fn instances(world: &World) -> Vec<(Node, Node)> {
    let mut both = Vec::new();
    for listed in world.raw().get("/api/instances").await.xml().children {
        let path = listed.attribute("href").unwrap().strip_prefix(ORIGIN).unwrap().to_owned();
        both.push((listed, world.raw().get(&path).await.xml()));
    }
    assert_eq!(both.len(), 4);
    both
}

#[tokio::test]
async fn i01_t40_states_in_the_list_are_those_the_suite_waits_for() {
    let world = reference().await;
    world.raw().ask("POST", "/api/instances/inst2/stop", &[GOOD]).await;
    for (listed, _) in instances(&world).await {
        let state = &listed.child("state").text;
        assert!(["RUNNING", "STOPPED", "PENDING"].contains(&state.as_str()), "{state}");
    }
    world.end().await;
}

#[tokio::test]
async fn i02_the_owner_is_the_same_in_list_and_member() {
    let world = reference().await;
    for (listed, member) in instances(&world).await {
        assert_eq!(listed.only("owner_id").text, "mockuser");
        assert_eq!(member.only("owner_id").text, "mockuser");
    }
    world.end().await;
}

#[tokio::test]
async fn i03_i04_i05_exactly_one_realm_image_and_profile_anywhere_each_with_id_and_href() {
    let world = reference().await;
    // A hook adds an element, and must not add one of these.
    world.raw().ask("PUT", "/api/instances?track_hook=feed", &[GOOD]).await;
    for (_, member) in instances(&world).await {
        for (one, collection) in [("realm", "realms"), ("image", "images"), ("hardware_profile", "hardware_profiles")] {
            let found = member.only(one);
            let (id, href) = (found.attribute("id").unwrap(), found.attribute("href").unwrap());
            assert_eq!(href, format!("{ORIGIN}/api/{collection}/{id}"));
        }
    }
    world.end().await;
}

#[tokio::test]
async fn i06_t13_one_list_of_public_and_one_of_private_addresses_each_with_type_and_text() {
    let world = reference().await;
    for (_, member) in instances(&world).await {
        for list in ["public_addresses", "private_addresses"] {
            for address in &member.only(list).children {
                assert_eq!(address.name, "address");
                assert_eq!(address.attribute("type"), Some("hostname"));
                assert!(!address.text.trim().is_empty(), "{member:?}");
            }
            assert_eq!(member.only(list).children.len(), 1);
        }
    }
    world.end().await;
}

#[tokio::test]
async fn i07_t11_lists_and_state_are_there_when_there_is_nothing_in_them() {
    let world = reference().await;
    // Of this one no image can be made, whatever its state.
    world.provider.set_addresses("inst3", &[]);
    world.provider.set_state("inst3", "PENDING");
    let bare = world.raw().get("/api/instances/inst3").await.xml();
    for element in ["public_addresses", "actions", "storage_volumes"] {
        assert!(bare.only(element).children.is_empty(), "{element} of {bare:?}");
    }
    assert_eq!(bare.only("private_addresses").children.len(), 0);
    assert_eq!(bare.only("state").text, "PENDING");
    let json = world.raw().ask("GET", "/api/instances/inst3", &[GOOD, JSON]).await.json();
    for list in ["public_addresses", "private_addresses", "actions", "storage_volumes"] {
        assert_eq!(json["instance"][list], serde_json::json!([]), "{list}");
    }
    for (_, member) in instances(&world).await {
        assert_eq!(member.all("storage_volumes").len(), 1);
    }
    world.end().await;
}

#[tokio::test]
async fn i08_every_action_has_an_absolute_href_a_method_and_a_rel() {
    let world = reference().await;
    world.raw().ask("POST", "/api/instances/inst2/stop", &[GOOD]).await;
    let mut shown = Vec::new();
    for (_, member) in instances(&world).await {
        for link in &member.child("actions").children {
            let [href, method, rel] = ["href", "method", "rel"].map(|key| link.attribute(key).unwrap());
            let own = member.attribute("href").unwrap();
            let expected = match rel {
                "create_image" => format!("{ORIGIN}/api/images;instance_id={}", member.attribute("id").unwrap()),
                "destroy" => own.to_owned(),
                rel => format!("{own}/{rel}"),
            };
            assert_eq!((link.name.as_str(), href), ("link", expected.as_str()));
            shown.push(format!("{method} {rel}"));
        }
    }
    let running = ["post reboot", "post stop", "post create_image"];
    let stopped = ["post start", "delete destroy", "post create_image"];
    // Of the last no image can be made.
    assert_eq!(shown, [&running[..], &running, &stopped, &running[..2]].concat());
    world.end().await;
}

#[tokio::test]
async fn i12_an_image_is_made_of_an_instance_that_says_it_can_be() {
    let world = reference().await;
    let raw = world.raw();
    let mut offered = Vec::new();
    for (listed, member) in instances(&world).await {
        let offer = |node: &Node| {
            let link = node.child("actions").children.iter().find(|link| link.attribute("rel") == Some("create_image"));
            link.map(|link| ["method", "href"].map(|key| link.attribute(key).unwrap().to_owned()))
        };
        assert_eq!(offer(&listed), offer(&member));
        offered.extend(offer(&member));
    }
    let href = |id| ["post".to_owned(), format!("{ORIGIN}/api/images;instance_id={id}")];
    assert_eq!(offered, ["inst0", "inst1", "inst2"].map(href));
    let said = async |id: &str| {
        let json = raw.ask("GET", &format!("/api/instances/{id}"), &[GOOD, JSON]).await.json();
        json["instance"].get("create_image").cloned()
    };
    assert_eq!((said("inst0").await, said("inst3").await), (Some(true.into()), None), "said only when true");

    // As the suite asks, with the parameter and not the link.
    let made = raw.send("POST", "/api/images", &[GOOD], "instance_id=inst0&name=copy&description=of+it").await;
    assert_eq!((made.status, made.xml().name.as_str()), (201, "image"), "{made:?}");
    assert_eq!(made.header("location"), made.xml().attribute("href"));
    assert_eq!(made.xml().child("description").text, "of it");
    assert_eq!(raw.get("/api/images").await.xml().children.len(), 4);
    // Whoever follows the link has said it.
    let followed = raw.ask("POST", "/api/images;instance_id=inst1", &[GOOD]).await;
    assert_eq!(followed.status, 201, "{followed:?}");
    // What is said twice counts as it was sent, not as it was linked.
    let sent = raw.ask("POST", "/api/images;instance_id=inst0?instance_id=inst9", &[GOOD]).await;
    sent.is_error(404);
    raw.send("POST", "/api/images", &[GOOD], "name=copy").await.is_error(400);
    raw.send("POST", "/api/images", &[GOOD], "instance_id=inst3").await.is_error(500);
    raw.send("POST", "/api/images", &[], "instance_id=inst0").await.is_error(401);
    world.end().await;
}

#[tokio::test]
async fn g09_an_image_is_destroyed() {
    let world = reference().await;
    let raw = world.raw();
    let made = raw.ask("POST", "/api/images?instance_id=inst1&name=copy", &[GOOD]).await.xml();
    let path = made.attribute("href").unwrap().strip_prefix(ORIGIN).unwrap();
    let destroy = made.all("link").into_iter().find(|link| link.attribute("rel") == Some("destroy_image")).unwrap();
    assert_eq!((destroy.attribute("method"), destroy.attribute("href")), (Some("delete"), made.attribute("href")));
    assert_eq!(raw.get(path).await.status, 200);
    assert_eq!(raw.ask("DELETE", path, &[GOOD]).await.status, 204);
    raw.get(path).await.is_error(404);
    raw.ask("DELETE", path, &[GOOD]).await.is_error(404);
    world.end().await;
}

#[tokio::test]
async fn g07_an_address_is_a_host_name() {
    let world = reference().await;
    let instance = world.raw().get("/api/instances/inst1").await.xml();
    let address = instance.child("public_addresses").child("address");
    assert_eq!((address.attribute("type"), address.text.as_str()), (Some("hostname"), "img1.inst1.public.com"));
    world.end().await;
}

#[tokio::test]
async fn t12_no_white_space_surrounds_states_and_addresses() {
    let world = reference().await;
    world.provider.set_addresses("inst0", &[" padded.example\n"]);
    for path in ["/api/instances", "/api/instances/inst0", "/api/realms", "/api/images"] {
        let root = world.raw().get(path).await.xml();
        for element in root.all("address").into_iter().chain(root.all("state")) {
            assert_eq!(element.text, element.text.trim(), "{path}");
            assert!(!element.text.is_empty() && element.children.is_empty(), "{path}");
        }
    }
    let body = world.raw().get("/api/instances/inst0").await.body;
    assert!(body.contains("<address type='hostname'>padded.example</address>"), "{body}");
    assert!(body.contains("<state>RUNNING</state>"), "{body}");
    world.end().await;
}

/// Older clients glue all descendants of these names together, or take the first.
#[tokio::test]
async fn t14_a_hook_adds_no_second_state_or_name() {
    let world = reference().await;
    let path = "/api/instances/inst1?track_hook=http://h/cb&track_token=hush";
    let member = world.raw().ask("PUT", path, &[GOOD]).await.xml();
    for (name, text) in [("state", "RUNNING"), ("name", "MockUserInstance"), ("owner_id", "mockuser")] {
        assert_eq!(member.only(name).text, text);
    }
    let tracking = member.only("tracking");
    assert!(tracking.children.is_empty() && tracking.text.is_empty(), "{tracking:?}");
    let realm = world.raw().ask("PUT", "/api/realms/eu?track_hook=feed", &[GOOD]).await.xml();
    assert_eq!((realm.only("state").text.as_str(), realm.only("name").text.as_str()), ("AVAILABLE", "Europe"));
    assert!(realm.all("actions").is_empty(), "with actions a realm would be of another class");
    world.end().await;
}

#[tokio::test]
async fn t38_json_follows_version_1_1_of_the_api() {
    let world = reference().await;
    let json = world.raw().ask("GET", "/api/instances/inst0", &[GOOD, JSON]).await.json();
    let instance = &json["instance"];
    assert_eq!(instance["owner"], "mockuser");
    assert_eq!(
        instance["image"],
        serde_json::json!({
            "href": format!("{ORIGIN}/api/images/img1"), "id": "img1", "rel": "image"
        })
    );
    assert_eq!(instance["hardware_profile"]["properties"]["memory"], "12288");
    assert!(instance.as_object().unwrap().contains_key("create_time"));
    assert!(instance["authentication"].is_object(), "a client fails without it");
    for old in ["owner_id", "launch_time", "network_interfaces"] {
        assert_eq!(instance.get(old), None, "{old}");
    }
    world.end().await;
}
