//! What is owed is sent: signed, in order, retried.
//!
//! Guarantees: a delivery is sent at least once and, of a hook and a resource, never before the older ones are done with
//! (the store claims only the oldest); a try has one deadline, from the name to the last byte of the answer; a receiver never
//! has more than its bound in flight; faults of our own count against nobody.
//!
//! Accepted: a delivery that was sent but not recorded (we died, or the store failed) is sent again, with the same
//! `webhook-id`. One that is read in the feed while it is being sent arrives by both ways.
//!
//! Absent on purpose: knowing what a change looks like. The body is rendered by `changes`, and comes in as a function.

mod circuit;
mod consent;
mod counters;
mod known;
mod lanes;
mod pass;
mod schedule;
mod send;
mod settings;
mod sign;

pub use counters::Counters;
pub use pass::{Deliver, Render};
pub use schedule::{Next, Reply, Schedule, Standing, retry_after};
pub use send::{Message, Sender};
pub use settings::Settings;
pub use sign::{BadKey, ID, Key, Mismatch, SIGNATURE, TIMESTAMP, live_keys, new_key, sign, verify};
