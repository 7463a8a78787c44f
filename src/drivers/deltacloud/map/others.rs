use super::id;
use crate::drivers::deltacloud::document::Node;
use crate::model::{Key, KeyKind, PublicAddress, Secret};

/// With the private half, if it is told.
pub(crate) fn key(node: &Node) -> Key {
    let secret = |name| node.said(name).map(Secret::from);
    let kind = if node.attribute("type") == Some("password") {
        KeyKind::Password {
            username: node.said_owned("username").unwrap_or_default(),
            password: secret("password").unwrap_or_else(|| Secret::from("")),
        }
    } else {
        KeyKind::Pair { fingerprint: node.said_owned("fingerprint"), pem: secret("pem") }
    };
    Key { id: id(node), kind, state: node.said_owned("state") }
}

pub(crate) fn address(node: &Node) -> PublicAddress {
    PublicAddress { ip: id(node), instance: node.reference("instance") }
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;
    use crate::model::ExposeSecret as _;

    #[test]
    fn keys_are_pairs_or_passwords() {
        let pair = key(&recorded(
            "<key href='h' id='alice' type='key'><name>alice</name><fingerprint>9c:00</fingerprint><pem>\
             <![CDATA[-----BEGIN\nNOTAKEY\n]]></pem><state>AVAILABLE</state></key>",
        ));
        assert!(!format!("{pair:?}").contains("NOTAKEY"));
        let KeyKind::Pair { fingerprint, pem: Some(pem) } = pair.kind else { panic!("{:?}", pair.kind) };
        assert_eq!((fingerprint.as_deref(), pem.expose_secret()), (Some("9c:00"), "-----BEGIN\nNOTAKEY"));

        let login = key(&recorded(
            "<key id='vm' type='password'><username><![CDATA[root]]></username><password><![CDATA[hush]]></password></key>",
        ));
        let KeyKind::Password { username, password } = login.kind else { panic!("{:?}", login.kind) };
        assert_eq!((username.as_str(), password.expose_secret()), ("root", "hush"));
    }

    #[test]
    fn an_address_leads_somewhere_or_is_free() {
        let used = "<address href='h' id='192.0.2.1'><ip>192.0.2.1</ip><instance href='h' id='inst1'/></address>";
        assert_eq!(address(&recorded(used)).instance.as_deref(), Some("inst1"));
        let free = "<address href='h' id='192.0.2.1'><ip>192.0.2.1</ip><instance/></address>";
        assert_eq!(address(&recorded(free)), PublicAddress { ip: "192.0.2.1".to_owned(), instance: None });
    }
}
