use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::rows::{Cell, ChangeRow, Doing as _, int, json, row};
use super::{Sqlite, verdicts};
use crate::model::{AccountId, Delivery, HookId, Merged, Outcome, Seq};
use crate::store::{Claimed, Deliveries, Error};

row! {
    struct ClaimRow {
        delivery: i64,
        account_id: i64,
        hook_id: String,
        hook_version: Option<i64>,
        receiver: String,
        attempts: i64,
        created_at: i64,
        merged_from: Option<i64>,
        merged_count: Option<i64>,
        ..
        change: ChangeRow,
    }
}

impl ClaimRow {
    fn delivery(self) -> Result<Delivery, Error> {
        let account = AccountId(self.account_id);
        let key = format!("{} seq {}", self.hook_id, self.change.seq);
        let cell = Cell { table: "deliveries", column: "attempts", account, key: &key };
        let merged = match (self.merged_from, self.merged_count) {
            (Some(from), Some(count)) => {
                let cell = cell.column("merged_count");
                Some(Merged { from_seq: Seq(cell.unsigned(from)?), count: cell.unsigned(count)? })
            }
            _ => None,
        };
        Ok(Delivery {
            account,
            merged,
            // A hook that is not there any more has none, and is found missing when it is loaded.
            hook_version: self.hook_version.map_or(Ok(0), |version| cell.column("hook_id").unsigned(version))?,
            receiver: self.receiver,
            attempts: cell.unsigned(self.attempts)?,
            created_at: cell.column("created_at").instant(self.created_at)?,
            hook: HookId(self.hook_id),
            entry: self.change.entry(account)?,
        })
    }
}

row! {
    /// A hook and a resource: what order is kept for.
    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
    pub(super) struct Line {
        pub(super) account_id: i64,
        pub(super) hook_id: String,
        pub(super) collection: String,
        pub(super) resource: String,
    }
}

#[async_trait]
impl Deliveries for Sqlite {
    async fn claim(
        &self,
        now: Timestamp,
        until: Timestamp,
        limit: usize,
        per_receiver: usize,
        full: &[String],
    ) -> Result<Claimed, Error> {
        const ACTION: &str = "claiming deliveries";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        // Receivers are found by leaping through the index from one to the next, and of each only its first few rows are read:
        // the cost is that of the receivers, not of what waits for them. The `limit` receivers with the longest overdue
        // rows are enough, as each of them brings at least one.
        let rows: Vec<ClaimRow> = sqlx::query_as(
            "WITH RECURSIVE receivers (receiver) AS (
                 SELECT (SELECT d.receiver FROM deliveries d INDEXED BY deliveries_ready
                         WHERE d.next_at IS NOT NULL ORDER BY d.receiver LIMIT 1)
                 UNION ALL
                 SELECT (SELECT d.receiver FROM deliveries d INDEXED BY deliveries_ready
                         WHERE d.next_at IS NOT NULL AND d.receiver > r.receiver ORDER BY d.receiver LIMIT 1)
                 FROM receivers r WHERE r.receiver IS NOT NULL
             ),
             due (receiver) AS (
                 SELECT head.receiver FROM receivers r
                 CROSS JOIN deliveries head ON head.rowid = (
                     SELECT d.rowid FROM deliveries d INDEXED BY deliveries_ready
                     WHERE d.receiver = r.receiver AND d.next_at IS NOT NULL AND d.next_at <= $1
                     ORDER BY d.next_at, d.account_id, d.seq, d.hook_id LIMIT 1)
                 WHERE r.receiver IS NOT NULL AND r.receiver NOT IN (SELECT value FROM json_each($5))
                 ORDER BY head.next_at, head.account_id, head.seq, head.hook_id LIMIT $3
             ),
             picked (delivery) AS (
                 SELECT d.rowid FROM due CROSS JOIN deliveries d ON d.rowid IN (
                     SELECT x.rowid FROM deliveries x INDEXED BY deliveries_ready
                     WHERE x.receiver = due.receiver AND x.next_at IS NOT NULL AND x.next_at <= $1
                     ORDER BY x.next_at, x.account_id, x.seq, x.hook_id LIMIT $4)
                 ORDER BY d.next_at, d.account_id, d.seq, d.hook_id LIMIT $3
             )
             SELECT d.rowid AS delivery, d.account_id, d.hook_id, h.version AS hook_version, d.receiver, d.attempts,
                    d.created_at, d.merged_from, d.merged_count,
                    d.seq, c.change_id, c.at, c.collection, c.resource, c.body
             FROM picked CROSS JOIN deliveries d ON d.rowid = picked.delivery
             LEFT JOIN changes c ON c.account_id = d.account_id AND c.seq = d.seq
             LEFT JOIN hooks h ON h.account_id = d.account_id AND h.hook_id = d.hook_id
             ORDER BY d.next_at, d.account_id, d.seq, d.hook_id",
        )
        .bind(now.as_millisecond())
        .bind(until.as_millisecond())
        .bind(int(limit))
        .bind(int(per_receiver))
        .bind(json(&full))
        .fetch_all(&mut *tx)
        .await
        .doing(ACTION)?;
        if rows.is_empty() {
            return Ok(Claimed::default());
        }
        let picked: Vec<i64> = rows.iter().map(|row| row.delivery).collect();
        sqlx::query(
            "UPDATE deliveries SET next_at = $2, claimed_at = $1 WHERE rowid IN (SELECT value FROM json_each($3))",
        )
        .bind(now.as_millisecond())
        .bind(until.as_millisecond())
        .bind(json(&picked))
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        let mut claimed = Claimed::default();
        for row in rows {
            match row.delivery() {
                Ok(delivery) => claimed.deliveries.push(delivery),
                Err(err) => claimed.unreadable.push(err),
            }
        }
        Ok(claimed)
    }

    async fn record(&self, outcomes: &[Outcome], now: Timestamp) -> Result<(), Error> {
        const ACTION: &str = "recording attempts";
        if outcomes.is_empty() {
            return Ok(());
        }
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        verdicts::record(&mut tx, outcomes, now).await?;
        tx.commit().await.doing(ACTION)
    }

    async fn release_claims(&self) -> Result<u64, Error> {
        const ACTION: &str = "releasing claims";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let released = sqlx::query(
            "UPDATE deliveries INDEXED BY deliveries_ready SET next_at = due_at, claimed_at = NULL
             WHERE next_at IS NOT NULL AND claimed_at IS NOT NULL",
        )
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        Ok(released.rows_affected())
    }

    async fn next_delivery_due_at(&self) -> Result<Option<Timestamp>, Error> {
        let next: Option<i64> = sqlx::query_scalar(
            "WITH RECURSIVE receivers (receiver) AS (
                 SELECT (SELECT d.receiver FROM deliveries d INDEXED BY deliveries_ready
                         WHERE d.next_at IS NOT NULL ORDER BY d.receiver LIMIT 1)
                 UNION ALL
                 SELECT (SELECT d.receiver FROM deliveries d INDEXED BY deliveries_ready
                         WHERE d.next_at IS NOT NULL AND d.receiver > r.receiver ORDER BY d.receiver LIMIT 1)
                 FROM receivers r WHERE r.receiver IS NOT NULL
             )
             SELECT min((SELECT d.next_at FROM deliveries d INDEXED BY deliveries_ready
                         WHERE d.receiver = r.receiver AND d.next_at IS NOT NULL
                         ORDER BY d.next_at LIMIT 1))
             FROM receivers r WHERE r.receiver IS NOT NULL",
        )
        .fetch_one(&self.readers)
        .await
        .doing("reading when the next delivery is due")?;
        let cell = Cell { table: "deliveries", column: "next_at", account: AccountId(0), key: &"(the earliest)" };
        next.map(|ms| cell.instant(ms)).transpose()
    }
}

