//! What an error of OpenStack's means to the caller. Pure.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::drivers::Kind;
use crate::drivers::reading::FAULT_BYTES_MAX;

/// An error as a service put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// `itemNotFound`, `badRequest`; empty where the service has no words for it.
    pub(super) word: String,
    pub(super) message: String,
}

/// Every service has a form of its own: `{"itemNotFound": {"message"}}` of Nova and Cinder, `{"error": {"message"}}` of
/// Keystone, `{"message", "title"}` of Glance, and a page of HTML of those that were not asked for JSON.
pub(super) fn parse(body: &[u8]) -> Option<Fault> {
    if body.len() > FAULT_BYTES_MAX {
        return None;
    }
    if let Ok(Value::Object(object)) = serde_json::from_slice::<Value>(body) {
        let message = |value: &Value| Some(value.get("message")?.as_str()?.to_owned());
        let nested = object.iter().find_map(|(word, value)| Some((word.clone(), message(value)?)));
        let (word, text) = match nested {
            Some((word, text)) if word == "error" => (title(&object["error"]), text),
            Some(nested) => nested,
            None => {
                let flat = Value::Object(object);
                (title(&flat), message(&flat)?)
            }
        };
        return Some(Fault { word, message: plain(&text) });
    }
    let text = std::str::from_utf8(body).ok()?;
    // As the services' own library writes it; a proxy's page begins otherwise.
    let title = text.strip_prefix("<html>\n <head>\n  <title>")?;
    let rest = title.split_once("</h1>")?.1;
    title.starts_with(|char: char| char.is_ascii_digit()).then(|| Fault { word: String::new(), message: plain(rest) })
}

