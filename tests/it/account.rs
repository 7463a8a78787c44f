//! Hooks on the account itself, and what they hear of: that nobody looked, and that a hook is called no more.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tracker::clock::Clock as _;
use tracker::deliver::{self, ID, Key, SIGNATURE, TIMESTAMP};
use tracker::drivers::{Kind, MockCall};
use tracker::model::{Collection, Seq, Subscriber};

use crate::support::receiver::{Received, Reply};
use crate::support::world::{SECRET, World, minutes, seconds};

const GAP: &str = "account.observation_gap";

/// A world with one instance, a hook on it, and a hook of the operator's on the account.
async fn watched() -> World {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    let ops = String::from(world.receiver.url("/ops"));
    let answer = world.put_hook("", &ops, &[("subscriber", "ops")]).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    world.live(minutes(2)).await;
    world
}

/// The gaps in the account's log: which collection, from when to when in minutes since `from`, and the rules.
async fn gaps(world: &World, from: jiff::Timestamp) -> Vec<(String, i64, i64, String)> {
    let minutes = |text: &Value| {
        let at: jiff::Timestamp = text.as_str().unwrap().parse().unwrap();
        at.duration_since(from).as_mins()
    };
    let log = log(world).await;
    let gaps = log.iter().filter(|change| change["type"] == GAP).map(|gap| {
        assert_eq!((&gap["from"], &gap["to"]), (&Value::Null, &Value::Null));
        assert_eq!(gap["resource"]["collection"], "account");
        let rules = gap["why"].as_array().unwrap().iter().map(|why| why["rule"].as_str().unwrap()).collect::<Vec<_>>();
        let id = gap["resource"]["id"].as_str().unwrap().to_owned();
        (id, minutes(&gap["observed"]["before"]), minutes(&gap["observed"]["at"]), rules.join(" "))
    });
    // Collections are looked at beside each other.
    let mut gaps: Vec<_> = gaps.collect();
    gaps.sort();
    gaps
}

/// Asked by nobody in particular, it is read to nobody's account.
async fn log(world: &World) -> Vec<Value> {
    let answer = world.get("/changes?after=0&limit=1000&subscriber=nobody").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    answer.json().as_array().unwrap().clone()
}

async fn types(world: &World) -> Vec<String> {
    log(world).await.iter().map(|change| change["type"].as_str().unwrap().to_owned()).collect()
}

fn posted(world: &World, path: &str) -> Vec<Received> {
    let requests = world.receiver.accepted_requests();
    requests.into_iter().filter(|request| request.target == path).collect()
}

fn gap(collection: &str, since: i64, until: i64, rules: &str) -> (String, i64, i64, String) {
    (collection.to_owned(), since, until, rules.to_owned())
}

#[tokio::test]
async fn a_hook_on_the_account_is_put_shown_listed_and_removed() {
    let world = World::new().await;
    let hook = world.hook();
    let more = [("track_token", "t1"), ("track_mode", "latest"), ("track_events", "disabled"), ("format", "json")];
    let put = world.put_hook("", &hook, &[&more[..], &[("track_secret", "rotate")]].concat()).await;
    assert_eq!(put.status, StatusCode::OK, "{}", put.text);
    let tracking = &put.json()["api"]["tracking"];
    assert_eq!((&tracking["mode"], &tracking["events"]), (&json!("latest"), &json!("disabled")));
    assert!(tracking["secret"].as_str().unwrap().starts_with("whsec_") && !put.text.contains("t1\""), "{}", put.text);
    assert_eq!(put.json()["api"]["links"], world.get("?format=json").await.json()["api"]["links"]);

    let again = world.put_hook("", &hook, &[&more[..], &[("track_secret", "")]].concat()).await;
    let tracking = &again.json()["api"]["tracking"];
    assert_eq!(
        (&tracking["mode"], &tracking["secret"]),
        (&json!("latest"), &Value::Null),
        "shown once: {}",
        again.text
    );
    assert_eq!(world.hooks().await.len(), 1);
    let xml = world.request(Method::PUT, "?track_hook=feed&format=xml&subscriber=ops").await.text;
    assert!(xml.contains("<tracking hook='feed' since='2026-11-21T10:00:00"), "{xml}");
    assert!(xml.contains("subscriber='ops' />\n</api>"), "{xml}");

    let hooks = world.get("/hooks?format=json").await.json();
    let mut scopes: Vec<_> =
        hooks.as_array().unwrap().iter().map(|hook| (&hook["scope"], &hook["subscriber"])).collect();
    // Those made in one millisecond come in any order.
    scopes.sort_by_key(|(_, subscriber)| subscriber.as_str().map(str::to_owned));
    let account = json!({"kind": "account"});
    assert_eq!(scopes, [(&account, &json!("default")), (&account, &json!("ops"))]);

    // Whoever asks for the entry point gets what he always got.
    assert!(!world.get("").await.text.contains("tracking "));
    for (subscriber, left) in [("default", 1), ("ops", 0), ("ops", 0)] {
        let removed = world.put_hook("", "none", &[("subscriber", subscriber)]).await;
        assert_eq!(removed.status, StatusCode::OK);
        assert!(removed.text.contains("<api ") && !removed.text.contains("<tracking"), "{}", removed.text);
        assert_eq!(world.hooks().await.len(), left);
    }
    world.end().await;
}

