//! Tracker as its users run it: the real binary, a real store, real time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::world::client;

/// How long anything in these tests may take that takes a moment.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Tracker {
    child: Child,
    pub base: String,
    lines: watch::Receiver<Vec<String>>,
}

impl Tracker {
    /// Starts `tracker serve` on the store in `folder` and waits until it answers.
    pub async fn start(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut tracker = Self::spawn(folder, settings);
        let answers = "answers on ";
        let line = tracker.line(|line| line.contains(answers)).await;
        tracker.base = line.split(answers).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        tracker
    }

    /// Starts it and waits for nothing.
    pub fn spawn(folder: &Path, settings: &[(&str, &str)]) -> Self {
        let mut all = BTreeMap::from([
            ("TRACKER_STORE__URL", format!("sqlite:{}", folder.join("tracker.db").display())),
            ("TRACKER_STORE__KEY_RING", folder.join("tracker.keys").display().to_string()),
            ("TRACKER_API__LISTEN", "127.0.0.1:0".to_owned()),
            ("TRACKER_DELIVER__ALLOW_NETWORKS", "['127.0.0.0/8']".to_owned()),
            ("TRACKER_LOG__FILTER", "debug".to_owned()),
        ]);
        all.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracker"))
            .arg("serve")
            .envs(all)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (sender, lines) = watch::channel(Vec::new());
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = stderr.next_line().await {
                sender.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        Self { child, base: String::new(), lines }
    }

    /// The first line of the log that fits, waiting for it.
    pub async fn line(&mut self, fits: impl Fn(&str) -> bool) -> String {
        self.line_after(0, &fits).await;
        self.lines.borrow().iter().find(|line| fits(line)).unwrap().clone()
    }

    /// How long the log is by now.
    pub fn mark(&self) -> usize {
        self.lines.borrow().len()
    }

    /// Waits for a line that fits and comes after the mark.
    pub async fn line_after(&mut self, from: usize, fits: impl Fn(&str) -> bool) {
        let found = self.lines.wait_for(|lines| lines[from..].iter().any(|line| fits(line)));
        let found = matches!(tokio::time::timeout(PATIENCE, found).await, Ok(Ok(_)));
        assert!(found, "no such line in the log:\n{}", self.log());
    }

    /// Waits until the log has this many more lines than now: a moment in the middle of whatever it does.
    pub async fn more_lines(&mut self, more: usize) {
        let goal = self.lines.borrow().len() + more;
        let reached = self.lines.wait_for(|lines| lines.len() >= goal);
        let reached = matches!(tokio::time::timeout(PATIENCE, reached).await, Ok(Ok(_)));
        assert!(reached, "it fell silent:\n{}", self.log());
    }

    pub fn log(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// SIGKILL: no word, no clean-up.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits until it ends by itself; answers with its status and its log.
    pub async fn ended(mut self) -> (bool, String) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        // The log is whole when its sender is gone.
        while self.lines.changed().await.is_ok() {}
        (status.success(), self.log())
    }

    /// Asks it to stop as a service manager does, and waits until it has.
    pub async fn stop(self) -> (bool, String) {
        let pid = self.child.id().expect("it runs").to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(asked.success());
        self.ended().await
    }

    pub async fn request(&self, method: Method, path: &str) -> (StatusCode, String) {
        let request = client().request(method, format!("{}{path}", self.base));
        let answer = request.basic_auth("mockuser", Some("mockpassword")).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }
}
