//! `GET /api/changes`: the feed over HTTP. Parameters are judged here; what is due to whom is another room's work, reached
//! through [`Feed`].

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

use super::auth::Caller;
use super::call::{self, Call};
use super::error::{Fault, Problem};
use super::params::Params;
use super::tracking;
use crate::model::{Seq, Subscriber};
use crate::store;

/// What the API needs of the room that knows the log.
#[async_trait]
pub trait Feed: Send + Sync {
    /// A page of changes. With [`Place::After`] everything up to that place is acknowledged.
    async fn page(&self, caller: &Caller, ask: &Ask) -> Result<Page, FeedError>;

    /// The page was handed over whole: its changes count as delivered to this subscriber.
    async fn written(&self, caller: &Caller, subscriber: &Subscriber, seqs: &[Seq]) -> Result<(), FeedError>;
}

/// A reader's question; every part of it is within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub subscriber: Subscriber,
    pub place: Place,
    /// Changes in the answer at most.
    pub limit: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What this subscriber has not got yet.
    Undelivered,
    /// The log from a place on, delivered or not.
    After(Seq),
}

/// An answer of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// A bare JSON array, oldest first.
    pub body: Bytes,
    /// To be acknowledged once the body is written; empty when nothing is.
    pub seqs: Vec<Seq>,
    /// The last change that the array includes, or the place asked for when it is empty.
    pub through: Seq,
    /// There is more.
    pub more: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The place is older than what is kept; the text names the oldest kept.
    #[error("{0}")]
    TooOld(String),
}

impl From<FeedError> for Fault {
    fn from(err: FeedError) -> Self {
        match err {
            FeedError::Store(err) => err.into(),
            FeedError::TooOld(text) => Self::new(Problem::Gone, text),
        }
    }
}

pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    let ask = parse(&call.params)?;
    let caller = call.caller().await?;
    let page = call.api.feed.page(&caller, &ask).await?;
    let mut response = call::body(StatusCode::OK, page.body.to_vec(), call.format);
    let headers = response.headers_mut();
    headers.insert(HeaderName::from_static("tracker-seq"), HeaderValue::from(page.through.0));
    if page.more
        && let Ok(link) = HeaderValue::try_from(next(&call, &ask, page.through))
    {
        headers.insert(header::LINK, link);
    }
    if !page.seqs.is_empty() {
        let feed = call.api.feed.clone();
        let written = async move { feed.written(&caller, &ask.subscriber, &page.seqs).await };
        let body = std::mem::replace(response.body_mut(), Body::empty());
        *response.body_mut() = super::receipt::on_written(body, call.wire.as_ref(), written);
    }
    Ok(response)
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
