//! How an account stands is told once when it changes: that it cannot be looked at, and that it can again.

use std::time::Duration;

use jiff::Timestamp;
use tracing::warn;

use super::look::Observer;
use super::parts::{Part, Parts};
use crate::changes::fan_out;
use crate::model::{
    Account, AccountId, Change, ChangeId, Collection, News, Observed, Outage, Reason, Standing, Subject, Topic,
};
use crate::store::{self, NewChange};

impl Observer {
    /// Has what is recorded of the account agree with what is found of its instances and realms, by a look at one of them. Whoever comes
    /// second finds it recorded. An outage is over when what was blamed for it answers, whatever others do.
    pub(super) async fn stand(
        &self,
        account: &Account,
        collection: Collection,
        found: Standing,
        error: &str,
    ) -> Result<(), store::Error> {
        let (standings, outage) = self.store.standing(account.id).await?;
        let recorded = outage.as_ref().map_or(Standing::Reachable, |outage| outage.standing);
        let blamed = outage.as_ref().and_then(|outage| outage.blamed);
        if recorded == found || found == Standing::Reachable && blamed.is_some_and(|blamed| blamed != collection) {
            return Ok(());
        }
        let blamed = blamed.unwrap_or(collection);
        let now = self.clock.now();
        let last_good_at = self.memories.circuits(account.id, |parts| parts.of(Part::Compute).last_good_at(blamed));
        let last_good_at = outage.as_ref().map_or(last_good_at, |outage| outage.last_good_at);
        let told = told(recorded, found, outage.as_ref(), last_good_at, error, now);
        let subject = Subject {
            collection: Topic::Account,
            id: Topic::WHOLE.to_owned(),
            revision: standings + 1,
            name: None,
            realm: None,
        };
        let hooks = self.store.hooks(account.id).await?;
        let change = NewChange {
            told: fan_out(&subject, told.0.kind(), &hooks),
            change: Change {
                id: ChangeId(self.chance.id("chg", now)),
                at: now,
                subject,
                observed: told.1,
                news: told.0,
            },
        };
        let away = (found != Standing::Reachable).then(|| Outage {
            standing: found,
            since: outage.map_or(now, |outage| outage.since),
            last_good_at,
            error: error.to_owned(),
            blamed: Some(blamed),
        });
        let entries = match self.store.record_standing(account.id, standings, away.as_ref(), &change, now).await {
            Ok(entries) => entries,
            Err(store::Error::Conflict) => return Ok(()),
            Err(err) => return Err(err),
        };
        self.tell(account.id, &entries);
        Ok(())
    }

    /// The backend has just taken this login for this account. If the one that is polled with is refused, this one takes its place:
    /// `true`.
    pub(crate) async fn vouched(&self, account: &Account) -> bool {
        match self.is_refused(account.id).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(err) => {
                warn!(account.id = %account.id, "how an account stands could not be read: {err}");
                return false;
            }
        }
        let Account { id, key, login } = account;
        match self.store.renew_login(key, login, self.clock.now()).await {
            Ok(renewed) => {
                self.try_again(*id);
                renewed
            }
            Err(err) => {
                warn!(account.id = %id, "credentials that are good could not be kept: {err}");
                false
            }
        }
    }

    /// Whether the account is looked at no more because its credentials are refused.
    pub(crate) async fn is_refused(&self, account: AccountId) -> Result<bool, store::Error> {
        let known = self.memories.circuits(account, |parts| parts.of(Part::Compute).known_standing());
        if let Some(found) = known {
            return Ok(found == Standing::Denied);
        }
        // After a restart the store knows better.
        let (_, outage) = self.store.standing(account).await?;
        Ok(outage.is_some_and(|outage| outage.standing == Standing::Denied))
    }

    /// Some account is, as far as this process has seen.
    pub(crate) fn is_any_refused(&self) -> bool {
        self.memories.is_any(Standing::Denied)
    }

    /// Whether it is worth looking what somebody sees of a refused account: no more often than it may be tried.
    pub(crate) fn listens(&self, account: AccountId) -> bool {
        self.memories.listen(account, self.clock.now(), Duration::from_millis(self.settings.circuit_wait_ms))
    }

    /// There is reason to believe that the account can be looked at: new credentials, or its backend has just answered.
    pub(crate) fn try_again(&self, account: AccountId) {
        self.memories.circuits(account, Parts::try_now);
    }
}

/// What to say, and of which time.
fn told(
    recorded: Standing,
    found: Standing,
    outage: Option<&Outage>,
    last_good_at: Option<Timestamp>,
    error: &str,
    now: Timestamp,
) -> (News, Observed) {
    let reason = |text: String| vec![Reason::new(found.native(), text)];
    let before = last_good_at.map(|at| at.min(now));
    let good = before.map_or_else(String::new, |at| format!("; the last good answer came at {at:.0}"));
    let news = match found {
        Standing::Unreachable => News::AccountUnreachable {
            from: recorded,
            why: reason(format!("looks at it keep failing, the last with: {error}{good}")),
        },
        Standing::Denied => {
            News::AccountDenied { from: recorded, why: reason(format!("its credentials are refused: {error}{good}")) }
        }
        Standing::Reachable => {
            let since = before.or(outage.map(|outage| outage.since)).unwrap_or(now);
            let error = outage.map_or("", |outage| &outage.error);
            News::AccountReachable {
                from: recorded,
                why: reason(format!("nobody could look from {since:.0} to {now:.0}: {error}")),
            }
        }
    };
    let before = match found {
        Standing::Reachable => before.or(outage.map(|outage| outage.since)),
        Standing::Unreachable | Standing::Denied => before,
    };
    (news, Observed { before, at: now })
}
