//! Callbacks in the hands of libraries that know nothing of Tracker. `tests/run` sets them up.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::moto::{self, Ran, run_script};
use super::receiver::Received;

/// The interpreters, with the libraries they find.
pub struct Foreign {
    python: PathBuf,
    node: PathBuf,
}

/// Who judges signatures: `standardwebhooks` from PyPI and from npm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judge {
    Pypi,
    Npm,
}

impl Judge {
    pub const ALL: [Self; 2] = [Self::Pypi, Self::Npm];
}

impl Foreign {
    /// `None`: not set up, which has been said; the test is to return. Under `tests/run` that is a failure.
    pub fn of(test: &str) -> Option<Self> {
        let python = moto::python(test)?;
        if let Some(node) = std::env::var_os("TRACKER_TEST_NODE") {
            return Some(Self { python, node: node.into() });
        }
        assert!(
            std::env::var_os("TRACKER_TEST_ALL").is_none_or(|all| all != "1"),
            "{test} needs TRACKER_TEST_NODE, and TRACKER_TEST_ALL=1 allows no skipping"
        );
        let said = format!("SKIPPED {test}: it needs Node.js; `tests/run` sets it up and runs everything\n");
        let _ = std::io::stderr().write_all(said.as_bytes());
        None
    }

    /// Exit status 0 and the parsed body on standard output: the signature is good. 1: it is not.
    pub async fn verify(&self, judge: Judge, secret: &str, callback: &Received) -> Ran {
        let (program, script) = match judge {
            Judge::Pypi => (&self.python, "moto/verify.py"),
            Judge::Npm => (&self.node, "foreign/verify.js"),
        };
        let mut input = message(callback);
        input["secret"] = secret.into();
        run_script(program, &path(script), &[], &input.to_string()).await
    }

    /// Exit status 0 and the event on standard output: PyPI's `cloudevents` has read it. 1: it is none.
    pub async fn cloudevent(&self, callback: &Received) -> Ran {
        run_script(&self.python, &path("foreign/cloudevent.py"), &[], &message(callback).to_string()).await
    }
}

fn path(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script)
}

fn message(callback: &Received) -> serde_json::Value {
    let headers: serde_json::Map<String, serde_json::Value> =
        callback.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    let body = std::str::from_utf8(&callback.body).expect("callbacks are text");
    serde_json::json!({ "headers": headers, "body": body })
}
