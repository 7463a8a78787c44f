//! One account's cloud. Pure: told the time, it catches up with it, event by event; chance comes from its seed.
//!
//! Guarantees: its state at a time is a function of its seed, its settings and what was asked of it when. Looking at it
//! changes nothing, and neither does how often. Time that stands still or goes back moves nothing.
//!
//! Accepted: a world that nobody looked at for hours slept through most of them ([`CATCH_UP_MAX`]), so that a look is
//! never long.

mod life;
mod queue;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use self::queue::{Event, Place, Queue};
use super::fixture;
use super::settings::Life;
use crate::chance::Chance;
use crate::drivers::{Error, Kind, Machine};
use crate::model::{Action, Address, Instance, InstanceId, InstanceState, LoginKind, NewInstance, Realm, RealmState};

/// How much a look makes up for; what is beyond was slept through.
const CATCH_UP_MAX: Duration = Duration::from_secs(6 * 3_600);

/// What holds in every world of a cloud.
#[derive(Clone)]
pub(super) struct Rules {
    /// `None`: nothing moves by itself, and everything asked is done at once.
    pub(super) life: Option<Life>,
    pub(super) machine: &'static Machine,
    pub(super) instances_max: usize,
}

pub(super) struct World {
    rules: Rules,
    owner: String,
    /// The last event was not later, and everything planned is.
    now: Timestamp,
    /// How far `now` is behind the clock for having slept.
    slept: Duration,
    instances: BTreeMap<InstanceId, Kept>,
    realms: BTreeMap<String, Realm>,
    queue: Queue,
    /// A lively world gives every id once; this is the next.
    next_id: u64,
    chance: Chance,
}

struct Kept {
    instance: Instance,
    /// How it goes on by itself.
    step: Option<Place>,
}

impl World {
    pub(super) fn new(rules: Rules, owner: &str, start: Timestamp, seed: u64, instances: Vec<Instance>) -> Self {
        let mut world = Self {
            rules,
            owner: owner.to_owned(),
            now: start,
            slept: Duration::ZERO,
            instances: BTreeMap::new(),
            realms: fixture::realms().into_iter().map(|realm| (realm.id.clone(), realm)).collect(),
            queue: Queue::default(),
            next_id: 0,
            chance: Chance::seeded(seed),
        };
        for mut instance in instances {
            instance.actions = world.rules.machine.actions(instance.state);
            world.instances.insert(instance.id.clone(), Kept { instance, step: None });
            world.next_id += 1;
        }
        if let Some(life) = world.rules.life.clone() {
            world.begin(&life);
        }
        world
    }

    /// Lets everything happen whose time has come.
    pub(super) fn advance(&mut self, clock: Timestamp) {
        let behind = (clock - self.slept).duration_since(self.now);
        // Negative: the clock went back.
        let Ok(behind) = Duration::try_from(behind) else { return };
        self.slept += behind.saturating_sub(CATCH_UP_MAX);
        let to = clock - self.slept;
        while self.queue.next_at().is_some_and(|at| at <= to) {
            self.next_event();
        }
        self.now = to;
    }

    /// Lets the first of what is planned happen.
    fn next_event(&mut self) {
        if let Some((at, event)) = self.queue.pop()
            && let Some(life) = self.rules.life.clone()
        {
            self.now = at;
            self.happen(event, &life);
        }
    }

    pub(super) fn instances(&self) -> Vec<Instance> {
        self.instances.values().map(|kept| kept.instance.clone()).collect()
    }

    pub(super) fn look(&self, ids: &BTreeSet<InstanceId>) -> Vec<Instance> {
        ids.iter().filter_map(|id| self.instances.get(id)).map(|kept| kept.instance.clone()).collect()
    }

    pub(super) fn realms(&self) -> Vec<Realm> {
        self.realms.values().cloned().collect()
    }

