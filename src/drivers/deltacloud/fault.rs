//! What an error of an upstream's means to the caller. Pure, tables.
//!
//! Only an error document of Deltacloud's is believed to speak of what was asked for. Everybody else's page, a proxy's or a
//! portal's, speaks of the way there.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::document::Node;
use crate::drivers::Kind;
use crate::model::{Fault, FaultKind};

/// An error document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) status: u16,
    pub(super) message: String,
}

/// `None`: the document is not Deltacloud's word for an error. Other services have an `<error>` too, so it is known by more
/// than its root: `status`, and `backend`, which clients cannot do without either.
pub(super) fn said(document: &Node) -> Option<Said> {
    if !document.is("error") || document.child("backend").is_none() {
        return None;
    }
    let status = document.attribute("status").or_else(|| document.said("code"))?.parse().ok()?;
    Some(Said { status, message: document.said("message").unwrap_or_default().to_owned() })
}

/// Whether a call asks for something to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    Look,
    Order,
}

/// `body`: of an answer that is no error document.
pub(super) fn kind(
    asking: Asking,
    status: StatusCode,
    said: Option<&Said>,
    body: &[u8],
    headers: &HeaderMap,
    now: Timestamp,
) -> Kind {
    let kind = match said {
        Some(said) => by_document(asking, status, said),
        None => by_page(status, body),
    };
    let wait = retry_after(headers, now);
    match (kind, said) {
        (Kind::Throttled { .. }, _) => Kind::Throttled { after: wait },
        // Deltacloud has no status for "too fast" that its clients survive: this is how such servers say it.
        (Kind::Unavailable, Some(_)) if wait.is_some() => Kind::Throttled { after: wait },
        (kind, _) => kind,
    }
}

/// Not Deltacloud's words. They say nothing about us or what was asked for, save where Deltacloud itself answers in plain
/// text: a wrong password, a driver that lacks the collection, a parameter that is missing or no good.
fn by_page(status: StatusCode, body: &[u8]) -> Kind {
    match status {
        StatusCode::UNAUTHORIZED => Kind::Denied,
        StatusCode::TOO_MANY_REQUESTS => Kind::Throttled { after: None },
        StatusCode::GATEWAY_TIMEOUT => Kind::TimedOut,
        StatusCode::PRECONDITION_FAILED => Kind::Unsupported,
        StatusCode::BAD_REQUEST if body.starts_with(b"Required parameter '") || body.starts_with(b"Parameter '") => {
            Kind::Invalid
        }
        _ => Kind::Unavailable,
    }
}

fn by_document(asking: Asking, status: StatusCode, said: &Said) -> Kind {
    // Some answer 200 and let the document speak. But a document and a status that contradict each other are believed neither.
    if status.as_u16() != said.status && !status.is_success() {
        return Kind::Unavailable;
    }
    match said.status {
        400 | 412 | 422 => Kind::Invalid,
        401 => Kind::Denied,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        // Not allowed in the state it is in, or in conflict with something else.
        405 | 409 => Kind::Conflict,
        429 => Kind::Throttled { after: None },
        501 => Kind::Unsupported,
        504 => Kind::TimedOut,
        // Whatever a driver did not foresee, most often its cloud's own failure in the cloud's own words. However these
        // read ("not found", "unauthorized"), it says nothing about what is there or who asks; only that trying again is
        // known to help, or that it takes long, is worth knowing.
        500 if is_throttling(&said.message) => Kind::Throttled { after: None },
        500 if is_time_out(&said.message) => Kind::TimedOut,
        500 if asking == Asking::Order => Kind::Failed,
        _ => Kind::Unavailable,
    }
}

fn has_any(text: &str, words: &[&str]) -> bool {
    let text = text.to_ascii_lowercase();
    words.iter().any(|word| text.contains(word))
}

fn is_throttling(message: &str) -> bool {
    has_any(message, &["requestlimitexceeded", "throttl", "rate limit", "ratelimit", "overlimit", "too many requests"])
}

fn is_time_out(message: &str) -> bool {
    // The last is what Ruby says.
    has_any(message, &["timed out", "timeout", "time-out", "execution expired"])
}

