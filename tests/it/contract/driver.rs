//! What every driver promises: the documentation of `Driver`, clause by clause.
//!
//! A new driver is a function that sets up a [`Subject`] and a word in `contract!`; it then keeps every clause. `None`: it
//! cannot be set up here, which has been said.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpSocket;
use tracker::chance::Chance;
use tracker::clock::{Clock as _, FakeClock, SystemClock};
use tracker::drivers::{
    DeltacloudSettings, Driver, Ec2Settings, Error, Kind, Mock, MockCloud, MockFault, MockLife, MockRate, MockSettings,
    MockTrouble, OpenStackSettings, Settings,
};
use tracker::model::{
    Action, Credentials, DriverId, HardwareProfile, Instance, InstanceId, InstanceState, Login, NewInstance,
};

use crate::support::drivers;
use crate::support::faulty::Faulty;
use crate::support::moto::{Moto, OWN_IMAGE};
use crate::support::nova::{self, Nova};
use crate::support::world::{PASSWORD, USER, World};

macro_rules! contract {
    ($($driver:ident)*) => {
        $(mod $driver {
            clauses! { $driver:
                the_name_is_the_id_with_capitals
                a_provider_has_one_canonical_name
                the_account_has_one_name
                wrong_credentials_are_denied_on_every_call
                a_backend_that_cannot_be_reached_is_an_error_of_every_call
                lists_are_in_the_order_of_ids
                hardware_profiles_are_in_the_order_of_size
                what_is_created_is_as_it_was_asked_for
                what_is_created_is_listed
                several_are_created_at_once
                what_makes_no_sense_is_invalid_and_creates_nothing
                a_look_finds_what_the_list_shows
                a_look_leaves_out_what_is_not_there
                a_realm_is_found_by_id_or_clearly_not_there
                an_image_is_found_by_id_or_clearly_not_there
                the_actions_shown_are_the_machines
                what_the_state_does_not_allow_is_a_conflict_and_changes_nothing
                acting_on_an_unknown_instance_finds_nothing
                a_life_from_create_to_destroy
                only_what_is_between_states_is_settling
            }
        })*
    };
}

macro_rules! clauses {
    ($driver:ident: $($clause:ident)*) => {
        $(#[tokio::test]
        async fn $clause() {
            if let Some(subject) = super::$driver().await {
                super::$clause(subject).await;
            }
        })*
    };
}

contract! {
    mock_reference mock_lively mock_behind_faulty ec2 openstack
    deltacloud_over_mock deltacloud_over_lively_mock deltacloud_over_ec2
}

/// A driver over a backend of its own, and what one has to know to ask it.
pub(super) struct Subject {
    pub(super) driver: Arc<dyn Driver>,
    pub(super) login: Login,
    /// The right user with a wrong password, and a user that nobody knows.
    pub(super) wrong: [Login; 2],
    pub(super) image: &'static str,
    /// Not the one it would choose by itself.
    pub(super) realm: &'static str,
    /// Not the one it would choose by itself.
    profile: &'static str,
    /// Ids of the right form that nothing has.
    pub(super) unknown_instance: &'static str,
    pub(super) unknown_image: &'static str,
    /// The same kind of driver, its backend out of reach.
    pub(super) cut_off: Arc<dyn Driver>,
    /// What the backend can see to be wrong.
    nonsense: Vec<NewInstance>,
    /// What the backend takes although the state does not offer it, and the state that it leads to. Nothing besides.
    taken: &'static [(InstanceState, Action, InstanceState)],
    /// What is behind it has a machine of its own, so that an instance may offer less than the driver's.
    offers_less: bool,
    /// Features that it declares, and what is behind it does not have.
    ignores: &'static [&'static str],
    /// Gives the backend time to get on.
    pub(super) wait: Box<dyn Fn() + Send + Sync>,
}

pub(super) async fn mock_reference() -> Option<Subject> {
    Some(mock(MockSettings::default()))
}

/// With its delays, but nothing that nobody asked for.
pub(super) async fn mock_lively() -> Option<Subject> {
    Some(mock(MockSettings { lively: true, life: MockLife::quiet(), ..MockSettings::default() }))
}

