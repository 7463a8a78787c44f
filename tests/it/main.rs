//! The running parts, over sockets.

mod outbound;
mod sending;
mod support;
