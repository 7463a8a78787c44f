//! Promises that every implementation of a trait keeps.

mod driver;
