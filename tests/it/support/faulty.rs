//! A driver that fails when told to, around any other.

mod offers;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tracker::drivers::{
    Abilities, Addresses, Buckets, Driver, Error, Firewalls, Keys, Kind, Looked, Metrics, Networks, Storage,
};
use tracker::model::{
    Action, Collection, HardwareProfile, Image, Instance, InstanceId, Login, NewImage, NewInstance, Realm,
};

/// Counts the calls that go to a backend, from 1, and fails those it was told to; a failed call does not reach the inner
/// driver. Every method of the trait is passed on by name: a default one would slip past.
pub(crate) struct Faulty {
    inner: Arc<dyn Driver>,
    abilities: Abilities,
    /// Instead of the inner driver's own.
    firewalls: Option<Arc<dyn Firewalls>>,
    gate: Option<&'static Gate>,
    alias: Option<&'static Mutex<Option<String>>>,
    script: Mutex<Script>,
}

/// Holds a list that was answered already.
#[derive(Debug)]
pub(crate) struct Gate {
    shut: AtomicBool,
    held: Notify,
    opened: Notify,
}

impl Gate {
    pub(crate) const fn new() -> Self {
        Self { shut: AtomicBool::new(false), held: Notify::const_new(), opened: Notify::const_new() }
    }

    /// The next list of instances is held.
    pub(crate) fn shut(&self) {
        self.shut.store(true, Ordering::SeqCst);
    }

    /// Until one is.
    pub(crate) async fn holds(&self) {
        self.held.notified().await;
    }

    pub(crate) fn open(&self) {
        self.opened.notify_one();
    }

    async fn pass(&self) {
        if self.shut.swap(false, Ordering::SeqCst) {
            self.held.notify_one();
            self.opened.notified().await;
        }
    }
}

#[derive(Default)]
struct Script {
    calls: usize,
    fail: BTreeMap<usize, Kind>,
    fail_from: Option<(usize, Kind)>,
    panic: Option<usize>,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Driver>) -> Self {
        Self {
            abilities: inner.abilities().clone(),
            inner,
            firewalls: None,
            gate: None,
            alias: None,
            script: Mutex::default(),
        }
    }

    /// Declares these collections, whatever the inner driver has, and offers nothing besides.
    pub(crate) fn offering(mut self, collections: &'static [&'static str]) -> Self {
        self.abilities.collections = collections;
        self
    }

    /// Has these firewalls, which never fail on purpose. Whether they are declared is another matter.
    pub(crate) fn walled(mut self, firewalls: Arc<dyn Firewalls>) -> Self {
        self.firewalls = Some(firewalls);
        self
    }

    /// Lists of instances arrive through it.
    pub(crate) fn through(mut self, gate: &'static Gate) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Whoever asks is called so, if it says something.
    pub(crate) fn calling(mut self, alias: &'static Mutex<Option<String>>) -> Self {
        self.alias = Some(alias);
        self
    }

    /// The `number`th call from the beginning meets a bug.
    pub(crate) fn panic_call(self, number: usize) -> Self {
        self.script().panic = Some(number);
        self
    }

    /// The `number`th call from the beginning fails.
    pub(crate) fn fail_call(self, number: usize, kind: Kind) -> Self {
        self.script().fail.insert(number, kind);
        self
    }

    /// The `number`th call from the beginning fails, and all after it, but for those that fail otherwise.
    pub(crate) fn fail_from(self, number: usize, kind: Kind) -> Self {
        self.script().fail_from = Some((number, kind));
        self
    }

    /// How many calls came so far, failed ones included.
    pub(crate) fn calls(&self) -> usize {
        self.script().calls
    }

    fn declares(&self, collection: &str) -> bool {
        self.abilities.collections.contains(&collection)
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().expect("nobody panics with the script in hand")
    }

    async fn arrive(&self) {
        if let Some(gate) = self.gate {
            gate.pass().await;
        }
    }

    fn call(&self) -> Result<&dyn Driver, Error> {
        let mut script = self.script();
        script.calls += 1;
        let number = script.calls;
        let lasting = script.fail_from.filter(|&(first, _)| number >= first).map(|(_, kind)| kind);
        let kind = script.fail.get(&number).copied().or(lasting);
        let panics = script.panic == Some(number);
        drop(script);
        assert!(!panics, "call {number} panics on purpose");
        match kind {
            Some(kind) => Err(Error::new(kind, format!("call {number} fails on purpose: {kind:?}"))),
            None => Ok(&*self.inner),
        }
    }
}

