//! What a provider says that it will do to a machine.

use std::sync::Arc;

use serde_json::{Value, json};
use tracker::drivers::Driver;

use crate::support::world::{World, minutes};

/// The change of the kind, newest last.
async fn told(world: &World) -> Vec<Value> {
    let log = world.get("/changes?after=0&limit=1000&subscriber=nobody").await.json();
    let all = log.as_array().unwrap().iter();
    all.filter(|change| change["resource"]["collection"] == "instances").cloned().collect()
}

#[tokio::test]
async fn what_is_announced_is_told_shown_and_called_off() {
    let mut world = World::around(|mock: Arc<dyn Driver>| mock, |_| {}).await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.live(minutes(1)).await;
    world.provider.announces("inst0", Some(("instance-retirement", "2026-12-01T00:00:00Z")));
    world.live(minutes(1)).await;
    let retirement = json!([{
        "what": "instance-retirement",
        "text": "The instance is running on degraded hardware",
        "not_before": "2026-12-01T00:00:00Z",
    }]);
    let log = told(&world).await;
    assert_eq!(log.len(), 1, "{log:?}");
    assert_eq!(log[0]["type"], "instance.announced");
    assert_eq!((&log[0]["from"]["announced"], &log[0]["to"]["announced"]), (&json!([]), &retirement));
    assert_eq!(log[0]["to"]["state"], "RUNNING");
    let called: Vec<Value> = world.receiver.accepted_requests().iter().map(|request| request.json()).collect();
    assert_eq!(called, log);

    for page in ["/instances/inst0?format=json", "/instances?format=json"] {
        let shown = world.get(page).await.json();
        let one = if shown["instance"].is_object() { &shown["instance"] } else { &shown["instances"][0] };
        assert_eq!(one["tracking"]["announced"], "instance-retirement 2026-12-01T00:00:00Z", "{shown}");
    }
    let xml = world.get("/instances/inst0?format=xml").await.text;
    assert!(xml.contains(" announced='instance-retirement 2026-12-01T00:00:00Z'"), "{xml}");

    // A change of its state has it in it, too.
    world.provider.set_state("inst0", "STOPPED");
    world.live(minutes(1)).await;
    let stopped = told(&world).await.pop().unwrap();
    assert_eq!((&stopped["type"], &stopped["to"]["announced"]), (&json!("instance.state"), &retirement));
    world.provider.announces("inst0", None);
    world.live(minutes(1)).await;
    let over = told(&world).await.pop().unwrap();
    assert_eq!((&over["type"], &over["to"]["announced"]), (&json!("instance.announced"), &json!([])));
    let shown = world.get("/instances/inst0?format=json").await.json();
    assert_eq!(shown["instance"]["tracking"]["announced"], Value::Null);
    world.live(minutes(5)).await;
    assert_eq!(told(&world).await.len(), 3);
    world.end().await;
}

#[tokio::test]
async fn an_instance_that_runs_as_soon_as_it_is_made_is_a_launch_that_came_up() {
    let mut world = World::new().await;
    let hook = world.hook();
    world.put_hook("realms", &hook, &[]).await;
    world.live(minutes(2)).await;
    let create = "/instances?image_id=img1&realm_id=us&track_hook=feed";
    let created = world.request(reqwest::Method::POST, create).await;
    assert!(created.text.contains("RUNNING"), "{}", created.text);
    world.live(minutes(2)).await;
    let evidence = world.get("/realms/us/evidence").await.json();
    let launches = evidence["signals"].as_array().unwrap().iter().find(|signal| signal["kind"] == "launches");
    let launches = launches.unwrap_or_else(|| panic!("no launch was counted: {evidence}"));
    assert_eq!((&launches["count"], &launches["of"]), (&json!(0), &json!(1)), "{launches}");
    world.end().await;
}
