use std::collections::BTreeSet;

use super::super::fixture;
use super::queue::Event;
use super::{Kept, World, unknown};
use crate::drivers::{Error, Kind, Machine};
use crate::model::{
    Action, Address, AddressKind, Announced, Instance, InstanceId, InstanceState, LoginKind, NewInstance,
};

impl World {
    pub(crate) fn instances(&self) -> Vec<Instance> {
        self.instances.values().map(|kept| self.shown(kept)).collect()
    }

    /// Says nothing of what is announced, as with clouds that have another call for that.
    pub(crate) fn look(&self, ids: &BTreeSet<InstanceId>) -> Vec<Instance> {
        let shown = |kept| Instance { announced: None, ..self.shown(kept) };
        ids.iter().filter_map(|id| self.instances.get(id)).map(shown).collect()
    }

    /// As everybody sees it: what hangs on an instance is told by the volumes, interfaces and addresses themselves.
    fn shown(&self, kept: &Kept<Instance>) -> Instance {
        let mut instance = kept.it.clone();
        let id = instance.id.as_str();
        instance.storage_volumes = self.attachments(id);
        instance.network_interfaces = Some(self.interfaces_of(id));
        let associated = self.associated(id);
        if !associated.is_empty() {
            let address = |text| Address { kind: AddressKind::Ipv4, text };
            instance.public_addresses = associated.into_iter().map(address).collect();
        }
        instance
    }

    /// As the reference: image and realm are taken as they come, a profile is checked.
    pub(crate) fn create(&mut self, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        let profile = new.hardware_profile.as_deref().unwrap_or(fixture::PROFILE);
        if !fixture::hardware_profiles().iter().any(|known| known.id == profile) {
            return Err(Error::new(Kind::Invalid, format!("Hardware profile '{profile}' does not exists.")));
        }
        let count = usize::try_from(new.count.max(1)).unwrap_or(usize::MAX);
        let most = self.rules.instances_max;
        if self.instances.len().saturating_add(count) > most {
            return Err(Error::new(Kind::Forbidden, format!("The mock cloud keeps at most {most} instances.")));
        }
        Ok((0..count).map(|_| self.create_one(new, profile)).collect())
    }

    fn create_one(&mut self, new: &NewInstance, profile: &str) -> Instance {
        let at = self.clock();
        let mut instance = fixture::instance(&self.free_id(), &new.image, &self.owner);
        instance.name = Some(new.name.clone().unwrap_or_else(|| format!("i-{}", at.as_second())));
        instance.realm = Some(new.realm.clone().unwrap_or_else(|| fixture::REALM.to_owned()));
        instance.hardware_profile = Some(profile.to_owned());
        instance.hardware_properties = new.hardware_overrides.clone();
        instance.login = Some(LoginKind::Key(new.key_name.clone()));
        // The reference tells no launch time, and its clients' suites do not miss it.
        instance.launch_time = self.rules.life.is_some().then(|| at.to_string());
        let state = if self.rules.life.is_some() { InstanceState::Pending } else { InstanceState::Running };
        self.put(instance, state)
    }

    fn free_id(&mut self) -> String {
        let instances = &self.instances;
        self.ids.fresh("inst", |id| instances.contains_key(&InstanceId::from(id)))
    }

    pub(crate) fn act(&mut self, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        let Some(kept) = self.instances.get(id) else {
            return Err(unknown("Instance", id.as_str()));
        };
        let state = kept.it.state;
        let Some(target) = self.rules.machine.target(state, action) else {
            let text = format!("Instance '{id}' is {state}, which does not allow {}.", action.as_str());
            return Err(Error::new(Kind::Conflict, text));
        };
        if target == InstanceState::Finish && self.rules.life.is_none() {
            self.remove(id);
        } else if target != state {
            self.enter(id, target);
        }
        Ok(self.instances.get(id).map(|kept| self.shown(kept)))
    }

    /// Adds an instance of no particular kind.
    pub(crate) fn add(&mut self, state: InstanceState) -> InstanceId {
        let id = self.free_id();
        let mut instance = fixture::instance(&id, "img1", &self.owner);
        instance.name = Some(id);
        self.put(instance, state).id
    }

