//! Reads: what was read lately (see [`crate::reads`]), else what the backend says now, else what was last seen while it
//! cannot be asked. To Conductor a 5xx means that the machine has vanished, so a known machine is shown as last seen
//! instead.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use tracing::warn;

use super::call::{Call, Rendered, says_nothing};
use super::collection::Collected;
use super::error::Fault;
use super::negotiate::Format;
use super::render::TrackingView;
use crate::drivers;
use crate::model::{AccountKey, Collection, Hook, Known, KnownResource, Login, Scope, Seq, Subscriber};
use crate::reads::{Read, What};
use crate::store;

/// A resource and what is said about watching it.
#[derive(Debug)]
pub(super) struct Shown<T> {
    pub(super) resource: T,
    pub(super) tracking: Option<TrackingView>,
}

/// What a read brought.
#[derive(Debug)]
pub(super) struct Listing<T> {
    pub(super) members: Vec<Shown<T>>,
    /// The last change of the account that it takes into account; `None` where nobody knows whose account it is.
    pub(super) seq: Option<Seq>,
}

/// All of a collection, or one member or none, as it was read.
#[derive(Debug)]
struct Found<T> {
    members: Vec<T>,
    /// The account's last change *before* the backend was asked: whatever is recorded later is in here or is still to come.
    seq: Option<Seq>,
    hooks: Vec<Watch>,
    /// The whole of it as it was answered, for those who ask the same way. At most [`PAGES_MAX`].
    pages: Mutex<Vec<(Asked, Page)>>,
}

/// Ways of asking for one list whose answers are kept: two representations, behind one or two names of the host.
const PAGES_MAX: usize = 4;

/// What an answer depends on beside what was read.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    format: Format,
    base: String,
    subscriber: Option<String>,
}

/// A list, rendered.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) body: Rendered,
    pub(super) seq: Option<Seq>,
}

/// Where a read came from.
pub(super) enum Source<T> {
    /// From the backend, now or lately.
    Lately(Lately<T>),
    /// What was last seen, in place of a backend that cannot be asked.
    LastSeen(Listing<T>),
}

/// A read from the backend; cheap to hold, however long the list.
pub(super) struct Lately<T>(Arc<Read<Found<T>>>);

/// What a hook is to readers: nothing secret.
#[derive(Debug)]
struct Watch {
    subscriber: Subscriber,
    scope: Scope,
    view: TrackingView,
}

impl Call {
    /// All of a collection.
    pub(super) async fn read_list<T: Collected>(&self, login: &Login) -> Result<Listing<T>, Fault> {
        self.read(login, None).await
    }

    /// One member or none. None only if the backend said so.
    pub(super) async fn read_one<T: Collected>(&self, login: &Login, id: &str) -> Result<Listing<T>, Fault> {
        self.read(login, Some(id)).await
    }

    async fn read<T: Collected>(&self, login: &Login, id: Option<&str>) -> Result<Listing<T>, Fault> {
        Ok(match self.source(login, id).await? {
            Source::Lately(Lately(read)) => self.show(&read, id, false),
            Source::LastSeen(listing) => listing,
        })
    }

    /// All of a collection, or one member of it, wherever it can be had.
    pub(super) async fn source<T: Collected>(&self, login: &Login, id: Option<&str>) -> Result<Source<T>, Fault> {
        let now = self.api.clock.now();
        let what = |id: Option<&str>| What {
            login: self.api.logins.digest(login).0,
            collection: T::PLURAL,
            id: id.map(str::to_owned),
        };
        let reads = &self.api.reads;
        // A list that was read lately has its members in it, but only the backend can say that one is not there.
        let listed = || reads.fresh::<Found<T>>(&what(None), now).filter(|read| id.is_none() || has(read, id));
        let fresh = id.and_then(|_| reads.fresh(&what(id), now)).or_else(listed);
        if let Some(read) = fresh {
            return Ok(Source::Lately(Lately(read)));
        }
        let account = self.account_key::<T>(login).await;
        let asking = self.clone().fetch::<T>(login.clone(), account.clone(), id.map(str::to_owned));
        let err = match reads.read(what(id), now, account, asking).await {
            Ok(read) => return Ok(Source::Lately(Lately(read))),
            Err(err) => err,
        };
        if !says_nothing(err.kind) {
            return Err(err.into());
        }
        let lately = [what(id), what(None)].into_iter().filter_map(|what| reads.last::<Found<T>>(&what));
        let lately = lately
            .filter(|read| id.is_none() || has(read, id))
            .filter(|read| self.is_fresh_enough(read.answered_at, now))
            .max_by_key(|read| read.answered_at);
        let stored = self.stored::<T>(login, id, now).await;
        let last_seen = match (lately, stored) {
            (Some(read), Some((seen_at, listing))) if seen_at >= read.answered_at => listing,
            (Some(read), _) => self.show(&read, id, true),
            (None, Some((_, listing))) => listing,
            (None, None) => return Err(err.into()),
        };
        Ok(Source::LastSeen(last_seen))
    }

