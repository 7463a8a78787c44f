//! A forward proxy on loopback that behaves as told. It passes requests on like a real one (absolute form, and tunnels by
//! CONNECT), wherever their hosts lead according to the test.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the proxy does with a request to be passed on. It answers `OPTIONS *` itself, unless it is mute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Passes it on.
    Works,
    /// Answers with this status itself.
    Answers(u16),
    /// Takes it and never answers.
    Waits,
    /// Takes it and hangs up.
    HangsUp,
    /// Takes anything, `OPTIONS *` too, and never answers.
    Mute,
    /// Speaks something else, whatever it is asked.
    Babbles,
}

/// What somebody asked of the proxy.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `POST http://a.example/cb`, `CONNECT a.example:443`.
    pub line: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

struct Script {
    mood: Mood,
    /// Where everything is passed on to, whatever its host.
    to: SocketAddr,
    credentials: Option<String>,
    asked: Vec<Asked>,
}

/// Listens until it is dropped.
pub struct Proxy {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    _listening: JoinSet<()>,
}

impl Proxy {
    /// Everything leads `to` one place.
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Mutex::new(Script { mood: Mood::Works, to, credentials: None, asked: vec![] }));
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, Arc::clone(&script)));
        Self { address, script, _listening: listening }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn mood(&self, mood: Mood) {
        self.script.lock().unwrap().mood = mood;
    }

    /// Whoever does not show these is answered 407.
    pub fn wants(&self, user: &str, password: &str) {
        let credentials = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        self.script.lock().unwrap().credentials = Some(credentials);
    }

    /// All that was to be passed on, in order of arrival.
    pub fn asked(&self) -> Vec<Asked> {
        let asked = self.script.lock().unwrap().asked.clone();
        asked.into_iter().filter(|asked| !asked.line.starts_with("OPTIONS *")).collect()
    }

    /// The first lines of the same.
    pub fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

async fn listen(listener: TcpListener, script: Arc<Mutex<Script>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let script = Arc::clone(&script);
        connections.spawn(async move {
            // Either side may hang up whenever it likes.
            let _ = serve(stream, &script).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

/// One request for each connection, and all that follows it in a tunnel.
async fn serve(mut stream: TcpStream, script: &Mutex<Script>) -> io::Result<()> {
    let mut read = vec![];
    let end = loop {
        if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let rest = read.split_off(end);
    let head = String::from_utf8_lossy(&read).into_owned();
    let asked = parse(&head);
    let (mood, to, known) = {
        let mut script = script.lock().unwrap();
        script.asked.push(asked.clone());
        let known = script.credentials.as_deref().is_none_or(|want| asked.header("proxy-authorization") == Some(want));
        (script.mood, script.to, known)
    };
    match mood {
        Mood::Mute => return until_closed(&mut stream).await,
        Mood::Babbles => return stream.write_all(b"220 smtp.example ESMTP\r\n").await,
        _ if !known => return stream.write_all(&answer(407)).await,
        _ if asked.line.starts_with("OPTIONS *") => return stream.write_all(&answer(204)).await,
        Mood::Works => {}
        Mood::Answers(status) => return stream.write_all(&answer(status)).await,
        Mood::Waits => return until_closed(&mut stream).await,
        Mood::HangsUp => return Ok(()),
    }
    let mut target = TcpStream::connect(to).await?;
    if asked.line.starts_with("CONNECT ") {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    } else {
        target.write_all(passed_on(&head).as_bytes()).await?;
    }
    target.write_all(&rest).await?;
    tokio::io::copy_bidirectional(&mut stream, &mut target).await?;
    Ok(())
}

fn parse(head: &str) -> Asked {
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
    let header = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Asked { line, headers: lines.filter_map(header).collect() }
}

/// In origin form, without what was meant for the proxy, and with an end: the next request is to come by another connection.
fn passed_on(head: &str) -> String {
    let (first, headers) = head.split_once("\r\n").unwrap();
    let mut words = first.split(' ');
    let (method, url) = (words.next().unwrap(), words.next().unwrap());
    let target = url.strip_prefix("http://").and_then(|url| url.find('/').map(|at| &url[at..])).expect("absolute form");
    let ours = |line: &&str| !line.to_ascii_lowercase().starts_with("proxy-");
    let headers: Vec<_> = headers.lines().filter(ours).filter(|line| !line.is_empty()).collect();
    format!("{method} {target} HTTP/1.1\r\n{}\r\n\r\n", headers.join("\r\n"))
}

fn answer(status: u16) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").into_bytes()
}

async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}
