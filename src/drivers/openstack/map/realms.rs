use std::collections::BTreeMap;

use crate::drivers::openstack::parse::{Service, Zone};
use crate::model::{Declared, Realm};

/// Compute hosts of each zone that nobody disabled, and whether they report.
pub(in crate::drivers::openstack) type Hosts = BTreeMap<String, BTreeMap<String, bool>>;

const COMPUTE: &str = "nova-compute";
/// The zone of Nova's own services, unless its operator calls it otherwise.
const INTERNAL: &str = "internal";

/// Of the detailed list of zones, which operators see.
pub(in crate::drivers::openstack) fn hosts_of_zones(zones: &[Zone]) -> Hosts {
    let mut hosts = Hosts::new();
    for zone in zones {
        let computes = zone.hosts.iter().flatten().filter_map(|(host, services)| Some((host, services.get(COMPUTE)?)));
        for (host, service) in computes {
            let of_zone = hosts.entry(zone.name.clone()).or_default();
            if service.active {
                of_zone.insert(host.clone(), service.available);
            }
        }
    }
    hosts
}

/// Of the list of services, which some roles see that do not see the zones' details.
pub(in crate::drivers::openstack) fn hosts_of_services(services: &[Service]) -> Hosts {
    let mut hosts = Hosts::new();
    for service in services.iter().filter(|service| service.binary == COMPUTE) {
        let of_zone = hosts.entry(service.zone.clone()).or_default();
        if service.status != "disabled" {
            of_zone.insert(service.host.clone(), service.state == "up");
        }
    }
    hosts
}

/// A zone by its own word and, where these are seen, by its hosts. `None`: no zone that machines can be in, as the one of
/// Nova's own services.
///
/// A zone whose hosts are all dead still calls itself available: then its hosts are believed. One that names no hosts has
/// its own word only: Nova's details name the enabled ones, so that a zone which its operator disabled has none in them.
pub(in crate::drivers::openstack) fn realm(zone: &Zone, hosts: Option<&Hosts>, seen_as: &str) -> Option<Realm> {
    let of_zone = match hosts.map(|hosts| hosts.get(&zone.name)) {
        Some(None) if zone.hosts.is_some() || zone.name == INTERNAL => return None,
        found => found.flatten(),
    };
    let word = if zone.state.available { "available" } else { "not available" };
    let counts = of_zone.map(|hosts| (hosts.values().filter(|reports| **reports).count(), hosts.len()));
    let declared = match counts {
        _ if !zone.state.available => Declared::Down,
        Some((0, all)) if all > 0 => Declared::Down,
        Some((up, all)) if up < all => Declared::Degraded,
        _ => Declared::Up,
    };
    let (native_state, why) = match counts {
        Some((up, all)) if up < all => {
            let silent = of_zone.into_iter().flatten().filter(|(_, reports)| !**reports).map(|(host, _)| host.as_str());
            let names: Vec<&str> = silent.take(HOSTS_SHOWN).collect();
            let why = format!("{up} of {all} compute hosts report; silent: {}", names.join(", "));
            (format!("{word}, {up} of {all} hosts up"), Some(why))
        }
        _ => (word.to_owned(), None),
    };
    Some(Realm {
        place: None,
        id: zone.name.clone(),
        name: zone.name.clone(),
        state: declared.wire(),
        native_state,
        limit: None,
        messages: why.into_iter().chain([seen_as.to_owned()]).collect(),
        declared,
        judged: None,
    })
}

