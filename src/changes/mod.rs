//! What a change looks like from outside and who is told of it. Pure.

mod body;
mod disabled;
mod fan_out;
mod trial;

pub use body::{Told, render, segment};
pub use disabled::disabling;
pub use fan_out::fan_out;
pub use trial::{KIND as TRIAL, trial};
