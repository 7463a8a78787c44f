use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tracing::warn;

use super::call::Call;
use super::error::{Fault, Problem};
use super::known::Shown;
use super::new_instance;
use super::render::{InstanceView, List, Member, TrackingView};
use super::tracking::{self, Asked, Done};
use crate::model::{Action, Callback, Collection, Instance, InstanceId, Login, Scope};
use crate::track::Caller;

/// Filters: `id`, `state`, `realm_id`.
pub(super) async fn list(call: Call) -> Result<Response, Fault> {
    call.needs("instances")?;
    let login = call.visitor().await?;
    let fetched = call.ask(&login, call.driver.instances(&login)).await;
    let mut instances: Vec<Shown<Instance>> = call.list_or_last_known(&login, Collection::Instances, fetched).await?;
    instances.retain(|Shown { resource, .. }| {
        let Instance { id, state, realm, .. } = resource;
        call.params.lets_through("id", Some(id.as_str()))
            && call.params.given("state").is_none_or(|wanted| wanted.eq_ignore_ascii_case(state.as_str()))
            && call.params.lets_through("realm_id", realm.as_deref())
    });
    let views = instances.iter().map(|shown| view(&call, &shown.resource, shown.tracking.clone())).collect();
    Ok(call.ok(&List("instances", views)))
}

pub(super) async fn show(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs("instances")?;
    let login = call.visitor().await?;
    let fetched = call.ask(&login, call.driver.instance(&login, &InstanceId::from(id.as_str()))).await;
    let shown: Option<Shown<Instance>> = call.member_or_last_known(&login, Collection::Instances, &id, fetched).await?;
    let Shown { resource, tracking } = shown.ok_or_else(|| Fault::not_found("instance", &id))?;
    Ok(call.ok(&Member("instance", view(&call, &resource, tracking))))
}

/// Sets, replaces or removes the hook of an instance.
pub(super) async fn track(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs("instances")?;
    match tracking::put(&call, Scope::Member(Collection::Instances, id.clone())).await? {
        Done::Set(tracked) => {
            let shown = tracking::tracked_members::<Instance>(&tracked).pop();
            let Shown { resource, tracking } = shown.ok_or_else(|| Fault::not_found("instance", &id))?;
            Ok(call.ok(&Member("instance", view(&call, &resource, tracking))))
        }
        Done::Removed(removed) => tracking::after_removal(removed, show(call, Path(id)).await),
    }
}

/// Sets, replaces or removes the hook of all instances, present and future.
pub(super) async fn track_all(call: Call) -> Result<Response, Fault> {
    call.needs("instances")?;
    match tracking::put(&call, Scope::Collection(Collection::Instances)).await? {
        Done::Set(tracked) => {
            let members = tracking::tracked_members::<Instance>(&tracked);
            let views = members.iter().map(|shown| view(&call, &shown.resource, shown.tracking.clone())).collect();
            Ok(call.ok(&List("instances", views)))
        }
        Done::Removed(removed) => tracking::after_removal(removed, list(call).await),
    }
}

pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs("instances")?;
    let login = call.login()?;
    let can_count = call.driver.abilities().features.iter().any(|(_, feature)| feature.name == "instance_count");
    let new = new_instance::parse(&call.params, can_count, call.api.settings.instance_count_max)?;
    // A bad hook, or a caller nobody knows, must be refused before anything exists.
    let asked = Asked::parse(&call.params)?;
    let watcher = match &asked.callback {
        Some(callback) => {
            call.api.tracking.check(callback)?;
            Some((call.caller().await?, callback))
        }
        None => {
            call.visitor().await?;
            None
        }
    };
    let created = call.ask(&login, call.driver.create_instance(&login, &new)).await?;
    touched(&call, &login).await;
    let mut shown = Vec::new();
    for instance in created {
        shown.push(match &watcher {
            Some((caller, callback)) => track_new(&call, caller, &asked, callback, instance).await,
            None => (instance, None),
        });
    }
    let mut views: Vec<_> = shown.iter().map(|(new, tracking)| view(&call, new, tracking.clone())).collect();
    match (views.pop(), views.is_empty()) {
        (Some(one), true) => {
            let href = call.base().member("instances", shown[0].0.id.as_str());
            let mut response = call.answer(StatusCode::CREATED, &Member("instance", one));
            let location = HeaderValue::try_from(href).expect("hrefs are escaped and the host was checked");
            response.headers_mut().insert(header::LOCATION, location);
            Ok(response)
        }
        (Some(last), false) => {
            views.push(last);
            Ok(call.answer(StatusCode::CREATED, &List("instances", views)))
        }
        (None, _) => Err(Fault::new(Problem::Backend, "The backend created nothing and did not say why")),
    }
}

/// Answers with the instance as its changes are told from. It exists, so a hook that cannot be set must not fail the
/// request: the client would create another. It sees that `tracking` is missing, and can PUT.
async fn track_new(
    call: &Call,
    caller: &Caller,
    asked: &Asked,
    callback: &Callback,
    instance: Instance,
) -> (Instance, Option<TrackingView>) {
    match tracking::set_created(call, caller, asked, callback, &instance).await {
        Ok(tracked) => {
            let baseline = tracking::tracked_members::<Instance>(&tracked).pop().map(|shown| shown.resource);
            (baseline.unwrap_or(instance), Some(tracking::tracked_view(&tracked)))
        }
        Err(fault) => {
            warn!(instance.id = %instance.id, "A new instance is not tracked: {}", fault.message);
            (instance, None)
        }
    }
}

/// `start`, `stop` and `reboot`. Answers 202 with the instance, bare in JSON.
pub(super) async fn act(call: Call, Path((id, action)): Path<(String, String)>) -> Result<Response, Fault> {
    call.needs("instances")?;
    let action = [Action::Start, Action::Stop, Action::Reboot].into_iter().find(|known| known.as_str() == action);
    let action = action.ok_or_else(|| Fault::of(Problem::NotFound))?;
    let (login, before) = allowed(&call, &id, action).await?;
    let after = call.ask(&login, call.driver.act(&login, &before.id, action)).await?;
    touched(&call, &login).await;
    // Where nothing is left to read (a stop that deletes), what was there last is all there is to show.
    let instance = after.unwrap_or(before);
    Ok(call.answer(StatusCode::ACCEPTED, &view(&call, &instance, None)))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs("instances")?;
    let (login, before) = allowed(&call, &id, Action::Destroy).await?;
    call.ask(&login, call.driver.act(&login, &before.id, Action::Destroy)).await?;
    touched(&call, &login).await;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Whoever tracks something in the account hears at once. The action has been done, so a store that fails does not fail
/// the request: the next look comes by itself.
async fn touched(call: &Call, login: &Login) {
    let Some(account) = call.account_id(login).await else { return };
    if let Err(err) = call.api.tracking.touched(account, Collection::Instances).await {
        warn!(account.id = %account, "The look after an action waits for its turn: {err}");
    }
}

/// The instance, if its state allows the action: the same list that clients are shown.
async fn allowed(call: &Call, id: &str, action: Action) -> Result<(Login, Instance), Fault> {
    let login = call.visitor().await?;
    let instance = call.ask(&login, call.driver.instance(&login, &InstanceId::from(id))).await?;
    let instance = instance.ok_or_else(|| Fault::not_found("instance", id))?;
    if !instance.actions.contains(&action) {
        return Err(Fault::of(Problem::NotAllowed));
    }
    Ok((login, instance))
}

fn view<'a>(call: &Call, instance: &'a Instance, tracking: Option<TrackingView>) -> InstanceView<'a> {
    InstanceView::new(instance, call.base(), tracking)
}
