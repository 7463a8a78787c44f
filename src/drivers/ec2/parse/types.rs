use serde::Deserialize;

use super::{Page, Reply, Set, filled};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceTypes {
    instance_type_set: Set<InstanceType>,
    next_token: Option<String>,
}

impl Reply for InstanceTypes {
    const ROOT: &'static str = "DescribeInstanceTypesResponse";
}

impl Page for InstanceTypes {
    type Member = InstanceType;

    fn into_parts(self) -> (Vec<InstanceType>, Option<String>) {
        (self.instance_type_set.items, filled(self.next_token))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceType {
    pub(crate) instance_type: String,
    #[serde(rename = "vCpuInfo")]
    pub(crate) cpu: Option<CpuInfo>,
    pub(crate) memory_info: Option<MemoryInfo>,
    pub(crate) processor_info: Option<ProcessorInfo>,
    pub(crate) instance_storage_info: Option<StorageInfo>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct CpuInfo {
    #[serde(rename = "defaultVCpus")]
    pub(crate) default: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MemoryInfo {
    #[serde(rename = "sizeInMiB")]
    pub(crate) size_mib: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProcessorInfo {
    #[serde(default)]
    pub(crate) supported_architectures: Set<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StorageInfo {
    #[serde(rename = "totalSizeInGB")]
    pub(crate) total_gb: Option<u64>,
}
