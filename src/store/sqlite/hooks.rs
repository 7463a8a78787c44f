use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use url::Url;
use zeroize::Zeroizing;

use super::rows::{Cell, Doing as _, int, json, row};
use super::samples;
use super::{Sqlite, accounts, deliveries};
use crate::model::{
    AccountId, AccountKey, Callback, Collection, Disabled, Events, ExposeSecret as _, Format, Hook, HookId, Login,
    Mode, Scope, Secret, SigningKey, Subscriber, Terms,
};
use crate::store::keyring::{KeyRing, Place};
use crate::store::{Baseline, Error, Hooks};

row! {
    pub(super) struct HookRow {
        hook_id: String,
        subscriber: String,
        scope: String,
        collection: String,
        resource: String,
        sealed: Vec<u8>,
        base: String,
        created_at: i64,
        disabled_at: Option<i64>,
        disabled_reason: Option<String>,
        ended_at: Option<i64>,
        version: i64,
        mode: String,
        format: String,
        events: Option<String>,
        failing_since: Option<i64>,
    }
}

row! {
    struct OwnedRow {
        account_id: i64,
        ..
        hook: HookRow,
    }
}

#[derive(Serialize)]
struct WantedJson<'a> {
    account: i64,
    hook: &'a str,
}

/// The sealed part.
#[derive(Serialize, Deserialize)]
struct HookBody<Text> {
    /// `None` reads the feed.
    callback: Option<Text>,
    token: Option<Text>,
    keys: Vec<KeyBody<Text>>,
}

#[derive(Serialize, Deserialize)]
struct KeyBody<Text> {
    secret: Text,
    until_ms: Option<i64>,
}

row! {
    /// What was there before a hook is set.
    struct OldHook {
        hook_id: String,
        /// It was posted to.
        active: bool,
        sealed: Vec<u8>,
    }
}

impl OldHook {
    /// Whether it had this callback. One that cannot be read had none that was ever reached.
    fn has_callback(&self, keys: &KeyRing, account: AccountId, callback: &Callback) -> bool {
        let id = HookId(self.hook_id.clone());
        let Ok(plain) = keys.open(place(account, &id), &self.sealed) else { return false };
        let Ok(body) = serde_json::from_slice::<HookBody<String>>(&plain) else { return false };
        body.callback.as_deref() == callback_text(callback)
    }
}

fn callback_text(callback: &Callback) -> Option<&str> {
    match callback {
        Callback::Post(url) => Some(url.as_str()),
        Callback::Feed => None,
    }
}

impl HookRow {
    pub(super) fn hook(self, account: AccountId, keys: &KeyRing) -> Result<Hook, Error> {
        let id = HookId(self.hook_id);
        let cell = Cell { table: "hooks", column: "sealed", account, key: &id };
        let plain = keys.open(place(account, &id), &self.sealed).map_err(|fault| cell.corrupt(fault))?;
        // The fault's own text could quote what was sealed.
        let body: HookBody<String> =
            serde_json::from_slice(&plain).map_err(|_| cell.corrupt("what was sealed is not a hook"))?;
        let callback = match body.callback {
            Some(url) => {
                Callback::Post(Url::parse(&url).map_err(|_| cell.corrupt("what was sealed as callback is no URL"))?)
            }
            None => Callback::Feed,
        };
        let mut signing = Vec::with_capacity(body.keys.len());
        for key in body.keys {
            let until = key.until_ms.map(|ms| cell.instant(ms)).transpose()?;
            signing.push(SigningKey { secret: Secret::from(key.secret), until });
        }
        let subscriber = Subscriber::parse(&self.subscriber).ok_or_else(|| {
            cell.column("subscriber").corrupt(format_args!("`{}` is no subscriber's name", self.subscriber))
        })?;
        let cell_collection = cell.column("collection");
        let scope = match self.scope.as_str() {
            "account" => Scope::Account,
            "collection" => Scope::Collection(cell_collection.collection(&self.collection)?),
            "member" => Scope::Member(cell_collection.collection(&self.collection)?, self.resource),
            other => return Err(cell.column("scope").corrupt(format_args!("there is no scope `{other}`"))),
        };
        let disabled = match (self.disabled_at, self.disabled_reason) {
            (Some(at), Some(reason)) => Some(Disabled { at: cell.column("disabled_at").instant(at)?, reason }),
            _ => None,
        };
        let created_at = cell.column("created_at").instant(self.created_at)?;
        let ended_at = self.ended_at.map(|ms| cell.column("ended_at").instant(ms)).transpose()?;
        let failing_since = self.failing_since.map(|ms| cell.column("failing_since").instant(ms)).transpose()?;
        let terms = Terms {
            mode: Mode::parse(&self.mode)
                .ok_or_else(|| cell.column("mode").corrupt(format_args!("there is no mode `{}`", self.mode)))?,
            format: Format::parse(&self.format)
                .ok_or_else(|| cell.column("format").corrupt(format_args!("there is no format `{}`", self.format)))?,
            events: Events(self.events.map(|list| cell.column("events").json(&list)).transpose()?),
        };
        let version = cell.column("version").unsigned(self.version)?;
        let token = body.token.map(Secret::from);
        let base = self.base;
        Ok(Hook {
            id: id.clone(),
            subscriber,
            scope,
            callback,
            token,
            keys: signing,
            terms,
            base,
            created_at,
            disabled,
            failing_since,
            version,
            ended_at,
        })
    }
}

