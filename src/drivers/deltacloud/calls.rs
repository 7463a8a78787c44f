//! What every collection's calls have in common: a list, some members, one made, one gone.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;

use super::Deltacloud;
use super::client::{Answer, Failed, Form, Question, Target};
use super::document::{Malformed, Node};
use crate::drivers::{Error, Kind, Looked, looked};
use crate::model::{Credentials, Login, is_id};

/// A collection, as paths and lists call it, and its members.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rel {
    pub(super) plural: &'static str,
    pub(super) singular: &'static str,
}

macro_rules! rels {
    ($($name:ident = $plural:literal, $singular:literal;)*) => {
        $(pub(super) const $name: Rel = Rel { plural: $plural, singular: $singular };)*

        /// All of them.
        pub(super) const LISTS: &[Rel] = &[$($name),*];
    };
}

rels! {
    INSTANCES = "instances", "instance";
    REALMS = "realms", "realm";
    IMAGES = "images", "image";
    HARDWARE_PROFILES = "hardware_profiles", "hardware_profile";
    KEYS = "keys", "key";
    VOLUMES = "storage_volumes", "storage_volume";
    SNAPSHOTS = "storage_snapshots", "storage_snapshot";
    ADDRESSES = "addresses", "address";
}

impl Deltacloud {
    /// Every member, by id. Deltacloud has no pages.
    pub(super) async fn list(&self, login: &Login, rel: Rel) -> Result<BTreeMap<String, Node>, Error> {
        let target = self.client.target(login)?;
        let what = format!("GET {}", rel.plural);
        let asked = self.client.ask(&target, Some(&login.credentials), Question::get(&what, target.at(&[rel.plural])));
        let Failed { error, status, said } = match asked.await {
            Ok(answer) => return answer.read(|root| by_id(root.into_members(rel.plural, rel.singular)?, rel)),
            Err(failed) => failed,
        };
        let lacking = match (status, said) {
            (Some(StatusCode::NOT_FOUND), None) => self.lacking(&target, &login.credentials, rel).await,
            _ => None,
        };
        Err(lacking.unwrap_or(match error.kind {
            // There is no telling what is not there when it is the list itself.
            Kind::NotFound => Error { kind: Kind::Unavailable, ..error },
            _ => error,
        }))
    }

    /// Servers have no page for a collection that they do not know, which looks like a proxy that has lost its server. The
    /// entry point tells the one from the other.
    async fn lacking(&self, target: &Target, credentials: &Credentials, rel: Rel) -> Option<Error> {
        let entry = Question::get("GET the entry point", target.at(&[]));
        let answer = self.client.ask(target, Some(credentials), entry).await.ok()?;
        let entry = answer.read(|root| root.named("api")).ok()?;
        let mut offered = entry.each("link").filter_map(|link| link.attribute("rel")).peekable();
        offered.peek()?;
        if offered.any(|offer| offer.replace('-', "_") == rel.plural) {
            return None;
        }
        Some(Error::new(Kind::Unsupported, format!("The upstream has no {}", rel.plural)))
    }

