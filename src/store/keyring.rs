mod file;

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Error, Settings, sqlite};
use crate::chance::Chance;
use crate::model::AccountId;

pub use file::KeyAbout;

/// A key ring of more bytes than this is some other file.
const FILE_BYTES_MAX: u64 = 64 * 1024;
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;
const ID_BYTES_MAX: usize = 32;
/// The first byte of everything sealed, so that another way of sealing can be told apart one day.
const FORM: u8 = 1;

const HEAD: &str = "\
# Tracker's key ring. With it and the store one can read the credentials of every account; without it nobody can.
# Keep a copy, and not beside a copy of the store.
# One key a line, `id:key`, the key being 32 random bytes in Base64. The last one seals, all of them open.
";

/// The keys that seal what is secret in the store: AES-256-GCM, each sealed text bound to its place, so that it cannot be
/// moved to another record. The newest key seals, all of them open, so that keys can be replaced without a pause.
///
/// Cheap to clone. The key bytes are wiped when the last clone goes.
#[derive(Clone)]
pub struct KeyRing {
    /// Newest last, never empty.
    keys: Arc<[Key]>,
    chance: Arc<Chance>,
}

struct Key {
    id: String,
    bytes: Zeroizing<[u8; KEY_BYTES]>,
}

/// The record that a sealed text belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) account: AccountId,
    pub(crate) table: &'static str,
    pub(crate) column: &'static str,
    pub(crate) record: &'a str,
}

impl KeyRing {
    /// Reads the key ring at `settings.key_ring`. Makes it, with one new key and mode 0600, when there is neither a key ring
    /// nor a store: a new ring beside an old store could open nothing in it.
    ///
    /// # Errors
    /// [`Error::KeyRing`] when others than the owner may read the file, when it makes no sense, or when it is missing
    /// although the store is there; [`Error::File`] when it cannot be read or made; [`Error::Url`] as [`super::open`].
    pub fn load_or_create(settings: &Settings, chance: &Arc<Chance>) -> Result<Self, Error> {
        let path = Path::new(&settings.key_ring);
        let store = sqlite::path(&settings.url)?;
        if let Some(ring) = Self::load(path, chance)? {
            return Ok(ring);
        }
        if fs::metadata(store).is_ok_and(|file| file.len() > 0) {
            return Err(Error::KeyRing(format!(
                "the store {} is there, but its key ring {} is missing, and a new one could not open it: put the key ring back \
                 or correct store.key_ring; to begin anew, move the store away",
                store.display(),
                path.display()
            )));
        }
        create(path, chance)?;
        // Read back rather than kept, so that of two processes that start together both use the ring that won.
        Self::load(path, chance)?
            .ok_or_else(|| Error::KeyRing(format!("{}: the new key ring vanished at once", path.display())))
    }

    /// A key ring given as text, for instance by the environment: `id:key` entries separated by line breaks or commas,
    /// newest last, each key being 32 bytes in Base64.
    ///
    /// # Errors
    /// [`Error::KeyRing`] naming the entry, never its text.
    pub fn parse(text: &str, chance: &Arc<Chance>) -> Result<Self, Error> {
        Self::of("the given key ring", text, chance)
    }

