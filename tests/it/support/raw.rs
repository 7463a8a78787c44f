//! A client that says exactly what a test wants said, and shows the answer as it came. For where bytes matter; otherwise
//! there is [`World::request`](super::world::World::request).

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

#[derive(Clone, Copy, Debug)]
pub struct Raw(pub SocketAddr);

impl Raw {
    /// With good credentials.
    pub async fn get(self, path: &str) -> Answer {
        self.ask("GET", path, &[GOOD]).await
    }

    pub async fn ask(self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(method, path, headers, "").await
    }

    /// `Host` is added unless given.
    pub async fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            text.push_str("Host: localhost:3001\r\n");
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        Answer::read(&self.bytes(text.as_bytes()).await)
    }

    /// Sends bytes and reads until the server closes.
    pub async fn bytes(self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect().await;
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    pub async fn connect(self) -> TcpStream {
        TcpStream::connect(self.0).await.unwrap()
    }
}

/// The connection of a client that has asked under `base` (which ends in `/api`), and read nothing yet. `buffer`: how much its system
/// takes unread, bytes.
pub async fn asked(base: &str, path: &str, headers: &[(&str, &str)], buffer: Option<u32>) -> TcpStream {
    let host = base.trim_start_matches("http://").trim_end_matches("/api");
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = buffer {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    let mut stream = socket.connect(host.parse().unwrap()).await.unwrap();
    let mut head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    stream
}

pub const GOOD: (&str, &str) = ("Authorization", "Basic bW9ja3VzZXI6bW9ja3Bhc3N3b3Jk");
pub const BAD: (&str, &str) = ("Authorization", "Basic bW9ja3VzZXI6d3Jvbmc=");
pub const EMPTY: (&str, &str) = ("Authorization", "Basic Og==");
pub const JSON: (&str, &str) = ("Accept", "application/json");

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let split =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Self { status, headers: lines.filter_map(split).collect(), body: body.to_owned() }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }

    /// The body as a tree; fails the test when it is not well-formed.
    pub fn xml(&self) -> Node {
        Node::parse(&self.body)
    }

    /// An error document that agrees with the status and names the backend.
    pub fn is_error(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        if self.header("content-type") == Some("application/json") {
            assert_eq!(self.json()["code"], status, "{self:?}");
            assert!(self.json()["message"].is_string(), "{self:?}");
            assert!(self.json()["error"].as_str().unwrap().starts_with("Deltacloud::Exceptions::"), "{self:?}");
            return self;
        }
        let root = self.xml();
        assert_eq!(self.header("content-type"), Some("application/xml"));
        assert_eq!((root.name.as_str(), root.attribute("status")), ("error", Some(status.to_string().as_str())));
        let backend = root.child("backend");
        assert!(backend.attribute("driver").is_some() && backend.attribute("provider").is_some(), "{self:?}");
        assert!(!root.child("message").text.is_empty(), "{self:?}");
        assert!(root.children.iter().all(|child| child.name != "backtrace" && child.name != "request"));
        self
    }
}

/// An XML element.
#[derive(Debug, Default)]
pub struct Node {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub text: String,
    pub children: Vec<Node>,
}

impl Node {
    pub fn parse(text: &str) -> Self {
        use quick_xml::Reader;
        use quick_xml::events::{BytesStart, Event};
        let node = |start: &BytesStart| {
            let attributes = start.attributes().map(|attribute| {
                let attribute = attribute.unwrap();
                let value = quick_xml::escape::unescape(&attribute.value).unwrap().into_owned();
                (attribute.key.as_ref().to_owned(), value)
            });
            let name = start.name().as_ref().to_owned();
            Self { name, attributes: attributes.collect(), ..Self::default() }
        };
        let mut reader = Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().unwrap_or_else(|err| panic!("{err}: {text}")) {
                Event::Start(start) => open.push(node(&start)),
                Event::Empty(start) => open.last_mut().unwrap().children.push(node(&start)),
                Event::End(_) => {
                    let done = open.pop().unwrap();
                    open.last_mut().unwrap().children.push(done);
                }
                Event::Text(piece) => open.last_mut().unwrap().text.push_str(&piece),
                Event::GeneralRef(name) => {
                    let name = format!("&{};", &*name);
                    open.last_mut().unwrap().text.push_str(&quick_xml::escape::unescape(&name).unwrap());
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let [mut root] = <[Self; 1]>::try_from(open).unwrap_or_else(|_| panic!("elements left open: {text}"));
        assert_eq!(root.children.len(), 1, "one root: {text}");
        root.children.remove(0)
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn child(&self, name: &str) -> &Self {
        self.children.iter().find(|child| child.name == name).unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// The only descendant of that name.
    pub fn only(&self, name: &str) -> &Self {
        let [one] = self.all(name)[..] else { panic!("not one {name} in {self:?}") };
        one
    }

    /// All descendants of that name.
    pub fn all(&self, name: &str) -> Vec<&Self> {
        let mut found = Vec::new();
        for child in &self.children {
            if child.name == name {
                found.push(child);
            }
            found.extend(child.all(name));
        }
        found
    }
}
