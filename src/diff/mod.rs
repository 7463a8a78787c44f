//! What counts as news. Pure: what was known and what was seen come in, what to write and what to tell goes out.
//!
//! Guarantees: an equal sample makes no news; applying what comes out gives the sample; a resource that is missing from
//! one complete list is only *absent*, and gone no earlier than a targeted look agrees.
//!
//! Absent on purpose: errors. A look that failed never gets here, so it cannot be mistaken for an empty cloud.

mod absence;
mod condition;
mod instance;
mod realm;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub(crate) use absence::lives;
pub use absence::{Absence, Settings};
pub(crate) use instance::stuck;

use crate::model::{Known, KnownResource, News, Observed, Reason, Resource, Sample, Subject};

/// A targeted look at some ids: what was there and what, by a clear answer, was not.
#[derive(Clone, Debug)]
pub struct Look {
    pub asked_at: Timestamp,
    pub answered_at: Timestamp,
    pub found: BTreeMap<String, Resource>,
    pub missing: BTreeSet<String>,
}

/// What a sample or a look comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Rows to write, whole.
    pub upserts: Vec<KnownResource>,
    /// Ids to forget.
    pub removed: Vec<String>,
    /// In the order of the ids.
    pub news: Vec<Told>,
}

/// One piece of news, before it has a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub subject: Subject,
    pub observed: Observed,
    pub news: News,
}

/// What a complete list says. The first one of a collection is the baseline: it makes no news of what it finds new.
pub fn sample(known: &Known, sample: &Sample, rules: &Absence) -> Found {
    let mut found = Found::default();
    for resource in sample.members.values() {
        found.see(known, resource, sample.answered_at);
    }
    for (id, before) in &known.members {
        if sample.members.contains_key(id) {
            continue;
        }
        match before.absent_since {
            None => found.upserts.push(KnownResource { absent_since: Some(sample.answered_at), ..before.clone() }),
            Some(since) if rules.listed_out(&before.resource, since, sample.asked_at) => {
                found.forget(before, sample.answered_at, Vec::new());
            }
            Some(_) => {}
        }
    }
    found.in_order()
}

/// What a targeted look says. Only ids that a complete list missed before, long enough ago, can be gone.
pub fn look(known: &Known, look: &Look, rules: &Absence) -> Found {
    let mut found = Found::default();
    for resource in look.found.values() {
        found.see(known, resource, look.answered_at);
    }
    let mass = rules.mass(known);
    let ripe = |row: &&KnownResource| rules.confirm_at(row, mass).is_some_and(|at| look.asked_at >= at);
    let gone: Vec<_> = look.missing.iter().filter_map(|id| known.members.get(id)).filter(ripe).collect();
    let living = gone.iter().filter(|row| lives(row)).count();
    let why = if mass { rules.together(known, look, living) } else { None };
    for before in gone {
        found.forget(before, look.answered_at, why.clone().into_iter().collect());
    }
    found.in_order()
}

impl Found {
    fn see(&mut self, known: &Known, resource: &Resource, at: Timestamp) {
        let before = known.members.get(resource.id());
        let news = match before {
            Some(before) => changed(&before.resource, resource),
            None if known.observed_at.is_some() => Some(appeared(resource, known.former.contains_key(resource.id()))),
            None => None,
        };
        let same = before.is_some_and(|before| before.resource == *resource && before.absent_since.is_none());
        if same {
            return;
        }
        let former = || known.former.get(resource.id()).copied().unwrap_or_default();
        let revision = before.map_or_else(former, |before| before.revision) + u64::from(news.is_some());
        if let Some(news) = news {
            // A resource that appeared was not there in the sample before; one that changed was last seen as it was.
            let last_seen = before.map(|before| before.observed_at).or(known.observed_at);
            self.news.push(Told { subject: subject(resource, revision), observed: observed(last_seen, at), news });
        }
        self.upserts.push(KnownResource {
            resource: resource.clone(),
            revision,
            first_seen_at: before.map_or(at, |before| before.first_seen_at),
            observed_at: at,
            absent_since: None,
        });
    }

    fn forget(&mut self, before: &KnownResource, at: Timestamp, why: Vec<Reason>) {
        self.removed.push(before.resource.id().to_owned());
        if let Some(news) = gone(&before.resource, why) {
            let subject = subject(&before.resource, before.revision + 1);
            self.news.push(Told { subject, observed: observed(Some(before.observed_at), at), news });
        }
    }

    /// Whether something of this, asked for at `asked_at`, was seen by others since: theirs may be the newer word.
    pub fn may_be_late(&self, known: &Known, asked_at: Timestamp) -> bool {
        let seen_since = |id: &str| match known.members.get(id) {
            Some(row) => row.observed_at >= asked_at || row.absent_since.is_some_and(|since| since >= asked_at),
            // Others may have found that it is not there.
            None => known.former.contains_key(id) || known.observed_at.is_some_and(|at| at >= asked_at),
        };
        let upserts = self.upserts.iter().map(|row| row.resource.id());
        upserts.chain(self.removed.iter().map(String::as_str)).any(seen_since)
    }

    /// These were last seen as they are known no later than that.
    pub fn seen_before(&mut self, agreed: &BTreeMap<String, Timestamp>) {
        for Told { subject, observed, .. } in &mut self.news {
            if let (Some(before), Some(at)) = (&mut observed.before, agreed.get(&subject.id)) {
                *before = (*before).min(*at);
            }
        }
    }

