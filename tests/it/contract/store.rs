//! What every store promises: each clause runs on each backend. What only one backend can be asked is in its own file.
//!
//! A clause that is not listed in its file's `contract!` is dead code, and the compiler says so.

/// Runs the clauses on every backend. A new backend is one more line here.
macro_rules! contract {
    (@$backend:ident $($clause:ident)+) => {
        mod $backend {
            $(#[tokio::test]
            async fn $clause() {
                super::$clause(super::super::world::World::$backend().await).await;
            })+
        }
    };
    ($($clause:ident)+) => {
        contract! { @sqlite $($clause)+ }
    };
}

mod world;

mod accounts;
mod deliveries;
mod feed;
mod hint_secrets;
mod history;
mod hooks;
mod ledger;
mod merging;
mod polls;
mod recovery;
mod retention;
mod samples;
mod sqlite_file;
mod verdicts;
