//! The driver against an EC2 that goes wrong as a test says: each fault shows as what it is, and as nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tracker::drivers::{Driver, Ec2Settings, Error, Kind};
use tracker::model::{
    Action, Collection, Declared, FaultKind, Instance, InstanceId, InstanceState, Login, NewInstance,
};

use super::{driver as driver_at, ids};
use crate::support::cloud::{Cloud, Fate, Rule};
use crate::support::moto::OWN_IMAGE;

/// Far from the time of any machine: clocks are no matter here.
struct Ec2 {
    driver: Arc<dyn Driver>,
    login: Login,
}

impl Ec2 {
    fn of(cloud: &Cloud) -> Self {
        Self::with(cloud, |settings| settings)
    }

    fn with(cloud: &Cloud, edit: impl FnOnce(Ec2Settings) -> Ec2Settings) -> Self {
        Self { driver: driver_at(edit(cloud.settings()), &[]), login: cloud.login(0) }
    }

    async fn list(&self) -> Result<Vec<Instance>, Error> {
        self.driver.instances(&self.login).await
    }

    async fn again(&self, known: &[Instance]) -> Result<Vec<Instance>, Error> {
        let known: BTreeMap<_, _> = known.iter().map(|one| (one.id.clone(), one.clone())).collect();
        self.driver.instances_again(&self.login, &known, Timestamp::UNIX_EPOCH).await
    }

    async fn look(&self, ids: &[String]) -> Result<Vec<Instance>, Error> {
        let ids = ids.iter().map(|id| InstanceId::from(id.as_str())).collect();
        self.driver.instances_by_id(&self.login, &ids).await
    }

