//! What the tests stand on.

pub(crate) mod child;
pub(crate) mod moto;
pub(crate) mod owed;
pub(crate) mod receiver;
pub(crate) mod world;