    /// `None`: the upstream itself said that it does not have it.
    pub(super) async fn member(&self, login: &Login, rel: Rel, id: &str) -> Result<Option<Node>, Error> {
        if !is_id(id) {
            return Err(Error::new(Kind::Invalid, format!("There can be nothing of that id among {}", rel.plural)));
        }
        let target = self.client.target(login)?;
        let what = format!("GET one of {}", rel.plural);
        let url = target.at(&[rel.plural, id]);
        match self.client.ask(&target, Some(&login.credentials), Question::get(&what, url)).await {
            Ok(answer) => answer.read(|root| the(root, rel, id)).map(Some),
            Err(failed) if failed.error.kind == Kind::NotFound => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    /// Those of the ids that there are. A few are asked for one by one; of many the list is asked for, and then only those
    /// that it does not have, so that absence is always the upstream's word about the one.
    pub(super) async fn members(
        &self,
        login: &Login,
        rel: Rel,
        ids: &BTreeSet<String>,
    ) -> Result<Looked<(String, Node)>, Error> {
        let mut listed = BTreeMap::new();
        if ids.len() > self.settings.looks_max {
            listed = self.list(login, rel).await?;
            listed.retain(|id, _| ids.contains(id));
        }
        let rest: Vec<String> = ids.iter().filter(|id| !listed.contains_key(*id)).cloned().collect();
        let mut looked = match self.each(login, rel, rest.clone()).await {
            // The list has answered for some.
            Err(error) if error.kind != Kind::Denied && !listed.is_empty() => Looked::none(rest, &error),
            looked => looked?,
        };
        looked.found.extend(listed);
        looked.found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(looked)
    }

    /// Asks for each by itself, some at a time. In the order of the ids.
    pub(super) async fn each(
        &self,
        login: &Login,
        rel: Rel,
        ids: Vec<String>,
    ) -> Result<Looked<(String, Node)>, Error> {
        let ask = |id: String| async move { Ok(self.member(login, rel, &id).await?.map(|node| (id, node))) };
        let mut looked = looked::each(ids, self.settings.looks_at_once, ask).await?;
        looked.found.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(looked)
    }

    /// Makes one, and answers with what the upstream says of it.
    pub(super) async fn create(&self, login: &Login, rel: Rel, form: Form) -> Result<Answer, Failed> {
        let target = self.client.target(login)?;
        let what = format!("POST {}", rel.plural);
        let question = Question::post(&what, target.at(&[rel.plural]), form);
        self.client.ask(&target, Some(&login.credentials), question).await
    }

    /// Makes one, and answers with it.
    pub(super) async fn created(&self, login: &Login, rel: Rel, form: Form) -> Result<Node, Error> {
        self.create(login, rel, form).await?.read(|root| identified(root.named(rel.singular)?, rel))
    }

    pub(super) async fn destroy(&self, login: &Login, rel: Rel, id: &str) -> Result<(), Error> {
        let what = format!("DELETE one of {}", rel.plural);
        let target = self.client.target(login)?;
        let url = self.url(&target, rel, id, None)?;
        let answer = self.client.ask(&target, Some(&login.credentials), Question::delete(&what, url)).await?;
        answer.done(&[rel.singular, rel.plural])
    }

    /// Asks a member for something.
    pub(super) async fn order(&self, login: &Login, rel: Rel, id: &str, action: &str, form: Form) -> Result<(), Error> {
        let what = format!("POST {action} to one of {}", rel.plural);
        let target = self.client.target(login)?;
        let url = self.url(&target, rel, id, Some(action))?;
        let answer = self.client.ask(&target, Some(&login.credentials), Question::post(&what, url, form)).await?;
        answer.done(&[rel.singular])
    }

    fn url(&self, target: &Target, rel: Rel, id: &str, action: Option<&str>) -> Result<url::Url, Error> {
        if !is_id(id) {
            return Err(Error::new(Kind::NotFound, format!("There is nothing of that id among {}", rel.plural)));
        }
        let path: Vec<&str> = [rel.plural, id].into_iter().chain(action).collect();
        Ok(target.at(&path))
    }
}

/// One that has an id.
pub(super) fn identified(node: Node, rel: Rel) -> Result<Node, Malformed> {
    if node.id().is_some() { Ok(node) } else { Err(Malformed::Nameless(rel.singular)) }
}

/// The one asked for.
fn the(node: Node, rel: Rel, id: &str) -> Result<Node, Malformed> {
    let node = identified(node.named(rel.singular)?, rel)?;
    if node.id() == Some(id.trim()) { Ok(node) } else { Err(Malformed::Stranger(rel.singular)) }
}

/// In the order of their ids, each once. One without an id spoils the list, as it could be any.
pub(super) fn by_id(members: Vec<Node>, rel: Rel) -> Result<BTreeMap<String, Node>, Malformed> {
    let keyed = members.into_iter().map(|node| {
        let node = identified(node, rel)?;
        Ok((node.id().unwrap_or_default().to_owned(), node))
    });
    keyed.collect()
}
