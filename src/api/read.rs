//! Reads: what was read lately (see [`crate::reads`]), else what the backend says now, else what was last seen while it
//! cannot be asked. To Conductor a 5xx means that the machine has vanished, so a known machine is shown as last seen
//! instead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::call::{Call, Rendered, says_nothing};
use super::collection::Collected;
use super::error::Fault;
use super::negotiate::Format;
use super::render::TrackingView;
use crate::drivers;
use crate::model::{
    Account, AccountId, AccountKey, Collection, Hook, Known, KnownResource, Login, Resource, Scope, Seq, Subscriber,
};
use crate::poll;
use crate::reads::{Owner, Read, What};
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
    /// The last change of the account that this takes into account: whatever of these members is recorded later is news to
    /// whoever holds this. `None` where nobody watches.
    seq: Option<Seq>,
    /// The whole of it as it was answered, for those who ask the same way. At most [`PAGES_MAX`].
    pages: Mutex<Vec<(Asked, Page)>>,
}

/// Ways of asking for one list whose answers are kept: two representations, behind one name of the host.
const PAGES_MAX: usize = 2;

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

/// The hooks of an account as readers see them: nothing secret.
#[derive(Debug, Default)]
struct Watches {
    account: Option<AccountId>,
    by_place: BTreeMap<(Subscriber, Scope), TrackingView>,
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
            Source::Lately(Lately(read)) => self.show(login, &read, id, false).await,
            Source::LastSeen(listing) => listing,
        })
    }

    /// All of a collection, or one member of it, wherever it can be had.
    pub(super) async fn source<T: Collected>(&self, login: &Login, id: Option<&str>) -> Result<Source<T>, Fault> {
        let now = self.api.clock.now();
        let digest = self.api.logins.digest(login).0;
        let what = |id: Option<&str>| What { login: digest, collection: T::PLURAL, id: id.map(str::to_owned) };
        let reads = &self.api.reads;
        // A list that was read lately has its members in it, but only the backend can say that one is not there.
        let listed = || reads.fresh::<Found<T>>(&what(None), now).filter(|read| id.is_none() || has(read, id));
        if let Some(read) = id.and_then(|_| reads.fresh(&what(id), now)).or_else(listed) {
            return Ok(Source::Lately(Lately(read)));
        }
        let owner = self.owner(login).await;
        let asking = self.clone().fetch::<T>(login.clone(), owner.clone(), id.map(str::to_owned));
        let err = match reads.read(what(id), now, owner.clone(), asking).await {
            Ok(read) => {
                let is_open = T::is_open(self.driver.abilities());
                if let (Some(id), true, false) = (id, read.found.members.is_empty(), is_open) {
                    reads.touched(&owner, &digest, T::PLURAL, id, read.answered_at);
                }
                return Ok(Source::Lately(Lately(read)));
            }
            Err(err) => err,
        };
        if !says_nothing(err.kind) {
            return Err(err.into());
        }
        let good = |id: &str, seen_at: Timestamp| reads.is_good(&owner, &digest, T::PLURAL, id, seen_at);
        let lately = [what(id), what(None)].into_iter().filter_map(|what| reads.last::<Found<T>>(&what));
        let lately = lately
            .filter(|read| id.is_none() || has(read, id))
            .filter(|read| self.is_fresh_enough(read.answered_at, now))
            .filter(|read| {
                let mut members = read.found.members.iter().filter(|member| id.is_none_or(|id| member.id() == id));
                members.all(|member| good(member.id(), read.asked_at))
            })
            .max_by_key(|read| read.asked_at);
        let stored = self.stored::<T>(login, id, now, good).await;
        let last_seen = match (lately, stored) {
            (Some(read), Some((seen_at, listing))) if seen_at >= read.answered_at => listing,
            (Some(read), _) => self.show(login, &read, id, true).await,
            (None, Some((_, listing))) => listing,
            (None, None) => return Err(err.into()),
        };
        Ok(Source::LastSeen(last_seen))
    }

    /// Keeps what an action answered with: the newest that is known of the member.
    pub(super) async fn keep<T: Collected>(&self, login: &Login, member: &T) {
        let answered_at = self.api.clock.now();
        let what =
            What { login: self.api.logins.digest(login).0, collection: T::PLURAL, id: Some(member.id().to_owned()) };
        // After the action, by the smallest step there is: nothing else that was seen until now is that new.
        let asked_at = answered_at + Duration::from_nanos(1);
        let found = Found { members: vec![member.clone()], seq: None, pages: Mutex::default() };
        self.api.reads.keep(what, self.owner(login).await, Read { asked_at, answered_at, found, weight: 1 });
    }

    /// The whole list as an answer: as it was given before to one who asked the same way, or made now by `make`.
    pub(super) async fn page<T: Collected>(
        &self,
        login: &Login,
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
        let listing = self.show(login, read, None, false).await;
        let page = Page { body: make(&listing), seq: listing.seq };
        let mut pages = pages();
        if pages.len() < PAGES_MAX {
            pages.push((asked, page.clone()));
        }
        page
    }

    /// Owned, as others may join it.
    async fn fetch<T: Collected>(
        self,
        login: Login,
        owner: Owner,
        id: Option<String>,
    ) -> Result<Read<Found<T>>, drivers::Error> {
        let driver = self.driver.as_ref();
        let asked_at = self.api.clock.now();
        if T::is_open(driver.abilities()) {
            // Asked by anybody: that it is answered vouches for nobody.
            let members = match &id {
                None => T::list(driver, &login).await?,
                Some(id) => T::one(driver, &login, id).await?.into_iter().collect(),
            };
            return Ok(self.found(asked_at, members, None));
        }
        if let Some(id) = &id {
            let member = self.ask(&login, T::one(driver, &login, id)).await?;
            let member = match member {
                Some(member) if T::REMEMBERED => Some(self.judged(member, owner).await),
                member => member,
            };
            return Ok(self.found(asked_at, member.into_iter().collect(), None));
        }
        let Some(collection) = T::TRACKED else {
            let members = self.ask(&login, T::list(driver, &login)).await?;
            return Ok(self.found(asked_at, members, None));
        };
        // The feed can be followed after a list, so whose list it is matters.
        let (members, owner) = match owner {
            Owner::Known(key) => (None, Some(key)),
            Owner::Unknown { .. } => {
                let (members, key) = tokio::join!(self.ask(&login, T::list(driver, &login)), self.identified(&login));
                (Some(members?), key)
            }
        };
        if let Some(account) = self.watched(&login, owner, collection).await
            && let Some((members, seq)) = self.witnessed(&account, collection).await?
        {
            return Ok(self.found(asked_at, members.into_iter().filter_map(T::of).collect(), seq));
        }
        let members = match members {
            Some(members) => members,
            None => self.ask(&login, T::list(driver, &login)).await?,
        };
        Ok(self.found(asked_at, members, None))
    }

    /// With what the account was last told of it, if it is watched.
    async fn judged<T: Collected>(&self, member: T, owner: Owner) -> T {
        let (Owner::Known(key), Some(collection)) = (owner, T::TRACKED) else { return member };
        let known = async {
            let Some(account) = self.api.store.find_account(&key).await? else { return Ok(None) };
            self.api.store.member(account, collection, member.id()).await
        };
        match known.await {
            Ok(Some(known)) => member.judged(&known.resource),
            Ok(None) => member,
            Err(err) => {
                let err: store::Error = err;
                warn!("What is known of one of the {collection} could not be read: {err}");
                member
            }
        }
    }

    fn found<T>(&self, asked_at: Timestamp, members: Vec<T>, seq: Option<Seq>) -> Read<Found<T>> {
        // Each once as it is, and once in every page that may come to be kept.
        let weight = u32::try_from(members.len() * (1 + PAGES_MAX)).unwrap_or(u32::MAX);
        let found = Found { members, seq, pages: Mutex::default() };
        Read { asked_at, answered_at: self.api.clock.now(), found, weight }
    }

    /// Whose login it is, if the backend says so; one that does not is left alone for a while.
    async fn identified(&self, login: &Login) -> Option<AccountKey> {
        let (logins, now) = (&self.api.logins, self.api.clock.now());
        let digest = logins.digest(login);
        if logins.is_nameless(digest, now) {
            return None;
        }
        match self.caller().await {
            Ok(caller) => Some(caller.key),
            Err(_) => {
                logins.note_nameless(digest, now);
                None
            }
        }
    }

    /// The account, if somebody watches the collection in it.
    async fn watched(&self, login: &Login, owner: Option<AccountKey>, collection: Collection) -> Option<Account> {
        let key = owner?;
        let watches = self.watches(&Owner::Known(key.clone())).await;
        let about = |scope: &Scope| match scope {
            Scope::Account => false,
            Scope::Collection(about) | Scope::Member(about, _) => *about == collection,
        };
        let is_watched = watches.by_place.keys().any(|(_, scope)| collection.is_always_watched() || about(scope));
        let id = watches.account.filter(|_| is_watched)?;
        Some(Account { id, key, login: login.clone() })
    }

    /// The list as the poller would see it: what is news in it is recorded, so that whoever follows the feed after it ends
    /// at the truth, also when the backend is back tomorrow at what it was before. `None`: it could not be recorded.
    async fn witnessed(
        &self,
        account: &Account,
        collection: Collection,
    ) -> Result<Option<(Vec<Resource>, Option<Seq>)>, drivers::Error> {
        let look = async {
            match self.api.tracking.witness(account, self.driver.as_ref(), collection).await {
                Ok(seen) => Ok(Some((seen.members.into_values().collect(), seen.whole.then_some(seen.through)))),
                Err(poll::Error::Driver(err)) => Err(err),
                Err(err) => {
                    warn!(account.id = %account.id, "What a reader was shown could not be recorded: {err}");
                    Ok(None)
                }
            }
        };
        self.ask(&account.login, look).await
    }

    /// The hooks of the account; none if the store fails, as a read must not depend on them.
    async fn watches(&self, owner: &Owner) -> Arc<Watches> {
        let Owner::Known(key) = owner else { return Arc::default() };
        let now = self.api.clock.now();
        // They are the account's, whoever asks.
        let what = What { login: [0; 32], collection: "", id: Some(format!("{key:?}")) };
        if let Some(read) = self.api.reads.fresh::<Arc<Watches>>(&what, now) {
            return read.found.clone();
        }
        let (store, key) = (self.api.store.clone(), key.clone());
        let load = async move {
            let watches = async {
                let account = store.find_account(&key).await?;
                let hooks = match account {
                    Some(account) => store.hooks(account).await?,
                    None => Vec::new(),
                };
                let by_place = hooks.iter().filter(|hook| hook.ended_at.is_none()).map(Watches::entry).collect();
                Ok::<_, store::Error>(Watches { account, by_place })
            };
            let watches = watches.await.map_err(|err| drivers::Error::new(drivers::Kind::Failed, err.to_string()))?;
            let weight = u32::try_from(1 + watches.by_place.len()).unwrap_or(u32::MAX);
            Ok(Read { asked_at: now, answered_at: now, found: Arc::new(watches), weight })
        };
        match self.api.reads.read(what, now, owner.clone(), load).await {
            Ok(read) => read.found.clone(),
            Err(err) => {
                warn!("The store was asked for the hooks of an account and failed: {err}");
                Arc::default()
            }
        }
    }

    async fn show<T: Collected>(
        &self,
        login: &Login,
        read: &Arc<Read<Found<T>>>,
        id: Option<&str>,
        stale: bool,
    ) -> Listing<T> {
        let watches = match T::TRACKED {
            Some(_) => self.watches(&self.owner(login).await).await,
            None => Arc::default(),
        };
        let Found { members, seq, pages: _ } = &read.found;
        let mut shown = Vec::with_capacity(if id.is_some() { 1 } else { members.len() });
        for resource in members.iter().filter(|resource| id.is_none_or(|id| resource.id() == id)) {
            let hook = T::TRACKED.and_then(|collection| self.hook_of(&watches, collection, resource.id()));
            let tracking = match (hook, stale) {
                (None, false) => None,
                (hook, stale) => {
                    let checked = Some(read.answered_at.to_string());
                    Some(TrackingView { checked, stale, ..hook.cloned().unwrap_or_default() })
                }
            };
            shown.push(Shown { resource: resource.clone(), tracking });
        }
        Listing { members: shown, seq: *seq }
    }

    /// What the store knows and is still good, and when that was last seen.
    async fn stored<T: Collected>(
        &self,
        login: &Login,
        id: Option<&str>,
        now: Timestamp,
        good: impl Fn(&str, Timestamp) -> bool,
    ) -> Option<(Timestamp, Listing<T>)> {
        let collection = T::TRACKED?;
        let account = self.stored_account(login).await?;
        let known = self.api.store.known(account.id, collection).await;
        let known = known.inspect_err(|err| {
            warn!(account.id = %account.id, "The store was asked for {collection} and failed: {err}");
        });
        let Known { mut members, observed_at, through, .. } = known.ok()?;
        let (seen_at, members): (_, Vec<KnownResource>) = match id {
            Some(id) => {
                let member = members.remove(id)?;
                (member.observed_at, vec![member])
            }
            // Without a complete sample the store knows single members only, and a short list would be a lie.
            None => (observed_at?, members.into_values().collect()),
        };
        let all_good = members.iter().all(|member| good(member.resource.id(), member.observed_at));
        if !self.is_fresh_enough(seen_at, now) || !all_good {
            return None;
        }
        let watches = self.watches(&Owner::Known(account.key)).await;
        let show = |member: KnownResource| {
            let resource = T::of(member.resource)?;
            let view = self.hook_of(&watches, collection, resource.id()).cloned().unwrap_or_default();
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
    fn hook_of<'a>(&self, watches: &'a Watches, collection: Collection, id: &str) -> Option<&'a TrackingView> {
        if watches.by_place.is_empty() {
            return None;
        }
        let subscriber = self.params.given("subscriber").and_then(Subscriber::parse).unwrap_or_default();
        let at = |scope| watches.by_place.get(&(subscriber.clone(), scope));
        at(Scope::Member(collection, id.to_owned())).or_else(|| at(Scope::Collection(collection)))
    }
}

fn has<T: Collected>(read: &Arc<Read<Found<T>>>, id: Option<&str>) -> bool {
    id.is_some_and(|id| read.found.members.iter().any(|member| member.id() == id))
}

impl Watches {
    fn entry(hook: &Hook) -> ((Subscriber, Scope), TrackingView) {
        let view = TrackingView {
            hook: Some(hook.shown()),
            since: Some(hook.created_at.to_string()),
            subscriber: Some(hook.subscriber.to_string()),
            disabled: hook.disabled.as_ref().map(|disabled| disabled.reason.clone()),
            ..TrackingView::default().with(&hook.terms)
        };
        ((hook.subscriber.clone(), hook.scope.clone()), view)
    }
}

/// Of a hook that was just set.
pub(super) fn view(hook: &Hook, checked_at: Timestamp) -> TrackingView {
    TrackingView { checked: Some(checked_at.to_string()), ..Watches::entry(hook).1 }
}
