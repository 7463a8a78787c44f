use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::circuit::Rules;
use super::{Schedule, Sender, lanes};
use crate::outbound::{self, Outbound};

/// `[deliver]` of the settings file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Networks whose addresses may be called although they are private, loopback or otherwise special, as `10.1.0.0/16`.
    /// None by default: anyone with an account may set a hook, and must not reach what only this machine can.
    pub allow_networks: Vec<IpNet>,
    /// The forward proxy that callbacks go through, as `http://user:password@proxy.example:3128`; empty, the default: none.
    /// Providers are called without it. It may lie in any network; what it may reach is for its own rules to say too.
    pub proxy: outbound::ProxyUrl,

    /// For one try, from the name to the last byte of the answer. Milliseconds; 15 s, the least that webhook receivers are
    /// told to expect.
    pub deadline_ms: u64,
    /// For the name, TCP and TLS, within the deadline. Milliseconds; 5 s.
    pub connect_timeout_ms: u64,
    /// Read of an answer; the rest is not waited for. Bytes; 16 KiB keeps connections usable behind chatty receivers.
    pub answer_bytes_read: usize,
    /// Kept of an answer, for the owner of the hook to look at. Bytes; 1 KiB.
    pub answer_bytes_kept: usize,

    /// The longest wait after the first failure, the second, and so on. Milliseconds; 5 s, 30 s, 2 min, 10 min, 30 min,
    /// 1 h, 3 h, 6 h, 12 h: quick for a restart, patient for an outage.
    pub steps_ms: Vec<u64>,
    /// The longest wait when the steps are used up. Milliseconds; a day.
    pub last_step_ms: u64,
    /// The least part of its step that a wait has; chance decides the rest. Percent; 10.
    pub wait_floor_percent: u8,
    /// No more tries this long after the change. Milliseconds; 3 days, a weekend and the morning after.
    pub give_up_after_ms: u64,
    /// Tries that are made even later than that, for what had to wait behind other changes or while Tracker was down. 3.
    pub tries_min: u32,
    /// The longest `Retry-After` that is obeyed. Milliseconds; a day.
    pub retry_after_max_ms: u64,
    /// The shortest and the longest wait after a fault of our own (no sockets, a silent resolver), which counts no try.
    /// Milliseconds; 10 s and 10 min.
    pub own_fault_wait_min_ms: u64,
    pub own_fault_wait_max_ms: u64,

    /// A hook whose callbacks all failed for so long is disabled when one of them has no tries left. Milliseconds; 5 days.
    pub disable_after_ms: u64,

    /// Threads that deliver, apart from those that answer requests and ask clouds. 2.
    pub threads: usize,
    /// Tries under way at once. 1,024, at some ten kilobytes each.
    pub in_flight: usize,
    /// Of these, to receivers that never answered, do not answer now, or are slow. 256: whoever works always finds slots.
    pub in_flight_suspects: usize,
    /// Of these, to the other receivers, tries that take longer than `slow_ms` no longer counted: when many receivers stop
    /// answering at once, those that work wait for that long and no longer. 512.
    pub in_flight_prompt: usize,
    /// Tries under way at once to one receiver (scheme, host and port) that keeps up; it begins with `window_first` and gets
    /// one more with each success. 64.
    pub in_flight_per_receiver: usize,
    /// Tries under way at once to a receiver of which nothing is known. 4.
    pub window_first: usize,
    /// A receiver that takes longer gets no slots but those of `in_flight_suspects`, and no more of them than before.
    /// Milliseconds; 1,000.
    pub slow_ms: u64,
    /// A receiver that answers within this gets its next deliveries claimed ahead, so that it need not wait for the store.
    /// Milliseconds; 100.
    pub fast_ms: u64,
    /// How many windows' worth of them. 4: the store's commits are shared by more, and the next is at hand when one ends.
    pub claim_ahead: usize,
    /// Failures in a row after which a receiver is left alone and then probed. 5.
    pub circuit_failures: u32,
    /// How long it is left alone at first, and at the longest; each time twice as long. Milliseconds; 5 s and 5 min.
    pub circuit_open_ms: u64,
    pub circuit_open_max_ms: u64,
    /// After an outage: deliveries sent at once, and how long until twice as many have been. 10, and 1,000 milliseconds: ten
    /// thousand take ten seconds.
    pub ramp_first: u32,
    pub ramp_step_ms: u64,
    /// Deliveries claimed from the store at once. 512.
    pub claim_max: usize,
    /// Deliveries claimed and not yet begun. 512.
    pub queued_max: usize,
    /// Receivers whose circuits are remembered. 20,000.
    pub receivers_max: usize,
    /// Ask receivers before they are called: the handshake of CloudEvents' webhooks. Off: most receivers do not know it.
    pub handshake: bool,
    /// Who asks: a host's name, put into `WebHook-Request-Origin`.
    pub handshake_origin: String,
    /// How many calls a minute we would like; 0 does not say. What the receiver allows is obeyed.
    pub handshake_rate: u32,
    /// How long a consent is good. Milliseconds; a day.
    pub handshake_valid_ms: u64,
    /// How long a claim holds, should we die over it. Milliseconds; 60 s. At least twice the deadline, or what is still under
    /// way would be claimed and sent again.
    pub claim_lease_ms: u64,
    /// While tries are under way, the store is asked at least this often for more. Milliseconds; 500.
    pub recheck_ms: u64,
    /// Idle connections kept for each receiver. 64.
    pub idle_per_receiver: usize,

    /// Test deliveries under way at once, of all hooks. 8.
    pub tests_max: usize,
    /// Resources whose state one resync sends. 10,000; who has more lists them.
    pub resync_max: usize,
    /// Deliveries that one recovery sends again, and of them in one transaction. 100,000 and 1,000.
    pub recover_max: usize,
    pub recover_batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        const SECOND: u64 = 1000;
        const MINUTE: u64 = 60 * SECOND;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        Self {
            allow_networks: vec![],
            proxy: outbound::ProxyUrl::default(),
            deadline_ms: 15 * SECOND,
            connect_timeout_ms: 5 * SECOND,
            answer_bytes_read: 16 * 1024,
            answer_bytes_kept: 1024,
            steps_ms: vec![
                5 * SECOND,
                30 * SECOND,
                2 * MINUTE,
                10 * MINUTE,
                30 * MINUTE,
                HOUR,
                3 * HOUR,
                6 * HOUR,
                12 * HOUR,
            ],
            last_step_ms: DAY,
            wait_floor_percent: 10,
            give_up_after_ms: 3 * DAY,
            tries_min: 3,
            retry_after_max_ms: DAY,
            own_fault_wait_min_ms: 10 * SECOND,
            own_fault_wait_max_ms: 10 * MINUTE,
            disable_after_ms: 5 * DAY,
            threads: 2,
            in_flight: 1_024,
            in_flight_suspects: 256,
            in_flight_prompt: 512,
            in_flight_per_receiver: 64,
            window_first: 4,
            fast_ms: 100,
            slow_ms: SECOND,
            claim_ahead: 4,
            circuit_failures: 5,
            circuit_open_ms: 5 * SECOND,
            circuit_open_max_ms: 5 * MINUTE,
            ramp_first: 10,
            ramp_step_ms: SECOND,
            claim_max: 512,
            queued_max: 512,
            receivers_max: 20_000,
            handshake: false,
            handshake_origin: "tracker".to_owned(),
            handshake_rate: 0,
            handshake_valid_ms: DAY,
            claim_lease_ms: 60 * SECOND,
            recheck_ms: 500,
            idle_per_receiver: 64,
            tests_max: 8,
            resync_max: 10_000,
            recover_max: 100_000,
            recover_batch: 1_000,
        }
    }
}

