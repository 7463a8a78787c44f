//! A store in a temporary folder with hooks on a restless cloud, and the engine that delivers from it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::cloud::{Cloud, Step, upserts};
use super::receipts::Owed;
use crate::api::{self, Api};
use crate::chance::Chance;
use crate::clock::{Clock as _, SystemClock};
use crate::deliver::{self, Deliver};
use crate::drivers::{Drivers, MockSettings};
use crate::model::{
    AccountId, AccountKey, Callback, ChangeId, Collection, Credentials, DriverId, Hook, HookId, Login, Scope, Secret,
    SigningKey, Subscriber, Terms,
};
use crate::service::{Parts, drivers_outbound};
use crate::settings::Settings;
use crate::store::{self, Commit, KeyRing, Store};
use crate::tasks::{Tasks, Wake};

pub(super) struct Rig {
    store: Arc<dyn Store>,
    settings: Settings,
    clock: Arc<SystemClock>,
    chance: Arc<Chance>,
    /// Until it is started.
    engine: Option<Deliver>,
    api: Arc<Api>,
    wake: Wake,
    account: AccountId,
    hooks: Vec<HookId>,
    cloud: Cloud,
    version: i64,
    owed: Vec<Owed>,
    /// Gone with the rig.
    _folder: TempDir,
}

/// What hrefs begin with.
const BASE: &str = "http://127.0.0.1:3001/api;driver=mock";
/// An engine that is stopped in the middle of hung tries need not wait for them.
const STOP_GRACE_MS: u64 = 100;
/// How long the engine may take to write down what has arrived.
const SETTLE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Whom the mock cloud knows.
pub(super) const USER: &str = "mockuser";
pub(super) const PASSWORD: &str = "mockpassword";

fn account_key() -> AccountKey {
    AccountKey { driver: DriverId::new("mock"), provider: "default".to_owned(), identity: USER.to_owned() }
}

/// A change as hooks get it, of about this length.
pub(super) fn body(body_bytes: u32) -> Vec<u8> {
    Cloud::new(1, body_bytes as usize, &account_key(), BASE).body(&account_key(), BASE)
}

impl Rig {
    /// A new store, one hook for each of `callbacks`, and `resources` instances to change.
    ///
    /// # Errors
    /// When folder or store cannot be had.
    pub(super) async fn new(
        settings: &Settings,
        folder: Option<&Path>,
        callbacks: &[Url],
        resources: u32,
        body_bytes: u32,
    ) -> anyhow::Result<Self> {
        let mut at = tempfile::Builder::new();
        at.prefix("tracker-bench-");
        let folder = folder.map_or_else(|| at.tempdir(), |folder| at.tempdir_in(folder)).context("no folder")?;
        let mut settings = settings.clone();
        settings.store.url = format!("sqlite:{}", folder.path().join("bench.db").display());
        settings.store.key_ring = folder.path().join("bench.keys").display().to_string();
        settings.deliver.allow_networks.push("127.0.0.0/8".parse()?);
        settings.drivers.mock = MockSettings::default();
        settings.tasks.stop_grace_ms = STOP_GRACE_MS;

        let (clock, chance) = (Arc::new(SystemClock), Arc::new(Chance::from_system()));
        let keys = KeyRing::load_or_create(&settings.store, &chance)?;
        let store = store::open(&settings.store, keys).await?;
        let drivers = Drivers::new(&settings.drivers, &drivers_outbound(&settings)?, clock.clone(), chance.clone());
        let Parts { api, deliver, deliver_wake, .. } =
            Parts::new(&settings, store.clone(), drivers, clock.clone(), chance.clone())?;
        let mut rig = Self {
            store,
            settings,
            clock,
            chance,
            engine: Some(deliver),
            api,
            wake: deliver_wake,
            account: AccountId(0),
            hooks: vec![],
            cloud: Cloud::new(resources as usize, body_bytes as usize, &account_key(), BASE),
            version: 0,
            owed: vec![],
            _folder: folder,
        };
        for callback in callbacks {
            rig.hook(Callback::Post(callback.clone())).await?;
        }
        rig.version = rig.store.known(rig.account, Collection::Instances).await?.version;
        Ok(rig)
    }

