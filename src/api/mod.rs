//! HTTP in: the Deltacloud REST API (classic frontend, version 1.1.3) with Tracker's hooks and feed.
//!
//! Guarantees: every answer carries the headers that Deltacloud clients look for, every failure is an error document
//! with a status they survive, and no input makes a 5xx of our own or a panic. Whatever comes in has a bound. `GET /api`
//! and `instance_states` never touch a backend. A backend that cannot be asked is not read as "gone": what was last seen
//! is answered, marked stale, or 502, never 404.
//!
//! The way of a request: [`serve`] bounds the connection, `front` reads what is common to all (matrix, headers,
//! parameters, representation) into a [`call::Call`], one of the routes below answers, `front` adds headers and error
//! documents. `auth` knows who asks. `render` holds one file for each collection with both representations.
//!
//! Accepted: a client that hangs up during a create or an action cannot know whether it happened, as with any cloud.
//!
//! Absent on purpose: HTML pages, retries towards the backend (clients retry), comparing states, SQL.

mod addresses;
mod auth;
mod blobs;
mod buckets;
mod call;
mod changes;
mod collection;
mod deliveries;
mod drivers;
mod entry;
mod error;
mod finished;
mod firewalls;
mod front;
mod hardware_profiles;
mod hooks;
mod images;
mod instance_states;
mod instances;
mod keys;
mod metrics;
mod negotiate;
mod network_interfaces;
mod networks;
mod new_instance;
mod params;
mod read;
mod evidence;
mod realms;
mod receipt;
mod render;
mod serve;
mod settings;
mod storage_snapshots;
mod storage_volumes;
mod subnets;
mod target;
mod telemetry;
mod tracking;
mod upload;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use jiff::Timestamp;
use tokio::sync::Semaphore;

pub use serve::serve;
pub use settings::Settings;
pub use telemetry::Registry;

use crate::chance::Chance;
use crate::clock::Clock;
use crate::drivers::Drivers;
use crate::feed::{self, Feeds};
use crate::model::{
    Bucket, DriverId, Firewall, HardwareProfile, Image, Instance, Key, Metric, Network, NetworkInterface,
    PublicAddress, Realm, Snapshot, Subnet, Volume,
};
use crate::reads::Reads;
use crate::store::Store;
use crate::track::{Care, Tracking};
use collection::{show, track, track_all};
use error::{Fault, Problem};

/// The version of the Deltacloud API that the answers follow; also in the `Server` header.
pub const VERSION: &str = "1.1.3";

/// Every route below, in OpenAPI 3.1. Kept by hand; tests hold it against the routes and against real answers.
pub const OPENAPI: &str = include_str!("openapi.json");

/// What the API is made of.
pub struct Parts {
    pub settings: Settings,
    pub drivers: Drivers,
    /// `drivers.default` and `drivers.default_provider` of the settings.
    pub default_driver: String,
    pub default_provider: String,
    pub store: Arc<dyn Store>,
    pub tracking: Tracking,
    pub care: Care,
    pub reads: Arc<Reads>,
    /// See [`reads::Settings`](crate::reads::Settings).
    pub stale_seconds: u64,
    pub finish_as_404: bool,
    pub feed: feed::Settings,
    pub clock: Arc<dyn Clock>,
    pub chance: Arc<Chance>,
    /// What other rooms count, to be shown at `/metrics` beside what is asked of the store.
    pub registry: Registry,
}

/// What every request may need.
pub struct Api {
    settings: Settings,
    drivers: Drivers,
    default_driver: DriverId,
    default_provider: Option<String>,
    /// `https://tracker.example`, when settings say so.
    public_origin: Option<String>,
    store: Arc<dyn Store>,
    tracking: Tracking,
    care: Care,
    reads: Arc<Reads>,
    feeds: Feeds,
    stale: Duration,
    finish_as_404: bool,
    clock: Arc<dyn Clock>,
    registry: Registry,
    started_at: Timestamp,
    logins: auth::Logins,
    /// One permit for each body with a blob that is held.
    uploads: Semaphore,
}

