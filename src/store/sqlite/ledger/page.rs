//! Pages of deliveries, newest first. An index is chosen by the filters, and of it no more than a bound is looked at.

use std::time::Duration;

use jiff::Timestamp;
use sqlx::SqlitePool;

use crate::model::{AccountId, ChangeId, DeliveryState, HookId, Merged, Seq, Subscriber, Topic};
use crate::store::sqlite::rows::{Cell, Doing as _, int, row};
use crate::store::{DeliveryPage, DeliveryStanding, Error, LastTry, Place, WhichDeliveries};

const ACTION: &str = "reading deliveries";

/// Numbers are given in the order of time, unless the clock was set back. By this much it may have been; more would be read
/// for nothing on every page that has a time to go by.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// An index is looked into once for each hook, or else for each subscriber, that is behind. With more than that of either it
/// is left alone.
const PARTS_MAX: usize = 64;

row! {
    struct StandingRow {
        hook_id: String,
        seq: i64,
        subscriber: String,
        change_id: Option<String>,
        kind: Option<String>,
        collection: String,
        resource: String,
        state: String,
        attempts: i64,
        created_at: i64,
        due_at: i64,
        next_at: Option<i64>,
        claimed_at: Option<i64>,
        settled_at: Option<i64>,
        receiver: Option<String>,
        merged_from: Option<i64>,
        merged_count: Option<i64>,
        tried_at: Option<i64>,
        status: Option<i64>,
        error: Option<String>,
    }
}

impl StandingRow {
    fn standing(self, account: AccountId) -> Result<DeliveryStanding, Error> {
        let key = format!("{} seq {}", self.hook_id, self.seq);
        let cell = Cell { table: "deliveries", column: "seq", account, key: &key };
        let none = |noun: &str, text: &str| cell.corrupt(format_args!("there is no {noun} `{text}`"));
        let merged = match (self.merged_from, self.merged_count) {
            (Some(from), Some(count)) => {
                let cell = cell.column("merged_count");
                Some(Merged { from_seq: Seq(cell.unsigned(from)?), count: cell.unsigned(count)? })
            }
            _ => None,
        };
        let last_try = match self.tried_at {
            Some(at) => Some(LastTry {
                at: cell.instant(at)?,
                status: self.status.map(|status| cell.unsigned(status)).transpose()?,
                error: self.error,
            }),
            None => None,
        };
        let ready = self.next_at.is_some();
        Ok(DeliveryStanding {
            subscriber: Subscriber::parse(&self.subscriber).ok_or_else(|| none("subscriber", &self.subscriber))?,
            seq: Seq(cell.unsigned(self.seq)?),
            change: self.change_id.map(ChangeId).zip(self.kind),
            collection: Topic::parse(&self.collection).ok_or_else(|| none("collection", &self.collection))?,
            state: DeliveryState::parse(&self.state).ok_or_else(|| none("state", &self.state))?,
            attempts: cell.column("attempts").unsigned(self.attempts)?,
            created_at: cell.column("created_at").instant(self.created_at)?,
            due_at: if ready { Some(cell.column("due_at").instant(self.due_at)?) } else { None },
            under_way: self.claimed_at.is_some(),
            settled_at: self.settled_at.map(|ms| cell.column("settled_at").instant(ms)).transpose()?,
            resource: self.resource,
            receiver: self.receiver,
            hook: HookId(self.hook_id),
            merged,
            last_try,
        })
    }
}

/// A delivery with all that is said of it.
macro_rules! standings {
    ($index:literal, $rest:literal) => {
        concat!(
            "SELECT d.hook_id, d.seq, d.subscriber, c.change_id, c.kind, d.collection, d.resource, d.state, d.attempts,
                    d.created_at, d.due_at, d.next_at, d.claimed_at, d.settled_at, h.receiver, d.merged_from,
                    d.merged_count, a.at AS tried_at, a.status, a.error
             FROM deliveries d INDEXED BY ",
            $index,
            " LEFT JOIN changes c ON c.account_id = d.account_id AND c.seq = d.seq
              LEFT JOIN hooks h ON h.account_id = d.account_id AND h.hook_id = d.hook_id
              LEFT JOIN attempts a ON a.account_id = d.account_id AND a.hook_id = d.hook_id AND a.seq = d.seq
                                      AND a.record = (SELECT max(l.record) FROM attempts l
                                                      WHERE l.account_id = d.account_id AND l.hook_id = d.hook_id
                                                            AND l.seq = d.seq)
              WHERE ",
            $rest
        )
    };
}

/// Where deliveries are looked for: an index in which they stand in the order of the list, and what leads into it.
struct Source {
    /// The number of the last row within the bound.
    floor: &'static str,
    rows: &'static str,
}

