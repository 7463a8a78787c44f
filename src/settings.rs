//! One struct, made of one per room. Read once, from a file and then the environment, and checked before anything starts.
//!
//! The environment wins: `TRACKER_STORE__URL=sqlite:/var/lib/tracker/tracker.db` is `url` in `[store]`. Two underscores
//! stand for a dot.

use std::path::Path;

use serde::Deserialize;

use crate::{api, availability, deliver, drivers, feed, hints, poll, reads, retain, store, tasks, track};

/// The settings file with every key at its default and a comment on each.
pub const COMMENTED: &str = include_str!("settings.toml");

/// What variables begin with that hold settings. One without two underscores in it is somebody else's.
const PREFIX: &str = "TRACKER_";

/// All settings of a Tracker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub log: Log,
    pub api: api::Settings,
    pub store: store::Settings,
    pub drivers: drivers::Settings,
    pub reads: reads::Settings,
    pub track: track::Settings,
    pub poll: poll::Settings,
    pub availability: availability::Settings,
    pub hints: hints::Settings,
    pub deliver: deliver::Settings,
    pub feed: feed::Settings,
    pub retention: retain::Settings,
    pub tasks: tasks::Settings,
}

/// `[log]` of the settings file.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, or a filter by room: `info,tracker::deliver=debug`.
    pub filter: String,
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            filter: "info,tokio_cron_scheduler=warn,rustls_platform_verifier=off".to_owned(),
            format: LogFormat::Text,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}

/// What is wrong with the settings and where: file and line, or the variable's name.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

impl Settings {
    /// Reads the file, if one is named, and lays the environment over it.
    ///
    /// # Errors
    /// A file that cannot be read, a key that does not exist, a value of the wrong kind or out of its bounds.
    pub fn load(file: Option<&Path>, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self, Error> {
        let mut table = match file {
            Some(path) => read(path)?,
            None => toml::Table::new(),
        };
        let environment: Vec<_> = environment.into_iter().collect();
        if let Some(right) = environment.iter().find_map(|(name, _)| short_of_an_underscore(name)) {
            return Err(Error(right));
        }
        let mut variables: Vec<_> =
            environment.into_iter().filter_map(|(name, value)| Some((path(&name)?, value))).collect();
        variables.sort();
        for (path, value) in variables {
            lay_over(&mut table, &path, &value)?;
        }
        let settings: Self = table.try_into().map_err(|err| Error(format!("settings: {}", one_line(&err))))?;
        settings.check()?;
        Ok(settings)
    }

    /// What no type can say: bounds, cron expressions, values that must fit each other.
    ///
    /// # Errors
    /// The first setting that makes no sense, by name, and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        self.drivers.check().map_err(Error)?;
        self.store.check().map_err(Error)?;
        self.reads.check().map_err(Error)?;
        self.track.check().map_err(Error)?;
        self.tasks.check().map_err(Error)?;
        self.poll.check().map_err(Error)?;
        self.availability.check().map_err(Error)?;
        self.hints.check().map_err(Error)?;
        self.deliver.check().map_err(Error)?;
        self.feed.check().map_err(Error)?;
        self.retention.check(self.deliver.give_up_after_ms).map_err(Error)?;
        self.api.check().map_err(Error)?;
        tracing_subscriber::EnvFilter::try_new(&self.log.filter)
            .map_err(|err| Error(format!("log.filter `{}` is no filter: {err}", self.log.filter)))?;
        Ok(())
    }
}

fn read(path: &Path) -> Result<toml::Table, Error> {
    let name = path.display();
    let text = std::fs::read_to_string(path).map_err(|err| Error(format!("{name}: {err}")))?;
    // Parsed into the struct first, only because errors then name line and column.
    toml::from_str::<Settings>(&text).map_err(|err| Error(format!("{name}: {}", placed(&text, &err))))?;
    text.parse().map_err(|err: toml::de::Error| Error(format!("{name}: {}", one_line(&err))))
}

/// `TRACKER_STORE__KEY_RING` is `store`, `key_ring`.
fn path(variable: &str) -> Option<Vec<String>> {
    let name = variable.strip_prefix(PREFIX)?;
    name.contains("__").then(|| name.split("__").map(str::to_ascii_lowercase).collect())
}

/// `TRACKER_STORE_URL` would be overlooked, and another store be used. What only looks like ours (container managers set
/// `TRACKER_API_PORT` for a neighbour of that name) names no setting, and stays somebody else's.
fn short_of_an_underscore(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX).filter(|name| !name.contains("__"))?;
    let (table, key) = name.split_once('_')?;
    let mut settings = toml::Table::new();
    put(&mut settings, &[table.to_ascii_lowercase(), key.to_ascii_lowercase()], toml::Value::Boolean(true))?;
    let known = settings.try_into::<Settings>().err().is_none_or(|err| !err.message().contains("unknown field"));
    known.then(|| format!("{variable}: two underscores stand for a dot, write {PREFIX}{table}__{key}"))
}

