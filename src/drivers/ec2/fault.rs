//! What an error of EC2's means to the caller. Pure, one table.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};

use super::parse::Fault;
use crate::drivers::Kind;

/// `fault`: what the body says, if it is EC2's at all.
pub(super) fn kind(status: StatusCode, fault: Option<&Fault>, headers: &HeaderMap, now: Timestamp) -> Kind {
    match fault.map_or_else(|| by_status(status), |fault| by_code(status, fault)) {
        Kind::Throttled { .. } => Kind::Throttled { after: retry_after(headers, now) },
        // EC2 answers a signature from a wrong clock like one from a wrong key. Every account would seem refused.
        Kind::Denied if skew(headers, now).is_some_and(|skew| skew > SKEW_MAX) => Kind::Unavailable,
        kind => kind,
    }
}

/// How old a signature may be for EC2; other services of AWS take a quarter of an hour.
const SKEW_MAX: Duration = Duration::from_secs(5 * 60);

/// How far our clock and the server's are apart, if it said the time.
fn skew(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    date(headers.get(DATE)?.to_str().ok()?).map(|theirs| theirs.duration_since(now).unsigned_abs())
}

/// Not EC2's words: a proxy, a portal, a server that is falling over. It says nothing about us, save for 401 and 429.
fn by_status(status: StatusCode) -> Kind {
    match status {
        StatusCode::UNAUTHORIZED => Kind::Denied,
        StatusCode::TOO_MANY_REQUESTS => Kind::Throttled { after: None },
        _ => Kind::Unavailable,
    }
}

fn by_code(status: StatusCode, fault: &Fault) -> Kind {
    // The prefixes some services put before a server's fault say nothing more than the status.
    let code = fault.code.trim().trim_start_matches("Server.").trim_start_matches("Client.");
    match code {
        // Our own clock is wrong: asking for other credentials would not help.
        "RequestExpired" | "RequestTimeTooSkewed" => Kind::Unavailable,
        "SignatureDoesNotMatch" | "InvalidSignatureException" if is_skew(&fault.message) => Kind::Unavailable,
        // Somebody else's image, asked for with good credentials.
        "AuthFailure" if fault.message.starts_with("Not authorized") => Kind::Forbidden,
        "AuthFailure"
        | "InvalidClientTokenId"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "UnrecognizedClientException"
        | "InvalidAccessKeyId"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "MissingAuthenticationToken"
        | "IncompleteSignature" => Kind::Denied,
        "UnauthorizedOperation"
        | "OptInRequired"
        | "AccessDenied"
        | "AccessDeniedException"
        | "Blocked"
        | "PendingVerification" => Kind::Forbidden,
        "RequestLimitExceeded"
        | "EC2ThrottledException"
        | "SlowDown"
        | "TooManyRequestsException"
        | "SnapshotCreationPerVolumeRateExceeded" => Kind::Throttled { after: None },
        _ if code.starts_with("Throttl") || code.starts_with("RequestThrottl") => Kind::Throttled { after: None },
        _ if code.starts_with("Insufficient") && code.contains("Capacity") => Kind::Unavailable,
        _ if status.is_server_error() => Kind::Unavailable,
        "InternalError" | "InternalFailure" | "ServiceUnavailable" | "Unavailable" => Kind::Unavailable,
        // Gone from where it was a moment ago: what is attached or led somewhere is there, and the request too late.
        "InvalidAttachment.NotFound" | "InvalidAssociationID.NotFound" => Kind::Conflict,
        "InvalidAMIID.Unavailable" => Kind::NotFound,
        _ if code.ends_with(".NotFound") => Kind::NotFound,
        // What cannot be an id is nobody's. Names can be malformed too, and that is a bad request.
        _ if code.ends_with("ID.Malformed") || code.ends_with("Id.Malformed") => Kind::NotFound,
        "InvalidParameterValue" if expects_id(&fault.message) => Kind::NotFound,
        "IncorrectInstanceState" | "IncorrectState" | "OperationNotPermitted" => Kind::Conflict,
        "InvalidInstanceID" if fault.message.contains("not in a valid state") => Kind::Conflict,
        "VolumeInUse" | "DependencyViolation" | "Resource.AlreadyAssociated" => Kind::Conflict,
        _ if code.ends_with(".InUse") => Kind::Conflict,
        // The name, or the very thing, is there already. And some things of EC2's own are not anybody's to delete.
        _ if code.ends_with(".Duplicate") => Kind::Forbidden,
        "CannotDelete" | "InvalidGroup.Reserved" => Kind::Forbidden,
        "UnsupportedOperation" | "InvalidAction" => Kind::Unsupported,
        // Quotas: the credentials are good, but more than this they may not have.
        _ if code.ends_with("LimitExceeded") => Kind::Forbidden,
        _ if status == StatusCode::UNAUTHORIZED => Kind::Denied,
        _ if status == StatusCode::FORBIDDEN => Kind::Forbidden,
        _ if status.is_client_error() => Kind::Invalid,
        // An error that comes with a redirect or a success makes no sense.
        _ => Kind::Unavailable,
    }
}

