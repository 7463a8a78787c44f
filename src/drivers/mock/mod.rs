//! Stub: the mock driver is being written.

use std::sync::Arc;

use serde::Deserialize;

use crate::chance::Chance;
use crate::clock::Clock;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {}

pub(super) struct Mock;

impl Mock {
    pub(super) fn new(_settings: Settings, _clock: Arc<dyn Clock>, _chance: Arc<Chance>) -> Self {
        Self
    }
}
