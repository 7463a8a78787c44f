//! How a lively world moves by itself. Every lot is drawn from the world's own seed, in the order of events, so when
//! somebody looks makes no difference to what is seen.

use super::super::settings::{Life, Span};
use super::World;
use super::queue::Event;
use crate::model::{InstanceId, InstanceState, NewInstance, RealmState};

/// What a realm says when it cannot be used.
const TROUBLES: [&str; 4] = [
    "Power was lost in one of the halls; engineers are on their way.",
    "The network between the halls drops packets.",
    "New instances cannot be placed: no capacity is left.",
    "Cooling failed; machines are being shut down.",
];

impl World {
    /// Plans the first of everything that comes again and again.
    pub(super) fn begin(&mut self, life: &Life) {
        self.plan_whim(life.opening_s, Event::Opening);
        self.plan_whim(life.power_every_s, Event::Power);
        self.plan_whim(life.appear_every_s, Event::Appear);
        self.plan_whim(life.vanish_every_s, Event::Vanish);
        self.plan_whim(life.realm_down_every_s, Event::RealmDown);
    }

    fn plan_whim(&mut self, every: Span, event: Event) {
        if !every.is_never() {
            let at = self.now + every.draw(self.chance.roll());
            self.queue.plan(at, event);
        }
    }

    pub(super) fn happen(&mut self, event: Event, life: &Life) {
        match event {
            Event::Step(id) => self.step(&id, life),
            Event::Image(id) => self.step_image(&id),
            Event::Volume(id) => self.step_volume(&id),
            Event::Snapshot(id) => self.step_snapshot(&id),
            Event::Opening => self.stop_by_itself(&InstanceId::from("inst1")),
            Event::Power => {
                self.power();
                self.plan_whim(life.power_every_s, Event::Power);
            }
            Event::Appear => {
                self.appear();
                self.plan_whim(life.appear_every_s, Event::Appear);
            }
            Event::Vanish => {
                self.vanish(life);
                self.plan_whim(life.vanish_every_s, Event::Vanish);
            }
            Event::RealmDown => {
                self.realm_down(life);
                self.plan_whim(life.realm_down_every_s, Event::RealmDown);
            }
            Event::RealmBack(id) => self.set_realm(&id, RealmState::Available, None),
        }
    }

    /// When an instance that has just come into this state goes on by itself; `None`: it stays.
    pub(super) fn stay(life: &Life, state: InstanceState) -> Option<Span> {
        match state {
            InstanceState::Pending => Some(life.boot_s),
            InstanceState::Running => Some(life.addresses_s),
            InstanceState::Stopping => Some(life.halt_s),
            InstanceState::Error => Some(life.error_s),
            InstanceState::Finish => Some(life.finish_s),
            InstanceState::Stopped | InstanceState::Unknown => None,
        }
    }

    fn step(&mut self, id: &InstanceId, life: &Life) {
        let Some(kept) = self.instances.get_mut(id) else { return };
        kept.step = None;
        match kept.it.state {
            InstanceState::Pending => self.boot(id, life),
            InstanceState::Running => kept.give_addresses(),
            InstanceState::Stopping => self.enter(id, InstanceState::Stopped),
            InstanceState::Error => self.enter(id, InstanceState::Finish),
            InstanceState::Finish => self.remove(id),
            InstanceState::Stopped | InstanceState::Unknown => {}
        }
    }

    /// A launch succeeds or fails; where the realm is not available, it fails.
    fn boot(&mut self, id: &InstanceId, life: &Life) {
        let unlucky = life.launch_failures.hits(self.chance.roll());
        let realm = self.instances.get(id).and_then(|kept| kept.it.realm.clone());
        let down =
            realm.and_then(|id| self.realms.get(&id)).is_some_and(|realm| realm.state == RealmState::Unavailable);
        self.enter(id, if unlucky || down { InstanceState::Error } else { InstanceState::Running });
    }

    fn power(&mut self) {
        let Some(id) = self.pick(|state| matches!(state, InstanceState::Running | InstanceState::Stopped)) else {
            return;
        };
        match self.instances[&id].it.state {
            InstanceState::Running => self.enter(&id, InstanceState::Stopping),
            _ => self.enter(&id, InstanceState::Pending),
        }
    }

