//! How many random cases a test lives through.

use proptest::test_runner::{Config, RngSeed};

/// The same cases every time, unless the environment asks for others (`PROPTEST_RNG_SEED`, `PROPTEST_CASES`).
pub fn config(cases: u32) -> Config {
    let given = Config::default();
    let seed = if given.rng_seed == RngSeed::Random { RngSeed::Fixed(4_711) } else { given.rng_seed };
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    Config { cases, rng_seed: seed, failure_persistence: None, ..given }
}

/// A case that waits for something.
pub fn run<F: Future<Output = ()>>(test: F) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
