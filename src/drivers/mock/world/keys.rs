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
