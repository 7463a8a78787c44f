use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, header};

use crate::api::error::Fault;
use crate::api::params::Params;
use crate::api::tracking;
use crate::api::{front, negotiate};
use crate::feed::{self, Filter};
use crate::model::{ID_BYTES_MAX, News, Seq, Subscriber, Topic};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A reader's question; every part of it is within bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) subscriber: Subscriber,
    pub(super) place: Place,
    pub(super) filter: Filter,
    /// Changes in the answer at most.
    pub(super) limit: usize,
    pub(super) how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// What this subscriber has not got yet. Up to the number, if one is named, it has everything.
    Undelivered(Option<Seq>),
    /// The log from a place on, delivered or not.
    After(Seq),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// One answer; if there is nothing yet, after at most this long.
    Page { wait: Duration },
    /// Server-sent events, as long as it lasts.
    Stream,
}

/// Changes in an answer: the most, and when not asked.
const LIMIT_MAX: u64 = 1_000;
const LIMIT: u64 = 100;

/// The parameters that choose; they go along to the next page.
pub(super) const FILTERS: [&str; 4] = ["collection", "resource", "type", "realm"];

pub(super) fn parse(params: &Params, headers: &HeaderMap, settings: &feed::Settings) -> Result<Ask, Fault> {
    let number_max = i64::MAX.unsigned_abs();
    // Elsewhere an empty parameter is one that is not given. Here that would take what is owed from who has lost its place.
    if params.get("after") == Some("") {
        return Err(Fault::invalid(
            "`after` is empty: give the `seq` of the last change that you have, or leave it out",
        ));
    }
    let after = params.number("after", 0, number_max)?.map(Seq);
    let limit = params.number("limit", 1, LIMIT_MAX)?.unwrap_or(LIMIT);
    let wait = params.number("wait", 0, settings.wait_max_seconds)?.unwrap_or(0);
    let accept = front::joined(headers, &header::ACCEPT);
    let how = if negotiate::wants_events(accept.as_deref(), params.given("format")) {
        How::Stream
    } else {
        How::Page { wait: Duration::from_secs(wait) }
    };
    let seen = if how == How::Stream { last_event(headers, number_max)? } else { None };
    let place = match after {
        // One that comes back after its connection broke says so beside the place that it began with.
        Some(after) => Place::After(seen.map_or(after, |seen| seen.max(after))),
        None => Place::Undelivered(seen),
    };
    let limit = usize::try_from(limit).expect("at most a thousand");
    Ok(Ask { subscriber: tracking::subscriber(params)?, place, filter: filter(params)?, limit, how })
}

/// How long a request may wait for its answer beyond what it takes. Nonsense is refused later.
pub(in crate::api) fn patience(params: &Params, settings: &feed::Settings) -> Duration {
    Duration::from_secs(params.number("wait", 0, settings.wait_max_seconds).ok().flatten().unwrap_or(0))
}

fn last_event(headers: &HeaderMap, most: u64) -> Result<Option<Seq>, Fault> {
    let Some(value) = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty()) else { return Ok(None) };
    let number = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = number.and_then(|text| text.parse().ok()).filter(|number| *number <= most);
    let wrong =
        || Fault::invalid("`Last-Event-ID` must be the `id` of an event that was sent from here, a whole number");
    number.map(|number| Some(Seq(number))).ok_or_else(wrong)
}

fn filter(params: &Params) -> Result<Filter, Fault> {
    let collection = params.given("collection").map(|text| {
        let wrong = || {
            Fault::invalid(
                "`collection` must be one that can be tracked (`instances`, `realms` …), `hooks` or `account`",
            )
        };
        Topic::parse(text).ok_or_else(wrong)
    });
    let plain = |name: &str| match params.given(name) {
        Some(text) if text.len() > ID_BYTES_MAX => {
            Err(Fault::invalid(format!("`{name}` is longer than {ID_BYTES_MAX} bytes")))
        }
        text => Ok(text.map(str::to_owned)),
    };
    Ok(Filter {
        collection: collection.transpose()?,
        resource: plain("resource")?,
        types: params.given("type").map(types).transpose()?,
        realm: plain("realm")?,
    })
}

