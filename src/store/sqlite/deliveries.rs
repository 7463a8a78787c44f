use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::rows::{Cell, ChangeRow, Doing as _, int, json, row};
use super::{Sqlite, verdicts};
use crate::model::{AccountId, Delivery, HookId, Merged, Outcome, Seq, Verdict};
use crate::store::{Ask, Claimed, Deliveries, Error, Mark, RELEASED_MAX, Recovered, Results, Returned};

row! {
    struct ClaimRow {
        account_id: i64,
        hook_id: String,
        hook_version: Option<i64>,
        failing_since: Option<i64>,
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
            failing_since: self
                .failing_since
                .map(|ms| Cell { table: "hooks", column: "failing_since", account, key: &self.hook_id }.instant(ms))
                .transpose()?,
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

row! {
    /// A delivery that may be claimed.
    struct Pick {
        delivery: i64,
        /// Its hook wants the newest only.
        latest: bool,
    }
}

row! {
    /// A line of which more than one waits, and the newest of it.
    struct Backlog {
        /// What was picked, the oldest.
        delivery: i64,
        newest: i64,
        from_seq: i64,
        count: i64,
    }
}

#[derive(Serialize)]
struct FoldJson {
    newest: i64,
    from_seq: i64,
    count: i64,
}

#[derive(Serialize)]
struct ReturnedJson<'a> {
    account: i64,
    hook: &'a str,
    seq: i64,
    until: i64,
    due_at: Option<i64>,
}

const CLAIMING: &str = "claiming deliveries";
const RECORDING: &str = "recording attempts";

#[async_trait]
impl Deliveries for Sqlite {
    async fn claim(&self, ask: &Ask) -> Result<Claimed, Error> {
        let mut turn = self.writer.turn(CLAIMING).await?;
        let mut tx = turn.begin().await?;
        let rows = claim(&mut tx, ask).await.doing(CLAIMING)?;
        if rows.is_empty() {
            return Ok(Claimed::default());
        }
        tx.commit().await.doing(CLAIMING)?;
        Ok(claimed(rows))
    }

    async fn record(&self, results: &Results, now: Timestamp) -> Result<(), Error> {
        if results.is_empty() {
            return Ok(());
        }
        let mut turn = self.writer.turn(RECORDING).await?;
        let mut tx = turn.begin().await?;
        record(&mut tx, results, now).await?;
        tx.commit().await.doing(RECORDING)?;
        self.tell(results);
        Ok(())
    }

    async fn record_and_claim(&self, results: &Results, ask: &Ask) -> Result<Claimed, Error> {
        let mut turn = self.writer.turn(RECORDING).await?;
        let mut tx = turn.begin().await?;
        record(&mut tx, results, ask.now).await?;
        let rows = claim(&mut tx, ask).await.doing(CLAIMING)?;
        tx.commit().await.doing(RECORDING)?;
        self.tell(results);
        Ok(claimed(rows))
    }

    fn mark(&self) -> Mark {
        self.revoked.mark()
    }

    fn revoked_since(&self, account: AccountId, mark: Mark) -> bool {
        self.revoked.since(account, mark)
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

    async fn next_delivery_due_at(&self, but: &BTreeSet<String>) -> Result<Option<Timestamp>, Error> {
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
             FROM receivers r WHERE r.receiver IS NOT NULL AND r.receiver NOT IN (SELECT value FROM json_each($1))",
        )
        .bind(json(but))
        .fetch_one(&self.readers)
        .await
        .doing("reading when the next delivery is due")?;
        let cell = Cell { table: "deliveries", column: "next_at", account: AccountId(0), key: &"(the earliest)" };
        next.map(|ms| cell.instant(ms)).transpose()
    }
}

impl Sqlite {
    /// Of a hook that was disabled nothing more is begun, and a change says so.
    fn tell(&self, results: &Results) {
        for Outcome { account, verdict, .. } in &results.outcomes {
            if let Verdict::Disable(_) | Verdict::Exhausted { disable: Some(_) } = verdict {
                self.revoked.note(*account);
                self.followers.tell(*account);
            }
        }
    }
}

/// Takes what is due, within the open transaction.
async fn claim(tx: &mut SqliteConnection, ask: &Ask) -> Result<Vec<ClaimRow>, sqlx::Error> {
    if ask.limit == 0 {
        return Ok(Vec::new());
    }
    let picked = pick(tx, ask).await?;
    if picked.is_empty() {
        return Ok(Vec::new());
    }
    let latest: Vec<i64> = picked.iter().filter(|pick| pick.latest).map(|pick| pick.delivery).collect();
    let newest = if latest.is_empty() { BTreeMap::new() } else { fold(tx, &latest, ask).await? };
    let taken: Vec<i64> =
        picked.iter().map(|pick| newest.get(&pick.delivery).copied().unwrap_or(pick.delivery)).collect();
    let taken = json(&taken);
    sqlx::query("UPDATE deliveries SET next_at = $2, claimed_at = $1 WHERE rowid IN (SELECT value FROM json_each($3))")
        .bind(ask.now.as_millisecond())
        .bind(ask.until.as_millisecond())
        .bind(&taken)
        .execute(&mut *tx)
        .await?;
    // In the order of the list.
    sqlx::query_as(
        "SELECT d.account_id, d.hook_id, h.version AS hook_version, h.failing_since, d.receiver, d.attempts, d.created_at,
                d.merged_from, d.merged_count, d.seq, c.change_id, c.at, c.collection, c.resource, c.body
         FROM json_each($1) CROSS JOIN deliveries d ON d.rowid = value
         LEFT JOIN changes c ON c.account_id = d.account_id AND c.seq = d.seq
         LEFT JOIN hooks h ON h.account_id = d.account_id AND h.hook_id = d.hook_id",
    )
    .bind(&taken)
    .fetch_all(&mut *tx)
    .await
}

/// Receivers are found by leaping through the index from one to the next, and of each only its first few rows are read: the
/// cost is that of the receivers, not of what waits for them. The list of rooms is searched as a set and walked once, never
/// joined: a list has no index, and that would cost the receivers times the rooms. The `limit` receivers with the longest
/// overdue rows are enough, as each of them brings at least one.
async fn pick(tx: &mut SqliteConnection, ask: &Ask) -> Result<Vec<Pick>, sqlx::Error> {
    let most = ask.rooms.values().copied().chain([ask.per_receiver]).max().unwrap_or_default();
    sqlx::query_as(
        "WITH RECURSIVE receivers (receiver) AS (
             SELECT (SELECT d.receiver FROM deliveries d INDEXED BY deliveries_ready
                     WHERE d.next_at IS NOT NULL ORDER BY d.receiver LIMIT 1)
             UNION ALL
             SELECT (SELECT d.receiver FROM deliveries d INDEXED BY deliveries_ready
                     WHERE d.next_at IS NOT NULL AND d.receiver > r.receiver ORDER BY d.receiver LIMIT 1)
             FROM receivers r WHERE r.receiver IS NOT NULL
         ),
         roomy (receiver, room) AS (
             SELECT r.receiver, $4 FROM receivers r
             WHERE $4 > 0 AND r.receiver IS NOT NULL AND r.receiver NOT IN (SELECT key FROM json_each($5))
             UNION ALL
             SELECT j.key, j.value FROM json_each($5) j WHERE j.value > 0
         ),
         due (receiver, room) AS (
             SELECT head.receiver, r.room FROM roomy r
             CROSS JOIN deliveries head ON head.rowid = (
                 SELECT d.rowid FROM deliveries d INDEXED BY deliveries_ready
                 WHERE d.receiver = r.receiver AND d.next_at IS NOT NULL AND d.next_at <= $1
                 ORDER BY d.next_at, d.account_id, d.seq, d.hook_id LIMIT 1)
             ORDER BY head.next_at, head.account_id, head.seq, head.hook_id LIMIT (SELECT $2)
         ),
         few (delivery, next_at, account_id, seq, hook_id, room, place) AS (
             SELECT d.rowid, d.next_at, d.account_id, d.seq, d.hook_id, due.room,
                    row_number() OVER (PARTITION BY d.receiver ORDER BY d.next_at, d.account_id, d.seq, d.hook_id)
             FROM due CROSS JOIN deliveries d ON d.rowid IN (
                 SELECT x.rowid FROM deliveries x INDEXED BY deliveries_ready
                 WHERE x.receiver = due.receiver AND x.next_at IS NOT NULL AND x.next_at <= $1
                 ORDER BY x.next_at, x.account_id, x.seq, x.hook_id LIMIT (SELECT $3))
         )
         SELECT f.delivery, coalesce(h.mode = 'latest', false) AS latest
         FROM (SELECT * FROM few WHERE place <= room ORDER BY next_at, account_id, seq, hook_id LIMIT (SELECT $2)) f
         LEFT JOIN hooks h ON h.account_id = f.account_id AND h.hook_id = f.hook_id
         ORDER BY f.next_at, f.account_id, f.seq, f.hook_id",
    )
    .bind(ask.now.as_millisecond())
    .bind(int(ask.limit))
    .bind(int(most))
    .bind(int(ask.per_receiver))
    .bind(json(&ask.rooms))
    .fetch_all(&mut *tx)
    .await
}

