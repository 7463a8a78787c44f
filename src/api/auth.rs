//! Who is asking. User and password are the backend's own: it alone judges them, and its word is believed for a minute.
//!
//! Wrong credentials are counted per address and per user, *different ones only*: a client that keeps sending one old
//! password guesses nothing. Beyond the bound, credentials that nobody has vouched for are refused without asking the
//! backend; those it accepted before (cached, or kept with a hook) still pass, and so do new ones from an address whence the backend
//! accepted that user before, so that a guesser elsewhere cannot lock out the owner for whom it guesses. Always 401: older clients crash
//! on 429.
//!
//! Credentials that the backend refused a few seconds ago are refused again without asking it, so that repeating them costs it, and the
//! user's owner, nothing. A password that was put right there works a few seconds later.
//!
//! Accepted: a password that was withdrawn works for up to a minute where only the identity is needed, never for a
//! call to the backend. The tables are bounded; someone with more addresses than they hold is counted less well.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::http::HeaderValue;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use moka::sync::Cache;
use sha2::Sha256;

use super::Settings;
use crate::chance::Chance;
use crate::model::{Credentials, ExposeSecret as _, Login};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials in an `Authorization` header. A lone `:` counts as given. `None`: not Basic, or not readable.
pub(super) fn basic(header: &HeaderValue) -> Option<Credentials> {
    let (scheme, encoded) = header.to_str().ok()?.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(encoded.trim()).ok()?).ok()?;
    // Passwords may hold colons, user names may not.
    let (user, password) = text.split_once(':')?;
    Some(Credentials { user: user.to_owned(), password: password.to_owned().into() })
}

/// Stands for a login in memory; useless without the key, which is drawn when Tracker starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest(pub(super) [u8; 32]);

/// What is remembered about logins, all of it bounded.
pub(super) struct Logins {
    key: [u8; 32],
    identities: Cache<Digest, (Arc<str>, Timestamp)>,
    identity_for: Duration,
    /// Whose login it is, however long ago the backend said so. Opens nothing: it says what is kept of the account, to be
    /// shown once the backend has accepted the login anew.
    owners: Cache<Digest, Arc<str>>,
    /// Logins that the backend has just accepted, whatever it was asked.
    vouched: Cache<Digest, Timestamp>,
    /// Logins that the backend refused when it last judged them.
    revoked: Cache<Digest, ()>,
    /// Logins that the backend would not say the owner of.
    nameless: Cache<Digest, Timestamp>,
    /// When the backend last refused these.
    refused_at: Cache<Digest, Timestamp>,
    refused_for: Duration,
    /// Users at addresses whence the backend accepted them.
    homes: Cache<Digest, ()>,
    /// Wrong credentials already counted.
    counted: Cache<Digest, ()>,
    addresses: Cache<IpAddr, Arc<AtomicU32>>,
    users: Cache<Digest, Arc<AtomicU32>>,
    failures_max: u32,
}

impl Logins {
    pub(super) fn new(settings: &Settings, chance: &Chance) -> Self {
        let identity_for = Duration::from_secs(settings.auth_cache_seconds);
        let window = Duration::from_secs(settings.failed_logins_seconds);
        let table = settings.failed_logins_table_max;
        Self {
            key: chance.bytes(),
            identities: Cache::builder().max_capacity(settings.auth_cache_max).time_to_live(identity_for).build(),
            identity_for,
            owners: Cache::new(settings.auth_cache_max),
            vouched: Cache::builder().max_capacity(settings.auth_cache_max).time_to_live(identity_for).build(),
            revoked: Cache::new(settings.failed_logins_table_max),
            nameless: Cache::builder().max_capacity(settings.auth_cache_max).time_to_live(identity_for).build(),
            refused_at: Cache::new(table),
            refused_for: Duration::from_secs(settings.refused_login_seconds),
            homes: Cache::new(table),
            counted: Cache::builder().max_capacity(table).time_to_live(window).build(),
            addresses: Cache::builder().max_capacity(table).time_to_live(window).build(),
            users: Cache::builder().max_capacity(table).time_to_live(window).build(),
            failures_max: settings.failed_logins_max,
        }
    }

    pub(super) fn digest(&self, login: &Login) -> Digest {
        let provider = login.provider.as_deref().unwrap_or_default();
        let password = login.credentials.password.expose_secret();
        self.mac(&[login.driver.as_str(), provider, &login.credentials.user, password])
    }

    /// Whatever provider he names: there are many ways to write one, and each would begin to count anew.
    fn user(&self, login: &Login) -> Digest {
        self.mac(&[login.driver.as_str(), &login.credentials.user])
    }

    fn home(&self, login: &Login, address: IpAddr) -> Digest {
        self.mac(&[login.driver.as_str(), &login.credentials.user, &address.to_string()])
    }

