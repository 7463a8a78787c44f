//! The secret as it is written. Pure.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::{AccountId, ExposeSecret as _, Secret};

const PREFIX: &str = "hint_";

/// Longer ones are none. Bytes.
const BYTES_MAX: usize = 128;

/// `hint_<account's number>_<random>`: it says which account it opens, so that nothing has to be searched.
#[derive(Clone)]
pub struct HintSecret {
    pub(super) account: AccountId,
    pub(super) random: Secret,
}

impl HintSecret {
    /// What only its owner knows of it.
    pub(super) fn random(bytes: &[u8; 32]) -> Secret {
        Secret::from(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// `None`: whatever this is, it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let (number, random) = text.trim().strip_prefix(PREFIX)?.split_once('_')?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let good = number.bytes().all(|byte| byte.is_ascii_digit()) && !random.is_empty() && plain(random);
        let account = number.parse().ok().filter(|_| good && text.len() <= BYTES_MAX)?;
        Some(Self { account: AccountId(account), random: Secret::from(random.to_owned()) })
    }

    /// As it is shown, once.
    pub fn text(&self) -> Secret {
        Secret::from(format!("{PREFIX}{}_{}", self.account, self.random.expose_secret()))
    }
}

impl fmt::Debug for HintSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_..", self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_says_whose_it_is_and_shows_nothing_else() {
        let secret = HintSecret { account: AccountId(7), random: HintSecret::random(&[0xfb; 32]) };
        let text = secret.text();
        let text = text.expose_secret();
        assert!(text.starts_with("hint_7_-_v7-_v7") && text.len() == 50, "{text}");
        let read = HintSecret::parse(text).unwrap();
        assert_eq!((read.account, read.text().expose_secret()), (AccountId(7), text));
        assert_eq!(format!("{read:?}"), "hint_7_..");
    }

    #[test]
    fn what_is_none_is_none() {
        for text in
            ["", "hint_", "hint_7", "hint_7_", "hint__x", "hint_-7_x", "hint_+7_x", "hint_x_x", "hunter2", "hint_7_a b"]
        {
            assert!(HintSecret::parse(text).is_none(), "{text}");
        }
        assert!(HintSecret::parse("hint_99999999999999999999_x").is_none());
        assert!(HintSecret::parse(&format!("hint_7_{}", "x".repeat(122))).is_none());
        assert!(HintSecret::parse("hint_7_x\n").is_some());
    }
}
