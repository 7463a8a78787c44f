//! Which keys sign after a hook was set. Pure.

use std::time::Duration;

use jiff::Timestamp;

use crate::deliver::{BadKey, Key, new_key};
use crate::model::{ExposeSecret as _, Secret, SigningKey};

/// What the client says about the signing secret.
#[derive(Clone, Debug)]
pub enum Wish {
    /// Nothing: keep the one there is, make one if there is none.
    Keep,
    /// Make a new one; the old one goes on signing for a while.
    Rotate,
    /// Use this one, `whsec_` and Base64 of 24 to 64 bytes; the old one goes on signing for a while.
    Given(Secret),
}

/// # Errors
/// What is wrong with a given secret and what would be right; never the secret.
pub(super) fn check(wish: &Wish) -> Result<(), BadKey> {
    match wish {
        Wish::Given(secret) => Key::parse(secret.expose_secret()).map(drop),
        Wish::Keep | Wish::Rotate => Ok(()),
    }
}

/// The keys from now on, current first, and the secret if it was made here. `draw` gives fresh random bytes.
pub(super) fn keys(
    wish: Wish,
    old: Vec<SigningKey>,
    now: Timestamp,
    overlap: Duration,
    most: usize,
    draw: impl FnOnce() -> [u8; 32],
) -> (Vec<SigningKey>, Option<Secret>) {
    let current = |key: &&SigningKey| key.until.is_none();
    let (secret, made) = match wish {
        Wish::Keep if old.iter().any(|key| current(&key)) => return (live(old, now), None),
        Wish::Given(secret) => {
            let same = |key: &SigningKey| key.secret.expose_secret() == secret.expose_secret();
            if old.iter().find(current).is_some_and(same) {
                return (live(old, now), None);
            }
            (secret, None)
        }
        Wish::Keep | Wish::Rotate => {
            let secret = new_key(&draw());
            (secret.clone(), Some(secret))
        }
    };
    let mut keys = vec![SigningKey { secret, until: None }];
    keys.extend(
        live(old, now).into_iter().map(|key| SigningKey { until: Some(key.until.unwrap_or(now + overlap)), ..key }),
    );
    keys.truncate(most.max(1));
    (keys, made)
}

fn live(keys: Vec<SigningKey>, now: Timestamp) -> Vec<SigningKey> {
    keys.into_iter().filter(|key| key.until.is_none_or(|until| until > now)).collect()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const A_DAY: Duration = Duration::from_secs(24 * 3_600);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn given(byte: u8, len: usize) -> Secret {
        Secret::from(format!("whsec_{}", STANDARD.encode(vec![byte; len])))
    }

    fn shown(keys: &[SigningKey]) -> Vec<(&str, Option<i64>)> {
        keys.iter().map(|key| (&key.secret.expose_secret()[6..10], key.until.map(Timestamp::as_second))).collect()
    }

    #[test]
    fn a_given_secret_must_have_the_form_and_its_text_is_never_told() {
        let check = |secret: Secret, right: bool| {
            let answer = super::check(&Wish::Given(secret.clone()));
            assert_eq!(answer.is_ok(), right);
            if let Err(text) = answer {
                assert!(!text.to_string().contains(secret.expose_secret()), "{text}");
            }
        };
        check(given(7, 24), true);
        check(given(7, 64), true);
        check(given(7, 23), false);
        check(given(7, 65), false);
        check(Secret::from("whsec_not base64"), false);
        check(Secret::from("hunter2"), false);
    }

    #[test]
    fn the_first_hook_gets_a_secret_of_its_own_and_keeps_it() {
        let (keys, made) = keys(Wish::Keep, vec![], at(0), A_DAY, 3, || [1; 32]);
        assert_eq!(made.unwrap().expose_secret(), keys[0].secret.expose_secret());
        let (kept, made) = super::keys(Wish::Keep, keys, at(0), A_DAY, 3, || [2; 32]);
        assert!(made.is_none());
        assert_eq!(shown(&kept), [("AQEB", None)]);
    }

    #[test]
    fn a_replaced_secret_signs_for_another_day() {
        let (first, _) = keys(Wish::Keep, vec![], at(0), A_DAY, 3, || [1; 32]);
        let (second, made) = keys(Wish::Rotate, first, at(10), A_DAY, 3, || [2; 32]);
        assert!(made.is_some());
        assert_eq!(shown(&second), [("AgIC", None), ("AQEB", Some(86_410))]);
        let (third, made) = keys(Wish::Given(given(3, 32)), second, at(20), A_DAY, 3, || unreachable!("one was given"));
        assert!(made.is_none());
        assert_eq!(shown(&third), [("AwMD", None), ("AgIC", Some(86_420)), ("AQEB", Some(86_410))]);
        let (again, _) = keys(Wish::Given(given(3, 32)), third, at(86_415), A_DAY, 3, || unreachable!("one was given"));
        assert_eq!(shown(&again), [("AwMD", None), ("AgIC", Some(86_420))]);
    }

    #[test]
    fn the_number_of_live_secrets_is_bounded() {
        let mut all = vec![];
        for turn in 0..10 {
            all = keys(Wish::Rotate, all, at(turn), A_DAY, 3, || [turn as u8; 32]).0;
        }
        assert_eq!(all.len(), 3);
        assert_eq!(shown(&all)[0], ("CQkJ", None));
    }
}