    fn mac(&self, parts: &[&str]) -> Digest {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        for part in parts {
            // With its length, so that no two lists of parts run together into the same bytes.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        Digest(mac.finalize().into_bytes().into())
    }

    /// Who the backend said this is, not long ago.
    pub(super) fn identity(&self, digest: Digest, now: Timestamp) -> Option<Arc<str>> {
        // The cache forgets by its own clock; ours may have been moved, so it has a say as well.
        let (identity, until) = self.identities.get(&digest)?;
        (now < until).then_some(identity)
    }

    pub(super) fn remember(&self, digest: Digest, identity: &str, now: Timestamp) {
        let identity: Arc<str> = identity.into();
        self.owners.insert(digest, identity.clone());
        self.identities.insert(digest, (identity, now + self.identity_for));
    }

    /// Whose login the store says it is.
    pub(super) fn remember_owner(&self, digest: Digest, identity: &str) {
        self.owners.insert(digest, identity.into());
    }

    /// The backend took these.
    pub(super) fn accepted(&self, login: &Login, peer: Option<IpAddr>, now: Timestamp) {
        let digest = self.digest(login);
        if !self.is_vouched(digest, now) {
            if let Some(peer) = peer {
                self.homes.insert(self.home(login, peer), ());
            }
            self.refused_at.invalidate(&digest);
            self.vouched.insert(digest, now + self.identity_for);
            self.revoked.invalidate(&digest);
        }
    }

    /// The backend took these not long ago.
    pub(super) fn is_vouched(&self, digest: Digest, now: Timestamp) -> bool {
        self.vouched.get(&digest).is_some_and(|until| now < until)
    }

    /// How long these need not be shown to the backend, which refused them a moment ago.
    pub(super) fn refused_for(&self, digest: Digest, now: Timestamp) -> Option<Duration> {
        let at = self.refused_at.get(&digest)?;
        // A clock that was set back refuses nobody.
        let left = (at + self.refused_for).duration_since(now);
        (at <= now && left.is_positive()).then(|| left.unsigned_abs())
    }

    /// The backend refused these, and has not taken them since.
    pub(super) fn is_revoked(&self, digest: Digest) -> bool {
        self.revoked.contains_key(&digest)
    }

    /// The backend would not say whose login this is; it need not be asked again at once.
    pub(super) fn is_nameless(&self, digest: Digest, now: Timestamp) -> bool {
        self.nameless.get(&digest).is_some_and(|until| now < until)
    }

    pub(super) fn note_nameless(&self, digest: Digest, now: Timestamp) {
        self.nameless.insert(digest, now + self.identity_for);
    }

    /// Who the backend ever said this is. No proof that it still is.
    pub(super) fn owner(&self, digest: Digest) -> Option<Arc<str>> {
        self.owners.get(&digest)
    }

    /// Too many different wrong credentials came from this address, or for this user.
    pub(super) fn is_guessing(&self, login: &Login, peer: Option<IpAddr>) -> bool {
        let full = |count: Option<Arc<AtomicU32>>| {
            count.is_some_and(|count| count.load(Ordering::Relaxed) >= self.failures_max)
        };
        let is_home = || peer.is_some_and(|peer| self.homes.contains_key(&self.home(login, peer)));
        self.failures_max > 0
            && (full(peer.and_then(|peer| self.addresses.get(&peer)))
                || full(self.users.get(&self.user(login))) && !is_home())
    }

    /// The backend refused these.
    pub(super) fn refused(&self, login: &Login, peer: Option<IpAddr>, now: Timestamp) {
        let digest = self.digest(login);
        self.refused_at.insert(digest, now);
        self.identities.invalidate(&digest);
        self.vouched.invalidate(&digest);
        self.revoked.insert(digest, ());
        if self.counted.get(&digest).is_some() {
            return;
        }
        self.counted.insert(digest, ());
        let count = |count: Arc<AtomicU32>| count.fetch_add(1, Ordering::Relaxed);
        count(self.users.get_with(self.user(login), Arc::default));
        if let Some(peer) = peer {
            count(self.addresses.get_with(peer, Arc::default));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DriverId;

    fn login(user: &str, password: &str) -> Login {
        let credentials = Credentials { user: user.to_owned(), password: password.to_owned().into() };
        Login { driver: DriverId::new("mock"), provider: None, credentials }
    }

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn logins(failed_logins_max: u32) -> Logins {
        Logins::new(&Settings { failed_logins_max, ..Settings::default() }, &Chance::seeded(1))
    }

    #[test]
    fn basic_credentials_are_read() {
        let check = |header: &str, read: Option<(&str, &str)>| {
            let credentials = basic(&HeaderValue::from_str(header).unwrap());
            let pair = credentials.as_ref().map(|c| (c.user.as_str(), c.password.expose_secret()));
            assert_eq!(pair, read, "{header}");
        };
        check("Basic bW9ja3VzZXI6bW9ja3Bhc3N3b3Jk", Some(("mockuser", "mockpassword")));
        check("basic  bW9ja3VzZXI6bW9ja3Bhc3N3b3Jk ", Some(("mockuser", "mockpassword")));
        check("Basic Og==", Some(("", "")));
        check("Basic Og", Some(("", "")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Basic YWI=", None);
        check("Basic /w==", None);
        check("Basic !", None);
        check("Basic", None);
        check("Bearer YTpi", None);
        check("", None);
    }

    #[test]
    fn different_logins_have_different_digests_and_another_process_has_others() {
        let logins = logins(1);
        assert_eq!(logins.digest(&login("a", "bc")), logins.digest(&login("a", "bc")));
        assert_ne!(logins.digest(&login("a", "bc")), logins.digest(&login("ab", "c")));
        let elsewhere = Login { provider: Some("eu".to_owned()), ..login("a", "bc") };
        assert_ne!(logins.digest(&login("a", "bc")), logins.digest(&elsewhere));
        let other = Logins::new(&Settings::default(), &Chance::seeded(2));
        assert_ne!(logins.digest(&login("a", "bc")), other.digest(&login("a", "bc")));
    }

    #[test]
    fn an_identity_is_believed_for_a_minute_unless_it_is_refused() {
        let logins = logins(1);
        let now = now();
        let digest = logins.digest(&login("a", "b"));
        assert_eq!(logins.identity(digest, now), None);
        logins.remember(digest, "4711", now);
        assert_eq!(logins.identity(digest, now + Duration::from_secs(59)).as_deref(), Some("4711"));
        assert_eq!(logins.identity(digest, now + Duration::from_secs(60)), None);
        logins.refused(&login("a", "b"), None, now);
        assert_eq!(logins.identity(digest, now), None);
    }

    #[test]
    fn guesses_are_counted_per_address_and_per_user_and_repeats_are_not() {
        let logins = logins(3);
        let here: Option<IpAddr> = Some("192.0.2.1".parse().unwrap());
        let there: Option<IpAddr> = Some("192.0.2.2".parse().unwrap());
        for _ in 0..10 {
            logins.refused(&login("alice", "old password"), here, now());
        }
        assert!(!logins.is_guessing(&login("alice", "x"), here));
        logins.refused(&login("alice", "guess 1"), here, now());
        logins.refused(&login("alice", "guess 2"), here, now());
        assert!(logins.is_guessing(&login("alice", "x"), there), "the user is watched from everywhere");
        assert!(logins.is_guessing(&login("bob", "x"), here), "the address is watched for every user");
        assert!(!logins.is_guessing(&login("bob", "x"), there));
        let respelt = Login { provider: Some("DEFAULT".to_owned()), ..login("alice", "x") };
        assert!(logins.is_guessing(&respelt, there), "whatever provider is named");
    }

    #[test]
    fn whoever_came_from_there_before_is_not_locked_out_by_guesses_from_elsewhere() {
        let logins = logins(3);
        let home: Option<IpAddr> = Some("192.0.2.1".parse().unwrap());
        let there: Option<IpAddr> = Some("192.0.2.2".parse().unwrap());
        logins.accepted(&login("alice", "old"), home, now());
        (0..9).for_each(|n| logins.refused(&login("alice", &n.to_string()), there, now()));
        assert!(logins.is_guessing(&login("alice", "new"), there));
        assert!(!logins.is_guessing(&login("alice", "new"), home));
        assert!(logins.is_guessing(&login("alice", "new"), None));
        (0..3).for_each(|n| logins.refused(&login("bob", &n.to_string()), home, now()));
        assert!(logins.is_guessing(&login("alice", "new"), home), "guesses from there count");
    }

    #[test]
    fn what_was_refused_a_moment_ago_is_not_asked_again() {
        let logins = logins(3);
        let (wrong, right) = (login("a", "wrong"), login("a", "right"));
        let refused_for = |login: &Login, after: i64| {
            let now = now() + jiff::SignedDuration::from_secs(after);
            logins.refused_for(logins.digest(login), now).map(|wait| wait.as_secs())
        };
        logins.refused(&wrong, None, now());
        assert_eq!([0, 1, 4, 5].map(|after| refused_for(&wrong, after)), [Some(5), Some(4), Some(1), None]);
        assert_eq!(refused_for(&right, 0), None);
        assert_eq!(refused_for(&wrong, -1), None, "the clock was set back");
        logins.accepted(&wrong, None, now());
        assert_eq!(refused_for(&wrong, 0), None, "it was put right");
    }

    #[test]
    fn zero_means_no_limit() {
        let logins = logins(0);
        (0..100).for_each(|n| logins.refused(&login("alice", &n.to_string()), None, now()));
        assert!(!logins.is_guessing(&login("alice", "x"), None));
    }
}
