//! What attempts mean for deliveries: rows are read, judged here in plain functions, and written back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::deliveries::{self, Line};
use super::rows::{Doing as _, int, json, row};
use crate::model::{AccountId, DeliveryState, Outcome, Verdict};
use crate::store::Error;

const ACTION: &str = "recording attempts";

row! {
    /// A delivery and what matters of its hook.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Row {
        delivery: i64,
        seq: i64,
        waiting: bool,
        attempts: i64,
        due_at: i64,
        /// `None`: not ready.
        next_at: Option<i64>,
        claimed_at: Option<i64>,
        /// When its hook was last set; `None`: it was removed.
        set_at: Option<i64>,
        /// Attempts on record.
        records: i64,
        ..
        line: Line,
    }
}

/// What follows from an attempt, beyond the delivery's own row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    None,
    /// It stopped waiting.
    Settled(DeliveryState),
    /// Its hook is to be disabled.
    Disable(String),
}

/// Counts the attempt and does what its verdict says, as far as it still may.
fn judge(row: &mut Row, outcome: &Outcome, now_ms: i64) -> Effect {
    let Outcome { attempt, verdict, .. } = outcome;
    let attempted_at = attempt.at.as_millisecond();
    row.records += 1;
    // The callback that it speaks of may be no longer the hook's.
    let replaced = row.set_at.is_some_and(|set_at| attempted_at < set_at);
    // Nothing is tried before it is due: setting the hook made it due anew, and its attempts count from there.
    let restarted = replaced && attempted_at < row.due_at;
    if !restarted && !matches!(verdict, Verdict::Postpone { .. }) {
        row.attempts += 1;
    }
    if !row.waiting {
        return Effect::None;
    }
    // Its claim ran out, and another has it in hand. That one decides, or the two would be under way at once for ever.
    let overtaken = row.claimed_at.is_some_and(|claimed_at| attempted_at < claimed_at);
    match verdict {
        Verdict::Delivered => settle(row, DeliveryState::Delivered),
        Verdict::Disable { reason } if !replaced => Effect::Disable(reason.clone()),
        _ if overtaken => Effect::None,
        Verdict::Exhausted if !replaced => settle(row, DeliveryState::Exhausted),
        Verdict::Exhausted | Verdict::Disable { .. } => again(row, now_ms),
        Verdict::Retry { .. } | Verdict::Postpone { .. } if restarted => again(row, now_ms),
        Verdict::Retry { due_at } | Verdict::Postpone { due_at } => again(row, due_at.as_millisecond()),
    }
}

fn settle(row: &mut Row, state: DeliveryState) -> Effect {
    row.waiting = false;
    row.next_at = None;
    row.claimed_at = None;
    Effect::Settled(state)
}

fn again(row: &mut Row, due_at: i64) -> Effect {
    row.due_at = due_at;
    row.claimed_at = None;
    // One that was parked meanwhile stays so.
    row.next_at = row.next_at.map(|_| due_at);
    Effect::None
}

#[derive(Serialize)]
struct KeyJson<'a> {
    account: i64,
    hook: &'a str,
    seq: i64,
}

#[derive(Serialize)]
struct RowJson {
    delivery: i64,
    /// `None`: as it was.
    state: Option<&'static str>,
    attempts: i64,
    due_at: i64,
    next_at: Option<i64>,
    claimed_at: Option<i64>,
}

#[derive(Serialize)]
struct AttemptJson<'a> {
    account: i64,
    hook: &'a str,
    seq: i64,
    record: i64,
    number: u32,
    at: i64,
    elapsed_ms: i64,
    status: Option<u16>,
    error: Option<&'a str>,
    answer: &'a str,
}

/// See [`crate::store::Deliveries::record`]. An outcome of a delivery that is not there at all is passed over: there is no
/// row left that it could belong to.
pub(super) async fn record(tx: &mut SqliteConnection, outcomes: &[Outcome], now: Timestamp) -> Result<(), Error> {
    let now_ms = now.as_millisecond();
    let mut rows = load(tx, outcomes).await.doing(ACTION)?;

    let mut settled: BTreeMap<i64, DeliveryState> = BTreeMap::new();
    let mut disabled: BTreeMap<(i64, String), String> = BTreeMap::new();
    let mut attempts = Vec::with_capacity(outcomes.len());
    for outcome in outcomes {
        let Some(row) = rows.get_mut(&key(outcome)) else { continue };
        match judge(row, outcome, now_ms) {
            Effect::None => {}
            Effect::Settled(state) => drop(settled.insert(row.delivery, state)),
            Effect::Disable(reason) => {
                disabled.entry((row.line.account_id, row.line.hook_id.clone())).or_insert(reason);
            }
        }
        attempts.push(attempt_json(row, outcome));
    }
    let lines: BTreeSet<Line> =
        rows.values().filter(|row| settled.contains_key(&row.delivery)).map(|row| row.line.clone()).collect();

    write(tx, rows.values(), &settled, now_ms).await.doing(ACTION)?;
    write_attempts(tx, &attempts).await.doing(ACTION)?;
    for ((account, hook), reason) in &disabled {
        disable(tx, AccountId(*account), hook, reason, now_ms).await.doing(ACTION)?;
    }
    deliveries::promote(tx, &lines.into_iter().collect::<Vec<_>>(), now_ms).await.doing(ACTION)
}

