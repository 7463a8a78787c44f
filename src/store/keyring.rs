//! stub
#[derive(Clone)]
pub struct KeyRing;
