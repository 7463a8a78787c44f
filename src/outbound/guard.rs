//! stub
#[derive(Clone)]
pub struct Guard;
#[derive(Debug, thiserror::Error)]
#[error("refused")]
pub struct Refused;
