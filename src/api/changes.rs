//! `GET /api/changes`: the feed over HTTP.

use std::collections::HashMap;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;

use super::call::{self, Call};
use super::error::{Fault, Problem};
use super::params::Params;
use super::{receipt, tracking};
use crate::changes::{Told, fan_out, render};
use crate::model::{AccountId, Entry, Format, Hook, HookId, Seq, Subscriber};
use crate::track::Caller;

/// A reader's question; every part of it is within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ask {
    subscriber: Subscriber,
    place: Place,
    /// Changes in the answer at most.
    limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// What this subscriber has not got yet.
    Undelivered,
    /// The log from a place on, delivered or not.
    After(Seq),
}

/// An answer of the feed.
struct Page {
    /// A bare JSON array, oldest first.
    body: Vec<u8>,
    /// To be acknowledged once the body has been read; empty when nothing is.
    seqs: Vec<Seq>,
    /// Up to here the reader has everything that is for it, this answer included.
    through: Seq,
    /// There is more.
    more: bool,
}

pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    let ask = parse(&call.params)?;
    let caller = call.caller().await?;
    let account = call.api.store.find_account(&caller.key).await?;
    let page = match (account, ask.place) {
        (Some(account), Place::Undelivered) => undelivered(&call, &caller, account, &ask).await?,
        (Some(account), Place::After(after)) => log(&call, &caller, account, &ask, after).await?,
        // Nothing was ever tracked there.
        (None, Place::Undelivered | Place::After(Seq(0))) => {
            Page { body: b"[]".to_vec(), seqs: vec![], through: Seq(0), more: false }
        }
        (None, Place::After(after)) => return Err(ahead(after, Seq(0))),
    };
    let mut response = call::body(StatusCode::OK, page.body, call.format);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("tracker-seq"), HeaderValue::from(page.through.0));
    if page.more
        && let Ok(link) = HeaderValue::try_from(next(&call, &ask, page.through))
    {
        headers.insert(header::LINK, link);
    }
    if let Some(account) = account.filter(|_| !page.seqs.is_empty()) {
        let api = call.api.clone();
        let read = async move {
            let now = api.clock.now();
            api.store.acknowledge(account, &ask.subscriber, &page.seqs, now).await.map(drop)
        };
        // How the client hangs up tells whether it has read all.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let body = std::mem::replace(response.body_mut(), Body::empty());
        *response.body_mut() = receipt::on_read(body, call.wire.as_ref(), read);
    }
    Ok(response)
}

/// What this subscriber has not got yet, each with the token of the hook that owes it.
async fn undelivered(call: &Call, caller: &Caller, account: AccountId, ask: &Ask) -> Result<Page, Fault> {
    // Asked first: what is recorded between the two is beyond the place that is named, and comes again.
    let (_, last) = call.api.store.log_bounds(account).await?;
    let mut owed = call.api.store.undelivered(account, &ask.subscriber, ask.limit + 1).await?;
    let more = owed.len() > ask.limit;
    owed.truncate(ask.limit);
    let hooks = if owed.is_empty() { Vec::new() } else { call.api.store.hooks(account).await? };
    let hooks: HashMap<&HookId, &Hook> = hooks.iter().map(|hook| (&hook.id, hook)).collect();
    let told = owed.iter().map(|(entry, hook)| (entry, hooks.get(hook).copied()));
    let body = array(call, caller, told);
    let seqs: Vec<_> = owed.iter().map(|(entry, _)| entry.seq).collect();
    let newest = seqs.last().copied();
    let through = if more { newest.unwrap_or(last) } else { newest.map_or(last, |newest| newest.max(last)) };
    Ok(Page { body, through, seqs, more })
}