/// A value is read as TOML where it is TOML, and as plain text otherwise, so that nobody has to quote a path.
fn lay_over(table: &mut toml::Table, path: &[String], value: &str) -> Result<(), Error> {
    let variable = || format!("{PREFIX}{}", path.join("__").to_ascii_uppercase());
    let parsed = format!("value = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
    let text = toml::Value::String(value.to_owned());
    let mut last = None;
    for value in parsed.into_iter().chain([text]) {
        let mut alone = toml::Table::new();
        put(&mut alone, path, value.clone()).ok_or_else(|| Error(format!("{}: not a setting", variable())))?;
        match alone.try_into::<Settings>() {
            Ok(_) => {
                return put(table, path, value)
                    .ok_or_else(|| Error(format!("{}: the settings file has no table there", variable())));
            }
            Err(err) => {
                last.get_or_insert(err);
            }
        }
    }
    let why = last.map(|err| one_line(&err)).unwrap_or_default();
    Err(Error(format!("{}: {why}", variable())))
}

fn put(table: &mut toml::Table, path: &[String], value: toml::Value) -> Option<()> {
    let (key, rest) = path.split_first()?;
    if rest.is_empty() {
        table.insert(key.clone(), value);
        return Some(());
    }
    let inner = table.entry(key.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    put(inner.as_table_mut()?, rest, value)
}

/// Where it is and what is wrong. Of the line itself the key only, as there may be a password behind it.
fn placed(text: &str, err: &toml::de::Error) -> String {
    let Some(start) = err.span().map(|span| span.start).filter(|at| text.is_char_boundary(*at)) else {
        return one_line(err);
    };
    let line = text[..start].matches('\n').count();
    let column = text[..start].chars().rev().take_while(|c| *c != '\n').count();
    let key = text.lines().nth(line).and_then(|line| line.split_once('=')).map_or("", |(key, _)| key.trim());
    let of = if key.is_empty() { "" } else { ", " };
    format!("line {}, column {}{of}{key}: {}", line + 1, column + 1, one_line(err))
}

fn one_line(err: &toml::de::Error) -> String {
    err.message().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Settings, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(Some(file.path()), environment).map_err(|err| err.to_string())
    }

    #[test]
    fn the_commented_file_says_the_defaults() {
        let settings = load(COMMENTED, &[]).unwrap();
        assert_eq!(format!("{settings:#?}"), format!("{:#?}", Settings::default()));
    }

    /// A table that refuses unknown keys lists the ones it knows, so the list can be held against the file.
    fn known_keys(path: &str) -> Vec<String> {
        let text = format!("{path}.no_such_key = 1").replacen('.', if path.is_empty() { "" } else { "." }, 1);
        let err = toml::from_str::<Settings>(text.trim_start_matches('.')).unwrap_err();
        let message = err.message().to_owned();
        assert!(message.contains("no_such_key"), "{message}");
        message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    fn assert_all_there(path: &str, table: &toml::Table) {
        for key in known_keys(path) {
            let Some(value) = table.get(&key) else {
                // What has no default stands there as a comment.
                assert!(COMMENTED.contains(&format!("\n# {key} = ")), "settings.toml lacks {path}.{key}");
                continue;
            };
            if let toml::Value::Table(inner) = value {
                let inner_path = if path.is_empty() { key } else { format!("{path}.{key}") };
                assert_all_there(&inner_path, inner);
            }
        }
    }

    #[test]
    fn the_commented_file_names_every_setting() {
        assert_all_there("", &COMMENTED.parse().unwrap());
    }

    #[test]
    fn a_typo_is_refused_with_its_place_and_what_would_be_right() {
        let check = |text: &str, expected: &[&str]| {
            let err = load(text, &[]).unwrap_err();
            for part in expected {
                assert!(err.contains(part), "{err}");
            }
        };
        check("[store]\nulr = 'x'", &["line 2", "`ulr`", "`url`"]);
        check("[stroe]\nurl = 'x'", &["line 1", "`stroe`", "`store`"]);
        check("[poll]\nunits_at_once = 'many'", &["line 2", "units_at_once"]);
        check("[poll]\ninstances_cron = 'often'", &["poll.instances_cron", "six fields"]);
        check("[log]\nfilter = 'a=b=c'", &["log.filter"]);
        check("no toml", &["line 1"]);
    }

    #[test]
    fn an_error_does_not_show_what_was_written() {
        let check = |text: &str, expected: &str| {
            let err = load(text, &[]).unwrap_err();
            assert!(err.contains(expected) && !err.contains("s3cret"), "{err}");
        };
        check("[deliver]\nproxi = 'http://user:s3cret@proxy'", "line 2, column 1, proxi: unknown field `proxi`");
        check("[deliver]\n  proxy = http://user:s3cret@proxy", "line 2, column ");
        check("[deliver]\nproxy = 'proxy/s3cret'", "deliver.proxy: ");
        check("[deliver]\nproxy = ['http://user:s3cret@proxy']", "line 2, column 9, proxy: ");
        let err = load("", &[("TRACKER_DELIVER__PROXY", "http//user:s3cret@proxy")]).unwrap_err();
        assert!(err.contains("deliver.proxy: ") && !err.contains("s3cret"), "{err}");
        let settings = load("", &[("TRACKER_DELIVER__PROXY", "http://user:s3cret@proxy")]).unwrap();
        assert!(settings.deliver.proxy.read().unwrap().is_some());
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let settings = load(
            "[store]\nurl = 'sqlite:file.db'\nreaders = 2",
            &[
                ("TRACKER_STORE__URL", "sqlite:/tmp/other.db"),
                ("TRACKER_POLL__ABSENCE__YOUNG_FOR_MS", "7"),
                ("TRACKER_TEST_PYTHON", "not ours"),
                ("PATH", "/bin"),
            ],
        )
        .unwrap();
        assert_eq!((settings.store.url.as_str(), settings.store.readers), ("sqlite:/tmp/other.db", 2));
        assert_eq!(settings.poll.absence.young_for_ms, 7);
    }

    #[test]
    fn a_variable_that_is_no_setting_is_refused_by_its_name() {
        let check = |name: &str, value: &str, expected: &str| {
            let err = load("", &[(name, value)]).unwrap_err();
            assert!(err.starts_with(name) && err.contains(expected), "{err}");
        };
        check("TRACKER_STORE__ULR", "x", "`url`");
        check("TRACKER_POLL__UNITS_AT_ONCE", "many", "expected");
    }

    #[test]
    fn a_variable_that_lacks_an_underscore_is_not_overlooked() {
        let check = |name: &str, expected: &str| {
            let err = load("", &[(name, "x")]).unwrap_err();
            assert!(err.starts_with(name) && err.ends_with(expected), "{err}");
        };
        check("TRACKER_STORE_URL", "write TRACKER_STORE__URL");
        check("TRACKER_STORE_KEY_RING", "write TRACKER_STORE__KEY_RING");
        check("TRACKER_DRIVERS_DEFAULT", "write TRACKER_DRIVERS__DEFAULT");
        for name in ["TRACKER_API_PORT", "TRACKER_SERVICE_HOST", "TRACKER_CONFIG", "TRACKER_TEST_POSTGRES", "TRACKER_"]
        {
            load("", &[(name, "x")]).unwrap();
        }
        // What the command line takes as a client.
        for name in ["TRACKER_URL", "TRACKER_USER", "TRACKER_PASSWORD", "TRACKER_CREDENTIALS", "TRACKER_FORWARD"] {
            load("", &[(name, "x")]).unwrap();
        }
    }

    #[test]
    fn values_that_would_stop_a_task_or_keep_it_spinning_are_refused() {
        let check = |text: &str, name: &str| {
            let err = load(text, &[]).unwrap_err();
            assert!(err.starts_with(name), "{err}");
        };
        check("poll.linger_ms = 99999999999999999", "poll.linger_ms");
        check("poll.idle_wait_max_ms = 99999999999999999", "poll.idle_wait_max_ms");
        check(
            "poll.hinted_wait_max_ms = 600000",
            "poll.hinted_wait_max_ms is 600000: it must be less than poll.instances_gap_ms",
        );
        check(
            "poll.realms_gap_ms = 300000",
            "poll.quiet_wait_max_ms is 300000: it must be less than poll.realms_gap_ms, 300000",
        );
        check("poll.absence.young_for_ms = 99999999999999999", "poll.absence.young_for_ms");
        check("track.secret_overlap_ms = 99999999999999999", "track.secret_overlap_ms");
        check("api.auth_cache_seconds = 99999999999999999", "api.auth_cache_seconds");
        check("tasks.backstop_ms = 0", "tasks.backstop_ms");
        check("deliver.give_up_after_ms = 864000000", "retention.keep_ms");
        check("tasks.failed_pause_ms = 0", "tasks.failed_pause_ms");
        check("store.busy_wait_ms = 0", "store.busy_wait_ms");
        check("store.url = 'mysql://x'", "store.url");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let err = Settings::load(Some(Path::new("/no/such/file.toml")), []).unwrap_err();
        assert!(err.to_string().starts_with("/no/such/file.toml: "), "{err}");
    }
}