    fn put(&mut self, mut instance: Instance, state: InstanceState) -> Instance {
        if self.rules.life.is_some() {
            // They come late.
            instance.public_addresses.clear();
            instance.private_addresses.clear();
        }
        let id = instance.id.clone();
        self.instances.insert(id.clone(), Kept { it: instance, step: None });
        self.enter(&id, state);
        self.shown(&self.instances[&id])
    }

    /// Puts an instance into a state, and plans how it goes on from there. An unknown one is left unknown.
    pub(crate) fn enter(&mut self, id: &InstanceId, state: InstanceState) {
        let Some(kept) = self.instances.get_mut(id) else { return };
        kept.show(state, self.rules.machine);
        if let Some(step) = kept.step.take() {
            self.queue.call_off(step);
        }
        if state == InstanceState::Finish {
            self.let_go(id.as_str());
        }
        let (Some(life), Some(kept)) = (&self.rules.life, self.instances.get_mut(id)) else { return };
        kept.lose_addresses();
        if let Some(span) = Self::stay(life, state) {
            let at = self.now + span.draw(self.chance.roll());
            kept.step = Some(self.queue.plan(at, Event::Step(id.clone())));
        }
    }

    pub(crate) fn has(&self, id: &InstanceId) -> bool {
        self.instances.contains_key(id)
    }

    /// Of an unknown instance, nothing.
    pub(crate) fn set_addresses(&mut self, id: &InstanceId, public: Vec<Address>, private: Vec<Address>) {
        if let Some(kept) = self.instances.get_mut(id) {
            (kept.it.public_addresses, kept.it.private_addresses) = (public, private);
        }
    }

    pub(crate) fn announce(&mut self, id: &InstanceId, announced: Vec<Announced>) {
        if let Some(kept) = self.instances.get_mut(id) {
            kept.it.announced = Some(announced);
        }
    }

    /// Without trace: in no list and found by no look.
    pub(crate) fn remove(&mut self, id: &InstanceId) {
        if let Some(step) = self.instances.remove(id).and_then(|kept| kept.step) {
            self.queue.call_off(step);
        }
        self.let_go(id.as_str());
    }

    /// Frees what hung on an instance that is no more; its interfaces go with it.
    fn let_go(&mut self, id: &str) {
        self.free_volumes_of(id);
        self.free_addresses_of(id);
        self.remove_interfaces_of(id);
    }
}

impl Kept<Instance> {
    fn show(&mut self, state: InstanceState, machine: &Machine) {
        self.it.state = state;
        self.it.native_state = state.as_str().to_owned();
        self.it.settling = matches!(state, InstanceState::Pending | InstanceState::Stopping);
        self.it.actions = machine.actions(state);
    }

    pub(super) fn give_addresses(&mut self) {
        let image = self.it.image.clone().unwrap_or_default();
        (self.it.public_addresses, self.it.private_addresses) = fixture::addresses(&image, &self.it.id);
    }