/// The columns scope, collection and resource.
fn scope_columns(scope: &Scope) -> (&'static str, &'static str, &str) {
    match scope {
        Scope::Account => ("account", "", ""),
        Scope::Collection(collection) => ("collection", collection.as_str(), ""),
        Scope::Member(collection, id) => ("member", collection.as_str(), id),
    }
}

/// The collections of whose looks a hook may hear something: news of what is in them, or that there were none for long.
fn concerns(scope: &Scope, collection: Collection) -> bool {
    match scope {
        Scope::Account => true,
        Scope::Collection(own) | Scope::Member(own, _) => *own == collection,
    }
}

fn place<'a>(account: AccountId, id: &'a HookId) -> Place<'a> {
    Place { account, table: "hooks", column: "sealed", record: &id.0 }
}

fn sealed(keys: &KeyRing, account: AccountId, hook: &Hook) -> Vec<u8> {
    let callback = callback_text(&hook.callback);
    let token = hook.token.as_ref().map(|token| token.expose_secret());
    let signing = hook
        .keys
        .iter()
        .map(|key| KeyBody { secret: key.secret.expose_secret(), until_ms: key.until.map(Timestamp::as_millisecond) });
    let plain = Zeroizing::new(json(&HookBody { callback, token, keys: signing.collect() }));
    keys.seal(place(account, &hook.id), plain.as_bytes())
}

