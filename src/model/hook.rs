use std::collections::BTreeSet;
use std::fmt;

use jiff::Timestamp;
use url::Url;

use super::{Collection, Secret};

/// `hook_` and a UUIDv7 in hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookId(pub String);

impl fmt::Display for HookId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One client among several of an account, by the name it gave itself: 1 to 64 of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscriber(String);

impl Subscriber {
    /// `None` when the name is empty, too long or has another character.
    pub fn parse(name: &str) -> Option<Self> {
        let fits = (1..=64).contains(&name.len());
        let clean = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        (fits && clean).then(|| Self(name.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Subscriber {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl fmt::Display for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a hook listens to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Events of the account itself.
    Account,
    /// Every member, present and future.
    Collection(Collection),
    Member(Collection, String),
}

/// Where the change goes.
#[derive(Clone, Debug)]
pub enum Callback {
    /// Posted here. May carry credentials in its user part or query, so it is never logged or shown whole.
    Post(Url),
    /// Not posted; the subscriber reads the feed.
    Feed,
}

/// A key that signs. Standard Webhooks form, `whsec_` and Base64 of 24 to 64 bytes.
#[derive(Clone, Debug)]
pub struct SigningKey {
    pub secret: Secret,
    /// `None`: current. Otherwise replaced, and signing beside the current one until then.
    pub until: Option<Timestamp>,
}

/// A hook that gets nothing more until it is set again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabled {
    pub at: Timestamp,
    pub reason: String,
}

/// What of a resource's changes is told when several wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Each of them, in order.
    #[default]
    Each,
    /// The newest, which says how many others it stands for.
    Latest,
}

impl Mode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Latest => "latest",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Each, Self::Latest].into_iter().find(|mode| mode.as_str() == text)
    }
}

/// What is posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The change as in the feed.
    #[default]
    Changes,
    /// The same in the envelope of CloudEvents 1.0, structured mode.
    CloudEvents,
}

impl Format {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changes => "changes",
            Self::CloudEvents => "cloudevents",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Changes, Self::CloudEvents].into_iter().find(|format| format.as_str() == text)
    }
}

/// The types of changes that are told, by the word after the dot (`state`, `addresses`, `gone` …) or whole
/// (`instance.state`). `None`: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events(pub Option<BTreeSet<String>>);

impl Events {
    /// Does a change of this type ([`News::kind`](super::News::kind)) concern the hook? What its owner asked for
    /// (snapshots) always does.
    pub fn include(&self, kind: &str) -> bool {
        let Some(wanted) = &self.0 else { return true };
        let verb = kind.split_once('.').map_or(kind, |(_, verb)| verb);
        verb == "snapshot" || wanted.contains(verb) || wanted.contains(kind)
    }
}

/// How a hook wants to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub mode: Mode,
    pub format: Format,
    pub events: Events,
}

/// Where a subscriber wants to hear of changes of a resource. At most one per account, subscriber and scope.
#[derive(Clone, Debug)]
pub struct Hook {
    pub id: HookId,
    pub subscriber: Subscriber,
    pub scope: Scope,
    pub callback: Callback,
    /// Handed back unchanged in every callback; never shown elsewhere.
    pub token: Option<Secret>,
    /// Current first.
    pub keys: Vec<SigningKey>,
    pub terms: Terms,
    /// What hrefs in callbacks begin with, driver and provider included:
    /// `https://tracker.example/api;driver=ec2;provider=us-east-1`. No slash at the end.
    pub base: String,
    pub created_at: Timestamp,
    pub disabled: Option<Disabled>,
    /// Since when no try has succeeded; `None` when the last one did, and before the first. Kept by the store.
    pub failing_since: Option<Timestamp>,
    /// Rises whenever the hook is set, disabled or enabled. Kept by the store.
    pub version: u64,
    /// The resource is gone for good. The hook stays for a while, so that what is owed gets delivered.
    pub ended_at: Option<Timestamp>,
}

impl Hook {
    /// Scheme, host and port: what bounds and circuits are counted by, and all that logs may show. `None` for the feed.
    pub fn receiver(&self) -> Option<String> {
        match &self.callback {
            Callback::Post(url) => Some(url.origin().ascii_serialization()),
            Callback::Feed => None,
        }
    }

    /// The callback as it may be shown: user part and query values masked.
    pub fn shown(&self) -> String {
        let Callback::Post(url) = &self.callback else { return "feed".to_owned() };
        let mut shown = url.clone();
        if !url.username().is_empty() || url.password().is_some() {
            // Both setters fail only for URLs without a host, and a hook has one.
            let _ = shown.set_username("***");
            let _ = shown.set_password(None);
        }
        if url.query().is_some() {
            shown.set_query(Some("***"));
        }
        shown.set_fragment(None);
        shown.to_string()
    }
}
