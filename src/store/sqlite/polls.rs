use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::SqliteConnection;

use super::Sqlite;
use super::accounts::{self, AccountRow};
use super::hooks::always_watched;
use super::rows::{Cell, Doing as _, int, row};
use super::samples::record_changes;
use crate::model::{AccountId, AccountKey, Collection, Entry, Login, Outage, Standing};
use crate::store::keyring::KeyRing;
use crate::store::{DueUnits, Error, NewChange, Polls, Unit, UnitPlan, UnreadableUnit, Watch};

/// As far as a cadence may be spread, in milliseconds: 24 days.
const SPREAD_MS_MAX: i64 = i32::MAX as i64;

row! {
    struct UnitRow {
        collection: String,
        due_at: i64,
        failures: i64,
        error: Option<String>,
        rest_until: Option<i64>,
        away: Option<String>,
        ..
        account: AccountRow,
    }
}

/// Reads [`UnitRow`]s, from here on; joined with the account as `a`.
macro_rules! units {
    ($rest:literal $(,)?) => {
        concat!(
            "SELECT u.collection, u.due_at, u.failures, u.error, u.rest_until, a.away,
                    a.account_id, a.driver, a.provider, a.identity, a.sealed
             FROM units u ",
            $rest
        )
    };
}

row! {
    struct WatchRow {
        since: Option<i64>,
        due_at: Option<i64>,
        failures: i64,
        error: Option<String>,
        gaps: i64,
    }
}

impl UnitRow {
    fn unit(
        self,
        account: AccountId,
        collection: Collection,
        due_at: Timestamp,
        keys: &KeyRing,
    ) -> Result<Unit, Error> {
        let cell = Cell { table: "units", column: "failures", account, key: &collection };
        let rest_until = self.rest_until.map(|ms| cell.column("rest_until").instant(ms)).transpose()?;
        let plan = UnitPlan { due_at, failures: cell.unsigned(self.failures)?, error: self.error, rest_until };
        let away = Cell { table: "accounts", column: "away", account, key: &"" };
        let standing = standing(self.away.as_deref(), away)?;
        let erased = Cell { table: "accounts", column: "sealed", account, key: &"" };
        let account = self.account.account(keys)?;
        let account = account.ok_or_else(|| erased.corrupt("it has a hook, but no credentials"))?;
        Ok(Unit { account, standing, collection, plan })
    }
}

row! {
    struct StandingRow {
        standings: i64,
        away: Option<String>,
        away_since: Option<i64>,
        away_last_good_at: Option<i64>,
        away_error: Option<String>,
        away_blamed: Option<String>,
    }
}

fn standing(away: Option<&str>, cell: Cell<'_>) -> Result<Standing, Error> {
    match away {
        None => Ok(Standing::Reachable),
        Some("unreachable") => Ok(Standing::Unreachable),
        Some("denied") => Ok(Standing::Denied),
        Some(word) => Err(cell.corrupt(format_args!("there is no standing `{word}`"))),
    }
}

async fn make_all_due(tx: &mut SqliteConnection, account: AccountId, now: Timestamp) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE units SET due_at = $2, rest_until = NULL WHERE account_id = $1 AND due_at IS NOT NULL")
        .bind(account.0)
        .bind(now.as_millisecond())
        .execute(&mut *tx)
        .await
        .map(drop)
}

