use serde::Serialize;

use super::Xml;
use crate::model::{Events, Format, Mode, Terms};

/// What Tracker adds to a resource: who watches it, and how fresh it is. One empty element, attributes only, because
/// older clients read any nested `state` or `name` as the resource's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(in crate::api) struct TrackingView {
    /// Masked: no user part, no query values. `feed` for a hook without a callback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) hook: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) since: Option<String>,
    /// When the backend last showed the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) checked: Option<String>,
    /// The backend could not be asked; this is what was last seen.
    pub(in crate::api) stale: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) subscriber: Option<String>,
    /// How it wants to be told, where that is not as usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) format: Option<&'static str>,
    /// With commas between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) events: Option<String>,
    /// Of a realm that is judged: four-valued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) availability: Option<&'static str>,
    /// How sure that is, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) confidence: Option<String>,
    /// What the provider will do to an instance, and from when on, with commas between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) announced: Option<String>,
    /// Why the hook gets nothing more until it is set again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) disabled: Option<String>,
    /// Shown once, in the answer to the request that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) secret: Option<String>,
}

impl TrackingView {
    /// With what of the terms is not as usual.
    pub(in crate::api) fn with(self, terms: &Terms) -> Self {
        let Terms { mode, format, events: Events(events) } = terms;
        Self {
            mode: (*mode != Mode::default()).then(|| mode.as_str()),
            format: (*format != Format::default()).then(|| format.as_str()),
            events: events.as_ref().map(|events| events.iter().cloned().collect::<Vec<_>>().join(",")),
            ..self
        }
    }

    pub(super) fn xml(&self, xml: &mut Xml) {
        self.attributes(|given| xml.empty("tracking", given));
    }

    /// What of it is known, as attributes of an element.
    pub(super) fn attributes(&self, element: impl FnOnce(&[(&str, &str)])) {
        let Self {
            hook,
            since,
            checked,
            stale,
            subscriber,
            mode,
            format,
            events,
            availability,
            confidence,
            announced,
            disabled,
            secret,
        } = self;
        let stale = stale.to_string();
        let attributes = [
            ("hook", hook.as_deref()),
            ("since", since.as_deref()),
            ("checked", checked.as_deref()),
            ("stale", Some(stale.as_str())),
            ("subscriber", subscriber.as_deref()),
            ("mode", *mode),
            ("format", *format),
            ("events", events.as_deref()),
            ("availability", *availability),
            ("confidence", confidence.as_deref()),
            ("announced", announced.as_deref()),
            ("disabled", disabled.as_deref()),
            ("secret", secret.as_deref()),
        ];
        let given: Vec<_> = attributes.iter().filter_map(|(key, value)| Some((*key, (*value)?))).collect();
        element(&given);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_shown_where_they_are_not_as_usual() {
        let check = |terms: Terms, json: &str, attributes: &str| {
            let view = TrackingView::default().with(&terms);
            assert_eq!(serde_json::to_string(&view).unwrap(), json);
            let mut xml = Xml::new();
            view.xml(&mut xml);
            let xml = String::from_utf8(xml.into_bytes()).unwrap();
            assert!(xml.contains(attributes), "{xml}");
        };
        check(Terms::default(), r#"{"stale":false}"#, "<tracking stale='false' />");
        let events = Events(Some(["state", "gone"].map(str::to_owned).into()));
        check(
            Terms { mode: Mode::Latest, format: Format::CloudEvents, events },
            r#"{"stale":false,"mode":"latest","format":"cloudevents","events":"gone,state"}"#,
            "<tracking stale='false' mode='latest' format='cloudevents' events='gone,state' />",
        );
    }
}