    /// The whole list as an answer: as it was given before to one who asked the same way, or made now by `make`.
    pub(super) fn page<T: Collected>(
        &self,
        Lately(read): &Lately<T>,
        make: impl FnOnce(&Listing<T>) -> Rendered,
    ) -> Page {
        let asked = Asked {
            format: self.format,
            base: self.base.clone(),
            subscriber: self.params.given("subscriber").map(str::to_owned),
        };
        let pages = || read.found.pages.lock().expect("nobody panics while holding pages");
        if let Some((_, page)) = pages().iter().find(|(before, _)| *before == asked) {
            return page.clone();
        }
        let listing = self.show(read, None, false);
        let page = Page { body: make(&listing), seq: listing.seq };
        let mut pages = pages();
        if pages.len() < PAGES_MAX {
            pages.push((asked, page.clone()));
        }
        page
    }

    /// Whose login it is, as far as can be known without asking.
    async fn account_key<T: Collected>(&self, login: &Login) -> Option<AccountKey> {
        let owner = self.owner(login);
        if owner.is_some() || T::TRACKED.is_none() {
            return owner;
        }
        Some(self.stored_account(login).await?.key)
    }

    /// Owned, as others may join it.
    async fn fetch<T: Collected>(
        self,
        login: Login,
        mut account: Option<AccountKey>,
        id: Option<String>,
    ) -> Result<Read<Found<T>>, drivers::Error> {
        let driver = self.driver.as_ref();
        if T::TRACKED.is_some() && account.is_none() && id.is_none() {
            let asked_at = self.api.clock.now();
            // The feed can be followed after a list, so whose list it is matters; nobody should wait longer for that.
            let (members, caller) = tokio::join!(self.ask(&login, T::list(driver, &login)), self.caller());
            let members = members?;
            account = caller.ok().map(|caller| caller.key);
            let seq = match &account {
                Some(key) => self.nothing_logged(key).await,
                None => None,
            };
            // Something may have been logged before this list was asked for, or after: then ask for another.
            if account.is_none() || seq.is_some() {
                return Ok(self.found(asked_at, members, seq, Vec::new()));
            }
        }
        let (seq, hooks) = match (T::TRACKED, account) {
            (Some(_), Some(key)) => self.log_and_hooks(&key).await,
            _ => (None, Vec::new()),
        };
        let asked_at = self.api.clock.now();
        let members = match &id {
            None => self.ask(&login, T::list(driver, &login)).await?,
            Some(id) => self.ask(&login, T::one(driver, &login, id)).await?.into_iter().collect(),
        };
        Ok(self.found(asked_at, members, seq, hooks))
    }

    fn found<T>(&self, asked_at: Timestamp, members: Vec<T>, seq: Option<Seq>, hooks: Vec<Watch>) -> Read<Found<T>> {
        let answered_at = self.api.clock.now();
        let count = members.len();
        Read { asked_at, answered_at, members: count, found: Found { members, seq, hooks, pages: Mutex::default() } }
    }

    /// The beginning of the log, if nothing was ever tracked in the account.
    async fn nothing_logged(&self, key: &AccountKey) -> Option<Seq> {
        matches!(self.api.store.find_account(key).await, Ok(None)).then_some(Seq(0))
    }

    /// A read must not fail for the store's sake: what it cannot say is left out.
    async fn log_and_hooks(&self, key: &AccountKey) -> (Option<Seq>, Vec<Watch>) {
        let store = &self.api.store;
        let read = async {
            let Some(account) = store.find_account(key).await? else { return Ok((Some(Seq(0)), Vec::new())) };
            let (_, last) = store.log_bounds(account).await?;
            Ok::<_, store::Error>((Some(last), store.hooks(account).await?.iter().map(Watch::new).collect()))
        };
        read.await.unwrap_or_else(|err| {
            warn!("The store was asked for the log and hooks of an account and failed: {err}");
            (None, Vec::new())
        })
    }

