//! An EC2 that goes wrong at a test's word: moto behind `tests/moto/faults.py`, reached by whoever speaks EC2, the driver and
//! the World among them.
//!
//! ```ignore
//! let Some(cloud) = Cloud::new("the_name_of_the_test").await else { return }; // skipped, and said so
//! let mut world = World::with(|settings| cloud.settle(settings)).await;       // EC2 calls go to it
//! let ids = cloud.launch("us-east-1a", 3).await;                              // by somebody else
//! cloud.track(&world, &format!("instances/{}", ids[0])).await;                // PUT with the World's receiver
//!
//! let rule = cloud.rule(Rule::throttled().of(0.5).on(&["DescribeInstances"])).await; // every other one
//! cloud.disrupt("us-east-1b").await;                                          // region-wide describes fail
//! cloud.force(&ids[1..2], "terminated", Some("Server.InternalError")).await;
//! cloud.hide(&ids[2..], None).await;                                          // not found, until `show`
//! world.tick().await;
//! assert_eq!(cloud.feed(&world).await, ["i-… RUNNING -> FINISH"]);
//! assert!(rule.struck().await > 0);
//! rule.lift().await;
//! ```
//!
//! Each [`Cloud`] is an account of its own, in one region, of one server that all tests share, so tests may run side by side; nothing of one
//! account is wrong in another. Rules are tried in the order in which they were made, and the first that strikes is the only one.
//! Nothing waits by the clock but [`Rule::late`]; what [`Rule::hangs`] holds goes on when the rule is lifted, or after a minute.
//! The server's clock is whatever its caller signs with, so a World's clock may say any time.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tracker::drivers::Ec2Settings;
use tracker::model::{AccountKey, Credentials, DriverId, ExposeSecret as _, Login};
use tracker::settings::Settings;
use url::Url;

use super::moto::{Moto, OWN_IMAGE};
use super::world::{Answer, SECRET, World, client, told};

/// Where everything of a new [`Cloud`] is. Its zones are `us-east-1a` to `us-east-1f`.
pub(crate) const REGION: &str = "us-east-1";

/// One account at EC2 in one region, and hands on what goes wrong in it.
pub(crate) struct Cloud {
    endpoint: String,
    client: reqwest::Client,
    key: Credentials,
    region: &'static str,
}

/// A call as it arrived, whether or not it was let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Called {
    pub(crate) action: String,
    /// The access key id that signed it.
    pub(crate) key: String,
    /// The instances it named, in order; none if it named none.
    pub(crate) ids: Vec<String>,
    /// A rule or a disrupted zone struck it.
    pub(crate) failed: bool,
}

impl Cloud {
    /// `None`: there is no Python with moto, which has been said; the test is to return.
    pub(crate) async fn new(test: &str) -> Option<Self> {
        let test = test.to_owned();
        let moto = tokio::task::spawn_blocking(move || Moto::shared(&test)).await.expect("what it said is above")?;
        Some(Self { endpoint: moto.endpoint().to_owned(), client: client(), key: moto.new_account(), region: REGION })
    }

    /// The same account in another region, which to Tracker is another account. Zones of most are three, `eu-west-1a` to `c`.
    pub(crate) fn elsewhere(&self, region: &'static str) -> Self {
        Self { endpoint: self.endpoint.clone(), client: self.client.clone(), key: self.key.clone(), region }
    }

    /// Makes EC2 this one for a World. `DryRun` is asked, and reading is not from memory.
    pub(crate) fn settle(&self, settings: &mut Settings) {
        settings.drivers.ec2 = self.settings();
        // Nobody waits for real.
        settings.drivers.pace.retry_wait_ms = 0;
    }

    pub(crate) fn settings(&self) -> Ec2Settings {
        let endpoint = Some(Url::parse(&self.endpoint).expect("a URL"));
        Ec2Settings { endpoint, dry_run_anywhere: true, ..Ec2Settings::default() }
    }

