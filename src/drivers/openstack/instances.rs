//! Servers: listed, looked for, made and acted upon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::{Value, json};
use tracing::warn;

use super::OpenStack;
use super::calls::{in_order, missing};
use super::catalog::Service;
use super::client::Ask;
use super::session::Wanted;
use super::{map, parse, provider};
use crate::drivers::{Error, Kind, Looked};
use crate::model::{Action, ExposeSecret as _, ID_BYTES_MAX, Instance, InstanceId, Login, NewInstance, PROFILES_MAX};

impl OpenStack {
    pub(super) async fn list_instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        self.servers(login, &[]).await
    }

    /// What changed by Nova's own account, laid over what is known. Deleted servers are among it for as long as Nova keeps
    /// them, which is longer than the overlap.
    pub(super) async fn list_changes(
        &self,
        login: &Login,
        known: &BTreeMap<InstanceId, Instance>,
        since: Timestamp,
    ) -> Result<Vec<Instance>, Error> {
        let session = self.client.session(login, Wanted::Any).await?;
        let overlap = Duration::from_millis(self.settings.changes_overlap_ms);
        let query = [("changes-since", changes_since(since, overlap, session.ahead))];
        Ok(map::again(known, self.servers(login, &query).await?))
    }

    /// Few are asked for one by one, as Nova has no list of ids. Of many those that a list does not have are: it may be that
    /// they came while it was read.
    pub(super) async fn look_for_servers(
        &self,
        login: &Login,
        ids: &BTreeSet<String>,
    ) -> Result<Looked<Instance>, Error> {
        let mut found = Vec::new();
        if ids.len() > self.settings.looks_max {
            found = self.list_instances(login).await?;
            found.retain(|instance| ids.contains(instance.id.as_str()));
        }
        let rest = missing(ids, &found, |instance| instance.id.as_str());
        let looked: Looked<parse::OneServer> = match self.each(login, Service::Compute, "servers", rest.clone()).await {
            Ok(looked) => looked,
            // The list has answered for some.
            Err(error) if error.kind != Kind::Denied && !found.is_empty() => Looked::none(rest, &error),
            Err(error) => return Err(error),
        };
        let Looked { found: one_by_one, unanswered } = looked;
        found.extend(self.named(login, one_by_one.into_iter().map(|one| one.server).collect()).await?);
        found.retain(|instance| ids.contains(instance.id.as_str()));
        Ok(Looked { found: sorted(found), unanswered })
    }

    async fn servers(&self, login: &Login, query: &[(&'static str, String)]) -> Result<Vec<Instance>, Error> {
        let servers = self.list::<parse::Servers>(login, Service::Compute, &["servers", "detail"], query).await?;
        if !servers.is_empty() {
            let session = self.client.session(login, Wanted::Any).await?;
            super::realms::saw(&session, servers.iter().any(|server| server.host_status.is_some()));
        }
        Ok(sorted(self.named(login, servers).await?))
    }

    /// With their flavors' ids.
    async fn named(&self, login: &Login, servers: Vec<parse::Server>) -> Result<Vec<Instance>, Error> {
        let names: BTreeSet<&str> = servers
            .iter()
            .filter(|server| server.flavor.id.is_none())
            .filter_map(|server| server.flavor.original_name.as_deref())
            .collect();
        let flavors = self.flavors(login, &names).await?;
        Ok(servers.into_iter().map(|server| map::instance(server, &flavors)).collect())
    }

    /// The flavors' names, read again when there are some that we do not know, or after a while. A name may stay unknown:
    /// its flavor was deleted, or belongs to others.
    async fn flavors(&self, login: &Login, wanted: &BTreeSet<&str>) -> Result<Arc<map::Flavors>, Error> {
        if wanted.is_empty() {
            return Ok(Arc::default());
        }
        let session = self.client.session(login, Wanted::Any).await?;
        let now = self.clock.now();
        let kept = session.flavors.lock().expect("nobody panics while holding the names").clone();
        let kept_for = Duration::from_millis(self.settings.flavors_kept_ms);
        let fresh = kept.as_ref().filter(|(read_at, _)| now < *read_at + kept_for);
        if let Some((_, flavors)) = fresh {
            return Ok(flavors.clone());
        }
        if let Some((_, flavors)) = &kept
            && wanted.iter().all(|name| flavors.knows(name))
        {
            return Ok(flavors.clone());
        }
        let flavors = match (self.sizes(login).await, kept) {
            (Ok(mut sizes), _) => {
                // They are kept. One that is not is shown by its name.
                sizes.retain(|size| size.name.len().max(size.id.len()) <= ID_BYTES_MAX);
                sizes.truncate(PROFILES_MAX);
                Arc::new(map::Flavors::of(sizes.into_iter().map(|size| (size.name, size.id))))
            }
            // The list is whole without it; a flavor is then shown by its name.
            (Err(_), Some((_, flavors))) => flavors,
            (Err(error), None) if matches!(error.kind, Kind::Forbidden | Kind::Unsupported) => Arc::default(),
            (Err(error), None) => {
                warn!("flavors are shown by their names until they can be read: {error}");
                return Ok(Arc::default());
            }
        };
        *session.flavors.lock().expect("nobody panics while holding the names") = Some((now, flavors.clone()));
        Ok(flavors)
    }

    pub(super) async fn sizes(&self, login: &Login) -> Result<Vec<parse::Size>, Error> {
        self.list::<parse::Flavors>(login, Service::Compute, &["flavors", "detail"], &[]).await
    }

    /// A server must have a name and a size: made up and the smallest, where nobody gave one.
    pub(super) async fn create_servers(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        let name = new.name.clone().unwrap_or_else(|| self.token());
        let flavor = match &new.hardware_profile {
            Some(profile) => profile.clone(),
            None => self.some_flavor(login, &new.image).await?,
        };
        let named = provider::parse(login.provider.as_deref(), &self.settings)?.network(&self.settings).to_owned();
        let session = self.client.session(login, Wanted::Any).await?;
        let chosen = session.network.lock().expect("nobody panics while holding the network").clone();
        let network = if named.is_empty() { chosen.unwrap_or_default() } else { named };
        let created = match self.create(login, new, &name, &flavor, &network).await {
            Err(error) if network.is_empty() && is_undecided(&error) => {
                let network = self.own_network(login, error).await?;
                let created = self.create(login, new, &name, &flavor, &network).await;
                if created.is_ok() {
                    *session.network.lock().expect("nobody panics while holding the network") = Some(network);
                }
                created
            }
            created => created,
        };
        if created.is_err() {
            // It may be that it is no more.
            *session.network.lock().expect("nobody panics while holding the network") = None;
        }
        let created = created.map_err(|error| match error.kind {
            // Not the server, but what it was to be made of.
            Kind::NotFound => Error { kind: Kind::Invalid, ..error },
            _ => error,
        })?;
        match (created.server, created.reservation_id) {
            (Some(server), _) => {
                let read = self.look_for_servers(login, &BTreeSet::from([server.id.clone()])).await;
                let read = read.ok().and_then(|looked| looked.found.into_iter().next());
                // It is made, whether or not it can be read by now.
                Ok(vec![read.unwrap_or_else(|| map::in_the_making(server.id, name, new, &flavor))])
            }
            (None, Some(reservation)) => self.servers(login, &[("reservation_id", reservation)]).await,
            (None, None) => Err(Error::new(Kind::Unavailable, "POST compute/servers: no server in the answer")),
        }
    }

    async fn create(
        &self,
        login: &Login,
        new: &NewInstance,
        name: &str,
        flavor: &str,
        network: &str,
    ) -> Result<parse::Created, Error> {
        let body = create_body(new, name, flavor, network);
        // From 2.37 on a network must be named; before, Nova takes the one there is.
        let ask = Ask { nova_at_most: Some(CREATE_AT_MOST), ..Ask::post(Service::Compute, &["servers"], body) };
        self.client.call(login, ask).await
    }

    /// An image that Glance does not have is for Nova to refuse.
    async fn some_flavor(&self, login: &Login, image: &str) -> Result<String, Error> {
        let image: Option<parse::Image> = self.one(login, Service::Image, &["images", image]).await?;
        let sizes = self.sizes(login).await?;
        let smallest = map::smallest(&sizes, image.as_ref()).map(str::to_owned);
        smallest.ok_or_else(|| Error::new(Kind::Invalid, "There is no flavor that the image fits into: name one"))
    }

    /// Nova cannot choose between the networks that a project may use. If one of them is the project's own, it is meant;
    /// otherwise `undecided` says what can be done.
    async fn own_network(&self, login: &Login, undecided: Error) -> Result<String, Error> {
        let session = self.client.session(login, Wanted::Any).await?;
        let networks = self.list::<parse::Networks>(login, Service::Network, &["networks"], &[]).await;
        let mut own = networks.map_err(|error| {
            let text = format!("{}; which there are could not be asked for: {}", undecided.text, error.text);
            Error { text, ..error }
        })?;
        let shown = |networks: &[parse::Network]| {
            let names = networks.iter().take(NETWORKS_SHOWN).map(parse::Network::shown);
            names.collect::<Vec<_>>().join(", ")
        };
        let all = shown(&own);
        own.retain(|network| {
            let owner = network.project_id.as_deref().or(network.tenant_id.as_deref());
            !network.external && owner == Some(session.project.as_str())
        });
        match own.pop() {
            Some(only) if own.is_empty() => Ok(only.id),
            only => {
                own.extend(only);
                let found = if own.is_empty() { all } else { shown(&own) };
                let found = if found.is_empty() { "none".to_owned() } else { found };
                let text = format!(
                    "{}; the project sees {found}: name one in drivers.openstack.network, for the cloud at drivers.openstack.auth_url",
                    undecided.text
                );
                Err(Error { kind: Kind::Invalid, text, ..undecided })
            }
        }
    }

    pub(super) async fn act_on_server(
        &self,
        login: &Login,
        id: &InstanceId,
        action: Action,
    ) -> Result<Option<Instance>, Error> {
        let Some(server) = self.server(login, id.as_str()).await? else {
            return Err(Error::new(Kind::NotFound, format!("{}: there is no such server", action.as_str())));
        };
        let (itself, its_action) = (["servers", id.as_str()], ["servers", id.as_str(), "action"]);
        let ask = match action {
            Action::Destroy => Ask::delete(Service::Compute, &itself),
            _ => Ask::post(Service::Compute, &its_action, order(action, &server.status)),
        };
        // It has no body.
        self.client.send(login, ask).await?;
        let read = self.look_for_servers(login, &BTreeSet::from([id.0.clone()])).await;
        match read {
            Ok(looked) => Ok(looked.found.into_iter().next()),
            // The action is done; that it cannot be looked at must not make its caller do it again.
            Err(error) => {
                warn!("{}: done, but not read back: {error}", action.as_str());
                Ok(None)
            }
        }
    }

    pub(super) async fn server(&self, login: &Login, id: &str) -> Result<Option<parse::Server>, Error> {
        let found: Option<parse::OneServer> = self.one(login, Service::Compute, &["servers", id]).await?;
        Ok(found.map(|one| one.server))
    }
}

const CREATE_AT_MOST: u32 = 36;
/// Named in one sentence.
const NETWORKS_SHOWN: usize = 10;

fn sorted(instances: Vec<Instance>) -> Vec<Instance> {
    in_order(instances, |instance| instance.id.as_str())
}

/// Whole seconds, by the cloud's clock as far as ours is known to be ahead of it.
fn changes_since(since: Timestamp, overlap: Duration, ahead: Duration) -> String {
    let from = since.checked_sub(overlap).and_then(|from| from.checked_sub(ahead)).unwrap_or(Timestamp::UNIX_EPOCH);
    from.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A machine is started in the way in which it was stopped. Of a state that it cannot be started from, Nova says so.
fn order(action: Action, status: &str) -> Value {
    match (action, status) {
        (Action::Start, "PAUSED") => json!({"unpause": null}),
        (Action::Start, "SUSPENDED") => json!({"resume": null}),
        (Action::Start, "SHELVED" | "SHELVED_OFFLOADED") => json!({"unshelve": null}),
        (Action::Start, _) => json!({"os-start": null}),
        (Action::Reboot, _) => json!({"reboot": {"type": "SOFT"}}),
        (Action::Stop | Action::Destroy, _) => json!({"os-stop": null}),
    }
}

fn create_body(new: &NewInstance, name: &str, flavor: &str, network: &str) -> Value {
    let mut server = json!({"name": name, "imageRef": new.image, "flavorRef": flavor});
    if let Some(realm) = &new.realm {
        server["availability_zone"] = json!(realm);
    }
    if let Some(key) = &new.key_name {
        server["key_name"] = json!(key);
    }
    if let Some(data) = &new.user_data {
        server["user_data"] = json!(BASE64.encode(data.expose_secret()));
    }
    if !new.firewalls.is_empty() {
        let groups: Vec<Value> = new.firewalls.iter().map(|name| json!({"name": name})).collect();
        server["security_groups"] = json!(groups);
    }
    if !network.is_empty() {
        server["networks"] = json!([{"uuid": network}]);
    }
    if new.count > 1 {
        server["min_count"] = json!(new.count);
        server["max_count"] = json!(new.count);
        server["return_reservation_id"] = json!(true);
    }
    json!({"server": server})
}

fn is_undecided(error: &Error) -> bool {
    error.kind == Kind::Conflict && error.text.contains("Multiple possible networks")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_asks_for_exactly_what_was_given() {
        let bare = NewInstance { image: "img1".to_owned(), count: 1, ..NewInstance::default() };
        assert_eq!(
            create_body(&bare, "web", "42", ""),
            json!({"server": {"name": "web", "imageRef": "img1", "flavorRef": "42"}}),
            "nothing that was not asked for"
        );
        let full = NewInstance {
            realm: Some("az-b".to_owned()),
            key_name: Some("alice".to_owned()),
            user_data: Some(b"#!/bin/sh\n".to_vec().into()),
            firewalls: vec!["web".to_owned(), "ssh".to_owned()],
            count: 3,
            ..bare
        };
        assert_eq!(
            create_body(&full, "web", "42", "net1"),
            json!({"server": {
                "name": "web", "imageRef": "img1", "flavorRef": "42", "availability_zone": "az-b", "key_name": "alice",
                "user_data": "IyEvYmluL3NoCg==", "networks": [{"uuid": "net1"}], "min_count": 3, "max_count": 3,
                "return_reservation_id": true, "security_groups": [{"name": "web"}, {"name": "ssh"}]
            }})
        );
    }

    #[test]
    fn a_machine_is_started_as_it_was_stopped() {
        let check = |action, status: &str, expected: Value| assert_eq!(order(action, status), expected, "{status}");
        check(Action::Start, "SHUTOFF", json!({"os-start": null}));
        check(Action::Start, "PAUSED", json!({"unpause": null}));
        check(Action::Start, "SUSPENDED", json!({"resume": null}));
        check(Action::Start, "SHELVED", json!({"unshelve": null}));
        check(Action::Start, "SHELVED_OFFLOADED", json!({"unshelve": null}));
        check(Action::Start, "ACTIVE", json!({"os-start": null}));
        check(Action::Stop, "ACTIVE", json!({"os-stop": null}));
        check(Action::Reboot, "ACTIVE", json!({"reboot": {"type": "SOFT"}}));
    }

    #[test]
    fn changes_are_asked_for_from_before_the_last_list() {
        let since = "2026-11-21T10:00:00.987Z".parse().expect("a time");
        let check = |ahead_s, expected: &str| {
            let text = changes_since(since, Duration::from_secs(120), Duration::from_secs(ahead_s));
            assert_eq!(text, expected);
        };
        check(0, "2026-11-21T09:58:00Z");
        check(90, "2026-11-21T09:56:30Z");
    }
}