/// The log after a place. Whoever asks for what comes after it has what came before.
async fn log(call: &Call, caller: &Caller, account: AccountId, ask: &Ask, after: Seq) -> Result<Page, Fault> {
    let store = &call.api.store;
    let (oldest, last) = store.log_bounds(account).await?;
    if after > last {
        return Err(ahead(after, last));
    }
    let first_kept = oldest.unwrap_or(Seq(last.0 + 1));
    if after.0 + 1 < first_kept.0 {
        let text = format!(
            "What came after {after} is no longer kept; the oldest kept change is {first_kept}. List the resources anew and go on from there"
        );
        return Err(Fault::new(Problem::Gone, text));
    }
    if after > Seq(0) {
        store.acknowledge_through(account, &ask.subscriber, after, call.api.clock.now()).await?;
    }
    let mut entries = store.log_after(account, after, ask.limit + 1).await?;
    let more = entries.len() > ask.limit;
    entries.truncate(ask.limit);
    let mut hooks = if entries.is_empty() { Vec::new() } else { store.hooks(account).await? };
    hooks.retain(|hook| hook.subscriber == ask.subscriber);
    let told = entries.iter().map(|entry| {
        let own = fan_out(&entry.change.subject, entry.change.news.kind(), &hooks).into_iter().next();
        (entry, own.and_then(|id| hooks.iter().find(|hook| hook.id == id)))
    });
    let body = array(call, caller, told);
    Ok(Page { body, seqs: vec![], through: entries.last().map_or(after, |entry| entry.seq), more })
}

fn ahead(after: Seq, last: Seq) -> Fault {
    Fault::invalid(format!("`after` is {after}, and the last change is {last}: there is nothing to come after it yet"))
}

/// The same bytes that a callback has, between brackets.
fn array<'a>(call: &Call, caller: &Caller, told: impl Iterator<Item = (&'a Entry, Option<&'a Hook>)>) -> Vec<u8> {
    let base = call.callback_base(&caller.key.provider);
    let mut array = vec![b'['];
    for (entry, hook) in told {
        if array.len() > 1 {
            array.push(b',');
        }
        let told = Told {
            token: hook.and_then(|hook| hook.token.as_ref()),
            base: hook.map_or(base.as_str(), |hook| hook.base.as_str()),
            merged: None,
            format: Format::Changes,
        };
        array.extend(render(entry, &caller.key, told));
    }
    array.push(b']');
    array
}

/// `<…/api/changes?after=17&limit=100>; rel="next"`
fn next(call: &Call, ask: &Ask, through: Seq) -> String {
    let place = match ask.place {
        Place::After(_) => format!("after={through}&"),
        // The next question is the same: what was got meanwhile is no longer undelivered.
        Place::Undelivered => String::new(),
    };
    let href = call.base().collection("changes");
    format!("<{href}?{place}limit={}&subscriber={}>; rel=\"next\"", ask.limit, ask.subscriber)
}

/// Changes in an answer: the most, and when not asked.
const LIMIT_MAX: u64 = 1_000;
const LIMIT: u64 = 100;

fn parse(params: &Params) -> Result<Ask, Fault> {
    let after = params.number("after", 0, i64::MAX.unsigned_abs())?;
    let limit = params.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT);
    Ok(Ask {
        subscriber: tracking::subscriber(params)?,
        place: after.map_or(Place::Undelivered, |after| Place::After(Seq(after))),
        limit: usize::try_from(limit).expect("at most a thousand"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_and_nonsense_refused() {
        let check = |query: &str, read: Option<(&str, Place, usize)>| {
            let ask = parse(&Params::parse(query, b"", 10).unwrap()).ok();
            let parts = ask.as_ref().map(|ask| (ask.subscriber.as_str(), ask.place, ask.limit));
            assert_eq!(parts, read, "{query}");
        };
        check("", Some(("default", Place::Undelivered, 100)));
        check("after=0&limit=1", Some(("default", Place::After(Seq(0)), 1)));
        check("after=4711&limit=1000&subscriber=ci", Some(("ci", Place::After(Seq(4711)), 1000)));
        check("after=&limit=", Some(("default", Place::Undelivered, 100)));
        for bad in ["after=-1", "after=x", "after=9223372036854775808", "limit=0", "limit=1001", "subscriber=%20"] {
            check(bad, None);
        }
    }
}