/// The wrapper that tests put around drivers passes everything on.
pub(super) async fn mock_behind_faulty() -> Option<Subject> {
    let subject = mock(MockSettings::default());
    let wrapped = |driver| Arc::new(Faulty::new(driver));
    Some(Subject { driver: wrapped(subject.driver), cut_off: wrapped(subject.cut_off), ..subject })
}

fn mock(settings: MockSettings) -> Subject {
    let down = MockFault {
        calls: Vec::new(),
        kind: MockTrouble::Unavailable,
        rate: MockRate::ALWAYS,
        from_s: 0,
        until_s: None,
        after_s: None,
    };
    let broken = MockSettings { faults: vec![down], ..settings.clone() };
    let clock = Arc::new(FakeClock::at(Timestamp::from_second(1_700_000_000).unwrap()));
    let login = |user: &str, password: &str| Login {
        driver: DriverId::new("mock"),
        provider: None,
        credentials: Credentials { user: user.to_owned(), password: password.into() },
    };
    let driver = |settings| -> Arc<dyn Driver> {
        Arc::new(Mock::of(MockCloud::new(settings, clock.clone(), &Chance::seeded(1))))
    };
    Subject {
        driver: driver(settings),
        cut_off: driver(broken),
        login: login("mockuser", "mockpassword"),
        wrong: [login("mockuser", "wrong"), login("nobody", "mockpassword")],
        image: "img2",
        realm: "eu",
        profile: "m1-xlarge",
        unknown_instance: "inst999",
        unknown_image: "img999",
        // As Deltacloud's own mock driver, it takes any image and any realm.
        nonsense: vec![of_profile("img2", "x9.gigantic")],
        taken: &[],
        offers_less: false,
        ignores: &[],
        wait: Box::new(move || clock.advance(Duration::from_secs(1))),
    }
}

/// An account of its own in the simulated AWS, which verifies signatures by itself and refuses what EC2 refuses.
pub(super) async fn ec2() -> Option<Subject> {
    let moto = Moto::shared("the driver contract's clauses for ec2")?;
    let right = moto.new_account();
    let login = |credentials| Login { driver: DriverId::new("ec2"), provider: None, credentials };
    let wrong_secret = Credentials { password: "wrong".into(), ..right.clone() };
    let unknown_key = Credentials { user: "AKIAI44QH8DHBEXAMPLE".to_owned(), ..right.clone() };
    Some(Subject {
        driver: ec2_at(moto.endpoint()),
        cut_off: ec2_at(&format!("http://127.0.0.1:{}", port_of_nobody())),
        login: login(right),
        wrong: [login(wrong_secret), login(unknown_key)],
        image: OWN_IMAGE,
        realm: "us-east-1c",
        profile: "m5d.large",
        unknown_instance: "i-00000000000000000",
        unknown_image: "ami-00000000",
        nonsense: vec![
            of_profile(OWN_IMAGE, "x9.gigantic"),
            of_image("ami-00000000"),
            of_image("Fedora"),
            NewInstance { realm: Some("eu-west-1a".to_owned()), ..of_image(OWN_IMAGE) },
        ],
        taken: &[
            (InstanceState::Running, Action::Start, InstanceState::Running),
            (InstanceState::Running, Action::Destroy, InstanceState::Finish),
            (InstanceState::Stopped, Action::Stop, InstanceState::Stopped),
            (InstanceState::Finish, Action::Reboot, InstanceState::Finish),
            (InstanceState::Finish, Action::Destroy, InstanceState::Finish),
        ],
        offers_less: false,
        ignores: &[],
        // It is at rest by the next look.
        wait: Box::new(|| ()),
    })
}

/// Another Tracker as upstream, which has the reference's cloud.
pub(super) async fn deltacloud_over_mock() -> Option<Subject> {
    Some(over(mock(MockSettings::default()), |_| {}).await)
}

/// As [`deltacloud_over_mock`], with the reference's cloud taking its time.
pub(super) async fn deltacloud_over_lively_mock() -> Option<Subject> {
    let life = |mock: &mut MockSettings| (mock.lively, mock.life) = (true, MockLife::quiet());
    Some(over(mock(MockSettings::default()), |settings| life(&mut settings.drivers.mock)).await)
}

