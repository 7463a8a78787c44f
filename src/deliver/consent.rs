//! The handshake of CloudEvents' webhooks: may we call, and how often? Pure: the answer and the time come in.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::HeaderMap;

use crate::model::HookId;

pub(super) const REQUEST_ORIGIN: &str = "webhook-request-origin";
pub(super) const REQUEST_RATE: &str = "webhook-request-rate";
const ALLOWED_ORIGIN: &str = "webhook-allowed-origin";
const ALLOWED_RATE: &str = "webhook-allowed-rate";

/// What a receiver allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Consent {
    /// The time between two calls; `None`: as often as we like.
    pub(super) pace: Option<Duration>,
}

impl Consent {
    /// Reads the answer to our `OPTIONS`. Only the header that names us, or everybody, is consent; a status never is.
    pub(super) fn read(headers: &HeaderMap, origin: &str) -> Option<Self> {
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let allowed = said(ALLOWED_ORIGIN)?;
        if allowed != "*" && !allowed.eq_ignore_ascii_case(origin) {
            return None;
        }
        let per_minute = said(ALLOWED_RATE).and_then(|rate| rate.parse::<u32>().ok()).filter(|rate| *rate > 0);
        // Rounded up: an allowance is not to be exceeded.
        Some(Self { pace: per_minute.map(|rate| Duration::from_millis(60_000_u64.div_ceil(u64::from(rate)))) })
    }
}

/// What hooks' receivers allow, as long as it is good.
#[derive(Default)]
pub(super) struct Consents {
    given: HashMap<HookId, Given>,
    asking: HashSet<HookId>,
}

struct Given {
    /// Of the hook: another callback has to be asked anew.
    version: u64,
    until: Timestamp,
    pace: Option<Duration>,
    /// When the next call is allowed.
    next_at: Timestamp,
    /// After whom the next that has to wait comes: each has a moment of its own.
    waiting_until: Timestamp,
}

/// What to do with a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum May {
    Send,
    /// Send after the receiver has consented.
    Ask,
    Wait {
        until: Timestamp,
    },
}

/// Consents remembered; beyond that they are forgotten and asked for again.
const CONSENTS_MAX: usize = 50_000;
/// How long deliveries wait while another of their hook asks.
const WHILE_ASKING: Duration = Duration::from_secs(1);

impl Consents {
    pub(super) fn may(&mut self, hook: &HookId, version: u64, now: Timestamp) -> May {
        match self.given.get_mut(hook).filter(|given| given.version == version && now < given.until) {
            Some(Given { pace: None, .. }) => May::Send,
            Some(Given { pace: Some(pace), next_at, waiting_until, .. }) => {
                // Never more than a pace ahead, unless the clock was set back.
                if *next_at > now + *pace {
                    *next_at = now + *pace;
                    *waiting_until = *next_at;
                }
                if *next_at <= now {
                    // The moments keep their distance: who comes a little late to his own takes nothing from the next, who
                    // would else have to wait behind all others.
                    *next_at = (*next_at + *pace).max(now);
                    return May::Send;
                }
                let until = (*next_at).max(*waiting_until);
                *waiting_until = until + *pace;
                May::Wait { until }
            }
            None if self.asking.contains(hook) => May::Wait { until: now + WHILE_ASKING },
            None => {
                self.asking.insert(hook.clone());
                May::Ask
            }
        }
    }

    /// What came of asking; `None`: nothing that we may call for.
    pub(super) fn asked(
        &mut self,
        hook: &HookId,
        version: u64,
        consent: Option<Consent>,
        now: Timestamp,
        valid: Duration,
    ) {
        self.asking.remove(hook);
        if self.given.len() >= CONSENTS_MAX {
            self.given.clear();
        }
        match consent {
            Some(Consent { pace }) => {
                let next_at = now + pace.unwrap_or_default();
                let given = Given { version, until: now + valid, pace, next_at, waiting_until: next_at };
                self.given.insert(hook.clone(), given);
            }
            None => drop(self.given.remove(hook)),
        }
    }

