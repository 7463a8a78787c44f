use jiff::Timestamp;

use super::*;
use crate::clock::FakeClock;
use crate::model::{Credentials, DriverId, InstanceState, RealmState};

struct Stage {
    clock: Arc<FakeClock>,
    cloud: Cloud,
    mock: Mock,
}

fn stage(settings: Settings) -> Stage {
    let clock = Arc::new(FakeClock::at(Timestamp::UNIX_EPOCH));
    let cloud = Cloud::new(settings, clock.clone(), &Chance::seeded(1));
    Stage { clock, mock: Mock::of(cloud.clone()), cloud }
}

fn login(provider: Option<&str>, user: &str, password: &str) -> Login {
    let credentials = Credentials { user: user.to_owned(), password: password.into() };
    Login { driver: DriverId::new("mock"), provider: provider.map(str::to_owned), credentials }
}

fn mockuser() -> Login {
    login(None, "mockuser", "mockpassword")
}

impl Stage {
    async fn ids(&self, login: &Login) -> Vec<String> {
        self.mock.instances(login).await.unwrap().into_iter().map(|instance| instance.id.0).collect()
    }
}

#[tokio::test]
async fn the_reference_has_its_four_instances() {
    let shown: Vec<String> = stage(Settings::default())
        .mock
        .instances(&mockuser())
        .await
        .unwrap()
        .into_iter()
        .map(|one| {
            let text = |text: Option<String>| text.unwrap_or_default();
            format!(
                "{} {:?} {} {} {} {:?} {} {} {} {:?} {:?} {:?} imaged={}",
                one.id,
                one.name.unwrap_or_default(),
                text(one.image),
                text(one.realm),
                text(one.hardware_profile),
                one.hardware_properties,
                one.state,
                one.public_addresses[0].text,
                one.private_addresses[0].text,
                one.storage_volumes.iter().map(|at| format!("{} {}", at.volume, at.device)).collect::<Vec<_>>(),
                one.network_interfaces.unwrap_or_default(),
                one.login,
                one.can_create_image,
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    inst0 "Mock Instance With Profile Change" img1 us m1-large [("memory", "12288")] RUNNING img1.inst0.public.com img1.inst0.private.com [] [] Some(Key(None)) imaged=true
    inst1 "MockUserInstance" img3 us m1-small [] RUNNING img1.inst1.public.com img1.inst1.private.com ["vol3 /dev/sda1"] ["nic1"] Some(Key(None)) imaged=true
    inst2 "AnotherInstance" img1 us m1-large [] RUNNING img1.inst2.public.com img1.inst2.private.com [] [] Some(Key(None)) imaged=true
    inst3 "" img3 eu m1-small [] RUNNING img3.inst3.public.com img3.inst3.private.com [] ["nicinst3"] Some(Key(Some(""))) imaged=false
    "#);
}

#[tokio::test]
async fn some_realms_show_what_an_error_looks_like() {
    let mock = stage(Settings::default()).mock;
    for (id, kind, text) in [
        ("500", Kind::Failed, "DeltacloudErrorMessage"),
        ("501", Kind::Unsupported, "NotImplementedMessage"),
        ("502", Kind::Unavailable, "ProviderErrorMessage"),
        ("504", Kind::TimedOut, "ProviderTimeoutMessage"),
    ] {
        let error = mock.realm(&mockuser(), id).await.unwrap_err();
        assert_eq!((error.kind, error.text.as_str()), (kind, text));
    }
    assert_eq!(mock.realm(&mockuser(), "503").await.unwrap(), None);
    assert_eq!(mock.realm(&mockuser(), "eu").await.unwrap().unwrap().name, "Europe");
}

#[tokio::test]
async fn every_user_and_provider_has_a_world_of_his_own() {
    let stage = stage(Settings::default());
    stage.cloud.set_password("alice", "wonder");
    let (alice, elsewhere) = (login(None, "alice", "wonder"), login(Some("Test1"), "mockuser", "mockpassword"));
    let id = stage.cloud.of("default", "alice").add_instance(InstanceState::Stopped);
    stage.cloud.remove(&"inst0".into());

    assert_eq!(stage.ids(&alice).await, [id.as_str()]);
    assert_eq!(stage.ids(&mockuser()).await, ["inst1", "inst2", "inst3"]);
    assert_eq!(stage.ids(&elsewhere).await, ["inst0", "inst1", "inst2", "inst3"]);
    stage.cloud.of("test1", "mockuser").remove(&"inst3".into());
    assert_eq!(stage.ids(&elsewhere).await, ["inst0", "inst1", "inst2"]);
}

#[tokio::test]
async fn a_changed_password_is_asked_for_at_once_and_the_account_stays() {
    let stage = stage(Settings::default());
    stage.cloud.set_password("mockuser", "new");
    assert_eq!(stage.mock.instances(&mockuser()).await.unwrap_err().kind, Kind::Denied);
    let rotated = login(None, "mockuser", "new");
    assert_eq!(stage.mock.identify(&rotated).await.unwrap(), "mockuser");
    assert_eq!(stage.ids(&rotated).await.len(), 4);
}

#[tokio::test]
async fn the_bound_of_accounts_keeps_strangers_out_and_others_in() {
    let stage = stage(Settings { accounts_max: 1, ..Settings::default() });
    assert_eq!(stage.ids(&mockuser()).await.len(), 4);
    let more = login(Some("another"), "mockuser", "mockpassword");
    assert_eq!(stage.mock.instances(&more).await.unwrap_err().kind, Kind::Forbidden);
    assert_eq!(stage.ids(&mockuser()).await.len(), 4);
}

#[tokio::test]
async fn hands_make_the_world_what_a_test_needs() {
    let Stage { cloud, mock, .. } = stage(Settings { fixture: false, ..Settings::default() });
    let web = cloud.add_instance(InstanceState::Pending);
    let look = async || mock.instance(&mockuser(), &web).await.unwrap();
    let first = look().await.unwrap();
    assert_eq!((first.id.as_str(), first.settling, first.actions), ("inst0", true, vec![]));

    cloud.set_state(&web, InstanceState::Running);
    cloud.set_addresses(&web, &["a.example", "b.example"], &[]);
    let second = look().await.unwrap();
    assert_eq!(
        (second.state, second.native_state.as_str(), second.settling),
        (InstanceState::Running, "RUNNING", false)
    );
    let texts: Vec<_> = second.public_addresses.iter().map(|address| address.text.as_str()).collect();
    assert_eq!((texts, second.private_addresses.len()), (vec!["a.example", "b.example"], 0));

    cloud.remove(&web);
    assert_eq!(look().await, None);
    cloud.set_realm("eu", RealmState::Unavailable, Some("flood"));
    cloud.withdraw_realm("us");
    let realms = mock.realms(&mockuser()).await.unwrap();
    assert_eq!(
        (realms.len(), realms[0].state, realms[0].messages.join(" ")),
        (1, RealmState::Unavailable, "flood".to_owned())
    );
}

#[tokio::test]
async fn a_hand_that_misses_panics_and_the_cloud_goes_on() {
    let stage = stage(Settings::default());
    let missed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stage.cloud.set_state(&"inst9".into(), InstanceState::Error);
    }));
    assert!(missed.is_err());
    assert_eq!(stage.ids(&mockuser()).await.len(), 4);
}

