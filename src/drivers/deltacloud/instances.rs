//! Instances: listed, looked for, made, and asked for something.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use reqwest::Method;
use tracing::warn;
use zeroize::Zeroizing;

use super::calls::{INSTANCES, identified};
use super::client::{Answer, Failed, Form, Question};
use super::document::Node;
use super::{Deltacloud, fault, map};
use crate::drivers::{Error, Kind, Looked};
use crate::model::{Action, ExposeSecret as _, Instance, InstanceId, Login, NewInstance, is_id};

impl Deltacloud {
    pub(super) async fn list_instances(&self, login: &Login) -> Result<Vec<Instance>, Error> {
        let listed = self.list(login, INSTANCES).await?;
        self.with_states(login, listed).await?.whole()
    }

    pub(super) async fn members_of_instances(
        &self,
        login: &Login,
        ids: &BTreeSet<String>,
    ) -> Result<Looked<Instance>, Error> {
        let Looked { found, mut unanswered } = self.members(login, INSTANCES, ids).await?;
        let mut looked = self.with_states(login, found.into_iter().collect()).await?;
        looked.unanswered.append(&mut unanswered);
        Ok(looked)
    }

    /// One driver leaves the states out of its lists, to save its cloud a call for each instance. Those members are asked for,
    /// and what is gone by then has left the list. A member may have none either: then nobody knows it.
    async fn with_states(&self, login: &Login, mut nodes: BTreeMap<String, Node>) -> Result<Looked<Instance>, Error> {
        let lacking: Vec<String> =
            nodes.iter().filter(|(_, node)| node.child("state").is_none()).map(|(id, _)| id.clone()).collect();
        let mut unanswered = BTreeMap::new();
        if !lacking.is_empty() {
            nodes.retain(|id, _| !lacking.contains(id));
            let asked = self.each(login, INSTANCES, lacking).await?;
            unanswered = asked.unanswered;
            nodes.extend(asked.found);
        }
        Ok(Looked { found: nodes.values().map(map::instance).collect(), unanswered })
    }

    /// One after the other, whether or not the upstream can count: the reference launches several and breaks before it
    /// says which. Where one fails there are as many as were made before; if there are none, it is the error.
    pub(super) async fn create_instances(&self, login: &Login, new: &NewInstance) -> Result<Vec<Instance>, Error> {
        let mut made = Vec::new();
        for _ in 0..new.count.max(1) {
            match self.create_one(login, new).await {
                Ok(instance) => made.push(instance),
                Err(error) if made.is_empty() => return Err(error),
                Err(error) => {
                    warn!("Of {} instances {} were made: {error}", new.count, made.len());
                    break;
                }
            }
        }
        made.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(made)
    }

    async fn create_one(&self, login: &Login, new: &NewInstance) -> Result<Instance, Error> {
        let answer = self.create(login, INSTANCES, form(new)).await.map_err(|Failed { error, said, .. }| {
            let fault = said.and_then(|said| fault::launch(&said));
            match error.kind {
                // Not the instance, but what it was to be made of.
                Kind::NotFound => Error { kind: Kind::Invalid, ..error }.blaming(fault),
                _ => error.blaming(fault),
            }
        })?;
        let made_at = made_at(&answer);
        let said = answer.read(|root| identified(root.named(INSTANCES.singular)?, INSTANCES));
        match (said, made_at) {
            (Ok(node), _) if node.child("state").is_some() => Ok(map::instance(&node)),
            // It is made, and where it is was said, if nothing else.
            (said, Some(id)) => match (self.member(login, INSTANCES, &id).await, said) {
                (Ok(Some(node)), _) | (_, Ok(node)) => Ok(map::instance(&node)),
                (_, Err(error)) => Err(error),
            },
            (said, None) => said.map(|node| map::instance(&node)),
        }
    }

