use std::collections::BTreeMap;

/// Gives ids out: the lowest that is free, as the reference; in a lively world, where a tracker must tell a new one from an
/// old one, the lowest that never was.
pub(super) struct Ids {
    lively: bool,
    /// By prefix.
    next: BTreeMap<&'static str, u64>,
}

impl Ids {
    pub(super) fn new(lively: bool) -> Self {
        Self { lively, next: BTreeMap::new() }
    }

    /// What is there from the start is never given out.
    pub(super) fn skip(&mut self, prefix: &'static str, ids: impl IntoIterator<Item = impl AsRef<str>>) {
        let number = |id: &str| id.strip_prefix(prefix)?.parse::<u64>().ok();
        let last = ids.into_iter().filter_map(|id| number(id.as_ref())).max();
        if let Some(last) = last {
            self.next.insert(prefix, last + 1);
        }
    }

    /// The prefix and a number.
    pub(super) fn fresh(&mut self, prefix: &'static str, is_taken: impl Fn(&str) -> bool) -> String {
        // Instances of the reference begin with 0, everything else with 1.
        let first = u64::from(prefix != "inst");
        let next = self.next.entry(prefix).or_insert(first);
        let mut n = if self.lively { *next } else { first };
        while is_taken(&format!("{prefix}{n}")) {
            n += 1;
        }
        *next = n + 1;
        format!("{prefix}{n}")
    }

    /// As asked for, if it may be part of a path as it is and nothing has it; otherwise as [`Ids::fresh`]. A lively world
    /// never takes the asked one, which may have been before.
    pub(super) fn asked(
        &mut self,
        asked: Option<&str>,
        prefix: &'static str,
        is_taken: impl Fn(&str) -> bool,
    ) -> String {
        match asked {
            Some(id) if !self.lively && is_plain(id) && !is_taken(id) => id.to_owned(),
            _ => self.fresh(prefix, is_taken),
        }
    }
}

/// Needs no escaping in a URL, nor in a regular expression worth the name.
fn is_plain(id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    !id.is_empty() && id.len() <= 64 && id.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_takes_the_lowest_free_and_a_lively_world_none_twice() {
        let check = |lively: bool, prefix, taken: &[&str], expected: [&str; 2]| {
            let mut ids = Ids::new(lively);
            ids.skip(prefix, taken);
            let first = ids.fresh(prefix, |id| taken.contains(&id));
            // The first is gone again by now.
            let second = ids.fresh(prefix, |id| taken.contains(&id));
            assert_eq!([first.as_str(), &second], expected, "{lively} {prefix} {taken:?}");
        };
        check(false, "vol", &[], ["vol1", "vol1"]);
        check(true, "vol", &[], ["vol1", "vol2"]);
        check(false, "vol", &["vol1", "vol3"], ["vol2", "vol2"]);
        check(true, "vol", &["vol1", "vol3"], ["vol4", "vol5"]);
        check(true, "vol", &["nic7", "volx", "vol"], ["vol1", "vol2"]);
        check(false, "inst", &[], ["inst0", "inst0"]);
        check(true, "inst", &["inst0"], ["inst1", "inst2"]);
    }

    #[test]
    fn a_name_that_would_do_is_the_id_but_not_in_a_lively_world() {
        let check = |lively: bool, asked: Option<&str>, expected: &str| {
            let mut ids = Ids::new(lively);
            assert_eq!(ids.asked(asked, "img", |id| id == "taken"), expected, "{lively} {asked:?}");
        };
        check(false, Some("test"), "test");
        check(true, Some("test"), "img1");
        check(false, None, "img1");
        check(false, Some(""), "img1");
        check(false, Some("taken"), "img1");
        check(false, Some("two words"), "img1");
        check(false, Some("a/b"), "img1");
        check(false, Some("a.b"), "img1");
        check(false, Some(&"x".repeat(65)), "img1");
    }
}