macro_rules! source {
    ($index:literal, $key:literal) => {
        Source {
            floor: concat!(
                "SELECT d.seq FROM deliveries d INDEXED BY ",
                $index,
                " WHERE d.account_id = $1 AND ",
                $key,
                " AND d.seq <= $5 ORDER BY d.seq DESC LIMIT 1 OFFSET $6"
            ),
            rows: concat!(
                standings!($index, "d.account_id = $1 AND "),
                $key,
                " AND d.seq BETWEEN $6 AND $5 AND ($2 IS NULL OR d.hook_id = $2) AND ($3 IS NULL OR d.subscriber = $3)
                  AND ($4 IS NULL OR d.state = $4) AND ($7 IS NULL OR d.seq < $7 OR d.hook_id < $8)
                  AND ($9 IS NULL OR d.collection = $9) AND ($10 IS NULL OR d.resource = $10)
                  AND ($11 IS NULL OR d.created_at >= $11) AND ($12 IS NULL OR d.created_at < $12)
                  ORDER BY d.seq DESC, d.hook_id DESC LIMIT $13"
            ),
        }
    };
}

const OF_HOOK: Source = source!("sqlite_autoindex_deliveries_1", "d.hook_id = $2");
const OF_HOOK_BEHIND: Source =
    source!("deliveries_behind", "d.hook_id = $2 AND d.state = $4 AND d.state IN ('waiting', 'exhausted')");
const UNREAD: Source = source!("deliveries_unread", "d.subscriber = $3 AND d.state IN ('waiting', 'exhausted')");
const NEWEST: Source = source!("deliveries_newest", "true");

/// See [`crate::store::Ledger::deliveries`].
pub(super) async fn load(
    readers: &SqlitePool,
    account: AccountId,
    which: &WhichDeliveries,
) -> Result<DeliveryPage, Error> {
    let bounds = Bounds::load(readers, account, which).await?;
    let mut parts = Vec::new();
    for place in places(readers, account, which).await? {
        parts.push(part(readers, account, which, &place, &bounds).await?);
    }
    Ok(joined(parts, which.limit))
}

/// Where to look.
struct Where {
    source: &'static Source,
    hook: Option<String>,
    subscriber: Option<String>,
}

async fn places(readers: &SqlitePool, account: AccountId, which: &WhichDeliveries) -> Result<Vec<Where>, Error> {
    let subscriber = which.subscriber.as_ref().map(ToString::to_string);
    let one = |source| {
        let hook = which.hook.as_ref().map(|hook| hook.0.clone());
        vec![Where { source, hook, subscriber: subscriber.clone() }]
    };
    match (&which.hook, which.state) {
        (Some(_), Some(DeliveryState::Waiting | DeliveryState::Exhausted)) => return Ok(one(&OF_HOOK_BEHIND)),
        (Some(_), _) => return Ok(one(&OF_HOOK)),
        (None, Some(DeliveryState::Waiting | DeliveryState::Exhausted)) => {}
        (None, _) => return Ok(one(&NEWEST)),
    }
    let hooks = leap(readers, account, HOOKS_BEHIND).await?;
    if hooks.len() <= PARTS_MAX {
        let part = |hook| Where { source: &OF_HOOK_BEHIND, hook: Some(hook), subscriber: subscriber.clone() };
        return Ok(hooks.into_iter().map(part).collect());
    }
    if subscriber.is_some() {
        return Ok(one(&UNREAD));
    }
    let subscribers = leap(readers, account, SUBSCRIBERS_BEHIND).await?;
    if subscribers.len() <= PARTS_MAX {
        let part = |subscriber| Where { source: &UNREAD, hook: None, subscriber: Some(subscriber) };
        return Ok(subscribers.into_iter().map(part).collect());
    }
    Ok(one(&NEWEST))
}

