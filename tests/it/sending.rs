//! Delivering, on loopback: one try as the receiver sees it, and passes over what is owed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tracker::chance::Chance;
use tracker::changes::Told;
use tracker::clock::{Clock as _, FakeClock};
use tracker::deliver::{self, Deliver, Key, Message, Reply as Came, Sender, Settings, new_key};
use tracker::model::{
    AccountKey, Attempt, ChangeId, DeliveryState, Entry, ExposeSecret as _, Format, InstanceState, News, Secret,
    SigningKey, Verdict,
};
use tracker::outbound::Outbound;
use tracker::tasks::{Pass as _, Report};

use crate::support::owed::Owed;
use crate::support::receiver::{Received, Receiver, Reply};

/// 2027-01-15 08:00:00 UTC
const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

fn settings() -> Settings {
    Settings { allow_networks: vec!["127.0.0.0/8".parse().unwrap()], ..Settings::default() }
}

fn key() -> Secret {
    new_key(&[7; 32])
}

/// What a receiver does with a callback before it believes it.
fn verify(request: &Received, key: &Secret, now: Timestamp) -> Result<(), deliver::Mismatch> {
    let header = |name| request.header(name).unwrap_or_default();
    let (id, at, signatures) = (header(deliver::ID), header(deliver::TIMESTAMP), header(deliver::SIGNATURE));
    deliver::verify(&Key::parse(key.expose_secret()).unwrap(), id, at, signatures, &request.body, now, 0)
}

mod one_try {
    use super::*;

    async fn send(settings: &Settings, url: &url::Url, body: &'static str) -> (Attempt, Came) {
        let outbound = Outbound::new(&settings.outbound()).unwrap();
        let sender = Sender::new(outbound, settings.bounds(), settings.answer_bytes_kept);
        let message = Message {
            url: url.clone(),
            id: ChangeId("chg_1".to_owned()),
            keys: vec![
                SigningKey { secret: key(), until: None },
                SigningKey { secret: new_key(&[8; 32]), until: Some(now() + Duration::from_secs(60)) },
                SigningKey { secret: new_key(&[9; 32]), until: Some(now()) },
            ],
            format: Format::Changes,
            token: Some(Secret::from("the \"token\"")),
            body: Bytes::from_static(body.as_bytes()),
        };
        sender.send(message, 3, now()).await
    }

