//! Whose answers are wanted: credentials may come to be of another account, and what that one has is nobody else's business.

use super::{Error, Kind};

tokio::task_local! {
    static WANTED: String;
}

/// Calls made in here are wanted of this account alone. A driver that learns by the way whose the credentials are
/// ([`super::Abilities::identity_is_sure`]) fails every one of them that is of another, with [`Kind::Denied`].
pub async fn of_account<T>(identity: &str, calls: impl Future<Output = T>) -> T {
    WANTED.scope(identity.to_owned(), calls).await
}

/// Fails if a call is wanted of another account.
pub(super) fn check(found: &str) -> Result<(), Error> {
    WANTED.try_with(|wanted| must_be(wanted, found)).unwrap_or(Ok(()))
}

/// # Errors
/// [`Kind::Denied`]: they are not the same account.
pub fn must_be(wanted: &str, found: &str) -> Result<(), Error> {
    if wanted == found {
        return Ok(());
    }
    // Not which one: it is no business of whoever reads of the first.
    Err(Error::new(Kind::Denied, "the credentials are of another account now"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_for_one_account_or_for_whomever_it_may_be() {
        assert!(check("old").is_ok());
        let found = of_account("old", async { (check("old"), check("new")) }).await;
        assert!(found.0.is_ok());
        let error = found.1.expect_err("of another");
        assert_eq!((error.kind, error.text.contains("new")), (Kind::Denied, false));
        assert!(check("new").is_ok());
    }
}
