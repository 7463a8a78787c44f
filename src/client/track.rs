//! `tracker track` and `untrack`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::Value;
use url::Url;

use super::EXIT_CODES;
use super::credentials::secret_in;
use super::failure::Failure;
use super::options::Options;
use super::output::{Cell, Form, Tone, note, table, write, write_json};
use super::server::{Params, refuse_password};
use crate::model::{Collection, ExposeSecret as _};

const EXAMPLES: &str = "\
Examples:
  tracker track instances/42 --hook https://me.example/cb
  tracker track instances --hook https://me.example/cb --mode latest --events state,gone
  tracker track realms/us --feed --subscriber ci
  tracker track account --hook https://me.example/cb --secret-out hook.secret
  tracker track instances/42 --hook https://me.example/cb --rotate-secret";

#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub struct Track {
    /// `instances`, `instances/42`, `realms/us`, `images/img1` …, or `account`
    target: String,
    #[command(flatten)]
    hook: Callback,
    /// A file with a token that comes back unchanged in every callback; `-` is stdin
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with your own signing secret, `whsec_…`; `-` is stdin. Without one Tracker makes one and shows it once
    #[arg(long, value_name = "FILE", conflicts_with = "rotate_secret")]
    secret_file: Option<PathBuf>,
    /// Make a new signing secret; the old one signs beside it for a day
    #[arg(long)]
    rotate_secret: bool,
    /// Write a new secret to this file, readable by you alone, and do not show it
    #[arg(long, value_name = "FILE")]
    secret_out: Option<PathBuf>,
    /// `latest`: of several changes of a resource that wait, only the newest is sent
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Only these, with commas between: `state,gone`, or whole types as `instance.state`
    #[arg(long, value_name = "LIST")]
    events: Option<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Callback {
    /// Where to call back. One with a password in it belongs into a file: --hook-file
    #[arg(long, value_name = "URL")]
    hook: Option<String>,
    /// A file with the URL to call back; `-` is stdin
    #[arg(long, value_name = "FILE")]
    hook_file: Option<PathBuf>,
    /// No callback: the changes are read in the feed
    #[arg(long)]
    feed: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Each,
    Latest,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Changes,
    Cloudevents,
}

#[derive(Args)]
#[command(after_help = format!("Examples:\n  tracker untrack instances/42\n  tracker untrack account --subscriber ci\n\n{EXIT_CODES}"))]
pub struct Untrack {
    /// What was tracked: `instances/42`, `instances`, `account` …
    target: String,
    #[command(flatten)]
    options: Options,
}

impl Track {
    pub(super) fn prepare(self) -> Result<impl Future<Output = Result<(), Failure>>, Failure> {
        let path = target(&self.target)?;
        let mut form = self.options.subscriber();
        form.push(("track_hook", self.hook.value()?));
        if let Some(file) = &self.token_file {
            form.push(("track_token", secret_in(file)?.expose_secret().to_owned()));
        }
        if let Some(file) = &self.secret_file {
            form.push(("track_secret", secret_in(file)?.expose_secret().to_owned()));
        } else if self.rotate_secret {
            form.push(("track_secret", "rotate".to_owned()));
        }
        let word = |value: clap::builder::PossibleValue| value.get_name().to_owned();
        form.extend(self.mode.and_then(|mode| mode.to_possible_value()).map(|value| ("track_mode", word(value))));
        form.extend(self.format.and_then(|it| it.to_possible_value()).map(|value| ("track_format", word(value))));
        form.extend(self.events.clone().map(|list| ("track_events", list)));
        let server = self.options.server()?;
        let look = self.options.look();
        // Opened before anything is asked: a secret is shown once, and must not be lost for want of a file.
        let keep = self.secret_out.as_deref().map(Keep::open).transpose()?;
        Ok(async move {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let answer = server.send(Method::PUT, &path, &form).await?;
            let mut document: Value = answer.json()?;
            let secret = secret(&document).map(str::to_owned);
            match (keep, &secret) {
                (Some(keep), Some(secret)) => {
                    keep.write(secret)?;
                    take_secrets(&mut document);
                }
                (Some(keep), None) => {
                    note(&format!("{}: nothing was written: the secret is the one that is known", keep.path.display()));
                }
                (None, Some(_)) => {
                    note(
                        "Keep the secret: it verifies the callbacks, and is not shown again (--rotate-secret makes another).",
                    );
                }
                (None, None) => {}
            }
            match look.form {
                Form::Json => write_json(&document.to_string()),
                Form::Table => write(&shown(&document, look.colours)),
            }
        })
    }
}

impl Untrack {
    pub(super) fn prepare(self) -> Result<impl Future<Output = Result<(), Failure>>, Failure> {
        let path = target(&self.target)?;
        let server = self.options.server()?;
        let look = self.options.look();
        let mut form: Params = self.options.subscriber();
        form.push(("track_hook", "none".to_owned()));
        Ok(async move {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            server.send(Method::PUT, &path, &form).await?;
            match look.form {
                Form::Json => write_json(&serde_json::json!({"target": self.target, "tracked": false}).to_string()),
                Form::Table => write(&format!("{} is not tracked any more.\n", self.target)),
            }
        })
    }
}

impl Callback {
    fn value(&self) -> Result<String, Failure> {
        match (&self.hook, &self.hook_file) {
            (Some(hook), _) => {
                if let Ok(url) = Url::parse(hook) {
                    refuse_password(&url, "--hook", "put the URL into a file and name it with --hook-file")?;
                }
                Ok(hook.clone())
            }
            (None, Some(file)) => Ok(secret_in(file)?.expose_secret().to_owned()),
            (None, None) => Ok("feed".to_owned()),
        }
    }
}

