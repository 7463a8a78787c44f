//! Images: one's own are listed, any can be looked up, and one can be made of an instance.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::calls::in_order;
use super::client::Params;
use super::{Ec2, map, parse};
use crate::drivers::{Error, Kind};
use crate::model::{Image, Login, NewImage};

const DESCRIBE: &str = "DescribeImages";

impl Ec2 {
    pub(super) async fn list_images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        Ok(sorted(self.list::<parse::Images>(login, DESCRIBE, own()).await?, true))
    }

    /// The answer names the owner, and not who asks: so one's own are asked for first, and of others only the rest.
    pub(super) async fn look_for_images(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Image>, Error> {
        let look = |params, ids| self.look::<parse::Images>(login, DESCRIBE, params, "image-id", ids);
        let mut images = sorted(look(own(), ids).await?, true);
        let found: BTreeSet<String> = images.iter().map(|image| image.id.clone()).collect();
        let rest: BTreeSet<String> = ids.difference(&found).cloned().collect();
        images.extend(sorted(look(Params::default(), &rest).await?, false));
        images.retain(|image| ids.contains(&image.id));
        Ok(in_order(images, |image| &image.id))
    }

    /// EC2 reboots what runs while it makes the image, so that the image's file systems are whole; Deltacloud's driver
    /// always let it.
    pub(super) async fn image_instance(&self, login: &Login, new: &NewImage) -> Result<Image, Error> {
        let id = &new.instance;
        let (instance, owner) = self.imageable(login, id).await?;
        let name = new.name.clone().unwrap_or_else(|| default_name(id, self.clock.now()));
        let params = Params::default()
            .with("InstanceId", id)
            .with("Name", &name)
            .with_some("Description", new.description.as_deref());
        let made: parse::CreatedImage = self.call(login, "CreateImage", params).await?;
        // It is made, whether or not it can be read by now.
        let read = self.look_for_images(login, &BTreeSet::from([made.image_id.clone()])).await;
        let read = read.ok().and_then(|images| images.into_iter().next());
        let description = new.description.clone();
        Ok(read.unwrap_or_else(|| map::image_in_the_making(made.image_id, name, description, instance, owner)))
    }

    /// The instance, if an image can be made of it, and the account that owns it.
    async fn imageable(&self, login: &Login, id: &str) -> Result<(parse::Instance, Option<String>), Error> {
        let reservations = self.reservations(login, &BTreeSet::from([id.to_owned()])).await?;
        let mut all = reservations.into_iter().flat_map(|reservation| {
            let owner = reservation.owner_id;
            reservation.instances_set.items.into_iter().map(move |item| (item, owner.clone()))
        });
        let Some((item, owner)) = all.find(|(item, _)| item.instance_id == id) else {
            return Err(Error::new(Kind::NotFound, "CreateImage: there is no such instance"));
        };
        if !map::can_create_image(&item) {
            let why = "an image can be made of an instance that is on EBS and runs or is stopped";
            let native = &item.instance_state.name;
            return Err(Error::new(Kind::Failed, format!("CreateImage: {why}; this one, {id}, is {native}")));
        }
        Ok((item, owner))
    }

    /// Its snapshots stay, as EC2 keeps them.
    pub(super) async fn deregister_image(&self, login: &Login, id: &str) -> Result<(), Error> {
        let params = Params::default().with("ImageId", id);
        let parse::DeregisteredImage {} = self.call(login, "DeregisterImage", params).await?;
        Ok(())
    }
}

fn own() -> Params {
    Params::default().with("Owner.1", "self")
}

fn sorted(images: Vec<parse::Image>, own: bool) -> Vec<Image> {
    in_order(images.into_iter().map(|item| map::image(item, own)), |image| &image.id)
}

/// EC2 wants a name that no other image of the account has, of 3 to 128 letters, digits and some signs.
fn default_name(instance: &str, now: Timestamp) -> String {
    format!("{instance} {}", now.strftime("%Y-%m-%d %H.%M.%S.%3f"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_nobody_named_has_a_name_that_ec2_takes() {
        let now = "2026-11-21T03:17:00.5Z".parse().expect("a time");
        assert_eq!(default_name("i-0c7a1f2e3d4b5a601", now), "i-0c7a1f2e3d4b5a601 2026-11-21 03.17.00.500");
    }
}
