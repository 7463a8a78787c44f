//! EC2's words to ours. Pure; a file for each noun.

mod firewalls;
mod images;
mod instances;
mod profiles;
mod realms;
mod storage;

pub(super) use self::firewalls::{firewalls, mentioned, names};
pub(super) use self::images::{image, image_in_the_making};
pub(super) use self::instances::{can_create_image, glance, instances, make_newer};
pub(super) use self::profiles::profiles;
pub(super) use self::realms::{realm, zone_to_use};
pub(super) use self::storage::{attached, detached, snapshot, volume};
use super::parse::{self, filled};

fn name(tags: parse::Set<parse::Tag>) -> Option<String> {
    filled(tags.items.into_iter().find(|tag| tag.key.as_deref() == Some("Name"))?.value)
}

/// A filter's value that means itself: EC2 takes `*` and `?` for wildcards.
pub(super) fn filter_literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '\\') {
            literal.push('\\');
        }
        literal.push(char);
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For the tests of all nouns.
    pub(super) fn read<T: parse::Reply>(body: &str) -> T {
        parse::reply(body.as_bytes()).expect("a recorded answer")
    }

    #[test]
    fn a_filter_asks_for_the_very_id() {
        let check = |id: &str, literal: &str| assert_eq!(filter_literal(id), literal);
        check("i-0c7a1f2e3d4b5a601", "i-0c7a1f2e3d4b5a601");
        check("i-*", "i-\\*");
        check("?\\", "\\?\\\\");
    }
}
