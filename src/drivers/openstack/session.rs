//! Tokens: one for each login, asked for once however many need it, and kept until shortly before it ends.
//!
//! Those who wait while one asks Keystone share what it hears, an error too: a Keystone that hangs is waited for once, and a
//! wrong password is shown to it once. Whoever comes later asks anew.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use serde::Deserialize;
use sha2::Sha256;
use tokio::sync::Mutex;

use super::Settings;
use super::catalog::Listed;
use super::provider::Provider;
use super::realms::Sight;
use crate::chance::Chance;
use crate::drivers::{Error, Kind};
use crate::model::{Credentials, ExposeSecret as _, Secret};

/// The microversion that the driver is written for, as the 79 of `2.79`. From 2.69 on a list also shows servers whose cell
/// is down, which an older one leaves out; from 2.80 on there is nothing that we read.
pub(super) const NOVA_WANTED: u32 = 79;

/// What a login may do for a while, and what was learnt meanwhile of the cloud it leads to.
pub(super) struct Session {
    pub(super) token: Secret,
    pub(super) project: String,
    pub(super) catalog: Vec<Listed>,
    /// Shortly before it ends, by our clock, whatever Keystone's says.
    good_until: Timestamp,
    /// By our clock.
    begun_at: Timestamp,
    /// The calls that were refused (401) with this token when it was new.
    refused: StdMutex<BTreeSet<String>>,
    /// How far our clock is ahead of the cloud's; none if it is behind.
    pub(super) ahead: Duration,
    /// What Nova speaks, as far as is known.
    nova: AtomicU32,
    pub(super) sight: StdMutex<Option<Sight>>,
    /// Id of the one that new instances are put into, where Nova could not choose.
    pub(super) network: StdMutex<Option<String>>,
    pub(super) flavors: StdMutex<Option<(Timestamp, Arc<super::map::Flavors>)>>,
}

impl Session {
    pub(super) fn nova(&self, at_most: Option<u32>) -> u32 {
        let known = self.nova.load(Ordering::Relaxed);
        at_most.map_or(known, |most| known.min(most))
    }

    /// Whether its catalog may by now be another: then a service that is not found is looked for in a new one.
    pub(super) fn may_be_outdated(&self, is_service_missing: bool, now: Timestamp) -> bool {
        // A cloud that lacks a service mostly goes on lacking it.
        let after = if is_service_missing { SERVICE_LOOKED_FOR_AFTER } else { CATALOG_DOUBTED_AFTER };
        now >= self.begun_at + after
    }

    /// Whether this call was refused with this token when it was new: then another token would not help.
    pub(super) fn is_refused(&self, call: &str) -> bool {
        self.refused.lock().expect("nobody panics while holding the calls").contains(call)
    }

    pub(super) fn was_refused(&self, call: String) {
        self.refused.lock().expect("nobody panics while holding the calls").insert(call);
    }

    pub(super) fn nova_speaks(&self, minor: u32) {
        self.nova.store(minor, Ordering::Relaxed);
    }
}

/// Keystone's answer, as far as we read it.
#[derive(Deserialize)]
pub(super) struct Issued {
    pub(super) token: Token,
}

#[derive(Deserialize)]
pub(super) struct Token {
    expires_at: Timestamp,
    issued_at: Timestamp,
    project: Option<Project>,
    #[serde(default)]
    catalog: Vec<Listed>,
}

#[derive(Deserialize)]
struct Project {
    id: String,
}

/// [`Kind::Invalid`]: the token is for no project.
pub(super) fn begin(token: Secret, issued: Token, margin: Duration, now: Timestamp) -> Result<Session, Error> {
    let Some(project) = issued.project.filter(|project| !project.id.is_empty()) else {
        let text = format!("This login is for no project: the user is {}", super::who::WANTED);
        return Err(Error::new(Kind::Invalid, text));
    };
    let lasts = issued.expires_at.duration_since(issued.issued_at).max(SignedDuration::ZERO).min(LASTS_MAX);
    Ok(Session {
        token,
        project: project.id,
        catalog: issued.catalog,
        // One that lasts no longer than the margin is used all the same.
        good_until: now + lasts - SignedDuration::try_from(margin).unwrap_or(LASTS_MAX).min(lasts / 2),
        ahead: now.duration_since(issued.issued_at).try_into().unwrap_or_default(),
        begun_at: now,
        refused: StdMutex::default(),
        nova: AtomicU32::new(NOVA_WANTED),
        sight: StdMutex::new(None),
        network: StdMutex::new(None),
        flavors: StdMutex::new(None),
    })
}

/// Whatever Keystone says: what is learnt of a cloud is learnt anew now and then.
const LASTS_MAX: SignedDuration = SignedDuration::from_hours(24);

/// A catalog that leads nowhere is asked for anew when it is this old.
const CATALOG_DOUBTED_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// One that lacks a service.
const SERVICE_LOOKED_FOR_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// All logins' sessions.
pub(super) struct Sessions {
    key: [u8; 32],
    catalog_kept: SignedDuration,
    slots: Cache<[u8; 32], Arc<Slot>>,
}

