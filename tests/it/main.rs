//! The running parts, through their doors. One binary: eight took longer to build and eight times the disk.

mod ec2;
mod support;
