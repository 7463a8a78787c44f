//! Worlds for the tests of this room.

use std::fmt::Debug;
use std::time::Duration;

use jiff::Timestamp;

use super::{Rules, World};
use crate::drivers::mock::fixture::Furniture;
use crate::drivers::mock::settings::{Life, Settings};
use crate::drivers::{Error, Kind};

pub(super) const START: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn at(ms: u64) -> Timestamp {
    START + Duration::from_millis(ms)
}

/// With the reference's furniture.
pub(super) fn world(settings: &Settings, seed: u64) -> World {
    World::new(Rules::of(settings), "mockuser", START, seed, Furniture::reference("mockuser"))
}

/// Where nothing moves by itself.
pub(super) fn reference() -> World {
    world(&Settings::default(), 0)
}

/// Where what is asked takes its time, and nothing happens that is not.
pub(super) fn quiet() -> World {
    world(&Settings { lively: true, life: Life::quiet(), ..Settings::default() }, 1)
}

/// Lets exactly one thing happen: two can come at the same instant.
pub(super) fn tick(world: &mut World) -> Timestamp {
    world.next_event();
    world.now
}

pub(super) fn kind<T: Debug>(result: Result<T, Error>) -> Kind {
    result.unwrap_err().kind
}