    #[tokio::test]
    async fn a_callback_is_a_signed_post_of_json() {
        let receiver = Receiver::start().await;
        let mut url = receiver.url("/cb/1?key=value");
        url.set_username("me").unwrap();
        url.set_password(Some("p@ss")).unwrap();
        let (attempt, came) = send(&settings(), &url, "{\"a\":1}").await;

        assert_eq!(came, Came::Status { status: 200, retry_after: None });
        let Attempt { elapsed, .. } = attempt;
        let answer = String::new();
        assert_eq!(attempt, Attempt { number: 3, at: now(), elapsed, status: Some(200), error: None, answer });

        let [request] = <[_; 1]>::try_from(receiver.received()).unwrap();
        assert_eq!((request.method.as_str(), request.target.as_str()), ("POST", "/cb/1?key=value"));
        assert_eq!(request.body, b"{\"a\":1}");
        let header = |name| request.header(name).unwrap_or("none");
        assert_eq!(header("host"), receiver.address().to_string());
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("content-length"), "7");
        assert_eq!(header("user-agent"), concat!("Tracker/", env!("CARGO_PKG_VERSION")));
        assert_eq!(header("authorization"), "Basic bWU6cEBzcw==");
        assert_eq!(header("webhook-id"), "chg_1");
        assert_eq!(header("webhook-timestamp"), "1800000000");
        assert_eq!(header("webhook-signature").split(' ').count(), 2);
        assert_eq!(verify(&request, &key(), now()), Ok(()));
        assert_eq!(verify(&request, &new_key(&[8; 32]), now()), Ok(()), "a replaced key still signs");
        assert_eq!(verify(&request, &new_key(&[9; 32]), now()), Err(deliver::Mismatch::Signature), "and then no more");
    }

    #[tokio::test]
    async fn every_ending_is_told_and_sorted() {
        async fn check(reply: Reply, deadline_ms: u64, want: Came, status: Option<u16>, error: &str) {
            let receiver = Receiver::start().await;
            receiver.answers([reply.clone()]);
            let settings = Settings { deadline_ms, ..settings() };
            let (attempt, came) = send(&settings, &receiver.url("/?key=secret"), "{}").await;
            assert_eq!(came, want, "{reply:?}");
            assert_eq!(attempt.status, status, "{reply:?}");
            assert_eq!(attempt.error.unwrap_or_default(), error, "{reply:?}");
        }
        let asked =
            |status, seconds: Option<u64>| Came::Status { status, retry_after: seconds.map(Duration::from_secs) };
        let with = |status, name, value: &str| Reply::Full(status, vec![(name, value.to_owned())], vec![]);
        let tick = Duration::from_millis(10);
        let long = 20_000;
        tokio::join!(
            check(Reply::Status(204), long, asked(204, None), Some(204), ""),
            check(
                with(302, "location", "http://127.0.0.1:1/"),
                long,
                asked(302, None),
                Some(302),
                "the receiver answered 302 Found; redirects are not followed"
            ),
            check(Reply::Status(410), long, asked(410, None), Some(410), "the receiver answered 410 Gone"),
            check(
                with(429, "retry-after", "120"),
                long,
                asked(429, Some(120)),
                Some(429),
                "the receiver answered 429 Too Many Requests"
            ),
            check(
                with(503, "retry-after", "Fri, 15 Jan 2027 08:01:00 GMT"),
                long,
                asked(503, Some(60)),
                Some(503),
                "the receiver answered 503 Service Unavailable"
            ),
            check(
                Reply::Flood(500, 1_000_000),
                long,
                asked(500, None),
                Some(500),
                "the receiver answered 500 Internal Server Error"
            ),
            // It said 2xx. Sending that again because the rest is slow would only make a duplicate.
            check(Reply::TrickleBody(200, tick), 3000, asked(200, None), Some(200), ""),
            check(Reply::Hang, 100, Came::NoAnswer, None, "no complete answer within 100 ms"),
            check(Reply::TrickleHead(tick), 100, Came::NoAnswer, None, "no complete answer within 100 ms"),
            check(
                Reply::HangUp,
                long,
                Came::NoAnswer,
                None,
                "the exchange broke off: connection closed before message completed"
            ),
        );
    }

    #[tokio::test]
    async fn what_a_receiver_echoes_is_kept_short_and_without_secrets() {
        let receiver = Receiver::start().await;
        let echo = format!("{{\"token\":\"the \\\"token\\\"\"}} {}", "x".repeat(2000));
        receiver.answers([Reply::Full(200, vec![], echo.into_bytes())]);
        let (attempt, _) = send(&settings(), &receiver.url("/"), "{}").await;
        assert!(attempt.answer.starts_with("{\"token\":\"***\"} xxx"), "{}", attempt.answer);
        assert_eq!(attempt.answer.len(), 1024);
    }

    #[tokio::test]
    async fn a_forbidden_address_gets_nothing() {
        let receiver = Receiver::start().await;
        let settings = Settings { allow_networks: vec![], ..settings() };
        let (attempt, came) = send(&settings, &receiver.url("/?key=secret"), "{}").await;
        assert_eq!(came, Came::NoAnswer);
        assert_eq!(
            attempt.error.unwrap(),
            "127.0.0.1 may not be called: it is this machine itself (loopback), and allow_networks does not list it"
        );
        assert!(receiver.received().is_empty());
    }
}

/// Enough of a body to tell changes apart.
fn render(entry: &Entry, account: &AccountKey, told: Told<'_>) -> Vec<u8> {
    let Told { token, base, merged: _, format: _ } = told;
    let subject = &entry.change.subject;
    assert_ne!(subject.id, "cursed", "a bug that one change brings out");
    let News::InstanceState { from, to } = &entry.change.news else { unreachable!("only these are owed here") };
    let body = serde_json::json!({
        "type": entry.change.news.kind(),
        "seq": entry.seq.0,
        "account": account.identity,
        "resource": {"id": subject.id, "revision": subject.revision, "href": format!("{base}/instances/{}", subject.id)},
        "from": {"state": from.state.as_str()},
        "to": {"state": to.state.as_str()},
        "token": token.map(|token| token.expose_secret()),
    });
    body.to_string().into_bytes()
}

