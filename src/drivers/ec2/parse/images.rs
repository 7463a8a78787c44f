use serde::Deserialize;

use super::{Page, Reply, Set, filled};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Images {
    #[serde(rename = "imagesSet")]
    pub(crate) images: Set<Image>,
    next_token: Option<String>,
}

impl Reply for Images {
    const ROOT: &'static str = "DescribeImagesResponse";
}

impl Page for Images {
    type Member = Image;

    fn into_parts(self) -> (Vec<Image>, Option<String>) {
        (self.images.items, filled(self.next_token))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Image {
    pub(crate) image_id: String,
    pub(crate) image_state: Option<String>,
    pub(crate) image_location: Option<String>,
    pub(crate) image_owner_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) architecture: Option<String>,
    pub(crate) root_device_type: Option<String>,
    pub(crate) creation_date: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CreatedImage {
    pub(crate) image_id: String,
}

impl Reply for CreatedImage {
    const ROOT: &'static str = "CreateImageResponse";
}
