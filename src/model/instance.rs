use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Fault, SecretBytes};

/// An instance's id as the client sees it; unique only within an account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceId(pub String);

impl InstanceId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for InstanceId {
    fn from(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Our word for how an instance is. `Unknown` means a native word we have no word for, never "gone".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InstanceState {
    Pending,
    Running,
    Stopping,
    Stopped,
    /// Gone for good while its record is still listed.
    Finish,
    Error,
    Unknown,
}

impl InstanceState {
    /// Upper case, as in `instance/state`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
            Self::Finish => "FINISH",
            Self::Error => "ERROR",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can be asked of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    Start,
    Stop,
    Reboot,
    Destroy,
}

impl Action {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reboot => "reboot",
            Self::Destroy => "destroy",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AddressKind {
    Ipv4,
    Ipv6,
    Hostname,
    Mac,
}

impl AddressKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Hostname => "hostname",
            Self::Mac => "mac",
        }
    }
}

/// An address the instance really has; a missing one is absent from the list, not blank.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Address {
    pub kind: AddressKind,
    pub text: String,
}

/// A volume on an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub volume: String,
    pub device: String,
}

/// How one logs in to the instance itself (contract 2.3, `authentication`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginKind {
    /// A key pair by name; the name may be unknown, and may be empty.
    Key(Option<String>),
}

/// A machine as its provider last showed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub id: InstanceId,
    pub name: Option<String>,
    pub owner: Option<String>,
    pub image: Option<String>,
    pub realm: Option<String>,
    pub state: InstanceState,
    /// The provider's own word, as it came.
    pub native_state: String,
    /// The provider is working on it, so the state is expected to move by itself soon: look often.
    pub settling: bool,
    pub hardware_profile: Option<String>,
    /// Sizes the provider reports for this very instance, by property name (`memory` → `12288`).
    pub hardware_properties: Vec<(String, String)>,
    /// What the instance's state allows now, in the order shown to clients. The 405 rule reads the same list.
    pub actions: Vec<Action>,
    pub can_create_image: bool,
    /// When it was launched, in the provider's own text format.
    pub launch_time: Option<String>,
    pub public_addresses: Vec<Address>,
    pub private_addresses: Vec<Address>,
    /// `None`: this driver knows no firewalls.
    pub firewalls: Option<Vec<String>>,
    pub storage_volumes: Vec<Attachment>,
    /// `None`: the driver offers no way to log in.
    pub login: Option<LoginKind>,
    /// `None`: this driver knows no network interfaces.
    pub network_interfaces: Option<Vec<String>>,
    /// Why it failed or ended, if the provider said so.
    #[serde(default)]
    pub fault: Option<Fault>,
    /// The provider's own checks of it fail, or its host is down, whatever its state says.
    #[serde(default)]
    pub impaired: bool,
    /// The provider's own time of what is said here, which is never earlier than that of anything said of the instance before. `None`:
    /// it says none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<Timestamp>,
}

impl Instance {
    /// Of which nothing is known but how it is, in our word and the provider's.
    pub fn bare(id: &str, state: InstanceState, native_state: &str) -> Self {
        Self {
            id: InstanceId::from(id),
            name: None,
            owner: None,
            image: None,
            realm: None,
            state,
            native_state: native_state.to_owned(),
            settling: false,
            hardware_profile: None,
            hardware_properties: Vec::new(),
            actions: Vec::new(),
            can_create_image: false,
            launch_time: None,
            public_addresses: Vec::new(),
            private_addresses: Vec::new(),
            firewalls: None,
            storage_volumes: Vec::new(),
            login: None,
            network_interfaces: None,
            fault: None,
            impaired: false,
            modified_at: None,
        }
    }
}

/// A request to create instances, after the API has dropped empty parameters (empty means "not given").
#[derive(Clone, Debug, Default)]
pub struct NewInstance {
    pub image: String,
    pub realm: Option<String>,
    pub hardware_profile: Option<String>,
    /// `hwp_cpu`, `hwp_memory`, `hwp_storage`, `hwp_architecture` by property name, as given.
    pub hardware_overrides: Vec<(String, String)>,
    pub name: Option<String>,
    pub key_name: Option<String>,
    /// Decoded: the API takes Base64 leniently, drivers encode it as their backend wants it.
    pub user_data: Option<SecretBytes>,
    pub firewalls: Vec<String>,
    /// 1 unless the client asked for more and the driver has `instance_count`.
    pub count: u32,
}
