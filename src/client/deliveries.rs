//! `tracker deliveries`, `redeliver` and `recover`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::Value;
use serde_json::value::RawValue;

use super::EXIT_CODES;
use super::failure::Failure;
use super::hooks::print;
use super::options::{Look, Options};
use super::output::{Cell, Form, Progress, Tone, note, table, write, write_json};
use super::server::{Params, Server};
use crate::clock::Clock;

#[derive(Args)]
#[command(after_help = format!("Examples:
  tracker deliveries --state exhausted --since 2h
  tracker deliveries --resource i-7 --output json
  tracker deliveries hook_01a1….17

{EXIT_CODES}"))]
pub struct Deliveries {
    /// One delivery with all its attempts
    #[arg(conflicts_with_all = ["hook", "state", "collection", "resource", "since", "until", "all"])]
    id: Option<String>,
    /// Of this hook
    #[arg(long, value_name = "ID")]
    hook: Option<String>,
    #[arg(long, value_enum)]
    state: Option<State>,
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Of the resource with this id
    #[arg(long, value_name = "ID")]
    resource: Option<String>,
    /// An instant (2026-11-21T10:00:00Z), or how long ago (2h, 3d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The newest so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// All there are, however many
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Waiting,
    Delivered,
    Read,
    Exhausted,
    Dropped,
    Merged,
}

#[derive(Args)]
#[command(after_help = format!("Example:\n  tracker redeliver hook_01a1….17\n\n{EXIT_CODES}"))]
pub struct Redeliver {
    /// As `tracker deliveries` shows it
    id: String,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
#[command(after_help = format!("Examples:\n  tracker recover hook_01a1… --since 2h\n  tracker recover hook_01a1… --since 2026-11-21T10:00:00Z --all\n\n{EXIT_CODES}"))]
pub struct Recover {
    /// The hook
    hook: String,
    /// An instant (2026-11-21T10:00:00Z), or how long ago (2h, 3d)
    #[arg(long, value_name = "TIME")]
    since: String,
    /// Also what was delivered, for a receiver that lost what it had
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    options: Options,
}

impl Deliveries {
    pub(super) fn prepare(self) -> Result<impl Future<Output = Result<(), Failure>>, Failure> {
        let now = crate::clock::SystemClock.now();
        let mut query = self.options.subscriber();
        let state = self.state.and_then(|state| state.to_possible_value()).map(|value| value.get_name().to_owned());
        let since = self.since.as_deref().map(|text| instant(text, now)).transpose()?;
        let until = self.until.as_deref().map(|text| instant(text, now)).transpose()?;
        let filters = [
            ("hook", self.hook),
            ("state", state),
            ("collection", self.collection),
            ("resource", self.resource),
            ("since", since),
            ("until", until),
        ];
        query.extend(filters.into_iter().filter_map(|(name, value)| Some((name, value?))));
        let most = if self.all { usize::MAX } else { usize::try_from(self.limit).unwrap_or(usize::MAX) };
        let (server, look) = (self.options.server()?, self.options.look());
        Ok(async move {
            if let Some(id) = self.id {
                let answer: Value = server.get(&["deliveries", &id], &vec![]).await?.json()?;
                return one(&answer, look);
            }
            let Items { items, more } = pages(&server, "deliveries", query, most).await?;
            if look.form == Form::Json {
                write_json(&array(&items))?;
            } else {
                let values = items.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok());
                let rows = values.map(|delivery| row(&delivery)).collect();
                let head = ["ID", "RESOURCE", "TYPE", "STATE", "TRIES", "CREATED", "LAST"];
                write(&table(&head, rows, look.colours))?;
            }
            if more {
                note("There are more: raise --limit, or ask for --all.");
            }
            Ok(())
        })
    }
}

impl Redeliver {
    pub(super) fn prepare(self) -> Result<impl Future<Output = Result<(), Failure>>, Failure> {
        let (server, look) = (self.options.server()?, self.options.look());
        Ok(async move {
            let path = ["deliveries", &self.id, "redeliver"];
            let answer: Value = server.send(Method::POST, &path, &vec![]).await?.json()?;
            match look.form {
                Form::Json => write_json(&answer.to_string()),
                Form::Table => write(&format!("{} is sent again, in its place.\n", self.id)),
            }
        })
    }
}

impl Recover {
    pub(super) fn prepare(self, clock: &dyn Clock) -> Result<impl Future<Output = Result<(), Failure>>, Failure> {
        let since = instant(&self.since, clock.now())?;
        let (server, look) = (self.options.server()?, self.options.look());
        let what = if self.all { "all" } else { "exhausted" };
        Ok(async move {
            let form = vec![("since", since.clone()), ("what", what.to_owned())];
            let progress = Progress::new();
            progress.at("recovering …");
            let answer = server.send(Method::POST, &["hooks", &self.hook, "recover"], &form).await;
            drop(progress);
            let answer: Value = answer?.json()?;
            match look.form {
                Form::Json => write_json(&answer.to_string())?,
                Form::Table => write(&format!("{} deliveries since {since} are sent again.\n", answer["count"]))?,
            }
            if answer["more"] == Value::Bool(true) {
                note("There are more than one recovery takes: ask again when these are done.");
            }
            Ok(())
        })
    }
}

/// An instant, or a length of time before `now`.
fn instant(text: &str, now: Timestamp) -> Result<String, Failure> {
    let ago = || text.parse::<SignedDuration>().ok().or_else(|| days(text)).filter(SignedDuration::is_positive);
    let at = text.parse::<Timestamp>().ok().or_else(|| now.checked_sub(ago()?).ok());
    at.map(|at| at.to_string()).ok_or_else(|| {
        Failure::usage(format!(
            "`{text}` is no time: right is an instant like 2026-11-21T10:00:00Z, or how long ago, like 2h or 3d"
        ))
    })
}