fn title(value: &Value) -> String {
    value.get("title").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Without tags and line breaks.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut in_tag = false;
    for char in text.chars() {
        match char {
            '<' => in_tag = true,
            '>' if in_tag => {
                in_tag = false;
                plain.push(' ');
            }
            _ if in_tag => {}
            char if char.is_control() => plain.push(' '),
            char => plain.push(char),
        }
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `None` for the fault: not a service's words, but a proxy's, a portal's, a server's that is falling over. It says
/// nothing about any resource.
pub(super) fn kind(status: StatusCode, fault: Option<&Fault>, headers: &HeaderMap, now: Timestamp) -> Kind {
    let message = fault.map_or("", |fault| fault.message.as_str());
    match status {
        StatusCode::UNAUTHORIZED => Kind::Denied,
        StatusCode::PAYLOAD_TOO_LARGE if is_quota(message) => Kind::Forbidden,
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS => {
            Kind::Throttled { after: retry_after(headers, now) }
        }
        StatusCode::NOT_IMPLEMENTED => Kind::Unsupported,
        _ if fault.is_none() || status.is_server_error() => Kind::Unavailable,
        StatusCode::FORBIDDEN => Kind::Forbidden,
        // There is no such path: the catalog leads elsewhere, and that says nothing about what was looked for.
        StatusCode::NOT_FOUND if message.starts_with("The resource could not be found") => Kind::Unavailable,
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::CONFLICT => Kind::Conflict,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_ACCEPTABLE | StatusCode::GONE => Kind::Unsupported,
        StatusCode::BAD_REQUEST if is_state(message) => Kind::Conflict,
        _ if status.is_client_error() => Kind::Invalid,
        // An error that comes with a redirect or a success makes no sense.
        _ => Kind::Unavailable,
    }
}

/// Cinder, and Nova for it, have 400 for what is in use: "Invalid volume: Volume status must be available or error …".
fn is_state(message: &str) -> bool {
    ["status must be", "Invalid volume:", "Invalid snapshot:"].iter().any(|words| message.contains(words))
        && ["status", "attach", "in use", "in-use", "dependent"].iter().any(|words| message.contains(words))
}

/// Of a 413, which is else about how often one asks.
fn is_quota(message: &str) -> bool {
    let message = message.to_lowercase();
    // `SnapshotLimitExceeded: Maximum number of snapshots allowed (10) exceeded` is Cinder's.
    let words = ["quota", "number of ports exceeded", "limitexceeded", "maximum number of", "exceeds allowed"];
    words.iter().any(|words| message.contains(words))
}

/// Seconds or a date; `None` when it is absent, over, or neither.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(until.duration_since(now)).ok()
}

/// One line, without what must not be seen, and of bounded length.
pub(super) fn shown(fault: &Fault, secrets: &[&str]) -> String {
    let masked = |text: &str| {
        let secrets = secrets.iter().filter(|secret| !secret.is_empty());
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    };
    // What Keystone says to everybody tells nothing of a password that is one of its words.
    let (own, rest) = KEYSTONES_OWN
        .iter()
        .find_map(|own| Some((*own, fault.message.strip_prefix(own)?)))
        .unwrap_or(("", &fault.message));
    let word = if fault.word.is_empty() { String::new() } else { format!("{}: ", masked(&fault.word)) };
    let text = format!("{word}{own}{}", masked(rest));
    plain(&text).chars().take(SHOWN_CHARS_MAX).collect()
}

const SHOWN_CHARS_MAX: usize = 400;

/// The beginnings of what Keystone says of logins. What follows may be of this login.
const KEYSTONES_OWN: &[&str] = &[
    "The request you have made requires authentication.",
    "The password is expired and needs to be changed for user:",
    "The account is locked for user:",
    "User is disabled:",
    "Invalid username or password",
];

/// The highest microversion that Nova has, of its answer to one that it has not: "Minimum is 2.1 and maximum is 2.104".
pub(super) fn supported(fault: &Fault) -> Option<(u32, u32)> {
    let version = |words: &str| -> Option<u32> {
        let rest = fault.message.split_once(words)?.1.trim_start().strip_prefix("2.")?;
        let digits = rest.split(|char: char| !char.is_ascii_digit()).next()?;
        digits.parse().ok()
    };
    Some((version("Minimum is")?, version("maximum is")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-11-21T03:17:00Z".parse().expect("a time")
    }

    fn body(reply: &str) -> Vec<u8> {
        let reply: Value = serde_json::from_str(reply).expect("a recorded answer");
        reply["body"].to_string().into_bytes()
    }

    #[test]
    fn every_service_is_understood() {
        let check = |body: &[u8], word: &str, message: &str| {
            let fault = parse(body).unwrap_or_else(|| panic!("{message}"));
            assert_eq!((fault.word.as_str(), fault.message.as_str()), (word, message));
        };
        check(
            &body(include_str!("replies/server-404.json")),
            "itemNotFound",
            "Instance 00000000-0000-0000-0000-000000000000 could not be found.",
        );
        check(
            &body(include_str!("replies/server-create-bad-az.json")),
            "badRequest",
            "The requested availability zone is not available",
        );
        check(
            &body(include_str!("replies/servers-unauth.json")),
            "Unauthorized",
            "The request you have made requires authentication.",
        );
        check(
            br#"{"message": "No image found with ID x<br /><br />\n", "code": "404 Not Found", "title": "Not Found"}"#,
            "Not Found",
            "No image found with ID x",
        );
        let page = "<html>\n <head>\n  <title>404 Not Found</title>\n </head>\n <body>\n  <h1>404 Not Found</h1>\n  \
                    No image found with ID x<br /><br />\n\n </body>\n</html>";
        check(page.as_bytes(), "", "No image found with ID x");
        for stranger in [
            "",
            "[]",
            "{}",
            "null",
            "<html><h1>Sign in</h1></html>",
            "<html>\r\n<head><title>404 Not Found</title></head>\r\n<body><center><h1>404 Not Found</h1></center><hr>nginx",
            "{\"a\": 1}",
        ] {
            assert_eq!(parse(stranger.as_bytes()), None, "{stranger}");
        }
    }

    #[test]
    fn a_status_and_its_words_say_what_the_caller_can_do() {
        let check = |status: u16, message: &str, expected: Kind| {
            let fault = Fault { word: "x".to_owned(), message: message.to_owned() };
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(kind(status, Some(&fault), &HeaderMap::new(), now()), expected, "{status} {message}");
        };
        check(400, "Can not find requested image", Kind::Invalid);
        check(400, "Invalid volume: Volume status must be available or error or error_restoring.", Kind::Conflict);
        check(400, "Invalid volume: volume v1 status must be 'available'. Currently in 'in-use'", Kind::Conflict);
        check(400, "Invalid volume: cannot delete, volume has dependent snapshots", Kind::Conflict);
        check(401, "requires authentication", Kind::Denied);
        check(403, "Policy doesn't allow os_compute_api:os-services:list to be performed.", Kind::Forbidden);
        check(403, "Quota exceeded for cores: Requested 1, but already used 20 of 20 cores", Kind::Forbidden);
        check(404, "Instance x could not be found.", Kind::NotFound);
        check(404, "The resource could not be found.", Kind::Unavailable);
        check(405, "x", Kind::Unsupported);
        check(409, "Cannot 'start' instance x while it is in vm_state active", Kind::Conflict);
        check(410, "This API is no more", Kind::Unsupported);
        check(413, "VolumeSizeExceedsAvailableQuota: exceeds allowed gigabytes quota", Kind::Forbidden);
        check(413, "SnapshotLimitExceeded: Maximum number of snapshots allowed (10) exceeded", Kind::Forbidden);
        check(413, "Requested volume or snapshot exceeds allowed gigabytes", Kind::Forbidden);
        check(413, "This request was rate-limited.", Kind::Throttled { after: None });
        check(413, "Only 10 POST request(s) can be made to * every minute.", Kind::Throttled { after: None });
        check(422, "x", Kind::Invalid);
        check(429, "Too many", Kind::Throttled { after: None });
        check(500, "Unexpected API Error.", Kind::Unavailable);
        check(501, "x", Kind::Unsupported);
        check(503, "Service unavailable", Kind::Unavailable);
        check(300, "Choose", Kind::Unavailable);
    }

    #[test]
    fn a_strangers_page_says_little() {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().expect("a header"))]);
        let check = |status: u16, expected: Kind| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(kind(status, None, &headers, now()), expected, "{status}");
        };
        check(401, Kind::Denied);
        check(413, Kind::Throttled { after: Some(Duration::from_secs(7)) });
        check(429, Kind::Throttled { after: Some(Duration::from_secs(7)) });
        for status in [301, 400, 403, 404, 407, 409, 500, 502, 503, 504] {
            check(status, Kind::Unavailable);
        }
        let later = HeaderMap::from_iter([(RETRY_AFTER, "Sat, 21 Nov 2026 03:17:22 GMT".parse().expect("a header"))]);
        assert_eq!(retry_after(&later, now()), Some(Duration::from_secs(22)));
        let over = HeaderMap::from_iter([(RETRY_AFTER, "Sat, 21 Nov 2026 03:16:22 GMT".parse().expect("a header"))]);
        assert_eq!(retry_after(&over, now()), None);
    }

    #[test]
    fn nova_says_which_versions_it_has() {
        let fault = parse(&body(include_str!("replies/servers-badmv.json"))).expect("Nova's words");
        assert_eq!(supported(&fault), Some((1, 104)));
        let odd = Fault { message: "Minimum is 3.1 and maximum is 2.x".to_owned(), ..fault };
        assert_eq!(supported(&odd), None);
    }

    #[test]
    fn a_password_that_is_a_word_of_keystones_hides_nothing_of_it() {
        let check = |message: &str, secret: &str, expected: &str| {
            let fault = Fault { word: String::new(), message: message.to_owned() };
            assert_eq!(shown(&fault, &[secret]), expected);
        };
        let expired = "The password is expired and needs to be changed for user: 7d1a.";
        check(expired, "expired", expired);
        check(&format!("{expired} expired"), "expired", &format!("{expired} ***"));
        check("Your password is expired", "expired", "Your password is ***");
    }

    #[test]
    fn what_is_echoed_is_masked_and_bounded() {
        let fault = Fault { word: "error".to_owned(), message: "token gAAAA of\n s3cret".to_owned() };
        assert_eq!(shown(&fault, &["gAAAA", "s3cret", ""]), "error: token *** of ***");
        let long = Fault { message: "x".repeat(100_000), ..fault };
        assert_eq!(shown(&long, &[]).chars().count(), SHOWN_CHARS_MAX);
    }
}
