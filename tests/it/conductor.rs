//! The example for Conductor (`tests/recipes/conductor.py`, `design/conductor.md`): its tables end as the provider is, whatever
//! happened, and no failure is ever read as a machine that vanished.

mod stage;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proptest::prelude::*;
use reqwest::{Method, StatusCode};
use tracker::drivers::Kind;
use tracker::model::{Address, Collection, InstanceState, RealmState, Scope};
use tracker::settings::Settings;

use crate::support::cases::{config, run};
use crate::support::world::{client, minutes, seconds};
use stage::{Manner, Stage, Tables, Ways, python};

/// Those that come and go. A realm that comes back under another name would show: a name alone is no news, nor was it to Conductor.
const REALMS: [&str; 3] = ["ap", "ca", "sa"];

#[derive(Clone, Debug)]
enum Step {
    /// An instance, by number among those there are, gets another state.
    Turn(prop::sample::Index, usize),
    /// And other addresses.
    Move(prop::sample::Index, usize),
    Add,
    Vanish(prop::sample::Index),
    /// Through the API: a machine is created; started, stopped or destroyed, as its state allows.
    Create,
    Act(prop::sample::Index, bool),
    /// A realm flips, or comes back.
    Flip(usize),
    Withdraw(usize),
    Fail(usize),
    Heal,
    Look,
    Wait(u64),
    Prune,
    RestartTracker,
    /// The example is killed, or comes back.
    Kill,
    Start,
    Callbacks(Manner),
    Deliver,
    Work,
    /// Somebody else reads the feed as if he were Conductor: what he read is not called back any more.
    Steal,
    Redeliver(u64),
    Recover,
    Resync,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    let manner = prop_oneof![3 => Just(Manner::Passes), 1 => Just(Manner::Refuses), 2 => Just(Manner::LosesAnswer), 1 => Just(Manner::Twice)];
    prop_oneof![
        10 => (index(), 0..STATES.len()).prop_map(|(which, state)| Step::Turn(which, state)),
        2 => (index(), 0..3_usize).prop_map(|(which, addresses)| Step::Move(which, addresses)),
        2 => Just(Step::Add),
        2 => index().prop_map(Step::Vanish),
        1 => Just(Step::Create),
        3 => (index(), any::<bool>()).prop_map(|(which, destroy)| Step::Act(which, destroy)),
        3 => (0..REALMS.len()).prop_map(Step::Flip),
        1 => (0..REALMS.len()).prop_map(Step::Withdraw),
        1 => (0..FAILURES.len()).prop_map(Step::Fail),
        2 => Just(Step::Heal),
        10 => Just(Step::Look),
        3 => (1..1_000_u64).prop_map(Step::Wait),
        3 => Just(Step::Prune),
        1 => Just(Step::RestartTracker),
        1 => Just(Step::Kill),
        2 => Just(Step::Start),
        3 => manner.prop_map(Step::Callbacks),
        6 => Just(Step::Deliver),
        6 => Just(Step::Work),
        1 => Just(Step::Steal),
        1 => (1..40_u64).prop_map(Step::Redeliver),
        1 => Just(Step::Recover),
        1 => Just(Step::Resync),
    ]
}

const STATES: [&str; 7] = ["PENDING", "RUNNING", "STOPPING", "STOPPED", "ERROR", "UNKNOWN", "FINISH"];
const FAILURES: [Kind; 4] = [Kind::Unavailable, Kind::TimedOut, Kind::Throttled { after: None }, Kind::Denied];

struct Life {
    stage: Stage,
    made: usize,
    /// What there is.
    there: BTreeMap<String, &'static str>,
    realms: BTreeMap<String, bool>,
    /// What was ever gone.
    gone: BTreeSet<String>,
    withdrawn: BTreeSet<String>,
    /// The provider ever did.
    failed: bool,
    story: Vec<String>,
}

impl Life {
    async fn begin(stage: Stage) -> Self {
        let mut life = Self {
            stage,
            made: 0,
            there: BTreeMap::new(),
            realms: BTreeMap::new(),
            gone: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            failed: false,
            story: vec![],
        };
        for realm in 0..REALMS.len() {
            life.flip(realm);
        }
        for _ in 0..3 {
            life.add();
        }
        life.stage.start().await;
        assert_eq!(life.stage.work().await, ["listed instances", "listed realms"]);
        life
    }

