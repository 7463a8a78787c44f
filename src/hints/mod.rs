//! Hints: others say that something moved, so that a look is due now. Clouds' own event streams and anybody's `curl` say it over
//! HTTP with a secret of the account; here is read what they say, and whose secret it is.
//!
//! Guarantees: of a body nothing is used but what it names: account, region, ids, state and time. A hint never becomes a change:
//! it ends in [`poll::Hints`](crate::poll::Hints), which makes looks due, and the looks find what there is to find. A secret is shown
//! once; what is kept is a keyed digest, compared in constant time.
//!
//! `events.rs`, `notifications.rs` and `plain.rs` read one shape each, `words.rs` the states' names (all pure); `desk.rs` checks and
//! hands over.
//!
//! Absent on purpose: believing anything. A forged, stale or repeated hint costs a look, and looks have bounds of their own.

mod counters;
mod desk;
mod events;
mod notifications;
mod plain;
mod secret;
mod settings;
mod words;

use jiff::Timestamp;
use serde_json::Value;

pub use counters::Counters;
pub use desk::{Desk, Made, Refusal, Taken};
pub use secret::HintSecret;
pub use settings::Settings;

use crate::model::{AccountKey, Collection};

/// The longest id and the longest state that are taken. Bytes.
const ID_BYTES_MAX: usize = 255;
const STATE_BYTES_MAX: usize = 64;

/// What one event, or one plain hint, names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub collection: Collection,
    /// Never empty.
    pub ids: Vec<String>,
    /// How they are now, in the words of who says so.
    pub state: Option<String>,
    pub at: Option<Timestamp>,
    /// As the backend knows it: an account number, a project id.
    pub account: Option<String>,
    pub region: Option<String>,
}

/// What a request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub reports: Vec<Report>,
    /// Events that are about nothing that is watched.
    pub unknown: usize,
}

/// Reads a request: a JSON event or an array of them, in any of the shapes that are known, or a form (in the query or the body).
/// Among all of them at most `ids_max` ids and as many events.
///
/// # Errors
/// What is wrong with it, in one sentence that repeats nothing of it but names.
pub fn read(query: &str, body: &[u8], ids_max: usize) -> Result<Said, String> {
    let json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    let said = if json {
        let value = serde_json::from_slice(body)
            .map_err(|err| format!("The body is not JSON: line {}, column {}", err.line(), err.column()))?;
        of_json(value, ids_max)?
    } else {
        Said { reports: vec![plain::of_form(query, body, ids_max)?], unknown: 0 }
    };
    let ids: usize = said.reports.iter().map(|report| report.ids.len()).sum();
    if ids > ids_max {
        return Err(format!("There are {ids} ids in it: the most is {ids_max} (hints.ids_max)"));
    }
    Ok(said)
}

fn of_json(value: Value, events_max: usize) -> Result<Said, String> {
    let events = match value {
        Value::Array(events) if events.len() > events_max => {
            let count = events.len();
            return Err(format!("There are {count} events in it: the most is {events_max} (hints.ids_max)"));
        }
        Value::Array(events) => events,
        event => vec![event],
    };
    let mut said = Said::default();
    for (number, event) in events.iter().enumerate() {
        match of_event(event).map_err(|text| format!("Event {number}: {text}"))? {
            Some(report) => said.reports.push(report),
            None => said.unknown += 1,
        }
    }
    Ok(said)
}

/// `None`: about nothing that is watched.
fn of_event(event: &Value) -> Result<Option<Report>, String> {
    // Each shape has a field that the others lack. An event of EventBridge has an `id` too: its own.
    let report = if event.get("detail-type").is_some() {
        events::read(event)?
    } else if let Some(inner) = notifications::opened(event)? {
        notifications::read(&inner)?
    } else if event.is_object() {
        Some(plain::of_json(event)?)
    } else {
        return Err("it is no object".to_owned());
    };
    report.map(checked).transpose()
}

fn checked(report: Report) -> Result<Report, String> {
    let short =
        |text: &String, max: usize| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    if report.ids.is_empty() {
        return Err("it names no id".to_owned());
    }
    if !report.ids.iter().all(|id| short(id, ID_BYTES_MAX)) {
        return Err(format!("an id is empty, longer than {ID_BYTES_MAX} bytes or holds control characters"));
    }
    if !report.state.iter().all(|state| short(state, STATE_BYTES_MAX)) {
        return Err(format!("`state` is empty, longer than {STATE_BYTES_MAX} bytes or holds control characters"));
    }
    Ok(report)
}