#[tokio::test]
async fn a_hook_on_the_account_takes_credentials_that_the_backend_confirms() {
    let world = World::new().await;
    let put = async |more: &str, user: &str, password: &str| {
        let answer = world.request_as(Method::PUT, &format!("?track_hook=feed{more}"), user, password).await;
        answer.status.as_u16()
    };
    assert_eq!(put("", "mockuser", "wrong").await, 401);
    assert_eq!(put("&track_events=state", "mockuser", "mockpassword").await, 400);
    assert_eq!(put("&track_mode=often", "mockuser", "mockpassword").await, 400);
    assert_eq!(world.request(Method::PUT, "").await.status.as_u16(), 400);
    // Who may say who he is, and may not look: what he shows is no good for looking.
    world.provider.fails_next(MockCall::Instances, Kind::Denied);
    assert_eq!(put("", "mockuser", "mockpassword").await, 401);
    // What was refused is not asked about again for a moment.
    world.clock.advance(seconds(6));
    world.provider.fails(Kind::Unavailable);
    assert_eq!(put("", "mockuser", "mockpassword").await, 502);
    assert!(world.hooks().await.is_empty());
    world.provider.heals();
    assert_eq!(put("", "mockuser", "mockpassword").await, 200);
    assert_eq!(world.hooks().await.len(), 1);
    world.end().await;
}

