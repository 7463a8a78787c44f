//! What goes wrong, as clients are told. The only place where kinds become statuses.
//!
//! Deltacloud clients crash on statuses that they do not know (409, 412, 422, 429, 503), so [`Problem`] has none of
//! them outside of the feed: overload and throttling are 502 with `Retry-After`, a name taken is 400. A document has neither `backtrace` nor
//! `request`: both would tell secrets, and no client misses them.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;

use super::render::{Document, Xml};
use crate::{drivers, store};

/// When to come back if nobody says when.
const BUSY_WAIT: Duration = Duration::from_secs(5);

/// Every status that Tracker answers a failed request with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Invalid,
    Unauthorized,
    Forbidden,
    NotFound,
    NotAllowed,
    NotAcceptable,
    /// Only where no Deltacloud client goes: a place in the feed that is not kept any more.
    Gone,
    /// Only where no Deltacloud client goes: all places of those who wait in the feed are taken.
    Busy,
    /// Our own fault.
    Internal,
    Unsupported,
    Backend,
    /// Confuses the current Ruby gem, while the older one has a class for it, and the reference sends it. Only for a
    /// backend that timed out; our own deadline is [`Problem::Backend`].
    BackendTimeout,
}

impl Problem {
    pub(super) fn status(self) -> StatusCode {
        self.words().0
    }

    /// The status, the default message and the class that JSON names.
    fn words(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid => (StatusCode::BAD_REQUEST, "Bad Request", "ValidationFailure"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "Unauthorized", "AuthenticationFailure"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "Forbidden", "ForbiddenError"),
            Self::NotFound => (StatusCode::NOT_FOUND, "Not Found", "ObjectNotFound"),
            Self::NotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "MethodNotAllowed"),
            Self::NotAcceptable => (StatusCode::NOT_ACCEPTABLE, "Not Acceptable", "UnknownMediaTypeError"),
            Self::Gone => (StatusCode::GONE, "Gone", "Gone"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable", "ServiceUnavailable"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error", "BackendError"),
            Self::Unsupported => (StatusCode::NOT_IMPLEMENTED, "Not Supported", "NotImplemented"),
            Self::Backend => (StatusCode::BAD_GATEWAY, "Backend Server Error", "ProviderError"),
            Self::BackendTimeout => (StatusCode::GATEWAY_TIMEOUT, "Gateway Timeout", "ProviderTimeout"),
        }
    }
}

/// A request that cannot be answered as asked. The message is for people and holds nothing secret.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) problem: Problem,
    pub(super) message: String,
    /// When it makes sense to come back.
    pub(super) retry_after: Option<Duration>,
    /// What may be done here instead; goes with 405.
    pub(super) allow: Option<&'static str>,
    /// The body was not read whole, so the connection cannot be used again.
    pub(super) close: bool,
    /// Headers that go with the document.
    pub(super) more: Option<Box<HeaderMap>>,
}

impl Fault {
    /// With the status's own words.
    pub(super) fn of(problem: Problem) -> Self {
        Self::new(problem, problem.words().1)
    }

    pub(super) fn new(problem: Problem, message: impl Into<String>) -> Self {
        Self { problem, message: message.into(), retry_after: None, allow: None, close: false, more: None }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Problem::Invalid, message)
    }

    pub(super) fn not_found(noun: &str, id: &str) -> Self {
        Self::new(Problem::NotFound, format!("There is no {noun} {id}"))
    }

    /// The fault behind an answer that the framework made by itself.
    pub(super) fn of_status(status: StatusCode) -> Self {
        Self::of(match status {
            StatusCode::NOT_FOUND => Problem::NotFound,
            StatusCode::METHOD_NOT_ALLOWED => Problem::NotAllowed,
            status if status.is_client_error() => Problem::Invalid,
            _ => Problem::Internal,
        })
    }

    pub(super) fn document<'a>(
        &'a self,
        url: &'a str,
        driver: &'a str,
        provider: Option<&'a str>,
    ) -> ErrorDocument<'a> {
        let (status, _, class) = self.problem.words();
        ErrorDocument {
            code: status.as_u16(),
            message: &self.message,
            error: format!("Deltacloud::Exceptions::{class}"),
            url,
            driver,
            provider: provider.unwrap_or("default"),
        }
    }
}

