//! `GET /api/changes`: the feed over HTTP.
//!
//! One answer (`?wait=` lets it come when there is something) or a stream of server-sent events. What a stream has written
//! was not read yet, so it acknowledges nothing; its reader says by `Last-Event-ID` how far it got when it comes back.

mod ask;
mod stream;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::call::{self, Call};
use super::error::{Fault, Problem};
use super::receipt;
use super::serve::Stopping;
use crate::feed::{self, Follower, Item, Lost, Reader, Tail};
use crate::model::{AccountId, AccountKey, Scope, Seq};
use ask::{Ask, How, Place};

pub(super) use ask::patience;

const SEQ: HeaderName = HeaderName::from_static("tracker-seq");
const OLDEST_SEQ: HeaderName = HeaderName::from_static("tracker-oldest-seq");

/// An answer of the feed.
#[derive(Default)]
struct Page {
    items: Vec<Arc<Item>>,
    /// Up to here the reader has everything that is for it, this answer included.
    through: Seq,
    /// There is more.
    more: bool,
}

pub(super) async fn list(
    call: Call,
    headers: HeaderMap,
    stopping: Option<Extension<Stopping>>,
) -> Result<Response, Fault> {
    let began = Instant::now();
    let ask = ask::parse(&call.params, &headers, call.api.feeds.settings())?;
    let caller = call.caller().await?;
    let stopping = stopping.map(|Extension(Stopping(token))| token).unwrap_or_default();
    let reader = Arc::new(Reader {
        subscriber: ask.subscriber.clone(),
        undelivered: matches!(ask.place, Place::Undelivered(_)),
        filter: ask.filter.clone(),
        base: call.callback_base(&caller.key.provider),
    });
    let account = match call.api.store.find_account(&caller.key).await? {
        Some(account) => Some(account),
        None => first_tracked(&call, &ask, &caller.key, &stopping).await?,
    };
    let Some(account) = account else { return nothing_tracked(&call, &ask) };
    let tail = call.api.feeds.tail(account, &caller.key);
    let from = match ask.place {
        Place::Undelivered(None) => Seq(0),
        Place::Undelivered(Some(seen)) | Place::After(seen) => seen,
    };
    let oldest = oldest_kept(&call, account, &ask, from).await?;
    if !call.head && from > Seq(0) {
        // Whoever asks for what comes after it has what came before, as far as it asks for it.
        let now = call.api.clock.now();
        call.api.feeds.acknowledge(account, &ask.subscriber, &ask.filter, from, now).await?;
    }
    let mut response = match ask.how {
        How::Stream if call.head => stream::head(),
        How::Stream => {
            let follower = follower(&call, tail, &reader, from)?;
            let settings = call.api.feeds.settings();
            stream::response(stream::Streaming {
                follower,
                said: from,
                reader,
                heartbeat: Duration::from_millis(settings.heartbeat_ms),
                ends_at: Instant::now() + Duration::from_secs(settings.stream_max_seconds),
                piece_bytes_max: settings.piece_bytes_max,
                stopping,
            })
        }
        How::Page { wait } => {
            let mut page = read(&call, &tail, &reader, &ask, from).await?;
            let wait = wait.saturating_sub(began.elapsed());
            if page.items.is_empty() && !page.more && !wait.is_zero() && !call.head {
                let mut follower = follower(&call, tail.clone(), &reader, page.through)?;
                // What comes is read as if it had been asked for only now, but for what a filter was in vain tried on.
                let tried = if ask.filter.is_none() { from } else { page.through };
                let ended = tokio::select! {
                    came = tokio::time::timeout(wait, follower.next(1)) => came.is_err(),
                    () = stopping.cancelled() => true,
                };
                page = match ended {
                    true if !ask.filter.is_none() => Page { through: follower.place(), ..Page::default() },
                    _ => read(&call, &tail, &reader, &ask, tried).await?,
                };
            }
            answer(&call, &headers, account, &tail, &reader, &ask, page).await?
        }
    };
    // Who reads without a place sees by it whether something that it never got may be gone: it lies behind the last it saw.
    response.headers_mut().insert(OLDEST_SEQ, HeaderValue::from(oldest.0));
    Ok(response)
}

fn follower(call: &Call, tail: Arc<Tail>, reader: &Reader, place: Seq) -> Result<Follower, Fault> {
    call.api.feeds.follow(tail, reader.clone(), place).ok_or_else(busy)
}

