//! Hooks over HTTP: `PUT` on a member, a collection or the account, and `track_hook` on create. Parameters are judged here; keeping
//! hooks is the work of [`track`].

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use url::Url;

use super::call::Call;
use super::error::{Fault, Problem};
use super::params::Params;
use super::read::{Shown, view};
use super::render::TrackingView;
use crate::model::{
    Callback, Collection, Events, ExposeSecret as _, Format, Instance, Mode, News, Resource, ResourceKind, Scope,
    Secret, Subscriber, Terms,
};
use crate::track::{self, Caller, SetHook, Tracked, Wish};
use crate::{deliver, drivers};

/// What is said of a hook that was just set.
pub(super) fn tracked_view(tracked: &Tracked) -> TrackingView {
    let secret = tracked.new_secret.as_ref().map(|secret| secret.expose_secret().to_owned());
    TrackingView { secret, ..view(&tracked.hook, tracked.observed_at) }
}

/// The members of what was tracked, each with the hook beside it.
pub(super) fn tracked_members<T: ResourceKind>(tracked: &Tracked) -> Vec<Shown<T>> {
    let member =
        |resource: &Resource| Some(Shown { resource: T::of(resource.clone())?, tracking: Some(tracked_view(tracked)) });
    tracked.resources.iter().filter_map(member).collect()
}

impl From<track::Error> for Fault {
    fn from(err: track::Error) -> Self {
        match err {
            track::Error::Driver(err) => err.into(),
            track::Error::Store(err) => err.into(),
            track::Error::NotFound(id, collection) => Self::not_found(collection.as_str(), &id),
            track::Error::NotYours(..) => Self::new(Problem::Forbidden, err.to_string()),
            track::Error::Refused(_) | track::Error::Secret(_) => Self::invalid(err.to_string()),
            track::Error::Busy(_) => Self::new(Problem::Backend, err.to_string()),
        }
    }
}

/// What a `PUT` did.
pub(super) enum Done {
    Set(Box<Tracked>),
    /// `false`: there was no hook, which is fine.
    Removed(bool),
}

/// `PUT`: sets, replaces or removes.
pub(super) async fn put(call: &Call, scope: Scope) -> Result<Done, Fault> {
    let hook = call.params.required("track_hook")?;
    if hook.is_empty() {
        return Err(Fault::invalid("`track_hook` is empty; `none` removes a hook"));
    }
    let kinds: &[_] = if scope == Scope::Account { &News::ACCOUNT_KINDS } else { &News::KINDS };
    let asked = Asked::parse(&call.params, kinds)?;
    let caller = call.caller().await?;
    match &asked.callback {
        Some(callback) => set(call, &caller, &asked, callback, scope).await.map(|set| Done::Set(Box::new(set))),
        None => {
            let removed = call.api.tracking.remove(&caller, &asked.subscriber, &scope).await?;
            call.moved(&caller.login).await;
            Ok(Done::Removed(removed))
        }
    }
}

