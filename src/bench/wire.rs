//! What the bench and its sink say to each other, one JSON text a line, and the little HTTP that the sink understands.

use anyhow::{Context as _, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// The sink's first and only line on stdout.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The port that takes [`Ask`]s. When that connection ends, so does the sink.
    pub(super) control: u16,
    /// The ports of the receivers, the healthy ones first.
    pub(super) receivers: Vec<u16>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Answer with [`Tally`] when this many deliveries were accepted, or when the time is over.
    Wait { accepted: usize, for_ms: u64 },
    /// Answer with [`Receipts`].
    Collect,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) accepted: usize,
}

/// One delivery that was read whole and answered 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Receipt {
    pub(super) hook: u32,
    pub(super) seq: u64,
    /// Microseconds since 1970.
    pub(super) at_us: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Receipts {
    /// In the order of arrival.
    pub(super) accepted: Vec<Receipt>,
    /// Requests by receiver, whatever became of them.
    pub(super) requests: Vec<u64>,
}

/// The connection that asks and answers go over.
pub(super) struct Line(BufReader<TcpStream>);

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    pub(super) async fn say(&mut self, word: &impl Serialize) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(word)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line).await?;
        Ok(())
    }

    /// `None` when the other side has gone.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> anyhow::Result<Option<T>> {
        let mut line = String::new();
        match self.0.read_line(&mut line).await? {
            0 => Ok(None),
            _ => Ok(Some(serde_json::from_str(&line).context("a word that makes no sense")?)),
        }
    }
}

/// The head of a request, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Bytes up to and with the empty line.
    pub(super) length: usize,
    pub(super) body: usize,
    /// Of `/hook/NUMBER`; `None` for any other path.
    pub(super) hook: Option<u32>,
}

/// The longest head that is read.
const HEAD_MAX: usize = 16 * 1024;

impl Head {
    /// `None`: it is not all there yet.
    pub(super) fn read(buffer: &[u8]) -> anyhow::Result<Option<Self>> {
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            if buffer.len() > HEAD_MAX {
                bail!("a head without an end");
            }
            return Ok(None);
        };
        let text = std::str::from_utf8(&buffer[..end]).context("a head that is no text")?;
        let mut lines = text.split("\r\n");
        let path = lines.next().and_then(|line| line.split(' ').nth(1)).context("a request without a path")?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
        });
        let hook = path.strip_prefix("/hook/").and_then(|number| number.parse().ok());
        Ok(Some(Self { length: end + 4, body: length.unwrap_or(0), hook }))
    }
}

/// The number in `"seq":NUMBER`, which comes early in a change.
pub(super) fn seq(body: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"\"seq\":";
    let at = body.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let digits = body[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&body[at..at + digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_head_only_lengths_and_the_hook_are_taken() {
        let check = |text: &str, expected: Option<Head>| {
            assert_eq!(Head::read(text.as_bytes()).unwrap(), expected, "{text}");
        };
        check("POST /hook/7 HTTP/1.1\r\nhost: a\r\nContent-Length: 12\r\n", None);
        check(
            "POST /hook/7 HTTP/1.1\r\nhost: a\r\nContent-Length: 12\r\n\r\n{\"seq\"",
            Some(Head { length: 54, body: 12, hook: Some(7) }),
        );
        check("POST /raw HTTP/1.1\r\n\r\n", Some(Head { length: 22, body: 0, hook: None }));
        check("POST /hook/x HTTP/1.1\r\n\r\n", Some(Head { length: 25, body: 0, hook: None }));
        Head::read(&vec![b'x'; HEAD_MAX + 1]).unwrap_err();
        Head::read(b"\r\n\r\n").unwrap_err();
    }

    #[test]
    fn the_number_of_a_change_is_found_in_its_body() {
        let check = |body: &str, expected: Option<u64>| assert_eq!(seq(body.as_bytes()), expected, "{body}");
        check(r#"{"id":"chg_1","seq":4711,"account":{}}"#, Some(4711));
        check(r#"{"seq":1}"#, Some(1));
        check(r#"{"seq":"one"}"#, None);
        check(r#"{"seq":"#, None);
        check("", None);
    }
}
