use std::collections::BTreeMap;

use serde::Serialize;

use super::{Base, Document, Xml};
use crate::api::target::segment;
use crate::model::Blob;

/// A blob without its content (contract 2.7), which has an address of its own.
#[derive(Debug, Serialize)]
pub(in crate::api) struct BlobView<'a> {
    id: &'a str,
    pub(in crate::api) href: String,
    bucket: &'a str,
    content_length: u64,
    content_type: &'a str,
    last_modified: &'a str,
    user_metadata: &'a BTreeMap<String, String>,
    content: ContentView,
}

#[derive(Debug, Serialize)]
struct ContentView {
    href: String,
    rel: &'static str,
}

impl<'a> BlobView<'a> {
    pub(in crate::api) fn new(blob: &'a Blob, base: Base) -> Self {
        let Blob { id, bucket, content_length, content_type, last_modified, metadata } = blob;
        let href = base.member(&within(bucket), id);
        let content = ContentView { href: format!("{href}/content"), rel: "blob_content" };
        Self {
            id,
            href,
            bucket,
            content_length: *content_length,
            content_type,
            last_modified,
            user_metadata: metadata,
            content,
        }
    }
}

/// What stands for the collection in the hrefs of blobs.
pub(super) fn within(bucket: &str) -> String {
    format!("buckets/{}", segment(bucket))
}

impl Document for BlobView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("blob", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("bucket", &[], self.bucket);
            xml.text("content_length", &[], &self.content_length.to_string());
            xml.text("content_type", &[], self.content_type);
            xml.text("last_modified", &[], self.last_modified);
            xml.element("user_metadata", &[], |xml| {
                self.user_metadata.iter().for_each(|(key, value)| xml.text("entry", &[("key", key)], value));
            });
            xml.empty("content", &[("href", &self.content.href), ("rel", self.content.rel)]);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Member, both};
    use super::*;

    #[test]
    fn a_blob_both_ways() {
        let blob = Blob {
            id: "a/b c".to_owned(),
            bucket: "bucket 1".to_owned(),
            content_length: 17,
            content_type: "text/plain; charset='x'".to_owned(),
            last_modified: "2010-09-23 16:44:54 +0100".to_owned(),
            metadata: BTreeMap::from([("author".to_owned(), "A & <P>".to_owned())]),
        };
        insta::assert_snapshot!(both(&Member("blob", BlobView::new(&blob, Base("http://h/api")))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <blob href='http://h/api/buckets/bucket%201/a%2Fb%20c' id='a/b c'>
          <bucket>bucket 1</bucket>
          <content_length>17</content_length>
          <content_type>text/plain; charset='x'</content_type>
          <last_modified>2010-09-23 16:44:54 +0100</last_modified>
          <user_metadata>
            <entry key='author'>A &amp; &lt;P&gt;</entry>
          </user_metadata>
          <content href='http://h/api/buckets/bucket%201/a%2Fb%20c/content' rel='blob_content' />
        </blob>
        {
          "blob": {
            "bucket": "bucket 1",
            "content": {
              "href": "http://h/api/buckets/bucket%201/a%2Fb%20c/content",
              "rel": "blob_content"
            },
            "content_length": 17,
            "content_type": "text/plain; charset='x'",
            "href": "http://h/api/buckets/bucket%201/a%2Fb%20c",
            "id": "a/b c",
            "last_modified": "2010-09-23 16:44:54 +0100",
            "user_metadata": {
              "author": "A & <P>"
            }
          }
        }
        "#);
        let bare = Blob { metadata: BTreeMap::new(), ..blob };
        let shown = both(&Member("blob", BlobView::new(&bare, Base("http://h/api"))));
        assert!(
            shown.contains("<user_metadata></user_metadata>") && shown.contains("\"user_metadata\": {}"),
            "{shown}"
        );
    }
}
