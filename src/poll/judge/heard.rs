//! What a look at an account says of its realms. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::availability::Event;
use crate::drivers::Abilities;
use crate::model::{Known, Realm, Resource};

/// A look that was recorded.
pub(in crate::poll) struct Weighed<'a> {
    /// Before it.
    pub(in crate::poll) known: &'a Known,
    pub(in crate::poll) members: &'a BTreeMap<String, Resource>,
    pub(in crate::poll) gone: &'a [String],
    pub(in crate::poll) at: Timestamp,
    /// It showed all there is.
    pub(in crate::poll) complete: bool,
    pub(in crate::poll) abilities: &'a Abilities,
}

pub(super) fn realm(resource: &Resource) -> Option<&Realm> {
    match resource {
        Resource::Realm(realm) => Some(realm),
        _ => None,
    }
}

/// What a look at realms says. Of those missing it says something only if it was complete.
pub(super) fn declared(weighed: &Weighed<'_>) -> Vec<Event> {
    let Weighed { known, members, at, complete, .. } = weighed;
    let said = members.values().filter_map(|resource| match resource {
        Resource::Realm(Realm { id, native_state, messages, declared, .. }) => Some(Event::Declared {
            realm: id.clone(),
            declared: *declared,
            native: native_state.clone(),
            messages: messages.clone(),
            at: *at,
        }),
        _ => None,
    });
    let missing = known.members.keys().filter(|id| *complete && !members.contains_key(*id));
    said.chain(missing.map(|id| Event::Missing { realm: id.clone(), at: *at })).collect()
}
