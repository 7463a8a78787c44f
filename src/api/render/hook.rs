use jiff::Timestamp;
use serde::Serialize;

use super::Base;
use crate::model::{Callback, Hook, Scope};
use crate::store::HookStanding;

/// A hook as its owner sees it. JSON only. Of the callback what may be shown; token and keys never.
#[derive(Debug, Serialize)]
pub(in crate::api) struct HookView {
    id: String,
    href: String,
    subscriber: String,
    scope: ScopeView,
    hook: String,
    /// Scheme, host and port; `null` reads the feed.
    receiver: Option<String>,
    mode: &'static str,
    format: &'static str,
    /// `null`: all.
    events: Option<Vec<String>>,
    created_at: String,
    ended_at: Option<String>,
    disabled: Option<DisabledView>,
    failing_since: Option<String>,
    /// The oldest change not delivered, waiting or exhausted.
    behind: Option<BehindView>,
    /// How long the oldest waiting change has been owed; 0 when none waits.
    lag_seconds: i64,
    waiting: usize,
    /// Only when there are more: then `waiting` is where counting stopped.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    waiting_more: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum ScopeView {
    Account,
    Collection { collection: &'static str },
    Member { collection: &'static str, id: String },
}

#[derive(Debug, Serialize)]
struct DisabledView {
    at: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct BehindView {
    oldest_seq: u64,
    since: String,
    age_seconds: i64,
}

/// As far as waiting deliveries of a hook are counted.
pub(in crate::api) const WAITING_COUNTED: usize = 1_000;

impl HookView {
    /// `standing` was asked for with one more than [`WAITING_COUNTED`].
    pub(in crate::api) fn new(standing: HookStanding, base: Base<'_>, now: Timestamp) -> Self {
        let HookStanding { hook, behind, waiting_since, waiting } = standing;
        let (shown, receiver) = (hook.shown(), hook.receiver());
        // Every field is named, so that a new one has to be judged here.
        let Hook {
            id,
            subscriber,
            scope,
            callback: Callback::Post(_) | Callback::Feed,
            token: _,
            keys: _,
            terms,
            base: _,
            created_at,
            disabled,
            failing_since,
            version: _,
            ended_at,
        } = hook;
        Self {
            href: base.member("hooks", &id.0),
            id: id.0,
            subscriber: subscriber.to_string(),
            scope: match scope {
                Scope::Account => ScopeView::Account,
                Scope::Collection(collection) => ScopeView::Collection { collection: collection.as_str() },
                Scope::Member(collection, id) => ScopeView::Member { collection: collection.as_str(), id },
            },
            hook: shown,
            receiver,
            mode: terms.mode.as_str(),
            format: terms.format.as_str(),
            events: terms.events.0.map(|events| events.into_iter().collect()),
            created_at: wire(created_at),
            ended_at: ended_at.map(wire),
            disabled: disabled.map(|disabled| DisabledView { at: wire(disabled.at), reason: disabled.reason }),
            failing_since: failing_since.map(wire),
            behind: behind.map(|(seq, since)| BehindView {
                oldest_seq: seq.0,
                since: wire(since),
                age_seconds: age_seconds(since, now),
            }),
            lag_seconds: waiting_since.map_or(0, |since| age_seconds(since, now)),
            waiting: waiting.min(WAITING_COUNTED),
            waiting_more: waiting > WAITING_COUNTED,
        }
    }
}

/// Milliseconds always, as in changes.
pub(super) fn wire(at: Timestamp) -> String {
    format!("{at:.3}")
}

/// Whole seconds; 0 for what lies ahead, as the clock may have been set back.
fn age_seconds(since: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(since).as_secs().max(0)
}
