use std::cmp::Ordering;

use crate::drivers::ec2::parse;
use crate::model::{HardwareProfile, Property, PropertyKind};

/// All of them, sorted by cpu, memory and then id; those lacking a size come last.
pub(crate) fn profiles(mut types: Vec<parse::InstanceType>) -> Vec<HardwareProfile> {
    fn size(item: &parse::InstanceType) -> (Option<u64>, Option<u64>) {
        (item.cpu.as_ref().and_then(|cpu| cpu.default), item.memory_info.as_ref().and_then(|memory| memory.size_mib))
    }
    types.sort_by(|a, b| {
        let ((a_cpu, a_memory), (b_cpu, b_memory)) = (size(a), size(b));
        let lacking = |cpu: Option<u64>, memory: Option<u64>| cpu.is_none() || memory.is_none();
        lacking(a_cpu, a_memory)
            .cmp(&lacking(b_cpu, b_memory))
            .then(none_last(a_cpu, b_cpu))
            .then(none_last(a_memory, b_memory))
            .then_with(|| a.instance_type.cmp(&b.instance_type))
    });
    types.dedup_by(|a, b| a.instance_type == b.instance_type);
    types.into_iter().map(profile).collect()
}

fn none_last(a: Option<u64>, b: Option<u64>) -> Ordering {
    a.unwrap_or(u64::MAX).cmp(&b.unwrap_or(u64::MAX))
}

/// Sizes are EC2's and fixed; the architecture, where there are two, is the image's to choose.
fn profile(item: parse::InstanceType) -> HardwareProfile {
    let fixed = |name, value: u64| Property { name, value: value.to_string(), kind: PropertyKind::Fixed };
    let architectures = item.processor_info.map(|info| info.supported_architectures.items).unwrap_or_default();
    let storage = item.instance_storage_info.and_then(|info| info.total_gb).filter(|gb| *gb > 0);
    let properties = [
        item.cpu.and_then(|info| info.default).map(|count| fixed("cpu", count)),
        item.memory_info.and_then(|info| info.size_mib).map(|mib| fixed("memory", mib)),
        storage.map(|gb| fixed("storage", gb)),
        architecture(architectures),
    ];
    HardwareProfile {
        id: item.instance_type.clone(),
        name: item.instance_type,
        properties: properties.into_iter().flatten().collect(),
    }
}

fn architecture(all: Vec<String>) -> Option<Property> {
    let value = all.first()?.clone();
    let kind = if all.len() == 1 { PropertyKind::Fixed } else { PropertyKind::Enum(all) };
    Some(Property { name: "architecture", value, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ec2::map::tests::read;
    use crate::drivers::ec2::parse::Page as _;

    #[test]
    fn profiles_are_sorted_by_size_and_the_sizeless_come_last() {
        let types = read::<parse::InstanceTypes>(include_str!("../replies/DescribeInstanceTypes.xml")).into_parts().0;
        let profiles = profiles(types);
        let seen: Vec<String> = profiles
            .iter()
            .map(|profile| {
                let sizes: Vec<String> =
                    profile.properties.iter().map(|property| format!("{}={}", property.name, property.value)).collect();
                format!("{} {}", profile.id, sizes.join(" "))
            })
            .collect();
        assert_eq!(
            seen,
            [
                "t2.micro cpu=1 memory=1024 architecture=i386",
                "c6g.large cpu=2 memory=4096 architecture=arm64",
                "m5d.large cpu=2 memory=8192 storage=75 architecture=x86_64",
                "x9.later ",
            ]
        );
        let either = PropertyKind::Enum(vec!["i386".to_owned(), "x86_64".to_owned()]);
        assert_eq!(profiles[0].properties.last().map(|property| &property.kind), Some(&either));
    }
}
