//! How a judgement is written down: rows of realms, changes, and who is told. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::availability::{Realms, Told, Turned};
use crate::changes::fan_out;
use crate::diff;
use crate::model::{
    Change, ChangeId, Collection, Hook, Judged, Judgement, Known, KnownResource, News, Observed, Realm, Reason,
    Resource, Subject, Topic,
};
use crate::store::NewChange;

/// The realm that it is about; `None`: the account.
pub(super) fn about(told: &Told) -> Option<&str> {
    match told {
        Told::Verdict(Turned { realm, .. }) | Told::FlappingStart { realm, .. } | Told::FlappingEnd { realm, .. } => {
            Some(realm)
        }
        Told::ProviderDegraded { .. }
        | Told::ProviderRecovered { .. }
        | Told::Isolated { .. }
        | Told::Rejoined { .. } => None,
    }
}

/// What is to be written of a judgement.
pub(super) struct Sheet<'a> {
    pub(super) known: &'a Known,
    pub(super) hooks: &'a [Hook],
    pub(super) rows: BTreeMap<String, KnownResource>,
    pub(super) changes: Vec<NewChange>,
    pub(super) now: Timestamp,
}

impl Sheet<'_> {
    pub(super) fn write(
        &mut self,
        told: &Told,
        realms: &Realms,
        standings: &mut Option<u64>,
        id: impl FnOnce(Timestamp) -> ChangeId,
    ) {
        let Some(realm) = about(told) else {
            self.write_of_all(told, standings, id);
            return;
        };
        let row = self.rows.get(realm).or_else(|| self.known.members.get(realm));
        let Some((mut row, Resource::Realm(before))) = row.map(|row| (row.clone(), row.resource.clone())) else {
            return;
        };
        let mut after = before.clone();
        let (news, at, suppressed) = match told {
            Told::Verdict(turned) => {
                after.state = turned.to_wire.unwrap_or(before.state);
                let since = realms.standing(realm).map_or(turned.at, |standing| standing.since);
                after.judged = Some(Judged { state: turned.to, since, confidence: turned.confidence });
                let is_news = turned.from.is_some() || after.state != before.state;
                (is_news.then(|| verdict(&before, &after, turned)), turned.at, turned.suppressed)
            }
            Told::FlappingStart { at, why, .. } => {
                (Some(News::RealmFlappingStart { state: before.state, why: vec![why.clone().into()] }), *at, false)
            }
            Told::FlappingEnd { at, why, .. } => {
                (Some(News::RealmFlappingEnd { state: before.state, why: vec![why.clone().into()] }), *at, false)
            }
            _ => return,
        };
        let last_seen = row.observed_at;
        row.revision += u64::from(news.is_some());
        row.resource = Resource::Realm(after);
        if let Some(news) = news {
            let subject = diff::subject(&row.resource, row.revision);
            let told = if suppressed { Vec::new() } else { fan_out(&subject, news.kind(), self.hooks) };
            let observed = Observed { before: Some(last_seen.min(at)), at };
            self.changes
                .push(NewChange { told, change: Change { id: id(self.now), at: self.now, subject, observed, news } });
        }
        self.rows.insert(realm.to_owned(), row);
    }

    /// Counted with the gaps of the account's realms.
    fn write_of_all(&mut self, told: &Told, standings: &mut Option<u64>, id: impl FnOnce(Timestamp) -> ChangeId) {
        let Some(revision) = standings else { return };
        let (news, before, at) = match told {
            Told::ProviderDegraded { at, why } => (News::ProviderDegraded { why: vec![why.clone().into()] }, None, *at),
            Told::ProviderRecovered { since, at, why } => {
                (News::ProviderRecovered { why: vec![why.clone().into()] }, Some(*since), *at)
            }
            Told::Isolated { at, why } => (News::ObserverIsolated { why: vec![why.clone().into()] }, None, *at),
            Told::Rejoined { since, at, why } => {
                (News::ObserverRejoined { why: vec![why.clone().into()] }, Some(*since), *at)
            }
            Told::Verdict(_) | Told::FlappingStart { .. } | Told::FlappingEnd { .. } => return,
        };
        *revision += 1;
        let subject = Subject {
            collection: Topic::Account,
            id: Collection::Realms.as_str().to_owned(),
            revision: *revision,
            name: None,
            realm: None,
        };
        let told = fan_out(&subject, news.kind(), self.hooks);
        let observed = Observed { before: before.map(|before| before.min(at)), at };
        self.changes
            .push(NewChange { told, change: Change { id: id(self.now), at: self.now, subject, observed, news } });
    }
}

fn verdict(before: &Realm, after: &Realm, turned: &Turned) -> News {
    News::RealmState {
        from: before.state,
        from_native: before.native_state.clone(),
        to: after.state,
        to_native: after.native_state.clone(),
        why: vec![Reason::from(turned.why.clone())],
        judged: Some(Judgement {
            from: turned.from,
            to: turned.to,
            confidence: turned.confidence,
            suppressed: turned.suppressed,
        }),
    }
}
