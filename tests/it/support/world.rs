//! A Tracker whose time, provider and receiver are in the test's hands. The API is reached over real HTTP and the store is
//! a real file; the poller and the deliverer run when the test says so.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracker::api;
use tracker::chance::Chance;
use tracker::clock::{Clock as _, FakeClock};
use tracker::drivers::{Driver, Drivers, Kind, Mock, MockCall, MockCloud, MockSettings, MockTimes};
use tracker::model::{
    AccountId, AccountKey, Announced, Credentials, Declared, DriverId, Fault, FaultKind, Hook, Instance, InstanceId,
    InstanceState, Login, Realm, RealmState, Seq, Subscriber,
};
use tracker::service::{self, Parts};
use tracker::settings::Settings;
use tracker::store::{self, KeyRing};
use tracker::tasks::{Pass as _, Report};

use super::drivers::unhurried;
use super::raw::Raw;
use super::receiver::Receiver;

/// Where every world's clock begins.
pub const NOW: &str = "2026-11-21T10:00:00Z";

pub const USER: &str = "mockuser";
pub const PASSWORD: &str = "mockpassword";

/// The signing secret that [`World::track`] sets.
pub const SECRET: &str = "whsec_dGhlIHNlY3JldCBvZiBvdXIgdGVzdHMhISE=";

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

pub struct World {
    pub clock: Arc<FakeClock>,
    pub provider: Provider,
    pub receiver: Receiver,
    pub settings: Settings,
    /// Gone with the world.
    _folder: TempDir,
    /// What stands between Tracker and the mock cloud.
    wrap: Wrap,
    running: Option<Running>,
    turns: u64,
}

type Wrap = fn(Arc<dyn Driver>) -> Arc<dyn Driver>;

struct Running {
    parts: Rooms,
    address: SocketAddr,
    base: String,
    stop: CancellationToken,
    server: JoinHandle<std::io::Result<()>>,
}

/// What is left of [`Parts`] when the API has been handed to the server.
struct Rooms {
    poll: tracker::poll::Poll,
    deliver: tracker::deliver::Deliver,
    retain: tracker::retain::Retain,
    wall: tracker::tasks::Wall,
    beat_again: tracker::tasks::Wake,
    retain_beat: tracker::retain::Beat,
    store: Arc<dyn store::Store>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|err| panic!("{err}: {}", self.text))
    }
}

/// The scripted cloud: the mock driver's own hands, with words for states.
pub struct Provider(MockCloud);

impl Provider {
    fn new(settings: MockSettings, clock: Arc<FakeClock>) -> Self {
        Self(MockCloud::new(settings, clock, &Chance::seeded(1)))
    }

    /// Adds an instance, which must be the next in the cloud's own count: `inst0`, `inst1` …
    pub fn add_instance(&self, id: &str, state: &str) {
        assert_eq!(self.0.add_instance(instance_state(state)).as_str(), id);
    }

    /// Adds an instance, whatever its id.
    pub fn add(&self, state: &str) -> String {
        self.0.add_instance(instance_state(state)).as_str().to_owned()
    }

    pub fn set_state(&self, id: &str, state: &str) {
        self.0.set_state(&InstanceId::from(id), instance_state(state));
    }

    pub fn set_addresses(&self, id: &str, public: &[&str]) {
        self.0.set_addresses(&InstanceId::from(id), public, &[]);
    }

    /// The provider will do this to it from the instant on; without one there is nothing that it will do.
    pub fn announces(&self, id: &str, what: Option<(&str, &str)>) {
        let announced = what.map(|(what, at)| Announced {
            what: what.to_owned(),
            text: "The instance is running on degraded hardware".to_owned(),
            not_before: Some(at.parse().unwrap()),
            not_after: None,
        });
        self.0.announce(&InstanceId::from(id), &announced.into_iter().collect::<Vec<_>>());
    }

    /// It disappears without trace.
    pub fn remove(&self, id: &str) {
        self.0.remove(&InstanceId::from(id));
    }

    pub fn set_realm(&self, id: &str, state: RealmState, message: Option<&str>) {
        self.0.set_realm(id, state, message);
    }

