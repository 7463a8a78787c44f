//! The only file that draws lots. Decisions take the roll as an argument; shells draw it here, from the system or, in
//! tests and the demo, from a seed.

use std::sync::Mutex;

use jiff::Timestamp;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng as _, RngExt as _, SeedableRng as _};

pub struct Chance(Mutex<StdRng>);

impl Chance {
    /// Seeded by the operating system: good enough for keys, as the generator is a cryptographic one.
    pub fn from_system() -> Self {
        Self(Mutex::new(StdRng::try_from_rng(&mut SysRng).expect("the operating system gives random bytes")))
    }

    /// The same lots every time.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// 0 to 1, 1 excluded.
    pub fn roll(&self) -> f64 {
        self.draw(|rng| rng.random())
    }

    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        self.draw(|rng| {
            let mut bytes = [0; N];
            rng.fill_bytes(&mut bytes);
            bytes
        })
    }

    /// A UUIDv7 in hex behind a prefix: ids that sort by time and are unique without asking anyone.
    pub fn id(&self, prefix: &str, now: Timestamp) -> String {
        let ms = u64::try_from(now.as_millisecond()).unwrap_or_default();
        let uuid = uuid::Builder::from_unix_timestamp_millis(ms, &self.bytes()).into_uuid();
        format!("{prefix}_{}", uuid.simple())
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().expect("drawing does not panic"))
    }
}
