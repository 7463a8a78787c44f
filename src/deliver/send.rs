use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use url::Url;

use super::consent::{Consent, REQUEST_ORIGIN, REQUEST_RATE};
use super::schedule::{Reply, retry_after};
use super::sign;
use crate::model::{Attempt, ChangeId, ExposeSecret as _, Format, Secret, SigningKey};
use crate::outbound::{Answer, Bounds, Outbound, Request, split_user};

/// Makes single tries. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    outbound: Outbound,
    bounds: Bounds,
    answer_bytes_kept: usize,
    /// Who we say we are, where receivers are asked first.
    origin: Option<HeaderValue>,
}

/// One change, ready to be posted to one hook.
#[derive(Clone)]
pub struct Message {
    /// The hook's callback, with whatever credentials its owner put in.
    pub url: Url,
    pub id: ChangeId,
    pub keys: Vec<SigningKey>,
    /// Not kept, should a receiver send it back to us.
    pub token: Option<Secret>,
    /// Of the body.
    pub format: Format,
    pub body: Bytes,
}

impl Sender {
    pub fn new(outbound: Outbound, bounds: Bounds, answer_bytes_kept: usize) -> Self {
        Self { outbound, bounds, answer_bytes_kept, origin: None }
    }

    /// Every request says that it comes from `origin`, a host's name, as receivers that were asked for their consent expect.
    #[must_use]
    pub(super) fn announcing(self, origin: &str) -> Self {
        Self { origin: HeaderValue::try_from(origin).ok(), ..self }
    }

    /// Asks whether we may call, and how often; `rate` is how many calls a minute we would like, 0: as many as we have. Comes
    /// back with what to record if we may not.
    pub(super) async fn ask(
        &self,
        url: &Url,
        rate: u32,
        number: u32,
        at: Timestamp,
    ) -> Result<Consent, (Attempt, Reply)> {
        let mut attempt = Attempt::begun(number, at);
        let (url, authorization) = split_user(url.clone());
        let origin = self.origin.clone().unwrap_or_else(|| HeaderValue::from_static("unknown"));
        let mut headers = HeaderMap::from_iter([(HeaderName::from_static(REQUEST_ORIGIN), origin.clone())]);
        if rate > 0 {
            headers.insert(HeaderName::from_static(REQUEST_RATE), HeaderValue::from(rate));
        }
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        let started = tokio::time::Instant::now();
        let request = Request { method: Method::OPTIONS, url, headers, body: Bytes::new() };
        let exchange = self.outbound.exchange(request, self.bounds).await;
        attempt.elapsed = started.elapsed();
        match exchange {
            Ok(answer) => match Consent::read(&answer.headers, origin.to_str().unwrap_or_default()) {
                Some(consent) => Ok(consent),
                None => {
                    attempt.status = Some(answer.status.as_u16());
                    attempt.error = Some(NO_CONSENT.to_owned());
                    Err((attempt, Reply::NoConsent))
                }
            },
            Err(err) => {
                attempt.error = Some(err.to_string());
                Err((attempt, if err.is_ours() { Reply::OwnFault } else { Reply::NoAnswer }))
            }
        }
    }

    /// Posts the message once, signed for the moment `at`. What comes back tells what happened; it never fails.
    pub async fn send(&self, message: Message, number: u32, at: Timestamp) -> (Attempt, Reply) {
        let mut attempt = Attempt::begun(number, at);
        let Message { url, id, keys, token, format, body } = message;
        let (url, authorization) = split_user(url);
        let secrets = secrets(&url, authorization.as_ref(), token.as_ref());
        let headers = match headers(&id, &keys, authorization, at, format, &body) {
            Ok(mut headers) => {
                if let Some(origin) = &self.origin {
                    headers.insert(HeaderName::from_static(REQUEST_ORIGIN), origin.clone());
                }
                headers
            }
            Err(err) => {
                attempt.error = Some(err.to_string());
                return (attempt, Reply::OwnFault);
            }
        };
        let started = tokio::time::Instant::now();
        let exchange = self.outbound.exchange(Request { method: Method::POST, url, headers, body }, self.bounds).await;
        attempt.elapsed = started.elapsed();
        match exchange {
            Ok(answer) => {
                attempt.status = Some(answer.status.as_u16());
                attempt.error = complaint(answer.status);
                attempt.answer = kept(&answer.body, &secrets, self.answer_bytes_kept);
                (attempt, reply(&answer, at))
            }
            Err(err) => {
                attempt.error = Some(err.to_string());
                (attempt, if err.is_ours() { Reply::OwnFault } else { Reply::NoAnswer })
            }
        }
    }
}

const NO_CONSENT: &str =
    "the receiver did not consent to being called: its answer to OPTIONS has no WebHook-Allowed-Origin that names us";

fn reply(answer: &Answer, now: Timestamp) -> Reply {
    let asked = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Reply::Status { status: answer.status.as_u16(), retry_after: asked.and_then(|text| retry_after(text, now)) }
}

/// What was wrong with a status, in words.
fn complaint(status: StatusCode) -> Option<String> {
    match status.as_u16() {
        200..=299 => None,
        300..=399 => Some(format!("the receiver answered {status}; redirects are not followed")),
        _ => Some(format!("the receiver answered {status}")),
    }
}

