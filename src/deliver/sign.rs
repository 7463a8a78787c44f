//! Standard Webhooks signatures (scheme `v1`, HMAC-SHA256), made and checked.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::model::{ExposeSecret as _, Secret, SigningKey};

pub const ID: &str = "webhook-id";
/// Of the attempt, in seconds since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// `v1,BASE64` for each live key, with a space between.
pub const SIGNATURE: &str = "webhook-signature";

const PREFIX: &str = "whsec_";
const KEY_BYTES_MIN: usize = 24;
const KEY_BYTES_MAX: usize = 64;

/// A key that signs, ready for use. `Debug` shows nothing.
pub struct Key(Zeroizing<Vec<u8>>);

/// Why a text is no signing key. The text itself is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("a signing key begins with `{PREFIX}`")]
    Prefix,
    #[error("a signing key is `{PREFIX}` and Base64 (standard alphabet, padded)")]
    Base64,
    #[error("a signing key holds {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes, not {0}")]
    Length(usize),
}

/// Why a request is not what it claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("`{TIMESTAMP}` is not a number of seconds")]
    Timestamp,
    #[error("`{TIMESTAMP}` is {0} s away from now: too old, or the clocks differ")]
    Time(i64),
    #[error("no signature in `{SIGNATURE}` fits the body")]
    Signature,
}

