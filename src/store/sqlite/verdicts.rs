//! What attempts mean for deliveries: rows are read, judged here in plain functions, and written back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::deliveries::{self, Line};
use super::rows::{Doing as _, int, json, row};
use super::samples;
use crate::model::{AccountId, DeliveryState, Disabling, Events, HookId, Outcome, Verdict};
use crate::store::{ATTEMPTS_KEPT, Error, NewChange};

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
        not_before: Option<i64>,
        /// `None`: not ready.
        next_at: Option<i64>,
        claimed_at: Option<i64>,
        /// When its hook was last set; `None`: it was removed.
        set_at: Option<i64>,
        failing_since: Option<i64>,
        /// Attempts on record.
        records: i64,
        ..
        line: Line,
    }
}

/// Since when a hook fails.
struct Failing {
    before: Option<i64>,
    after: Option<i64>,
}

/// What follows from an attempt, beyond the delivery's own row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Effect {
    None,
    /// It stopped waiting.
    Settled(DeliveryState),
    /// Its hook is to be disabled.
    Disable(Disabling),
    /// Both.
    Last(Disabling),
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
        Verdict::Disable(disabling) if !replaced => Effect::Disable(disabling.clone()),
        _ if overtaken => Effect::None,
        Verdict::Exhausted { disable } if !replaced => {
            let settled = settle(row, DeliveryState::Exhausted);
            disable.clone().map_or(settled, Effect::Last)
        }
        Verdict::Exhausted { .. } | Verdict::Disable(_) => again(row, now_ms),
        Verdict::Retry { .. } | Verdict::Postpone { .. } if restarted => again(row, now_ms),
        Verdict::Retry { due_at, not_before } => {
            row.not_before = not_before.map(Timestamp::as_millisecond);
            again(row, due_at.as_millisecond())
        }
        Verdict::Postpone { due_at } => again(row, due_at.as_millisecond()),
    }
}

/// Since when a hook fails, after an outcome of it. What a callback did that is no longer the hook's counts for nothing, and
/// nor does a fault of our own.
fn failing_since(before: Option<i64>, set_at: Option<i64>, outcome: &Outcome) -> Option<i64> {
    let at = outcome.attempt.at.as_millisecond();
    match outcome.verdict {
        _ if set_at.is_some_and(|set_at| at < set_at) => before,
        Verdict::Delivered => None,
        Verdict::Postpone { .. } => before,
        Verdict::Retry { .. } | Verdict::Exhausted { .. } | Verdict::Disable(_) => before.or(Some(at)),
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
    not_before: Option<i64>,
    next_at: Option<i64>,
    claimed_at: Option<i64>,
}

#[derive(Serialize)]
struct FailingJson<'a> {
    account: i64,
    hook: &'a str,
    since: Option<i64>,
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
    let mut disabled: BTreeMap<(i64, String), Disabling> = BTreeMap::new();
    let mut failing: BTreeMap<(i64, &str), Failing> = BTreeMap::new();
    let mut attempts = Vec::with_capacity(outcomes.len());
    // Of which the next may go. One that was not ready held up nobody: another of its line is ready, or its hook is parked.
    let mut lines: BTreeSet<Line> = BTreeSet::new();
    for outcome in outcomes {
        let Some(row) = rows.get_mut(&key(outcome)) else { continue };
        let hook = (row.line.account_id, row.line.hook_id.clone());
        let before = row.failing_since;
        let failing = failing.entry((hook.0, &outcome.hook.0)).or_insert(Failing { before, after: before });
        failing.after = failing_since(failing.after, row.set_at, outcome);
        let was_ready = row.next_at.is_some();
        let effect = judge(row, outcome, now_ms);
        if was_ready && !row.waiting {
            lines.insert(row.line.clone());
        }
        match effect {
            Effect::None => {}
            Effect::Settled(state) => drop(settled.insert(row.delivery, state)),
            Effect::Disable(disabling) => drop(disabled.entry(hook).or_insert(disabling)),
            Effect::Last(disabling) => {
                settled.insert(row.delivery, DeliveryState::Exhausted);
                disabled.entry(hook).or_insert(disabling);
            }
        }
        attempts.push(attempt_json(row, outcome));
    }
    let moved = failing.into_iter().filter(|(_, failing)| failing.before != failing.after);
    let moved: Vec<_> =
        moved.map(|((account, hook), failing)| FailingJson { account, hook, since: failing.after }).collect();

    write(tx, rows.values(), &settled, now_ms).await.doing(ACTION)?;
    write_attempts(tx, &attempts).await.doing(ACTION)?;
    write_failing(tx, &moved).await.doing(ACTION)?;
    for ((account, hook), disabling) in disabled {
        disable(tx, AccountId(account), HookId(hook), disabling, now).await.doing(ACTION)?;
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
                d.state = 'waiting' AS waiting, d.attempts, d.due_at, d.not_before, d.next_at, d.claimed_at, h.set_at,
                h.failing_since,
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
            not_before: row.not_before,
            next_at: row.next_at,
            claimed_at: row.claimed_at,
        })
        .collect();
    sqlx::query(
        "UPDATE deliveries
         SET state = coalesce(j.state, deliveries.state),
             settled_at = iif(j.state IS NULL, deliveries.settled_at, $2),
             attempts = j.attempts, due_at = j.due_at, not_before = j.not_before, next_at = j.next_at,
             claimed_at = j.claimed_at,
             receiver = iif(j.next_at IS NULL, NULL, deliveries.receiver)
         FROM (SELECT value ->> 'delivery' AS delivery, value ->> 'state' AS state, value ->> 'attempts' AS attempts,
                      value ->> 'due_at' AS due_at, value ->> 'not_before' AS not_before, value ->> 'next_at' AS next_at,
                      value ->> 'claimed_at' AS claimed_at
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
    .await?;
    let kept = int(ATTEMPTS_KEPT);
    let full: Vec<_> = attempts.iter().filter(|attempt| attempt.record > kept).collect();
    if full.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "DELETE FROM attempts WHERE (account_id, hook_id, seq, record) IN (
             SELECT a.account_id, a.hook_id, a.seq, a.record FROM json_each($1) CROSS JOIN attempts a
                 ON a.account_id = value ->> 'account' AND a.hook_id = value ->> 'hook' AND a.seq = value ->> 'seq'
                    AND a.record <= (value ->> 'record') - $2)",
    )
    .bind(json(&full))
    .bind(kept)
    .execute(&mut *tx)
    .await
    .map(drop)
}