#[derive(Debug, thiserror::Error)]
enum Unsendable {
    #[error("a key of the hook cannot be used: {0}")]
    Key(#[from] sign::BadKey),
    #[error("the hook has no key that is still in use")]
    NoKey,
    #[error("the change's id does not fit into a header")]
    Id,
}

fn headers(
    id: &ChangeId,
    keys: &[SigningKey],
    authorization: Option<HeaderValue>,
    at: Timestamp,
    format: Format,
    body: &[u8],
) -> Result<HeaderMap, Unsendable> {
    let keys = sign::live_keys(keys, at)?;
    if keys.is_empty() {
        return Err(Unsendable::NoKey);
    }
    let signature = sign::sign(&keys, &id.0, at, body);
    let content_type = match format {
        Format::Changes => "application/json",
        Format::CloudEvents => "application/cloudevents+json; charset=utf-8",
    };
    let ours = "digits and Base64 have only characters that a header may have";
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (HeaderName::from_static(sign::ID), HeaderValue::try_from(&id.0).map_err(|_| Unsendable::Id)?),
        (HeaderName::from_static(sign::TIMESTAMP), HeaderValue::from(at.as_second())),
        (HeaderName::from_static(sign::SIGNATURE), HeaderValue::try_from(signature).expect(ours)),
    ]);
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization);
    }
    Ok(headers)
}

/// Shorter values (`v=2`) are no secrets, and masking them would garble every answer.
const SECRET_BYTES_MIN: usize = 4;

/// What a receiver was given in confidence. Some send back all they get, and answers are kept in the clear.
fn secrets(url: &Url, authorization: Option<&HeaderValue>, token: Option<&Secret>) -> Vec<String> {
    let mut secrets = vec![];
    if let Some(token) = token {
        let token = token.expose_secret();
        // As it stood in our JSON, without the quotes around it.
        let quoted = serde_json::Value::from(token).to_string();
        secrets.push(quoted[1..quoted.len() - 1].to_owned());
        secrets.push(token.to_owned());
    }
    let basic = authorization.and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Basic "));
    secrets.extend(basic.map(str::to_owned));
    secrets.extend(url.query().map(str::to_owned));
    secrets.extend(url.query_pairs().map(|(_, value)| value.into_owned()));
    secrets.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
    // Long before short, so that no part of a longer one is left.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// The beginning of an answer, as text that any database and terminal takes.
fn kept(body: &[u8], secrets: &[String], bytes_max: usize) -> String {
    let mut text = String::from_utf8_lossy(body);
    for secret in secrets {
        if text.contains(secret.as_str()) {
            text = Cow::Owned(text.replace(secret.as_str(), "***"));
        }
    }
    let plain = |c: char| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c };
    let mut kept: String = text.chars().take(bytes_max).map(plain).collect();
    kept.truncate(kept.floor_char_boundary(bytes_max));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_put_into_words() {
        let check = |status: u16, want: Option<&str>| {
            assert_eq!(complaint(StatusCode::from_u16(status).unwrap()).as_deref(), want);
        };
        check(204, None);
        check(302, Some("the receiver answered 302 Found; redirects are not followed"));
        check(503, Some("the receiver answered 503 Service Unavailable"));
        check(599, Some("the receiver answered 599 <unknown status code>"));
    }

    #[test]
    fn answers_are_kept_short_plain_and_without_what_was_confided() {
        let url = Url::parse("https://a.example/cb?key=s3cret&x=yy%20z&v=1").unwrap();
        let token = Secret::from("to\"ken");
        let secrets = secrets(&url, Some(&HeaderValue::from_static("Basic dXNlcjpwYXNz")), Some(&token));
        let check = |body: &[u8], want: &str| assert_eq!(kept(body, &secrets, 12), want);
        check(b"ok", "ok");
        check(b"0123456789abcdef", "0123456789ab");
        check(b"line\nnext\0\x1b[31m", "line\nnext  [");
        check("äöüäöüäöü".as_bytes(), "äöüäöü");
        check(b"a\xffb", "a\u{fffd}b");
        check("1234567890aä".as_bytes(), "1234567890a");
        check(br#"{"t":"to\"ken"}"#, r#"{"t":"***"}"#);
        check(b"to\"ken!", "***!");
        check(b"to\"k", "to\"k");
        check(b"s3cret yy z 1", "*** *** 1");
        check(b"?key=s3cret&x=yy%20z&v=1", "?***");
        check(b"dXNlcjpwYXNz", "***");
    }

    #[test]
    fn what_cannot_be_signed_is_not_sent() {
        let keys = [SigningKey { secret: Secret::from("whsec_c2hvcnQ="), until: None }];
        let err = headers(&ChangeId("chg_1".to_owned()), &keys, None, Timestamp::UNIX_EPOCH, Format::Changes, b"{}")
            .unwrap_err();
        assert_eq!(err.to_string(), "a key of the hook cannot be used: a signing key holds 24 to 64 bytes, not 5");

        let keys = [SigningKey { secret: sign::new_key(&[1; 32]), until: Some(Timestamp::UNIX_EPOCH) }];
        let check = |id: &str, at: i64, want: &str| {
            let at = Timestamp::from_second(at).unwrap();
            let err = headers(&ChangeId(id.to_owned()), &keys, None, at, Format::Changes, b"{}").unwrap_err();
            assert_eq!(err.to_string(), want);
        };
        check("chg_1", 1, "the hook has no key that is still in use");
        check("chg\n1", -1, "the change's id does not fit into a header");
    }
}
