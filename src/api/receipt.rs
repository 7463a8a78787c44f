//! When is an answer delivered? When its reader has read it: not when it was put into a buffer of ours, nor when the system
//! took it, whose buffers hold hundreds of kilobytes that a reader may never see.
//!
//! So such an answer says `Connection: close`; we close our side behind it, wait until the other side closes, and then until
//! its system has acknowledged all that we sent. A reader that has read all closes in an orderly way and has acknowledged
//! all. One that left something unread makes its system reset the connection; one that died while part of the answer was
//! still on its way hangs up in an orderly way, but its system resets the connection when the rest arrives. Then nothing is
//! noted and the answer is given again. So it is when the acknowledgement does not come in time.
//!
//! Accepted: of a reader that closes its sending side at once (as some scripts do) only its system's word is known, not that
//! it read; a client that asks again before the note is taken gets the same again; one that never hangs up is given the
//! same again too. A proxy in between reads for its client. "At least once" allows all of it but the first, and the log
//! keeps every change for those who must be sure.

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
use tokio::net::TcpStream;
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

/// A connection that tells when its peer has read all and hung up, and gives up on one that takes nothing for too long: then
/// it is reset, so that the system keeps nothing for it either.
pub(super) struct Watching {
    stream: TcpStream,
    wire: Wire,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
    closing: Closing,
}

enum Closing {
    /// Neither side has.
    No,
    /// Ours has.
    Ours,
    /// Both have; what we sent may be under way still. The next look, and the wait before the one behind it.
    Both { next: Pin<Box<Sleep>>, wait: Duration },
}

/// Nothing tells when the last byte is acknowledged, so one looks: at first and at the longest after this long.
const LOOK_FIRST: Duration = Duration::from_millis(5);
const LOOK_LAST: Duration = Duration::from_millis(500);

/// What became of what we sent, once both sides have closed.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    UnderWay,
    /// The other system has all of it.
    Arrived,
    Lost,
}

impl Watching {
    pub(super) fn new(stream: TcpStream, wire: Wire, patience: Duration) -> Self {
        Self { stream, wire, patience, stuck: None, closing: Closing::No }
    }

    /// `Pending` for too long is an error, and the end of the connection.
    fn patiently<R>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if poll.is_ready() {
            self.stuck = None;
            return poll;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| timer(patience));
        ready!(stuck.as_mut().poll(cx));
        // What it did not take would stay in the system's memory until the other side answers, which it may never do.
        let _ = self.stream.set_zero_linger();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// A connection that both sides closed lives until our last byte is acknowledged, and has no peer after that. What ended
    /// it otherwise is its error.
    fn sent(&self) -> Sent {
        match (self.stream.peer_addr(), self.stream.take_error()) {
            (_, Ok(Some(_)) | Err(_)) => Sent::Lost,
            (Ok(_), Ok(None)) => Sent::UnderWay,
            (Err(_), Ok(None)) => Sent::Arrived,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a peer that does not read is given up by a timer")]
fn timer(after: Duration) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep(after))
}

impl AsyncRead for Watching {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watching {
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

    /// Closes our side and, if somebody wants to know, waits for how the other side closes.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.closing, Closing::No) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.closing = Closing::Ours;
        }
        while !self.wire.is_idle() {
            if ready!(self.as_mut().poll_told(cx)).is_err() {
                self.wire.was_lost();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Watching {
    /// One step towards knowing what became of what was sent.
    ///
    /// # Errors
    /// It was lost, or that cannot be known.
    fn poll_told(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Closing::Both { next, wait } = &mut self.closing {
            if next.as_mut().poll(cx).is_pending() {
                return self.patiently(cx, Poll::Pending);
            }
            let longer = (*wait * 2).min(LOOK_LAST);
            (*next, *wait) = (timer(longer), longer);
            match self.sent() {
                Sent::UnderWay => {}
                Sent::Arrived => self.wire.was_read(),
                Sent::Lost => self.wire.was_lost(),
            }
            return Poll::Ready(Ok(()));
        }
        let mut scratch = [0; 256];
        let mut rest = ReadBuf::new(&mut scratch);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut rest);
        if read.is_pending() {
            return self.patiently(cx, Poll::Pending);
        }
        ready!(read)?;
        // Otherwise it is another request, which came too late for this connection.
        if rest.filled().is_empty() {
            self.closing = Closing::Both { next: timer(Duration::ZERO), wait: LOOK_FIRST / 2 };
        }
        Poll::Ready(Ok(()))
    }
}