struct World {
    owed: Arc<Owed>,
    clock: Arc<FakeClock>,
    woken: Arc<Notify>,
    settings: Settings,
    deliver: Deliver,
}

impl World {
    fn new(settings: Settings) -> Self {
        Self::over(Arc::default(), settings)
    }

    /// As after a restart, over what another process left.
    fn over(owed: Arc<Owed>, settings: Settings) -> Self {
        settings.check().unwrap();
        let clock = Arc::new(FakeClock::at(now()));
        let woken = Arc::new(Notify::new());
        let deliver = Deliver::new(
            Arc::clone(&owed) as Arc<dyn tracker::store::Store>,
            Outbound::new(&settings.outbound()).unwrap(),
            settings.clone(),
            Arc::clone(&clock) as Arc<dyn tracker::clock::Clock>,
            Arc::new(Chance::seeded(1)),
            Arc::clone(&woken),
            render,
        );
        Self { owed, clock, woken, settings, deliver }
    }

    async fn pass(&mut self) -> Report {
        self.try_pass().await.unwrap()
    }

    async fn try_pass(&mut self) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
        self.deliver.pass(self.clock.now()).await
    }

    fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A pass that goes on beside the test.
    fn pass_beside(mut self) -> (Arc<Owed>, Arc<FakeClock>, Arc<Notify>, JoinHandle<()>) {
        let (owed, clock, woken) = (Arc::clone(&self.owed), Arc::clone(&self.clock), Arc::clone(&self.woken));
        let pass = tokio::spawn(async move {
            self.pass().await;
        });
        (owed, clock, woken, pass)
    }
}

fn ids(receiver: &Receiver) -> Vec<String> {
    receiver.received().iter().map(|request| request.header("webhook-id").unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn a_receiver_that_fails_twice_gets_the_change_at_the_third_try_and_what_follows_after_it() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    receiver.answers([Reply::Status(503), Reply::Status(503)]);
    world.owed.add_stop(&hook, "i-1", now());
    world.owed.add(&hook, "i-1", InstanceState::Stopped, InstanceState::Running, now());

    let report = world.pass().await;
    assert_eq!((report.due, report.done, report.failed), (1, 0, 1));
    // The steps' longest waits: whatever was drawn, it is over then.
    world.advance(5);
    assert_eq!(world.pass().await.failed, 1);
    world.advance(30);
    let report = world.pass().await;
    assert_eq!((report.due, report.done, report.failed, report.next_due_at), (2, 2, 0, None));

    assert_eq!(ids(&receiver), ["chg_1", "chg_1", "chg_1", "chg_2"]);
    assert_eq!(receiver.accepted(), ["RUNNING -> STOPPED, attempt 3", "STOPPED -> RUNNING, attempt 1"]);
    let sent_at: Vec<i64> = receiver
        .received()
        .iter()
        .map(|request| request.header("webhook-timestamp").unwrap().parse().unwrap())
        .collect();
    assert_eq!(sent_at, [NOW, NOW + 5, NOW + 35, NOW + 35], "of the attempt, not of the change");
    for (request, seconds) in receiver.received().iter().zip(sent_at) {
        assert_eq!(verify(request, &key(), Timestamp::from_second(seconds).unwrap()), Ok(()));
    }
    let tries: Vec<u32> = world.owed.outcomes().iter().map(|outcome| outcome.attempt.number).collect();
    assert_eq!(tries, [1, 2, 3, 1]);
}

#[tokio::test]
async fn nothing_is_sent_before_it_is_due() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    receiver.answers([Reply::Full(503, vec![("retry-after", "60".to_owned())], vec![])]);
    world.owed.add_stop(&hook, "i-1", now());
    assert_eq!(world.pass().await.next_due_at, Some(now() + Duration::from_secs(60)));
    world.advance(59);
    assert_eq!(world.pass().await.due, 0);
    world.advance(1);
    assert_eq!(world.pass().await.done, 1);
}

