use std::time::Duration;

use serde::Deserialize;

/// `[availability]` of the settings file. Shares are 0 to 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Realms judged in one account; what is heard of more is not kept.
    pub realms_max: usize,
    /// Examples in one signal: ids of instances or realms.
    pub examples_max: usize,

    /// A provider that says *down* is believed when it says so again this much later. Seconds.
    pub declared_confirm_seconds: u64,
    /// For how long what a provider said of a realm is good, and what was found when the realm was asked by itself. Seconds.
    pub declared_valid_seconds: u64,
    /// Complete answers that must lack a realm, one after the other, before it counts as withdrawn …
    pub withdrawn_answers: u32,
    /// … and the least time between the first and the last of them. Seconds.
    pub withdrawn_after_seconds: u64,

    /// Intervals between answers that are remembered of an endpoint.
    pub answers_kept: usize,
    /// Silence so unlikely is suspect: 8 is one in 10^8.
    pub suspect_phi: f64,
    /// The least deviation of the intervals, as a share of their mean: very regular answers would make a second suspect.
    pub deviation_min: f64,
    /// Faults in a row that are suspect, however short the silence.
    pub suspect_faults: u32,
    /// Suspect for so long is unreachable. Seconds.
    pub unreachable_after_seconds: u64,
    /// Unreachable for so long is degraded …
    pub unreachable_degraded_seconds: u64,
    /// … and for so long unavailable, with nothing else against it: a sick API is no dead zone. Seconds.
    pub unreachable_unavailable_seconds: u64,
    /// How many failed launches a zone is worth that alone does not answer.
    pub split_weight: f64,

    /// Outcomes that the baseline, an account's usual share of failures, is the moving average of.
    pub baseline_outcomes: u32,
    /// The baseline of an account of which nothing is known, as a share …
    pub baseline_first: f64,
    /// … and how many outcomes that is worth.
    pub baseline_first_outcomes: u32,
    /// The baseline stays within these. Below, two failures would do; above, nothing could be told from it.
    pub baseline_min: f64,
    pub baseline_max: f64,
    /// The share of launches that fail in a realm that is down.
    pub down_rate: f64,
    /// What is left of a score after this time is half. Seconds; 6 h.
    pub score_half_life_seconds: u64,
    /// The score that trips: about 10 in odds of e to one.
    pub score_threshold: f64,
    /// The same for a realm with many launches, which has more occasions for a false alarm.
    pub score_threshold_busy: f64,
    /// Many launches are more than this many an hour.
    pub busy_launches_per_hour: f64,
    /// How quickly the rate of launches is forgotten. Seconds; half of it in 1 h.
    pub rate_half_life_seconds: u64,
    /// Newest outcomes kept of a realm.
    pub outcomes_max: usize,
    /// A launch that takes longer has failed. Seconds; 10 min …
    pub launch_deadline_seconds: u64,
    /// … or this many times what 99 of 100 take, whichever is more.
    pub launch_deadline_p99s: f64,
    /// Launches that this is reckoned from, the newest of the account.
    pub launch_times_kept: usize,

    /// What launches come to in other accounts counts in those that use the same place at the same provider. They see how many, and
    /// nothing that says whose.
    pub elsewhere: bool,
    /// Fewer other accounts in which something failed say nothing, and are not shown.
    pub elsewhere_accounts_min: usize,
    /// What one other account weighs at most, however much of it fails: a share of `score_threshold_busy`, which own and others'
    /// evidence must reach together.
    pub elsewhere_share: f64,
    /// For how long others are believed. Seconds; 1 h.
    pub elsewhere_window_seconds: u64,
    /// Newest outcomes that others hear of, of an account's realm.
    pub elsewhere_outcomes_max: usize,
    /// Other accounts that are heard of one place.
    pub elsewhere_accounts_max: usize,

    /// An instance counts as one that runs after this long. Seconds.
    pub runs_steady_seconds: u64,
    /// Fewer of them say nothing.
    pub runs_min: u32,
    /// The share of them gone bad that is a partial failure; all of them is a full one.
    pub runs_partial: f64,
    /// For how long one counts as bad that ended, stopped or vanished by the provider's doing. One whose checks fail counts while
    /// they do. Seconds.
    pub runs_memory_seconds: u64,
    /// Bad ones remembered of a realm.
    pub runs_bad_max: usize,

    /// Realms that trip within so long of each other may have one cause, which is none of them. Seconds.
    pub blame_window_seconds: u64,
    /// So it is taken if more than this share of the realms in use trip.
    pub blame_share: f64,
    /// A realm whose score is this share of the threshold counts as tripping, too, if another one has tripped.
    pub blame_leaning: f64,
    /// How long a launch says that a realm is in use. Seconds; 24 h.
    pub evidence_valid_seconds: u64,

    /// How long a realm is unavailable at least, the first time; each further trip doubles it. Seconds.
    pub hold_down_seconds: u64,
    /// The longest. Seconds.
    pub hold_down_max_seconds: u64,
    /// How long trips are counted. Seconds; 6 h.
    pub trips_window_seconds: u64,
    /// The hold-down when the provider says that the realm is up again. Seconds.
    pub hold_down_declared_seconds: u64,
    /// Instances that must come up, one after the other without a failure, to show that a realm works again …
    pub recover_successes: u32,
    /// … and the requests that they must come from at least.
    pub recover_requests: u32,
    /// Silence shows that, too, if so many launches would have been due meanwhile at the rate before.
    pub quiet_launches: f64,
    /// Failures on probation that trip it again.
    pub probation_failures: u32,
    /// Probation ends after this long, or with as many successes as recovery takes. Seconds; 6 h.
    pub probation_seconds: u64,

    /// The length of a turn: changes of state in one turn count once. Seconds.
    pub flap_turn_seconds: u64,
    /// Turns looked at.
    pub flap_turns: u32,
    /// Flapping begins when the state changed in more than this share of them …
    pub flap_start: f64,
    /// … and ends when it did in less.
    pub flap_end: f64,

    pub confidence: Confidence,
}

