//! Volumes and snapshots.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use serde_json::Value;

use super::calls::{SNAPSHOTS, VOLUMES};
use super::client::{Form, JSON, Question};
use super::document::{Malformed, Node};
use super::{Deltacloud, map};
use crate::drivers::{Error, Kind, Looked, Storage, reading};
use crate::model::{Login, Mount, NewSnapshot, NewVolume, Snapshot, Volume};

#[async_trait]
impl Storage for Deltacloud {
    async fn volumes(&self, login: &Login) -> Result<Vec<Volume>, Error> {
        Ok(self.list(login, VOLUMES).await?.values().map(map::volume).collect())
    }

    async fn volumes_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Volume>, Error> {
        self.look_for_volumes(login, ids).await?.whole()
    }

    async fn look_for_volumes(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Volume>, Error> {
        Ok(self.members(login, VOLUMES, ids).await?.map(|(_, node)| map::volume(&node)))
    }

    async fn create_volume(&self, login: &Login, new: &NewVolume) -> Result<Volume, Error> {
        let form = Form::default()
            .with_some("capacity", new.capacity.as_deref())
            .with_some("realm_id", new.realm.as_deref())
            .with_some("snapshot_id", new.snapshot.as_deref())
            .with_some("name", new.name.as_deref())
            .with_some("description", new.description.as_deref());
        let made = self.created(login, VOLUMES, form).await.map_err(|error| match error.kind {
            // Not the volume, but the realm or the snapshot.
            Kind::NotFound => Error { kind: Kind::Invalid, ..error },
            _ => error,
        })?;
        Ok(map::volume(&made))
    }

    async fn destroy_volume(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.destroy(login, VOLUMES, id).await
    }

    /// Both parameters are sent, as upstreams want to see them, be they empty.
    async fn attach(&self, login: &Login, id: &str, to: &Mount) -> Result<Volume, Error> {
        let form = Form::default().with("instance_id", &to.instance).with("device", &to.device);
        self.order(login, VOLUMES, id, "attach", form).await?;
        self.read_back(login, id).await
    }

    /// The reference's drivers want to be told from what.
    async fn detach(&self, login: &Login, id: &str) -> Result<Volume, Error> {
        let from = self.member(login, VOLUMES, id).await?.as_ref().map(map::volume).and_then(|volume| volume.mount);
        let form = match &from {
            Some(mount) => Form::default().with("instance_id", &mount.instance).with("device", &mount.device),
            None => Form::default(),
        };
        self.order(login, VOLUMES, id, "detach", form).await?;
        self.read_back(login, id).await
    }

    async fn snapshots(&self, login: &Login) -> Result<Vec<Snapshot>, Error> {
        let listed = self.list(login, SNAPSHOTS).await?;
        let states = match listed.values().all(has_state) {
            true => BTreeMap::new(),
            false => self.states(login, &[SNAPSHOTS.plural]).await?,
        };
        Ok(listed.iter().map(|(id, node)| map::snapshot(node, states.get(id).map(String::as_str))).collect())
    }

    async fn snapshots_by_id(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Vec<Snapshot>, Error> {
        self.look_for_snapshots(login, ids).await?.whole()
    }

    async fn look_for_snapshots(&self, login: &Login, ids: &BTreeSet<String>) -> Result<Looked<Snapshot>, Error> {
        let Looked { found, unanswered } = self.members(login, SNAPSHOTS, ids).await?;
        let mut snapshots = Vec::new();
        for (id, node) in &found {
            let states = match has_state(node) {
                true => BTreeMap::new(),
                false => match self.states(login, &[SNAPSHOTS.plural, id]).await {
                    // Gone since.
                    Err(error) if error.kind == Kind::NotFound => continue,
                    states => states?,
                },
            };
            snapshots.push(map::snapshot(node, states.get(id).map(String::as_str)));
        }
        Ok(Looked { found: snapshots, unanswered })
    }

    async fn create_snapshot(&self, login: &Login, new: &NewSnapshot) -> Result<Snapshot, Error> {
        let form = Form::default()
            .with("volume_id", &new.volume)
            .with_some("name", new.name.as_deref())
            .with_some("description", new.description.as_deref());
        let made = self.created(login, SNAPSHOTS, form).await?;
        let id = made.id().unwrap_or_default();
        // It is made, whether or not its state can be read by now.
        let states = match has_state(&made) {
            true => BTreeMap::new(),
            false => self.states(login, &[SNAPSHOTS.plural, id]).await.unwrap_or_default(),
        };
        Ok(map::snapshot(&made, states.get(id).map(String::as_str)))
    }

    async fn destroy_snapshot(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.destroy(login, SNAPSHOTS, id).await
    }
}

impl Deltacloud {
    async fn read_back(&self, login: &Login, id: &str) -> Result<Volume, Error> {
        let node = self.member(login, VOLUMES, id).await?;
        let node = node.ok_or_else(|| Error::new(Kind::Unavailable, "The volume was there a moment ago"))?;
        Ok(map::volume(&node))
    }

    /// The states of snapshots, which upstreams since 1.1 say in JSON and nowhere else. Those before say them nowhere.
    async fn states(&self, login: &Login, path: &[&str]) -> Result<BTreeMap<String, String>, Error> {
        let target = self.client.target(login)?;
        let question = Question { accept: JSON, ..Question::get("GET storage_snapshots in JSON", target.at(path)) };
        let answer = self.client.ask(&target, Some(&login.credentials), question).await?;
        answer.read_body(states).await
    }
}

fn has_state(node: &Node) -> bool {
    node.child("state").is_some()
}

/// By id, of a list or of one.
fn states(body: &[u8]) -> Result<BTreeMap<String, String>, Malformed> {
    if !reading::is_json_within_bounds(body) {
        return Err(Malformed::TooMuch);
    }
    let document: Value = serde_json::from_slice(body).map_err(|_| Malformed::Broken)?;
    let list = match (&document[SNAPSHOTS.plural], &document[SNAPSHOTS.singular]) {
        (Value::Array(list), _) => list.as_slice(),
        (Value::Null, one @ Value::Object(_)) => std::slice::from_ref(one),
        // XML turned into JSON, as it was before 1.1.
        (Value::Object(_), _) => &[],
        _ => return Err(Malformed::Other { found: "something".to_owned(), expected: SNAPSHOTS.plural }),
    };
    let pair = |one: &Value| Some((one["id"].as_str()?.to_owned(), one["state"].as_str()?.to_owned()));
    Ok(list.iter().filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_from_both_forms_of_json() {
        let check = |body: &str, expected: Option<&[(&str, &str)]>| {
            let read = states(body.as_bytes()).ok();
            let expected = expected.map(|pairs| {
                pairs.iter().map(|(id, state)| ((*id).to_owned(), (*state).to_owned())).collect::<BTreeMap<_, _>>()
            });
            assert_eq!(read, expected, "{body}");
        };
        let two =
            r#"{"storage_snapshots":[{"id":"snap1","state":"COMPLETED"},{"id":"snap2","state":"pending"},{"id":"x"}]}"#;
        check(two, Some(&[("snap1", "COMPLETED"), ("snap2", "pending")]));
        check(r#"{"storage_snapshot":{"id":"snap1","state":"error","name":null}}"#, Some(&[("snap1", "error")]));
        check(r#"{"storage_snapshots":{"storage_snapshot":[{"id":"snap1"}]}}"#, Some(&[]));
        check(r#"{"storage_snapshots":[]}"#, Some(&[]));
        check("{}", None);
        check("[]", None);
        check(r#"{"storage_snapshots":[{"id":"#, None);
        check("<html/>", None);
    }
}
