//! `tracker track`, `changes`, `listen` …: the command line, a client of Tracker's own HTTP API. What it does can be done
//! with `curl`; it uses no other door.
//!
//! Guarantees: passwords, tokens and secrets come from the environment, from files that only their owner can read, or from
//! the terminal, never from the arguments, which every process of the machine can see; they go out in headers and bodies, never
//! in a URL. Every failure is one sentence on stderr and one of the exit codes in [`EXIT_CODES`]. What is followed comes
//! without holes and without repeats, over restarts and broken connections.
//!
//! Accepted: whoever interrupts while nobody reads the output may see a change again when going on. Changes are forwarded at
//! least once, as callbacks are.
//!
//! Absent on purpose: forward proxies and redirects on the way to Tracker; a place for a password in a URL; a man page.

mod changes;
mod credentials;
mod deliveries;
mod failure;
mod follow;
mod forward;
mod hooks;
mod keys;
mod lanes;
mod listen;
mod options;
mod output;
mod server;
mod taker;
mod told;
mod track;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use clap_complete::Shell;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use failure::EXIT_CODES;
pub(crate) use told::{because, news};

use crate::chance::Chance;
use crate::clock::SystemClock;
use failure::{Exit, Failure};
use follow::Place;

/// The commands that ask a Tracker, and `keys`, which looks after its file.
#[derive(Subcommand)]
pub enum Client {
    /// Be told when a resource changes: set or replace its hook
    Track(track::Track),
    /// Remove a hook
    Untrack(track::Untrack),
    /// Your hooks and how far behind each is
    Hooks(hooks::Hooks),
    /// Read the feed: what was not delivered yet, or everything from a place on
    Changes(changes::Changes),
    /// Follow the feed and post each change to a local URL, signed like a callback
    Listen(listen::Listen),
    /// What became of each change for each hook
    Deliveries(deliveries::Deliveries),
    /// Send one delivery again
    Redeliver(deliveries::Redeliver),
    /// Send again what was given up since a time
    Recover(deliveries::Recover),
    /// Look after the key ring that seals the store's secrets
    Keys(keys::Keys),
}

impl Client {
    /// Runs the command to its end, or until Ctrl-C.
    pub async fn run(self) -> ExitCode {
        let place = Arc::new(Place::default());
        match signal(SignalKind::interrupt()) {
            Ok(interrupt) => tokio::spawn(interrupted(interrupt, Arc::clone(&place))),
            Err(err) => return conclude(Err(Failure::failed(format!("Ctrl-C cannot be heard: {err}")))),
        };
        let end = match self.prepare(&place) {
            // On a task of its own, as whoever waits for Ctrl-C: a stdout that nobody reads must not hold that up.
            Ok(work) => tokio::spawn(work).await.unwrap_or_else(|err| Err(Failure::failed(err.to_string()))),
            Err(failure) => Err(failure),
        };
        conclude(end)
    }

    /// What needs no server: arguments that make no sense, credentials, files.
    fn prepare(
        self,
        place: &Arc<Place>,
    ) -> Result<futures_util::future::BoxFuture<'static, Result<(), Failure>>, Failure> {
        Ok(match self {
            Self::Track(track) => Box::pin(track.prepare()?),
            Self::Untrack(untrack) => Box::pin(untrack.prepare()?),
            Self::Hooks(hooks) => Box::pin(hooks.prepare()?),
            Self::Changes(changes) => Box::pin(changes.prepare(Arc::clone(place))?),
            Self::Listen(listen) => Box::pin(listen.prepare(Arc::clone(place))?),
            Self::Deliveries(deliveries) => Box::pin(deliveries.prepare()?),
            Self::Redeliver(redeliver) => Box::pin(redeliver.prepare()?),
            Self::Recover(recover) => Box::pin(recover.prepare(&SystemClock)?),
            Self::Keys(keys) => {
                keys.run(&SystemClock, &Chance::from_system())?;
                Box::pin(async { Ok(()) })
            }
        })
    }
}

/// Waits for Ctrl-C and ends the process.
async fn interrupted(mut interrupt: Signal, place: Arc<Place>) {
    interrupt.recv().await;
    credentials::restore_terminal();
    let _silence = place.stop_telling().await;
    if let Some(seq) = place.get() {
        output::note(&format!("go on with --after {seq}"));
    }
    // Not by returning: the command may be stuck in a write, and the runtime would wait for it.
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

/// Prints a shell's completion script for the whole command line.
pub fn completions(shell: Shell, mut command: clap::Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "tracker", &mut script);
    print_text(&String::from_utf8_lossy(&script))
}

/// Prints a text to stdout. A reader that has had enough is no failure.
pub fn print_text(text: &str) -> ExitCode {
    conclude(output::write(text))
}

fn conclude(end: Result<(), Failure>) -> ExitCode {
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(text) = failure.text() {
                output::note(&format!("tracker: {text}"));
            }
            ExitCode::from(failure.exit().code())
        }
    }
}
