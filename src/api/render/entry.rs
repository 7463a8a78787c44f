use std::collections::BTreeMap;

use serde::Serialize;

use super::{Document, TrackingView, Xml, wrapped};
use crate::drivers::Feature;

/// The entry point (contract 1.1): every collection with its features.
#[derive(Debug)]
pub(in crate::api) struct Entry<'a> {
    pub(in crate::api) version: &'static str,
    /// Tracker's own version.
    pub(in crate::api) tracker: &'static str,
    pub(in crate::api) driver: &'a str,
    /// Left out of the XML when there is none; `default` in JSON.
    pub(in crate::api) provider: Option<&'a str>,
    pub(in crate::api) links: Vec<LinkView>,
    /// The hook on the account, in the answer to whoever has just set it.
    pub(in crate::api) tracking: Option<TrackingView>,
}

#[derive(Debug, Serialize)]
pub(in crate::api) struct LinkView {
    pub(in crate::api) rel: &'static str,
    pub(in crate::api) href: String,
    /// One inner list for each feature, one entry in it for each operation that the feature belongs to.
    pub(in crate::api) features: Vec<Vec<FeatureView>>,
}

#[derive(Debug, Serialize)]
pub(in crate::api) struct FeatureView {
    name: &'static str,
    /// The operation.
    rel: &'static str,
    /// `name:type:required|optional`
    params: Vec<String>,
    /// Limits on parameters by name; no driver of ours declares one.
    constraints: BTreeMap<&'static str, String>,
    #[serde(skip)]
    names: &'static [&'static str],
}

impl LinkView {
    /// Features of one name share an inner list.
    pub(in crate::api) fn new(rel: &'static str, href: String, features: impl Iterator<Item = Feature>) -> Self {
        let mut groups: Vec<Vec<FeatureView>> = Vec::new();
        for Feature { name, operation, params } in features {
            let texts = params.iter().map(|param| format!("{param}:string:optional")).collect();
            let view = FeatureView { name, rel: operation, params: texts, constraints: BTreeMap::new(), names: params };
            match groups.iter_mut().find(|group| group[0].name == name) {
                Some(group) => group.push(view),
                None => groups.push(vec![view]),
            }
        }
        Self { rel, href, features: groups }
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Inner<'a> {
            version: &'static str,
            tracker: &'static str,
            driver: &'a str,
            provider: &'a str,
            links: &'a [LinkView],
            #[serde(skip_serializing_if = "Option::is_none")]
            tracking: Option<&'a TrackingView>,
        }
        let Self { version, tracker, driver, provider, links, tracking } = self;
        let (provider, tracking) = (provider.unwrap_or("default"), tracking.as_ref());
        wrapped("api", &Inner { version, tracker, driver, provider, links, tracking }, serializer)
    }
}

impl Document for Entry<'_> {
    fn xml(&self, xml: &mut Xml) {
        let provider = self.provider.map(|provider| ("provider", provider));
        let attributes: Vec<_> = [("driver", self.driver)]
            .into_iter()
            .chain(provider)
            .chain([("tracker", self.tracker), ("version", self.version)])
            .collect();
        xml.element("api", &attributes, |xml| {
            for LinkView { rel, href, features } in &self.links {
                xml.element("link", &[("href", href), ("rel", rel)], |xml| {
                    for FeatureView { name, rel, names, .. } in features.iter().flatten() {
                        xml.element("feature", &[("name", name), ("rel", rel)], |xml| {
                            names.iter().for_each(|name| xml.empty("param", &[("name", name)]));
                        });
                    }
                });
            }
            if let Some(tracking) = &self.tracking {
                tracking.xml(xml);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::both;
    use super::*;

    #[test]
    fn the_entry_point_both_ways() {
        let feature = |name, operation, params| Feature { name, operation, params };
        let features = [
            feature("user_name", "create", &["name"] as &[_]),
            feature("state_tracking", "create", &["track_hook", "track_token"]),
            feature("state_tracking", "update", &["track_hook"]),
        ];
        let link =
            |rel, features: &[Feature]| LinkView::new(rel, format!("http://h/api/{rel}"), features.iter().copied());
        let entry = |provider| Entry {
            version: "1.1.3",
            tracker: "0.1.0",
            driver: "mock",
            provider,
            links: vec![link("realms", &[]), link("instances", &features)],
            tracking: None,
        };
        insta::assert_snapshot!(both(&entry(None)), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <api driver='mock' tracker='0.1.0' version='1.1.3'>
          <link href='http://h/api/realms' rel='realms'></link>
          <link href='http://h/api/instances' rel='instances'>
            <feature name='user_name' rel='create'>
              <param name='name' />
            </feature>
            <feature name='state_tracking' rel='create'>
              <param name='track_hook' />
              <param name='track_token' />
            </feature>
            <feature name='state_tracking' rel='update'>
              <param name='track_hook' />
            </feature>
          </link>
        </api>
        {
          "api": {
            "driver": "mock",
            "links": [
              {
                "features": [],
                "href": "http://h/api/realms",
                "rel": "realms"
              },
              {
                "features": [
                  [
                    {
                      "constraints": {},
                      "name": "user_name",
                      "params": [
                        "name:string:optional"
                      ],
                      "rel": "create"
                    }
                  ],
                  [
                    {
                      "constraints": {},
                      "name": "state_tracking",
                      "params": [
                        "track_hook:string:optional",
                        "track_token:string:optional"
                      ],
                      "rel": "create"
                    },
                    {
                      "constraints": {},
                      "name": "state_tracking",
                      "params": [
                        "track_hook:string:optional"
                      ],
                      "rel": "update"
                    }
                  ]
                ],
                "href": "http://h/api/instances",
                "rel": "instances"
              }
            ],
            "provider": "default",
            "tracker": "0.1.0",
            "version": "1.1.3"
          }
        }
        "#);
        assert!(both(&entry(Some("eu"))).contains("<api driver='mock' provider='eu' tracker="));
        let tracking = Some(TrackingView { hook: Some("feed".to_owned()), ..TrackingView::default() });
        let tracked = both(&Entry { tracking, ..entry(None) });
        assert!(tracked.contains("  <tracking hook='feed' stale='false' />\n</api>"), "{tracked}");
        assert!(tracked.contains(r#""tracking": {"#), "{tracked}");
    }
}