    fn pick(&self, which: prop::sample::Index) -> Option<String> {
        let ids: Vec<_> = self.there.keys().cloned().collect();
        (!ids.is_empty()).then(|| which.get(&ids).clone())
    }

    /// It may be the id of one that went.
    fn add(&mut self) {
        if self.made < 9 {
            self.there.insert(self.stage.world.provider.add("RUNNING"), "RUNNING");
            self.made += 1;
        }
    }

    fn turn(&mut self, id: String, state: &'static str) {
        self.stage.world.provider.set_state(&id, state);
        if state == "FINISH" {
            self.gone.insert(id.clone());
        }
        self.there.insert(id, state);
    }

    fn flip(&mut self, realm: usize) {
        let available = self.realms.entry(REALMS[realm].to_owned()).or_default();
        *available = !*available;
        let state = if *available { RealmState::Available } else { RealmState::Unavailable };
        self.stage.world.provider.set_realm(REALMS[realm], state, None);
    }

    async fn create(&mut self) {
        if self.made < 9 {
            let answer = self.stage.world.request(Method::POST, "/instances?image_id=img1&format=json").await;
            if answer.status == StatusCode::CREATED {
                let id = answer.json()["instance"]["id"].as_str().unwrap().to_owned();
                self.there.insert(id, "RUNNING");
                self.made += 1;
            }
        }
    }

    async fn act(&mut self, id: String, destroy: bool) {
        let (method, path, state) = match self.there[&id] {
            "RUNNING" => (Method::POST, format!("/instances/{id}/stop"), Some("STOPPED")),
            "STOPPED" if destroy => (Method::DELETE, format!("/instances/{id}"), None),
            "STOPPED" => (Method::POST, format!("/instances/{id}/start"), Some("RUNNING")),
            _ => return,
        };
        if self.stage.world.request(method, &path).await.status.is_success() {
            match state {
                Some(state) => drop(self.there.insert(id, state)),
                None => self.forget(&id),
            }
        }
    }

    fn forget(&mut self, id: &str) {
        self.there.remove(id);
        self.gone.insert(id.to_owned());
    }

    async fn take(&mut self, step: Step) {
        self.story.push(format!("{step:?}"));
        let world = &mut self.stage.world;
        match step {
            Step::Turn(which, state) => {
                if let Some(id) = self.pick(which) {
                    self.turn(id, STATES[state]);
                }
            }
            Step::Move(which, addresses) => {
                if let Some(id) = self.pick(which) {
                    let all = ["a.example", "192.0.2.7", "2001:db8::7"];
                    self.stage.world.provider.set_addresses(&id, &all[addresses..]);
                }
            }
            Step::Add => self.add(),
            Step::Vanish(which) => {
                if let Some(id) = self.pick(which) {
                    self.stage.world.provider.remove(&id);
                    self.forget(&id);
                }
            }
            Step::Create => self.create().await,
            Step::Act(which, destroy) => {
                if let Some(id) = self.pick(which) {
                    self.act(id, destroy).await;
                }
            }
            Step::Flip(realm) => self.flip(realm),
            Step::Withdraw(realm) => {
                world.provider.withdraw_realm(REALMS[realm]);
                self.realms.remove(REALMS[realm]);
                self.withdrawn.insert(REALMS[realm].to_owned());
            }
            Step::Fail(kind) => {
                world.provider.fails(FAILURES[kind]);
                self.failed = true;
            }
            Step::Heal => world.provider.heals(),
            Step::Look => self.look().await,
            Step::Wait(secs) => world.clock.advance(seconds(secs)),
            Step::Prune => world.prune().await,
            Step::RestartTracker => self.stage.restart_tracker().await,
            Step::Kill => self.stage.kill().await,
            Step::Start => self.stage.start().await,
            Step::Callbacks(manner) => self.stage.callbacks(manner),
            Step::Deliver => self.stage.deliver().await,
            Step::Work => {
                let said = self.stage.work().await;
                self.story.push(format!("{said:?}"));
            }
            Step::Steal => drop(world.get("/changes?subscriber=conductor&limit=3").await),
            Step::Redeliver(seq) => self.of_hooks(|hook| format!("/deliveries/{hook}.{seq}/redeliver")).await,
            Step::Recover => self.of_hooks(|hook| format!("/hooks/{hook}/recover?since={SINCE}")).await,
            Step::Resync => self.of_hooks(|hook| format!("/hooks/{hook}/resync")).await,
        }
        self.nothing_was_invented().await;
    }

