//! The one JSON form of a change: the same bytes in a callback and in the feed, and in the envelope of CloudEvents.

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;

use crate::model::{
    AccountKey, Announced, Availability, Condition, Entry, ExposeSecret, Facts, Figure, Format, Judgement, Merged,
    News, RealmState, Reason, Secret, Standing, Stuck, Subject, Topic,
};

/// Everything but `A-Z a-z 0-9 . _ ~ : -` is escaped: suites match the end of an href against the raw id.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'-');

/// Who is told: what of the body differs between two hooks.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Handed back unchanged; left out when the hook has none.
    pub token: Option<&'a Secret>,
    /// What the href begins with, up to and without the slash before the collection.
    pub base: &'a str,
    /// What it stands for besides itself.
    pub merged: Option<Merged>,
    pub format: Format,
}

/// Writes the change as JSON, in a fixed order of fields.
pub fn render(entry: &Entry, account: &AccountKey, told: Told<'_>) -> Vec<u8> {
    let body = body(entry, account, told);
    match told.format {
        Format::Changes => serde_json::to_vec(&body),
        Format::CloudEvents => serde_json::to_vec(&envelope(body)),
    }
    .expect("text, numbers and lists always have a JSON form")
}

fn body<'a>(entry: &'a Entry, account: &'a AccountKey, told: Told<'a>) -> Body<'a> {
    let change = &entry.change;
    let subject = &change.subject;
    let (from, to, why) = sides(&change.news);
    Body {
        id: &change.id.0,
        kind: change.news.kind(),
        timestamp: wire(change.at),
        seq: entry.seq.0,
        account: AccountBody { driver: account.driver.as_str(), provider: &account.provider, id: &account.identity },
        resource: ResourceBody {
            collection: subject.collection.as_str(),
            id: &subject.id,
            revision: subject.revision,
            name: subject.name.as_deref(),
            realm: subject.realm.as_deref(),
            href: href(told.base, subject),
        },
        from,
        to,
        observed: ObservedBody { before: change.observed.before.map(wire), at: wire(change.observed.at) },
        confidence: judged(&change.news).map(|judged| judged.confidence),
        suppressed: judged(&change.news).is_some_and(|judged| judged.suppressed),
        stuck: match &change.news {
            News::InstanceStuck { stuck, .. } => Some(*stuck),
            _ => None,
        },
        why,
        merged: told.merged.map(|Merged { from_seq, count }| MergedBody { from_seq: from_seq.0, count }),
        snapshot: change.news.is_snapshot(),
        token: told.token.map(ExposeSecret::expose_secret),
    }
}

/// CloudEvents 1.0. Its `sequence` is to be contiguous for each source, so the source is the resource and the number its
/// revision, with leading zeros as it is compared as text.
fn envelope(body: Body<'_>) -> Envelope<'_> {
    Envelope {
        specversion: "1.0",
        id: body.id,
        source: body.resource.href.clone(),
        kind: body.kind,
        subject: body.resource.id,
        time: body.timestamp.clone(),
        datacontenttype: "application/json",
        sequence: format!("{:020}", body.resource.revision),
        partitionkey: format!("{}/{}", body.resource.collection, body.resource.id),
        data: body,
    }
}

/// Where the resource is; for a collection of the account, that collection.
fn href(base: &str, subject: &Subject) -> String {
    let id = segment(&subject.id);
    match subject.collection {
        Topic::Account if subject.id == Topic::WHOLE => base.to_owned(),
        Topic::Account => format!("{base}/{id}"),
        Topic::Of(_) | Topic::Hooks => format!("{base}/{}/{id}", subject.collection),
    }
}

/// A part of a path, escaped: for hrefs in changes and in representations alike.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Milliseconds always, so that texts sort like instants.
fn wire(at: Timestamp) -> String {
    format!("{at:.3}")
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    seq: u64,
    account: AccountBody<'a>,
    resource: ResourceBody<'a>,
    /// `null`: it was not there.
    from: Option<Side<'a>>,
    /// `null`: it is not there any more.
    to: Option<Side<'a>>,
    observed: ObservedBody,
    /// 0 to 1, of what was judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    confidence: Option<Figure>,
    /// The resource flaps: this is in the log only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    suppressed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stuck: Option<Stuck>,
    why: &'a [Reason],
    #[serde(skip_serializing_if = "Option::is_none")]
    merged: Option<MergedBody>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    sequence: String,
    partitionkey: String,
    data: Body<'a>,
}

#[derive(Serialize)]
struct MergedBody {
    from_seq: u64,
    count: u32,
}

#[derive(Serialize)]
struct AccountBody<'a> {
    driver: &'a str,
    provider: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct ResourceBody<'a> {
    collection: &'static str,
    id: &'a str,
    revision: u64,
    name: Option<&'a str>,
    realm: Option<&'a str>,
    href: String,
}

