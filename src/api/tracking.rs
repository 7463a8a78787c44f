//! Hooks over HTTP: `PUT` on a member, and `track_hook` on create. Parameters are judged here; keeping hooks is another
//! room's work, reached through [`Hooks`].

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use url::Url;

use super::auth::Caller;
use super::call::Call;
use super::error::{Fault, Problem};
use super::known::{Trackable, view};
use super::params::Params;
use super::render::TrackingView;
use crate::drivers::{self, Driver};
use crate::model::{Callback, ExposeSecret as _, Hook, Resource, Scope, Secret, Subscriber};
use crate::store;

/// What the API needs of the room that keeps hooks.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Fetches the resource with the caller's own login, takes it as baseline, and sets or replaces the hook.
    async fn set(&self, caller: &Caller, driver: &dyn Driver, ask: &SetHook) -> Result<Tracked, HooksError>;

    /// Removes a hook; `false`: there was none. Works while the backend is down.
    async fn remove(&self, caller: &Caller, subscriber: &Subscriber, scope: &Scope) -> Result<bool, HooksError>;
}

/// A hook as asked for; every part of it is within bounds.
#[derive(Clone, Debug)]
pub struct SetHook {
    pub subscriber: Subscriber,
    pub scope: Scope,
    pub callback: Callback,
    pub token: Option<Secret>,
    /// `None`: keep the one there is, or make one.
    pub secret: Option<SecretAsked>,
    /// See [`Hook::base`].
    pub base: String,
}

#[derive(Clone, Debug)]
pub enum SecretAsked {
    /// `whsec_` and Base64 of 24 to 64 bytes.
    Use(Secret),
    /// Make a new one; the old one signs beside it for a while.
    Rotate,
}

/// A hook that is set now.
#[derive(Clone, Debug)]
pub struct Tracked {
    pub hook: Hook,
    /// The baseline: the member as just fetched.
    pub resource: Option<Resource>,
    pub checked_at: Timestamp,
    /// The secret, if this request made it: shown this once.
    pub made: Option<Secret>,
}

impl Tracked {
    pub(super) fn member<T: Trackable>(&self) -> Option<T> {
        T::of(self.resource.clone()?)
    }

    pub(super) fn view(&self) -> TrackingView {
        let secret = self.made.as_ref().map(|secret| secret.expose_secret().to_owned());
        TrackingView { secret, ..view(Some(&self.hook), self.checked_at, false) }
    }
}

/// Why a hook was not set or removed.
#[derive(Debug, thiserror::Error)]
pub enum HooksError {
    #[error(transparent)]
    Driver(#[from] drivers::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The backend clearly does not have the resource.
    #[error("there is no such resource")]
    NotFound,
    /// The hook may not be set as asked: the text says why, without secrets.
    #[error("{0}")]
    Invalid(String),
}

impl From<HooksError> for Fault {
    fn from(err: HooksError) -> Self {
        match err {
            HooksError::Driver(err) => err.into(),
            HooksError::Store(err) => err.into(),
            HooksError::NotFound => Self::of(Problem::NotFound),
            HooksError::Invalid(text) => Self::invalid(text),
        }
    }
}

/// `PUT`: sets or replaces (`Some`), or removes (`None`). Removing what is not there is fine.
pub(super) async fn put(call: &Call, scope: Scope) -> Result<Option<Tracked>, Fault> {
    let hook = call.params.required("track_hook")?;
    if hook.is_empty() {
        return Err(Fault::invalid("`track_hook` is empty; `none` removes a hook"));
    }
    let asked = Asked::parse(&call.params)?;
    let caller = call.caller().await?;
    match &asked.callback {
        Some(callback) => set(call, &caller, &asked, callback, scope).await.map(Some),
        None => {
            call.api.hooks.remove(&caller, &asked.subscriber, &scope).await?;
            Ok(None)
        }
    }
}

pub(super) async fn set(
    call: &Call,
    caller: &Caller,
    asked: &Asked,
    callback: &Callback,
    scope: Scope,
) -> Result<Tracked, Fault> {
    let ask = SetHook {
        subscriber: asked.subscriber.clone(),
        scope,
        callback: callback.clone(),
        token: asked.token.clone(),
        secret: asked.secret.clone(),
        base: call.callback_base(&caller.key.provider),
    };
    let set = call.api.hooks.set(caller, call.driver.as_ref(), &ask).await;
    if let Err(HooksError::Driver(drivers::Error { kind: drivers::Kind::Denied, .. })) = set {
        call.api.logins.refused(&caller.login, call.peer);
    }
    Ok(set?)
}

/// The longest callback URL and token. Bytes.
const HOOK_BYTES_MAX: usize = 2_048;
const TOKEN_BYTES_MAX: usize = 1_024;

/// The parameters of a hook, judged.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// `None`: no hook is wanted.
    pub(super) callback: Option<Callback>,
    pub(super) subscriber: Subscriber,
    token: Option<Secret>,
    secret: Option<SecretAsked>,
}

