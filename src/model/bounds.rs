//! How much a provider may say of one thing. A name of megabytes would be kept with every change of what bears it.

use super::{
    Address, Announced, Attachment, HardwareProfile, Image, Instance, LoginKind, Mount, PropertyKind, Realm, Snapshot,
    Volume,
};

/// Bytes of an id. A longer one is no id: cut, it would be another's.
pub const ID_BYTES_MAX: usize = 1_024;

/// Bytes kept of a name, a description or a provider's word, the mark that it was cut included.
pub const TEXT_BYTES_MAX: usize = 1_024;

/// Bytes kept of an address. Names of hosts have at most 253.
pub const ADDRESS_BYTES_MAX: usize = 256;

/// Addresses kept of an instance, public and private ones each.
pub const ADDRESSES_MAX: usize = 64;

/// What else there may be several of in one thing (firewalls, volumes, properties, sentences), each.
pub const PARTS_MAX: usize = 256;

/// Hardware profiles that an image names. Clouds have some eight hundred.
pub const PROFILES_MAX: usize = 2_048;

/// Ends a text that was cut.
const MARK: char = '…';

/// Whether it can be a resource's id: one that is empty, too long, or leads elsewhere in a path cannot be asked for.
pub fn is_id(text: &str) -> bool {
    text.len() <= ID_BYTES_MAX && !matches!(text.trim(), "" | "." | "..")
}

/// What comes from a provider, and is kept.
pub trait Bounded {
    /// Cuts what is too long, but ids of its own.
    fn bound(&mut self);

    /// May be none at all ([`is_id`]).
    fn own_id(&self) -> &str;
}

impl Bounded for Instance {
    fn bound(&mut self) {
        // Every field is named, so that a new one has to be judged here.
        let Self {
            id: _,
            name,
            owner,
            image,
            realm,
            state: _,
            native_state,
            settling: _,
            hardware_profile,
            hardware_properties,
            actions: _,
            can_create_image: _,
            launch_time,
            public_addresses,
            private_addresses,
            firewalls,
            storage_volumes,
            login,
            network_interfaces,
            fault,
            impaired: _,
            modified_at: _,
            announced,
            stay: _,
        } = self;
        for text in [name, owner, image, realm, hardware_profile, launch_time].into_iter().flatten() {
            cut(text);
        }
        cut(native_state);
        shorten(hardware_properties, PARTS_MAX);
        for (name, value) in hardware_properties {
            cut(name);
            cut(value);
        }
        addresses(public_addresses);
        addresses(private_addresses);
        for list in [firewalls, network_interfaces].into_iter().flatten() {
            texts(list, PARTS_MAX);
        }
        shorten(storage_volumes, PARTS_MAX);
        for Attachment { volume, device } in storage_volumes {
            cut(volume);
            cut(device);
        }
        if let Some(LoginKind::Key(Some(name))) = login {
            cut(name);
        }
        if let Some(fault) = fault {
            cut(&mut fault.code);
        }
        if let Some(announced) = announced {
            shorten(announced, PARTS_MAX);
            for Announced { what, text, not_before: _, not_after: _ } in announced {
                cut(what);
                cut(text);
            }
        }
    }

    fn own_id(&self) -> &str {
        self.id.as_str()
    }
}

impl Bounded for Realm {
    fn bound(&mut self) {
        let Self { id: _, name, state: _, native_state, limit, messages, declared: _, place, judged: _ } = self;
        for text in [limit, place].into_iter().flatten() {
            cut(text);
        }
        cut(name);
        cut(native_state);
        texts(messages, PARTS_MAX);
    }

    fn own_id(&self) -> &str {
        &self.id
    }
}

impl Bounded for Image {
    fn bound(&mut self) {
        let Self {
            id: _,
            name,
            description,
            owner,
            architecture,
            state,
            settling: _,
            root_type,
            creation_time,
            hardware_profiles,
            can_destroy: _,
        } = self;
        for text in [name, description, owner, architecture, root_type] {
            cut(text);
        }
        for text in [state, creation_time].into_iter().flatten() {
            cut(text);
        }
        texts(hardware_profiles, PROFILES_MAX);
    }

    fn own_id(&self) -> &str {
        &self.id
    }
}