/// Named in one sentence; there may be thousands.
const HOSTS_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::openstack::parse::{self, recorded};

    fn zones(reply: &str) -> Vec<Zone> {
        recorded::<parse::Zones>(reply).zones
    }

    fn seen(zones: &[Zone], hosts: Option<&Hosts>) -> Vec<(String, &'static str, Declared, String)> {
        let realms = zones.iter().filter_map(|zone| realm(zone, hosts, "seen so"));
        realms.map(|realm| (realm.id, realm.state.as_str(), realm.declared, realm.native_state)).collect()
    }

    fn row(
        id: &str,
        state: &'static str,
        declared: Declared,
        native: &str,
    ) -> (String, &'static str, Declared, String) {
        (id.to_owned(), state, declared, native.to_owned())
    }

    #[test]
    fn a_zone_says_only_whether_it_is_disabled() {
        let disabled = zones(include_str!("../replies/azs-disabled.json"));
        let up = |id| row(id, "AVAILABLE", Declared::Up, "available");
        assert_eq!(seen(&disabled, None), [up("nova"), row("az-b", "UNAVAILABLE", Declared::Down, "not available")]);
        // Its only host is dead, and whoever sees no hosts cannot know.
        assert_eq!(seen(&zones(include_str!("../replies/azs-host-down.json")), None), [up("az-b"), up("nova")]);
    }

    #[test]
    fn a_zone_whose_hosts_are_dead_is_down_for_who_sees_them() {
        let expected = [
            row("az-b", "UNAVAILABLE", Declared::Down, "available, 0 of 1 hosts up"),
            row("nova", "AVAILABLE", Declared::Up, "available"),
        ];
        let detail = zones(include_str!("../replies/azs-detail-host-down.json"));
        assert_eq!(seen(&detail, Some(&hosts_of_zones(&detail))), expected);
        let services = recorded::<parse::Services>(include_str!("../replies/services-host-down.json")).services;
        let plain = zones(include_str!("../replies/azs-host-down.json"));
        assert_eq!(seen(&plain, Some(&hosts_of_services(&services))), expected);
        let dead = realm(&detail[0], Some(&hosts_of_zones(&detail)), "seen so").expect("a zone");
        assert_eq!(dead.messages, ["0 of 1 compute hosts report; silent: compute2", "seen so"]);

        let well = zones(include_str!("../replies/compute-azs-detail.json"));
        let up = |id| row(id, "AVAILABLE", Declared::Up, "available");
        assert_eq!(seen(&well, Some(&hosts_of_zones(&well))), [up("az-b"), up("nova")], "and not Nova's own zone");
    }

    #[test]
    fn a_zone_that_names_no_hosts_has_its_own_word() {
        let text = r#"{"availabilityZoneInfo": [
            {"zoneName": "az-b", "zoneState": {"available": false}, "hosts": null},
            {"zoneName": "internal", "zoneState": {"available": false}, "hosts": null},
            {"zoneName": "control", "zoneState": {"available": true},
             "hosts": {"c1": {"nova-conductor": {"available": true, "active": true, "updated_at": null}}}},
            {"zoneName": "nova", "zoneState": {"available": true},
             "hosts": {"n1": {"nova-compute": {"available": true, "active": true, "updated_at": null}}}}]}"#;
        let detail = serde_json::from_str::<parse::Zones>(text).expect("Nova's words").zones;
        let nova = row("nova", "AVAILABLE", Declared::Up, "available");
        let expected = [row("az-b", "UNAVAILABLE", Declared::Down, "not available"), nova.clone()];
        assert_eq!(seen(&detail, Some(&hosts_of_zones(&detail))), expected);
        // The services of a cell that is down are in no list, and its zone may still be.
        let text = r#"{"availabilityZoneInfo": [{"zoneName": "far", "zoneState": {"available": true}, "hosts": null},
            {"zoneName": "nova", "zoneState": {"available": true}, "hosts": null}]}"#;
        let plain = serde_json::from_str::<parse::Zones>(text).expect("Nova's words").zones;
        let far = row("far", "AVAILABLE", Declared::Up, "available");
        assert_eq!(seen(&plain, Some(&hosts_of_zones(&detail))), [far, nova]);
    }

    #[test]
    fn a_zone_with_some_dead_hosts_is_degraded() {
        let zone = &zones(include_str!("../replies/compute-azs.json"))[0];
        let check = |hosts: &[(&str, bool)], declared: Declared, native: &str| {
            let hosts = hosts.iter().map(|(host, reports)| ((*host).to_owned(), *reports)).collect();
            let realm = realm(zone, Some(&Hosts::from([(zone.name.clone(), hosts)])), "seen so").expect("a zone");
            assert_eq!((realm.declared, realm.native_state.as_str()), (declared, native));
        };
        check(&[("a", true), ("b", true)], Declared::Up, "available");
        check(&[("a", true), ("b", false)], Declared::Degraded, "available, 1 of 2 hosts up");
        check(&[("a", false), ("b", false)], Declared::Down, "available, 0 of 2 hosts up");
        // All are disabled: that is what the zone's own word is about.
        check(&[], Declared::Up, "available");
    }
}
