use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Address, Availability, Collection, Figure, InstanceState, RealmState, Signal, Standing, Why};

/// A change's place in its account's log: 1, 2, 3 … without holes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `chg_` and a UUIDv7 in hex: unique everywhere, the same on every attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(pub String);

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One difference between what was known and what was seen. Immutable once recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub id: ChangeId,
    /// When Tracker recorded it.
    pub at: Timestamp,
    pub subject: Subject,
    pub observed: Observed,
    pub news: News,
}

/// A change with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub seq: Seq,
    pub change: Change,
}

/// What kind of thing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A resource of the backend.
    Of(Collection),
    /// A hook of the account itself.
    Hooks,
    /// The account itself. The id is a collection of it, or [`Topic::WHOLE`].
    Account,
}

impl Topic {
    /// The id of an account's changes that are about all of it.
    pub const WHOLE: &str = "account";

    /// As in paths and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Of(collection) => collection.as_str(),
            Self::Hooks => "hooks",
            Self::Account => "account",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        let own = [Self::Hooks, Self::Account].into_iter().find(|own| own.as_str() == text);
        own.or_else(|| Collection::parse(text).map(Self::Of))
    }
}

impl From<Collection> for Topic {
    fn from(collection: Collection) -> Self {
        Self::Of(collection)
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    pub collection: Topic,
    pub id: String,
    /// This resource's changes counted, this one included: the first is 1.
    pub revision: u64,
    pub name: Option<String>,
    /// The realm of an instance; the realm itself for a realm.
    pub realm: Option<String>,
}

/// The change happened after `before` and not later than `at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// When the old state was last seen; `None` when it was never seen.
    pub before: Option<Timestamp>,
    pub at: Timestamp,
}

/// One reason for a change, for a reader: a rule's id and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    pub rule: String,
    pub text: String,
    /// What the sentence is made of, where it is made of figures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signals: Vec<Signal>,
}

impl Reason {
    pub fn new(rule: &str, text: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), text: text.into(), signals: Vec::new() }
    }
}

impl From<Why> for Reason {
    fn from(Why { rule, text, signals }: Why) -> Self {
        Self { rule, text, signals }
    }
}

/// What Tracker makes of a realm, beside its two-valued state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// `None`: there was none before.
    pub from: Option<Availability>,
    pub to: Availability,
    /// 0 to 1.
    pub confidence: Figure,
    /// The realm flaps: nobody is called back.
    pub suppressed: bool,
}

/// The parts of an instance whose change is news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub state: InstanceState,
    pub native_state: String,
    pub public_addresses: Vec<Address>,
    pub private_addresses: Vec<Address>,
}

