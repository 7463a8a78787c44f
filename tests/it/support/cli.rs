//! The command line as its users run it: the real binary, given nothing of this process's own environment.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::child::PATIENCE;

/// How a command ended, and all it said.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Ended {
    /// Its one JSON document.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:?}");
        serde_json::from_str(&self.out).unwrap_or_else(|err| panic!("{err}: {self:?}"))
    }

    /// Its lines, a JSON object each.
    pub fn objects(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A user who knows where Tracker is and who he is.
#[derive(Clone)]
pub struct Cli {
    pub url: String,
    pub environment: Vec<(&'static str, String)>,
}

impl Cli {
    pub fn new(url: &str) -> Self {
        let known = [("TRACKER_USER", "mockuser"), ("TRACKER_PASSWORD", "mockpassword")];
        let environment = known.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        Self { url: url.to_owned(), environment }
    }

    /// With another environment.
    pub fn knowing(&self, environment: &[(&'static str, &str)]) -> Self {
        let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { url: self.url.clone(), environment }
    }

    pub async fn run(&self, args: &[&str]) -> Ended {
        self.spawn(args).ended().await
    }

    pub fn spawn(&self, args: &[&str]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracker"))
            .args(args)
            .env_clear()
            .env("TRACKER_URL", &self.url)
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = lines(child.stdout.take().unwrap());
        let err = lines(child.stderr.take().unwrap());
        Running { child, out, err }
    }
}

/// A command under way.
pub struct Running {
    child: Child,
    out: Lines,
    err: Lines,
}

struct Lines {
    read: watch::Receiver<Vec<String>>,
    reading: tokio::task::JoinHandle<()>,
}

fn lines(from: impl AsyncRead + Unpin + Send + 'static) -> Lines {
    let (sender, read) = watch::channel(Vec::new());
    let reading = tokio::spawn(async move {
        let mut from = BufReader::new(from).lines();
        while let Ok(Some(line)) = from.next_line().await {
            sender.send_modify(|lines: &mut Vec<String>| lines.push(line));
        }
    });
    Lines { read, reading }
}

impl Running {
    pub fn out(&self) -> Vec<String> {
        self.out.read.borrow().clone()
    }

    /// Waits until its stdout is as wanted.
    pub async fn out_until(&self, wanted: impl Fn(&[String]) -> bool) {
        let mut read = self.out.read.clone();
        let came = matches!(tokio::time::timeout(PATIENCE, read.wait_for(|lines| wanted(lines))).await, Ok(Ok(_)));
        assert!(came, "what was waited for did not come: {:?} {:?}", self.out(), self.err.read.borrow());
    }

    /// Waits for a line on stderr.
    pub async fn err_until(&self, fits: impl Fn(&str) -> bool) {
        let wanted = |lines: &Vec<String>| lines.iter().any(|line| fits(line));
        let mut read = self.err.read.clone();
        let came = matches!(tokio::time::timeout(PATIENCE, read.wait_for(wanted)).await, Ok(Ok(_)));
        assert!(came, "what was waited for was not said: {:?}", self.err.read.borrow());
    }

    /// As `| head` does when it has enough.
    pub async fn stop_reading(&mut self) {
        self.out.reading.abort();
        // The pipe is closed when the task is gone.
        let _ = (&mut self.out.reading).await;
    }

    /// Ctrl-C.
    pub async fn interrupt(self) -> Ended {
        let pid = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
        self.ended().await
    }

    /// Waits until it ends by itself.
    pub async fn ended(mut self) -> Ended {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").unwrap();
        // What it said is whole when the pipes are closed.
        for lines in [&mut self.out, &mut self.err] {
            while lines.read.changed().await.is_ok() {}
        }
        let text = |lines: &Lines| lines.read.borrow().iter().map(|line| format!("{line}\n")).collect();
        Ended { code: status.code().unwrap_or(-1), out: text(&self.out), err: text(&self.err) }
    }
}
