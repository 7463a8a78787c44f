//! What is news of an instance.

use crate::model::{Address, Facts, Instance, InstanceState, News, Reason};

/// The parts whose change is news. Every field is named, so a new one has to be judged here.
fn facts(instance: &Instance) -> Facts {
    let Instance {
        state,
        native_state,
        public_addresses,
        private_addresses,
        // The rest describes the machine; nobody waits for it to change.
        id: _,
        name: _,
        owner: _,
        image: _,
        realm: _,
        settling: _,
        hardware_profile: _,
        hardware_properties: _,
        actions: _,
        can_create_image: _,
        launch_time: _,
        firewalls: _,
        storage_volumes: _,
        login: _,
        network_interfaces: _,
        // Evidence about its realm.
        fault: _,
        impaired: _,
        // Tells older from newer.
        modified_at: _,
    } = instance;
    Facts {
        state: *state,
        native_state: native_state.clone(),
        public_addresses: sorted(public_addresses),
        private_addresses: sorted(private_addresses),
    }
}

/// Providers list addresses in any order, and the order is not news.
fn sorted(addresses: &[Address]) -> Vec<Address> {
    let mut sorted = addresses.to_vec();
    sorted.sort();
    sorted
}

pub(super) fn changed(before: &Instance, after: &Instance) -> Option<News> {
    let (from, to) = (facts(before), facts(after));
    // Of a state that has no word of ours the native word is all we know. Elsewhere it is a nuance: a driver's
    // `stopping` and `shutting-down` that both read STOPPED are one state to a client.
    let other_unknown = to.state == InstanceState::Unknown && from.native_state != to.native_state;
    if from.state != to.state || other_unknown {
        Some(News::InstanceState { from, to })
    } else if (&from.public_addresses, &from.private_addresses) != (&to.public_addresses, &to.private_addresses) {
        Some(News::InstanceAddresses { from, to })
    } else {
        None
    }
}

pub(super) fn stands(instance: &Instance) -> News {
    News::InstanceSnapshot { to: facts(instance) }
}

/// `again`: it was known once, and was gone.
pub(super) fn appeared(instance: &Instance, again: bool) -> News {
    let reason = || Reason::new("reappeared", "it was told gone before, and is there again");
    News::InstanceAppeared { to: facts(instance), why: again.then(reason).into_iter().collect() }
}

/// A finished instance that leaves the list was told of when it finished.
pub(super) fn gone(instance: &Instance, why: Vec<Reason>) -> Option<News> {
    (instance.state != InstanceState::Finish).then(|| News::InstanceGone { from: facts(instance), why })
}
