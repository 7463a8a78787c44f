//! `/metrics`: figures for whoever watches Tracker itself, in the text form of OpenMetrics. No credentials are asked for, so
//! nothing in it names more than ids of accounts and hooks.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
pub use prometheus_client::registry::Registry;
use prometheus_client::registry::Unit;
use tracing::warn;

use super::front::Front;
use crate::store::Pulse;

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(super) async fn show(State(Front { api, .. }): State<Front>) -> Response {
    let deadline = Duration::from_millis(api.settings.answer_ms);
    let asked = api.store.pulse(api.settings.metrics_hooks_max, api.settings.metrics_waiting_max);
    let pulse = match tokio::time::timeout(deadline, asked).await {
        Ok(Ok(pulse)) => Some(pulse),
        // What does not need the store is shown all the same.
        Ok(Err(err)) => {
            warn!("The store did not say how deliveries are doing: {err}");
            None
        }
        Err(_) => {
            warn!("The store did not say in time how deliveries are doing");
            None
        }
    };
    let process = Process::read().await;
    match text(&api.registry, pulse.as_ref(), process, api.started_at, api.clock.now()) {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(fmt::Error) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn text(
    counted: &Registry,
    pulse: Option<&Pulse>,
    process: Process,
    started_at: Timestamp,
    now: Timestamp,
) -> Result<String, fmt::Error> {
    let mut asked = Registry::default();
    let build = Family::<Labels, Gauge>::default();
    build.get_or_create(&vec![("version", env!("CARGO_PKG_VERSION").to_owned())]).set(1);
    asked.register("tracker_build_info", "The version of Tracker that is running", build);
    asked.register(
        "tracker_store_up",
        "Whether the store could be asked; without it what follows from it is missing",
        ConstGauge::new(i64::from(pulse.is_some())),
    );
    if let Some(pulse) = pulse {
        deliveries(&mut asked, pulse, now);
    }
    process.register(&mut asked, started_at);
    let mut text = String::new();
    encode_registry(&mut text, counted)?;
    encode_registry(&mut text, &asked)?;
    encode_eof(&mut text)?;
    Ok(text)
}

type Labels = Vec<(&'static str, String)>;

fn deliveries(registry: &mut Registry, pulse: &Pulse, now: Timestamp) {
    let Pulse { hooks, hooks_total, hooks_disabled, deliveries_waiting } = pulse;
    let lag = Family::<Labels, Gauge<f64, AtomicU64>>::default();
    for (account, hook, since) in hooks {
        let seconds = since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0));
        lag.get_or_create(&vec![("account", account.to_string()), ("hook", hook.to_string())]).set(seconds);
    }
    registry.register_with_unit(
        "tracker_hook_lag",
        "Age of the oldest waiting change of a hook; beyond a bound those that lag least are left out",
        Unit::Seconds,
        lag,
    );
    let mut count = |name: &str, help: &str, count: u64| {
        registry.register(name, help, ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX)));
    };
    count("tracker_hooks", "Hooks there are", *hooks_total);
    count("tracker_hooks_disabled", "Hooks that are not called until somebody enables them", *hooks_disabled);
    count("tracker_deliveries_waiting", "Deliveries that wait, counted up to a bound", *deliveries_waiting);
}

/// What the system says of this process. None of it where there is no `/proc`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Process {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
}

/// The unit of times in `/proc`: fixed at 100 in a second for programs, whatever the kernel's own is.
const TICKS_PER_SECOND: f64 = 100.0;

impl Process {
    async fn read() -> Self {
        let stat = tokio::fs::read_to_string("/proc/self/stat").await.unwrap_or_default();
        let status = tokio::fs::read_to_string("/proc/self/status").await.unwrap_or_default();
        Self { cpu_seconds: cpu_seconds(&stat), resident_bytes: resident_bytes(&status) }
    }

    fn register(self, registry: &mut Registry, started_at: Timestamp) {
        // The clock's milliseconds are exact in a double for a long time to come.
        let started = Duration::from_millis(started_at.as_millisecond().unsigned_abs()).as_secs_f64();
        let gauge = ConstGauge::new(started);
        registry.register_with_unit("process_start_time", "When the process began, since 1970", Unit::Seconds, gauge);
        if let Some(seconds) = self.cpu_seconds {
            let counter = ConstCounter::new(seconds);
            registry.register_with_unit("process_cpu", "Time on processors", Unit::Seconds, counter);
        }
        if let Some(bytes) = self.resident_bytes {
            let gauge = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
            registry.register_with_unit("process_resident_memory", "Memory in use", Unit::Bytes, gauge);
        }
    }
}

