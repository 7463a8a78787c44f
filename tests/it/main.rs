#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a test binary offers nothing to others, and an unwrap that fails is a test that fails"
)]

mod support;
mod wire;
