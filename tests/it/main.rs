//! The running service and its contracts, one binary.

mod contract;
mod support;