impl Key {
    /// Reads `whsec_` and Base64 of 24 to 64 bytes.
    ///
    /// # Errors
    /// [`BadKey`]
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let coded = text.strip_prefix(PREFIX).ok_or(BadKey::Prefix)?;
        let bytes = Zeroizing::new(STANDARD.decode(coded).map_err(|_| BadKey::Base64)?);
        match bytes.len() {
            KEY_BYTES_MIN..=KEY_BYTES_MAX => Ok(Self(bytes)),
            other => Err(BadKey::Length(other)),
        }
    }

    fn mac(&self, id: &str, seconds: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        mac
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A new key as its owner sees it, made from bytes drawn by the caller.
pub fn new_key(bytes: &[u8; 32]) -> Secret {
    Secret::from(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// The keys that sign at `now`: those without an end, and those whose end lies ahead. In the order given.
///
/// # Errors
/// [`BadKey`] when one cannot be read.
pub fn live_keys(keys: &[SigningKey], now: Timestamp) -> Result<Vec<Key>, BadKey> {
    keys.iter()
        .filter(|key| key.until.is_none_or(|until| now < until))
        .map(|key| Key::parse(key.secret.expose_secret()))
        .collect()
}

/// What goes into [`SIGNATURE`]: one signature by each key. `at` goes into [`TIMESTAMP`], in whole seconds.
pub fn sign(keys: &[Key], id: &str, at: Timestamp, body: &[u8]) -> String {
    let sign = |key: &Key| format!("v1,{}", STANDARD.encode(key.mac(id, at.as_second(), body).finalize().into_bytes()));
    keys.iter().map(sign).collect::<Vec<_>>().join(" ")
}

/// What a receiver does: does one of `signatures` fit, and is `timestamp` within `tolerance_s` of `now`? Takes as long
/// for a wrong signature as for the right one.
///
/// # Errors
/// [`Mismatch`]
pub fn verify(
    key: &Key,
    id: &str,
    timestamp: &str,
    signatures: &str,
    body: &[u8],
    now: Timestamp,
    tolerance_s: u32,
) -> Result<(), Mismatch> {
    let seconds: i64 = timestamp.parse().map_err(|_| Mismatch::Timestamp)?;
    let apart = now.as_second().abs_diff(seconds);
    if apart > u64::from(tolerance_s) {
        return Err(Mismatch::Time(i64::try_from(apart).unwrap_or(i64::MAX)));
    }
    let fits = |signature: &str| {
        let bytes = signature.strip_prefix("v1,").and_then(|coded| STANDARD.decode(coded).ok());
        bytes.is_some_and(|bytes| key.mac(id, seconds, body).verify_slice(&bytes).is_ok())
    };
    if signatures.split(' ').any(fits) { Ok(()) } else { Err(Mismatch::Signature) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // The example that the reference libraries of Standard Webhooks share.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const MESSAGE: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const SECONDS: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn key() -> Key {
        Key::parse(KEY).unwrap()
    }

    #[test]
    fn the_published_example_is_signed_as_published() {
        assert_eq!(sign(&[key()], MESSAGE, at(SECONDS), BODY), SIGNED);
        assert_eq!(sign(&[], MESSAGE, at(SECONDS), BODY), "");
    }

    #[test]
    fn a_receiver_accepts_only_what_was_signed() {
        let check = |id: &str, timestamp: &str, signatures: &str, body: &[u8], now: i64, want: Result<(), Mismatch>| {
            let got = verify(&key(), id, timestamp, signatures, body, at(now), 300);
            assert_eq!(got, want, "{id} {timestamp} {signatures} {now}");
        };
        let text = SECONDS.to_string();
        let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        check(MESSAGE, &text, SIGNED, BODY, SECONDS, Ok(()));
        check(MESSAGE, &text, SIGNED, BODY, SECONDS + 300, Ok(()));
        check(MESSAGE, &text, SIGNED, BODY, SECONDS - 300, Ok(()));
        check(MESSAGE, &text, &format!("{other} v1a,x {SIGNED}"), BODY, SECONDS, Ok(()));
        check(MESSAGE, &text, SIGNED, BODY, SECONDS + 301, Err(Mismatch::Time(301)));
        check(MESSAGE, &text, SIGNED, BODY, SECONDS - 301, Err(Mismatch::Time(301)));
        check(MESSAGE, "soon", SIGNED, BODY, SECONDS, Err(Mismatch::Timestamp));
        check("msg_other", &text, SIGNED, BODY, SECONDS, Err(Mismatch::Signature));
        check(MESSAGE, "1614265331", SIGNED, BODY, SECONDS, Err(Mismatch::Signature));
        check(MESSAGE, &text, SIGNED, b"{}", SECONDS, Err(Mismatch::Signature));
        check(MESSAGE, &text, other, BODY, SECONDS, Err(Mismatch::Signature));
        check(MESSAGE, &text, "", BODY, SECONDS, Err(Mismatch::Signature));
        check(MESSAGE, &text, SIGNED.trim_start_matches("v1,"), BODY, SECONDS, Err(Mismatch::Signature));
        check(MESSAGE, &text, &SIGNED.replace("v1,", "v2,"), BODY, SECONDS, Err(Mismatch::Signature));
        check(MESSAGE, &text, "v1,", BODY, SECONDS, Err(Mismatch::Signature));
        check(MESSAGE, &text, "v1,g0hM9Q==", BODY, SECONDS, Err(Mismatch::Signature));
    }

    #[test]
    fn keys_that_are_none_are_told_why() {
        let coded = |len: usize| format!("{PREFIX}{}", STANDARD.encode(vec![7; len]));
        let check = |text: &str, want: Result<(), BadKey>| assert_eq!(Key::parse(text).map(|_| ()), want, "{text}");
        check(KEY, Ok(()));
        check(&coded(24), Ok(()));
        check(&coded(64), Ok(()));
        check(&coded(23), Err(BadKey::Length(23)));
        check(&coded(65), Err(BadKey::Length(65)));
        check(PREFIX, Err(BadKey::Length(0)));
        check("", Err(BadKey::Prefix));
        check("rotate", Err(BadKey::Prefix));
        check(KEY.trim_start_matches(PREFIX), Err(BadKey::Prefix));
        check("whsec_not base64 at all, is it?", Err(BadKey::Base64));
        check(coded(32).trim_end_matches('='), Err(BadKey::Base64));
    }

    #[test]
    fn a_replaced_key_signs_until_its_end_and_no_longer() {
        let keys = [
            SigningKey { secret: new_key(&[1; 32]), until: None },
            SigningKey { secret: Secret::from(KEY), until: Some(at(SECONDS)) },
        ];
        let check = |now: i64, want: usize| assert_eq!(live_keys(&keys, at(now)).unwrap().len(), want, "{now}");
        check(SECONDS - 1, 2);
        check(SECONDS, 1);

        let both = sign(&live_keys(&keys, at(SECONDS - 1)).unwrap(), MESSAGE, at(SECONDS - 1), BODY);
        for key in &keys {
            let key = Key::parse(key.secret.expose_secret()).unwrap();
            let seconds = (SECONDS - 1).to_string();
            assert_eq!(verify(&key, MESSAGE, &seconds, &both, BODY, at(SECONDS), 5), Ok(()));
        }
    }

    #[test]
    fn nothing_shows_a_key() {
        assert!(!format!("{:?}", key()).contains("MfKQ"));
        assert!(!format!("{:?}", new_key(&[7; 32])).contains(PREFIX));
    }

    proptest! {
        #[test]
        fn what_we_sign_verifies(
            bytes: [u8; 32],
            other: [u8; 32],
            id in "[a-z0-9_]{1,40}",
            seconds in 0_i64..4_000_000_000,
            body: Vec<u8>,
        ) {
            let key = Key::parse(new_key(&bytes).expose_secret()).unwrap();
            let signed = sign(std::slice::from_ref(&key), &id, at(seconds), &body);
            prop_assert_eq!(verify(&key, &id, &seconds.to_string(), &signed, &body, at(seconds), 0), Ok(()));
            prop_assume!(bytes != other);
            let wrong = Key::parse(new_key(&other).expose_secret()).unwrap();
            let got = verify(&wrong, &id, &seconds.to_string(), &signed, &body, at(seconds), 0);
            prop_assert_eq!(got, Err(Mismatch::Signature));
        }
    }
}
