use serde::Deserialize;

use super::{Page, Reply, Set, Tag, filled};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volumes {
    volume_set: Set<Volume>,
    next_token: Option<String>,
}

impl Reply for Volumes {
    const ROOT: &'static str = "DescribeVolumesResponse";
}

impl Page for Volumes {
    type Member = Volume;

    fn into_parts(self) -> (Vec<Volume>, Option<String>) {
        (self.volume_set.items, filled(self.next_token))
    }
}

/// Also the whole answer to `CreateVolume`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume {
    pub(crate) volume_id: String,
    /// GiB.
    pub(crate) size: Option<String>,
    pub(crate) availability_zone: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) create_time: Option<String>,
    pub(crate) volume_type: Option<String>,
    #[serde(default)]
    pub(crate) attachment_set: Set<Attachment>,
    #[serde(default)]
    pub(crate) tag_set: Set<Tag>,
}

impl Reply for Volume {
    const ROOT: &'static str = "CreateVolumeResponse";
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attachment {
    pub(crate) instance_id: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) status: Option<String>,
}

macro_rules! attachments {
    ($($name:ident = $root:literal),*) => {$(
        /// The attachment that is being made or ended, as the whole answer.
        #[derive(Debug, Deserialize)]
        #[serde(transparent)]
        pub(crate) struct $name(pub(crate) Attachment);

        impl Reply for $name {
            const ROOT: &'static str = $root;
        }
    )*};
}

attachments!(Attached = "AttachVolumeResponse", Detached = "DetachVolumeResponse");

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshots {
    snapshot_set: Set<Snapshot>,
    next_token: Option<String>,
}

impl Reply for Snapshots {
    const ROOT: &'static str = "DescribeSnapshotsResponse";
}

impl Page for Snapshots {
    type Member = Snapshot;

    fn into_parts(self) -> (Vec<Snapshot>, Option<String>) {
        (self.snapshot_set.items, filled(self.next_token))
    }
}

/// Also the whole answer to `CreateSnapshot`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshot {
    pub(crate) snapshot_id: String,
    pub(crate) volume_id: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) start_time: Option<String>,
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) tag_set: Set<Tag>,
}

impl Reply for Snapshot {
    const ROOT: &'static str = "CreateSnapshotResponse";
}
