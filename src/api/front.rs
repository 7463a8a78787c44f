//! The outermost layer: reads what is common to all requests before a route is chosen, and gives every answer, errors
//! and unknown paths included, its common headers and its error document.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request};
use axum::response::Response;
use futures_util::{FutureExt as _, stream};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::SemaphorePermit;
use tower::ServiceExt as _;
use tracing::{Instrument as _, debug, debug_span, error};

use super::call::{self, BackendTime, Call, Inner};
use super::collection::Collected as _;
use super::error::{Fault, Problem};
use super::negotiate::{self, Format, Offers};
use super::params::Params;
use super::receipt::Wire;
use super::render::render;
use super::target::{self, Target};
use super::upload::{self, Carries, Place};
use super::{Api, VERSION, changes};
use crate::drivers::Driver;
use crate::model::{Bucket, DriverId};

const DRIVER: HeaderName = HeaderName::from_static("x-deltacloud-driver");
const PROVIDER: HeaderName = HeaderName::from_static("x-deltacloud-provider");
const BACKEND_RUNTIME: HeaderName = HeaderName::from_static("x-backend-runtime");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");

/// The longest names of a driver and of a provider (URLs among them). Bytes.
const DRIVER_BYTES_MAX: usize = 64;
const PROVIDER_BYTES_MAX: usize = 2_048;

/// Who is at the other end of the connection; put into requests by [`super::serve`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

#[derive(Clone)]
pub(super) struct Front {
    pub(super) api: Arc<Api>,
    pub(super) routes: Router,
}

/// What is known about a request even if it makes no sense otherwise.
struct Outline {
    path: String,
    driver: String,
    provider: Option<String>,
    format: Format,
}

pub(super) async fn answer(State(front): State<Front>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let head = parts.method == Method::HEAD;
    let mut outline = Outline {
        path: target::plain(parts.uri.path()),
        driver: front.api.default_driver.to_string(),
        provider: None,
        format: Format::Xml,
    };
    let span = debug_span!("request", method = %parts.method, path = %outline.path);
    let handled = handle(&front, parts, body, &mut outline).instrument(span);
    let guarded = AssertUnwindSafe(handled).catch_unwind().await;
    let mut response = match guarded {
        Ok(Ok(response)) => with_document(response, &outline),
        Ok(Err(fault)) => document(&fault, &outline),
        Err(_) => {
            error!("A request to {} made Tracker panic; the line before says where", outline.path);
            document(&Fault::of(Problem::Internal), &outline)
        }
    };
    finish(&mut response, &outline, head);
    debug!(status = response.status().as_u16(), driver = outline.driver, "Answered {}", outline.path);
    response
}

async fn handle(front: &Front, parts: request::Parts, body: Body, outline: &mut Outline) -> Result<Response, Fault> {
    let api = &front.api;
    let said = Said::read(api, &parts, outline)?;
    let carries = upload::carries(&said.method, said.place, content_type(&parts.headers));
    if carries.is_big() {
        welcome(api, &parts, &said).await.map_err(|fault| Fault { close: true, ..fault })?;
    }
    let _turn = turn(api, carries).await?;
    let bytes_max = match carries {
        Carries::Parameters => api.settings.body_bytes_max,
        Carries::Blob | Carries::BlobForm => api.settings.blob_bytes_max,
        Carries::Hints => api.hints.settings().body_bytes_max,
    };
    let body = read(body, bytes_max, Duration::from_millis(api.settings.body_ms)).await?;
    let path = said.target.path.clone();
    let (call, request) = understood(api, parts, said, carries, body)?;
    let mut deadline = Duration::from_millis(api.settings.answer_ms);
    if path == "/api/changes" {
        deadline += changes::patience(&call.params, api.feeds.settings());
    }
    match tokio::time::timeout(deadline, front.routes.clone().oneshot(request)).await {
        Ok(Ok(mut response)) => {
            if let Some(spent) = call.backend.spent() {
                insert(response.headers_mut(), BACKEND_RUNTIME, &format!("{:.6}", spent.as_secs_f64()));
            }
            Ok(response)
        }
        Ok(Err(never)) => match never {},
        Err(_) => Err(late()),
    }
}

