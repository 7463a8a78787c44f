use std::collections::BTreeSet;

use super::super::fixture;
use super::queue::Event;
use super::{Kept, World, conflict, fit, invalid, unknown};
use crate::drivers::Error;
use crate::model::{
    Attachment, InstanceId, InstanceState, Mount, NewSnapshot, NewVolume, Snapshot, Volume, VolumeAction,
};

const CREATING: &str = "CREATING";
const AVAILABLE: &str = "AVAILABLE";
const ATTACHING: &str = "ATTACHING";
const IN_USE: &str = "IN-USE";
const DETACHING: &str = "DETACHING";
const DELETING: &str = "DELETING";
const ERROR: &str = "ERROR";

const PENDING: &str = "PENDING";
const COMPLETED: &str = "COMPLETED";

/// A snapshot, and what else is known of what it is a copy of, which may be gone.
pub(super) struct Copied {
    snapshot: Snapshot,
    capacity: String,
}

impl World {
    pub(super) fn furnish_storage(&mut self, volumes: Vec<Volume>, snapshots: Vec<Snapshot>) {
        for mut volume in volumes {
            let state = volume.state.clone();
            show_volume(&mut volume, &state);
            self.volumes.insert(volume.id.clone(), Kept::new(volume));
        }
        for snapshot in snapshots {
            let id = snapshot.id.clone();
            let mut copied = Copied { snapshot, capacity: fixture::volume("").capacity };
            copied.show(COMPLETED);
            self.snapshots.insert(id, Kept::new(copied));
        }
    }

    pub(crate) fn volumes(&self) -> Vec<Volume> {
        self.volumes.values().map(|kept| kept.it.clone()).collect()
    }

    pub(crate) fn volumes_by_id(&self, ids: &BTreeSet<String>) -> Vec<Volume> {
        ids.iter().filter_map(|id| self.volumes.get(id)).map(|kept| kept.it.clone()).collect()
    }

    /// As the reference: the realm is taken as it comes, a gigabyte is the default.
    pub(crate) fn create_volume(&mut self, new: &NewVolume) -> Result<Volume, Error> {
        fit([new.name.as_ref(), new.description.as_ref(), new.realm.as_ref()])?;
        let mut volume = fixture::volume("");
        if let Some(snapshot) = &new.snapshot {
            let source = self
                .snapshots
                .get(snapshot)
                .ok_or_else(|| invalid(format!("Snapshot '{snapshot}' does not exist.")))?;
            volume.capacity = source.it.capacity.clone();
        }
        if let Some(capacity) = &new.capacity {
            check_capacity(capacity)?;
            volume.capacity = capacity.clone();
        }
        if let Some(realm) = &new.realm {
            volume.realm = Some(realm.clone());
        }
        self.make_room(self.volumes.len(), "volumes")?;
        volume.name = new.name.clone();
        volume.description = new.description.clone();
        volume.created = Some(self.clock().to_string());
        let id = self.put_volume(volume, if self.is_lively() { CREATING } else { AVAILABLE });
        Ok(self.volumes[&id].it.clone())
    }

    pub(crate) fn destroy_volume(&mut self, id: &str) -> Result<(), Error> {
        self.allowed(id, VolumeAction::Destroy)?;
        if self.is_lively() {
            self.enter_volume(id, DELETING);
        } else {
            self.remove_volume(id);
        }
        Ok(())
    }

    pub(crate) fn attach(&mut self, id: &str, to: &Mount) -> Result<Volume, Error> {
        self.allowed(id, VolumeAction::Attach)?;
        match self.instances.get(&InstanceId::from(to.instance.as_str())) {
            None => return Err(unknown("Instance", &to.instance)),
            Some(kept) if kept.it.state == InstanceState::Finish => {
                return Err(conflict(format!("Instance '{}' has ended.", to.instance)));
            }
            Some(_) => {}
        }
        let used: BTreeSet<String> = self.attachments(&to.instance).into_iter().map(|at| at.device).collect();
        if used.contains(&to.device) {
            return Err(conflict(format!("Instance '{}' has a volume at {} already.", to.instance, to.device)));
        }
        fit([Some(&to.device)])?;
        let device = if to.device.is_empty() { free_device(&used) } else { to.device.clone() };
        let state = if self.is_lively() { ATTACHING } else { IN_USE };
        if let Some(kept) = self.volumes.get_mut(id) {
            kept.it.mount = Some(Mount { instance: to.instance.clone(), device });
        }
        self.enter_volume(id, state);
        Ok(self.volumes[id].it.clone())
    }