/// Which of its sessions a caller is content with.
pub(super) enum Wanted<'a> {
    /// Any that has not ended.
    Any,
    /// Another than this one, which a service refused.
    Another(&'a Arc<Session>),
    /// Another than this one, which leads nowhere, and may be good all the same.
    Newer(&'a Arc<Session>),
    /// One that Keystone gives for the password as it is now.
    New,
}

#[derive(Default)]
pub(super) struct Slot {
    last: Mutex<Last>,
    asked: AtomicU64,
}

#[derive(Default)]
struct Last {
    session: Option<Arc<Session>>,
    /// Until then its catalog is believed.
    believed_until: Timestamp,
    error: Option<Error>,
}

impl Sessions {
    pub(super) fn new(settings: &Settings, chance: &Chance) -> Self {
        let catalog_kept = SignedDuration::from_millis(settings.catalog_kept_ms.try_into().unwrap_or(i64::MAX));
        Self { key: chance.bytes(), catalog_kept, slots: Cache::new(settings.logins_max) }
    }

    /// The place of a login, found by a keyed hash of all of it.
    pub(super) fn slot(&self, provider: &Provider, credentials: &Credentials) -> Arc<Slot> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        let region = provider.region.as_deref().unwrap_or_default();
        let password = credentials.password.expose_secret();
        for part in [provider.keystone.as_str(), region, &credentials.user, password] {
            // With its length, so that no two lists of parts run together into the same bytes.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        self.slots.get_with(mac.finalize().into_bytes().into(), Arc::default)
    }

    /// What `slot` has, or else what `ask` brings.
    pub(super) async fn get(
        &self,
        slot: &Slot,
        wanted: Wanted<'_>,
        now: Timestamp,
        ask: impl AsyncFnOnce() -> Result<Session, Error>,
    ) -> Result<Arc<Session>, Error> {
        let came = slot.asked.load(Ordering::Acquire);
        let mut last = slot.last.lock().await;
        let asked_meanwhile = slot.asked.load(Ordering::Acquire) != came;
        let fits = |session: &&Arc<Session>| match wanted {
            Wanted::Any => now < session.good_until.min(last.believed_until) || asked_meanwhile,
            Wanted::Another(refused) | Wanted::Newer(refused) => !Arc::ptr_eq(session, refused),
            Wanted::New => asked_meanwhile,
        };
        if asked_meanwhile && let Some(error) = &last.error {
            return Err(error.clone());
        }
        if let Some(session) = last.session.as_ref().filter(fits) {
            return Ok(session.clone());
        }
        let answer = ask().await.map(Arc::new);
        slot.asked.fetch_add(1, Ordering::Release);
        match &answer {
            Ok(session) => {
                let believed_until = now.checked_add(self.catalog_kept).unwrap_or(Timestamp::MAX);
                *last = Last { session: Some(session.clone()), believed_until, error: None };
            }
            Err(error) => {
                // A Keystone that is away takes nothing from a token that is still good.
                let refused = matches!(error.kind, Kind::Denied | Kind::Forbidden | Kind::Invalid);
                if refused || matches!(wanted, Wanted::Another(_)) {
                    last.session = None;
                }
                let still = last.session.clone().filter(|session| now < session.good_until);
                if let (Wanted::Any, Some(session)) = (&wanted, still) {
                    // Only its catalog is old, and there is no newer one.
                    last.believed_until = now + CATALOG_DOUBTED_AFTER;
                    last.error = None;
                    return Ok(session);
                }
                last.error = Some(error.clone());
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use futures_util::future::join_all;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().expect("a time")
    }

    fn sessions() -> Sessions {
        Sessions::new(&Settings::default(), &Chance::seeded(1))
    }

    const MARGIN: Duration = Duration::from_secs(300);

    fn session(lasts_s: i64) -> Session {
        let issued_at: Timestamp = "2026-11-21T09:58:30Z".parse().expect("a time");
        let project = Some(Project { id: "p1".to_owned() });
        let expires_at = issued_at + SignedDuration::from_secs(lasts_s);
        let token = Token { expires_at, issued_at, project, catalog: vec![] };
        begin(Secret::from("t"), token, MARGIN, now()).expect("of a project")
    }

    #[test]
    fn a_token_is_read_by_our_clock() {
        let session = session(3600);
        assert_eq!(session.good_until, "2026-11-21T10:55:00Z".parse().expect("a time"), "its length counts");
        assert_eq!(session.ahead, Duration::from_secs(90));

        let read: serde_json::Value =
            serde_json::from_str(include_str!("replies/keystone-token.json")).expect("a recorded answer");
        let issued: Issued = serde_json::from_value(read["body"].clone()).expect("Keystone's words");
        let session = begin(Secret::from("t"), issued.token, MARGIN, now()).expect("of a project");
        assert_eq!(session.project, "63d2e5104dc34ca6a99330dc5f50dab0");
        assert_eq!(session.good_until, "2026-11-21T13:55:00Z".parse().expect("a time"));
        let short = self::session(60);
        assert_eq!(short.good_until, "2026-11-21T10:00:30Z".parse().expect("a time"), "shorter than the margin");

        let text =
            r#"{"token": {"expires_at": "2026-11-21T04:59:49.000000Z", "issued_at": "2026-11-21T00:59:49.000000Z"}}"#;
        let issued: Issued = serde_json::from_str(text).expect("Keystone's words");
        let error = begin(Secret::from("t"), issued.token, MARGIN, now()).err().expect("of no project");
        assert_eq!(error.kind, Kind::Invalid);
    }

    #[test]
    fn every_part_of_a_login_counts() {
        let sessions = sessions();
        let provider = |text: &str| super::super::provider::parse(Some(text), &Settings::default()).expect("good");
        let slot = |provider: &Provider, user: &str, password: &str| {
            sessions.slot(provider, &Credentials { user: user.to_owned(), password: Secret::from(password) })
        };
        let (one, eu) = (provider("https://h:5000/v3"), provider("https://h:5000/v3;eu"));
        let first = slot(&one, "a+b", "c");
        assert!(Arc::ptr_eq(&first, &slot(&one, "a+b", "c")));
        for other in [slot(&eu, "a+b", "c"), slot(&one, "a+", "bc"), slot(&one, "a+b", "d")] {
            assert!(!Arc::ptr_eq(&first, &other));
        }
    }

    #[tokio::test]
    async fn many_who_need_a_token_ask_once() {
        let (sessions, slot, asked) = (sessions(), Slot::default(), AtomicUsize::new(0));
        let ask = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(session(3600))
        };
        let all = join_all((0..50).map(|_| sessions.get(&slot, Wanted::Any, now(), ask))).await;
        let first = all[0].as_ref().expect("a session").clone();
        assert!(all.iter().all(|one| Arc::ptr_eq(one.as_ref().expect("a session"), &first)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);

        // One that a service refused is renewed once, for all who were refused.
        let all = join_all((0..50).map(|_| sessions.get(&slot, Wanted::Another(&first), now(), ask))).await;
        assert!(all.iter().all(|one| !Arc::ptr_eq(one.as_ref().expect("a session"), &first)));
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        sessions.get(&slot, Wanted::New, now(), ask).await.expect("a session");
        assert_eq!(asked.load(Ordering::Relaxed), 3, "asked anew, though there was one");
        let old = now() + Duration::from_secs(900);
        sessions.get(&slot, Wanted::Any, old, ask).await.expect("a session");
        assert_eq!(asked.load(Ordering::Relaxed), 4, "renewed for its catalog");
        let kept = Settings { catalog_kept_ms: 24 * 3_600_000, ..Settings::default() };
        let (sessions, slot) = (Sessions::new(&kept, &Chance::seeded(1)), Slot::default());
        sessions.get(&slot, Wanted::Any, now(), ask).await.expect("a session");
        let late = now() + Duration::from_secs(3600 - 300);
        sessions.get(&slot, Wanted::Any, late, ask).await.expect("a session");
        assert_eq!(asked.load(Ordering::Relaxed), 6, "renewed before it ends");
    }

    #[tokio::test]
    async fn an_error_is_shared_by_those_who_waited_and_by_nobody_later() {
        let (sessions, slot, asked) = (sessions(), Slot::default(), AtomicUsize::new(0));
        let fails = |kind| {
            let asked = &asked;
            async move || {
                asked.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Err(Error::new(kind, "no"))
            }
        };
        let all = join_all((0..50).map(|_| sessions.get(&slot, Wanted::Any, now(), fails(Kind::Denied)))).await;
        assert!(all.iter().all(|one| one.as_ref().err().map(|error| error.kind) == Some(Kind::Denied)));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        sessions.get(&slot, Wanted::Any, now(), fails(Kind::Denied)).await.err().expect("still");
        assert_eq!(asked.load(Ordering::Relaxed), 2);

        // A Keystone that is away leaves what there is; one that refuses ends it.
        let good = sessions.get(&slot, Wanted::Any, now(), async || Ok(session(3600))).await.expect("a session");
        sessions.get(&slot, Wanted::New, now(), fails(Kind::Unavailable)).await.err().expect("away");
        let still = sessions.get(&slot, Wanted::Any, now(), fails(Kind::Unavailable)).await.expect("still good");
        assert!(Arc::ptr_eq(&good, &still));
        let old = now() + Duration::from_secs(900);
        let still = sessions.get(&slot, Wanted::Any, old, fails(Kind::Unavailable)).await.expect("its catalog is old");
        assert!(Arc::ptr_eq(&good, &still));
        sessions.get(&slot, Wanted::Newer(&good), old, fails(Kind::Unavailable)).await.err().expect("away");
        let still = sessions.get(&slot, Wanted::Any, old, async || panic!("asked a moment ago")).await.expect("good");
        assert!(Arc::ptr_eq(&good, &still));
        sessions.get(&slot, Wanted::New, now(), fails(Kind::Denied)).await.err().expect("refused");
        sessions.get(&slot, Wanted::Any, now(), fails(Kind::Denied)).await.err().expect("nothing is left");
    }
}
