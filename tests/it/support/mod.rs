//! What the tests stand on.

pub mod owed;
pub mod receiver;
