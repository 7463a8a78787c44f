//! What is removed, and in which order, so that nothing that is kept refers to anything that is not.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::deliveries::{self, Line};
use super::rows::{Cell, Doing as _, int, json, row};
use super::{Sqlite, accounts, hooks};
use crate::model::AccountId;
use crate::store::{Error, PruneFrom, PruneRules, Pruned, Upkeep};

row! {
    struct AccountRow {
        account_id: i64,
        /// Its oldest change is to go.
        due: bool,
    }
}

row! {
    /// A delivery whose change is to go.
    struct Doomed {
        delivery: i64,
        /// Waiting or exhausted.
        owed: bool,
        ready: bool,
        attempts: i64,
        ..
        line: Line,
    }
}

row! {
    struct EndedHook {
        account_id: i64,
        hook_id: String,
    }
}

const PRUNING: &str = "pruning what is old";

#[async_trait]
impl Upkeep for Sqlite {
    async fn rest(&self) -> Result<(), Error> {
        const ACTION: &str = "folding the write-ahead log into the store";
        let mut turn = self.writer.turn(ACTION).await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(turn.connection()).await.doing(ACTION)?;
        Ok(())
    }

    async fn prune(&self, rules: &PruneRules, from: PruneFrom) -> Result<Pruned, Error> {
        match from {
            PruneFrom::Log(first) => match self.next_account(rules, first).await? {
                Search::Due(account) => self.prune_log(rules, account).await,
                Search::NotYet(next) => Ok(Pruned { next: Some(PruneFrom::Log(next)), ..Pruned::default() }),
                Search::None => Ok(Pruned { next: Some(PruneFrom::Hooks), ..Pruned::default() }),
            },
            PruneFrom::Hooks => self.prune_hooks(rules).await,
            PruneFrom::FormerResources => self.prune_former(rules).await,
        }
    }

    async fn newest(&self) -> Result<Option<Timestamp>, Error> {
        const ACTION: &str = "reading when something was recorded last";
        // Of each account the last change, and not all of its log.
        let newest: Option<i64> = sqlx::query_scalar(
            "SELECT max(at) FROM (
                 SELECT max(observed_at) AS at FROM units
                 UNION ALL
                 SELECT max((SELECT c.at FROM changes c WHERE c.account_id = a.account_id ORDER BY c.seq DESC LIMIT 1))
                 FROM accounts a)",
        )
        .fetch_one(&self.readers)
        .await
        .doing(ACTION)?;
        let cell = Cell { table: "units", column: "observed_at", account: AccountId(0), key: &"(the latest)" };
        newest.map(|ms| cell.instant(ms)).transpose()
    }

    async fn set_back(&self, by: Duration, now: Timestamp) -> Result<u64, Error> {
        const ACTION: &str = "bringing plans to a clock that was set back";
        let (by, now) = (int(by.as_millis()), now.as_millisecond());
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let units = sqlx::query(
            "UPDATE units SET due_at = iif(due_at > $2, max(due_at - $1, $2), due_at), rest_until = rest_until - $1
             WHERE due_at > $2",
        )
        .bind(by)
        .bind(now)
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        // A claim runs out when it did, for those that are not recorded first.
        let deliveries = sqlx::query(
            "UPDATE deliveries
             SET due_at = iif(due_at > $2, max(due_at - $1, $2), due_at), next_at = iif(next_at > $2, max(next_at - $1, $2), next_at)
             WHERE next_at IS NOT NULL AND max(due_at, next_at) > $2",
        )
        .bind(by)
        .bind(now)
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        Ok(units.rows_affected() + deliveries.rows_affected())
    }
}

/// Which account's log is to be pruned next.
enum Search {
    Due(AccountId),
    /// None as far as was looked; go on here.
    NotYet(AccountId),
    None,
}

impl Sqlite {
    /// Read apart, so that no writer waits for it.
    async fn next_account(&self, rules: &PruneRules, first: AccountId) -> Result<Search, Error> {
        let mut rows = sqlx::query_as(
            "SELECT a.account_id, coalesce(c.seq <= a.last_seq - $4 OR c.at < $3, false) AS due
             FROM (SELECT account_id, last_seq FROM accounts WHERE account_id >= $1 ORDER BY account_id LIMIT $2) a
             LEFT JOIN changes c ON c.account_id = a.account_id AND c.seq = (
                 SELECT min(seq) FROM changes WHERE account_id = a.account_id)",
        )
        .bind(first.0)
        .bind(int(rules.rows_max))
        .bind(rules.before.as_millisecond())
        .bind(int(rules.changes_max))
        .fetch(&self.readers);
        let (mut seen, mut last) = (0, first.0);
        while let Some(AccountRow { account_id, due }) = rows.try_next().await.doing(PRUNING)? {
            if due {
                return Ok(Search::Due(AccountId(account_id)));
            }
            (seen, last) = (seen + 1, account_id);
        }
        Ok(if seen < rules.rows_max { Search::None } else { Search::NotYet(AccountId(last + 1)) })
    }