    pub(crate) fn detach(&mut self, id: &str) -> Result<Volume, Error> {
        self.allowed(id, VolumeAction::Detach)?;
        self.enter_volume(id, if self.is_lively() { DETACHING } else { AVAILABLE });
        Ok(self.volumes[id].it.clone())
    }

    fn allowed(&self, id: &str, action: VolumeAction) -> Result<(), Error> {
        let kept = self.volumes.get(id).ok_or_else(|| unknown("Volume", id))?;
        if kept.it.actions.contains(&action) {
            return Ok(());
        }
        Err(conflict(format!("Volume '{id}' is {}, which does not allow {}.", kept.it.state, action.as_str())))
    }

    /// Puts a volume into a state, and plans how it goes on from there. `false`: there is none.
    pub(crate) fn enter_volume(&mut self, id: &str, state: &str) -> bool {
        let Some(kept) = self.volumes.get_mut(id) else { return false };
        show_volume(&mut kept.it, state);
        if let Some(step) = kept.step.take() {
            self.queue.call_off(step);
        }
        if let Some(life) = &self.rules.life
            && kept.it.settling
        {
            let at = self.now + life.volume_s.draw(self.chance.roll());
            kept.step = Some(self.queue.plan(at, Event::Volume(id.to_owned())));
        }
        true
    }

    pub(super) fn step_volume(&mut self, id: &str) {
        let Some(kept) = self.volumes.get_mut(id) else { return };
        kept.step = None;
        match kept.it.state.as_str() {
            CREATING | DETACHING => self.enter_volume(id, AVAILABLE),
            ATTACHING => self.enter_volume(id, IN_USE),
            DELETING => self.remove_volume(id),
            _ => true,
        };
    }

    /// Adds a free volume of no particular kind.
    pub(crate) fn add_volume(&mut self, state: &str) -> String {
        self.put_volume(fixture::volume(""), state)
    }

    fn put_volume(&mut self, mut volume: Volume, state: &str) -> String {
        let volumes = &self.volumes;
        let id = self.ids.fresh("vol", |id| volumes.contains_key(id));
        volume.id.clone_from(&id);
        self.volumes.insert(id.clone(), Kept::new(volume));
        self.enter_volume(&id, state);
        id
    }

    /// Without trace. `false`: there is none.
    pub(crate) fn remove_volume(&mut self, id: &str) -> bool {
        let Some(kept) = self.volumes.remove(id) else { return false };
        if let Some(step) = kept.step {
            self.queue.call_off(step);
        }
        true
    }

    /// In the order of the volumes' ids.
    pub(super) fn attachments(&self, instance: &str) -> Vec<Attachment> {
        let at = |kept: &Kept<Volume>| {
            let mount = kept.it.mount.as_ref().filter(|mount| mount.instance == instance)?;
            Some(Attachment { volume: kept.it.id.clone(), device: mount.device.clone() })
        };
        self.volumes.values().filter_map(at).collect()
    }

