//! A receiver of callbacks on loopback that behaves as told: it answers, hangs, trickles, hangs up, redirects or floods.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use url::Url;

/// How one request is met.
#[derive(Clone, Debug)]
pub enum Reply {
    Status(u16),
    /// A status with headers and a body.
    Full(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Takes the request and never answers.
    Hang,
    /// The head of a 200 byte by byte, one each time.
    TrickleHead(Duration),
    /// The whole head at once, then the body byte by byte without an end.
    TrickleBody(u16, Duration),
    /// Takes the request and hangs up.
    HangUp,
    /// The head and a part of the body it announces, then hangs up.
    HangUpInBody(u16),
    /// A body of this many bytes.
    Flood(u16, usize),
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The status it was answered with, if any was meant to be.
    pub answered: Option<u16>,
    /// Which connection brought it, counted from 0.
    pub connection: usize,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|err| panic!("{err}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// `RUNNING -> STOPPED`, or the type of a change that is not one of state.
    fn summary(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match (body["from"]["state"].as_str(), body["to"]["state"].as_str()) {
            (Some(from), Some(to)) => format!("{from} -> {to}"),
            _ => body["type"].as_str().unwrap_or("no change").to_owned(),
        }
    }
}

#[derive(Default)]
struct Script {
    next: VecDeque<Reply>,
    by: Option<fn(&Received) -> Reply>,
    otherwise: Option<Reply>,
    received: Vec<Received>,
}

/// Listens until the last clone is dropped. Every connection it still has is closed then.
#[derive(Clone)]
pub struct Receiver {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    count: watch::Receiver<usize>,
    /// Dropping it ends the listener and its connections.
    _listening: Arc<JoinSet<()>>,
}

/// Nothing a test waits for takes longer than this, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(20);

impl Receiver {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let script = Arc::new(Mutex::new(Script::default()));
        let (counted, count) = watch::channel(0);
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, Arc::clone(&script), counted));
        Self { address, script, count, _listening: Arc::new(listening) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self, target: &str) -> Url {
        format!("http://{}{target}", self.address).parse().expect("an address and a path are a URL")
    }

    /// What the next requests get, in turn. When these are used up: 200, or what [`Receiver::otherwise`] says.
    pub fn answers(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script().next.extend(replies);
    }

    pub fn otherwise(&self, reply: Reply) {
        self.script().otherwise = Some(reply);
    }

    /// What requests get that no other script is for.
    pub fn answers_by(&self, reply: fn(&Received) -> Reply) {
        self.script().by = Some(reply);
    }

    /// Everything that came in, in the order of arrival.
    pub fn received(&self) -> Vec<Received> {
        self.script().received.clone()
    }

    /// How many requests came in.
    pub fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// What was answered 2xx, in the order of arrival, as `RUNNING -> STOPPED, attempt 2`: attempts are counted by
    /// `webhook-id`.
    pub fn accepted(&self) -> Vec<String> {
        let received = self.received();
        let told = |(index, request): (usize, &Received)| {
            let id = request.header("webhook-id");
            let attempt = received[..=index].iter().filter(|other| other.header("webhook-id") == id).count();
            request.answered.filter(|status| (200..300).contains(status))?;
            Some(format!("{}, attempt {attempt}", request.summary()))
        };
        received.iter().enumerate().filter_map(told).collect()
    }

    /// What was answered 2xx, in the order of arrival.
    pub fn accepted_requests(&self) -> Vec<Received> {
        let well = |request: &Received| request.answered.is_some_and(|status| (200..300).contains(&status));
        self.received().into_iter().filter(well).collect()
    }

    /// Waits until what was accepted is as wanted.
    pub async fn wait_until(&self, wanted: impl Fn(&[Received]) -> bool) {
        let mut count = self.count.clone();
        let came = tokio::time::timeout(PATIENCE, count.wait_for(|_| wanted(&self.accepted_requests()))).await;
        came.unwrap_or_else(|_| panic!("what was waited for did not come, only {:?}", self.accepted()))
            .expect("the listener lives as long as the receiver");
    }

