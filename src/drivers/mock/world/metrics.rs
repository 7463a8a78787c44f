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
