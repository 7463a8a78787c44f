//! Who is due and what was seen. `plan.rs` decides (pure), `look.rs` asks, compares and commits, `pass.rs` does it for all
//! that is due.
//!
//! Guarantees: an error is never a change, because a look that failed commits nothing; a look is decided on what was known
//! *before* it asked, and is thrown away and made again when somebody else wrote meanwhile, so what is known never goes
//! backwards.
//!
//! Accepted: a unit may be looked at twice at once (a client sets a hook while the poller is there). One of the two
//! commits, the other asks again.

mod look;
mod pass;
mod plan;

pub use look::{Error, Observer, Seen};
pub use pass::Poll;
pub use plan::Settings;