/// Who is behind: found by leaping through an index from one to the next, whatever each has in it.
macro_rules! leap {
    ($column:literal, $index:literal) => {
        concat!(
            "WITH RECURSIVE behind (name) AS (
                 SELECT (SELECT d.",
            $column,
            " FROM deliveries d INDEXED BY ",
            $index,
            " WHERE d.account_id = $1 AND d.state IN ('waiting', 'exhausted') ORDER BY d.",
            $column,
            " LIMIT 1)
                 UNION ALL
                 SELECT (SELECT d.",
            $column,
            " FROM deliveries d INDEXED BY ",
            $index,
            " WHERE d.account_id = $1 AND d.",
            $column,
            " > b.name AND d.state IN ('waiting', 'exhausted') ORDER BY d.",
            $column,
            " LIMIT 1)
                 FROM behind b WHERE b.name IS NOT NULL
             )
             SELECT name FROM behind WHERE name IS NOT NULL LIMIT $2"
        )
    };
}

const HOOKS_BEHIND: &str = leap!("hook_id", "deliveries_behind");
const SUBSCRIBERS_BEHIND: &str = leap!("subscriber", "deliveries_unread");

/// One more than the bound at most.
async fn leap(readers: &SqlitePool, account: AccountId, query: &'static str) -> Result<Vec<String>, Error> {
    sqlx::query_scalar(query).bind(account.0).bind(int(PARTS_MAX + 1)).fetch_all(readers).await.doing(ACTION)
}

/// Between which numbers the page lies, both included.
struct Bounds {
    oldest: i64,
    newest: i64,
}

impl Bounds {
    async fn load(readers: &SqlitePool, account: AccountId, which: &WhichDeliveries) -> Result<Self, Error> {
        let oldest = match which.since {
            Some(since) => first_since(readers, account, since).await?,
            None => 0,
        };
        let mut newest = i64::MAX;
        if let Some(until) = which.until {
            let slack = i64::try_from(CLOCK_SLACK.as_millis()).unwrap_or(i64::MAX);
            let (first, _) = first_at(readers, account, until.as_millisecond().saturating_add(slack)).await?;
            newest = first - 1;
        }
        if let Some(Place { seq, hook }) = &which.before {
            newest = newest.min(int(seq.0) - i64::from(hook.is_none()));
        }
        Ok(Self { oldest, newest })
    }
}

/// The number below which nothing was owed since then.
pub(super) async fn first_since(readers: &SqlitePool, account: AccountId, since: Timestamp) -> Result<i64, Error> {
    let slack = i64::try_from(CLOCK_SLACK.as_millis()).unwrap_or(i64::MAX);
    let (first, oldest_kept) = first_at(readers, account, since.as_millisecond().saturating_sub(slack)).await?;
    // Deliveries may be kept longer than their changes, and of those no time is known here.
    Ok(if first == oldest_kept { 0 } else { first })
}

/// The first change recorded at `at_ms` or later (one after the last if there is none), and the oldest one kept. Numbers have
/// no holes, so the log is halved again and again: some twenty steps in a million.
async fn first_at(readers: &SqlitePool, account: AccountId, at_ms: i64) -> Result<(i64, i64), Error> {
    sqlx::query_as(
        "WITH RECURSIVE search (lo, hi) AS (
             SELECT coalesce((SELECT min(seq) FROM changes WHERE account_id = $1), 1),
                    coalesce((SELECT max(seq) FROM changes WHERE account_id = $1), 0) + 1
             UNION ALL
             SELECT iif(c.at < $2, c.seq + 1, s.lo), iif(c.at < $2, s.hi, c.seq)
             FROM search s JOIN changes c ON c.account_id = $1 AND c.seq = (s.lo + s.hi) / 2
             WHERE s.lo < s.hi
         )
         SELECT max(lo), min(lo) FROM search",
    )
    .bind(account.0)
    .bind(at_ms)
    .fetch_one(readers)
    .await
    .doing(ACTION)
}

/// What one source has for the page.
async fn part(
    readers: &SqlitePool,
    account: AccountId,
    which: &WhichDeliveries,
    place: &Where,
    bounds: &Bounds,
) -> Result<DeliveryPage, Error> {
    let WhichDeliveries { hook: _, subscriber: _, state, collection, resource, since, until, before, limit, scan_max } =
        which;
    let Where { source, hook, subscriber } = place;
    let state = state.map(DeliveryState::as_str);
    let floor: Option<i64> = sqlx::query_scalar(source.floor)
        .bind(account.0)
        .bind(hook)
        .bind(subscriber)
        .bind(state)
        .bind(bounds.newest)
        .bind(int(scan_max.saturating_sub(1)))
        .fetch_optional(readers)
        .await
        .doing(ACTION)?;
    let floor = floor.filter(|floor| *floor > bounds.oldest);
    let before = before.as_ref().and_then(|place| Some((int(place.seq.0), place.hook.as_ref()?.0.as_str())));
    let rows: Vec<StandingRow> = sqlx::query_as(source.rows)
        .bind(account.0)
        .bind(hook)
        .bind(subscriber)
        .bind(state)
        .bind(bounds.newest)
        .bind(floor.unwrap_or(bounds.oldest))
        .bind(before.map(|(seq, _)| seq))
        .bind(before.map(|(_, hook)| hook))
        .bind(collection.map(Topic::as_str))
        .bind(resource.as_deref())
        .bind(since.map(Timestamp::as_millisecond))
        .bind(until.map(Timestamp::as_millisecond))
        .bind(int(limit + 1))
        .fetch_all(readers)
        .await
        .doing(ACTION)?;
    let mut deliveries = rows.into_iter().map(|row| row.standing(account)).collect::<Result<Vec<_>, _>>()?;
    let next = if deliveries.len() > *limit {
        deliveries.truncate(*limit);
        deliveries.last().map(DeliveryStanding::place)
    } else {
        floor.map(|floor| Place { seq: Seq(floor.unsigned_abs()), hook: None })
    };
    Ok(DeliveryPage { deliveries, next })
}

