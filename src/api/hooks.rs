//! `/api/hooks`: the owner's view of hooks, and what may be done with one.

use std::time::Duration;

use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;

use super::call::{self, Call};
use super::error::{Fault, Problem};
use super::params::Params;
use super::render::{HookView, WAITING_COUNTED};
use crate::model::{AccountId, Collection, Hook, HookId, Subscriber};
use crate::store::{HookStanding, WhichHooks};
use crate::track::{Caller, Recover, Refusal};

/// Hooks or deliveries in an answer: the most, and when not asked.
const LIMIT_MAX: u64 = 1_000;
const LIMIT: u64 = 100;

/// The longest id of a hook, and of a resource, that is looked for. Bytes.
const ID_BYTES_MAX: usize = 128;
const RESOURCE_BYTES_MAX: usize = 2_048;

/// What a question may name, its place aside.
const FILTERS: &[&str] = &["subscriber", "collection", "resource", "limit"];

pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    let mut which = parse(&call.params)?;
    let limit = which.limit;
    which.limit += 1;
    let (_, account) = whose(&call).await?;
    let mut standings = match account {
        Some(account) => call.api.store.hook_standings(account, &which).await?,
        None => vec![],
    };
    let more = standings.len() > limit;
    standings.truncate(limit);
    let last = standings.last().map(|standing| standing.hook.id.clone());
    let now = call.api.clock.now();
    let views: Vec<_> = standings.into_iter().map(|standing| HookView::new(standing, call.base(), now)).collect();
    let next = last.filter(|_| more).map(|last| ("after", last.0));
    Ok(page(&call, "hooks", FILTERS, &views, next))
}

pub(super) async fn show(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let (_, account) = whose(&call).await?;
    let standing = standing(&call, account, &id).await?;
    Ok(shown(&call, standing))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let (caller, account) = whose(&call).await?;
    let (_, hook) = find(&call, account, &id).await?;
    call.api.tracking.remove(&caller, &hook.subscriber, &hook.scope).await?;
    call.moved(&caller.login).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn enable(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let (caller, account) = whose(&call).await?;
    let (account, hook) = find(&call, account, &id).await?;
    if !call.api.care.enable(account, &hook).await? {
        return Err(Fault::not_found("hook", &id));
    }
    call.moved(&caller.login).await;
    let standing = standing(&call, Some(account), &id).await?;
    Ok(shown(&call, standing))
}

pub(super) async fn test(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let (caller, account) = whose(&call).await?;
    let (_, hook) = find(&call, account, &id).await?;
    let (id, attempt) = call.api.care.test(&hook, &caller.key).await?;
    let outcome = TestView {
        id,
        status: attempt.status,
        elapsed_ms: u64::try_from(attempt.elapsed.as_millis()).unwrap_or(u64::MAX),
        error: attempt.error,
        answer: attempt.answer,
    };
    Ok(call.json(StatusCode::OK, &outcome))
}

pub(super) async fn resync(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let (_, account) = whose(&call).await?;
    let (account, hook) = find(&call, account, &id).await?;
    let resynced = call.api.care.resync(account, &hook).await?;
    let (from_seq, through_seq) = resynced.seqs.map(|(from, through)| (from.0, through.0)).unzip();
    Ok(call.json(StatusCode::ACCEPTED, &ResyncView { count: resynced.count, from_seq, through_seq }))
}

pub(super) async fn recover(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let since = instant(&call.params, "since")?;
    let since = since.ok_or_else(|| Fault::invalid("`since` is required: an instant like 2026-11-21T10:00:00Z"))?;
    let what = match call.params.given("what") {
        None | Some("exhausted") => Recover::Exhausted,
        Some("all") => Recover::All,
        Some(_) => return Err(Fault::invalid("`what` must be `exhausted` or `all`")),
    };
    let (_, account) = whose(&call).await?;
    let (account, hook) = find(&call, account, &id).await?;
    let recovered = call.api.care.recover(account, &hook, since, what).await;
    call.api.feeds.owed_anew();
    let recovered = recovered?;
    Ok(call.json(StatusCode::ACCEPTED, &RecoverView { count: recovered.count, more: recovered.more }))
}

/// What became of a test, whatever the receiver said.
#[derive(Serialize)]
struct TestView {
    id: String,
    status: Option<u16>,
    elapsed_ms: u64,
    error: Option<String>,
    answer: String,
}

#[derive(Serialize)]
struct ResyncView {
    count: usize,
    from_seq: Option<u64>,
    through_seq: Option<u64>,
}

#[derive(Serialize)]
struct RecoverView {
    count: u64,
    more: bool,
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Senseless(text) => Self::invalid(text),
            Refusal::Busy(text) => {
                Self { retry_after: Some(Duration::from_secs(1)), ..Self::new(Problem::Backend, text) }
            }
            Refusal::Store(err) => err.into(),
        }
    }
}

/// Who asks, and his account if anything was ever tracked in it.
pub(super) async fn whose(call: &Call) -> Result<(Caller, Option<AccountId>), Fault> {
    let caller = call.caller().await?;
    let account = call.api.store.find_account(&caller.key).await?;
    Ok((caller, account))
}

