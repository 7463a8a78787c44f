use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::Settings;
use super::front::Peer;
use super::receipt::{Watching, Wire};

/// Cancelled when Tracker stops; put into requests, for those that would wait.
#[derive(Clone, Debug)]
pub(super) struct Stopping(pub(super) CancellationToken);

/// How long a failed `accept` (no descriptors left, mostly) makes us wait before the next.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then lets requests under way end, within the time that settings give them.
///
/// HTTP/1 only: with one answer at a time on a connection it is known when an answer was written out. Bounds the
/// connections, their heads and their patience with slow peers.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: &Settings,
    stop: CancellationToken,
) -> io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(settings.head_ms))
        .max_buf_size(settings.head_bytes_max)
        .max_headers(settings.headers_max)
        // The case in which clients' authors expect header names, though none may depend on it.
        .title_case_headers(true);
    let room = Arc::new(Semaphore::new(settings.connections_max));
    let connections = TaskTracker::new();
    loop {
        let place = tokio::select! {
            place = room.clone().acquire_owned() => place.expect("the semaphore is never closed"),
            () = stop.cancelled() => break,
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let bounds = Bounds {
                    patience: Duration::from_millis(settings.write_ms),
                    send_buffer_bytes: settings.send_buffer_bytes,
                };
                let connection = connection(stream, peer, router.clone(), http.clone(), bounds, stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(err) => {
                warn!("A connection could not be accepted: {err}");
                let _ = tokio::time::timeout(ACCEPT_PAUSE, stop.cancelled()).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(Duration::from_millis(settings.stop_ms), connections.wait()).await.is_err() {
        warn!("{} connections were still busy and are cut", connections.len());
    }
    Ok(())
}

/// Of one connection.
#[derive(Clone, Copy)]
struct Bounds {
    /// With a peer that takes nothing.
    patience: Duration,
    send_buffer_bytes: usize,
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    http: http1::Builder,
    bounds: Bounds,
    stop: CancellationToken,
) {
    // The system would let it grow to megabytes for a peer that reads nothing.
    let bounded = rustix::net::sockopt::set_socket_send_buffer_size(&stream, bounds.send_buffer_bytes);
    if let Err(err) = bounded.map_err(io::Error::from).and_then(|()| stream.set_nodelay(true)) {
        debug!("A connection from {peer} could not be set up: {err}");
        return;
    }
    let wire = Wire::default();
    let stream = TokioIo::new(Watching::new(stream, wire.clone(), bounds.patience));
    let stopping = Stopping(stop.clone());
    let service = router.map_request(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request.extensions_mut().insert(stopping.clone());
        request.extensions_mut().insert(wire.clone());
        request.map(Body::new)
    });
    let mut connection = std::pin::pin!(http.serve_connection(stream, TowerToHyperService::new(service)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(err) = ended {
        debug!("A connection from {peer} ended badly: {err}");
    }
}
