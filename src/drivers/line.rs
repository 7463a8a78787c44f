//! The way to a provider, the same for every driver: in turn, bounded, and guarded where clients name it.

use std::time::Duration;

use super::Kind;
use super::pace::{Budget, Tries};
use crate::model::Credentials;
use crate::outbound::{self, Answer, Bounds, Outbound, Request};

pub(super) struct Line {
    /// To what clients name.
    guarded: Outbound,
    /// To what the operator wrote.
    operators: Outbound,
    bounds: Bounds,
    budget: Budget,
}

impl Line {
    /// `timeout_ms`: for a whole exchange. An answer longer than `body_bytes_max` is an error.
    pub(super) fn new(outbound: Outbound, budget: Budget, timeout_ms: u64, body_bytes_max: usize) -> Self {
        // A list that was cut would be a shorter list.
        let bounds = Bounds { deadline: Duration::from_millis(timeout_ms), body_bytes_max, cut: false };
        let operators = outbound.for_the_operator().expect("a client like this one was made a moment ago");
        Self { guarded: outbound, operators, bounds, budget }
    }

    /// A call that is to be made. `changes_nothing`: a look of ours that fails may be asked again.
    pub(super) fn tries(&self, provider: &str, credentials: &Credentials, changes_nothing: bool) -> Tries {
        self.budget.tries(provider, credentials, changes_nothing)
    }

    /// `by_operator`: it goes where the settings say.
    pub(super) async fn exchange(&self, by_operator: bool, request: Request) -> Result<Answer, outbound::Error> {
        let outbound = if by_operator { &self.operators } else { &self.guarded };
        outbound.exchange(request, self.bounds).await.map_err(|error| match error {
            outbound::Error::Connect(text) if text == outbound::UNKNOWN_AUTHORITY => {
                outbound::Error::Connect(format!("{text}: set drivers.ca_file"))
            }
            error => error,
        })
    }
}

/// What it says of a provider that a call to it was not answered.
impl From<&outbound::Error> for Kind {
    fn from(error: &outbound::Error) -> Self {
        match error {
            outbound::Error::Refused(_) => Self::Invalid,
            outbound::Error::TimedOut(_) => Self::TimedOut,
            outbound::Error::Resolve(_)
            | outbound::Error::Connect(_)
            | outbound::Error::TooLong(_)
            | outbound::Error::Broken(_)
            | outbound::Error::Ours(_) => Self::Unavailable,
        }
    }
}
