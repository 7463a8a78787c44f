use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;
use zeroize::Zeroizing;

use super::Sqlite;
use super::rows::{Cell, Doing as _, json, row};
use crate::model::{Account, AccountId, AccountKey, Credentials, DriverId, ExposeSecret as _, Login, Secret};
use crate::store::keyring::{KeyRing, Place};
use crate::store::{Accounts, Error};

row! {
    /// An account as it is stored.
    pub(super) struct AccountRow {
        pub(super) account_id: i64,
        driver: String,
        provider: String,
        identity: String,
        sealed: Option<Vec<u8>>,
    }
}

/// The sealed part: what a backend is shown.
#[derive(Serialize, Deserialize)]
struct LoginBody<'a> {
    provider: Option<&'a str>,
    user: &'a str,
    password: &'a str,
}

/// As [`LoginBody`], read back. Borrowing fails on escaped text, so this one owns.
#[derive(Deserialize)]
struct StoredLogin {
    provider: Option<String>,
    user: String,
    password: String,
}

impl AccountRow {
    /// `None` when the credentials were erased.
    pub(super) fn account(self, keys: &KeyRing) -> Result<Option<Account>, Error> {
        let id = AccountId(self.account_id);
        let Some(sealed) = self.sealed else { return Ok(None) };
        let cell = Cell { table: "accounts", column: "sealed", account: id, key: &"" };
        let plain = keys.open(place(id), &sealed).map_err(|fault| cell.corrupt(fault))?;
        let login: StoredLogin =
            serde_json::from_slice(&plain).map_err(|_| cell.corrupt("what was sealed is not a login"))?;
        let driver = DriverId::new(&self.driver);
        let credentials = Credentials { user: login.user, password: Secret::from(login.password) };
        let key = AccountKey { driver: driver.clone(), provider: self.provider, identity: self.identity };
        Ok(Some(Account { id, key, login: Login { driver, provider: login.provider, credentials } }))
    }
}

/// Makes the account when it is new, and replaces its credentials.
pub(super) async fn save(
    tx: &mut SqliteConnection,
    keys: &KeyRing,
    key: &AccountKey,
    login: &Login,
    now_ms: i64,
) -> Result<AccountId, sqlx::Error> {
    let id = number(tx, key).await?;
    let plain = Zeroizing::new(json(&LoginBody {
        provider: login.provider.as_deref(),
        user: &login.credentials.user,
        password: login.credentials.password.expose_secret(),
    }));
    sqlx::query("UPDATE accounts SET sealed = $2, login_digest = $3, login_at = $4 WHERE account_id = $1")
        .bind(id.0)
        .bind(keys.seal(place(id), plain.as_bytes()))
        .bind(keys.digest(&digested(login, &key.provider)))
        .bind(now_ms)
        .execute(&mut *tx)
        .await?;
    Ok(id)
}

/// The account's, which is made when it is new.
pub(super) async fn number(tx: &mut SqliteConnection, key: &AccountKey) -> Result<AccountId, sqlx::Error> {
    sqlx::query_scalar(
        "INSERT INTO accounts (driver, provider, identity) VALUES ($1, $2, $3)
         ON CONFLICT (driver, provider, identity) DO UPDATE SET driver = excluded.driver
         RETURNING account_id",
    )
    .bind(key.driver.as_str())
    .bind(&key.provider)
    .bind(&key.identity)
    .fetch_one(&mut *tx)
    .await
    .map(AccountId)
}

/// Erases the credentials of an account without hooks, and with them its plans to look at anything.
pub(super) async fn forget_if_unused(tx: &mut SqliteConnection, id: AccountId) -> Result<(), sqlx::Error> {
    let erased = sqlx::query(
        "UPDATE accounts SET sealed = NULL, login_digest = NULL, login_at = NULL, away = NULL, away_since = NULL,
                             away_last_good_at = NULL, away_error = NULL
         WHERE account_id = $1 AND NOT EXISTS (SELECT 1 FROM hooks WHERE account_id = $1)",
    )
    .bind(id.0)
    .execute(&mut *tx)
    .await?;
    if erased.rows_affected() > 0 {
        sqlx::query("UPDATE units SET due_at = NULL WHERE account_id = $1").bind(id.0).execute(&mut *tx).await?;
        sqlx::query("DELETE FROM judgements WHERE account_id = $1").bind(id.0).execute(&mut *tx).await?;
    }
    Ok(())
}

fn place(id: AccountId) -> Place<'static> {
    Place { account: id, table: "accounts", column: "sealed", record: "" }
}

fn digested<'a>(login: &'a Login, provider: &'a str) -> [&'a str; 4] {
    let Credentials { user, password } = &login.credentials;
    [login.driver.as_str(), provider, user, password.expose_secret()]
}

#[async_trait]
impl Accounts for Sqlite {
    async fn find_account(&self, key: &AccountKey) -> Result<Option<AccountId>, Error> {
        let id =
            sqlx::query_scalar("SELECT account_id FROM accounts WHERE driver = $1 AND provider = $2 AND identity = $3")
                .bind(key.driver.as_str())
                .bind(&key.provider)
                .bind(&key.identity)
                .fetch_optional(&self.readers)
                .await
                .doing("finding an account")?;
        Ok(id.map(AccountId))
    }

    async fn account_by_login(&self, login: &Login, provider: &str) -> Result<Option<Account>, Error> {
        // Should a backend have given the same credentials to another identity, the account that showed them last is meant.
        let row: Option<AccountRow> = sqlx::query_as(
            "SELECT account_id, driver, provider, identity, sealed FROM accounts
             WHERE login_digest IS NOT NULL AND login_digest IN (SELECT value FROM json_each($1))
             ORDER BY login_at DESC, account_id DESC LIMIT 1",
        )
        .bind(json(&self.keys.digests(&digested(login, provider))))
        .fetch_optional(&self.readers)
        .await
        .doing("finding an account by its credentials")?;
        row.map_or(Ok(None), |row| row.account(&self.keys))
    }

    async fn account(&self, id: AccountId) -> Result<Option<Account>, Error> {
        let row: Option<AccountRow> =
            sqlx::query_as("SELECT account_id, driver, provider, identity, sealed FROM accounts WHERE account_id = $1")
                .bind(id.0)
                .fetch_optional(&self.readers)
                .await
                .doing("reading an account")?;
        row.map_or(Ok(None), |row| row.account(&self.keys))
    }
}
