use serde::Serialize;

use super::Xml;

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
    /// Why the hook gets nothing more until it is set again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) disabled: Option<String>,
    /// Shown once, in the answer to the request that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::api) secret: Option<String>,
}

impl TrackingView {
    pub(super) fn xml(&self, xml: &mut Xml) {
        let Self { hook, since, checked, stale, subscriber, disabled, secret } = self;
        let stale = Some(stale.to_string());
        let attributes = [
            ("hook", hook),
            ("since", since),
            ("checked", checked),
            ("stale", &stale),
            ("subscriber", subscriber),
            ("disabled", disabled),
            ("secret", secret),
        ];
        let given: Vec<_> = attributes.iter().filter_map(|(key, value)| Some((*key, value.as_deref()?))).collect();
        xml.empty("tracking", &given);
    }
}
