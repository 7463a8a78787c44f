//! What processes used and how long things took. Nothing but arithmetic, and two files of the kernel.

use std::fmt;

use serde::Serialize;

/// What a process used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    /// Processor seconds of all its threads, user and system.
    pub(super) cpu_s: f64,
    /// The most memory it ever held. MiB.
    pub(super) memory_peak_mib: f64,
}

/// The unit of times in `/proc/PID/stat`: 100 a second on every Linux, whatever the kernel's own tick is.
const TICKS_A_SECOND: f64 = 100.0;

impl Usage {
    pub(super) fn own() -> Self {
        Self::of("self")
    }

    /// Zeros where there is no `/proc`.
    pub(super) fn of(process: &str) -> Self {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
        Self {
            cpu_s: ticks(&file("stat")).unwrap_or_default() as f64 / TICKS_A_SECOND,
            memory_peak_mib: kib(&file("status"), "VmHWM:").unwrap_or_default() as f64 / 1024.0,
        }
    }

    /// Processor seconds between an earlier moment and this one.
    pub(super) fn cpu_since(self, earlier: Self) -> f64 {
        self.cpu_s - earlier.cpu_s
    }
}

/// `utime` and `stime` of a `stat` line. The name in its second field may hold spaces and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u64>().ok();
    Some(next()? + next()?)
}

/// A figure of a `status` file.
fn kib(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What this process holds now. MiB; 0 where there is no `/proc`.
pub(super) fn memory_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib(&status, "VmRSS:").unwrap_or_default() as f64 / 1024.0
}

/// How many processes wanted a processor over the last minute: above a fraction of 1, somebody else is measured as well.
pub(super) fn load() -> f64 {
    load_of(&std::fs::read_to_string("/proc/loadavg").unwrap_or_default()).unwrap_or_default()
}

/// The first number of `loadavg`.
fn load_of(loadavg: &str) -> Option<f64> {
    loadavg.split_whitespace().next()?.parse().ok()
}

/// How long things took. Milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

impl Spread {
    /// Zeros when there is nothing.
    pub(super) fn of(mut micros: Vec<i64>) -> Self {
        micros.sort_unstable();
        let ms = |percent| rank(&micros, percent) as f64 / 1000.0;
        Self { p50_ms: ms(50), p99_ms: ms(99), max_ms: ms(100) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1}, p99 {:.1}, most {:.1} ms", self.p50_ms, self.p99_ms, self.max_ms)
    }
}

/// The smallest value that at least `percent` of them do not exceed; 0 of none.
fn rank(sorted: &[i64], percent: usize) -> i64 {
    let place = (sorted.len() * percent).div_ceil(100);
    sorted.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

/// A rate: `count` in `micros`; 0 in no time.
pub(super) fn per_second(count: usize, micros: i64) -> f64 {
    if micros <= 0 { 0.0 } else { round(count as f64 * 1e6 / micros as f64, 1) }
}

/// A quotient as printed; 0 when there is nothing to divide by.
pub(super) fn ratio(over: f64, under: f64) -> f64 {
    if under > 0.0 { round(over / under, 100) } else { 0.0 }
}

/// To so many parts of one.
pub(super) fn round(value: f64, parts: u32) -> f64 {
    (value * f64::from(parts)).round() / f64::from(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        let check = |micros: Vec<i64>, expected: (f64, f64, f64)| {
            let spread = Spread::of(micros);
            assert_eq!((spread.p50_ms, spread.p99_ms, spread.max_ms), expected);
        };
        check(vec![], (0.0, 0.0, 0.0));
        check(vec![7000], (7.0, 7.0, 7.0));
        check(vec![3000, 1000, 2000], (2.0, 3.0, 3.0));
        check((1..=100).rev().map(|n| n * 1000).collect(), (50.0, 99.0, 100.0));
        check((1..=200).map(|n| n * 1000).collect(), (100.0, 198.0, 200.0));
    }

    #[test]
    fn processor_time_is_read_behind_a_name_with_brackets() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 900 0 0 0 250 31 7 8 20 0 5 0 100 1000 200";
        assert_eq!(ticks(stat), Some(281));
        assert_eq!(ticks("42 (tracker) S 1"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn peak_memory_is_read() {
        assert_eq!(
            kib("Name:\ttracker\nVmPeak:\t  9 kB\nVmHWM:\t   20480 kB\nVmRSS:\t 1 kB\n", "VmHWM:"),
            Some(20_480)
        );
        assert_eq!(kib("Name:\ttracker\n", "VmHWM:"), None);
    }

    #[test]
    fn the_load_of_the_last_minute_is_read() {
        assert_eq!((load_of("2.57 1.58 0.98 3/200 4711\n"), load_of("")), (Some(2.57), None));
    }

    #[test]
    fn rates_and_ratios_of_nothing_are_nothing() {
        assert_eq!((per_second(5, 0), per_second(5, -3), per_second(500, 2_000_000)), (0.0, 0.0, 250.0));
        assert_eq!((ratio(1.0, 0.0), ratio(1.0, 3.0)), (0.0, 0.33));
    }
}
