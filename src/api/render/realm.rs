use serde::Serialize;

use super::{Base, Document, TrackingView, Xml};
use crate::model::Realm;

#[derive(Debug, Serialize)]
pub(in crate::api) struct RealmView<'a> {
    id: &'a str,
    href: String,
    name: &'a str,
    state: &'static str,
    /// `unlimited` in JSON, no element in XML.
    limit: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking: Option<TrackingView>,
}

const UNLIMITED: &str = "unlimited";

impl<'a> RealmView<'a> {
    pub(in crate::api) fn new(realm: &'a Realm, base: Base, tracking: Option<TrackingView>) -> Self {
        // Native words and messages go into changes; Deltacloud has no place for them. Nor has it for more than two states: those that
        // Tracker knows are in its own element.
        let Realm { id, name, state, limit, native_state: _, messages: _, declared: _, judged } = realm;
        let limit = limit.as_deref().unwrap_or(UNLIMITED);
        let tracking = tracking.map(|tracking| match judged {
            Some(judged) => TrackingView {
                availability: Some(judged.state.as_str()),
                confidence: Some(judged.confidence.to_string()),
                ..tracking
            },
            None => tracking,
        });
        Self { id, href: base.member("realms", id), name, state: state.as_str(), limit, tracking }
    }
}

impl Document for RealmView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("realm", &[("href", &self.href), ("id", self.id)], |xml| {
            xml.text("name", &[], self.name);
            xml.text("state", &[], self.state);
            if self.limit != UNLIMITED {
                xml.text("limit", &[], self.limit);
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
    use crate::model::{Declared, RealmState};

    #[test]
    fn a_realm_both_ways() {
        let us = Realm {
            id: "us".to_owned(),
            name: "United <States>".to_owned(),
            state: RealmState::Available,
            native_state: "available".to_owned(),
            limit: None,
            messages: Vec::new(),
            declared: Declared::Up,
            judged: None,
        };
        let eu = Realm {
            id: "eu:a b".to_owned(),
            limit: Some("0".to_owned()),
            state: RealmState::Unavailable,
            ..us.clone()
        };
        let base = Base("http://h/api");
        let tracking = TrackingView { hook: Some("http://r/cb".to_owned()), stale: true, ..TrackingView::default() };
        insta::assert_snapshot!(both(&Member("realm", RealmView::new(&us, base, None))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <realm href='http://h/api/realms/us' id='us'>
          <name>United &lt;States&gt;</name>
          <state>AVAILABLE</state>
        </realm>
        {
          "realm": {
            "href": "http://h/api/realms/us",
            "id": "us",
            "limit": "unlimited",
            "name": "United <States>",
            "state": "AVAILABLE"
          }
        }
        "#);
        insta::assert_snapshot!(both(&List("realms", vec![RealmView::new(&eu, base, Some(tracking))])), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <realms>
          <realm href='http://h/api/realms/eu:a%20b' id='eu:a b'>
            <name>United &lt;States&gt;</name>
            <state>UNAVAILABLE</state>
            <limit>0</limit>
            <tracking hook='http://r/cb' stale='true' />
          </realm>
        </realms>
        {
          "realms": [
            {
              "href": "http://h/api/realms/eu:a%20b",
              "id": "eu:a b",
              "limit": "0",
              "name": "United <States>",
              "state": "UNAVAILABLE",
              "tracking": {
                "hook": "http://r/cb",
                "stale": true
              }
            }
          ]
        }
        "#);
    }
}
