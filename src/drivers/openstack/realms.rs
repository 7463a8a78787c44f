//! Availability zones, and how much of them this login may see.
//!
//! An operator sees the compute hosts of each zone, and so a zone whose hosts are all dead though it calls itself available.
//! Some roles see how the host of a server is, which shows in the instances (`impaired`). Others see neither: what happens to
//! their zones shows in launches and runs only. It is found out once for each token, and said with every realm.

use tracing::debug;

use super::OpenStack;
use super::calls::{Page as _, in_order};
use super::catalog::Service;
use super::client::Ask;
use super::session::{Session, Wanted};
use super::{map, parse};
use crate::drivers::{Error, Kind};
use crate::model::{Login, Realm};

/// How much of a cloud's zones a login may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// The hosts, in the list of zones.
    Zones,
    /// The hosts, in the list of services.
    Services,
    /// No hosts, but how that of each server is.
    Health,
    /// What the zones call themselves.
    Nothing,
}

impl Sight {
    fn as_text(self) -> &'static str {
        match self {
            Self::Zones | Self::Services => "source operator: this login sees the compute hosts of each zone",
            Self::Health => "source health: this login sees no compute hosts, but whether that of an instance is down",
            Self::Nothing => {
                "source none: this login sees no compute hosts; a zone that is dead still calls itself available"
            }
        }
    }
}

/// A list of servers had the health of their hosts, or had not.
pub(super) fn saw(session: &Session, health: bool) {
    let mut sight = session.sight.lock().expect("nobody panics while holding the sight");
    if health && *sight == Some(Sight::Nothing) {
        *sight = Some(Sight::Health);
    }
}

impl OpenStack {
    pub(super) async fn zones(&self, login: &Login) -> Result<Vec<Realm>, Error> {
        let session = self.client.session(login, Wanted::Any).await?;
        let known = *session.sight.lock().expect("nobody panics while holding the sight");
        let (zones, hosts, sight) = match known {
            Some(sight) => self.seen(login, sight).await?,
            None => match self.with_zones(login).await? {
                Some(seen) => seen,
                None => self.without_zones(login).await?,
            },
        };
        if known != Some(sight) {
            debug!("{}", sight.as_text());
            // It may have been renewed meanwhile: what was seen is known of the one that stays.
            let session = self.client.session(login, Wanted::Any).await?;
            *session.sight.lock().expect("nobody panics while holding the sight") = Some(sight);
        }
        let realms = zones.iter().filter_map(|zone| map::realm(zone, hosts.as_ref(), sight.as_text()));
        Ok(in_order(realms, |realm| &realm.id))
    }

    /// With what was found out before; where a role was taken away since, with what is left.
    async fn seen(&self, login: &Login, sight: Sight) -> Result<Seen, Error> {
        let seen = match sight {
            Sight::Zones => self.with_zones(login).await?,
            Sight::Services => self.with_services(login).await?,
            Sight::Health | Sight::Nothing => Some((self.plain(login).await?, None, sight)),
        };
        match (seen, sight) {
            (Some(seen), _) => Ok(seen),
            (None, Sight::Zones) => self.without_zones(login).await,
            (None, _) => self.without_hosts(login).await,
        }
    }

    async fn without_zones(&self, login: &Login) -> Result<Seen, Error> {
        match self.with_services(login).await? {
            Some(seen) => Ok(seen),
            None => self.without_hosts(login).await,
        }
    }

    async fn without_hosts(&self, login: &Login) -> Result<Seen, Error> {
        let one = Ask::get(Service::Compute, &["servers", "detail"]).with("limit", 1);
        let (servers, _) = self.client.call::<parse::Servers>(login, one).await?.into_parts();
        // No server, no host: then the first list of servers tells.
        let health = servers.iter().any(|server| server.host_status.is_some());
        let sight = if health { Sight::Health } else { Sight::Nothing };
        Ok((self.plain(login).await?, None, sight))
    }

    /// `None`: not for this login.
    async fn with_zones(&self, login: &Login) -> Result<Option<Seen>, Error> {
        let ask = Ask::probe(Service::Compute, &["os-availability-zone", "detail"]);
        let zones: Option<parse::Zones> = allowed(self.client.call(login, ask).await)?;
        Ok(zones.map(|parse::Zones { zones }| {
            let hosts = map::hosts_of_zones(&zones);
            (zones, Some(hosts), Sight::Zones)
        }))
    }

    async fn with_services(&self, login: &Login) -> Result<Option<Seen>, Error> {
        let ask = Ask::probe(Service::Compute, &["os-services"]);
        let Some(services) = allowed(self.client.call::<parse::Services>(login, ask).await)? else { return Ok(None) };
        let hosts = map::hosts_of_services(&services.services);
        Ok(Some((self.plain(login).await?, Some(hosts), Sight::Services)))
    }

    async fn plain(&self, login: &Login) -> Result<Vec<parse::Zone>, Error> {
        let ask = Ask::get(Service::Compute, &["os-availability-zone"]);
        let zones: parse::Zones = self.client.call(login, ask).await.map_err(|error| match error.kind {
            Kind::NotFound => Error { kind: Kind::Unavailable, ..error },
            _ => error,
        })?;
        Ok(zones.zones)
    }
}

type Seen = (Vec<parse::Zone>, Option<map::Hosts>, Sight);

fn allowed<T>(answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        // Some clouds have no such thing for users, rather than refuse it.
        Err(error) if matches!(error.kind, Kind::Forbidden | Kind::NotFound | Kind::Unsupported) => Ok(None),
        Err(error) => Err(error),
    }
}