    async fn prune_log(&self, rules: &PruneRules, account: AccountId) -> Result<Pruned, Error> {
        let mut turn = self.writer.turn(PRUNING).await?;
        let mut tx = turn.begin().await?;
        let mut pruned = match first_kept(&mut tx, rules, account).await.doing(PRUNING)? {
            Some(kept) => prune_before(&mut tx, rules, account, kept).await.doing(PRUNING)?,
            None => Pruned::default(),
        };
        tx.commit().await.doing(PRUNING)?;
        if pruned.given_up > 0 {
            self.revoked.note(account);
        }
        // Nothing: the oldest is under way. The next round finds it.
        let next = if pruned.rows() > 0 { account } else { AccountId(account.0 + 1) };
        pruned.next = Some(PruneFrom::Log(next));
        Ok(pruned)
    }

    /// Of one account at a time, as what nobody watches any more is forgotten with them.
    async fn prune_hooks(&self, rules: &PruneRules) -> Result<Pruned, Error> {
        let mut turn = self.writer.turn(PRUNING).await?;
        let mut tx = turn.begin().await?;
        let mut ended: Vec<EndedHook> = sqlx::query_as(
            "SELECT h.account_id, h.hook_id FROM hooks h INDEXED BY hooks_ended
             WHERE h.ended_at IS NOT NULL AND h.ended_at < $1 AND NOT EXISTS (
                 SELECT 1 FROM deliveries d INDEXED BY deliveries_behind
                 WHERE d.account_id = h.account_id AND d.hook_id = h.hook_id AND d.state IN ('waiting', 'exhausted'))
             ORDER BY h.ended_at LIMIT $2",
        )
        .bind(rules.before.as_millisecond())
        .bind(int(rules.rows_max))
        .fetch_all(&mut *tx)
        .await
        .doing(PRUNING)?;
        let Some(account) = ended.first().map(|hook| AccountId(hook.account_id)) else {
            return Ok(Pruned { next: Some(PruneFrom::FormerResources), ..Pruned::default() });
        };
        ended.retain(|hook| hook.account_id == account.0);
        let ids: Vec<_> = ended.into_iter().map(|hook| hook.hook_id).collect();
        let removed =
            sqlx::query("DELETE FROM hooks WHERE account_id = $1 AND hook_id IN (SELECT value FROM json_each($2))")
                .bind(account.0)
                .bind(json(&ids))
                .execute(&mut *tx)
                .await
                .doing(PRUNING)?;
        hooks::forget_unwatched(&mut tx, account, rules.now.as_millisecond()).await.doing(PRUNING)?;
        accounts::forget_if_unused(&mut tx, account).await.doing(PRUNING)?;
        tx.commit().await.doing(PRUNING)?;
        self.revoked.note(account);
        Ok(Pruned { hooks: removed.rows_affected(), next: Some(PruneFrom::Hooks), ..Pruned::default() })
    }

    async fn prune_former(&self, rules: &PruneRules) -> Result<Pruned, Error> {
        let mut turn = self.writer.turn(PRUNING).await?;
        let mut tx = turn.begin().await?;
        let removed = sqlx::query(
            "DELETE FROM former_resources WHERE (account_id, collection, resource) IN (
                 SELECT f.account_id, f.collection, f.resource FROM former_resources f INDEXED BY former_resources_ended
                 WHERE f.ended_at < $1 AND NOT EXISTS (
                     SELECT 1 FROM hooks h INDEXED BY hooks_members
                     WHERE h.account_id = f.account_id AND h.collection = f.collection AND h.resource = f.resource
                           AND h.scope = 'member')
                 ORDER BY f.ended_at LIMIT $2)",
        )
        .bind(rules.before.as_millisecond())
        .bind(int(rules.rows_max))
        .execute(&mut *tx)
        .await
        .doing(PRUNING)?;
        tx.commit().await.doing(PRUNING)?;
        let removed = removed.rows_affected();
        let next = (removed > 0).then_some(PruneFrom::FormerResources);
        Ok(Pruned { former_resources: removed, next, ..Pruned::default() })
    }
}