/// As [`deltacloud_over_mock`], with the simulated AWS behind it.
pub(super) async fn deltacloud_over_ec2() -> Option<Subject> {
    let below = ec2().await?;
    let moto = Moto::shared("the driver contract's clauses for deltacloud over ec2")?;
    let endpoint = moto.endpoint().parse().expect("a URL");
    Some(over(below, |settings| settings.drivers.ec2.endpoint = Some(endpoint)).await)
}

/// A Tracker in front of another one that asks this subject's kind of cloud. What it shows is what the subject knows.
async fn over(below: Subject, edit: impl FnOnce(&mut tracker::settings::Settings)) -> Subject {
    let world = World::with(|settings| {
        settings.drivers.mock.fixture = true;
        edit(settings);
    })
    .await;
    if below.login.driver.as_str() == "ec2" {
        // Signatures and refusals are judged by the time.
        world.clock.set(SystemClock.now());
    }
    let choice = format!(";driver={}", below.login.driver);
    let through = |login: &Login| Login {
        driver: DriverId::new("deltacloud"),
        provider: Some(choice.clone()),
        credentials: login.credentials.clone(),
    };
    let (driver, cut_off) =
        (deltacloud_at(world.base()), deltacloud_at(&format!("http://127.0.0.1:{}/api", port_of_nobody())));
    let login = match below.login.driver.as_str() {
        "mock" => {
            let credentials = Credentials { user: USER.to_owned(), password: PASSWORD.into() };
            through(&Login { credentials, ..below.login })
        }
        _ => through(&below.login),
    };
    let world = Mutex::new(world);
    Subject {
        driver,
        cut_off,
        login,
        wrong: below.wrong.each_ref().map(through),
        // It asks for what is offered, and nothing besides.
        taken: &[],
        offers_less: true,
        ignores: if choice == ";driver=ec2" { &["user_name"] } else { &[] },
        wait: Box::new(move || {
            (below.wait)();
            world.lock().expect("nobody panics with the world in hand").clock.advance(Duration::from_secs(1));
        }),
        ..below
    }
}

fn deltacloud_at(url: &str) -> Arc<dyn Driver> {
    let deltacloud = DeltacloudSettings { url: Some(url.parse().expect("a URL")), ..DeltacloudSettings::default() };
    registered("deltacloud", Settings { deltacloud, ..Settings::default() })
}

fn ec2_at(endpoint: &str) -> Arc<dyn Driver> {
    let ec2 = Ec2Settings { endpoint: Some(endpoint.parse().expect("a URL")), ..Ec2Settings::default() };
    registered("ec2", Settings { ec2, ..Settings::default() })
}

fn registered(id: &str, settings: Settings) -> Arc<dyn Driver> {
    drivers::driver(id, &settings, Arc::new(SystemClock), &[])
}

/// A project of its own in a small OpenStack, which refuses what Keystone, Nova, Glance and Cinder refuse.
pub(super) async fn openstack() -> Option<Subject> {
    let cloud = Nova::start().await;
    let login = |user: &str, password: &str| Login {
        driver: DriverId::new("openstack"),
        provider: None,
        credentials: Credentials { user: user.to_owned(), password: password.into() },
    };
    Some(Subject {
        offers_less: false,
        ignores: &[],
        driver: openstack_at(&cloud.auth_url()),
        cut_off: openstack_at(&format!("http://127.0.0.1:{}", port_of_nobody())),
        login: login(nova::USER, nova::PASSWORD),
        wrong: [login(nova::USER, "wrong"), login("nobody+web", nova::PASSWORD)],
        image: nova::IMAGE,
        realm: nova::ZONE,
        profile: "2",
        unknown_instance: nova::NOBODY,
        unknown_image: nova::NOBODY,
        nonsense: vec![
            of_profile(nova::IMAGE, "x9.gigantic"),
            of_image(nova::NOBODY),
            NewInstance { realm: Some("atlantis".to_owned()), ..of_image(nova::IMAGE) },
        ],
        taken: &[],
        wait: Box::new(move || cloud.get_on()),
    })
}

fn openstack_at(auth_url: &str) -> Arc<dyn Driver> {
    let auth_url = Some(auth_url.parse().expect("a URL"));
    let openstack = OpenStackSettings { auth_url, page_size: 4, looks_max: 3, ..OpenStackSettings::default() };
    registered("openstack", Settings { openstack, ..Settings::default() })
}

