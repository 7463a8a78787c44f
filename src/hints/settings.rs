use std::time::Duration;

use serde::Deserialize;

use crate::poll::HintTerms;

/// `[hints]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The longest body of a request. Bytes; EventBridge's events have 256 KiB at most.
    pub body_bytes_max: usize,
    /// Ids that one request may name, and events in it.
    pub ids_max: usize,
    /// How long a replaced secret is good beside the new one. Milliseconds; whoever sends needs time to learn it. 0: it ends at once,
    /// as it does when that one is replaced as well.
    pub secret_overlap_ms: u64,
    /// How long the first look waits for more hints of the same unit (a collection of an account). Milliseconds.
    pub coalesce_ms: u64,
    /// How long after a hint the next looks come, until what was hinted was read. Milliseconds, rising.
    pub looks_ms: Vec<u64>,
    /// The shortest time between two hinted looks at a unit. Milliseconds.
    pub gap_ms: u64,
    /// More ids than this in one look make it a list.
    pub flood_ids: usize,
    /// The shortest time between two lists of a unit that hints made due. Milliseconds.
    pub flood_gap_ms: u64,
    /// Hinted ids kept in memory of one unit; of more it is only known that there are more, which is a list.
    pub unit_ids_max: usize,
    /// Of all units together. A few hundred bytes each.
    pub all_ids_max: usize,
    /// Units with hints; hints of more are ignored.
    pub units_max: usize,
    /// A change counts as hinted if a hint of it came no longer before or after it was found. Milliseconds.
    pub hinted_within_ms: u64,
    /// How long a stream of hints that missed a change is not relied on. Milliseconds; an hour.
    pub unproven_ms: u64,
    /// How long one that told of a change is relied on without telling of another. Milliseconds; a day.
    pub proof_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            body_bytes_max: 256 * 1_024,
            ids_max: 1_000,
            secret_overlap_ms: 24 * 3_600_000,
            coalesce_ms: 250,
            looks_ms: vec![1_000, 2_000, 4_000, 8_000, 16_000, 30_000],
            gap_ms: 500,
            flood_ids: 100,
            flood_gap_ms: 5_000,
            unit_ids_max: 1_000,
            all_ids_max: 20_000,
            units_max: 20_000,
            hinted_within_ms: 120_000,
            unproven_ms: 3_600_000,
            proof_ms: 24 * 3_600_000,
        }
    }
}

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        const YEAR_MS: u64 = 366 * 24 * 3_600_000;
        for (name, value) in [
            ("body_bytes_max", self.body_bytes_max),
            ("ids_max", self.ids_max),
            ("flood_ids", self.flood_ids),
            ("unit_ids_max", self.unit_ids_max),
            ("all_ids_max", self.all_ids_max),
            ("units_max", self.units_max),
        ] {
            if value == 0 {
                return Err(format!("hints.{name} is 0: it must be at least 1"));
            }
        }
        let spans = [
            ("secret_overlap_ms", self.secret_overlap_ms),
            ("coalesce_ms", self.coalesce_ms),
            ("gap_ms", self.gap_ms),
            ("flood_gap_ms", self.flood_gap_ms),
            ("hinted_within_ms", self.hinted_within_ms),
            ("unproven_ms", self.unproven_ms),
            ("proof_ms", self.proof_ms),
        ];
        let looks = self.looks_ms.iter().map(|ms| ("looks_ms", *ms));
        if let Some((name, ms)) = spans.into_iter().chain(looks).find(|(_, ms)| *ms > YEAR_MS) {
            return Err(format!("hints.{name} is {ms}: it must be at most {YEAR_MS}, a year"));
        }
        if self.gap_ms == 0 {
            return Err("hints.gap_ms is 0: it must be at least 1".to_owned());
        }
        if !self.looks_ms.is_sorted_by(|a, b| a < b)
            || self.looks_ms.first().is_some_and(|first| *first < self.coalesce_ms)
        {
            return Err("hints.looks_ms must rise, and begin no earlier than hints.coalesce_ms".to_owned());
        }
        Ok(())
    }

    pub fn terms(&self) -> HintTerms {
        let ms = Duration::from_millis;
        HintTerms {
            coalesce: ms(self.coalesce_ms),
            looks: self.looks_ms.iter().copied().map(ms).collect(),
            gap: ms(self.gap_ms),
            flood_ids: self.flood_ids,
            flood_gap: ms(self.flood_gap_ms),
            unit_ids_max: self.unit_ids_max,
            all_ids_max: self.all_ids_max,
            units_max: self.units_max,
            hinted_within: ms(self.hinted_within_ms),
            unproven_for: ms(self.unproven_ms),
            proof_for: ms(self.proof_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let check = |toml: &str, want: &str| {
            let settings: Settings = toml::from_str(toml).unwrap();
            assert_eq!(settings.check().err().unwrap_or_default(), want, "{toml}");
        };
        check("", "");
        check("looks_ms = []", "");
        check("secret_overlap_ms = 0", "");
        check("ids_max = 0", "hints.ids_max is 0: it must be at least 1");
        check("gap_ms = 0", "hints.gap_ms is 0: it must be at least 1");
        check("looks_ms = [1000, 1000]", "hints.looks_ms must rise, and begin no earlier than hints.coalesce_ms");
        check("looks_ms = [100]", "hints.looks_ms must rise, and begin no earlier than hints.coalesce_ms");
        check(
            "looks_ms = [99999999999999]",
            "hints.looks_ms is 99999999999999: it must be at most 31622400000, a year",
        );
    }
}
