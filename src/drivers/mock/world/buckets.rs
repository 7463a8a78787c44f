use std::collections::BTreeMap;

use bytes::Bytes;

use super::{World, conflict, fit, fit_for_id, unknown};
use crate::drivers::{Error, Kind};
use crate::model::{Blob, Bucket, NewBlob};

/// A blob and what is in it.
pub(super) struct Stored {
    blob: Blob,
    content: Bytes,
}

impl Stored {
    pub(super) fn new(bucket: &str, new: &NewBlob, last_modified: String) -> Self {
        let blob = Blob {
            id: new.id.clone(),
            bucket: bucket.to_owned(),
            content_length: new.content.len() as u64,
            content_type: new.content_type.clone(),
            last_modified,
            metadata: new.metadata.clone(),
        };
        // A copy, so that no whole request is kept for a part of it.
        Self { blob, content: Bytes::copy_from_slice(&new.content) }
    }

    fn bytes(&self) -> usize {
        self.content.len() + metadata_bytes(&self.blob.metadata)
    }
}

impl World {
    pub(crate) fn buckets(&self) -> Vec<Bucket> {
        self.buckets.iter().map(|(id, blobs)| shown(id, blobs)).collect()
    }

    pub(crate) fn bucket(&self, id: &str) -> Option<Bucket> {
        self.buckets.get(id).map(|blobs| shown(id, blobs))
    }

    pub(crate) fn create_bucket(&mut self, name: &str) -> Result<Bucket, Error> {
        fit_for_id(name)?;
        if self.buckets.contains_key(name) {
            return Err(Error::new(Kind::Forbidden, format!("Bucket '{name}' exists already.")));
        }
        self.make_room(self.buckets.len(), "buckets")?;
        let blobs = BTreeMap::new();
        let bucket = shown(name, &blobs);
        self.buckets.insert(name.to_owned(), blobs);
        Ok(bucket)
    }

    pub(crate) fn destroy_bucket(&mut self, id: &str) -> Result<(), Error> {
        let blobs = self.buckets.get(id).ok_or_else(|| unknown("Bucket", id))?;
        if !blobs.is_empty() {
            return Err(conflict("Delete operation not valid for non-empty bucket".to_owned()));
        }
        self.buckets.remove(id);
        Ok(())
    }

    pub(crate) fn blob(&self, bucket: &str, id: &str) -> Option<Blob> {
        Some(self.buckets.get(bucket)?.get(id)?.blob.clone())
    }

    pub(crate) fn content(&self, bucket: &str, id: &str) -> Result<Bytes, Error> {
        let blobs = self.buckets.get(bucket).ok_or_else(|| unknown("Bucket", bucket))?;
        Ok(blobs.get(id).ok_or_else(|| unknown("Blob", id))?.content.clone())
    }

    pub(crate) fn put_blob(&mut self, bucket: &str, new: &NewBlob) -> Result<Blob, Error> {
        fit_for_id(&new.id)?;
        fit([Some(&new.content_type)])?;
        let blobs = self.buckets.get(bucket).ok_or_else(|| unknown("Bucket", bucket))?;
        let before = blobs.get(&new.id).map(Stored::bytes);
        if before.is_none() {
            self.make_room(self.buckets.values().map(BTreeMap::len).sum(), "blobs")?;
        }
        let stored = Stored::new(bucket, new, self.clock().to_string());
        self.make_bytes(before.unwrap_or_default(), stored.bytes())?;
        let blob = stored.blob.clone();
        self.buckets.entry(bucket.to_owned()).or_default().insert(new.id.clone(), stored);
        Ok(blob)
    }

    pub(crate) fn set_metadata(
        &mut self,
        bucket: &str,
        id: &str,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let stored = self.buckets.get(bucket).and_then(|blobs| blobs.get(id)).ok_or_else(|| unknown("Blob", id))?;
        self.make_bytes(stored.bytes(), stored.content.len() + metadata_bytes(metadata))?;
        if let Some(stored) = self.buckets.get_mut(bucket).and_then(|blobs| blobs.get_mut(id)) {
            stored.blob.metadata.clone_from(metadata);
        }
        Ok(())
    }

    pub(crate) fn destroy_blob(&mut self, bucket: &str, id: &str) -> Result<(), Error> {
        let blobs = self.buckets.get_mut(bucket).ok_or_else(|| unknown("Bucket", bucket))?;
        blobs.remove(id).map(drop).ok_or_else(|| unknown("Blob", id))
    }