/// The parts of an image, a volume or a snapshot whose change is news.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    pub state: String,
    pub native_state: String,
    /// The instance that a volume is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// What is new. One variant for each type of change (`design/changes.md` lists what makes each).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum News {
    #[serde(rename = "instance.state")]
    InstanceState { from: Facts, to: Facts },
    /// The state stayed, the addresses moved.
    #[serde(rename = "instance.addresses")]
    InstanceAddresses { from: Facts, to: Facts },
    #[serde(rename = "instance.appeared")]
    /// `why` says so if it was here before and was gone.
    InstanceAppeared {
        to: Facts,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        why: Vec<Reason>,
    },
    /// Seen, then truly absent: a complete list and a targeted look agree. `why` says so if many went together.
    #[serde(rename = "instance.gone")]
    InstanceGone {
        from: Facts,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        why: Vec<Reason>,
    },
    #[serde(rename = "realm.state")]
    RealmState {
        from: RealmState,
        from_native: String,
        to: RealmState,
        to_native: String,
        why: Vec<Reason>,
        /// `None` where nobody judged it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        judged: Option<Judgement>,
    },
    /// Its state changes all the time: single changes are told in the log only from here on.
    #[serde(rename = "realm.flapping_start")]
    RealmFlappingStart { state: RealmState, why: Vec<Reason> },
    #[serde(rename = "realm.flapping_end")]
    RealmFlappingEnd { state: RealmState, why: Vec<Reason> },
    /// So many realms of the account fail at once that none of them is to blame.
    #[serde(rename = "provider.degraded")]
    ProviderDegraded { why: Vec<Reason> },
    #[serde(rename = "provider.recovered")]
    ProviderRecovered { why: Vec<Reason> },
    /// No provider answers: that is held to be our own fault, and nothing is known of any realm.
    #[serde(rename = "observer.isolated")]
    ObserverIsolated { why: Vec<Reason> },
    #[serde(rename = "observer.rejoined")]
    ObserverRejoined { why: Vec<Reason> },
    #[serde(rename = "realm.appeared")]
    RealmAppeared { to: RealmState, to_native: String },
    #[serde(rename = "realm.withdrawn")]
    RealmWithdrawn { from: RealmState, from_native: String },
    #[serde(rename = "image.state")]
    ImageState { from: Condition, to: Condition },
    #[serde(rename = "image.appeared")]
    ImageAppeared { to: Condition },
    #[serde(rename = "image.gone")]
    ImageGone { from: Condition },
    #[serde(rename = "volume.state")]
    VolumeState { from: Condition, to: Condition },
    /// The state stayed, what it is attached to changed.
    #[serde(rename = "volume.attachment")]
    VolumeAttachment { from: Condition, to: Condition },
    #[serde(rename = "volume.appeared")]
    VolumeAppeared { to: Condition },
    #[serde(rename = "volume.gone")]
    VolumeGone { from: Condition },
    #[serde(rename = "snapshot.state")]
    SnapshotState { from: Condition, to: Condition },
    #[serde(rename = "snapshot.appeared")]
    SnapshotAppeared { to: Condition },
    #[serde(rename = "snapshot.gone")]
    SnapshotGone { from: Condition },
    /// Not a change: how things stand, sent because the hook's owner asked for it. Its revision is that of the last change.
    #[serde(rename = "instance.snapshot")]
    InstanceSnapshot { to: Facts },
    #[serde(rename = "realm.snapshot")]
    RealmSnapshot { to: RealmState, to_native: String },
    #[serde(rename = "image.snapshot")]
    ImageSnapshot { to: Condition },
    #[serde(rename = "volume.snapshot")]
    VolumeSnapshot { to: Condition },
    #[serde(rename = "snapshot.snapshot")]
    SnapshotSnapshot { to: Condition },
    /// A hook is called no more. Owed to that hook itself (its owner finds it in the feed, and its receiver hears of it when
    /// the hook is enabled again) and to the hooks on the account.
    #[serde(rename = "hook.disabled")]
    HookDisabled { why: Vec<Reason> },
    /// Nobody looked at a collection between the two instants of [`Change::observed`], though there were hooks. No change of
    /// anything in it.
    #[serde(rename = "account.observation_gap")]
    ObservationGap { why: Vec<Reason> },
    /// The account cannot be looked at for now: nothing that is known of it changes until it can.
    #[serde(rename = "account.unreachable")]
    AccountUnreachable { from: Standing, why: Vec<Reason> },
    #[serde(rename = "account.denied")]
    AccountDenied { from: Standing, why: Vec<Reason> },
    /// It can be looked at again. [`Change::observed`] says from when to when it could not.
    #[serde(rename = "account.reachable")]
    AccountReachable { from: Standing, why: Vec<Reason> },
}

impl News {
    /// The word on the wire: `instance.state`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::InstanceState { .. } => "instance.state",
            Self::InstanceAddresses { .. } => "instance.addresses",
            Self::InstanceAppeared { .. } => "instance.appeared",
            Self::InstanceGone { .. } => "instance.gone",
            Self::RealmState { .. } => "realm.state",
            Self::RealmFlappingStart { .. } => "realm.flapping_start",
            Self::RealmFlappingEnd { .. } => "realm.flapping_end",
            Self::ProviderDegraded { .. } => "provider.degraded",
            Self::ProviderRecovered { .. } => "provider.recovered",
            Self::ObserverIsolated { .. } => "observer.isolated",
            Self::ObserverRejoined { .. } => "observer.rejoined",
            Self::RealmAppeared { .. } => "realm.appeared",
            Self::RealmWithdrawn { .. } => "realm.withdrawn",
            Self::ImageState { .. } => "image.state",
            Self::ImageAppeared { .. } => "image.appeared",
            Self::ImageGone { .. } => "image.gone",
            Self::VolumeState { .. } => "volume.state",
            Self::VolumeAttachment { .. } => "volume.attachment",
            Self::VolumeAppeared { .. } => "volume.appeared",
            Self::VolumeGone { .. } => "volume.gone",
            Self::SnapshotState { .. } => "snapshot.state",
            Self::SnapshotAppeared { .. } => "snapshot.appeared",
            Self::SnapshotGone { .. } => "snapshot.gone",
            Self::InstanceSnapshot { .. } => "instance.snapshot",
            Self::RealmSnapshot { .. } => "realm.snapshot",
            Self::ImageSnapshot { .. } => "image.snapshot",
            Self::VolumeSnapshot { .. } => "volume.snapshot",
            Self::SnapshotSnapshot { .. } => "snapshot.snapshot",
            Self::HookDisabled { .. } => "hook.disabled",
            Self::ObservationGap { .. } => "account.observation_gap",
            Self::AccountUnreachable { .. } => "account.unreachable",
            Self::AccountDenied { .. } => "account.denied",
            Self::AccountReachable { .. } => "account.reachable",
        }
    }

    /// What a hook on the account may ask for.
    pub const ACCOUNT_KINDS: [&str; 9] = [
        "provider.degraded",
        "provider.recovered",
        "observer.isolated",
        "observer.rejoined",
        "account.unreachable",
        "account.denied",
        "account.reachable",
        "account.observation_gap",
        "hook.disabled",
    ];

    /// What a hook on resources may ask for.
    pub const KINDS: [&str; 19] = [
        "instance.state",
        "instance.addresses",
        "instance.appeared",
        "instance.gone",
        "realm.state",
        "realm.flapping_start",
        "realm.flapping_end",
        "realm.appeared",
        "realm.withdrawn",
        "image.state",
        "image.appeared",
        "image.gone",
        "volume.state",
        "volume.attachment",
        "volume.appeared",
        "volume.gone",
        "snapshot.state",
        "snapshot.appeared",
        "snapshot.gone",
    ];

    /// All of them.
    pub const ALL_KINDS: [&str; 33] = [
        "instance.state",
        "instance.addresses",
        "instance.appeared",
        "instance.gone",
        "instance.snapshot",
        "realm.state",
        "realm.flapping_start",
        "realm.flapping_end",
        "realm.appeared",
        "realm.withdrawn",
        "realm.snapshot",
        "image.state",
        "image.appeared",
        "image.gone",
        "image.snapshot",
        "volume.state",
        "volume.attachment",
        "volume.appeared",
        "volume.gone",
        "volume.snapshot",
        "snapshot.state",
        "snapshot.appeared",
        "snapshot.gone",
        "snapshot.snapshot",
        "hook.disabled",
        "provider.degraded",
        "provider.recovered",
        "observer.isolated",
        "observer.rejoined",
        "account.unreachable",
        "account.denied",
        "account.reachable",
        "account.observation_gap",
    ];

    /// How things stand, and no change.
    pub fn is_snapshot(&self) -> bool {
        self.kind().ends_with(".snapshot")
    }
}