/// Longer makes no sense, and keeps sums within what a timestamp holds.
const YEAR_MS: u64 = 366 * 24 * 3600 * 1000;
const STEPS_MAX: usize = 100;

impl Settings {
    /// Are the values such that Tracker can start?
    ///
    /// # Errors
    /// A sentence that names the key and says what it should be.
    pub fn check(&self) -> Result<(), String> {
        outbound::Guard::new(&self.allow_networks).map_err(|err| format!("deliver.{err}"))?;
        self.proxy.read().map_err(|err| format!("deliver.proxy: {err}"))?;
        let times = [
            ("deadline_ms", self.deadline_ms),
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("last_step_ms", self.last_step_ms),
            ("give_up_after_ms", self.give_up_after_ms),
            ("retry_after_max_ms", self.retry_after_max_ms),
            ("own_fault_wait_min_ms", self.own_fault_wait_min_ms),
            ("own_fault_wait_max_ms", self.own_fault_wait_max_ms),
            ("claim_lease_ms", self.claim_lease_ms),
            ("recheck_ms", self.recheck_ms),
            ("disable_after_ms", self.disable_after_ms),
            ("handshake_valid_ms", self.handshake_valid_ms),
            ("fast_ms", self.fast_ms),
            ("slow_ms", self.slow_ms),
            ("circuit_open_ms", self.circuit_open_ms),
            ("circuit_open_max_ms", self.circuit_open_max_ms),
            ("ramp_step_ms", self.ramp_step_ms),
        ];
        let steps = self.steps_ms.iter().map(|step| ("steps_ms", *step));
        if let Some((key, value)) = times.into_iter().chain(steps).find(|(_, ms)| !(1..=YEAR_MS).contains(ms)) {
            return Err(format!("deliver.{key} is {value}: write 1 to {YEAR_MS} milliseconds"));
        }
        let counts = [
            ("answer_bytes_read", self.answer_bytes_read),
            ("in_flight", self.in_flight),
            ("in_flight_prompt", self.in_flight_prompt),
            ("in_flight_per_receiver", self.in_flight_per_receiver),
            ("claim_max", self.claim_max),
            ("tests_max", self.tests_max),
            ("resync_max", self.resync_max),
            ("recover_max", self.recover_max),
            ("recover_batch", self.recover_batch),
            ("threads", self.threads),
            ("in_flight_suspects", self.in_flight_suspects),
            ("window_first", self.window_first),
            ("queued_max", self.queued_max),
            ("receivers_max", self.receivers_max),
            ("circuit_failures", self.circuit_failures as usize),
            ("ramp_first", self.ramp_first as usize),
        ];
        if let Some((key, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return Err(format!("deliver.{key} is 0: write at least 1"));
        }
        let rules = [
            (self.steps_ms.len() <= STEPS_MAX, "deliver.steps_ms has more than 100 steps".to_owned()),
            (
                (1..=100).contains(&self.wait_floor_percent),
                format!("deliver.wait_floor_percent is {}: write 1 to 100", self.wait_floor_percent),
            ),
            (
                self.connect_timeout_ms <= self.deadline_ms,
                "deliver.connect_timeout_ms is longer than deliver.deadline_ms, of which it is a part".to_owned(),
            ),
            (
                is_host(&self.handshake_origin),
                format!("deliver.handshake_origin `{}` is no host's name, as `tracker.example`", self.handshake_origin),
            ),
            (
                !self.handshake || self.claim_lease_ms / 3 >= self.deadline_ms,
                "deliver.claim_lease_ms is less than three times deliver.deadline_ms, which deliver.handshake needs".to_owned(),
            ),
            (
                self.claim_lease_ms / 2 >= self.deadline_ms,
                "deliver.claim_lease_ms is less than twice deliver.deadline_ms: what is still being sent would be sent again"
                    .to_owned(),
            ),
            (
                self.own_fault_wait_min_ms <= self.own_fault_wait_max_ms,
                "deliver.own_fault_wait_min_ms is more than deliver.own_fault_wait_max_ms".to_owned(),
            ),
            (
                self.in_flight_per_receiver <= self.in_flight,
                "deliver.in_flight_per_receiver is more than deliver.in_flight, of which it is a part".to_owned(),
            ),
            (
                self.threads <= 256,
                format!("deliver.threads is {}: write 1 to 256", self.threads),
            ),
            (
                self.in_flight_suspects <= self.in_flight,
                "deliver.in_flight_suspects is more than deliver.in_flight, of which it is a part".to_owned(),
            ),
            (
                self.window_first <= self.in_flight_per_receiver,
                "deliver.window_first is more than deliver.in_flight_per_receiver, to which it grows".to_owned(),
            ),
            (
                self.claim_ahead <= 100,
                format!("deliver.claim_ahead is {}: write at most 100", self.claim_ahead),
            ),
            (
                self.circuit_open_ms <= self.circuit_open_max_ms,
                "deliver.circuit_open_ms is more than deliver.circuit_open_max_ms".to_owned(),
            ),
            (
                self.answer_bytes_kept <= self.answer_bytes_read,
                "deliver.answer_bytes_kept is more than deliver.answer_bytes_read".to_owned(),
            ),
        ];
        match rules.into_iter().find(|(kept, _)| !kept) {
            Some((_, broken)) => Err(broken),
            None => Ok(()),
        }
    }

    /// How this room goes out: make its [`outbound::Outbound`] of this.
    pub fn outbound(&self) -> outbound::Settings {
        outbound::Settings {
            allow_networks: self.allow_networks.clone(),
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            idle_per_host: self.idle_per_receiver,
            user_agent: concat!("Tracker/", env!("CARGO_PKG_VERSION")).to_owned(),
            ca_file: None,
        }
    }

    pub fn schedule(&self) -> Schedule {
        let ms = Duration::from_millis;
        Schedule {
            steps: self.steps_ms.iter().copied().map(ms).collect(),
            last_step: ms(self.last_step_ms),
            give_up_after: ms(self.give_up_after_ms),
            tries_min: self.tries_min,
            wait_floor: f64::from(self.wait_floor_percent) / 100.0,
            retry_after_max: ms(self.retry_after_max_ms),
            own_fault_wait: (ms(self.own_fault_wait_min_ms), ms(self.own_fault_wait_max_ms)),
            disable_after: ms(self.disable_after_ms),
        }
    }

    /// What makes single tries.
    pub fn sender(&self, outbound: Outbound) -> Sender {
        let sender = Sender::new(outbound, self.bounds(), self.answer_bytes_kept);
        if self.handshake { sender.announcing(&self.handshake_origin) } else { sender }
    }

    pub(super) fn rules(&self) -> Rules {
        let ms = Duration::from_millis;
        Rules {
            window_first: self.window_first,
            window_max: self.in_flight_per_receiver,
            failures: self.circuit_failures,
            open: ms(self.circuit_open_ms),
            open_max: ms(self.circuit_open_max_ms),
            ramp_first: self.ramp_first,
            ramp_step: ms(self.ramp_step_ms),
            fast: ms(self.fast_ms),
            slow: ms(self.slow_ms),
            ahead: self.claim_ahead,
        }
    }

    pub(super) fn lanes(&self) -> lanes::Bounds {
        lanes::Bounds {
            overall: self.in_flight,
            suspects: self.in_flight_suspects,
            prompt: self.in_flight_prompt,
            claim_max: self.claim_max,
            queued_max: self.queued_max,
            lanes_max: self.receivers_max,
        }
    }

    pub fn bounds(&self) -> outbound::Bounds {
        outbound::Bounds {
            deadline: Duration::from_millis(self.deadline_ms),
            body_bytes_max: self.answer_bytes_read,
            // The status is the answer; the body is only for people.
            cut: true,
        }
    }
}

fn is_host(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_work_are_refused_by_name() {
        let check = |toml: &str, want: &str| {
            let settings: Settings = toml::from_str(toml).unwrap();
            let got = settings.check().err().unwrap_or_default();
            assert!(got.contains(want) && got.is_empty() == want.is_empty(), "{toml}: {got}");
        };
        check("", "");
        check("allow_networks = ['127.0.0.0/8', '::1/128']", "");
        check("proxy = ''", "");
        check("proxy = 'http://user:pass@10.0.0.1:3128'", "");
        check("proxy = 'https://proxy'", "deliver.proxy: it is no URL like http://");
        check("steps_ms = []", "");
        check("deadline_ms = 30\nconnect_timeout_ms = 30\nclaim_lease_ms = 60", "");
        check("allow_networks = ['10.0.0.0/8', '0.0.0.0/0']", "deliver.allow_networks: 0.0.0.0/0");
        check("steps_ms = [5, 0]", "deliver.steps_ms is 0");
        check("give_up_after_ms = 99999999999999", "deliver.give_up_after_ms is");
        check("recheck_ms = 0", "deliver.recheck_ms is 0");
        check("in_flight = 0", "deliver.in_flight is 0");
        check("claim_max = 0", "deliver.claim_max is 0");
        check("tests_max = 0", "deliver.tests_max is 0");
        check("recover_batch = 0", "deliver.recover_batch is 0");
        check("in_flight = 4", "deliver.in_flight_per_receiver is more");
        check("in_flight_suspects = 1025", "deliver.in_flight_suspects is more");
        check("window_first = 65", "deliver.window_first is more");
        check("circuit_open_ms = 300001", "deliver.circuit_open_ms is more");
        check("ramp_first = 0", "deliver.ramp_first is 0");
        check("wait_floor_percent = 0", "deliver.wait_floor_percent is 0");
        check("wait_floor_percent = 101", "deliver.wait_floor_percent is 101");
        check("connect_timeout_ms = 20000", "deliver.connect_timeout_ms is longer");
        check("claim_lease_ms = 29999", "deliver.claim_lease_ms is less");
        check("own_fault_wait_min_ms = 600001", "deliver.own_fault_wait_min_ms is more");
        check("handshake = true", "");
        check("handshake_origin = 'a b'", "deliver.handshake_origin `a b`");
        check("handshake = true\nclaim_lease_ms = 40000", "deliver.claim_lease_ms is less than three");
        check("answer_bytes_kept = 20000", "deliver.answer_bytes_kept is more");
    }

    #[test]
    fn a_typo_is_refused() {
        let err = toml::from_str::<Settings>("deadlin_ms = 3").unwrap_err().to_string();
        assert!(err.contains("deadlin_ms"), "{err}");
        toml::from_str::<Settings>("allow_networks = ['10.0.0.0/33']").unwrap_err();
        toml::from_str::<Settings>("allow_networks = ['everything']").unwrap_err();
    }
}