/// What a request says before its body is read.
struct Said {
    target: Target,
    chosen: Chosen,
    driver: Arc<dyn Driver>,
    origin: String,
    format: Format,
    place: Option<Place>,
    method: Method,
}

impl Said {
    fn read(api: &Api, parts: &request::Parts, outline: &mut Outline) -> Result<Self, Fault> {
        let request::Parts { method, uri, headers, .. } = parts;
        let query = uri.query().unwrap_or_default();
        // First of all: whatever else is wrong is said as it was asked for. One that wants neither gets what everyone can
        // read.
        let format = form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "format").map(|(_, value)| value);
        let accept = joined(headers, &header::ACCEPT);
        let choose_format = |path: &str| negotiate::choose(accept.as_deref(), format.as_deref(), offers(path));
        outline.format = choose_format(uri.path()).unwrap_or_default();

        let most = api.settings.url_bytes_max;
        if uri.path().len() + query.len() > most {
            return Err(Fault::invalid(format!("The URL is longer than {most} bytes")));
        }
        let target = Target::parse(uri.path());
        let target = target.map_err(|_| Fault::invalid("The path is not UTF-8 behind its escapes"))?;
        outline.path = target.path.clone();
        let chosen = choose(api, &target, headers)?;
        outline.driver = chosen.driver.to_string();
        outline.provider = chosen.provider.clone();
        let format = choose_format(&target.path);
        outline.format = format.unwrap_or_default();

        let origin = origin(api, uri, headers).ok_or_else(|| Fault::invalid("The request names no usable Host"))?;
        let driver = api.drivers.get(&chosen.driver).cloned();
        let driver = driver.ok_or_else(|| Fault::invalid(format!("Driver '{}' is not available", chosen.driver)))?;
        let place = Place::of(&target.path);
        // A blob's content is of its own type, whatever is asked for.
        let format = format.or((place == Some(Place::Content)).then_some(outline.format));
        let format = format.ok_or_else(|| Fault::of(Problem::NotAcceptable))?;
        let method = override_by_header(method.clone(), headers, place);
        Ok(Self { target, chosen, driver, origin, format, place, method })
    }
}

fn call_of(api: &Arc<Api>, parts: &request::Parts, said: &Said, params: Params) -> Call {
    let request::Parts { headers, extensions, .. } = parts;
    let Said { chosen, driver, origin, format, .. } = said;
    Call::from(Inner {
        api: api.clone(),
        driver: driver.clone(),
        base: format!("{origin}/api{}", chosen.matrix),
        origin: origin.clone(),
        provider: chosen.provider.clone(),
        params,
        head: parts.method == Method::HEAD,
        format: *format,
        authorization: headers.get(header::AUTHORIZATION).cloned(),
        referer: headers.get(header::REFERER).cloned(),
        peer: extensions.get::<Peer>().map(|Peer(address)| address.ip().to_canonical()),
        wire: extensions.get::<Wire>().cloned(),
        backend: BackendTime::default(),
    })
}

/// Bodies with blobs are big, and few are held at once: nobody sends one before his cloud has said that it knows him.
async fn welcome(api: &Arc<Api>, parts: &request::Parts, said: &Said) -> Result<(), Fault> {
    let params = Params::parse(parts.uri.query().unwrap_or_default(), b"", api.settings.params_max)?;
    let call = call_of(api, parts, said, params);
    call.needs(Bucket::PLURAL)?;
    let deadline = Duration::from_millis(api.settings.answer_ms);
    tokio::time::timeout(deadline, call.caller()).await.map_err(|_| late())?.map(drop)
}

fn late() -> Fault {
    Fault::new(Problem::Backend, "The backend did not answer in time")
}

