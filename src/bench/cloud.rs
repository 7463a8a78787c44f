//! A cloud whose instances stop and start all the time: what the poller would hand to the store. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::changes::{Told, render};
use crate::model::{
    AccountKey, Address, AddressKind, Change, ChangeId, Collection, Entry, Facts, Format, HookId, Instance,
    InstanceState, KnownResource, News, Observed, Seq, Subject,
};
use crate::store::NewChange;

pub(super) struct Cloud {
    /// How often each instance changed.
    revisions: Vec<u64>,
    /// What every instance is called: as long as it takes to fill a body.
    name: String,
}

/// The next change of one instance, and the new state it makes known.
pub(super) struct Step {
    pub(super) new: NewChange,
    pub(super) known: KnownResource,
}

const REALM: &str = "us";

impl Cloud {
    /// Instances all running. Their changes are rendered in `body_bytes` or a few more, if that many are enough at all.
    pub(super) fn new(instances: usize, body_bytes: usize, key: &AccountKey, base: &str) -> Self {
        let mut cloud = Self { revisions: vec![0; instances.max(1)], name: String::new() };
        let bare = cloud.body(key, base).len();
        cloud.revisions[0] = 0;
        cloud.name = "x".repeat(body_bytes.saturating_sub(bare));
        cloud
    }

    /// A body as hooks get it, of the first instance's next change.
    pub(super) fn body(&mut self, key: &AccountKey, base: &str) -> Vec<u8> {
        let id = ChangeId(format!("chg_{:032x}", 0));
        let change = self.step(0, id, &[], Timestamp::UNIX_EPOCH).new.change;
        render(
            &Entry { seq: Seq(10_000), change },
            key,
            Told { token: None, base, merged: None, format: Format::Changes },
        )
    }

    /// Lets an instance stop, or start again.
    pub(super) fn step(&mut self, instance: usize, id: ChangeId, told: &[HookId], now: Timestamp) -> Step {
        let revision = &mut self.revisions[instance];
        *revision += 1;
        let (running, stopped) = ((InstanceState::Running, "running"), (InstanceState::Stopped, "stopped"));
        let (from, to) = if *revision % 2 == 1 { (running, stopped) } else { (stopped, running) };
        let addresses = vec![Address { kind: AddressKind::Ipv4, text: "10.0.0.7".to_owned() }];
        let facts = |(state, native): (InstanceState, &str)| Facts {
            state,
            native_state: native.to_owned(),
            public_addresses: vec![],
            private_addresses: addresses.clone(),
            announced: vec![],
        };
        let name = format!("inst{instance:06}");
        let subject = Subject {
            collection: Collection::Instances.into(),
            id: name.clone(),
            revision: *revision,
            name: Some(self.name.clone()),
            realm: Some(REALM.to_owned()),
        };
        let change = Change {
            id,
            at: now,
            subject,
            observed: Observed { before: Some(now), at: now },
            news: News::InstanceState { from: facts(from), to: facts(to) },
        };
        let resource = Instance {
            name: Some(self.name.clone()),
            realm: Some(REALM.to_owned()),
            private_addresses: addresses,
            ..Instance::bare(&name, to.0, to.1)
        };
        let known = KnownResource {
            resource: resource.into(),
            revision: *revision,
            first_seen_at: now,
            observed_at: now,
            absent_since: None,
        };
        Step { new: NewChange { change, told: told.to_vec() }, known }
    }
}

/// The rows to write for these steps: of an instance that took several, the last state.
pub(super) fn upserts(steps: &[Step]) -> Vec<KnownResource> {
    let newest: BTreeMap<&str, &KnownResource> =
        steps.iter().map(|step| (step.known.resource.id(), &step.known)).collect();
    newest.into_values().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::DriverId;

    fn key() -> AccountKey {
        AccountKey { driver: DriverId::new("mock"), provider: "default".to_owned(), identity: "bench".to_owned() }
    }

    #[test]
    fn bodies_are_as_long_as_asked_for_and_never_shorter_than_a_change() {
        let check = |bytes: usize, expected: fn(usize) -> bool| {
            let length =
                Cloud::new(3, bytes, &key(), "http://127.0.0.1/api").body(&key(), "http://127.0.0.1/api").len();
            assert!(expected(length), "{length} for {bytes}");
        };
        check(2000, |length| length == 2000);
        check(0, |length| (300..600).contains(&length));
    }

    #[test]
    fn an_instance_stops_and_starts_and_only_its_last_state_is_written() {
        let mut cloud = Cloud::new(2, 0, &key(), "");
        let id = || ChangeId("chg_1".to_owned());
        let steps = [0, 1, 0].map(|instance| cloud.step(instance, id(), &[], Timestamp::UNIX_EPOCH));
        let told: Vec<_> = steps.iter().map(|step| step.new.change.news.to_string()).collect();
        assert_eq!(told, ["RUNNING -> STOPPED", "RUNNING -> STOPPED", "STOPPED -> RUNNING"]);
        let written: Vec<_> =
            upserts(&steps).into_iter().map(|known| (known.resource.id().to_owned(), known.revision)).collect();
        assert_eq!(written, [("inst000000".to_owned(), 2), ("inst000001".to_owned(), 1)]);
    }
}
