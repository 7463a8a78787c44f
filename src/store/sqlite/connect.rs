use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqlSafeStr as _, SqlitePool};

use super::rows::{Doing as _, json};
use super::writer::Writer;
use crate::model::{AccountId, Collection};
use crate::store::keyring::{KeyRing, Place};
use crate::store::{Error, Settings};

/// Version, name and text of every migration, oldest first.
const MIGRATIONS: [(i64, &str, &str); 8] = [
    (1, "house", include_str!("../../../migrations/sqlite/0001_house.sql")),
    (2, "delivery", include_str!("../../../migrations/sqlite/0002_delivery.sql")),
    (3, "retention", include_str!("../../../migrations/sqlite/0003_retention.sql")),
    (4, "gaps", include_str!("../../../migrations/sqlite/0004_gaps.sql")),
    (5, "outages", include_str!("../../../migrations/sqlite/0005_outages.sql")),
    (6, "judgements", include_str!("../../../migrations/sqlite/0006_judgements.sql")),
    (7, "hints", include_str!("../../../migrations/sqlite/0007_hints.sql")),
    (8, "blame", include_str!("../../../migrations/sqlite/0008_blame.sql")),
];

/// How a SQLite file begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// `TRKR`, set by the first migration.
const APPLICATION_ID: i64 = 0x5452_4b52;
/// What is sealed in `key_checks`.
const CHECK: &[u8] = b"Tracker sealed this";
const OPENING: &str = "opening the store";

/// The file in `sqlite:PATH`.
pub(in crate::store) fn path(url: &str) -> Result<&Path, Error> {
    let path = url.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
    match path {
        Some(path) if !path.is_empty() && path != ":memory:" => Ok(Path::new(path)),
        _ => Err(Error::Url(url.to_owned())),
    }
}

/// Takes `PATH.lock`, which is never removed: what counts is who holds it. A link to the store is locked as what it leads
/// to, so that two ways to one store meet at one lock.
pub(super) fn lock(path: &Path) -> Result<File, Error> {
    let name = beside(path, ".lock");
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&name);
    let lock = open.map_err(|source| file_error(&name, source))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: path.display().to_string() }),
        Err(TryLockError::Error(source)) => Err(file_error(&name, source)),
    }
}

/// As SQLite names its own: beside what a link leads to.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let store = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = store.into_os_string();
    name.push(ending);
    name.into()
}

/// Refuses what is not ours or too new, without writing to it; makes the file when it is missing.
pub(super) async fn inspect(path: &Path) -> Result<(), Error> {
    let failed = |source| file_error(path, source);
    // SQLite throws away a log without its file, and what was committed last stands in the log alone.
    let log = beside(path, "-wal");
    let empty = fs::metadata(path).map_or(true, |file| file.len() == 0);
    if empty && fs::metadata(&log).is_ok_and(|file| file.len() > 0) {
        let text = format!(
            "there is no store in it, but its log {} holds changes: put the store back beside it, or move the log away to begin anew",
            log.display()
        );
        return Err(failed(io::Error::new(io::ErrorKind::InvalidData, text)));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return Ok(()),
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => {}
        Err(err) => return Err(failed(err)),
    }
    if fs::metadata(path).map_err(failed)?.len() == 0 {
        return Ok(());
    }
    let foreign = |text: &str| failed(io::Error::new(io::ErrorKind::InvalidData, text));
    let mut head = Vec::new();
    let magic = File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut head));
    magic.map_err(failed)?;
    if head != MAGIC {
        return Err(foreign("this is not a SQLite database: give another store.url, or move the file away"));
    }

    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let mut connection = options.connect().await.doing(OPENING)?;
    let (application, tables, migrated): (i64, i64, bool) = sqlx::query_as(
        "SELECT (SELECT application_id FROM pragma_application_id),
                (SELECT count(*) FROM sqlite_schema WHERE name <> '_sqlx_migrations' AND tbl_name <> '_sqlx_migrations'),
                EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')",
    )
    .fetch_one(&mut connection)
    .await
    .doing(OPENING)?;
    // A Tracker that was killed while making the store leaves a database without tables.
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(foreign("this SQLite database belongs to another program: give another store.url"));
    }
    let found: Option<i64> = if migrated {
        let newest = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations");
        newest.fetch_one(&mut connection).await.doing(OPENING)?
    } else {
        None
    };
    connection.close().await.doing(OPENING)?;
    let known = MIGRATIONS.iter().map(|(version, ..)| *version).max().unwrap_or_default();
    match found {
        Some(found) if found > known => Err(Error::Newer { path: path.display().to_string(), found, known }),
        _ => Ok(()),
    }
}

