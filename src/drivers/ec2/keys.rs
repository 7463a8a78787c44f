//! Key pairs. Their names are their ids, as they were always Deltacloud's; EC2's own `key-…` ids are not shown.

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::calls::in_order;
use super::client::Params;
use super::{Ec2, parse};
use crate::drivers::{Error, Keys, Kind};
use crate::model::{Key, KeyKind, Login, NewKey, Secret};

/// EC2 has no word for it: what is listed can be used.
const STATE: &str = "AVAILABLE";

#[async_trait]
impl Keys for Ec2 {
    async fn keys(&self, login: &Login) -> Result<Vec<Key>, Error> {
        self.key_pairs(login, Params::default()).await
    }

    async fn key(&self, login: &Login, id: &str) -> Result<Option<Key>, Error> {
        let keys = self.key_pairs(login, Params::default().filtered(1, "key-name", &[id])).await?;
        Ok(keys.into_iter().find(|key| key.id == id))
    }

    /// The private half is in the answer to this call alone, for EC2 keeps none.
    async fn create_key(&self, login: &Login, new: &NewKey) -> Result<Key, Error> {
        let params = Params::default().with("KeyName", &new.name);
        match &new.public_key {
            Some(public) => {
                let params = params.with("PublicKeyMaterial", BASE64.encode(public));
                let made: parse::ImportedKeyPair = self.call(login, "ImportKeyPair", params).await?;
                Ok(key(made.key_name, made.key_fingerprint, None))
            }
            None => {
                let made: parse::CreatedKeyPair = self.call(login, "CreateKeyPair", params).await?;
                Ok(key(made.key_name, made.key_fingerprint, Some(made.key_material)))
            }
        }
    }

    /// EC2 is content with the end of a key that never was, so it is looked for first.
    async fn destroy_key(&self, login: &Login, id: &str) -> Result<(), Error> {
        if self.key(login, id).await?.is_none() {
            return Err(Error::new(Kind::NotFound, "DeleteKeyPair: there is no such key pair"));
        }
        let parse::DeletedKeyPair {} = self.call(login, "DeleteKeyPair", Params::default().with("KeyName", id)).await?;
        Ok(())
    }
}

impl Ec2 {
    /// EC2 lists them all at once, however many.
    async fn key_pairs(&self, login: &Login, params: Params) -> Result<Vec<Key>, Error> {
        let pairs: parse::KeyPairs = self.call(login, "DescribeKeyPairs", params).await?;
        let keys = pairs.keys.items.into_iter().map(|item| key(item.key_name, item.key_fingerprint, None));
        Ok(in_order(keys, |key| &key.id))
    }
}

fn key(name: String, fingerprint: Option<String>, pem: Option<Secret>) -> Key {
    let kind = KeyKind::Pair { fingerprint: parse::filled(fingerprint), pem };
    Key { id: name, kind, state: Some(STATE.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ExposeSecret as _;

    #[test]
    fn a_private_half_is_read_and_never_printed() {
        let body = include_str!("replies/CreateKeyPair.xml");
        let made: parse::CreatedKeyPair = parse::reply(body.as_bytes()).expect("a recorded answer");
        let printed = format!("{made:?}");
        let key = key(made.key_name, made.key_fingerprint, Some(made.key_material));
        let KeyKind::Pair { fingerprint, pem: Some(pem) } = &key.kind else { panic!("{key:?}") };
        let pem = pem.expose_secret();
        assert_eq!((key.id.as_str(), key.state.as_deref()), ("alice", Some("AVAILABLE")));
        assert_eq!(fingerprint.as_deref(), Some("1f:51:ae:28:bf:89:e9:d8:1f:25:5d:37:2d:7d:b8:ca:9f:f5:f1:6f"));
        assert!(pem.starts_with("-----BEGIN RSA PRIVATE KEY-----\nNOTAKEY"), "{pem}");
        assert!(pem.trim_end().ends_with("-----END RSA PRIVATE KEY-----"), "{pem}");
        for shown in [printed, format!("{key:?}")] {
            assert!(!shown.contains("NOTAKEY"), "{shown}");
        }

        let without = body.replace("keyMaterial", "keyMatter");
        let error = parse::reply::<parse::CreatedKeyPair>(without.as_bytes()).expect_err("half a pair is none");
        assert!(!format!("{error} {error:?}").contains("NOTAKEY"), "{error:?}");
    }
}
