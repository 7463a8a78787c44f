//! List, then follow, without a hole: clients that list, follow in every way there is, crash and come back end with exactly what
//! the provider has, whatever happens to them and to Tracker.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reqwest::StatusCode;
use serde_json::Value;

use crate::support::cases::{config, run};
use crate::support::events::Events;
use crate::support::raw;
use crate::support::world::{PASSWORD, USER, World, client, seconds};

const CLIENTS: usize = 2;
const SUBSCRIBERS: [&str; CLIENTS] = ["default", "other"];

#[derive(Clone, Debug)]
enum Step {
    /// An instance, by number among those there ever were, gets another state.
    Turn(prop::sample::Index),
    Add,
    Remove(prop::sample::Index),
    Look,
    Wait(u64),
    Prune,
    /// Tracker dies and comes back.
    Restart,
    /// A client loses even what it wrote down.
    Crash(usize),
    /// `?after=` page by page: so many of at most so many changes.
    Pages(usize, usize, usize),
    /// So many events of a stream, with a place of its own in the URL or without one; the last not written down if it crashes.
    Stream {
        who: usize,
        events: usize,
        place: bool,
        crash: bool,
    },
    /// Plain `GET`, and whether it dies before it has read the answer.
    Plain(usize, bool),
    /// A long poll that finds what is there.
    Poll(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let who = 0..CLIENTS;
    prop_oneof![
        12 => any::<prop::sample::Index>().prop_map(Step::Turn),
        2 => Just(Step::Add),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
        8 => Just(Step::Look),
        2 => (1..1_000_u64).prop_map(Step::Wait),
        2 => Just(Step::Prune),
        1 => Just(Step::Restart),
        2 => who.clone().prop_map(Step::Crash),
        4 => (who.clone(), 1..4_usize, 1..6_usize).prop_map(|(who, pages, limit)| Step::Pages(who, pages, limit)),
        4 => (who.clone(), 1..6_usize, any::<bool>(), any::<bool>())
            .prop_map(|(who, events, place, crash)| Step::Stream { who, events, place, crash }),
        3 => (who.clone(), any::<bool>()).prop_map(|(who, dies)| Step::Plain(who, dies)),
        1 => who.prop_map(Step::Poll),
    ]
}

/// What a client has written down: all of it at once, as into a database.
#[derive(Clone, Debug, Default)]
struct Notes {
    /// Up to here it has everything; `None`: it has to list.
    place: Option<u64>,
    /// Revision (0: only listed) and state of each instance that is there.
    instances: BTreeMap<String, (u64, String)>,
    /// Revisions of those that went.
    gone: BTreeMap<String, u64>,
}

impl Notes {
    /// Late and repeated ones change nothing.
    fn apply(&mut self, change: &Value) {
        if change["resource"]["collection"] != "instances" {
            return;
        }
        let id = change["resource"]["id"].as_str().unwrap().to_owned();
        let revision = change["resource"]["revision"].as_u64().unwrap();
        let known = self.instances.get(&id).map(|(known, _)| *known).max(self.gone.get(&id).copied());
        if known.is_some_and(|known| known >= revision) {
            return;
        }
        match change["to"]["state"].as_str() {
            Some(state) => {
                self.instances.insert(id.clone(), (revision, state.to_owned()));
                self.gone.remove(&id);
            }
            None => {
                self.instances.remove(&id);
                self.gone.insert(id, revision);
            }
        }
    }
}

struct Life {
    world: World,
    clients: [Notes; CLIENTS],
    /// What the provider has.
    truth: BTreeMap<String, &'static str>,
    made: usize,
}

impl Life {
    async fn begin() -> Self {
        let world = World::with(|settings| {
            settings.retention.changes_max = 8;
            settings.retention.batch = 3;
            settings.feed.tail_max = 4;
        })
        .await;
        let mut life = Self { world, clients: Default::default(), truth: BTreeMap::new(), made: 0 };
        for _ in 0..3 {
            life.add();
        }
        for subscriber in SUBSCRIBERS {
            let put = life.world.put_hook("instances", "feed", &[("subscriber", subscriber)]).await;
            assert_eq!(put.status, StatusCode::OK);
        }
        life.look().await;
        life
    }

