//! A receiver behind TLS, for which `tests/it/tls/ca.pem` vouches. It speaks what was agreed upon (ALPN), of HTTP/2 just
//! enough to take a POST and say 200. The key beside the certificate is for these tests and opens nothing.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::sync::watch;

use super::child::PATIENCE;

/// A callback that arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// What the handshake agreed on: `h2`, `http/1.1`.
    pub protocol: String,
    /// Counted from 0.
    pub connection: usize,
    pub body: Vec<u8>,
}

pub struct TlsReceiver {
    address: SocketAddr,
    arrived: watch::Receiver<Vec<Arrived>>,
}

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// Of a file in `tests/it/tls`.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/tls").join(name)
}

impl TlsReceiver {
    /// Speaks these protocols, the best first. Its threads end with the process.
    pub fn start(protocols: &[&str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let certificate = CertificateDer::from_pem_file(file("cert.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, arrived) = watch::channel(vec![]);
        let tell = Arc::new(tell);
        std::thread::spawn(move || {
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept() else { return };
                let (config, tell) = (Arc::clone(&config), Arc::clone(&tell));
                // The other side may hang up whenever it likes.
                std::thread::spawn(move || serve(stream, config, connection, &tell));
            }
        });
        Self { address, arrived }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that came, once it is this much.
    pub async fn wait_for(&self, count: usize) -> Vec<Arrived> {
        let mut arrived = self.arrived.clone();
        let come = tokio::time::timeout(PATIENCE, arrived.wait_for(|all| all.len() >= count)).await;
        come.unwrap_or_else(|_| panic!("{count} did not come: {:?}", self.arrived.borrow())).unwrap().clone()
    }
}

fn serve(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    connection: usize,
    tell: &watch::Sender<Vec<Arrived>>,
) -> io::Result<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).map_err(io::Error::other)?, stream);
    stream.conn.complete_io(&mut stream.sock)?;
    let protocol = String::from_utf8_lossy(stream.conn.alpn_protocol().unwrap_or(b"none")).into_owned();
    let tell = |body| {
        let arrived = Arrived { protocol: protocol.clone(), connection, body };
        tell.send_modify(|all| all.push(arrived));
    };
    if protocol == "h2" { http2(&mut stream, tell) } else { http1(&mut stream, tell) }
}

fn http1(stream: &mut Stream, tell: impl Fn(Vec<u8>)) -> io::Result<()> {
    loop {
        let mut head = vec![];
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.and_then(|length| length.parse().ok()).unwrap_or(0)];
        stream.read_exact(&mut body)?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        tell(body);
    }
}

/// Frames: 3 bytes of length, type, flags, 4 bytes of stream. Bodies are short, so windows never close; headers are not
/// looked at.
fn http2(stream: &mut Stream, tell: impl Fn(Vec<u8>)) -> io::Result<()> {
    const DATA: u8 = 0;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    let mut preface = [0; 24];
    stream.read_exact(&mut preface)?;
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])?;
    let mut body = vec![];
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head)?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload)?;
        match (kind, flags & 1) {
            (SETTINGS, 0) => stream.write_all(&[0, 0, 0, SETTINGS, 1, 0, 0, 0, 0])?,
            (PING, 0) => {
                stream.write_all(&[0, 0, 8, PING, 1, 0, 0, 0, 0])?;
                stream.write_all(&payload)?;
            }
            (DATA, ended) => {
                // One stream at a time, as one change is told after the other.
                body.extend(payload);
                if ended == 1 {
                    // HEADERS that end headers and stream: entry 8 of the static table, `:status: 200`.
                    stream.write_all(&[0, 0, 1, 1, 5, id[0], id[1], id[2], id[3], 0x88])?;
                    tell(std::mem::take(&mut body));
                }
            }
            _ => {}
        }
        stream.flush()?;
    }
}
