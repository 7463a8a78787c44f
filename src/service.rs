//! The rooms put together into a running Tracker. Decides nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::api::{self, Api};
use crate::chance::Chance;
use crate::changes;
use crate::clock::Clock;
use crate::deliver::Deliver;
use crate::drivers::Drivers;
use crate::hints::Desk;
use crate::model::Collection;
use crate::outbound::{self, Outbound, SystemLookup};
use crate::poll::{Hints, Observer, Poll};
use crate::reads::Reads;
use crate::retain::{Beat, Retain};
use crate::settings::Settings;
use crate::store::Store;
use crate::tasks::{Cron, CronWork, Tasks, Wake, Wall};
use crate::track::{Care, Tracking};

/// How Tracker names itself to providers and receivers.
pub const USER_AGENT: &str = concat!("Tracker/", env!("CARGO_PKG_VERSION"));

/// The rooms, wired but not yet moving: a test turns them by hand, [`Service`] lets them run.
pub struct Parts {
    pub api: Arc<Api>,
    pub poll: Poll,
    pub deliver: Deliver,
    pub retain: Retain,
    pub poll_wake: Wake,
    pub deliver_wake: Wake,
    pub retain_beat: Beat,
    pub wall: Wall,
    /// The clock was set: for [`Cron::start`].
    pub beat_again: Wake,
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
}

impl Parts {
    /// # Errors
    /// When no HTTP client can be made of the settings.
    pub fn new(
        settings: &Settings,
        store: Arc<dyn Store>,
        drivers: Drivers,
        clock: Arc<dyn Clock>,
        chance: Arc<Chance>,
    ) -> anyhow::Result<Self> {
        let outbound = deliver_outbound(settings).context("deliver")?;
        let (poll_wake, deliver_wake) = (Wake::default(), Wake::default());
        let reads = Arc::new(Reads::new(&settings.reads));
        let hints = Hints::new(settings.hints.terms());
        let observer = Observer::new(
            store.clone(),
            clock.clone(),
            chance.clone(),
            settings.poll.clone(),
            hints.clone(),
            settings.availability.clone(),
            reads.clone(),
            poll_wake.clone(),
            deliver_wake.clone(),
        );
        let tracking = Tracking::new(
            store.clone(),
            observer.clone(),
            outbound.clone(),
            clock.clone(),
            chance.clone(),
            settings.track.clone(),
            reads.clone(),
            poll_wake.clone(),
            deliver_wake.clone(),
        );
        let poll = Poll::new(
            store.clone(),
            drivers.clone(),
            observer,
            clock.clone(),
            chance.clone(),
            settings.poll.clone(),
            poll_wake.clone(),
        );
        let desk = Desk::new(
            store.clone(),
            hints,
            clock.clone(),
            chance.clone(),
            poll_wake.clone(),
            settings.hints.clone(),
            Duration::from_millis(settings.poll.linger_ms),
        );
        let sender = settings.deliver.sender(outbound.clone());
        let care = Care::new(
            store.clone(),
            sender,
            clock.clone(),
            chance.clone(),
            deliver_wake.clone(),
            settings.deliver.clone(),
        );
        let deliver = Deliver::new(
            store.clone(),
            outbound,
            settings.deliver.clone(),
            clock.clone(),
            chance.clone(),
            deliver_wake.clone(),
            changes::render,
        );
        let retain_beat = Beat::default();
        let retain = Retain::new(store.clone(), clock.clone(), settings.retention.clone(), retain_beat.clone());
        let mut registry = api::Registry::default();
        deliver.counters().register(&mut registry);
        retain.counters().register(&mut registry);
        desk.counters().register(&mut registry);
        let api = Api::new(api::Parts {
            settings: settings.api.clone(),
            drivers,
            default_driver: settings.drivers.default.clone(),
            default_provider: settings.drivers.default_provider.clone(),
            store: store.clone(),
            tracking,
            care,
            hints: desk,
            reads,
            stale_seconds: settings.reads.stale_seconds,
            finish_as_404: settings.reads.finish_as_404,
            feed: settings.feed.clone(),
            clock: clock.clone(),
            chance,
            registry,
        });
        let beat_again = Wake::default();
        let wall = Wall::new(store.clone(), clock.clone(), beat_again.clone());
        Ok(Self { api, poll, deliver, retain, poll_wake, deliver_wake, retain_beat, wall, beat_again, store, clock })
    }
}