fn first(why: &[Reason]) -> &str {
    why.first().map_or("no reason given", |reason| &reason.text)
}

/// From what to what, for logs: `RUNNING -> STOPPED`.
impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InstanceState { from, to } => write!(f, "{} -> {}", from.state, to.state),
            Self::InstanceAddresses { .. } => f.write_str("has other addresses"),
            Self::InstanceAppeared { to, .. } => write!(f, "appeared, {}", to.state),
            Self::InstanceGone { from, .. } => write!(f, "{} -> gone", from.state),
            Self::RealmState { from, to, judged: None, .. } => write!(f, "{from} -> {to}"),
            Self::RealmState { judged: Some(Judgement { from: None, to, .. }), .. } => write!(f, "is {to}"),
            Self::RealmState { judged: Some(Judgement { from: Some(from), to, .. }), .. } => {
                write!(f, "{from} -> {to}")
            }
            Self::RealmFlappingStart { .. } => f.write_str("begins to flap"),
            Self::RealmFlappingEnd { state, .. } => write!(f, "has settled, {state}"),
            Self::ProviderDegraded { why }
            | Self::ProviderRecovered { why }
            | Self::ObserverIsolated { why }
            | Self::ObserverRejoined { why } => f.write_str(first(why)),
            Self::RealmAppeared { to, .. } => write!(f, "appeared, {to}"),
            Self::InstanceSnapshot { to } => write!(f, "is {}", to.state),
            Self::RealmSnapshot { to, .. } => write!(f, "is {to}"),
            Self::ImageSnapshot { to } | Self::VolumeSnapshot { to } | Self::SnapshotSnapshot { to } => {
                write!(f, "is {}", to.state)
            }
            Self::HookDisabled { why } => write!(f, "disabled: {}", first(why)),
            Self::ObservationGap { why } => write!(f, "not looked at: {}", first(why)),
            Self::AccountUnreachable { why, .. } => write!(f, "unreachable: {}", first(why)),
            Self::AccountDenied { why, .. } => write!(f, "credentials refused: {}", first(why)),
            Self::AccountReachable { why, .. } => write!(f, "reachable again: {}", first(why)),
            Self::RealmWithdrawn { from, .. } => write!(f, "{from} -> withdrawn"),
            Self::ImageState { from, to } | Self::VolumeState { from, to } | Self::SnapshotState { from, to } => {
                write!(f, "{} -> {}", from.state, to.state)
            }
            Self::ImageAppeared { to } | Self::VolumeAppeared { to } | Self::SnapshotAppeared { to } => {
                write!(f, "appeared, {}", to.state)
            }
            Self::ImageGone { from } | Self::VolumeGone { from } | Self::SnapshotGone { from } => {
                write!(f, "{} -> gone", from.state)
            }
            Self::VolumeAttachment { from, to } => {
                let at = |side: &Condition| side.instance.clone().unwrap_or_else(|| "nothing".to_owned());
                write!(f, "moved from {} to {}", at(from), at(to))
            }
        }
    }
}