impl Api {
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts {
            settings,
            drivers,
            default_driver,
            default_provider,
            store,
            tracking,
            care,
            reads,
            stale_seconds,
            finish_as_404,
            feed,
            clock,
            chance,
            registry,
        } = parts;
        let logins = auth::Logins::new(&settings, &chance);
        let public_origin = settings.public_url.trim_end_matches('/').to_owned();
        Arc::new(Self {
            default_driver: DriverId::new(&default_driver),
            default_provider: Some(default_provider).filter(|provider| !provider.is_empty()),
            public_origin: Some(public_origin).filter(|origin| !origin.is_empty()),
            uploads: Semaphore::new(settings.blobs_max.min(Semaphore::MAX_PERMITS)),
            settings,
            drivers,
            feeds: Feeds::new(store.clone(), feed),
            store,
            tracking,
            care,
            reads,
            stale: Duration::from_secs(stale_seconds),
            finish_as_404,
            started_at: clock.now(),
            clock,
            registry,
            logins,
        })
    }
}

/// Every route there is. Paths end without a slash, and with one they are 404: a client asks for `/api/instances/` when
/// it has lost the id.
pub fn router(api: Arc<Api>) -> Router {
    const LIST: &str = "OPTIONS,GET,HEAD";
    const TRACKED: &str = "OPTIONS,GET,HEAD,PUT";
    const MADE: &str = "OPTIONS,GET,HEAD,POST,DELETE";
    const MADE_AND_TRACKED: &str = "OPTIONS,GET,HEAD,POST,PUT,DELETE";
    let entry =
        || get(entry::show).post(entry::choose).put(entry::track).options(|| allow("OPTIONS,GET,HEAD,POST,PUT"));
    let routes = Router::new()
        .route("/api", entry())
        .route("/api/", entry())
        .route("/api/buckets", get(collection::list::<Bucket>).post(buckets::create).options(|| allow(MADE)))
        .route(
            "/api/buckets/{bucket}",
            get(show::<Bucket>).post(blobs::create).delete(buckets::destroy).layer(unbound()),
        )
        .route(
            "/api/buckets/{bucket}/{id}",
            get(blobs::show)
                .head(blobs::metadata)
                .put(blobs::put)
                .post(blobs::set_metadata)
                .delete(blobs::destroy)
                .layer(unbound()),
        )
        .route("/api/buckets/{bucket}/{id}/content", get(blobs::content))
        .route("/api/drivers", get(drivers::list).options(|| allow(LIST)))
        .route("/api/drivers/{id}", get(drivers::show))
        .route("/api/instance_states", get(instance_states::list).options(|| allow(LIST)))
        .route("/api/realms", get(collection::list::<Realm>).put(track_all::<Realm>).options(|| allow(TRACKED)))
        .route("/api/realms/{id}", get(show::<Realm>).put(track::<Realm>))
        .route("/api/realms/{id}/evidence", get(evidence::show))
        .route(
            "/api/instances",
            get(collection::list::<Instance>)
                .post(instances::create)
                .put(track_all::<Instance>)
                .options(|| allow(MADE_AND_TRACKED)),
        )
        .route("/api/instances/{id}", get(show::<Instance>).put(track::<Instance>).delete(instances::destroy))
        .route("/api/instances/{id}/{action}", post(instances::act))
        .route(
            "/api/images",
            get(images::list).post(images::create).put(track_all::<Image>).options(|| allow(MADE_AND_TRACKED)),
        )
        .route("/api/images/{id}", get(show::<Image>).put(track::<Image>).delete(images::destroy))
        .route("/api/hardware_profiles", get(collection::list::<HardwareProfile>).options(|| allow(LIST)))
        .route("/api/hardware_profiles/{id}", get(show::<HardwareProfile>))
        .route("/api/metrics", get(collection::list::<Metric>).options(|| allow(LIST)))
        .route("/api/metrics/{id}", get(show::<Metric>))
        .route("/api/networks", get(collection::list::<Network>).post(networks::create).options(|| allow(MADE)))
        .route("/api/networks/{id}", get(show::<Network>).delete(networks::destroy))
        .route(
            "/api/network_interfaces",
            get(collection::list::<NetworkInterface>).post(network_interfaces::create).options(|| allow(MADE)),
        )
        .route("/api/network_interfaces/{id}", get(show::<NetworkInterface>).delete(network_interfaces::destroy))
        .route("/api/subnets", get(collection::list::<Subnet>).post(subnets::create).options(|| allow(MADE)))
        .route("/api/subnets/{id}", get(show::<Subnet>).delete(subnets::destroy))
        .route("/api/keys", get(collection::list::<Key>).post(keys::create).options(|| allow(MADE)))
        .route("/api/keys/{id}", get(show::<Key>).delete(keys::destroy))
        .route(
            "/api/storage_volumes",
            get(collection::list::<Volume>)
                .post(storage_volumes::create)
                .put(track_all::<Volume>)
                .options(|| allow(MADE_AND_TRACKED)),
        )
        .route("/api/storage_volumes/{id}", get(show::<Volume>).put(track::<Volume>).delete(storage_volumes::destroy))
        .route("/api/storage_volumes/{id}/attach", post(storage_volumes::attach))
        .route("/api/storage_volumes/{id}/detach", post(storage_volumes::detach))
        .route("/api/storage_volumes/{id}/destroy", post(storage_volumes::destroy).delete(storage_volumes::destroy))
        .route(
            "/api/storage_snapshots",
            get(collection::list::<Snapshot>)
                .post(storage_snapshots::create)
                .put(track_all::<Snapshot>)
                .options(|| allow(MADE_AND_TRACKED)),
        )
        .route(
            "/api/storage_snapshots/{id}",
            get(show::<Snapshot>).put(track::<Snapshot>).delete(storage_snapshots::destroy),
        )
        .route("/api/addresses", get(collection::list::<PublicAddress>).post(addresses::create).options(|| allow(MADE)))
        .route("/api/addresses/{ip}", get(show::<PublicAddress>).delete(addresses::destroy))
        .route("/api/addresses/{ip}/associate", post(addresses::associate))
        .route("/api/addresses/{ip}/disassociate", post(addresses::disassociate))
        .route("/api/firewalls", get(collection::list::<Firewall>).post(firewalls::create).options(|| allow(MADE)))
        .route("/api/firewalls/{id}", get(show::<Firewall>).delete(firewalls::destroy))
        .route("/api/firewalls/{id}/rules", post(firewalls::create_rule))
        .route("/api/firewalls/{id}/{rule}", delete(firewalls::destroy_rule))
        .route("/api/changes", get(changes::list).options(|| allow(LIST)))
        .route("/api/hooks", get(hooks::list).options(|| allow(LIST)))
        .route("/api/hooks/{id}", get(hooks::show).delete(hooks::destroy))
        .route("/api/hooks/{id}/enable", post(hooks::enable))
        .route("/api/hooks/{id}/test", post(hooks::test))
        .route("/api/hooks/{id}/resync", post(hooks::resync))
        .route("/api/hooks/{id}/recover", post(hooks::recover))
        .route("/api/deliveries", get(deliveries::list).options(|| allow(LIST)))
        .route("/api/deliveries/{id}", get(deliveries::show))
        .route("/api/deliveries/{id}/redeliver", post(deliveries::redeliver))
        .fallback(|| async { Fault::of(Problem::NotFound) });
    // Nothing of Deltacloud's is about these: neither matrix nor negotiation, credentials or error documents.
    let mut outermost = Router::new().route("/openapi.json", get(openapi));
    if api.settings.metrics {
        outermost = outermost.route("/metrics", get(telemetry::show));
    }
    outermost.fallback(front::answer).with_state(front::Front { api, routes })
}

/// For bodies with blobs, which `front` has bounded by a setting of their own.
fn unbound() -> DefaultBodyLimit {
    DefaultBodyLimit::disable()
}

async fn allow(methods: &'static str) -> Response {
    (StatusCode::OK, [(header::ALLOW, methods)]).into_response()
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}
