//! Glance's images: all that the project may use, and those made of its servers.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use super::OpenStack;
use super::calls::in_order;
use super::catalog::Service;
use super::client::Ask;
use super::session::Wanted;
use super::{map, parse};
use crate::drivers::{Error, Kind, Looked};
use crate::model::{Image, Login, NewImage};

impl OpenStack {
    pub(super) async fn list_images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        let project = self.project(login).await?;
        let images = self.list::<parse::Images>(login, Service::Image, &["images"], &[]).await?;
        Ok(sorted(images, &project))
    }

    pub(super) async fn images_one_by_one(
        &self,
        login: &Login,
        ids: &BTreeSet<String>,
    ) -> Result<Looked<Image>, Error> {
        let project = self.project(login).await?;
        let looked = self.each(login, Service::Image, "images", ids.iter().cloned()).await?;
        Ok(Looked { found: sorted(looked.found, &project), unanswered: looked.unanswered })
    }

    /// A description becomes a property of the image, as its other metadata does.
    pub(super) async fn image_server(&self, login: &Login, new: &NewImage) -> Result<Image, Error> {
        let id = &new.instance;
        let Some(server) = self.server(login, id).await? else {
            return Err(Error::new(Kind::NotFound, "createImage: there is no such server"));
        };
        let task = server.task_state.as_deref().filter(|task| !task.is_empty());
        if !map::can_create_image(&server.status, task) {
            let why = "an image can be made of a server that nothing else is being done to";
            return Err(Error::new(Kind::Failed, format!("createImage: {why}; this one is {}", server.status)));
        }
        let name =
            new.name.clone().unwrap_or_else(|| default_name(server.name.as_deref().unwrap_or(id), self.clock.now()));
        let mut order = json!({"name": name});
        if let Some(description) = &new.description {
            order["metadata"] = json!({"description": description});
        }
        let body = json!({"createImage": order});
        let answer = self.client.send(login, Ask::post(Service::Compute, &["servers", id, "action"], body)).await?;
        let image_id = serde_json::from_slice::<parse::CreatedImage>(&answer.body).ok().map(|made| made.image_id);
        // Before 2.45 it is in the address of the image.
        let of_address = || {
            let address = answer.headers.get(reqwest::header::LOCATION)?.to_str().ok()?;
            address.trim_end_matches('/').rsplit('/').next().map(str::to_owned)
        };
        let image_id = image_id.or_else(of_address).filter(|id| !id.is_empty());
        let image_id = image_id.ok_or_else(|| Error::new(Kind::Unavailable, "createImage: no image in the answer"))?;
        // It is made, whether or not it can be read by now.
        let read = self.images_one_by_one(login, &BTreeSet::from([image_id.clone()])).await;
        let read = read.ok().and_then(|looked| looked.found.into_iter().next());
        let project = self.project(login).await?;
        Ok(read.unwrap_or_else(|| map::image_in_the_making(image_id, name, &project)))
    }

    pub(super) async fn delete_image(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.delete(login, Service::Image, &["images", id]).await
    }

    async fn project(&self, login: &Login) -> Result<String, Error> {
        Ok(self.client.session(login, Wanted::Any).await?.project.clone())
    }
}

fn sorted(images: Vec<parse::Image>, project: &str) -> Vec<Image> {
    in_order(images.into_iter().map(|item| map::image(item, project)), |image| &image.id)
}

fn default_name(server: &str, now: Timestamp) -> String {
    format!("{server} {}", now.strftime("%Y-%m-%d %H.%M.%S.%3f"))
}
