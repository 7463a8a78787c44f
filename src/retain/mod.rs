//! Nothing is kept for ever: rounds of pruning, in short steps while everything goes on.
//!
//! Guarantees: of each account the log stays without a hole from its oldest change to its last; what is younger than
//! [`Settings::keep_ms`] and among the [`Settings::changes_max`] newest is never touched; no step holds the store's one writer
//! for long, and whoever waits for it meanwhile comes first.
//!
//! What is owed longer than that (a hook that is disabled, a feed that nobody reads) is given up with its change. The log
//! counts it and metrics show it; a reader whose place is gone is told so.
//!
//! Races accepted: changes that were recorded while the clock was ahead hold up those behind them until they are old
//! themselves, or until there are too many. A change whose callback is under way holds up the log until the next round.
//!
//! Absent on purpose: what is removed and in which order, which is the store's; keys that sealed something once, and
//! the row of an account whose hooks are gone, which remembers the last number it gave.

mod counters;
mod pass;
mod settings;

pub use counters::Counters;
pub use pass::{Beat, Retain};
pub use settings::Settings;
