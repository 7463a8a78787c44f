//! When is an answer delivered? When its reader has read it: not when it was put into a buffer of ours, nor when the system
//! took it, whose buffers hold hundreds of kilobytes that a reader may never see.
//!
//! So such an answer says `Connection: close`; we close our side behind it and listen for how the other side closes.
//! A reader that has read all closes in an orderly way. One that left something unread, or died over it, makes its system
//! reset the connection: then nothing is noted and the answer is given again.
//!
//! Accepted: a reader that closes its sending side at once (as some scripts do) says so before it has read; a client that
//! asks again before the note is taken gets the same again; one that never hangs up is given the same again too. A proxy in
//! between reads for its client. "At least once" allows all of it, and the log keeps every change for those who must
//! be sure.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::Sleep;
use tracing::warn;

/// Those who wait for a connection's peer to have read all. Bound by what one connection answers before it closes.
#[derive(Clone, Debug, Default)]
pub(super) struct Wire(Arc<Mutex<Vec<oneshot::Sender<()>>>>);

impl Wire {
    fn tell(&self, when_read: oneshot::Sender<()>) {
        self.waiting().push(when_read);
    }

    fn is_idle(&self) -> bool {
        self.waiting().is_empty()
    }

    fn was_read(&self) {
        for waiting in self.waiting().drain(..) {
            // Whoever waited may have gone.
            let _ = waiting.send(());
        }
    }

    fn was_lost(&self) {
        self.waiting().clear();
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<oneshot::Sender<()>>> {
        self.0.lock().expect("nobody panics while holding the list")
    }
}

/// Runs `read` once `body` has been read by the client at the other end of `wire`; the answer must say `Connection: close`.
/// Without a wire (no connection of ours) the body's end stands for it.
pub(super) fn on_read<E: std::fmt::Display>(
    body: Body,
    wire: Option<&Wire>,
    read: impl Future<Output = Result<(), E>> + Send + 'static,
) -> Body {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        if receiver.await.is_ok()
            && let Err(err) = read.await
        {
            warn!("An answer was read, but that could not be recorded, so it will be given again: {err}");
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

/// A connection that tells when its peer has read all and hung up, and gives up on one that takes nothing for too long.
pub(super) struct Watching<T> {
    stream: T,
    wire: Wire,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
    /// Our side is.
    closed: bool,
}

impl<T> Watching<T> {
    pub(super) fn new(stream: T, wire: Wire, patience: Duration) -> Self {
        Self { stream, wire, patience, stuck: None, closed: false }
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

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watching<T> {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Closes our side and, if somebody wants to know, listens for how the other side closes.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closed = true;
        }
        while !self.wire.is_idle() {
            let mut scratch = [0; 256];
            let mut rest = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut rest) {
                Poll::Ready(Ok(())) if rest.filled().is_empty() => self.wire.was_read(),
                // Another request, which came too late for this connection.
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.wire.was_lost(),
                Poll::Pending => {
                    if ready!(self.patiently(cx, Poll::<io::Result<()>>::Pending)).is_err() {
                        self.wire.was_lost();
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
