//! Why a command ended, in one sentence and one exit code.

/// For `--help`, and the README says the same.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    fine
  1    the server or the cloud behind it refused or failed
  2    the command line makes no sense
  3    the server cannot be reached, or what answers is not Tracker
  4    not authorized: no credentials, or wrong ones
  5    there is no such thing
  130  interrupted";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// The reader of our output has had enough.
    Fine,
    Failed,
    Usage,
    Unreachable,
    Unauthorized,
    NotFound,
    Interrupted,
}

impl Exit {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Unauthorized => 4,
            Self::NotFound => 5,
            Self::Interrupted => 130,
        }
    }
}

/// A command's end before its time. The text says what was wrong and what would be right, and holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    exit: Exit,
    text: String,
    /// It may go well the next time.
    passing: bool,
    /// The place asked for is no longer kept: the oldest that is.
    oldest_kept: Option<u64>,
}

impl Failure {
    pub(super) fn new(exit: Exit, text: impl Into<String>) -> Self {
        Self { exit, text: text.into(), passing: false, oldest_kept: None }
    }

    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self::new(Exit::Failed, text)
    }

    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// Nobody reads on (`| head`).
    pub(super) fn enough() -> Self {
        Self::new(Exit::Fine, "")
    }

    #[must_use]
    pub(super) fn passing(self) -> Self {
        Self { passing: true, ..self }
    }

    #[must_use]
    pub(super) fn oldest_kept_is(self, seq: Option<u64>) -> Self {
        Self { oldest_kept: seq.filter(|seq| *seq > 0), ..self }
    }

    pub(super) fn oldest_kept(&self) -> Option<u64> {
        self.oldest_kept
    }

    pub(super) fn is_passing(&self) -> bool {
        self.passing
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// `None`: there is nothing to say.
    pub(super) fn text(&self) -> Option<&str> {
        Some(self.text.as_str()).filter(|text| !text.is_empty())
    }
}
