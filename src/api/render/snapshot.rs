use serde::Serialize;

use super::{Base, Document, Reference, TrackingView, Xml};
use crate::model::Snapshot;

/// A snapshot (contract 2.7). In XML its name is always its id; JSON has the name it was given.
#[derive(Debug, Serialize)]
pub(in crate::api) struct SnapshotView<'a> {
    id: &'a str,
    href: String,
    name: Option<&'a str>,
    description: Option<&'a str>,
    state: &'a str,
    storage_volume: Option<Reference<'a>>,
    created: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking: Option<TrackingView>,
}

impl<'a> SnapshotView<'a> {
    pub(in crate::api) fn new(snapshot: &'a Snapshot, base: Base, tracking: Option<TrackingView>) -> Self {
        let Snapshot { id, name, description, created, volume, state, native_state: _, settling: _ } = snapshot;
        let volume = volume.as_deref().map(|id| Reference::new(base, "storage_volumes", "storage_volume", id));
        Self {
            id,
            href: base.member("storage_snapshots", id),
            name: name.as_deref(),
            description: description.as_deref(),
            state,
            storage_volume: volume,
            created: created.as_deref(),
            tracking,
        }
    }
}

impl Document for SnapshotView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("storage_snapshot", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("name", &[], self.id);
            if let Some(created) = self.created {
                xml.text("created", &[], created);
            }
            // The reference has it in JSON alone; whoever tracks a snapshot wants to see what is tracked.
            xml.text("state", &[], self.state);
            if let Some(volume) = &self.storage_volume {
                xml.empty("storage_volume", &volume.attributes());
            }
            if let Some(tracking) = &self.tracking {
                tracking.xml(xml);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{List, Member, both};
    use super::*;

    #[test]
    fn snapshots_both_ways() {
        let whole = Snapshot {
            id: "snap1".to_owned(),
            name: Some("before <the> change".to_owned()),
            description: Some("weekly".to_owned()),
            created: Some("2009-07-30T14:35:11Z".to_owned()),
            volume: Some("vol1".to_owned()),
            state: "COMPLETED".to_owned(),
            native_state: "completed".to_owned(),
            settling: false,
        };
        let bare = Snapshot { name: None, description: None, created: None, volume: None, ..whole.clone() };
        let base = Base("http://h/api");
        let tracking = TrackingView { hook: Some("http://r/cb".to_owned()), ..TrackingView::default() };
        let one = Member("storage_snapshot", SnapshotView::new(&whole, base, Some(tracking)));
        insta::assert_snapshot!(both(&one), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <storage_snapshot href='http://h/api/storage_snapshots/snap1' id='snap1'>
          <name>snap1</name>
          <created>2009-07-30T14:35:11Z</created>
          <state>COMPLETED</state>
          <storage_volume href='http://h/api/storage_volumes/vol1' id='vol1' />
          <tracking hook='http://r/cb' stale='false' />
        </storage_snapshot>
        {
          "storage_snapshot": {
            "created": "2009-07-30T14:35:11Z",
            "description": "weekly",
            "href": "http://h/api/storage_snapshots/snap1",
            "id": "snap1",
            "name": "before <the> change",
            "state": "COMPLETED",
            "storage_volume": {
              "href": "http://h/api/storage_volumes/vol1",
              "id": "vol1",
              "rel": "storage_volume"
            },
            "tracking": {
              "hook": "http://r/cb",
              "stale": false
            }
          }
        }
        "#);
        let all = List("storage_snapshots", vec![SnapshotView::new(&bare, base, None)]);
        insta::assert_snapshot!(both(&all), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <storage_snapshots>
          <storage_snapshot href='http://h/api/storage_snapshots/snap1' id='snap1'>
            <name>snap1</name>
            <state>COMPLETED</state>
          </storage_snapshot>
        </storage_snapshots>
        {
          "storage_snapshots": [
            {
              "created": null,
              "description": null,
              "href": "http://h/api/storage_snapshots/snap1",
              "id": "snap1",
              "name": null,
              "state": "COMPLETED",
              "storage_volume": null
            }
          ]
        }
        "#);
    }
}
