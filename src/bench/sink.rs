//! The receivers, in a process of their own: they count, note the instant and answer. One thread, HTTP parsed by hand, so that
//! little of what is measured is theirs.

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{LocalSet, spawn_local};

use super::wire::{Ask, Head, Hello, Line, Receipt, Receipts, Tally, seq};
use crate::clock::SystemClock;

#[derive(clap::Args)]
pub struct Args {
    /// Receivers that answer 200 at once
    #[arg(long)]
    healthy: u32,
    /// Receivers that hang, drip, reset and fail, in turn
    #[arg(long, default_value_t = 0)]
    bad: u32,
}

/// How a receiver meets its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Answers 200 at once.
    Well,
    /// Takes the request and never answers.
    Hangs,
    /// Answers 200 at one byte a second.
    Drips,
    /// Takes the request and resets the connection.
    Resets,
    /// Answers 500 at once.
    Fails,
}

impl Manner {
    pub(super) const BAD: [Self; 4] = [Self::Hangs, Self::Drips, Self::Resets, Self::Fails];

    /// Of the `index`th receiver when the first `healthy` are well.
    pub(super) fn of(index: usize, healthy: usize) -> Self {
        index.checked_sub(healthy).map_or(Self::Well, |bad| Self::BAD[bad % Self::BAD.len()])
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Hangs => "hangs",
            Self::Drips => "drips",
            Self::Resets => "resets",
            Self::Fails => "fails",
        }
    }
}

/// What the receivers write down.
#[derive(Default)]
struct Notes {
    accepted: RefCell<Vec<Receipt>>,
    requests: Vec<Cell<u64>>,
    /// Somebody waits until this many were accepted.
    wanted: Cell<usize>,
    reached: Notify,
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const FAILED: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
const DRIP_EVERY: Duration = Duration::from_secs(1);
/// How long nobody may ask for anything at first; a sink whose bench died must not stay.
const CALLED_WITHIN: Duration = Duration::from_secs(30);

/// Listens until the control connection ends.
///
/// # Errors
/// When there are no ports to be had, or nobody calls.
pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    // One thread of its own: shared counters need no locks, and a request wakes no second processor.
    let serving = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&runtime, serve(&args))
    });
    serving.await?
}

async fn serve(args: &Args) -> anyhow::Result<()> {
    let (healthy, all) = (args.healthy as usize, args.healthy as usize + args.bad as usize);
    let notes = Rc::new(Notes { requests: vec![Cell::new(0); all], ..Notes::default() });
    let mut receivers = Vec::new();
    for index in 0..all {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port for a receiver")?;
        receivers.push(listener.local_addr()?.port());
        spawn_local(accept(listener, index, Manner::of(index, healthy), Rc::clone(&notes)));
    }
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no port to be asked at")?;
    let hello = Hello { control: control.local_addr()?.port(), receivers };
    println!("{}", serde_json::to_string(&hello)?);
    std::io::stdout().flush()?;
    let called = tokio::time::timeout(CALLED_WITHIN, control.accept()).await.context("nobody called the sink")?;
    answer_asks(Line::new(called?.0), &notes).await
}

async fn answer_asks(mut line: Line, notes: &Notes) -> anyhow::Result<()> {
    while let Some(ask) = line.hear().await? {
        match ask {
            Ask::Wait { accepted, for_ms } => {
                notes.wanted.set(accepted);
                if notes.accepted.borrow().len() < accepted {
                    // Either way the tally tells.
                    let _ = tokio::time::timeout(Duration::from_millis(for_ms), notes.reached.notified()).await;
                }
                let accepted = notes.accepted.borrow().len();
                line.say(&Tally { accepted }).await?;
            }
            Ask::Collect => {
                let requests = notes.requests.iter().map(Cell::get).collect();
                let accepted = notes.accepted.borrow().clone();
                line.say(&Receipts { accepted, requests }).await?;
            }
        }
    }
    Ok(())
}

async fn accept(listener: TcpListener, index: usize, manner: Manner, notes: Rc<Notes>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of sockets: others will let go of theirs.
            tokio::task::yield_now().await;
            continue;
        };
        let notes = Rc::clone(&notes);
        spawn_local(async move {
            // The other side may hang up whenever it likes; what then is missing is seen at the end.
            let _ = converse(stream, index, manner, &notes).await;
        });
    }
}

async fn converse(mut stream: TcpStream, index: usize, manner: Manner, notes: &Notes) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
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
        notes.requests[index].update(|count| count + 1);
        match manner {
            Manner::Well => {
                if let (Some(hook), Some(seq)) = (head.hook, seq(&buffer[head.length..whole])) {
                    notes.accept(Receipt { hook, seq, at_us: SystemClock::micros() });
                }
                stream.write_all(OK).await?;
            }
            Manner::Fails => stream.write_all(FAILED).await?,
            Manner::Resets => {
                stream.set_zero_linger()?;
                return Ok(());
            }
            Manner::Hangs => {
                // Until the other side gives up.
                while stream.read(&mut [0; 64]).await? > 0 {}
                return Ok(());
            }
            Manner::Drips => {
                let mut ticks = tokio::time::interval(DRIP_EVERY);
                for byte in OK {
                    ticks.tick().await;
                    stream.write_all(std::slice::from_ref(byte)).await?;
                }
            }
        }
        buffer.drain(..whole);
    }
}

impl Notes {
    fn accept(&self, receipt: Receipt) {
        let mut accepted = self.accepted.borrow_mut();
        accepted.push(receipt);
        if accepted.len() == self.wanted.get() {
            self.reached.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bad_manners_take_turns_behind_the_healthy_receivers() {
        let manners: Vec<_> = (0..7).map(|index| Manner::of(index, 2).as_str()).collect();
        assert_eq!(manners, ["well", "well", "hangs", "drips", "resets", "fails", "hangs"]);
    }
}
