use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use serde::Serialize;
use sqlx::SqliteConnection;

use super::Sqlite;
use super::rows::{Cell, Doing as _, change_body, int, json, resource_body, row};
use crate::model::{AccountId, Collection, Entry, HookId, Known, KnownResource, Seq, Topic};
use crate::store::{Commit, Error, Head, NewChange, Samples};

row! {
    /// A unit, and beside it one of its resources or none.
    struct KnownRow {
        version: i64,
        last_seq: i64,
        unit_observed_at: Option<i64>,
        resource: Option<String>,
        revision: i64,
        first_seen_at: i64,
        observed_at: i64,
        absent_since: Option<i64>,
        body: String,
    }
}

row! {
    struct HeadRow {
        version: i64,
        last_seq: i64,
        observed_at: Option<i64>,
    }
}

/// A statement and what SQLite makes of it hold each row some four times, so a large account's are written in several.
const ROWS_AT_ONCE: usize = 500;

#[derive(Serialize)]
struct ResourceJson<'a> {
    resource: &'a str,
    revision: i64,
    first_seen_at: i64,
    observed_at: i64,
    absent_since: Option<i64>,
    body: String,
}

#[derive(Serialize)]
struct ChangeJson<'a> {
    seq: u64,
    change_id: &'a str,
    at: i64,
    collection: &'static str,
    resource: &'a str,
    kind: &'static str,
    body: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct OwedJson<'a> {
    hook: &'a str,
    seq: u64,
    collection: &'static str,
    resource: &'a str,
    /// No other of this commit goes to the same hook about the same resource before it.
    first: bool,
}

#[async_trait]
impl Samples for Sqlite {
    async fn known(&self, account: AccountId, collection: Collection) -> Result<Known, Error> {
        // One statement, so that version and members are of one moment.
        let mut rows = sqlx::query_as::<_, KnownRow>(
            "SELECT coalesce(u.version, 0) AS version, a.last_seq, u.observed_at AS unit_observed_at, r.resource,
                    coalesce(r.revision, 0) AS revision, coalesce(r.first_seen_at, 0) AS first_seen_at,
                    coalesce(r.observed_at, 0) AS observed_at, r.absent_since, coalesce(r.body, '') AS body
             FROM accounts a
             LEFT JOIN units u ON u.account_id = a.account_id AND u.collection = $2
             LEFT JOIN resources r ON r.account_id = u.account_id AND r.collection = u.collection
             WHERE a.account_id = $1
             ORDER BY r.resource",
        )
        .bind(account.0)
        .bind(collection.as_str())
        .fetch(&self.readers);

        let mut known = Known {
            collection,
            version: 0,
            through: Seq(0),
            observed_at: None,
            members: BTreeMap::new(),
            former: BTreeMap::new(),
        };
        let mut is_first = true;
        // Row by row, as the rows of a large account take as much memory as what is made of them.
        while let Some(mut row) = rows.try_next().await.doing("reading what is known")? {
            if std::mem::take(&mut is_first) {
                let cell = Cell { table: "units", column: "observed_at", account, key: &collection };
                known.version = row.version;
                known.through = Seq(cell.column("last_seq").unsigned(row.last_seq)?);
                known.observed_at = row.unit_observed_at.map(|ms| cell.instant(ms)).transpose()?;
            }
            let Some(id) = row.resource.take() else { continue };
            let resource = row.known(account, collection, &id, known.observed_at)?;
            known.members.insert(id, resource);
        }
        drop(rows);

        // Read apart: were it of another moment, so would be the version, and a commit decided on it is refused.
        let former: Vec<(String, i64)> =
            sqlx::query_as("SELECT resource, revision FROM former_resources WHERE account_id = $1 AND collection = $2")
                .bind(account.0)
                .bind(collection.as_str())
                .fetch_all(&self.readers)
                .await
                .doing("reading what was known once")?;

        for (id, revision) in former {
            let cell = Cell { table: "former_resources", column: "revision", account, key: &id };
            let revision = cell.unsigned(revision)?;
            known.former.insert(id, revision);
        }
        Ok(known)
    }