#[derive(Serialize)]
struct Side<'a> {
    state: &'a str,
    native_state: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    public_addresses: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    private_addresses: Option<Vec<&'a str>>,
    /// What the provider will do to an instance; left out where that is nothing, and nothing was before.
    #[serde(skip_serializing_if = "Option::is_none")]
    announced: Option<&'a [Announced]>,
    /// Of a realm that was judged: four-valued.
    #[serde(skip_serializing_if = "Option::is_none")]
    availability: Option<Availability>,
    /// Of a volume, `null`: it is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<Option<&'a str>>,
}

#[derive(Serialize)]
struct ObservedBody {
    before: Option<String>,
    at: String,
}

fn sides(news: &News) -> (Option<Side<'_>>, Option<Side<'_>>, &[Reason]) {
    match news {
        News::InstanceState { from, to } => (Some(state(from)), Some(facts(to)), &[]),
        News::InstanceAddresses { from, to } => (Some(facts(from)), Some(facts(to)), &[]),
        News::InstanceAnnounced { from, to } => (Some(announced(from)), Some(announced(to)), &[]),
        News::InstanceStuck { to, why, .. } => (None, Some(facts(to)), why),
        News::InstanceAppeared { to, why } => (None, Some(facts(to)), why),
        News::InstanceSnapshot { to } => (None, Some(facts(to)), &[]),
        News::InstanceGone { from, why } => (Some(facts(from)), None, why),
        News::RealmState { from, from_native, to, to_native, why, judged } => {
            let side = |state: RealmState, native, availability| Side { availability, ..plain(state.as_str(), native) };
            let before = judged.as_ref().and_then(|judged| judged.from);
            let after = judged.as_ref().map(|judged| judged.to);
            (Some(side(*from, from_native, before)), Some(side(*to, to_native, after)), why)
        }
        News::RealmFlappingStart { state, why } | News::RealmFlappingEnd { state, why } => {
            (None, Some(plain(state.as_str(), state.as_str())), why)
        }
        News::ProviderDegraded { why }
        | News::ProviderRecovered { why }
        | News::ObserverIsolated { why }
        | News::ObserverRejoined { why } => (None, None, why),
        News::RealmAppeared { to, to_native } | News::RealmSnapshot { to, to_native } => {
            (None, Some(plain(to.as_str(), to_native)), &[])
        }
        News::RealmWithdrawn { from, from_native } => (Some(plain(from.as_str(), from_native)), None, &[]),
        News::ImageState { from, to } | News::SnapshotState { from, to } => {
            (Some(condition(from)), Some(condition(to)), &[])
        }
        News::ImageAppeared { to }
        | News::SnapshotAppeared { to }
        | News::ImageSnapshot { to }
        | News::SnapshotSnapshot { to } => (None, Some(condition(to)), &[]),
        News::ImageGone { from } | News::SnapshotGone { from } => (Some(condition(from)), None, &[]),
        News::VolumeState { from, to } | News::VolumeAttachment { from, to } => {
            (Some(attached(from)), Some(attached(to)), &[])
        }
        News::VolumeAppeared { to } | News::VolumeSnapshot { to } => (None, Some(attached(to)), &[]),
        News::HookDisabled { why } => (Some(plain("ENABLED", "enabled")), Some(plain("DISABLED", "disabled")), why),
        // What happened meanwhile is told by changes of its own, as far as it can still be seen.
        News::ObservationGap { why } => (None, None, why),
        News::AccountUnreachable { from, why } => (Some(standing(*from)), Some(standing(Standing::Unreachable)), why),
        News::AccountDenied { from, why } => (Some(standing(*from)), Some(standing(Standing::Denied)), why),
        News::AccountReachable { from, why } => (Some(standing(*from)), Some(standing(Standing::Reachable)), why),
        News::VolumeGone { from } => (Some(attached(from)), None, &[]),
    }
}

fn judged(news: &News) -> Option<&Judgement> {
    match news {
        News::RealmState { judged, .. } => judged.as_ref(),
        _ => None,
    }
}

fn standing(standing: Standing) -> Side<'static> {
    plain(standing.as_str(), standing.native())
}

fn plain<'a>(state: &'a str, native_state: &'a str) -> Side<'a> {
    Side {
        state,
        native_state,
        public_addresses: None,
        private_addresses: None,
        announced: None,
        availability: None,
        instance: None,
    }
}

fn condition(condition: &Condition) -> Side<'_> {
    plain(&condition.state, &condition.native_state)
}

fn attached(volume: &Condition) -> Side<'_> {
    Side { instance: Some(volume.instance.as_deref()), ..condition(volume) }
}

fn state(facts: &Facts) -> Side<'_> {
    plain(facts.state.as_str(), &facts.native_state)
}

fn facts(facts: &Facts) -> Side<'_> {
    Side {
        public_addresses: Some(facts.public_addresses.iter().map(|address| address.text.as_str()).collect()),
        private_addresses: Some(facts.private_addresses.iter().map(|address| address.text.as_str()).collect()),
        announced: (!facts.announced.is_empty()).then_some(facts.announced.as_slice()),
        ..state(facts)
    }
}

