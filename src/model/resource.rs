use std::fmt;

use super::{Image, Instance, Realm, Snapshot, Volume};

/// A kind of resource that can be tracked. The one place to add one; the compiler lists the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    Instances,
    Realms,
    Images,
    StorageVolumes,
    StorageSnapshots,
}

impl Collection {
    pub const ALL: [Self; 5] =
        [Self::Instances, Self::Realms, Self::Images, Self::StorageVolumes, Self::StorageSnapshots];

    /// As in paths and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Realms => "realms",
            Self::Images => "images",
            Self::StorageVolumes => "storage_volumes",
            Self::StorageSnapshots => "storage_snapshots",
        }
    }

    /// Watched in every account that anything is tracked in; the others only where a hook is about them.
    pub fn is_always_watched(self) -> bool {
        matches!(self, Self::Instances | Self::Realms)
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Much larger than the others.
    Instance(Box<Instance>),
    Realm(Realm),
    Image(Image),
    Volume(Volume),
    Snapshot(Snapshot),
}

impl Resource {
    pub fn collection(&self) -> Collection {
        match self {
            Self::Instance(_) => Collection::Instances,
            Self::Realm(_) => Collection::Realms,
            Self::Image(_) => Collection::Images,
            Self::Volume(_) => Collection::StorageVolumes,
            Self::Snapshot(_) => Collection::StorageSnapshots,
        }
    }

    pub fn id(&self) -> &str {
        match self {
            Self::Instance(instance) => instance.id.as_str(),
            Self::Realm(realm) => &realm.id,
            Self::Image(image) => &image.id,
            Self::Volume(volume) => &volume.id,
            Self::Snapshot(snapshot) => &snapshot.id,
        }
    }

    /// The provider is working on it, so its state is expected to move by itself soon.
    pub fn is_settling(&self) -> bool {
        match self {
            Self::Instance(instance) => instance.settling,
            Self::Realm(_) => false,
            Self::Image(image) => image.settling,
            Self::Volume(volume) => volume.settling,
            Self::Snapshot(snapshot) => snapshot.settling,
        }
    }
}

/// A noun that is one of the kinds of [`Resource`].
pub trait Kind: Into<Resource> + Sized {
    const COLLECTION: Collection;

    /// `None`: it is of another kind.
    fn of(resource: Resource) -> Option<Self>;
}

macro_rules! kinds {
    ($($noun:ident, $variant:ident, $collection:ident, $one:ident => $out:expr;)*) => {$(
        impl From<$noun> for Resource {
            fn from(one: $noun) -> Self {
                Self::$variant(one.into())
            }
        }

        impl Kind for $noun {
            const COLLECTION: Collection = Collection::$collection;

            fn of(resource: Resource) -> Option<Self> {
                match resource {
                    Resource::$variant($one) => Some($out),
                    _ => None,
                }
            }
        }
    )*};
}

kinds! {
    Instance, Instance, Instances, boxed => *boxed;
    Realm, Realm, Realms, realm => realm;
    Image, Image, Images, image => image;
    Volume, Volume, StorageVolumes, volume => volume;
    Snapshot, Snapshot, StorageSnapshots, snapshot => snapshot;
}
