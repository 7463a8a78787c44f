//! Two Trackers, one above the other: who sets a hook at the upper one hears what happens in the cloud of the lower one.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tracker::drivers::Kind;
use tracker::model::RealmState;

use crate::support::world::{Answer, PASSWORD, SECRET, USER, World, ask, minutes, told};

struct House {
    lower: World,
    upper: World,
}

impl House {
    /// The lower one has one instance, `inst0`, that runs.
    async fn new() -> Self {
        let lower = World::new().await;
        lower.provider.add_instance("inst0", "RUNNING");
        let url = lower.base().to_owned();
        let upper = World::with(|settings| {
            settings.drivers.deltacloud.url = Some(url.parse().expect("a URL"));
        })
        .await;
        Self { lower, upper }
    }

    /// Asks the upper one for what it has from the lower one.
    async fn ask(&self, method: Method, path: &str) -> Answer {
        let base = format!("{};driver=deltacloud", self.upper.base());
        ask(&base, method, path, USER, PASSWORD).await
    }

    async fn track(&self, path: &str) -> Answer {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("track_hook", &self.upper.hook()).append_pair("track_secret", SECRET);
        let answer = self.ask(Method::PUT, &format!("{path}?{}", query.finish())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer
    }

    /// Lets a minute pass in both, and the upper one do its work.
    async fn minute(&mut self) {
        self.lower.clock.advance(minutes(1));
        self.upper.live(minutes(1)).await;
    }

    fn heard(&self) -> Vec<String> {
        self.upper.accepted()
    }

    async fn end(self) {
        self.upper.end().await;
        self.lower.end().await;
    }
}

#[tokio::test]
async fn a_hook_above_hears_what_happens_below() {
    let mut house = House::new().await;
    let shown = house.track("/instances/inst0").await;
    assert!(shown.text.contains("<state>RUNNING</state>"), "{}", shown.text);
    house.track("/realms/eu").await;

    house.lower.provider.set_state("inst0", "STOPPED");
    house.minute().await;
    assert_eq!(house.heard(), ["inst0 RUNNING -> STOPPED"]);

    house.lower.provider.set_realm("eu", RealmState::Unavailable, None);
    for _ in 0..10 {
        house.minute().await;
    }
    assert!(house.heard().iter().any(|told| told == "eu AVAILABLE -> UNAVAILABLE"), "{:?}", house.heard());

    // The change says whose it is and leads back to where it can be seen.
    let body: Value = house.upper.receiver.accepted_requests()[0].json();
    assert_eq!(body["account"]["driver"], "deltacloud");
    assert_eq!(body["account"]["provider"], house.lower.base());
    assert_eq!(body["account"]["id"], USER);
    house.end().await;
}

#[tokio::test]
async fn a_storm_below_is_no_change_above() {
    let mut house = House::new().await;
    house.track("/instances/inst0").await;
    for kind in [Kind::Unavailable, Kind::Failed, Kind::TimedOut, Kind::Throttled { after: None }] {
        house.lower.provider.fails(kind);
        for _ in 0..5 {
            house.minute().await;
        }
        house.lower.provider.heals();
        assert_eq!(house.heard(), [""; 0], "{kind:?}");
    }
    // Nor is a lower one that is not there at all.
    house.lower.stop().await;
    for _ in 0..5 {
        house.minute().await;
    }
    assert_eq!(house.heard(), [""; 0]);
    house.upper.end().await;
}

#[tokio::test]
async fn what_is_gone_below_is_gone_above() {
    let mut house = House::new().await;
    house.track("/instances/inst0").await;
    house.lower.provider.remove("inst0");
    for _ in 0..10 {
        house.minute().await;
    }
    let last = house.upper.receiver.accepted_requests().last().map(|request| request.json()).expect("it was told");
    assert_eq!((last["type"].as_str(), told(&last).1.as_str()), (Some("instance.gone"), "inst0 RUNNING -> nothing"));
    house.end().await;
}

#[tokio::test]
async fn what_is_done_above_is_done_below() {
    let house = House::new().await;
    let stopped = house.ask(Method::POST, "/instances/inst0/stop").await;
    assert_eq!(stopped.status, StatusCode::ACCEPTED, "{}", stopped.text);
    let below = house.lower.get("/instances/inst0").await;
    assert!(below.text.contains("<state>STOPPED</state>"), "{}", below.text);
    let again = house.ask(Method::POST, "/instances/inst0/stop").await;
    assert_eq!(again.status, StatusCode::METHOD_NOT_ALLOWED, "{}", again.text);

    let made = house.ask(Method::POST, "/instances?image_id=img1&name=web").await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert!(house.lower.get("/instances").await.text.contains("<name>web</name>"));

    let base = format!("{};driver=deltacloud", house.upper.base());
    let wrong = ask(&base, Method::GET, "/instances", USER, "wrong").await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED, "{}", wrong.text);
    house.end().await;
}