#[async_trait]
impl Polls for Sqlite {
    async fn due_units(&self, now: Timestamp, ended_after: Timestamp, limit: usize) -> Result<DueUnits, Error> {
        let rows: Vec<UnitRow> = sqlx::query_as(units!(
            "INDEXED BY units_due CROSS JOIN accounts a ON a.account_id = u.account_id
             WHERE u.due_at <= $1 AND EXISTS (
                 SELECT 1 FROM hooks h
                 WHERE h.account_id = u.account_id AND (h.ended_at IS NULL OR h.ended_at >= $2)
                   AND (u.collection IN (SELECT value FROM json_each($4)) OR h.collection = u.collection))
             ORDER BY u.due_at, u.account_id, u.collection
             LIMIT (SELECT $3)",
        ))
        .bind(now.as_millisecond())
        .bind(ended_after.as_millisecond())
        .bind(int(limit))
        .bind(always_watched())
        .fetch_all(&self.readers)
        .await
        .doing("reading what is due to be looked at")?;

        let mut due = DueUnits::default();
        for row in rows {
            let account = AccountId(row.account.account_id);
            let cell = Cell { table: "units", column: "collection", account, key: &row.collection };
            // Without these two nothing could be planned of it, so they are what stops the step.
            let collection = cell.collection(&row.collection)?;
            let due_at = cell.column("due_at").instant(row.due_at)?;
            match row.unit(account, collection, due_at, &self.keys) {
                Ok(unit) => due.units.push(unit),
                Err(error) => due.unreadable.push(UnreadableUnit { account, collection, due_at, error }),
            }
        }
        Ok(due)
    }

    async fn unit(
        &self,
        account: AccountId,
        collection: Collection,
        ended_after: Timestamp,
    ) -> Result<Option<Unit>, Error> {
        let row: Option<UnitRow> = sqlx::query_as(units!(
            "CROSS JOIN accounts a ON a.account_id = u.account_id
             WHERE u.account_id = $1 AND u.collection = $2 AND u.due_at IS NOT NULL AND EXISTS (
                 SELECT 1 FROM hooks h
                 WHERE h.account_id = u.account_id AND (h.ended_at IS NULL OR h.ended_at >= $3)
                   AND (u.collection IN (SELECT value FROM json_each($4)) OR h.collection = u.collection))",
        ))
        .bind(account.0)
        .bind(collection.as_str())
        .bind(ended_after.as_millisecond())
        .bind(always_watched())
        .fetch_optional(&self.readers)
        .await
        .doing("reading what is to be looked at")?;
        let Some(row) = row else { return Ok(None) };
        let cell = Cell { table: "units", column: "due_at", account, key: &collection };
        let due_at = cell.instant(row.due_at)?;
        row.unit(account, collection, due_at, &self.keys).map(Some)
    }

    async fn next_unit_due_at(&self, ended_after: Timestamp) -> Result<Option<Timestamp>, Error> {
        let next: Option<i64> = sqlx::query_scalar(
            "SELECT u.due_at FROM units u INDEXED BY units_due
             WHERE u.due_at IS NOT NULL AND EXISTS (
                 SELECT 1 FROM hooks h
                 WHERE h.account_id = u.account_id AND (h.ended_at IS NULL OR h.ended_at >= $1)
                   AND (u.collection IN (SELECT value FROM json_each($2)) OR h.collection = u.collection))
             ORDER BY u.due_at LIMIT 1",
        )
        .bind(ended_after.as_millisecond())
        .bind(always_watched())
        .fetch_optional(&self.readers)
        .await
        .doing("reading when to look next")?;
        let cell = Cell { table: "units", column: "due_at", account: AccountId(0), key: &"(the earliest)" };
        next.map(|ms| cell.instant(ms)).transpose()
    }

    async fn make_due_beyond(&self, beyond: Timestamp, now: Timestamp) -> Result<u64, Error> {
        const ACTION: &str = "making due what was planned by another time";
        let any: Option<i64> = sqlx::query_scalar("SELECT 1 FROM units INDEXED BY units_due WHERE due_at > $1 LIMIT 1")
            .bind(beyond.as_millisecond())
            .fetch_optional(&self.readers)
            .await
            .doing(ACTION)?;
        // Asked in every pass, and no pass waits for the writer to hear that all is as it should be.
        if any.is_none() {
            return Ok(0);
        }
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let made = sqlx::query("UPDATE units SET due_at = $2, rest_until = NULL WHERE due_at > $1")
            .bind(beyond.as_millisecond())
            .bind(now.as_millisecond())
            .execute(&mut *tx)
            .await
            .doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        Ok(made.rows_affected())
    }

