use serde::Deserialize;

/// `[feed]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The longest that a request may wait for a change (`wait`). Seconds.
    pub wait_max_seconds: u64,
    /// Requests that wait and streams, all together. Each takes a connection (`api.connections_max`).
    pub followers_max: usize,
    /// Of these, those of one account.
    pub followers_per_account_max: usize,
    /// Changes looked at for one answer: with filters that fit few, an answer is then short and says where to go on.
    pub scan_max: usize,
    /// Bytes of changes in one answer, about: with more it is short and says where to go on. One change is always sent, however
    /// long it is.
    pub page_bytes_max: usize,
    /// Changes of an account kept in memory while somebody follows it.
    pub tail_max: usize,
    /// Bytes of these, about, in one wording.
    pub tail_bytes_max: usize,
    /// A stream that has nothing to say says so this often. Milliseconds.
    pub heartbeat_ms: u64,
    /// A stream ends after this long, so that its credentials are asked for anew. Seconds.
    pub stream_max_seconds: u64,
    /// What is written to a stream at once, if there is so much. Bytes.
    pub piece_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wait_max_seconds: 60,
            followers_max: 4_000,
            followers_per_account_max: 2_500,
            scan_max: 10_000,
            page_bytes_max: 4 * 1024 * 1024,
            tail_max: 1_024,
            tail_bytes_max: 2 * 1024 * 1024,
            heartbeat_ms: 15_000,
            stream_max_seconds: 3_600,
            piece_bytes_max: 64 * 1024,
        }
    }
}

impl Settings {
    /// What is wrong with them, in one sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        const DAY_SECONDS: u64 = 24 * 3_600;
        let bounds = [
            ("wait_max_seconds", self.wait_max_seconds, 0, 600),
            ("scan_max", self.scan_max as u64, 1, 1_000_000),
            ("page_bytes_max", self.page_bytes_max as u64, 1, 1_024 * 1_024 * 1_024),
            ("tail_max", self.tail_max as u64, 1, 1_000_000),
            ("tail_bytes_max", self.tail_bytes_max as u64, 1, 1_024 * 1_024 * 1_024),
            ("heartbeat_ms", self.heartbeat_ms, 1, DAY_SECONDS * 1_000),
            ("stream_max_seconds", self.stream_max_seconds, 1, 30 * DAY_SECONDS),
            ("piece_bytes_max", self.piece_bytes_max as u64, 1_024, 16 * 1_024 * 1_024),
        ];
        match bounds.into_iter().find(|(_, value, from, to)| !(*from..=*to).contains(value)) {
            Some((key, value, from, to)) => Err(format!("feed.{key} is {value}: it must be from {from} to {to}")),
            None => Ok(()),
        }
    }
}