fn busy() -> Fault {
    let busy = Fault::new(Problem::Busy, "Too many wait for changes already; ask without waiting, or try again later");
    Fault { retry_after: Some(Duration::from_secs(5)), ..busy }
}

/// How often one who waits where nothing was ever tracked is looked after: nothing tells.
const FIRST_TRACKED_EVERY: Duration = Duration::from_secs(1);

/// The account, should something be tracked there while the request may wait.
async fn first_tracked(
    call: &Call,
    ask: &Ask,
    key: &AccountKey,
    stopping: &CancellationToken,
) -> Result<Option<AccountId>, Fault> {
    let How::Page { wait } = ask.how else { return Ok(None) };
    if wait.is_zero() || call.head || matches!(ask.place, Place::After(after) if after > Seq(0)) {
        return Ok(None);
    }
    let _place = call.api.feeds.wait().ok_or_else(busy)?;
    let until = Instant::now() + wait;
    while Instant::now() < until {
        let next = until.min(Instant::now() + FIRST_TRACKED_EVERY);
        if tokio::time::timeout_at(next, stopping.cancelled()).await.is_ok() {
            return Ok(None);
        }
        if let Some(account) = call.api.store.find_account(key).await? {
            return Ok(Some(account));
        }
    }
    Ok(None)
}

async fn read(call: &Call, tail: &Tail, reader: &Reader, ask: &Ask, from: Seq) -> Result<Page, Fault> {
    let &feed::Settings { scan_max, page_bytes_max, .. } = call.api.feeds.settings();
    let lost = |err| match err {
        Lost::Pruned(_) => Fault::new(Problem::Gone, "What came after that is no longer kept"),
        Lost::Store(err) => err.into(),
    };
    let (mut items, mut bytes, mut through) = (Vec::new(), 0, from);
    loop {
        // One more than asked for tells whether there are more.
        let at_once = at_once(items.len(), bytes, page_bytes_max).min(ask.limit + 1 - items.len());
        let found = tail.page(reader, through, at_once, scan_max).await.map_err(lost)?;
        let is_short = found.items.len() < at_once;
        for item in found.items {
            bytes += tail.text(&item, reader).len();
            if items.len() == ask.limit || (bytes > page_bytes_max && !items.is_empty()) {
                let last = items.last().map_or(from, |item: &Arc<Item>| item.entry.entry.seq);
                return Ok(Page { items, through: last, more: true });
            }
            items.push(item);
        }
        through = found.through;
        // What is owed and does not fit stays owed, so a next question without a place would find it again, and nothing else.
        // Others want their turn; the time for an answer bounds it.
        let is_vain = reader.undelivered && items.is_empty();
        if !found.more || (is_short && !is_vain) {
            return Ok(Page { items, through, more: found.more && through > from });
        }
        tokio::task::yield_now().await;
    }
}

/// Changes that are asked for first: by them it is seen how large they are.
const FIRST: usize = 16;

/// How many more to ask for, with so many of so many bytes in hand.
fn at_once(items: usize, bytes: usize, bytes_max: usize) -> usize {
    match bytes.checked_div(items) {
        None => FIRST,
        Some(each) => (bytes_max.saturating_sub(bytes) / each.max(1)).clamp(1, usize::from(u16::MAX)),
    }
}

/// The bare array, with where to go on.
async fn answer(
    call: &Call,
    headers: &HeaderMap,
    account: AccountId,
    tail: &Tail,
    reader: &Reader,
    ask: &Ask,
    page: Page,
) -> Result<Response, Fault> {
    let mut body = vec![b'['];
    for item in &page.items {
        if body.len() > 1 {
            body.push(b',');
        }
        body.extend_from_slice(&tail.text(item, reader));
    }
    body.push(b']');
    let mut response = call::body(StatusCode::OK, body, call.format);
    let is_known = is_known(headers, &response);
    let answer = response.headers_mut();
    answer.insert(SEQ, HeaderValue::from(page.through.0));
    if page.more
        && let Ok(link) = HeaderValue::try_from(next(call, ask, page.through))
    {
        answer.insert(header::LINK, link);
    }
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_TYPE);
    }
    if reader.undelivered && !page.items.is_empty() && !call.head {
        let seqs: Vec<Seq> = page.items.iter().map(|item| item.entry.entry.seq).collect();
        let (api, subscriber) = (call.api.clone(), ask.subscriber.clone());
        let read = async move {
            let now = api.clock.now();
            api.store.acknowledge(account, &subscriber, &seqs, now).await.map(drop)
        };
        if is_known {
            read.await?;
            return Ok(response);
        }
        // How the client hangs up tells whether it has read all.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let body = std::mem::replace(response.body_mut(), Body::empty());
        *response.body_mut() = receipt::on_read(body, call.wire.as_ref(), read);
    }
    Ok(response)
}