    async fn launch(&self, zone: &str) -> Result<Vec<Instance>, Error> {
        let new = NewInstance {
            image: OWN_IMAGE.to_owned(),
            realm: Some(zone.to_owned()),
            hardware_profile: Some("t3.micro".to_owned()),
            count: 1,
            ..NewInstance::default()
        };
        self.driver.create_instance(&self.login, &new).await
    }
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn kind<T>(result: Result<T, Error>) -> Option<Kind> {
    result.err().map(|error| error.kind)
}

#[tokio::test]
async fn a_call_that_goes_wrong_is_an_error_of_the_right_kind_and_no_list() {
    let Some(cloud) = Cloud::new("a_call_that_goes_wrong_is_an_error_of_the_right_kind_and_no_list").await else {
        return;
    };
    cloud.launch("us-east-1a", 2).await;
    let ec2 = Ec2::of(&cloud);
    let after = Some(Duration::from_secs(7));
    let cases = [
        (Rule::throttled(), Kind::Throttled { after: None }),
        (Rule::throttled_for(7), Kind::Throttled { after }),
        (Rule::broken(), Kind::Unavailable),
        (Rule::error(503, "Unavailable"), Kind::Unavailable),
        (Rule::forbidden(), Kind::Forbidden),
        (Rule::error(401, "AuthFailure"), Kind::Denied),
        (Rule::portal(), Kind::Unavailable),
        (Rule::cut(), Kind::Unavailable),
    ];
    for (rule, expected) in cases {
        let active = cloud.rule(rule.clone().on(&["DescribeInstances"])).await;
        assert_eq!(kind(ec2.list().await), Some(expected), "{rule:?}");
        assert_eq!(kind(ec2.driver.realms(&ec2.login).await), None, "another action, {rule:?}");
        assert_eq!(active.struck().await, 1);
        active.lift().await;
        assert_eq!(ec2.list().await.expect("well again").len(), 2);
    }
}

#[tokio::test]
async fn what_hangs_times_out_and_what_is_late_arrives() {
    let Some(cloud) = Cloud::new("what_hangs_times_out_and_what_is_late_arrives").await else { return };
    let impatient = Ec2::with(&cloud, |settings| Ec2Settings { page_timeout_ms: 200, ..settings });
    let patient = Ec2::of(&cloud);
    let hangs = cloud.rule(Rule::hangs()).await;
    assert_eq!(kind(impatient.list().await), Some(Kind::TimedOut));
    let listed = async {
        while hangs.held().await < 2 {}
        hangs.lift().await;
    };
    let (list, ()) = tokio::join!(patient.list(), listed);
    assert_eq!(list.expect("once it goes on"), []);

    let late = cloud.rule(Rule::late(1)).await;
    assert_eq!(patient.list().await.expect("late"), []);
    assert_eq!(late.struck().await, 1);
}

#[tokio::test]
async fn a_rule_strikes_what_it_is_about_and_nothing_else() {
    let Some(cloud) = Cloud::new("a_rule_strikes_what_it_is_about_and_nothing_else").await else { return };
    let other = Cloud::new("the same").await.expect("there is one");
    let ec2 = Ec2::of(&cloud);
    let (a, b) = (cloud.launch("us-east-1a", 1).await, cloud.launch("us-east-1b", 1).await);

    let by_key = cloud.rule(Rule::broken().by(&cloud.key(3))).await;
    assert_eq!(kind(ec2.list().await), None);
    assert_eq!(kind(ec2.driver.instances(&cloud.login(3)).await), Some(Kind::Unavailable));
    assert_eq!(kind(Ec2::of(&other).list().await), None, "another account");
    by_key.lift().await;

    let by_zone = cloud.rule(Rule::broken().in_zone("us-east-1b")).await;
    assert_eq!(kind(ec2.look(&a).await), None);
    assert_eq!(kind(ec2.look(&b).await), Some(Kind::Unavailable));
    assert_eq!(kind(ec2.list().await), None, "about no zone");
    by_zone.lift().await;

    let by_region = cloud.rule(Rule::broken()).await;
    assert_eq!(kind(Ec2::of(&cloud.elsewhere("eu-west-1")).list().await), None);
    assert_eq!(kind(ec2.list().await), Some(Kind::Unavailable));
    by_region.lift().await;

    let twice = cloud.rule(Rule::broken().times(2)).await;
    let seen = [kind(ec2.list().await), kind(ec2.list().await), kind(ec2.list().await)];
    assert_eq!(seen, [Some(Kind::Unavailable), Some(Kind::Unavailable), None]);
    assert_eq!(twice.struck().await, 2);
}

#[tokio::test]
async fn half_of_the_calls_are_throttled_evenly_or_as_drawn_and_always_the_same() {
    let Some(cloud) = Cloud::new("half_of_the_calls_are_throttled_evenly_or_as_drawn").await else { return };
    let ec2 = Ec2::of(&cloud);
    let twelve = async |rule: Rule| {
        let active = cloud.rule(rule).await;
        let mut struck = String::new();
        for _ in 0..12 {
            struck.push(if ec2.list().await.is_err() { 'x' } else { '.' });
        }
        active.lift().await;
        struck
    };
    assert_eq!(twelve(Rule::throttled().of(0.5)).await, ".x.x.x.x.x.x");
    assert_eq!(twelve(Rule::throttled().of(0.25)).await, "...x...x...x");
    let drawn = twelve(Rule::throttled().of(0.5).seeded(1)).await;
    assert_eq!(twelve(Rule::throttled().of(0.5).seeded(1)).await, drawn);
    assert_ne!(twelve(Rule::throttled().of(0.5).seeded(2)).await, drawn);
    assert!(drawn.contains('x') && drawn.contains('.'), "{drawn}");
}

#[tokio::test]
async fn a_list_that_breaks_on_its_second_page_is_an_error() {
    let Some(cloud) = Cloud::new("a_list_that_breaks_on_its_second_page_is_an_error").await else { return };
    let made = sorted(cloud.launch("us-east-1a", 7).await);
    let ec2 = Ec2::with(&cloud, |settings| Ec2Settings { page_size: 5, ..settings });
    let known = ec2.list().await.expect("two pages");
    assert_eq!(ids(&known), made);
    for rule in [Rule::broken(), Rule::throttled(), Rule::cut(), Rule::portal()] {
        let active = cloud.rule(rule.clone().later_pages()).await;
        assert!(ec2.list().await.is_err(), "{rule:?}");
        assert!(ec2.again(&known).await.is_err(), "{rule:?}");
        assert_eq!(active.struck().await, 2, "the first page came well: {rule:?}");
        active.lift().await;
    }
    assert_eq!(ids(&ec2.again(&known).await.expect("well again")), made);
}

#[tokio::test]
async fn a_key_that_was_revoked_is_denied_until_it_is_back() {
    let Some(cloud) = Cloud::new("a_key_that_was_revoked_is_denied_until_it_is_back").await else { return };
    let ec2 = Ec2::of(&cloud);
    cloud.revoke(&cloud.key(0)).await;
    assert_eq!(kind(ec2.list().await), Some(Kind::Denied));
    assert_eq!(kind(ec2.driver.identify(&ec2.login).await), Some(Kind::Denied));
    let other_key = ec2.driver.identify(&cloud.login(1)).await;
    assert_eq!(other_key.expect("another key of the account"), cloud.number());
    cloud.restore(&cloud.key(0)).await;
    assert_eq!(ec2.list().await.expect("known again"), []);
}

#[tokio::test]
async fn zones_declare_what_they_are_told_to() {
    let Some(cloud) = Cloud::new("zones_declare_what_they_are_told_to").await else { return };
    let ec2 = Ec2::of(&cloud);
    let told = [
        ("us-east-1a", "information", Declared::Up),
        ("us-east-1b", "impaired", Declared::Degraded),
        ("us-east-1c", "constrained", Declared::Degraded),
        ("us-east-1d", "unavailable", Declared::Down),
    ];
    for (zone, native, _) in told {
        cloud.zone(zone, native, &["Power is out.", "We know."]).await;
    }
    cloud.list_zone("us-east-1f", false).await;
    let realms = ec2.driver.realms(&ec2.login).await.expect("zones");
    let of = |zone: &str| realms.iter().find(|realm| realm.id == zone);
    for (zone, native, declared) in told {
        let realm = of(zone).expect("listed");
        assert_eq!((realm.native_state.as_str(), realm.declared), (native, declared), "{zone}");
        assert_eq!(realm.messages, ["Power is out.", "We know."]);
        assert!(realm.place.as_deref().is_some_and(|place| place.starts_with("use1-az")), "{realm:?}");
    }
    assert_eq!(of("us-east-1e").map(|realm| realm.declared), Some(Declared::Up));
    assert_eq!(of("us-east-1f"), None);
    let others = Cloud::new("the same").await.expect("there is one");
    let others = Ec2::of(&others).driver.realms(&ec2.login.clone()).await;
    assert_eq!(others.expect("the same account"), realms, "the login says whose zones");

    cloud.heal().await;
    let realms = ec2.driver.realms(&ec2.login).await.expect("zones");
    assert!(
        realms.len() >= 6 && realms.iter().all(|realm| realm.declared == Declared::Up && realm.messages.is_empty())
    );
}

#[tokio::test]
async fn while_a_zone_is_disrupted_only_ids_of_other_zones_can_be_described() {
    let Some(cloud) = Cloud::new("while_a_zone_is_disrupted_only_ids_of_other_zones_can_be_described").await else {
        return;
    };
    let ec2 = Ec2::of(&cloud);
    let (a, b) = (sorted(cloud.launch("us-east-1a", 2).await), cloud.launch("us-east-1b", 1).await);
    let known = ec2.list().await.expect("all is well");
    cloud.disrupt("us-east-1b").await;
    assert_eq!(kind(ec2.list().await), Some(Kind::Unavailable));
    assert_eq!(kind(ec2.again(&known).await), Some(Kind::Unavailable));
    assert_eq!(kind(ec2.look(&b).await), Some(Kind::Unavailable));
    assert_eq!(kind(ec2.look(&[a.clone(), b.clone()].concat()).await), Some(Kind::Unavailable));
    assert_eq!(ids(&ec2.look(&a).await.expect("another zone")), a);
    assert_eq!(kind(ec2.driver.realms(&ec2.login).await), None, "zones can be asked for");
    assert!(cloud.calls().await.iter().any(|call| call.ids == b && call.failed));
    cloud.mend("us-east-1b").await;
    assert_eq!(ec2.again(&known).await.expect("mended"), known);
}

#[tokio::test]
async fn a_hidden_instance_is_not_found_by_any_call_until_it_is_shown() {
    let Some(cloud) = Cloud::new("a_hidden_instance_is_not_found_by_any_call_until_it_is_shown").await else { return };
    let ec2 = Ec2::of(&cloud);
    let made = cloud.launch("us-east-1a", 2).await;
    let (hidden, there) = (&made[..1], &made[1..]);
    cloud.hide(hidden, None).await;
    assert_eq!(ids(&ec2.list().await.expect("a list")), there);
    assert_eq!(ids(&ec2.again(&[]).await.expect("a list")), there);
    assert_eq!(ids(&ec2.look(&made).await.expect("a look")), there);
    let id = InstanceId::from(hidden[0].as_str());
    assert_eq!(kind(ec2.driver.act(&ec2.login, &id, Action::Stop).await), Some(Kind::NotFound));
    cloud.show(hidden).await;
    assert_eq!(ids(&ec2.list().await.expect("a list")), sorted(made.clone()));

    // By count: looks that were not about it do not count, and a list of what runs is two calls.
    cloud.hide(hidden, Some(3)).await;
    let mut found = Vec::new();
    for _ in 0..3 {
        assert_eq!(ids(&ec2.look(there).await.expect("a look")), there);
        found.push(ec2.list().await.expect("a list").len());
    }
    assert_eq!(found, [1, 1, 2]);
}

#[tokio::test]
async fn states_reasons_and_checks_are_read_as_they_were_put() {
    let Some(cloud) = Cloud::new("states_reasons_and_checks_are_read_as_they_were_put").await else { return };
    let ec2 = Ec2::of(&cloud);
    let made = sorted(cloud.launch("us-east-1a", 4).await);
    let known = ec2.list().await.expect("a list");
    assert!(known.iter().all(|instance| instance.fault.is_none() && !instance.impaired));

    cloud.force(&made[..1], "terminated", Some("Server.InsufficientInstanceCapacity")).await;
    cloud.force(&made[1..2], "stopped", None).await;
    cloud.checks(&made[2..3], "impaired", "ok").await;
    cloud.checks(&made[3..], "ok", "insufficient-data").await;
    let before = cloud.counts().await;
    let listed = ec2.again(&known).await.expect("a list");
    let told: Vec<_> = listed
        .iter()
        .map(|one| (one.native_state.as_str(), one.fault.as_ref().map(|fault| fault.kind), one.impaired))
        .collect();
    assert_eq!(
        told,
        [
            ("terminated", Some(FaultKind::Capacity), false),
            ("stopped", Some(FaultKind::Request), false),
            ("running", None, true),
            ("running", None, false),
        ]
    );
    let calls = cloud.counts().await;
    let more = |action: &str| calls.get(action).copied().unwrap_or(0) - before.get(action).copied().unwrap_or(0);
    assert_eq!((more("DescribeInstanceStatus"), more("DescribeInstances")), (1, 1));
    let last = cloud.calls().await.pop().expect("there was one");
    assert_eq!((last.action.as_str(), last.ids.as_slice()), ("DescribeInstances", &made[..2]), "details of two");

    // Nothing moved since: the short list alone.
    assert_eq!(ec2.again(&listed).await.expect("a list"), listed);
    let last = cloud.calls().await.pop().expect("there was one");
    assert_eq!(last.action, "DescribeInstanceStatus");
    // A full list says what is announced of those that run only.
    let plain = |list: Vec<Instance>| -> Vec<Instance> {
        list.into_iter().map(|one| Instance { announced: None, ..one }).collect()
    };
    let full = plain(ec2.list().await.expect("a list"));
    assert_eq!(full, plain(listed), "one that has ended is listed, and what is impaired known");
}

#[tokio::test]
async fn a_launch_fails_or_dies_for_the_reason_it_was_given() {
    let Some(cloud) = Cloud::new("a_launch_fails_or_dies_for_the_reason_it_was_given").await else { return };
    let ec2 = Ec2::of(&cloud);
    let full = Rule::error(500, "InsufficientInstanceCapacity").on(&["RunInstances"]).in_zone("us-east-1b");
    let full = cloud.rule(full).await;
    let error = ec2.launch("us-east-1b").await.expect_err("full");
    assert_eq!(error.fault.map(|fault| fault.kind), Some(FaultKind::Capacity));
    assert_eq!(ec2.launch("us-east-1a").await.expect("another zone").len(), 1);
    full.lift().await;
    cloud.rule(Rule::error(400, "VcpuLimitExceeded").on(&["RunInstances"]).times(1)).await;
    let error = ec2.launch("us-east-1b").await.expect_err("too many");
    assert_eq!(error.fault.map(|fault| fault.kind), Some(FaultKind::Quota));

    let dies = Fate {
        zone: Some("us-east-1b"),
        native_state: Some("terminated"),
        code: Some("Server.InternalError"),
        times: Some(1),
        ..Fate::default()
    };
    cloud.launches(dies).await;
    let dead = ec2.launch("us-east-1b").await.expect("accepted").remove(0);
    let alive = ec2.launch("us-east-1b").await.expect("accepted").remove(0);
    let listed = ec2.again(&[]).await.expect("a list");
    let of = |id: &InstanceId| listed.iter().find(|one| one.id == *id).expect("listed");
    assert_eq!(of(&dead.id).state, InstanceState::Finish);
    assert_eq!(of(&dead.id).fault.as_ref().map(|fault| fault.kind), Some(FaultKind::Infrastructure));
    assert_eq!((of(&alive.id).state, &of(&alive.id).fault), (InstanceState::Running, &None));

    cloud.launches(Fate { hidden: Some(Some(1)), ..Fate::default() }).await;
    let unseen = ec2.launch("us-east-1c").await.expect("accepted").remove(0);
    let mut seen = Vec::new();
    for _ in 0..2 {
        let ids: BTreeSet<InstanceId> = ec2.list().await.expect("a list").into_iter().map(|one| one.id).collect();
        seen.push(ids.contains(&unseen.id));
    }
    assert_eq!(seen, [false, true]);
}

#[tokio::test]
async fn who_may_change_a_thing_is_asked_and_nothing_is_changed() {
    let Some(cloud) = Cloud::new("who_may_change_a_thing_is_asked_and_nothing_is_changed").await else { return };
    let ec2 = Ec2::of(&cloud);
    let made = cloud.launch("us-east-1a", 1).await;
    let volume = ec2.list().await.expect("a list").remove(0).storage_volumes.remove(0).volume;
    let things = [
        (Collection::Instances, made[0].as_str()),
        (Collection::Images, OWN_IMAGE),
        (Collection::StorageVolumes, volume.as_str()),
        (Collection::StorageSnapshots, "snap-12345678"),
    ];
    let before = ec2.list().await.expect("a list");
    let reader = cloud.login(1);
    let changes = ["StopInstances", "RebootInstances", "TerminateInstances", "DeregisterImage", "DetachVolume"];
    let changes = [changes.as_slice(), &["DeleteVolume", "DeleteSnapshot"]].concat();
    cloud.rule(Rule::forbidden().by(&reader.credentials).on(&changes)).await;
    for (collection, id) in things {
        let owner = ec2.driver.may_modify(&ec2.login, collection, id).await;
        assert_eq!(owner.expect("an answer"), Some(true), "{collection}");
        let other = ec2.driver.may_modify(&reader, collection, id).await;
        assert_eq!(other.expect("an answer"), Some(false), "{collection}");
    }
    assert_eq!(ec2.driver.may_modify(&reader, Collection::Realms, "us-east-1a").await.expect("nobody asked"), None);
    assert_eq!(ec2.list().await.expect("a list"), before);
    assert!(ec2.driver.image(&ec2.login, OWN_IMAGE).await.expect("a look").is_some());
}