    /// The provider says this of the realm.
    pub fn declare_realm(&self, id: &str, declared: Declared) {
        self.0.declare_realm(id, declared);
    }

    /// Launches in it are refused, until told otherwise.
    pub fn refuses_launches(&self, realm: &str, kind: FaultKind, code: &str) {
        self.0.refuse_launches(realm, Fault { kind, code: code.to_owned() });
    }

    /// Every call to the provider without a name fails, and those to others do not, until told otherwise.
    pub fn goes_down(&self, kind: Kind) {
        self.0.take_down(kind);
    }

    /// The realm leaves the list.
    pub fn withdraw_realm(&self, id: &str) {
        self.0.withdraw_realm(id);
    }

    /// What there is, without Tracker. Fails as every call does while they fail.
    pub async fn instances(&self) -> Vec<Instance> {
        Mock::of(self.0.clone()).instances(&login()).await.unwrap()
    }

    /// What there is, without Tracker.
    pub async fn realms(&self) -> Vec<Realm> {
        Mock::of(self.0.clone()).realms(&login()).await.unwrap()
    }

    /// Every call fails, until told otherwise.
    pub fn fails(&self, kind: Kind) {
        for call in MockCall::ALL {
            self.0.fail(call, MockTimes::UntilHealed, kind);
        }
    }

    /// Looks for instances by id fail, until told otherwise.
    pub fn fails_looks(&self) {
        self.0.fail(MockCall::Look, MockTimes::UntilHealed, Kind::Unavailable);
    }

    /// Every call of the kind fails, until told otherwise.
    pub fn fails_all(&self, call: MockCall, kind: Kind) {
        self.0.fail(call, MockTimes::UntilHealed, kind);
    }

    /// The next call of the kind fails.
    pub fn fails_next(&self, call: MockCall, kind: Kind) {
        self.0.fail(call, MockTimes::Next(1), kind);
    }

    pub fn heals(&self) {
        self.0.heal();
    }

    /// Another user, without instances.
    pub fn add_user(&self, user: &str, password: &str) {
        self.0.set_password(user, password);
    }

    /// How often it was asked for anything.
    pub fn calls(&self) -> usize {
        self.0.calls().len()
    }

    /// How often it was asked for this.
    pub fn calls_of(&self, kind: MockCall) -> usize {
        self.0.calls().iter().filter(|call| call.kind == kind).count()
    }
}

fn login() -> Login {
    let credentials = Credentials { user: USER.to_owned(), password: PASSWORD.into() };
    Login { driver: DriverId::new("mock"), provider: None, credentials }
}

fn instance_state(word: &str) -> InstanceState {
    use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping, Unknown};
    let all = [Pending, Running, Stopping, Stopped, Finish, Error, Unknown];
    all.into_iter().find(|state| state.as_str() == word).unwrap_or_else(|| panic!("{word} is no state"))
}

impl World {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With settings of one's own.
    pub async fn with(edit: impl FnOnce(&mut Settings)) -> Self {
        Self::around(|mock| mock, edit).await
    }

    /// With the four instances of the reference in the mock cloud, as Deltacloud's suites expect them.
    pub async fn reference(edit: impl FnOnce(&mut api::Settings)) -> Self {
        Self::with(|settings| {
            settings.drivers.mock.fixture = true;
            settings.reads = tracker::reads::Settings::default();
            edit(&mut settings.api);
        })
        .await
    }