    fn load(path: &Path, chance: &Arc<Chance>) -> Result<Option<Self>, Error> {
        let failed = |source| file_error(path, source);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(err) => return Err(failed(err)),
        };
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(Error::KeyRing(format!("{}: the key ring must be a file", path.display())));
        }
        if about.mode() & 0o077 != 0 {
            return Err(Error::KeyRing(format!(
                "{0}: the key ring may be used by others than its owner (mode {1:04o}): `chmod 600 {0}`",
                path.display(),
                about.mode() & 0o7777
            )));
        }
        let mut text = Zeroizing::new(String::new());
        file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Error::KeyRing(format!("{}: longer than any key ring", path.display())));
        }
        Self::of(&path.display().to_string(), &text, chance).map(Some)
    }

    fn of(source: &str, text: &str, chance: &Arc<Chance>) -> Result<Self, Error> {
        let keys = parse_keys(text).map_err(|fault| Error::KeyRing(format!("{source}: {fault}")))?;
        Ok(Self { keys: keys.into(), chance: chance.clone() })
    }

    /// Id of the key that seals.
    pub(crate) fn newest(&self) -> &str {
        &self.newest_key().id
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| key.id.as_str())
    }

    /// Form, length of the key's id, the id, nonce, then the encrypted text with its tag.
    pub(crate) fn seal(&self, place: Place<'_>, plain: &[u8]) -> Vec<u8> {
        let key = self.newest_key();
        let nonce = self.chance.bytes::<NONCE_BYTES>();
        let encrypted = key
            .cipher()
            .encrypt(&nonce.into(), Payload { msg: plain, aad: &place.bytes() })
            .expect("what Tracker seals is far shorter than what the cipher takes");
        let id_len = u8::try_from(key.id.len()).expect("ids are checked when parsed");
        [&[FORM, id_len], key.id.as_bytes(), &nonce, &encrypted].concat()
    }

    /// The plain text, or in one sentence why there is none. Other key, other place and damage cannot be told apart.
    pub(crate) fn open(&self, place: Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
        let (id, nonce, encrypted) = split(sealed).ok_or("it is not in the form of a sealed text")?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or_else(|| format!("the key ring has no key `{id}`"))?;
        key.cipher()
            .decrypt(&nonce.into(), Payload { msg: encrypted, aad: &place.bytes() })
            .map(Zeroizing::new)
            .map_err(|_| format!("key `{id}` does not open it: it is damaged, or belongs elsewhere"))
    }

    /// A digest for finding these parts again without storing them: `key id:hex`, made with the newest key.
    pub(crate) fn digest(&self, parts: &[&str]) -> String {
        self.newest_key().digest(parts)
    }

    /// The digests of these parts under every key, so that what was stored before a key was added is still found.
    pub(crate) fn digests(&self, parts: &[&str]) -> Vec<String> {
        self.keys.iter().map(|key| key.digest(parts)).collect()
    }

    /// Whether this is the digest of these parts. Takes as long when it is not.
    pub(crate) fn is_digest(&self, digest: &str, parts: &[&str]) -> bool {
        let Some((id, hex)) = digest.split_once(':') else { return false };
        let Some(key) = self.keys.iter().find(|key| key.id == id) else { return false };
        key.digesting(parts).verify_slice(&unhex(hex)).is_ok()
    }

    fn newest_key(&self) -> &Key {
        self.keys.last().expect("a ring without keys is refused")
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(..)")
    }
}

impl Key {
    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new_from_slice(self.bytes.as_slice()).expect("a key has 32 bytes")
    }

    fn digest(&self, parts: &[&str]) -> String {
        let digest = self.digesting(parts).finalize().into_bytes();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:{hex}", self.id)
    }

    fn digesting(&self, parts: &[&str]) -> Hmac<Sha256> {
        // A key of its own, so that no key serves two purposes.
        let mut sub_key = mac(self.bytes.as_slice(), [b"tracker digest".as_slice()]);
        let framed: Vec<u8> = parts.iter().flat_map(|part| framed(part.as_bytes())).collect();
        let framed = Zeroizing::new(framed);
        let mut digesting = Hmac::<Sha256>::new_from_slice(&sub_key).expect("a key of any length will do");
        digesting.update(&framed);
        sub_key.zeroize();
        digesting
    }
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        let account = self.account.0.to_be_bytes();
        [&account[..], self.table.as_bytes(), self.column.as_bytes(), self.record.as_bytes()]
            .into_iter()
            .flat_map(framed)
            .collect()
    }
}

fn mac<'a>(key: &[u8], texts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    texts.into_iter().for_each(|text| mac.update(text));
    mac.finalize().into_bytes().into()
}

/// What is no hex is no digest, and equals none.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(16 * digit(pair.first()?)? + digit(pair.get(1)?)?);
    text.as_bytes().chunks(2).map(pair).collect::<Option<_>>().unwrap_or_default()
}

/// With its length in front, so that no two lists of parts look alike.
fn framed(part: &[u8]) -> Vec<u8> {
    let len = u64::try_from(part.len()).expect("a length fits 64 bits");
    [&len.to_be_bytes()[..], part].concat()
}

fn split(sealed: &[u8]) -> Option<(&str, [u8; NONCE_BYTES], &[u8])> {
    let (&[form, id_len], rest) = sealed.split_first_chunk::<2>()?;
    let (id, rest) = rest.split_at_checked(usize::from(id_len))?;
    let (nonce, encrypted) = rest.split_first_chunk::<NONCE_BYTES>()?;
    (form == FORM).then_some((std::str::from_utf8(id).ok()?, *nonce, encrypted))
}

