use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{World, fit_for_id, unknown};
use crate::drivers::{Error, Kind};
use crate::model::{Key, KeyKind, NewKey, Secret};

/// As long as a real one of 2048 bits. Bytes.
const PRIVATE_LEN: usize = 1_191;
/// Of PEM.
const LINE_LEN: usize = 64;

/// All that is kept of a key.
pub(super) struct Fingerprint(pub(super) String);

impl World {
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.keys.iter().map(|(name, fingerprint)| shown(name, fingerprint, None)).collect()
    }

    pub(crate) fn key(&self, id: &str) -> Option<Key> {
        self.keys.get(id).map(|fingerprint| shown(id, fingerprint, None))
    }

    /// As the reference, a pair in any case, and one that opens nothing.
    pub(crate) fn create_key(&mut self, new: &NewKey) -> Result<Key, Error> {
        fit_for_id(&new.name)?;
        if self.keys.contains_key(&new.name) {
            return Err(Error::new(Kind::Forbidden, "Key with same name already exists"));
        }
        self.make_room(self.keys.len(), "keys")?;
        let fingerprint = Fingerprint(self.chance.bytes::<20>().map(|byte| format!("{byte:02x}")).join(":"));
        let key = shown(&new.name, &fingerprint, Some(pem(&self.chance.bytes::<PRIVATE_LEN>())));
        self.keys.insert(new.name.clone(), fingerprint);
        Ok(key)
    }

    pub(crate) fn destroy_key(&mut self, id: &str) -> Result<(), Error> {
        self.keys.remove(id).map(drop).ok_or_else(|| unknown("Key", id))
    }
}

fn shown(name: &str, fingerprint: &Fingerprint, pem: Option<Secret>) -> Key {
    let kind = KeyKind::Pair { fingerprint: Some(fingerprint.0.clone()), pem };
    Key { id: name.to_owned(), kind, state: None }
}

/// The form of a private key around what is none.
fn pem(bytes: &[u8]) -> Secret {
    let text = STANDARD.encode(bytes);
    let mut lines = vec!["-----BEGIN RSA PRIVATE KEY-----"];
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE_LEN));
        lines.push(line);
        rest = after;
    }
    lines.push("-----END RSA PRIVATE KEY-----");
    Secret::from(lines.join("\n") + "\n")
}

#[cfg(test)]
mod tests {
    use super::super::stage::{kind, reference, world};
    use super::*;
    use crate::drivers::mock::settings::Settings;
    use crate::model::ExposeSecret as _;

    fn named(name: &str) -> NewKey {
        NewKey { name: name.to_owned(), public_key: None }
    }

    fn parts(key: Key) -> (String, Option<String>) {
        let KeyKind::Pair { fingerprint, pem } = key.kind else { panic!("a pair: {key:?}") };
        (fingerprint.unwrap(), pem.map(|pem| pem.expose_secret().to_owned()))
    }

    #[test]
    fn a_private_half_has_the_form_of_one_and_is_another_each_time() {
        let mut world = reference();
        let (fingerprint, pem) = parts(world.create_key(&named("foo")).unwrap());
        let (other_fingerprint, other_pem) = parts(world.create_key(&named("bar")).unwrap());
        assert!(fingerprint != other_fingerprint && pem != other_pem);

        let pem = pem.unwrap();
        let body = pem.strip_prefix("-----BEGIN RSA PRIVATE KEY-----\n").unwrap();
        let body = body.strip_suffix("\n-----END RSA PRIVATE KEY-----\n").unwrap();
        assert!(body.lines().all(|line| (1..=64).contains(&line.len())), "{body}");
        assert_eq!(STANDARD.decode(body.replace('\n', "")).unwrap().len(), PRIVATE_LEN);
        let bytes: Vec<&str> = fingerprint.split(':').collect();
        assert_eq!(bytes.len(), 20);
        assert!(bytes.iter().all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok()), "{fingerprint}");
    }

    #[test]
    fn the_same_seed_makes_the_same_keys() {
        let made = |seed| parts(world(&Settings::default(), seed).create_key(&named("foo")).unwrap());
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
    }

    #[test]
    fn names_are_ids_and_so_must_fit_into_a_path() {
        let mut world = world(&Settings { resources_max: 2, ..Settings::default() }, 0);
        for name in ["", ".", "..", "a/b", "a\nb", &"x".repeat(1_025)] {
            assert_eq!(kind(world.create_key(&named(name))), Kind::Invalid, "{name:?}");
        }
        let error = world.create_key(&named("test-key")).unwrap_err();
        assert_eq!((error.kind, error.text.as_str()), (Kind::Forbidden, "Key with same name already exists"));
        world.create_key(&named("a key: mine")).unwrap();
        assert_eq!(kind(world.create_key(&named("third"))), Kind::Forbidden, "there is room for two");
        world.destroy_key("test-key").unwrap();
        world.create_key(&named("third")).unwrap();
    }
}
