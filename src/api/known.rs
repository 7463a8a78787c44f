//! Reads of what can be tracked: from the backend, or from what was last seen of it when it cannot be asked at the
//! moment. To Conductor a 5xx means that the machine has vanished, so a known machine is shown as last seen instead.

use jiff::Timestamp;
use tracing::warn;

use super::call::{Inner, says_nothing};
use super::error::Fault;
use super::render::TrackingView;
use crate::drivers;
use crate::model::{Collection, Hook, Instance, Known, KnownResource, Login, Realm, Resource, Scope, Subscriber};

/// A resource and what is said about watching it.
pub(super) struct Shown<T> {
    pub(super) resource: T,
    pub(super) tracking: Option<TrackingView>,
}

/// A kind of resource that the store may know.
pub(super) trait Trackable: Sized {
    fn id(&self) -> &str;
    fn of(resource: Resource) -> Option<Self>;
}

impl Trackable for Instance {
    fn id(&self) -> &str {
        self.id.as_str()
    }

    fn of(resource: Resource) -> Option<Self> {
        match resource {
            Resource::Instance(instance) => Some(instance),
            Resource::Realm(_) => None,
        }
    }
}

impl Trackable for Realm {
    fn id(&self) -> &str {
        &self.id
    }

    fn of(resource: Resource) -> Option<Self> {
        match resource {
            Resource::Realm(realm) => Some(realm),
            Resource::Instance(_) => None,
        }
    }
}

impl Inner {
    /// What was fetched, or the last complete list if it is not too old.
    pub(super) async fn list_or_last_known<T: Trackable>(
        &self,
        login: &Login,
        collection: Collection,
        fetched: Result<Vec<T>, drivers::Error>,
    ) -> Result<Vec<Shown<T>>, Fault> {
        let now = self.api.clock.now();
        match fetched {
            Ok(list) => Ok(self.with_hooks(login, collection, list, now).await),
            Err(err) if says_nothing(err.kind) => {
                let known = self.known(login, collection).await;
                // Without a complete sample the store knows single members only, and a short list would be a lie.
                let known =
                    known.filter(|(_, known)| known.observed_at.is_some_and(|at| self.is_fresh_enough(at, now)));
                let Some((hooks, known)) = known else { return Err(err.into()) };
                let shown = known.members.into_values().filter_map(|member| stale(self, &hooks, collection, member));
                Ok(shown.collect())
            }
            Err(err) => Err(err.into()),
        }
    }

    /// What was fetched, or the member as last seen if that is not too long ago. `None` only if the backend said so.
    pub(super) async fn member_or_last_known<T: Trackable>(
        &self,
        login: &Login,
        collection: Collection,
        id: &str,
        fetched: Result<Option<T>, drivers::Error>,
    ) -> Result<Option<Shown<T>>, Fault> {
        let now = self.api.clock.now();
        match fetched {
            Ok(Some(resource)) => Ok(self.with_hooks(login, collection, vec![resource], now).await.pop()),
            Ok(None) => Ok(None),
            Err(err) if says_nothing(err.kind) => {
                let known = self.known(login, collection).await;
                let member = known.and_then(|(hooks, mut known)| Some((hooks, known.members.remove(id)?)));
                let member = member.filter(|(_, member)| self.is_fresh_enough(member.observed_at, now));
                let shown = member.and_then(|(hooks, member)| stale(self, &hooks, collection, member));
                shown.map(Some).ok_or_else(|| err.into())
            }
            Err(err) => Err(err.into()),
        }
    }

    fn is_fresh_enough(&self, seen_at: Timestamp, now: Timestamp) -> bool {
        now.duration_since(seen_at).unsigned_abs() <= self.api.settings.stale()
    }

    async fn with_hooks<T: Trackable>(
        &self,
        login: &Login,
        collection: Collection,
        list: Vec<T>,
        now: Timestamp,
    ) -> Vec<Shown<T>> {
        let hooks = self.hooks(login).await;
        let show = |resource: T| {
            let hook = self.hook_of(&hooks, collection, resource.id());
            Shown { tracking: hook.map(|hook| view(Some(hook), now, false)), resource }
        };
        list.into_iter().map(show).collect()
    }

    /// The hooks of the account; none if the store fails, as a read must not depend on them.
    async fn hooks(&self, login: &Login) -> Vec<Hook> {
        let Some(account) = self.account_id(login).await else { return Vec::new() };
        self.api.store.hooks(account).await.unwrap_or_else(|err| {
            warn!(account.id = %account, "The store was asked for hooks and failed: {err}");
            Vec::new()
        })
    }

    async fn known(&self, login: &Login, collection: Collection) -> Option<(Vec<Hook>, Known)> {
        let account = self.stored_account(login).await?.id;
        let known = self.api.store.known(account, collection).await;
        let known = known
            .inspect_err(|err| warn!(account.id = %account, "The store was asked for {collection} and failed: {err}"));
        Some((self.hooks(login).await, known.ok()?))
    }

    /// The caller's own hook on the member, or on the whole collection.
    fn hook_of<'a>(&self, hooks: &'a [Hook], collection: Collection, id: &str) -> Option<&'a Hook> {
        let subscriber = self.params.given("subscriber").and_then(Subscriber::parse).unwrap_or_default();
        let mine = || hooks.iter().filter(|hook| hook.subscriber == subscriber);
        let member =
            |hook: &&Hook| matches!(&hook.scope, Scope::Member(of, member) if *of == collection && member == id);
        mine().find(member).or_else(|| mine().find(|hook| hook.scope == Scope::Collection(collection)))
    }
}

fn stale<T: Trackable>(
    call: &Inner,
    hooks: &[Hook],
    collection: Collection,
    member: KnownResource,
) -> Option<Shown<T>> {
    let resource = T::of(member.resource)?;
    let hook = call.hook_of(hooks, collection, resource.id());
    Some(Shown { tracking: Some(view(hook, member.observed_at, true)), resource })
}

pub(super) fn view(hook: Option<&Hook>, checked_at: Timestamp, stale: bool) -> TrackingView {
    TrackingView {
        hook: hook.map(Hook::shown),
        since: hook.map(|hook| hook.created_at.to_string()),
        checked: Some(checked_at.to_string()),
        stale,
        subscriber: hook.map(|hook| hook.subscriber.to_string()),
        disabled: hook.and_then(|hook| Some(hook.disabled.as_ref()?.reason.clone())),
        secret: None,
    }
}
