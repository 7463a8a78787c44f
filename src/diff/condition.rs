//! What is news of an image, a volume and a snapshot: their state, and what a volume is attached to.

use crate::model::{Condition, Image, News, Snapshot, Volume};

/// Every field is named, here and below, so that a new one has to be judged.
pub(super) fn of_image(image: &Image) -> Condition {
    let Image {
        state,
        id: _,
        name: _,
        description: _,
        owner: _,
        architecture: _,
        settling: _,
        root_type: _,
        creation_time: _,
        hardware_profiles: _,
        can_destroy: _,
    } = image;
    let state = state.clone().unwrap_or_default();
    Condition { native_state: state.clone(), state, instance: None }
}

pub(super) fn of_volume(volume: &Volume) -> Condition {
    let Volume {
        state,
        native_state,
        mount,
        id: _,
        name: _,
        description: _,
        created: _,
        capacity: _,
        kind: _,
        realm: _,
        settling: _,
        actions: _,
    } = volume;
    let instance = mount.as_ref().map(|mount| mount.instance.clone());
    Condition { state: state.clone(), native_state: native_state.clone(), instance }
}

pub(super) fn of_snapshot(snapshot: &Snapshot) -> Condition {
    let Snapshot { state, native_state, id: _, name: _, description: _, created: _, volume: _, settling: _ } = snapshot;
    Condition { state: state.clone(), native_state: native_state.clone(), instance: None }
}

pub(super) fn image_changed(before: &Image, after: &Image) -> Option<News> {
    let (from, to) = (of_image(before), of_image(after));
    (from.state != to.state).then_some(News::ImageState { from, to })
}

pub(super) fn volume_changed(before: &Volume, after: &Volume) -> Option<News> {
    let (from, to) = (of_volume(before), of_volume(after));
    if from.state != to.state {
        Some(News::VolumeState { from, to })
    } else {
        (from.instance != to.instance).then_some(News::VolumeAttachment { from, to })
    }
}

pub(super) fn snapshot_changed(before: &Snapshot, after: &Snapshot) -> Option<News> {
    let (from, to) = (of_snapshot(before), of_snapshot(after));
    (from.state != to.state).then_some(News::SnapshotState { from, to })
}
