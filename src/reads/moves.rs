//! How far logins and accounts have moved. Pure.

use std::collections::HashMap;

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

/// Entries in the table; then all of it is forgotten, and everything counts as moved.
const TABLE_MAX: usize = 100_000;

#[derive(Default)]
pub(super) struct Moves {
    last: u64,
    /// What is not in the table stands here.
    floor: u64,
    table: HashMap<Who, u64>,
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
}
