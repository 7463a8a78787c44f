//! What the owner of hooks asks and does: see [`crate::store::Ledger`].

mod page;

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::deliveries::{self, Line};
use super::hooks::HookRow;
use super::rows::{Cell, Doing as _, int, json, row};
use super::{Sqlite, samples};
use crate::model::{AccountId, Attempt, DeliveryState, HookId, Seq};
use crate::store::{
    DeliveryPage, DeliveryStanding, Error, HookStanding, Ledger, NewChange, Pulse, Snapshots, WhichDeliveries,
    WhichHooks,
};

row! {
    struct HookStandingRow {
        waiting_seq: Option<i64>,
        waiting_since: Option<i64>,
        exhausted_seq: Option<i64>,
        exhausted_since: Option<i64>,
        waiting: i64,
        ..
        hook: HookRow,
    }
}

impl HookStandingRow {
    fn standing(self, account: AccountId, sqlite: &Sqlite) -> Result<HookStanding, Error> {
        let hook = self.hook.hook(account, &sqlite.keys)?;
        let cell = Cell { table: "deliveries", column: "created_at", account, key: &hook.id };
        let place = |seq: Option<i64>, since: Option<i64>| match (seq, since) {
            (Some(seq), Some(since)) => Ok(Some((Seq(cell.unsigned(seq)?), cell.instant(since)?))),
            _ => Ok::<_, Error>(None),
        };
        let waiting = place(self.waiting_seq, self.waiting_since)?;
        let exhausted = place(self.exhausted_seq, self.exhausted_since)?;
        Ok(HookStanding {
            behind: waiting.into_iter().chain(exhausted).min(),
            waiting_since: waiting.map(|(_, since)| since),
            waiting: cell.unsigned(self.waiting)?,
            hook,
        })
    }
}

row! {
    struct AttemptRow {
        number: i64,
        at: i64,
        elapsed_ms: i64,
        status: Option<i64>,
        error: Option<String>,
        answer: String,
    }
}

impl AttemptRow {
    fn attempt(self, cell: Cell<'_>) -> Result<Attempt, Error> {
        Ok(Attempt {
            number: cell.column("number").unsigned(self.number)?,
            at: cell.column("at").instant(self.at)?,
            elapsed: Duration::from_millis(cell.column("elapsed_ms").unsigned(self.elapsed_ms)?),
            status: self.status.map(|status| cell.column("status").unsigned(status)).transpose()?,
            error: self.error,
            answer: self.answer,
        })
    }
}

row! {
    struct PulseRow {
        account_id: i64,
        hook_id: String,
        since: Option<i64>,
    }
}

#[async_trait]
impl Ledger for Sqlite {
    async fn hook_standings(&self, account: AccountId, which: &WhichHooks) -> Result<Vec<HookStanding>, Error> {
        let WhichHooks { id, subscriber, collection, resource, after, limit, waiting_max } = which;
        // One step in an index for each number, however much waits. That a state is one of two has to be said, or the index is
        // not found fit.
        let rows: Vec<HookStandingRow> = sqlx::query_as(
            "SELECT h.*, w.seq AS waiting_seq, w.created_at AS waiting_since,
                    e.seq AS exhausted_seq, e.created_at AS exhausted_since,
                    (SELECT count(*) FROM (SELECT 1 FROM deliveries d INDEXED BY deliveries_behind
                                           WHERE d.account_id = h.account_id AND d.hook_id = h.hook_id
                                                 AND d.state = 'waiting' AND d.state IN ('waiting', 'exhausted') LIMIT $8)) AS waiting
             FROM hooks h
             LEFT JOIN deliveries w ON w.account_id = h.account_id AND w.hook_id = h.hook_id AND w.seq = (
                 SELECT min(d.seq) FROM deliveries d INDEXED BY deliveries_behind
                 WHERE d.account_id = h.account_id AND d.hook_id = h.hook_id
                       AND d.state = 'waiting' AND d.state IN ('waiting', 'exhausted'))
             LEFT JOIN deliveries e ON e.account_id = h.account_id AND e.hook_id = h.hook_id AND e.seq = (
                 SELECT min(d.seq) FROM deliveries d INDEXED BY deliveries_behind
                 WHERE d.account_id = h.account_id AND d.hook_id = h.hook_id
                       AND d.state = 'exhausted' AND d.state IN ('waiting', 'exhausted'))
             WHERE h.account_id = $1 AND ($2 IS NULL OR h.hook_id = $2) AND ($3 IS NULL OR h.subscriber = $3)
                   AND ($4 IS NULL OR h.collection = $4)
                   AND ($5 IS NULL OR (h.scope = 'member' AND h.resource = $5)) AND h.hook_id > $6
             ORDER BY h.hook_id LIMIT $7",
        )
        .bind(account.0)
        .bind(id.as_ref().map(|id| &id.0))
        .bind(subscriber.as_ref().map(|subscriber| subscriber.as_str()))
        .bind(collection.map(|collection| collection.as_str()))
        .bind(resource.as_deref())
        .bind(after.as_ref().map_or("", |after| &after.0))
        .bind(int(*limit))
        .bind(int(*waiting_max))
        .fetch_all(&self.readers)
        .await
        .doing("reading how hooks stand")?;
        rows.into_iter().map(|row| row.standing(account, self)).collect()
    }

