use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tracing::error;

use crate::model::{AccountId, AccountKey, Delivery, Hook, HookId};
use crate::store::{self, Store};

/// Hooks and accounts in memory. A hook is good as long as claims name its version; opening a sealed one for every delivery
/// would cost more than sending it.
pub(super) struct KnownHooks {
    store: Arc<dyn Store>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    hooks: HashMap<HookId, Arc<Hook>>,
    /// Never change.
    accounts: HashMap<AccountId, AccountKey>,
    /// Hooks that cannot be read and were complained of.
    unreadable: HashSet<HookId>,
    unreadable_accounts: HashSet<AccountId>,
}

/// Whose hook it is.
enum Owner {
    Known(AccountKey),
    /// Its last hook was removed.
    Gone,
    /// Why, without what is in it.
    Unreadable(String),
}

/// What a delivery is to be done with.
#[derive(Clone)]
pub(super) enum Target {
    Hook(Arc<Hook>, AccountKey),
    /// Removed or disabled since.
    Nobody,
    /// Why it cannot be read, without what is in it.
    Unreadable(String),
}

/// Hooks kept in memory; beyond that they are forgotten and read again. A few hundred bytes each.
const HOOKS_MAX: usize = 50_000;

impl KnownHooks {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, kept: Mutex::default() }
    }

    /// The targets of these, by hook.
    pub(super) async fn targets(&self, deliveries: &[Delivery]) -> Result<HashMap<HookId, Target>, store::Error> {
        let mut accounts: HashMap<AccountId, Owner> = HashMap::new();
        let wanted: BTreeSet<AccountId> = deliveries.iter().map(|delivery| delivery.account).collect();
        for account in wanted {
            accounts.insert(account, self.account(account).await?);
        }
        let mut targets = HashMap::new();
        let mut missing = Vec::new();
        {
            let kept = self.kept();
            for Delivery { account, hook, hook_version, .. } in deliveries {
                match kept.hooks.get(hook).filter(|kept| kept.version >= *hook_version) {
                    _ if targets.contains_key(hook) => {}
                    Some(found) => drop(targets.insert(hook.clone(), target(found, accounts.get(account)))),
                    None => {
                        // Until it is found.
                        targets.insert(hook.clone(), Target::Nobody);
                        missing.push((*account, hook.clone()));
                    }
                }
            }
        }
        if missing.is_empty() {
            return Ok(targets);
        }
        let found = self.store.hooks_by_id(&missing).await?;
        let owners: HashMap<&HookId, AccountId> = missing.iter().map(|(account, id)| (id, *account)).collect();
        let mut kept = self.kept();
        if kept.hooks.len() + found.len() > HOOKS_MAX {
            kept.hooks.clear();
            kept.unreadable.clear();
        }
        for (id, hook) in found {
            let account = owners.get(&id).and_then(|account| accounts.get(account));
            let target = match hook {
                Ok(hook) => {
                    let hook = Arc::new(hook);
                    kept.unreadable.remove(&id);
                    kept.hooks.insert(id.clone(), hook.clone());
                    target(&hook, account)
                }
                Err(err) => {
                    if kept.unreadable.insert(id.clone()) {
                        error!(hook.id = %id, "Hook {id} cannot be read, so what it is owed waits: {err}");
                    }
                    Target::Unreadable(err.to_string())
                }
            };
            targets.insert(id, target);
        }
        Ok(targets)
    }

    /// One that cannot be read concerns nobody but itself.
    async fn account(&self, id: AccountId) -> Result<Owner, store::Error> {
        let kept = self.kept().accounts.get(&id).cloned();
        if let Some(key) = kept {
            return Ok(Owner::Known(key));
        }
        let found = match self.store.account(id).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Owner::Gone),
            Err(err @ store::Error::Corrupt { .. }) => {
                if self.kept().unreadable_accounts.insert(id) {
                    error!(account.id = %id, "Account {id} cannot be read, so what its hooks are owed waits: {err}");
                }
                return Ok(Owner::Unreadable(err.to_string()));
            }
            Err(err) => return Err(err),
        };
        let mut kept = self.kept();
        if kept.accounts.len() >= HOOKS_MAX {
            kept.accounts.clear();
        }
        kept.unreadable_accounts.remove(&id);
        kept.accounts.insert(id, found.key.clone());
        Ok(Owner::Known(found.key))
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().expect("only whole values are written here")
    }
}

fn target(hook: &Arc<Hook>, owner: Option<&Owner>) -> Target {
    match owner {
        Some(Owner::Known(account)) if hook.disabled.is_none() => Target::Hook(hook.clone(), account.clone()),
        Some(Owner::Unreadable(why)) => Target::Unreadable(why.clone()),
        _ => Target::Nobody,
    }
}
