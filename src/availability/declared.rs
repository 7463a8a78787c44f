//! What the provider itself says of a realm, and how far it is believed.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Settings, since};
use crate::model::Declared;

/// The last word, and whether it was said twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Word {
    pub(super) declared: Declared,
    pub(super) native: String,
    pub(super) messages: Vec<String>,
    /// Since when every answer has said so.
    pub(super) since: Timestamp,
    pub(super) at: Timestamp,
    /// It said *down* since it last said *up*.
    fell: bool,
    /// When it said *up* after that, as long as it goes on saying so.
    pub(super) rose_at: Option<Timestamp>,
}

/// What can be made of it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    Up,
    Degraded,
    /// Said once, and not yet again.
    Doubtful,
    Down,
    /// Said to be down, too long ago to be sure, and not taken back.
    Faded,
    /// The provider says nothing, or said it too long ago.
    Nothing,
}

/// Long words of a provider are cut: they are kept and shown.
const WORD_MAX: usize = 200;
const MESSAGES_MAX: usize = 5;

impl Word {
    /// What an answer adds to the one before. True if it says something else than that.
    pub(super) fn hear(
        word: &mut Option<Self>,
        declared: Declared,
        native: &str,
        messages: &[String],
        at: Timestamp,
        settings: &Settings,
    ) -> bool {
        let before = word.as_ref();
        let same = before.is_some_and(|before| before.declared == declared);
        let fell = declared == Declared::Down || before.is_some_and(|before| before.fell);
        let rose = declared == Declared::Up && fell;
        let heard = Self {
            declared,
            native: cut(native),
            messages: messages.iter().take(MESSAGES_MAX).map(|message| cut(message)).collect(),
            since: before.filter(|_| same).map_or(at, |before| before.since),
            at: before.map_or(at, |before| before.at.max(at)),
            fell: fell && !rose,
            rose_at: if rose { Some(at) } else { before.filter(|_| same).and_then(|before| before.rose_at) },
        };
        let news = before.is_none_or(|before| {
            (before.declared, &before.native, &before.messages) != (heard.declared, &heard.native, &heard.messages)
                // Now it is confirmed, which must outlast a restart.
                || before.confirmed(settings) != heard.confirmed(settings)
        });
        *word = Some(heard);
        news
    }

    fn confirmed(&self, settings: &Settings) -> bool {
        let apart = since(self.at, self.since);
        self.declared == Declared::Down && apart >= Duration::from_secs(settings.declared_confirm_seconds)
    }

    /// `agreed`: something else speaks against the realm, so once is enough. `awake_at`: while Tracker did not run, nothing
    /// grew old.
    pub(super) fn belief(
        &self,
        now: Timestamp,
        agreed: bool,
        awake_at: Option<Timestamp>,
        settings: &Settings,
    ) -> Belief {
        match self.declared {
            Declared::Down if self.is_old(now, awake_at, settings) => Belief::Faded,
            _ if self.is_old(now, awake_at, settings) => Belief::Nothing,
            Declared::Up => Belief::Up,
            Declared::Degraded => Belief::Degraded,
            Declared::Down if agreed || self.confirmed(settings) => Belief::Down,
            Declared::Down => Belief::Doubtful,
            Declared::Nothing => Belief::Nothing,
        }
    }

    /// Said too long ago to count.
    pub(super) fn is_old(&self, now: Timestamp, awake_at: Option<Timestamp>, settings: &Settings) -> bool {
        let fresh_at = awake_at.map_or(self.at, |awake| awake.max(self.at));
        since(now, fresh_at) > Duration::from_secs(settings.declared_valid_seconds)
    }

    /// When asking again would settle a doubt.
    pub(super) fn doubt_ends_at(&self, settings: &Settings) -> Option<Timestamp> {
        let doubtful = self.declared == Declared::Down && !self.confirmed(settings);
        doubtful.then(|| self.since + Duration::from_secs(settings.declared_confirm_seconds))
    }
}

pub(super) fn cut(text: &str) -> String {
    text.chars().take(WORD_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn word(answers: &[(i64, Declared)]) -> Word {
        let mut word = None;
        for (second, declared) in answers {
            Word::hear(&mut word, *declared, "word", &[], at(*second), &Settings::default());
        }
        word.unwrap()
    }

    #[test]
    fn down_is_believed_when_said_twice_half_a_minute_apart() {
        use Declared::{Degraded, Down, Nothing, Up};
        let check = |answers: &[(i64, Declared)], now: i64, expected: Belief| {
            let belief = word(answers).belief(at(now), false, None, &Settings::default());
            assert_eq!(belief, expected, "{answers:?}");
        };
        check(&[(0, Up)], 0, Belief::Up);
        check(&[(0, Degraded)], 0, Belief::Degraded);
        check(&[(0, Nothing)], 0, Belief::Nothing);
        check(&[(0, Down)], 0, Belief::Doubtful);
        check(&[(0, Down)], 60, Belief::Doubtful);
        check(&[(0, Down), (29, Down)], 29, Belief::Doubtful);
        check(&[(0, Down), (30, Down)], 30, Belief::Down);
        check(&[(0, Down), (15, Down), (30, Down)], 30, Belief::Down);
        check(&[(0, Down), (15, Up), (30, Down)], 30, Belief::Doubtful);
        check(&[(0, Down), (30, Down), (31, Up)], 31, Belief::Up);
        // Older than a quarter of an hour is no word at all.
        check(&[(0, Up)], 900, Belief::Up);
        check(&[(0, Up)], 901, Belief::Nothing);
        check(&[(0, Degraded)], 901, Belief::Nothing);
        // … save that nobody took back what it said: then it is no good word either.
        check(&[(0, Down), (30, Down)], 930, Belief::Down);
        check(&[(0, Down), (30, Down)], 931, Belief::Faded);
    }

    #[test]
    fn once_is_enough_when_something_else_agrees() {
        let down = word(&[(0, Declared::Down)]);
        assert_eq!(down.belief(at(0), true, None, &Settings::default()), Belief::Down);
    }

    #[test]
    fn nothing_grows_old_while_tracker_does_not_run() {
        let up = word(&[(0, Declared::Up)]);
        assert_eq!(up.belief(at(9_000), false, Some(at(8_990)), &Settings::default()), Belief::Up);
        assert_eq!(up.belief(at(9_891), false, Some(at(8_990)), &Settings::default()), Belief::Nothing);
    }

    #[test]
    fn it_rises_when_it_says_up_after_down() {
        use Declared::{Degraded, Down, Up};
        assert_eq!(word(&[(0, Up), (10, Up)]).rose_at, None);
        assert_eq!(word(&[(0, Up), (10, Degraded), (20, Up)]).rose_at, None);
        assert_eq!(word(&[(0, Down), (30, Down), (90, Up), (150, Up)]).rose_at, Some(at(90)));
        assert_eq!(word(&[(0, Down), (30, Degraded), (90, Up)]).rose_at, Some(at(90)));
        // It counts only as long as it goes on saying so.
        assert_eq!(word(&[(0, Down), (90, Up), (150, Down)]).rose_at, None);
        assert_eq!(word(&[(0, Down), (90, Up), (150, Degraded), (160, Up)]).rose_at, None);
        assert_eq!(word(&[(0, Down), (90, Up), (150, Down), (160, Up)]).rose_at, Some(at(160)));
    }
}