/// Fields 14 and 15. The second holds the program's name in parentheses, and that may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

/// `VmRSS:     4512 kB`
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    kilobytes.checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::model::{AccountId, HookId};

    #[test]
    fn the_text_is_what_prometheus_reads() {
        let mut counted = Registry::default();
        let counter: Counter = Counter::default();
        counted.register("tracker_tries", "Tries of deliveries", counter.clone());
        counter.inc_by(3);
        let now = Timestamp::from_second(1_000).unwrap();
        let hook = |id: &str, since: Option<i64>| {
            (AccountId(7), HookId(id.to_owned()), since.map(|ms| Timestamp::from_millisecond(ms).unwrap()))
        };
        let pulse = Pulse {
            hooks: vec![hook("hook_1", Some(987_500))],
            hooks_total: 2,
            hooks_disabled: 1,
            deliveries_waiting: 4,
        };
        let process = Process { cpu_seconds: Some(1.5), resident_bytes: Some(4_096) };
        let shown = text(&counted, Some(&pulse), process, Timestamp::UNIX_EPOCH, now).unwrap();
        let shown = shown.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(shown, @r#"
        # HELP tracker_tries Tries of deliveries.
        # TYPE tracker_tries counter
        tracker_tries_total 3
        # HELP tracker_build_info The version of Tracker that is running.
        # TYPE tracker_build_info gauge
        tracker_build_info{version="VERSION"} 1
        # HELP tracker_store_up Whether the store could be asked; without it what follows from it is missing.
        # TYPE tracker_store_up gauge
        tracker_store_up 1
        # HELP tracker_hook_lag_seconds Age of the oldest waiting change of a hook; beyond a bound those that lag least are left out.
        # TYPE tracker_hook_lag_seconds gauge
        # UNIT tracker_hook_lag_seconds seconds
        tracker_hook_lag_seconds{account="7",hook="hook_1"} 12.5
        # HELP tracker_hooks Hooks there are.
        # TYPE tracker_hooks gauge
        tracker_hooks 2
        # HELP tracker_hooks_disabled Hooks that are not called until somebody enables them.
        # TYPE tracker_hooks_disabled gauge
        tracker_hooks_disabled 1
        # HELP tracker_deliveries_waiting Deliveries that wait, counted up to a bound.
        # TYPE tracker_deliveries_waiting gauge
        tracker_deliveries_waiting 4
        # HELP process_start_time_seconds When the process began, since 1970.
        # TYPE process_start_time_seconds gauge
        # UNIT process_start_time_seconds seconds
        process_start_time_seconds 0.0
        # HELP process_cpu_seconds Time on processors.
        # TYPE process_cpu_seconds counter
        # UNIT process_cpu_seconds seconds
        process_cpu_seconds_total 1.5
        # HELP process_resident_memory_bytes Memory in use.
        # TYPE process_resident_memory_bytes gauge
        # UNIT process_resident_memory_bytes bytes
        process_resident_memory_bytes 4096
        # EOF
        "#);

        // One of the future does not lag, and without the store there is less to say.
        let pulse = Pulse { hooks: vec![hook("hook_1", Some(2_000_000)), hook("hook_2", None)], ..Pulse::default() };
        let shown = text(&counted, Some(&pulse), process, Timestamp::UNIX_EPOCH, now).unwrap();
        assert!(shown.contains(r#"tracker_hook_lag_seconds{account="7",hook="hook_1"} 0.0"#), "{shown}");
        assert!(shown.contains(r#"tracker_hook_lag_seconds{account="7",hook="hook_2"} 0.0"#), "{shown}");
        let shown = text(&counted, None, Process::default(), Timestamp::UNIX_EPOCH, now).unwrap();
        assert!(shown.contains("tracker_store_up 0") && !shown.contains("hooks"), "{shown}");
    }

    #[test]
    fn what_the_system_says_is_read() {
        let stat = "17 (a) b) S 1 17 17 0 -1 4194560 900 0 0 0 120 30 0 0 20 0 3 0 100 9 9";
        assert_eq!(cpu_seconds(stat), Some(1.5));
        assert_eq!(cpu_seconds("17 (x) S 1"), None);
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    4512 kB\nVmData:\t1 kB\n"), Some(4_512 * 1_024));
        assert_eq!(resident_bytes("VmRSS:\tmuch\n"), None);
    }
}
