use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::model::Verdict;

/// What deliveries come to, counted for whoever watches Tracker. Clones share their figures.
#[derive(Clone)]
pub struct Counters {
    tries: Family<[(&'static str, &'static str); 1], Counter>,
    elapsed: Histogram,
    lag: Histogram,
    under_way: Gauge,
    shut: Gauge<i64, std::sync::atomic::AtomicI64>,
    merged: Counter<u64, AtomicU64>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            tries: Family::default(),
            // 1 ms to 16 s, which is just beyond the deadline.
            elapsed: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            // 1 ms to 3 days.
            lag: Histogram::new(exponential_buckets(0.001, 4.0, 15)),
            under_way: Gauge::default(),
            shut: Gauge::default(),
            merged: Counter::default(),
        }
    }
}

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        let Self { tries, elapsed, lag, under_way, shut, merged } = self.clone();
        registry.register("tracker_tries", "Tries of callbacks, by what became of them", tries);
        registry.register_with_unit("tracker_try", "How long tries took", Unit::Seconds, elapsed);
        registry.register_with_unit(
            "tracker_delivery_lag",
            "From the record of a change to the receiver's 2xx",
            Unit::Seconds,
            lag,
        );
        registry.register("tracker_tries_under_way", "Tries under way", under_way);
        registry.register("tracker_receivers_left_alone", "Receivers that are not called for now", shut);
        registry.register("tracker_changes_merged", "Changes for which a later one stood", merged);
    }

    pub(super) fn tried(&self, verdict: &Verdict, elapsed: Duration, lag: Duration) {
        let outcome = match verdict {
            Verdict::Delivered => "delivered",
            Verdict::Retry { .. } => "retry",
            Verdict::Postpone { .. } => "postponed",
            Verdict::Exhausted { .. } => "exhausted",
            Verdict::Disable(_) => "disabled",
        };
        self.tries.get_or_create(&[("outcome", outcome)]).inc();
        self.elapsed.observe(elapsed.as_secs_f64());
        if *verdict == Verdict::Delivered {
            self.lag.observe(lag.as_secs_f64());
        }
    }

    pub(super) fn merged(&self, count: u32) {
        self.merged.inc_by(u64::from(count));
    }

    pub(super) fn stand(&self, under_way: usize, shut: usize) {
        let figure = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.under_way.set(figure(under_way));
        self.shut.set(figure(shut));
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn what_is_counted_can_be_read() {
        let counters = Counters::default();
        let mut registry = Registry::default();
        counters.register(&mut registry);
        counters.tried(&Verdict::Delivered, Duration::from_millis(3), Duration::from_secs(2));
        counters.tried(&Verdict::Exhausted { disable: None }, Duration::from_secs(15), Duration::from_secs(9));
        counters.merged(7);
        counters.stand(5, 2);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "tracker_tries_total{outcome=\"delivered\"} 1",
            "tracker_tries_total{outcome=\"exhausted\"} 1",
            "tracker_try_seconds_count 2",
            "tracker_delivery_lag_seconds_sum 2.0",
            "tracker_delivery_lag_seconds_count 1",
            "tracker_tries_under_way 5",
            "tracker_receivers_left_alone 2",
            "tracker_changes_merged_total 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