    /// Waits until this many requests came in.
    pub async fn wait_for(&self, requests: usize) {
        let mut count = self.count.clone();
        let came = tokio::time::timeout(PATIENCE, count.wait_for(|count| *count >= requests)).await;
        came.unwrap_or_else(|_| panic!("{requests} requests did not come, only {}", self.received().len()))
            .expect("the listener lives as long as the receiver");
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().expect("nobody panics with the script in hand")
    }
}

async fn listen(listener: TcpListener, script: Arc<Mutex<Script>>, counted: watch::Sender<usize>) {
    let counted = Arc::new(counted);
    let mut connections = JoinSet::new();
    for number in 0.. {
        let Ok((stream, _)) = listener.accept().await else { return };
        let (script, counted) = (Arc::clone(&script), Arc::clone(&counted));
        connections.spawn(async move {
            // The other side may hang up whenever it likes; that is what some tests are about.
            let _ = serve(stream, number, &script, &counted).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    script: &Mutex<Script>,
    counted: &watch::Sender<usize>,
) -> io::Result<()> {
    let mut buffer = vec![];
    while let Some(mut request) = read_request(&mut stream, &mut buffer).await? {
        request.connection = connection;
        let reply = {
            let mut script = script.lock().expect("nobody panics with the script in hand");
            let otherwise = script.otherwise.clone().or_else(|| Some(script.by?(&request)));
            let otherwise = otherwise.unwrap_or(Reply::Status(200));
            let reply = script.next.pop_front().unwrap_or(otherwise);
            request.answered = status_of(&reply);
            script.received.push(request);
            reply
        };
        counted.send_modify(|count| *count += 1);
        if !answer(&mut stream, reply).await? {
            return Ok(());
        }
    }
    Ok(())
}

fn status_of(reply: &Reply) -> Option<u16> {
    match reply {
        Reply::Status(status)
        | Reply::Full(status, ..)
        | Reply::TrickleBody(status, _)
        | Reply::HangUpInBody(status)
        | Reply::Flood(status, _) => Some(*status),
        Reply::Hang | Reply::TrickleHead(_) | Reply::HangUp => None,
    }
}

/// `None` when the other side closes between two requests.
async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Received>> {
    let end = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end);
    let mut lines = head.lines();
    let mut request = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, target) = (request.next().unwrap_or_default(), request.next().unwrap_or_default());
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    let headers: Vec<(String, String)> = lines.filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let length = length.unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer.drain(..length).collect();
    Ok(Some(Received { method, target, headers, body, answered: None, connection: 0 }))
}

/// `false` when the connection ends with this answer.
async fn answer(stream: &mut TcpStream, reply: Reply) -> io::Result<bool> {
    let head = |status: u16, length: usize| format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\n\r\n");
    match reply {
        Reply::Status(status) => stream.write_all(head(status, 0).as_bytes()).await?,
        Reply::Full(status, headers, body) => {
            let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
        }
        Reply::Hang => {
            // Until the other side gives up.
            while stream.read(&mut [0; 64]).await? > 0 {}
            return Ok(false);
        }
        Reply::TrickleHead(every) => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await?;
            trickle(stream, every).await?;
        }
        Reply::TrickleBody(status, every) => {
            stream.write_all(head(status, 1 << 30).as_bytes()).await?;
            trickle(stream, every).await?;
        }
        Reply::HangUp => return Ok(false),
        Reply::HangUpInBody(status) => {
            stream.write_all(head(status, 100).as_bytes()).await?;
            stream.write_all(b"only this").await?;
            stream.flush().await?;
            return Ok(false);
        }
        Reply::Flood(status, length) => {
            stream.write_all(head(status, length).as_bytes()).await?;
            let chunk = [b'x'; 4096];
            for written in (0..length).step_by(chunk.len()) {
                stream.write_all(&chunk[..chunk.len().min(length - written)]).await?;
            }
        }
    }
    Ok(true)
}

/// One byte each time, until the other side hangs up.
async fn trickle(stream: &mut TcpStream, every: Duration) -> io::Result<()> {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        stream.write_all(b"x").await?;
    }
}
