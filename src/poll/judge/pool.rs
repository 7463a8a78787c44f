//! What accounts in the same place tell one another of launches and runs. Lives in memory: after a restart each tells anew what is
//! kept of it, so nothing is counted twice. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::availability::{Event, Outcome, Settings};
use crate::model::{Account, AccountId, Realm};

/// Driver, provider, and what the provider calls the place whoever asks.
type Place = (String, String, String);

#[derive(Debug, Default)]
pub(super) struct Pool {
    accounts: BTreeMap<AccountId, Member>,
    places: BTreeMap<Place, BTreeMap<AccountId, Vec<Outcome>>>,
}

#[derive(Debug)]
struct Member {
    /// By the account's own id of the realm.
    realms: BTreeMap<String, Place>,
    looked_at: Timestamp,
}

impl Pool {
    /// The account was looked at.
    pub(super) fn seen(&mut self, account: AccountId, now: Timestamp) {
        if let Some(member) = self.accounts.get_mut(&account) {
            member.looked_at = now;
        }
    }

    pub(super) fn knows(&self, account: AccountId) -> bool {
        self.accounts.contains_key(&account)
    }

    /// All realms of the account. `differ`: their ids are other places in other accounts.
    pub(super) fn settle<'a>(
        &mut self,
        account: &Account,
        realms: impl Iterator<Item = &'a Realm>,
        differ: bool,
        now: Timestamp,
    ) {
        let place = |realm: &Realm| {
            let place = realm.place.clone().or_else(|| (!differ).then(|| realm.id.clone()))?;
            let endpoint = (account.key.driver.as_str().to_owned(), account.key.provider.clone());
            Some((realm.id.clone(), (endpoint.0, endpoint.1, place)))
        };
        let realms: BTreeMap<String, Place> = realms.filter_map(place).collect();
        let before = self.accounts.insert(account.id, Member { realms, looked_at: now });
        let Some(before) = before else { return };
        let still: BTreeSet<&Place> = self.accounts[&account.id].realms.values().collect();
        let left: Vec<Place> = before.realms.into_values().filter(|place| !still.contains(place)).collect();
        self.leave(account.id, &left);
    }

    pub(super) fn forget(&mut self, account: AccountId) {
        let Some(member) = self.accounts.remove(&account) else { return };
        let left: Vec<Place> = member.realms.into_values().collect();
        self.leave(account, &left);
    }

    fn leave(&mut self, account: AccountId, left: &[Place]) {
        for place in left {
            if let Some(there) = self.places.get_mut(place) {
                there.remove(&account);
                if there.is_empty() {
                    self.places.remove(place);
                }
            }
        }
    }

    /// The account's realms.
    pub(super) fn realms(&self, account: AccountId) -> Vec<String> {
        self.accounts.get(&account).map(|member| member.realms.keys().cloned().collect()).unwrap_or_default()
    }

    /// What others say of the account's realms; nothing of one of which too few say that anything failed.
    pub(super) fn heard(&self, account: AccountId, settings: &Settings) -> Vec<Event> {
        let Some(member) = self.accounts.get(&account) else { return Vec::new() };
        let event = |(realm, place): (&String, &Place)| {
            let others = self.places.get(place).into_iter().flatten().filter(|(other, _)| **other != account);
            let others = others.map(|(_, outcomes)| outcomes);
            let enough = others.clone().filter(|outcomes| fails(outcomes)).count() >= settings.elsewhere_accounts_min;
            let mut accounts: Vec<_> = others.filter(|_| enough).cloned().collect();
            // Of more than can be heard, those with the newest word.
            accounts.sort_by_key(|outcomes| std::cmp::Reverse(outcomes.last().map(|outcome| outcome.at)));
            accounts.truncate(settings.elsewhere_accounts_max);
            Event::Elsewhere { realm: realm.clone(), accounts }
        };
        member.realms.iter().map(event).collect()
    }

    /// Takes in what the account has to say of a realm. Answers with those to whom that may matter, of those looked at since `watched_since`.
    pub(super) fn tell(
        &mut self,
        account: AccountId,
        realm: &str,
        outcomes: Vec<Outcome>,
        watched_since: Timestamp,
        settings: &Settings,
    ) -> Vec<AccountId> {
        let Some(place) = self.accounts.get(&account).and_then(|member| member.realms.get(realm)) else {
            return Vec::new();
        };
        let there = self.places.entry(place.clone()).or_default();
        let before = match outcomes.is_empty() {
            true => there.remove(&account),
            false => there.insert(account, outcomes),
        };
        let now = there.get(&account);
        let is_news = now.is_some_and(|now| fails(now) && before.as_ref() != Some(now));
        if !is_news || there.values().filter(|outcomes| fails(outcomes)).count() < settings.elsewhere_accounts_min {
            return Vec::new();
        }
        let concerned = |(other, member): &(&AccountId, &Member)| {
            **other != account
                && member.looked_at >= watched_since
                && member.realms.values().any(|known| known == place)
        };
        self.accounts.iter().filter(concerned).map(|(other, _)| *other).collect()
    }
}