#[async_trait]
impl Hooks for Sqlite {
    async fn hook(&self, account: AccountId, subscriber: &Subscriber, scope: &Scope) -> Result<Option<Hook>, Error> {
        let (scope, collection, resource) = scope_columns(scope);
        let row: Option<HookRow> = sqlx::query_as(
            "SELECT * FROM hooks
             WHERE account_id = $1 AND subscriber = $2 AND scope = $3 AND collection = $4 AND resource = $5",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(scope)
        .bind(collection)
        .bind(resource)
        .fetch_optional(&self.readers)
        .await
        .doing("reading a hook")?;
        row.map(|row| row.hook(account, &self.keys)).transpose()
    }

    async fn hook_by_id(&self, account: AccountId, id: &HookId) -> Result<Option<Hook>, Error> {
        let row: Option<HookRow> = sqlx::query_as("SELECT * FROM hooks WHERE account_id = $1 AND hook_id = $2")
            .bind(account.0)
            .bind(&id.0)
            .fetch_optional(&self.readers)
            .await
            .doing("reading a hook")?;
        row.map(|row| row.hook(account, &self.keys)).transpose()
    }

    async fn hooks_by_id(&self, wanted: &[(AccountId, HookId)]) -> Result<Vec<(HookId, Result<Hook, Error>)>, Error> {
        let wanted: Vec<WantedJson<'_>> =
            wanted.iter().map(|(account, id)| WantedJson { account: account.0, hook: &id.0 }).collect();
        let rows: Vec<OwnedRow> = sqlx::query_as(
            "SELECT h.* FROM json_each($1)
             CROSS JOIN hooks h ON h.account_id = value ->> 'account' AND h.hook_id = value ->> 'hook'",
        )
        .bind(json(&wanted))
        .fetch_all(&self.readers)
        .await
        .doing("reading hooks")?;
        let hook =
            |row: OwnedRow| (HookId(row.hook.hook_id.clone()), row.hook.hook(AccountId(row.account_id), &self.keys));
        Ok(rows.into_iter().map(hook).collect())
    }

    async fn hooks(&self, account: AccountId) -> Result<Vec<Hook>, Error> {
        let rows: Vec<HookRow> = sqlx::query_as("SELECT * FROM hooks WHERE account_id = $1 ORDER BY hook_id")
            .bind(account.0)
            .fetch_all(&self.readers)
            .await
            .doing("reading the hooks of an account")?;
        rows.into_iter().map(|row| row.hook(account, &self.keys)).collect()
    }

    async fn save_hook(
        &self,
        key: &AccountKey,
        login: &Login,
        hook: &Hook,
        baseline: Option<&Baseline>,
        now: Timestamp,
    ) -> Result<AccountId, Error> {
        const ACTION: &str = "saving a hook";
        let now_ms = now.as_millisecond();
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let account = accounts::save(&mut tx, &self.keys, key, login, now_ms).await.doing(ACTION)?;
        if let Some(baseline) = baseline
            && is_overtaken(&mut tx, account, &hook.scope, baseline).await.doing(ACTION)?
        {
            return Err(Error::Conflict);
        }
        let old = put(&mut tx, &self.keys, account, hook, now_ms).await.doing(ACTION)?;
        if let Some(old) = &old {
            hand_over(&mut tx, &self.keys, account, old, hook, now_ms).await.doing(ACTION)?;
        }
        make_units_due(&mut tx, account, &hook.scope, now_ms).await.doing(ACTION)?;
        if let Some(baseline) = baseline {
            put_baseline(&mut tx, account, baseline).await.doing(ACTION)?;
        }
        tx.commit().await.doing(ACTION)?;
        self.revoked.note(account);
        Ok(account)
    }

    async fn remove_hook(
        &self,
        account: AccountId,
        subscriber: &Subscriber,
        scope: &Scope,
        now: Timestamp,
    ) -> Result<bool, Error> {
        const ACTION: &str = "removing a hook";
        let (scope, collection, resource) = scope_columns(scope);
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let removed: Option<String> = sqlx::query_scalar(
            "DELETE FROM hooks
             WHERE account_id = $1 AND subscriber = $2 AND scope = $3 AND collection = $4 AND resource = $5
             RETURNING hook_id",
        )
        .bind(account.0)
        .bind(subscriber.as_str())
        .bind(scope)
        .bind(collection)
        .bind(resource)
        .fetch_optional(&mut *tx)
        .await
        .doing(ACTION)?;
        let Some(id) = removed else { return Ok(false) };
        sqlx::query(
            "UPDATE deliveries
             SET state = 'dropped', settled_at = $3, receiver = NULL, next_at = NULL, claimed_at = NULL
             WHERE account_id = $1 AND hook_id = $2 AND state IN ('waiting', 'exhausted')",
        )
        .bind(account.0)
        .bind(&id)
        .bind(now.as_millisecond())
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        forget_unwatched(&mut tx, account, now.as_millisecond()).await.doing(ACTION)?;
        accounts::forget_if_unused(&mut tx, account).await.doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        self.revoked.note(account);
        Ok(true)
    }
}

/// What nobody watches any more is known no longer: when somebody does again, what happened meanwhile is no news to him.
/// Ids that come back go on counting their changes.
pub(super) async fn forget_unwatched(
    tx: &mut SqliteConnection,
    account: AccountId,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT OR REPLACE INTO former_resources (account_id, collection, resource, revision, ended_at)
         SELECT r.account_id, r.collection, r.resource, r.revision, $2 FROM resources r
         WHERE r.account_id = $1 AND r.revision > 0 AND NOT EXISTS (
             SELECT 1 FROM hooks h WHERE h.account_id = r.account_id
                 AND (r.collection IN (SELECT value FROM json_each($3)) OR h.collection = r.collection))",
    )
    .bind(account.0)
    .bind(now_ms)
    .bind(always_watched())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "DELETE FROM resources
         WHERE account_id = $1 AND NOT EXISTS (
             SELECT 1 FROM hooks h WHERE h.account_id = $1
                 AND (resources.collection IN (SELECT value FROM json_each($2)) OR h.collection = resources.collection))",
    )
    .bind(account.0)
    .bind(always_watched())
    .execute(&mut *tx)
    .await?;
    sqlx::query(
        "UPDATE units SET version = version + 1, observed_at = NULL, due_at = NULL, failures = 0, error = NULL
         WHERE account_id = $1 AND NOT EXISTS (
             SELECT 1 FROM hooks h WHERE h.account_id = $1
                 AND (units.collection IN (SELECT value FROM json_each($2)) OR h.collection = units.collection))",
    )
    .bind(account.0)
    .bind(always_watched())
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// For `json_each`: the collections that are watched wherever there is a hook.
pub(super) fn always_watched() -> String {
    let names = Collection::ALL.into_iter().filter(|collection| collection.is_always_watched());
    json(&names.map(Collection::as_str).collect::<Vec<_>>())
}