    async fn deliveries(&self, account: AccountId, which: &WhichDeliveries) -> Result<DeliveryPage, Error> {
        page::load(&self.readers, account, which).await
    }

    async fn delivery(
        &self,
        account: AccountId,
        hook: &HookId,
        seq: Seq,
        attempts_max: usize,
    ) -> Result<Option<(DeliveryStanding, Vec<Attempt>)>, Error> {
        const ACTION: &str = "reading a delivery";
        let Some(standing) = page::one(&self.readers, account, hook, seq).await? else { return Ok(None) };
        let rows: Vec<AttemptRow> = sqlx::query_as(
            "SELECT number, at, elapsed_ms, status, error, answer FROM attempts
             WHERE account_id = $1 AND hook_id = $2 AND seq = $3 ORDER BY record DESC LIMIT $4",
        )
        .bind(account.0)
        .bind(&hook.0)
        .bind(int(seq.0))
        .bind(int(attempts_max))
        .fetch_all(&self.readers)
        .await
        .doing(ACTION)?;
        let key = format!("{hook} seq {seq}");
        let cell = Cell { table: "attempts", column: "number", account, key: &key };
        let attempts = rows.into_iter().rev().map(|row| row.attempt(cell)).collect::<Result<_, _>>()?;
        Ok(Some((standing, attempts)))
    }