    async fn look(&mut self) {
        self.stage.world.clock.advance(seconds(60));
        self.stage.world.tick().await;
    }

    /// Asks this of both hooks, whatever comes of it.
    async fn of_hooks(&self, path: impl Fn(&str) -> String) {
        for hook in self.stage.world.hooks().await {
            self.stage.world.request(Method::POST, &path(&hook.id.0)).await;
        }
    }

    /// Nothing is gone in the tables that was not gone, whatever failed.
    async fn nothing_was_invented(&self) {
        let Tables { instances, realms, available } = self.stage.tables().await;
        for (id, (state, ..)) in instances {
            let may_be = state != "vanished" || self.gone.contains(&id);
            assert!(may_be, "{id} never went: {:#?}", self.story);
        }
        assert!(available || self.failed, "the provider never failed: {:#?}", self.story);
        for realm in REALMS {
            let may_be = realms.contains_key(realm) || self.withdrawn.contains(realm);
            assert!(may_be, "{realm} was never withdrawn: {:#?}", self.story);
        }
    }

    async fn come_to_rest(mut self) {
        self.stage.world.provider.heals();
        self.stage.callbacks(Manner::Passes);
        self.stage.start().await;
        // Credentials that were refused are tried every 15 minutes, and a realm is withdrawn when it was looked for for ten more.
        for _ in 0..30 {
            self.look().await;
        }
        let follows = self.stage.ways.follows();
        self.stage.work().await;
        if !follows {
            // What Tracker was told had arrived, and what another read in its place.
            self.of_hooks(|hook| format!("/hooks/{hook}/recover?since={SINCE}&what=all")).await;
        }
        for _ in 0..ROUNDS {
            self.stage.deliver().await;
            self.stage.work().await;
            if self.waiting().await == 0 {
                break;
            }
            self.stage.world.clock.advance(minutes(10));
        }
        assert_eq!(self.waiting().await, 0, "{:#?}", self.story);
        let tables = self.stage.tables().await;
        let truth = self.truth().await;
        assert!(tables.available, "{:#?}", self.story);
        assert_eq!(tables.realms, truth.realms, "{:#?}", self.story);
        let (gone, there): (BTreeMap<_, _>, _) =
            tables.instances.into_iter().partition(|(id, _)| !truth.instances.contains_key(id));
        assert_eq!(there, truth.instances, "{:#?}\n{:#?}", self.story, self.stage.world.feed_of_the_store().await);
        for (id, (state, ..)) in gone {
            assert_eq!(state, "vanished", "{id}: {:#?}", self.story);
        }
        self.stage.end().await;
    }

    async fn waiting(&self) -> usize {
        let answer = self.stage.world.get("/deliveries?state=waiting&subscriber=conductor").await;
        answer.json().as_array().unwrap().len()
    }

    /// What the tables are to say, of what is there. Written down here once more, in another language.
    async fn truth(&self) -> Tables {
        let joined = |addresses: &[Address]| {
            let texts: BTreeSet<_> =
                addresses.iter().map(|address| address.text.as_str()).filter(|text| !text.contains(':')).collect();
            (!texts.is_empty()).then(|| Vec::from_iter(texts).join(","))
        };
        let provider = &self.stage.world.provider;
        let mut tables = Tables::default();
        for instance in provider.instances().await {
            assert_eq!(instance.state.as_str(), self.there[instance.id.as_str()], "the hands know what they did");
            let state = match instance.state {
                InstanceState::Pending | InstanceState::Error | InstanceState::Unknown => "pending",
                InstanceState::Running => "running",
                InstanceState::Stopping => "shutting_down",
                InstanceState::Stopped => "stopped",
                InstanceState::Finish => continue,
            };
            let addresses = (joined(&instance.public_addresses), joined(&instance.private_addresses));
            tables.instances.insert(instance.id.as_str().to_owned(), (state.to_owned(), addresses.0, addresses.1));
        }
        let realms = provider.realms().await.into_iter();
        tables.realms = realms.map(|realm| (realm.id, (realm.name, realm.state == RealmState::Available))).collect();
        tables
    }
}