#[tokio::test]
async fn a_provider_that_was_down_for_an_hour_is_told_once_and_is_one_gap_of_each_collection() {
    let mut world = watched().await;
    let from = world.clock.now();
    world.provider.fails(Kind::Unavailable);
    world.live(minutes(60)).await;
    // No other provider is watched that could tell whose fault it is, so realms are unknown.
    let meanwhile = ["account.unreachable", "observer.isolated"];
    assert_eq!(types(&world).await, meanwhile, "as long as nobody can look that is all that is said");
    world.provider.heals();
    world.live(minutes(60)).await;
    let told = gaps(&world, from).await;
    let [instances, realms] = &told[..] else { panic!("{told:?}") };
    for (gap, collection) in [(instances, "instances"), (realms, "realms")] {
        assert_eq!((gap.0.as_str(), gap.1, gap.3.as_str()), (collection, 0, "provider"));
        assert!((60..75).contains(&gap.2), "{gap:?}");
    }
    let mut said = types(&world).await;
    said.sort();
    let expected = [GAP, GAP, "account.reachable", "account.unreachable", "observer.isolated", "observer.rejoined"];
    assert_eq!(said, expected, "and nothing of any instance");
    let log_now = log(&world).await;
    let why = |kind: &str| {
        let change = log_now.iter().find(|change| change["type"] == kind).unwrap();
        change["why"][0]["text"].as_str().unwrap().to_owned()
    };
    assert!(why(GAP).contains(" failed, the last with: "), "{}", why(GAP));
    assert!(why("account.unreachable").contains("The mock cloud fails on purpose"), "{}", why("account.unreachable"));
    assert!(
        why("account.reachable").starts_with("nobody could look from 2026-11-21T10:0"),
        "{}",
        why("account.reachable")
    );
    let states: Vec<_> = log_now.iter().filter(|change| change["resource"]["id"] == "account").collect();
    assert_eq!(
        (&states[0]["to"]["state"], &states[1]["from"]["state"]),
        (&json!("UNREACHABLE"), &json!("UNREACHABLE"))
    );
    assert_eq!((&states[0]["resource"]["revision"], &states[1]["resource"]["revision"]), (&json!(1), &json!(2)));
    assert_eq!(states[1]["observed"]["before"], states[0]["observed"]["before"], "the last good look");

    // The operator heard of it, signed; who has a hook on the instance did not, and nor has anything waiting.
    let all = posted(&world, "/ops");
    assert_eq!(all.len(), 6);
    assert!(all[0].json()["resource"]["href"].as_str().unwrap().ends_with("/api;driver=mock;provider=default"));
    let posted: Vec<_> = all.into_iter().filter(|post| post.json()["type"] == GAP).collect();
    let mut hrefs: Vec<_> =
        posted.iter().map(|post| post.json()["resource"]["href"].as_str().unwrap().to_owned()).collect();
    hrefs.sort();
    assert!(hrefs[0].ends_with("/api;driver=mock;provider=default/instances"), "{hrefs:?}");
    for request in &posted {
        assert_eq!(request.json()["type"], GAP);
        let header = |name: &str| request.header(name).unwrap();
        let key = Key::parse(SECRET).unwrap();
        let now = world.clock.now();
        deliver::verify(&key, header(ID), header(TIMESTAMP), header(SIGNATURE), &request.body, now, 100_000).unwrap();
    }
    assert_eq!(world.accepted().len(), 6);
    assert_eq!(world.feed("").await, []);
    let listed = world.get("/deliveries?collection=account").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 6, "{listed}");

    // Another outage is another gap, and counts on.
    world.provider.fails(Kind::TimedOut);
    world.live(minutes(30)).await;
    world.provider.heals();
    world.live(minutes(30)).await;
    assert_eq!(world.revisions()["instances"], [1, 2]);
    assert_eq!(world.revisions()["account"], [1, 2, 3, 4]);
    world.end().await;
}

#[tokio::test]
async fn a_tracker_that_did_not_run_for_an_hour_says_so_once() {
    let mut world = watched().await;
    let from = world.clock.now();
    world.provider.set_state("inst0", "STOPPED");
    world.stop().await;
    world.clock.advance(minutes(60));
    world.start().await;
    world.live(minutes(60)).await;
    let told = gaps(&world, from).await;
    assert_eq!(told, [gap("instances", 0, 61, "tracker"), gap("realms", 0, 61, "tracker")]);
    // The gap comes before what is seen after it, in one transaction.
    let mut log = log(&world).await;
    log.retain(|change| change["resource"]["id"] != "realms");
    assert_eq!((&log[0]["type"], &log[1]["type"]), (&json!(GAP), &json!("instance.state")));
    assert_eq!((&log[0]["timestamp"], &log[0]["observed"]), (&log[1]["timestamp"], &log[1]["observed"]));
    assert_eq!(log[0]["seq"].as_u64().unwrap() + 1, log[1]["seq"].as_u64().unwrap());
    world.crash().await;
    world.clock.advance(seconds(90));
    world.start().await;
    world.live(minutes(10)).await;
    assert_eq!(gaps(&world, from).await.len(), 2, "a restart is no gap");
    world.end().await;
}

#[tokio::test]
async fn an_outage_in_which_tracker_was_stopped_has_both_reasons() {
    let mut world = watched().await;
    let from = world.clock.now();
    world.provider.fails(Kind::Unavailable);
    world.live(minutes(10)).await;
    world.stop().await;
    world.clock.advance(minutes(60));
    world.provider.heals();
    world.start().await;
    world.live(minutes(5)).await;
    assert_eq!(gaps(&world, from).await[0], gap("instances", 0, 71, "provider tracker"));
    world.end().await;
}