    /// The account's number, as STS says it.
    pub(crate) fn number(&self) -> &str {
        &self.key.user[8..]
    }

    /// One of the account's ten access keys; 0 is the one that everything here uses.
    pub(crate) fn key(&self, nth: u8) -> Credentials {
        Moto::key_of(&self.key, nth)
    }

    pub(crate) fn login(&self, nth_key: u8) -> Login {
        Login { driver: DriverId::new("ec2"), provider: Some(self.region.to_owned()), credentials: self.key(nth_key) }
    }

    /// What the store has the account under, once something of it was tracked.
    pub(crate) fn account_key(&self) -> AccountKey {
        let (driver, provider) = (DriverId::new("ec2"), self.region.to_owned());
        AccountKey { driver, provider, identity: self.number().to_owned() }
    }
}

/// What there is.
impl Cloud {
    /// Starts instances, each of its own reservation, which run at once. In the order in which they were made.
    pub(crate) async fn launch(&self, zone: &str, count: usize) -> Vec<String> {
        let said = json!({ "do": "launch", "zone": zone, "count": count, "image": OWN_IMAGE });
        strings(&self.say(said).await["ids"])
    }

    /// Puts instances into a native state (`pending`, `running`, `stopping`, `stopped`, `shutting-down`, `terminated`), with
    /// the code of the reason (`Server.InternalError`); `None`: what a user's own doing gives.
    pub(crate) async fn force(&self, ids: &[String], native_state: &str, code: Option<&str>) {
        self.say(json!({ "do": "force", "ids": ids, "state": native_state, "code": code })).await;
    }

    /// What EC2's checks of the host and of the instance say (`ok`, `impaired`, `initializing`, `insufficient-data`).
    pub(crate) async fn checks(&self, ids: &[String], system: &str, instance: &str) {
        self.say(json!({ "do": "checks", "ids": ids, "system": system, "instance": instance })).await;
    }

    /// Instances that no call finds, for so many calls that would have described them (`None`: until [`Cloud::show`]). Also how
    /// one that has ended leaves the lists.
    pub(crate) async fn hide(&self, ids: &[String], calls: Option<u32>) {
        self.say(json!({ "do": "hide", "ids": ids, "calls": calls })).await;
    }

    pub(crate) async fn show(&self, ids: &[String]) {
        self.say(json!({ "do": "show", "ids": ids })).await;
    }

    /// What becomes of instances launched from now on, whoever launches them, Tracker too.
    pub(crate) async fn launches(&self, fate: Fate) {
        let Fate { zone, native_state, code, hidden, times } = fate;
        let (is_hidden, calls) = (hidden.is_some(), hidden.flatten());
        let said = json!({
            "do": "launches", "zone": zone, "state": native_state, "code": code, "hidden": is_hidden,
            "hidden_calls": calls, "times": times,
        });
        self.say(said).await;
    }
}

/// What becomes of a launch, for [`Cloud::launches`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate {
    /// `None`: in whatever zone.
    pub(crate) zone: Option<&'static str>,
    /// `None`: it runs.
    pub(crate) native_state: Option<&'static str>,
    pub(crate) code: Option<&'static str>,
    /// `Some(None)`: hidden until it is shown; `Some(Some(n))`: from the next `n` calls that describe it.
    pub(crate) hidden: Option<Option<u32>>,
    /// So many instances; `None`: every one.
    pub(crate) times: Option<u32>,
}

/// Zones.
impl Cloud {
    /// What a zone says of itself: `available`, `information`, `impaired`, `constrained`, `unavailable`, with messages.
    pub(crate) async fn zone(&self, zone: &str, native_state: &str, messages: &[&str]) {
        self.say(json!({ "do": "zone", "zone": zone, "state": native_state, "messages": messages })).await;
    }

    /// Whether it is among the zones at all.
    pub(crate) async fn list_zone(&self, zone: &str, listed: bool) {
        self.say(json!({ "do": "zone", "zone": zone, "listed": listed })).await;
    }