/// Taken, so that nobody else gets it, and not listened on.
fn port_of_nobody() -> u16 {
    static HELD: OnceLock<TcpSocket> = OnceLock::new();
    let held = HELD.get_or_init(|| {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        socket
    });
    held.local_addr().expect("bound").port()
}

fn of_image(image: &str) -> NewInstance {
    NewInstance { image: image.to_owned(), count: 1, ..NewInstance::default() }
}

fn of_profile(image: &str, profile: &str) -> NewInstance {
    NewInstance { hardware_profile: Some(profile.to_owned()), ..of_image(image) }
}

const ACTIONS: [Action; 4] = [Action::Start, Action::Stop, Action::Reboot, Action::Destroy];

/// How often a backend is asked for something that takes it time.
pub(super) const LOOKS_MAX: usize = 600;

impl Subject {
    fn new_instance(&self) -> NewInstance {
        of_image(self.image)
    }

    async fn create(&self) -> Instance {
        let mut created = self.driver.create_instance(&self.login, &self.new_instance()).await.unwrap();
        assert_eq!(created.len(), 1);
        created.remove(0)
    }

    pub(super) async fn create_running(&self) -> Instance {
        let id = self.create().await.id;
        self.reaches(&id, InstanceState::Running).await
    }

    /// A new one, brought to this state; `None`: it is gone, as what has ended may be.
    async fn create_in(&self, state: InstanceState) -> Option<Instance> {
        let running = self.create_running().await;
        if state == InstanceState::Running {
            return Some(running);
        }
        self.act(&running.id, Action::Stop).await.unwrap();
        let stopped = self.reaches(&running.id, InstanceState::Stopped).await;
        if state == InstanceState::Stopped {
            return Some(stopped);
        }
        self.act(&running.id, Action::Destroy).await.unwrap();
        self.ends(&running.id).await
    }

    async fn list(&self) -> Vec<Instance> {
        self.driver.instances(&self.login).await.unwrap()
    }

    pub(super) async fn look(&self, id: &InstanceId) -> Option<Instance> {
        self.driver.instance(&self.login, id).await.unwrap()
    }

    async fn act(&self, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        self.driver.act(&self.login, id, action).await
    }

    async fn reaches(&self, id: &InstanceId, state: InstanceState) -> Instance {
        let mut seen = Vec::new();
        for _ in 0..LOOKS_MAX {
            let instance = self.look(id).await.expect("an instance that nobody destroyed is there");
            if instance.state == state {
                return instance;
            }
            if seen.last() != Some(&instance.state) {
                seen.push(instance.state);
            }
            (self.wait)();
        }
        panic!("{id} never was {state}, only {seen:?}");
    }

    /// As it is when it has ended, unless it is gone by then.
    async fn ends(&self, id: &InstanceId) -> Option<Instance> {
        for _ in 0..LOOKS_MAX {
            match self.look(id).await {
                Some(instance) if instance.state != InstanceState::Finish => (self.wait)(),
                ended => return ended,
            }
        }
        panic!("{id} is neither gone nor finished");
    }
}

async fn the_name_is_the_id_with_capitals(subject: Subject) {
    let abilities = subject.driver.abilities();
    assert_eq!(abilities.name.to_lowercase(), abilities.id);
    assert_eq!(abilities.id, abilities.id.to_lowercase());
    assert_eq!(abilities.machine.states()[0], "start");
    for (collection, feature) in abilities.features {
        assert!(abilities.collections.contains(collection), "{} of {collection}", feature.name);
        assert!(["create", "index"].contains(&feature.operation), "{feature:?}");
    }
}

async fn a_provider_has_one_canonical_name(subject: Subject) {
    let provider = |given: Option<&str>| subject.driver.provider(given).unwrap();
    let canonical = provider(subject.login.provider.as_deref());
    assert!(!canonical.is_empty());
    assert_eq!(provider(Some(&canonical)), canonical, "its own name");
    assert_eq!(provider(Some(&canonical.to_uppercase())), canonical, "in capitals");
    assert!(!provider(None).is_empty());
    assert_eq!(provider(None), provider(Some(&provider(None))), "the default has a name");
    for known in subject.driver.abilities().providers {
        assert_eq!(provider(Some(known.id)), known.id);
    }
}

async fn the_account_has_one_name(subject: Subject) {
    let name = subject.driver.identify(&subject.login).await.unwrap();
    assert!(!name.is_empty());
    assert_eq!(subject.driver.identify(&subject.login).await.unwrap(), name);
}

