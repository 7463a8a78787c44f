use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tracing::warn;

use super::call::Call;
use super::collection::Collected;
use super::error::{Fault, Problem};
use super::new_instance;
use super::params::Params;
use super::render::{Base, InstanceView, List, Member, TrackingView};
use super::tracking::{self, Asked};
use crate::drivers::{self, Driver};
use crate::model::{
    Action, Callback, Collection, Instance, InstanceId, InstanceState, Login, NewInstance, News, Resource, ResourceKind,
};
use crate::track::Caller;

impl Collected for Instance {
    const PLURAL: &'static str = "instances";
    const SINGULAR: &'static str = "instance";
    const TRACKED: Option<Collection> = Some(Self::COLLECTION);
    type View<'a> = InstanceView<'a>;

    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn view<'a>(&'a self, base: Base<'_>, tracking: Option<TrackingView>) -> InstanceView<'a> {
        InstanceView::new(self, base, tracking)
    }

    async fn list(driver: &dyn Driver, login: &Login) -> Result<Vec<Self>, drivers::Error> {
        driver.instances(login).await
    }

    async fn one(driver: &dyn Driver, login: &Login, id: &str) -> Result<Option<Self>, drivers::Error> {
        driver.instance(login, &InstanceId::from(id)).await
    }

    /// `state` and `realm_id`.
    fn passes(&self, params: &Params) -> bool {
        params.given("state").is_none_or(|wanted| wanted.eq_ignore_ascii_case(self.state.as_str()))
            && params.lets_through("realm_id", self.realm.as_deref())
    }

    fn is_finished(&self) -> bool {
        self.state == InstanceState::Finish
    }

    fn of(resource: Resource) -> Option<Self> {
        ResourceKind::of(resource)
    }
}

pub(super) async fn create(call: Call) -> Result<Response, Fault> {
    call.needs("instances")?;
    let login = call.login()?;
    let can_count = call.driver.abilities().features.iter().any(|(_, feature)| feature.name == "instance_count");
    let new = new_instance::parse(&call.params, can_count, call.api.settings.instance_count_max)?;
    // A bad hook, or a caller nobody knows, must be refused before anything exists.
    let asked = Asked::parse(&call.params, &News::KINDS)?;
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
    let created = call.change(&login, None, &[Collection::Instances], create_or_tell(&call, &login, &new)).await?;
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
            Ok(call.created_at(&href, &Member("instance", one)))
        }
        (Some(last), false) => {
            views.push(last);
            Ok(call.answer(StatusCode::CREATED, &List("instances", views)))
        }
        (None, _) => Err(Fault::new(Problem::Backend, "The backend created nothing and did not say why")),
    }
}

/// That the provider refuses to launch may say something of the realm.
async fn create_or_tell(call: &Call, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, drivers::Error> {
    let created = call.driver.create_instance(login, new).await;
    if let Err(drivers::Error { fault: Some(fault), .. }) = &created
        && fault.kind.counts()
        && let Ok(caller) = call.caller().await
    {
        call.api.tracking.launch_refused(&caller, new, fault.clone()).await;
    }
    created
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
    call.expect(&login, Collection::Instances, &id, Some(action)).await;
    let acted = call.driver.act(&login, &before.id, action);
    let after = call.change(&login, Some((Instance::PLURAL, &id)), &[Collection::Instances], acted).await?;
    if let Some(after) = &after {
        call.keep(&login, after).await;
    }
    // Where nothing could be read (a stop that deletes), what was there last is all there is to show.
    let instance = after.unwrap_or(before);
    Ok(call.answer(StatusCode::ACCEPTED, &view(&call, &instance, None)))
}

pub(super) async fn destroy(call: Call, Path(id): Path<String>) -> Result<Response, Fault> {
    call.needs("instances")?;
    let (login, before) = allowed(&call, &id, Action::Destroy).await?;
    call.expect(&login, Collection::Instances, &id, Some(Action::Destroy)).await;
    let destroyed = call.driver.act(&login, &before.id, Action::Destroy);
    call.change(&login, Some((Instance::PLURAL, &id)), &[Collection::Instances], destroyed).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
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
