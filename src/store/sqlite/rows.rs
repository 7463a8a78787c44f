//! Between rows and nouns. What cannot be understood is an error that names the place.

use std::fmt::Display;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::model::{
    AccountId, Change, ChangeId, Collection, Entry, Image, Instance, News, Observed, Realm, Resource, Seq, Snapshot,
    Subject, Topic, Volume,
};
use crate::store::Error;

/// A struct that is read from a row, each field from the column of its name. After `..` come fields that are such structs
/// themselves. The derive would bring all of sqlx's procedural macros into the build.
macro_rules! row {
    (
        $(#[$about:meta])*
        $vis:vis struct $name:ident {
            $($(#[$about_field:meta])* $field_vis:vis $field:ident: $kind:ty,)*
            $(.. $($(#[$about_inner:meta])* $inner_vis:vis $inner:ident: $inner_kind:ty,)*)?
        }
    ) => {
        $(#[$about])*
        $vis struct $name {
            $($(#[$about_field])* $field_vis $field: $kind,)*
            $($($(#[$about_inner])* $inner_vis $inner: $inner_kind,)*)?
        }

        impl<'r> sqlx::FromRow<'r, sqlx::sqlite::SqliteRow> for $name {
            fn from_row(row: &'r sqlx::sqlite::SqliteRow) -> Result<Self, sqlx::Error> {
                use sqlx::Row as _;
                Ok(Self {
                    $($field: row.try_get(stringify!($field))?,)*
                    $($($inner: <$inner_kind as sqlx::FromRow<'r, sqlx::sqlite::SqliteRow>>::from_row(row)?,)*)?
                })
            }
        }
    };
}
pub(super) use row;

/// Says what the store was doing when the database failed.
pub(super) trait Doing<T> {
    fn doing(self, action: &'static str) -> Result<T, Error>;
}

impl<T> Doing<T> for Result<T, sqlx::Error> {
    fn doing(self, action: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::Database { action, source })
    }
}

/// Where a value stands, for the error that names it.
#[derive(Clone, Copy)]
pub(super) struct Cell<'a> {
    pub(super) table: &'static str,
    pub(super) column: &'static str,
    pub(super) account: AccountId,
    /// The rest of the key; empty where the account is all of it.
    pub(super) key: &'a dyn Display,
}

impl Cell<'_> {
    pub(super) fn column(self, column: &'static str) -> Self {
        Self { column, ..self }
    }

    pub(super) fn corrupt(&self, text: impl Display) -> Error {
        let key = format!("account {} {}", self.account, self.key);
        Error::Corrupt {
            table: self.table,
            column: self.column,
            key: key.trim_end().to_owned(),
            text: text.to_string(),
        }
    }

    pub(super) fn instant(&self, ms: i64) -> Result<Timestamp, Error> {
        Timestamp::from_millisecond(ms).map_err(|_| self.corrupt(format_args!("{ms} ms is no time")))
    }

    pub(super) fn unsigned<T: TryFrom<i64>>(&self, number: i64) -> Result<T, Error> {
        T::try_from(number).map_err(|_| self.corrupt(format_args!("{number} is out of range")))
    }

    pub(super) fn collection(&self, text: &str) -> Result<Collection, Error> {
        Collection::parse(text).ok_or_else(|| self.corrupt(format_args!("there is no collection `{text}`")))
    }

    /// Never for what was sealed: the fault's text may quote the value.
    pub(super) fn json<T: DeserializeOwned>(&self, body: &str) -> Result<T, Error> {
        serde_json::from_str(body).map_err(|err| self.corrupt(err))
    }

    pub(super) fn resource(&self, collection: Collection, body: &str) -> Result<Resource, Error> {
        Ok(match collection {
            Collection::Instances => self.json::<Instance>(body)?.into(),
            Collection::Realms => Resource::Realm(self.json::<Realm>(body)?),
            Collection::Images => Resource::Image(self.json::<Image>(body)?),
            Collection::StorageVolumes => Resource::Volume(self.json::<Volume>(body)?),
            Collection::StorageSnapshots => Resource::Snapshot(self.json::<Snapshot>(body)?),
        })
    }
}

/// What SQLite can count up to; more than that exists nowhere.
pub(super) fn int(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// A list for `json_each`.
pub(super) fn json(list: &impl Serialize) -> String {
    serde_json::to_string(list).expect("our rows have text keys and finite numbers")
}

pub(super) fn resource_body(resource: &Resource) -> String {
    match resource {
        Resource::Instance(instance) => json(instance),
        Resource::Realm(realm) => json(realm),
        Resource::Image(image) => json(image),
        Resource::Volume(volume) => json(volume),
        Resource::Snapshot(snapshot) => json(snapshot),
    }
}

/// What no query asks for of a change.
#[derive(Serialize, Deserialize)]
struct ChangeBody<N> {
    revision: u64,
    name: Option<String>,
    realm: Option<String>,
    observed: Observed,
    news: N,
}

pub(super) fn change_body(change: &Change) -> String {
    // Every field is named, so that a new one has to find its place here.
    let Change { id: _, at: _, subject, observed, news } = change;
    let Subject { collection: _, id: _, revision, name, realm } = subject;
    json(&ChangeBody { revision: *revision, name: name.clone(), realm: realm.clone(), observed: *observed, news })
}

row! {
    /// The columns of `changes` after the account; NULL all of them where a join found no such change.
    pub(super) struct ChangeRow {
        pub(super) seq: i64,
        change_id: Option<String>,
        at: Option<i64>,
        collection: Option<String>,
        resource: Option<String>,
        body: Option<String>,
    }
}

impl ChangeRow {
    pub(super) fn entry(self, account: AccountId) -> Result<Entry, Error> {
        let key = format!("seq {}", self.seq);
        let cell = Cell { table: "changes", column: "seq", account, key: &key };
        let (Some(id), Some(at), Some(collection), Some(resource), Some(body)) =
            (self.change_id, self.at, self.collection, self.resource, self.body)
        else {
            return Err(cell.corrupt("deliveries owe this change, but it is not there"));
        };
        let ChangeBody { revision, name, realm, observed, news } =
            cell.column("body").json::<ChangeBody<News>>(&body)?;
        let collection = Topic::parse(&collection)
            .ok_or_else(|| cell.column("collection").corrupt(format_args!("there is no collection `{collection}`")))?;
        let subject = Subject { collection, id: resource, revision, name, realm };
        let at = cell.column("at").instant(at)?;
        let change = Change { id: ChangeId(id), at, subject, observed, news };
        Ok(Entry { seq: Seq(cell.unsigned(self.seq)?), change })
    }
}
