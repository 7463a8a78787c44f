//! `tracker demo`: everything in one process, with a mock cloud that never rests and a receiver that verifies and prints
//! what it is sent. It uses Tracker only as a client could, over HTTP.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::Router;
use axum::body::Bytes as Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use serde_json::Value;
use tokio::net::TcpListener;
use url::Url;

use crate::chance::Chance;
use crate::client::{because, news};
use crate::clock::{Clock, SystemClock};
use crate::deliver;
use crate::drivers::{Drivers, MockSettings};
use crate::log::{OneLine, harmless};
use crate::model::{ExposeSecret as _, Secret};
use crate::outbound::{Bounds, Outbound, Request};
use crate::service::{Parts, Service, drivers_outbound};
use crate::settings::Settings;
use crate::store::{self, KeyRing};

/// How far a callback's timestamp may be from our clock. Seconds; what Standard Webhooks recommends.
const TOLERANCE_S: u32 = 300;

/// Runs the demo until it is asked to stop. Nothing is kept: the store lies in a temporary folder.
///
/// # Errors
/// When a port or the folder cannot be had.
pub async fn run(port: u16, seed: u64, stop: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    // Only what went wrong: the callbacks are the show.
    tracing_subscriber::fmt().fmt_fields(OneLine).with_env_filter("warn").with_writer(std::io::stderr).init();
    let folder = tempfile::Builder::new().prefix("tracker-demo-").tempdir().context("no temporary folder")?;
    let settings = settings(folder.path(), seed)?;
    let (clock, chance) = (Arc::new(SystemClock), Arc::new(Chance::from_system()));
    let secret = deliver::new_key(&chance.bytes());

    let receiver = TcpListener::bind("127.0.0.1:0").await.context("no port for the receiver")?;
    let hook = format!("http://{}/callback", receiver.local_addr()?);
    let printer = Printer { key: deliver::Key::parse(secret.expose_secret())?, clock: clock.clone() };
    let app = Router::new().route("/callback", post(print_callback)).with_state(Arc::new(printer));
    let receiving = tokio::spawn(async move { axum::serve(receiver, app).await });

    let keys = KeyRing::load_or_create(&settings.store, &chance)?;
    let store = store::open(&settings.store, keys).await?;
    let outbound = drivers_outbound(&settings)?;
    let drivers = Drivers::new(&settings.drivers, &outbound, clock.clone(), chance.clone());
    let parts = Parts::new(&settings, store, drivers, clock, chance)?;
    let service = Service::start(&settings, parts, listener(port).await?).await?;

    let api = format!("http://{}/api", service.address);
    introduce(&api, &settings.drivers.mock);
    for collection in ["instances", "realms"] {
        let client = Outbound::new(&settings.deliver.outbound())?;
        track(&client, &api, collection, &hook, &secret, &settings.drivers.mock).await?;
    }
    stop.await?;
    service.stop().await;
    receiving.abort();
    Ok(())
}

/// A cloud in a hurry, and a poller that keeps up with it.
fn settings(folder: &std::path::Path, seed: u64) -> anyhow::Result<Settings> {
    let mut settings = Settings::default();
    settings.store.url = format!("sqlite:{}", folder.join("demo.db").display());
    settings.store.key_ring = folder.join("demo.keys").display().to_string();
    settings.drivers.mock = MockSettings::demo(seed);
    settings.deliver.allow_networks = vec!["127.0.0.0/8".parse()?];
    settings.poll.instances_cron = "* * * * * *".to_owned();
    settings.poll.realms_cron = "* * * * * *".to_owned();
    settings.poll.spread_ms = 0;
    settings.poll.settling_every_ms = 500;
    settings.poll.absence.confirm_after_ms = 1_000;
    settings.poll.absence.young_for_ms = 3_000;
    Ok(settings)
}

/// The port asked for, or any other when it is taken.
async fn listener(port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => Ok(listener),
        Err(err) if err.kind() == std::io::ErrorKind::AddrInUse => {
            println!("Port {port} is taken, so another one is used.");
            Ok(TcpListener::bind("127.0.0.1:0").await?)
        }
        Err(err) => Err(err).with_context(|| format!("port {port}")),
    }
}