/// "Value (x) for parameter volumeId is invalid. Expected: 'vol-...'."
fn expects_id(message: &str) -> bool {
    message.contains("Expected: '") && message.contains("-...'")
}

fn is_skew(message: &str) -> bool {
    message.starts_with("Signature expired") || message.starts_with("Signature not yet current")
}

/// Seconds or a date; `None` when it is absent, over, or neither.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    date(text)?.duration_since(now).try_into().ok()
}

fn date(text: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

/// What AWS said, fit to be shown: without our secrets should it echo them, in one line of bounded length.
/// `secrets` vanish, the access key id keeps its first four characters, which name its kind and nothing else.
pub(super) fn shown(fault: &Fault, key_id: &str, secrets: &[&str]) -> String {
    let mut text = format!("{}: {}", fault.code.trim(), fault.message.trim());
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "***");
    }
    if !key_id.is_empty() {
        let start: String = key_id.chars().take(if key_id.len() > 8 { 4 } else { 0 }).collect();
        text = text.replace(key_id, &format!("{start}***"));
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|char| !char.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// AWS's longest useful messages have some 300; the ones about signatures quote whole requests.
const SHOWN_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn fault(code: &str, message: &str) -> Fault {
        Fault { code: code.to_owned(), message: message.to_owned() }
    }

    fn now() -> Timestamp {
        "2026-11-21T03:17:00Z".parse().expect("a time")
    }

    fn headers(name: HeaderName, text: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(text).expect("a header"))])
    }

    #[test]
    fn a_code_says_what_the_caller_can_do() {
        let check = |status: u16, code: &str, expected: Kind| {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(kind(status, Some(&fault(code, "some words")), &HeaderMap::new(), now()), expected, "{code}");
        };
        check(401, "AuthFailure", Kind::Denied);
        check(403, "InvalidClientTokenId", Kind::Denied);
        check(403, "SignatureDoesNotMatch", Kind::Denied);
        check(400, "UnrecognizedClientException", Kind::Denied);
        check(403, "ExpiredToken", Kind::Denied);
        check(403, "UnauthorizedOperation", Kind::Forbidden);
        check(401, "OptInRequired", Kind::Forbidden);
        check(400, "InstanceLimitExceeded", Kind::Forbidden);
        check(400, "VcpuLimitExceeded", Kind::Forbidden);
        check(503, "RequestLimitExceeded", Kind::Throttled { after: None });
        check(400, "Throttling", Kind::Throttled { after: None });
        check(400, "ThrottlingException", Kind::Throttled { after: None });
        check(400, "InvalidInstanceID.NotFound", Kind::NotFound);
        check(400, "InvalidInstanceID.Malformed", Kind::NotFound);
        check(400, "InvalidAMIID.NotFound", Kind::NotFound);
        check(400, "InvalidAMIID.Malformed", Kind::NotFound);
        check(400, "InvalidAMIID.Unavailable", Kind::NotFound);
        check(400, "InvalidAMIName.Duplicate", Kind::Forbidden);
        check(400, "InvalidAMIName.Malformed", Kind::Invalid);
        check(400, "InvalidKeyPair.NotFound", Kind::NotFound);
        check(400, "InvalidKeyPair.Duplicate", Kind::Forbidden);
        check(400, "InvalidKeyPair.Format", Kind::Invalid);
        check(400, "InvalidVolume.NotFound", Kind::NotFound);
        check(400, "InvalidVolume.ZoneMismatch", Kind::Invalid);
        check(400, "InvalidZone.NotFound", Kind::NotFound);
        check(400, "InvalidAttachment.NotFound", Kind::Conflict);
        check(400, "VolumeInUse", Kind::Conflict);
        check(400, "IncorrectState", Kind::Conflict);
        check(400, "InvalidSnapshot.NotFound", Kind::NotFound);
        check(400, "InvalidSnapshotID.Malformed", Kind::NotFound);
        check(400, "InvalidSnapshot.InUse", Kind::Conflict);
        check(400, "SnapshotCreationPerVolumeRateExceeded", Kind::Throttled { after: None });
        check(400, "InvalidAddress.NotFound", Kind::NotFound);
        check(400, "InvalidAllocationID.NotFound", Kind::NotFound);
        check(400, "InvalidAssociationID.NotFound", Kind::Conflict);
        check(400, "InvalidIPAddress.InUse", Kind::Conflict);
        check(400, "Resource.AlreadyAssociated", Kind::Conflict);
        check(400, "AddressLimitExceeded", Kind::Forbidden);
        check(400, "InvalidGroup.NotFound", Kind::NotFound);
        check(400, "InvalidGroupId.Malformed", Kind::NotFound);
        check(400, "InvalidGroup.Duplicate", Kind::Forbidden);
        check(400, "InvalidGroup.InUse", Kind::Conflict);
        check(400, "CannotDelete", Kind::Forbidden);
        check(400, "DependencyViolation", Kind::Conflict);
        check(400, "InvalidPermission.NotFound", Kind::NotFound);
        check(400, "InvalidPermission.Duplicate", Kind::Forbidden);
        check(400, "InvalidPermission.Malformed", Kind::Invalid);
        check(400, "InvalidSecurityGroupRuleId.NotFound", Kind::NotFound);
        check(400, "InvalidSecurityGroupRuleId.Malformed", Kind::NotFound);
        check(400, "IncorrectInstanceState", Kind::Conflict);
        check(400, "OperationNotPermitted", Kind::Conflict);
        check(400, "UnsupportedOperation", Kind::Unsupported);
        check(400, "InvalidParameterValue", Kind::Invalid);
        check(400, "MissingParameter", Kind::Invalid);
        check(400, "Unsupported", Kind::Invalid);
        check(500, "InsufficientInstanceCapacity", Kind::Unavailable);
        check(400, "Server.InsufficientInstanceCapacity", Kind::Unavailable);
        check(500, "InternalError", Kind::Unavailable);
        check(400, "Server.InternalError", Kind::Unavailable);
        check(503, "Unavailable", Kind::Unavailable);
        check(500, "InvalidInstanceID.NotFound", Kind::Unavailable);
        check(400, "RequestExpired", Kind::Unavailable);
        check(200, "InvalidInstanceID", Kind::Unavailable);
    }

    #[test]
    fn a_wrong_clock_is_not_a_wrong_key_and_a_foreign_image_neither() {
        let check = |code: &str, message: &str, expected: Kind| {
            let kind = kind(StatusCode::FORBIDDEN, Some(&fault(code, message)), &HeaderMap::new(), now());
            assert_eq!(kind, expected, "{message}");
        };
        check("SignatureDoesNotMatch", "Signature expired: 20261121T0310Z is now earlier than", Kind::Unavailable);
        check("SignatureDoesNotMatch", "Signature not yet current: 20261121T0310Z is later", Kind::Unavailable);
        check("SignatureDoesNotMatch", "The request signature we calculated does not match", Kind::Denied);
        check("AuthFailure", "Not authorized for images: [ami-1]", Kind::Forbidden);
        check("AuthFailure", "AWS was not able to validate the provided access credentials", Kind::Denied);
    }

    #[test]
    fn some_codes_mean_what_their_message_says() {
        let check = |code: &str, message: &str, expected: Kind| {
            let kind = kind(StatusCode::BAD_REQUEST, Some(&fault(code, message)), &HeaderMap::new(), now());
            assert_eq!(kind, expected, "{message}");
        };
        let of_id = "Value (vol1) for parameter volumeId is invalid. Expected: 'vol-...'.";
        check("InvalidParameterValue", of_id, Kind::NotFound);
        check("InvalidParameterValue", "Invalid value '/dev/sdf' for unixDevice.", Kind::Invalid);
        let early = "The pending instance 'i-1a2b3c4d' is not in a valid state for this operation.";
        check("InvalidInstanceID", early, Kind::Conflict);
        check("InvalidInstanceID", "The instance ID 'x' is odd", Kind::Invalid);
    }

    #[test]
    fn a_refusal_is_not_believed_while_the_clocks_differ() {
        let check = |theirs: &str, expected: Kind| {
            let fault = fault("AuthFailure", "AWS was not able to validate the provided access credentials");
            let kind = kind(StatusCode::UNAUTHORIZED, Some(&fault), &headers(DATE, theirs), now());
            assert_eq!(kind, expected, "{theirs}");
        };
        check("Sat, 21 Nov 2026 03:17:01 GMT", Kind::Denied);
        check("Sat, 21 Nov 2026 03:22:00 GMT", Kind::Denied);
        check("Sat, 21 Nov 2026 03:22:01 GMT", Kind::Unavailable);
        check("Sat, 21 Nov 2026 03:11:59 GMT", Kind::Unavailable);
        check("today", Kind::Denied);
    }

    #[test]
    fn a_strangers_page_says_little() {
        let check = |status: u16, expected: Kind| {
            let headers = headers(RETRY_AFTER, "7");
            assert_eq!(
                kind(StatusCode::from_u16(status).expect("a status"), None, &headers, now()),
                expected,
                "{status}"
            );
        };
        check(401, Kind::Denied);
        check(429, Kind::Throttled { after: Some(Duration::from_secs(7)) });
        for status in [301, 400, 403, 404, 407, 500, 502, 503, 504] {
            check(status, Kind::Unavailable);
        }
    }

    #[test]
    fn a_wait_is_read_in_both_forms() {
        let check = |text: &str, seconds: Option<u64>| {
            assert_eq!(retry_after(&headers(RETRY_AFTER, text), now()), seconds.map(Duration::from_secs), "{text}");
        };
        check("120", Some(120));
        check(" 0 ", Some(0));
        check("Sat, 21 Nov 2026 03:17:22 GMT", Some(22));
        check("Sat, 21 Nov 2026 03:16:22 GMT", None);
        check("soon", None);
        check("-5", None);
        assert_eq!(retry_after(&HeaderMap::new(), now()), None);
    }

    #[test]
    fn what_is_echoed_is_masked_and_bounded() {
        let fault = fault("SignatureDoesNotMatch", "key AKIDEXAMPLE1 with s3cr3t\n signed   abc123\u{7}");
        assert_eq!(
            shown(&fault, "AKIDEXAMPLE1", &["s3cr3t", "abc123", ""]),
            "SignatureDoesNotMatch: key AKID*** with *** signed ***"
        );
        let long = Fault { message: "x".repeat(100_000), ..fault };
        assert_eq!(shown(&long, "", &[]).chars().count(), SHOWN_CHARS_MAX);
    }
}