    pub(super) fn free_volumes_of(&mut self, instance: &str) {
        for attachment in self.attachments(instance) {
            self.enter_volume(&attachment.volume, AVAILABLE);
        }
    }

    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        self.snapshots.values().map(|kept| kept.it.snapshot.clone()).collect()
    }

    pub(crate) fn snapshots_by_id(&self, ids: &BTreeSet<String>) -> Vec<Snapshot> {
        ids.iter().filter_map(|id| self.snapshots.get(id)).map(|kept| kept.it.snapshot.clone()).collect()
    }

    pub(crate) fn create_snapshot(&mut self, new: &NewSnapshot) -> Result<Snapshot, Error> {
        fit([new.name.as_ref(), new.description.as_ref()])?;
        let volume = &self.volumes.get(&new.volume).ok_or_else(|| unknown("Volume", &new.volume))?.it;
        if [CREATING, DELETING, ERROR].contains(&volume.state.as_str()) {
            return Err(conflict(format!("Volume '{}' is {}: there is nothing to copy.", volume.id, volume.state)));
        }
        let capacity = volume.capacity.clone();
        self.make_room(self.snapshots.len(), "snapshots")?;
        let mut snapshot = fixture::snapshot("", &new.volume);
        snapshot.name = new.name.clone();
        snapshot.description = new.description.clone();
        snapshot.created = Some(self.clock().to_string());
        let state = if self.is_lively() { PENDING } else { COMPLETED };
        let id = self.put_snapshot(snapshot, capacity, state);
        Ok(self.snapshots[&id].it.snapshot.clone())
    }

    pub(crate) fn destroy_snapshot(&mut self, id: &str) -> Result<(), Error> {
        if self.remove_snapshot(id) { Ok(()) } else { Err(unknown("Snapshot", id)) }
    }

    /// Puts a snapshot into a state, and plans how it goes on from there. `false`: there is none.
    pub(crate) fn enter_snapshot(&mut self, id: &str, state: &str) -> bool {
        let Some(kept) = self.snapshots.get_mut(id) else { return false };
        kept.it.show(state);
        if let Some(step) = kept.step.take() {
            self.queue.call_off(step);
        }
        if let Some(life) = &self.rules.life
            && kept.it.snapshot.settling
        {
            let at = self.now + life.snapshot_s.draw(self.chance.roll());
            kept.step = Some(self.queue.plan(at, Event::Snapshot(id.to_owned())));
        }
        true
    }

    pub(super) fn step_snapshot(&mut self, id: &str) {
        if let Some(kept) = self.snapshots.get_mut(id) {
            kept.step = None;
            self.enter_snapshot(id, COMPLETED);
        }
    }

    /// Adds a snapshot of some volume, there or not.
    pub(crate) fn add_snapshot(&mut self, volume: &str, state: &str) -> String {
        self.put_snapshot(fixture::snapshot("", volume), fixture::volume("").capacity, state)
    }

    fn put_snapshot(&mut self, mut snapshot: Snapshot, capacity: String, state: &str) -> String {
        let snapshots = &self.snapshots;
        let id = self.ids.fresh("snap", |id| snapshots.contains_key(id));
        snapshot.id.clone_from(&id);
        self.snapshots.insert(id.clone(), Kept::new(Copied { snapshot, capacity }));
        self.enter_snapshot(&id, state);
        id
    }

    /// Without trace. `false`: there is none.
    pub(crate) fn remove_snapshot(&mut self, id: &str) -> bool {
        let Some(kept) = self.snapshots.remove(id) else { return false };
        if let Some(step) = kept.step {
            self.queue.call_off(step);
        }
        true
    }
}

impl Copied {
    fn show(&mut self, state: &str) {
        state.clone_into(&mut self.snapshot.state);
        state.clone_into(&mut self.snapshot.native_state);
        self.snapshot.settling = state == PENDING;
    }
}

fn show_volume(volume: &mut Volume, state: &str) {
    state.clone_into(&mut volume.state);
    state.clone_into(&mut volume.native_state);
    volume.settling = [CREATING, ATTACHING, DETACHING, DELETING].contains(&state);
    volume.actions = match state {
        AVAILABLE => vec![VolumeAction::Attach, VolumeAction::Destroy],
        IN_USE => vec![VolumeAction::Detach],
        ERROR => vec![VolumeAction::Destroy],
        _ => Vec::new(),
    };
    if state == AVAILABLE {
        volume.mount = None;
    }
}

/// A positive number of GB.
fn check_capacity(capacity: &str) -> Result<(), Error> {
    match capacity.parse::<f64>() {
        Ok(gb) if gb.is_finite() && gb > 0.0 && capacity.len() <= 32 => Ok(()),
        _ => Err(invalid("A volume's capacity is a number of GB.".to_owned())),
    }
}