    async fn head(&self, account: AccountId, collection: Collection) -> Result<Head, Error> {
        let row: Option<HeadRow> = sqlx::query_as(
            "SELECT coalesce(u.version, 0) AS version, a.last_seq, u.observed_at
             FROM accounts a LEFT JOIN units u ON u.account_id = a.account_id AND u.collection = $2
             WHERE a.account_id = $1",
        )
        .bind(account.0)
        .bind(collection.as_str())
        .fetch_optional(&self.readers)
        .await
        .doing("reading how far a collection is known")?;
        let Some(row) = row else { return Ok(Head { version: 0, through: Seq(0), observed_at: None }) };
        let cell = Cell { table: "units", column: "observed_at", account, key: &collection };
        Ok(Head {
            version: row.version,
            through: Seq(cell.column("last_seq").unsigned(row.last_seq)?),
            observed_at: row.observed_at.map(|ms| cell.instant(ms)).transpose()?,
        })
    }

    async fn member(
        &self,
        account: AccountId,
        collection: Collection,
        id: &str,
    ) -> Result<Option<KnownResource>, Error> {
        let row: Option<KnownRow> = sqlx::query_as(
            "SELECT u.version, a.last_seq, u.observed_at AS unit_observed_at, r.resource, r.revision, r.first_seen_at,
                    r.observed_at, r.absent_since, r.body
             FROM accounts a
             JOIN units u ON u.account_id = a.account_id AND u.collection = $2
             JOIN resources r ON r.account_id = u.account_id AND r.collection = u.collection AND r.resource = $3
             WHERE a.account_id = $1",
        )
        .bind(account.0)
        .bind(collection.as_str())
        .bind(id)
        .fetch_optional(&self.readers)
        .await
        .doing("reading what is known of one")?;
        let Some(row) = row else { return Ok(None) };
        let cell = Cell { table: "units", column: "observed_at", account, key: &collection };
        let sampled_at = row.unit_observed_at.map(|ms| cell.instant(ms)).transpose()?;
        row.known(account, collection, id, sampled_at).map(Some)
    }

    async fn judgements(&self, account: AccountId) -> Result<Vec<(String, String)>, Error> {
        sqlx::query_as("SELECT realm, body FROM judgements WHERE account_id = $1 ORDER BY realm")
            .bind(account.0)
            .fetch_all(&self.readers)
            .await
            .doing("reading what is thought of realms")
    }

    async fn commit_sample(&self, commit: &Commit) -> Result<Vec<Entry>, Error> {
        const ACTION: &str = "recording a sample";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        if !raise_version(&mut tx, commit).await.doing(ACTION)? {
            return Err(Error::Conflict);
        }
        put_resources(&mut tx, commit).await.doing(ACTION)?;
        put_judgements(&mut tx, commit).await.doing(ACTION)?;
        count_gaps(&mut tx, commit).await.doing(ACTION)?;
        let entries = record_changes(&mut tx, commit.account, &commit.changes, commit.now).await.doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        if !entries.is_empty() {
            self.followers.tell(commit.account);
        }
        Ok(entries)
    }
}

impl KnownRow {
    /// A sample without news of a resource says when it was seen in the unit's row only.
    fn known(
        self,
        account: AccountId,
        collection: Collection,
        id: &str,
        sampled_at: Option<Timestamp>,
    ) -> Result<KnownResource, Error> {
        let key = format!("{collection}/{id}");
        let cell = Cell { table: "resources", column: "body", account, key: &key };
        let resource = cell.resource(collection, &self.body)?;
        if resource.id() != id {
            return Err(cell.corrupt(format_args!("it is the body of `{}`", resource.id())));
        }
        let seen_at = cell.column("observed_at").instant(self.observed_at)?;
        let absent_since = self.absent_since.map(|ms| cell.column("absent_since").instant(ms)).transpose()?;
        Ok(KnownResource {
            resource,
            revision: cell.column("revision").unsigned(self.revision)?,
            first_seen_at: cell.column("first_seen_at").instant(self.first_seen_at)?,
            observed_at: if absent_since.is_some() {
                seen_at
            } else {
                sampled_at.map_or(seen_at, |at| at.max(seen_at))
            },
            absent_since,
        })
    }
}

