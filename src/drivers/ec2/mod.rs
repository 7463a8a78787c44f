//! Stub: the EC2 driver is being written.

use std::sync::Arc;

use serde::Deserialize;

use crate::clock::Clock;
use crate::outbound::Outbound;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {}

pub(super) struct Ec2;

impl Ec2 {
    pub(super) fn new(_settings: Settings, _outbound: Outbound, _clock: Arc<dyn Clock>) -> Self {
        Self
    }
}
