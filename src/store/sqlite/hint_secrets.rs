use async_trait::async_trait;
use jiff::Timestamp;

use super::Sqlite;
use super::accounts;
use super::rows::{Cell, Doing as _, row};
use crate::model::{AccountId, AccountKey, DriverId, ExposeSecret as _, Secret};
use crate::store::{Error, HintSecretAbout, HintSecrets};

row! {
    struct AboutRow {
        made_at: i64,
        old_until: Option<i64>,
    }
}

row! {
    struct DigestRow {
        driver: String,
        provider: String,
        identity: String,
        digest: String,
        old_digest: Option<String>,
        old_until: Option<i64>,
    }
}

/// What is digested: bound to its account, so that no digest is good for another.
fn digested<'a>(account: &'a str, secret: &'a Secret) -> [&'a str; 3] {
    ["hint secret", account, secret.expose_secret()]
}

#[async_trait]
impl HintSecrets for Sqlite {
    async fn put_hint_secret(
        &self,
        key: &AccountKey,
        secret: &Secret,
        now: Timestamp,
        old_until: Timestamp,
    ) -> Result<AccountId, Error> {
        const ACTION: &str = "keeping a hint secret";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let account = accounts::number(&mut tx, key).await.doing(ACTION)?;
        sqlx::query(
            "INSERT INTO hint_secrets (account_id, digest, made_at) VALUES ($1, $2, $3)
             ON CONFLICT (account_id) DO UPDATE SET
                 digest = excluded.digest, made_at = excluded.made_at, old_digest = hint_secrets.digest, old_until = $4",
        )
        .bind(account.0)
        .bind(self.keys.digest(&digested(&account.to_string(), secret)))
        .bind(now.as_millisecond())
        .bind(old_until.as_millisecond())
        .execute(&mut *tx)
        .await
        .doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        Ok(account)
    }

    async fn hint_secret(&self, account: AccountId) -> Result<Option<HintSecretAbout>, Error> {
        let row: Option<AboutRow> = sqlx::query_as("SELECT made_at, old_until FROM hint_secrets WHERE account_id = $1")
            .bind(account.0)
            .fetch_optional(&self.readers)
            .await
            .doing("reading about a hint secret")?;
        let Some(row) = row else { return Ok(None) };
        let cell = Cell { table: "hint_secrets", column: "made_at", account, key: &"" };
        let old_until = row.old_until.map(|ms| cell.column("old_until").instant(ms)).transpose()?;
        Ok(Some(HintSecretAbout { made_at: cell.instant(row.made_at)?, old_until }))
    }

    async fn end_hint_secret(&self, account: AccountId) -> Result<bool, Error> {
        const ACTION: &str = "ending a hint secret";
        let mut turn = self.writer.turn(ACTION).await?;
        let mut tx = turn.begin().await?;
        let ended = sqlx::query("DELETE FROM hint_secrets WHERE account_id = $1")
            .bind(account.0)
            .execute(&mut *tx)
            .await
            .doing(ACTION)?;
        tx.commit().await.doing(ACTION)?;
        Ok(ended.rows_affected() > 0)
    }

    async fn account_by_hint_secret(
        &self,
        account: AccountId,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<Option<AccountKey>, Error> {
        let row: Option<DigestRow> = sqlx::query_as(
            "SELECT a.driver, a.provider, a.identity, s.digest, s.old_digest, s.old_until
             FROM hint_secrets s JOIN accounts a ON a.account_id = s.account_id WHERE s.account_id = $1",
        )
        .bind(account.0)
        .fetch_optional(&self.readers)
        .await
        .doing("reading a hint secret")?;
        let Some(row) = row else { return Ok(None) };
        let number = account.to_string();
        let parts = digested(&number, secret);
        let old = row.old_digest.filter(|_| row.old_until.is_some_and(|until| now.as_millisecond() < until));
        // Both are asked, whatever the first says.
        let good = [Some(row.digest), old].map(|kept| kept.is_some_and(|kept| self.keys.is_digest(&kept, &parts)));
        let key = AccountKey { driver: DriverId::new(&row.driver), provider: row.provider, identity: row.identity };
        Ok(good.contains(&true).then_some(key))
    }
}
