//! `/api/storage_volumes` and `/api/storage_snapshots`.

use super::{ORIGIN, reference};
use crate::support::raw::{BAD, GOOD, JSON, Node, Raw};
use crate::support::world::minutes;

/// The path behind a volume's link; all take a POST.
fn link(volume: &Node, rel: &str) -> String {
    let link = volume.child("actions").children.iter().find(|link| link.attribute("rel") == Some(rel));
    let link = link.unwrap_or_else(|| panic!("no {rel} in {volume:?}"));
    assert_eq!(link.attribute("method"), Some("post"));
    link.attribute("href").unwrap().strip_prefix(ORIGIN).unwrap().to_owned()
}

async fn volume(raw: Raw, id: &str) -> Node {
    raw.get(&format!("/api/storage_volumes/{id}")).await.xml()
}

#[tokio::test]
async fn a_free_volume_and_one_in_use_look_like_this() {
    let world = reference().await;
    let raw = world.raw();
    let free = volume(raw, "vol1").await;
    assert_eq!((free.child("name").text.as_str(), free.child("state").text.as_str()), ("vol1", "AVAILABLE"));
    let capacity = free.child("capacity");
    assert_eq!((capacity.text.as_str(), capacity.attribute("unit")), ("1", Some("GB")));
    assert_eq!((free.child("realm").attribute("id"), free.child("realm_id").text.as_str()), (Some("us"), "us"));
    assert!(free.all("device").is_empty() && free.all("mount").is_empty(), "{free:?}");

    let used = volume(raw, "vol3").await;
    assert_eq!((used.child("state").text.as_str(), used.child("device").text.as_str()), ("IN-USE", "/dev/sda1"));
    let mount = used.child("mount");
    assert_eq!(mount.child("instance").attribute("id"), Some("inst1"));
    assert_eq!(mount.child("instance").attribute("href"), Some(format!("{ORIGIN}/api/instances/inst1").as_str()));
    assert_eq!(mount.child("device").attribute("name"), Some("/dev/sda1"));

    let json = raw.ask("GET", "/api/storage_volumes", &[GOOD, JSON]).await.json();
    let [free, _, used] = &json["storage_volumes"].as_array().unwrap()[..] else { panic!("three: {json}") };
    assert_eq!((&free["instance"], &free["device"]), (&serde_json::json!({}), &serde_json::Value::Null));
    assert_eq!((&used["instance"]["id"], &used["device"]), (&"inst1".into(), &"/dev/sda1".into()));
    assert_eq!((&free["realm"]["id"], &free["capacity"]), (&"us".into(), &"1".into()));
    assert_eq!(used["actions"].as_array().unwrap().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn every_link_of_a_volume_takes_the_post_that_it_names() {
    let world = reference().await;
    let raw = world.raw();
    let follow = async |path: String| raw.ask("POST", &path, &[GOOD]).await.status;
    let free = volume(raw, "vol1").await;
    assert_eq!(free.child("actions").children.len(), 2);
    assert_eq!(follow(link(&free, "attach") + "?instance_id=inst0&device=/dev/sdb").await, 202);
    let used = volume(raw, "vol1").await;
    assert_eq!(used.child("actions").children.len(), 1);
    assert_eq!(follow(link(&used, "detach")).await, 202);
    // The older gem posts to whatever `destroy` says. A POST to the volume itself (a hook whose `_method` was forgotten)
    // destroys nothing.
    raw.send("POST", "/api/storage_volumes/vol1", &[GOOD], "track_hook=feed").await.is_error(405);
    assert_eq!(follow(link(&free, "destroy")).await, 204);
    raw.get("/api/storage_volumes/vol1").await.is_error(404);
    world.end().await;
}

#[tokio::test]
async fn g09_a_volume_is_made_and_destroyed() {
    let world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.get("/api/storage_volumes").await.xml().children.len(), 3);
    let path = "/api/storage_volumes?snapshot_id=snap1&name=foo123&capacity=10&realm_id=&description=x";
    let made = raw.ask("POST", path, &[GOOD]).await;
    assert_eq!(made.status, 201, "{made:?}");
    let new = made.xml();
    assert_eq!((new.name.as_str(), new.child("name").text.as_str()), ("storage_volume", "foo123"));
    assert_eq!((new.child("capacity").text.as_str(), new.child("realm_id").text.as_str()), ("10", "us"));
    assert_eq!(made.header("location"), new.attribute("href"));
    let path = new.attribute("href").unwrap().strip_prefix(ORIGIN).unwrap();
    assert_eq!(raw.get(path).await.xml().child("name").text, "foo123");
    assert_eq!(raw.get("/api/storage_volumes").await.xml().children.len(), 4);
    let gone = raw.ask("DELETE", path, &[GOOD]).await;
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    raw.get(path).await.is_error(404);
    raw.ask("DELETE", path, &[GOOD]).await.is_error(404);
    // Nothing has to be said.
    assert_eq!(raw.ask("POST", "/api/storage_volumes", &[GOOD]).await.status, 201);
    world.end().await;
}

#[tokio::test]
async fn g09_a_volume_is_attached_and_detached_and_the_answers_say_so() {
    let world = reference().await;
    let raw = world.raw();
    let path = "/api/storage_volumes/vol1/attach?instance_id=inst1&device=/dev/sdc";
    let attached = raw.ask("POST", path, &[GOOD]).await;
    assert_eq!(attached.status, 202, "{attached:?}");
    for shown in [attached.xml(), volume(raw, "vol1").await] {
        let texts = ["name", "state", "device"].map(|name| shown.child(name).text.as_str());
        assert_eq!(texts, ["vol1", "IN-USE", "/dev/sdc"]);
        assert_eq!(shown.child("mount").child("instance").attribute("id"), Some("inst1"));
    }
    let instance = raw.get("/api/instances/inst1").await.xml();
    let volumes: Vec<_> = instance.child("storage_volumes").children.iter().map(|one| one.attribute("id")).collect();
    assert_eq!(volumes, [Some("vol1"), Some("vol3")]);
    raw.ask("POST", path, &[GOOD]).await.is_error(405);
    raw.ask("DELETE", "/api/storage_volumes/vol1", &[GOOD]).await.is_error(405);

    let detached = raw.ask("POST", "/api/storage_volumes/vol1/detach", &[GOOD]).await;
    assert_eq!(detached.status, 202, "{detached:?}");
    for shown in [detached.xml(), volume(raw, "vol1").await] {
        assert_eq!(shown.child("state").text, "AVAILABLE");
        assert!(shown.all("device").is_empty() && shown.all("mount").is_empty(), "{shown:?}");
    }
    assert_eq!(raw.get("/api/instances/inst1").await.xml().child("storage_volumes").children.len(), 1);
    raw.ask("POST", "/api/storage_volumes/vol1/detach", &[GOOD]).await.is_error(405);
    // In JSON under its name, other than an instance after an action.
    let json = raw.ask("POST", path, &[GOOD, JSON]).await.json();
    assert_eq!(json["storage_volume"]["state"], "IN-USE");
    world.end().await;
}

#[tokio::test]
async fn g09_t27_a_device_may_be_empty_but_must_be_there() {
    let world = reference().await;
    let raw = world.raw();
    let attach =
        async |query: &str| raw.ask("POST", &format!("/api/storage_volumes/vol1/attach{query}"), &[GOOD]).await;
    let missing = attach("?instance_id=inst1").await;
    assert_eq!(
        missing.is_error(400).xml().child("message").text,
        "Required parameter 'device' not found in [instance_id]"
    );
    attach("?device=/dev/sdc").await.is_error(400);
    attach("?instance_id=inst9&device").await.is_error(404);
    raw.ask("POST", "/api/storage_volumes/vol9/attach?instance_id=inst1&device", &[GOOD]).await.is_error(404);
    raw.ask("POST", "/api/storage_volumes/vol9/detach", &[GOOD]).await.is_error(404);
    assert_eq!(volume(raw, "vol1").await.child("state").text, "AVAILABLE");

    let attached = attach("?instance_id=inst1&device").await;
    assert_eq!(attached.status, 202, "{attached:?}");
    let shown = attached.xml();
    let device = &shown.child("device").text;
    assert_eq!(shown.child("mount").child("device").attribute("name"), Some(device.as_str()));
    assert_eq!(shown.child("state").text, "IN-USE");
    world.end().await;
}

#[tokio::test]
async fn nobody_moves_a_volume_without_the_right_password() {
    let world = reference().await;
    let raw = world.raw();
    for headers in [&[][..], &[BAD]] {
        for (method, path) in [
            ("POST", "/api/storage_volumes"),
            ("POST", "/api/storage_volumes/vol1/attach?instance_id=inst1&device=x"),
            ("POST", "/api/storage_volumes/vol3/detach"),
            ("POST", "/api/storage_volumes/vol1/destroy"),
            ("DELETE", "/api/storage_volumes/vol1"),
            ("POST", "/api/storage_snapshots?volume_id=vol1"),
            ("DELETE", "/api/storage_snapshots/snap1"),
        ] {
            raw.ask(method, path, headers).await.is_error(401);
        }
    }
    assert_eq!(raw.get("/api/storage_volumes?state=available").await.xml().children.len(), 2);
    assert_eq!(raw.get("/api/storage_snapshots?state=COMPLETED").await.xml().children.len(), 3);
    world.end().await;
}

#[tokio::test]
async fn a_snapshot_says_its_state_in_xml_too_and_is_named_as_its_id() {
    let world = reference().await;
    let raw = world.raw();
    let snapshot = raw.get("/api/storage_snapshots/snap1").await.xml();
    let texts = ["name", "state"].map(|name| snapshot.only(name).text.as_str());
    assert_eq!(texts, ["snap1", "COMPLETED"]);
    assert_eq!(snapshot.child("storage_volume").attribute("id"), Some("vol1"));
    let json = raw.ask("GET", "/api/storage_snapshots/snap1", &[GOOD, JSON]).await.json();
    assert_eq!(json["storage_snapshot"]["storage_volume"]["id"], "vol1");
    assert_eq!(json["storage_snapshot"]["state"], "COMPLETED");
    world.end().await;
}

#[tokio::test]
async fn a_snapshot_is_made_of_a_volume_and_destroyed() {
    let world = reference().await;
    let raw = world.raw();
    assert_eq!(raw.get("/api/storage_snapshots").await.xml().children.len(), 3);
    let made = raw.ask("POST", "/api/storage_snapshots?volume_id=vol1", &[GOOD]).await;
    assert_eq!(made.status, 201, "{made:?}");
    let new = made.xml();
    assert_eq!(made.header("location"), new.attribute("href"));
    assert_eq!(new.child("storage_volume").attribute("id"), Some("vol1"));
    let path = new.attribute("href").unwrap().strip_prefix(ORIGIN).unwrap();
    assert_eq!(raw.get("/api/storage_snapshots").await.xml().children.len(), 4);
    assert_eq!(raw.ask("DELETE", path, &[GOOD]).await.status, 204);
    raw.get(path).await.is_error(404);
    raw.ask("DELETE", path, &[GOOD]).await.is_error(404);
    raw.ask("POST", "/api/storage_snapshots", &[GOOD]).await.is_error(400);
    raw.ask("POST", "/api/storage_snapshots?volume_id=vol9", &[GOOD]).await.is_error(404);
    world.end().await;
}

#[tokio::test]
async fn volumes_and_snapshots_are_tracked_and_what_an_action_does_is_told_at_once() {
    let mut world = reference().await;
    let raw = world.raw();
    let put = async |path: &str| raw.ask("PUT", &format!("/api/{path}?track_hook=feed"), &[GOOD]).await;
    let tracked = put("storage_volumes/vol1").await;
    assert_eq!(tracked.xml().only("tracking").attribute("hook"), Some("feed"), "{tracked:?}");
    assert_eq!(tracked.xml().only("state").text, "AVAILABLE", "no second one (T14)");
    let all = put("storage_snapshots").await;
    assert_eq!(all.xml().all("tracking").len(), 3, "{all:?}");
    put("storage_volumes/vol9").await.is_error(404);
    let shown = volume(raw, "vol1").await;
    assert_eq!(shown.only("tracking").attribute("hook"), Some("feed"));

    // The baselines; then nothing is due for a while, but what an action touches.
    world.poll().await;
    assert_eq!(world.feed("").await, []);
    raw.ask("POST", "/api/storage_volumes/vol1/attach?instance_id=inst1&device=/dev/sdc", &[GOOD]).await;
    raw.ask("POST", "/api/storage_snapshots?volume_id=vol2", &[GOOD]).await;
    world.poll().await;
    let mut told: Vec<_> = world.feed_of_the_store().await;
    told.sort();
    assert_eq!(told, ["snap4 appeared, COMPLETED", "vol1 AVAILABLE -> IN-USE"]);

    raw.ask("POST", "/api/storage_volumes/vol1/detach", &[GOOD]).await;
    raw.ask("DELETE", "/api/storage_snapshots/snap1", &[GOOD]).await;
    // That it is gone takes a second look.
    world.live(minutes(2)).await;
    let told = world.feed_of_the_store().await;
    assert!(told.contains(&"vol1 IN-USE -> AVAILABLE".to_owned()), "{told:?}");
    assert!(told.contains(&"snap1 COMPLETED -> gone".to_owned()), "{told:?}");
    // And nobody is told of the rest.
    assert_eq!(told.len(), 4, "{told:?}");
    world.end().await;
}