fn announced(facts: &Facts) -> Side<'_> {
    Side { announced: Some(&facts.announced), ..self::facts(facts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Address, AddressKind, Change, ChangeId, Collection, DriverId, InstanceState, Observed, RealmState, Seq, Subject,
    };

    fn entry(collection: Collection, id: &str, news: News) -> Entry {
        let at = |text: &str| text.parse().unwrap();
        Entry {
            seq: Seq(4711),
            change: Change {
                id: ChangeId("chg_01980f3b6e5b7c1f".to_owned()),
                at: at("2026-11-21T10:15:02.120Z"),
                subject: Subject {
                    collection: collection.into(),
                    id: id.to_owned(),
                    revision: 9,
                    name: Some("web".to_owned()),
                    realm: Some("us-east-1a".to_owned()),
                },
                observed: Observed { before: Some(at("2026-11-21T10:14:57.02Z")), at: at("2026-11-21T10:15:02.020Z") },
                news,
            },
        }
    }

    fn rendered(entry: &Entry, token: Option<&str>) -> String {
        let account = AccountKey {
            driver: DriverId::new("ec2"),
            provider: "us-east-1".to_owned(),
            identity: "123456789012".to_owned(),
        };
        let token = token.map(Secret::from);
        let base = "https://tracker.example/api;driver=ec2;provider=us-east-1";
        let told = Told { token: token.as_ref(), base, merged: None, format: Format::Changes };
        String::from_utf8(render(entry, &account, told)).unwrap()
    }

    fn facts(state: InstanceState, native: &str) -> Facts {
        Facts {
            state,
            native_state: native.to_owned(),
            public_addresses: vec![],
            private_addresses: vec![Address { kind: AddressKind::Ipv4, text: "10.0.0.7".to_owned() }],
            announced: vec![],
        }
    }

    #[test]
    fn a_state_change_in_full() {
        let news = News::InstanceState {
            from: facts(InstanceState::Running, "running"),
            to: facts(InstanceState::Stopping, "stopping"),
        };
        insta::assert_snapshot!(rendered(&entry(Collection::Instances, "i-7", news), Some("my \"token\"")));
    }

    #[test]
    fn what_was_not_there_and_what_is_there_no_more_are_null() {
        let gone = News::InstanceGone { from: facts(InstanceState::Running, "running"), why: vec![] };
        assert!(rendered(&entry(Collection::Instances, "i-7", gone), None).contains(r#""to":null"#));
        let appeared = News::InstanceAppeared { to: facts(InstanceState::Pending, "pending"), why: vec![] };
        assert!(rendered(&entry(Collection::Instances, "i-7", appeared), None).contains(r#""from":null"#));
    }

    #[test]
    fn in_the_envelope_of_cloudevents() {
        let news = News::InstanceState {
            from: facts(InstanceState::Running, "running"),
            to: facts(InstanceState::Stopping, "stopping"),
        };
        let account = AccountKey {
            driver: DriverId::new("ec2"),
            provider: "us-east-1".to_owned(),
            identity: "123456789012".to_owned(),
        };
        let merged = Some(Merged { from_seq: Seq(4700), count: 3 });
        let told = Told { token: None, base: "https://t.example/api", merged, format: Format::CloudEvents };
        let text = render(&entry(Collection::Instances, "i-7", news), &account, told);
        insta::assert_snapshot!(String::from_utf8(text).unwrap());
    }

    #[test]
    fn a_realm_says_why() {
        let news = News::RealmState {
            from: RealmState::Available,
            from_native: "available".to_owned(),
            to: RealmState::Unavailable,
            to_native: "unavailable".to_owned(),
            why: vec![Reason::new("D1", "power failure")],
            judged: None,
        };
        insta::assert_snapshot!(rendered(&entry(Collection::Realms, "us-east-1a", news), None));
    }

    #[test]
    fn a_gap_leads_to_the_collection_and_says_why() {
        let why = vec![Reason::new("provider", "9 looks in a row failed")];
        let mut entry = entry(Collection::Instances, "instances", News::ObservationGap { why });
        entry.change.subject = Subject { collection: Topic::Account, name: None, realm: None, ..entry.change.subject };
        insta::assert_snapshot!(rendered(&entry, None), @r#"{"id":"chg_01980f3b6e5b7c1f","type":"account.observation_gap","timestamp":"2026-11-21T10:15:02.120Z","seq":4711,"account":{"driver":"ec2","provider":"us-east-1","id":"123456789012"},"resource":{"collection":"account","id":"instances","revision":9,"name":null,"realm":null,"href":"https://tracker.example/api;driver=ec2;provider=us-east-1/instances"},"from":null,"to":null,"observed":{"before":"2026-11-21T10:14:57.020Z","at":"2026-11-21T10:15:02.020Z"},"why":[{"rule":"provider","text":"9 looks in a row failed"}]}"#);
    }

    #[test]
    fn an_id_cannot_break_out_of_the_href() {
        let news = News::InstanceAppeared { to: facts(InstanceState::Pending, "pending"), why: vec![] };
        let text = rendered(&entry(Collection::Instances, "a/../b?c d", news), None);
        assert!(text.contains("/instances/a%2F..%2Fb%3Fc%20d\""), "{text}");
    }
}