/// `[availability.confidence]`: how sure a verdict is. 0 to 1.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Confidence {
    /// Unavailable: declared, or two kinds of evidence agree.
    pub certain: f64,
    /// Unavailable by evidence alone, and the provider says nothing or *degraded*.
    pub evidence: f64,
    /// Unavailable by evidence alone, though the provider says *up*.
    pub contradicted: f64,
    /// Unavailable because nothing answers.
    pub unreachable: f64,
    /// Degraded.
    pub degraded: f64,
    /// Degraded by something not confirmed.
    pub doubtful: f64,
    /// Available, and launches have come up lately: as many as recovery takes.
    pub proven: f64,
    /// Available, and one has.
    pub likely: f64,
    /// Available, as the provider says so.
    pub declared: f64,
    /// Available on probation, or merely because the provider answers.
    pub probation: f64,
}

impl Default for Confidence {
    fn default() -> Self {
        Self {
            certain: 0.95,
            evidence: 0.85,
            contradicted: 0.7,
            unreachable: 0.6,
            degraded: 0.8,
            doubtful: 0.5,
            proven: 0.9,
            likely: 0.75,
            declared: 0.6,
            probation: 0.4,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            realms_max: 1_000,
            examples_max: 5,
            declared_confirm_seconds: 30,
            declared_valid_seconds: 900,
            withdrawn_answers: 3,
            withdrawn_after_seconds: 600,
            answers_kept: 100,
            suspect_phi: 8.0,
            deviation_min: 0.1,
            suspect_faults: 5,
            unreachable_after_seconds: 60,
            unreachable_degraded_seconds: 120,
            unreachable_unavailable_seconds: 600,
            split_weight: 2.0,
            baseline_outcomes: 500,
            baseline_first: 0.03,
            baseline_first_outcomes: 20,
            baseline_min: 0.02,
            baseline_max: 0.3,
            down_rate: 0.6,
            score_half_life_seconds: 21_600,
            score_threshold: 10.0,
            score_threshold_busy: 12.0,
            busy_launches_per_hour: 20.0,
            rate_half_life_seconds: 3_600,
            outcomes_max: 64,
            launch_deadline_seconds: 600,
            launch_deadline_p99s: 3.0,
            launch_times_kept: 100,
            elsewhere: true,
            elsewhere_accounts_min: 2,
            elsewhere_share: 0.4,
            elsewhere_window_seconds: 3_600,
            elsewhere_outcomes_max: 8,
            elsewhere_accounts_max: 100,
            runs_steady_seconds: 600,
            runs_min: 3,
            runs_partial: 0.55,
            runs_memory_seconds: 3_600,
            runs_bad_max: 1_000,
            blame_window_seconds: 600,
            blame_share: 0.5,
            blame_leaning: 0.5,
            evidence_valid_seconds: 86_400,
            hold_down_seconds: 300,
            hold_down_max_seconds: 3_600,
            trips_window_seconds: 21_600,
            hold_down_declared_seconds: 60,
            recover_successes: 3,
            recover_requests: 2,
            quiet_launches: 8.0,
            probation_failures: 2,
            probation_seconds: 21_600,
            flap_turn_seconds: 30,
            flap_turns: 20,
            flap_start: 0.3,
            flap_end: 0.25,
            confidence: Confidence::default(),
        }
    }
}

/// A month. More is a slip of the pen, and sums of time must stay within the calendar.
const SECONDS_MAX: u64 = 31 * 86_400;