    /// From now on describing the instances of the region fails; only calls that name ids, all of other zones, work. What the
    /// zone says of itself stays as it is.
    pub(crate) async fn disrupt(&self, zone: &str) {
        self.say(json!({ "do": "zone", "zone": zone, "disrupted": true })).await;
    }

    pub(crate) async fn mend(&self, zone: &str) {
        self.say(json!({ "do": "zone", "zone": zone, "disrupted": false })).await;
    }
}

/// Calls.
impl Cloud {
    pub(crate) async fn rule(&self, rule: Rule) -> Active<'_> {
        let Value::Object(mut said) = rule.0 else { unreachable!("a rule is made as an object") };
        said.insert("do".to_owned(), "rule".into());
        let id = self.say(Value::Object(said)).await["rule"].as_u64().expect("a number");
        Active { cloud: self, id }
    }

    /// Every call of the account in this region so far, of all its keys, in order; those of [`Cloud`] itself are none.
    pub(crate) async fn calls(&self) -> Vec<Called> {
        let said = self.say(json!({ "do": "calls" })).await;
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let called = |call: &Value| Called {
            action: text(&call["action"]),
            key: text(&call["key"]),
            ids: strings(&call["ids"]),
            failed: call["failed"] == true,
        };
        let here = |call: &&Value| call["region"] == self.region;
        said["calls"].as_array().expect("a list").iter().filter(here).map(called).collect()
    }

    /// How often each action was called so far.
    pub(crate) async fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for call in self.calls().await {
            *counts.entry(call.action).or_default() += 1;
        }
        counts
    }

    /// A key is not known any more, to EC2 and STS.
    pub(crate) async fn revoke(&self, key: &Credentials) {
        self.say(json!({ "do": "revoke", "key": key.user })).await;
    }

    pub(crate) async fn restore(&self, key: &Credentials) {
        self.say(json!({ "do": "restore", "key": key.user })).await;
    }

    /// No rule, no fate, no hidden instance, no failing check, and zones that are well, in all regions. Instances stay as they are,
    /// and revoked keys revoked.
    pub(crate) async fn heal(&self) {
        self.say(json!({ "do": "heal" })).await;
    }

    /// Says something to `faults.py`, of this account and region.
    async fn say(&self, said: Value) -> Value {
        let Value::Object(mut said) = said else { unreachable!("all that is said is an object") };
        said.insert("account".to_owned(), self.number().into());
        said.insert("region".to_owned(), self.region.into());
        let said = Value::Object(said);
        let asked = self.client.post(format!("{}/__faults__", self.endpoint)).body(said.to_string()).send();
        let answer = asked.await.expect("moto answers");
        let (status, text) = (answer.status(), answer.text().await.expect("a body"));
        assert_eq!(status, StatusCode::OK, "{said}: {text}");
        serde_json::from_str(&text).expect("JSON")
    }
}

/// Which calls of the account in this region suffer, and how. All of them, unless narrowed.
#[derive(Clone, Debug)]
#[must_use = "it is nothing before `Cloud::rule`"]
pub(crate) struct Rule(Value);

impl Rule {
    /// In EC2's words.
    pub(crate) fn error(status: u16, code: &str) -> Self {
        Self(json!({ "error": { "status": status, "code": code } }))
    }

    pub(crate) fn throttled() -> Self {
        Self::error(503, "RequestLimitExceeded")
    }

    pub(crate) fn throttled_for(seconds: u64) -> Self {
        let error = json!({ "status": 503, "code": "RequestLimitExceeded", "retry_after": seconds });
        Self(json!({ "error": error }))
    }

    pub(crate) fn broken() -> Self {
        Self::error(500, "InternalError")
    }

    pub(crate) fn forbidden() -> Self {
        Self::error(403, "UnauthorizedOperation")
    }