    async fn plan_unit(
        &self,
        account: AccountId,
        collection: Collection,
        was: Timestamp,
        plan: &UnitPlan,
    ) -> Result<(), Error> {
        const ACTION: &str = "planning a look";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        sqlx::query(
            "UPDATE units SET due_at = iif(due_at = $6, $3, due_at), failures = $4, error = $5, rest_until = $7
             WHERE account_id = $1 AND collection = $2",
        )
        .bind(account.0)
        .bind(collection.as_str())
        .bind(plan.due_at.as_millisecond())
        .bind(plan.failures)
        .bind(&plan.error)
        .bind(was.as_millisecond())
        .bind(plan.rest_until.map(Timestamp::as_millisecond))
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        tx.commit().await.doing(ACTION)
    }

    async fn record_standing(
        &self,
        account: AccountId,
        standings: u64,
        outage: Option<&Outage>,
        change: &NewChange,
        now: Timestamp,
    ) -> Result<Vec<Entry>, Error> {
        const ACTION: &str = "recording how an account stands";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let raised = sqlx::query(
            "UPDATE accounts SET standings = standings + 1, away = $3, away_since = $4, away_last_good_at = $5, away_error = $6,
                 away_blamed = $7
             WHERE account_id = $1 AND standings = $2",
        )
        .bind(account.0)
        .bind(int(standings))
        .bind(outage.map(|outage| outage.standing.native()))
        .bind(outage.map(|outage| outage.since.as_millisecond()))
        .bind(outage.and_then(|outage| outage.last_good_at).map(Timestamp::as_millisecond))
        .bind(outage.map(|outage| outage.error.as_str()))
        .bind(outage.and_then(|outage| outage.blamed).map(Collection::as_str))
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        if raised.rows_affected() != 1 {
            return Err(Error::Conflict);
        }
        if outage.is_none() {
            make_all_due(&mut tx, account, now).await.doing(ACTION)?;
        }
        let entries = record_changes(&mut tx, account, std::slice::from_ref(change), now).await.doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        self.followers.tell(account);
        Ok(entries)
    }

    async fn standing(&self, account: AccountId) -> Result<(u64, Option<Outage>), Error> {
        let row: Option<StandingRow> = sqlx::query_as(
            "SELECT standings, away, away_since, away_last_good_at, away_error, away_blamed
             FROM accounts WHERE account_id = $1",
        )
        .bind(account.0)
        .fetch_optional(&self.readers)
        .await
        .doing("reading how an account stands")?;
        let Some(row) = row else { return Ok((0, None)) };
        let cell = Cell { table: "accounts", column: "away", account, key: &"" };
        let standings = cell.column("standings").unsigned(row.standings)?;
        let standing = standing(row.away.as_deref(), cell)?;
        let Some(since) = row.away_since else { return Ok((standings, None)) };
        let instant = |column, ms| cell.column(column).instant(ms);
        let outage = Outage {
            standing,
            since: instant("away_since", since)?,
            last_good_at: row.away_last_good_at.map(|ms| instant("away_last_good_at", ms)).transpose()?,
            error: row.away_error.unwrap_or_default(),
            blamed: row.away_blamed.map(|word| cell.column("away_blamed").collection(&word)).transpose()?,
        };
        Ok((standings, Some(outage)))
    }

    async fn renew_login(&self, key: &AccountKey, login: &Login, now: Timestamp) -> Result<bool, Error> {
        const ACTION: &str = "renewing credentials";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let has_some: Option<i64> = sqlx::query_scalar(
            "SELECT account_id FROM accounts
             WHERE driver = $1 AND provider = $2 AND identity = $3 AND sealed IS NOT NULL",
        )
        .bind(key.driver.as_str())
        .bind(&key.provider)
        .bind(&key.identity)
        .fetch_optional(&mut *tx)
        .await
        .doing(ACTION)?;
        if has_some.is_none() {
            return Ok(false);
        }
        let account = accounts::save(&mut tx, &self.keys, key, login, now.as_millisecond()).await.doing(ACTION)?;
        make_all_due(&mut tx, account, now).await.doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        Ok(true)
    }

