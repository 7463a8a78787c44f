//! `tracker listen`: the feed as callbacks, for those who cannot be called.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use url::Url;

use super::EXIT_CODES;
use super::changes::{Which, nobody, print_for_ever, reader, shown};
use super::credentials::secret_in;
use super::failure::Failure;
use super::follow::{Follow, Page, Place};
use super::forward::{Forward, POSTS_MAX};
use super::lanes::{Lanes, Post};
use super::options::{Look, Options, outbound};
use super::output::{note, write};
use super::server::refuse_password;
use super::taker::Taker;
use crate::chance::Chance;
use crate::deliver::{Key, new_key};
use crate::model::{ExposeSecret as _, Secret};

/// For a URL with a password in it.
const FORWARD: &str = "TRACKER_FORWARD";

#[derive(Args)]
#[command(after_help = format!("Examples:
  tracker listen --forward http://127.0.0.1:8080/cb
  tracker listen --forward http://127.0.0.1:8080/cb --secret-file hook.secret --state listen.seq
  tracker listen --collection realms

Each change is posted as a callback would be: the same body, the same `webhook-id` on every try, signed by Standard Webhooks.
The changes of a resource come in their order; different resources do not wait for one another, as long as no more than
{OPEN_MAX} changes are open and {POSTS_MAX} posts under way at once. What is not taken after --tries is reported and left behind; it
stays in the feed. --state keeps the place before the lowest change that is still open, so what lies behind that may come again. Reading takes nothing from anybody. With --forward and --subscriber, what was taken counts as delivered to that one, and brings
along its tokens; what was not taken stays owed to it, and so does what comes after it of the same resource, because the feed
is counted up to a number: `tracker changes --subscriber` shows it. Without --forward it prints as `changes --follow` does.

{EXIT_CODES}"))]
pub struct Listen {
    /// Where to post each change; without it they are printed. A URL with a password in it goes into TRACKER_FORWARD instead
    #[arg(long, value_name = "URL")]
    forward: Option<String>,
    /// A file with the signing secret, `whsec_…`; without one a new one is made and shown at the start
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A file that keeps how far it got, so that the next start goes on from there
    #[arg(long, value_name = "FILE", conflicts_with = "after")]
    state: Option<PathBuf>,
    /// How often one change is tried
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    tries: u32,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    options: Options,
}

impl Listen {
    pub(super) fn prepare(self, place: Arc<Place>) -> Result<impl Future<Output = Result<(), Failure>>, Failure> {
        let url = forward_url(self.forward.as_deref())?;
        let (server, look) = (self.options.server()?, self.options.look());
        let server = Arc::new(server);
        let filters = self.which.filters();
        // What is posted is counted by hand, as it is taken.
        let (mut question, taker) = match (&url, &self.options.subscriber) {
            (Some(_), Some(name)) => (nobody(), Some(Taker::new(Arc::clone(&server), name.clone(), &filters))),
            _ => (reader(&self.options), None),
        };
        question.extend(filters);
        let state = self.state.map(State);
        let kept = state.as_ref().map(State::load).transpose()?.flatten();
        let forward = match url {
            Some(url) => Some(Forward::new(outbound()?, url, secret(self.secret_file.as_deref())?, self.tries, look)),
            None => None,
        };
        Ok(async move {
            let follow = Follow::begin(server, question, self.which.after.or(kept), self.which.from_oldest).await?;
            match (forward, state) {
                (None, None) => print_for_ever(follow, &place, look).await,
                (None, Some(state)) => print_and_keep(follow, state, &place, look).await,
                (Some(forward), state) => forward_for_ever(follow, &forward, taker.as_ref(), state, &place).await,
            }
        })
    }
}

/// Changes that are neither taken nor given up, at most about so many: then no next page is asked for before some are.
const OPEN_MAX: usize = 1_000;
/// Pages that were read ahead of that.
const PAGES_AHEAD: usize = 1;

/// Posts what comes and reads on meanwhile. The place is before the lowest change that is neither taken nor given up.
async fn forward_for_ever(
    mut follow: Follow,
    forward: &Forward,
    taker: Option<&Taker>,
    state: Option<State>,
    place: &Place,
) -> Result<(), Failure> {
    let mut lanes = Lanes::new(follow.after());
    let mut kept = None;
    let (pages, mut came) = mpsc::channel(PAGES_AHEAD);
    let reading = async move {
        while pages.send(follow.next().await?).await.is_ok() {}
        Ok(())
    };
    let posting = async {
        let mut under_way = FuturesUnordered::new();
        loop {
            if kept != Some(lanes.place()) {
                keep(state.as_ref(), place, lanes.place())?;
                kept = Some(lanes.place());
            }
            let begun = tokio::select! {
                Some(page) = came.recv(), if lanes.open() < OPEN_MAX => {
                    let Page { changes, through, .. } = page;
                    lanes.add(changes.into_iter().map(Post::new).collect::<Result<_, _>>()?, through)
                }
                Some(ended) = under_way.next() => {
                    let (resource, seq) = ended?;
                    Vec::from_iter(lanes.done(&resource, seq))
                }
                else => return Ok(()),
            };
            under_way.extend(begun.into_iter().map(|mut post| async move {
                match taker {
                    Some(taker) => taker.deliver(&mut post, forward).await?,
                    None => drop(forward.post(&post).await?),
                }
                Ok::<_, Failure>((post.resource, post.told.seq))
            }));
        }
    };
    tokio::select! {
        end = reading => end,
        end = posting => end,
    }
}

