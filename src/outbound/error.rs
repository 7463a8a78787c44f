use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use super::{BadProxy, NoAddress, Refused, TooWide};

/// Why there is no answer. Texts hold neither the URL's path nor its user part nor its query.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The guard said no: nothing was sent.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The resolver says that the name has no address.
    #[error("the name {0} has no address")]
    Resolve(String),
    #[error("no connection: {0}")]
    Connect(String),
    #[error("no complete answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("the answer was longer than {0} bytes")]
    TooLong(usize),
    #[error("the exchange broke off: {0}")]
    Broken(String),
    /// No sockets, no descriptors, no route, a silent resolver, a proxy that does not do its work: our own fault, not the
    /// other side's.
    #[error("this machine cannot make connections now: {0}")]
    Ours(String),
}

impl Error {
    /// Nobody but us is to blame.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Ours(_))
    }
}

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    #[error(transparent)]
    TooWide(#[from] TooWide),
    #[error("ca_file {0}: {1}")]
    Authorities(String, String),
    #[error("proxy: {0}")]
    Proxy(#[from] BadProxy),
    /// Mostly: the machine has no certificate authorities installed.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// Sorts a failure of the client by whose fault it is.
pub(super) fn sort(err: &reqwest::Error, connect_timeout: Duration) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = err.source();
    let mut last = None;
    while let Some(err) = cause {
        if let Some(refused) = err.downcast_ref::<Refused>() {
            return Error::Refused(refused.clone());
        }
        match err.downcast_ref::<NoAddress>() {
            Some(NoAddress::Unknown(name)) => return Error::Resolve(name.clone()),
            Some(silent @ NoAddress::Unanswered(_)) => return Error::Ours(silent.to_string()),
            None => {}
        }
        if let Some(os) = err.downcast_ref::<io::Error>()
            && is_ours(os)
        {
            return Error::Ours(os.to_string());
        }
        last = Some(err.to_string());
        cause = err.source();
    }
    let text = last.map_or_else(|| "no reason given".to_owned(), in_plain_words);
    match (err.is_connect(), err.is_timeout()) {
        (true, true) => Error::Connect(format!("none within {} ms", connect_timeout.as_millis())),
        (true, false) => Error::Connect(text),
        _ => Error::Broken(text),
    }
}

/// What can be done about a certificate, where rustls has a word for what is wrong with it.
fn in_plain_words(text: String) -> String {
    if text.contains("UnknownIssuer") {
        UNKNOWN_AUTHORITY.to_owned()
    } else if text.contains("CaUsedAsEndEntity") {
        "its certificate is a CA's own, which cannot be accepted: issue one from it".to_owned()
    } else {
        text
    }
}

/// The text of an [`Error::Connect`]; whoever has a setting for it can name it.
pub const UNKNOWN_AUTHORITY: &str = "its certificate is signed by an authority that this machine does not know";

/// Failures that would meet any receiver: no descriptors, no ports, no buffers, no memory, and the network switched off.
/// A host or a network that cannot be reached is not among them: others may be reached at the same moment.
fn is_ours(err: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    use io::ErrorKind::{AddrNotAvailable, NetworkDown, OutOfMemory};
    // ENOBUFS has no kind of its own; its number differs between systems.
    let enobufs = if cfg!(target_os = "linux") { 105 } else { 55 };
    matches!(err.kind(), AddrNotAvailable | NetworkDown | OutOfMemory)
        || err.raw_os_error().is_some_and(|code| [ENOMEM, ENFILE, EMFILE, enobufs].contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_not_believed_is_told_in_plain_words() {
        let check = |text: &str, expected: &str| assert_eq!(in_plain_words(text.to_owned()), expected);
        check("invalid peer certificate: UnknownIssuer", UNKNOWN_AUTHORITY);
        let own = "its certificate is a CA's own, which cannot be accepted: issue one from it";
        check("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", own);
        check("Connection refused (os error 111)", "Connection refused (os error 111)");
    }

    #[test]
    fn a_machine_without_sockets_does_not_blame_the_receiver() {
        let check = |code: i32, ours: bool| assert_eq!(is_ours(&io::Error::from_raw_os_error(code)), ours, "{code}");
        check(23, true); // file table full
        check(24, true); // too many open files
        check(99, true); // cannot assign requested address: out of ports
        check(100, true); // network is down
        check(105, true); // no buffer space
        check(101, false); // network unreachable
        check(104, false); // reset by peer
        check(110, false); // timed out
        check(111, false); // refused
        check(113, false); // no route to host
    }
}
