use std::sync::Arc;
use std::time::Duration;

use crate::model::Fault;

/// What the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The backend refused the credentials: ask for others.
    Denied,
    /// The credentials are good, but this they may not do.
    Forbidden,
    /// The backend clearly does not have it.
    NotFound,
    /// Too fast: come back, and not before `after` if it said so.
    Throttled { after: Option<Duration> },
    /// Nothing was asked: our own bounds on calls under way are all taken. Says nothing of the provider, nor of who asks.
    Busy,
    /// Not reached, or it failed by itself: try again later. Says nothing about any resource.
    Unavailable,
    /// As `Unavailable`, because time ran out.
    TimedOut,
    /// It was reached, and broke: its own fault or ours, and trying again is not known to help.
    Failed,
    /// This kind of cloud cannot do that.
    Unsupported,
    /// The request makes no sense: change it.
    Invalid,
    /// Right request, wrong moment: the resource's state does not allow it.
    Conflict,
}

/// A failed call to a provider. The text is for people, names what was asked, and holds nothing secret.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    pub kind: Kind,
    pub text: String,
    /// Of a launch that failed: who is to blame. `None` where the provider did not say, and of all other calls.
    pub fault: Option<Fault>,
    #[source]
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), fault: None, source: None }
    }

    pub fn blaming(self, fault: Option<Fault>) -> Self {
        Self { fault, ..self }
    }

    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into().into());
        self
    }
}