/// Prints what comes and keeps the place.
async fn print_and_keep(mut follow: Follow, state: State, place: &Place, look: Look) -> Result<(), Failure> {
    keep(Some(&state), place, follow.after())?;
    loop {
        let page = follow.next().await?;
        for told in &page.changes {
            place.tell(told.seq, || write(&shown(told, look)))?;
        }
        keep(Some(&state), place, page.through)?;
    }
}

fn keep(state: Option<&State>, place: &Place, seq: u64) -> Result<(), Failure> {
    if let Some(state) = state {
        state.save(seq)?;
    }
    place.set(seq);
    Ok(())
}

fn forward_url(option: Option<&str>) -> Result<Option<Url>, Failure> {
    let from_environment = std::env::var(FORWARD).ok().filter(|url| !url.is_empty());
    let (name, text) = match (option, &from_environment) {
        (Some(text), _) => ("--forward", text),
        (None, Some(text)) => (FORWARD, text.as_str()),
        (None, None) => return Ok(None),
    };
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or_else(|| {
        Failure::usage(format!("{name} is no URL to post to: right is something like http://127.0.0.1:8080/cb"))
    })?;
    if option.is_some() {
        refuse_password(&url, name, "give the URL in the environment, as TRACKER_FORWARD")?;
    }
    Ok(Some(url))
}

/// The one in the file, or a new one, which its owner is shown this once.
fn secret(file: Option<&Path>) -> Result<Secret, Failure> {
    let Some(file) = file else {
        let secret = new_key(&Chance::from_system().bytes());
        note(&format!("signing secret, made for this run: {}", secret.expose_secret()));
        return Ok(secret);
    };
    let secret = secret_in(file)?;
    Key::parse(secret.expose_secret()).map_err(|err| Failure::failed(format!("{}: {err}", file.display())))?;
    Ok(secret)
}

/// A number, and blanks around it.
const STATE_BYTES_MAX: u64 = 64;

/// How far it got, in a file: a number.
struct State(PathBuf);

impl State {
    /// `None`: there is no such file yet.
    fn load(&self) -> Result<Option<u64>, Failure> {
        let shown = self.0.display();
        match self.read() {
            Ok(text) => match text.trim().parse() {
                Ok(seq) => Ok(Some(seq)),
                Err(_) => Err(Failure::failed(format!(
                    "{shown} holds no place: right is a number alone, as --state writes it"
                ))),
            },
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(Failure::failed(format!("{shown}: {err}"))),
        }
    }

    /// No more than a number has, and of a file: a device may go on for ever.
    fn read(&self) -> std::io::Result<String> {
        if !std::fs::metadata(&self.0)?.is_file() {
            return Err(std::io::Error::other("it is no file, so no place can be kept there"));
        }
        let mut text = Vec::new();
        std::fs::File::open(&self.0)?.take(STATE_BYTES_MAX).read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Whole or not at all.
    fn save(&self, seq: u64) -> Result<(), Failure> {
        let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let written = (|| {
            let mut draft = tempfile::NamedTempFile::new_in(folder)?;
            writeln!(draft, "{seq}")?;
            draft.persist(&self.0)?;
            Ok::<_, std::io::Error>(())
        })();
        written.map_err(|err| Failure::failed(format!("{}: {err}", self.0.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_kept_and_nonsense_refused() {
        let folder = tempfile::tempdir().unwrap();
        let state = State(folder.path().join("seq"));
        assert_eq!(state.load(), Ok(None));
        for seq in [0, 4711, 12] {
            state.save(seq).unwrap();
            assert_eq!(state.load(), Ok(Some(seq)));
        }
        std::fs::write(&state.0, "far").unwrap();
        assert!(state.load().unwrap_err().text().unwrap().contains("a number alone"));
        std::fs::write(&state.0, vec![b' '; 1 << 20]).unwrap();
        assert!(state.load().unwrap_err().text().unwrap().contains("a number alone"));
        let device = State(PathBuf::from("/dev/zero"));
        assert!(device.load().unwrap_err().text().unwrap().contains("no file"));
    }

    #[test]
    fn a_password_is_not_taken_from_the_arguments() {
        let check = |url: &str, expected: &str| {
            let failure = forward_url(Some(url)).unwrap_err();
            let text = failure.text().unwrap();
            assert!(text.contains(expected) && !text.contains("hush"), "{text}");
        };
        check("http://me:hush@127.0.0.1/cb", "TRACKER_FORWARD");
        check("127.0.0.1:8080/hush", "http://127.0.0.1:8080/cb");
        check("ftp://h/hush", "no URL to post to");
        assert!(forward_url(Some("http://[::1]:8080/cb")).unwrap().is_some());
    }
}