    fn stop_by_itself(&mut self, id: &InstanceId) {
        if self.instances.get(id).is_some_and(|kept| kept.it.state == InstanceState::Running) {
            self.enter(id, InstanceState::Stopping);
        }
    }

    fn appear(&mut self) {
        let images: Vec<&String> = self.images.keys().collect();
        if images.is_empty() {
            return;
        }
        let image = images[index(self.chance.roll(), images.len())].clone();
        let realms: Vec<String> = self.realms.keys().cloned().collect();
        let realm = (!realms.is_empty()).then(|| realms[index(self.chance.roll(), realms.len())].clone());
        let new = NewInstance { image, realm, count: 1, ..NewInstance::default() };
        // A full world refuses, and then nothing appears.
        let _ = self.create(&new);
    }

    fn vanish(&mut self, life: &Life) {
        if self.instances.len() > life.instances_min
            && let Some(id) = self.pick(|_| true)
        {
            self.remove(&id);
        }
    }

    fn realm_down(&mut self, life: &Life) {
        let up: Vec<String> = self
            .realms
            .values()
            .filter(|realm| realm.state == RealmState::Available)
            .map(|realm| realm.id.clone())
            .collect();
        if up.is_empty() {
            return;
        }
        let id = up[index(self.chance.roll(), up.len())].clone();
        let trouble = TROUBLES[index(self.chance.roll(), TROUBLES.len())];
        self.set_realm(&id, RealmState::Unavailable, Some(trouble));
        let back_at = self.now + life.realm_down_s.draw(self.chance.roll());
        self.queue.plan(back_at, Event::RealmBack(id));
    }

    /// Some instance in such a state, each as likely.
    fn pick(&self, fits: impl Fn(InstanceState) -> bool) -> Option<InstanceId> {
        let ids: Vec<&InstanceId> =
            self.instances.iter().filter(|(_, kept)| fits(kept.it.state)).map(|(id, _)| id).collect();
        if ids.is_empty() { None } else { Some(ids[index(self.chance.roll(), ids.len())].clone()) }
    }
}