impl Bounded for Volume {
    fn bound(&mut self) {
        let Self {
            id: _,
            name,
            description,
            created,
            capacity,
            kind,
            realm,
            state,
            native_state,
            settling: _,
            mount,
            actions: _,
        } = self;
        for text in [name, description, created, kind, realm].into_iter().flatten() {
            cut(text);
        }
        for text in [capacity, state, native_state] {
            cut(text);
        }
        if let Some(Mount { instance, device }) = mount {
            cut(instance);
            cut(device);
        }
    }

    fn own_id(&self) -> &str {
        &self.id
    }
}

impl Bounded for Snapshot {
    fn bound(&mut self) {
        let Self { id: _, name, description, created, volume, state, native_state, settling: _ } = self;
        for text in [name, description, created, volume].into_iter().flatten() {
            cut(text);
        }
        cut(state);
        cut(native_state);
    }

    fn own_id(&self) -> &str {
        &self.id
    }
}

impl Bounded for HardwareProfile {
    fn bound(&mut self) {
        let Self { id: _, name, properties } = self;
        cut(name);
        shorten(properties, PARTS_MAX);
        for property in properties {
            cut(&mut property.value);
            match &mut property.kind {
                PropertyKind::Fixed => {}
                PropertyKind::Range { first, last } => {
                    cut(first);
                    cut(last);
                }
                PropertyKind::Enum(values) => texts(values, PARTS_MAX),
            }
        }
    }

    fn own_id(&self) -> &str {
        &self.id
    }
}

fn addresses(list: &mut Vec<Address>) {
    shorten(list, ADDRESSES_MAX);
    for address in list {
        cut_to(&mut address.text, ADDRESS_BYTES_MAX);
    }
}

fn texts(list: &mut Vec<String>, max: usize) {
    shorten(list, max);
    for text in list {
        cut(text);
    }
}

/// The memory goes too.
fn shorten<T>(list: &mut Vec<T>, max: usize) {
    if list.len() > max {
        list.truncate(max);
        list.shrink_to_fit();
    }
}

fn cut(text: &mut String) {
    cut_to(text, TEXT_BYTES_MAX);
}

/// At the end of a character, with a mark behind it.
fn cut_to(text: &mut String, max: usize) {
    if text.len() > max {
        text.truncate(text.floor_char_boundary(max - MARK.len_utf8()));
        text.push(MARK);
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{AddressKind, InstanceState};

    #[test]
    fn a_text_is_cut_between_characters_and_says_so() {
        let check = |text: &str, max: usize, expected: &str| {
            let mut cut = text.to_owned();
            cut_to(&mut cut, max);
            assert_eq!(cut, expected);
            assert!(cut.len() <= max);
            let once = cut.clone();
            cut_to(&mut cut, max);
            assert_eq!(cut, once, "once is enough");
        };
        check("1234567890", 10, "1234567890");
        check("12345678901", 10, "1234567…");
        check("123456é8901", 10, "123456…");
        check("", 10, "");
    }

    #[test]
    fn what_is_said_of_an_instance_has_bounds() {
        let long = || "N".repeat(5_000_000);
        let address = |_| Address { kind: AddressKind::Hostname, text: long() };
        let mut instance = Instance {
            name: Some(long()),
            owner: Some(long()),
            image: Some(long()),
            realm: Some(long()),
            hardware_profile: Some(long()),
            hardware_properties: (0..300).map(|_| (String::new(), String::new())).collect(),
            public_addresses: (0..100).map(address).collect(),
            firewalls: Some(vec![String::new(); 300]),
            storage_volumes: vec![Attachment { volume: long(), device: long() }],
            login: Some(LoginKind::Key(Some(long()))),
            ..Instance::bare("i-1", InstanceState::Running, &long())
        };
        instance.bound();
        let kept = serde_json::to_string(&instance).unwrap().len();
        assert!(kept < 40_000, "{kept}");
        assert_eq!((instance.public_addresses.len(), instance.firewalls.map(|all| all.len())), (64, Some(256)));
        assert!(instance.name.is_some_and(|name| name.len() == TEXT_BYTES_MAX && name.ends_with("N…")));
    }

    #[test]
    fn what_cannot_be_asked_for_is_no_id() {
        let check = |text: &str, expected| assert_eq!(is_id(text), expected, "{text:?}");
        check("i-1", true);
        check("a/b", true);
        check("...", true);
        check(&"x".repeat(1_024), true);
        check(&"x".repeat(1_025), false);
        for none in ["", " ", ".", "..", " ..\n"] {
            check(none, false);
        }
    }
}