/// Writes the hook over the one of the same subscriber and scope, if there is one, and answers with that.
async fn put(
    tx: &mut SqliteConnection,
    keys: &KeyRing,
    account: AccountId,
    hook: &Hook,
    now_ms: i64,
) -> Result<Option<OldHook>, sqlx::Error> {
    let (scope, collection, resource) = scope_columns(&hook.scope);
    let old: Option<OldHook> = sqlx::query_as(
        "SELECT hook_id, receiver IS NOT NULL AND disabled_at IS NULL AS active, sealed FROM hooks
         WHERE account_id = $1 AND subscriber = $2 AND scope = $3 AND collection = $4 AND resource = $5",
    )
    .bind(account.0)
    .bind(hook.subscriber.as_str())
    .bind(scope)
    .bind(collection)
    .bind(resource)
    .fetch_optional(&mut *tx)
    .await?;
    // An id that belongs to another hook of the account is the caller's bug: the key refuses it.
    sqlx::query(
        "INSERT INTO hooks (account_id, hook_id, subscriber, scope, collection, resource, receiver, sealed, base,
                            created_at, set_at, disabled_at, disabled_reason, ended_at, mode, format, events, live_since)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $11)
         ON CONFLICT (account_id, subscriber, scope, collection, resource) DO UPDATE SET
             hook_id = excluded.hook_id, receiver = excluded.receiver, sealed = excluded.sealed, base = excluded.base,
             created_at = excluded.created_at, set_at = excluded.set_at, disabled_at = excluded.disabled_at,
             disabled_reason = excluded.disabled_reason, ended_at = excluded.ended_at, mode = excluded.mode,
             format = excluded.format, events = excluded.events, failing_since = NULL, version = hooks.version + 1,
             live_since = iif(hooks.ended_at IS NULL, hooks.live_since, excluded.live_since)",
    )
    .bind(account.0)
    .bind(&hook.id.0)
    .bind(hook.subscriber.as_str())
    .bind(scope)
    .bind(collection)
    .bind(resource)
    .bind(hook.receiver())
    .bind(sealed(keys, account, hook))
    .bind(&hook.base)
    .bind(hook.created_at.as_millisecond())
    .bind(now_ms)
    .bind(hook.disabled.as_ref().map(|disabled| disabled.at.as_millisecond()))
    .bind(hook.disabled.as_ref().map(|disabled| disabled.reason.as_str()))
    .bind(hook.ended_at.map(Timestamp::as_millisecond))
    .bind(hook.terms.mode.as_str())
    .bind(hook.terms.format.as_str())
    .bind(hook.terms.events.0.as_ref().map(json))
    .execute(&mut *tx)
    .await?;
    Ok(old)
}

