use std::net::SocketAddr;

use serde::Deserialize;
use url::Url;

/// `[api]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Address and port to listen on.
    pub listen: String,
    /// What hrefs begin with, without `/api`: `https://tracker.example`. Empty: taken from each request's
    /// `X-Forwarded-Proto`, `X-Forwarded-Host` and `Host`.
    pub public_url: String,
    /// The longest request body. Bytes. Room for user data (16 KiB at EC2) several times over.
    pub body_bytes_max: usize,
    /// The longest request body that brings a blob. Bytes. It is held in memory, up to three times while it is taken apart.
    pub blob_bytes_max: usize,
    /// Blobs being received at once; more wait unread for `body_ms`.
    pub blobs_max: usize,
    /// The longest path with query. Bytes. Some clients put everything, user data too, into the query. HTTP libraries
    /// stop at 65,534.
    pub url_bytes_max: usize,
    /// Request line and headers together. Bytes.
    pub head_bytes_max: usize,
    /// Header lines in a request.
    pub headers_max: usize,
    /// Parameters in a request, query and form together.
    pub params_max: usize,
    /// For a client to send the head of a request, idle time between requests included. Milliseconds.
    pub head_ms: u64,
    /// For a client to send the body. Milliseconds.
    pub body_ms: u64,
    /// For a client to take the next piece of an answer. Milliseconds.
    pub write_ms: u64,
    /// What the system holds of an answer that a client does not take yet, on each connection. Bytes; Linux takes twice as much
    /// to keep account of it.
    pub send_buffer_bytes: usize,
    /// For us to answer a request that was read whole. Milliseconds. Deltacloud clients give up after 45 s.
    pub answer_ms: u64,
    /// Connections open at once; more wait to be accepted.
    pub connections_max: usize,
    /// For requests under way to end when Tracker stops. Milliseconds.
    pub stop_ms: u64,
    /// How long the backend's word on who credentials belong to is believed. Seconds.
    pub auth_cache_seconds: u64,
    /// Credentials remembered for that long.
    pub auth_cache_max: u64,
    /// Different wrong credentials from one address, or for one user, before further unknown ones are refused without
    /// asking the backend. 0: no limit.
    pub failed_logins_max: u32,
    /// For how long wrong credentials count. Seconds.
    pub failed_logins_seconds: u64,
    /// Addresses and users watched for wrong credentials.
    pub failed_logins_table_max: u64,
    /// Credentials that the backend refused are refused again for so long without asking it. Seconds, at most 60; 0: it is asked each time.
    pub refused_login_seconds: u64,
    /// Instances that one request may ask for.
    pub instance_count_max: u32,
    /// Deliveries looked at for one page of their list: with filters that fit few, a page is then short and says where to go on.
    pub deliveries_scan_max: usize,
    /// Whether `/metrics` is served, which asks for no credentials.
    pub metrics: bool,
    /// Hooks shown there by themselves, those that lag most first.
    pub metrics_hooks_max: usize,
    /// As far as waiting deliveries are counted there.
    pub metrics_waiting_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:3001".to_owned(),
            public_url: String::new(),
            body_bytes_max: 1024 * 1024,
            blob_bytes_max: 16 * 1024 * 1024,
            blobs_max: 16,
            url_bytes_max: 60_000,
            head_bytes_max: 128 * 1024,
            headers_max: 100,
            params_max: 1_000,
            head_ms: 30_000,
            body_ms: 30_000,
            write_ms: 30_000,
            send_buffer_bytes: 128 * 1024,
            answer_ms: 40_000,
            connections_max: 4_096,
            stop_ms: 10_000,
            auth_cache_seconds: 60,
            auth_cache_max: 10_000,
            failed_logins_max: 20,
            failed_logins_seconds: 300,
            failed_logins_table_max: 10_000,
            refused_login_seconds: 5,
            instance_count_max: 100,
            deliveries_scan_max: 20_000,
            metrics: true,
            metrics_hooks_max: 1_000,
            metrics_waiting_max: 100_000,
        }
    }
}