const SINCE: &str = "2026-11-21T00:00:00Z";
/// Of ten minutes each: as long as anything may wait for its next try.
const ROUNDS: usize = 500;

fn lives(ways: Ways, steps: Vec<Step>) {
    let Some(python) = python() else { return };
    run(async {
        let stage = Stage::set(python, ways, "ec2", |settings| {
            // What callbacks alone are not told of is not kept for them either.
            if ways.follows() {
                settings.retention.changes_max = 6;
                settings.retention.batch = 3;
                settings.feed.tail_max = 4;
            }
        })
        .await;
        let mut life = Life::begin(stage).await;
        for step in steps {
            life.take(step).await;
        }
        life.come_to_rest().await;
    });
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 10..60)
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { max_shrink_iters: 40, ..config(6) })]

    #[test]
    fn by_callbacks_alone_the_tables_end_as_the_provider_is(steps in steps()) {
        lives(Ways::Callbacks, steps);
    }

    #[test]
    fn by_the_feed_alone_the_tables_end_as_the_provider_is(steps in steps()) {
        lives(Ways::Feed, steps);
    }

    #[test]
    fn by_both_the_tables_end_as_the_provider_is(steps in steps()) {
        lives(Ways::Both, steps);
    }
}

const FIRST: [&str; 2] = ["listed instances", "listed realms"];

/// With two instances that run, and the example up.
async fn two_run(python: &Path, ways: Ways, driver: &'static str, edit: impl FnOnce(&mut Settings)) -> Stage {
    let mut stage = Stage::set(python.to_owned(), ways, driver, edit).await;
    for id in ["inst0", "inst1"] {
        stage.world.provider.add_instance(id, "RUNNING");
    }
    stage.start().await;
    assert_eq!(stage.work().await, FIRST);
    stage
}

/// `inst0` gets a state, and Tracker sees it.
async fn turn(stage: &mut Stage, state: &str) {
    stage.world.provider.set_state("inst0", state);
    look(stage, 60).await;
}

async fn look(stage: &mut Stage, after_seconds: u64) {
    stage.world.clock.advance(seconds(after_seconds));
    stage.world.tick().await;
}

async fn state(stage: &Stage) -> String {
    stage.column("inst0", "state").await.unwrap()
}

