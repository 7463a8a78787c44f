//! Every clause of a trait, for everything behind it.

mod driver;
mod store;
