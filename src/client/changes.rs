//! `tracker changes`.

use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use super::EXIT_CODES;
use super::failure::Failure;
use super::follow::{Follow, Place, READER, Told, told};
use super::options::{Look, Options};
use super::output::{Form, harmless_json, note, write};
use super::server::{Params, Server};
use super::told::line;

#[derive(Args)]
#[command(after_help = format!("Examples:
  tracker changes                                 what was not delivered yet; now it is
  tracker changes --after 0 --limit 20            the log from its beginning
  tracker changes --follow                        from now on, until Ctrl-C
  tracker changes --follow --after 4711 --output json | jq .to.state

Without --after and --follow it shows what is owed to the subscriber and was not delivered yet, and that counts as
delivered when it is read, also by callbacks that wait. With them it reads the log, and that takes nothing from anybody,
unless --subscriber names one: what lies before the place it asks from then counts as delivered to that one.

{EXIT_CODES}"))]
pub struct Changes {
    /// Go on for ever, from --after or from now on
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    which: Which,
    /// So many at most
    #[arg(long, value_name = "N", conflicts_with = "follow", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: Option<u32>,
    #[command(flatten)]
    options: Options,
}

/// Where to begin, and which changes.
#[derive(Args)]
pub(super) struct Which {
    /// Everything after this number, delivered or not
    #[arg(long, value_name = "SEQ", allow_negative_numbers = true)]
    pub(super) after: Option<u64>,
    /// Of this collection: `instances`, `realms` …
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Of the resource with this id
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// Of this type: `instance.state`
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Of resources in this realm
    #[arg(long, value_name = "ID")]
    realm: Option<String>,
    /// When following: if what comes next is no longer kept, go on from the oldest that is
    #[arg(long)]
    pub(super) from_oldest: bool,
}

impl Which {
    /// The filters as parameters.
    pub(super) fn filters(&self) -> Params {
        let filters = [
            ("collection", &self.collection),
            ("resource", &self.resource),
            ("type", &self.kind),
            ("realm", &self.realm),
        ];
        filters.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }
}

/// Who reads the log: the one that was named, or one to whom nothing is owed.
pub(super) fn reader(options: &Options) -> Params {
    match options.subscriber() {
        named if named.is_empty() => nobody(),
        named => named,
    }
}

/// One to whom nothing is owed.
pub(super) fn nobody() -> Params {
    vec![("subscriber", READER.to_owned())]
}

impl Changes {
    pub(super) fn prepare(self, place: Arc<Place>) -> Result<impl Future<Output = Result<(), Failure>>, Failure> {
        let (server, look) = (self.options.server()?, self.options.look());
        let logged = self.follow || self.which.after.is_some();
        let mut question = if logged { reader(&self.options) } else { self.options.subscriber() };
        question.extend(self.which.filters());
        Ok(async move {
            if self.follow {
                let follow =
                    Follow::begin(Arc::new(server), question, self.which.after, self.which.from_oldest).await?;
                return print_for_ever(follow, &place, look).await;
            }
            question.extend(self.which.after.map(|after| ("after", after.to_string())));
            question.extend(self.limit.map(|limit| ("limit", limit.to_string())));
            once(&server, &question, self.which.after, look).await
        })
    }
}

async fn once(server: &Server, question: &Params, after: Option<u64>, look: Look) -> Result<(), Failure> {
    let answer = server.get(&["changes"], question).await?;
    let changes = told(&answer)?;
    match look.form {
        Form::Json => {
            let members: Vec<&str> = changes.iter().map(|told| told.raw.get()).collect();
            written(harmless_json(&format!("[{}]\n", members.join(",\n"))), &changes, after)?;
        }
        Form::Table => {
            if changes.is_empty() {
                note(if after.is_some() { "Nothing came after it." } else { "Everything was delivered." });
            }
            let lines: String = changes.iter().map(|told| shown(told, look)).collect();
            written(lines, &changes, after)?;
        }
    }
    if answer.next().is_some() {
        match answer.seq().filter(|_| after.is_some()) {
            Some(seq) => note(&format!("There are more: go on with --after {seq}.")),
            None => note("There are more: ask again."),
        }
    }
    Ok(())
}

/// What was owed was read, and is owed no more, when it turns out that it cannot be shown: then where it is to be found.
fn written(text: String, changes: &[Told], after: Option<u64>) -> Result<(), Failure> {
    let shown = write(&text);
    if let (Err(_), None, Some(first)) = (&shown, after, changes.first()) {
        note(&format!(
            "tracker: what could not be shown counts as delivered; it is in the log: tracker changes --after {}",
            first.seq.saturating_sub(1)
        ));
    }
    shown
}

/// Prints whatever comes, until it is interrupted or nobody reads.
pub(super) async fn print_for_ever(mut follow: Follow, place: &Place, look: Look) -> Result<(), Failure> {
    place.set(follow.after());
    loop {
        let page = follow.next().await?;
        for told in &page.changes {
            place.tell(told.seq, || write(&shown(told, look)))?;
        }
        place.set(page.through);
    }
}

/// A change in a line of its own.
pub(super) fn shown(told: &Told, look: Look) -> String {
    match look.form {
        // JSON has no line breaks but between its parts.
        Form::Json => format!("{}\n", harmless_json(&told.raw.get().replace(['\n', '\r'], " "))),
        Form::Table => {
            let change: Value = serde_json::from_str(told.raw.get()).unwrap_or_default();
            format!("{}\n", line(&change, look.colours))
        }
    }
}
