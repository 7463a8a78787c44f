use axum::extract::Path;
use axum::response::Response;

use super::call::Call;
use super::error::Fault;
use super::known::Shown;
use super::render::{List, Member, RealmView};
use super::tracking::{self, Done};
use crate::model::{Collection, Realm, Scope};

pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    call.needs("realms")?;
    let login = call.visitor().await?;
    let fetched = call.ask(&login, call.driver.realms(&login)).await;
    let mut realms: Vec<Shown<Realm>> = call.list_or_last_known(&login, Collection::Realms, fetched).await?;
    realms.retain(|Shown { resource, .. }| call.params.lets_through("id", Some(&resource.id)));
    let views = realms.iter().map(|shown| view(&call, shown)).collect();
    Ok(call.ok(&List("realms", views)))
}

pub(super) async fn show(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs("realms")?;
    let login = call.visitor().await?;
    let fetched = call.ask(&login, call.driver.realm(&login, &id)).await;
    let realm: Option<Shown<Realm>> = call.member_or_last_known(&login, Collection::Realms, &id, fetched).await?;
    let realm = realm.ok_or_else(|| Fault::not_found("realm", &id))?;
    Ok(call.ok(&Member("realm", view(&call, &realm))))
}

/// Sets, replaces or removes the hook of a realm.
pub(super) async fn track(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs("realms")?;
    let scope = Scope::Member(Collection::Realms, id.clone());
    match tracking::put(&call, scope).await? {
        Done::Set(tracked) => {
            let realm = tracking::tracked_members::<Realm>(&tracked).pop();
            let realm = realm.ok_or_else(|| Fault::not_found("realm", &id))?;
            Ok(call.ok(&Member("realm", view(&call, &realm))))
        }
        Done::Removed(removed) => tracking::after_removal(removed, show(call, Path(id)).await),
    }
}

/// Sets, replaces or removes the hook of all realms, present and future.
pub(super) async fn track_all(call: Call) -> Result<Response, Fault> {
    call.needs("realms")?;
    match tracking::put(&call, Scope::Collection(Collection::Realms)).await? {
        Done::Set(tracked) => {
            let members = tracking::tracked_members::<Realm>(&tracked);
            Ok(call.ok(&List("realms", members.iter().map(|shown| view(&call, shown)).collect())))
        }
        Done::Removed(removed) => tracking::after_removal(removed, list(call).await),
    }
}

fn view<'a>(call: &Call, Shown { resource, tracking }: &'a Shown<Realm>) -> RealmView<'a> {
    RealmView::new(resource, call.base(), tracking.clone())
}
