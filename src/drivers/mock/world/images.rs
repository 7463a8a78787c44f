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