/// The request with its body, ready for the routes.
fn understood(
    api: &Arc<Api>,
    parts: request::Parts,
    said: Said,
    carries: Carries,
    body: Bytes,
) -> Result<(Call, Request), Fault> {
    let form: &[u8] = if carries == Carries::Parameters { &body } else { b"" };
    let method = override_by_form(said.method.clone(), if carries.is_opaque() { b"" } else { &body });
    if carries != Carries::Blob && upload::carries(&method, said.place, None) == Carries::Blob {
        return Err(Fault::invalid(
            "A form cannot stand for the PUT of a blob, whose content would be the form itself",
        ));
    }
    let params = Params::parse(parts.uri.query().unwrap_or_default(), form, api.settings.params_max)?;
    // Links to what makes something carry what it is made of. Elsewhere they mean nothing, as in the reference.
    let params = if method == Method::POST { params.over(said.target.params.clone()) } else { params };
    let call = call_of(api, &parts, &said, params);
    let request::Parts { uri, headers, extensions, .. } = parts;
    let mut request = Request::new(if carries == Carries::Parameters { Body::empty() } else { Body::from(body) });
    *request.method_mut() = method;
    *request.uri_mut() = plain_uri(&said.target.path, uri.query().filter(|_| carries != Carries::Parameters))?;
    *request.headers_mut() = headers;
    *request.extensions_mut() = extensions;
    request.extensions_mut().insert(call.clone());
    Ok((call, request))
}

struct Chosen {
    driver: DriverId,
    provider: Option<String>,
    /// For hrefs: what the request itself carried as matrix.
    matrix: String,
}

/// Matrix parameters beat headers, headers beat settings. An empty one is not given.
fn choose(api: &Api, target: &Target, headers: &HeaderMap) -> Result<Chosen, Fault> {
    let header = |name| -> Option<String> {
        let value = String::from_utf8_lossy(headers.get(name)?.as_bytes()).trim().to_owned();
        Some(value).filter(|value| !value.is_empty())
    };
    let driver = target.driver.clone().or_else(|| header(DRIVER));
    let provider = target.provider.clone().or_else(|| header(PROVIDER));
    let strange = |text: &Option<String>, max| {
        text.as_ref().is_some_and(|text| text.len() > max || text.chars().any(char::is_control))
    };
    if strange(&driver, DRIVER_BYTES_MAX) || strange(&provider, PROVIDER_BYTES_MAX) {
        return Err(Fault::invalid("The driver or the provider named is too long or holds control characters"));
    }
    let fallback = if driver.is_none() { api.default_provider.clone() } else { None };
    let driver = driver.map_or_else(|| api.default_driver.clone(), |driver| DriverId::new(&driver));
    let matrix = target::matrix(target.driver.as_ref().map(|_| driver.as_str()), target.provider.as_deref());
    Ok(Chosen { provider: provider.or(fallback), driver, matrix })
}

/// Only Tracker's own collections are JSON only.
fn offers(path: &str) -> Offers {
    match path.split('/').nth(2) {
        Some("changes") => Offers::JsonOrEvents,
        Some("hooks" | "deliveries" | "hints") => Offers::Json,
        _ => Offers::XmlOrJson,
    }
}

fn origin(api: &Api, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).or_else(|| uri.authority().map(|authority| authority.as_str()));
    // Asked for even when settings know better: a request without it is broken.
    let origin = target::origin(host, text(FORWARDED_HOST), text(FORWARDED_PROTO))?;
    Some(api.public_origin.clone().unwrap_or(origin))
}

pub(super) fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    (!values.is_empty()).then(|| values.join(","))
}

async fn read(body: Body, max: usize, within: Duration) -> Result<Bytes, Fault> {
    let unread = |message: String| Fault { close: true, ..Fault::invalid(message) };
    match tokio::time::timeout(within, Limited::new(body, max).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(err)) if err.is::<LengthLimitError>() => Err(unread(format!("The body is longer than {max} bytes"))),
        Ok(Err(_)) => Err(unread("The body broke off".to_owned())),
        Err(_) => Err(unread(format!("The body did not come within {} ms", within.as_millis()))),
    }
}

