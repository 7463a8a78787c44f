//! The store in one SQLite file: WAL, `synchronous=FULL`, one writer, a few readers.
//!
//! Guarantees: a step is one `BEGIN IMMEDIATE` transaction, so `kill -9` at any moment leaves it whole or undone; a second
//! process is refused by a lock file beside the store; a file of another program or of a newer Tracker is refused before
//! anything in it is touched.
//!
//! A statement costs a hop to the connection's thread, about 70 µs, so lists go in as one JSON text and are unfolded by
//! `json_each`, and a step is a handful of statements however much it writes.
//!
//! **Order.** Of a hook that is posted to, the oldest waiting delivery of each resource is *ready*: it has a `receiver`
//! and a `next_at`; no other delivery has. A delivery becomes ready when it is inserted without an elder, when its elder
//! settles ([`deliveries::promote`]), or when its hook is set again. One exception: an older one that is to be sent again
//! ([`ledger`]) waits while a newer one is claimed. Everything that claims looks at ready rows only, so a million waiting
//! ones cost nothing.
//!
//! **Pruning.** A delivery never outlives its change: changes go only from the oldest on, and only below the oldest delivery
//! that is kept ([`upkeep`]).
//!
//! Races accepted: the outcome of a claim that ran out and was taken again by another counts its attempt, but decides
//! nothing except `Delivered` (the receiver has it) and `Disable` (the receiver is gone); see [`verdicts`].
//!
//! Absent on purpose: group commit. The steps take a transaction that is already open, so one writer task could run
//! several of them in one, each in a savepoint, without touching them.

mod accounts;
mod connect;
mod deliveries;
mod feed;
mod followers;
mod hint_secrets;
mod hooks;
mod ledger;
mod polls;
mod revoked;
mod rows;
mod samples;
mod upkeep;
mod verdicts;
mod writer;

use std::fs::File;
use std::path::Path;

use sqlx::SqlitePool;

pub(super) use connect::path;

use super::{Error, KeyRing, Settings};
use followers::Followers;
use revoked::Revoked;
use writer::Writer;

pub(super) struct Sqlite {
    writer: Writer,
    readers: SqlitePool,
    keys: KeyRing,
    revoked: Revoked,
    followers: Followers,
    /// Last, so that the lock outlives the connections. The system gives it back however the process ends.
    _lock: File,
}

impl Sqlite {
    /// See [`super::open`].
    pub(super) async fn open(path: &Path, settings: &Settings, keys: KeyRing) -> Result<Self, Error> {
        let lock = connect::lock(path)?;
        connect::inspect(path).await?;
        let (writer, readers) = connect::connect(path, settings).await?;
        connect::fit(path, &writer, &keys).await?;
        Ok(Self { writer, readers, keys, revoked: Revoked::default(), followers: Followers::default(), _lock: lock })
    }
}