async fn write_failing(tx: &mut SqliteConnection, moved: &[FailingJson<'_>]) -> Result<(), sqlx::Error> {
    if moved.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE hooks SET failing_since = j.since
         FROM (SELECT value ->> 'account' AS account, value ->> 'hook' AS hook, value ->> 'since' AS since
               FROM json_each($1)) j
         WHERE hooks.account_id = j.account AND hooks.hook_id = j.hook",
    )
    .bind(json(&moved))
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// Calls the hook no more, and records the change that says so, owed to the hook itself and to those on the account.
async fn disable(
    tx: &mut SqliteConnection,
    account: AccountId,
    hook: HookId,
    disabling: Disabling,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let Disabling { reason, change } = disabling;
    let count: Option<i64> = sqlx::query_scalar(
        "UPDATE hooks SET disabled_at = $3, disabled_reason = $4, version = version + 1,
                          disabled_count = disabled_count + 1
         WHERE account_id = $1 AND hook_id = $2 AND disabled_at IS NULL
         RETURNING disabled_count",
    )
    .bind(account.0)
    .bind(&hook.0)
    .bind(now.as_millisecond())
    .bind(reason)
    .fetch_optional(&mut *tx)
    .await?;
    deliveries::park(tx, account, &hook.0).await?;
    let Some(count) = count else { return Ok(()) };
    let mut change = *change;
    change.subject.revision = count.cast_unsigned();
    let mut told = on_account(tx, account, change.news.kind()).await?;
    told.push(hook);
    samples::record_changes(tx, account, &[NewChange { change, told }], now).await.map(drop)
}

/// The hooks on the account that want to hear of this kind. Read in here, so that one set a moment ago is not passed over.
async fn on_account(tx: &mut SqliteConnection, account: AccountId, kind: &str) -> Result<Vec<HookId>, sqlx::Error> {
    let hooks: Vec<(String, Option<String>)> =
        sqlx::query_as("SELECT hook_id, events FROM hooks WHERE account_id = $1 AND scope = 'account'")
            .bind(account.0)
            .fetch_all(&mut *tx)
            .await?;
    // A list that cannot be read is an error to whoever delivers to that hook, and must not keep others from being recorded.
    let wants = |events: Option<String>| {
        let events = events.and_then(|list| serde_json::from_str(&list).ok());
        Events(events).include(kind)
    };
    Ok(hooks.into_iter().filter(|(_, events)| wants(events.clone())).map(|(id, _)| HookId(id)).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Attempt, ChangeId, Seq};

    /// Claimed at 100, ready, of a hook set at 50, tried once before.
    fn row() -> Row {
        let text = |text: &str| text.to_owned();
        Row {
            delivery: 1,
            seq: 3,
            waiting: true,
            attempts: 1,
            due_at: 90,
            not_before: None,
            next_at: Some(160),
            claimed_at: Some(100),
            set_at: Some(50),
            failing_since: None,
            records: 1,
            line: Line { account_id: 7, hook_id: text("h"), collection: text("instances"), resource: text("i-1") },
        }
    }

    fn outcome(attempted_at: i64, verdict: Verdict) -> Outcome {
        let attempt = Attempt {
            number: 2,
            at: Timestamp::from_millisecond(attempted_at).unwrap(),
            elapsed: Duration::ZERO,
            status: None,
            error: None,
            answer: String::new(),
        };
        Outcome { account: AccountId(7), hook: HookId("h".to_owned()), seq: Seq(3), attempt, verdict }
    }

    #[test]
    fn an_outcome_decides_as_far_as_it_still_may() {
        let due_at = Timestamp::from_millisecond(300).unwrap();
        let retry = || Verdict::Retry { due_at, not_before: None };
        let postpone = || Verdict::Postpone { due_at };
        let disabling = || {
            crate::changes::disabling(
                &HookId("h".to_owned()),
                ChangeId("chg_1".to_owned()),
                due_at,
                "gone",
                "410".to_owned(),
            )
        };
        let gone = || Verdict::Disable(disabling());
        let exhausted = || Verdict::Exhausted { disable: None };
        let settled = |state| (Effect::Settled(state), None, None);
        let again = |due_at| (Effect::None, Some(due_at), None);
        let untouched = || (Effect::None, Some(160), Some(100));
        let disable = || (Effect::Disable(disabling()), Some(160), Some(100));
        let check =
            |what: &str, row: Row, attempted_at, verdict: Verdict, wanted: (Effect, Option<i64>, Option<i64>)| {
                let mut after = row.clone();
                let counts = !matches!(verdict, Verdict::Postpone { .. });
                let effect = judge(&mut after, &outcome(attempted_at, verdict), 200);
                assert_eq!((effect, after.next_at, after.claimed_at), wanted, "{what}");
                assert_eq!(after.records, row.records + 1, "{what}: it is on record");
                assert_eq!(after.attempts, row.attempts + i64::from(counts), "{what}: it counts");
            };

        check("delivered", row(), 100, Verdict::Delivered, settled(DeliveryState::Delivered));
        check("exhausted", row(), 101, exhausted(), settled(DeliveryState::Exhausted));
        check("retry", row(), 100, retry(), again(300));
        check("postpone", row(), 100, postpone(), again(300));
        check("gone", row(), 100, gone(), disable());

        check("overtaken: it arrived", row(), 99, Verdict::Delivered, settled(DeliveryState::Delivered));
        check("overtaken: exhausted", row(), 99, exhausted(), untouched());
        check("overtaken: retry", row(), 99, retry(), untouched());
        check("overtaken: postpone", row(), 99, postpone(), untouched());
        check("overtaken: gone", row(), 99, gone(), disable());

        let replaced = || Row { set_at: Some(150), ..row() };
        check("replaced: it arrived", replaced(), 149, Verdict::Delivered, settled(DeliveryState::Delivered));
        check("replaced: exhausted", replaced(), 149, exhausted(), again(200));
        check("replaced: gone", replaced(), 149, gone(), again(200));
        check("replaced: retry", replaced(), 149, retry(), again(300));
        check("replaced and overtaken: gone", replaced(), 99, gone(), untouched());
        check("set in the same moment: gone", replaced(), 150, gone(), disable());

        let parked = || Row { next_at: None, claimed_at: None, ..row() };
        check("parked: retry", parked(), 100, retry(), (Effect::None, None, None));
        let read = || Row { waiting: false, next_at: None, claimed_at: None, ..row() };
        for verdict in [Verdict::Delivered, exhausted(), retry(), postpone(), gone()] {
            check("read meanwhile", read(), 100, verdict, (Effect::None, None, None));
        }
    }
}
