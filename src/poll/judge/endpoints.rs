//! Whether backends answer: what each account saw of its endpoint, beside what the others saw of it and of other endpoints. Pure.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use jiff::Timestamp;

use crate::availability::{self, Others, Reach, Reachability};
use crate::model::{Account, AccountId};
use crate::poll::Settings;

/// By driver and provider.
#[derive(Debug, Default)]
pub(super) struct Endpoints(BTreeMap<(String, String), Endpoint>);

#[derive(Debug, Default)]
struct Endpoint {
    answered_at: Option<Timestamp>,
    /// Somebody's last word of it was an answer.
    well: bool,
    accounts: HashMap<AccountId, View>,
}

/// What one account saw of it.
#[derive(Debug)]
struct View {
    reach: Reach,
    suspect: bool,
    looked_at: Timestamp,
}

impl Endpoints {
    pub(super) fn forget(&mut self, account: AccountId) {
        self.0.values_mut().for_each(|endpoint| drop(endpoint.accounts.remove(&account)));
        self.0.retain(|_, endpoint| !endpoint.accounts.is_empty());
    }

    /// Whether the account's backend answers, after a look that was answered or failed; and whom to look at to find out whether it
    /// is only this one that does not.
    pub(super) fn reach(
        &mut self,
        account: &Account,
        well: bool,
        now: Timestamp,
        settings: &Settings,
        rules: &availability::Settings,
    ) -> (Reachability, Option<AccountId>) {
        let here = (account.key.driver.as_str().to_owned(), account.key.provider.clone());
        let elsewhere = self.0.iter().filter(|(endpoint, _)| **endpoint != here);
        let answered_at = elsewhere.clone().filter_map(|(_, endpoint)| endpoint.answered_at).max();
        // Whoever is watched is looked at this often; beyond it nobody looks any more.
        let watched_since = now.checked_sub(Duration::from_millis(settings.idle_wait_max_ms)).unwrap_or(now);
        let unasked = |endpoint: &&Endpoint| endpoint.well && endpoint.answered_at.is_some_and(|at| at > watched_since);
        let unasked = elsewhere.map(|(_, endpoint)| endpoint).filter(unasked).max_by_key(|other| other.answered_at);
        let witness = unasked.and_then(|endpoint| endpoint.accounts.keys().next().copied());
        let unasked = unasked.is_some();
        let endpoint = self.0.entry(here).or_default();
        // Who looks no more has no vote.
        let lately = now - 2 * Duration::from_millis(settings.idle_wait_max_ms);
        endpoint.accounts.retain(|id, view| *id == account.id || view.looked_at >= lately && view.looked_at <= now);
        let new = || View { reach: Reach::default(), suspect: false, looked_at: now };
        let view = endpoint.accounts.entry(account.id).or_insert_with(new);
        view.looked_at = now;
        if well {
            view.reach.heard(now, rules);
            view.suspect = false;
            (endpoint.answered_at, endpoint.well) = (Some(now), true);
            return (Reachability::Reachable, None);
        }
        view.reach.failed(now);
        endpoint.well = false;
        let every = Duration::from_millis(settings.quiet_wait_ms);
        // Who is suspected is known only after a first judgement, which is without consequence but for that.
        let alone = Others { answered_at, unasked, accounts: 1, suspecting: 1 };
        let first = view.reach.judge(now, every, alone, rules);
        view.suspect = first != Reachability::Reachable;
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let accounts = count(endpoint.accounts.len());
        let suspecting = count(endpoint.accounts.values().filter(|view| view.suspect).count());
        let Some(view) = endpoint.accounts.get_mut(&account.id) else { return (first, None) };
        let state = view.reach.judge(now, every, Others { answered_at, unasked, accounts, suspecting }, rules);
        (state, witness.filter(|_| state == Reachability::Suspect))
    }
}
