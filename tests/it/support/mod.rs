//! What several files of tests need.

pub(crate) mod moto;
