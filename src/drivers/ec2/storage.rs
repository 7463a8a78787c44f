//! EBS volumes and snapshots.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::calls::in_order;
use super::client::Params;
use super::{Ec2, devices, map, parse};
use crate::drivers::{Error, Kind, Storage};
use crate::model::{Login, Mount, NewSnapshot, NewVolume, Snapshot, Volume};

const VOLUMES: &str = "DescribeVolumes";
const SNAPSHOTS: &str = "DescribeSnapshots";
/// GB, of a volume of which neither the size nor a snapshot was given. As Deltacloud always had it.
const DEFAULT_CAPACITY: u32 = 1;

#[async_trait]
impl Storage for Ec2 {
    async fn volumes(&self, login: &Login) -> Result<Vec<Volume>, Error> {
        let volumes = self.list::<parse::Volumes>(login, VOLUMES, Params::default()).await?;
        Ok(in_order(volumes.into_iter().map(map::volume), |volume| &volume.id))
    }

    async fn volumes_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Volume>, Error> {
        let volumes = self.look::<parse::Volumes>(login, VOLUMES, Params::default(), "volume-id", ids).await?;
        let mut volumes = in_order(volumes.into_iter().map(map::volume), |volume| &volume.id);
        volumes.retain(|volume| ids.contains(&volume.id));
        Ok(volumes)
    }

    /// A volume is always in some zone: without one, where things usually are. A name becomes the `Name` tag, which takes
    /// the permission to tag; EC2 has no place for a description.
    async fn create_volume(&self, login: &Login, new: &NewVolume) -> Result<Volume, Error> {
        let size = size(new)?;
        let zone = match &new.realm {
            Some(realm) => realm.clone(),
            None => self.some_zone(login).await?,
        };
        let params = Params::default()
            .with("AvailabilityZone", zone)
            .with("ClientToken", self.token())
            .with_some("SnapshotId", new.snapshot.as_deref())
            .with_some("Size", size.map(|gb| gb.to_string()).as_deref())
            .named("volume", new.name.as_deref());
        let volume: parse::Volume =
            self.call(login, "CreateVolume", params).await.map_err(|error| match error.kind {
                // Not the volume, but the zone or the snapshot.
                Kind::NotFound => Error { kind: Kind::Invalid, ..error },
                _ => error,
            })?;
        Ok(map::volume(volume))
    }

    async fn destroy_volume(&self, login: &Login, id: &str) -> Result<(), Error> {
        let params = Params::default().with("VolumeId", id);
        let parse::DeletedVolume {} = self.call(login, "DeleteVolume", params).await?;
        Ok(())
    }

    async fn attach(&self, login: &Login, id: &str, to: &Mount) -> Result<Volume, Error> {
        let device = match to.device.as_str() {
            "" => self.free_device(login, &to.instance).await?,
            given => given.to_owned(),
        };
        let params = Params::default().with("VolumeId", id).with("InstanceId", &to.instance).with("Device", device);
        let parse::Attached(said) = self.call(login, "AttachVolume", params).await?;
        Ok(map::volume(map::attached(self.read_back(login, id).await?, said)))
    }

    /// Not by force: what an instance still has mounted stays until it lets go, as otherwise data would be lost.
    async fn detach(&self, login: &Login, id: &str) -> Result<Volume, Error> {
        let volume = self.volume(login, id).await?;
        let volume = volume.ok_or_else(|| Error::new(Kind::NotFound, "DetachVolume: there is no such volume"))?;
        let Some(from) = map::volume(volume).mount else {
            return Err(Error::new(Kind::Conflict, format!("DetachVolume: {id} is attached to nothing")));
        };
        let params = Params::default().with("VolumeId", id).with("InstanceId", from.instance);
        let parse::Detached(said) = self.call(login, "DetachVolume", params).await?;
        Ok(map::volume(map::detached(self.read_back(login, id).await?, &said)))
    }

    /// Those it may use besides, public ones among them, are tens of thousands.
    async fn snapshots(&self, login: &Login) -> Result<Vec<Snapshot>, Error> {
        let own = Params::default().with("Owner.1", "self");
        let snapshots = self.list::<parse::Snapshots>(login, SNAPSHOTS, own).await?;
        Ok(in_order(snapshots.into_iter().map(map::snapshot), |snapshot| &snapshot.id))
    }

    /// Any snapshot, also one of others.
    async fn snapshots_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Snapshot>, Error> {
        let snapshots = self.look::<parse::Snapshots>(login, SNAPSHOTS, Params::default(), "snapshot-id", ids).await?;
        let mut snapshots = in_order(snapshots.into_iter().map(map::snapshot), |snapshot| &snapshot.id);
        snapshots.retain(|snapshot| ids.contains(&snapshot.id));
        Ok(snapshots)
    }