fn introduce(api: &str, mock: &MockSettings) {
    let (user, password) = (&mock.user, mock.password.expose_secret());
    println!(
        "\
Tracker {version}, the demo: a mock cloud that never rests. Nothing is kept; Ctrl-C ends it.

  {api}   user {user}, password {password}

Try in another terminal:

  curl -u {user}:{password} {api}/instances
  curl -u {user}:{password} -X POST {api}/instances/inst2/stop
  curl -u {user}:{password} -X PUT '{api}/instances/inst2?track_hook=feed&subscriber=me'
  curl -u {user}:{password} '{api}/changes?subscriber=me'
  curl -u {user}:{password} '{api}/changes?after=0&limit=3'

Hooks are set on all instances and realms. Every callback that arrives, signature verified:
",
        version = env!("CARGO_PKG_VERSION"),
    );
}

/// `PUT /api/COLLECTION?track_hook=…`, as any client would.
async fn track(
    client: &Outbound,
    api: &str,
    collection: &str,
    hook: &str,
    secret: &Secret,
    mock: &MockSettings,
) -> anyhow::Result<()> {
    let mut url: Url = format!("{api}/{collection}").parse()?;
    url.query_pairs_mut().append_pair("track_hook", hook).append_pair("track_secret", secret.expose_secret());
    let login = STANDARD.encode(format!("{}:{}", mock.user, mock.password.expose_secret()));
    let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(format!("Basic {login}"))?)]);
    let bounds = Bounds { deadline: Duration::from_secs(10), body_bytes_max: 1 << 20, cut: false };
    let answer = client.exchange(Request { method: Method::PUT, url, headers, body: Bytes::new() }, bounds).await?;
    if !answer.status.is_success() {
        bail!("no hook on {collection}: {} {}", answer.status, String::from_utf8_lossy(&answer.body));
    }
    Ok(())
}

struct Printer {
    key: deliver::Key,
    clock: Arc<SystemClock>,
}

/// A receiver in a nutshell: verify, then believe.
async fn print_callback(State(printer): State<Arc<Printer>>, headers: HeaderMap, body: Body) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (id, timestamp, signature) = (header(deliver::ID), header(deliver::TIMESTAMP), header(deliver::SIGNATURE));
    let now = printer.clock.now();
    if let Err(err) = deliver::verify(&printer.key, id, timestamp, signature, &body, now, TOLERANCE_S) {
        println!("  refused: {err}");
        return StatusCode::UNAUTHORIZED;
    }
    match serde_json::from_slice(&body) {
        Ok(change) => {
            println!("{}", line(&change, std::io::stdout().is_terminal()));
            StatusCode::NO_CONTENT
        }
        Err(err) => {
            println!("  refused: {err}");
            StatusCode::BAD_REQUEST
        }
    }
}

/// `10:15:02  instances/inst1    RUNNING -> STOPPING   seq 3`.
fn line(change: &Value, colours: bool) -> String {
    let text = |value: &Value| harmless(value.as_str().unwrap_or_default());
    let resource = &change["resource"];
    let what = format!("{}/{}", text(&resource["collection"]), text(&resource["id"]));
    let time: String = text(&change["timestamp"]).chars().skip(11).take(8).collect();
    let news = harmless(&news(change));
    let news = format!("{news:<26}");
    let news = if colours { format!("\x1b[1m{news}\x1b[0m") } else { news };
    let why = harmless(&because(change));
    format!("  {time}  {what:<18} {news} seq {}{why}", change["seq"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_is_one_readable_line() {
        let check = |change: Value, expected: &str| assert_eq!(line(&change, false), expected);
        let mut change = serde_json::json!({
            "type": "instance.state", "timestamp": "2026-11-21T10:15:02.120Z", "seq": 3,
            "resource": {"collection": "instances", "id": "inst1"},
            "from": {"state": "RUNNING"}, "to": {"state": "STOPPING"}, "why": [],
        });
        check(change.clone(), "  10:15:02  instances/inst1    RUNNING -> STOPPING        seq 3");
        change["why"] = serde_json::json!([{"rule": "D1", "text": "power failure"}]);
        check(change.clone(), "  10:15:02  instances/inst1    RUNNING -> STOPPING        seq 3  because power failure");
        change["why"] = serde_json::json!([{"rule": "D1", "text": "up\u{202e}\n\u{1b}[2J"}]);
        change["resource"]["id"] = "a\nb".into();
        assert!(!line(&change, false).contains(char::is_control), "names do not command the terminal");
        change["resource"]["id"] = "inst1".into();
        change["why"] = serde_json::json!([]);
        change["type"] = "instance.addresses".into();
        change["to"] = serde_json::json!({"public_addresses": ["192.0.2.1"], "private_addresses": []});
        check(change, "  10:15:02  instances/inst1    now at 192.0.2.1           seq 3");
    }
}