    /// For a blob of so many bytes in the place of one of so many.
    fn make_bytes(&self, before: usize, after: usize) -> Result<(), Error> {
        let most = self.rules.blob_bytes_max;
        if after > most {
            return Err(Error::new(Kind::Forbidden, format!("The mock cloud keeps blobs of at most {most} bytes.")));
        }
        let all: usize = self.buckets.values().flat_map(BTreeMap::values).map(Stored::bytes).sum();
        let most = self.rules.blobs_bytes_max;
        if all - before + after > most {
            return Err(Error::new(Kind::Forbidden, format!("The mock cloud keeps at most {most} bytes of blobs.")));
        }
        Ok(())
    }
}

fn shown(id: &str, blobs: &BTreeMap<String, Stored>) -> Bucket {
    Bucket { id: id.to_owned(), name: id.to_owned(), blobs: blobs.keys().cloned().collect() }
}

fn metadata_bytes(metadata: &BTreeMap<String, String>) -> usize {
    metadata.iter().map(|(name, value)| name.len() + value.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::stage::{kind, world};
    use super::*;
    use crate::drivers::mock::settings::Settings;

    fn blob(id: &str, bytes: usize) -> NewBlob {
        let content = Bytes::from(vec![b'x'; bytes]);
        NewBlob { id: id.to_owned(), content_type: "text/plain".to_owned(), metadata: BTreeMap::new(), content }
    }

    /// With room for 100 bytes besides the five of the reference, which have 103.
    fn small() -> World {
        world(&Settings { blob_bytes_max: 60, blobs_bytes_max: 203, resources_max: 8, ..Settings::default() }, 0)
    }

    #[test]
    fn a_blob_has_a_bound_and_all_together_have_one() {
        let mut world = small();
        let all: usize = world.buckets.values().flat_map(BTreeMap::values).map(Stored::bytes).sum();
        assert_eq!(all, 103);
        assert_eq!(kind(world.put_blob("bucket1", &blob("a", 61))), Kind::Forbidden);
        world.put_blob("bucket1", &blob("a", 60)).unwrap();
        assert_eq!(kind(world.put_blob("bucket2", &blob("b", 41))), Kind::Forbidden);
        world.put_blob("bucket2", &blob("b", 40)).unwrap();
        assert_eq!(kind(world.put_blob("bucket2", &blob("b", 41))), Kind::Forbidden);
        assert_eq!(world.blob("bucket2", "b").unwrap().content_length, 40, "as it was");
        world.put_blob("bucket1", &blob("a", 59)).unwrap();
        world.put_blob("bucket2", &blob("b", 41)).unwrap();
    }

    #[test]
    fn metadata_counts_too() {
        let mut world = small();
        world.put_blob("bucket1", &blob("a", 50)).unwrap();
        let metadata = |value: &str| BTreeMap::from([("author".to_owned(), value.to_owned())]);
        assert_eq!(kind(world.set_metadata("bucket1", "a", &metadata("12345"))), Kind::Forbidden);
        world.set_metadata("bucket1", "a", &metadata("1234")).unwrap();
        let new = NewBlob { metadata: metadata("12345"), ..blob("a", 50) };
        assert_eq!(kind(world.put_blob("bucket1", &new)), Kind::Forbidden);
        assert_eq!(world.blob("bucket1", "a").unwrap().metadata, metadata("1234"), "as it was");
        assert_eq!(kind(world.set_metadata("bucket2", "a", &metadata(""))), Kind::NotFound, "in another bucket");
    }

    #[test]
    fn there_are_at_most_so_many_buckets_and_blobs() {
        let mut world = small();
        for id in ["a", "b", "c"] {
            world.put_blob("bucket2", &blob(id, 1)).unwrap();
        }
        assert_eq!(kind(world.put_blob("bucket1", &blob("d", 1))), Kind::Forbidden);
        world.put_blob("bucket2", &blob("c", 2)).unwrap();
        for n in 3..=8 {
            world.create_bucket(&format!("bucket{n}")).unwrap();
        }
        assert_eq!(kind(world.create_bucket("bucket9")), Kind::Forbidden);
        assert_eq!(kind(world.create_bucket("a/b")), Kind::Invalid);
        assert_eq!(kind(world.put_blob("bucket2", &blob("..", 1))), Kind::Invalid);
    }
}