/// Leaves the document to the outermost layer, which alone knows the representation wanted.
impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.problem.status();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<drivers::Error> for Fault {
    fn from(err: drivers::Error) -> Self {
        use drivers::Kind;
        let (problem, retry_after) = match err.kind {
            Kind::Denied => (Problem::Unauthorized, None),
            Kind::Forbidden => (Problem::Forbidden, None),
            Kind::NotFound => (Problem::NotFound, None),
            Kind::Throttled { after } => (Problem::Backend, Some(after.unwrap_or(BUSY_WAIT))),
            Kind::Busy => (Problem::Backend, Some(BUSY_WAIT)),
            Kind::Unavailable => (Problem::Backend, None),
            Kind::Failed => (Problem::Internal, None),
            Kind::TimedOut => (Problem::BackendTimeout, None),
            Kind::Unsupported => (Problem::Unsupported, None),
            Kind::Invalid => (Problem::Invalid, None),
            Kind::Conflict => (Problem::NotAllowed, None),
        };
        Self { retry_after, ..Self::new(problem, err.text) }
    }
}

impl From<store::Error> for Fault {
    fn from(err: store::Error) -> Self {
        error!("The store failed a request: {err}");
        Self::new(Problem::Internal, "Tracker's own store failed; its log says why")
    }
}

/// The error document (contract 4.1). All that libdeltacloud looks at is its root.
#[derive(Debug, Serialize)]
pub(super) struct ErrorDocument<'a> {
    code: u16,
    message: &'a str,
    error: String,
    #[serde(skip)]
    url: &'a str,
    #[serde(skip)]
    driver: &'a str,
    #[serde(skip)]
    provider: &'a str,
}

impl Document for ErrorDocument<'_> {
    fn xml(&self, xml: &mut Xml) {
        let code = self.code.to_string();
        xml.element("error", &[("status", &code), ("url", self.url)], |xml| {
            xml.empty("backend", &[("driver", self.driver), ("provider", self.provider)]);
            xml.text("code", &[], &code);
            xml.text("message", &[], self.message);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::negotiate::Format;
    use crate::api::render::render;
    use crate::drivers::Kind;

    #[test]
    fn every_kind_of_a_drivers_error_is_a_status_that_clients_survive() {
        let check = |kind, status: u16, retry_after: Option<u64>| {
            let fault = Fault::from(drivers::Error::new(kind, "the backend said so"));
            assert_eq!(fault.problem.status().as_u16(), status, "{kind:?}");
            assert_eq!(fault.retry_after.map(|after| after.as_secs()), retry_after, "{kind:?}");
            assert_eq!(fault.message, "the backend said so");
        };
        check(Kind::Denied, 401, None);
        check(Kind::Forbidden, 403, None);
        check(Kind::NotFound, 404, None);
        check(Kind::Throttled { after: None }, 502, Some(5));
        check(Kind::Throttled { after: Some(Duration::from_secs(17)) }, 502, Some(17));
        check(Kind::Busy, 502, Some(5));
        check(Kind::Unavailable, 502, None);
        check(Kind::TimedOut, 504, None);
        check(Kind::Failed, 500, None);
        check(Kind::Unsupported, 501, None);
        check(Kind::Invalid, 400, None);
        check(Kind::Conflict, 405, None);
    }

    #[test]
    fn the_document_has_what_the_gems_need_and_no_more() {
        let fault = Fault::not_found("instance", "<i-9>");
        let shown = |format, provider| {
            let document = fault.document("/api/instances/%3Ci-9%3E", "mock", provider);
            String::from_utf8(render(&document, format)).unwrap()
        };
        insta::assert_snapshot!(shown(Format::Xml, None), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <error status='404' url='/api/instances/%3Ci-9%3E'>
          <backend driver='mock' provider='default' />
          <code>404</code>
          <message>There is no instance &lt;i-9&gt;</message>
        </error>
        "#);
        insta::assert_snapshot!(shown(Format::Json, None), @r#"{"code":404,"message":"There is no instance <i-9>","error":"Deltacloud::Exceptions::ObjectNotFound"}"#);
        assert!(shown(Format::Xml, Some("eu")).contains("provider='eu'"));
    }
}
