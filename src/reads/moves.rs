//! How far logins and accounts have moved. Pure.

use std::collections::HashMap;

use jiff::Timestamp;

use super::LoginDigest;
use crate::model::AccountKey;

/// Whose login it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    Known(AccountKey),
    /// Somebody at this driver and canonical provider.
    Unknown {
        driver: String,
        provider: String,
    },
}

/// Where a login and its account stood. Two that are equal had no move between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    refusals: u64,
    login: u64,
    /// Of an unknown owner: any account there.
    account: u64,
    /// Of those at the same provider whose account is not known.
    strangers: u64,
}

impl Position {
    pub(super) fn refusals(self) -> u64 {
        self.refusals
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    Refused(LoginDigest),
    Login(LoginDigest),
    Account(AccountKey),
    /// Any account at the place.
    Anybody(String, String),
    Strangers(String, String),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Login(LoginDigest),
    Account(AccountKey),
}

/// Entries in each table; then all of it is forgotten, and everything counts as moved.
const TABLE_MAX: usize = 100_000;

#[derive(Default)]
pub(super) struct Moves {
    last: u64,
    /// What is not in the table stands here.
    floor: u64,
    table: HashMap<Who, u64>,
    /// Members that were acted on or found missing, and when.
    touched: HashMap<(Whose, &'static str, String), Timestamp>,
    /// When the table of members was last forgotten: what was seen before is doubtful.
    touched_floor: Option<Timestamp>,
}

impl Moves {
    pub(super) fn position(&self, login: &LoginDigest, owner: &Owner) -> Position {
        let account = match owner {
            Owner::Known(key) => Who::Account(key.clone()),
            Owner::Unknown { .. } => owner.anybody(),
        };
        Position {
            refusals: self.refusals(login),
            login: self.at(&Who::Login(*login)),
            account: self.at(&account),
            strangers: self.at(&owner.strangers()),
        }
    }

    pub(super) fn refusals(&self, login: &LoginDigest) -> u64 {
        self.at(&Who::Refused(*login))
    }

    fn at(&self, who: &Who) -> u64 {
        self.table.get(who).copied().unwrap_or(self.floor)
    }

    pub(super) fn account(&mut self, key: &AccountKey) {
        self.note(Who::Account(key.clone()));
        self.note(Owner::Known(key.clone()).anybody());
    }

    pub(super) fn login(&mut self, login: &LoginDigest, owner: &Owner) {
        self.note(Who::Login(*login));
        match owner {
            Owner::Known(key) => self.account(key),
            Owner::Unknown { .. } => {
                self.note(owner.anybody());
                self.note(owner.strangers());
            }
        }
    }

    pub(super) fn refuse(&mut self, login: &LoginDigest) {
        self.note(Who::Refused(*login));
        self.note(Who::Login(*login));
    }

    fn note(&mut self, who: Who) {
        if self.table.len() >= TABLE_MAX {
            self.table.clear();
            self.last += 1;
            self.floor = self.last;
        }
        self.last += 1;
        self.table.insert(who, self.last);
    }

    pub(super) fn touch(
        &mut self,
        owner: &Owner,
        login: &LoginDigest,
        collection: &'static str,
        id: &str,
        at: Timestamp,
    ) {
        if self.touched.len() >= TABLE_MAX {
            self.touched.clear();
            self.touched_floor = Some(at);
        }
        for whose in whose(owner, login) {
            self.touched.insert((whose, collection, id.to_owned()), at);
        }
    }

    /// When somebody last acted on the member or found it missing; `None`: nobody did.
    pub(super) fn touched_at(
        &self,
        owner: &Owner,
        login: &LoginDigest,
        collection: &'static str,
        id: &str,
    ) -> Option<Timestamp> {
        let noted = whose(owner, login).filter_map(|whose| self.touched.get(&(whose, collection, id.to_owned())));
        noted.copied().chain(self.touched_floor).max()
    }