#[tokio::test]
async fn failures_on_purpose_hit_the_calls_they_are_meant_for() {
    let Stage { cloud, mock, .. } = stage(Settings::default());
    let kind = async |login: &Login| mock.instances(login).await.err().map(|error| error.kind);
    cloud.fail(CallKind::Instances, Times::Next(1), Kind::Throttled { after: None });
    cloud.fail(CallKind::Instances, Times::UntilHealed, Kind::Unavailable);
    mock.realms(&mockuser()).await.unwrap();
    assert_eq!(kind(&mockuser()).await, Some(Kind::Throttled { after: None }));
    assert_eq!(kind(&mockuser()).await, Some(Kind::Unavailable));
    let wrong = login(None, "mockuser", "wrong");
    assert_eq!(kind(&wrong).await, Some(Kind::Unavailable), "a cloud that is down cannot refuse anybody");
    cloud.heal();
    assert_eq!(kind(&mockuser()).await, None);
}

#[tokio::test]
async fn a_failed_order_is_not_carried_out() {
    let Stage { cloud, mock, .. } = stage(Settings::default());
    cloud.fail(CallKind::Act, Times::Next(1), Kind::TimedOut);
    let error = mock.act(&mockuser(), &"inst1".into(), Action::Stop).await.unwrap_err();
    assert_eq!(error.kind, Kind::TimedOut);
    let after = mock.instance(&mockuser(), &"inst1".into()).await.unwrap().unwrap();
    assert_eq!(after.state, InstanceState::Running);
}