/// Below which number the log may go in this step: the first change that is kept, or as far as a step goes. `None`: the log is
/// empty. One that is to be kept keeps all that come after it, whatever the clock said when they were recorded.
async fn first_kept(
    tx: &mut SqliteConnection,
    rules: &PruneRules,
    account: AccountId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT coalesce(
             (SELECT c.seq FROM changes c
              WHERE c.account_id = $1 AND c.seq >= log.oldest AND c.seq < log.oldest + $2 AND c.seq > log.last - $3
                    AND c.at >= $4
              ORDER BY c.seq LIMIT 1),
             log.oldest + $2)
         FROM (SELECT (SELECT min(seq) FROM changes WHERE account_id = $1) AS oldest, last_seq AS last
               FROM accounts WHERE account_id = $1) log",
    )
    .bind(account.0)
    .bind(int(rules.rows_max))
    .bind(int(rules.changes_max))
    .bind(rules.before.as_millisecond())
    .fetch_one(&mut *tx)
    .await
}

/// Deliveries first, with their attempts; then the changes that none is left of.
async fn prune_before(
    tx: &mut SqliteConnection,
    rules: &PruneRules,
    account: AccountId,
    kept: i64,
) -> Result<Pruned, sqlx::Error> {
    let mut doomed: Vec<Doomed> = sqlx::query_as(
        "SELECT d.rowid AS delivery, d.state IN ('waiting', 'exhausted') AS owed, d.next_at IS NOT NULL AS ready,
                (SELECT count(*) FROM attempts a
                 WHERE a.account_id = d.account_id AND a.hook_id = d.hook_id AND a.seq = d.seq) AS attempts,
                d.account_id, d.hook_id, d.collection, d.resource
         FROM deliveries d INDEXED BY deliveries_newest
         WHERE d.account_id = $1 AND d.seq < $2 AND (d.claimed_at IS NULL OR d.next_at <= $3)
         ORDER BY d.seq LIMIT $4",
    )
    .bind(account.0)
    .bind(kept)
    .bind(rules.now.as_millisecond())
    .bind(int(rules.rows_max))
    .fetch_all(&mut *tx)
    .await?;
    doomed.truncate(within(rules.rows_max, doomed.iter().map(|row| row.attempts)));

    let deliveries = json(&doomed.iter().map(|row| row.delivery).collect::<Vec<_>>());
    let attempts = sqlx::query(
        "DELETE FROM attempts WHERE (account_id, hook_id, seq) IN (
             SELECT d.account_id, d.hook_id, d.seq FROM json_each($1) CROSS JOIN deliveries d ON d.rowid = value)",
    )
    .bind(&deliveries)
    .execute(&mut *tx)
    .await?;
    sqlx::query("DELETE FROM deliveries WHERE rowid IN (SELECT value FROM json_each($1))")
        .bind(&deliveries)
        .execute(&mut *tx)
        .await?;
    // Of each line only the ready one held up others.
    let given_up = doomed.iter().filter(|row| row.owed).count() as u64;
    let count = doomed.len() as u64;
    let lines: Vec<Line> = doomed.into_iter().filter(|row| row.ready).map(|row| row.line).collect();
    deliveries::promote(tx, &lines, rules.now.as_millisecond()).await?;

    let changes = sqlx::query(
        "DELETE FROM changes
         WHERE account_id = $1
               AND seq < min($2, coalesce((SELECT min(d.seq) FROM deliveries d INDEXED BY deliveries_newest
                                           WHERE d.account_id = $1), $2))",
    )
    .bind(account.0)
    .bind(kept)
    .execute(&mut *tx)
    .await?;
    Ok(Pruned {
        changes: changes.rows_affected(),
        deliveries: count,
        given_up,
        attempts: attempts.rows_affected(),
        ..Pruned::default()
    })
}

/// How many deliveries with so many attempts each make up this many rows: one at least, so that it goes on.
fn within(rows_max: usize, attempts: impl Iterator<Item = i64>) -> usize {
    let mut rows: usize = 0;
    let fits = |attempts: &i64| {
        let before = rows;
        rows = rows.saturating_add(1).saturating_add(usize::try_from(*attempts).unwrap_or_default());
        before == 0 || rows <= rows_max
    };
    attempts.take_while(fits).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_takes_as_many_deliveries_as_fit_with_their_attempts() {
        let check = |rows_max: usize, attempts: &[i64], wanted: usize| {
            assert_eq!(within(rows_max, attempts.iter().copied()), wanted, "{attempts:?} in {rows_max}");
        };
        check(10, &[], 0);
        check(10, &[0; 20], 10);
        check(10, &[4, 4, 0], 2);
        check(10, &[4, 3, 0, 0], 3);
        check(10, &[100, 0], 1);
        check(10, &[8, 1, 0], 1);
    }
}
