//! Launch evidence: the score of a realm, the account's baseline that it is measured against, and the hardware profile that
//! may be to blame instead.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::declared::cut;
use super::{Settings, since};
use crate::model::FaultKind;

/// The account's usual share of launches that fail: a moving average over the outcomes of realms that are not suspected.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Baseline {
    failed: f64,
    all: f64,
}

impl Baseline {
    pub(super) fn new(settings: &Settings) -> Self {
        let all = f64::from(settings.baseline_first_outcomes);
        Self { failed: fixed(all * settings.baseline_first), all }
    }

    pub(super) fn rate(&self, settings: &Settings) -> f64 {
        (self.failed / self.all.max(1.0)).clamp(settings.baseline_min, settings.baseline_max)
    }

    fn learn(&mut self, held: Held, settings: &Settings) {
        let kept = (1.0 - 1.0 / f64::from(settings.baseline_outcomes)).powf(held.all);
        self.failed = fixed(self.failed * kept + held.failed);
        self.all = fixed(self.all * kept + held.all);
    }
}

/// Outcomes of an episode that is not over: they go to the baseline when the score is back at 0, and nowhere if it trips. So
/// an outage does not teach that failing is usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Held {
    failed: f64,
    all: f64,
}

/// One request and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trial {
    pub(super) at: Timestamp,
    pub(super) request: String,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<FaultKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) profile: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) ids: Vec<String>,
}

impl Trial {
    /// The part of it that failed; the whole counts 1.
    pub(super) fn share(&self) -> f64 {
        f64::from(self.failed) / f64::from(self.failed.saturating_add(self.succeeded).max(1))
    }

    pub(super) fn lacked_room_for(&self) -> Option<&str> {
        self.profile.as_deref().filter(|_| self.failed > 0 && self.kind == Some(FaultKind::Capacity))
    }
}

/// The score went over its threshold, or probation ended badly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trip {
    pub(super) at: Timestamp,
    pub(super) score: f64,
    pub(super) threshold: f64,
    /// Launches an hour at that moment: what would be due if all were well.
    rate: f64,
    pub(super) on_probation: bool,
    /// It happened in too many realms at once to be the realm's fault.
    pub(super) blamed: bool,
    /// It took other accounts' failures.
    #[serde(default)]
    pub(super) with_others: bool,
}

/// Successes in a row, as instances and as requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Streak {
    instances: u32,
    requests: u32,
}

/// After an outage: as good as available, but not trusted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Probation {
    pub(super) since: Timestamp,
    failures: u32,
}

/// A profile that there is no room for while others come up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scarce {
    pub(super) profile: String,
    pub(super) since: Timestamp,
}

/// What launches say of a realm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Launches {
    score: f64,
    scored_at: Option<Timestamp>,
    /// When the score left 0.
    pub(super) episode_at: Option<Timestamp>,
    held: Held,
    /// Launches, each counted less the older it is.
    recently: f64,
    counted_at: Option<Timestamp>,
    /// Newest last.
    pub(super) trials: VecDeque<Trial>,
    streak: Streak,
    pub(super) last_failure_at: Option<Timestamp>,
    pub(super) tripped: Option<Trip>,
    pub(super) probation: Option<Probation>,
    pub(super) scarce: Option<Scarce>,
    /// When a trip was last lifted: what was before is done with.
    pub(super) anew_at: Option<Timestamp>,
}

impl Launches {
    /// Counts a trial that was not counted before. False: it was.
    pub(super) fn hear(&mut self, trial: Trial, baseline: &mut Baseline, settings: &Settings) -> bool {
        if self.trials.iter().any(|known| known.request == trial.request) {
            return false;
        }
        let share = trial.share();
        let at = trial.at;
        self.count(at, settings);
        self.advance(share, at, baseline, settings);
        if trial.failed > 0 {
            self.streak = Streak::default();
            self.last_failure_at = self.last_failure_at.max(Some(at));
        } else {
            self.streak.instances = self.streak.instances.saturating_add(trial.succeeded);
            self.streak.requests = self.streak.requests.saturating_add(1);
        }
        let failed = trial.failed > 0;
        self.trials.push_back(trial);
        let surplus = self.trials.len().saturating_sub(settings.outcomes_max);
        self.trials.drain(..surplus);
        self.on_probation(failed, at, settings);
        self.judge_profiles(at, baseline, settings);
        if failed {
            self.trip_if_due(at, baseline, settings);
        }
        true
    }

