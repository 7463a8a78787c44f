//! What of an account fails and answers together, as one service of the cloud serves it. Pure.
//!
//! Guarantees: a service that is down closes no eye on what others serve. An account stands as its instances and realms do, which
//! are watched in every account; that nobody could look at another part is said of that part afterwards, as a gap.

use jiff::SignedDuration;

use super::circuit::Circuit;
use crate::model::Collection;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The one that speaks for the account.
    Compute,
    Storage,
    Images,
}

impl Part {
    pub(super) fn of(collection: Collection) -> Self {
        match collection {
            Collection::Instances | Collection::Realms => Self::Compute,
            Collection::StorageVolumes | Collection::StorageSnapshots => Self::Storage,
            Collection::Images => Self::Images,
        }
    }
}

/// A circuit for each part of an account.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    compute: Circuit,
    storage: Circuit,
    images: Circuit,
}

impl Parts {
    pub(super) fn of(&mut self, part: Part) -> &mut Circuit {
        match part {
            Part::Compute => &mut self.compute,
            Part::Storage => &mut self.storage,
            Part::Images => &mut self.images,
        }
    }

    /// See [`Circuit::try_now`].
    pub(super) fn try_now(&mut self) {
        for part in self.all() {
            part.try_now();
        }
    }

    /// See [`Circuit::clock_set`].
    pub(super) fn clock_set(&mut self, by: SignedDuration) {
        for part in self.all() {
            part.clock_set(by);
        }
    }

    fn all(&mut self) -> [&mut Circuit; 3] {
        [&mut self.compute, &mut self.storage, &mut self.images]
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::Settings;
    use super::super::circuit::{Admission, Heard};
    use super::*;
    use crate::model::Standing;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn note(parts: &mut Parts, collection: Collection, heard: Heard, times: i64) {
        for second in 0..times {
            parts.of(Part::of(collection)).note(collection, heard, at(second), 0.5, &Settings::default());
        }
    }

    #[test]
    fn what_one_service_serves_is_left_alone_alone() {
        let mut parts = Parts::default();
        note(&mut parts, Collection::StorageVolumes, Heard::Fault, 5);
        let mut check = |collection, expected| {
            let admission = parts.of(Part::of(collection)).admit(collection, at(10), &Settings::default());
            assert_eq!(admission == Admission::Go, expected, "{collection}");
        };
        check(Collection::StorageVolumes, false);
        check(Collection::StorageSnapshots, false);
        check(Collection::Images, true);
        check(Collection::Instances, true);
        check(Collection::Realms, true);
        parts.try_now();
        assert_eq!(parts.storage.standing(), Standing::Reachable);
    }
}
