use std::sync::atomic::{AtomicU64, Ordering};

use crate::model::AccountId;
use crate::store::Mark;

/// Accounts share these places: a neighbour's note costs a claim that is given back and claimed again.
const PLACES: usize = 1024;

/// When claims of which account may have lost their sense. See [`crate::store::Deliveries::revoked_since`].
pub(super) struct Revoked {
    now: AtomicU64,
    last: Vec<AtomicU64>,
}

impl Default for Revoked {
    fn default() -> Self {
        Self { now: AtomicU64::new(0), last: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Revoked {
    /// Called after the commit, before whoever caused it is answered.
    pub(super) fn note(&self, account: AccountId) {
        let number = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.place(account).fetch_max(number, Ordering::SeqCst);
    }

    pub(super) fn mark(&self) -> Mark {
        Mark(self.now.load(Ordering::SeqCst))
    }

    pub(super) fn since(&self, account: AccountId, mark: Mark) -> bool {
        self.place(account).load(Ordering::SeqCst) > mark.0
    }

    fn place(&self, account: AccountId) -> &AtomicU64 {
        let place = usize::try_from(account.0.unsigned_abs()).unwrap_or_default() % PLACES;
        &self.last[place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_claimed_before_is_revoked_and_of_its_account_only() {
        let revoked = Revoked::default();
        let before = revoked.mark();
        revoked.note(AccountId(7));
        let after = revoked.mark();
        assert!(revoked.since(AccountId(7), before));
        assert!(!revoked.since(AccountId(7), after));
        assert!(!revoked.since(AccountId(8), before));
        revoked.note(AccountId(7));
        assert!(revoked.since(AccountId(7), after));
    }
}