/// One page of several. Each reaches down to its `next`, so together they are whole down to the highest of these.
fn joined(parts: Vec<DeliveryPage>, limit: usize) -> DeliveryPage {
    let reach = parts.iter().filter_map(|part| part.next.clone()).max();
    let all = parts.into_iter().flat_map(|part| part.deliveries);
    let mut deliveries: Vec<_> = all.filter(|row| reach.as_ref().is_none_or(|reach| row.place() >= *reach)).collect();
    deliveries.sort_by_key(|row| std::cmp::Reverse(row.place()));
    if deliveries.len() <= limit {
        return DeliveryPage { deliveries, next: reach };
    }
    deliveries.truncate(limit);
    let next = deliveries.last().map(DeliveryStanding::place);
    DeliveryPage { deliveries, next }
}

/// See [`crate::store::Ledger::delivery`].
pub(super) async fn one(
    readers: &SqlitePool,
    account: AccountId,
    hook: &HookId,
    seq: Seq,
) -> Result<Option<DeliveryStanding>, Error> {
    let row: Option<StandingRow> = sqlx::query_as(standings!(
        "sqlite_autoindex_deliveries_1",
        "d.account_id = $1 AND d.hook_id = $2 AND d.seq = $3"
    ))
    .bind(account.0)
    .bind(&hook.0)
    .bind(int(seq.0))
    .fetch_optional(readers)
    .await
    .doing(ACTION)?;
    row.map(|row| row.standing(account)).transpose()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(hook: u8, seq: u64) -> DeliveryStanding {
        DeliveryStanding {
            hook: HookId(format!("hook_{hook}")),
            seq: Seq(seq),
            subscriber: Subscriber::default(),
            change: None,
            collection: Topic::Hooks,
            resource: String::new(),
            state: DeliveryState::Waiting,
            attempts: 0,
            created_at: Timestamp::UNIX_EPOCH,
            due_at: None,
            under_way: false,
            settled_at: None,
            receiver: None,
            merged: None,
            last_try: None,
        }
    }

    /// What a source with these rows, newest first, answers: it looks at changes down to a floor, and stops at the limit.
    fn part(rows: &[DeliveryStanding], before: Option<&Place>, limit: usize, scan_max: usize) -> DeliveryPage {
        let left: Vec<_> = rows.iter().filter(|row| before.is_none_or(|before| row.place() < *before)).collect();
        let floor = left.get(scan_max - 1).map(|row| row.seq);
        let seen: Vec<_> = left.into_iter().filter(|row| floor.is_none_or(|floor| row.seq >= floor)).cloned().collect();
        if seen.len() > limit {
            let deliveries = seen[..limit].to_vec();
            return DeliveryPage { next: deliveries.last().map(DeliveryStanding::place), deliveries };
        }
        DeliveryPage { deliveries: seen, next: floor.map(|seq| Place { seq, hook: None }) }
    }

    proptest! {
        #[test]
        fn pages_of_any_size_of_any_sources_join_to_the_whole(
            owed in prop::collection::btree_set((0_u64..12, 0_u8..5), 0..40),
            sources in 1_usize..4,
            limit in 1_usize..6,
            scan_max in 1_usize..6,
        ) {
            let whole: Vec<_> = owed.iter().rev().map(|(seq, hook)| row(*hook, *seq)).collect();
            let of = |source: usize| -> Vec<_> {
                let its = |row: &&DeliveryStanding| usize::from(row.hook.0.as_bytes()[5] - b'0') % sources == source;
                whole.iter().filter(its).cloned().collect()
            };
            let mut listed = vec![];
            let mut before = None;
            for _ in 0..=whole.len() * 2 {
                let parts = (0..sources).map(|source| part(&of(source), before.as_ref(), limit, scan_max)).collect();
                let page = joined(parts, limit);
                prop_assert!(page.deliveries.len() <= limit);
                listed.extend(page.deliveries);
                before = page.next;
                if before.is_none() {
                    break;
                }
            }
            prop_assert_eq!(before, None);
            prop_assert_eq!(listed, whole);
        }
    }
}
