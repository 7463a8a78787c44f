//! What all collections have in common: a list with filters, members, and hooks where there is something to track. A
//! collection's own file says what it holds and how that is fetched and filtered, and adds what only it can do.

use std::future::Future;

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::call::{self, Call, Rendered};
use super::error::Fault;
use super::params::Params;
use super::read::{Listing, Page, Shown, Source};
use super::render::{Base, Document, List, Member, TrackedList, TrackingView, render};
use super::tracking::{self, Done};
use crate::drivers::{Abilities, Driver, Error};
use crate::model::{Collection, Login, Resource, ResourceKind, Scope, Seq};

/// The last change of the account that a list takes into account: who follows the feed after it misses nothing.
const TRACKER_SEQ: HeaderName = HeaderName::from_static("tracker-seq");

/// A kind of resource that has a collection of its own under `/api`.
pub(super) trait Collected: Clone + Send + Sync + Sized + 'static {
    /// As in paths, and the root of a list: `storage_volumes`.
    const PLURAL: &'static str;
    /// The name of a member: `storage_volume`.
    const SINGULAR: &'static str;
    /// Where the store may know it from.
    const TRACKED: Option<Collection> = None;
    /// Tracker knows something of one that an answer of the backend's about it alone does not say.
    const REMEMBERED: bool = false;

    /// Both representations.
    type View<'a>: Document;

    fn id(&self) -> &str;

    fn view<'a>(&'a self, base: Base<'_>, tracking: Option<TrackingView>) -> Self::View<'a>;

    /// All of them, or an error.
    fn list(driver: &dyn Driver, login: &Login) -> impl Future<Output = Result<Vec<Self>, Error>> + Send;

    /// `None`: the backend clearly does not have it.
    fn one(driver: &dyn Driver, login: &Login, id: &str) -> impl Future<Output = Result<Option<Self>, Error>> + Send;

    /// Whether it passes the filters of a list. `id` has been seen to.
    fn passes(&self, _params: &Params) -> bool {
        true
    }

    /// May be read without credentials.
    fn is_open(_abilities: &Abilities) -> bool {
        false
    }

    /// With what Tracker makes of it, or remembers: `known` is how it is known.
    fn judged(self, _known: &Resource) -> Self {
        self
    }

    /// It has ended, and only its record is still there.
    fn is_finished(&self) -> bool {
        false
    }

    /// As the store keeps it; `None` for another kind, or one that is never kept.
    fn of(_resource: Resource) -> Option<Self> {
        None
    }
}

pub(super) async fn list<T: Collected>(call: Call) -> Result<Response, Fault> {
    let login = reader::<T>(&call).await?;
    // Any other parameter may be a filter.
    let is_whole = call.params.are_all_of(&["format", "subscriber"]);
    if !is_whole || call.hides_finished::<T>() {
        return Ok(answer(&call, &filtered::<T>(&call, &login).await?));
    }
    Ok(match call.source::<T>(&login, None).await? {
        Source::LastSeen(listing) => answer(&call, &listing),
        Source::Lately(read) => {
            let Page { body, seq } = call.page(&login, &read, |listing| Rendered::new(rendered(&call, listing))).await;
            with_seq(body.response(StatusCode::OK, call.format), seq)
        }
    })
}

/// The list after its filters.
pub(super) async fn listed<T: Collected>(call: &Call) -> Result<Listing<T>, Fault> {
    let login = reader::<T>(call).await?;
    filtered(call, &login).await
}

async fn filtered<T: Collected>(call: &Call, login: &Login) -> Result<Listing<T>, Fault> {
    let mut listing = match call.params.given("id") {
        Some(id) => call.read_one::<T>(login, id).await?,
        None => call.read_list::<T>(login).await?,
    };
    call.hide_finished(login, &mut listing).await;
    listing.members.retain(|shown| shown.resource.passes(&call.params));
    Ok(listing)
}

pub(super) fn answer<T: Collected>(call: &Call, listing: &Listing<T>) -> Response {
    with_seq(call::body(StatusCode::OK, rendered(call, listing), call.format), listing.seq)
}

fn rendered<T: Collected>(call: &Call, listing: &Listing<T>) -> Vec<u8> {
    let views = listing.members.iter().map(|shown| view(call, shown)).collect();
    render(&List(T::PLURAL, views), call.format)
}

fn with_seq(mut response: Response, seq: Option<Seq>) -> Response {
    if let Some(seq) = seq {
        response.headers_mut().insert(TRACKER_SEQ, HeaderValue::from(seq.0));
    }
    response
}

pub(super) async fn show<T: Collected>(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    let login = reader::<T>(&call).await?;
    let mut listing = call.read_one::<T>(&login, &id).await?;
    call.hide_finished(&login, &mut listing).await;
    let shown = listing.members.pop().ok_or_else(|| Fault::not_found(T::SINGULAR, &id))?;
    Ok(call.ok(&Member(T::SINGULAR, view(&call, &shown))))
}

/// Sets, replaces or removes the hook of a member.
pub(super) async fn track<T: Collected + ResourceKind>(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs(T::PLURAL)?;
    match tracking::put(&call, Scope::Member(T::COLLECTION, id.clone())).await? {
        Done::Set(tracked) => {
            let shown = tracking::tracked_members::<T>(&tracked).pop();
            let shown = shown.ok_or_else(|| Fault::not_found(T::SINGULAR, &id))?;
            Ok(call.ok(&Member(T::SINGULAR, view(&call, &shown))))
        }
        Done::Removed(removed) => tracking::after_removal(removed, show::<T>(call, Path(id)).await),
    }
}

/// Sets, replaces or removes the hook of all members, present and future.
pub(super) async fn track_all<T: Collected + ResourceKind>(call: Call) -> Result<Response, Fault> {
    call.needs(T::PLURAL)?;
    match tracking::put(&call, Scope::Collection(T::COLLECTION)).await? {
        Done::Set(tracked) => {
            let members = tracking::tracked_members::<T>(&tracked);
            let views = members.iter().map(|shown| view(&call, shown)).collect();
            let list = TrackedList(List(T::PLURAL, views), tracking::tracked_view(&tracked));
            Ok(with_seq(call.ok(&list), tracked.through))
        }
        Done::Removed(removed) => tracking::after_removal(removed, list::<T>(call).await),
    }
}

pub(super) fn view<'a, T: Collected>(call: &Call, shown: &'a Shown<T>) -> T::View<'a> {
    shown.resource.view(call.base(), shown.tracking.clone())
}

/// Who reads: somebody, or nobody where the driver knows the collection by heart.
async fn reader<T: Collected>(call: &Call) -> Result<Login, Fault> {
    call.needs(T::PLURAL)?;
    if T::is_open(call.driver.abilities()) {
        return Ok(call.nobody());
    }
    call.visitor().await
}