impl Settings {
    /// What is wrong with them, in one sentence that names the key.
    pub fn check(&self) -> Result<(), String> {
        if self.listen.parse::<SocketAddr>().is_err() {
            return Err(format!("api.listen: `{}` is not ADDRESS:PORT", self.listen));
        }
        if !self.public_url.is_empty() {
            let url = Url::parse(&self.public_url).map_err(|err| format!("api.public_url: {err}"))?;
            let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain {
                return Err("api.public_url: write http://HOST or https://HOST, and no more".to_owned());
            }
        }
        if !(1_024..=65_000).contains(&self.url_bytes_max) {
            return Err("api.url_bytes_max must be from 1024 to 65000".to_owned());
        }
        if self.head_bytes_max < 8_192 {
            return Err("api.head_bytes_max must be 8192 or more".to_owned());
        }
        if !(4_096..=64 * 1024 * 1024).contains(&self.send_buffer_bytes) {
            return Err("api.send_buffer_bytes must be from 4096 to 67108864".to_owned());
        }
        const YEAR_SECONDS: u64 = 366 * 24 * 3_600;
        for (name, seconds) in
            [("auth_cache_seconds", self.auth_cache_seconds), ("failed_logins_seconds", self.failed_logins_seconds)]
        {
            if seconds > YEAR_SECONDS {
                return Err(format!("api.{name} is {seconds}: it must be at most {YEAR_SECONDS}, a year"));
            }
        }
        if self.refused_login_seconds > 60 {
            let seconds = self.refused_login_seconds;
            return Err(format!(
                "api.refused_login_seconds is {seconds}: it must be at most 60, as a password may be put right"
            ));
        }
        let at_least_one = [
            ("body_bytes_max", self.body_bytes_max as u64),
            ("blob_bytes_max", self.blob_bytes_max as u64),
            ("blobs_max", self.blobs_max as u64),
            ("headers_max", self.headers_max as u64),
            ("params_max", self.params_max as u64),
            ("head_ms", self.head_ms),
            ("body_ms", self.body_ms),
            ("write_ms", self.write_ms),
            ("answer_ms", self.answer_ms),
            ("connections_max", self.connections_max as u64),
            ("auth_cache_max", self.auth_cache_max),
            ("failed_logins_seconds", self.failed_logins_seconds),
            ("failed_logins_table_max", self.failed_logins_table_max),
            ("instance_count_max", u64::from(self.instance_count_max)),
            ("deliveries_scan_max", self.deliveries_scan_max as u64),
            ("metrics_waiting_max", self.metrics_waiting_max as u64),
        ];
        match at_least_one.into_iter().find(|(_, value)| *value == 0) {
            Some((key, _)) => Err(format!("api.{key} must not be 0")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_named() {
        let check = |change: fn(&mut Settings), said: &str| {
            let mut settings = Settings::default();
            change(&mut settings);
            assert_eq!(settings.check().err().unwrap_or_default(), said);
        };
        check(|_| {}, "");
        check(|s| s.public_url = "https://tracker.example/".to_owned(), "");
        check(|s| s.listen = "3001".to_owned(), "api.listen: `3001` is not ADDRESS:PORT");
        check(
            |s| s.public_url = "ftp://x".to_owned(),
            "api.public_url: write http://HOST or https://HOST, and no more",
        );
        check(|s| s.public_url = "tracker".to_owned(), "api.public_url: relative URL without a base");
        check(|s| s.url_bytes_max = 70_000, "api.url_bytes_max must be from 1024 to 65000");
        check(|s| s.send_buffer_bytes = 0, "api.send_buffer_bytes must be from 4096 to 67108864");
        check(|s| s.connections_max = 0, "api.connections_max must not be 0");
    }
}
