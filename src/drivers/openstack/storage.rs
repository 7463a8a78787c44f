//! Cinder's volumes and snapshots; they are attached through Nova.

use std::collections::BTreeSet;

use async_trait::async_trait;
use serde_json::{Value, json};

use super::calls::{in_order, missing};
use super::catalog::Service;
use super::client::Ask;
use super::{OpenStack, map, parse};
use crate::drivers::{Error, Kind, Looked, Storage};
use crate::model::{Login, Mount, NewSnapshot, NewVolume, Snapshot, Volume};

/// GB, of a volume of which neither the size nor a snapshot was given. As Deltacloud always had it.
const DEFAULT_CAPACITY: u64 = 1;
const ATTACHMENTS: &str = "os-volume_attachments";

#[async_trait]
impl Storage for OpenStack {
    async fn volumes(&self, login: &Login) -> Result<Vec<Volume>, Error> {
        let volumes = self.list::<parse::Volumes>(login, Service::Volume, &["volumes", "detail"], &[]).await?;
        Ok(in_order(volumes.into_iter().map(map::volume), |volume| &volume.id))
    }

    async fn volumes_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Volume>, Error> {
        self.look_for_volumes(login, ids).await?.whole()
    }

    async fn look_for_volumes(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Volume>, Error> {
        let mut found = Vec::new();
        if ids.len() > self.settings.looks_max {
            found = self.volumes(login).await?;
        }
        let rest = missing(ids, &found, |volume| &volume.id);
        let looked: Looked<parse::OneVolume> = match self.each(login, Service::Volume, "volumes", rest.clone()).await {
            Ok(looked) => looked,
            Err(error) if error.kind != Kind::Denied && !found.is_empty() => Looked::none(rest, &error),
            Err(error) => return Err(error),
        };
        found.extend(looked.found.into_iter().map(|one| map::volume(one.volume)));
        found.retain(|volume| ids.contains(&volume.id));
        Ok(Looked { found: in_order(found, |volume| &volume.id), unanswered: looked.unanswered })
    }

    async fn create_volume(&self, login: &Login, new: &NewVolume) -> Result<Volume, Error> {
        let ask = Ask::post(Service::Volume, &["volumes"], volume_body(new)?);
        let made: parse::OneVolume = self.client.call(login, ask).await.map_err(|error| match error.kind {
            // Not the volume, but the zone or the snapshot.
            Kind::NotFound => Error { kind: Kind::Invalid, ..error },
            _ => error,
        })?;
        Ok(map::volume(made.volume))
    }

    async fn destroy_volume(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.delete(login, Service::Volume, &["volumes", id]).await
    }

    async fn attach(&self, login: &Login, id: &str, to: &Mount) -> Result<Volume, Error> {
        // Nova has one word, "not found", for either; and would take any text for a path.
        if self.server(login, &to.instance).await?.is_none() {
            return Err(Error::new(Kind::NotFound, "attach: there is no such server"));
        }
        let volume = self.volume(login, id).await?;
        if !volume.attachments.is_empty() {
            return Err(Error::new(Kind::Conflict, format!("attach: {id} is attached already")));
        }
        let mut attachment = json!({"volumeId": id});
        if !to.device.is_empty() {
            attachment["device"] = json!(to.device);
        }
        let body = json!({"volumeAttachment": attachment});
        self.client.send(login, Ask::post(Service::Compute, &["servers", &to.instance, ATTACHMENTS], body)).await?;
        Ok(map::volume(self.volume(login, id).await?))
    }

    async fn detach(&self, login: &Login, id: &str) -> Result<Volume, Error> {
        let Some(from) = map::volume(self.volume(login, id).await?).mount else {
            return Err(Error::new(Kind::Conflict, format!("detach: {id} is attached to nothing")));
        };
        self.client
            .send(login, Ask::delete(Service::Compute, &["servers", &from.instance, ATTACHMENTS, id]))
            .await
            .map_err(|error| match error.kind {
                // The volume is there; it left the server a moment ago.
                Kind::NotFound => Error { kind: Kind::Conflict, ..error },
                _ => error,
            })?;
        Ok(map::volume(self.volume(login, id).await?))
    }

    async fn snapshots(&self, login: &Login) -> Result<Vec<Snapshot>, Error> {
        let snapshots = self.list::<parse::Snapshots>(login, Service::Volume, &["snapshots", "detail"], &[]).await?;
        Ok(in_order(snapshots.into_iter().map(map::snapshot), |snapshot| &snapshot.id))
    }

    async fn snapshots_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Snapshot>, Error> {
        self.look_for_snapshots(login, ids).await?.whole()
    }

    async fn look_for_snapshots(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Snapshot>, Error> {
        let mut found = Vec::new();
        if ids.len() > self.settings.looks_max {
            found = self.snapshots(login).await?;
        }
        let rest = missing(ids, &found, |snapshot| &snapshot.id);
        let looked: Looked<parse::OneSnapshot> =
            match self.each(login, Service::Volume, "snapshots", rest.clone()).await {
                Ok(looked) => looked,
                Err(error) if error.kind != Kind::Denied && !found.is_empty() => Looked::none(rest, &error),
                Err(error) => return Err(error),
            };
        found.extend(looked.found.into_iter().map(|one| map::snapshot(one.snapshot)));
        found.retain(|snapshot| ids.contains(&snapshot.id));
        Ok(Looked { found: in_order(found, |snapshot| &snapshot.id), unanswered: looked.unanswered })
    }

    /// Also of a volume in use, as it is at that moment.
    async fn create_snapshot(&self, login: &Login, new: &NewSnapshot) -> Result<Snapshot, Error> {
        let mut snapshot = json!({"volume_id": new.volume, "force": true});
        put(&mut snapshot, "name", new.name.as_deref());
        put(&mut snapshot, "description", new.description.as_deref());
        let ask = Ask::post(Service::Volume, &["snapshots"], json!({"snapshot": snapshot}));
        let made: parse::OneSnapshot = self.client.call(login, ask).await?;
        Ok(map::snapshot(made.snapshot))
    }

    async fn destroy_snapshot(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.delete(login, Service::Volume, &["snapshots", id]).await
    }
}

impl OpenStack {
    async fn volume(&self, login: &Login, id: &str) -> Result<parse::Volume, Error> {
        let found: Option<parse::OneVolume> = self.one(login, Service::Volume, &["volumes", id]).await?;
        found.map(|one| one.volume).ok_or_else(|| Error::new(Kind::NotFound, "There is no such volume"))
    }
}

fn volume_body(new: &NewVolume) -> Result<Value, Error> {
    let mut volume = json!({});
    match (&new.capacity, &new.snapshot) {
        (Some(text), _) => match text.trim().parse::<u64>() {
            Ok(gb) if gb > 0 => volume["size"] = json!(gb),
            _ => return Err(Error::new(Kind::Invalid, "The capacity is to be a whole number of GB, 1 or more")),
        },
        (None, None) => volume["size"] = json!(DEFAULT_CAPACITY),
        // As big as the snapshot.
        (None, Some(_)) => {}
    }
    put(&mut volume, "snapshot_id", new.snapshot.as_deref());
    put(&mut volume, "availability_zone", new.realm.as_deref());
    put(&mut volume, "name", new.name.as_deref());
    put(&mut volume, "description", new.description.as_deref());
    Ok(json!({"volume": volume}))
}

fn put(into: &mut Value, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        into[name] = json!(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_asked_for_as_it_was_given() {
        let check = |new: NewVolume, expected: Option<Value>| {
            let body = volume_body(&new).map_err(|error| error.kind);
            assert_eq!(body, expected.map(|volume| json!({"volume": volume})).ok_or(Kind::Invalid), "{new:?}");
        };
        let some = |text: &str| Some(text.to_owned());
        check(NewVolume::default(), Some(json!({"size": 1})));
        check(NewVolume { snapshot: some("s1"), ..NewVolume::default() }, Some(json!({"snapshot_id": "s1"})));
        let full = NewVolume {
            capacity: some(" 10 "),
            realm: some("nova"),
            snapshot: some("s1"),
            name: some("data"),
            description: some("of web"),
        };
        check(
            full,
            Some(
                json!({"size": 10, "snapshot_id": "s1", "availability_zone": "nova", "name": "data", "description": "of web"}),
            ),
        );
        for bad in ["0", "-1", "1.5", "1 GB", ""] {
            check(NewVolume { capacity: some(bad), ..NewVolume::default() }, None);
        }
    }
}