/// The answer to a removal: the resource as it is now, and nothing (204) where it cannot be shown. The hook is gone, so a
/// backend that is down, or no longer has the resource, does not make the request a failed one.
pub(super) fn after_removal(removed: bool, shown: Result<Response, Fault>) -> Result<Response, Fault> {
    match shown {
        Err(Fault { problem: Problem::Backend | Problem::BackendTimeout | Problem::Internal, .. }) => {
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Err(Fault { problem: Problem::NotFound, .. }) if removed => Ok(StatusCode::NO_CONTENT.into_response()),
        shown => shown,
    }
}

async fn set(call: &Call, caller: &Caller, asked: &Asked, callback: &Callback, scope: Scope) -> Result<Tracked, Fault> {
    let wanted = asked.wanted(call, caller, callback, scope);
    let set = call.api.tracking.set(caller, call.driver.as_ref(), wanted).await;
    if let Err(track::Error::Driver(drivers::Error { kind: drivers::Kind::Denied, .. })) = set {
        call.api.logins.refused(&caller.login, call.peer, call.api.clock.now());
    }
    let set = set?;
    call.moved(&caller.login).await;
    Ok(set)
}

/// The hook of an instance that this request has just created.
pub(super) async fn set_created(
    call: &Call,
    caller: &Caller,
    asked: &Asked,
    callback: &Callback,
    created: &Instance,
) -> Result<Tracked, Fault> {
    let scope = Scope::Member(Collection::Instances, created.id.to_string());
    let set = call
        .api
        .tracking
        .set_created(caller, call.driver.as_ref(), created, asked.wanted(call, caller, callback, scope))
        .await?;
    call.moved(&caller.login).await;
    Ok(set)
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
    secret: Wish,
    terms: Terms,
}

impl Asked {
    fn wanted(&self, call: &Call, caller: &Caller, callback: &Callback, scope: Scope) -> SetHook {
        SetHook {
            subscriber: self.subscriber.clone(),
            scope,
            callback: callback.clone(),
            token: self.token.clone(),
            secret: self.secret.clone(),
            terms: self.terms.clone(),
            base: call.callback_base(&caller.key.provider),
        }
    }

    /// `kinds` are the types of changes that may be asked for.
    pub(super) fn parse(params: &Params, kinds: &[&'static str]) -> Result<Self, Fault> {
        let terms = terms(params, kinds)?;
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
            None => Wish::Keep,
            Some("rotate") => Wish::Rotate,
            Some(secret) => Wish::Given(signing_secret(secret)?),
        };
        let subscriber = subscriber(params)?;
        Ok(Self { callback, subscriber, token: token.map(Secret::from), secret, terms })
    }
}

fn terms(params: &Params, kinds: &[&'static str]) -> Result<Terms, Fault> {
    let wrong = |name: &str, right: &str| Fault::invalid(format!("`{name}` must be {right}"));
    let mode = params
        .given("track_mode")
        .map(|word| Mode::parse(word).ok_or_else(|| wrong("track_mode", "`each` or `latest`")));
    let format = params
        .given("track_format")
        .map(|word| Format::parse(word).ok_or_else(|| wrong("track_format", "`changes` or `cloudevents`")));
    Ok(Terms {
        mode: mode.transpose()?.unwrap_or_default(),
        format: format.transpose()?.unwrap_or_default(),
        events: params.given("track_events").map(|list| events(list, kinds)).transpose()?.unwrap_or_default(),
    })
}

/// `state,addresses` or `instance.state,realm.state`; `all` is what one gets without asking.
fn events(list: &str, kinds: &[&'static str]) -> Result<Events, Fault> {
    if list == "all" {
        return Ok(Events::default());
    }
    let verb = |kind: &'static str| kind.split_once('.').map_or(kind, |(_, verb)| verb);
    let known = |word: &str| kinds.iter().any(|kind| *kind == word || verb(kind) == word);
    let words: BTreeSet<String> = list.split(',').map(|word| word.trim().to_owned()).collect();
    if words.iter().all(|word| known(word)) {
        return Ok(Events(Some(words)));
    }
    let verbs: BTreeSet<&str> = kinds.iter().copied().map(verb).collect();
    Err(Fault::invalid(format!(
        "`track_events` must be `all`, or with commas between them some of {}, or whole types as `{}`",
        Vec::from_iter(verbs).join(", "),
        kinds.first().copied().unwrap_or_default(),
    )))
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
    match deliver::Key::parse(text) {
        Ok(_) => Ok(text.into()),
        Err(err) => Err(Fault::invalid(format!(
            "`track_secret`: {err}; write `rotate` to have one made, and escape `+` as %2B"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn asked(pairs: &[(&str, &str)]) -> Result<Asked, Fault> {
        let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        Asked::parse(&Params::parse(&query, b"", 10).unwrap(), &News::KINDS)
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
        check("track_mode", "latest", true);
        check("track_mode", "newest", false);
        check("track_format", "changes", true);
        check("track_format", "cloudevents", true);
        check("track_format", "xml", false);
        check("track_events", "state", true);
        check("track_events", "all", true);
        check("track_events", "state, addresses,instance.gone", true);
        check("track_events", "state,weather", false);
        check("track_events", "state,", false);
        check("track_events", "hook.disabled", false);
        check("track_events", "observation_gap", false);
    }

    #[test]
    fn a_hook_on_the_account_asks_for_events_of_the_account() {
        let check = |list: &str, good: bool| assert_eq!(events(list, &News::ACCOUNT_KINDS).is_ok(), good, "{list}");
        check("all", true);
        check("disabled,observation_gap", true);
        check("account.observation_gap", true);
        check("hook.disabled", true);
        check("state", false);
        check("instance.state", false);
    }
}