/// The path of what is tracked, behind the API's own.
fn target(text: &str) -> Result<Vec<String>, Failure> {
    let text = text.trim_matches('/');
    if text == "account" {
        return Ok(vec![]);
    }
    let (collection, id) = text.split_once('/').map_or((text, None), |(collection, id)| (collection, Some(id)));
    if Collection::parse(collection).is_none() {
        let known = Collection::ALL.map(Collection::as_str).join(", ");
        let text = format!(
            "`{text}` cannot be tracked: right is `account`, or one of {known}, alone or with an id behind it as `instances/42`"
        );
        return Err(Failure::usage(text));
    }
    Ok([Some(collection), id].into_iter().flatten().map(str::to_owned).collect())
}

/// A file for a secret, made before the secret is.
struct Keep {
    path: PathBuf,
    file: std::fs::File,
    written: bool,
}

impl Keep {
    fn open(path: &Path) -> Result<Self, Failure> {
        // Never over another: it may be the only copy of a secret that is in use.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.map_err(|err| Failure::failed(format!("--secret-out {}: {err}", path.display())))?;
        Ok(Self { path: path.to_owned(), file, written: false })
    }

    fn write(mut self, secret: &str) -> Result<(), Failure> {
        let written = writeln!(self.file, "{secret}").and_then(|()| self.file.sync_all());
        self.written = written.is_ok();
        written.map_err(|err| {
            let path = self.path.display();
            Failure::failed(format!("{path}: {err}; the secret is lost: make another with --rotate-secret"))
        })
    }
}

impl Drop for Keep {
    fn drop(&mut self) {
        if !self.written {
            // An empty file that stays is only untidy.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// `{"instance": {…}}` and `{"instances": [{…}]}` alike: what was tracked, and by which name.
fn tracked(document: &Value) -> Vec<&Value> {
    let inner = document.as_object().and_then(|object| object.iter().find(|(name, _)| *name != TRACKING));
    match inner {
        Some((_, Value::Array(members))) => members.iter().collect(),
        Some((_, one)) => vec![one],
        None => vec![],
    }
}

const TRACKING: &str = "tracking";

/// The hook: of a whole collection beside its members, else within.
fn tracking(document: &Value) -> Option<&Value> {
    let within = || tracked(document).into_iter().find_map(|member| member.get(TRACKING));
    document.get(TRACKING).or_else(within)
}

fn secret(document: &Value) -> Option<&str> {
    tracking(document)?["secret"].as_str()
}

/// Wherever it is told.
fn take_secrets(document: &mut Value) {
    match document {
        Value::Object(object) => {
            if let Some(tracking) = object.get_mut(TRACKING).and_then(Value::as_object_mut) {
                tracking.remove("secret");
            }
            object.values_mut().for_each(take_secrets);
        }
        Value::Array(members) => members.iter_mut().for_each(take_secrets),
        _ => {}
    }
}

/// The state as it is now, and below it how it is told and, if it is new, the secret.
fn shown(document: &Value, colours: bool) -> String {
    let members = tracked(document);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut shown = String::new();
    let rows: Vec<_> = members
        .iter()
        .filter(|member| member["id"].is_string())
        .map(|member| {
            let state = Cell::new(text(&member["state"]), Tone::Strong);
            vec![Cell::plain(text(&member["id"])), state, Cell::plain(text(&member["name"]))]
        })
        .collect();
    if !rows.is_empty() {
        shown.push_str(&table(&["ID", "STATE", "NAME"], rows, colours));
        shown.push('\n');
    }
    let tracking = tracking(document);
    for (name, key) in [("callback", "hook"), ("subscriber", "subscriber"), ("secret", "secret")] {
        if let Some(value) = tracking.and_then(|tracking| tracking[key].as_str()) {
            shown.push_str(&format!("{name:<11} {}\n", Cell::plain(value).shown(colours)));
        }
    }
    if members.is_empty() { format!("Tracked; there is no member yet.\n{shown}") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_path() {
        let check = |text: &str, expected: &[&str]| assert_eq!(target(text).unwrap(), expected, "{text}");
        check("account", &[]);
        check("instances", &["instances"]);
        check("instances/42", &["instances", "42"]);
        check("/realms/us/", &["realms", "us"]);
        check("images/a/b", &["images", "a/b"]);
        for bad in ["", "instance/42", "keys", "hooks/1", "../x"] {
            let failure = target(bad).unwrap_err();
            assert!(failure.text().unwrap().contains("instances/42"), "{bad}");
        }
    }

    #[test]
    fn the_secret_is_found_shown_and_taken_out() {
        let check = |mut document: Value, expected: Option<&str>| {
            assert_eq!(secret(&document), expected);
            let is_shown = expected.is_some_and(|secret| shown(&document, false).contains(secret));
            assert_eq!(is_shown, expected.is_some());
            take_secrets(&mut document);
            assert_eq!(secret(&document), None);
            assert!(!shown(&document, false).contains("whsec_"));
        };
        let member =
            |secret: Option<&str>| serde_json::json!({"id": "i", "tracking": {"hook": "feed", "secret": secret}});
        check(serde_json::json!({"instance": member(Some("whsec_1"))}), Some("whsec_1"));
        check(serde_json::json!({"instances": [member(Some("whsec_1")), member(Some("whsec_1"))]}), Some("whsec_1"));
        check(serde_json::json!({"instances": []}), None);
        let beside =
            |members: Value| serde_json::json!({"storage_volumes": members, "tracking": {"secret": "whsec_1"}});
        check(beside(serde_json::json!([])), Some("whsec_1"));
        check(beside(serde_json::json!([member(Some("whsec_1"))])), Some("whsec_1"));
        check(serde_json::json!({"instance": member(None)}), None);
        check(Value::Null, None);
    }
}