    /// With something between Tracker and the mock cloud, and settings of one's own.
    ///
    /// There is the EC2 driver too; what it is asked arrives at the receiver, unless settings say otherwise.
    pub async fn around(wrap: Wrap, edit: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let loopback: Vec<_> = vec!["127.0.0.0/8".parse().unwrap()];
        let mut settings = Settings::default();
        settings.store.url = format!("sqlite:{}", folder.path().join("tracker.db").display());
        settings.store.key_ring = folder.path().join("tracker.keys").display().to_string();
        settings.drivers.mock = MockSettings { fixture: false, calls_kept: 1_000_000, ..MockSettings::default() };
        settings.drivers.ec2.endpoint = Some(receiver.url("/"));
        unhurried(&mut settings.drivers);
        settings.drivers.allow_networks.clone_from(&loopback);
        settings.deliver.allow_networks = loopback;
        settings.poll.absence.young_for_ms = 0;
        // The clock stands still while a test's hands move the cloud; [`World::reference`] reads as users do.
        settings.reads.max_age_ms = 0;
        edit(&mut settings);
        let clock = Arc::new(FakeClock::at(NOW.parse().unwrap()));
        let provider = Provider::new(settings.drivers.mock.clone(), clock.clone());
        let mut world = Self { clock, provider, receiver, settings, _folder: folder, wrap, running: None, turns: 0 };
        world.start().await;
        world
    }

    /// Starts Tracker on the world's store.
    pub async fn start(&mut self) {
        self.turns += 1;
        let chance = Arc::new(Chance::seeded(self.turns));
        let keys = KeyRing::load_or_create(&self.settings.store, &chance).unwrap();
        let store = self.open(keys).await;
        store.release_claims().await.unwrap();
        let drivers = self.drivers(chance.clone());
        let parts = Parts::new(&self.settings, store, drivers, self.clock.clone(), chance).unwrap();
        let Parts { api, poll, deliver, retain, retain_beat, wall, beat_again, store, .. } = parts;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let base = format!("http://{address}/api");
        let stop = CancellationToken::new();
        let (router, api_settings, stopped) = (api::router(api), self.settings.api.clone(), stop.clone());
        let server = tokio::spawn(async move { api::serve(listener, router, &api_settings, stopped).await });
        self.running = Some(Running {
            parts: Rooms { poll, deliver, retain, wall, beat_again, retain_beat, store },
            address,
            base,
            stop,
            server,
        });
    }

    /// The real ones, with the world's hands on the mock cloud.
    fn drivers(&self, chance: Arc<Chance>) -> Drivers {
        let outbound = service::drivers_outbound(&self.settings).unwrap();
        let all = Drivers::new(&self.settings.drivers, &outbound, self.clock.clone(), chance);
        let mock = (self.wrap)(Arc::new(Mock::of(self.provider.0.clone())));
        let others = all.iter().filter(|(id, _)| id.as_str() != "mock").map(|(_, driver)| driver.clone());
        Drivers::of(others.chain([mock]))
    }

