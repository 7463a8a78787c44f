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

/// What the reference has besides, a line each.
#[tokio::test]
async fn the_reference_has_something_in_every_collection() {
    let mock = stage(Settings::default()).mock;
    let (driver, login) = (&mock as &dyn Driver, &mockuser());
    let mut shown = Vec::new();
    for image in driver.images(login).await.unwrap() {
        shown.push(format!(
            "{} {} {} {} {:?}",
            image.id, image.description, image.architecture, image.owner, image.state
        ));
    }
    for key in driver.keys().unwrap().keys(login).await.unwrap() {
        shown.push(format!("{} {:?}", key.id, key.kind));
    }
    let storage = driver.storage().unwrap();
    for one in storage.volumes(login).await.unwrap() {
        let mount = one.mount.map(|mount| format!("{} {}", mount.instance, mount.device));
        shown.push(format!("{} {} GB {:?} {} {mount:?} {:?}", one.id, one.capacity, one.realm, one.state, one.actions));
    }
    for one in storage.snapshots(login).await.unwrap() {
        shown.push(format!("{} {:?} {}", one.id, one.volume, one.state));
    }
    for one in driver.addresses().unwrap().addresses(login).await.unwrap() {
        shown.push(format!("{} {:?}", one.ip, one.instance));
    }
    let buckets = driver.buckets().unwrap();
    for bucket in buckets.buckets(login).await.unwrap() {
        for blob in bucket.blobs {
            let blob = buckets.blob(login, &bucket.id, &blob).await.unwrap().unwrap();
            let content = buckets.content(login, &bucket.id, &blob.id).await.unwrap();
            assert_eq!(blob.content_length, content.len() as u64);
            shown.push(format!("{} {} {} {:?} {content:?}", bucket.name, blob.id, blob.content_type, blob.metadata));
        }
    }
    for one in driver.metrics().unwrap().metrics(login).await.unwrap() {
        shown.push(format!("{} {} {}", one.id, one.entity, one.series.len()));
    }
    let networks = driver.networks().unwrap();
    for one in networks.networks(login).await.unwrap() {
        shown.push(format!("{} {} {} {:?} {:?}", one.id, one.name, one.state, one.address_blocks, one.subnets));
    }
    for one in networks.subnets(login).await.unwrap() {
        shown.push(format!("{} {} {} {}", one.id, one.network, one.state, one.address_block));
    }
    for one in networks.network_interfaces(login).await.unwrap() {
        shown.push(format!("{} {} {} {:?} {:?}", one.id, one.instance, one.network, one.subnet, one.ip_address));
    }
    insta::assert_snapshot!(shown.join("\n"), @r#"
    img1 Fedora 10 x86_64 fedoraproject Some("AVAILABLE")
    img2 Fedora 10 i386 fedoraproject Some("AVAILABLE")
    img3 JBoss i386 mockuser Some("AVAILABLE")
    test-key Pair { fingerprint: Some("5e:ce:b6:dc:59:3b:5c:93:f8:2e:9d:20:ce:60:ca:f5:0b:8a:66:93"), pem: None }
    vol1 1 GB Some("us") AVAILABLE None [Attach, Destroy]
    vol2 1 GB Some("us") AVAILABLE None [Attach, Destroy]
    vol3 1 GB Some("us") IN-USE Some("inst1 /dev/sda1") [Detach]
    snap1 Some("vol1") COMPLETED
    snap2 Some("vol2") COMPLETED
    snap3 Some("vol2") COMPLETED
    192.168.0.1 None
    192.168.0.2 None
    192.168.0.3 None
    192.168.0.4 None
    bucket1 blob1 text/plain {"somenewkey": "NEWVALUE"} b"content of blob 1"
    bucket1 blob2 text/html {} b"content of blob 2"
    bucket1 blob3 text/plain {} b"content of blob 3"
    bucket2 blob4 application/octet-stream {} b"content of blob 4"
    bucket2 blob5 application/pdf {} b"content of blob 5"
    inst0 inst0 9
    inst1 inst1 9
    inst2 inst2 9
    inst3 inst3 9
    net1 network1 UP ["192.168.0.0/16"] ["subnet1", "subnet2"]
    net2 network2 UP ["10.0.0.0/8"] ["subnet3", "subnet4"]
    subnet1 net1 UP 192.168.1.0/24
    subnet2 net1 UP 192.168.2.0/24
    subnet3 net2 UP 10.1.0.0/16
    subnet4 net2 UP 10.2.0.0/16
    nic1 inst1 net1 Some("subnet1") Some("192.168.1.2")
    nicinst3 inst3 net1 Some("subnet2") Some("192.168.2.189")
    "#);
}

#[tokio::test]
async fn another_user_begins_with_what_everybody_has() {
    let stage = stage(Settings::default());
    stage.cloud.set_password("alice", "wonder");
    let (driver, alice) = (&stage.mock as &dyn Driver, &login(None, "alice", "wonder"));
    assert_eq!(driver.images(alice).await.unwrap(), driver.images(&mockuser()).await.unwrap());
    assert_eq!(driver.realms(alice).await.unwrap().len(), 2);
    assert_eq!(driver.keys().unwrap().keys(alice).await.unwrap().len(), 0);
    assert_eq!(driver.storage().unwrap().volumes(alice).await.unwrap(), []);
    assert_eq!(driver.storage().unwrap().snapshots(alice).await.unwrap(), []);
    assert_eq!(driver.addresses().unwrap().addresses(alice).await.unwrap(), []);
    assert_eq!(driver.buckets().unwrap().buckets(alice).await.unwrap(), []);
    assert_eq!(driver.networks().unwrap().networks(alice).await.unwrap(), []);

    // An image is destroyed in one world only.
    driver.destroy_image(alice, "img1").await.unwrap();
    assert_eq!(driver.images(alice).await.unwrap().len(), 2);
    assert_eq!(driver.images(&mockuser()).await.unwrap().len(), 3);
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
async fn hands_reach_images_and_storage_too() {
    let Stage { cloud, mock, .. } = stage(Settings { fixture: false, ..Settings::default() });
    let (driver, login) = (&mock as &dyn Driver, &mockuser());
    let image = cloud.add_image("PENDING");
    let volume = cloud.add_volume("CREATING");
    let snapshot = cloud.add_snapshot(&volume, "PENDING");
    assert_eq!([image.as_str(), &volume, &snapshot], ["img4", "vol1", "snap1"]);
    let states = async || {
        let image = driver.image(login, &image).await.unwrap().map(|one| (one.state.unwrap_or_default(), one.settling));
        let storage = driver.storage().unwrap();
        let volumes = storage.volumes(login).await.unwrap();
        let snapshots = storage.snapshots(login).await.unwrap();
        let volumes = volumes.into_iter().map(|one| (one.state, one.settling));
        let snapshots = snapshots.into_iter().map(|one| (one.state, one.settling));
        let all = image.into_iter().chain(volumes).chain(snapshots);
        all.map(|(state, settling)| format!("{state}{}", if settling { " …" } else { "" })).collect::<Vec<_>>()
    };
    assert_eq!(states().await, ["PENDING …", "CREATING …", "PENDING …"]);
    cloud.set_image_state(&image, "AVAILABLE");
    cloud.set_volume_state(&volume, "ERROR");
    cloud.set_snapshot_state(&snapshot, "COMPLETED");
    assert_eq!(states().await, ["AVAILABLE", "ERROR", "COMPLETED"]);
    cloud.remove_image(&image);
    cloud.remove_volume(&volume);
    cloud.remove_snapshot(&snapshot);
    assert_eq!(states().await, [""; 0]);
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
async fn looks_and_orders_fail_apart() {
    let Stage { cloud, mock, .. } = stage(Settings::default());
    let (driver, login) = (&mock as &dyn Driver, &mockuser());
    let storage = driver.storage().unwrap();
    cloud.fail(CallKind::Volumes, Times::Next(1), Kind::Unavailable);
    cloud.fail(CallKind::Order, Times::Next(1), Kind::TimedOut);
    assert_eq!(storage.volumes(login).await.unwrap_err().kind, Kind::Unavailable);
    assert_eq!(storage.snapshots(login).await.unwrap().len(), 3);
    assert_eq!(storage.destroy_volume(login, "vol1").await.unwrap_err().kind, Kind::TimedOut);
    assert_eq!(storage.volumes(login).await.unwrap().len(), 3, "nothing was done");
    storage.destroy_volume(login, "vol1").await.unwrap();
    let calls: Vec<_> = cloud.calls().into_iter().map(|call| (call.kind, call.ids.join(" "))).collect();
    assert_eq!(calls.last(), Some(&(CallKind::Order, "vol1".to_owned())));
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
