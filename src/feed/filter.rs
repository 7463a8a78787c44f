use std::collections::BTreeSet;

use crate::model::{Change, News, Seq, Topic};
use crate::store::WhichOwed;

/// What of a log a reader wants. Everything that is given must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    pub collection: Option<Topic>,
    pub resource: Option<String>,
    /// Types, whole (`instance.state`) or by the word after the dot.
    pub types: Option<BTreeSet<String>>,
    /// The realm of an instance or a volume; a realm is in itself.
    pub realm: Option<String>,
}

impl Filter {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// For the store, which may find more than fits.
    pub fn which(&self, after: Seq, through: Option<Seq>, limit: usize, scan_max: usize) -> WhichOwed<'_> {
        let Self { collection, resource, types, realm } = self;
        let kinds = types.as_ref().map(|words| {
            let named = |kind: &&str| words.contains(*kind) || words.contains(verb(kind));
            News::ALL_KINDS.into_iter().filter(named).collect()
        });
        let (resource, realm) = (resource.as_deref(), realm.as_deref());
        WhichOwed { after, through, collection: *collection, resource, kinds, realm, limit, scan_max }
    }

    pub fn fits(&self, change: &Change) -> bool {
        let Self { collection, resource, types, realm } = self;
        let kind = change.news.kind();
        let subject = &change.subject;
        collection.is_none_or(|wanted| wanted == subject.collection)
            && resource.as_ref().is_none_or(|wanted| *wanted == subject.id)
            && types.as_ref().is_none_or(|wanted| wanted.contains(kind) || wanted.contains(verb(kind)))
            && realm.as_ref().is_none_or(|wanted| Some(wanted) == subject.realm.as_ref())
    }
}

/// `state` of `instance.state`.
fn verb(kind: &str) -> &str {
    kind.split_once('.').map_or(kind, |(_, verb)| verb)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::{ChangeId, Collection, News, Observed, RealmState, Subject};

    #[test]
    fn all_that_is_given_must_fit() {
        let change = Change {
            id: ChangeId("chg_1".to_owned()),
            at: Timestamp::UNIX_EPOCH,
            subject: Subject {
                collection: Collection::Realms.into(),
                id: "eu".to_owned(),
                revision: 1,
                name: None,
                realm: Some("eu".to_owned()),
            },
            observed: Observed { before: None, at: Timestamp::UNIX_EPOCH },
            news: News::RealmAppeared { to: RealmState::Available, to_native: "up".to_owned() },
        };
        let check = |filter: Filter, fits: bool| assert_eq!(filter.fits(&change), fits, "{filter:?}");
        let text = |text: &str| Some(text.to_owned());
        let types = |words: &[&str]| Some(words.iter().map(|&word| word.to_owned()).collect());
        check(Filter::default(), true);
        check(Filter { collection: Some(Collection::Realms.into()), ..Filter::default() }, true);
        check(Filter { collection: Some(Topic::Hooks), ..Filter::default() }, false);
        check(Filter { resource: text("eu"), ..Filter::default() }, true);
        check(Filter { resource: text("us"), ..Filter::default() }, false);
        check(Filter { realm: text("eu"), ..Filter::default() }, true);
        check(Filter { realm: text("us"), ..Filter::default() }, false);
        check(Filter { types: types(&["state", "appeared"]), ..Filter::default() }, true);
        check(Filter { types: types(&["realm.appeared"]), ..Filter::default() }, true);
        check(Filter { types: types(&["instance.appeared"]), ..Filter::default() }, false);
        check(Filter { resource: text("eu"), types: types(&["state"]), ..Filter::default() }, false);
    }
}