/// Of lines whose hook wants the newest only: all that waits is merged into it, and it takes the place of the oldest. Answers
/// with the newest by what was picked, where that is another.
async fn fold(tx: &mut SqliteConnection, picked: &[i64], ask: &Ask) -> Result<BTreeMap<i64, i64>, sqlx::Error> {
    let lines: Vec<Backlog> = sqlx::query_as(
        "SELECT p.rowid AS delivery,
                (SELECT w.rowid FROM deliveries w INDEXED BY deliveries_order
                 WHERE w.account_id = p.account_id AND w.hook_id = p.hook_id AND w.collection = p.collection
                       AND w.resource = p.resource AND w.state = 'waiting'
                 ORDER BY w.seq DESC LIMIT 1) AS newest,
                min(coalesce(o.merged_from, o.seq)) AS from_seq, sum(1 + coalesce(o.merged_count, 0)) AS count
         FROM json_each($1) CROSS JOIN deliveries p ON p.rowid = value
         CROSS JOIN deliveries o INDEXED BY deliveries_order
             ON o.account_id = p.account_id AND o.hook_id = p.hook_id AND o.collection = p.collection
                AND o.resource = p.resource AND o.state = 'waiting'
         GROUP BY p.rowid HAVING count(*) > 1",
    )
    .bind(json(&picked))
    .fetch_all(&mut *tx)
    .await?;
    if lines.is_empty() {
        return Ok(BTreeMap::new());
    }
    // What it stands for is everything but itself.
    let folds: Vec<FoldJson> = lines
        .iter()
        .map(|line| FoldJson { newest: line.newest, from_seq: line.from_seq, count: line.count - 1 })
        .collect();
    sqlx::query(
        "UPDATE deliveries
         SET due_at = $2, next_at = $2, merged_from = f.from_seq, merged_count = f.count,
             receiver = (SELECT h.receiver FROM hooks h
                         WHERE h.account_id = deliveries.account_id AND h.hook_id = deliveries.hook_id)
         FROM (SELECT value ->> 'newest' AS newest, value ->> 'from_seq' AS from_seq, value ->> 'count' AS count
               FROM json_each($1)) f
         WHERE deliveries.rowid = f.newest",
    )
    .bind(json(&folds))
    .bind(ask.now.as_millisecond())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE deliveries
         SET state = 'merged', settled_at = $2, receiver = NULL, next_at = NULL, claimed_at = NULL
         WHERE rowid IN (
             SELECT o.rowid FROM json_each($1) CROSS JOIN deliveries n ON n.rowid = value ->> 'newest'
             CROSS JOIN deliveries o INDEXED BY deliveries_order
                 ON o.account_id = n.account_id AND o.hook_id = n.hook_id AND o.collection = n.collection
                    AND o.resource = n.resource AND o.state = 'waiting' AND o.seq < n.seq)",
    )
    .bind(json(&folds))
    .bind(ask.now.as_millisecond())
    .execute(&mut *tx)
    .await?;
    Ok(lines.into_iter().map(|line| (line.delivery, line.newest)).collect())
}