#[tokio::test]
async fn faults_of_the_settings_come_and_go_with_the_clock() {
    let faults: Settings =
        toml::from_str("[[faults]]\ncalls = [\"realms\"]\nkind = \"denied\"\nfrom_s = 10\nuntil_s = 20").unwrap();
    let Stage { clock, mock, .. } = stage(faults);
    let fails = async || mock.realms(&mockuser()).await.is_err();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(fails().await);
        clock.advance(Duration::from_millis(9_999));
    }
    assert_eq!(seen, [false, false, true, false]);
    assert!(mock.instances(&mockuser()).await.is_ok());
}

#[tokio::test]
async fn calls_are_noted_up_to_a_bound() {
    let Stage { cloud, mock, clock, .. } = stage(Settings { calls_kept: 2, ..Settings::default() });
    mock.identify(&mockuser()).await.unwrap();
    clock.advance(Duration::from_secs(1));
    assert!(mock.act(&login(Some("P"), "eve", "?"), &"inst7".into(), Action::Stop).await.is_err());
    mock.instances(&mockuser()).await.unwrap();
    let calls = cloud.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        calls[0],
        Called {
            at: Timestamp::from_second(1).unwrap(),
            kind: CallKind::Act,
            provider: "p".to_owned(),
            user: "eve".to_owned(),
            ids: vec!["inst7".to_owned()],
        }
    );
    assert_eq!(calls[1].kind, CallKind::Instances);
}

#[tokio::test]
async fn in_a_lively_cloud_accounts_have_histories_of_their_own_from_the_same_start() {
    let history = async |provider: &str, first_look: u64| {
        let stage = stage(Settings::demo(7));
        let login = login(Some(provider), "mockuser", "mockpassword");
        stage.clock.advance(Duration::from_secs(first_look));
        stage.mock.instances(&login).await.unwrap();
        stage.clock.advance(Duration::from_secs(100 - first_look));
        stage.mock.instances(&login).await.unwrap()
    };
    assert_eq!(history("one", 0).await, history("one", 60).await, "whenever it was first looked at");
    assert_ne!(history("one", 0).await, history("two", 0).await);
}

#[tokio::test]
async fn faults_do_not_change_what_happens_in_the_cloud() {
    let history = async |faults: &str| {
        let faults = toml::from_str::<Settings>(faults).unwrap().faults;
        let stage = stage(Settings { faults, ..Settings::demo(7) });
        for _ in 0..50 {
            stage.clock.advance(Duration::from_secs(2));
            let _ = stage.mock.instances(&mockuser()).await;
        }
        stage
            .mock
            .instances_by_id(&mockuser(), &(0..50).map(|n| InstanceId(format!("inst{n}"))).collect())
            .await
            .unwrap()
    };
    let often = "[[faults]]\ncalls = [\"instances\"]\nkind = \"unavailable\"\nrate = 0.5";
    assert_eq!(history("").await, history(often).await);
}

#[test]
fn a_provider_is_folded_and_nonsense_is_refused() {
    let mock = stage(Settings::default()).mock;
    let check = |given, canonical: Option<&str>| {
        assert_eq!(mock.provider(given).ok().as_deref(), canonical, "{given:?}");
    };
    check(None, Some("default"));
    check(Some(" "), Some("default"));
    check(Some("Test1"), Some("test1"));
    check(Some("a\nb"), None);
    check(Some(&"x".repeat(256)), None);
}
