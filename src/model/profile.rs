/// A size of instance. One without properties is opaque.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HardwareProfile {
    pub id: String,
    pub name: String,
    pub properties: Vec<Property>,
}

/// One measure of a profile. Values are text, as memory may be `1740.8`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// `cpu`, `memory`, `storage`, `architecture` or `root_type`.
    pub name: &'static str,
    /// The default: what a client gets that does not choose.
    pub value: String,
    pub kind: PropertyKind,
}

impl Property {
    /// `count`, `MB`, `GB`, `label`; `None` for `root_type`.
    pub fn unit(&self) -> Option<&'static str> {
        match self.name {
            "cpu" => Some("count"),
            "memory" => Some("MB"),
            "storage" => Some("GB"),
            "architecture" => Some("label"),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropertyKind {
    Fixed,
    Range { first: String, last: String },
    Enum(Vec<String>),
}
