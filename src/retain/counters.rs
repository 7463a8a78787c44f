use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::store::Pruned;

/// What was pruned, counted for whoever watches Tracker. Clones share their figures.
#[derive(Clone, Default)]
pub struct Counters {
    rows: Family<[(&'static str, &'static str); 1], Counter>,
    given_up: Counter,
}

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        let Self { rows, given_up } = self.clone();
        registry.register("tracker_pruned", "Rows removed as they were kept long enough, by table", rows);
        registry.register("tracker_given_up", "Deliveries among them that were still owed", given_up);
    }

    pub(super) fn count(&self, pruned: &Pruned) {
        let Pruned { changes, deliveries, given_up, attempts, hooks, former_resources, next: _ } = *pruned;
        for (table, rows) in [
            ("changes", changes),
            ("deliveries", deliveries),
            ("attempts", attempts),
            ("hooks", hooks),
            ("former_resources", former_resources),
        ] {
            self.rows.get_or_create(&[("table", table)]).inc_by(rows);
        }
        self.given_up.inc_by(given_up);
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
        let pruned = Pruned { changes: 3, deliveries: 5, given_up: 2, attempts: 9, ..Pruned::default() };
        counters.count(&pruned);
        counters.count(&pruned);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "tracker_pruned_total{table=\"changes\"} 6",
            "tracker_pruned_total{table=\"deliveries\"} 10",
            "tracker_pruned_total{table=\"attempts\"} 18",
            "tracker_pruned_total{table=\"hooks\"} 0",
            "tracker_given_up_total 4",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
    }
}