    /// A gateway's page, which is not EC2's, and claims success.
    pub(crate) fn portal() -> Self {
        Self(json!({ "body": "<html>Please sign in</html>" }))
    }

    /// The first half of the right answer.
    pub(crate) fn cut() -> Self {
        Self(json!({ "cut": true }))
    }

    /// The right answer, once the rule is lifted.
    pub(crate) fn hangs() -> Self {
        Self(json!({ "hold": true }))
    }

    /// The right answer, so much later; at most five seconds.
    pub(crate) fn late(ms: u64) -> Self {
        Self(json!({ "delay_ms": ms }))
    }

    /// Only these actions.
    pub(crate) fn on(self, actions: &[&str]) -> Self {
        self.with("actions", json!(actions))
    }

    /// Only what is about this zone: it places there, or names an instance of it.
    pub(crate) fn in_zone(self, zone: &str) -> Self {
        self.with("zone", json!(zone))
    }

    /// Only calls signed with this key.
    pub(crate) fn by(self, key: &Credentials) -> Self {
        self.with("key", json!(key.user))
    }

    /// Only pages after the first.
    pub(crate) fn later_pages(self) -> Self {
        self.with("later_pages", json!(true))
    }

    /// This share of them, evenly: of 0.5 the second, the fourth …
    pub(crate) fn of(self, share: f64) -> Self {
        self.with("share", json!(share))
    }

    /// Drawn instead, the same for the same seed.
    pub(crate) fn seeded(self, seed: u64) -> Self {
        self.with("seed", json!(seed))
    }

    /// At most so often.
    pub(crate) fn times(self, times: u32) -> Self {
        self.with("times", json!(times))
    }

    fn with(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }
}

/// A rule that applies until it is lifted, or all is healed.
pub(crate) struct Active<'a> {
    cloud: &'a Cloud,
    id: u64,
}

impl Active<'_> {
    /// How many calls it struck.
    pub(crate) async fn struck(&self) -> u64 {
        self.about("struck").await
    }

    /// How many calls it holds at the moment.
    pub(crate) async fn held(&self) -> u64 {
        self.about("held").await
    }

    /// It strikes no more, and what it holds goes on.
    pub(crate) async fn lift(&self) {
        self.cloud.say(json!({ "do": "lift", "rule": self.id })).await;
    }

    async fn about(&self, what: &str) -> u64 {
        let said = self.cloud.say(json!({ "do": "about_rule", "rule": self.id })).await;
        said[what].as_u64().expect("a number")
    }
}

/// The World's Tracker, asked about this account.
impl Cloud {
    /// `path` is relative to the API: `instances/i-1?track_hook=feed`.
    pub(crate) async fn request(&self, world: &World, method: Method, path: &str) -> Answer {
        self.request_with(world, 0, method, path).await
    }

    /// With another of the account's keys.
    pub(crate) async fn request_with(&self, world: &World, nth_key: u8, method: Method, path: &str) -> Answer {
        let key = self.key(nth_key);
        let path = format!(";driver=ec2;provider={}/{path}", self.region);
        world.request_as(method, &path, &key.user, key.password.expose_secret()).await
    }

    /// Sets a hook to the World's receiver.
    pub(crate) async fn track(&self, world: &World, path: &str) -> Answer {
        let answer = self.request(world, Method::PUT, &format!("{path}?{}", hook(world))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer
    }

    /// Every change of the account, oldest first, `i-1 RUNNING -> STOPPED`.
    pub(crate) async fn feed(&self, world: &World) -> Vec<String> {
        let answer = self.request(world, Method::GET, "changes?after=0&limit=1000").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json().as_array().expect("a list").iter().map(|change| told(change).1).collect()
    }
}

/// The parameters of a hook to the World's receiver.
pub(crate) fn hook(world: &World) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("track_hook", &world.hook()).append_pair("track_secret", SECRET);
    query.finish()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().expect("a list").iter().map(|one| one.as_str().expect("text").to_owned()).collect()
}
