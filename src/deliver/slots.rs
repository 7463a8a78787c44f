//! How many tries are under way, and how many more may begin. Pure.

use std::collections::BTreeMap;

/// Counts the tries under way, so that they stay within their bounds: of all receivers, and of each.
pub(super) struct Slots {
    overall: usize,
    per_receiver: usize,
    claim_max: usize,
    in_flight: usize,
    by_receiver: BTreeMap<String, usize>,
}

/// What to ask the store for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) limit: usize,
    pub(super) per_receiver: usize,
    pub(super) full: Vec<String>,
}

impl Slots {
    pub(super) fn new(overall: usize, per_receiver: usize, claim_max: usize) -> Self {
        Self { overall, per_receiver, claim_max, in_flight: 0, by_receiver: BTreeMap::new() }
    }

    /// A claim names one number for all receivers, whatever each has under way. So it takes at most half of a receiver's
    /// bound, and none of receivers that have more than the other half under way: the sum never exceeds the bound, and
    /// a receiver with nothing under way is never left out.
    pub(super) fn ask(&self) -> Ask {
        let per_receiver = self.per_receiver.div_ceil(2);
        let spare = self.per_receiver - per_receiver;
        let full = self.by_receiver.iter().filter(|(_, count)| **count > spare).map(|(name, _)| name.clone()).collect();
        Ask { limit: self.claim_max.min(self.overall - self.in_flight), per_receiver, full }
    }

    pub(super) fn take(&mut self, receiver: &str) {
        self.in_flight += 1;
        *self.by_receiver.entry(receiver.to_owned()).or_default() += 1;
    }

    pub(super) fn give_back(&mut self, receiver: &str) {
        let count = self.by_receiver.get_mut(receiver).expect("only what was taken is given back");
        *count -= 1;
        self.in_flight -= 1;
        if *count == 0 {
            self.by_receiver.remove(receiver);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_busy_receiver_is_left_out_and_others_are_not() {
        let mut slots = Slots::new(10, 3, 5);
        let check = |slots: &Slots, limit: usize, full: &[&str]| {
            let full = full.iter().map(|&name| name.to_owned()).collect();
            assert_eq!(slots.ask(), Ask { limit, per_receiver: 2, full });
        };
        check(&slots, 5, &[]);
        slots.take("hangs");
        check(&slots, 5, &[]);
        slots.take("hangs");
        slots.take("other");
        check(&slots, 5, &["hangs"]);
        for _ in 0..5 {
            slots.take("many");
        }
        check(&slots, 2, &["hangs", "many"]);
        slots.give_back("hangs");
        check(&slots, 3, &["many"]);
    }

    proptest! {
        /// Whatever a store may answer to an ask, the bounds hold; and while there is room at all, a receiver with
        /// nothing under way may be claimed.
        #[test]
        fn the_bounds_hold(
            overall in 1_usize..20,
            per_receiver in 1_usize..20,
            claim_max in 1_usize..20,
            steps in prop::collection::vec((0_usize..5, 0_usize..20, any::<bool>()), 1..60),
        ) {
            let per_receiver = per_receiver.min(overall);
            let mut slots = Slots::new(overall, per_receiver, claim_max);
            let mut under_way: Vec<String> = vec![];
            for (receiver, count, claims) in steps {
                let receiver = format!("r{receiver}");
                let of_it = under_way.iter().filter(|name| **name == receiver).count();
                if !claims {
                    if let Some(at) = under_way.iter().position(|name| *name == receiver) {
                        slots.give_back(&under_way.remove(at));
                    }
                    continue;
                }
                let ask = slots.ask();
                prop_assert!(ask.per_receiver >= 1);
                prop_assert!(of_it > 0 || !ask.full.contains(&receiver));
                if ask.full.contains(&receiver) {
                    continue;
                }
                for _ in 0..count.min(ask.limit).min(ask.per_receiver) {
                    slots.take(&receiver);
                    under_way.push(receiver.clone());
                }
                prop_assert!(under_way.len() <= overall);
                prop_assert!(under_way.iter().filter(|name| **name == receiver).count() <= per_receiver);
            }
        }
    }
}