fn fails(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|outcome| outcome.failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::availability::{Launch, Realms};
    use crate::model::{AccountKey, Credentials, Declared, DriverId, Fault, FaultKind, Login, RealmState};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn account(id: i64, provider: &str) -> Account {
        let driver = DriverId::new("ec2");
        let credentials = Credentials { user: id.to_string(), password: "secret".into() };
        let key = AccountKey { driver: driver.clone(), provider: provider.to_owned(), identity: id.to_string() };
        let login = Login { driver, provider: Some(provider.to_owned()), credentials };
        Account { id: AccountId(id), key, login }
    }

    /// `us-east-1a=use1-az4`.
    fn realm(text: &str) -> Realm {
        let (id, place) = text.split_once('=').unwrap_or((text, ""));
        Realm {
            id: id.to_owned(),
            name: id.to_owned(),
            state: RealmState::Available,
            native_state: "available".to_owned(),
            limit: None,
            messages: vec![],
            declared: Declared::Up,
            place: (!place.is_empty()).then(|| place.to_owned()),
            judged: None,
        }
    }

    fn failure(second: i64) -> Vec<Outcome> {
        let settings = Settings::default();
        let mut realms = Realms::new(&settings);
        let fault = Fault { kind: FaultKind::Infrastructure, code: "InternalError".to_owned() };
        realms.hear(&Event::Launch(Launch::failed("a", "r", fault, at(second))), &settings);
        realms.shared("a", at(second), &settings)
    }

    /// How many others are heard of each realm.
    fn heard(pool: &Pool, account: i64) -> Vec<(String, usize)> {
        let count = |event| match event {
            Event::Elsewhere { realm, accounts } => (realm, accounts.len()),
            other => panic!("not of others: {other:?}"),
        };
        pool.heard(AccountId(account), &Settings::default()).into_iter().map(count).collect()
    }

    fn tell(pool: &mut Pool, account: i64, realm: &str, outcomes: Vec<Outcome>) -> Vec<i64> {
        let told = pool.tell(AccountId(account), realm, outcomes, at(-100), &Settings::default());
        told.into_iter().map(|account| account.0).collect()
    }

    #[test]
    fn a_place_is_the_same_under_other_names_and_another_place_is_not_under_the_same() {
        let mut pool = Pool::default();
        for (id, provider, realms) in [
            (1, "us-east-1", ["us-east-1a=use1-az1", "us-east-1b=use1-az2"]),
            (2, "us-east-1", ["us-east-1a=use1-az2", "us-east-1b=use1-az1"]),
            (3, "us-east-1", ["us-east-1a=use1-az2", "us-east-1b=use1-az1"]),
            (4, "eu-west-1", ["us-east-1a=use1-az1", "us-east-1b=use1-az2"]),
            // Whoever does not say which place it is may mean another one.
            (5, "us-east-1", ["us-east-1a", "us-east-1b"]),
        ] {
            pool.settle(&account(id, provider), realms.map(realm).iter(), true, at(0));
        }
        assert_eq!(tell(&mut pool, 2, "us-east-1b", failure(1)), [0; 0], "one alone concerns nobody");
        assert_eq!(tell(&mut pool, 3, "us-east-1b", failure(1)), [1, 2]);
        assert_eq!(tell(&mut pool, 3, "us-east-1b", failure(1)), [0; 0], "it is no news");
        let of = |a: usize, b: usize| vec![("us-east-1a".to_owned(), a), ("us-east-1b".to_owned(), b)];
        assert_eq!(heard(&pool, 1), of(2, 0));
        assert_eq!(heard(&pool, 2), of(0, 0), "what it says itself is no other's");
        assert_eq!(heard(&pool, 4), of(0, 0));
        assert_eq!(heard(&pool, 5), []);
        // Those that nobody looks at any more are not judged, and who leaves is not heard.
        let told = pool.tell(AccountId(3), "us-east-1b", failure(2), at(50), &Settings::default());
        assert_eq!(told, []);
        pool.forget(AccountId(2));
        assert_eq!(heard(&pool, 1), of(0, 0));
    }

    #[test]
    fn where_ids_are_the_same_for_all_they_are_the_place() {
        let mut pool = Pool::default();
        for id in 1..4 {
            pool.settle(&account(id, "cloud"), [realm("nova")].iter(), false, at(0));
        }
        tell(&mut pool, 1, "nova", failure(1));
        tell(&mut pool, 2, "nova", failure(1));
        assert_eq!(heard(&pool, 3), [("nova".to_owned(), 2)]);
        // It has left the realm.
        pool.settle(&account(1, "cloud"), [realm("other")].iter(), false, at(2));
        assert_eq!(heard(&pool, 3), [("nova".to_owned(), 0)]);
    }
}
