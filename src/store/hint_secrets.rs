use async_trait::async_trait;
use jiff::Timestamp;

use super::Error;
use crate::model::{AccountId, AccountKey, Secret};

/// What is kept of the secrets with which others may hint at what moved in an account: enough to know one again, not to
/// show it.
#[async_trait]
pub trait HintSecrets: Send + Sync {
    /// Makes `secret` the account's, and the account when it is new. The one before is good until `old_until`; one before that is
    /// no more. Answers with the account, which the secret is bound to.
    async fn put_hint_secret(
        &self,
        key: &AccountKey,
        secret: &Secret,
        now: Timestamp,
        old_until: Timestamp,
    ) -> Result<AccountId, Error>;

    /// `None`: there is none.
    async fn hint_secret(&self, account: AccountId) -> Result<Option<HintSecretAbout>, Error>;

    /// Ends the account's secret, and the one before it, at once. `false`: there was none.
    async fn end_hint_secret(&self, account: AccountId) -> Result<bool, Error>;

    /// The account, if `secret` is good for it at `now`. Takes as long for one that is nearly right as for one that is all wrong.
    async fn account_by_hint_secret(
        &self,
        account: AccountId,
        secret: &Secret,
        now: Timestamp,
    ) -> Result<Option<AccountKey>, Error>;
}

/// What may be said of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintSecretAbout {
    pub made_at: Timestamp,
    /// Until when the one before it is, or was, good.
    pub old_until: Option<Timestamp>,
}
