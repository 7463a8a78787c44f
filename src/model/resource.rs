use std::fmt;

use super::{Instance, Realm};

/// A kind of resource that can be tracked. The one place to add one; the compiler lists the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    Instances,
    Realms,
}

impl Collection {
    pub const ALL: [Self; 2] = [Self::Instances, Self::Realms];

    /// As in paths and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Realms => "realms",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|collection| collection.as_str() == text)
    }
}

impl fmt::Display for Collection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A member of a tracked collection, as last seen.
#[expect(clippy::large_enum_variant, reason = "nearly all are instances; a box each would cost more than it saves")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Instance(Instance),
    Realm(Realm),
}

impl Resource {
    pub fn collection(&self) -> Collection {
        match self {
            Self::Instance(_) => Collection::Instances,
            Self::Realm(_) => Collection::Realms,
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::Instance(instance) => instance.id.as_str(),
            Self::Realm(realm) => &realm.id,
        }
    }
}

impl From<Instance> for Resource {
    fn from(instance: Instance) -> Self {
        Self::Instance(instance)
    }
}

impl From<Realm> for Resource {
    fn from(realm: Realm) -> Self {
        Self::Realm(realm)
    }
}
