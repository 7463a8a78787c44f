//! Which representation a request wants. Pure.

use std::cmp::Reverse;

/// A representation that Tracker writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    Xml,
    Json,
}

impl Format {
    /// Without a charset: suites compare the whole string.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Xml => "application/xml",
            Self::Json => "application/json",
        }
    }
}

/// What a path can be had as; the first is for those who do not mind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offers {
    XmlOrJson,
    Json,
    /// JSON, in an array or in a stream of events: [`wants_events`].
    JsonOrEvents,
}

impl Offers {
    fn default(self) -> Format {
        match self {
            Self::XmlOrJson => Format::Xml,
            Self::Json | Self::JsonOrEvents => Format::Json,
        }
    }

    fn has(self, format: Format) -> bool {
        self == Self::XmlOrJson || format == Format::Json
    }
}

/// The best of what is offered; `None` is a 406. `format`, the query parameter, wins over `accept`.
///
/// Among equal weights a named type beats `*/*`, and then the one named first.
pub(super) fn choose(accept: Option<&str>, format: Option<&str>, offers: Offers) -> Option<Format> {
    if let Some(format) = format {
        let format = match format.to_ascii_lowercase().as_str() {
            "xml" => Format::Xml,
            "json" => Format::Json,
            _ => return None,
        };
        return offers.has(format).then_some(format);
    }
    let accept = accept.map(str::trim).filter(|accept| !accept.is_empty());
    let Some(accept) = accept else { return Some(offers.default()) };
    let mut best: Option<(u16, bool, Format)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let (format, named) = match kind.as_str() {
            "application/xml" | "text/xml" => (Format::Xml, true),
            "application/json" => (Format::Json, true),
            EVENTS if offers == Offers::JsonOrEvents => (Format::Json, true),
            // There are no pages, so who asks for a page gets what everyone gets.
            "*/*" | "text/html" | "application/xhtml+xml" => (offers.default(), false),
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(1_000, weight);
        let better = best.is_none_or(|(weight_, named_, _)| (weight, named) > (weight_, named_));
        if weight > 0 && better && offers.has(format) {
            best = Some((weight, named, format));
        }
    }
    best.map(|(.., format)| format)
}

const EVENTS: &str = "text/event-stream";

/// Whether a stream of events is wanted rather than JSON.
pub(super) fn wants_events(accept: Option<&str>, format: Option<&str>) -> bool {
    let weight_of = |wanted: &str| {
        let ranges = accept.unwrap_or_default().split(',').map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            (kind, parts.find_map(|part| part.strip_prefix("q=")).map_or(1_000, weight))
        });
        ranges.enumerate().find(|(_, (kind, _))| kind == wanted).map(|(place, (_, weight))| (weight, Reverse(place)))
    };
    let events = weight_of(EVENTS).filter(|(weight, _)| *weight > 0);
    format.is_none() && events.is_some_and(|events| weight_of("application/json").is_none_or(|json| events > json))
}

/// In thousandths. Nonsense counts as full weight, as if it were not there.
fn weight(text: &str) -> u16 {
    match text.trim().parse::<f32>() {
        // The cast is safe: 0 to 1000.
        Ok(weight) if (0.0..=1.0).contains(&weight) => (weight * 1_000.0) as u16,
        _ => 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_and_format_choose() {
        const XML: Option<Format> = Some(Format::Xml);
        const JSON: Option<Format> = Some(Format::Json);
        let check = |accept: Option<&str>, format: Option<&str>, chosen| {
            assert_eq!(choose(accept, format, Offers::XmlOrJson), chosen, "{accept:?} {format:?}");
        };
        check(None, None, XML);
        check(Some(""), None, XML);
        check(Some("application/xml"), None, XML);
        check(Some("text/xml"), None, XML);
        check(Some("application/xml;q=1"), None, XML);
        check(Some("*/*; q=0.5, application/xml"), None, XML);
        check(Some("application/json"), None, JSON);
        check(Some("APPLICATION/JSON"), None, JSON);
        check(Some("application/json; charset=utf-8"), None, JSON);
        check(Some("*/*"), None, XML);
        check(Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), None, XML);
        check(Some("application/json, text/plain, */*"), None, JSON);
        check(Some("application/xml;q=0.5, application/json;q=0.6"), None, JSON);
        check(Some("application/xml, application/json"), None, XML);
        check(Some("application/json;q=0, */*;q=0.1"), None, XML);
        check(Some("application/json;q=x"), None, JSON);
        check(Some("application/*"), None, None);
        check(Some("application/vnd.x+json"), None, None);
        check(Some("image/png"), None, None);
        check(Some("application/json;q=0"), None, None);
        check(Some(",;,"), None, None);
        check(Some("application/xml"), Some("json"), JSON);
        check(Some("image/png"), Some("xml"), XML);
        check(Some("application/xml"), Some("foo"), None);
        check(None, Some(""), None);
    }

    #[test]
    fn events_are_sent_to_who_prefers_them() {
        let check = |accept: &str, format, events: bool| {
            assert_eq!(wants_events(Some(accept), format), events, "{accept}");
            let choice = choose(Some(accept), format, Offers::JsonOrEvents);
            assert!(!events || choice == Some(Format::Json), "{accept}");
        };
        check("text/event-stream", None, true);
        check("Text/Event-Stream; charset=utf-8", None, true);
        check("text/event-stream, */*", None, true);
        check("text/event-stream, application/json", None, true);
        check("application/json, text/event-stream", None, false);
        check("application/json;q=0.5, text/event-stream", None, true);
        check("text/event-stream;q=0", None, false);
        check("text/event-stream", Some("json"), false);
        check("application/json", None, false);
        check("*/*", None, false);
        assert!(!wants_events(None, None));
        assert_eq!(choose(Some("text/event-stream"), None, Offers::Json), None);
    }

    #[test]
    fn what_is_json_only_is_never_xml() {
        let check = |accept, format, chosen| assert_eq!(choose(accept, format, Offers::Json), chosen, "{accept:?}");
        check(None, None, Some(Format::Json));
        check(Some("*/*"), None, Some(Format::Json));
        check(Some("application/xml, */*;q=0.1"), None, Some(Format::Json));
        check(Some("application/xml"), None, None);
        check(None, Some("xml"), None);
    }
}