#[tokio::test]
async fn what_nobody_takes_is_exhausted_after_three_days() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    receiver.otherwise(Reply::Status(500));
    world.owed.add_stop(&hook, "i-1", now());
    while let Some(due_at) = world.pass().await.next_due_at {
        world.clock.set(due_at);
        assert!(receiver.received().len() < 100, "it does not end");
    }
    assert_eq!(world.owed.states(), [DeliveryState::Exhausted]);
    // On the end, or as soon after it as the receiver is probed.
    let (end, open) = (now() + Duration::from_hours(72), Duration::from_millis(world.settings.circuit_open_max_ms));
    assert!((end..=end + open).contains(&world.clock.now()), "{}", world.clock.now());
    assert!(receiver.received().len() > 10, "{}", receiver.received().len());
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    // Nothing in here may end by a deadline: the hung tries are still under way when the test is over.
    let settings = Settings {
        deadline_ms: 600_000,
        claim_lease_ms: 1_200_000,
        in_flight: 20,
        in_flight_suspects: 10,
        in_flight_per_receiver: 5,
        recheck_ms: 600_000,
        ..settings()
    };
    let world = World::new(settings);
    let (hangs, healthy) = (Receiver::start().await, Receiver::start().await);
    hangs.otherwise(Reply::Hang);
    let to_hung = world.owed.add_hook("hook_1", &hangs.url("/cb"), &key());
    let to_healthy = world.owed.add_hook("hook_2", &healthy.url("/cb"), &key());
    for number in 0..100 {
        world.owed.add_stop(&to_hung, &format!("i-{number}"), now());
    }
    for number in 0..40 {
        world.owed.add_stop(&to_healthy, &format!("i-{number}"), now());
    }
    let (owed, clock, woken, pass) = world.pass_beside();
    // All told, so that no ending is left that would make the pass look again.
    owed.wait_for(40).await;

    // What comes up while the others hang is sent at once, on being woken.
    owed.add_stop(&to_healthy, "i-0", clock.now());
    woken.notify_one();
    healthy.wait_for(41).await;
    assert!((3..=5).contains(&hangs.received().len()), "within the receiver's bound: {}", hangs.received().len());
    pass.abort();
}

#[tokio::test]
async fn a_pass_that_nobody_wakes_looks_again_by_itself() {
    let settings = Settings { deadline_ms: 600_000, claim_lease_ms: 1_200_000, recheck_ms: 10, ..settings() };
    let world = World::new(settings);
    let (hangs, healthy) = (Receiver::start().await, Receiver::start().await);
    hangs.otherwise(Reply::Hang);
    let to_hung = world.owed.add_hook("hook_1", &hangs.url("/cb"), &key());
    let to_healthy = world.owed.add_hook("hook_2", &healthy.url("/cb"), &key());
    world.owed.add_stop(&to_hung, "i-1", now());
    let (owed, clock, _, pass) = world.pass_beside();
    hangs.wait_for(1).await;
    owed.add_stop(&to_healthy, "i-1", clock.now());
    healthy.wait_for(1).await;
    // Even when the clock leaps over the lease, what is under way is not sent a second time.
    clock.advance(Duration::from_hours(1));
    for sent in 2..30 {
        owed.add_stop(&to_healthy, "i-2", clock.now());
        healthy.wait_for(sent).await;
    }
    assert_eq!(hangs.received().len(), 1);
    pass.abort();
}

#[tokio::test]
async fn many_changes_arrive_in_order_for_each_resource() {
    let settings =
        Settings { in_flight: 16, in_flight_suspects: 8, in_flight_per_receiver: 6, claim_max: 7, ..settings() };
    let mut world = World::new(settings);
    let receivers = [Receiver::start().await, Receiver::start().await];
    let hooks = [("hook_1", 0), ("hook_2", 0), ("hook_3", 1)]
        .map(|(id, receiver)| world.owed.add_hook(id, &receivers[receiver].url(&format!("/{id}")), &key()));
    for round in 0..10 {
        for (number, hook) in hooks.iter().enumerate() {
            for instance in 0..10 {
                // Ids differ between hooks, so that revisions count for each.
                world.owed.add_stop(hook, &format!("i-{number}-{instance}"), now() + Duration::from_millis(round));
            }
        }
    }
    world.advance(1);
    let report = world.pass().await;
    assert_eq!((report.due, report.done, report.next_due_at), (300, 300, None));
    let mut seen = std::collections::BTreeMap::<String, Vec<u64>>::new();
    for request in receivers.iter().flat_map(Receiver::received) {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        let id = body["resource"]["id"].as_str().unwrap().to_owned();
        seen.entry(id).or_default().push(body["resource"]["revision"].as_u64().unwrap());
    }
    assert_eq!(seen.len(), 30);
    for (id, revisions) in seen {
        assert_eq!(revisions, (1..=10).collect::<Vec<u64>>(), "{id}");
    }
}

