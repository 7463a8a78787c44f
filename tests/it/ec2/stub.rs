//! An EC2 that says what it is told to say.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use tracker::drivers::Ec2Settings;

use super::{SECRET, at};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) form: Vec<(String, String)>,
    pub(super) headers: HeaderMap,
}

impl Asked {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Clone)]
pub(super) enum Says {
    Answer(u16, String),
    /// With a `Retry-After`.
    Later(u16, &'static str, String),
    /// The first half of it, and then the connection ends.
    Half(String),
    /// The whole request, as the message of an error.
    Echo,
    Nothing,
}

/// A server that gives its answers in turn and remembers what it was asked.
#[derive(Clone, Default)]
pub(super) struct Stub {
    says: Arc<Mutex<VecDeque<Says>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    pub(super) async fn start(says: impl IntoIterator<Item = Says>) -> (Self, Ec2Settings) {
        let stub = Self { says: Arc::new(Mutex::new(says.into_iter().collect())), ..Self::default() };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let app = Router::new().fallback(answer).with_state(stub.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        (stub, at(&format!("http://{address}")))
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }

    /// Every answer was used, and nothing was asked besides.
    pub(super) fn end(&self) {
        assert_eq!(self.says.lock().expect("no panic").len(), 0, "answers that nobody asked for");
    }
}

async fn answer(State(stub): State<Stub>, headers: HeaderMap, body: Bytes) -> Response {
    let form = form_urlencoded::parse(&body).into_owned().collect();
    stub.asked.lock().expect("no panic").push(Asked { form, headers: headers.clone() });
    let next = stub.says.lock().expect("no panic").pop_front();
    match next.unwrap_or_else(|| Says::Answer(500, "nothing more was scripted".to_owned())) {
        Says::Answer(status, body) => (StatusCode::from_u16(status).expect("a status"), body).into_response(),
        Says::Later(status, after, body) => {
            (StatusCode::from_u16(status).expect("a status"), [("retry-after", after)], body).into_response()
        }
        Says::Half(whole) => {
            let half: String = whole.chars().take(whole.len() / 2).collect();
            ([("content-length", whole.len().to_string())], half).into_response()
        }
        Says::Echo => {
            let sent = format!("{headers:?} {}", String::from_utf8_lossy(&body)).replace(['<', '>', '&'], " ");
            let error = format!(
                "<Response><Errors><Error><Code>AuthFailure</Code><Message>{sent} {SECRET}</Message></Error></Errors>\
                 </Response>"
            );
            (StatusCode::UNAUTHORIZED, error).into_response()
        }
        Says::Nothing => std::future::pending().await,
    }
}

pub(super) fn ok(body: &str) -> Says {
    Says::Answer(200, body.to_owned())
}

pub(super) fn fails(status: u16, body: &str) -> Says {
    Says::Answer(status, body.to_owned())
}