/// Why a launch failed, from the cloud's own words in the message. `None`: these say nothing, and Deltacloud itself may
/// be what broke, which is no evidence against a realm.
pub(super) fn launch(said: &Said) -> Option<Fault> {
    let Said { status, message } = said;
    let found = LAUNCHES.iter().find(|(_, words)| has_any(message, words));
    let kind = match (found, *status) {
        (Some((kind, _)), _) => *kind,
        (None, 400..=499) => FaultKind::Request,
        (None, _) => return None,
    };
    Some(Fault { kind, code: format!("{status} {message}").chars().take(CODE_CHARS_MAX).collect() })
}

const CODE_CHARS_MAX: usize = 120;

const LAUNCHES: [(FaultKind, &[&str]); 3] = [
    (FaultKind::Quota, &["limitexceeded", "quota", "overlimit", "limit exceeded", "too many instances"]),
    (
        FaultKind::Capacity,
        &["insufficientinstancecapacity", "insufficient capacity", "no valid host", "not enough resources"],
    ),
    (FaultKind::Infrastructure, &["server.internalerror", "internalerror", "internalfailure"]),
];

/// Seconds or a date; `None` when it is absent, over, or neither.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    jiff::fmt::rfc2822::parse(text).ok()?.timestamp().duration_since(now).try_into().ok()
}

