//! A receiver that is down for a day, and what comes when it gets up.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use tracker::clock::Clock as _;
use tracker::model::{
    AccountId, Change, ChangeId, Collection, Facts, HookId, InstanceState, Mode, News, Observed, Subject,
};
use tracker::store::{Commit, NewChange};

use crate::support::receiver::{Received, Reply};
use crate::support::world::{World, minutes, seconds};

const RESOURCES: u64 = 100;
const DAY: Duration = Duration::from_hours(24);

/// Of the whole day.
const CHANGES: u64 = 10_000;

/// A day of changes, of each resource in turn, while the receiver says `reply`. Answers with the number of requests made.
async fn down_for_a_day(world: &mut World, mode: Mode, reply: Reply) -> usize {
    world.provider.add_instance("inst0", "RUNNING");
    let hook = world.hook();
    world.put_hook("instances", &hook, &[("track_mode", mode.as_str())]).await;
    let (account, hook) = (world.account().await.unwrap(), world.hooks().await.remove(0).id);
    world.receiver.otherwise(reply);
    let begin = world.clock.now();
    let end = begin + DAY;
    let batches = CHANGES / RESOURCES;
    for batch in 0..batches {
        record(world, account, &hook, batch).await;
        let until = begin + DAY.mul_f64((batch + 1) as f64 / batches as f64);
        deliver_until(world, until).await;
    }
    world.clock.set(end);
    world.receiver.count()
}

/// One change of each resource.
async fn record(world: &World, account: AccountId, hook: &HookId, batch: u64) {
    let now = world.clock.now();
    let facts = |state: InstanceState| Facts {
        state,
        native_state: state.as_str().to_lowercase(),
        public_addresses: vec![],
        private_addresses: vec![],
        announced: vec![],
    };
    let (running, stopped) = (facts(InstanceState::Running), facts(InstanceState::Stopped));
    let (from, to) = if batch.is_multiple_of(2) { (running, stopped) } else { (stopped, running) };
    let change = |resource: u64| Change {
        id: ChangeId(format!("chg_{batch}_{resource}")),
        at: now,
        subject: Subject {
            collection: Collection::Instances.into(),
            id: format!("i-{resource}"),
            revision: batch + 1,
            name: None,
            realm: None,
        },
        observed: Observed { before: Some(now), at: now },
        news: News::InstanceState { from: from.clone(), to: to.clone() },
    };
    let changes = (0..RESOURCES).map(|resource| NewChange { change: change(resource), told: vec![hook.clone()] });
    let version = world.store().known(account, Collection::Instances).await.unwrap().version;
    let commit = Commit {
        judgements: vec![],
        account,
        collection: Collection::Instances,
        version,
        observed_at: None,
        upserts: vec![],
        removed: vec![],
        changes: changes.collect(),
        now,
    };
    world.store().commit_sample(&commit).await.unwrap();
}

/// Lets time pass from one due time to the next.
async fn deliver_until(world: &mut World, end: Timestamp) {
    while let Some(due_at) = world.deliver().await.next_due_at.filter(|due_at| *due_at < end) {
        world.clock.set(due_at.max(world.clock.now() + seconds(1)));
    }
    world.clock.set(end);
}

/// What a receiver that got up is sent: by second since its first acceptance, how many.
async fn ramp(world: &mut World, wanted: usize) -> Vec<usize> {
    world.receiver.otherwise(Reply::Status(200));
    // It is probed within the longest that a circuit is open.
    let mut probed = None;
    let latest = world.clock.now() + minutes(5) + seconds(1);
    let mut series = vec![];
    let before = world.receiver.count();
    while world.receiver.count() - before < wanted {
        let so_far = world.receiver.count();
        let report = world.deliver().await;
        let sent = world.receiver.count() - so_far;
        let now = world.clock.now();
        assert!(sent > 0 || probed.is_some() || now <= latest, "it was not probed in time");
        if sent > 0 {
            let since = *probed.get_or_insert(now);
            let second = usize::try_from(now.duration_since(since).as_secs()).unwrap();
            series.resize(series.len().max(second + 1), 0);
            series[second] += sent;
        }
        assert!(series.len() < 60, "it takes too long: {series:?}");
        // As the engine would be woken, though not more often than every hundredth of a second.
        let tick = now + Duration::from_millis(10);
        world.clock.set(report.next_due_at.map_or(tick, |due_at| due_at.max(tick)));
    }
    series
}

fn resource(request: &Received) -> String {
    request.json()["resource"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn after_a_day_every_change_arrives_in_order_and_at_a_rising_rate() {
    let mut world = World::new().await;
    let during = down_for_a_day(&mut world, Mode::Each, Reply::Status(503)).await;
    println!("each: {during} requests while it was down");
    // A probe each two and a half to five minutes, and a few before the circuit was open.
    assert!((288..=620).contains(&during), "{during}");

    let wanted = usize::try_from(CHANGES).unwrap();
    let series = ramp(&mut world, wanted).await;
    println!("each: {wanted} changes in {} s, requests by second: {series:?}", series.len());
    // Ten at once, twice as many after a second in all, and so on.
    assert!(series[0] <= 21, "{series:?}");
    for (second, sent) in series.iter().enumerate().skip(1) {
        let allowed = 10 << second;
        assert!(*sent <= allowed + 1, "{sent} in second {second}: {series:?}");
        assert!(second + 1 == series.len() || *sent * 10 >= allowed * 8, "it keeps up: {series:?}");
    }

    let mut revisions = BTreeMap::<String, Vec<u64>>::new();
    for request in world.receiver.accepted_requests() {
        revisions.entry(resource(&request)).or_default().push(request.json()["resource"]["revision"].as_u64().unwrap());
    }
    assert_eq!(revisions.len() as u64, RESOURCES);
    for (id, revisions) in revisions {
        assert_eq!(revisions, (1..=CHANGES / RESOURCES).collect::<Vec<_>>(), "{id}");
    }
    assert_eq!(world.deliver().await.next_due_at, None);
    world.end().await;
}

#[tokio::test]
async fn after_a_day_the_latest_state_of_each_resource_arrives_once() {
    let mut world = World::new().await;
    let during = down_for_a_day(&mut world, Mode::Latest, Reply::HangUp).await;
    println!("latest: {during} requests while it was down");
    assert!((288..=620).contains(&during), "{during}");
    let series = ramp(&mut world, RESOURCES as usize).await;
    println!("latest: requests by second: {series:?}");
    let accepted = world.receiver.accepted_requests();
    assert_eq!(accepted.len() as u64, RESOURCES);
    let each = CHANGES / RESOURCES;
    for request in &accepted {
        let body = request.json();
        assert_eq!(body["resource"]["revision"], each, "the newest");
        assert_eq!(body["merged"]["count"], each - 1, "{body}");
        let first = body["seq"].as_u64().unwrap() - (each - 1) * RESOURCES;
        assert_eq!(body["merged"]["from_seq"], first, "{body}");
    }
    let ids: std::collections::BTreeSet<_> = accepted.iter().map(resource).collect();
    assert_eq!(ids.len() as u64, RESOURCES);
    for _ in 0..3 {
        world.clock.advance(DAY);
        world.deliver().await;
    }
    assert_eq!(world.receiver.accepted_requests().len() as u64, RESOURCES, "and nothing else");
    world.end().await;
}