    /// Opens the store. What a crash left running is let go of a moment later, so that is waited for.
    async fn open(&self, keys: KeyRing) -> Arc<dyn store::Store> {
        for _ in 0..100_000 {
            match store::open(&self.settings.store, keys.clone()).await {
                Err(store::Error::InUse { .. }) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
        panic!("the store of a Tracker that crashed is never let go");
    }

    /// Ends Tracker without a word, as a power failure would: nothing that was under way is brought to its end.
    pub async fn crash(&mut self) {
        let Running { parts, server, .. } = self.running.take().expect("Tracker runs");
        server.abort();
        let _ = server.await;
        drop(parts);
    }

    /// Stops Tracker as an operator would: what is under way comes to its end.
    pub async fn stop(&mut self) {
        let Running { parts, stop, server, .. } = self.running.take().expect("Tracker runs");
        stop.cancel();
        drop(parts);
        server.await.expect("the server did not panic").unwrap();
    }

    /// Ends the world; fails when something went wrong that no assertion looked at.
    pub async fn end(mut self) {
        if self.running.is_some() {
            self.stop().await;
        }
    }

    /// To say exactly what a test wants said.
    pub fn raw(&self) -> Raw {
        Raw(self.running.as_ref().expect("Tracker runs").address)
    }

    pub fn base(&self) -> &str {
        &self.running.as_ref().expect("Tracker runs").base
    }

    pub fn store(&self) -> &dyn store::Store {
        self.running.as_ref().expect("Tracker runs").parts.store.as_ref()
    }

    /// Looks at all that is due, to the end.
    pub async fn poll(&mut self) -> Report {
        let now = self.clock.now();
        let poll = &mut self.running.as_mut().expect("Tracker runs").parts.poll;
        let report = poll.pass(now).await.unwrap();
        poll.settle().await;
        report
    }

    /// Lets Tracker look at the clock. `true`: the beats begin anew.
    pub async fn look_at_the_clock(&mut self) -> bool {
        let now = self.clock.now();
        let Rooms { wall, beat_again, .. } = &mut self.running.as_mut().expect("Tracker runs").parts;
        wall.pass(now).await.unwrap();
        futures_util::FutureExt::now_or_never(beat_again.notified()).is_some()
    }

    /// Starts to look at what is due and does not wait for the end of it.
    pub async fn begin_to_poll(&mut self) {
        let now = self.clock.now();
        self.running.as_mut().expect("Tracker runs").parts.poll.pass(now).await.unwrap();
    }

    /// Polls as the cron tick would: everything healthy is due, at once.
    pub async fn tick(&mut self) {
        for collection in tracker::model::Collection::ALL {
            self.store()
                .bring_forward(collection, self.clock.now(), Duration::ZERO, self.settings.poll.longest_rest())
                .await
                .unwrap();
        }
        self.poll().await;
    }

    /// Sends all that is due, to the end.
    pub async fn deliver(&mut self) -> Report {
        let now = self.clock.now();
        self.running.as_mut().expect("Tracker runs").parts.deliver.pass(now).await.unwrap()
    }

    /// One round of pruning, to its end.
    pub async fn prune(&mut self) {
        let now = self.clock.now();
        let Rooms { retain, retain_beat, .. } = &mut self.running.as_mut().expect("Tracker runs").parts;
        retain_beat.ring();
        while retain.pass(now).await.unwrap().next_due_at.is_some() {}
        assert_eq!(retain.pass(now).await.unwrap(), Report::default(), "between rounds it does nothing");
    }

    /// Starts to send what is due and stops in the middle when `until` is ready.
    pub async fn deliver_until(&mut self, until: impl Future<Output = ()>) {
        let ended = self.deliver_or(until).await;
        assert!(ended.is_none(), "the pass came to its end: {ended:?}");
    }

    /// As [`World::deliver_until`], and the pass may also come to its end before.
    pub async fn deliver_or(&mut self, until: impl Future<Output = ()>) -> Option<Report> {
        let now = self.clock.now();
        tokio::select! {
            biased;
            report = self.running.as_mut().expect("Tracker runs").parts.deliver.pass(now) => Some(report.unwrap()),
            () = until => None,
        }
    }

    /// Lets this much time pass, polling and delivering every minute.
    pub async fn live(&mut self, time: Duration) {
        let end: Timestamp = self.clock.now() + time;
        while self.clock.now() < end {
            self.clock.advance(minutes(1));
            self.tick().await;
            self.deliver().await;
        }
    }

    /// Lets this many days pass, only delivering, every ten minutes.
    pub async fn days_of_delivery(&mut self, days: u64) {
        for _ in 0..days * 24 * 6 {
            self.clock.advance(minutes(10));
            self.deliver().await;
        }
    }

    pub fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    pub async fn request(&self, method: Method, path: &str) -> Answer {
        self.request_as(method, path, USER, PASSWORD).await
    }

    pub async fn request_as(&self, method: Method, path: &str, user: &str, password: &str) -> Answer {
        ask(self.base(), method, path, user, password).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path).await
    }

    /// Sets a hook on an instance, to the receiver, signed with [`SECRET`].
    pub async fn track(&self, id: &str) -> Answer {
        let answer = self.put_hook(&format!("instances/{id}"), &self.hook(), &[]).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer
    }

    /// Where the receiver listens.
    pub fn hook(&self) -> String {
        self.receiver.url("/cb").into()
    }

    /// `PUT` with a hook and further parameters.
    pub async fn put_hook(&self, path: &str, hook: &str, more: &[(&str, &str)]) -> Answer {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("track_hook", hook);
        if !more.iter().any(|(name, _)| *name == "track_secret") && hook.starts_with("http") {
            query.append_pair("track_secret", SECRET);
        }
        for (name, value) in more {
            query.append_pair(name, value);
        }
        self.request(Method::PUT, &format!("/{path}?{}", query.finish())).await
    }

    /// The feed as (seq, what), `inst1 RUNNING -> STOPPED`.
    pub async fn feed(&self, query: &str) -> Vec<(u64, String)> {
        let answer = self.get(&format!("/changes{query}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json().as_array().unwrap().iter().map(told).collect()
    }

    /// Waits until the subscriber has got everything. That a client has read an answer is noted a moment later. Reading
    /// is getting, so nothing else can be waited for like this.
    pub async fn feed_runs_dry(&self, query: &str) {
        let runs_dry = async { while !self.feed(query).await.is_empty() {} };
        tokio::time::timeout(seconds(20), runs_dry).await.expect("what was read is owed again and again");
    }

    /// The account of [`USER`] at the mock cloud, once something of it was tracked.
    pub async fn account(&self) -> Option<AccountId> {
        let key =
            AccountKey { driver: DriverId::new("mock"), provider: "default".to_owned(), identity: USER.to_owned() };
        self.store().find_account(&key).await.unwrap()
    }

    /// The hooks of that account.
    pub async fn hooks(&self) -> Vec<Hook> {
        match self.account().await {
            Some(account) => self.store().hooks(account).await.unwrap(),
            None => Vec::new(),
        }
    }

    /// What the store still owes the default subscriber of that account, asked without HTTP.
    pub async fn owed(&self) -> Vec<u64> {
        let account = self.account().await.expect("something was tracked");
        let owed = self.store().undelivered(account, &Subscriber::default(), Seq(0), 1_000).await.unwrap();
        owed.iter().map(|(entry, _)| entry.seq.0).collect()
    }

    /// Waits until the store owes that. That an answer was written out is noted a moment after the client has it.
    pub async fn owed_becomes(&self, expected: &[u64]) {
        let becomes = async {
            while self.owed().await != expected {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(seconds(20), becomes).await.is_err() {
            assert_eq!(self.owed().await, expected);
        }
    }

    /// All changes of that account in the store, whatever the provider says.
    pub async fn feed_of_the_store(&self) -> Vec<String> {
        let account = self.account().await.expect("something was tracked");
        let log = self.store().log_after(account, Seq(0), 1_000).await.unwrap();
        log.iter().map(|entry| format!("{} {}", entry.change.subject.id, entry.change.news)).collect()
    }

    /// What the receiver accepted, `inst1 RUNNING -> STOPPED`, in order of arrival.
    pub fn accepted(&self) -> Vec<String> {
        self.receiver.accepted_requests().iter().map(|request| told(&request.json()).1).collect()
    }

    /// For each resource the revisions the receiver accepted, in order of arrival.
    pub fn revisions(&self) -> BTreeMap<String, Vec<u64>> {
        let mut revisions = BTreeMap::<String, Vec<u64>>::new();
        for request in self.receiver.accepted_requests() {
            let body = request.json();
            let id = body["resource"]["id"].as_str().unwrap().to_owned();
            revisions.entry(id).or_default().push(body["resource"]["revision"].as_u64().unwrap());
        }
        revisions
    }
}

/// A change in short.
pub fn told(change: &Value) -> (u64, String) {
    let side = |side: &Value| side["state"].as_str().unwrap_or("nothing").to_owned();
    let id = change["resource"]["id"].as_str().unwrap();
    (change["seq"].as_u64().unwrap(), format!("{id} {} -> {}", side(&change["from"]), side(&change["to"])))
}

/// Asks the Tracker at `base`, as long as it runs.
pub async fn ask(base: &str, method: Method, path: &str, user: &str, password: &str) -> Answer {
    let request = client().request(method, format!("{base}{path}")).basic_auth(user, Some(password));
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    Answer { status, headers, text: answer.text().await.unwrap() }
}

/// A client of the tests' own: no guard, as it only talks to this machine.
#[expect(clippy::disallowed_methods, reason = "tests talk to this machine, which the guard would refuse")]
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
