//! `reads.finish_as_404`: an instance that has ended is not shown any more once everybody who follows it was told. To
//! Conductor FINISH is a state that it does not know, which it takes for one that is still to come.

use tracing::warn;

use super::call::Call;
use super::collection::Collected;
use super::read::Listing;
use crate::model::{Collection, InstanceState, Login, Resource, Scope};
use crate::reads::Owner;
use crate::store;

impl Call {
    pub(super) fn hides_finished<T: Collected>(&self) -> bool {
        self.api.finish_as_404 && T::TRACKED == Some(Collection::Instances)
    }

    /// Takes instances out that have ended and of which nobody is still to be told, where the settings want that.
    pub(super) async fn hide_finished<T: Collected>(&self, login: &Login, listing: &mut Listing<T>) {
        if !self.hides_finished::<T>() {
            return;
        }
        let finished: Vec<String> = listing
            .members
            .iter()
            .filter(|shown| shown.resource.is_finished())
            .map(|shown| shown.resource.id().to_owned())
            .collect();
        if finished.is_empty() {
            return;
        }
        let awaited = self.awaited(login, &finished).await;
        listing
            .members
            .retain(|shown| !shown.resource.is_finished() || awaited.iter().any(|id| id == shown.resource.id()));
    }

    /// Those of `finished` whose end somebody follows and has not been told yet. All of them, if that cannot be known.
    async fn awaited(&self, login: &Login, finished: &[String]) -> Vec<String> {
        let store = &self.api.store;
        let read = async {
            let key = match self.owner(login).await {
                Owner::Known(key) => key,
                Owner::Unknown { .. } => match self.caller().await {
                    Ok(caller) => caller.key,
                    Err(_) => return Ok(finished.to_vec()),
                },
            };
            let Some(account) = store.find_account(&key).await? else { return Ok(Vec::new()) };
            let known = store.known(account, Collection::Instances).await?;
            let owed = store.owed(account, Collection::Instances).await?;
            let hooks = store.hooks(account).await?;
            let is_awaited = |id: &&String| {
                let followed = hooks.iter().any(|hook| match &hook.scope {
                    Scope::Account => false,
                    Scope::Collection(collection) => *collection == Collection::Instances,
                    Scope::Member(collection, member) => *collection == Collection::Instances && member == *id,
                });
                let seen = match known.members.get(*id).map(|known| &known.resource) {
                    Some(Resource::Instance(instance)) => instance.state == InstanceState::Finish,
                    Some(_) => true,
                    None => known.former.contains_key(*id),
                };
                owed.contains(*id) || followed && !seen
            };
            Ok::<_, store::Error>(finished.iter().filter(is_awaited).cloned().collect())
        };
        read.await.unwrap_or_else(|err| {
            warn!("The store was asked what is owed and failed: {err}");
            finished.to_vec()
        })
    }
}