/// A day is not always as long as another, but here it is.
fn days(text: &str) -> Option<SignedDuration> {
    let days: i64 = text.strip_suffix('d')?.parse().ok()?;
    SignedDuration::try_from(Duration::from_secs(u64::try_from(days.checked_mul(86_400)?).ok()?)).ok()
}

/// Members of a collection, each as it came.
pub(super) struct Items {
    pub(super) items: Vec<Box<RawValue>>,
    /// There are more than were asked for.
    pub(super) more: bool,
}

/// The most that one page is asked for.
const PAGE_MAX: usize = 1_000;

/// Page after page, until there is no more or `most` are there.
pub(super) async fn pages(server: &Server, path: &str, query: Params, most: usize) -> Result<Items, Failure> {
    let mut items: Vec<Box<RawValue>> = vec![];
    let progress = Progress::new();
    let mut place: Option<(String, String)> = None;
    loop {
        let mut asked = query.clone();
        asked.push(("limit", most.saturating_sub(items.len()).min(PAGE_MAX).to_string()));
        match &place {
            Some((name, at)) if name == "before" => asked.push(("before", at.clone())),
            Some((_, at)) => asked.push(("after", at.clone())),
            None => {}
        }
        let answer = server.get(&[path], &asked).await?;
        let page: Vec<Box<RawValue>> = answer.json()?;
        items.extend(page);
        let next =
            answer.next().and_then(|pairs| pairs.into_iter().find(|(name, _)| name == "before" || name == "after"));
        // A place that does not move would be asked for again and again.
        let next = next.filter(|next| place.as_ref() != Some(next));
        if next.is_none() || items.len() >= most {
            let more = next.is_some() || items.len() > most;
            items.truncate(most);
            return Ok(Items { items, more });
        }
        progress.at(&format!("{} {path} …", items.len()));
        place = next;
    }
}

/// One JSON document, a member a line.
pub(super) fn array(items: &[Box<RawValue>]) -> String {
    let members: Vec<&str> = items.iter().map(|item| item.get()).collect();
    format!("[{}]", members.join(",\n"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `2026-11-21 10:15:02`
fn second(value: &Value) -> String {
    text(value).chars().take(19).map(|c| if c == 'T' { ' ' } else { c }).collect()
}

fn row(delivery: &Value) -> Vec<Cell> {
    let state = text(&delivery["state"]);
    let tone = match state.as_str() {
        "delivered" | "read" => Tone::Good,
        "exhausted" => Tone::Bad,
        "waiting" => Tone::Strong,
        _ => Tone::Faint,
    };
    let last = &delivery["last_attempt"];
    let last = match (last["status"].as_u64(), last["error"].as_str()) {
        (Some(status), _) => status.to_string(),
        (None, Some(error)) => error.to_owned(),
        (None, None) => "-".to_owned(),
    };
    let resource = &delivery["resource"];
    vec![
        Cell::plain(text(&delivery["id"])),
        Cell::plain(format!("{}/{}", text(&resource["collection"]), text(&resource["id"]))),
        Cell::plain(text(&delivery["type"])),
        Cell::new(state, tone),
        Cell::plain(delivery["attempts"].to_string()),
        Cell::plain(second(&delivery["created_at"])),
        Cell::plain(last),
    ]
}

fn one(delivery: &Value, look: Look) -> Result<(), Failure> {
    if look.form == Form::Json {
        return print(delivery, look);
    }
    let mut rest = delivery.clone();
    let tries = rest.as_object_mut().and_then(|object| object.remove("tries")).unwrap_or_default();
    print(&rest, look)?;
    let rows = tries.as_array().into_iter().flatten().map(|attempt| {
        let status = attempt["status"].as_u64().map_or("-".to_owned(), |status| status.to_string());
        vec![
            Cell::plain(attempt["number"].to_string()),
            Cell::plain(second(&attempt["at"])),
            Cell::plain(format!("{} ms", attempt["elapsed_ms"])),
            Cell::plain(status),
            Cell::plain(text(&attempt["error"])),
            Cell::plain(text(&attempt["answer_line"])),
        ]
    });
    write(&format!("\n{}", table(&["TRY", "AT", "TOOK", "STATUS", "ERROR", "ANSWER"], rows.collect(), look.colours)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_an_instant_or_how_long_ago() {
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(instant(text, now).ok().as_deref(), expected, "{text}");
        };
        check("2026-11-20T10:00:00Z", Some("2026-11-20T10:00:00Z"));
        check("2026-11-20T10:00:00+02:00", Some("2026-11-20T08:00:00Z"));
        check("2h", Some("2026-11-21T08:00:00Z"));
        check("1h30m", Some("2026-11-21T08:30:00Z"));
        check("3d", Some("2026-11-18T10:00:00Z"));
        for bad in ["", "yesterday", "-2h", "0s", "2026-11-20", "99999999999999999d"] {
            check(bad, None);
        }
    }

    #[test]
    fn a_delivery_is_a_row() {
        let delivery = serde_json::json!({
            "id": "hook_1.17", "type": "instance.state", "state": "exhausted", "attempts": 9,
            "resource": {"collection": "instances", "id": "i-7"}, "created_at": "2026-11-21T10:00:00.000Z",
            "last_attempt": {"at": "x", "status": 503, "error": "the receiver answered 503"},
        });
        let shown: Vec<String> = row(&delivery).iter().map(|cell| cell.shown(false)).collect();
        assert_eq!(shown.join(" "), "hook_1.17 instances/i-7 instance.state exhausted 9 2026-11-21 10:00:00 503");
    }
}