    fn add(&mut self) {
        // It may be the id of one that went.
        self.truth.insert(self.world.provider.add("RUNNING"), "RUNNING");
        self.made += 1;
    }

    async fn look(&mut self) {
        self.world.clock.advance(seconds(60));
        self.world.tick().await;
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Turn(index) if !self.truth.is_empty() => {
                let ids: Vec<_> = self.truth.keys().cloned().collect();
                let id = index.get(&ids);
                let state = if self.truth[id] == "RUNNING" { "STOPPED" } else { "RUNNING" };
                self.world.provider.set_state(id, state);
                self.truth.insert(id.clone(), state);
            }
            Step::Remove(index) if !self.truth.is_empty() => {
                let ids: Vec<_> = self.truth.keys().cloned().collect();
                let id: &String = index.get(&ids);
                self.world.provider.remove(id);
                self.truth.remove(id);
            }
            Step::Turn(_) | Step::Remove(_) => {}
            Step::Add if self.made < 9 => self.add(),
            Step::Add => {}
            Step::Look => self.look().await,
            Step::Wait(secs) => self.world.clock.advance(seconds(secs)),
            Step::Prune => self.world.prune().await,
            Step::Restart => {
                self.world.crash().await;
                self.world.start().await;
            }
            Step::Crash(who) => self.clients[who] = Notes::default(),
            Step::Pages(who, pages, limit) => {
                for _ in 0..pages {
                    if !self.page(who, limit, "").await {
                        break;
                    }
                }
            }
            Step::Stream { who, events, place, crash } => self.stream(who, events, place, crash).await,
            Step::Plain(who, dies) => self.plain(who, dies).await,
            Step::Poll(who) => {
                // Only where something is there: nothing comes while the test waits.
                self.look().await;
                let _ = self.page(who, 100, "&wait=1").await;
            }
        }
    }

    /// The list, and the place that goes with it.
    async fn list(&mut self, who: usize) {
        let mut answer = self.world.get("/instances?format=json").await;
        // Without a place while one that was there is missing and not found gone yet.
        for _ in 0..5 {
            if answer.headers.contains_key("tracker-seq") {
                break;
            }
            self.look().await;
            answer = self.world.get("/instances?format=json").await;
        }
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let place = answer.headers["tracker-seq"].to_str().unwrap().parse().unwrap();
        let list = answer.json()["instances"].as_array().unwrap().clone();
        let row = |row: &Value| {
            let revision = row["tracking"]["revision"].as_u64().unwrap_or(0);
            (row["id"].as_str().unwrap().to_owned(), (revision, row["state"].as_str().unwrap().to_owned()))
        };
        self.clients[who] =
            Notes { place: Some(place), instances: list.iter().map(row).collect(), gone: BTreeMap::new() };
    }

    async fn placed(&mut self, who: usize) -> u64 {
        if self.clients[who].place.is_none() {
            self.list(who).await;
        }
        self.clients[who].place.expect("it was listed")
    }

    /// `false`: there was nothing, or it had to list.
    async fn page(&mut self, who: usize, limit: usize, more: &str) -> bool {
        let place = self.placed(who).await;
        let path = format!("/changes?after={place}&limit={limit}&subscriber={}{more}", SUBSCRIBERS[who]);
        let answer = self.world.get(&path).await;
        if answer.status == StatusCode::GONE {
            self.list(who).await;
            return false;
        }
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        let changes = answer.json().as_array().unwrap().clone();
        for change in &changes {
            self.clients[who].apply(change);
        }
        self.clients[who].place = Some(answer.headers["tracker-seq"].to_str().unwrap().parse().unwrap());
        !changes.is_empty()
    }

