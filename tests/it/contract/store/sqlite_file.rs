//! What concerns the file: who may open it, what stands in it, what becomes of damage.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tracker::model::{AccountId, Collection, InstanceState, Seq, Verdict};
use tracker::store::{self, Baseline, Commit, Error, KeyRing, Settings, UnitPlan};

use super::world::{
    PASSWORD, QUERY, SIGNING_KEY, TOKEN, World, ask, at, chance, commit, hook, instance, key, known, login, member,
    open, outcome, owed, results, retry, settings, subscriber,
};

const OTHER_KEY: &str = "k0:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fn file(settings: &Settings) -> PathBuf {
    PathBuf::from(settings.url.strip_prefix("sqlite:").unwrap())
}

async fn raw(settings: &Settings) -> SqliteConnection {
    SqliteConnectOptions::new().filename(file(settings)).connect().await.unwrap()
}

async fn run(settings: &Settings, sql: &str) {
    let mut connection = raw(settings).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn fault(settings: &Settings) -> Error {
    open(settings).await.err().expect("it must not open")
}

/// Everything in the folder but the key ring, as bytes.
fn bytes_on_disk(folder: &Path) -> Vec<u8> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_none_or(|end| end != "keys"))
        .flat_map(|path| fs::read(path).unwrap())
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// An account with a hook on `i-1`, a known resource, and two changes that it is owed.
async fn filled() -> (World, AccountId) {
    let world = World::sqlite().await;
    let hook = hook("hook_1", "i-1", "one");
    let members = vec![known(instance("i-1", InstanceState::Running), 0)];
    let baseline = Baseline { collection: Collection::Instances, through: Seq(0), members, complete_at: None };
    let (key, login) = (key("a"), login(PASSWORD));
    let account = world.store.save_hook(&key, &login, &hook, Some(&baseline), at(0)).await.unwrap();
    world.news(account, 1, &[("i-1", &[&hook]), ("i-1", &[&hook])]).await;
    (world, account)
}

