//! What can be set about the mock cloud. Nonsense (a rate over 1, a span that ends before it begins) does not parse.

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::faults::Fault;
use crate::model::Secret;

/// `[drivers.mock]` of the settings file. The default is the reference: no delays, nothing moves by itself.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Who may call. Everybody else is denied.
    pub user: String,
    #[serde(deserialize_with = "secret")]
    pub password: Secret,
    /// Begin with the instances, volumes and so on of the reference; otherwise with images, realms and sizes only.
    pub fixture: bool,
    /// A cloud that moves by itself, as `life` says.
    pub lively: bool,
    /// The same seed, clock and calls make the same history. None: another one at each start.
    pub seed: Option<u64>,
    /// Instances an account can have, those with a finished record included. Creating more is forbidden.
    pub instances_max: usize,
    /// Images, keys, volumes, snapshots, addresses, buckets, blobs, networks, subnets and network interfaces an account can have,
    /// each kind for itself. Creating more is forbidden.
    pub resources_max: usize,
    /// One blob with its metadata. Larger ones are forbidden. Bytes. They are kept in memory, for trying things out.
    pub blob_bytes_max: usize,
    /// All blobs of an account together; more are forbidden. Bytes. There can be this much for each account.
    pub blobs_bytes_max: usize,
    /// Accounts (provider and user) kept in memory; calls for more are forbidden.
    pub accounts_max: usize,
    /// Newest calls kept in the log, which tests read.
    pub calls_kept: usize,
    /// How long each call takes. Milliseconds of real time; 0 answers at once.
    pub latency_ms: u64,
    pub life: Life,
    /// Failures on purpose; the first that applies is raised.
    pub faults: Vec<Fault>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            user: "mockuser".to_owned(),
            password: Secret::from("mockpassword"),
            fixture: true,
            lively: false,
            seed: None,
            instances_max: 1_000,
            resources_max: 1_000,
            blob_bytes_max: 1 << 20,
            blobs_bytes_max: 4 << 20,
            accounts_max: 1_000,
            calls_kept: 1_000,
            latency_ms: 0,
            life: Life::default(),
            faults: Vec::new(),
        }
    }
}

impl Settings {
    /// Something to look at every few seconds, the first thing on `inst1` within five.
    pub fn demo(seed: u64) -> Self {
        let life = Life {
            boot_s: Span::secs(2, 4),
            addresses_s: Span::secs(1, 2),
            halt_s: Span::secs(1, 3),
            finish_s: Span::secs(8, 15),
            error_s: Span::secs(6, 12),
            launch_failures: Rate(0.15),
            opening_s: Span::secs(3, 5),
            power_every_s: Span::secs(3, 6),
            appear_every_s: Span::secs(8, 15),
            vanish_every_s: Span::secs(20, 40),
            instances_min: 3,
            realm_down_every_s: Span::secs(15, 30),
            realm_down_s: Span::secs(5, 10),
            image_s: Span::secs(4, 8),
            volume_s: Span::secs(2, 4),
            snapshot_s: Span::secs(3, 6),
        };
        Self { lively: true, seed: Some(seed), instances_max: 8, life, ..Self::default() }
    }
}

/// How a lively cloud moves. Each span is `[shortest, longest]` in seconds, drawn evenly; the defaults are those of a
/// cloud in a hurry.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Life {
    /// PENDING to RUNNING, or to ERROR.
    pub boot_s: Span,
    /// RUNNING to having addresses.
    pub addresses_s: Span,
    /// STOPPING to STOPPED.
    pub halt_s: Span,
    /// FINISH to leaving the list.
    pub finish_s: Span,
    /// ERROR to FINISH: the cloud clears up.
    pub error_s: Span,
    /// Launches that end in ERROR although their realm is available. 0 to 1. In a realm that is not, all do.
    pub launch_failures: Rate,
    /// From the start to the first stop of `inst1`. `[0, 0]`: not staged.
    pub opening_s: Span,
    /// Between two instances that stop or start by themselves. `[0, 0]`: never.
    pub power_every_s: Span,
    /// Between two new instances that nobody here asked for. `[0, 0]`: never.
    pub appear_every_s: Span,
    /// Between two instances that disappear without trace. `[0, 0]`: never.
    pub vanish_every_s: Span,
    /// None disappears when there are no more than this.
    pub instances_min: usize,
    /// Between two realms that become unavailable. `[0, 0]`: never.
    pub realm_down_every_s: Span,
    /// A realm's UNAVAILABLE to AVAILABLE.
    pub realm_down_s: Span,
    /// A new image's PENDING to AVAILABLE.
    pub image_s: Span,
    /// A volume's CREATING to AVAILABLE, ATTACHING to IN-USE, DETACHING to AVAILABLE, DELETING to leaving the list.
    pub volume_s: Span,
    /// A new snapshot's PENDING to COMPLETED.
    pub snapshot_s: Span,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            boot_s: Span::secs(5, 20),
            addresses_s: Span::secs(1, 5),
            halt_s: Span::secs(3, 10),
            finish_s: Span::secs(60, 300),
            error_s: Span::secs(30, 120),
            launch_failures: Rate(0.05),
            opening_s: Span::NEVER,
            power_every_s: Span::secs(60, 300),
            appear_every_s: Span::secs(120, 600),
            vanish_every_s: Span::secs(300, 900),
            instances_min: 2,
            realm_down_every_s: Span::secs(300, 1_200),
            realm_down_s: Span::secs(60, 300),
            image_s: Span::secs(20, 60),
            volume_s: Span::secs(2, 8),
            snapshot_s: Span::secs(10, 30),
        }
    }
}

