/// Why the store could not do it. Nothing secret is in the text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("store.url `{0}` names no store that Tracker knows: write `sqlite:PATH`")]
    Url(String),
    #[error(
        "{path}: this store was written by a newer Tracker (schema {found}, this one knows up to {known}): upgrade Tracker, or give another store.url"
    )]
    Newer { path: String, found: i64, known: i64 },
    #[error("{0}")]
    KeyRing(String),
    #[error("{path}: another Tracker has this store open; only one at a time may use a SQLite store")]
    InUse { path: String },
    /// The collection was written by someone else since it was read.
    #[error("what is known was changed meanwhile")]
    Conflict,
    /// A row that makes no sense: someone must look.
    #[error("{table}.{column} of {key} makes no sense: {text}")]
    Corrupt { table: &'static str, column: &'static str, key: String, text: String },
    /// The database failed or could not be reached.
    #[error("{action}: {source}")]
    Database { action: &'static str, source: sqlx::Error },
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
}