/// The client has this very body already.
fn is_known(headers: &HeaderMap, response: &Response) -> bool {
    let Some(tag) = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()) else { return false };
    let plain = |text: &str| text.trim().trim_start_matches("W/").trim_matches('"') == tag;
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).any(plain)
}

/// Nothing was ever tracked there.
fn nothing_tracked(call: &Call, ask: &Ask) -> Result<Response, Fault> {
    match (ask.place, ask.how) {
        (Place::After(after), _) if after > Seq(0) => Err(ahead(after, Seq(0))),
        // There is no log yet to follow.
        (_, How::Stream) => Err(Fault::not_found(
            "feed here: nothing was ever tracked with these credentials. Set a hook first, for",
            "example `PUT /api/instances?track_hook=feed`",
        )),
        (_, How::Page { .. }) => {
            let mut response = call::body(StatusCode::OK, b"[]".to_vec(), call.format);
            response.headers_mut().insert(SEQ, HeaderValue::from(0));
            Ok(response)
        }
    }
}

/// The oldest change that is still there, or the next one when there is none.
///
/// # Errors
/// What came after `from` is not kept any more, or it has not happened yet.
async fn oldest_kept(call: &Call, account: AccountId, ask: &Ask, from: Seq) -> Result<Seq, Fault> {
    let store = &call.api.store;
    let (oldest, last) = store.log_bounds(account).await?;
    if from > last {
        return Err(ahead(from, last));
    }
    let first_kept = oldest.unwrap_or(Seq(last.0 + 1));
    if matches!(ask.place, Place::Undelivered(None)) || from.0 + 1 >= first_kept.0 {
        return Ok(first_kept);
    }
    let hooks = store.hooks(account).await?;
    let watched: BTreeSet<_> = hooks
        .iter()
        .filter_map(|hook| match &hook.scope {
            Scope::Collection(collection) | Scope::Member(collection, _) => Some(collection.as_str()),
            Scope::Account => None,
        })
        .map(|collection| call.base().collection(collection))
        .collect();
    let lists = if watched.is_empty() {
        String::new()
    } else {
        format!(" ({})", Vec::from_iter(watched.iter().map(String::as_str)).join(", "))
    };
    let text = format!(
        "What came after {from} is no longer kept; the oldest kept change is {first_kept}. List what you follow anew{lists} and go on after the `Tracker-Seq` of that answer"
    );
    let mut headers = HeaderMap::new();
    headers.insert(OLDEST_SEQ, HeaderValue::from(first_kept.0));
    for list in watched {
        if let Ok(link) = HeaderValue::try_from(format!("<{list}>; rel=\"start\"")) {
            headers.append(header::LINK, link);
        }
    }
    Err(Fault { more: Some(Box::new(headers)), ..Fault::new(Problem::Gone, text) })
}

fn ahead(after: Seq, last: Seq) -> Fault {
    Fault::invalid(format!("`after` is {after}, and the last change is {last}: there is nothing to come after it yet"))
}

/// `<…/api/changes?after=17&limit=100&subscriber=default>; rel="next"`
fn next(call: &Call, ask: &Ask, through: Seq) -> String {
    let href = call.base().collection("changes");
    let filters = call.params.query(&ask::FILTERS, ("subscriber", ask.subscriber.as_str()));
    let place = match ask.place {
        Place::After(_) => format!("after={through}&"),
        // The next question is the same: what was got meanwhile is no longer undelivered.
        Place::Undelivered(_) => String::new(),
    };
    format!("<{href}?{place}limit={}&{filters}>; rel=\"next\"", ask.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_asked_for_as_there_is_room_for() {
        let check = |items, bytes, expected| assert_eq!(at_once(items, bytes, 10_000), expected, "{items} of {bytes}");
        check(0, 0, FIRST);
        check(16, 1_600, 84);
        check(16, 16, 9_984);
        check(1, 9_000, 1);
        check(1, 50_000, 1);
    }
}