async fn wrong_credentials_are_denied_on_every_call(subject: Subject) {
    let id = subject.create_running().await.id;
    let before = subject.list().await;
    let driver = &subject.driver;
    for wrong in &subject.wrong {
        let check = |what: &str, error: Option<Error>| {
            let user = &wrong.credentials.user;
            assert_eq!(error.map(|error| error.kind), Some(Kind::Denied), "{what} by {user}");
        };
        check("identify", driver.identify(wrong).await.err());
        check("instances", driver.instances(wrong).await.err());
        check("instances_by_id", driver.instances_by_id(wrong, &BTreeSet::from([id.clone()])).await.err());
        check("instance", driver.instance(wrong, &id).await.err());
        check("realms", driver.realms(wrong).await.err());
        check("realm", driver.realm(wrong, subject.realm).await.err());
        check("images", driver.images(wrong).await.err());
        check("image", driver.image(wrong, subject.image).await.err());
        check("create_instance", driver.create_instance(wrong, &subject.new_instance()).await.err());
        for action in ACTIONS {
            check(action.as_str(), driver.act(wrong, &id, action).await.err());
        }
        if driver.abilities().open_hardware_profiles {
            assert_eq!(
                driver.hardware_profiles(wrong).await.unwrap(),
                driver.hardware_profiles(&subject.login).await.unwrap(),
                "open to everybody"
            );
        } else {
            check("hardware_profiles", driver.hardware_profiles(wrong).await.err());
        }
    }
    assert_eq!(subject.list().await, before, "nothing was done");
}

async fn a_backend_that_cannot_be_reached_is_an_error_of_every_call(subject: Subject) {
    let (driver, login) = (&subject.cut_off, &subject.login);
    let check = |what: &str, error: Option<Error>| {
        let error = error.unwrap_or_else(|| panic!("{what} had an answer"));
        assert!([Kind::Unavailable, Kind::TimedOut].contains(&error.kind), "{what}: {:?} {error}", error.kind);
    };
    let id = InstanceId::from(subject.unknown_instance);
    check("identify", driver.identify(login).await.err());
    check("instances", driver.instances(login).await.err());
    check("instances_by_id", driver.instances_by_id(login, &BTreeSet::from([id.clone()])).await.err());
    check("instance", driver.instance(login, &id).await.err());
    check("realms", driver.realms(login).await.err());
    check("realm", driver.realm(login, subject.realm).await.err());
    check("images", driver.images(login).await.err());
    check("image", driver.image(login, subject.image).await.err());
    check("hardware_profiles", driver.hardware_profiles(login).await.err());
    check("create_instance", driver.create_instance(login, &subject.new_instance()).await.err());
    for action in ACTIONS {
        check(action.as_str(), driver.act(login, &id, action).await.err());
    }
}

async fn lists_are_in_the_order_of_ids(subject: Subject) {
    for _ in 0..12 {
        subject.create().await;
    }
    let instances: Vec<String> = subject.list().await.into_iter().map(|one| one.id.0).collect();
    let realms: Vec<String> =
        subject.driver.realms(&subject.login).await.unwrap().into_iter().map(|one| one.id).collect();
    assert!(instances.len() >= 12 && instances.is_sorted_by(|a, b| a < b), "{instances:?}");
    assert!(!realms.is_empty() && realms.is_sorted_by(|a, b| a < b), "{realms:?}");
}

async fn hardware_profiles_are_in_the_order_of_size(subject: Subject) {
    let profiles = subject.driver.hardware_profiles(&subject.login).await.unwrap();
    let size = |profile: &HardwareProfile| {
        let measure = |name| {
            let property = profile.properties.iter().find(|property| property.name == name)?;
            Some(property.value.parse::<f64>().expect("cpu and memory are numbers"))
        };
        match (measure("cpu"), measure("memory")) {
            (Some(cpu), Some(memory)) => (cpu, memory),
            _ => (f64::INFINITY, f64::INFINITY),
        }
    };
    assert!(profiles.iter().any(|profile| profile.id == subject.profile));
    assert!(profiles.is_sorted_by(|a, b| size(a) <= size(b)), "{profiles:?}");
}

