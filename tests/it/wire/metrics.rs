//! `/api/metrics`.

use super::{EC2, ORIGIN, reference};
use crate::support::raw::{GOOD, JSON};

#[tokio::test]
async fn g06_a_metric_has_its_entity_and_samples_by_quantity() {
    let world = reference().await;
    let raw = world.raw();
    let list = raw.get("/api/metrics").await.xml();
    let member = raw.get("/api/metrics/inst1").await.xml();
    assert_eq!(member.attribute("href"), Some(format!("{ORIGIN}/api/metrics/inst1").as_str()));
    let listed = list.children.iter().find(|metric| metric.attribute("id") == Some("inst1")).expect("it is listed");
    for metric in [listed, &member] {
        assert_eq!((metric.name.as_str(), metric.child("entity").text.as_str()), ("metric", "inst1"));
        let cpu = metric.child("properties").child("cpuUtilization");
        assert!(!cpu.children.is_empty() && cpu.children.iter().all(|sample| sample.name == "sample"));
        let names: Vec<_> = cpu.children[0].children.iter().map(|one| one.attribute("name").unwrap()).collect();
        assert!(["minimum", "maximum", "average", "unit", "timestamp"].iter().all(|name| names.contains(name)));
        let average = cpu.children[0].children.iter().find(|one| one.attribute("name") == Some("average")).unwrap();
        assert!(average.attribute("value").unwrap().parse::<f64>().unwrap() < 1.0, "a share: {average:?}");
    }
    let json = raw.ask("GET", "/api/metrics/inst1", &[GOOD, JSON]).await.json();
    let cpu = &json["metric"]["properties"][0];
    assert_eq!((&json["metric"]["entity"], &cpu["name"]), (&"inst1".into(), &"cpuUtilization".into()));
    assert_eq!(cpu["values"][0]["unit"], "Percent");
    world.end().await;
}

#[tokio::test]
async fn metrics_can_only_be_read_and_not_everywhere() {
    let world = reference().await;
    let raw = world.raw();
    let options = raw.ask("OPTIONS", "/api/metrics", &[]).await;
    assert_eq!((options.status, options.header("allow")), (200, Some("OPTIONS,GET,HEAD")));
    for (method, path) in [("POST", "/api/metrics"), ("DELETE", "/api/metrics/inst1"), ("PUT", "/api/metrics/inst1")] {
        raw.ask(method, path, &[GOOD]).await.is_error(405);
    }
    raw.ask("GET", "/api/metrics", &[GOOD, EC2]).await.is_error(501);
    world.end().await;
}
