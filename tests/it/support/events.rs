//! A reader of server-sent events, as a browser is one: keeps the last id and says it when it comes back.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;

use super::world::{PASSWORD, USER, client};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub id: u64,
    pub kind: String,
    pub data: Value,
}

pub struct Events {
    response: reqwest::Response,
    text: String,
    events: VecDeque<Event>,
    pub last_id: Option<u64>,
    pub heartbeats: usize,
    ended: bool,
}

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

impl Events {
    /// `query`: `?after=0`, or nothing.
    pub async fn open(base: &str, query: &str, last_id: Option<u64>) -> Self {
        Self::try_open(base, query, last_id).await.unwrap_or_else(|(status, text)| panic!("{status}: {text}"))
    }

    pub async fn try_open(base: &str, query: &str, last_id: Option<u64>) -> Result<Self, (StatusCode, String)> {
        let mut request = client()
            .get(format!("{base}/changes{query}"))
            .basic_auth(USER, Some(PASSWORD))
            .header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id.to_string());
        }
        let response = request.send().await.unwrap();
        if response.status() != StatusCode::OK {
            return Err((response.status(), response.text().await.unwrap()));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (text, events) = (String::new(), VecDeque::new());
        Ok(Self { response, text, events, last_id, heartbeats: 0, ended: false })
    }

    /// `None`: the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.last_id = Some(event.id);
                return Some(event);
            }
            if self.ended {
                return None;
            }
            self.read().await;
        }
    }

    /// Ids of as many events.
    pub async fn ids(&mut self, count: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        while ids.len() < count {
            ids.push(self.next().await.expect("the stream goes on").id);
        }
        ids
    }

    /// Reads what comes next, whatever it is.
    pub async fn read(&mut self) {
        let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await.expect("nothing came for long");
        let Ok(Some(chunk)) = chunk else {
            self.ended = true;
            return;
        };
        self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        while let Some(end) = self.text.find("\n\n") {
            let block: String = self.text.drain(..end + 2).collect();
            self.block(&block);
        }
    }

    fn block(&mut self, block: &str) {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        match field("data") {
            Some(data) => self.events.push_back(Event {
                id: field("id").unwrap().parse().unwrap(),
                kind: field("event").unwrap().to_owned(),
                data: serde_json::from_str(data).unwrap(),
            }),
            None if block.starts_with(':') => {
                self.heartbeats += 1;
                // Without data it is no event, and moves the id all the same.
                self.last_id = field("id").map(|id| id.parse().unwrap()).or(self.last_id);
            }
            None => assert!(block.starts_with("retry: "), "{block}"),
        }
    }
}