/// The hook is not posted to: nothing of it is ready, claims end.
pub(super) async fn park(tx: &mut SqliteConnection, account: AccountId, hook: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE deliveries INDEXED BY deliveries_order SET receiver = NULL, next_at = NULL, claimed_at = NULL
         WHERE account_id = $1 AND hook_id = $2 AND state = 'waiting' AND next_at IS NOT NULL",
    )
    .bind(account.0)
    .bind(hook)
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// What failed so far says nothing of where the hook is posted to now.
pub(super) async fn forget_attempts(
    tx: &mut SqliteConnection,
    account: AccountId,
    hook: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE deliveries INDEXED BY deliveries_order SET attempts = 0
         WHERE account_id = $1 AND hook_id = $2 AND state = 'waiting' AND attempts > 0",
    )
    .bind(account.0)
    .bind(hook)
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// The hook is posted to again, or elsewhere: of each resource the oldest waiting delivery becomes ready, at once. Claims
/// stand: what is under way is not to be sent twice at a time, and its outcome makes it due at once (see `verdicts`).
pub(super) async fn make_ready(
    tx: &mut SqliteConnection,
    account: AccountId,
    hook: &str,
    receiver: &str,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE deliveries SET receiver = $3, due_at = $4, next_at = iif(claimed_at IS NULL, $4, next_at)
         WHERE account_id = $1 AND hook_id = $2 AND seq IN (
             SELECT min(w.seq) FROM deliveries w INDEXED BY deliveries_order
             WHERE w.account_id = $1 AND w.hook_id = $2 AND w.state = 'waiting'
             GROUP BY w.collection, w.resource)",
    )
    .bind(account.0)
    .bind(hook)
    .bind(receiver)
    .bind(now_ms)
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// Makes the oldest waiting delivery of each of these lines ready at once, unless it is ready already or its hook is not
/// posted to. So it does no harm to name a line for nothing.
pub(super) async fn promote(tx: &mut SqliteConnection, lines: &[Line], now_ms: i64) -> Result<(), sqlx::Error> {
    if lines.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE deliveries
         SET due_at = $2, next_at = $2, claimed_at = NULL,
             receiver = (SELECT h.receiver FROM hooks h
                         WHERE h.account_id = deliveries.account_id AND h.hook_id = deliveries.hook_id)
         WHERE next_at IS NULL AND rowid IN (
             SELECT (SELECT w.rowid FROM deliveries w INDEXED BY deliveries_order
                     WHERE w.account_id = h.account_id AND w.hook_id = h.hook_id AND w.state = 'waiting'
                           AND w.collection = value ->> 'collection' AND w.resource = value ->> 'resource'
                     ORDER BY w.seq LIMIT 1)
             FROM json_each($1) CROSS JOIN hooks h
             WHERE h.account_id = value ->> 'account_id' AND h.hook_id = value ->> 'hook_id'
                   AND h.receiver IS NOT NULL AND h.disabled_at IS NULL)",
    )
    .bind(json(&lines))
    .bind(now_ms)
    .execute(&mut *tx)
    .await
    .map(drop)
}
