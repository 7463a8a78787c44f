pub mod cloud;
pub mod memory;
pub mod server;
