//! Whether a realm can be used, and why one thinks so. Pure: what was learnt comes in as [`Event`]s, what follows at an instant
//! comes out as [`Told`].
//!
//! Three kinds of input are kept apart and never overwrite one another: what the provider *declares*, whether it *answers*
//! ([`Reach`]), and whether launches and runs *succeed* ([`outcomes`] finds that in samples). They are joined only when a
//! verdict is asked for, so each can be shown beside it.
//!
//! ```text
//! realms listed ──► Declared, Missing ─┐
//! answers, faults ──► Reach ──► Reach ─┼─► Realms::hear ─► Realms::evaluate ─► Told (verdict, why)
//! instances listed ──► outcomes ───────┘                └─► standing, evidence
//! ```
//!
//! Guarantees: what a caller did to itself (quota, permission, a bad parameter, its own stop) changes nothing. Nobody is declared
//! unavailable because it could not be asked, before ten minutes of that. The last realm that works is never given up on launches
//! and runs alone, nor is any while most of them fail together. A verdict carries all that was known, the contrary included, and
//! nothing of other accounts but counts. The same events and instants give the same verdicts, also if the state went through JSON
//! in between. Everything kept has a bound.
//!
//! Accepted: requests are told apart by what samples show of them (see [`outcomes`]). Of several changes between two evaluations
//! only the last is seen. After a restart reachability is learnt anew, and so is what other accounts say.
//!
//! Absent on purpose: the clock, chance, the store, and asking anybody.

mod blame;
mod declared;
mod elsewhere;
mod event;
mod flapping;
mod judge;
mod launches;
mod outcomes;
mod reach;
mod recovery;
mod runs;
mod settings;
mod state;
mod told;
mod verdict;
mod why;

use std::time::Duration;

use jiff::Timestamp;

pub use elsewhere::Outcome;
pub use event::{Bad, BadRun, Event, Launch, Reachability};
pub use outcomes::{Seen, outcomes};
pub use reach::{Others, Reach};
pub use settings::{Confidence, Settings};
pub use state::{Overall, Realms, Record};
pub use told::{Evidence, Rule, Standing, Told, Turned, wire};

/// From `at` to `now`; 0 if the clock was set back.
fn since(now: Timestamp, at: Timestamp) -> Duration {
    now.duration_since(at).try_into().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "there are at most 100,000")]
fn share(some: usize, of: usize) -> f64 {
    some as f64 / of.max(1) as f64
}

#[cfg(test)]
mod tests;
