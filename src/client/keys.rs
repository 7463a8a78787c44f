//! `tracker keys`: the file with the keys that seal the store. No key is ever shown.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::EXIT_CODES;
use super::failure::Failure;
use super::output::{Cell, Colours, Form, Tone, note, table, write, write_json};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::settings::Settings;
use crate::store::{KeyAbout, KeyRing};

#[derive(Args)]
#[command(after_help = format!("Examples:\n  tracker keys list\n  tracker keys new --config /etc/tracker.toml\n\nThe file is `store.key_ring` of the settings.\n\n{EXIT_CODES}"))]
pub struct Keys {
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// The keys by their ids, and which of them seals
    List(Where),
    /// Add a key, which seals from the next start on; the older ones go on opening what they sealed
    New(Where),
    /// Say whether the key ring can be used
    Check(Where),
}

#[derive(Args)]
struct Where {
    /// The settings file, as for `tracker serve`
    #[arg(long, short, env = "TRACKER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    output: Form,
    #[arg(long, value_enum, default_value_t)]
    color: Colours,
}

impl Keys {
    pub(super) fn run(self, clock: &dyn Clock, chance: &Chance) -> Result<(), Failure> {
        let (Act::List(place) | Act::New(place) | Act::Check(place)) = &self.act;
        let settings = Settings::load(place.config.as_deref(), std::env::vars());
        let store = settings.map_err(|err| Failure::failed(err.to_string()))?.store;
        let failed = |err: crate::store::Error| Failure::failed(err.to_string());
        let path = &store.key_ring;
        if matches!(self.act, Act::New(_)) {
            let id = KeyRing::add_key(&store, chance, clock.now()).map_err(failed)?;
            note("It seals from the next start of `tracker serve` on. Keep a copy of the file, apart from the store.");
            return match place.output {
                Form::Json => write_json(&serde_json::json!({"key_ring": path, "new": id}).to_string()),
                Form::Table => write(&format!("Key {id} is added to {path}.\n")),
            };
        }
        let chance = Arc::new(Chance::from_system());
        let keys = KeyRing::about(&store, &chance).map_err(failed)?;
        let keys = keys.ok_or_else(|| {
            Failure::failed(format!("{path}: there is no key ring yet; the first start of `tracker serve` makes it"))
        })?;
        match (&self.act, place.output) {
            (Act::Check(_), Form::Table) => {
                write(&format!("{path} can be used; it has {} keys, and others cannot read it.\n", keys.len()))
            }
            (_, Form::Json) => {
                let views: Vec<_> = keys.iter().map(view).collect();
                write_json(&serde_json::json!({"key_ring": path, "keys": views}).to_string())
            }
            (_, Form::Table) => {
                let rows = keys.iter().map(row).collect();
                write(&table(&["ID", "MADE", "DOES"], rows, place.color.on_stdout()))
            }
        }
    }
}

fn view(key: &KeyAbout) -> serde_json::Value {
    serde_json::json!({"id": key.id, "made_at": key.made_at.map(|at| at.to_string()), "seals": key.seals})
}

fn row(key: &KeyAbout) -> Vec<Cell> {
    let does = if key.seals { Cell::new("seals and opens", Tone::Good) } else { Cell::plain("opens") };
    let made = key.made_at.map_or("-".to_owned(), |at| at.to_string());
    vec![Cell::plain(&key.id), Cell::plain(made), does]
}