    /// Nothing was ever acted on, which is what most reads meet.
    pub(super) fn has_touched(&self) -> bool {
        !self.touched.is_empty() || self.touched_floor.is_some()
    }
}

impl Owner {
    /// Driver and provider.
    fn place(&self) -> (String, String) {
        match self {
            Self::Known(key) => (key.driver.to_string(), key.provider.clone()),
            Self::Unknown { driver, provider } => (driver.clone(), provider.clone()),
        }
    }

    fn anybody(&self) -> Who {
        let (driver, provider) = self.place();
        Who::Anybody(driver, provider)
    }

    fn strangers(&self) -> Who {
        let (driver, provider) = self.place();
        Who::Strangers(driver, provider)
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

    fn known(provider: &str, identity: &str) -> Owner {
        let (driver, provider) = (DriverId::new("ec2"), provider.to_owned());
        Owner::Known(AccountKey { driver, provider, identity: identity.to_owned() })
    }

    fn unknown(provider: &str) -> Owner {
        Owner::Unknown { driver: "ec2".to_owned(), provider: provider.to_owned() }
    }

    const A: LoginDigest = [1; 32];
    const B: LoginDigest = [2; 32];

    #[test]
    fn who_heeds_whose_moves() {
        // The one who moves, the one who reads, and whether the reader heeds it.
        let check = |mover: (LoginDigest, Owner), reader: (LoginDigest, Owner), heeds: bool| {
            let mut moves = Moves::default();
            let before = moves.position(&reader.0, &reader.1);
            moves.login(&mover.0, &mover.1);
            assert_eq!(moves.position(&reader.0, &reader.1) != before, heeds, "{mover:?} {reader:?}");
        };
        check((A, known("eu", "1")), (A, known("eu", "1")), true);
        check((A, known("eu", "1")), (B, known("eu", "1")), true);
        check((A, known("eu", "1")), (B, known("eu", "2")), false);
        check((A, known("eu", "1")), (B, known("us", "1")), false);
        check((A, known("eu", "1")), (B, unknown("eu")), true);
        check((A, known("eu", "1")), (B, unknown("us")), false);
        check((A, unknown("eu")), (B, known("eu", "1")), true);
        check((A, unknown("eu")), (B, unknown("eu")), true);
        check((A, unknown("eu")), (B, known("us", "1")), false);
    }

    #[test]
    fn a_refusal_is_the_logins_own() {
        let mut moves = Moves::default();
        let before = moves.position(&A, &unknown("eu"));
        moves.refuse(&A);
        assert_ne!(moves.refusals(&A), before.refusals());
        assert_eq!(moves.refusals(&B), before.refusals());
    }

    #[test]
    fn what_is_forgotten_counts_as_moved() {
        let mut moves = Moves::default();
        let reader = known("eu", "1");
        let before = moves.position(&A, &reader);
        moves.login(&A, &reader);
        let moved = moves.position(&A, &reader);
        for n in 0..TABLE_MAX {
            moves.account(&match known("eu", &n.to_string()) {
                Owner::Known(key) => key,
                Owner::Unknown { .. } => unreachable!("it is known"),
            });
        }
        let after = moves.position(&A, &reader);
        assert!(after != before && after != moved && moves.table.len() <= TABLE_MAX);
    }

    #[test]
    fn a_member_is_touched_for_its_account_and_for_the_login() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut moves = Moves::default();
        moves.touch(&known("eu", "1"), &A, "instances", "i-1", at(5));
        let check = |owner: Owner, login, id, expected: Option<i64>| {
            assert_eq!(moves.touched_at(&owner, &login, "instances", id), expected.map(at));
        };
        check(known("eu", "1"), B, "i-1", Some(5));
        check(unknown("eu"), A, "i-1", Some(5));
        check(unknown("eu"), B, "i-1", None);
        check(known("eu", "1"), A, "i-2", None);
        assert_eq!(moves.touched_at(&known("eu", "1"), &A, "realms", "i-1"), None);
    }
}