#[tokio::test]
async fn a_receiver_that_says_gone_is_not_called_again() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    receiver.answers([Reply::Status(410)]);
    world.owed.add_stop(&hook, "i-1", now());
    world.owed.add_stop(&hook, "i-1", now());
    assert_eq!(world.pass().await.failed, 1);
    world.advance(1_000_000);
    assert_eq!(world.pass().await.due, 0);
    assert_eq!(world.owed.states(), [DeliveryState::Waiting; 2], "undelivered, and still in the feed");
}

#[tokio::test]
async fn a_store_that_fails_to_record_is_asked_again_and_nothing_is_sent_twice() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    world.owed.add_stop(&hook, "i-1", now());
    world.owed.fail_records(2);
    world.try_pass().await.unwrap_err();
    world.try_pass().await.unwrap_err();
    world.pass().await;
    assert_eq!(world.owed.states(), [DeliveryState::Delivered]);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn one_result_that_cannot_be_recorded_does_not_hold_up_the_others() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    for instance in ["i-1", "i-2", "i-3"] {
        let seq = world.owed.add_stop(&hook, instance, now());
        if instance == "i-2" {
            world.owed.make_unrecordable(seq);
        }
    }
    world.pass().await;
    assert_eq!(
        world.owed.states(),
        [DeliveryState::Delivered, DeliveryState::Waiting, DeliveryState::Delivered],
        "it stays claimed until its lease is over"
    );
}

#[tokio::test]
async fn a_hook_that_cannot_be_read_waits_and_loses_no_tries() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let sealed = world.owed.add_hook("hook_1", &receiver.url("/sealed"), &key());
    let open = world.owed.add_hook("hook_2", &receiver.url("/open"), &key());
    world.owed.make_unreadable(&sealed);
    world.owed.add_stop(&sealed, "i-1", now());
    world.owed.add_stop(&open, "i-1", now());
    let report = world.pass().await;
    assert_eq!((report.done, report.failed), (1, 1));
    let outcomes = world.owed.outcomes();
    let waits = outcomes.iter().find(|outcome| outcome.hook == sealed).unwrap();
    assert!(matches!(waits.verdict, Verdict::Postpone { due_at } if due_at > now()), "{waits:?}");
    assert_eq!(
        waits.attempt.error.as_deref(),
        Some("the hook cannot be read: hooks.callback of hook_1 makes no sense: sealed by a lost key")
    );
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn a_change_that_cannot_be_rendered_breaks_only_its_own_try() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    for instance in ["i-1", "cursed", "i-2"] {
        world.owed.add_stop(&hook, instance, now());
    }
    let report = world.pass().await;
    assert_eq!((report.due, report.done, report.failed), (3, 2, 1));
    let lease = Duration::from_millis(world.settings.claim_lease_ms);
    assert_eq!(report.next_due_at, Some(now() + lease), "not before the claim is over");
}

#[tokio::test]
async fn a_pass_cut_short_is_sent_again_when_its_claims_are_over() {
    let (world, receiver) = (World::new(settings()), Receiver::start().await);
    receiver.answers([Reply::Hang]);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    world.owed.add_stop(&hook, "i-1", now());
    let (owed, _, _, pass) = world.pass_beside();
    receiver.wait_for(1).await;
    pass.abort();
    assert!(pass.await.unwrap_err().is_cancelled());

    let mut next = World::over(owed, settings());
    assert_eq!(next.pass().await.due, 0, "still claimed");
    next.clock.advance(Duration::from_millis(next.settings.claim_lease_ms));
    assert_eq!(next.pass().await.done, 1);
    assert_eq!(ids(&receiver), ["chg_1", "chg_1"]);
}