impl Life {
    /// Nothing happens unless asked for; delays stay.
    pub fn quiet() -> Self {
        Self {
            launch_failures: Rate(0.0),
            power_every_s: Span::NEVER,
            appear_every_s: Span::NEVER,
            vanish_every_s: Span::NEVER,
            realm_down_every_s: Span::NEVER,
            ..Self::default()
        }
    }
}

/// A length of time between two bounds, both within. Written `[2, 8]`, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "[f64; 2]")]
pub struct Span {
    shortest_ms: u64,
    longest_ms: u64,
}

impl Span {
    pub const NEVER: Self = Self { shortest_ms: 0, longest_ms: 0 };

    /// # Panics
    /// When it ends before it begins.
    pub const fn secs(shortest: u64, longest: u64) -> Self {
        assert!(shortest <= longest, "a span ends after it begins");
        Self { shortest_ms: shortest * 1_000, longest_ms: longest * 1_000 }
    }

    pub(super) fn is_never(self) -> bool {
        self == Self::NEVER
    }

    /// Whole milliseconds between the bounds, at least one, so that time always moves on.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a day-long span of milliseconds is far below 2^52"
    )]
    pub(super) fn draw(self, roll: f64) -> Duration {
        let width = (self.longest_ms - self.shortest_ms + 1) as f64;
        let extra = ((width * roll) as u64).min(self.longest_ms - self.shortest_ms);
        Duration::from_millis((self.shortest_ms + extra).max(1))
    }
}

/// Longer spans make no sense in a mock, and would only hide a slip of the pen.
const LONGEST_S: f64 = 366.0 * 86_400.0;

impl TryFrom<[f64; 2]> for Span {
    type Error = String;

    fn try_from([shortest, longest]: [f64; 2]) -> Result<Self, Self::Error> {
        if !(0.0 <= shortest && shortest <= longest && longest <= LONGEST_S) {
            return Err(format!("[{shortest}, {longest}] is not a span: seconds, shortest first, at most a year"));
        }
        let ms = |seconds: f64| u64::try_from(Duration::from_secs_f64(seconds).as_millis()).expect("within a year");
        Ok(Self { shortest_ms: ms(shortest), longest_ms: ms(longest) })
    }
}

/// How often, from 0 (never) to 1 (always).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(try_from = "f64")]
pub struct Rate(f64);

impl Rate {
    pub const ALWAYS: Self = Self(1.0);

    /// `roll`: 0 to 1, 1 excluded.
    pub(super) fn hits(self, roll: f64) -> bool {
        roll < self.0
    }
}

impl TryFrom<f64> for Rate {
    type Error = String;

    fn try_from(rate: f64) -> Result<Self, Self::Error> {
        if (0.0..=1.0).contains(&rate) { Ok(Self(rate)) } else { Err(format!("{rate} is not a rate from 0 to 1")) }
    }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::Kind;
    use crate::model::ExposeSecret as _;

    #[test]
    fn a_settings_file_says_it_in_seconds() {
        let text = r#"
            password = "swordfish"
            lively = true
            seed = 7
            [life]
            boot_s = [2, 2.5]
            launch_failures = 1
            [[faults]]
            calls = ["instances", "look"]
            kind = "throttled"
            rate = 0.5
            from_s = 60
            until_s = 120
            after_s = 9
        "#;
        let settings: Settings = toml::from_str(text).unwrap();
        assert_eq!(settings.user, "mockuser");
        assert_eq!(settings.password.expose_secret(), "swordfish");
        assert_eq!(settings.life.boot_s, Span { shortest_ms: 2_000, longest_ms: 2_500 });
        assert_eq!(settings.life.launch_failures, Rate::ALWAYS);
        assert_eq!(settings.life.halt_s, Life::default().halt_s);
        assert_eq!(settings.faults.len(), 1);
        assert_eq!(settings.faults[0].kind(), Kind::Throttled { after: Some(Duration::from_secs(9)) });
        assert!(!format!("{settings:?}").contains("swordfish"));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        let check = |text: &str, reason: &str| {
            let error = toml::from_str::<Settings>(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        };
        check("livly = true", "unknown field");
        check("[life]\nboot_s = [8, 2]", "[8, 2] is not a span");
        check("[life]\nboot_s = [-1, 2]", "is not a span");
        check("[life]\nboot_s = [0, nan]", "is not a span");
        check("[life]\nboot_s = [0, 1e300]", "at most a year");
        check("[life]\nboot_s = 2", "invalid type");
        check("[life]\nlaunch_failures = 1.5", "1.5 is not a rate");
        check("[[faults]]\nkind = \"tired\"", "unknown variant");
        check("[[faults]]\ncalls = [\"instanses\"]\nkind = \"denied\"", "unknown variant");
        check("[[faults]]\nrate = 0.5", "missing field `kind`");
    }

    #[test]
    fn a_draw_stays_between_the_bounds_and_reaches_both() {
        let check = |span: Span, roll, ms| assert_eq!(span.draw(roll), Duration::from_millis(ms), "{span:?} {roll}");
        check(Span::secs(2, 4), 0.0, 2_000);
        check(Span::secs(2, 4), 0.5, 3_000);
        check(Span::secs(2, 4), 0.999_999_9, 4_000);
        check(Span::secs(2, 2), 0.7, 2_000);
        check(Span::NEVER, 0.0, 1);
    }
}
