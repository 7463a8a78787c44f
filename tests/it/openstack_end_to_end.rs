//! The main job on a cloud that speaks OpenStack: a server is made, stopped and deleted, and each step is called back.

use reqwest::{Method, StatusCode};

use crate::support::child::{PATIENCE, Tracker};
use crate::support::nova::{self, Nova};
use crate::support::receiver::Receiver;
use crate::support::world::{SECRET, client, told};

#[tokio::test]
async fn a_server_of_openstack_is_called_back_from_running_to_its_end() {
    let cloud = Nova::start().await;
    let folder = tempfile::tempdir().unwrap();
    let receiver = Receiver::start().await;
    let auth_url = cloud.auth_url();
    let settings = [
        ("TRACKER_DRIVERS__OPENSTACK__AUTH_URL", auth_url.as_str()),
        ("TRACKER_POLL__INSTANCES_CRON", "* * * * * *"),
        ("TRACKER_POLL__SPREAD_MS", "0"),
        ("TRACKER_POLL__SETTLING_EVERY_MS", "200"),
        ("TRACKER_POLL__LIST_EVERY_MS", "500"),
        ("TRACKER_POLL__ABSENCE__YOUNG_FOR_MS", "0"),
        ("TRACKER_POLL__ABSENCE__CONFIRM_AFTER_MS", "100"),
    ];
    let tracker = Tracker::start(folder.path(), &settings).await;
    let api = format!("{};driver=openstack", tracker.base);
    let ask = async |method: Method, path: &str| {
        let asked =
            client().request(method, format!("{api}/{path}")).basic_auth(nova::USER, Some(nova::PASSWORD)).send();
        asked.await.unwrap()
    };

    let made = ask(Method::POST, &format!("instances?image_id={}&realm_id={}", nova::IMAGE, nova::ZONE)).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let id = made.headers()["location"].to_str().unwrap().rsplit('/').next().unwrap().to_owned();
    cloud.get_on();

    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("track_hook", receiver.url("/cb").as_str()).append_pair("track_secret", SECRET);
    let path = format!("instances/{id}?{}", query.finish());
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        // What was read a moment ago may be given again.
        let answer = ask(Method::PUT, &path).await;
        assert_eq!(answer.status(), StatusCode::OK);
        if answer.text().await.unwrap().contains("<state>RUNNING</state>") {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "it never ran");
    }

    let arrived = async |count: usize| {
        let arrived = receiver.wait_until(|accepted| accepted.len() >= count);
        tokio::time::timeout(PATIENCE, arrived).await.expect("the callback arrives");
    };
    assert_eq!(ask(Method::POST, &format!("instances/{id}/stop")).await.status(), StatusCode::ACCEPTED);
    arrived(1).await;
    cloud.get_on();
    arrived(2).await;
    assert_eq!(ask(Method::DELETE, &format!("instances/{id}")).await.status(), StatusCode::NO_CONTENT);
    arrived(3).await;
    cloud.get_on();
    arrived(4).await;
    let accepted: Vec<_> = receiver.accepted_requests().iter().map(|request| told(&request.json()).1).collect();
    let steps =
        ["RUNNING -> STOPPING", "STOPPING -> STOPPED", "STOPPED -> STOPPING"].map(|step| format!("{id} {step}"));
    assert_eq!(accepted[..3], steps);
    // Whichever look comes first: one at what changed, or one that no longer finds it.
    let ends = ["STOPPING -> FINISH", "STOPPING -> nothing"].map(|step| format!("{id} {step}"));
    assert!(ends.contains(&accepted[3]), "{accepted:?}");
    let change = receiver.accepted_requests().remove(0).json();
    assert_eq!(change["account"]["driver"], "openstack");
    assert_eq!(change["account"]["id"], "63d2e5104dc34ca6a99330dc5f50dab0", "the project");
    tracker.stop().await;
}
