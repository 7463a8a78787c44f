//! The change that says that a hook is called no more.

use jiff::Timestamp;

use crate::model::{Change, ChangeId, Disabling, HookId, News, Observed, Reason, Subject, Topic};

/// `rule` is for machines (`gone`, `failing`), `text` for people.
pub fn disabling(hook: &HookId, id: ChangeId, at: Timestamp, rule: &str, text: String) -> Disabling {
    let change = Change {
        id,
        at,
        subject: Subject { collection: Topic::Hooks, id: hook.0.clone(), revision: 0, name: None, realm: None },
        observed: Observed { before: None, at },
        news: News::HookDisabled { why: vec![Reason::new(rule, text.clone())] },
    };
    Disabling { reason: text, change: Box::new(change) }
}