    async fn enable_hook(&self, account: AccountId, hook: &HookId, now: Timestamp) -> Result<bool, Error> {
        const ACTION: &str = "enabling a hook";
        let now_ms = now.as_millisecond();
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        // `set_at` as well: what an attempt made before says of the receiver is out of date.
        let enabled: Option<Option<String>> = sqlx::query_scalar(
            "UPDATE hooks SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL, set_at = $3,
                              version = version + 1
             WHERE account_id = $1 AND hook_id = $2 AND disabled_at IS NOT NULL
             RETURNING receiver",
        )
        .bind(account.0)
        .bind(&hook.0)
        .bind(now_ms)
        .fetch_optional(&mut *tx)
        .await
        .doing(ACTION)?;
        let Some(receiver) = enabled else {
            return sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM hooks WHERE account_id = $1 AND hook_id = $2)")
                .bind(account.0)
                .bind(&hook.0)
                .fetch_one(&mut *tx)
                .await
                .doing(ACTION);
        };
        if let Some(receiver) = receiver {
            deliveries::make_ready(&mut tx, account, &hook.0, &receiver, now_ms).await.doing(ACTION)?;
        }
        tx.commit().await.doing(ACTION)?;
        self.revoked.note(account);
        Ok(true)
    }

    async fn commit_snapshots(&self, snapshots: &Snapshots) -> Result<Option<(Seq, Seq)>, Error> {
        const ACTION: &str = "recording how things stand";
        let Snapshots { account, hook, collection, version, changes, now } = snapshots;
        if changes.is_empty() {
            return Ok(None);
        }
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let stands: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM hooks WHERE account_id = $1 AND hook_id = $2)
                    AND $4 = coalesce((SELECT version FROM units WHERE account_id = $1 AND collection = $3), 0)",
        )
        .bind(account.0)
        .bind(&hook.0)
        .bind(collection.as_str())
        .bind(version)
        .fetch_one(&mut *tx)
        .await
        .doing(ACTION)?;
        if !stands {
            return Err(Error::Conflict);
        }
        let told = |change| NewChange { change, told: vec![hook.clone()] };
        let changes: Vec<_> = changes.iter().cloned().map(told).collect();
        let entries = samples::record_changes(&mut tx, *account, &changes, *now).await.doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        self.followers.tell(*account);
        Ok(entries.first().zip(entries.last()).map(|(first, last)| (first.seq, last.seq)))
    }

    async fn settled_since(
        &self,
        account: AccountId,
        hook: &HookId,
        since: Timestamp,
        states: &[DeliveryState],
        limit: usize,
    ) -> Result<Vec<Seq>, Error> {
        const ACTION: &str = "reading what is to be sent again";
        let first = page::first_since(&self.readers, account, since).await?;
        let words: Vec<_> = states.iter().map(|state| state.as_str()).collect();
        let query = match states {
            [DeliveryState::Exhausted] => sqlx::query_scalar(
                "SELECT seq FROM deliveries INDEXED BY deliveries_behind
                 WHERE account_id = $1 AND hook_id = $2 AND state = 'exhausted' AND seq >= $3 AND created_at >= $4
                       AND state IN ('waiting', 'exhausted') AND state IN (SELECT value FROM json_each($5))
                 ORDER BY seq LIMIT $6",
            ),
            _ => sqlx::query_scalar(
                "SELECT seq FROM deliveries INDEXED BY sqlite_autoindex_deliveries_1
                 WHERE account_id = $1 AND hook_id = $2 AND seq >= $3 AND created_at >= $4
                       AND state IN (SELECT value FROM json_each($5))
                 ORDER BY seq LIMIT $6",
            ),
        };
        let seqs: Vec<i64> = query
            .bind(account.0)
            .bind(&hook.0)
            .bind(first)
            .bind(since.as_millisecond())
            .bind(json(&words))
            .bind(int(limit))
            .fetch_all(&self.readers)
            .await
            .doing(ACTION)?;
        let cell = Cell { table: "deliveries", column: "seq", account, key: hook };
        seqs.into_iter().map(|seq| cell.unsigned(seq).map(Seq)).collect()
    }

    async fn redeliver(
        &self,
        account: AccountId,
        hook: &HookId,
        seqs: &[Seq],
        states: &[DeliveryState],
        now: Timestamp,
    ) -> Result<Option<u64>, Error> {
        const ACTION: &str = "sending again";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let is_called: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM hooks
                            WHERE account_id = $1 AND hook_id = $2 AND receiver IS NOT NULL AND disabled_at IS NULL)",
        )
        .bind(account.0)
        .bind(&hook.0)
        .fetch_one(&mut *tx)
        .await
        .doing(ACTION)?;
        if !is_called {
            return Ok(None);
        }
        let (count, lines) = begin_again(&mut tx, account, hook, seqs, states, now).await.doing(ACTION)?;
        restore_order(&mut tx, &lines, now.as_millisecond()).await.doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        Ok(Some(count))
    }

    async fn pulse(&self, hooks_max: usize, waiting_max: usize) -> Result<Pulse, Error> {
        const ACTION: &str = "taking the pulse";
        let rows: Vec<PulseRow> = sqlx::query_as(
            "SELECT h.account_id, h.hook_id,
                    (SELECT d.created_at FROM deliveries d INDEXED BY deliveries_behind
                     WHERE d.account_id = h.account_id AND d.hook_id = h.hook_id AND d.state = 'waiting'
                           AND d.state IN ('waiting', 'exhausted')
                     ORDER BY d.seq LIMIT 1) AS since
             FROM hooks h ORDER BY since IS NULL, since, h.account_id, h.hook_id LIMIT $1",
        )
        .bind(int(hooks_max))
        .fetch_all(&self.readers)
        .await
        .doing(ACTION)?;
        let (total, disabled, waiting): (i64, i64, i64) = sqlx::query_as(
            "SELECT count(*), count(disabled_at),
                    (SELECT count(*) FROM (SELECT 1 FROM deliveries INDEXED BY deliveries_order
                                           WHERE state = 'waiting' LIMIT $1))
             FROM hooks",
        )
        .bind(int(waiting_max))
        .fetch_one(&self.readers)
        .await
        .doing(ACTION)?;
        let hook = |row: PulseRow| {
            let account = AccountId(row.account_id);
            let cell = Cell { table: "deliveries", column: "created_at", account, key: &row.hook_id };
            let since = row.since.map(|ms| cell.instant(ms)).transpose()?;
            Ok((account, HookId(row.hook_id), since))
        };
        Ok(Pulse {
            hooks: rows.into_iter().map(hook).collect::<Result<_, Error>>()?,
            // Counts are never negative.
            hooks_total: total.unsigned_abs(),
            hooks_disabled: disabled.unsigned_abs(),
            deliveries_waiting: waiting.unsigned_abs(),
        })
    }
}

