//! A store with a home of its own, and values to put into it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tempfile::TempDir;
use tracker::chance::Chance;
use tracker::changes::disabling;
use tracker::model::{
    AccountId, AccountKey, Attempt, Callback, Change, ChangeId, Collection, Credentials, Declared, Delivery, Disabling,
    DriverId, Entry, ExposeSecret as _, Facts, Hook, HookId, Instance, InstanceState, KnownResource, Login, News,
    Observed, Outcome, Realm, RealmState, Resource, Scope, Secret, Seq, SigningKey, Subject, Subscriber, Terms,
    Verdict,
};
use tracker::store::{
    self, Ask, Commit, KeyRing, NewChange, PruneFrom, PruneRules, Pruned, Results, Settings, Store, UnitPlan,
};

pub(super) const PASSWORD: &str = "pa\"ss-w0rd-ü";
pub(super) const TOKEN: &str = "t0ken-of-the-caller";
pub(super) const SIGNING_KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub(super) const QUERY: &str = "apikey=s3cr3t-in-the-query";

pub(super) struct World {
    pub(super) folder: TempDir,
    pub(super) settings: Settings,
    pub(super) store: Arc<dyn Store>,
}

impl World {
    pub(super) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        let store = open(&settings).await.unwrap();
        Self { folder, settings, store }
    }

    /// Closes the store and opens it again.
    pub(super) async fn reopen(self) -> Self {
        let Self { folder, settings, store } = self;
        drop(store);
        let store = open(&settings).await.unwrap();
        Self { folder, settings, store }
    }

    /// Sets a hook of account `a` at second 0 and answers with the account.
    pub(super) async fn set(&self, hook: &Hook) -> AccountId {
        self.set_at(hook, 0).await
    }

    pub(super) async fn set_at(&self, hook: &Hook, second: i64) -> AccountId {
        self.store.save_hook(&key("a"), &login(PASSWORD), hook, None, at(second)).await.unwrap()
    }

    /// Commits changes of instances at `second`, each told to these hooks.
    pub(super) async fn news(&self, account: AccountId, second: i64, news: &[(&str, &[&Hook])]) -> Vec<Entry> {
        let version = self.store.known(account, Collection::Instances).await.unwrap().version;
        let changes = news
            .iter()
            .map(|(id, told)| NewChange {
                change: change(id, second),
                told: told.iter().map(|hook| hook.id.clone()).collect(),
            })
            .collect();
        self.store.commit_sample(&Commit { changes, ..commit(account, version, second) }).await.unwrap()
    }

    /// Claims everything due for a minute.
    pub(super) async fn claim(&self, second: i64) -> Vec<Delivery> {
        self.store.claim(&ask(at(second), at(second + 60), 100, 100, &[])).await.unwrap().deliveries
    }

    /// As [`Self::claim`]: hook and seq.
    pub(super) async fn claimed(&self, second: i64) -> Vec<(String, u64)> {
        self.claim(second).await.into_iter().map(|delivery| (delivery.hook.0, delivery.entry.seq.0)).collect()
    }

    pub(super) async fn record(&self, account: AccountId, hook: &Hook, seq: u64, verdict: Verdict, second: i64) {
        self.store.record(&results([outcome(account, hook, seq, verdict, second)]), at(second)).await.unwrap();
    }

    /// What the subscriber `default` has not got: seq and the hook that owes it.
    /// Plans a unit as a visit does that finds no one came between.
    pub(super) async fn plan(&self, account: AccountId, collection: Collection, plan: &UnitPlan) {
        let far = at(1_000_000);
        let units = self.store.due_units(far, Timestamp::UNIX_EPOCH, 10_000).await.unwrap().units;
        let unit = units.iter().find(|unit| unit.account.id == account && unit.collection == collection).unwrap();
        self.store.plan_unit(account, collection, unit.plan.due_at, plan).await.unwrap();
    }

    /// A round of pruning, to its end; no step does more than it may.
    pub(super) async fn prune(&self, rules: &PruneRules) -> Pruned {
        let mut total = Pruned::default();
        let mut next = Some(PruneFrom::default());
        while let Some(from) = next {
            let step = self.store.prune(rules, from).await.unwrap();
            let most = rules.rows_max as u64;
            assert!(step.changes <= most && step.deliveries <= most, "{step:?}");
            assert!(step.deliveries <= 1 || step.deliveries + step.attempts <= most, "{step:?}");
            assert!(step.hooks <= most && step.former_resources <= most, "{step:?}");
            total.changes += step.changes;
            total.deliveries += step.deliveries;
            total.given_up += step.given_up;
            total.attempts += step.attempts;
            total.hooks += step.hooks;
            total.former_resources += step.former_resources;
            next = step.next;
        }
        total
    }

    pub(super) async fn undelivered(&self, account: AccountId) -> Vec<(u64, String)> {
        let owed = self.store.undelivered(account, &Subscriber::default(), Seq(0), 100).await.unwrap();
        owed.into_iter().map(|(entry, hook)| (entry.seq.0, hook.0)).collect()
    }
}

