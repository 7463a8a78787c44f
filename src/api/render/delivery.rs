use serde::Serialize;

use super::Base;
use super::hook::wire;
use crate::model::{Attempt, DeliveryState};
use crate::store::{DeliveryStanding, LastTry};

/// A delivery as its owner sees it. JSON only.
#[derive(Debug, Serialize)]
pub(in crate::api) struct DeliveryView {
    id: String,
    href: String,
    hook: String,
    subscriber: String,
    seq: u64,
    /// Id and type of the change; `null` when it is no longer kept.
    change: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    resource: ResourceView,
    state: &'static str,
    /// Of a waiting one: it is being sent just now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    under_way: bool,
    /// How many attempts count.
    attempts: u32,
    created_at: String,
    /// `null`: it waits behind another of the same resource, or does not wait.
    due_at: Option<String>,
    settled_at: Option<String>,
    receiver: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    merged: Option<MergedView>,
    last_attempt: Option<LastView>,
    /// Only where one delivery is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    tries: Option<Vec<AttemptView>>,
}

#[derive(Debug, Serialize)]
struct ResourceView {
    collection: &'static str,
    id: String,
    href: String,
}

#[derive(Debug, Serialize)]
struct MergedView {
    from_seq: u64,
    count: u32,
}

#[derive(Debug, Serialize)]
struct LastView {
    at: String,
    status: Option<u16>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct AttemptView {
    number: u32,
    at: String,
    elapsed_ms: u64,
    status: Option<u16>,
    error: Option<String>,
    answer_line: String,
    answer: String,
}

impl DeliveryView {
    pub(in crate::api) fn new(standing: DeliveryStanding, base: Base<'_>) -> Self {
        let DeliveryStanding {
            hook,
            seq,
            subscriber,
            change,
            collection,
            resource,
            state,
            attempts,
            created_at,
            due_at,
            under_way,
            settled_at,
            receiver,
            merged,
            last_try,
        } = standing;
        let id = format!("{hook}.{seq}");
        let (change, kind) = change.map(|(change, kind)| (change.0, kind)).unzip();
        Self {
            href: base.member("deliveries", &id),
            id,
            hook: hook.0,
            subscriber: subscriber.to_string(),
            seq: seq.0,
            change,
            kind,
            resource: ResourceView {
                collection: collection.as_str(),
                href: base.member(collection.as_str(), &resource),
                id: resource,
            },
            state: state.as_str(),
            under_way,
            attempts,
            created_at: wire(created_at),
            due_at: due_at.filter(|_| state == DeliveryState::Waiting).map(wire),
            settled_at: settled_at.map(wire),
            receiver,
            merged: merged.map(|merged| MergedView { from_seq: merged.from_seq.0, count: merged.count }),
            last_attempt: last_try.map(|LastTry { at, status, error }| LastView { at: wire(at), status, error }),
            tries: None,
        }
    }

    pub(in crate::api) fn with_attempts(mut self, attempts: Vec<Attempt>) -> Self {
        self.tries = Some(attempts.into_iter().map(AttemptView::from).collect());
        self
    }
}

impl From<Attempt> for AttemptView {
    fn from(attempt: Attempt) -> Self {
        let Attempt { number, at, elapsed, status, error, answer } = attempt;
        Self {
            number,
            at: wire(at),
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
            status,
            error,
            answer_line: answer.lines().next().unwrap_or_default().to_owned(),
            answer,
        }
    }
}
