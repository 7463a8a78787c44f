//! A cloud in a process of its own: it answers from memory what was rendered once. One thread, HTTP parsed by hand, so that
//! little of the machine is taken from what is measured.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};
use url::Url;

use super::measure::Usage;
use super::pages::Pages;
use super::wire::{Head, Hello, Line};
use crate::clock::SystemClock;

#[derive(clap::Args)]
pub struct Args {
    /// Instances of each account
    #[arg(long)]
    instances: u32,
}

/// What the bench says to it.
#[derive(Serialize, Deserialize)]
enum Word {
    /// Stops so many instances of the first account. Answered with the instant, in microseconds since 1970.
    Stop(u32),
    /// Answered with [`Calls`] since the last time.
    Count,
}

/// Calls by action.
pub(super) type Calls = BTreeMap<String, u64>;

struct Cloud {
    pages: Pages,
    /// What the first account sees instead, once some of it is stopped.
    moved: RefCell<Option<Rc<Pages>>>,
    calls: RefCell<Calls>,
    /// Requests that it does not understand.
    unserved: Cell<u64>,
}

/// The user name of the account of this number.
pub(super) fn user(account: u32) -> String {
    format!("AKIABENCH{account:07}")
}

/// How long nobody may call at first; one whose bench died must not stay.
const CALLED_WITHIN: Duration = Duration::from_secs(30);

/// Listens until the control connection ends.
///
/// # Errors
/// When there are no ports to be had, or nobody calls.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let serving = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, serve(args.instances))
    });
    serving.await?
}

async fn serve(instances: u32) -> anyhow::Result<()> {
    let cloud = Rc::new(Cloud {
        pages: Pages::new(instances, 0),
        moved: RefCell::default(),
        calls: RefCell::default(),
        unserved: Cell::default(),
    });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for the cloud")?;
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port to be asked at")?;
    let hello = Hello { control: control.local_addr()?.port(), receivers: vec![listener.local_addr()?.port()] };
    spawn_local(accept(listener, Rc::clone(&cloud)));
    println!("{}", serde_json::to_string(&hello)?);
    std::io::stdout().flush()?;
    let called = tokio::time::timeout(CALLED_WITHIN, control.accept()).await.context("nobody called the cloud")?;
    let mut line = Line::new(called?.0);
    while let Some(word) = line.hear().await? {
        match word {
            Word::Stop(count) => {
                let moved = Rc::new(Pages::new(instances, count.min(instances)));
                *cloud.moved.borrow_mut() = Some(moved);
                line.say(&SystemClock::micros()).await?;
            }
            Word::Count => {
                let mut calls = cloud.calls.take();
                let unserved = cloud.unserved.take();
                if unserved > 0 {
                    calls.insert("unserved".to_owned(), unserved);
                }
                line.say(&calls).await?;
            }
        }
    }
    Ok(())
}

async fn accept(listener: TcpListener, cloud: Rc<Cloud>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of sockets: others will let go of theirs.
            tokio::task::yield_now().await;
            continue;
        };
        let cloud = Rc::clone(&cloud);
        spawn_local(async move {
            // Tracker may hang up whenever it likes; a list that came to nothing shows in what it knows.
            let _ = converse(stream, &cloud).await;
        });
    }
}

async fn converse(mut stream: TcpStream, cloud: &Cloud) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let first = format!("Credential={}/", user(0)).into_bytes();
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let head = loop {
            if let Some(head) = Head::read(&buffer)? {
                break head;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let whole = head.length + head.body;
        while buffer.len() < whole {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let of_first = buffer[..head.length].windows(first.len()).any(|window| window == first);
        let moved = cloud.moved.borrow().clone().filter(|_| of_first);
        let pages = moved.as_deref().unwrap_or(&cloud.pages);
        match pages.answer(&buffer[head.length..whole]) {
            Some((action, body)) => {
                *cloud.calls.borrow_mut().entry(action).or_default() += 1;
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
            None => {
                cloud.unserved.update(|count| count + 1);
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
            }
        }
        buffer.drain(..whole);
    }
}

/// The bench's end of it. The cloud ends with its owner.
pub(super) struct Provider {
    child: Child,
    line: Line,
    port: u16,
}

impl Provider {
    /// Starts this very program as cloud.
    ///
    /// # Errors
    /// When it cannot be started or does not say hello.
    pub(super) async fn start(instances: u32) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("this program is not to be found")?;
        let mut child = Command::new(program)
            .args(["bench", "provider", "--instances", &instances.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the cloud does not start")?;
        let stdout = child.stdout.take().context("a piped stdout is there")?;
        let first = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(stdout).read_line(&mut line).map(|_| line)
        });
        let hello: Hello = serde_json::from_str(&first.await??).context("the cloud did not say hello")?;
        let control = TcpStream::connect((Ipv4Addr::LOCALHOST, hello.control)).await?;
        let port = hello.receivers.first().copied().context("a cloud has a port")?;
        Ok(Self { child, line: Line::new(control), port })
    }

    pub(super) fn url(&self) -> Url {
        format!("http://127.0.0.1:{}/", self.port).parse().expect("an address is a URL")
    }

    /// Stops so many instances of the first account. Answers with the instant, in microseconds since 1970.
    pub(super) async fn stop(&mut self, count: u32) -> anyhow::Result<i64> {
        self.line.say(&Word::Stop(count)).await?;
        self.line.hear().await?.context("the cloud is gone")
    }

    /// Calls since the last time.
    pub(super) async fn calls(&mut self) -> anyhow::Result<Calls> {
        self.line.say(&Word::Count).await?;
        self.line.hear().await?.context("the cloud is gone")
    }

    /// Processor time of the cloud so far.
    pub(super) fn usage(&self) -> Usage {
        Usage::of(&self.child.id().to_string())
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It would end by itself, as its control connection does. Either way it must not stay as a zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
