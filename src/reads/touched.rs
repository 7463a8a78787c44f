use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use jiff::Timestamp;
use moka::sync::Cache;

use super::{LoginDigest, Owner};
use crate::model::AccountKey;

/// Members that were acted on or found missing, and when.
pub(super) struct Touched {
    /// Ids are kept as their hashes: whoever asks for what is not there chooses how long its id is. Two that meet in one
    /// hash cost a stale answer, no more.
    hasher: RandomState,
    table: Cache<(Whose, &'static str, u64), Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Login(LoginDigest),
    Account(AccountKey),
}

/// Members noted at once; beyond that the table keeps those that are asked for most.
const NOTED_MAX: u64 = 100_000;

impl Touched {
    /// Noted for `stale`: what was seen before that is shown to nobody.
    pub(super) fn new(stale: Duration) -> Self {
        let table = Cache::builder().max_capacity(NOTED_MAX).time_to_live(stale).build();
        Self { hasher: RandomState::new(), table }
    }

    pub(super) fn note(&self, owner: &Owner, login: &LoginDigest, collection: &'static str, id: &str, at: Timestamp) {
        let id = self.hasher.hash_one(id);
        for whose in whose(owner, login) {
            self.table.insert((whose, collection, id), at);
        }
    }

    /// When somebody of the account last acted on the member or found it missing; `None`: nobody did.
    pub(super) fn at(
        &self,
        owner: &Owner,
        login: &LoginDigest,
        collection: &'static str,
        id: &str,
    ) -> Option<Timestamp> {
        let id = self.hasher.hash_one(id);
        whose(owner, login).filter_map(|whose| self.table.get(&(whose, collection, id))).max()
    }
}

fn whose(owner: &Owner, login: &LoginDigest) -> impl Iterator<Item = Whose> {
    let account = match owner {
        Owner::Known(key) => Some(Whose::Account(key.clone())),
        Owner::Unknown { .. } => None,
    };
    account.into_iter().chain([Whose::Login(*login)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DriverId;

    #[test]
    fn a_member_is_touched_for_its_account_and_for_the_login() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let known = |identity: &str| {
            let (driver, provider) = (DriverId::new("ec2"), "eu".to_owned());
            Owner::Known(AccountKey { driver, provider, identity: identity.to_owned() })
        };
        let unknown = || Owner::Unknown { driver: "ec2".to_owned(), provider: "eu".to_owned() };
        const A: LoginDigest = [1; 32];
        const B: LoginDigest = [2; 32];
        let touched = Touched::new(Duration::from_secs(900));
        touched.note(&known("1"), &A, "instances", "i-1", at(5));
        let check = |owner: Owner, login, id, expected: Option<i64>| {
            assert_eq!(touched.at(&owner, &login, "instances", id), expected.map(at));
        };
        check(known("1"), B, "i-1", Some(5));
        check(unknown(), A, "i-1", Some(5));
        check(unknown(), B, "i-1", None);
        check(known("2"), B, "i-1", None);
        check(known("1"), A, "i-2", None);
        assert_eq!(touched.at(&known("1"), &A, "realms", "i-1"), None);
    }
}
