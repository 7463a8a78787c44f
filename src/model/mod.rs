//! The nouns. Plain values that every other room shares: no I/O, no wire formats, no SQL.
//!
//! Instants end in `_at` and are [`jiff::Timestamp`]s, lengths of time are [`std::time::Duration`]s. Whatever a provider
//! says in its own words is kept beside our word for it (`native_state`), so that nothing is lost in the mapping.

mod account;
mod address;
mod availability;
mod bounds;
mod bucket;
mod change;
mod delivery;
mod fault;
mod firewall;
mod hook;
mod image;
mod instance;
mod key;
mod metric;
mod network;
mod profile;
mod realm;
mod resource;
mod sample;
mod storage;

pub use account::{Account, AccountId, AccountKey, Credentials, DriverId, Login, Outage, Standing};
pub use address::PublicAddress;
pub use availability::{Availability, Elsewhere, Figure, Reading, Share, Signal, SignalKind, Why};
pub use bounds::{
    ADDRESS_BYTES_MAX, ADDRESSES_MAX, Bounded, ID_BYTES_MAX, PARTS_MAX, PROFILES_MAX, TEXT_BYTES_MAX, is_id,
};
pub use bucket::{Blob, Bucket, NewBlob};
pub use change::{
    Change, ChangeId, Condition, Entry, Facts, Judgement, News, Observed, Reason, Seq, Stuck, Subject, Topic,
};
pub use delivery::{Attempt, Delivery, DeliveryState, Disabling, Merged, Outcome, Verdict};
pub use fault::{Fault, FaultKind};
pub use firewall::{Firewall, NewFirewall, NewRule, Rule, Source};
pub use hook::{Callback, Disabled, Events, Format, Hook, HookId, Mode, Scope, SigningKey, Subscriber, Terms};
pub use image::{Image, NewImage};
pub use instance::{
    Action, Address, AddressKind, Announced, Attachment, Instance, InstanceId, InstanceState, LoginKind, NewInstance,
    Stay,
};
pub use key::{Key, KeyKind, NewKey};
pub use metric::{Metric, Series};
pub use network::{Network, NetworkInterface, NewNetwork, NewNetworkInterface, NewSubnet, Subnet};
pub use profile::{HardwareProfile, Property, PropertyKind};
pub use realm::{Declared, Judged, Realm, RealmState};
pub use resource::{Collection, Kind as ResourceKind, Resource};
pub use sample::{Known, KnownResource, Sample};
pub use storage::{Mount, NewSnapshot, NewVolume, Snapshot, Volume, VolumeAction};

pub use secrecy::{ExposeSecret, SecretString as Secret};

/// As [`Secret`], of bytes that need not be text.
pub type SecretBytes = secrecy::SecretSlice<u8>;