    fn show<T: Collected>(&self, read: &Arc<Read<Found<T>>>, id: Option<&str>, stale: bool) -> Listing<T> {
        let Found { members, seq, hooks, pages: _ } = &read.found;
        let mut shown = Vec::with_capacity(if id.is_some() { 1 } else { members.len() });
        for resource in members.iter().filter(|resource| id.is_none_or(|id| resource.id() == id)) {
            let hook = T::TRACKED.and_then(|collection| self.hook_of(hooks, collection, resource.id()));
            let tracking = match (hook, stale) {
                (None, false) => None,
                (hook, stale) => {
                    let view = hook.map(|watch| watch.view.clone()).unwrap_or_default();
                    Some(TrackingView { checked: Some(read.answered_at.to_string()), stale, ..view })
                }
            };
            shown.push(Shown { resource: resource.clone(), tracking });
        }
        Listing { members: shown, seq: *seq }
    }

    /// What the store knows, and when that was last seen.
    async fn stored<T: Collected>(
        &self,
        login: &Login,
        id: Option<&str>,
        now: Timestamp,
    ) -> Option<(Timestamp, Listing<T>)> {
        let collection = T::TRACKED?;
        let account = self.stored_account(login).await?.id;
        let known = self.api.store.known(account, collection).await;
        let known = known
            .inspect_err(|err| warn!(account.id = %account, "The store was asked for {collection} and failed: {err}"));
        let Known { members, observed_at, through, .. } = known.ok()?;
        let hooks = self.api.store.hooks(account).await.unwrap_or_else(|err| {
            warn!(account.id = %account, "The store was asked for hooks and failed: {err}");
            Vec::new()
        });
        let hooks: Vec<_> = hooks.iter().map(Watch::new).collect();
        let (seen_at, members): (_, Vec<KnownResource>) = match id {
            Some(id) => {
                let member = members.into_iter().find(|(known, _)| known == id)?.1;
                (member.observed_at, vec![member])
            }
            // Without a complete sample the store knows single members only, and a short list would be a lie.
            None => (observed_at?, members.into_values().collect()),
        };
        if !self.is_fresh_enough(seen_at, now) {
            return None;
        }
        let show = |member: KnownResource| {
            let resource = T::of(member.resource)?;
            let hook = self.hook_of(&hooks, collection, resource.id());
            let view = hook.map(|watch| watch.view.clone()).unwrap_or_default();
            let checked = Some(member.observed_at.to_string());
            Some(Shown { resource, tracking: Some(TrackingView { checked, stale: true, ..view }) })
        };
        let members = members.into_iter().filter_map(show).collect();
        Some((seen_at, Listing { members, seq: Some(through) }))
    }

    fn is_fresh_enough(&self, seen_at: Timestamp, now: Timestamp) -> bool {
        now.duration_since(seen_at).unsigned_abs() <= self.api.stale
    }

    /// The caller's own hook on the member, or on the whole collection.
    fn hook_of<'a>(&self, hooks: &'a [Watch], collection: Collection, id: &str) -> Option<&'a Watch> {
        if hooks.is_empty() {
            return None;
        }
        let subscriber = self.params.given("subscriber").and_then(Subscriber::parse).unwrap_or_default();
        let mine = || hooks.iter().filter(|hook| hook.subscriber == subscriber);
        let member =
            |hook: &&Watch| matches!(&hook.scope, Scope::Member(of, member) if *of == collection && member == id);
        mine().find(member).or_else(|| mine().find(|hook| hook.scope == Scope::Collection(collection)))
    }
}

fn has<T: Collected>(read: &Arc<Read<Found<T>>>, id: Option<&str>) -> bool {
    id.is_some_and(|id| read.found.members.iter().any(|member| member.id() == id))
}

impl Watch {
    fn new(hook: &Hook) -> Self {
        Self {
            subscriber: hook.subscriber.clone(),
            scope: hook.scope.clone(),
            view: TrackingView {
                hook: Some(hook.shown()),
                since: Some(hook.created_at.to_string()),
                subscriber: Some(hook.subscriber.to_string()),
                disabled: hook.disabled.as_ref().map(|disabled| disabled.reason.clone()),
                ..TrackingView::default()
            },
        }
    }
}

/// Of a hook that was just set.
pub(super) fn view(hook: &Hook, checked_at: Timestamp) -> TrackingView {
    TrackingView { checked: Some(checked_at.to_string()), ..Watch::new(hook).view }
}