#[async_trait]
impl Driver for Faulty {
    fn abilities(&self) -> &Abilities {
        &self.abilities
    }

    fn provider(&self, given: Option<&str>) -> Result<String, Error> {
        self.inner.provider(given)
    }

    async fn identify(&self, login: &Login) -> Result<String, Error> {
        let alias = self.alias.and_then(|alias| alias.lock().expect("no panic").clone());
        let identity = self.call()?.identify(login).await?;
        Ok(alias.unwrap_or(identity))
    }

    async fn instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        let answer = self.call()?.instances(login).await;
        self.arrive().await;
        answer
    }

    async fn instances_again(
        &self,
        login: &Login,
        known: &BTreeMap<InstanceId, Instance>,
        since: Timestamp,
    ) -> Result<Vec<Instance>, Error> {
        let answer = self.call()?.instances_again(login, known, since).await;
        self.arrive().await;
        answer
    }

    async fn may_modify(&self, login: &Login, collection: Collection, id: &str) -> Result<Option<bool>, Error> {
        self.call()?.may_modify(login, collection, id).await
    }

    async fn instances_by_id(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Vec<Instance>, Error> {
        self.call()?.instances_by_id(login, ids).await
    }

    async fn look_for_instances(&self, login: &Login, ids: &BTreeSet<InstanceId>) -> Result<Looked<Instance>, Error> {
        self.call()?.look_for_instances(login, ids).await
    }

    async fn realms(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        self.call()?.realms(login).await
    }

    async fn images(&self, login: &Login) -> Result<Vec<Image>, Error> {
        self.call()?.images(login).await
    }

    async fn images_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Image>, Error> {
        self.call()?.images_by_id(login, ids).await
    }

    async fn look_for_images(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Image>, Error> {
        self.call()?.look_for_images(login, ids).await
    }

    async fn create_image(&self, login: &Login, new: &NewImage) -> Result<Image, Error> {
        self.call()?.create_image(login, new).await
    }

    async fn destroy_image(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.call()?.destroy_image(login, id).await
    }

    async fn image(&self, login: &Login, id: &str) -> Result<Option<Image>, Error> {
        self.call()?.image(login, id).await
    }

    async fn hardware_profiles(&self, login: &Login) -> Result<Vec<HardwareProfile>, Error> {
        self.call()?.hardware_profiles(login).await
    }

    async fn create_instance(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        self.call()?.create_instance(login, new).await
    }

    async fn act(&self, login: &Login, id: &InstanceId, action: Action) -> Result<Option<Instance>, Error> {
        self.call()?.act(login, id, action).await
    }

    async fn instance(&self, login: &Login, id: &InstanceId) -> Result<Option<Instance>, Error> {
        self.call()?.instance(login, id).await
    }

    async fn realm(&self, login: &Login, id: &str) -> Result<Option<Realm>, Error> {
        self.call()?.realm(login, id).await
    }

    fn keys(&self) -> Option<&dyn Keys> {
        (self.declares("keys") && self.inner.keys().is_some()).then_some(self as &dyn Keys)
    }

    fn storage(&self) -> Option<&dyn Storage> {
        (self.declares("storage_volumes") && self.inner.storage().is_some()).then_some(self as &dyn Storage)
    }

    fn addresses(&self) -> Option<&dyn Addresses> {
        (self.declares("addresses") && self.inner.addresses().is_some()).then_some(self as &dyn Addresses)
    }

    fn firewalls(&self) -> Option<&dyn Firewalls> {
        let inner = self.declares("firewalls") && self.inner.firewalls().is_some();
        self.firewalls.as_deref().or_else(|| inner.then_some(self as &dyn Firewalls))
    }

    fn buckets(&self) -> Option<&dyn Buckets> {
        (self.declares("buckets") && self.inner.buckets().is_some()).then_some(self as &dyn Buckets)
    }

    fn metrics(&self) -> Option<&dyn Metrics> {
        (self.declares("metrics") && self.inner.metrics().is_some()).then_some(self as &dyn Metrics)
    }

    fn networks(&self) -> Option<&dyn Networks> {
        (self.declares("networks") && self.inner.networks().is_some()).then_some(self as &dyn Networks)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tracker::chance::Chance;
    use tracker::clock::FakeClock;
    use tracker::drivers::{Mock, MockCloud, MockSettings};
    use tracker::model::{Credentials, DriverId};

    use super::*;
    use crate::contract::offers::{self, calls};

    fn login() -> Login {
        let credentials = Credentials { user: "mockuser".to_owned(), password: "mockpassword".into() };
        Login { driver: DriverId::new("mock"), provider: None, credentials }
    }

    fn cloud() -> MockCloud {
        let clock = Arc::new(FakeClock::at(Timestamp::UNIX_EPOCH));
        MockCloud::new(MockSettings::default(), clock, &Chance::seeded(1))
    }

    #[tokio::test]
    async fn only_the_call_that_is_told_fails_and_it_does_not_go_through() {
        let cloud = cloud();
        let faulty = Faulty::new(Arc::new(Mock::of(cloud.clone()))).fail_call(2, Kind::Unavailable);
        assert!(faulty.instances(&login()).await.is_ok());
        let error = faulty.act(&login(), &"inst1".into(), Action::Stop).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
        assert!(faulty.realm(&login(), "us").await.unwrap().is_some());
        assert_eq!((faulty.calls(), cloud.calls().len()), (3, 2));
    }

    #[tokio::test]
    async fn every_method_counts_once() {
        let faulty = Faulty::new(Arc::new(Mock::of(cloud()))).fail_from(1, Kind::TimedOut).fail_call(3, Kind::Denied);
        let (login, id) = (login(), InstanceId::from("inst1"));
        let kinds = [
            faulty.identify(&login).await.err(),
            faulty.instances(&login).await.err(),
            faulty.instances_by_id(&login, &BTreeSet::new()).await.err(),
            faulty.realms(&login).await.err(),
            faulty.hardware_profiles(&login).await.err(),
            faulty.create_instance(&login, &NewInstance::default()).await.err(),
            faulty.act(&login, &id, Action::Stop).await.err(),
            faulty.instance(&login, &id).await.err(),
            faulty.realm(&login, "us").await.err(),
        ]
        .map(|error| error.map(|error| error.kind));
        let mut expected = [Some(Kind::TimedOut); 9];
        expected[2] = Some(Kind::Denied);
        assert_eq!(kinds, expected);
        assert_eq!(faulty.calls(), 9);
    }

    #[tokio::test]
    async fn every_method_of_what_not_every_cloud_has_counts_once() {
        let cloud = cloud();
        let faulty = Faulty::new(Arc::new(Mock::of(cloud.clone()))).fail_from(1, Kind::TimedOut);
        let nobody = offers::MOCKS_NOBODY;
        let outcomes = calls::all(&faulty, &login(), &nobody).await;
        assert_eq!(outcomes.len(), 48, "whoever adds a method adds a call of it: {outcomes:?}");
        for (call, error) in &outcomes {
            assert_eq!(error.as_ref().map(|error| error.kind), Some(Kind::TimedOut), "{call}");
        }
        assert_eq!((faulty.calls(), cloud.calls().len()), (outcomes.len(), 0), "none got through");

        let passing = Faulty::new(Arc::new(Mock::of(cloud.clone())));
        let outcomes = calls::all(&passing, &login(), &nobody).await;
        assert_eq!((passing.calls(), cloud.calls().len()), (outcomes.len(), outcomes.len()), "each goes through once");
    }

    #[test]
    fn what_is_not_declared_is_not_offered() {
        let faulty = Faulty::new(Arc::new(Mock::of(cloud()))).offering(&["realms", "keys"]);
        let driver: &dyn Driver = &faulty;
        assert!(driver.keys().is_some() && driver.storage().is_none() && driver.networks().is_none());
    }
}
