//! Changes posted to a URL of the user's own, each as a callback would be.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;
use url::Url;

use super::failure::Failure;
use super::follow::{pause, pause_after};
use super::lanes::Post;
use super::options::Look;
use super::output::{Cell, Form, Tone, note, write, write_json};
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
/// Posts under way at once. One that pauses before its next try is none.
pub(super) const POSTS_MAX: usize = 32;
/// The longest pause that a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

pub(super) struct Forward {
    sender: Sender,
    url: Url,
    key: SigningKey,
    tries: u32,
    look: Look,
    chance: Chance,
    turns: Semaphore,
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
            turns: Semaphore::new(POSTS_MAX),
        }
    }

    /// Returns when it was taken or given up, and whether it was taken.
    pub(super) async fn post(&self, post: &Post) -> Result<bool, Failure> {
        let (seq, id) = (post.told.seq, post.change["id"].as_str().unwrap_or_default());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let message = Message {
                url: self.url.clone(),
                id: ChangeId(id.to_owned()),
                keys: vec![self.key.clone()],
                token: None,
                format: Format::Changes,
                body: Bytes::copy_from_slice(post.told.raw.get().as_bytes()),
            };
            let (tried, reply) = {
                // Not held while it pauses: then it is others' turn.
                let _turn = self.turns.acquire().await.map_err(|err| Failure::failed(err.to_string()))?;
                self.sender.send(message, attempt, SystemClock.now()).await
            };
            match judge(&reply) {
                Next::Done => {
                    self.say(post, tried.status, attempt)?;
                    return Ok(true);
                }
                Next::Again(wait) if attempt < self.tries => {
                    let step = pause_after(attempt - 1, self.chance.roll());
                    if attempt == 1 {
                        note(&format!("#{seq}: {}; trying again", tried.error.unwrap_or_default()));
                    }
                    pause(step.max(wait)).await;
                }
                Next::Again(_) | Next::Never => {
                    let why = tried.error.unwrap_or_default();
                    note(&format!(
                        "#{seq} was not taken ({attempt} tries): {why}; it stays in the feed: tracker changes --after {} --limit 1",
                        seq.saturating_sub(1)
                    ));
                    self.say(post, tried.status, attempt)?;
                    return Ok(false);
                }
            }
        }
    }

    fn say(&self, post: &Post, status: Option<u16>, attempts: u32) -> Result<(), Failure> {
        let Post { told, change, .. } = post;
        let taken = status.is_some_and(|status| (200..300).contains(&status));
        match self.look.form {
            Form::Json => {
                let id = &change["id"];
                let said = serde_json::json!({"seq": told.seq, "id": id, "taken": taken, "status": status, "attempts": attempts});
                write_json(&said.to_string())
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

#[cfg(test)]
mod tests {
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
}
