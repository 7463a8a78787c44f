use super::Secret;

/// What one logs in to instances with.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name at the backend; keys have no other id.
    pub id: String,
    pub kind: KeyKind,
    /// In the provider's word, where it has one.
    pub state: Option<String>,
}

#[derive(Clone, Debug)]
pub enum KeyKind {
    /// A key pair. The private half is there only in the answer to the request that made it.
    Pair {
        fingerprint: Option<String>,
        pem: Option<Secret>,
    },
    Password {
        username: String,
        password: Secret,
    },
}

/// A request for a key.
#[derive(Clone, Debug)]
pub struct NewKey {
    pub name: String,
    /// OpenSSH's text form, for drivers with `import_key`. `None`: the backend makes a pair.
    pub public_key: Option<String>,
}
