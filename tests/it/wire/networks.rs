//! `/api/networks`, `/api/subnets` and `/api/network_interfaces`.

use super::{EC2, ORIGIN, reference};
use crate::support::raw::{Answer, BAD, GOOD, JSON, Node};

/// A create's answer: 200, and no `Location`.
fn made(answer: &Answer) -> Node {
    assert_eq!((answer.status, answer.header("location")), (200, None), "{answer:?}");
    assert!(answer.header("etag").is_some());
    answer.xml()
}

fn destroy_href(member: &Node) -> &str {
    let [link] = &member.child("actions").children[..] else { panic!("one action: {member:?}") };
    assert_eq!((link.attribute("rel"), link.attribute("method")), (Some("destroy"), Some("delete")));
    link.attribute("href").unwrap()
}

#[tokio::test]
async fn g06_a_network_names_its_blocks_and_subnets() {
    let world = reference().await;
    let raw = world.raw();
    let net1 = raw.get("/api/networks/net1").await.xml();
    assert_eq!(net1.child("state").text, "UP");
    let blocks: Vec<_> = net1.child("address_blocks").children.iter().map(|block| block.text.as_str()).collect();
    assert_eq!(blocks, ["192.168.0.0/16"]);
    let subnets = &net1.child("subnets").children;
    let ids: Vec<_> = subnets.iter().map(|subnet| subnet.attribute("id").unwrap()).collect();
    assert_eq!(ids, ["subnet1", "subnet2"]);
    assert_eq!(subnets[0].attribute("href"), Some(format!("{ORIGIN}/api/subnets/subnet1").as_str()));
    assert_eq!(destroy_href(&net1), format!("{ORIGIN}/api/networks/net1"));
    let json = raw.ask("GET", "/api/networks", &[GOOD, JSON]).await.json();
    let net1 = &json["networks"][0];
    assert_eq!((&net1["id"], &net1["address_blocks"][0]), (&"net1".into(), &"192.168.0.0/16".into()));
    assert_eq!(net1["subnets"][1]["id"], "subnet2");
    world.end().await;
}

#[tokio::test]
async fn g06_a_subnet_names_its_network() {
    let world = reference().await;
    let raw = world.raw();
    let subnet = raw.get("/api/subnets/subnet3").await.xml();
    assert_eq!(
        (subnet.child("state").text.as_str(), subnet.child("address_block").text.as_str()),
        ("UP", "10.1.0.0/16")
    );
    // The older gem follows the id, others read the text.
    let network = subnet.child("network");
    assert_eq!((network.text.as_str(), network.attribute("id")), ("net2", Some("net2")));
    let json = raw.ask("GET", "/api/subnets/subnet3", &[GOOD, JSON]).await.json();
    let network = serde_json::json!({"id": "net2", "href": format!("{ORIGIN}/api/networks/net2")});
    assert_eq!((&json["subnet"]["network"], &json["subnet"]["address_block"]), (&network, &"10.1.0.0/16".into()));
    world.end().await;
}

#[tokio::test]
async fn g06_an_interface_names_its_instance_and_where_it_is() {
    let world = reference().await;
    let raw = world.raw();
    let nic = raw.get("/api/network_interfaces/nic1").await.xml();
    assert_eq!(nic.child("ip_address").text, "192.168.1.2");
    let (network, instance) = (nic.child("network"), nic.child("instance"));
    let href = format!("{ORIGIN}/api/subnets/subnet1");
    assert_eq!((network.attribute("rel"), network.attribute("href")), (Some("subnet"), Some(href.as_str())));
    assert_eq!((network.attribute("id"), network.text.as_str()), (Some("subnet1"), "subnet1"));
    assert_eq!((instance.attribute("id"), instance.text.as_str()), (Some("inst1"), "inst1"));
    assert_eq!(instance.attribute("href"), Some(format!("{ORIGIN}/api/instances/inst1").as_str()));
    let json = raw.ask("GET", "/api/network_interfaces/nic1", &[GOOD, JSON]).await.json();
    let nic = &json["network_interface"];
    assert_eq!((&nic["ip_address"], &nic["instance"]["id"]), (&"192.168.1.2".into(), &"inst1".into()));
    world.end().await;
}

