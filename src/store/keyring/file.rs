//! Looking after the key ring's file, for its owner.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{BASE64, Error, KEY_BYTES, KeyRing, Settings, file_error, folder};
use crate::chance::Chance;

/// Before the moment that a key was made at, in a comment behind it.
const MADE: &str = "# made ";

/// What may be told of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAbout {
    pub id: String,
    /// As the file says; the first key's line says nothing.
    pub made_at: Option<Timestamp>,
    /// It is the one that seals.
    pub seals: bool,
}

impl KeyRing {
    /// The keys in the file, newest last; `None`: there is no file.
    ///
    /// # Errors
    /// [`Error::KeyRing`] and [`Error::File`] as [`KeyRing::load_or_create`].
    pub fn about(settings: &Settings, chance: &Arc<Chance>) -> Result<Option<Vec<KeyAbout>>, Error> {
        let path = Path::new(&settings.key_ring);
        let Some(ring) = Self::load(path, chance)? else { return Ok(None) };
        let text = Zeroizing::new(fs::read_to_string(path).map_err(|source| file_error(path, source))?);
        let about = |id: &str| KeyAbout { id: id.to_owned(), made_at: made_at(&text, id), seals: id == ring.newest() };
        Ok(Some(ring.ids().map(about).collect()))
    }

    /// Adds a key, which seals from the next start on, and tells its id. The file is replaced whole.
    ///
    /// # Errors
    /// As [`KeyRing::about`]; when there is no file; when another addition is under way.
    pub fn add_key(settings: &Settings, chance: &Chance, now: Timestamp) -> Result<String, Error> {
        let path = Path::new(&settings.key_ring);
        let shown = path.display();
        let known = Self::about(settings, &Arc::new(Chance::from_system()))?.ok_or_else(|| {
            Error::KeyRing(format!("{shown}: there is no key ring yet; the first start of Tracker makes it"))
        })?;
        let id = format!("k{:08x}", u32::from_be_bytes(chance.bytes()));
        if known.iter().any(|key| key.id == id) {
            return Err(Error::KeyRing(format!("{shown}: the id drawn for the new key is taken; try again")));
        }
        let mut text = Zeroizing::new(fs::read_to_string(path).map_err(|source| file_error(path, source))?);
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let key = Zeroizing::new(chance.bytes::<KEY_BYTES>());
        let coded = Zeroizing::new(BASE64.encode(key.as_slice()));
        text.push_str(&format!("{id}:{} {MADE}{now:.0}\n", coded.as_str()));
        replace(path, &text)?;
        Ok(id)
    }
}

/// One name for every draft, so that two additions at once cannot lose a key.
fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".adding");
    PathBuf::from(name)
}

fn replace(path: &Path, text: &str) -> Result<(), Error> {
    let draft = draft(path);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft);
    let mut file = file.map_err(|err| match err.kind() {
        std::io::ErrorKind::AlreadyExists => Error::KeyRing(format!(
            "{} is there: another key is being added, or that was broken off; then remove this file",
            draft.display()
        )),
        _ => file_error(&draft, err),
    })?;
    let written = (|| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        File::open(folder(path))?.sync_all()
    })();
    written.map_err(|source| {
        // It is gone when it was renamed, and else only in the way.
        let _ = fs::remove_file(&draft);
        file_error(path, source)
    })
}

fn made_at(text: &str, id: &str) -> Option<Timestamp> {
    let line =
        text.lines().find(|line| line.trim_start().strip_prefix(id).is_some_and(|rest| rest.starts_with(':')))?;
    line.split_once(MADE)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::model::AccountId;
    use crate::store::keyring::Place;

    const PLACE: Place<'static> = Place { account: AccountId(7), table: "hooks", column: "sealed", record: "hook_1" };

    #[test]
    fn a_new_key_seals_and_the_older_ones_go_on_opening() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let settings =
            Settings { url: format!("sqlite:{}", at("t.db")), key_ring: at("t.keys"), ..Settings::default() };
        let (chance, now) = (Arc::new(Chance::seeded(1)), "2026-11-21T10:00:00Z".parse().unwrap());
        assert_eq!(KeyRing::about(&settings, &chance).unwrap(), None);
        KeyRing::add_key(&settings, &chance, now).unwrap_err();

        let first = KeyRing::load_or_create(&settings, &chance).unwrap();
        let sealed = first.seal(PLACE, b"secret");
        let id = KeyRing::add_key(&settings, &chance, now).unwrap();
        let second = KeyRing::load_or_create(&settings, &chance).unwrap();
        assert_eq!(second.newest(), id);
        assert_eq!(second.open(PLACE, &sealed).unwrap().as_slice(), b"secret");

        let about = KeyRing::about(&settings, &chance).unwrap().unwrap();
        let old = KeyAbout { id: first.newest().to_owned(), made_at: None, seals: false };
        assert_eq!(about, [old, KeyAbout { id, made_at: Some(now), seals: true }]);
        assert_eq!(fs::metadata(&settings.key_ring).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_additions_at_once_do_not_lose_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.keys");
        fs::write(draft(&path), "").unwrap();
        let err = replace(&path, "text").unwrap_err();
        assert!(err.to_string().contains("another key is being added"), "{err}");
        assert!(draft(&path).exists() && !path.exists());
    }
}
