use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Sqlite;
use super::deliveries::{self, Line};
use super::rows::{Cell, ChangeRow, Doing as _, int, json, row};
use crate::model::{AccountId, Collection, Entry, HookId, Seq, Subscriber};
use crate::store::{Error, Feed};

row! {
    struct OwedRow {
        hook_id: String,
        ..
        change: ChangeRow,
    }
}

#[async_trait]
impl Feed for Sqlite {
    async fn undelivered(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<(Entry, HookId)>, Error> {
        let rows: Vec<OwedRow> = sqlx::query_as(
            "SELECT owed.hook_id, owed.seq, c.change_id, c.at, c.collection, c.resource, c.body
             FROM (SELECT d.seq, min(d.hook_id) AS hook_id FROM deliveries d INDEXED BY deliveries_unread
                   WHERE d.account_id = $1 AND d.subscriber = $2 AND d.seq > $4 AND d.state IN ('waiting', 'exhausted')
                   GROUP BY d.seq ORDER BY d.seq LIMIT (SELECT $3)) owed
             LEFT JOIN changes c ON c.account_id = $1 AND c.seq = owed.seq
             ORDER BY owed.seq",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(int(limit))
        .bind(int(after.0))
        .fetch_all(&self.readers)
        .await
        .doing("reading undelivered changes")?;
        rows.into_iter().map(|row| Ok((row.change.entry(account)?, HookId(row.hook_id)))).collect()
    }

    async fn owed(&self, account: AccountId, collection: Collection) -> Result<BTreeSet<String>, Error> {
        let ids: Vec<String> = sqlx::query_scalar(
            "SELECT DISTINCT resource FROM deliveries INDEXED BY deliveries_unread
             WHERE account_id = $1 AND collection = $2 AND state IN ('waiting', 'exhausted')",
        )
        .bind(account.0)
        .bind(collection.as_str())
        .fetch_all(&self.readers)
        .await
        .doing("reading what is owed")?;
        Ok(ids.into_iter().collect())
    }

    async fn acknowledge(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        seqs: &[Seq],
        now: Timestamp,
    ) -> Result<u64, Error> {
        const ACTION: &str = "acknowledging changes";
        if seqs.is_empty() {
            return Ok(0);
        }
        let seqs = json(&seqs);
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        // Of each hook and resource only the ready one, being the oldest, holds others up.
        let lines: Vec<Line> = sqlx::query_as(
            "SELECT account_id, hook_id, collection, resource FROM deliveries INDEXED BY deliveries_unread
             WHERE account_id = $1 AND subscriber = $2 AND seq IN (SELECT value FROM json_each($3))
                   AND state IN ('waiting', 'exhausted') AND next_at IS NOT NULL",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(&seqs)
        .fetch_all(&mut *tx)
        .await
        .doing(ACTION)?;
        let read = sqlx::query(
            "UPDATE deliveries INDEXED BY deliveries_unread
             SET state = 'read', settled_at = $4, receiver = NULL, next_at = NULL, claimed_at = NULL
             WHERE account_id = $1 AND subscriber = $2 AND seq IN (SELECT value FROM json_each($3))
                   AND state IN ('waiting', 'exhausted')",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(&seqs)
        .bind(now.as_millisecond())
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        deliveries::promote(&mut tx, &lines, now.as_millisecond()).await.doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        if read.rows_affected() > 0 {
            self.revoked.note(account);
        }
        Ok(read.rows_affected())
    }

    async fn acknowledge_through(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        seq: Seq,
        now: Timestamp,
    ) -> Result<u64, Error> {
        const ACTION: &str = "acknowledging changes";
        // Mostly there is nothing, and reading does not wait for the one writer.
        let some: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_unread
                            WHERE account_id = $1 AND subscriber = $2 AND seq <= $3
                                  AND state IN ('waiting', 'exhausted'))",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(int(seq.0))
        .fetch_one(&self.readers)
        .await
        .doing(ACTION)?;
        if !some {
            return Ok(0);
        }
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let lines: Vec<Line> = sqlx::query_as(
            "SELECT account_id, hook_id, collection, resource FROM deliveries INDEXED BY deliveries_unread
             WHERE account_id = $1 AND subscriber = $2 AND seq <= $3
                   AND state IN ('waiting', 'exhausted') AND next_at IS NOT NULL",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(int(seq.0))
        .fetch_all(&mut *tx)
        .await
        .doing(ACTION)?;
        let read = sqlx::query(
            "UPDATE deliveries INDEXED BY deliveries_unread
             SET state = 'read', settled_at = $4, receiver = NULL, next_at = NULL, claimed_at = NULL
             WHERE account_id = $1 AND subscriber = $2 AND seq <= $3 AND state IN ('waiting', 'exhausted')",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(int(seq.0))
        .bind(now.as_millisecond())
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        deliveries::promote(&mut tx, &lines, now.as_millisecond()).await.doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        if read.rows_affected() > 0 {
            self.revoked.note(account);
        }
        Ok(read.rows_affected())
    }

    async fn log_after(&self, account: AccountId, after: Seq, limit: usize) -> Result<Vec<Entry>, Error> {
        let rows: Vec<ChangeRow> = sqlx::query_as(
            "SELECT seq, change_id, at, collection, resource, body FROM changes
             WHERE account_id = $1 AND seq > $2 ORDER BY seq LIMIT (SELECT $3)",
        )
        .bind(account.0)
        .bind(int(after.0))
        .bind(int(limit))
        .fetch_all(&self.readers)
        .await
        .doing("reading the log")?;
        rows.into_iter().map(|row| row.entry(account)).collect()
    }

    fn follow(&self, account: AccountId) -> watch::Receiver<u64> {
        self.followers.follow(account)
    }

    async fn log_bounds(&self, account: AccountId) -> Result<(Option<Seq>, Seq), Error> {
        // One statement, so that the oldest is never newer than the last.
        let bounds: Option<(Option<i64>, i64)> = sqlx::query_as(
            "SELECT (SELECT min(seq) FROM changes WHERE account_id = $1), last_seq FROM accounts WHERE account_id = $1",
        )
        .bind(account.0)
        .fetch_optional(&self.readers)
        .await
        .doing("reading the log's bounds")?;
        let Some((oldest, last)) = bounds else { return Ok((None, Seq(0))) };
        let oldest_cell = Cell { table: "changes", column: "seq", account, key: &"(the oldest)" };
        let oldest = oldest.map(|seq| oldest_cell.unsigned(seq).map(Seq)).transpose()?;
        let last_cell = Cell { table: "accounts", column: "last_seq", account, key: &"" };
        Ok((oldest, Seq(last_cell.unsigned(last)?)))
    }
}