/// Makes them wait, none of them ready that was not before. How many, and of which lines.
async fn begin_again(
    tx: &mut SqliteConnection,
    account: AccountId,
    hook: &HookId,
    seqs: &[Seq],
    states: &[DeliveryState],
    now: Timestamp,
) -> Result<(u64, Vec<Line>), sqlx::Error> {
    let states: Vec<_> = states.iter().map(|state| state.as_str()).collect();
    let lines: Vec<Line> = sqlx::query_as(
        "UPDATE deliveries
         SET state = 'waiting', settled_at = NULL, attempts = 0, due_at = max($5, coalesce(not_before, $5)),
             next_at = iif(next_at IS NULL, NULL, max($5, coalesce(not_before, $5)))
         WHERE account_id = $1 AND hook_id = $2 AND seq IN (SELECT value FROM json_each($3))
               AND state IN (SELECT value FROM json_each($4)) AND claimed_at IS NULL
         RETURNING account_id, hook_id, collection, resource",
    )
    .bind(account.0)
    .bind(&hook.0)
    .bind(json(&seqs))
    .bind(json(&states))
    .bind(now.as_millisecond())
    .fetch_all(&mut *tx)
    .await?;
    let count = lines.len() as u64;
    let lines: BTreeSet<Line> = lines.into_iter().collect();
    Ok((count, lines.into_iter().collect()))
}

/// Of each line the oldest becomes the one that is ready, unless a newer one is claimed.
async fn restore_order(tx: &mut SqliteConnection, lines: &[Line], now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE deliveries SET receiver = NULL, next_at = NULL
         WHERE next_at IS NOT NULL AND claimed_at IS NULL
               AND rowid IN (
                   SELECT (SELECT w.rowid FROM deliveries w INDEXED BY deliveries_order
                           WHERE w.account_id = value ->> 'account_id' AND w.hook_id = value ->> 'hook_id'
                                 AND w.collection = value ->> 'collection' AND w.resource = value ->> 'resource'
                                 AND w.state = 'waiting' AND w.next_at IS NOT NULL
                           ORDER BY w.seq LIMIT 1)
                   FROM json_each($1))
               AND EXISTS (SELECT 1 FROM deliveries e INDEXED BY deliveries_order
                           WHERE e.account_id = deliveries.account_id AND e.hook_id = deliveries.hook_id
                                 AND e.collection = deliveries.collection AND e.resource = deliveries.resource
                                 AND e.state = 'waiting' AND e.seq < deliveries.seq)",
    )
    .bind(json(&lines))
    .execute(&mut *tx)
    .await?;
    let free: Vec<Line> = sqlx::query_as(
        "SELECT value ->> 'account_id' AS account_id, value ->> 'hook_id' AS hook_id,
                value ->> 'collection' AS collection, value ->> 'resource' AS resource
         FROM json_each($1)
         WHERE NOT EXISTS (SELECT 1 FROM deliveries w INDEXED BY deliveries_order
                           WHERE w.account_id = value ->> 'account_id' AND w.hook_id = value ->> 'hook_id'
                                 AND w.collection = value ->> 'collection' AND w.resource = value ->> 'resource'
                                 AND w.state = 'waiting' AND w.next_at IS NOT NULL)",
    )
    .bind(json(&lines))
    .fetch_all(&mut *tx)
    .await?;
    deliveries::promote(tx, &free, now_ms).await
}
