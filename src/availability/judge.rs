//! From what is remembered to what is told.

use std::time::Duration;

use jiff::Timestamp;

use super::state::{Published, Realms, Record};
use super::verdict::Decision;
use super::{Evidence, Reachability, Rule, Settings, Standing, Told, Turned, since, why};
use crate::model::{Availability, Figure};

impl Realms {
    /// What follows, at `now`, from all that was heard. To be asked after every event and every half minute: some verdicts ripen
    /// by themselves. Asked again at once it has nothing to say.
    pub fn evaluate(&mut self, now: Timestamp, settings: &Settings) -> Vec<Told> {
        let mut told = Vec::new();
        if self.is_isolated(now, &mut told) {
            return told;
        }
        self.expire(now, settings);
        self.heed_others(now, settings);
        self.find_blame(now, settings, &mut told);
        // Whether another realm works decides on the last one: those who get better or worse by themselves come first.
        let ids: Vec<String> = self.realms.keys().cloned().collect();
        for alone in [false, true] {
            for id in &ids {
                self.evaluate_realm(id, alone, now, settings, &mut told);
            }
        }
        for id in &ids {
            self.settle(id, now, settings, &mut told);
        }
        told
    }

    /// `None`: not known, or not judged yet.
    pub fn standing(&self, realm: &str) -> Option<Standing> {
        let record = self.realms.get(realm)?;
        let published = record.published.as_ref()?;
        let isolated = self.overall.isolated_since;
        let unknown = (published.state == Availability::Unknown).then_some(published.since);
        let stale_since = unknown.or(isolated);
        Some(Standing {
            state: isolated.map_or(published.state, |_| Availability::Unknown),
            since: isolated.unwrap_or(published.since),
            confidence: if stale_since.is_some() { Figure::default() } else { percent(published.confidence) },
            wire: record.wire,
            stale_since,
            flapping: record.flapping_since.is_some(),
            probation: record.launches.probation.is_some(),
            why: match isolated {
                Some(since) => why::isolated(Some(since), since),
                None => published.why.clone(),
            },
        })
    }

    /// The verdict in force, for whoever learns only now that there is such a realm.
    pub fn restated(&self, realm: &str, now: Timestamp) -> Option<Told> {
        let record = self.realms.get(realm)?;
        let published = record.published.as_ref()?;
        Some(Told::Verdict(Turned {
            realm: realm.to_owned(),
            from: None,
            to: published.state,
            from_wire: None,
            to_wire: record.wire,
            at: now,
            confidence: percent(published.confidence),
            suppressed: record.flapping_since.is_some(),
            why: published.why.clone(),
        }))
    }

    /// Everything known of a realm at `now`. `None`: the realm is not known.
    pub fn evidence(&self, realm: &str, now: Timestamp, settings: &Settings) -> Option<Evidence> {
        let (id, record) = self.realms.get_key_value(realm)?;
        let signals = why::signals(self, id, record, now, settings);
        let text = why::sentence(None, id, &signals, now);
        Some(Evidence { realm: realm.to_owned(), at: now, standing: self.standing(realm), text, signals })
    }

    /// While nobody answers us nothing is judged: what holds is shown as unknown, and is there again afterwards.
    fn is_isolated(&mut self, now: Timestamp, told: &mut Vec<Told>) -> bool {
        let isolated = self.overall.reach.is_some_and(|reach| reach.state == Reachability::Isolated);
        // After a restart nothing is known of reachability; until something is, the isolation stands.
        let unheard = self.overall.reach.is_none() && self.overall.isolated_since.is_some();
        match self.overall.isolated_since {
            None if isolated => {
                self.overall.isolated_since = Some(now);
                self.mark_overall();
                told.push(Told::Isolated { at: now, why: why::isolated(None, now) });
            }
            Some(begun) if !isolated && !unheard => {
                self.overall.isolated_since = None;
                // What was not looked at meanwhile is not old for that.
                self.overall.awake_at = Some(now);
                self.mark_overall();
                told.push(Told::Rejoined { since: begun, at: now, why: why::isolated(Some(begun), now) });
            }
            _ => {}
        }
        isolated || unheard
    }

