//! What is remembered of those that are missing from one look for them to the next, in memory alone: after a restart they are looked for
//! as if it had just begun. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::diff::Found;
use crate::model::{Known, News, Reason};

#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// Those of whom the last look for them said nothing.
    unanswered: BTreeSet<String>,
    /// Since when looks have not found those that are missing in a realm that is down.
    unfound: BTreeMap<String, Timestamp>,
    /// Those that went missing together, and why they are told gone.
    crowd: Option<(Reason, BTreeSet<String>)>,
}

impl Search {
    /// Whom to look for, `max` at most: whoever was not answered comes last, so that it is in nobody's way.
    pub(super) fn pick(&self, ripe: BTreeSet<String>, max: usize) -> BTreeSet<String> {
        let (last, first): (Vec<_>, Vec<_>) = ripe.into_iter().partition(|id| self.unanswered.contains(id));
        first.into_iter().chain(last).take(max).collect()
    }

    /// A look for `asked` said nothing of these.
    pub(super) fn looked(&mut self, asked: &BTreeSet<String>, unanswered: BTreeSet<String>) {
        self.unanswered.retain(|id| !asked.contains(id));
        self.unanswered.extend(unanswered);
    }

    /// A look did not find these, in realms that are down. Answers with those that an earlier one, at least `again` ago, did not find
    /// either.
    pub(super) fn unfound(
        &mut self,
        known: &Known,
        missing: &BTreeSet<String>,
        at: Timestamp,
        again: Duration,
    ) -> BTreeSet<String> {
        self.unfound.retain(|id, since| is_missing(known, id) && *since <= at);
        let mut since = |id: &String| *self.unfound.entry(id.clone()).or_insert(at);
        missing.iter().filter(|id| since(id) + again <= at).cloned().collect()
    }

    /// Says why those are gone that are told gone one after the other, and went missing together.
    pub(super) fn tell(&mut self, known: &Known, found: &mut Found) {
        if let Some((_, ids)) = &mut self.crowd {
            ids.retain(|id| is_missing(known, id));
        }
        self.crowd.take_if(|(_, ids)| ids.is_empty());
        for told in &mut found.news {
            let News::InstanceGone { why, .. } = &mut told.news else { continue };
            let mass = why.iter().find(|reason| reason.rule == "mass").cloned();
            match (&self.crowd, mass) {
                (None, Some(reason)) => {
                    let ids = known.members.keys().filter(|id| is_missing(known, id));
                    self.crowd = Some((reason, ids.cloned().collect()));
                }
                (Some((reason, ids)), None) if ids.contains(&told.subject.id) => why.push(reason.clone()),
                _ => {}
            }
            if self.unfound.contains_key(&told.subject.id) {
                why.push(Reason::new("realm_down", REALM_DOWN));
            }
        }
    }
}

const REALM_DOWN: &str =
    "its realm is declared down, and the provider, asked for it by its id again and again, does not have it";

fn is_missing(known: &Known, id: &str) -> bool {
    known.members.get(id).is_some_and(|row| row.absent_since.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::{self, Absence, Look};
    use crate::model::{Collection, Instance, InstanceState, KnownResource, Seq};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_000_000 + second).unwrap()
    }

    fn set(ids: &[&str]) -> BTreeSet<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn known(missing: &[&str], here: usize) -> Known {
        let row = |id: String, missing: bool| KnownResource {
            resource: Instance::bare(&id, InstanceState::Running, "running").into(),
            revision: 0,
            first_seen_at: at(-1_000),
            observed_at: at(0),
            absent_since: missing.then(|| at(0)),
        };
        let rows = missing.iter().map(|id| row((*id).to_owned(), true));
        let rows = rows.chain((0..here).map(|n| row(format!("z{n}"), false)));
        Known {
            collection: Collection::Instances,
            version: 1,
            through: Seq(0),
            observed_at: Some(at(0)),
            members: rows.map(|row| (row.resource.id().to_owned(), row)).collect(),
            former: BTreeMap::new(),
        }
    }

    #[test]
    fn whoever_is_not_answered_is_in_nobodys_way() {
        let mut search = Search::default();
        let ripe = set(&["a", "b", "c", "d"]);
        assert_eq!(search.pick(ripe.clone(), 2), set(&["a", "b"]));
        search.looked(&set(&["a", "b"]), set(&["a", "b"]));
        assert_eq!(search.pick(ripe.clone(), 2), set(&["c", "d"]));
        search.looked(&set(&["c", "d"]), set(&["d"]));
        assert_eq!(search.pick(ripe.clone(), 1), set(&["c"]));
        search.looked(&ripe, set(&[]));
        assert_eq!(search.pick(ripe, 1), set(&["a"]));
    }

    #[test]
    fn it_takes_two_looks_apart_from_each_other() {
        let mut search = Search::default();
        let known = known(&["a", "b"], 1);
        let mut unfound = |ids: &[&str], second| search.unfound(&known, &set(ids), at(second), Duration::from_secs(10));
        assert_eq!(unfound(&["a"], 0), set(&[]));
        assert_eq!(unfound(&["a", "b"], 9), set(&[]));
        assert_eq!(unfound(&["a", "b", "z0"], 10), set(&["a"]));
        assert_eq!(unfound(&["b", "z0"], 19), set(&["b"]));
        // The clock was set back.
        assert_eq!(unfound(&["a"], -100), set(&[]));
    }

    #[test]
    fn all_that_went_missing_together_are_told_so() {
        let mut search = Search::default();
        let rules = Absence::new(&diff::Settings::default());
        let all = ["a", "b", "c", "d", "e"];
        let mut known = known(&all, 5);
        let mut told = |known: &Known, missing: &[&str]| {
            let look = Look { asked_at: at(100), answered_at: at(100), found: BTreeMap::new(), missing: set(missing) };
            let mut found = diff::look(known, &look, &rules);
            search.tell(known, &mut found);
            let why = found.news.into_iter().map(|told| match told.news {
                News::InstanceGone { why, .. } => why.into_iter().map(|reason| reason.text).collect::<String>(),
                other => panic!("{other}"),
            });
            why.collect::<Vec<_>>()
        };
        let text = "5 of 10 went missing together, and 4 of 4 looked for so far were still missing after 90 s";
        assert_eq!(told(&known, &all[..4]), [text; 4]);
        all[..4].iter().for_each(|id| assert!(known.members.remove(*id).is_some()));
        assert_eq!(told(&known, &["e"]), [text], "it was not answered at first");
        // Another one, later.
        known.members.remove("e");
        known.members.get_mut("z0").unwrap().absent_since = Some(at(0));
        assert_eq!(told(&known, &["z0"]), [""]);
    }
}
