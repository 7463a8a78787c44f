//! Tracker watches clouds and tells people what changed. **An error is never a change, and no change is ever lost.**
//!
//! The rooms, in the order in which data flows:
//!
//! ```text
//! client ──► api ──► track ──► store ◄── one commit: state, changes, deliveries ◄──┐
//!                                │ who is due                                      │
//! provider ◄── drivers ◄─────── poll ────────────────► diff ────────────────► changes
//!                              store ──► deliver ──► hook             push
//!                              store ──► api /changes ──► client      pull
//! ```

/// The nouns every room shares.
pub mod model;
/// HTTP in: routes, authentication, negotiation, XML and JSON.
pub mod api;
/// What was last read of providers, in memory.
pub mod reads;
/// Setting, replacing, removing and caring for hooks; taking the baseline.
pub mod track;
/// What others say has moved: read, checked, handed to `poll`.
pub mod hints;
/// Who is due and what was seen: passes over accounts.
pub mod poll;
/// Reading on in the log: long polls and streams share what is read.
pub mod feed;
/// What counts as news. Pure.
pub mod diff;
/// Whether a realm can be used, and why one thinks so. Pure.
pub mod availability;
/// What a change looks like and who is told. Pure.
pub mod changes;
/// What is owed is sent: signed, in order, retried.
pub mod deliver;
/// Providers out: list, get, act.
pub mod drivers;
/// What is remembered, in one transaction per business step.
pub mod store;
/// What is kept long enough goes, a little at a time.
pub mod retain;
/// HTTP out, bounded and guarded, for drivers and deliveries.
pub mod outbound;
/// Runs passes: on time, when woken, never two at once.
pub mod tasks;
/// The only file that asks the system for the time.
pub mod clock;
/// The only file that draws lots.
pub mod chance;
/// What is logged: one event, one line.
pub mod log;
/// One struct of settings, made of one per room.
pub mod settings;
/// The rooms put together; decides nothing.
pub mod service;
/// Everything in one process, to be looked at.
pub mod demo;
/// The command line as a client of the API.
pub mod client;
/// How fast it delivers here, and what the machine allows.
pub mod bench;