    async fn look_by(&self, account: AccountId, collection: Collection, at: Timestamp) -> Result<(), Error> {
        const ACTION: &str = "bringing a look forward";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        sqlx::query(
            "UPDATE units SET due_at = $3 WHERE account_id = $1 AND collection = $2 AND due_at > $3 AND failures = 0",
        )
        .bind(account.0)
        .bind(collection.as_str())
        .bind(at.as_millisecond())
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        tx.commit().await.doing(ACTION)
    }

    async fn look_now(&self, account: AccountId, collection: Collection, now: Timestamp) -> Result<(), Error> {
        const ACTION: &str = "making a look due";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        sqlx::query("UPDATE units SET due_at = $3 WHERE account_id = $1 AND collection = $2 AND due_at IS NOT NULL")
            .bind(account.0)
            .bind(collection.as_str())
            .bind(now.as_millisecond())
            .execute(&mut *tx)
            .await
            .doing(ACTION)?;
        tx.commit().await.doing(ACTION)
    }

    async fn watch(
        &self,
        account: AccountId,
        collection: Collection,
        ended_after: Timestamp,
    ) -> Result<Option<Watch>, Error> {
        let row: Option<WatchRow> = sqlx::query_as(
            "SELECT u.due_at, u.failures, u.error, u.gaps,
                    (SELECT min(h.live_since) FROM hooks h
                     WHERE h.account_id = u.account_id AND (h.ended_at IS NULL OR h.ended_at >= $3)
                       AND (u.collection IN (SELECT value FROM json_each($4)) OR h.collection = u.collection)) AS since
             FROM units u WHERE u.account_id = $1 AND u.collection = $2",
        )
        .bind(account.0)
        .bind(collection.as_str())
        .bind(ended_after.as_millisecond())
        .bind(always_watched())
        .fetch_optional(&self.readers)
        .await
        .doing("reading how a collection is watched")?;
        let Some(WatchRow { since: Some(since), due_at, failures, error, gaps }) = row else { return Ok(None) };
        let cell = Cell { table: "units", column: "gaps", account, key: &collection };
        let hooks = Cell { table: "hooks", column: "live_since", account, key: &"(the earliest)" };
        Ok(Some(Watch {
            since: hooks.instant(since)?,
            due_at: due_at.map(|ms| cell.column("due_at").instant(ms)).transpose()?,
            failures: cell.column("failures").unsigned(failures)?,
            error,
            gaps: cell.unsigned(gaps)?,
        }))
    }

    async fn bring_forward(
        &self,
        collection: Collection,
        at: Timestamp,
        spread: Duration,
        rest_max: Duration,
    ) -> Result<u64, Error> {
        const ACTION: &str = "bringing looks forward";
        let spread_ms = int(spread.as_millis()).min(SPREAD_MS_MAX);
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        // Multiplied by the golden ratio, neighbouring accounts land far apart; the low 32 bits are the point, as a fraction of
        // the spread. All of it stays below 63 bits. What is due earlier is left as it is: nothing is ever put off here.
        let brought = sqlx::query(
            "UPDATE units
             SET due_at = min(due_at, $2 + (((account_id & 2147483647) * 2654435769 & 4294967295) * $3 >> 32))
             WHERE collection = $1 AND failures = 0 AND due_at > $2 AND (coalesce(rest_until, 0) <= $2 OR rest_until > $2 + $4)",
        )
        .bind(collection.as_str())
        .bind(at.as_millisecond())
        .bind(spread_ms)
        .bind(int(rest_max.as_millis()).min(SPREAD_MS_MAX))
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        Ok(brought.rows_affected())
    }
}
