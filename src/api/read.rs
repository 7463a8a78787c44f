//! Reads: from the backend, or from what was last seen when it cannot be asked at the moment. To Conductor a 5xx means
//! that the machine has vanished, so a known machine is shown as last seen instead.

use jiff::Timestamp;
use tracing::warn;

use super::call::{Inner, says_nothing};
use super::collection::Collected;
use super::error::Fault;
use super::render::TrackingView;
use crate::drivers;
use crate::model::{Collection, Hook, Known, KnownResource, Login, Scope, Seq, Subscriber};

/// A resource and what is said about watching it.
pub(super) struct Shown<T> {
    pub(super) resource: T,
    pub(super) tracking: Option<TrackingView>,
}

/// What a read brought.
pub(super) struct Listing<T> {
    pub(super) members: Vec<Shown<T>>,
    /// The last change of the account that it takes into account.
    pub(super) seq: Option<Seq>,
}

impl Inner {
    /// All of a collection: what was fetched, or the last complete list if it is not too old.
    pub(super) async fn read_list<T: Collected>(&self, login: &Login) -> Result<Listing<T>, Fault> {
        let now = self.api.clock.now();
        let err = match self.ask(login, T::list(self.driver.as_ref(), login)).await {
            Ok(list) => return Ok(self.with_hooks(login, list, now).await),
            Err(err) => err,
        };
        let Some((hooks, known)) = self.known::<T>(login, &err).await else { return Err(err.into()) };
        // Without a complete sample the store knows single members only, and a short list would be a lie.
        if !known.observed_at.is_some_and(|at| self.is_fresh_enough(at, now)) {
            return Err(err.into());
        }
        let seq = Some(known.through);
        let stale = known.members.into_values().filter_map(|member| stale(self, &hooks, known.collection, member));
        Ok(Listing { members: stale.collect(), seq })
    }

    /// One member or none: what was fetched, or the member as last seen if that is not too long ago. None only if the
    /// backend said so.
    pub(super) async fn read_one<T: Collected>(&self, login: &Login, id: &str) -> Result<Listing<T>, Fault> {
        let now = self.api.clock.now();
        let err = match self.ask(login, T::one(self.driver.as_ref(), login, id)).await {
            Ok(one) => return Ok(self.with_hooks(login, one.into_iter().collect(), now).await),
            Err(err) => err,
        };
        let Some((hooks, mut known)) = self.known::<T>(login, &err).await else { return Err(err.into()) };
        let member = known.members.remove(id).filter(|member| self.is_fresh_enough(member.observed_at, now));
        let shown = member.and_then(|member| stale(self, &hooks, known.collection, member));
        let shown = shown.ok_or_else(|| Fault::from(err))?;
        Ok(Listing { members: vec![shown], seq: Some(known.through) })
    }

    fn is_fresh_enough(&self, seen_at: Timestamp, now: Timestamp) -> bool {
        now.duration_since(seen_at).unsigned_abs() <= self.api.settings.stale()
    }

    async fn with_hooks<T: Collected>(&self, login: &Login, list: Vec<T>, now: Timestamp) -> Listing<T> {
        let hooks = match T::TRACKED {
            Some(_) => self.hooks(login).await,
            None => Vec::new(),
        };
        let show = |resource: T| {
            let hook = T::TRACKED.and_then(|collection| self.hook_of(&hooks, collection, resource.id()));
            Shown { tracking: hook.map(|hook| view(Some(hook), now, false)), resource }
        };
        Listing { members: list.into_iter().map(show).collect(), seq: None }
    }

    /// The hooks of the account; none if the store fails, as a read must not depend on them.
    async fn hooks(&self, login: &Login) -> Vec<Hook> {
        let Some(account) = self.account_id(login).await else { return Vec::new() };
        self.api.store.hooks(account).await.unwrap_or_else(|err| {
            warn!(account.id = %account, "The store was asked for hooks and failed: {err}");
            Vec::new()
        })
    }

    /// What may be said in the place of a backend that failed with `err`.
    async fn known<T: Collected>(&self, login: &Login, err: &drivers::Error) -> Option<(Vec<Hook>, Known)> {
        if !says_nothing(err.kind) {
            return None;
        }
        let collection = T::TRACKED?;
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

fn stale<T: Collected>(
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
