//! Who is told of a change.

use crate::model::{Hook, HookId, Scope, Subject};

/// The hooks that a change of this resource is owed to, in the order given. A disabled hook is owed it too: what waited
/// is sent when it is set again, and the feed shows it meanwhile.
pub fn fan_out(subject: &Subject, hooks: &[Hook]) -> Vec<HookId> {
    hooks.iter().filter(|hook| listens(&hook.scope, subject)).map(|hook| hook.id.clone()).collect()
}

fn listens(scope: &Scope, subject: &Subject) -> bool {
    match scope {
        // Hears of the account itself, not of what is in it.
        Scope::Account => false,
        Scope::Collection(collection) => *collection == subject.collection,
        Scope::Member(collection, id) => *collection == subject.collection && *id == subject.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Callback, Collection, Subscriber};

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
                base: String::new(),
                created_at: jiff::Timestamp::UNIX_EPOCH,
                disabled: None,
                ended_at: None,
            };
            let subject = Subject {
                collection: Collection::Instances,
                id: "a".to_owned(),
                revision: 1,
                name: None,
                realm: Some("us".to_owned()),
            };
            assert_eq!(fan_out(&subject, &[hook]).len(), usize::from(told));
        };
        check(Scope::Member(Collection::Instances, "a".to_owned()), true);
        check(Scope::Member(Collection::Instances, "b".to_owned()), false);
        check(Scope::Member(Collection::Realms, "a".to_owned()), false);
        check(Scope::Collection(Collection::Instances), true);
        check(Scope::Collection(Collection::Realms), false);
        check(Scope::Account, false);
    }
}
