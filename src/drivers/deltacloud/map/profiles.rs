use super::id;
use crate::drivers::deltacloud::document::Node;
use crate::model::{HardwareProfile, Property, PropertyKind};

const PROPERTIES: [&str; 5] = ["cpu", "memory", "storage", "architecture", "root_type"];

/// All of them, sorted by cpu, memory and then id; those lacking either come last.
pub(crate) fn profiles<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<HardwareProfile> {
    let mut profiles: Vec<_> = nodes.into_iter().map(profile).collect();
    profiles.sort_by(|a, b| {
        let by_size = size(a).into_iter().zip(size(b)).map(|(a, b)| a.total_cmp(&b)).find(|order| order.is_ne());
        by_size.unwrap_or_else(|| a.id.cmp(&b.id))
    });
    profiles
}

/// Infinite where something is lacking or no number.
fn size(profile: &HardwareProfile) -> [f64; 2] {
    let measure =
        |name| -> Option<f64> { profile.properties.iter().find(|property| property.name == name)?.value.parse().ok() };
    match (measure("cpu"), measure("memory")) {
        (Some(cpu), Some(memory)) => [cpu, memory],
        _ => [f64::INFINITY; 2],
    }
}

fn profile(node: &Node) -> HardwareProfile {
    let id = id(node);
    HardwareProfile {
        name: node.said_owned("name").unwrap_or_else(|| id.clone()),
        id,
        properties: node.each("property").filter_map(property).collect(),
    }
}

/// `None`: one that Deltacloud does not know, or that says nothing.
fn property(node: &Node) -> Option<Property> {
    let name = PROPERTIES.into_iter().find(|name| node.attribute("name") == Some(name))?;
    let owned = |text: &str| text.to_owned();
    let values: Vec<String> =
        node.all("enum", "entry").filter_map(|entry| entry.attribute("value").map(owned)).collect();
    let range = node.child("range").and_then(|range| {
        Some(PropertyKind::Range { first: owned(range.attribute("first")?), last: owned(range.attribute("last")?) })
    });
    let kind = match (node.attribute("kind"), range) {
        (Some("range"), Some(range)) => range,
        (Some("enum"), _) if !values.is_empty() => PropertyKind::Enum(values.clone()),
        _ => PropertyKind::Fixed,
    };
    let first = match &kind {
        PropertyKind::Range { first, .. } => Some(first.clone()),
        PropertyKind::Enum(values) => values.first().cloned(),
        PropertyKind::Fixed => None,
    };
    let value = node.attribute("value").map(owned).or(first)?;
    Some(Property { name, value, kind })
}

#[cfg(test)]
mod tests {
    use super::super::recorded;
    use super::*;

    #[test]
    fn profiles_are_sorted_by_size_with_all_their_choices() {
        let list = recorded(include_str!("../replies/hardware_profiles.xml"));
        let all = profiles(&list.into_members("hardware_profiles", "hardware_profile").expect("a list"));
        let ids: Vec<&str> = all.iter().map(|profile| profile.id.as_str()).collect();
        assert_eq!(ids, ["m1-small", "m1-large", "m1-xlarge", "odd", "opaque"]);
        let large = &all[1];
        let property = |name, value: &str, kind| Property { name, value: value.to_owned(), kind };
        let range = |first: &str, last: &str| PropertyKind::Range { first: first.to_owned(), last: last.to_owned() };
        assert_eq!(
            large.properties,
            [
                property("cpu", "1", range("1", "6")),
                property("memory", "10240", range("7680.5", "15360")),
                property("storage", "850", PropertyKind::Enum(["850", "1024"].map(str::to_owned).to_vec())),
                property("architecture", "x86_64", PropertyKind::Fixed),
            ]
        );
        assert_eq!(all[4].properties, []);
        assert_eq!(all[3].properties.len(), 1, "what Deltacloud has no word for is passed over: {:?}", all[3]);
    }
}
