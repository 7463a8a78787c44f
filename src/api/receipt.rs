//! When is an answer delivered? When its last byte has been handed to the system, not when it was put into a buffer. A
//! connection that breaks before that leaves the answer undelivered.
//!
//! Accepted: what the system took may still be lost on the way, and a client that asks again before the note is taken
//! gets the same again. Both are what "at least once" allows; the log keeps the change for those who must be sure.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tracing::warn;

/// Those who wait for a connection's buffer to be written out. Bound by what one connection answers before it flushes.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<Vec<oneshot::Sender<()>>>>);

impl Wire {
    fn tell(&self, when_flushed: oneshot::Sender<()>) {
        self.0.lock().expect("nobody panics while holding the list").push(when_flushed);
    }

    fn flushed(&self) {
        for waiting in self.0.lock().expect("nobody panics while holding the list").drain(..) {
            // Whoever waited may have gone.
            let _ = waiting.send(());
        }
    }
}

/// Runs `written` once `body` has been written out whole on `wire`. Without a wire (no connection of ours) its end
/// stands for it.
pub(super) fn on_written<E: std::fmt::Display>(
    body: Body,
    wire: Option<&Wire>,
    written: impl Future<Output = Result<(), E>> + Send + 'static,
) -> Body {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        if receiver.await.is_ok()
            && let Err(err) = written.await
        {
            warn!("An answer was written out, but that could not be recorded, so it will be given again: {err}");
        }
    });
    Body::new(Watched { body, wire: wire.cloned(), sender: Some(sender) })
}

struct Watched {
    body: Body,
    wire: Option<Wire>,
    sender: Option<oneshot::Sender<()>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let whole = matches!(frame, None | Some(Ok(_))) && self.body.is_end_stream();
        if whole && let Some(sender) = self.sender.take() {
            match &self.wire {
                Some(wire) => wire.tell(sender),
                None => drop(sender.send(())),
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A connection that tells when its buffer is written out, and gives up on a peer that takes nothing for too long.
pub(super) struct Watching<T> {
    stream: T,
    wire: Wire,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl<T> Watching<T> {
    pub(super) fn new(stream: T, wire: Wire, patience: Duration) -> Self {
        Self { stream, wire, patience, stuck: None }
    }

    /// `Pending` for too long is an error.
    fn patiently<R>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if poll.is_ready() {
            self.stuck = None;
            return poll;
        }
        let patience = self.patience;
        #[expect(clippy::disallowed_methods, reason = "a peer that does not read is given up by a timer")]
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stuck.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watching<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watching<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.patiently(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.patiently(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        if flushed.is_ok() {
            self.wire.flushed();
        }
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