#[tokio::test]
async fn what_is_short_or_nobody_wanted_to_know_is_no_gap() {
    let mut world = watched().await;
    let from = world.clock.now();
    world.provider.fails(Kind::Unavailable);
    world.live(minutes(3)).await;
    world.provider.heals();
    world.live(minutes(10)).await;
    assert_eq!(gaps(&world, from).await, [], "a hiccup");

    // The hooks are removed, and a day later there is one again.
    for (path, subscriber) in [("instances/inst0", "default"), ("", "ops")] {
        assert!(world.put_hook(path, "none", &[("subscriber", subscriber)]).await.status.is_success());
    }
    world.clock.advance(minutes(24 * 60));
    world.track("inst0").await;
    world.live(minutes(10)).await;
    assert_eq!(gaps(&world, from).await, [], "nobody asked");

    // What is watched of no other collection is a first look, whenever it comes.
    world.put_hook("storage_volumes", "feed", &[]).await;
    world.live(minutes(10)).await;
    world.put_hook("storage_volumes", "none", &[]).await;
    world.live(minutes(60)).await;
    world.put_hook("storage_volumes", "feed", &[]).await;
    world.live(minutes(10)).await;
    assert_eq!(gaps(&world, from).await, [], "nor of the volumes");
    world.end().await;
}

#[tokio::test]
async fn the_time_between_the_end_of_a_hook_and_another_is_no_gap() {
    for again in ["inst0", "inst1", ""] {
        let mut world = World::new().await;
        for id in ["inst0", "inst1"] {
            world.provider.add_instance(id, "RUNNING");
        }
        world.track("inst0").await;
        world.live(minutes(2)).await;
        let from = world.clock.now();
        world.provider.remove("inst0");
        // It ends, lingers for an hour, and then nobody looks any more.
        world.live(minutes(70)).await;
        let calls = world.provider.calls();
        world.clock.advance(minutes(600));
        world.tick().await;
        assert_eq!(world.provider.calls(), calls);
        if again == "inst0" {
            world.provider.add_instance("inst0", "RUNNING");
        }
        if again.is_empty() {
            world.put_hook("instances", &world.hook(), &[]).await;
        } else {
            world.track(again).await;
        }
        world.live(minutes(10)).await;
        assert_eq!(gaps(&world, from).await, [], "{again}");
        // From now on somebody wants to know.
        world.stop().await;
        world.clock.advance(minutes(60));
        world.start().await;
        world.live(minutes(2)).await;
        assert_eq!(gaps(&world, from).await.len(), 2, "{again}");
        world.end().await;
    }
}

