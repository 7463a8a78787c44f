//! What is news of a realm, as far as its provider declares it.

use crate::model::{News, Realm, Reason};

pub(super) fn changed(before: &Realm, after: &Realm) -> Option<News> {
    // Named one by one, so that a new field has to be judged here.
    let Realm { state, native_state, messages, id: _, name: _, limit: _, declared: _, judged: _ } = after;
    (before.state != *state).then(|| News::RealmState {
        from: before.state,
        from_native: before.native_state.clone(),
        to: *state,
        to_native: native_state.clone(),
        why: reasons(native_state, messages),
        judged: None,
    })
}

pub(super) fn stands(realm: &Realm) -> News {
    News::RealmSnapshot { to: realm.state, to_native: realm.native_state.clone() }
}

pub(super) fn appeared(realm: &Realm) -> News {
    News::RealmAppeared { to: realm.state, to_native: realm.native_state.clone() }
}

pub(super) fn withdrawn(realm: &Realm) -> News {
    News::RealmWithdrawn { from: realm.state, from_native: realm.native_state.clone() }
}

/// Rule D1: the provider declares it.
fn reasons(native_state: &str, messages: &[String]) -> Vec<Reason> {
    let declared = std::iter::once(format!("the provider declares it {native_state}"));
    declared.chain(messages.iter().cloned()).map(|text| Reason::new("D1", text)).collect()
}
