//! The running parts, through their doors. One binary: eight took longer to build and eight times the disk.

mod delivery;
mod ec2;
mod ec2_end_to_end;
mod feed;
mod looking;
mod outbound;
mod restart;
mod secrets;
mod sending;
mod support;
mod tracking;
// mod wire;