/// A place among `len`, which is not 0, each as likely.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "lists are short"
)]
fn index(roll: f64, len: usize) -> usize {
    ((len as f64 * roll) as usize).min(len - 1)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::super::stage::{self, at, tick};
    use super::*;
    use crate::drivers::mock::fixture;
    use crate::drivers::mock::settings::{Rate, Settings};
    use crate::model::{Action, Instance, Mount, NewImage, NewVolume};

    fn world(life: Life, seed: u64) -> World {
        stage::world(&Settings { lively: true, life, instances_max: 8, ..Settings::default() }, seed)
    }

    fn demo(seed: u64) -> World {
        world(Settings::demo(seed).life, seed)
    }

    fn one(world: &World, id: &InstanceId) -> Option<Instance> {
        world.look(&BTreeSet::from([id.clone()])).pop()
    }

    fn state(world: &World, id: &InstanceId) -> Option<InstanceState> {
        one(world, id).map(|instance| instance.state)
    }

    /// Ticks until it is in another state, or gone.
    fn next_state(world: &mut World, id: &InstanceId) -> Option<InstanceState> {
        let before = state(world, id);
        while state(world, id) == before {
            tick(world);
        }
        state(world, id)
    }

    fn new_instance(world: &mut World, realm: &str) -> InstanceId {
        let new =
            NewInstance { image: "img1".to_owned(), realm: Some(realm.to_owned()), count: 1, ..NewInstance::default() };
        world.create(&new).unwrap().remove(0).id
    }

    proptest! {
        #[test]
        fn whoever_looks_when_sees_the_same_history(
            seed: u64,
            looks in proptest::collection::vec(0_u64..300_000, 1..40),
            others in proptest::collection::vec(0_u64..300_000, 0..40),
            asked_at in 0_u64..300_000,
        ) {
            // Both are asked the same at the same time; else they are looked at at different times.
            let history = |looks: &[u64], shared: &[u64]| {
                let mut world = demo(seed);
                let times: BTreeSet<u64> = looks.iter().chain(shared).copied().chain([asked_at]).collect();
                let mut seen = BTreeMap::new();
                for time in times {
                    world.advance(at(time));
                    if time == asked_at {
                        // Refused in some histories: the refusal is part of them.
                        let _ = world.act(&InstanceId::from("inst2"), Action::Stop);
                        let _ = world.attach("vol1", &Mount { instance: "inst2".to_owned(), device: String::new() });
                        let _ = world.create_volume(&NewVolume::default());
                        let _ = world.create_image(&NewImage { instance: "inst0".to_owned(), ..NewImage::default() });
                    }
                    if shared.contains(&time) {
                        seen.insert(time, (world.instances(), world.realms(), world.volumes(), world.images()));
                    }
                }
                seen
            };
            prop_assert_eq!(history(&[], &looks), history(&others, &looks));
        }

        #[test]
        fn every_step_is_one_that_the_machine_allows(seed: u64) {
            walk_along_the_machine(seed);
        }

        #[test]
        fn the_opening_comes_within_five_seconds(seed: u64) {
            let mut world = world(Life { power_every_s: Span::NEVER, ..Settings::demo(seed).life }, seed);
            world.advance(at(2_999));
            prop_assert_eq!(state(&world, &InstanceId::from("inst1")), Some(InstanceState::Running));
            world.advance(at(5_000));
            prop_assert!(state(&world, &InstanceId::from("inst1")) != Some(InstanceState::Running));
        }
    }

    /// Here an instance comes to run in the very millisecond in which it is stopped.
    #[test]
    fn two_steps_at_one_instant_are_two_steps() {
        walk_along_the_machine(3_228_433_768_123_801_152);
    }

    fn walk_along_the_machine(seed: u64) {
        let mut world = demo(seed);
        let mut before = states(&world);
        let mut ever: BTreeSet<InstanceId> = before.keys().cloned().collect();
        while tick(&mut world) < at(300_000) {
            let now = states(&world);
            for (id, &to) in &now {
                match before.get(id) {
                    Some(&from) => {
                        let allowed = from == to || fixture::machine(true).connects(from, to);
                        assert!(allowed, "{id} {from} -> {to}");
                    }
                    None => {
                        assert_eq!(to, InstanceState::Pending, "{id}");
                        assert!(ever.insert(id.clone()), "{id} came back");
                    }
                }
            }
            assert!(now.len() <= 8);
            before = now;
        }
    }

    fn states(world: &World) -> BTreeMap<InstanceId, InstanceState> {
        world.instances().into_iter().map(|instance| (instance.id, instance.state)).collect()
    }

    #[test]
    fn everything_that_can_happen_does() {
        let mut world = demo(1);
        let (mut seen, mut down, mut back, mut vanished) = (BTreeSet::new(), false, false, false);
        let mut before = states(&world);
        while tick(&mut world) < at(600_000) {
            let now = states(&world);
            seen.extend(now.values().copied());
            vanished |= before.iter().any(|(id, &state)| state != InstanceState::Finish && !now.contains_key(id));
            let realms = world.realms();
            let any_down =
                realms.iter().any(|realm| realm.state == RealmState::Unavailable && !realm.messages.is_empty());
            back |= down && !any_down;
            down |= any_down;
            before = now;
        }
        use InstanceState::{Error, Finish, Pending, Running, Stopped, Stopping};
        assert_eq!(seen, BTreeSet::from([Pending, Running, Stopping, Stopped, Finish, Error]));
        assert!(down && back && vanished, "down {down}, back {back}, vanished {vanished}");
    }

    #[test]
    fn something_new_can_be_seen_every_few_seconds() {
        let mut world = demo(3);
        let mut changes = 0;
        let mut before = world.instances();
        for second in 1..=300 {
            world.advance(at(second * 1_000));
            let now = world.instances();
            changes += usize::from(now != before);
            before = now;
        }
        assert!(changes > 300 / 5, "only {changes} seconds of 300 had news");
    }

    #[test]
    fn seeds_differ() {
        let after = |seed| {
            let mut world = demo(seed);
            world.advance(at(120_000));
            states(&world)
        };
        assert_ne!(after(1), after(2));
    }

    #[test]
    fn nothing_moves_while_the_clock_stands_or_goes_back() {
        let mut world = demo(5);
        world.advance(at(60_000));
        let seen = (world.instances(), world.realms());
        for again in [60_000, 60_000, 30_000, 0, 59_999] {
            world.advance(at(again));
            assert_eq!((world.instances(), world.realms()), seen, "at {again}");
        }
    }

    #[test]
    fn to_order_it_goes_through_the_states_in_between() {
        let mut world = world(Life::quiet(), 1);
        let id = InstanceId::from("inst1");
        let stopped = world.act(&id, Action::Stop).unwrap().unwrap();
        assert_eq!((stopped.state, stopped.settling, stopped.actions), (InstanceState::Stopping, true, vec![]));
        assert_eq!(next_state(&mut world, &id), Some(InstanceState::Stopped));
        let off = one(&world, &id).unwrap();
        assert!(off.public_addresses.is_empty() && !off.private_addresses.is_empty() && !off.settling);
        assert_eq!(off.actions, [Action::Start, Action::Destroy]);

        let started = world.act(&id, Action::Start).unwrap().unwrap();
        assert_eq!((started.state, started.settling), (InstanceState::Pending, true));
        assert_eq!(next_state(&mut world, &id), Some(InstanceState::Running));

        world.act(&id, Action::Stop).unwrap();
        next_state(&mut world, &id);
        let destroyed = world.act(&id, Action::Destroy).unwrap().unwrap();
        assert_eq!((destroyed.state, destroyed.public_addresses), (InstanceState::Finish, vec![]));
        assert_eq!(next_state(&mut world, &id), None, "it stays listed for a while, and leaves");
    }

    #[test]
    fn addresses_come_some_time_after_running() {
        let mut world = world(Life::quiet(), 1);
        let id = new_instance(&mut world, "us");
        assert_eq!(next_state(&mut world, &id), Some(InstanceState::Running));
        let early = one(&world, &id).unwrap();
        assert!(early.public_addresses.is_empty() && early.private_addresses.is_empty());
        tick(&mut world);
        let late = one(&world, &id).unwrap();
        assert_eq!(late.public_addresses[0].text, format!("img1.{id}.public.com"));
        assert_eq!((late.state, late.private_addresses.len()), (InstanceState::Running, 1));
    }

    #[test]
    fn a_launch_that_fails_is_cleared_up() {
        let mut world = world(Life { launch_failures: Rate::ALWAYS, ..Life::quiet() }, 1);
        let id = new_instance(&mut world, "us");
        assert_eq!(state(&world, &id), Some(InstanceState::Pending));
        assert_eq!(next_state(&mut world, &id), Some(InstanceState::Error));
        assert_eq!(next_state(&mut world, &id), Some(InstanceState::Finish));
        assert_eq!(next_state(&mut world, &id), None);
    }

    #[test]
    fn launches_fail_in_a_realm_that_is_down_and_only_there() {
        let mut world = world(Life::quiet(), 1);
        world.set_realm("eu", RealmState::Unavailable, Some("flood"));
        let (lost, fine) = (new_instance(&mut world, "eu"), new_instance(&mut world, "us"));
        assert_eq!(next_state(&mut world, &lost), Some(InstanceState::Error));
        if state(&world, &fine) == Some(InstanceState::Pending) {
            next_state(&mut world, &fine);
        }
        assert_eq!(state(&world, &fine), Some(InstanceState::Running));
    }

    #[test]
    fn instances_disappear_down_to_a_bound() {
        let mut world = world(Life { vanish_every_s: Span::secs(1, 2), instances_min: 2, ..Life::quiet() }, 1);
        world.advance(at(60_000));
        assert_eq!(world.instances().len(), 2);
    }

    #[test]
    fn a_new_order_calls_off_what_was_to_come() {
        let mut world = world(Life::quiet(), 1);
        let id = InstanceId::from("inst1");
        world.act(&id, Action::Stop).unwrap();
        world.enter(&id, InstanceState::Stopped);
        assert_eq!(world.queue.next_at(), None, "it had been about to stop");
        world.act(&id, Action::Start).unwrap();
        world.remove(&id);
        assert_eq!(world.queue.next_at(), None, "it had been about to run");
    }

    #[test]
    fn a_world_left_alone_for_a_year_wakes_at_once_and_goes_on() {
        let mut world = demo(9);
        let year = 366 * 86_400_000;
        world.advance(at(year));
        let next = world.queue.next_at().unwrap() + world.slept;
        assert!(next > at(year) && next < at(year + 60_000), "{next}");
        let seen = world.instances();
        world.advance(at(year + 60_000));
        assert_ne!(world.instances(), seen);
        let id = new_instance(&mut world, "us");
        let launched = one(&world, &id).unwrap().launch_time;
        assert_eq!(launched, Some(at(year + 60_000).to_string()), "as the clock counts");
    }
}
