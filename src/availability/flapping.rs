//! Whether a realm changes its state all the time.

use jiff::Timestamp;

use super::state::{Realms, Record};
use super::{Settings, Told, share, why};

impl Realms {
    /// Whether flapping begins or ends.
    pub(super) fn settle(&mut self, id: &str, now: Timestamp, settings: &Settings, told: &mut Vec<Told>) {
        let Some(record) = self.realms.get_mut(id) else { return };
        if record.flips.is_empty() && record.flapping_since.is_none() {
            return;
        }
        let share = record.flapping_share(now, settings);
        let Some(state) = record.state() else { return };
        match record.flapping_since {
            None if share > settings.flap_start => {
                record.flapping_since = Some(now);
                let why = why::flapping(id, share, settings.flap_start, state, true, settings);
                told.push(Told::FlappingStart { realm: id.to_owned(), at: now, why });
            }
            Some(_) if share < settings.flap_end => {
                record.flapping_since = None;
                let why = why::flapping(id, share, settings.flap_end, state, false, settings);
                told.push(Told::FlappingEnd { realm: id.to_owned(), state, at: now, why });
            }
            _ => return,
        }
        self.mark(id, true);
    }
}

impl Record {
    /// Several changes in one turn are one, so that busy realms do not flap sooner or later than quiet ones.
    pub(super) fn flip(&mut self, now: Timestamp, settings: &Settings) {
        let turn = turn_of(now, settings);
        if self.flips.back() != Some(&turn) {
            self.flips.push_back(turn);
        }
    }

    fn flapping_share(&mut self, now: Timestamp, settings: &Settings) -> f64 {
        let first = turn_of(now, settings) - i64::from(settings.flap_turns);
        self.flips.retain(|turn| *turn > first);
        share(self.flips.len(), settings.flap_turns as usize)
    }
}

fn turn_of(at: Timestamp, settings: &Settings) -> i64 {
    at.as_second().div_euclid(i64::try_from(settings.flap_turn_seconds).unwrap_or(i64::MAX).max(1))
}
