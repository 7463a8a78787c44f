//! Evidence of other accounts in the same place. It never touches an account's own score and baseline: it is laid beside them
//! when a realm is judged, and what others say of it is replaced whenever they say something else.
//!
//! - Nobody is believed alone: fewer than [`Settings::elsewhere_accounts_min`] failing accounts weigh nothing and are not shown.
//! - However much one of them fails, it weighs [`Settings::elsewhere_share`] of what it takes, by its own usual share of failures.
//! - One's own launches speak with the others', in the order in which all happened: those that come up take away.
//! - A profile without room is heard of only by who uses that profile, and not at all where it is known for that.

use std::time::Duration;

use jiff::Timestamp;

use super::launches::{Trial, half_life, weight};
use super::state::{Realms, Record};
use super::{Settings, since};
use crate::model::Elsewhere;

/// What became of a launch, or of all that ran, of an account: as much of it as others may know.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    pub at: Timestamp,
    pub failed: bool,
    /// How much likelier it is where all is down, as a logarithm.
    step: f64,
    /// The profile that there was no room for. It is for comparing, and shown to nobody.
    lacked: Option<String>,
}

/// Own and others' evidence taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Joint {
    pub(super) score: f64,
    pub(super) others: Elsewhere,
}

impl Realms {
    /// What others may know of a realm: the newest of it. Nothing while the account itself is to blame for what fails.
    pub fn shared(&self, realm: &str, now: Timestamp, settings: &Settings) -> Vec<Outcome> {
        let blamed = self.overall.blame_since.is_some() || self.overall.isolated_since.is_some();
        let Some(record) = self.realms.get(realm).filter(|_| settings.elsewhere && !blamed) else { return Vec::new() };
        let usual = self.overall.baseline.rate(settings);
        let launches = record.launches.trials.iter().rev();
        let launches = launches.take_while(|trial| is_late(trial.at, now, settings));
        let launches = launches.filter(|trial| !record.is_of_the_scarce(trial.lacked_room_for()));
        let outcome = |trial: &Trial| Outcome {
            at: trial.at,
            failed: trial.failed > 0,
            step: weight(trial.share(), usual, settings),
            lacked: trial.lacked_room_for().map(str::to_owned),
        };
        let mut outcomes: Vec<_> = launches.take(settings.elsewhere_outcomes_max).map(outcome).collect();
        // That nothing runs any more is as good as a zone that does not answer.
        let full = record.runs.as_ref().filter(|runs| runs.full_since.is_some() && !runs.blamed);
        let step = settings.split_weight * weight(1.0, usual, settings);
        let full = full.map(|runs| Outcome { at: runs.at, failed: true, step, lacked: None });
        outcomes.extend(full.filter(|full| is_late(full.at, now, settings)));
        outcomes.sort_by_key(|outcome| outcome.at);
        outcomes
    }

    /// Gives up realms that own and others' evidence together speak against.
    pub(super) fn heed_others(&mut self, now: Timestamp, settings: &Settings) {
        let Self { overall, realms, .. } = self;
        let usual = overall.baseline.rate(settings);
        let mut changed = Vec::new();
        for (id, record) in realms.iter_mut().filter(|(_, record)| record.launches.tripped.is_none()) {
            let Some(joint) = record.joint(usual, now, settings) else { continue };
            if joint.score >= settings.score_threshold_busy {
                record.launches.trip_with_others(now, joint.score, settings);
                changed.push(id.clone());
            }
        }
        for id in changed {
            self.mark(&id, true);
        }
    }

    /// See [`Record::joint`].
    pub(super) fn joint(&self, record: &Record, now: Timestamp, settings: &Settings) -> Option<Joint> {
        record.joint(self.overall.baseline.rate(settings), now, settings)
    }
}

impl Record {
    /// The score of own and others' evidence since the last of it was done with. `None`: too few others fail.
    fn joint(&self, usual: f64, now: Timestamp, settings: &Settings) -> Option<Joint> {
        let others = self.heard(now, settings);
        let failing = others.iter().filter(|outcomes| outcomes.iter().any(|outcome| outcome.failed)).count();
        if failing < settings.elsewhere_accounts_min {
            return None;
        }
        let own = self.launches.trials.iter();
        let own = own.filter(|trial| self.is_open(trial.at) && !self.is_of_the_scarce(trial.lacked_room_for()));
        let own = own.map(|trial| (trial.at, None, weight(trial.share(), usual, settings)));
        let each = others.iter().enumerate();
        let theirs =
            each.flat_map(|(account, outcomes)| outcomes.iter().map(move |one| (one.at, Some(account), one.step)));
        let mut steps: Vec<_> = own.chain(theirs).collect();
        steps.sort_by_key(|(at, ..)| *at);
        let most = settings.elsewhere_share * settings.score_threshold_busy;
        let mut left = vec![most; others.len()];
        let (mut score, mut before) = (0.0, steps.first().map_or(now, |(at, ..)| *at));
        for (at, account, step) in steps {
            let step = match account.and_then(|account| left.get_mut(account)) {
                Some(left) if step > 0.0 => {
                    let step = step.min(*left);
                    *left -= step;
                    step
                }
                _ => step,
            };
            score = (score * half_life(at, before, settings.score_half_life_seconds) + step).max(0.0);
            before = at;
            if score <= 0.0 {
                left.fill(most);
            }
        }
        let score = score * half_life(now, before, settings.score_half_life_seconds);
        let all = others.iter().map(Vec::len).sum();
        let failed = others.iter().flatten().filter(|outcome| outcome.failed).count();
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let others = Elsewhere { accounts: number(others.len()), failed: number(failed), of: number(all) };
        Some(Joint { score, others })
    }

    /// When others last failed of whom so many did since that one alone cannot have made it up.
    pub(super) fn others_failed_at(&self, now: Timestamp, settings: &Settings) -> Option<Timestamp> {
        let others = self.heard(now, settings);
        let last = |outcomes: &Vec<&Outcome>| outcomes.iter().filter(|one| one.failed).map(|one| one.at).max();
        let mut last: Vec<_> = others.iter().filter_map(last).collect();
        last.sort_unstable_by(|a, b| b.cmp(a));
        last.get(settings.elsewhere_accounts_min.saturating_sub(1)).copied()
    }

    /// Of each other account that has something to say, what of it concerns this one.
    fn heard(&self, now: Timestamp, settings: &Settings) -> Vec<Vec<&Outcome>> {
        let concerns = |outcome: &&Outcome| {
            let lacked = outcome.lacked.as_deref();
            let mine = || self.launches.trials.iter().any(|trial| trial.profile.as_deref() == lacked);
            is_late(outcome.at, now, settings)
                && self.is_open(outcome.at)
                && !self.is_of_the_scarce(lacked)
                && (lacked.is_none() || mine())
        };
        let each = self.elsewhere.iter().map(|outcomes| outcomes.iter().filter(concerns).collect::<Vec<_>>());
        each.filter(|outcomes| !outcomes.is_empty()).collect()
    }

    /// Not done with: a trip that was lifted takes all that led to it with it.
    fn is_open(&self, at: Timestamp) -> bool {
        self.launches.anew_at.is_none_or(|anew| at > anew)
    }

    fn is_of_the_scarce(&self, lacked: Option<&str>) -> bool {
        lacked.is_some_and(|lacked| self.launches.scarce.as_ref().is_some_and(|scarce| scarce.profile == lacked))
    }
}

fn is_late(at: Timestamp, now: Timestamp, settings: &Settings) -> bool {
    since(now, at) <= Duration::from_secs(settings.elsewhere_window_seconds)
}
