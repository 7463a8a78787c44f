//! What is posted to try a hook. It has the dress of a change and says that it is none: no number, no resource.

use jiff::Timestamp;
use serde::Serialize;

use super::segment;
use crate::model::{AccountKey, ExposeSecret, Format, Hook};

/// Its type, where changes have theirs.
pub const KIND: &str = "hook.test";

/// Writes the trial `id` as JSON, in the hook's format. The token is in it, as receivers may insist on it.
pub fn trial(id: &str, hook: &Hook, account: &AccountKey, at: Timestamp) -> Vec<u8> {
    let href = format!("{}/hooks/{}", hook.base, segment(&hook.id.0));
    let timestamp = format!("{at:.3}");
    let body = Body {
        id,
        kind: KIND,
        timestamp: timestamp.clone(),
        test: true,
        account: AccountBody { driver: account.driver.as_str(), provider: &account.provider, id: &account.identity },
        hook: HookBody { id: &hook.id.0, subscriber: hook.subscriber.as_str(), href: &href },
        token: hook.token.as_ref().map(ExposeSecret::expose_secret),
    };
    match hook.terms.format {
        Format::Changes => serde_json::to_vec(&body),
        Format::CloudEvents => serde_json::to_vec(&Envelope {
            specversion: "1.0",
            id,
            source: &href,
            kind: KIND,
            subject: &hook.id.0,
            time: timestamp,
            datacontenttype: "application/json",
            data: body,
        }),
    }
    .expect("text always has a JSON form")
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    test: bool,
    account: AccountBody<'a>,
    hook: HookBody<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
}

#[derive(Serialize)]
struct AccountBody<'a> {
    driver: &'a str,
    provider: &'a str,
    id: &'a str,
}

#[derive(Serialize)]
struct HookBody<'a> {
    id: &'a str,
    subscriber: &'a str,
    href: &'a str,
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    subject: &'a str,
    time: String,
    datacontenttype: &'static str,
    data: Body<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Callback, Collection, DriverId, HookId, Scope, Secret, Subscriber, Terms};

    #[test]
    fn a_trial_says_that_it_is_no_change() {
        let shown = |format: Format| {
            let hook = Hook {
                id: HookId("hook_1".to_owned()),
                subscriber: Subscriber::default(),
                scope: Scope::Collection(Collection::Instances),
                callback: Callback::Feed,
                token: Some(Secret::from("t1")),
                keys: vec![],
                terms: Terms { format, ..Terms::default() },
                base: "https://tracker.example/api;driver=mock".to_owned(),
                created_at: Timestamp::UNIX_EPOCH,
                disabled: None,
                failing_since: None,
                version: 1,
                ended_at: None,
            };
            let account =
                AccountKey { driver: DriverId::new("mock"), provider: "default".to_owned(), identity: "me".to_owned() };
            String::from_utf8(trial("test_1", &hook, &account, Timestamp::UNIX_EPOCH)).unwrap()
        };
        insta::assert_snapshot!(shown(Format::Changes), @r#"{"id":"test_1","type":"hook.test","timestamp":"1970-01-01T00:00:00.000Z","test":true,"account":{"driver":"mock","provider":"default","id":"me"},"hook":{"id":"hook_1","subscriber":"default","href":"https://tracker.example/api;driver=mock/hooks/hook_1"},"token":"t1"}"#);
        insta::assert_snapshot!(shown(Format::CloudEvents), @r#"{"specversion":"1.0","id":"test_1","source":"https://tracker.example/api;driver=mock/hooks/hook_1","type":"hook.test","subject":"hook_1","time":"1970-01-01T00:00:00.000Z","datacontenttype":"application/json","data":{"id":"test_1","type":"hook.test","timestamp":"1970-01-01T00:00:00.000Z","test":true,"account":{"driver":"mock","provider":"default","id":"me"},"hook":{"id":"hook_1","subscriber":"default","href":"https://tracker.example/api;driver=mock/hooks/hook_1"},"token":"t1"}}"#);
    }
}