    pub(super) async fn act_on_instance(
        &self,
        login: &Login,
        id: &InstanceId,
        action: Action,
    ) -> Result<Option<Instance>, Error> {
        let what = action.as_str();
        let Some(node) = self.member(login, INSTANCES, id.as_str()).await? else {
            return Err(Error::new(Kind::NotFound, format!("{what}: the upstream has no such instance")));
        };
        let Some(link) = map::link(&node, what) else {
            let state = node.said("state").unwrap_or("unknown");
            return Err(Error::new(Kind::Conflict, format!("{what} is not offered while the instance is {state}")));
        };
        let target = self.client.target(login)?;
        // The place is part of the interface. A link that leads elsewhere, as behind a proxy that the upstream knows nothing
        // of, is not needed, and nothing secret goes there.
        let usual = || match action {
            Action::Destroy => target.at(&[INSTANCES.plural, id.as_str()]),
            Action::Start | Action::Stop | Action::Reboot => target.at(&[INSTANCES.plural, id.as_str(), what]),
        };
        let url = link.attribute("href").and_then(|href| target.below(href)).unwrap_or_else(usual);
        let asked = format!("{what} an instance");
        let question = match method(link, action) {
            Method::DELETE => Question::delete(&asked, url),
            _ => Question::post(&asked, url, Form::default()),
        };
        let answer = self.client.ask(&target, Some(&login.credentials), question).await?;
        answer.done(&[INSTANCES.singular, INSTANCES.plural])?;

        let told = answer.read(|root| identified(root.named(INSTANCES.singular)?, INSTANCES)).ok();
        if let Some(node) = told.filter(|node| node.id() == Some(id.as_str()) && node.child("state").is_some()) {
            return Ok(Some(map::instance(&node)));
        }
        match self.member(login, INSTANCES, id.as_str()).await {
            Ok(node) => Ok(node.as_ref().map(map::instance)),
            // The action is done; that it cannot be looked at must not make its caller do it again.
            Err(error) => {
                warn!("{what}: done, but not read back: {error}");
                Ok(None)
            }
        }
    }
}

/// As the link says, of the two ways there are.
fn method(link: &Node, action: Action) -> Method {
    match (link.attribute("method"), action) {
        (Some(method), _) if method.eq_ignore_ascii_case("delete") => Method::DELETE,
        (Some(method), _) if method.eq_ignore_ascii_case("post") => Method::POST,
        (_, Action::Destroy) => Method::DELETE,
        (_, Action::Start | Action::Stop | Action::Reboot) => Method::POST,
    }
}

/// The id behind a `Location`, which ends in it.
fn made_at(answer: &Answer) -> Option<String> {
    let last = answer.location.as_ref()?.path_segments()?.next_back()?;
    let id = percent_decode_str(last).decode_utf8().ok()?.into_owned();
    is_id(&id).then_some(id)
}

fn form(new: &NewInstance) -> Form {
    let user_data = new.user_data.as_ref().map(|bytes| Zeroizing::new(BASE64.encode(bytes.expose_secret())));
    let mut form = Form::default()
        .with("image_id", &new.image)
        .with_some("realm_id", new.realm.as_deref())
        .with_some("hwp_id", new.hardware_profile.as_deref())
        .with_some("name", new.name.as_deref())
        .with_some("keyname", new.key_name.as_deref())
        .with_some("user_data", user_data.as_ref().map(|data| data.as_str()));
    for (name, value) in &new.hardware_overrides {
        form = form.with_some(format!("hwp_{name}"), Some(value));
    }
    for (at, firewall) in (1..).zip(&new.firewalls) {
        form = form.with_some(format!("firewalls{at}"), Some(firewall));
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_asks_for_exactly_what_was_given() {
        let bare = NewInstance { image: "img1".to_owned(), ..NewInstance::default() };
        assert_eq!(form(&bare).encoded(), "image_id=img1", "nothing that was not asked for");
        let full = NewInstance {
            image: "img1".to_owned(),
            realm: Some("eu".to_owned()),
            hardware_profile: Some("m1-large".to_owned()),
            hardware_overrides: vec![("memory".to_owned(), "10240.5".to_owned()), ("cpu".to_owned(), "2".to_owned())],
            name: Some("web & more".to_owned()),
            key_name: Some("alice".to_owned()),
            user_data: Some(b"#!/bin/sh\n".to_vec().into()),
            firewalls: ["web", "ssh"].map(str::to_owned).to_vec(),
            count: 3,
        };
        assert_eq!(
            form(&full).encoded(),
            "image_id=img1&realm_id=eu&hwp_id=m1-large&name=web+%26+more&keyname=alice&user_data=IyEvYmluL3NoCg%3D%3D\
             &hwp_memory=10240.5&hwp_cpu=2&firewalls1=web&firewalls2=ssh"
        );
    }

    #[test]
    fn a_link_says_how_it_is_followed() {
        let check = |link: &str, action, expected| {
            assert_eq!(method(&Node::parse(link.as_bytes()).expect("whole"), action), expected, "{link}");
        };
        check("<link method='post'/>", Action::Stop, Method::POST);
        check("<link method='DELETE'/>", Action::Destroy, Method::DELETE);
        check("<link method='post'/>", Action::Destroy, Method::POST);
        check("<link method='get'/>", Action::Destroy, Method::DELETE);
        check("<link/>", Action::Start, Method::POST);
    }
}
