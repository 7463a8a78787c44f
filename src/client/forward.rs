//! Changes posted to a URL of the user's own, each as a callback would be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::Value;
use url::Url;

use super::failure::Failure;
use super::follow::{Told, pause, pause_after};
use super::options::Look;
use super::output::{Cell, Form, Tone, note, write};
use super::told::line;
use crate::chance::Chance;
use crate::clock::{Clock as _, SystemClock};
use crate::deliver::{Message, Reply, Sender};
use crate::model::{ChangeId, Format, Secret, SigningKey};
use crate::outbound::{Bounds, Outbound};

/// For one try.
const DEADLINE: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 16 << 10;
const ANSWER_BYTES_KEPT: usize = 1 << 10;
/// Resources that are posted side by side.
const LANES: usize = 8;
/// The longest pause that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

pub(super) struct Forward {
    sender: Sender,
    url: Url,
    key: SigningKey,
    tries: u32,
    look: Look,
    chance: Chance,
}

impl Forward {
    pub(super) fn new(outbound: Arc<Outbound>, url: Url, secret: Secret, tries: u32, look: Look) -> Self {
        let bounds = Bounds { deadline: DEADLINE, body_bytes_max: ANSWER_BYTES_MAX, cut: true };
        Self {
            sender: Sender::new(Outbound::clone(&outbound), bounds, ANSWER_BYTES_KEPT),
            url,
            key: SigningKey { secret, until: None },
            tries,
            look,
            chance: Chance::from_system(),
        }
    }

    /// Returns when each of them was taken or given up: those of a resource one after the other, some resources at once.
    pub(super) async fn all(&self, changes: &[Told]) -> Result<(), Failure> {
        stream::iter(lanes(changes))
            .map(Ok)
            .try_for_each_concurrent(LANES, |lane| async move {
                for change in lane {
                    self.one(change).await?;
                }
                Ok(())
            })
            .await
    }

    async fn one(&self, told: &Told) -> Result<(), Failure> {
        let change: Value = serde_json::from_str(told.raw.get()).unwrap_or_default();
        let id = change["id"].as_str().ok_or_else(|| Failure::failed("the server told a change without its id"))?;
        for attempt in 1..=self.tries {
            let message = Message {
                url: self.url.clone(),
                id: ChangeId(id.to_owned()),
                keys: vec![self.key.clone()],
                token: None,
                format: Format::Changes,
                body: Bytes::copy_from_slice(told.raw.get().as_bytes()),
            };
            let (tried, reply) = self.sender.send(message, attempt, SystemClock.now()).await;
            let last = attempt == self.tries;
            match judge(&reply) {
                Next::Done => return self.say(told, &change, tried.status, attempt),
                Next::Again(wait) if !last => {
                    let step = pause_after(attempt - 1, self.chance.roll());
                    if attempt == 1 {
                        note(&format!("#{}: {}; trying again", told.seq, tried.error.unwrap_or_default()));
                    }
                    pause(step.max(wait)).await;
                }
                Next::Again(_) | Next::Never => {
                    let why = tried.error.unwrap_or_default();
                    note(&format!(
                        "#{} was not taken ({attempt} tries): {why}; it stays in the feed: tracker changes --after {} --limit 1",
                        told.seq,
                        told.seq.saturating_sub(1)
                    ));
                    return self.say(told, &change, tried.status, attempt);
                }
            }
        }
        Ok(())
    }

    fn say(&self, told: &Told, change: &Value, status: Option<u16>, attempts: u32) -> Result<(), Failure> {
        let taken = status.is_some_and(|status| (200..300).contains(&status));
        match self.look.form {
            Form::Json => {
                let id = &change["id"];
                let said = serde_json::json!({"seq": told.seq, "id": id, "taken": taken, "status": status, "attempts": attempts});
                write(&format!("{said}\n"))
            }
            Form::Table => {
                let end = match status {
                    Some(status) => Cell::new(status.to_string(), if taken { Tone::Good } else { Tone::Bad }),
                    None => Cell::new("no answer", Tone::Bad),
                };
                write(&format!("{}  -> {}\n", line(change, self.look.colours), end.shown(self.look.colours)))
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Done,
    /// Not before this long.
    Again(Duration),
    /// The receiver says that it is gone.
    Never,
}

fn judge(reply: &Reply) -> Next {
    match reply {
        Reply::Status { status: 200..=299, .. } => Next::Done,
        Reply::Status { status: 410, .. } => Next::Never,
        Reply::Status { retry_after, .. } => Next::Again(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX)),
        Reply::NoAnswer | Reply::NoConsent | Reply::OwnFault => Next::Again(Duration::ZERO),
    }
}

/// The changes of each resource in their order, resources in the order of their first.
fn lanes(changes: &[Told]) -> Vec<Vec<&Told>> {
    let mut lanes: Vec<(String, Vec<&Told>)> = vec![];
    for told in changes {
        let change: Value = serde_json::from_str(told.raw.get()).unwrap_or_default();
        let resource = &change["resource"];
        let key = format!("{}/{}", resource["collection"], resource["id"]);
        match lanes.iter_mut().find(|(known, _)| *known == key) {
            Some((_, lane)) => lane.push(told),
            None => lanes.push((key, vec![told])),
        }
    }
    lanes.into_iter().map(|(_, lane)| lane).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;

    #[test]
    fn only_the_receiver_ends_the_tries() {
        let status =
            |status: u16, seconds: Option<u64>| Reply::Status { status, retry_after: seconds.map(Duration::from_secs) };
        let again = |seconds| Next::Again(Duration::from_secs(seconds));
        let check = |reply: Reply, expected: Next| assert_eq!(judge(&reply), expected, "{reply:?}");
        check(status(200, None), Next::Done);
        check(status(204, None), Next::Done);
        check(status(302, None), again(0));
        check(status(410, None), Next::Never);
        check(status(503, Some(7)), again(7));
        check(status(503, Some(7_000)), again(60));
        check(Reply::NoAnswer, again(0));
        check(Reply::OwnFault, again(0));
    }

    #[test]
    fn a_resource_is_a_lane() {
        let told = |seq: u64, id: &str| {
            let change = serde_json::json!({"seq": seq, "resource": {"collection": "instances", "id": id}});
            Told { seq, raw: to_raw_value(&change).unwrap() }
        };
        let changes = [told(1, "a"), told(2, "b"), told(3, "a"), told(4, "c"), told(5, "b")];
        let seqs = |lane: &Vec<&Told>| lane.iter().map(|told| told.seq).collect::<Vec<_>>();
        assert_eq!(lanes(&changes).iter().map(seqs).collect::<Vec<_>>(), [vec![1, 3], vec![2, 5], vec![4]]);
    }
}