/// `false`: the version is another by now.
async fn raise_version(tx: &mut SqliteConnection, commit: &Commit) -> Result<bool, sqlx::Error> {
    let raised = sqlx::query(
        "UPDATE units SET version = version + 1,
                          observed_at = coalesce(max(coalesce(observed_at, $4), $4), observed_at)
         WHERE account_id = $1 AND collection = $2 AND version = $3",
    )
    .bind(commit.account.0)
    .bind(commit.collection.as_str())
    .bind(commit.version)
    .bind(commit.observed_at.map(Timestamp::as_millisecond))
    .execute(&mut *tx)
    .await?;
    if raised.rows_affected() == 1 || commit.version != 0 {
        return Ok(raised.rows_affected() == 1);
    }
    // Nobody watches it yet: this is the look before the first hook on it. Planning the next one is that hook's business.
    let begun = sqlx::query(
        "INSERT INTO units (account_id, collection, version, observed_at)
         SELECT account_id, $2, 1, $3 FROM accounts WHERE account_id = $1
         ON CONFLICT (account_id, collection) DO NOTHING",
    )
    .bind(commit.account.0)
    .bind(commit.collection.as_str())
    .bind(commit.observed_at.map(Timestamp::as_millisecond))
    .execute(&mut *tx)
    .await?;
    Ok(begun.rows_affected() == 1)
}

async fn put_resources(tx: &mut SqliteConnection, commit: &Commit) -> Result<(), sqlx::Error> {
    for upserts in commit.upserts.chunks(ROWS_AT_ONCE) {
        let ids: Vec<&str> = upserts.iter().map(|known| known.resource.id()).collect();
        let rows: Vec<ResourceJson<'_>> = upserts.iter().map(resource_json).collect();
        sqlx::query(
            "INSERT INTO resources (account_id, collection, resource, revision, first_seen_at, observed_at, absent_since, body)
             SELECT $1, $2, value ->> 'resource', value ->> 'revision', value ->> 'first_seen_at',
                    value ->> 'observed_at', value ->> 'absent_since', value ->> 'body'
             FROM json_each($3) WHERE true
             ON CONFLICT (account_id, collection, resource) DO UPDATE SET
                 revision = excluded.revision, first_seen_at = excluded.first_seen_at,
                 observed_at = excluded.observed_at, absent_since = excluded.absent_since, body = excluded.body",
        )
        .bind(commit.account.0)
        .bind(commit.collection.as_str())
        .bind(json(&rows))
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM former_resources
             WHERE account_id = $1 AND collection = $2 AND resource IN (SELECT value FROM json_each($3))",
        )
        .bind(commit.account.0)
        .bind(commit.collection.as_str())
        .bind(json(&ids))
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE hooks SET ended_at = NULL, live_since = $4
             WHERE account_id = $1 AND scope = 'member' AND collection = $2
                   AND resource IN (SELECT value FROM json_each($3)) AND ended_at IS NOT NULL",
        )
        .bind(commit.account.0)
        .bind(commit.collection.as_str())
        .bind(json(&ids))
        .bind(commit.now.as_millisecond())
        .execute(&mut *tx)
        .await?;
    }
    if !commit.removed.is_empty() {
        let removed = json(&commit.removed);
        let subjects = commit.changes.iter().map(|new| &new.change.subject);
        let own = subjects.filter(|subject| subject.collection == Topic::Of(commit.collection));
        let told: BTreeMap<&str, u64> = own.map(|subject| (subject.id.as_str(), subject.revision)).collect();
        sqlx::query(
            "INSERT OR REPLACE INTO former_resources (account_id, collection, resource, revision, ended_at)
             SELECT account_id, collection, resource, coalesce(told.value, revision), $5
             FROM resources LEFT JOIN json_each($4) told ON told.key = resource
             WHERE account_id = $1 AND collection = $2 AND resource IN (SELECT value FROM json_each($3))",
        )
        .bind(commit.account.0)
        .bind(commit.collection.as_str())
        .bind(&removed)
        .bind(json(&told))
        .bind(commit.now.as_millisecond())
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "DELETE FROM resources
             WHERE account_id = $1 AND collection = $2 AND resource IN (SELECT value FROM json_each($3))",
        )
        .bind(commit.account.0)
        .bind(commit.collection.as_str())
        .bind(&removed)
        .execute(&mut *tx)
        .await?;
        sqlx::query(
            "UPDATE hooks SET ended_at = $4
             WHERE account_id = $1 AND scope = 'member' AND collection = $2
                   AND resource IN (SELECT value FROM json_each($3)) AND ended_at IS NULL",
        )
        .bind(commit.account.0)
        .bind(commit.collection.as_str())
        .bind(&removed)
        .bind(commit.now.as_millisecond())
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