/// All the way up and down again, each list read before it changes.
#[tokio::test]
async fn networks_are_built_and_taken_down() {
    let world = reference().await;
    let raw = world.raw();
    let count = async |collection: &str| raw.get(&format!("/api/{collection}")).await.xml().children.len();
    let counts = async || [count("networks").await, count("subnets").await, count("network_interfaces").await];
    assert_eq!(counts().await, [2, 4, 2]);

    let network = made(&raw.ask("POST", "/api/networks?name=mine&address_block=10.9.0.0/16", &[GOOD]).await);
    assert_eq!((network.name.as_str(), network.child("name").text.as_str()), ("network", "mine"));
    let id = network.attribute("id").unwrap();
    let form = format!("network_id={id}&address_block=10.9.1.0%2F24&name=part");
    let subnet = made(&raw.send("POST", "/api/subnets", &[GOOD], &form).await);
    assert_eq!(
        (subnet.child("network").text.as_str(), subnet.child("address_block").text.as_str()),
        (id, "10.9.1.0/24")
    );
    // Where there are subnets, one of them is the `network`.
    let form = format!("instance=inst0&network={}&name=", subnet.attribute("id").unwrap());
    let nic = made(&raw.send("POST", "/api/network_interfaces", &[GOOD], &form).await);
    assert_eq!((nic.child("instance").text.as_str(), nic.child("network").text.as_str()), ("inst0", "part"));
    assert!(nic.child("ip_address").text.starts_with("10.9.1."), "{nic:?}");
    assert!(!nic.child("name").text.is_empty());
    assert_eq!(counts().await, [3, 5, 3]);
    let shown = raw.get(&format!("/api/networks/{id}")).await.xml();
    assert_eq!(shown.child("subnets").children.len(), 1);

    for used in [&network, &subnet] {
        let path = destroy_href(used).strip_prefix(ORIGIN).unwrap();
        raw.ask("DELETE", path, &[GOOD]).await.is_error(405);
    }
    for unused in [&nic, &subnet, &network] {
        let path = destroy_href(unused).strip_prefix(ORIGIN).unwrap();
        let gone = raw.ask("DELETE", path, &[GOOD]).await;
        assert_eq!((gone.status, gone.body.as_str(), gone.header("content-type")), (204, "", None));
        raw.get(path).await.is_error(404);
        raw.ask("DELETE", path, &[GOOD]).await.is_error(404);
    }
    assert_eq!(counts().await, [2, 4, 2]);

    let json = raw.ask("POST", "/api/networks?name=other", &[GOOD, JSON]).await.json();
    assert_eq!(
        (&json["network"]["name"], &json["network"]["address_blocks"]),
        (&"other".into(), &serde_json::json!([]))
    );
    world.end().await;
}

#[tokio::test]
async fn what_is_missing_or_nonsense_is_asked_for_again() {
    let world = reference().await;
    let raw = world.raw();
    let check = async |path: &str, status: u16, said: &str| {
        let answer = raw.ask("POST", path, &[GOOD]).await;
        let text = answer.is_error(status).xml().child("message").text.clone();
        assert!(text.contains(said), "{path}: {text}");
    };
    let subnets = "/api/subnets?name=x";
    check(subnets, 400, "Required parameter 'network_id' not found in [name]").await;
    check(&format!("{subnets}&network_id=net1"), 400, "Required parameter 'address_block'").await;
    check(&format!("{subnets}&network_id=net9&address_block=10.0.0.0/8"), 404, "net9").await;
    check(&format!("{subnets}&network_id=net1&address_block=hm"), 400, "hm").await;
    check("/api/network_interfaces?network=net1", 400, "Required parameter 'instance'").await;
    check("/api/network_interfaces?instance=inst0", 400, "Required parameter 'network'").await;
    check("/api/network_interfaces?instance=inst9&network=net1", 404, "inst9").await;
    for collection in ["networks", "subnets", "network_interfaces"] {
        let path = format!("/api/{collection}");
        for headers in [&[][..], &[BAD]] {
            raw.ask("GET", &path, headers).await.is_error(401);
        }
        raw.ask("POST", &path, &[]).await.is_error(401);
        raw.ask("GET", &path, &[GOOD, EC2]).await.is_error(501);
        let options = raw.ask("OPTIONS", &path, &[]).await;
        assert_eq!((options.status, options.header("allow")), (200, Some("OPTIONS,GET,HEAD,POST,DELETE")));
    }
    world.end().await;
}
