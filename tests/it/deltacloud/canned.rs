//! An upstream that says what it is told to say.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// `GET /api/instances`
    pub(super) what: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().expect("text"))
    }
}

#[derive(Clone)]
pub(super) enum Says {
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The first half of it, and then the connection ends.
    Half(String),
    Nothing,
}

/// What is said to which requests, in turn; the last thing said to one is said again and again.
#[derive(Clone, Default)]
pub(super) struct Canned {
    says: Arc<Mutex<BTreeMap<String, VecDeque<Says>>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    root: String,
}

impl Canned {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let root = format!("http://{}/api", listener.local_addr().expect("bound"));
        let canned = Self { root, ..Self::default() };
        let app = Router::new().fallback(answer).with_state(canned.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        canned
    }

    /// Of its API.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Says this to the next request of the sort that nothing is planned for.
    pub(super) fn says(&self, what: &str, says: Says) -> &Self {
        self.says.lock().expect("no panic").entry(what.to_owned()).or_default().push_back(says);
        self
    }

    /// Forgets what it was to say and what it was asked.
    pub(super) fn clear(&self) {
        self.says.lock().expect("no panic").clear();
        self.asked.lock().expect("no panic").clear();
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// What it was asked, in short.
    pub(super) fn heard(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.what).collect()
    }
}

async fn answer(State(canned): State<Canned>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_else(|_| Bytes::new());
    let what = format!("{} {}", parts.method, parts.uri);
    let body = String::from_utf8_lossy(&body).into_owned();
    canned.asked.lock().expect("no panic").push(Asked { what: what.clone(), headers: parts.headers, body });
    let planned = {
        let mut says = canned.says.lock().expect("no panic");
        says.get_mut(&what).and_then(|says| if says.len() > 1 { says.pop_front() } else { says.front().cloned() })
    };
    match planned.unwrap_or_else(|| Says::Answer(418, vec![], "nothing was scripted".to_owned())) {
        Says::Answer(status, headers, body) => {
            let mut response = (StatusCode::from_u16(status).expect("a status"), body).into_response();
            for (name, value) in headers {
                response.headers_mut().insert(name, value.parse().expect("a header's value"));
            }
            response
        }
        Says::Half(whole) => {
            let half: String = whole.chars().take(whole.len() / 2).collect();
            ([("content-length", whole.len().to_string())], half).into_response()
        }
        Says::Nothing => std::future::pending().await,
    }
}

pub(super) fn ok(body: impl Into<String>) -> Says {
    Says::Answer(200, vec![], body.into())
}

pub(super) fn fails(status: u16, body: impl Into<String>) -> Says {
    Says::Answer(status, vec![], body.into())
}

pub(super) fn leads(status: u16, to: &str) -> Says {
    Says::Answer(status, vec![("location", to.to_owned())], String::new())
}
