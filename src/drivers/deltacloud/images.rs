use std::collections::BTreeSet;

use super::calls::IMAGES;
use super::client::Form;
use super::{Deltacloud, map};
use crate::drivers::{Error, Looked};
use crate::model::{Image, Login, NewImage};

impl Deltacloud {
    /// Those that the upstream lists: some of its drivers list the account's own only.
    pub(super) async fn list_images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        Ok(self.list(login, IMAGES).await?.values().map(map::image).collect())
    }

    /// Always one by one, as there may be some that are not listed.
    pub(super) async fn images_one_by_one(
        &self,
        login: &Login,
        ids: &BTreeSet<String>,
    ) -> Result<Looked<Image>, Error> {
        Ok(self.each(login, IMAGES, ids.iter().cloned().collect()).await?.map(|(_, node)| map::image(&node)))
    }

    pub(super) async fn image_instance(&self, login: &Login, new: &NewImage) -> Result<Image, Error> {
        let form = Form::default()
            .with("instance_id", &new.instance)
            .with_some("name", new.name.as_deref())
            .with_some("description", new.description.as_deref());
        Ok(map::image(&self.created(login, IMAGES, form).await?))
    }
}