#[tokio::test]
async fn a_gap_that_ends_while_others_write_is_one_all_the_same() {
    let mut world = watched().await;
    let from = world.clock.now();
    world.stop().await;
    world.clock.advance(minutes(60));
    world.start().await;
    // The poller, two clients that list, and two that set hooks, all at once.
    world.begin_to_poll().await;
    let hook = world.hook();
    let (a, b, c, d) = tokio::join!(
        world.put_hook("instances", &hook, &[]),
        world.put_hook("instances", &hook, &[("subscriber", "b")]),
        world.put_hook("", &hook, &[("subscriber", "c")]),
        world.get("/instances"),
    );
    for answer in [a, b, c, d] {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    }
    world.live(minutes(30)).await;
    let told = gaps(&world, from).await;
    assert_eq!(told.iter().filter(|gap| gap.0 == "instances").count(), 1, "{told:?}");
    assert_eq!(told.len(), 2, "{told:?}");
    let seqs: Vec<_> = log(&world).await.iter().map(|change| change["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    world.end().await;
}

#[tokio::test]
async fn a_hook_on_the_account_makes_nothing_else_be_looked_at() {
    let mut world = World::new().await;
    world.put_hook("", &world.hook(), &[]).await;
    world.live(minutes(30)).await;
    let listed = world.provider.calls_of(MockCall::Instances);
    assert!((8..=14).contains(&listed), "less and less often where nothing happens: {listed}");
    assert_eq!(world.provider.calls_of(MockCall::Volumes), 0, "nor does it hear of anything in it");
    world.provider.add_instance("inst0", "RUNNING");
    world.live(minutes(6)).await;
    assert_eq!(world.feed_of_the_store().await, ["inst0 appeared, RUNNING"]);
    assert_eq!(world.accepted(), Vec::<String>::new());
    world.end().await;
}

#[tokio::test]
async fn a_hook_that_is_called_no_more_is_told_to_the_account_and_once_in_the_feed() {
    let mut world = watched().await;
    // The owner of the hook has one on the account too, of which he reads in the feed; another wants to hear of gaps only.
    world.put_hook("", "feed", &[]).await;
    let quiet = String::from(world.receiver.url("/quiet"));
    world.put_hook("", &quiet, &[("subscriber", "quiet"), ("track_events", "observation_gap")]).await;
    let id = world.hooks().await.into_iter().find(|hook| hook.shown().ends_with("/cb")).unwrap().id;
    world.provider.set_state("inst0", "STOPPED");
    world.tick().await;
    world.receiver.answers([Reply::Status(410)]);
    world.live(minutes(5)).await;

    let posted = posted(&world, "/ops");
    let [told] = &posted[..] else { panic!("{posted:?}") };
    let told = told.json();
    assert_eq!((&told["type"], &told["resource"]["id"]), (&json!("hook.disabled"), &json!(id.0)));
    assert_eq!(told["why"][0]["rule"], "gone");
    let feed = world.feed("").await;
    assert_eq!(feed, [(1, "inst0 RUNNING -> STOPPED".to_owned()), (2, format!("{id} ENABLED -> DISABLED"))]);
    let account = world.account().await.unwrap();
    let owed = world.store().undelivered(account, &Subscriber::parse("quiet").unwrap(), Seq(0), 100).await.unwrap();
    assert!(owed.is_empty(), "{owed:?}");

    // The hook on the account is one of the account itself.
    world.feed_runs_dry("").await;
    world.receiver.answers([Reply::Status(410)]);
    world.stop().await;
    world.clock.advance(minutes(60));
    world.start().await;
    world.live(minutes(5)).await;
    let feed = world.feed("?subscriber=ops").await;
    let off = feed.iter().filter(|(_, what)| what.ends_with("ENABLED -> DISABLED")).count();
    assert_eq!(off, 1, "{feed:?}");
    world.end().await;
}

#[tokio::test]
async fn the_feed_shows_a_gap_to_whoever_has_a_hook_on_the_account_and_the_log_to_everybody() {
    let mut world = World::new().await;
    world.provider.add_instance("inst0", "RUNNING");
    world.track("inst0").await;
    world.put_hook("", "feed", &[("subscriber", "ops"), ("track_token", "t1")]).await;
    world.live(minutes(2)).await;
    world.stop().await;
    world.clock.advance(minutes(60));
    world.start().await;
    world.live(minutes(2)).await;
    assert_eq!(world.feed("").await, []);
    let mine = world.get("/changes?subscriber=ops").await.json();
    let tokens: Vec<_> = mine.as_array().unwrap().iter().map(|change| (&change["type"], &change["token"])).collect();
    assert_eq!(tokens, [(&json!(GAP), &json!("t1")); 2]);
    let after = world.get("/changes?after=0").await.json();
    assert_eq!(after.as_array().unwrap().len(), 2);
    assert_eq!(after[0]["token"], Value::Null, "of a hook that is another subscriber's");
    assert_eq!(world.get("/changes?after=0&collection=account").await.json(), after);
    assert_eq!(world.get("/changes?after=0&collection=instances").await.json(), json!([]));
    let account = world.account().await.unwrap();
    let known = world.store().known(account, Collection::Instances).await.unwrap();
    assert_eq!((known.members["inst0"].revision, known.through), (0, Seq(2)), "no change of any instance");
    world.end().await;
}