async fn what_is_created_is_as_it_was_asked_for(subject: Subject) {
    let declared = subject.driver.abilities().features.iter().any(|(_, feature)| feature.name == "user_name");
    let named = declared && !subject.ignores.contains(&"user_name");
    let new = NewInstance {
        realm: Some(subject.realm.to_owned()),
        hardware_profile: Some(subject.profile.to_owned()),
        name: named.then(|| "web".to_owned()),
        ..subject.new_instance()
    };
    let created = subject.driver.create_instance(&subject.login, &new).await.unwrap().remove(0);
    let looked = subject.look(&created.id).await.unwrap();
    for instance in [created, looked] {
        assert_eq!(instance.image.as_deref(), Some(subject.image));
        assert_eq!(instance.realm, new.realm);
        assert_eq!(instance.hardware_profile, new.hardware_profile);
        if named {
            assert_eq!(instance.name.as_deref(), Some("web"));
        }
        assert!([InstanceState::Pending, InstanceState::Running].contains(&instance.state), "{}", instance.state);
        assert!(!instance.native_state.is_empty());
    }
}

async fn what_is_created_is_listed(subject: Subject) {
    let before = ids(&subject.list().await);
    let created = subject.create().await;
    assert!(!before.contains(&created.id));
    let mut expected = before;
    expected.insert(created.id);
    assert_eq!(ids(&subject.list().await), expected);
}

async fn several_are_created_at_once(subject: Subject) {
    let new = NewInstance { count: 3, ..subject.new_instance() };
    let created = subject.driver.create_instance(&subject.login, &new).await.unwrap();
    assert_eq!((created.len(), ids(&created).len()), (3, 3));
    assert!(ids(&created).is_subset(&ids(&subject.list().await)));
}

async fn what_makes_no_sense_is_invalid_and_creates_nothing(subject: Subject) {
    let before = ids(&subject.list().await);
    assert!(!subject.nonsense.is_empty());
    for nonsense in &subject.nonsense {
        let error = subject.driver.create_instance(&subject.login, nonsense).await.expect_err(&format!("{nonsense:?}"));
        assert_eq!(error.kind, Kind::Invalid, "{error}");
    }
    assert_eq!(ids(&subject.list().await), before);
}

async fn a_look_finds_what_the_list_shows(subject: Subject) {
    subject.create_running().await;
    // What is announced need not be said by a look: what was said last then holds.
    let known = |look: Vec<Instance>, list: &[Instance]| -> Vec<Instance> {
        let filled = |(one, listed): (Instance, &Instance)| Instance {
            announced: one.announced.or_else(|| listed.announced.clone()),
            ..one
        };
        look.into_iter().zip(list).map(filled).collect()
    };
    let list = subject.list().await;
    assert!(!list.is_empty());
    let look = subject.driver.instances_by_id(&subject.login, &ids(&list)).await.unwrap();
    assert_eq!(look.len(), list.len());
    assert_eq!(known(look, &list), list);
    for instance in list {
        let look = subject.look(&instance.id).await.into_iter().collect();
        assert_eq!(known(look, std::slice::from_ref(&instance)), [instance]);
    }
}

async fn a_look_leaves_out_what_is_not_there(subject: Subject) {
    let id = subject.create().await.id;
    let unknown = InstanceId::from(subject.unknown_instance);
    let look = async |ids: BTreeSet<InstanceId>| {
        let found = subject.driver.instances_by_id(&subject.login, &ids).await.unwrap();
        found.into_iter().map(|instance| instance.id).collect::<Vec<_>>()
    };
    assert_eq!(look(BTreeSet::from([unknown.clone(), id.clone()])).await, [id]);
    assert_eq!(look(BTreeSet::from([unknown.clone()])).await, []);
    assert_eq!(look(BTreeSet::new()).await, [], "asked for nothing, it does not answer with everything");
    assert_eq!(subject.look(&unknown).await, None);
}

async fn a_realm_is_found_by_id_or_clearly_not_there(subject: Subject) {
    let realms = subject.driver.realms(&subject.login).await.unwrap();
    assert!(realms.iter().any(|realm| realm.id == subject.realm));
    for realm in realms {
        let id = realm.id.clone();
        assert_eq!(subject.driver.realm(&subject.login, &id).await.unwrap(), Some(realm));
    }
    assert_eq!(subject.driver.realm(&subject.login, "atlantis-1z").await.unwrap(), None);
}

