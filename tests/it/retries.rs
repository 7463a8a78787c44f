//! A provider that fails now and then is seen all the same, and one that is down is not asked for it more often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use reqwest::Method;
use tracker::chance::Chance;
use tracker::clock::Clock as _;
use tracker::model::{AccountId, AccountKey, Collection, DriverId};
use url::Url;

use crate::support::world::{World, ask, minutes, seconds};

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../../src/drivers/ec2/replies/", $name, ".xml"))
    };
}

/// What becomes of calls.
#[derive(Clone, Copy)]
enum Weather {
    Fine,
    EveryOtherIsThrottled,
    /// Drawn.
    HalfFail,
    AllFail,
}

/// An EC2 with two pages of instances, and weather.
#[derive(Clone)]
struct Ec2 {
    weather: Arc<Mutex<Weather>>,
    /// For each action one, so that what happens at the same time draws the same each time.
    chances: Arc<Mutex<BTreeMap<String, Chance>>>,
    /// Since the weather changed.
    calls: Arc<AtomicUsize>,
    /// What was sent that is no look.
    orders: Arc<AtomicUsize>,
}

impl Ec2 {
    async fn start() -> (Self, Url) {
        let ec2 = Self {
            weather: Arc::new(Mutex::new(Weather::Fine)),
            chances: Arc::default(),
            calls: Arc::default(),
            orders: Arc::default(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let app = Router::new().fallback(answer).with_state(ec2.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (ec2, url)
    }

    fn turns(&self, weather: Weather) {
        *self.weather.lock().unwrap() = weather;
        self.calls.store(0, Ordering::SeqCst);
    }

    fn roll(&self, action: &str) -> f64 {
        let mut chances = self.chances.lock().unwrap();
        chances.entry(action.to_owned()).or_insert_with(|| Chance::seeded(3)).roll()
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

async fn answer(State(ec2): State<Ec2>, body: Bytes) -> Response {
    let nth = ec2.calls.fetch_add(1, Ordering::SeqCst);
    let form: Vec<(String, String)> = form_urlencoded::parse(&body).into_owned().collect();
    let get = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let action = get("Action").unwrap();
    let broken = || (StatusCode::SERVICE_UNAVAILABLE, "no service").into_response();
    let weather = *ec2.weather.lock().unwrap();
    match weather {
        Weather::EveryOtherIsThrottled if nth % 2 == 0 => {
            return (StatusCode::SERVICE_UNAVAILABLE, recorded!("error-RequestLimitExceeded")).into_response();
        }
        Weather::HalfFail if ec2.roll(action) < 0.5 => return broken(),
        Weather::AllFail => return broken(),
        _ => {}
    }
    let further = get("NextToken").is_some();
    match action {
        "GetCallerIdentity" => recorded!("GetCallerIdentity"),
        "DescribeAvailabilityZones" => recorded!("DescribeAvailabilityZones"),
        "DescribeInstances" if further => recorded!("DescribeInstances-2"),
        "DescribeInstances" => recorded!("DescribeInstances-1"),
        "DescribeInstanceStatus" if further => recorded!("DescribeInstanceStatus-2"),
        "DescribeInstanceStatus" => recorded!("DescribeInstanceStatus-1"),
        _ => {
            ec2.orders.fetch_add(1, Ordering::SeqCst);
            return broken();
        }
    }
    .into_response()
}

/// A world that tracks all instances of this EC2, looks at them once a minute, and asks again `retries` times.
async fn watching(retries: u32) -> (World, Ec2, AccountId) {
    let (ec2, url) = Ec2::start().await;
    let world = World::with(|settings| {
        settings.drivers.ec2.endpoint = Some(url);
        let pace = &mut settings.drivers.pace;
        (pace.retries, pace.retry_wait_ms, pace.ec2.per_second) = (retries, 0, 0.0);
        settings.poll.quiet_wait_max_ms = 0;
    })
    .await;
    let answer = request(&world, Method::PUT, "instances?track_hook=feed").await;
    assert_eq!(answer, StatusCode::OK);
    let key = AccountKey {
        driver: DriverId::new("ec2"),
        provider: "us-east-1".to_owned(),
        identity: "123456789012".to_owned(),
    };
    let account = world.store().find_account(&key).await.unwrap().unwrap();
    (world, ec2, account)
}

async fn request(world: &World, method: Method, path: &str) -> StatusCode {
    let base = format!("{};driver=ec2;provider=us-east-1", world.base());
    ask(&base, method, &format!("/{path}"), "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI").await.status
}

/// Lets an hour pass. Answers with how often all instances were seen, and the longest time in which they were not.
async fn an_hour(world: &mut World, account: AccountId) -> (usize, Duration) {
    let begin = world.clock.now();
    let (mut seen, mut longest, mut times) = (begin, Duration::ZERO, 0);
    for step in 1..=720 {
        world.clock.advance(seconds(5));
        if step % 12 == 0 {
            world.tick().await;
        } else {
            world.poll().await;
        }
        longest = longest.max(world.clock.now().duration_since(seen).unsigned_abs());
        let known = world.store().known(account, Collection::Instances).await.unwrap();
        let at = known.observed_at.unwrap().max(begin);
        times += usize::from(at != seen);
        seen = at;
    }
    (times, longest)
}

#[tokio::test]
async fn an_account_whose_every_other_call_is_throttled_is_seen_as_often_as_ever() {
    let (mut world, ec2, account) = watching(2).await;
    ec2.turns(Weather::EveryOtherIsThrottled);
    let (times, longest) = an_hour(&mut world, account).await;
    assert!(times >= 59 && longest <= seconds(65), "seen {times} times, unseen for {longest:?}");
    world.end().await;
}

#[tokio::test]
async fn an_account_half_of_whose_calls_fail_is_seen_nearly_as_often_as_ever() {
    let seen = async |retries| {
        let (mut world, ec2, account) = watching(retries).await;
        ec2.turns(Weather::HalfFail);
        let seen = an_hour(&mut world, account).await;
        world.end().await;
        seen
    };
    let ((times, longest), (without, _)) = (seen(2).await, seen(0).await);
    // No gap that would have to be told.
    assert!(times >= 45 && longest <= minutes(10), "seen {times} times, unseen for {longest:?}");
    assert!(without * 3 < times, "seen {without} times without asking again");
}

#[tokio::test]
async fn a_provider_that_is_down_is_asked_a_tenth_more_often_than_without() {
    let calls = async |retries| {
        let (mut world, ec2, account) = watching(retries).await;
        an_hour(&mut world, account).await;
        let before = ec2.calls();
        ec2.turns(Weather::AllFail);
        let (times, _) = an_hour(&mut world, account).await;
        assert_eq!(times, 0);
        world.end().await;
        (before, ec2.calls())
    };
    let ((before, once), (_, with_retries)) = (calls(0).await, calls(2).await);
    let more = with_retries - once;
    assert!(once > 10 && more <= 10 + once / 10, "{with_retries} instead of {once}");
    assert!(more * 10 <= before + once, "{with_retries} instead of {once}, after {before}");
}

#[tokio::test]
async fn what_clients_ask_and_what_changes_something_is_sent_once() {
    let (world, ec2, _) = watching(2).await;
    ec2.turns(Weather::AllFail);
    assert!(request(&world, Method::GET, "realms").await.is_server_error());
    assert_eq!(ec2.calls(), 1);
    ec2.turns(Weather::Fine);
    let create = "instances?image_id=ami-0abcdef1234567890&hwp_id=t3.micro";
    assert!(request(&world, Method::POST, create).await.is_server_error());
    assert_eq!(ec2.orders.load(Ordering::SeqCst), 1);
    world.end().await;
}
