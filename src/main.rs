//! Settings, store, drivers, tasks, server: read, open, start, stop. Nothing is decided here.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use tokio::net::TcpListener;
use tracing::{info, warn};
use tracker::chance::Chance;
use tracker::client::{self, Client, EXIT_CODES};
use tracker::clock::SystemClock;
use tracker::drivers::Drivers;
use tracker::log::OneLine;
use tracker::service::{self, Parts, Service};
use tracker::settings::{self, LogFormat, Settings};
use tracker::store::{self, KeyRing};

/// Watches clouds and tells you what changed.
#[derive(Parser)]
#[command(version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the API, poll the clouds, deliver the callbacks
    Serve {
        /// The settings file; without one the defaults and the environment decide
        #[arg(long, short, env = "TRACKER_CONFIG")]
        config: Option<PathBuf>,
    },
    /// See it work: a lively mock cloud, a receiver, every callback printed. Nothing is kept
    Demo {
        /// The port to listen on; 0 takes any free one
        #[arg(long, default_value_t = 3001)]
        port: u16,
        /// The dice of the mock cloud: the same number, the same throws
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure on this machine how fast and how fairly changes are delivered. Nothing is kept
    #[command(subcommand)]
    Bench(tracker::bench::Bench),
    /// Say whether the settings are right, and start nothing
    CheckConfig {
        #[arg(long, short, env = "TRACKER_CONFIG")]
        config: Option<PathBuf>,
        /// Print a settings file with every key, its default and a comment
        #[arg(long)]
        print: bool,
    },
    #[command(flatten)]
    Client(Box<Client>),
    /// Print the description of the API, in OpenAPI 3.1
    Openapi,
    /// Print the completion script of a shell: `tracker completions bash > /etc/bash_completion.d/tracker`
    Completions { shell: Shell },
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve { config } => serve(config).await,
        Command::Demo { port, seed } => tracker::demo::run(port, seed, asked_to_stop()).await,
        Command::Bench(bench) => bench.run().await,
        Command::CheckConfig { print: true, .. } => return client::print_text(settings::COMMENTED),
        Command::CheckConfig { config, print: false } => check_config(config),
        Command::Client(client) => return client.run().await,
        Command::Openapi => return client::print_text(tracker::api::OPENAPI),
        Command::Completions { shell } => return client::completions(shell, Cli::command()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("tracker: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn check_config(config: Option<PathBuf>) -> anyhow::Result<()> {
    Settings::load(config.as_deref(), std::env::vars())?;
    println!("The settings are right.");
    Ok(())
}

async fn serve(config: Option<PathBuf>) -> anyhow::Result<()> {
    let settings = Settings::load(config.as_deref(), std::env::vars())?;
    log_to_stderr(&settings.log);
    raise_open_files();
    let (clock, chance) = (Arc::new(SystemClock), Arc::new(Chance::from_system()));
    let keys = KeyRing::load_or_create(&settings.store, &chance)?;
    let store = store::open(&settings.store, keys).await?;
    let outbound = service::drivers_outbound(&settings).context("drivers")?;
    let drivers = Drivers::new(&settings.drivers, &outbound, clock.clone(), chance.clone());
    let parts = Parts::new(&settings, store, drivers, clock, chance)?;
    let listen = &settings.api.listen;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("api.listen {listen}"))?;
    let service = Service::start(&settings, parts, listener).await?;
    info!("Tracker {} answers on http://{}/api", env!("CARGO_PKG_VERSION"), service.address);
    asked_to_stop().await?;
    info!("Stopping");
    service.stop().await;
    Ok(())
}

/// Each connection, in and out, is an open file, and shells give a process few: it takes what it may have.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(err) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        warn!("No more than {current:?} files may be open, as the system refuses more: {err}");
    }
}

fn log_to_stderr(log: &settings::Log) {
    let mut filter = tracing_subscriber::EnvFilter::new(&log.filter);
    // Clients tell where the proxy is, which is a secret, and what else they tell of connections, attempts tell better.
    for client in ["reqwest::connect=warn", "hyper_util::client::legacy::connect=warn"] {
        filter = filter.add_directive(client.parse().expect("this is a filter"));
    }
    // A line that cannot be written (the disk is full) is lost. Complaining of it on the same stderr would panic.
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .log_internal_errors(false);
    match log.format {
        LogFormat::Text => subscriber.fmt_fields(OneLine).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}

/// Ctrl-C, or the signal by which service managers stop things.
async fn asked_to_stop() -> anyhow::Result<()> {
    let mut terminated = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed?,
        _ = terminated.recv() => {}
    }
    Ok(())
}
