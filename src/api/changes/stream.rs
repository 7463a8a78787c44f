//! Server-sent events: `id:` is the change's number, `event:` its type, `data:` the change.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::feed::{Follower, Item, Lost, Reader};
use crate::model::Seq;

/// How long a client that lost its connection waits before it comes back. Milliseconds.
const RETRY_MS: u32 = 2_000;

/// Nothing to say, said so that both sides see whether the other is still there.
const HEARTBEAT: Bytes = Bytes::from_static(b": nothing new\n\n");

/// As [`HEARTBEAT`], of a reader that was passed over: without an event its id moves on all the same, so that it comes back to a
/// place that is still kept.
fn place(seq: Seq) -> Bytes {
    Bytes::from(format!(": nothing new\nid: {seq}\n\n"))
}

/// Changes handed out at once.
const ITEMS_MAX: usize = 100;

pub(super) struct Streaming {
    pub(super) follower: Follower,
    /// The place that the reader knows of.
    pub(super) said: Seq,
    pub(super) reader: Arc<Reader>,
    pub(super) heartbeat: Duration,
    pub(super) ends_at: Instant,
    pub(super) piece_bytes_max: usize,
    pub(super) stopping: CancellationToken,
}

/// The answer. It ends when its time is over, when Tracker stops, or when what comes next is not kept any more; coming back
/// with `Last-Event-ID` goes on, or says why not.
pub(super) fn response(streaming: Streaming) -> Response {
    let begin = stream::once(async { Ok::<_, Infallible>(Bytes::from(format!("retry: {RETRY_MS}\n\n"))) });
    let rest = stream::unfold((streaming, Vec::new()), |(mut streaming, mut waiting)| async move {
        let piece = streaming.piece(&mut waiting).await?;
        Some((Ok::<_, Infallible>(piece), (streaming, waiting)))
    });
    let mut response = Response::new(Body::from_stream(stream::StreamExt::chain(begin, rest)));
    headers(&mut response);
    response
}

fn headers(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that gather answers would hold back changes.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
}

impl Streaming {
    /// What is written next. `waiting`: changes taken and not written, the newest first.
    async fn piece(&mut self, waiting: &mut Vec<Arc<Item>>) -> Option<Bytes> {
        // However much there is to say.
        if Instant::now() >= self.ends_at || self.stopping.is_cancelled() {
            return None;
        }
        if waiting.is_empty() {
            let until = self.ends_at.min(Instant::now() + self.heartbeat);
            let next = tokio::select! {
                next = tokio::time::timeout_at(until, self.follower.next(ITEMS_MAX)) => next,
                () = self.stopping.cancelled() => return None,
            };
            match next {
                Ok(Ok(items)) => waiting.extend(items.into_iter().rev()),
                Ok(Err(Lost::Pruned(_))) => return None,
                Ok(Err(Lost::Store(err))) => {
                    warn!("A stream of changes ended, as the store failed: {err}");
                    return None;
                }
                Err(_) if Instant::now() >= self.ends_at => return None,
                Err(_) if self.follower.place() > self.said => {
                    self.said = self.follower.place();
                    return Some(place(self.said));
                }
                Err(_) => return Some(HEARTBEAT),
            }
        }
        let mut piece = BytesMut::new();
        while let Some(item) = waiting.pop() {
            let text = self.follower.tail().text(&item, &self.reader);
            event(&mut piece, &item, &text);
            self.said = item.entry.entry.seq;
            if piece.len() >= self.piece_bytes_max {
                break;
            }
        }
        Some(piece.freeze())
    }
}

/// JSON has no line breaks outside of its texts, and there they are escaped.
fn event(piece: &mut BytesMut, item: &Item, text: &[u8]) {
    let entry = &item.entry.entry;
    piece.put_slice(format!("id: {}\nevent: {}\ndata: ", entry.seq, entry.change.news.kind()).as_bytes());
    piece.put_slice(text);
    piece.put_slice(b"\n\n");
}

/// What a stream's answer says before its first event.
pub(super) fn head() -> Response {
    let mut response = Response::new(Body::empty());
    headers(&mut response);
    response
}