    /// As strong as so many failed launches, though none was made: its zone alone does not answer.
    pub(super) fn weigh_in(&mut self, failures: f64, at: Timestamp, baseline: &Baseline, settings: &Settings) {
        let added = failures * weight(1.0, baseline.rate(settings), settings);
        self.score = fixed(self.score_at(at, settings) + added).min(score_max(settings));
        self.scored_at = self.scored_at.max(Some(at));
        self.last_failure_at = self.last_failure_at.max(Some(at));
        self.episode_at.get_or_insert(at);
        self.trip_if_due(at, baseline, settings);
    }

    /// What is left of it now.
    pub(super) fn score_at(&self, now: Timestamp, settings: &Settings) -> f64 {
        self.scored_at.map_or(0.0, |at| self.score * half_life(now, at, settings.score_half_life_seconds))
    }

    pub(super) fn threshold(&self, now: Timestamp, settings: &Settings) -> f64 {
        let busy = self.per_hour(now, settings) > settings.busy_launches_per_hour;
        if busy { settings.score_threshold_busy } else { settings.score_threshold }
    }

    /// Launches an hour, lately.
    pub(super) fn per_hour(&self, now: Timestamp, settings: &Settings) -> f64 {
        let half = settings.rate_half_life_seconds;
        let left = self.counted_at.map_or(0.0, |at| self.recently * half_life(now, at, half));
        left * std::f64::consts::LN_2 * 3_600.0 / Duration::from_secs(half).as_secs_f64()
    }

    /// Whether launches say that it works again, or would have had the occasion to say that it does not. `shortened`: the
    /// provider said meanwhile that it is up, so that the hold-down alone is silence enough.
    pub(super) fn has_recovered(
        &self,
        now: Timestamp,
        hold_down: Duration,
        shortened: bool,
        others_failed_at: Option<Timestamp>,
        settings: &Settings,
    ) -> bool {
        let Some(trip) = &self.tripped else { return true };
        self.has_proven(settings) || {
            let theirs = others_failed_at.filter(|_| trip.with_others);
            let last_bad = self.last_failure_at.into_iter().chain(theirs).fold(trip.at, Timestamp::max);
            let due_within = Duration::try_from_secs_f64(settings.quiet_launches / trip.rate * 3_600.0);
            let occasion = due_within.unwrap_or(Duration::MAX).min(Duration::from_secs(settings.hold_down_max_seconds));
            let silence = if shortened { hold_down } else { hold_down.max(occasion) };
            since(now, last_bad) >= silence
        }
    }

    fn has_proven(&self, settings: &Settings) -> bool {
        self.streak.instances >= settings.recover_successes && self.streak.requests >= settings.recover_requests
    }

    /// Forgets the trip and everything that led to it.
    pub(super) fn lift(&mut self, now: Timestamp) {
        self.tripped = None;
        self.begin_anew();
        self.anew_at = Some(now);
    }

    pub(super) fn begin_probation(&mut self, now: Timestamp) {
        self.streak = Streak::default();
        self.probation = Some(Probation { since: now, failures: 0 });
    }

    /// What ends by itself with time.
    pub(super) fn expire(&mut self, now: Timestamp, baseline: &Baseline, settings: &Settings) -> bool {
        let over =
            |probation: &Probation| since(now, probation.since) >= Duration::from_secs(settings.probation_seconds);
        let ended = self.probation.take_if(|probation| over(probation)).is_some();
        let room = self.scarce.as_ref().is_some_and(|scarce| self.has_room(&scarce.profile, now, baseline, settings));
        if room {
            self.scarce = None;
        }
        ended || room
    }

    /// Whether anything was launched within `window`.
    pub(super) fn any_within(&self, now: Timestamp, window: Duration) -> bool {
        self.counted_at.is_some_and(|at| since(now, at) <= window)
    }

    /// Requests that came up within `window`; no more than `enough` are looked for.
    pub(super) fn successes_within(&self, now: Timestamp, window: Duration, enough: usize) -> usize {
        let lately = |trial: &&Trial| since(now, trial.at) <= window && trial.succeeded > 0;
        self.trials.iter().rev().filter(lately).take(enough).count()
    }

