use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::Guard;

/// Turns a name into addresses.
#[async_trait]
pub trait Lookup: Send + Sync {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress>;
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAddress {
    /// The resolver answered: there is none.
    #[error("the name {0} has no address")]
    Unknown(String),
    /// The resolver did not answer.
    #[error("the resolver gave no answer for {0}")]
    Unanswered(String),
}

/// The machine's own resolver.
pub struct SystemLookup;

#[async_trait]
impl Lookup for SystemLookup {
    async fn lookup(&self, name: &str) -> Result<Vec<IpAddr>, NoAddress> {
        match tokio::net::lookup_host((name, 0)).await {
            Ok(found) => Ok(found.map(|addr| addr.ip()).collect()),
            Err(err) if is_passing(&err) => Err(NoAddress::Unanswered(name.to_owned())),
            Err(_) => Err(NoAddress::Unknown(name.to_owned())),
        }
    }
}

/// The standard library hands on the C library's words only, not its number for "try again".
fn is_passing(err: &io::Error) -> bool {
    let text = err.to_string();
    err.raw_os_error().is_some() || text.contains("Temporary failure") || text.contains("Try again")
}

/// What a name stands for, at least one address, within `patience`. After that the resolver counts as silent, which is our
/// fault and not the receiver's.
pub(super) async fn look_up(lookup: &dyn Lookup, name: &str, patience: Duration) -> Result<Vec<IpAddr>, NoAddress> {
    match tokio::time::timeout(patience, lookup.lookup(name)).await {
        Ok(Ok(found)) if found.is_empty() => Err(NoAddress::Unknown(name.to_owned())),
        Ok(found) => found,
        Err(_) => Err(NoAddress::Unanswered(name.to_owned())),
    }
}

/// Looks names up and hands on only what the guard lets pass. The connector dials exactly these addresses, so what was
/// checked is what is dialled, however the name answers the next time.
pub(super) struct GuardedResolver {
    pub(super) lookup: Arc<dyn Lookup>,
    pub(super) guard: Guard,
    pub(super) patience: Duration,
    /// What errors call the name, if it is nobody's business.
    pub(super) shown_as: Option<&'static str>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let Self { lookup, guard, patience, shown_as } = self;
        let (lookup, guard, patience, shown_as) = (Arc::clone(lookup), guard.clone(), *patience, *shown_as);
        Box::pin(async move {
            let name = name.as_str();
            let shown = |err| match (err, shown_as) {
                (err, None) => err,
                (NoAddress::Unknown(_), Some(shown)) => NoAddress::Unknown(shown.to_owned()),
                (NoAddress::Unanswered(_), Some(shown)) => NoAddress::Unanswered(shown.to_owned()),
            };
            let found = look_up(&*lookup, name, patience).await.map_err(shown)?;
            guard.judge_all(name, &found)?;
            let dialled: Addrs = Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(dialled)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_that_is_silent_is_told_from_a_name_that_is_unknown() {
        let check = |text: &str, passing: bool| assert_eq!(is_passing(&io::Error::other(text)), passing, "{text}");
        check("failed to lookup address information: Temporary failure in name resolution", true);
        check("failed to lookup address information: Try again", true);
        check("failed to lookup address information: Name or service not known", false);
        check("failed to lookup address information: No address associated with hostname", false);
        assert!(is_passing(&io::Error::from_raw_os_error(24)), "no descriptors for asking");
    }
}