pub(super) async fn find(call: &Call, account: Option<AccountId>, id: &str) -> Result<(AccountId, Hook), Fault> {
    let missing = || Fault::not_found("hook", id);
    let account = account.ok_or_else(missing)?;
    let hook = call.api.store.hook_by_id(account, &HookId(id.to_owned())).await?;
    Ok((account, hook.ok_or_else(missing)?))
}

async fn standing(call: &Call, account: Option<AccountId>, id: &str) -> Result<HookStanding, Fault> {
    let missing = || Fault::not_found("hook", id);
    let which = WhichHooks { id: Some(HookId(id.to_owned())), limit: 1, ..counting() };
    let standings = call.api.store.hook_standings(account.ok_or_else(missing)?, &which).await?;
    standings.into_iter().next().ok_or_else(missing)
}

fn shown(call: &Call, standing: HookStanding) -> Response {
    call.json(StatusCode::OK, &HookView::new(standing, call.base(), call.api.clock.now()))
}

fn counting() -> WhichHooks {
    WhichHooks { waiting_max: WAITING_COUNTED + 1, ..WhichHooks::default() }
}

fn parse(params: &Params) -> Result<WhichHooks, Fault> {
    let collection = params.given("collection").map(|text| {
        Collection::parse(text).ok_or_else(|| Fault::invalid("`collection` must be one that can be tracked"))
    });
    Ok(WhichHooks {
        subscriber: subscriber(params)?,
        collection: collection.transpose()?,
        resource: resource(params)?,
        after: hook_id(params, "after")?,
        limit: limit(params)?,
        ..counting()
    })
}

pub(super) fn limit(params: &Params) -> Result<usize, Fault> {
    let limit = params.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT);
    Ok(usize::try_from(limit).expect("at most a thousand"))
}

/// The filter; without it any subscriber is meant.
pub(super) fn subscriber(params: &Params) -> Result<Option<Subscriber>, Fault> {
    params.given("subscriber").map(|_| super::tracking::subscriber(params)).transpose()
}

pub(super) fn resource(params: &Params) -> Result<Option<String>, Fault> {
    short(params, "resource", RESOURCE_BYTES_MAX)
}

pub(super) fn hook_id(params: &Params, name: &str) -> Result<Option<HookId>, Fault> {
    Ok(short(params, name, ID_BYTES_MAX)?.map(HookId))
}

fn short(params: &Params, name: &str, bytes_max: usize) -> Result<Option<String>, Fault> {
    match params.given(name) {
        Some(text) if text.len() > bytes_max => {
            Err(Fault::invalid(format!("`{name}` is longer than {bytes_max} bytes")))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

pub(super) fn instant(params: &Params, name: &str) -> Result<Option<Timestamp>, Fault> {
    let wrong = |_| Fault::invalid(format!("`{name}` must be an instant like 2026-11-21T10:00:00Z"));
    params.given(name).map(|text| text.parse().map_err(wrong)).transpose()
}

/// A bare array, and where it goes on: the same question from a place on.
pub(super) fn page(
    call: &Call,
    collection: &str,
    filters: &[&str],
    views: &impl Serialize,
    next: Option<(&str, String)>,
) -> Response {
    let mut response = call.json(StatusCode::OK, views);
    if let Some((place, at)) = next {
        let query = call.params.query(filters, (place, &at));
        let link = format!("<{}?{query}>; rel=\"next\"", call.base().collection(collection));
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}

impl Call {
    /// For what has a JSON form only.
    pub(super) fn json(&self, status: StatusCode, view: &impl Serialize) -> Response {
        call::body(status, serde_json::to_vec(view).expect("views are maps with text keys"), self.format)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_and_nonsense_refused() {
        let check = |query: &str, good: bool| {
            let read = parse(&Params::parse(query, b"", 10).unwrap());
            assert_eq!(read.is_ok(), good, "{query}");
        };
        check("", true);
        check("subscriber=ci&collection=instances&resource=i-1&limit=1&after=hook_1", true);
        check("subscriber=&collection=&limit=", true);
        check("subscriber=a%20b", false);
        check("collection=changes", false);
        check("limit=0", false);
        check("limit=1001", false);
        check(&format!("after={}", "x".repeat(129)), false);
        check(&format!("resource={}", "x".repeat(2_049)), false);
    }

    #[test]
    fn instants_are_those_of_rfc_3339() {
        let check = |text: &str, read: Option<&str>| {
            let params = Params::parse(&format!("since={text}"), b"", 10).unwrap();
            let got = instant(&params, "since").ok().flatten().map(|at| at.to_string());
            assert_eq!(got.as_deref(), read, "{text}");
        };
        check("2026-11-21T10:00:00Z", Some("2026-11-21T10:00:00Z"));
        check("2026-11-21T10:00:00.5%2B02:00", Some("2026-11-21T08:00:00.5Z"));
        check("", None);
        for bad in ["yesterday", "2026-11-21", "2026-11-21T10:00:00", "1763719200", "2026-13-01T00:00:00Z"] {
            check(bad, None);
            let params = Params::parse(&format!("since={bad}"), b"", 10).unwrap();
            assert!(instant(&params, "since").is_err(), "{bad}");
        }
    }
}