fn parse_keys(text: &str) -> Result<Vec<Key>, String> {
    const RIGHT: &str = "right is `id:key`, the key being 32 bytes in Base64";
    let mut keys: Vec<Key> = Vec::new();
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    for (line, entry) in (1..).zip(lines).flat_map(|(number, line)| line.split(',').map(move |entry| (number, entry))) {
        let entry = entry.trim();
        if entry.is_empty() {
            continue;
        }
        let (id, key) = entry.split_once(':').ok_or_else(|| format!("line {line} has no `:`; {RIGHT}"))?;
        let clean = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if !(1..=ID_BYTES_MAX).contains(&id.len()) || !id.bytes().all(clean) {
            return Err(format!("the id on line {line} is not 1 to {ID_BYTES_MAX} of `A-Z a-z 0-9 . _ -`; {RIGHT}"));
        }
        if keys.iter().any(|known| known.id == id) {
            return Err(format!("the id `{id}` on line {line} was used before; every key needs its own"));
        }
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        let decoded =
            Zeroizing::new(BASE64.decode(key.trim()).map_err(|_| format!("key `{id}` is not Base64; {RIGHT}"))?);
        if decoded.len() != KEY_BYTES {
            return Err(format!("key `{id}` has {} bytes; {RIGHT}", decoded.len()));
        }
        bytes.copy_from_slice(&decoded);
        keys.push(Key { id: id.to_owned(), bytes });
    }
    if keys.is_empty() { Err(format!("there is no key in it; {RIGHT}")) } else { Ok(keys) }
}

/// Writes a new ring under another name and links it into place: it is there whole or not at all, and never replaces one.
fn create(path: &Path, chance: &Chance) -> Result<(), Error> {
    let hex = |bytes: [u8; 4]| format!("{:08x}", u32::from_be_bytes(bytes));
    let key = Zeroizing::new(chance.bytes::<KEY_BYTES>());
    let text = Zeroizing::new(format!("{HEAD}k{}:{}\n", hex(chance.bytes()), BASE64.encode(key.as_slice())));
    let draft = draft_name(path, &hex(chance.bytes()));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {}
            linked => linked?,
        }
        // The store may be written as soon as this returns; the ring's name must then survive a power cut.
        File::open(folder(path))?.sync_all()
    })();
    // A draft that stays behind does no harm but to tidiness.
    let _ = fs::remove_file(&draft);
    written.map_err(|source| file_error(path, source))
}

fn draft_name(path: &Path, roll: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{roll}.new"));
    PathBuf::from(name)
}

