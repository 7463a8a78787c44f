//! `tracker hooks`.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;
use serde_json::value::RawValue;

use super::EXIT_CODES;
use super::deliveries::pages;
use super::failure::Failure;
use super::options::{Look, Options};
use super::output::{Cell, Form, Tone, table, write, write_json};
use super::server::Server;

#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = format!("Examples:\n  tracker hooks\n  tracker hooks hook_01a1…\n  tracker hooks test hook_01a1…\n  tracker hooks enable hook_01a1…\n\n{EXIT_CODES}")
)]
pub struct Hooks {
    #[command(subcommand)]
    act: Option<Act>,
    /// One hook, with everything that is known of it
    id: Option<String>,
    /// Hooks on this collection only, or on members of it
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Act {
    /// Post a signed event that is no change, and say what the receiver answered
    Test(One),
    /// Call a disabled hook again
    Enable(One),
    /// Send how everything on the hook stands now
    Resync(One),
    /// Remove the hook
    Remove(One),
}

#[derive(Args)]
struct One {
    id: String,
    #[command(flatten)]
    options: Options,
}

impl Hooks {
    pub(super) fn prepare(self) -> Result<impl Future<Output = Result<(), Failure>>, Failure> {
        let options = match &self.act {
            Some(Act::Test(one) | Act::Enable(one) | Act::Resync(one) | Act::Remove(one)) => &one.options,
            None => &self.options,
        };
        let (server, look) = (options.server()?, options.look());
        let mut query = options.subscriber();
        query.extend(self.collection.map(|name| ("collection", name)));
        Ok(async move {
            match (self.act, self.id) {
                (Some(act), _) => act.run(&server, look).await,
                (None, Some(id)) => {
                    let answer = server.get(&["hooks", &id], &vec![]).await?;
                    print(&answer.json()?, look)
                }
                (None, None) => {
                    let hooks = pages(&server, "hooks", query, usize::MAX).await?.items;
                    list(&hooks, look)
                }
            }
        })
    }
}

impl Act {
    async fn run(self, server: &Server, look: Look) -> Result<(), Failure> {
        let (verb, one) = match self {
            Self::Test(one) => ("test", one),
            Self::Enable(one) => ("enable", one),
            Self::Resync(one) => ("resync", one),
            Self::Remove(one) => {
                server.send(Method::DELETE, &["hooks", &one.id], &vec![]).await?;
                return match look.form {
                    Form::Json => write_json(&serde_json::json!({"id": one.id, "removed": true}).to_string()),
                    Form::Table => write(&format!("{} is removed.\n", one.id)),
                };
            }
        };
        let answer: Value = server.send(Method::POST, &["hooks", &one.id, verb], &vec![]).await?.json()?;
        print(&answer, look)?;
        let took_it = answer["status"].as_u64().is_some_and(|status| (200..300).contains(&status));
        if verb == "test" && !took_it {
            let why = answer["error"].as_str().unwrap_or("it gave no reason");
            return Err(Failure::failed(format!("the receiver did not take the test: {why}")));
        }
        Ok(())
    }
}

fn list(hooks: &[Box<RawValue>], look: Look) -> Result<(), Failure> {
    if look.form == Form::Json {
        return write_json(&super::deliveries::array(hooks));
    }
    let rows = hooks.iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).map(|hook| row(&hook)).collect();
    write(&table(&["ID", "SUBSCRIBER", "ON", "CALLBACK", "WAITING", "LAG", "STATE"], rows, look.colours))
}

fn row(hook: &Value) -> Vec<Cell> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let scope = &hook["scope"];
    let on = match text(&scope["kind"]).as_str() {
        "member" => format!("{}/{}", text(&scope["collection"]), text(&scope["id"])),
        "collection" => text(&scope["collection"]),
        other => other.to_owned(),
    };
    let more = if hook["waiting_more"] == Value::Bool(true) { "+" } else { "" };
    let lag = hook["lag_seconds"].as_u64().unwrap_or_default();
    let state = if hook["disabled"].is_object() {
        Cell::new("disabled", Tone::Bad)
    } else if hook["ended_at"].is_string() {
        Cell::new("ended", Tone::Faint)
    } else if hook["failing_since"].is_string() {
        Cell::new("failing", Tone::Bad)
    } else {
        Cell::new("good", Tone::Good)
    };
    vec![
        Cell::plain(text(&hook["id"])),
        Cell::plain(text(&hook["subscriber"])),
        Cell::plain(on),
        Cell::plain(text(&hook["hook"])),
        Cell::plain(format!("{}{more}", hook["waiting"])),
        Cell::plain(length(lag)),
        state,
    ]
}

/// `45s`, `12m`, `3h`, `2d`.
fn length(seconds: u64) -> String {
    match seconds {
        0..=99 => format!("{seconds}s"),
        100..=5_999 => format!("{}m", seconds / 60),
        6_000..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// One document: as it is, or a line for each of its parts.
pub(super) fn print(document: &Value, look: Look) -> Result<(), Failure> {
    if look.form == Form::Json {
        return write_json(&document.to_string());
    }
    let mut shown = String::new();
    for (key, value) in document.as_object().into_iter().flatten() {
        let value = match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        shown.push_str(&format!("{key:<14} {}\n", Cell::plain(value).shown(look.colours)));
    }
    write(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_is_a_row() {
        let check = |more: Value, expected: &str| {
            let mut hook = serde_json::json!({
                "id": "hook_1", "subscriber": "ci", "scope": {"kind": "member", "collection": "instances", "id": "i-7"},
                "hook": "http://h/cb", "waiting": 3, "lag_seconds": 130, "disabled": null, "failing_since": null,
            });
            hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let shown: Vec<String> = row(&hook).iter().map(|cell| cell.shown(false)).collect();
            assert_eq!(shown.join(" "), expected);
        };
        check(serde_json::json!({}), "hook_1 ci instances/i-7 http://h/cb 3 2m good");
        check(
            serde_json::json!({"scope": {"kind": "collection", "collection": "realms"}, "waiting_more": true}),
            "hook_1 ci realms http://h/cb 3+ 2m good",
        );
        check(
            serde_json::json!({"scope": {"kind": "account"}, "failing_since": "x"}),
            "hook_1 ci account http://h/cb 3 2m failing",
        );
        check(
            serde_json::json!({"disabled": {"at": "x", "reason": "410"}}),
            "hook_1 ci instances/i-7 http://h/cb 3 2m disabled",
        );
    }

    #[test]
    fn lengths_of_time_are_short() {
        let check = |seconds, expected: &str| assert_eq!(length(seconds), expected);
        check(0, "0s");
        check(99, "99s");
        check(100, "1m");
        check(6_000, "1h");
        check(172_800, "2d");
    }
}