fn key(outcome: &Outcome) -> (i64, &str, i64) {
    (outcome.account.0, &outcome.hook.0, int(outcome.seq.0))
}

async fn load<'a>(
    tx: &mut SqliteConnection,
    outcomes: &'a [Outcome],
) -> Result<BTreeMap<(i64, &'a str, i64), Row>, sqlx::Error> {
    let keys: BTreeSet<_> = outcomes.iter().map(key).collect();
    let list: Vec<KeyJson<'_>> = keys.iter().map(|&(account, hook, seq)| KeyJson { account, hook, seq }).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT d.rowid AS delivery, d.account_id, d.hook_id, d.collection, d.resource, d.seq,
                d.state = 'waiting' AS waiting, d.attempts, d.due_at, d.next_at, d.claimed_at, h.set_at,
                (SELECT coalesce(max(a.record), 0) FROM attempts a
                 WHERE a.account_id = d.account_id AND a.hook_id = d.hook_id AND a.seq = d.seq) AS records
         FROM json_each($1)
         CROSS JOIN deliveries d ON d.account_id = value ->> 'account' AND d.hook_id = value ->> 'hook'
                                    AND d.seq = value ->> 'seq'
         LEFT JOIN hooks h ON h.account_id = d.account_id AND h.hook_id = d.hook_id",
    )
    .bind(json(&list))
    .fetch_all(&mut *tx)
    .await?;
    let mut found: BTreeMap<_, Row> =
        rows.into_iter().map(|row| ((row.line.account_id, row.line.hook_id.clone(), row.seq), row)).collect();
    let taken = keys.into_iter().filter_map(|(account, hook, seq)| {
        let row = found.remove(&(account, hook.to_owned(), seq))?;
        Some(((account, hook, seq), row))
    });
    Ok(taken.collect())
}

async fn write(
    tx: &mut SqliteConnection,
    rows: impl Iterator<Item = &Row>,
    settled: &BTreeMap<i64, DeliveryState>,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    let rows: Vec<RowJson> = rows
        .map(|row| RowJson {
            delivery: row.delivery,
            state: settled.get(&row.delivery).map(|state| state.as_str()),
            attempts: row.attempts,
            due_at: row.due_at,
            next_at: row.next_at,
            claimed_at: row.claimed_at,
        })
        .collect();
    sqlx::query(
        "UPDATE deliveries
         SET state = coalesce(j.state, deliveries.state),
             settled_at = iif(j.state IS NULL, deliveries.settled_at, $2),
             attempts = j.attempts, due_at = j.due_at, next_at = j.next_at, claimed_at = j.claimed_at,
             receiver = iif(j.next_at IS NULL, NULL, deliveries.receiver)
         FROM (SELECT value ->> 'delivery' AS delivery, value ->> 'state' AS state, value ->> 'attempts' AS attempts,
                      value ->> 'due_at' AS due_at, value ->> 'next_at' AS next_at, value ->> 'claimed_at' AS claimed_at
               FROM json_each($1)) j
         WHERE deliveries.rowid = j.delivery",
    )
    .bind(json(&rows))
    .bind(now_ms)
    .execute(&mut *tx)
    .await
    .map(drop)
}

fn attempt_json<'a>(row: &Row, outcome: &'a Outcome) -> AttemptJson<'a> {
    let (account, hook, seq) = key(outcome);
    let attempt = &outcome.attempt;
    AttemptJson {
        account,
        hook,
        seq,
        record: row.records,
        number: attempt.number,
        at: attempt.at.as_millisecond(),
        elapsed_ms: int(attempt.elapsed.as_millis()),
        status: attempt.status,
        error: attempt.error.as_deref(),
        answer: &attempt.answer,
    }
}

async fn write_attempts(tx: &mut SqliteConnection, attempts: &[AttemptJson<'_>]) -> Result<(), sqlx::Error> {
    if attempts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO attempts (account_id, hook_id, seq, record, number, at, elapsed_ms, status, error, answer)
         SELECT value ->> 'account', value ->> 'hook', value ->> 'seq', value ->> 'record', value ->> 'number',
                value ->> 'at', value ->> 'elapsed_ms', value ->> 'status', value ->> 'error', value ->> 'answer'
         FROM json_each($1)",
    )
    .bind(json(&attempts))
    .execute(&mut *tx)
    .await
    .map(drop)
}

async fn disable(
    tx: &mut SqliteConnection,
    account: AccountId,
    hook: &str,
    reason: &str,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE hooks SET disabled_at = $3, disabled_reason = $4
         WHERE account_id = $1 AND hook_id = $2 AND disabled_at IS NULL",
    )
    .bind(account.0)
    .bind(hook)
    .bind(now_ms)
    .bind(reason)
    .execute(&mut *tx)
    .await?;
    deliveries::park(tx, account, hook).await
}