#[tokio::test]
async fn a_new_key_is_used_from_the_next_claim_on() {
    let (mut world, receiver) = (World::new(settings()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    world.owed.add_stop(&hook, "i-1", now());
    world.pass().await;
    let new = new_key(&[8; 32]);
    world.owed.replace_key(&hook, &new);
    world.owed.add_stop(&hook, "i-1", now());
    world.pass().await;
    let received = receiver.received();
    assert_eq!(verify(&received[0], &key(), now()), Ok(()));
    assert_eq!(verify(&received[1], &new, now()), Ok(()));
}

/// Consents to whoever asks, sixty times a minute, and takes what it is sent.
fn consents(request: &Received) -> Reply {
    match request.method.as_str() {
        "OPTIONS" => {
            let headers = [("webhook-allowed-origin", "tracker.example"), ("webhook-allowed-rate", "60")];
            Reply::Full(200, headers.map(|(name, value)| (name, value.to_owned())).to_vec(), vec![])
        }
        _ => Reply::Status(204),
    }
}

fn asking() -> Settings {
    Settings { handshake: true, handshake_origin: "tracker.example".to_owned(), handshake_rate: 600, ..settings() }
}

fn methods(receiver: &Receiver) -> Vec<String> {
    receiver.received().into_iter().map(|request| request.method).collect()
}

#[tokio::test]
async fn a_receiver_is_asked_once_and_called_no_more_often_than_it_allows() {
    let (mut world, receiver) = (World::new(asking()), Receiver::start().await);
    receiver.answers_by(consents);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb?key=1"), &key());
    for instance in ["i-1", "i-2", "i-3"] {
        world.owed.add_stop(&hook, instance, now());
    }
    world.pass().await;
    assert_eq!(methods(&receiver), ["OPTIONS", "POST"]);
    for request in receiver.received() {
        assert_eq!(request.header("webhook-request-origin"), Some("tracker.example"), "{request:?}");
        assert_eq!(request.target, "/cb?key=1");
        assert_eq!(request.header("webhook-request-rate"), (request.method == "OPTIONS").then_some("600"));
    }
    for posts in [2, 3] {
        world.advance(1);
        let report = world.pass().await;
        assert_eq!(methods(&receiver).len(), 1 + posts);
        // Whoever had to wait for the answer has a moment of its own since.
        assert!(report.next_due_at.is_none_or(|due_at| due_at <= world.clock.now() + Duration::from_secs(1)));
    }
    assert_eq!(methods(&receiver), ["OPTIONS", "POST", "POST", "POST"]);
    assert!(world.owed.states().iter().all(|state| *state == DeliveryState::Delivered));

    // A day later the consent is old.
    world.advance(24 * 3600);
    world.owed.add_stop(&hook, "i-4", world.clock.now());
    world.pass().await;
    assert_eq!(methods(&receiver)[4..], ["OPTIONS", "POST"]);
}

#[tokio::test]
async fn a_receiver_that_does_not_consent_is_sent_nothing() {
    let (mut world, receiver) = (World::new(asking()), Receiver::start().await);
    let hook = world.owed.add_hook("hook_1", &receiver.url("/cb"), &key());
    world.owed.add_stop(&hook, "i-1", now());
    // A status is no consent.
    let other = vec![("webhook-allowed-origin", "other.example".to_owned())];
    receiver.answers([Reply::Status(200), Reply::Full(200, other, vec![])]);
    for _ in 0..2 {
        world.pass().await;
        world.advance(60);
    }
    assert_eq!(methods(&receiver), ["OPTIONS", "OPTIONS"]);
    let outcome = world.owed.outcomes().pop().unwrap();
    assert!(matches!(outcome.verdict, Verdict::Retry { .. }), "{outcome:?}");
    assert!(outcome.attempt.error.unwrap().contains("did not consent"), "it says why");
    receiver.answers_by(consents);
    world.pass().await;
    assert_eq!(methods(&receiver)[2..], ["OPTIONS", "POST"]);
    assert_eq!(world.owed.states(), [DeliveryState::Delivered]);
}
