//! Hands on a cloud, for tests and for the demo: what happens without anybody asking.

use super::cloud::Cloud;
use super::world::World;
use crate::model::{Address, AddressKind, Announced, Declared, InstanceId, InstanceState, RealmState};

/// Those that reach for something panic when it is not there: the script is wrong.
impl Cloud {
    /// Adds an instance in this state, in the realm `us`, with addresses (in a lively cloud they come late).
    pub fn add_instance(&self, state: InstanceState) -> InstanceId {
        self.reach(|world| world.add(state))
    }

    /// The cloud puts it into this state, whether or not its machine leads there.
    ///
    /// # Panics
    /// When there is no such instance.
    pub fn set_state(&self, id: &InstanceId, state: InstanceState) {
        self.hold("instance", id.as_str(), |world| world.has(id).then(|| world.enter(id, state)).is_some());
    }

    /// Replaces its addresses by these host names.
    ///
    /// # Panics
    /// As [`Cloud::set_state`].
    pub fn set_addresses(&self, id: &InstanceId, public: &[&str], private: &[&str]) {
        let addresses = |texts: &[&str]| {
            texts.iter().map(|&text| Address { kind: AddressKind::Hostname, text: text.to_owned() }).collect()
        };
        let (public, private) = (addresses(public), addresses(private));
        self.hold("instance", id.as_str(), |world| {
            world.has(id).then(|| world.set_addresses(id, public, private)).is_some()
        });
    }

    /// The cloud says that this is what it will do to it, and nothing else. Looks for it alone say nothing of that.
    ///
    /// # Panics
    /// As [`Cloud::set_state`].
    pub fn announce(&self, id: &InstanceId, announced: &[Announced]) {
        self.hold("instance", id.as_str(), |world| {
            world.has(id).then(|| world.announce(id, announced.to_vec())).is_some()
        });
    }

    /// It disappears without trace.
    ///
    /// # Panics
    /// As [`Cloud::set_state`].
    pub fn remove(&self, id: &InstanceId) {
        self.hold("instance", id.as_str(), |world| world.has(id).then(|| world.remove(id)).is_some());
    }

    /// A realm that is not there comes to be.
    pub fn set_realm(&self, id: &str, state: RealmState, message: Option<&str>) {
        self.reach(|world| world.set_realm(id, state, message));
    }

    /// The provider says this of a realm, which may come to be by this.
    pub fn declare_realm(&self, id: &str, declared: Declared) {
        self.reach(|world| world.declare_realm(id, declared));
    }

    /// The realm leaves the list; its instances stay.
    pub fn withdraw_realm(&self, id: &str) {
        self.reach(|world| world.withdraw_realm(id));
    }

    /// Adds an image in this state, `AVAILABLE` or another, of the user's.
    pub fn add_image(&self, state: &str) -> String {
        self.reach(|world| world.add_image(state))
    }

    /// The cloud puts it into this state, whatever the word. A lively one goes on from `PENDING` by itself.
    ///
    /// # Panics
    /// When there is no such image.
    pub fn set_image_state(&self, id: &str, state: &str) {
        self.hold("image", id, |world| world.enter_image(id, state));
    }

    /// It disappears without trace.
    ///
    /// # Panics
    /// When there is no such image.
    pub fn remove_image(&self, id: &str) {
        self.hold("image", id, |world| world.remove_image(id));
    }

    /// Adds a free volume of one gigabyte in this state, in the realm `us`.
    pub fn add_volume(&self, state: &str) -> String {
        self.reach(|world| world.add_volume(state))
    }

    /// The cloud puts it into this state, whatever the word; `AVAILABLE` takes it off its instance. A lively one goes on by
    /// itself from `CREATING`, `ATTACHING`, `DETACHING` and `DELETING`.
    ///
    /// # Panics
    /// When there is no such volume.
    pub fn set_volume_state(&self, id: &str, state: &str) {
        self.hold("volume", id, |world| world.enter_volume(id, state));
    }

    /// It disappears without trace.
    ///
    /// # Panics
    /// When there is no such volume.
    pub fn remove_volume(&self, id: &str) {
        self.hold("volume", id, |world| world.remove_volume(id));
    }

    /// Adds a snapshot in this state of this volume, there or not.
    pub fn add_snapshot(&self, volume: &str, state: &str) -> String {
        self.reach(|world| world.add_snapshot(volume, state))
    }

    /// The cloud puts it into this state, whatever the word. A lively one goes on from `PENDING` by itself.
    ///
    /// # Panics
    /// When there is no such snapshot.
    pub fn set_snapshot_state(&self, id: &str, state: &str) {
        self.hold("snapshot", id, |world| world.enter_snapshot(id, state));
    }

    /// It disappears without trace.
    ///
    /// # Panics
    /// When there is no such snapshot.
    pub fn remove_snapshot(&self, id: &str) {
        self.hold("snapshot", id, |world| world.remove_snapshot(id));
    }

    fn reach<T>(&self, reach: impl FnOnce(&mut World) -> T) -> T {
        self.visit(|world| Ok(reach(world))).expect("a script keeps within the bound of accounts")
    }

    /// `act` says whether there is such a one. Panics outside the lock, so that the cloud goes on.
    fn hold(&self, what: &str, id: &str, act: impl FnOnce(&mut World) -> bool) {
        let there = self.reach(act);
        assert!(there, "the mock cloud has no {what} '{id}'");
    }
}