impl Settings {
    /// What is wrong with them, in one sentence that names the key.
    ///
    /// # Errors
    /// The first number out of its bounds, or that does not fit another.
    pub fn check(&self) -> Result<(), String> {
        self.lengths()?;
        self.counts()?;
        self.numbers()?;
        let order = [
            ("baseline_min", self.baseline_min, "baseline_max", self.baseline_max),
            ("baseline_max", self.baseline_max, "down_rate", self.down_rate),
            ("flap_end", self.flap_end, "flap_start", self.flap_start),
            ("score_threshold", self.score_threshold, "score_threshold_busy", self.score_threshold_busy),
            (
                "hold_down_seconds",
                seconds(self.hold_down_seconds),
                "hold_down_max_seconds",
                seconds(self.hold_down_max_seconds),
            ),
            (
                "unreachable_degraded_seconds",
                seconds(self.unreachable_degraded_seconds),
                "unreachable_unavailable_seconds",
                seconds(self.unreachable_unavailable_seconds),
            ),
        ];
        match order.into_iter().find(|(_, less, _, more)| less > more) {
            Some((less, value, more, bound)) => {
                Err(format!("availability.{less} is {value}: it must not be more than {more}, which is {bound}"))
            }
            None if self.baseline_max >= self.down_rate => {
                Err(format!("availability.down_rate is {}: it must be more than baseline_max", self.down_rate))
            }
            None => Ok(()),
        }
    }

    fn lengths(&self) -> Result<(), String> {
        let lengths = [
            ("declared_confirm_seconds", self.declared_confirm_seconds, 0),
            ("declared_valid_seconds", self.declared_valid_seconds, 1),
            ("withdrawn_after_seconds", self.withdrawn_after_seconds, 0),
            ("unreachable_after_seconds", self.unreachable_after_seconds, 0),
            ("unreachable_degraded_seconds", self.unreachable_degraded_seconds, 0),
            ("unreachable_unavailable_seconds", self.unreachable_unavailable_seconds, 0),
            ("score_half_life_seconds", self.score_half_life_seconds, 1),
            ("rate_half_life_seconds", self.rate_half_life_seconds, 1),
            ("launch_deadline_seconds", self.launch_deadline_seconds, 1),
            ("elsewhere_window_seconds", self.elsewhere_window_seconds, 1),
            ("runs_steady_seconds", self.runs_steady_seconds, 0),
            ("runs_memory_seconds", self.runs_memory_seconds, 1),
            ("blame_window_seconds", self.blame_window_seconds, 1),
            ("evidence_valid_seconds", self.evidence_valid_seconds, 1),
            ("hold_down_seconds", self.hold_down_seconds, 0),
            ("hold_down_max_seconds", self.hold_down_max_seconds, 0),
            ("trips_window_seconds", self.trips_window_seconds, 1),
            ("hold_down_declared_seconds", self.hold_down_declared_seconds, 0),
            ("probation_seconds", self.probation_seconds, 0),
            ("flap_turn_seconds", self.flap_turn_seconds, 1),
        ];
        within(lengths.map(|(key, value, from)| (key, value, from, SECONDS_MAX)))
    }

    fn counts(&self) -> Result<(), String> {
        within([
            ("realms_max", self.realms_max as u64, 1, 100_000),
            ("examples_max", self.examples_max as u64, 0, 100),
            ("withdrawn_answers", self.withdrawn_answers.into(), 1, 1_000),
            ("answers_kept", self.answers_kept as u64, 2, 10_000),
            ("suspect_faults", self.suspect_faults.into(), 1, 1_000),
            ("baseline_outcomes", self.baseline_outcomes.into(), 1, 1_000_000),
            ("baseline_first_outcomes", self.baseline_first_outcomes.into(), 1, 1_000_000),
            // An episode is retold from these, and no threshold within bounds needs more failures than this.
            ("outcomes_max", self.outcomes_max as u64, 16, 10_000),
            ("launch_times_kept", self.launch_times_kept as u64, 1, 10_000),
            // One alone is never believed, nor shown: it would be plain who it is.
            ("elsewhere_accounts_min", self.elsewhere_accounts_min as u64, 2, 10_000),
            ("elsewhere_outcomes_max", self.elsewhere_outcomes_max as u64, 1, 1_000),
            ("elsewhere_accounts_max", self.elsewhere_accounts_max as u64, 2, 10_000),
            ("runs_min", self.runs_min.into(), 1, 1_000_000),
            ("runs_bad_max", self.runs_bad_max as u64, 1, 1_000_000),
            ("recover_successes", self.recover_successes.into(), 1, 1_000),
            ("recover_requests", self.recover_requests.into(), 1, 1_000),
            ("probation_failures", self.probation_failures.into(), 1, 1_000),
            ("flap_turns", self.flap_turns.into(), 2, 1_000),
        ])
    }

