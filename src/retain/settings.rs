use serde::Deserialize;

use crate::tasks;

/// `[retention]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// When a round of pruning begins. Cron with seconds, UTC: second minute hour day month weekday.
    pub cron: String,
    /// How long changes are kept, and with them what was owed of them; hooks on what is gone; revisions of what is gone.
    /// Milliseconds; 7 days.
    pub keep_ms: u64,
    /// Changes kept of an account, the newest.
    pub changes_max: u64,
    /// Changes, and again deliveries with their attempts, that one step removes: so long others wait for the writer.
    pub batch: usize,
    /// The pause after as many rows as a step removes at most. Milliseconds.
    pub pause_ms: u64,
    /// Steps of one round; what is left then waits for the next.
    pub steps_max: u64,
}

const DAY_MS: u64 = 24 * 3_600_000;
/// More than this is a slip of the pen, and sums of time must stay within the calendar. Milliseconds.
const TEN_YEARS_MS: u64 = 3_660 * DAY_MS;
/// A pause longer than that would be no pause but an end. Milliseconds.
const PAUSE_MS_MAX: u64 = 60_000;
/// No step may hold the writer for long.
const BATCH_MAX: usize = 10_000;

impl Default for Settings {
    fn default() -> Self {
        Self {
            cron: "50 */10 * * * *".to_owned(),
            keep_ms: 7 * DAY_MS,
            changes_max: 1_000_000,
            batch: 200,
            pause_ms: 20,
            steps_max: 20_000,
        }
    }
}

impl Settings {
    /// `give_up_after_ms`: how long callbacks are tried ([`crate::deliver::Settings::give_up_after_ms`]).
    ///
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub fn check(&self, give_up_after_ms: u64) -> Result<(), String> {
        let Self { cron, keep_ms, changes_max, batch, pause_ms, steps_max } = self;
        tasks::check_cron(cron).map_err(|text| format!("retention.cron: {text}"))?;
        if *keep_ms > TEN_YEARS_MS {
            return Err(format!("retention.keep_ms is {keep_ms}: it must be at most {TEN_YEARS_MS}, ten years"));
        }
        if *keep_ms < give_up_after_ms {
            return Err(format!(
                "retention.keep_ms is {keep_ms}, and callbacks are tried for {give_up_after_ms} (deliver.give_up_after_ms): it must \
                 not be less, or they would be given up before"
            ));
        }
        if *changes_max == 0 || *steps_max == 0 {
            let name = if *changes_max == 0 { "changes_max" } else { "steps_max" };
            return Err(format!("retention.{name} is 0: it must be at least 1"));
        }
        if !(1..=BATCH_MAX).contains(batch) {
            return Err(format!("retention.batch is {batch}: write 1 to {BATCH_MAX}"));
        }
        if *pause_ms > PAUSE_MS_MAX {
            return Err(format!("retention.pause_ms is {pause_ms}: it must be at most {PAUSE_MS_MAX}"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_named() {
        assert_eq!(Settings::default().check(3 * DAY_MS), Ok(()));
        let check = |text: &str, expected: &str| {
            let settings: Settings = toml::from_str(text).unwrap();
            let err = settings.check(3 * DAY_MS).unwrap_err();
            assert!(err.starts_with(expected), "{err}");
        };
        check("cron = 'daily'", "retention.cron: `daily` is no cron expression");
        check("keep_ms = 1000", "retention.keep_ms is 1000, and callbacks are tried for 259200000");
        check("keep_ms = 9999999999999", "retention.keep_ms is 9999999999999: ");
        check("changes_max = 0", "retention.changes_max is 0");
        check("steps_max = 0", "retention.steps_max is 0");
        check("batch = 0", "retention.batch is 0");
        check("batch = 1000000", "retention.batch is 1000000");
        check("pause_ms = 999999", "retention.pause_ms is 999999");
    }
}
