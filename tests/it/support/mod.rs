//! What the tests stand on.

pub mod cases;
pub mod child;
pub mod cli;
pub mod cloud;
pub mod drivers;
pub mod events;
pub mod faulty;
pub mod foreign;
pub mod moto;
pub mod nova;
pub mod owed;
pub mod proxy;
pub mod raw;
pub mod receiver;
pub mod tls;
pub mod world;