/// Whether a report may be about this account. What it does not name it cannot get wrong.
///
/// # Errors
/// A sentence that says which of both it names.
pub fn fits(report: &Report, key: &AccountKey) -> Result<(), String> {
    // A project's id is a UUID, with hyphens or without.
    let bare = |text: &str| text.replace('-', "").to_ascii_lowercase();
    if let Some(named) = &report.account
        && bare(named) != bare(&key.identity)
    {
        return Err("the event is of another account than the secret".to_owned());
    }
    if let Some(named) = &report.region
        && !may_be_in(&key.provider, named)
    {
        return Err(format!("the event is of another region than the secret, which is of {}", key.provider));
    }
    Ok(())
}

/// A provider is a region, or an address that may hold one.
fn may_be_in(provider: &str, region: &str) -> bool {
    if !provider.contains(['.', ':', '/']) {
        return provider.eq_ignore_ascii_case(region);
    }
    let is_region = |word: &&str| word.contains('-') && word.ends_with(|end: char| end.is_ascii_digit());
    let mut words = provider.split(['.', ':', '/']).filter(is_region).peekable();
    words.peek().is_none() || words.any(|word| word.eq_ignore_ascii_case(region))
}

/// A text in an object, by its path.
fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, name| value.get(name))?;
    found.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DriverId;

    fn key(provider: &str, identity: &str) -> AccountKey {
        AccountKey { driver: DriverId::new("ec2"), provider: provider.to_owned(), identity: identity.to_owned() }
    }

    #[test]
    fn what_names_another_account_or_region_does_not_fit() {
        let check = |account: Option<&str>, region: Option<&str>, provider: &str, fitting: bool| {
            let report = Report {
                collection: Collection::Instances,
                ids: vec!["i-1".to_owned()],
                state: None,
                at: None,
                account: account.map(str::to_owned),
                region: region.map(str::to_owned),
            };
            let fits = fits(&report, &key(provider, "123456789012"));
            assert_eq!(fits.is_ok(), fitting, "{account:?} {region:?} {provider}: {fits:?}");
        };
        check(None, None, "us-east-1", true);
        check(Some("123456789012"), Some("us-east-1"), "us-east-1", true);
        check(Some("123456789013"), Some("us-east-1"), "us-east-1", false);
        check(Some(""), None, "us-east-1", false);
        check(Some("123456789012"), Some("eu-west-1"), "us-east-1", false);
        check(None, Some("eu-west-1"), "ec2.eu-west-1.api.aws", true);
        check(None, Some("us-east-1"), "ec2.eu-west-1.api.aws", false);
        // An address that holds no region may be any.
        check(None, Some("us-east-1"), "cloud.example:8773", true);
        let project = Report { account: Some("6F70656E-7374-6163-6b20-342065766572".to_owned()), ..report() };
        assert!(super::fits(&project, &key("x", "6f70656e737461636b20342065766572")).is_ok());
    }

    fn report() -> Report {
        read("id=a", b"", 1).unwrap().reports.remove(0)
    }

    #[test]
    fn a_request_is_one_event_or_many_and_bounded() {
        let check = |body: &str, expected: Result<(usize, usize), &str>| {
            let said = read("", body.as_bytes(), 3);
            match (said, expected) {
                (Ok(said), Ok(expected)) => assert_eq!((said.reports.len(), said.unknown), expected, "{body}"),
                (Err(text), Err(part)) => assert!(text.contains(part), "{body}: {text}"),
                (said, expected) => panic!("{body}: {said:?}, not {expected:?}"),
            }
        };
        check(r#"{"id": "a"}"#, Ok((1, 0)));
        check(r#" [{"id": "a"}, {"id": ["b", "c"], "state": "stopped"}]"#, Ok((2, 0)));
        check("[]", Ok((0, 0)));
        check(
            r#"[{"id": "a"}, {"detail-type": "Tag Change on Resource"}, {"event_type": "flavor.create", "payload": {}}]"#,
            Ok((1, 2)),
        );
        check(
            r#"[{"id": ["a", "b"]}, {"id": ["c", "d"]}]"#,
            Err("There are 4 ids in it: the most is 3 (hints.ids_max)"),
        );
        check(r#"[{},{},{},{}]"#, Err("There are 4 events in it"));
        check(r#"[{"id": "a"}, 7]"#, Err("Event 1: it is no object"));
        check(r#"{"id": ""}"#, Err("Event 0: an id is empty"));
        check(r#"{"id": "a\nb"}"#, Err("control characters"));
        check(r#"{"id": "a", "state": ""}"#, Err("`state` is empty"));
        check(r#"{"id": []}"#, Err("it names no id"));
        check("{\n\"id\": secret}", Err("The body is not JSON: line 2, column"));
        check(&format!("{{\"id\": \"{}\"}}", "x".repeat(256)), Err("longer than 255 bytes"));
        check(&"[".repeat(10_000), Err("The body is not JSON"));
        check("id=a&id=b", Ok((1, 0)));
        check("", Err("`id`"));
        check("what is this", Err("`id`"));
    }
}