/// `state,gone` or `instance.state,realm.state`.
fn types(list: &str) -> Result<BTreeSet<String>, Fault> {
    let verb = |kind: &'static str| kind.split_once('.').map_or(kind, |(_, verb)| verb);
    let known = |word: &str| News::ALL_KINDS.into_iter().any(|kind| kind == word || verb(kind) == word);
    let words: BTreeSet<String> = list.split(',').map(|word| word.trim().to_owned()).collect();
    if words.iter().all(|word| known(word)) {
        return Ok(words);
    }
    let verbs: BTreeSet<&str> = News::ALL_KINDS.into_iter().map(verb).collect();
    Err(Fault::invalid(format!(
        "`type` must be, with commas between them, some of {}, or whole types as `instance.state`",
        Vec::from_iter(verbs).join(", "),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, headers: &[(&str, &str)]) -> Option<Ask> {
        let header = |(name, value): &(&str, &str)| (HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in headers.iter().map(header) {
            map.append(name, value);
        }
        let headers = map;
        parse(&Params::parse(query, b"", 10).unwrap(), &headers, &feed::Settings::default()).ok()
    }

    #[test]
    fn a_question_is_read_and_nonsense_refused() {
        let check = |query: &str, want: Option<(&str, Place, usize, u64)>| {
            let ask = read(query, &[]);
            let parts = ask.as_ref().map(|ask| {
                let How::Page { wait } = ask.how else { panic!("{query}") };
                (ask.subscriber.as_str(), ask.place, ask.limit, wait.as_secs())
            });
            assert_eq!(parts, want, "{query}");
        };
        check("", Some(("default", Place::Undelivered(None), 100, 0)));
        check("after=0&limit=1", Some(("default", Place::After(Seq(0)), 1, 0)));
        check("after=4711&limit=1000&subscriber=ci&wait=60", Some(("ci", Place::After(Seq(4711)), 1000, 60)));
        check("limit=&wait=", Some(("default", Place::Undelivered(None), 100, 0)));
        for bad in [
            "after=",
            "after=-1",
            "after=x",
            "after=9223372036854775808",
            "limit=0",
            "limit=1001",
            "subscriber=%20",
            "wait=61",
            "wait=1.5",
            "wait=-1",
            "collection=weather",
            "type=weather",
            "type=state,",
            "type=instance.weather",
        ] {
            check(bad, None);
        }
        assert!(read(&format!("resource={}", "x".repeat(1_025)), &[]).is_none());
    }

    #[test]
    fn what_is_accepted_may_be_said_in_several_lines() {
        let lines = [("accept", "application/json;q=0.5"), ("accept", "text/event-stream")];
        assert_eq!(read("", &lines).unwrap().how, How::Stream);
    }

    #[test]
    fn filters_are_read() {
        let check = |query: &str, want: Filter| assert_eq!(read(query, &[]).unwrap().filter, want, "{query}");
        let text = |text: &str| Some(text.to_owned());
        check("", Filter::default());
        check(
            "collection=hooks&type=disabled",
            Filter { collection: Some(Topic::Hooks), types: Some(["disabled".to_owned()].into()), ..Filter::default() },
        );
        check(
            "collection=account&type=account.observation_gap",
            Filter {
                collection: Some(Topic::Account),
                types: Some(["account.observation_gap".to_owned()].into()),
                ..Filter::default()
            },
        );
        check(
            "resource=i-1&realm=us&type=instance.state,%20snapshot",
            Filter {
                resource: text("i-1"),
                realm: text("us"),
                types: Some(["instance.state".to_owned(), "snapshot".to_owned()].into()),
                ..Filter::default()
            },
        );
    }

    #[test]
    fn a_stream_goes_on_where_it_broke_off() {
        let check = |query: &str, id: &str, want: Option<Place>| {
            let ask = read(query, &[("accept", "text/event-stream"), ("last-event-id", id)]);
            assert!(ask.as_ref().is_none_or(|ask| ask.how == How::Stream));
            assert_eq!(ask.map(|ask| ask.place), want, "{query} {id}");
        };
        check("", "", Some(Place::Undelivered(None)));
        check("", "7", Some(Place::Undelivered(Some(Seq(7)))));
        check("after=3", "", Some(Place::After(Seq(3))));
        check("after=3", "7", Some(Place::After(Seq(7))));
        check("after=9", "7", Some(Place::After(Seq(9))));
        check("", "x", None);
        check("", "-1", None);
        check("", "9223372036854775808", None);
        assert_eq!(read("", &[("last-event-id", "7")]).unwrap().place, Place::Undelivered(None), "no stream");
    }
}