    /// Those newly missing were last seen no later than that.
    pub(crate) fn unseen_since(&mut self, known: &Known, at: Timestamp) {
        let is_new =
            |row: &KnownResource| known.members.get(row.resource.id()).is_some_and(|row| row.absent_since.is_none());
        for row in self.upserts.iter_mut().filter(|row| row.absent_since.is_some() && is_new(row)) {
            row.observed_at = row.observed_at.min(at);
        }
    }

    /// Those that appeared were there since they were made, by the provider's own word, whatever lists showed.
    pub(crate) fn made_before(&mut self) {
        for row in &self.upserts {
            let Resource::Instance(instance) = &row.resource else { continue };
            let made = instance.launch_time.as_ref().and_then(|text| text.parse::<Timestamp>().ok());
            let told = self.news.iter_mut().find(|told| told.subject.id == row.resource.id());
            if let (Some(made), Some(Told { observed, news: News::InstanceAppeared { .. }, .. })) = (made, told) {
                observed.before = observed.before.map(|before| before.min(made));
            }
        }
    }

    /// Something in it is expected to move by itself that was not before.
    pub fn begins_to_settle(&self, known: &Known) -> bool {
        let settled = |id: &str| !known.members.get(id).is_some_and(|row| row.resource.is_settling());
        self.upserts.iter().any(|row| row.resource.is_settling() && settled(row.resource.id()))
    }

    fn in_order(mut self) -> Self {
        self.news.sort_by(|a, b| a.subject.id.cmp(&b.subject.id));
        self
    }
}

fn changed(before: &Resource, after: &Resource) -> Option<News> {
    match (before, after) {
        (Resource::Instance(before), Resource::Instance(after)) => instance::changed(before, after),
        (Resource::Realm(before), Resource::Realm(after)) => realm::changed(before, after),
        (Resource::Image(before), Resource::Image(after)) => condition::image_changed(before, after),
        (Resource::Volume(before), Resource::Volume(after)) => condition::volume_changed(before, after),
        (Resource::Snapshot(before), Resource::Snapshot(after)) => condition::snapshot_changed(before, after),
        // One collection holds one kind; the store keeps them apart.
        (
            Resource::Instance(_)
            | Resource::Realm(_)
            | Resource::Image(_)
            | Resource::Volume(_)
            | Resource::Snapshot(_),
            _,
        ) => None,
    }
}

/// How a known resource stands, as its present revision. No change: nothing is compared.
pub fn snapshot(known: &KnownResource) -> Told {
    let news = match &known.resource {
        Resource::Instance(instance) => instance::stands(instance),
        Resource::Realm(realm) => realm::stands(realm),
        Resource::Image(image) => News::ImageSnapshot { to: condition::of_image(image) },
        Resource::Volume(volume) => News::VolumeSnapshot { to: condition::of_volume(volume) },
        Resource::Snapshot(snapshot) => News::SnapshotSnapshot { to: condition::of_snapshot(snapshot) },
    };
    let observed = Observed { before: None, at: known.observed_at };
    Told { subject: subject(&known.resource, known.revision), observed, news }
}

fn appeared(resource: &Resource, again: bool) -> News {
    match resource {
        Resource::Instance(instance) => instance::appeared(instance, again),
        Resource::Realm(realm) => realm::appeared(realm),
        Resource::Image(image) => News::ImageAppeared { to: condition::of_image(image) },
        Resource::Volume(volume) => News::VolumeAppeared { to: condition::of_volume(volume) },
        Resource::Snapshot(snapshot) => News::SnapshotAppeared { to: condition::of_snapshot(snapshot) },
    }
}

/// `None`: it was known to have ended, so its leaving the list is not news.
fn gone(resource: &Resource, why: Vec<Reason>) -> Option<News> {
    match resource {
        Resource::Instance(instance) => instance::gone(instance, why),
        Resource::Realm(realm) => Some(realm::withdrawn(realm)),
        Resource::Image(image) => Some(News::ImageGone { from: condition::of_image(image) }),
        Resource::Volume(volume) => Some(News::VolumeGone { from: condition::of_volume(volume) }),
        Resource::Snapshot(snapshot) => Some(News::SnapshotGone { from: condition::of_snapshot(snapshot) }),
    }
}

/// What a change of it is about.
pub fn subject(resource: &Resource, revision: u64) -> Subject {
    let (name, realm) = match resource {
        Resource::Instance(instance) => (instance.name.clone(), instance.realm.clone()),
        Resource::Realm(realm) => (Some(realm.name.clone()), Some(realm.id.clone())),
        Resource::Image(image) => (Some(image.name.clone()), None),
        Resource::Volume(volume) => (volume.name.clone(), volume.realm.clone()),
        Resource::Snapshot(snapshot) => (snapshot.name.clone(), None),
    };
    Subject { collection: resource.collection().into(), id: resource.id().to_owned(), revision, name, realm }
}

/// The wall clock may have jumped back between two looks; the bounds stay in order all the same.
fn observed(before: Option<Timestamp>, at: Timestamp) -> Observed {
    Observed { before: before.map(|before| before.min(at)), at }
}

#[cfg(test)]
mod tests;