async fn an_image_is_found_by_id_or_clearly_not_there(subject: Subject) {
    let images = subject.driver.images(&subject.login).await.unwrap();
    let listed = images.into_iter().find(|image| image.id == subject.image);
    assert!(listed.is_some());
    assert_eq!(subject.driver.image(&subject.login, subject.image).await.unwrap(), listed);
    assert_eq!(subject.driver.image(&subject.login, subject.unknown_image).await.unwrap(), None);
}

async fn the_actions_shown_are_the_machines(subject: Subject) {
    let machine = subject.driver.abilities().machine;
    let check = |instance: &Instance| {
        let mut most = machine.actions(instance.state);
        if subject.offers_less {
            most.retain(|action| instance.actions.contains(action));
        }
        assert_eq!(instance.actions, most, "{instance:?}");
    };
    check(&subject.create().await);
    let running = subject.create_running().await;
    assert!(running.actions.contains(&Action::Stop), "{:?}", running.actions);
    check(&subject.act(&running.id, Action::Stop).await.unwrap().unwrap());
    check(&subject.reaches(&running.id, InstanceState::Stopped).await);
    subject.list().await.iter().for_each(check);
}

async fn what_the_state_does_not_allow_is_a_conflict_and_changes_nothing(subject: Subject) {
    for state in [InstanceState::Running, InstanceState::Stopped, InstanceState::Finish] {
        for action in ACTIONS {
            // What has ended may be gone.
            let Some(instance) = subject.create_in(state).await else { continue };
            if instance.actions.contains(&action) {
                continue;
            }
            let answer = subject.act(&instance.id, action).await;
            if let Some((.., to)) = subject.taken.iter().find(|taken| (taken.0, taken.1) == (state, action)) {
                answer.unwrap_or_else(|error| panic!("{action:?} while {state}: {error}"));
                subject.reaches(&instance.id, *to).await;
            } else {
                let error = answer.expect_err("refused");
                assert_eq!(error.kind, Kind::Conflict, "{action:?} while {state}: {error}");
                assert_eq!(subject.look(&instance.id).await, Some(instance));
            }
        }
    }
}

async fn acting_on_an_unknown_instance_finds_nothing(subject: Subject) {
    for action in ACTIONS {
        let error = subject.act(&subject.unknown_instance.into(), action).await.unwrap_err();
        assert_eq!(error.kind, Kind::NotFound, "{action:?}: {error}");
    }
}

async fn a_life_from_create_to_destroy(subject: Subject) {
    let id = subject.create_running().await.id;
    let act = async |action| subject.act(&id, action).await.unwrap();

    let rebooted = act(Action::Reboot).await.expect("still there");
    assert_eq!(rebooted.id, id);
    subject.reaches(&id, InstanceState::Running).await;

    let stopped = act(Action::Stop).await.expect("still there");
    assert_ne!(stopped.state, InstanceState::Running, "read back at once");
    subject.reaches(&id, InstanceState::Stopped).await;

    let started = act(Action::Start).await.expect("still there");
    assert_ne!(started.state, InstanceState::Stopped, "read back at once");
    subject.reaches(&id, InstanceState::Running).await;

    act(Action::Stop).await;
    subject.reaches(&id, InstanceState::Stopped).await;
    act(Action::Destroy).await;
    subject.ends(&id).await;
}

async fn only_what_is_between_states_is_settling(subject: Subject) {
    let check = |instance: &Instance| {
        let between = [InstanceState::Pending, InstanceState::Stopping].contains(&instance.state);
        assert!(!between || instance.settling, "{} is about to move", instance.state);
        let at_rest = [InstanceState::Running, InstanceState::Stopped, InstanceState::Finish].contains(&instance.state);
        assert!(!at_rest || !instance.settling, "{} stays", instance.state);
    };
    check(&subject.create().await);
    let id = subject.create_running().await.id;
    check(&subject.look(&id).await.unwrap());
    check(&subject.act(&id, Action::Stop).await.unwrap().unwrap());
    check(&subject.reaches(&id, InstanceState::Stopped).await);
}

fn ids(instances: &[Instance]) -> BTreeSet<InstanceId> {
    instances.iter().map(|instance| instance.id.clone()).collect()
}