    async fn create_snapshot(&self, login: &Login, new: &NewSnapshot) -> Result<Snapshot, Error> {
        let params = Params::default()
            .with("VolumeId", &new.volume)
            .with_some("Description", new.description.as_deref())
            .named("snapshot", new.name.as_deref());
        let snapshot: parse::Snapshot = self.call(login, "CreateSnapshot", params).await?;
        Ok(map::snapshot(snapshot))
    }

    async fn destroy_snapshot(&self, login: &Login, id: &str) -> Result<(), Error> {
        let params = Params::default().with("SnapshotId", id);
        let parse::DeletedSnapshot {} = self.call(login, "DeleteSnapshot", params).await?;
        Ok(())
    }
}

impl Ec2 {
    async fn volume(&self, login: &Login, id: &str) -> Result<Option<parse::Volume>, Error> {
        let ids = BTreeSet::from([id.to_owned()]);
        let volumes = self.look::<parse::Volumes>(login, VOLUMES, Params::default(), "volume-id", &ids).await?;
        Ok(volumes.into_iter().find(|volume| volume.volume_id == id))
    }

    async fn read_back(&self, login: &Login, id: &str) -> Result<parse::Volume, Error> {
        let volume = self.volume(login, id).await?;
        volume.ok_or_else(|| Error::new(Kind::Unavailable, format!("{VOLUMES}: {id} was there a moment ago")))
    }

    async fn some_zone(&self, login: &Login) -> Result<String, Error> {
        let zones: parse::Zones = self.call(login, "DescribeAvailabilityZones", Params::default()).await?;
        let zone = map::zone_to_use(&zones.zones.items).map(str::to_owned);
        zone.ok_or_else(|| Error::new(Kind::Unavailable, "CreateVolume: no zone can be used now"))
    }

    /// Somebody who attaches at the same moment may choose the same one; EC2 then refuses the later.
    async fn free_device(&self, login: &Login, instance: &str) -> Result<String, Error> {
        let reservations = self.reservations(login, &BTreeSet::from([instance.to_owned()])).await?;
        let mut all = reservations.into_iter().flat_map(|reservation| reservation.instances_set.items);
        let Some(found) = all.find(|item| item.instance_id == instance) else {
            return Err(Error::new(Kind::NotFound, "AttachVolume: there is no such instance"));
        };
        let used = found.block_device_mapping.items.iter().filter_map(|disk| disk.device_name.as_deref());
        let none = || format!("AttachVolume: {instance} has nothing free from /dev/sdf to /dev/sdp: name a device");
        devices::free(used).ok_or_else(|| Error::new(Kind::Conflict, none()))
    }
}

/// GB. `None`: as big as the snapshot.
fn size(new: &NewVolume) -> Result<Option<u32>, Error> {
    match &new.capacity {
        Some(text) => match text.trim().parse() {
            Ok(gb) if gb > 0 => Ok(Some(gb)),
            _ => Err(Error::new(Kind::Invalid, "CreateVolume: the capacity is to be a whole number of GB, 1 or more")),
        },
        None => Ok(new.snapshot.is_none().then_some(DEFAULT_CAPACITY)),
    }
}

impl Params {
    /// With a `Name` tag for what is made.
    fn named(self, kind: &str, name: Option<&str>) -> Self {
        let Some(name) = name else { return self };
        self.with("TagSpecification.1.ResourceType", kind)
            .with("TagSpecification.1.Tag.1.Key", "Name")
            .with("TagSpecification.1.Tag.1.Value", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_given_or_comes_from_somewhere() {
        let check = |capacity: Option<&str>, snapshot: Option<&str>, expected: Option<Option<u32>>| {
            let some = |text: Option<&str>| text.map(str::to_owned);
            let new = NewVolume { capacity: some(capacity), snapshot: some(snapshot), ..NewVolume::default() };
            let size = size(&new).map_err(|error| error.kind);
            assert_eq!(size, expected.ok_or(Kind::Invalid), "{capacity:?} {snapshot:?}");
        };
        check(Some("10"), None, Some(Some(10)));
        check(Some(" 16384 "), Some("snap-1"), Some(Some(16384)));
        check(None, Some("snap-1"), Some(None));
        check(None, None, Some(Some(1)));
        for bad in ["0", "-1", "1.5", "1 GB", "99999999999"] {
            check(Some(bad), None, None);
        }
    }

    #[test]
    fn a_name_is_a_tag() {
        let params = |name| Params::default().with("VolumeId", "vol-1").named("snapshot", name).to_string();
        assert_eq!(params(None), "VolumeId=vol-1");
        assert_eq!(
            params(Some("nightly")),
            "VolumeId=vol-1&TagSpecification.1.ResourceType=snapshot&TagSpecification.1.Tag.1.Key=Name\
             &TagSpecification.1.Tag.1.Value=nightly"
        );
    }
}
