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
