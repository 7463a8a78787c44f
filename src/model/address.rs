/// A public address that can be moved from instance to instance. Its id is the address itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicAddress {
    pub ip: String,
    /// The instance it leads to now; `None`: free.
    pub instance: Option<String>,
}