    /// A machine that is off loses its public address, and one that is done or never came up has none.
    fn lose_addresses(&mut self) {
        match self.it.state {
            InstanceState::Stopped | InstanceState::Pending => self.it.public_addresses.clear(),
            InstanceState::Finish | InstanceState::Error => {
                self.it.public_addresses.clear();
                self.it.private_addresses.clear();
            }
            InstanceState::Running | InstanceState::Stopping | InstanceState::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::stage::{START, kind, world};
    use super::*;
    use crate::drivers::mock::settings::Settings;
    use crate::model::Action::{Destroy, Reboot, Start, Stop};

    fn reference() -> World {
        world(&Settings { instances_max: 6, ..Settings::default() }, 0)
    }

    fn new() -> NewInstance {
        NewInstance { image: "img2".to_owned(), count: 1, ..NewInstance::default() }
    }

    #[test]
    fn in_the_reference_actions_are_done_at_once_and_nothing_else_happens() {
        let mut world = reference();
        let id = InstanceId::from("inst1");
        let mut act = |action| world.act(&id, action).unwrap().map(|instance| (instance.state, instance.actions));
        assert_eq!(act(Reboot), Some((InstanceState::Running, vec![Reboot, Stop])));
        assert_eq!(act(Stop), Some((InstanceState::Stopped, vec![Start, Destroy])));
        assert_eq!(act(Start), Some((InstanceState::Running, vec![Reboot, Stop])));
        assert_eq!(act(Stop).map(|(state, _)| state), Some(InstanceState::Stopped));

        let before = world.instances();
        world.advance(START + Duration::from_secs(1_000_000));
        assert_eq!(world.instances(), before);

        assert_eq!(world.act(&id, Destroy).unwrap(), None);
        assert!(world.look(&BTreeSet::from([id])).is_empty());
        assert_eq!(world.instances().len(), 3);
    }

    #[test]
    fn what_the_state_does_not_allow_is_a_conflict_and_changes_nothing() {
        let mut world = reference();
        let before = world.instances();
        let id = InstanceId::from("inst1");
        assert_eq!(kind(world.act(&id, Destroy)), Kind::Conflict);
        assert_eq!(kind(world.act(&id, Start)), Kind::Conflict);
        assert_eq!(kind(world.act(&InstanceId::from("inst9"), Stop)), Kind::NotFound);
        assert_eq!(world.instances(), before);
    }

    #[test]
    fn a_new_instance_of_the_reference_runs_at_once_and_fills_what_was_left_out() {
        let mut world = reference();
        world.advance(START + Duration::from_secs(77));
        world.remove(&InstanceId::from("inst2"));
        let created = world.create(&new()).unwrap().remove(0);
        assert_eq!(created.id.as_str(), "inst2", "the lowest that is free");
        assert_eq!(created.name.as_deref(), Some("i-77"));
        assert_eq!((created.realm.as_deref(), created.hardware_profile.as_deref()), (Some("us"), Some("m1-small")));
        assert_eq!((created.state, created.owner.as_deref()), (InstanceState::Running, Some("mockuser")));
        assert_eq!(created.public_addresses[0].text, "img2.inst2.public.com");
        assert_eq!(world.look(&BTreeSet::from([created.id.clone()])), [created]);
    }

    #[test]
    fn a_new_instance_is_as_it_was_asked_for() {
        let new = NewInstance {
            image: "nowhere".to_owned(),
            realm: Some("atlantis".to_owned()),
            hardware_profile: Some("opaque".to_owned()),
            hardware_overrides: vec![("memory".to_owned(), "99999".to_owned())],
            name: Some("web".to_owned()),
            key_name: Some("test-key".to_owned()),
            ..new()
        };
        let created = reference().create(&new).unwrap().remove(0);
        assert_eq!((created.image, created.realm), (Some(new.image), new.realm), "the reference checks neither");
        assert_eq!(
            (created.hardware_profile, created.hardware_properties),
            (new.hardware_profile, new.hardware_overrides)
        );
        assert_eq!((created.name, created.login), (new.name, Some(LoginKind::Key(new.key_name))));
    }

    #[test]
    fn several_are_created_together_or_not_at_all() {
        let mut world = reference();
        assert_eq!(kind(world.create(&NewInstance { count: 3, ..new() })), Kind::Forbidden, "there is room for two");
        assert_eq!(kind(world.create(&NewInstance { count: u32::MAX, ..new() })), Kind::Forbidden);
        assert_eq!(world.instances().len(), 4);
        let ids: Vec<_> =
            world.create(&NewInstance { count: 2, ..new() }).unwrap().into_iter().map(|one| one.id.0).collect();
        assert_eq!(ids, ["inst4", "inst5"]);
    }

    #[test]
    fn an_unknown_profile_is_named_in_the_words_of_the_reference() {
        let mut world = reference();
        let error = world.create(&NewInstance { hardware_profile: Some("m9".to_owned()), ..new() }).unwrap_err();
        assert_eq!((error.kind, error.text.as_str()), (Kind::Invalid, "Hardware profile 'm9' does not exists."));
        assert_eq!(world.instances().len(), 4);
    }
}
