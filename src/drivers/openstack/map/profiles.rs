use std::collections::BTreeMap;

use crate::drivers::openstack::parse::{Image, Size};
use crate::model::{HardwareProfile, Property, PropertyKind};

/// Ids of flavors by their names: newer servers name theirs, and are made of an id.
#[derive(Debug, Default)]
pub(in crate::drivers::openstack) struct Flavors(BTreeMap<String, String>);

impl Flavors {
    pub(in crate::drivers::openstack) fn of(names: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(names.into_iter().collect())
    }

    pub(in crate::drivers::openstack) fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The name itself for a flavor that is no more, or not ours to see.
    pub(super) fn id_of(&self, name: &str) -> Option<String> {
        (!name.is_empty()).then(|| self.0.get(name).map_or(name, String::as_str).to_owned())
    }
}

/// All of them, sorted by cpu, memory and then id; those lacking a size come last.
pub(in crate::drivers::openstack) fn profiles(mut sizes: Vec<Size>) -> Vec<HardwareProfile> {
    sizes.sort_by(|a, b| order(a).cmp(&order(b)));
    sizes.dedup_by(|a, b| a.id == b.id);
    sizes.into_iter().map(profile).collect()
}

fn order(size: &Size) -> (bool, u64, u64, &str) {
    let lacking = size.vcpus.is_none() || size.ram.is_none();
    (lacking, size.vcpus.unwrap_or(u64::MAX), size.ram.unwrap_or(u64::MAX), &size.id)
}

/// What a server is made of that nobody chose a size for: the smallest that the image fits into. One without a disk of its
/// own is the last choice, as many clouds take those for servers on volumes only.
pub(in crate::drivers::openstack) fn smallest<'a>(sizes: &'a [Size], image: Option<&Image>) -> Option<&'a str> {
    let (ram, disk) = image.map_or((0, 0), needs);
    let fits = |size: &&Size| {
        let has_disk = size.disk.is_none_or(|gib| gib == 0 || gib >= disk);
        !size.disabled && has_disk && size.ram.is_none_or(|mib| mib >= ram)
    };
    let best = sizes.iter().filter(fits).min_by_key(|size| (size.disk == Some(0), order(size)));
    best.map(|size| size.id.as_str())
}

/// MiB of memory and GiB of disk.
fn needs(image: &Image) -> (u64, u64) {
    let bytes = image.virtual_size.or(image.size).unwrap_or_default();
    (image.min_ram.unwrap_or_default(), image.min_disk.unwrap_or_default().max(bytes.div_ceil(1 << 30)))
}

fn profile(size: Size) -> HardwareProfile {
    let fixed = |name, value: u64| Property { name, value: value.to_string(), kind: PropertyKind::Fixed };
    let properties = [
        size.vcpus.map(|count| fixed("cpu", count)),
        size.ram.map(|mib| fixed("memory", mib)),
        // 0 is the image's own size, whatever that is.
        size.disk.filter(|gib| *gib > 0).map(|gib| fixed("storage", gib)),
    ];
    let name = if size.name.is_empty() { size.id.clone() } else { size.name };
    HardwareProfile { id: size.id, name, properties: properties.into_iter().flatten().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::openstack::calls::Page as _;
    use crate::drivers::openstack::parse::{self, recorded};

    fn size(id: &str, vcpus: Option<u64>, ram: Option<u64>) -> Size {
        Size { id: id.to_owned(), name: format!("m1.{id}"), vcpus, ram, disk: Some(20), disabled: false }
    }

    #[test]
    fn profiles_are_sorted_by_size_and_the_sizeless_come_last() {
        let (mut sizes, _) = recorded::<parse::Flavors>(include_str!("../replies/compute-flavors.json")).into_parts();
        sizes.extend([size("b", None, Some(1)), size("a", Some(2), Some(512)), size("c", Some(1), Some(2048))]);
        let seen: Vec<String> = profiles(sizes)
            .iter()
            .map(|profile| {
                let sizes: Vec<String> =
                    profile.properties.iter().map(|property| format!("{}={}", property.name, property.value)).collect();
                format!("{} {} {}", profile.id, profile.name, sizes.join(" "))
            })
            .collect();
        assert_eq!(
            seen,
            [
                "42 m1.nano cpu=1 memory=64",
                "c m1.c cpu=1 memory=2048 storage=20",
                "a m1.a cpu=2 memory=512 storage=20",
                "b m1.b memory=1 storage=20",
            ]
        );
    }

    #[test]
    fn the_smallest_is_one_that_can_be_used() {
        let check = |sizes: &[Size], image: &str, expected: Option<&str>| {
            let image: Option<Image> = serde_json::from_str(image).expect("an image");
            assert_eq!(smallest(sizes, image.as_ref()), expected, "{sizes:?} {image:?}");
        };
        let diskless = |size: Size| Size { disk: Some(0), ..size };
        let all = [
            size("a", Some(2), Some(512)),
            size("b", Some(1), Some(9)),
            size("c", Some(1), Some(8)),
            diskless(size("d", Some(1), Some(1))),
            Size { disabled: true, ..size("e", Some(1), Some(2)) },
        ];
        check(&all, "null", Some("c"));
        check(&all, r#"{"id": "i"}"#, Some("c"));
        check(&all, r#"{"id": "i", "min_ram": 9}"#, Some("b"));
        check(&all, r#"{"id": "i", "min_ram": 10, "min_disk": 20}"#, Some("a"));
        check(&all, r#"{"id": "i", "min_disk": 21}"#, Some("d"));
        check(&all, r#"{"id": "i", "size": 1, "virtual_size": 21474836481}"#, Some("d"));
        check(&all, r#"{"id": "i", "virtual_size": 21474836480}"#, Some("c"));
        check(&all, r#"{"id": "i", "min_ram": 999}"#, None);
        check(&[], "null", None);
    }
}