fn claimed(rows: Vec<ClaimRow>) -> Claimed {
    let mut claimed = Claimed::default();
    for row in rows {
        match row.delivery() {
            Ok(delivery) => claimed.deliveries.push(delivery),
            Err(err) => claimed.unreadable.push(err),
        }
    }
    claimed
}

async fn record(tx: &mut SqliteConnection, results: &Results, now: Timestamp) -> Result<(), Error> {
    let Results { outcomes, returned, recovered } = results;
    if !outcomes.is_empty() {
        verdicts::record(tx, outcomes, now).await?;
    }
    if !returned.is_empty() {
        take_back(tx, returned).await.doing(RECORDING)?;
    }
    for Recovered { receiver, since } in recovered {
        release(tx, receiver, since.as_millisecond(), now.as_millisecond()).await.doing(RECORDING)?;
    }
    Ok(())
}

/// Ends claims without a try.
async fn take_back(tx: &mut SqliteConnection, returned: &[Returned]) -> Result<(), sqlx::Error> {
    let rows: Vec<ReturnedJson<'_>> = returned
        .iter()
        .map(|Returned { account, hook, seq, until, due_at }| ReturnedJson {
            account: account.0,
            hook: &hook.0,
            seq: int(seq.0),
            until: until.as_millisecond(),
            due_at: due_at.map(Timestamp::as_millisecond),
        })
        .collect();
    sqlx::query(
        "UPDATE deliveries
         SET due_at = coalesce(j.due_at, deliveries.due_at), next_at = coalesce(j.due_at, deliveries.due_at),
             claimed_at = NULL
         FROM (SELECT value ->> 'account' AS account, value ->> 'hook' AS hook, value ->> 'seq' AS seq,
                      value ->> 'until' AS until, value ->> 'due_at' AS due_at FROM json_each($1)) j
         WHERE deliveries.account_id = j.account AND deliveries.hook_id = j.hook AND deliveries.seq = j.seq
               AND deliveries.claimed_at IS NOT NULL AND deliveries.next_at = j.until",
    )
    .bind(json(&rows))
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// The receiver works again: what waits out a failure from before need not wait longer than the receiver asked for. What failed
/// since did so at a receiver that works; released, it would use up its steps in no time.
async fn release(tx: &mut SqliteConnection, receiver: &str, since_ms: i64, now_ms: i64) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE deliveries
         SET due_at = max($2, coalesce(not_before, $2)), next_at = max($2, coalesce(not_before, $2))
         WHERE rowid IN (
             SELECT d.rowid FROM deliveries d INDEXED BY deliveries_ready
             WHERE d.receiver = $1 AND d.next_at > $2 AND d.claimed_at IS NULL
                   AND d.next_at > max($2, coalesce(d.not_before, $2))
                   AND coalesce((SELECT a.at FROM attempts a
                                 WHERE a.account_id = d.account_id AND a.hook_id = d.hook_id AND a.seq = d.seq
                                 ORDER BY a.record DESC LIMIT 1) < $4, true)
             ORDER BY d.next_at LIMIT (SELECT $3))",
    )
    .bind(receiver)
    .bind(now_ms)
    .bind(int(RELEASED_MAX))
    .bind(since_ms)
    .execute(&mut *tx)
    .await
    .map(drop)
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

/// What failed so far, and what a receiver asked for, says nothing of where the hook is posted to now.
pub(super) async fn forget_attempts(
    tx: &mut SqliteConnection,
    account: AccountId,
    hook: &str,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE deliveries INDEXED BY deliveries_order SET attempts = 0, not_before = NULL
         WHERE account_id = $1 AND hook_id = $2 AND state = 'waiting' AND (attempts > 0 OR not_before IS NOT NULL)",
    )
    .bind(account.0)
    .bind(hook)
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// The hook is posted to again, or elsewhere: of each resource the oldest waiting delivery becomes ready, at once, unless a
/// newer one is under way (the older was sent again meanwhile). Claims
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
             SELECT coalesce(min(w.seq) FILTER (WHERE w.next_at IS NOT NULL), min(w.seq))
             FROM deliveries w INDEXED BY deliveries_order
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
