use std::collections::BTreeSet;

use super::super::fixture;
use super::queue::Event;
use super::{Kept, World, fit, unknown};
use crate::drivers::{Error, Kind};
use crate::model::{Image, InstanceId, NewImage};

const AVAILABLE: &str = "AVAILABLE";
const PENDING: &str = "PENDING";

impl World {
    pub(crate) fn images(&self) -> Vec<Image> {
        self.images.values().map(|kept| kept.it.clone()).collect()
    }

    pub(crate) fn images_by_id(&self, ids: &BTreeSet<String>) -> Vec<Image> {
        ids.iter().filter_map(|id| self.images.get(id)).map(|kept| kept.it.clone()).collect()
    }

    /// As the reference, whose images are called by their name where that will do for an id.
    pub(crate) fn create_image(&mut self, new: &NewImage) -> Result<Image, Error> {
        let Some(instance) = self.instances.get(&InstanceId::from(new.instance.as_str())) else {
            return Err(unknown("Instance", &new.instance));
        };
        if !instance.it.can_create_image {
            return Err(Error::new(Kind::Failed, "CreateImageNotSupported"));
        }
        let source = instance.it.image.as_ref().and_then(|id| self.images.get(id));
        let architecture = source.map(|kept| kept.it.architecture.clone());
        fit([new.name.as_ref(), new.description.as_ref()])?;
        self.make_room(self.images.len(), "images")?;

        let images = &self.images;
        let id = self.ids.asked(new.name.as_deref(), "img", |id| images.contains_key(id));
        let mut image = fixture::image(&id, &self.owner);
        image.name = new.name.clone().unwrap_or_else(|| id.clone());
        image.description = new.description.clone().unwrap_or_default();
        image.architecture = architecture.unwrap_or(image.architecture);
        image.creation_time = Some(self.clock().to_string());
        self.images.insert(id.clone(), Kept::new(image));
        self.enter_image(&id, if self.is_lively() { PENDING } else { AVAILABLE });
        Ok(self.images[&id].it.clone())
    }

    pub(crate) fn destroy_image(&mut self, id: &str) -> Result<(), Error> {
        if self.remove_image(id) { Ok(()) } else { Err(unknown("Image", id)) }
    }

    /// Puts an image into a state, and plans how it goes on from there. `false`: there is none.
    pub(crate) fn enter_image(&mut self, id: &str, state: &str) -> bool {
        let Some(kept) = self.images.get_mut(id) else { return false };
        kept.it.state = Some(state.to_owned());
        kept.it.settling = state == PENDING;
        if let Some(step) = kept.step.take() {
            self.queue.call_off(step);
        }
        if let Some(life) = &self.rules.life
            && kept.it.settling
        {
            let at = self.now + life.image_s.draw(self.chance.roll());
            kept.step = Some(self.queue.plan(at, Event::Image(id.to_owned())));
        }
        true
    }

    pub(super) fn step_image(&mut self, id: &str) {
        if let Some(kept) = self.images.get_mut(id) {
            kept.step = None;
            self.enter_image(id, AVAILABLE);
        }
    }

    /// Adds an image of no particular kind.
    pub(crate) fn add_image(&mut self, state: &str) -> String {
        let images = &self.images;
        let id = self.ids.fresh("img", |id| images.contains_key(id));
        self.images.insert(id.clone(), Kept::new(fixture::image(&id, &self.owner)));
        self.enter_image(&id, state);
        id
    }

    /// Without trace. `false`: there is none.
    pub(crate) fn remove_image(&mut self, id: &str) -> bool {
        let Some(kept) = self.images.remove(id) else { return false };
        if let Some(step) = kept.step {
            self.queue.call_off(step);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::stage::{kind, quiet, reference, tick};
    use super::*;

    fn of(instance: &str, name: Option<&str>) -> NewImage {
        NewImage { instance: instance.to_owned(), name: name.map(str::to_owned), description: None }
    }

    #[test]
    fn in_the_reference_an_image_is_there_at_once_under_its_name() {
        let mut world = reference();
        let made = world.create_image(&of("inst2", Some("test"))).unwrap();
        assert_eq!((made.id.as_str(), made.name.as_str(), made.owner.as_str()), ("test", "test", "mockuser"));
        assert_eq!((made.state.as_deref(), made.settling), (Some("AVAILABLE"), false));
        assert_eq!(made.architecture, "x86_64", "that of the image it was made from");
        assert_eq!(made.hardware_profiles.len(), 4);
        assert_eq!(world.images_by_id(&BTreeSet::from(["test".to_owned()])), [made]);

        let again = world.create_image(&of("inst1", Some("test"))).unwrap();
        assert_eq!((again.id.as_str(), again.name.as_str(), again.architecture.as_str()), ("img4", "test", "i386"));
        world.destroy_image("img1").unwrap();
        let ids: Vec<_> = world.images().into_iter().map(|image| image.id).collect();
        assert_eq!(ids, ["img2", "img3", "img4", "test"]);
    }

    #[test]
    fn some_instances_cannot_be_imaged_and_some_are_not_there() {
        let mut world = reference();
        let before = world.images();
        let error = world.create_image(&of("inst3", Some("test"))).unwrap_err();
        assert_eq!((error.kind, error.text.as_str()), (Kind::Failed, "CreateImageNotSupported"));
        assert_eq!(kind(world.create_image(&of("inst9", Some("test")))), Kind::NotFound);
        assert_eq!(kind(world.create_image(&of("inst1", Some(&"x".repeat(2_000))))), Kind::Invalid);
        assert_eq!(kind(world.destroy_image("img9")), Kind::NotFound);
        assert_eq!(world.images(), before);
    }

    #[test]
    fn in_a_lively_world_an_image_takes_its_time_and_its_id_is_new() {
        let mut world = quiet();
        let made = world.create_image(&of("inst1", Some("test"))).unwrap();
        assert_eq!((made.id.as_str(), made.name.as_str()), ("img4", "test"));
        assert_eq!((made.state.as_deref(), made.settling), (Some("PENDING"), true));
        tick(&mut world);
        let look = |world: &World| world.images_by_id(&BTreeSet::from(["img4".to_owned()])).pop();
        let done = look(&world).unwrap();
        assert_eq!((done.state.as_deref(), done.settling), (Some("AVAILABLE"), false));

        world.enter_image("img4", "PENDING");
        world.destroy_image("img4").unwrap();
        assert_eq!((look(&world), world.queue.next_at()), (None, None), "nothing is to come any more");
        assert_eq!(world.create_image(&of("inst1", None)).unwrap().id, "img5");
    }
}