async fn put_judgements(tx: &mut SqliteConnection, commit: &Commit) -> Result<(), sqlx::Error> {
    for (realm, body) in &commit.judgements {
        let statement = match body {
            Some(_) => {
                "INSERT INTO judgements (account_id, realm, body) VALUES ($1, $2, $3)
                 ON CONFLICT (account_id, realm) DO UPDATE SET body = excluded.body"
            }
            None => "DELETE FROM judgements WHERE account_id = $1 AND realm = $2 AND $3 IS NULL",
        };
        sqlx::query(statement).bind(commit.account.0).bind(realm).bind(body).execute(&mut *tx).await?;
    }
    Ok(())
}

/// Keeps how many gaps are stated of the unit by now.
async fn count_gaps(tx: &mut SqliteConnection, commit: &Commit) -> Result<(), sqlx::Error> {
    let subjects = commit.changes.iter().map(|new| &new.change.subject);
    let gaps = subjects.filter(|subject| subject.collection == Topic::Account).map(|subject| subject.revision).max();
    let Some(gaps) = gaps else { return Ok(()) };
    sqlx::query("UPDATE units SET gaps = $3 WHERE account_id = $1 AND collection = $2")
        .bind(commit.account.0)
        .bind(commit.collection.as_str())
        .bind(int(gaps))
        .execute(&mut *tx)
        .await
        .map(drop)
}

/// Writes those that are not known yet.
pub(super) async fn put_new_resources(
    tx: &mut SqliteConnection,
    account: AccountId,
    collection: Collection,
    resources: &[KnownResource],
) -> Result<(), sqlx::Error> {
    let rows: Vec<ResourceJson<'_>> = resources.iter().map(resource_json).collect();
    sqlx::query(
        "INSERT INTO resources (account_id, collection, resource, revision, first_seen_at, observed_at, absent_since, body)
         SELECT $1, $2, value ->> 'resource', value ->> 'revision', value ->> 'first_seen_at',
                value ->> 'observed_at', value ->> 'absent_since', value ->> 'body'
         FROM json_each($3) WHERE true
         ON CONFLICT DO NOTHING",
    )
    .bind(account.0)
    .bind(collection.as_str())
    .bind(json(&rows))
    .execute(&mut *tx)
    .await
    .map(drop)
}

fn resource_json(known: &KnownResource) -> ResourceJson<'_> {
    let KnownResource { resource, revision, first_seen_at, observed_at, absent_since } = known;
    ResourceJson {
        resource: resource.id(),
        revision: int(*revision),
        first_seen_at: first_seen_at.as_millisecond(),
        observed_at: observed_at.as_millisecond(),
        absent_since: absent_since.map(Timestamp::as_millisecond),
        body: resource_body(resource),
    }
}

/// Writes changes with their numbers, and what is owed of them.
pub(super) async fn record_changes(
    tx: &mut SqliteConnection,
    account: AccountId,
    changes: &[NewChange],
    now: Timestamp,
) -> Result<Vec<Entry>, sqlx::Error> {
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let entries = put_changes(tx, account, changes).await?;
    put_deliveries(tx, account, changes, &entries, now).await?;
    Ok(entries)
}