pub(super) fn settings(folder: &TempDir) -> Settings {
    Settings {
        url: format!("sqlite:{}", folder.path().join("tracker.db").display()),
        key_ring: folder.path().join("tracker.keys").display().to_string(),
        readers: 2,
        ..Settings::default()
    }
}

pub(super) fn chance() -> Arc<Chance> {
    Arc::new(Chance::from_system())
}

/// As `main` does it.
pub(super) async fn open(settings: &Settings) -> Result<Arc<dyn Store>, store::Error> {
    let keys = KeyRing::load_or_create(settings, &chance())?;
    store::open(settings, keys).await
}

/// Seconds after a fixed moment.
pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

pub(super) fn key(identity: &str) -> AccountKey {
    AccountKey { driver: DriverId::new("ec2"), provider: "us-east-1".to_owned(), identity: identity.to_owned() }
}

pub(super) fn login(password: &str) -> Login {
    Login {
        driver: DriverId::new("ec2"),
        provider: Some("US-east-1".to_owned()),
        credentials: Credentials { user: "AKIA7".to_owned(), password: Secret::from(password.to_owned()) },
    }
}

/// A hook of the subscriber `default` on an instance, posting to `host`.
pub(super) fn hook(id: &str, instance: &str, host: &str) -> Hook {
    Hook {
        id: HookId(id.to_owned()),
        subscriber: Subscriber::default(),
        scope: member(instance),
        callback: Callback::Post(format!("https://me:pw-in-the-url@{host}/cb?{QUERY}").parse().unwrap()),
        token: Some(Secret::from(TOKEN.to_owned())),
        keys: vec![
            SigningKey { secret: Secret::from(SIGNING_KEY.to_owned()), until: None },
            SigningKey { secret: Secret::from(format!("{SIGNING_KEY}old")), until: Some(at(86_400)) },
        ],
        base: "https://tracker.example/api;driver=ec2;provider=us-east-1".to_owned(),
        created_at: at(0),
        terms: Terms::default(),
        disabled: None,
        failing_since: None,
        version: 1,
        ended_at: None,
    }
}

pub(super) fn feed_hook(id: &str, instance: &str) -> Hook {
    Hook { callback: Callback::Feed, ..hook(id, instance, "unused") }
}

/// On all instances.
pub(super) fn collection_hook(id: &str, host: &str) -> Hook {
    Hook { scope: Scope::Collection(Collection::Instances), ..hook(id, "", host) }
}

pub(super) fn member(instance: &str) -> Scope {
    Scope::Member(Collection::Instances, instance.to_owned())
}

pub(super) fn subscriber(name: &str) -> Subscriber {
    Subscriber::parse(name).unwrap()
}

/// Everything of a hook, secrets too, in a form that can be compared.
pub(super) fn bare(hook: &Hook) -> String {
    let Hook { id, subscriber, scope, callback, token, keys, terms, base, created_at, disabled, ended_at, .. } = hook;
    let callback = match callback {
        Callback::Post(url) => url.as_str(),
        Callback::Feed => "feed",
    };
    let token = token.as_ref().map(|token| token.expose_secret());
    let keys: Vec<_> = keys.iter().map(|key| (key.secret.expose_secret(), key.until)).collect();
    format!(
        "{id} {subscriber} {scope:?} {callback} {token:?} {keys:?} {terms:?} {base} {created_at} {disabled:?} {ended_at:?}"
    )
}