/// `/dev/sdb` and so on; when all letters are used, nobody can say where.
fn free_device(used: &BTreeSet<String>) -> String {
    let mut devices = ('b'..='z').map(|letter| format!("/dev/sd{letter}"));
    devices.find(|device| !used.contains(device)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::stage::{kind, quiet, reference, tick, world};
    use super::*;
    use crate::drivers::Kind;
    use crate::drivers::mock::settings::Settings;
    use crate::model::Action;

    fn one(world: &World, id: &str) -> Option<Volume> {
        world.volumes_by_id(&BTreeSet::from([id.to_owned()])).pop()
    }

    fn state(world: &World, id: &str) -> Option<String> {
        one(world, id).map(|volume| volume.state)
    }

    fn to(instance: &str, device: &str) -> Mount {
        Mount { instance: instance.to_owned(), device: device.to_owned() }
    }

    fn sized(capacity: &str) -> NewVolume {
        NewVolume { capacity: Some(capacity.to_owned()), ..NewVolume::default() }
    }

    #[test]
    fn in_the_reference_a_volume_is_attached_and_detached_at_once() {
        let mut world = reference();
        let attached = world.attach("vol1", &to("inst1", "/dev/sdc")).unwrap();
        assert_eq!((attached.state.as_str(), attached.native_state.as_str()), ("IN-USE", "IN-USE"));
        assert_eq!(attached.mount, Some(to("inst1", "/dev/sdc")));
        let on = |world: &World| {
            let volumes = world.instances()[1].storage_volumes.clone();
            volumes.into_iter().map(|at| format!("{} {}", at.volume, at.device)).collect::<Vec<_>>()
        };
        assert_eq!(on(&world), ["vol1 /dev/sdc", "vol3 /dev/sda1"]);
        let detached = world.detach("vol1").unwrap();
        assert_eq!((detached.state.as_str(), detached.mount, detached.settling), ("AVAILABLE", None, false));
        assert_eq!(on(&world), ["vol3 /dev/sda1"]);
        world.destroy_volume("vol1").unwrap();
        assert_eq!(one(&world, "vol1"), None);
    }

    #[test]
    fn a_device_is_found_where_none_is_named_and_given_once() {
        let mut world = reference();
        let mut attach = |volume: &str, device: &str| world.attach(volume, &to("inst1", device));
        assert_eq!(kind(attach("vol1", "/dev/sda1")), Kind::Conflict, "vol3 is there");
        assert_eq!(attach("vol1", "").unwrap().mount, Some(to("inst1", "/dev/sdb")));
        assert_eq!(attach("vol2", "").unwrap().mount, Some(to("inst1", "/dev/sdc")));
        let all: BTreeSet<String> = ('b'..='z').map(|letter| format!("/dev/sd{letter}")).collect();
        assert_eq!(free_device(&all), "");
    }

    #[test]
    fn what_is_left_out_of_a_volume_is_filled_in() {
        let mut world = reference();
        let bare = world.create_volume(&NewVolume::default()).unwrap();
        assert_eq!((bare.id.as_str(), bare.capacity.as_str(), bare.realm.as_deref()), ("vol4", "1", Some("us")));
        let of_snapshot = |world: &mut World, snapshot: &str| {
            world.create_volume(&NewVolume { snapshot: Some(snapshot.to_owned()), ..NewVolume::default() })
        };
        let large = world.create_volume(&sized("7.5")).unwrap().id;
        let copy = world.create_snapshot(&NewSnapshot { volume: large.clone(), ..NewSnapshot::default() }).unwrap();
        world.destroy_volume(&large).unwrap();
        assert_eq!(of_snapshot(&mut world, &copy.id).unwrap().capacity, "7.5", "although the volume is gone");
        assert_eq!(kind(of_snapshot(&mut world, "snap9")), Kind::Invalid);
        for capacity in ["0", "-1", "much", "inf", "nan", ""] {
            assert_eq!(kind(world.create_volume(&sized(capacity))), Kind::Invalid, "{capacity}");
        }
    }

    #[test]
    fn there_are_at_most_so_many() {
        let mut world = world(&Settings { resources_max: 3, ..Settings::default() }, 0);
        assert_eq!(kind(world.create_volume(&NewVolume::default())), Kind::Forbidden);
        let new = NewSnapshot { volume: "vol1".to_owned(), ..NewSnapshot::default() };
        assert_eq!(kind(world.create_snapshot(&new)), Kind::Forbidden);
        world.destroy_snapshot("snap2").unwrap();
        assert_eq!(world.create_snapshot(&new).unwrap().id, "snap2");
    }

    #[test]
    fn in_a_lively_world_everything_takes_its_time() {
        let mut world = quiet();
        let mut seen = Vec::new();
        let id = world.create_volume(&NewVolume::default()).unwrap().id;
        let step = |world: &mut World, seen: &mut Vec<Option<String>>| {
            let before = one(world, &id).unwrap();
            assert!(before.settling && before.actions.is_empty(), "{before:?}");
            tick(world);
            seen.extend([Some(before.state), state(world, &id)]);
        };
        step(&mut world, &mut seen);
        world.attach(&id, &to("inst2", "")).unwrap();
        step(&mut world, &mut seen);
        world.detach(&id).unwrap();
        assert!(one(&world, &id).unwrap().mount.is_some(), "it is still on its way");
        step(&mut world, &mut seen);
        world.destroy_volume(&id).unwrap();
        step(&mut world, &mut seen);
        let words: Vec<_> = seen.iter().map(|state| state.as_deref().unwrap_or("gone")).collect();
        let expected = [CREATING, AVAILABLE, ATTACHING, IN_USE, DETACHING, AVAILABLE, DELETING, "gone"];
        assert_eq!(words, expected);
        assert_eq!(world.create_volume(&NewVolume::default()).unwrap().id, "vol5", "no id comes back");
    }

    #[test]
    fn in_a_lively_world_a_snapshot_is_pending_for_a_while() {
        let mut world = quiet();
        let fresh = world.create_volume(&NewVolume::default()).unwrap().id;
        let of = |volume: &str| NewSnapshot { volume: volume.to_owned(), ..NewSnapshot::default() };
        assert_eq!(kind(world.create_snapshot(&of(&fresh))), Kind::Conflict, "there is nothing to copy yet");
        tick(&mut world);
        let made = world.create_snapshot(&of(&fresh)).unwrap();
        assert_eq!((made.state.as_str(), made.native_state.as_str(), made.settling), ("PENDING", "PENDING", true));
        tick(&mut world);
        let done = world.snapshots_by_id(&BTreeSet::from([made.id.clone()])).remove(0);
        assert_eq!((done.state.as_str(), done.settling), ("COMPLETED", false));
        world.enter_snapshot(&made.id, "PENDING");
        world.destroy_snapshot(&made.id).unwrap();
        assert_eq!(world.queue.next_at(), None, "nothing is to come any more");
    }

    #[test]
    fn an_instance_that_ends_lets_its_volumes_go() {
        for mut world in [reference(), quiet()] {
            let id = InstanceId::from("inst1");
            world.act(&id, Action::Stop).unwrap();
            if world.is_lively() {
                tick(&mut world);
            }
            world.attach("vol1", &to("inst1", "")).unwrap();
            world.act(&id, Action::Destroy).unwrap();
            for volume in ["vol1", "vol3"] {
                let volume = one(&world, volume).unwrap();
                assert_eq!((volume.state.as_str(), volume.mount, volume.settling), (AVAILABLE, None, false));
            }
            let gone = kind(world.attach("vol1", &to("inst1", "")));
            assert_eq!(gone, if world.is_lively() { Kind::Conflict } else { Kind::NotFound });
        }
    }

    #[test]
    fn what_can_be_asked_of_a_volume_depends_on_its_state() {
        use VolumeAction::{Attach, Destroy, Detach};
        let mut world = reference();
        let mut check = |state: &str, settling: bool, actions: &[VolumeAction]| {
            assert!(world.enter_volume("vol3", state));
            let shown = one(&world, "vol3").unwrap();
            assert_eq!((shown.settling, shown.actions.as_slice()), (settling, actions), "{state}");
            assert_eq!((shown.state.as_str(), shown.native_state.as_str()), (state, state));
            assert_eq!(shown.mount.is_some(), state != AVAILABLE, "{state}");
            for action in [Attach, Detach, Destroy] {
                let allowed = world.allowed("vol3", action);
                let expected = (!actions.contains(&action)).then_some(Kind::Conflict);
                assert_eq!(allowed.err().map(|error| error.kind), expected, "{action:?} while {state}");
            }
        };
        check(IN_USE, false, &[Detach]);
        check(ATTACHING, true, &[]);
        check(DETACHING, true, &[]);
        check(ERROR, false, &[Destroy]);
        check("ON-FIRE", false, &[]);
        check(DELETING, true, &[]);
        check(AVAILABLE, false, &[Attach, Destroy]);
        assert!(!world.enter_volume("vol9", AVAILABLE), "there is none");
    }
}
