use std::collections::BTreeSet;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::watch;

use super::Sqlite;
use super::deliveries::{self, Line};
use super::rows::{Cell, ChangeRow, Doing as _, int, json, row};
use crate::model::{AccountId, Collection, Entry, HookId, Seq, Subscriber, Topic};
use crate::store::{Error, Feed, OwedPage, WhichOwed};

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

    async fn undelivered_of(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        which: &WhichOwed<'_>,
    ) -> Result<OwedPage, Error> {
        const ACTION: &str = "looking for undelivered changes";
        let WhichOwed { after, through, collection, resource, kinds, realm, limit, scan_max } = which;
        let through = through.map_or(i64::MAX, |seq| int(seq.0));
        // How far this look goes: the index alone tells. A change owed by several hooks is looked at with the first of them.
        let (seen, last): (i64, Option<i64>) = sqlx::query_as(
            "SELECT count(*), max(seq) FROM (
                 SELECT seq FROM deliveries INDEXED BY deliveries_unread
                 WHERE account_id = $1 AND subscriber = $2 AND seq > $3 AND seq <= $4
                       AND state IN ('waiting', 'exhausted')
                 ORDER BY seq LIMIT (SELECT $5))",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(int(after.0))
        .bind(through)
        .bind(int(*scan_max))
        .fetch_one(&self.readers)
        .await
        .doing(ACTION)?;
        let Some(last) = last else { return Ok(OwedPage { owed: Vec::new(), looked: None }) };
        let to = if seen < int(*scan_max) { through } else { last };
        let rows: Vec<OwedRow> = sqlx::query_as(
            "SELECT owed.hook_id, owed.seq, c.change_id, c.at, c.collection, c.resource, c.body
             FROM (SELECT d.seq, min(d.hook_id) AS hook_id FROM deliveries d INDEXED BY deliveries_unread
                   WHERE d.account_id = $1 AND d.subscriber = $2 AND d.seq > $3 AND d.seq <= $4
                         AND d.state IN ('waiting', 'exhausted')
                         AND ($6 IS NULL OR d.collection = $6) AND ($7 IS NULL OR d.resource = $7)
                         AND ($8 IS NULL AND $9 IS NULL OR EXISTS (
                             SELECT 1 FROM changes f WHERE f.account_id = $1 AND f.seq = d.seq
                                    AND ($8 IS NULL OR f.kind IN (SELECT value FROM json_each($8)))
                                    AND ($9 IS NULL OR instr(f.body, $9) > 0)))
                   GROUP BY d.seq ORDER BY d.seq LIMIT (SELECT $5)) owed
             LEFT JOIN changes c ON c.account_id = $1 AND c.seq = owed.seq
             ORDER BY owed.seq",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(int(after.0))
        .bind(to)
        .bind(int(*limit))
        .bind(collection.map(Topic::as_str))
        .bind(*resource)
        .bind(kinds.as_ref().map(json))
        // A realm is not a column. What a change says of it beside, in its news, is sorted out by whoever asked.
        .bind(realm.map(|realm| format!("\"realm\":{}", json(&realm))))
        .fetch_all(&self.readers)
        .await
        .doing(ACTION)?;
        let owed: Vec<_> = rows
            .into_iter()
            .map(|row| Ok((row.change.entry(account)?, HookId(row.hook_id))))
            .collect::<Result<_, Error>>()?;
        let cell = Cell { table: "deliveries", column: "seq", account, key: &"" };
        let looked = match owed.last() {
            Some((entry, _)) if owed.len() == *limit => Some(entry.seq),
            _ if seen < int(*scan_max) => None,
            _ => Some(Seq(cell.unsigned(last)?)),
        };
        Ok(OwedPage { owed, looked })
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
