use serde::Deserialize;

/// `[reads]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How old an answer of the provider may be to be given again. Milliseconds. 0: every read asks.
    pub max_age_ms: u64,
    /// How old one may be to stand in for a provider that cannot answer. Seconds.
    pub stale_seconds: u64,
    /// Members kept in memory, of all collections of all logins; about a kilobyte each. A list counts three times, as it may be kept
    /// in two representations as well.
    pub members_max: u64,
    /// An instance that is FINISHed is no longer shown, once everybody who follows it was told. Suits clients that take an
    /// unknown state for one that is still to come.
    pub finish_as_404: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_age_ms: 5_000, stale_seconds: 15 * 60, members_max: 50_000, finish_as_404: false }
    }
}

impl Settings {
    /// # Errors
    /// A sentence that names the setting, what is wrong and what would be right.
    pub fn check(&self) -> Result<(), String> {
        const YEAR_SECONDS: u64 = 366 * 24 * 3_600;
        if self.stale_seconds > YEAR_SECONDS {
            let seconds = self.stale_seconds;
            return Err(format!("reads.stale_seconds is {seconds}: it must be at most {YEAR_SECONDS}, a year"));
        }
        if self.max_age_ms > self.stale_seconds.saturating_mul(1_000) {
            return Err(format!(
                "reads.max_age_ms is {}: it must be at most reads.stale_seconds, which is {} s",
                self.max_age_ms, self.stale_seconds
            ));
        }
        if self.members_max == 0 {
            return Err("reads.members_max is 0: it must be at least 1; max_age_ms = 0 makes every read ask".to_owned());
        }
        Ok(())
    }
}