/// A POST may stand for PUT or DELETE. Only a header or the form may say so, never the URL: links must not destroy.
fn override_by_header(method: Method, headers: &HeaderMap, place: Option<Place>) -> Method {
    match method {
        // Of a blob it is not the GET without its body.
        Method::HEAD if place != Some(Place::Blob) => Method::GET,
        Method::POST => {
            let says = headers.get(METHOD_OVERRIDE).and_then(|value| value.to_str().ok());
            overridden(says).unwrap_or(method)
        }
        _ => method,
    }
}

fn override_by_form(method: Method, form: &[u8]) -> Method {
    if method != Method::POST {
        return method;
    }
    let says = form_urlencoded::parse(form).find(|(key, _)| key == "_method").map(|(_, value)| value);
    overridden(says.as_deref()).unwrap_or(method)
}

fn overridden(says: Option<&str>) -> Option<Method> {
    match says?.to_ascii_uppercase().as_str() {
        "PUT" => Some(Method::PUT),
        "DELETE" => Some(Method::DELETE),
        _ => None,
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"))
}

/// Bodies with blobs are big, so only so many are held at once; the others wait unread.
async fn turn(api: &Api, carries: Carries) -> Result<Option<SemaphorePermit<'_>>, Fault> {
    if !carries.is_big() {
        return Ok(None);
    }
    let patience = Duration::from_millis(api.settings.body_ms);
    match tokio::time::timeout(patience, api.uploads.acquire()).await {
        Ok(turn) => Ok(Some(turn.expect("nobody closes the semaphore"))),
        Err(_) => {
            let busy = Fault::new(Problem::Backend, "Too many blobs are being received; try again later");
            Err(Fault { retry_after: Some(Duration::from_secs(5)), close: true, ..busy })
        }
    }
}

/// The path without matrix, for routing, and the query for those who read it themselves.
fn plain_uri(path: &str, query: Option<&str>) -> Result<Uri, Fault> {
    let path = if path.starts_with('/') { path } else { "/" };
    // `//x` would be read as a host.
    let uri = match query {
        Some(query) => Uri::builder().path_and_query(format!("{path}?{query}")).build(),
        None => Uri::builder().path_and_query(path).build(),
    };
    uri.map_err(|_| Fault::of(Problem::NotFound))
}

/// Turns a handler's fault, or an error that the framework made by itself, into its document.
fn with_document(mut response: Response, outline: &Outline) -> Response {
    if let Some(fault) = response.extensions_mut().remove::<Fault>() {
        return document(&fault, outline);
    }
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let mut fault = document(&Fault::of_status(status), outline);
    if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
        fault.headers_mut().insert(header::ALLOW, allow);
    }
    fault
}

fn document(fault: &Fault, outline: &Outline) -> Response {
    let document = fault.document(&outline.path, &outline.driver, outline.provider.as_deref());
    let mut response = call::body(fault.problem.status(), render(&document, outline.format), outline.format);
    let headers = response.headers_mut();
    if fault.problem == Problem::Unauthorized {
        let challenge = format!("Basic realm=\"{}-deltacloud@\"", outline.driver);
        insert(headers, header::WWW_AUTHENTICATE, &challenge);
    }
    if let Some(after) = fault.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
    }
    if let Some(allow) = fault.allow {
        headers.insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    for (name, value) in fault.more.iter().flat_map(|more| more.iter()) {
        headers.append(name, value.clone());
    }
    if fault.close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn finish(response: &mut Response, outline: &Outline, head: bool) {
    if head && response.status() == StatusCode::NO_CONTENT {
        // The framework has said that a GET would have 0 bytes here, and says so again of whatever has a known length.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>());
    } else if head {
        let length = http_body::Body::size_hint(response.body()).exact();
        *response.body_mut() = Body::empty();
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
    }
    let headers = response.headers_mut();
    insert(headers, header::SERVER, &format!("Apache-Deltacloud/{VERSION}"));
    insert(headers, DRIVER, &outline.driver);
    if let Some(provider) = &outline.provider {
        insert(headers, PROVIDER, provider);
    }
}

/// Leaves out what cannot be a header.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
        headers.insert(name, value);
    }
}
