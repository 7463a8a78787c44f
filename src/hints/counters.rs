use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What became of hints, counted for whoever watches Tracker. Clones share their figures.
#[derive(Clone, Default)]
pub struct Counters {
    hints: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Counters {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Ids that requests hinted at, by what became of them; of refused requests, the requests";
        registry.register("tracker_hints", help, self.hints.clone());
    }

    pub(super) fn taken(&self, count: usize) {
        self.count("taken", count);
    }

    pub(super) fn ignored(&self, count: usize) {
        self.count("ignored", count);
    }

    /// A request without a good secret, one that makes no sense, or one about somebody else's account.
    pub fn refused(&self) {
        self.count("refused", 1);
    }

    fn count(&self, outcome: &'static str, count: usize) {
        self.hints.get_or_create(&[("outcome", outcome)]).inc_by(count as u64);
    }
}
