//! Deltacloud's words to ours. Pure. Elements that are not there are absent and never blank; words that we do not know are
//! `Unknown`, and kept.

mod images;
mod instances;
mod others;
mod profiles;
mod realms;
mod storage;

pub(super) use self::images::image;
pub(super) use self::instances::{instance, link};
pub(super) use self::others::{address, key};
pub(super) use self::profiles::profiles;
pub(super) use self::realms::realm;
pub(super) use self::storage::{snapshot, volume};

use super::document::Node;

/// Whether a native word is among these, which are lower case.
fn is_one_of(native: &str, words: &[&str]) -> bool {
    words.iter().any(|word| native.eq_ignore_ascii_case(word))
}

/// Its id; those that come here have one.
fn id(node: &Node) -> String {
    node.id().unwrap_or_default().to_owned()
}

#[cfg(test)]
fn recorded(text: &str) -> Node {
    Node::parse(text.as_bytes()).expect("a recorded answer")
}
