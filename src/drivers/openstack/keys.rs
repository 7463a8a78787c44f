//! Key pairs, which are the user's and not the project's. Their names are their ids.

use async_trait::async_trait;
use serde_json::json;

use super::calls::in_order;
use super::catalog::Service;
use super::client::Ask;
use super::{OpenStack, parse};
use crate::drivers::{Error, Keys, Kind};
use crate::model::{Key, KeyKind, Login, NewKey};

/// Nova has no word for it: what is listed can be used.
const STATE: &str = "AVAILABLE";
const PATH: &str = "os-keypairs";

#[async_trait]
impl Keys for OpenStack {
    async fn keys(&self, login: &Login) -> Result<Vec<Key>, Error> {
        let pairs = self.list::<parse::KeyPairs>(login, Service::Compute, &[PATH], &[]).await?;
        Ok(in_order(pairs.into_iter().map(|pair| key(pair.keypair)), |key| &key.id))
    }

    async fn key(&self, login: &Login, id: &str) -> Result<Option<Key>, Error> {
        let pair: Option<parse::OneKeyPair> = self.one(login, Service::Compute, &[PATH, id]).await?;
        Ok(pair.map(|pair| key(parse::KeyPair { private_key: None, ..pair.keypair })))
    }

    async fn create_key(&self, login: &Login, new: &NewKey) -> Result<Key, Error> {
        let mut pair = json!({"name": new.name});
        if let Some(public) = &new.public_key {
            pair["public_key"] = json!(public);
        }
        let ask = Ask::post(Service::Compute, &[PATH], json!({"keypair": pair}));
        let made: parse::OneKeyPair = self.client.call(login, ask).await.map_err(|error| match error.kind {
            Kind::Conflict => Error { kind: Kind::Forbidden, ..error },
            _ => error,
        })?;
        Ok(key(made.keypair))
    }

    async fn destroy_key(&self, login: &Login, id: &str) -> Result<(), Error> {
        self.delete(login, Service::Compute, &[PATH, id]).await
    }
}

fn key(pair: parse::KeyPair) -> Key {
    let kind = KeyKind::Pair { fingerprint: parse::filled(pair.fingerprint), pem: pair.private_key };
    Key { id: pair.name, kind, state: Some(STATE.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ExposeSecret as _;

    #[test]
    fn a_private_half_is_read_and_never_printed() {
        let text =
            r#"{"keypair": {"name": "alice", "fingerprint": "1f:51", "private_key": "-----NOTAKEY", "user_id": "u"}}"#;
        let made: parse::OneKeyPair = serde_json::from_str(text).expect("Nova's words");
        let printed = format!("{made:?}");
        let key = key(made.keypair);
        assert!(!printed.contains("NOTAKEY") && !format!("{key:?}").contains("NOTAKEY"), "{printed}");
        let KeyKind::Pair { fingerprint, pem: Some(pem) } = key.kind else { panic!("{key:?}") };
        assert_eq!((fingerprint.as_deref(), pem.expose_secret()), (Some("1f:51"), "-----NOTAKEY"));
    }
}
