use sha2::{Digest as _, Sha256};

use super::World;
use crate::model::{InstanceId, Metric, Series};

/// In their order. With each its unit.
const QUANTITIES: [(&str, &str); 9] = [
    ("cpuUtilization", "Percent"),
    ("diskReadRequestCount", "Count"),
    ("diskReadSector", "Count"),
    ("diskWriteRequestCount", "Count"),
    ("diskWriteSector", "Count"),
    ("nicInputByte", "Bytes"),
    ("nicInputPacket", "Count"),
    ("nicOutputByte", "Bytes"),
    ("nicOutputPacket", "Count"),
];

/// The newest so many seconds are shown.
const SAMPLES: i64 = 6;

impl World {
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        self.instances.keys().map(|id| self.measured(id)).collect()
    }

    pub(crate) fn metric(&self, id: &str) -> Option<Metric> {
        self.instances.get_key_value(&InstanceId::from(id)).map(|(id, _)| self.measured(id))
    }

    fn measured(&self, id: &InstanceId) -> Metric {
        let now = self.clock().as_second();
        let lots: Vec<(i64, [u8; 32])> =
            (now + 1 - SAMPLES..=now).map(|second| (second, self.lots(id, second))).collect();
        let series = QUANTITIES.iter().enumerate().map(|(nth, &(name, unit))| Series {
            name: name.to_owned(),
            samples: lots
                .iter()
                .map(|(second, lots)| sample(name, unit, *second, [lots[2 * nth], lots[2 * nth + 1]]))
                .collect(),
        });
        Metric { id: id.0.clone(), entity: id.0.clone(), series: series.collect() }
    }

    /// The same for an instance and a second, whenever it is looked at.
    fn lots(&self, id: &InstanceId, second: i64) -> [u8; 32] {
        let digest = Sha256::new()
            .chain_update(self.seed.to_le_bytes())
            .chain_update(second.to_le_bytes())
            .chain_update(id.as_str());
        digest.finalize().into()
    }
}

/// A minimum of 1 to 49, a maximum of 50 to 99; of what is a share, in hundredths.
fn sample(name: &str, unit: &str, second: i64, [low, high]: [u8; 2]) -> Vec<(String, String)> {
    let (low, high) = (1 + u32::from(low) % 49, 50 + u32::from(high) % 50);
    let [minimum, maximum, average] = if name.ends_with("Utilization") {
        let share = |hundredths: u32, of: f64| (f64::from(hundredths) / of).to_string();
        [share(low, 100.0), share(high, 100.0), share(low + high, 200.0)]
    } else {
        [low.to_string(), high.to_string(), ((low + high) / 2).to_string()]
    };
    let timestamp = second.to_string();
    [
        ("minimum", minimum),
        ("maximum", maximum),
        ("average", average),
        ("timestamp", timestamp),
        ("unit", unit.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::super::stage::{at, reference, world};
    use super::*;
    use crate::drivers::mock::settings::Settings;

    fn lines(metric: &Metric, name: &str) -> Vec<String> {
        let series = metric.series.iter().find(|series| series.name == name).unwrap();
        let line = |sample: &Vec<(String, String)>| {
            sample.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        series.samples.iter().map(line).collect()
    }

    #[test]
    fn everything_is_measured_in_the_last_six_seconds() {
        let mut world = reference();
        world.advance(at(1_000_900));
        let metrics = world.metrics();
        assert_eq!(
            metrics.iter().map(|metric| metric.entity.as_str()).collect::<Vec<_>>(),
            ["inst0", "inst1", "inst2", "inst3"]
        );
        let names: Vec<_> = metrics[0].series.iter().map(|series| series.name.as_str()).collect();
        assert!(names.is_sorted() && names.len() == 9, "{names:?}");
        for series in metrics.iter().flat_map(|metric| &metric.series) {
            for (sample, second) in series.samples.iter().zip(995..=1_000) {
                let value = |nth: usize| sample[nth].1.parse::<f64>().unwrap();
                let most = if series.name == "cpuUtilization" { 1.0 } else { 100.0 };
                assert!(
                    0.0 < value(0) && value(0) <= value(2) && value(2) <= value(1) && value(1) < most,
                    "{sample:?}"
                );
                assert_eq!(sample[3], ("timestamp".to_owned(), second.to_string()));
            }
            assert_eq!(series.samples.len(), 6);
        }
        let words: Vec<_> = metrics[0].series[0].samples[0].iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(words, ["minimum", "maximum", "average", "timestamp", "unit"]);
        assert_eq!(world.metric("inst2").as_ref(), Some(&metrics[2]));
        assert_eq!(world.metric("inst9"), None);
    }

    #[test]
    fn what_was_measured_stays_measured() {
        let measured = |seed: u64, ms: u64, id: &str| {
            let mut world = world(&Settings::default(), seed);
            world.advance(at(ms));
            lines(&world.metric(id).unwrap(), "nicInputByte")
        };
        assert_eq!(measured(1, 10_000, "inst1")[2..], measured(1, 12_000, "inst1")[..4], "whenever it is looked at");
        assert_ne!(measured(1, 10_000, "inst1"), measured(2, 10_000, "inst1"));
        assert_ne!(measured(1, 10_000, "inst1"), measured(1, 10_000, "inst2"));
    }
}
