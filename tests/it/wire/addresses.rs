//! `/api/addresses`.

use super::{ORIGIN, reference};
use crate::support::raw::{BAD, GOOD, JSON, Node};

fn links(address: &Node) -> Vec<String> {
    let link = |link: &Node| ["rel", "method", "href"].map(|key| link.attribute(key).unwrap().to_owned()).join(" ");
    address.child("actions").children.iter().map(link).collect()
}

#[tokio::test]
async fn an_address_is_its_own_id() {
    let world = reference().await;
    let raw = world.raw();
    let list = raw.get("/api/addresses").await.xml();
    let ips: Vec<_> = list.children.iter().map(|one| one.child("ip").text.as_str()).collect();
    assert_eq!(ips, ["192.168.0.1", "192.168.0.2", "192.168.0.3", "192.168.0.4"]);
    let one = raw.get("/api/addresses/192.168.0.1").await.xml();
    assert_eq!((one.name.as_str(), one.attribute("id")), ("address", Some("192.168.0.1")));
    let href = format!("{ORIGIN}/api/addresses/192.168.0.1");
    assert_eq!(links(&one), [format!("destroy delete {href}"), format!("associate post {href}/associate")]);
    let json = raw.ask("GET", "/api/addresses/192.168.0.1", &[GOOD, JSON]).await.json();
    let expected = serde_json::json!({ "id": "192.168.0.1", "href": href, "associated": false });
    assert_eq!(json["address"], expected);
    world.end().await;
}

#[tokio::test]
async fn g09_an_address_is_made_and_destroyed() {
    let world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.get("/api/addresses").await.xml().children.len(), 4);
    let made = raw.ask("POST", "/api/addresses", &[GOOD]).await;
    assert_eq!((made.status, made.header("location")), (201, Some("http://localhost:3001/api/addresses/192.168.0.5")));
    assert_eq!(made.xml().child("ip").text, "192.168.0.5");
    assert_eq!(raw.get("/api/addresses").await.xml().children.len(), 5);
    assert_eq!(raw.ask("DELETE", "/api/addresses/192.168.0.5", &[GOOD]).await.status, 204);
    raw.get("/api/addresses/192.168.0.5").await.is_error(404);
    raw.ask("DELETE", "/api/addresses/192.168.0.5", &[GOOD]).await.is_error(404);
    assert_eq!(raw.get("/api/addresses").await.xml().children.len(), 4);
    world.end().await;
}

#[tokio::test]
async fn an_address_is_moved_with_202_and_no_body_and_its_instance_is_news() {
    let mut world = reference().await;
    let raw = world.raw();
    world.track("inst2").await;
    world.poll().await;
    let path = "/api/addresses/192.168.0.1";
    let check_moved = async |answer: crate::support::raw::Answer| {
        assert_eq!((answer.status, answer.body.as_str()), (202, ""), "{answer:?}");
        assert_eq!(answer.header("content-type"), None);
    };
    check_moved(raw.ask("POST", &format!("{path}/associate?instance_id=inst2"), &[GOOD]).await).await;
    let used = raw.get(path).await.xml();
    assert_eq!(used.child("instance").attribute("id"), Some("inst2"));
    assert_eq!(links(&used)[1], format!("disassociate post {ORIGIN}{path}/disassociate"));
    let json = raw.ask("GET", path, &[GOOD, JSON]).await.json();
    assert_eq!((&json["address"]["associated"], &json["address"]["instance_id"]), (&true.into(), &"inst2".into()));
    raw.ask("POST", &format!("{path}/associate?instance_id=inst0"), &[GOOD]).await.is_error(405);
    raw.ask("DELETE", path, &[GOOD]).await.is_error(405);
    let instance = raw.get("/api/instances/inst2").await.xml();
    let public: Vec<_> = instance.child("public_addresses").children.iter().map(|one| one.text.as_str()).collect();
    assert!(public.contains(&"192.168.0.1"), "{public:?}");
    world.poll().await;
    assert_eq!(world.feed_of_the_store().await, ["inst2 has other addresses"]);

    check_moved(raw.ask("POST", &format!("{path}/disassociate"), &[GOOD]).await).await;
    assert!(raw.get(path).await.xml().all("instance").is_empty());
    raw.ask("POST", &format!("{path}/disassociate"), &[GOOD]).await.is_error(405);
    world.poll().await;
    assert_eq!(world.feed_of_the_store().await.len(), 2);
    world.end().await;
}

#[tokio::test]
async fn what_makes_no_sense_moves_nothing() {
    let world = reference().await;
    let raw = world.raw();
    let missing = raw.ask("POST", "/api/addresses/192.168.0.1/associate", &[GOOD]).await;
    assert_eq!(missing.is_error(400).xml().child("message").text, "Required parameter 'instance_id' not found in []");
    raw.ask("POST", "/api/addresses/192.168.0.1/associate?instance_id=inst9", &[GOOD]).await.is_error(404);
    raw.ask("POST", "/api/addresses/10.0.0.1/associate?instance_id=inst0", &[GOOD]).await.is_error(404);
    raw.ask("POST", "/api/addresses/10.0.0.1/disassociate", &[GOOD]).await.is_error(404);
    raw.ask("POST", "/api/addresses/192.168.0.1/explode", &[GOOD]).await.is_error(404);
    for headers in [&[][..], &[BAD]] {
        raw.ask("POST", "/api/addresses", headers).await.is_error(401);
        raw.ask("POST", "/api/addresses/192.168.0.1/associate?instance_id=inst0", headers).await.is_error(401);
        raw.ask("POST", "/api/addresses/192.168.0.1/disassociate", headers).await.is_error(401);
        raw.ask("DELETE", "/api/addresses/192.168.0.1", headers).await.is_error(401);
    }
    let list = raw.get("/api/addresses").await.xml();
    assert!(list.children.len() == 4 && list.all("instance").is_empty(), "{list:?}");
    world.end().await;
}
