use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::model::{
    Address, AddressKind, Collection, Declared, Instance, InstanceState, Known, KnownResource, Realm, RealmState,
    Resource, Sample,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn rules() -> Absence {
    Absence::new(&Settings {
        confirm_after_ms: 10_000,
        young_for_ms: 300_000,
        withdrawn_after_ms: 600_000,
        ..Settings::default()
    })
}

fn instance(id: &str, state: InstanceState) -> Instance {
    Instance {
        name: Some(format!("name of {id}")),
        realm: Some("us".to_owned()),
        ..Instance::bare(id, state, &state.as_str().to_lowercase())
    }
}

fn realm(id: &str, state: RealmState) -> Realm {
    Realm {
        id: id.to_owned(),
        name: id.to_owned(),
        state,
        native_state: state.as_str().to_lowercase(),
        limit: None,
        messages: vec![],
        declared: Declared::Nothing,
        judged: None,
    }
}

fn ipv4(text: &str) -> Address {
    Address { kind: AddressKind::Ipv4, text: text.to_owned() }
}

fn taken(second: i64, members: impl IntoIterator<Item = Resource>) -> Sample {
    let members: BTreeMap<_, _> = members.into_iter().map(|member| (member.id().to_owned(), member)).collect();
    let collection = members.values().next().map_or(Collection::Instances, Resource::collection);
    Sample { collection, asked_at: at(second), answered_at: at(second), members }
}

fn unknown() -> Known {
    Known {
        collection: Collection::Instances,
        version: 0,
        through: crate::model::Seq(0),
        observed_at: None,
        members: BTreeMap::new(),
        former: BTreeMap::new(),
    }
}

/// What the store does with a found sample.
fn apply(known: &Known, found: &Found, observed_at: Option<Timestamp>) -> Known {
    let mut next = known.clone();
    next.version += 1;
    next.observed_at = observed_at.or(known.observed_at);
    for row in &found.upserts {
        next.members.insert(row.resource.id().to_owned(), row.clone());
    }
    for id in &found.removed {
        let last = found.news.iter().find(|told| told.subject.id == *id).map(|told| told.subject.revision);
        let row = next.members.remove(id).unwrap();
        next.former.insert(id.clone(), last.unwrap_or(row.revision));
    }
    if let Some(observed_at) = observed_at {
        for row in next.members.values_mut().filter(|row| row.absent_since.is_none()) {
            row.observed_at = observed_at;
        }
    }
    next
}

fn known_since(second: i64, members: impl IntoIterator<Item = Resource>) -> Known {
    let baseline = taken(second, members);
    apply(&unknown(), &sample(&unknown(), &baseline, &rules()), Some(baseline.answered_at))
}

fn kinds(found: &Found) -> Vec<(&str, &'static str)> {
    found.news.iter().map(|told| (told.subject.id.as_str(), told.news.kind())).collect()
}

#[test]
fn the_first_sample_is_the_baseline_and_no_news() {
    let first = taken(0, [instance("a", InstanceState::Running).into(), instance("b", InstanceState::Error).into()]);
    let found = sample(&unknown(), &first, &rules());
    assert_eq!(kinds(&found), []);
    assert_eq!(found.upserts.len(), 2);
}

#[test]
fn what_is_news_of_an_instance() {
    let plain = instance("a", InstanceState::Running);
    let check = |edit: fn(&mut Instance), expected: &[&str]| {
        let mut after = plain.clone();
        edit(&mut after);
        let found = sample(&known_since(0, [plain.clone().into()]), &taken(60, [after.into()]), &rules());
        assert_eq!(found.news.iter().map(|told| told.news.kind()).collect::<Vec<_>>(), expected);
    };
    check(|_| {}, &[]);
    check(|after| after.state = InstanceState::Stopped, &["instance.state"]);
    check(|after| after.public_addresses = vec![ipv4("192.0.2.1")], &["instance.addresses"]);
    check(
        |after| {
            after.state = InstanceState::Stopped;
            after.private_addresses = vec![ipv4("10.0.0.1")];
        },
        &["instance.state"],
    );
    check(|after| after.name = Some("renamed".to_owned()), &[]);
    check(|after| after.native_state = "another word for it".to_owned(), &[]);
    check(|after| after.settling = true, &[]);
}

#[test]
fn of_an_unknown_state_the_native_word_is_news() {
    let mut shutoff = instance("a", InstanceState::Unknown);
    shutoff.native_state = "SHUTOFF".to_owned();
    let mut suspended = shutoff.clone();
    suspended.native_state = "SUSPENDED".to_owned();
    let found = sample(&known_since(0, [shutoff.into()]), &taken(60, [suspended.into()]), &rules());
    assert_eq!(kinds(&found), [("a", "instance.state")]);
}

#[test]
fn the_order_of_addresses_is_not_news() {
    let mut before = instance("a", InstanceState::Running);
    before.public_addresses = vec![ipv4("192.0.2.2"), ipv4("192.0.2.1")];
    let mut after = before.clone();
    after.public_addresses.reverse();
    assert_eq!(kinds(&sample(&known_since(0, [before.into()]), &taken(60, [after.into()]), &rules())), []);
}

#[test]
fn a_change_says_between_which_looks_it_happened() {
    let known = known_since(0, [instance("a", InstanceState::Running).into()]);
    let found = sample(&known, &taken(60, [instance("a", InstanceState::Stopped).into()]), &rules());
    assert_eq!(found.news[0].observed, Observed { before: Some(at(0)), at: at(60) });
    assert_eq!(found.news[0].subject.revision, 1);
}

#[test]
fn a_clock_that_jumped_back_leaves_the_bounds_in_order() {
    let known = known_since(1_000, [instance("a", InstanceState::Running).into()]);
    let found = sample(&known, &taken(60, [instance("a", InstanceState::Stopped).into()]), &rules());
    assert_eq!(found.news[0].observed, Observed { before: Some(at(60)), at: at(60) });
}

#[test]
fn a_new_instance_appears_after_the_baseline() {
    let known = known_since(0, []);
    let found = sample(&known, &taken(60, [instance("a", InstanceState::Pending).into()]), &rules());
    assert_eq!(kinds(&found), [("a", "instance.appeared")]);
    assert_eq!(found.news[0].observed.before, Some(at(0)));
}

#[test]
fn gone_needs_a_complete_list_and_then_a_targeted_look() {
    let missing = |asked: i64| Look {
        asked_at: at(asked),
        answered_at: at(asked),
        found: BTreeMap::new(),
        missing: BTreeSet::from(["a".to_owned()]),
    };
    let known = known_since(0, [instance("a", InstanceState::Running).into()]);

    // A look alone says nothing: it may be one of the provider's small inconsistencies.
    assert_eq!(look(&known, &missing(1_000), &rules()), Found::default());

    // Nor does a list alone, nor a second one.
    let once = sample(&known, &taken(1_000, []), &rules());
    assert_eq!(kinds(&once), []);
    let known = apply(&known, &once, Some(at(1_000)));
    assert_eq!(kinds(&sample(&known, &taken(1_060, []), &rules())), []);

    // Too early, then ripe.
    assert_eq!(rules().to_confirm(&known, at(1_009)), (BTreeSet::new(), Some(at(1_010))));
    assert_eq!(look(&known, &missing(1_009), &rules()), Found::default());
    assert_eq!(rules().to_confirm(&known, at(1_010)), (BTreeSet::from(["a".to_owned()]), None));
    let found = look(&known, &missing(1_010), &rules());
    assert_eq!(kinds(&found), [("a", "instance.gone")]);
    assert_eq!(found.removed, ["a"]);
    assert_eq!(found.news[0].observed, Observed { before: Some(at(0)), at: at(1_010) });
}

#[test]
fn a_young_instance_is_not_gone_before_five_minutes() {
    let known = known_since(0, [instance("a", InstanceState::Pending).into()]);
    let known = apply(&known, &sample(&known, &taken(20, []), &rules()), Some(at(20)));
    assert_eq!(rules().to_confirm(&known, at(60)), (BTreeSet::new(), Some(at(300))));
}

#[test]
fn one_that_comes_back_was_never_gone() {
    let known = known_since(0, [instance("a", InstanceState::Running).into()]);
    let known = apply(&known, &sample(&known, &taken(400, []), &rules()), Some(at(400)));
    let found = sample(&known, &taken(460, [instance("a", InstanceState::Running).into()]), &rules());
    assert_eq!(kinds(&found), []);
    assert_eq!(apply(&known, &found, Some(at(460))).members["a"].absent_since, None);
}

#[test]
fn what_others_saw_since_it_was_asked_for_may_be_newer() {
    let (running, stopped) =
        (instance("a", InstanceState::Running).into(), instance("a", InstanceState::Stopped).into());
    let check = |known: &Known, asked: i64, members: &[Resource], late: bool| {
        let found = sample(known, &taken(asked, members.iter().cloned()), &rules());
        assert_eq!(found.may_be_late(known, at(asked)), late, "asked at {asked}");
    };
    let known = known_since(10, [running]);
    check(&known, 11, std::slice::from_ref(&stopped), false);
    check(&known, 10, std::slice::from_ref(&stopped), true);
    // Missing from the list, but seen by somebody since.
    check(&known, 11, &[], false);
    check(&known, 10, &[], true);
    // New to us, and not in a list that was taken since.
    let empty = known_since(10, []);
    check(&empty, 11, std::slice::from_ref(&stopped), false);
    check(&empty, 10, std::slice::from_ref(&stopped), true);
    // Nothing to write is never late.
    check(&empty, 5, &[], false);
}

#[test]
fn an_id_that_comes_back_after_its_end_counts_on() {
    let mut known = known_since(0, []);
    known.former.insert("a".to_owned(), 7);
    let found = sample(&known, &taken(60, [instance("a", InstanceState::Running).into()]), &rules());
    assert_eq!(kinds(&found), [("a", "instance.appeared")]);
    assert_eq!(found.news[0].subject.revision, 8);
}

#[test]
fn a_finished_instance_leaves_without_a_second_end() {
    let known = known_since(0, [instance("a", InstanceState::Finish).into()]);
    let known = apply(&known, &sample(&known, &taken(400, []), &rules()), Some(at(400)));
    let gone = Look {
        asked_at: at(500),
        answered_at: at(500),
        found: BTreeMap::new(),
        missing: BTreeSet::from(["a".to_owned()]),
    };
    let found = look(&known, &gone, &rules());
    assert_eq!(kinds(&found), []);
    assert_eq!(found.removed, ["a"]);
}

#[test]
fn a_realm_changes_with_the_providers_words_as_reasons() {
    let mut down = realm("us", RealmState::Unavailable);
    down.messages = vec!["power failure".to_owned()];
    let known = known_since(0, [realm("us", RealmState::Available).into()]);
    let found = sample(&known, &taken(300, [down.into()]), &rules());
    let News::RealmState { why, .. } = &found.news[0].news else { panic!("{:?}", found.news) };
    let texts: Vec<_> = why.iter().map(|reason| reason.text.as_str()).collect();
    assert_eq!(texts, ["the provider declares it unavailable", "power failure"]);
}

#[test]
fn a_realm_is_withdrawn_only_after_ten_minutes_of_lists_without_it() {
    let known = known_since(0, [realm("us", RealmState::Available).into(), realm("eu", RealmState::Available).into()]);
    let without = |second| taken(second, [realm("eu", RealmState::Available).into()]);
    let known = apply(&known, &sample(&known, &without(300), &rules()), Some(at(300)));
    assert_eq!(kinds(&sample(&known, &without(600), &rules())), []);
    assert_eq!(kinds(&sample(&known, &without(900), &rules())), [("us", "realm.withdrawn")]);
}

#[test]
fn a_snapshot_is_the_present_revision_and_no_change() {
    let known = known_since(5, [instance("a", InstanceState::Running).into()]);
    let member = KnownResource { revision: 7, ..known.members["a"].clone() };
    let told = snapshot(&member);
    assert_eq!((told.subject.id.as_str(), told.subject.revision), ("a", 7));
    assert_eq!(told.observed, Observed { before: None, at: member.observed_at });
    assert!(told.news.is_snapshot());
    let kind = |resource: Resource| snapshot(&KnownResource { resource, ..member.clone() }).news.kind();
    assert_eq!(kind(instance("a", InstanceState::Stopped).into()), "instance.snapshot");
    assert_eq!(kind(realm("us", RealmState::Available).into()), "realm.snapshot");
}

fn any_state() -> impl Strategy<Value = InstanceState> {
    prop_oneof![
        Just(InstanceState::Pending),
        Just(InstanceState::Running),
        Just(InstanceState::Stopping),
        Just(InstanceState::Stopped),
        Just(InstanceState::Finish),
        Just(InstanceState::Error),
        Just(InstanceState::Unknown),
    ]
}

prop_compose! {
    fn any_cloud()(members in prop::collection::btree_map("[a-e]", (any_state(), prop::collection::vec("[1-3]", 0..3)), 0..5))
        -> Vec<Resource> {
        members.into_iter().map(|(id, (state, addresses))| {
            let mut instance = instance(&id, state);
            instance.public_addresses = addresses.iter().map(|text| ipv4(text)).collect();
            instance.into()
        }).collect()
    }
}

proptest! {
    #[test]
    fn applying_the_diff_gives_the_sample_and_an_equal_sample_gives_none(clouds in prop::collection::vec(any_cloud(), 1..8)) {
        let mut known = unknown();
        let mut revisions: BTreeMap<String, u64> = BTreeMap::new();
        for (turn, cloud) in clouds.into_iter().enumerate() {
            let seen = taken(60 * turn as i64, cloud);
            let found = sample(&known, &seen, &rules());
            for told in &found.news {
                // Each resource counts its own changes without a hole.
                let last = revisions.entry(told.subject.id.clone()).or_default();
                prop_assert_eq!(told.subject.revision, *last + 1);
                *last += 1;
            }
            known = apply(&known, &found, Some(seen.answered_at));
            let present: BTreeMap<_, _> = known.members.iter()
                .filter(|(_, row)| row.absent_since.is_none())
                .map(|(id, row)| (id.clone(), row.resource.clone())).collect();
            prop_assert_eq!(&present, &seen.members);
            prop_assert_eq!(sample(&known, &seen, &rules()).news, vec![]);
            prop_assert_eq!(sample(&known, &seen, &rules()).upserts, Vec::<KnownResource>::new());
        }
    }

    #[test]
    fn no_instance_is_gone_earlier_than_the_rules_allow(first_seen in 0i64..1_000, absent in 0i64..1_000, asked in 0i64..2_000) {
        let mut row = known_since(first_seen, [instance("a", InstanceState::Running).into()]);
        row.members.get_mut("a").unwrap().absent_since = Some(at(absent));
        let gone = Look { asked_at: at(asked), answered_at: at(asked), found: BTreeMap::new(), missing: BTreeSet::from(["a".to_owned()]) };
        let told = look(&row, &gone, &rules()).news.len();
        let ripe = asked >= absent + 10 && asked >= first_seen + Duration::from_secs(300).as_secs() as i64;
        prop_assert_eq!(told == 1, ripe);
    }
}