    /// One hook that reads the feed.
    pub(super) async fn feed_hook(&mut self) -> anyhow::Result<()> {
        self.hook(Callback::Feed).await?;
        self.version = self.store.known(self.account, Collection::Instances).await?.version;
        Ok(())
    }

    /// Serves the API on a port of the loopback, to the end of the process.
    pub(super) async fn serve(&self) -> anyhow::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (router, settings) = (api::router(self.api.clone()), self.settings.api.clone());
        tokio::spawn(async move { api::serve(listener, router, &settings, CancellationToken::new()).await });
        Ok(address)
    }

    async fn hook(&mut self, callback: Callback) -> anyhow::Result<()> {
        let now = self.clock.now();
        let subscriber = Subscriber::parse(&format!("bench-{}", self.hooks.len())).context("a name")?;
        let secret = deliver::new_key(&self.chance.bytes());
        let hook = Hook {
            id: HookId(self.chance.id("hook", now)),
            subscriber,
            scope: Scope::Collection(Collection::Instances),
            callback,
            token: None,
            keys: vec![SigningKey { secret, until: None }],
            base: BASE.to_owned(),
            created_at: now,
            disabled: None,
            failing_since: None,
            version: 0,
            terms: Terms::default(),
            ended_at: None,
        };
        let credentials = Credentials { user: USER.to_owned(), password: Secret::from(PASSWORD) };
        let login = Login { driver: DriverId::new("mock"), provider: None, credentials };
        self.account = self.store.save_hook(&account_key(), &login, &hook, None, now).await?;
        self.hooks.push(hook.id);
        Ok(())
    }

    /// Lets the engine run, as in service.
    pub(super) fn start_engine(&mut self) -> Tasks {
        let tasks = Tasks::new(self.settings.tasks.clone(), self.clock.clone());
        tasks.run(self.engine.take().expect("an engine is started once"), self.wake.clone());
        tasks
    }

    /// Commits one change for each of `news`: an instance, and the hooks (counted from 0) that are told.
    pub(super) async fn commit(&mut self, news: &[(u32, Vec<u32>)]) -> anyhow::Result<()> {
        let now = self.clock.now();
        let mut steps: Vec<Step> = Vec::with_capacity(news.len());
        for (instance, hooks) in news {
            let id = ChangeId(self.chance.id("chg", now));
            let told: Vec<_> = hooks.iter().map(|hook| self.hooks[*hook as usize].clone()).collect();
            steps.push(self.cloud.step(*instance as usize, id, &told, now));
        }
        let commit = Commit {
            judgements: vec![],
            account: self.account,
            collection: Collection::Instances,
            version: self.version,
            observed_at: None,
            upserts: upserts(&steps),
            removed: vec![],
            changes: steps.into_iter().map(|step| step.new).collect(),
            now,
        };
        let entries = self.store.commit_sample(&commit).await?;
        let committed_us = SystemClock::micros();
        self.wake.notify_one();
        self.version += 1;
        for (entry, (resource, hooks)) in entries.iter().zip(news) {
            let owed = |hook: &u32| Owed { hook: *hook, seq: entry.seq.0, resource: *resource, committed_us };
            self.owed.extend(hooks.iter().map(owed));
        }
        Ok(())
    }

    /// Makes room, so that growing the list of what is owed is not measured.
    pub(super) fn expect(&mut self, deliveries: u32) {
        self.owed.reserve_exact(deliveries as usize);
    }

    /// All that was committed so far.
    pub(super) fn owed(&self) -> &[Owed] {
        &self.owed
    }

    /// Waits until the engine has written down what became of everything. `false`: it has not in a long time.
    pub(super) async fn settle(&self) -> anyhow::Result<bool> {
        let end = Instant::now() + SETTLE;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        while timeout_at(end, looks.tick()).await.is_ok() {
            if self.store.next_delivery_due_at(&BTreeSet::new()).await?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
