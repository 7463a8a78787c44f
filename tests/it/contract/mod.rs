//! Every clause of a trait, for everything behind it.

mod driver;
pub(crate) mod offers;
mod store;
