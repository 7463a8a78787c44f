use serde::Serialize;

use super::{Base, Document, Xml};
use crate::model::{ExposeSecret as _, Key, KeyKind};

/// A key (contract 2.7). JSON has no name. No `Debug`: it may hold what opens machines.
#[derive(Serialize)]
pub(in crate::api) struct KeyView<'a> {
    id: &'a str,
    href: String,
    /// `key` or `password`.
    credential_type: &'static str,
    username: Option<&'a str>,
    password: Option<&'a str>,
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pem_rsa_key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<&'a str>,
}

impl<'a> KeyView<'a> {
    /// Without the private half, whatever the driver gave.
    pub(in crate::api) fn new(key: &'a Key, base: Base) -> Self {
        let Key { id, kind, state } = key;
        let (credential_type, fingerprint, login) = match kind {
            KeyKind::Pair { fingerprint, pem: _ } => ("key", fingerprint.as_deref(), None),
            KeyKind::Password { username, password } => {
                ("password", None, Some((username.as_str(), password.expose_secret())))
            }
        };
        let (username, password) = login.unzip();
        let (href, state) = (base.member("keys", id), state.as_deref());
        Self { id, href, credential_type, username, password, state, pem_rsa_key: None, fingerprint }
    }

    /// For the answer to the request that made it: the only time that the private half is shown.
    pub(in crate::api) fn made(key: &'a Key, base: Base) -> Self {
        let pem_rsa_key = match &key.kind {
            KeyKind::Pair { pem, .. } => pem.as_ref().map(|pem| pem.expose_secret()),
            KeyKind::Password { .. } => None,
        };
        Self { pem_rsa_key, ..Self::new(key, base) }
    }
}

impl Document for KeyView<'_> {
    fn xml(&self, xml: &mut Xml) {
        xml.element("key", &[("href", &self.href), ("id", self.id), ("type", self.credential_type)], |xml| {
            xml.text("name", &[], self.id);
            xml.element("actions", &[], |xml| {
                xml.empty("link", &[("href", &self.href), ("method", "delete"), ("rel", "destroy")]);
            });
            let given = [
                ("fingerprint", self.fingerprint),
                ("pem", self.pem_rsa_key),
                ("username", self.username),
                ("password", self.password),
            ];
            for (name, text) in given.into_iter().filter_map(|(name, text)| Some((name, text?))) {
                xml.text(name, &[], text);
            }
            xml.text("state", &[], self.state.unwrap_or_default());
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{List, Member, both};
    use super::*;

    #[test]
    fn keys_both_ways() {
        let pair = Key {
            id: "alice".to_owned(),
            kind: KeyKind::Pair { fingerprint: Some("9c:00".to_owned()), pem: Some("-----BEGIN\n<&>\n".into()) },
            state: None,
        };
        let login = Key {
            id: "opensesame".to_owned(),
            kind: KeyKind::Password { username: "root".to_owned(), password: "a & b".into() },
            state: Some("ok".to_owned()),
        };
        let base = Base("http://h/api");
        insta::assert_snapshot!(both(&Member("key", KeyView::made(&pair, base))), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <key href='http://h/api/keys/alice' id='alice' type='key'>
          <name>alice</name>
          <actions>
            <link href='http://h/api/keys/alice' method='delete' rel='destroy' />
          </actions>
          <fingerprint>9c:00</fingerprint>
          <pem>-----BEGIN
        &lt;&amp;&gt;
        </pem>
          <state></state>
        </key>
        {
          "key": {
            "credential_type": "key",
            "fingerprint": "9c:00",
            "href": "http://h/api/keys/alice",
            "id": "alice",
            "password": null,
            "pem_rsa_key": "-----BEGIN\n<&>\n",
            "state": null,
            "username": null
          }
        }
        "#);
        let all = List("keys", vec![KeyView::new(&pair, base), KeyView::made(&login, base)]);
        insta::assert_snapshot!(both(&all), @r#"
        <?xml version='1.0' encoding='utf-8' ?>
        <keys>
          <key href='http://h/api/keys/alice' id='alice' type='key'>
            <name>alice</name>
            <actions>
              <link href='http://h/api/keys/alice' method='delete' rel='destroy' />
            </actions>
            <fingerprint>9c:00</fingerprint>
            <state></state>
          </key>
          <key href='http://h/api/keys/opensesame' id='opensesame' type='password'>
            <name>opensesame</name>
            <actions>
              <link href='http://h/api/keys/opensesame' method='delete' rel='destroy' />
            </actions>
            <username>root</username>
            <password>a &amp; b</password>
            <state>ok</state>
          </key>
        </keys>
        {
          "keys": [
            {
              "credential_type": "key",
              "fingerprint": "9c:00",
              "href": "http://h/api/keys/alice",
              "id": "alice",
              "password": null,
              "state": null,
              "username": null
            },
            {
              "credential_type": "password",
              "href": "http://h/api/keys/opensesame",
              "id": "opensesame",
              "password": "a & b",
              "state": "ok",
              "username": "root"
            }
          ]
        }
        "#);
    }

    #[test]
    fn an_imported_key_has_no_private_half_to_show() {
        let key = Key { id: "alice".to_owned(), kind: KeyKind::Pair { fingerprint: None, pem: None }, state: None };
        let shown = both(&Member("key", KeyView::made(&key, Base("http://h/api"))));
        assert!(!shown.contains("pem") && !shown.contains("fingerprint"), "{shown}");
    }
}
