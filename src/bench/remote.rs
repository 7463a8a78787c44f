//! The bench's end of the sink.

use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpStream;
use url::Url;

use super::measure::Usage;
use super::wire::{Ask, Hello, Line, Receipts, Tally};

/// A sink under way. Ends with its owner.
pub(super) struct Sink {
    child: Child,
    line: Line,
    ports: Vec<u16>,
}

/// How often the sink tells how far it is.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How long nothing may arrive before the rest counts as lost. Longer than the first retry's wait, so that one fault
/// spoils a run's figures but not its end.
const PATIENCE: Duration = Duration::from_secs(20);

impl Sink {
    /// Starts this very program as sink.
    ///
    /// # Errors
    /// When it cannot be started or does not say hello.
    pub(super) async fn start(healthy: u32, bad: u32) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program is not to be found")?;
        let mut child = Command::new(program)
            .args(["bench", "sink", "--healthy", &healthy.to_string(), "--bad", &bad.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the sink does not start")?;
        let stdout = child.stdout.take().context("a piped stdout is there")?;
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let hello: Hello = serde_json::from_str(&first.await??).context("the sink did not say hello")?;
        let control = TcpStream::connect((Ipv4Addr::LOCALHOST, hello.control)).await?;
        Ok(Self { child, line: Line::new(control), ports: hello.receivers })
    }

    /// Where the receiver listens; `path` begins with a slash.
    pub(super) fn url(&self, receiver: usize, path: &str) -> Url {
        format!("http://127.0.0.1:{}{path}", self.ports[receiver]).parse().expect("an address and a path are a URL")
    }

    /// Waits until this many were accepted. `false`: nothing came for a long time, and the rest seems lost.
    pub(super) async fn wait(&mut self, accepted: usize) -> anyhow::Result<bool> {
        let (mut before, mut quiet) = (0, Duration::ZERO);
        while quiet < PATIENCE {
            let for_ms = TELL_EVERY.as_millis() as u64;
            self.line.say(&Ask::Wait { accepted, for_ms }).await?;
            let Some(Tally { accepted: now }) = self.line.hear().await? else { bail!("the sink is gone") };
            if now >= accepted {
                return Ok(true);
            }
            quiet = if now > before { Duration::ZERO } else { quiet + TELL_EVERY };
            before = now;
        }
        Ok(false)
    }

    pub(super) async fn collect(&mut self) -> anyhow::Result<Receipts> {
        self.line.say(&Ask::Collect).await?;
        self.line.hear().await?.context("the sink is gone")
    }

    /// Processor time of the sink so far.
    pub(super) fn usage(&self) -> Usage {
        Usage::of(&self.child.id().to_string())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // It would end by itself, as its control connection does. Either way it must not stay as a zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
