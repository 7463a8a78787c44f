//! `/api/hints`: others say what moved, with a secret of the account that its owner made here.
//!
//! Wrong secrets are counted per address like wrong logins, *different ones only*; beyond the bound the store is asked only about
//! those that were good before. Not per account: its number is easily guessed, and a guesser must not lock its owner out.

use axum::body::Bytes;
use axum::extract::RawQuery;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use jiff::Timestamp;
use serde::Serialize;

use super::auth;
use super::call::Call;
use super::error::{Fault, Problem};
use super::negotiate::Format;
use crate::hints::{self, HintSecret, Refusal, Taken};
use crate::model::{AccountId, AccountKey, Credentials, DriverId, ExposeSecret as _, Login, Secret};
use crate::store::HintSecretAbout;

const SECRET: HeaderName = HeaderName::from_static("tracker-hint-secret");

/// Who stands for the secret's owner where a user must be named.
const USER: &str = "hint";

#[derive(Serialize)]
struct TakenView {
    taken: usize,
    ignored: usize,
}

#[derive(Serialize)]
struct SecretView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    made_at: Timestamp,
    /// Until when the one before it is good as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    old_until: Option<Timestamp>,
}

pub(super) async fn take(
    call: Call,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
    body: Bytes,
) -> Result<Response, Fault> {
    let desk = &call.api.hints;
    let outcome = async {
        let (account, key) = whose(&call, &headers).await?;
        let said = hints::read(query.as_deref().unwrap_or_default(), &body, desk.settings().ids_max);
        desk.take(account, &key, said.map_err(Fault::invalid)?).await.map_err(Fault::from)
    };
    let Taken { taken, ignored } = outcome.await.inspect_err(|fault| {
        if fault.problem != Problem::Internal {
            desk.counters().refused();
        }
    })?;
    Ok(call.json(StatusCode::ACCEPTED, &TakenView { taken, ignored }))
}

pub(super) async fn make_secret(call: Call) -> Result<Response, Fault> {
    let caller = call.caller().await?;
    let made = call.api.hints.make_secret(&caller.key).await?;
    let text = made.secret.text();
    Ok(call.private(StatusCode::CREATED, Some(text.expose_secret()), made.about))
}

pub(super) async fn show_secret(call: Call) -> Result<Response, Fault> {
    let caller = call.caller().await?;
    let about = call.api.hints.about_secret(&caller.key).await?;
    Ok(call.private(StatusCode::OK, None, about.ok_or_else(none)?))
}

pub(super) async fn end_secret(call: Call) -> Result<Response, Fault> {
    let caller = call.caller().await?;
    if !call.api.hints.end_secret(&caller.key).await? {
        return Err(none());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn none() -> Fault {
    Fault::new(Problem::NotFound, "There is no hint secret in this account: POST makes one")
}

/// The account whose secret the request shows.
async fn whose(call: &Call, headers: &HeaderMap) -> Result<(AccountId, AccountKey), Fault> {
    let refused = |text: &str| Fault::new(Problem::Unauthorized, text);
    let shown = shown(headers).ok_or_else(|| {
        refused("A hint secret is required: as bearer token, as password of the user `hint`, or in Tracker-Hint-Secret")
    })?;
    // Counted like a login, each secret as a user of its own.
    let user = shown.expose_secret().to_owned();
    let login = Login {
        driver: DriverId::new("hints"),
        provider: None,
        credentials: Credentials { user, password: shown.clone() },
    };
    let (logins, digest) = (&call.api.logins, call.api.logins.digest(&login));
    if logins.owner(digest).is_none() && logins.is_guessing(&login, call.peer) {
        return Err(refused("Too many different wrong secrets; try again later"));
    }
    let whose = match HintSecret::parse(shown.expose_secret()) {
        Some(secret) => call.api.hints.whose(&secret).await?,
        None => None,
    };
    match whose {
        Some((account, key)) => {
            logins.remember_owner(digest, &key.identity);
            Ok((account, key))
        }
        None => {
            logins.refused(&login, call.peer, call.api.clock.now());
            Err(refused("This hint secret is not, or no longer, good"))
        }
    }
}

/// Wherever a sender can put it.
fn shown(headers: &HeaderMap) -> Option<Secret> {
    if let Some(value) = headers.get(SECRET) {
        return Some(Secret::from(value.to_str().ok()?.trim().to_owned()));
    }
    let authorization = headers.get(header::AUTHORIZATION)?;
    bearer(authorization)
        .or_else(|| auth::basic(authorization).filter(|given| given.user == USER).map(|given| given.password))
}

fn bearer(header: &HeaderValue) -> Option<Secret> {
    let (scheme, token) = header.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::from(token.trim().to_owned()))
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Foreign(..) => Self::new(Problem::Forbidden, refusal.to_string()),
            Refusal::Store(err) => err.into(),
        }
    }
}

impl Call {
    /// For what nobody on the way may keep. Not [`Call::json`], which makes a tag of the body.
    fn private(&self, status: StatusCode, secret: Option<&str>, about: HintSecretAbout) -> Response {
        let HintSecretAbout { made_at, old_until } = about;
        let view = SecretView { secret, made_at, old_until };
        let body = serde_json::to_vec(&view).expect("views are maps with text keys");
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static(Format::Json.content_type())),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (status, headers, body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_comes_in_any_of_three_ways() {
        let check = |headers: &[(HeaderName, &str)], expected: Option<&str>| {
            let headers: HeaderMap =
                headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
            let shown = shown(&headers);
            assert_eq!(shown.as_ref().map(|secret| secret.expose_secret()), expected, "{headers:?}");
        };
        check(&[], None);
        check(&[(header::AUTHORIZATION, "Bearer hint_7_x")], Some("hint_7_x"));
        check(&[(header::AUTHORIZATION, "bearer  hint_7_x ")], Some("hint_7_x"));
        // hint:hint_7_x
        check(&[(header::AUTHORIZATION, "Basic aGludDpoaW50XzdfeA==")], Some("hint_7_x"));
        // mockuser:mockpassword is the cloud's, and no business of ours here.
        check(&[(header::AUTHORIZATION, "Basic bW9ja3VzZXI6bW9ja3Bhc3N3b3Jk")], None);
        check(&[(SECRET, " hint_7_x ")], Some("hint_7_x"));
        check(&[(SECRET, "hint_7_x"), (header::AUTHORIZATION, "Bearer other")], Some("hint_7_x"));
        check(&[(header::AUTHORIZATION, "Digest hint_7_x")], None);
        check(&[(header::AUTHORIZATION, "Bearer")], None);
    }
}
