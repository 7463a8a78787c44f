use std::time::Duration;

use jiff::Timestamp;

use super::{AccountId, Change, Entry, HookId, Seq};

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeliveryState {
    /// Owed. Of a hook and a resource only the oldest waiting one may be due.
    Waiting,
    /// The receiver said 2xx.
    Delivered,
    /// The subscriber read it in the feed.
    Read,
    /// No tries left: kept, listed, still in the feed as undelivered.
    Exhausted,
    /// Its hook was removed.
    Dropped,
    /// A later change of the same resource stands for it, as its hook asked ([`Mode::Latest`](super::Mode::Latest)).
    Merged,
}

impl DeliveryState {
    pub const ALL: [Self; 6] =
        [Self::Waiting, Self::Delivered, Self::Read, Self::Exhausted, Self::Dropped, Self::Merged];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Exhausted => "exhausted",
            Self::Dropped => "dropped",
            Self::Merged => "merged",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// What a delivery stands for besides its own change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The oldest change that is not told by itself.
    pub from_seq: Seq,
    /// How many earlier changes are not told by themselves. At least 1.
    pub count: u32,
}

/// One change owed to one hook, claimed for an attempt.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub account: AccountId,
    pub hook: HookId,
    /// [`Hook::version`](super::Hook::version) when it was claimed.
    pub hook_version: u64,
    /// Scheme, host and port.
    pub receiver: String,
    pub merged: Option<Merged>,
    pub entry: Entry,
    /// Attempts made before this claim.
    pub attempts: u32,
    /// [`Hook::failing_since`](super::Hook::failing_since) when it was claimed.
    pub failing_since: Option<Timestamp>,
    /// Since when it is owed; the schedule's last day counts from here.
    pub created_at: Timestamp,
}

/// One try, as the list of deliveries shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// 1 is the first.
    pub number: u32,
    pub at: Timestamp,
    pub elapsed: Duration,
    /// The HTTP status; `None` when there was no answer.
    pub status: Option<u16>,
    /// In one sentence without secrets; `None` when it went well.
    pub error: Option<String>,
    /// The beginning of the answer's body, at most 1 KiB, for the owner of the hook.
    pub answer: String,
}

impl Attempt {
    /// One of which nothing is known yet.
    pub fn begun(number: u32, at: Timestamp) -> Self {
        Self { number, at, elapsed: Duration::ZERO, status: None, error: None, answer: String::new() }
    }
}

/// What becomes of a delivery after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// The receiver's failure: try again then.
    Retry {
        due_at: Timestamp,
        /// The receiver asked (`Retry-After`) not to be called earlier, whatever else happens.
        not_before: Option<Timestamp>,
    },
    /// Our own failure: the attempt is not counted against the receiver.
    Postpone {
        due_at: Timestamp,
    },
    /// No tries left. `disable`: nor is there a sign of life of the hook for so long that it is called no more.
    Exhausted {
        disable: Option<Disabling>,
    },
    /// The receiver said that it is gone (410): the hook is disabled and gets nothing more; the change stays undelivered.
    Disable(Disabling),
}

/// Why a hook is called no more, and the change that says so. Its subject's revision is given by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disabling {
    pub reason: String,
    pub change: Box<Change>,
}

/// An attempt and what follows from it, to be recorded in one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub account: AccountId,
    pub hook: HookId,
    pub seq: Seq,
    pub attempt: Attempt,
    pub verdict: Verdict,
}