#[tokio::test]
async fn nothing_secret_stands_in_the_file() {
    let (world, account) = filled().await;
    world.claim(1).await;
    world.record(account, &hook("hook_1", "i-1", "one"), 1, retry(9), 2).await;
    let check = |when: &str| {
        let bytes = bytes_on_disk(world.folder.path());
        assert!(holds(&bytes, "hook_1") && holds(&bytes, "https://one"), "the search finds what is there");
        for secret in [PASSWORD, TOKEN, SIGNING_KEY, QUERY, "pw-in-the-url", "AKIA7", "whsec_"] {
            assert!(!holds(&bytes, secret), "{secret} {when}");
        }
    };
    check("in the write-ahead log");
    // All of it into the file itself.
    run(&world.settings, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    check("in the database");
}

#[tokio::test]
async fn erased_credentials_are_overwritten() {
    let (world, account) = filled().await;
    let sealed: Vec<u8> = {
        let mut connection = raw(&world.settings).await;
        sqlx::query_scalar("SELECT sealed FROM accounts").fetch_one(&mut connection).await.unwrap()
    };
    let has = |bytes: &[u8]| bytes.windows(sealed.len()).any(|window| window == sealed);
    run(&world.settings, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert!(has(&bytes_on_disk(world.folder.path())));

    world.store.remove_hook(account, &subscriber("default"), &member("i-1"), at(2)).await.unwrap();
    run(&world.settings, "PRAGMA wal_checkpoint(TRUNCATE)").await;
    assert!(!has(&bytes_on_disk(world.folder.path())));
}

#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    let (world, _) = filled().await;
    for entry in fs::read_dir(world.folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{:?}", entry.file_name());
    }
}

#[tokio::test]
async fn a_second_opener_is_refused_until_the_first_is_done() {
    let (world, _) = filled().await;
    let refused = fault(&world.settings).await;
    assert!(matches!(&refused, Error::InUse { path } if *path == file(&world.settings).display().to_string()));
    world.reopen().await;
}

#[tokio::test]
async fn a_second_opener_that_comes_through_a_link_is_refused_too() {
    let (world, _) = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(file(&world.settings), &link).unwrap();
    let refused = fault(&Settings { url: format!("sqlite:{}", link.display()), ..world.settings.clone() }).await;
    assert!(matches!(refused, Error::InUse { .. }), "{refused}");
}

#[tokio::test]
async fn a_log_whose_store_is_missing_or_empty_is_not_thrown_away() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    let log = PathBuf::from(format!("{}-wal", file(&settings).display()));
    fs::write(&log, b"what was committed last").unwrap();
    let check = async |case: &str| {
        let refused = fault(&settings).await.to_string();
        assert!(refused.contains(log.to_str().unwrap()), "{case}: {refused}");
        assert_eq!(fs::read(&log).unwrap(), b"what was committed last", "{case}");
    };
    check("missing").await;
    assert!(!file(&settings).exists());
    fs::write(file(&settings), b"").unwrap();
    check("empty").await;
    fs::remove_file(&log).unwrap();
    open(&settings).await.unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_reopening() {
    let (world, account) = filled().await;
    let before = world.store.known(account, Collection::Instances).await.unwrap();
    let log = world.store.log_after(account, Seq(0), 9).await.unwrap();
    let world = world.reopen().await;
    assert_eq!(world.store.known(account, Collection::Instances).await.unwrap(), before);
    assert_eq!(world.store.log_after(account, Seq(0), 9).await.unwrap(), log);
    assert_eq!(world.store.account_by_login(&login(PASSWORD), "us-east-1").await.unwrap().unwrap().id, account);
    assert_eq!(world.store.hooks(account).await.unwrap().len(), 1);
    assert_eq!(world.claimed(1).await, owed(&[("hook_1", 1)]));
}

#[tokio::test]
async fn what_was_committed_survives_a_power_cut() {
    let (world, account) = filled().await;
    // What a power cut leaves: the file and its log as they are, no shared memory, no orderly end.
    let after = tempfile::tempdir().unwrap();
    for name in ["tracker.db", "tracker.db-wal", "tracker.keys"] {
        fs::copy(world.folder.path().join(name), after.path().join(name)).unwrap();
    }
    let store = open(&settings(&after)).await.unwrap();
    assert_eq!(store.log_after(account, Seq(0), 9).await.unwrap().len(), 2);
    assert_eq!(store.claim(&ask(at(1), at(61), 9, 9, &[])).await.unwrap().deliveries.len(), 1);
}

#[tokio::test]
async fn other_keys_do_not_open_it() {
    let (World { folder, settings, store }, account) = filled().await;
    drop(store);
    let other = || KeyRing::parse(OTHER_KEY, &chance()).unwrap();
    let refused = store::open(&settings, other()).await.err().unwrap().to_string();
    assert!(refused.contains("the key ring (keys: k0) does not fit the store"), "{refused}");
    assert!(refused.contains("Give the key ring that belongs to this store"), "{refused}");

    // A lost key ring is not replaced by a new one.
    let ring = fs::read(&settings.key_ring).unwrap();
    fs::remove_file(&settings.key_ring).unwrap();
    assert!(matches!(fault(&settings).await, Error::KeyRing(text) if text.contains("put the key ring back")));
    assert!(!Path::new(&settings.key_ring).exists());

    // The same id with other bytes is another key.
    let text = String::from_utf8(ring).unwrap();
    let id = text.lines().last().unwrap().split(':').next().unwrap();
    let forged = OTHER_KEY.replace("k0", id);
    let refused = store::open(&settings, KeyRing::parse(&forged, &chance()).unwrap()).await.err().unwrap();
    assert!(matches!(&refused, Error::KeyRing(fault) if fault.contains("does not open it")), "{refused}");

    // None of that did any harm.
    let store = store::open(&settings, KeyRing::parse(&text, &chance()).unwrap()).await.unwrap();
    assert!(store.account(account).await.unwrap().is_some());
    drop(folder);
}

#[tokio::test]
async fn a_key_that_is_added_seals_from_then_on() {
    let (World { folder, settings, store }, account) = filled().await;
    drop(store);
    let old = fs::read_to_string(&settings.key_ring).unwrap();
    let both = KeyRing::parse(&format!("{old}{OTHER_KEY}"), &chance()).unwrap();
    let store = store::open(&settings, both.clone()).await.unwrap();
    let found = store.account_by_login(&login(PASSWORD), "us-east-1").await.unwrap();
    assert_eq!(found.unwrap().id, account, "by the digest under the old key");
    store.save_hook(&key("b"), &login("b"), &hook("hook_1", "i-1", "one"), None, at(1)).await.unwrap();
    assert!(store.account_by_login(&login("b"), "us-east-1").await.unwrap().is_some());
    drop(store);

    let refused = store::open(&settings, KeyRing::parse(&old, &chance()).unwrap()).await.err().unwrap();
    assert!(matches!(&refused, Error::KeyRing(fault) if fault.contains("no key `k0`")), "{refused}");
    store::open(&settings, both).await.unwrap();
    drop(folder);
}

#[tokio::test]
async fn a_newer_store_is_refused_untouched() {
    let (World { folder, settings, store }, _) = filled().await;
    drop(store);
    run(
        &settings,
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (99, 'later', true, x'00', 0);
         DELETE FROM key_checks;
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .await;
    let before = fs::read(file(&settings)).unwrap();
    let refused = fault(&settings).await;
    assert!(matches!(refused, Error::Newer { found: 99, known: 8, .. }), "{refused}");
    assert!(refused.to_string().contains("tracker.db"), "{refused}");
    assert_eq!(fs::read(file(&settings)).unwrap(), before);
    drop(folder);
}

#[tokio::test]
async fn what_is_not_ours_is_refused_by_name_and_untouched() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(&folder);
    KeyRing::load_or_create(&settings, &chance()).unwrap();
    let check = async |wanted: &str| {
        let before = fs::read(file(&settings)).unwrap();
        let refused = fault(&settings).await.to_string();
        assert!(refused.contains("tracker.db") && refused.contains(wanted), "{refused}");
        assert_eq!(fs::read(file(&settings)).unwrap(), before);
        fs::remove_file(file(&settings)).unwrap();
    };
    fs::write(file(&settings), "Dear diary, today a machine stopped.").unwrap();
    check("this is not a SQLite database").await;
    fs::write(file(&settings), "x").unwrap();
    check("this is not a SQLite database").await;

    let other = SqliteConnectOptions::new().filename(file(&settings)).create_if_missing(true);
    let mut connection = other.connect().await.unwrap();
    sqlx::raw_sql("CREATE TABLE recipes (name TEXT)").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    check("belongs to another program").await;
}

#[tokio::test]
async fn a_start_that_was_cut_short_is_taken_up_again() {
    // Killed after the file was made, or after the database was, but before the first migration.
    for begin in ["", "PRAGMA journal_mode = WAL", "PRAGMA journal_mode = WAL; CREATE TABLE _sqlx_migrations (
            version BIGINT PRIMARY KEY, description TEXT NOT NULL, installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
            success BOOLEAN NOT NULL, checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)"]
    {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(&folder);
        KeyRing::load_or_create(&settings, &chance()).unwrap();
        fs::write(file(&settings), "").unwrap();
        run(&settings, begin).await;
        open(&settings).await.unwrap();
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no").join("where");
    let settings = Settings { url: format!("sqlite:{}", missing.join("tracker.db").display()), ..settings(&folder) };
    assert!(fault(&settings).await.to_string().contains("no/where/tracker.db"));
    for url in ["postgres://db/x", "sqlite::memory:", "nonsense"] {
        let settings = Settings { url: url.to_owned(), ..settings.clone() };
        assert!(matches!(fault(&settings).await, Error::Url(named) if named == url));
    }
}

#[tokio::test]
async fn every_attempt_is_kept_whatever_it_decides() {
    let (world, account) = filled().await;
    let hook = hook("hook_1", "i-1", "one");
    world.claim(1).await;
    world.record(account, &hook, 1, retry(3), 2).await;
    world.record(account, &hook, 1, Verdict::Postpone { due_at: at(4) }, 3).await;
    world.store.acknowledge(account, &subscriber("default"), &[Seq(1)], at(4)).await.unwrap();
    let both = [outcome(account, &hook, 1, Verdict::Delivered, 5), outcome(account, &hook, 1, Verdict::Delivered, 6)];
    world.store.record(&results(both), at(6)).await.unwrap();

    let mut connection = raw(&world.settings).await;
    type Kept = (i64, i64, i64, Option<i64>, Option<String>, String);
    let kept: Vec<Kept> =
        sqlx::query_as("SELECT record, at, elapsed_ms, status, error, answer FROM attempts ORDER BY record")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let wanted: Vec<_> = (1..)
        .zip([2, 3, 5, 6])
        .map(|(record, second)| {
            let (error, answer) = ("the receiver answered 503".to_owned(), "come \"later\"".to_owned());
            (record, at(second).as_millisecond(), 12, Some(503), Some(error), answer)
        })
        .collect();
    assert_eq!(kept, wanted);
    let (state, attempts): (String, i64) = sqlx::query_as("SELECT state, attempts FROM deliveries WHERE seq = 1")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!((state.as_str(), attempts), ("read", 3), "the postponed one is not counted");
}

#[tokio::test]
async fn a_row_that_makes_no_sense_stops_none_of_the_others() {
    let (world, account) = filled().await;
    let healthy = hook("hook_2", "i-2", "two");
    world.set(&healthy).await;
    world.news(account, 2, &[("i-2", &[&healthy])]).await;
    let other = world.store.save_hook(&key("b"), &login("b"), &hook("hook_1", "i-1", "b"), None, at(0)).await.unwrap();
    run(&world.settings, "UPDATE changes SET body = 'x' WHERE seq = 1").await;
    run(&world.settings, &format!("UPDATE accounts SET sealed = x'01' WHERE account_id = {account}")).await;

    let claimed = world.store.claim(&ask(at(9), at(69), 9, 9, &[])).await.unwrap();
    let seqs: Vec<_> = claimed.deliveries.iter().map(|delivery| delivery.entry.seq).collect();
    assert_eq!((seqs, claimed.unreadable.len()), (vec![Seq(3)], 1));

    let due = world.store.due_units(at(9), at(0), 9).await.unwrap();
    assert!(due.units.iter().all(|unit| unit.account.id == other), "{:?}", due.units);
    assert_eq!((due.units.len(), due.unreadable.len()), (2, 2));
    for unit in due.unreadable {
        let plan = UnitPlan { due_at: at(600), failures: 1, error: None, rest_until: None };
        world.store.plan_unit(unit.account, unit.collection, unit.due_at, &plan).await.unwrap();
    }
    assert_eq!(world.store.due_units(at(9), at(0), 9).await.unwrap().unreadable.len(), 0);
}

#[tokio::test]
async fn a_row_that_makes_no_sense_is_named() {
    let check = async |sql: &str, place: (&str, &str, &str)| {
        let (world, account) = filled().await;
        run(&world.settings, sql).await;
        let store = &world.store;
        let mut faults = Vec::new();
        let default = subscriber("default");
        faults.extend(store.account(account).await.err());
        faults.extend(store.account_by_login(&login(PASSWORD), "us-east-1").await.err());
        faults.extend(store.hooks(account).await.err());
        faults.extend(store.hook(account, &default, &member("i-1")).await.err());
        faults.extend(store.known(account, Collection::Instances).await.err());
        match store.due_units(at(9), at(0), 9).await {
            Ok(due) => faults.extend(due.unreadable.into_iter().map(|unit| unit.error)),
            Err(err) => faults.push(err),
        }
        faults.extend(store.undelivered(account, &default, Seq(0), 9).await.err());
        faults.extend(store.log_after(account, Seq(0), 9).await.err());
        faults.extend(store.claim(&ask(at(9), at(69), 9, 9, &[])).await.unwrap().unreadable);
        assert!(!faults.is_empty(), "{sql}: nobody noticed");
        for fault in faults {
            let Error::Corrupt { table, column, key, text } = &fault else { panic!("{sql}: {fault}") };
            assert_eq!((*table, *column, key.as_str()), place, "{sql}");
            for secret in [PASSWORD, TOKEN, SIGNING_KEY, QUERY] {
                assert!(!text.contains(secret), "{text}");
            }
        }
        // What cannot be read stays claimed, so that it comes again once in a lease and not at once.
        assert_eq!(store.claim(&ask(at(10), at(70), 9, 9, &[])).await.unwrap().unreadable.len(), 0);
        assert_eq!(store.release_claims().await.unwrap(), 1);
    };
    let account = "account 1";
    let hook = "account 1 hook_1";
    check("UPDATE accounts SET sealed = x'0102'", ("accounts", "sealed", account)).await;
    check("UPDATE hooks SET sealed = x''", ("hooks", "sealed", hook)).await;
    check("UPDATE hooks SET sealed = (SELECT sealed FROM accounts)", ("hooks", "sealed", hook)).await;
    check("UPDATE hooks SET subscriber = 'no name'; UPDATE hooks SET subscriber = ''", ("hooks", "subscriber", hook))
        .await;
    check("UPDATE hooks SET collection = 'dogs'", ("hooks", "collection", hook)).await;
    check("UPDATE hooks SET created_at = 9223372036854775807", ("hooks", "created_at", hook)).await;
    let resource = "account 1 instances/i-1";
    check("UPDATE resources SET body = '{'", ("resources", "body", resource)).await;
    check("UPDATE resources SET body = replace(body, 'i-1', 'i-2')", ("resources", "body", resource)).await;
    check("UPDATE resources SET revision = -1", ("resources", "revision", resource)).await;
    check("UPDATE units SET failures = -1 WHERE collection = 'realms'", ("units", "failures", "account 1 realms"))
        .await;
    check("UPDATE changes SET body = '{}' WHERE seq = 1", ("changes", "body", "account 1 seq 1")).await;
    check("UPDATE changes SET collection = '' WHERE seq = 1", ("changes", "collection", "account 1 seq 1")).await;
    check("DELETE FROM changes WHERE seq = 1", ("changes", "seq", "account 1 seq 1")).await;
}

#[tokio::test]
async fn a_writer_that_cannot_write_says_so_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { busy_wait_ms: 50, ..settings(&folder) };
    let store = open(&settings).await.unwrap();
    let hook = hook("hook_1", "i-1", "one");
    let account = store.save_hook(&key("a"), &login("a"), &hook, None, at(0)).await.unwrap();

    // Someone with a database tool holds the write lock.
    let mut tool = raw(&settings).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut tool).await.unwrap();
    let refused = store.commit_sample(&commit(account, 1, 1)).await.unwrap_err();
    assert!(matches!(&refused, Error::Database { action: "recording a sample", .. }), "{refused}");
    assert_eq!(store.known(account, Collection::Instances).await.unwrap().version, 1, "reading goes on");
    sqlx::raw_sql("ROLLBACK").execute(&mut tool).await.unwrap();
    tool.close().await.unwrap();
    let sample = Commit { observed_at: Some(at(2)), ..commit(account, 1, 2) };
    store.commit_sample(&sample).await.unwrap();
    assert_eq!(store.known(account, Collection::Instances).await.unwrap().version, 2);
    assert_eq!(fs::metadata(file(&settings)).unwrap().permissions().mode() & 0o777, 0o600);
}