    /// As the reference: image and realm are taken as they come, a profile is checked.
    pub(super) fn create(&mut self, new: &NewInstance) -> Result<Vec<Instance>, Error> {
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
        let at = self.now + self.slept;
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

    /// `instN`: the lowest that is free; in a lively world, where a tracker must tell a new one from an old one, the
    /// lowest that never was.
    fn free_id(&mut self) -> String {
        let lively = self.rules.life.is_some();
        let mut n = if lively { self.next_id } else { 0 };
        while self.instances.contains_key(&InstanceId(format!("inst{n}"))) {
            n += 1;
        }
        self.next_id = n + 1;
        format!("inst{n}")
    }

    pub(super) fn act(&mut self, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        let Some(kept) = self.instances.get(id) else {
            return Err(Error::new(Kind::NotFound, format!("Instance '{id}' does not exist.")));
        };
        let state = kept.instance.state;
        let Some(target) = self.rules.machine.target(state, action) else {
            let text = format!("Instance '{id}' is {state}, which does not allow {}.", action.as_str());
            return Err(Error::new(Kind::Conflict, text));
        };
        if target == InstanceState::Finish && self.rules.life.is_none() {
            self.remove(id);
        } else if target != state {
            self.enter(id, target);
        }
        Ok(self.instances.get(id).map(|kept| kept.instance.clone()))
    }

    /// Adds an instance of no particular kind.
    pub(super) fn add(&mut self, state: InstanceState) -> InstanceId {
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
        self.instances.insert(id.clone(), Kept { instance, step: None });
        self.enter(&id, state);
        self.instances[&id].instance.clone()
    }

    /// Puts an instance into a state, and plans how it goes on from there. An unknown one is left unknown.
    pub(super) fn enter(&mut self, id: &InstanceId, state: InstanceState) {
        let Some(kept) = self.instances.get_mut(id) else { return };
        kept.show(state, self.rules.machine);
        if let Some(step) = kept.step.take() {
            self.queue.call_off(step);
        }
        let Some(life) = &self.rules.life else { return };
        kept.lose_addresses();
        if let Some(span) = Self::stay(life, state) {
            let at = self.now + span.draw(self.chance.roll());
            kept.step = Some(self.queue.plan(at, Event::Step(id.clone())));
        }
    }

    pub(super) fn has(&self, id: &InstanceId) -> bool {
        self.instances.contains_key(id)
    }

    /// Of an unknown instance, nothing.
    pub(super) fn set_addresses(&mut self, id: &InstanceId, public: Vec<Address>, private: Vec<Address>) {
        if let Some(kept) = self.instances.get_mut(id) {
            (kept.instance.public_addresses, kept.instance.private_addresses) = (public, private);
        }
    }

    /// Without trace: in no list and found by no look.
    pub(super) fn remove(&mut self, id: &InstanceId) {
        if let Some(step) = self.instances.remove(id).and_then(|kept| kept.step) {
            self.queue.call_off(step);
        }
    }

    /// A realm that is not there comes to be.
    pub(super) fn set_realm(&mut self, id: &str, state: RealmState, message: Option<&str>) {
        let realm = self.realms.entry(id.to_owned()).or_insert_with(|| fixture::realm(id, id));
        realm.state = state;
        realm.native_state = state.as_str().to_owned();
        realm.messages = message.map(str::to_owned).into_iter().collect();
    }

    pub(super) fn withdraw_realm(&mut self, id: &str) {
        self.realms.remove(id);
    }
}

impl Kept {
    fn show(&mut self, state: InstanceState, machine: &Machine) {
        self.instance.state = state;
        self.instance.native_state = state.as_str().to_owned();
        self.instance.settling = matches!(state, InstanceState::Pending | InstanceState::Stopping);
        self.instance.actions = machine.actions(state);
    }

    fn give_addresses(&mut self) {
        let image = self.instance.image.clone().unwrap_or_default();
        (self.instance.public_addresses, self.instance.private_addresses) =
            fixture::addresses(&image, &self.instance.id);
    }

    /// A machine that is off loses its public address, and one that is done or never came up has none.
    fn lose_addresses(&mut self) {
        match self.instance.state {
            InstanceState::Stopped | InstanceState::Pending => self.instance.public_addresses.clear(),
            InstanceState::Finish | InstanceState::Error => {
                self.instance.public_addresses.clear();
                self.instance.private_addresses.clear();
            }
            InstanceState::Running | InstanceState::Stopping | InstanceState::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Action::{Destroy, Reboot, Start, Stop};

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn reference() -> World {
        let rules = Rules { life: None, machine: fixture::machine(false), instances_max: 6 };
        World::new(rules, "mockuser", START, 0, fixture::instances("mockuser"))
    }

    fn kind<T: std::fmt::Debug>(result: Result<T, Error>) -> Kind {
        result.unwrap_err().kind
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

    #[test]
    fn a_realm_speaks_while_it_is_down_and_can_come_and_go() {
        let mut world = reference();
        world.set_realm("us", RealmState::Unavailable, Some("flood"));
        world.set_realm("ap", RealmState::Available, None);
        world.withdraw_realm("eu");
        let realms = world.realms();
        assert_eq!(realms.iter().map(|realm| realm.id.as_str()).collect::<Vec<_>>(), ["ap", "us"]);
        assert_eq!((realms[1].state, realms[1].native_state.as_str()), (RealmState::Unavailable, "UNAVAILABLE"));
        assert_eq!(realms[1].messages, ["flood"]);
        world.set_realm("us", RealmState::Available, None);
        assert_eq!(world.realms()[1], fixture::realm("us", "United States"));
    }
}
