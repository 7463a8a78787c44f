//! What every command that asks a Tracker takes.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use super::credentials::credentials;
use super::failure::Failure;
use super::output::{Colours, Form};
use super::server::{Server, base};
use crate::outbound::Outbound;

#[derive(Args)]
#[command(next_help_heading = "Which Tracker, as whom, shown how")]
pub(super) struct Options {
    /// Where Tracker's API is. Never with a password in it
    #[arg(long, env = "TRACKER_URL", default_value = "http://127.0.0.1:3001/api", hide_env_values = true)]
    url: String,
    /// The kind of cloud, when not the server's default: `ec2`, `mock`
    #[arg(long, value_name = "NAME")]
    driver: Option<String>,
    /// The cloud's region or address, as the driver calls it
    #[arg(long, value_name = "NAME")]
    provider: Option<String>,
    /// One of several clients of an account, each with its own hooks and place in the feed
    #[arg(long, value_name = "NAME")]
    pub(super) subscriber: Option<String>,
    /// A file with `user = "…"` and `password = "…"`, readable by you alone. Without one, TRACKER_USER and TRACKER_PASSWORD
    /// are used; a password that is not there is asked for on a terminal
    #[arg(long, env = "TRACKER_CREDENTIALS", value_name = "FILE", hide_env_values = true)]
    credentials: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Form,
    #[arg(long, value_enum, default_value_t)]
    color: Colours,
}

/// How to show what comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) form: Form,
    pub(super) colours: bool,
}

impl Options {
    pub(super) fn look(&self) -> Look {
        Look { form: self.output, colours: self.color.on_stdout() }
    }

    pub(super) fn server(&self) -> Result<Server, Failure> {
        let base = base(&self.url, self.driver.as_deref(), self.provider.as_deref())?;
        let credentials = credentials(self.credentials.as_deref())?;
        Ok(Server::new(outbound()?, base, &credentials))
    }

    /// The subscriber as a parameter, if one was named.
    pub(super) fn subscriber(&self) -> Vec<(&'static str, String)> {
        self.subscriber.iter().map(|name| ("subscriber", name.clone())).collect()
    }
}

/// For addresses that the user wrote down himself: they may lie in any network.
pub(super) fn outbound() -> Result<Arc<Outbound>, Failure> {
    let settings = crate::deliver::Settings::default().outbound();
    let guarded = Outbound::new(&settings);
    let open = guarded.and_then(|outbound| outbound.for_the_operator());
    open.map(Arc::new).map_err(|err| Failure::failed(err.to_string()))
}