/// Numbers the changes and writes them. The account's row is locked until the commit, so no other can take a number
/// that comes before, and a number taken is a change written.
async fn put_changes(
    tx: &mut SqliteConnection,
    account: AccountId,
    changes: &[NewChange],
) -> Result<Vec<Entry>, sqlx::Error> {
    let count = changes.len() as u64;
    let last: i64 =
        sqlx::query_scalar("UPDATE accounts SET last_seq = last_seq + $2 WHERE account_id = $1 RETURNING last_seq")
            .bind(account.0)
            .bind(int(count))
            .fetch_one(&mut *tx)
            .await?;
    let first = last.cast_unsigned() + 1 - count;
    let entries: Vec<Entry> =
        (first..).zip(changes).map(|(seq, new)| Entry { seq: Seq(seq), change: new.change.clone() }).collect();
    for entries in entries.chunks(ROWS_AT_ONCE) {
        let rows: Vec<ChangeJson<'_>> = entries.iter().map(change_json).collect();
        sqlx::query(
            "INSERT INTO changes (account_id, seq, change_id, at, collection, resource, kind, body)
             SELECT $1, value ->> 'seq', value ->> 'change_id', value ->> 'at', value ->> 'collection',
                    value ->> 'resource', value ->> 'kind', value ->> 'body'
             FROM json_each($2)",
        )
        .bind(account.0)
        .bind(json(&rows))
        .execute(&mut *tx)
        .await?;
    }
    Ok(entries)
}

fn change_json(entry: &Entry) -> ChangeJson<'_> {
    let change = &entry.change;
    ChangeJson {
        seq: entry.seq.0,
        change_id: &change.id.0,
        at: change.at.as_millisecond(),
        collection: change.subject.collection.as_str(),
        resource: &change.subject.id,
        kind: change.news.kind(),
        body: change_body(change),
    }
}

/// Writes what is owed. A hook that was removed since the caller looked is owed nothing.
async fn put_deliveries(
    tx: &mut SqliteConnection,
    account: AccountId,
    changes: &[NewChange],
    entries: &[Entry],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let owed = owed(changes, entries);
    if owed.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO deliveries (account_id, hook_id, seq, subscriber, collection, resource, state, created_at, due_at,
                                 receiver, next_at)
         SELECT $1, hook_id, seq, subscriber, collection, resource, 'waiting', $3, $3,
                iif(ready, receiver, NULL), iif(ready, $3, NULL)
         FROM (SELECT h.hook_id, h.subscriber, h.receiver, value ->> 'seq' AS seq,
                      value ->> 'collection' AS collection, value ->> 'resource' AS resource,
                      value ->> 'first' AND h.receiver IS NOT NULL AND h.disabled_at IS NULL AND NOT EXISTS (
                          SELECT 1 FROM deliveries elder
                          WHERE elder.account_id = $1 AND elder.hook_id = h.hook_id AND elder.state = 'waiting'
                                AND elder.collection = value ->> 'collection' AND elder.resource = value ->> 'resource'
                      ) AS ready
               FROM json_each($2) CROSS JOIN hooks h
               WHERE h.account_id = $1 AND h.hook_id = value ->> 'hook')",
    )
    .bind(account.0)
    .bind(json(&owed))
    .bind(now.as_millisecond())
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// Each hook that is told of each change, once.
fn owed<'a>(changes: &'a [NewChange], entries: &'a [Entry]) -> Vec<OwedJson<'a>> {
    let mut begun = BTreeSet::new();
    let mut owed = Vec::new();
    for (new, entry) in changes.iter().zip(entries) {
        let subject = &entry.change.subject;
        for HookId(hook) in new.told.iter().collect::<BTreeSet<_>>() {
            let collection = subject.collection.as_str();
            let first = begun.insert((hook, collection, &subject.id));
            owed.push(OwedJson { hook, seq: entry.seq.0, collection, resource: &subject.id, first });
        }
    }
    owed
}
