//! `tracker bench`: how fast and how fairly this machine delivers, and what it would allow.
//!
//! Changes are injected where the poller hands them over (`commit_sample`) and go through the real store, the real engine and
//! real connections to a *sink*: a child process with receivers on loopback that answer at once or, for the fairness run,
//! misbehave as told. Both processes share the machine's processors, which is why the sink parses by hand and its share is
//! shown apart.
//!
//! Guarantees: what was lost, came twice or came out of order per hook and resource is counted in every run, and a run that
//! found any fails; the store is as durable as in service and lies in a temporary folder; settings come from the file and the
//! environment as for `tracker serve`, so that what they do can be measured.
//!
//! Accepted: instants are wall-clock microseconds, as two processes share no other clock here, so a clock that is set
//! during a run spoils its latencies. A change may arrive before its commit was seen to return; that counts as 0.
//!
//! `bench poll` measures the other end: the real driver, poller and store against a cloud in a process of its own that answers what
//! was recorded. Its hands are turned by the bench: only what it stores is of that time, what it reports is measured.
//!
//! `bench realms` is another matter: a simulation that measures no machine, but the rules by which realms are judged.
//!
//! Absent on purpose: TLS, distance, and receivers that take their time without being broken.

mod cloud;
mod deliver;
mod fairness;
mod follow;
mod limits;
mod measure;
mod pages;
mod poll;
mod provider;
mod readers;
mod realms;
mod receipts;
mod remote;
mod rig;
mod sink;
mod wire;

use std::path::PathBuf;

use serde::Serialize;

use crate::settings::Settings;

/// What to measure, as asked on the command line.
#[derive(clap::Subcommand)]
pub enum Bench {
    /// Deliveries a second, latency, processor time and memory, beside the limits of client and store
    Deliver(deliver::Args),
    /// What receivers that hang, drip, reset and fail cost the healthy ones beside them
    Fairness(fairness::Args),
    /// How soon all who follow an account hear of a change, and what they cost
    Follow(follow::Args),
    /// What looking at a cloud costs where nothing happens, and how soon it is known when something does
    Poll(poll::Args),
    /// How often realms are called unavailable wrongly, and how soon rightly: a simulation, beside simpler rules
    Realms(realms::Args),
    /// The cloud, in a process of its own
    #[command(hide = true)]
    Provider(provider::Args),
    /// Those who follow, in a process of their own
    #[command(hide = true)]
    Readers(readers::Args),
    /// The receivers, in a process of their own
    #[command(hide = true)]
    Sink(sink::Args),
}

/// What both runs take.
#[derive(clap::Args)]
struct Common {
    /// How to print what was found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// The folder for the temporary store; what it lies on decides what a commit costs
    #[arg(long)]
    folder: Option<PathBuf>,
    /// The settings file; the store and the networks allowed are set by the bench
    #[arg(long, short, env = "TRACKER_CONFIG")]
    config: Option<PathBuf>,
    /// What is logged to stderr. The service's default, `info`, writes a line for each delivery
    #[arg(long, default_value = "error")]
    log: String,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Bench {
    /// # Errors
    /// When something needed cannot be had, and when a promise was broken: a delivery lost, repeated or out of order.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Deliver(args) => deliver::run(&args).await,
            Self::Fairness(args) => fairness::run(&args).await,
            Self::Follow(args) => follow::run(&args).await,
            Self::Poll(args) => poll::run(&args).await,
            Self::Provider(args) => provider::run(args).await,
            Self::Realms(args) => realms::run(args).await,
            Self::Readers(args) => readers::run(args).await,
            Self::Sink(args) => sink::run(args).await,
        }
    }
}

impl Common {
    /// Logs as asked, and the settings as `serve` would have them.
    fn begin(&self) -> anyhow::Result<Settings> {
        let filter = tracing_subscriber::EnvFilter::try_new(&self.log)?;
        tracing_subscriber::fmt()
            .fmt_fields(crate::log::OneLine)
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
        Ok(Settings::load(self.config.as_deref(), std::env::vars())?)
    }

    fn print(&self, report: &(impl Serialize + std::fmt::Display)) -> anyhow::Result<()> {
        match self.format {
            Format::Text => println!("{report}"),
            Format::Json => println!("{}", serde_json::to_string_pretty(report)?),
        }
        Ok(())
    }
}