    async fn stream(&mut self, who: usize, events: usize, with_place: bool, crash: bool) {
        let place = self.placed(who).await;
        let (_, last) = self.world.store().log_bounds(self.world.account().await.unwrap()).await.unwrap();
        let subscriber = SUBSCRIBERS[who];
        let (query, id) = if with_place {
            (format!("?after={place}&subscriber={subscriber}"), None)
        } else {
            (format!("?subscriber={subscriber}"), Some(place))
        };
        // Without a place in the URL only what is owed comes, and of what was pruned nobody says so: the oldest number does.
        let oldest = self.world.get("/changes?limit=1&subscriber=nobody").await.headers["tracker-oldest-seq"].clone();
        if place + 1 < oldest.to_str().unwrap().parse::<u64>().unwrap() {
            return self.list(who).await;
        }
        let mut stream = Events::open(self.world.base(), &query, id).await;
        let mut notes = self.clients[who].clone();
        let mut seen = place;
        for _ in 0..events {
            // Everything of this account is owed to both, so all of the log comes either way.
            if seen >= last.0 || (!with_place && self.owed_after(who, seen).await == 0) {
                break;
            }
            let event = stream.next().await.expect("there is more");
            assert!(event.id > seen, "in order and once");
            notes.apply(&event.data);
            seen = event.id;
        }
        notes.place = Some(seen);
        if !crash {
            self.clients[who] = notes;
        }
    }

    async fn owed_after(&self, who: usize, place: u64) -> usize {
        let subscriber = tracker::model::Subscriber::parse(SUBSCRIBERS[who]).unwrap();
        let account = self.world.account().await.unwrap();
        let place = tracker::model::Seq(place);
        self.world.store().undelivered(account, &subscriber, place, 100).await.unwrap().len()
    }

    async fn plain(&mut self, who: usize, dies: bool) {
        let place = self.placed(who).await;
        if dies {
            // With the answer in the system's buffers, of which it has read nothing.
            let path = format!("/api/changes?subscriber={}", SUBSCRIBERS[who]);
            let stream = raw::asked(self.world.base(), &path, &[raw::GOOD], None).await;
            stream.readable().await.unwrap();
            return;
        }
        let url = format!("{}/changes?subscriber={}", self.world.base(), SUBSCRIBERS[who]);
        let answer = client().get(url).basic_auth(USER, Some(PASSWORD)).send().await.unwrap();
        let header = |name: &str| answer.headers()[name].to_str().unwrap().parse::<u64>().unwrap();
        let (oldest, through) = (header("tracker-oldest-seq"), header("tracker-seq"));
        let changes: Vec<Value> = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        if place + 1 < oldest {
            return self.list(who).await;
        }
        // Owed may also be what came before the list that it began with.
        for change in changes.iter().filter(|change| change["seq"].as_u64() > Some(place)) {
            self.clients[who].apply(change);
        }
        // What was owed came, and nothing else was before it.
        self.clients[who].place = Some(through.max(place));
    }

    /// For whoever has to find out why.
    async fn story(&self) -> String {
        let account = self.world.account().await.unwrap();
        let log = self.world.store().log_after(account, tracker::model::Seq(0), 1_000).await.unwrap();
        let line = |entry: &tracker::model::Entry| {
            let subject = &entry.change.subject;
            format!("{} {} r{} {}", entry.seq, subject.id, subject.revision, entry.change.news)
        };
        format!("{:#?}\n{:#?}", log.iter().map(line).collect::<Vec<_>>(), self.clients)
    }

    async fn come_to_rest(mut self, ways: [u8; CLIENTS]) {
        for _ in 0..4 {
            self.look().await;
        }
        for (who, way) in ways.into_iter().enumerate() {
            match way % 3 {
                0 => while self.page(who, 3, "").await {},
                1 => {
                    self.plain(who, false).await;
                    while self.page(who, 100, "").await {}
                }
                _ => {
                    self.stream(who, 1_000, true, false).await;
                    while self.page(who, 100, "").await {}
                }
            }
            let mirror: BTreeMap<_, _> =
                self.clients[who].instances.iter().map(|(id, (_, state))| (id.as_str(), state.as_str())).collect();
            let truth: BTreeMap<_, _> = self.truth.iter().map(|(id, state)| (id.as_str(), *state)).collect();
            assert_eq!(mirror, truth, "client {who}, by way {way}: {}", self.story().await);
        }
        self.world.end().await;
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { max_shrink_iters: 40, ..config(12) })]

    #[test]
    fn every_client_ends_with_what_the_provider_has(
        steps in prop::collection::vec(step(), 10..60),
        ways in prop::array::uniform2(any::<u8>()),
    ) {
        run(async {
            let mut life = Life::begin().await;
            for step in steps {
                life.take(step).await;
            }
            life.come_to_rest(ways).await;
        });
    }
}