/// The client that drivers call providers with.
///
/// # Errors
/// When the settings allow too much, or no client can be made.
pub fn drivers_outbound(settings: &Settings) -> Result<Outbound, outbound::SetupError> {
    Outbound::new(&outbound::Settings {
        allow_networks: settings.drivers.allow_networks.clone(),
        connect_timeout: Duration::from_millis(settings.drivers.connect_timeout_ms),
        idle_per_host: settings.drivers.idle_per_host,
        user_agent: USER_AGENT.to_owned(),
        ca_file: Some(settings.drivers.ca_file.clone()).filter(|file| !file.as_os_str().is_empty()),
    })
}

fn deliver_outbound(settings: &Settings) -> Result<Outbound, outbound::SetupError> {
    let outbound = settings.deliver.outbound();
    match settings.deliver.proxy.read()? {
        Some(proxy) => Outbound::through(&outbound, Arc::new(SystemLookup), proxy),
        None => Outbound::new(&outbound),
    }
}

/// A running Tracker.
pub struct Service {
    pub address: SocketAddr,
    store: Arc<dyn Store>,
    tasks: Tasks,
    cron: Cron,
    /// Deliveries have threads of their own: a receiver that keeps ours busy keeps the API waiting for nothing.
    _deliveries: Threads,
    server: JoinHandle<std::io::Result<()>>,
    stop: CancellationToken,
}

/// A runtime that may be dropped from within another.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Service {
    /// Serves on `listener` and lets the tasks run.
    ///
    /// # Errors
    /// When the store fails, or a cron expression is none.
    pub async fn start(settings: &Settings, parts: Parts, listener: TcpListener) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let released = parts.store.release_claims().await?;
        if released > 0 {
            info!("{released} deliveries were under way when Tracker ended; they are sent again");
        }
        let cron =
            Cron::start(cadences(settings, &parts), parts.beat_again.clone()).await.map_err(anyhow::Error::msg)?;
        let tasks = Tasks::new(settings.tasks.clone(), parts.clock.clone());
        tasks.run(parts.wall, Wake::default());
        tasks.run(parts.poll, parts.poll_wake);
        // Whoever is started for an hour a day may never run when the cron says so.
        parts.retain_beat.ring();
        tasks.run(parts.retain, parts.retain_beat.wake);
        let deliveries = runtime::Builder::new_multi_thread()
            .worker_threads(settings.deliver.threads)
            .thread_name("deliver")
            .enable_all()
            .build()?;
        let deliver = parts.deliver.until(tasks.stopping());
        tasks.run_on(deliveries.handle(), deliver, parts.deliver_wake);
        let stop = CancellationToken::new();
        let (router, api_settings, stopped) = (api::router(parts.api), settings.api.clone(), stop.clone());
        let server = tokio::spawn(async move { api::serve(listener, router, &api_settings, stopped).await });
        Ok(Self { address, store: parts.store, tasks, cron, _deliveries: Threads(Some(deliveries)), server, stop })
    }

    /// Stops taking requests, lets what is under way end within its grace, then stops.
    pub async fn stop(self) {
        self.stop.cancel();
        self.cron.stop().await;
        self.tasks.stop().await;
        match self.server.await {
            Ok(Ok(())) => {}
            Ok(Err(err)) => warn!("the server did not stop cleanly: {err}"),
            Err(err) => warn!("the server did not stop cleanly: {err}"),
        }
        if let Err(err) = self.store.rest().await {
            warn!("the store is whole, but in more than one file: {err}");
        }
    }
}

/// Each tick marks the units of a collection as due and wakes the poller, or has a round of pruning begin; what that means is
/// decided there.
fn cadences(settings: &Settings, parts: &Parts) -> Vec<(String, CronWork)> {
    let (spread, rest_max) = (Duration::from_millis(settings.poll.spread_ms), settings.poll.longest_rest());
    let cadence = |collection: Collection| {
        let (store, clock, wake) = (parts.store.clone(), parts.clock.clone(), parts.poll_wake.clone());
        let work: CronWork = Arc::new(move || {
            let (store, clock, wake) = (store.clone(), clock.clone(), wake.clone());
            Box::pin(async move {
                if let Err(err) = store.bring_forward(collection, clock.now(), spread, rest_max).await {
                    warn!("the cadence of {collection} missed a beat: {err}");
                }
                wake.notify_one();
            })
        });
        (settings.poll.cron(collection).to_owned(), work)
    };
    let beat = parts.retain_beat.clone();
    let prune: CronWork = Arc::new(move || {
        beat.ring();
        Box::pin(async {})
    });
    Collection::ALL.map(cadence).into_iter().chain([(settings.retention.cron.clone(), prune)]).collect()
}
