use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _, Sqlite, Transaction};
use tokio::sync::{Mutex, MutexGuard};

use super::rows::Doing as _;
use crate::store::Error;

/// The one connection that writes. Steps take turns, first come, first served.
pub(super) struct Writer {
    connection: Mutex<SqliteConnection>,
    options: SqliteConnectOptions,
    /// A transaction could not begin: the next turn starts with a new connection. Happens when SQLite rolled back by itself
    /// (disk full) and left the connection's idea of its transaction wrong.
    broken: AtomicBool,
    wait: Duration,
}

/// A turn at the writer; the next in line waits until it is dropped.
pub(super) struct Turn<'a> {
    connection: MutexGuard<'a, SqliteConnection>,
    writer: &'a Writer,
    action: &'static str,
}

impl Writer {
    pub(super) async fn new(options: SqliteConnectOptions, wait: Duration) -> Result<Self, sqlx::Error> {
        let connection = Mutex::new(options.connect().await?);
        Ok(Self { connection, options, broken: AtomicBool::new(false), wait })
    }

    /// Waits for a turn, at most as long as the settings allow. `action` is for the error's text.
    pub(super) async fn turn(&self, action: &'static str) -> Result<Turn<'_>, Error> {
        let connection = tokio::time::timeout(self.wait, self.connection.lock())
            .await
            .map_err(|_| sqlx::Error::PoolTimedOut)
            .doing(action)?;
        Ok(Turn { connection, writer: self, action })
    }
}

impl Turn<'_> {
    /// Begins the step's transaction. Dropped without a commit, for instance because the caller went away, it is undone.
    pub(super) async fn begin(&mut self) -> Result<Transaction<'_, Sqlite>, Error> {
        if self.writer.broken.load(Ordering::Relaxed) {
            *self.connection = self.writer.options.connect().await.doing(self.action)?;
            self.writer.broken.store(false, Ordering::Relaxed);
        }
        let begun = self.connection.begin_with("BEGIN IMMEDIATE").await;
        if begun.is_err() {
            self.writer.broken.store(true, Ordering::Relaxed);
        }
        begun.doing(self.action)
    }

    /// For what manages its own transactions.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}
