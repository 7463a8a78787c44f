//! A cloud that says what it is told to say, on one address: Keystone gives tokens, everything else has a script.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tracker::drivers::OpenStackSettings;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Value,
}

impl Asked {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("text"))
    }

    /// `GET /v2.1/servers/detail?limit=1000`
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

#[derive(Clone)]
pub(super) enum Says {
    /// Status, headers and body of a recorded answer, the recorded addresses being this server's.
    Recorded(&'static str),
    /// The recorded token, with this number behind it.
    Token(usize),
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The first half of it, and then the connection ends.
    Half(String),
    /// All that was asked, as the message of an error.
    Echo,
    Nothing,
}

#[derive(Clone, Default)]
pub(super) struct Stub {
    /// What Keystone says; when there is nothing more, the recorded token, numbered.
    pub(super) keystone: Arc<Mutex<VecDeque<Says>>>,
    says: Arc<Mutex<VecDeque<Says>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    address: String,
}

impl Stub {
    pub(super) async fn start(says: impl IntoIterator<Item = Says>) -> (Self, OpenStackSettings) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let says = Arc::new(Mutex::new(says.into_iter().collect()));
        let stub = Self { says, address, ..Self::default() };
        let app = Router::new().fallback(answer).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        let auth_url = Some(stub.url().parse().expect("a URL"));
        (stub, OpenStackSettings { auth_url, ..OpenStackSettings::default() })
    }

    /// Keystone's, as the settings have it.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// What services were asked; Keystone besides.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.all().into_iter().filter(|asked| !is_keystone(&asked.path)).collect()
    }

    pub(super) fn asked_keystone(&self) -> Vec<Asked> {
        self.all().into_iter().filter(|asked| is_keystone(&asked.path)).collect()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    fn all(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Every answer was used, and nothing was asked besides.
    pub(super) fn end(&self) {
        assert_eq!(self.says.lock().expect("no panic").len(), 0, "answers that nobody asked for");
        assert_eq!(self.keystone.lock().expect("no panic").len(), 0, "answers of Keystone that nobody asked for");
    }

    fn recorded(&self, reply: &str) -> Response {
        let mut reply = reply.to_owned();
        for port in [15000, 18774, 18776, 19292, 19696] {
            reply = reply.replace(&format!("127.0.0.1:{port}"), &self.address);
        }
        let reply: Value = serde_json::from_str(&reply).expect("a recorded answer");
        let status = StatusCode::from_u16(reply["status"].as_u64().expect("a status") as u16).expect("a status");
        let mut headers = HeaderMap::new();
        for (name, value) in reply["headers"].as_object().expect("headers") {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.insert(name, HeaderValue::from_str(value.as_str().expect("text")).expect("a value"));
        }
        (status, headers, reply["body"].to_string()).into_response()
    }

    fn say(&self, says: Says, asked: &Asked) -> Option<Response> {
        Some(match says {
            Says::Recorded(reply) => self.recorded(reply),
            Says::Token(nth) => {
                let mut response = self.recorded(recorded!("keystone-token"));
                let token = HeaderValue::from_str(&format!("gAAAAABNOTATOKEN{nth}")).expect("a value");
                response.headers_mut().insert("x-subject-token", token);
                response
            }
            Says::Answer(status, headers, body) => {
                let mut response = (StatusCode::from_u16(status).expect("a status"), body).into_response();
                for (name, value) in headers {
                    response.headers_mut().insert(name, HeaderValue::from_str(&value).expect("a value"));
                }
                response
            }
            Says::Half(whole) => {
                let half: String = whole.chars().take(whole.len() / 2).collect();
                ([("content-length", whole.len().to_string())], half).into_response()
            }
            Says::Echo => {
                let sent = format!("{:?} {}", asked.headers, asked.body);
                let token = asked.header("x-auth-token").unwrap_or_default();
                let error = json!({"badRequest": {"code": 400, "message": format!("{token} {sent}")}});
                (StatusCode::BAD_REQUEST, error.to_string()).into_response()
            }
            Says::Nothing => return None,
        })
    }
}

fn is_keystone(path: &str) -> bool {
    path == "/v3/auth/tokens"
}

async fn answer(State(stub): State<Stub>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let path = uri.path_and_query().expect("a path").to_string();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let asked = Asked { method, path, headers, body };
    stub.asked.lock().expect("no panic").push(asked.clone());
    let (script, by_itself) = if is_keystone(&asked.path) {
        (&stub.keystone, Says::Token(stub.asked_keystone().len()))
    } else {
        (&stub.says, fails(500, "nothing more was scripted"))
    };
    let next = script.lock().expect("no panic").pop_front().unwrap_or(by_itself);
    match stub.say(next, &asked) {
        Some(response) => response,
        None => std::future::pending().await,
    }
}

pub(super) fn ok(body: &Value) -> Says {
    Says::Answer(200, Vec::new(), body.to_string())
}

pub(super) fn fails(status: u16, body: &str) -> Says {
    Says::Answer(status, Vec::new(), body.to_owned())
}