#[tokio::test]
async fn it_knows_what_it_is_told() {
    let Some(python) = python() else { return };
    let mut stage = two_run(&python, Ways::Callbacks, "", |_| {}).await;
    let hooks = stage.world.hooks().await;
    let hook = hooks.iter().find(|hook| hook.scope == Scope::Collection(Collection::Instances)).unwrap().id.0.clone();

    turn(&mut stage, "STOPPED").await;
    stage.deliver().await;
    assert_eq!(state(&stage).await, "stopped");
    stage.callbacks(Manner::LosesAnswer);
    turn(&mut stage, "RUNNING").await;
    stage.deliver().await;
    stage.callbacks(Manner::Passes);
    look(&mut stage, 60).await;
    stage.deliver().await;
    let log = stage.world.get("/changes?after=0&subscriber=test&type=state").await.json();
    let redeliver = format!("/deliveries/{hook}.{}/redeliver", log[0]["seq"]);
    assert_eq!(stage.world.request(Method::POST, &redeliver).await.status, StatusCode::ACCEPTED);
    stage.deliver().await;
    assert_eq!(state(&stage).await, "running");

    // What another read in its place is not sent to it.
    turn(&mut stage, "STOPPED").await;
    stage.world.feed_runs_dry("?subscriber=conductor").await;
    turn(&mut stage, "STOPPING").await;
    stage.deliver().await;
    assert_eq!(stage.heard, ["new", "new", "duplicate", "late", "hole"]);
    assert_eq!(stage.work().await, FIRST, "a hole leads to lists");
    assert_eq!(stage.work().await, [""; 0], "and once");

    assert_eq!(stage.world.request(Method::POST, &format!("/hooks/{hook}/test")).await.json()["status"], 204);
    stage.world.request(Method::POST, &format!("/hooks/{hook}/resync")).await;
    stage.deliver().await;
    let forged = client().post(stage.hook()).body(r#"{"resource": {}}"#).send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED);
    stage.deliver().await;
    assert_eq!(stage.heard[5..], ["test", "snapshot", "snapshot", "refused"]);
    assert_eq!(state(&stage).await, "shutting_down");
    stage.end().await;
}

#[tokio::test]
async fn a_list_does_not_undo_what_a_callback_said_meanwhile() {
    let Some(python) = python() else { return };
    let mut stage = Stage::set(python, Ways::Both, "", |_| {}).await;
    stage.world.provider.add_instance("inst0", "RUNNING");
    stage.start().await;
    assert_eq!(stage.work_while_called_back("STOPPED").await, FIRST);
    assert_eq!(state(&stage).await, "stopped");
    assert_eq!(stage.work().await, ["duplicate in the feed"]);
    assert_eq!(state(&stage).await, "stopped");
    stage.end().await;
}

#[tokio::test]
async fn where_its_place_is_no_longer_kept_it_lists_and_follows_on() {
    let Some(python) = python() else { return };
    let mut stage = two_run(&python, Ways::Feed, "", |settings| settings.retention.changes_max = 2).await;
    turn(&mut stage, "STOPPED").await;
    assert_eq!(stage.work().await, ["new in the feed"]);
    stage.kill().await;
    stage.world.provider.remove("inst1");
    for state in ["RUNNING", "STOPPED", "RUNNING", "STOPPED", "STOPPING"] {
        turn(&mut stage, state).await;
    }
    stage.world.prune().await;
    stage.start().await;
    assert_eq!(stage.work().await, ["lost the place", FIRST[0], FIRST[1]]);
    assert_eq!(state(&stage).await, "shutting_down");
    assert_eq!(stage.column("inst1", "state").await.as_deref(), Some("vanished"), "what the list lacks is gone");
    stage.world.provider.add_instance("inst1", "RUNNING");
    turn(&mut stage, "RUNNING").await;
    assert_eq!(stage.work().await, ["new in the feed", "new in the feed"]);
    assert_eq!(state(&stage).await, "running");
    assert_eq!(stage.column("inst1", "state").await.as_deref(), Some("running"), "it came back");
    stage.end().await;
}

#[tokio::test]
async fn a_list_that_names_no_place_is_not_used() {
    let Some(python) = python() else { return };
    let mut stage = two_run(&python, Ways::Feed, "", |_| {}).await;
    stage.world.provider.remove("inst1");
    stage.unplace().await;
    for _ in 0..2 {
        assert_eq!(stage.work().await, FIRST[1..], "nobody knows yet whether it is gone");
        assert_eq!(stage.column("inst1", "state").await.as_deref(), Some("running"));
    }
    look(&mut stage, 60).await;
    look(&mut stage, 60).await;
    assert_eq!(stage.work().await, FIRST);
    assert_eq!(stage.column("inst1", "state").await.as_deref(), Some("vanished"));
    stage.end().await;
}

#[tokio::test]
async fn what_was_given_up_while_it_was_down_comes_when_it_is_back() {
    let Some(python) = python() else { return };
    let mut stage = two_run(&python, Ways::Callbacks, "", |_| {}).await;
    turn(&mut stage, "PENDING").await;
    stage.deliver().await;
    stage.kill().await;
    turn(&mut stage, "STOPPED").await;
    stage.world.days_of_delivery(4).await;
    assert_eq!(stage.world.get("/deliveries?state=exhausted").await.json().as_array().unwrap().len(), 1);
    stage.start().await;
    stage.work().await;
    stage.deliver().await;
    // That nobody looked is told besides.
    stage.heard.retain(|word| word != "other");
    assert_eq!(stage.heard, ["new", "new"]);
    assert_eq!(state(&stage).await, "stopped");
    stage.end().await;
}

#[tokio::test]
async fn no_failure_of_the_provider_is_a_machine_that_vanished() {
    let Some(python) = python() else { return };
    let mut stage = two_run(&python, Ways::Both, "ec2", |_| {}).await;
    let before = stage.tables().await;
    for (kind, unreachable) in FAILURES.into_iter().zip([true, true, false, false]) {
        stage.world.provider.fails(kind);
        for _ in 0..10 {
            look(&mut stage, 400).await;
            stage.deliver().await;
            stage.work().await;
        }
        // Nor what it finds when it comes up meanwhile, and has to list.
        stage.kill().await;
        stage.start().await;
        stage.unplace().await;
        stage.work().await;
        let now = stage.tables().await;
        assert_eq!((&now.instances, &now.realms, now.available), (&before.instances, &before.realms, !unreachable));
        stage.world.provider.heals();
        for _ in 0..3 {
            look(&mut stage, 1_000).await;
        }
        stage.work().await;
        assert_eq!(stage.tables().await, before);
    }
    stage.end().await;
}

/// Of the provider types that Conductor knows, and what their machines want.
const DRIVERS: [(&str, bool, &str); 5] = [
    ("rhevm", true, "vanished"),
    ("vsphere", true, "vanished"),
    ("ec2", false, "stopped"),
    ("openstack", false, "stopped"),
    ("mock", false, "vanished"),
];

#[tokio::test]
async fn what_the_checker_did_besides_watching_is_done_where_it_is_wanted() {
    let Some(python) = python() else { return };
    for (driver, wants, word) in DRIVERS {
        let mut stage = two_run(&python, Ways::Feed, driver, |_| {}).await;
        let does = |said: &[String], what: &str| said.iter().any(|said| said == what);
        // One that nobody made through Conductor stays as it is.
        stage.world.provider.set_state("inst1", "STOPPED");
        look(&mut stage, 1).await;
        stage.work().await;

        stage.task("inst0", "create", "finished").await;
        turn(&mut stage, "PENDING").await;
        assert!(!does(&stage.work().await, "start inst0 202"), "{driver}: it is being made");
        turn(&mut stage, "STOPPED").await;
        assert_eq!(does(&stage.work().await, "start inst0 202"), wants, "{driver}: made, and stopped");
        assert!(!does(&stage.work().await, "start inst0 202"), "{driver}: once");
        turn(&mut stage, "RUNNING").await;
        stage.work().await;
        turn(&mut stage, "STOPPED").await;
        assert!(!does(&stage.work().await, "start inst0 202"), "{driver}: somebody stopped it");

        turn(&mut stage, "STOPPING").await;
        assert!(!does(&stage.work().await, "stop inst0 405"), "{driver}: it may take two minutes");
        look(&mut stage, 121).await;
        // The mock cloud does not let anybody stop twice.
        assert_eq!(does(&stage.work().await, "stop inst0 405"), wants, "{driver}: it is stuck");
        let error = stage.column("inst0", "last_error").await;
        assert_eq!(error.as_deref(), wants.then_some("stop was answered with 405"), "{driver}");
        assert!(!does(&stage.work().await, "stop inst0 405"), "{driver}: not at once again");
        look(&mut stage, 60).await;
        assert_eq!(does(&stage.work().await, "stop inst0 405"), wants, "{driver}: in the next round");
        assert_eq!(stage.column("inst1", "state").await.as_deref(), Some("stopped"), "{driver}");

        stage.task("inst0", "stop", "finished").await;
        stage.world.provider.remove("inst0");
        look(&mut stage, 60).await;
        look(&mut stage, 60).await;
        stage.work().await;
        assert_eq!(state(&stage).await, word, "{driver}: it went, as it was asked to");
        stage.world.provider.remove("inst1");
        look(&mut stage, 60).await;
        look(&mut stage, 60).await;
        stage.work().await;
        assert_eq!(stage.column("inst1", "state").await.as_deref(), Some("vanished"), "{driver}");
        stage.end().await;
    }
}