/// Fit to be shown: without what the caller keeps secret, should the upstream echo it, in one line of bounded length.
pub(super) fn shown(message: &str, secrets: &[&str]) -> String {
    let mut text = message.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|char| !char.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// A cloud's longest useful messages have some 300; some drivers send a whole backtrace as message.
const SHOWN_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    fn document(status: u16, message: &str) -> Said {
        Said { status, message: message.to_owned() }
    }

    fn now() -> Timestamp {
        "2026-11-21T03:17:00Z".parse().expect("a time")
    }

    fn judged(asking: Asking, status: u16, said: Option<&Said>, body: &str) -> Kind {
        let status = StatusCode::from_u16(status).expect("a status");
        kind(asking, status, said, body.as_bytes(), &HeaderMap::new(), now())
    }

    #[test]
    fn an_error_document_says_what_the_caller_can_do() {
        let check = |status: u16, look: Kind, order: Kind| {
            let said = document(status, "some words");
            assert_eq!(judged(Asking::Look, status, Some(&said), ""), look, "{status}");
            assert_eq!(judged(Asking::Order, status, Some(&said), ""), order, "{status}");
        };
        let both = |status, kind| check(status, kind, kind);
        both(400, Kind::Invalid);
        both(401, Kind::Denied);
        both(403, Kind::Forbidden);
        both(404, Kind::NotFound);
        both(405, Kind::Conflict);
        both(406, Kind::Unavailable);
        both(409, Kind::Conflict);
        both(412, Kind::Invalid);
        both(429, Kind::Throttled { after: None });
        check(500, Kind::Unavailable, Kind::Failed);
        both(501, Kind::Unsupported);
        both(502, Kind::Unavailable);
        both(503, Kind::Unavailable);
        both(504, Kind::TimedOut);
    }

    #[test]
    fn a_clouds_words_in_a_500_are_never_an_absence_nor_a_refusal() {
        let check = |message: &str, expected: Kind| {
            assert_eq!(judged(Asking::Look, 500, Some(&document(500, message)), ""), expected, "{message}");
        };
        check("InvalidInstanceID.NotFound: The instance ID 'i-9' does not exist", Kind::Unavailable);
        check("404 Not Found", Kind::Unavailable);
        check("AuthFailure: AWS was not able to validate", Kind::Unavailable);
        check("Unhandled exception or status code (Connection refused)", Kind::Unavailable);
        check("NoMethodError", Kind::Unavailable);
        check("RequestLimitExceeded: Request limit exceeded.", Kind::Throttled { after: None });
        check("execution expired", Kind::TimedOut);
        check("Net::ReadTimeout", Kind::TimedOut);
    }

    #[test]
    fn a_document_that_contradicts_its_status_is_not_believed() {
        let check = |status: u16, said: u16, expected: Kind| {
            assert_eq!(judged(Asking::Look, status, Some(&document(said, "")), ""), expected, "{status} {said}");
        };
        check(200, 404, Kind::NotFound);
        check(200, 500, Kind::Unavailable);
        check(502, 404, Kind::Unavailable);
        check(404, 500, Kind::Unavailable);
        check(302, 404, Kind::Unavailable);
    }

    #[test]
    fn a_strangers_page_says_little() {
        let check = |status: u16, body: &str, expected: Kind| {
            assert_eq!(judged(Asking::Look, status, None, body), expected, "{status} {body}");
        };
        check(401, "Authentication failed", Kind::Denied);
        check(412, "Capability not supported", Kind::Unsupported);
        check(400, "Required parameter 'image_id' not found in [name]", Kind::Invalid);
        check(429, "", Kind::Throttled { after: None });
        check(504, "<html/>", Kind::TimedOut);
        for status in [200, 301, 302, 400, 403, 404, 405, 407, 410, 500, 502, 503] {
            check(status, "<html><body>Not Found</body></html>", Kind::Unavailable);
        }
    }

    #[test]
    fn what_comes_back_later_says_when() {
        let after = |status: u16, said: Option<&Said>, text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            let status = StatusCode::from_u16(status).expect("a status");
            kind(Asking::Look, status, said, b"", &headers, now())
        };
        let seconds = |seconds| Kind::Throttled { after: Some(Duration::from_secs(seconds)) };
        assert_eq!(after(502, Some(&document(502, "")), "7"), seconds(7));
        assert_eq!(after(429, None, "Sat, 21 Nov 2026 03:17:22 GMT"), seconds(22));
        assert_eq!(after(502, Some(&document(502, "")), "soon"), Kind::Unavailable);
        assert_eq!(after(503, None, "7"), Kind::Unavailable, "a proxy's page of maintenance");
        assert_eq!(after(404, Some(&document(404, "")), "7"), Kind::NotFound);
    }

    #[test]
    fn an_error_document_is_known_by_more_than_its_root() {
        let check = |text: &str, expected: Option<Said>| {
            assert_eq!(said(&Node::parse(text.as_bytes()).expect(text)), expected, "{text}");
        };
        check(include_str!("replies/error-404.xml"), Some(document(404, "Not Found")));
        let old = "<error url='/api/instances' status='502'><kind>backend_error</kind><backend driver='ec2'>\
                   <code>SomeCode</code></backend><message>\n<![CDATA[It\nbroke]]></message></error>";
        check(old, Some(document(502, "It\nbroke")));
        check("<error><backend/><code>504</code></error>", Some(document(504, "")));
        check("<error><message>no route</message></error>", None);
        check("<error status='404'><message>no route</message></error>", None);
        check("<Error status='404'><backend/></Error>", None);
        check("<error status='gone'><backend/></error>", None);
        check("<html status='404'><backend/></html>", None);
    }

    #[test]
    fn a_failed_launch_is_blamed_on_whom_the_cloud_blames() {
        let check = |status: u16, message: &str, expected: Option<FaultKind>| {
            assert_eq!(launch(&document(status, message)).map(|fault| fault.kind), expected, "{status} {message}");
        };
        check(500, "InsufficientInstanceCapacity: no room in us-east-1b", Some(FaultKind::Capacity));
        check(502, "No valid host was found", Some(FaultKind::Capacity));
        check(500, "InstanceLimitExceeded: Your quota allows for 0 more", Some(FaultKind::Quota));
        check(403, "Quota exceeded for cores", Some(FaultKind::Quota));
        check(500, "InternalError: An internal error has occurred", Some(FaultKind::Infrastructure));
        check(400, "Hardware profile 'x' does not exist.", Some(FaultKind::Request));
        check(403, "Forbidden", Some(FaultKind::Request));
        check(500, "NoMethodError", None);
        check(502, "Backend Server Error", None);
        assert_eq!(launch(&document(400, &"x".repeat(1_000))).expect("a request").code.len(), CODE_CHARS_MAX);
    }

    #[test]
    fn what_is_shown_is_one_line_without_secrets() {
        assert_eq!(shown("no  such\nuser alice:hush (YWxpY2U6aHVzaA==)", &["hush", "YWxpY2U6aHVzaA==", ""]), {
            "no such user alice:*** (***)"
        });
        assert_eq!(shown(&"x".repeat(10_000), &[]).len(), SHOWN_CHARS_MAX);
    }
}
