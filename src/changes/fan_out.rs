//! Who is told of a change.

use crate::model::{Hook, HookId, Scope, Subject, Topic};

/// The hooks that news of this kind of this resource is owed to, in the order given. A disabled hook is owed it too: what waited
/// is sent when it is set again, and the feed shows it meanwhile.
pub fn fan_out(subject: &Subject, kind: &str, hooks: &[Hook]) -> Vec<HookId> {
    let told =
        |hook: &&Hook| is_itself(hook, subject) || listens(&hook.scope, subject) && hook.terms.events.include(kind);
    hooks.iter().filter(told).map(|hook| hook.id.clone()).collect()
}

/// What is said of a hook is always told to it, whatever it asked for.
fn is_itself(hook: &Hook, subject: &Subject) -> bool {
    subject.collection == Topic::Hooks && subject.id == hook.id.0
}

fn listens(scope: &Scope, subject: &Subject) -> bool {
    match scope {
        // Hears of the account itself, not of what is in it.
        Scope::Account => matches!(subject.collection, Topic::Hooks | Topic::Account),
        Scope::Collection(collection) => Topic::Of(*collection) == subject.collection,
        Scope::Member(collection, id) => Topic::Of(*collection) == subject.collection && *id == subject.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Callback, Collection, Events, Subscriber, Terms};

    fn hook(scope: Scope, events: &[&str]) -> Hook {
        let events = events.iter().map(|&event| event.to_owned()).collect();
        let events = Some(events).filter(|events: &std::collections::BTreeSet<_>| !events.is_empty());
        Hook {
            id: HookId("hook_1".to_owned()),
            subscriber: Subscriber::default(),
            scope,
            callback: Callback::Feed,
            token: None,
            keys: vec![],
            terms: Terms { events: Events(events), ..Terms::default() },
            base: String::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
            disabled: None,
            failing_since: None,
            version: 1,
            ended_at: None,
        }
    }

    fn is_told(hook: Hook, collection: Topic, id: &str, kind: &str) -> bool {
        let subject = Subject { collection, id: id.to_owned(), revision: 1, name: None, realm: Some("us".to_owned()) };
        !fan_out(&subject, kind, &[hook]).is_empty()
    }

    #[test]
    fn a_change_goes_to_its_resource_and_to_its_collection() {
        let check = |scope: Scope, told: bool| {
            assert_eq!(is_told(hook(scope, &[]), Collection::Instances.into(), "a", "instance.state"), told);
        };
        check(Scope::Member(Collection::Instances, "a".to_owned()), true);
        check(Scope::Member(Collection::Instances, "b".to_owned()), false);
        check(Scope::Member(Collection::Realms, "a".to_owned()), false);
        check(Scope::Collection(Collection::Instances), true);
        check(Scope::Collection(Collection::Realms), false);
        check(Scope::Account, false);
    }

    #[test]
    fn what_is_of_the_account_goes_to_its_hooks_and_what_is_of_a_hook_to_itself() {
        let check = |scope: Scope, events: &[&str], topic: Topic, id: &str, kind: &str, told: bool| {
            assert_eq!(is_told(hook(scope.clone(), events), topic, id, kind), told, "{scope:?} {events:?} {kind} {id}");
        };
        let (gap, off) = ("account.observation_gap", "hook.disabled");
        let all = Scope::Collection(Collection::Instances);
        check(Scope::Account, &[], Topic::Account, "instances", gap, true);
        check(Scope::Account, &["observation_gap"], Topic::Account, "instances", gap, true);
        check(Scope::Account, &["disabled"], Topic::Account, "instances", gap, false);
        check(all.clone(), &[], Topic::Account, "instances", gap, false);
        check(
            Scope::Member(Collection::Instances, "instances".to_owned()),
            &[],
            Topic::Account,
            "instances",
            gap,
            false,
        );
        check(Scope::Account, &[], Topic::Hooks, "hook_2", off, true);
        check(Scope::Account, &["observation_gap"], Topic::Hooks, "hook_2", off, false);
        check(Scope::Account, &["observation_gap"], Topic::Hooks, "hook_1", off, true);
        check(all.clone(), &[], Topic::Hooks, "hook_2", off, false);
        check(all, &["gone"], Topic::Hooks, "hook_1", off, true);
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
        check(&["gone"], "hook.disabled", false);
        check(&["gone"], "instance.snapshot", true);
        assert!(Events(None).include("realm.withdrawn"));
    }
}
