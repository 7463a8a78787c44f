use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::faults::{CallKind, Faults, Times};
use super::fixture::Furniture;
use super::settings::Settings;
use super::world::{Rules, World};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::drivers::{Error, Kind};
use crate::model::{ExposeSecret as _, Fault, Login, Secret};

/// The provider of a call that names none.
pub(super) const PROVIDER: &str = "default";

/// The mock cloud itself, apart from the driver that asks it: hands on it, for tests and for the demo. Cheap to clone; all
/// clones are the same cloud.
///
/// The hands reach one account: the default provider's and the user's of the settings, or what [`Cloud::of`] says.
#[derive(Clone)]
pub struct Cloud {
    shared: Arc<Shared>,
    provider: String,
    user: String,
}

struct Shared {
    settings: Settings,
    rules: Rules,
    clock: Arc<dyn Clock>,
    started_at: Timestamp,
    seed: u64,
    /// For faults only: worlds draw from chances of their own, so that a fault does not change their history.
    chance: Chance,
    state: Mutex<State>,
}

struct State {
    passwords: BTreeMap<String, Secret>,
    /// By provider and user.
    worlds: BTreeMap<(String, String), World>,
    faults: Faults,
    calls: VecDeque<Called>,
}

/// A call that reached the cloud, whatever became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    pub at: Timestamp,
    pub kind: CallKind,
    pub provider: String,
    pub user: String,
    /// The ids asked for, if it was about some; of very long ones, the beginning.
    pub ids: Vec<String>,
}

impl Cloud {
    /// A cloud that starts now. Chance is asked for a seed if the settings name none.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>, chance: &Chance) -> Self {
        let seed = settings.seed.unwrap_or_else(|| u64::from_le_bytes(chance.bytes()));
        let rules = Rules::of(&settings);
        let state = State {
            passwords: BTreeMap::from([(settings.user.clone(), settings.password.clone())]),
            worlds: BTreeMap::new(),
            faults: Faults::new(settings.faults.clone()),
            calls: VecDeque::new(),
        };
        Self {
            provider: PROVIDER.to_owned(),
            user: settings.user.clone(),
            shared: Arc::new(Shared {
                rules,
                started_at: clock.now(),
                clock,
                seed,
                chance: Chance::seeded(seed),
                state: Mutex::new(state),
                settings,
            }),
        }
    }

    /// The same cloud with hands on another account. `provider` in its canonical spelling.
    pub fn of(&self, provider: &str, user: &str) -> Self {
        Self { shared: self.shared.clone(), provider: provider.to_owned(), user: user.to_owned() }
    }

    /// Lets a user in, or gives him another password. A new user has no instances.
    pub fn set_password(&self, user: &str, password: &str) {
        self.state().passwords.insert(user.to_owned(), Secret::from(password));
    }

    /// Calls of this kind fail, by whomever and for whichever account. Comes after what was scripted for them before.
    pub fn fail(&self, call: CallKind, times: Times, kind: Kind) {
        self.state().faults.script(call, times, kind);
    }

    /// Every call to this cloud's provider fails, by whomever; those to other providers do not.
    pub fn take_down(&self, kind: Kind) {
        self.state().faults.take_down(&self.provider, kind);
    }

    /// Launches in this realm are refused, by whomever and for whichever account, for this reason.
    pub fn refuse_launches(&self, realm: &str, fault: Fault) {
        self.state().faults.lay_waste(realm, fault);
    }

    /// Ends every failure that [`Cloud::fail`], [`Cloud::take_down`] and [`Cloud::refuse_launches`] asked for. Faults of the settings
    /// go on.
    pub fn heal(&self) {
        self.state().faults.heal();
    }

    /// The newest calls, oldest first, of all accounts.
    pub fn calls(&self) -> Vec<Called> {
        self.state().calls.iter().cloned().collect()
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// Notes the call; it fails if it is to fail.
    pub(super) fn answer_phone(&self, call: Called) -> Result<(), Error> {
        let since_start = Duration::try_from(call.at.duration_since(self.shared.started_at)).unwrap_or_default();
        let (kind, provider) = (call.kind, call.provider.clone());
        let mut state = self.state();
        if state.calls.len() >= self.shared.settings.calls_kept {
            state.calls.pop_front();
        }
        state.calls.push_back(call);
        match state.faults.strike(kind, &provider, since_start, || self.shared.chance.roll()) {
            Some(kind) => Err(Error::new(kind, format!("The mock cloud fails on purpose: {kind:?}."))),
            None => Ok(()),
        }
    }

    /// Fails if nothing can be launched there.
    pub(super) fn admit_launch(&self, realm: &str) -> Result<(), Error> {
        self.state().faults.refuse(realm).map_or(Ok(()), Err)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub(super) fn check(&self, login: &Login) -> Result<(), Error> {
        let (user, password) = (&login.credentials.user, login.credentials.password.expose_secret());
        let state = self.state();
        match state.passwords.get(user) {
            Some(right) if right.expose_secret() == password => Ok(()),
            _ => Err(Error::new(Kind::Denied, "The mock cloud does not know this user and password.")),
        }
    }

    /// The account's world, caught up with the clock.
    pub(super) fn visit<T>(&self, visit: impl FnOnce(&mut World) -> Result<T, Error>) -> Result<T, Error> {
        let key = (self.provider.clone(), self.user.clone());
        let now = self.now();
        let mut state = self.state();
        let most = self.shared.settings.accounts_max;
        if !state.worlds.contains_key(&key) && state.worlds.len() >= most {
            return Err(Error::new(Kind::Forbidden, format!("The mock cloud keeps at most {most} accounts.")));
        }
        let world = state.worlds.entry(key).or_insert_with(|| self.new_world());
        world.advance(now);
        visit(world)
    }

    /// As it was at the cloud's start.
    fn new_world(&self) -> World {
        let Shared { settings, rules, started_at, seed, .. } = &*self.shared;
        let furnished = settings.fixture && self.user == settings.user;
        let furniture = if furnished { Furniture::reference(&self.user) } else { Furniture::default() };
        World::new(rules.clone(), &self.user, *started_at, world_seed(*seed, &self.provider, &self.user), furniture)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().expect("nobody panics while holding the cloud")
    }
}

/// Another history for each account, the same wherever and whenever it is asked for.
fn world_seed(seed: u64, provider: &str, user: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(provider)
        .chain_update([0])
        .chain_update(user)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}