impl Asked {
    pub(super) fn parse(params: &Params) -> Result<Self, Fault> {
        for (name, known) in [("track_format", "changes"), ("track_mode", "each")] {
            if params.given(name).is_some_and(|value| value != known) {
                return Err(Fault::invalid(format!("`{name}` can only be `{known}` so far")));
            }
        }
        if params.given("track_events").is_some() {
            return Err(Fault::invalid("`track_events` cannot be given yet: every change is told"));
        }
        let callback = match params.given("track_hook") {
            None | Some("none") => None,
            Some("feed") => Some(Callback::Feed),
            Some(url) => Some(Callback::Post(hook_url(url)?)),
        };
        let token = params.given("track_token");
        if token.is_some_and(|token| token.len() > TOKEN_BYTES_MAX) {
            return Err(Fault::invalid(format!("`track_token` is longer than {TOKEN_BYTES_MAX} bytes")));
        }
        let secret = match params.given("track_secret") {
            None => None,
            Some("rotate") => Some(SecretAsked::Rotate),
            Some(secret) => Some(SecretAsked::Use(signing_secret(secret)?)),
        };
        let subscriber = subscriber(params)?;
        Ok(Self { callback, subscriber, token: token.map(Secret::from), secret })
    }
}

pub(super) fn subscriber(params: &Params) -> Result<Subscriber, Fault> {
    let Some(name) = params.given("subscriber") else { return Ok(Subscriber::default()) };
    Subscriber::parse(name).ok_or_else(|| Fault::invalid("`subscriber` must be 1 to 64 of A-Z a-z 0-9 . _ -"))
}

/// The URL is not repeated in what is said: it may hold credentials.
fn hook_url(text: &str) -> Result<Url, Fault> {
    if text.len() > HOOK_BYTES_MAX {
        return Err(Fault::invalid(format!("`track_hook` is longer than {HOOK_BYTES_MAX} bytes")));
    }
    let wrong = |why: &str| {
        Fault::invalid(format!("`track_hook` must be an absolute http or https URL, `feed` or `none`: {why}"))
    };
    // Parsers forgive white space and control characters; what is stored should be what was meant.
    if text.chars().any(|character| character.is_control() || character.is_whitespace()) {
        return Err(wrong("it has white space or control characters; escape them"));
    }
    let mut url = Url::parse(text).map_err(|err| wrong(&err.to_string()))?;
    let rest = text.get(url.scheme().len()..).unwrap_or_default();
    if !matches!(url.scheme(), "http" | "https") || !rest.starts_with("://") {
        return Err(wrong("it does not begin with http:// or https://"));
    }
    url.set_fragment(None);
    Ok(url)
}

fn signing_secret(text: &str) -> Result<Secret, Fault> {
    let bytes = text.strip_prefix("whsec_").and_then(|encoded| STANDARD.decode(encoded).ok());
    if bytes.is_some_and(|bytes| (24..=64).contains(&bytes.len())) {
        return Ok(text.into());
    }
    Err(Fault::invalid("`track_secret` must be `rotate`, or `whsec_` and Base64 of 24 to 64 bytes (escape `+` as %2B)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Asked, Fault> {
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Asked::parse(&Params::parse(&query, b"", 10).unwrap())
    }

    #[test]
    fn a_hook_is_a_url_or_feed_or_none() {
        let check = |hook: &str, read: &str| {
            let shown = match asked(&[("track_hook", hook)]) {
                Ok(Asked { callback: Some(Callback::Post(url)), .. }) => url.to_string(),
                Ok(Asked { callback: Some(Callback::Feed), .. }) => "feed".to_owned(),
                Ok(Asked { callback: None, .. }) => "none".to_owned(),
                Err(fault) => {
                    assert!(!fault.message.contains("hush"), "{}", fault.message);
                    "refused".to_owned()
                }
            };
            assert_eq!(shown, read, "{hook}");
        };
        check("http://example.com/cb", "http://example.com/cb");
        check("HTTPS://user:hush@example.com/cb?token=hush#part", "https://user:hush@example.com/cb?token=hush");
        check("http://h/;x=%20?u=http://i/;y", "http://h/;x=%20?u=http://i/;y");
        check("feed", "feed");
        check("none", "none");
        for bad in [
            "None",
            "ftp://u:hush@h/",
            "/cb?hush",
            "http:h",
            "http:/h",
            "http://",
            "http://h:99999/hush",
            "http://h/a b?hush",
            "http://h/\n",
            "javascript:hush()",
            "example.com/cb",
        ] {
            check(bad, "refused");
        }
        let long = |bytes: usize| format!("http://h/{}", "a".repeat(bytes - 9));
        check(&long(2_048), &long(2_048));
        check(&long(2_049), "refused");
    }

    #[test]
    fn token_secret_and_subscriber_have_bounds() {
        let key = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![1; bytes]));
        let check = |name: &str, value: &str, good: bool| {
            assert_eq!(asked(&[("track_hook", "feed"), (name, value)]).is_ok(), good, "{name}={value}");
        };
        check("track_token", &"t".repeat(1_024), true);
        check("track_token", &"t".repeat(1_025), false);
        check("track_secret", "rotate", true);
        check("track_secret", &key(24), true);
        check("track_secret", &key(64), true);
        check("track_secret", &key(23), false);
        check("track_secret", &key(65), false);
        check("track_secret", "hush", false);
        check("track_secret", "whsec_!", false);
        check("track_secret", "", true);
        check("subscriber", "ci-1.x_", true);
        check("subscriber", "a b", false);
        check("subscriber", &"s".repeat(65), false);
        check("track_mode", "each", true);
        check("track_mode", "latest", false);
        check("track_format", "cloudevents", false);
        check("track_events", "state", false);
    }
}