    /// Something did, after `at`.
    pub(super) fn came_up_since(&self, at: Timestamp) -> bool {
        self.trials.iter().any(|trial| trial.at > at && trial.succeeded > 0)
    }

    fn count(&mut self, at: Timestamp, settings: &Settings) {
        let left = self.counted_at.map_or(0.0, |before| half_life(at, before, settings.rate_half_life_seconds));
        self.recently = fixed(self.recently * left + 1.0);
        self.counted_at = self.counted_at.max(Some(at));
    }

    /// The cumulated sum, one-sided: never below 0.
    fn advance(&mut self, share: f64, at: Timestamp, baseline: &mut Baseline, settings: &Settings) {
        let step = weight(share, baseline.rate(settings), settings);
        self.score = fixed((self.score_at(at, settings) + step).clamp(0.0, score_max(settings)));
        self.scored_at = self.scored_at.max(Some(at));
        self.held.failed = fixed(self.held.failed + share);
        self.held.all += 1.0;
        if self.score > 0.0 {
            self.episode_at.get_or_insert(at);
        } else {
            self.episode_at = None;
        }
        match &self.tripped {
            // The fault is not the realm's: it is how things are with this account.
            Some(trip) if trip.blamed => baseline.learn(std::mem::take(&mut self.held), settings),
            Some(_) => self.held = Held::default(),
            None if self.score <= 0.0 => baseline.learn(std::mem::take(&mut self.held), settings),
            None => {}
        }
    }

    fn on_probation(&mut self, failed: bool, at: Timestamp, settings: &Settings) {
        let proven = self.has_proven(settings);
        let Some(probation) = &mut self.probation else { return };
        if failed {
            probation.failures += 1;
        } else if proven {
            self.probation = None;
        }
        if self.probation.is_some_and(|probation| probation.failures >= settings.probation_failures) {
            self.trip(at, true, settings);
        }
    }

    fn trip_if_due(&mut self, at: Timestamp, baseline: &Baseline, settings: &Settings) {
        let threshold = self.threshold(at, settings);
        if self.tripped.is_none() && self.score >= threshold && !self.is_of_a_profile(at, baseline, settings) {
            self.trip(at, false, settings);
        }
    }

    fn trip(&mut self, at: Timestamp, on_probation: bool, settings: &Settings) {
        let threshold = self.threshold(at, settings);
        let rate = fixed(self.per_hour(at, settings));
        let score = self.score;
        self.tripped = Some(Trip { at, score, threshold, rate, on_probation, blamed: false, with_others: false });
        self.probation = None;
        self.streak = Streak::default();
        self.held = Held::default();
    }

    /// Own failures and others' together are enough.
    pub(super) fn trip_with_others(&mut self, at: Timestamp, score: f64, settings: &Settings) {
        self.trip(at, false, settings);
        let threshold = settings.score_threshold_busy;
        let of_all = |trip: Trip| Trip { score: fixed(score), threshold, with_others: true, ..trip };
        self.tripped = self.tripped.take().map(of_all);
    }

    fn begin_anew(&mut self) {
        self.score = 0.0;
        self.episode_at = None;
        self.held = Held::default();
    }

    /// Finds the profile that there is no room for, and lets go of a trip that it explains.
    fn judge_profiles(&mut self, at: Timestamp, baseline: &Baseline, settings: &Settings) {
        let Some(profile) = self.trials.back().and_then(Trial::lacked_room_for).map(str::to_owned) else {
            // A success of another profile may be what shows that a trip was one profile's.
            if self.tripped.as_ref().is_some_and(|trip| !trip.on_probation)
                && self.is_of_a_profile(at, baseline, settings)
            {
                self.lift(at);
            }
            return;
        };
        let threshold = self.threshold(at, settings);
        let lacking = |trial: &Trial| trial.profile.as_deref() == Some(&profile);
        let known = self.scarce.as_ref().is_some_and(|scarce| scarce.profile == profile);
        if !known && self.others_come_up(&profile) && self.retold(at, baseline, settings, lacking) >= threshold {
            self.scarce = Some(Scarce { profile, since: at });
        }
    }