    /// As when nothing is under way.
    pub(super) fn clear_asking(&mut self) {
        self.asking.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_header_that_names_us_is_consent() {
        let check = |headers: &[(&'static str, &str)], want: Option<Option<u64>>| {
            let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
            let got = Consent::read(&headers, "tracker.example");
            assert_eq!(got.map(|consent| consent.pace.map(|pace| pace.as_millis())), want.map(|ms| ms.map(u128::from)));
        };
        check(&[], None);
        check(&[("allow", "POST"), ("webhook-allowed-rate", "100")], None);
        check(&[("webhook-allowed-origin", "other.example")], None);
        check(&[("webhook-allowed-origin", "")], None);
        check(&[("webhook-allowed-origin", "*")], Some(None));
        check(&[("webhook-allowed-origin", "Tracker.Example")], Some(None));
        check(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", "*")], Some(None));
        check(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", "120")], Some(Some(500)));
        check(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", "7")], Some(Some(8572)));
        check(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", "0")], Some(None));
        check(&[("webhook-allowed-origin", "*"), ("webhook-allowed-rate", "many")], Some(None));
    }

    #[test]
    fn one_asks_the_others_wait_and_the_rate_is_kept() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let valid = Duration::from_secs(1000);
        let hook = HookId("hook_1".to_owned());
        let mut consents = Consents::default();
        assert_eq!(consents.may(&hook, 1, at(0)), May::Ask);
        assert_eq!(consents.may(&hook, 1, at(0)), May::Wait { until: at(1) });
        consents.asked(&hook, 1, None, at(2), valid);
        assert_eq!(consents.may(&hook, 1, at(2)), May::Ask, "refused is asked again with the next try");
        let consent = Consent { pace: Some(Duration::from_secs(10)) };
        consents.asked(&hook, 1, Some(consent), at(3), valid);
        // The one that asked was sent at 3; each of the others has a moment of its own.
        for until in [13, 23, 33] {
            assert_eq!(consents.may(&hook, 1, at(4)), May::Wait { until: at(until) });
        }
        assert_eq!(consents.may(&hook, 1, at(13)), May::Send, "who waited is not sent to the end");
        assert_eq!(consents.may(&hook, 1, at(23)), May::Send);
        assert_eq!(consents.may(&hook, 1, at(24)), May::Wait { until: at(43) });
        assert_eq!(consents.may(&hook, 1, at(50)), May::Send);
        assert_eq!(consents.may(&hook, 2, at(50)), May::Ask, "it is called elsewhere now");
        consents.asked(&hook, 2, Some(Consent { pace: None }), at(50), valid);
        assert_eq!(consents.may(&hook, 2, at(51)), May::Send);
        assert_eq!(consents.may(&hook, 2, at(51)), May::Send);
        assert_eq!(consents.may(&hook, 2, at(1050)), May::Ask, "it is not good for ever");
    }

    #[test]
    fn who_comes_a_little_late_takes_nothing_from_the_next() {
        let at = |ms: i64| Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap();
        let hook = HookId("hook_1".to_owned());
        let mut consents = Consents::default();
        let pace = Some(Duration::from_secs(10));
        consents.asked(&hook, 1, Some(Consent { pace }), at(0), Duration::from_secs(100_000));
        for until in 1..=4 {
            assert_eq!(consents.may(&hook, 1, at(1)), May::Wait { until: at(until * 10_000) });
        }
        for late in [10_200, 20_001, 30_300, 40_000] {
            assert_eq!(consents.may(&hook, 1, at(late)), May::Send, "{late}");
        }
        // Much later there is no allowance saved up, but for the one moment that was missed.
        let sent = (0..10).filter(|_| consents.may(&hook, 1, at(1_000_000)) == May::Send).count();
        assert!(sent <= 2, "{sent} at once");
    }

    #[test]
    fn a_clock_set_back_keeps_nobody_waiting_for_it() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).unwrap();
        let hook = HookId("hook_1".to_owned());
        let mut consents = Consents::default();
        let consent = Consent { pace: Some(Duration::from_secs(10)) };
        consents.asked(&hook, 1, Some(consent), at(3600), Duration::from_secs(100_000));
        assert_eq!(consents.may(&hook, 1, at(0)), May::Wait { until: at(10) });
    }
}
