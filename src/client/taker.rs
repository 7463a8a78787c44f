//! `listen --subscriber`: what was taken counts as delivered to that subscriber, and nothing else.
//!
//! The API counts as delivered everything up to a number. So the log is read as one to whom nothing is owed, and the
//! subscriber asks for the changes of one resource at a time, from a place before which nothing of it is owed. Where something
//! is, as it was not taken or nobody posted it, what comes after it of that resource stays owed as well.

use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;
use serde_json::value::RawValue;

use super::failure::Failure;
use super::follow::{Told, pause, pause_after, told};
use super::forward::Forward;
use super::lanes::{Post, Resource};
use super::output::note;
use super::server::{Answer, Params, Server};
use crate::chance::Chance;

/// Owed changes of one resource that are looked at; the most that the API gives at once.
const OWED_MAX: usize = 1_000;
/// Bytes of a list with nothing in it.
const EMPTY: u64 = 2;

pub(super) struct Taker {
    server: Arc<Server>,
    subscriber: String,
    /// `--type` and `--realm`: what they leave out is not posted, and stays owed.
    narrowed: Params,
    chance: Chance,
}

/// Whether something before a change of a resource is still owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    /// The lowest; 0 if it could not be seen.
    Owed(u64),
}

impl Taker {
    pub(super) fn new(server: Arc<Server>, subscriber: String, filters: &Params) -> Self {
        let narrowed = filters.iter().filter(|(name, _)| matches!(*name, "type" | "realm")).cloned().collect();
        Self { server, subscriber, narrowed, chance: Chance::from_system() }
    }

    /// Posts it in the subscriber's wording, and counts it as delivered when it was taken.
    pub(super) async fn deliver(&self, post: &mut Post, forward: &Forward) -> Result<(), Failure> {
        let before = self.before(post).await?;
        if let Some(raw) = self.told(post, before).await? {
            post.told.raw = raw;
        }
        if forward.post(post).await? {
            self.taken(post, before).await?;
        }
        Ok(())
    }

    /// What is owed of the resource before that change. Asked without taking anything.
    async fn before(&self, post: &Post) -> Result<Before, Failure> {
        let seq = post.told.seq;
        let mut query = self.of(&post.resource);
        query.extend(self.narrowed.iter().cloned());
        query.push(("limit", "1".to_owned()));
        let owed = self.ask(Method::HEAD, "changes", &query).await?;
        if owed.length() == Some(EMPTY) {
            return Ok(Before::Nothing);
        }
        // With more behind it, the place is that of the first. Of a single one it is the end of the log.
        let place = owed.seq().unwrap_or_default();
        let lowest = if owed.next().is_some() { place } else { self.single(&post.resource, place).await? };
        Ok(if lowest < seq { Before::Owed(lowest) } else { Before::Nothing })
    }

    /// The only one that is owed of a resource up to `end`; 0 if it cannot be seen.
    async fn single(&self, resource: &Resource, end: u64) -> Result<u64, Failure> {
        let kinds = self.narrowed.iter().find(|(name, _)| *name == "type").map(|(_, list)| list.as_str());
        let limit = if kinds.is_none() { 1 } else { OWED_MAX };
        let mut query = self.of(resource);
        query.extend([
            ("state", "waiting".to_owned()),
            ("before", end.saturating_add(1).to_string()),
            ("limit", limit.to_string()),
        ]);
        let deliveries: Vec<Value> = self.ask(Method::GET, "deliveries", &query).await?.json()?;
        Ok(lowest_of(&deliveries, kinds).unwrap_or_default())
    }

    /// The change as the subscriber is told it, with its token. `None`: it is no longer kept.
    async fn told(&self, post: &Post, before: Before) -> Result<Option<Box<RawValue>>, Failure> {
        let seq = post.told.seq;
        let (after, limit) = match before {
            Before::Nothing => (seq.saturating_sub(1), 1),
            Before::Owed(lowest) => (lowest.saturating_sub(1), OWED_MAX),
        };
        let Some(answer) = self.after(&post.resource, after, limit).await? else { return Ok(None) };
        Ok(told(&answer)?.into_iter().find(|told| told.seq == seq).map(|Told { raw, .. }| raw))
    }

    /// Counts it as delivered, unless that would count what is owed before it.
    async fn taken(&self, post: &Post, before: Before) -> Result<(), Failure> {
        if before == Before::Nothing {
            self.after(&post.resource, post.told.seq, 1).await?;
        }
        Ok(())
    }

    /// The resource's changes after a place; everything before it counts as delivered. `None`: they are no longer kept.
    async fn after(&self, resource: &Resource, after: u64, limit: usize) -> Result<Option<Answer>, Failure> {
        let mut query = self.of(resource);
        query.extend(self.narrowed.iter().cloned());
        query.extend([("after", after.to_string()), ("limit", limit.to_string())]);
        match self.ask(Method::GET, "changes", &query).await {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if failure.oldest_kept().is_some() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    fn of(&self, resource: &Resource) -> Params {
        vec![
            ("subscriber", self.subscriber.clone()),
            ("collection", resource.collection.clone()),
            ("resource", resource.id.clone()),
        ]
    }

    /// However long the server is away.
    async fn ask(&self, method: Method, path: &str, query: &Params) -> Result<Answer, Failure> {
        let mut failures = 0;
        loop {
            match self.server.ask_for(method.clone(), &[path], query).await {
                Err(failure) if failure.is_passing() => {
                    if failures == 0 {
                        note(&format!("tracker: {}; trying again", failure.text().unwrap_or_default()));
                    }
                    pause(pause_after(failures, self.chance.roll())).await;
                    failures += 1;
                }
                answered => return answered,
            }
        }
    }
}

/// The lowest number among deliveries of the types that are asked for, `state,gone` or whole ones.
fn lowest_of(deliveries: &[Value], kinds: Option<&str>) -> Option<u64> {
    let fits = |delivery: &Value| {
        // What is no longer kept has no type, and may have been any.
        let (Some(kinds), Some(kind)) = (kinds, delivery["type"].as_str()) else { return true };
        let verb = kind.split_once('.').map_or(kind, |(_, verb)| verb);
        kinds.split(',').map(str::trim).any(|word| word == kind || word == verb)
    };
    deliveries.iter().filter(|delivery| fits(delivery)).filter_map(|delivery| delivery["seq"].as_u64()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_posted_is_looked_at() {
        let deliveries = [
            serde_json::json!({"seq": 9, "type": "instance.state"}),
            serde_json::json!({"seq": 4, "type": "instance.addresses"}),
            serde_json::json!({"seq": 6, "type": "instance.state"}),
        ];
        let check = |kinds: Option<&str>, expected: Option<u64>| assert_eq!(lowest_of(&deliveries, kinds), expected);
        check(None, Some(4));
        check(Some("state"), Some(6));
        check(Some("gone, instance.addresses"), Some(4));
        check(Some("gone"), None);
        let forgotten = [serde_json::json!({"seq": 2, "type": null})];
        assert_eq!(lowest_of(&forgotten, Some("state")), Some(2));
    }
}