    fn numbers(&self) -> Result<(), String> {
        let Confidence {
            certain,
            evidence,
            contradicted,
            unreachable,
            degraded,
            doubtful,
            proven,
            likely,
            declared,
            probation,
        } = self.confidence;
        within([
            ("suspect_phi", self.suspect_phi, 0.1, 100.0),
            ("deviation_min", self.deviation_min, 0.001, 10.0),
            ("split_weight", self.split_weight, 0.0, 10.0),
            ("baseline_first", self.baseline_first, 0.0, 1.0),
            ("baseline_min", self.baseline_min, 0.001, 0.9),
            ("baseline_max", self.baseline_max, 0.001, 0.9),
            ("down_rate", self.down_rate, 0.01, 0.99),
            ("score_threshold", self.score_threshold, 0.1, 20.0),
            ("score_threshold_busy", self.score_threshold_busy, 0.1, 20.0),
            ("busy_launches_per_hour", self.busy_launches_per_hour, 0.0, 1e6),
            ("launch_deadline_p99s", self.launch_deadline_p99s, 0.0, 1_000.0),
            ("elsewhere_share", self.elsewhere_share, 0.0, 0.9),
            ("runs_partial", self.runs_partial, 0.0, 1.0),
            ("blame_share", self.blame_share, 0.0, 1.0),
            ("blame_leaning", self.blame_leaning, 0.0, 1.0),
            ("quiet_launches", self.quiet_launches, 0.0, 1_000.0),
            ("flap_start", self.flap_start, 0.0, 1.0),
            ("flap_end", self.flap_end, 0.0, 1.0),
            ("confidence.certain", certain, 0.0, 1.0),
            ("confidence.evidence", evidence, 0.0, 1.0),
            ("confidence.contradicted", contradicted, 0.0, 1.0),
            ("confidence.unreachable", unreachable, 0.0, 1.0),
            ("confidence.degraded", degraded, 0.0, 1.0),
            ("confidence.doubtful", doubtful, 0.0, 1.0),
            ("confidence.proven", proven, 0.0, 1.0),
            ("confidence.likely", likely, 0.0, 1.0),
            ("confidence.declared", declared, 0.0, 1.0),
            ("confidence.probation", probation, 0.0, 1.0),
        ])
    }

    pub(super) fn hold_down(&self, trips: usize) -> Duration {
        let doublings = u32::try_from(trips.saturating_sub(1)).unwrap_or(u32::MAX);
        let doubled = self.hold_down_seconds.saturating_mul(2_u64.saturating_pow(doublings));
        Duration::from_secs(doubled.min(self.hold_down_max_seconds))
    }
}

fn seconds(whole: u64) -> f64 {
    Duration::from_secs(whole).as_secs_f64()
}

fn within<T, const N: usize>(bounds: [(&str, T, T, T); N]) -> Result<(), String>
where
    T: PartialOrd + std::fmt::Display,
{
    // A number that is none lies within nothing.
    match bounds.into_iter().find(|(_, value, from, to)| !(from..=to).contains(&value)) {
        Some((key, value, from, to)) => Err(format!("availability.{key} is {value}: it must be from {from} to {to}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_sense_are_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let check = |text: &str, expected: &str| {
            let settings: Settings = toml::from_str(text).unwrap();
            let err = settings.check().unwrap_err();
            assert!(err.starts_with(expected), "{err}");
        };
        check("realms_max = 0", "availability.realms_max is 0: it must be from 1 to 100000");
        check("hold_down_seconds = 9999999999", "availability.hold_down_seconds is 9999999999");
        check("flap_turn_seconds = 0", "availability.flap_turn_seconds is 0");
        check("suspect_phi = nan", "availability.suspect_phi is NaN");
        check("baseline_min = 0.5", "availability.baseline_min is 0.5: it must not be more than baseline_max");
        check("down_rate = 0.3", "availability.down_rate is 0.3: it must be more than baseline_max");
        check("flap_end = 0.5", "availability.flap_end is 0.5");
        check("hold_down_max_seconds = 10", "availability.hold_down_seconds is 300");
        check("unreachable_unavailable_seconds = 60", "availability.unreachable_degraded_seconds is 120");
        check("[confidence]\ncertain = 1.5", "availability.confidence.certain is 1.5");
    }

    #[test]
    fn the_hold_down_doubles_up_to_its_cap() {
        let settings = Settings::default();
        let minutes: Vec<_> = (0..8).map(|trips| settings.hold_down(trips).as_secs() / 60).collect();
        assert_eq!(minutes, [5, 5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(settings.hold_down(usize::MAX).as_secs(), 3_600);
    }
}
