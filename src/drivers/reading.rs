//! Reading an answer: how much may be in one, and where it is read. Anybody may name a server of his own, and what is small
//! on the wire is large as a tree.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use tokio::sync::Semaphore;

/// Longer answers are read apart from the threads on which everybody else is served. Bytes.
const APART_FROM_BYTES: usize = 256 * 1024;

/// Long answers that are read at once, of all drivers together.
const APART_AT_ONCE: usize = 2;

static TURNS: Semaphore = Semaphore::const_new(APART_AT_ONCE);

/// Members of one list, as one answer has them.
pub(super) const MEMBERS_MAX: usize = 50_000;

/// Bytes of all pages of one list together.
pub(super) const LIST_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Bytes of an answer that tells of a failure, where it is not read as a whole.
pub(super) const FAULT_BYTES_MAX: usize = 64 * 1024;

/// Elements within elements. Providers' own have ten.
pub(super) const DEPTH_MAX: usize = 32;

/// Attributes of one element. Providers' own have five.
pub(super) const ATTRIBUTES_MAX: usize = 64;

/// Pieces (elements, attributes; values, in JSON) that any answer may have, be it ever so short.
const PIECES_FREE: usize = 10_000;

/// Beyond that there are so many bytes to each piece. In providers' own answers there are 15 to 60.
const PIECE_BYTES_MIN: usize = 10;

/// How many pieces there may be in an answer of this length.
pub(super) fn pieces_max(body_bytes: usize) -> usize {
    PIECES_FREE + body_bytes / PIECE_BYTES_MIN
}

/// Reads here if it is short, and in its turn elsewhere if it is long. Who hangs up meanwhile gives no turn away: what has
/// begun is read to its end.
pub(super) async fn apart<T: Send + 'static>(body: Bytes, read: impl FnOnce(&[u8]) -> T + Send + 'static) -> T {
    if body.len() <= APART_FROM_BYTES {
        return read(&body);
    }
    let turn = TURNS.acquire().await.expect("nobody closes it");
    let reading = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        read(&body)
    });
    match reading.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(read) => read,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        // The runtime is being shut down, and nobody waits any more.
        Err(Err(_)) => std::future::pending().await,
    }
}

/// Whether JSON has no more values in it than an answer may have. Whether it is JSON at all is not looked at.
pub(super) fn is_json_within_bounds(body: &[u8]) -> bool {
    let max = pieces_max(body.len());
    let (mut pieces, mut in_text, mut escaped) = (0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'{' | b'[' if !in_text => {
                pieces += 1;
                if pieces > max {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

/// A list of at most [`MEMBERS_MAX`]: for `deserialize_with`. It stops at the first one too many.
pub(super) fn members<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    struct Members<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "a list of at most {MEMBERS_MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = list.next_element()? {
                if members.len() == MEMBERS_MAX {
                    return Err(A::Error::custom("too many in a list"));
                }
                members.push(member);
            }
            Ok(members)
        }
    }

    deserializer.deserialize_seq(Members(PhantomData))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn long_answers_are_read_on_other_threads_and_few_at_once() {
        let here = thread::current().id();
        let at = |length: usize| apart(Bytes::from(vec![0; length]), |_| thread::current().id());
        assert_eq!(at(APART_FROM_BYTES).await, here);
        assert_ne!(at(APART_FROM_BYTES + 1).await, here);

        let turns = TURNS.acquire_many(u32::try_from(APART_AT_ONCE).unwrap()).await.unwrap();
        let mut waits = Box::pin(at(APART_FROM_BYTES + 1));
        assert!(futures_util::poll!(waits.as_mut()).is_pending(), "all turns are taken");
        drop(turns);
        assert_ne!(waits.await, here);
    }

    #[test]
    fn json_has_bounds() {
        let check = |body: &str, expected| assert_eq!(is_json_within_bounds(body.as_bytes()), expected);
        check("{\"servers\":[]}", true);
        check(&format!("[{}0]", "0,".repeat(9_000)), true);
        check(&format!("[{}0]", "0,".repeat(100_000)), false);
        check(&format!("[{}0]", "{},".repeat(100_000)), false);
        check(&format!("[\"{}\"]", "[,{\\\"".repeat(100_000)), true);
        let server = include_str!("openstack/replies/servers-detail-2.96.json");
        check(&format!("[{}0]", format!("{server},").repeat(1_000)), true);
    }

    #[test]
    fn a_list_has_bounds() {
        #[derive(serde::Deserialize)]
        struct List {
            #[serde(deserialize_with = "members")]
            all: Vec<u8>,
        }
        let read = |count: usize| {
            let list = vec!["0"; count].join(",");
            serde_json::from_str::<List>(&format!("{{\"all\":[{list}]}}")).map(|list| list.all.len())
        };
        assert_eq!(read(0).unwrap(), 0);
        assert_eq!(read(MEMBERS_MAX).unwrap(), MEMBERS_MAX);
        assert!(read(MEMBERS_MAX + 1).is_err());
    }
}