    /// Whether the score would not be over its threshold but for one profile, which has no room while others come up. That
    /// profile is remembered.
    fn is_of_a_profile(&mut self, at: Timestamp, baseline: &Baseline, settings: &Settings) -> bool {
        let Some(profile) = self.trials.iter().rev().find_map(Trial::lacked_room_for).map(str::to_owned) else {
            return false;
        };
        if !self.others_come_up(&profile) {
            return false;
        }
        let others = |trial: &Trial| trial.profile.as_deref() != Some(&profile);
        if self.retold(at, baseline, settings, others) >= self.threshold(at, settings) {
            return false;
        }
        if self.scarce.as_ref().is_none_or(|scarce| scarce.profile != profile) {
            self.scarce = Some(Scarce { profile, since: at });
        }
        true
    }

    /// Others came up since the profile began to fail.
    fn others_come_up(&self, profile: &str) -> bool {
        let begun = self.trials.iter().position(|trial| trial.lacked_room_for() == Some(profile));
        let other = |trial: &Trial| {
            trial.failed == 0 && trial.succeeded > 0 && trial.profile.as_deref().is_some_and(|other| other != profile)
        };
        begun.is_some_and(|begun| self.trials.iter().skip(begun).any(other))
    }

    /// The profile comes up again, or its failures are too old.
    fn has_room(&self, profile: &str, now: Timestamp, baseline: &Baseline, settings: &Settings) -> bool {
        let mine = |trial: &&Trial| trial.profile.as_deref() == Some(profile);
        let row = self.trials.iter().rev().filter(mine).take_while(|trial| trial.failed == 0);
        let came_up: u32 = row.map(|trial| trial.succeeded).fold(0, u32::saturating_add);
        let left = self.retold(now, baseline, settings, |trial| mine(&trial));
        came_up >= settings.recover_successes || left < settings.score_threshold / 2.0
    }

    /// What the score would be now if only these had been told, of those that are remembered.
    fn retold(&self, now: Timestamp, baseline: &Baseline, settings: &Settings, of: impl Fn(&Trial) -> bool) -> f64 {
        let usual = baseline.rate(settings);
        let half = settings.score_half_life_seconds;
        let step = |(score, before): (f64, Timestamp), trial: &Trial| {
            let left = score * half_life(trial.at, before, half);
            ((left + weight(trial.share(), usual, settings)).max(0.0), trial.at.max(before))
        };
        let told = self.trials.iter().filter(|trial| of(trial));
        let begin = (0.0, self.trials.front().map_or(now, |trial| trial.at));
        let (score, at) = told.fold(begin, step);
        score * half_life(now, at, half)
    }
}

impl Trial {
    /// `None`: it says nothing of the realm.
    pub(super) fn of(launch: &super::Launch, examples: usize) -> Option<Self> {
        let fault = launch.fault.as_ref().filter(|_| launch.failed > 0);
        // Whoever failed for a reason of the caller's never reached the realm.
        let failed = if fault.is_none_or(|fault| fault.kind.counts()) { launch.failed } else { 0 };
        let fault = fault.filter(|_| failed > 0);
        (failed > 0 || launch.succeeded > 0).then(|| Self {
            at: launch.at,
            request: launch.request.clone(),
            succeeded: launch.succeeded,
            failed,
            kind: fault.map(|fault| fault.kind),
            code: fault.map(|fault| cut(&fault.code)),
            profile: launch.profile.clone(),
            ids: launch.instances.iter().take(examples).filter(|_| failed > 0).map(ToString::to_string).collect(),
        })
    }
}

/// What a trial adds to a score: the logarithm of how much likelier it is in a realm that is down.
pub(super) fn weight(share: f64, usual: f64, settings: &Settings) -> f64 {
    let down = settings.down_rate;
    share * (down / usual).ln() + (1.0 - share) * ((1.0 - down) / (1.0 - usual)).ln()
}

/// An outage of a day must not leave a score that takes another day to sink.
fn score_max(settings: &Settings) -> f64 {
    2.0 * settings.score_threshold_busy
}

/// What is left at `now` of something from `at`.
pub(super) fn half_life(now: Timestamp, at: Timestamp, seconds: u64) -> f64 {
    0.5_f64.powf(since(now, at).as_secs_f64() / Duration::from_secs(seconds).as_secs_f64())
}

/// Six decimals, so that what is kept as JSON is read back as the very same number.
fn fixed(number: f64) -> f64 {
    (number * 1e6).round() / 1e6
}