/// The folder of a file; `.` for a bare name.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn file_error(path: &Path, source: std::io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    const PLACE: Place<'static> = Place { account: AccountId(7), table: "hooks", column: "sealed", record: "hook_1" };

    fn chance() -> Arc<Chance> {
        Arc::new(Chance::seeded(1))
    }

    fn ring(text: &str) -> KeyRing {
        KeyRing::parse(text, &chance()).unwrap()
    }

    #[test]
    fn what_is_sealed_opens_in_its_place_only() {
        let ring = ring(&format!("a:{A}"));
        let sealed = ring.seal(PLACE, b"secret");
        assert_eq!(ring.open(PLACE, &sealed).unwrap().as_slice(), b"secret");

        let elsewhere = [
            Place { account: AccountId(8), ..PLACE },
            Place { table: "accounts", ..PLACE },
            Place { column: "token", ..PLACE },
            Place { record: "hook_2", ..PLACE },
            // The same letters, cut otherwise.
            Place { column: "sealedhook", record: "_1", ..PLACE },
        ];
        for place in elsewhere {
            let fault = ring.open(place, &sealed).unwrap_err();
            assert!(fault.contains("belongs elsewhere"), "{place:?}: {fault}");
        }
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let ring = ring(&format!("a:{A}"));
        let sealed = ring.seal(PLACE, b"secret");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(ring.open(PLACE, &damaged).is_err(), "byte {at}");
            assert!(ring.open(PLACE, &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_same_text_is_never_sealed_alike() {
        let ring = ring(&format!("a:{A}"));
        assert_ne!(ring.seal(PLACE, b"secret"), ring.seal(PLACE, b"secret"));
    }

    #[test]
    fn after_a_key_is_added_the_old_still_opens_and_the_new_one_seals() {
        let old = ring(&format!("a:{A}"));
        let both = ring(&format!("a:{A}\nb:{B}"));
        let new = ring(&format!("b:{B}"));

        assert_eq!(both.open(PLACE, &old.seal(PLACE, b"x")).unwrap().as_slice(), b"x");
        assert_eq!(new.open(PLACE, &both.seal(PLACE, b"x")).unwrap().as_slice(), b"x");
        assert_eq!(new.open(PLACE, &old.seal(PLACE, b"x")).unwrap_err(), "the key ring has no key `a`");
        assert!(both.digests(&["u", "p"]).contains(&old.digest(&["u", "p"])));
        assert_eq!(both.digest(&["u", "p"]), new.digest(&["u", "p"]));
    }

    #[test]
    fn a_digest_depends_on_the_key_and_on_where_the_parts_are_cut() {
        let a = ring(&format!("k:{A}"));
        let b = ring(&format!("k:{B}"));
        assert_eq!(a.digest(&["ab", "c"]), a.digest(&["ab", "c"]));
        assert_ne!(a.digest(&["ab", "c"]), a.digest(&["a", "bc"]));
        assert_ne!(a.digest(&["ab", "c"]), b.digest(&["ab", "c"]));
    }

    #[test]
    fn a_digest_is_known_again_under_any_key_of_the_ring() {
        let old = ring(&format!("a:{A}"));
        let both = ring(&format!("a:{A},b:{B}"));
        let kept = old.digest(&["x", "secret"]);
        let check = |digest: &str, parts: &[&str], is: bool| assert_eq!(both.is_digest(digest, parts), is, "{digest}");
        check(&kept, &["x", "secret"], true);
        check(&both.digest(&["x", "secret"]), &["x", "secret"], true);
        check(&kept, &["x", "secre"], false);
        check(&kept, &["y", "secret"], false);
        check(&kept.replace("a:", "b:"), &["x", "secret"], false);
        check(&kept.replace("a:", "c:"), &["x", "secret"], false);
        check(&kept[..kept.len() - 1], &["x", "secret"], false);
        check(&kept[..kept.len() - 2], &["x", "secret"], false);
        check("a:", &["x", "secret"], false);
        check("a:no hex", &["x", "secret"], false);
        check("", &["x", "secret"], false);
    }

    #[test]
    fn a_text_that_makes_no_sense_is_refused_with_what_would_be_right() {
        let check = |text: &str, wanted: &str| {
            let fault = KeyRing::parse(text, &chance()).unwrap_err().to_string();
            assert!(fault.contains(wanted), "{text:?}: {fault}");
            assert!(!fault.contains("c2VjcmV0"), "{text:?} shows the key: {fault}");
        };
        check("", "there is no key in it; right is `id:key`");
        check("# only words\n", "there is no key in it");
        check("c2VjcmV0", "line 1 has no `:`");
        check("a:!c2VjcmV0", "key `a` is not Base64");
        check("a:c2VjcmV0", "key `a` has 6 bytes; right is `id:key`");
        check(&format!("\nö:{A}"), "the id on line 2");
        check(&format!("a:{A}\n# x\na:{B}"), "the id `a` on line 3 was used before");
    }

    #[test]
    fn comments_blank_lines_and_commas_are_understood() {
        let ring = ring(&format!("# mine\n\n a:{A} # old\r\nb:{B}, c:{A}\n"));
        assert_eq!(ring.ids().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(ring.newest(), "c");
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        assert_eq!(format!("{:?}", ring(&format!("a:{A}"))), "KeyRing(..)");
    }

    fn settings(folder: &Path) -> Settings {
        Settings {
            url: format!("sqlite:{}", folder.join("t.db").display()),
            key_ring: folder.join("t.keys").display().to_string(),
            ..Settings::default()
        }
    }

    #[test]
    fn the_first_start_makes_a_ring_for_its_owner_only_and_the_second_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        let made = KeyRing::load_or_create(&settings, &chance()).unwrap();
        assert_eq!(fs::metadata(&settings.key_ring).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "the draft is gone");

        let read = KeyRing::load_or_create(&settings, &Arc::new(Chance::seeded(2))).unwrap();
        assert_eq!(read.open(PLACE, &made.seal(PLACE, b"x")).unwrap().as_slice(), b"x");
    }

    #[test]
    fn no_ring_is_made_beside_a_store_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        fs::write(folder.path().join("t.db"), "something").unwrap();
        let fault = KeyRing::load_or_create(&settings, &chance()).unwrap_err().to_string();
        assert!(fault.contains("put the key ring back"), "{fault}");
        assert!(!Path::new(&settings.key_ring).exists());
    }

    #[test]
    fn a_ring_that_others_may_read_is_refused_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        KeyRing::load_or_create(&settings, &chance()).unwrap();
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&settings.key_ring, fs::Permissions::from_mode(mode)).unwrap();
            let fault = KeyRing::load_or_create(&settings, &chance()).unwrap_err().to_string();
            assert!(fault.contains(&format!("mode {mode:04o}")) && fault.contains("chmod 600"), "{fault}");
        }
    }

    #[test]
    fn a_malformed_or_endless_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path());
        for text in ["nonsense".to_owned(), "#".repeat(100_000)] {
            fs::write(&settings.key_ring, text).unwrap();
            fs::set_permissions(&settings.key_ring, fs::Permissions::from_mode(0o600)).unwrap();
            let fault = KeyRing::load_or_create(&settings, &chance()).unwrap_err();
            assert!(matches!(&fault, Error::KeyRing(text) if text.contains("t.keys")), "{fault}");
        }
    }
}
