//! What was owed held against what arrived: was anything lost, repeated, or out of order? Pure.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::wire::Receipt;

/// One delivery that was committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    pub(super) hook: u32,
    pub(super) seq: u64,
    pub(super) resource: u32,
    /// When the commit was seen to have returned. Microseconds since 1970.
    pub(super) committed_us: i64,
}

/// How the promises were kept: all 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Promises {
    pub(super) lost: usize,
    pub(super) duplicated: usize,
    /// First arrivals that came after a younger change of the same hook and resource.
    pub(super) out_of_order: usize,
    /// Arrivals that nobody owed.
    pub(super) unexpected: usize,
}

/// What the receipts say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) promises: Promises,
    /// From commit to first arrival, of each delivery that arrived. Microseconds.
    pub(super) latencies_us: Vec<i64>,
    /// Of any first arrival. Microseconds since 1970.
    pub(super) last_us: i64,
}

impl Promises {
    pub(super) fn kept(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Promises {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lost, duplicated, out_of_order, unexpected } = self;
        write!(f, "lost {lost}, duplicated {duplicated}, out of order {out_of_order}, unexpected {unexpected}")
    }
}

/// `receipts` in the order of arrival.
pub(super) fn judge(owed: &[Owed], receipts: &[Receipt]) -> Judgement {
    let by_name: HashMap<(u32, u64), &Owed> = owed.iter().map(|one| ((one.hook, one.seq), one)).collect();
    let mut judgement = Judgement::default();
    let mut arrived = HashSet::with_capacity(receipts.len());
    let mut newest: HashMap<(u32, u32), u64> = HashMap::new();
    for Receipt { hook, seq, at_us } in receipts {
        let Some(owed) = by_name.get(&(*hook, *seq)) else {
            judgement.promises.unexpected += 1;
            continue;
        };
        if !arrived.insert((*hook, *seq)) {
            judgement.promises.duplicated += 1;
            continue;
        }
        let newest = newest.entry((*hook, owed.resource)).or_default();
        if *seq < *newest {
            judgement.promises.out_of_order += 1;
        }
        *newest = (*newest).max(*seq);
        judgement.latencies_us.push((at_us - owed.committed_us).max(0));
        judgement.last_us = judgement.last_us.max(*at_us);
    }
    judgement.promises.lost = by_name.len() - arrived.len();
    judgement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_broken_promise_is_counted() {
        let owed: Vec<_> = [(1, 1, 7), (1, 2, 7), (1, 3, 8), (2, 3, 8)]
            .map(|(hook, seq, resource)| Owed { hook, seq, resource, committed_us: 100 })
            .into();
        let check = |arrivals: &[(u32, u64)],
                     (lost, duplicated, out_of_order, unexpected): (usize, usize, usize, usize)| {
            let receipts: Vec<_> =
                (101..).zip(arrivals).map(|(at_us, &(hook, seq))| Receipt { hook, seq, at_us }).collect();
            let expected = Promises { lost, duplicated, out_of_order, unexpected };
            assert_eq!(judge(&owed, &receipts).promises, expected, "{arrivals:?}");
        };
        check(&[(1, 1), (1, 2), (1, 3), (2, 3)], (0, 0, 0, 0));
        // Resources and hooks do not wait for one another.
        check(&[(2, 3), (1, 3), (1, 1), (1, 2)], (0, 0, 0, 0));
        check(&[(1, 2), (1, 1), (1, 3), (2, 3)], (0, 0, 1, 0));
        check(&[(1, 1), (1, 1), (1, 2), (1, 1), (1, 3), (2, 3)], (0, 2, 0, 0));
        check(&[(1, 1), (1, 3)], (2, 0, 0, 0));
        check(&[(2, 1), (1, 1), (1, 2), (1, 3), (2, 3)], (0, 0, 0, 1));
        check(&[], (4, 0, 0, 0));
    }

    #[test]
    fn a_latency_runs_from_the_commit_to_the_first_arrival() {
        let owed = [Owed { hook: 1, seq: 1, resource: 1, committed_us: 100 }];
        let receipt = |at_us| Receipt { hook: 1, seq: 1, at_us };
        let judgement = judge(&owed, &[receipt(130), receipt(150)]);
        assert_eq!((judgement.latencies_us, judgement.last_us), (vec![30], 130));
        // It was on its way before we saw the commit return.
        assert_eq!(judge(&owed, &[receipt(99)]).latencies_us, [0]);
    }
}