pub(super) fn instance(id: &str, state: InstanceState) -> Instance {
    Instance {
        name: Some(format!("the \"{id}\"")),
        image: Some("ami-1".to_owned()),
        realm: Some("us-east-1a".to_owned()),
        hardware_properties: vec![("memory".to_owned(), "1024".to_owned())],
        ..Instance::bare(id, state, &state.as_str().to_lowercase())
    }
}

pub(super) fn realm(id: &str) -> Realm {
    Realm {
        id: id.to_owned(),
        name: id.to_owned(),
        state: RealmState::Available,
        native_state: "available".to_owned(),
        limit: None,
        messages: vec![],
        declared: Declared::Up,
        judged: None,
        place: None,
    }
}

/// A resource first and last seen at `second`.
pub(super) fn known(resource: impl Into<Resource>, second: i64) -> KnownResource {
    KnownResource {
        resource: resource.into(),
        revision: 0,
        first_seen_at: at(second),
        observed_at: at(second),
        absent_since: None,
    }
}

pub(super) fn members(of: &[KnownResource]) -> BTreeMap<String, KnownResource> {
    of.iter().map(|known| (known.resource.id().to_owned(), known.clone())).collect()
}

/// An instance that stopped, seen at `second`.
pub(super) fn change(id: &str, second: i64) -> Change {
    let facts = |state: InstanceState| Facts {
        state,
        native_state: state.as_str().to_lowercase(),
        public_addresses: vec![],
        private_addresses: vec![],
        announced: vec![],
    };
    Change {
        id: ChangeId(format!("chg_{id}_{second}")),
        at: at(second),
        subject: Subject {
            collection: Collection::Instances.into(),
            id: id.to_owned(),
            revision: 3,
            name: Some("web".to_owned()),
            realm: None,
        },
        observed: Observed { before: Some(at(second - 5)), at: at(second) },
        news: News::InstanceState { from: facts(InstanceState::Running), to: facts(InstanceState::Stopped) },
    }
}

/// A complete sample of the instances without news.
pub(super) fn commit(account: AccountId, version: i64, second: i64) -> Commit {
    Commit {
        judgements: vec![],
        account,
        collection: Collection::Instances,
        version,
        observed_at: Some(at(second)),
        upserts: vec![],
        removed: vec![],
        changes: vec![],
        now: at(second),
    }
}

/// An attempt made at `second`.
pub(super) fn outcome(account: AccountId, hook: &Hook, seq: u64, verdict: Verdict, second: i64) -> Outcome {
    let attempt = Attempt {
        number: 1,
        at: at(second),
        elapsed: Duration::from_millis(12),
        status: Some(503),
        error: Some("the receiver answered 503".to_owned()),
        answer: "come \"later\"".to_owned(),
    };
    Outcome { account, hook: hook.id.clone(), seq: Seq(seq), attempt, verdict }
}

pub(super) fn ask(now: Timestamp, until: Timestamp, limit: usize, per_receiver: usize, full: &[String]) -> Ask {
    Ask { now, until, limit, per_receiver, rooms: full.iter().map(|receiver| (receiver.clone(), 0)).collect() }
}

pub(super) fn results(outcomes: impl IntoIterator<Item = Outcome>) -> Results {
    Results { outcomes: outcomes.into_iter().collect(), ..Results::default() }
}

pub(super) fn retry(second: i64) -> Verdict {
    Verdict::Retry { due_at: at(second), not_before: None }
}

pub(super) fn gone(hook: &Hook) -> Verdict {
    Verdict::Disable(disabled(hook, "gone", "the receiver said 410"))
}

/// It failed for so long that it is called no more.
pub(super) fn last(hook: &Hook) -> Verdict {
    Verdict::Exhausted { disable: Some(disabled(hook, "failing", "it fails for days")) }
}

fn disabled(hook: &Hook, rule: &str, text: &str) -> Disabling {
    disabling(&hook.id, ChangeId(format!("chg_{rule}")), at(0), rule, text.to_owned())
}

/// `[("hook_1", 3)]` as the world's claims say it.
pub(super) fn owed(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(hook, seq)| ((*hook).to_owned(), *seq)).collect()
}