/// What the old hook is owed goes to the new one.
async fn hand_over(
    tx: &mut SqliteConnection,
    keys: &KeyRing,
    account: AccountId,
    old: &OldHook,
    hook: &Hook,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    if old.hook_id != hook.id.0 {
        // Attempts follow by their foreign key.
        sqlx::query("UPDATE deliveries SET hook_id = $3 WHERE account_id = $1 AND hook_id = $2")
            .bind(account.0)
            .bind(&old.hook_id)
            .bind(&hook.id.0)
            .execute(&mut *tx)
            .await?;
    }
    let same = old.has_callback(keys, account, &hook.callback);
    if !same {
        deliveries::forget_attempts(tx, account, &hook.id.0).await?;
    }
    match hook.receiver().filter(|_| hook.disabled.is_none()) {
        None => deliveries::park(tx, account, &hook.id.0).await,
        Some(_) if old.active && same => Ok(()),
        Some(receiver) => deliveries::make_ready(tx, account, &hook.id.0, &receiver, now_ms).await,
    }
}

#[derive(Serialize)]
struct UnitStep {
    collection: &'static str,
    /// By how much its version rises.
    step: u8,
    /// `None`: as it was.
    due_at: Option<i64>,
}

async fn make_units_due(
    tx: &mut SqliteConnection,
    account: AccountId,
    scope: &Scope,
    now_ms: i64,
) -> Result<(), sqlx::Error> {
    let step = |collection: Collection| UnitStep {
        collection: collection.as_str(),
        step: concerns(scope, collection).into(),
        // A hook on the account hears of every look that is made, and wants none made for its own sake.
        due_at: (collection.is_always_watched() || *scope != Scope::Account).then_some(now_ms),
    };
    let touched = |collection: &Collection| collection.is_always_watched() || concerns(scope, *collection);
    let steps: Vec<_> = Collection::ALL.into_iter().filter(touched).map(step).collect();
    // Also one that was due before: a visit that is under way would otherwise put off what is wanted now.
    sqlx::query(
        "INSERT INTO units (account_id, collection, version, due_at)
         SELECT $1, value ->> 'collection', value ->> 'step', value ->> 'due_at' FROM json_each($2) WHERE true
         ON CONFLICT (account_id, collection) DO UPDATE SET
             version = version + excluded.version, due_at = coalesce(excluded.due_at, due_at)",
    )
    .bind(account.0)
    .bind(json(&steps))
    .execute(&mut *tx)
    .await
    .map(drop)
}

/// Whether a change of what the hook listens to was recorded since its baseline was seen. Of changes that were recorded since
/// and are pruned already it cannot be told, so any of them counts.
async fn is_overtaken(
    tx: &mut SqliteConnection,
    account: AccountId,
    scope: &Scope,
    baseline: &Baseline,
) -> Result<bool, sqlx::Error> {
    let member = match scope {
        Scope::Member(_, id) => Some(id.as_str()),
        Scope::Collection(_) | Scope::Account => None,
    };
    sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM changes
             WHERE account_id = $1 AND seq > $2 AND collection = $3 AND resource = coalesce($4, resource))
                OR $2 + 1 < coalesce((SELECT min(seq) FROM changes WHERE account_id = $1),
                                     (SELECT last_seq + 1 FROM accounts WHERE account_id = $1))",
    )
    .bind(account.0)
    .bind(int(baseline.through.0))
    .bind(baseline.collection.as_str())
    .bind(member)
    .fetch_one(&mut *tx)
    .await
}

async fn put_baseline(tx: &mut SqliteConnection, account: AccountId, baseline: &Baseline) -> Result<(), sqlx::Error> {
    let Baseline { collection, through: _, members, complete_at } = baseline;
    samples::put_new_resources(tx, account, *collection, members).await?;
    sqlx::query(
        "UPDATE units SET observed_at = $3 WHERE account_id = $1 AND collection = $2 AND observed_at IS NULL AND $3 IS NOT NULL",
    )
    .bind(account.0)
    .bind(collection.as_str())
    .bind(complete_at.map(Timestamp::as_millisecond))
    .execute(&mut *tx)
    .await
    .map(drop)
}
