use serde::Deserialize;

use super::{Reply, Set};

#[derive(Debug, Deserialize)]
pub(crate) struct Zones {
    #[serde(rename = "availabilityZoneInfo")]
    pub(crate) zones: Set<Zone>,
}

impl Reply for Zones {
    const ROOT: &'static str = "DescribeAvailabilityZonesResponse";
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Zone {
    pub(crate) zone_name: String,
    pub(crate) zone_id: Option<String>,
    /// `opt-in-not-required`, `opted-in`, `not-opted-in`.
    pub(crate) opt_in_status: Option<String>,
    pub(crate) zone_state: String,
    /// `availability-zone`, `local-zone`, `wavelength-zone`.
    pub(crate) zone_type: Option<String>,
    #[serde(default)]
    pub(crate) message_set: Set<ZoneMessage>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct ZoneMessage {
    pub(crate) message: Option<String>,
}
