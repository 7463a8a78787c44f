//! Who is due and what was seen. `plan.rs`, `order.rs` and `gap.rs` decide (pure); `look.rs` looks, with what a provider is asked in
//! `answer.rs` and what becomes of it in `keep.rs`; `visit.rs` looks at a unit that is due, and `pass.rs` at all that are.
//!
//! Guarantees: an error is never a change, because a look that failed commits nothing; a look is decided on what was known
//! *before* it asked. When somebody else wrote meanwhile it is decided anew on that, and thrown away and made again when
//! they saw the same things later than it asked, so what is known never goes backwards. That nobody looked for long is
//! said once, in the same commit as the first complete look after it.
//!
//! Nothing is concluded from an answer of another account's (`whose.rs`). Of a look whose calls fail in part what was answered counts
//! (`search.rs`).
//!
//! What is known is kept in memory between looks, up to a bound (`knowns.rs`); it counts only while the store names the same
//! version of it.
//!
//! Accepted: a row that is damaged in the file while it is kept is noticed when it is next read. A unit may be looked at by
//! several at once (clients set hooks while the poller is there). Where they see the same change one commits it, and the
//! others find it known.

mod answer;
mod circuit;
mod gap;
mod hints;
mod judge;
mod keep;
mod knowns;
mod look;
mod memory;
mod order;
mod parts;
mod pass;
mod plan;
mod pulse;
mod search;
mod slots;
mod split;
mod standing;
mod stuck;
mod turns;
mod visit;
mod whose;

pub use hints::{Hint, HintTerms, HintedState, Hints};
pub use look::{Error, Observer, Seen};
pub use pass::Poll;
pub use plan::Settings;
pub(crate) use turns::Turn;