    /// What ends with time.
    fn expire(&mut self, now: Timestamp, settings: &Settings) {
        let ids: Vec<String> = self.realms.keys().cloned().collect();
        let Self { overall, realms, .. } = self;
        let mut changed = Vec::new();
        for (id, record) in ids.iter().zip(realms.values_mut()) {
            let launches = record.launches.expire(now, &overall.baseline, settings);
            let runs = record.runs.as_mut().is_some_and(|runs| runs.expire(now, settings));
            let lifted = record.lift_if_recovered(now, settings);
            let outgrown = record.outgrow(now, overall.awake_at, settings);
            let window = Duration::from_secs(settings.trips_window_seconds);
            // Nobody asks it by itself any more.
            let valid = Duration::from_secs(settings.declared_valid_seconds);
            record.reach = record.reach.filter(|reach| since(now, reach.at) < valid);
            record.trips.retain(|trip| since(now, *trip) < window);
            if launches || runs || lifted || outgrown {
                changed.push(id);
            }
        }
        for id in changed {
            self.mark(id, true);
        }
    }

    /// Those that evidence alone decides on wait for the second round (`alone`).
    fn evaluate_realm(&mut self, id: &str, alone: bool, now: Timestamp, settings: &Settings, told: &mut Vec<Told>) {
        let Some(record) = self.realms.get(id) else { return };
        let mut decision = record.decide(now, &self.overall, settings);
        if decision.alone != alone {
            return;
        }
        let was = record.state();
        let gives_up = decision.state == Availability::Unavailable && was != Some(Availability::Unavailable);
        if gives_up && decision.alone && !self.another_works(id) {
            let confidence = settings.confidence.evidence;
            decision = Decision { state: Availability::Degraded, rule: Rule::Last, confidence, alone: true };
        }
        let Some(decision) = record.held_back(decision, now, &self.overall, settings) else { return };
        if was == Some(decision.state) {
            self.refresh(id, decision);
            return;
        }
        self.turn(id, decision, now, settings, told);
    }

    fn another_works(&self, id: &str) -> bool {
        let works = |record: &Record| matches!(record.state(), Some(Availability::Available | Availability::Degraded));
        self.realms.iter().any(|(other, record)| other != id && works(record))
    }

    /// The same state for what may be other reasons: no news, but what is known of it is kept up.
    fn refresh(&mut self, id: &str, decision: Decision) {
        let Some(published) = self.realms.get_mut(id).and_then(|record| record.published.as_mut()) else { return };
        published.confidence = in_percent(decision.confidence);
        if published.alone && !decision.alone {
            published.alone = false;
            self.mark(id, true);
        }
    }

    fn turn(&mut self, id: &str, decision: Decision, now: Timestamp, settings: &Settings, told: &mut Vec<Told>) {
        let Decision { state, rule, confidence, alone } = decision;
        let Some(record) = self.realms.get(id) else { return };
        let signals = why::signals(self, id, record, now, settings);
        let text = why::sentence(Some((rule, state)), id, &signals, now);
        let why = crate::model::Why { rule: rule.to_string(), text, signals };
        let Some(record) = self.realms.get_mut(id) else { return };
        let from = record.state();
        let from_wire = record.wire;
        record.wire = super::wire(state).or(from_wire);
        record.leave(from, rule, now);
        if state == Availability::Unavailable {
            record.enter_hold_down(now, settings);
        }
        let confidence = in_percent(confidence);
        record.published = Some(Published { state, since: now, confidence, rule, alone, why: why.clone() });
        let turned = Turned {
            realm: id.to_owned(),
            from,
            to: state,
            from_wire,
            to_wire: record.wire,
            at: now,
            confidence: percent(confidence),
            suppressed: record.flapping_since.is_some(),
            why,
        };
        if from.is_some() {
            record.flip(now, settings);
        }
        self.mark(id, true);
        told.push(Told::Verdict(turned));
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a confidence is 0 to 1")]
fn in_percent(confidence: f64) -> u8 {
    (confidence * 100.0).round().clamp(0.0, 100.0) as u8
}

fn percent(percent: u8) -> Figure {
    Figure::from(f64::from(percent) / 100.0)
}