/// Opens the file for work and brings its schema up to date.
pub(super) async fn connect(path: &Path, settings: &Settings) -> Result<(Writer, SqlitePool), Error> {
    let wait = Duration::from_millis(settings.busy_wait_ms);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(wait)
        .foreign_keys(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        // Erased credentials are overwritten, not just forgotten.
        .pragma("secure_delete", "on")
        .pragma("temp_store", "memory")
        .disable_statement_logging();

    let writer = Writer::new(options.clone(), wait).await.doing(OPENING)?;
    let migrations = MIGRATIONS.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.to_vec())
        .run(writer.turn(OPENING).await?.connection())
        .await
        .map_err(sqlx::Error::from)
        .doing("bringing the store's schema up to date")?;

    let readers = SqlitePoolOptions::new()
        .max_connections(settings.readers.max(1))
        .acquire_timeout(wait)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(options.pragma("query_only", "on"));
    Ok((writer, readers))
}

/// Refuses keys that are not those of the store, notes a new one, and makes the units of collections that are new.
pub(super) async fn fit(path: &Path, writer: &Writer, keys: &KeyRing) -> Result<(), Error> {
    let mut turn = writer.turn(OPENING).await?;
    let mut tx = turn.begin().await?;
    let checks: Vec<(String, Vec<u8>)> = sqlx::query_as("SELECT key_id, sealed FROM key_checks ORDER BY key_id")
        .fetch_all(&mut *tx)
        .await
        .doing(OPENING)?;
    for (id, sealed) in &checks {
        keys.open(check_place(id), sealed).map_err(|fault| misfit(path, keys, id, &fault))?;
    }
    let newest = keys.newest();
    if checks.iter().all(|(id, _)| id != newest) {
        sqlx::query("INSERT INTO key_checks (key_id, sealed) VALUES ($1, $2)")
            .bind(newest)
            .bind(keys.seal(check_place(newest), CHECK))
            .execute(&mut *tx)
            .await
            .doing(OPENING)?;
    }
    sqlx::query(
        "INSERT INTO units (account_id, collection)
         SELECT a.account_id, j.value FROM accounts a CROSS JOIN json_each($1) j WHERE true
         ON CONFLICT DO NOTHING",
    )
    .bind(json(&Collection::ALL.map(Collection::as_str)))
    .execute(&mut *tx)
    .await
    .doing(OPENING)?;
    tx.commit().await.doing(OPENING)
}

fn check_place(id: &str) -> Place<'_> {
    Place { account: AccountId(0), table: "key_checks", column: "sealed", record: id }
}

fn misfit(path: &Path, keys: &KeyRing, id: &str, fault: &str) -> Error {
    let given: Vec<&str> = keys.ids().collect();
    Error::KeyRing(format!(
        "the key ring (keys: {}) does not fit the store {}, which was sealed with key `{id}`: {fault}. Give the key ring that \
         belongs to this store, or move the store away to begin anew",
        given.join(", "),
        path.display()
    ))
}

fn file_error(path: &Path, source: io::Error) -> Error {
    Error::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_file() {
        let check = |url: &str, wanted: Option<&str>| {
            assert_eq!(path(url).ok(), wanted.map(Path::new), "{url}");
        };
        check("sqlite:tracker.db", Some("tracker.db"));
        check("sqlite:/var/lib/tracker.db", Some("/var/lib/tracker.db"));
        check("sqlite:///var/lib/tracker.db", Some("/var/lib/tracker.db"));
        check("sqlite://tracker.db", Some("tracker.db"));
        check("sqlite:", None);
        check("sqlite::memory:", None);
        check("postgres://db/tracker", None);
        check("tracker.db", None);
    }

    #[test]
    fn migrations_are_numbered_without_a_hole() {
        let versions: Vec<i64> = MIGRATIONS.iter().map(|(version, ..)| *version).collect();
        assert_eq!(versions, (1..).take(MIGRATIONS.len()).collect::<Vec<_>>());
    }
}
