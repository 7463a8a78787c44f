use serde::Serialize;

use super::{Base, Document, Reference, Xml};
use crate::model::Bucket;

/// A bucket (contract 2.7). The ids of its blobs are in the list too; `size` is how many there are.
#[derive(Debug, Serialize)]
pub(in crate::api) struct BucketView<'a> {
    id: &'a str,
    href: String,
    name: &'a str,
    size: usize,
    blob_list: Vec<Reference<'a>>,
}

impl<'a> BucketView<'a> {
    pub(in crate::api) fn new(bucket: &'a Bucket, base: Base) -> Self {
        let Bucket { id, name, blobs } = bucket;
        let within = super::blob::within(id);
        let blob_list = blobs.iter().map(|blob| Reference::new(base, &within, "blob", blob)).collect();
        Self { id, href: base.member("buckets", id), name, size: blobs.len(), blob_list }
    }
}

impl Document for BucketView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("bucket", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("name", &[], self.name);
            xml.text("size", &[], &self.size.to_string());
            self.blob_list.iter().for_each(|blob| xml.empty("blob", &blob.attributes()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Member, both};
    use super::*;

    #[test]
    fn a_bucket_both_ways() {
        let bucket = Bucket {
            id: "bucket 1".to_owned(),
            name: "bucket 1".to_owned(),
            blobs: vec!["blob1".to_owned(), "a/b?'<".to_owned()],
        };
        insta::assert_snapshot!(both(&Member("bucket", BucketView::new(&bucket, Base("http://h/api")))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <bucket href='http://h/api/buckets/bucket%201' id='bucket 1'>
          <name>bucket 1</name>
          <size>2</size>
          <blob href='http://h/api/buckets/bucket%201/blob1' id='blob1' />
          <blob href='http://h/api/buckets/bucket%201/a%2Fb%3F%27%3C' id='a/b?&#39;&lt;' />
        </bucket>
        {
          "bucket": {
            "blob_list": [
              {
                "href": "http://h/api/buckets/bucket%201/blob1",
                "id": "blob1",
                "rel": "blob"
              },
              {
                "href": "http://h/api/buckets/bucket%201/a%2Fb%3F%27%3C",
                "id": "a/b?'<",
                "rel": "blob"
              }
            ],
            "href": "http://h/api/buckets/bucket%201",
            "id": "bucket 1",
            "name": "bucket 1",
            "size": 2
          }
        }
        "#);
    }
}
