//! Who is told of a change.

use crate::model::{Hook, HookId, Scope, Subject, Topic};

/// The hooks that news of this kind of this resource is owed to, in the order given. A disabled hook is owed it too: what waited
/// is sent when it is set again, and the feed shows it meanwhile.
pub fn fan_out(subject: &Subject, kind: &str, hooks: &[Hook]) -> Vec<HookId> {
    let told = |hook: &&Hook| listens(&hook.scope, subject) && hook.terms.events.include(kind);
    hooks.iter().filter(told).map(|hook| hook.id.clone()).collect()
}

fn listens(scope: &Scope, subject: &Subject) -> bool {
    match scope {
        // Hears of the account itself, not of what is in it.
        Scope::Account => false,
        Scope::Collection(collection) => Topic::Of(*collection) == subject.collection,
        Scope::Member(collection, id) => Topic::Of(*collection) == subject.collection && *id == subject.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Callback, Collection, Events, Subscriber, Terms};

    #[test]
    fn a_change_goes_to_its_resource_and_to_its_collection() {
        let check = |scope: Scope, told: bool| {
            let hook = Hook {
                id: HookId("hook_1".to_owned()),
                subscriber: Subscriber::default(),
                scope,
                callback: Callback::Feed,
                token: None,
                keys: vec![],
                terms: Terms::default(),
                base: String::new(),
                created_at: jiff::Timestamp::UNIX_EPOCH,
                disabled: None,
                failing_since: None,
                version: 1,
                ended_at: None,
            };
            let subject = Subject {
                collection: Collection::Instances.into(),
                id: "a".to_owned(),
                revision: 1,
                name: None,
                realm: Some("us".to_owned()),
            };
            assert_eq!(fan_out(&subject, "instance.state", &[hook]).len(), usize::from(told));
        };
        check(Scope::Member(Collection::Instances, "a".to_owned()), true);
        check(Scope::Member(Collection::Instances, "b".to_owned()), false);
        check(Scope::Member(Collection::Realms, "a".to_owned()), false);
        check(Scope::Collection(Collection::Instances), true);
        check(Scope::Collection(Collection::Realms), false);
        check(Scope::Account, false);
    }

    #[test]
    fn a_hook_hears_of_the_types_it_asked_for() {
        let check = |events: &[&str], kind: &str, told: bool| {
            let events = Events(Some(events.iter().map(|&event| event.to_owned()).collect()));
            assert_eq!(events.include(kind), told, "{events:?} {kind}");
        };
        check(&["state"], "instance.state", true);
        check(&["state"], "realm.state", true);
        check(&["state"], "instance.addresses", false);
        check(&["instance.state"], "instance.state", true);
        check(&["instance.state"], "realm.state", false);
        check(&["gone", "addresses"], "instance.gone", true);
        check(&["gone"], "hook.disabled", true);
        check(&["gone"], "instance.snapshot", true);
        assert!(Events(None).include("realm.withdrawn"));
    }
}
