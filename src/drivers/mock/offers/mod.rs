//! What the mock cloud offers besides instances: each trait asks the world, and nothing else.

mod addresses;
mod buckets;
mod keys;
mod metrics;
mod networks;
mod storage;
